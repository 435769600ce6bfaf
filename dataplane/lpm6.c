// SPDX-License-Identifier: BSD-3-Clause
#include "lpm6.h"
#include <assert.h>
#include <stdlib.h>
#include "flatten.h"

static flatten_address number_of(const struct cgn_ipv6 *a)
{
	flatten_address n = 0;

	for (unsigned i = 0; i < sizeof(a->b); i++)
		n = n << 8 | a->b[i];
	return n;
}

struct lpm6 *lpm6_create(const struct lpm6_prefix *prefixes, uint32_t n)
{
	const size_t n_ranges_max = 2 * (size_t)n + 1;
	struct lpm6 *lpm = calloc(1, sizeof(*lpm));
	struct flatten_prefix *list = calloc((size_t)n + 1, sizeof(*list));
	struct flatten_range *ranges = calloc(n_ranges_max, sizeof(*ranges));

	if (!lpm || !list || !ranges)
		goto err_free;
	for (uint32_t i = 0; i < n; i++) {
		const struct lpm6_prefix *p = &prefixes[i];
		const flatten_address first = number_of(&p->address);
		const flatten_address host = p->length < 128 ? ~(flatten_address)0 >> p->length : 0;

		assert(p->length <= 128 && !(first & host) && p->value != LPM6_NONE);
		list[i] = (struct flatten_prefix){first, first | host, i, p->value};
	}
	lpm->n_ranges = flatten(list, n, ~(flatten_address)0, ranges);
	lpm->hi = calloc(lpm->n_ranges, sizeof(*lpm->hi));
	lpm->lo = calloc(lpm->n_ranges, sizeof(*lpm->lo));
	lpm->value = calloc(lpm->n_ranges, sizeof(*lpm->value));
	if (!lpm->hi || !lpm->lo || !lpm->value)
		goto err_free;
	for (uint32_t i = 0; i < lpm->n_ranges; i++) {
		lpm->hi[i] = (uint64_t)(ranges[i].first >> 64);
		lpm->lo[i] = (uint64_t)ranges[i].first;
		lpm->value[i] = ranges[i].value;
	}
	free(list);
	free(ranges);
	return lpm;

err_free:
	free(list);
	free(ranges);
	lpm6_destroy(lpm);
	return NULL;
}

void lpm6_destroy(struct lpm6 *lpm)
{
	if (!lpm)
		return;
	free(lpm->hi);
	free(lpm->lo);
	free(lpm->value);
	free(lpm);
}
