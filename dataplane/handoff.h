// SPDX-License-Identifier: BSD-3-Clause
// From worker to worker: packets that another one owns, hairpins into another one's addresses,
// frames for a transmit queue that another one holds, and copies of frames with neighbours in them. One ring per
// ordered pair of workers, single producer and single consumer; a full ring is a counted drop.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>
#include "batch.h"

struct worker;

enum handoff_kind {
	HANDOFF_PACKET, // a frame as received: parse it as yours
	HANDOFF_HAIRPIN, // rewritten by its sender's worker: inbound from here; data starts at IPv4
	HANDOFF_TRANSMIT, // a finished frame: transmit it
	HANDOFF_FRAGMENT, // inbound, yours by its port; data starts at IPv4
	HANDOFF_HAIRPIN_FRAGMENT, // likewise, the second half of a hairpin
	HANDOFF_ARP, // a copy to learn from; in no packet count
	HANDOFF_ND, // likewise, IPv6
};

// Of the frames that came in by `ifc`, hands those on that are plainly another worker's, before anybody
// else looks at them: whole TCP and UDP packets to an address with one owner. What is not as usual stays,
// too. Returns how many stay, at the front of m, in their order.
unsigned handoff_early(
	struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc, bool inbound);

// Hands m to worker `to`: it waits in w->out[to] until handoff_flush(). Counts it.
void handoff_push(
	struct worker *w, uint32_t to, struct rte_mbuf *m, enum handoff_kind kind, uint8_t ifc);

// Shows a frame to all other workers, by a copy each. `kind`: HANDOFF_ARP or HANDOFF_ND.
void handoff_share(struct worker *w, struct rte_mbuf *m, enum handoff_kind kind, uint8_t ifc);

// Puts what waits into the rings; what does not fit is dropped (HANDOFF_FULL).
void handoff_flush(struct worker *w);

// Takes up to BATCH_MAX packets that worker `from` handed over and does what they want.
// Returns how many; *full is set when as many as make a full burst of a device still wait.
unsigned handoff_receive(struct worker *w, uint32_t from, bool *full);

// Drops what worker `from` handed over, for stop.
void handoff_drop_all(struct worker *w, uint32_t from);
