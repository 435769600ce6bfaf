// SPDX-License-Identifier: BSD-3-Clause
// Next hop and transmission: the last stage of every packet.
#pragma once
#include <arpa/inet.h>
#include <string.h>
#include "handoff.h"
#include "worker.h"

// Where a packet goes next.
struct hop {
	uint32_t dest; // dest_lookup()'s answer
	uint32_t neigh; // NEIGH_NONE: not resolved yet, or no next hop of that kind
	uint8_t ifc; // only of DEST_ROUTE and DEST_ONLINK
};

static inline struct hop forward_hop_of(const struct worker *w, uint32_t dest, uint32_t address)
{
	struct hop hop = {dest, NEIGH_NONE, 0};

	if (cgn_likely(DEST_KIND(hop.dest) == DEST_ROUTE)) {
		uint32_t gateway = DEST_INDEX(hop.dest);

		hop.ifc = w->snapshot->gateway[gateway].ifc;
		hop.neigh = w->gateway_neigh[gateway];
	} else if (DEST_KIND(hop.dest) == DEST_ONLINK) {
		hop.ifc = (uint8_t)DEST_INDEX(hop.dest);
		hop.neigh = neigh_lookup(&w->neighbours, hop.ifc, address);
	}
	return hop;
}

static inline struct hop forward_hop(const struct worker *w, be32_t dst)
{
	uint32_t address = ntohl(dst);

	return forward_hop_of(w, dest_lookup(w->snapshot, address), address);
}

// True when the hop leads out of an interface of that role.
static inline bool hop_leaves(const struct worker *w, const struct hop *hop, enum cgn_role role)
{
	return DEST_KIND(hop->dest) <= DEST_ONLINK && w->snapshot->interface[hop->ifc].role == role;
}

// To an internal address: by the inside's routes alone where the same address is outside, too.
static inline struct hop forward_hop_in(const struct worker *w, be32_t dst)
{
	struct hop hop = forward_hop(w, dst);
	uint32_t address = ntohl(dst);

	if (cgn_unlikely(!hop_leaves(w, &hop, CGN_INTERNAL)))
		hop = forward_hop_of(w, lpm_lookup(w->snapshot->inside, address), address);
	return hop;
}

void forward_flush(struct worker *w, uint8_t ifc);

// A finished frame: counted as sent once the device took it.
static inline void forward_transmit(struct worker *w, uint8_t ifc, struct rte_mbuf *m)
{
	struct worker_port *port = &w->port[ifc];

	port->txbuf[port->n_tx++] = m;
	if (cgn_unlikely(port->n_tx == WORKER_TX_MAX))
		forward_flush(w, ifc);
}

// Puts the Ethernet header in front of the IPv4 packet and cuts the frame to its length.
static inline void forward_l2(const struct worker_port *port, struct rte_mbuf *m, void *ip,
	uint16_t ip_len, const uint8_t *mac)
{
	uint8_t *l2 = (uint8_t *)ip - port->l2_len;

	memcpy(l2, mac, 6);
	memcpy(l2 + 6, port->mac, 6);
	memcpy(l2 + 12, port->l2_tail, 2);
	if (cgn_unlikely(port->l2_len == 18))
		memcpy(l2 + 14, port->l2_tail + 2, 4);
	m->data_off = (uint16_t)(l2 - (uint8_t *)m->buf_addr);
	m->data_len = (uint16_t)(ip_len + port->l2_len);
	m->pkt_len = m->data_len;
	m->ol_flags = 0;
}

// Sends an IPv4 packet to its next hop, or lets it wait there for a MAC address.
// Only for hops of kind DEST_ROUTE and DEST_ONLINK.
void forward_slow(struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len,
	const struct hop *hop);

static inline void forward_send(struct worker *w, struct rte_mbuf *m, struct ipv4 *ip,
	uint16_t ip_len, const struct hop *hop)
{
	struct neigh *n = &w->neighbours.neigh[hop->neigh];

	if (cgn_unlikely(hop->neigh == NEIGH_NONE || n->state < NEIGH_REACHABLE ||
		    n->state > NEIGH_PROBING)) {
		forward_slow(w, m, ip, ip_len, hop);
		return;
	}
	if (cgn_unlikely(n->used_s != w->now_s))
		n->used_s = w->now_s;
	forward_l2(&w->port[hop->ifc], m, ip, ip_len, n->mac);
	forward_transmit(w, hop->ifc, m);
}

// Finds the next hop of a packet of our own (destination in its header) and sends it. Drops it when
// there is none.
void forward_own(struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint8_t ifc);
