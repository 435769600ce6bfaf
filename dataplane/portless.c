// SPDX-License-Identifier: BSD-3-Clause
#include "portless.h"
#include <arpa/inet.h>
#include "claims.h"
#include "handoff.h"
#include "open.h"
#include "readdress.h"
#include "session.h"
#include "translate.h"
#include "worker.h"

bool portless_offered(const struct worker *w, uint8_t proto)
{
	return w->snapshot->portless & cgn_portless_bit(proto);
}

uint32_t portless_owner(const struct worker *w, uint64_t external, be32_t remote)
{
	const uint32_t address = ntohl((be32_t)external);
	uint32_t owner;

	if (w->n_workers == 1)
		return w->id;
	if (!snapshot_address_is_shared(w->snapshot, address))
		return steer_external(w->snapshot, address, 0);
	owner = claims_find(w->claims, external, remote);
	return owner == CLAIMS_NOBODY ? w->id : owner;
}

// True when p is another worker's: it is on its way there.
static bool handed_over(struct worker *w, struct pkt *p, uint32_t owner)
{
	// fragments have been brought to the owner of their datagram
	if (owner == w->id || p->flags & PKT_FIRST)
		return false;
	handoff_push(
		w, owner, p->m, p->flags & PKT_HAIRPIN ? HANDOFF_HAIRPIN : HANDOFF_PACKET, p->ifc);
	return true;
}

bool portless_handed_over(struct worker *w, struct pkt *p)
{
	return cgn_is_portless((uint8_t)(p->key >> 48)) &&
		handed_over(w, p, portless_owner(w, p->key, (be32_t)p->remote));
}

// The other end of a one-to-one mapping for all protocols. False when there is none.
static bool one_to_one(
	const struct worker *w, uint64_t key, bool inbound, struct staticmap_hit *hit)
{
	const struct staticmap *statics = &w->snapshot->statics;
	const uint64_t query = FLOW_KEY(key, 0, CGN_PROTO_ICMP); // only one-to-one has such

	return (inbound ? staticmap_external(statics, query, hit)
			: staticmap_internal(statics, query, hit)) &&
		w->snapshot->config->static_mappings[hit->mapping].protocol == CGN_PROTO_ANY;
}

static void send_out(struct worker *w, struct pkt *p, uint32_t record)
{
	struct hop hop = forward_hop(w, p->ip->dst);
	uint32_t diff = 0;

	if (translate_refused(w, p, &hop, true))
		return;
	translate_state(w, record, p, true);
	if (p->ip->frag != htons(IPV4_DF))
		diff = translate_ident(w, p, record);
	readdress_out(w, p, &hop, w->flows.flow[record].ext_addr, diff);
}

static void send_in(struct worker *w, struct pkt *p, uint32_t record)
{
	const be32_t address = w->flows.flow[record].int_addr;
	struct hop hop = forward_hop_in(w, address);

	if (translate_refused(w, p, &hop, !(p->flags & PKT_HAIRPIN)))
		return;
	translate_state(w, record, p, false);
	if (p->flags & PKT_FIRST)
		frag_translated(w, p, record, address, p->ip->id);
	readdress_in(w, p, &hop, address);
}

static void portless_out(struct worker *w, struct pkt *p)
{
	const uint8_t bit = cgn_portless_bit(p->ip->proto);
	const struct snapshot_policy *policy;
	struct staticmap_hit hit;
	enum cgn_drop reason;
	uint32_t record;

	if (handed_over(w, p, steer_internal(w->snapshot, ntohl(p->ip->src))))
		return;
	record = flow_find_portless(&w->flows, p->key, (be32_t)p->remote, false);
	if (record != FLOW_NONE) {
		send_out(w, p, record);
		return;
	}
	policy = open_admit_portless(w, p, bit);
	if (!policy)
		return;
	if (!overload_take(&w->overload)) {
		pkt_drop(w, p, CGN_DROP_OVERLOAD_NEW);
		return;
	}
	if (one_to_one(w, p->key, false, &hit)) {
		reason = session_open_static(w, policy, hit.mapping, p->key,
			FLOW_KEY(htonl(hit.address), 0, p->ip->proto), p->remote, 0, &record);
	} else {
		reason = session_open_mapping(
			w, policy, SUBSCRIBER_NONE, p->key, p->remote, 0, &record);
	}
	if (reason == CGN_DROP_COUNT)
		send_out(w, p, record);
	else if (reason == CGN_DROP_HAIRPIN_OFF)
		pkt_drop(w, p, reason); // as for other protocols
	else
		icmp_refuse(w, p, reason);
}

// From outside only a one-to-one host may be sent to without having sent first, if a policy translates
// this protocol for it.
static enum cgn_drop open_from_outside(struct worker *w, struct pkt *p, uint32_t *record)
{
	const struct snapshot_policy *policy;
	struct staticmap_hit hit;

	if (!one_to_one(w, p->key, true, &hit))
		return CGN_DROP_NO_MAPPING;
	policy = snapshot_policy_match(
		w->snapshot, hit.address, ntohl(p->ip->src), p->ip->proto, 0, false);
	if (!policy || policy->config->action != CGN_TRANSLATE ||
		!(policy->config->portless & cgn_portless_bit(p->ip->proto)))
		return CGN_DROP_PROTOCOL;
	if (!(p->flags & PKT_HAIRPIN) && p->ip->ttl <= 1)
		return CGN_DROP_TTL_EXPIRED; // nothing is made for what is not forwarded
	if (!(p->flags & PKT_HAIRPIN) && !overload_take(&w->overload))
		return CGN_DROP_OVERLOAD_NEW; // a hairpin's first half has taken one
	return session_open_static(w, NULL, hit.mapping,
		FLOW_KEY(htonl(hit.address), 0, p->ip->proto), p->key, p->remote, 0, record);
}

static void portless_in(struct worker *w, struct pkt *p)
{
	enum cgn_drop reason;
	uint32_t record;

	record = flow_find_portless(&w->flows, p->key, (be32_t)p->remote, true);
	if (record == FLOW_NONE) {
		if (portless_handed_over(w, p))
			return;
		reason = open_from_outside(w, p, &record);
		if (reason == CGN_DROP_TTL_EXPIRED)
			icmp_ttl_expired(w, p);
		else if (reason != CGN_DROP_COUNT)
			pkt_drop(w, p, reason);
		if (reason != CGN_DROP_COUNT)
			return;
	}
	send_in(w, p, record);
}

void portless_packet(struct worker *w, struct pkt *p, bool inbound)
{
	const struct ipv4 *ip = p->ip;

	p->key = FLOW_KEY(inbound ? ip->dst : ip->src, 0, ip->proto);
	p->remote = FLOW_REMOTE(inbound ? ip->src : ip->dst, 0);
	if (inbound)
		portless_in(w, p);
	else
		portless_out(w, p);
}
