// SPDX-License-Identifier: BSD-3-Clause
// IPv6: forwarded untouched, refused with the right error (RFC 8200, RFC 4443, RFC 4291).
#include "dual.h"

// ---- forwarded

static void packets_pass_untouched_in_both_directions(void **state)
{
	struct frame f;

	DUAL_BED();
	f = pass_out(udp6(ALICE6, 1000, SERVER6, 53));
	assert_memory_equal(f.b, "\x02\x06\x00\x00\x00\x02", 6); // that of 2001:db8:2::2
	f = pass_in(udp6(SERVER6, 53, ALICE6, 1000));
	assert_memory_equal(f.b, "\x02\x06\x00\x00\x00\x02", 6); // that of fe80::2
	pass_in(udp6(SERVER6, 53, HOST6, 1000)); // on the link
	pass_out(packet6(HOST6, SERVER6, 59, 0)); // no next header
	pass_out(packet6(ALICE6, SERVER6, 50, 100)); // any protocol
	pass_out(icmp6_message(ALICE6, SERVER6, 1, 4, 60)); // an error, too
	pass_out(icmp6_message(
		ALICE6, SERVER6, ND_SOLICITATION, 0, 24)); // not to us: no business of ours
	COUNTED(.rx_packets = 7, .tx_packets = 7, .ipv6_forwarded = 7,
		.ipv6_forwarded_bytes = 3 * 80 + 40 + 140 + 100 + 64);
	assert_int_equal(gauge(neighbours), 2 + 3);
}

static void fragments_and_extension_headers_pass_untouched(void **state)
{
	const struct frame f = udp6(ALICE6, 1000, SERVER6, 53);

	DUAL_BED();
	pass_out(with_extension(f, IPV6_FRAGMENT, "\0\0\1\0\0\0\1")); // the first
	pass_out(with_extension(f, IPV6_FRAGMENT, "\0\1\xf0\0\0\0\1"));
	pass_out(with_extension(f, IPV6_HOP_BY_HOP, "\0\5\2\0\0\1\0"));
	pass_out(with_extension(f, IPV6_DESTINATION, "\0\1\4\0\0\0\0"));
	pass_out(with_extension(f, IPV6_ROUTING, "\0\0\1\0\0\0\0")); // RFC 5095: not for us
}

static void padding_of_the_frame_is_left_behind(void **state)
{
	struct frame f = packet6(ALICE6, SERVER6, 59, 0);

	DUAL_BED();
	f.len = 60;
	assert_int_equal(pass_out(f).len, 14 + 40);
}

static void a_vlan_carries_ipv6_too(void **state)
{
	struct frame f;

	BED(.inside = DUAL_INSIDE ", vlan: 7", .outside = DUAL_OUTSIDE);
	f = pass_out(with_vlan(udp6(ALICE6, 1000, SERVER6, 53), 7));
	assert_int_equal(frame_l2_len(&f), 14);
	f = pass_in(udp6(SERVER6, 53, HOST6, 1000));
	assert_int_equal(frame_l2_len(&f), 18);
	bed_put(INSIDE, with_vlan(echo6(HOST6, US6_INSIDE), 7));
	bed_run();
	f = expect_frame(INSIDE);
	assert_int_equal(frame_l2_len(&f), 18);
	assert_true(from_to6(&f, US6_INSIDE, HOST6));
}

static void subscribers_reach_each_other_by_the_same_interface(void **state)
{
	DUAL_BED();
	hairpin(udp6(ALICE6, 1, HOST6, 2));
	hairpin(udp6(HOST6, 2, ALICE6, 1));
}

static void ipv4_goes_on_beside_it(void **state)
{
	DUAL_BED();
	pass_out(udp(at(ALICE, 1000), at(S1, 53)));
	pass_out(udp6(ALICE6, 1000, SERVER6, 53));
	COUNTED(.rx_packets = 2, .tx_packets = 2, .ipv6_forwarded = 1, .ipv6_forwarded_bytes = 80,
		.translated_outbound = 1, .mappings_created = 1, .sessions_created = 1,
		.subscribers_created = 1, .blocks_allocated = 1);
}

static void of_two_routes_the_longer_one_is_taken(void **state)
{
	BED(.inside = "addresses: [10.255.0.1/24, 2001:db8:1::1/64],"
		      " routes: [{prefix: 2001:db8::/32, via: 2001:db8:1::a},"
		      " {prefix: 2001:db8:100:5::/64, via: 2001:db8:1::b}]",
		.outside = DUAL_OUTSIDE);
	assert_int_equal(pass_in(udp6("2a00::1", 1, "2001:db8:100:4::1", 2)).b[5], 0x0a);
	assert_int_equal(pass_in(udp6("2a00::1", 1, "2001:db8:100:5::1", 2)).b[5], 0x0b);
	assert_int_equal(pass_in(udp6("2a00::1", 1, "2001:db8:100:6::1", 2)).b[5], 0x0a);
}

// ---- refused

static void what_is_no_packet_of_ours(void **state)
{
	struct frame f;

	DUAL_BED();
	f = udp6(ALICE6, 1, SERVER6, 2);
	f.len = 14 + 39;
	refuse_out(f, CGN_DROP_FRAME_TOO_SHORT);
	f = udp6(ALICE6, 1, SERVER6, 2);
	*(uint8_t *)frame_ip6(&f) = 0x45;
	refuse_out(f, CGN_DROP_IPV6_HEADER);
	f = udp6(ALICE6, 1, SERVER6, 2);
	f.len--;
	refuse_out(f, CGN_DROP_IPV6_HEADER);
	f = packet6(ALICE6, SERVER6, IPV6_HOP_BY_HOP, 8); // a jumbogram
	frame_ip6(&f)->payload_len = 0;
	refuse_out(f, CGN_DROP_IPV6_HEADER);
	refuse_out(udp6("ff02::5", 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6("::", 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6("::1", 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6("::ffff:100.64.0.5", 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6(US6_INSIDE, 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6(OURS_INSIDE, 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_out(udp6(ALICE6, 1, "::1", 2), CGN_DROP_IPV6_DESTINATION);
	refuse_out(udp6(ALICE6, 1, "::", 2), CGN_DROP_IPV6_DESTINATION);
	refuse_out(udp6(ALICE6, 1, "::ffff:192.0.2.1", 2), CGN_DROP_IPV6_DESTINATION);
	refuse_out(udp6(ALICE6, 1, "ff0e::1", 2), CGN_DROP_IPV6_MULTICAST);
	refuse_out(udp6(HOST6, 5353, "ff02::fb", 5353), CGN_DROP_IPV6_MULTICAST);
	refuse_out(icmp6_message(HOST6, "ff02::2", 133, 0, 8), CGN_DROP_IPV6_MULTICAST);
	refuse_out(udp6("fe80::5", 1, "fe80::6", 2), CGN_DROP_IPV6_SCOPE);
	refuse_out(udp6(ALICE6, 1, OURS_OUTSIDE, 2), CGN_DROP_IPV6_SCOPE);
}

static void frames_for_others(void **state)
{
	struct frame f = udp6(ALICE6, 1, SERVER6, 2);

	DUAL_BED();
	memcpy(f.b, "\x02\0\0\0\0\x77\x02\0\0\0\0\x78", 12);
	bed_put_raw(INSIDE, &f);
	memset(f.b, 0xff, 6);
	bed_put_raw(INSIDE, &f);
	memcpy(f.b, "\x33\x33\xff\0\0\1", 6);
	bed_put_raw(INSIDE, &f);
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 3, .drops[CGN_DROP_NOT_FOR_US] = 1,
		.drops[CGN_DROP_L2_MULTICAST] = 2);
}

static void an_interface_without_ipv6_carries_none(void **state)
{
	BED(.inside = DUAL_INSIDE);
	refuse_in(udp6(SERVER6, 53, ALICE6, 1000), CGN_DROP_IPV6_OFF);
	bed_put(INSIDE, echo6(HOST6, US6_INSIDE));
	bed_run();
	expect_frame(INSIDE);
}

static void sources_must_be_of_the_side_they_come_from(void **state) // RFC 2827
{
	DUAL_BED();
	refuse_out(udp6("2001:db8:dead::1", 1, SERVER6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_in(udp6(ALICE6, 1, HOST6, 2), CGN_DROP_IPV6_SOURCE);
	refuse_in(udp6(HOST6, 1, ALICE6, 2), CGN_DROP_IPV6_SOURCE);
}

static void the_hop_limit_ends_here(void **state)
{
	struct frame f;

	DUAL_BED();
	for (uint8_t hops = 0; hops < 2; hops++) {
		f = with_hop_limit(udp6(ALICE6, 1000, SERVER6, 53), hops);
		bed_put(INSIDE, f);
		bed_run();
		is_error6(expect_frame(INSIDE), ICMP6_TIME_EXCEEDED, 0, 0, US6_INSIDE, ALICE6, f);
		f = with_hop_limit(udp6(SERVER6, 1000, HOST6, 53), hops);
		bed_put(OUTSIDE, f);
		bed_run();
		is_error6(
			expect_frame(OUTSIDE), ICMP6_TIME_EXCEEDED, 0, 0, US6_OUTSIDE, SERVER6, f);
	}
	COUNTED(.rx_packets = 4, .originated = 4, .tx_packets = 4, .icmpv6_errors_sent = 4,
		.drops[CGN_DROP_IPV6_HOP_LIMIT] = 4);
	pass_out(with_hop_limit(udp6(ALICE6, 1000, SERVER6, 53), 2));
}

static void no_route(void **state)
{
	struct frame f = udp6(ALICE6, 1000, SERVER6, 53);

	BED(.inside = DUAL_INSIDE, .outside = "addresses: [192.0.2.2/24, 2001:db8:2::1/64]");
	bed_put(INSIDE, f);
	bed_run();
	is_error6(expect_frame(INSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_NO_ROUTE, 0, US6_INSIDE,
		ALICE6, f);
	COUNTED(.rx_packets = 1, .originated = 1, .tx_packets = 1, .icmpv6_errors_sent = 1,
		.drops[CGN_DROP_IPV6_NO_ROUTE] = 1);
	// an echo to us from where no way leads back
	bed_put(OUTSIDE, echo6(SERVER6, US6_OUTSIDE));
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 1, .originated = 1, .consumed = 1, .echo_replies_sent = 1,
		.drops[CGN_DROP_IPV6_NO_ROUTE] = 1);
}

static void unused_prefixes_do_not_go_back_and_forth(void **state)
{
	struct frame f = udp6(SERVER6, 1000, "2001:db8:300::1", 53);

	DUAL_BED();
	bed_put(OUTSIDE, f);
	bed_run();
	is_error6(expect_frame(OUTSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_NO_ROUTE, 0, US6_OUTSIDE,
		SERVER6, f);
	COUNTED(.rx_packets = 1, .originated = 1, .tx_packets = 1, .icmpv6_errors_sent = 1,
		.drops[CGN_DROP_IPV6_LOOP] = 1);
}

static void too_big_packets_are_answered_with_the_mtu(void **state) // RFC 4443 3.2
{
	struct frame f = with_size6(udp6(SERVER6, 1000, HOST6, 53), 1401);

	BED(.inside = DUAL_INSIDE ", mtu: 1400", .outside = DUAL_OUTSIDE);
	bed_put(OUTSIDE, f);
	bed_run();
	is_error6(expect_frame(OUTSIDE), ICMP6_TOO_BIG, 0, 1400, US6_OUTSIDE, SERVER6, f);
	// a fragment, too, and not only the first
	f = with_extension(with_size6(f, 1400), IPV6_FRAGMENT, "\0\1\xf0\0\0\0\1");
	bed_put(OUTSIDE, f);
	bed_run();
	is_error6(expect_frame(OUTSIDE), ICMP6_TOO_BIG, 0, 1400, US6_OUTSIDE, SERVER6, f);
	COUNTED(.rx_packets = 2, .originated = 2, .tx_packets = 2, .icmpv6_errors_sent = 2,
		.drops[CGN_DROP_IPV6_TOO_BIG] = 2);
	pass_in(with_size6(udp6(SERVER6, 1000, HOST6, 53), 1400));
}

static void link_local_sources_do_not_get_out(void **state) // RFC 4291 2.5.6, RFC 4443 3.1
{
	struct frame f = udp6("fe80::5", 1000, SERVER6, 53);

	DUAL_BED();
	bed_put(INSIDE, f);
	bed_run();
	is_error6(expect_frame(INSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_SCOPE, 0, OURS_INSIDE,
		"fe80::5", f);
	COUNTED(.rx_packets = 1, .originated = 1, .tx_packets = 1, .icmpv6_errors_sent = 1,
		.drops[CGN_DROP_IPV6_SCOPE] = 1);
}

static void refuse_silently(struct frame f)
{
	refuse_out(with_hop_limit(f, 1), CGN_DROP_IPV6_HOP_LIMIT);
}

static void errors_are_not_answered(void **state) // RFC 4443 2.4 e
{
	struct frame f = icmp6_message(ALICE6, SERVER6, ICMP6_UNREACHABLE, 4, 60);

	DUAL_BED();
	refuse_silently(f);
	refuse_silently(with_extension(f, IPV6_DESTINATION, "\0\1\4\0\0\0\0"));
	refuse_silently(with_extension(f, IPV6_FRAGMENT, "\0\0\1\0\0\0\1")); // the first fragment
	refuse_silently(with_extension(f, IPV6_FRAGMENT, "\0\1\xf0\0\0\0\1")); // who knows
	refuse_silently(icmp6_message(ALICE6, SERVER6, 127, 0, 60));
	refuse_silently(icmp6_message(ALICE6, SERVER6, ICMP6_REDIRECT, 0, 60));
	refuse_silently(packet6(ALICE6, SERVER6, IPV6_DESTINATION, 4)); // a header that is cut
	refuse_silently(packet6(ALICE6, SERVER6, IPV6_ICMP, 4));
	f = udp6(ALICE6, 1, SERVER6, 2);
	for (unsigned i = 0; i < 9; i++) // too many headers to look through
		f = with_extension(f, IPV6_DESTINATION, "\0\1\4\0\0\0\0");
	refuse_silently(f);
	f = with_hop_limit(echo6(ALICE6, SERVER6), 1); // an echo is no error
	bed_put(INSIDE, f);
	bed_run();
	is_error6(expect_frame(INSIDE), ICMP6_TIME_EXCEEDED, 0, 0, US6_INSIDE, ALICE6, f);
	f = with_extension(f, IPV6_DESTINATION, "\0\1\4\0\0\0\0");
	bed_put(INSIDE, f);
	bed_run();
	is_error6(expect_frame(INSIDE), ICMP6_TIME_EXCEEDED, 0, 0, US6_INSIDE, ALICE6, f);
}

static unsigned answers(unsigned ifc, struct frame f, unsigned n)
{
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++)
		bed_put(ifc, f);
	bed_run();
	while (bed_take(ifc, &f))
		got++;
	return got;
}

static void errors_have_a_rate_of_their_own(void **state) // RFC 4443 2.4 f
{
	const struct frame f = with_hop_limit(udp6(ALICE6, 1, SERVER6, 2), 1);
	const struct frame g = with_hop_limit(udp6(SERVER6, 1, HOST6, 2), 1);

	DUAL_BED(.more = "icmp: {errors-per-second: 10, refused: off}");
	assert_int_equal(answers(INSIDE, with_ttl(udp(at(ALICE, 1), at(S1, 2)), 1), 20), 10);
	assert_int_equal(answers(INSIDE, f, 50), 10);
	assert_int_equal(answers(OUTSIDE, g, 50), 10); // strangers do not use up the subscribers'
	assert_int_equal(bed_sum().icmpv6_errors_suppressed, 80);
	bed_wait_ms(100);
	assert_int_equal(answers(INSIDE, f, 50), 1);
}

// ---- for us

static void echo_requests_to_our_addresses_are_answered(void **state)
{
	static const struct {
		unsigned ifc;
		const char *from, *to, *answer_from;
	} asked[] = {
		{INSIDE, ALICE6, US6_INSIDE, US6_INSIDE},
		{INSIDE, ALICE6, US6_OUTSIDE, US6_OUTSIDE}, // that of the other side
		{OUTSIDE, SERVER6, US6_INSIDE, US6_INSIDE},
		{INSIDE, HOST6, "2001:db8:1::", US6_INSIDE}, // subnet-router anycast
		{INSIDE, "fe80::5", OURS_INSIDE, OURS_INSIDE},
		{INSIDE, HOST6, OURS_INSIDE, OURS_INSIDE},
		{INSIDE, "fe80::5", US6_INSIDE, US6_INSIDE},
		{INSIDE, "fe80::5", "ff02::1", OURS_INSIDE},
		{INSIDE, HOST6, "ff02::2", US6_INSIDE},
	};

	DUAL_BED();
	for (unsigned i = 0; i < sizeof(asked) / sizeof(*asked); i++) {
		struct frame in = with_hop_limit(echo6(asked[i].from, asked[i].to), 1), out;

		bed_put(asked[i].ifc, in);
		bed_run();
		out = expect_frame(asked[i].ifc);
		assert_true(from_to6(&out, asked[i].answer_from, asked[i].from));
		assert_int_equal(frame_l4_6(&out)[0], ICMP6_ECHO_REPLY);
		assert_int_equal(frame_ip6(&out)->hop_limit, 64);
		assert_memory_equal(frame_l4_6(&out) + 4, frame_l4_6(&in) + 4, 36);
		expect_nothing();
	}
	COUNTED(.rx_packets = 9, .consumed = 9, .originated = 9, .tx_packets = 9,
		.echo_replies_sent = 9);
}

static void other_packets_for_us(void **state)
{
	struct frame f;

	DUAL_BED();
	refuse_out(packet6(ALICE6, US6_INSIDE, CGN_PROTO_TCP, 20), CGN_DROP_IPV6_LOCAL);
	refuse_out(icmp6_message(ALICE6, US6_INSIDE, ICMP6_ECHO_REPLY, 0, 40), CGN_DROP_IPV6_LOCAL);
	refuse_out(icmp6_message(ALICE6, US6_INSIDE, ICMP6_ECHO, 1, 40), CGN_DROP_IPV6_LOCAL);
	refuse_out(icmp6_message(ALICE6, US6_INSIDE, ICMP6_ECHO, 0, 7), CGN_DROP_IPV6_LOCAL);
	refuse_out(icmp6_message(ALICE6, US6_INSIDE, 1, 4, 60), CGN_DROP_IPV6_LOCAL);
	refuse_out(icmp6_message("fe80::9", OURS_INSIDE, 134, 0, 16), CGN_DROP_IPV6_LOCAL);
	refuse_out(echo6("::", "ff02::1"), CGN_DROP_IPV6_MULTICAST);
	f = echo6(ALICE6, US6_INSIDE);
	frame_l4_6(&f)[20] ^= 1;
	refuse_out(f, CGN_DROP_IPV6_CHECKSUM);
	assert_int_equal(answers(INSIDE, echo6(ALICE6, US6_INSIDE), 1200), 1000);
	assert_int_equal(bed_sum().drops[CGN_DROP_LOCAL_RATE], 200);
	f = udp6(ALICE6, 1, US6_INSIDE, 33434); // the last probe of a traceroute
	bed_put(INSIDE, f);
	bed_run();
	is_error6(
		expect_frame(INSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_PORT, 0, US6_INSIDE, ALICE6, f);
}

static void a_reply_too_big_for_the_way_back_is_dropped(void **state)
{
	struct frame f = with_size6(echo6(SERVER6, US6_INSIDE), 1500);

	BED(.inside = DUAL_INSIDE ", mtu: 1280", .outside = DUAL_OUTSIDE ", mtu: 1400");
	bed_put(OUTSIDE, f);
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 1, .consumed = 1, .originated = 1, .echo_replies_sent = 1,
		.drops[CGN_DROP_IPV6_TOO_BIG] = 1);
}

// ---- several workers

static void any_worker_forwards(void **state)
{
	DUAL_BED(.workers = 3, .spread = true);
	for (unsigned i = 0; i < 12; i++) {
		pass_out(udp6(ALICE6, 1000, SERVER6, 53));
		pass_in(udp6(SERVER6, 53, HOST6, 1000));
	}
	assert_int_equal(bed_sum().handoffs, 0);
}

static void few_transmit_queues_serve_all_workers(void **state)
{
	DUAL_BED(.workers = 3, .spread = true, .tx_queues = 1);
	for (unsigned i = 0; i < 12; i++)
		pass_out(udp6(ALICE6, 1000, SERVER6, 53));
	assert_int_equal(bed_sum().handoffs, 0);
	assert_true(bed_sum().tx_handoffs >= 8);
}

BED_MAIN(TEST(packets_pass_untouched_in_both_directions),
	TEST(fragments_and_extension_headers_pass_untouched),
	TEST(padding_of_the_frame_is_left_behind), TEST(a_vlan_carries_ipv6_too),
	TEST(subscribers_reach_each_other_by_the_same_interface), TEST(ipv4_goes_on_beside_it),
	TEST(of_two_routes_the_longer_one_is_taken), TEST(what_is_no_packet_of_ours),
	TEST(frames_for_others), TEST(an_interface_without_ipv6_carries_none),
	TEST(sources_must_be_of_the_side_they_come_from), TEST(the_hop_limit_ends_here),
	TEST(no_route), TEST(unused_prefixes_do_not_go_back_and_forth),
	TEST(too_big_packets_are_answered_with_the_mtu), TEST(link_local_sources_do_not_get_out),
	TEST(errors_are_not_answered), TEST(errors_have_a_rate_of_their_own),
	TEST(echo_requests_to_our_addresses_are_answered), TEST(other_packets_for_us),
	TEST(a_reply_too_big_for_the_way_back_is_dropped), TEST(any_worker_forwards),
	TEST(few_transmit_queues_serve_all_workers))
