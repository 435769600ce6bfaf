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

static void less(struct overload *o)
{
	if (!overload_limits(o))
		o->left = 0;
	o->room = o->room - o->room / 4;
	o->room = o->room > OVERLOAD_LEAST ? o->room : OVERLOAD_LEAST;
}

static void more(struct overload *o)
{
	o->room = o->room + o->n_packets / 32 + 1;
	if (o->room >= OVERLOAD_ALL)
		overload_init(o);
}

void overload_turn(struct overload *o, bool full, uint64_t now_ns)
{
	if (!full) {
		o->n_full = 0;
		if (overload_limits(o))
			more(o);
	} else {
		if (!o->n_full++)
			o->full_since_ns = now_ns;
		if (!o->n_established)
			o->room = OVERLOAD_ALL; // nobody who comes first
		else if (overload_limits(o) || lasts(o, now_ns))
			less(o);
	}
	o->n_established = o->n_packets = 0;
}
