// SPDX-License-Identifier: BSD-3-Clause
// A worker's load, in rounds of three steps, of which only the second is measured:
//   load_prepare   makes some thousand frames, as many as a card's rings hold
//   load_run       the worker takes them burst by burst and gives them back: here a receive is a
//                  copy of pointers, and so is a transmit
//   load_verify    checks every frame that came out, and takes the buffers back
// So making and checking disturb the caches once per round instead of once per burst, and no clock
// is read inside (but once per turn, as the daemon does). pace.h is another way to run it.
//
// Mapping k of a worker belongs to subscriber sub[k / ports_per], port first + k % ports_per.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "dataplane/worker.h"
#include "frame.h"
#include "options.h"

#define LATENCY_NS_MAX 1000000u // histogram of 1 ns steps; longer ones count as this
#define DONE_MAX (2 * AHEAD_MAX + 1024) // frames out in a round, and what workers say themselves

struct pace; // pace.h

struct external {
	be32_t addr;
	be16_t port;
	bool known;
};

enum side {
	SIDE_INTERNAL,
	SIDE_EXTERNAL,
	SIDES
};

struct load {
	struct worker *worker;
	struct rte_mempool *mbufs;
	uint32_t *sub; // internal addresses, host order
	uint32_t n_subs, ports_per;
	uint64_t n; // mappings of this worker
	uint64_t n_live; // of these are visited when all is filled in
	uint32_t gateway[SIDES]; // next hops, host order
	struct external *external; // per mapping, learned while filling
	uint64_t rnd, sweep;
	uint32_t imix;

	// what a round is made of
	enum {
		LOAD_FILL,
		LOAD_HAIRPIN_FILL,
		LOAD_BEYOND, // new flows of subscribers whose ports are all taken; no more below here
		LOAD_STEADY,
		LOAD_LIVE, // each mapping of the first half once in a cycle
		LOAD_BYPASS, // to what a policy bypasses
	} phase;
	uint64_t fill_at, fill_end; // counted, not numbers of mappings
	uint64_t fill_first; // mappings below this are filled in first

	// a round
	struct rte_mbuf *ready[SIDES][AHEAD_MAX], *done[SIDES][DONE_MAX], *spare[2 * AHEAD_MAX];
	uint32_t n_ready[SIDES], at[SIDES], n_done[SIDES], n_spare;
	uint32_t left[SIDES]; // of this turn's burst

	// time: only that of load_run() passes
	uint64_t run_tsc, begin_tsc; // all rounds before; when this one began
	uint64_t clock_ns; // the worker's clock at the end of the last turn
	uint64_t arp_ns; // when the next hops say again where they are
	uint64_t turn_ns; // 0: the clock goes with the TSC; else so much per turn
	double ns_per_tsc;

	struct pace *pace; // pace.h has the ports
	uint64_t done_tsc[SIDES][DONE_MAX]; // only then

	uint64_t received, returned, wrong;
};

// l->worker is there already; l->sub, n_subs, n, external, gateway are the caller's to fill in.
void load_init(struct load *l, uint32_t id, uint32_t ports_per);

void load_again(struct load *l); // from the beginning, with another worker

uint32_t load_prepare(struct load *l); // frames of the round
uint64_t load_run(struct load *l); // TSC clocks it took
void load_verify(struct load *l);

// A frame of some mapping, or a `fresh` one of a mapping that is not there yet, that comes in on
// `side`. NULL: no buffers.
struct rte_mbuf *load_frame(struct load *l, enum side side, bool fresh, uint64_t stamp);
void load_give_back(struct load *l, struct rte_mbuf **m, uint32_t n);
void load_keep_neighbours(struct load *l);
void load_ports(struct load *l); // makes the worker receive from here, and send to here

// A round for which nobody wants the time.
void load_round(struct load *l);

// TSC clocks per frame of receive and transmit alone: what load_run() has of ours.
double load_overhead(struct load *l);

// burst_fn: ctx = struct load
uint16_t load_rx_internal(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_rx_external(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_tx_internal(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t load_tx_external(void *ctx, struct rte_mbuf **m, uint16_t n);
