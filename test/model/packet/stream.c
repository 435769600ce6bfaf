// SPDX-License-Identifier: BSD-3-Clause
#include "stream.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "packet.h"

#define SIZE_MAX_MADE (FRAME_MAX - 100u) // room for all that is added later

enum {
	IN_SIDE,
	OUT_SIDE,
};

// A frame being made.
struct draft {
	struct frame f;
	unsigned ifc;
	enum toward toward;
	const struct mapping *mapping;
};

static struct random *r; // of the stream at work
static const struct random_config *config;

#define PICK(...) pick((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}))
static uint32_t pick(const uint32_t *of, size_t bytes)
{
	return of[below(r, (uint32_t)(bytes / sizeof(*of)))];
}

// ---- ends

static struct endpoint host(void)
{
	uint32_t address = 0x64400000 + 1 + below(r, config->n_hosts);

	if (chance(r, 3))
		address = PICK(0x64400101, 0x0aff0009, 0xac100001, 0xac100002, 0x0aff0001,
			0xcb007101, 0x7f000001, 0xe0000001, 0x0aff00ff, 0);
	return at(address, chance(r, 5) ? 8080 : 5000 + below(r, config->n_ports));
}

static struct endpoint remote(void)
{
	uint32_t address = 0xc6336401 + below(r, chance(r, 70) ? 2 : 5);

	if (chance(r, 10))
		address = PICK(0xc6120001, 0xc6120002, 0xc6336442);
	if (chance(r, 4))
		address = PICK(0xc0000209, 0xc0000202, 0x0aff0001, 0x64400001, 0x0aff0009,
			0xe0000001, 0xffffffff, 0x7f000001, 0x08080808, 0xc00002ff, 0xa9fe0101);
	// a packet cut into more pieces than may wait for a MAC address is not modelled
	if (address == 0xc0000209 && world.config->interfaces[OUT_SIDE].mtu == 68)
		address = 0xc6336401;
	return at(address, PICK(53, 80, 443, 22, 25, 1000, 1001, 1002, 0));
}

static const struct mapping *any_mapping(void)
{
	const struct mapping *m;
	uint32_t n = 0;

	for (m = world.mappings; m; m = m->next)
		n++;
	if (!n)
		return NULL;
	n = below(r, n);
	for (m = world.mappings; n; m = m->next)
		n--;
	return m;
}

static const struct session *any_session(const struct mapping *m)
{
	const struct session *s = m->sessions;

	for (uint32_t n = below(r, m->n_sessions); n; n--)
		s = s->next;
	return s;
}

// An external endpoint that nobody may have.
static struct endpoint external(void)
{
	uint32_t address = 0xcb007101 + below(r, 5);

	if (chance(r, 10))
		address = PICK(
			0xcb007109, 0xc6336505, 0xc0000220, 0xc0000202, 0xcb0071fe, 0x64400001);
	return at(address,
		PICK(1024, 1030, 1056, 2000, 2031, 61000, 61040, 443, 7003, 80) + below(r, 40));
}

// ---- what a packet is like

static uint8_t some_flags(void)
{
	return (uint8_t)(chance(r, 20) ? below(r, 256)
				       : PICK(SYN, SYN, SYN | ACK, ACK, ACK, ACK | TCP_PSH,
						 FIN | ACK, RST, RST | ACK, FIN, 0));
}

// What one would send next in that state.
static uint8_t likely_flags(const struct session *s, bool outbound)
{
	if (chance(r, 20))
		return some_flags();
	switch (s->state) {
	case CGN_SESSION_INIT:
		return (outbound ? s->syn_out : s->syn_in) ? (chance(r, 50) ? SYN : ACK)
							   : SYN | ACK;
	case CGN_SESSION_ESTABLISHED:
		return (uint8_t)(chance(r, 15) ? FIN | ACK : chance(r, 5) ? RST : ACK);
	case CGN_SESSION_CLIENT_FIN:
	case CGN_SESSION_SERVER_FIN:
		return (uint8_t)(chance(r, 40) ? FIN | ACK : ACK);
	default:
		return (uint8_t)PICK(ACK, ACK, SYN, RST, FIN | ACK);
	}
}

static void tcp_options(struct frame *f)
{
	static const uint8_t mss[] = {2, 4, 5, 180}, odd[] = {1, 2, 4, 5, 180, 1, 1, 0},
			     broken[] = {2, 4, 5, 180, 3, 9, 7, 0},
			     two[] = {2, 4, 9, 9, 1, 2, 4, 2, 1, 1, 1, 0};
	const uint8_t *o = mss;
	unsigned n = sizeof(mss), len = frame_l4_len(f);

	switch (below(r, 4)) {
	case 0:
		o = odd;
		n = sizeof(odd);
		break;
	case 1:
		o = broken;
		n = sizeof(broken);
		break;
	case 2:
		o = two;
		n = sizeof(two);
		break;
	default:
		break;
	}
	memmove(frame_l4(f) + 20 + n, frame_l4(f) + 20, len - 20);
	memcpy(frame_l4(f) + 20, o, n);
	frame_l4(f)[12] = (uint8_t)((20 + n) / 4 << 4);
	frame_ip(f)->total_len = htons((uint16_t)(ntohs(frame_ip(f)->total_len) + n));
	f->len = (uint16_t)(f->len + n);
	frame_seal(f);
}

static struct frame ip_options(struct frame f)
{
	static const uint8_t nops[] = {1, 1, 1, 0}, record[] = {7, 7, 4, 0, 0, 0, 0, 0},
			     copied[] = {0x94, 4, 0, 0, 1, 7, 3, 4}, route[] = {1, 131, 3, 4},
			     broken[] = {1, 0x94, 60, 0};

	switch (below(r, 5)) {
	case 0:
		return with_options(f, nops, sizeof(nops));
	case 1:
		return with_options(f, record, sizeof(record));
	case 2:
		return with_options(f, copied, sizeof(copied));
	case 3:
		return with_options(f, route, sizeof(route));
	default:
		return with_options(f, broken, sizeof(broken));
	}
}

static struct frame flow_frame(
	uint8_t protocol, struct endpoint from, struct endpoint to, bool from_inside, uint8_t flags)
{
	struct frame f;

	if (protocol == CGN_PROTO_UDP)
		return udp(from, to);
	if (protocol == CGN_PROTO_ICMP)
		return from_inside ? echo(from, to.address) : echo_reply(from.address, to);
	f = tcp(from, to, flags);
	if ((flags & SYN) && chance(r, 50))
		tcp_options(&f);
	return f;
}

static void vary(struct draft *d)
{
	struct frame *f = &d->f;

	if (chance(r, 25)) {
		const unsigned size = frame_l4_len(f) + 20 + below(r, chance(r, 40) ? 1800 : 60);

		*f = with_size(*f, size < SIZE_MAX_MADE ? size : SIZE_MAX_MADE);
	}
	if (chance(r, 4))
		*f = ip_options(*f);
	frame_ip(f)->id = htons((uint16_t)random_u32(r));
	if (chance(r, 50))
		frame_ip(f)->frag = htons(DF);
	if (chance(r, 4))
		frame_ip(f)->ttl = (uint8_t)below(r, 3);
	if (chance(r, 2))
		frame_ip(f)->frag |= htons(0x8000);
	frame_seal(f);
	if (frame_ip(f)->proto == CGN_PROTO_UDP && chance(r, 15))
		frame_l4_check_set(f, 0);
	else if (chance(r, 3) && frame_l4_check(f) && frame_l4_check(f) < 0xfffe)
		frame_l4_check_set(f, (uint16_t)(frame_l4_check(f) + 1));
}

// ---- packets

static uint8_t some_protocol(void)
{
	if (config->favourite && chance(r, 70))
		return config->favourite;
	return (uint8_t)PICK(
		CGN_PROTO_TCP, CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_UDP, CGN_PROTO_ICMP);
}

static void outbound_new(struct draft *d)
{
	const uint8_t protocol = some_protocol();

	d->ifc = IN_SIDE;
	d->f = flow_frame(protocol, host(), remote(), true, chance(r, 80) ? SYN : some_flags());
}

static void along(struct draft *d, bool from_inside)
{
	const struct mapping *m = any_mapping();
	const struct session *s;
	struct endpoint in, x, far;

	if (!m) {
		outbound_new(d);
		return;
	}
	s = any_session(m);
	in = at(m->internal, m->internal_port);
	x = at(m->external, m->external_port);
	far = at(s->remote, s->remote_port);
	if (chance(r, 15))
		far = remote();
	else if (chance(r, 15))
		far.port = (uint16_t)(1000 + below(r, 8));
	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	d->mapping = m;
	if (!from_inside)
		d->toward = TOWARD_ENDPOINT;
	d->f = flow_frame(m->protocol, from_inside ? in : far, from_inside ? far : x, from_inside,
		m->protocol == CGN_PROTO_TCP ? likely_flags(s, from_inside) : 0);
}

static void unsolicited(struct draft *d)
{
	const uint8_t protocol = some_protocol();
	const struct endpoint to = external();

	d->ifc = OUT_SIDE;
	d->f = flow_frame(protocol, remote(), to, false, chance(r, 70) ? SYN : some_flags());
	if (protocol == CGN_PROTO_ICMP && chance(r, 50))
		d->f = echo(at(remote().address, 100 + below(r, 3)), to.address);
}

static void hairpin_to(struct draft *d)
{
	const struct mapping *m = any_mapping();
	struct endpoint from = host();
	const struct mapping *own = any_mapping();

	if (!m) {
		outbound_new(d);
		return;
	}
	if (own && own->protocol == m->protocol && chance(r, 60))
		from = at(own->internal, own->internal_port);
	d->ifc = IN_SIDE;
	d->mapping = m;
	d->toward = TOWARD_ENDPOINT;
	d->f = flow_frame(m->protocol, from, at(m->external, m->external_port), true,
		chance(r, 60) ? SYN : some_flags());
}

// Against the usual direction: only one-to-one mappings have such.
static void strange_echo(struct draft *d)
{
	d->ifc = below(r, 2);
	if (d->ifc == IN_SIDE)
		d->f = echo_reply(0x64400004, at(remote().address, below(r, 4)));
	else
		d->f = echo(at(remote().address, below(r, 4)),
			PICK(0xcb007109, 0xcb007101, 0xc0000202));
	if (chance(r, 30)) {
		d->ifc = IN_SIDE;
		d->f = echo(at(0x64400004, below(r, 4)), remote().address);
	}
}

static void to_ourselves(struct draft *d)
{
	d->ifc = below(r, 2);
	if (d->ifc == IN_SIDE)
		d->f = echo(host(), PICK(0x0aff0001, 0xc0000202));
	else
		d->f = echo(remote(), PICK(0x0aff0001, 0xc0000202));
}

static void other_kind(struct draft *d)
{
	const bool from_inside = chance(r, 50);

	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	if (chance(r, 50)) {
		d->f = ip_packet(from_inside ? host().address : remote().address,
			from_inside		? remote().address
				: chance(r, 50) ? external().address
						: host().address,
			(uint8_t)PICK(47, 50, 132, 4, 255), below(r, 60));
		return;
	}
	d->f = from_inside ? echo(host(), remote().address)
			   : echo_reply(remote().address, external());
	frame_l4(&d->f)[0] = (uint8_t)PICK(5, 9, 10, 13, 14, 17, 3, 11, 12, 40);
	frame_seal(&d->f);
}

// From inside to an address that a bypass policy may name, or back, or an error about such a packet.
static void bypassed(struct draft *d)
{
	const struct endpoint far = at(0xc6120001 + below(r, 2), PICK(53, 443, 1000, 1002));
	const struct endpoint near = host();
	const uint8_t protocol = some_protocol();
	const bool inbound = below(r, 2);
	uint32_t from, to;
	struct frame f = inbound ? flow_frame(protocol, far, near, false, some_flags())
				 : flow_frame(protocol, near, far, true, some_flags());

	if (chance(r, 60)) {
		d->ifc = inbound ? OUT_SIDE : IN_SIDE;
		d->f = f;
		return;
	}
	if (chance(r, 20))
		f = ip_packet(inbound ? far.address : near.address,
			inbound ? near.address : far.address, (uint8_t)PICK(47, 50), 20);
	from = inbound ? near.address : far.address;
	to = inbound ? far.address : near.address;
	if (chance(r, 60)) // a router's
		from = inbound ? 0x0aff0002 : remote().address;
	if (chance(r, 10)) // to whom it does not concern
		to = inbound ? remote().address : host().address;
	d->ifc = inbound ? IN_SIDE : OUT_SIDE;
	d->f = icmp_error(from, to, TYPE_UNREACHABLE, 4, &f, PICK(8, 28, 6));
}

static struct frame quote_broken(struct frame f)
{
	uint8_t *q = frame_l4(&f) + 8;

	switch (below(r, 4)) {
	case 0:
		q[below(r, 20)] ^= (uint8_t)(1 + below(r, 255));
		break;
	case 1:
		q[6] = 0x20;
		q[7] = 5;
		ip_seal(q);
		break;
	case 2:
		q[9] = (uint8_t)PICK(47, 1, 6, 17);
		ip_seal(q);
		break;
	default:
		set16(q + 2, PICK(20, 24, 28, 2000));
		ip_seal(q);
		break;
	}
	frame_seal(&f);
	return f;
}

// About a packet of a static mapping, which need not have a session.
static void error_about_static(struct draft *d)
{
	const struct cgn_config *c = world.config;
	const struct cgn_static_mapping *m = &c->static_mappings[below(r, c->n_static_mappings)];
	const bool whole = !m->external_ports.first;
	const unsigned n =
		whole ? 0 : below(r, m->external_ports.last - m->external_ports.first + 1u);
	const unsigned any = below(r, 3);
	const struct endpoint internal = at(m->internal, whole ? any : m->internal_ports.first + n);
	const struct endpoint external = at(m->external, whole ? any : m->external_ports.first + n);
	const struct endpoint far = remote();
	const uint8_t protocol = some_protocol();
	struct frame about;

	d->ifc = below(r, 2);
	if (d->ifc == OUT_SIDE)
		about = protocol == CGN_PROTO_ICMP && chance(r, 50)
			? echo_reply(external.address, at(far.address, external.port))
			: flow_frame(protocol, external, far, true, ACK);
	else
		about = protocol == CGN_PROTO_ICMP && chance(r, 50)
			? echo(at(far.address, internal.port), internal.address)
			: flow_frame(protocol, far, internal, false, ACK);
	d->f = d->ifc == OUT_SIDE
		? icmp_error(remote().address, external.address, TYPE_UNREACHABLE, 1, &about, 28)
		: icmp_error(chance(r, 50) ? internal.address : 0x0aff0002, far.address,
			  TYPE_UNREACHABLE, 3, &about, PICK(8, 28));
}

// About a packet of a session, from either side.
static void error_about(struct draft *d)
{
	const struct mapping *m = any_mapping();
	const uint8_t type = (uint8_t)PICK(
		TYPE_UNREACHABLE, TYPE_UNREACHABLE, TYPE_TIME_EXCEEDED, TYPE_PARAMETER);
	const struct session *s;
	struct draft about = {0};
	uint32_t from, to;

	if (world.config->n_static_mappings && chance(r, 10)) {
		error_about_static(d);
		return;
	}
	if (!m) {
		other_kind(d);
		return;
	}
	s = any_session(m);
	d->mapping = m;
	if (chance(r, 60)) { // from outside, about what we sent
		d->ifc = OUT_SIDE;
		d->toward = TOWARD_QUOTE;
		to = m->external;
		from = chance(r, 50) ? s->remote : remote().address;
		about.f = flow_frame(m->protocol, at(m->external, m->external_port),
			at(s->remote, s->remote_port), true, ACK);
	} else { // from inside, about what came in
		d->ifc = IN_SIDE;
		to = s->remote;
		from = chance(r, 50) ? m->internal : chance(r, 50) ? 0x0aff0002 : host().address;
		about.f = flow_frame(m->protocol, at(s->remote, s->remote_port),
			at(m->internal, m->internal_port), false, ACK);
	}
	if (chance(r, 10))
		to = chance(r, 50) ? remote().address : external().address;
	vary(&about);
	d->f = icmp_error(from, to, type, (uint8_t)PICK(0, 1, 3, 4), &about.f,
		PICK(8, 8, 12, 20, 28, 548, 7, 0));
	if (chance(r, 20)) { // an extension behind the quote (RFC 4884)
		memset(d->f.b + d->f.len, 0x5a, 12);
		d->f.len += 12;
		frame_ip(&d->f)->total_len =
			htons((uint16_t)(ntohs(frame_ip(&d->f)->total_len) + 12));
		frame_seal(&d->f);
	}
	if (chance(r, 15) && frame_l4_len(&d->f) >= 36)
		d->f = quote_broken(d->f);
}

static void damage(struct frame *f)
{
	struct ipv4 *ip = frame_ip(f);

	switch (below(r, 12)) {
	case 0:
		f->len = (uint16_t)below(r, f->len + 1u);
		return;
	case 1:
		ip->check ^= 1;
		return;
	case 2:
		ip->ver_ihl = (uint8_t)below(r, 256);
		return;
	case 3:
		ip->total_len = htons((uint16_t)below(r, 100));
		frame_seal_ip(f);
		return;
	case 4:
		set16(f->b + 12, PICK(0x86dd, 0x88cc, 0x0801, 0x0806));
		return;
	case 5:
		f->b[0] = (uint8_t)PICK(0x01, 0xff, 0x04);
		return;
	case 6:
		*f = with_vlan(*f, PICK(0, 5, 100, 7));
		return;
	case 7:
		if (ip->proto == CGN_PROTO_TCP)
			frame_l4(f)[12] = (uint8_t)(below(r, 16) << 4);
		else
			set16(frame_l4(f) + 4, below(r, 100));
		return;
	case 8: // short of its L4 header
		ip->total_len = htons((uint16_t)(20 + below(r, 21)));
		frame_seal_ip(f);
		return;
	case 9:
		ip->src =
			htonl(PICK(0, 0x7f000001, 0xe0000001, 0xffffffff, 0xcb007101, 0xc0000202));
		frame_seal(f);
		return;
	case 10: // padding behind the packet
		memset(f->b + f->len, 0xee, 20);
		f->len = (uint16_t)(f->len + 20);
		return;
	default:
		ip->frag = htons((uint16_t)random_u32(r));
		frame_seal_ip(f);
		return;
	}
}

static void arp_frame(struct draft *d)
{
	const uint32_t target = PICK(0x0aff0001, 0xc0000202, 0xc0000221, 0xcb007101, 0x0aff0007);

	d->ifc = below(r, 2);
	d->f = arp_request(d->ifc == IN_SIDE ? 0x0aff0002 : 0xc0000201, target);
	if (chance(r, 30))
		d->f.b[14 + below(r, 8)] ^= (uint8_t)(1 << below(r, 8));
}

// A payload with which the checksum of what leaves is computed to be 0, which UDP sends as ffff.
static void make_zero(struct draft *d)
{
	const struct mapping *m = d->mapping;
	struct frame copy = d->f;
	uint8_t *word = frame_l4(&d->f) + 8;

	if (!m || frame_ip(&copy)->proto != CGN_PROTO_UDP || !frame_l4_check(&copy))
		return;
	if (d->ifc == IN_SIDE)
		end_replace((uint8_t *)frame_ip(&copy), frame_l4_len(&copy), true, m->external,
			m->external_port);
	else
		end_replace((uint8_t *)frame_ip(&copy), frame_l4_len(&copy), false, m->internal,
			m->internal_port);
	set16(word, (get16(word) + frame_l4_check(&copy)) % 65535);
	frame_seal(&d->f);
}

// ---- steps

static void fill_step(struct stream *s, struct step *step, struct draft *d)
{
	const unsigned vlan = d->ifc == IN_SIDE ? world.config->interfaces[IN_SIDE].vlan
						: world.config->interfaces[OUT_SIDE].vlan;
	const bool arp = get16(d->f.b + 12) == 0x0806;

	(void)s;
	if (!arp) {
		memcpy(d->f.b, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)d->ifc}, 6);
		mac_of(d->ifc == IN_SIDE ? 0x0aff0002 : 0xc0000201, d->f.b + 6);
	}
	if (vlan)
		d->f = with_vlan(d->f, vlan | (chance(r, 20) ? 0x6000 : 0));
	*step = (struct step){.kind = STEP_FRAME,
		.ifc = (uint8_t)d->ifc,
		.worker = (uint8_t)(config->spread ? below(r, config->workers)
						   : d->ifc % config->workers),
		.toward = (uint8_t)d->toward,
		.protocol = d->mapping ? d->mapping->protocol : 0,
		.internal = d->mapping ? d->mapping->internal : 0,
		.internal_port = d->mapping ? d->mapping->internal_port : 0};
}

static void set_frame(struct step *step, const struct frame *f)
{
	step->len = f->len;
	step->frame = malloc(f->len + 1u);
	memcpy(step->frame, f->b, f->len);
}

static void any_packet(struct draft *d)
{
	const uint32_t dice = below(r, 100);

	if (dice < 22)
		outbound_new(d);
	else if (dice < 47)
		along(d, true);
	else if (dice < 70)
		along(d, false);
	else if (dice < 76)
		unsolicited(d);
	else if (dice < 84)
		hairpin_to(d);
	else if (dice < 92)
		error_about(d);
	else if (dice < 94)
		strange_echo(d);
	else if (dice < 96)
		to_ourselves(d);
	else if (dice < 98)
		other_kind(d);
	else
		bypassed(d);
}

// More pieces than may wait for a neighbour's MAC address are not modelled: no neighbours of ours, then,
// but routers, whose addresses are known from the start.
static bool goes_to_router(const struct draft *d)
{
	struct draft copy = *d;
	const enum where to = way_to(ntohl(frame_ip(&copy.f)->dst)).where;

	return to != TO_LINK &&
		!(to == TO_POOL && d->mapping && way_to(d->mapping->internal).where == TO_LINK);
}

// Cuts the packet of d into pieces, which will be sent in any order, some twice, some never.
static void make_fragments(struct stream *s, struct draft *d)
{
	const unsigned l4 = (unsigned)(frame_l4(&d->f) - d->f.b), end = frame_l4_len(&d->f);
	const uint16_t id = htons((uint16_t)(s->next_id++ % 40)); // the same ones come again
	const bool gaps = chance(r, 15); // every second one is lost
	unsigned at_byte = 0;

	while (at_byte < end && s->n_pending < sizeof(s->pending) / sizeof(*s->pending)) {
		unsigned n = 8 * (gaps ? 1 : 1 + below(r, chance(r, 50) ? 3 : 100));
		struct draft part = *d;
		struct step *step = &s->pending[s->n_pending];

		n = n < end - at_byte ? n : end - at_byte;
		memcpy(part.f.b + l4, d->f.b + l4 + at_byte, n);
		part.f.len = (uint16_t)(l4 + n);
		frame_ip(&part.f)->id = id;
		frame_ip(&part.f)->total_len =
			htons((uint16_t)(part.f.len - ((uint8_t *)frame_ip(&part.f) - part.f.b)));
		frame_ip(&part.f)->frag = htons((uint16_t)(at_byte / 8 |
			(at_byte + n < end ? MF : 0) | (chance(r, 5) ? DF : 0)));
		frame_seal_ip(&part.f);
		if (chance(r, 2))
			frame_ip(&part.f)->frag ^= htons((uint16_t)(1u << below(r, 4)));
		frame_seal_ip(&part.f);
		if (d->toward)
			part.toward = at_byte ? TOWARD_ADDRESS : TOWARD_ENDPOINT;
		at_byte += n;
		if (gaps ? at_byte / 8 % 2 : chance(r, 5))
			continue; // lost
		fill_step(s, step, &part);
		set_frame(step, &part.f);
		s->n_pending++;
	}
}

static void take_pending(struct stream *s, struct step *step)
{
	// mostly in order, sometimes any
	const unsigned n = chance(r, 50) ? 0 : below(r, s->n_pending);

	*step = s->pending[n];
	if (chance(r, 4)) { // again later
		s->pending[n].frame = malloc(step->len + 1u);
		memcpy(s->pending[n].frame, step->frame, step->len);
		return;
	}
	memmove(&s->pending[n], &s->pending[n + 1], (--s->n_pending - n) * sizeof(*s->pending));
}

static void wait_step(struct step *step)
{
	*step = (struct step){.kind = STEP_WAIT, .wait_ms = 1 + below(r, 400)};
	if (chance(r, 50))
		step->wait_ms = 1000 * (1 + below(r, 3));
	if (chance(r, 15))
		step->wait_ms = 1000 * (1 + below(r, 130)) + below(r, 1000);
	if (chance(r, 1))
		step->wait_ms = 1000ull * below(r, 30000);
}

static void clear_step(struct step *step)
{
	const struct mapping *m = any_mapping();

	*step = (struct step){.kind = STEP_CLEAR,
		.clear = chance(r, 50) ? CGN_WALK_CLEAR_SESSIONS : CGN_WALK_CLEAR_MAPPINGS};
	if (!m || chance(r, 5))
		return; // all
	switch (below(r, 6)) {
	case 0:
		step->filter.by_subscriber = true;
		step->filter.subscriber = m->internal;
		break;
	case 1:
		step->filter.by_external = step->filter.by_external_port = true;
		step->filter.external = m->external;
		step->filter.external_port = m->external_port;
		break;
	case 2:
		step->filter.by_protocol = true;
		step->filter.protocol = m->protocol;
		break;
	case 3:
		step->filter.by_policy = true;
		step->filter.policy = m->policy;
		break;
	default:
		step->filter.by_remote = true;
		step->filter.remote = any_session(m)->remote;
		step->filter.by_remote_port = chance(r, 50);
		step->filter.remote_port = any_session(m)->remote_port;
		break;
	}
}

// Many new flows in one burst, to places outside: whoever comes first is served first.
static bool burst_new(struct draft *d, bool icmp)
{
	for (unsigned i = 0; i < 8; i++) {
		const struct endpoint from = at(0x64400000 + 1 + below(r, config->n_hosts),
			5000 + below(r, config->n_ports));
		uint8_t protocol = some_protocol();

		// queries take another way than TCP and UDP, and so come before or behind them
		if ((protocol == CGN_PROTO_ICMP) != icmp)
			protocol = icmp ? CGN_PROTO_ICMP : CGN_PROTO_UDP;
		if (mapping_of_internal(protocol, from.address, from.port))
			continue;
		d->ifc = IN_SIDE;
		d->f = flow_frame(protocol, from, at(0xc6336401 + below(r, 4), PICK(53, 80, 22)),
			true, chance(r, 90) ? SYN : some_flags());
		return true;
	}
	return false;
}

// Packets of sessions in one burst: each by itself has its place, and none changes another.
static bool burst_old(struct draft *d, bool from_inside)
{
	const struct mapping *m = any_mapping();
	const struct session *s;

	if (!m)
		return false;
	s = any_session(m);
	if (way_to(s->remote).where != TO_ROUTE || world.config->interfaces[OUT_SIDE].mtu < 100)
		return false; // none that is refused: order would matter to our errors
	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	d->mapping = m;
	d->toward = from_inside ? TOWARD_NOTHING : TOWARD_ENDPOINT;
	d->f = from_inside
		? flow_frame(m->protocol, at(m->internal, m->internal_port),
			  at(s->remote, s->remote_port), true, likely_flags(s, true))
		: flow_frame(m->protocol, at(s->remote, s->remote_port),
			  at(m->external, m->external_port), false, likely_flags(s, false));
	// no identification is chosen for an atomic datagram, so that order does not matter
	frame_ip(&d->f)->frag = htons(DF);
	frame_seal(&d->f);
	// a one-to-one echo goes another way
	return !(m->protocol == CGN_PROTO_ICMP && m->static_mapping >= 0);
}

static bool burst_step(struct stream *s, struct step *step)
{
	struct draft d = {0};
	const bool there = s->burst_kind < 2 ? burst_new(&d, s->burst_kind == 1)
					     : burst_old(&d, s->burst_kind == 2);

	if (!there) {
		s->burst = 0;
		return false;
	}
	s->burst--;
	fill_step(s, step, &d);
	step->worker = (uint8_t)(config->spread ? s->burst_worker : d.ifc % config->workers);
	step->burst = s->burst_number;
	step->of_sessions = s->burst_kind >= 2;
	step->more = s->burst > 0;
	set_frame(step, &d.f);
	return true;
}

static bool has_vlan_room(const struct frame *f)
{
	return f->len + 24 <= FRAME_MAX;
}

void stream_next(struct stream *s, struct step *step)
{
	struct draft d = {0};
	uint32_t dice;

	r = &s->random;
	config = s->config;
	dice = below(r, 1000);
	if (s->burst) {
		if (!burst_step(s, step))
			*step = (struct step){
				.kind = STEP_WAIT, .wait_ms = 1}; // that was all of it
		return;
	}
	if (dice < config->waits) {
		wait_step(step);
		return;
	}
	if (dice >= 40 && dice < 42) {
		clear_step(step);
		return;
	}
	if (dice >= 42 && dice < 50) {
		// what changes worker comes in batches of 64, and only inside of one order is known
		s->burst = 2 + below(r, chance(r, 30) ? (config->workers > 1 ? 60 : 100) : 20);
		s->burst_number++;
		s->burst_kind = below(r, 4);
		s->burst_worker = below(r, config->workers);
		if (burst_step(s, step))
			return;
	}
	if (s->n_pending && dice < 200) {
		take_pending(s, step);
		return;
	}
	if (dice >= 200 && dice < 206) {
		arp_frame(&d);
	} else {
		any_packet(&d);
		vary(&d);
		if (chance(r, 3))
			make_zero(&d);
		if (dice >= 206 && dice < 240 && s->n_pending < 40 && goes_to_router(&d) &&
			!(ntohs(frame_ip(&d.f)->frag) & OFFSET)) {
			make_fragments(s, &d);
			if (s->n_pending) {
				take_pending(s, step);
				return;
			}
		} else if (dice >= 240 && dice < 270 && has_vlan_room(&d.f)) {
			fill_step(s, step, &d);
			step->toward = TOWARD_NOTHING;
			damage(&d.f);
			set_frame(step, &d.f);
			return;
		}
	}
	fill_step(s, step, &d);
	set_frame(step, &d.f);
}

void stream_begin(struct stream *s, const struct random_config *c, uint64_t seed)
{
	memset(s, 0, sizeof(*s));
	s->random.state = seed;
	s->config = c;
}

void stream_end(struct stream *s)
{
	for (unsigned i = 0; i < s->n_pending; i++)
		free(s->pending[i].frame);
	s->n_pending = 0;
}

void step_follow(struct step *step)
{
	const struct mapping *m =
		mapping_of_internal(step->protocol, step->internal, step->internal_port);
	const unsigned l2 = step->len > 18 && get16(step->frame + 12) == 0x8100 ? 18 : 14;
	struct packet p = {.len = step->len - l2};
	uint8_t *ip = step->frame + l2;

	if (!m || !step->toward || step->len < l2 + 28)
		return;
	if (step->toward == TOWARD_ENDPOINT) {
		end_replace(ip, p.len - header_of(ip), false, m->external, m->external_port);
	} else {
		set32(ip + AT_DST, m->external);
		if (step->toward == TOWARD_QUOTE && p.len >= header_of(ip) + 8 + 28) {
			uint8_t *q = ip + header_of(ip) + 8;

			end_replace(q, 8, true, m->external, m->external_port);
			ip_seal(q);
			memcpy(p.b, ip, p.len);
			icmp_seal(&p);
			memcpy(ip, p.b, p.len);
		}
	}
	ip_seal(ip);
}
