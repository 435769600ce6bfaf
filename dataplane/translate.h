// SPDX-License-Identifier: BSD-3-Clause
// A packet that has its session: state, counters, rewrite, next hop. Either direction.
// The checksums are updated by differences (RFC 1624 eqn. 3), so a wrong one stays wrong.
#pragma once
#include "csum.h"
#include "flow.h"
#include "forward.h"
#include "frag.h"
#include "icmp.h"
#include "tcp.h"
#include "worker.h"

// Where the L4 header keeps what changes, by protocol: ports or query id, and the checksum.
struct l4_layout {
	uint8_t out, in, check;
};
static inline struct l4_layout l4_layout_of(uint8_t proto)
{
	return proto == CGN_PROTO_TCP	 ? (struct l4_layout){0, 2, 16}
		: proto == CGN_PROTO_UDP ? (struct l4_layout){0, 2, 6}
					 : (struct l4_layout){4, 4, 2};
}

// Segments that matter to the state, SYNs among them. A timer that now ends earlier is armed anew; one
// that ends later is found out lazily.
void translate_tcp_slow(struct worker *w, uint32_t record, const struct pkt *p, bool outbound);

static inline void translate_state(
	struct worker *w, uint32_t record, const struct pkt *p, bool outbound)
{
	struct flow *f = &w->flows.flow[record];

	if (f->proto == CGN_PROTO_TCP) {
		if (cgn_unlikely(tcp_matters(f->state, p->tcp_flags)))
			translate_tcp_slow(w, record, p, outbound);
		if (cgn_unlikely(f->seen_s != w->now_s) && !tcp_unanswered(f->flags))
			f->seen_s = w->now_s;
	} else if (outbound || (f->flags & FLOW_REFRESHED_IN)) { // RFC 4787 REQ-6
		if (cgn_unlikely(f->seen_s != w->now_s))
			f->seen_s = w->now_s;
	}
	if (outbound) {
		struct flow *head = f->flags & FLOW_HEAD ? f : &w->flows.flow[f->link];

		if (cgn_unlikely(head->link != w->now_s))
			head->link = w->now_s;
		f->pkts_out++;
		f->bytes_out += p->ip_len;
	} else {
		f->pkts_in++;
		f->bytes_in += p->ip_len;
	}
}

static inline void translate_l4(
	uint8_t *l4, uint8_t proto, unsigned port_at, be16_t port, unsigned check_at, uint16_t diff)
{
	be16_t check;

	memcpy(l4 + port_at, &port, 2);
	memcpy(&check, l4 + check_at, 2);
	if (proto == CGN_PROTO_UDP && check == 0)
		return; // no checksum stays no checksum (RFC 768)
	check = csum_apply(check, diff);
	if (proto == CGN_PROTO_UDP && check == 0)
		check = 0xffff; // a computed 0 is sent as 0xffff (RFC 768)
	memcpy(l4 + check_at, &check, 2);
}

// TTL - 1 in the header checksum: the word at the TTL goes down by 1 (as it lies in memory).
#define TTL_DIFF 0xfffeu

// Too old or too big to be forwarded: answered and dropped (returns true). Called before anything
// is changed, so that the answer quotes what was sent. `ttl`: TTL must be taken off, too. What is too
// big but may be cut goes on by a hop without neighbour, that is by forward_slow(), which cuts it.
static inline bool translate_refused(struct worker *w, struct pkt *p, struct hop *hop, bool ttl)
{
	if (cgn_unlikely(ttl && p->ip->ttl <= 1)) {
		icmp_ttl_expired(w, p);
		return true;
	}
	if (cgn_unlikely(DEST_KIND(hop->dest) <= DEST_ONLINK &&
		    p->ip_len > w->snapshot->interface[hop->ifc].mtu)) {
		if (p->ip->frag & htons(IPV4_DF)) {
			icmp_too_big(w, p, w->snapshot->interface[hop->ifc].mtu);
			return true;
		}
		hop->neigh = NEIGH_NONE; // RFC 4787 REQ-13a
	}
	return false;
}

// Where the outbound half ends elsewhere than on an external interface: hairpins, and what has no way
// out any more. p has been rewritten. In path.c.
void translate_out_odd(struct worker *w, struct pkt *p, const struct hop *hop);

// Outbound packet p, of session `record`, is a fragment or may become one: gives it an identification
// of the external address (RFC 6864 5.3.1). Returns the checksum difference. In path.c.
uint32_t translate_ident(struct worker *w, struct pkt *p, uint32_t record);

// Outbound packet p of session `record`. Takes the mbuf.
static inline void translate_out(struct worker *w, struct pkt *p, uint32_t record)
{
	const struct flow *f = &w->flows.flow[record];
	struct ipv4 *ip = p->ip;
	struct hop hop = forward_hop(w, ip->dst);
	struct l4_layout at = l4_layout_of(f->proto);
	uint32_t diff;

	if (translate_refused(w, p, &hop, true))
		return;
	translate_state(w, record, p, true);
	diff = csum_diff32(ip->src, f->ext_addr) + TTL_DIFF;
	if (cgn_unlikely(ip->frag != htons(IPV4_DF))) // an atomic datagram keeps its own
		diff += translate_ident(w, p, record);
	ip->check = csum_apply(ip->check, diff);
	ip->ttl--;
	ip->src = f->ext_addr;
	translate_l4(pkt_l4(p), f->proto, at.out, f->ext_port, at.check, f->l4_diff);
	if (cgn_likely(hop_leaves(w, &hop, CGN_EXTERNAL))) {
		w->counters.translated_outbound++;
		forward_send(w, p->m, ip, p->ip_len, &hop);
	} else {
		translate_out_odd(w, p, &hop);
	}
}

// From outside, with the source of a hairpin's remote. True: it is spoofed, p is gone. (It is not when
// the address has been taken out of the pools since.) In path.c.
bool translate_spoofed(struct worker *w, struct pkt *p, struct flow *f);

// Inbound packet p of session `record`. Takes the mbuf.
static inline void translate_in(struct worker *w, struct pkt *p, uint32_t record)
{
	struct flow *f = &w->flows.flow[record];
	const bool hairpin = p->flags & PKT_HAIRPIN;
	struct ipv4 *ip = p->ip;
	struct hop hop = forward_hop_in(w, f->int_addr);
	struct l4_layout at = l4_layout_of(f->proto);
	uint32_t diff = csum_diff32(ip->dst, f->int_addr);

	if (cgn_unlikely(f->hairpin && !hairpin && translate_spoofed(w, p, f)))
		return;
	if (translate_refused(w, p, &hop, !hairpin))
		return;
	translate_state(w, record, p, false);
	if (cgn_unlikely(p->flags & PKT_FIRST))
		frag_translated(w, p, record, f->int_addr, ip->id);
	if (cgn_likely(!hairpin)) {
		diff += TTL_DIFF;
		ip->ttl--;
	}
	ip->check = csum_apply(ip->check, diff);
	ip->dst = f->int_addr;
	translate_l4(pkt_l4(p), f->proto, at.in, f->int_port, at.check, csum_undo(f->l4_diff));
	if (cgn_likely(hop_leaves(w, &hop, CGN_INTERNAL))) {
		if (cgn_unlikely(hairpin))
			w->counters.hairpinned++;
		else
			w->counters.translated_inbound++;
		forward_send(w, p->m, ip, p->ip_len, &hop);
	} else {
		pkt_drop(w, p, CGN_DROP_NO_ROUTE);
	}
}
