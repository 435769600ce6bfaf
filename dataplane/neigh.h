// SPDX-License-Identifier: BSD-3-Clause
// Neighbours: IPv4 address on an interface -> MAC address, by ARP (RFC 826). Packets wait here,
// bounded, while an address is being resolved.
//
// Owner:  one table per worker, so that nobody shares; an ARP frame that one worker receives is
//         shown to all of them.
// Memory: 40 bytes per neighbour and the waiting places, taken once in neigh_init().
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

struct neigh {
	uint32_t address;
	uint8_t ifc;
	uint8_t state; // enum neigh_state
	uint8_t tries;
	bool pinned; // a gateway: never forgotten, always kept resolved
	uint8_t mac[6];
	uint16_t queue; // its waiting place, or NEIGH_NO_QUEUE
	uint32_t confirmed_s, asked_s, used_s;
};
#define NEIGH_NO_QUEUE UINT16_MAX

struct neigh_queue {
	uint16_t n;
	struct rte_mbuf *m[NEIGH_WAIT_MAX];
};

struct neigh_table {
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

struct worker;

int neigh_init(struct neigh_table *t, uint32_t n_max, const uint64_t seed[2], int socket);
void neigh_fini(struct neigh_table *t);
uint64_t neigh_bytes(uint32_t n_max);

uint32_t neigh_lookup(const struct neigh_table *t, uint8_t ifc, uint32_t address);

// The neighbour's record, made and asked for when it is new. NEIGH_NONE when the table is full.
uint32_t neigh_get(struct worker *w, uint8_t ifc, uint32_t address);

// A packet for a neighbour without MAC address: waits (true), or has been dropped and counted.
void neigh_wait(struct worker *w, uint32_t neigh, struct rte_mbuf *m);

// An ARP frame from interface `ifc`. `copy`: another worker received it and answers it; we learn.
// Does not free m.
void neigh_arp(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy);

// Upkeep: looks at up to `max` records: asks again, gives up, forgets.
void neigh_upkeep(struct worker *w, uint32_t max);

// Drops what waits, for stop.
void neigh_drop_all(struct worker *w);
