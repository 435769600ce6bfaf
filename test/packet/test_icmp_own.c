// SPDX-License-Identifier: BSD-3-Clause
// ICMP errors of our own: about what, how many, and where not (RFC 1812 4.3.2, RFC 5508 REQ-9, 10).
#include "pieces.h"

static struct frame expired(struct endpoint from, uint32_t to)
{
	return with_ttl(udp(from, at(to, 53)), 1);
}

// How many of n packets from inside whose TTL runs out here are answered, to `who`.
static unsigned answers(uint32_t who, unsigned n)
{
	struct frame f;
	unsigned got = 0;

	for (unsigned i = 0; i < n; i++)
		bed_put(INSIDE, expired(at(who, 1 + i), S1));
	bed_run();
	while (bed_take(INSIDE, &f)) {
		assert_int_equal(dst_of(f), who);
		got++;
	}
	return got;
}

// RFC 1812 4.3.2.7, in its order; each beside one that is answered
static void what_is_never_answered(void **state)
{
	struct frame f = udp(at(S1, 53), at(ALICE, 5000)), g;
	struct endpoint x;

	BED();
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	assert_int_equal(answers(ALICE, 1), 1);
	// an ICMP error
	refuse_out(with_ttl(icmp_error(ALICE, S1, 3, 3, &f, 8), 1), CGN_DROP_TTL_EXPIRED);
	f = udp(x, at(S1, 53));
	refuse_in(with_ttl(icmp_error(S2, x.address, 3, 3, &f, 8), 1), CGN_DROP_TTL_EXPIRED);
	// a packet to an address of many, in IP or in Ethernet
	refuse_out(expired(at(ALICE, 1), 0xe0000001), CGN_DROP_IP_DESTINATION);
	refuse_out(expired(at(ALICE, 1), 0xffffffff), CGN_DROP_IP_DESTINATION);
	refuse_out(expired(at(ALICE, 1), 0xc00002ff), CGN_DROP_IP_DESTINATION);
	f = expired(at(ALICE, 1), S1);
	memset(f.b, 0xff, 6);
	mac_of(ROUTER_INSIDE, f.b + 6);
	bed_put_raw(INSIDE, &f);
	bed_run();
	expect_nothing();
	assert_int_equal(bed_sum().drops[CGN_DROP_L2_MULTICAST], 1);
	// a source that is no single host
	refuse_out(expired(at(0, 1), S1), CGN_DROP_IP_SOURCE);
	refuse_out(expired(at(0x7f000001, 1), S1), CGN_DROP_IP_SOURCE);
	refuse_out(expired(at(0x0aff00ff, 1), S1), CGN_DROP_IP_SOURCE);
	refuse_out(expired(at(0xe0000001, 1), S1), CGN_DROP_IP_SOURCE);
	refuse_out(expired(at(0xf0000001, 1), S1), CGN_DROP_IP_SOURCE);
	// a later fragment; the first one is answered
	f = with_size(with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 1), 1000);
	bed_put(INSIDE, part(f, 0, 400));
	bed_run();
	g = expect_frame(INSIDE);
	assert_int_equal(frame_l4(&g)[0], ICMP_TIME_EXCEEDED);
	refuse_out(part(f, 400, 980), CGN_DROP_FRAG_HEAD_DROPPED);
	// what is not right
	f = expired(at(ALICE, 1), S1);
	frame_ip(&f)->check ^= 1;
	refuse_out(f, CGN_DROP_IP_CHECKSUM);
	f = expired(at(ALICE, 1), S1);
	frame_ip(&f)->total_len = htons(19);
	frame_seal_ip(&f);
	refuse_out(f, CGN_DROP_IP_LENGTH);
	// nor other ICMP that is no query
	f = with_ttl(echo(at(ALICE, 1), S1), 1);
	frame_l4(&f)[0] = 5;
	frame_seal(&f);
	refuse_out(f, CGN_DROP_ICMP_TYPE);
}

// RFC 1812 4.3.2.8: one who floods gets what is left over, others what they may count on
static void a_flood_of_one_host_leaves_others_their_answers(void **state)
{
	const unsigned workers[] = {1, 2};

	for (unsigned n = 0; n < 2; n++) {
		BED(.workers = workers[n], .more = "icmp: {errors-per-second: 100}");
		for (unsigned second = 0; second < 3; second++) {
			assert_int_equal(answers(ALICE, 1000), 100);
			assert_int_equal(answers(ALICE, 10), 0);
			for (uint32_t host = ALICE + 1; host < ALICE + 6; host++)
				assert_int_equal(answers(host, 5), 5);
			bed_wait_ms(1000);
		}
		assert_int_equal(bed_sum().icmp_errors_sent + bed_sum().icmp_errors_suppressed,
			3 * (1000 + 10 + 25));
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// However many hosts there are
static void a_quarter_more_than_the_rate_is_the_most(void **state)
{
	unsigned n = 0;

	BED(.more = "icmp: {errors-per-second: 20, errors-per-second-per-host: 3}");
	for (uint32_t host = ALICE; host < ALICE + 200; host++)
		n += answers(host, 3);
	assert_int_equal(n, 20 + 5);
	bed_wait_ms(400);
	for (uint32_t host = ALICE; host < ALICE + 200; host++)
		n += answers(host, 3);
	assert_int_equal(n, 20 + 5 + 8 + 2);
}

static void what_a_host_may_count_on_is_configured(void **state)
{
	BED(.more = "icmp: {errors-per-second: 100, errors-per-second-per-host: 2}");
	assert_int_equal(answers(ALICE, 500), 100); // his 2 among them
	assert_int_equal(answers(BOB, 50), 2);
	assert_int_equal(answers(CAROL, 1), 1);
	assert_int_equal(answers(CAROL, 2), 1);
	bed_wait_ms(500);
	assert_int_equal(answers(BOB, 51), 50); // what is there is anybody's
	assert_int_equal(answers(CAROL, 2), 1);
}

// Strangers who send to mapped ports do not use up what subscribers get
static void inside_and_outside_have_a_rate_each(void **state)
{
	struct endpoint x;
	struct frame f;

	BED(.more = "icmp: {errors-per-second: 10}");
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	for (unsigned i = 0; i < 50; i++)
		bed_put(OUTSIDE, with_ttl(udp(at(S1, 53), x), 1));
	bed_run();
	assert_int_equal(bed_waiting(OUTSIDE), 10);
	while (bed_take(OUTSIDE, &f))
		continue;
	assert_int_equal(answers(ALICE, 50), 10);
}

#define SILENT_INSIDE \
	"icmp-errors: false, addresses: [10.255.0.1/24], " \
	"routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]"
#define SILENT_OUTSIDE \
	"icmp-errors: false, addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]"

// RFC 5508 REQ-9: counted all the same
static void an_interface_may_be_silent(void **state)
{
	struct endpoint x;
	struct frame f, e;

	BED(.inside = SILENT_INSIDE,
		.policies = "  - {name: home, pool: p, limits: {sessions: 1}}");
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	refuse_out(expired(at(ALICE, 1), S1), CGN_DROP_TTL_EXPIRED);
	refuse_out(udp(at(ALICE, 1), at(S1, 53)), CGN_DROP_SESSION_LIMIT);
	COUNTED(.rx_packets = 3, .tx_packets = 1, .translated_outbound = 1, .mappings_created = 1,
		.sessions_created = 1, .subscribers_created = 1, .blocks_allocated = 1,
		.icmp_errors_suppressed = 2, .drops[CGN_DROP_TTL_EXPIRED] = 1,
		.drops[CGN_DROP_SESSION_LIMIT] = 1);
	// the other one is not
	f = with_ttl(udp(at(S1, 53), x), 1);
	bed_put(OUTSIDE, f);
	bed_run();
	assert_error(expect_frame(OUTSIDE), 11, 0, US_OUTSIDE, S1, f);
	// nor what others send, nor echo
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	e = pass_in(icmp_error(S2, x.address, 11, 0, &f, 8));
	assert_int_equal(dst_of(e), ALICE);
	bed_put(INSIDE, echo(at(ALICE, 1), US_INSIDE));
	bed_run();
	assert_int_equal(dst_of(expect_frame(INSIDE)), ALICE);
	assert_int_equal(bed_teardown(NULL), 0);

	BED(.outside = SILENT_OUTSIDE);
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	refuse_in(with_ttl(udp(at(S1, 53), x), 1), CGN_DROP_TTL_EXPIRED);
	assert_int_equal(answers(ALICE, 1), 1);
}

BED_MAIN(TEST(what_is_never_answered), TEST(a_flood_of_one_host_leaves_others_their_answers),
	TEST(a_quarter_more_than_the_rate_is_the_most),
	TEST(what_a_host_may_count_on_is_configured), TEST(inside_and_outside_have_a_rate_each),
	TEST(an_interface_may_be_silent))
