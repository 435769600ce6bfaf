// SPDX-License-Identifier: BSD-3-Clause
// A CGNAT as one would write it down first, packet by packet: linked lists, linear searches,
// checksums summed in full. Written from the RFCs and docs/, not from dataplane/, and knows nothing
// of DPDK. README.md says what it covers.
//
// Where a NAT may choose (port, block, address, identification, owner), observe.h tells what it
// chose, and the model checks that it was allowed to.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "cgnat/counters.h"
#include "cgnat/dataplane.h"

#define PACKET_MAX 2048
#define NO_POLICY UINT16_MAX

// ---- what it remembers

struct session {
	struct session *next;
	struct mapping *mapping;
	uint32_t remote;
	uint16_t remote_port;
	uint16_t policy; // NO_POLICY: static, opened from outside
	enum cgn_session_state state;
	bool inbound; // opened from outside
	bool refreshed_in; // by packets from outside, too
	bool syn_out, syn_in; // heard of either side
	bool was_reset;
	bool counts_unsure; // fragments may or may not have been counted, see fragment.c
	uint32_t seen_s, created_s;
	uint32_t touched_s; // its timer was set; it may be late by seconds from here
	uint64_t packets_out, packets_in, bytes_out, bytes_in;
};

struct mapping {
	struct mapping *next;
	uint8_t protocol;
	uint32_t internal, external;
	uint16_t internal_port, external_port;
	int static_mapping; // -1: dynamic
	struct customer *subscriber; // NULL: static
	struct block *block; // likewise
	uint16_t policy; // of the session that speaks for it
	bool unclean; // a session of it ended otherwise than by its ends
	uint32_t created_s, last_out_s, promoted_s;
	struct session *sessions;
	uint32_t n_sessions;
	unsigned worker;
};

enum block_state {
	BLOCK_FREE,
	BLOCK_LENT,
	BLOCK_RESTING,
	BLOCK_RESERVED, // no port of it may be lent
	BLOCK_IDLE, // preset ports, not in use
};

struct block {
	uint32_t external;
	uint16_t first_port, size;
	uint16_t *
		preset; // `size` ports of a deterministic pool, in any order; NULL: first_port and on
	uint32_t holder; // whose preset ports they are
	uint16_t pool;
	unsigned worker; // whose subscribers may have it
	enum block_state state;
	struct customer *subscriber;
	uint64_t order; // when it was lent: oldest first
	uint32_t since_s; // resting
};

struct customer {
	struct customer *next;
	uint32_t address;
	uint16_t pool, policy;
	uint32_t paired; // external address; counts while it has blocks
	unsigned worker;
	uint64_t paid_ns; // rate bucket
	uint64_t drops[CGN_SUBSCRIBER_DROP_COUNT];
};

// A port in hold-down.
struct resting {
	struct resting *next;
	uint8_t protocol;
	uint32_t internal;
	uint16_t internal_port, external_port;
	struct block *block;
	uint32_t since_s;
	unsigned worker;
};

// A SYN from outside that waits for the inside to open, or for its answer.
struct waiting_syn {
	struct waiting_syn *next;
	uint32_t external, remote;
	uint16_t external_port, remote_port;
	bool called_off;
	uint64_t since_ns;
	unsigned ifc, worker;
	uint16_t len;
	uint8_t quote[120];
};

struct datagram;

struct per_worker {
	uint32_t n_sessions, n_static_sessions;
	uint64_t errors_paid_ns[2], reserve_paid_ns[2]; // by role
	uint64_t host_paid_ns[2048]; // by a hash of who is answered
	uint64_t echo_paid_ns;
};

struct world {
	const struct cgn_config *config;
	unsigned n_workers;
	uint64_t now_ns, begun_ns;
	struct mapping *mappings;
	struct customer *subscribers;
	struct cgn_det *det[CGN_POOLS_MAX]; // of deterministic pools
	struct block *blocks; // an array
	uint32_t n_blocks;
	struct resting *resting; // oldest first
	struct resting *holes; // taken up again: they still have their places; youngest first
	struct waiting_syn *syns; // oldest first
	struct datagram *datagrams; // oldest first
	struct per_worker worker[CGN_WORKERS_MAX];
	uint64_t n_lent_ever;
	struct cgn_counters count; // what the counters must be
	uint64_t cuts_max; // rests_cut_short is at most that
};
extern struct world world;

static inline uint32_t now_s(void)
{
	return (uint32_t)(world.now_ns / 1000000000u);
}

// Ends the run: the dataplane did what the model does not allow.
void wrong(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));

// ---- address.c: what an address is to us

enum where {
	TO_ROUTE,
	TO_LINK,
	TO_US,
	TO_POOL,
	TO_MARTIAN,
	TO_NOWHERE,
};

struct way {
	enum where where;
	unsigned ifc;
	uint32_t next_hop;
};

struct way way_to(uint32_t address);
bool leaves_by(struct way way, enum cgn_role role);
bool is_bad_source(uint32_t address);
bool is_inside(uint32_t address); // an internal interface leads to it
bool is_outside(uint32_t address); // the longest prefix that covers it does not lead inside

// The first policy that matches, or -1. `ports`: destination_port counts.
int policy_for(uint32_t source, uint32_t destination, uint8_t protocol, bool ports,
	uint16_t destination_port);
// The same for a fragment without ports; *by_ports: the policy asks for them.
int policy_for_fragment(uint32_t source, uint32_t destination, uint8_t protocol, bool *by_ports);

// Static mappings: the other side's endpoint, and which mapping; -1: none.
int static_of_internal(uint8_t protocol, uint32_t address, uint16_t port, uint32_t *external,
	uint16_t *external_port);
int static_of_external(uint8_t protocol, uint32_t address, uint16_t port, uint32_t *internal,
	uint16_t *internal_port);

// ---- lease.c: blocks and ports

void lease_init(void);
void lease_fini(void);
struct customer *subscriber_of(uint32_t address, uint16_t pool);
// The same, made if it is new; NULL when there is no room.
struct customer *subscriber_get(uint32_t address, uint16_t pool, unsigned worker);
uint32_t blocks_of(const struct customer *s, enum block_state state);
uint32_t ports_used_of(const struct block *b);
// A port for a new mapping of that endpoint. CGN_DROP_COUNT, or why there is none.
enum cgn_drop lease(struct customer *s, uint8_t protocol, uint32_t internal, uint16_t internal_port,
	struct mapping *m);
void lease_end(struct mapping *m, bool rests); // the mapping is no longer in the list
void lease_forget(struct customer *s); // if nothing of it is left
void lease_tick(void);

// ---- session.c

struct mapping *mapping_of_internal(uint8_t protocol, uint32_t address, uint16_t port);
struct mapping *mapping_of_external(uint8_t protocol, uint32_t address, uint16_t port);
struct session *session_of(const struct mapping *m, uint32_t remote, uint16_t remote_port);
uint32_t deadline_of(const struct session *s);
void model_session_end(struct session *s, bool cleared);
void model_session_tick(void);
uint32_t count_sessions(void);
void model_session_fini(void);

struct packet;
// Makes a mapping with its first session, or a further session. CGN_DROP_COUNT and *s, or a reason.
enum cgn_drop model_session_open(struct packet *p, int policy, struct session **s);
enum cgn_drop model_session_open_static(
	struct packet *p, bool inbound, int policy, int mapping, struct session **s);
enum cgn_drop model_session_add(
	struct packet *p, bool inbound, int policy, struct mapping *m, struct session **s);
void model_session_packet(struct session *s, struct packet *p, bool outbound);

// ---- tick.c: everything that time does

void world_init(const struct cgn_config *config, unsigned n_workers, uint64_t now_ns);
void world_fini(void);
void world_tick(void);
bool token(uint64_t *paid_ns, uint32_t rate, bool take); // a bucket of one second's worth
