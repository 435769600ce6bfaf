// SPDX-License-Identifier: BSD-3-Clause
// What we compute against what a device computes: DPDK's own software Toeplitz hash over the tuples of
// a packet, with the key and the redirection table that we would program.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <rte_thash.h>
#include <stdlib.h>
#include <string.h>
#include "deal.h"
#include "rng.h"
#include "snapshot.h"
#include "steer.h"

#define KEY_MAX 52
#define RETA_MAX 2048 // of the largest device
#define SUBSCRIBERS 0x64400000u // 100.64.0.0/10

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"steer tests: 32 bytes, one seed.");
	return 0;
}

// A device: its key and table, and which queue (worker) a tuple goes to.
struct device {
	uint8_t key[KEY_MAX] __attribute__((aligned(4)));
	uint8_t reta[RETA_MAX];
	uint32_t n_slots;
};

static void program(struct device *d, const struct steer *s, uint32_t n_slots, size_t n_key,
	enum steer_field field)
{
	memset(d, 0, sizeof(*d));
	steer_key(d->key, n_key, s->bits, field);
	d->n_slots = n_slots;
	for (uint32_t i = 0; i < n_slots; i++)
		d->reta[i] = (uint8_t)steer_slot_worker(s, i);
}

static uint32_t queue_of(const struct device *d, uint32_t *tuple, uint32_t n_words)
{
	return d->reta[rte_softrss(tuple, n_words, d->key) & (d->n_slots - 1)];
}

// Tuples as devices make them: addresses; with ports; SCTP with its tag, too.
static void check_address(
	const struct device *d, bool source, uint32_t address, uint32_t remote, uint32_t worker)
{
	uint32_t tuple[4] = {
		source ? address : remote, source ? remote : address, rng_u32(&rng), rng_u32(&rng)};

	for (uint32_t n = 2; n <= 4; n++) {
		const uint32_t queue = queue_of(d, tuple, n);

		if (queue != worker)
			fail_msg("%08x: the device takes queue %u with %u words, the owner is %u",
				address, queue, n, worker);
	}
}

static void a_device_takes_the_same_worker_whatever_the_remote_and_ports(void **state)
{
	static const size_t key_bytes[] = {40, 52};
	struct device d;
	struct steer s;

	for (unsigned bits = STEER_BITS_MIN; bits <= STEER_BITS_MAX; bits++) {
		for (uint32_t n = 1; n <= CGN_WORKERS_MAX; n++) {
			steer_init(&s, bits, n);
			for (uint32_t i = 0; i < 1u << bits; i++) // in no order
				steer_give(&s, i, rng_u32(&rng) % n);
			for (uint32_t slots = 1u << bits; slots <= RETA_MAX; slots *= 2) {
				for (unsigned k = 0; k < 40; k++) {
					const bool source = k & 1;
					const uint32_t a = rng_u32(&rng);

					program(&d, &s, slots, key_bytes[k / 2 % 2],
						source ? STEER_SOURCE : STEER_DESTINATION);
					check_address(
						&d, source, a, rng_u32(&rng), steer_worker(&s, a));
				}
			}
		}
	}
}

static void a_device_that_hashes_one_address_alone_may_put_it_anywhere(void **state)
{
	struct device d;
	struct steer s;

	for (unsigned bits = STEER_BITS_MIN; bits <= STEER_BITS_MAX; bits++) {
		steer_init(&s, bits, 7);
		program(&d, &s, 512, KEY_MAX, STEER_ALONE);
		for (unsigned k = 0; k < 2000; k++) {
			const uint32_t a = rng_u32(&rng);

			for (unsigned at = 0; at < 9; at++) {
				uint32_t tuple[9] = {0};

				tuple[at] = a;
				assert_int_equal(queue_of(&d, tuple, 9), steer_worker(&s, a));
				assert_int_equal(queue_of(&d, tuple, at + 1), steer_worker(&s, a));
			}
		}
	}
}

// IPv6 is hashed with the same key: 8 words of addresses, perhaps ports. Nobody owns it.
static void ipv6_is_spread_by_its_destination(void **state)
{
	for (unsigned field = STEER_SOURCE; field <= STEER_ALONE; field++) {
		uint32_t have[4] = {0};
		struct device d;
		struct steer s;

		steer_init(&s, 7, 4);
		program(&d, &s, 128, 40, (enum steer_field)field);
		for (unsigned k = 0; k < 4000; k++) { // one /32 of subscribers, one /64 each
			uint32_t tuple[9] = {0x20010db8, 5, 6, 7, 0x2a001450, k, 0, 1, 0};

			have[queue_of(&d, tuple, 8 + k % 2)]++;
		}
		for (unsigned w = 0; w < 4; w++)
			assert_in_range(have[w], 600, 1400);
	}
}

static void indexes_of_a_dense_range_follow_each_other(void **state)
{
	for (unsigned n = 1; n <= STEER_BITS_MAX; n++) {
		for (unsigned k = 0; k < 1000; k++) {
			const uint32_t first = rng_u32(&rng) & ~((1u << n) - 1);
			uint8_t seen[STEER_SLOTS_MAX] = {0};

			for (uint32_t i = 0; i < 1u << n; i++) {
				const uint32_t index = steer_index(first + i);

				assert_int_equal(index >> n, steer_index(first) >> n);
				assert_int_equal(seen[index]++, 0);
			}
		}
	}
}

// ---- subscribers

// Addresses as providers give them: every one, one of each 2^k, some of each /24, or at random.
struct subscribers {
	const char *what;
	uint32_t first, n, groups, step, group_step;
};

static uint32_t subscriber(const struct subscribers *s, uint32_t i)
{
	if (!s->step)
		return SUBSCRIBERS + (rng_u32(&rng) & 0x3fffff);
	return s->first + i / s->n * s->group_step + i % s->n * s->step;
}

// By how much a worker may have more or less than the mean: a slot, which is all that a device
// can give; one in each group of addresses that stand together; and what chance does.
static void check_shares(const struct subscribers *set, unsigned bits, uint32_t n_workers)
{
	const uint32_t n = set->n * set->groups, slots = 1u << bits;
	uint32_t have[CGN_WORKERS_MAX] = {0};
	double least, most;
	struct steer s;

	steer_init(&s, bits, n_workers);
	for (uint32_t i = 0; i < n; i++)
		have[steer_worker(&s, subscriber(set, i))]++;
	least = (double)(slots / n_workers) / slots * n;
	most = (double)((slots + n_workers - 1) / n_workers) / slots * n;
	// a worker's share of the slots is within 10 % of the mean whenever there are 256
	if (bits >= 8)
		assert_true(most * n_workers <= 1.1 * n && least * n_workers >= 0.9 * n);
	for (uint32_t w = 0; w < n_workers; w++) {
		if (have[w] < 0.96 * least - 1 || have[w] > 1.04 * most + 1)
			fail_msg("%s: %u slots, %u workers: worker %u has %u of %u, not %.0f..%.0f",
				set->what, slots, n_workers, w, have[w], n, least, most);
	}
}

static void subscribers_are_shared_out_equally(void **state)
{
	static const struct subscribers sets[] = {
		{"a dense /16", SUBSCRIBERS, 65536, 1, 1, 0},
		{"a dense /22", SUBSCRIBERS + 0x12400, 1024, 1, 1, 0},
		{"an odd range", SUBSCRIBERS + 12345, 20011, 1, 1, 0},
		{"one in 2", SUBSCRIBERS + 1, 32768, 1, 2, 0},
		{"one in 4", SUBSCRIBERS + 2, 16384, 1, 4, 0},
		{"one in 8", SUBSCRIBERS + 2, 16384, 1, 8, 0},
		{"one in 16", SUBSCRIBERS + 2, 16384, 1, 16, 0},
		{"one in 64", SUBSCRIBERS + 1, 16384, 1, 64, 0},
		{"the first of each /24", SUBSCRIBERS + 1, 16384, 1, 256, 0},
		{"60 of each /24", SUBSCRIBERS + 2, 60, 1024, 1, 256},
		{"10 of each /24", SUBSCRIBERS + 2, 10, 2048, 1, 256},
		{"3 of each /24", SUBSCRIBERS + 2, 3, 8192, 8, 256},
		{"1000 of each /16", SUBSCRIBERS + 1, 1000, 64, 1, 65536},
		{"at random", 0, 400000, 1, 0, 0},
	};

	for (unsigned i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		for (unsigned bits = STEER_BITS_MIN; bits <= STEER_BITS_MAX; bits++) {
			for (uint32_t n = 1; n <= CGN_WORKERS_MAX; n++)
				check_shares(&sets[i], bits, n);
		}
	}
}

// ---- pools

static struct cgn_prefix inside = {0x0aff0001, 24}, outside = {0xc0000202, 24};
static struct cgn_interface interfaces[2] = {
	{.name = "inside", .role = CGN_INTERNAL, .addresses = &inside, .n_addresses = 1},
	{.name = "outside", .role = CGN_EXTERNAL, .addresses = &outside, .n_addresses = 1},
};

static struct snapshot *build(struct cgn_pool *pools, uint32_t n_pools, uint32_t n_workers,
	unsigned bits, struct cgn_static_mapping *statics, uint32_t n_statics)
{
	static struct cgn_config config; // the snapshot refers to it
	const struct steer_plan plan = {STEER_BITS_MAX, (uint8_t)bits, NULL};
	struct snapshot *s;

	memset(&config, 0, sizeof(config));
	config.runtime.n_workers = n_workers;
	config.interfaces = interfaces;
	config.n_interfaces = 2;
	config.pools = pools;
	config.n_pools = n_pools;
	config.static_mappings = statics;
	config.n_static_mappings = n_statics;
	s = snapshot_create(&config, &plan);
	assert_non_null(s);
	return s;
}

static struct cgn_pool pool_of(struct cgn_address_range *ranges, uint32_t n)
{
	return (struct cgn_pool){
		.ranges = ranges, .n_ranges = n, .ports = {1024, 65535}, .block_size = 256};
}

// Addresses of a pool that are not owned as a whole by the worker that the devices bring them to.
struct apart {
	uint32_t split, moved;
};

// Shares of a pool, and where the devices bring its packets.
static struct apart check_pool(const struct snapshot *s, const struct device *d, uint32_t pool)
{
	uint32_t have[CGN_WORKERS_MAX] = {0}, split[CGN_WORKERS_MAX] = {0};
	uint32_t n = 0, least = UINT32_MAX, most = 0;
	struct apart apart = {0};

	for (uint32_t i = 0; i < s->n_pool_addresses; i++) {
		const struct snapshot_pool_address *a = &s->pool_address[i];
		const uint64_t key = (uint64_t)htons(40000) << 32 | htonl(a->address);
		uint32_t tuple[2] = {rng_u32(&rng), a->address};
		const uint32_t queue = queue_of(d, tuple, 2);

		if (a->pool != pool || a->not_lent)
			continue;
		n++;
		if (a->split) {
			apart.split++;
			for (uint32_t w = 0; w < s->n_workers; w++) {
				uint32_t first, n_blocks;

				steer_split(252, s->n_workers, w, &first, &n_blocks);
				split[w] += n_blocks;
			}
			continue;
		}
		have[a->owner]++;
		apart.moved += queue != a->owner;
		assert_int_equal(steer_inbound(s, key), a->owner);
		assert_int_equal(steer_external(s, a->address, 40000), a->owner);
		check_address(d, false, a->address, rng_u32(&rng), queue);
	}
	for (uint32_t w = 0; w < s->n_workers; w++) {
		least = have[w] < least ? have[w] : least;
		most = have[w] > most ? have[w] : most;
		// a split address is shared out block by block, to within one
		assert_in_range(split[w], apart.split * (252 / s->n_workers),
			apart.split * (252 / s->n_workers + 1));
	}
	assert_true(apart.split < s->n_workers);
	// each within 10 % of the mean; where whole addresses cannot do that, exactly equal numbers
	// of them and the rest split
	if (apart.split)
		assert_int_equal(least, most);
	else
		assert_true(
			10 * most * s->n_workers <= 11 * n && 10 * least * s->n_workers >= 9 * n);
	return apart;
}

static void every_prefix_is_shared_out_equally(void **state)
{
	for (unsigned length = 32; length >= 16; length--) {
		const uint32_t size = 1u << (32 - length);
		struct cgn_address_range range = {0xcb000000, 0xcb000000 + size - 1};
		struct cgn_pool pool = pool_of(&range, 1);

		for (uint32_t n = 1; n <= CGN_WORKERS_MAX; n++) {
			for (unsigned bits = STEER_BITS_MIN; bits <= STEER_BITS_MAX; bits++) {
				struct snapshot *s = build(&pool, 1, n, bits, NULL, 0);
				struct device d;
				struct apart apart;

				program(&d, &s->external, 1u << bits, 40, STEER_DESTINATION);
				apart = check_pool(s, &d, 0);
				// no packet changes the worker
				if (size >= n && (!(n & (n - 1)) || (bits >= 8 && size >= 256)))
					assert_int_equal(apart.split + apart.moved, 0);
				// where slots are too few for equal shares, some addresses change it
				assert_true(10 * apart.moved <= size);
				snapshot_destroy(s);
			}
		}
	}
}

// Several pools anywhere, each of one or two ranges, with addresses in between that are one-to-one.
static void odd_pools_are_shared_out_equally(void **state)
{
	uint64_t n_addresses = 0, n_moved = 0, n_hosts = 0, n_brought = 0;

	for (unsigned round = 0; round < 3000; round++) {
		const uint32_t n_pools = 1 + rng_u32(&rng) % 4, n = 1 + rng_u32(&rng) % 32;
		const unsigned bits = STEER_BITS_MIN + rng_u32(&rng) % 4;
		struct cgn_address_range ranges[8];
		struct cgn_static_mapping statics[4];
		struct cgn_pool pools[4];
		uint32_t at = 0xcb000000 + rng_u32(&rng) % 100000;
		struct snapshot *s;
		struct device d;

		for (uint32_t p = 0; p < n_pools; p++) {
			for (unsigned i = 0; i < 2; i++) {
				at += 1 + rng_u32(&rng) % 300;
				ranges[2 * p + i].first = at;
				at += rng_u32(&rng) % (rng_u32(&rng) % 2 ? 10 : 600);
				ranges[2 * p + i].last = at++;
			}
			pools[p] = pool_of(&ranges[2 * p], 2);
			statics[p] = (struct cgn_static_mapping){.internal = rng_u32(&rng),
				.external = ranges[2 * p].first,
				.internal_ports = {0, 65535},
				.external_ports = {0, 65535}};
		}
		s = build(pools, n_pools, n, bits, statics, n_pools);
		program(&d, &s->external, 1u << bits, 40, STEER_DESTINATION);
		for (uint32_t p = 0; p < n_pools; p++) {
			const uint64_t key = (uint64_t)htons(80) << 32 | htonl(statics[p].external);
			uint32_t tuple[2] = {1, statics[p].external};

			n_moved += check_pool(s, &d, p).moved;
			assert_int_equal(
				steer_inbound(s, key), steer_internal(s, statics[p].internal));
			n_hosts++;
			n_brought += queue_of(&d, tuple, 2) == steer_inbound(s, key);
		}
		n_addresses += s->n_pool_addresses;
		snapshot_destroy(s);
	}
	print_message("%lu of %lu addresses moved, %lu of %lu one-to-one hosts brought\n", n_moved,
		n_addresses, n_brought, n_hosts);
	assert_true(20 * n_moved < n_addresses);
	assert_true(n_brought > n_hosts / CGN_WORKERS_MAX);
}

// Where the devices are set already (a second configuration), the new pools take what is there.
static void slots_that_are_set_stay(void **state)
{
	struct cgn_address_range range = {0xcb007100, 0xcb0071ff};
	struct cgn_pool pool = pool_of(&range, 1);
	struct snapshot *first = build(&pool, 1, 3, 7, NULL, 0), *second;
	struct steer_plan plan = {STEER_BITS_MAX, 7, &first->external};
	struct cgn_config config = *first->config;
	struct device d;

	range.first = 0xcb007120;
	range.last = 0xcb00729f;
	second = snapshot_create(&config, &plan);
	assert_non_null(second);
	assert_memory_equal(&first->external, &second->external, sizeof(first->external));
	program(&d, &second->external, 128, 40, STEER_DESTINATION);
	assert_int_equal(check_pool(second, &d, 0).moved, 0);
	snapshot_destroy(first);
	snapshot_destroy(second);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_device_takes_the_same_worker_whatever_the_remote_and_ports),
		cmocka_unit_test(a_device_that_hashes_one_address_alone_may_put_it_anywhere),
		cmocka_unit_test(ipv6_is_spread_by_its_destination),
		cmocka_unit_test(indexes_of_a_dense_range_follow_each_other),
		cmocka_unit_test(subscribers_are_shared_out_equally),
		cmocka_unit_test(every_prefix_is_shared_out_equally),
		cmocka_unit_test(odd_pools_are_shared_out_equally),
		cmocka_unit_test(slots_that_are_set_stay),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
