// SPDX-License-Identifier: BSD-3-Clause
// TCP through the translator: RFC 5382, and the states of RFC 7857 2.
#include "bed.h"
#include "flow.h"

static const struct endpoint client = {ALICE, 5000}, server = {S1, 443};

static const struct flow *session(struct endpoint internal, struct endpoint remote)
{
	const struct flow_table *t = &bed.worker[0]->flows;
	uint32_t head = flow_find_out(
		t, FLOW_KEY(htonl(internal.address), htons(internal.port), CGN_PROTO_TCP));
	uint32_t record = head == FLOW_NONE
		? head
		: flow_find_session(
			  t, head, FLOW_REMOTE(htonl(remote.address), htons(remote.port)));

	return record == FLOW_NONE ? NULL : &t->flow[record];
}

#define assert_state(wanted) \
	do { \
		assert_non_null(session(client, server)); \
		assert_int_equal(session(client, server)->state, CGN_SESSION_##wanted); \
	} while (0)

static struct endpoint out(uint8_t flags)
{
	return source_of(pass_out(tcp(client, server, flags)));
}

static void in(struct endpoint x, uint8_t flags)
{
	assert_endpoint(destination_of(pass_in(tcp(server, x, flags))), client);
}

static struct endpoint established(void)
{
	struct endpoint x = out(TCP_SYN);

	in(x, TCP_SYN | TCP_ACK);
	out(TCP_ACK);
	assert_state(ESTABLISHED);
	return x;
}

static struct endpoint closed(void)
{
	struct endpoint x = established();

	out(TCP_FIN | TCP_ACK);
	in(x, TCP_FIN | TCP_ACK);
	out(TCP_ACK);
	assert_state(BOTH_FIN);
	return x;
}

// Alive for that long without packets, and gone two seconds later.
static void gone_after(uint32_t seconds)
{
	bed_wait(seconds - 1);
	bed_wait_ms(999);
	assert_non_null(session(client, server));
	bed_wait_ms(2001);
	assert_null(session(client, server));
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(mappings), 0);
}

// RFC 5382 REQ-2
static void a_connection_opens_carries_data_and_closes(void **state)
{
	struct endpoint x;

	BED();
	x = out(TCP_SYN);
	assert_state(INIT);
	assert_endpoint(out(TCP_SYN), x); // sent again
	in(x, TCP_SYN | TCP_ACK);
	assert_state(ESTABLISHED);
	out(TCP_ACK);
	out(TCP_ACK | TCP_PSH);
	in(x, TCP_ACK);
	out(TCP_FIN | TCP_ACK);
	assert_state(CLIENT_FIN);
	in(x, TCP_ACK | TCP_PSH); // half closed: data still comes
	assert_state(CLIENT_FIN);
	in(x, TCP_FIN | TCP_ACK);
	assert_state(BOTH_FIN);
	out(TCP_ACK);
	assert_state(BOTH_FIN);
	COUNTED(.rx_packets = 10, .tx_packets = 10, .translated_outbound = 6,
		.translated_inbound = 4, .mappings_created = 1, .sessions_created = 1,
		.subscribers_created = 1, .blocks_allocated = 1);
}

static void the_server_may_close_first(void **state)
{
	struct endpoint x;

	BED();
	x = established();
	in(x, TCP_FIN | TCP_ACK);
	assert_state(SERVER_FIN);
	out(TCP_ACK | TCP_PSH);
	assert_state(SERVER_FIN);
	out(TCP_FIN | TCP_ACK);
	assert_state(BOTH_FIN);
}

// RFC 5382 REQ-2a
static void both_sides_may_open_at_once(void **state)
{
	struct endpoint x;

	BED();
	x = out(TCP_SYN);
	in(x, TCP_SYN);
	assert_state(ESTABLISHED);
	out(TCP_SYN | TCP_ACK);
	in(x, TCP_SYN | TCP_ACK);
	assert_state(ESTABLISHED);
}

// RFC 7857 2.2
static void a_reset_is_translated_and_data_brings_the_session_back(void **state)
{
	struct endpoint x;

	BED();
	x = established();
	in(x, TCP_RST);
	assert_state(TRANSITORY);
	bed_wait(200);
	in(x, TCP_ACK | TCP_PSH);
	assert_state(ESTABLISHED);
	out(TCP_RST | TCP_ACK);
	assert_state(TRANSITORY);
	gone_after(240);
}

// RFC 5382 REQ-5, RFC 7857 2: 7440 s and then 240 s more as transitory
static void an_established_session_lives_7440_and_240_s(void **state)
{
	BED();
	established();
	bed_wait(7439);
	assert_state(ESTABLISHED);
	bed_wait(3);
	assert_state(TRANSITORY);
	bed_wait(237);
	assert_state(TRANSITORY);
	bed_wait(3);
	assert_null(session(client, server));
	assert_int_equal(bed_sum().sessions_expired, 1);
}

static void data_after_7440_s_brings_an_idle_session_back(void **state)
{
	struct endpoint x;

	BED();
	x = established();
	bed_wait(7600);
	assert_state(TRANSITORY);
	in(x, TCP_ACK);
	assert_state(ESTABLISHED);
	bed_wait(7400);
	assert_state(ESTABLISHED);
}

static void a_half_open_session_lives_240_s(void **state)
{
	BED();
	out(TCP_SYN);
	gone_after(240);
}

static void a_closed_session_lives_240_s(void **state)
{
	BED();
	closed();
	gone_after(240);
}

// RFC 7857 2.1: separate knobs
static void opening_and_closing_have_timers_of_their_own(void **state)
{
	BED(.more = "timeouts: {tcp-opening: 30, tcp-closing: 50, tcp-established: 100, non-conformant: true}");
	out(TCP_SYN);
	gone_after(30);
	closed();
	gone_after(50);
	established();
	gone_after(150);
}

static void either_direction_refreshes(void **state)
{
	struct endpoint x;

	BED();
	x = closed();
	for (unsigned i = 0; i < 3; i++) {
		bed_wait(200);
		in(x, TCP_ACK);
		bed_wait(200);
		out(TCP_ACK);
	}
	assert_state(BOTH_FIN);
}

static void a_syn_uses_a_closed_session_again(void **state)
{
	struct endpoint x;

	BED();
	x = closed();
	assert_endpoint(out(TCP_SYN), x);
	assert_state(INIT);
	in(x, TCP_SYN | TCP_ACK);
	assert_state(ESTABLISHED);
	in(x, TCP_RST);
	assert_endpoint(out(TCP_SYN), x);
	assert_state(INIT);
	assert_int_equal(bed_sum().sessions_created, 1);
	gone_after(240);
}

static void without_syn_and_session_nothing_passes_or_is_made(void **state)
{
	const uint8_t flags[] = {
		TCP_ACK, TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK, 0, TCP_SYN | TCP_RST};
	struct endpoint x;

	BED();
	for (unsigned i = 0; i < sizeof(flags); i++)
		refuse_out(tcp(client, server, flags[i]), CGN_DROP_TCP_NO_SESSION);
	x = out(TCP_SYN);
	for (unsigned i = 0; i < sizeof(flags); i++) {
		refuse_out(tcp(client, at(S2, 80), flags[i]), CGN_DROP_TCP_NO_SESSION);
		refuse_in(tcp(at(S2, 80), x, flags[i]), CGN_DROP_TCP_NO_SESSION);
	}
	refuse_in(tcp(at(S2, 80), x, TCP_SYN | TCP_ACK), CGN_DROP_TCP_NO_SESSION);
	refuse_in(tcp(server, at(x.address, x.port ^ 1), TCP_SYN), CGN_DROP_NO_MAPPING);
}

static void midstream_forwards_where_there_is_a_mapping(void **state)
{
	const struct endpoint other = {S2, 80};
	struct endpoint x;

	BED(.more = "tcp-midstream: forward-if-mapped");
	refuse_out(tcp(client, server, TCP_ACK), CGN_DROP_TCP_NO_SESSION); // no mapping
	x = established();
	assert_endpoint(source_of(pass_out(tcp(client, other, TCP_ACK))), x);
	assert_int_equal(session(client, other)->state, CGN_SESSION_TRANSITORY);
	pass_out(tcp(client, other, TCP_ACK)); // one side alone does not make it established
	assert_int_equal(session(client, other)->state, CGN_SESSION_TRANSITORY);
	pass_in(tcp(other, x, TCP_ACK));
	assert_int_equal(session(client, other)->state, CGN_SESSION_ESTABLISHED);
	assert_endpoint(destination_of(pass_in(tcp(at(S2, 81), x, TCP_ACK))), client);
	assert_int_equal(session(client, at(S2, 81))->state, CGN_SESSION_TRANSITORY);
	pass_in(tcp(at(S2, 81), x, TCP_ACK));
	assert_int_equal(session(client, at(S2, 81))->state, CGN_SESSION_TRANSITORY);
	refuse_out(tcp(client, at(S2, 82), TCP_RST), CGN_DROP_TCP_NO_SESSION);
	refuse_in(tcp(at(S2, 82), x, TCP_RST), CGN_DROP_TCP_NO_SESSION);
}

// RFC 5382 REQ-3
static void a_syn_from_outside_to_a_mapped_port_opens_a_session(void **state)
{
	const struct endpoint peer = {S2, 6881};
	struct endpoint x;

	BED();
	x = established();
	assert_endpoint(destination_of(pass_in(tcp(peer, x, TCP_SYN))), client);
	assert_int_equal(session(client, peer)->state, CGN_SESSION_INIT);
	assert_endpoint(source_of(pass_out(tcp(client, peer, TCP_SYN | TCP_ACK))), x);
	assert_int_equal(session(client, peer)->state, CGN_SESSION_ESTABLISHED);
	assert_endpoint(destination_of(pass_in(tcp(peer, x, TCP_ACK))), client);
	assert_state(ESTABLISHED);
}

// RFC 5382 REQ-1
static void each_of_300_sessions_of_a_mapping_has_its_own_state(void **state)
{
	struct endpoint x;

	BED();
	x = out(TCP_SYN);
	for (unsigned i = 0; i < 300; i++) {
		const struct endpoint remote = at(S2, 1000 + i);

		assert_endpoint(source_of(pass_out(tcp(client, remote, TCP_SYN))), x);
		if (i % 3)
			pass_in(tcp(remote, x, TCP_SYN | TCP_ACK));
		if (i % 3 == 2)
			pass_in(tcp(remote, x, TCP_RST));
	}
	for (unsigned i = 0; i < 300; i++) {
		static const uint8_t want[] = {
			CGN_SESSION_INIT, CGN_SESSION_ESTABLISHED, CGN_SESSION_TRANSITORY};

		assert_int_equal(session(client, at(S2, 1000 + i))->state, want[i % 3]);
	}
	assert_int_equal(gauge(sessions), 301);
	bed_wait(242); // half-open and reset ones go, and so does the mapping's first session
	assert_int_equal(gauge(sessions), 100);
	assert_int_equal(gauge(mappings), 1);
	for (unsigned i = 1; i < 300; i += 3) {
		const struct endpoint remote = at(S2, 1000 + i);

		assert_int_equal(session(client, remote)->state, CGN_SESSION_ESTABLISHED);
		assert_endpoint(source_of(pass_out(tcp(client, remote, TCP_ACK))), x);
		assert_endpoint(destination_of(pass_in(tcp(remote, x, TCP_ACK))), client);
	}
	refuse_out(tcp(client, server, TCP_ACK), CGN_DROP_TCP_NO_SESSION);
}

// RFC 7857 2.2: a session, not its mapping, is what a RST shortens
static void sessions_count_their_packets_and_bytes(void **state)
{
	struct endpoint x;
	const struct flow *f;

	BED();
	x = established();
	pass_out(tcp(client, at(S2, 80), TCP_SYN));
	in(x, TCP_ACK);
	f = session(client, server);
	assert_int_equal(f->pkts_out, 2);
	assert_int_equal(f->pkts_in, 2);
	assert_int_equal(f->bytes_out, 2 * (20 + 20 + 32));
	assert_int_equal(f->bytes_in, 2 * (20 + 20 + 32));
	f = session(client, at(S2, 80));
	assert_int_equal(f->pkts_out, 1);
	assert_int_equal(f->pkts_in, 0);
	in(x, TCP_RST);
	bed_wait(120);
	pass_in(tcp(at(S2, 80), x, TCP_SYN | TCP_ACK));
	bed_wait(
		123); // the first session has gone; the other one took its record with all it counted
	assert_null(session(client, server));
	f = session(client, at(S2, 80));
	assert_non_null(f);
	assert_true(f->flags & FLOW_HEAD);
	assert_int_equal(f->state, CGN_SESSION_ESTABLISHED);
	assert_int_equal(f->pkts_out, 1);
	assert_int_equal(f->pkts_in, 1);
}

// RFC 5382 REQ-10
static void no_icmp_error_ends_a_connection(void **state)
{
	struct endpoint x;
	struct frame f;

	BED();
	x = established();
	f = tcp(x, server, TCP_ACK);
	for (unsigned code = 0; code <= 15; code++)
		pass_in(icmp_error(S2, x.address, ICMP_UNREACHABLE, (uint8_t)code, &f, 8));
	pass_in(icmp_error(S2, x.address, ICMP_TIME_EXCEEDED, 0, &f, 8));
	assert_state(ESTABLISHED);
	in(x, TCP_ACK);
	out(TCP_ACK);
}

BED_MAIN(TEST(a_connection_opens_carries_data_and_closes), TEST(the_server_may_close_first),
	TEST(both_sides_may_open_at_once),
	TEST(a_reset_is_translated_and_data_brings_the_session_back),
	TEST(an_established_session_lives_7440_and_240_s),
	TEST(data_after_7440_s_brings_an_idle_session_back), TEST(a_half_open_session_lives_240_s),
	TEST(a_closed_session_lives_240_s), TEST(opening_and_closing_have_timers_of_their_own),
	TEST(either_direction_refreshes), TEST(a_syn_uses_a_closed_session_again),
	TEST(without_syn_and_session_nothing_passes_or_is_made),
	TEST(midstream_forwards_where_there_is_a_mapping),
	TEST(a_syn_from_outside_to_a_mapped_port_opens_a_session),
	TEST(each_of_300_sessions_of_a_mapping_has_its_own_state),
	TEST(sessions_count_their_packets_and_bytes), TEST(no_icmp_error_ends_a_connection))
