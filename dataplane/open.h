// SPDX-License-Identifier: BSD-3-Clause
// The slow path: packets that no session knows. Policy, limits, ports; makes mappings and sessions,
// then sends the packet on, or refuses it for a counted reason.
#pragma once
#include "batch.h"

struct worker;

// Packets at[0..n) of the batch, in their order; their table lines are fetched together first.
void open_outbound(struct worker *w, struct batch *b, const uint16_t *at, unsigned n);
void open_inbound(struct worker *w, struct pkt *p);

// A packet that is never translated (PKT_OTHER): for us, bypassed, or dropped.
void open_other(struct worker *w, struct pkt *p, bool inbound);
