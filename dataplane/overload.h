// SPDX-License-Identifier: BSD-3-Clause
// Established sessions before new ones. To open a session costs about ten times what a packet of one
// costs. When a worker gets more than it can treat, its devices' queues overflow, and what they lose
// is packets of all kinds. So as long as they are never empty, each burst may open only so many
// sessions: few enough that the queues just get empty at times. Packets that would open more are
// dropped (OVERLOAD_NEW), which costs little.
//
// A pure function of what the turns of the loop found, and of the worker's clock.
//
// Owner: each worker has one; only it calls these functions.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "mem.h"

// Too much: so many turns in a row found a full burst, over so long a time. By then a queue of the
// usual 1024 frames was never empty.
#define OVERLOAD_TURNS 8
#define OVERLOAD_NS 100000

#define OVERLOAD_CALM_NS 10000000 // it is over when so long no turn was full

#define OVERLOAD_ALL 256 // packets of the largest burst
#define OVERLOAD_LEAST 4 // sessions that 256 packets may open in any case: what normal traffic has

struct overload {
	uint64_t full_since_ns, full_ns; // the first of the full turns in a row; the last full turn
	uint32_t n_full; // turns in a row
	uint32_t n_established; // packets of this turn whose session was there
	uint32_t n_packets; // of this turn
	uint32_t n_taken; // sessions opened in this turn
	uint32_t left; // sessions that may be opened, in 1/OVERLOAD_ALL
	uint16_t room; // sessions per OVERLOAD_ALL packets
	bool limits; // overload: `room` counts
};

void overload_init(struct overload *o);

// Ends a turn. `full`: there was more to receive than it took.
void overload_turn(struct overload *o, bool full, uint64_t now_ns);

void overload_grant(struct overload *o, unsigned n);

// Begins a burst of n packets.
static inline void overload_burst(struct overload *o, unsigned n)
{
	o->n_packets += n;
	if (cgn_unlikely(o->limits))
		overload_grant(o, n);
}

// How many sessions may be opened now.
static inline unsigned overload_left(const struct overload *o)
{
	return o->left / OVERLOAD_ALL;
}

// Takes the place of one of them. False: there is none left.
static inline bool overload_take(struct overload *o)
{
	if (cgn_unlikely(o->limits)) {
		if (o->left < OVERLOAD_ALL)
			return false;
		o->left -= OVERLOAD_ALL;
	}
	o->n_taken++;
	return true;
}
