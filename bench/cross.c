// SPDX-License-Identifier: BSD-3-Clause
#include "cross.h"
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_pause.h>
#include "own.h"
#include "slice.h"

#define ROUNDS 2000
#define SPINS 100000

// Frames that a worker receives, whoever made them. Written by its thread alone.
struct source {
	struct rte_mbuf **frame;
	uint32_t n, at, left;
} __attribute__((aligned(2 * CGN_CACHE_LINE)));

static struct source source[2][SIDES];
static _Alignas(2 * CGN_CACHE_LINE) atomic_uint n_waiting;
static _Alignas(2 * CGN_CACHE_LINE) atomic_bool is_over;

static uint16_t rx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	struct source *s = ctx;
	uint32_t got = s->n - s->at;

	got = got < n ? got : n;
	got = got < s->left ? got : s->left;
	if (!got)
		return 0;
	memcpy(m, s->frame + s->at, got * sizeof(*m));
	s->at += got;
	s->left -= got;
	return (uint16_t)got;
}

// Waits for the other thread, awake.
static void meet(void)
{
	static _Alignas(2 * CGN_CACHE_LINE) atomic_uint generation;
	const unsigned mine = atomic_load(&generation);

	if (atomic_fetch_add(&n_waiting, 1) == 1) {
		atomic_store(&n_waiting, 0);
		atomic_fetch_add(&generation, 1);
	}
	for (unsigned spins = 0; atomic_load(&generation) == mine; spins++) {
		rte_pause();
		if (spins > SPINS) // perhaps we have the CPU that the other one needs
			sched_yield();
	}
}

static void attach(struct load *l, uint32_t id)
{
	for (unsigned side = 0; side < SIDES; side++) {
		l->worker->port[side].rx = rx;
		l->worker->port[side].rx_ctx = &source[id][side];
	}
}

static void set(uint32_t id, struct load *from)
{
	for (unsigned side = 0; side < SIDES; side++)
		source[id][side] = (struct source){.frame = from ? from->ready[side] : NULL,
			.n = from ? from->n_ready[side] : 0};
}

static bool is_empty(uint32_t id)
{
	return source[id][0].at == source[id][0].n && source[id][1].at == source[id][1].n;
}

static void poll(struct load *l, uint32_t id, uint64_t clock_ns)
{
	source[id][0].left = source[id][1].left = opt.burst;
	worker_poll(l->worker, clock_ns);
}

static bool all_back(const struct load *l, uint32_t n)
{
	return l->n_done[0] + l->n_done[1] >= n;
}

// ---- one core

// A round of frames of load 1, which come in at worker `at`. Clocks of either worker.
static void turn_about(struct load *loads[2], uint32_t at, uint64_t tsc[2])
{
	struct load *l = loads[1];
	const uint32_t n = load_prepare(l);
	const uint64_t clock_ns = l->clock_ns, first = rte_rdtsc();

	set(0, at == 0 ? l : NULL);
	set(1, at == 1 ? l : NULL);
	tsc[0] = tsc[1] = 0;
	for (uint64_t a = first, b, c; !is_empty(at) || !all_back(l, n); a = c) {
		l->clock_ns = clock_ns + (uint64_t)((double)(a - first) * l->ns_per_tsc);
		b = a;
		if (at == 0) {
			poll(loads[0], 0, l->clock_ns);
			b = rte_rdtsc();
		}
		poll(l, 1, l->clock_ns);
		c = rte_rdtsc();
		tsc[0] += b - a;
		tsc[1] += c - b;
	}
	load_verify(l);
	loads[0]->clock_ns = l->clock_ns;
}

static void one_core(struct load *loads[2], uint64_t wall_tsc, struct cross_result *r)
{
	static double sender[ROUNDS], receiver[ROUNDS], alone[ROUNDS];
	const uint64_t begin = rte_rdtsc();

	do {
		const double n = opt.ahead;
		const uint64_t switches = own_switches();
		uint64_t over[2], own[2];

		turn_about(loads, 0, over);
		turn_about(loads, 1, own);
		sender[r->n_rounds] = (double)over[0] / n;
		receiver[r->n_rounds] = (double)over[1] / n;
		alone[r->n_rounds] = (double)own[1] / n;
		if (own_switches() == switches)
			r->n_rounds++;
		else
			r->n_discarded++;
	} while (r->n_rounds < ROUNDS && rte_rdtsc() - begin < wall_tsc);
	// without an undisturbed round the last one has to do
	r->sender = slice_median(sender, RTE_MAX(r->n_rounds, 1u));
	r->receiver = slice_median(receiver, RTE_MAX(r->n_rounds, 1u));
	r->alone = slice_median(alone, RTE_MAX(r->n_rounds, 1u));
}

// ---- two cores

// Clocks per packet of this worker's round, in which it receives frames of load `of`, made by this
// thread: as a device's driver would, it has them in its caches.
static double side_by_side(struct load *loads[2], uint32_t id, uint32_t of)
{
	struct load *l = loads[id];
	const uint32_t n = load_prepare(loads[of]);
	const uint64_t clock_ns = l->clock_ns;
	uint64_t begin, end;

	meet();
	set(id, loads[of]);
	meet();
	begin = end = rte_rdtsc();
	while (!is_empty(id) || !all_back(l, n)) {
		l->clock_ns = clock_ns + (uint64_t)((double)(end - begin) * l->ns_per_tsc);
		poll(l, id, l->clock_ns);
		end = rte_rdtsc();
	}
	meet();
	load_verify(l);
	return (double)(end - begin) / n;
}

static void two_cores(struct load *loads[2], uint32_t id, uint64_t wall_tsc, struct cross_result *r)
{
	static double foreign[2][ROUNDS], own[2][ROUNDS];
	const uint64_t begin = rte_rdtsc();
	unsigned n = 0;

	for (unsigned i = 0; i < ROUNDS; i++) {
		const uint64_t switches = own_switches();

		foreign[id][n] = side_by_side(loads, id, 1 - id);
		own[id][n] = side_by_side(loads, id, id);
		if (own_switches() == switches)
			n++;
		else
			r->n_discarded++;
		if (!id)
			atomic_store(&is_over, rte_rdtsc() - begin > wall_tsc);
		meet();
		if (atomic_load(&is_over))
			break;
	}
	r->both_foreign = slice_median(foreign[id], RTE_MAX(n, 1u));
	r->both_own = slice_median(own[id], RTE_MAX(n, 1u));
}

void cross_run(struct load *loads[2], uint32_t id, struct cross_result *r)
{
	const uint64_t wall = (uint64_t)(opt.seconds / 2 * (double)rte_get_tsc_hz());

	meet();
	attach(loads[id], id);
	meet();
	if (!id)
		one_core(loads, wall, r);
	meet();
	if (id) // its load has gone on
		loads[id]->arp_ns = 0;
	two_cores(loads, id, wall, r);
	meet();
	load_ports(loads[id]);
}
