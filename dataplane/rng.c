// SPDX-License-Identifier: BSD-3-Clause
#include "rng.h"
#include <string.h>

#define ROUNDS 8

void rng_init(struct rng *rng, const uint8_t key[32])
{
	static const char constant[16] = {
		'e', 'x', 'p', 'a', 'n', 'd', ' ', '3', '2', '-', 'b', 'y', 't', 'e', ' ', 'k'};

	memset(rng, 0, sizeof(*rng)); // words 12..13 count blocks, 14..15 are a nonce that stays 0
	memcpy(&rng->state[0], constant, 16);
	memcpy(&rng->state[4], key, 32);
	rng->used = 16;
}

static inline uint32_t rotate(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static inline void quarter_round(uint32_t x[16], int a, int b, int c, int d)
{
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 16);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 12);
	x[a] += x[b];
	x[d] = rotate(x[d] ^ x[a], 8);
	x[c] += x[d];
	x[b] = rotate(x[b] ^ x[c], 7);
}

void rng_refill(struct rng *rng)
{
	uint32_t x[16];

	memcpy(x, rng->state, sizeof(x));
	for (int i = 0; i < ROUNDS / 2; i++) {
		for (int col = 0; col < 4; col++)
			quarter_round(x, col, 4 + col, 8 + col, 12 + col);
		for (int col = 0; col < 4; col++)
			quarter_round(
				x, col, 4 + (col + 1) % 4, 8 + (col + 2) % 4, 12 + (col + 3) % 4);
	}
	for (int i = 0; i < 16; i++)
		rng->out[i] = x[i] + rng->state[i];
	if (!++rng->state[12])
		rng->state[13]++;
	rng->used = 0;
}
