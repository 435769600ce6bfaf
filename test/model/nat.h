// SPDX-License-Identifier: BSD-3-Clause
// The tables put together to a NAT without packets: endpoints open and close sessions, a clock
// ends them. Tells model.h everything it sees.
#pragma once
#include "model.h"
#include "rng.h"
#include "subscriber.h"

struct nat {
	struct flow_table flows;
	struct portblocks blocks;
	struct subscribers subs;
	struct rest rests;
	struct rng rng;
	uint32_t done_s; // upkeep has finished with this second
};

void nat_init(struct nat *nat, const uint8_t key[32]);
void nat_fini(struct nat *nat);

// Opens a session of `endpoint`, and its mapping when it has none. False when refused.
bool nat_open(struct nat *nat, uint32_t endpoint, uint32_t remote);
// A packet of an open session that may change the TCP state.
void nat_refresh(struct nat *nat, uint32_t endpoint, uint32_t remote);
void nat_close(struct nat *nat, uint32_t endpoint, uint32_t remote);
// One slice of upkeep at model.now_s. True when nothing is left to do.
bool nat_upkeep(struct nat *nat, uint32_t max);

uint32_t nat_record(const struct nat *nat, uint32_t endpoint, uint32_t remote); // FLOW_NONE: none
