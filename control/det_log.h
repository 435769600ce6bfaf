// SPDX-License-Identifier: BSD-3-Clause
// Records of deterministic pools in the log: once at start, and every 24 hours (RFC 7422 3). With
// them and the blocks' records anybody can tell later who had a port.
//
// Owner:  main.c. Thread: control.
#pragma once
#include "cgnat/config.h"
#include <stdint.h>

#define DET_LOG_PERIOD_NS (86400ull * 1000000000)

struct det_log {
	uint64_t due_ns; // 0: now
};

// Logs the records, if it is time. A new configuration makes it time: set due_ns to 0.
//   now_ns    CLOCK_MONOTONIC
//   unix_now  what the records say
void det_log_step(
	struct det_log *d, const struct cgn_config *config, uint64_t now_ns, int64_t unix_now);

// How long poll() may wait: milliseconds until the records are due again, -1: for ever.
int det_log_timeout_ms(const struct det_log *d, const struct cgn_config *config, uint64_t now_ns);
