// SPDX-License-Identifier: BSD-3-Clause
// Filtering: RFC 4787 REQ-8, RFC 5382 REQ-3, RFC 7857 6 and 7.
#include "bed.h"
#include "flow.h"

#define POLICY(udp, tcp) \
	"  - {name: all, match: {source: [100.64.0.0/10]}, filtering: {udp: " udp ", tcp: " tcp "}}"
#define EIF "endpoint-independent"
#define ADF "address-dependent"
#define APDF "address-and-port-dependent"

static const struct endpoint client = {ALICE, 5000}, server = {S1, 443};

static struct endpoint open_udp(void)
{
	return source_of(pass_out(udp(client, server)));
}

static struct endpoint open_tcp(void)
{
	struct endpoint x = source_of(pass_out(tcp(client, server, TCP_SYN)));

	pass_in(tcp(server, x, TCP_SYN | TCP_ACK));
	pass_out(tcp(client, server, TCP_ACK));
	return x;
}

static void address_dependent_lets_in_the_address_with_any_port(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	assert_endpoint(destination_of(pass_in(udp(server, x))), client);
	refuse_in(udp(at(S2, 443), x), CGN_DROP_FILTERED);
	assert_endpoint(destination_of(pass_in(udp(at(S1, 444), x))), client);
	assert_int_equal(gauge(sessions), 2);
	pass_out(udp(client, at(S2, 1)));
	assert_endpoint(destination_of(pass_in(udp(at(S2, 443), x))), client); // now it may
	COUNTED(.rx_packets = 6, .tx_packets = 5, .translated_outbound = 2, .translated_inbound = 3,
		.mappings_created = 1, .sessions_created = 4, .subscribers_created = 1,
		.blocks_allocated = 1, .drops[CGN_DROP_FILTERED] = 1);
}

static void address_and_port_dependent_lets_in_sessions_alone(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(APDF, APDF));
	x = open_udp();
	pass_in(udp(server, x));
	refuse_in(udp(at(S1, 444), x), CGN_DROP_FILTERED);
	refuse_in(udp(at(S2, 443), x), CGN_DROP_FILTERED);
	pass_out(udp(client, at(S1, 444)));
	pass_in(udp(at(S1, 444), x));
	assert_int_equal(gauge(sessions), 2);
}

// RFC 5382 REQ-3b
static void tcp_and_udp_have_modes_of_their_own(void **state)
{
	struct endpoint x, y;

	BED(.policies = POLICY(EIF, ADF));
	x = open_udp();
	y = open_tcp();
	pass_in(udp(at(S2, 9), x));
	refuse_in(tcp(at(S2, 9), y, TCP_SYN), CGN_DROP_FILTERED);
	refuse_in(tcp(at(S2, 9), y, TCP_ACK), CGN_DROP_FILTERED);
	pass_in(tcp(at(S1, 9), y, TCP_SYN));
	refuse_in(tcp(at(S1, 10), y, TCP_ACK), CGN_DROP_TCP_NO_SESSION);
}

static void tcp_with_address_and_port_still_opens_from_both_sides_at_once(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(EIF, APDF));
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	refuse_in(tcp(at(S1, 444), x, TCP_SYN), CGN_DROP_FILTERED);
	pass_in(tcp(server, x, TCP_SYN)); // RFC 5382 REQ-2a
	pass_out(tcp(client, server, TCP_SYN | TCP_ACK));
}

// RFC 7857 7: the mapping ends at its time
static void what_is_refused_refreshes_nothing(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	for (unsigned i = 0; i < 29; i++) {
		bed_wait(10);
		refuse_in(udp(at(S2, 443), x), CGN_DROP_FILTERED);
	}
	assert_int_equal(gauge(mappings), 1);
	bed_wait(12);
	assert_int_equal(gauge(mappings), 0);
	refuse_in(udp(at(S2, 443), x), CGN_DROP_NO_MAPPING);
}

// RFC 7857 7: neither do the errors and resets by which the inside turns somebody away.
static void turning_away_refreshes_nothing(void **state)
{
	const struct endpoint stranger = {S2, 443};
	struct endpoint x, y;
	struct frame f;

	BED();
	x = open_udp();
	y = source_of(pass_out(tcp(client, server, TCP_SYN)));
	pass_in(tcp(server, y, TCP_RST));
	for (unsigned i = 0; i < 23; i++) {
		bed_wait(10);
		f = pass_in(udp(stranger, x));
		pass_out(icmp_error(ALICE, S2, ICMP_UNREACHABLE, ICMP_CODE_PORT, &f, WHOLE));
		if (i) {
			pass_in(tcp(stranger, y, TCP_SYN));
			pass_out(tcp(client, stranger, TCP_RST | TCP_ACK));
		}
	}
	bed_wait(72); // 302 s
	assert_int_equal(gauge(mappings), 0);
}

// The port that listens answers, and so the session is kept.
static void an_answered_syn_refreshes(void **state)
{
	const struct endpoint stranger = {S2, 443};
	struct endpoint y;

	BED();
	y = source_of(pass_out(tcp(client, server, TCP_SYN)));
	pass_in(tcp(stranger, y, TCP_SYN));
	bed_wait(200);
	pass_in(tcp(stranger, y, TCP_SYN));
	pass_out(tcp(client, stranger, TCP_SYN | TCP_ACK));
	pass_in(tcp(stranger, y, TCP_ACK));
	bed_wait(7400);
	assert_int_equal(gauge(sessions), 1);
	pass_in(tcp(stranger, y, TCP_ACK));
}

// Packets of a remote do not prolong what lets it in, on whatever ports it comes, though the mapping
// lives on for others.
static void a_remote_does_not_keep_itself_let_in(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	for (unsigned i = 0; i < 14; i++) {
		bed_wait(20);
		pass_out(udp(client, at(S2, 1)));
		pass_in(udp(at(S1, 1000 + i), x));
	}
	bed_wait(22); // 302 s after the only packet to S1
	refuse_in(udp(at(S1, 1013), x), CGN_DROP_FILTERED);
	refuse_in(udp(at(S1, 2000), x), CGN_DROP_FILTERED);
	pass_in(udp(at(S2, 2000), x));
	assert_int_equal(gauge(sessions), 2);
}

// What the inside answers on a session that the remote opened counts as its own.
static void an_answer_keeps_the_address_let_in(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	pass_in(udp(at(S1, 7), x));
	for (unsigned i = 0; i < 4; i++) {
		bed_wait(200);
		pass_out(udp(client, at(S1, 7)));
	}
	assert_int_equal(gauge(sessions), 1); // the first one has gone
	pass_in(udp(at(S1, 8), x));
}

// The mapping's first session ends, others take its place: who may send follows the sessions exactly.
static void filtering_is_exact_with_2000_remotes(void **state)
{
	enum {
		N = 2000
	};
	struct endpoint x;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	for (unsigned i = 0; i < N; i++) // every third address has two sessions
		pass_out(udp(client, at(0x08000000u + i - (i % 3 == 2), 80 + i % 7)));
	bed_wait(150);
	for (unsigned i = 0; i < N; i += 2)
		pass_out(udp(client, at(0x08000000u + i - (i % 3 == 2), 80 + i % 7)));
	for (unsigned i = 0; i < N; i++) {
		if (i % 3 != 2)
			pass_in(udp(at(0x08000000u + i, 9), x));
		else
			refuse_in(udp(at(0x08000000u + i, 9), x), CGN_DROP_FILTERED);
	}
	bed_wait(152); // half of them have ended, the first one among them
	for (unsigned i = 0; i < N; i++) {
		const bool second = i % 3 == 1 && i + 1 < N && !((i + 1) % 2);
		const struct endpoint remote = at(0x08000000u + i, 9);

		if (i % 3 != 2 && (!(i % 2) || second))
			pass_in(udp(remote, x));
		else
			refuse_in(udp(remote, x), CGN_DROP_FILTERED);
	}
	refuse_in(udp(at(S1, 444), x), CGN_DROP_FILTERED);
}

static void a_hairpin_is_filtered_too(void **state)
{
	const struct endpoint bob = {BOB, 7000};
	struct endpoint x, y;
	struct frame f;

	BED(.policies = POLICY(ADF, ADF));
	x = open_udp();
	y = source_of(pass_out(udp(bob, server)));
	bed_put(INSIDE, udp(bob, x));
	bed_run();
	expect_nothing();
	assert_int_equal(bed_sum().drops[CGN_DROP_FILTERED], 1);
	f = hairpin(udp(client, y)); // Bob has sent to Alice's address
	assert_endpoint(destination_of(f), bob);
	f = hairpin(udp(bob, x));
	assert_endpoint(destination_of(f), client);
}

// Errors come from routers that nobody has sent to (RFC 5508 REQ-4).
static void icmp_errors_pass_in_every_mode(void **state)
{
	struct endpoint x;
	struct frame f;

	BED(.policies = POLICY(APDF, APDF));
	x = open_udp();
	f = udp(x, server);
	pass_in(icmp_error(0x08080808, x.address, ICMP_TIME_EXCEEDED, 0, &f, 8));
}

// RFC 7857 7: with ever new ports, too
static void a_tcp_remote_does_not_keep_itself_let_in(void **state)
{
	struct endpoint x;
	struct frame f;

	BED(.policies = POLICY(EIF, ADF));
	x = open_tcp();
	pass_in(tcp(server, x, TCP_RST));
	for (unsigned i = 0; i < 10; i++) {
		bed_wait(100);
		bed_put(OUTSIDE, tcp(at(S1, 5000 + i), x, TCP_SYN));
		bed_run();
		while (bed_take(INSIDE, &f))
			;
	}
	assert_int_equal(gauge(mappings), 0);
	// a SYN that is answered is a session like others
	x = open_tcp();
	pass_in(tcp(at(S1, 6000), x, TCP_SYN));
	pass_out(tcp(client, at(S1, 6000), TCP_SYN | TCP_ACK));
	bed_wait(7000);
	pass_in(tcp(at(S1, 6000), x, TCP_ACK));
}

BED_MAIN(TEST(a_tcp_remote_does_not_keep_itself_let_in),
	TEST(address_dependent_lets_in_the_address_with_any_port),
	TEST(address_and_port_dependent_lets_in_sessions_alone),
	TEST(tcp_and_udp_have_modes_of_their_own),
	TEST(tcp_with_address_and_port_still_opens_from_both_sides_at_once),
	TEST(what_is_refused_refreshes_nothing), TEST(turning_away_refreshes_nothing),
	TEST(an_answered_syn_refreshes), TEST(a_remote_does_not_keep_itself_let_in),
	TEST(an_answer_keeps_the_address_let_in), TEST(filtering_is_exact_with_2000_remotes),
	TEST(a_hairpin_is_filtered_too), TEST(icmp_errors_pass_in_every_mode))
