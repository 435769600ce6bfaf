// SPDX-License-Identifier: BSD-3-Clause
// Port blocks, limits and hold-down as packets see them (RFC 6888, RFC 7768).
#include "bed.h"

#define ONE_ADDRESS "addresses: [203.0.113.1]"
#define POOL(text) "  - {name: p, " text "}"
#define POLICY(text) \
	"  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p" text "}"

static struct endpoint map(uint32_t host, unsigned port)
{
	return source_of(pass_out(udp(at(host, port), at(S1, 53))));
}

// Refused with an answer, 3/1, and nothing is made (RFC 6888 REQ-11).
static void refuse(struct frame f, enum cgn_drop reason)
{
	const struct cgn_counters before = bed_sum();
	struct cgn_counters after;
	struct frame answer;

	bed_put(INSIDE, f);
	bed_run();
	answer = bed_expect(INSIDE);
	bed_is_error(answer, 3, 1, US_INSIDE, source_of(f).address, f);
	bed_expect_nothing();
	after = bed_sum();
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		assert_int_equal(after.drops[i] - before.drops[i], i == reason);
	assert_int_equal(after.sessions, before.sessions);
	assert_int_equal(after.mappings, before.mappings);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.subscribers, before.subscribers);
	assert_int_equal(after.sessions_created, before.sessions_created);
}
#define refused(f, reason) (HERE(), refuse(f, reason))

static uint64_t own_drops(uint32_t host, unsigned kind)
{
	const struct subscribers *s = &bed.worker[0]->subscribers;

	return s->sub[subscriber_lookup(s, host, 0)].drops[kind];
}

// RFC 7768 2: one block at the first packet, none for the next ones
static void a_block_is_lent_at_the_first_packet(void **state)
{
	BED();
	for (unsigned i = 0; i < 64; i++)
		map(ALICE, 5000 + i);
	assert_int_equal(gauge(blocks), 1);
	assert_int_equal(gauge(pools[0].ports_used), 64);
	COUNTED(.rx_packets = 64, .tx_packets = 64, .translated_outbound = 64,
		.mappings_created = 64, .sessions_created = 64, .subscribers_created = 1,
		.blocks_allocated = 1);
	map(ALICE, 5064);
	assert_int_equal(gauge(blocks), 2);
	COUNTED(.rx_packets = 1, .tx_packets = 1, .translated_outbound = 1, .mappings_created = 1,
		.sessions_created = 1, .blocks_allocated = 1);
}

// RFC 6888 REQ-13: all ports of all blocks, to the last; REQ-4: not one more; REQ-15: in no order
static void every_port_of_max_blocks_is_used_and_not_one_more(void **state)
{
	bool seen[65536] = {false};
	unsigned blocks[1024] = {0}, n_blocks = 0, rising = 0, last = 0;

	BED(.pools = POOL("addresses: [203.0.113.1-203.0.113.4], block-size: 64, max-blocks: 3"));
	for (unsigned i = 0; i < 192; i++) {
		struct endpoint x = map(ALICE, 5000 + i);

		assert_in_range(x.port, 1024, 65535);
		assert_false(seen[x.port]);
		seen[x.port] = true;
		blocks[(x.port - 1024) / 64]++;
		rising += x.port > last;
		last = x.port;
	}
	for (unsigned i = 0; i < 1024; i++) {
		assert_true(blocks[i] == 0 || blocks[i] == 64);
		n_blocks += blocks[i] != 0;
	}
	assert_int_equal(n_blocks, 3);
	assert_in_range(rising, 48, 144); // about half of them
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	assert_int_equal(own_drops(ALICE, CGN_SUBSCRIBER_DROP_BLOCK_LIMIT), 1);
	map(ALICE, 5000); // what is there goes on (RFC 6888 REQ-11d)
	map(BOB, 5000); // and nobody else notices
}

// RFC 6888 REQ-13: number spaces of their own, in the same block
static void udp_tcp_and_icmp_each_use_all_ports_of_a_block(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", block-size: 16, max-blocks: 1"));
	for (unsigned i = 0; i < 16; i++) {
		map(ALICE, 5000 + i);
		pass_out(tcp(at(ALICE, 5000 + i), at(S1, 80), TCP_SYN));
		pass_out(echo(at(ALICE, 5000 + i), S1));
	}
	assert_int_equal(gauge(blocks), 1);
	assert_int_equal(gauge(pools[0].ports_used), 48);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	refused(tcp(at(ALICE, 6000), at(S1, 53), TCP_SYN), CGN_DROP_BLOCK_LIMIT);
	refused(echo(at(ALICE, 6000), S1), CGN_DROP_BLOCK_LIMIT);
}

// RFC 6888 REQ-2, RFC 4787 REQ-2
static void a_subscriber_has_one_external_address_for_everything(void **state)
{
	uint32_t address;

	BED();
	address = map(ALICE, 1).address;
	for (unsigned i = 0; i < 100; i++) {
		assert_int_equal(map(ALICE, 5000 + i).address, address);
		assert_int_equal(
			source_of(pass_out(tcp(at(ALICE, i), at(S2, 80), TCP_SYN))).address,
			address);
		assert_int_equal(source_of(pass_out(echo(at(ALICE, i), S2))).address, address);
	}
}

// RFC 7857 4: the paired address is full although another one is not
static void a_full_paired_address_is_not_left_for_another(void **state)
{
	uint32_t address[2];
	unsigned on_first = 0;

	BED(.pools = POOL(
		    "addresses: [203.0.113.1-203.0.113.2], ports: 1024-1055, block-size: 16"));
	address[0] = map(ALICE, 5000).address;
	address[1] = map(BOB, 5000).address;
	assert_int_not_equal(address[0], address[1]); // spread evenly
	for (unsigned i = 1; i < 32; i++)
		on_first += map(ALICE, 5000 + i).address == address[0];
	assert_int_equal(on_first, 31);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
	assert_int_equal(own_drops(ALICE, CGN_SUBSCRIBER_DROP_ADDRESS_FULL), 1);
	for (unsigned i = 1; i < 32; i++)
		map(BOB, 5000 + i);
	refused(udp(at(CAROL, 5000), at(S1, 53)), CGN_DROP_POOL_FULL);
	assert_int_equal(gauge(pools[0].blocks_used), 4);
	assert_int_equal(gauge(pools[0].blocks_total), 4);
}

#define SOFT \
	POOL("addresses: [203.0.113.1-203.0.113.3], ports: 1024-1055, block-size: 16, max-blocks: 6," \
	     " soft-app: true")

static struct endpoint map_of(uint8_t proto, uint32_t host, unsigned port)
{
	return proto == CGN_PROTO_TCP
		? source_of(pass_out(tcp(at(host, port), at(S1, 53), TCP_SYN)))
		: proto == CGN_PROTO_UDP ? source_of(pass_out(udp(at(host, port), at(S1, 53))))
					 : source_of(pass_out(echo(at(host, port), S1)));
}

// RFC 7857 4, soft: another address when the paired one is full, for every protocol, to the last port
static void soft_pairing_goes_on_with_another_address(void **state)
{
	static const uint8_t protos[] = {CGN_PROTO_UDP, CGN_PROTO_TCP, CGN_PROTO_ICMP};
	uint32_t paired, second = 0;

	BED(.pools = SOFT);
	paired = map(ALICE, 5000).address;
	for (unsigned i = 0; i < 96; i++) {
		for (unsigned k = 0; k < 3; k++) {
			const uint32_t x = map_of(protos[k], ALICE, 5000 + i).address;

			if (i < 32)
				assert_int_equal(x, paired);
			else
				assert_int_not_equal(x, paired);
			if (i == 32)
				second = k ? second : x;
			if (i >= 32 && i < 64) // one after the other
				assert_int_equal(x, second);
			if (i >= 64)
				assert_int_not_equal(x, second);
		}
	}
	assert_int_equal(gauge(pools[0].ports_used), 3 * 96);
	assert_int_equal(gauge(blocks), 6);
	assert_int_equal(bed_sum().blocks_unpaired, 4);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_POOL_FULL);
	for (unsigned i = 0; i < 96; i++) { // mappings are as they were (RFC 4787 REQ-1)
		const struct frame f = pass_out(udp(at(ALICE, 5000 + i), at(S2, 53)));

		assert_true((source_of(f).address == paired) == (i < 32));
		pass_in(udp(at(S2, 53), source_of(f)));
	}
}

// One who comes second to a full pool is told, and the limit of blocks holds over all addresses
static void soft_pairing_ends_with_the_pool(void **state)
{
	BED(.pools = POOL("addresses: [203.0.113.1-203.0.113.2], ports: 1024-1055, block-size: 16,"
			  " max-blocks: 3, soft-app: true"));
	for (unsigned i = 0; i < 48; i++)
		map(ALICE, 5000 + i);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	for (unsigned i = 0; i < 16; i++)
		map(BOB, 5000 + i);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_POOL_FULL);
	assert_int_equal(own_drops(BOB, CGN_SUBSCRIBER_DROP_ADDRESS_FULL), 0);
}

// Ports of the paired address come first, also those of a block that was lent later; the other's drain
static void soft_pairing_returns_to_the_paired_address(void **state)
{
	uint32_t paired;

	BED(.pools = SOFT, .more = "timeouts: {hold-down: 0, udp: 120}");
	paired = map(ALICE, 5000).address;
	for (unsigned i = 1; i < 40; i++)
		map(ALICE, 5000 + i);
	assert_int_equal(bed_sum().blocks_unpaired, 1);
	bed_wait(100);
	map(ALICE, 5000); // one of the paired address goes on, and all of the other
	for (unsigned i = 32; i < 40; i++)
		assert_int_not_equal(map(ALICE, 5000 + i).address, paired);
	bed_wait(30);
	assert_int_equal(gauge(blocks), 2);
	for (unsigned i = 0; i < 15; i++)
		assert_int_equal(map(ALICE, 6000 + i).address, paired);
	for (unsigned i = 15; i < 23; i++) // what it has is used up before it gets more
		assert_int_not_equal(map(ALICE, 6000 + i).address, paired);
	for (unsigned i = 23; i < 39; i++) // a newer block, of the paired address again
		assert_int_equal(map(ALICE, 6000 + i).address, paired);
	assert_int_equal(bed_sum().blocks_unpaired, 1);
	bed_wait(100);
	for (unsigned i = 25; i < 39; i++)
		map(ALICE, 6000 + i);
	map(ALICE, 6015); // of the other address
	bed_wait(30);
	assert_int_equal(gauge(blocks), 2); // the first one has gone
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(map(ALICE, 7000 + i).address, paired);
	assert_int_not_equal(map(ALICE, 7002).address, paired);
}

static void the_subscriber_table_has_its_limit(void **state)
{
	BED(.subscribers = 2);
	map(ALICE, 5000);
	map(BOB, 5000);
	refused(udp(at(CAROL, 5000), at(S1, 53)), CGN_DROP_SUBSCRIBER_TABLE_FULL);
	map(ALICE, 5001);
	bed_wait(303); // theirs have ended: only lent blocks count
	assert_int_equal(gauge(subscribers), 0);
	map(CAROL, 5000);
}

static void the_session_table_is_used_to_the_last_record(void **state)
{
	BED(.sessions = 64);
	for (unsigned i = 0; i < 64; i++)
		pass_out(udp(at(ALICE, 5000), at(S1, 1000 + i)));
	refused(udp(at(ALICE, 5000), at(S2, 53)), CGN_DROP_SESSION_TABLE_FULL);
	refused(udp(at(BOB, 5000), at(S2, 53)), CGN_DROP_SESSION_TABLE_FULL);
	assert_int_equal(own_drops(ALICE, CGN_SUBSCRIBER_DROP_SESSION_TABLE_FULL), 1);
	pass_out(udp(at(ALICE, 5000), at(S1, 1000)));
	bed_wait(303);
	pass_out(udp(at(BOB, 5000), at(S2, 53)));
}

// RFC 6888 REQ-5: strangers cannot take the last eighth of the table
static void sessions_from_outside_leave_room_for_subscribers(void **state)
{
	struct endpoint x;

	BED(.sessions = 64);
	x = map(ALICE, 5000);
	for (unsigned i = 1; i < 56; i++)
		pass_in(udp(at(S2, 1000 + i), x));
	refuse_in(udp(at(S2, 99), x), CGN_DROP_INBOUND_TABLE_FULL);
	for (unsigned i = 0; i < 8; i++)
		map(BOB, 5000 + i);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_SESSION_TABLE_FULL);
}

// RFC 6888 REQ-5: sessions from outside count, too, and are refused without a word
static void a_subscriber_has_its_limit_of_sessions(void **state)
{
	struct endpoint x;

	BED(.policies = POLICY(", limits: {sessions: 4}"));
	x = map(ALICE, 5000);
	map(ALICE, 5001);
	pass_out(udp(at(ALICE, 5000), at(S2, 53)));
	pass_in(udp(at(S2, 99), x));
	refused(udp(at(ALICE, 5002), at(S1, 53)), CGN_DROP_SESSION_LIMIT);
	refused(udp(at(ALICE, 5000), at(S2, 54)), CGN_DROP_SESSION_LIMIT);
	refuse_in(udp(at(S2, 98), x), CGN_DROP_SESSION_LIMIT);
	assert_int_equal(own_drops(ALICE, CGN_SUBSCRIBER_DROP_SESSION_LIMIT), 3);
	map(BOB, 5000);
	map(ALICE, 5000);
}

// RFC 6888 REQ-4c: one second's worth; refused packets take no token
static void a_subscriber_opens_no_more_than_so_many_sessions_a_second(void **state)
{
	unsigned port = 1000;

	BED(.policies = POLICY(", limits: {new-sessions-per-second: 5}"));
	for (unsigned second = 0; second < 3; second++) {
		for (unsigned i = 0; i < 5; i++)
			map(ALICE, port++);
		for (unsigned i = 0; i < 5; i++)
			refused(udp(at(ALICE, port), at(S1, 53)), CGN_DROP_RATE_LIMIT);
		pass_out(udp(at(ALICE, 1000), at(S1, 53))); // no new session
		map(BOB, 1000 + second);
		bed_wait(1);
	}
	assert_int_equal(own_drops(ALICE, CGN_SUBSCRIBER_DROP_RATE_LIMIT), 15);
	bed_wait(10); // no more than one second's worth is saved
	for (unsigned i = 0; i < 5; i++)
		map(ALICE, port++);
	refused(udp(at(ALICE, port), at(S1, 53)), CGN_DROP_RATE_LIMIT);
}

static void sessions_refused_for_other_reasons_take_no_token(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", block-size: 16, max-blocks: 1"),
		.policies = POLICY(", limits: {new-sessions-per-second: 20}"));
	for (unsigned i = 0; i < 16; i++)
		map(ALICE, 1000 + i);
	for (unsigned i = 0; i < 30; i++)
		refused(udp(at(ALICE, 2000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	for (unsigned i = 0; i < 4; i++)
		pass_out(udp(at(ALICE, 1000), at(S2, 100 + i)));
	refused(udp(at(ALICE, 1000), at(S2, 99)), CGN_DROP_RATE_LIMIT);
}

// RFC 6888 REQ-8: nobody else has a freed port for 120 s
static void a_freed_port_rests_and_then_is_free(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", block-size: 16, max-blocks: 1"));
	for (unsigned i = 0; i < 15; i++)
		map(ALICE, 5000 + i);
	bed_wait(200);
	map(ALICE, 5015); // keeps the block lent
	bed_wait(103); // the fifteen end
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(ports_resting), 15);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	bed_wait(116);
	map(ALICE, 5015);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	bed_wait(5);
	assert_int_equal(gauge(ports_resting), 0);
	for (unsigned i = 0; i < 15; i++)
		map(ALICE, 6000 + i);
	refused(udp(at(ALICE, 6015), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
}

static void many_rests_that_end_together_are_gone_from_the_gauge_at_once(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", block-size: 128, max-blocks: 1"));
	for (unsigned i = 0; i < 100; i++) // more than a worker ends in one turn
		map(ALICE, 5000 + i);
	bed_wait(200);
	map(ALICE, 5100); // keeps the block lent
	bed_wait(103);
	assert_int_equal(gauge(ports_resting), 100);
	while (gauge(ports_resting) == 100)
		bed_wait(1);
	assert_int_equal(gauge(ports_resting), 0);
}

static void the_same_endpoint_has_its_resting_port_back_at_once(void **state)
{
	struct endpoint x, y;

	BED();
	x = map(ALICE, 5000);
	y = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	for (unsigned i = 0; i < 3; i++) {
		bed_wait(303);
		assert_int_equal(gauge(mappings), 0);
		assert_endpoint(map(ALICE, 5000), x);
		assert_int_equal(bed_sum().ports_reclaimed, i + 1);
	}
	assert_int_equal(gauge(ports_resting), 0); // that of TCP has rested long enough
	(void)y;
}

// RFC 6888 REQ-8, RFC 7768 2: a block rests as a whole
static void a_resting_block_goes_to_nobody_but_its_last_subscriber(void **state)
{
	struct endpoint x;

	BED(.pools = POOL(ONE_ADDRESS ", ports: 1024-1039, block-size: 16"));
	x = map(ALICE, 5000);
	bed_wait(302);
	assert_int_equal(gauge(blocks), 0);
	assert_int_equal(gauge(blocks_held), 1);
	assert_int_equal(gauge(pools[0].blocks_held), 1);
	refused(udp(at(BOB, 5000), at(S1, 53)), CGN_DROP_POOL_FULL);
	assert_int_not_equal(map(ALICE, 6000).port, x.port); // that one rests for another endpoint
	assert_int_equal(gauge(blocks_held), 0);
	bed_wait(302);
	bed_wait(117);
	refused(udp(at(BOB, 5000), at(S1, 53)), CGN_DROP_POOL_FULL);
	bed_wait(5);
	assert_int_equal(gauge(blocks_held), 0);
	map(BOB, 5000);
	refused(udp(at(ALICE, 5000), at(S1, 53)), CGN_DROP_POOL_FULL);
}

static void hold_down_zero_frees_at_once(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", ports: 1024-1039, block-size: 16"),
		.more = "timeouts: {hold-down: 0}");
	map(ALICE, 5000);
	bed_wait(303);
	assert_int_equal(gauge(blocks_held), 0);
	map(BOB, 5000);
}

static void reserved_ports_are_never_given_out(void **state)
{
	unsigned n = 0;

	BED(.pools = POOL(ONE_ADDRESS ", ports: 1024-1087, block-size: 16, max-blocks: 4,"
				      " reserved-ports: [1030, 1040-1071]"));
	for (; n < 31; n++) { // 64 ports, 33 of them reserved
		unsigned port = map(ALICE, 5000 + n).port;

		assert_in_range(port, 1024, 1087);
		assert_true(port != 1030 && (port < 1040 || port > 1071));
	}
	assert_int_equal(gauge(pools[0].blocks_total), 2); // two blocks are reserved as a whole
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
}

// RFC 7768 2: the oldest block is filled first, so that later ones drain and go back
static void later_blocks_drain_and_are_given_back(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS ", block-size: 16, max-blocks: 4"));
	for (unsigned i = 0; i < 64; i++)
		map(ALICE, 5000 + i);
	assert_int_equal(gauge(blocks), 4);
	bed_wait(200);
	for (unsigned i = 0; i < 16; i++)
		map(ALICE, 5000 + i); // those of the first block
	bed_wait(103);
	assert_int_equal(gauge(blocks), 1);
	assert_int_equal(gauge(blocks_held), 3);
	assert_int_equal(gauge(subscribers), 1);
}

static void each_policy_has_the_pool_it_names(void **state)
{
	BED(.pools = POOL(ONE_ADDRESS) "\n  - {name: q, addresses: [203.0.113.9]}",
		.policies = "  - {name: dns, match: {source: [100.64.0.0/10], protocol: udp,"
			    " destination-ports: [53]}, action: translate, pool: q}\n" POLICY(""));
	assert_int_equal(map(ALICE, 5000).address, 0xcb007109);
	assert_int_equal(source_of(pass_out(udp(at(ALICE, 5001), at(S1, 54)))).address, X1);
	assert_int_equal(gauge(pools[0].ports_used), 1);
	assert_int_equal(gauge(pools[1].ports_used), 1);
}

// RFC 7768 2: after a peak the extra blocks go back, though new mappings never cease: as soon as the
// oldest block has room again they all go there. A new one every 20 s that lives 120 s and rests as
// long needs 14 ports.
static void extra_blocks_drain_while_mappings_come_and_go(void **state)
{
	unsigned port = 1000, oldest, t = 0;

	BED(.pools = POOL(ONE_ADDRESS ", block-size: 16, max-blocks: 4"),
		.more = "timeouts: {udp: 120}\n");
	oldest = (map(ALICE, port++).port - 1024u) / 16;
	for (unsigned i = 1; i < 48; i++)
		map(ALICE, port++);
	for (; t < 1200; t += 20) {
		const unsigned block = (map(ALICE, port++).port - 1024u) / 16;

		assert_int_equal((map(ALICE, 1000).port - 1024u) / 16, oldest); // one stays
		if (t < 240) // the ports of the peak are used, or rest: a fourth block
			assert_int_not_equal(block, oldest);
		if (t >= 260)
			assert_int_equal(block, oldest);
		if (t < 120)
			assert_int_equal(gauge(blocks), 4);
		if (t >= 160 && t <= 340) // two have ended, the fourth still has mappings
			assert_int_equal(gauge(blocks), 2);
		if (t >= 400)
			assert_int_equal(gauge(blocks), 1);
		bed_wait(20);
	}
	assert_int_equal(bed_sum().blocks_allocated, 4);
	assert_int_equal(bed_sum().blocks_released, 3);
	assert_int_equal(gauge(blocks_held), 0); // others may have them
}

BED_MAIN(TEST(a_block_is_lent_at_the_first_packet),
	TEST(extra_blocks_drain_while_mappings_come_and_go),
	TEST(every_port_of_max_blocks_is_used_and_not_one_more),
	TEST(udp_tcp_and_icmp_each_use_all_ports_of_a_block),
	TEST(a_subscriber_has_one_external_address_for_everything),
	TEST(a_full_paired_address_is_not_left_for_another),
	TEST(soft_pairing_goes_on_with_another_address), TEST(soft_pairing_ends_with_the_pool),
	TEST(soft_pairing_returns_to_the_paired_address), TEST(the_subscriber_table_has_its_limit),
	TEST(the_session_table_is_used_to_the_last_record),
	TEST(sessions_from_outside_leave_room_for_subscribers),
	TEST(a_subscriber_has_its_limit_of_sessions),
	TEST(a_subscriber_opens_no_more_than_so_many_sessions_a_second),
	TEST(sessions_refused_for_other_reasons_take_no_token),
	TEST(a_freed_port_rests_and_then_is_free),
	TEST(many_rests_that_end_together_are_gone_from_the_gauge_at_once),
	TEST(the_same_endpoint_has_its_resting_port_back_at_once),
	TEST(a_resting_block_goes_to_nobody_but_its_last_subscriber),
	TEST(hold_down_zero_frees_at_once), TEST(reserved_ports_are_never_given_out),
	TEST(later_blocks_drain_and_are_given_back), TEST(each_policy_has_the_pool_it_names))
