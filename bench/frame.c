// SPDX-License-Identifier: BSD-3-Clause
#include "frame.h"
#include <arpa/inet.h>
#include <string.h>
#include "dataplane/csum.h"

const uint8_t frame_mac_ours[6] = {2, 0, 0, 0, 0, 1};
const uint8_t frame_mac_theirs[6] = {2, 0, 0, 0, 0, 2};

// Sum of the pseudo header and everything behind the IPv4 header.
static uint16_t l4_sum(const struct frame *f)
{
	const uint16_t l4_len = (uint16_t)(ntohs(f->ip.total_len) - sizeof(f->ip));
	uint32_t sum = csum_sum(&f->ip.src, 8, 0);

	sum += htons(f->ip.proto);
	sum += htons(l4_len);
	return (uint16_t)csum_fold(csum_sum(&f->udp, l4_len, sum));
}

void frame_set_l4_sum(struct frame *f)
{
	be16_t *check = f->ip.proto == CGN_PROTO_TCP ? &f->tcp.check : &f->udp.check;

	*check = 0;
	*check = (be16_t)~l4_sum(f);
	if (!*check && f->ip.proto == CGN_PROTO_UDP)
		*check = 0xffff; // 0 would say that there is none
}

bool frame_sums_right(const struct frame *f)
{
	return csum_ipv4_ok(&f->ip, 5) && l4_sum(f) == 0xffff;
}

void frame_make(struct rte_mbuf *m, uint32_t size, bool tcp, uint8_t tcp_flags, uint32_t mapping,
	uint64_t stamp, const struct frame_ends *ends)
{
	const uint16_t len = (uint16_t)(size - 4), ip_len = (uint16_t)(len - 14);
	struct frame *f;

	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->data_len = len;
	m->pkt_len = len;
	m->ol_flags = 0;
	f = rte_pktmbuf_mtod(m, struct frame *);
	memcpy(f->dst, frame_mac_ours, 6);
	memcpy(f->src, frame_mac_theirs, 6);
	f->ethertype = htons(0x0800);
	f->ip = (struct ipv4){.ver_ihl = 0x45,
		.total_len = htons(ip_len),
		.frag = htons(IPV4_DF),
		.ttl = 64,
		.proto = tcp ? CGN_PROTO_TCP : CGN_PROTO_UDP,
		.src = ends->src,
		.dst = ends->dst};
	f->ip.check = (be16_t)~csum_fold(csum_sum(&f->ip, sizeof(f->ip), 0));
	f->udp.sport = ends->sport;
	f->udp.dport = ends->dport;
	if (tcp) {
		memcpy(f->tcp.stamp, &stamp, sizeof(stamp));
		f->tcp.off = 5 << 4;
		f->tcp.flags = tcp_flags;
		f->tcp.window = 0xffff;
		f->tcp.urgent = 0;
		f->tcp.mapping = mapping;
		f->tcp.magic = FRAME_MAGIC;
	} else {
		f->udp.len = htons((uint16_t)(ip_len - 20));
		f->udp.mapping = mapping;
		f->udp.magic = FRAME_MAGIC;
		memcpy(f->udp.stamp, &stamp, sizeof(stamp));
	}
	frame_set_l4_sum(f);
}

void frame_make_arp(struct rte_mbuf *m, uint32_t address)
{
	static const uint8_t head[10] = {0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 2};
	const be32_t sender = htonl(address);
	uint8_t *f;

	m->data_off = RTE_PKTMBUF_HEADROOM;
	m->data_len = m->pkt_len = 42;
	m->ol_flags = 0;
	f = rte_pktmbuf_mtod(m, uint8_t *);
	memset(f, 0, 42);
	memcpy(f, frame_mac_ours, 6);
	memcpy(f + 6, frame_mac_theirs, 6);
	memcpy(f + 12, head, sizeof(head));
	memcpy(f + 22, frame_mac_theirs, 6);
	memcpy(f + 28, &sender, 4);
}

bool frame_right(const struct frame *f, const struct frame_ends *ends)
{
	return f->ethertype == htons(0x0800) && f->ip.ver_ihl == 0x45 && f->ip.ttl == 63 &&
		!memcmp(f->dst, frame_mac_theirs, 6) && f->ip.src == ends->src &&
		f->ip.dst == ends->dst && f->udp.sport == ends->sport &&
		f->udp.dport == ends->dport && frame_sums_right(f);
}
