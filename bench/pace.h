// SPDX-License-Identifier: BSD-3-Clause
// Packets that arrive at moments of their own, whether the worker comes for them or not (open loop).
// Each frame knows its moment before the run; from then on it waits in a card's queue of 1024, and is
// lost when that is full. Its latency counts from that moment until the worker hands it to the card, so
// a worker that comes late pays for all that waited meanwhile.
//
// The clock is that of the worker's code alone: what the bench spends on handing frames over and
// taking them back, and between rounds, is taken out of it. It can so be used on one core, at any load.
// What is left of ours: two reads of the clock per receive and transmit, and cold caches after each round.
//
// With a flood, further frames that each open a session arrive among the others from inside.
#pragma once
#include "load.h"

#define PACE_QUEUE 1024

struct pace_count {
	uint64_t arrived, lost,
		returned; // lost: the queue was full. The rest was dropped, or waits
};

struct pace_side {
	// made, in the order in which they arrive
	struct rte_mbuf *frame[AHEAD_MAX];
	uint64_t due[AHEAD_MAX];
	bool fresh[AHEAD_MAX]; // of the flood
	uint32_t n, at;
	// arrived
	struct rte_mbuf *queue[PACE_QUEUE];
	uint32_t first, n_queued;
	double next_tsc, interval_tsc; // interval 0: nothing comes in here
};

struct pace {
	struct load *load;
	struct pace_side side[SIDES];
	double fresh_tsc, fresh_interval_tsc; // of the flood; interval 0: none
	uint64_t away_tsc; // TSC - this = the clock
	uint64_t left_tsc; // when it was stopped
	uint64_t clock_ns; // the worker's clock at its beginning
	struct rte_mbuf *lost[SIDES * AHEAD_MAX];
	uint32_t n_lost;

	struct pace_count established, fresh,
		before[2]; // since the last commit, before: at the begin of the round
	uint32_t note_ns[SIDES * DONE_MAX]; // latencies of established packets of this round
	uint32_t n_notes;

	struct pace_count sum[2]; // of the rounds that count: established, flood
	uint64_t sum_tsc, longest_ns;
	uint32_t *histogram; // LATENCY_NS_MAX steps of 1 ns
	uint32_t n_discarded;
	uint64_t switches; // context switches until now
	bool disturbed, was_disturbed; // this round, the last one
	bool takes_any; // disturbed rounds count, too
};

// Millions per second of packets of sessions and of the flood. Takes the worker's ports until
// pace_end(), which treats what still waits. False: out of memory.
bool pace_begin(struct pace *p, struct load *l, double mpps, double fresh_mpps);
// A round; it counts unless `warm`, or the core was somebody else's in the meantime. False: there are
// no more new flows, or no buffers.
bool pace_round(struct pace *p, bool warm);
void pace_end(struct pace *p);

// load_verify() tells: a frame of mapping k that arrived at `stamp` has left at `done`.
void pace_note(struct pace *p, uint64_t k, uint64_t stamp, uint64_t done);
