// SPDX-License-Identifier: BSD-3-Clause
// The ways of packets: docs/architecture.md, "The path of a packet" and "The slow path".
#include "observe.h"
#include "packet.h"
#include <string.h>

static bool has_ports(const struct packet *p)
{
	return p->kind == KIND_FLOW && p->protocol != CGN_PROTO_ICMP;
}

// The inside's view of p: from our side to theirs.
static int policy_of(const struct packet *p)
{
	const uint32_t src = get32(p->b + AT_SRC), dst = get32(p->b + AT_DST);

	return policy_for(p->inbound ? dst : src, p->inbound ? src : dst, p->b[AT_PROTO],
		has_ports(p), p->their_port);
}

bool quotes_bypassed(const struct packet *p)
{
	const int policy = policy_for(p->our, p->their, p->protocol,
		p->protocol == CGN_PROTO_TCP || p->protocol == CGN_PROTO_UDP, p->their_port);

	return policy >= 0 && world.config->policies[policy].action == CGN_BYPASS;
}

// To whom it quotes a packet of, and that is one which a policy bypasses.
static bool about_bypassed(const struct packet *p)
{
	return p->kind == KIND_ERROR && get32(p->b + AT_DST) == (p->inbound ? p->our : p->their) &&
		quotes_bypassed(p);
}

static uint8_t tcp_flags(struct packet *p)
{
	return p->protocol == CGN_PROTO_TCP ? l4_of(p)[13] : 0;
}

bool ends_here(struct packet *p, struct way way)
{
	if (way.where == TO_US)
		to_us(p);
	else if (way.where == TO_MARTIAN)
		drop(p, CGN_DROP_IP_DESTINATION);
	else
		return false;
	return true;
}

// RFC 1812 5.3.7 and 5.3.8. Routers on the way may have any address (RFC 4787 REQ-12a).
bool source_refused(struct packet *p)
{
	const uint32_t source = get32(p->b + AT_SRC);

	if (p->hairpin)
		return false;
	if (is_bad_source(source))
		drop(p, CGN_DROP_IP_SOURCE);
	else if (p->inbound && p->kind != KIND_ERROR && !is_outside(source))
		drop(p, CGN_DROP_SOURCE_NOT_OUTSIDE);
	else
		return false;
	return true;
}

// What is forwarded from inside must have come from where its source is.
static bool came_astray(struct packet *p)
{
	if (is_inside(get32(p->b + AT_SRC)))
		return false;
	drop(p, CGN_DROP_SOURCE_NOT_INSIDE);
	return true;
}

void bypass(struct packet *p)
{
	const struct way way = way_to(get32(p->b + AT_DST));

	if (!p->inbound && came_astray(p))
		return;

	// out, or from inside to inside where a policy says so; never from outside to outside
	if (!leaves_by(way, CGN_INTERNAL) && (p->inbound || !leaves_by(way, CGN_EXTERNAL))) {
		send_error(p, TYPE_UNREACHABLE, 0, 0);
		drop(p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (refused(p, way, true))
		return;
	p->b[AT_TTL]--;
	ip_seal(p->b);
	world.count.bypassed++;
	if (p->first_of)
		fragment_bypassed(p);
	send_packet(p, way);
}

// ---- outbound

void leave(struct packet *p, struct way way)
{
	if (leaves_by(way, CGN_EXTERNAL)) {
		world.count.translated_outbound++;
		send_packet(p, way);
	} else if (way.where == TO_POOL) {
		to_pool(p);
	} else {
		drop(p,
			leaves_by(way, CGN_INTERNAL) ? CGN_DROP_INTERNAL_TO_INTERNAL
						     : CGN_DROP_NO_ROUTE);
	}
}

static void translate_out(struct packet *p, struct session *s)
{
	const struct way way = way_to(get32(p->b + AT_DST));
	const struct mapping *m = s->mapping;

	if (refused(p, way, true))
		return;
	model_session_packet(s, p, true);
	if (get16(p->b + AT_FRAG) != DF) // not atomic: RFC 6864 5.3.1
		set16(p->b + AT_ID,
			next_ident(p->worker, m->external, get32(p->b + AT_DST), p->b[AT_PROTO]));
	if (p->first_of)
		fragment_translated(p, s, m->external);
	p->b[AT_TTL]--;
	end_replace(p->b, l4_len(p), true, m->external, m->external_port);
	ip_seal(p->b);
	leave(p, way);
}

// What is settled before a mapping is thought of. False: p is gone.
static bool admit(struct packet *p, int policy)
{
	const struct way way = way_to(get32(p->b + AT_DST));
	const struct cgn_policy *c = policy < 0 ? NULL : &world.config->policies[policy];
	uint32_t internal;
	uint16_t port;

	if (source_refused(p))
		return false;
	if (ends_here(p, way))
		return false;
	if (!c)
		drop(p, CGN_DROP_POLICY_NONE);
	else if (c->action == CGN_DROP)
		drop(p, CGN_DROP_POLICY_DROP);
	else if (c->action == CGN_BYPASS)
		bypass(p);
	else if (came_astray(p))
		return false;
	else if (leaves_by(way, CGN_INTERNAL))
		drop(p, CGN_DROP_INTERNAL_TO_INTERNAL);
	else if (way.where == TO_POOL && !c->hairpin)
		drop(p, CGN_DROP_HAIRPIN_OFF);
	else if (way.where == TO_POOL && p->protocol == CGN_PROTO_ICMP &&
		static_of_external(CGN_PROTO_ICMP, get32(p->b + AT_DST), 0, &internal, &port) < 0)
		drop(p, CGN_DROP_ICMP_NO_SESSION); // only one-to-one has queries from elsewhere
	else if (way.where != TO_NOWHERE)
		return !refused(p, way, true);
	else {
		send_error(p, TYPE_UNREACHABLE, 0, 0);
		drop(p, CGN_DROP_NO_ROUTE);
	}
	return false;
}

static void refuse(struct packet *p, enum cgn_drop reason)
{
	if (world.config->icmp_refused != CGN_REFUSED_OFF)
		send_error(p, TYPE_UNREACHABLE,
			world.config->icmp_refused == CGN_REFUSED_HOST_UNREACHABLE ? 1 : 13, 0);
	drop(p, reason);
}

void outbound(struct packet *p)
{
	struct mapping *m = mapping_of_internal(p->protocol, p->our, p->our_port);
	struct session *s = m ? session_of(m, p->their, p->their_port) : NULL;
	int policy, static_mapping = -1;
	enum cgn_drop reason;
	uint32_t external;
	uint16_t port;

	if (s) {
		translate_out(p, s);
		return;
	}
	policy = policy_of(p);
	if (!admit(p, policy))
		return;
	if (!m)
		static_mapping =
			static_of_internal(p->protocol, p->our, p->our_port, &external, &port);
	if (p->protocol == CGN_PROTO_TCP && !is_syn(tcp_flags(p)) &&
		((tcp_flags(p) & RST) || !world.config->tcp_midstream_forward ||
			(!m && static_mapping < 0))) {
		drop(p, CGN_DROP_TCP_NO_SESSION);
		return;
	}
	if (m)
		reason = model_session_add(p, false, policy, m, &s);
	else if (static_mapping >= 0)
		reason = model_session_open_static(p, false, policy, static_mapping, &s);
	else
		reason = model_session_open(p, policy, &s);
	if (reason == CGN_DROP_COUNT)
		translate_out(p, s);
	else
		refuse(p, reason);
}

// ---- inbound

void arrive(struct packet *p, uint32_t internal)
{
	const struct way way = way_to(internal);

	if (!leaves_by(way, CGN_INTERNAL)) {
		drop(p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (p->hairpin)
		world.count.hairpinned++;
	else
		world.count.translated_inbound++;
	send_packet(p, way);
}

static void translate_in(struct packet *p, struct session *s)
{
	const struct mapping *m = s->mapping;

	if (refused(p, way_to(m->internal), !p->hairpin))
		return;
	model_session_packet(s, p, false);
	if (p->first_of)
		fragment_translated(p, s, m->internal);
	if (!p->hairpin)
		p->b[AT_TTL]--;
	end_replace(p->b, l4_len(p), false, m->internal, m->internal_port);
	ip_seal(p->b);
	arrive(p, m->internal);
}

static bool lets_in(const struct mapping *m, const struct packet *p)
{
	const struct cgn_policy *c;
	enum cgn_filtering filtering;

	if (!m->subscriber)
		return true;
	c = &world.config->policies[m->policy];
	filtering = p->protocol == CGN_PROTO_TCP ? c->filtering_tcp : c->filtering_udp;
	if (filtering == CGN_FILTER_ADDRESS_DEPENDENT) {
		for (const struct session *s = m->sessions; s; s = s->next) {
			if (s->remote == p->their)
				return true;
		}
	}
	return filtering == CGN_FILTER_ENDPOINT_INDEPENDENT;
}

// What comes to an address of no pool.
static void inbound_elsewhere(struct packet *p, enum cgn_drop reason)
{
	int policy;

	if (ends_here(p, way_to(get32(p->b + AT_DST))))
		return;
	policy = policy_of(p);
	if ((policy >= 0 && world.config->policies[policy].action == CGN_BYPASS) ||
		about_bypassed(p))
		bypass(p);
	else
		drop(p, reason);
}

static enum cgn_drop inbound_new(
	struct packet *p, struct mapping *m, int static_mapping, struct session **s)
{
	int policy;

	if (!m)
		return model_session_open_static(p, true, -1, static_mapping, s);
	if (!m->subscriber)
		return model_session_add(p, true, -1, m, s);
	// who may not be reached from inside does not get in either
	policy = policy_for(
		m->internal, p->their, p->protocol, p->protocol != CGN_PROTO_ICMP, p->their_port);
	if (policy < 0)
		return CGN_DROP_POLICY_NONE;
	if (world.config->policies[policy].action != CGN_TRANSLATE)
		return CGN_DROP_POLICY_DROP;
	return model_session_add(p, true, m->policy, m, s);
}

void inbound(struct packet *p)
{
	struct mapping *m = mapping_of_external(p->protocol, p->our, p->our_port);
	struct session *s = m ? session_of(m, p->their, p->their_port) : NULL;
	int static_mapping;
	enum cgn_drop reason;
	uint32_t internal;
	uint16_t port;

	if (s &&
		(p->hairpin ||
			!is_bad_source(p->their))) { // it was asked when the session was made
		translate_in(p, s);
		return;
	}
	if (source_refused(p))
		return;
	if (way_to(get32(p->b + AT_DST)).where != TO_POOL) {
		inbound_elsewhere(p, CGN_DROP_EXTERNAL_TO_EXTERNAL);
		return;
	}
	static_mapping = static_of_external(p->protocol, p->our, p->our_port, &internal, &port);
	if (!m && static_mapping < 0) {
		unsolicited_refused(p, CGN_DROP_NO_MAPPING);
		return;
	}
	if (p->protocol == CGN_PROTO_ICMP && !p->against) {
		drop(p, CGN_DROP_ICMP_NO_SESSION);
		return;
	}
	if (m && !lets_in(m, p)) {
		unsolicited_refused(p, CGN_DROP_FILTERED);
		return;
	}
	if (p->protocol == CGN_PROTO_TCP && !is_syn(tcp_flags(p)) &&
		((tcp_flags(p) & RST) || !world.config->tcp_midstream_forward)) {
		drop(p, CGN_DROP_TCP_NO_SESSION);
		return;
	}
	if (!p->hairpin && p->b[AT_TTL] <= 1) {
		send_error(p, TYPE_TIME_EXCEEDED, 0, 0);
		drop(p, CGN_DROP_TTL_EXPIRED);
		return;
	}
	reason = inbound_new(p, m, static_mapping, &s);
	if (reason == CGN_DROP_COUNT)
		translate_in(p, s);
	else
		drop(p, reason);
}

// ---- what is never translated, but for echo against the usual direction and one-to-one

static bool one_to_one_echo(struct packet *p)
{
	uint32_t address;
	uint16_t port;
	struct mapping *m;
	struct session *s;

	if (p->inbound) {
		if (static_of_external(p->protocol, p->our, p->our_port, &address, &port) < 0)
			return false;
		p->worker = owner_of_internal(address);
		inbound(p);
		return true;
	}
	if (static_of_internal(p->protocol, p->our, p->our_port, &address, &port) < 0)
		return false;
	p->worker = owner_of_internal(p->our);
	m = mapping_of_internal(p->protocol, p->our, p->our_port);
	s = m ? session_of(m, p->their, p->their_port) : NULL;
	if (s)
		translate_out(p, s);
	return s;
}

void other(struct packet *p)
{
	int policy;

	if (source_refused(p))
		return;
	if (p->against && one_to_one_echo(p))
		return;
	if (p->inbound) {
		inbound_elsewhere(p, p->reason);
		return;
	}
	if (ends_here(p, way_to(get32(p->b + AT_DST))))
		return;
	policy = policy_of(p);
	if ((policy >= 0 && world.config->policies[policy].action == CGN_BYPASS) ||
		about_bypassed(p))
		bypass(p);
	else if (policy >= 0 && world.config->policies[policy].action == CGN_DROP)
		drop(p, CGN_DROP_POLICY_DROP);
	else
		drop(p, p->reason);
}

// ---- arriving

static void dispatch(struct packet *p)
{
	switch (p->kind) {
	case KIND_FLOW:
		if (p->inbound)
			inbound(p);
		else
			outbound(p);
		break;
	case KIND_ERROR:
		if (p->inbound)
			error_inbound(p);
		else
			error_outbound(p);
		break;
	case KIND_FRAGMENT:
		fragment(p);
		break;
	case KIND_OTHER:
		other(p);
		break;
	}
}

static void find_owner(struct packet *p)
{
	if (p->kind == KIND_OTHER)
		return; // whoever has it
	if (!p->inbound)
		p->worker = owner_of_internal(p->our);
	else if (p->kind == KIND_FRAGMENT)
		p->worker = owner_of_fragment(p->b);
	else
		p->worker = owner_of_external(p->protocol, p->our, p->our_port);
}

void to_pool(struct packet *p)
{
	struct packet q = *p;
	uint32_t our;
	uint16_t port;

	q.hairpin = true;
	q.first_of = NULL;
	packet_read(&q, true);
	our = get32(q.b + AT_DST);
	port = q.our_port;
	if (q.kind == KIND_OTHER) // by its address alone, but that of an echo
		q.worker = owner_of_external(q.against ? q.protocol : 0, our, q.against ? port : 0);
	else
		find_owner(&q);
	dispatch(&q);
}

static bool has_source_route(const uint8_t *ip)
{
	unsigned at = 20;

	while (at < header_of(ip) && ip[at]) {
		if (ip[at] == 131 || ip[at] == 137)
			return true;
		if (ip[at] == 1)
			at++;
		else if (at + 2 > header_of(ip) || ip[at + 1] < 2)
			return false;
		else
			at += ip[at + 1];
	}
	return false;
}

// RFC 1812 5.2.2
static enum cgn_drop header_error(const uint8_t *ip, unsigned n)
{
	if (n < 20)
		return CGN_DROP_FRAME_TOO_SHORT;
	if (ip[0] >> 4 != 4 || header_of(ip) < 20)
		return CGN_DROP_IP_VERSION;
	if (get16(ip + AT_LEN) < header_of(ip) || get16(ip + AT_LEN) > n)
		return CGN_DROP_IP_LENGTH;
	if (sum_mod(ip, header_of(ip)) != 0)
		return CGN_DROP_IP_CHECKSUM;
	return has_source_route(ip) ? CGN_DROP_IP_SOURCE_ROUTE : CGN_DROP_COUNT;
}

// Requests for our addresses are answered, and for external ones inside the interface's prefix.
static void arp(unsigned ifc, const uint8_t *frame, unsigned l2, unsigned len)
{
	const struct cgn_interface *c = &world.config->interfaces[ifc];
	const uint8_t *a = frame + l2;
	uint32_t target;
	struct way way;
	bool ours = false;
	uint8_t reply[64];

	if (len < l2 + 28 || get16(a) != 1 || get16(a + 2) != 0x0800 || a[4] != 6 || a[5] != 4 ||
		(get16(a + 6) != 1 && get16(a + 6) != 2) || (a[8] & 1)) {
		drop_at(ifc, CGN_DROP_ARP_INVALID);
		return;
	}
	world.count.consumed++;
	target = get32(a + 24);
	way = way_to(target);
	if (way.where == TO_US)
		ours = way.ifc == ifc;
	for (uint32_t i = 0; way.where == TO_POOL && i < c->n_addresses; i++)
		ours = ours ||
			!((c->addresses[i].address ^ target) >> (32 - c->addresses[i].length));
	if (!ours || get16(a + 6) != 1)
		return;
	memcpy(reply, a + 8, 6);
	memcpy(reply + 6, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)ifc}, 6);
	memcpy(reply + 12, frame + 12, l2 - 12);
	if (l2 == 18)
		set16(reply + 14, c->vlan);
	memcpy(reply + l2, a, 6);
	set16(reply + l2 + 6, 2);
	memcpy(reply + l2 + 8, reply + 6, 6);
	set32(reply + l2 + 14, target);
	memcpy(reply + l2 + 18, a + 8, 10);
	world.count.originated++;
	world.count.arp_replies_sent++;
	send_frame(ifc, reply, l2 + 28);
}

void frame_arrives(unsigned ifc, unsigned worker, const uint8_t *frame, unsigned len)
{
	const struct cgn_interface *c = &world.config->interfaces[ifc];
	const uint8_t mac[6] = {2, 0, 0, 0, 0, (uint8_t)ifc};
	unsigned l2 = 14, type, vlan = 0;
	struct packet p = {.ifc = ifc, .worker = worker};
	enum cgn_drop reason = CGN_DROP_COUNT;

	world.count.rx_packets++;
	if (len < 14) {
		drop_at(ifc, CGN_DROP_FRAME_TOO_SHORT);
		return;
	}
	type = get16(frame + 12);
	if (type == 0x8100 && len >= 18) {
		vlan = get16(frame + 14) & 0xfff;
		type = get16(frame + 16);
		l2 = 18;
	}
	if (vlan != c->vlan)
		reason = CGN_DROP_VLAN_MISMATCH;
	else if (type == 0x0806) {
		arp(ifc, frame, l2, len);
		return;
	} else if (type != 0x0800) // IPv6 is not modelled: no interface has an address of it
		reason = type == 0x86dd ? CGN_DROP_IPV6_OFF : CGN_DROP_ETHERTYPE;
	else if (memcmp(frame, mac, 6))
		reason = frame[0] & 1 ? CGN_DROP_L2_MULTICAST : CGN_DROP_NOT_FOR_US;
	else
		reason = header_error(frame + l2, len - l2);
	if (reason == CGN_DROP_COUNT) {
		p.len = get16(frame + l2 + AT_LEN);
		memcpy(p.b, frame + l2, p.len);
		reason = packet_read(&p, c->role == CGN_EXTERNAL);
	}
	if (reason != CGN_DROP_COUNT) {
		drop_at(ifc, reason);
		return;
	}
	find_owner(&p);
	dispatch(&p);
}
