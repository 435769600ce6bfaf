// SPDX-License-Identifier: BSD-3-Clause
// Address, TTL and header checksum of a packet whose L4 header stays as it is: later fragments, and
// protocols without ports. The last step of their way: what must be asked and counted for before has
// been (translate_refused()). Either takes the mbuf.
#pragma once
#include "forward.h"

// Outbound: the source becomes `address`. `diff`: checksum difference of what the caller has changed
// already.
void readdress_out(
	struct worker *w, struct pkt *p, const struct hop *hop, be32_t address, uint32_t diff);

// Inbound: the destination becomes `address`, to which `hop` leads.
void readdress_in(struct worker *w, struct pkt *p, const struct hop *hop, be32_t address);
