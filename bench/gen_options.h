// SPDX-License-Identifier: BSD-3-Clause
// What cgnat-gen was asked for. Filled once by gen_options_parse(). Addresses are in host order.
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum gen_mode {
	GEN_STEADY, // packets of flows that were set up before
	GEN_SETUP, // each packet is the first of its flow
	GEN_REFLECT, // the outside alone: sends back whatever another generator sends
	GEN_SEARCH, // RFC 2544 section 26.1: the highest rate without more loss than allowed
};

struct gen_options {
	const char *device[2]; // inside, outside
	uint32_t address[2], nat[2]; // our own and the NAT's, inside and outside
	enum gen_mode mode;
	uint32_t subscriber, n_subscribers; // the cross product: first, how many
	uint16_t port, n_ports;
	uint32_t destination, n_destinations;
	uint16_t destination_port;
	uint32_t packet_size;
	bool tcp, sweep, reflect;
	double rate_pps; // offered; 0 = as many as come back, `window` under way
	uint32_t window;
	double seconds, drain_s;
	double min_pps, max_pps, loss_permille; // of a search
	uint32_t lcore_cpu, memory_mb;
	bool hugepages, json, hold;
};

extern struct gen_options gen_opt;
extern const char *const gen_mode_names[];

#define GEN_FLOWS_MAX 20000000u

// Exits with 2 and a message when they are wrong.
void gen_options_parse(int argc, char **argv);
uint64_t gen_flows(void); // of the cross product
