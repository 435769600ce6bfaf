// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "overload.h"
#include <cmocka.h>

#define US 1000u

static void turns(struct overload *o, unsigned n, bool full, uint32_t established, uint64_t *now_ns)
{
	for (unsigned i = 0; i < n; i++) {
		overload_burst(o, full ? 256 : 100);
		o->n_established = established;
		*now_ns += 20 * US;
		overload_turn(o, full, *now_ns);
	}
}

static void eight_full_turns_are_too_much(void **state)
{
	struct overload o;
	uint64_t now = 0;

	overload_init(&o);
	assert_false(o.limits);
	turns(&o, 7, true, 200, &now);
	assert_false(o.limits);
	turns(&o, 1, true, 200, &now);
	assert_true(o.limits);
}

static void a_turn_that_was_not_full_begins_anew(void **state)
{
	struct overload o;
	uint64_t now = 0;

	overload_init(&o);
	for (unsigned i = 0; i < 10; i++) {
		turns(&o, 7, true, 200, &now);
		turns(&o, 1, false, 200, &now);
		assert_false(o.limits);
	}
}

// However many there are: a crowd that came while the worker was elsewhere.
static void full_turns_within_a_moment_are_none(void **state)
{
	struct overload o;

	overload_init(&o);
	for (unsigned i = 0; i < 1000; i++) {
		o.n_established = 1;
		overload_turn(&o, true, 99 * US * i / 1000);
		assert_false(o.limits);
	}
}

static void without_established_packets_nobody_is_kept_out(void **state)
{
	struct overload o;
	uint64_t now = 0;

	overload_init(&o);
	turns(&o, 100, true, 0, &now);
	assert_false(o.limits);
	turns(&o, 8, true, 1, &now);
	assert_true(o.limits);
	turns(&o, 1, true, 0, &now);
	assert_false(o.limits);
}

static void a_few_may_always_open_and_afterwards_all(void **state)
{
	struct overload o;
	uint64_t now = 0;
	unsigned n = 0;

	overload_init(&o);
	turns(&o, 1000, true, 200, &now);
	while (overload_take(&o))
		;
	for (unsigned i = 0; i < 100; i++) {
		overload_burst(&o, 256);
		for (n = 0; overload_take(&o); n++)
			;
		assert_int_equal(n, OVERLOAD_LEAST);
	}
	for (unsigned i = 0; i < 256 / OVERLOAD_LEAST; i++) {
		assert_false(overload_take(&o));
		overload_burst(&o, 1); // small bursts add up
	}
	overload_burst(&o, 1);
	assert_true(overload_take(&o));
	turns(&o, 600, false, 200, &now);
	assert_false(o.limits);
	for (unsigned i = 0; i < 100000; i++)
		assert_true(overload_take(&o));
}

// What was not opened is not saved up.
static void no_more_than_one_burst_has_is_saved(void **state)
{
	struct overload o;
	uint64_t now = 0;
	unsigned n = 0;

	overload_init(&o);
	turns(&o, 1000, true, 200, &now);
	for (unsigned i = 0; i < 1000; i++)
		overload_burst(&o, 256);
	while (overload_take(&o))
		n++;
	assert_int_equal(n, OVERLOAD_LEAST);
}

// ---- a worker and its device's queue, in clocks of 2.6 GHz

struct sim {
	struct overload o;
	double now, established, fresh; // queued
	double lost_established, done_established, opened, refused; // since `count`
};

#define QUEUE 1024.0
#define HZ 2.6e9

// One turn: up to 256 of what waits, as it is mixed; an established packet costs 70 clocks, one that
// opens a session 700, one that is refused 140.
static void sim_turn(struct sim *s, double established_pps, double fresh_pps)
{
	const double waiting = s->established + s->fresh;
	const double n = waiting < 256 ? (unsigned)waiting : 256; // whole packets
	const double e = waiting > 0 ? s->established / waiting * n : 0, f = n - e;
	double opens = 0, clocks, e_in, f_in, over;

	overload_burst(&s->o, (unsigned)n);
	while (opens < f && overload_take(&s->o))
		opens += f - opens < 1 ? f - opens : 1;
	clocks = 200 + e * 70 + opens * 700 + (f - opens) * 140;
	e_in = established_pps * clocks / HZ;
	f_in = fresh_pps * clocks / HZ;
	s->established -= e;
	s->fresh -= f;
	s->done_established += e;
	s->opened += opens;
	s->refused += f - opens;
	s->now += clocks;
	over = s->established + s->fresh + e_in + f_in - QUEUE;
	if (over > 0) { // the newest are lost
		const double share = over / (e_in + f_in);

		s->lost_established += share * e_in;
		e_in -= share * e_in;
		f_in -= share * f_in;
	}
	s->established += e_in;
	s->fresh += f_in;
	s->o.n_established = (uint32_t)(e + 0.5);
	overload_turn(&s->o, n >= 256, (uint64_t)(s->now / HZ * 1e9));
}

static struct sim simulate(double established_pps, double fresh_pps)
{
	struct sim s = {.now = 0};
	double begin;

	overload_init(&s.o);
	while (s.now < 0.005 * HZ)
		sim_turn(&s, established_pps, fresh_pps);
	s.lost_established = s.done_established = s.opened = s.refused = 0;
	begin = s.now;
	while (s.now < begin + 0.05 * HZ)
		sim_turn(&s, established_pps, fresh_pps);
	s.opened /= (s.now - begin) / HZ;
	return s;
}

// Sessions per second that could be opened in what established packets leave of the time.
static double most(double established_pps, double fresh_pps)
{
	const double opens = (HZ - established_pps * 70 - fresh_pps * 140) / (700 - 140);

	return opens < fresh_pps ? opens : fresh_pps;
}

static void established_packets_lose_nothing_to_a_flood_of_new_ones(void **state)
{
	static const double established[] = {1e6, 5e6, 10e6, 18e6},
			    flood[] = {0.5e6, 2e6, 4e6, 7e6};

	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 4; j++) {
			const double could = most(established[i], flood[j]);
			const struct sim s = simulate(established[i], flood[j]);

			if (could < 0.1e6)
				continue; // more than the worker could do without opening any
			assert_true(s.lost_established == 0);
			assert_true(s.opened > 0.9 * could);
		}
	}
}

// What the worker cannot do in any case: it does what it can.
static void beyond_its_capacity_it_forwards_its_maximum(void **state)
{
	const struct sim s = simulate(40e6, 1e6);

	assert_true(s.done_established > 0.82 * 0.05 * HZ / 70);
	assert_true(s.opened > 0.4e6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(eight_full_turns_are_too_much),
		cmocka_unit_test(a_turn_that_was_not_full_begins_anew),
		cmocka_unit_test(full_turns_within_a_moment_are_none),
		cmocka_unit_test(without_established_packets_nobody_is_kept_out),
		cmocka_unit_test(a_few_may_always_open_and_afterwards_all),
		cmocka_unit_test(no_more_than_one_burst_has_is_saved),
		cmocka_unit_test(established_packets_lose_nothing_to_a_flood_of_new_ones),
		cmocka_unit_test(beyond_its_capacity_it_forwards_its_maximum),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
