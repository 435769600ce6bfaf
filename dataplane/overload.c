// SPDX-License-Identifier: BSD-3-Clause
#include "overload.h"

void overload_init(struct overload *o)
{
	*o = (struct overload){.room = OVERLOAD_ALL, .left = UINT32_MAX};
}

static bool lasts(const struct overload *o, uint64_t now_ns)
{
	return o->n_full >= OVERLOAD_TURNS && now_ns - o->full_since_ns >= OVERLOAD_NS;
}

void overload_grant(struct overload *o, unsigned n)
{
	const uint32_t most = OVERLOAD_ALL * (uint32_t)o->room; // of one burst

	o->left += n * o->room;
	o->left = o->left < most ? o->left : most;
}

// Three quarters of what this turn had: of what it was allowed, or of what there was.
static void less(struct overload *o)
{
	const uint32_t had = (o->n_taken * OVERLOAD_ALL + o->n_packets - 1) / o->n_packets;
	uint32_t room = had < o->room ? had : o->room;

	if (!o->limits)
		o->left = 0;
	o->limits = true;
	room -= room / 4;
	o->room = (uint16_t)(room > OVERLOAD_LEAST ? room : OVERLOAD_LEAST);
}

static void more(struct overload *o)
{
	const uint32_t room = o->room + o->n_packets / 32 + 1;

	o->room = (uint16_t)(room < OVERLOAD_ALL ? room : OVERLOAD_ALL);
}

static void full_turn(struct overload *o, uint64_t now_ns)
{
	if (!o->n_full++)
		o->full_since_ns = now_ns;
	o->full_ns = now_ns;
	if (!o->n_established) { // nobody who comes first
		o->limits = false;
		o->room = OVERLOAD_ALL;
		o->left = UINT32_MAX;
	} else if (o->limits || lasts(o, now_ns)) {
		less(o);
	}
}

void overload_turn(struct overload *o, bool full, uint64_t now_ns)
{
	if (full && o->n_packets)
		full_turn(o, now_ns);
	else if (o->limits && now_ns - o->full_ns >= OVERLOAD_CALM_NS)
		overload_init(o);
	else if (o->limits)
		more(o);
	if (!full)
		o->n_full = 0;
	o->n_established = o->n_packets = o->n_taken = 0;
}
