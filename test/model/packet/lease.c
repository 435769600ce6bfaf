// SPDX-License-Identifier: BSD-3-Clause
// Blocks and ports: docs/architecture.md, "Ports, blocks, hold-down".
#include "observe.h"
#include "packet.h"
#include <stdlib.h>
#include "cgnat/deterministic.h"

// ---- the blocks of the configuration

static bool reserved(const struct cgn_pool *pool, uint32_t external, uint32_t port)
{
	for (uint32_t i = 0; i < pool->n_reserved; i++) {
		if (port >= pool->reserved[i].first && port <= pool->reserved[i].last)
			return true;
	}
	for (uint32_t i = 0; i < world.config->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &world.config->static_mappings[i];

		if (m->external == external && port >= m->external_ports.first &&
			port <= m->external_ports.last)
			return true; // for all protocols
	}
	return false;
}

// One-to-one takes the whole address out of its pool.
static bool is_one_to_one(uint32_t external)
{
	for (uint32_t i = 0; i < world.config->n_static_mappings; i++) {
		if (world.config->static_mappings[i].external == external &&
			!world.config->static_mappings[i].external_ports.first)
			return true;
	}
	return false;
}

static uint16_t port_at(const struct block *b, uint32_t i)
{
	return b->preset ? b->preset[i] : (uint16_t)(b->first_port + i);
}

static void add_block(struct block b)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < b.size; i++)
		n += !reserved(&world.config->pools[b.pool], b.external, port_at(&b, i));
	b.worker = owner_of_block(b.external, port_at(&b, 0));
	b.state = b.preset ? BLOCK_IDLE : n ? BLOCK_FREE : BLOCK_RESERVED;
	world.count.pools[b.pool].blocks_total += b.preset || n;
	world.count.pools[b.pool].presets_total += b.preset != NULL;
	world.blocks = reallocarray(world.blocks, world.n_blocks + 1, sizeof(*world.blocks));
	world.blocks[world.n_blocks++] = b;
}

// Blocks of ports in a row.
static void add_blocks(uint16_t pool, uint32_t external, uint32_t first, uint32_t last)
{
	const uint16_t size = world.config->pools[pool].block_size;

	for (uint32_t port = first; port + size - 1u <= last; port += size)
		add_block((struct block){.external = external,
			.first_port = (uint16_t)port,
			.size = size,
			.pool = pool});
}

// The ports that the plan gives each subscriber (RFC 7422), and what is left for overflow. The plan
// itself is not modelled, test/unit/test_deterministic.c has its cases.
static void add_plan(uint16_t pool)
{
	struct cgn_det *det = cgn_det_create(world.config, pool);

	world.det[pool] = det;
	for (uint32_t k = 0; k < det->subscribers.n_addresses; k++) {
		const struct cgn_det_slot slot = cgn_det_slot_of(det, k);
		struct block b = {.external = cgn_det_external(det, slot.external),
			.first_port = cgn_det_span(det, slot).first,
			.size = (uint16_t)det->n_ports,
			.preset = calloc(det->n_ports, sizeof(*b.preset)),
			.holder = cgn_det_subscriber(det, k),
			.pool = pool};

		for (uint32_t i = 0; i < det->n_ports; i++)
			b.preset[i] = cgn_det_port(det, slot, i);
		add_block(b);
		if (world.blocks[world.n_blocks - 1].worker != owner_of_internal(b.holder))
			wrong("preset ports of a subscriber are another worker's");
	}
	for (uint32_t a = 0; a < det->external.n_addresses; a++) {
		uint16_t first;
		const uint32_t n = cgn_det_blocks(det, a, &first);

		if (n)
			add_blocks(pool, cgn_det_external(det, a), first,
				first + n * world.config->pools[pool].block_size - 1);
	}
}

void lease_init(void)
{
	for (uint16_t p = 0; p < world.config->n_pools; p++) {
		const struct cgn_pool *pool = &world.config->pools[p];

		if (pool->allocation == CGN_ALLOCATION_DETERMINISTIC) {
			add_plan(p);
			continue;
		}
		for (uint32_t i = 0; i < pool->n_ranges; i++) {
			for (uint32_t a = pool->ranges[i].first; a <= pool->ranges[i].last; a++) {
				if (!is_one_to_one(a))
					add_blocks(p, a, pool->ports.first, pool->ports.last);
			}
		}
	}
}

static void resting_free(struct resting *r)
{
	for (struct resting *next; r; r = next) {
		next = r->next;
		free(r);
	}
}

void lease_fini(void)
{
	resting_free(world.resting);
	resting_free(world.holes);
	for (struct customer *s = world.subscribers, *next; s; s = next) {
		next = s->next;
		free(s);
	}
	for (uint32_t i = 0; i < world.n_blocks; i++)
		free(world.blocks[i].preset);
	free(world.blocks);
	for (uint16_t p = 0; p < world.config->n_pools; p++)
		cgn_det_destroy(world.det[p]);
}

// ---- ports of a block

static bool has_port(const struct block *b, uint16_t port)
{
	for (uint32_t i = 0; i < b->size; i++) {
		if (port_at(b, i) == port)
			return true;
	}
	return false;
}

static struct block *block_at(uint32_t external, uint16_t port)
{
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		if (world.blocks[i].external == external && has_port(&world.blocks[i], port))
			return &world.blocks[i];
	}
	return NULL;
}

// Neither used, nor resting, nor reserved.
static bool port_is_free(const struct block *b, uint8_t protocol, uint16_t port)
{
	if (reserved(&world.config->pools[b->pool], b->external, port))
		return false;
	for (const struct mapping *m = world.mappings; m; m = m->next) {
		if (m->block == b && m->protocol == protocol && m->external_port == port)
			return false;
	}
	for (const struct resting *r = world.resting; r; r = r->next) {
		if (r->block == b && r->protocol == protocol && r->external_port == port)
			return false;
	}
	return true;
}

static bool has_free_port(const struct block *b, uint8_t protocol)
{
	static bool taken[1 << 16];

	for (uint32_t i = 0; i < b->size; i++)
		taken[port_at(b, i)] =
			reserved(&world.config->pools[b->pool], b->external, port_at(b, i));
	for (const struct mapping *m = world.mappings; m; m = m->next) {
		if (m->block == b && m->protocol == protocol)
			taken[m->external_port] = true;
	}
	for (const struct resting *r = world.resting; r; r = r->next) {
		if (r->block == b && r->protocol == protocol)
			taken[r->external_port] = true;
	}
	for (uint32_t i = 0; i < b->size; i++) {
		if (!taken[port_at(b, i)])
			return true;
	}
	return false;
}

uint32_t ports_used_of(const struct block *b)
{
	uint32_t n = 0;

	for (const struct mapping *m = world.mappings; m; m = m->next)
		n += m->block == b;
	return n;
}

// ---- blocks of a subscriber

struct customer *subscriber_of(uint32_t address, uint16_t pool)
{
	struct customer *s = world.subscribers;

	while (s && !(s->address == address && s->pool == pool))
		s = s->next;
	return s;
}

uint32_t blocks_of(const struct customer *s, enum block_state state)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < world.n_blocks; i++)
		n += world.blocks[i].subscriber == s && world.blocks[i].state == state;
	return n;
}

static struct block *preset_of(const struct customer *s)
{
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		struct block *b = &world.blocks[i];

		if (b->preset && b->pool == s->pool && b->holder == s->address)
			return b;
	}
	return NULL;
}

// Blocks of that state that are lent: all but the preset ports.
static uint32_t overflow_of(const struct customer *s, enum block_state state)
{
	const struct block *preset = preset_of(s);

	return blocks_of(s, state) - (preset && preset->subscriber == s && preset->state == state);
}

static uint32_t overflow_max(const struct customer *s)
{
	return world.config->pools[s->pool].max_blocks - (preset_of(s) != NULL);
}

static uint32_t share(uint32_t n)
{
	return (n + world.n_workers - 1) / world.n_workers;
}

// Subscribers of a worker with a lent block.
static uint32_t active(unsigned worker)
{
	uint32_t n = 0;

	for (const struct customer *s = world.subscribers; s; s = s->next)
		n += s->worker == worker && blocks_of(s, BLOCK_LENT);
	return n;
}

static uint32_t records(unsigned worker)
{
	uint32_t n = 0;

	for (const struct customer *s = world.subscribers; s; s = s->next)
		n += s->worker == worker;
	return n;
}

struct customer *subscriber_get(uint32_t address, uint16_t pool, unsigned worker)
{
	const uint32_t max = share(world.config->runtime.max_subscribers);
	struct customer *s = subscriber_of(address, pool);

	if (s)
		return s;
	if (active(worker) >= max || records(worker) >= 2 * max) // as many may rest
		return NULL;
	s = calloc(1, sizeof(*s));
	s->address = address;
	s->pool = pool;
	s->worker = worker;
	if (preset_of(s))
		s->paired = preset_of(s)->external;
	s->next = world.subscribers;
	world.subscribers = s;
	return s;
}

void lease_forget(struct customer *s)
{
	struct customer **at = &world.subscribers;

	if (blocks_of(s, BLOCK_LENT) || blocks_of(s, BLOCK_RESTING))
		return;
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	free(s);
}

static void block_lend(struct customer *s, struct block *b)
{
	if (!blocks_of(s, BLOCK_LENT))
		world.count.subscribers_created++;
	b->state = BLOCK_LENT;
	b->subscriber = s;
	// preset ports before all others, those of the paired address before those of others (soft-app)
	b->order = b->preset ? 0 : ++world.n_lent_ever;
	if (b->external != s->paired) {
		b->order += 1ull << 60;
		world.count.blocks_unpaired++;
	}
	world.count.blocks_allocated += !b->preset;
}

static void block_give(struct block *b)
{
	b->state = BLOCK_RESTING;
	b->since_s = now_s();
	world.count.blocks_released += !b->preset;
}

static struct block *oldest_with_free_port(const struct customer *s, uint8_t protocol)
{
	struct block *found = NULL;

	for (uint32_t i = 0; i < world.n_blocks; i++) {
		struct block *b = &world.blocks[i];

		if (b->subscriber == s && b->state == BLOCK_LENT &&
			(!found || b->order < found->order) && has_free_port(b, protocol))
			found = b;
	}
	return found;
}

// external: 0 for any address
static bool has_resting_with_free_port(
	const struct customer *s, uint8_t protocol, uint32_t external)
{
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		if (b->subscriber == s && b->state == BLOCK_RESTING && !b->preset &&
			(!external || b->external == external) && has_free_port(b, protocol))
			return true;
	}
	return false;
}

static uint32_t count_free(uint16_t pool, unsigned worker, uint32_t external) // 0: any address
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		n += b->pool == pool && b->worker == worker && b->state == BLOCK_FREE &&
			(!external || b->external == external);
	}
	return n;
}

static uint32_t count_all(uint16_t pool, unsigned worker)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		n += b->pool == pool && b->worker == worker && b->state != BLOCK_RESERVED &&
			!b->preset;
	}
	return n;
}

// May it begin to hold blocks?
static enum cgn_drop may_begin(const struct customer *s)
{
	return !blocks_of(s, BLOCK_LENT) &&
			active(s->worker) >= share(world.config->runtime.max_subscribers)
		? CGN_DROP_SUBSCRIBER_TABLE_FULL
		: CGN_DROP_COUNT;
}

// May the subscriber have one more lent block?
static enum cgn_drop may_grow(const struct customer *s)
{
	return overflow_of(s, BLOCK_LENT) >= overflow_max(s) ? CGN_DROP_BLOCK_LIMIT : may_begin(s);
}

// Is a block that nobody has had lately to be had?
static enum cgn_drop may_have_new(const struct customer *s)
{
	const uint32_t reserve = world.config->pools[s->pool].first_block_reserve;
	const uint32_t n_lent = overflow_of(s, BLOCK_LENT);

	if (!preset_of(s) && !n_lent && !blocks_of(s, BLOCK_RESTING))
		return count_free(s->pool, s->worker, 0) ? CGN_DROP_COUNT : CGN_DROP_POOL_FULL;
	if (n_lent + overflow_of(s, BLOCK_RESTING) >= overflow_max(s))
		return CGN_DROP_BLOCK_LIMIT;
	if (n_lent && reserve) {
		const uint32_t left = count_free(s->pool, s->worker, 0);

		// after one more, the share must still be there
		if ((left - 1) * 100 < count_all(s->pool, s->worker) * reserve || !left)
			return CGN_DROP_FIRST_BLOCK_RESERVE;
	}
	if (!count_free(s->pool, s->worker, s->paired)) {
		if (!world.config->pools[s->pool].soft_app)
			return CGN_DROP_ADDRESS_FULL;
		if (!count_free(s->pool, s->worker, 0))
			return CGN_DROP_POOL_FULL;
	}
	return CGN_DROP_COUNT;
}

// ---- choices of the dataplane

static void check_new_address(const struct customer *s, uint32_t external)
{
	const uint32_t free_there = count_free(s->pool, s->worker, external);
	uint32_t n_better = 0, n_others = 0, last = 0;

	if (!free_there)
		wrong("the first block came from an address without a free one");
	// the emptier of two different ones: never the single fullest of several
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];
		const uint32_t n = b->external == last || b->external == external
			? 0
			: count_free(s->pool, s->worker, b->external);

		last = b->external;
		if (b->pool != s->pool || !n)
			continue;
		n_others++;
		n_better += n > free_there;
	}
	if (n_others && n_better == n_others)
		wrong("the first block came from the fullest address");
}

// Of another address only with soft-app, when the paired one has no free block; better one that the
// subscriber has blocks of already.
static void check_other_address(const struct customer *s, uint32_t external)
{
	bool is_one = false, some = false;

	if (!world.config->pools[s->pool].soft_app || count_free(s->pool, s->worker, s->paired))
		wrong("a block of another address than the paired one");
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		if (b->subscriber != s || b->state != BLOCK_LENT ||
			!count_free(s->pool, s->worker, b->external))
			continue;
		some = true;
		is_one |= b->external == external;
	}
	if (some ? !is_one : !count_free(s->pool, s->worker, external))
		wrong("a block of an address that should have been left alone");
	if (!some)
		check_new_address(s, external);
}

static void choose_port(struct block *b, uint8_t protocol, struct mapping *m)
{
	if (!port_is_free(b, protocol, m->external_port))
		wrong("port %u is in use, at rest or reserved", m->external_port);
	m->block = b;
}

// May the port be taken up again by whoever had it? One of an overflow block only while no preset
// port is free (RFC 7422 2.2).
static bool may_take(const struct customer *s, const struct resting *r)
{
	const struct block *preset = preset_of(s);

	if (r->block != preset && preset && has_free_port(preset, r->protocol))
		return false;
	return r->block->state == BLOCK_LENT ||
		(r->block == preset ? may_begin(s) : may_grow(s)) == CGN_DROP_COUNT;
}

// The endpoint's own port, where one rests and may be taken up again. True when it was.
static bool take_own(
	struct customer *s, uint8_t protocol, uint32_t internal, uint16_t port, struct mapping *m)
{
	struct resting *own = NULL;
	bool all_allowed = true, some = false;

	for (struct resting *r = world.resting; r; r = r->next) {
		if (r->protocol != protocol || r->internal != internal ||
			r->internal_port != port || r->block->pool != s->pool)
			continue;
		some = true;
		if (!may_take(s, r))
			all_allowed = false;
		else if (r->block->external == m->external && r->external_port == m->external_port)
			own = r;
	}
	if (!own) {
		if (some && all_allowed)
			wrong("the endpoint's own port rests and was not taken up again");
		return false;
	}
	if (own->block->state == BLOCK_RESTING)
		block_lend(s, own->block);
	m->block = own->block;
	world.count.ports_reclaimed++;
	for (struct resting **at = &world.resting; *at; at = &(*at)->next) {
		if (*at == own) {
			*at = own->next;
			own->next = world.holes;
			world.holes = own;
			break;
		}
	}
	return true;
}

static enum cgn_drop grow(struct customer *s, uint8_t protocol, struct mapping *m)
{
	const bool resting = has_resting_with_free_port(s, protocol, 0);
	const bool tied = preset_of(s) || blocks_of(s, BLOCK_LENT) || blocks_of(s, BLOCK_RESTING);
	enum cgn_drop reason = may_grow(s);
	struct block *b;

	if (reason == CGN_DROP_COUNT && !resting)
		reason = may_have_new(s);
	if (reason != CGN_DROP_COUNT)
		return reason;
	if (!observe_mapping(s->worker, protocol, m->internal, m->internal_port, &m->external,
		    &m->external_port, &m->policy))
		wrong("no mapping was made");
	b = block_at(m->external, m->external_port);
	if (!b || b->pool != s->pool || b->worker != s->worker)
		wrong("the external endpoint is in no block that the subscriber may have");
	if (resting) {
		if (b->state != BLOCK_RESTING || b->subscriber != s)
			wrong("a block was taken while one of its own rests with free ports");
		if (b->external != s->paired && has_resting_with_free_port(s, protocol, s->paired))
			wrong("a block of another address was taken up again before one of the paired");
	} else {
		if (b->state != BLOCK_FREE)
			wrong("a block was taken that is not free");
		if (tied && b->external != s->paired)
			check_other_address(s, m->external);
		if (!tied) {
			check_new_address(s, m->external);
			s->paired = m->external;
		}
	}
	block_lend(s, b);
	choose_port(b, protocol, m);
	return CGN_DROP_COUNT;
}

enum cgn_drop lease(struct customer *s, uint8_t protocol, uint32_t internal, uint16_t internal_port,
	struct mapping *m)
{
	struct block *b;
	uint16_t policy;

	// without a mapping there the external endpoint is 0.0.0.0:0, which is no port that rests
	observe_mapping(s->worker, protocol, internal, internal_port, &m->external,
		&m->external_port, &policy);
	if (take_own(s, protocol, internal, internal_port, m))
		return CGN_DROP_COUNT;
	b = preset_of(s);
	if (b && b->state != BLOCK_LENT && has_free_port(b, protocol)) {
		if (may_begin(s) != CGN_DROP_COUNT)
			return may_begin(s);
		block_lend(s, b);
	}
	b = oldest_with_free_port(s, protocol);
	if (!b)
		return grow(s, protocol, m);
	if (!observe_mapping(s->worker, protocol, internal, internal_port, &m->external,
		    &m->external_port, &policy))
		wrong("no mapping was made, though its subscriber has a free port");
	if (m->external != b->external || !has_port(b, m->external_port))
		wrong("the port is not in the subscriber's oldest block with a free one");
	choose_port(b, protocol, m);
	return CGN_DROP_COUNT;
}

// ---- the end of a mapping

static uint32_t rests_max(void)
{
	return share(cgn_rests_max(world.config));
}

void lease_end(struct mapping *m, bool rests)
{
	struct resting **at = &world.resting;

	if (rests) {
		struct resting *r = calloc(1, sizeof(*r));

		*r = (struct resting){.protocol = m->protocol,
			.internal = m->internal,
			.internal_port = m->internal_port,
			.external_port = m->external_port,
			.block = m->block,
			.since_s = now_s(),
			.worker = m->worker};
		while (*at)
			at = &(*at)->next;
		*at = r;
	}
	if (!ports_used_of(m->block))
		block_give(m->block);
}

static void resting_remove(struct resting **at)
{
	struct resting *r = *at;

	*at = r->next;
	free(r);
}

// Seconds are cut, so one more makes sure that all of the hold-down has passed.
static bool rested(uint32_t since_s)
{
	const uint32_t hold = world.config->timeouts.hold_down;

	return !hold || now_s() - since_s > hold;
}

// Places of a worker that were taken up again: those behind a rest no younger are still held.
static void holes_end(unsigned worker)
{
	const struct resting *oldest = world.resting;

	while (oldest && oldest->worker != worker)
		oldest = oldest->next;
	for (struct resting **at = &world.holes; *at;) {
		if ((*at)->worker == worker && (!oldest || (*at)->since_s < oldest->since_s))
			resting_remove(at);
		else
			at = &(*at)->next;
	}
}

// The next one of a worker to be let go early; of those that began in the same second, one that is gone.
static struct resting **next_to_go(unsigned worker)
{
	struct resting **gone = NULL;

	for (struct resting **at = &world.resting; *at; at = &(*at)->next) {
		if ((*at)->worker != worker || rested((*at)->since_s))
			continue;
		if (gone && (*at)->since_s != (*gone)->since_s)
			break;
		if (!observe_resting(*at))
			return at;
		if (!gone)
			gone = at;
	}
	return gone;
}

// More rest than may: the oldest are let go. Of those that began in the same second, the dataplane
// chooses; and of those of the same second, which were taken up again, nobody can tell the places.
static void cut_short(unsigned worker)
{
	const uint32_t max = rests_max();
	uint32_t n = 0, n_due = 0, n_holes = 0, cut_min, cut_max;

	for (const struct resting *r = world.resting; r; r = r->next) {
		n += r->worker == worker;
		n_due += r->worker == worker && rested(r->since_s);
	}
	for (const struct resting *r = world.holes; r; r = r->next)
		n_holes += r->worker == worker;
	if (n + n_holes <= max)
		return;
	cut_max = n + n_holes - max;
	// what is due goes by itself or is cut: nobody can tell
	cut_min = n > max + n_due ? n - max - n_due : 0;
	world.cuts_max += cut_max;
	for (uint32_t i = 0; i < cut_max; i++) {
		struct resting **gone = next_to_go(worker);

		if (!gone || observe_resting(*gone)) {
			if (i < cut_min)
				wrong("port %u still rests, and should have been let go early",
					gone ? (*gone)->external_port : 0);
			break;
		}
		world.count.rests_cut_short++;
		world.cuts_max--;
		resting_remove(gone);
	}
}

void lease_tick(void)
{
	for (unsigned w = 0; w < world.n_workers; w++)
		cut_short(w);
	for (unsigned w = 0; w < world.n_workers; w++)
		holes_end(w);
	for (struct resting **at = &world.resting; *at;) {
		if (rested((*at)->since_s))
			resting_remove(at);
		else
			at = &(*at)->next;
	}
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		struct block *b = &world.blocks[i];

		if (b->state != BLOCK_RESTING || !rested(b->since_s))
			continue;
		struct customer *s = b->subscriber;

		b->state = b->preset ? BLOCK_IDLE : BLOCK_FREE;
		b->subscriber = NULL;
		lease_forget(s);
	}
}
