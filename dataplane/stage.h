// SPDX-License-Identifier: BSD-3-Clause
// Where a worker's time goes, by stage. Only the build for `cgnat-bench --stages` (-DCGN_STAGES) has
// it; in any other build a mark is nothing, and no structure has a field for it.
//
// A mark belongs to the work before it: the time since the mark before goes to the named stage.
#pragma once
#include <stdint.h>

#define CGN_STAGES_LIST(X) \
	X(OUTSIDE, "outside the loop's turn") \
	X(RECEIVE, "receive") \
	X(FAST_PARSE, "established: parse") \
	X(FAST_FIND, "established: find") \
	X(FAST_REWRITE, "established: rewrite") \
	X(FAST, "established: the rest") \
	X(PARSE, "parse") \
	X(OWNER, "owner") \
	X(LOOKUP, "look up") \
	X(TRANSLATE, "translate, next hop") \
	X(FURTHER, "further sessions") \
	X(OPEN_FIND, "new: subscriber, block") \
	X(OPEN_MAKE, "new: port, records") \
	X(OPEN_SEND, "new: translate") \
	X(OPEN_SETTLE, "new: inbound index") \
	X(OPEN, "new, the rest") \
	X(ODD, "odd packets") \
	X(HANDOFF, "hand-off") \
	X(UPKEEP, "upkeep") \
	X(TRANSMIT, "transmit") \
	X(GAUGES, "gauges")

enum stage {
#define X(name, text) STAGE_##name,
	CGN_STAGES_LIST(X)
#undef X
	STAGE_COUNT
};

#ifdef CGN_STAGES
#include <rte_cycles.h>

struct stage_clock { // worker: w; the bench reads it between turns
	uint64_t last_tsc;
	uint64_t tsc[STAGE_COUNT], marks[STAGE_COUNT];
};

static inline void stage_clock_mark(struct stage_clock *c, enum stage stage)
{
	const uint64_t now = rte_rdtsc();

	c->tsc[stage] += now - c->last_tsc;
	c->marks[stage]++;
	c->last_tsc = now;
}
#define stage_mark(w, stage) stage_clock_mark(&(w)->stages, stage)
#else
#define stage_mark(w, stage) ((void)0)
#endif
