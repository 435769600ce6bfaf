// SPDX-License-Identifier: BSD-3-Clause
// --handoff: what it costs that a packet arrives at another worker than its owner.
#pragma once
#include "load.h"

struct cross_result {
	// one core, two workers in turn: clocks per packet of the worker that receives and hands on, of the
	// one that takes over and translates, and of one that does it all
	double sender, receiver, alone;
	// two cores, each worker in both roles: when all packets change over, and when none does
	double both_foreign, both_own;
	uint32_t n_rounds, n_discarded;
};

// The part of worker `id` of two, on its lcore; both must come. All mappings are filled in.
void cross_run(struct load *loads[2], uint32_t id, struct cross_result *r);
