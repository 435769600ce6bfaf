// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_malloc.h"
#include "portblock.h"
#include "subscriber.h"
#include <cmocka.h>
#include <errno.h>

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};

static struct subscribers table_of(uint32_t n_active_max)
{
	struct subscribers s;

	assert_int_equal(subscribers_init(&s, n_active_max, seed, -1), 0);
	return s;
}

static void a_new_subscriber_is_found_and_has_nothing(void **state)
{
	struct subscribers s = table_of(10);
	uint32_t sub = subscriber_create(&s, 0x64400001, 3);
	const struct subscriber *r = &s.sub[sub];

	assert_int_equal(subscriber_lookup(&s, 0x64400001, 3), sub);
	assert_int_equal(r->address, 0x64400001);
	assert_int_equal(r->pool, 3);
	assert_int_equal(r->paired, PORTBLOCK_NONE);
	assert_int_equal(r->lent, PORTBLOCK_NONE);
	assert_int_equal(r->resting, PORTBLOCK_NONE);
	assert_int_equal(r->n_lent | r->n_resting | r->n_mappings | r->n_sessions, 0);
	assert_true(s.used[sub]);
	assert_int_equal(s.n_records, 1);
	assert_int_equal(s.n_active, 0);
	subscribers_fini(&s);
}

static void an_address_is_another_subscriber_in_another_pool(void **state)
{
	struct subscribers s = table_of(10);
	uint32_t a = subscriber_create(&s, 0x64400001, 0);
	uint32_t b = subscriber_create(&s, 0x64400001, 1);

	assert_int_not_equal(a, b);
	assert_int_equal(subscriber_lookup(&s, 0x64400001, 0), a);
	assert_int_equal(subscriber_lookup(&s, 0x64400001, 1), b);
	assert_int_equal(subscriber_lookup(&s, 0x64400001, 2), SUBSCRIBER_NONE);
	assert_int_equal(subscriber_lookup(&s, 0x64400002, 0), SUBSCRIBER_NONE);
	subscribers_fini(&s);
}

static void a_subscriber_of_equal_hash_is_told_apart(void **state)
{
	struct subscribers s = table_of(10);
	uint32_t sub = subscriber_create(&s, 1, 0);

	// as if these two had the hash of that one
	assert_true(index_insert(&s.index, index_hash(1 | 1ull << 32, s.seed), sub));
	assert_true(index_insert(&s.index, index_hash(2, s.seed), sub));
	assert_int_equal(subscriber_lookup(&s, 1, 1), SUBSCRIBER_NONE);
	assert_int_equal(subscriber_lookup(&s, 2, 0), SUBSCRIBER_NONE);
	assert_int_equal(subscriber_lookup(&s, 1, 0), sub);
	subscribers_fini(&s);
}

static void a_removed_subscriber_is_gone_and_its_record_comes_back_clean(void **state)
{
	struct subscribers s = table_of(10);
	uint32_t sub = subscriber_create(&s, 1, 0);

	s.sub[sub].rate.paid_ns = 7;
	s.sub[sub].drops[CGN_SUBSCRIBER_DROP_ADDRESS_FULL] = 7;
	subscriber_remove(&s, sub);
	assert_int_equal(subscriber_lookup(&s, 1, 0), SUBSCRIBER_NONE);
	assert_false(s.used[sub]);
	assert_int_equal(subscriber_create(&s, 2, 0), sub);
	assert_int_equal(s.sub[sub].rate.paid_ns, 0);
	assert_int_equal(s.sub[sub].drops[CGN_SUBSCRIBER_DROP_ADDRESS_FULL], 0);
	subscribers_fini(&s);
}

static void there_is_room_for_twice_the_active_ones(void **state)
{
	struct subscribers s = table_of(500);

	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t i = 0; i < 1000; i++)
			assert_int_not_equal(
				subscriber_create(&s, round * 1000 + i, 0), SUBSCRIBER_NONE);
		assert_int_equal(subscriber_create(&s, 99999, 0), SUBSCRIBER_NONE);
		assert_int_equal(s.top, 1000);
		for (uint32_t i = 0; i < 1000; i++)
			subscriber_remove(
				&s, subscriber_lookup(&s, round * 1000 + (i * 7) % 1000, 0));
		assert_int_equal(s.n_records, 0);
		assert_int_equal(s.index.n_entries, 0);
	}
	subscribers_fini(&s);
}

static void records_are_used_again_before_new_ones(void **state)
{
	struct subscribers s = table_of(100);

	for (uint32_t i = 0; i < 10; i++)
		subscriber_create(&s, i, 0);
	for (uint32_t i = 0; i < 5; i++)
		subscriber_remove(&s, subscriber_lookup(&s, 2 * i, 0));
	for (uint32_t i = 0; i < 5; i++)
		assert_true(subscriber_create(&s, 100 + i, 0) < 10);
	assert_int_equal(s.top, 10);
	assert_int_equal(subscriber_create(&s, 200, 0), 10);
	subscribers_fini(&s);
}

static void no_memory_is_told_and_nothing_leaks(void **state)
{
	struct subscribers s;

	for (uint32_t i = 1; i <= 4; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(subscribers_init(&s, 100, seed, -1), -ENOMEM);
		mem_malloc_fail_at = 0;
		assert_int_equal(mem_malloc_n_live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_subscriber_is_found_and_has_nothing),
		cmocka_unit_test(an_address_is_another_subscriber_in_another_pool),
		cmocka_unit_test(a_subscriber_of_equal_hash_is_told_apart),
		cmocka_unit_test(a_removed_subscriber_is_gone_and_its_record_comes_back_clean),
		cmocka_unit_test(there_is_room_for_twice_the_active_ones),
		cmocka_unit_test(records_are_used_again_before_new_ones),
		cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
	};

	return cmocka_run_group_tests_name("subscriber", tests, NULL, NULL);
}
