// SPDX-License-Identifier: BSD-3-Clause
#include "frag.h"
#include <arpa/inet.h>
#include "open.h"
#include "parse.h"
#include "portless.h"
#include "readdress.h"
#include "translate.h"
#include "worker.h"

#define PAYLOAD_MAX 65515u // of a datagram with the shortest header

static void frag_arrive(struct worker *w, struct pkt *p, const struct frag_arrival *a);

// Which bytes of its datagram are in p. False when they can be none (RFC 791), or would change the
// TCP flags of the first fragment (RFC 1858 3.2).
static bool arrival_of(const struct pkt *p, enum frag_dir dir, struct frag_arrival *a)
{
	const struct ipv4 *ip = p->ip;
	const unsigned frag = ntohs(ip->frag), len = p->ip_len - (unsigned)p->l4_off;

	a->key = (struct frag_key){ip->src, ip->dst, ip->id, ip->proto, (uint8_t)dir};
	a->from = (frag & IPV4_OFFSET_MASK) * 8;
	a->to = a->from + len;
	a->last = !(frag & IPV4_MF);
	if (!len || (!a->last && len % 8) || a->to > PAYLOAD_MAX)
		return false;
	return !(ip->proto == CGN_PROTO_TCP && a->from == 8);
}

// It goes on, or waits, as a bare IPv4 packet.
static void strip_l2(struct pkt *p)
{
	p->m->data_off = (uint16_t)((uint8_t *)p->ip - (uint8_t *)p->m->buf_addr);
	p->m->data_len = p->ip_len;
	p->m->pkt_len = p->ip_len;
	p->m->ol_flags = 0;
}

static struct pkt unstrip(struct rte_mbuf *m, uint8_t ifc, uint8_t flags, bool inbound)
{
	struct pkt p = {.m = m,
		.ip = rte_pktmbuf_mtod(m, struct ipv4 *),
		.ip_len = m->data_len,
		.ifc = ifc,
		.flags = flags};

	p.l4_off = (uint8_t)((p.ip->ver_ihl & 0xf) * 4);
	parse_ipv4_again(&p, inbound);
	return p;
}

// ---- those that follow

// Counts a packet for the session that took the first one, if it is still the same.
static void count_session(struct worker *w, const struct frag *f, const struct pkt *p)
{
	struct flow *s = &w->flows.flow[f->session];

	w->counters.fragments_followed++;
	if (!s->proto || flow_key_of(s) != f->internal || flow_remote_of(s) != f->remote)
		return;
	if (f->key.dir == FRAG_OUT) {
		s->pkts_out++;
		s->bytes_out += p->ip_len;
	} else {
		s->pkts_in++;
		s->bytes_in += p->ip_len;
	}
}

static void follow_out(struct worker *w, const struct frag *f, struct pkt *p)
{
	struct ipv4 *ip = p->ip;
	struct hop hop = forward_hop(w, ip->dst);
	uint32_t diff;

	if (translate_refused(w, p, &hop, true))
		return;
	count_session(w, f, p);
	diff = csum_diff16(ip->id, f->id);
	ip->id = f->id;
	readdress_out(w, p, &hop, f->address, diff);
}

static void follow_in(struct worker *w, const struct frag *f, struct pkt *p)
{
	struct hop hop = forward_hop_in(w, f->address);

	if (translate_refused(w, p, &hop, !(p->flags & PKT_HAIRPIN)))
		return;
	count_session(w, f, p);
	readdress_in(w, p, &hop, f->address);
}

// To the owner of the datagram, us or another.
static void follow_steered(
	struct worker *w, uint32_t owner, struct pkt *p, const struct frag_arrival *a)
{
	if (owner == w->id) {
		struct frag_arrival ours = *a;

		ours.key.dir = FRAG_IN;
		frag_arrive(w, p, &ours);
		return;
	}
	strip_l2(p);
	handoff_push(w, owner, p->m,
		p->flags & PKT_HAIRPIN ? HANDOFF_HAIRPIN_FRAGMENT : HANDOFF_FRAGMENT, p->ifc);
}

static void follow(
	struct worker *w, const struct frag *f, struct pkt *p, const struct frag_arrival *a)
{
	switch ((enum frag_state)f->state) {
	case FRAG_TRANSLATED:
		if (f->key.dir == FRAG_OUT)
			follow_out(w, f, p);
		else
			follow_in(w, f, p);
		break;
	case FRAG_BYPASSED:
		w->counters.fragments_followed++;
		open_bypass(w, p, f->key.dir != FRAG_OUT);
		break;
	case FRAG_STEERED:
		follow_steered(w, f->owner, p, a);
		break;
	default:
		pkt_drop(w, p, CGN_DROP_FRAG_HEAD_DROPPED);
		break;
	}
}

static void frag_later(struct worker *w, struct pkt *p, const struct frag_arrival *a)
{
	struct frag *f = fragmap_find(&w->frags, &a->key);
	enum cgn_drop reason = CGN_DROP_COUNT;

	if (!f || f->state == FRAG_WAITING) {
		reason = fragmap_hold(&w->frags, a, p->m, p->ifc, p->flags, w->now_ns);
		if (reason == CGN_DROP_COUNT)
			strip_l2(p);
		else
			pkt_drop(w, p, reason);
		return;
	}
	if (f->state != FRAG_DROPPED)
		reason = fragmap_cover(f, a->from, a->to, a->last);
	if (reason != CGN_DROP_COUNT) {
		pkt_drop(w, p, reason);
		return;
	}
	follow(w, f, p, a);
	if (fragmap_is_complete(f))
		fragmap_close(&w->frags, f);
}

// ---- the first one

static void first_steered(
	struct worker *w, struct pkt *p, struct frag *f, const struct frag_arrival *a)
{
	f->state = FRAG_STEERED;
	f->owner = (uint8_t)(cgn_is_portless(p->ip->proto)
			? portless_owner(w, p->key, (be32_t)p->remote)
			: steer_inbound(w->snapshot, p->key));
	follow_steered(w, f->owner, p, a);
}

void frag_translated(
	struct worker *w, const struct pkt *p, uint32_t record, be32_t address, be16_t id)
{
	struct frag *f = &w->frags.frag[p->frag];
	const struct flow *s = &w->flows.flow[record];

	f->state = FRAG_TRANSLATED;
	f->address = address;
	f->id = id;
	f->session = record;
	f->internal = flow_key_of(s);
	f->remote = flow_remote_of(s);
}

void frag_bypassed(struct worker *w, const struct pkt *p)
{
	w->frags.frag[p->frag].state = FRAG_BYPASSED;
}

static void frag_first(struct worker *w, struct pkt *p, const struct frag_arrival *a)
{
	const bool inbound = a->key.dir != FRAG_OUT, portless = cgn_is_portless(p->ip->proto);
	struct frag_held held;
	enum cgn_drop reason = CGN_DROP_COUNT;
	struct frag *f = fragmap_open(&w->frags, a, w->now_ns, &reason);

	if (!f) {
		pkt_drop(w, p, reason);
		return;
	}
	f->state = FRAG_DROPPED; // until it is told otherwise
	if (!portless)
		reason = parse_first_fragment(p, inbound);
	p->flags |= PKT_FIRST;
	p->frag = (uint32_t)(f - w->frags.frag);
	if (reason != CGN_DROP_COUNT)
		pkt_drop(w, p, reason);
	else if (a->key.dir == FRAG_STEER)
		first_steered(w, p, f, a);
	else if (portless)
		portless_packet(w, p, inbound);
	else if (p->kind == PKT_OTHER)
		open_other(w, p, inbound);
	else if (inbound)
		open_inbound(w, p);
	else
		open_outbound_one(w, p);
	while (fragmap_release(&w->frags, f, &held)) {
		struct pkt waited = unstrip(held.packet, held.ifc, held.flags, inbound);
		struct frag_arrival b;

		arrival_of(&waited, (enum frag_dir)a->key.dir, &b); // it was a right one
		follow(w, f, &waited, &b);
	}
	if (fragmap_is_complete(f))
		fragmap_close(&w->frags, f);
}

// ---- either

static void frag_arrive(struct worker *w, struct pkt *p, const struct frag_arrival *a)
{
	if (a->from)
		frag_later(w, p, a);
	else
		frag_first(w, p, a);
}

void frag_packet(struct worker *w, struct pkt *p, bool inbound)
{
	const uint8_t proto = p->ip->proto;
	enum frag_dir dir = inbound ? FRAG_IN : FRAG_OUT;
	struct frag_arrival a;

	if (cgn_is_portless(proto)) {
		p->drop_reason = CGN_DROP_PROTOCOL;
		if (!portless_offered(w, proto)) {
			open_other(w, p, inbound);
			return;
		}
	}
	if (open_fragment(w, p, inbound))
		return;
	if (inbound && w->n_workers > 1 && !(p->flags & PKT_STEERED) &&
		steer_is_split(w->snapshot, ntohl(p->ip->dst)))
		dir = FRAG_STEER;
	if (!arrival_of(p, dir, &a))
		pkt_drop(w, p, CGN_DROP_FRAG_INVALID);
	else
		frag_arrive(w, p, &a);
}

void frag_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool hairpin)
{
	struct pkt p = unstrip(m, ifc, (uint8_t)(PKT_STEERED | (hairpin ? PKT_HAIRPIN : 0)), true);

	frag_packet(w, &p, true);
}

uint32_t frag_owner(const struct worker *w, const struct ipv4 *ip)
{
	uint32_t x = ip->src ^ (ip->dst * 0x9e3779b1u) ^ ((uint32_t)ip->id << 8) ^ ip->proto;

	x *= 0x85ebca6bu;
	x ^= x >> 13;
	x *= 0xc2b2ae35u;
	x ^= x >> 16;
	return steer_fragment(w->snapshot, ntohl(ip->dst), x);
}

static void drop_datagram(struct worker *w, struct frag *f, enum cgn_drop reason)
{
	struct frag_held held;

	while (fragmap_release(&w->frags, f, &held))
		worker_drop(w, held.packet, reason, held.ifc);
	fragmap_close(&w->frags, f);
}

uint32_t frag_upkeep(struct worker *w, uint32_t max)
{
	const uint64_t age_ns = w->timeouts.fragment * 1000000000ull;
	struct frag *f;
	uint32_t n = 0;

	for (; n < max && (f = fragmap_due(&w->frags, w->now_ns, age_ns)) != NULL; n++)
		drop_datagram(w, f, CGN_DROP_FRAG_NO_HEAD);
	return n;
}

void frag_drop_all(struct worker *w)
{
	while (w->frags.n)
		drop_datagram(w, &w->frags.frag[w->frags.first], CGN_DROP_STOPPED);
}
