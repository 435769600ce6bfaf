// SPDX-License-Identifier: BSD-3-Clause
// Sources that cannot be true: martians, our own addresses, and those that are not where the packet
// came from (RFC 1812 5.3.7, 5.3.8). And those that look so and are (RFC 4787 REQ-7, REQ-12a).
#include "parse.h"
#include "pieces.h"

#define ANY_SOURCE "  - {name: all, pool: p, portless-protocols: [gre]}"
#define NEAR_ALICE 0x6440004du // 100.64.0.77, nobody's

// Zero, loopback, link local, multicast, class E, broadcasts of everybody and of our links, our own
// addresses and those of the pool.
static const uint32_t bad[] = {0, 0x00000001, 0x7f000001, 0xa9fe0101, 0xe0000001, 0xefffffff,
	0xf0000001, 0xffffffff, 0x0aff00ff, 0x0aff0000, 0xc00002ff, 0xc0000200, US_INSIDE,
	US_OUTSIDE, X1, X1 + 3};
#define N_BAD (sizeof(bad) / sizeof(*bad))

static void bad_sources_get_nothing_from_inside(void **state)
{
	struct frame f = udp(at(S1, 53), at(ALICE, 5000));
	struct endpoint x;

	BED(.policies = ANY_SOURCE);
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	f = pass_in(udp(at(S1, 53), x));
	for (unsigned i = 0; i < N_BAD; i++) {
		refuse_out(udp(at(bad[i], 5000), at(S1, 53)), CGN_DROP_IP_SOURCE);
		refuse_out(tcp(at(bad[i], 5000), at(S1, 53), TCP_SYN), CGN_DROP_IP_SOURCE);
		refuse_out(echo(at(bad[i], 5000), S1), CGN_DROP_IP_SOURCE);
		refuse_out(echo(at(bad[i], 5000), US_INSIDE), CGN_DROP_IP_SOURCE);
		refuse_out(ip_packet(bad[i], S1, 47, 20), CGN_DROP_IP_SOURCE);
		refuse_out(ip_packet(bad[i], S1, 132, 20), CGN_DROP_IP_SOURCE);
		refuse_out(part(udp(at(bad[i], 5000), at(S1, 53)), 0, 16), CGN_DROP_IP_SOURCE);
		// about a packet of a mapping
		refuse_out(icmp_error(bad[i], S1, 3, 3, &f, WHOLE), CGN_DROP_IP_SOURCE);
	}
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(blocks), 1);
}

static void bad_sources_get_nowhere_from_outside(void **state)
{
	struct endpoint x, t;
	struct frame sent;
	uint32_t g;

	BED(.policies = ANY_SOURCE);
	sent = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	x = source_of(sent);
	t = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	g = src_of(pass_out(ip_packet(ALICE, S1, 47, 20)));
	for (unsigned i = 0; i < N_BAD; i++) {
		refuse_in(udp(at(bad[i], 53), x), CGN_DROP_IP_SOURCE); // mapped
		refuse_in(tcp(at(bad[i], 53), t, TCP_SYN), CGN_DROP_IP_SOURCE);
		refuse_in(udp(at(bad[i], 53), at(X1, 1)), CGN_DROP_IP_SOURCE); // not mapped
		refuse_in(echo(at(bad[i], 1), x.address), CGN_DROP_IP_SOURCE);
		refuse_in(echo(at(bad[i], 1), US_OUTSIDE), CGN_DROP_IP_SOURCE);
		refuse_in(ip_packet(bad[i], g, 47, 20), CGN_DROP_IP_SOURCE);
		refuse_in(part(udp(at(bad[i], 53), x), 0, 16), CGN_DROP_IP_SOURCE);
		refuse_in(icmp_error(bad[i], x.address, 3, 3, &sent, WHOLE), CGN_DROP_IP_SOURCE);
	}
	assert_int_equal(gauge(sessions), 3);
}

// R1812-5.3.8: a spoofed inside source gets no block, whatever the policy takes
static void a_source_that_is_not_routed_inside_gets_no_block(void **state)
{
	static const uint32_t spoofed[] = {S1, 0x08080808, ROUTER_OUTSIDE, 0x0a010203};

	BED(.policies = "  - {name: untouched, match: {destination: [198.51.100.2]}, action: bypass}\n"
			"  - {name: all, pool: p, portless-protocols: [gre]}");
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t s = spoofed[i];

		refuse_out(udp(at(s, 5000), at(0xc6336409, 53)), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(tcp(at(s, 1), at(0xc6336409, 53), TCP_SYN), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(echo(at(s, 5000), 0xc6336409), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(ip_packet(s, 0xc6336409, 47, 20), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(udp(at(s, 5000), at(S2, 53)), CGN_DROP_SOURCE_NOT_INSIDE); // bypass
		refuse_out(ip_packet(s, S2, 132, 20), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(part(udp(at(s, 1), at(S2, 53)), 0, 16), CGN_DROP_SOURCE_NOT_INSIDE);
		refuse_out(
			part(udp(at(s, 1), at(0xc6336409, 53)), 0, 16), CGN_DROP_SOURCE_NOT_INSIDE);
	}
	assert_int_equal(bed_sum().subscribers_created, 0);
	assert_int_equal(bed_sum().blocks_allocated, 0);
	pass_out(udp(at(ALICE, 5000), at(0xc6336409, 53)));
	pass_out(udp(at(ROUTER_INSIDE, 5000), at(S2, 53))); // on the link is inside
}

// Outside the sources of the policies the policy says it (PRJ)
static void a_source_of_no_policy_is_counted_there(void **state)
{
	BED();
	refuse_out(udp(at(S1, 5000), at(S2, 53)), CGN_DROP_POLICY_NONE);
	refuse_out(udp(at(ROUTER_INSIDE, 5000), at(S2, 53)), CGN_DROP_POLICY_NONE);
}

// A subscriber's address cannot come from outside: what is sent back would not go there
static void a_source_that_is_inside_gets_nowhere_from_outside(void **state)
{
	static const uint32_t spoofed[] = {ALICE, NEAR_ALICE, 0x0aff0009, ROUTER_INSIDE};
	struct endpoint x, t;

	BED(.policies = "  - {name: untouched, match: {destination: [100.64.0.0/24]}, action: bypass}\n"
			"  - {name: all, pool: p, portless-protocols: [gre]}",
		.more = "static-mappings: [{name: whole, internal: 100.64.0.10, external: 203.0.113.200}]");
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	t = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	for (unsigned i = 0; i < 4; i++) {
		const uint32_t s = spoofed[i];

		refuse_in(udp(at(s, 53), x), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(tcp(at(s, 80), t, TCP_SYN), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(part(udp(at(s, 53), x), 0, 16), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(udp(at(s, 53), at(0xcb0071c8, 9)), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(echo(at(s, 53), 0xcb0071c8), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(echo(at(s, 53), US_OUTSIDE), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(ip_packet(s, 0xcb0071c8, 47, 20), CGN_DROP_SOURCE_NOT_OUTSIDE);
		refuse_in(udp(at(s, 53), at(BOB, 9)), CGN_DROP_SOURCE_NOT_OUTSIDE); // bypass
		refuse_in(ip_packet(s, BOB, 132, 20), CGN_DROP_SOURCE_NOT_OUTSIDE);
	}
	assert_int_equal(gauge(sessions), 2);
}

// RFC 4787 REQ-12a: a router outside may have any address
static void a_router_outside_may_be_numbered_like_the_inside(void **state)
{
	struct frame f, e;

	BED();
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	e = pass_in(icmp_error(NEAR_ALICE, source_of(f).address, 11, 0, &f, 8));
	assert_error(e, 11, 0, NEAR_ALICE, ALICE, with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 63));
}

// Packets of a session from outside whose remote is one of our own addresses, in every form that finds
// its session another way: nothing of it may come in, and nothing may change.
static void refuse_spoofed(struct frame f)
{
	refuse_in(f, CGN_DROP_IP_SOURCE); // fast.c
	refuse_in(with_options(f, "\1\1\1\0", 4), CGN_DROP_IP_SOURCE); // path.c
	refuse_in(with_ttl(f, 1), CGN_DROP_IP_SOURCE); // and no answer to it
	refuse_in(part(f, 0, 24), CGN_DROP_IP_SOURCE); // frag.c
	refuse_in(part(f, 24, frame_l4_len(&f)), CGN_DROP_IP_SOURCE);
}

// The sessions of a hairpin have remotes of ours, which send from inside
static void the_session_of_a_hairpin_is_not_open_to_the_outside(void **state)
{
	struct endpoint a, b, t;

	BED();
	b = source_of(pass_out(udp(at(BOB, 6000), at(S1, 53))));
	a = source_of(hairpin(udp(at(ALICE, 5000), b))); // a mapping's first session
	hairpin(udp(at(BOB, 6000), a)); // and a further one
	refuse_spoofed(udp(b, a));
	refuse_spoofed(udp(a, b));
	t = source_of(pass_out(tcp(at(BOB, 80), at(S1, 53), TCP_SYN)));
	a = source_of(hairpin(tcp(at(ALICE, 5000), t, TCP_SYN)));
	hairpin(tcp(at(BOB, 80), a, TCP_SYN | TCP_ACK));
	hairpin(tcp(at(ALICE, 5000), t, TCP_ACK));
	refuse_spoofed(tcp(t, a, TCP_ACK));
	refuse_spoofed(tcp(a, t, TCP_RST)); // ends no connection
	refuse_spoofed(tcp(t, a, TCP_RST | TCP_ACK));
	hairpin(tcp(at(ALICE, 5000), t, TCP_ACK)); // those inside go on
	hairpin(udp(at(BOB, 6000), source_of(hairpin(udp(at(ALICE, 5000), b)))));
}

// As if the index's first candidate were another record each time: packets of known sessions come to the
// slow path, which a hash decides outside of tests.
static unsigned none_found(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc)
{
	parse_frames(w, &w->batch, m, n, ifc, ifc == OUTSIDE);
	if (w->batch.n == 1 && w->batch.pkt[0].kind == PKT_FLOW) { // not ARP
		w->batch.n_missed = 1;
		return 0;
	}
	w->batch.n = 0;
	return n;
}

// Which path a packet takes must not decide about it
static void a_session_is_the_same_when_it_was_hard_to_find(void **state)
{
	static struct fast blind; // as long as the bed
	struct endpoint a, b, x, t;

	blind = fast_base;
	blind.frames = none_found;
	BED();
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	pass_out(udp(at(ALICE, 5000), at(S2, 53))); // a further one
	t = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	b = source_of(pass_out(udp(at(BOB, 6000), at(S1, 53))));
	a = source_of(hairpin(udp(at(ALICE, 5001), b)));
	hairpin(udp(at(BOB, 6000), a));
	bed.worker[0]->fast = &blind;
	for (unsigned i = 0; i < 2; i++) {
		assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53)))), x);
		assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(S2, 53)))), x);
		assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))), at(ALICE, 5000));
		assert_endpoint(destination_of(pass_in(udp(at(S2, 53), x))), at(ALICE, 5000));
		pass_in(tcp(at(S1, 80), t, TCP_SYN | TCP_ACK));
		pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_ACK));
		assert_endpoint(source_of(hairpin(udp(at(BOB, 6000), a))), b);
		assert_endpoint(source_of(hairpin(udp(at(ALICE, 5001), b))), a);
		refuse_in(udp(a, b), CGN_DROP_IP_SOURCE);
		refuse_in(udp(b, a), CGN_DROP_IP_SOURCE);
	}
	assert_int_equal(gauge(sessions), 6);
	assert_int_equal(bed_sum().sessions_created, 6);
}

// Nor must the policies: what a static mapping's host answers belongs to its session
static void so_is_a_strangers_session_that_no_policy_would_allow(void **state)
{
	static struct fast blind;
	const struct endpoint web = at(X1, 443), host = at(ALICE, 8443), client = at(S1, 4000);

	blind = fast_base;
	blind.frames = none_found;
	BED(.policies = "  - {name: web, match: {protocol: tcp, destination-ports: [80]}, pool: p}",
		.more = "static-mappings: [{name: web, protocol: tcp, internal: \"100.64.0.5:8443\","
			" external: \"203.0.113.1:443\"}]");
	pass_in(tcp(client, web, TCP_SYN));
	bed.worker[0]->fast = &blind;
	assert_endpoint(source_of(pass_out(tcp(host, client, TCP_SYN | TCP_ACK))), web);
	pass_in(tcp(client, web, TCP_ACK));
	assert_endpoint(source_of(pass_out(tcp(host, client, TCP_ACK))), web);
	refuse_out(tcp(host, at(S2, 4000), TCP_SYN), CGN_DROP_POLICY_NONE);
}

static uint64_t packets_in(void)
{
	const struct flow_table *t = &bed.worker[0]->flows;
	uint64_t n = 0;

	for (uint32_t i = 0; i < t->top; i++)
		n += t->flow[i].proto ? t->flow[i].pkts_in : 0;
	return n;
}

// Hairpins first or last, the others of the mapping are as quick as ever, whichever moves into its head
static void other_sessions_of_a_hairpins_mapping_are(void **state)
{
	struct endpoint a, b;

	BED(.more = "timeouts: {udp: 120}");
	b = source_of(pass_out(udp(at(BOB, 6000), at(S1, 53))));
	a = source_of(hairpin(udp(at(ALICE, 5000), b)));
	pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	pass_in(udp(at(S1, 53), a));
	pass_in(udp(at(S2, 53), a));
	refuse_spoofed(udp(b, a));
	assert_int_equal(packets_in(), 3);
	bed_wait(100);
	pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	bed_wait(30); // the hairpin, which was first, and S2 are gone
	assert_int_equal(gauge(sessions), 1);
	pass_in(udp(at(S1, 53), a));
	b = source_of(hairpin(udp(at(BOB, 6000), a)));
	hairpin(udp(at(ALICE, 5000), b));
	bed_wait(100);
	hairpin(udp(at(ALICE, 5000), b));
	hairpin(udp(at(BOB, 6000), a));
	bed_wait(30); // only it is left: it has moved into the head
	assert_int_equal(gauge(sessions), 2);
	refuse_spoofed(udp(b, a));
	refuse_spoofed(udp(a, b));
	hairpin(udp(at(BOB, 6000), a));
}

// One-to-one addresses hairpin, too, by every protocol
static void nor_is_that_of_a_static_mapping(void **state)
{
	const uint32_t whole = 0xcb0071c8;
	uint32_t g;

	BED(.policies = ANY_SOURCE,
		.more = "static-mappings: [{name: whole, internal: 100.64.0.10, external: 203.0.113.200}]");
	const struct endpoint a = source_of(hairpin(udp(at(ALICE, 5000), at(whole, 53)))),
			      e = source_of(hairpin(echo(at(ALICE, 7), whole)));

	hairpin(udp(at(0x6440000a, 53), a));
	hairpin(echo_reply(0x6440000a, e));
	refuse_spoofed(udp(at(whole, 53), a));
	refuse_spoofed(udp(a, at(whole, 53)));
	refuse_in(echo(e, whole), CGN_DROP_IP_SOURCE);
	refuse_in(echo_reply(whole, e), CGN_DROP_IP_SOURCE);
	g = src_of(hairpin(ip_packet(ALICE, whole, 47, 20)));
	refuse_in(ip_packet(g, whole, 47, 20), CGN_DROP_IP_SOURCE);
	refuse_in(ip_packet(whole, g, 47, 20), CGN_DROP_IP_SOURCE);
}

static void nor_across_workers(void **state)
{
	unsigned crossed = 0;

	BED(.workers = 3, .spread = true);
	for (unsigned i = 0; i < 12; i++) {
		const struct endpoint x = source_of(pass_out(udp(at(ALICE + i, 80), at(S1, 53))));
		const struct endpoint y = source_of(hairpin(udp(at(ALICE + 100 + 7 * i, 80), x)));

		refuse_spoofed(udp(y, x));
		refuse_spoofed(udp(x, y));
		crossed += steer_external(bed.worker[0]->snapshot, x.address, x.port) !=
			steer_external(bed.worker[0]->snapshot, y.address, y.port);
	}
	assert_true(crossed);
}

#define TWICE \
	"mtu: 1400, addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}, " \
	"{prefix: 100.64.0.4/31, via: 192.0.2.1}]"

// RFC 4787 REQ-7: the routes say that 100.64.0.4/31 is outside, and 100.64.0.0/10 inside
static void an_address_may_be_inside_and_outside(void **state)
{
	struct endpoint a, b, t;
	struct frame f, e, got[2];

	BED(.outside = TWICE, .policies = "  - {name: all, pool: p, portless-protocols: [gre]}",
		.inside = MTU_INSIDE(1000));
	// to one's own number, and between others
	a = source_of(pass_out(udp(at(ALICE, 5000), at(ALICE, 53))));
	assert_in_range(a.address, X1, X1 + 3);
	assert_endpoint(destination_of(pass_in(udp(at(ALICE, 53), a))), at(ALICE, 5000));
	b = source_of(pass_out(udp(at(BOB, 5000), at(ALICE, 53))));
	assert_endpoint(destination_of(pass_in(udp(at(ALICE, 53), b))), at(BOB, 5000));
	assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53)))), a);
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), a))), at(ALICE, 5000));
	// from outside first
	assert_endpoint(source_of(pass_in(udp(at(ALICE, 99), a))), at(ALICE, 99));
	assert_endpoint(source_of(pass_out(udp(at(ALICE, 5000), at(ALICE, 99)))), a);
	t = source_of(pass_out(tcp(at(ALICE, 1), at(ALICE, 1), TCP_SYN)));
	pass_in(tcp(at(ALICE, 1), t, TCP_SYN | TCP_ACK));
	pass_in(ip_packet(ALICE, src_of(pass_out(ip_packet(ALICE, ALICE, 47, 20))), 47, 20));
	// subscribers with the number of nobody outside are as ever, to each other, too
	refuse_out(udp(at(ALICE, 1), at(BOB, 1)), CGN_DROP_INTERNAL_TO_INTERNAL);
	hairpin(udp(at(BOB, 5000), a));
	hairpin(udp(at(ALICE, 5000), b));
	// errors
	f = pass_out(udp(at(ALICE, 5000), at(ALICE, 53)));
	e = pass_in(icmp_error(S1, a.address, 3, 3, &f, 8));
	assert_error(e, 3, 3, S1, ALICE, with_ttl(udp(at(ALICE, 5000), at(ALICE, 53)), 63));
	// too big for the inside
	bed_put(OUTSIDE, with_size(udp(at(ALICE, 53), a), 1300));
	bed_run();
	got[0] = expect_frame(INSIDE);
	got[1] = expect_frame(INSIDE);
	assert_endpoint(destination_of(whole_of(got, 2)), at(ALICE, 5000));
	bed_put(OUTSIDE, with_df(with_size(udp(at(ALICE, 53), a), 1300)));
	bed_run();
	assert_error(expect_frame(OUTSIDE), 3, 4, US_OUTSIDE, ALICE,
		with_df(with_size(udp(at(ALICE, 53), a), 1300)));
	f = udp(at(ALICE, 53), a);
	bed_put(OUTSIDE, part(f, 16, 40));
	bed_put(OUTSIDE, part(f, 0, 16));
	bed_run();
	got[0] = expect_frame(INSIDE);
	got[1] = expect_frame(INSIDE);
	assert_endpoint(destination_of(whole_of(got, 2)), at(ALICE, 5000));
	expect_nothing();
}

BED_MAIN(TEST(bad_sources_get_nothing_from_inside), TEST(bad_sources_get_nowhere_from_outside),
	TEST(a_source_that_is_not_routed_inside_gets_no_block),
	TEST(a_source_of_no_policy_is_counted_there),
	TEST(a_source_that_is_inside_gets_nowhere_from_outside),
	TEST(the_session_of_a_hairpin_is_not_open_to_the_outside),
	TEST(a_session_is_the_same_when_it_was_hard_to_find),
	TEST(so_is_a_strangers_session_that_no_policy_would_allow),
	TEST(other_sessions_of_a_hairpins_mapping_are), TEST(nor_is_that_of_a_static_mapping),
	TEST(nor_across_workers), TEST(a_router_outside_may_be_numbered_like_the_inside),
	TEST(an_address_may_be_inside_and_outside))
