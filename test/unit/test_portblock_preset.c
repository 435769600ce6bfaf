// SPDX-License-Identifier: BSD-3-Clause
// Preset blocks (RFC 7422): ports by a plan, of any number and not always in a row, beside the blocks of
// what the plan leaves.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_malloc.h"
#include "portblock.h"
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define HOLD 120u
#define N_ALGORITHMS 5
#define N_SUBSCRIBERS 14u // 100.64.0.0/28 without its ends
#define N_ADDRESSES 2u
#define SUB(number) (1000u + (number)) // record of a subscriber of the plan

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"preset tests: a key of 32 bytes.");
	return 0;
}

// ---- a plan, and the blocks of one worker of `n_workers`, which owns every n-th subscriber

static struct cgn_det *det;
static struct portblocks pb;
static struct cgn_address_range external = {0xcb007100, 0xcb007100 + N_ADDRESSES - 1};
static struct cgn_prefix source = {0x64400000, 28};
static struct cgn_port_range reserved[] = {{2100, 2103}, {3000, 3000}};
static struct cgn_pool pool;
static struct cgn_policy policy = {
	.sources = &source, .n_sources = 1, .action = CGN_TRANSLATE, .pool = 0};
static struct cgn_config config = {
	.pools = &pool, .n_pools = 1, .policies = &policy, .n_policies = 1};

static void plan(enum cgn_algorithm algorithm, uint16_t ports, uint16_t last)
{
	pool = (struct cgn_pool){.ranges = &external,
		.n_ranges = 1,
		.ports = {2000, last},
		.allocation = CGN_ALLOCATION_DETERMINISTIC,
		.block_size = 16,
		.max_blocks = 4,
		.reserved = reserved,
		.n_reserved = 2,
		.deterministic = {
			.algorithm = algorithm, .ports = ports, .key = "a key of 16 byte"}};
	det = cgn_det_create(&config, 0);
	assert_non_null(det);
	assert_true(cgn_det_fits(det));
}

static int blocks_of(uint32_t worker, uint32_t n_workers, const struct cgn_port_range *statics,
	uint32_t n_statics)
{
	struct portblock_preset_spec presets[N_SUBSCRIBERS];
	struct portblock_address_spec addresses[N_ADDRESSES];
	struct portblock_pool_spec spec = {.block_size = 16,
		.reserved = reserved,
		.n_reserved = 2,
		.det = det,
		.presets = presets};

	for (uint32_t number = worker; number < N_SUBSCRIBERS; number += n_workers) {
		const struct cgn_det_slot slot = cgn_det_slot_of(det, number);

		presets[spec.n_presets++] =
			(struct portblock_preset_spec){number, slot.external, (uint16_t)slot.slot};
	}
	for (uint32_t a = 0; a < N_ADDRESSES; a++) {
		addresses[a] = (struct portblock_address_spec){.address = external.first + a,
			.reserved = statics,
			.n_reserved = n_statics};
		addresses[a].n_blocks = cgn_det_blocks(det, a, &addresses[a].first_port);
	}
	return portblocks_init(&pb, &spec, 1, addresses, N_ADDRESSES, -1);
}

static void begin(enum cgn_algorithm algorithm, uint16_t ports, uint16_t last)
{
	plan(algorithm, ports, last);
	assert_int_equal(blocks_of(0, 1, NULL, 0), 0);
}

static void end(void)
{
	portblocks_fini(&pb);
	cgn_det_destroy(det);
	assert_int_equal(mem_malloc_n_live, 0);
}

static void assert_gauges(uint32_t n_lent, uint32_t n_resting, uint64_t n_ports_used)
{
	const struct portblock_pool *p = &pb.pool[0];

	assert_int_equal(p->n_presets_lent, n_lent);
	assert_int_equal(p->n_presets_resting, n_resting);
	assert_int_equal(p->n_ports_used, n_ports_used);
	assert_int_equal(p->n_lent + p->n_resting, 0); // those are of the other blocks
}

static uint32_t lend(uint32_t number, uint32_t now_s)
{
	const uint32_t block = portblock_preset(&pb, 0, number);

	portblock_take_preset(&pb, block, SUB(number), now_s);
	return block;
}

// ---- ports

// Sizes with a bitmap of a whole number of words and of another, and one with words over words.
static const uint16_t sizes[] = {16, 48, 64, 80, 512, 528, 4112};
#define N_SIZES (sizeof(sizes) / sizeof(*sizes))

static void a_preset_block_gives_the_ports_of_the_plan_and_no_others(void **state)
{
	for (unsigned a = 0; a < N_ALGORITHMS; a++)
		for (unsigned s = 0; s < N_SIZES; s++) {
			static uint8_t owner[N_ADDRESSES][65536];

			memset(owner, 0, sizeof(owner));
			begin((enum cgn_algorithm)a, sizes[s], 65535);
			for (uint32_t n = 0; n < N_SUBSCRIBERS; n++) {
				const struct cgn_det_slot slot = cgn_det_slot_of(det, n);
				const uint32_t block = lend(n, 7);

				assert_int_equal(pb.block[block].sub, SUB(n));
				assert_int_equal(pb.block[block].since_s, 7);
				for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) {
					for (uint32_t i = 0; i < sizes[s]; i++) {
						int32_t port = portblock_port_take(
							&pb, block, (enum cgn_l4)l4, &rng);

						assert_true(port >= 0);
						assert_true(portblock_has_port(
							&pb, block, (uint16_t)port));
						// once for each protocol, and of nobody else
						assert_int_equal(owner[slot.external][port],
							l4 ? (n + 1) * 3 + l4 - 1 : 0);
						owner[slot.external][port] =
							(uint8_t)((n + 1) * 3 + l4);
					}
					assert_int_equal(portblock_port_take(
								 &pb, block, (enum cgn_l4)l4, &rng),
						-1);
					assert_false(
						portblock_has_free(&pb, block, (enum cgn_l4)l4));
				}
				for (uint32_t i = 0; i < sizes[s]; i++)
					assert_int_equal(
						owner[slot.external][cgn_det_port(det, slot, i)],
						(n + 1) * 3 + 2);
			}
			assert_gauges(N_SUBSCRIBERS, 0, 3ull * N_SUBSCRIBERS * sizes[s]);
			end();
		}
}

static void the_one_free_port_of_a_full_preset_block_is_found(void **state)
{
	for (unsigned a = 0; a < N_ALGORITHMS; a++)
		for (unsigned s = 0; s < N_SIZES; s++) {
			uint32_t block;
			struct cgn_det_slot slot;

			begin((enum cgn_algorithm)a, sizes[s], 65535);
			block = lend(5, 1);
			slot = cgn_det_slot_of(det, 5);
			while (portblock_port_take(&pb, block, CGN_L4_TCP, &rng) >= 0)
				;
			for (unsigned i = 0; i < 100; i++) {
				const uint16_t port =
					cgn_det_port(det, slot, rng_below(&rng, sizes[s]));

				portblock_port_rest(&pb, block, CGN_L4_TCP);
				assert_int_equal(
					portblock_port_take(&pb, block, CGN_L4_TCP, &rng), -1);
				portblock_port_free(&pb, block, CGN_L4_TCP, port);
				assert_int_equal(
					portblock_port_take(&pb, block, CGN_L4_TCP, &rng), port);
			}
			assert_gauges(1, 0, sizes[s]);
			end();
		}
}

static void ports_of_a_preset_block_are_picked_at_random(void **state) // RFC 6888 REQ-15
{
	for (unsigned a = 0; a < N_ALGORITHMS; a++) {
		uint32_t n_of[64] = {0}, block;

		begin((enum cgn_algorithm)a, 64, 65535);
		block = lend(3, 1);
		for (unsigned i = 0; i < 6400; i++) {
			const int32_t port = portblock_port_take(&pb, block, CGN_L4_UDP, &rng);
			uint32_t at = 0;

			while (cgn_det_port(det, cgn_det_slot_of(det, 3), at) != port)
				at++;
			n_of[at]++;
			portblock_port_rest(&pb, block, CGN_L4_UDP);
			portblock_port_free(&pb, block, CGN_L4_UDP, (uint16_t)port);
		}
		for (unsigned i = 0; i < 64; i++)
			assert_in_range(n_of[i], 50, 160);
		end();
	}
}

// Ports of static mappings are taken off the preset blocks, too; one that has no other port is never lent.
static void reserved_ports_leave_preset_blocks(void **state)
{
	static const struct cgn_port_range statics[] = {{2000, 2017}, {2103, 2104}};

	for (unsigned a = 0; a < N_ALGORITHMS; a++) {
		uint32_t n_whole = 0;

		plan((enum cgn_algorithm)a, 16, 2999);
		assert_int_equal(blocks_of(0, 1, statics, 2), 0);
		for (uint32_t n = 0; n < N_SUBSCRIBERS; n++) {
			const struct cgn_det_slot slot = cgn_det_slot_of(det, n);
			const uint32_t block = portblock_preset(&pb, 0, n);
			uint32_t n_left = 0, n_given = 0;
			int32_t port;

			for (uint32_t i = 0; i < 16; i++) {
				const uint16_t p = cgn_det_port(det, slot, i);

				n_left += p > 2017 && p != 2103 && p != 2104;
			}
			assert_int_equal(pb.block[block].state,
				n_left ? PORTBLOCK_PRESET : PORTBLOCK_RESERVED);
			n_whole += !n_left;
			if (!n_left)
				continue;
			portblock_take_preset(&pb, block, SUB(n), 1);
			while ((port = portblock_port_take(&pb, block, CGN_L4_ICMP, &rng)) >= 0) {
				assert_true(port > 2017 && port != 2103 && port != 2104);
				n_given++;
			}
			assert_int_equal(n_given, n_left);
		}
		if (a == CGN_ALGORITHM_SEQUENTIAL) // 2000-2015 of both addresses
			assert_int_equal(n_whole, 2);
		end();
	}
}

// ---- blocks

// A worker knows those of its own subscribers.
static void the_block_of_a_subscriber_is_found(void **state)
{
	for (uint32_t n_workers = 1; n_workers <= 3; n_workers++)
		for (uint32_t w = 0; w < n_workers; w++) {
			plan(CGN_ALGORITHM_STAGGERED, 48, 4999);
			assert_int_equal(blocks_of(w, n_workers, NULL, 0), 0);
			for (uint32_t n = 0; n < N_SUBSCRIBERS; n++) {
				const uint32_t block = portblock_preset(&pb, 0, n);

				if (n % n_workers != w) {
					assert_int_equal(block, PORTBLOCK_NONE);
					continue;
				}
				assert_true(portblock_is_preset(&pb.block[block]));
				assert_int_equal(pb.block[block].state, PORTBLOCK_PRESET);
				assert_true(block >= pb.pool[0].preset_first);
				for (uint32_t i = 0; i < 48; i++)
					assert_true(portblock_has_port(&pb, block,
						cgn_det_port(det, cgn_det_slot_of(det, n), i)));
				assert_false(portblock_has_port(&pb, block, 1999));
			}
			assert_int_equal(portblock_preset(&pb, 0, N_SUBSCRIBERS), PORTBLOCK_NONE);
			end();
		}
}

static void a_preset_block_is_never_lent_as_a_free_one(void **state)
{
	uint32_t n = 0, address;

	begin(CGN_ALGORITHM_INTERLACED, 16, 2999);
	while ((address = portblock_pick_address(&pb, 0, &rng)) != PORTBLOCK_NONE) {
		const uint32_t block = portblock_take(&pb, address, 1, &rng, 0);

		assert_true(block < pb.pool[0].preset_first);
		for (int32_t port;
			(port = portblock_port_take(&pb, block, CGN_L4_UDP, &rng)) >= 0;) {
			struct cgn_det_slot slot;
			uint32_t i;

			assert_false(cgn_det_find(det, address, (uint16_t)port, &slot, &i));
		}
		n++;
	}
	assert_int_equal(n, pb.pool[0].n_total);
	assert_int_equal(pb.pool[0].n_lent, n);
	assert_int_equal(pb.pool[0].n_presets_lent, 0);
	end();
}

static void a_preset_block_rests_and_is_idle_again(void **state) // RFC 6888 REQ-8
{
	const uint32_t number = 4;
	uint32_t block;
	int32_t port;

	begin(CGN_ALGORITHM_CRYPTOGRAPHIC, 16, 2999);
	block = lend(number, 10);
	port = portblock_port_take(&pb, block, CGN_L4_UDP, &rng);
	assert_gauges(1, 0, 1);
	portblock_port_rest(&pb, block, CGN_L4_UDP);
	portblock_give(&pb, block, 20);
	assert_gauges(0, 1, 0);
	portblock_retake(&pb, block, 30); // its subscriber is back
	assert_gauges(1, 0, 0);
	portblock_give(&pb, block, 40);
	assert_int_equal(portblock_rested(&pb, 40 + HOLD, HOLD), PORTBLOCK_NONE); // a port rests
	portblock_port_free(&pb, block, CGN_L4_UDP, (uint16_t)port);
	assert_int_equal(portblock_rested(&pb, 40 + HOLD - 1, HOLD), PORTBLOCK_NONE);
	assert_int_equal(portblock_rested(&pb, 40 + HOLD, HOLD), block);
	assert_gauges(0, 0, 0);
	assert_int_equal(pb.block[block].state, PORTBLOCK_PRESET);
	lend(number, 500);
	assert_gauges(1, 0, 0);
	end();
}

static void preset_and_other_blocks_rest_in_one_order(void **state)
{
	uint32_t preset, other, old;

	begin(CGN_ALGORITHM_SEQUENTIAL, 16, 2999);
	old = portblock_preset(&pb, 0, 9);
	portblock_begin_resting(&pb, old, UINT32_MAX, 1); // as the last run left it
	assert_int_equal(pb.pool[0].n_presets_resting, 1);
	portblock_rest_longer(&pb, old, 5);
	preset = lend(2, 0);
	other = portblock_take(&pb, 0, 1, &rng, 0);
	portblock_give(&pb, other, 10);
	portblock_give(&pb, preset, 20);
	assert_int_equal(pb.pool[0].n_resting, 1);
	assert_int_equal(pb.pool[0].n_presets_resting, 2);
	assert_int_equal(portblock_rested(&pb, 5 + HOLD - 1, HOLD), PORTBLOCK_NONE);
	assert_int_equal(portblock_rested(&pb, 20 + HOLD, HOLD), old);
	assert_int_equal(portblock_rested(&pb, 20 + HOLD, HOLD), other);
	assert_int_equal(portblock_rested(&pb, 20 + HOLD, HOLD), preset);
	assert_int_equal(portblock_rested(&pb, 20 + HOLD, HOLD), PORTBLOCK_NONE);
	assert_int_equal(pb.block[old].state, PORTBLOCK_PRESET);
	assert_int_equal(pb.block[other].state, PORTBLOCK_FREE);
	assert_gauges(0, 0, 0);
	end();
}

static void no_memory_is_told_and_nothing_leaks(void **state)
{
	plan(CGN_ALGORITHM_SEQUENTIAL, 16, 2999);
	for (uint32_t i = 1; i <= 7; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(blocks_of(0, 1, NULL, 0), -ENOMEM);
		assert_int_equal(mem_malloc_fail_at, 0);
		assert_int_equal(mem_malloc_n_live, 0);
	}
	cgn_det_destroy(det);
}

// Misuse, each in a process of its own: must die by assert().
static void lend_twice(uint32_t block)
{
	portblock_take_preset(&pb, block, 1, 0);
	portblock_take_preset(&pb, block, 1, 0);
}

static void lend_a_resting_one(uint32_t block)
{
	portblock_begin_resting(&pb, block, 1, 0);
	portblock_take_preset(&pb, block, 1, 0);
}

static void lend_another_kind(uint32_t block)
{
	(void)block;
	portblock_take_preset(&pb, 0, 1, 0);
}

static void free_a_port_of_somebody_else(uint32_t block)
{
	portblock_take_preset(&pb, block, 1, 0);
	portblock_port_take(&pb, block, CGN_L4_UDP, &rng);
	portblock_port_rest(&pb, block, CGN_L4_UDP);
	portblock_port_free(&pb, block, CGN_L4_UDP, cgn_det_port(det, cgn_det_slot_of(det, 1), 0));
}

static void misuse_is_asserted(void **state)
{
	static void (*const misuse[])(uint32_t block) = {
		lend_twice, lend_a_resting_one, lend_another_kind, free_a_port_of_somebody_else};

	for (unsigned i = 0; i < sizeof(misuse) / sizeof(*misuse); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			const struct rlimit no_core = {0, 0};

			begin(CGN_ALGORITHM_SEQUENTIAL, 16, 2999);
			setrlimit(RLIMIT_CORE, &no_core);
			signal(SIGABRT, SIG_DFL);
			close(STDERR_FILENO);
			misuse[i](portblock_preset(&pb, 0, 0));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_preset_block_gives_the_ports_of_the_plan_and_no_others),
		cmocka_unit_test(the_one_free_port_of_a_full_preset_block_is_found),
		cmocka_unit_test(ports_of_a_preset_block_are_picked_at_random),
		cmocka_unit_test(reserved_ports_leave_preset_blocks),
		cmocka_unit_test(the_block_of_a_subscriber_is_found),
		cmocka_unit_test(a_preset_block_is_never_lent_as_a_free_one),
		cmocka_unit_test(a_preset_block_rests_and_is_idle_again),
		cmocka_unit_test(preset_and_other_blocks_rest_in_one_order),
		cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
		cmocka_unit_test(misuse_is_asserted),
	};

	return cmocka_run_group_tests_name("portblock_preset", tests, setup, NULL);
}
