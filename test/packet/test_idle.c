// SPDX-License-Identifier: BSD-3-Clause
// When a worker with runtime.idle: relax sleeps between its turns, and when something keeps it awake.
// Nothing sleeps here: worker_rest() only says for how long it would.
#include "bed.h"
#include "walk.h"

// Turns of worker 0 until it would sleep, but `max`. Returns for how long, or 0.
static uint32_t rest_within(unsigned max)
{
	struct worker *w = bed.worker[0];

	for (unsigned i = 0; i < max; i++) {
		const uint32_t rest = worker_rest(w, worker_poll(w, bed.now_ns), bed.now_ns);

		if (rest > IDLE_PAUSE)
			return rest;
		bed.now_ns += 1000;
	}
	return 0;
}

static void open_bed(unsigned workers, bool manual_arp)
{
	BED(.workers = workers, .manual_arp = manual_arp);
	idle_init(&bed.worker[0]->idle, CGN_IDLE_RELAX, false);
}

static void a_worker_without_work_sleeps(void **state)
{
	open_bed(1, false);
	assert_int_equal(rest_within(1002), IDLE_SLEEP_MIN_NS);
	assert_int_equal(rest_within(1), 2 * IDLE_SLEEP_MIN_NS);
	bed_put(INSIDE, udp(at(ALICE, 1), at(S1, 53)));
	assert_int_equal(rest_within(1), 0);
	assert_int_equal(rest_within(990), 0);
	assert_int_equal(rest_within(20), IDLE_SLEEP_MIN_NS);
	bed_run();
	expect_frame(OUTSIDE);
}

static void a_held_packet_keeps_it_awake(void **state)
{
	open_bed(1, true);
	bed_put(INSIDE, udp(at(ALICE, 1), at(S1, 53))); // the router's MAC address is not known
	assert_int_equal(rest_within(5000), 0);
	assert_int_equal(gauge(held), 1);
	bed_wait(5); // given up
	assert_int_equal(gauge(held), 0);
	assert_int_equal(rest_within(1002), IDLE_SLEEP_MIN_NS);
}

static void a_packet_in_a_ring_keeps_it_awake(void **state)
{
	uint32_t host = ALICE;

	open_bed(2, false);
	while (steer_internal(bed.worker[0]->snapshot, host) != 0)
		host++;
	const struct frame f = udp(at(host, 1), at(S1, 53));
	const struct endpoint x = source_of(pass_out(f));

	assert_int_equal(rest_within(1002), IDLE_SLEEP_MIN_NS);
	bed_put(OUTSIDE, udp(at(S1, 53), x)); // received by worker 1, owned by worker 0
	bed_poll(1);
	assert_int_equal(worker_rest(bed.worker[0], 0, bed.now_ns), IDLE_GO_ON);
	assert_int_equal(rest_within(900), 0);
	bed_run();
	expect_frame(INSIDE);
}

static void a_question_of_control_keeps_it_awake(void **state)
{
	const struct cgn_filter none = {0};
	struct worker_walk *walk;

	open_bed(1, false);
	pass_out(udp(at(ALICE, 1), at(S1, 53)));
	assert_int_equal(rest_within(1002), IDLE_SLEEP_MIN_NS);
	walk = bed_walk_start(0, CGN_WALK_SESSIONS, &none);
	assert_int_equal(worker_rest(bed.worker[0], 0, bed.now_ns), IDLE_GO_ON);
	assert_int_equal(rest_within(2), 0);
	struct cgn_walk_record record;

	assert_true(bed_walk_take(walk, &record));
	while (bed_walk_take(walk, &record))
		;
	assert_int_equal(rest_within(1002), IDLE_SLEEP_MIN_NS);
	free(walk);
}

// Sessions that end at the same time: no sleep until the last one is done.
static void timers_that_are_due_keep_it_awake(void **state)
{
	open_bed(1, false);
	for (unsigned i = 0; i < 200; i++)
		pass_out(udp(at(ALICE + i % 8, 1 + i), at(S1, 53)));
	bed.now_ns += 299000000000ull;
	rest_within(1002);
	bed.now_ns += 3000000000ull;
	while (gauge(sessions))
		assert_int_equal(rest_within(1), 0);
}

BED_MAIN(TEST(a_worker_without_work_sleeps), TEST(a_held_packet_keeps_it_awake),
	TEST(a_packet_in_a_ring_keeps_it_awake), TEST(a_question_of_control_keeps_it_awake),
	TEST(timers_that_are_due_keep_it_awake))
