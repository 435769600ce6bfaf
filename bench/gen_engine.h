// SPDX-License-Identifier: BSD-3-Clause
// The generator: one thread that sends on the inside, receives on the outside, judges, sends back,
// and receives on the inside again. Every frame says which flow it belongs to and when it was sent.
#pragma once
#include <rte_mempool.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

#define GEN_HISTOGRAM 1000000u // steps of 100 ns; longer ones count as the last
#define GEN_STEP_NS 100u

struct gen_endpoint { // what the NAT made of a subscriber's port
	uint32_t address;
	uint16_t port;
	bool known;
};

struct gen_counts {
	double seconds;
	uint64_t sent; // taken by the inner device
	uint64_t refused; // not taken by it: the NAT is too slow
	uint64_t received; // came out translated
	uint64_t wrong; // came out otherwise than it must
	uint64_t moved; // likewise translated, but to another endpoint than before
	uint64_t reordered; // sent earlier than one of the same flow that came out before
	uint64_t reflected, returned, return_wrong;
	uint64_t late; // sent in an earlier run: whoever holds frames so long has its own queue
	uint64_t alien; // frames not of ours
};

enum gen_side {
	INSIDE,
	OUTSIDE,
	SIDES
};

struct gen {
	uint16_t port[SIDES]; // DPDK's
	uint8_t mac[SIDES][6], nat_mac[SIDES][6];
	bool nat_known[SIDES];
	struct rte_mempool *pool;
	uint64_t n_flows, at, rnd;
	struct gen_endpoint *endpoint; // per subscriber and port
	uint32_t *out_ns, *round_ns; // histograms
	uint64_t *last_stamp; // per flow
	double ns_per_tsc;
	uint64_t begin_tsc; // of this run
	struct gen_counts counts;
};

extern volatile sig_atomic_t gen_stop;

// All memory from libc; 0 or -ENOMEM. Ports and pool are the caller's to fill in.
int gen_create(struct gen *g);
void gen_destroy(struct gen *g);

// Asks for the NAT's MAC addresses on the sides from `first` on for up to 10 s, so that it learns ours.
// False: it did not answer.
bool gen_find_nat(struct gen *g, unsigned first);

// Sends for so long (0: until every flow was sent once), at a rate (0: --window under way) and waits
// for what is under way. Counts are those of this run alone. What could not be sent in time, because
// the thread lost its core or the device was slow, is made up for up to a window's worth.
void gen_run(struct gen *g, double rate_pps, double seconds, bool first_packets);

// Sends back all TCP and UDP that comes to the outside, for so long (0: until gen_stop).
void gen_reflect(struct gen *g, double seconds);

// Endpoints that two subscribers' ports share: RFC 4787 REQ-3 forbids any.
uint64_t gen_shared(const struct gen *g);

// Share of a histogram, ns.
uint64_t gen_quantile(const uint32_t *histogram, double share);
