// SPDX-License-Identifier: BSD-3-Clause
// Protocols without ports: GRE, ESP and the like, by address alone, where a policy lists them.
#include "pieces.h"
#include "session.h"
#include "walk.h"

#define GRE 47
#define ESP 50
#define AH 51
#define SCTP 132
#define DCCP 33

#define HOME(keys) \
	"  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p" keys "}"
#define TUNNELS HOME(", portless-protocols: [gre, esp]")
#define ONE_ADDRESS "  - {name: p, addresses: [203.0.113.1], block-size: 64}"

static struct frame esp(uint32_t from, uint32_t to)
{
	return ip_packet(from, to, ESP, 40);
}

// R6888-1, PRJ-ESP: what nobody asked for is dropped whole, in either direction
static void by_default_other_protocols_are_dropped(void **state)
{
	static const uint8_t protocols[] = {GRE, ESP, AH, SCTP, DCCP, 4, 41, 2, 255};

	BED();
	for (unsigned i = 0; i < sizeof(protocols); i++) {
		refuse_out(ip_packet(ALICE, S1, protocols[i], 40), CGN_DROP_PROTOCOL);
		refuse_in(ip_packet(S1, X1, protocols[i], 40), CGN_DROP_PROTOCOL);
	}
	COUNTED(.rx_packets = 18, .drops[CGN_DROP_PROTOCOL] = 18);
}

// R6888-1: nor what the policy does not list; AH, SCTP and DCCP cannot be listed
static void what_the_policy_does_not_list_is_dropped(void **state)
{
	static const uint8_t protocols[] = {AH, SCTP, DCCP, 4, 41};

	BED(.policies = TUNNELS);
	for (unsigned i = 0; i < sizeof(protocols); i++) {
		refuse_out(ip_packet(ALICE, S1, protocols[i], 40), CGN_DROP_PROTOCOL);
		refuse_in(ip_packet(S1, X1, protocols[i], 40), CGN_DROP_PROTOCOL);
	}
}

// PRJ-ESP: the address changes, and nothing behind the IPv4 header
static void a_tunnel_goes_out_and_comes_back(void **state)
{
	static const uint8_t protocols[] = {GRE, ESP};

	BED(.policies = TUNNELS);
	for (unsigned i = 0; i < sizeof(protocols); i++) {
		const struct frame sent = ip_packet(ALICE, S1, protocols[i], 41);
		struct frame f = pass_out(sent), g;
		const uint32_t x = src_of(f);

		assert_in_range(x, X1, X1 + 3);
		assert_int_equal(dst_of(f), S1);
		g = sent;
		assert_memory_equal(frame_l4(&f), frame_l4(&g), 41);
		g = ip_packet(S1, x, protocols[i], 41);
		f = pass_in(g);
		assert_int_equal(src_of(f), S1);
		assert_int_equal(dst_of(f), ALICE);
		assert_memory_equal(frame_l4(&f), frame_l4(&g), 41);
		// another remote has not been sent to
		refuse_in(ip_packet(S2, x, protocols[i], 40), CGN_DROP_NO_MAPPING);
	}
	COUNTED(.rx_packets = 6, .tx_packets = 4, .translated_outbound = 2, .translated_inbound = 2,
		.mappings_created = 2, .sessions_created = 2, .subscribers_created = 1,
		.blocks_allocated = 1, .drops[CGN_DROP_NO_MAPPING] = 2);
	assert_int_equal(gauge(mappings), 2);
	assert_int_equal(gauge(blocks), 1);
}

// R6888-2
static void a_tunnel_has_the_address_that_the_subscriber_is_paired_with(void **state)
{
	BED(.policies = TUNNELS);
	for (uint32_t host = ALICE; host < ALICE + 16; host++) {
		const uint32_t x = source_of(pass_out(udp(at(host, 500), at(S1, 500)))).address;

		// gateways of their own, as some share an address
		assert_int_equal(src_of(pass_out(esp(host, 0xc6336500 + host % 256))), x);
		assert_int_equal(
			src_of(pass_out(ip_packet(host, 0xc6336500 + host % 256, GRE, 16))), x);
	}
	// the other way round, too
	assert_int_equal(source_of(pass_out(udp(at(ALICE + 20, 1), at(S1, 1)))).address,
		src_of(pass_out(esp(ALICE + 20, 0xc6336580))));
	assert_int_equal(gauge(blocks), 17);
}

// PRJ-ESP: a second host to the same gateway is refused, not hijacked
static void a_remote_belongs_to_who_began(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS, .pools = ONE_ADDRESS, .more = "icmp: {refused: off}");
	x = src_of(pass_out(esp(ALICE, S1)));
	pass_out(udp(at(BOB, 500), at(S1, 500)));
	refuse_out(esp(BOB, S1), CGN_DROP_PORTLESS_TAKEN);
	// another remote, another protocol
	pass_out(esp(BOB, S2));
	pass_out(ip_packet(BOB, S1, GRE, 40));
	assert_int_equal(dst_of(pass_in(esp(S1, x))), ALICE);
	assert_int_equal(dst_of(pass_in(esp(S2, x))), BOB);
	assert_int_equal(dst_of(pass_in(ip_packet(S1, x, GRE, 40))), BOB);
	refuse_out(esp(ALICE, S2), CGN_DROP_PORTLESS_TAKEN);
	// one who has nothing yet gets nothing for it
	bed_put(INSIDE, esp(CAROL, S1));
	bed_run();
	assert_int_equal(bed_sum().drops[CGN_DROP_PORTLESS_TAKEN], 3);
	assert_int_equal(gauge(mappings), 4);
	assert_int_equal(gauge(subscribers), 2);
	// when the holder has gone, it is free
	bed_wait(302);
	assert_int_equal(gauge(mappings), 0);
	pass_out(esp(BOB, S1));
	assert_int_equal(dst_of(pass_in(esp(S1, x))), BOB);
}

// R6888-11b, and counted for the subscriber
static void who_is_refused_is_told(void **state)
{
	struct frame f;

	BED(.policies = TUNNELS, .pools = ONE_ADDRESS);
	pass_out(esp(ALICE, S1));
	pass_out(udp(at(BOB, 500), at(S1, 500)));
	bed_put(INSIDE, esp(BOB, S1));
	bed_run();
	f = expect_frame(INSIDE);
	assert_error(f, 3, 1, US_INSIDE, BOB, esp(BOB, S1));
	expect_nothing();
}

// As UDP: outbound packets refresh (RFC 4787 REQ-6), inbound ones do not
static void a_tunnel_lives_as_long_as_packets_go_out(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS, .more = "timeouts: {portless: 120}");
	x = src_of(pass_out(esp(ALICE, S1)));
	for (unsigned i = 0; i < 5; i++) {
		bed_wait(100);
		assert_int_equal(src_of(pass_out(esp(ALICE, S1))), x);
	}
	bed_wait(119);
	pass_in(esp(S1, x));
	bed_wait(3);
	refuse_in(esp(S1, x), CGN_DROP_NO_MAPPING);
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(blocks), 0);
	assert_int_equal(gauge(blocks_held), 1);
}

static void the_default_timer_is_300_s(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS);
	x = src_of(pass_out(esp(ALICE, S1)));
	bed_wait_ms(299999);
	pass_in(esp(S1, x));
	bed_wait_ms(2001);
	refuse_in(esp(S1, x), CGN_DROP_NO_MAPPING);
}

// PBA-3: every tunnel takes up an id of the subscriber's blocks
static void tunnels_count_in_the_limits(void **state)
{
	BED(.policies = HOME(", portless-protocols: [esp], limits: {mappings: 3}"),
		.more = "icmp: {refused: off}");
	for (unsigned i = 0; i < 3; i++)
		pass_out(esp(ALICE, S1 + i));
	refuse_out(esp(ALICE, S1 + 3), CGN_DROP_MAPPING_LIMIT);
	refuse_out(udp(at(ALICE, 1), at(S1, 1)), CGN_DROP_MAPPING_LIMIT);
	pass_out(esp(ALICE, S1));
	assert_int_equal(gauge(pools[0].ports_used), 3);
	assert_int_equal(bed_teardown(NULL), 0);

	BED(.policies = TUNNELS, .sessions = 4096,
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 16, max-blocks: 1}",
		.more = "icmp: {refused: off}");
	for (unsigned i = 0; i < 16; i++)
		pass_out(esp(ALICE, S1 + i));
	refuse_out(esp(ALICE, S1 + 16), CGN_DROP_BLOCK_LIMIT);
	refuse_out(echo(at(ALICE, 1), S1), CGN_DROP_BLOCK_LIMIT);
	pass_out(udp(at(ALICE, 1), at(S1, 1)));
}

// Fill to full: a reason of its own, and it drains
static void the_room_for_tunnels_is_bounded(void **state)
{
	unsigned n = 0;

	BED(.policies = TUNNELS, .sessions = 4096,
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 1024}",
		.more = "icmp: {refused: off}");
	while (!bed_sum().drops[CGN_DROP_PORTLESS_FULL]) {
		bed_put(INSIDE, esp(ALICE, S1 + n++));
		bed_run();
		assert_true(n < 200);
	}
	assert_int_equal(n, 64 + 1);
	assert_int_equal(gauge(mappings), 64);
	for (unsigned i = 0; i + 1 < n; i++) {
		struct frame f;

		assert_true(bed_take(OUTSIDE, &f));
	}
	pass_out(esp(ALICE, S1)); // those that are there go on
	pass_out(udp(at(ALICE, 1), at(S1, 1)));
	bed_wait(303);
	assert_int_equal(gauge(mappings), 0);
	pass_out(esp(ALICE, S1 + n));
}

// RFC 4787 REQ-14, RFC 6864: fragments need no ports, but one identification
static void fragments_follow_in_any_order(void **state)
{
	static const unsigned order[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 0, 2}, {1, 2, 0}};
	const struct frame whole_in = ip_packet(S1, X1, ESP, 1600);
	uint32_t x;

	BED(.policies = TUNNELS, .pools = ONE_ADDRESS);
	x = src_of(pass_out(esp(ALICE, S1)));
	for (unsigned i = 0; i < 4; i++) {
		const struct frame sent = with_id(ip_packet(ALICE, S1, ESP, 1400), 500 + i);
		struct frame p[3] = {
			part(sent, 0, 400), part(sent, 400, 1000), part(sent, 1000, 1400)};
		struct frame got[3], f, g = sent;

		for (unsigned k = 0; k < 3; k++)
			bed_put(INSIDE, p[order[i][k]]);
		bed_run();
		for (unsigned k = 0; k < 3; k++)
			got[k] = expect_frame(OUTSIDE);
		expect_nothing();
		f = whole_of(got, 3);
		assert_int_equal(src_of(f), x);
		assert_memory_equal(frame_l4(&f), frame_l4(&g), 1400);

		g = with_id(whole_in, 900 + i);
		p[0] = part(g, 0, 512);
		p[1] = part(g, 512, 1024);
		p[2] = part(g, 1024, 1600);
		for (unsigned k = 0; k < 3; k++)
			bed_put(OUTSIDE, p[order[i][k]]);
		bed_run();
		for (unsigned k = 0; k < 3; k++)
			got[k] = expect_frame(INSIDE);
		expect_nothing();
		f = whole_of(got, 3);
		assert_int_equal(dst_of(f), ALICE);
		assert_int_equal(id_of(f), 900 + i);
		assert_memory_equal(frame_l4(&f), frame_l4(&g), 1600);
	}
	assert_int_equal(gauge(fragmented_datagrams), 0);
	// one that opens the flow, and one of nobody
	bed_put(INSIDE, part(ip_packet(BOB, S2, GRE, 1000), 0, 800));
	bed_put(INSIDE, part(ip_packet(BOB, S2, GRE, 1000), 800, 1000));
	bed_run();
	assert_int_equal(src_of(expect_frame(OUTSIDE)), x);
	assert_int_equal(src_of(expect_frame(OUTSIDE)), x);
	refuse_in(part(ip_packet(S1, x, GRE, 1000), 0, 800), CGN_DROP_NO_MAPPING);
	refuse_in(part(ip_packet(S1, x, GRE, 1000), 800, 1000), CGN_DROP_FRAG_HEAD_DROPPED);
}

static void a_tunnel_packet_too_big_is_answered_or_cut(void **state)
{
	struct frame sent, got[3], f;

	BED(.policies = TUNNELS, .outside = MTU_OUTSIDE(600));
	sent = ip_packet(ALICE, S1, ESP, 1000);
	bed_put(INSIDE, with_df(sent));
	bed_run();
	assert_error(expect_frame(INSIDE), 3, 4, US_INSIDE, ALICE, with_df(sent));
	expect_nothing();
	assert_int_equal(gauge(sessions), 0); // nothing is made for what is not forwarded
	bed_put(INSIDE, sent);
	bed_run();
	got[0] = expect_frame(OUTSIDE);
	got[1] = expect_frame(OUTSIDE);
	expect_nothing();
	f = whole_of(got, 2);
	assert_memory_equal(frame_l4(&f), frame_l4(&sent), 1000);
}

static void ttl_runs_out_here(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS);
	bed_put(INSIDE, with_ttl(esp(ALICE, S1), 1));
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, ALICE, with_ttl(esp(ALICE, S1), 1));
	assert_int_equal(gauge(sessions), 0);
	x = src_of(pass_out(esp(ALICE, S1)));
	bed_put(OUTSIDE, with_ttl(esp(S1, x), 1));
	bed_run();
	assert_error(expect_frame(OUTSIDE), 11, 0, US_OUTSIDE, S1, with_ttl(esp(S1, x), 1));
}

// RFC 5508 REQ-4, REQ-5
static void errors_about_tunnels_are_translated(void **state)
{
	const uint32_t router = 0xc0000263;
	static const unsigned quoted[] = {WHOLE, 8};
	struct frame f, e;
	uint32_t x;

	BED(.policies = TUNNELS);
	f = pass_out(esp(ALICE, S1));
	x = src_of(f);
	for (unsigned i = 0; i < 2; i++) {
		e = pass_in(icmp_error(router, x, 3, 4, &f, quoted[i]));
		assert_error(e, 3, 4, router, ALICE, with_ttl(esp(ALICE, S1), 63));
	}
	f = pass_in(esp(S1, x));
	for (unsigned i = 0; i < 2; i++) {
		e = pass_out(icmp_error(ALICE, S1, 3, 2, &f, quoted[i]));
		assert_error(e, 3, 2, x, S1, with_ttl(esp(S1, x), 63));
	}
	// about nobody's: another remote, a protocol that is not listed
	f = esp(x, S2);
	refuse_in(icmp_error(router, x, 3, 3, &f, 8), CGN_DROP_ICMP_NO_MAPPING);
	f = ip_packet(x, S1, AH, 40);
	refuse_in(icmp_error(router, x, 3, 3, &f, 8), CGN_DROP_ICMP_QUOTE);
	f = ip_packet(S1, ALICE, AH, 40);
	refuse_out(icmp_error(ALICE, S1, 3, 3, &f, 8), CGN_DROP_ICMP_QUOTE);
}

// One drop, and nothing comes out
static void lost(struct frame f, enum cgn_drop reason)
{
	const uint64_t before = bed_sum().drops[reason];

	bed_put(INSIDE, f);
	bed_run();
	expect_nothing();
	assert_int_equal(bed_sum().drops[reason], before + 1);
}

// Both ends behind us: as with a stranger, each has to send before the other gets in (RFC 4787 REQ-9)
static void hairpin_between(uint32_t a, uint32_t b, uint32_t x, uint32_t y)
{
	struct frame f, e, sent = with_id(ip_packet(a, y, ESP, 1000), 7), got[2];

	lost(esp(a, y), CGN_DROP_NO_MAPPING);
	f = hairpin(esp(b, x));
	assert_int_equal(src_of(f), y);
	assert_int_equal(dst_of(f), a);
	f = hairpin(esp(a, y));
	assert_int_equal(src_of(f), x);
	assert_int_equal(dst_of(f), b);
	e = hairpin(icmp_error(b, x, 3, 2, &f, 8));
	assert_error(e, 3, 2, y, a, with_ttl(esp(a, y), 63));
	bed_put(INSIDE, part(sent, 504, 1000));
	bed_put(INSIDE, part(sent, 0, 504));
	bed_run();
	got[0] = expect_frame(INSIDE);
	got[1] = expect_frame(INSIDE);
	f = whole_of(got, 2);
	assert_int_equal(src_of(f), x);
	assert_int_equal(dst_of(f), b);
	lost(ip_packet(a, y, GRE, 40), CGN_DROP_NO_MAPPING); // each protocol for itself
	// nobody outside has an address of ours
	refuse_in(esp(x, y), CGN_DROP_IP_SOURCE);
	refuse_in(part(ip_packet(y, x, ESP, 1000), 0, 504), CGN_DROP_IP_SOURCE);
}

static void tunnels_hairpin_once_both_have_sent(void **state)
{
	BED(.policies = TUNNELS);
	hairpin_between(
		ALICE, BOB, src_of(pass_out(esp(ALICE, S1))), src_of(pass_out(esp(BOB, S1))));
	bed_wait(298);
	hairpin(esp(ALICE, src_of(pass_out(esp(BOB, S1)))));
	bed_wait(4); // BOB's has ended, and with it the way in to him
	lost(esp(ALICE, src_of(pass_out(esp(BOB, S1)))), CGN_DROP_NO_MAPPING);
}

static void an_address_that_two_share_names_neither(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS, .pools = ONE_ADDRESS);
	x = src_of(pass_out(esp(ALICE, S1)));
	lost(esp(ALICE, x), CGN_DROP_HAIRPIN_OFF);
	lost(esp(BOB, x), CGN_DROP_HAIRPIN_OFF); // who has no address yet gets that one
	assert_int_equal(gauge(sessions), 1);
	assert_int_equal(gauge(blocks), 1);
}

static void the_policy_can_turn_hairpins_of_tunnels_off(void **state)
{
	uint32_t x;

	BED(.policies = HOME(", portless-protocols: [esp], hairpin: false"));
	x = src_of(pass_out(esp(ALICE, S1)));
	refuse_out(esp(BOB, x), CGN_DROP_HAIRPIN_OFF);
}

static void policies_apply_as_to_other_packets(void **state)
{
	BED(.policies = "  - {name: no, match: {source: [100.64.0.6], protocol: esp}, action: drop}\n"
			"  - {name: untouched, match: {destination: [198.51.100.2]}, action: bypass}\n"
			"  - {name: only, match: {source: [100.64.0.7], protocol: gre}, pool: p, portless-protocols: [gre]}\n"
			"  - {name: home, match: {source: [100.64.0.0/10]}, pool: p, portless-protocols: [esp]}");
	refuse_out(esp(BOB, S1), CGN_DROP_POLICY_DROP);
	assert_int_equal(src_of(pass_out(esp(ALICE, S2))), ALICE);
	assert_int_equal(dst_of(pass_in(esp(S2, ALICE))), ALICE);
	pass_out(ip_packet(CAROL, S1, GRE, 30));
	pass_out(esp(CAROL, S1));
	refuse_out(ip_packet(ALICE, S1, GRE, 30), CGN_DROP_PROTOCOL);
	refuse_out(esp(ALICE, 0x7f000001), CGN_DROP_IP_DESTINATION);
	refuse_out(esp(ALICE, BOB), CGN_DROP_INTERNAL_TO_INTERNAL);
	refuse_out(esp(US_INSIDE, S1), CGN_DROP_IP_SOURCE);
	refuse_in(esp(X1, X1 + 1), CGN_DROP_IP_SOURCE);
	refuse_out(esp(ALICE, US_INSIDE), CGN_DROP_LOCAL_UNSUPPORTED);
	refuse_in(esp(S1, US_OUTSIDE), CGN_DROP_LOCAL_UNSUPPORTED);
}

#define ONE_TO_ONE \
	"static-mappings:\n" \
	"  - {name: whole, internal: 100.64.0.10, external: 203.0.113.200}\n" \
	"  - {name: tcp-only, protocol: tcp, internal: 100.64.0.11, external: 203.0.113.201}\n"
#define HOST 0x6440000au
#define WHOLE_X 0xcb0071c8u

// The tunnel of a one-to-one host has the address of all its other packets
static void a_one_to_one_host_keeps_its_address_and_is_reached(void **state)
{
	uint32_t x;

	BED(.policies = TUNNELS, .more = ONE_TO_ONE);
	assert_int_equal(src_of(pass_out(esp(HOST, S1))), WHOLE_X);
	assert_int_equal(dst_of(pass_in(esp(S1, WHOLE_X))), HOST);
	// from outside, too
	assert_int_equal(dst_of(pass_in(ip_packet(S2, WHOLE_X, GRE, 20))), HOST);
	assert_int_equal(src_of(pass_out(ip_packet(HOST, S2, GRE, 20))), WHOLE_X);
	assert_int_equal(gauge(static_sessions), 2);
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(gauge(blocks), 0);
	refuse_in(ip_packet(S2, WHOLE_X, SCTP, 20), CGN_DROP_PROTOCOL);
	refuse_in(esp(S2, WHOLE_X + 1), CGN_DROP_NO_MAPPING); // for TCP alone
	// a subscriber reaches it by its address, and is answered
	x = src_of(hairpin(esp(ALICE, WHOLE_X)));
	assert_in_range(x, X1, X1 + 3);
	assert_int_equal(dst_of(hairpin(esp(HOST, x))), ALICE);
}

static void a_one_to_one_host_needs_a_policy_that_lists_the_protocol(void **state)
{
	BED(.policies = "  - {name: other, match: {source: [100.64.0.5]}, pool: p, portless-protocols: [esp]}\n"
			"  - {name: home, match: {source: [100.64.0.0/10]}, pool: p}",
		.more = ONE_TO_ONE);
	refuse_in(esp(S1, WHOLE_X), CGN_DROP_PROTOCOL);
	refuse_out(esp(HOST, S1), CGN_DROP_PROTOCOL);
}

// ---- several workers

static uint32_t host_of(unsigned worker, unsigned k)
{
	uint32_t host = ALICE;

	for (;; host++) {
		if (steer_internal(bed.worker[0]->snapshot, host) == worker && !k--)
			return host;
	}
}

static void tunnels_through(unsigned n_workers)
{
	for (unsigned i = 0; i < 24; i++) {
		const uint32_t host = host_of(i % n_workers, i), remote = 0xc6336500 + i;
		const struct frame big = with_id(ip_packet(host, remote, ESP, 1000), i);
		struct frame f = pass_out(esp(host, remote)), e, got[2];
		const uint32_t x = src_of(f);

		assert_int_equal(dst_of(pass_in(esp(remote, x))), host);
		e = pass_in(icmp_error(S2, x, 11, 0, &f, 8));
		assert_int_equal(dst_of(e), host);
		f = pass_in(esp(remote, x));
		assert_int_equal(src_of(pass_out(icmp_error(host, remote, 3, 2, &f, 8))), x);
		bed_put(INSIDE, part(big, 504, 1000));
		bed_put(INSIDE, part(big, 0, 504));
		bed_run();
		got[0] = expect_frame(OUTSIDE);
		got[1] = expect_frame(OUTSIDE);
		whole_of(got, 2);
		f = with_id(ip_packet(remote, x, ESP, 1000), i);
		bed_put(OUTSIDE, part(f, 504, 1000));
		bed_put(OUTSIDE, part(f, 0, 504));
		bed_run();
		got[0] = expect_frame(INSIDE);
		got[1] = expect_frame(INSIDE);
		assert_int_equal(dst_of(whole_of(got, 2)), host);
	}
}

static void tunnels_find_their_worker(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		BED(.workers = n, .policies = TUNNELS, .spread = n == 3);
		tunnels_through(n);
		assert_int_equal(bed_teardown(NULL), 0);
		BED(.workers = n, .policies = TUNNELS, .pools = ONE_ADDRESS, .spread = n == 3);
		tunnels_through(n);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static bool is_taken(uint32_t external, uint32_t remote)
{
	for (unsigned i = 0; i < bed.n_workers; i++) {
		if (flow_find_portless(&bed.worker[i]->flows, FLOW_KEY(htonl(external), 0, ESP),
			    htonl(remote), true) != FLOW_NONE)
			return true;
	}
	return false;
}

static void tunnels_hairpin_across_workers(void **state)
{
	static const char *const pools[] = {NULL,
		"  - {name: p, addresses: [203.0.113.1-203.0.113.3], block-size: 64}"}; // one is split
	unsigned n_done = 0;

	for (unsigned i = 0; i < 2; i++) {
		BED(.workers = 2, .policies = TUNNELS, .pools = pools[i], .spread = i);
		for (unsigned k = 0; k < 8; k++) {
			const uint32_t a = host_of(k % 2, k), b = host_of(k / 2 % 2, 20 + k);
			const uint32_t x = src_of(pass_out(esp(a, 0xc6336500 + k))),
				       y = src_of(pass_out(esp(b, 0xc6336600 + k)));

			// remotes are exclusive: only pairs of addresses that nobody has yet
			if (x == y || is_taken(x, y) || is_taken(y, x))
				continue;
			hairpin_between(a, b, x, y);
			n_done++;
		}
		assert_int_equal(bed_teardown(NULL), 0);
	}
	assert_true(n_done > 3);
}

// PRJ-ESP, where the two are on different workers and have the same external address
static void a_remote_belongs_to_one_of_all_workers(void **state)
{
	uint32_t a, b, x;

	BED(.workers = 2, .policies = TUNNELS, .pools = ONE_ADDRESS,
		.more = "icmp: {refused: off}");
	a = host_of(0, 0);
	b = host_of(1, 0);
	x = src_of(pass_out(esp(a, S1)));
	pass_out(udp(at(b, 1), at(S1, 1)));
	bed_put(INSIDE, esp(b, S1));
	bed_run();
	expect_nothing();
	assert_int_equal(bed_sum().drops[CGN_DROP_PORTLESS_TAKEN], 1);
	assert_int_equal(dst_of(pass_in(esp(S1, x))), a);
	assert_int_equal(src_of(pass_out(esp(b, S2))), x);
	assert_int_equal(dst_of(pass_in(esp(S2, x))), b);
	refuse_in(esp(0xc6336409, x), CGN_DROP_NO_MAPPING);
	bed_wait(303);
	assert_int_equal(src_of(pass_out(esp(b, S1))), x);
	assert_int_equal(dst_of(pass_in(esp(S1, x))), b);
}

// Nobody who is refused has anything for it: no record, no block that rests, no tie to an address.
static void assert_left(uint64_t blocks, uint64_t resting, uint64_t lent_ever, uint64_t subscribers)
{
	const struct cgn_counters c = bed_sum();

	assert_int_equal(c.blocks, blocks);
	assert_int_equal(c.blocks_held, resting);
	assert_int_equal(c.blocks_allocated, lent_ever);
	assert_int_equal(c.subscribers_created, subscribers);
	assert_int_equal(c.ports_reclaimed, 0);
}

static bool is_known(unsigned worker, uint32_t address)
{
	return subscriber_lookup(&bed.worker[worker]->subscribers, address, 0) != SUBSCRIBER_NONE;
}

static void who_is_refused_is_left_nothing(void **state)
{
	BED(.policies = TUNNELS, .pools = ONE_ADDRESS, .more = "icmp: {refused: off}");
	pass_out(esp(ALICE, S1));
	for (unsigned i = 0; i < 20; i++)
		refuse_out(esp(BOB, S1), CGN_DROP_PORTLESS_TAKEN);
	refuse_out(esp(BOB, X1), CGN_DROP_HAIRPIN_OFF);
	assert_left(1, 0, 1, 1);
	assert_false(is_known(0, BOB));
	// and with a block of his own he has no more than that
	pass_out(udp(at(BOB, 1), at(S1, 1)));
	refuse_out(esp(BOB, S1), CGN_DROP_PORTLESS_TAKEN);
	assert_left(2, 0, 2, 2);
	assert_int_equal(gauge(pools[0].ports_used), 2);
	assert_int_equal(bed_teardown(NULL), 0);

	// preset ports are not begun either
	BED(.policies = "  - {name: home, match: {source: [100.64.0.0/24]}, portless-protocols: [esp]}",
		.pools =
			"  - {name: p, addresses: [203.0.113.1], allocation: deterministic, block-size: 16,"
			" max-blocks: 2, deterministic: {ports: 64}}",
		.more = "icmp: {refused: off}");
	pass_out(esp(ALICE, S1));
	refuse_out(esp(BOB, S1), CGN_DROP_PORTLESS_TAKEN);
	assert_left(1, 0, 0, 1);
	assert_false(is_known(0, BOB));
}

static void who_is_refused_by_another_worker_is_left_what_rested(void **state)
{
	uint32_t a, b;

	BED(.workers = 2, .policies = TUNNELS, .pools = ONE_ADDRESS,
		.more = "icmp: {refused: off}");
	a = host_of(0, 0);
	b = host_of(1, 0);
	pass_out(esp(a, S1));
	refuse_out(esp(b, S1), CGN_DROP_PORTLESS_TAKEN);
	assert_left(1, 0, 1, 1);
	assert_false(is_known(1, b));
	pass_out(esp(b, S2));
	bed_wait(200);
	pass_out(esp(a, S1));
	bed_wait(110); // b's has ended, and its block with the port rests
	assert_left(1, 1, 2, 2);
	assert_int_equal(gauge(ports_resting), 1);
	for (unsigned i = 0; i < 3; i++)
		refuse_out(esp(b, S1), CGN_DROP_PORTLESS_TAKEN);
	assert_left(1, 1, 2, 2);
	assert_int_equal(gauge(ports_resting), 1);
	bed_wait(120); // no refusal has made it rest anew
	assert_int_equal(gauge(blocks_held), 0);
	assert_false(is_known(1, b));
}

// ---- what an operator sees

static void clear_ends_a_tunnel(void **state)
{
	uint32_t x, record, moved;

	BED(.policies = TUNNELS, .pools = ONE_ADDRESS);
	x = src_of(pass_out(esp(ALICE, S1)));
	record = flow_find_portless(
		&bed.worker[0]->flows, FLOW_KEY(htonl(ALICE), 0, ESP), htonl(S1), false);
	assert_int_not_equal(record, FLOW_NONE);
	session_end(bed.worker[0], record, true, &moved);
	assert_int_equal(moved, FLOW_NONE);
	bed_run();
	refuse_in(esp(S1, x), CGN_DROP_NO_MAPPING);
	assert_int_equal(bed_sum().mappings_cleared, 1);
	assert_int_equal(src_of(pass_out(esp(BOB, S1))), x);
}

BED_MAIN(TEST(by_default_other_protocols_are_dropped),
	TEST(what_the_policy_does_not_list_is_dropped), TEST(a_tunnel_goes_out_and_comes_back),
	TEST(a_tunnel_has_the_address_that_the_subscriber_is_paired_with),
	TEST(a_remote_belongs_to_who_began), TEST(who_is_refused_is_told),
	TEST(a_tunnel_lives_as_long_as_packets_go_out), TEST(the_default_timer_is_300_s),
	TEST(tunnels_count_in_the_limits), TEST(the_room_for_tunnels_is_bounded),
	TEST(fragments_follow_in_any_order), TEST(a_tunnel_packet_too_big_is_answered_or_cut),
	TEST(ttl_runs_out_here), TEST(errors_about_tunnels_are_translated),
	TEST(tunnels_hairpin_once_both_have_sent), TEST(an_address_that_two_share_names_neither),
	TEST(the_policy_can_turn_hairpins_of_tunnels_off), TEST(tunnels_hairpin_across_workers),
	TEST(policies_apply_as_to_other_packets),
	TEST(a_one_to_one_host_keeps_its_address_and_is_reached),
	TEST(a_one_to_one_host_needs_a_policy_that_lists_the_protocol),
	TEST(tunnels_find_their_worker), TEST(a_remote_belongs_to_one_of_all_workers),
	TEST(who_is_refused_is_left_nothing),
	TEST(who_is_refused_by_another_worker_is_left_what_rested), TEST(clear_ends_a_tunnel))
