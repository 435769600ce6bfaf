// SPDX-License-Identifier: BSD-3-Clause
#include "rest.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define HOLE REST_BLOCKS_MAX
#define TIME_MASK 0xffffffu
#define HOLES_AHEAD 64 // that rest_look() passes over

int rest_init(struct rest *r, uint32_t n_max, const struct portblocks *blocks,
	const uint64_t seed[2], int socket)
{
	assert(n_max && n_max < UINT32_MAX / 2);
	memset(r, 0, sizeof(*r));
	memcpy(r->seed, seed, sizeof(r->seed));
	r->n_max = n_max;
	r->blocks = blocks;
	r->entry = mem_take("resting ports", n_max * sizeof(*r->entry), socket);
	if (!r->entry)
		return -ENOMEM;
	if (index_init(&r->index, n_max, socket)) {
		rest_fini(r);
		return -ENOMEM;
	}
	return 0;
}

void rest_fini(struct rest *r)
{
	mem_give(r->entry);
	r->entry = NULL;
	index_fini(&r->index);
}

uint64_t rest_bytes(uint32_t n_max)
{
	return (uint64_t)n_max * sizeof(struct rest_entry) + index_bytes(n_max);
}

static uint32_t number_of(const struct rest *r, uint32_t place)
{
	const uint32_t n = r->first + place;

	return n < r->n_max ? n : n - r->n_max;
}

static uint32_t since_of(const struct rest *r, const struct rest_entry *e)
{
	const uint32_t since =
		e->since_s[0] | (uint32_t)e->since_s[1] << 8 | (uint32_t)e->since_s[2] << 16;

	return r->last_s - ((r->last_s - since) & TIME_MASK);
}

static uint64_t key_of(const struct rest *r, const struct rest_entry *e)
{
	return r->blocks->block[e->block].sub | (uint64_t)e->what << 32 | (uint64_t)e->kind << 48;
}

static void describe(const struct rest *r, const struct rest_entry *e, struct rest_port *out)
{
	*out = (struct rest_port){key_of(r, e), e->block, since_of(r, e), e->port};
}

static void drop_first(struct rest *r)
{
	r->first = r->first + 1 < r->n_max ? r->first + 1 : 0;
	r->n_held--;
}

static void take_out(struct rest *r, uint32_t n, struct rest_port *out)
{
	struct rest_entry *e = &r->entry[n];

	describe(r, e, out);
	// An entry for which the index had no room is not there; it could only not be taken early.
	index_remove(&r->index, index_hash(out->key, r->seed), n);
	e->block = HOLE;
	r->n_live--;
	if (n == r->first)
		drop_first(r);
}

bool rest_put(struct rest *r, uint64_t key, uint32_t block, uint16_t port, uint32_t now_s,
	struct rest_port *early)
{
	bool cut = false;
	uint32_t n;

	assert(block < REST_BLOCKS_MAX && r->blocks->block[block].sub == (uint32_t)key);
	if (r->n_held == r->n_max) {
		cut = r->entry[r->first].block != HOLE;
		if (cut)
			take_out(r, r->first, early);
		else
			drop_first(r);
	}
	n = number_of(r, r->n_held++);
	r->last_s = now_s;
	r->entry[n] = (struct rest_entry){.block = block,
		.kind = (uint8_t)(key >> 48) & 3,
		.what = (uint16_t)(key >> 32),
		.port = port,
		.since_s = {(uint8_t)now_s, (uint8_t)(now_s >> 8), (uint8_t)(now_s >> 16)}};
	r->n_live++;
	index_insert(&r->index, index_hash(key, r->seed), n);
	return cut;
}

struct probe {
	const struct rest *rest;
	uint64_t key;
};

static bool same_key(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct rest_entry *e = &p->rest->entry[record];

	return e->what == (uint16_t)(p->key >> 32) && e->kind == p->key >> 48 &&
		key_of(p->rest, e) == p->key;
}

static uint32_t lookup(const struct rest *r, uint64_t key)
{
	const struct probe p = {r, key};

	return index_lookup(&r->index, index_hash(key, r->seed), same_key, &p);
}

bool rest_take(struct rest *r, uint64_t key, struct rest_port *out)
{
	const uint32_t n = lookup(r, key);

	if (n == INDEX_NONE)
		return false;
	take_out(r, n, out);
	return true;
}

static bool is_over(
	const struct rest *r, const struct rest_entry *e, uint32_t now_s, uint32_t hold_s)
{
	return now_s - since_of(r, e) >= hold_s;
}

bool rest_due(struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *out)
{
	while (r->n_held && r->entry[r->first].block == HOLE)
		drop_first(r);
	if (!r->n_held || !is_over(r, &r->entry[r->first], now_s, hold_s))
		return false;
	take_out(r, r->first, out);
	return true;
}

uint32_t rest_look(
	struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *due, uint32_t max)
{
	uint32_t n = 0, n_holes = 0;

	// so that many in a row are not walked over at once
	for (; n_holes < HOLES_AHEAD && r->n_held && r->entry[r->first].block == HOLE; n_holes++)
		drop_first(r);
	for (uint32_t i = 0; i < r->n_held && n < max; i++) {
		const struct rest_entry *e = &r->entry[number_of(r, i)];

		if (e->block == HOLE) {
			if (++n_holes > 2 * HOLES_AHEAD)
				break;
			continue;
		}
		if (!is_over(r, e, now_s, hold_s))
			break;
		due[n++] = (struct rest_port){(uint64_t)e->what << 32 | (uint64_t)e->kind << 48,
			e->block, since_of(r, e), e->port};
	}
	return n;
}

bool rest_find(const struct rest *r, uint64_t key, struct rest_port *out)
{
	const uint32_t n = lookup(r, key);

	if (n == INDEX_NONE)
		return false;
	describe(r, &r->entry[n], out);
	return true;
}

bool rest_at(const struct rest *r, uint32_t place, struct rest_port *out)
{
	const struct rest_entry *e;

	if (place >= r->n_held)
		return false;
	e = &r->entry[number_of(r, place)];
	if (e->block == HOLE)
		return false;
	describe(r, e, out);
	return true;
}
