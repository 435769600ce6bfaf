// SPDX-License-Identifier: BSD-3-Clause
// Fragments through the translator (RFC 4787 REQ-13, REQ-14; RFC 791, RFC 1858, RFC 6864).
#include "bed.h"
#include "fragmap.h"
#include "pieces.h"
#include "snapshot.h"
#include <stdio.h>
#include <stdlib.h>

static struct frame big(struct frame f)
{
	return with_size(f, 1220); // 1200 bytes of payload
}

// Three fragments of f in the order of `order` ("012"), put in at `from`; what came out at `to`.
static struct frame through(unsigned from, unsigned to, struct frame f, const char *order)
{
	const uint64_t held = gauge(fragments_held), datagrams = gauge(fragmented_datagrams);
	static const unsigned cut[] = {0, 400, 800, 1200};
	struct frame out[3];

	for (unsigned i = 0; i < 3; i++)
		bed_put(from, part(f, cut[order[i] - '0'], cut[order[i] - '0' + 1]));
	bed_run();
	for (unsigned i = 0; i < 3; i++) {
		out[i] = expect_frame(to);
		assert_int_equal(frame_ip(&out[i])->ttl, 63);
	}
	expect_nothing();
	assert_int_equal(gauge(fragments_held), held);
	assert_int_equal(gauge(fragmented_datagrams), datagrams); // complete: forgotten
	return whole_of(out, 3);
}

static const char *const orders[] = {"012", "021", "102", "120", "201", "210"};

static struct endpoint map(struct endpoint from)
{
	return source_of(pass_out(udp(from, at(S1, 53))));
}

// RFC 4787 REQ-14
static void udp_in_any_order_both_ways(void **state)
{
	struct endpoint x;
	struct frame f;

	BED();
	x = map(at(ALICE, 5000));
	for (unsigned i = 0; i < 6; i++) {
		f = through(INSIDE, OUTSIDE, with_id(big(udp(at(ALICE, 5000), at(S1, 53))), i),
			orders[i]);
		assert_endpoint(source_of(f), x);
		assert_endpoint(destination_of(f), at(S1, 53));
		f = through(OUTSIDE, INSIDE, with_id(big(udp(at(S1, 53), x)), i), orders[i]);
		assert_endpoint(source_of(f), at(S1, 53));
		assert_endpoint(destination_of(f), at(ALICE, 5000));
		assert_int_equal(id_of(f), i); // inbound it is the sender's
	}
	COUNTED(.rx_packets = 37, .tx_packets = 37, .translated_outbound = 19,
		.translated_inbound = 18, .fragments_followed = 24, .mappings_created = 1,
		.sessions_created = 1, .subscribers_created = 1, .blocks_allocated = 1);
	assert_int_equal(bed.worker[0]->flows.flow[0].pkts_out, 19); // the session counts them all
	assert_int_equal(bed.worker[0]->flows.flow[0].pkts_in, 18);
}

static void the_first_packet_of_a_mapping_may_be_fragments(void **state)
{
	struct frame f;

	BED();
	for (unsigned i = 0; i < 6; i++) {
		f = through(INSIDE, OUTSIDE, big(udp(at(ALICE, 5000 + i), at(S1, 53))), orders[i]);
		assert_endpoint(source_of(f), map(at(ALICE, 5000 + i)));
	}
}

static void tcp_and_echo(void **state)
{
	struct endpoint x;
	struct frame f;

	BED();
	x = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	pass_in(tcp(at(S1, 80), x, TCP_SYN | TCP_ACK));
	for (unsigned i = 0; i < 6; i++) {
		f = through(
			INSIDE, OUTSIDE, big(tcp(at(ALICE, 5000), at(S1, 80), TCP_ACK)), orders[i]);
		assert_endpoint(source_of(f), x);
		f = through(OUTSIDE, INSIDE, big(tcp(at(S1, 80), x, TCP_ACK)), orders[i]);
		assert_endpoint(destination_of(f), at(ALICE, 5000));
		f = through(INSIDE, OUTSIDE, big(echo(at(ALICE, 77), S1)), orders[i]);
		f = through(OUTSIDE, INSIDE,
			big(echo_reply(S1, at(src_of(f), destination_of(f).port))), orders[i]);
		assert_endpoint(destination_of(f), at(ALICE, 77));
	}
}

// Only one-to-one hosts are asked from outside, and answer
static void echo_of_one_to_one_hosts(void **state)
{
	static const unsigned workers[] = {1, 3};
	struct frame f;

	for (unsigned n = 0; n < 2; n++) {
		BED(.workers = workers[n],
			.more = "static-mappings:\n"
				"  - {name: whole, internal: 100.64.0.7, external: 203.0.113.4}\n"
				"  - {name: icmp, protocol: icmp, internal: 100.64.0.8, external: 203.0.113.9}\n"
				"  - {name: tcp, protocol: tcp, internal: 100.64.0.10, external: 203.0.113.9}");
		for (unsigned i = 0; i < 6; i++) {
			const uint32_t host = i % 2 ? CAROL : CAROL + 1,
				       x = i % 2 ? X1 + 3 : X1 + 8;

			f = through(
				OUTSIDE, INSIDE, with_id(big(echo(at(S1, 77), x)), i), orders[i]);
			assert_endpoint(source_of(f), at(S1, 77));
			assert_int_equal(dst_of(f), host);
			f = through(INSIDE, OUTSIDE, with_id(big(echo_reply(host, at(S1, 77))), i),
				orders[i]);
			assert_endpoint(destination_of(f), at(S1, 77));
			assert_int_equal(src_of(f), x);
			f = through(INSIDE, INSIDE, with_id(big(echo(at(BOB, 7), x)), 10 + i),
				orders[i]);
			assert_int_equal(dst_of(f), host);
			f = through(INSIDE, INSIDE,
				with_id(big(echo_reply(host, at(src_of(f), source_of(f).port))),
					20 + i),
				orders[i]);
			assert_endpoint(destination_of(f), at(BOB, 7));
		}
		// nobody asked; nor are others asked
		refuse_out(part(with_id(big(echo_reply(CAROL, at(S2, 77))), 50), 0, 400),
			CGN_DROP_ICMP_TYPE);
		refuse_in(part(with_id(big(echo(at(S1, 77), X1)), 50), 0, 400),
			CGN_DROP_ICMP_NO_SESSION);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// RFC 768: no checksum stays no checksum; RFC 6146 3.4
static void udp_without_checksum(void **state)
{
	struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));

	BED();
	frame_l4_check_set(&f, 0);
	f = through(INSIDE, OUTSIDE, f, "210");
	assert_int_equal(frame_l4_check(&f), 0);
}

static void hairpins_in_any_order(void **state)
{
	for (unsigned workers = 1; workers <= 3; workers++) {
		BED(.workers = workers);
		for (unsigned i = 0; i < 6; i++) {
			struct endpoint a = map(at(ALICE + 2 * i, 5000)),
					b = map(at(BOB + 2 * i, 6000));
			struct frame f = through(
				INSIDE, INSIDE, big(udp(at(BOB + 2 * i, 6000), a)), orders[i]);

			assert_endpoint(source_of(f), b);
			assert_endpoint(destination_of(f), at(ALICE + 2 * i, 5000));
		}
		assert_int_equal(bed_sum().hairpinned, 18);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void what_comes_before_the_first_waits_2_s_and_no_longer(void **state)
{
	struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));

	BED();
	put(INSIDE, part(f, 400, 800));
	put(INSIDE, part(f, 800, 1200));
	expect_nothing();
	assert_int_equal(gauge(held), 2);
	assert_int_equal(gauge(fragments_held), 2);
	bed_wait_ms(1999);
	assert_int_equal(gauge(held), 2);
	bed_wait_ms(1);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	COUNTED(.rx_packets = 2, .drops[CGN_DROP_FRAG_NO_HEAD] = 2);
	put(INSIDE, part(f, 0, 400)); // too late for those; a datagram of its own
	expect_frame(OUTSIDE);
	bed_wait_ms(1999);
	assert_int_equal(gauge(fragmented_datagrams), 1);
	bed_wait_ms(1);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	put(INSIDE, part(f, 400, 800));
	expect_nothing();
}

static void the_timeout_is_the_configured_one(void **state)
{
	BED(.more = "timeouts: {fragment: 7}");
	put(INSIDE, part(big(udp(at(ALICE, 5000), at(S1, 53))), 400, 800));
	bed_wait_ms(6999);
	assert_int_equal(gauge(held), 1);
	bed_wait_ms(1);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_NO_HEAD], 1);
}

static void overlaps_and_duplicates_are_dropped(void **state)
{
	const struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));
	struct frame out[3];

	BED();
	refuse_out(part(with_id(f, 1), 16, 16), CGN_DROP_FRAG_INVALID); // empty
	put(INSIDE, part(f, 0, 400));
	out[0] = expect_frame(OUTSIDE);
	refuse_out(part(f, 0, 400), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 0, 80), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 392, 800), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 8, 16), CGN_DROP_FRAG_OVERLAP);
	put(INSIDE, part(f, 800, 1200));
	out[1] = expect_frame(OUTSIDE);
	refuse_out(part(f, 800, 1200), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 792, 800 + 8), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 400, 808), CGN_DROP_FRAG_OVERLAP);
	put(INSIDE, part(f, 400, 800));
	out[2] = expect_frame(OUTSIDE);
	whole_of(out, 3);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	// the same among those that wait
	put(INSIDE, part(f, 400, 800));
	refuse_out(part(f, 400, 800), CGN_DROP_FRAG_OVERLAP);
	refuse_out(part(f, 0, 408), CGN_DROP_FRAG_OVERLAP);
	put(INSIDE, part(f, 0, 400));
	out[0] = expect_frame(OUTSIDE);
	out[1] = expect_frame(OUTSIDE);
	put(INSIDE, part(f, 800, 1200));
	out[2] = expect_frame(OUTSIDE);
	whole_of(out, 3);
}

static void contradicting_ends_are_invalid(void **state)
{
	const struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));
	struct frame odd = part(f, 400, 800), beyond = part(f, 400, 800), end = part(f, 400, 800);

	BED();
	put(INSIDE, part(f, 0, 400));
	expect_frame(OUTSIDE);
	put(INSIDE, part(f, 800, 1200)); // the end: 1200
	expect_frame(OUTSIDE);
	frame_ip(&beyond)->frag = htons(MF | 1200 / 8);
	frame_seal_ip(&beyond);
	refuse_out(beyond, CGN_DROP_FRAG_INVALID);
	frame_ip(&end)->frag = htons(400 / 8); // another end
	frame_seal_ip(&end);
	refuse_out(end, CGN_DROP_FRAG_INVALID);
	frame_ip(&odd)->total_len = htons(20 + 397); // not in units of 8
	odd.len -= 3;
	frame_seal_ip(&odd);
	refuse_out(odd, CGN_DROP_FRAG_INVALID);
	frame_ip(&beyond)->frag = htons(0x1fff); // past 65535 bytes
	frame_seal_ip(&beyond);
	refuse_out(beyond, CGN_DROP_FRAG_INVALID);
}

// RFC 1858 3
static void tiny_first_fragments_are_dropped(void **state)
{
	const struct frame t = big(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN));
	struct frame f;

	BED();
	refuse_out(part(t, 0, 8), CGN_DROP_FRAG_TINY);
	refuse_out(part(with_id(t, 1), 0, 16), CGN_DROP_FRAG_TINY);
	refuse_out(part(with_id(t, 2), 8, 400), CGN_DROP_FRAG_INVALID); // where the flags are
	refuse_out(part(t, 400, 800), CGN_DROP_FRAG_HEAD_DROPPED); // of the tiny one
	f = with_id(t, 3);
	frame_l4(&f)[12] = 15 << 4; // 60 bytes of header
	refuse_out(part(f, 0, 56), CGN_DROP_FRAG_TINY);
	frame_l4(&f)[12] = 4 << 4;
	refuse_out(part(with_id(f, 4), 0, 56), CGN_DROP_L4_LENGTH);
	f = with_id(big(udp(at(ALICE, 5000), at(S1, 80))), 5);
	set16(frame_l4(&f) + 4, 399); // says less than what is there
	refuse_out(part(f, 0, 400), CGN_DROP_L4_LENGTH);
	put(INSIDE, part(t, 0, 24)); // another try of the same datagram is welcome
	expect_frame(OUTSIDE);
	put(INSIDE, part(t, 24, 1200));
	expect_frame(OUTSIDE);
}

static void a_dropped_first_fragment_takes_the_others_with_it(void **state)
{
	const struct frame f = big(udp(at(S1, 53), at(X1, 5000)));
	struct frame g;

	BED();
	put(OUTSIDE, part(f, 400, 800));
	put(OUTSIDE, part(f, 0, 400));
	put(OUTSIDE, part(f, 800, 1200));
	expect_nothing();
	COUNTED(.rx_packets = 3, .drops[CGN_DROP_NO_MAPPING] = 1,
		.drops[CGN_DROP_FRAG_HEAD_DROPPED] = 2);
	// the first one is answered, the others are not (RFC 1812 4.3.2.7)
	g = with_ttl(big(udp(at(ALICE, 5000), at(S1, 53))), 1);
	put(INSIDE, part(g, 400, 800));
	put(INSIDE, part(g, 0, 400));
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, ALICE, part(g, 0, 400));
	put(INSIDE, part(with_id(g, 9), 800, 1200));
	put(INSIDE, part(with_id(with_ttl(g, 64), 9), 0, 400));
	expect_frame(OUTSIDE);
	expect_nothing();
	COUNTED(.rx_packets = 4, .tx_packets = 2, .originated = 1, .icmp_errors_sent = 1,
		.translated_outbound = 1, .mappings_created = 1, .sessions_created = 1,
		.subscribers_created = 1, .blocks_allocated = 1, .drops[CGN_DROP_TTL_EXPIRED] = 2,
		.drops[CGN_DROP_FRAG_HEAD_DROPPED] = 1);
}

static void fragments_of_icmp_errors_and_other_protocols_are_dropped(void **state)
{
	struct frame f = udp(at(ALICE, 5000), at(S1, 53));
	struct endpoint x;

	BED();
	x = map(at(ALICE, 5000));
	f = big(icmp_error(S1, x.address, 3, 3, &f, WHOLE));
	refuse_in(part(f, 0, 400), CGN_DROP_FRAG_INVALID);
	refuse_in(part(f, 400, 800), CGN_DROP_FRAG_HEAD_DROPPED);
	refuse_in(part(with_id(big(echo(at(S1, 5), x.address)), 9), 0, 400),
		CGN_DROP_ICMP_NO_SESSION);
	refuse_out(part(ip_packet(ALICE, S1, 47, 1200), 0, 400), CGN_DROP_PROTOCOL);
	refuse_out(part(ip_packet(ALICE, S1, 47, 1200), 400, 1200), CGN_DROP_PROTOCOL);
}

static void fragments_for_us_are_dropped(void **state)
{
	BED();
	refuse_out(part(big(echo(at(ALICE, 5), US_INSIDE)), 0, 400), CGN_DROP_LOCAL_UNSUPPORTED);
	refuse_out(part(big(echo(at(ALICE, 5), US_INSIDE)), 400, 1200), CGN_DROP_LOCAL_UNSUPPORTED);
	refuse_in(part(big(udp(at(S1, 5), at(US_OUTSIDE, 5))), 400, 1200),
		CGN_DROP_LOCAL_UNSUPPORTED);
	refuse_in(part(big(udp(at(X1, 5), at(X1 + 1, 5))), 400, 1200), CGN_DROP_IP_SOURCE);
	refuse_in(part(big(udp(at(S1, 5), at(S2, 5))), 400, 1200), CGN_DROP_EXTERNAL_TO_EXTERNAL);
	refuse_out(part(big(udp(at(ALICE, 5), at(0xe0000001, 5))), 400, 1200),
		CGN_DROP_IP_DESTINATION);
}

// Stateless: nothing waits, nothing is kept, the id stays.
static void bypassed_fragments_pass_untouched(void **state)
{
	const struct frame f = big(udp(at(ALICE, 5000), at(S2, 53)));

	BED(.policies = "  - {name: b, match: {destination: [198.51.100.2/32]}, action: bypass}\n"
			"  - {name: h, match: {source: [100.64.0.0/10]}, action: translate, pool: p}");
	for (unsigned i = 0; i < 2; i++) {
		struct frame out = pass_out(part(f, 400, 800));

		assert_int_equal(src_of(out), ALICE);
		assert_int_equal(id_of(out), id_of(f));
		out = pass_in(part(big(udp(at(S2, 53), at(ALICE, 5000))), 800, 1200));
		assert_int_equal(dst_of(out), ALICE);
	}
	pass_out(part(f, 0, 8)); // tiny or not is the receiver's matter
	assert_int_equal(gauge(fragmented_datagrams), 0);
	assert_int_equal(bed_sum().bypassed, 5);
	assert_int_equal(bed_sum().mappings_created, 0);
}

static void where_a_bypass_policy_asks_for_ports_the_first_fragment_decides(void **state)
{
	struct frame f;

	BED(.policies = "  - {name: b, match: {destination: [198.51.100.2/32], protocol: udp,"
			" destination-ports: [53]}, action: bypass}\n"
			"  - {name: h, match: {source: [100.64.0.0/10]}, action: translate, pool: p}");
	for (unsigned i = 0; i < 6; i++) {
		f = through(INSIDE, OUTSIDE, with_id(big(udp(at(ALICE, 5000), at(S2, 53))), i),
			orders[i]);
		assert_endpoint(source_of(f), at(ALICE, 5000));
		assert_int_equal(id_of(f), i);
		f = through(OUTSIDE, INSIDE, big(udp(at(S2, 53), at(ALICE, 5000))), orders[i]);
		assert_endpoint(destination_of(f), at(ALICE, 5000));
		f = through(INSIDE, OUTSIDE, big(udp(at(ALICE, 5000), at(S2, 54))), orders[i]);
		assert_in_range(src_of(f), X1, X1 + 3);
	}
}

// A stale record must not be used: the rest of the datagram still goes to whom the first one went.
static void a_mapping_that_ends_meanwhile_changes_nothing(void **state)
{
	struct endpoint x;
	struct frame f, out[3];

	BED(.more = "timeouts: {hold-down: 0, udp: 1, fragment: 9, non-conformant: true}",
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	x = map(at(ALICE, 5000));
	f = big(udp(at(S1, 53), x));
	put(OUTSIDE, part(f, 0, 400));
	out[0] = expect_frame(INSIDE);
	bed_wait(5);
	assert_int_equal(gauge(mappings), 0);
	map(at(BOB, 5000)); // takes the same record
	put(OUTSIDE, part(f, 400, 800));
	out[1] = expect_frame(INSIDE);
	put(OUTSIDE, part(f, 800, 1200));
	out[2] = expect_frame(INSIDE);
	assert_endpoint(destination_of(whole_of(out, 3)), at(ALICE, 5000));
	assert_int_equal(bed.worker[0]->flows.flow[0].pkts_in, 0);
	assert_int_equal(ntohl(bed.worker[0]->flows.flow[0].int_addr), BOB);
}

static void flood(unsigned ifc, uint32_t from, uint32_t sources, unsigned n)
{
	struct frame f;

	for (unsigned i = 0; i < n; i++) {
		f = ifc == INSIDE ? big(udp(at(from + i % sources, 5000), at(S1, 53)))
				  : big(udp(at(from + i % sources, 53), at(X1, 5000)));
		bed_put(ifc, part(with_id(f, i / sources), 400, 800));
		if (i % 512 == 511)
			bed_run();
	}
	bed_run();
}

// RFC 4787 REQ-14a
static void a_flood_of_fragments_without_first_hurts_no_whole_packet(void **state)
{
	struct endpoint x;
	struct frame f;

	BED();
	x = map(at(ALICE, 5000));
	flood(INSIDE, BOB, 1, 1000); // one source
	assert_int_equal(gauge(fragments_held), FRAG_HELD_SOURCE);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_SOURCE_LIMIT], 1000 - FRAG_HELD_SOURCE);
	flood(INSIDE, CAROL, 1000, 3000); // many
	assert_int_equal(gauge(fragments_held), FRAG_HELD_MAX);
	assert_int_equal(
		bed_sum().drops[CGN_DROP_FRAG_STORE_FULL], 3000 + FRAG_HELD_SOURCE - FRAG_HELD_MAX);
	flood(OUTSIDE, S2, 1000, 3000); // and from outside
	assert_int_equal(gauge(fragments_held), 2 * FRAG_HELD_MAX);
	expect_nothing();
	for (unsigned i = 0; i < 100; i++) {
		assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53)))), x);
		pass_in(udp(at(S1, 53), x));
		pass_out(udp(at(ALICE, 6000 + i), at(S1, 53)));
	}
	for (unsigned i = 0; i < 3; i++) { // fragments that need not wait pass, too
		f = through(INSIDE, OUTSIDE, big(udp(at(ALICE, 5000), at(S1, 53))), "012");
		assert_endpoint(source_of(f), x);
		through(OUTSIDE, INSIDE, with_id(big(udp(at(S1, 53), x)), 7000 + i), "012");
	}
	bed_wait(2);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_NO_HEAD], 2 * FRAG_HELD_MAX);
}

static void incomplete_datagrams_are_bounded(void **state)
{
	struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));

	BED(.sessions = 16384);
	for (unsigned i = 0; i < FRAG_DATAGRAMS_SOURCE + 10; i++) {
		bed_put(INSIDE, part(with_id(f, i), 0, 400));
		bed_run();
	}
	assert_int_equal(bed_waiting(OUTSIDE), FRAG_DATAGRAMS_SOURCE);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_SOURCE_LIMIT], 10);
	for (unsigned host = 1; host <= FRAG_DATAGRAMS_MAX / FRAG_DATAGRAMS_SOURCE; host++) {
		f = big(udp(at(ALICE + host, 5000), at(S1, 53)));
		for (unsigned i = 0; i < FRAG_DATAGRAMS_SOURCE; i++) {
			bed_put(INSIDE, part(with_id(f, i), 0, 400));
			bed_run();
		}
	}
	assert_int_equal(gauge(fragmented_datagrams), FRAG_DATAGRAMS_MAX);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_STORE_FULL], FRAG_DATAGRAMS_SOURCE);
	while (bed_take(OUTSIDE, &f))
		;
	pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	bed_wait(2);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	through(INSIDE, OUTSIDE, big(udp(at(ALICE, 5000), at(S1, 53))), "210");
}

static void a_datagram_with_too_many_gaps_or_waiting_fragments(void **state)
{
	const struct frame f = big(udp(at(ALICE, 5000), at(S1, 53)));

	BED();
	for (unsigned i = 0; i < FRAG_GAPS_MAX; i++) // every second 8 bytes
		put(INSIDE, part(f, 16 + 16 * i, 24 + 16 * i));
	assert_int_equal(gauge(fragments_held), FRAG_GAPS_MAX);
	refuse_out(part(f, 16 + 16 * FRAG_GAPS_MAX, 24 + 16 * FRAG_GAPS_MAX),
		CGN_DROP_FRAG_DATAGRAM_LIMIT);
	for (unsigned i = 0; i < FRAG_HELD_DATAGRAM; i++)
		put(INSIDE, part(with_id(f, 7), 8 + 8 * i, 16 + 8 * i));
	refuse_out(part(with_id(f, 7), 8 + 8 * FRAG_HELD_DATAGRAM, 16 + 8 * FRAG_HELD_DATAGRAM),
		CGN_DROP_FRAG_DATAGRAM_LIMIT);
	put(INSIDE, part(with_id(f, 7), 0, 8)); // releases them all
	assert_int_equal(bed_waiting(OUTSIDE), 1 + FRAG_HELD_DATAGRAM);
	bed_wait(2);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_NO_HEAD], FRAG_GAPS_MAX);
}

static void held_fragments_are_dropped_at_stop(void **state)
{
	BED();
	put(INSIDE, part(big(udp(at(ALICE, 5000), at(S1, 53))), 400, 800));
	put(OUTSIDE, part(big(udp(at(S1, 53), at(X1, 5000))), 400, 800));
	assert_int_equal(gauge(held), 2);
	worker_drop_held(bed.worker[0]);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(bed_sum().drops[CGN_DROP_STOPPED], 2);
}

// An address split between two workers: fragments have no port, and still find their owner.
static void one_address_on_two_workers(void **state)
{
	unsigned n_owner[2] = {0, 0};

	for (unsigned spread = 0; spread < 2; spread++) {
		BED(.workers = 2, .spread = spread,
			.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
		for (unsigned i = 0; i < 24; i++) {
			const struct endpoint host = at(ALICE + i, 5000);
			struct endpoint x;
			struct frame f;

			f = through(INSIDE, OUTSIDE, big(udp(host, at(S1, 53))), "012");
			x = source_of(f);
			n_owner[steer_external(bed.worker[0]->snapshot, x.address, x.port)]++;
			for (unsigned order = 0; order < 6; order++) {
				f = through(OUTSIDE, INSIDE,
					with_id(big(udp(at(S1, 53), x)), i * 6 + order),
					orders[order]);
				assert_endpoint(destination_of(f), host);
				f = through(INSIDE, INSIDE,
					with_id(big(udp(at(ALICE + (i + 5) % 24, 5000), x)),
						i * 6 + order),
					orders[order]);
				assert_endpoint(destination_of(f), host);
			}
		}
		// none comes first: it waits with the worker who was to learn the owner
		put(OUTSIDE, part(big(udp(at(S1, 53), at(X1, 5000))), 400, 800));
		assert_int_equal(gauge(held), 1);
		bed_wait(2);
		assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_NO_HEAD], 1);
		assert_int_equal(bed_teardown(NULL), 0);
	}
	assert_true(n_owner[0] && n_owner[1]);
}

// Whatever fragments come, in whatever order: nothing crashes, every packet is accounted for, nothing
// stays behind. The bed checks that.
static void anything_at_all(void **state)
{
	static const uint32_t sources[] = {ALICE, BOB, CAROL, ALICE, BOB, X1},
			      remotes[] = {S1, S1, S2, S2, US_OUTSIDE, 0xe0000001};
	struct endpoint x[64];
	static const uint8_t protos[] = {6, 17, 17, 17, 1, 47};

	srand(4711);
	for (unsigned workers = 1; workers <= 3; workers++) {
		BED(.workers = workers, .spread = true,
			.pools =
				"  - {name: p, addresses: [203.0.113.1-203.0.113.2], block-size: 64}",
			.outside = MTU_OUTSIDE(576), .inside = MTU_INSIDE(300));
		bed.bad_l4 = true;
		for (unsigned i = 0; i < 64; i++)
			x[i] = map(at(ALICE + i % 3, 1024 + i));
		for (unsigned i = 0; i < 20000; i++) {
			const unsigned ifc = rand() % 2,
				       len = 8u * (rand() % 100) + (rand() % 8 ? 0 : 3);
			const bool out = ifc == INSIDE;
			const struct endpoint to = x[rand() % 64];
			struct frame f = ip_packet(out ? sources[rand() % 6] : remotes[rand() % 4],
				out && rand() % 3 ? remotes[rand() % 6] : to.address,
				protos[rand() % 6], len);
			struct ipv4 *ip = frame_ip(&f);

			if (len >= 20) {
				set16(frame_l4(&f), 1024 + (unsigned)rand() % 64);
				set16(frame_l4(&f) + 2, rand() % 8 ? to.port : 1024);
				set16(frame_l4(&f) + 4, rand() % 4 ? 1500 : (unsigned)rand());
				frame_l4(&f)[0] = ip->proto == 1 && rand() % 4
					? (uint8_t)(out ? 8 : 0)
					: frame_l4(&f)[0];
				frame_l4(&f)[12] = (uint8_t)(rand() % 4 ? 0x50 : rand());
				frame_l4(&f)[13] = (uint8_t)(rand() % 4 ? TCP_SYN : rand());
			}
			ip->id = htons((uint16_t)(rand() % 8));
			ip->frag = htons((uint16_t)((rand() % 3			 ? 0
								    : rand() % 2 ? rand() % 200
										 : rand()) |
				(rand() % 3 ? MF : 1) | (rand() % 8 ? 0 : IPV4_DF)));
			ip->ttl = (uint8_t)(rand() % 16 ? 64 : 1);
			frame_seal_ip(&f);
			bed_put(ifc, f);
			if (rand() % 50 == 0)
				bed_wait_ms((uint32_t)rand() % 700);
			while (bed_take(INSIDE, &f) || bed_take(OUTSIDE, &f))
				;
		}
		bed_run();
		assert_true(bed_sum().fragments_followed > 100);
		assert_true(bed_sum().packets_fragmented > 100);
		for (unsigned reason = CGN_DROP_FRAG_INVALID; reason <= CGN_DROP_FRAG_HEAD_DROPPED;
			reason++)
			assert_true(bed_sum().drops[reason] > 0);
		bed_wait(3);
		assert_int_equal(gauge(fragmented_datagrams), 0);
		assert_int_equal(gauge(held), 0);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

BED_MAIN(TEST(anything_at_all), TEST(udp_in_any_order_both_ways),
	TEST(the_first_packet_of_a_mapping_may_be_fragments), TEST(tcp_and_echo),
	TEST(echo_of_one_to_one_hosts), TEST(udp_without_checksum), TEST(hairpins_in_any_order),
	TEST(what_comes_before_the_first_waits_2_s_and_no_longer),
	TEST(the_timeout_is_the_configured_one), TEST(overlaps_and_duplicates_are_dropped),
	TEST(contradicting_ends_are_invalid), TEST(tiny_first_fragments_are_dropped),
	TEST(a_dropped_first_fragment_takes_the_others_with_it),
	TEST(fragments_of_icmp_errors_and_other_protocols_are_dropped),
	TEST(fragments_for_us_are_dropped), TEST(bypassed_fragments_pass_untouched),
	TEST(where_a_bypass_policy_asks_for_ports_the_first_fragment_decides),
	TEST(a_mapping_that_ends_meanwhile_changes_nothing),
	TEST(a_flood_of_fragments_without_first_hurts_no_whole_packet),
	TEST(incomplete_datagrams_are_bounded),
	TEST(a_datagram_with_too_many_gaps_or_waiting_fragments),
	TEST(held_fragments_are_dropped_at_stop), TEST(one_address_on_two_workers))
