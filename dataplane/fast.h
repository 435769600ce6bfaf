// SPDX-License-Identifier: BSD-3-Clause
// The established path: whole TCP and UDP packets with a session. It is the general path (parse.c,
// path.c, translate.h) once more for the packets that nearly all are, with everything else left out:
// what is anything else is left for that one, untouched. Both give the same frames and counters.
//
// The source is compiled for several instruction sets; fast_pick() takes the best that the CPU has.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>

struct worker;

// Translates and queues for transmission what it can of the n <= BATCH_MAX frames that came in by
// interface `ifc`. Packets without session go into w->batch (n_missed), parsed. The others come to
// the front of m, in their order. Returns how many these are.
typedef unsigned (*fast_fn)(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc);

// Takes the first n <= BATCH_MAX hairpins of w->loop, whose outbound half is done, through the inbound
// half. The others come to the front of w->loop, in their order. Returns how many these are;
// w->n_loop is the caller's.
typedef unsigned (*fast_hairpins_fn)(struct worker *w, unsigned n);

unsigned fast_frames_base(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc);
unsigned fast_frames_v3(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc); // x86 only
unsigned fast_frames_v4(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc);
unsigned fast_hairpins_base(struct worker *w, unsigned n);
unsigned fast_hairpins_v3(struct worker *w, unsigned n); // x86 only
unsigned fast_hairpins_v4(struct worker *w, unsigned n);

enum fast_level {
	FAST_OFF, // everything goes the general path
	FAST_BASE, // what the build is for
	FAST_V3, // AVX2, BMI2 (x86-64-v3)
	FAST_V4, // AVX-512 (x86-64-v4)
	FAST_LEVELS,
};

// The highest level <= `most` that was built and that this CPU has.
enum fast_level fast_level_of(enum fast_level most);

// Its functions; NULL for FAST_OFF. *level, if not NULL, is told which it is.
fast_fn fast_pick(enum fast_level most, enum fast_level *level);
fast_hairpins_fn fast_pick_hairpins(enum fast_level most);

// "avx512" and the like.
const char *fast_level_name(enum fast_level level);

// ---- next hops, prepared

// What it takes to send to a gateway: made anew from its neighbour once a burst.
struct adjacency {
	uint64_t burst; // of which it is right: worker.fast_burst
	uint16_t limit[2]; // largest packet: outbound, inbound; 0: not usable for those
	uint8_t l2_len;
	uint64_t l2_first, l2_middle, l2_last; // Ethernet header: bytes 0.., 8.., l2_len - 8..
	struct worker_port *port;
	uint8_t ifc;
} __attribute__((aligned(64)));

// Brings an adjacency up to date with its gateway's neighbour.
void fast_adjacency(struct worker *w, uint32_t gateway);

// One of a neighbour on the link.
void fast_onlink(struct worker *w, uint8_t ifc, uint32_t address, struct adjacency *a);

// A segment with SYN, FIN or RST, or one that ends a transitory state, of the session `record`.
void fast_tcp(struct worker *w, uint32_t record, void *ip, uint16_t ip_len, uint8_t tcp_flags,
	bool outbound);
