// SPDX-License-Identifier: BSD-3-Clause
#include "pace.h"
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include "own.h"

#define TURN_TSC 30000 // a turn that takes longer may have been interrupted
#define TURN_TSC_MAX 1000000 // one that takes so long has been

static uint64_t clock_of(const struct pace *p, uint64_t tsc)
{
	return tsc - p->away_tsc;
}

// ---- what the worker calls

// Into the queue with all that has arrived by now.
static void arrive(struct pace *p, struct pace_side *s, uint64_t now)
{
	for (; s->at < s->n && s->due[s->at] <= now; s->at++) {
		struct pace_count *c = s->fresh[s->at] ? &p->fresh : &p->established;

		c->arrived++;
		if (s->n_queued == PACE_QUEUE) {
			c->lost++;
			p->lost[p->n_lost++] = s->frame[s->at];
			continue;
		}
		s->queue[(s->first + s->n_queued++) % PACE_QUEUE] = s->frame[s->at];
		p->load->received += !s->fresh[s->at];
	}
}

static uint16_t give(struct pace *p, struct rte_mbuf **m, uint16_t n, enum side side)
{
	const uint64_t tsc = rte_rdtsc();
	struct pace_side *s = &p->side[side];
	uint16_t got = 0;

	arrive(p, s, clock_of(p, tsc));
	for (; got < n && s->n_queued; s->n_queued--) {
		m[got++] = s->queue[s->first];
		s->first = (s->first + 1) % PACE_QUEUE;
	}
	p->away_tsc += rte_rdtsc() - tsc;
	return got;
}

static uint16_t rx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give(ctx, m, n, SIDE_INTERNAL);
}

static uint16_t rx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give(ctx, m, n, SIDE_EXTERNAL);
}

static uint16_t take(struct pace *p, struct rte_mbuf **m, uint16_t n, enum side side)
{
	const uint64_t tsc = rte_rdtsc();
	struct load *l = p->load;
	const uint32_t at = l->n_done[side];

	if (n > DONE_MAX - at)
		n = (uint16_t)(DONE_MAX - at);
	memcpy(l->done[side] + at, m, n * sizeof(*m));
	l->n_done[side] = at + n;
	for (uint16_t i = 0; i < n; i++)
		l->done_tsc[side][at + i] = clock_of(p, tsc);
	p->away_tsc += rte_rdtsc() - tsc;
	return n;
}

static uint16_t tx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, SIDE_INTERNAL);
}

static uint16_t tx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, SIDE_EXTERNAL);
}

// ---- rounds

// Makes frames until there are opt.ahead that have not arrived. False: no more new flows.
static bool prepare(struct pace *p, enum side side)
{
	struct pace_side *s = &p->side[side];
	struct load *l = p->load;
	uint32_t n = s->n - s->at;

	memmove(s->frame, s->frame + s->at, n * sizeof(*s->frame));
	memmove(s->due, s->due + s->at, n * sizeof(*s->due));
	memmove(s->fresh, s->fresh + s->at, n * sizeof(*s->fresh));
	s->at = 0;
	s->n = n;
	for (; s->interval_tsc > 0 && s->n < opt.ahead; s->n++) {
		const bool fresh = side == SIDE_INTERNAL && p->fresh_interval_tsc > 0 &&
			p->fresh_tsc < s->next_tsc;
		double *next = fresh ? &p->fresh_tsc : &s->next_tsc;

		if (fresh && l->fill_at == l->n)
			return false;
		s->frame[s->n] = load_frame(l, side, fresh, (uint64_t)*next);
		if (!s->frame[s->n])
			return false;
		s->due[s->n] = (uint64_t)*next;
		s->fresh[s->n] = fresh;
		*next += fresh ? p->fresh_interval_tsc : s->interval_tsc;
	}
	return true;
}

// A turn of the worker. One in which the core was somebody else's takes no time, and spoils the round.
static void poll(struct pace *p)
{
	struct load *l = p->load;
	const uint64_t begin = clock_of(p, rte_rdtsc());
	uint64_t end, switches;

	l->clock_ns = p->clock_ns + (uint64_t)((double)begin * l->ns_per_tsc);
	worker_poll(l->worker, l->clock_ns);
	end = rte_rdtsc();
	if (cgn_likely(clock_of(p, end) - begin < TURN_TSC))
		return;
	switches = own_switches();
	if (switches != p->switches || clock_of(p, end) - begin > TURN_TSC_MAX) {
		p->switches = switches;
		p->disturbed = true;
		p->away_tsc += clock_of(p, end) - begin;
	}
	p->away_tsc += rte_rdtsc() - end;
}

static void run(struct pace *p)
{
	p->away_tsc += rte_rdtsc() - p->left_tsc;
	do
		poll(p);
	while ((!p->side[0].n || p->side[0].at < p->side[0].n) &&
		(!p->side[1].n || p->side[1].at < p->side[1].n));
	p->left_tsc = rte_rdtsc();
}

static void add(
	struct pace_count *sum, const struct pace_count *now, const struct pace_count *before)
{
	sum->arrived += now->arrived - before->arrived;
	sum->lost += now->lost - before->lost;
	sum->returned += now->returned - before->returned;
}

static void commit(struct pace *p, uint64_t tsc)
{
	add(&p->sum[0], &p->established, &p->before[0]);
	add(&p->sum[1], &p->fresh, &p->before[1]);
	p->sum_tsc += tsc;
	for (uint32_t i = 0; i < p->n_notes; i++) {
		const uint32_t ns = p->note_ns[i];

		p->histogram[ns < LATENCY_NS_MAX ? ns : LATENCY_NS_MAX - 1]++;
		p->longest_ns = ns > p->longest_ns ? ns : p->longest_ns;
	}
}

bool pace_round(struct pace *p, bool warm)
{
	const bool more = prepare(p, SIDE_INTERNAL) && prepare(p, SIDE_EXTERNAL);
	uint64_t begin, switches;

	load_keep_neighbours(p->load);
	if (!more)
		return false;
	p->before[0] = p->established;
	p->before[1] = p->fresh;
	p->n_notes = p->n_lost = 0;
	begin = clock_of(p, p->left_tsc);
	p->switches = switches = own_switches();
	p->disturbed = false;
	run(p);
	p->disturbed = p->disturbed || own_switches() != switches;
	load_verify(p->load);
	load_give_back(p->load, p->lost, p->n_lost);
	// what waited meanwhile is in the next round, too
	if (!warm && (p->takes_any || (!p->disturbed && !p->was_disturbed)))
		commit(p, clock_of(p, p->left_tsc) - begin);
	else
		p->n_discarded += !warm;
	p->was_disturbed = p->disturbed;
	return true;
}

void pace_note(struct pace *p, uint64_t k, uint64_t stamp, uint64_t done)
{
	const double ns = (double)(done - stamp) * p->load->ns_per_tsc;

	if (k >= p->load->n_live) {
		p->fresh.returned++;
		return;
	}
	p->established.returned++;
	p->note_ns[p->n_notes++] = ns < UINT32_MAX ? (uint32_t)ns : UINT32_MAX;
}

// ---- begin and end

bool pace_begin(struct pace *p, struct load *l, double mpps, double fresh_mpps)
{
	const double hz = (double)rte_get_tsc_hz(), sides = opt.direction == DIRECTION_MIX ? 2 : 1;
	struct worker_port *port = l->worker->port;

	memset(p, 0, sizeof(*p));
	p->histogram = calloc(LATENCY_NS_MAX, sizeof(*p->histogram));
	if (!p->histogram)
		return false;
	p->load = l;
	p->clock_ns = l->clock_ns;
	for (unsigned s = 0; s < SIDES; s++) {
		if (sides == 2 ||
			s == (opt.direction == DIRECTION_IN ? SIDE_EXTERNAL : SIDE_INTERNAL))
			p->side[s].interval_tsc = hz / (mpps * 1e6) * sides;
		p->side[s].next_tsc = p->side[s].interval_tsc / (s + 1);
	}
	if (fresh_mpps > 0)
		p->fresh_interval_tsc = p->fresh_tsc = hz / (fresh_mpps * 1e6);
	l->pace = p;
	port[0].rx = rx_internal;
	port[0].tx = tx_internal;
	port[1].rx = rx_external;
	port[1].tx = tx_external;
	for (unsigned s = 0; s < SIDES; s++)
		port[s].rx_ctx = port[s].tx_ctx = p;
	p->left_tsc = rte_rdtsc();
	p->away_tsc = p->left_tsc;
	return true;
}

void pace_end(struct pace *p)
{
	struct load *l = p->load;

	for (unsigned s = 0; s < SIDES; s++) {
		load_give_back(l, p->side[s].frame + p->side[s].at, p->side[s].n - p->side[s].at);
		p->side[s].n = p->side[s].at;
	}
	p->n_notes = 0;
	while (p->side[0].n_queued || p->side[1].n_queued) {
		poll(p);
		load_verify(l);
		p->n_notes = 0;
	}
	poll(p);
	load_verify(l);
	l->pace = NULL;
	load_ports(l);
	free(p->histogram);
	p->histogram = NULL;
}
