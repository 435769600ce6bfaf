// SPDX-License-Identifier: BSD-3-Clause
#include "claims.h"
#include <assert.h>
#include <stdatomic.h>
#include <string.h>
#include "index.h"
#include "mem.h"

struct bucket {
	_Atomic uint64_t slot[CLAIMS_SLOTS]; // 0 = free
} __attribute__((aligned(CGN_CACHE_LINE)));

struct claims {
	uint64_t seed[2];
	uint32_t n_workers;
	struct bucket bucket[][CLAIMS_BUCKETS]; // by worker
};

uint64_t claims_bytes(uint32_t n_workers)
{
	return sizeof(struct claims) + n_workers * sizeof(struct bucket) * CLAIMS_BUCKETS;
}

struct claims *claims_create(uint32_t n_workers, const uint64_t seed[2])
{
	struct claims *c = mem_take("claims", claims_bytes(n_workers), -1);

	if (!c)
		return NULL;
	memcpy(c->seed, seed, sizeof(c->seed));
	c->n_workers = n_workers;
	return c;
}

void claims_destroy(struct claims *c)
{
	mem_give(c);
}

// A flow's name in one word: a keyed hash, of which two flows practically never have the same.
static uint64_t name_of(const struct claims *c, uint64_t external, be32_t remote)
{
	return index_hash(index_hash(remote, c->seed) ^ external, c->seed) | 1;
}

static unsigned bucket_of(uint64_t name)
{
	return (unsigned)(name >> 1) % CLAIMS_BUCKETS;
}

static bool has(const struct claims *c, uint32_t worker, uint64_t name)
{
	const struct bucket *b = &c->bucket[worker][bucket_of(name)];

	for (unsigned i = 0; i < CLAIMS_SLOTS; i++) {
		if (atomic_load_explicit(&b->slot[i], memory_order_seq_cst) == name)
			return true;
	}
	return false;
}

static uint32_t find(const struct claims *c, uint64_t name, uint32_t but)
{
	for (uint32_t i = 0; i < c->n_workers; i++) {
		if (i != but && has(c, i, name))
			return i;
	}
	return CLAIMS_NOBODY;
}

enum claims_result claims_take(struct claims *c, uint32_t self, uint64_t external, be32_t remote)
{
	const uint64_t name = name_of(c, external, remote);
	struct bucket *b = &c->bucket[self][bucket_of(name)];
	unsigned i = 0;

	while (i < CLAIMS_SLOTS && atomic_load_explicit(&b->slot[i], memory_order_relaxed))
		i++;
	if (find(c, name, self) != CLAIMS_NOBODY)
		return CLAIMS_TAKEN;
	if (i == CLAIMS_SLOTS)
		return CLAIMS_FULL;
	// the store comes before the loads of find(), for all workers in one order
	atomic_store_explicit(&b->slot[i], name, memory_order_seq_cst);
	if (find(c, name, self) == CLAIMS_NOBODY)
		return CLAIMS_GRANTED;
	atomic_store_explicit(&b->slot[i], 0, memory_order_seq_cst);
	return CLAIMS_TAKEN;
}

void claims_give(struct claims *c, uint32_t self, uint64_t external, be32_t remote)
{
	const uint64_t name = name_of(c, external, remote);
	struct bucket *b = &c->bucket[self][bucket_of(name)];
	unsigned i = 0;

	while (i < CLAIMS_SLOTS && atomic_load_explicit(&b->slot[i], memory_order_relaxed) != name)
		i++;
	assert(i < CLAIMS_SLOTS);
	atomic_store_explicit(&b->slot[i], 0, memory_order_seq_cst);
}

uint32_t claims_count(const struct claims *c, uint32_t worker)
{
	uint32_t n = 0;

	for (unsigned b = 0; b < CLAIMS_BUCKETS; b++) {
		for (unsigned i = 0; i < CLAIMS_SLOTS; i++)
			n += atomic_load_explicit(
				     &c->bucket[worker][b].slot[i], memory_order_relaxed) != 0;
	}
	return n;
}

uint32_t claims_find(const struct claims *c, uint64_t external, be32_t remote)
{
	return find(c, name_of(c, external, remote), CLAIMS_NOBODY);
}
