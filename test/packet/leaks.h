// SPDX-License-Identifier: BSD-3-Clause
// Does anything stay behind in a worker's tables? Gauges count what is in use; this looks at every
// list, index and bitmap behind them: each must be as it was before the first packet.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "worker.h"

struct leaks {
	uint64_t *port_bits; // those of the blocks, when none was lent
	uint64_t n_port_bits;
};

void leaks_begin(struct leaks *l, const struct worker *w);

// Says what does not fit, and returns true. Neighbours may be known, others keep to their times.
bool leaks_found(const struct leaks *l, const struct worker *w);

void leaks_end(struct leaks *l);
