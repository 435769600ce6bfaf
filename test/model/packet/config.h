// SPDX-License-Identifier: BSD-3-Clause
// Random configurations, by seed.
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct random {
	uint64_t state;
};
uint32_t random_u32(struct random *r);
uint32_t below(struct random *r, uint32_t n);
bool chance(struct random *r, uint32_t per_cent);

#define CONFIG_TEXT 4096
struct random_config {
	unsigned workers, sessions, subscribers;
	bool spread; // every worker receives
	char inside[512], outside[512], pools[1024], policies[CONFIG_TEXT], more[CONFIG_TEXT];
	uint8_t favourite; // protocol of most packets; 0: none
	unsigned tx_queues; // 0: one for each worker
	unsigned n_hosts, n_ports; // how many of each the stream should use
	unsigned waits; // steps of 1000, at most 40, that let time go on
};
void config_make(struct random_config *c, uint64_t seed);
