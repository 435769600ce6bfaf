// SPDX-License-Identifier: BSD-3-Clause
// SipHash-2-4 of one word: a keyed pseudo-random function. Pure.
#pragma once
#include <stdint.h>

static inline uint64_t siphash_rotate(uint64_t x, unsigned n)
{
	return x << n | x >> (64 - n);
}

static inline void siphash_rounds(uint64_t v[4], unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = siphash_rotate(v[1], 13) ^ v[0];
		v[3] = siphash_rotate(v[3], 16) ^ v[2];
		v[0] = siphash_rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = siphash_rotate(v[1], 17) ^ v[2];
		v[3] = siphash_rotate(v[3], 21) ^ v[0];
		v[2] = siphash_rotate(v[2], 32);
	}
}

// The hash of the 8 bytes of `word`, least significant first.
static inline uint64_t siphash_word(const uint8_t key[16], uint64_t word)
{
	const uint64_t last = 8ull << 56; // length and no further bytes
	uint64_t k[2] = {0}, v[4];

	for (unsigned i = 0; i < 16; i++)
		k[i / 8] |= (uint64_t)key[i] << 8 * (i % 8);
	v[0] = k[0] ^ 0x736f6d6570736575ull;
	v[1] = k[1] ^ 0x646f72616e646f6dull;
	v[2] = k[0] ^ 0x6c7967656e657261ull;
	v[3] = k[1] ^ 0x7465646279746573ull;
	v[3] ^= word;
	siphash_rounds(v, 2);
	v[0] ^= word;
	v[3] ^= last;
	siphash_rounds(v, 2);
	v[0] ^= last;
	v[2] ^= 0xff;
	siphash_rounds(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}
