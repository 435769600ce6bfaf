// SPDX-License-Identifier: BSD-3-Clause
#include "flatten.h"
#include <stdlib.h>

#define NESTED_MAX 130 // prefixes inside each other: one per length, and the whole

// Outer ranges before the ones inside them, of equal ones the first given first.
static int by_place(const void *a, const void *b)
{
	const struct flatten_prefix *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->last != y->last)
		return x->last > y->last ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

// Ranges come in ascending order; a later word about the same address wins.
static uint32_t emit(
	struct flatten_range *ranges, uint32_t n, flatten_address first, uint32_t value)
{
	if (n && ranges[n - 1].first == first)
		n--;
	if (!n || ranges[n - 1].value != value)
		ranges[n++] = (struct flatten_range){first, value};
	return n;
}

uint32_t flatten(struct flatten_prefix *prefixes, uint32_t n, flatten_address max,
	struct flatten_range *ranges)
{
	const struct flatten_prefix *open[NESTED_MAX];
	const struct flatten_prefix whole = {.last = max, .value = FLATTEN_NONE};
	uint32_t depth = 0, n_ranges = emit(ranges, 0, 0, FLATTEN_NONE);

	qsort(prefixes, n, sizeof(*prefixes), by_place);
	open[depth++] = &whole;
	for (uint32_t i = 0; i < n; i++) {
		const struct flatten_prefix *p = &prefixes[i];

		if (i && p->first == p[-1].first && p->last == p[-1].last)
			continue;
		for (; open[depth - 1]->last < p->first; depth--)
			n_ranges = emit(ranges, n_ranges, open[depth - 1]->last + 1,
				open[depth - 2]->value);
		n_ranges = emit(ranges, n_ranges, p->first, p->value);
		open[depth++] = p;
	}
	for (; depth > 1; depth--)
		if (open[depth - 1]->last != max)
			n_ranges = emit(ranges, n_ranges, open[depth - 1]->last + 1,
				open[depth - 2]->value);
	return n_ranges;
}
