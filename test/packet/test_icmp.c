// SPDX-License-Identifier: BSD-3-Clause
// ICMP: queries, errors that pass and errors of our own (RFC 5508, RFC 1812 4.3.2).
#include "bed.h"
#include "csum.h"

static struct endpoint udp_mapping(void)
{
	return source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
}

// RFC 5508 REQ-1, REQ-1a
static void a_query_goes_out_with_a_mapped_id_and_its_reply_comes_back(void **state)
{
	struct frame f;
	struct endpoint x;

	BED();
	f = pass_out(echo(at(ALICE, 77), S1));
	x = source_of(f);
	assert_int_equal(destination_of(f).address, S1);
	assert_in_range(x.port, 1024, 65535);
	assert_endpoint(source_of(pass_out(echo(at(ALICE, 77), S2))), x);
	f = pass_in(echo_reply(S1, x));
	assert_endpoint(destination_of(f), at(ALICE, 77));
	assert_endpoint(destination_of(pass_in(echo_reply(S2, x))), at(ALICE, 77));
	COUNTED(.rx_packets = 4, .tx_packets = 4, .translated_outbound = 2, .translated_inbound = 2,
		.mappings_created = 1, .sessions_created = 2, .subscribers_created = 1,
		.blocks_allocated = 1);
	refuse_in(echo_reply(0xc6336403, x), CGN_DROP_ICMP_NO_SESSION);
	refuse_in(echo_reply(S1, at(x.address, x.port ^ 1)), CGN_DROP_NO_MAPPING);
}

// RFC 5508 REQ-2
static void a_query_mapping_lives_60_s(void **state)
{
	struct endpoint x;

	BED();
	x = source_of(pass_out(echo(at(ALICE, 77), S1)));
	bed_wait_ms(59999);
	pass_in(echo_reply(S1, x));
	bed_wait_ms(2001);
	refuse_in(echo_reply(S1, x), CGN_DROP_NO_MAPPING);
}

// RFC 5508 REQ-6
static void errors_about_a_query_neither_refresh_nor_end_it(void **state)
{
	struct frame f, e;
	struct endpoint x;

	BED();
	f = pass_out(echo(at(ALICE, 77), S1));
	x = source_of(f);
	bed_wait_ms(59000);
	e = pass_in(icmp_error(S2, x.address, ICMP_TIME_EXCEEDED, 0, &f, WHOLE));
	assert_error(e, ICMP_TIME_EXCEEDED, 0, S2, ALICE, with_ttl(echo(at(ALICE, 77), S1), 63));
	pass_in(echo_reply(S1, x));
	bed_wait_ms(3000);
	assert_int_equal(gauge(sessions), 0);
}

// RFC 5508 REQ-4, 4a, 4b, 4c, REQ-3c; RFC 4787 REQ-12a: from a router never seen before
static void errors_from_outside_reach_the_host_as_if_about_its_own_packet(void **state)
{
	static const struct {
		uint8_t type, code;
	} kinds[] = {{3, 0}, {3, 1}, {3, 3}, {3, 4}, {3, 13}, {11, 0}, {11, 1}, {12, 0}};
	static const unsigned quoted[] = {WHOLE, 8, 12};
	const uint32_t router = 0xc0000263;
	struct frame tcp_out, udp_out, e, mine;

	BED();
	udp_out = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	tcp_out = pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN));
	for (unsigned i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		for (unsigned j = 0; j < 3; j++) {
			const uint8_t type = kinds[i].type, code = kinds[i].code;

			e = pass_in(icmp_error(router, source_of(udp_out).address, type, code,
				&udp_out, quoted[j]));
			mine = with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 63);
			assert_error(e, type, code, router, ALICE, mine);
			e = pass_in(icmp_error(router, source_of(tcp_out).address, type, code,
				&tcp_out, quoted[j]));
			mine = with_ttl(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN), 63);
			assert_error(e, type, code, router, ALICE, mine);
		}
	}
	COUNTED(.rx_packets = 50, .tx_packets = 50, .translated_outbound = 2,
		.translated_inbound = 48, .icmp_errors_translated = 48, .mappings_created = 2,
		.sessions_created = 2, .subscribers_created = 1, .blocks_allocated = 1);
}

// RFC 1191, RFC 5382 REQ-9
static void the_mtu_of_a_3_4_passes_unchanged(void **state)
{
	struct frame f, e;

	BED();
	f = pass_out(with_df(udp(at(ALICE, 5000), at(S1, 53))));
	e = icmp_error(S2, source_of(f).address, 3, 4, &f, 8);
	frame_l4(&e)[6] = 1280 >> 8;
	frame_l4(&e)[7] = 1280 & 0xff;
	frame_seal(&e);
	e = pass_in(e);
	assert_int_equal(frame_l4(&e)[6] << 8 | frame_l4(&e)[7], 1280);
}

// RFC 5508 REQ-3b
static void options_inside_the_quote_are_stepped_over(void **state)
{
	static const uint8_t options[40] = {7, 39, 4}; // record route, as long as can be
	struct frame f, e;

	BED();
	f = pass_out(with_options(udp(at(ALICE, 5000), at(S1, 53)), options, sizeof(options)));
	e = pass_in(icmp_error(S2, source_of(f).address, 11, 0, &f, 8));
	assert_error(e, 11, 0, S2, ALICE,
		with_ttl(with_options(udp(at(ALICE, 5000), at(S1, 53)), options, 40), 63));
}

// RFC 5508 REQ-3d (RFC 4884)
static void an_extension_behind_the_quote_arrives_intact(void **state)
{
	static const uint8_t mpls[12] = {0x20, 0, 0xd3, 0x42, 0, 8, 1, 1, 0x12, 0x34, 0x51, 0x01};
	struct frame f, e;
	struct ipv4 *ip;

	BED();
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	e = icmp_error(S2, source_of(f).address, 11, 0, &f, WHOLE);
	frame_l4(&e)[5] = 128 / 4; // the quote is padded to 128 bytes
	ip = frame_ip(&e);
	ip->total_len = htons(20 + 8 + 128 + sizeof(mpls));
	e.len = 14 + 20 + 8 + 128 + sizeof(mpls);
	memset(frame_l4(&e) + 8 + 60, 0, 68);
	memcpy(frame_l4(&e) + 8 + 128, mpls, sizeof(mpls));
	frame_seal(&e);
	e = pass_in(e);
	assert_memory_equal(frame_l4(&e) + 8 + 128, mpls, sizeof(mpls));
	assert_int_equal(frame_l4(&e)[5], 128 / 4);
	assert_error(e, 11, 0, S2, ALICE, with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 63));
}

// RFC 5508 REQ-3, REQ-3a, REQ-4
static void bad_errors_from_outside_are_dropped(void **state)
{
	struct frame f, e, q;
	struct endpoint x;

	BED();
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	x = source_of(f);
	e = icmp_error(S2, x.address, 3, 3, &f, 8);
	frame_l4_check_set(&e, (uint16_t)(frame_l4_check(&e) ^ 1));
	refuse_in(e, CGN_DROP_ICMP_CHECKSUM);
	q = f;
	frame_ip(&q)->check ^= 1;
	refuse_in(icmp_error(S2, x.address, 3, 3, &q, 8), CGN_DROP_ICMP_QUOTE);
	refuse_in(icmp_error(S2, x.address, 3, 3, &f, 7), CGN_DROP_ICMP_QUOTE);
	q = udp(at(x.address, x.port ^ 1), at(S1, 53));
	refuse_in(icmp_error(S2, x.address, 3, 3, &q, 8), CGN_DROP_ICMP_NO_MAPPING);
	// the outer destination is not whom the quoted packet came from
	refuse_in(icmp_error(S2, x.address == X1 ? X1 + 1 : X1, 3, 3, &f, 8),
		CGN_DROP_ICMP_NO_MAPPING);
	q = ip_packet(x.address, S1, 47, 16);
	refuse_in(icmp_error(S2, x.address, 3, 2, &q, 8), CGN_DROP_ICMP_QUOTE);
	q = f;
	frame_ip(&q)->frag = htons(100);
	frame_seal_ip(&q);
	refuse_in(icmp_error(S2, x.address, 3, 3, &q, 8), CGN_DROP_ICMP_QUOTE);
}

// RFC 5508 REQ-5, 5c
static void errors_from_inside_leave_with_the_mapped_address(void **state)
{
	struct endpoint x;
	struct frame f, e, theirs;

	BED();
	x = udp_mapping();
	theirs = with_ttl(udp(at(S1, 53), x), 63);
	f = pass_in(udp(at(S1, 53), x));
	e = pass_out(icmp_error(ALICE, S1, 3, 3, &f, WHOLE));
	assert_error(e, 3, 3, x.address, S1, theirs);
	// from a router that is no subscriber
	e = pass_out(icmp_error(ROUTER_INSIDE, S1, 11, 0, &f, 8));
	assert_error(e, 11, 0, x.address, S1, theirs);
	assert_int_equal(bed_sum().icmp_errors_translated, 2);
	f = udp(at(S1, 53), at(ALICE, 5001));
	refuse_out(icmp_error(ALICE, S1, 3, 3, &f, 8), CGN_DROP_ICMP_NO_MAPPING);
	f = udp(at(S1, 53), at(ALICE, 5000));
	refuse_out(icmp_error(ALICE, S2, 3, 3, &f, 8), CGN_DROP_ICMP_NO_MAPPING);
	e = icmp_error(ALICE, S1, 3, 3, &f, 8);
	frame_l4_check_set(&e, (uint16_t)(frame_l4_check(&e) ^ 1));
	refuse_out(e, CGN_DROP_ICMP_CHECKSUM);
}

// RFC 5508 REQ-7, 7a; RFC 7857 12
static void an_error_about_a_hairpin_reaches_who_sent_it(void **state)
{
	struct endpoint a, b;
	struct frame f, e;

	BED();
	a = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	b = source_of(pass_out(udp(at(BOB, 6000), at(S1, 53))));
	f = hairpin(udp(at(BOB, 6000), a));
	assert_endpoint(source_of(f), b);
	COUNTED(.rx_packets = 3, .tx_packets = 3, .translated_outbound = 2, .hairpinned = 1,
		.mappings_created = 2, .sessions_created = 4, .subscribers_created = 2,
		.blocks_allocated = 2);
	e = hairpin(icmp_error(ALICE, b.address, 3, 3, &f, WHOLE));
	assert_error(e, 3, 3, a.address, BOB, with_ttl(udp(at(BOB, 6000), a), 63));
	COUNTED(.rx_packets = 1, .tx_packets = 1, .hairpinned = 1, .icmp_errors_translated = 1);
}

// RFC 1812 5.3.1, 4.3.2.4; nothing is made for a packet that is not forwarded
static void ttl_that_runs_out_is_answered_in_both_directions(void **state)
{
	struct frame f = with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 1), e;
	struct endpoint x;

	BED();
	bed_put(INSIDE, f);
	bed_run();
	e = expect_frame(INSIDE);
	assert_error(e, 11, 0, US_INSIDE, ALICE, f);
	assert_int_equal(frame_ip(&e)->ttl, 64);
	COUNTED(.rx_packets = 1, .tx_packets = 1, .originated = 1, .icmp_errors_sent = 1,
		.drops[CGN_DROP_TTL_EXPIRED] = 1);
	x = udp_mapping();
	bed_put(INSIDE, f); // with a session, too
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, ALICE, f);
	f = with_ttl(udp(at(S1, 53), x), 1);
	bed_put(OUTSIDE, f);
	bed_run();
	assert_error(expect_frame(OUTSIDE), 11, 0, US_OUTSIDE, S1, f);
	f = with_ttl(udp(at(S2, 53), x), 0);
	bed_put(OUTSIDE, f);
	bed_run();
	assert_error(expect_frame(OUTSIDE), 11, 0, US_OUTSIDE, S2, f);
	expect_nothing();
	COUNTED(.rx_packets = 4, .tx_packets = 4, .originated = 3, .icmp_errors_sent = 3,
		.translated_outbound = 1, .mappings_created = 1, .sessions_created = 1,
		.subscribers_created = 1, .blocks_allocated = 1, .drops[CGN_DROP_TTL_EXPIRED] = 3);
}

// RFC 1812 4.3.2.3
static void an_error_quotes_what_fits_in_576_bytes(void **state)
{
	struct frame f = with_ttl(with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500), 1), e;

	BED();
	bed_put(INSIDE, f);
	bed_run();
	e = expect_frame(INSIDE);
	assert_error(e, 11, 0, US_INSIDE, ALICE, f);
	assert_int_equal(ntohs(frame_ip(&e)->total_len), 576);
}

// RFC 1812 4.3.2.7
static void no_error_is_sent_about_errors_or_bad_sources(void **state)
{
	struct frame f, e;
	struct endpoint x;

	BED();
	x = udp_mapping();
	f = udp(x, at(S1, 53));
	refuse_in(with_ttl(icmp_error(S2, x.address, 3, 3, &f, 8), 1), CGN_DROP_TTL_EXPIRED);
	f = udp(at(S1, 53), at(ALICE, 5000));
	e = with_ttl(icmp_error(ALICE, S1, 3, 3, &f, 8), 1);
	refuse_out(e, CGN_DROP_TTL_EXPIRED);
	refuse_out(with_ttl(udp(at(0xe0000001, 1), at(S1, 53)), 1), CGN_DROP_IP_SOURCE);
	refuse_out(with_ttl(udp(at(0x7f000001, 1), at(S1, 53)), 1), CGN_DROP_IP_SOURCE);
}

// RFC 1812 4.3.2.8
static void our_errors_are_limited_per_second(void **state)
{
	BED(.more = "icmp: {errors-per-second: 10}");
	for (unsigned second = 1; second <= 3; second++) {
		for (unsigned i = 0; i < 25; i++)
			bed_put(INSIDE, with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 1));
		bed_run();
		assert_int_equal(bed_waiting(INSIDE), 10 * second);
		bed_wait_ms(1000);
	}
	COUNTED(.rx_packets = 75, .tx_packets = 30, .originated = 30, .icmp_errors_sent = 30,
		.icmp_errors_suppressed = 45, .drops[CGN_DROP_TTL_EXPIRED] = 75);
}

// RFC 6888 REQ-11b, RFC 5508 REQ-8, REQ-9
static void a_refused_session_is_answered_as_configured(void **state)
{
	static const char *const more[] = {
		"icmp: {refused: host-unreachable}", "icmp: {refused: admin-prohibited}"};
	const char *const policy = "  - {name: home, match: {source: [100.64.0.0/10]}, action: "
				   "translate, pool: p, limits: {sessions: 1}}";
	const struct frame refused = udp(at(ALICE, 5001), at(S1, 53));

	for (unsigned i = 0; i < 2; i++) {
		BED(.policies = policy, .more = more[i]);
		udp_mapping();
		bed_put(INSIDE, refused);
		bed_run();
		assert_error(expect_frame(INSIDE), 3, i ? 13 : 1, US_INSIDE, ALICE, refused);
		expect_nothing();
		COUNTED(.rx_packets = 2, .tx_packets = 2, .translated_outbound = 1,
			.mappings_created = 1, .sessions_created = 1, .subscribers_created = 1,
			.blocks_allocated = 1, .originated = 1, .icmp_errors_sent = 1,
			.drops[CGN_DROP_SESSION_LIMIT] = 1);
		assert_int_equal(bed_teardown(NULL), 0);
	}
	BED(.policies = policy, .more = "icmp: {refused: off}");
	udp_mapping();
	refuse_out(refused, CGN_DROP_SESSION_LIMIT);
}

// RFC 1812 4.3.3.6
static void echo_requests_to_our_own_addresses_are_answered(void **state)
{
	const uint32_t ours[] = {US_INSIDE, US_OUTSIDE};
	struct frame f;

	BED();
	for (unsigned i = 0; i < 2; i++) { // from inside, either address
		bed_put(INSIDE, with_ttl(echo(at(ALICE, 9), ours[i]), 1));
		bed_run();
		f = expect_frame(INSIDE);
		assert_int_equal(source_of(f).address, ours[i]);
		assert_endpoint(destination_of(f), at(ALICE, 9));
		assert_int_equal(frame_l4(&f)[0], ICMP_ECHO_REPLY);
		assert_int_equal(frame_ip(&f)->ttl, 64);
	}
	bed_put(OUTSIDE, echo(at(S1, 9), US_OUTSIDE));
	bed_run();
	f = expect_frame(OUTSIDE);
	assert_endpoint(destination_of(f), at(S1, 9));
	COUNTED(.rx_packets = 3, .tx_packets = 3, .consumed = 3, .originated = 3,
		.echo_replies_sent = 3);
	f = echo(at(S1, 9), US_OUTSIDE);
	frame_l4_check_set(&f, (uint16_t)(frame_l4_check(&f) ^ 1));
	refuse_in(f, CGN_DROP_ICMP_CHECKSUM);
	refuse_in(tcp(at(S1, 9), at(US_OUTSIDE, 53), TCP_SYN), CGN_DROP_LOCAL_UNSUPPORTED);
	refuse_out(tcp(at(ALICE, 9), at(US_INSIDE, 22), TCP_SYN), CGN_DROP_LOCAL_UNSUPPORTED);
}

static void echo_requests_to_us_are_answered_1000_times_a_second(void **state)
{
	BED();
	for (unsigned i = 0; i < 1100; i++)
		bed_put(OUTSIDE, echo(at(S1, i), US_OUTSIDE));
	bed_run();
	assert_int_equal(bed_waiting(OUTSIDE), 1000);
	COUNTED(.rx_packets = 1100, .tx_packets = 1000, .consumed = 1000, .originated = 1000,
		.echo_replies_sent = 1000, .drops[CGN_DROP_LOCAL_RATE] = 100);
}

// RFC 5508 REQ-10b, 10c, REQ-11; RFC 1812 5.3.6
static void other_icmp_is_dropped_in_both_directions(void **state)
{
	static const uint8_t types[] = {1, 4, 5, 9, 10, 13, 14, 15, 16, 17, 18, 30, 40, 42, 255};
	struct endpoint x;

	BED();
	x = udp_mapping();
	for (unsigned i = 0; i < sizeof(types); i++) {
		struct frame f = echo(at(ALICE, 1), S1);

		frame_l4(&f)[0] = types[i];
		frame_seal(&f);
		refuse_out(f, CGN_DROP_ICMP_TYPE);
		f = echo(at(S1, 1), x.address);
		frame_l4(&f)[0] = types[i];
		frame_seal(&f);
		refuse_in(f, CGN_DROP_ICMP_TYPE);
	}
	refuse_out(echo_reply(ALICE, at(S1, 1)), CGN_DROP_ICMP_TYPE);
	refuse_in(echo(at(S1, 1), x.address), CGN_DROP_ICMP_NO_SESSION);
}

BED_MAIN(TEST(a_query_goes_out_with_a_mapped_id_and_its_reply_comes_back),
	TEST(a_query_mapping_lives_60_s), TEST(errors_about_a_query_neither_refresh_nor_end_it),
	TEST(errors_from_outside_reach_the_host_as_if_about_its_own_packet),
	TEST(the_mtu_of_a_3_4_passes_unchanged), TEST(options_inside_the_quote_are_stepped_over),
	TEST(an_extension_behind_the_quote_arrives_intact),
	TEST(bad_errors_from_outside_are_dropped),
	TEST(errors_from_inside_leave_with_the_mapped_address),
	TEST(an_error_about_a_hairpin_reaches_who_sent_it),
	TEST(ttl_that_runs_out_is_answered_in_both_directions),
	TEST(an_error_quotes_what_fits_in_576_bytes),
	TEST(no_error_is_sent_about_errors_or_bad_sources), TEST(our_errors_are_limited_per_second),
	TEST(a_refused_session_is_answered_as_configured),
	TEST(echo_requests_to_our_own_addresses_are_answered),
	TEST(echo_requests_to_us_are_answered_1000_times_a_second),
	TEST(other_icmp_is_dropped_in_both_directions))
