// SPDX-License-Identifier: BSD-3-Clause
// Walks over a worker's tables while packets flow: show and clear.
#include "bed.h"
#include <stdlib.h>
#include <rte_ring.h>
#include "flow.h"
#include "walk.h"

// Runs a walk to its end. Returns how many records came; *last is the last one.
static unsigned walked(
	enum cgn_walk_kind kind, struct cgn_filter filter, struct cgn_walk_record *last)
{
	struct worker_walk *walk = bed_walk_start(0, kind, &filter);
	struct cgn_walk_record record;
	unsigned n = 0;

	for (unsigned i = 0; i < 1000 &&
		!(atomic_load(&walk->done) && atomic_load(&walk->tail) == atomic_load(&walk->head));
		i++) {
		bed_poll(0);
		for (; bed_walk_take(walk, &record); n++) {
			if (last)
				*last = record;
			assert_int_equal(record.worker, 0);
		}
	}
	assert_true(atomic_load(&walk->done));
	assert_true(atomic_load(&walk->released));
	assert_int_equal(bed.worker[0]->n_walks, 0);
	free(walk);
	return n;
}
#define count(kind, ...) walked(CGN_WALK_##kind, (struct cgn_filter){__VA_ARGS__}, NULL)

static uint64_t cleared(enum cgn_walk_kind kind, struct cgn_filter filter)
{
	struct cgn_walk_record record;

	assert_int_equal(walked(kind, filter, &record), 1); // one record, at the end
	bed_run();
	return record.cleared.cleared;
}
#define clear(kind, ...) cleared(CGN_WALK_CLEAR_##kind, (struct cgn_filter){__VA_ARGS__})

static struct endpoint map(uint32_t host, unsigned port)
{
	return source_of(pass_out(udp(at(host, port), at(S1, 53))));
}

// Alice: UDP 5000 with three sessions, TCP 80 with one. Bob: UDP 5000 with one. The second policy is
// about port 443.
static struct endpoint populate(void)
{
	struct endpoint x;

	BED(.policies = "  - {name: home, match: {source: [100.64.0.0/10], protocol: udp}, action: translate, pool: p}\n"
			"  - {name: rest, action: translate, pool: p}");
	x = map(ALICE, 5000);
	pass_out(udp(at(ALICE, 5000), at(S2, 53)));
	pass_in(udp(at(S2, 99), x));
	pass_out(tcp(at(ALICE, 80), at(S1, 443), TCP_SYN));
	map(BOB, 5000);
	return x;
}

static void every_record_comes_with_all_that_is_known(void **state)
{
	struct cgn_walk_record r;
	struct endpoint x = populate();

	bed_wait(10);
	pass_in(udp(at(S1, 53), x));
	assert_int_equal(walked(CGN_WALK_SESSIONS,
				 (struct cgn_filter){.by_subscriber = true,
					 .subscriber = ALICE,
					 .by_remote = true,
					 .remote = S1,
					 .by_remote_port = true,
					 .remote_port = 53},
				 &r),
		1);
	assert_endpoint(at(r.session.internal, r.session.internal_port), at(ALICE, 5000));
	assert_endpoint(at(r.session.external, r.session.external_port), x);
	assert_endpoint(at(r.session.remote, r.session.remote_port), at(S1, 53));
	assert_int_equal(r.session.protocol, CGN_PROTO_UDP);
	assert_int_equal(r.session.state, CGN_SESSION_ACTIVE);
	assert_int_equal(r.session.policy, 0);
	assert_int_equal(r.session.age_s, 10);
	assert_int_equal(r.session.expires_s, 290);
	assert_int_equal(r.session.packets_out, 1);
	assert_int_equal(r.session.packets_in, 1);
	assert_int_equal(r.session.bytes_out, 60);
	assert_int_equal(walked(CGN_WALK_MAPPINGS,
				 (struct cgn_filter){.by_external = true,
					 .external = x.address,
					 .by_external_port = true,
					 .external_port = x.port},
				 &r),
		1);
	assert_endpoint(at(r.mapping.internal, r.mapping.internal_port), at(ALICE, 5000));
	assert_int_equal(r.mapping.sessions, 3);
	assert_int_equal(r.mapping.age_s, 10);
	assert_int_equal(
		walked(CGN_WALK_BLOCKS,
			(struct cgn_filter){.by_subscriber = true, .subscriber = ALICE}, &r),
		1);
	assert_int_equal(r.block.external, x.address);
	assert_in_range(x.port, r.block.first_port, r.block.last_port);
	assert_int_equal(r.block.last_port - r.block.first_port, 63);
	assert_int_equal(r.block.ports_used, 2);
	assert_int_equal(
		walked(CGN_WALK_SUBSCRIBERS,
			(struct cgn_filter){.by_subscriber = true, .subscriber = ALICE}, &r),
		1);
	assert_int_equal(r.subscriber.external, x.address);
	assert_int_equal(r.subscriber.blocks, 1);
	assert_int_equal(r.subscriber.ports_used, 2);
	assert_int_equal(r.subscriber.mappings, 2);
	assert_int_equal(r.subscriber.sessions, 4);
}

static void filters_choose(void **state)
{
	struct endpoint x = populate();

	assert_int_equal(count(SESSIONS, 0), 5);
	assert_int_equal(count(MAPPINGS, 0), 3);
	assert_int_equal(count(BLOCKS, 0), 2);
	assert_int_equal(count(SUBSCRIBERS, 0), 2);
	assert_int_equal(count(SESSIONS, .by_subscriber = true, .subscriber = ALICE), 4);
	assert_int_equal(count(SESSIONS, .by_subscriber = true, .subscriber = CAROL), 0);
	assert_int_equal(count(SESSIONS, .by_protocol = true, .protocol = CGN_PROTO_TCP), 1);
	assert_int_equal(count(SESSIONS, .by_policy = true, .policy = 0), 4);
	assert_int_equal(count(MAPPINGS, .by_policy = true, .policy = 1), 1);
	assert_int_equal(count(SESSIONS, .by_remote = true, .remote = S2), 2);
	assert_int_equal(count(MAPPINGS, .by_remote = true, .remote = S2), 1);
	assert_int_equal(count(MAPPINGS, .by_remote = true, .remote = S1, .by_remote_port = true,
				 .remote_port = 53),
		2);
	// blocks and subscribers by any port of the block
	assert_int_equal(count(BLOCKS, .by_external = true, .external = x.address,
				 .by_external_port = true, .external_port = x.port),
		1);
	assert_int_equal(count(SUBSCRIBERS, .by_external = true, .external = x.address,
				 .by_external_port = true, .external_port = x.port),
		1);
	assert_int_equal(
		count(SUBSCRIBERS, .by_external = true, .external = x.address,
			.by_external_port = true, .external_port = (uint16_t)(x.port ^ 64)),
		0);
	assert_int_equal(count(SUBSCRIBERS, .by_external = true, .external = x.address,
				 .by_external_port = true, .external_port = 80),
		0);
}

// One with blocks of several addresses (soft-app) is found by each of them, with the ports there
static void a_subscriber_is_found_by_all_addresses(void **state)
{
	struct endpoint first, last = {0};

	BED(.pools = "  - {name: p, addresses: [203.0.113.1-203.0.113.2], ports: 1024-1055, block-size: 16,"
		     " max-blocks: 3, soft-app: true}");
	first = map(ALICE, 5000);
	for (unsigned i = 1; i <= 32; i++)
		last = map(ALICE, 5000 + i);
	assert_int_not_equal(first.address, last.address);
	assert_int_equal(count(SUBSCRIBERS, .by_external = true, .external = first.address), 1);
	assert_int_equal(count(SUBSCRIBERS, .by_external = true, .external = last.address), 1);
	assert_int_equal(count(SUBSCRIBERS, .by_external = true, .external = last.address,
				 .by_external_port = true, .external_port = last.port),
		1);
	assert_int_equal(
		count(SUBSCRIBERS, .by_external = true, .external = last.address,
			.by_external_port = true, .external_port = (uint16_t)(last.port ^ 16)),
		0); // only on the first address
}

static void a_long_walk_meets_each_record_once_while_packets_flow(void **state)
{
	static bool seen[3000];
	struct worker_walk *walk;
	struct cgn_walk_record r;
	unsigned n = 0, extra = 0;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 1024, max-blocks: 8}");
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 3000; i++)
		map(ALICE, 1000 + i);
	walk = bed_walk_start(0, CGN_WALK_SESSIONS, &(struct cgn_filter){0});
	while (!atomic_load(&walk->done) || atomic_load(&walk->tail) != atomic_load(&walk->head)) {
		map(ALICE, 1000 + n % 3000);
		if (extra < 50)
			map(BOB, 1000 + extra++);
		while (bed_walk_take(walk, &r)) {
			if (r.session.internal != ALICE)
				continue;
			assert_false(seen[r.session.internal_port - 1000]);
			seen[r.session.internal_port - 1000] = true;
			n++;
		}
	}
	assert_int_equal(n, 3000);
	free(walk);
}

static void a_reader_that_does_not_read_stops_the_walk_and_not_the_worker(void **state)
{
	struct worker_walk *walk;
	struct cgn_walk_record r;
	unsigned n = 0;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 2048}");
	for (unsigned i = 0; i < WALK_RING + 500; i++)
		map(ALICE, 1000 + i);
	walk = bed_walk_start(0, CGN_WALK_SESSIONS, &(struct cgn_filter){0});
	bed_run(); // comes to rest
	assert_int_equal(atomic_load(&walk->head), WALK_RING);
	assert_false(atomic_load(&walk->done));
	map(ALICE, 1000);
	map(BOB, 1000);
	bed_wait(100);
	assert_int_equal(atomic_load(&walk->head), WALK_RING);
	while (!atomic_load(&walk->done) || atomic_load(&walk->tail) != atomic_load(&walk->head)) {
		n += bed_walk_take(walk, &r);
		bed_poll(0);
	}
	assert_int_equal(n, WALK_RING + 501);
	free(walk);
	// and one that goes away lets it go
	walk = bed_walk_start(0, CGN_WALK_SESSIONS, &(struct cgn_filter){0});
	bed_run();
	atomic_store(&walk->cancelled, true);
	bed_run();
	assert_true(atomic_load(&walk->released));
	assert_int_equal(bed.worker[0]->n_walks, 0);
	free(walk);
}

static void clear_sessions_ends_what_the_filter_names(void **state)
{
	struct endpoint x = populate();

	COUNTED(.rx_packets = 5, .tx_packets = 5, .translated_outbound = 4, .translated_inbound = 1,
		.mappings_created = 3, .sessions_created = 5, .subscribers_created = 2,
		.blocks_allocated = 2);
	// the first session of a mapping goes, the others stay
	assert_int_equal(
		clear(SESSIONS, .by_remote = true, .remote = S1, .by_subscriber = true,
			.subscriber = ALICE, .by_protocol = true, .protocol = CGN_PROTO_UDP),
		1);
	assert_int_equal(gauge(sessions), 4);
	assert_endpoint(destination_of(pass_in(udp(at(S2, 99), x))), at(ALICE, 5000));
	assert_int_equal(clear(SESSIONS, .by_protocol = true, .protocol = CGN_PROTO_TCP), 1);
	assert_int_equal(clear(SESSIONS, .by_protocol = true, .protocol = CGN_PROTO_TCP), 0);
	COUNTED(.rx_packets = 1, .tx_packets = 1, .translated_inbound = 1, .sessions_cleared = 2,
		.mappings_cleared = 1);
	assert_int_equal(clear(SESSIONS, 0), 3);
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(gauge(ports_resting), 3); // cleared ports rest, too
	refuse_in(udp(at(S2, 99), x), CGN_DROP_NO_MAPPING);
	assert_endpoint(map(ALICE, 5000), x);
}

static void clear_mappings_ends_them_with_all_their_sessions(void **state)
{
	struct endpoint x, y;

	BED();
	x = map(ALICE, 5000);
	y = map(BOB, 5000);
	for (unsigned i = 0; i < 1000; i++)
		pass_out(udp(at(ALICE, 5000), at(S2, 1000 + i)));
	assert_int_equal(gauge(sessions), 1002);
	assert_int_equal(clear(MAPPINGS, .by_external = true, .external = x.address,
				 .by_external_port = true, .external_port = x.port),
		1);
	assert_int_equal(gauge(sessions), 1);
	refuse_in(udp(at(S1, 53), x), CGN_DROP_NO_MAPPING);
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), y))), at(BOB, 5000));
	assert_int_equal(bed_sum().sessions_cleared, 1001);
	assert_int_equal(bed_sum().mappings_cleared, 1);
}

// A slice may end in the midst of a mapping, whose last sessions then run out by themselves: what
// comes next in the table is none of the walk's business.
static void a_mapping_that_ends_while_it_is_cleared_takes_no_other_along(void **state)
{
	struct worker_walk *walk;
	struct cgn_walk_record r;
	struct endpoint y;

	BED();
	map(ALICE, 5000);
	for (unsigned i = 1; i < UPKEEP_WALK + 1; i++) // one more than a slice
		pass_out(udp(at(ALICE, 5000), at(S2, 1000 + i)));
	bed_wait(200);
	y = map(BOB, 5000);
	bed_wait_ms(99000);
	walk = bed_walk_start(0, CGN_WALK_CLEAR_MAPPINGS,
		&(struct cgn_filter){.by_subscriber = true, .subscriber = ALICE});
	bed_poll(0);
	assert_int_equal(bed.worker[0]->flows.n_used, 2); // one of Alice's is left
	bed.now_ns += 5000000000ull; // and runs out
	bed_poll(0);
	bed_run();
	assert_true(bed_walk_take(walk, &r));
	assert_int_equal(gauge(sessions), 1);
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), y))), at(BOB, 5000));
	assert_true(atomic_load(&walk->released));
	free(walk);
}

BED_MAIN(TEST(every_record_comes_with_all_that_is_known), TEST(filters_choose),
	TEST(a_subscriber_is_found_by_all_addresses),
	TEST(a_long_walk_meets_each_record_once_while_packets_flow),
	TEST(a_reader_that_does_not_read_stops_the_walk_and_not_the_worker),
	TEST(clear_sessions_ends_what_the_filter_names),
	TEST(clear_mappings_ends_them_with_all_their_sessions),
	TEST(a_mapping_that_ends_while_it_is_cleared_takes_no_other_along))
