// SPDX-License-Identifier: BSD-3-Clause
// Slices of time in which packets pass, for what is compared in turn.
#pragma once
#include <stdint.h>
#include "load.h"

#define SLICE_S 0.05

// As many packets as the worker can do. Clocks per packet, of the rounds in which the core was ours, or 0: there
// were none. *discarded counts the others.
double slice_clocks(struct load *l, uint64_t *discarded);

// Sorts v; 0 when n is 0.
double slice_median(double *v, uint32_t n);
