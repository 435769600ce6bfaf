// SPDX-License-Identifier: BSD-3-Clause
#include "arp.h"
#include <arpa/inet.h>
#include <rte_byteorder.h>
#include <string.h>
#include "forward.h"
#include "icmp.h"
#include "worker.h"

#define ETHERTYPE_ARP 0x0806

struct __attribute__((packed, aligned(2))) arp {
	be16_t hardware, protocol;
	uint8_t hardware_len, protocol_len;
	be16_t operation;
	uint8_t sender_mac[6];
	be32_t sender;
	uint8_t target_mac[6];
	be32_t target;
};

enum {
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
};

// Our address to ask from: the one in the neighbour's prefix, else the interface's first.
static uint32_t source_for(const struct worker *w, uint8_t ifc, uint32_t address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	for (uint32_t i = 0; i < config->n_addresses; i++) {
		struct cgn_prefix a = config->addresses[i];

		if (!a.length || !((a.address ^ address) >> (32 - a.length)))
			return a.address;
	}
	return config->addresses[0].address;
}

static void arp_send(struct worker *w, uint8_t ifc, uint16_t operation, const uint8_t *to,
	uint32_t sender, const uint8_t *target_mac, uint32_t target)
{
	const struct worker_port *port = &w->port[ifc];
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->mbufs);
	uint8_t *l2;
	struct arp *arp;
	be16_t ethertype = htons(ETHERTYPE_ARP);

	if (!m) {
		w->counters.no_buffer++;
		return;
	}
	l2 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(port->l2_len + sizeof(*arp)));
	memcpy(l2, to, 6);
	memcpy(l2 + 6, port->mac, 6);
	memcpy(l2 + 12, port->l2_tail, port->l2_len - 12u);
	memcpy(l2 + port->l2_len - 2, &ethertype, 2);
	arp = (struct arp *)(l2 + port->l2_len);
	*arp = (struct arp){.hardware = htons(1),
		.protocol = htons(0x0800),
		.hardware_len = 6,
		.protocol_len = 4,
		.operation = htons(operation),
		.sender = htonl(sender),
		.target = htonl(target)};
	memcpy(arp->sender_mac, port->mac, 6);
	memcpy(arp->target_mac, target_mac, 6);
	w->counters.originated++;
	if (operation == ARP_REQUEST)
		w->counters.arp_requests_sent++;
	else
		w->counters.arp_replies_sent++;
	forward_transmit(w, ifc, m);
}

static void arp_ask(struct worker *w, const struct neigh *n)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unknown[6];
	// one that we know is asked directly (RFC 1122 2.3.2.1)
	const uint8_t *to = n->state == NEIGH_PROBING ? n->mac : broadcast;
	const uint32_t address = (uint32_t)n->address.lo;

	arp_send(w, n->ifc, ARP_REQUEST, to, source_for(w, n->ifc, address), unknown, address);
}

static void arp_give_up(struct worker *w, struct rte_mbuf *m, const struct neigh *n)
{
	// what is inbound has no way back: its source is not the one that the subscriber knows
	if (w->snapshot->interface[n->ifc].role == CGN_EXTERNAL)
		icmp_unresolved(w, m, n->ifc);
	else
		worker_drop(w, m, CGN_DROP_NEIGHBOUR_UNRESOLVED, n->ifc);
}

const struct neigh_protocol arp_protocol = {
	.ethertype = RTE_BE16(0x0800), .ask = arp_ask, .give_up = arp_give_up};

static bool arp_valid(const struct arp *arp)
{
	return arp->hardware == htons(1) && arp->protocol == htons(0x0800) &&
		arp->hardware_len == 6 && arp->protocol_len == 4 &&
		(arp->operation == htons(ARP_REQUEST) || arp->operation == htons(ARP_REPLY)) &&
		!(arp->sender_mac[0] & 1);
}

// In one of the interface's own prefixes, whatever else routes or pools say of it.
static bool is_on_link(const struct worker *w, uint8_t ifc, uint32_t address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	for (uint32_t i = 0; i < config->n_addresses; i++) {
		struct cgn_prefix a = config->addresses[i];

		if (!a.length || !((a.address ^ address) >> (32 - a.length)))
			return true;
	}
	return false;
}

// Do we answer for this address on this interface? For its own, and for pool addresses that lie in
// one of its prefixes.
static bool arp_is_ours(const struct worker *w, uint8_t ifc, uint32_t address)
{
	uint32_t dest = dest_lookup(w->snapshot, address);

	if (DEST_KIND(dest) == DEST_LOCAL)
		return DEST_INDEX(dest) == ifc;
	if (DEST_KIND(dest) != DEST_POOL)
		return false;
	return is_on_link(w, ifc, address);
}

static bool source_is_ours(const struct worker *w, uint32_t address)
{
	enum dest_kind kind = DEST_KIND(dest_lookup(w->snapshot, address));

	return kind == DEST_LOCAL || kind == DEST_POOL || kind == DEST_MARTIAN;
}

void arp_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy)
{
	const uint8_t *l2 = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned l2_len = l2[12] == 0x81 && l2[13] == 0x00 ? 18 : 14;
	const struct arp *arp = (const struct arp *)(l2 + l2_len);
	uint32_t sender, target;
	bool on_link, ours;

	if (m->data_len < l2_len + sizeof(*arp) || !arp_valid(arp)) {
		if (!copy)
			worker_count_drop(w, CGN_DROP_ARP_INVALID, ifc);
		return;
	}
	sender = ntohl(arp->sender);
	target = ntohl(arp->target);
	on_link = is_on_link(w, ifc, sender) && !source_is_ours(w, sender);
	ours = arp_is_ours(w, ifc, target);
	// any ARP frame refreshes a neighbour that we have; one that asks us becomes a neighbour
	if (on_link) {
		uint32_t neigh = ours && arp->operation == htons(ARP_REQUEST) && !copy
			? neigh_meet(w, &w->neighbours, ifc, NEIGH_IPV4(sender))
			: neigh_lookup(&w->neighbours, ifc, sender);

		if (neigh != NEIGH_NONE)
			neigh_learn(w, &w->neighbours, neigh, arp->sender_mac, false);
	}
	if (copy)
		return;
	w->counters.consumed++;
	if (ours && arp->operation == htons(ARP_REQUEST)) {
		arp_send(w, ifc, ARP_REPLY, arp->sender_mac, target, arp->sender_mac, sender);
	}
}
