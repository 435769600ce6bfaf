// SPDX-License-Identifier: BSD-3-Clause
#include "index.h"
#include <assert.h>
#include <errno.h>

#define INDEX_LOAD 8 // entries per bucket when n_max entries are in: 80 % of its slots
#define INDEX_BUCKETS_MIN 16u // small tables are uneven; 1 KiB is cheap
#define INDEX_SEARCH 32 // buckets whose entries an insert tries to move

#define ALL_SLOTS ((1u << INDEX_SLOTS) - 1)

static uint32_t buckets_for(uint32_t n_max)
{
	uint32_t n = n_max / INDEX_LOAD + !!(n_max % INDEX_LOAD);

	return n < INDEX_BUCKETS_MIN ? INDEX_BUCKETS_MIN : n;
}

uint64_t index_bytes(uint32_t n_max)
{
	return (uint64_t)buckets_for(n_max) * sizeof(struct index_bucket);
}

int index_init(struct index *t, uint32_t n_max, int socket)
{
	t->n_buckets = buckets_for(n_max);
	t->n_entries = 0;
	t->bucket = mem_take("index", index_bytes(n_max), socket);
	return t->bucket ? 0 : -ENOMEM;
}

void index_fini(struct index *t)
{
	mem_give(t->bucket);
	t->bucket = NULL;
}

static uint32_t lookup_in(const struct index_bucket *b, unsigned slots,
	bool (*same)(const void *ctx, uint32_t record), const void *ctx)
{
	for (; slots; slots &= slots - 1) {
		uint32_t record = b->record[__builtin_ctz(slots)];

		if (same(ctx, record))
			return record;
	}
	return INDEX_NONE;
}

uint32_t index_lookup(const struct index *t, uint64_t hash,
	bool (*same)(const void *ctx, uint32_t record), const void *ctx)
{
	const uint16_t tag = index_tag(hash);
	const uint32_t first = index_first(t, hash);
	const struct index_bucket *b = &t->bucket[first];
	uint32_t record = lookup_in(b, index_match(b, tag) & ~b->guests, same, ctx);

	if (record != INDEX_NONE || !b->n_away)
		return record;
	b = &t->bucket[index_other(t, first, tag)];
	return lookup_in(b, index_match(b, tag) & b->guests, same, ctx);
}

static void put(struct index_bucket *b, unsigned slot, uint16_t tag, uint32_t record, bool guest)
{
	b->tag[slot] = tag;
	b->record[slot] = record;
	if (guest)
		b->guests |= (uint16_t)(1u << slot);
	else
		b->guests &= (uint16_t) ~(1u << slot);
}

// Moves an entry to a free slot of its other bucket.
static void move(
	struct index_bucket *from, unsigned slot, struct index_bucket *to, unsigned to_slot)
{
	const bool was_guest = from->guests >> slot & 1;

	if (was_guest)
		to->n_away--; // it comes home
	else
		from->n_away++;
	put(to, to_slot, from->tag[slot], from->record[slot], !was_guest);
	put(from, slot, 0, 0, false);
}

// A bucket that the search for room has reached, by way of an entry of its parent.
struct step {
	uint32_t bucket;
	int8_t parent; // -1: one of the new entry's own two buckets
	uint8_t slot; // of the parent: the entry that could move here
};

// Moves the entry in `slot` of step `at` to `to`, then the one before it into its place, and so on
// to the root of the path. Returns the root's bucket, where *free_slot is free now.
static uint32_t move_path(struct index *t, const struct step *steps, int at, unsigned slot,
	uint32_t to, unsigned *free_slot)
{
	unsigned to_slot = (unsigned)__builtin_ctz(index_match(&t->bucket[to], 0));

	for (;;) {
		move(&t->bucket[steps[at].bucket], slot, &t->bucket[to], to_slot);
		to = steps[at].bucket;
		to_slot = slot;
		if (steps[at].parent < 0)
			break;
		slot = steps[at].slot;
		at = steps[at].parent;
	}
	*free_slot = to_slot;
	return to;
}

// Both buckets are full: breadth-first search for entries that can move on. The path found is the
// shortest, so it visits no bucket twice and its moves do not disturb each other. Returns the one of the
// two that has room now, or INDEX_NONE.
static uint32_t make_room(struct index *t, uint32_t first, uint32_t second, unsigned *free_slot)
{
	struct step steps[INDEX_SEARCH] = {{first, -1, 0}, {second, -1, 0}};
	int n = first == second ? 1 : 2;

	for (int at = 0; at < n; at++) {
		const struct index_bucket *b = &t->bucket[steps[at].bucket];

		for (unsigned slot = 0; slot < INDEX_SLOTS; slot++) {
			uint32_t to = index_other(t, steps[at].bucket, b->tag[slot]);

			if (to == steps[at].bucket)
				continue;
			if (b->n_away == UINT16_MAX && !(b->guests >> slot & 1))
				continue; // cannot be counted
			if (index_match(&t->bucket[to], 0))
				return move_path(t, steps, at, slot, to, free_slot);
			if (n < INDEX_SEARCH)
				steps[n++] = (struct step){to, (int8_t)at, (uint8_t)slot};
		}
	}
	return INDEX_NONE;
}

bool index_insert_hard(struct index *t, uint64_t hash, uint32_t record)
{
	const uint16_t tag = index_tag(hash);
	const uint32_t first = index_first(t, hash);
	const uint32_t second = index_other(t, first, tag);
	const bool may_leave = second != first && t->bucket[first].n_away < UINT16_MAX - 1;
	unsigned free_slots = index_match(&t->bucket[first], 0);
	uint32_t place = first;

	if (!free_slots && may_leave) {
		place = second;
		free_slots = index_match(&t->bucket[second], 0);
	}
	if (free_slots) {
		put(&t->bucket[place], (unsigned)__builtin_ctz(free_slots), tag, record,
			place != first);
	} else {
		unsigned slot;

		place = make_room(t, first, may_leave ? second : first, &slot);
		if (place == INDEX_NONE)
			return false;
		put(&t->bucket[place], slot, tag, record, place != first);
	}
	t->bucket[first].n_away += place != first;
	t->n_entries++;
	return true;
}

bool index_remove(struct index *t, uint64_t hash, uint32_t record)
{
	const uint16_t tag = index_tag(hash);
	const uint32_t first = index_first(t, hash);
	const uint32_t place[2] = {first, index_other(t, first, tag)};

	for (unsigned guest = 0; guest < 2; guest++) {
		struct index_bucket *b = &t->bucket[place[guest]];
		unsigned slots = index_match(b, tag) & (guest ? b->guests : ~b->guests & ALL_SLOTS);

		for (; slots; slots &= slots - 1) {
			unsigned slot = (unsigned)__builtin_ctz(slots);

			if (b->record[slot] != record)
				continue;
			put(b, slot, 0, 0, false);
			t->bucket[first].n_away -= (uint16_t)guest;
			t->n_entries--;
			return true;
		}
		if (!t->bucket[first].n_away)
			break;
	}
	return false;
}

void index_replace(struct index *t, uint64_t hash, uint32_t from, uint32_t to)
{
	const uint16_t tag = index_tag(hash);
	const uint32_t first = index_first(t, hash);
	const uint32_t place[2] = {first, index_other(t, first, tag)};

	for (unsigned guest = 0; guest < 2; guest++) {
		struct index_bucket *b = &t->bucket[place[guest]];
		unsigned slots = index_match(b, tag) & (guest ? b->guests : ~b->guests & ALL_SLOTS);

		for (; slots; slots &= slots - 1) {
			unsigned slot = (unsigned)__builtin_ctz(slots);

			if (b->record[slot] == from) {
				b->record[slot] = to;
				return;
			}
		}
	}
	assert(false);
}
