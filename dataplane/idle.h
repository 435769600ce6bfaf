// SPDX-License-Identifier: BSD-3-Clause
// What an idle worker does between two turns of its loop (runtime.idle). A pure function of whether
// there was work, and of the worker's clock.
//
//   poll    the next turn, always
//   relax   the next turn, too, as long as there was work within the last IDLE_PATIENCE_NS; after 64
//           turns without any it only lets the CPU catch its breath in between. Then it sleeps, 10 us
//           at first, twice as long each time, up to IDLE_SLEEP_MAX_NS. Work ends all that.
//
// A device's queue of 1024 frames holds 69 us of the smallest frames at 10 Gbit/s, more than a sleep lasts,
// with the 14 to 27 us that a system was seen to need for waking up; it may take longer
// (docs/performance.md, "Idle").
//
// Owner: each worker has one; only that worker calls these functions.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"

#define IDLE_TURNS 64 // without work
#define IDLE_PATIENCE_NS \
	1000000 // from the last work to the first sleep: 1000 packets a second keep it awake
#define IDLE_PATIENCE_SHARED_NS 10000 // the same with share-cpus, where somebody waits for the CPU
#define IDLE_SLEEP_MIN_NS 10000
#define IDLE_SLEEP_MAX_NS 30000

#define IDLE_GO_ON 0 // what idle_turn() returns; else nanoseconds to sleep
#define IDLE_PAUSE 1

struct idle {
	uint64_t since_ns; // the last work
	uint32_t n_empty; // turns since
	uint32_t sleep_ns; // the next sleep
	uint32_t patience_ns;
	bool relax;
};

void idle_init(struct idle *i, enum cgn_idle idle, bool share_cpus);

// After a turn. `worked`: it found something to do, or something will not wait.
uint32_t idle_turn(struct idle *i, bool worked, uint64_t now_ns);
