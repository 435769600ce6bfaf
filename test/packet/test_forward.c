// SPDX-License-Identifier: BSD-3-Clause
// Routes, neighbours, VLANs, MTU, policies, and devices that take nothing (RFC 1812, RFC 826).
#include "bed.h"
#include <stdio.h>
#include <stdlib.h>
#include "neigh.h"
#include "snapshot.h"

#define ON_LINK_HOST 0xc0000264u // 192.0.2.100
#define HOME "  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p}"

static uint32_t address_at(const uint8_t *p)
{
	be32_t address;

	memcpy(&address, p, 4);
	return ntohl(address);
}

static void expect_mac(struct frame f, uint32_t address)
{
	uint8_t mac[6];

	mac_of(address, mac);
	assert_memory_equal(f.b, mac, 6);
}

static void answer(unsigned ifc, uint32_t from)
{
	struct frame f = arp_reply(from, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)ifc},
		ifc == INSIDE ? US_INSIDE : US_OUTSIDE);

	bed_put_raw(ifc, &f);
	bed_run();
}

// An ARP request for `address`; to_mac: 0 for broadcast, else the address of whom it goes to.
static void expect_request(unsigned ifc, uint32_t address, uint32_t to)
{
	static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
	struct frame f = bed_expect(ifc);
	const uint8_t *arp = f.b + frame_l2_len(&f);
	uint8_t mac[6];

	mac_of(to, mac);
	assert_memory_equal(f.b, to ? mac : all, 6);
	assert_int_equal(arp[-2] << 8 | arp[-1], 0x0806);
	assert_int_equal(arp[7], 1);
	assert_int_equal(address_at(arp + 24), address);
	assert_int_equal(address_at(arp + 14), ifc == INSIDE ? US_INSIDE : US_OUTSIDE);
}
#define asked(ifc, address) (HERE(), expect_request(ifc, address, 0))
#define asked_directly(ifc, address) (HERE(), expect_request(ifc, address, address))

static void the_longest_prefix_decides(void **state)
{
	BED(.outside = "addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1},"
		       " {prefix: 198.51.0.0/16, via: 192.0.2.10},"
		       " {prefix: 198.51.100.0/24, via: 192.0.2.11},"
		       " {prefix: 198.51.100.2/32, via: 192.0.2.12}]");
	expect_mac(pass_out(udp(at(ALICE, 1), at(0x08080808, 53))), ROUTER_OUTSIDE);
	expect_mac(pass_out(udp(at(ALICE, 1), at(0xc6330101, 53))), 0xc000020a);
	expect_mac(pass_out(udp(at(ALICE, 1), at(S1, 53))), 0xc000020b);
	expect_mac(pass_out(udp(at(ALICE, 1), at(S2, 53))), 0xc000020c);
	expect_mac(pass_out(udp(at(ALICE, 1), at(ON_LINK_HOST, 53))), ON_LINK_HOST);
}

static void gateways_are_asked_for_before_any_packet(void **state)
{
	BED(.manual_arp = true);
	asked(INSIDE, ROUTER_INSIDE);
	asked(OUTSIDE, ROUTER_OUTSIDE);
	expect_nothing();
	assert_int_equal(bed_sum().arp_requests_sent, 2);
	assert_int_equal(bed_sum().originated, 2);
}

static void packets_wait_for_a_neighbour_and_then_go_in_order(void **state)
{
	BED(.manual_arp = true);
	asked(INSIDE, ROUTER_INSIDE);
	asked(OUTSIDE, ROUTER_OUTSIDE);
	for (unsigned i = 0; i < NEIGH_WAIT_MAX + 3; i++)
		bed_put(INSIDE, udp(at(ALICE, 1000 + i), at(S1, 53)));
	bed_run();
	expect_nothing();
	assert_int_equal(gauge(held), NEIGH_WAIT_MAX);
	assert_int_equal(bed_sum().drops[CGN_DROP_NEIGHBOUR_QUEUE_FULL], 3);
	answer(OUTSIDE, ROUTER_OUTSIDE);
	assert_int_equal(gauge(held), 0);
	for (unsigned i = 0; i < NEIGH_WAIT_MAX; i++) {
		const struct flow *flow = bed.worker[0]->flows.flow;
		struct frame f = expect_frame(OUTSIDE);

		expect_mac(f, ROUTER_OUTSIDE);
		assert_int_equal(source_of(f).port, ntohs(flow[i].ext_port));
		assert_int_equal(ntohs(flow[i].int_port), 1000 + i);
	}
	expect_nothing();
}

// Alice, in the words of the packet she sent (RFC 1812 5.2.7.1).
static void told_unreachable(void)
{
	struct frame f = expect_frame(INSIDE);
	const struct ipv4 *quote = (const struct ipv4 *)(frame_l4(&f) + 8);

	assert_int_equal(frame_ip(&f)->src, htonl(US_INSIDE));
	assert_int_equal(frame_ip(&f)->dst, htonl(ALICE));
	assert_int_equal(frame_l4(&f)[0], 3);
	assert_int_equal(frame_l4(&f)[1], 1);
	assert_int_equal(quote->src, htonl(ALICE));
	assert_int_equal(quote->dst, htonl(ON_LINK_HOST));
	assert_int_equal(ntohs(*(const be16_t *)(quote + 1)), 1);
}

static void a_neighbour_that_does_not_answer_is_given_up_and_asked_again(void **state)
{
	BED(.manual_arp = true);
	answer(OUTSIDE, ROUTER_OUTSIDE);
	answer(INSIDE, ROUTER_INSIDE);
	asked(INSIDE, ROUTER_INSIDE);
	asked(OUTSIDE, ROUTER_OUTSIDE);
	bed_put(INSIDE, udp(at(ALICE, 1), at(ON_LINK_HOST, 53)));
	bed_run();
	for (unsigned i = 0; i < NEIGH_TRIES; i++) {
		asked(OUTSIDE, ON_LINK_HOST);
		expect_nothing();
		assert_int_equal(gauge(held), 1);
		bed_wait(1);
	}
	assert_int_equal(gauge(held), 0);
	assert_int_equal(bed_sum().drops[CGN_DROP_NEIGHBOUR_UNRESOLVED], 1);
	told_unreachable();
	expect_nothing();
	bed_put(INSIDE, udp(at(ALICE, 1), at(ON_LINK_HOST, 53)));
	bed_run();
	told_unreachable();
	assert_int_equal(bed_sum().drops[CGN_DROP_NEIGHBOUR_UNRESOLVED], 2);
	asked(OUTSIDE, ON_LINK_HOST); // somebody wants it: it is asked again
	answer(OUTSIDE, ON_LINK_HOST);
	expect_nothing();
	expect_mac(pass_out(udp(at(ALICE, 1), at(ON_LINK_HOST, 53))), ON_LINK_HOST);
}

static void a_neighbour_in_use_is_asked_again_by_unicast(void **state)
{
	BED(.manual_arp = true);
	answer(OUTSIDE, ROUTER_OUTSIDE);
	answer(INSIDE, ROUTER_INSIDE);
	asked(INSIDE, ROUTER_INSIDE);
	asked(OUTSIDE, ROUTER_OUTSIDE);
	bed_wait(59);
	expect_nothing();
	bed_wait(1);
	asked_directly(INSIDE, ROUTER_INSIDE);
	asked_directly(OUTSIDE, ROUTER_OUTSIDE);
	pass_out(udp(at(ALICE, 1), at(S1, 53))); // it still holds while it is being asked
	answer(INSIDE, ROUTER_INSIDE);
	answer(OUTSIDE, ROUTER_OUTSIDE);
	bed_wait(50);
	expect_nothing();
}

static void an_idle_neighbour_is_forgotten(void **state)
{
	BED();
	assert_int_equal(gauge(neighbours), 2);
	pass_out(udp(at(ALICE, 1), at(ON_LINK_HOST, 53)));
	assert_int_equal(gauge(neighbours), 3);
	bed_wait(599);
	assert_int_equal(gauge(neighbours), 3);
	bed_wait(3);
	assert_int_equal(gauge(neighbours), 2); // gateways stay
}

static void the_neighbour_table_has_its_limit(void **state)
{
	uint32_t host = 0x0a000064; // 10.0.0.100
	uint64_t full = 0;

	BED(.manual_arp = true, .subscribers = 1, .sessions = 4096,
		.outside = "addresses: [10.0.0.1/16]",
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	for (unsigned i = 0; i < 1024 + 2 + 5; i++)
		bed_put(INSIDE, udp(at(ALICE, 1), at(host++, 53)));
	bed_run();
	full = bed_sum().drops[CGN_DROP_NEIGHBOUR_TABLE_FULL];
	// room for 1024, one per subscriber and one per route; without MAC address half of that, and
	// the gateway inside is one of them
	assert_int_equal(full, 1024 + 2 + 5 - ((1024 + 1 + 1 + 1) / 2 - 1));
	assert_in_range(gauge(held), 1, 1024 + 1);
	for (unsigned i = 0; i < 5; i++) {
		bed_wait(1);
		for (unsigned j = 0; j < 70; j++) // upkeep looks at a few neighbours a turn
			bed_poll(0);
	}
	assert_int_equal(gauge(held), 0);
}

// RFC 826: for our addresses, and for pool addresses in our own prefixes only
static void arp_requests_for_our_addresses_are_answered(void **state)
{
	struct frame f;
	const uint32_t ours[] = {US_OUTSIDE, 0xc0000232};

	BED(.pools = "  - {name: p, addresses: [192.0.2.50, 203.0.113.1]}");
	for (unsigned i = 0; i < 2; i++) {
		f = arp_request(ON_LINK_HOST, ours[i]);
		bed_put_raw(OUTSIDE, &f);
		bed_run();
		f = expect_frame(OUTSIDE);
		expect_mac(f, ON_LINK_HOST);
		assert_int_equal(f.b[21], 2);
		assert_int_equal(address_at(f.b + 28), ours[i]);
		assert_memory_equal(f.b + 22, ((uint8_t[]){2, 0, 0, 0, 0, OUTSIDE}), 6);
	}
	COUNTED(.rx_packets = 2, .tx_packets = 2, .consumed = 2, .originated = 2,
		.arp_replies_sent = 2);
	assert_int_equal(gauge(neighbours), 3); // who asks becomes a neighbour
	const uint32_t others[] = {US_INSIDE, 0xcb007101, ON_LINK_HOST + 1, ROUTER_OUTSIDE};
	for (unsigned i = 0; i < 4; i++) {
		f = arp_request(ON_LINK_HOST, others[i]);
		bed_put_raw(OUTSIDE, &f);
	}
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 4, .consumed = 4);
}

static void frames_carry_the_vlan_of_their_interface(void **state)
{
	struct frame f;

	BED(.inside = "addresses: [10.255.0.1/24], vlan: 7, routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]");
	f = pass_out(with_vlan(udp(at(ALICE, 1), at(S1, 53)), 7));
	assert_int_equal(frame_l2_len(&f), 14);
	f = pass_in(udp(at(S1, 53), source_of(f)));
	assert_int_equal(frame_l2_len(&f), 18); // the bed has looked at the tag
	refuse_out(udp(at(ALICE, 1), at(S1, 53)), CGN_DROP_VLAN_MISMATCH);
	refuse_out(with_vlan(udp(at(ALICE, 1), at(S1, 53)), 8), CGN_DROP_VLAN_MISMATCH);
	refuse_in(with_vlan(udp(at(S1, 53), at(X1, 1024)), 7), CGN_DROP_VLAN_MISMATCH);
	bed_put(INSIDE, with_vlan(with_ttl(udp(at(ALICE, 1), at(S1, 53)), 1), 7));
	bed_run();
	f = expect_frame(INSIDE);
	assert_error(f, 11, 0, US_INSIDE, ALICE, with_ttl(udp(at(ALICE, 1), at(S1, 53)), 1));
	bed_teardown(NULL);
	BED(.outside = "addresses: [192.0.2.2/24], vlan: 4094, routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]");
	f = pass_out(with_vlan(udp(at(ALICE, 1), at(S1, 53)), 0)); // priority-tagged
	assert_int_equal(frame_l2_len(&f), 18);
	pass_in(with_vlan(udp(at(S1, 53), source_of(f)), 4094));
}

// RFC 4787 REQ-13, RFC 1191
static void what_is_too_big_with_df_is_dropped_and_answered(void **state)
{
	struct frame f = with_size(udp(at(ALICE, 1), at(S1, 53)), 1401), e;
	struct endpoint x;

	BED(.outside = "addresses: [192.0.2.2/24], mtu: 1400, routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]");
	f = with_df(f); // without: test_oversize.c
	bed_put(INSIDE, f);
	bed_run();
	e = expect_frame(INSIDE);
	assert_error(e, 3, 4, US_INSIDE, ALICE, f);
	assert_int_equal(frame_l4(&e)[6] << 8 | frame_l4(&e)[7], 1400);
	COUNTED(.rx_packets = 1, .tx_packets = 1, .originated = 1, .icmp_errors_sent = 1,
		.drops[CGN_DROP_MTU_EXCEEDED] = 1);
	x = source_of(pass_out(with_size(udp(at(ALICE, 1), at(S1, 53)), 1400)));
	bed_put(INSIDE, f); // with a session, too
	bed_run();
	assert_error(expect_frame(INSIDE), 3, 4, US_INSIDE, ALICE, f);
	pass_in(with_size(udp(at(S1, 53), x), 1500));
}

static void padding_behind_a_packet_is_cut(void **state)
{
	struct frame f = with_size(udp(at(ALICE, 1), at(S1, 53)), 30);

	BED();
	f.len = 60;
	f = pass_out(f);
	assert_int_equal(f.len, 14 + 30);
}

// RFC 6888 REQ-6: any protocol, fragments, midstream, either direction, TTL less one, no state
static void bypass_is_stateless_and_works_in_both_directions(void **state)
{
	struct frame f, g;

	BED(.policies = "  - {name: partner, match: {source: [100.64.0.0/10],"
			" destination: [198.51.100.1/32]}, action: bypass}\n" HOME);
	f = pass_out(udp(at(ALICE, 5000), at(S1, 53)));
	assert_endpoint(source_of(f), at(ALICE, 5000));
	pass_out(tcp(at(ALICE, 5000), at(S1, 53), TCP_ACK));
	pass_out(ip_packet(ALICE, S1, 47, 100));
	pass_out(echo(at(ALICE, 1), S1));
	pass_out(echo_reply(ALICE, at(S1, 1)));
	g = ip_packet(ALICE, S1, CGN_PROTO_UDP, 64);
	frame_ip(&g)->frag = htons(185);
	frame_seal_ip(&g);
	pass_out(g);
	pass_in(udp(at(S1, 53), at(ALICE, 5000)));
	pass_in(tcp(at(S1, 53), at(ALICE, 5000), TCP_RST));
	pass_in(ip_packet(S1, ALICE, 50, 100));
	pass_in(echo(at(S1, 1), ALICE));
	pass_in(icmp_error(S1, ALICE, 3, 3, &f, 8));
	f = udp(at(S1, 53), at(ALICE, 5000));
	pass_out(icmp_error(ALICE, S1, 3, 3, &f, 8));
	COUNTED(.rx_packets = 12, .tx_packets = 12, .bypassed = 12);
	f = with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 1);
	bed_put(INSIDE, f);
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, ALICE, f);
	refuse_in(udp(at(S2, 53), at(ALICE, 5000)), CGN_DROP_EXTERNAL_TO_EXTERNAL);
	assert_int_not_equal(source_of(pass_out(udp(at(ALICE, 5000), at(S2, 53)))).address, ALICE);
}

static void the_first_policy_that_matches_decides(void **state)
{
	BED(.policies = "  - {name: a, match: {protocol: tcp, destination-ports: [25, 6000-6009]}, action: drop}\n"
			"  - {name: b, match: {source: [100.64.0.5/32], protocol: tcp}, action: bypass}\n"
			"  - {name: c, match: {destination: [198.51.100.2/32]}, action: drop}\n" HOME);
	refuse_out(tcp(at(ALICE, 1), at(S1, 25), TCP_SYN), CGN_DROP_POLICY_DROP);
	refuse_out(tcp(at(ALICE, 1), at(S1, 6009), TCP_SYN), CGN_DROP_POLICY_DROP);
	assert_int_equal(
		source_of(pass_out(tcp(at(ALICE, 1), at(S1, 6010), TCP_SYN))).address, ALICE);
	assert_int_not_equal(source_of(pass_out(udp(at(ALICE, 1), at(S1, 25)))).address, ALICE);
	assert_int_not_equal(
		source_of(pass_out(tcp(at(BOB, 1), at(S1, 6010), TCP_SYN))).address, BOB);
	refuse_out(udp(at(ALICE, 1), at(S2, 53)), CGN_DROP_POLICY_DROP);
	refuse_out(ip_packet(ALICE, S2, 47, 20), CGN_DROP_POLICY_DROP);
	refuse_out(udp(at(0x0a000001, 1), at(S1, 53)), CGN_DROP_POLICY_NONE); // spoofed
}

static void a_policy_may_list_10000_prefixes(void **state)
{
	const uint32_t n = 10000;
	char *text = NULL;
	size_t n_text = 0;
	FILE *yaml = open_memstream(&text, &n_text);

	fprintf(yaml, "  - name: many\n    action: drop\n    match:\n      destination:\n");
	for (uint32_t i = 0; i < n; i++) // every other /24 from 20.0.0.0 on
		fprintf(yaml, "        - %u.%u.%u.0/24\n", 20 + (2 * i >> 16), 2 * i >> 8 & 0xff,
			2 * i & 0xff);
	fprintf(yaml, HOME "\n");
	fclose(yaml);
	BED(.policies = text);
	free(text);
	for (uint32_t i = 0; i < n; i += 333) {
		const uint32_t prefix = 20u << 24 | 2 * i << 8;

		refuse_out(udp(at(ALICE, 1), at(prefix | 1, 53)), CGN_DROP_POLICY_DROP);
		refuse_out(udp(at(ALICE, 1), at(prefix | 255, 53)), CGN_DROP_POLICY_DROP);
		pass_out(udp(at(ALICE, 1), at(prefix + 256, 53)));
	}
}

static void from_inside_to_inside_only_a_bypass_leads(void **state)
{
	BED();
	refuse_out(udp(at(ALICE, 1), at(BOB, 1)), CGN_DROP_INTERNAL_TO_INTERNAL);
	refuse_out(udp(at(ALICE, 1), at(0x0aff0009, 1)), CGN_DROP_INTERNAL_TO_INTERNAL);
	bed_teardown(NULL);
	BED(.policies = "  - {name: local, match: {destination: [100.64.0.0/10]}, action: bypass}\n" HOME);
	assert_endpoint(source_of(hairpin(udp(at(ALICE, 1), at(BOB, 1)))), at(ALICE, 1));
	COUNTED(.rx_packets = 1, .tx_packets = 1, .bypassed = 1);
}

static void a_device_that_takes_nothing_costs_counted_drops(void **state)
{
	BED();
	pass_out(udp(at(ALICE, 1), at(S1, 53)));
	bed.tx_room[OUTSIDE] = 3;
	for (unsigned i = 0; i < 200; i++)
		bed_put(INSIDE, udp(at(ALICE, 1), at(S1, 53)));
	bed_run();
	assert_int_equal(bed_waiting(OUTSIDE), 3);
	COUNTED(.rx_packets = 201, .tx_packets = 4, .translated_outbound = 201,
		.mappings_created = 1, .sessions_created = 1, .subscribers_created = 1,
		.blocks_allocated = 1, .drops[CGN_DROP_TX_FULL] = 197);
	assert_int_equal(bed_sum().interfaces[OUTSIDE].drops, 197);
}

BED_MAIN(TEST(the_longest_prefix_decides), TEST(gateways_are_asked_for_before_any_packet),
	TEST(packets_wait_for_a_neighbour_and_then_go_in_order),
	TEST(a_neighbour_that_does_not_answer_is_given_up_and_asked_again),
	TEST(a_neighbour_in_use_is_asked_again_by_unicast), TEST(an_idle_neighbour_is_forgotten),
	TEST(the_neighbour_table_has_its_limit), TEST(arp_requests_for_our_addresses_are_answered),
	TEST(frames_carry_the_vlan_of_their_interface),
	TEST(what_is_too_big_with_df_is_dropped_and_answered), TEST(padding_behind_a_packet_is_cut),
	TEST(bypass_is_stateless_and_works_in_both_directions),
	TEST(the_first_policy_that_matches_decides), TEST(a_policy_may_list_10000_prefixes),
	TEST(from_inside_to_inside_only_a_bypass_leads),
	TEST(a_device_that_takes_nothing_costs_counted_drops))
