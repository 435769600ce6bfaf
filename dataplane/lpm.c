// SPDX-License-Identifier: BSD-3-Clause
#include "lpm.h"
#include <assert.h>
#include <stdlib.h>

// A prefix as a range; `order` is its place in what the caller gave.
struct range {
	uint32_t first, last;
	uint32_t order, value;
};

// Outer ranges before the ones inside them, of equal ones the first given first.
static int by_place(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	if (x->last != y->last)
		return x->last > y->last ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

// From `first` on the value is `value`. Ranges come in ascending order; a later word about the same
// address wins.
static void emit(struct lpm *lpm, uint32_t first, uint32_t value)
{
	uint32_t n = lpm->n_ranges;

	if (n && lpm->first[n - 1] == first)
		n--;
	if (!n || lpm->value[n - 1] != value) {
		lpm->first[n] = first;
		lpm->value[n] = value;
		n++;
	}
	lpm->n_ranges = n;
}

static void flatten(struct lpm *lpm, const struct range *ranges, uint32_t n)
{
	const struct range *stack[34]; // open ranges: one per length, and the whole
	const struct range whole = {.first = 0, .last = UINT32_MAX, .value = LPM_NONE};
	unsigned depth = 0;

	stack[depth++] = &whole;
	emit(lpm, 0, LPM_NONE);
	for (uint32_t i = 0; i < n; i++) {
		const struct range *r = &ranges[i];

		if (i && r->first == r[-1].first && r->last == r[-1].last)
			continue;
		for (; stack[depth - 1]->last < r->first; depth--)
			emit(lpm, stack[depth - 1]->last + 1, stack[depth - 2]->value);
		emit(lpm, r->first, r->value);
		stack[depth++] = r;
	}
	for (; depth > 1; depth--)
		if (stack[depth - 1]->last != UINT32_MAX)
			emit(lpm, stack[depth - 1]->last + 1, stack[depth - 2]->value);
}

static void fill_top(struct lpm *lpm)
{
	uint32_t r = 0;

	for (uint32_t i = 0; i < 65536; i++) {
		while (r + 1 < lpm->n_ranges && lpm->first[r + 1] <= i << 16)
			r++;
		if ((r + 1 < lpm->n_ranges && lpm->first[r + 1] >> 16 == i) ||
			lpm->value[r] & LPM_MORE)
			lpm->top[i] = r | LPM_MORE;
		else
			lpm->top[i] = lpm->value[r];
	}
}

uint32_t lpm_search(const struct lpm *lpm, uint32_t address, uint32_t range)
{
	uint32_t lo = range, step = 1, hi;

	while (step < lpm->n_ranges - lo && lpm->first[lo + step] <= address) {
		lo += step;
		step *= 2;
	}
	hi = step < lpm->n_ranges - lo ? lo + step - 1 : lpm->n_ranges - 1;
	while (lo < hi) { // the last range whose first address is <= address
		uint32_t mid = lo + (hi - lo + 1) / 2;

		if (lpm->first[mid] <= address)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lpm->value[lo];
}

struct lpm *lpm_create(const struct lpm_prefix *prefixes, uint32_t n)
{
	const size_t n_ranges_max = 2 * (size_t)n + 1;
	struct lpm *lpm = calloc(1, sizeof(*lpm));
	struct range *ranges = calloc((size_t)n + 1, sizeof(*ranges));

	if (!lpm || !ranges)
		goto err_free;
	lpm->first = calloc(n_ranges_max, sizeof(*lpm->first));
	lpm->value = calloc(n_ranges_max, sizeof(*lpm->value));
	if (!lpm->first || !lpm->value)
		goto err_free;
	for (uint32_t i = 0; i < n; i++) {
		const struct lpm_prefix *p = &prefixes[i];
		uint32_t host = p->length ? (uint32_t)((1ull << (32 - p->length)) - 1) : UINT32_MAX;

		assert(p->length <= 32 && !(p->address & host) && p->value != LPM_NONE);
		ranges[i] = (struct range){p->address, p->address | host, i, p->value};
	}
	qsort(ranges, n, sizeof(*ranges), by_place);
	flatten(lpm, ranges, n);
	fill_top(lpm);
	free(ranges);
	return lpm;

err_free:
	free(ranges);
	lpm_destroy(lpm);
	return NULL;
}

void lpm_destroy(struct lpm *lpm)
{
	if (!lpm)
		return;
	free(lpm->first);
	free(lpm->value);
	free(lpm);
}
