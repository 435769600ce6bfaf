// SPDX-License-Identifier: BSD-3-Clause
#include "lpm.h"
#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include "flatten.h"

// The table entry of 2^bits addresses from `first` on; *range holds the address before them (or the
// first one of all), and is moved on to the first of them.
static uint32_t entry(const struct lpm *lpm, uint32_t first, unsigned bits, uint32_t *range)
{
	const uint32_t last = first | (uint32_t)((1ull << bits) - 1);

	while (*range + 1 < lpm->n_ranges && lpm->first[*range + 1] <= first)
		++*range;
	if ((*range + 1 < lpm->n_ranges && lpm->first[*range + 1] <= last) ||
		lpm->value[*range] & LPM_MORE)
		return *range | LPM_MORE;
	return lpm->value[*range];
}

// Do LPM_DENSE more ranges begin in the /16 of `first`, whose first address lies in `range`?
static bool is_dense(const struct lpm *lpm, uint32_t first, uint32_t range)
{
	return range + LPM_DENSE < lpm->n_ranges &&
		lpm->first[range + LPM_DENSE] <= (first | 0xffff);
}

static void fill_tables(struct lpm *lpm)
{
	uint32_t range = 0;

	lpm->n_second = 0;
	for (uint32_t i = 0; i < 65536; i++) {
		uint32_t at;

		lpm->top[i] = entry(lpm, i << 16, 16, &range);
		if (!(lpm->top[i] & LPM_MORE) || !is_dense(lpm, i << 16, range))
			continue;
		at = range;
		for (uint32_t k = 0; k < 256; k++)
			lpm->second[lpm->n_second][k] = entry(lpm, i << 16 | k << 8, 8, &at);
		lpm->top[i] = LPM_MORE | LPM_TABLE | lpm->n_second++;
	}
}

// The last range whose first address is <= address; not before `range`.
static uint32_t find_range(const struct lpm *lpm, uint32_t address, uint32_t range)
{
	const uint32_t *first = lpm->first + range + 1;
	uint32_t lo = 0, step = LPM_DENSE, hi;

	// most often one of the next few, and without a branch; behind the last one stand zeros
	for (uint32_t i = 0; i < LPM_DENSE; i++)
		lo += first[i] - 1 < address;
	if (lo < LPM_DENSE)
		return range + lo;
	lo = range + LPM_DENSE;
	while (step < lpm->n_ranges - lo && lpm->first[lo + step] <= address) {
		lo += step;
		step *= 2;
	}
	hi = step < lpm->n_ranges - lo ? lo + step - 1 : lpm->n_ranges - 1;
	while (lo < hi) {
		uint32_t mid = lo + (hi - lo + 1) / 2;

		if (lpm->first[mid] <= address)
			lo = mid;
		else
			hi = mid - 1;
	}
	return lo;
}

uint32_t lpm_search(const struct lpm *lpm, uint32_t address, uint32_t top)
{
	if (top & LPM_TABLE) {
		top = lpm->second[top & ~LPM_TABLE][address >> 8 & 0xff];
		if (!(top & LPM_MORE))
			return top;
		top &= ~LPM_MORE;
	}
	return lpm->value[find_range(lpm, address, top)];
}

struct lpm *lpm_create(const struct lpm_prefix *prefixes, uint32_t n)
{
	const size_t n_ranges_max = 2 * (size_t)n + 1;
	struct lpm *lpm = calloc(1, sizeof(*lpm));
	struct flatten_prefix *list = calloc((size_t)n + 1, sizeof(*list));
	struct flatten_range *ranges = calloc(n_ranges_max, sizeof(*ranges));

	if (!lpm || !list || !ranges)
		goto err_free;
	for (uint32_t i = 0; i < n; i++) {
		const struct lpm_prefix *p = &prefixes[i];
		uint32_t host = p->length ? (uint32_t)((1ull << (32 - p->length)) - 1) : UINT32_MAX;

		assert(p->length <= 32 && !(p->address & host) && p->value != LPM_NONE);
		list[i] = (struct flatten_prefix){p->address, p->address | host, i, p->value};
	}
	lpm->n_ranges = flatten(list, n, UINT32_MAX, ranges);
	lpm->first = calloc((size_t)lpm->n_ranges + LPM_DENSE, sizeof(*lpm->first));
	lpm->value = calloc(lpm->n_ranges, sizeof(*lpm->value));
	if (!lpm->first || !lpm->value)
		goto err_free;
	for (uint32_t i = 0; i < lpm->n_ranges; i++) {
		lpm->first[i] = (uint32_t)ranges[i].first;
		lpm->value[i] = ranges[i].value;
	}
	lpm->second = calloc(lpm->n_ranges / LPM_DENSE + 1, sizeof(*lpm->second));
	if (!lpm->second)
		goto err_free;
	fill_tables(lpm);
	free(list);
	free(ranges);
	return lpm;

err_free:
	free(list);
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
	free(lpm->second);
	free(lpm);
}
