// SPDX-License-Identifier: BSD-3-Clause
#include "stream.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "draft.h"
#include "packet.h"

static void damage(struct frame *f)
{
	struct ipv4 *ip = frame_ip(f);

	switch (below(draft_random, 12)) {
	case 0:
		f->len = (uint16_t)below(draft_random, f->len + 1u);
		return;
	case 1:
		ip->check ^= 1;
		return;
	case 2:
		ip->ver_ihl = (uint8_t)below(draft_random, 256);
		return;
	case 3:
		ip->total_len = htons((uint16_t)below(draft_random, 100));
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
			frame_l4(f)[12] = (uint8_t)(below(draft_random, 16) << 4);
		else
			set16(frame_l4(f) + 4, below(draft_random, 100));
		return;
	case 8: // short of its L4 header
		ip->total_len = htons((uint16_t)(20 + below(draft_random, 21)));
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
		ip->frag = htons((uint16_t)random_u32(draft_random));
		frame_seal_ip(f);
		return;
	}
}

static void arp_frame(struct draft *d)
{
	const uint32_t target = PICK(0x0aff0001, 0xc0000202, 0xc0000221, 0xcb007101, 0x0aff0007);

	d->ifc = below(draft_random, 2);
	d->f = arp_request(d->ifc == IN_SIDE ? 0x0aff0002 : 0xc0000201, target);
	if (chance(draft_random, 30))
		d->f.b[14 + below(draft_random, 8)] ^= (uint8_t)(1 << below(draft_random, 8));
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
		d->f = with_vlan(d->f, vlan | (chance(draft_random, 20) ? 0x6000 : 0));
	*step = (struct step){.kind = STEP_FRAME,
		.ifc = (uint8_t)d->ifc,
		.worker =
			(uint8_t)(draft_config->spread ? below(draft_random, draft_config->workers)
						       : d->ifc % draft_config->workers),
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
	const uint32_t dice = below(draft_random, 100);

	if (dice < 22)
		draft_outbound_new(d);
	else if (dice < 47)
		draft_along(d, true);
	else if (dice < 70)
		draft_along(d, false);
	else if (dice < 76)
		draft_unsolicited(d);
	else if (dice < 84)
		draft_hairpin_to(d);
	else if (dice < 92)
		draft_error_about(d);
	else if (dice < 94)
		draft_strange_echo(d);
	else if (dice < 96)
		draft_to_ourselves(d);
	else if (dice < 98)
		draft_other_kind(d);
	else
		draft_bypassed(d);
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
	const bool gaps = chance(draft_random, 15); // every second one is lost
	unsigned at_byte = 0;

	while (at_byte < end && s->n_pending < sizeof(s->pending) / sizeof(*s->pending)) {
		unsigned n = 8 *
			(gaps ? 1 : 1 + below(draft_random, chance(draft_random, 50) ? 3 : 100));
		struct draft part = *d;
		struct step *step = &s->pending[s->n_pending];

		n = n < end - at_byte ? n : end - at_byte;
		memcpy(part.f.b + l4, d->f.b + l4 + at_byte, n);
		part.f.len = (uint16_t)(l4 + n);
		frame_ip(&part.f)->id = id;
		frame_ip(&part.f)->total_len =
			htons((uint16_t)(part.f.len - ((uint8_t *)frame_ip(&part.f) - part.f.b)));
		frame_ip(&part.f)->frag = htons((uint16_t)(at_byte / 8 |
			(at_byte + n < end ? MF : 0) | (chance(draft_random, 5) ? DF : 0)));
		frame_seal_ip(&part.f);
		if (chance(draft_random, 2))
			frame_ip(&part.f)->frag ^= htons((uint16_t)(1u << below(draft_random, 4)));
		frame_seal_ip(&part.f);
		if (d->toward)
			part.toward = at_byte ? TOWARD_ADDRESS : TOWARD_ENDPOINT;
		at_byte += n;
		if (gaps ? at_byte / 8 % 2 : chance(draft_random, 5))
			continue; // lost
		fill_step(s, step, &part);
		set_frame(step, &part.f);
		s->n_pending++;
	}
}

static void take_pending(struct stream *s, struct step *step)
{
	// mostly in order, sometimes any
	const unsigned n = chance(draft_random, 50) ? 0 : below(draft_random, s->n_pending);

	*step = s->pending[n];
	if (chance(draft_random, 4)) { // again later
		s->pending[n].frame = malloc(step->len + 1u);
		memcpy(s->pending[n].frame, step->frame, step->len);
		return;
	}
	memmove(&s->pending[n], &s->pending[n + 1], (--s->n_pending - n) * sizeof(*s->pending));
}

static void wait_step(struct step *step)
{
	*step = (struct step){.kind = STEP_WAIT, .wait_ms = 1 + below(draft_random, 400)};
	if (chance(draft_random, 50))
		step->wait_ms = 1000 * (1 + below(draft_random, 3));
	if (chance(draft_random, 15))
		step->wait_ms = 1000 * (1 + below(draft_random, 130)) + below(draft_random, 1000);
	if (chance(draft_random, 1))
		step->wait_ms = 1000ull * below(draft_random, 30000);
}

static void clear_step(struct step *step)
{
	const struct mapping *m = draft_any_mapping();

	*step = (struct step){.kind = STEP_CLEAR,
		.clear = chance(draft_random, 50) ? CGN_WALK_CLEAR_SESSIONS
						  : CGN_WALK_CLEAR_MAPPINGS};
	if (!m || chance(draft_random, 5))
		return; // all
	switch (below(draft_random, 6)) {
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
		step->filter.remote = draft_any_session(m)->remote;
		step->filter.by_remote_port = chance(draft_random, 50);
		step->filter.remote_port = draft_any_session(m)->remote_port;
		break;
	}
}

// Many new flows in one burst, to places outside: whoever comes first is served first.
static bool burst_new(struct draft *d, bool icmp)
{
	for (unsigned i = 0; i < 8; i++) {
		const struct endpoint from =
			at(0x64400000 + 1 + below(draft_random, draft_config->n_hosts),
				5000 + below(draft_random, draft_config->n_ports));
		uint8_t protocol = draft_some_protocol();

		// queries take another way than TCP and UDP, and so come before or behind them
		if ((protocol == CGN_PROTO_ICMP) != icmp)
			protocol = icmp ? CGN_PROTO_ICMP : CGN_PROTO_UDP;
		if (mapping_of_internal(protocol, from.address, from.port))
			continue;
		d->ifc = IN_SIDE;
		d->f = draft_flow_frame(protocol, from,
			at(0xc6336401 + below(draft_random, 4), PICK(53, 80, 22)), true,
			chance(draft_random, 90) ? SYN : draft_some_flags());
		return true;
	}
	return false;
}

// Packets of sessions in one burst: each by itself has its place, and none changes another.
static bool burst_old(struct draft *d, bool from_inside)
{
	const struct mapping *m = draft_any_mapping();
	const struct session *s;

	if (!m)
		return false;
	s = draft_any_session(m);
	if (way_to(s->remote).where != TO_ROUTE || world.config->interfaces[OUT_SIDE].mtu < 100)
		return false; // none that is refused: order would matter to our errors
	d->ifc = from_inside ? IN_SIDE : OUT_SIDE;
	d->mapping = m;
	d->toward = from_inside ? TOWARD_NOTHING : TOWARD_ENDPOINT;
	d->f = from_inside
		? draft_flow_frame(m->protocol, at(m->internal, m->internal_port),
			  at(s->remote, s->remote_port), true, draft_likely_flags(s, true))
		: draft_flow_frame(m->protocol, at(s->remote, s->remote_port),
			  at(m->external, m->external_port), false, draft_likely_flags(s, false));
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
	step->worker =
		(uint8_t)(draft_config->spread ? s->burst_worker : d.ifc % draft_config->workers);
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

	draft_random = &s->random;
	draft_config = s->config;
	dice = below(draft_random, 1000);
	if (s->burst) {
		if (!burst_step(s, step))
			*step = (struct step){
				.kind = STEP_WAIT, .wait_ms = 1}; // that was all of it
		return;
	}
	if (dice < draft_config->waits) {
		wait_step(step);
		return;
	}
	if (dice >= 40 && dice < 42) {
		clear_step(step);
		return;
	}
	if (dice >= 42 && dice < 50) {
		// what changes worker comes in batches of 64, and only inside of one order is known
		s->burst = 2 +
			below(draft_random,
				chance(draft_random, 30) ? (draft_config->workers > 1 ? 60 : 100)
							 : 20);
		s->burst_number++;
		s->burst_kind = below(draft_random, 4);
		s->burst_worker = below(draft_random, draft_config->workers);
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
		draft_vary(&d);
		if (chance(draft_random, 3))
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
