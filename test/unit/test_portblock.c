// SPDX-License-Identifier: BSD-3-Clause
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

#define ALICE 1u
#define BOB 2u
#define HOLD 120u

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"portblock tests: a 32-byte key..");
	return 0;
}

// One pool of `n_addresses` with `n_blocks` each, from port `first` on.
static struct portblocks blocks_of(uint16_t block_size, uint32_t n_addresses, uint32_t n_blocks,
	uint16_t first, const struct cgn_port_range *reserved, uint32_t n_reserved)
{
	const struct portblock_pool_spec pool = {block_size, reserved, n_reserved};
	struct portblock_address_spec addresses[16];
	struct portblocks pb;

	assert_true(n_addresses <= 16);
	for (uint32_t i = 0; i < n_addresses; i++)
		addresses[i] = (struct portblock_address_spec){0xcb007100 + i, 0, first, n_blocks};
	assert_int_equal(portblocks_init(&pb, &pool, 1, addresses, n_addresses, -1), 0);
	return pb;
}

static void assert_gauges(
	const struct portblocks *pb, uint32_t n_lent, uint32_t n_resting, uint64_t n_ports_used)
{
	assert_int_equal(pb->pool[0].n_lent, n_lent);
	assert_int_equal(pb->pool[0].n_resting, n_resting);
	assert_int_equal(pb->pool[0].n_ports_used, n_ports_used);
}

static const uint16_t sizes[] = {16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384};
#define N_SIZES (sizeof(sizes) / sizeof(*sizes))

static void every_port_of_a_block_is_given_out_once(void **state) // RFC 6888 REQ-13: per protocol
{
	for (unsigned s = 0; s < N_SIZES; s++) {
		struct portblocks pb = blocks_of(sizes[s], 1, 3, 1024, NULL, 0);
		uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 1);
		const uint16_t first = pb.block[block].first_port;

		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) {
			uint8_t *taken = calloc(sizes[s], 1);

			for (unsigned i = 0; i < sizes[s]; i++) {
				int32_t port = portblock_port_take(&pb, block, l4, &rng);

				assert_true(port >= first && port < first + sizes[s]);
				assert_false(taken[port - first]++);
				assert_int_equal(pb.block[block].used[l4], i + 1);
			}
			assert_int_equal(portblock_port_take(&pb, block, l4, &rng), -1);
			free(taken);
		}
		assert_gauges(&pb, 1, 0, 3ull * sizes[s]);
		portblocks_fini(&pb);
	}
}

static void the_one_free_port_of_a_full_block_is_found(void **state)
{
	for (unsigned s = 0; s < N_SIZES; s++) {
		struct portblocks pb = blocks_of(sizes[s], 1, 1, 2048, NULL, 0);
		uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 1);

		while (portblock_port_take(&pb, block, CGN_L4_TCP, &rng) >= 0)
			;
		for (unsigned i = 0; i < 300; i++) {
			uint16_t port = (uint16_t)(2048 + rng_below(&rng, sizes[s]));

			portblock_port_rest(&pb, block, CGN_L4_TCP);
			assert_int_equal(portblock_port_take(&pb, block, CGN_L4_TCP, &rng), -1);
			assert_false(portblock_has_free(&pb, block, CGN_L4_TCP));
			assert_true(portblock_has_free(&pb, block, CGN_L4_UDP));
			portblock_port_free(&pb, block, CGN_L4_TCP, port);
			assert_true(portblock_has_free(&pb, block, CGN_L4_TCP));
			assert_int_equal(portblock_port_take(&pb, block, CGN_L4_TCP, &rng), port);
		}
		assert_gauges(&pb, 1, 0, sizes[s]);
		portblocks_fini(&pb);
	}
}

static void a_resting_port_is_given_to_nobody_until_its_rest_is_over(void **state) // RFC 6888 REQ-8
{
	struct portblocks pb = blocks_of(16, 1, 1, 1024, NULL, 0);
	uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 1);
	int32_t port = portblock_port_take(&pb, block, CGN_L4_UDP, &rng);

	portblock_port_rest(&pb, block, CGN_L4_UDP);
	assert_gauges(&pb, 1, 0, 0);
	assert_int_equal(pb.block[block].n_resting, 1);
	for (unsigned i = 0; i < 15; i++)
		assert_int_not_equal(portblock_port_take(&pb, block, CGN_L4_UDP, &rng), port);
	assert_int_equal(portblock_port_take(&pb, block, CGN_L4_UDP, &rng), -1);
	portblock_port_free(&pb, block, CGN_L4_UDP, (uint16_t)port);
	assert_int_equal(portblock_port_take(&pb, block, CGN_L4_UDP, &rng), port);
	portblocks_fini(&pb);
}

static void a_resting_port_is_used_again_by_its_endpoint(void **state)
{
	struct portblocks pb = blocks_of(16, 1, 1, 1024, NULL, 0);
	uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 1);

	portblock_port_take(&pb, block, CGN_L4_UDP, &rng);
	portblock_port_rest(&pb, block, CGN_L4_UDP);
	portblock_port_reuse(&pb, block, CGN_L4_UDP);
	assert_int_equal(pb.block[block].n_resting, 0);
	assert_gauges(&pb, 1, 0, 1);
	for (unsigned i = 0; i < 15; i++)
		assert_true(portblock_port_take(&pb, block, CGN_L4_UDP, &rng) >= 0);
	assert_int_equal(portblock_port_take(&pb, block, CGN_L4_UDP, &rng), -1);
	portblocks_fini(&pb);
}

static void ports_are_picked_at_random_over_the_whole_block(void **state) // RFC 6888 REQ-15
{
	for (unsigned s = 0; s < N_SIZES; s++) {
		struct portblocks pb = blocks_of(sizes[s], 1, 1, 1024, NULL, 0);
		uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 1);
		uint32_t quarter[4] = {0}, low_bits[16] = {0}, successors = 0;
		int32_t before = -2;

		for (unsigned i = 0; i < 3200; i++) {
			int32_t port = portblock_port_take(&pb, block, CGN_L4_UDP, &rng);

			quarter[(uint32_t)(port - 1024) * 4 / sizes[s]]++;
			low_bits[port % 16]++;
			successors += port == before + 1;
			before = port;
			portblock_port_rest(&pb, block, CGN_L4_UDP);
			portblock_port_free(&pb, block, CGN_L4_UDP, (uint16_t)port);
		}
		for (unsigned i = 0; i < 4; i++)
			assert_true(quarter[i] > 650 && quarter[i] < 950);
		for (unsigned i = 0; i < 16; i++)
			assert_true(low_bits[i] > 120 && low_bits[i] < 290);
		assert_true(successors < 300);
		portblocks_fini(&pb);
	}
}

static bool in_ranges(uint32_t port, const struct cgn_port_range *r, uint32_t n)
{
	for (; n--; r++)
		if (port >= r->first && port <= r->last)
			return true;
	return false;
}

static void reserved_ports_are_never_given_out_and_all_others_are(void **state)
{
	// from inside one block into another, whole blocks, single ports, beyond both ends
	static const struct cgn_port_range reserved[] = {
		{0, 1030}, {5060, 5060}, {6000, 6063}, {20000, 39000}, {65400, 65535}};

	for (unsigned s = 0; s < N_SIZES; s++) {
		const uint32_t n_blocks = (65536u - 1024) / sizes[s];
		struct portblocks pb = blocks_of(sizes[s], 1, n_blocks, 1024, reserved, 5);
		uint32_t block, n_whole = 0, n_given = 0, n_want = 0;

		for (uint32_t b = 0; b < n_blocks; b++) {
			uint32_t n = 0;

			for (uint32_t port = 1024 + b * sizes[s]; port < 1024 + (b + 1) * sizes[s];
				port++)
				n += !in_ranges(port, reserved, 5);
			n_whole += !n;
			n_want += n;
			assert_int_equal(pb.block[b].state == PORTBLOCK_RESERVED, !n);
		}
		assert_int_equal(pb.pool[0].n_total, n_blocks - n_whole);
		while ((block = portblock_take(&pb, 0, ALICE, &rng, 1)) != PORTBLOCK_NONE) {
			int32_t port;

			while ((port = portblock_port_take(&pb, block, CGN_L4_ICMP, &rng)) >= 0) {
				assert_false(in_ranges((uint32_t)port, reserved, 5));
				n_given++;
			}
			assert_int_not_equal(pb.block[block].state, PORTBLOCK_RESERVED);
		}
		assert_int_equal(n_given, n_want);
		assert_int_equal(pb.pool[0].n_lent, pb.pool[0].n_total);
		portblocks_fini(&pb);
	}
}

static void every_block_of_an_address_is_lent_once(void **state)
{
	static const uint32_t counts[] = {1, 2, 63, 64, 65, 130, 252, 4032};

	for (unsigned c = 0; c < sizeof(counts) / sizeof(*counts); c++) {
		struct portblocks pb = blocks_of(16, 3, counts[c], 1024, NULL, 0);

		for (uint32_t a = 0; a < 3; a++) {
			for (uint32_t i = 0; i < counts[c]; i++) {
				uint32_t block = portblock_take(&pb, a, ALICE, &rng, 9);

				assert_true(block < pb.n_blocks);
				assert_int_equal(pb.block[block].address, a);
				assert_int_equal(pb.block[block].since_s, 9);
				assert_int_equal(pb.block[block].sub, ALICE);
				pb.block[block].sub = 1000; // marks it
			}
			assert_int_equal(portblock_take(&pb, a, ALICE, &rng, 9), PORTBLOCK_NONE);
		}
		for (uint32_t b = 0; b < pb.n_blocks; b++)
			assert_int_equal(pb.block[b].sub, 1000);
		assert_int_equal(portblock_pick_address(&pb, 0, &rng), PORTBLOCK_NONE);
		assert_gauges(&pb, 3 * counts[c], 0, 0);
		portblocks_fini(&pb);
	}
}

static void blocks_are_picked_at_random(void **state) // RFC 6888 REQ-15
{
	struct portblocks pb = blocks_of(256, 1, 252, 1024, NULL, 0);
	uint32_t lower = 0, successors = 0, before = 1000;

	for (unsigned i = 0; i < 2000; i++) {
		uint32_t block = portblock_take(&pb, 0, ALICE, &rng, i);

		lower += block < 126;
		successors += block == before + 1;
		before = block;
		portblock_give(&pb, block, i);
		assert_int_equal(portblock_rested(&pb, i, 0), block);
	}
	assert_true(lower > 850 && lower < 1150);
	assert_true(successors < 40);
	portblocks_fini(&pb);
}

static void a_given_back_block_rests_for_the_hold_down(void **state) // RFC 6888 REQ-8
{
	struct portblocks pb = blocks_of(16, 1, 1, 1024, NULL, 0);
	uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 0);

	portblock_give(&pb, block, 10);
	assert_gauges(&pb, 0, 1, 0);
	assert_int_equal(portblock_rested(&pb, 10 + HOLD - 1, HOLD), PORTBLOCK_NONE);
	assert_int_equal(portblock_take(&pb, 0, BOB, &rng, 10 + HOLD - 1), PORTBLOCK_NONE);
	assert_int_equal(portblock_pick_address(&pb, 0, &rng), PORTBLOCK_NONE);
	assert_int_equal(portblock_rested(&pb, 10 + HOLD, HOLD), block);
	assert_int_equal(pb.block[block].sub, ALICE);
	assert_gauges(&pb, 0, 0, 0);
	assert_int_equal(portblock_pick_address(&pb, 0, &rng), 0);
	assert_int_equal(portblock_take(&pb, 0, BOB, &rng, 10 + HOLD), block);
	portblocks_fini(&pb);
}

static void a_resting_block_goes_back_to_its_subscriber(void **state)
{
	struct portblocks pb = blocks_of(16, 1, 3, 1024, NULL, 0);
	uint32_t block[3];

	for (unsigned i = 0; i < 3; i++)
		block[i] = portblock_take(&pb, 0, ALICE, &rng, 0);
	for (unsigned i = 0; i < 3; i++)
		portblock_give(&pb, block[i], i);
	portblock_retake(&pb, block[1], 50); // out of the middle of the resting ones
	assert_gauges(&pb, 1, 2, 0);
	assert_int_equal(pb.block[block[1]].since_s, 50);
	assert_int_equal(portblock_rested(&pb, 500, HOLD), block[0]);
	assert_int_equal(portblock_rested(&pb, 500, HOLD), block[2]);
	assert_int_equal(portblock_rested(&pb, 500, HOLD), PORTBLOCK_NONE);
	portblock_give(&pb, block[1], 500);
	portblock_retake(&pb, block[1], 501); // the only one
	portblock_give(&pb, block[1], 502);
	assert_int_equal(portblock_rested(&pb, 502 + HOLD, HOLD), block[1]);
	assert_gauges(&pb, 0, 0, 0);
	portblocks_fini(&pb);
}

static void a_block_rests_on_while_a_port_of_it_does(void **state)
{
	struct portblocks pb = blocks_of(16, 1, 1, 1024, NULL, 0);
	uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 0);
	int32_t port = portblock_port_take(&pb, block, CGN_L4_TCP, &rng);

	portblock_port_rest(&pb, block, CGN_L4_TCP);
	portblock_give(&pb, block, 10);
	assert_int_equal(portblock_rested(&pb, 10 + HOLD, HOLD), PORTBLOCK_NONE);
	portblock_port_free(&pb, block, CGN_L4_TCP, (uint16_t)port);
	assert_int_equal(portblock_rested(&pb, 10 + HOLD, HOLD), block);
	portblocks_fini(&pb);
}

static void a_block_taken_again_keeps_its_resting_ports(void **state)
{
	struct portblocks pb = blocks_of(16, 1, 1, 1024, NULL, 0);
	uint32_t block = portblock_take(&pb, 0, ALICE, &rng, 0);
	int32_t port = portblock_port_take(&pb, block, CGN_L4_TCP, &rng);

	portblock_port_rest(&pb, block, CGN_L4_TCP);
	portblock_give(&pb, block, 10);
	portblock_retake(&pb, block, 20);
	for (unsigned i = 0; i < 15; i++)
		assert_int_not_equal(portblock_port_take(&pb, block, CGN_L4_TCP, &rng), port);
	assert_int_equal(portblock_port_take(&pb, block, CGN_L4_TCP, &rng), -1);
	portblocks_fini(&pb);
}

static void subscribers_spread_evenly_over_addresses(void **state)
{
	struct portblocks pb = blocks_of(256, 16, 200, 1024, NULL, 0);
	uint32_t least = UINT32_MAX, most = 0;

	for (unsigned i = 0; i < 1600; i++) {
		uint32_t address = portblock_pick_address(&pb, 0, &rng);

		assert_true(address < 16);
		assert_int_not_equal(portblock_take(&pb, address, i, &rng, 0), PORTBLOCK_NONE);
	}
	for (unsigned a = 0; a < 16; a++) {
		uint32_t n = 200 - pb.address[a].n_free;

		least = n < least ? n : least;
		most = n > most ? n : most;
	}
	assert_true(least >= 90 && most <= 110);
	for (unsigned i = 1600; i < 3200; i++) // to the last block
		assert_int_not_equal(
			portblock_take(&pb, portblock_pick_address(&pb, 0, &rng), i, &rng, 0),
			PORTBLOCK_NONE);
	assert_int_equal(portblock_pick_address(&pb, 0, &rng), PORTBLOCK_NONE);
	portblocks_fini(&pb);
}

static void pools_of_different_sizes_do_not_touch_each_other(void **state)
{
	static const struct cgn_port_range reserved[] = {{1024, 1039}};
	const struct portblock_pool_spec pools[] = {
		{16, NULL, 0}, {1024, NULL, 0}, {16, reserved, 1}};
	const struct portblock_address_spec addresses[] = {{1, 2, 1024, 2}, {2, 0, 1024, 2},
		{3, 1, 1024, 1}, {4, 0, 50000, 1}, {5, 1, 64512, 1}};
	static const uint32_t want_ports[] = {3 * 16, 2 * 1024, 16};
	struct portblocks pb;

	assert_int_equal(portblocks_init(&pb, pools, 3, addresses, 5, -1), 0);
	assert_int_equal(pb.pool[2].n_total, 1);
	for (uint32_t pool = 0; pool < 3; pool++) {
		uint32_t address, n_ports = 0;

		while ((address = portblock_pick_address(&pb, pool, &rng)) != PORTBLOCK_NONE) {
			uint32_t block = portblock_take(&pb, address, ALICE, &rng, 0);

			assert_int_equal(pb.address[address].pool, pool);
			for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
				while (portblock_port_take(&pb, block, l4, &rng) >= 0)
					n_ports++;
		}
		assert_int_equal(n_ports, 3 * want_ports[pool]);
		assert_int_equal(pb.pool[pool].n_ports_used, n_ports);
		assert_int_equal(pb.pool[pool].n_lent, pb.pool[pool].n_total);
	}
	portblocks_fini(&pb);
}

static void a_worker_without_addresses_has_no_block(void **state)
{
	const struct portblock_pool_spec pool = {256, NULL, 0};
	const struct portblock_address_spec empty = {1, 0, 1024, 0};
	struct portblocks pb;

	assert_int_equal(portblocks_init(&pb, &pool, 1, NULL, 0, -1), 0);
	assert_int_equal(portblock_pick_address(&pb, 0, &rng), PORTBLOCK_NONE);
	portblocks_fini(&pb);
	assert_int_equal(portblocks_init(&pb, &pool, 1, &empty, 1, -1), 0);
	assert_int_equal(portblock_pick_address(&pb, 0, &rng), PORTBLOCK_NONE);
	assert_int_equal(portblock_take(&pb, 0, ALICE, &rng, 0), PORTBLOCK_NONE);
	portblocks_fini(&pb);
	assert_int_equal(portblocks_init(&pb, NULL, 0, NULL, 0, -1), 0);
	portblocks_fini(&pb);
	assert_int_equal(mem_malloc_n_live, 0);
}

static void no_memory_is_told_and_nothing_leaks(void **state)
{
	const struct portblock_pool_spec pool[] = {{256, NULL, 0}, {64, NULL, 0}};
	const struct portblock_address_spec address = {1, 0, 1024, 4};
	struct portblocks pb;

	for (uint32_t i = 1; i <= 7; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(portblocks_init(&pb, pool, 2, &address, 1, -1), -ENOMEM);
		assert_int_equal(mem_malloc_fail_at, 0);
		assert_int_equal(mem_malloc_n_live, 0);
	}
}

// Misuse, each in a process of its own: must die by assert().
static void give_with_a_port_in_use(struct portblocks *pb, uint32_t block)
{
	portblock_port_take(pb, block, CGN_L4_UDP, &rng);
	portblock_give(pb, block, 1);
}

static void give_twice(struct portblocks *pb, uint32_t block)
{
	portblock_give(pb, block, 1);
	portblock_give(pb, block, 1);
}

static void free_a_port_nobody_took(struct portblocks *pb, uint32_t block)
{
	portblock_port_free(pb, block, CGN_L4_UDP, pb->block[block].first_port);
}

static void rest_a_port_nobody_took(struct portblocks *pb, uint32_t block)
{
	portblock_port_rest(pb, block, CGN_L4_UDP);
}

static void retake_a_lent_block(struct portblocks *pb, uint32_t block)
{
	portblock_retake(pb, block, 1);
}

static void take_a_port_of_a_resting_block(struct portblocks *pb, uint32_t block)
{
	portblock_give(pb, block, 1);
	portblock_port_take(pb, block, CGN_L4_UDP, &rng);
}

static void misuse_is_asserted(void **state)
{
	static void (*const misuse[])(struct portblocks * pb, uint32_t block) = {
		give_with_a_port_in_use, give_twice, free_a_port_nobody_took,
		rest_a_port_nobody_took, retake_a_lent_block, take_a_port_of_a_resting_block};

	for (unsigned i = 0; i < sizeof(misuse) / sizeof(*misuse); i++) {
		pid_t pid = fork();
		int status;

		if (!pid) {
			const struct rlimit no_core = {0, 0};
			struct portblocks pb = blocks_of(16, 1, 2, 1024, NULL, 0);

			setrlimit(RLIMIT_CORE, &no_core);
			signal(SIGABRT, SIG_DFL);
			close(STDERR_FILENO);
			misuse[i](&pb, portblock_take(&pb, 0, ALICE, &rng, 0));
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

// As docs/architecture.md says: what a configuration will take is told before it is taken.
static void a_block_takes_as_many_bytes_as_are_said(void **state)
{
	assert_int_equal(portblock_bytes(16), 48 + 3 * 8);
	assert_int_equal(portblock_bytes(256), 144);
	assert_int_equal(portblock_bytes(4032), 48 + 3 * 8 * (63 + 1));
	assert_int_equal(portblock_bytes(16384), 48 + 3 * 8 * (256 + 4));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_port_of_a_block_is_given_out_once),
		cmocka_unit_test(the_one_free_port_of_a_full_block_is_found),
		cmocka_unit_test(a_resting_port_is_given_to_nobody_until_its_rest_is_over),
		cmocka_unit_test(a_resting_port_is_used_again_by_its_endpoint),
		cmocka_unit_test(ports_are_picked_at_random_over_the_whole_block),
		cmocka_unit_test(reserved_ports_are_never_given_out_and_all_others_are),
		cmocka_unit_test(every_block_of_an_address_is_lent_once),
		cmocka_unit_test(blocks_are_picked_at_random),
		cmocka_unit_test(a_given_back_block_rests_for_the_hold_down),
		cmocka_unit_test(a_resting_block_goes_back_to_its_subscriber),
		cmocka_unit_test(a_block_rests_on_while_a_port_of_it_does),
		cmocka_unit_test(a_block_taken_again_keeps_its_resting_ports),
		cmocka_unit_test(subscribers_spread_evenly_over_addresses),
		cmocka_unit_test(pools_of_different_sizes_do_not_touch_each_other),
		cmocka_unit_test(a_worker_without_addresses_has_no_block),
		cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
		cmocka_unit_test(misuse_is_asserted),
		cmocka_unit_test(a_block_takes_as_many_bytes_as_are_said),
	};

	return cmocka_run_group_tests_name("portblock", tests, setup, NULL);
}
