// SPDX-License-Identifier: BSD-3-Clause
#include "full.h"
#include <rte_cycles.h>
#include "own.h"
#include "slice.h"

#define ROUNDS_MAX 16384
#define BEYOND 16 // one flow for so many ports

const char *const full_names[FULL_STEPS] = {
	"0 - 50 %", "50 - 90 %", "90 - 95 %", "95 - 99 %", "99 - 100 %", "beyond"};
static const unsigned percent[FULL_STEPS - 1] = {50, 90, 95, 99, 100};

static uint64_t drops(const struct load *l)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < CGN_DROP_COUNT; i++)
		n += l->worker->counters.drops[i];
	return n;
}

// New flows up to number `end`, as many rounds as it takes.
static void step(struct load *l, uint64_t end, struct full_step *s)
{
	static double cycles[2][ROUNDS_MAX]; // disturbed, undisturbed
	const uint64_t dropped = drops(l);
	uint32_t n[2] = {0, 0};

	l->fill_end = end;
	while (l->fill_at < end) {
		const uint64_t switches = own_switches();
		const uint32_t asked = load_prepare(l);
		uint64_t tsc;

		if (!asked)
			break;
		tsc = load_run(l);
		const bool own = own_switches() == switches;

		// no mean of bursts that are not whole
		if (n[own] < ROUNDS_MAX && (asked >= opt.burst || !n[own]))
			cycles[own][n[own]++] = (double)tsc / asked;
		s->asked += asked;
		load_verify(l);
	}
	s->refused = drops(l) - dropped;
	s->cycles = slice_median(cycles[n[1] > 0], n[n[1] > 0]);
}

void full_run(struct load *l, struct full_result *r)
{
	for (unsigned i = 0; i < FULL_STEPS - 1; i++) {
		step(l, l->n * percent[i] / 100, &r->step[i]);
		r->refused_early += r->step[i].refused;
	}
	l->phase = LOAD_BEYOND;
	step(l, l->n + (l->n + BEYOND - 1) / BEYOND, &r->step[FULL_STEPS - 1]);
	l->phase = LOAD_FILL;
	l->received -= r->step[FULL_STEPS - 1].refused; // nobody waits for these
}
