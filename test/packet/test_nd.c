// SPDX-License-Identifier: BSD-3-Clause
// Neighbour discovery (RFC 4861, RFC 4862 5.4).
#include "dual.h"

#define M1 ((const uint8_t *)"\x02\x07\x00\x00\x00\x01")
#define M2 ((const uint8_t *)"\x02\x07\x00\x00\x00\x02")

#define MANUAL_BED(...) \
	BED(.inside = "addresses: [10.255.0.1/24, 2001:db8:1::1/64]", \
		.outside = "addresses: [192.0.2.2/24, 2001:db8:2::1/64]", .manual_arp = true, \
		__VA_ARGS__)

static void put(unsigned ifc, struct frame f)
{
	bed_put(ifc, f);
	bed_run();
}

static struct cgn_ipv6 target_of(struct frame *f)
{
	struct cgn_ipv6 target;

	memcpy(&target, frame_l4_6(f) + 8, sizeof(target));
	return target;
}

// A solicitation of ours for `target`, with our MAC address in it; by unicast: to `mac`.
static void is_solicitation(
	struct frame f, const char *from, const char *to, const char *target, const uint8_t *mac)
{
	const struct cgn_ipv6 want = ip6(target), got = target_of(&f);
	const uint8_t *l4 = frame_l4_6(&f);

	assert_true(from_to6(&f, from, to));
	assert_int_equal(l4[0], ND_SOLICITATION);
	assert_int_equal(frame_ip6(&f)->hop_limit, 255);
	assert_true(cgn_ipv6_same(&want, &got));
	assert_int_equal(l4[24], 1);
	assert_memory_equal(l4 + 26, f.b + 6, 6);
	if (mac)
		assert_memory_equal(f.b, mac, 6);
}

static void is_advertisement(struct frame f, const char *from, const char *to, const char *target,
	uint8_t flags, const uint8_t *mac)
{
	const struct cgn_ipv6 want = ip6(target), got = target_of(&f);
	const uint8_t *l4 = frame_l4_6(&f);

	assert_true(from_to6(&f, from, to));
	assert_int_equal(l4[0], ND_ADVERTISEMENT);
	assert_int_equal(frame_ip6(&f)->hop_limit, 255);
	assert_int_equal(l4[4], flags);
	assert_true(cgn_ipv6_same(&want, &got));
	assert_int_equal(l4[24], 2);
	assert_memory_equal(l4 + 26, f.b + 6, 6);
	if (mac)
		assert_memory_equal(f.b, mac, 6);
}

static struct frame to_host(void)
{
	return udp6("2001:db8:2::77", 53, HOST6, 1000);
}

// ---- we ask

static void gateways_are_asked_for_at_the_start(void **state)
{
	DUAL_BED(.manual_arp = true);
	bed_run();
	expect_frame(INSIDE); // ARP
	is_solicitation(expect_frame(INSIDE), OURS_INSIDE, "ff02::1:ff00:2", "fe80::2", NULL);
	expect_frame(OUTSIDE);
	is_solicitation(
		expect_frame(OUTSIDE), US6_OUTSIDE, "ff02::1:ff00:2", "2001:db8:2::2", NULL);
	expect_nothing();
	bed_wait(1); // and again: a gateway is never given up
	assert_int_equal(bed_waiting(INSIDE), 2);
	assert_int_equal(bed_waiting(OUTSIDE), 2);
}

static void packets_wait_for_a_neighbour_and_then_go_in_order(void **state)
{
	struct frame f;

	MANUAL_BED();
	for (unsigned i = 0; i < 3; i++)
		put(OUTSIDE, with_size6(to_host(), 100 + i));
	is_solicitation(expect_frame(INSIDE), US6_INSIDE, "ff02::1:ff00:10", HOST6, NULL);
	expect_nothing();
	assert_int_equal(gauge(held), 3);
	put(INSIDE, advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED | NA_OVERRIDE, M1));
	for (unsigned i = 0; i < 3; i++) {
		f = expect_frame(INSIDE);
		assert_int_equal(f.len, 14 + 100 + i);
		assert_memory_equal(f.b, M1, 6);
	}
	COUNTED(.rx_packets = 4, .consumed = 1, .originated = 1, .tx_packets = 4,
		.nd_solicitations_sent = 1, .ipv6_forwarded = 3, .ipv6_forwarded_bytes = 303);
	pass_in(to_host());
}

static void who_does_not_answer_is_reported_unreachable(void **state) // RFC 4861 7.2.2
{
	struct frame f = to_host(), g;

	MANUAL_BED();
	put(OUTSIDE, solicitation("2001:db8:2::77", NULL, US6_OUTSIDE, M2)); // knows us: is known
	expect_frame(OUTSIDE);
	put(OUTSIDE,
		advertisement("2001:db8:2::77", US6_OUTSIDE, "2001:db8:2::77", NA_SOLICITED, M2));
	put(OUTSIDE, f);
	put(OUTSIDE, f);
	for (unsigned i = 0; i < 3; i++) {
		is_solicitation(expect_frame(INSIDE), US6_INSIDE, "ff02::1:ff00:10", HOST6, NULL);
		expect_nothing();
		bed_wait(1);
	}
	frame_ip6(&f)->hop_limit--; // it was on its way out
	for (unsigned i = 0; i < 2; i++) {
		is_error6(expect_frame(OUTSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_ADDRESS, 0,
			US6_OUTSIDE, "2001:db8:2::77", f);
	}
	assert_int_equal(bed_sum().drops[CGN_DROP_NEIGHBOUR_UNRESOLVED], 2);
	put(OUTSIDE, to_host()); // at once, now
	is_error6(expect_frame(OUTSIDE), ICMP6_UNREACHABLE, ICMP6_CODE_ADDRESS, 0, US6_OUTSIDE,
		"2001:db8:2::77", f);
	bed_wait(2); // tried anew
	is_solicitation(expect_frame(INSIDE), US6_INSIDE, "ff02::1:ff00:10", HOST6, NULL);
	put(OUTSIDE, to_host());
	put(INSIDE, advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED | NA_OVERRIDE, M1));
	while (bed_take(INSIDE, &g) && frame_ip6(&g)->next != CGN_PROTO_UDP)
		;
	assert_true(from_to6(&g, "2001:db8:2::77", HOST6));
}

static void a_neighbour_in_use_is_asked_again_by_unicast(void **state)
{
	MANUAL_BED();
	put(OUTSIDE, to_host());
	put(INSIDE, advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED | NA_OVERRIDE, M1));
	expect_frame(INSIDE);
	expect_frame(INSIDE);
	bed_wait(NEIGH_FRESH_S - 1);
	pass_in(to_host());
	bed_wait(1);
	is_solicitation(expect_frame(INSIDE), US6_INSIDE, HOST6, HOST6, M1);
	put(INSIDE, advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED, NULL)); // the same MAC
	bed_wait(5);
	expect_nothing();
	pass_in(to_host());
}

static void the_table_has_its_limit_and_ipv4_another(void **state) // RFC 6583
{
	char host[40];
	struct frame f;

	MANUAL_BED(.subscribers = 1);
	for (unsigned i = 0; i < 1200; i++) {
		snprintf(host, sizeof(host), "2001:db8:1::1:%x", i);
		bed_put(OUTSIDE, udp6("2001:db8:2::77", 1, host, 2));
		if (i % 100 == 99)
			bed_run();
	}
	bed_run();
	assert_int_equal(bed_sum().drops[CGN_DROP_NEIGHBOUR_TABLE_FULL], 1200 - 513);
	while (bed_take(INSIDE, &f))
		;
	put(INSIDE, arp_request(0x0aff0009, US_INSIDE)); // ARP has room
	expect_frame(INSIDE);
	assert_int_equal(bed.worker[0]->neighbours.n, 1);
}

// ---- we learn

static void what_a_neighbour_says_unasked_is_checked_before_it_is_trusted_for_long(void **state)
{
	MANUAL_BED();
	put(INSIDE, solicitation(HOST6, NULL, US6_INSIDE, M1));
	is_advertisement(expect_frame(INSIDE), US6_INSIDE, HOST6, US6_INSIDE,
		NA_ROUTER | NA_SOLICITED | NA_OVERRIDE, M1);
	assert_int_equal(gauge(neighbours), 1);
	assert_memory_equal(pass_in(to_host()).b, M1, 6); // used at once
	bed_wait(1);
	put(OUTSIDE, to_host());
	expect_frame(INSIDE); // and probed
	is_solicitation(expect_frame(INSIDE), US6_INSIDE, HOST6, HOST6, M1);
	put(INSIDE, advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED | NA_OVERRIDE, M1));
	bed_wait(3);
	expect_nothing();
}

static void advertisements_change_what_is_known(void **state) // RFC 4861 7.2.5
{
	MANUAL_BED();
	put(INSIDE, advertisement(HOST6, "ff02::1", HOST6, NA_OVERRIDE, M1)); // nobody asked
	assert_int_equal(gauge(neighbours), 0);
	put(INSIDE, solicitation(HOST6, NULL, US6_INSIDE, M1));
	expect_frame(INSIDE);
	put(INSIDE, advertisement(HOST6, "ff02::1", HOST6, 0, M2)); // without override
	assert_memory_equal(pass_in(to_host()).b, M1, 6);
	put(INSIDE, advertisement(HOST6, "ff02::1", HOST6, NA_OVERRIDE, M2));
	assert_memory_equal(pass_in(to_host()).b, M2, 6);
	put(INSIDE, solicitation(HOST6, US6_INSIDE, US6_INSIDE, M1)); // by unicast, too
	expect_frame(INSIDE);
	assert_memory_equal(pass_in(to_host()).b, M1, 6);
	put(INSIDE, solicitation(HOST6, NULL, "2001:db8:1::99", M2)); // asks somebody else
	expect_nothing();
	assert_memory_equal(pass_in(to_host()).b, M2, 6);
}

static void strangers_do_not_become_neighbours(void **state)
{
	MANUAL_BED();
	put(INSIDE, solicitation("2001:db8:77::1", NULL, US6_INSIDE, M1)); // not of this link
	is_advertisement(expect_frame(INSIDE), US6_INSIDE, "2001:db8:77::1", US6_INSIDE,
		NA_ROUTER | NA_SOLICITED | NA_OVERRIDE, M1);
	assert_int_equal(gauge(neighbours), 0);
	put(INSIDE, solicitation(HOST6, NULL, "2001:db8:1::99", M1)); // does not ask us
	assert_int_equal(gauge(neighbours), 0);
	put(INSIDE, solicitation(HOST6, NULL, US6_INSIDE, (const uint8_t *)"\x33\1\1\1\1\1"));
	expect_frame(INSIDE); // a group's MAC address is nobody's
	assert_int_equal(gauge(neighbours), 0);
}

// ---- we answer

static void solicitations_for_our_addresses_are_answered(void **state)
{
	const uint8_t flags = NA_ROUTER | NA_SOLICITED;

	MANUAL_BED();
	put(INSIDE, solicitation("fe80::9", NULL, OURS_INSIDE, M1));
	is_advertisement(
		expect_frame(INSIDE), OURS_INSIDE, "fe80::9", OURS_INSIDE, flags | NA_OVERRIDE, M1);
	put(INSIDE, solicitation("fe80::9", US6_INSIDE, US6_INSIDE, NULL)); // to the frame's sender
	is_advertisement(expect_frame(INSIDE), US6_INSIDE, "fe80::9", US6_INSIDE,
		flags | NA_OVERRIDE, (const uint8_t *)"\x02\x01\x0a\xff\x00\x02");
	put(INSIDE, solicitation("fe80::9", NULL, "2001:db8:1::", M1)); // anycast
	is_advertisement(expect_frame(INSIDE), US6_INSIDE, "fe80::9", "2001:db8:1::", flags, M1);
	// of the other interface, of others
	put(INSIDE, solicitation("fe80::9", NULL, US6_OUTSIDE, M1));
	put(INSIDE, solicitation("fe80::9", NULL, OURS_OUTSIDE, M1));
	put(INSIDE, solicitation("fe80::9", NULL, HOST6, M1));
	expect_nothing();
	COUNTED(.rx_packets = 6, .consumed = 6, .originated = 3, .tx_packets = 3,
		.nd_advertisements_sent = 3);
}

static void who_checks_whether_our_address_is_free_is_told(void **state) // RFC 4862 5.4.3
{
	MANUAL_BED();
	put(INSIDE, solicitation("::", NULL, US6_INSIDE, NULL));
	is_advertisement(expect_frame(INSIDE), US6_INSIDE, "ff02::1", US6_INSIDE,
		NA_ROUTER | NA_OVERRIDE, NULL);
	put(INSIDE, solicitation("::", NULL, OURS_INSIDE, NULL));
	is_advertisement(expect_frame(INSIDE), OURS_INSIDE, "ff02::1", OURS_INSIDE,
		NA_ROUTER | NA_OVERRIDE, NULL);
	put(INSIDE, solicitation("::", NULL, HOST6, NULL));
	expect_nothing();
	assert_int_equal(gauge(neighbours), 0);
}

// ---- malformed

static struct frame resealed(struct frame f, unsigned at, uint8_t value)
{
	frame_l4_6(&f)[at] = value;
	frame_seal6(&f);
	return f;
}

static struct frame resized(struct frame f, unsigned payload)
{
	return with_size6(f, 40 + payload);
}

static void malformed_messages_are_refused(void **state) // RFC 4861 7.1
{
	const struct frame ns = solicitation(HOST6, NULL, US6_INSIDE, M1);
	const struct frame na = advertisement(HOST6, US6_INSIDE, HOST6, NA_SOLICITED, M1);
	struct frame f = ns;

	MANUAL_BED();
#define REFUSED(frame) refuse_out(frame, CGN_DROP_IPV6_ND_INVALID)
	REFUSED(with_hop_limit(ns, 254)); // may come from afar
	REFUSED(with_hop_limit(na, 254));
	frame_l4_6(&f)[10] ^= 1;
	REFUSED(f); // checksum
	REFUSED(resealed(ns, 1, 1)); // code
	REFUSED(resealed(ns, 8, 0xff)); // the target is a group
	REFUSED(resealed(na, 8, 0xff));
	REFUSED(resized(ns, 23));
	REFUSED(resealed(ns, 25, 0)); // an option of length 0
	REFUSED(resealed(ns, 25, 2)); // one beyond the end
	REFUSED(resized(ns, 28)); // one that is cut
	REFUSED(advertisement(HOST6, "ff02::1", HOST6, NA_SOLICITED, M1));
	REFUSED(advertisement("::", "ff02::1", HOST6, 0, M1));
	REFUSED(solicitation("::", NULL, US6_INSIDE, M1)); // no address, but a MAC address
	REFUSED(solicitation("::", "ff02::1", US6_INSIDE, NULL));
	refuse_out(solicitation("::", US6_INSIDE, US6_INSIDE, NULL), CGN_DROP_IPV6_SOURCE);
	assert_int_equal(gauge(neighbours), 0);
	f = resized(ns, 40); // an unknown option behind is skipped
	frame_l4_6(&f)[32] = 99;
	frame_l4_6(&f)[33] = 1;
	frame_seal6(&f);
	put(INSIDE, f);
	expect_frame(INSIDE);
}

// ---- several workers

static void all_workers_learn_from_what_one_received(void **state)
{
	DUAL_BED(.workers = 3, .spread = true);
	for (unsigned w = 0; w < 3; w++) {
		const struct neigh_table *t = &bed.worker[w]->ipv6.neighbours;

		assert_int_equal(t->n, 2);
		assert_int_equal(t->n_unresolved, 0);
	}
	for (unsigned i = 0; i < 6; i++)
		pass_in(to_host());
	put(INSIDE, advertisement(HOST6, "ff02::1", HOST6, NA_OVERRIDE, M2));
	for (unsigned i = 0; i < 6; i++)
		assert_memory_equal(pass_in(to_host()).b, M2, 6);
	put(INSIDE, solicitation(HOST6, NULL, US6_INSIDE, M1)); // answered once
	expect_frame(INSIDE);
	expect_nothing();
	for (unsigned i = 0; i < 6; i++)
		assert_memory_equal(pass_in(to_host()).b, M1, 6);
}

static void packets_that_wait_at_the_stop_are_counted(void **state)
{
	MANUAL_BED();
	put(OUTSIDE, to_host());
	assert_int_equal(gauge(held), 1);
	worker_drop_held(bed.worker[0]);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(bed_sum().drops[CGN_DROP_STOPPED], 1);
}

BED_MAIN(TEST(gateways_are_asked_for_at_the_start),
	TEST(packets_wait_for_a_neighbour_and_then_go_in_order),
	TEST(who_does_not_answer_is_reported_unreachable),
	TEST(a_neighbour_in_use_is_asked_again_by_unicast),
	TEST(the_table_has_its_limit_and_ipv4_another),
	TEST(what_a_neighbour_says_unasked_is_checked_before_it_is_trusted_for_long),
	TEST(advertisements_change_what_is_known), TEST(strangers_do_not_become_neighbours),
	TEST(solicitations_for_our_addresses_are_answered),
	TEST(who_checks_whether_our_address_is_free_is_told), TEST(malformed_messages_are_refused),
	TEST(all_workers_learn_from_what_one_received),
	TEST(packets_that_wait_at_the_stop_are_counted))
