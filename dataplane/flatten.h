// SPDX-License-Identifier: BSD-3-Clause
// Prefixes, which lie inside each other, as disjoint ranges in ascending order: what a longest-prefix
// match searches. Addresses are numbers of up to 128 bits.
//
// Thread: control, when a configuration is compiled.
#pragma once
#include <stdint.h>

#define FLATTEN_NONE UINT32_MAX // the value of addresses that no prefix covers

__extension__ typedef unsigned __int128 flatten_address;

struct flatten_prefix {
	flatten_address first, last;
	uint32_t order; // its place in what the caller was given: of equal prefixes the first wins
	uint32_t value; // anything but FLATTEN_NONE
};

// From `first` on, up to that of the next range, the value is `value`. Two ranges in a row differ.
struct flatten_range {
	flatten_address first;
	uint32_t value;
};

// Sorts the prefixes and writes at most 2 * n + 1 ranges; the first one begins at 0. `max` is the
// last address of all. Returns how many.
uint32_t flatten(struct flatten_prefix *prefixes, uint32_t n, flatten_address max,
	struct flatten_range *ranges);
