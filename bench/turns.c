// SPDX-License-Identifier: BSD-3-Clause
#include "turns.h"
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include "own.h"

#define ENDED_NS 302000000000ull // from the last packet: every mapping is due
#define RESTED_NS 122000000000ull // from there: every port and block is
#define TURN_NS 1000 // of the worker's clock
#define SWITCH_NS 15000 // a context switch takes longer, with the turn it falls into
#define GONE UINT32_MAX // a turn that somebody else interrupted
#define CALIBRATE 100000

// What the worker does may not be optimised away, nor may this.
static uint64_t compute(uint64_t steps)
{
	uint64_t x = steps | 1;

	for (uint64_t i = 0; i < steps; i++) {
		x = x * 6364136223846793005ull + 1442695040888963407ull;
		__asm__ volatile("" : "+r"(x));
	}
	return x;
}

static double steps_per_tsc(void)
{
	uint64_t best = UINT64_MAX;

	for (unsigned i = 0; i < 32; i++) {
		const uint64_t begin = rte_rdtsc();

		compute(CALIBRATE);
		const uint64_t took = rte_rdtsc() - begin;
		best = took < best ? took : best;
	}
	return (double)CALIBRATE / (double)best;
}

struct turns {
	struct load *l;
	struct turns_result *r;
	uint64_t room, at; // turns of a run
	uint32_t *least, *turn, *control; // ns; turn, control: of all runs
	uint64_t n_turn, n_control;
	double steps_per_tsc, usual_tsc; // of a turn
	uint64_t switches;
};

// What a time is worth, or GONE.
static uint32_t judge(struct turns *t, uint64_t tsc)
{
	const uint64_t ns = (uint64_t)((double)tsc * t->l->ns_per_tsc);

	if (ns > SWITCH_NS) {
		const uint64_t now = own_switches();

		if (now != t->switches) {
			t->switches = now;
			return GONE;
		}
	}
	return ns < GONE ? (uint32_t)ns : GONE - 1;
}

static void control(struct turns *t)
{
	const uint64_t begin = rte_rdtsc();

	compute((uint64_t)(t->usual_tsc * t->steps_per_tsc));
	const uint32_t ns = judge(t, rte_rdtsc() - begin);

	if (ns != GONE)
		t->control[t->n_control++] = ns;
}

// Turns until one finds nothing to do while nothing is left, or the room for them is full.
static void phase(struct turns *t, const uint64_t *left)
{
	struct load *l = t->l;
	uint64_t tsc = 0;

	// gauges are of the last turn that did something
	for (unsigned n = 1, idle = 0; t->at < t->room && (*left || n) && idle < 4096;) {
		const uint64_t begin = rte_rdtsc();

		n = worker_poll(l->worker, l->clock_ns);
		const uint64_t took = rte_rdtsc() - begin;
		const uint32_t ns = judge(t, took);
		double usual = (double)took;

		l->clock_ns += TURN_NS;
		idle = n ? 0 : idle + 1;
		if (!n)
			continue;
		t->r->looked_max = n > t->r->looked_max ? n : t->r->looked_max;
		t->least[t->at] = ns < t->least[t->at] ? ns : t->least[t->at];
		t->at++;
		if (ns == GONE)
			continue;
		tsc += took;
		t->turn[t->n_turn++] = ns;
		usual = t->usual_tsc && usual > 2 * t->usual_tsc ? 2 * t->usual_tsc : usual;
		t->usual_tsc += (usual - t->usual_tsc) / (t->usual_tsc ? 64 : 1);
		control(t);
	}
	t->r->tsc += tsc;
}

static void run(struct turns *t)
{
	struct load *l = t->l;
	const struct cgn_counters *c = &l->worker->counters;
	uint64_t mappings_tsc;

	l->fill_end = l->n;
	while (l->fill_at < l->fill_end && load_prepare(l)) {
		load_run(l);
		load_verify(l);
	}
	t->at = 0;
	t->switches = own_switches();
	l->clock_ns += ENDED_NS;
	phase(t, &c->mappings);
	mappings_tsc = t->r->tsc;
	l->clock_ns += RESTED_NS;
	phase(t, &c->ports_resting);
	phase(t, &c->blocks_held);
	t->r->tsc = mappings_tsc;
	t->r->expired += c->mappings_expired;
	load_verify(l); // what the worker asked its neighbours meanwhile
}

static int by_value(const void *a, const void *b)
{
	const uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static struct turns_quantiles quantiles(uint32_t *ns, uint64_t n)
{
	if (!n)
		return (struct turns_quantiles){0};
	qsort(ns, n, sizeof(*ns), by_value);
	while (n > 1 && ns[n - 1] == GONE) // interrupted each time
		n--;
	return (struct turns_quantiles){
		ns[n / 2], ns[n - 1 - n / 100], ns[n - 1 - n / 1000], ns[n - 1]};
}

void turns_run(struct setup *s, struct load *l, struct turns_result *r)
{
	struct turns t = {.l = l, .r = r, .room = l->n / 4 + 65536};
	const struct own before = own_now();

	t.least = malloc(t.room * sizeof(*t.least));
	t.turn = malloc(TURNS_RUNS * t.room * sizeof(*t.turn));
	t.control = malloc(TURNS_RUNS * t.room * sizeof(*t.control));
	if (!t.least || !t.turn || !t.control)
		fail("out of memory");
	memset(t.least, 0xff, t.room * sizeof(*t.least));
	memset(t.turn, 0xff, TURNS_RUNS * t.room * sizeof(*t.turn));
	memset(t.control, 0xff, TURNS_RUNS * t.room * sizeof(*t.control));
	t.steps_per_tsc = steps_per_tsc();
	r->same = true;
	for (unsigned i = 0; i < TURNS_RUNS; i++) {
		if (i)
			setup_renew(s, l);
		run(&t);
		r->same = r->same && (!i || t.at == r->n);
		r->n = t.at;
	}
	r->own = own_now().steal_ms == before.steal_ms;
	r->turn = quantiles(t.turn, t.n_turn);
	r->control = quantiles(t.control, t.n_control);
	r->least = quantiles(t.least, r->n);
	free(t.least);
	free(t.turn);
	free(t.control);
}
