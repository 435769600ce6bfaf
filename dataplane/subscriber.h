// SPDX-License-Identifier: BSD-3-Clause
// Subscribers: internal address (and pool) -> paired external address, lent blocks, limits.
// Touched when a mapping or session is made or ends, not per packet.
//
// A record lives as long as it has a lent or a resting block; a subscriber counts as active
// (max-subscribers) while it has a lent one. The table has room for as many resting subscribers as
// active ones.
//
// Owner:  one per worker. Memory: 141 bytes per record, taken once in subscribers_init().
#pragma once
#include "cgnat/drop.h"
#include "cgnat/types.h"
#include "index.h"
#include "token.h"
#include <stdint.h>

#define SUBSCRIBER_NONE UINT32_MAX

struct subscriber {
	uint32_t address; // internal, host order
	uint16_t pool, policy; // policy: of the newest mapping
	uint32_t paired; // index into portblocks.address (RFC 6888 REQ-2), or PORTBLOCK_NONE
	uint32_t preset; // its preset block (RFC 7422), or PORTBLOCK_NONE
	uint32_t lent,
		resting; // lists of blocks, linked by portblock.next: preset, then oldest lent first
	uint16_t n_lent, n_resting;
	uint32_t n_mappings, n_sessions;
	// Lent block from which on a free port is looked for: those before it have none. PORTBLOCK_NONE: the
	// first.
	uint32_t search[CGN_L4_COUNT];
	struct token_bucket rate; // of new-sessions-per-second
	uint64_t drops[CGN_SUBSCRIBER_DROP_COUNT];
} __attribute__((aligned(CGN_CACHE_LINE)));
_Static_assert(sizeof(struct subscriber) == 2 * CGN_CACHE_LINE, "there may be a million of them");

struct subscribers {
	struct subscriber *sub; // address and pool are valid where used
	bool *used;
	uint32_t *free_list; // the top - n_records removed ones, latest last
	struct index index;
	uint64_t seed[2];
	uint32_t n_max, n_records; // n_max: room, twice the active ones
	uint32_t n_active_max, n_active;
	uint32_t top; // records at and above were never used: walks end here
};

// n_active_max > 0. Returns 0 or -ENOMEM.
int subscribers_init(
	struct subscribers *s, uint32_t n_active_max, const uint64_t seed[2], int socket);
void subscribers_fini(struct subscribers *s);
uint64_t subscribers_bytes(uint32_t n_active_max);

static inline uint64_t subscriber_hash(const struct subscribers *s, uint32_t address, uint16_t pool)
{
	return index_hash(address | (uint64_t)pool << 32, s->seed);
}

// SUBSCRIBER_NONE when there is none.
uint32_t subscriber_lookup_hard(const struct subscribers *s, uint32_t address, uint16_t pool);
static inline uint32_t subscriber_lookup(
	const struct subscribers *s, uint32_t address, uint16_t pool)
{
	const uint32_t sub = index_candidate(&s->index, subscriber_hash(s, address, pool));

	if (sub == SUBSCRIBER_NONE ||
		cgn_likely(s->sub[sub].address == address && s->sub[sub].pool == pool))
		return sub;
	return subscriber_lookup_hard(s, address, pool);
}

// Adds a zeroed record without blocks (lists empty, not paired, not active). SUBSCRIBER_NONE when
// the table is full.
uint32_t subscriber_create(struct subscribers *s, uint32_t address, uint16_t pool);

// Removes a record without lent or resting blocks.
void subscriber_remove(struct subscribers *s, uint32_t sub);

// ---- for batches: the misses of many look-ups overlap

// Once the index line is there: the record that subscriber_lookup() will most likely find.
static inline uint32_t subscriber_prefetch(const struct subscribers *s, uint64_t hash)
{
	uint32_t sub = index_candidate(&s->index, hash);

	if (sub != SUBSCRIBER_NONE)
		cgn_prefetch_w(&s->sub[sub]); // its second line is that of drops
	return sub;
}
