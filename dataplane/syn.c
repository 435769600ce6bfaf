// SPDX-License-Identifier: BSD-3-Clause
#include "syn.h"
#include <errno.h>
#include <string.h>

int syn_init(struct syn_store *s, const uint64_t seed[2], int socket)
{
	memset(s, 0, sizeof(*s));
	memcpy(s->seed, seed, sizeof(s->seed));
	s->entry = mem_take("unsolicited SYNs", SYN_STORE * sizeof(*s->entry), socket);
	if (!s->entry || index_init(&s->index, SYN_STORE, socket)) {
		syn_fini(s);
		return -ENOMEM;
	}
	return 0;
}

void syn_fini(struct syn_store *s)
{
	mem_give(s->entry);
	index_fini(&s->index);
	memset(s, 0, sizeof(*s));
}

uint64_t syn_bytes(void)
{
	return SYN_STORE * sizeof(struct syn) + index_bytes(SYN_STORE);
}

struct probe {
	const struct syn *entry;
	uint64_t key, remote;
};

static bool same_syn(const void *ctx, uint32_t n)
{
	const struct probe *p = ctx;

	return p->entry[n].key == p->key && p->entry[n].remote == p->remote;
}

static uint64_t hash_of(const struct syn_store *s, uint64_t key, uint64_t remote)
{
	return index_hash(index_hash(key, s->seed) ^ remote, s->seed);
}

static uint32_t find(const struct syn_store *s, uint64_t key, uint64_t remote)
{
	const struct probe p = {s->entry, key, remote};

	return index_lookup(&s->index, hash_of(s, key, remote), same_syn, &p);
}

static void stop_waiting(struct syn_store *s, uint32_t n)
{
	struct syn *e = &s->entry[n];

	e->waits = false;
	index_remove(&s->index, hash_of(s, e->key, e->remote), n);
}

bool syn_put(struct syn_store *s, uint64_t key, uint64_t remote, const void *packet, uint16_t len,
	uint8_t ifc, uint64_t now_ns)
{
	const uint32_t n = s->end % SYN_STORE;
	struct syn *e = &s->entry[n];

	if (find(s, key, remote) != INDEX_NONE)
		return true;
	if (s->end - s->first == SYN_STORE || !index_insert(&s->index, hash_of(s, key, remote), n))
		return false;
	s->end++;
	e->key = key;
	e->remote = remote;
	e->since_ns = now_ns;
	e->len = len < SYN_QUOTE_MAX ? len : SYN_QUOTE_MAX;
	e->ifc = ifc;
	e->waits = true;
	memcpy(e->quote, packet, e->len);
	return true;
}

void syn_call_off(struct syn_store *s, uint64_t key, uint64_t remote)
{
	uint32_t n;

	if (!s->index.n_entries)
		return;
	n = find(s, key, remote);
	if (n != INDEX_NONE)
		stop_waiting(s, n);
}

const struct syn *syn_due(struct syn_store *s, uint64_t now_ns)
{
	struct syn *e = &s->entry[s->first % SYN_STORE];

	if (s->first == s->end || now_ns - e->since_ns < SYN_WAIT_NS)
		return NULL;
	if (e->waits) {
		stop_waiting(s, s->first % SYN_STORE);
		e->waits = true; // for the caller
	}
	s->first++;
	return e;
}
