// SPDX-License-Identifier: BSD-3-Clause
// Limits of subscribers and mappings: RFC 6888 REQ-4, REQ-5, REQ-11. One subscriber at its limit
// changes nothing for the others.
#include "bed.h"
#include "subscriber.h"

static const struct endpoint server = {S1, 443};

#define LIMITS(limits) "  - {name: all, match: {source: [100.64.0.0/10]}, limits: {" limits "}}"

static const struct subscriber *subscriber(uint32_t address)
{
	const struct subscribers *s = &bed.worker[0]->subscribers;
	const uint32_t sub = subscriber_lookup(s, address, 0);

	return sub == SUBSCRIBER_NONE ? NULL : &s->sub[sub];
}

#define DROPS(address, reason) (subscriber(address)->drops[CGN_SUBSCRIBER_DROP_##reason])

// Refused, counted for this reason, answered with host unreachable (RFC 6888 REQ-11).
static void refused(struct frame f, enum cgn_drop reason)
{
	const uint64_t before = bed_sum().drops[reason];
	const uint32_t from = source_of(f).address;

	bed_put(INSIDE, f);
	bed_run();
	assert_error(expect_frame(INSIDE), ICMP_UNREACHABLE, ICMP_CODE_HOST, US_INSIDE, from, f);
	expect_nothing();
	assert_int_equal(bed_sum().drops[reason], before + 1);
}

static void mappings_are_limited_and_their_sessions_are_not(void **state)
{
	BED(.policies = LIMITS("mappings: 3"));
	pass_out(udp(at(ALICE, 1), server));
	pass_out(tcp(at(ALICE, 2), server, TCP_SYN));
	pass_out(echo(at(ALICE, 3), S1));
	refused(udp(at(ALICE, 4), server), CGN_DROP_MAPPING_LIMIT);
	refused(tcp(at(ALICE, 4), server, TCP_SYN), CGN_DROP_MAPPING_LIMIT);
	for (unsigned i = 0; i < 100; i++)
		pass_out(udp(at(ALICE, 1), at(S2, 1000 + i)));
	for (unsigned i = 0; i < 3; i++)
		pass_out(udp(at(BOB, 1 + i), server));
	assert_int_equal(DROPS(ALICE, MAPPING_LIMIT), 2);
	assert_int_equal(DROPS(BOB, MAPPING_LIMIT), 0);
	bed_wait(62); // the echo has ended
	pass_out(udp(at(ALICE, 4), server));
	refused(udp(at(ALICE, 5), server), CGN_DROP_MAPPING_LIMIT);
}

// RFC 6888 REQ-4 b: of one protocol; others, and other subscribers, do not notice
static void mappings_of_a_protocol_are_limited_by_themselves(void **state)
{
	BED(.policies = LIMITS("mappings-udp: 2, mappings-icmp: 1"));
	pass_out(udp(at(ALICE, 1), server));
	pass_out(udp(at(ALICE, 2), server));
	refused(udp(at(ALICE, 3), server), CGN_DROP_MAPPING_LIMIT);
	for (unsigned i = 0; i < 20; i++)
		pass_out(tcp(at(ALICE, 1 + i), server, TCP_SYN));
	pass_out(echo(at(ALICE, 1), S1));
	refused(echo(at(ALICE, 2), S1), CGN_DROP_MAPPING_LIMIT);
	pass_out(udp(at(ALICE, 1), at(S2, 1))); // a session, no mapping
	pass_out(udp(at(BOB, 1), server));
	assert_int_equal(DROPS(ALICE, MAPPING_LIMIT), 2);
	bed_wait(62); // the echo has ended; its port still rests
	pass_out(echo(at(ALICE, 2), S1));
	refused(echo(at(ALICE, 1), S1), CGN_DROP_MAPPING_LIMIT);
	refused(udp(at(ALICE, 3), server), CGN_DROP_MAPPING_LIMIT);
}

// Sessions without ports take up ICMP ids.
static void portless_sessions_count_as_icmp(void **state)
{
	BED(.policies = "  - {name: all, match: {source: [100.64.0.0/10]}, portless-protocols: [gre],"
			" limits: {mappings-icmp: 2}}");
	pass_out(echo(at(ALICE, 1), S1));
	pass_out(ip_packet(ALICE, S1, 47, 40));
	refused(echo(at(ALICE, 2), S1), CGN_DROP_MAPPING_LIMIT);
	pass_out(udp(at(ALICE, 1), server));
}

// RFC 6888 REQ-5: one mapping, many remotes, from inside and outside
static void sessions_of_a_mapping_are_limited(void **state)
{
	struct endpoint x;

	BED(.policies = LIMITS("sessions-per-mapping: 10"));
	x = source_of(pass_out(udp(at(ALICE, 1), server)));
	for (unsigned i = 0; i < 4; i++)
		pass_out(udp(at(ALICE, 1), at(S2, 1000 + i)));
	for (unsigned i = 0; i < 5; i++)
		pass_in(udp(at(S2, 2000 + i), x));
	refused(udp(at(ALICE, 1), at(S2, 3000)), CGN_DROP_MAPPING_SESSION_LIMIT);
	refuse_in(udp(at(S2, 3000), x), CGN_DROP_MAPPING_SESSION_LIMIT);
	pass_in(udp(at(S2, 2000), x)); // those there are go on
	pass_out(udp(at(ALICE, 1), server));
	pass_out(udp(at(ALICE, 2), at(S2, 3000))); // and so do other mappings
	assert_int_equal(gauge(sessions), 11);
	assert_int_equal(DROPS(ALICE, MAPPING_SESSION_LIMIT), 2);
}

static void one_session_per_mapping_can_be_all(void **state)
{
	struct endpoint x;

	BED(.policies = LIMITS("sessions-per-mapping: 1"));
	x = source_of(pass_out(udp(at(ALICE, 1), server)));
	refuse_in(udp(at(S2, 1), x), CGN_DROP_MAPPING_SESSION_LIMIT);
	pass_out(udp(at(ALICE, 2), server));
}

static void sessions_of_a_subscriber_are_limited_from_outside_too(void **state)
{
	struct endpoint x;

	BED(.policies = LIMITS("sessions: 5"));
	x = source_of(pass_out(udp(at(ALICE, 1), server)));
	pass_out(udp(at(ALICE, 2), server));
	for (unsigned i = 0; i < 3; i++)
		pass_in(udp(at(S2, i + 1), x));
	refuse_in(udp(at(S2, 4), x), CGN_DROP_SESSION_LIMIT);
	refused(udp(at(ALICE, 3), server), CGN_DROP_SESSION_LIMIT);
	refused(udp(at(ALICE, 1), at(S2, 9)), CGN_DROP_SESSION_LIMIT);
	assert_int_equal(gauge(sessions), 5);
	pass_out(udp(at(BOB, 1), server));
}

// ---- new-sessions-per-second

static unsigned port = 1000;

// How many of n new flows pass now.
static unsigned passed_of(uint32_t from, unsigned n)
{
	const uint64_t before = bed_sum().sessions_created;
	struct frame f;

	for (unsigned i = 0; i < n; i++)
		bed_put(INSIDE, udp(at(from, port++), server));
	bed_run();
	while (bed_take(INSIDE, &f) || bed_take(OUTSIDE, &f))
		;
	return (unsigned)(bed_sum().sessions_created - before);
}

#define BIG "  - {name: p, addresses: [203.0.113.0/28], block-size: 256, max-blocks: 8}"

static void a_second_worth_of_sessions_passes_at_once(void **state)
{
	BED(.pools = BIG, .policies = LIMITS("new-sessions-per-second: 20"));
	assert_int_equal(passed_of(ALICE, 50), 20);
	assert_int_equal(passed_of(ALICE, 5), 0);
	assert_int_equal(passed_of(BOB, 50), 20);
	assert_int_equal(DROPS(ALICE, RATE_LIMIT), 35);
	bed_wait_ms(100); // a tenth of the second
	assert_int_equal(passed_of(ALICE, 50), 2);
	bed_wait_ms(49);
	assert_int_equal(passed_of(ALICE, 50), 0);
	bed_wait_ms(1);
	assert_int_equal(passed_of(ALICE, 50), 1);
	bed_wait_ms(5000); // never more than a second's worth
	assert_int_equal(passed_of(ALICE, 50), 20);
}

// At the turn of a second of the clock there is no second helping.
static void the_turn_of_the_second_doubles_nothing(void **state)
{
	BED(.pools = BIG, .policies = LIMITS("new-sessions-per-second: 20"));
	bed_wait_ms(1000 - (unsigned)(bed.now_ns / 1000000 % 1000) - 1);
	assert_int_equal(passed_of(ALICE, 50), 20);
	bed_wait_ms(2);
	assert_int_equal(passed_of(ALICE, 50), 0);
}

// Every millisecond more than is allowed: the sum is the bucket and the rate, to the session.
static void the_rate_holds_to_the_session(void **state)
{
	unsigned n = 0;

	BED(.pools = BIG, .policies = LIMITS("new-sessions-per-second: 7"));
	n = passed_of(ALICE, 10);
	assert_int_equal(n, 7);
	for (unsigned i = 0; i < 3000; i++) {
		bed_wait_ms(1);
		n += passed_of(ALICE, 1);
	}
	assert_int_equal(n, 7 + 3 * 7);
}

static void refused_packets_take_no_token_and_those_from_outside_do(void **state)
{
	struct endpoint x;

	BED(.policies = LIMITS("new-sessions-per-second: 5, mappings: 1"));
	x = source_of(pass_out(udp(at(ALICE, 1), server)));
	for (unsigned i = 0; i < 20; i++)
		refused(udp(at(ALICE, 2 + i), server), CGN_DROP_MAPPING_LIMIT);
	for (unsigned i = 0; i < 4; i++)
		pass_in(udp(at(S2, i + 1), x));
	refuse_in(udp(at(S2, 9), x), CGN_DROP_RATE_LIMIT);
	refused(udp(at(ALICE, 1), at(S2, 10)), CGN_DROP_RATE_LIMIT);
}

// ---- first-block-reserve

#define RESERVE \
	"  - {name: p, addresses: [203.0.113.1], ports: 1024-1183, block-size: 16, max-blocks: 8, " \
	"first-block-reserve: 40}"

// 10 blocks, 4 of them for first ones.
static void a_heavy_user_leaves_first_blocks_to_others(void **state)
{
	BED(.pools = RESERVE);
	for (unsigned i = 0; i < 6 * 16; i++)
		pass_out(udp(at(ALICE, 1000 + i), server));
	assert_int_equal(gauge(blocks), 6);
	refused(udp(at(ALICE, 2000), server), CGN_DROP_FIRST_BLOCK_RESERVE);
	assert_int_equal(DROPS(ALICE, FIRST_BLOCK_RESERVE), 1);
	for (unsigned i = 0; i < 4; i++) {
		for (unsigned j = 0; j < 16; j++)
			pass_out(udp(at(BOB + i, 1000 + j), server));
		refused(udp(at(BOB + i, 2000), server), CGN_DROP_FIRST_BLOCK_RESERVE);
	}
	assert_int_equal(gauge(blocks), 10);
	refused(udp(at(BOB + 4, 1), server), CGN_DROP_POOL_FULL);
}

// Whoever comes first: further blocks stop as soon as what is free falls to the share.
static void first_blocks_alone_may_use_the_share(void **state)
{
	BED(.pools = RESERVE);
	for (unsigned i = 0; i < 6; i++)
		pass_out(udp(at(BOB + i, 1), server));
	for (unsigned i = 0; i < 15; i++)
		pass_out(udp(at(BOB, 2 + i), server));
	refused(udp(at(BOB, 100), server), CGN_DROP_FIRST_BLOCK_RESERVE);
	for (unsigned i = 6; i < 10; i++)
		pass_out(udp(at(BOB + i, 1), server));
	assert_int_equal(gauge(blocks), 10);
}

BED_MAIN(TEST(mappings_are_limited_and_their_sessions_are_not),
	TEST(mappings_of_a_protocol_are_limited_by_themselves),
	TEST(portless_sessions_count_as_icmp), TEST(sessions_of_a_mapping_are_limited),
	TEST(one_session_per_mapping_can_be_all),
	TEST(sessions_of_a_subscriber_are_limited_from_outside_too),
	TEST(a_second_worth_of_sessions_passes_at_once),
	TEST(the_turn_of_the_second_doubles_nothing), TEST(the_rate_holds_to_the_session),
	TEST(refused_packets_take_no_token_and_those_from_outside_do),
	TEST(a_heavy_user_leaves_first_blocks_to_others),
	TEST(first_blocks_alone_may_use_the_share))
