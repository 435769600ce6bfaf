// SPDX-License-Identifier: BSD-3-Clause
// Who has an external port, or which ports a subscriber has: as far as the configuration says.
// Serves the daemon, which adds what it lends, and cgnatctl without one (cgnat/offline.h).
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include "cgnat/config.h"

struct resolve_range {
	uint32_t subscriber, external;
	uint16_t first_port, last_port;
	uint32_t step; // as struct cgn_det_span
	uint32_t n_ports;
	bool dynamic;
	const char *pool; // NULL: of a static mapping
	const char *static_mapping; // its name, or NULL
};
json_t *resolve_range_json(const struct resolve_range *range);

// Appends to `ranges` whose the port is. When nobody's: *why says so, or NULL says that the port is
// lent when needed: only a daemon knows to whom. The caller frees *why. False when memory is short.
bool resolve_external(const struct cgn_config *config, uint32_t address, uint16_t port,
	json_t *ranges, char **why);

// Appends the preset ports and the static mappings of a subscriber, preset ones first. False when
// memory is short.
bool resolve_subscriber(const struct cgn_config *config, uint32_t address, json_t *ranges);

// Why a subscriber has no ports; `and_blocks`: neither lent ones. NULL when memory is short.
char *resolve_no_ports(const struct cgn_config *config, uint32_t address, bool and_blocks);

// The answer: the first range and, under "ranges", all of them. Takes `ranges`, which is not empty.
json_t *resolve_answer(json_t *ranges);
