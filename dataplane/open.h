// SPDX-License-Identifier: BSD-3-Clause
// The slow path: packets that no session knows. Policy, limits, ports; makes mappings and sessions,
// then sends the packet on, or refuses it for a counted reason.
#pragma once
#include <stdbool.h>
#include "batch.h"

struct worker;
struct snapshot_policy;

// Packets at[0..n) of the batch, in their order; their table lines are fetched together first.
void open_outbound(struct worker *w, struct batch *b, const uint16_t *at, unsigned n);
void open_outbound_one(struct worker *w, struct pkt *p);
void open_inbound(struct worker *w, struct pkt *p);

// What a fragment meets before its ports matter: a bad source or destination, our own addresses, a
// bypass policy without ports. False when the rest of its datagram decides; else p is gone.
bool open_fragment(struct worker *w, struct pkt *p, bool inbound);

// A fragment whose first one was bypassed.
void open_bypass(struct worker *w, struct pkt *p, bool inbound);

// An outbound packet of the portless protocol `bit` without session: the policy that translates it, if
// nothing stands against it. Else NULL: p is gone.
const struct snapshot_policy *open_admit_portless(struct worker *w, struct pkt *p, uint8_t bit);

// A packet that is not translated by ports (PKT_OTHER, or an ICMP error about none that is): for us, by
// address alone (portless.h), bypassed, or dropped for its drop_reason.
void open_other(struct worker *w, struct pkt *p, bool inbound);

// Does a bypass policy match the packet that an ICMP error quotes?
bool open_quote_bypassed(const struct worker *w, const struct pkt *p);
