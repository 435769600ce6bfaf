// SPDX-License-Identifier: BSD-3-Clause
#include "nd.h"
#include <arpa/inet.h>
#include <endian.h>
#include <rte_byteorder.h>
#include <string.h>
#include "csum.h"
#include "forward.h"
#include "icmp6.h"
#include "worker.h"

#define HOP_LIMIT 255 // proves that no router forwarded it

enum {
	NA_ROUTER = 0x80,
	NA_SOLICITED = 0x40,
	NA_OVERRIDE = 0x20,
	OPTION_SOURCE = 1, // link-layer address, of the sender
	OPTION_TARGET = 2, // of the target
};

struct __attribute__((packed, aligned(2))) nd {
	uint8_t type, code;
	be16_t check;
	uint8_t flags, reserved[3];
	struct cgn_ipv6 target;
};

struct __attribute__((packed, aligned(2))) nd_option {
	uint8_t type, len; // in units of 8 bytes
	uint8_t mac[6];
};

static const struct cgn_ipv6 all_nodes = {{0xff, 0x02, [15] = 1}};

// ff02::1:ff00:0/104 and the last three bytes (RFC 4291 2.7.1)
static struct cgn_ipv6 solicited_node(const struct cgn_ipv6 *a)
{
	return (struct cgn_ipv6){{0xff, 0x02, [11] = 1, 0xff, a->b[13], a->b[14], a->b[15]}};
}

// ---- sending

// `target_mac`: the option's, ours. `mac`: of the next hop; NULL: that of the group `to`.
static void nd_send(struct worker *w, uint8_t ifc, uint8_t type, uint8_t flags,
	const struct cgn_ipv6 *target, const struct cgn_ipv6 *from, const struct cgn_ipv6 *to,
	const uint8_t *mac)
{
	const uint8_t group[6] = {0x33, 0x33, to->b[12], to->b[13], to->b[14], to->b[15]};
	const struct worker_port *port = &w->port[ifc];
	const unsigned len = sizeof(struct nd) + sizeof(struct nd_option);
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->mbufs);
	struct nd_option *option;
	struct ipv6 *ip;
	struct nd *nd;

	if (!m) {
		w->counters.no_buffer++;
		return;
	}
	ip = (struct ipv6 *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*ip) + len));
	*ip = (struct ipv6){.ver_class_flow = htonl(6u << 28),
		.payload_len = htons((uint16_t)len),
		.next = IPV6_ICMP,
		.hop_limit = HOP_LIMIT,
		.src = *from,
		.dst = *to};
	nd = (struct nd *)(ip + 1);
	*nd = (struct nd){.type = type, .flags = flags, .target = *target};
	option = (struct nd_option *)(nd + 1);
	*option = (struct nd_option){
		.type = type == ND_SOLICITATION ? OPTION_SOURCE : OPTION_TARGET, .len = 1};
	memcpy(option->mac, port->mac, 6);
	nd->check = (be16_t)~csum_fold(icmp6_sum(ip, nd, len));
	forward_l2(port, m, ip, (uint16_t)(sizeof(*ip) + len), mac ? mac : group);
	memcpy((uint8_t *)ip - 2, &nd_protocol.ethertype, 2);
	w->counters.originated++;
	if (type == ND_SOLICITATION)
		w->counters.nd_solicitations_sent++;
	else
		w->counters.nd_advertisements_sent++;
	forward_transmit(w, ifc, m);
}

static void nd_ask(struct worker *w, const struct neigh *n)
{
	const uint64_t half[2] = {htobe64(n->address.hi), htobe64(n->address.lo)};
	struct cgn_ipv6 target, group;

	memcpy(&target, half, sizeof(target));
	group = solicited_node(&target);
	if (n->state == NEIGH_PROBING) // one that we know is asked directly
		nd_send(w, n->ifc, ND_SOLICITATION, 0, &target, ipv6_source(w, n->ifc, &target),
			&target, n->mac);
	else
		nd_send(w, n->ifc, ND_SOLICITATION, 0, &target, ipv6_source(w, n->ifc, &target),
			&group, NULL);
}

static void nd_give_up(struct worker *w, struct rte_mbuf *m, const struct neigh *n)
{
	const struct ipv6 *ip = rte_pktmbuf_mtod(m, struct ipv6 *);

	// where it came in is known no more: the way back to its sender stands for that
	if (!cgn_ipv6_is_link_local(&ip->src)) {
		const struct hop back = ipv6_hop(w, &ip->src);

		if (DEST_KIND(back.dest) <= DEST_ONLINK) // RFC 4861 7.2.2
			icmp6_error(w, ip, m->data_len, back.ifc, ICMP6_UNREACHABLE,
				ICMP6_CODE_ADDRESS, 0);
	}
	worker_drop(w, m, CGN_DROP_NEIGHBOUR_UNRESOLVED, n->ifc);
}

const struct neigh_protocol nd_protocol = {
	.ethertype = RTE_BE16(ETHERTYPE_IPV6), .ask = nd_ask, .give_up = nd_give_up};

// ---- receiving

// The MAC address in an option, or NULL.
static const uint8_t *option_mac(const struct nd *nd, unsigned len, uint8_t type)
{
	const uint8_t *at = (const uint8_t *)(nd + 1), *end = (const uint8_t *)nd + len;

	for (; at < end; at += at[1] * 8) {
		if (at[0] == type && at[1] == 1 && !(at[2] & 1))
			return at + 2;
	}
	return NULL;
}

// Options of length 0 make the whole message invalid.
static bool options_valid(const struct nd *nd, unsigned len)
{
	const uint8_t *at = (const uint8_t *)(nd + 1), *end = (const uint8_t *)nd + len;

	while (at < end) {
		if (end - at < 8 || !at[1] || at[1] * 8 > end - at)
			return false;
		at += at[1] * 8;
	}
	return true;
}

bool nd_valid(const struct ipv6 *ip, uint16_t ip_len)
{
	const struct nd *nd = (const struct nd *)(ip + 1);
	const unsigned len = ip_len - (unsigned)sizeof(*ip);
	const bool to_group = cgn_ipv6_is_multicast(&ip->dst);

	if (len < sizeof(*nd) || ip->hop_limit != HOP_LIMIT || nd->code ||
		cgn_ipv6_is_multicast(&nd->target) || !options_valid(nd, len) ||
		csum_fold(icmp6_sum(ip, nd, len)) != 0xffff)
		return false;
	if (nd->type == ND_ADVERTISEMENT)
		return !(to_group && nd->flags & NA_SOLICITED) &&
			!cgn_ipv6_is_unspecified(&ip->src);
	if (cgn_ipv6_is_unspecified(&ip->src)) {
		const struct cgn_ipv6 group = solicited_node(&nd->target);

		return cgn_ipv6_same(&ip->dst, &group) && !option_mac(nd, len, OPTION_SOURCE);
	}
	return true;
}

// RFC 4861 7.2.3. What the sender says of itself is not proven: its record becomes stale.
static void learn_sender(
	struct worker *w, const struct ipv6 *ip, uint8_t ifc, const uint8_t *mac, bool asks_us)
{
	struct neigh_table *t = &w->ipv6.neighbours;
	const struct neigh_address address = ipv6_neigh_address(&ip->src);
	uint32_t neigh;

	if (!mac || !ipv6_is_on_link(w, ifc, &ip->src))
		return;
	neigh = asks_us ? neigh_meet(w, t, ifc, address) : neigh_find(t, ifc, address);
	if (neigh == NEIGH_NONE)
		return;
	if (!neigh_has_mac(&t->neigh[neigh]) || memcmp(t->neigh[neigh].mac, mac, 6))
		neigh_learn(w, t, neigh, mac, true);
}

static void nd_solicited(struct worker *w, const struct ipv6 *ip, const struct nd *nd, unsigned len,
	uint8_t ifc, const uint8_t *frame_mac, bool copy)
{
	const uint8_t *mac = option_mac(nd, len, OPTION_SOURCE);
	const uint32_t dest = routes6_lookup(&w->snapshot->routes6, &nd->target);
	const bool unicast = ipv6_is_ours(w, ifc, &nd->target);
	const bool ours = unicast || dest == DEST(DEST_LOCAL, ifc); // anycast (RFC 4861 7.2.7)
	const uint8_t flags = NA_ROUTER | (unicast ? NA_OVERRIDE : 0);
	const struct cgn_ipv6 *from = unicast ? &nd->target : ipv6_source(w, ifc, &nd->target);

	if (cgn_ipv6_is_unspecified(&ip->src)) { // wants to know whether the address is free
		if (ours && !copy)
			nd_send(w, ifc, ND_ADVERTISEMENT, flags, &nd->target, from, &all_nodes,
				NULL);
		return;
	}
	learn_sender(w, ip, ifc, mac, ours && !copy);
	if (ours && !copy)
		nd_send(w, ifc, ND_ADVERTISEMENT, flags | NA_SOLICITED, &nd->target, from, &ip->src,
			mac ? mac : frame_mac);
}

// RFC 4861 7.2.5
static void nd_advertised(struct worker *w, const struct nd *nd, unsigned len, uint8_t ifc)
{
	struct neigh_table *t = &w->ipv6.neighbours;
	const uint32_t neigh = neigh_find(t, ifc, ipv6_neigh_address(&nd->target));
	const uint8_t *mac = option_mac(nd, len, OPTION_TARGET);
	const bool solicited = nd->flags & NA_SOLICITED;
	struct neigh *n;
	bool same;

	if (neigh == NEIGH_NONE)
		return;
	n = &t->neigh[neigh];
	if (!neigh_has_mac(n)) {
		if (mac)
			neigh_learn(w, t, neigh, mac, !solicited);
		return;
	}
	same = !mac || !memcmp(n->mac, mac, 6);
	if (!same && !(nd->flags & NA_OVERRIDE)) {
		if (n->state == NEIGH_REACHABLE)
			n->stale = true;
		return;
	}
	if (solicited)
		neigh_learn(w, t, neigh, same ? n->mac : mac, false);
	else if (!same)
		neigh_learn(w, t, neigh, mac, true);
}

void nd_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy)
{
	const uint8_t *l2 = rte_pktmbuf_mtod(m, uint8_t *);
	const unsigned l2_len = l2[12] == 0x81 && l2[13] == 0x00 ? 18 : 14;
	const struct ipv6 *ip = (const struct ipv6 *)(l2 + l2_len);
	const struct nd *nd = (const struct nd *)(ip + 1);
	const unsigned len = ntohs(ip->payload_len);

	if (!copy)
		w->counters.consumed++;
	if (nd->type == ND_SOLICITATION)
		nd_solicited(w, ip, nd, len, ifc, l2 + 6, copy);
	else
		nd_advertised(w, nd, len, ifc);
}
