// SPDX-License-Identifier: BSD-3-Clause
// Packets too big for the interface they leave by (RFC 4787 REQ-13), and identifications (RFC 6864).
#include "bed.h"
#include "pieces.h"
#include <stdio.h>

static struct endpoint map(struct endpoint from)
{
	return source_of(pass_out(udp(from, at(S1, 53))));
}

static struct frame big(struct frame f)
{
	return with_size(f, 1220); // 1200 bytes of payload
}

// RFC 6864 4.1, 5.3.1
static void atomic_datagrams_keep_their_id_others_get_a_new_one(void **state)
{
	bool seen[65536] = {false};
	unsigned n_same = 0;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	for (unsigned i = 0; i < 1000; i++) {
		const uint32_t host = i & 1 ? ALICE : BOB; // both use 7
		struct frame f = with_id(udp(at(host, 5000), at(S1, 53)), 7), out = pass_out(f);

		assert_false(seen[id_of(out)]);
		seen[id_of(out)] = true;
		n_same += id_of(out) == 7;
		assert_int_equal(id_of(pass_out(with_df(f))), 7);
	}
	assert_true(n_same < 2);
	// what an inside router says about a packet, too
	for (unsigned i = 0; i < 20; i++) {
		struct endpoint x = map(at(ALICE, 5000));
		struct frame f = pass_in(with_id(udp(at(S1, 53), x), 7));

		assert_int_equal(id_of(f), 7);
		f = pass_out(with_id(icmp_error(ALICE, S1, 3, 3, &f, WHOLE), 7));
		n_same += id_of(f) == 7;
	}
	assert_true(n_same < 3);
}

// Checklist row R7857-10.
static void two_subscribers_fragments_with_one_id_stay_apart(void **state)
{
	const struct frame a = with_id(big(udp(at(ALICE, 5000), at(S1, 53))), 7),
			   b = with_id(big(udp(at(BOB, 5000), at(S1, 53))), 7);
	struct frame x[2], y[2];

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	put(INSIDE, part(a, 0, 400));
	x[0] = expect_frame(OUTSIDE);
	put(INSIDE, part(b, 0, 400));
	y[0] = expect_frame(OUTSIDE);
	put(INSIDE, part(b, 400, 1200));
	y[1] = expect_frame(OUTSIDE);
	put(INSIDE, part(a, 400, 1200));
	x[1] = expect_frame(OUTSIDE);
	assert_int_not_equal(id_of(x[0]), id_of(y[0]));
	whole_of(x, 2);
	whole_of(y, 2);
}

// RFC 4787 REQ-13
static void too_big_with_df_is_answered_with_the_mtu(void **state)
{
	struct frame f = with_df(with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500)), e;

	BED(.outside = MTU_OUTSIDE(1400));
	put(INSIDE, f);
	e = expect_frame(INSIDE);
	assert_error(e, 3, 4, US_INSIDE, ALICE, f);
	assert_int_equal(frame_l4(&e)[6] << 8 | frame_l4(&e)[7], 1400);
	assert_int_equal(ntohs(frame_ip(&e)->total_len), 576);
	expect_nothing();
	COUNTED(.rx_packets = 1, .tx_packets = 1, .originated = 1, .icmp_errors_sent = 1,
		.drops[CGN_DROP_MTU_EXCEEDED] = 1);
}

// The frames that wait at `ifc`: in order, none above mtu, whole when put together.
static struct frame collect(unsigned ifc, unsigned mtu, unsigned *n)
{
	struct frame f[64];
	unsigned next = 0;

	for (*n = 0; bed_waiting(ifc); (*n)++) {
		f[*n] = expect_frame(ifc);
		assert_in_range(ntohs(frame_ip(&f[*n])->total_len), 21, mtu);
		assert_int_equal((ntohs(frame_ip(&f[*n])->frag) & 0x1fff) * 8, next);
		assert_int_equal(ntohs(frame_ip(&f[*n])->frag) & 0xc000, 0);
		next += frame_l4_len(&f[*n]);
	}
	return whole_of(f, *n);
}

// RFC 4787 REQ-13a, RFC 791
static void too_big_without_df_is_cut_in_order(void **state)
{
	static const unsigned mtus[] = {68, 576, 1006, 1400, 1499};
	char outside[200], inside[200];
	struct endpoint x;
	struct frame f, out;
	unsigned n;

	for (unsigned i = 0; i < 5; i++) {
		snprintf(outside, sizeof(outside),
			"mtu: %u, addresses: [192.0.2.2/24],"
			" routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]",
			mtus[i]);
		snprintf(inside, sizeof(inside),
			"mtu: %u, addresses: [10.255.0.1/24],"
			" routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]",
			mtus[i]);
		BED(.outside = outside, .inside = inside);
		x = map(at(ALICE, 5000));
		f = with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500);
		put(INSIDE, f);
		out = collect(OUTSIDE, mtus[i], &n);
		assert_endpoint(source_of(out), x);
		assert_int_equal(frame_l4_len(&out), 1480);
		assert_memory_equal(frame_l4(&out) + 8, frame_l4(&f) + 8, 1472);
		assert_int_equal(n, (1480 + ((mtus[i] - 20) & ~7u) - 1) / ((mtus[i] - 20) & ~7u));
		put(OUTSIDE, with_size(udp(at(S1, 53), x), 1500));
		out = collect(INSIDE, mtus[i], &n);
		assert_endpoint(destination_of(out), at(ALICE, 5000));
		assert_int_equal(bed_sum().packets_fragmented, 2);
		assert_int_equal(bed_sum().translated_outbound, 2);
		put(INSIDE, with_size(udp(at(BOB, 5000), x), 1500)); // a hairpin
		out = collect(INSIDE, mtus[i], &n);
		assert_endpoint(destination_of(out), at(ALICE, 5000));
		assert_in_range(source_of(out).address, X1, X1 + 3);
		assert_memory_equal(frame_l4(&out) + 8, frame_l4(&f) + 8, 1472);
		assert_int_equal(bed_sum().packets_fragmented, 3);
		assert_int_equal(bed_sum().hairpinned, 1);
		// a mapping's first packet, and one that nobody's MAC address is known for
		put(INSIDE, with_size(udp(at(CAROL, 5000), at(S1, 53)), 1500));
		collect(OUTSIDE, mtus[i], &n);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void options_are_copied_as_rfc_791_says(void **state)
{
	// router alert (copied), record route (not copied), no-operation
	static const uint8_t options[] = {
		148, 4, 0, 0, 7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 1, 136, 4, 9, 9};
	static const uint8_t copied[] = {148, 4, 0, 0, 136, 4, 9, 9};
	static const uint8_t cut_short[] = {148, 4, 0, 0, 7, 200, 4, 0};
	struct frame f, out[2];

	BED(.outside = MTU_OUTSIDE(1000));
	f = with_options(with_size(udp(at(ALICE, 5000), at(S1, 53)), 1400), options, 20);
	put(INSIDE, f);
	out[0] = expect_frame(OUTSIDE);
	out[1] = expect_frame(OUTSIDE);
	expect_nothing();
	assert_int_equal(frame_ip(&out[0])->ver_ihl, 0x4a);
	assert_memory_equal(frame_ip(&out[0]) + 1, options, 20);
	assert_int_equal(frame_ip(&out[1])->ver_ihl, 0x47);
	assert_memory_equal(frame_ip(&out[1]) + 1, copied, 8);
	assert_int_equal(frame_l4_len(&out[0]), 960);
	whole_of(out, 2);
	put(INSIDE, with_options(with_size(udp(at(ALICE, 5000), at(S1, 53)), 1400), cut_short, 8));
	out[0] = expect_frame(OUTSIDE);
	out[1] = expect_frame(OUTSIDE);
	assert_int_equal(frame_ip(&out[1])->ver_ihl, 0x46);
	whole_of(out, 2);
}

static void fragments_too_big_are_cut_again(void **state)
{
	const struct frame f = with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500 + 480);
	unsigned n;

	BED(.outside = MTU_OUTSIDE(576));
	put(INSIDE, part(f, 0, 1000));
	put(INSIDE, part(f, 1000, 1960));
	collect(OUTSIDE, 576, &n);
	assert_int_equal(n, 4);
	assert_int_equal(bed_sum().packets_fragmented, 2);
	// a fragment with DF is not cut; only about a first one is something said
	put(INSIDE, part(with_df(with_id(f, 9)), 1000, 1960));
	put(INSIDE, part(with_df(with_id(f, 9)), 0, 1000));
	assert_error(expect_frame(INSIDE), 3, 4, US_INSIDE, ALICE,
		part(with_df(with_id(f, 9)), 0, 1000));
	expect_nothing();
}

static void bypassed_packets_are_cut_too(void **state)
{
	const struct frame f = with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500);
	struct frame out;
	unsigned n;

	BED(.outside = MTU_OUTSIDE(1400),
		.policies = "  - {name: b, match: {source: [100.64.0.0/10]}, action: bypass}");
	put(INSIDE, f);
	out = collect(OUTSIDE, 1400, &n);
	assert_int_equal(n, 2);
	assert_int_equal(id_of(out), id_of(f));
}

static void without_buffers_nothing_is_sent_in_part(void **state)
{
	static struct rte_mbuf *taken[8191];
	struct rte_mempool *pool;
	unsigned n = 0;

	BED(.outside = MTU_OUTSIDE(100));
	map(at(ALICE, 5000));
	pool = bed.worker[0]->mbufs;
	while (rte_mempool_avail_count(pool) > 5)
		taken[n++] = rte_pktmbuf_alloc(pool);
	put(INSIDE, with_size(udp(at(ALICE, 5000), at(S1, 53)), 1500));
	expect_nothing();
	COUNTED(.rx_packets = 2, .tx_packets = 1, .translated_outbound = 2, .mappings_created = 1,
		.sessions_created = 1, .subscribers_created = 1, .blocks_allocated = 1,
		.no_buffer = 1, .drops[CGN_DROP_FRAG_NO_BUFFER] = 1);
	while (n)
		rte_pktmbuf_free(taken[--n]);
}

// Split or not: workers behind one address never give the same id (RFC 6864).
static void workers_behind_one_address_give_different_ids(void **state)
{
	bool seen[65536] = {false};

	BED(.workers = 3, .pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	for (unsigned i = 0; i < 3000; i++) {
		struct frame f = pass_out(udp(at(ALICE + i % 30, 5000), at(S1, 53)));

		assert_false(seen[id_of(f)]);
		seen[id_of(f)] = true;
	}
}

BED_MAIN(TEST(atomic_datagrams_keep_their_id_others_get_a_new_one),
	TEST(two_subscribers_fragments_with_one_id_stay_apart),
	TEST(too_big_with_df_is_answered_with_the_mtu), TEST(too_big_without_df_is_cut_in_order),
	TEST(options_are_copied_as_rfc_791_says), TEST(fragments_too_big_are_cut_again),
	TEST(bypassed_packets_are_cut_too), TEST(without_buffers_nothing_is_sent_in_part),
	TEST(workers_behind_one_address_give_different_ids))
