// SPDX-License-Identifier: BSD-3-Clause
#include "frame.h"
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>
#include "cgnat/types.h"

#define PAYLOAD 32
#define L2 14

// The slow and obvious checksum: not the code under test.
static uint16_t sum16(const uint8_t *p, unsigned n, uint32_t sum)
{
	for (unsigned i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (uint32_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t get16(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static void put16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

unsigned frame_l2_len(const struct frame *f)
{
	return get16(f->b + 12) == 0x8100 ? 18 : L2;
}

struct ipv4 *frame_ip(struct frame *f)
{
	return (struct ipv4 *)(f->b + frame_l2_len(f));
}

static unsigned header_len(const struct ipv4 *ip)
{
	return (ip->ver_ihl & 0xfu) * 4;
}

uint8_t *frame_l4(struct frame *f)
{
	return (uint8_t *)frame_ip(f) + header_len(frame_ip(f));
}

unsigned frame_l4_len(struct frame *f)
{
	return ntohs(frame_ip(f)->total_len) - header_len(frame_ip(f));
}

static unsigned check_at(uint8_t proto)
{
	return proto == CGN_PROTO_TCP ? 16 : proto == CGN_PROTO_UDP ? 6 : 2;
}

static bool has_l4(uint8_t proto)
{
	return proto == CGN_PROTO_TCP || proto == CGN_PROTO_UDP || proto == CGN_PROTO_ICMP;
}

uint16_t frame_l4_check(struct frame *f)
{
	return get16(frame_l4(f) + check_at(frame_ip(f)->proto));
}

void frame_l4_check_set(struct frame *f, uint16_t check)
{
	put16(frame_l4(f) + check_at(frame_ip(f)->proto), check);
}

// The sum over a whole L4 packet and, but for ICMP, its pseudo header.
static uint16_t l4_sum(const struct ipv4 *ip, const uint8_t *l4, unsigned len)
{
	uint32_t sum = 0;

	if (ip->proto != CGN_PROTO_ICMP)
		sum = sum16((const uint8_t *)&ip->src, 8, ip->proto + len);
	return sum16(l4, len, sum);
}

void frame_seal_ip(struct frame *f)
{
	struct ipv4 *ip = frame_ip(f);

	ip->check = 0;
	ip->check = htons((uint16_t)~sum16((uint8_t *)ip, header_len(ip), 0));
}

void frame_seal(struct frame *f)
{
	struct ipv4 *ip = frame_ip(f);
	uint16_t check;

	frame_seal_ip(f);
	if (!has_l4(ip->proto) || (ntohs(ip->frag) & IPV4_FRAG_MASK))
		return;
	frame_l4_check_set(f, 0);
	check = (uint16_t)~l4_sum(ip, frame_l4(f), frame_l4_len(f));
	frame_l4_check_set(f, !check && ip->proto == CGN_PROTO_UDP ? 0xffff : check);
}

// ---- making

struct frame ip_packet(uint32_t from, uint32_t to, uint8_t proto, unsigned payload_len)
{
	struct frame f = {.len = (uint16_t)(L2 + sizeof(struct ipv4) + payload_len)};
	uint8_t *payload = f.b + L2 + sizeof(struct ipv4);

	assert(f.len <= FRAME_MAX);
	put16(f.b + 12, 0x0800);
	*frame_ip(&f) = (struct ipv4){.ver_ihl = 0x45,
		.tos = 0xb8,
		.total_len = htons((uint16_t)(sizeof(struct ipv4) + payload_len)),
		.id = htons(0x1234),
		.ttl = 64,
		.proto = proto,
		.src = htonl(from),
		.dst = htonl(to)};
	for (unsigned i = 0; i < payload_len; i++)
		payload[i] = (uint8_t)(i * 7 + 1);
	frame_seal_ip(&f);
	return f;
}

struct frame udp(struct endpoint from, struct endpoint to)
{
	struct frame f = ip_packet(from.address, to.address, CGN_PROTO_UDP, 8 + PAYLOAD);
	uint8_t *l4 = frame_l4(&f);

	put16(l4, from.port);
	put16(l4 + 2, to.port);
	put16(l4 + 4, 8 + PAYLOAD);
	frame_seal(&f);
	return f;
}

struct frame tcp(struct endpoint from, struct endpoint to, uint8_t flags)
{
	struct frame f = ip_packet(from.address, to.address, CGN_PROTO_TCP, 20 + PAYLOAD);
	uint8_t *l4 = frame_l4(&f);

	put16(l4, from.port);
	put16(l4 + 2, to.port);
	l4[12] = 5 << 4;
	l4[13] = flags;
	frame_seal(&f);
	return f;
}

static struct frame icmp(uint32_t from, uint32_t to, uint8_t type, uint8_t code, unsigned len)
{
	struct frame f = ip_packet(from, to, CGN_PROTO_ICMP, len);
	uint8_t *l4 = frame_l4(&f);

	l4[0] = type;
	l4[1] = code;
	frame_seal(&f);
	return f;
}

struct frame echo(struct endpoint from, uint32_t to)
{
	struct frame f = icmp(from.address, to, ICMP_ECHO, 0, 8 + PAYLOAD);

	put16(frame_l4(&f) + 4, from.port);
	frame_seal(&f);
	return f;
}

struct frame echo_reply(uint32_t from, struct endpoint to)
{
	struct frame f = icmp(from, to.address, ICMP_ECHO_REPLY, 0, 8 + PAYLOAD);

	put16(frame_l4(&f) + 4, to.port);
	frame_seal(&f);
	return f;
}

struct frame icmp_error(uint32_t from, uint32_t to, uint8_t type, uint8_t code,
	const struct frame *about, unsigned quoted)
{
	struct frame a = *about, f;
	unsigned n = header_len(frame_ip(&a));

	n += quoted < frame_l4_len(&a) ? quoted : frame_l4_len(&a);
	f = icmp(from, to, type, code, 8 + n);
	memset(frame_l4(&f) + 4, 0, 4);
	memcpy(frame_l4(&f) + 8, frame_ip(&a), n);
	frame_seal(&f);
	return f;
}

void mac_of(uint32_t address, uint8_t mac[6])
{
	mac[0] = 2;
	mac[1] = 1;
	address = htonl(address);
	memcpy(mac + 2, &address, 4);
}

static struct frame arp(unsigned operation, uint32_t from, const uint8_t *to_mac,
	const uint8_t *target_mac, uint32_t to)
{
	struct frame f = {.len = 60}; // padded, as on the wire
	uint8_t *a = f.b + L2;

	memcpy(f.b, to_mac, 6);
	mac_of(from, f.b + 6);
	put16(f.b + 12, 0x0806);
	put16(a, 1);
	put16(a + 2, 0x0800);
	a[4] = 6;
	a[5] = 4;
	put16(a + 6, operation);
	mac_of(from, a + 8);
	put16(a + 14, from >> 16);
	put16(a + 16, from);
	memcpy(a + 18, target_mac, 6);
	put16(a + 24, to >> 16);
	put16(a + 26, to);
	return f;
}

struct frame arp_request(uint32_t from, uint32_t to)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, none[6];

	return arp(1, from, all, none, to);
}

struct frame arp_reply(uint32_t from, const uint8_t *to_mac, uint32_t to)
{
	return arp(2, from, to_mac, to_mac, to);
}

// ---- changing

struct frame with_vlan(struct frame f, unsigned vlan)
{
	memmove(f.b + 16, f.b + 12, f.len - 12u);
	put16(f.b + 12, 0x8100);
	put16(f.b + 14, vlan);
	f.len += 4;
	return f;
}

struct frame with_ttl(struct frame f, uint8_t ttl)
{
	frame_ip(&f)->ttl = ttl;
	frame_seal_ip(&f);
	return f;
}

struct frame with_df(struct frame f)
{
	frame_ip(&f)->frag = htons(IPV4_DF);
	frame_seal_ip(&f);
	return f;
}

struct frame with_size(struct frame f, unsigned ip_len)
{
	struct ipv4 *ip = frame_ip(&f);

	f.len = (uint16_t)(frame_l2_len(&f) + ip_len);
	assert(f.len <= FRAME_MAX);
	ip->total_len = htons((uint16_t)ip_len);
	if (ip->proto == CGN_PROTO_UDP)
		put16(frame_l4(&f) + 4, frame_l4_len(&f));
	frame_seal(&f);
	return f;
}

struct frame with_options(struct frame f, const void *options, unsigned n)
{
	struct ipv4 *ip = frame_ip(&f);
	uint8_t *l4 = frame_l4(&f);

	memmove(l4 + n, l4, frame_l4_len(&f));
	memcpy(l4, options, n);
	ip->ver_ihl = (uint8_t)(ip->ver_ihl + n / 4);
	ip->total_len = htons((uint16_t)(ntohs(ip->total_len) + n));
	f.len = (uint16_t)(f.len + n);
	frame_seal(&f);
	return f;
}

// ---- looking

static struct endpoint end_of(struct frame *f, bool source)
{
	const struct ipv4 *ip = frame_ip(f);
	const uint8_t *l4 = frame_l4(f);
	unsigned port = ip->proto == CGN_PROTO_ICMP ? 4 : source ? 0 : 2;

	return at(ntohl(source ? ip->src : ip->dst), get16(l4 + port));
}

struct endpoint source_of(struct frame f)
{
	return end_of(&f, true);
}

struct endpoint destination_of(struct frame f)
{
	return end_of(&f, false);
}

struct frame quote_of_error(struct frame f)
{
	struct frame q = {.len = (uint16_t)(L2 + frame_l4_len(&f) - 8)};

	put16(q.b + 12, 0x0800);
	memcpy(q.b + L2, frame_l4(&f) + 8, frame_l4_len(&f) - 8);
	return q;
}

static bool is_error(const uint8_t *l4)
{
	return l4[0] == ICMP_UNREACHABLE || l4[0] == ICMP_TIME_EXCEEDED || l4[0] == ICMP_PARAMETER;
}

static const char *quote_error(const uint8_t *quote, unsigned len)
{
	const struct ipv4 *q = (const struct ipv4 *)quote;
	unsigned n = header_len(q), total = ntohs(q->total_len);

	if (len < n)
		return "the quoted IPv4 header is not whole";
	if (sum16(quote, n, 0) != 0xffff)
		return "bad IPv4 header checksum inside the quote";
	if (!has_l4(q->proto) || len < total || (ntohs(q->frag) & IPV4_FRAG_MASK))
		return NULL; // quoted in part: nothing to check
	if (q->proto == CGN_PROTO_UDP && !get16(quote + n + 6))
		return NULL;
	return l4_sum(q, quote + n, total - n) == 0xffff ? NULL
							 : "bad L4 checksum inside the quote";
}

const char *frame_error(struct frame *f)
{
	const struct ipv4 *ip = frame_ip(f);
	const uint8_t *l4 = frame_l4(f);

	if (ip->ver_ihl >> 4 != 4 || f->len < frame_l2_len(f) + sizeof(*ip))
		return "no IPv4";
	if (f->len != frame_l2_len(f) + ntohs(ip->total_len))
		return "the frame is not as long as its packet";
	if (sum16((const uint8_t *)ip, header_len(ip), 0) != 0xffff)
		return "bad IPv4 header checksum";
	if (!has_l4(ip->proto) || (ntohs(ip->frag) & IPV4_FRAG_MASK))
		return NULL;
	if (!(ip->proto == CGN_PROTO_UDP && !frame_l4_check(f)) &&
		l4_sum(ip, l4, frame_l4_len(f)) != 0xffff)
		return "bad L4 checksum";
	if (ip->proto == CGN_PROTO_ICMP && is_error(l4))
		return quote_error(l4 + 8, frame_l4_len(f) - 8);
	return NULL;
}
