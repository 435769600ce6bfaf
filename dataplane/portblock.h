// SPDX-License-Identifier: BSD-3-Clause
// Port blocks: external ports are lent to subscribers in whole blocks, so that one record covers
// many sessions (RFC 6888 REQ-14) and a subscriber can be capped (REQ-4). One block serves UDP, TCP
// and ICMP ids, each with a number space of its own (REQ-13).
//
// A block is FREE, LENT, or RESTING after its last mapping ended: then only its last subscriber may
// have it again until the hold-down is over (REQ-8). A port is free, used by a mapping, or resting;
// rest.h keeps the resting ones, here their bit stays set.
//
// A deterministic pool (RFC 7422) has preset blocks, too: the ports that the plan gives a subscriber,
// of any number and not always in a row. Theirs is PRESET where the others' is FREE.
//
// Owner:  one per worker, for its share of every pool; only that worker calls these functions.
// Memory: 48 bytes and 3 bitmaps per block (96 bytes of them for 256 ports), taken once in portblocks_init().
// Units:  addresses and ports in host order, times in seconds of the worker's clock.
#pragma once
#include "cgnat/config.h"
#include "cgnat/deterministic.h"
#include "cgnat/types.h"
#include "mem.h"
#include "rng.h"
#include <stdbool.h>
#include <stdint.h>

#define PORTBLOCK_NONE UINT32_MAX

enum portblock_state {
	PORTBLOCK_FREE,
	PORTBLOCK_LENT,
	PORTBLOCK_RESTING,
	PORTBLOCK_RESERVED, // every port of it is reserved or has a static mapping: never lent, in no total
	PORTBLOCK_PRESET, // idle: lent to nobody but its subscriber
};

#define PORTBLOCK_NO_SLOT UINT16_MAX // of a block that is no preset one

struct portblock {
	uint32_t sub; // holder, or last holder while RESTING
	uint32_t address; // index into portblocks.address
	uint16_t first_port; // the lowest
	uint8_t state; // enum portblock_state
	uint8_t pool;
	uint16_t used[CGN_L4_COUNT]; // ports that mappings use
	uint16_t slot; // of the plan, of a preset block
	uint32_t n_resting; // ports in hold-down, of the three number spaces together
	uint32_t since_s; // lent or given back at
	uint32_t next; // subscriber's list (lent or resting); the caller's to link
	uint32_t rest_next; // resting blocks, oldest first
	union {
		uint32_t rest_prev; // RESTING
		uint32_t order; // LENT: rises along the subscriber's list; the caller's
	};
	uint32_t bits; // index of its first word in portblocks.port_bits
	uint32_t lent_at; // Unix time, s (until 2106); the caller's
};
_Static_assert(sizeof(struct portblock) == 48, "there are millions of blocks");

// One external address, or a port range of one, that this worker owns.
struct portblock_address {
	uint32_t address;
	uint32_t external; // its number in the plan, of a deterministic pool
	uint16_t pool;
	uint16_t first_port; // of its first block
	uint32_t first_block, n_blocks;
	uint32_t n_free;
	uint32_t avail_pos; // place in its pool's list of addresses with a free block
};

// A bitmap is n_port_words over the ports and then, when those are many, n_full_words over them (1 =
// word without a free port). A block has one bitmap per protocol.
struct portblock_shape {
	uint16_t n_ports, n_port_words, n_full_words;
};

struct portblock_pool {
	uint16_t block_size;
	struct portblock_shape shape, preset_shape;
	uint32_t *avail; // addresses with a free block, in no order
	uint32_t n_avail;
	uint32_t n_total, n_lent, n_resting; // blocks; reserved and preset ones in none
	uint64_t n_ports_used;

	// preset blocks
	const struct cgn_det *det; // NULL: a dynamic pool
	uint32_t *preset_number; // of the subscriber, ascending
	uint32_t preset_first; // its block; the others follow in the same order
	uint32_t n_presets, n_presets_lent, n_presets_resting;
};

// What portblocks_init() is given.
struct portblock_preset_spec {
	uint32_t number; // of the subscriber
	uint32_t address; // index of a portblock_address_spec
	uint16_t slot; // of this address
};
struct portblock_pool_spec {
	uint16_t block_size;
	const struct cgn_port_range *reserved;
	uint32_t n_reserved;
	const struct cgn_det *det; // of a deterministic pool; outlives the blocks
	const struct portblock_preset_spec *presets; // ascending by number
	uint32_t n_presets;
};
struct portblock_address_spec {
	uint32_t address;
	uint16_t pool;
	uint16_t first_port;
	uint32_t n_blocks; // without preset ones
	const struct cgn_port_range *reserved; // never given out of this address
	uint32_t n_reserved;
};

struct portblocks {
	struct portblock *block;
	struct portblock_address *address;
	struct portblock_pool *pool;
	uint64_t *free_blocks; // bitmap over all blocks, 1 = free
	uint64_t *port_bits; // bitmaps of all blocks, 1 = not free
	uint32_t n_blocks, n_addresses, n_pools;
	uint32_t rest_first, rest_last;
};

// All blocks are free, or preset, but the reserved ones. Returns 0 or -ENOMEM.
int portblocks_init(struct portblocks *pb, const struct portblock_pool_spec *pools,
	uint32_t n_pools, const struct portblock_address_spec *addresses, uint32_t n_addresses,
	int socket);
void portblocks_fini(struct portblocks *pb);

// Of one block of so many ports, with its bitmaps.
uint64_t portblock_bytes(uint16_t n_ports);

// An address of `pool` with a free block: the one with more free blocks of two random ones, so that
// subscribers spread evenly. PORTBLOCK_NONE when the pool has no free block.
uint32_t portblock_pick_address(const struct portblocks *pb, uint32_t pool, struct rng *rng);

// Lends a random free block of `address` to `sub`. PORTBLOCK_NONE when it has none.
uint32_t portblock_take(
	struct portblocks *pb, uint32_t address, uint32_t sub, struct rng *rng, uint32_t now_s);

// A free or preset block that rests since `since_s`, as the last run left it; `sub` is its last subscriber.
// Only at start, oldest first.
void portblock_begin_resting(struct portblocks *pb, uint32_t block, uint32_t sub, uint32_t since_s);

// The preset block of a subscriber of the plan; PORTBLOCK_NONE when it is another worker's.
uint32_t portblock_preset(const struct portblocks *pb, uint32_t pool, uint32_t number);

// Lends an idle preset block to its subscriber.
void portblock_take_preset(struct portblocks *pb, uint32_t block, uint32_t sub, uint32_t now_s);

// A resting block rests from `since_s` on, if that is later. Only at start.
void portblock_rest_longer(struct portblocks *pb, uint32_t block, uint32_t since_s);

// Lends a resting block to its last subscriber again. Its ports that still rest go on resting.
void portblock_retake(struct portblocks *pb, uint32_t block, uint32_t now_s);

// Gives a lent block back: it rests from now on. No port of it may be in use.
void portblock_give(struct portblocks *pb, uint32_t block, uint32_t now_s);

// The next block whose rest is over (now_s - since_s >= hold_s); it is FREE or PRESET afterwards, its `sub`
// and `next` still say what they did. PORTBLOCK_NONE when there is none. The caller frees the ports
// that rested in it first (their rest ends no later); until then the block rests on.
uint32_t portblock_rested(struct portblocks *pb, uint32_t now_s, uint32_t hold_s);

// Whether portblock_rested() has one.
bool portblock_is_rested(const struct portblocks *pb, uint32_t now_s, uint32_t hold_s);

// Takes a random free port of a lent block; finds one as long as there is one. -1 when none.
int32_t portblock_port_take(struct portblocks *pb, uint32_t block, enum cgn_l4 l4, struct rng *rng);

// Whether portblock_port_take() would find one; the block may also be a resting one.
bool portblock_has_free(const struct portblocks *pb, uint32_t block, enum cgn_l4 l4);

// A resting port of a lent block is used again by its endpoint.
void portblock_port_reuse(struct portblocks *pb, uint32_t block, enum cgn_l4 l4);

// A used port begins its rest: nobody gets it before portblock_port_free().
void portblock_port_rest(struct portblocks *pb, uint32_t block, enum cgn_l4 l4);

// The rest of a port is over.
void portblock_port_free(struct portblocks *pb, uint32_t block, enum cgn_l4 l4, uint16_t port);

static inline uint32_t portblock_used(const struct portblock *b)
{
	return (uint32_t)b->used[0] + b->used[1] + b->used[2];
}

static inline bool portblock_is_preset(const struct portblock *b)
{
	return b->slot != PORTBLOCK_NO_SLOT;
}

static inline const struct portblock_shape *portblock_shape(
	const struct portblocks *pb, const struct portblock *b)
{
	const struct portblock_pool *pool = &pb->pool[b->pool];

	return portblock_is_preset(b) ? &pool->preset_shape : &pool->shape;
}

// The ports of a block: every step-th from first to last; step 0: some of those.
struct cgn_det_span portblock_span(const struct portblocks *pb, uint32_t block);

// Whether the port is one of the block's.
bool portblock_has_port(const struct portblocks *pb, uint32_t block, uint16_t port);

// Fetches a block; some lie across two lines.
static inline void portblock_prefetch(const struct portblocks *pb, uint32_t block)
{
	cgn_prefetch_w(&pb->block[block]);
	cgn_prefetch_w((const char *)&pb->block[block + 1] - 1);
	cgn_prefetched();
}

// Fetches the bitmap that a port of a block will be searched in.
static inline void portblock_prefetch_bits(
	const struct portblocks *pb, uint32_t block, enum cgn_l4 l4)
{
	const struct portblock *b = &pb->block[block];
	const struct portblock_shape *shape = portblock_shape(pb, b);

	cgn_prefetch_w(pb->port_bits + b->bits +
		l4 * (uint32_t)(shape->n_port_words + shape->n_full_words));
	cgn_prefetched();
}
