// SPDX-License-Identifier: BSD-3-Clause
// Timeouts of services (RFC 4787 REQ-5a), and who rests how long (RFC 6888 REQ-8).
#include "bed.h"
#include "flow.h"

static const struct endpoint client = {ALICE, 5000}, server = {S1, 443};

#define SERVICES \
	"timeouts: {non-conformant: true, services: [{protocol: udp, port: 53, timeout: 10}, " \
	"{protocol: tcp, port: 443, timeout: 100}, {protocol: udp, port: 5353, timeout: 700}]}"

// Nothing ends a second early, all has two seconds later.
static void all_gone_after(uint32_t seconds)
{
	const uint64_t n = gauge(sessions);

	bed_wait(seconds - 1);
	assert_int_equal(gauge(sessions), n);
	bed_wait(3);
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(mappings), 0);
}

static void a_udp_service_has_its_timeout(void **state)
{
	BED(.more = SERVICES);
	pass_out(udp(client, at(S1, 53)));
	all_gone_after(10);
	pass_out(udp(client, at(S1, 5353)));
	all_gone_after(700);
	pass_out(udp(client, at(S1, 54)));
	all_gone_after(300);
}

static void outbound_packets_refresh_a_service_and_inbound_ones_do_not(void **state)
{
	struct endpoint x;

	BED(.more = SERVICES);
	x = source_of(pass_out(udp(client, at(S1, 53))));
	for (unsigned i = 0; i < 5; i++) {
		bed_wait(8);
		pass_out(udp(client, at(S1, 53)));
		pass_in(udp(at(S1, 53), x));
	}
	bed_wait(8);
	pass_in(udp(at(S1, 53), x));
	bed_wait(4);
	assert_int_equal(gauge(mappings), 0);
}

#define REFRESHED \
	"  - {name: not, match: {destination: [198.51.100.2]}, pool: p}\n" \
	"  - {name: home, match: {source: [100.64.0.0/10]}, pool: p, inbound-refresh: true," \
	" portless-protocols: [gre]}"

// RFC 4787 REQ-6: only where the policy of the session says so, on whichever path its packets are
static void inbound_packets_refresh_by_policy_alone(void **state)
{
	struct endpoint x, e;
	uint32_t g;

	BED(.policies = REFRESHED);
	x = source_of(pass_out(udp(client, at(S1, 53))));
	pass_out(udp(client, at(S2, 53)));
	e = source_of(pass_out(echo(at(ALICE, 7), S1)));
	g = source_of(pass_out(ip_packet(ALICE, S1, 47, 20))).address;
	for (unsigned i = 0; i < 20; i++) {
		bed_wait(59);
		if (i < 5)
			pass_in(udp(at(S2, 53), x));
		pass_in(i % 2 ? udp(at(S1, 53), x)
			      : with_options(udp(at(S1, 53), x), "\1\1\1\0", 4));
		pass_in(echo_reply(S1, e));
		pass_in(ip_packet(S1, g, 47, 20));
	}
	assert_int_equal(gauge(sessions), 3); // S2's, of the first policy, has gone
	bed_wait(298);
	assert_int_equal(gauge(sessions), 2); // the echo's, too
	bed_wait(4);
	assert_int_equal(gauge(sessions), 0);
}

// One that is opened from outside begins with its first packet then, and moves into the head as it is
static void a_stranger_may_keep_such_a_mapping_alive(void **state)
{
	struct endpoint x;

	BED(.policies = REFRESHED);
	x = source_of(pass_out(udp(client, at(S1, 53))));
	bed_wait(200);
	pass_in(udp(at(S1 + 7, 9), x));
	for (unsigned i = 0; i < 3; i++) {
		bed_wait(298);
		assert_int_equal(gauge(sessions), 1);
		pass_in(udp(at(S1 + 7, 9), x));
	}
	all_gone_after(300);
}

// A session is as short as its own port says; the mapping is as long as its longest session.
static void sessions_of_one_mapping_have_their_own(void **state)
{
	BED(.more = SERVICES);
	pass_out(udp(client, at(S1, 53)));
	pass_out(udp(client, at(S1, 1000)));
	pass_out(udp(client, at(S2, 53)));
	bed_wait(12);
	assert_int_equal(gauge(sessions), 1);
	bed_wait(286);
	assert_int_equal(gauge(mappings), 1);
	bed_wait(4);
	assert_int_equal(gauge(mappings), 0);
}

// Port 53 of a remote that began by itself is not a destination port.
static void a_session_from_outside_is_of_no_service(void **state)
{
	struct endpoint x;

	BED(.more = SERVICES);
	x = source_of(pass_out(udp(client, at(S1, 54))));
	bed_wait(280);
	pass_out(udp(client, at(S1, 54)));
	pass_in(udp(at(S2, 53), x));
	bed_wait(298);
	assert_int_equal(gauge(sessions), 2);
}

static void a_tcp_service_changes_the_established_timeout_only(void **state)
{
	struct endpoint x;

	BED(.more = SERVICES);
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	all_gone_after(240); // half open
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
	all_gone_after(100 + 240); // then transitory
}

// ---- rests

#define ONE_BLOCK \
	"  - {name: p, addresses: [203.0.113.1], ports: 1024-1039, block-size: 16, max-blocks: 1}"

static void closing(struct endpoint from, bool by_reset)
{
	struct endpoint x = source_of(pass_out(tcp(from, server, TCP_SYN)));

	pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
	if (by_reset) {
		pass_in(tcp(server, x, TCP_RST));
		return;
	}
	pass_out(tcp(from, server, TCP_FIN | TCP_ACK));
	pass_in(tcp(server, x, TCP_FIN | TCP_ACK));
}

static void closed_tcp_ports_do_not_rest_if_so_wanted(void **state)
{
	BED(.more = "timeouts: {hold-down-tcp: false}");
	pass_out(udp(at(ALICE, 1), server)); // holds the block
	closing(at(ALICE, 2), true);
	closing(at(ALICE, 3), false);
	pass_out(tcp(at(ALICE, 4), server, TCP_SYN)); // never answered
	bed_wait(242);
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(ports_resting), 1); // that of the half-open one
}

static void closed_tcp_ports_rest_by_default(void **state)
{
	BED();
	pass_out(udp(at(ALICE, 1), server));
	closing(at(ALICE, 2), true);
	closing(at(ALICE, 3), false);
	bed_wait(242);
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(ports_resting), 2);
}

// A mapping rests when any of its sessions was not closed.
static void one_unclosed_session_makes_the_port_rest(void **state)
{
	BED(.more = "timeouts: {hold-down-tcp: false}");
	pass_out(udp(at(ALICE, 1), server));
	pass_out(tcp(at(ALICE, 2), at(S2, 80), TCP_SYN));
	bed_wait(10);
	closing(at(ALICE, 2), false);
	bed_wait(242);
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(ports_resting), 1);
}

// Idle sessions become transitory without a RST: their ports do rest.
static void an_idle_session_is_not_closed(void **state)
{
	struct endpoint x;

	BED(.more = "timeouts: {hold-down-tcp: false, tcp-established: 100, non-conformant: true}");
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
	bed_wait(342);
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(gauge(ports_resting), 1);
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
	pass_in(tcp(server, x, TCP_RST));
	pass_in(tcp(server, x, TCP_ACK)); // the RST was none of the server's
	bed_wait(342);
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(gauge(ports_resting), 1);
}

// The first session ends closed; one that was reset takes its place and ends closed, too.
static void a_mapping_whose_sessions_were_all_closed_does_not_rest(void **state)
{
	struct endpoint x;

	BED(.more = "timeouts: {hold-down-tcp: false}");
	pass_out(udp(at(ALICE, 1), server));
	closing(at(ALICE, 2), false);
	bed_wait(100);
	x = source_of(pass_out(tcp(at(ALICE, 2), at(S2, 80), TCP_SYN)));
	pass_in(tcp(at(S2, 80), x, TCP_SYN | TCP_ACK));
	pass_in(tcp(at(S2, 80), x, TCP_RST));
	bed_wait(142);
	assert_int_equal(gauge(sessions), 2);
	pass_out(udp(at(ALICE, 1), server));
	bed_wait(100);
	assert_int_equal(gauge(sessions), 1);
	assert_int_equal(gauge(ports_resting), 0);
}

// RFC 6888 REQ-8: with the most ports at rest, the oldest is lent again.
static void so_many_ports_rest_and_no_more(void **state)
{
	BED(.pools = ONE_BLOCK, .more = "timeouts: {hold-down-max: 10}");
	pass_out(tcp(at(ALICE, 1), server, TCP_SYN));
	for (unsigned i = 0; i < 16; i++)
		pass_out(udp(at(ALICE, 100 + i), server));
	bed_put(INSIDE, udp(at(ALICE, 200), server));
	bed_run();
	expect_frame(INSIDE); // host unreachable
	assert_int_equal(bed_sum().drops[CGN_DROP_BLOCK_LIMIT], 1);
	bed_wait(180);
	pass_out(tcp(at(ALICE, 1), server, TCP_SYN)); // holds the block
	bed_wait(122);
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(ports_resting), 10);
	assert_int_equal(bed_sum().rests_cut_short, 6);
	for (unsigned i = 0; i < 6; i++)
		pass_out(udp(at(ALICE, 200 + i), server));
	bed_put(INSIDE, udp(at(ALICE, 300), server));
	bed_run();
	expect_frame(INSIDE);
	assert_int_equal(bed_sum().drops[CGN_DROP_BLOCK_LIMIT], 2);
}

// However many mappings are made in a turn, as many end: none waits for a quiet time.
static void expiry_keeps_up_with_a_flood(void **state)
{
	const unsigned per_turn = 200, turns_per_s = 20, timeout_s = 2;
	uint64_t most = 0;

	BED(.sessions = 20000,
		.pools = "  - {name: p, addresses: [203.0.113.0-203.0.113.7], block-size: 16384}",
		.more = "timeouts: {non-conformant: true, udp: 2, hold-down: 1}");
	for (unsigned turn = 0; turn < 8 * turns_per_s; turn++) {
		for (unsigned i = 0; i < per_turn; i++)
			bed_put(INSIDE,
				udp(at(ALICE + i % 8, 1024 + turn * (per_turn / 8) + i / 8),
					server));
		bed.now_ns += 1000000000ull / turns_per_s;
		worker_poll(bed.worker[0], bed.now_ns); // one turn: what it does not end waits
		most = gauge(sessions) > most ? gauge(sessions) : most;
		while (bed_take(OUTSIDE, &(struct frame){0}))
			;
	}
	bed_run();
	assert_int_equal(bed_sum().mappings_created, 8 * turns_per_s * per_turn);
	// timers are exact to two seconds; nothing may pile up on top of that
	assert_in_range(
		most, timeout_s * turns_per_s * per_turn, (timeout_s + 2) * turns_per_s * per_turn);
}

BED_MAIN(TEST(a_udp_service_has_its_timeout), TEST(expiry_keeps_up_with_a_flood),
	TEST(outbound_packets_refresh_a_service_and_inbound_ones_do_not),
	TEST(inbound_packets_refresh_by_policy_alone),
	TEST(a_stranger_may_keep_such_a_mapping_alive),
	TEST(sessions_of_one_mapping_have_their_own), TEST(a_session_from_outside_is_of_no_service),
	TEST(a_tcp_service_changes_the_established_timeout_only),
	TEST(closed_tcp_ports_do_not_rest_if_so_wanted), TEST(closed_tcp_ports_rest_by_default),
	TEST(one_unclosed_session_makes_the_port_rest), TEST(an_idle_session_is_not_closed),
	TEST(a_mapping_whose_sessions_were_all_closed_does_not_rest),
	TEST(so_many_ports_rest_and_no_more))
