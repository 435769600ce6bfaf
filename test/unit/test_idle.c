// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "idle.h"
#include <cmocka.h>

#define TURN_NS 100u

static struct idle made(enum cgn_idle idle, bool share_cpus)
{
	struct idle i;

	idle_init(&i, idle, share_cpus);
	return i;
}

// Turns without work until the first one that ends with a sleep, which is returned. The clock ends
// where it begins. Before it there is nothing but pauses, from the 64th turn on.
static uint32_t until_asleep(struct idle *i, uint64_t *now_ns)
{
	uint32_t rest;

	for (unsigned turn = 1;; turn++) {
		*now_ns += TURN_NS;
		rest = idle_turn(i, false, *now_ns);
		if (rest > IDLE_PAUSE)
			return rest;
		assert_int_equal(rest, turn < IDLE_TURNS ? IDLE_GO_ON : IDLE_PAUSE);
	}
}

static void polling_never_rests(void **state)
{
	struct idle i = made(CGN_IDLE_POLL, false), shared = made(CGN_IDLE_POLL, true);

	for (uint64_t now = 0; now < 10000000000ull; now += 10000000) {
		assert_int_equal(idle_turn(&i, false, now), IDLE_GO_ON);
		assert_int_equal(idle_turn(&shared, false, now), IDLE_GO_ON);
	}
}

static void the_first_sleep_comes_after_a_millisecond(void **state)
{
	struct idle i = made(CGN_IDLE_RELAX, false);
	uint64_t now = 5000000000ull;

	assert_int_equal(idle_turn(&i, true, now), IDLE_GO_ON);
	assert_int_equal(until_asleep(&i, &now), IDLE_SLEEP_MIN_NS);
	assert_int_equal(now, 5000000000ull + IDLE_PATIENCE_NS);
}

static void with_shared_cpus_it_comes_soon(void **state)
{
	struct idle i = made(CGN_IDLE_RELAX, true);
	uint64_t now = 0;

	assert_int_equal(idle_turn(&i, true, now), IDLE_GO_ON);
	assert_int_equal(until_asleep(&i, &now), IDLE_SLEEP_MIN_NS);
	assert_int_equal(now, IDLE_PATIENCE_SHARED_NS);
}

static void sleeps_grow_to_30_us(void **state)
{
	static const uint32_t want[] = {20000, 30000, 30000, 30000};
	struct idle i = made(CGN_IDLE_RELAX, false);
	uint64_t now = 0;

	now += until_asleep(&i, &now);
	for (unsigned k = 0; k < sizeof(want) / sizeof(*want); k++) {
		assert_int_equal(idle_turn(&i, false, now), want[k]);
		now += want[k];
	}
}

static void work_ends_it_all(void **state)
{
	struct idle i = made(CGN_IDLE_RELAX, false);
	uint64_t now = 0, work;

	for (unsigned k = 0; k < 10; k++)
		now += until_asleep(&i, &now) + 1000000;
	work = now;
	assert_int_equal(idle_turn(&i, true, now), IDLE_GO_ON);
	assert_int_equal(until_asleep(&i, &now), IDLE_SLEEP_MIN_NS);
	assert_int_equal(now - work, IDLE_PATIENCE_NS);
}

// A packet each 999 us: always awake.
static void a_thousand_packets_a_second_keep_it_awake(void **state)
{
	struct idle i = made(CGN_IDLE_RELAX, false);

	for (uint64_t now = 0; now < 100000000; now += TURN_NS) {
		const bool work = now % 999000 < TURN_NS;

		assert_true(idle_turn(&i, work, now) <= IDLE_PAUSE);
	}
}

// Long turns, as on a CPU that others use: it takes 64 of them, however long they are.
static void a_few_long_turns_are_not_idle(void **state)
{
	struct idle i = made(CGN_IDLE_RELAX, false);
	uint64_t now = 0;

	assert_int_equal(idle_turn(&i, true, now), IDLE_GO_ON);
	for (unsigned k = 1; k < IDLE_TURNS; k++)
		assert_int_equal(idle_turn(&i, false, now += 1000000), IDLE_GO_ON);
	assert_int_equal(idle_turn(&i, false, now += 1000000), IDLE_SLEEP_MIN_NS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(polling_never_rests),
		cmocka_unit_test(the_first_sleep_comes_after_a_millisecond),
		cmocka_unit_test(with_shared_cpus_it_comes_soon),
		cmocka_unit_test(sleeps_grow_to_30_us),
		cmocka_unit_test(work_ends_it_all),
		cmocka_unit_test(a_thousand_packets_a_second_keep_it_awake),
		cmocka_unit_test(a_few_long_turns_are_not_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
