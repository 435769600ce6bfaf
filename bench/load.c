// SPDX-License-Identifier: BSD-3-Clause
#include "load.h"
#include <arpa/inet.h>
#include <string.h>
#include <rte_cycles.h>
#include "dataplane/csum.h"
#include "dataplane/path.h"

#define REMOTE 0xc6336401u // 198.51.100.1
#define REMOTE_PORT 53
#define FIRST_PORT 1024 // of a subscriber's hosts
#define HAIRPIN_STEP 1 // a mapping talks to that of the next subscriber

const uint8_t load_mac_ours[6] = {2, 0, 0, 0, 0, 1};
const uint8_t load_mac_theirs[6] = {2, 0, 0, 0, 0, 2};

__extension__ typedef unsigned __int128 u128;

struct __attribute__((packed, aligned(2))) frame {
	uint8_t dst[6], src[6];
	be16_t ethertype;
	struct ipv4 ip;
	union {
		struct {
			be16_t sport, dport, len, check;
			uint32_t mapping; // host order: ours alone
		} udp;
		struct {
			be16_t sport, dport;
			be32_t seq, ack;
			uint8_t off, flags;
			be16_t window, check, urgent;
			uint32_t mapping;
		} tcp;
	};
};

static uint64_t next_random(struct load *l)
{
	l->rnd ^= l->rnd << 13; // xorshift64: only spreads packets
	l->rnd ^= l->rnd >> 7;
	l->rnd ^= l->rnd << 17;
	return l->rnd;
}

static uint64_t random_mapping(struct load *l)
{
	return (uint64_t)(((u128)next_random(l) * l->n) >> 64);
}

static void internal_of(const struct load *l, uint64_t k, be32_t *addr, be16_t *port)
{
	*addr = htonl(l->sub[k / l->ports_per]);
	*port = htons((uint16_t)(FIRST_PORT + k % l->ports_per));
}

static uint64_t partner_of(const struct load *l, uint64_t k)
{
	uint64_t p = k + (uint64_t)HAIRPIN_STEP * l->ports_per;

	return p < l->n ? p : p - l->n;
}

static uint16_t l4_check(const struct frame *f, uint16_t l4_len)
{
	uint32_t sum = csum_sum(&f->ip.src, 8, 0);

	sum += htons(f->ip.proto);
	sum += htons(l4_len);
	return (uint16_t)~csum_fold(csum_sum(&f->udp, l4_len, sum));
}

static void make(struct load *l, struct rte_mbuf *m, uint64_t k, be32_t src, be16_t sport,
	be32_t dst, be16_t dport, uint8_t tcp_flags)
{
	const uint16_t len = (uint16_t)(l->packet_size - 4), ip_len = (uint16_t)(len - 14);
	struct frame *f;

	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->data_len = len;
	m->pkt_len = len;
	m->ol_flags = 0;
	f = rte_pktmbuf_mtod(m, struct frame *);
	memcpy(f->dst, load_mac_ours, 6);
	memcpy(f->src, load_mac_theirs, 6);
	f->ethertype = htons(0x0800);
	f->ip = (struct ipv4){.ver_ihl = 0x45,
		.total_len = htons(ip_len),
		.frag = htons(IPV4_DF),
		.ttl = 64,
		.proto = l->tcp ? CGN_PROTO_TCP : CGN_PROTO_UDP,
		.src = src,
		.dst = dst};
	f->ip.check = (be16_t)~csum_fold(csum_sum(&f->ip, sizeof(f->ip), 0));
	if (l->tcp) {
		f->tcp.sport = sport;
		f->tcp.dport = dport;
		f->tcp.seq = f->tcp.ack = 0;
		f->tcp.off = 5 << 4;
		f->tcp.flags = tcp_flags;
		f->tcp.window = 0xffff;
		f->tcp.check = f->tcp.urgent = 0;
		f->tcp.mapping = (uint32_t)k;
		f->tcp.check = l4_check(f, (uint16_t)(ip_len - 20));
	} else {
		f->udp.sport = sport;
		f->udp.dport = dport;
		f->udp.len = htons((uint16_t)(ip_len - 20));
		f->udp.check = 0;
		f->udp.mapping = (uint32_t)k;
		f->udp.check = l4_check(f, (uint16_t)(ip_len - 20));
		if (!f->udp.check)
			f->udp.check = 0xffff; // 0 would say that there is none
	}
}

static void make_out(struct load *l, struct rte_mbuf *m, uint64_t k, uint8_t tcp_flags)
{
	be32_t src;
	be16_t sport;

	internal_of(l, k, &src, &sport);
	if (l->phase == LOAD_FILL || l->direction != DIRECTION_HAIRPIN) {
		make(l, m, k, src, sport, htonl(REMOTE), htons(REMOTE_PORT), tcp_flags);
	} else {
		const struct external *to = &l->external[partner_of(l, k)];

		make(l, m, k, src, sport, to->addr, to->port, tcp_flags);
	}
}

static uint16_t give(struct load *l, struct rte_mbuf **m, uint16_t n, bool internal)
{
	const uint64_t begin = rte_rdtsc();
	uint16_t got = 0;

	if (l->phase == LOAD_FILL || l->phase == LOAD_HAIRPIN_FILL) {
		while (internal && got < n && l->fill_at < l->fill_end &&
			(m[got] = rte_pktmbuf_alloc(l->worker->mbufs)) != NULL) {
			// an order far from the subscribers' own: step by a prime
			uint64_t k = (uint64_t)(((u128)l->fill_at++ * 2654435761u) % l->n);

			make_out(l, m[got++], k, TCP_SYN);
		}
	} else if (l->phase == LOAD_STEADY) {
		if (internal ? l->direction == DIRECTION_IN
			     : l->direction == DIRECTION_OUT || l->direction == DIRECTION_HAIRPIN)
			return 0;
		if (rte_pktmbuf_alloc_bulk(l->worker->mbufs, m, n))
			return 0;
		for (got = 0; got < n; got++) {
			uint64_t k = random_mapping(l);

			if (internal)
				make_out(l, m[got], k, TCP_ACK);
			else
				make(l, m[got], k, htonl(REMOTE), htons(REMOTE_PORT),
					l->external[k].addr, l->external[k].port, TCP_ACK);
		}
	}
	l->received += got;
	l->burst_tsc = rte_rdtsc();
	l->aside_tsc += l->burst_tsc - begin;
	return got;
}

// One burst per poll and interface, however often the worker asks.
static uint16_t give_once(struct load *l, struct rte_mbuf **m, uint16_t n, bool internal)
{
	uint16_t got = l->left[internal] < n ? (uint16_t)l->left[internal] : n;

	l->left[internal] -= got;
	return got ? give(l, m, got, internal) : 0;
}

uint16_t load_rx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give_once(ctx, m, n, true);
}

uint16_t load_rx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return give_once(ctx, m, n, false);
}

static bool check_one(struct load *l, const struct frame *f, bool external)
{
	const uint32_t k = l->tcp ? f->tcp.mapping : f->udp.mapping;
	be32_t addr;
	be16_t port;

	if (k >= l->n || f->ip.ttl != 63 || !csum_ipv4_ok(&f->ip, 5) ||
		memcmp(f->dst, load_mac_theirs, 6))
		return false;
	if (csum_fold(csum_sum(&f->udp, ntohs(f->ip.total_len) - 20u,
		    csum_sum(&f->ip.src, 8, 0) + htons(f->ip.proto) +
			    htons((uint16_t)(ntohs(f->ip.total_len) - 20)))) != 0xffff)
		return false;
	if (external) {
		struct external *e = &l->external[k];

		if (l->phase == LOAD_FILL && !e->known)
			*e = (struct external){f->ip.src, f->udp.sport, true};
		return e->known && e->addr == f->ip.src && e->port == f->udp.sport &&
			f->ip.dst == htonl(REMOTE) && f->udp.dport == htons(REMOTE_PORT);
	}
	if (l->direction == DIRECTION_HAIRPIN) {
		const struct external *e = &l->external[k];

		internal_of(l, partner_of(l, k), &addr, &port);
		return f->ip.src == e->addr && f->udp.sport == e->port && f->ip.dst == addr &&
			f->udp.dport == port;
	}
	internal_of(l, k, &addr, &port);
	return f->ip.src == htonl(REMOTE) && f->udp.sport == htons(REMOTE_PORT) &&
		f->ip.dst == addr && f->udp.dport == port;
}

static uint16_t take(struct load *l, struct rte_mbuf **m, uint16_t n, bool external)
{
	const uint64_t begin = rte_rdtsc();

	if (l->latency && l->phase == LOAD_STEADY) {
		uint64_t ns = (uint64_t)((double)(begin - l->burst_tsc) * l->ns_per_tsc);

		l->latency[ns < LATENCY_NS_MAX ? ns : LATENCY_NS_MAX - 1] += n;
	}
	for (uint16_t i = 0; i < n; i++) {
		const struct frame *f = rte_pktmbuf_mtod(m[i], const struct frame *);

		if (f->ethertype == htons(0x0806))
			continue;
		l->returned++;
		l->wrong += !check_one(l, f, external);
	}
	rte_pktmbuf_free_bulk(m, n);
	l->aside_tsc += rte_rdtsc() - begin;
	return n;
}

uint16_t load_tx_internal(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, false);
}

uint16_t load_tx_external(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	return take(ctx, m, n, true);
}

void load_poll(struct load *l, uint64_t now_ns)
{
	l->left[0] = l->left[1] = l->burst;
	worker_poll(l->worker, now_ns);
}

void load_answer_arp(struct load *l, uint8_t ifc, uint32_t address)
{
	struct rte_mbuf *m = rte_pktmbuf_alloc(l->worker->mbufs);
	uint8_t *f = m ? (uint8_t *)rte_pktmbuf_append(m, 42) : NULL;
	static const uint8_t head[10] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2};
	be32_t sender = htonl(address);

	if (!f)
		return;
	memset(f, 0, 42);
	memcpy(f, load_mac_ours, 6);
	memcpy(f + 6, load_mac_theirs, 6);
	memcpy(f + 12, head, sizeof(head));
	memcpy(f + 22, load_mac_theirs, 6);
	memcpy(f + 28, &sender, 4);
	path_frames(l->worker, &m, 1, ifc, true);
}
