// SPDX-License-Identifier: BSD-3-Clause
// The dataplane between the bed's interfaces against the model.
#pragma once
#include "world.h"

void compare_begin(void); // just after bed_open()
void compare_outputs(void); // every frame that came out
void compare_counters(void); // every counter and gauge
void compare_tables(void); // every record of every walk
// Clears what the filter says in the dataplane and in the model.
void clear_both(enum cgn_walk_kind kind, const struct cgn_filter *filter);
