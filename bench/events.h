// SPDX-License-Identifier: BSD-3-Clause
// Instructions and cache misses of the calling thread in user space, where the machine has such
// counters and lets us read them (perf_event_open).
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum event {
	EVENT_INSTRUCTIONS,
	EVENT_CACHE_MISSES, // of the last level, as the CPU counts it
	EVENTS
};

struct events {
	int fd[EVENTS]; // -1: not available
};

void events_open(struct events *e);
void events_start(const struct events *e); // counting goes on
void events_stop(const struct events *e);
// False when not available.
bool events_read(const struct events *e, enum event event, uint64_t *n);
void events_close(struct events *e);
