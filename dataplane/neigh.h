// SPDX-License-Identifier: BSD-3-Clause
// Neighbours: address on an interface -> MAC address. Packets wait here, bounded, while an address is
// being resolved. A table serves one IP version; how a neighbour is asked is the business of its
// protocol (arp.c, nd.c).
//
// Owner:  tables of its own per worker, so that nobody shares; a frame from which neighbours are
//         learned is shown to all of them.
// Memory: 60 bytes per neighbour and the waiting places, taken once in neigh_init().
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "batch.h"
#include "index.h"

#define NEIGH_NONE UINT32_MAX
#define NEIGH_WAIT_MAX 16 // packets that wait for one neighbour
#define NEIGH_QUEUES 1024 // neighbours for which packets can wait at the same time
#define NEIGH_WAITING_MAX 2048 // packets that wait for all of them together
#define NEIGH_RETRY_S 1 // between requests
#define NEIGH_TRIES 3 // requests without answer, then the waiting packets are dropped
#define NEIGH_FRESH_S 60 // after that a neighbour in use is asked again, by unicast
#define NEIGH_IDLE_S 600 // a neighbour that nobody used is forgotten
#define NEIGH_FAILED_S 5 // one that never answered, sooner

enum neigh_state {
	NEIGH_FREE,
	NEIGH_RESOLVING, // no MAC address yet; packets wait
	NEIGH_REACHABLE,
	NEIGH_PROBING, // has a MAC address, is asked whether it still holds
	NEIGH_FAILED, // did not answer; packets are dropped until the next try
};

// A number: IPv4 in `lo` with `hi` 0, or IPv6.
struct neigh_address {
	uint64_t hi, lo;
};
#define NEIGH_IPV4(address) ((struct neigh_address){0, (address)})

struct neigh {
	struct neigh_address address;
	uint8_t ifc;
	uint8_t state; // enum neigh_state
	uint8_t tries;
	bool pinned; // a gateway: never forgotten, always kept resolved
	bool stale; // REACHABLE, but not by its own answer to us: asked as soon as it is used
	uint8_t mac[6];
	uint16_t queue; // its waiting place, or NEIGH_NO_QUEUE
	uint32_t confirmed_s, asked_s, used_s;
};
#define NEIGH_NO_QUEUE UINT16_MAX

struct neigh_queue {
	uint16_t n;
	struct rte_mbuf *m[NEIGH_WAIT_MAX];
};

struct worker;

// What differs between ARP and neighbour discovery.
struct neigh_protocol {
	be16_t ethertype; // of the packets that wait
	// Sends a request: to the neighbour's MAC address when it is PROBING, else to all.
	void (*ask)(struct worker *w, const struct neigh *n);
	// Takes a packet whose neighbour does not answer: dropped and counted, maybe its sender told.
	void (*give_up)(struct worker *w, struct rte_mbuf *m, const struct neigh *n);
};

struct neigh_table {
	const struct neigh_protocol *protocol;
	struct neigh *neigh;
	uint32_t *free_list;
	uint32_t n_max, n, top, cursor;
	struct index index;
	uint64_t seed[2];
	struct neigh_queue *queue;
	uint16_t free_queue[NEIGH_QUEUES];
	uint16_t n_free_queues;
	uint32_t n_waiting; // packets in all queues
	uint32_t n_unresolved; // neighbours without MAC address
};

int neigh_init(struct neigh_table *t, const struct neigh_protocol *protocol, uint32_t n_max,
	const uint64_t seed[2], int socket);
void neigh_fini(struct neigh_table *t);
uint64_t neigh_bytes(uint32_t n_max);

uint32_t neigh_find(const struct neigh_table *t, uint8_t ifc, struct neigh_address address);

static inline uint32_t neigh_lookup(const struct neigh_table *t, uint8_t ifc, uint32_t address)
{
	return neigh_find(t, ifc, NEIGH_IPV4(address));
}

// REACHABLE or PROBING; the others count as unresolved.
static inline bool neigh_has_mac(const struct neigh *n)
{
	return n->state == NEIGH_REACHABLE || n->state == NEIGH_PROBING;
}

// The neighbour's record, made and asked for when it is new. NEIGH_NONE when the table is full.
uint32_t neigh_get(
	struct worker *w, struct neigh_table *t, uint8_t ifc, struct neigh_address address);

// The record of a neighbour that asks us, made without asking when it is new. NEIGH_NONE when the
// table is half full: askers may not fill it.
uint32_t neigh_meet(
	struct worker *w, struct neigh_table *t, uint8_t ifc, struct neigh_address address);

// Its MAC address has become known; what waited for it is sent. `stale`: not by an answer to us.
void neigh_learn(
	struct worker *w, struct neigh_table *t, uint32_t neigh, const uint8_t *mac, bool stale);

// A packet for a neighbour without MAC address, with its data at the IP header: waits, or has been
// dropped and counted.
void neigh_wait(struct worker *w, struct neigh_table *t, uint32_t neigh, struct rte_mbuf *m);

// Upkeep: looks at up to `max` records: asks again, gives up, forgets.
void neigh_upkeep(struct worker *w, struct neigh_table *t, uint32_t max);

// Drops what waits, for stop.
void neigh_drop_all(struct worker *w, struct neigh_table *t);
