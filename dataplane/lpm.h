// SPDX-License-Identifier: BSD-3-Clause
// Longest-prefix match over IPv4, built once, then read only. The prefixes are flattened into
// disjoint ranges; a table over the top 16 bits answers most look-ups with one load. Where a /16 has
// many ranges a second table over the next 8 bits answers; what is left is a short search.
//
// Thread: any number of readers; built by control.
// Memory: 256 KiB, and 8 bytes per range (at most 2 ranges per prefix + 1) and at most 64 for the
//         second tables.
#pragma once
#include <stdint.h>

#define LPM_NONE UINT32_MAX // the value of addresses that no prefix covers

struct lpm_prefix {
	uint32_t address; // host order, host bits zero
	uint8_t length; // 0..32
	uint32_t value; // anything but LPM_NONE
};

#define LPM_MORE 0x80000000u // in top[]: it is no value but the number of a range
#define LPM_TABLE 0x40000000u // and with this, that of a second table
#define LPM_DENSE 16u // ranges of a /16 from which on it has a second table

struct lpm {
	uint32_t *first; // first address of each range, ascending; first[0] = 0
	uint32_t *value;
	uint32_t n_ranges;
	uint32_t (*second)[256]; // by the third byte of the address: as top[]
	uint32_t n_second;
	// By the top 16 bits of the address: the value of all that begin so, or, where they differ or
	// the value has the top bit, LPM_MORE | the range that holds the first of them, or | LPM_TABLE
	// and the number of a second table.
	uint32_t top[65536];
};

// Builds from prefixes in any order; of equal prefixes the first wins. NULL when out of memory.
struct lpm *lpm_create(const struct lpm_prefix *prefixes, uint32_t n);
void lpm_destroy(struct lpm *lpm);

// Of an address that top[] does not answer; `top` is what it says, but for LPM_MORE.
uint32_t lpm_search(const struct lpm *lpm, uint32_t address, uint32_t top);

static inline uint32_t lpm_lookup(const struct lpm *lpm, uint32_t address)
{
	const uint32_t top = lpm->top[address >> 16];

	return __builtin_expect(!(top & LPM_MORE), 1) ? top
						      : lpm_search(lpm, address, top & ~LPM_MORE);
}
