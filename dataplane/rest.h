// SPDX-License-Identifier: BSD-3-Clause
// Ports in hold-down: a freed port goes back only to the same internal endpoint while it rests
// (RFC 6888 REQ-8). A first-in first-out list, because the hold time is the same for all, and an
// index by endpoint. Bounded: when the table is full the oldest rest ends early. A list and not a
// ring, so that ports taken up again leave no holes that would fill it or be walked over.
//
// Owner:  one per worker. Memory: 26 and 8 (index) bytes per entry, taken once in rest_init().
#pragma once
#include "index.h"
#include <stdbool.h>
#include <stdint.h>

struct rest_port {
	uint64_t key; // internal endpoint and pool, see REST_KEY
	uint32_t block;
	uint32_t since_s;
	uint32_t next, prev; // younger, older; rest.c's
	uint16_t port; // external, host order
} __attribute__((packed, aligned(2)));
_Static_assert(sizeof(struct rest_port) == 26, "there are millions of them");

// `endpoint` is a flow key (flow.h): its top byte is free.
#define REST_KEY(endpoint, pool) ((endpoint) | (uint64_t)(pool) << 56)

struct rest {
	struct rest_port *entry;
	struct index index;
	uint64_t seed[2];
	uint32_t n_max, n_live;
	uint32_t first, last; // oldest, youngest
	uint32_t free_first; // linked through next
	uint32_t top; // entries at and above were never used
};

// n_max > 0. Returns 0 or -ENOMEM.
int rest_init(struct rest *r, uint32_t n_max, const uint64_t seed[2], int socket);
void rest_fini(struct rest *r);
uint64_t rest_bytes(uint32_t n_max);

// A port begins its rest. When the table is full, the oldest entry leaves it early: it is stored in
// *early and true is returned; the caller frees that port.
bool rest_put(struct rest *r, uint64_t key, uint32_t block, uint16_t port, uint32_t now_s,
	struct rest_port *early);

// The endpoint is back: takes its resting port out. False when none rests.
bool rest_take(struct rest *r, uint64_t key, struct rest_port *out);

// Takes out the oldest port whose rest is over (now_s - since_s >= hold_s). False when there is none.
bool rest_due(struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *out);

// Takes stock of the oldest ports whose rest is over, as rest_due() will give them one after the other:
// their numbers, at most `max`, in due[]. Returns how many.
uint32_t rest_look(
	const struct rest *r, uint32_t now_s, uint32_t hold_s, uint32_t *due, uint32_t max);

// The endpoint's resting port, left where it is. False when none rests.
bool rest_find(const struct rest *r, uint64_t key, struct rest_port *out);

// ---- for batches: the misses of many overlap

static inline void rest_prefetch(const struct rest *r, uint64_t key)
{
	index_prefetch(&r->index, index_hash(key, r->seed));
	cgn_prefetched();
}

// The entries of the next `n` ports that begin to rest, as far as they were never used.
static inline void rest_prefetch_new(const struct rest *r, uint32_t n)
{
	for (uint32_t i = r->top; i < r->n_max && i - r->top < n; i++)
		cgn_prefetch_w(&r->entry[i]);
	cgn_prefetched();
}
