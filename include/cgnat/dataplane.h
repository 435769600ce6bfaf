// SPDX-License-Identifier: BSD-3-Clause
// The whole door to dataplane/: start it, read it, walk its tables, stop it.
//
// Thread: all functions are called by the control thread only, and none of them waits for a
// worker's packets; a worker answers walks in slices between bursts.
// Errors: 0 or -errno; *start* explains itself in `err`.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cgnat/blocks.h"
#include "cgnat/config.h"
#include "cgnat/counters.h"
#include "cgnat/types.h"

struct cgn_dataplane;

// Brings up DPDK, the devices of config->interfaces and one worker per worker lcore, and lets
// packets flow. `config` must outlive the dataplane. A process can start one dataplane, once:
// DPDK cannot be initialised twice.
//   blocks  memory for the block table and what the last run left there; NULL: none. Outlives the
//           dataplane.
//   err     one line for the operator when the result is negative
int cgn_dataplane_start(const struct cgn_config *config, const struct cgn_block_memory *blocks,
	struct cgn_dataplane **out, char *err, size_t err_size);

// How many port blocks `config` has: records of cgn_block_memory. A pure function.
uint32_t cgn_dataplane_blocks(const struct cgn_config *config);

// Stops the workers, returns every packet they hold (counted as STOPPED), closes the devices, and
// frees everything. Open walks must have been ended.
void cgn_dataplane_stop(struct cgn_dataplane *dp);

// Bytes of table memory that `config` takes, packet buffers not included. A pure function.
uint64_t cgn_dataplane_table_bytes(const struct cgn_config *config);

// Counters of one worker, or of all together (worker = CGN_ALL_WORKERS).
#define CGN_ALL_WORKERS UINT32_MAX
void cgn_dataplane_counters(
	const struct cgn_dataplane *dp, uint32_t worker, struct cgn_counters *out);

struct cgn_link_status {
	uint8_t mac[6];
	bool up;
	uint32_t speed_mbps; // 0 = unknown
	uint16_t rx_queues, tx_queues;
	enum cgn_rss rss; // how it brings packets to the workers; never CGN_RSS_AUTO
	char driver[CGN_NAME_MAX];
	uint64_t nic_missed; // frames the device dropped before a worker saw them
};
int cgn_dataplane_link(
	const struct cgn_dataplane *dp, uint32_t interface, struct cgn_link_status *out);

// ---- walks over the workers' tables: show and clear

enum cgn_walk_kind {
	CGN_WALK_MAPPINGS,
	CGN_WALK_SESSIONS,
	CGN_WALK_BLOCKS,
	CGN_WALK_SUBSCRIBERS,
	CGN_WALK_CLEAR_SESSIONS, // yields one struct cgn_walk_cleared per worker
	CGN_WALK_CLEAR_MAPPINGS, // likewise
};

// What a walk is about. A zero field does not filter, but for the flags beside ports and indexes.
struct cgn_filter {
	bool by_subscriber, by_external, by_external_port, by_remote, by_remote_port;
	bool by_protocol, by_policy, by_worker;
	uint32_t subscriber, external, remote; // addresses, host order
	uint16_t external_port, remote_port;
	uint8_t protocol; // CGN_PROTO_*
	uint16_t policy; // index into config->policies
	uint32_t worker;
};

enum cgn_session_state {
	CGN_SESSION_ACTIVE, // no TCP
	CGN_SESSION_INIT,
	CGN_SESSION_ESTABLISHED,
	CGN_SESSION_CLIENT_FIN,
	CGN_SESSION_SERVER_FIN,
	CGN_SESSION_BOTH_FIN,
	CGN_SESSION_TRANSITORY,
};

struct cgn_walk_mapping {
	uint32_t internal, external;
	uint16_t internal_port, external_port;
	uint8_t protocol;
	bool is_static;
	uint16_t policy;
	uint32_t sessions;
	uint32_t age_s, expires_s; // expires: when no further packet comes; not of a static one
	uint32_t static_mapping; // of a static one: index into config->static_mappings
};

struct cgn_walk_session {
	uint32_t internal, external, remote;
	uint16_t internal_port, external_port, remote_port;
	uint8_t protocol;
	enum cgn_session_state state;
	uint16_t policy;
	uint32_t age_s, expires_s;
	uint64_t packets_out, packets_in, bytes_out, bytes_in; // IP bytes
};

struct cgn_walk_block {
	uint32_t subscriber, external;
	uint16_t first_port, last_port;
	uint32_t step; // the ports of a preset block: every step-th; 0: scattered
	bool preset;
	uint16_t pool;
	uint32_t ports_used; // of the three number spaces together
	int64_t allocated_at; // Unix time, s
};

struct cgn_walk_subscriber {
	uint32_t subscriber, external;
	uint16_t policy, pool;
	uint32_t blocks, ports_used, mappings, sessions;
	uint32_t mappings_of[CGN_L4_COUNT];
	uint64_t drops[CGN_SUBSCRIBER_DROP_COUNT];
};

struct cgn_walk_cleared {
	uint64_t cleared;
};

struct cgn_walk_record {
	uint32_t worker;
	union {
		struct cgn_walk_mapping mapping;
		struct cgn_walk_session session;
		struct cgn_walk_block block;
		struct cgn_walk_subscriber subscriber;
		struct cgn_walk_cleared cleared;
	};
};

// One walk: a bounded ring of records per worker, filled by the worker, emptied by control. A
// reader that stops reading stops the walk, not the worker. A record that exists for the whole
// walk comes exactly once; one made or ended meanwhile may come or not. (The exception: when the
// first session of a mapping ends, one of the others takes its place and may come twice or not.)
// Returns -EBUSY when CGN_WALKS_MAX walks are open.
#define CGN_WALKS_MAX 16
struct cgn_walk;
int cgn_walk_start(struct cgn_dataplane *dp, enum cgn_walk_kind kind,
	const struct cgn_filter *filter, struct cgn_walk **out);

// Takes up to `max` records that are ready. Returns how many (0: none just now) and sets *done
// once the last one has been taken.
uint32_t cgn_walk_read(
	struct cgn_walk *walk, struct cgn_walk_record *records, uint32_t max, bool *done);

// Ends a walk, finished or not. `walk` is gone afterwards.
void cgn_walk_end(struct cgn_walk *walk);
