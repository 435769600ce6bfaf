// SPDX-License-Identifier: BSD-3-Clause
#include "walk.h"
#include <arpa/inet.h>
#include "session.h"
#include "worker.h"

#define FURTHER_LOOK 4096 // further sessions of one mapping that a walk looks at in one go

static uint32_t seconds_left(const struct worker *w, uint32_t deadline)
{
	return deadline > w->now_s ? deadline - w->now_s : 0;
}

// ---- filters

static bool session_wanted(const struct cgn_filter *q, const struct flow *f, uint16_t policy)
{
	if (q->by_subscriber && ntohl(f->int_addr) != q->subscriber)
		return false;
	if (q->by_external && ntohl(f->ext_addr) != q->external)
		return false;
	if (q->by_external_port && ntohs(f->ext_port) != q->external_port)
		return false;
	if (q->by_protocol && f->proto != q->protocol)
		return false;
	return !q->by_policy || policy == q->policy;
}

static bool remote_wanted(const struct cgn_filter *q, const struct flow *f)
{
	if (q->by_remote && ntohl(f->rem_addr) != q->remote)
		return false;
	return !q->by_remote_port || ntohs(f->rem_port) == q->remote_port;
}

// A mapping is wanted for a remote when any of its sessions has it.
static bool mapping_wanted(const struct worker *w, const struct cgn_filter *q, uint32_t head)
{
	const struct flow_table *t = &w->flows;
	uint32_t at = head;

	if (!session_wanted(q, &t->flow[head], t->cold[head].policy))
		return false;
	for (unsigned i = 0; at != FLOW_NONE && i < FURTHER_LOOK; i++, at = t->cold[at].next) {
		if (remote_wanted(q, &t->flow[at]))
			return true;
	}
	return false;
}

// ---- records

static void fill_session(const struct worker *w, uint32_t record, struct cgn_walk_session *out)
{
	const struct flow *f = &w->flows.flow[record];
	const struct flow_cold *c = &w->flows.cold[record];

	*out = (struct cgn_walk_session){
		.internal = ntohl(f->int_addr),
		.external = ntohl(f->ext_addr),
		.remote = ntohl(f->rem_addr),
		.internal_port = ntohs(f->int_port),
		.external_port = ntohs(f->ext_port),
		.remote_port = ntohs(f->rem_port),
		.protocol = f->proto,
		.state = (enum cgn_session_state)f->state,
		.policy = c->policy,
		.age_s = w->now_s - c->session_created_s,
		.expires_s = seconds_left(w, flow_deadline(f, &w->timeouts)),
		.packets_out = f->pkts_out,
		.packets_in = f->pkts_in,
		.bytes_out = f->bytes_out,
		.bytes_in = f->bytes_in,
	};
}

static void fill_mapping(const struct worker *w, uint32_t head, struct cgn_walk_mapping *out)
{
	const struct flow_table *t = &w->flows;
	const struct flow *f = &t->flow[head];
	uint32_t deadline = 0, at = head;

	for (unsigned i = 0; at != FLOW_NONE && i < FURTHER_LOOK; i++, at = t->cold[at].next) {
		uint32_t d = flow_deadline(&t->flow[at], &w->timeouts);

		if (d > deadline)
			deadline = d;
	}
	*out = (struct cgn_walk_mapping){
		.internal = ntohl(f->int_addr),
		.external = ntohl(f->ext_addr),
		.internal_port = ntohs(f->int_port),
		.external_port = ntohs(f->ext_port),
		.protocol = f->proto,
		.policy = t->cold[head].policy,
		.sessions = 1 + flow_n_further(t, head),
		.age_s = w->now_s - t->cold[head].mapping_created_s,
		.expires_s = seconds_left(w, deadline),
		.is_static = f->flags & FLOW_STATIC,
		.static_mapping = t->cold[head].block,
	};
}

// ---- static mappings: of the config, whether they have sessions or not

// Static mappings that a remote is asked for are found by their sessions, endpoint by endpoint.
static bool by_remote(const struct cgn_filter *q)
{
	return q->by_remote || q->by_remote_port;
}

static bool static_wanted(
	const struct cgn_filter *q, const struct cgn_static_mapping *m, uint16_t external_port)
{
	if (q->by_subscriber && m->internal != q->subscriber)
		return false;
	if (q->by_external && m->external != q->external)
		return false;
	if (q->by_external_port && !cgn_static_one_to_one(m) && external_port != q->external_port)
		return false;
	if (q->by_protocol && !cgn_static_takes(m, q->protocol))
		return false;
	return !q->by_policy;
}

static uint32_t port_sessions(
	const struct worker *w, const struct cgn_static_mapping *m, uint16_t external_port)
{
	static const uint8_t protocols[] = {CGN_PROTO_TCP, CGN_PROTO_UDP};
	uint32_t n = 0;

	for (unsigned i = 0; i < sizeof(protocols); i++) {
		uint32_t head;

		if (!cgn_static_takes(m, protocols[i]))
			continue;
		head = flow_find_in(&w->flows,
			FLOW_KEY(htonl(m->external), htons(external_port), protocols[i]));
		n += head != FLOW_NONE ? 1 + flow_n_further(&w->flows, head) : 0;
	}
	return n;
}

// The next row of the static mappings whose internal address is this worker's: one for each port,
// or a whole one-to-one mapping. True when *out was filled.
static bool step_static(struct worker *w, struct worker_walk *walk, struct cgn_walk_record *out)
{
	const uint32_t idx = walk->static_mapping;
	const struct cgn_static_mapping *m = &w->snapshot->config->static_mappings[idx];
	const bool whole = cgn_static_one_to_one(m);
	const uint16_t external_port = (uint16_t)(m->external_ports.first + walk->static_port);
	const uint16_t internal_port = (uint16_t)(m->internal_ports.first + walk->static_port);
	const bool is_ours = steer_internal(w->snapshot, m->internal) == w->id;

	if (whole || !is_ours || external_port == m->external_ports.last) {
		walk->static_mapping++;
		walk->static_port = 0;
	} else {
		walk->static_port++;
	}
	if (!is_ours || !static_wanted(&walk->filter, m, external_port))
		return false;
	out->mapping = (struct cgn_walk_mapping){
		.internal = m->internal,
		.external = m->external,
		.internal_port = internal_port,
		.external_port = external_port,
		.protocol = m->protocol,
		.is_static = true,
		.policy = FLOW_POLICY_NONE,
		.sessions = whole ? w->statics.sessions[idx] : port_sessions(w, m, external_port),
		.age_s = w->now_s - w->statics.since_s,
		.static_mapping = idx,
	};
	return true;
}

// Goes on with the static mappings of a walk over mappings, *head being the ring's. True when it has
// seen them all.
static bool statics_slice(
	struct worker *w, struct worker_walk *walk, uint32_t *head, uint32_t tail, uint32_t *looked)
{
	const uint32_t end = w->snapshot->config->n_static_mappings;

	if (walk->kind != CGN_WALK_MAPPINGS || by_remote(&walk->filter))
		return true;
	for (unsigned i = 0; i < UPKEEP_WALK && walk->static_mapping < end; i++) {
		struct cgn_walk_record *out = &walk->ring[*head % WALK_RING];

		if (*head - tail == WALK_RING)
			break;
		(*looked)++;
		out->worker = w->id;
		if (step_static(w, walk, out))
			(*head)++;
	}
	return walk->static_mapping >= end;
}

static bool fill_block(const struct worker *w, const struct cgn_filter *q, uint32_t block,
	struct cgn_walk_block *out)
{
	const struct portblock *b = &w->blocks.block[block];
	const struct portblock_address *a = &w->blocks.address[b->address];
	const struct subscriber *s;
	struct cgn_det_span span;

	if (b->state != PORTBLOCK_LENT)
		return false;
	s = &w->subscribers.sub[b->sub];
	span = portblock_span(&w->blocks, block);
	if (q->by_subscriber && s->address != q->subscriber)
		return false;
	if (q->by_external && a->address != q->external)
		return false;
	if (q->by_external_port && !portblock_has_port(&w->blocks, block, q->external_port))
		return false;
	if (q->by_policy && s->policy != q->policy)
		return false;
	*out = (struct cgn_walk_block){
		.subscriber = s->address,
		.external = a->address,
		.first_port = span.first,
		.last_port = span.last,
		.step = span.step,
		.preset = portblock_is_preset(b),
		.pool = a->pool,
		.ports_used = portblock_used(b),
		.allocated_at = b->lent_at,
	};
	return true;
}

// Does one of the subscriber's blocks lie on the external address that is asked for, and cover the port?
static bool has_external(
	const struct worker *w, const struct cgn_filter *q, const struct subscriber *s)
{
	for (uint32_t b = s->lent; b != PORTBLOCK_NONE; b = w->blocks.block[b].next) {
		if (q->by_external &&
			w->blocks.address[w->blocks.block[b].address].address != q->external)
			continue; // soft-app
		if (!q->by_external_port || portblock_has_port(&w->blocks, b, q->external_port))
			return true;
	}
	return false;
}

static bool fill_subscriber(const struct worker *w, const struct cgn_filter *q, uint32_t sub,
	struct cgn_walk_subscriber *out)
{
	const struct subscriber *s = &w->subscribers.sub[sub];
	uint32_t external;

	if (!w->subscribers.used[sub] || !s->n_lent)
		return false;
	external = w->blocks.address[s->paired].address;
	if (q->by_subscriber && s->address != q->subscriber)
		return false;
	if ((q->by_external || q->by_external_port) && !has_external(w, q, s))
		return false;
	if (q->by_policy && s->policy != q->policy)
		return false;
	*out = (struct cgn_walk_subscriber){
		.subscriber = s->address,
		.external = external,
		.policy = s->policy,
		.pool = s->pool,
		.blocks = s->n_lent,
		.mappings = s->n_mappings,
		.sessions = s->n_sessions,
	};
	for (uint32_t b = s->lent; b != PORTBLOCK_NONE; b = w->blocks.block[b].next) {
		out->ports_used += portblock_used(&w->blocks.block[b]);
		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) // each mapping has a port
			out->mappings_of[l4] += w->blocks.block[b].used[l4];
	}
	for (unsigned i = 0; i < CGN_SUBSCRIBER_DROP_COUNT; i++)
		out->drops[i] = s->drops[i];
	return true;
}

// ---- one step: looks at one record; true when *out was filled

static bool step_flow(struct worker *w, struct worker_walk *walk, struct cgn_walk_record *out)
{
	const struct flow_table *t = &w->flows;
	const uint32_t record = walk->position;
	const struct flow *f = &t->flow[record];
	uint32_t moved = FLOW_NONE;

	walk->position++;
	if (!f->proto)
		return false;
	switch (walk->kind) {
	case CGN_WALK_SESSIONS:
		if (!session_wanted(&walk->filter, f, t->cold[record].policy) ||
			!remote_wanted(&walk->filter, f))
			return false;
		fill_session(w, record, &out->session);
		return true;
	case CGN_WALK_MAPPINGS:
		if (f->flags & FLOW_STATIC && !by_remote(&walk->filter))
			return false; // step_static() has it
		if (!(f->flags & FLOW_HEAD) || !mapping_wanted(w, &walk->filter, record))
			return false;
		fill_mapping(w, record, &out->mapping);
		return true;
	case CGN_WALK_CLEAR_SESSIONS:
		if (!session_wanted(&walk->filter, f, t->cold[record].policy) ||
			!remote_wanted(&walk->filter, f))
			return false;
		session_end(w, record, true, &moved);
		walk->cleared++;
		if (moved != FLOW_NONE)
			walk->position = record; // another session has moved in here
		return false;
	case CGN_WALK_CLEAR_MAPPINGS:
		if ((f->flags & (FLOW_HEAD | FLOW_STATIC)) != FLOW_HEAD) // static ones stay
			return false;
		// one session a step, until none is left; between slices the mapping may end by itself
		if (walk->clearing != flow_key_of(f) && !mapping_wanted(w, &walk->filter, record))
			return false;
		walk->clearing = flow_key_of(f);
		session_end(w, record, true, &moved);
		if (moved != FLOW_NONE) {
			walk->position = record;
		} else {
			walk->clearing = 0;
			walk->cleared++;
		}
		return false;
	default:
		return false;
	}
}

static uint32_t walk_end_of(const struct worker *w, const struct worker_walk *walk)
{
	switch (walk->kind) {
	case CGN_WALK_BLOCKS:
		return w->blocks.n_blocks;
	case CGN_WALK_SUBSCRIBERS:
		return w->subscribers.top;
	default:
		return w->flows.top;
	}
}

static bool step(struct worker *w, struct worker_walk *walk, struct cgn_walk_record *out)
{
	switch (walk->kind) {
	case CGN_WALK_BLOCKS:
		return fill_block(w, &walk->filter, walk->position++, &out->block);
	case CGN_WALK_SUBSCRIBERS:
		return fill_subscriber(w, &walk->filter, walk->position++, &out->subscriber);
	default:
		return step_flow(w, walk, out);
	}
}

static bool walk_is_clear(const struct worker_walk *walk)
{
	return walk->kind == CGN_WALK_CLEAR_SESSIONS || walk->kind == CGN_WALK_CLEAR_MAPPINGS;
}

// Goes on with one walk. Returns true when it is over.
static bool walk_slice(struct worker *w, struct worker_walk *walk, uint32_t *looked)
{
	uint32_t head = atomic_load_explicit(&walk->head, memory_order_relaxed);
	uint32_t tail = atomic_load_explicit(&walk->tail, memory_order_acquire);
	uint32_t end = walk_end_of(w, walk);

	if (atomic_load_explicit(&walk->cancelled, memory_order_relaxed))
		return true;
	if (!statics_slice(w, walk, &head, tail, looked)) {
		atomic_store_explicit(&walk->head, head, memory_order_release);
		return false;
	}
	for (unsigned i = 0; i < UPKEEP_WALK && walk->position < end; i++) {
		struct cgn_walk_record *out = &walk->ring[head % WALK_RING];

		if (head - tail == WALK_RING)
			break;
		(*looked)++;
		out->worker = w->id;
		if (step(w, walk, out))
			head++;
	}
	if (walk->position >= end && walk_is_clear(walk) && !walk->reported &&
		head - tail < WALK_RING) {
		struct cgn_walk_record *out = &walk->ring[head++ % WALK_RING];

		out->worker = w->id;
		out->cleared.cleared = walk->cleared;
		walk->reported = true;
	}
	atomic_store_explicit(&walk->head, head, memory_order_release);
	return walk->position >= end && (walk->reported || !walk_is_clear(walk));
}

uint32_t walk_upkeep(struct worker *w)
{
	struct worker_walk *walk;
	uint32_t looked = 0;

	while (w->n_walks < CGN_WALKS_MAX && w->walk_ring &&
		rte_ring_sc_dequeue(w->walk_ring, (void **)&walk) == 0)
		w->walk[w->n_walks++] = walk;
	for (uint32_t i = 0; i < w->n_walks;) {
		walk = w->walk[i];
		if (!walk_slice(w, walk, &looked)) {
			i++;
			continue;
		}
		w->walk[i] = w->walk[--w->n_walks];
		atomic_store_explicit(&walk->done, true, memory_order_release);
		atomic_store_explicit(&walk->released, true, memory_order_release);
	}
	return looked;
}
