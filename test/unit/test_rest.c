// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_malloc.h"
#include "rest.h"
#include <cmocka.h>
#include <errno.h>

#define HOLD 120u
#define N_BLOCKS 64
#define KEY(port) ((uint64_t)(port) << 32) // of subscriber 0, UDP
#define KEY_OF(sub, port) (KEY(port) | (sub))

static struct portblock block[N_BLOCKS]; // all of subscriber 0, but where a test says otherwise
static const struct portblocks blocks = {.block = block, .n_blocks = N_BLOCKS};

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};

static struct rest rest_of(uint32_t n_max)
{
	struct rest r;

	assert_int_equal(rest_init(&r, n_max, &blocks, seed, -1), 0);
	return r;
}

static void put(struct rest *r, uint64_t key, uint16_t port, uint32_t now_s)
{
	struct rest_port early;

	assert_false(rest_put(r, key, port / 16, port, now_s, &early));
}

static void a_port_rests_120s_and_comes_out_once(void **state) // RFC 6888 REQ-8
{
	struct rest r = rest_of(10);
	struct rest_port out;

	put(&r, KEY(5), 1000, 10);
	assert_int_equal(r.n_live, 1);
	assert_false(rest_due(&r, 10 + HOLD - 1, HOLD, &out));
	assert_true(rest_due(&r, 10 + HOLD, HOLD, &out));
	assert_int_equal(out.port, 1000);
	assert_int_equal(out.block, 1000 / 16);
	assert_int_equal(out.key, KEY(5));
	assert_int_equal(out.since_s, 10);
	assert_false(rest_due(&r, 10 + HOLD, HOLD, &out));
	assert_false(rest_take(&r, KEY(5), &out));
	assert_int_equal(r.n_live, 0);
	rest_fini(&r);
}

static void ports_come_out_oldest_first(void **state)
{
	struct rest r = rest_of(100);
	struct rest_port out;

	for (uint16_t i = 0; i < 100; i++)
		put(&r, KEY(i), i, UINT32_MAX - 50 + i); // the clock wraps
	for (uint16_t i = 0; i < 100; i++) {
		assert_false(rest_due(&r, UINT32_MAX - 50 + HOLD + i - 1, HOLD, &out));
		assert_true(rest_due(&r, UINT32_MAX - 50 + HOLD + i, HOLD, &out));
		assert_int_equal(out.port, i);
	}
	rest_fini(&r);
}

static void an_endpoint_gets_its_own_port_back_and_nobody_elses(void **state)
{
	struct rest r = rest_of(100);
	struct rest_port out;

	for (uint16_t i = 0; i < 50; i++)
		put(&r, KEY(i), i, 10);
	assert_false(rest_take(&r, KEY_OF(4, 7), &out)); // another subscriber
	assert_false(rest_take(&r, KEY(7) | 1ull << 48, &out)); // another protocol
	assert_false(rest_take(&r, KEY(50), &out));
	assert_false(rest_find(&r, KEY_OF(4, 7), &out));
	assert_true(rest_find(&r, KEY(7), &out)); // leaves it where it is
	assert_int_equal(out.port, 7);
	assert_int_equal(r.n_live, 50);
	assert_true(rest_take(&r, KEY(7), &out));
	assert_int_equal(out.port, 7);
	assert_false(rest_take(&r, KEY(7), &out));
	for (uint16_t i = 0; i < 50; i++) {
		if (i == 7)
			continue;
		assert_true(rest_due(&r, 10 + HOLD, HOLD, &out));
		assert_int_equal(out.port, i);
	}
	assert_false(rest_due(&r, 10 + HOLD, HOLD, &out));
	rest_fini(&r);
}

static void a_full_table_lets_the_oldest_go_early(void **state)
{
	struct rest r = rest_of(3);
	struct rest_port out;

	for (uint16_t i = 0; i < 3; i++)
		put(&r, KEY(i), i, 10 + i);
	assert_true(rest_put(&r, KEY(3), 0, 3, 13, &out));
	assert_int_equal(out.key, KEY(0));
	assert_int_equal(r.n_live, 3);
	assert_false(rest_take(&r, KEY(0), &out));
	assert_true(rest_take(&r, KEY(2), &out)); // a hole between two
	assert_true(rest_put(&r, KEY(4), 0, 4, 14, &out));
	assert_int_equal(out.key, KEY(1));
	assert_int_equal(r.n_live, 2);
	put(&r, KEY(5), 5, 15); // the hole is the oldest now
	assert_int_equal(r.n_live, 3);
	assert_true(rest_put(&r, KEY(6), 0, 6, 16, &out));
	assert_int_equal(out.key, KEY(3));
	rest_fini(&r);
}

static void holes_are_passed_over_in_bounded_steps(void **state)
{
	struct rest r = rest_of(1000);
	struct rest_port out, due[8];
	uint32_t looks = 0;

	for (uint16_t i = 0; i < 1000; i++)
		put(&r, KEY(i), i, 10);
	for (uint16_t i = 1; i < 999; i++)
		assert_true(rest_take(&r, KEY(i), &out));
	assert_int_equal(rest_look(&r, 10 + HOLD - 1, HOLD, due, 8), 0);
	assert_int_equal(rest_look(&r, 10 + HOLD, HOLD, due, 8), 1);
	assert_int_equal(due[0].port, 0);
	assert_true(rest_due(&r, 10 + HOLD, HOLD, &out));
	assert_false(rest_at(&r, 0, &out));
	while (!rest_look(&r, 10 + HOLD, HOLD, due, 8))
		looks++;
	assert_in_range(looks, 5, 20);
	assert_int_equal(due[0].port, 999);
	assert_true(rest_due(&r, 10 + HOLD, HOLD, &out));
	assert_int_equal(out.port, 999);
	assert_int_equal(r.n_held, 0);
	for (uint16_t i = 0; i < 1000; i++) // all places are free again
		put(&r, KEY(i), i, 20);
	rest_fini(&r);
}

static void portless_protocols_have_keys_of_their_own(void **state)
{
	const uint64_t gre = rest_key(1, 47ull << 48 | 99), esp = rest_key(1, 50ull << 48 | 99);
	const uint64_t query = rest_key(1, 1ull << 48 | 47ull << 32 | 99);
	struct rest r = rest_of(3);
	struct rest_port out;

	block[1].sub = 1;
	assert_true(gre != esp && gre != query && esp != query);
	put(&r, gre, 17, 10);
	assert_false(rest_take(&r, esp, &out));
	assert_false(rest_take(&r, query, &out));
	assert_true(rest_take(&r, gre, &out));
	assert_int_equal(rest_l4(&out), CGN_L4_ICMP);
	block[1].sub = 0;
	rest_fini(&r);
}

static void a_table_of_one_works(void **state)
{
	struct rest r = rest_of(1);
	struct rest_port out;

	put(&r, KEY(1), 1, 10);
	for (uint16_t i = 2; i < 50; i++) {
		assert_true(rest_put(&r, KEY(i), 0, i, 10, &out));
		assert_int_equal(out.key, KEY(i - 1));
	}
	assert_int_equal(r.n_held, 1);
	assert_true(rest_take(&r, KEY(49), &out));
	assert_false(rest_due(&r, 10 + HOLD, HOLD, &out));
	rest_fini(&r);
}

static void many_ports_of_one_key_all_come_out(void **state) // more than the index can hold
{
	struct rest r = rest_of(200);
	struct rest_port out;
	uint32_t n_taken = 0, n_due = 0;

	for (uint16_t i = 0; i < 100; i++)
		put(&r, KEY(9), i, 10);
	while (n_taken <= 100 && rest_take(&r, KEY(9), &out))
		n_taken++;
	assert_true(n_taken >= INDEX_SLOTS);
	while (rest_due(&r, 10 + HOLD, HOLD, &out))
		n_due++;
	assert_int_equal(n_taken + n_due, 100);
	assert_int_equal(r.n_live, 0);
	assert_int_equal(r.index.n_entries, 0);
	rest_fini(&r);
}

static void an_endpoint_of_equal_hash_gets_nothing(void **state)
{
	struct rest r = rest_of(10);
	struct rest_port out;

	put(&r, KEY(1), 1000, 10);
	for (uint64_t i = 2; i < 4; i++) { // as if they had the hash of KEY(1)
		const uint64_t key = i == 2 ? KEY(2) : KEY_OF(2, 1);

		assert_true(index_insert(&r.index, index_hash(key, r.seed), 0));
		assert_false(rest_take(&r, key, &out));
	}
	assert_true(rest_take(&r, KEY(1), &out));
	rest_fini(&r);
}

static void without_hold_down_a_port_is_due_at_once(void **state)
{
	struct rest r = rest_of(3);
	struct rest_port out;

	put(&r, KEY(1), 1, 10);
	assert_true(rest_due(&r, 10, 0, &out));
	rest_fini(&r);
}

static void no_memory_is_told(void **state)
{
	struct rest r;

	for (uint32_t i = 1; i <= 2; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(rest_init(&r, 100, &blocks, seed, -1), -ENOMEM);
		assert_int_equal(mem_malloc_n_live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_port_rests_120s_and_comes_out_once),
		cmocka_unit_test(ports_come_out_oldest_first),
		cmocka_unit_test(an_endpoint_gets_its_own_port_back_and_nobody_elses),
		cmocka_unit_test(a_full_table_lets_the_oldest_go_early),
		cmocka_unit_test(holes_are_passed_over_in_bounded_steps),
		cmocka_unit_test(portless_protocols_have_keys_of_their_own),
		cmocka_unit_test(a_table_of_one_works),
		cmocka_unit_test(many_ports_of_one_key_all_come_out),
		cmocka_unit_test(an_endpoint_of_equal_hash_gets_nothing),
		cmocka_unit_test(without_hold_down_a_port_is_due_at_once),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests_name("rest", tests, NULL, NULL);
}
