// SPDX-License-Identifier: BSD-3-Clause
// Fill to full: every table is used to its last place, what does not fit is refused for a reason of its
// own and counted to the packet, and once it has drained it can be filled as far again. That nothing
// stays behind is checked at the end of each test (leaks.h). Tables with one limit and one worker are
// filled in the tests of what they serve: test_blocks.c, test_frag.c, test_static.c and so on.
#include "pieces.h"
#include "claims.h"
#include "fragmap.h"
#include "snapshot.h"
#include <stdio.h>

#define POLICY(keys) \
	"  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p" keys "}"
#define SILENT "icmp: {refused: off}\n"
#define ESP 50
#define HOST(i) (0x64400000u + (i) + 1)
#define ADDRESSES_MAX 4

static bool seen[CGN_L4_COUNT][ADDRESSES_MAX][65536];

static struct frame packet(enum cgn_l4 l4, uint32_t host, unsigned port)
{
	return l4 == CGN_L4_UDP	   ? udp(at(host, port), at(S1, 53))
		: l4 == CGN_L4_TCP ? tcp(at(host, port), at(S1, 53), TCP_SYN)
				   : echo(at(host, port), S1);
}

// What a packet that finds no port is counted as: 1, or 0 for one that went out. The endpoint is new.
static unsigned open_or_refuse(
	enum cgn_l4 l4, uint32_t host, unsigned port, struct cgn_counters *sum)
{
	const struct cgn_counters before = *sum;
	uint64_t drops = 0, of_ports = 0;
	struct endpoint x;
	struct frame f;
	bool came_out;

	bed_put(INSIDE, packet(l4, host, port));
	bed_run();
	*sum = bed_sum();
	came_out = bed_take(OUTSIDE, &f);
	bed_expect_nothing();
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		drops += sum->drops[i] - before.drops[i];
	assert_int_equal(drops, !came_out);
	assert_int_equal(sum->mappings_created - before.mappings_created, came_out);
	if (!came_out) {
		of_ports = sum->drops[CGN_DROP_ADDRESS_FULL] + sum->drops[CGN_DROP_POOL_FULL] -
			before.drops[CGN_DROP_ADDRESS_FULL] - before.drops[CGN_DROP_POOL_FULL];
		assert_int_equal(of_ports, 1);
		assert_int_equal(sum->blocks_allocated, before.blocks_allocated);
		return 1;
	}
	x = source_of(f);
	assert_in_range(x.address, X1, X1 + ADDRESSES_MAX - 1);
	assert_false(seen[l4][x.address - X1][x.port]); // RFC 4787 REQ-3: one port, one host
	seen[l4][x.address - X1][x.port] = true;
	return 0;
}

// Every host takes all it gets, twice over. Returns how many ports of this kind were given.
static unsigned fill(enum cgn_l4 l4, unsigned n_hosts, unsigned ports_max)
{
	struct cgn_counters sum = bed_sum();
	unsigned n = 0;

	for (unsigned h = 0; h < n_hosts; h++) {
		unsigned i = 0;

		while (!open_or_refuse(l4, HOST(h), 1000 + i, &sum)) {
			i++;
			n++;
			assert_true(n <= ports_max);
		}
		assert_int_equal(open_or_refuse(l4, HOST(h), 60000, &sum), 1);
	}
	return n;
}

static void all_ended(void)
{
	for (unsigned i = 0; i < 600 && (gauge(sessions) || gauge(blocks_held)); i++)
		bed_wait_ms(1000);
	assert_int_equal(gauge(sessions), 0);
	assert_int_equal(gauge(subscribers), 0);
	assert_int_equal(gauge(pools[0].ports_used), 0);
}

// RFC 6888 REQ-13: an address has its ports three times, whoever lends them; addresses that several workers
// share are lent to the last port of the last block, too. 13 blocks do not divide by the workers.
static void every_port_of_the_pool_is_lent_once(void **state)
{
	for (unsigned workers = 1; workers <= 4; workers++) {
		BED(.workers = workers, .spread = workers > 1, .subscribers = 400,
			.sessions = 16384,
			.pools =
				"  - {name: p, addresses: [203.0.113.1-203.0.113.3], ports: 1024-1231,"
				" block-size: 16, max-blocks: 64}",
			.more = SILENT);
		for (unsigned round = 0; round < 2; round++) {
			memset(seen, 0, sizeof(seen));
			assert_int_equal(fill(CGN_L4_UDP, 60, 624), 624);
			assert_int_equal(gauge(blocks), 39);
			assert_int_equal(gauge(pools[0].blocks_used), gauge(pools[0].blocks_total));
			assert_int_equal(fill(CGN_L4_TCP, 60, 624), 624);
			assert_int_equal(fill(CGN_L4_ICMP, 60, 624), 624);
			assert_int_equal(gauge(pools[0].ports_used), 3 * 624);
			all_ended();
		}
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// RFC 7422: preset ports and the overflow blocks behind them are the whole pool, by each algorithm.
// 30 subscribers have 16 ports each, on two addresses of 512.
static void preset_and_overflow_ports_are_the_whole_pool(void **state)
{
	static const char *const algorithms[] = {"sequential", "staggered", "round-robin",
		"interlaced", "cryptographic, key: 000102030405060708090a0b0c0d0e0f"};
	char pools[300];

	for (unsigned a = 0; a < 5; a++)
		for (unsigned workers = 1; workers <= 3; workers++) {
			snprintf(pools, sizeof(pools),
				"  - {name: p, addresses: [203.0.113.1-203.0.113.2], ports: 1024-1535,"
				" block-size: 16, max-blocks: 64, allocation: deterministic,"
				" deterministic: {ports: 16, algorithm: %s}}",
				algorithms[a]);
			BED(.workers = workers, .spread = workers > 1, .sessions = 8192,
				.pools = pools,
				.policies = "  - {name: home, match: {source: [100.64.0.0/27]}}",
				.more = SILENT);
			for (unsigned round = 0; round < 2; round++) {
				memset(seen, 0, sizeof(seen));
				assert_int_equal(fill(CGN_L4_UDP, 30, 1024), 1024);
				assert_int_equal(gauge(pools[0].presets_used), 30);
				assert_int_equal(gauge(blocks), 30 + 34);
				all_ended();
			}
			assert_int_equal(bed_teardown(NULL), 0);
		}
}

// The place of resting ports is half as large as the session table: what was used before that rests no longer.
static void the_store_of_resting_ports_is_exact(void **state)
{
	for (unsigned workers = 1; workers <= 2; workers++) {
		const unsigned n = 64 * workers;
		unsigned n_mine = 0;

		BED(.workers = workers, .sessions = n,
			.more = "timeouts: {hold-down: 5000}\n" SILENT);
		for (unsigned round = 1; round <= 3; round++) {
			// every worker to its last session
			for (unsigned h = 0; gauge(sessions) < n; h++) {
				bed_put(INSIDE,
					udp(at(HOST(100 * round + h % 40), 1000 + h / 40),
						at(S1, 53)));
				bed_run();
				n_mine++;
				assert_true(h < 1000);
			}
			assert_int_equal(bed_sum().mappings_created, round * n);
			assert_int_equal(bed_sum().drops[CGN_DROP_SESSION_TABLE_FULL] +
					bed_sum().mappings_created,
				n_mine);
			bed_wait(303);
			assert_int_equal(gauge(sessions), 0);
			assert_int_equal(gauge(ports_resting), n / 2);
			assert_int_equal(bed_sum().rests_cut_short, round * n - n / 2);
		}
		while (bed_waiting(OUTSIDE)) {
			struct frame f;

			bed_take(OUTSIDE, &f);
		}
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// max-subscribers counts those who have a block; as many again may have resting ones.
static void resting_subscribers_have_room_of_their_own(void **state)
{
	BED(.subscribers = 2, .more = "timeouts: {hold-down: 2000}\n" SILENT);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < 2; i++)
			pass_out(udp(at(HOST(2 * round + i), 1), at(S1, 53)));
		refuse_out(udp(at(HOST(9), 1), at(S1, 53)), CGN_DROP_SUBSCRIBER_TABLE_FULL);
		bed_wait(303);
		assert_int_equal(gauge(subscribers), 0);
		assert_int_equal(gauge(blocks_held), 2 * (round + 1));
	}
	refuse_out(udp(at(HOST(9), 1), at(S1, 53)), CGN_DROP_SUBSCRIBER_TABLE_FULL);
	pass_out(udp(at(HOST(0), 1), at(S1, 53))); // those who rest may come back
	pass_out(udp(at(HOST(3), 1), at(S1, 53)));
	refuse_out(udp(at(HOST(1), 1), at(S1, 53)), CGN_DROP_SUBSCRIBER_TABLE_FULL);
	COUNTED(.rx_packets = 10, .tx_packets = 6, .translated_outbound = 6, .mappings_created = 6,
		.sessions_created = 6, .mappings_expired = 4, .sessions_expired = 4,
		.subscribers_created = 6, .blocks_allocated = 6, .blocks_released = 4,
		.ports_reclaimed = 2, .drops[CGN_DROP_SUBSCRIBER_TABLE_FULL] = 4);
	bed_wait(2310);
	assert_int_equal(gauge(blocks_held), 0);
	pass_out(udp(at(HOST(9), 1), at(S1, 53)));
}

// Who has a remote of a portless protocol on an address that two workers share.
static void claims_fill_up_and_are_given_back(void **state)
{
	struct claims *c;
	uint32_t host = HOST(0), n = 0;

	BED(.workers = 2, .policies = POLICY(", portless-protocols: [esp]"),
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}", .more = SILENT);
	while (steer_internal(bed.worker[0]->snapshot, host))
		host++;
	c = bed.worker[0]->claims;
	pass_out(udp(at(host, 1), at(S1, 53))); // has a block
	for (; claims_count(c, 0) < CLAIMS_BUCKETS * CLAIMS_SLOTS; n++)
		claims_take(c, 0, FLOW_KEY(htonl(n), 0, ESP), htonl(S2));
	refuse_out(ip_packet(host, S1, ESP, 40), CGN_DROP_PORTLESS_FULL);
	refuse_out(ip_packet(host, S2, ESP, 40), CGN_DROP_PORTLESS_FULL);
	assert_int_equal(gauge(pools[0].ports_used), 1);
	COUNTED(.rx_packets = 3, .tx_packets = 1, .translated_outbound = 1, .mappings_created = 1,
		.sessions_created = 1, .subscribers_created = 1, .blocks_allocated = 1,
		.drops[CGN_DROP_PORTLESS_FULL] = 2);
	for (uint32_t i = 0; i < n; i++) {
		if (claims_find(c, FLOW_KEY(htonl(i), 0, ESP), htonl(S2)) == 0)
			claims_give(c, 0, FLOW_KEY(htonl(i), 0, ESP), htonl(S2));
	}
	assert_int_equal(claims_count(c, 0), 0);
	for (unsigned i = 0; i < 64; i++) // and then to the last session of the worker
		pass_out(ip_packet(host, S1 + i, ESP, 40));
	assert_int_equal(claims_count(c, 0), 64);
	refuse_out(ip_packet(host, S1 + 64, ESP, 40), CGN_DROP_PORTLESS_FULL);
	pass_out(ip_packet(host, S1 + 63, ESP, 40));
	bed_wait(303);
	assert_int_equal(claims_count(c, 0), 0);
}

// Packets wait for one neighbour up to a limit, and for all of them up to another.
static void the_places_of_packets_that_wait_for_neighbours_are_exact(void **state)
{
	const uint32_t first = 0x0a000064; // 10.0.0.100
	const unsigned n_hosts = NEIGH_WAITING_MAX / NEIGH_WAIT_MAX;
	struct frame f;

	for (unsigned answered = 0; answered < 2; answered++) {
		BED(.manual_arp = true, .outside = "addresses: [10.0.0.1/16]",
			.inside = "addresses: [100.64.0.1/10], icmp-errors: false",
			.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
		f = arp_reply(ALICE, (uint8_t[]){2, 0, 0, 0, 0, INSIDE}, 0x64400001);
		bed_put_raw(INSIDE, &f);
		for (unsigned i = 0; i < n_hosts; i++) {
			for (unsigned k = 0; k < NEIGH_WAIT_MAX; k++)
				bed_put(INSIDE, udp(at(ALICE, 1), at(first + i, 1 + k)));
			bed_run();
			assert_int_equal(gauge(held), (i + 1) * NEIGH_WAIT_MAX);
			if (i % 20 == 0) {
				bed_put(INSIDE, udp(at(ALICE, 1), at(first + i, 1)));
				bed_run();
			}
		}
		assert_int_equal(
			bed_sum().drops[CGN_DROP_NEIGHBOUR_QUEUE_FULL], (n_hosts + 19) / 20);
		bed_put(INSIDE,
			udp(at(ALICE, 1), at(first + n_hosts, 1))); // the first for this one
		bed_run();
		assert_int_equal(
			bed_sum().drops[CGN_DROP_NEIGHBOUR_QUEUE_FULL], (n_hosts + 19) / 20 + 1);
		assert_int_equal(gauge(held), NEIGH_WAITING_MAX);
		while (bed_take(OUTSIDE, &f))
			assert_int_equal(f.b[13], 6); // ARP requests
		for (unsigned i = 0; answered && i < n_hosts; i++) {
			uint8_t mac[6] = {2, 0, 0, 0, 0, OUTSIDE};

			f = arp_reply(first + i, mac, 0x0a000001);
			bed_put_raw(OUTSIDE, &f);
			bed_run();
			assert_int_equal(bed_waiting(OUTSIDE), NEIGH_WAIT_MAX * (i + 1));
		}
		for (unsigned i = 0; !answered && i < 6; i++) {
			bed_wait(1);
			for (unsigned j = 0; j < 70; j++)
				bed_poll(0);
		}
		assert_int_equal(gauge(held), 0);
		if (!answered)
			assert_int_equal(
				bed_sum().drops[CGN_DROP_NEIGHBOUR_UNRESOLVED], NEIGH_WAITING_MAX);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static struct frame piece_of(uint32_t from, unsigned id, unsigned first)
{
	const struct frame f = with_size(udp(at(from, 9), at(X1, 5000)), 828);

	return part(with_id(f, id), first, 800);
}

// Fragments to an address that two workers share wait where they came in, until the first one tells
// whose they are; each worker has its own room for them.
static void fragments_of_a_shared_address_have_their_limits(void **state)
{
	const unsigned n = 3000, n_first = 12000;
	struct cgn_counters sum;

	BED(.workers = 2, .spread = true,
		.pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	for (unsigned i = 0; i < n; i++) {
		bed_put(OUTSIDE, piece_of(S1 + i % 1000, i, 400));
		bed_run();
	}
	assert_int_equal(gauge(fragments_held), 2 * FRAG_HELD_MAX);
	assert_int_equal(bed_sum().drops[CGN_DROP_FRAG_STORE_FULL], n - 2 * FRAG_HELD_MAX);
	bed_wait(3);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(gauge(fragmented_datagrams), 0);
	COUNTED(.rx_packets = n, .handoffs = bed_sum().handoffs,
		.drops[CGN_DROP_FRAG_STORE_FULL] = n - 2 * FRAG_HELD_MAX,
		.drops[CGN_DROP_FRAG_NO_HEAD] = 2 * FRAG_HELD_MAX);
	for (unsigned i = 0; i < n_first;
		i++) { // first ones, of datagrams that nobody holds a port for
		bed_put(OUTSIDE,
			part(with_id(with_size(udp(at(S1 + i % 1000, 9), at(X1, 5000)), 828), i), 0,
				400));
		bed_run();
	}
	sum = bed_sum();
	assert_int_equal(sum.drops[CGN_DROP_NO_MAPPING] + sum.drops[CGN_DROP_FRAG_STORE_FULL] -
			(n - 2 * FRAG_HELD_MAX),
		n_first);
	assert_in_range(sum.drops[CGN_DROP_NO_MAPPING], 1, 2 * FRAG_DATAGRAMS_MAX);
	assert_in_range(gauge(fragmented_datagrams), FRAG_DATAGRAMS_MAX, 2 * FRAG_DATAGRAMS_MAX);
	bed_wait(3);
	assert_int_equal(gauge(fragmented_datagrams), 0);
}

BED_MAIN(TEST(every_port_of_the_pool_is_lent_once),
	TEST(preset_and_overflow_ports_are_the_whole_pool),
	TEST(the_store_of_resting_ports_is_exact), TEST(resting_subscribers_have_room_of_their_own),
	TEST(claims_fill_up_and_are_given_back),
	TEST(the_places_of_packets_that_wait_for_neighbours_are_exact),
	TEST(fragments_of_a_shared_address_have_their_limits))
