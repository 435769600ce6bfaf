// SPDX-License-Identifier: BSD-3-Clause
// The run of one worker: fill, then windows of rounds. A window in which the core was not ours alone
// is measured again, so often; then what there is counts, and the result says so.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "dataplane/stage.h"
#include "cross.h"
#include "dump.h"
#include "full.h"
#include "load.h"
#include "pace.h"
#include "scaling.h"
#include "turns.h"

#define WINDOWS 9 // the median of so many is reported
#define WINDOWS_TRIED (3 * WINDOWS)

struct result {
	// clocks per packet, or per mapping with --new
	double cycles[WINDOWS_TRIED]; // sorted, those that count
	uint32_t n_windows, n_disturbed; // that count; that do not
	bool own; // the windows that count had the core for themselves
	uint64_t switches, steal_ms; // over all windows
	double cycles_per_packet, best_round, overhead;
	uint64_t packets, all_packets; // measured: in rounds without a context switch; in all

	double new_per_second;
	uint64_t expired, blocks_lent; // while measuring
	double expired_per_second;
	struct turns_result turns; // --expire-all

	double instructions, cache_misses; // per packet, < 0: not available
	double stage[STAGE_COUNT]; // clocks per packet, own cost taken out; with CGN_STAGES

	double offered_mpps;
	uint64_t latency_ns[3], latency_ns_max, latency_packets;
	uint32_t latency_discarded; // rounds
	bool latency_own;
	double fresh_mpps, paced_s; // offered by the flood; for so long
	struct pace_count established, fresh; // meanwhile

	struct cross_result cross; // --handoff
	struct dump_result dump; // --dump
	struct full_result full; // --full
	struct scaling_result scaling; // --scaling

	uint64_t drops, wrong, missing;
};

struct measure {
	struct setup *setup;
	struct load *load, *peer; // peer: of --handoff
	struct result result;
};

// Before the lcores start, with how many.
void measure_init(unsigned n_workers);
// The function of an lcore: arg is its struct measure.
int measure_run(void *arg);
