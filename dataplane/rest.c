// SPDX-License-Identifier: BSD-3-Clause
#include "rest.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define REST_NONE UINT32_MAX
#define AHEAD 16 // entries

int rest_init(struct rest *r, uint32_t n_max, const uint64_t seed[2], int socket)
{
	assert(n_max && n_max < REST_NONE);
	memset(r, 0, sizeof(*r));
	memcpy(r->seed, seed, sizeof(r->seed));
	r->n_max = n_max;
	r->first = r->last = r->free_first = REST_NONE;
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
	return (uint64_t)n_max * sizeof(struct rest_port) + index_bytes(n_max);
}

static void take_out(struct rest *r, uint32_t n, struct rest_port *out)
{
	struct rest_port *e = &r->entry[n];

	*out = *e;
	// An entry for which the index had no room is not there; it could only not be taken early.
	index_remove(&r->index, index_hash(e->key, r->seed), n);
	if (e->prev != REST_NONE)
		r->entry[e->prev].next = e->next;
	else
		r->first = e->next;
	if (e->next != REST_NONE)
		r->entry[e->next].prev = e->prev;
	else
		r->last = e->prev;
	e->next = r->free_first;
	r->free_first = n;
	r->n_live--;
}

bool rest_put(struct rest *r, uint64_t key, uint32_t block, uint16_t port, uint32_t now_s,
	struct rest_port *early)
{
	const bool full = r->n_live == r->n_max;
	struct rest_port *e;
	uint32_t n;

	if (full)
		take_out(r, r->first, early);
	n = r->free_first;
	if (n != REST_NONE)
		r->free_first = r->entry[n].next;
	else
		n = r->top++;
	e = &r->entry[n];
	*e = (struct rest_port){.key = key,
		.block = block,
		.since_s = now_s,
		.next = REST_NONE,
		.prev = r->last,
		.port = port};
	if (r->last != REST_NONE)
		r->entry[r->last].next = n;
	else
		r->first = n;
	r->last = n;
	r->n_live++;
	index_insert(&r->index, index_hash(key, r->seed), n);
	return full;
}

struct probe {
	const struct rest *rest;
	uint64_t key;
};

static bool same_key(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	return p->rest->entry[record].key == p->key;
}

bool rest_take(struct rest *r, uint64_t key, struct rest_port *out)
{
	const struct probe p = {r, key};
	uint32_t n = index_lookup(&r->index, index_hash(key, r->seed), same_key, &p);

	if (n == INDEX_NONE)
		return false;
	take_out(r, n, out);
	return true;
}

bool rest_due(struct rest *r, uint32_t now_s, uint32_t hold_s, struct rest_port *out)
{
	if (r->first == REST_NONE || now_s - r->entry[r->first].since_s < hold_s)
		return false;
	take_out(r, r->first, out);
	return true;
}

uint32_t rest_look(
	const struct rest *r, uint32_t now_s, uint32_t hold_s, uint32_t *due, uint32_t max)
{
	uint32_t n = 0;

	for (uint32_t at = r->first; at != REST_NONE && n < max; at = r->entry[at].next) {
		// neighbours in time often are in memory
		cgn_prefetch_w(&r->entry[at + AHEAD < r->n_max ? at + AHEAD : at]);
		if (now_s - r->entry[at].since_s < hold_s)
			break;
		due[n++] = at;
	}
	return n;
}

bool rest_find(const struct rest *r, uint64_t key, struct rest_port *out)
{
	const struct probe p = {r, key};
	uint32_t n = index_lookup(&r->index, index_hash(key, r->seed), same_key, &p);

	if (n == INDEX_NONE)
		return false;
	*out = r->entry[n];
	return true;
}
