// SPDX-License-Identifier: BSD-3-Clause
// Making and ending mappings and sessions: flow.h and lease.h together, with their counters.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/drop.h"
#include "flow.h"

struct worker;
struct snapshot_policy;

// Makes a mapping with its first session for the internal endpoint `key` (subscriber address in it),
// or refuses. `likely`: what subscriber_prefetch() said of it, or SUBSCRIBER_NONE. Returns
// CGN_DROP_COUNT and the record, or the reason.
enum cgn_drop session_open_mapping(struct worker *w, const struct snapshot_policy *policy,
	uint32_t likely, uint64_t key, uint64_t remote, uint8_t tcp_flags, uint32_t *record);

// Begins a session of a static mapping that has none yet for this endpoint. `policy`: NULL from
// outside. `internal` and `external` belong together, as staticmap.h says.
enum cgn_drop session_open_static(struct worker *w, const struct snapshot_policy *policy,
	uint32_t mapping, uint64_t internal, uint64_t external, uint64_t remote, uint8_t tcp_flags,
	uint32_t *record);

// After a row of session_open_mapping(), before anything looks for the mappings from outside.
void session_settle(struct worker *w);

// Adds a session to the mapping `head`. `policy`: the one that matched, of the head when inbound;
// NULL when inbound to a static mapping.
enum cgn_drop session_add(struct worker *w, const struct snapshot_policy *policy, uint32_t head,
	uint64_t remote, uint8_t tcp_flags, bool inbound, uint32_t *record);

// Ends a session, and its mapping when it was the last one. *moved as in flow_close().
void session_end(struct worker *w, uint32_t record, bool cleared, uint32_t *moved);

// Ends sessions whose time is up, looking at no more than `max`. Returns how many it looked at.
uint32_t session_upkeep(struct worker *w, uint32_t max);
