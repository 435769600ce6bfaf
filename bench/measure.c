// SPDX-License-Identifier: BSD-3-Clause
#include "measure.h"
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_malloc.h>
#include "events.h"
#include "own.h"
#include "pace.h"
#include "setup.h"

#define FORWARD_SHARE 0.75 // of the time; the latency has the rest
#define STEAL_MS_MAX 0 // of a window that counts
#define DISCARDED_MAX 0.25 // likewise: rounds with a context switch
#define EXPIRE_SPAN_S 298 // mappings of --expire were last used over so long a time
#define PACKETS_TURN_NS 10240 // --packets: a turn of the worker's clock
#define WARM_S 0.005 // of a paced load, before it counts

static pthread_barrier_t barrier;
static _Atomic unsigned n_measuring;

void measure_init(unsigned n_workers)
{
	pthread_barrier_init(&barrier, NULL, n_workers);
	n_measuring = n_workers;
	scaling_init(n_workers);
}

// All workers begin at the same time. The last one in sets up what they count down.
static void together(void)
{
	pthread_barrier_wait(&barrier);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static uint64_t tsc_of(double seconds)
{
	return (uint64_t)(seconds * (double)rte_get_tsc_hz());
}

// ---- windows of rounds

struct window {
	uint64_t tsc, packets; // of undisturbed rounds
	uint64_t all_tsc, all_packets;
	unsigned rounds, discarded;
};

struct meter {
	struct load *load;
	struct result *result;
	struct events events;
};

// One round; counts in the window unless the thread lost its core in the middle.
static bool round_of(struct meter *m, struct window *win)
{
	struct load *l = m->load;
	const uint32_t n = load_prepare(l);
	uint64_t switches, tsc;
#ifdef CGN_STAGES
	struct stage_clock stages = l->worker->stages;
#endif

	if (!n)
		return false;
	switches = own_switches();
	events_start(&m->events);
	tsc = load_run(l);
	events_stop(&m->events);
	switches = own_switches() - switches;
	load_verify(l);
	win->rounds++;
	win->all_tsc += tsc;
	win->all_packets += n;
	m->result->all_packets += n;
	if (switches && !opt.packets) {
		win->discarded++;
#ifdef CGN_STAGES
		l->worker->stages = stages;
#endif
		return true;
	}
	win->tsc += tsc;
	win->packets += n;
	m->result->packets += n;
	if ((double)tsc / n < m->result->best_round)
		m->result->best_round = (double)tsc / n;
	return true;
}

// Rounds until wall_tsc or so many packets have passed; 0 is no limit. False: out of frames.
static bool window_of(struct meter *m, struct window *win, uint64_t wall_tsc, uint64_t packets)
{
	const uint64_t begin = rte_rdtsc();

	*win = (struct window){0};
	do {
		if (!round_of(m, win))
			return false;
		if (packets && win->all_packets >= packets)
			break;
	} while (!wall_tsc || rte_rdtsc() - begin < wall_tsc);
	return true;
}

static bool counts(const struct window *win, const struct own *before, const struct own *after)
{
	return win->packets && after->steal_ms - before->steal_ms <= STEAL_MS_MAX &&
		win->discarded <= DISCARDED_MAX * win->rounds;
}

static double per_packet(const struct window *win)
{
	return win->packets ? (double)win->tsc / (double)win->packets
			    : (double)win->all_tsc / (double)win->all_packets;
}

// Windows until WINDOWS of them count or n_max were tried.
static void windows_of(struct meter *m, uint64_t wall_tsc, uint64_t packets, unsigned n_max)
{
	struct result *r = m->result;
	double disturbed[WINDOWS_TRIED];
	const struct own first = own_now();
	struct own before = first, after = first;
	unsigned tried = 0;

	for (; tried < n_max && r->n_windows < WINDOWS; tried++) {
		struct window win;
		bool more = window_of(m, &win, wall_tsc, packets);

		after = own_now();
		if (opt.packets || counts(&win, &before, &after))
			r->cycles[r->n_windows++] = per_packet(&win);
		else if (win.all_packets)
			disturbed[r->n_disturbed++] = per_packet(&win);
		before = after;
		if (!more)
			break;
	}
	r->switches += after.switches - first.switches;
	r->steal_ms += after.steal_ms - first.steal_ms;
	r->own = r->n_windows > WINDOWS / 2;
	if (!r->own) {
		memcpy(r->cycles + r->n_windows, disturbed, r->n_disturbed * sizeof(double));
		r->n_windows += r->n_disturbed;
	}
	qsort(r->cycles, r->n_windows, sizeof(*r->cycles), by_value);
	r->cycles_per_packet = r->n_windows ? r->cycles[r->n_windows / 2] : 0;
}

// ---- before and after

#ifdef CGN_STAGES
// What a mark costs by itself.
static double mark_cost(void)
{
	struct stage_clock c = {0};
	double best = 1e9;

	for (unsigned i = 0; i < 1000; i++) {
		const uint64_t begin = rte_rdtsc();

		for (unsigned j = 0; j < 16; j++)
			stage_clock_mark(&c, (enum stage)(j % STAGE_COUNT));
		double each = (double)(rte_rdtsc() - begin) / 16;

		best = each < best ? each : best;
	}
	return best;
}
#endif

// Clocks per packet since the worker's were zero.
static void stages_of(struct meter *m, uint64_t n_packets)
{
#ifdef CGN_STAGES
	const struct stage_clock *c = &m->load->worker->stages;
	const double cost = mark_cost(), packets = (double)(n_packets ? n_packets : 1);

	for (unsigned i = 0; i < STAGE_COUNT; i++) {
		double tsc = (double)c->tsc[i] - (double)c->marks[i] * cost;

		m->result->stage[i] = tsc > 0 && i != STAGE_OUTSIDE ? tsc / packets : 0;
	}
#endif
}

static void meter_begin(struct meter *m)
{
	m->result->best_round = 1e9;
	m->result->packets = m->result->all_packets = 0;
	events_open(&m->events);
#ifdef CGN_STAGES
	memset(&m->load->worker->stages, 0, sizeof(m->load->worker->stages));
#endif
}

static void meter_end(struct meter *m)
{
	struct result *r = m->result;
	const double all = (double)(r->all_packets ? r->all_packets : 1);
	uint64_t n;

	r->instructions = events_read(&m->events, EVENT_INSTRUCTIONS, &n) ? (double)n / all : -1;
	r->cache_misses = events_read(&m->events, EVENT_CACHE_MISSES, &n) ? (double)n / all : -1;
	events_close(&m->events);
	stages_of(m, r->packets);
}

static void fill(struct load *l, uint64_t end)
{
	l->fill_end = end;
	while (l->fill_at < l->fill_end && load_prepare(l)) {
		load_run(l);
		load_verify(l);
	}
}

// ---- modes

// The last quarter, of subscribers that have none yet, into a table that is three quarters full.
static void measure_new(struct meter *m)
{
	struct load *l = m->load;
	struct result *r = m->result;
	const uint64_t quarter = l->n / 4 ? l->n / 4 : 1;
	uint64_t made, blocks;

	l->fill_first = l->n - quarter;
	fill(l, l->n - quarter);
	together();
	l->fill_end = l->n;
	made = l->worker->counters.mappings_created;
	blocks = l->worker->counters.blocks_allocated;
	meter_begin(m);
	windows_of(m, 0, (quarter + WINDOWS - 1) / WINDOWS, WINDOWS);
	meter_end(m);
	fill(l, l->n);
	made = l->worker->counters.mappings_created - made;
	r->blocks_lent = l->worker->counters.blocks_allocated - blocks;
	r->missing += quarter - made;
	r->new_per_second =
		r->cycles_per_packet > 0 ? (double)rte_get_tsc_hz() / r->cycles_per_packet : 0;
}

static void forward(struct meter *m)
{
	struct load *l = m->load;
	const uint64_t wall = tsc_of(opt.seconds * (opt.load_percent > 0 ? FORWARD_SHARE : 1));
	struct result *r = m->result;
	struct window warm;

	r->overhead = load_overhead(l);
	together();
	meter_begin(m);
	if (!opt.packets)
		window_of(m, &warm, wall / WINDOWS / 4, 0);
	meter_begin(m);
	windows_of(m, opt.packets ? 0 : wall / WINDOWS,
		opt.packets ? (opt.packets + WINDOWS - 1) / WINDOWS : 0, WINDOWS_TRIED);
	meter_end(m);
	// until the last one is done, so that all have had the same neighbours
	n_measuring--;
	while (n_measuring > 0)
		load_round(l);
}

// Value below which this share of a histogram of n lies.
static uint32_t quantile(const uint32_t *histogram, uint32_t size, uint64_t n, double share)
{
	uint64_t seen = 0;

	for (uint32_t i = 0; i < size; i++) {
		seen += histogram[i];
		if (seen && (double)seen >= share * (double)n)
			return i;
	}
	return size - 1;
}

static void latency_of(struct result *r, const struct pace *p)
{
	static const double share[3] = {0.5, 0.99, 0.999};

	for (uint32_t i = 0; i < LATENCY_NS_MAX; i++)
		r->latency_packets += p->histogram[i];
	for (unsigned i = 0; r->latency_packets && i < 3; i++)
		r->latency_ns[i] =
			quantile(p->histogram, LATENCY_NS_MAX, r->latency_packets, share[i]);
	r->latency_ns_max = p->longest_ns;
	r->latency_discarded = p->n_discarded;
	r->established = p->sum[0];
	r->fresh = p->sum[1];
	r->paced_s = (double)p->sum_tsc / (double)rte_get_tsc_hz();
}

// Stages are those of the flood. Packets received until now.
static uint64_t flood_begin(struct meter *m)
{
#ifdef CGN_STAGES
	memset(&m->load->worker->stages, 0, sizeof(m->load->worker->stages));
#endif
	return m->load->worker->counters.rx_packets;
}

static void measure_latency(struct meter *m)
{
	const uint64_t wall = tsc_of(opt.seconds * (1 - FORWARD_SHARE));
	const double hz = (double)rte_get_tsc_hz();
	struct load *l = m->load;
	struct result *r = m->result;
	struct pace *p = malloc(sizeof(*p));
	struct own before;
	uint64_t begin, received = 0;

	r->offered_mpps = opt.load_mpps > 0
		? opt.load_mpps
		: opt.load_percent / 100 * hz / r->cycles_per_packet / 1e6;
	if (opt.flood_percent > 0)
		r->fresh_mpps = opt.flood_percent / 100 * r->new_per_second / 1e6;
	if (!p || !pace_begin(p, l, r->offered_mpps, r->fresh_mpps))
		fail("out of memory");
	together();
	before = own_now();
	begin = rte_rdtsc();
	while (p->left_tsc - p->away_tsc < tsc_of(WARM_S) && pace_round(p, true))
		;
	if (opt.flood_percent > 0)
		received = flood_begin(m);
	while (pace_round(p, false) && rte_rdtsc() - begin < wall)
		;
	if (opt.flood_percent > 0)
		stages_of(m, l->worker->counters.rx_packets - received);
	p->takes_any = !p->sum_tsc;
	if (p->takes_any)
		pace_round(p, false);
	r->latency_own = !p->takes_any && own_now().steal_ms - before.steal_ms <= STEAL_MS_MAX;
	latency_of(r, p);
	pace_end(p);
	free(p);
}

// How many new mappings a second the worker makes when it does nothing else.
static double new_rate(struct load *l)
{
	uint64_t n = 0, tsc = 0, all = 0, all_tsc = 0, end = l->fill_at + l->n / 32 + 1;

	l->phase = LOAD_FILL;
	l->fill_end = end < l->n ? end : l->n;
	for (unsigned i = 0; i < OVERLOAD_ALL; i++) // it has been busy with others until now
		worker_poll(l->worker, l->clock_ns);
	while (l->fill_at < l->fill_end) {
		const uint64_t switches = own_switches();
		const uint32_t made = load_prepare(l);
		const uint64_t took = load_run(l);

		all += made;
		all_tsc += took;
		if (own_switches() == switches) { // nobody else's time
			n += made;
			tsc += took;
		}
		load_verify(l);
	}
	l->phase = LOAD_STEADY;
	if (!n) {
		n = all;
		tsc = all_tsc;
	}
	return n ? (double)n * (double)rte_get_tsc_hz() / (double)tsc : 0;
}

static void measure_steady(struct meter *m)
{
	struct load *l = m->load;

	if (opt.flood_percent >= 0) { // of a quarter of the mappings, of subscribers without any
		l->fill_first = l->n_live = l->n - l->n / 4;
		fill(l, l->n_live);
	} else
		fill(l, l->n);
	if (opt.direction == DIRECTION_HAIRPIN) {
		l->phase = LOAD_HAIRPIN_FILL;
		l->fill_at = 0;
		fill(l, l->n);
	}
	l->phase = opt.mode == MODE_BYPASS ? LOAD_BYPASS : LOAD_STEADY;
	l->turn_ns = opt.packets ? PACKETS_TURN_NS : 0;
	forward(m);
	if (opt.flood_percent >= 0)
		m->result->new_per_second = new_rate(l);
	if (opt.mode == MODE_DUMP) {
		dump_run(l, m->result->cycles_per_packet, &m->result->dump);
		m->result->missing += l->n - m->result->dump.whole_records;
	} else if (opt.load_percent > 0)
		measure_latency(m);
}

// Mappings of the second half were last used at times spread over EXPIRE_SPAN_S; then the clock
// goes so fast that the wanted share runs out while packets keep the first half alive.
static void measure_expire(struct meter *m)
{
	struct load *l = m->load;
	struct result *r = m->result;
	const double dying = (double)(l->n - l->n / 2);
	const double per_packet_ns = opt.expire_permille / 1000.0 * EXPIRE_SPAN_S * 1e9 / dying;
	const struct cgn_counters *c = &l->worker->counters;
	uint64_t expired, run_tsc, packets;

	l->turn_ns = (uint64_t)(EXPIRE_SPAN_S * 1e9 / ceil((double)l->n / opt.burst));
	fill(l, l->n);
	l->turn_ns = 1000;
	l->phase = LOAD_LIVE;
	for (uint64_t i = 0; i <= l->n / 2 / opt.ahead; i++)
		load_round(l); // the first half is fresh
	l->turn_ns = (uint64_t)(per_packet_ns * opt.burst);
	l->turn_ns = l->turn_ns ? l->turn_ns : 1;
	r->overhead = load_overhead(l);
	together();
	meter_begin(m);
	run_tsc = l->run_tsc;
	expired = c->mappings_expired;
	// no longer than there is something to run out
	packets = (uint64_t)(dying / (opt.expire_permille / 1000.0) / WINDOWS_TRIED);
	if (opt.packets && opt.packets / WINDOWS < packets)
		packets = opt.packets / WINDOWS;
	windows_of(m, opt.packets ? 0 : tsc_of(opt.seconds / WINDOWS), packets, WINDOWS_TRIED);
	meter_end(m);
	r->expired = c->mappings_expired - expired;
	r->expired_per_second =
		(double)r->expired * (double)rte_get_tsc_hz() / (double)(l->run_tsc - run_tsc);
}

static void measure_expire_all(struct meter *m, struct setup *setup)
{
	struct load *l = m->load;
	struct result *r = m->result;
	struct turns_result *t = &r->turns;

	turns_run(setup, l, t);
	r->own = t->own;
	r->expired = t->expired / TURNS_RUNS;
	r->missing += l->n - r->expired;
	r->cycles_per_packet = t->expired ? (double)t->tsc / (double)t->expired : 0;
	r->expired_per_second = (double)rte_get_tsc_hz() / r->cycles_per_packet;
}

static void measure_full(struct meter *m)
{
	struct full_result *r = &m->result->full;

	full_run(m->load, r);
	m->result->cycles_per_packet = r->step[FULL_STEPS - 2].cycles;
	m->result->own = true;
}

static void measure_scaling(struct meter *m)
{
	struct load *l = m->load;

	fill(l, l->n);
	l->phase = LOAD_STEADY;
	together();
	scaling_run(l, l->worker->id, &m->result->scaling);
	m->result->cycles_per_packet = m->result->scaling.together[m->result->scaling.n - 1];
	m->result->own = true;
}

static void measure_handoff(struct meter *m, struct load *peer)
{
	struct load *l = m->load;
	const uint32_t id = l->worker->id;
	struct cross_result *r = &m->result->cross;

	fill(l, l->n);
	l->phase = LOAD_STEADY;
	together();
	cross_run(id ? (struct load *[]){peer, l} : (struct load *[]){l, peer}, id, r);
	m->result->cycles_per_packet = r->both_foreign;
	m->result->own = true;
}

int measure_run(void *arg)
{
	struct measure *measure = arg;
	struct meter m = {.load = measure->load, .result = &measure->result, .events = {{-1, -1}}};
	struct load *l = m.load;
	struct result *r = m.result;

	r->instructions = r->cache_misses = -1;
	worker_begin(l->worker, 0);
	switch (opt.mode) {
	case MODE_NEW:
		measure_new(&m);
		break;
	case MODE_EXPIRE:
		measure_expire(&m);
		break;
	case MODE_EXPIRE_ALL:
		measure_expire_all(&m, measure->setup);
		break;
	case MODE_FULL:
		measure_full(&m);
		break;
	case MODE_SCALING:
		measure_scaling(&m);
		break;
	case MODE_HANDOFF:
		measure_handoff(&m, measure->peer);
		break;
	default:
		measure_steady(&m);
	}
	for (uint32_t i = 0; i < CGN_DROP_COUNT; i++)
		r->drops += l->worker->counters.drops[i];
	r->wrong = l->wrong;
	r->missing += l->received - l->returned;
	for (uint64_t k = 0; k < l->n_live; k++)
		r->missing += !l->external[k].known;
	return 0;
}
