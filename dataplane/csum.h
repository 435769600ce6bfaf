// SPDX-License-Identifier: BSD-3-Clause
// Internet checksums, updated by differences (RFC 1624 eqn. 3: HC' = ~(~HC + ~m + m')).
// All 16-bit words are as they lie in memory (network order); the sum does not care.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "cgnat/types.h"

static inline uint16_t csum_fold(uint32_t sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)(sum + (sum >> 16));
}

// The difference ~m + m' of replacing one 32-bit (16-bit) word by another; may be added up and
// then folded. At most 2 * 0xffff per 16-bit word.
static inline uint32_t csum_diff32(be32_t from, be32_t to)
{
	return (~from & 0xffff) + (~from >> 16) + (to & 0xffff) + (to >> 16);
}

static inline uint32_t csum_diff16(be16_t from, be16_t to)
{
	return (uint32_t)(uint16_t)~from + to;
}

// Applies a difference to a checksum field.
static inline be16_t csum_apply(be16_t check, uint32_t diff)
{
	return (be16_t)~csum_fold((uint32_t)(uint16_t)~check + diff);
}

// The difference that undoes `diff`, given folded.
static inline uint16_t csum_undo(uint16_t diff)
{
	return (uint16_t)~diff;
}

// Plain sum over `len` bytes (any length), to be folded; a checksum is its complement.
static inline uint32_t csum_sum(const void *data, size_t len, uint32_t sum)
{
	const uint8_t *p = data;
	uint64_t s = sum;

	for (; len >= 4; p += 4, len -= 4) {
		uint32_t word;

		memcpy(&word, p, 4);
		s += word;
	}
	if (len >= 2) {
		uint16_t word;

		memcpy(&word, p, 2);
		s += word;
		p += 2;
		len -= 2;
	}
	if (len)
		s += *p; // the odd byte is the first of its word: low byte on little endian
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffffffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	return (uint32_t)((s & 0xffff) + (s >> 16));
}

// True when the IPv4 header of `words` 32-bit words (5..15) sums to 0xffff.
static inline bool csum_ipv4_ok(const void *header, unsigned words)
{
	const uint8_t *p = header;
	uint64_t s = 0;

	for (unsigned i = 0; i < words; i++) {
		uint32_t word;

		memcpy(&word, p + 4 * i, 4);
		s += word;
	}
	s = (s & 0xffff) + ((s >> 16) & 0xffff) + (s >> 32);
	s = (s & 0xffff) + (s >> 16);
	return (uint16_t)(s + (s >> 16)) == 0xffff;
}
