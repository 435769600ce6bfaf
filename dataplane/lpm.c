// SPDX-License-Identifier: BSD-3-Clause
#include "lpm.h"
#include <assert.h>
#include <stdlib.h>
#include "flatten.h"

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
	lpm->first = calloc(lpm->n_ranges, sizeof(*lpm->first));
	lpm->value = calloc(lpm->n_ranges, sizeof(*lpm->value));
	if (!lpm->first || !lpm->value)
		goto err_free;
	for (uint32_t i = 0; i < lpm->n_ranges; i++) {
		lpm->first[i] = (uint32_t)ranges[i].first;
		lpm->value[i] = ranges[i].value;
	}
	fill_top(lpm);
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
	free(lpm);
}
