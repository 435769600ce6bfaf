// SPDX-License-Identifier: BSD-3-Clause
#include "nat.h"
#include <arpa/inet.h>

#define UPKEEP_MAX 64

void nat_init(struct nat *nat, const uint8_t key[32])
{
	const struct model_config *c = model.c;
	struct portblock_pool_spec pools[4];
	struct portblock_address_spec addresses[16];
	struct portblock_preset_spec presets[64];
	uint64_t seed[2];

	CHECK(c->n_pools <= 4 && c->n_addresses <= 16 && (!model.det || c->n_subs <= 64));
	nat->done_s = model.now_s - 1;
	rng_init(&nat->rng, key);
	for (unsigned i = 0; i < 2; i++)
		seed[i] = (uint64_t)rng_u32(&nat->rng) << 32 | rng_u32(&nat->rng);
	for (uint32_t i = 0; i < c->n_pools; i++)
		pools[i] = (struct portblock_pool_spec){
			c->block_size, &c->reserved, c->reserved.last > 0};
	for (uint32_t i = 0; i < c->n_addresses; i++)
		addresses[i] = (struct portblock_address_spec){
			0xcb007100 + i, (uint16_t)(i % c->n_pools), c->first_port, c->n_blocks};
	if (model.det) {
		pools[0].det = model.det;
		pools[0].presets = presets;
		pools[0].n_presets = c->n_subs;
	}
	for (uint32_t i = 0; model.det && i < c->n_subs; i++) {
		const struct cgn_det_slot slot = cgn_det_slot_of(model.det, i);

		presets[i] = (struct portblock_preset_spec){i, slot.external, (uint16_t)slot.slot};
	}
	for (uint32_t i = 0; model.det && i < c->n_addresses; i++)
		addresses[i].n_blocks = cgn_det_blocks(model.det, i, &addresses[i].first_port);
	CHECK(!flow_table_init(&nat->flows, c->sessions_max, model.now_s, seed, -1));
	CHECK(!portblocks_init(&nat->blocks, pools, c->n_pools, addresses, c->n_addresses, -1));
	CHECK(!subscribers_init(&nat->subs, c->active_max, seed, -1));
	CHECK(!rest_init(&nat->rests, c->rest_max, &nat->blocks, seed, -1));
}

void nat_fini(struct nat *nat)
{
	flow_table_fini(&nat->flows);
	portblocks_fini(&nat->blocks);
	subscribers_fini(&nat->subs);
	rest_fini(&nat->rests);
}

// ---- a subscriber's blocks

static void list_append(struct nat *nat, uint32_t *list, uint32_t block)
{
	while (*list != PORTBLOCK_NONE)
		list = &nat->blocks.block[*list].next;
	*list = block;
	nat->blocks.block[block].next = PORTBLOCK_NONE;
}

static void list_remove(struct nat *nat, uint32_t *list, uint32_t block)
{
	while (*list != block) {
		CHECK(*list != PORTBLOCK_NONE);
		list = &nat->blocks.block[*list].next;
	}
	*list = nat->blocks.block[block].next;
}

static bool may_get_block(struct nat *nat, const struct subscriber *s)
{
	if (s->n_lent || nat->subs.n_active < nat->subs.n_active_max)
		return true;
	model.n.active_full++;
	return false;
}

static void block_lent(struct nat *nat, struct subscriber *s, uint32_t block)
{
	list_append(nat, &s->lent, block);
	nat->subs.n_active += !s->n_lent++;
}

static void block_give(struct nat *nat, struct subscriber *s, uint32_t block)
{
	list_remove(nat, &s->lent, block);
	portblock_give(&nat->blocks, block, model.now_s);
	model_block_given(block);
	list_append(nat, &s->resting, block);
	s->n_resting++;
	nat->subs.n_active -= !--s->n_lent;
}

static void block_retake(struct nat *nat, struct subscriber *s, uint32_t block, uint32_t sub)
{
	list_remove(nat, &s->resting, block);
	s->n_resting--;
	portblock_retake(&nat->blocks, block, model.now_s);
	model_block_retaken(block, sub);
	block_lent(nat, s, block);
}

// The preset block comes first in the list.
static void preset_begin(struct nat *nat, struct subscriber *s, uint32_t record, uint32_t sub)
{
	struct portblock *b = &nat->blocks.block[s->preset];

	if (b->state == PORTBLOCK_RESTING) {
		list_remove(nat, &s->resting, s->preset);
		s->n_resting--;
		portblock_retake(&nat->blocks, s->preset, model.now_s);
		model_block_retaken(s->preset, sub);
	} else {
		portblock_take_preset(&nat->blocks, s->preset, record, model.now_s);
		model_preset_taken(s->preset, sub);
	}
	b->next = s->lent;
	s->lent = s->preset;
	nat->subs.n_active += !s->n_lent++;
}

// Not lent, and with a free port.
static bool preset_waits(struct nat *nat, const struct subscriber *s, enum cgn_l4 l4)
{
	return s->preset != PORTBLOCK_NONE &&
		nat->blocks.block[s->preset].state != PORTBLOCK_LENT &&
		portblock_has_free(&nat->blocks, s->preset, l4);
}

static uint16_t n_overflow_lent(struct nat *nat, const struct subscriber *s)
{
	return (uint16_t)(s->n_lent -
		(s->preset != PORTBLOCK_NONE &&
			nat->blocks.block[s->preset].state == PORTBLOCK_LENT));
}

static bool may_overflow(struct nat *nat, const struct subscriber *s)
{
	return n_overflow_lent(nat, s) + (s->preset != PORTBLOCK_NONE) < model.c->max_blocks;
}

static uint32_t resting_overflow(struct nat *nat, const struct subscriber *s)
{
	uint32_t block = s->resting;

	return block != PORTBLOCK_NONE && block == s->preset ? nat->blocks.block[block].next
							     : block;
}

static uint32_t block_new(struct nat *nat, struct subscriber *s, uint32_t record, uint32_t sub)
{
	uint32_t block;

	if (s->preset == PORTBLOCK_NONE && !s->n_lent && !s->n_resting) {
		s->paired = portblock_pick_address(&nat->blocks, s->pool, &nat->rng);
		model_address_picked(s->pool, s->paired);
		if (s->paired == PORTBLOCK_NONE)
			return PORTBLOCK_NONE;
	}
	block = portblock_take(&nat->blocks, s->paired, record, &nat->rng, model.now_s);
	if (block == PORTBLOCK_NONE) {
		model_no_block(s->paired);
		return PORTBLOCK_NONE;
	}
	model_block_taken(block, s->paired, sub);
	block_lent(nat, s, block);
	return block;
}

// ---- a port for an endpoint

static int32_t port_in(struct nat *nat, uint32_t block, uint32_t endpoint)
{
	const enum cgn_l4 l4 = endpoint_of(endpoint).l4;
	const bool some = portblock_has_free(&nat->blocks, block, l4);
	const int32_t port = portblock_port_take(&nat->blocks, block, l4, &nat->rng);

	CHECK(some == (port >= 0));
	model_port_taken(block, endpoint, port);
	return port;
}

// The endpoint's own resting port, else a free one of a lent block, of a resting one, of a new one.
static int32_t port_for(
	struct nat *nat, uint32_t record, uint32_t sub, uint32_t endpoint, uint32_t *block)
{
	struct subscriber *s = &nat->subs.sub[record];
	struct rest_port rested;
	int32_t port;

	if (!may_get_block(nat, s))
		return -1;
	if (!rest_find(&nat->rests, rest_key(record, internal_key(endpoint)), &rested)) {
		model_no_rest(endpoint);
	} else if (rested.block != s->preset && s->preset != PORTBLOCK_NONE &&
		portblock_has_free(&nat->blocks, s->preset, endpoint_of(endpoint).l4)) {
		model.n.overflow_left++;
	} else {
		*block = rested.block;
		if (*block == s->preset && nat->blocks.block[*block].state == PORTBLOCK_RESTING)
			preset_begin(nat, s, record, sub);
		else if (nat->blocks.block[*block].state == PORTBLOCK_RESTING)
			block_retake(nat, s, *block, sub);
		CHECK(rest_take(&nat->rests, rested.key, &rested) && rested.block == *block);
		portblock_port_reuse(&nat->blocks, *block, endpoint_of(endpoint).l4);
		model_port_reused(endpoint, &rested);
		return rested.port;
	}
	if (preset_waits(nat, s, endpoint_of(endpoint).l4))
		preset_begin(nat, s, record, sub);
	for (*block = s->lent; *block != PORTBLOCK_NONE; *block = nat->blocks.block[*block].next) {
		port = port_in(nat, *block, endpoint);
		if (port >= 0)
			return port;
	}
	while (may_overflow(nat, s) && resting_overflow(nat, s) != PORTBLOCK_NONE) {
		*block = resting_overflow(nat, s);
		block_retake(nat, s, *block, sub);
		port = port_in(nat, *block, endpoint);
		if (port >= 0)
			return port;
		if (!portblock_used(&nat->blocks.block[*block])) { // every port of it rests
			block_give(nat, s, *block);
			break;
		}
	}
	if (!may_overflow(nat, s))
		return -1;
	*block = block_new(nat, s, record, sub);
	return *block == PORTBLOCK_NONE ? -1 : port_in(nat, *block, endpoint);
}

static void sub_remove_if_idle(struct nat *nat, uint32_t record)
{
	const struct subscriber *s = &nat->subs.sub[record];

	if (!s->n_lent && !s->n_resting)
		subscriber_remove(&nat->subs, record);
}

static uint32_t sub_create(struct nat *nat, uint32_t sub)
{
	const uint32_t record = subscriber_create(&nat->subs, sub_address(sub), sub_pool(sub));
	struct subscriber *s;

	if (record == SUBSCRIBER_NONE || !model.det)
		return record;
	s = &nat->subs.sub[record];
	s->preset = portblock_preset(&nat->blocks, s->pool, sub);
	CHECK(s->preset == model_preset_of(sub));
	s->paired = nat->blocks.block[s->preset].address;
	return record;
}

// ---- sessions

uint32_t nat_record(const struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	uint32_t head = flow_find_out(&nat->flows, internal_key(endpoint));

	return head == FLOW_NONE ? FLOW_NONE
				 : flow_find_session(&nat->flows, head, remote_key(remote));
}

static uint32_t holder_of(const struct nat *nat, uint32_t head)
{
	return nat->blocks.block[nat->flows.cold[head].block].sub;
}

static void arm(struct nat *nat, uint32_t record)
{
	timers_arm(&nat->flows.timers, record,
		flow_deadline(&nat->flows.flow[record], &model.c->timeouts));
}

static struct flow_new new_session(struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	const bool tcp = endpoint_of(endpoint).l4 == CGN_L4_TCP;

	return (struct flow_new){.internal = internal_key(endpoint),
		.remote = remote_key(remote),
		.policy = (uint16_t)rng_below(&nat->rng, 1000),
		.state = tcp ? CGN_SESSION_INIT : CGN_SESSION_ACTIVE,
		.flags = rng_below(&nat->rng, 2) ? FLOW_INBOUND : 0,
		.seen_s = model.now_s,
		.now_s = model.now_s};
}

static bool open_mapping(struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	const uint32_t sub = endpoint_of(endpoint).sub;
	struct flow_new new = new_session(nat, endpoint, remote);
	uint32_t holder, record, block;
	int32_t port;

	holder = subscriber_lookup(&nat->subs, sub_address(sub), sub_pool(sub));
	CHECK((holder != SUBSCRIBER_NONE) == (model_n_lent(sub) || model_n_resting(sub)));
	if (holder == SUBSCRIBER_NONE)
		holder = sub_create(nat, sub);
	if (holder == SUBSCRIBER_NONE) {
		CHECK(nat->subs.n_records == 2 * model.c->active_max);
		model.n.sub_full++;
		return false;
	}
	port = port_for(nat, holder, sub, endpoint, &block);
	if (port < 0) {
		sub_remove_if_idle(nat, holder);
		return false;
	}
	new.block = block;
	new.external =
		FLOW_KEY(htonl(nat->blocks.address[nat->blocks.block[block].address].address),
			htons((uint16_t)port), (uint8_t)(new.internal >> 48));
	CHECK(flow_find_in(&nat->flows, new.external) == FLOW_NONE);
	CHECK(flow_open(&nat->flows, &new, &record) == FLOW_OK);
	nat->subs.sub[holder].n_mappings++;
	nat->subs.sub[holder].n_sessions++;
	model_opened(endpoint, remote, &new, block, (uint16_t)port);
	arm(nat, record);
	return true;
}

bool nat_open(struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	const bool full = model.n_sessions == model.c->sessions_max;
	struct flow_new new = new_session(nat, endpoint, remote);
	uint32_t head, record;

	if (!model.mapping[endpoint].n_sessions) {
		CHECK(flow_find_out(&nat->flows, new.internal) == FLOW_NONE);
		if (!full)
			return open_mapping(nat, endpoint, remote);
		CHECK(flow_open(&nat->flows, &new, &record) == FLOW_TABLE_FULL);
		model.n.table_full++;
		return false;
	}
	head = flow_find_out(&nat->flows, new.internal);
	CHECK(head != FLOW_NONE && flow_find_session(&nat->flows, head, new.remote) == FLOW_NONE);
	if (full) {
		CHECK(flow_add(&nat->flows, head, &new, &record) == FLOW_TABLE_FULL);
		model.n.table_full++;
		return false;
	}
	CHECK(flow_add(&nat->flows, head, &new, &record) == FLOW_OK);
	nat->subs.sub[holder_of(nat, head)].n_sessions++;
	model_added(endpoint, remote, &new);
	arm(nat, record);
	return true;
}

void nat_refresh(struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	struct model_session *s = &model.mapping[endpoint].session[remote];
	const uint32_t record = nat_record(nat, endpoint, remote);
	struct flow *f = &nat->flows.flow[record];
	uint32_t before = model_deadline(endpoint, remote);

	CHECK(record != FLOW_NONE);
	f->seen_s = s->seen_s = model.now_s;
	f->pkts_out = ++s->pkts;
	if (endpoint_of(endpoint).l4 == CGN_L4_TCP && !rng_below(&nat->rng, 4))
		f->state = s->state = (uint8_t)(CGN_SESSION_INIT + rng_below(&nat->rng, 6));
	if ((int32_t)(model_deadline(endpoint, remote) - before) < 0) { // nearer: armed at once
		timers_disarm(&nat->flows.timers, record);
		arm(nat, record);
	}
}

static void mapping_ended(struct nat *nat, uint32_t endpoint, uint32_t block, uint32_t sub)
{
	struct subscriber *s = &nat->subs.sub[sub];
	struct rest_port early;

	portblock_port_rest(&nat->blocks, block, endpoint_of(endpoint).l4);
	if (rest_put(&nat->rests, rest_key(sub, internal_key(endpoint)), block,
		    model.mapping[endpoint].port, model.now_s, &early)) {
		model_rest_early(&early);
		portblock_port_free(&nat->blocks, early.block, rest_l4(&early), early.port);
	}
	model_port_rests(endpoint);
	s->n_mappings--;
	if (!portblock_used(&nat->blocks.block[block]))
		block_give(nat, s, block);
}

void nat_close(struct nat *nat, uint32_t endpoint, uint32_t remote)
{
	const uint32_t record = nat_record(nat, endpoint, remote);
	const uint32_t head = flow_find_out(&nat->flows, internal_key(endpoint));
	const uint32_t block = nat->flows.cold[head].block, sub = holder_of(nat, head);
	uint32_t moved;
	bool ended;

	CHECK(record != FLOW_NONE);
	CHECK(block == model.mapping[endpoint].block);
	ended = flow_close(&nat->flows, record, &moved);
	model_closed(endpoint, remote, ended);
	CHECK((moved != FLOW_NONE) == (record == head && !ended));
	if (moved != FLOW_NONE) {
		model.n.promoted++;
		model.mapping[endpoint].promoted_s = model.now_s;
	}
	nat->subs.sub[sub].n_sessions--;
	if (ended)
		mapping_ended(nat, endpoint, block, sub);
}

// ---- the clock

static void session_due(struct nat *nat, uint32_t record)
{
	struct flow *f = &nat->flows.flow[record];
	const uint32_t endpoint = endpoint_of_key(flow_key_of(f)),
		       remote = remote_of_key(flow_remote_of(f));
	struct model_session *s = &model.mapping[endpoint].session[remote];
	const uint32_t deadline = flow_deadline(f, &model.c->timeouts);

	CHECK(f->proto && s->open);
	CHECK(deadline == model_deadline(endpoint, remote));
	if (!model_passed(deadline)) {
		arm(nat, record);
	} else if (s->state == CGN_SESSION_ESTABLISHED) {
		f->state = s->state = CGN_SESSION_TRANSITORY; // RFC 7857 2
		f->seen_s = s->seen_s = model.now_s;
		arm(nat, record);
	} else {
		CHECK(!timers_is_armed(&nat->flows.timers, record));
		nat_close(nat, endpoint, remote);
		model.n.expired++;
	}
}

// Ends up to `max` rests of ports and then of blocks. True when none is left.
static bool rests_due(struct nat *nat, uint32_t max)
{
	const uint32_t hold_s = model.c->timeouts.hold_down;
	struct rest_port rested;
	uint32_t block;

	for (;; max--) {
		if (!max)
			return false;
		if (!rest_due(&nat->rests, model.now_s, hold_s, &rested))
			break;
		model_rest_over(&rested);
		portblock_port_free(&nat->blocks, rested.block, rest_l4(&rested), rested.port);
	}
	for (; (block = portblock_rested(&nat->blocks, model.now_s, hold_s)) != PORTBLOCK_NONE;
		max--) {
		uint32_t sub = nat->blocks.block[block].sub;
		struct subscriber *s = &nat->subs.sub[sub];

		model_block_rested(block);
		list_remove(nat, &s->resting, block);
		s->n_resting--;
		sub_remove_if_idle(nat, sub);
		if (max <= 1)
			return false;
	}
	model_all_rests_over();
	return true;
}

bool nat_upkeep(struct nat *nat, uint32_t max)
{
	uint32_t items[UPKEEP_MAX], n;

	CHECK(max <= UPKEEP_MAX);
	n = timers_due(&nat->flows.timers, model.now_s, items, max);
	CHECK(n <= max);
	for (uint32_t i = 0; i < n; i++)
		if (nat->flows.flow[items[i]].proto) // not moved to its head meanwhile
			session_due(nat, items[i]);
	if (!rests_due(nat, max) || !timers_all_out(&nat->flows.timers))
		return false;
	nat->done_s = model.now_s;
	return true;
}
