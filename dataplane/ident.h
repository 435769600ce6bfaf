// SPDX-License-Identifier: BSD-3-Clause
// IPv4 identification of what leaves with an address of ours (RFC 6864 5.3.1): datagrams that are or
// may become fragments get a new one, as if the external address had sent them; else two subscribers
// behind one address could send fragments that are put together at the far end.
//
// A small table of counters. (source, destination, protocol) picks one by a secret hash, which also
// adds an offset, so that nobody can count another's packets or guess his next identification.
//
// Owner:  one per worker. Memory: 8 KiB inside the worker.
// Where workers share external addresses (split ones), worker k of n gives the numbers k, k + n, ...,
// so that theirs differ.
#pragma once
#include <stdint.h>
#include "cgnat/types.h"
#include "index.h"

#define IDENT_COUNTERS 4096 // power of two

struct ident {
	uint64_t seed[2];
	uint16_t first, step; // of this worker; 0 and 1 where it shares no address
	uint16_t counter[IDENT_COUNTERS];
};

// `random`: a source of 32 random bits, called with `ctx`.
void ident_init(struct ident *t, uint16_t first, uint16_t step, const uint64_t seed[2],
	uint32_t (*random)(void *ctx), void *ctx);

// The next identification of a datagram from `src` to `dst`. After 65536 / step of the same
// counter it comes again.
static inline be16_t ident_next(struct ident *t, be32_t src, be32_t dst, uint8_t proto)
{
	uint64_t key = ((uint64_t)src << 32 | dst) ^ (uint64_t)proto * 0x9e3779b97f4a7c15ull;
	uint64_t hash = index_hash(key, t->seed);
	uint16_t n = (uint16_t)(t->counter[hash % IDENT_COUNTERS]++ + (uint16_t)(hash >> 48));

	return (be16_t)(n * t->step + t->first);
}
