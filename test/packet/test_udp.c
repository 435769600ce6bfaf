// SPDX-License-Identifier: BSD-3-Clause
// UDP through the translator (RFC 4787), and checksums (RFC 768, RFC 1624).
#include "bed.h"

static struct endpoint map(struct endpoint from)
{
	return source_of(pass_out(udp(from, at(S1, 53))));
}

// RFC 4787 REQ-1
static void one_endpoint_has_one_external_endpoint_for_all_destinations(void **state)
{
	struct endpoint x, remote[] = {at(S1, 53), at(S1, 54), at(S2, 53)};

	BED();
	x = map(at(ALICE, 5000));
	assert_in_range(x.address, X1, X1 + 3);
	assert_in_range(x.port, 1024, 65535); // deviation from RFC 4787 REQ-3a: never below
	for (unsigned i = 0; i < 3; i++) {
		struct frame f = pass_out(udp(at(ALICE, 5000), remote[i]));

		assert_endpoint(source_of(f), x);
		assert_endpoint(destination_of(f), remote[i]);
	}
	COUNTED(.rx_packets = 4, .tx_packets = 4, .translated_outbound = 4, .mappings_created = 1,
		.sessions_created = 3, .subscribers_created = 1, .blocks_allocated = 1);
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(sessions), 3);
	assert_int_equal(gauge(pools[0].ports_used), 1);
}

static void replies_come_back_to_the_host_that_asked(void **state)
{
	struct frame f;
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	f = pass_in(udp(at(S1, 53), x));
	assert_endpoint(source_of(f), at(S1, 53));
	assert_endpoint(destination_of(f), at(ALICE, 5000));
	COUNTED(.rx_packets = 2, .tx_packets = 2, .translated_outbound = 1, .translated_inbound = 1,
		.mappings_created = 1, .sessions_created = 1, .subscribers_created = 1,
		.blocks_allocated = 1);
}

// RFC 4787 REQ-3
static void two_hosts_with_the_same_port_get_different_external_endpoints(void **state)
{
	struct endpoint a, b;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	a = map(at(ALICE, 5000));
	b = map(at(BOB, 5000));
	assert_false(same_endpoint(a, b));
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), a))), at(ALICE, 5000));
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), b))), at(BOB, 5000));
}

// RFC 4787 REQ-8, RFC 6888 REQ-7
static void a_stranger_reaches_a_mapping_and_gets_a_session(void **state)
{
	struct endpoint x;
	struct frame f;

	BED();
	x = map(at(ALICE, 5000));
	f = pass_in(udp(at(S2, 777), x));
	assert_endpoint(source_of(f), at(S2, 777));
	assert_endpoint(destination_of(f), at(ALICE, 5000));
	f = pass_out(udp(at(ALICE, 5000), at(S2, 777)));
	assert_endpoint(source_of(f), x);
	COUNTED(.rx_packets = 3, .tx_packets = 3, .translated_outbound = 2, .translated_inbound = 1,
		.mappings_created = 1, .sessions_created = 2, .subscribers_created = 1,
		.blocks_allocated = 1);
}

static void nobody_reaches_a_port_without_mapping(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	refuse_in(udp(at(S1, 53), at(x.address, x.port ^ 1)), CGN_DROP_NO_MAPPING);
	refuse_in(udp(at(S1, 53), at(x.address, 80)), CGN_DROP_NO_MAPPING);
}

// RFC 7857 5: independent per protocol
static void a_udp_mapping_carries_no_tcp(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	refuse_in(tcp(at(S1, 53), x, TCP_SYN), CGN_DROP_NO_MAPPING);
	refuse_in(tcp(at(S1, 53), x, TCP_ACK), CGN_DROP_NO_MAPPING);
}

// RFC 4787 REQ-5: never early; at most two seconds late, whatever part of a second it began at
static void a_mapping_lives_300_s_after_the_last_outbound_packet(void **state)
{
	struct endpoint x;

	for (uint32_t begin_ms = 0; begin_ms < 1000; begin_ms += 333) {
		BED();
		bed_wait_ms(begin_ms);
		x = map(at(ALICE, 5000));
		bed_wait_ms(299999);
		assert_int_equal(gauge(mappings), 1);
		pass_in(udp(at(S1, 53), x));
		bed_wait_ms(2001);
		assert_int_equal(gauge(mappings), 0);
		assert_int_equal(gauge(sessions), 0);
		refuse_in(udp(at(S1, 53), x), CGN_DROP_NO_MAPPING);
		COUNTED(.rx_packets = 3, .tx_packets = 2, .translated_outbound = 1,
			.translated_inbound = 1, .mappings_created = 1, .sessions_created = 1,
			.mappings_expired = 1, .sessions_expired = 1, .subscribers_created = 1,
			.blocks_allocated = 1, .blocks_released = 1,
			.drops[CGN_DROP_NO_MAPPING] = 1);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// RFC 4787 REQ-6
static void outbound_packets_refresh(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	for (unsigned i = 0; i < 5; i++) {
		bed_wait(200);
		assert_endpoint(map(at(ALICE, 5000)), x);
	}
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(bed_sum().mappings_created, 1);
}

// The timer looks again in the very second in which the refreshed time would run out.
static void a_refresh_one_second_later_adds_a_whole_second(void **state)
{
	BED();
	map(at(ALICE, 5000));
	bed_wait(1);
	map(at(ALICE, 5000));
	bed_wait_ms(299000);
	bed_wait_ms(999);
	assert_int_equal(gauge(mappings), 1);
	bed_wait_ms(2001);
	assert_int_equal(gauge(mappings), 0);
}

// RFC 4787 REQ-6a: may; we do not
static void inbound_packets_do_not_refresh(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	for (unsigned i = 0; i < 2; i++) {
		bed_wait(140);
		pass_in(udp(at(S1, 53), x));
	}
	bed_wait(22);
	refuse_in(udp(at(S1, 53), x), CGN_DROP_NO_MAPPING);
}

static void a_session_from_outside_does_not_outlive_the_mapping(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	bed_wait(290);
	pass_in(udp(at(S2, 777), x));
	assert_int_equal(gauge(sessions), 2);
	bed_wait(12);
	assert_int_equal(gauge(sessions), 0);
	refuse_in(udp(at(S2, 777), x), CGN_DROP_NO_MAPPING);
}

static void the_mapping_lives_as_long_as_its_youngest_session(void **state)
{
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	bed_wait(200);
	assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(S2, 53)))), x);
	bed_wait(102); // the first session goes, its mapping stays
	assert_int_equal(gauge(sessions), 1);
	assert_int_equal(gauge(mappings), 1);
	assert_endpoint(destination_of(pass_in(udp(at(S2, 53), x))), at(ALICE, 5000));
	// the first remote is a stranger now, and welcome
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))), at(ALICE, 5000));
	bed_wait(200);
	assert_int_equal(gauge(mappings), 0);
}

static void sessions_of_one_mapping_that_end_together_all_end(void **state)
{
	BED();
	for (unsigned i = 0; i < 300; i++)
		pass_out(udp(at(ALICE, 5000), at(S1, 1000 + i)));
	assert_int_equal(gauge(sessions), 300);
	bed_wait(299);
	assert_int_equal(gauge(sessions), 300);
	bed_wait(10); // heads are armed again as their sessions are promoted
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(mappings), 0);
	COUNTED(.rx_packets = 300, .tx_packets = 300, .translated_outbound = 300,
		.mappings_created = 1, .sessions_created = 300, .mappings_expired = 1,
		.sessions_expired = 300, .subscribers_created = 1, .blocks_allocated = 1,
		.blocks_released = 1);
}

// RFC 768
static void no_checksum_stays_no_checksum(void **state)
{
	struct frame f = udp(at(ALICE, 4500), at(S1, 4500)); // RFC 3948: IPsec sends none
	struct endpoint x;

	BED();
	frame_l4_check_set(&f, 0);
	f = pass_out(f);
	assert_int_equal(frame_l4_check(&f), 0);
	x = source_of(f);
	f = udp(at(S1, 4500), x);
	frame_l4_check_set(&f, 0);
	f = pass_in(f);
	assert_int_equal(frame_l4_check(&f), 0);
}

// RFC 1624
static void a_wrong_checksum_stays_wrong_by_the_same_amount(void **state)
{
	struct frame f = udp(at(ALICE, 5000), at(S1, 53)), whole;
	unsigned wrong;

	BED();
	bed.bad_l4 = true;
	frame_l4_check_set(&f, (uint16_t)(frame_l4_check(&f) ^ 0x0101));
	whole = udp(at(ALICE, 5000), at(S1, 53));
	wrong = (frame_l4_check(&f) + 0xffffu - frame_l4_check(&whole)) % 0xffff;
	f = pass_out(f);
	whole = f;
	frame_seal(&whole);
	assert_int_equal((frame_l4_check(&f) + 0xffffu - frame_l4_check(&whole)) % 0xffff, wrong);
	assert_int_not_equal(wrong, 0);
}

// RFC 768: a computed 0 is sent as 0xffff; every value of the checksum is met
static void every_checksum_comes_out_right(void **state)
{
	struct frame f = udp(at(ALICE, 5000), at(S1, 53)), out;
	struct endpoint x;
	unsigned n_ffff = 0;

	BED();
	x = map(at(ALICE, 5000));
	for (unsigned i = 0; i < 65536; i++) {
		frame_l4(&f)[8] = (uint8_t)(i >> 8);
		frame_l4(&f)[9] = (uint8_t)i;
		frame_seal(&f);
		bed_put(INSIDE, f);
		if (i % 128 == 127) {
			bed_run();
			while (bed_take(OUTSIDE, &out)) // checked by the bed
				n_ffff += frame_l4_check(&out) == 0xffff;
		}
	}
	assert_in_range(n_ffff, 1, 2); // the sums 0 and 0xffff are one value
	assert_endpoint(map(at(ALICE, 5000)), x);
}

BED_MAIN(TEST(one_endpoint_has_one_external_endpoint_for_all_destinations),
	TEST(replies_come_back_to_the_host_that_asked),
	TEST(two_hosts_with_the_same_port_get_different_external_endpoints),
	TEST(a_stranger_reaches_a_mapping_and_gets_a_session),
	TEST(nobody_reaches_a_port_without_mapping), TEST(a_udp_mapping_carries_no_tcp),
	TEST(a_mapping_lives_300_s_after_the_last_outbound_packet), TEST(outbound_packets_refresh),
	TEST(a_refresh_one_second_later_adds_a_whole_second), TEST(inbound_packets_do_not_refresh),
	TEST(a_session_from_outside_does_not_outlive_the_mapping),
	TEST(the_mapping_lives_as_long_as_its_youngest_session),
	TEST(sessions_of_one_mapping_that_end_together_all_end),
	TEST(no_checksum_stays_no_checksum), TEST(a_wrong_checksum_stays_wrong_by_the_same_amount),
	TEST(every_checksum_comes_out_right))
