// SPDX-License-Identifier: BSD-3-Clause
// --dump: what it costs a worker that control lists all its sessions meanwhile ("show sessions"): the
// daemon's own code from the worker's table to the lines of JSON, in a thread on the other CPU. Only the
// socket is missing; the lines go to /dev/null.
//
// Slices with and without come in turn; without, the list waits for its reader, as it does for a client that
// reads nothing. First as many packets as the worker can do, for the rate; then a load in open loop
// (pace.h), for the latency. It goes on until one list was read from its beginning to its end.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "load.h"
#include "setup.h"

struct dump_latency { // ns, medians over the slices
	double p50, p99;
};

struct dump_result {
	uint32_t n_rate, n_latency; // pairs of slices
	double cycles[2]; // without, with: medians, clocks per packet
	double cycles_ratio, p50_ratio, p99_ratio; // medians of what the pairs have
	double offered_mpps;
	struct dump_latency latency[2];
	uint64_t arrived[2], lost[2];
	uint64_t n_discarded; // rounds that somebody else disturbed
	uint64_t records, bytes; // listed
	double seconds; // of listing
	uint64_t n_whole, whole_records; // lists from beginning to end, and what the first one had
	double whole_seconds; // likewise
};

// Around the run of the worker's lcore. The thread that lists runs where the caller of dump_begin() does.
void dump_begin(struct setup *s, struct dump_result *r);
void dump_end(void);
// Its function there, when the table is full and `cycles` are known.
void dump_run(struct load *l, double cycles, struct dump_result *r);
