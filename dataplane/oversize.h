// SPDX-License-Identifier: BSD-3-Clause
// Packets too big for the interface they leave by, and that may be cut (DF = 0): into fragments, in
// order (RFC 791, RFC 4787 REQ-13a).
#pragma once
#include "batch.h"

struct worker;

// Sends the IPv4 packet in m, which leaves by interface `ifc`, in fragments. Takes m. The further
// fragments are frames of our own (`originated`).
void oversize_send(
	struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len, uint8_t ifc);
