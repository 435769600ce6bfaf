// SPDX-License-Identifier: BSD-3-Clause
#include "parse.h"
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"
#include "flow.h"
#include "ipv6.h"
#include "worker.h"

#define ETHERTYPE_ARP 0x0806
#define PARSE_PREFETCH 4 // frames ahead

static be16_t load16(const uint8_t *at)
{
	be16_t v;

	memcpy(&v, at, 2);
	return v;
}

// Loose and strict source routes (RFC 1812 5.3.13.4) are refused; other options are carried along.
static bool has_source_route(const struct ipv4 *ip, unsigned header_len)
{
	const uint8_t *o = (const uint8_t *)ip + sizeof(*ip),
		      *end = (const uint8_t *)ip + header_len;

	while (o < end && *o != 0) {
		if (*o == 1) {
			o++;
			continue;
		}
		if (*o == 131 || *o == 137)
			return true;
		if (end - o < 2 || o[1] < 2)
			return false;
		o += o[1];
	}
	return false;
}

static void set_ends(struct pkt *p, bool inbound, be32_t src, be16_t sport, be32_t dst,
	be16_t dport, uint8_t proto)
{
	p->key = inbound ? FLOW_KEY(dst, dport, proto) : FLOW_KEY(src, sport, proto);
	p->remote = inbound ? FLOW_REMOTE(src, sport) : FLOW_REMOTE(dst, dport);
}

// The packet quoted by an ICMP error was going the other way: an inbound error quotes what we sent
// out, so our endpoint is its source.
static enum cgn_drop parse_quote(struct pkt *p, const uint8_t *l4, unsigned l4_len, bool inbound)
{
	const struct ipv4 *q = (const struct ipv4 *)(l4 + 8);
	unsigned quoted = l4_len - 8, header_len;
	const uint8_t *ql4;

	if (quoted < sizeof(*q) + 8)
		return CGN_DROP_ICMP_QUOTE;
	header_len = (q->ver_ihl & 0xf) * 4u; // options inside are stepped over (RFC 5508 REQ-3b)
	if (q->ver_ihl >> 4 != 4 || header_len < sizeof(*q) || quoted < header_len + 8)
		return CGN_DROP_ICMP_QUOTE;
	if (!csum_ipv4_ok(q, header_len / 4)) // RFC 5508 REQ-3a
		return CGN_DROP_ICMP_QUOTE;
	if (ntohs(q->frag) & 0x1fff)
		return CGN_DROP_ICMP_QUOTE; // not the first fragment: no ports
	ql4 = (const uint8_t *)q + header_len;
	if (q->proto == CGN_PROTO_ICMP) {
		if (ql4[0] != ICMP_ECHO && ql4[0] != ICMP_ECHO_REPLY)
			return CGN_DROP_ICMP_QUOTE;
		if ((ql4[0] == ICMP_ECHO) != inbound)
			p->flags |= PKT_AGAINST;
		set_ends(p, !inbound, q->src, inbound ? load16(ql4 + 4) : 0, q->dst,
			inbound ? 0 : load16(ql4 + 4), q->proto);
	} else if (q->proto == CGN_PROTO_TCP || q->proto == CGN_PROTO_UDP) {
		set_ends(p, !inbound, q->src, load16(ql4), q->dst, load16(ql4 + 2), q->proto);
	} else { // portless.h may know it
		set_ends(p, !inbound, q->src, 0, q->dst, 0, q->proto);
	}
	return CGN_DROP_COUNT;
}

static enum cgn_drop parse_icmp(struct pkt *p, const uint8_t *l4, unsigned l4_len, bool inbound)
{
	p->tcp_flags = l4[0];
	switch (l4[0]) {
	case ICMP_ECHO_REPLY:
	case ICMP_ECHO:
		// only the query goes out and only the reply comes in, but for one-to-one mappings
		if ((l4[0] == ICMP_ECHO) == inbound) {
			p->kind = PKT_OTHER;
			p->flags |= PKT_AGAINST;
			p->drop_reason = inbound ? CGN_DROP_ICMP_NO_SESSION : CGN_DROP_ICMP_TYPE;
		}
		set_ends(p, inbound, p->ip->src, inbound ? 0 : load16(l4 + 4), p->ip->dst,
			inbound ? load16(l4 + 4) : 0, CGN_PROTO_ICMP);
		return CGN_DROP_COUNT;
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER: {
		enum cgn_drop reason = parse_quote(p, l4, l4_len, inbound);

		p->kind = PKT_ICMP_ERROR;
		if (reason != CGN_DROP_COUNT) {
			p->kind = PKT_OTHER;
			p->drop_reason = reason;
		}
		return CGN_DROP_COUNT;
	}
	default:
		p->kind = PKT_OTHER;
		p->drop_reason = CGN_DROP_ICMP_TYPE;
		return CGN_DROP_COUNT;
	}
}

static void parse_fragment(struct pkt *p, bool inbound)
{
	const struct ipv4 *ip = p->ip;

	p->kind = PKT_FRAGMENT;
	// what ICMP type it is decides on whether it may be answered
	p->tcp_flags = ip->proto == CGN_PROTO_ICMP && p->ip_len > p->l4_off ? *pkt_l4(p) : 0;
	set_ends(p, inbound, ip->src, 0, ip->dst, 0, ip->proto);
}

enum cgn_drop parse_first_fragment(struct pkt *p, bool inbound)
{
	const struct ipv4 *ip = p->ip;
	const uint8_t *l4 = pkt_l4(p);
	unsigned l4_len = p->ip_len - (unsigned)p->l4_off;

	p->kind = PKT_FLOW;
	if (l4_len < (ip->proto == CGN_PROTO_TCP ? 20 : 8))
		return CGN_DROP_FRAG_TINY;
	if (ip->proto == CGN_PROTO_ICMP) {
		if (l4[0] != ICMP_ECHO && l4[0] != ICMP_ECHO_REPLY)
			return CGN_DROP_FRAG_INVALID; // an error's checksum could not be checked
		parse_icmp(p, l4, l4_len, inbound); // may leave an echo for one-to-one alone
		return CGN_DROP_COUNT;
	}
	p->tcp_flags = 0;
	if (ip->proto == CGN_PROTO_TCP) {
		p->tcp_flags = l4[13];
		if ((l4[12] >> 4) * 4u < 20)
			return CGN_DROP_L4_LENGTH;
		if ((l4[12] >> 4) * 4u > l4_len)
			return CGN_DROP_FRAG_TINY;
	} else if (ntohs(load16(l4 + 4)) < l4_len) {
		return CGN_DROP_L4_LENGTH; // of the whole datagram, which is longer than this
	}
	set_ends(p, inbound, ip->src, load16(l4), ip->dst, load16(l4 + 2), ip->proto);
	return CGN_DROP_COUNT;
}

// From the L4 header on; the IPv4 header has been checked. Returns CGN_DROP_COUNT when p goes on.
static inline enum cgn_drop parse_l4(struct pkt *p, bool inbound)
{
	const struct ipv4 *ip = p->ip;
	const uint8_t *l4 = pkt_l4(p);
	unsigned l4_len = p->ip_len - (unsigned)p->l4_off;

	p->kind = PKT_FLOW;
	if (cgn_unlikely(ip->frag & htons(IPV4_FRAG_MASK))) {
		parse_fragment(p, inbound);
		return CGN_DROP_COUNT;
	}
	if (cgn_likely(ip->proto == CGN_PROTO_TCP)) {
		if (l4_len < 20 || (l4[12] >> 4) * 4u < 20 || (l4[12] >> 4) * 4u > l4_len)
			return CGN_DROP_L4_LENGTH;
		p->tcp_flags = l4[13];
	} else if (cgn_likely(ip->proto == CGN_PROTO_UDP)) {
		if (l4_len < 8 || ntohs(load16(l4 + 4)) < 8 || ntohs(load16(l4 + 4)) > l4_len)
			return CGN_DROP_L4_LENGTH;
		p->tcp_flags = 0;
	} else if (ip->proto == CGN_PROTO_ICMP) {
		return l4_len < 8 ? CGN_DROP_L4_LENGTH : parse_icmp(p, l4, l4_len, inbound);
	} else {
		p->kind = PKT_OTHER;
		p->drop_reason = CGN_DROP_PROTOCOL;
		return CGN_DROP_COUNT;
	}
	set_ends(p, inbound, ip->src, load16(l4), ip->dst, load16(l4 + 2), ip->proto);
	return CGN_DROP_COUNT;
}

void parse_ipv4_again(struct pkt *p, bool inbound)
{
	parse_l4(p, inbound);
}

// An 802.1Q tag in the frame or taken out of it by the device. Returns the frame's VLAN.
static inline unsigned parse_vlan(const struct rte_mbuf *m, const uint8_t *l2, unsigned len,
	unsigned *l2_len, unsigned *ethertype)
{
	unsigned vlan = 0;

	if (cgn_unlikely(m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED))
		vlan = m->vlan_tci & 0xfff;
	if (cgn_unlikely(*ethertype == 0x8100) && len >= 18) {
		vlan = ntohs(load16(l2 + 14)) & 0xfff;
		*ethertype = ntohs(load16(l2 + 16));
		*l2_len = 18;
	}
	return vlan;
}

static inline enum cgn_drop parse_one(struct worker *w, struct pkt *p, bool inbound)
{
	const struct worker_port *port = &w->port[p->ifc];
	const struct rte_mbuf *m = p->m;
	uint8_t *l2 = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned len = m->data_len, l2_len = 14, header_len, ethertype;
	struct ipv4 *ip;

	if (cgn_unlikely(len < 14))
		return CGN_DROP_FRAME_TOO_SHORT;
	if (cgn_unlikely(m->nb_segs != 1))
		return CGN_DROP_FRAME_SEGMENTED;
	ethertype = ntohs(load16(l2 + 12));
	if (cgn_unlikely(parse_vlan(m, l2, len, &l2_len, &ethertype) !=
		    w->snapshot->interface[p->ifc].vlan))
		return CGN_DROP_VLAN_MISMATCH;
	p->ip = ip = (struct ipv4 *)(l2 + l2_len);
	if (cgn_unlikely(ethertype != 0x0800)) {
		p->kind = ethertype == ETHERTYPE_IPV6 ? PKT_IPV6 : PKT_ARP;
		return ethertype == ETHERTYPE_ARP || ethertype == ETHERTYPE_IPV6
			? CGN_DROP_COUNT
			: CGN_DROP_ETHERTYPE;
	}
	if (cgn_unlikely(memcmp(l2, port->mac, 6)))
		return l2[0] & 1 ? CGN_DROP_L2_MULTICAST : CGN_DROP_NOT_FOR_US;
	len -= l2_len;
	if (cgn_unlikely(len < sizeof(*ip)))
		return CGN_DROP_FRAME_TOO_SHORT;
	header_len = (ip->ver_ihl & 0xf) * 4u;
	if (cgn_unlikely(ip->ver_ihl != 0x45)) {
		if (ip->ver_ihl >> 4 != 4 || header_len < sizeof(*ip))
			return CGN_DROP_IP_VERSION;
	}
	p->ip_len = ntohs(ip->total_len);
	if (cgn_unlikely(p->ip_len < header_len || p->ip_len > len))
		return CGN_DROP_IP_LENGTH;
	if (cgn_unlikely(!csum_ipv4_ok(ip, header_len / 4)))
		return CGN_DROP_IP_CHECKSUM;
	if (cgn_unlikely(header_len > sizeof(*ip)) && has_source_route(ip, header_len))
		return CGN_DROP_IP_SOURCE_ROUTE;
	p->l4_off = (uint8_t)header_len;
	return parse_l4(p, inbound);
}

void parse_frames(struct worker *w, struct batch *b, struct rte_mbuf **m, unsigned n, uint8_t ifc,
	bool inbound)
{
	for (unsigned i = 0; i < n && i < PARSE_PREFETCH; i++)
		cgn_prefetch(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = &b->pkt[b->n];
		enum cgn_drop reason;

		if (i + PARSE_PREFETCH < n)
			cgn_prefetch(rte_pktmbuf_mtod(m[i + PARSE_PREFETCH], void *));
		p->m = m[i];
		p->ifc = ifc;
		p->flags = 0;
		reason = parse_one(w, p, inbound);
		if (cgn_unlikely(reason != CGN_DROP_COUNT))
			worker_drop(w, m[i], reason, ifc);
		else
			b->n++;
	}
}
