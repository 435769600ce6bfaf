// SPDX-License-Identifier: BSD-3-Clause
#include "subscriber.h"
#include "portblock.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

int subscribers_init(
	struct subscribers *s, uint32_t n_active_max, const uint64_t seed[2], int socket)
{
	assert(n_active_max && n_active_max < UINT32_MAX / 2);
	memset(s, 0, sizeof(*s));
	memcpy(s->seed, seed, sizeof(s->seed));
	s->n_active_max = n_active_max;
	s->n_max = 2 * n_active_max;
	s->sub = mem_take("subscribers", s->n_max * sizeof(*s->sub), socket);
	s->used = mem_take("subscribers used", s->n_max * sizeof(*s->used), socket);
	s->free_list = mem_take("subscribers free", s->n_max * sizeof(*s->free_list), socket);
	if (!s->sub || !s->used || !s->free_list || index_init(&s->index, s->n_max, socket)) {
		subscribers_fini(s);
		return -ENOMEM;
	}
	return 0;
}

void subscribers_fini(struct subscribers *s)
{
	mem_give(s->sub);
	mem_give(s->used);
	mem_give(s->free_list);
	index_fini(&s->index);
	memset(s, 0, sizeof(*s));
}

uint64_t subscribers_bytes(uint32_t n_active_max)
{
	const uint32_t n_max = 2 * n_active_max;

	return (uint64_t)n_max * (sizeof(struct subscriber) + sizeof(bool) + sizeof(uint32_t)) +
		index_bytes(n_max);
}

struct probe {
	const struct subscriber *sub;
	uint32_t address;
	uint16_t pool;
};

static bool same_subscriber(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	return p->sub[record].address == p->address && p->sub[record].pool == p->pool;
}

uint32_t subscriber_lookup_hard(const struct subscribers *s, uint32_t address, uint16_t pool)
{
	const struct probe p = {s->sub, address, pool};

	return index_lookup(&s->index, subscriber_hash(s, address, pool), same_subscriber, &p);
}

uint32_t subscriber_create(struct subscribers *s, uint32_t address, uint16_t pool)
{
	const uint32_t n_free = s->top - s->n_records;
	uint32_t sub;

	if (s->n_records == s->n_max)
		return SUBSCRIBER_NONE;
	sub = n_free ? s->free_list[n_free - 1] : s->top;
	if (!index_insert(&s->index, subscriber_hash(s, address, pool), sub))
		return SUBSCRIBER_NONE;
	s->top += !n_free;
	s->n_records++;
	s->used[sub] = true;
	s->sub[sub] = (struct subscriber){
		.address = address,
		.pool = pool,
		.paired = PORTBLOCK_NONE,
		.preset = PORTBLOCK_NONE,
		.lent = PORTBLOCK_NONE,
		.search = {PORTBLOCK_NONE, PORTBLOCK_NONE, PORTBLOCK_NONE},
		.resting = PORTBLOCK_NONE,
	};
	return sub;
}

void subscriber_remove(struct subscribers *s, uint32_t sub)
{
	const struct subscriber *r = &s->sub[sub];
	bool was_there;

	assert(sub < s->top && s->used[sub] && !r->n_lent && !r->n_resting);
	was_there = index_remove(&s->index, subscriber_hash(s, r->address, r->pool), sub);
	assert(was_there);
	(void)was_there;
	s->used[sub] = false;
	s->free_list[s->top - s->n_records] = sub;
	s->n_records--;
}
