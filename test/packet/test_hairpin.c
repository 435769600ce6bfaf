// SPDX-License-Identifier: BSD-3-Clause
// Hairpinning: from inside to an external address of another subscriber (RFC 4787 REQ-9).
#include "bed.h"
#include "snapshot.h"

static struct endpoint map(uint32_t host, unsigned port)
{
	return source_of(pass_out(udp(at(host, port), at(S1, 53))));
}

// RFC 4787 REQ-9, REQ-9a: the source that is seen is the external one
static void two_subscribers_meet_at_their_external_endpoints(void **state)
{
	struct endpoint a, b;
	struct frame f;

	BED();
	a = map(ALICE, 5000);
	b = map(BOB, 6000);
	f = hairpin(udp(at(BOB, 6000), a)); // the bed checks that TTL goes down once
	assert_endpoint(source_of(f), b);
	assert_endpoint(destination_of(f), at(ALICE, 5000));
	f = hairpin(udp(at(ALICE, 5000), b));
	assert_endpoint(source_of(f), a);
	assert_endpoint(destination_of(f), at(BOB, 6000));
	COUNTED(.rx_packets = 4, .tx_packets = 4, .translated_outbound = 2, .hairpinned = 2,
		.mappings_created = 2, .sessions_created = 4, .subscribers_created = 2,
		.blocks_allocated = 2);
}

static void a_first_packet_may_be_a_hairpin(void **state)
{
	struct endpoint a;
	struct frame f;

	BED();
	a = map(ALICE, 5000);
	f = hairpin(udp(at(BOB, 6000), a));
	assert_in_range(source_of(f).address, X1, X1 + 3);
	assert_endpoint(source_of(pass_out(udp(at(BOB, 6000), at(S1, 53)))), source_of(f));
}

static void a_host_reaches_itself(void **state)
{
	struct endpoint a, b;
	struct frame f;

	BED();
	a = map(ALICE, 5000);
	f = hairpin(udp(at(ALICE, 5000), a)); // even the very same socket
	assert_endpoint(source_of(f), a);
	assert_endpoint(destination_of(f), at(ALICE, 5000));
	f = hairpin(udp(at(ALICE, 5001), a));
	b = source_of(f);
	assert_endpoint(destination_of(f), at(ALICE, 5000));
	assert_endpoint(destination_of(hairpin(udp(at(ALICE, 5000), b))), at(ALICE, 5001));
}

// RFC 5382 REQ-8
static void tcp_opens_through_a_hairpin(void **state)
{
	struct endpoint a, b;
	struct frame f;

	BED();
	a = source_of(pass_out(tcp(at(ALICE, 80), at(S1, 80), TCP_SYN)));
	f = hairpin(tcp(at(BOB, 6000), a, TCP_SYN));
	b = source_of(f);
	assert_endpoint(destination_of(f), at(ALICE, 80));
	f = hairpin(tcp(at(ALICE, 80), b, TCP_SYN | TCP_ACK));
	assert_endpoint(source_of(f), a);
	assert_endpoint(destination_of(f), at(BOB, 6000));
	hairpin(tcp(at(BOB, 6000), a, TCP_ACK));
	hairpin(tcp(at(ALICE, 80), b, TCP_ACK | TCP_PSH));
	assert_int_equal(bed_sum().hairpinned, 4);
	assert_int_equal(gauge(sessions), 3);
	refuse_out(tcp(at(BOB, 6001), a, TCP_ACK), CGN_DROP_TCP_NO_SESSION);
}

static void the_policy_can_turn_it_off(void **state)
{
	struct endpoint a;

	BED(.policies = "  - {name: home, match: {source: [100.64.0.0/10]}, action: translate,"
			" pool: p, hairpin: false}");
	a = map(ALICE, 5000);
	refuse_out(udp(at(BOB, 6000), a), CGN_DROP_HAIRPIN_OFF);
	refuse_out(tcp(at(BOB, 6000), a, TCP_SYN), CGN_DROP_HAIRPIN_OFF);
}

static void a_hairpin_to_nobody_ends_there(void **state)
{
	struct endpoint a;

	BED();
	a = map(ALICE, 5000);
	bed_put(INSIDE, udp(at(ALICE, 5000), at(a.address, a.port ^ 1)));
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 2, .tx_packets = 1, .translated_outbound = 1, .mappings_created = 1,
		.sessions_created = 2, .subscribers_created = 1, .blocks_allocated = 1,
		.drops[CGN_DROP_NO_MAPPING] = 1);
	// queries do not hairpin in a NAPT (RFC 5508 REQ-7)
	refuse_out(echo(at(ALICE, 1), a.address), CGN_DROP_ICMP_NO_SESSION);
}

static void a_hairpin_whose_ttl_runs_out_is_answered(void **state)
{
	struct endpoint a;
	struct frame f;

	BED();
	a = map(ALICE, 5000);
	map(BOB, 6000);
	f = with_ttl(udp(at(BOB, 6000), a), 1);
	bed_put(INSIDE, f);
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, BOB, f);
	expect_nothing();
}

// Our own 3/4 about the second half of a hairpin goes back through the first half.
static void a_hairpin_that_is_too_big_is_answered_with_the_mtu(void **state)
{
	struct endpoint a;
	struct frame f, e;

	BED(.inside = "addresses: [10.255.0.1/24], mtu: 1000,"
		      " routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]");
	a = map(ALICE, 5000);
	map(BOB, 6000);
	f = with_df(with_size(udp(at(BOB, 6000), a), 1200));
	bed_put(INSIDE, f);
	bed_run();
	e = expect_frame(INSIDE);
	expect_nothing();
	assert_error(e, 3, 4, US_INSIDE, BOB, with_ttl(f, 63));
	assert_int_equal(frame_l4(&e)[6] << 8 | frame_l4(&e)[7], 1000);
	COUNTED(.rx_packets = 3, .tx_packets = 3, .translated_outbound = 2, .mappings_created = 2,
		.sessions_created = 4, .subscribers_created = 2, .blocks_allocated = 2,
		.originated = 1, .icmp_errors_sent = 1, .icmp_errors_translated = 1,
		.hairpinned = 1, .drops[CGN_DROP_MTU_EXCEEDED] = 1);
}

static void hairpins_cross_workers(void **state)
{
	const uint32_t first = 0x64400000;
	unsigned crossed = 0;

	BED(.workers = 3);
	for (unsigned i = 0; i < 12; i++) {
		const uint32_t server = first + i, client = first + 100 + 7 * i;
		struct endpoint x = map(server, 80), y;
		struct frame f;

		f = hairpin(udp(at(client, 6000), x));
		y = source_of(f);
		assert_endpoint(destination_of(f), at(server, 80));
		f = hairpin(udp(at(server, 80), y));
		assert_endpoint(source_of(f), x);
		assert_endpoint(destination_of(f), at(client, 6000));
		f = udp(y, at(server, 80)); // as the server saw it
		f = hairpin(icmp_error(server, y.address, 3, 3, &f, 8));
		assert_error(f, 3, 3, x.address, client, udp(at(client, 6000), x));
		crossed += steer_external(bed.worker[0]->snapshot, x.address, x.port) !=
			steer_external(bed.worker[0]->snapshot, y.address, y.port);
	}
	assert_true(crossed > 0 && crossed < 12);
}

BED_MAIN(TEST(two_subscribers_meet_at_their_external_endpoints),
	TEST(a_first_packet_may_be_a_hairpin), TEST(a_host_reaches_itself),
	TEST(tcp_opens_through_a_hairpin), TEST(the_policy_can_turn_it_off),
	TEST(a_hairpin_to_nobody_ends_there), TEST(a_hairpin_whose_ttl_runs_out_is_answered),
	TEST(a_hairpin_that_is_too_big_is_answered_with_the_mtu), TEST(hairpins_cross_workers))
