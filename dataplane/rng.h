// SPDX-License-Identifier: BSD-3-Clause
// Random numbers that nobody outside can predict (RFC 6056, RFC 6888 REQ-15): ChaCha8, keyed from
// the kernel at start. One per worker; no lock, no system call after rng_init().
#pragma once
#include <stdint.h>

struct rng {
	uint32_t state[16];
	uint32_t out[16];
	uint32_t used; // words of out[] that are spent
};

// Keys the generator with 32 bytes. Tests pass a fixed key; the daemon getrandom()'s.
void rng_init(struct rng *rng, const uint8_t key[32]);

void rng_refill(struct rng *rng);

static inline uint32_t rng_u32(struct rng *rng)
{
	if (rng->used == 16)
		rng_refill(rng);
	return rng->out[rng->used++];
}

// 0 <= result < n, n > 0. Bias below n / 2^32.
static inline uint32_t rng_below(struct rng *rng, uint32_t n)
{
	return (uint32_t)(((uint64_t)rng_u32(rng) * n) >> 32);
}
