// SPDX-License-Identifier: BSD-3-Clause
// What a run stands on: the daemon's config in memory, DPDK, and one worker with its load per lcore.
#pragma once
#include "cgnat/config.h"
#include "load.h"

struct setup {
	struct cgn_config config;
	struct snapshot *snapshot;
	struct load load[CGN_WORKERS_MAX];
};

_Noreturn void fail(const char *what);

// Takes all memory of a run. Exits with 1 and a message when there is not enough.
void setup_create(struct setup *s);
// Gives `l` a new worker, the same as it was at first: nothing of what it did is left.
void setup_renew(struct setup *s, struct load *l);
void setup_destroy(struct setup *s);
