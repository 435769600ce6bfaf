// SPDX-License-Identifier: BSD-3-Clause
// Longest-prefix match over IPv6, built once, then read only: a binary search over disjoint ranges.
// A few routes, the usual case, are one or two cache lines; n prefixes take log2(2 n) steps.
//
// Thread: any number of readers; built by control.
// Memory: 20 bytes per range (at most 2 ranges per prefix + 1).
#pragma once
#include <endian.h>
#include <stdint.h>
#include <string.h>
#include "cgnat/ipv6.h"

#define LPM6_NONE UINT32_MAX // the value of addresses that no prefix covers

struct lpm6_prefix {
	struct cgn_ipv6 address; // host bits zero
	uint8_t length; // 0..128
	uint32_t value; // anything but LPM6_NONE
};

struct lpm6 {
	uint64_t *hi; // first address of each range, ascending; that of the first is ::
	uint64_t *lo;
	uint32_t *value;
	uint32_t n_ranges;
};

// Builds from prefixes in any order; of equal prefixes the first wins. NULL when out of memory.
struct lpm6 *lpm6_create(const struct lpm6_prefix *prefixes, uint32_t n);
void lpm6_destroy(struct lpm6 *lpm);

static inline uint32_t lpm6_lookup(const struct lpm6 *lpm, const struct cgn_ipv6 *address)
{
	uint32_t at = 0, n = lpm->n_ranges; // the range is one of [at, at + n)
	uint64_t hi, lo;

	memcpy(&hi, address->b, 8);
	memcpy(&lo, address->b + 8, 8);
	hi = be64toh(hi);
	lo = be64toh(lo);
	while (n > 1) {
		const uint32_t half = n / 2, mid = at + half;

		// without a branch, as it would be wrong every second time
		at = lpm->hi[mid] < hi || (lpm->hi[mid] == hi && lpm->lo[mid] <= lo) ? mid : at;
		n -= half;
	}
	return lpm->value[at];
}
