// SPDX-License-Identifier: BSD-3-Clause
// Protocols without ports (GRE, ESP, ...), where a policy lists them under portless-protocols: only
// the address is translated. There is no document that says how; so nothing is guessed: on an
// external address a remote has such a protocol with one subscriber at a time, who began it. Another
// one is refused, and nothing from outside begins it but to a one-to-one mapping, which names its
// host.
//
// The subscriber is paired as ever, and each of these flows takes up one ICMP id of its blocks, so
// that limits, hold-down and the table of blocks hold for them, too.
#pragma once
#include "batch.h"
#include "flow.h"

struct worker;

// A packet, whole or the first fragment of one, whose protocol is none of TCP, UDP and ICMP, and that
// some policy lists. `inbound`: to one of our external addresses. Takes p.
void portless_packet(struct worker *w, struct pkt *p, bool inbound);

// Is the protocol one that some policy lists?
bool portless_offered(const struct worker *w, uint8_t proto);

// Who treats inbound packets of it: by the address, or by the remote where workers share it.
uint32_t portless_owner(const struct worker *w, uint64_t external, be32_t remote);

// Inbound p, of such a protocol or an ICMP error about it, has no session here. True when it is another
// worker's: p is on its way there.
bool portless_handed_over(struct worker *w, struct pkt *p);
