// SPDX-License-Identifier: BSD-3-Clause
// Ports in hold-down: a freed port goes back only to the same internal endpoint while it rests
// (RFC 6888 REQ-8). First in, first out, because the hold time is the same for all, and an index by
// endpoint. A ring: a port that is taken up again leaves a hole, which keeps its place until those
// before it have ended; so the ring is full, and the oldest rest ends early, when so many rests have begun
// within the hold time.
//
// Owner:  one per worker. Memory: 11 and 8 (index) bytes per entry, taken once in rest_init().
#pragma once
#include "cgnat/types.h"
#include "index.h"
#include "portblock.h"
#include <stdbool.h>

#define REST_BLOCKS_MAX ((1u << 30) - 1)

// The subscriber is not in it: the block knows whom it is lent to.
struct rest_entry {
	uint32_t block : 30; // REST_BLOCKS_MAX: a hole
	uint32_t kind : 2; // of the key
	uint16_t what; // likewise
	uint16_t port; // external, host order
	uint8_t since_s[3]; // modulo 2^24
} __attribute__((packed));
_Static_assert(sizeof(struct rest_entry) == 11, "there are millions of them");

// Whose it is: subscriber, internal port, number space. Of a portless protocol, whose port is 0, the
// protocol instead.
#define REST_PORTLESS CGN_L4_COUNT
static inline uint64_t rest_key(uint32_t sub, uint64_t endpoint) // a flow key (flow.h)
{
	const uint8_t proto = (uint8_t)(endpoint >> 48);

	if (cgn_is_portless(proto))
		return sub | (uint64_t)proto << 32 | (uint64_t)REST_PORTLESS << 48;
	return sub | (uint64_t)(uint16_t)(endpoint >> 32) << 32 | (uint64_t)cgn_l4_of(proto) << 48;
}

struct rest_port {
	uint64_t key;
	uint32_t block;
	uint32_t since_s;
	uint16_t port;
};

static inline enum cgn_l4 rest_l4(const struct rest_port *p)
{
	const unsigned kind = (unsigned)(p->key >> 48);

	return kind == REST_PORTLESS ? CGN_L4_ICMP : (enum cgn_l4)kind;
}

struct rest {
	struct rest_entry *entry;
	const struct portblocks *blocks;
	struct index index;
	uint64_t seed[2];
	uint32_t n_max, n_live;
	uint32_t first, n_held; // the oldest; how many from there on, holes among them
	uint32_t last_s; // when a rest began last
};

// n_max > 0; `blocks` outlives it. Returns 0 or -ENOMEM.
int rest_init(struct rest *r, uint32_t n_max, const struct portblocks *blocks,
	const uint64_t seed[2], int socket);
void rest_fini(struct rest *r);
uint64_t rest_bytes(uint32_t n_max);

// A port begins its rest; its block is lent to the subscriber in the key. When there is no place, the oldest
// leaves: if it is a rest, it is stored in *early and true is returned; the caller frees that port.
bool rest_put(struct rest *r, uint64_t key, uint32_t block, uint16_t port, uint32_t now_s,
	struct rest_port *early);

// The endpoint is back: takes its resting port out. False when none rests.
bool rest_take(struct rest *r, uint64_t key, struct rest_port *out);

// Takes out the oldest port whose rest is over (now_s - since_s >= hold_s). False when there is none.
bool rest_due(struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *out);

// Takes stock of the oldest ports whose rest is over, as rest_due() will give them one after the other:
// at most `max`, in due[], the subscribers in their keys left 0. Returns how many.
uint32_t rest_look(
	struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *due, uint32_t max);

// The endpoint's resting port, left where it is. False when none rests.
bool rest_find(const struct rest *r, uint64_t key, struct rest_port *out);

// The rest in this place of the ring, 0 the oldest. False: a hole, or none.
bool rest_at(const struct rest *r, uint32_t place, struct rest_port *out);

// ---- for batches: the misses of many overlap

static inline void rest_prefetch(const struct rest *r, uint64_t key)
{
	index_prefetch(&r->index, index_hash(key, r->seed));
	cgn_prefetched();
}

// The places of the next `n` ports that begin to rest.
static inline void rest_prefetch_new(const struct rest *r, uint32_t n)
{
	const uint32_t next = r->first + r->n_held;
	const char *at = (const char *)&r->entry[next < r->n_max ? next : next - r->n_max];
	const char *end = (const char *)(r->entry + r->n_max);

	for (const char *p = at; p < end && p < at + n * sizeof(struct rest_entry) + CGN_CACHE_LINE;
		p += CGN_CACHE_LINE)
		cgn_prefetch_w(p);
	cgn_prefetched();
}
