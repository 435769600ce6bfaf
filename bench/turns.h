// SPDX-License-Identifier: BSD-3-Clause
// --expire-all: turns of a worker that has nothing to do but upkeep, from the moment when every mapping
// is due until the last one, the last resting port and the last resting block are gone.
//
// A hypervisor's pauses look like long turns. So after each turn there is a window of pure computation
// that takes as long as a turn does: pauses hit both alike. And the whole is done TURNS_RUNS times with
// workers made from the same seed, whose turns do the same work: the shortest of the same turn's times is
// the worker's own, as no pause hits it each time.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "load.h"
#include "setup.h"

#define TURNS_RUNS 3

struct turns_quantiles { // ns
	uint64_t p50, p99, p999, max;
};

struct turns_result {
	uint64_t n; // turns that found something to do, of one run
	uint32_t looked_max; // sessions, ports and blocks that a turn looked at
	struct turns_quantiles turn, control; // of all runs
	struct turns_quantiles least; // of each turn the shortest time
	uint64_t expired, tsc; // mappings of all runs, and what ending them took
	bool own, same; // no time was stolen; all runs had the same turns
};

void turns_run(struct setup *s, struct load *l, struct turns_result *r);
