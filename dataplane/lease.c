// SPDX-License-Identifier: BSD-3-Clause
#include "lease.h"
#include "worker.h"

#define RESTING_LOOK 2 // blocks looked at before the store of resting ports is asked

// A deterministic pool has preset ports for its subscribers, and with them an address.
static void find_preset(struct worker *w, struct subscriber *s)
{
	const struct cgn_det *det = w->snapshot->det[s->pool];
	const uint32_t number = det ? cgn_det_number(det, s->address) : CGN_DET_NONE;

	if (number == CGN_DET_NONE)
		return; // network or broadcast address: overflow blocks alone
	s->preset = portblock_preset(&w->blocks, s->pool, number);
	if (s->preset != PORTBLOCK_NONE)
		s->paired = w->blocks.block[s->preset].address;
}

uint32_t lease_subscriber_hard(struct worker *w, uint32_t address, uint16_t pool)
{
	uint32_t sub = subscriber_lookup(&w->subscribers, address, pool);

	if (sub == SUBSCRIBER_NONE) {
		if (w->subscribers.n_active >= w->subscribers.n_active_max)
			return SUBSCRIBER_NONE;
		sub = subscriber_create(&w->subscribers, address, pool);
		if (sub != SUBSCRIBER_NONE)
			find_preset(w, &w->subscribers.sub[sub]);
	}
	return sub;
}

void lease_subscriber_drop(struct worker *w, uint32_t sub)
{
	const struct subscriber *s = &w->subscribers.sub[sub];

	if (!s->n_lent && !s->n_resting)
		subscriber_remove(&w->subscribers, sub);
}

// ---- blocks of a subscriber

// May it have blocks of other addresses when its own has no free one? (RFC 7857 4)
static bool is_soft(const struct worker *w, const struct subscriber *s)
{
	return w->snapshot->config->pools[s->pool].soft_app;
}

// Has it an address, or may it still get any?
static bool is_tied(const struct subscriber *s)
{
	return s->preset != PORTBLOCK_NONE || s->n_lent || s->n_resting;
}

// The record that outlives the process (cgnat/blocks.h).
static struct cgn_block_record *memory_of(struct worker *w, uint32_t block)
{
	const struct portblock *b = &w->blocks.block[block];
	const struct portblock_pool *pool = &w->blocks.pool[b->pool];

	if (portblock_is_preset(b))
		return &w->memory[w->memory_presets[b->pool] +
			pool->preset_number[block - pool->preset_first]];
	return &w->memory[w->memory_at[b->address] +
		(b->first_port - w->blocks.address[b->address].first_port) / pool->block_size];
}

static void memory_note(
	struct worker *w, uint32_t block, enum cgn_block_state state, uint32_t subscriber)
{
	const struct portblock *b = &w->blocks.block[block];
	const struct portblock_address *a = &w->blocks.address[b->address];
	struct cgn_det_span span;
	struct cgn_block_record *r;

	if (!w->memory)
		return;
	r = memory_of(w, block);
	span = portblock_span(&w->blocks, block);
	r->external = a->address;
	r->subscriber = subscriber;
	r->first_port = span.first;
	r->last_port = span.last;
	r->shape =
		portblock_is_preset(b) ? cgn_det_shape(w->snapshot->det[b->pool], a->external) : 0;
	r->since = w->wall_offset_s + w->now_s;
	__atomic_store_n(&r->state, (uint16_t)state, __ATOMIC_RELEASE);
}

void lease_restore(struct worker *w, uint32_t block, uint32_t subscriber, uint32_t since_s)
{
	const struct portblock *b = &w->blocks.block[block];
	uint32_t sub = SUBSCRIBER_NONE;
	struct subscriber *s;

	if (b->state == PORTBLOCK_RESTING)
		portblock_rest_longer(&w->blocks, block, since_s); // several old ones were there
	if (b->state != PORTBLOCK_FREE && b->state != PORTBLOCK_PRESET)
		return;
	// a subscriber that now belongs to another worker, or to another address by an older record,
	// does not get it back
	if (subscriber && steer_internal(w->snapshot, subscriber) == w->id &&
		w->subscribers.n_records < w->subscribers.n_active_max) // leave room for others
		sub = lease_subscriber(w, SUBSCRIBER_NONE, subscriber, b->pool);
	s = sub == SUBSCRIBER_NONE ? NULL : &w->subscribers.sub[sub];
	if (s && is_tied(s) && s->paired != b->address && !is_soft(w, s)) {
		lease_subscriber_drop(w, sub); // it was made for this one, and has none yet
		sub = SUBSCRIBER_NONE;
		s = NULL;
	}
	portblock_begin_resting(&w->blocks, block, sub, since_s);
	memory_note(w, block, CGN_BLOCK_RESTING, subscriber);
	if (w->memory) // not from now: restarts must not make it rest for ever
		memory_of(w, block)->since = w->wall_offset_s + (int32_t)since_s;
	if (!s)
		return;
	if (!is_tied(s))
		s->paired = b->address;
	w->blocks.block[block].next = s->resting;
	s->resting = block;
	s->n_resting++;
}

static void lent_append(struct worker *w, struct subscriber *s, uint32_t block)
{
	const bool paired = w->blocks.block[block].address == s->paired;
	struct portblock *all = w->blocks.block;
	uint32_t *link = &s->lent, order = 0;

	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) { // most likely the last one
		const uint32_t b = s->search[l4];

		if (b != PORTBLOCK_NONE && (!paired || all[b].address == s->paired))
			link = &s->search[l4];
	}
	// at most max-blocks; those of other addresses are behind, so that they drain first
	while (*link != PORTBLOCK_NONE && !(paired && all[*link].address != s->paired)) {
		order = all[*link].order;
		link = &all[*link].next;
	}
	all[block].next = *link;
	*link = block;
	all[block].order = ++order;
	for (uint32_t b = all[block].next; b != PORTBLOCK_NONE; b = all[b].next)
		all[b].order = ++order;
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) {
		if (s->search[l4] != PORTBLOCK_NONE && all[s->search[l4]].order > all[block].order)
			s->search[l4] = block;
	}
	w->blocks.block[block].lent_at = (uint32_t)(w->wall_offset_s + w->now_s);
	memory_note(w, block, CGN_BLOCK_LENT, s->address);
	if (s->n_lent++ == 0) {
		w->subscribers.n_active++;
		w->counters.subscribers_created++;
	}
	w->counters.blocks_allocated++;
	w->counters.blocks_unpaired += !paired;
}

static void list_unlink(struct worker *w, uint32_t *link, uint32_t block)
{
	while (*link != block)
		link = &w->blocks.block[*link].next;
	*link = w->blocks.block[block].next;
}

static void block_retake(struct worker *w, struct subscriber *s, uint32_t block)
{
	list_unlink(w, &s->resting, block);
	s->n_resting--;
	portblock_retake(&w->blocks, block, w->now_s);
	lent_append(w, s, block);
}

// The preset block comes first in the list, and is no event: nobody else ever gets it (RFC 7422 2.2).
static void preset_begin(struct worker *w, struct subscriber *s, uint32_t sub)
{
	struct portblock *b = &w->blocks.block[s->preset];

	if (b->state == PORTBLOCK_RESTING) {
		list_unlink(w, &s->resting, s->preset);
		s->n_resting--;
		portblock_retake(&w->blocks, s->preset, w->now_s);
	} else {
		portblock_take_preset(&w->blocks, s->preset, sub, w->now_s);
	}
	b->next = s->lent;
	b->order = 0;
	s->lent = s->preset;
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
		s->search[l4] = PORTBLOCK_NONE;
	b->lent_at = (uint32_t)(w->wall_offset_s + w->now_s);
	memory_note(w, s->preset, CGN_BLOCK_LENT, s->address);
	if (s->n_lent++ == 0) {
		w->subscribers.n_active++;
		w->counters.subscribers_created++;
	}
}

static void block_give(struct worker *w, struct subscriber *s, uint32_t block)
{
	list_unlink(w, &s->lent, block);
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) {
		if (s->search[l4] == block)
			s->search[l4] = PORTBLOCK_NONE;
	}
	if (--s->n_lent == 0)
		w->subscribers.n_active--;
	portblock_give(&w->blocks, block, w->now_s);
	memory_note(w, block, CGN_BLOCK_RESTING, s->address);
	w->blocks.block[block].next = s->resting;
	s->resting = block;
	s->n_resting++;
	w->counters.blocks_released += block != s->preset;
}

// ---- ports

static void lease_fill(
	struct worker *w, uint32_t sub, uint32_t block, uint16_t port, struct lease *l)
{
	*l = (struct lease){
		sub, block, w->blocks.address[w->blocks.block[block].address].address, port};
}

// May it begin to hold blocks?
static enum cgn_drop may_begin(const struct worker *w, const struct subscriber *s)
{
	return !s->n_lent && w->subscribers.n_active >= w->subscribers.n_active_max
		? CGN_DROP_SUBSCRIBER_TABLE_FULL
		: CGN_DROP_COUNT;
}

static bool preset_is(const struct worker *w, const struct subscriber *s, uint32_t sub,
	enum portblock_state state)
{
	const struct portblock *b;

	if (s->preset == PORTBLOCK_NONE)
		return false;
	b = &w->blocks.block[s->preset];
	return b->state == state && (b->sub == sub || state == PORTBLOCK_PRESET);
}

// The preset ports count as one block, in use or not.
static uint16_t overflow_max(const struct subscriber *s, uint16_t max_blocks)
{
	return (uint16_t)(max_blocks - (s->preset != PORTBLOCK_NONE));
}

static uint16_t n_overflow_lent(const struct worker *w, const struct subscriber *s, uint32_t sub)
{
	return (uint16_t)(s->n_lent - preset_is(w, s, sub, PORTBLOCK_LENT));
}

// May this subscriber have one more block?
static enum cgn_drop may_grow(
	const struct worker *w, const struct subscriber *s, uint32_t sub, uint16_t max_blocks)
{
	if (n_overflow_lent(w, s, sub) >= overflow_max(s, max_blocks))
		return CGN_DROP_BLOCK_LIMIT;
	return may_begin(w, s);
}

// Has its preset block a free port, and may it be had now? (Not while it rests because somebody else
// had its ports in the last run.)
static bool preset_has_free(
	const struct worker *w, const struct subscriber *s, uint32_t sub, enum cgn_l4 l4)
{
	return (preset_is(w, s, sub, PORTBLOCK_LENT) || preset_is(w, s, sub, PORTBLOCK_RESTING) ||
		       preset_is(w, s, sub, PORTBLOCK_PRESET)) &&
		portblock_has_free(&w->blocks, s->preset, l4);
}

// May a port of this subscriber's rest? Blocks know, and the first ones are at hand.
static bool may_have_resting_ports(const struct worker *w, const struct subscriber *s)
{
	if (s->n_resting || (s->preset != PORTBLOCK_NONE && w->blocks.block[s->preset].n_resting))
		return true;
	for (uint32_t b = s->lent, i = 0; b != PORTBLOCK_NONE; b = w->blocks.block[b].next, i++) {
		if (w->blocks.block[b].n_resting || i == RESTING_LOOK)
			return true;
	}
	return false;
}

// May the mapping have a port of this address?
static enum cgn_drop asked(
	struct worker *w, const struct lease_ask *ask, uint64_t key, uint32_t address)
{
	return cgn_likely(!ask)
		? CGN_DROP_COUNT
		: ask->may_have(w, w->blocks.address[address].address, key, ask->remote);
}

// The endpoint's own port, if it rests (RFC 6888 REQ-8 lets it go back to its last user). One of an
// overflow block only when no preset port is free (RFC 7422 2.2).
// True: it is settled, *reason says how.
static bool take_own(struct worker *w, struct subscriber *s, uint32_t sub, uint64_t key,
	uint16_t max_blocks, enum cgn_l4 l4, const struct lease_ask *ask, struct lease *lease,
	enum cgn_drop *reason)
{
	const uint64_t own_key = rest_key(sub, key);
	struct rest_port own;
	const struct portblock *b;

	if (!may_have_resting_ports(w, s) || !rest_find(&w->rests, own_key, &own) ||
		(own.block != s->preset && preset_has_free(w, s, sub, l4)))
		return false;
	b = &w->blocks.block[own.block];
	if (b->state == PORTBLOCK_RESTING &&
		(own.block == s->preset ? may_begin(w, s) : may_grow(w, s, sub, max_blocks)) !=
			CGN_DROP_COUNT)
		return false;
	*reason = asked(w, ask, key, b->address);
	if (*reason != CGN_DROP_COUNT)
		return true;
	if (b->state == PORTBLOCK_RESTING) {
		if (own.block == s->preset)
			preset_begin(w, s, sub);
		else
			block_retake(w, s, own.block);
	}
	rest_take(&w->rests, own_key, &own);
	portblock_port_reuse(&w->blocks, own.block, l4);
	w->counters.ports_reclaimed++;
	lease_fill(w, sub, own.block, own.port, lease);
	return true;
}

// Is a free block left for those who have none, after one more has been lent as a further one?
static bool first_blocks_remain(const struct worker *w, uint16_t pool)
{
	const struct portblock_pool *p = &w->blocks.pool[pool];
	const uint32_t per_cent = w->snapshot->config->pools[pool].first_block_reserve;
	const uint32_t n_free = p->n_total - p->n_lent - p->n_resting;

	return !per_cent || n_free > ((uint64_t)p->n_total * per_cent + 99) / 100;
}

// A resting block of its own with a free port, better of its paired address.
static uint32_t own_resting(const struct worker *w, const struct subscriber *s, enum cgn_l4 l4)
{
	uint32_t found = PORTBLOCK_NONE, tries = 0;

	for (uint32_t b = s->resting; b != PORTBLOCK_NONE && tries < 64;
		b = w->blocks.block[b].next, tries++) {
		if (b == s->preset || !portblock_has_free(&w->blocks, b, l4))
			continue;
		if (w->blocks.block[b].address == s->paired)
			return b;
		found = b;
	}
	return found;
}

// Soft pairing: an address with a free block, better one that it has blocks of already.
static uint32_t other_address(struct worker *w, const struct subscriber *s)
{
	for (uint32_t b = s->lent; b != PORTBLOCK_NONE; b = w->blocks.block[b].next) {
		if (w->blocks.address[w->blocks.block[b].address].n_free)
			return w->blocks.block[b].address;
	}
	return portblock_pick_address(&w->blocks, s->pool, &w->rng);
}

// One more block: a resting one of its own with a free port, else a new one of the paired address, or
// by soft pairing of another.
static enum cgn_drop grow(struct worker *w, struct subscriber *s, uint32_t sub, uint64_t key,
	uint16_t max_blocks, enum cgn_l4 l4, const struct lease_ask *ask, uint32_t *block)
{
	enum cgn_drop reason;
	uint32_t address;

	*block = own_resting(w, s, l4);
	if (*block != PORTBLOCK_NONE) {
		reason = asked(w, ask, key, w->blocks.block[*block].address);
		if (reason == CGN_DROP_COUNT)
			block_retake(w, s, *block);
		return reason;
	}
	if (!is_tied(s)) {
		s->paired = portblock_pick_address(&w->blocks, s->pool, &w->rng);
		if (s->paired == PORTBLOCK_NONE)
			return CGN_DROP_POOL_FULL;
	}
	// resting ones count: nobody else can have them
	if (n_overflow_lent(w, s, sub) + s->n_resting - preset_is(w, s, sub, PORTBLOCK_RESTING) >=
		overflow_max(s, max_blocks))
		return CGN_DROP_BLOCK_LIMIT;
	if (n_overflow_lent(w, s, sub) && !first_blocks_remain(w, s->pool))
		return CGN_DROP_FIRST_BLOCK_RESERVE;
	address = s->paired;
	if (!w->blocks.address[address].n_free) {
		if (!is_soft(w, s))
			return CGN_DROP_ADDRESS_FULL;
		address = other_address(w, s);
		if (address == PORTBLOCK_NONE)
			return CGN_DROP_POOL_FULL;
	}
	reason = asked(w, ask, key, address);
	if (reason != CGN_DROP_COUNT)
		return reason;
	*block = portblock_take(&w->blocks, address, sub, &w->rng, w->now_s);
	lent_append(w, s, *block);
	return CGN_DROP_COUNT;
}

enum cgn_drop lease_take(struct worker *w, uint32_t sub, uint64_t key, uint16_t max_blocks,
	const struct lease_ask *ask, struct lease *lease)
{
	struct subscriber *s = &w->subscribers.sub[sub];
	const enum cgn_l4 l4 = cgn_l4_of((uint8_t)(key >> 48));
	enum cgn_drop reason;
	uint32_t block;
	int32_t port;

	if (take_own(w, s, sub, key, max_blocks, l4, ask, lease, &reason))
		return reason;
	if (!preset_is(w, s, sub, PORTBLOCK_LENT) && preset_has_free(w, s, sub, l4)) {
		reason = may_begin(w, s);
		if (reason == CGN_DROP_COUNT)
			reason = asked(w, ask, key, s->paired);
		if (reason != CGN_DROP_COUNT)
			return reason;
		ask = NULL; // it was a yes
		preset_begin(w, s, sub);
	}
	// preset ports first (RFC 7422 2.2), then the block first, so that later ones drain and go back (RFC 7768)
	for (uint32_t b = lease_search(s, l4); b != PORTBLOCK_NONE; b = w->blocks.block[b].next) {
		s->search[l4] = b;
		if (cgn_unlikely(ask) && portblock_has_free(&w->blocks, b, l4)) {
			reason = asked(w, ask, key, w->blocks.block[b].address);
			if (reason != CGN_DROP_COUNT)
				return reason;
			ask = NULL;
		}
		port = portblock_port_take(&w->blocks, b, l4, &w->rng);
		if (port >= 0) {
			lease_fill(w, sub, b, (uint16_t)port, lease);
			return CGN_DROP_COUNT;
		}
	}
	reason = may_grow(w, s, sub, max_blocks);
	if (reason == CGN_DROP_COUNT)
		reason = grow(w, s, sub, key, max_blocks, l4, ask, &block);
	if (reason != CGN_DROP_COUNT)
		return reason;
	port = portblock_port_take(&w->blocks, block, l4, &w->rng);
	lease_fill(w, sub, block, (uint16_t)port, lease);
	return CGN_DROP_COUNT;
}

static void port_free(struct worker *w, uint32_t block, enum cgn_l4 l4, uint16_t port)
{
	const struct portblock *b = &w->blocks.block[block];
	uint32_t *search;

	portblock_port_free(&w->blocks, block, l4, port);
	if (b->state != PORTBLOCK_LENT)
		return;
	search = &w->subscribers.sub[b->sub].search[l4];
	if (*search != block && *search != PORTBLOCK_NONE &&
		b->order < w->blocks.block[*search].order)
		*search = block;
}

static void rest_over(struct worker *w, const struct rest_port *r)
{
	port_free(w, r->block, rest_l4(r), r->port);
}

void lease_give(
	struct worker *w, uint32_t sub, uint32_t block, uint64_t key, uint16_t ext_port, bool rests)
{
	struct subscriber *s = &w->subscribers.sub[sub];
	const enum cgn_l4 l4 = cgn_l4_of((uint8_t)(key >> 48));
	struct rest_port early;

	portblock_port_rest(&w->blocks, block, l4);
	if (!rests) {
		port_free(w, block, l4, ext_port);
	} else if (rest_put(&w->rests, rest_key(sub, key), block, ext_port, w->now_s, &early)) {
		rest_over(w, &early);
		w->counters.rests_cut_short++;
	}
	if (!portblock_used(&w->blocks.block[block]))
		block_give(w, s, block);
}

// Asks for the lines that ending the oldest rests of ports will touch.
static void fetch_rests(const struct worker *w, struct rest_port *due, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		portblock_prefetch(&w->blocks, due[i].block);
	for (uint32_t i = 0; i < n; i++) {
		const struct portblock *b = &w->blocks.block[due[i].block];

		due[i].key |= b->sub;
		rest_prefetch(&w->rests, due[i].key);
		portblock_prefetch_bits(&w->blocks, due[i].block, rest_l4(&due[i]));
		if (b->state == PORTBLOCK_LENT)
			cgn_prefetch_w(&w->subscribers.sub[b->sub]);
	}
	cgn_prefetched();
}

void lease_prefetch_rests(struct worker *w, uint32_t n)
{
	const uint32_t room = w->rests.n_max - w->rests.n_held;
	struct rest_port oldest[UPKEEP_RESTS];

	rest_prefetch_new(&w->rests, n);
	if (n <= room)
		return;
	// as many of the oldest as find no room will be cut short
	n = n - room < UPKEEP_RESTS ? n - room : UPKEEP_RESTS;
	fetch_rests(w, oldest, rest_look(&w->rests, w->now_s, 0, oldest, n));
}

static uint32_t rests_end(struct worker *w, uint32_t hold_s, uint32_t max)
{
	struct rest_port due[UPKEEP_RESTS], port;
	uint32_t n;

	n = rest_look(&w->rests, w->now_s, hold_s, due, max < UPKEEP_RESTS ? max : UPKEEP_RESTS);
	fetch_rests(w, due, n);
	for (uint32_t i = 0; i < n; i++) {
		rest_due(&w->rests, w->now_s, hold_s, &port);
		rest_over(w, &port);
	}
	return n;
}

// As above, of blocks.
static void fetch_blocks(const struct worker *w, uint32_t max)
{
	const struct portblocks *pb = &w->blocks;
	uint32_t sub[UPKEEP_BLOCKS], n = 0, looked = 0;

	for (uint32_t b = pb->rest_first;
		b != PORTBLOCK_NONE && looked < max && looked < UPKEEP_BLOCKS;
		b = pb->block[b].rest_next, looked++) {
		if (pb->block[b].sub == SUBSCRIBER_NONE)
			continue;
		sub[n] = pb->block[b].sub;
		cgn_prefetch_w(&w->subscribers.sub[sub[n++]]);
	}
	for (uint32_t i = 0; i < n; i++) {
		const struct subscriber *s = &w->subscribers.sub[sub[i]];

		index_prefetch(&w->subscribers.index,
			subscriber_hash(&w->subscribers, s->address, s->pool));
	}
	cgn_prefetched();
}

static uint32_t blocks_end(struct worker *w, uint32_t hold_s, uint32_t max)
{
	uint32_t n = 0, block;

	if (portblock_is_rested(&w->blocks, w->now_s, hold_s))
		fetch_blocks(w, max);
	for (; n < max; n++) {
		struct subscriber *s;
		uint32_t sub;

		block = portblock_rested(&w->blocks, w->now_s, hold_s);
		if (block == PORTBLOCK_NONE)
			break;
		memory_note(w, block, CGN_BLOCK_FREE, 0);
		sub = w->blocks.block[block].sub;
		if (sub == SUBSCRIBER_NONE)
			continue; // left by the last run, its subscriber is not here
		s = &w->subscribers.sub[sub];
		list_unlink(w, &s->resting, block);
		s->n_resting--;
		lease_subscriber_drop(w, sub);
	}
	return n;
}

uint32_t lease_upkeep(struct worker *w, uint32_t max_ports, uint32_t max_blocks)
{
	// seconds are rounded down: one more makes sure that all of the time has passed
	const uint32_t hold_s = w->timeouts.hold_down ? w->timeouts.hold_down + 1 : 0;
	const uint32_t n = rests_end(w, hold_s, max_ports);

	// a block is freed after the ports that rested in it
	return n == max_ports ? n : n + blocks_end(w, hold_s, max_blocks);
}
