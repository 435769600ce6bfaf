// SPDX-License-Identifier: BSD-3-Clause
// Leases: which subscriber holds which blocks and ports. Ties subscriber.h, portblock.h and rest.h
// together and keeps their counters; knows nothing of packets or sessions.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/drop.h"
#include "cgnat/types.h"
#include "worker.h"

struct lease {
	uint32_t sub, block;
	uint32_t ext_addr; // host order
	uint16_t ext_port; // host order
};

// The subscriber's record; made when it is new. SUBSCRIBER_NONE when max-subscribers is reached.
// `likely` is tried first, if it is not SUBSCRIBER_NONE.
uint32_t lease_subscriber_hard(struct worker *w, uint32_t address, uint16_t pool);
static inline uint32_t lease_subscriber(
	struct worker *w, uint32_t likely, uint32_t address, uint16_t pool)
{
	return likely != SUBSCRIBER_NONE && w->subscribers.used[likely] &&
			w->subscribers.sub[likely].address == address &&
			w->subscribers.sub[likely].pool == pool
		? likely
		: lease_subscriber_hard(w, address, pool);
}

// A record that lease_subscriber() made and that got no port: forgotten again.
void lease_subscriber_drop(struct worker *w, uint32_t sub);

// The lent block in which the next port will be looked for first; PORTBLOCK_NONE: there is none.
static inline uint32_t lease_search(const struct subscriber *s, enum cgn_l4 l4)
{
	return s->search[l4] != PORTBLOCK_NONE ? s->search[l4] : s->lent;
}

// Asked before anything is lent, with the external address that the port will be of (host order), where
// not every address will do. CGN_DROP_COUNT: yes, and the port is lent; else the reason why not.
struct lease_ask {
	enum cgn_drop (*may_have)(
		struct worker *w, uint32_t address, uint64_t key, uint64_t remote);
	uint64_t remote;
};

// A port for an internal endpoint (flow key): its own resting one, else a random free one of the
// subscriber's blocks, else of one more block, up to `max_blocks`. Works to the last free port.
// `ask`: NULL: any address will do. Returns CGN_DROP_COUNT and fills *lease, or the reason why there is
// none; nothing has been lent then.
enum cgn_drop lease_take(struct worker *w, uint32_t sub, uint64_t key, uint16_t max_blocks,
	const struct lease_ask *ask, struct lease *lease);

// The mapping that used the port ended: the port rests, if `rests`, and the block with its last one.
void lease_give(struct worker *w, uint32_t sub, uint32_t block, uint64_t key, uint16_t ext_port,
	bool rests);

// At start: a block that was in use when the last run ended rests since `since_s`. `subscriber`: its
// holder's address, 0 when unknown; only it may have the block meanwhile.
void lease_restore(struct worker *w, uint32_t block, uint32_t subscriber, uint32_t since_s);

// Asks for the lines that lease_give() will touch when the next `n` ports begin to rest, but for those of
// the ports themselves.
void lease_prefetch_rests(struct worker *w, uint32_t n);

// Ends rests that are over, of so many ports and blocks at most. Returns how many it ended.
uint32_t lease_upkeep(struct worker *w, uint32_t max_ports, uint32_t max_blocks);
