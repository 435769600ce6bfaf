// SPDX-License-Identifier: BSD-3-Clause
// ICMP beyond the queries of sessions: errors that pass (RFC 5508 REQ-3 to 7), errors of our own
// (RFC 1812 4.3.2, rate-limited), echo requests to our addresses.
// Every function takes the packet: it is sent, or dropped and counted.
#pragma once
#include <stdint.h>
#include "batch.h"
#include "cgnat/drop.h"

struct rte_mbuf;
struct worker;

// An ICMP error that quotes a packet of a mapping: the quoted packet is translated back, too.
void icmp_error_in(struct worker *w, struct pkt *p);
void icmp_error_out(struct worker *w, struct pkt *p);

// Drops p and tells its sender: 11/0; 3/4 with the MTU when DF is set; 3/0 (RFC 1812 5.2.7.1);
// icmp.refused (3/1 or 3/13).
void icmp_ttl_expired(struct worker *w, struct pkt *p);
void icmp_too_big(struct worker *w, struct pkt *p, uint16_t mtu);
void icmp_no_route(struct worker *w, struct pkt *p);
void icmp_refuse(struct worker *w, struct pkt *p, enum cgn_drop reason);

// Drops a packet, as it was to leave by the external interface `ifc`, whose next hop does not answer. Its
// sender is told 3/1 (RFC 1812 5.2.7.1).
void icmp_unresolved(struct worker *w, struct rte_mbuf *m, uint8_t ifc);

// Drops an inbound packet that nobody has asked for. If it is a SYN and the config says so, its sender
// is told 3/3 when 6 s have passed without a connection (RFC 5382 REQ-4).
void icmp_refuse_inbound(struct worker *w, struct pkt *p, enum cgn_drop reason);

// Sends those answers, looking at no more than `max` SYNs. Returns how many it looked at.
uint32_t icmp_upkeep(struct worker *w, uint32_t max);

// A packet for one of our own addresses: an echo request is answered, UDP with 3/3, where the last
// probes of a traceroute end.
void icmp_local(struct worker *w, struct pkt *p);
