// SPDX-License-Identifier: BSD-3-Clause
#include "session.h"
#include <arpa/inet.h>
#include "claims.h"
#include "lease.h"
#include "mss.h"
#include "snapshot.h"
#include "tcp.h"
#include "translate.h"
#include "worker.h"

static uint8_t first_state(uint8_t proto, uint8_t tcp_flags)
{
	if (proto != CGN_PROTO_TCP)
		return CGN_SESSION_ACTIVE;
	// without SYN only by tcp-midstream: a segment from the other side makes it established
	return tcp_flags & TCP_SYN ? CGN_SESSION_INIT : CGN_SESSION_TRANSITORY;
}

// A remote inside, behind an external address of ours.
static bool is_hairpin(const struct worker *w, uint64_t remote)
{
	return DEST_KIND(dest_lookup(w->snapshot, ntohl((be32_t)remote))) == DEST_POOL;
}

// `policy`: NULL for a static mapping's session from outside.
static uint8_t first_flags(uint8_t proto, const struct snapshot_policy *policy, bool inbound)
{
	uint8_t flags = inbound ? FLOW_INBOUND : 0;

	if (proto == CGN_PROTO_TCP)
		flags |= FLOW_REFRESHED_IN | (inbound ? FLOW_SYN_IN : FLOW_SYN_OUT);
	else if (policy && policy->config->inbound_refresh)
		flags |= FLOW_REFRESHED_IN;
	return flags;
}

// Has it as many mappings of this protocol as it may? Its blocks know: each has a port of them.
static bool is_full_of(
	const struct worker *w, const struct subscriber *s, enum cgn_l4 l4, uint32_t limit)
{
	uint32_t n = 0;

	for (uint32_t b = s->lent; b != PORTBLOCK_NONE && n < limit; b = w->blocks.block[b].next)
		n += w->blocks.block[b].used[l4];
	return n >= limit;
}

// May this subscriber have one more session? Refused packets take no token.
//   head     the mapping that gets a further session; FLOW_NONE: a new mapping of protocol l4
static enum cgn_drop limits_ok(const struct worker *w, const struct subscriber *s,
	const struct cgn_policy *policy, uint32_t head, enum cgn_l4 l4, bool inbound)
{
	const uint32_t n = w->flows.n_used - w->statics.n_sessions;

	if (n >= w->n_sessions_max)
		return CGN_DROP_SESSION_TABLE_FULL;
	// strangers who scan mapped ports cannot take the table from subscribers (RFC 6888 REQ-5)
	if (inbound && n >= w->n_sessions_max - w->n_sessions_max / 8)
		return CGN_DROP_INBOUND_TABLE_FULL;
	if (head == FLOW_NONE && policy->limit_mappings && s->n_mappings >= policy->limit_mappings)
		return CGN_DROP_MAPPING_LIMIT;
	if (head == FLOW_NONE && policy->limit_mappings_of[l4] &&
		is_full_of(w, s, l4, policy->limit_mappings_of[l4])) // RFC 6888 REQ-4 b
		return CGN_DROP_MAPPING_LIMIT;
	if (policy->limit_sessions && s->n_sessions >= policy->limit_sessions)
		return CGN_DROP_SESSION_LIMIT;
	if (head != FLOW_NONE && policy->limit_sessions_per_mapping &&
		1 + flow_n_further(&w->flows, head) >= policy->limit_sessions_per_mapping)
		return CGN_DROP_MAPPING_SESSION_LIMIT;
	if (policy->limit_new_sessions_per_s &&
		!token_ready(&s->rate, policy->limit_new_sessions_per_s, w->now_ns))
		return CGN_DROP_RATE_LIMIT;
	return CGN_DROP_COUNT;
}

static void session_made(
	struct worker *w, struct subscriber *s, const struct cgn_policy *policy, uint32_t record)
{
	s->n_sessions++;
	if (policy->limit_new_sessions_per_s)
		token_take(&s->rate, policy->limit_new_sessions_per_s, w->now_ns);
	w->counters.sessions_created++;
	if (cgn_unlikely(w->syns.index.n_entries))
		syn_call_off(&w->syns, flow_ext_key_of(&w->flows.flow[record]),
			flow_remote_of(&w->flows.flow[record]));
	timers_arm(
		&w->flows.timers, record, flow_deadline(&w->flows.flow[record], &w->timeouts) + 1);
}

static void count_for(struct subscriber *s, enum cgn_drop reason)
{
	switch (reason) {
#define X(name) \
	case CGN_DROP_##name: \
		s->drops[CGN_SUBSCRIBER_DROP_##name]++; \
		break;
		CGN_SUBSCRIBER_DROPS(X)
#undef X
	default:
		break;
	}
}

static enum cgn_drop reason_of(enum flow_error error)
{
	switch (error) {
	case FLOW_TABLE_FULL:
		return CGN_DROP_SESSION_TABLE_FULL;
	case FLOW_PORTLESS_FULL:
		return CGN_DROP_PORTLESS_FULL;
	default:
		return CGN_DROP_INDEX_FULL;
	}
}

static enum flow_error open_flow(struct worker *w, const struct flow_new *new, uint32_t *record)
{
	return cgn_is_portless((uint8_t)(new->internal >> 48))
		? flow_open_portless(&w->flows, new, record)
		: flow_open_unsettled(&w->flows, new, record);
}

// ---- portless protocols: one subscriber for each (external address, protocol, remote)

// May a subscriber who has this external address have that remote, by this worker's table? A hairpin to
// one's own address names the sender, whoever else has it: nobody behind it can be meant.
static enum cgn_drop portless_may_have(
	const struct worker *w, uint32_t address, uint8_t proto, be32_t remote)
{
	if (htonl(address) == remote)
		return CGN_DROP_HAIRPIN_OFF;
	return flow_find_portless(&w->flows, FLOW_KEY(htonl(address), 0, proto), remote, true) ==
			FLOW_NONE
		? CGN_DROP_COUNT
		: CGN_DROP_PORTLESS_TAKEN;
}

// Before anything is lent: what its paired address says, if it has one already.
static enum cgn_drop portless_is_free(
	const struct worker *w, const struct subscriber *s, uint8_t proto, uint64_t remote)
{
	if (w->flows.n_portless == w->flows.n_portless_max)
		return CGN_DROP_PORTLESS_FULL;
	if (!s->n_lent && !s->n_resting)
		return CGN_DROP_COUNT;
	return portless_may_have(w, w->blocks.address[s->paired].address, proto, (be32_t)remote);
}

// Where other workers lend ports of the same address, they have to be asked, too.
static enum cgn_drop portless_claim(
	struct worker *w, uint32_t address, uint64_t key, uint64_t remote)
{
	const uint8_t proto = (uint8_t)(key >> 48);
	const uint64_t external = FLOW_KEY(htonl(address), 0, proto);
	const enum cgn_drop reason = portless_may_have(w, address, proto, (be32_t)remote);

	if (reason != CGN_DROP_COUNT || !snapshot_address_is_shared(w->snapshot, address))
		return reason;
	switch (claims_take(w->claims, w->id, external, (be32_t)remote)) {
	case CLAIMS_GRANTED:
		return CGN_DROP_COUNT;
	case CLAIMS_TAKEN:
		return CGN_DROP_PORTLESS_TAKEN;
	default:
		return CGN_DROP_PORTLESS_FULL;
	}
}

static void portless_release(struct worker *w, uint64_t external, be32_t remote)
{
	if (snapshot_address_is_shared(w->snapshot, ntohl((be32_t)external)))
		claims_give(w->claims, w->id, external, remote);
}

enum cgn_drop session_open_mapping(struct worker *w, const struct snapshot_policy *policy,
	uint32_t likely, uint64_t key, uint64_t remote, uint8_t tcp_flags, uint32_t *record)
{
	const struct cgn_policy *config = policy->config;
	const uint8_t proto = (uint8_t)(key >> 48);
	const uint32_t sub = lease_subscriber(w, likely, ntohl((be32_t)key), config->pool);
	const struct lease_ask claim = {portless_claim, remote};
	struct subscriber *s;
	struct lease lease;
	struct flow_new new;
	enum flow_error error;
	enum cgn_drop reason;

	if (sub == SUBSCRIBER_NONE)
		return CGN_DROP_SUBSCRIBER_TABLE_FULL;
	s = &w->subscribers.sub[sub];
	reason = limits_ok(w, s, config, FLOW_NONE, cgn_l4_of(proto), false);
	if (reason == CGN_DROP_COUNT && cgn_is_portless(proto))
		reason = portless_is_free(w, s, proto, remote);
	if (reason == CGN_DROP_COUNT) {
		reason =
			lease_take(w, sub, key, w->snapshot->config->pools[config->pool].max_blocks,
				cgn_is_portless(proto) ? &claim : NULL, &lease);
	}
	if (reason != CGN_DROP_COUNT) {
		count_for(s, reason);
		lease_subscriber_drop(w, sub);
		return reason;
	}
	new = (struct flow_new){
		.internal = key,
		.external = FLOW_KEY(htonl(lease.ext_addr),
			cgn_is_portless(proto) ? 0 : htons(lease.ext_port), proto),
		.remote = remote,
		.held_port = lease.ext_port,
		.block = lease.block,
		.policy = (uint16_t)(policy - w->snapshot->policy),
		.state = first_state(proto, tcp_flags),
		.flags = first_flags(proto, policy, false),
		.hairpin = is_hairpin(w, remote),
		.seen_s = w->now_s,
		.now_s = w->now_s,
	};
	error = open_flow(w, &new, record);
	if (error != FLOW_OK) {
		lease_give(w, sub, lease.block, key, lease.ext_port, true);
		if (cgn_is_portless(proto))
			portless_release(w, new.external, (be32_t)remote);
		return reason_of(error);
	}
	s->n_mappings++;
	s->policy = new.policy;
	w->counters.mappings_created++;
	session_made(w, s, config, *record);
	return CGN_DROP_COUNT;
}

// A TCP session from outside ends with its mapping's first one at the latest, until the inside answers:
// strangers who knock keep no mapping alive (RFC 7857 7).
static uint32_t knock_seen(const struct worker *w, uint32_t head, uint8_t state)
{
	const uint32_t end = flow_deadline(&w->flows.flow[head], &w->timeouts);
	const uint32_t lives =
		state == CGN_SESSION_INIT ? w->timeouts.tcp_opening : w->timeouts.tcp_closing;

	if (end >= w->now_s + lives)
		return w->now_s;
	return end > lives ? end - lives : 1;
}

// An inbound UDP session must not outlive the mapping (RFC 4787 REQ-6): it starts where the last
// outbound packet was, but where inbound packets refresh, too. With address-dependent filtering that packet is one to its own address, or the
// remote could keep itself let in for ever; so that of TCP, until the inside answers, starts there, too.
static uint32_t inbound_seen(const struct worker *w, const struct cgn_policy *policy, uint32_t head,
	uint64_t remote, uint8_t state)
{
	uint32_t record = FLOW_NONE;

	if (w->flows.flow[head].proto == CGN_PROTO_TCP) {
		return policy->filtering_tcp == CGN_FILTER_ADDRESS_DEPENDENT
			? w->flows.flow[head].link
			: knock_seen(w, head, state);
	}
	if (policy->inbound_refresh)
		return w->now_s;
	if (policy->filtering_udp == CGN_FILTER_ADDRESS_DEPENDENT)
		record = flow_find_address(&w->flows, head, (be32_t)remote);
	return record == FLOW_NONE ? w->flows.flow[head].link : w->flows.flow[record].seen_s;
}

static uint16_t policy_index(const struct worker *w, const struct snapshot_policy *policy)
{
	return policy ? (uint16_t)(policy - w->snapshot->policy) : FLOW_POLICY_NONE;
}

static void static_session_made(struct worker *w, uint32_t head, uint32_t record)
{
	w->statics.n_sessions++;
	w->statics.sessions[w->flows.cold[head].block]++;
	w->counters.sessions_created++;
	timers_arm(
		&w->flows.timers, record, flow_deadline(&w->flows.flow[record], &w->timeouts) + 1);
}

// The last eighth of their room is kept for what the hosts themselves open.
static bool static_room(const struct worker *w, bool inbound)
{
	const uint32_t max = w->statics.n_sessions_max;

	return w->statics.n_sessions < (inbound ? max - max / 8 : max);
}

enum cgn_drop session_open_static(struct worker *w, const struct snapshot_policy *policy,
	uint32_t mapping, uint64_t internal, uint64_t external, uint64_t remote, uint8_t tcp_flags,
	uint32_t *record)
{
	const uint8_t proto = (uint8_t)(internal >> 48);
	const bool inbound = !policy;
	enum flow_error error;
	const struct flow_new new = {
		.internal = internal,
		.external = external,
		.remote = remote,
		.block = mapping,
		.policy = policy_index(w, policy),
		.state = first_state(proto, tcp_flags),
		.flags = (uint8_t)(first_flags(proto, policy, inbound) | FLOW_STATIC),
		.hairpin = is_hairpin(w, remote),
		.seen_s = w->now_s,
		.now_s = w->now_s,
	};

	if (!static_room(w, inbound))
		return CGN_DROP_STATIC_SESSIONS_FULL;
	error = open_flow(w, &new, record);
	if (error != FLOW_OK) // there is a record, or the line above had said so
		return reason_of(error);
	w->statics.n_heads++;
	static_session_made(w, *record, *record);
	if (!inbound)
		return CGN_DROP_COUNT; // settled with the rest of its burst
	session_settle(w);
	return w->flows.flow[*record].proto ? CGN_DROP_COUNT : CGN_DROP_INDEX_FULL;
}

// A further session of a static mapping: no limits but the room there is. Strangers cannot keep such
// a mapping alive, as it does not end: the session starts now.
static enum cgn_drop static_add(struct worker *w, const struct snapshot_policy *policy,
	uint32_t head, uint64_t remote, uint8_t tcp_flags, bool inbound, uint32_t *record)
{
	const uint8_t proto = w->flows.flow[head].proto;
	const struct flow_new new = {
		.remote = remote,
		.policy = policy_index(w, policy),
		.state = first_state(proto, tcp_flags),
		.flags = (uint8_t)(first_flags(proto, policy, inbound) | FLOW_STATIC),
		.hairpin = is_hairpin(w, remote),
		.seen_s = w->now_s,
		.now_s = w->now_s,
	};

	if (!static_room(w, inbound))
		return CGN_DROP_STATIC_SESSIONS_FULL;
	if (flow_add(&w->flows, head, &new, record) != FLOW_OK)
		return CGN_DROP_INDEX_FULL;
	static_session_made(w, head, *record);
	return CGN_DROP_COUNT;
}

enum cgn_drop session_add(struct worker *w, const struct snapshot_policy *policy, uint32_t head,
	uint64_t remote, uint8_t tcp_flags, bool inbound, uint32_t *record)
{
	const struct flow *f = &w->flows.flow[head];
	const uint8_t state = first_state(f->proto, tcp_flags);
	struct subscriber *s;
	enum cgn_drop reason;
	struct flow_new new;
	enum flow_error error;

	if (f->flags & FLOW_STATIC)
		return static_add(w, policy, head, remote, tcp_flags, inbound, record);
	s = &w->subscribers.sub[w->blocks.block[w->flows.cold[head].block].sub];
	reason = limits_ok(w, s, policy->config, head, cgn_l4_of(f->proto), inbound);
	if (reason != CGN_DROP_COUNT) {
		count_for(s, reason);
		return reason;
	}
	new = (struct flow_new){
		.remote = remote,
		.policy = (uint16_t)(policy - w->snapshot->policy),
		.state = state,
		.flags = first_flags(f->proto, policy, inbound),
		.hairpin = is_hairpin(w, remote),
		.seen_s = inbound ? inbound_seen(w, policy->config, head, remote, state) : w->now_s,
		.now_s = w->now_s,
	};
	error = flow_add(&w->flows, head, &new, record);
	if (error != FLOW_OK)
		return reason_of(error);
	session_made(w, s, policy->config, *record);
	return CGN_DROP_COUNT;
}

// Did the ends of a TCP session close it, so that nothing of it is under way any more? (It has waited
// for the closing timer then.)
static bool is_closed(const struct flow *f, const struct flow_cold *c)
{
	return f->proto == CGN_PROTO_TCP &&
		(f->state == CGN_SESSION_BOTH_FIN ||
			(f->state == CGN_SESSION_TRANSITORY && c->was_reset));
}

// The mapping stays in the snapshot, whether its last session has ended or not.
static void static_end(struct worker *w, uint32_t head, uint32_t record, uint32_t *moved)
{
	w->statics.n_sessions--;
	w->statics.sessions[w->flows.cold[head].block]--;
	if (flow_close(&w->flows, record, moved))
		w->statics.n_heads--;
}

void session_end(struct worker *w, uint32_t record, bool cleared, uint32_t *moved)
{
	const struct flow *f = &w->flows.flow[record];
	const uint32_t head = f->flags & FLOW_HEAD ? record : f->link;
	const uint64_t key = flow_key_of(f);
	const uint64_t external = flow_ext_key_of(f);
	const bool portless = cgn_is_portless(f->proto);
	const uint16_t ext_port = portless ? f->held_port : ntohs(f->ext_port);
	const uint32_t block = w->flows.cold[head].block;
	struct subscriber *s;
	uint32_t sub;

	if (cleared)
		w->counters.sessions_cleared++;
	else
		w->counters.sessions_expired++;
	if (f->flags & FLOW_STATIC) {
		static_end(w, head, record, moved);
		return;
	}
	sub = w->blocks.block[block].sub;
	s = &w->subscribers.sub[sub];
	s->n_sessions--;
	if (cleared || !is_closed(f, &w->flows.cold[record]))
		w->flows.cold[head].unclean = true;
	if (!flow_close(&w->flows, record, moved))
		return;
	if (portless)
		portless_release(w, external, f->rem_addr);
	s->n_mappings--;
	if (cleared)
		w->counters.mappings_cleared++;
	else
		w->counters.mappings_expired++;
	// RFC 6888 REQ-8 spares TCP the rest where the state is tracked
	lease_give(w, sub, block, key, ext_port,
		!w->timeouts.tcp_at_once || w->flows.cold[head].unclean);
}

void session_settle(struct worker *w)
{
	uint32_t record, moved;

	while ((record = flow_settle(&w->flows)) != FLOW_NONE) {
		do // all sessions that this burst gave it
			session_end(w, record, false, &moved);
		while (moved != FLOW_NONE);
	}
}

// A record that came out of the timers: its time is up, or it is armed again.
static void session_due(struct worker *w, uint32_t record)
{
	struct flow *f = &w->flows.flow[record];
	uint32_t deadline, moved;

	if (!f->proto)
		return; // it has moved into its head, which was in this slice, too
	deadline = flow_deadline(f, &w->timeouts);
	// seconds are rounded down, so a deadline has passed for sure one second later
	if (w->now_s <= deadline) {
		timers_arm(&w->flows.timers, record, deadline + 1);
		return;
	}
	if (f->state == CGN_SESSION_ESTABLISHED || f->state == CGN_SESSION_CLIENT_FIN ||
		f->state == CGN_SESSION_SERVER_FIN) { // RFC 7857 2: not gone yet, but transitory
		f->state = CGN_SESSION_TRANSITORY;
		f->seen_s = deadline;
		deadline = flow_deadline(f, &w->timeouts);
		if (w->now_s <= deadline) {
			timers_arm(&w->flows.timers, record, deadline + 1);
			return;
		}
	}
	session_end(w, record, false, &moved);
}

// Asks for the lines that ending these sessions will touch, if they are the only ones of their
// mappings, as nearly all are.
static void fetch_ends(struct worker *w, const uint32_t *record, uint32_t n)
{
	const struct flow_table *t = &w->flows;
	uint64_t out[UPKEEP_FLOWS], in[UPKEEP_FLOWS];

	for (uint32_t i = 0; i < n; i++) {
		const struct flow *f = &t->flow[record[i]];

		out[i] = flow_hash(t, flow_key_of(f));
		in[i] = flow_hash(t, flow_ext_key_of(f));
		index_prefetch(&t->out, out[i]);
		index_prefetch(&t->in, in[i]);
		if ((f->flags & (FLOW_HEAD | FLOW_STATIC)) == FLOW_HEAD)
			portblock_prefetch(&w->blocks, t->cold[record[i]].block);
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct flow *f = &t->flow[record[i]];
		const struct portblock *b;

		if ((f->flags & (FLOW_HEAD | FLOW_STATIC)) != FLOW_HEAD)
			continue;
		b = &w->blocks.block[t->cold[record[i]].block];
		index_prefetch_away(&t->out, out[i]);
		index_prefetch_away(&t->in, in[i]);
		cgn_prefetch_w(&w->subscribers.sub[b->sub]);
		rest_prefetch(&w->rests, rest_key(b->sub, flow_key_of(f)));
	}
	lease_prefetch_rests(w, n);
	cgn_prefetched();
}

uint32_t session_upkeep(struct worker *w, uint32_t max)
{
	uint32_t items[UPKEEP_FLOWS], over[UPKEEP_FLOWS], n, n_over = 0;

	n = timers_due(&w->flows.timers, w->now_s, items, max < UPKEEP_FLOWS ? max : UPKEEP_FLOWS);
	for (uint32_t i = 0; i < n; i++) {
		cgn_prefetch_w(&w->flows.flow[items[i]]);
		cgn_prefetch_w(&w->flows.cold[items[i]]);
	}
	for (uint32_t i = 0; i < n; i++) {
		if (w->now_s > flow_deadline(&w->flows.flow[items[i]], &w->timeouts))
			over[n_over++] = items[i];
	}
	fetch_ends(w, over, n_over);
	for (uint32_t i = 0; i < n; i++)
		session_due(w, items[i]);
	return n;
}

void translate_tcp_slow(struct worker *w, uint32_t record, const struct pkt *p, bool outbound)
{
	struct flow *f = &w->flows.flow[record];
	struct flow_cold *c = &w->flows.cold[record];
	uint32_t before = flow_deadline(f, &w->timeouts), after;
	const bool knock = tcp_unanswered(f->flags);

	if ((p->tcp_flags & TCP_SYN) && w->snapshot->config->tcp_mss_clamp)
		mss_clamp(pkt_l4(p), w->snapshot->config->tcp_mss_clamp);
	f->state = tcp_next(f->state, p->tcp_flags, outbound, &f->flags);
	if (w->timeouts.tcp_at_once)
		c->was_reset = (p->tcp_flags & TCP_RST) ||
			(c->was_reset && f->state == CGN_SESSION_TRANSITORY);
	if (!knock || !tcp_unanswered(f->flags))
		f->seen_s = w->now_s;
	after = flow_deadline(f, &w->timeouts);
	if (after > before &&
		tcp_unanswered(f->flags)) { // a RST for an answer is no refresh (RFC 7857 7)
		f->seen_s -= after - before < f->seen_s ? after - before : f->seen_s - 1;
		after = before;
	}
	if (after < before) {
		timers_disarm(&w->flows.timers, record);
		timers_arm(&w->flows.timers, record, after + 1);
	}
}
