// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mem_malloc.h"
#include "rng.h"
#include "timers.h"
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#define N 1000u

static struct timers timers_at(uint32_t now_s)
{
	struct timers w;

	assert_int_equal(timers_init(&w, N, now_s, -1), 0);
	return w;
}

// Takes out what is due at now_s, `max` items per call. Returns how many.
static uint32_t drain(struct timers *w, uint32_t now_s, uint32_t max, uint8_t times_out[N])
{
	uint32_t items[N], n, total = 0;

	memset(times_out, 0, N);
	do {
		n = timers_due(w, now_s, items, max);
		for (uint32_t i = 0; i < n; i++) {
			assert_true(items[i] < N);
			assert_false(timers_is_armed(w, items[i]));
			times_out[items[i]]++;
		}
		total += n;
	} while (n == max);
	return total;
}

static void an_item_comes_out_in_its_second_and_not_before(void **state)
{
	static const uint32_t starts[] = {0, 1, 8191, 1000000, UINT32_MAX - 100, UINT32_MAX};
	uint8_t out[N];

	for (unsigned s = 0; s < sizeof(starts) / sizeof(*starts); s++) {
		struct timers w = timers_at(starts[s]);

		for (uint32_t i = 0; i < N; i++)
			timers_arm(&w, i, starts[s] + 1 + i * 8);
		for (uint32_t t = 1; t <= 8 * N; t++) {
			uint32_t n = drain(&w, starts[s] + t, 10, out);

			assert_int_equal(n, t % 8 == 1);
			if (n)
				assert_int_equal(out[t / 8], 1);
		}
		timers_fini(&w);
	}
}

static void a_deadline_in_the_past_comes_out_in_the_next_second(void **state)
{
	struct timers w = timers_at(500);
	uint8_t out[N];

	timers_arm(&w, 1, 500);
	timers_arm(&w, 2, 499);
	timers_arm(&w, 3, 0);
	timers_arm(&w, 4, 501);
	assert_int_equal(drain(&w, 500, 10, out), 0);
	assert_int_equal(drain(&w, 501, 10, out), 4);
	timers_fini(&w);
}

static void a_deadline_out_of_reach_comes_out_early_and_is_armed_again(void **state)
{
	const uint32_t deadline = 100 + 3 * TIMERS_REACH + 17;
	struct timers w = timers_at(100);
	uint32_t n_early = 0, item;

	timers_arm(&w, 7, deadline);
	for (uint32_t t = 101; t < deadline; t++) {
		if (!timers_due(&w, t, &item, 1))
			continue;
		assert_int_equal(item, 7);
		n_early++;
		timers_arm(&w, 7, deadline);
	}
	assert_int_equal(n_early, 3);
	assert_int_equal(timers_due(&w, deadline, &item, 1), 1);
	timers_fini(&w);
}

static void the_last_second_in_reach_is_exact(void **state)
{
	struct timers w = timers_at(100);
	uint32_t item;

	timers_arm(&w, 7, 100 + TIMERS_REACH);
	assert_int_equal(timers_due(&w, 100 + TIMERS_REACH - 1, &item, 1), 0);
	assert_int_equal(timers_due(&w, 100 + TIMERS_REACH, &item, 1), 1);
	timers_fini(&w);
}

static void slices_of_any_size_take_out_everything_once(void **state)
{
	uint8_t out[N];

	for (uint32_t max = 1; max < 70; max += 3) {
		struct timers w = timers_at(100);

		for (uint32_t i = 0; i < N; i++)
			timers_arm(&w, i, 101 + i % 7);
		assert_int_equal(drain(&w, 107, max, out), N);
		for (uint32_t i = 0; i < N; i++)
			assert_int_equal(out[i], 1);
		assert_int_equal(drain(&w, 107 + TIMERS_REACH, max, out), 0);
		timers_fini(&w);
	}
}

static void an_unfinished_second_is_finished_later_and_takes_no_newcomers(void **state)
{
	struct timers w = timers_at(100);
	uint32_t items[4];
	uint8_t out[N];

	for (uint32_t i = 0; i < 7; i++)
		timers_arm(&w, i, 101);
	assert_int_equal(timers_due(&w, 101, items, 4), 4);
	timers_arm(&w, items[0], 101); // looked at, and put back for the second that is under way
	timers_disarm(&w, 6); // first and last of what is left
	timers_disarm(&w, 4);
	assert_int_equal(drain(&w, 101, 4, out), 1);
	assert_int_equal(out[5], 1);
	assert_int_equal(drain(&w, 102, 4, out), 1);
	assert_int_equal(out[items[0]], 1);
	timers_fini(&w);
}

static void a_jump_out_of_reach_loses_nothing(void **state)
{
	static const uint32_t jumps[] = {TIMERS_REACH - 2, TIMERS_REACH - 1, TIMERS_REACH,
		TIMERS_REACH + 1, 10 * TIMERS_REACH + 3, 0x7fffffff};
	uint8_t out[N];

	for (unsigned j = 0; j < sizeof(jumps) / sizeof(*jumps); j++) {
		struct timers w = timers_at(77);
		uint32_t n_due = 0;

		for (uint32_t i = 0; i < N; i++) {
			uint32_t ahead = 1 + i * (TIMERS_REACH - 2) / (N - 1);

			timers_arm(&w, i, 77 + ahead);
			n_due += ahead <= jumps[j];
		}
		assert_int_equal(drain(&w, 77 + jumps[j], 33, out), n_due);
		for (uint32_t i = 0; i < N; i++)
			assert_true(out[i] <= 1);
		assert_int_equal(w.now_s, 77 + jumps[j]);
		assert_int_equal(drain(&w, 77 + jumps[j] + 1, 33, out), N - n_due);
		timers_fini(&w);
	}
}

static void a_clock_that_goes_back_does_no_harm(void **state)
{
	struct timers w = timers_at(100);
	uint32_t item;

	timers_arm(&w, 7, 103);
	assert_int_equal(timers_due(&w, 50, &item, 1), 0);
	assert_int_equal(timers_due(&w, 103, &item, 1), 1);
	timers_fini(&w);
}

static void a_disarmed_item_does_not_come_out_and_its_neighbours_do(void **state)
{
	uint8_t out[N];

	for (uint32_t gone = 0; gone < 3; gone++) { // last, middle, first of its slot
		struct timers w = timers_at(100);

		for (uint32_t i = 0; i < 3; i++)
			timers_arm(&w, i, 105);
		assert_true(timers_is_armed(&w, gone));
		timers_disarm(&w, gone);
		assert_false(timers_is_armed(&w, gone));
		assert_int_equal(drain(&w, 105, 10, out), 2);
		assert_int_equal(out[gone], 0);
		timers_fini(&w);
	}
}

static void a_replaced_item_leaves_its_place_to_the_other(void **state)
{
	uint8_t out[N];

	for (uint32_t from = 0; from < 3; from++) {
		struct timers w = timers_at(100);

		for (uint32_t i = 0; i < 3; i++)
			timers_arm(&w, i, 105);
		timers_replace(&w, from, 9);
		assert_true(timers_is_armed(&w, 9) && !timers_is_armed(&w, from));
		timers_arm(&w, from, 106);
		assert_int_equal(drain(&w, 105, 10, out), 3);
		assert_int_equal(out[9], 1);
		assert_int_equal(out[from], 0);
		assert_int_equal(drain(&w, 106, 10, out), 1);
		timers_fini(&w);
	}
}

static void a_replaced_item_that_is_due_is_not_lost_behind_the_hand(void **state)
{
	static const uint32_t jumps[] = {5, TIMERS_REACH + 2, 30000};

	for (unsigned j = 0; j < sizeof(jumps) / sizeof(*jumps); j++) {
		struct timers w = timers_at(100);
		uint32_t item, now = 100 + jumps[j];

		timers_arm(&w, 1, 103);
		timers_arm(&w, 900, 103);
		assert_int_equal(timers_due(&w, now, &item, 1), 1);
		assert_int_equal(item, 1);
		timers_replace(&w, 900, 1);
		assert_int_equal(timers_due(&w, now, &item, 1), 0);
		assert_true(timers_all_out(&w));
		assert_int_equal(timers_due(&w, now + 1, &item, 1), 1);
		assert_int_equal(item, 1);
		timers_fini(&w);
	}
}

static void a_large_table_is_swept_in_slices(void **state)
{
	const uint32_t n = 3 * TIMERS_SCAN + 5;
	struct timers t;
	uint32_t items[8], n_calls = 0;

	assert_int_equal(timers_init(&t, n, 100, -1), 0);
	for (uint32_t i = 0; i < n; i++)
		timers_arm(&t, i, i + 1 < n ? 500 : 101);
	do {
		uint32_t n_due = timers_due(&t, 101, items, 8);

		n_calls++;
		assert_int_equal(n_due, timers_all_out(&t));
	} while (!timers_all_out(&t));
	assert_int_equal(items[0], n - 1);
	assert_int_equal(n_calls, 4);
	timers_fini(&t);
}

// The obvious timers: a deadline per item.
static void random_use_agrees_with_a_list_of_deadlines(void **state)
{
	uint32_t deadline[N], early[N], now = UINT32_MAX - 20000; // the clock wraps in between
	bool armed[N] = {false};
	struct timers w = timers_at(now);
	struct rng rng;

	rng_init(&rng, (const uint8_t *)"timer tests: 32 bytes are a key.");
	for (unsigned step = 0; step < 20000; step++) {
		uint8_t out[N];

		for (unsigned i = 0; i < 10; i++) {
			uint32_t item = rng_below(&rng, N);

			if (armed[item])
				timers_disarm(&w, item);
			armed[item] = !armed[item];
			if (!armed[item])
				continue;
			deadline[item] = now +
				(rng_below(&rng, 2) ? rng_below(&rng, 50) : rng_below(&rng, 20000));
			early[item] = now + TIMERS_REACH;
			timers_arm(&w, item, deadline[item]);
		}
		now += rng_below(&rng, 500) ? rng_below(&rng, 4) : rng_below(&rng, 20000);
		drain(&w, now, 1 + rng_below(&rng, 40), out);
		for (uint32_t i = 0; i < N; i++) {
			assert_int_equal(timers_is_armed(&w, i), armed[i] && !out[i]);
			if (!out[i])
				assert_true(!armed[i] || (int32_t)(deadline[i] - now) >= 0);
			else
				assert_true(armed[i] &&
					((int32_t)(now - deadline[i]) >= 0 ||
						(int32_t)(now - early[i]) >= 0));
			if (out[i])
				armed[i] = false;
		}
	}
	timers_fini(&w);
}

static void no_memory_is_told(void **state)
{
	struct timers w;

	mem_malloc_fail_at = 1;
	assert_int_equal(timers_init(&w, N, 0, -1), -ENOMEM);
	assert_int_equal(mem_malloc_n_live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_item_comes_out_in_its_second_and_not_before),
		cmocka_unit_test(a_deadline_in_the_past_comes_out_in_the_next_second),
		cmocka_unit_test(a_deadline_out_of_reach_comes_out_early_and_is_armed_again),
		cmocka_unit_test(the_last_second_in_reach_is_exact),
		cmocka_unit_test(slices_of_any_size_take_out_everything_once),
		cmocka_unit_test(an_unfinished_second_is_finished_later_and_takes_no_newcomers),
		cmocka_unit_test(a_jump_out_of_reach_loses_nothing),
		cmocka_unit_test(a_clock_that_goes_back_does_no_harm),
		cmocka_unit_test(a_disarmed_item_does_not_come_out_and_its_neighbours_do),
		cmocka_unit_test(a_replaced_item_leaves_its_place_to_the_other),
		cmocka_unit_test(a_replaced_item_that_is_due_is_not_lost_behind_the_hand),
		cmocka_unit_test(a_large_table_is_swept_in_slices),
		cmocka_unit_test(random_use_agrees_with_a_list_of_deadlines),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests_name("timers", tests, NULL, NULL);
}
