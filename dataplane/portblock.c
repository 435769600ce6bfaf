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
	const struct portblock_pool *pool = &pb->pool[b->pool];

	return pb->port_bits + b->bits + l4 * (uint32_t)(pool->n_port_words + pool->n_full_words);
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

static void port_mark(const struct portblock_pool *pool, uint64_t *bits, uint32_t i)
{
	bit_set(bits, i);
	if (pool->n_full_words && bits[i / 64] == UINT64_MAX)
		bit_set(bits + pool->n_port_words, i / 64);
}

static void port_unmark(const struct portblock_pool *pool, uint64_t *bits, uint32_t i)
{
	bit_clear(bits, i);
	if (pool->n_full_words)
		bit_clear(bits + pool->n_port_words, i / 64);
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

static int32_t port_find(const struct portblock_pool *pool, const uint64_t *bits, uint32_t from)
{
	int32_t word, bit;

	if (!pool->n_full_words)
		return find_zero(bits, pool->n_port_words, from);
	word = find_zero(bits + pool->n_port_words, pool->n_full_words, from / 64);
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

static void pool_init(struct portblock_pool *pool, const struct portblock_pool_spec *spec)
{
	assert(spec->block_size >= 16 && spec->block_size <= 16384 &&
		!(spec->block_size & (spec->block_size - 1)));
	pool->block_size = spec->block_size;
	pool->shift = (uint8_t)__builtin_ctz(spec->block_size);
	pool->n_port_words = (uint16_t)((spec->block_size + 63) / 64);
	if (pool->n_port_words > FULL_WORDS_FROM)
		pool->n_full_words = (uint16_t)((pool->n_port_words + 63) / 64);
}

static uint32_t block_words(const struct portblock_pool *pool)
{
	return CGN_L4_COUNT * (uint32_t)(pool->n_port_words + pool->n_full_words);
}

// Sets the bits that no port has, and those of reserved ports in it, for ever. Returns how many
// ports are left.
static uint32_t block_reserve(struct portblocks *pb, const struct portblock *b,
	const struct portblock_pool_spec *spec, const struct portblock_address_spec *address)
{
	const struct portblock_pool *pool = &pb->pool[b->pool];
	const uint32_t end = b->first_port + (uint32_t)pool->block_size;
	uint32_t n_left = pool->block_size;
	uint64_t *bits = bits_of(pb, b, 0);

	if (pool->block_size < 64)
		bits[0] = UINT64_MAX << pool->block_size;
	if (pool->n_port_words < 64 * pool->n_full_words)
		bits[pool->n_port_words] = UINT64_MAX << pool->n_port_words;
	for (uint32_t i = 0; i < spec->n_reserved + address->n_reserved; i++) {
		const struct cgn_port_range *r = i < spec->n_reserved
			? &spec->reserved[i]
			: &address->reserved[i - spec->n_reserved];

		for (uint32_t port = r->first > b->first_port ? r->first : b->first_port;
			port <= r->last && port < end; port++) {
			n_left -= !bit_test(bits, port - b->first_port);
			port_mark(pool, bits, port - b->first_port);
		}
	}
	for (unsigned l4 = 1; l4 < CGN_L4_COUNT; l4++)
		memcpy(bits_of(pb, b, l4), bits, block_words(pool) / CGN_L4_COUNT * sizeof(*bits));
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
			.next = PORTBLOCK_NONE,
			.rest_next = PORTBLOCK_NONE,
			.rest_prev = PORTBLOCK_NONE,
			.bits = *bits,
		};
		*bits += block_words(pool);
		if (!block_reserve(pb, b, spec, address_spec)) {
			b->state = PORTBLOCK_RESERVED;
			continue;
		}
		bit_set(pb->free_blocks, a->first_block + i);
		pool->n_total++;
		address_gains(pb, address);
	}
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
		pb->n_blocks += addresses[i].n_blocks;
		pb->pool[addresses[i].pool].n_avail++; // how many there may be
		n_words +=
			(uint64_t)addresses[i].n_blocks * block_words(&pb->pool[addresses[i].pool]);
	}
	assert(n_words <= UINT32_MAX);
	for (uint32_t i = 0; i < n_pools; i++) {
		struct portblock_pool *pool = &pb->pool[i];

		pool->avail = mem_take(
			"port pool addresses", (pool->n_avail + 1) * sizeof(*pool->avail), socket);
		if (!pool->avail)
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
	return 0;

err_fini:
	portblocks_fini(pb);
	return -ENOMEM;
}

void portblocks_fini(struct portblocks *pb)
{
	for (uint32_t i = 0; i < pb->n_pools; i++)
		mem_give(pb->pool[i].avail);
	mem_give(pb->pool);
	mem_give(pb->address);
	mem_give(pb->block);
	mem_give(pb->free_blocks);
	mem_give(pb->port_bits);
	memset(pb, 0, sizeof(*pb));
}

// ---- blocks

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

	assert(b->state == PORTBLOCK_FREE);
	b->state = PORTBLOCK_RESTING;
	b->sub = sub;
	b->since_s = since_s;
	b->next = PORTBLOCK_NONE;
	bit_clear(pb->free_blocks, block);
	address_loses(pb, b->address);
	rest_append(pb, block);
	pool_of(pb, b)->n_resting++;
}

void portblock_retake(struct portblocks *pb, uint32_t block, uint32_t now_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_RESTING);
	rest_unlink(pb, block);
	b->state = PORTBLOCK_LENT;
	b->since_s = now_s;
	pool_of(pb, b)->n_resting--;
	pool_of(pb, b)->n_lent++;
}

void portblock_give(struct portblocks *pb, uint32_t block, uint32_t now_s)
{
	struct portblock *b = &pb->block[block];

	assert(b->state == PORTBLOCK_LENT && !portblock_used(b));
	b->state = PORTBLOCK_RESTING;
	b->since_s = now_s;
	rest_append(pb, block);
	pool_of(pb, b)->n_lent--;
	pool_of(pb, b)->n_resting++;
}

uint32_t portblock_rested(struct portblocks *pb, uint32_t now_s, uint32_t hold_s)
{
	const uint32_t block = pb->rest_first;
	struct portblock *b;

	if (block == PORTBLOCK_NONE)
		return PORTBLOCK_NONE;
	b = &pb->block[block];
	if (now_s - b->since_s < hold_s || b->n_resting)
		return PORTBLOCK_NONE;
	rest_unlink(pb, block);
	b->state = PORTBLOCK_FREE;
	bit_set(pb->free_blocks, block);
	address_gains(pb, b->address);
	pool_of(pb, b)->n_resting--;
	return block;
}

// ---- ports

int32_t portblock_port_take(struct portblocks *pb, uint32_t block, enum cgn_l4 l4, struct rng *rng)
{
	struct portblock *b = &pb->block[block];
	struct portblock_pool *pool = pool_of(pb, b);
	uint64_t *bits = bits_of(pb, b, l4);
	int32_t i;

	assert(b->state == PORTBLOCK_LENT);
	i = port_find(pool, bits, rng_below(rng, pool->block_size));
	if (i < 0)
		return -1;
	port_mark(pool, bits, (uint32_t)i);
	b->used[l4]++;
	pool->n_ports_used++;
	return b->first_port + i;
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
	const struct portblock_pool *pool = pool_of(pb, b);
	uint64_t *bits = bits_of(pb, b, l4);
	const uint32_t i = (uint32_t)port - b->first_port;

	assert((b->state == PORTBLOCK_LENT || b->state == PORTBLOCK_RESTING) && b->n_resting);
	assert(i < pool->block_size && bit_test(bits, i));
	b->n_resting--;
	port_unmark(pool, bits, i);
}

bool portblock_has_free(const struct portblocks *pb, uint32_t block, enum cgn_l4 l4)
{
	const struct portblock *b = &pb->block[block];

	return port_find(&pb->pool[b->pool], bits_of(pb, b, l4), 0) >= 0;
}
