// SPDX-License-Identifier: BSD-3-Clause
#include "draft.h"
#include <arpa/inet.h>
#include <string.h>
#include "packet.h"

struct random *draft_random;
const struct random_config *draft_config;

uint32_t draft_pick(const uint32_t *of, size_t bytes)
{
	return of[below(draft_random, (uint32_t)(bytes / sizeof(*of)))];
}

// ---- ends

static struct endpoint host(void)
{
	uint32_t address = 0x64400000 + 1 + below(draft_random, draft_config->n_hosts);

	if (chance(draft_random, 3))
		address = PICK(0x64400101, 0x0aff0009, 0xac100001, 0xac100002, 0x0aff0001,
			0xcb007101, 0x7f000001, 0xe0000001, 0x0aff00ff, 0);
	return at(address,
		chance(draft_random, 5) ? 8080 : 5000 + below(draft_random, draft_config->n_ports));
}

struct endpoint draft_remote(void)
{
	uint32_t address = 0xc6336401 + below(draft_random, chance(draft_random, 70) ? 2 : 5);

	if (chance(draft_random, 10))
		address = PICK(0xc6120001, 0xc6120002, 0xc6336442);
	if (chance(draft_random, 4))
		address = PICK(0xc0000209, 0xc0000202, 0x0aff0001, 0x64400001, 0x0aff0009,
			0xe0000001, 0xffffffff, 0x7f000001, 0x08080808, 0xc00002ff, 0xa9fe0101);
	// a packet cut into more pieces than may wait for a MAC address is not modelled
	if (address == 0xc0000209 && world.config->interfaces[OUT_SIDE].mtu == 68)
		address = 0xc6336401;
	return at(address, PICK(53, 80, 443, 22, 25, 1000, 1001, 1002, 0));
}

const struct mapping *draft_any_mapping(void)
{
	const struct mapping *m;
	uint32_t n = 0;

	for (m = world.mappings; m; m = m->next)
		n++;
	if (!n)
		return NULL;
	n = below(draft_random, n);
	for (m = world.mappings; n; m = m->next)
		n--;
	return m;
}

const struct session *draft_any_session(const struct mapping *m)
{
	const struct session *s = m->sessions;

	for (uint32_t n = below(draft_random, m->n_sessions); n; n--)
		s = s->next;
	return s;
}

// An external endpoint that nobody may have.
struct endpoint draft_external(void)
{
	uint32_t address = 0xcb007101 + below(draft_random, 5);

	if (chance(draft_random, 10))
		address = PICK(
			0xcb007109, 0xc6336505, 0xc0000220, 0xc0000202, 0xcb0071fe, 0x64400001);
	return at(address,
		PICK(1024, 1030, 1056, 2000, 2031, 61000, 61040, 443, 7003, 80) +
			below(draft_random, 40));
}

// ---- what a packet is like

uint8_t draft_some_flags(void)
{
	return (uint8_t)(chance(draft_random, 20)
			? below(draft_random, 256)
			: PICK(SYN, SYN, SYN | ACK, ACK, ACK, ACK | TCP_PSH, FIN | ACK, RST,
				  RST | ACK, FIN, 0));
}

// What one would send next in that state.
uint8_t draft_likely_flags(const struct session *s, bool outbound)
{
	if (chance(draft_random, 20))
		return draft_some_flags();
	switch (s->state) {
	case CGN_SESSION_INIT:
		return (outbound ? s->syn_out : s->syn_in) ? (chance(draft_random, 50) ? SYN : ACK)
							   : SYN | ACK;
	case CGN_SESSION_ESTABLISHED:
		return (uint8_t)(chance(draft_random, 15) ? FIN | ACK
				: chance(draft_random, 5) ? RST
							  : ACK);
	case CGN_SESSION_CLIENT_FIN:
	case CGN_SESSION_SERVER_FIN:
		return (uint8_t)(chance(draft_random, 40) ? FIN | ACK : ACK);
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

	switch (below(draft_random, 4)) {
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

	switch (below(draft_random, 5)) {
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

struct frame draft_flow_frame(
	uint8_t protocol, struct endpoint from, struct endpoint to, bool from_inside, uint8_t flags)
{
	struct frame f;

	if (protocol == CGN_PROTO_UDP)
		return udp(from, to);
	if (protocol == CGN_PROTO_ICMP)
		return from_inside ? echo(from, to.address) : echo_reply(from.address, to);
	f = tcp(from, to, flags);
	if ((flags & SYN) && chance(draft_random, 50))
		tcp_options(&f);
	return f;
}

void draft_vary(struct draft *d)
{
	struct frame *f = &d->f;

	if (chance(draft_random, 25)) {
		const unsigned size = frame_l4_len(f) + 20 +
			below(draft_random, chance(draft_random, 40) ? 1800 : 60);

		*f = with_size(*f, size < SIZE_MAX_MADE ? size : SIZE_MAX_MADE);
	}
	if (chance(draft_random, 4))
		*f = ip_options(*f);
	frame_ip(f)->id = htons((uint16_t)random_u32(draft_random));
	if (chance(draft_random, 50))
		frame_ip(f)->frag = htons(DF);
	if (chance(draft_random, 4))
		frame_ip(f)->ttl = (uint8_t)below(draft_random, 3);
	if (chance(draft_random, 2))
		frame_ip(f)->frag |= htons(0x8000);
	frame_seal(f);
	if (frame_ip(f)->proto == CGN_PROTO_UDP && chance(draft_random, 15))
		frame_l4_check_set(f, 0);
	else if (chance(draft_random, 3) && frame_l4_check(f) && frame_l4_check(f) < 0xfffe)
		frame_l4_check_set(f, (uint16_t)(frame_l4_check(f) + 1));
}

// ---- packets

uint8_t draft_some_protocol(void)
{
	if (draft_config->favourite && chance(draft_random, 70))
		return draft_config->favourite;
	return (uint8_t)PICK(
		CGN_PROTO_TCP, CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_UDP, CGN_PROTO_ICMP);
}

void draft_outbound_new(struct draft *d)
{
	const uint8_t protocol = draft_some_protocol();

	d->ifc = IN_SIDE;
	d->f = draft_flow_frame(protocol, host(), draft_remote(), true,
		chance(draft_random, 80) ? SYN : draft_some_flags());
}

void draft_along(struct draft *d, bool from_inside)
{
	const struct mapping *m = draft_any_mapping();
	const struct session *s;
	struct endpoint in, x, far;

	if (!m) {
		draft_outbound_new(d);
		return;
	}
	s = draft_any_session(m);
	in = at(m->internal, m->internal_port);
	x = at(m->external, m->external_port);
	far = at(s->remote, s->remote_port);
	if (chance(draft_random, 15))
		far = draft_remote();
	else if (chance(draft_random, 15))
		far.port = (uint16_t)(1000 + below(draft_random, 8));
	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	d->mapping = m;
	if (!from_inside)
		d->toward = TOWARD_ENDPOINT;
	d->f = draft_flow_frame(m->protocol, from_inside ? in : far, from_inside ? far : x,
		from_inside, m->protocol == CGN_PROTO_TCP ? draft_likely_flags(s, from_inside) : 0);
}

void draft_unsolicited(struct draft *d)
{
	const uint8_t protocol = draft_some_protocol();
	const struct endpoint to = draft_external();

	d->ifc = OUT_SIDE;
	d->f = draft_flow_frame(protocol, draft_remote(), to, false,
		chance(draft_random, 70) ? SYN : draft_some_flags());
	if (protocol == CGN_PROTO_ICMP && chance(draft_random, 50))
		d->f = echo(at(draft_remote().address, 100 + below(draft_random, 3)), to.address);
}

void draft_hairpin_to(struct draft *d)
{
	const struct mapping *m = draft_any_mapping();
	struct endpoint from = host();
	const struct mapping *own = draft_any_mapping();

	if (!m) {
		draft_outbound_new(d);
		return;
	}
	if (own && own->protocol == m->protocol && chance(draft_random, 60))
		from = at(own->internal, own->internal_port);
	d->ifc = IN_SIDE;
	d->mapping = m;
	d->toward = TOWARD_ENDPOINT;
	d->f = draft_flow_frame(m->protocol, from, at(m->external, m->external_port), true,
		chance(draft_random, 60) ? SYN : draft_some_flags());
}

// Against the usual direction: only one-to-one mappings have such.
void draft_strange_echo(struct draft *d)
{
	d->ifc = below(draft_random, 2);
	if (d->ifc == IN_SIDE)
		d->f = echo_reply(0x64400004, at(draft_remote().address, below(draft_random, 4)));
	else
		d->f = echo(at(draft_remote().address, below(draft_random, 4)),
			PICK(0xcb007109, 0xcb007101, 0xc0000202));
	if (chance(draft_random, 30)) {
		d->ifc = IN_SIDE;
		d->f = echo(at(0x64400004, below(draft_random, 4)), draft_remote().address);
	}
}

void draft_to_ourselves(struct draft *d)
{
	d->ifc = below(draft_random, 2);
	if (d->ifc == IN_SIDE)
		d->f = echo(host(), PICK(0x0aff0001, 0xc0000202));
	else
		d->f = echo(draft_remote(), PICK(0x0aff0001, 0xc0000202));
}

void draft_other_kind(struct draft *d)
{
	const bool from_inside = chance(draft_random, 50);

	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	if (chance(draft_random, 50)) {
		d->f = ip_packet(from_inside ? host().address : draft_remote().address,
			from_inside			   ? draft_remote().address
				: chance(draft_random, 50) ? draft_external().address
							   : host().address,
			(uint8_t)PICK(47, 50, 132, 4, 255), below(draft_random, 60));
		return;
	}
	d->f = from_inside ? echo(host(), draft_remote().address)
			   : echo_reply(draft_remote().address, draft_external());
	frame_l4(&d->f)[0] = (uint8_t)PICK(5, 9, 10, 13, 14, 17, 3, 11, 12, 40);
	frame_seal(&d->f);
}

// From inside to an address that a bypass policy may name, or back, or an error about such a packet.
void draft_bypassed(struct draft *d)
{
	const struct endpoint far =
		at(0xc6120001 + below(draft_random, 2), PICK(53, 443, 1000, 1002));
	const struct endpoint near = host();
	const uint8_t protocol = draft_some_protocol();
	const bool inbound = below(draft_random, 2);
	uint32_t from, to;
	struct frame f = inbound ? draft_flow_frame(protocol, far, near, false, draft_some_flags())
				 : draft_flow_frame(protocol, near, far, true, draft_some_flags());

	if (chance(draft_random, 60)) {
		d->ifc = inbound ? OUT_SIDE : IN_SIDE;
		d->f = f;
		return;
	}
	if (chance(draft_random, 20))
		f = ip_packet(inbound ? far.address : near.address,
			inbound ? near.address : far.address, (uint8_t)PICK(47, 50), 20);
	from = inbound ? near.address : far.address;
	to = inbound ? far.address : near.address;
	if (chance(draft_random, 60)) // a router's
		from = inbound ? 0x0aff0002 : draft_remote().address;
	if (chance(draft_random, 10)) // to whom it does not concern
		to = inbound ? draft_remote().address : host().address;
	d->ifc = inbound ? IN_SIDE : OUT_SIDE;
	d->f = icmp_error(from, to, TYPE_UNREACHABLE, 4, &f, PICK(8, 28, 6));
}

static struct frame quote_broken(struct frame f)
{
	uint8_t *q = frame_l4(&f) + 8;

	switch (below(draft_random, 4)) {
	case 0:
		q[below(draft_random, 20)] ^= (uint8_t)(1 + below(draft_random, 255));
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
	const struct cgn_static_mapping *m =
		&c->static_mappings[below(draft_random, c->n_static_mappings)];
	const bool whole = !m->external_ports.first;
	const unsigned n = whole
		? 0
		: below(draft_random, m->external_ports.last - m->external_ports.first + 1u);
	const unsigned any = below(draft_random, 3);
	const struct endpoint internal = at(m->internal, whole ? any : m->internal_ports.first + n);
	const struct endpoint external = at(m->external, whole ? any : m->external_ports.first + n);
	const struct endpoint far = draft_remote();
	const uint8_t protocol = draft_some_protocol();
	struct frame about;

	d->ifc = below(draft_random, 2);
	if (d->ifc == OUT_SIDE)
		about = protocol == CGN_PROTO_ICMP && chance(draft_random, 50)
			? echo_reply(external.address, at(far.address, external.port))
			: draft_flow_frame(protocol, external, far, true, ACK);
	else
		about = protocol == CGN_PROTO_ICMP && chance(draft_random, 50)
			? echo(at(far.address, internal.port), internal.address)
			: draft_flow_frame(protocol, far, internal, false, ACK);
	d->f = d->ifc == OUT_SIDE
		? icmp_error(
			  draft_remote().address, external.address, TYPE_UNREACHABLE, 1, &about, 28)
		: icmp_error(chance(draft_random, 50) ? internal.address : 0x0aff0002, far.address,
			  TYPE_UNREACHABLE, 3, &about, PICK(8, 28));
}

// About a packet of a session, from either side.
void draft_error_about(struct draft *d)
{
	const struct mapping *m = draft_any_mapping();
	const uint8_t type = (uint8_t)PICK(
		TYPE_UNREACHABLE, TYPE_UNREACHABLE, TYPE_TIME_EXCEEDED, TYPE_PARAMETER);
	const struct session *s;
	struct draft about = {0};
	uint32_t from, to;

	if (world.config->n_static_mappings && chance(draft_random, 10)) {
		error_about_static(d);
		return;
	}
	if (!m) {
		draft_other_kind(d);
		return;
	}
	s = draft_any_session(m);
	d->mapping = m;
	if (chance(draft_random, 60)) { // from outside, about what we sent
		d->ifc = OUT_SIDE;
		d->toward = TOWARD_QUOTE;
		to = m->external;
		from = chance(draft_random, 50) ? s->remote : draft_remote().address;
		about.f = draft_flow_frame(m->protocol, at(m->external, m->external_port),
			at(s->remote, s->remote_port), true, ACK);
	} else { // from inside, about what came in
		d->ifc = IN_SIDE;
		to = s->remote;
		from = chance(draft_random, 50)	   ? m->internal
			: chance(draft_random, 50) ? 0x0aff0002
						   : host().address;
		about.f = draft_flow_frame(m->protocol, at(s->remote, s->remote_port),
			at(m->internal, m->internal_port), false, ACK);
	}
	if (chance(draft_random, 10))
		to = chance(draft_random, 50) ? draft_remote().address : draft_external().address;
	draft_vary(&about);
	d->f = icmp_error(from, to, type, (uint8_t)PICK(0, 1, 3, 4), &about.f,
		PICK(8, 8, 12, 20, 28, 548, 7, 0));
	if (chance(draft_random, 20)) { // an extension behind the quote (RFC 4884)
		memset(d->f.b + d->f.len, 0x5a, 12);
		d->f.len += 12;
		frame_ip(&d->f)->total_len =
			htons((uint16_t)(ntohs(frame_ip(&d->f)->total_len) + 12));
		frame_seal(&d->f);
	}
	if (chance(draft_random, 15) && frame_l4_len(&d->f) >= 36)
		d->f = quote_broken(d->f);
}
