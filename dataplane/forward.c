// SPDX-License-Identifier: BSD-3-Clause
#include "forward.h"
#include "oversize.h"

#define TX_TRIES 4 // a full queue gets this many chances, then the rest is dropped

void forward_flush(struct worker *w, uint8_t ifc)
{
	struct worker_port *port = &w->port[ifc];
	struct cgn_interface_counters *c = &w->counters.interfaces[ifc];
	uint16_t n = port->n_tx, sent = 0;
	uint64_t bytes = 0;

	port->n_tx = 0;
	if (!port->tx) {
		for (uint16_t i = 0; i < n; i++)
			handoff_push(w, port->tx_worker, port->txbuf[i], HANDOFF_TRANSMIT, ifc);
		return;
	}
	for (uint16_t i = 0; i < n; i++)
		bytes += port->txbuf[i]->pkt_len;
	for (unsigned tries = 0; sent < n && tries < TX_TRIES; tries++) {
		uint16_t want = n - sent < BURST_MAX ? (uint16_t)(n - sent) : BURST_MAX;
		uint16_t took = port->tx(port->tx_ctx, port->txbuf + sent, want);

		sent = (uint16_t)(sent + took);
		if (took)
			tries = 0;
	}
	for (uint16_t i = sent; i < n; i++) {
		bytes -= port->txbuf[i]->pkt_len;
		worker_drop(w, port->txbuf[i], CGN_DROP_TX_FULL, ifc);
	}
	w->counters.tx_packets += sent;
	w->counters.tx_bytes += bytes;
	c->tx_packets += sent;
	c->tx_bytes += bytes;
}

void forward_slow(struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len,
	const struct hop *hop)
{
	uint32_t neigh = hop->neigh;

	if (cgn_unlikely(ip_len > w->snapshot->interface[hop->ifc].mtu)) {
		oversize_send(w, m, ip, ip_len, hop->ifc);
		return;
	}
	if (neigh == NEIGH_NONE)
		neigh = neigh_get(w, &w->neighbours, hop->ifc, NEIGH_IPV4(ntohl(ip->dst)));
	if (neigh == NEIGH_NONE) {
		worker_drop(w, m, CGN_DROP_NEIGHBOUR_TABLE_FULL, hop->ifc);
		return;
	}
	// it waits as a bare IPv4 packet
	m->data_off = (uint16_t)((uint8_t *)ip - (uint8_t *)m->buf_addr);
	m->data_len = ip_len;
	m->pkt_len = ip_len;
	m->ol_flags = 0;
	neigh_wait(w, &w->neighbours, neigh, m);
}

void forward_own(struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint8_t ifc)
{
	struct hop hop = forward_hop(w, ip->dst);

	if (w->snapshot->interface[ifc].role == CGN_INTERNAL &&
		!hop_leaves(w, &hop, CGN_INTERNAL)) {
		const struct hop in = forward_hop_in(w, ip->dst);

		if (hop_leaves(w, &in, CGN_INTERNAL))
			hop = in; // the address is inside and outside (RFC 4787 REQ-7)
	}
	if (DEST_KIND(hop.dest) > DEST_ONLINK) {
		worker_drop(w, m, CGN_DROP_NO_ROUTE, ifc);
		return;
	}
	if (ntohs(ip->total_len) > w->snapshot->interface[hop.ifc].mtu) {
		oversize_send(w, m, ip, ntohs(ip->total_len), hop.ifc);
		return;
	}
	forward_send(w, m, ip, ntohs(ip->total_len), &hop);
}
