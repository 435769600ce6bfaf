// SPDX-License-Identifier: BSD-3-Clause
// Strangers and subscribers who try to take more than is theirs, and networks that are drawn in odd
// ways. Each of these once went wrong.
#include "bed.h"
#include <stdio.h>
#include <stdlib.h>
#include <rte_ring.h>
#include "walk.h"

#define HOME(more) \
	"  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p" more "}"

static void drain_frames(void)
{
	struct frame f;

	for (unsigned ifc = 0; ifc < BED_INTERFACES; ifc++) {
		while (bed_take(ifc, &f))
			;
	}
}

static void run_and_drain(void)
{
	bed_run();
	drain_frames();
}

static uint64_t dropped(enum cgn_drop reason)
{
	return bed_sum().drops[reason];
}

static void a_gateway_may_lie_in_the_prefix_of_its_own_route(void **state)
{
	const uint32_t router = 0x64410002, host = 0x64410005; // 100.65.0.2, .5
	struct frame f;

	BED(.manual_arp = true,
		.inside =
			"addresses: [100.64.0.1/10], routes: [{prefix: 100.65.0.0/16, via: 100.65.0.2}]");
	f = arp_reply(ROUTER_OUTSIDE, (uint8_t[]){2, 0, 0, 0, 0, 1}, US_OUTSIDE);
	bed_put_raw(OUTSIDE, &f);
	f = arp_reply(router, (uint8_t[]){2, 0, 0, 0, 0, 2}, 0x64400001);
	bed_put_raw(INSIDE, &f);
	run_and_drain();
	f = pass_out(udp(at(host, 5000), at(S1, 53)));
	bed_put(OUTSIDE, udp(at(S1, 53), source_of(f)));
	bed_run();
	assert_int_equal(bed_waiting(INSIDE), 1);
	drain_frames();
}

// contract: first and last address of a prefix are used
static void a_pool_may_have_the_broadcast_address_of_our_prefix(void **state)
{
	struct frame f = arp_request(ROUTER_OUTSIDE, 0xc00002ff);
	struct endpoint x;

	BED(.pools = "  - {name: p, addresses: [192.0.2.255], block-size: 64}");
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	assert_int_equal(x.address, 0xc00002ff);
	pass_in(udp(at(S1, 53), x));
	pass_in(udp(at(S2, 53), x));
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	assert_int_equal(bed_waiting(OUTSIDE), 1); // answered
	drain_frames();
}

static void resting_blocks_count_in_max_blocks(void **state)
{
	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64, max-blocks: 4}");
	for (unsigned round = 0; round < 3; round++) {
		struct cgn_counters c;

		for (unsigned i = 0; i < 256; i++)
			bed_put(INSIDE, echo(at(ALICE, 1000 * (round + 1) + i), S1));
		run_and_drain();
		c = bed_sum();
		assert_in_range(c.blocks + c.blocks_held, 1, 4);
		bed_wait_quietly(61);
	}
	assert_int_not_equal(dropped(CGN_DROP_BLOCK_LIMIT), 0);
}

static void errors_from_addresses_that_nobody_has_are_dropped(void **state)
{
	const uint32_t sources[] = {0x7f000001, 0xe0000001, US_INSIDE, US_OUTSIDE, X1};
	struct frame f;

	BED();
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	for (unsigned i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		struct frame e = icmp_error(sources[i], source_of(f).address, 3, 3, &f, WHOLE);

		refuse_in(e, CGN_DROP_IP_SOURCE);
	}
}

// A stranger's expired packets do not use up what subscribers are told.
static void inside_and_outside_have_an_icmp_budget_each(void **state)
{
	struct frame f;

	BED(.outside = "addresses: [192.0.2.2/24], mtu: 1000, routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]");
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	for (unsigned i = 0; i < 150; i++)
		bed_put(OUTSIDE, with_ttl(udp(at(S1, 53), source_of(f)), 1));
	run_and_drain();
	assert_int_equal(bed_sum().icmp_errors_sent, 100);
	assert_int_equal(bed_sum().icmp_errors_suppressed, 50);
	bed_put(INSIDE, with_df(with_size(udp(at(BOB, 5000), at(S1, 53)), 1400)));
	bed_run();
	assert_int_equal(bed_waiting(INSIDE), 1); // 3/4
	drain_frames();
}

static void a_scan_leaves_the_last_eighth_of_the_table_to_subscribers(void **state)
{
	struct frame f;

	BED(.sessions = 256);
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	for (unsigned i = 0; i < 300; i++)
		bed_put(OUTSIDE, udp(at(S2, 1000 + i), source_of(f)));
	run_and_drain();
	assert_int_equal(gauge(sessions), 256 - 256 / 8);
	assert_int_equal(dropped(CGN_DROP_INBOUND_TABLE_FULL), 300 - (256 - 256 / 8 - 1));
	for (unsigned i = 0; i < 256 / 8; i++)
		pass_out(udp(at(BOB, 5000 + i), at(S1, 53)));
	assert_int_equal(gauge(sessions), 256);
}

static void a_destination_that_policy_drops_stays_so_after_it_knocked(void **state)
{
	struct frame f;

	BED(.policies = "  - {name: no, match: {destination: [198.51.100.2/32]}, action: drop}\n" HOME(
		    ""));
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	refuse_in(udp(at(S2, 53), source_of(f)), CGN_DROP_POLICY_DROP);
	refuse_out(udp(at(ALICE, 5000), at(S2, 53)), CGN_DROP_POLICY_DROP);
}

static void the_rate_is_kept_over_a_second_s_turn(void **state)
{
	BED(.policies = HOME(", limits: {new-sessions-per-second: 10}"));
	bed_wait_ms(999);
	for (unsigned i = 0; i < 20; i++) {
		if (i == 10)
			bed_wait_ms(2);
		bed_put(INSIDE, udp(at(ALICE, 5000 + i), at(S1, 53)));
	}
	run_and_drain();
	assert_int_equal(gauge(sessions), 10);
	bed_wait_ms(100); // one more is paid for
	bed_put(INSIDE, udp(at(ALICE, 6000), at(S1, 53)));
	bed_put(INSIDE, udp(at(ALICE, 6001), at(S1, 53)));
	run_and_drain();
	assert_int_equal(gauge(sessions), 11);
}

// RFC 7857 7
static void knocks_answered_by_a_rst_keep_nothing_alive(void **state)
{
	struct endpoint x;

	BED();
	x = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	for (unsigned i = 0; i < 5; i++) {
		bed_wait_quietly(200);
		bed_put(OUTSIDE, tcp(at(S2, 6000), x, TCP_SYN));
		run_and_drain();
		bed_put(INSIDE, tcp(at(ALICE, 5000), at(S2, 6000), TCP_RST | TCP_ACK));
		run_and_drain();
	}
	assert_int_equal(gauge(mappings), 0);
}

// RFC 7857 7: not with ever new ports either, answered by a RST or by nothing.
static void knocks_of_many_strangers_keep_nothing_alive(void **state)
{
	struct endpoint x;
	unsigned s = 0;

	BED(.more = "timeouts: {tcp-opening: 100, tcp-closing: 300}");
	bed_wait_quietly(1000);
	x = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	for (; gauge(mappings) && s < 600; s += 10) {
		bed_put(OUTSIDE, tcp(at(S2, 6000 + s), x, TCP_SYN));
		bed_run();
		if (s % 20)
			bed_put(INSIDE, tcp(at(ALICE, 5000), at(S2, 6000 + s), TCP_RST | TCP_ACK));
		run_and_drain();
		bed_wait_quietly(10);
	}
	assert_in_range(s, 100, 110);
}

static void a_stranger_who_is_answered_is_a_session_like_others(void **state)
{
	struct endpoint x;

	BED();
	x = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	bed_wait_quietly(230);
	pass_in(tcp(at(S2, 6000), x, TCP_SYN));
	pass_out(tcp(at(ALICE, 5000), at(S2, 6000), TCP_SYN | TCP_ACK));
	bed_wait_quietly(7000);
	pass_in(tcp(at(S2, 6000), x, TCP_ACK));
	assert_int_equal(gauge(sessions), 1);
}

static void a_hold_down_is_never_short(void **state)
{
	static struct worker_walk walk;
	unsigned ms = 0;

	BED();
	bed_wait_ms(950); // in mid-second
	bed_put(INSIDE, udp(at(ALICE, 5000), at(S1, 53)));
	run_and_drain();
	memset(&walk, 0, sizeof(walk));
	walk.kind = CGN_WALK_CLEAR_SESSIONS;
	assert_int_equal(rte_ring_sp_enqueue(bed.worker[0]->walk_ring, &walk), 0);
	bed_run();
	for (; gauge(blocks_held); ms += 10)
		bed_wait_ms(10);
	assert_in_range(ms, 120000, 121010);
}

static void neighbours_that_nobody_answers_for_are_soon_forgotten(void **state)
{
	struct frame f = arp_reply(ROUTER_OUTSIDE, (uint8_t[]){2, 0, 0, 0, 0, 1}, US_OUTSIDE);

	BED(.inside = "addresses: [100.64.0.1/10]", .manual_arp = true);
	bed_put_raw(OUTSIDE, &f);
	run_and_drain();
	for (unsigned i = 0; i < 1200; i++) // echo requests with spoofed sources
		bed_put(INSIDE, echo(at(0x64500000 + i, 7), 0x64400001));
	run_and_drain();
	assert_in_range(gauge(neighbours), 500, 600); // half of the table
	for (unsigned i = 0; i < 15; i++) {
		bed_wait_quietly(1);
		for (unsigned j = 0; j < 70; j++) // upkeep looks at a few neighbours a turn
			bed_poll(0);
		drain_frames();
	}
	assert_in_range(gauge(neighbours), 1, 2);
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	bed_put(OUTSIDE, udp(at(S1, 53), source_of(f)));
	bed_run();
	assert_int_equal(bed_waiting(INSIDE), 1); // a subscriber is asked for
	drain_frames();
}

// ---- anything at all, over three workers with small rings; the bed keeps the account

static uint32_t seed;

static uint32_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 17;
	seed ^= seed << 5;
	return seed;
}

static struct frame anything(unsigned side, struct endpoint x)
{
	struct endpoint in = at(ALICE + rnd() % 40, 5000 + rnd() % 8);
	struct endpoint out = at(S1 + rnd() % 6, 50 + rnd() % 4);
	struct endpoint a = side ? out : in, b = side || rnd() % 3 == 0 ? x : out;
	struct frame f = udp(a, b), quoted = rnd() % 2 ? udp(b, a) : tcp(b, a, TCP_ACK);

	switch (rnd() % 6) {
	case 0:
		f = tcp(a, b, TCP_SYN);
		break;
	case 1:
		f = tcp(a, b, (uint8_t)rnd());
		break;
	case 2:
		f = side ? echo_reply(a.address, b) : echo(a, b.address);
		break;
	case 3:
		f = icmp_error(a.address, b.address, rnd() % 2 ? 3 : 11, rnd() % 5, &quoted,
			8 + rnd() % 40);
		break;
	default:
		break;
	}
	if (rnd() % 6 == 0)
		f = with_ttl(f, rnd() % 3);
	if (rnd() % 10 == 0) {
		for (unsigned k = rnd() % 4 + 1; k--;)
			f.b[12 + rnd() % (f.len - 12)] = (uint8_t)rnd();
		if (rnd() % 2 && frame_l2_len(&f) == 14)
			frame_seal_ip(&f);
	}
	if (rnd() % 20 == 0)
		f.len = 1 + rnd() % f.len;
	else if (rnd() % 30 == 0)
		f.len += rnd() % 40;
	return f;
}

static void whatever_comes_is_accounted_for(void **state)
{
	const char *given = getenv("CGNAT_TEST_SEED");
	struct endpoint x = at(X1, 2000);

	seed = given ? (uint32_t)strtoul(given, NULL, 10) : 12345;
	print_message("seed %u (CGNAT_TEST_SEED)\n", seed);
	BED(.workers = 3, .spread = true, .tx_queues = 2, .sessions = 600, .subscribers = 30,
		.ring = 32,
		.pools =
			"  - {name: p, addresses: [203.0.113.1-203.0.113.4], block-size: 64, max-blocks: 2}",
		.more = "timeouts: {udp: 5, tcp-established: 20, tcp-opening: 3, tcp-closing: 3, icmp: 2, "
			"hold-down: 3, non-conformant: true}");
	bed.bad_l4 = true;
	for (unsigned i = 0; i < 30000; i++) {
		const unsigned side = rnd() % 2;
		struct frame f = anything(side, x);

		if (f.len >= 14)
			bed_put(side, f);
		else
			bed_put_raw(side, &f);
		if (i % 64 != 63)
			continue;
		bed_run();
		while (bed_take(OUTSIDE, &f)) { // remember an external endpoint to aim at
			if (f.len > 42 && f.b[12] == 8 && f.b[13] == 0 && frame_ip(&f)->proto != 1)
				x = source_of(f);
		}
		drain_frames();
		if (i % 512 == 511)
			bed_wait_ms(300 * (rnd() % 4));
	}
	assert_int_not_equal(bed_sum().translated_outbound, 0);
	assert_int_not_equal(bed_sum().translated_inbound, 0);
	assert_int_not_equal(bed_sum().handoffs, 0);
}

BED_MAIN(TEST(a_gateway_may_lie_in_the_prefix_of_its_own_route),
	TEST(a_pool_may_have_the_broadcast_address_of_our_prefix),
	TEST(resting_blocks_count_in_max_blocks),
	TEST(errors_from_addresses_that_nobody_has_are_dropped),
	TEST(inside_and_outside_have_an_icmp_budget_each),
	TEST(a_scan_leaves_the_last_eighth_of_the_table_to_subscribers),
	TEST(a_destination_that_policy_drops_stays_so_after_it_knocked),
	TEST(the_rate_is_kept_over_a_second_s_turn),
	TEST(knocks_answered_by_a_rst_keep_nothing_alive),
	TEST(knocks_of_many_strangers_keep_nothing_alive),
	TEST(a_stranger_who_is_answered_is_a_session_like_others), TEST(a_hold_down_is_never_short),
	TEST(neighbours_that_nobody_answers_for_are_soon_forgotten),
	TEST(whatever_comes_is_accounted_for))
