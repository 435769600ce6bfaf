// SPDX-License-Identifier: BSD-3-Clause
#include "ipv6.h"
#include <arpa/inet.h>
#include <endian.h>
#include <string.h>
#include "forward.h"
#include "icmp6.h"
#include "nd.h"
#include "worker.h"

static const struct cgn_ipv6 all_nodes = {{0xff, 0x02, [15] = 1}},
			     all_routers = {{0xff, 0x02, [15] = 2}};

// ---- addresses

struct neigh_address ipv6_neigh_address(const struct cgn_ipv6 *address)
{
	uint64_t half[2];

	memcpy(half, address, sizeof(half));
	return (struct neigh_address){be64toh(half[0]), be64toh(half[1])};
}

bool ipv6_is_ours(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	if (cgn_ipv6_same(address, &w->ipv6.link_local[ifc]))
		return true;
	for (uint32_t i = 0; i < config->n_addresses6; i++) {
		if (cgn_ipv6_same(address, &config->addresses6[i].address))
			return true;
	}
	return false;
}

bool ipv6_is_on_link(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	for (uint32_t i = 0; i < config->n_addresses6; i++) {
		const struct cgn_prefix6 *a = &config->addresses6[i];

		if (cgn_ipv6_covers(&a->address, a->length, address))
			return true;
	}
	return cgn_ipv6_is_link_local(address);
}

const struct cgn_ipv6 *ipv6_source(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *to)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	if (cgn_ipv6_is_link_local(to))
		return &w->ipv6.link_local[ifc];
	for (uint32_t i = 0; i < config->n_addresses6; i++) {
		const struct cgn_prefix6 *a = &config->addresses6[i];

		if (cgn_ipv6_covers(&a->address, a->length, to))
			return &a->address;
	}
	return &config->addresses6[0].address;
}

// ---- sending

struct hop ipv6_hop(const struct worker *w, const struct cgn_ipv6 *address)
{
	const struct routes6 *routes = &w->snapshot->routes6;
	struct hop hop = {routes6_lookup(routes, address), NEIGH_NONE, 0};

	if (DEST_KIND(hop.dest) == DEST_ROUTE) {
		const uint32_t gateway = DEST_INDEX(hop.dest);

		hop.ifc = routes->gateway[gateway].ifc;
		hop.neigh = w->ipv6.gateway_neigh[gateway];
	} else if (DEST_KIND(hop.dest) == DEST_ONLINK) {
		hop.ifc = (uint8_t)DEST_INDEX(hop.dest);
		hop.neigh = neigh_find(&w->ipv6.neighbours, hop.ifc, ipv6_neigh_address(address));
	}
	return hop;
}

// Only for hops of kind DEST_ROUTE and DEST_ONLINK.
static void ipv6_send(
	struct worker *w, struct rte_mbuf *m, struct ipv6 *ip, uint16_t len, const struct hop *hop)
{
	struct neigh_table *t = &w->ipv6.neighbours;
	const struct worker_port *port = &w->port[hop->ifc];
	uint32_t neigh = hop->neigh;
	struct neigh *n;

	if (cgn_unlikely(neigh == NEIGH_NONE))
		neigh = neigh_get(w, t, hop->ifc, ipv6_neigh_address(&ip->dst));
	if (cgn_unlikely(neigh == NEIGH_NONE)) {
		worker_drop(w, m, CGN_DROP_NEIGHBOUR_TABLE_FULL, hop->ifc);
		return;
	}
	n = &t->neigh[neigh];
	if (cgn_unlikely(!neigh_has_mac(n))) { // it waits as a bare IPv6 packet
		m->data_off = (uint16_t)((uint8_t *)ip - (uint8_t *)m->buf_addr);
		m->data_len = len;
		m->pkt_len = len;
		m->ol_flags = 0;
		neigh_wait(w, t, neigh, m);
		return;
	}
	if (cgn_unlikely(n->used_s != w->now_s))
		n->used_s = w->now_s;
	forward_l2(port, m, ip, len, n->mac);
	memcpy((uint8_t *)ip - 2, &nd_protocol.ethertype, 2);
	forward_transmit(w, hop->ifc, m);
}

void ipv6_own(struct worker *w, struct rte_mbuf *m, struct ipv6 *ip, uint8_t ifc)
{
	const uint16_t len = (uint16_t)(sizeof(*ip) + ntohs(ip->payload_len));
	struct hop hop = {DEST(DEST_ONLINK, ifc), NEIGH_NONE, ifc};

	if (!cgn_ipv6_is_link_local(&ip->dst))
		hop = ipv6_hop(w, &ip->dst);
	else
		hop.neigh = neigh_find(&w->ipv6.neighbours, ifc, ipv6_neigh_address(&ip->dst));
	if (DEST_KIND(hop.dest) > DEST_ONLINK)
		worker_drop(w, m, CGN_DROP_IPV6_NO_ROUTE, ifc);
	else if (len > w->snapshot->interface[hop.ifc].mtu)
		worker_drop(w, m, CGN_DROP_IPV6_TOO_BIG, ifc);
	else
		ipv6_send(w, m, ip, len, &hop);
}

// ---- receiving

// What every packet must be, whoever it is for. Returns CGN_DROP_COUNT when p goes on.
static enum cgn_drop ipv6_check(const struct worker *w, struct pkt *p, const struct ipv6 *ip)
{
	const uint8_t *l2 = rte_pktmbuf_mtod(p->m, uint8_t *);
	const unsigned len = p->m->data_len - (unsigned)((const uint8_t *)ip - l2);
	const bool for_us = !memcmp(l2, w->port[p->ifc].mac, 6);

	if (!w->snapshot->interface[p->ifc].config->n_addresses6)
		return CGN_DROP_IPV6_OFF;
	if (len < sizeof(*ip))
		return CGN_DROP_FRAME_TOO_SHORT;
	if (!for_us && !(l2[0] & 1))
		return CGN_DROP_NOT_FOR_US;
	if (*(const uint8_t *)ip >> 4 != 6 || ntohs(ip->payload_len) > len - sizeof(*ip))
		return CGN_DROP_IPV6_HEADER;
	if (!ip->payload_len && ip->next == IPV6_HOP_BY_HOP)
		return CGN_DROP_IPV6_HEADER; // a jumbogram (RFC 2675): no link of ours is that wide
	p->ip_len = (uint16_t)(sizeof(*ip) + ntohs(ip->payload_len));
	if (!for_us && !cgn_ipv6_is_multicast(&ip->dst))
		return CGN_DROP_L2_MULTICAST;
	if (cgn_ipv6_is_link_local(&ip->src)) {
		if (ipv6_is_ours(w, p->ifc, &ip->src))
			return CGN_DROP_IPV6_SOURCE;
	} else {
		const enum dest_kind source =
			DEST_KIND(routes6_lookup(&w->snapshot->routes6, &ip->src));

		// no address yet: only to be asked for, or about, on the link (RFC 4862 5.4.2)
		if (source == DEST_LOCAL ||
			(source == DEST_MARTIAN &&
				!(cgn_ipv6_is_unspecified(&ip->src) &&
					cgn_ipv6_is_multicast(&ip->dst))))
			return CGN_DROP_IPV6_SOURCE;
	}
	return CGN_DROP_COUNT;
}

static bool is_nd(const struct pkt *p, const struct ipv6 *ip)
{
	const uint8_t *l4 = (const uint8_t *)(ip + 1);

	return ip->next == IPV6_ICMP && p->ip_len > sizeof(*ip) &&
		(l4[0] == ND_SOLICITATION || l4[0] == ND_ADVERTISEMENT);
}

static void ipv6_nd(struct worker *w, struct pkt *p, const struct ipv6 *ip)
{
	if (!nd_valid(ip, p->ip_len)) {
		pkt_drop(w, p, CGN_DROP_IPV6_ND_INVALID);
		return;
	}
	handoff_share(w, p->m, HANDOFF_ND, p->ifc); // the others have neighbours of their own
	nd_receive(w, p->m, p->ifc, false);
	rte_pktmbuf_free(p->m);
}

static void ipv6_multicast(struct worker *w, struct pkt *p, struct ipv6 *ip)
{
	if (is_nd(p, ip))
		ipv6_nd(w, p, ip);
	else if ((cgn_ipv6_same(&ip->dst, &all_nodes) || cgn_ipv6_same(&ip->dst, &all_routers)) &&
		icmp6_is_echo(ip, p->ip_len) && !cgn_ipv6_is_unspecified(&ip->src))
		icmp6_local(w, p, ip);
	else
		pkt_drop(w, p, CGN_DROP_IPV6_MULTICAST);
}

// A subscriber's source must lead to the inside and nobody else's may (RFC 2827, RFC 3704).
static bool source_is_of_its_side(
	const struct worker *w, const struct pkt *p, const struct ipv6 *ip)
{
	const struct routes6 *routes = &w->snapshot->routes6;
	const uint32_t source = routes6_lookup(routes, &ip->src);
	bool internal = false;

	if (DEST_KIND(source) == DEST_ONLINK)
		internal = w->snapshot->interface[DEST_INDEX(source)].role == CGN_INTERNAL;
	else if (DEST_KIND(source) == DEST_ROUTE)
		internal = w->snapshot->interface[routes->gateway[DEST_INDEX(source)].ifc].role ==
			CGN_INTERNAL;
	return internal == (w->snapshot->interface[p->ifc].role == CGN_INTERNAL);
}

static void ipv6_refuse(struct worker *w, struct pkt *p, const struct ipv6 *ip,
	enum cgn_drop reason, uint8_t type, uint8_t code, uint32_t value)
{
	icmp6_error(w, ip, p->ip_len, p->ifc, type, code, value);
	pkt_drop(w, p, reason);
}

static void ipv6_forward(struct worker *w, struct pkt *p, struct ipv6 *ip, const struct hop *hop)
{
	const struct snapshot_interface *out = &w->snapshot->interface[hop->ifc];

	if (!source_is_of_its_side(w, p, ip)) {
		pkt_drop(w, p, CGN_DROP_IPV6_SOURCE);
	} else if (DEST_KIND(hop->dest) == DEST_MARTIAN) {
		pkt_drop(w, p, CGN_DROP_IPV6_DESTINATION);
	} else if (ip->hop_limit <= 1) {
		ipv6_refuse(w, p, ip, CGN_DROP_IPV6_HOP_LIMIT, ICMP6_TIME_EXCEEDED, 0, 0);
	} else if (DEST_KIND(hop->dest) > DEST_ONLINK) {
		ipv6_refuse(w, p, ip, CGN_DROP_IPV6_NO_ROUTE, ICMP6_UNREACHABLE,
			ICMP6_CODE_NO_ROUTE, 0);
	} else if (hop->ifc == p->ifc && out->role == CGN_EXTERNAL) {
		// an unused part of our prefixes, by the default route: it would go back and forth
		ipv6_refuse(
			w, p, ip, CGN_DROP_IPV6_LOOP, ICMP6_UNREACHABLE, ICMP6_CODE_NO_ROUTE, 0);
	} else if (p->ip_len > out->mtu) {
		ipv6_refuse(w, p, ip, CGN_DROP_IPV6_TOO_BIG, ICMP6_TOO_BIG, 0, out->mtu);
	} else {
		ip->hop_limit--;
		w->counters.ipv6_forwarded++;
		w->counters.ipv6_forwarded_bytes += p->ip_len;
		ipv6_send(w, p->m, ip, p->ip_len, hop);
	}
}

void ipv6_packet(struct worker *w, struct pkt *p)
{
	struct ipv6 *ip = (struct ipv6 *)p->ip;
	const enum cgn_drop reason = ipv6_check(w, p, ip);
	struct hop hop;

	if (cgn_unlikely(reason != CGN_DROP_COUNT)) {
		pkt_drop(w, p, reason);
		return;
	}
	if (cgn_unlikely(cgn_ipv6_is_multicast(&ip->dst))) {
		ipv6_multicast(w, p, ip);
		return;
	}
	hop = ipv6_hop(w, &ip->dst);
	if (cgn_unlikely(DEST_KIND(hop.dest) == DEST_LOCAL ||
		    cgn_ipv6_same(&ip->dst, &w->ipv6.link_local[p->ifc]))) {
		if (is_nd(p, ip))
			ipv6_nd(w, p, ip);
		else
			icmp6_local(w, p, ip);
	} else if (cgn_unlikely(cgn_ipv6_is_link_local(&ip->src) ||
			   cgn_ipv6_is_link_local(&ip->dst))) { // RFC 4291 2.5.6
		if (!cgn_ipv6_is_link_local(&ip->dst))
			icmp6_error(
				w, ip, p->ip_len, p->ifc, ICMP6_UNREACHABLE, ICMP6_CODE_SCOPE, 0);
		pkt_drop(w, p, CGN_DROP_IPV6_SCOPE);
	} else {
		ipv6_forward(w, p, ip, &hop);
	}
}
