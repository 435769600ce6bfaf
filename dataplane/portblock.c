// SPDX-License-Identifier: BSD-3-Clause
#include "portblock.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

#define FULL_WORDS_FROM 8 // port words a search may walk; a bitmap of more has full words

static struct portblock_pool *pool_of(struct portblocks *pb, const struct portblock *b)
{
	return &pb->pool[b->pool];
}

static uint64_t *bits_of(const struct portblocks *pb, const struct portblock *b, enum cgn_l4 l4)
{
	const struct portblock_shape *shape = portblock_shape(pb, b);

	return pb->port_bits + b->bits + l4 * (uint32_t)(shape->n_port_words + shape->n_full_words);
}

static void bit_set(uint64_t *bits, uint32_t i)
{
	bits[i / 64] |= 1ull << i % 64;
}

static void bit_clear(uint64_t *bits, uint32_t i)
{
	bits[i / 64] &= ~(1ull << i % 64);
}

static bool bit_test(const uint64_t *bits, uint32_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

// ---- the bitmap of a block's ports

static void port_mark(const struct portblock_shape *shape, uint64_t *bits, uint32_t i)
{
	bit_set(bits, i);
	if (shape->n_full_words && bits[i / 64] == UINT64_MAX)
		bit_set(bits + shape->n_port_words, i / 64);
}

static void port_unmark(const struct portblock_shape *shape, uint64_t *bits, uint32_t i)
{
	bit_clear(bits, i);
	if (shape->n_full_words)
		bit_clear(bits + shape->n_port_words, i / 64);
}

// The first 0 bit at or after `from`, going around once; -1 when there is none. The bits above the
// last one that counts are 1.
static int32_t find_zero(const uint64_t *bits, uint32_t n_words, uint32_t from)
{
	uint32_t word = from / 64;
	uint64_t zeros = ~bits[word] & UINT64_MAX << from % 64;

	for (uint32_t i = 0; i < n_words && !zeros; i++) {
		word = word + 1 == n_words ? 0 : word + 1;
		zeros = ~bits[word];
	}
	return zeros ? (int32_t)(word * 64) + __builtin_ctzll(zeros) : -1;
}

static int32_t port_find(const struct portblock_shape *shape, const uint64_t *bits, uint32_t from)
{
	int32_t word, bit;

	if (!shape->n_full_words)
		return find_zero(bits, shape->n_port_words, from);
	word = find_zero(bits + shape->n_port_words, shape->n_full_words, from / 64);
	if (word < 0)
		return -1;
	bit = find_zero(bits + word, 1, from % 64);
	assert(bit >= 0);
	return word * 64 + bit;
}

// ---- the bitmap of all blocks

// The first free block of first .. end-1; PORTBLOCK_NONE when there is none.
static uint32_t find_free(const uint64_t *bits, uint32_t first, uint32_t end)
{
	for (uint32_t at = first; at < end; at = (at | 63) + 1) {
		uint64_t ones = bits[at / 64] & UINT64_MAX << at % 64;

		if (ones) {
			at = (at & ~63u) + (uint32_t)__builtin_ctzll(ones);
			return at < end ? at : PORTBLOCK_NONE;
		}
	}
	return PORTBLOCK_NONE;
}

static void address_gains(struct portblocks *pb, uint32_t address)
{
	struct portblock_address *a = &pb->address[address];
	struct portblock_pool *pool = &pb->pool[a->pool];

	if (a->n_free++)
		return;
	a->avail_pos = pool->n_avail++;
	pool->avail[a->avail_pos] = address;
}

static void address_loses(struct portblocks *pb, uint32_t address)
{
	struct portblock_address *a = &pb->address[address];
	struct portblock_pool *pool = &pb->pool[a->pool];
	uint32_t last;

	if (--a->n_free)
		return;
	last = pool->avail[--pool->n_avail];
	pool->avail[a->avail_pos] = last;
	pb->address[last].avail_pos = a->avail_pos;
}

// ---- init, fini

static struct portblock_shape shape_of(uint16_t n_ports)
{
	struct portblock_shape shape = {
		.n_ports = n_ports, .n_port_words = (uint16_t)((n_ports + 63) / 64)};

	if (shape.n_port_words > FULL_WORDS_FROM)
		shape.n_full_words = (uint16_t)((shape.n_port_words + 63) / 64);
	return shape;
}

static void pool_init(struct portblock_pool *pool, const struct portblock_pool_spec *spec)
{
	assert(spec->block_size >= 16 && spec->block_size <= 16384 &&
		!(spec->block_size & (spec->block_size - 1)));
	pool->block_size = spec->block_size;
	pool->shape = shape_of(spec->block_size);
	pool->det = spec->det;
	if (pool->det)
		pool->preset_shape = shape_of((uint16_t)pool->det->n_ports);
}

static uint32_t block_words(const struct portblock_shape *shape)
{
	return CGN_L4_COUNT * (uint32_t)(shape->n_port_words + shape->n_full_words);
}

uint64_t portblock_bytes(uint16_t n_ports)
{
	const struct portblock_shape shape = shape_of(n_ports);

	return sizeof(struct portblock) + block_words(&shape) * sizeof(uint64_t);
}

// Sets the bits that stand for no port.
static void bits_init(const struct portblock_shape *shape, uint64_t *bits)
{
	if (shape->n_ports % 64)
		bits[shape->n_port_words - 1] = UINT64_MAX << shape->n_ports % 64;
	if (shape->n_port_words % 64 && shape->n_full_words)
		bits[shape->n_port_words + shape->n_full_words - 1] = UINT64_MAX
			<< shape->n_port_words % 64;
}

// Sets those bits, and those of reserved ports in it, for ever. Returns how many ports are left.
static uint32_t block_reserve(struct portblocks *pb, const struct portblock *b,
	const struct portblock_pool_spec *spec, const struct portblock_address_spec *address)
{
	const struct portblock_shape *shape = portblock_shape(pb, b);
	const uint32_t end = b->first_port + (uint32_t)shape->n_ports;
	uint32_t n_left = shape->n_ports;
	uint64_t *bits = bits_of(pb, b, 0);

	bits_init(shape, bits);
	for (uint32_t i = 0; i < spec->n_reserved + address->n_reserved; i++) {
		const struct cgn_port_range *r = i < spec->n_reserved
			? &spec->reserved[i]
			: &address->reserved[i - spec->n_reserved];

		for (uint32_t port = r->first > b->first_port ? r->first : b->first_port;
			port <= r->last && port < end; port++) {
			n_left -= !bit_test(bits, port - b->first_port);
			port_mark(shape, bits, port - b->first_port);
		}
	}
	for (unsigned l4 = 1; l4 < CGN_L4_COUNT; l4++)
		memcpy(bits_of(pb, b, l4), bits, block_words(shape) / CGN_L4_COUNT * sizeof(*bits));
	return n_left;
}

// Makes the blocks of an address, whose first_block is known. `bits` counts words of port_bits.
static void address_init(struct portblocks *pb, uint32_t address,
	const struct portblock_pool_spec *spec, const struct portblock_address_spec *address_spec,
	uint32_t *bits)
{
	const struct portblock_address *a = &pb->address[address];
	struct portblock_pool *pool = &pb->pool[a->pool];

	assert(a->first_port + (uint64_t)a->n_blocks * pool->block_size <= 65536);
	for (uint32_t i = 0; i < a->n_blocks; i++) {
		struct portblock *b = &pb->block[a->first_block + i];

		*b = (struct portblock){
			.sub = UINT32_MAX,
			.address = address,
			.first_port = (uint16_t)(a->first_port + i * pool->block_size),
			.state = PORTBLOCK_FREE,
			.pool = (uint8_t)a->pool,
			.slot = PORTBLOCK_NO_SLOT,
			.next = PORTBLOCK_NONE,
			.rest_next = PORTBLOCK_NONE,
			.rest_prev = PORTBLOCK_NONE,
			.bits = *bits,
		};
		*bits += block_words(&pool->shape);
		if (!block_reserve(pb, b, spec, address_spec)) {
			b->state = PORTBLOCK_RESERVED;
			continue;
		}
		bit_set(pb->free_blocks, a->first_block + i);
		pool->n_total++;
		address_gains(pb, address);
	}
}

// Makes the preset blocks of a pool.
static void presets_init(struct portblocks *pb, struct portblock_pool *pool,
	const struct portblock_pool_spec *spec, uint32_t *bits)
{
	for (uint32_t i = 0; i < spec->n_presets; i++) {
		const struct portblock_preset_spec *p = &spec->presets[i];
		struct portblock *b = &pb->block[pool->preset_first + i];

		assert(p->slot != PORTBLOCK_NO_SLOT);
		*b = (struct portblock){
			.sub = UINT32_MAX,
			.address = p->address,
			.state = PORTBLOCK_PRESET,
			.pool = (uint8_t)pb->address[p->address].pool,
			.slot = p->slot,
			.next = PORTBLOCK_NONE,
			.rest_next = PORTBLOCK_NONE,
			.rest_prev = PORTBLOCK_NONE,
			.bits = *bits,
		};
		b->first_port = portblock_span(pb, pool->preset_first + i).first;
		pool->preset_number[i] = p->number;
		*bits += block_words(&pool->preset_shape);
		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
			bits_init(&pool->preset_shape, bits_of(pb, b, l4));
	}
	pool->n_presets = spec->n_presets;
}

// Takes a port off the preset block that has it, for ever.
static void preset_reserve(struct portblocks *pb, const struct portblock_address *a, uint16_t port)
{
	struct portblock_pool *pool = &pb->pool[a->pool];
	struct cgn_det_slot slot;
	struct portblock *b;
	uint32_t i, block;

	if (!cgn_det_find(pool->det, a->external, port, &slot, &i))
		return;
	block = portblock_preset(pb, a->pool, cgn_det_holder(pool->det, slot));
	if (block == PORTBLOCK_NONE)
		return;
	b = &pb->block[block];
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
		port_mark(&pool->preset_shape, bits_of(pb, b, l4), i);
	if (b->state == PORTBLOCK_PRESET && !portblock_has_free(pb, block, 0))
		b->state = PORTBLOCK_RESERVED;
}

int portblocks_init(struct portblocks *pb, const struct portblock_pool_spec *pools,
	uint32_t n_pools, const struct portblock_address_spec *addresses, uint32_t n_addresses,
	int socket)
{
	uint64_t n_words = 0;
	uint32_t bits = 0;

	assert(n_pools <= CGN_POOLS_MAX);
	memset(pb, 0, sizeof(*pb));
	pb->rest_first = pb->rest_last = PORTBLOCK_NONE;
	// One more of each: a worker may have none, and NULL means that memory is short.
	pb->pool = mem_take("port pools", (n_pools + 1) * sizeof(*pb->pool), socket);
	pb->address = mem_take("port addresses", (n_addresses + 1) * sizeof(*pb->address), socket);
	if (!pb->pool || !pb->address)
		goto err_fini;
	pb->n_pools = n_pools;
	pb->n_addresses = n_addresses;
	for (uint32_t i = 0; i < n_pools; i++)
		pool_init(&pb->pool[i], &pools[i]);
	for (uint32_t i = 0; i < n_addresses; i++) {
		assert(addresses[i].pool < n_pools);
		pb->address[i] = (struct portblock_address){
			.address = addresses[i].address,
			.pool = addresses[i].pool,
			.first_port = addresses[i].first_port,
			.first_block = pb->n_blocks,
			.n_blocks = addresses[i].n_blocks,
		};
		if (pb->pool[addresses[i].pool].det)
			pb->address[i].external = cgn_det_external_number(
				pb->pool[addresses[i].pool].det, addresses[i].address);
		pb->n_blocks += addresses[i].n_blocks;
		pb->pool[addresses[i].pool].n_avail++; // how many there may be
		n_words += (uint64_t)addresses[i].n_blocks *
			block_words(&pb->pool[addresses[i].pool].shape);
	}
	for (uint32_t i = 0; i < n_pools; i++) { // preset blocks come behind all others
		pb->pool[i].preset_first = pb->n_blocks;
		pb->n_blocks += pools[i].n_presets;
		n_words += (uint64_t)pools[i].n_presets * block_words(&pb->pool[i].preset_shape);
	}
	assert(n_words <= UINT32_MAX);
	for (uint32_t i = 0; i < n_pools; i++) {
		struct portblock_pool *pool = &pb->pool[i];

		pool->avail = mem_take(
			"port pool addresses", (pool->n_avail + 1) * sizeof(*pool->avail), socket);
		pool->preset_number = mem_take("subscribers with preset ports",
			(pools[i].n_presets + 1) * sizeof(*pool->preset_number), socket);
		if (!pool->avail || !pool->preset_number)
			goto err_fini;
		pool->n_avail = 0;
	}
	pb->block = mem_take("port blocks", (pb->n_blocks + 1) * sizeof(*pb->block), socket);
	pb->free_blocks =
		mem_take("port blocks free", (pb->n_blocks / 64 + 1) * sizeof(uint64_t), socket);
	pb->port_bits = mem_take("port bitmaps", (n_words + 1) * sizeof(uint64_t), socket);
	if (!pb->block || !pb->free_blocks || !pb->port_bits)
		goto err_fini;
	for (uint32_t i = 0; i < n_addresses; i++)
		address_init(pb, i, &pools[addresses[i].pool], &addresses[i], &bits);
	for (uint32_t i = 0; i < n_pools; i++)
		presets_init(pb, &pb->pool[i], &pools[i], &bits);
	for (uint32_t i = 0; i < n_addresses; i++) {
		for (uint32_t r = 0; pools[addresses[i].pool].det && r < addresses[i].n_reserved;
			r++)
			for (uint32_t port = addresses[i].reserved[r].first;
				port <= addresses[i].reserved[r].last; port++)
				preset_reserve(pb, &pb->address[i], (uint16_t)port);
	}
	return 0;

err_fini:
	portblocks_fini(pb);
	return -ENOMEM;
}

void portblocks_fini(struct portblocks *pb)
{
	for (uint32_t i = 0; i < pb->n_pools; i++) {
		mem_give(pb->pool[i].avail);
		mem_give(pb->pool[i].preset_number);
	}
	mem_give(pb->pool);
	mem_give(pb->address);
	mem_give(pb->block);
	mem_give(pb->free_blocks);
	mem_give(pb->port_bits);
	memset(pb, 0, sizeof(*pb));
}

// ---- blocks

static uint32_t *n_lent_of(struct portblock_pool *pool, const struct portblock *b)
{
	return portblock_is_preset(b) ? &pool->n_presets_lent : &pool->n_lent;
}

static uint32_t *n_resting_of(struct portblock_pool *pool, const struct portblock *b)
{
	return portblock_is_preset(b) ? &pool->n_presets_resting : &pool->n_resting;
}

static void rest_append(struct portblocks *pb, uint32_t block)
{
	struct portblock *b = &pb->block[block];

	b->rest_next = PORTBLOCK_NONE;
	b->rest_prev = pb->rest_last;
	if (pb->rest_last != PORTBLOCK_NONE)
		pb->block[pb->rest_last].rest_next = block;
	else
		pb->rest_first = block;
	pb->rest_last = block;
}

static void rest_unlink(struct portblocks *pb, uint32_t block)
{
	const struct portblock *b = &pb->block[block];

	if (b->rest_prev != PORTBLOCK_NONE)
		pb->block[b->rest_prev].rest_next = b->rest_next;
	else
		pb->rest_first = b->rest_next;
	if (b->rest_next != PORTBLOCK_NONE)
		pb->block[b->rest_next].rest_prev = b->rest_prev;
	else
		pb->rest_last = b->rest_prev;
}

uint32_t portblock_pick_address(const struct portblocks *pb, uint32_t pool, struct rng *rng)
{
	const struct portblock_pool *p = &pb->pool[pool];
	uint32_t first, second, a, b;

	if (p->n_avail < 2)
		return p->n_avail ? p->avail[0] : PORTBLOCK_NONE;
	first = rng_below(rng, p->n_avail);
	second = first + 1 + rng_below(rng, p->n_avail - 1); // another one
	a = p->avail[first];
	b = p->avail[second < p->n_avail ? second : second - p->n_avail];
	return pb->address[a].n_free >= pb->address[b].n_free ? a : b;
}

uint32_t portblock_take(
	struct portblocks *pb, uint32_t address, uint32_t sub, struct rng *rng, uint32_t now_s)
{
	const struct portblock_address *a = &pb->address[address];
	uint32_t start, block;
	struct portblock *b;

	if (!a->n_free)
		return PORTBLOCK_NONE;
	start = a->first_block + rng_below(rng, a->n_blocks);
	block = find_free(pb->free_blocks, start, a->first_block + a->n_blocks);
	if (block == PORTBLOCK_NONE)
		block = find_free(pb->free_blocks, a->first_block, start);
	assert(block != PORTBLOCK_NONE);
	b = &pb->block[block];
	assert(b->state == PORTBLOCK_FREE);
	b->state = PORTBLOCK_LENT;
	b->sub = sub;
	b->since_s = now_s;
	b->next = PORTBLOCK_NONE;
	bit_clear(pb->free_blocks, block);
	address_loses(pb, address);
	pool_of(pb, b)->n_lent++;
	return block;
}

void portblock_begin_resting(struct portblocks *pb, uint32_t block, uint32_t sub, uint32_t since_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_FREE || b->state == PORTBLOCK_PRESET);
	if (b->state == PORTBLOCK_FREE) {
		bit_clear(pb->free_blocks, block);
		address_loses(pb, b->address);
	}
	b->state = PORTBLOCK_RESTING;
	b->sub = sub;
	b->since_s = since_s;
	b->next = PORTBLOCK_NONE;
	rest_append(pb, block);
	(*n_resting_of(pool_of(pb, b), b))++;
}

void portblock_rest_longer(struct portblocks *pb, uint32_t block, uint32_t since_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_RESTING);
	if ((int32_t)(since_s - b->since_s) <= 0)
		return;
	b->since_s = since_s;
	rest_unlink(pb, block);
	rest_append(pb, block);
}

uint32_t portblock_preset(const struct portblocks *pb, uint32_t pool, uint32_t number)
{
	const struct portblock_pool *p = &pb->pool[pool];
	uint32_t lo = 0, hi = p->n_presets;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (p->preset_number[mid] < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n_presets && p->preset_number[lo] == number ? p->preset_first + lo
								   : PORTBLOCK_NONE;
}

void portblock_take_preset(struct portblocks *pb, uint32_t block, uint32_t sub, uint32_t now_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_PRESET);
	b->state = PORTBLOCK_LENT;
	b->sub = sub;
	b->since_s = now_s;
	b->next = PORTBLOCK_NONE;
	pool_of(pb, b)->n_presets_lent++;
}

void portblock_retake(struct portblocks *pb, uint32_t block, uint32_t now_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_RESTING);
	rest_unlink(pb, block);
	b->state = PORTBLOCK_LENT;
	b->since_s = now_s;
	(*n_resting_of(pool_of(pb, b), b))--;
	(*n_lent_of(pool_of(pb, b), b))++;
}

void portblock_give(struct portblocks *pb, uint32_t block, uint32_t now_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_LENT && !portblock_used(b));
	b->state = PORTBLOCK_RESTING;
	b->since_s = now_s;
	rest_append(pb, block);
	(*n_lent_of(pool_of(pb, b), b))--;
	(*n_resting_of(pool_of(pb, b), b))++;
}

bool portblock_is_rested(const struct portblocks *pb, uint32_t now_s, uint32_t hold_s)
{
	const struct portblock *b = &pb->block[pb->rest_first];

	return pb->rest_first != PORTBLOCK_NONE && now_s - b->since_s >= hold_s && !b->n_resting;
}

uint32_t portblock_rested(struct portblocks *pb, uint32_t now_s, uint32_t hold_s)
{
	const uint32_t block = pb->rest_first;
	struct portblock *b;

	if (!portblock_is_rested(pb, now_s, hold_s))
		return PORTBLOCK_NONE;
	b = &pb->block[block];
	rest_unlink(pb, block);
	(*n_resting_of(pool_of(pb, b), b))--;
	if (portblock_is_preset(b)) {
		b->state = PORTBLOCK_PRESET;
		return block;
	}
	b->state = PORTBLOCK_FREE;
	bit_set(pb->free_blocks, block);
	address_gains(pb, b->address);
	return block;
}

// ---- ports

static struct cgn_det_slot slot_of(const struct portblocks *pb, const struct portblock *b)
{
	return (struct cgn_det_slot){pb->address[b->address].external, b->slot};
}

struct cgn_det_span portblock_span(const struct portblocks *pb, uint32_t block)
{
	const struct portblock *b = &pb->block[block];
	const struct portblock_pool *pool = &pb->pool[b->pool];

	if (portblock_is_preset(b))
		return cgn_det_span(pool->det, slot_of(pb, b));
	return (struct cgn_det_span){
		b->first_port, (uint16_t)(b->first_port + pool->block_size - 1), 1};
}

// Which of a block's ports it is; -1: none of them.
static int32_t port_index(const struct portblocks *pb, const struct portblock *b, uint16_t port)
{
	const struct portblock_pool *pool = &pb->pool[b->pool];
	struct cgn_det_slot slot;
	uint32_t i;

	if (!portblock_is_preset(b))
		return port >= b->first_port && port - b->first_port < pool->block_size
			? port - b->first_port
			: -1;
	if (!cgn_det_find(pool->det, pb->address[b->address].external, port, &slot, &i) ||
		slot.slot != b->slot)
		return -1;
	return (int32_t)i;
}

bool portblock_has_port(const struct portblocks *pb, uint32_t block, uint16_t port)
{
	return port_index(pb, &pb->block[block], port) >= 0;
}

int32_t portblock_port_take(struct portblocks *pb, uint32_t block, enum cgn_l4 l4, struct rng *rng)
{
	struct portblock *b = &pb->block[block];
	struct portblock_pool *pool = pool_of(pb, b);
	const struct portblock_shape *shape = portblock_shape(pb, b);
	uint64_t *bits = bits_of(pb, b, l4);
	int32_t i;

	assert(b->state == PORTBLOCK_LENT);
	i = port_find(shape, bits, rng_below(rng, shape->n_ports));
	if (i < 0)
		return -1;
	port_mark(shape, bits, (uint32_t)i);
	b->used[l4]++;
	pool->n_ports_used++;
	return portblock_is_preset(b) ? cgn_det_port(pool->det, slot_of(pb, b), (uint32_t)i)
				      : b->first_port + i;
}

void portblock_port_reuse(struct portblocks *pb, uint32_t block, enum cgn_l4 l4)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_LENT && b->n_resting);
	b->n_resting--;
	b->used[l4]++;
	pool_of(pb, b)->n_ports_used++;
}

void portblock_port_rest(struct portblocks *pb, uint32_t block, enum cgn_l4 l4)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_LENT && b->used[l4]);
	b->used[l4]--;
	b->n_resting++;
	pool_of(pb, b)->n_ports_used--;
}

void portblock_port_free(struct portblocks *pb, uint32_t block, enum cgn_l4 l4, uint16_t port)
{
	struct portblock *b = &pb->block[block];
	uint64_t *bits = bits_of(pb, b, l4);
	const int32_t i = port_index(pb, b, port);

	assert((b->state == PORTBLOCK_LENT || b->state == PORTBLOCK_RESTING) && b->n_resting);
	assert(i >= 0 && bit_test(bits, (uint32_t)i));
	b->n_resting--;
	port_unmark(portblock_shape(pb, b), bits, (uint32_t)i);
}

bool portblock_has_free(const struct portblocks *pb, uint32_t block, enum cgn_l4 l4)
{
	const struct portblock *b = &pb->block[block];

	return port_find(portblock_shape(pb, b), bits_of(pb, b, l4), 0) >= 0;
}
