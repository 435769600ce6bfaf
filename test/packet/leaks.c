// SPDX-License-Identifier: BSD-3-Clause
#include "leaks.h"
#include "claims.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static uint64_t words_of(const struct portblocks *pb)
{
	uint64_t end = 0;

	for (uint32_t i = 0; i < pb->n_blocks; i++) {
		const struct portblock *b = &pb->block[i];
		const struct portblock_shape *shape = portblock_shape(pb, b);
		const uint64_t n = b->bits +
			CGN_L4_COUNT * (uint64_t)(shape->n_port_words + shape->n_full_words);

		end = n > end ? n : end;
	}
	return end;
}

void leaks_begin(struct leaks *l, const struct worker *w)
{
	l->n_port_bits = words_of(&w->blocks);
	l->port_bits = malloc(l->n_port_bits * sizeof(*l->port_bits) + 1);
	assert_non_null(l->port_bits);
	memcpy(l->port_bits, w->blocks.port_bits, l->n_port_bits * sizeof(*l->port_bits));
}

void leaks_end(struct leaks *l)
{
	free(l->port_bits);
	*l = (struct leaks){0};
}

static bool same(const char *what, uint64_t is, uint64_t should)
{
	if (is != should)
		print_error("left behind: %s: %lu, should be %lu\n", what, is, should);
	return is == should;
}

static bool index_is_empty(const char *what, const struct index *t)
{
	uint64_t n = 0;

	for (uint32_t b = 0; b < t->n_buckets; b++) {
		for (unsigned i = 0; i < INDEX_SLOTS; i++)
			n += t->bucket[b].tag[i] != 0;
		n += t->bucket[b].n_away + t->bucket[b].guests;
	}
	return same(what, n, 0);
}

static bool blocks_are_free(const struct leaks *l, const struct portblocks *pb)
{
	uint64_t n_free = 0, n_free_bits = 0, n_other = 0;
	bool ok = true;

	for (uint32_t i = 0; i < pb->n_blocks; i++) {
		const struct portblock *b = &pb->block[i];

		n_free += b->state == PORTBLOCK_FREE;
		n_free_bits += pb->free_blocks[i / 64] >> i % 64 & 1;
		n_other += b->state == PORTBLOCK_LENT || b->state == PORTBLOCK_RESTING ||
			portblock_used(b) || b->n_resting;
	}
	ok = same("blocks in use", n_other, 0) && ok;
	ok = same("free blocks in the bitmap", n_free_bits, n_free) && ok;
	ok = same("resting blocks in their list", pb->rest_first != PORTBLOCK_NONE, 0) && ok;
	for (uint32_t i = 0; i < pb->n_addresses; i++)
		n_free -= pb->address[i].n_free;
	ok = same("free blocks of addresses", n_free, 0) && ok;
	for (uint32_t i = 0; i < pb->n_pools; i++) {
		const struct portblock_pool *p = &pb->pool[i];

		ok = same("a pool's counts",
			     p->n_lent + p->n_resting + p->n_ports_used + p->n_presets_lent +
				     p->n_presets_resting,
			     0) &&
			ok;
	}
	return same("bitmaps of ports",
		       memcmp(l->port_bits, pb->port_bits,
			       l->n_port_bits * sizeof(*l->port_bits)) != 0,
		       0) &&
		ok;
}

static bool flows_are_free(const struct worker *w)
{
	const struct flow_table *t = &w->flows;
	uint64_t n = 0, n_armed = 0, n_used = 0, n_statics = 0;
	bool ok = true;

	for (uint32_t r = t->free_first; r != FLOW_NONE && n <= t->top; r = t->cold[r].next)
		n++;
	for (uint32_t r = 0; r < t->n_max; r++) {
		n_armed += timers_is_armed(&t->timers, r);
		n_used += t->flow[r].proto != 0;
	}
	ok = same("sessions", t->n_used + n_used, 0) && ok;
	ok = same("mappings", t->n_mappings, 0) && ok;
	ok = same("portless sessions", t->n_portless, 0) && ok;
	ok = same("free records", n, t->top) && ok;
	ok = same("timers", n_armed, 0) && ok;
	ok = same("unsettled mappings", t->n_unsettled, 0) && ok;
	ok = index_is_empty("outbound index", &t->out) && ok;
	ok = index_is_empty("inbound index", &t->in) && ok;
	ok = index_is_empty("portless index", &t->portless) && ok;
	for (uint32_t i = 0; i < w->snapshot->config->n_static_mappings; i++)
		n_statics += w->statics.sessions[i];
	return same("sessions of static mappings",
		       n_statics + w->statics.n_sessions + w->statics.n_heads, 0) &&
		ok;
}

static bool others_are_free(const struct worker *w)
{
	const struct rest *r = &w->rests;
	const struct subscribers *s = &w->subscribers;
	struct rest_port port;
	uint64_t n = 0, n_used = 0;
	bool ok = true;

	for (uint32_t i = 0; i < r->n_held; i++)
		n += rest_at(r, i, &port);
	ok = same("resting ports", r->n_live, 0) && ok;
	ok = same("resting ports in their ring", n, 0) && ok;
	ok = index_is_empty("index of resting ports", &r->index) && ok;
	for (uint32_t i = 0; i < s->n_max; i++)
		n_used += s->used[i];
	ok = same("subscribers", n_used + s->n_records + s->n_active, 0) && ok;
	ok = index_is_empty("index of subscribers", &s->index) && ok;
	ok = same("unsolicited SYNs", w->syns.end - w->syns.first, 0) && ok;
	ok = index_is_empty("index of unsolicited SYNs", &w->syns.index) && ok;
	return ok;
}

static bool fragments_are_free(const struct fragmap *m)
{
	uint64_t n = 0, n_sources = 0, n_held = 0;
	bool ok = true;

	for (uint32_t i = m->free_frag; i != FRAG_NONE; i = m->frag[i].next)
		n++;
	for (uint32_t i = m->free_source; i != FRAG_NONE; i = m->source[i].next_free)
		n_sources++;
	for (uint32_t i = m->free_held; i != FRAG_NONE; i = m->held[i].next)
		n_held++;
	ok = same("fragmented datagrams", m->n + m->n_datagrams[0] + m->n_datagrams[1], 0) && ok;
	ok = same("free datagrams", n, 2 * (FRAG_HELD_MAX + FRAG_DATAGRAMS_MAX)) && ok;
	ok = same("free sources", n_sources, n) && ok;
	ok = same("fragments that wait", fragmap_n_held(m), 0) && ok;
	ok = same("free places for fragments", n_held, 2 * FRAG_HELD_MAX) && ok;
	ok = index_is_empty("index of datagrams", &m->index) && ok;
	return index_is_empty("index of sources", &m->sources) && ok;
}

static bool neighbours_are_done(const struct neigh_table *t)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->top; i++)
		n += t->neigh[i].state != NEIGH_FREE;
	return same("packets for neighbours", t->n_waiting, 0) &&
		same("places where packets wait", t->n_free_queues, NEIGH_QUEUES) &&
		same("neighbours", n, t->n);
}

bool leaks_found(const struct leaks *l, const struct worker *w)
{
	bool ok = blocks_are_free(l, &w->blocks);

	ok = flows_are_free(w) && ok;
	ok = others_are_free(w) && ok;
	ok = fragments_are_free(&w->frags) && ok;
	ok = neighbours_are_done(&w->neighbours) && ok;
	if (w->ipv6.neighbours.neigh)
		ok = neighbours_are_done(&w->ipv6.neighbours) && ok;
	if (w->claims)
		ok = same("claims", claims_count(w->claims, w->id), 0) && ok;
	return !ok;
}
