// SPDX-License-Identifier: BSD-3-Clause
// --full: subscribers open flows until the last port of their blocks is taken, and then some more. How
// many are refused while a port is free, and what each costs.
#pragma once
#include <stdint.h>
#include "load.h"

#define FULL_STEPS 6 // up to 50, 90, 95, 99, 100 per cent of all ports, and beyond

extern const char *const full_names[FULL_STEPS];

struct full_step {
	uint64_t asked, refused; // new flows
	double cycles; // each, median of the undisturbed rounds
};

struct full_result {
	struct full_step step[FULL_STEPS];
	uint64_t refused_early; // while the subscriber had a free port
};

// In the worker's thread, nothing being filled in yet; ends with all of it filled in.
void full_run(struct load *l, struct full_result *r);
