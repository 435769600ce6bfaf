// SPDX-License-Identifier: BSD-3-Clause
// The end of a packet's way: what leaves, what is cut, what is dropped, and our own errors.
#include "observe.h"
#include "packet.h"
#include <stdlib.h>
#include <string.h>
#include "../../packet/frame.h"

#define QUOTE_MAX 548 // of an error of 576 bytes (RFC 1812 4.3.2.3)

struct output *outputs;

void drop_at(unsigned ifc, enum cgn_drop reason)
{
	world.count.drops[reason]++;
	world.count.interfaces[ifc].drops++;
}

void drop(const struct packet *p, enum cgn_drop reason)
{
	drop_at(p->ifc, reason);
}

static struct output *output_new(unsigned ifc)
{
	struct output *o = calloc(1, sizeof(*o)), **at = &outputs;

	while (*at)
		at = &(*at)->next;
	*at = o;
	o->ifc = ifc;
	world.count.tx_packets++;
	return o;
}

void outputs_free(void)
{
	for (struct output *o = outputs, *next; o; o = next) {
		next = o->next;
		free(o);
	}
	outputs = NULL;
}

static void our_mac(unsigned ifc, uint8_t mac[6])
{
	memcpy(mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)ifc}, 6);
}

void send_frame(unsigned ifc, const uint8_t *frame, unsigned len)
{
	struct output *o = output_new(ifc);

	memcpy(o->b, frame, len);
	o->len = (uint16_t)len;
}

static void emit(const struct packet *p, struct way way)
{
	struct output *o = output_new(way.ifc);
	const unsigned vlan = world.config->interfaces[way.ifc].vlan;
	unsigned at = 12;

	mac_of(way.next_hop, o->b);
	our_mac(way.ifc, o->b + 6);
	if (vlan) {
		set16(o->b + 12, 0x8100);
		set16(o->b + 14, vlan);
		at = 16;
	}
	set16(o->b + at, 0x0800);
	memcpy(o->b + at + 2, p->b, p->len);
	o->len = (uint16_t)(at + 2 + p->len);
}

// The options of a fragment that is not the first: those with the copy bit (RFC 791 3.1).
static unsigned copied_header(uint8_t *to, const uint8_t *ip)
{
	unsigned n = 20, at = 20, len;

	memcpy(to, ip, 20);
	while (at < header_of(ip) && ip[at]) {
		if (ip[at] == 1)
			len = 1;
		else if (at + 2 > header_of(ip) || ip[at + 1] < 2 ||
			at + ip[at + 1] > header_of(ip))
			break;
		else
			len = ip[at + 1];
		if (ip[at] & 0x80) {
			memcpy(to + n, ip + at, len);
			n += len;
		}
		at += len;
	}
	while (n % 4)
		to[n++] = 0;
	to[0] = (uint8_t)(0x40 | n / 4);
	return n;
}

static void piece(const struct packet *p, struct way way, const uint8_t *header,
	unsigned header_len, unsigned from, unsigned to)
{
	const unsigned frag = get16(p->b + AT_FRAG), end = l4_len(p);
	struct packet q = *p;

	memcpy(q.b, header, header_len);
	memcpy(q.b + header_len, p->b + header_of(p->b) + from, to - from);
	q.len = header_len + to - from;
	set16(q.b + AT_LEN, q.len);
	set16(q.b + AT_FRAG, frag + from / 8);
	if (to < end)
		set16(q.b + AT_FRAG, get16(q.b + AT_FRAG) | MF);
	ip_seal(q.b);
	emit(&q, way);
}

void send_packet(struct packet *p, struct way way)
{
	const unsigned mtu = world.config->interfaces[way.ifc].mtu, end = l4_len(p);
	uint8_t further[60];
	unsigned further_len, at;

	if (p->len <= mtu) {
		emit(p, way);
		return;
	}
	if (get16(p->b + AT_FRAG) & DF) {
		drop_at(way.ifc, CGN_DROP_MTU_EXCEEDED);
		return;
	}
	further_len = copied_header(further, p->b);
	at = (mtu - header_of(p->b)) / 8 * 8;
	piece(p, way, p->b, header_of(p->b), 0, at);
	world.count.packets_fragmented++;
	while (at < end) {
		const unsigned step = (mtu - further_len) / 8 * 8;
		const unsigned to = end - at > step ? at + step : end;

		piece(p, way, further, further_len, at, to);
		world.count.originated++;
		at = to;
	}
}

// ---- errors of our own

// RFC 1812 4.3.2.7
static bool may_answer(struct packet *p)
{
	const enum where from = way_to(get32(p->b + AT_SRC)).where;

	if (get16(p->b + AT_FRAG) & OFFSET)
		return false;
	if (p->b[AT_PROTO] == CGN_PROTO_ICMP && l4_len(p) && l4_of(p)[0] != TYPE_ECHO &&
		l4_of(p)[0] != TYPE_ECHO_REPLY)
		return false;
	return from == TO_ROUTE || from == TO_LINK || from == TO_POOL;
}

// Beyond the rate of all there is a quarter more, for hosts that are within their own.
static bool rate_allows(const struct packet *p)
{
	struct per_worker *w = &world.worker[p->worker];
	const enum cgn_role role = world.config->interfaces[p->ifc].role;
	const uint32_t rate = world.config->icmp_errors_per_s;
	const uint32_t own = world.config->icmp_errors_per_host;
	const unsigned host = host_bucket(p->worker, role, get32(p->b + AT_SRC));
	const bool modest = token(&w->host_paid_ns[host], own < rate ? own : rate, true);

	return token(&w->errors_paid_ns[role], rate, true) ||
		(modest && token(&w->reserve_paid_ns[role], (rate + 3) / 4, true));
}

void send_error(struct packet *p, unsigned type, unsigned code, unsigned mtu)
{
	const struct cgn_interface *ifc = &world.config->interfaces[p->ifc];
	const unsigned quote = p->len < QUOTE_MAX ? p->len : QUOTE_MAX;
	struct packet e = {.ifc = p->ifc, .worker = p->worker};
	struct way way;

	if (!may_answer(p))
		return;
	if (ifc->no_icmp_errors || !rate_allows(p)) {
		world.count.icmp_errors_suppressed++;
		return;
	}
	world.count.originated++;
	world.count.icmp_errors_sent++;
	e.len = 28 + quote;
	e.b[0] = 0x45;
	e.b[AT_TOS] = 0xc0;
	set16(e.b + AT_LEN, e.len);
	set16(e.b + AT_ID,
		next_ident(p->worker, ifc->addresses[0].address, get32(p->b + AT_SRC),
			CGN_PROTO_ICMP));
	e.b[AT_TTL] = 64;
	e.b[AT_PROTO] = CGN_PROTO_ICMP;
	set32(e.b + AT_SRC, ifc->addresses[0].address);
	set32(e.b + AT_DST, get32(p->b + AT_SRC));
	e.b[20] = (uint8_t)type;
	e.b[21] = (uint8_t)code;
	set16(e.b + 26, mtu);
	memcpy(e.b + 28, p->b, quote);
	ip_seal(e.b);
	icmp_seal(&e);
	way = way_to(get32(e.b + AT_DST));
	if (way.where == TO_POOL)
		to_pool(&e); // about a hairpin
	else if (way.where == TO_ROUTE || way.where == TO_LINK)
		send_packet(&e, way);
	else
		drop(&e, CGN_DROP_NO_ROUTE);
}

bool refused(struct packet *p, struct way way, bool ttl)
{
	const bool leaves = way.where == TO_ROUTE || way.where == TO_LINK;

	if (ttl && p->b[AT_TTL] <= 1) {
		send_error(p, TYPE_TIME_EXCEEDED, 0, 0);
		drop(p, CGN_DROP_TTL_EXPIRED);
		return true;
	}
	if (leaves && p->len > world.config->interfaces[way.ifc].mtu &&
		(get16(p->b + AT_FRAG) & DF)) {
		send_error(p, TYPE_UNREACHABLE, 4, world.config->interfaces[way.ifc].mtu);
		drop(p, CGN_DROP_MTU_EXCEEDED);
		return true;
	}
	return false;
}

// ---- our own addresses

void to_us(struct packet *p)
{
	const uint32_t src = get32(p->b + AT_SRC);
	struct way way;

	if (!p->inbound && !is_inside(src)) {
		drop(p, CGN_DROP_SOURCE_NOT_INSIDE);
		return;
	}
	if (p->b[AT_PROTO] != CGN_PROTO_ICMP || (get16(p->b + AT_FRAG) & (MF | OFFSET)) ||
		l4_len(p) < 8 || l4_of(p)[0] != TYPE_ECHO) {
		if (p->b[AT_PROTO] == CGN_PROTO_UDP && !(get16(p->b + AT_FRAG) & (MF | OFFSET)) &&
			udp_is_right(p))
			send_error(p, TYPE_UNREACHABLE, 3, 0);
		drop(p, CGN_DROP_LOCAL_UNSUPPORTED);
		return;
	}
	if (!icmp_is_right(p)) {
		drop(p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (!token(&world.worker[p->worker].echo_paid_ns, 1000, true)) {
		drop(p, CGN_DROP_LOCAL_RATE);
		return;
	}
	world.count.consumed++;
	world.count.originated++;
	world.count.echo_replies_sent++;
	set32(p->b + AT_SRC, get32(p->b + AT_DST));
	set32(p->b + AT_DST, src);
	p->b[AT_TTL] = 64;
	ip_seal(p->b);
	l4_of(p)[0] = TYPE_ECHO_REPLY;
	icmp_seal(p);
	way = way_to(src);
	if (way.where == TO_ROUTE || way.where == TO_LINK)
		send_packet(p, way);
	else
		drop(p, CGN_DROP_NO_ROUTE);
}
