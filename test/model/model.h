// SPDX-License-Identifier: BSD-3-Clause
// A NAT's state as one would write it down first: an array of endpoints with their sessions, an
// array of ports with a state each, a list of resting ports. Slow and obvious. Every answer of the
// real tables is told to it and must agree.
#pragma once
#include "cgnat/config.h"
#include "flow.h"
#include "portblock.h"
#include "rest.h"
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define REMOTES 6u // a session per endpoint and remote

struct model_config {
	const char *name;
	uint16_t block_size;
	uint32_t n_addresses, n_blocks; // per address
	uint32_t n_pools; // address and subscriber n belong to pool n % n_pools
	uint16_t first_port;
	struct cgn_port_range reserved;
	uint16_t max_blocks; // per subscriber
	uint32_t n_subs, n_ports; // internal addresses, ports of each
	uint32_t sessions_max, active_max, rest_max;
	uint32_t now_s; // the clock's start
	struct cgn_timeouts timeouts;
	// deterministic: the ports of a pool that begin at first_port are so many, and each subscriber has
	// preset ones; what the plan leaves are the blocks
	uint16_t preset_ports, n_pool_ports; // 0: a dynamic pool
	enum cgn_algorithm algorithm;
};

// An endpoint has a number: (subscriber * n_ports + port) * CGN_L4_COUNT + l4.
struct endpoint {
	uint32_t sub;
	uint16_t port;
	enum cgn_l4 l4;
};

struct model_session {
	bool open;
	uint8_t state;
	uint16_t policy;
	uint32_t seen_s, created_s;
	uint64_t pkts;
};

struct model_mapping {
	uint32_t n_sessions; // 0: there is none
	uint32_t block, created_s;
	uint32_t promoted_s; // a session moved into the head's record at
	uint16_t port;
	struct model_session session[REMOTES];
};

enum model_port_state {
	MODEL_FREE,
	MODEL_USED,
	MODEL_RESTING,
	MODEL_RESERVED
};

struct model_port {
	enum model_port_state state;
	uint32_t endpoint;
};

struct model_block {
	enum portblock_state state;
	uint32_t sub, since_s, n_used;
	bool is_preset; // of `sub`, whether lent or not
	uint32_t address, n_ports;
	uint16_t *number; // of its ports
	struct model_port *port[CGN_L4_COUNT];
};

#define MODEL_HOLE UINT32_MAX // as endpoint: taken up again, its place is not free yet

struct model_rest {
	uint32_t endpoint, block, since_s;
	uint16_t port;
};

struct model {
	const struct model_config *c;
	uint32_t now_s;
	struct cgn_det *det; // the plan, of a deterministic pool
	uint32_t n_endpoints, n_blocks, n_address_blocks; // the blocks of each address
	struct model_mapping *mapping; // by endpoint
	struct model_block *block;
	struct model_rest *rest; // oldest first; the first one is no hole
	uint32_t n_rest, n_holes;
	uint32_t n_sessions, n_mappings;
	uint64_t seed, step;
	// what happened, so that the test knows that it tested
	struct {
		uint64_t opened, added, closed, expired, promoted, table_full, sub_full, no_port,
			no_block, no_address, reclaimed, retaken, early, rested, freed_blocks,
			cleared, active_full, preset_taken, overflow_left;
	} n;
};

extern struct model model;

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			printf("not ok - %s: %s:%d: %s (seed %llu, step %llu)\n", model.c->name, \
				__FILE__, __LINE__, #cond, (unsigned long long)model.seed, \
				(unsigned long long)model.step); \
			exit(1); \
		} \
	} while (0)

void model_init(const struct model_config *c, uint64_t seed);
void model_fini(void);

struct endpoint endpoint_of(uint32_t number);
uint32_t sub_address(uint32_t sub); // host order
uint16_t sub_pool(uint32_t sub);
uint64_t internal_key(uint32_t endpoint);
uint64_t remote_key(uint32_t remote);
uint32_t endpoint_of_key(uint64_t internal);
uint32_t remote_of_key(uint64_t remote);
uint32_t model_deadline(uint32_t endpoint, uint32_t remote);
bool model_passed(uint32_t time_s); // time_s is not in the future

// ---- what the tables did

void model_block_taken(uint32_t block, uint32_t address, uint32_t sub);
void model_preset_taken(uint32_t block, uint32_t sub);
void model_block_retaken(uint32_t block, uint32_t sub);
void model_no_block(uint32_t address);
void model_address_picked(uint32_t pool, uint32_t address); // or none
void model_block_given(uint32_t block);
void model_block_rested(uint32_t block);

void model_port_taken(uint32_t block, uint32_t endpoint, int32_t port); // -1: none
void model_port_reused(uint32_t endpoint, const struct rest_port *rested);
void model_no_rest(uint32_t endpoint);
void model_port_rests(uint32_t endpoint);
void model_rest_early(const struct rest_port *rested);
void model_rest_over(const struct rest_port *rested);
void model_all_rests_over(void); // the tables say that nothing is due any more

void model_opened(uint32_t endpoint, uint32_t remote, const struct flow_new *new, uint32_t block,
	uint16_t port);
void model_added(uint32_t endpoint, uint32_t remote, const struct flow_new *new);
void model_closed(uint32_t endpoint, uint32_t remote, bool mapping_ended);

uint32_t model_n_lent(uint32_t sub); // blocks
uint32_t model_preset_of(uint32_t sub); // PORTBLOCK_NONE: it has none
uint32_t model_n_resting(uint32_t sub);
