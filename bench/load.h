// SPDX-License-Identifier: BSD-3-Clause
// A worker's load: makes frames of known mappings in memory when the worker receives, checks every
// frame that it transmits, and keeps the time of both out of the measurement.
//
// Mapping k of a worker belongs to subscriber sub[k / ports_per], port first + k % ports_per. Every
// frame carries k in its payload, so that what comes out is compared with what must come out.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>
#include "dataplane/worker.h"

enum direction {
	DIRECTION_OUT,
	DIRECTION_IN,
	DIRECTION_MIX,
	DIRECTION_HAIRPIN,
};

#define LATENCY_NS_MAX 1000000u // histogram of 1 ns steps; longer ones count as this

struct external {
	be32_t addr;
	be16_t port;
	bool known;
};

struct load {
	struct worker *worker;
	enum direction direction;
	uint32_t *sub; // internal addresses, host order
	uint32_t n_subs, ports_per;
	uint64_t n; // mappings of this worker
	struct external *external; // per mapping, learned while filling
	uint64_t rnd;
	uint32_t packet_size; // with FCS
	uint32_t burst;
	uint16_t tcp; // TCP instead of UDP

	// what the next receive gives
	enum {
		LOAD_NOTHING,
		LOAD_FILL,
		LOAD_HAIRPIN_FILL,
		LOAD_STEADY
	} phase;
	uint64_t fill_at, fill_end;
	uint32_t left[2]; // external, internal: frames of this poll's burst that are still to come

	// accounting
	uint64_t aside_tsc; // spent here instead of in the worker
	uint64_t received, returned, wrong;
	uint64_t burst_tsc; // when the burst at hand was given
	uint32_t *latency; // histogram, NULL = off
	double ns_per_tsc;
};

// burst_fn: ctx = struct load
uint16_t load_rx_internal(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_rx_external(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_tx_internal(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_tx_external(void *ctx, struct rte_mbuf **m, uint16_t n);

// One turn of the worker's loop with one burst of l->burst frames per interface.
void load_poll(struct load *l, uint64_t now_ns);

// Gives the worker one ARP reply from `address` on the interface, before anything else.
void load_answer_arp(struct load *l, uint8_t ifc, uint32_t address);

extern const uint8_t load_mac_ours[6], load_mac_theirs[6];
