// SPDX-License-Identifier: BSD-3-Clause
#include "frame6.h"
#include <arpa/inet.h>
#include <assert.h>
#include <string.h>

#define L2 14
#define PAYLOAD 32
#define TARGET_AT 8 // in a message of neighbour discovery
#define OPTIONS_AT 24

struct cgn_ipv6 ip6(const char *text)
{
	struct cgn_ipv6 a = {{0}};

	if (inet_pton(AF_INET6, text, &a) != 1)
		assert(!"an IPv6 address");
	return a;
}

bool frame_is6(const struct frame *f)
{
	const unsigned at = frame_l2_len(f) - 2;

	return f->b[at] == 0x86 && f->b[at + 1] == 0xdd;
}

struct ipv6 *frame_ip6(struct frame *f)
{
	return (struct ipv6 *)(f->b + frame_l2_len(f));
}

uint8_t *frame_l4_6(struct frame *f)
{
	return (uint8_t *)(frame_ip6(f) + 1);
}

static unsigned check_at(uint8_t next)
{
	return next == CGN_PROTO_TCP ? 16 : next == CGN_PROTO_UDP ? 6 : next == IPV6_ICMP ? 2 : 0;
}

// The slow and obvious checksum: not the code under test. Host order.
static uint16_t sum_of(const struct ipv6 *ip, const uint8_t *l4, unsigned len)
{
	const uint8_t *addresses = (const uint8_t *)&ip->src;
	uint32_t sum = len + ip->next;

	for (unsigned i = 0; i < 32; i++)
		sum += i & 1 ? addresses[i] : (uint32_t)addresses[i] << 8;
	for (unsigned i = 0; i < len; i++)
		sum += i & 1 ? l4[i] : (uint32_t)l4[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

void frame_seal6(struct frame *f)
{
	struct ipv6 *ip = frame_ip6(f);
	uint8_t *check = frame_l4_6(f) + check_at(ip->next);
	uint16_t sum;

	if (!check_at(ip->next))
		return;
	check[0] = check[1] = 0;
	sum = (uint16_t)~sum_of(ip, frame_l4_6(f), ntohs(ip->payload_len));
	check[0] = (uint8_t)(sum >> 8);
	check[1] = (uint8_t)sum;
}

// ---- making

static struct frame make(
	const struct cgn_ipv6 *from, const struct cgn_ipv6 *to, uint8_t next, unsigned payload_len)
{
	struct frame f = {.len = (uint16_t)(L2 + sizeof(struct ipv6) + payload_len)};

	assert(f.len <= FRAME_MAX);
	memcpy(f.b + 12, "\x86\xdd", 2);
	*frame_ip6(&f) = (struct ipv6){.ver_class_flow = htonl(6u << 28 | 0xb8u << 20 | 0x12345),
		.payload_len = htons((uint16_t)payload_len),
		.next = next,
		.hop_limit = 64,
		.src = *from,
		.dst = *to};
	for (unsigned i = 0; i < payload_len; i++)
		frame_l4_6(&f)[i] = (uint8_t)(i * 7 + 1);
	return f;
}

struct frame packet6(const char *from, const char *to, uint8_t next, unsigned payload_len)
{
	const struct cgn_ipv6 src = ip6(from), dst = ip6(to);
	struct frame f = make(&src, &dst, next, payload_len);

	frame_seal6(&f);
	return f;
}

struct frame udp6(const char *from, unsigned sport, const char *to, unsigned dport)
{
	struct frame f = packet6(from, to, CGN_PROTO_UDP, 8 + PAYLOAD);
	const uint8_t header[6] = {(uint8_t)(sport >> 8), (uint8_t)sport, (uint8_t)(dport >> 8),
		(uint8_t)dport, 0, 8 + PAYLOAD};

	memcpy(frame_l4_6(&f), header, sizeof(header));
	frame_seal6(&f);
	return f;
}

struct frame icmp6_message(
	const char *from, const char *to, uint8_t type, uint8_t code, unsigned len)
{
	struct frame f = packet6(from, to, IPV6_ICMP, len);

	frame_l4_6(&f)[0] = type;
	frame_l4_6(&f)[1] = code;
	frame_seal6(&f);
	return f;
}

struct frame echo6(const char *from, const char *to)
{
	return icmp6_message(from, to, ICMP6_ECHO, 0, 8 + PAYLOAD);
}

static struct frame discovery(const char *from, const struct cgn_ipv6 *to, uint8_t type,
	uint8_t flags, const char *target, uint8_t option, const uint8_t *mac)
{
	const struct cgn_ipv6 src = ip6(from), about = ip6(target);
	struct frame f = make(&src, to, IPV6_ICMP, OPTIONS_AT + (mac ? 8 : 0));
	uint8_t *nd = frame_l4_6(&f);

	frame_ip6(&f)->hop_limit = 255;
	memset(nd, 0, TARGET_AT);
	nd[0] = type;
	nd[4] = flags;
	memcpy(nd + TARGET_AT, &about, sizeof(about));
	if (mac) {
		nd[OPTIONS_AT] = option;
		nd[OPTIONS_AT + 1] = 1;
		memcpy(nd + OPTIONS_AT + 2, mac, 6);
	}
	frame_seal6(&f);
	return f;
}

struct frame solicitation(const char *from, const char *to, const char *target, const uint8_t *mac)
{
	const struct cgn_ipv6 about = ip6(target);
	struct cgn_ipv6 dst = ip6("ff02::1:ff00:0");

	memcpy(dst.b + 13, about.b + 13, 3);
	if (to)
		dst = ip6(to);
	return discovery(from, &dst, ND_SOLICITATION, 0, target, 1, mac);
}

struct frame advertisement(
	const char *from, const char *to, const char *target, uint8_t flags, const uint8_t *mac)
{
	const struct cgn_ipv6 dst = ip6(to);

	return discovery(from, &dst, ND_ADVERTISEMENT, flags, target, 2, mac);
}

// ---- changing

struct frame with_hop_limit(struct frame f, uint8_t hop_limit)
{
	frame_ip6(&f)->hop_limit = hop_limit;
	return f;
}

struct frame with_size6(struct frame f, unsigned ip_len)
{
	struct ipv6 *ip = frame_ip6(&f);
	const unsigned payload = ip_len - (unsigned)sizeof(*ip);

	f.len = (uint16_t)(frame_l2_len(&f) + ip_len);
	assert(f.len <= FRAME_MAX);
	ip->payload_len = htons((uint16_t)payload);
	if (ip->next == CGN_PROTO_UDP) {
		frame_l4_6(&f)[4] = (uint8_t)(payload >> 8);
		frame_l4_6(&f)[5] = (uint8_t)payload;
	}
	frame_seal6(&f);
	return f;
}

struct frame with_extension(struct frame f, uint8_t kind, const void *body)
{
	struct ipv6 *ip = frame_ip6(&f);
	uint8_t *at = frame_l4_6(&f);

	memmove(at + 8, at, ntohs(ip->payload_len));
	at[0] = ip->next;
	memcpy(at + 1, body, 7);
	ip->next = kind;
	ip->payload_len = htons((uint16_t)(ntohs(ip->payload_len) + 8));
	f.len = (uint16_t)(f.len + 8);
	return f;
}

// ---- looking

bool from_to6(struct frame *f, const char *from, const char *to)
{
	const struct cgn_ipv6 src = ip6(from), dst = ip6(to);

	return frame_is6(f) && cgn_ipv6_same(&frame_ip6(f)->src, &src) &&
		cgn_ipv6_same(&frame_ip6(f)->dst, &dst);
}

void mac6_of(const struct cgn_ipv6 *address, uint8_t mac[6])
{
	mac[0] = 2;
	mac[1] = 6;
	memcpy(mac + 2, address->b + 12, 4);
}

const char *frame6_error(struct frame *f)
{
	const struct ipv6 *ip = frame_ip6(f);
	const unsigned l2_len = frame_l2_len(f);
	const uint8_t *l4 = frame_l4_6(f);

	if (f->len < l2_len + sizeof(*ip) || *(const uint8_t *)ip >> 4 != 6)
		return "no IPv6";
	if (f->len != l2_len + sizeof(*ip) + ntohs(ip->payload_len))
		return "the frame is not as long as its packet";
	if (!ip->hop_limit)
		return "hop limit 0";
	if (cgn_ipv6_is_multicast(&ip->dst) &&
		(memcmp(f->b, "\x33\x33", 2) || memcmp(f->b + 2, ip->dst.b + 12, 4)))
		return "not the MAC address of its group";
	if (check_at(ip->next) && sum_of(ip, l4, ntohs(ip->payload_len)) != 0xffff)
		return "bad L4 checksum";
	if (ip->next == IPV6_ICMP && l4[0] < ICMP6_ECHO && f->len - l2_len > CGN_IPV6_MTU_MIN)
		return "an ICMPv6 error longer than 1280 bytes";
	return NULL;
}

const char *frame6_changed(struct frame *in, struct frame *out)
{
	struct frame want = *in;

	frame_ip6(&want)->hop_limit--;
	if (frame_ip6(out)->hop_limit != frame_ip6(&want)->hop_limit)
		return "the hop limit is not one less";
	if (memcmp(frame_ip6(&want), frame_ip6(out),
		    sizeof(struct ipv6) + ntohs(frame_ip6(&want)->payload_len)))
		return "the packet came out changed";
	return NULL;
}
