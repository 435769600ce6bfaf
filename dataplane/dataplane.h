// SPDX-License-Identifier: BSD-3-Clause
// The door to the dataplane (cgnat/dataplane.h) for workers that somebody else made, runs and ends, as a
// bench does: counters and walks work, nothing else does.
#pragma once
#include <stdint.h>
#include "cgnat/dataplane.h"

struct worker;

// Before the workers run: they get the ring by which walks come. NULL: no memory.
struct cgn_dataplane *dataplane_around(
	const struct cgn_config *config, struct worker *const *workers, uint32_t n_workers);
// When they run no more, and every walk has ended.
void dataplane_around_free(struct cgn_dataplane *dp);
