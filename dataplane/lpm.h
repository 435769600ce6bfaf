// SPDX-License-Identifier: BSD-3-Clause
// Longest-prefix match over IPv4, built once, then read only. The prefixes are flattened into
// disjoint ranges; a table over the top 16 bits answers most look-ups with one load, the rest with
// a short binary search.
//
// Thread: any number of readers; built by control.
// Memory: 256 KiB and 8 bytes per range (at most 2 ranges per prefix + 1).
#pragma once
#include <stdint.h>

#define LPM_NONE UINT32_MAX // the value of addresses that no prefix covers

struct lpm_prefix {
	uint32_t address; // host order, host bits zero
	uint8_t length; // 0..32
	uint32_t value; // anything but LPM_NONE
};

#define LPM_MORE 0x80000000u // in top[]: this /16 holds more than one range

struct lpm {
	uint32_t *first; // first address of each range, ascending; first[0] = 0
	uint32_t *value;
	uint32_t n_ranges;
	// The range that holds the first address of each /16, | LPM_MORE. top[65536] = n_ranges - 1.
	uint32_t top[65537];
};

// Builds from prefixes in any order; of equal prefixes the first wins. NULL when out of memory.
struct lpm *lpm_create(const struct lpm_prefix *prefixes, uint32_t n);
void lpm_destroy(struct lpm *lpm);

static inline uint32_t lpm_lookup(const struct lpm *lpm, uint32_t address)
{
	uint32_t lo = lpm->top[address >> 16];

	if (lo & LPM_MORE) {
		uint32_t hi = lpm->top[(address >> 16) + 1] & ~LPM_MORE;

		lo &= ~LPM_MORE;
		while (lo < hi) { // the last range whose first address is <= address
			uint32_t mid = (lo + hi + 1) / 2;

			if (lpm->first[mid] <= address)
				lo = mid;
			else
				hi = mid - 1;
		}
	}
	return lpm->value[lo];
}
