// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include "mem_malloc.h"
#include "syn.h"
#include <cmocka.h>
#include <errno.h>

#define SEC(s) ((s)*1000000000ull)

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};

static struct syn_store store(void)
{
	struct syn_store s;

	assert_int_equal(syn_init(&s, seed, -1), 0);
	return s;
}

static bool put(struct syn_store *s, uint64_t key, uint64_t remote, uint64_t now_ns)
{
	uint8_t packet[200];

	for (unsigned i = 0; i < sizeof(packet); i++)
		packet[i] = (uint8_t)(i + key);
	return syn_put(s, key, remote, packet, (uint16_t)(40 + key), 3, now_ns);
}

static void a_syn_is_due_after_6_s(void **state)
{
	struct syn_store s = store();
	const struct syn *e;

	assert_null(syn_due(&s, SEC(100)));
	assert_true(put(&s, 7, 9, SEC(10)));
	assert_true(put(&s, 7, 8, SEC(11)));
	assert_null(syn_due(&s, SEC(16) - 1));
	e = syn_due(&s, SEC(16));
	assert_non_null(e);
	assert_true(e->waits);
	assert_int_equal(e->key, 7);
	assert_int_equal(e->remote, 9);
	assert_int_equal(e->len, 47);
	assert_int_equal(e->ifc, 3);
	assert_int_equal(((const uint8_t *)e->quote)[46], 46 + 7);
	assert_null(syn_due(&s, SEC(17) - 1));
	assert_int_equal(syn_due(&s, SEC(17))->remote, 8);
	assert_null(syn_due(&s, SEC(1000)));
	syn_fini(&s);
}

static void a_retransmission_does_not_wait_twice(void **state)
{
	struct syn_store s = store();

	assert_true(put(&s, 7, 9, SEC(10)));
	assert_true(put(&s, 7, 9, SEC(11)));
	assert_non_null(syn_due(&s, SEC(16)));
	assert_null(syn_due(&s, SEC(100)));
	assert_true(put(&s, 7, 9, SEC(101)));
	assert_non_null(syn_due(&s, SEC(107)));
	syn_fini(&s);
}

static void one_that_is_called_off_waits_no_more(void **state)
{
	struct syn_store s = store();

	syn_call_off(&s, 7, 9);
	assert_true(put(&s, 7, 9, SEC(10)));
	assert_true(put(&s, 7, 8, SEC(10)));
	syn_call_off(&s, 8, 9);
	syn_call_off(&s, 7, 10);
	syn_call_off(&s, 7, 9);
	assert_true(put(&s, 7, 9, SEC(12))); // it may come again, and waits anew
	assert_false(syn_due(&s, SEC(16))->waits);
	assert_true(syn_due(&s, SEC(16))->waits);
	assert_null(syn_due(&s, SEC(17)));
	assert_true(syn_due(&s, SEC(18))->waits);
	assert_int_equal(s.index.n_entries, 0);
	syn_fini(&s);
}

static void the_store_takes_so_many_and_no_more(void **state)
{
	struct syn_store s = store();

	s.first = s.end = UINT32_MAX - 5; // the counters go around
	for (unsigned round = 0; round < 3; round++) {
		const uint64_t now = SEC(100 * (round + 1));

		for (uint64_t i = 0; i < SYN_STORE; i++)
			assert_true(put(&s, 7, i, now));
		assert_false(put(&s, 7, SYN_STORE, now + 1));
		assert_true(put(&s, 7, 5, now + 1)); // waits already
		for (uint64_t i = 0; i < SYN_STORE; i++)
			assert_int_equal(syn_due(&s, now + SYN_WAIT_NS)->remote, i);
		assert_null(syn_due(&s, now + SYN_WAIT_NS));
		assert_int_equal(s.index.n_entries, 0);
	}
	syn_fini(&s);
}

static void a_quote_is_cut_at_what_it_can_hold(void **state)
{
	struct syn_store s = store();

	assert_true(put(&s, 100, 9, 0));
	assert_int_equal(syn_due(&s, SEC(6))->len, SYN_QUOTE_MAX);
	syn_fini(&s);
}

static void no_memory_is_told_and_nothing_leaks(void **state)
{
	struct syn_store s;

	for (uint32_t i = 1; i <= 2; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(syn_init(&s, seed, -1), -ENOMEM);
		mem_malloc_fail_at = 0;
		assert_int_equal(mem_malloc_n_live, 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_syn_is_due_after_6_s),
		cmocka_unit_test(a_retransmission_does_not_wait_twice),
		cmocka_unit_test(one_that_is_called_off_waits_no_more),
		cmocka_unit_test(the_store_takes_so_many_and_no_more),
		cmocka_unit_test(a_quote_is_cut_at_what_it_can_hold),
		cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
	};

	return cmocka_run_group_tests_name("syn", tests, NULL, NULL);
}
