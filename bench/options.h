// SPDX-License-Identifier: BSD-3-Clause
// What cgnat-bench was asked for. Filled once by options_parse(), read by everybody.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum direction {
	DIRECTION_OUT,
	DIRECTION_IN,
	DIRECTION_MIX, // half out, half in
	DIRECTION_HAIRPIN,
};

enum order {
	ORDER_RANDOM, // each packet of a mapping of its own choosing
	ORDER_SWEEP, // one mapping after the other, as CSIT's hosts x ports
};

enum mode {
	MODE_STEADY, // packets of mappings that are there
	MODE_NEW, // each packet makes a mapping
	MODE_BYPASS, // packets that a policy bypasses
	MODE_EXPIRE, // packets of one half, while the other half runs out
	MODE_EXPIRE_ALL, // no packets: all run out
	MODE_DUMP, // packets of mappings that are there, while control lists all sessions
	MODE_FULL, // new flows until no port is left, and more
	MODE_SCALING, // one worker, and all of them, in turn
	MODE_HANDOFF, // packets that arrive at another worker than their owner
};

#define BLOCKS_MAX 64u // of a subscriber, as in the config

struct options {
	enum direction direction;
	enum order order;
	enum mode mode;
	uint64_t mappings, packets; // packets: measure so many, 0 = for `seconds`
	uint32_t subscribers, workers, burst;
	uint32_t block_size; // 0: a subscriber has one block
	uint32_t pool_percent; // of the blocks that are lent in the end; 0: about 85
	uint32_t packet_size; // with FCS; 0 = IMIX
	uint32_t ahead; // frames made before the clock starts
	uint32_t expire_permille;
	uint32_t policies, bypass_prefixes;
	double seconds;
	double load_mpps; // offered for the latency, per worker; 0 = load_percent of what it can
	double load_percent; // 0 = no latency
	double flood_percent; // new flows meanwhile, of what could be opened alone; < 0: none
	bool tcp, cold, stages, json, hugepages;
};

extern struct options opt;
extern const char *const direction_names[], *const order_names[];

#define SUBSCRIBERS_MAX (1u << 21)
#define AHEAD_MAX 4096u // frames; a multiple of every burst

// Exits with 2 and a message when they are wrong.
void options_parse(int argc, char **argv);
