// SPDX-License-Identifier: BSD-3-Clause
#include "gen_engine.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <rte_cycles.h>
#include <rte_ethdev.h>
#include "frame.h"
#include "gen_options.h"

#define BURST 32
#define RECEIVE 64
#define FIND_S 10
#define STALL_S 0.05 // nothing came back for so long: what is under way is lost
#define LATE_S 0.001 // later than this, and than a window: the generator sends less than told
#define FILL_S_MAX 120

volatile sig_atomic_t gen_stop;

int gen_create(struct gen *g)
{
	const uint64_t n = (uint64_t)gen_opt.n_subscribers * gen_opt.n_ports;

	g->n_flows = gen_flows();
	g->rnd = 0x9e3779b97f4a7c15ull;
	g->ns_per_tsc = 1e9 / (double)rte_get_tsc_hz();
	g->endpoint = calloc(n, sizeof(*g->endpoint));
	g->out_ns = calloc(GEN_HISTOGRAM, sizeof(*g->out_ns));
	g->round_ns = calloc(GEN_HISTOGRAM, sizeof(*g->round_ns));
	g->last_stamp = calloc(g->n_flows, sizeof(*g->last_stamp));
	return g->endpoint && g->last_stamp && g->out_ns && g->round_ns ? 0 : -ENOMEM;
}

void gen_destroy(struct gen *g)
{
	free(g->endpoint);
	free(g->last_stamp);
	free(g->out_ns);
	free(g->round_ns);
}

static uint64_t tsc_of(double seconds)
{
	return (uint64_t)(seconds * (double)rte_get_tsc_hz());
}

// ---- ARP

struct __attribute__((packed, aligned(2))) arp {
	uint8_t dst[6], src[6];
	be16_t ethertype, hardware, protocol;
	uint8_t hardware_len, protocol_len;
	be16_t operation;
	uint8_t sender_mac[6];
	be32_t sender __attribute__((packed));
	uint8_t target_mac[6];
	be32_t target __attribute__((packed));
};

static void send_arp(struct gen *g, unsigned side, uint16_t operation, const uint8_t *to,
	be32_t sender, be32_t target)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(g->pool);
	struct arp *a = m ? (struct arp *)rte_pktmbuf_append(m, 60) : NULL;

	if (!a)
		return;
	memset(a, 0, 60);
	memcpy(a->dst, to, 6);
	memcpy(a->src, g->mac[side], 6);
	a->ethertype = htons(0x0806);
	a->hardware = htons(1);
	a->protocol = htons(0x0800);
	a->hardware_len = 6;
	a->protocol_len = 4;
	a->operation = htons(operation);
	memcpy(a->sender_mac, g->mac[side], 6);
	a->sender = sender;
	if (operation == 2)
		memcpy(a->target_mac, to, 6);
	a->target = target;
	if (!rte_eth_tx_burst(g->port[side], 0, &m, 1))
		rte_pktmbuf_free(m);
}

// Whoever is asked for lives here, but for the NAT.
static void answer_arp(struct gen *g, unsigned side, const struct arp *a)
{
	if (a->operation == htons(2) && a->sender == htonl(gen_opt.nat[side])) {
		memcpy(g->nat_mac[side], a->sender_mac, 6);
		g->nat_known[side] = true;
	} else if (a->operation == htons(1) && a->target != a->sender &&
		a->target != htonl(gen_opt.nat[side])) {
		uint8_t to[6];

		memcpy(to, a->sender_mac, 6);
		send_arp(g, side, 2, to, a->target, a->sender);
	}
}

// ---- what comes out

static bool is_ours(const struct rte_mbuf *m, const struct frame *f)
{
	return rte_pktmbuf_data_len(m) >= 60 && f->ethertype == htons(0x0800) &&
		f->ip.ver_ihl == 0x45 && ntohs(f->ip.total_len) + 14u <= rte_pktmbuf_data_len(m) &&
		ntohs(f->ip.total_len) >= 46 &&
		(f->ip.proto == CGN_PROTO_TCP
				? f->tcp.magic == FRAME_MAGIC
				: f->ip.proto == CGN_PROTO_UDP && f->udp.magic == FRAME_MAGIC);
}

static void ends_of(uint64_t flow, struct frame_ends *e, uint64_t *endpoint)
{
	const uint64_t destination = flow % gen_opt.n_destinations;

	*endpoint = flow / gen_opt.n_destinations;
	*e = (struct frame_ends){
		.src = htonl((uint32_t)(gen_opt.subscriber + *endpoint / gen_opt.n_ports)),
		.dst = htonl((uint32_t)(gen_opt.destination + destination)),
		.sport = htons((uint16_t)(gen_opt.port + *endpoint % gen_opt.n_ports)),
		.dport = htons(gen_opt.destination_port)};
}

static void note(uint32_t *histogram, const struct gen *g, uint64_t stamp)
{
	const double ns = (double)(rte_rdtsc() - stamp) * g->ns_per_tsc / GEN_STEP_NS;

	histogram[ns < GEN_HISTOGRAM ? (uint32_t)ns : GEN_HISTOGRAM - 1]++;
}

// The other way round: what the far end would answer.
static void turn(struct gen *g, struct frame *f)
{
	const struct frame_ends e = {f->ip.dst, f->ip.src, f->udp.dport, f->udp.sport};

	memcpy(f->dst, f->src, 6);
	memcpy(f->src, g->mac[OUTSIDE], 6);
	f->ip.src = e.src; // no sum changes by swapping
	f->ip.dst = e.dst;
	f->udp.sport = e.sport;
	f->udp.dport = e.dport;
	if (f->ip.proto == CGN_PROTO_TCP && f->tcp.flags == TCP_SYN) {
		f->tcp.flags = TCP_SYN | TCP_ACK;
		frame_set_l4_sum(f);
	}
}

// A frame that left the NAT outside. True: it is turned and goes back.
static bool judge_out(struct gen *g, struct frame *f)
{
	const uint32_t flow = frame_mapping(f);
	struct gen_endpoint *endpoint;
	struct frame_ends e;
	uint64_t at;

	if (frame_stamp(f) < g->begin_tsc) {
		g->counts.late++;
		return false;
	}
	if (flow >= g->n_flows) {
		g->counts.wrong++;
		return false;
	}
	ends_of(flow, &e, &at);
	endpoint = &g->endpoint[at];
	if (f->ip.src == e.src || f->ip.dst != e.dst || f->udp.dport != e.dport ||
		!frame_sums_right(f)) {
		g->counts.wrong++;
		return false;
	}
	g->counts.received++;
	if (endpoint->known && (endpoint->address != f->ip.src || endpoint->port != f->udp.sport))
		g->counts.moved++;
	*endpoint = (struct gen_endpoint){f->ip.src, f->udp.sport, true};
	g->counts.reordered += frame_stamp(f) < g->last_stamp[flow];
	g->last_stamp[flow] = frame_stamp(f);
	note(g->out_ns, g, frame_stamp(f));
	if (gen_opt.reflect)
		turn(g, f);
	return gen_opt.reflect;
}

// A frame that came back to the inside.
static void judge_return(struct gen *g, const struct frame *f)
{
	const uint32_t flow = frame_mapping(f);
	struct frame_ends e;
	uint64_t at;

	if (frame_stamp(f) < g->begin_tsc) {
		g->counts.late++;
		return;
	}
	if (flow >= g->n_flows) {
		g->counts.return_wrong++;
		return;
	}
	ends_of(flow, &e, &at);
	if (f->ip.dst != e.src || f->ip.src != e.dst || f->udp.dport != e.sport ||
		f->udp.sport != e.dport || !frame_sums_right(f)) {
		g->counts.return_wrong++;
		return;
	}
	g->counts.returned++;
	note(g->round_ns, g, frame_stamp(f));
}

// Somebody else's packets: TCP and UDP over IPv4, whole ones.
static bool can_be_turned(const struct rte_mbuf *m, const struct frame *f)
{
	return rte_pktmbuf_data_len(m) >= 60 && f->ethertype == htons(0x0800) &&
		f->ip.ver_ihl == 0x45 && !(f->ip.frag & htons(0x3fff)) &&
		ntohs(f->ip.total_len) >= 28 &&
		ntohs(f->ip.total_len) + 14u <= rte_pktmbuf_data_len(m) &&
		(f->ip.proto == CGN_PROTO_TCP || f->ip.proto == CGN_PROTO_UDP);
}

static void receive(struct gen *g, unsigned side)
{
	struct rte_mbuf *m[RECEIVE], *back[RECEIVE];
	const uint16_t n = rte_eth_rx_burst(g->port[side], 0, m, RECEIVE);
	uint16_t n_back = 0, taken;

	for (uint16_t i = 0; i < n; i++) {
		struct frame *f = rte_pktmbuf_mtod(m[i], struct frame *);
		bool goes_back = false;

		if (f->ethertype == htons(0x0806) && rte_pktmbuf_data_len(m[i]) >= 42)
			answer_arp(g, side, (const struct arp *)f);
		else if (gen_opt.mode == GEN_REFLECT && can_be_turned(m[i], f)) {
			g->counts.received++;
			turn(g, f);
			goes_back = true;
		} else if (!is_ours(m[i], f))
			g->counts.alien++;
		else if (side == OUTSIDE)
			goes_back = judge_out(g, f);
		else
			judge_return(g, f);
		if (goes_back)
			back[n_back++] = m[i];
		else
			rte_pktmbuf_free(m[i]);
	}
	taken = n_back ? rte_eth_tx_burst(g->port[side], 0, back, n_back) : 0;
	g->counts.reflected += taken;
	if (taken < n_back)
		rte_pktmbuf_free_bulk(back + taken, n_back - taken);
}

// ---- what goes in

static uint64_t next_flow(struct gen *g, bool in_order)
{
	if (in_order) {
		g->at = g->at < g->n_flows ? g->at : 0;
		return g->at++;
	}
	g->rnd ^= g->rnd << 13; // xorshift64: only spreads packets
	g->rnd ^= g->rnd >> 7;
	g->rnd ^= g->rnd << 17;
	return g->rnd % g->n_flows;
}

// Sends up to n frames; the device says how many.
static void send_burst(struct gen *g, unsigned n, bool first_packets)
{
	struct rte_mbuf *m[BURST];
	uint16_t taken;

	if (rte_pktmbuf_alloc_bulk(g->pool, m, n)) {
		g->counts.refused += n; // all are under way somewhere
		return;
	}
	for (unsigned i = 0; i < n; i++) {
		const uint64_t flow = next_flow(g, first_packets || gen_opt.sweep);
		struct frame_ends e;
		uint64_t at;
		struct frame *f;

		ends_of(flow, &e, &at);
		frame_make(m[i], gen_opt.packet_size, gen_opt.tcp,
			first_packets ? TCP_SYN : TCP_ACK, (uint32_t)flow, rte_rdtsc(), &e);
		f = rte_pktmbuf_mtod(m[i], struct frame *);
		memcpy(f->dst, g->nat_mac[INSIDE], 6);
		memcpy(f->src, g->mac[INSIDE], 6);
	}
	taken = rte_eth_tx_burst(g->port[INSIDE], 0, m, (uint16_t)n);
	g->counts.sent += taken;
	g->counts.refused += n - taken;
	if (taken < n) {
		rte_pktmbuf_free_bulk(m + taken, n - taken);
		if (first_packets)
			g->at -= n - taken; // these flows again
	}
}

bool gen_find_nat(struct gen *g, unsigned first)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	const uint64_t end = rte_rdtsc() + tsc_of(FIND_S);
	uint64_t ask = 0;

	while (!(g->nat_known[first] && g->nat_known[OUTSIDE]) && !gen_stop && rte_rdtsc() < end) {
		if (rte_rdtsc() >= ask) {
			for (unsigned i = first; i < SIDES; i++)
				send_arp(g, i, 1, all, htonl(gen_opt.address[i]),
					htonl(gen_opt.nat[i]));
			ask = rte_rdtsc() + tsc_of(0.2);
		}
		for (unsigned i = first; i < SIDES; i++)
			receive(g, i); // it may ask for us
	}
	return g->nat_known[first] && g->nat_known[OUTSIDE];
}

// How many frames are due now.
struct pace {
	double interval, next; // TSC; interval 0 = by window
	uint64_t lost, last_received, last_tsc; // by window: given up; when something came
};

static unsigned due(struct gen *g, struct pace *p, uint64_t now)
{
	double n;

	if (p->interval > 0) {
		n = ((double)now - p->next) / p->interval;
		if (n < 0)
			return 0;
		if (n > gen_opt.window && n * p->interval > (double)tsc_of(LATE_S)) {
			p->next = (double)now;
			n = 1;
		}
		n = n + 1 < BURST ? n + 1 : BURST;
		n = (unsigned)n;
		p->next += n * p->interval;
		return (unsigned)n;
	}
	if (g->counts.received != p->last_received) {
		p->last_received = g->counts.received;
		p->last_tsc = now;
	}
	n = (double)(g->counts.received + g->counts.wrong + p->lost + gen_opt.window) -
		(double)g->counts.sent;
	if (n <= 0 && now - p->last_tsc > tsc_of(STALL_S)) {
		p->lost = g->counts.sent - g->counts.received - g->counts.wrong;
		p->last_tsc = now;
	}
	return n <= 0 ? 0 : n < BURST ? (unsigned)n : BURST;
}

static bool all_back(const struct gen *g)
{
	return g->counts.received + g->counts.wrong >= g->counts.sent &&
		g->counts.returned + g->counts.return_wrong >= g->counts.reflected;
}

void gen_run(struct gen *g, double rate_pps, double seconds, bool first_packets)
{
	const double hz = (double)rte_get_tsc_hz();
	const uint64_t begin = rte_rdtsc();
	const uint64_t end = begin + tsc_of(seconds > 0 ? seconds : FILL_S_MAX);
	struct pace pace = {.interval = rate_pps > 0 ? hz / rate_pps : 0,
		.next = (double)begin,
		.last_tsc = begin};
	uint64_t now = begin;

	memset(&g->counts, 0, sizeof(g->counts));
	g->begin_tsc = begin;
	memset(g->out_ns, 0, GEN_HISTOGRAM * sizeof(*g->out_ns));
	memset(g->round_ns, 0, GEN_HISTOGRAM * sizeof(*g->round_ns));
	if (first_packets)
		g->at = 0;
	while (now < end && !gen_stop && !(first_packets && g->at >= g->n_flows)) {
		unsigned n = due(g, &pace, now);

		if (first_packets && n > g->n_flows - g->at)
			n = (unsigned)(g->n_flows - g->at);
		if (n)
			send_burst(g, n, first_packets);
		receive(g, OUTSIDE);
		receive(g, INSIDE);
		now = rte_rdtsc();
	}
	g->counts.seconds = (double)(now - begin) / hz;
	for (uint64_t last = now + tsc_of(gen_opt.drain_s); now < last && !all_back(g);
		now = rte_rdtsc()) {
		receive(g, OUTSIDE);
		receive(g, INSIDE);
	}
}

void gen_reflect(struct gen *g, double seconds)
{
	const uint64_t begin = rte_rdtsc(), end = begin + tsc_of(seconds);

	// counts go on: packets came while the NAT's address was asked for, too
	while (!gen_stop && (seconds <= 0 || rte_rdtsc() < end))
		receive(g, OUTSIDE);
	g->counts.seconds = (double)(rte_rdtsc() - begin) / (double)rte_get_tsc_hz();
}

// ---- afterwards

static int by_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t gen_shared(const struct gen *g)
{
	const uint64_t n = (uint64_t)gen_opt.n_subscribers * gen_opt.n_ports;
	uint64_t *all = malloc(n * sizeof(*all)), n_known = 0, shared = 0;

	if (!all)
		return 0;
	for (uint64_t i = 0; i < n; i++) {
		if (g->endpoint[i].known)
			all[n_known++] =
				(uint64_t)g->endpoint[i].address << 16 | g->endpoint[i].port;
	}
	qsort(all, n_known, sizeof(*all), by_u64);
	for (uint64_t i = 1; i < n_known; i++)
		shared += all[i] == all[i - 1];
	free(all);
	return shared;
}

uint64_t gen_quantile(const uint32_t *histogram, double share)
{
	uint64_t total = 0, seen = 0;

	for (uint32_t i = 0; i < GEN_HISTOGRAM; i++)
		total += histogram[i];
	for (uint32_t i = 0; total && i < GEN_HISTOGRAM; i++) {
		seen += histogram[i];
		if (seen && (double)seen >= share * (double)total)
			return (uint64_t)i * GEN_STEP_NS;
	}
	return 0;
}
