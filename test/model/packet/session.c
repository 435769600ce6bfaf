// SPDX-License-Identifier: BSD-3-Clause
// Mappings, sessions, their limits and timers: RFC 4787, RFC 5382, RFC 6888, RFC 7857.
#include "observe.h"
#include "packet.h"
#include <stdlib.h>

struct mapping *mapping_of_internal(uint8_t protocol, uint32_t address, uint16_t port)
{
	struct mapping *m = world.mappings;

	while (m &&
		!(m->protocol == protocol && m->internal == address && m->internal_port == port))
		m = m->next;
	return m;
}

struct mapping *mapping_of_external(uint8_t protocol, uint32_t address, uint16_t port)
{
	struct mapping *m = world.mappings;

	while (m &&
		!(m->protocol == protocol && m->external == address && m->external_port == port))
		m = m->next;
	return m;
}

struct session *session_of(const struct mapping *m, uint32_t remote, uint16_t remote_port)
{
	struct session *s = m->sessions;

	while (s && !(s->remote == remote && s->remote_port == remote_port))
		s = s->next;
	return s;
}

// ---- TCP: RFC 7857 2, figure 1; the client is the inside

static bool heard_both(const struct session *s)
{
	return s->syn_out && s->syn_in;
}

static void heard(struct session *s, bool outbound)
{
	if (outbound)
		s->syn_out = true;
	else
		s->syn_in = true;
}

static void tcp_syn(struct session *s, uint8_t flags, bool outbound)
{
	const bool over = s->state == CGN_SESSION_BOTH_FIN || s->state == CGN_SESSION_TRANSITORY;

	if (over && !(flags & ACK)) { // the ends use their ports again
		s->syn_out = s->syn_in = false;
		s->state = CGN_SESSION_INIT;
	}
	heard(s, outbound);
	if (s->state == CGN_SESSION_INIT && heard_both(s))
		s->state = CGN_SESSION_ESTABLISHED;
}

static void tcp_fin(struct session *s, bool outbound)
{
	const enum cgn_session_state mine =
		outbound ? CGN_SESSION_CLIENT_FIN : CGN_SESSION_SERVER_FIN;
	const enum cgn_session_state others =
		outbound ? CGN_SESSION_SERVER_FIN : CGN_SESSION_CLIENT_FIN;

	if (s->state == others)
		s->state = CGN_SESSION_BOTH_FIN;
	else if (s->state == CGN_SESSION_ESTABLISHED || s->state == CGN_SESSION_TRANSITORY)
		s->state = mine;
}

static void tcp_segment(struct session *s, uint8_t flags, bool outbound)
{
	if (flags & RST) {
		s->state = CGN_SESSION_TRANSITORY;
	} else if (flags & SYN) {
		tcp_syn(s, flags, outbound);
	} else if (flags & FIN) {
		tcp_fin(s, outbound);
	} else if (s->state == CGN_SESSION_TRANSITORY) {
		heard(s, outbound);
		if (heard_both(s))
			s->state = CGN_SESSION_ESTABLISHED;
	}
	s->was_reset = (flags & RST) || (s->was_reset && s->state == CGN_SESSION_TRANSITORY);
}

// Opened from outside, never answered: does not live on knocking (RFC 7857 7).
static bool unanswered(const struct session *s)
{
	return s->inbound && !s->syn_out;
}

// What a segment does to the session.
static void tcp_update(struct session *s, uint8_t flags, bool outbound)
{
	const bool knocked = unanswered(s);
	const uint32_t before = deadline_of(s);

	tcp_segment(s, flags, outbound);
	if (!unanswered(s) || !knocked)
		s->seen_s = now_s();
	if (unanswered(s) && deadline_of(s) > before) { // a RST for an answer is no refresh
		const uint32_t more = deadline_of(s) - before;

		s->seen_s = more < s->seen_s + 1 ? s->seen_s - more : 0;
	}
	s->touched_s = now_s();
}

static void tcp_packet(struct session *s, struct packet *p, bool outbound)
{
	const uint8_t flags = l4_of(p)[13];

	if ((flags & SYN) && world.config->tcp_mss_clamp)
		mss_lower(l4_of(p), world.config->tcp_mss_clamp);
	tcp_update(s, flags, outbound);
}

// A packet of the session passes.
void model_session_packet(struct session *s, struct packet *p, bool outbound)
{
	if (s->mapping->protocol == CGN_PROTO_TCP)
		tcp_packet(s, p, outbound);
	else if (outbound || s->refreshed_in) // RFC 4787 REQ-6
		s->seen_s = now_s();
	if (outbound) {
		s->mapping->last_out_s = now_s();
		s->packets_out++;
		s->bytes_out += p->len;
	} else {
		s->packets_in++;
		s->bytes_in += p->len;
	}
}

// ---- timers

static uint32_t service(const struct session *s, uint32_t otherwise)
{
	const struct cgn_timeouts *t = &world.config->timeouts;

	for (uint32_t i = 0; i < t->n_services && !s->inbound; i++) {
		if (t->services[i].protocol == s->mapping->protocol &&
			t->services[i].port == s->remote_port)
			return t->services[i].timeout;
	}
	return otherwise;
}

static bool is_open(const struct session *s)
{
	return s->state == CGN_SESSION_ESTABLISHED || s->state == CGN_SESSION_CLIENT_FIN ||
		s->state == CGN_SESSION_SERVER_FIN;
}

// The last second in which the session is sure to be there.
uint32_t deadline_of(const struct session *s)
{
	const struct cgn_timeouts *t = &world.config->timeouts;

	if (s->mapping->protocol == CGN_PROTO_UDP)
		return s->seen_s + service(s, t->udp);
	if (s->mapping->protocol == CGN_PROTO_ICMP)
		return s->seen_s + t->icmp;
	if (s->state == CGN_SESSION_INIT)
		return s->seen_s + t->tcp_opening;
	return s->seen_s + (is_open(s) ? service(s, t->tcp_established) : t->tcp_closing);
}

static void mapping_end(struct mapping *m, bool cleared)
{
	struct mapping **at = &world.mappings;
	struct customer *sub = m->subscriber;

	while (*at != m)
		at = &(*at)->next;
	*at = m->next;
	if (sub) {
		if (cleared)
			world.count.mappings_cleared++;
		else
			world.count.mappings_expired++;
		lease_end(m, !world.config->timeouts.tcp_at_once || m->unclean);
	}
	free(m);
}

void model_session_end(struct session *s, bool cleared)
{
	struct mapping *m = s->mapping;
	struct session **at = &m->sessions;
	const bool closed = m->protocol == CGN_PROTO_TCP &&
		(s->state == CGN_SESSION_BOTH_FIN ||
			(s->state == CGN_SESSION_TRANSITORY && s->was_reset));

	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	if (cleared)
		world.count.sessions_cleared++;
	else
		world.count.sessions_expired++;
	if (cleared || !closed)
		m->unclean = true;
	if (m->subscriber)
		world.worker[m->worker].n_sessions--;
	else
		world.worker[m->worker].n_static_sessions--;
	m->n_sessions--;
	m->promoted_s = now_s();
	fragment_session_gone(s);
	for (struct session *o = m->sessions; o; o = o->next)
		o->touched_s = now_s();
	free(s);
	if (!m->sessions)
		mapping_end(m, cleared);
}

// Time is up for s. The dataplane may be late by a second or two, and when another session of its
// mapping ends in the same second; then it is still as it was.
static bool is_late(const struct session *s)
{
	const struct mapping *m = s->mapping;
	const uint32_t d = deadline_of(s);
	uint32_t from = d > s->touched_s ? d : s->touched_s;
	enum cgn_session_state state;
	uint32_t seen_s;

	if (m->n_sessions > 1 || m->promoted_s == now_s())
		from = now_s();
	return now_s() <= from + 2 && observe_session(s, &state, &seen_s) && state == s->state &&
		seen_s == s->seen_s;
}

// True when s has ended: it is gone then.
static bool session_due(struct session *s)
{
	if (now_s() <= deadline_of(s) || is_late(s))
		return false;
	if (is_open(s)) { // RFC 7857 2: transitory first
		s->seen_s = deadline_of(s);
		s->state = CGN_SESSION_TRANSITORY;
		s->touched_s = now_s();
		if (now_s() <= deadline_of(s))
			return false;
	}
	model_session_end(s, false);
	return true;
}

// Whose policy speaks for a mapping whose own session has ended is the dataplane's choice.
static void check_speaker(struct mapping *m)
{
	uint32_t external;
	uint16_t port, policy;

	if (!observe_mapping(m->worker, m->protocol, m->internal, m->internal_port, &external,
		    &port, &policy))
		wrong("a mapping has gone with sessions left");
	if (policy == m->policy)
		return;
	for (const struct session *s = m->sessions; s; s = s->next) {
		if (s->policy == policy) {
			m->policy = policy;
			return;
		}
	}
	wrong("a mapping has policy %u, which none of its sessions has", policy);
}

void model_session_tick(void)
{
	for (struct mapping *m = world.mappings, *next; m; m = next) {
		bool there = true;

		next = m->next;
		for (struct session *s = m->sessions, *s_next; s && there; s = s_next) {
			const bool last = m->n_sessions == 1;

			s_next = s->next;
			if (session_due(s) && last)
				there = false;
		}
		if (there && m->promoted_s == now_s())
			check_speaker(m);
	}
}

uint32_t count_sessions(void)
{
	uint32_t n = 0;

	for (const struct mapping *m = world.mappings; m; m = m->next)
		n += m->n_sessions;
	return n;
}

void model_session_fini(void)
{
	for (struct mapping *m = world.mappings, *next; m; m = next) {
		next = m->next;
		for (struct session *s = m->sessions, *s_next; s; s = s_next) {
			s_next = s->next;
			free(s);
		}
		free(m);
	}
}

// ---- limits

static uint32_t share(uint32_t n)
{
	return (n + world.n_workers - 1) / world.n_workers;
}

static uint32_t count_mappings(const struct customer *s, bool sessions)
{
	uint32_t n = 0;

	for (const struct mapping *m = world.mappings; m; m = m->next) {
		if (m->subscriber == s)
			n += sessions ? m->n_sessions : 1;
	}
	return n;
}

// What counts towards limits.mappings-icmp are ids, which portless sessions take up, too.
static uint32_t count_mappings_of(const struct customer *s, enum cgn_l4 l4)
{
	uint32_t n = 0;

	for (const struct mapping *m = world.mappings; m; m = m->next)
		n += m->subscriber == s && cgn_l4_of(m->protocol) == l4;
	return n;
}

static enum cgn_drop within_limits(struct customer *s, const struct cgn_policy *policy,
	const struct mapping *m, bool inbound, enum cgn_l4 l4, unsigned worker)
{
	const uint32_t n = world.worker[worker].n_sessions;
	const uint32_t max = share(world.config->runtime.max_sessions);

	if (n >= max)
		return CGN_DROP_SESSION_TABLE_FULL;
	if (inbound && n >= max - max / 8) // kept for subscribers
		return CGN_DROP_INBOUND_TABLE_FULL;
	if (!m && policy->limit_mappings && count_mappings(s, false) >= policy->limit_mappings)
		return CGN_DROP_MAPPING_LIMIT;
	if (!m && policy->limit_mappings_of[l4] &&
		count_mappings_of(s, l4) >= policy->limit_mappings_of[l4])
		return CGN_DROP_MAPPING_LIMIT;
	if (policy->limit_sessions && count_mappings(s, true) >= policy->limit_sessions)
		return CGN_DROP_SESSION_LIMIT;
	if (m && policy->limit_sessions_per_mapping &&
		m->n_sessions >= policy->limit_sessions_per_mapping)
		return CGN_DROP_MAPPING_SESSION_LIMIT;
	if (policy->limit_new_sessions_per_s &&
		!token(&s->paid_ns, policy->limit_new_sessions_per_s, false))
		return CGN_DROP_RATE_LIMIT;
	return CGN_DROP_COUNT;
}

static enum cgn_drop count_refused(struct customer *s, enum cgn_drop reason)
{
#define X(name) \
	if (reason == CGN_DROP_##name) \
		s->drops[CGN_SUBSCRIBER_DROP_##name]++;
	CGN_SUBSCRIBER_DROPS(X)
#undef X
	return reason;
}

// ---- opening

static struct session *session_new(
	struct mapping *m, const struct packet *p, bool inbound, int policy)
{
	struct session *s = calloc(1, sizeof(*s));
	struct packet *q = (struct packet *)p;

	s->mapping = m;
	s->remote = p->their;
	s->remote_port = p->their_port;
	s->policy = policy < 0 ? NO_POLICY : (uint16_t)policy;
	s->inbound = inbound;
	s->refreshed_in = policy >= 0 && world.config->policies[policy].inbound_refresh;
	s->seen_s = s->created_s = s->touched_s = now_s();
	if (m->protocol == CGN_PROTO_TCP) {
		s->state = l4_of(q)[13] & SYN ? CGN_SESSION_INIT : CGN_SESSION_TRANSITORY;
		heard(s, !inbound);
	}
	s->next = m->sessions;
	m->sessions = s;
	m->n_sessions++;
	world.count.sessions_created++;
	if (m->subscriber)
		world.worker[m->worker].n_sessions++;
	else
		world.worker[m->worker].n_static_sessions++;
	return s;
}

static void count_new(struct session *s, struct customer *sub, const struct cgn_policy *policy)
{
	if (policy->limit_new_sessions_per_s)
		token(&sub->paid_ns, policy->limit_new_sessions_per_s, true);
	unsolicited_call_off(s->mapping, s);
}

static struct mapping *mapping_add(const struct mapping *like)
{
	struct mapping *m = malloc(sizeof(*m));

	*m = *like;
	m->created_s = m->last_out_s = now_s();
	m->next = world.mappings;
	world.mappings = m;
	return m;
}

enum cgn_drop model_session_open(struct packet *p, int policy, struct session **s)
{
	const struct cgn_policy *config = &world.config->policies[policy];
	struct mapping m = {.protocol = p->protocol,
		.internal = p->our,
		.internal_port = p->our_port,
		.static_mapping = -1,
		.policy = (uint16_t)policy,
		.worker = p->worker};
	enum cgn_drop reason;

	m.subscriber = subscriber_get(p->our, config->pool, p->worker);
	if (!m.subscriber)
		return CGN_DROP_SUBSCRIBER_TABLE_FULL;
	reason = within_limits(m.subscriber, config, NULL, false, cgn_l4_of(m.protocol), p->worker);
	if (reason == CGN_DROP_COUNT)
		reason = lease(m.subscriber, p->protocol, p->our, p->our_port, &m);
	if (reason != CGN_DROP_COUNT) {
		count_refused(m.subscriber, reason);
		lease_forget(m.subscriber);
		return reason;
	}
	m.policy = (uint16_t)policy;
	m.subscriber->policy = (uint16_t)policy;
	world.count.mappings_created++;
	*s = session_new(mapping_add(&m), p, false, policy);
	count_new(*s, m.subscriber, config);
	return CGN_DROP_COUNT;
}

// A quarter of max-sessions, at least 1024; the last eighth is for what the hosts open.
static bool has_static_room(unsigned worker, bool inbound)
{
	uint32_t max = share(world.config->runtime.max_sessions) / 4;

	max = max > 1024 ? max : 1024;
	return world.worker[worker].n_static_sessions < (inbound ? max - max / 8 : max);
}

enum cgn_drop model_session_open_static(
	struct packet *p, bool inbound, int policy, int mapping, struct session **s)
{
	struct mapping m = {.protocol = p->protocol,
		.static_mapping = mapping,
		.policy = policy < 0 ? NO_POLICY : (uint16_t)policy,
		.worker = p->worker};

	if (!has_static_room(p->worker, inbound))
		return CGN_DROP_STATIC_SESSIONS_FULL;
	if (inbound) {
		m.external = p->our;
		m.external_port = p->our_port;
		static_of_external(p->protocol, p->our, p->our_port, &m.internal, &m.internal_port);
	} else {
		m.internal = p->our;
		m.internal_port = p->our_port;
		static_of_internal(p->protocol, p->our, p->our_port, &m.external, &m.external_port);
	}
	*s = session_new(mapping_add(&m), p, inbound, policy);
	return CGN_DROP_COUNT;
}

// Until the inside answers, a TCP session from outside ends with its mapping's first one at the latest
// (RFC 7857 7). Which that is, the dataplane knows.
static void knock_seen(struct session *s, struct packet *p)
{
	const struct way way = way_to(s->mapping->internal);
	const bool passes =
		!(get16(p->b + AT_FRAG) & DF) || p->len <= world.config->interfaces[way.ifc].mtu;
	const struct cgn_timeouts *t = &world.config->timeouts;
	const uint32_t lives = s->state == CGN_SESSION_INIT ? t->tcp_opening : t->tcp_closing;
	enum cgn_session_state state;
	uint32_t seen_s;

	if (!observe_session(s, &state, &seen_s))
		wrong("no session was opened from outside");
	for (const struct session *o = s->mapping->sessions; o; o = o->next) {
		const uint32_t end = deadline_of(o);
		const uint32_t from = end >= now_s() + lives ? now_s()
			: end + 1 > lives		     ? end - lives
							     : 0;

		struct session copy = *s;

		copy.seen_s = from;
		if (passes) // what is to be seen now is behind the segment
			tcp_update(&copy, l4_of(p)[13], false);
		if (o != s && copy.seen_s == seen_s) {
			s->seen_s = from;
			return;
		}
	}
	wrong("a session from outside would end after all those of its mapping");
}

// Where the timer of a session from outside starts: strangers keep nothing alive (RFC 4787 REQ-6,
// RFC 7857 7).
static void inbound_seen(struct session *s, const struct cgn_policy *policy, struct packet *p)
{
	const struct mapping *m = s->mapping;
	enum cgn_session_state state;
	uint32_t seen_s;

	if (m->protocol == CGN_PROTO_TCP) {
		if (policy->filtering_tcp == CGN_FILTER_ADDRESS_DEPENDENT)
			s->seen_s = m->last_out_s;
		else
			knock_seen(s, p);
		return;
	}
	if (policy->inbound_refresh)
		return;
	s->seen_s = m->last_out_s;
	if (policy->filtering_udp != CGN_FILTER_ADDRESS_DEPENDENT)
		return;
	// no longer than one that let it in; of several, the dataplane picks
	if (!observe_session(s, &state, &seen_s))
		wrong("no session was opened from outside");
	for (const struct session *o = m->sessions; o; o = o->next) {
		if (o != s && o->remote == s->remote && o->seen_s == seen_s) {
			s->seen_s = seen_s;
			return;
		}
	}
	wrong("a session from outside has a timer of none that let it in");
}

enum cgn_drop model_session_add(
	struct packet *p, bool inbound, int policy, struct mapping *m, struct session **s)
{
	const struct cgn_policy *config = policy < 0 ? NULL : &world.config->policies[policy];
	enum cgn_drop reason;

	if (!m->subscriber) {
		if (!has_static_room(m->worker, inbound))
			return CGN_DROP_STATIC_SESSIONS_FULL;
		*s = session_new(m, p, inbound, policy);
		return CGN_DROP_COUNT;
	}
	reason =
		within_limits(m->subscriber, config, m, inbound, cgn_l4_of(m->protocol), m->worker);
	if (reason != CGN_DROP_COUNT)
		return count_refused(m->subscriber, reason);
	*s = session_new(m, p, inbound, policy);
	if (inbound)
		inbound_seen(*s, config, p);
	count_new(*s, m->subscriber, config);
	return CGN_DROP_COUNT;
}
