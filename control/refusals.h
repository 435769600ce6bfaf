// SPDX-License-Identifier: BSD-3-Clause
// Tells the operator, in the log, when subscribers begin to be refused, that they still are, and when
// that has ended (RFC 6888 REQ-11 c): from the drop counters, which workers keep anyway. No line names
// a subscriber or a remote.
//
// Owner:  main.c. Thread: control.
#pragma once
#include "cgnat/config.h"
#include "cgnat/counters.h"
#include <stdbool.h>
#include <stdint.h>

#define REFUSALS_LOOK_NS (5ull * 1000000000) // between two looks at the counters
#define REFUSALS_OVER_NS \
	(60ull * 1000000000) // without a refusal, and it has ended; the least between two lines
#define REFUSALS_AGAIN_NS (600ull * 1000000000) // while it goes on: a line every so often

struct refusals {
	uint64_t due_ns; // 0: now
	struct refusal {
		bool on;
		uint64_t seen; // the counter when it was last looked at
		uint64_t before, told; // the counter before it began, in the last line
		uint64_t began_ns, last_ns; // first and last look that found more
		uint64_t line_ns; // last line; 0: none
	} of[CGN_DROP_COUNT]; // by refusals.c's list of reasons
};

// How long poll() may wait, ms; 0: call refusals_look() now.
int refusals_timeout_ms(const struct refusals *r, uint64_t now_ns);

// Logs what is to be said of the counters of all workers. At most one line for each reason in
// REFUSALS_OVER_NS.
//   now_ns  CLOCK_MONOTONIC
void refusals_look(struct refusals *r, const struct cgn_config *config,
	const struct cgn_counters *sum, uint64_t now_ns);
