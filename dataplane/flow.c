// SPDX-License-Identifier: BSD-3-Clause
#include "flow.h"
#include "csum.h"
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <string.h>

// ---- init, fini

// One record in 64 may be of a portless protocol.
static uint32_t portless_room(uint32_t n_max)
{
	return n_max / 64 > 64 ? n_max / 64 : 64;
}

int flow_table_init(
	struct flow_table *t, uint32_t n_max, uint32_t now_s, const uint64_t seed[2], int socket)
{
	assert(n_max && n_max < UINT32_MAX / 2);
	memset(t, 0, sizeof(*t));
	memcpy(t->seed, seed, sizeof(t->seed));
	t->n_max = n_max;
	t->free_first = FLOW_NONE;
	t->flow = mem_take("flows", ((uint64_t)n_max + 1) * sizeof(*t->flow), socket);
	t->cold = mem_take("flows cold", (uint64_t)n_max * sizeof(*t->cold), socket);
	t->n_portless_max = portless_room(n_max);
	if (!t->flow || !t->cold || index_init(&t->out, n_max, socket) ||
		index_init(&t->in, n_max, socket) ||
		index_init(&t->portless, 2 * t->n_portless_max, socket) ||
		timers_init(&t->timers, n_max, now_s, socket)) {
		flow_table_fini(t);
		return -ENOMEM;
	}
	return 0;
}

void flow_table_fini(struct flow_table *t)
{
	mem_give(t->flow);
	mem_give(t->cold);
	index_fini(&t->out);
	index_fini(&t->in);
	index_fini(&t->portless);
	timers_fini(&t->timers);
	memset(t, 0, sizeof(*t));
}

uint64_t flow_table_bytes(uint32_t n_max)
{
	return ((uint64_t)n_max + 1) * sizeof(struct flow) +
		(uint64_t)n_max * sizeof(struct flow_cold) + 2 * index_bytes(n_max) +
		index_bytes(2 * portless_room(n_max)) + timers_bytes(n_max);
}

// ---- look-ups

struct probe {
	const struct flow *flow;
	uint64_t key; // of an endpoint, or of a remote
	uint32_t head;
	be32_t remote; // of a portless flow
};

static bool same_out(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	return flow_is_head(&p->flow[record], p->key);
}

static bool same_in(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	// further sessions are in the same index, for their address
	return (p->flow[record].flags & FLOW_HEAD) && flow_ext_key_of(&p->flow[record]) == p->key;
}

static bool same_address(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct flow *f = &p->flow[record];

	return !(f->flags & FLOW_HEAD) && f->link == p->head && f->rem_addr == (be32_t)p->key;
}

static bool same_further(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	return flow_is_further(&p->flow[record], p->head, p->key);
}

uint32_t flow_find_out_hard(const struct flow_table *t, uint64_t key)
{
	const struct probe p = {.flow = t->flow, .key = key};

	return index_lookup(&t->out, flow_hash(t, key), same_out, &p);
}

uint32_t flow_find_in(const struct flow_table *t, uint64_t ext_key)
{
	const struct probe p = {.flow = t->flow, .key = ext_key};

	return index_lookup(&t->in, flow_hash(t, ext_key), same_in, &p);
}

uint32_t flow_find_further(const struct flow_table *t, uint32_t head, uint64_t remote)
{
	const struct probe p = {.flow = t->flow, .key = remote, .head = head};

	return index_lookup(&t->out, flow_further_hash(t, head, remote), same_further, &p);
}

uint32_t flow_find_session(const struct flow_table *t, uint32_t head, uint64_t remote)
{
	const struct flow *f = &t->flow[head];

	if (flow_remote_of(f) == remote)
		return head;
	return f->flags & FLOW_FURTHER ? flow_find_further(t, head, remote) : FLOW_NONE;
}

// The further session that stands for its address in the index.
static uint32_t find_further_address(const struct flow_table *t, uint32_t head, be32_t address)
{
	const struct probe p = {.flow = t->flow, .key = address, .head = head};

	return index_lookup(&t->in, flow_address_hash(t, head, address), same_address, &p);
}

uint32_t flow_find_address(const struct flow_table *t, uint32_t head, be32_t address)
{
	const struct flow *f = &t->flow[head];

	if (f->rem_addr == address)
		return head;
	return f->flags & FLOW_FURTHER ? find_further_address(t, head, address) : FLOW_NONE;
}

// ---- portless protocols

static uint64_t portless_hash(const struct flow_table *t, uint64_t key, be32_t remote, bool inbound)
{
	return index_hash(index_hash((uint64_t)inbound << 63 | remote, t->seed) ^ key, t->seed);
}

static bool same_portless_out(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct flow *f = &p->flow[record];

	return flow_key_of(f) == p->key && f->rem_addr == p->remote;
}

static bool same_portless_in(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct flow *f = &p->flow[record];

	return flow_ext_key_of(f) == p->key && f->rem_addr == p->remote;
}

uint32_t flow_find_portless(const struct flow_table *t, uint64_t key, be32_t remote, bool inbound)
{
	const struct probe p = {.flow = t->flow, .key = key, .remote = remote};

	return index_lookup(&t->portless, portless_hash(t, key, remote, inbound),
		inbound ? same_portless_in : same_portless_out, &p);
}

static uint64_t portless_hash_of(const struct flow_table *t, const struct flow *f, bool inbound)
{
	return portless_hash(
		t, inbound ? flow_ext_key_of(f) : flow_key_of(f), f->rem_addr, inbound);
}

static enum flow_error portless_insert(struct flow_table *t, uint32_t record)
{
	const struct flow *f = &t->flow[record];

	if (t->n_portless == t->n_portless_max)
		return FLOW_PORTLESS_FULL;
	if (!index_insert(&t->portless, portless_hash_of(t, f, false), record))
		return FLOW_INDEX_FULL;
	if (!index_insert(&t->portless, portless_hash_of(t, f, true), record)) {
		index_remove(&t->portless, portless_hash_of(t, f, false), record);
		return FLOW_INDEX_FULL;
	}
	t->n_portless++;
	return FLOW_OK;
}

static void portless_remove(struct flow_table *t, uint32_t record)
{
	const struct flow *f = &t->flow[record];

	index_remove(&t->portless, portless_hash_of(t, f, false), record);
	index_remove(&t->portless, portless_hash_of(t, f, true), record);
	t->n_portless--;
}

// ---- records

static uint32_t free_record(const struct flow_table *t) // the next one; FLOW_NONE when all are used
{
	if (t->free_first != FLOW_NONE)
		return t->free_first;
	return t->top < t->n_max ? t->top : FLOW_NONE;
}

static void record_take(struct flow_table *t, uint32_t record)
{
	t->n_used++;
	if (record != t->free_first) {
		t->top++;
		return;
	}
	t->free_first = t->cold[record].next;
	if (t->free_first !=
		FLOW_NONE) { // the next one; flow_prefetch_new() knows those never used
		cgn_prefetch_w(&t->flow[t->free_first]);
		cgn_prefetch_w(&t->cold[t->free_first]);
		cgn_prefetch_w(&t->timers.at[t->free_first]);
	}
}

static void record_give(struct flow_table *t, uint32_t record)
{
	t->flow[record].proto = 0;
	t->cold[record].next = t->free_first;
	t->free_first = record;
	t->n_used--;
}

static void index_remove_sure(struct index *index, uint64_t hash, uint32_t record)
{
	bool was_there = index_remove(index, hash, record);

	assert(was_there);
	(void)was_there;
}

uint16_t flow_l4_diff(
	uint8_t proto, be32_t int_addr, be16_t int_port, be32_t ext_addr, be16_t ext_port)
{
	uint32_t diff = csum_diff16(int_port, ext_port);

	if (proto != CGN_PROTO_ICMP)
		diff += csum_diff32(int_addr, ext_addr);
	return csum_fold(diff);
}

static void session_begin(struct flow *f, struct flow_cold *c, const struct flow_new *new)
{
	f->rem_addr = (be32_t) new->remote;
	f->rem_port = (be16_t)(new->remote >> 32);
	f->hairpin = new->hairpin;
	f->state = new->state;
	f->seen_s = new->seen_s;
	c->session_created_s = new->now_s;
	c->policy = new->policy;
}

// Endpoints lie in a record as in keys, so that a head is begun with few stores.
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ && offsetof(struct flow, flags) == 7 &&
		offsetof(struct flow, ext_addr) == 8 && offsetof(struct flow, l4_diff) == 14 &&
		offsetof(struct flow, rem_addr) == 16 && offsetof(struct flow, hairpin) == 22 &&
		offsetof(struct flow, state) == 23 && offsetof(struct flow, link) == 28 &&
		offsetof(struct flow, pkts_out) == 32,
	"head_begin() stores words");

// A free record becomes a head. `l4`: l4_diff, or held_port.
static void head_begin(
	struct flow_table *t, uint32_t r, const struct flow_new *new, uint8_t flags, uint16_t l4)
{
	const uint64_t word[4] = {
		(new->internal &FLOW_KEY_MASK) | (uint64_t)(new->flags | flags) << 56,
		(new->external &FLOW_REMOTE_MASK) | (uint64_t)l4 << 48,
		(new->remote &FLOW_REMOTE_MASK) | (uint64_t) new->hairpin << 48 |
			(uint64_t) new->state << 56,
		new->seen_s | (uint64_t) new->now_s << 32,
	};
	struct flow *f = &t->flow[r];

	record_take(t, r);
	memcpy(f, word, sizeof(word));
	memset((char *)f + sizeof(word), 0, sizeof(*f) - sizeof(word));
	t->cold[r] = (struct flow_cold){
		.block = new->block,
		.mapping_created_s = new->now_s,
		.session_created_s = new->now_s,
		.next = FLOW_NONE,
		.policy = new->policy,
	};
	t->n_mappings++;
}

enum flow_error flow_open_portless(
	struct flow_table *t, const struct flow_new *new, uint32_t *record)
{
	const uint32_t r = free_record(t);
	enum flow_error error;

	if (r == FLOW_NONE)
		return FLOW_TABLE_FULL;
	head_begin(t, r, new, FLOW_HEAD, new->held_port);
	error = portless_insert(t, r);
	if (error != FLOW_OK) {
		record_give(t, r);
		t->n_mappings--;
		return error;
	}
	*record = r;
	return FLOW_OK;
}

enum flow_error flow_open_unsettled(
	struct flow_table *t, const struct flow_new *new, uint32_t *record)
{
	const uint32_t r = free_record(t);

	if (r == FLOW_NONE)
		return FLOW_TABLE_FULL;
	if (!index_insert(&t->out, flow_hash(t, new->internal), r))
		return FLOW_INDEX_FULL;
	head_begin(t, r, new, FLOW_HEAD | FLOW_UNSETTLED,
		flow_l4_diff((uint8_t)(new->internal >> 48), (be32_t) new->internal,
			(be16_t)(new->internal >> 32), (be32_t) new->external,
			(be16_t)(new->external >> 32)));
	assert(t->n_unsettled < FLOW_UNSETTLED_MAX);
	t->unsettled[t->n_unsettled] = r;
	t->unsettled_hash[t->n_unsettled] = flow_hash(t, new->external);
	index_prefetch(&t->in, t->unsettled_hash[t->n_unsettled++]);
	*record = r;
	return FLOW_OK;
}

uint32_t flow_settle(struct flow_table *t)
{
	for (uint32_t i = 0; i < t->n_unsettled; i++)
		index_prefetch_second(&t->in, t->unsettled_hash[i]);
	while (t->n_unsettled) {
		const uint32_t r = t->unsettled[--t->n_unsettled];

		if (!index_insert(&t->in, t->unsettled_hash[t->n_unsettled], r))
			return r;
		t->flow[r].flags &= (uint8_t)~FLOW_UNSETTLED;
	}
	return FLOW_NONE;
}

enum flow_error flow_open(struct flow_table *t, const struct flow_new *new, uint32_t *record)
{
	enum flow_error error = flow_open_unsettled(t, new, record);
	uint32_t moved;

	if (error != FLOW_OK || flow_settle(t) == FLOW_NONE)
		return error;
	flow_close(t, *record, &moved);
	return FLOW_INDEX_FULL;
}

// Puts a further session into its mapping's list, behind the first one of its address, which goes on
// standing for it in the index. False when the index has no room for an address.
static bool further_link(struct flow_table *t, uint32_t head, uint32_t record)
{
	const be32_t address = t->flow[record].rem_addr;
	const uint64_t hash = flow_address_hash(t, head, address);
	const uint32_t same = find_further_address(t, head, address);
	const uint32_t n = flow_n_further(t, head);
	struct flow_cold *c = &t->cold[record];

	if (same == FLOW_NONE && !index_insert(&t->in, hash, record))
		return false;
	c->prev = same != FLOW_NONE ? same : head;
	c->next = t->cold[c->prev].next;
	t->cold[c->prev].next = record;
	if (c->next != FLOW_NONE)
		t->cold[c->next].prev = record;
	t->cold[t->cold[head].next].n_further = n + 1;
	t->flow[head].flags |= FLOW_FURTHER;
	return true;
}

enum flow_error flow_add(
	struct flow_table *t, uint32_t head, const struct flow_new *new, uint32_t *record)
{
	const uint32_t r = free_record(t);
	struct flow *f, *h = &t->flow[head];

	assert(h->proto && h->flags & FLOW_HEAD);
	if (r == FLOW_NONE)
		return FLOW_TABLE_FULL;
	if (!index_insert(&t->out, flow_further_hash(t, head, new->remote), r))
		return FLOW_INDEX_FULL;
	record_take(t, r);
	f = &t->flow[r];
	*f = (struct flow){
		.int_addr = h->int_addr,
		.int_port = h->int_port,
		.proto = h->proto,
		.flags = new->flags,
		.ext_addr = h->ext_addr,
		.ext_port = h->ext_port,
		.l4_diff = h->l4_diff,
		.link = head,
	};
	t->cold[r] = (struct flow_cold){0};
	session_begin(f, &t->cold[r], new);
	if (!further_link(t, head, r)) {
		index_remove_sure(&t->out, flow_further_hash(t, head, new->remote), r);
		record_give(t, r);
		return FLOW_INDEX_FULL;
	}
	*record = r;
	return FLOW_OK;
}

static bool has_address(const struct flow_table *t, uint32_t further, be32_t address)
{
	return further != FLOW_NONE && t->flow[further].rem_addr == address;
}

// Takes a further session out of its mapping's list and of the indexes.
static void further_unlink(struct flow_table *t, uint32_t record)
{
	const struct flow_cold *c = &t->cold[record];
	const struct flow *f = &t->flow[record];
	const uint32_t head = f->link, n = flow_n_further(t, head) - 1;
	const uint64_t hash = flow_address_hash(t, head, f->rem_addr);

	index_remove_sure(&t->out, flow_further_hash(t, head, flow_remote_of(f)), record);
	if (c->prev == head || !has_address(t, c->prev, f->rem_addr)) { // it stood for its address
		if (has_address(t, c->next, f->rem_addr))
			index_replace(&t->in, hash, record, c->next);
		else
			index_remove_sure(&t->in, hash, record);
	}
	t->cold[c->prev].next = c->next;
	if (c->next != FLOW_NONE)
		t->cold[c->next].prev = c->prev;
	if (n)
		t->cold[t->cold[head].next].n_further = n;
	else
		t->flow[head].flags &= (uint8_t)~FLOW_FURTHER;
}

// The session of `from` becomes the one in the record of its mapping's head, whose own has ended.
// The head keeps its number, so that nothing that points at the mapping changes.
static void promote(struct flow_table *t, uint32_t head, uint32_t from)
{
	const uint8_t of_mapping = FLOW_UNSETTLED | FLOW_HEAD | FLOW_FURTHER | FLOW_STATIC;
	struct flow *h = &t->flow[head];
	const struct flow *f = &t->flow[from];

	further_unlink(t, from);
	h->flags = (uint8_t)((h->flags & of_mapping) | (f->flags & ~of_mapping));
	h->rem_addr = f->rem_addr;
	h->rem_port = f->rem_port;
	h->hairpin = f->hairpin;
	h->state = f->state;
	h->seen_s = f->seen_s;
	h->pkts_out = f->pkts_out;
	h->pkts_in = f->pkts_in;
	h->bytes_out = f->bytes_out;
	h->bytes_in = f->bytes_in;
	t->cold[head].session_created_s = t->cold[from].session_created_s;
	t->cold[head].policy = t->cold[from].policy;
	t->cold[head].was_reset = t->cold[from].was_reset;
	if (timers_is_armed(&t->timers, from))
		timers_replace(&t->timers, from, head);
	else
		timers_arm(&t->timers, head, t->timers.now_s);
}

bool flow_close(struct flow_table *t, uint32_t record, uint32_t *moved)
{
	struct flow *f = &t->flow[record];

	assert(record < t->n_max && f->proto);
	*moved = FLOW_NONE;
	if (timers_is_armed(&t->timers, record))
		timers_disarm(&t->timers, record);
	if (!(f->flags & FLOW_HEAD)) {
		further_unlink(t, record);
		record_give(t, record);
		return false;
	}
	if (f->flags & FLOW_FURTHER) {
		*moved = t->cold[record].next;
		promote(t, record, *moved);
		record_give(t, *moved);
		return false;
	}
	if (cgn_is_portless(f->proto)) {
		portless_remove(t, record);
	} else {
		index_remove_sure(&t->out, flow_hash(t, flow_key_of(f)), record);
		if (!(f->flags & FLOW_UNSETTLED))
			index_remove_sure(&t->in, flow_hash(t, flow_ext_key_of(f)), record);
	}
	record_give(t, record);
	t->n_mappings--;
	return true;
}

// The timeout of the session's destination port, or `otherwise`. Looked up and not kept in the
// record: so it is right for all sessions whenever the timeouts change.
static uint32_t service_timeout(
	const struct flow *f, const struct cgn_timeouts *timeouts, uint32_t otherwise)
{
	const uint32_t want = (uint32_t)f->proto << 16 | ntohs(f->rem_port);
	uint32_t first = 0, n = timeouts->n_services;

	if (f->flags & FLOW_INBOUND)
		return otherwise; // the remote's port was not the destination
	while (n) { // at most 7 times
		const struct cgn_service_timeout *s = &timeouts->services[first + n / 2];
		const uint32_t at = (uint32_t)s->protocol << 16 | s->port;

		if (at == want)
			return s->timeout;
		if (at < want) {
			first += n / 2 + 1;
			n -= n / 2 + 1;
		} else {
			n /= 2;
		}
	}
	return otherwise;
}

uint32_t flow_deadline(const struct flow *f, const struct cgn_timeouts *timeouts)
{
	if (f->proto == CGN_PROTO_UDP)
		return f->seen_s + service_timeout(f, timeouts, timeouts->udp);
	if (f->proto == CGN_PROTO_ICMP)
		return f->seen_s + timeouts->icmp;
	if (f->proto != CGN_PROTO_TCP)
		return f->seen_s + timeouts->portless;
	switch (f->state) {
	case CGN_SESSION_INIT:
		return f->seen_s + timeouts->tcp_opening;
	case CGN_SESSION_ESTABLISHED:
	case CGN_SESSION_CLIENT_FIN:
	case CGN_SESSION_SERVER_FIN:
		return f->seen_s + service_timeout(f, timeouts, timeouts->tcp_established);
	default: // both FINs seen, or transitory
		return f->seen_s + timeouts->tcp_closing;
	}
}
