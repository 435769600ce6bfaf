// SPDX-License-Identifier: BSD-3-Clause
// Frame -> struct pkt. Stateless: looks at bytes, never at tables. Malformed frames are dropped here,
// each kind with a reason of its own (RFC 1812 5.2.2).
#pragma once
#include <stdbool.h>
#include "batch.h"
#include "cgnat/drop.h"

struct worker;

// Parses the frames m[0..n) that came in by interface `ifc` and appends them to b. `inbound`: our
// side is the destination. Frames dropped here are counted and freed and are not in b.
void parse_frames(struct worker *w, struct batch *b, struct rte_mbuf **m, unsigned n, uint8_t ifc,
	bool inbound);

// Parses one IPv4 packet of a frame whose IPv4 header is at `ip` and has been checked before (a
// packet that we rewrote): fills key, remote, kind.
void parse_ipv4_again(struct pkt *p, bool inbound);

// The L4 header of the first fragment of a TCP, UDP or ICMP datagram: makes it a PKT_FLOW, if that
// header is whole (RFC 1858). Returns CGN_DROP_COUNT or why it is refused.
enum cgn_drop parse_first_fragment(struct pkt *p, bool inbound);
