// SPDX-License-Identifier: BSD-3-Clause
// IPv6: forwarded by its own routes and neighbours, never translated. Its packets have no owner: the
// worker that received one forwards it.
#pragma once
#include <stdint.h>
#include "batch.h"
#include "cgnat/ipv6.h"

struct worker;
struct hop;

// The header as it lies in the frame (RFC 8200 3).
struct __attribute__((packed, aligned(2))) ipv6 {
	be32_t ver_class_flow;
	be16_t payload_len;
	uint8_t next, hop_limit;
	struct cgn_ipv6 src, dst;
};

#define ETHERTYPE_IPV6 0x86dd

enum { // next headers we name
	IPV6_HOP_BY_HOP = 0,
	IPV6_UDP = 17,
	IPV6_ROUTING = 43,
	IPV6_FRAGMENT = 44,
	IPV6_ICMP = 58,
	IPV6_DESTINATION = 60,
};

// A packet of ethertype IPv6, with p->ip behind its Ethernet header and nothing else looked at.
void ipv6_packet(struct worker *w, struct pkt *p);

// Sends a packet of our own by the route to its destination; to a link-local one by `ifc`. Drops it
// when there is no route.
void ipv6_own(struct worker *w, struct rte_mbuf *m, struct ipv6 *ip, uint8_t ifc);

// The hop of kind DEST_ROUTE or DEST_ONLINK that leads to an address that is not link-local, or what
// else the address is.
struct hop ipv6_hop(const struct worker *w, const struct cgn_ipv6 *address);

// Our address to speak from on an interface with IPv6: link-local to link-local ones, else the one in
// the other's prefix, else the interface's first.
const struct cgn_ipv6 *ipv6_source(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *to);

// Is it an address of this interface, link-local or not? Anycast ones are not.
bool ipv6_is_ours(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *address);

// In one of the prefixes of the interface, or link-local.
bool ipv6_is_on_link(const struct worker *w, uint8_t ifc, const struct cgn_ipv6 *address);

// Number of the address in a table of neighbours.
struct neigh_address ipv6_neigh_address(const struct cgn_ipv6 *address);
