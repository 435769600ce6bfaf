// SPDX-License-Identifier: BSD-3-Clause
#include "path.h"
#include "arp.h"
#include "flow.h"
#include "forward.h"
#include "frag.h"
#include "handoff.h"
#include "icmp.h"
#include "ipv6.h"
#include "open.h"
#include "parse.h"
#include "session.h"
#include "translate.h"
#include "worker.h"

_Static_assert(OVERLOAD_ALL == BATCH_MAX, "a burst may be all new sessions");

// Positions in the batch that a stage passes on.
struct list {
	uint16_t at[BATCH_MAX];
	unsigned n;
};

static void list_add(struct list *l, unsigned i)
{
	l->at[l->n++] = (uint16_t)i;
}

// Adds the places of `more` to `to`, both ascending: what is opened is so in the order of the batch. There
// those that fast.c has looked up come first, and what it left behind follows.
static void list_merge(struct list *to, const struct list *more)
{
	unsigned at = to->n + more->n, i = to->n, j = more->n;

	to->n = at;
	while (j) {
		if (i && to->at[i - 1] > more->at[j - 1])
			to->at[--at] = to->at[--i];
		else
			to->at[--at] = more->at[--j];
	}
}

// Of a packet to a pool address, or that quotes one from there.
static uint32_t inbound_owner(const struct worker *w, const struct pkt *p)
{
	if (cgn_unlikely(p->kind == PKT_FRAGMENT))
		return frag_owner(w, p->ip);
	return steer_inbound(w->snapshot, p->key);
}

// Stage: who owns it? Packets of others leave by their ring. Ours and those that anybody may treat
// stay. Only run with more than one worker.
static void stage_owner(struct worker *w, struct batch *b, bool inbound)
{
	for (unsigned i = 0; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];
		uint32_t owner;

		if (p->kind != PKT_FLOW && p->kind != PKT_ICMP_ERROR && p->kind != PKT_FRAGMENT)
			continue;
		owner = inbound ? inbound_owner(w, p)
				: steer_internal(w->snapshot, ntohl((be32_t)p->key));
		if (owner != w->id) {
			handoff_push(w, owner, p->m, HANDOFF_PACKET, p->ifc);
			p->kind = PKT_DROPPED;
		}
	}
}

// Stage: the index line of every packet (one miss each, overlapping), then its record.
static void stage_lookup(struct worker *w, struct batch *b, const struct index *index,
	struct list *flows, struct list *odd, struct list *miss)
{
	const struct flow_table *t = &w->flows;

	for (unsigned i = 0; i < b->n_missed; i++) { // fast.c has looked
		if (cgn_likely(b->pkt[i].kind == PKT_FLOW))
			list_add(miss, i);
	}
	for (unsigned i = b->n_missed; i < b->n; i++) {
		struct pkt *p = &b->pkt[i];

		if (cgn_unlikely(p->kind != PKT_FLOW)) {
			list_add(odd, i);
			continue;
		}
		p->hash = flow_hash(t, p->key);
		index_prefetch(index, p->hash);
		list_add(flows, i);
	}
	for (unsigned i = 0; i < flows->n; i++) {
		struct pkt *p = &b->pkt[flows->at[i]];
		uint32_t record = index_candidate(index, p->hash);

		p->flow = record < t->n_max ? record : t->n_max; // the free record: no branch later
		cgn_prefetch_w(&t->flow[p->flow]);
	}
}

// Stage: packets whose mapping is known but whose remote is not that of its first session.
static void stage_further(
	struct worker *w, struct batch *b, const struct list *in, struct list *miss, bool inbound)
{
	const struct flow_table *t = &w->flows;

	for (unsigned i = 0; i < in->n; i++) {
		struct pkt *p = &b->pkt[in->at[i]];

		p->hash = flow_further_hash(t, p->flow, p->remote);
		index_prefetch(&t->out, p->hash);
	}
	for (unsigned i = 0; i < in->n; i++) {
		struct pkt *p = &b->pkt[in->at[i]];
		uint32_t record = index_candidate(&t->out, p->hash);

		record = record < t->n_max ? record : t->n_max;
		cgn_prefetch_w(&t->flow[record]);
		p->hash = record; // the hash has done its work
	}
	for (unsigned i = 0; i < in->n; i++) {
		struct pkt *p = &b->pkt[in->at[i]];

		if (cgn_unlikely(!flow_is_further(&t->flow[(uint32_t)p->hash], p->flow, p->remote)))
			list_add(miss, in->at[i]);
		else if (inbound)
			translate_in(w, p, (uint32_t)p->hash);
		else
			translate_out(w, p, (uint32_t)p->hash);
	}
}

static void path_arp(struct worker *w, struct pkt *p)
{
	handoff_share(w, p->m, HANDOFF_ARP, p->ifc); // the others have neighbours of their own
	arp_receive(w, p->m, p->ifc, false);
	rte_pktmbuf_free(p->m);
}

static void path_outbound(struct worker *w, struct batch *b, bool owned)
{
	const struct flow_table *t = &w->flows;
	struct list flows = {.n = 0}, odd = {.n = 0}, further = {.n = 0}, miss = {.n = 0},
		    late = {.n = 0};

	if (!owned && w->n_workers > 1)
		stage_owner(w, b, false);
	stage_mark(w, STAGE_OWNER);
	stage_lookup(w, b, &t->out, &flows, &odd, &miss);
	w->overload.n_established += flows.n + miss.n; // less those that turn out to be none
	stage_mark(w, STAGE_LOOKUP);
	for (unsigned i = 0; i < flows.n; i++) {
		struct pkt *p = &b->pkt[flows.at[i]];
		const struct flow *f = &t->flow[p->flow];

		if (cgn_unlikely(!flow_is_head(f, p->key)))
			list_add(&miss, flows.at[i]);
		else if (cgn_likely(flow_remote_of(f) == p->remote))
			translate_out(w, p, p->flow);
		else
			list_add(f->flags & FLOW_FURTHER ? &further : &miss, flows.at[i]);
	}
	stage_mark(w, STAGE_TRANSLATE);
	if (further.n) {
		stage_further(w, b, &further, &late, false);
		list_merge(&miss, &late);
	}
	stage_mark(w, STAGE_FURTHER);
	w->overload.n_established -= miss.n;
	if (miss.n)
		open_outbound(w, b, miss.at, miss.n);
	stage_mark(w, STAGE_OPEN);
	for (unsigned i = 0; i < odd.n; i++) {
		struct pkt *p = &b->pkt[odd.at[i]];

		if (p->kind == PKT_ICMP_ERROR)
			icmp_error_out(w, p);
		else if (p->kind == PKT_OTHER)
			open_other(w, p, false);
		else if (p->kind == PKT_FRAGMENT)
			frag_packet(w, p, false);
		else if (p->kind == PKT_ARP)
			path_arp(w, p);
		else if (p->kind == PKT_IPV6)
			ipv6_packet(w, p);
	}
}

static void path_inbound(struct worker *w, struct batch *b, bool owned)
{
	const struct flow_table *t = &w->flows;
	struct list flows = {.n = 0}, odd = {.n = 0}, further = {.n = 0}, miss = {.n = 0},
		    late = {.n = 0};

	if (!owned && w->n_workers > 1)
		stage_owner(w, b, true);
	stage_mark(w, STAGE_OWNER);
	stage_lookup(w, b, &t->in, &flows, &odd, &miss);
	w->overload.n_established += flows.n + miss.n; // less those that turn out to be none
	stage_mark(w, STAGE_LOOKUP);
	for (unsigned i = 0; i < flows.n; i++) {
		struct pkt *p = &b->pkt[flows.at[i]];
		const struct flow *f = &t->flow[p->flow];

		if (cgn_unlikely(flow_ext_key_of(f) != p->key))
			list_add(&miss, flows.at[i]);
		else if (cgn_likely(flow_remote_of(f) == p->remote))
			translate_in(w, p, p->flow);
		else
			list_add(f->flags & FLOW_FURTHER ? &further : &miss, flows.at[i]);
	}
	stage_mark(w, STAGE_TRANSLATE);
	if (further.n) {
		stage_further(w, b, &further, &late, true);
		list_merge(&miss, &late);
	}
	stage_mark(w, STAGE_FURTHER);
	w->overload.n_established -= miss.n;
	for (unsigned i = 0; i < miss.n; i++)
		open_inbound(w, &b->pkt[miss.at[i]]);
	stage_mark(w, STAGE_OPEN);
	for (unsigned i = 0; i < odd.n; i++) {
		struct pkt *p = &b->pkt[odd.at[i]];

		if (p->kind == PKT_ICMP_ERROR)
			icmp_error_in(w, p);
		else if (p->kind == PKT_OTHER)
			open_other(w, p, true);
		else if (p->kind == PKT_FRAGMENT)
			frag_packet(w, p, true);
		else if (p->kind == PKT_ARP)
			path_arp(w, p);
		else if (p->kind == PKT_IPV6)
			ipv6_packet(w, p);
	}
}

void path_frames(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc, bool owned)
{
	const bool inbound = w->snapshot->interface[ifc].role == CGN_EXTERNAL;

	const uint64_t *handoffs = &w->counters.interfaces[ifc].handoffs, before = *handoffs;
	const unsigned n_all = n;

	if (cgn_unlikely(w->port[ifc].foreign) && !owned) {
		n = handoff_early(w, m, n, ifc, inbound);
		if (!n)
			return;
	}
	w->batch.n = w->batch.n_missed = 0;
	overload_burst(&w->overload, n);
	if (cgn_likely(w->fast)) {
		const unsigned left = w->fast->frames(w, m, n, ifc);

		w->overload.n_established += n - left - w->batch.n_missed;
		n = left;
		stage_mark(w, STAGE_FAST);
		if (!(n | w->batch.n_missed))
			return;
		w->batch.n = w->batch.n_missed;
	}
	parse_frames(w, &w->batch, m, n, ifc, inbound);
	stage_mark(w, STAGE_PARSE);
	if (inbound)
		path_inbound(w, &w->batch, owned);
	else
		path_outbound(w, &w->batch, owned);
	if (cgn_unlikely((*handoffs - before) * 4 > n_all))
		w->port[ifc].foreign = true;
	stage_mark(w, STAGE_ODD);
}

// ---- hairpins: external to external on the inside (RFC 4787 REQ-9)

void path_to_pool(
	struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len, uint8_t ifc)
{
	m->data_off = (uint16_t)((uint8_t *)ip - (uint8_t *)m->buf_addr);
	m->data_len = ip_len;
	m->pkt_len = ip_len;
	m->ol_flags = 0;
	if (w->n_workers > 1) {
		struct pkt p = {.m = m, .ip = ip, .ip_len = ip_len};
		uint32_t owner;

		p.l4_off = (uint8_t)((ip->ver_ihl & 0xf) * 4);
		p.key = FLOW_KEY(ip->dst, 0, 0);
		parse_ipv4_again(&p, true);
		owner = inbound_owner(w, &p);
		if (owner != w->id) {
			handoff_push(w, owner, m, HANDOFF_HAIRPIN, ifc);
			return;
		}
	}
	path_hairpin(w, m, ifc);
}

void path_hairpin(struct worker *w, struct rte_mbuf *m, uint8_t ifc)
{
	if (w->n_loop == BATCH_MAX)
		path_loop(w);
	w->loop[w->n_loop] = m;
	w->loop_ifc[w->n_loop++] = ifc;
}

void path_loop(struct worker *w)
{
	struct batch *b = &w->loop_batch;

	// an inbound half makes no new hairpins, but for our own ICMP errors about one: they come
	// back at most once, as errors about errors are never sent
	session_settle(w); // a slow path may be under way
	for (unsigned round = 0; round < 2 && w->n_loop; round++) {
		unsigned n = w->n_loop;

		if (cgn_likely(w->fast)) {
			const unsigned left = w->fast->hairpins(w, n);

			w->overload.n_established += n - left;
			n = left;
		}
		stage_mark(w, STAGE_FAST);
		w->n_loop = 0;
		if (!n)
			break;
		for (unsigned i = 0; i < n; i++) {
			struct pkt *p = &b->pkt[i];

			*p = (struct pkt){.m = w->loop[i],
				.ip = rte_pktmbuf_mtod(w->loop[i], struct ipv4 *),
				.ip_len = w->loop[i]->data_len,
				.ifc = w->loop_ifc[i],
				.flags = PKT_HAIRPIN};
			p->l4_off = (uint8_t)((p->ip->ver_ihl & 0xf) * 4);
			parse_ipv4_again(p, true);
		}
		b->n = (uint16_t)n;
		b->n_missed = 0;
		path_inbound(w, b, true);
	}
}

uint32_t translate_ident(struct worker *w, struct pkt *p, uint32_t record)
{
	const be32_t source = w->flows.flow[record].ext_addr;
	const be16_t id = ident_next(&w->ident, source, p->ip->dst, p->ip->proto);
	const uint32_t diff = csum_diff16(p->ip->id, id);

	p->ip->id = id;
	if (cgn_unlikely(p->flags & PKT_FIRST))
		frag_translated(w, p, record, source, id);
	return diff;
}

bool translate_spoofed(struct worker *w, struct pkt *p, struct flow *f)
{
	if (!snapshot_source_bad(w->snapshot, ntohl(p->ip->src))) {
		f->hairpin = 0;
		return false;
	}
	pkt_drop(w, p, CGN_DROP_IP_SOURCE);
	return true;
}

void translate_out_odd(struct worker *w, struct pkt *p, const struct hop *hop)
{
	if (DEST_KIND(hop->dest) == DEST_POOL)
		path_to_pool(w, p->m, p->ip, p->ip_len, p->ifc);
	else if (hop_leaves(w, hop, CGN_INTERNAL))
		pkt_drop(w, p, CGN_DROP_INTERNAL_TO_INTERNAL);
	else
		pkt_drop(w, p, CGN_DROP_NO_ROUTE);
}
