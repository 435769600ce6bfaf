// SPDX-License-Identifier: BSD-3-Clause
// Fragments: docs/architecture.md and docs/configuration.md, "Fragments"; RFC 4787 REQ-14, RFC 1858.
// Of every datagram it is noted which units of 8 bytes have come.
#include "observe.h"
#include "packet.h"
#include <stdlib.h>
#include <string.h>

enum { // docs/configuration.md
	HELD_MAX = 1024,
	HELD_SOURCE = 128,
	HELD_DATAGRAM = 64,
	DATAGRAMS_MAX = 4096,
	DATAGRAMS_SOURCE = 1024,
	GAPS_MAX = 32,
	PAYLOAD_MAX = 65515,
	UNITS = 8192,
};

enum state {
	WAITING, // for the first fragment
	DROPPED, // the first one was
	TRANSLATED,
	BYPASSED,
	STEERED, // another worker has the datagram
};

enum side {
	OUT,
	IN,
	STEER, // only who owns it is found out
};

struct held {
	struct held *next;
	struct packet packet;
};

struct datagram {
	struct datagram *next;
	uint32_t src, dst;
	uint16_t id;
	uint8_t protocol;
	enum side side;
	unsigned worker, owner;
	enum state state;
	uint64_t since_ns;
	bool came[UNITS];
	unsigned end; // bytes; 0: not known
	unsigned reach; // bytes: behind the last one that came
	struct held *held; // in order of arrival
	// translated: to what
	uint32_t address;
	uint16_t new_id;
	struct session *session; // NULL: it has ended
	uint32_t opened_s;
	uint8_t flow_protocol;
	uint32_t internal, remote;
	uint16_t internal_port, remote_port;
};

struct part {
	enum side side;
	unsigned from, to; // bytes of the payload
	bool last;
};

static void arrives(struct packet *p, const struct part *part);

static bool side_of(enum side side)
{
	return side == OUT;
}

static bool same(const struct datagram *d, const struct packet *p, enum side side)
{
	return d->src == get32(p->b + AT_SRC) && d->dst == get32(p->b + AT_DST) &&
		d->id == get16(p->b + AT_ID) && d->protocol == p->b[AT_PROTO] && d->side == side &&
		d->worker == p->worker;
}

static struct datagram *find(const struct packet *p, enum side side)
{
	struct datagram *d = world.datagrams;

	while (d && !same(d, p, side))
		d = d->next;
	return d;
}

static struct datagram *datagram_new(const struct packet *p, enum side side)
{
	struct datagram *d = calloc(1, sizeof(*d)), **at = &world.datagrams;

	while (*at)
		at = &(*at)->next;
	*at = d;
	d->src = get32(p->b + AT_SRC);
	d->dst = get32(p->b + AT_DST);
	d->id = (uint16_t)get16(p->b + AT_ID);
	d->protocol = p->b[AT_PROTO];
	d->side = side;
	d->worker = p->worker;
	d->since_ns = world.now_ns;
	return d;
}

static void unlink_datagram(struct datagram *d)
{
	struct datagram **at = &world.datagrams;

	while (*at != d)
		at = &(*at)->next;
	*at = d->next;
	d->next = NULL;
}

static void forget(struct datagram *d)
{
	unlink_datagram(d);
	for (struct held *h = d->held, *next; h; h = next) {
		next = h->next;
		free(h);
	}
	free(d);
}

// Its time begins again: behind all the others.
static void renew(struct datagram *d)
{
	struct datagram **at = &world.datagrams;

	unlink_datagram(d);
	while (*at)
		at = &(*at)->next;
	*at = d;
	d->since_ns = world.now_ns;
}

// ---- which parts came

static unsigned runs(const struct datagram *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < (d->reach + 7) / 8; i++)
		n += d->came[i] && (!i || !d->came[i - 1]);
	return n;
}

static bool is_whole(const struct datagram *d)
{
	if (!d->end)
		return false;
	for (unsigned i = 0; i < (d->end + 7) / 8; i++) {
		if (!d->came[i])
			return false;
	}
	return true;
}

static enum cgn_drop cover(struct datagram *d, const struct part *part)
{
	const unsigned from = part->from / 8, to = (part->to + 7) / 8;
	bool before = from && d->came[from - 1], behind = to < UNITS && d->came[to];

	if (d->end && part->last)
		return part->to == d->end ? CGN_DROP_FRAG_OVERLAP : CGN_DROP_FRAG_INVALID;
	if (d->end && part->to > d->end)
		return CGN_DROP_FRAG_INVALID;
	if (part->last && d->reach > part->to)
		return CGN_DROP_FRAG_INVALID;
	for (unsigned i = from; i < to; i++) {
		if (d->came[i])
			return CGN_DROP_FRAG_OVERLAP;
	}
	if (!before && !behind && runs(d) == GAPS_MAX)
		return CGN_DROP_FRAG_DATAGRAM_LIMIT;
	for (unsigned i = from; i < to; i++)
		d->came[i] = true;
	if (part->to > d->reach)
		d->reach = part->to;
	if (part->last)
		d->end = part->to;
	return CGN_DROP_COUNT;
}

// ---- those behind the first

// Counts for the session of the first one, if it is still the same. When a session has moved into the
// record of its mapping meanwhile, the dataplane may not find it again.
static void count(const struct datagram *d, const struct packet *p)
{
	struct mapping *m = mapping_of_internal(d->flow_protocol, d->internal, d->internal_port);
	struct session *s = m ? session_of(m, d->remote, d->remote_port) : NULL;

	world.count.fragments_followed++;
	if (!s)
		return;
	if (s != d->session || m->promoted_s >= d->opened_s)
		s->counts_unsure = true;
	if (d->side == OUT) {
		s->packets_out++;
		s->bytes_out += p->len;
	} else {
		s->packets_in++;
		s->bytes_in += p->len;
	}
}

static void follow_out(const struct datagram *d, struct packet *p)
{
	const struct way way = way_to(get32(p->b + AT_DST));

	if (refused(p, way, true))
		return;
	count(d, p);
	p->b[AT_TTL]--;
	set32(p->b + AT_SRC, d->address);
	set16(p->b + AT_ID, d->new_id);
	ip_seal(p->b);
	leave(p, way);
}

static void follow_in(const struct datagram *d, struct packet *p)
{
	if (refused(p, way_to(d->address), !p->hairpin))
		return;
	count(d, p);
	if (!p->hairpin)
		p->b[AT_TTL]--;
	set32(p->b + AT_DST, d->address);
	ip_seal(p->b);
	arrive(p, d->address);
}

static void follow(struct datagram *d, struct packet *p, const struct part *part)
{
	struct part ours = *part;

	switch (d->state) {
	case TRANSLATED:
		if (d->side == OUT)
			follow_out(d, p);
		else
			follow_in(d, p);
		break;
	case BYPASSED:
		world.count.fragments_followed++;
		bypass(p);
		break;
	case STEERED:
		p->worker = d->owner;
		ours.side = IN;
		arrives(p, &ours);
		break;
	default:
		drop(p, CGN_DROP_FRAG_HEAD_DROPPED);
		break;
	}
}

// ---- limits

static enum cgn_drop may_hold(const struct packet *p, enum side side, const struct datagram *d)
{
	const uint32_t src = get32(p->b + AT_SRC);
	unsigned n_own = 0, n_source = 0, n_all = 0;

	for (const struct datagram *o = world.datagrams; o; o = o->next) {
		if (o->worker != p->worker || side_of(o->side) != side_of(side))
			continue;
		for (const struct held *h = o->held; h; h = h->next) {
			n_all++;
			n_source += o->src == src;
			n_own += o == d;
		}
	}
	if (n_own == HELD_DATAGRAM)
		return CGN_DROP_FRAG_DATAGRAM_LIMIT;
	if (n_source >= HELD_SOURCE)
		return CGN_DROP_FRAG_SOURCE_LIMIT;
	return n_all >= HELD_MAX ? CGN_DROP_FRAG_STORE_FULL : CGN_DROP_COUNT;
}

static enum cgn_drop may_open(const struct packet *p, enum side side)
{
	const uint32_t src = get32(p->b + AT_SRC);
	unsigned n_source = 0, n_all = 0;

	for (const struct datagram *o = world.datagrams; o; o = o->next) {
		if (o->worker != p->worker || side_of(o->side) != side_of(side) ||
			o->state == WAITING)
			continue;
		n_all++;
		n_source += o->src == src;
	}
	if (n_source >= DATAGRAMS_SOURCE)
		return CGN_DROP_FRAG_SOURCE_LIMIT;
	return n_all >= DATAGRAMS_MAX ? CGN_DROP_FRAG_STORE_FULL : CGN_DROP_COUNT;
}

// ---- arriving

static void hold(struct packet *p, struct datagram *d, const struct part *part)
{
	enum cgn_drop reason = may_hold(p, part->side, d);
	struct held *h, **at;

	if (reason == CGN_DROP_COUNT) {
		if (!d)
			d = datagram_new(p, part->side);
		reason = cover(d, part);
	}
	if (reason != CGN_DROP_COUNT) {
		drop(p, reason);
		return;
	}
	h = calloc(1, sizeof(*h));
	h->packet = *p;
	for (at = &d->held; *at; at = &(*at)->next)
		;
	*at = h;
}

static void later(struct packet *p, const struct part *part)
{
	struct datagram *d = find(p, part->side);
	enum cgn_drop reason = CGN_DROP_COUNT;

	if (!d || d->state == WAITING) {
		hold(p, d, part);
		return;
	}
	if (d->state != DROPPED)
		reason = cover(d, part);
	if (reason != CGN_DROP_COUNT) {
		drop(p, reason);
		return;
	}
	follow(d, p, part);
	if (is_whole(d))
		forget(d);
}

static bool part_of(const struct packet *p, enum side side, struct part *part)
{
	const unsigned frag = get16(p->b + AT_FRAG), n = l4_len(p);

	*part = (struct part){side, (frag & OFFSET) * 8, (frag & OFFSET) * 8 + n, !(frag & MF)};
	if (!n || (!part->last && n % 8) || part->to > PAYLOAD_MAX)
		return false;
	return !(p->b[AT_PROTO] == CGN_PROTO_TCP && part->from == 8); // RFC 1858 3.2
}

static void released(struct datagram *d)
{
	while (d->held) {
		struct held *h = d->held;
		struct part part;

		d->held = h->next;
		h->next = NULL;
		part_of(&h->packet, d->side, &part);
		follow(d, &h->packet, &part);
		free(h);
	}
	if (is_whole(d))
		forget(d);
}

static void first(struct packet *p, const struct part *part)
{
	struct datagram *d = find(p, part->side);
	enum cgn_drop reason;

	if (d && d->state == DROPPED) { // begins anew
		forget(d);
		d = NULL;
	}
	if (d && d->state != WAITING) {
		drop(p, CGN_DROP_FRAG_OVERLAP);
		return;
	}
	reason = may_open(p, part->side);
	if (reason == CGN_DROP_COUNT && d)
		reason = cover(d, part);
	if (reason != CGN_DROP_COUNT) {
		drop(p, reason);
		return;
	}
	if (d) {
		renew(d);
	} else {
		d = datagram_new(p, part->side);
		cover(d, part);
	}
	d->state = DROPPED; // until it is told otherwise
	reason = packet_read_first(p, part->side != OUT);
	p->first_of = d;
	if (reason != CGN_DROP_COUNT) {
		drop(p, reason);
	} else if (part->side == STEER) {
		d->state = STEERED;
		d->owner = owner_of_external(p->protocol, p->our, p->our_port);
		p->first_of = NULL;
		follow(d, p, part);
	} else if (p->kind == KIND_OTHER) {
		other(p);
	} else if (part->side == IN) {
		inbound(p);
	} else {
		outbound(p);
	}
	released(d);
}

static void arrives(struct packet *p, const struct part *part)
{
	if (part->from)
		later(p, part);
	else
		first(p, part);
}

// True when p is settled without its datagram: for us, bypassed, or nothing we carry.
static bool settled(struct packet *p)
{
	const uint32_t src = get32(p->b + AT_SRC), dst = get32(p->b + AT_DST);
	const struct way way = way_to(dst);
	bool by_ports;
	int policy;

	if (source_refused(p))
		return true;
	if (ends_here(p, way))
		return true;
	if (p->inbound && way.where == TO_POOL)
		return false;
	policy = policy_for_fragment(
		p->inbound ? dst : src, p->inbound ? src : dst, p->b[AT_PROTO], &by_ports);
	if (by_ports)
		return false;
	if (policy >= 0 && world.config->policies[policy].action == CGN_BYPASS) {
		bypass(p);
		return true;
	}
	if (p->inbound)
		drop(p, CGN_DROP_EXTERNAL_TO_EXTERNAL);
	return p->inbound;
}

void fragment(struct packet *p)
{
	const uint8_t protocol = p->b[AT_PROTO];
	struct part part;
	enum side side = p->inbound ? IN : OUT;

	if (protocol != CGN_PROTO_TCP && protocol != CGN_PROTO_UDP && protocol != CGN_PROTO_ICMP) {
		p->reason = CGN_DROP_PROTOCOL;
		other(p);
		return;
	}
	if (settled(p))
		return;
	if (p->inbound && owner_needs_port(get32(p->b + AT_DST)))
		side = STEER;
	if (part_of(p, side, &part))
		arrives(p, &part);
	else
		drop(p, CGN_DROP_FRAG_INVALID);
}

// ---- what became of the first one

void fragment_translated(struct packet *p, struct session *s, uint32_t address)
{
	struct datagram *d = p->first_of;

	d->state = TRANSLATED;
	d->address = address;
	d->new_id = (uint16_t)get16(p->b + AT_ID);
	d->session = s;
	d->opened_s = now_s();
	d->flow_protocol = s->mapping->protocol;
	d->internal = s->mapping->internal;
	d->internal_port = s->mapping->internal_port;
	d->remote = s->remote;
	d->remote_port = s->remote_port;
}

void fragment_bypassed(struct packet *p)
{
	p->first_of->state = BYPASSED;
}

void fragment_session_gone(const struct session *s)
{
	for (struct datagram *d = world.datagrams; d; d = d->next) {
		if (d->session == s)
			d->session = NULL;
	}
}

// ---- time

void fragment_tick(void)
{
	const uint64_t age_ns = world.config->timeouts.fragment * 1000000000ull;

	while (world.datagrams && world.now_ns - world.datagrams->since_ns >= age_ns) {
		struct datagram *d = world.datagrams;

		for (const struct held *h = d->held; h; h = h->next)
			drop(&h->packet, CGN_DROP_FRAG_NO_HEAD);
		forget(d);
	}
}

void fragment_fini(void)
{
	while (world.datagrams)
		forget(world.datagrams);
}

uint32_t fragments_held(void)
{
	uint32_t n = 0;

	for (const struct datagram *d = world.datagrams; d; d = d->next) {
		for (const struct held *h = d->held; h; h = h->next)
			n++;
	}
	return n;
}

uint32_t fragmented_datagrams(void)
{
	uint32_t n = 0;

	for (const struct datagram *d = world.datagrams; d; d = d->next)
		n++;
	return n;
}
