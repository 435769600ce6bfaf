// SPDX-License-Identifier: BSD-3-Clause
// Hash index: 64-bit hash -> record number. Knows no keys: a 16-bit tag says "perhaps", the caller
// compares the record. One bucket is one cache line of 10 entries; an entry lives in its first
// bucket or, when that was full, in its second one, which follows from the first and the tag
// (so entries can be moved without looking at their records).
//
// Owner:  one worker; only that worker calls these functions.
// Memory: about 8 bytes per entry, taken once in index_create(); nothing grows afterwards.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#include "mem.h"

#define INDEX_NONE UINT32_MAX
#define INDEX_SLOTS 10

struct index_bucket {
	uint16_t tag[INDEX_SLOTS]; // 0 = free
	uint16_t n_away; // entries whose first bucket this is and which live in their second
	uint16_t guests; // bit per slot: this is the entry's second bucket
	uint32_t record[INDEX_SLOTS];
} __attribute__((aligned(CGN_CACHE_LINE)));
_Static_assert(sizeof(struct index_bucket) == CGN_CACHE_LINE, "a bucket is one cache line");

struct index {
	struct index_bucket *bucket;
	uint32_t n_buckets;
	uint32_t n_entries;
};

// Multilinear hashing with secret words (seed[0..1], random at start): whatever two keys somebody
// chooses, they meet in the upper half of the sum with a chance of 2^-32. Then it is stirred, as
// keys in a row would lie in a row. Vectors of it are computed in fast.c, too.
#define INDEX_STIR 0x9e3779b97f4a7c15ull

static inline uint64_t index_hash(uint64_t key, const uint64_t seed[2])
{
	uint64_t h = (uint32_t)key * seed[0] + (key >> 32) * seed[1];

	h = (h ^ h >> 32) * INDEX_STIR;
	return h ^ h >> 32;
}

static inline uint32_t index_first(const struct index *t, uint64_t hash)
{
	return (uint32_t)(((hash >> 32) * t->n_buckets) >> 32);
}

static inline uint16_t index_tag(uint64_t hash)
{
	uint16_t tag = (uint16_t)hash;

	return tag ? tag : 1;
}

// first + second = something that only the tag decides, modulo n_buckets: each gives the other.
static inline uint32_t index_other(const struct index *t, uint32_t bucket, uint16_t tag)
{
	uint32_t sum = (uint32_t)(((uint64_t)(tag * 0x9e3779b1u) * t->n_buckets) >> 32);

	return sum >= bucket ? sum - bucket : sum + t->n_buckets - bucket;
}

static inline void index_prefetch(const struct index *t, uint64_t hash)
{
	cgn_prefetch(&t->bucket[index_first(t, hash)]);
	cgn_prefetched();
}

// Bit per slot whose tag is `tag`.
static inline unsigned index_match(const struct index_bucket *b, uint16_t tag)
{
#ifdef __SSE2__
	const __m128i want = _mm_set1_epi16((short)tag);
	__m128i lo = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b), want);
	__m128i hi = _mm_cmpeq_epi16(_mm_load_si128((const __m128i *)b + 1), want);

	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(lo, hi)) & ((1u << INDEX_SLOTS) - 1);
#else
	unsigned bits = 0;

	for (unsigned i = 0; i < INDEX_SLOTS; i++)
		bits |= (unsigned)(b->tag[i] == tag) << i;
	return bits;
#endif
}

// The most likely record for `hash`: the first whose tag fits, of the first bucket and, only if
// entries had to leave it, of the second. INDEX_NONE is certain; a record must still be compared,
// and when it is the wrong one (about 1 in 10,000) index_lookup() decides.
static inline uint32_t index_candidate(const struct index *t, uint64_t hash)
{
	const uint16_t tag = index_tag(hash);
	const uint32_t first = index_first(t, hash);
	const struct index_bucket *b = &t->bucket[first];
	unsigned bits = index_match(b, tag);

	if (cgn_likely(bits))
		return b->record[__builtin_ctz(bits)];
	if (cgn_likely(!b->n_away))
		return INDEX_NONE;
	b = &t->bucket[index_other(t, first, tag)];
	bits = index_match(b, tag);
	return bits ? b->record[__builtin_ctz(bits)] : INDEX_NONE;
}

// Exact look-up: calls same(ctx, record) for every candidate until it returns true.
// Returns the record or INDEX_NONE.
uint32_t index_lookup(const struct index *t, uint64_t hash,
	bool (*same)(const void *ctx, uint32_t record), const void *ctx);

// Takes memory for n_max entries. Returns 0 or -ENOMEM.
int index_init(struct index *t, uint32_t n_max, int socket);
void index_fini(struct index *t);
uint64_t index_bytes(uint32_t n_max); // what index_init() takes

// Adds an entry; the caller has made sure that it is not there. May move others (bounded search).
// Returns false when no room could be made; practically never below n_max entries.
bool index_insert_hard(struct index *t, uint64_t hash, uint32_t record);
static inline bool index_insert(struct index *t, uint64_t hash, uint32_t record)
{
	struct index_bucket *b = &t->bucket[index_first(t, hash)];
	const unsigned free_slots = index_match(b, 0);
	unsigned slot;

	if (cgn_unlikely(!free_slots))
		return index_insert_hard(t, hash, record);
	slot = (unsigned)__builtin_ctz(free_slots);
	b->tag[slot] = index_tag(hash);
	b->record[slot] = record;
	t->n_entries++;
	return true;
}

// Before many inserts: asks for the second bucket where the first, which is there by now, is full.
static inline void index_prefetch_second(const struct index *t, uint64_t hash)
{
	const uint32_t first = index_first(t, hash);

	if (cgn_unlikely(!index_match(&t->bucket[first], 0)))
		cgn_prefetch_w(&t->bucket[index_other(t, first, index_tag(hash))]);
	cgn_prefetched();
}

// The entry (hash, from), which must be there, becomes (hash, to). Never fails.
void index_replace(struct index *t, uint64_t hash, uint32_t from, uint32_t to);

// Before many removals: asks for the second bucket where the first, which is there by now, does not
// seem to have the entry.
static inline void index_prefetch_away(const struct index *t, uint64_t hash)
{
	const uint32_t first = index_first(t, hash);

	if (cgn_unlikely(!index_match(&t->bucket[first], index_tag(hash))))
		cgn_prefetch_w(&t->bucket[index_other(t, first, index_tag(hash))]);
	cgn_prefetched();
}

// Removes the entry (hash, record). Returns false when it is not there.
bool index_remove(struct index *t, uint64_t hash, uint32_t record);
