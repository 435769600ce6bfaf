// SPDX-License-Identifier: BSD-3-Clause
// What was in use when the daemon ended rests at the next start (RFC 6888 REQ-8).
#include <stdlib.h>
#include <time.h>
#include "bed.h"

#define RECORDS 4096 // more than any pool here has
#define ONE_BLOCK "  - {name: p, addresses: [203.0.113.1], ports: 1024-1087, block-size: 64}"
#define HALVES \
	"  - {name: p, addresses: [203.0.113.1], ports: 1024-1087, block-size: 32, max-blocks: 1}"

static struct cgn_block_record now[RECORDS], then[RECORDS];
static struct cgn_block_memory memory;

static void start(const char *pools, unsigned n_before)
{
	memset(now, 0, sizeof(now));
	memory = (struct cgn_block_memory){now, RECORDS, then, n_before};
	BED(.pools = pools, .memory = &memory);
}

// The process is gone: what the block table's memory says at this moment is all that is left.
static void crash(void **state)
{
	memcpy(then, now, sizeof(then));
	bed_teardown(state);
}

static void record(enum cgn_block_state block_state, uint32_t subscriber, int64_t age)
{
	then[0] = (struct cgn_block_record){
		X1, subscriber, 1024, 1087, block_state, 0, time(NULL) - age};
}

static struct frame from(uint32_t host)
{
	return udp(at(host, 5000), at(S1, 53));
}

static void refused(uint32_t host, enum cgn_drop reason)
{
	const uint64_t before = bed_sum().drops[reason];

	bed_put(INSIDE, from(host));
	bed_run();
	bed_expect(INSIDE); // ICMP 3/1
	bed_expect_nothing();
	assert_int_equal(bed_sum().drops[reason], before + 1);
}

static void the_memory_follows_the_life_of_a_block(void **state)
{
	start(ONE_BLOCK, 0);
	assert_int_equal(now[0].state, CGN_BLOCK_FREE);
	pass_out(from(ALICE));
	assert_int_equal(now[0].state, CGN_BLOCK_LENT);
	assert_int_equal(now[0].subscriber, ALICE);
	assert_int_equal(now[0].external, X1);
	assert_int_equal(now[0].first_port, 1024);
	assert_int_equal(now[0].last_port, 1087);
	bed_wait(302);
	assert_int_equal(now[0].state, CGN_BLOCK_RESTING);
	assert_int_equal(now[0].subscriber, ALICE);
	bed_wait(123);
	assert_int_equal(now[0].state, CGN_BLOCK_FREE);
}

static void a_lent_block_rests_after_a_crash(void **state)
{
	start(ONE_BLOCK, 0);
	pass_out(from(ALICE));
	crash(state);

	start(ONE_BLOCK, RECORDS);
	assert_int_equal(gauge(blocks_held), 1);
	assert_int_equal(gauge(subscribers), 0);
	refused(BOB, CGN_DROP_POOL_FULL);
	bed_wait(119);
	refused(BOB, CGN_DROP_POOL_FULL);
	bed_wait(3);
	assert_int_equal(gauge(blocks_held), 0);
	pass_out(from(BOB));
	assert_int_equal(now[0].subscriber, BOB);
}

static void its_subscriber_gets_it_back_at_once(void **state)
{
	start(ONE_BLOCK, 0);
	pass_out(from(ALICE));
	crash(state);

	start(ONE_BLOCK, RECORDS);
	assert_int_equal(source_of(pass_out(from(ALICE))).address, X1);
	assert_int_equal(gauge(blocks_held), 0);
	assert_int_equal(now[0].state, CGN_BLOCK_LENT);
}

#define TWO_ADDRESSES(more) \
	"  - {name: p, addresses: [203.0.113.1-203.0.113.2], ports: 1024-1039, block-size: 16" more \
	"}"

// Blocks of another address than the paired one come back only where the pool still pairs softly
static void blocks_of_several_addresses_come_back(void **state)
{
	static const char *const pools[] = {TWO_ADDRESSES(", soft-app: true"), TWO_ADDRESSES("")};

	for (unsigned soft = 0; soft < 2; soft++) {
		start(TWO_ADDRESSES(", soft-app: true"), 0);
		for (unsigned i = 0; i < 32; i++)
			pass_out(udp(at(ALICE, 5000 + i), at(S1, 53)));
		crash(state);

		start(pools[soft], RECORDS);
		assert_int_equal(gauge(blocks_held), 2);
		for (unsigned i = 0; i < 16; i++)
			pass_out(udp(at(ALICE, 5000 + i), at(S1, 53)));
		if (!soft) {
			for (unsigned i = 16; i < 32; i++)
				pass_out(udp(at(ALICE, 5000 + i), at(S1, 53)));
			assert_int_equal(gauge(blocks_held), 0);
		} else {
			bed_put(INSIDE, udp(at(ALICE, 6000), at(S1, 53)));
			bed_run();
			bed_expect(INSIDE);
			assert_int_equal(bed_sum().drops[CGN_DROP_ADDRESS_FULL], 1);
			assert_int_equal(gauge(blocks_held), 1);
		}
		bed_teardown(state);
	}
}

static void a_second_crash_forgets_nothing(void **state)
{
	start(ONE_BLOCK, 0);
	pass_out(from(ALICE));
	crash(state);
	start(ONE_BLOCK, RECORDS);
	crash(state);

	start(ONE_BLOCK, RECORDS);
	refused(BOB, CGN_DROP_POOL_FULL);
	pass_out(from(ALICE));
}

static void blocks_that_are_cut_otherwise_rest_for_everybody(void **state)
{
	start(ONE_BLOCK, 0);
	pass_out(from(ALICE));
	crash(state);

	start(HALVES, RECORDS);
	assert_int_equal(gauge(blocks_held), 2);
	refused(ALICE, CGN_DROP_POOL_FULL);
	refused(BOB, CGN_DROP_POOL_FULL);
	bed_wait(122);
	pass_out(from(ALICE));
	pass_out(from(BOB));
}

static void a_resting_block_goes_on_from_where_it_was(void **state)
{
	record(CGN_BLOCK_RESTING, ALICE, 100);
	start(ONE_BLOCK, 1);
	refused(BOB, CGN_DROP_POOL_FULL);
	bed_wait(23);
	pass_out(from(BOB));
}

static void a_block_that_has_rested_is_free(void **state)
{
	record(CGN_BLOCK_RESTING, ALICE, 200);
	start(ONE_BLOCK, 1);
	assert_int_equal(gauge(blocks_held), 0);
	pass_out(from(BOB));
}

static void a_clock_that_went_back_makes_it_rest_in_full(void **state)
{
	record(CGN_BLOCK_RESTING, ALICE, -3600);
	start(ONE_BLOCK, 1);
	bed_wait(119);
	refused(BOB, CGN_DROP_POOL_FULL);
	bed_wait(3);
	pass_out(from(BOB));
}

static void nonsense_does_no_harm(void **state)
{
	srand(7);
	for (unsigned i = 0; i < 64; i++) {
		for (unsigned j = 0; j < sizeof(then[i]); j++)
			((uint8_t *)&then[i])[j] = (uint8_t)rand();
		then[i].state %= 4;
		if (i % 2)
			then[i].external = X1;
	}
	then[0] = (struct cgn_block_record){X1, ALICE, 65535, 65535, CGN_BLOCK_LENT, 0, 0};
	then[1] = (struct cgn_block_record){X1, ALICE, 0, 65535, CGN_BLOCK_LENT, 0, 0};
	start(NULL, 64);
	pass_out(from(BOB)); // there are other addresses
}

static void an_overlap_of_a_few_ports_is_seen(void **state)
{
	then[0] = (struct cgn_block_record){X1, ALICE, 1020, 1083, CGN_BLOCK_LENT, 0, time(NULL)};
	start("  - {name: p, addresses: [203.0.113.1], ports: 1080-1143, block-size: 64}", 1);
	assert_int_equal(gauge(blocks_held), 1);
	refused(BOB, CGN_DROP_POOL_FULL);
}

static void a_restart_does_not_make_it_rest_anew(void **state)
{
	record(CGN_BLOCK_RESTING, ALICE, 100);
	start(ONE_BLOCK, 1);
	assert_in_range(time(NULL) - now[0].since, 99, 102);
}

// By the plan it has preset ports on 203.0.113.1, so what the last run lent it of 203.0.113.2 is not its any
// more: it rests for nobody, and no record of a subscriber without anything stays.
static void a_block_of_an_address_that_is_no_longer_ones_own_makes_no_subscriber(void **state)
{
	const struct subscribers *s;

	then[0] = (struct cgn_block_record){
		X1 + 1, ALICE, 65520, 65535, CGN_BLOCK_LENT, 0, time(NULL)};
	memset(now, 0, sizeof(now));
	memory = (struct cgn_block_memory){now, sizeof(now) / sizeof(*now), then, 1};
	BED(.pools = "  - {name: p, addresses: [203.0.113.1-203.0.113.2], allocation: deterministic,"
		     " block-size: 16, max-blocks: 4, deterministic: {ports: 4032}}",
		.policies = "  - {name: a, match: {source: [100.64.0.0/27]}}", .memory = &memory);
	s = &bed.worker[0]->subscribers;
	assert_int_equal(gauge(blocks_held), 1);
	assert_int_equal(subscriber_lookup(s, ALICE, 0), SUBSCRIBER_NONE);
	assert_int_equal(s->n_records, 0);
	assert_int_equal(source_of(pass_out(from(ALICE))).address, X1); // its preset ports
	assert_int_equal(gauge(blocks_held), 1);
	bed_wait(123);
	assert_int_equal(gauge(blocks_held), 0);
	assert_int_equal(s->n_records, 1);
}

static void those_who_rest_leave_room_for_others(void **state)
{
	for (unsigned i = 0; i < 128; i++) {
		then[i] = (struct cgn_block_record){X1, CAROL + 1 + i, (uint16_t)(1024 + 64 * i),
			(uint16_t)(1024 + 64 * i + 63), CGN_BLOCK_LENT, 0, time(NULL)};
	}
	start(NULL, 128);
	assert_int_equal(gauge(blocks_held), 128);
	pass_out(from(ALICE)); // max-subscribers is 64
}

static void workers_restore_their_own_blocks(void **state)
{
	static const char pools[] =
		"  - {name: p, addresses: [203.0.113.1, 203.0.113.2], ports: 1024-1151, block-size: 64}";
	unsigned lent = 0;

	memset(now, 0, sizeof(now));
	memory = (struct cgn_block_memory){now, RECORDS, then, 0};
	BED(.workers = 2, .pools = pools, .memory = &memory);
	pass_out(from(ALICE));
	pass_out(from(BOB));
	pass_out(from(CAROL));
	for (unsigned i = 0; i < RECORDS; i++)
		lent += now[i].state == CGN_BLOCK_LENT;
	assert_int_equal(lent, 3);
	crash(state);

	memset(now, 0, sizeof(now));
	memory = (struct cgn_block_memory){now, RECORDS, then, RECORDS};
	BED(.workers = 2, .pools = pools, .memory = &memory);
	assert_int_equal(gauge(blocks_held), 3);
	pass_out(from(CAROL));
	pass_out(from(BOB));
	pass_out(from(ALICE));
	assert_int_equal(gauge(blocks_held), 0);
	for (unsigned i = 0; i < RECORDS; i++) {
		assert_int_equal(now[i].state == CGN_BLOCK_LENT, then[i].state == CGN_BLOCK_LENT);
		if (now[i].state == CGN_BLOCK_LENT)
			assert_int_equal(now[i].subscriber, then[i].subscriber);
	}
}

BED_MAIN(TEST(the_memory_follows_the_life_of_a_block), TEST(a_lent_block_rests_after_a_crash),
	TEST(its_subscriber_gets_it_back_at_once), TEST(blocks_of_several_addresses_come_back),
	TEST(a_second_crash_forgets_nothing),
	TEST(blocks_that_are_cut_otherwise_rest_for_everybody),
	TEST(a_resting_block_goes_on_from_where_it_was), TEST(a_block_that_has_rested_is_free),
	TEST(a_clock_that_went_back_makes_it_rest_in_full), TEST(nonsense_does_no_harm),
	TEST(an_overlap_of_a_few_ports_is_seen), TEST(a_restart_does_not_make_it_rest_anew),
	TEST(a_block_of_an_address_that_is_no_longer_ones_own_makes_no_subscriber),
	TEST(those_who_rest_leave_room_for_others), TEST(workers_restore_their_own_blocks))
