// SPDX-License-Identifier: BSD-3-Clause
// More packets than a worker can treat: sessions that are there come first (overload.h). A device
// whose queue is never empty stands for "more than it can treat"; the clock goes 20 us per turn.
#include "bed.h"
#include "flow.h"

#define TURN_NS 20000
#define ESTABLISHED 8 // flows
#define BURST 256

static const struct endpoint server = {S1, 443};
static unsigned next_port; // of new flows: one mapping, ever new remotes

static void open_bed(bool fast)
{
	static const char policies[] =
		"  - {name: cdn, match: {source: [100.64.0.0/10], destination: [198.18.0.0/15]}, action: bypass}\n"
		"  - {name: all, match: {source: [100.64.0.0/10]}}";

	BED(.policies = policies, .sessions = 16384);
	if (!fast)
		bed.worker[0]->fast = NULL;
	for (unsigned i = 0; i < ESTABLISHED; i++)
		pass_out(udp(at(ALICE, 1000 + i), server));
	next_port = 1;
}

static struct frame established(unsigned i)
{
	return udp(at(ALICE, 1000 + i % ESTABLISHED), server);
}

static struct frame new_one(void)
{
	return udp(at(CAROL, 7), at(S2, next_port++));
}

// Frames in the inside device's queue: so many of each kind, mixed.
static void put(unsigned n_established, unsigned n_new)
{
	for (unsigned i = 0, e = 0; i < n_established + n_new; i++) {
		if (e < (i + 1) * n_established / (n_established + n_new))
			bed_put(INSIDE, established(e++));
		else
			bed_put(INSIDE, new_one());
	}
}

static void turn(void)
{
	bed_poll(0);
	bed.now_ns += TURN_NS;
}

// Takes all that came out; how many of it went to `address`.
static unsigned came_out_to(uint32_t address)
{
	unsigned n = 0;
	struct frame f;

	while (bed_take(OUTSIDE, &f))
		n += destination_of(f).address == address;
	return n;
}

// Until the worker is overloaded, and further turns: a flood, whose queue is then treated to its end.
static void flood(unsigned n_turns, unsigned n_established)
{
	put(BURST / 2, BURST / 2); // what waits behind each burst
	for (unsigned i = 0; i < n_turns; i++) {
		put(n_established, BURST - n_established);
		turn();
	}
}

static void established_sessions_lose_nothing_to_a_flood(void **state)
{
	for (unsigned fast = 0; fast < 2; fast++) {
		const unsigned n_turns = 40, n_established = n_turns * 64 + BURST / 2,
			       n_new = n_turns * 192 + BURST / 2;
		uint64_t opened, refused;

		open_bed(fast);
		flood(n_turns, 64);
		bed_run();
		assert_int_equal(came_out_to(S1), n_established);
		opened = bed_sum().sessions_created - ESTABLISHED;
		refused = bed_sum().drops[CGN_DROP_OVERLOAD_NEW];
		assert_int_equal(opened + refused, n_new);
		// the first turns open all; each of the others its least, at least
		assert_true(opened >= 8 * 192 + (n_turns - 8) * OVERLOAD_LEAST);
		assert_true(refused > n_new / 2);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// From here on nothing may be opened any more.
static void no_room(void)
{
	bed.worker[0]->overload.limits = true;
	bed.worker[0]->overload.room = OVERLOAD_LEAST;
	bed.worker[0]->overload.left = 0;
}

static void who_was_refused_is_let_in_later(void **state)
{
	open_bed(true);
	flood(40, 64);
	bed_run();
	came_out_to(S2);
	for (unsigned i = 0; i < 600; i++) { // quiet turns
		put(1, 0);
		turn();
	}
	came_out_to(S1);
	assert_false(bed.worker[0]->overload.limits);
	const uint64_t before = bed_sum().drops[CGN_DROP_OVERLOAD_NEW];
	put(0, 200);
	turn();
	assert_int_equal(came_out_to(S2), 200);
	assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], before);
}

// However many new ones: as long as the queue gets empty, there is time for them.
static void nothing_is_refused_while_there_is_time(void **state)
{
	open_bed(true);
	for (unsigned i = 0; i < 50; i++) {
		put(64, BURST - 64 - 1);
		turn();
	}
	assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], 0);
	assert_int_equal(bed_sum().sessions_created, ESTABLISHED + 50 * (BURST - 64 - 1));
}

// Seven full turns in a row, and an empty one, again and again; and as many as one likes at once.
static void a_crowd_is_no_overload(void **state)
{
	open_bed(true);
	for (unsigned i = 0; i < 5; i++) {
		for (unsigned j = 0; j < 7; j++) {
			put(BURST - 8, 8);
			turn();
		}
		turn();
	}
	put(64, 40 * BURST);
	bed_run(); // the clock stands still
	assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], 0);
}

static void new_ones_alone_are_all_let_in(void **state)
{
	open_bed(true);
	flood(40, 0);
	bed_run();
	assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], 0);
	assert_int_equal(bed_sum().sessions_created, ESTABLISHED + 40 * BURST + BURST / 2);
}

// Only what would open a session is refused as such.
static void others_have_their_own_reasons(void **state)
{
	struct endpoint x;
	uint64_t before;

	open_bed(true);
	x = source_of(pass_out(tcp(at(BOB, 9), server, TCP_SYN)));
	flood(40, 64);
	bed_run();
	came_out_to(S1);
	assert_true(bed.worker[0]->overload.limits);
	before = bed_sum().drops[CGN_DROP_OVERLOAD_NEW];
	for (unsigned i = 0; i < 20; i++) {
		no_room();
		pass_out(udp(at(BOB, 8), at(0xc6120001, 53))); // by the bypass policy
		pass_out(tcp(at(BOB, 9), server, TCP_ACK));
		pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
		refuse_out(tcp(at(BOB, 10), server, TCP_ACK), CGN_DROP_TCP_NO_SESSION);
		refuse_in(udp(server, at(X1, 2)), CGN_DROP_NO_MAPPING);
		refuse_out(udp(at(0xc0a80001, 8), server), CGN_DROP_POLICY_NONE);
	}
	bed_put(INSIDE, echo(at(BOB, 1), US_INSIDE));
	bed_run();
	assert_int_equal(bed_sum().echo_replies_sent, 1);
	assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], before);
}

static void what_would_open_a_session_is_refused(void **state)
{
	struct endpoint x;

	open_bed(true);
	x = source_of(pass_out(tcp(at(BOB, 9), server, TCP_SYN)));
	flood(40, 64);
	bed_run();
	came_out_to(S1);
	no_room();
	refuse_out(udp(at(BOB, 11), server), CGN_DROP_OVERLOAD_NEW); // a mapping
	refuse_out(tcp(at(BOB, 12), server, TCP_SYN), CGN_DROP_OVERLOAD_NEW);
	refuse_out(echo(at(BOB, 13), S1), CGN_DROP_OVERLOAD_NEW);
	refuse_out(tcp(at(BOB, 9), at(S2, 5), TCP_SYN), CGN_DROP_OVERLOAD_NEW); // a session
	refuse_in(tcp(at(S2, 5), x, TCP_SYN), CGN_DROP_OVERLOAD_NEW); // from outside
	bed.worker[0]->overload.left = OVERLOAD_ALL;
	pass_out(udp(at(BOB, 11), server));
	refuse_out(udp(at(BOB, 14), server), CGN_DROP_OVERLOAD_NEW);
	pass_out(udp(at(BOB, 11), server));
}

// Two may be opened: what follows them in the burst belongs to them, whatever else is refused.
static void a_session_of_this_burst_is_one(void **state)
{
	for (unsigned fast = 0; fast < 2; fast++) {
		static const uint16_t port[] = {7, 8, 7, 9, 8, 9, 7};

		open_bed(fast);
		no_room();
		bed.worker[0]->overload.left = 2 * OVERLOAD_ALL;
		for (unsigned i = 0; i < 7; i++)
			bed_put(INSIDE, udp(at(CAROL, port[i]), at(S2, 53)));
		turn();
		assert_int_equal(came_out_to(S2), 5);
		assert_int_equal(bed_sum().drops[CGN_DROP_OVERLOAD_NEW], 2);
		assert_int_equal(bed_sum().sessions_created, ESTABLISHED + 2);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

BED_MAIN(TEST(established_sessions_lose_nothing_to_a_flood), TEST(who_was_refused_is_let_in_later),
	TEST(nothing_is_refused_while_there_is_time), TEST(a_crowd_is_no_overload),
	TEST(new_ones_alone_are_all_let_in), TEST(others_have_their_own_reasons),
	TEST(what_would_open_a_session_is_refused), TEST(a_session_of_this_burst_is_one))
