// SPDX-License-Identifier: BSD-3-Clause
// ICMP errors that pass: RFC 5508 REQ-3 to REQ-7.
#include "observe.h"
#include "packet.h"

// Rewrites one end of the quoted packet to `address`, `port`.
static void rewrite_quote(struct packet *p, bool source, uint32_t address, uint16_t port)
{
	uint8_t *q = l4_of(p) + 8;
	const unsigned there = l4_len(p) - 8 - header_of(q);
	const unsigned total = get16(q + AT_LEN);
	const unsigned sent = total < header_of(q) ? 0 : total - header_of(q);

	// what follows the packet is padding or an extension (RFC 4884)
	end_replace(q, there < sent ? there : sent, source, address, port);
	ip_seal(q);
	icmp_seal(p);
}

// About a protocol that is not translated, or an echo that only a one-to-one mapping can have had, and
// is of none.
static bool is_strange(struct packet *p, const struct mapping *m)
{
	const bool against = p->against;
	const bool known = p->protocol == CGN_PROTO_TCP || p->protocol == CGN_PROTO_UDP ||
		p->protocol == CGN_PROTO_ICMP;

	p->against = false;
	if (known && (!against || (m && !m->subscriber)))
		return false;
	p->reason = CGN_DROP_ICMP_QUOTE;
	return true;
}

// A static mapping as one without sessions, in *room; NULL when there is none.
static const struct mapping *static_of_quote(const struct packet *p, struct mapping *room)
{
	*room = (struct mapping){.protocol = p->protocol};
	if (p->inbound) {
		room->external = p->our;
		room->external_port = p->our_port;
		if (static_of_external(p->protocol, p->our, p->our_port, &room->internal,
			    &room->internal_port) < 0)
			return NULL;
	} else {
		room->internal = p->our;
		room->internal_port = p->our_port;
		if (static_of_internal(p->protocol, p->our, p->our_port, &room->external,
			    &room->external_port) < 0)
			return NULL;
	}
	return room;
}

void error_inbound(struct packet *p)
{
	const struct mapping *m = mapping_of_external(p->protocol, p->our, p->our_port);
	struct mapping room;
	struct way way;

	if (!m)
		m = static_of_quote(p, &room);

	if (is_strange(p, m)) {
		other(p);
		return;
	}
	if (way_to(get32(p->b + AT_DST)).where != TO_POOL) {
		p->reason = CGN_DROP_ICMP_NO_MAPPING;
		other(p);
		return;
	}
	if (!p->hairpin && is_bad_source(get32(p->b + AT_SRC))) {
		drop(p, CGN_DROP_IP_SOURCE);
		return;
	}
	if (!icmp_is_right(p)) {
		drop(p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (!m || p->our != get32(p->b + AT_DST)) {
		drop(p, CGN_DROP_ICMP_NO_MAPPING);
		return;
	}
	way = way_to(m->internal);
	if (!leaves_by(way, CGN_INTERNAL)) {
		drop(p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (refused(p, way, !p->hairpin))
		return;
	rewrite_quote(p, true, m->internal, m->internal_port);
	if (!p->hairpin)
		p->b[AT_TTL]--;
	set32(p->b + AT_DST, m->internal);
	ip_seal(p->b);
	world.count.icmp_errors_translated++;
	arrive(p, m->internal);
}

void error_outbound(struct packet *p)
{
	const struct mapping *m = mapping_of_internal(p->protocol, p->our, p->our_port);
	const uint32_t dst = get32(p->b + AT_DST);
	struct mapping room;
	struct way way;

	if (!m)
		m = static_of_quote(p, &room);

	if (is_strange(p, m)) {
		other(p);
		return;
	}
	if (!m || p->their != dst ||
		(!session_of(m, p->their, p->their_port) && quotes_bypassed(p))) {
		p->reason = CGN_DROP_ICMP_NO_MAPPING;
		other(p);
		return;
	}
	if (!icmp_is_right(p)) {
		drop(p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (is_bad_source(get32(p->b + AT_SRC))) {
		drop(p, CGN_DROP_IP_SOURCE);
		return;
	}
	way = way_to(dst);
	if (way.where != TO_POOL && !leaves_by(way, CGN_EXTERNAL)) {
		drop(p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (refused(p, way, true))
		return;
	rewrite_quote(p, false, m->external, m->external_port);
	if (get16(p->b + AT_FRAG) != DF)
		set16(p->b + AT_ID, next_ident(p->worker, m->external, dst, CGN_PROTO_ICMP));
	p->b[AT_TTL]--;
	set32(p->b + AT_SRC, m->external); // whoever sent it (RFC 5508 REQ-5)
	ip_seal(p->b);
	if (way.where != TO_POOL) // a hairpin is counted when it has got through
		world.count.icmp_errors_translated++;
	leave(p, way);
}
