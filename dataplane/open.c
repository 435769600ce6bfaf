// SPDX-License-Identifier: BSD-3-Clause
#include "open.h"
#include <arpa/inet.h>
#include "flow.h"
#include "forward.h"
#include "frag.h"
#include "handoff.h"
#include "icmp.h"
#include "lease.h"
#include "path.h"
#include "portless.h"
#include "session.h"
#include "translate.h"
#include "worker.h"

#define FEW_OPENED 8

static bool has_ports(const struct pkt *p)
{
	return p->kind == PKT_FLOW &&
		(p->ip->proto == CGN_PROTO_TCP || p->ip->proto == CGN_PROTO_UDP);
}

// Destinations that nothing is forwarded to: p is for us, or for nobody. Takes p when true.
static bool ends_here(struct worker *w, struct pkt *p, const struct hop *hop)
{
	if (DEST_KIND(hop->dest) == DEST_LOCAL)
		icmp_local(w, p);
	else if (DEST_KIND(hop->dest) == DEST_MARTIAN)
		pkt_drop(w, p, CGN_DROP_IP_DESTINATION);
	else
		return false;
	return true;
}

// What came from inside, and is forwarded, must have come from where its source is.
static bool came_astray(struct worker *w, struct pkt *p)
{
	if (cgn_likely(snapshot_is_inside(w->snapshot, ntohl(p->ip->src))))
		return false;
	pkt_drop(w, p, CGN_DROP_SOURCE_NOT_INSIDE);
	return true;
}

// Likewise from outside, whatever becomes of it, but for ICMP errors: routers on the way may have any
// address (RFC 4787 REQ-12a). Takes p when true.
static bool source_refused(struct worker *w, struct pkt *p, bool inbound)
{
	const uint32_t source = ntohl(p->ip->src);

	if (p->flags & PKT_HAIRPIN)
		return false;
	if (snapshot_source_bad(w->snapshot, source))
		pkt_drop(w, p, CGN_DROP_IP_SOURCE);
	else if (inbound && p->kind != PKT_ICMP_ERROR && !snapshot_is_outside(w->snapshot, source))
		pkt_drop(w, p, CGN_DROP_SOURCE_NOT_OUTSIDE);
	else
		return false;
	return true;
}

// Untouched but for the TTL, either direction, no state.
static void bypass(struct worker *w, struct pkt *p, struct hop *hop, enum cgn_role leave_by)
{
	if (leave_by == CGN_EXTERNAL && came_astray(w, p))
		return;
	if (!hop_leaves(w, hop, leave_by)) {
		// an explicit bypass may also lead from inside to inside, never from outside to outside
		if (leave_by == CGN_INTERNAL || !hop_leaves(w, hop, CGN_INTERNAL)) {
			icmp_no_route(w, p);
			return;
		}
	}
	if (translate_refused(w, p, hop, true))
		return;
	p->ip->ttl--;
	p->ip->check = csum_apply(p->ip->check, TTL_DIFF);
	w->counters.bypassed++;
	if (p->flags & PKT_FIRST)
		frag_bypassed(w, p);
	forward_send(w, p->m, p->ip, p->ip_len, hop);
}

static const struct snapshot_policy *match_outbound(const struct worker *w, const struct pkt *p)
{
	return snapshot_policy_match(w->snapshot, ntohl(p->ip->src), ntohl(p->ip->dst),
		p->ip->proto, has_ports(p) ? ntohs((be16_t)(p->remote >> 32)) : 0, has_ports(p));
}

// Inbound, a bypass policy matches with source and destination swapped: the remote's port is the
// destination port of the policy.
static const struct snapshot_policy *match_inbound(const struct worker *w, const struct pkt *p)
{
	return snapshot_policy_match(w->snapshot, ntohl(p->ip->dst), ntohl(p->ip->src),
		p->ip->proto, has_ports(p) ? ntohs((be16_t)(p->remote >> 32)) : 0, has_ports(p));
}

bool open_quote_bypassed(const struct worker *w, const struct pkt *p)
{
	const uint8_t proto = (uint8_t)(p->key >> 48);
	const struct snapshot_policy *policy = snapshot_policy_match(w->snapshot,
		ntohl((be32_t)p->key), ntohl((be32_t)p->remote), proto,
		ntohs((be16_t)(p->remote >> 32)), proto == CGN_PROTO_TCP || proto == CGN_PROTO_UDP);

	return policy && policy->config->action == CGN_BYPASS;
}

// An error comes from any router on the way, and is ICMP: that it is about what a policy bypasses is
// known by its quote, which must be of a packet of the host that it goes to (path MTU discovery and
// traceroute of bypassed traffic: RFC 1191, RFC 4787 REQ-12a).
static bool about_bypassed(const struct worker *w, const struct pkt *p, bool inbound)
{
	return p->kind == PKT_ICMP_ERROR && p->ip->dst == (be32_t)(inbound ? p->key : p->remote) &&
		open_quote_bypassed(w, p);
}

// One-to-one mappings take ICMP queries from outside.
static bool takes_queries(const struct worker *w, be32_t external)
{
	struct staticmap_hit hit;

	return staticmap_external(
		&w->snapshot->statics, FLOW_KEY(external, 0, CGN_PROTO_ICMP), &hit);
}

static uint64_t other_key(const struct staticmap_hit *hit, uint64_t key)
{
	return FLOW_KEY(htonl(hit->address), htons(hit->port), key >> 48);
}

// Everything that is settled before a mapping is thought of. Returns the policy to translate by, or
// NULL: p is gone.
static const struct snapshot_policy *admit_outbound(
	struct worker *w, struct pkt *p, const struct snapshot_policy *policy)
{
	struct hop hop = forward_hop(w, p->ip->dst);

	if (source_refused(w, p, false))
		return NULL;
	if (ends_here(w, p, &hop))
		return NULL;
	if (!policy) {
		pkt_drop(w, p, CGN_DROP_POLICY_NONE);
	} else if (policy->config->action == CGN_DROP) {
		pkt_drop(w, p, CGN_DROP_POLICY_DROP);
	} else if (policy->config->action == CGN_BYPASS) {
		bypass(w, p, &hop, CGN_EXTERNAL);
	} else if (came_astray(w, p)) {
		return NULL;
	} else if (hop_leaves(w, &hop, CGN_INTERNAL)) {
		pkt_drop(w, p, CGN_DROP_INTERNAL_TO_INTERNAL);
	} else if (DEST_KIND(hop.dest) == DEST_POOL && !policy->config->hairpin) {
		pkt_drop(w, p, CGN_DROP_HAIRPIN_OFF);
	} else if (DEST_KIND(hop.dest) == DEST_POOL && p->ip->proto == CGN_PROTO_ICMP &&
		!takes_queries(w, p->ip->dst)) {
		pkt_drop(w, p,
			CGN_DROP_ICMP_NO_SESSION); // no query hairpins in NAPT (RFC 5508 REQ-7)
	} else if (DEST_KIND(hop.dest) == DEST_NONE) {
		icmp_no_route(w, p);
	} else if (!translate_refused(w, p, &hop, true)) { // no mapping for what is not forwarded
		return policy;
	}
	return NULL;
}

// Nearly all: from an inside to an outside by a gateway, and nothing in its way. What is anything else
// admit_outbound() judges, which says yes to these, too.
static bool is_plain(
	const struct worker *w, const struct pkt *p, const struct snapshot_policy *policy)
{
	const struct snapshot *s = w->snapshot;
	const uint32_t source = ntohl(p->ip->src);
	const uint32_t gateway = dest_lookup(s, ntohl(p->ip->dst)); // DEST_ROUTE is 0
	const enum dest_kind source_kind = DEST_KIND(dest_lookup(s, source));
	const struct snapshot_interface *ifc;

	if (gateway >= s->n_gateways || source_kind > DEST_ONLINK ||
		!snapshot_is_inside(s, source) || !policy ||
		policy->config->action != CGN_TRANSLATE)
		return false;
	ifc = &s->interface[s->gateway[gateway].ifc];
	return ifc->role == CGN_EXTERNAL && p->ip->ttl > 1 && p->ip_len <= ifc->mtu;
}

// Under overload, before anything else is asked about a packet without session: would it open one?
static bool is_refused_early(
	const struct worker *w, const struct pkt *p, const struct snapshot_policy *policy)
{
	if (cgn_likely(overload_left(&w->overload)))
		return false;
	if (!policy || policy->config->action != CGN_TRANSLATE)
		return false;
	if (p->ip->proto == CGN_PROTO_TCP &&
		(p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN)
		return false;
	return DEST_KIND(dest_lookup(w->snapshot, ntohl(p->ip->dst))) != DEST_LOCAL;
}

// The session of p, made now if it has none. FLOW_NONE: it gets none, p is gone.
static uint32_t open_one(
	struct worker *w, struct pkt *p, const struct snapshot_policy *policy, uint32_t subscriber)
{
	struct flow_table *t = &w->flows;
	uint32_t head = flow_find_out(t, p->key), record = FLOW_NONE;
	struct staticmap_hit hit;
	bool is_mapped = true;
	enum cgn_drop reason;

	if (head != FLOW_NONE) {
		record = flow_find_session(t, head, p->remote);
		if (record != FLOW_NONE) // made by an earlier packet of this burst
			return record;
	}
	if (is_refused_early(w, p, policy)) {
		pkt_drop(w, p, CGN_DROP_OVERLOAD_NEW);
		return FLOW_NONE;
	}
	if (!is_plain(w, p, policy)) {
		policy = admit_outbound(w, p, policy);
		if (!policy)
			return FLOW_NONE;
	}
	if (head == FLOW_NONE)
		is_mapped = staticmap_internal(&w->snapshot->statics, p->key, &hit);
	if (p->ip->proto == CGN_PROTO_TCP &&
		(p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN &&
		(!is_mapped || !w->snapshot->config->tcp_midstream_forward ||
			(p->tcp_flags & TCP_RST))) {
		pkt_drop(w, p, CGN_DROP_TCP_NO_SESSION);
		return FLOW_NONE;
	}
	if (cgn_unlikely(!overload_take(&w->overload))) {
		pkt_drop(w, p, CGN_DROP_OVERLOAD_NEW);
		return FLOW_NONE;
	}
	if (head != FLOW_NONE)
		reason = session_add(w, policy, head, p->remote, p->tcp_flags, false, &record);
	else if (is_mapped)
		reason = session_open_static(w, policy, hit.mapping, p->key,
			other_key(&hit, p->key), p->remote, p->tcp_flags, &record);
	else
		reason = session_open_mapping(
			w, policy, subscriber, p->key, p->remote, p->tcp_flags, &record);
	if (reason == CGN_DROP_COUNT)
		return record;
	icmp_refuse(w, p, reason);
	return FLOW_NONE;
}

static bool is_translated(const struct snapshot_policy *policy)
{
	return policy && policy->config->action == CGN_TRANSLATE;
}

// Brings the lines on their way that new mappings of these packets will touch, one kind after the other.
static void fetch_outbound(struct worker *w, const struct batch *b, const uint16_t *at, unsigned n,
	const struct snapshot_policy **policy, uint32_t *subscriber)
{
	uint64_t hash[BATCH_MAX];
	uint32_t block[BATCH_MAX];
	// under overload only so many open a session, probably the first ones
	const unsigned n_left = overload_left(&w->overload), n_open = n < n_left ? n : n_left;

	for (unsigned i = n_open; i < n; i++) {
		policy[i] = match_outbound(w, &b->pkt[at[i]]);
		subscriber[i] = SUBSCRIBER_NONE;
	}
	for (unsigned i = 0; i < n_open; i++) { // the index line of the subscriber
		const struct pkt *p = &b->pkt[at[i]];

		policy[i] = match_outbound(w, p);
		subscriber[i] = SUBSCRIBER_NONE;
		if (!is_translated(policy[i]))
			continue;
		hash[i] = subscriber_hash(
			&w->subscribers, ntohl(p->ip->src), policy[i]->config->pool);
		index_prefetch(&w->subscribers.index, hash[i]);
	}
	for (unsigned i = 0; i < n_open; i++) { // the subscriber
		if (is_translated(policy[i]))
			subscriber[i] = subscriber_prefetch(&w->subscribers, hash[i]);
	}
	for (unsigned i = 0; i < n_open; i++) { // its block with a free port
		block[i] = subscriber[i] == SUBSCRIBER_NONE
			? PORTBLOCK_NONE
			: lease_search(&w->subscribers.sub[subscriber[i]],
				  cgn_l4_of(b->pkt[at[i]].ip->proto));
		if (block[i] != PORTBLOCK_NONE)
			portblock_prefetch(&w->blocks, block[i]);
	}
	flow_prefetch_new(&w->flows, n_open);
	// the bitmap of the block's ports, and of resting ones
	for (unsigned i = 0; i < n_open; i++) {
		const struct pkt *p = &b->pkt[at[i]];
		const struct portblock *first = &w->blocks.block[block[i]];

		if (block[i] == PORTBLOCK_NONE)
			continue;
		portblock_prefetch_bits(&w->blocks, block[i], cgn_l4_of(p->ip->proto));
		if (first->n_resting)
			rest_prefetch(&w->rests, rest_key(subscriber[i], p->key));
	}
}

// Packets that have a session now.
static void send_opened(
	struct worker *w, struct batch *b, const uint16_t *at, const uint32_t *record, unsigned n)
{
	unsigned n_fast = 0;

	while (w->fast && n_fast < n && at[n_fast] < b->n_missed)
		n_fast++;
	if (n_fast)
		w->fast->opened(w, b->pkt, at, record, n_fast, b->pkt[at[0]].ifc);
	for (unsigned i = n_fast; i < n; i++)
		fast_odd(w, &b->pkt[at[i]], record[i]);
}

// Has no session for sure: none was there when the burst began, and none of the `n` that it has opened since
// is of its endpoint.
static bool is_surely_new(
	const struct batch *b, const struct pkt *p, const uint16_t *opened, unsigned n)
{
	if (!(p->flags & PKT_UNMAPPED) || n > FEW_OPENED)
		return false;
	for (unsigned i = 0; i < n; i++) {
		if (b->pkt[opened[i]].key == p->key)
			return false;
	}
	return true;
}

void open_outbound(struct worker *w, struct batch *b, const uint16_t *at, unsigned n)
{
	const struct snapshot_policy *policy[BATCH_MAX];
	uint16_t opened[BATCH_MAX];
	uint32_t record[BATCH_MAX], subscriber[BATCH_MAX];
	struct rte_mbuf *refused[BATCH_MAX];
	unsigned n_opened = 0, n_refused = 0;

	fetch_outbound(w, b, at, n, policy, subscriber);
	stage_mark(w, STAGE_OPEN_FIND);
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = &b->pkt[at[i]];

		if (cgn_unlikely(!overload_left(&w->overload)) &&
			is_surely_new(b, p, opened, n_opened) &&
			is_refused_early(w, p, policy[i])) {
			// to free it takes a line of the buffer that nothing has touched
			rte_mbuf_prefetch_part2(p->m);
			worker_count_drop(w, CGN_DROP_OVERLOAD_NEW, p->ifc);
			refused[n_refused++] = p->m;
			continue;
		}
		// fast.c looks at one candidate: a session that outsiders opened may be there all the same
		if (at[i] < b->n_missed && !w->snapshot->statics.n &&
			!is_translated(policy[i])) { // has no session, and gets none
			admit_outbound(w, p, policy[i]);
			continue;
		}
		opened[n_opened] = at[i];
		record[n_opened] = open_one(w, p, policy[i], subscriber[i]);
		n_opened += record[n_opened] != FLOW_NONE;
	}
	rte_pktmbuf_free_bulk(refused, n_refused);
	stage_mark(w, STAGE_OPEN_MAKE);
	send_opened(w, b, opened, record, n_opened);
	stage_mark(w, STAGE_OPEN_SEND);
	session_settle(w);
	stage_mark(w, STAGE_OPEN_SETTLE);
}

// May a remote without a session send to the mapping `head`? (RFC 4787 REQ-8, RFC 5382 REQ-3)
static bool filter_lets_in(const struct worker *w, const struct pkt *p, uint32_t head)
{
	const struct cgn_policy *policy;
	enum cgn_filtering filtering;

	if (w->flows.flow[head].flags & FLOW_STATIC)
		return true;
	policy = w->snapshot->policy[w->flows.cold[head].policy].config;
	filtering = p->ip->proto == CGN_PROTO_TCP ? policy->filtering_tcp : policy->filtering_udp;
	if (cgn_likely(filtering == CGN_FILTER_ENDPOINT_INDEPENDENT))
		return true;
	return filtering == CGN_FILTER_ADDRESS_DEPENDENT &&
		flow_find_address(&w->flows, head, (be32_t)p->remote) != FLOW_NONE;
}

void open_outbound_one(struct worker *w, struct pkt *p)
{
	const uint32_t record = open_one(w, p, match_outbound(w, p), SUBSCRIBER_NONE);

	if (record != FLOW_NONE)
		translate_out(w, p, record);
	session_settle(w);
}

// Inbound to an address that is no pool's: for us, bypassed, or nothing we carry.
static void inbound_other(struct worker *w, struct pkt *p, enum cgn_drop reason)
{
	struct hop hop = forward_hop(w, p->ip->dst);
	const struct snapshot_policy *policy;

	if (ends_here(w, p, &hop))
		return;
	policy = match_inbound(w, p);
	if ((policy && policy->config->action == CGN_BYPASS) || about_bypassed(w, p, true))
		bypass(w, p, &hop, CGN_INTERNAL);
	else
		pkt_drop(w, p, reason);
}

// A remote that the subscriber may not send to by way of the NAT does not get in to it either.
static enum cgn_drop admit_inbound(const struct worker *w, const struct pkt *p, uint32_t head)
{
	const struct flow *f = &w->flows.flow[head];
	const struct snapshot_policy *policy =
		snapshot_policy_match(w->snapshot, ntohl(f->int_addr), ntohl((be32_t)p->remote),
			f->proto, ntohs((be16_t)(p->remote >> 32)), f->proto != CGN_PROTO_ICMP);

	if (!policy)
		return CGN_DROP_POLICY_NONE;
	return policy->config->action == CGN_TRANSLATE ? CGN_DROP_COUNT : CGN_DROP_POLICY_DROP;
}

// The session that a packet from outside opens; without a head that of the static mapping `hit`,
// which anybody reaches, whatever the policies say.
static enum cgn_drop inbound_session(struct worker *w, const struct pkt *p, uint32_t head,
	const struct staticmap_hit *hit, uint32_t *record)
{
	const struct flow_table *t = &w->flows;
	enum cgn_drop reason;

	if (head == FLOW_NONE)
		return session_open_static(w, NULL, hit->mapping, other_key(hit, p->key), p->key,
			p->remote, p->tcp_flags, record);
	if (t->flow[head].flags & FLOW_STATIC)
		return session_add(w, NULL, head, p->remote, p->tcp_flags, true, record);
	reason = admit_inbound(w, p, head);
	if (reason != CGN_DROP_COUNT)
		return reason;
	return session_add(w, &w->snapshot->policy[t->cold[head].policy], head, p->remote,
		p->tcp_flags, true, record);
}

void open_inbound(struct worker *w, struct pkt *p)
{
	struct flow_table *t = &w->flows;
	const bool hairpin = p->flags & PKT_HAIRPIN;
	struct staticmap_hit hit = {0};
	uint32_t head, record = FLOW_NONE;
	enum cgn_drop reason;

	head = flow_find_in(t, p->key);
	if (head != FLOW_NONE)
		record = flow_find_session(t, head, p->remote);
	// the source of a session that is there was asked when it was made; translate_in() knows hairpins
	if (record == FLOW_NONE && source_refused(w, p, true))
		return;
	if (head == FLOW_NONE &&
		DEST_KIND(dest_lookup(w->snapshot, ntohl(p->ip->dst))) != DEST_POOL) {
		inbound_other(w, p, CGN_DROP_EXTERNAL_TO_EXTERNAL);
		return;
	}
	if (head == FLOW_NONE && !staticmap_external(&w->snapshot->statics, p->key, &hit)) {
		icmp_refuse_inbound(w, p, CGN_DROP_NO_MAPPING);
		return;
	}
	if (record == FLOW_NONE) {
		if (p->ip->proto == CGN_PROTO_ICMP && !(p->flags & PKT_AGAINST)) {
			pkt_drop(w, p, CGN_DROP_ICMP_NO_SESSION);
			return;
		}
		if (head != FLOW_NONE &&
			!filter_lets_in(w, p, head)) { // refreshes nothing (RFC 7857 7)
			icmp_refuse_inbound(w, p, CGN_DROP_FILTERED);
			return;
		}
		if (p->ip->proto == CGN_PROTO_TCP &&
			(p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) != TCP_SYN &&
			!(w->snapshot->config->tcp_midstream_forward &&
				!(p->tcp_flags & TCP_RST))) {
			pkt_drop(w, p, CGN_DROP_TCP_NO_SESSION);
			return;
		}
		if (!hairpin && p->ip->ttl <= 1) {
			icmp_ttl_expired(w, p);
			return;
		}
		if (!hairpin && !overload_take(&w->overload)) { // its first half has taken one
			pkt_drop(w, p, CGN_DROP_OVERLOAD_NEW);
			return;
		}
		reason = inbound_session(w, p, head, &hit, &record);
		if (reason != CGN_DROP_COUNT) {
			pkt_drop(w, p, reason); // strangers are told nothing
			return;
		}
	}
	translate_in(w, p, record);
}

// An echo request from outside, or a reply from inside: only one-to-one mappings have such, and only
// a request opens a session. False when there is none: p is still there. Any worker may come here.
static bool open_against(struct worker *w, struct pkt *p, bool inbound)
{
	const struct staticmap *statics = &w->snapshot->statics;
	struct staticmap_hit hit;
	uint32_t owner, head, record = FLOW_NONE;

	if (inbound ? !staticmap_external(statics, p->key, &hit)
		    : !staticmap_internal(statics, p->key, &hit))
		return false;
	owner = steer_internal(w->snapshot, inbound ? hit.address : ntohl((be32_t)p->key));
	if (owner != w->id && !(p->flags & PKT_HAIRPIN)) { // path_to_pool() has seen to hairpins
		handoff_push(w, owner, p->m, HANDOFF_PACKET, p->ifc);
		return true;
	}
	if (inbound) {
		open_inbound(w, p);
		return true;
	}
	head = flow_find_out(&w->flows, p->key);
	if (head != FLOW_NONE)
		record = flow_find_session(&w->flows, head, p->remote);
	if (record == FLOW_NONE)
		return false;
	translate_out(w, p, record);
	return true;
}

// The end of what no policy translates, outbound.
static void not_translated(
	struct worker *w, struct pkt *p, const struct snapshot_policy *policy, struct hop *hop)
{
	if (policy && policy->config->action == CGN_BYPASS)
		bypass(w, p, hop, CGN_EXTERNAL);
	else if (policy && policy->config->action == CGN_DROP)
		pkt_drop(w, p, CGN_DROP_POLICY_DROP);
	else
		pkt_drop(w, p, p->drop_reason);
}

const struct snapshot_policy *open_admit_portless(struct worker *w, struct pkt *p, uint8_t bit)
{
	const struct snapshot_policy *policy = match_outbound(w, p);
	struct hop hop = forward_hop(w, p->ip->dst);

	if (policy && policy->config->action == CGN_TRANSLATE && policy->config->portless & bit)
		return admit_outbound(w, p, policy);
	not_translated(w, p, policy, &hop);
	return NULL;
}

void open_other(struct worker *w, struct pkt *p, bool inbound)
{
	const bool portless =
		p->drop_reason == CGN_DROP_PROTOCOL && portless_offered(w, p->ip->proto);
	struct hop hop;

	if (source_refused(w, p, inbound))
		return;
	if (p->flags & PKT_AGAINST && open_against(w, p, inbound))
		return;
	hop = forward_hop(w, p->ip->dst);
	if (portless && inbound && DEST_KIND(hop.dest) == DEST_POOL)
		portless_packet(w, p, true);
	else if (inbound)
		inbound_other(w, p, p->drop_reason);
	else if (ends_here(w, p, &hop))
		return;
	else if (portless)
		portless_packet(w, p, false);
	else if (about_bypassed(w, p, false))
		bypass(w, p, &hop, CGN_EXTERNAL);
	else
		not_translated(w, p, match_outbound(w, p), &hop);
}

void open_bypass(struct worker *w, struct pkt *p, bool inbound)
{
	struct hop hop = forward_hop(w, p->ip->dst);

	bypass(w, p, &hop, inbound ? CGN_INTERNAL : CGN_EXTERNAL);
}

bool open_fragment(struct worker *w, struct pkt *p, bool inbound)
{
	const struct ipv4 *ip = p->ip;
	struct hop hop = forward_hop(w, ip->dst);
	const struct snapshot_policy *policy;
	bool by_ports;

	if (source_refused(w, p, inbound))
		return true;
	if (ends_here(w, p, &hop))
		return true;
	if (inbound && DEST_KIND(hop.dest) == DEST_POOL)
		return false;
	policy = snapshot_policy_match_fragment(w->snapshot, ntohl(inbound ? ip->dst : ip->src),
		ntohl(inbound ? ip->src : ip->dst), ip->proto, &by_ports);
	if (by_ports)
		return false;
	if (policy && policy->config->action == CGN_BYPASS) {
		bypass(w, p, &hop, inbound ? CGN_INTERNAL : CGN_EXTERNAL);
		return true;
	}
	if (inbound)
		pkt_drop(w, p, CGN_DROP_EXTERNAL_TO_EXTERNAL);
	return inbound;
}
