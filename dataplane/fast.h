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

// Translates and queues outbound packets for which the slow path has a session now: pkt[at[i]], all of
// w->batch's n_missed and in by `ifc`, of session record[i].
struct pkt;
typedef void (*fast_opened_fn)(struct worker *w, struct pkt *pkt, const uint16_t *at,
	const uint32_t *record, unsigned n, uint8_t ifc);

struct fast {
	fast_fn frames;
	fast_hairpins_fn hairpins;
	fast_opened_fn opened;
};
extern const struct fast fast_base, fast_v3, fast_v4; // the latter two: x86 only

enum fast_level {
	FAST_OFF, // everything goes the general path
	FAST_BASE, // what the build is for
	FAST_V3, // AVX2, BMI2 (x86-64-v3)
	FAST_V4, // AVX-512 (x86-64-v4)
	FAST_LEVELS,
};

// The functions of the highest level <= `most` that was built and that this CPU has; NULL for
// FAST_OFF. *level, if not NULL, is told which it is.
const struct fast *fast_pick(enum fast_level most, enum fast_level *level);

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

// An opened packet that is not for the established path after all.
void fast_odd(struct worker *w, struct pkt *p, uint32_t record);

// A segment with SYN, FIN or RST, or one that ends a transitory state, of the session `record`.
void fast_tcp(struct worker *w, uint32_t record, void *ip, uint16_t ip_len, uint8_t tcp_flags,
	bool outbound);
