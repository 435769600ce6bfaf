// SPDX-License-Identifier: BSD-3-Clause
// Unsolicited inbound SYNs: RFC 5382 REQ-4.
#include "bed.h"

#define ICMP "tcp-unsolicited-syn: icmp\n"

static const struct endpoint client = {ALICE, 5000}, server = {S1, 443}, peer = {S2, 6881};
static const struct endpoint unmapped = {X1, 4000};

static void unreachable(struct frame syn)
{
	const uint32_t from = source_of(syn).address;

	assert_error(
		expect_frame(OUTSIDE), ICMP_UNREACHABLE, ICMP_CODE_PORT, US_OUTSIDE, from, syn);
}

// RFC 5382 REQ-4a
static void by_default_there_is_never_an_answer(void **state)
{
	BED();
	refuse_in(tcp(peer, unmapped, TCP_SYN), CGN_DROP_NO_MAPPING);
	bed_wait(10);
	expect_nothing();
}

static void the_answer_comes_after_6_s(void **state)
{
	const struct frame syn = tcp(peer, unmapped, TCP_SYN);

	BED(.more = ICMP);
	refuse_in(syn, CGN_DROP_NO_MAPPING);
	bed_wait_ms(5999);
	expect_nothing();
	bed_wait_ms(1);
	unreachable(syn);
	expect_nothing();
	bed_wait(10);
	expect_nothing();
	COUNTED(.rx_packets = 1, .tx_packets = 1, .originated = 1, .icmp_errors_sent = 1,
		.drops[CGN_DROP_NO_MAPPING] = 1);
}

static void retransmissions_get_one_answer(void **state)
{
	const struct frame syn = tcp(peer, unmapped, TCP_SYN);

	BED(.more = ICMP);
	refuse_in(syn, CGN_DROP_NO_MAPPING);
	bed_wait_ms(1000);
	refuse_in(syn, CGN_DROP_NO_MAPPING);
	bed_wait_ms(2000);
	refuse_in(syn, CGN_DROP_NO_MAPPING);
	bed_wait_ms(3000);
	unreachable(syn);
	bed_wait(10);
	expect_nothing();
}

// Both ends open at once and the far one is faster.
static void a_syn_from_the_inside_in_time_calls_it_off(void **state)
{
	const char *policies = "  - {name: all, match: {source: [100.64.0.0/10]}, "
			       "filtering: {tcp: address-and-port-dependent}}";
	struct endpoint x;

	BED(.more = ICMP, .policies = policies);
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	refuse_in(tcp(peer, x, TCP_SYN), CGN_DROP_FILTERED);
	refuse_in(tcp(at(S2, 9), x, TCP_SYN), CGN_DROP_FILTERED);
	bed_wait(3);
	assert_endpoint(source_of(pass_out(tcp(client, peer, TCP_SYN))), x);
	pass_in(tcp(peer, x, TCP_SYN));
	bed_wait_ms(3000);
	unreachable(tcp(at(S2, 9), x, TCP_SYN)); // nobody wanted that one
	bed_wait(10);
	expect_nothing();
}

// The mapping itself comes later: the resting port is taken up again.
static void a_new_mapping_calls_it_off_too(void **state)
{
	struct endpoint x;

	BED(.more = ICMP);
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	bed_wait(242);
	assert_int_equal(gauge(mappings), 0);
	refuse_in(tcp(peer, x, TCP_SYN), CGN_DROP_NO_MAPPING);
	bed_wait(5);
	assert_endpoint(source_of(pass_out(tcp(client, peer, TCP_SYN))), x);
	bed_wait(10);
	expect_nothing();
	assert_int_equal(bed_sum().icmp_errors_sent, 0);
}

static void a_syn_from_the_inside_too_late_does_not(void **state)
{
	struct endpoint x;

	BED(.more = ICMP);
	x = source_of(pass_out(tcp(client, server, TCP_SYN)));
	bed_wait(242);
	refuse_in(tcp(peer, x, TCP_SYN), CGN_DROP_NO_MAPPING);
	bed_wait_ms(6000);
	unreachable(tcp(peer, x, TCP_SYN));
	assert_endpoint(source_of(pass_out(tcp(client, peer, TCP_SYN))), x);
}

static void nothing_but_a_syn_is_answered(void **state)
{
	const uint8_t flags[] = {
		0, TCP_ACK, TCP_SYN | TCP_ACK, TCP_RST, TCP_FIN, TCP_SYN | TCP_RST};

	BED(.more = ICMP);
	for (unsigned i = 0; i < sizeof(flags); i++)
		refuse_in(tcp(peer, unmapped, flags[i]), CGN_DROP_NO_MAPPING);
	refuse_in(udp(peer, unmapped), CGN_DROP_NO_MAPPING);
	refuse_in(tcp(at(0x0a000001, 1), at(US_OUTSIDE, 22), TCP_SYN), CGN_DROP_LOCAL_UNSUPPORTED);
	bed_wait(10);
	expect_nothing();
}

static void answers_keep_to_the_rate(void **state)
{
	BED(.more = ICMP "icmp: {errors-per-second: 5}");
	for (unsigned i = 0; i < 20; i++)
		refuse_in(tcp(at(S2, 1 + i), unmapped, TCP_SYN), CGN_DROP_NO_MAPPING);
	bed_wait_ms(6000);
	for (unsigned i = 0; i < 5; i++)
		unreachable(tcp(at(S2, 1 + i), unmapped, TCP_SYN));
	expect_nothing();
	assert_int_equal(bed_sum().icmp_errors_suppressed, 15);
}

// More SYNs than fit: the rest is dropped all the same, and said not to be answered.
static void a_flood_fills_the_store_and_nothing_else(void **state)
{
	const unsigned n = SYN_STORE + 100;

	BED(.more = ICMP "icmp: {errors-per-second: 1000000}");
	for (unsigned i = 0; i < n; i++)
		bed_put(OUTSIDE, tcp(at(S2, 1 + i), unmapped, TCP_SYN));
	bed_run();
	assert_int_equal(bed_sum().drops[CGN_DROP_NO_MAPPING], n);
	assert_int_equal(bed_sum().icmp_errors_suppressed, 100);
	bed_wait_ms(6000);
	for (unsigned i = 0; i < SYN_STORE; i++)
		unreachable(tcp(at(S2, 1 + i), unmapped, TCP_SYN));
	expect_nothing();
}

// A subscriber at another's external address is told as well.
static void a_hairpinned_syn_is_answered(void **state)
{
	struct frame f, syn = tcp(client, at(X1 + 1, 4000), TCP_SYN);

	BED(.more = ICMP);
	bed_put(INSIDE, syn);
	bed_run();
	expect_nothing();
	assert_int_equal(bed_sum().drops[CGN_DROP_NO_MAPPING], 1);
	bed_wait_ms(6000);
	f = expect_frame(INSIDE);
	assert_int_equal(destination_of(f).address, ALICE);
	assert_int_equal(frame_l4(&f)[0], ICMP_UNREACHABLE);
	assert_int_equal(frame_l4(&f)[1], ICMP_CODE_PORT);
	assert_endpoint(source_of(quote_of_error(f)), client);
	assert_endpoint(destination_of(quote_of_error(f)), at(X1 + 1, 4000));
	expect_nothing();
}

BED_MAIN(TEST(by_default_there_is_never_an_answer), TEST(the_answer_comes_after_6_s),
	TEST(retransmissions_get_one_answer), TEST(a_syn_from_the_inside_in_time_calls_it_off),
	TEST(a_new_mapping_calls_it_off_too), TEST(a_syn_from_the_inside_too_late_does_not),
	TEST(nothing_but_a_syn_is_answered), TEST(answers_keep_to_the_rate),
	TEST(a_flood_fills_the_store_and_nothing_else), TEST(a_hairpinned_syn_is_answered))
