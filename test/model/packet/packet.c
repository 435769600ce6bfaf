// SPDX-License-Identifier: BSD-3-Clause
#include "packet.h"
#include <string.h>

unsigned sum_mod(const uint8_t *p, unsigned n)
{
	unsigned sum = 0;

	for (unsigned i = 0; i < n; i++)
		sum += i & 1 ? p[i] : (unsigned)p[i] << 8;
	return sum % 65535;
}

void ip_seal(uint8_t *ip)
{
	set16(ip + AT_CHECK, 0);
	set16(ip + AT_CHECK, (65535 - sum_mod(ip, header_of(ip))) % 65535);
}

static bool has_pseudo_header(uint8_t protocol)
{
	return protocol != CGN_PROTO_ICMP;
}

static unsigned check_place(uint8_t protocol)
{
	return protocol == CGN_PROTO_TCP ? 16 : protocol == CGN_PROTO_UDP ? 6 : 2;
}

// Of what the checksum at hand covers and of the checksum itself: 0 when it is right and all is
// there. A translator keeps this number as it is (RFC 1624), be it right or wrong.
static unsigned residue(const uint8_t *ip, unsigned l4_n)
{
	const uint8_t protocol = ip[AT_PROTO];
	unsigned sum = sum_mod(ip + header_of(ip), l4_n);

	if (has_pseudo_header(protocol))
		sum += sum_mod(ip + AT_SRC, 8) + protocol + l4_n;
	return sum % 65535;
}

// Sets the L4 checksum, anew and in full, such that the residue is `wanted`.
static void check_set(uint8_t *ip, unsigned l4_n, unsigned wanted)
{
	uint8_t *check = ip + header_of(ip) + check_place(ip[AT_PROTO]);
	unsigned value;

	set16(check, 0);
	value = (wanted + 65535 - residue(ip, l4_n)) % 65535;
	// what sums up to nothing but zeros is sent as ffff in UDP, where 0 means none (RFC 768)
	set16(check, !value && ip[AT_PROTO] == CGN_PROTO_UDP ? 0xffff : value);
}

void end_replace(uint8_t *ip, unsigned l4_n, bool source, uint32_t address, uint16_t port)
{
	const uint8_t protocol = ip[AT_PROTO];
	uint8_t *l4 = ip + header_of(ip);
	const unsigned at_check = check_place(protocol);
	const unsigned at_port = protocol == CGN_PROTO_ICMP ? 4 : source ? 0 : 2;
	const bool has_check =
		at_check + 2 <= l4_n && !(protocol == CGN_PROTO_UDP && !get16(l4 + at_check));
	unsigned before;

	if (l4_n < at_port + 2) // a quoted length that ends inside the header
		l4_n = at_port + 2;
	before = has_check ? residue(ip, l4_n) : 0;
	set32(ip + (source ? AT_SRC : AT_DST), address);
	set16(l4 + at_port, port);
	if (has_check)
		check_set(ip, l4_n, before);
}

void mss_lower(uint8_t *tcp, unsigned mss)
{
	const unsigned end = (unsigned)(tcp[12] >> 4) * 4;
	const unsigned before = sum_mod(tcp, end);
	unsigned at = 20;

	while (at < end && tcp[at] != 0) {
		if (tcp[at] == 1) {
			at++;
			continue;
		}
		if (at + 2 > end || tcp[at + 1] < 2 || at + tcp[at + 1] > end)
			break;
		if (tcp[at] == 2 && tcp[at + 1] == 4 && get16(tcp + at + 2) > mss)
			set16(tcp + at + 2, mss);
		at += tcp[at + 1];
	}
	if (sum_mod(tcp, end) != before) { // as end_replace(): the sum stays what it was
		unsigned check = get16(tcp + 16);

		check = (check + before + 65535 - sum_mod(tcp, end)) % 65535;
		set16(tcp + 16, check);
	}
}

bool icmp_is_right(struct packet *p)
{
	return sum_mod(l4_of(p), l4_len(p)) == 0;
}

bool udp_is_right(struct packet *p)
{
	const uint8_t *udp = l4_of(p);
	const unsigned len = l4_len(p) < 8 ? 0 : get16(udp + 4);

	if (len < 8 || len > l4_len(p))
		return false;
	return !get16(udp + 6) ||
		(sum_mod(p->b + AT_SRC, 8) + CGN_PROTO_UDP + len + sum_mod(udp, len)) % 65535 == 0;
}

void icmp_seal(struct packet *p)
{
	set16(l4_of(p) + 2, 0);
	set16(l4_of(p) + 2, (65535 - sum_mod(l4_of(p), l4_len(p))) % 65535);
}

// ---- reading

static void ends(
	struct packet *p, bool inbound, uint32_t src, uint16_t sport, uint32_t dst, uint16_t dport)
{
	p->our = inbound ? dst : src;
	p->our_port = inbound ? dport : sport;
	p->their = inbound ? src : dst;
	p->their_port = inbound ? sport : dport;
}

static void flow_ends(struct packet *p, bool inbound)
{
	const uint8_t *l4 = l4_of(p);

	p->protocol = p->b[AT_PROTO];
	if (p->protocol == CGN_PROTO_ICMP) { // the query id is our side's
		ends(p, inbound, get32(p->b + AT_SRC), inbound ? 0 : (uint16_t)get16(l4 + 4),
			get32(p->b + AT_DST), inbound ? (uint16_t)get16(l4 + 4) : 0);
		return;
	}
	ends(p, inbound, get32(p->b + AT_SRC), (uint16_t)get16(l4), get32(p->b + AT_DST),
		(uint16_t)get16(l4 + 2));
}

// RFC 5508: what an error quotes went the other way. False when it cannot be made use of.
static bool read_quote(struct packet *p, bool inbound)
{
	const uint8_t *q = l4_of(p) + 8, *l4;
	const unsigned n = l4_len(p) - 8;
	uint16_t sport, dport;

	if (n < 28 || q[0] >> 4 != 4 || header_of(q) < 20 || n < header_of(q) + 8)
		return false;
	if (sum_mod(q, header_of(q)) != 0 || (get16(q + AT_FRAG) & OFFSET))
		return false;
	l4 = q + header_of(q);
	p->protocol = q[AT_PROTO];
	if (p->protocol == CGN_PROTO_ICMP) {
		if (l4[0] != TYPE_ECHO && l4[0] != TYPE_ECHO_REPLY)
			return false;
		// usually queries go out and replies come in
		p->against = (l4[0] == TYPE_ECHO) != inbound;
		sport = inbound ? (uint16_t)get16(l4 + 4) : 0;
		dport = inbound ? 0 : (uint16_t)get16(l4 + 4);
	} else if (p->protocol == CGN_PROTO_TCP || p->protocol == CGN_PROTO_UDP) {
		sport = (uint16_t)get16(l4);
		dport = (uint16_t)get16(l4 + 2);
	} else {
		sport = dport = 0;
	}
	ends(p, !inbound, get32(q + AT_SRC), sport, get32(q + AT_DST), dport);
	return true;
}

static void read_icmp(struct packet *p, bool inbound)
{
	const unsigned type = l4_of(p)[0];

	if (type == TYPE_ECHO || type == TYPE_ECHO_REPLY) {
		flow_ends(p, inbound);
		p->kind = KIND_FLOW;
		p->against = (type == TYPE_ECHO) == inbound;
		if (p->against) {
			p->kind = KIND_OTHER;
			p->reason = inbound ? CGN_DROP_ICMP_NO_SESSION : CGN_DROP_ICMP_TYPE;
		}
	} else if (type == TYPE_UNREACHABLE || type == TYPE_TIME_EXCEEDED ||
		type == TYPE_PARAMETER) {
		p->kind = KIND_ERROR;
		if (!read_quote(p, inbound)) {
			p->kind = KIND_OTHER;
			p->reason = CGN_DROP_ICMP_QUOTE;
		}
	} else {
		p->kind = KIND_OTHER;
		p->reason = CGN_DROP_ICMP_TYPE;
	}
}

static void clean(struct packet *p, bool inbound)
{
	p->inbound = inbound;
	p->against = false;
	p->protocol = p->b[AT_PROTO];
	ends(p, inbound, get32(p->b + AT_SRC), 0, get32(p->b + AT_DST), 0);
}

enum cgn_drop packet_read(struct packet *p, bool inbound)
{
	const uint8_t *l4 = l4_of(p);
	const unsigned n = l4_len(p);

	clean(p, inbound);
	if (get16(p->b + AT_FRAG) & (MF | OFFSET)) {
		p->kind = KIND_FRAGMENT;
		return CGN_DROP_COUNT;
	}
	p->kind = KIND_FLOW;
	switch (p->protocol) {
	case CGN_PROTO_TCP:
		if (n < 20 || l4[12] >> 4 < 5 || (unsigned)(l4[12] >> 4) * 4 > n)
			return CGN_DROP_L4_LENGTH;
		flow_ends(p, inbound);
		return CGN_DROP_COUNT;
	case CGN_PROTO_UDP:
		if (n < 8 || get16(l4 + 4) < 8 || get16(l4 + 4) > n)
			return CGN_DROP_L4_LENGTH;
		flow_ends(p, inbound);
		return CGN_DROP_COUNT;
	case CGN_PROTO_ICMP:
		if (n < 8)
			return CGN_DROP_L4_LENGTH;
		read_icmp(p, inbound);
		return CGN_DROP_COUNT;
	default:
		p->kind = KIND_OTHER;
		p->reason = CGN_DROP_PROTOCOL;
		return CGN_DROP_COUNT;
	}
}

enum cgn_drop packet_read_first(struct packet *p, bool inbound)
{
	const uint8_t *l4 = l4_of(p);
	const unsigned n = l4_len(p);

	clean(p, inbound);
	p->kind = KIND_FLOW;
	if (n < (p->protocol == CGN_PROTO_TCP ? 20 : 8))
		return CGN_DROP_FRAG_TINY;
	if (p->protocol == CGN_PROTO_ICMP) {
		if (l4[0] != TYPE_ECHO && l4[0] != TYPE_ECHO_REPLY)
			return CGN_DROP_FRAG_INVALID;
		read_icmp(p, inbound); // one-to-one mappings take echo of either direction
		return CGN_DROP_COUNT;
	}
	if (p->protocol == CGN_PROTO_TCP) {
		if (l4[12] >> 4 < 5)
			return CGN_DROP_L4_LENGTH;
		if ((unsigned)(l4[12] >> 4) * 4 > n)
			return CGN_DROP_FRAG_TINY;
	} else if (get16(l4 + 4) < n) { // the length of the whole datagram
		return CGN_DROP_L4_LENGTH;
	}
	flow_ends(p, inbound);
	return CGN_DROP_COUNT;
}
