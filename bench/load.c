// SPDX-License-Identifier: BSD-3-Clause
#include "load.h"
#include <arpa/inet.h>
#include <emmintrin.h>
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_prefetch.h>
#include "dataplane/path.h"
#include "pace.h"
#include "policies.h"

#define REMOTE 0xc6336401u // 198.51.100.1
#define REMOTE_PORT 53
#define FIRST_PORT 1024 // of a subscriber's hosts
#define HAIRPIN_STEP 1 // a mapping talks to that of the next subscriber
#define STEP 2654435761u // a prime: an order far from the subscribers' own
#define ARP_NS 5000000000ull

__extension__ typedef unsigned __int128 u128;

void load_init(struct load *l, uint32_t id, uint32_t ports_per)
{
	l->ports_per = ports_per;
	l->rnd = 0x9e3779b97f4a7c15ull + id;
	l->ns_per_tsc = 1e9 / (double)rte_get_tsc_hz();
}

void load_again(struct load *l)
{
	l->phase = LOAD_FILL;
	l->fill_at = 0;
	l->run_tsc = l->clock_ns = l->arp_ns = 0;
}

// ---- which mapping, and where it lies

static uint64_t next_random(struct load *l)
{
	l->rnd ^= l->rnd << 13; // xorshift64: only spreads packets
	l->rnd ^= l->rnd >> 7;
	l->rnd ^= l->rnd << 17;
	return l->rnd;
}

static uint64_t spread(uint64_t i, uint64_t n)
{
	return (uint64_t)(((u128)i * STEP) % n);
}

static uint64_t next_new(struct load *l)
{
	const uint64_t at = l->fill_at++;

	return at < l->fill_first
		? spread(at, l->fill_first)
		: l->fill_first + spread(at - l->fill_first, l->n - l->fill_first);
}

static uint64_t next_mapping(struct load *l)
{
	switch (l->phase) {
	case LOAD_BEYOND:
		return l->fill_at++;
	case LOAD_FILL:
	case LOAD_HAIRPIN_FILL:
		return next_new(l);
	case LOAD_LIVE:
		l->sweep = l->sweep + 1 < l->n / 2 ? l->sweep + 1 : 0;
		return opt.order == ORDER_SWEEP ? l->sweep : spread(l->sweep, l->n / 2);
	default:
		if (opt.order == ORDER_SWEEP) {
			l->sweep = l->sweep + 1 < l->n_live ? l->sweep + 1 : 0;
			return l->sweep;
		}
		return (uint64_t)(((u128)next_random(l) * l->n_live) >> 64);
	}
}

static void internal_of(const struct load *l, uint64_t k, be32_t *addr, be16_t *port)
{
	const uint64_t beyond = k - l->n; // LOAD_BEYOND: of one subscriber after the other

	if (cgn_unlikely(k >= l->n)) {
		*addr = htonl(l->sub[beyond % l->n_subs]);
		*port = htons((uint16_t)(FIRST_PORT + l->ports_per + beyond / l->n_subs));
		return;
	}
	*addr = htonl(l->sub[k / l->ports_per]);
	*port = htons((uint16_t)(FIRST_PORT + k % l->ports_per));
}

static uint64_t partner_of(const struct load *l, uint64_t k)
{
	uint64_t p = k + (uint64_t)HAIRPIN_STEP * l->ports_per;

	return p < l->n ? p : p % l->n;
}

static bool is_hairpin(const struct load *l)
{
	return opt.direction == DIRECTION_HAIRPIN && l->phase != LOAD_FILL;
}

// Ends of a frame of mapping k that comes in on this side.
static void ends_in(const struct load *l, uint64_t k, enum side side, struct frame_ends *e)
{
	if (side == SIDE_EXTERNAL) {
		*e = (struct frame_ends){htonl(REMOTE), l->external[k].addr, htons(REMOTE_PORT),
			l->external[k].port};
		return;
	}
	internal_of(l, k, &e->src, &e->sport);
	if (l->phase == LOAD_BYPASS) {
		e->dst = htonl(policies_bypassed(k));
		e->dport = htons(REMOTE_PORT);
	} else if (is_hairpin(l)) {
		const struct external *to = &l->external[partner_of(l, k)];

		e->dst = to->addr;
		e->dport = to->port;
	} else {
		e->dst = htonl(REMOTE);
		e->dport = htons(REMOTE_PORT);
	}
}

// Ends that it must have when it leaves by this side.
static void ends_out(const struct load *l, uint64_t k, enum side side, struct frame_ends *e)
{
	if (l->phase == LOAD_BYPASS) { // as it came in
		ends_in(l, k, SIDE_INTERNAL, e);
		return;
	}
	if (side == SIDE_EXTERNAL || is_hairpin(l)) {
		e->src = l->external[k].addr;
		e->sport = l->external[k].port;
	} else {
		e->src = htonl(REMOTE);
		e->sport = htons(REMOTE_PORT);
	}
	if (side == SIDE_EXTERNAL) {
		e->dst = htonl(REMOTE);
		e->dport = htons(REMOTE_PORT);
	} else {
		internal_of(l, is_hairpin(l) ? partner_of(l, k) : k, &e->dst, &e->dport);
	}
}

// ---- prepare

// CSIT's IMIX: 7 x 64, 4 x 570, 1 x 1518.
static uint32_t next_size(struct load *l)
{
	static const uint16_t imix[12] = {64, 570, 64, 64, 570, 64, 1518, 64, 570, 64, 64, 570};

	if (opt.packet_size)
		return opt.packet_size;
	l->imix = l->imix + 1 < 12 ? l->imix + 1 : 0;
	return imix[l->imix];
}

static bool take_buffers(struct load *l, struct rte_mbuf **m, uint32_t n)
{
	while (l->n_spare < n) {
		if (!(l->spare[l->n_spare] = rte_pktmbuf_alloc(l->mbufs)))
			return false;
		l->n_spare++;
	}
	l->n_spare -= n;
	memcpy(m, l->spare + l->n_spare, n * sizeof(*m));
	return true;
}

static void prepare_side(struct load *l, enum side side, uint32_t n)
{
	const uint8_t tcp_flags = l->phase <= LOAD_BEYOND ? TCP_SYN : TCP_ACK;
	uint32_t k[AHEAD_MAX];

	if (!take_buffers(l, l->ready[side], n))
		return; // none come back: the worker lost them, and `missing` will tell
	for (uint32_t i = 0; i < n; i++) {
		k[i] = (uint32_t)next_mapping(l);
		rte_prefetch0(&l->external[k[i] < l->n ? k[i] : 0]);
	}
	for (uint32_t i = 0; i < n; i++) {
		struct frame_ends ends;

		ends_in(l, k[i], side, &ends);
		frame_make(l->ready[side][i], next_size(l), opt.tcp, tcp_flags, k[i], 0, &ends);
	}
	for (uint32_t i = 0; opt.cold && i < n; i++) {
		const uint8_t *f = rte_pktmbuf_mtod(l->ready[side][i], const uint8_t *);

		for (uint32_t at = 0; at < l->ready[side][i]->data_len; at += 64)
			_mm_clflush(f + at);
	}
	l->n_ready[side] = n;
	l->received += n;
}

struct rte_mbuf *load_frame(struct load *l, enum side side, bool fresh, uint64_t stamp)
{
	const uint64_t k = fresh ? next_new(l) : next_mapping(l);
	struct frame_ends ends;
	struct rte_mbuf *m;

	if (!take_buffers(l, &m, 1))
		return NULL;
	ends_in(l, k, side, &ends);
	frame_make(m, next_size(l), opt.tcp, fresh ? TCP_SYN : TCP_ACK, (uint32_t)k, stamp, &ends);
	return m;
}

static void answer_arp(struct load *l, uint8_t ifc, uint32_t address)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->mbufs);

	if (!m)
		return;
	frame_make_arp(m, address);
	path_frames(l->worker, &m, 1, ifc, true);
}

// The next hops answer long before they are asked (NEIGH_FRESH_S).
void load_keep_neighbours(struct load *l)
{
	if (l->clock_ns < l->arp_ns)
		return;
	l->arp_ns = l->clock_ns + ARP_NS;
	answer_arp(l, 0, l->gateway[0]);
	answer_arp(l, 1, l->gateway[1]);
}

uint32_t load_prepare(struct load *l)
{
	uint32_t half = opt.ahead / 2 - opt.ahead / 2 % opt.burst;

	load_keep_neighbours(l);
	l->n_ready[0] = l->n_ready[1] = l->at[0] = l->at[1] = 0;
	if (l->phase <= LOAD_BEYOND) {
		uint64_t n = l->fill_end - l->fill_at;

		prepare_side(l, SIDE_INTERNAL, n < opt.ahead ? (uint32_t)n : opt.ahead);
	} else if (opt.direction == DIRECTION_MIX) {
		prepare_side(l, SIDE_INTERNAL, half ? half : opt.burst);
		prepare_side(l, SIDE_EXTERNAL, half ? half : opt.burst);
	} else {
		prepare_side(l, opt.direction == DIRECTION_IN ? SIDE_EXTERNAL : SIDE_INTERNAL,
			opt.ahead);
	}
	if (opt.cold)
		_mm_mfence();
	return l->n_ready[0] + l->n_ready[1];
}

// ---- run

// One burst per turn and interface, however often the worker asks.
static uint16_t give(struct load *l, struct rte_mbuf **m, uint16_t n, enum side side)
{
	uint32_t got = l->n_ready[side] - l->at[side];

	got = got < n ? got : n;
	got = got < l->left[side] ? got : l->left[side];
	memcpy(m, l->ready[side] + l->at[side], got * sizeof(*m));
	l->at[side] += got;
	l->left[side] -= got;
	return (uint16_t)got;
}

uint16_t load_rx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give(ctx, m, n, SIDE_INTERNAL);
}

uint16_t load_rx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give(ctx, m, n, SIDE_EXTERNAL);
}

static uint16_t take(struct load *l, struct rte_mbuf **m, uint16_t n, enum side side)
{
	const uint32_t at = l->n_done[side];

	if (n > DONE_MAX - at)
		n = (uint16_t)(DONE_MAX - at);
	memcpy(l->done[side] + at, m, n * sizeof(*m));
	l->n_done[side] = at + n;
	return n;
}

uint16_t load_tx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, SIDE_INTERNAL);
}

uint16_t load_tx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, SIDE_EXTERNAL);
}

void load_ports(struct load *l)
{
	struct worker_port *port = l->worker->port;

	port[SIDE_INTERNAL].rx = load_rx_internal;
	port[SIDE_INTERNAL].tx = load_tx_internal;
	port[SIDE_EXTERNAL].rx = load_rx_external;
	port[SIDE_EXTERNAL].tx = load_tx_external;
	for (unsigned side = 0; side < SIDES; side++)
		port[side].rx_ctx = port[side].tx_ctx = l;
}

uint64_t load_run(struct load *l)
{
	const uint64_t clock_ns = l->clock_ns;
	uint64_t now = rte_rdtsc();

	l->begin_tsc = now;
	do {
		l->left[0] = l->left[1] = opt.burst;
		l->clock_ns = l->turn_ns
			? l->clock_ns + l->turn_ns
			: clock_ns + (uint64_t)((double)(now - l->begin_tsc) * l->ns_per_tsc);
		worker_poll(l->worker, l->clock_ns);
		now = rte_rdtsc();
	} while (l->at[0] < l->n_ready[0] || l->at[1] < l->n_ready[1]);
	l->run_tsc += now - l->begin_tsc;
	return now - l->begin_tsc;
}

// ---- verify

static void verify_one(struct load *l, const struct frame *f, enum side side)
{
	const uint32_t k = frame_mapping(f);
	struct frame_ends ends;

	if (k >= l->n) {
		l->wrong++;
		return;
	}
	l->returned += l->phase == LOAD_FILL || k < l->n_live;
	if ((l->phase == LOAD_FILL || k >= l->n_live) && side == SIDE_EXTERNAL &&
		!l->external[k].known)
		l->external[k] = (struct external){f->ip.src, f->udp.sport, true};
	ends_out(l, k, side, &ends);
	l->wrong += !l->external[k].known || !frame_right(f, &ends);
}

void load_give_back(struct load *l, struct rte_mbuf **m, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++) {
		if (l->n_spare < 2 * AHEAD_MAX)
			l->spare[l->n_spare++] = m[i];
		else
			rte_pktmbuf_free(m[i]);
	}
}

void load_verify(struct load *l)
{
	for (unsigned side = 0; side < SIDES; side++) {
		const uint32_t n = l->n_done[side];

		for (uint32_t i = 0; i < n; i++) {
			const struct frame *f = rte_pktmbuf_mtod(l->done[side][i], struct frame *);
			uint32_t k = frame_mapping(f);

			rte_prefetch0(&l->external[k < l->n ? k : 0]);
		}
		for (uint32_t i = 0; i < n; i++) {
			const struct frame *f = rte_pktmbuf_mtod(l->done[side][i], struct frame *);

			if (f->ethertype == htons(0x0806))
				continue; // what a worker asks for itself
			verify_one(l, f, (enum side)side);
			if (l->pace)
				pace_note(l->pace, frame_mapping(f), frame_stamp(f),
					l->done_tsc[side][i]);
		}
		load_give_back(l, l->done[side], n);
		l->n_done[side] = 0;
	}
}

void load_round(struct load *l)
{
	load_prepare(l);
	load_run(l);
	load_verify(l);
}

double load_overhead(struct load *l)
{
	double best = 1e9;

	for (unsigned round = 0; round < 16; round++) {
		const uint32_t n = load_prepare(l);
		struct rte_mbuf *m[BATCH_MAX];
		const uint64_t begin = rte_rdtsc();
		uint64_t now = begin;

		while (l->at[0] < l->n_ready[0] || l->at[1] < l->n_ready[1]) {
			l->left[0] = l->left[1] = opt.burst;
			for (unsigned side = 0; side < SIDES; side++) {
				const burst_fn rx = l->worker->port[side].rx,
					       tx = l->worker->port[side].tx;

				for (uint16_t got; (got = rx(l, m, BURST_MAX)) > 0;)
					tx(l, m, got);
			}
			now = rte_rdtsc();
		}
		if ((double)(now - begin) / n < best)
			best = (double)(now - begin) / n;
		for (unsigned side = 0; side < SIDES; side++) {
			load_give_back(l, l->done[side], l->n_done[side]);
			l->n_done[side] = 0;
		}
		l->received -= n;
	}
	return best;
}
