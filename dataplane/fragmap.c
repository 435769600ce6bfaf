// SPDX-License-Identifier: BSD-3-Clause
#include "fragmap.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define N_FRAGS (2u * (FRAG_HELD_MAX + FRAG_DATAGRAMS_MAX)) // each one waits or follows
#define N_HELD (2u * FRAG_HELD_MAX)

_Static_assert(FRAG_HELD_DATAGRAM <= UINT8_MAX, "frag.n_held");
_Static_assert(FRAG_DATAGRAMS_MAX <= UINT16_MAX && FRAG_HELD_MAX <= UINT16_MAX, "frag_source");

int fragmap_init(struct fragmap *m, const uint64_t seed[2], int socket)
{
	memset(m, 0, sizeof(*m));
	memcpy(m->seed, seed, sizeof(m->seed));
	m->first = m->last = FRAG_NONE;
	m->frag = mem_take("fragmented datagrams", N_FRAGS * sizeof(*m->frag), socket);
	m->source = mem_take("sources of fragments", N_FRAGS * sizeof(*m->source), socket);
	m->held = mem_take("waiting fragments", N_HELD * sizeof(*m->held), socket);
	if (!m->frag || !m->source || !m->held || index_init(&m->index, N_FRAGS, socket) ||
		index_init(&m->sources, N_FRAGS, socket)) {
		fragmap_fini(m);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < N_FRAGS; i++) {
		m->frag[i].next = i + 1 < N_FRAGS ? i + 1 : FRAG_NONE;
		m->source[i].next_free = m->frag[i].next;
	}
	for (uint32_t i = 0; i < N_HELD; i++)
		m->held[i].next = i + 1 < N_HELD ? i + 1 : FRAG_NONE;
	return 0;
}

void fragmap_fini(struct fragmap *m)
{
	mem_give(m->frag);
	mem_give(m->source);
	mem_give(m->held);
	index_fini(&m->index);
	index_fini(&m->sources);
	memset(m, 0, sizeof(*m));
}

uint64_t fragmap_bytes(void)
{
	return (uint64_t)N_FRAGS * (sizeof(struct frag) + sizeof(struct frag_source)) +
		N_HELD * sizeof(struct frag_held) + 2 * index_bytes(N_FRAGS);
}

static unsigned class_of(const struct frag_key *key)
{
	return key->dir != FRAG_OUT;
}

static uint64_t hash_of(const struct fragmap *m, const struct frag_key *key)
{
	uint64_t ends = (uint64_t)key->src << 32 | key->dst;
	uint64_t rest = (uint64_t)key->id | (uint64_t)key->proto << 16 | (uint64_t)key->dir << 24;

	return index_hash(index_hash(ends, m->seed) ^ rest, m->seed);
}

struct probe {
	const struct fragmap *m;
	struct frag_key key;
};

static bool same(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct frag_key *a = &p->key, *b = &p->m->frag[record].key;

	return a->src == b->src && a->dst == b->dst && a->id == b->id && a->proto == b->proto &&
		a->dir == b->dir;
}

struct frag *fragmap_find(const struct fragmap *m, const struct frag_key *key)
{
	const struct probe p = {m, *key};
	uint32_t n = index_lookup(&m->index, hash_of(m, key), same, &p);

	return n == INDEX_NONE ? NULL : &m->frag[n];
}

// ---- sources

static uint64_t source_hash(const struct fragmap *m, const struct frag_key *key)
{
	return index_hash((uint64_t)class_of(key) << 32 | key->src, m->seed);
}

static bool same_source(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct frag_source *s = &p->m->source[record];

	return s->address == p->key.src && s->from == class_of(&p->key);
}

static uint32_t source_find(const struct fragmap *m, const struct frag_key *key)
{
	const struct probe p = {m, *key};

	return index_lookup(&m->sources, source_hash(m, key), same_source, &p);
}

// The source's record, made when it is new. There are as many as datagrams, so one is free.
static uint32_t source_get(struct fragmap *m, const struct frag_key *key)
{
	uint32_t n = source_find(m, key);

	if (n == INDEX_NONE) {
		n = m->free_source;
		if (!index_insert(&m->sources, source_hash(m, key), n))
			return FRAG_NONE;
		m->free_source = m->source[n].next_free;
		m->source[n] =
			(struct frag_source){.address = key->src, .from = (uint8_t)class_of(key)};
	}
	m->source[n].n++;
	return n;
}

static void source_put(struct fragmap *m, const struct frag *f)
{
	struct frag_source *s = &m->source[f->source];

	if (--s->n)
		return;
	index_remove(&m->sources, source_hash(m, &f->key), f->source);
	s->next_free = m->free_source;
	m->free_source = f->source;
}

// ---- the list, in order of time

static void list_append(struct fragmap *m, struct frag *f, uint64_t now_ns)
{
	const uint32_t n = (uint32_t)(f - m->frag);

	f->since_ns = now_ns;
	f->next = FRAG_NONE;
	f->prev = m->last;
	if (m->last != FRAG_NONE)
		m->frag[m->last].next = n;
	else
		m->first = n;
	m->last = n;
}

static void list_remove(struct fragmap *m, struct frag *f)
{
	if (f->prev != FRAG_NONE)
		m->frag[f->prev].next = f->next;
	else
		m->first = f->next;
	if (f->next != FRAG_NONE)
		m->frag[f->next].prev = f->prev;
	else
		m->last = f->prev;
}

static struct frag *frag_new(
	struct fragmap *m, const struct frag_key *key, enum frag_state state, uint64_t now_ns)
{
	const uint32_t n = m->free_frag;
	uint32_t source;
	struct frag *f;

	assert(n != FRAG_NONE); // the two limits together are its size
	source = source_get(m, key);
	if (source == FRAG_NONE)
		return NULL;
	f = &m->frag[n];
	if (!index_insert(&m->index, hash_of(m, key), n)) {
		f->key = *key;
		f->source = source;
		source_put(m, f);
		return NULL;
	}
	m->free_frag = f->next;
	*f = (struct frag){.key = *key,
		.state = (uint8_t)state,
		.source = source,
		.held_first = FRAG_NONE,
		.held_last = FRAG_NONE};
	list_append(m, f, now_ns);
	m->n++;
	return f;
}

void fragmap_close(struct fragmap *m, struct frag *f)
{
	const uint32_t n = (uint32_t)(f - m->frag);

	assert(!f->n_held);
	if (f->state != FRAG_WAITING) {
		m->n_datagrams[class_of(&f->key)]--;
		m->source[f->source].n_datagrams--;
	}
	source_put(m, f);
	index_remove(&m->index, hash_of(m, &f->key), n);
	list_remove(m, f);
	f->state = FRAG_FREE;
	f->next = m->free_frag;
	m->free_frag = n;
	m->n--;
}

struct frag *fragmap_due(const struct fragmap *m, uint64_t now_ns, uint64_t age_ns)
{
	if (m->first == FRAG_NONE || now_ns - m->frag[m->first].since_ns < age_ns)
		return NULL;
	return &m->frag[m->first];
}

// ---- pieces

enum cgn_drop fragmap_cover(struct frag *f, uint32_t from, uint32_t to, bool last)
{
	struct frag_piece *p = f->piece;
	unsigned i = 0;

	if ((f->end && (last || to > f->end)) ||
		(last && f->n_pieces && p[f->n_pieces - 1].to > to))
		return f->end == to && last ? CGN_DROP_FRAG_OVERLAP : CGN_DROP_FRAG_INVALID;
	while (i < f->n_pieces && p[i].to < from)
		i++;
	// p[i] is the first that ends at `from` or later
	if (i < f->n_pieces && p[i].to == from) {
		if (i + 1 < f->n_pieces && p[i + 1].from < to)
			return CGN_DROP_FRAG_OVERLAP;
		p[i].to = (uint16_t)to;
		if (i + 1 < f->n_pieces && p[i + 1].from == to) { // the gap is closed
			p[i].to = p[i + 1].to;
			f->n_pieces--;
			memmove(&p[i + 1], &p[i + 2], (f->n_pieces - i - 1u) * sizeof(*p));
		}
	} else if (i < f->n_pieces && p[i].from < to) {
		return CGN_DROP_FRAG_OVERLAP;
	} else if (i < f->n_pieces && p[i].from == to) {
		p[i].from = (uint16_t)from;
	} else {
		if (f->n_pieces == FRAG_GAPS_MAX)
			return CGN_DROP_FRAG_DATAGRAM_LIMIT;
		memmove(&p[i + 1], &p[i], (f->n_pieces - i) * sizeof(*p));
		p[i] = (struct frag_piece){(uint16_t)from, (uint16_t)to};
		f->n_pieces++;
	}
	if (last)
		f->end = (uint16_t)to;
	return CGN_DROP_COUNT;
}

// ---- the first, and those before it

static enum cgn_drop may_open(const struct fragmap *m, const struct frag_key *key)
{
	const uint32_t source = source_find(m, key);

	if (source != INDEX_NONE && m->source[source].n_datagrams >= FRAG_DATAGRAMS_SOURCE)
		return CGN_DROP_FRAG_SOURCE_LIMIT;
	if (m->n_datagrams[class_of(key)] >= FRAG_DATAGRAMS_MAX)
		return CGN_DROP_FRAG_STORE_FULL;
	return CGN_DROP_COUNT;
}

struct frag *fragmap_open(
	struct fragmap *m, const struct frag_arrival *a, uint64_t now_ns, enum cgn_drop *reason)
{
	struct frag *f = fragmap_find(m, &a->key);

	if (f && f->state == FRAG_DROPPED) {
		fragmap_close(m, f);
		f = NULL;
	}
	if (f && f->state != FRAG_WAITING) {
		*reason = CGN_DROP_FRAG_OVERLAP;
		return NULL;
	}
	*reason = may_open(m, &a->key);
	if (*reason != CGN_DROP_COUNT)
		return NULL;
	if (f) {
		*reason = fragmap_cover(f, a->from, a->to, a->last);
		if (*reason != CGN_DROP_COUNT)
			return NULL;
		list_remove(m, f);
		list_append(m, f, now_ns);
		f->state = FRAG_OPENING;
	} else {
		f = frag_new(m, &a->key, FRAG_OPENING, now_ns);
		if (!f) {
			*reason = CGN_DROP_INDEX_FULL;
			return NULL;
		}
		fragmap_cover(f, a->from, a->to, a->last);
	}
	m->n_datagrams[class_of(&a->key)]++;
	m->source[f->source].n_datagrams++;
	return f;
}

static enum cgn_drop may_hold(
	const struct fragmap *m, const struct frag_key *key, const struct frag *f)
{
	const uint32_t source = f ? f->source : source_find(m, key);

	if (f && f->n_held == FRAG_HELD_DATAGRAM)
		return CGN_DROP_FRAG_DATAGRAM_LIMIT;
	if (source != INDEX_NONE && m->source[source].n_held >= FRAG_HELD_SOURCE)
		return CGN_DROP_FRAG_SOURCE_LIMIT;
	if (m->n_held[class_of(key)] >= FRAG_HELD_MAX)
		return CGN_DROP_FRAG_STORE_FULL;
	return CGN_DROP_COUNT;
}

enum cgn_drop fragmap_hold(struct fragmap *m, const struct frag_arrival *a, void *packet,
	uint8_t ifc, uint8_t flags, uint64_t now_ns)
{
	struct frag *f = fragmap_find(m, &a->key);
	enum cgn_drop reason = may_hold(m, &a->key, f);
	uint32_t n = m->free_held;

	if (reason != CGN_DROP_COUNT)
		return reason;
	if (!f)
		f = frag_new(m, &a->key, FRAG_WAITING, now_ns);
	if (!f)
		return CGN_DROP_INDEX_FULL;
	reason = fragmap_cover(f, a->from, a->to, a->last);
	if (reason != CGN_DROP_COUNT)
		return reason; // never of a new datagram
	m->free_held = m->held[n].next;
	m->held[n] = (struct frag_held){packet, FRAG_NONE, ifc, flags};
	if (f->held_last != FRAG_NONE)
		m->held[f->held_last].next = n;
	else
		f->held_first = n;
	f->held_last = n;
	f->n_held++;
	m->n_held[class_of(&f->key)]++;
	m->source[f->source].n_held++;
	return CGN_DROP_COUNT;
}

bool fragmap_release(struct fragmap *m, struct frag *f, struct frag_held *out)
{
	const uint32_t n = f->held_first;

	if (n == FRAG_NONE)
		return false;
	*out = m->held[n];
	f->held_first = out->next;
	if (f->held_first == FRAG_NONE)
		f->held_last = FRAG_NONE;
	f->n_held--;
	m->n_held[class_of(&f->key)]--;
	m->source[f->source].n_held--;
	m->held[n].next = m->free_held;
	m->free_held = n;
	return true;
}
