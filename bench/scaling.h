// SPDX-License-Identifier: BSD-3-Clause
// --scaling: how much more several workers do than one of them alone. Each has flows of its own, as a card
// brings them. In turn each of them runs alone, while the others sleep, and all at once.
#pragma once
#include <stdint.h>
#include "load.h"

#define SCALING_TURNS 512 // at most

struct scaling_result {
	uint32_t n; // turns
	double alone[SCALING_TURNS], together[SCALING_TURNS]; // clocks per packet; 0: disturbed
	uint64_t handoffs, discarded;
};

// Before the lcores run.
void scaling_init(uint32_t n_workers);
// In the thread of worker `id`, its table being full.
void scaling_run(struct load *l, uint32_t id, struct scaling_result *r);

// The median, over the turns in which all workers were undisturbed, of what all do together / the mean of
// what each does alone. *n: of so many.
double scaling_factor(const struct scaling_result *const *r, uint32_t n_workers, uint32_t *n);
