// SPDX-License-Identifier: BSD-3-Clause
// Deterministic allocation as packets see it (RFC 7422): preset ports first, overflow blocks behind.
#include <time.h>
#include "pieces.h"
#include "snapshot.h"

#define HOST(i) (0x64400000u + (i))
#define POOL(address, text) \
	"  - {name: p, addresses: [" address "], allocation: deterministic, " text "}"
#define POLICY(sources) "  - {name: home, match: {source: [" sources "]}}"
#define EACH_ALGORITHM \
	{ \
		"sequential", "staggered", "round-robin", "interlaced", \
			"cryptographic, key: 000102030405060708090a0b0c0d0e0f" \
	}

static struct endpoint map(uint32_t host, unsigned port)
{
	return source_of(pass_out(udp(at(host, port), at(S1, 53))));
}

static void refuse(struct frame f, enum cgn_drop reason)
{
	const uint64_t before = bed_sum().drops[reason];

	bed_put(INSIDE, f);
	bed_run();
	bed_is_error(bed_expect(INSIDE), 3, 1, US_INSIDE, source_of(f).address, f);
	bed_expect_nothing();
	assert_int_equal(bed_sum().drops[reason], before + 1);
}
#define refused(f, reason) (HERE(), refuse(f, reason))

// Whose an external endpoint is by the plan; 0: nobody's.
static uint32_t planned(struct endpoint x)
{
	const struct cgn_det *det = bed.worker[0]->snapshot->det[0];
	struct cgn_det_slot slot;
	uint32_t i;

	return cgn_det_find(det, cgn_det_external_number(det, x.address), x.port, &slot, &i)
		? cgn_det_subscriber(det, cgn_det_holder(det, slot))
		: 0;
}

// The example of RFC 7422 2.5 with the subscribers 100.64.0.1-.14: .2 has 5056-9087, the dynamic
// ports begin with 57472, and nobody has more than 5040.
#define EXAMPLE \
	.pools = POOL( \
		"203.0.113.1", "block-size: 16, max-blocks: 64, deterministic: {ports: 4032}"), \
	.policies = POLICY("100.64.0.0/28"), .sessions = 32768

static void the_example_of_the_rfc_to_the_last_port(void **state) // RFC 7422 2.2, 2.5
{
	static bool seen[65536];
	unsigned rising = 0, last = 0;

	memset(seen, 0, sizeof(seen));
	BED(EXAMPLE);
	for (unsigned i = 0; i < 4032; i++) {
		const struct endpoint x = map(HOST(2), 1000 + i);

		assert_in_range(x.port, 5056, 9087);
		assert_int_equal(x.address, X1);
		assert_false(seen[x.port]);
		seen[x.port] = true;
		rising += x.port > last;
		last = x.port;
	}
	assert_in_range(rising, 4032 / 4, 4032 * 3 / 4); // at random
	COUNTED(.rx_packets = 4032, .tx_packets = 4032, .translated_outbound = 4032,
		.mappings_created = 4032, .sessions_created = 4032, .subscribers_created = 1);
	for (unsigned i = 0; i < 1008; i++) { // 63 blocks
		const struct endpoint x = map(HOST(2), 10000 + i);

		assert_in_range(x.port, 57472, 65535);
		assert_false(seen[x.port]);
		seen[x.port] = true;
		assert_int_equal(bed_sum().blocks_allocated, 1 + i / 16);
	}
	refused(udp(at(HOST(2), 20000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	assert_int_equal(gauge(blocks), 64);
	assert_int_equal(gauge(pools[0].ports_used), 5040);
	assert_int_equal(gauge(pools[0].blocks_total), 14 + 504);
	assert_int_equal(gauge(pools[0].presets_total), 14);
	assert_int_equal(gauge(pools[0].presets_used), 1);
	assert_in_range(map(HOST(1), 1000).port, 1024, 5055); // nobody else notices
	assert_in_range(map(HOST(14), 1000).port, 53440, 57471);
}

static void each_algorithm_gives_each_subscriber_its_ports_and_no_more(void **state)
{
	static const char *const algorithms[] = EACH_ALGORITHM;
	char pools[512];

	for (unsigned workers = 1; workers <= 3; workers += 2)
		for (unsigned a = 0; a < 5; a++) {
			unsigned overflow = 0;

			snprintf(pools, sizeof(pools),
				POOL("203.0.113.1-203.0.113.2",
					"ports: 2000-2999, block-size: 16, max-blocks: 2, reserved-ports: [2100-2103], deterministic: {ports: 48, algorithm: %s}"),
				algorithms[a]);
			BED(.pools = pools, .policies = POLICY("100.64.0.0/28"), .workers = workers,
				.spread = workers > 1);
			for (unsigned h = 1; h < 15; h++) {
				struct endpoint x = {0};

				for (unsigned i = 0; i < 48; i++) {
					x = map(HOST(h), 1000 + i);
					assert_int_equal(planned(x), HOST(h));
					assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))),
						at(HOST(h), 1000 + i));
				}
				pass_out(tcp(at(HOST(h), 1000), at(S1, 80), TCP_SYN));
				pass_out(echo(at(HOST(h), 1000), S1));
				assert_int_equal(bed_sum().blocks_allocated, overflow);
				for (unsigned i = 0; i < 16; i++) {
					const struct endpoint y = map(HOST(h), 2000 + i);

					assert_int_equal(planned(y), 0);
					assert_int_equal(y.address, x.address); // RFC 6888 REQ-2
					assert_endpoint(destination_of(pass_in(udp(at(S1, 53), y))),
						at(HOST(h), 2000 + i));
				}
				assert_int_equal(bed_sum().blocks_allocated, ++overflow);
				refused(udp(at(HOST(h), 3000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
			}
			assert_int_equal(gauge(subscribers), 14);
			assert_int_equal(gauge(pools[0].presets_used), 14);
			assert_int_equal(gauge(pools[0].ports_used), 14 * 66);
			assert_int_equal(bed_teardown(NULL), 0);
		}
}

static void the_owner_of_preset_ports_is_the_subscribers_worker(void **state)
{
	static const char *const algorithms[] = EACH_ALGORITHM;
	char pools[512];

	for (unsigned a = 0; a < 5; a++) {
		const struct snapshot *s;

		snprintf(pools, sizeof(pools),
			POOL("203.0.113.1-203.0.113.3",
				"deterministic: {ports: 512, algorithm: %s}"),
			algorithms[a]);
		BED(.pools = pools, .policies = POLICY("100.64.0.0/24"), .workers = 4);
		s = bed.worker[0]->snapshot;
		for (uint32_t address = X1; address < X1 + 3; address++) {
			unsigned n_of[4] = {0};

			for (unsigned port = 0; port < 65536; port += 7) {
				const uint32_t host = planned(at(address, port));
				const uint32_t owner = steer_external(s, address, (uint16_t)port);

				if (host)
					assert_int_equal(owner, steer_internal(s, host));
				else
					n_of[owner]++;
				assert_true(steer_is_split(s, address));
			}
			for (unsigned w = 0; w < 4; w++)
				assert_true(
					n_of[w] > 0); // each has overflow blocks of each address
		}
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void tcp_udp_and_icmp_have_number_spaces_of_their_own(void **state)
{
	BED(.pools = POOL("203.0.113.1", "max-blocks: 1, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.0/28"));
	for (unsigned i = 0; i < 16; i++) {
		map(ALICE, 5000 + i);
		pass_out(tcp(at(ALICE, 5000 + i), at(S1, 80), TCP_SYN));
		pass_out(echo(at(ALICE, 5000 + i), S1));
	}
	assert_int_equal(gauge(pools[0].ports_used), 48);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	refused(tcp(at(ALICE, 6000), at(S1, 53), TCP_SYN), CGN_DROP_BLOCK_LIMIT);
	refused(echo(at(ALICE, 6000), S1), CGN_DROP_BLOCK_LIMIT);
	assert_int_equal(gauge(blocks), 1);
	assert_int_equal(bed_sum().blocks_allocated, 0);
}

// Ports of a size whose bitmap is no whole number of words, and of one with words over words.
static void presets_of_any_size_fill_to_the_last_port(void **state)
{
	static const unsigned sizes[] = {16, 48, 64, 80, 512, 528, 4096, 4112, 5008};
	char pools[256];

	for (unsigned s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		snprintf(pools, sizeof(pools),
			POOL("203.0.113.1", "max-blocks: 1, deterministic: {ports: %u}"), sizes[s]);
		BED(.pools = pools, .policies = POLICY("100.64.0.5, 100.64.0.6"),
			.sessions = 16384);
		for (unsigned i = 0; i < sizes[s]; i++)
			assert_int_equal(planned(map(ALICE, 1000 + i)), ALICE);
		refused(udp(at(ALICE, 60000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void a_static_mapping_takes_its_port_from_the_range(void **state)
{
	BED(.pools = POOL("203.0.113.1-203.0.113.2",
		    "ports: 2000-2999, max-blocks: 1, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.5, 100.64.0.6, 100.64.0.7"),
		.more = "static-mappings:\n"
			"  - {name: web, internal: \"100.64.0.6:80\", external: \"203.0.113.1:2003\"}\n"
			"  - {name: all, internal: \"100.64.0.6:1000-1015\", external: \"203.0.113.1:2032-2047\"}\n"
			"  - {name: one, internal: 100.64.0.9, external: 203.0.113.2}\n");
	// one address is left: Alice has 2000-2015, Bob 2016-2031, Carol 2032-2047
	for (unsigned i = 0; i < 15; i++) {
		const struct endpoint x = map(ALICE, 5000 + i);

		assert_int_equal(planned(x), ALICE);
		assert_int_not_equal(x.port, 2003);
	}
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
	assert_int_equal(map(BOB, 80).port, 2003); // by the static mapping, in no range of his
	assert_int_equal(planned(map(BOB, 81)), BOB);
	refused(udp(at(CAROL, 6000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT); // nothing is left of hers
}

// They match the policy, but no preset ports are theirs.
static void boundary_addresses_have_overflow_blocks_alone(void **state)
{
	BED(.pools = POOL(
		    "203.0.113.1", "block-size: 16, max-blocks: 2, deterministic: {ports: 4032}"),
		.policies = POLICY("100.64.0.0/28"));
	for (unsigned i = 0; i < 32; i++)
		assert_in_range(map(HOST(i % 2 ? 0 : 15), 5000 + i).port, 57472, 65535);
	assert_int_equal(gauge(blocks), 2);
	assert_int_equal(gauge(pools[0].presets_used), 0);
	assert_int_equal(bed_sum().blocks_allocated, 2);
}

// RFC 7422 2.2: preset ports, as long as there are any
static void preset_ports_come_first_again_as_soon_as_one_is_free(void **state)
{
	struct endpoint x;

	BED(.pools = POOL("203.0.113.1", "block-size: 16, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.0/28"));
	for (unsigned i = 0; i < 16; i++)
		map(ALICE, 5000 + i);
	assert_int_equal(planned(map(ALICE, 6000)), 0);
	assert_int_equal(gauge(blocks), 2);
	for (unsigned s = 0; s < 302; s += 100) { // 6000 goes on, the others end
		bed_wait(100);
		map(ALICE, 6000);
	}
	assert_int_equal(gauge(mappings), 1);
	assert_int_equal(gauge(blocks), 1);
	assert_int_equal(gauge(pools[0].presets_held), 1);
	x = map(ALICE, 6001); // all preset ports rest
	assert_int_equal(planned(x), 0);
	assert_int_equal(planned(map(ALICE, 5003)), ALICE); // its own resting one
	for (unsigned s = 0; s < 200; s += 100) {
		bed_wait(100);
		map(ALICE, 6000);
		map(ALICE, 6001);
	}
	assert_int_equal(planned(map(ALICE, 6002)), ALICE);
	assert_int_equal(gauge(blocks), 2);
	assert_int_equal(bed_sum().blocks_allocated, 1);
}

// An endpoint whose overflow port rests gets a preset one, if there is one.
static void a_resting_overflow_port_does_not_win_over_a_preset_one(void **state)
{
	BED(.pools = POOL("203.0.113.1", "block-size: 16, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.0/28"),
		.more = "timeouts: {udp: 300, hold-down: 1000}\n");
	for (unsigned i = 0; i < 15; i++)
		map(ALICE, 5000 + i);
	map(ALICE, 5015);
	assert_int_equal(planned(map(ALICE, 6000)), 0);
	bed_wait(305);
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(planned(map(ALICE, 6000)), 0); // its own: all preset ports rest
	assert_int_equal(gauge(pools[0].presets_used), 0);
	bed_wait(305);
	bed_wait(700); // the preset ports have rested, that of 6000 not
	assert_int_equal(gauge(pools[0].blocks_held), 1);
	assert_int_equal(planned(map(ALICE, 6000)), ALICE);
}

static void a_resting_preset_range_keeps_the_subscriber_known(void **state)
{
	BED(.pools = POOL("203.0.113.1", "deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.0/28"));
	map(ALICE, 5000);
	bed_wait(302);
	assert_int_equal(gauge(subscribers), 0);
	assert_int_equal(gauge(blocks), 0);
	assert_int_equal(gauge(blocks_held), 1);
	assert_int_equal(bed.worker[0]->subscribers.n_records, 1);
	bed_wait(122);
	assert_int_equal(gauge(blocks_held), 0);
	assert_int_equal(bed.worker[0]->subscribers.n_records, 0);
	map(ALICE, 5000);
	COUNTED(.rx_packets = 2, .tx_packets = 2, .translated_outbound = 2, .mappings_created = 2,
		.sessions_created = 2, .mappings_expired = 1, .sessions_expired = 1,
		.subscribers_created = 2);
}

static void max_subscribers_holds_for_preset_ranges(void **state)
{
	BED(.pools = POOL("203.0.113.1", "deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.0/28"), .subscribers = 2);
	map(HOST(1), 5000);
	map(HOST(2), 5000);
	refused(udp(at(HOST(3), 5000), at(S1, 53)), CGN_DROP_SUBSCRIBER_TABLE_FULL);
	bed_wait(302);
	map(HOST(3), 5000);
}

// A share of the overflow blocks is for those who have none yet.
static void first_block_reserve_is_about_overflow_blocks(void **state)
{
	BED(.pools = POOL("203.0.113.1",
		    "ports: 2000-2095, block-size: 16, first-block-reserve: 50, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.5, 100.64.0.6"));
	for (unsigned i = 0; i < 16 + 32;
		i++) // 4 overflow blocks: two may be further ones, less the first
		map(ALICE, 5000 + i);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_FIRST_BLOCK_RESERVE);
	for (unsigned i = 0; i < 16 + 16; i++)
		map(BOB, 5000 + i);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_FIRST_BLOCK_RESERVE);
}

// Overflow of another address, preset ports of one's own (RFC 7857 4)
static void overflow_may_be_softly_paired(void **state)
{
	uint32_t own;

	BED(.pools = POOL("203.0.113.1, 203.0.113.2",
		    "ports: 2000-2031, block-size: 16, max-blocks: 4, soft-app: true, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.5, 100.64.0.6"));
	own = map(ALICE, 5000).address;
	for (unsigned i = 1; i < 32; i++)
		assert_int_equal(map(ALICE, 5000 + i).address, own);
	for (unsigned i = 32; i < 48; i++)
		assert_int_not_equal(map(ALICE, 5000 + i).address, own);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_POOL_FULL);
	for (unsigned i = 0; i < 16; i++) // BOB's preset ports are his
		assert_int_not_equal(map(BOB, 5000 + i).address, own);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_POOL_FULL);
	assert_int_equal(bed_sum().blocks_unpaired, 1);
}

static void a_full_overflow_is_refused_and_freed_again(void **state)
{
	BED(.pools = POOL("203.0.113.1",
		    "ports: 2000-2063, block-size: 16, max-blocks: 4, deterministic: {ports: 16}"),
		.policies = POLICY("100.64.0.5, 100.64.0.6"));
	for (unsigned i = 0; i < 48; i++)
		map(ALICE, 5000 + i);
	for (unsigned i = 0; i < 16; i++)
		map(BOB, 5000 + i);
	refused(udp(at(ALICE, 6000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
	assert_int_equal(gauge(pools[0].ports_used), 64);
	bed_wait(302);
	bed_wait(122);
	for (unsigned i = 0; i < 48; i++)
		map(BOB, 7000 + i);
	refused(udp(at(BOB, 6000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
}

// A datagram of 1200 bytes in three pieces, in the order told, put together again as it came out.
static struct frame in_pieces(unsigned from, unsigned to, struct frame f, const unsigned order[3])
{
	const struct frame piece[3] = {part(f, 0, 400), part(f, 400, 800), part(f, 800, 1180)};
	struct frame got[3];

	for (unsigned i = 0; i < 3; i++)
		bed_put(from, piece[order[i]]);
	bed_run();
	for (unsigned i = 0; i < 3; i++)
		got[i] = bed_expect(to);
	bed_expect_nothing();
	return whole_of(got, 3);
}

// Their ports tell whose they are, and fragments have none: all addresses of such a pool are split
static void hairpins_and_fragments_find_the_owner(void **state)
{
	static const unsigned orders[][3] = {{0, 1, 2}, {2, 1, 0}, {1, 2, 0}, {1, 0, 2}};
	unsigned n_of[3] = {0};

	for (unsigned overflow = 0; overflow < 2; overflow++) {
		BED(.workers = 3, .spread = true,
			.pools = POOL("203.0.113.1-203.0.113.2",
				"block-size: 16, deterministic: {ports: 16, algorithm: interlaced}"),
			.policies = POLICY("100.64.0.0/25"));
		for (unsigned h = 1; h < 30; h++) {
			const unsigned *order = orders[h % 4];
			struct endpoint x = {0}, y;
			struct frame f;

			for (unsigned i = 0; i <= 16 * overflow; i++) // the last one is of overflow
				x = map(HOST(h), 5000 + i);
			y = at(HOST(h), 5000 + 16 * overflow);
			n_of[steer_inbound(bed.worker[0]->snapshot,
				FLOW_KEY(htonl(x.address), htons(x.port), CGN_PROTO_UDP))]++;
			HERE();
			assert_endpoint(destination_of(hairpin(udp(at(HOST(h + 50), 99), x))), y);
			f = in_pieces(INSIDE, OUTSIDE, with_size(udp(y, at(S1, 53)), 1200), order);
			assert_endpoint(source_of(f), x);
			f = in_pieces(OUTSIDE, INSIDE,
				with_id(with_size(udp(at(S1, 53), x), 1200), h), order);
			assert_endpoint(destination_of(f), y);
			f = in_pieces(INSIDE, INSIDE,
				with_id(with_size(udp(at(HOST(h + 50), 99), x), 1200), h), order);
			assert_endpoint(destination_of(f), y);
		}
		assert_int_equal(bed_sum().hairpinned, 29 * 4);
		assert_int_equal(bed_teardown(NULL), 0);
	}
	assert_true(n_of[0] && n_of[1] && n_of[2]);
}

// ---- a pool beside others

static void a_subscriber_may_use_a_dynamic_pool_beside_it(void **state)
{
	struct endpoint x, y;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1], allocation: deterministic, deterministic: {ports: 64}}\n"
		     "  - {name: q, addresses: [203.0.113.2], block-size: 64}\n"
		     "  - {name: r, addresses: [203.0.113.3], allocation: deterministic, deterministic: {ports: 64, algorithm: staggered}}",
		.policies =
			"  - {name: a, pool: p, match: {source: [100.64.0.0/28], protocol: udp}}\n"
			"  - {name: b, pool: q, match: {source: [100.64.0.0/28], protocol: tcp, destination-ports: [80]}}\n"
			"  - {name: c, pool: r, match: {source: [100.64.0.0/28]}}");
	x = map(ALICE, 5000);
	assert_int_equal(planned(x), ALICE);
	y = source_of(pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN)));
	assert_int_equal(y.address, X1 + 1);
	y = source_of(pass_out(tcp(at(ALICE, 5001), at(S1, 443), TCP_SYN)));
	assert_int_equal(y.address, X1 + 2);
	assert_int_equal((y.port - 1024) % 14, 4);
	assert_int_equal(bed_sum().blocks_allocated, 1);
	assert_int_equal(gauge(pools[0].blocks_used), 1);
	assert_int_equal(gauge(pools[1].blocks_used), 1);
	assert_int_equal(gauge(pools[2].blocks_used), 1);
}

// ---- restarts

static struct cgn_block_record now[4096], then[4096];
static struct cgn_block_memory memory;

static void start(const char *pools, const char *policies, bool after_a_crash)
{
	memcpy(then, now, sizeof(then));
	memset(now, 0, sizeof(now));
	memory = (struct cgn_block_memory){now, 4096, then, after_a_crash ? 4096 : 0};
	BED(.pools = pools, .policies = policies, .memory = &memory);
}

// The process is gone; what it kept is as it was before the bed takes everything down.
static void crash(void)
{
	static struct cgn_block_record kept[4096];

	memcpy(kept, now, sizeof(kept));
	assert_int_equal(bed_teardown(NULL), 0);
	memcpy(now, kept, sizeof(now));
}

static void a_preset_range_does_not_rest_after_a_crash(void **state)
{
	static const char *const algorithms[] = EACH_ALGORITHM;
	char pools[256];

	for (unsigned a = 0; a < 5; a++) {
		snprintf(pools, sizeof(pools),
			POOL("203.0.113.1",
				"block-size: 16, max-blocks: 2, deterministic: {ports: 16, algorithm: %s}"),
			algorithms[a]);
		start(pools, POLICY("100.64.0.0/28"), false);
		for (unsigned i = 0; i < 17; i++)
			map(ALICE, 5000 + i);
		crash();
		start(pools, POLICY("100.64.0.0/28"), true);
		assert_int_equal(gauge(blocks_held), 1); // the overflow block
		assert_int_equal(gauge(pools[0].presets_held), 0);
		for (unsigned i = 0; i < 32; i++)
			map(ALICE, 5000 + i);
		assert_int_equal(gauge(blocks_held), 0); // it was hers
		crash();
	}
}

// RFC 6888 REQ-8: another plan may give the ports of one to another.
static void ports_that_change_hands_rest_after_a_crash(void **state)
{
	static const char *const algorithms[] = EACH_ALGORITHM;
	char pools[256];

	for (unsigned a = 0; a < 5; a++) {
		start(POOL("203.0.113.1",
			      "ports: 2000-2063, max-blocks: 1, deterministic: {ports: 16}"),
			POLICY("100.64.0.5, 100.64.0.6, 100.64.0.7"), false);
		map(ALICE, 5000);
		crash();
		snprintf(pools, sizeof(pools),
			POOL("203.0.113.1",
				"ports: 2000-2063, max-blocks: 1, deterministic: {ports: 16, algorithm: %s}"),
			algorithms[a]);
		start(pools, POLICY("100.64.0.6, 100.64.0.5, 100.64.0.7"), true);
		if (a == 0 || a == 2) { // one address: sequential and round-robin do the same
			assert_int_equal(gauge(pools[0].presets_held), 1);
			map(ALICE, 5000);
			map(CAROL, 5000);
		} else {
			assert_int_equal(gauge(pools[0].presets_held), 3);
			refused(udp(at(ALICE, 5000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
			refused(udp(at(CAROL, 5000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
		}
		refused(udp(at(BOB, 5000), at(S1, 53)), CGN_DROP_BLOCK_LIMIT);
		bed_wait(122);
		map(BOB, 5000);
		crash();
	}
}

static void blocks_of_a_dynamic_pool_rest_when_it_becomes_deterministic(void **state)
{
	start("  - {name: p, addresses: [203.0.113.1], ports: 2000-2063, block-size: 64}",
		POLICY("100.64.0.5, 100.64.0.6"), false);
	map(ALICE, 5000);
	crash();
	start(POOL("203.0.113.1", "ports: 2000-2063, block-size: 16, deterministic: {ports: 16}"),
		POLICY("100.64.0.5, 100.64.0.6"), true);
	assert_int_equal(gauge(blocks_held), 4);
	refused(udp(at(ALICE, 5000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
	refused(udp(at(BOB, 5000), at(S1, 53)), CGN_DROP_ADDRESS_FULL);
	bed_wait(122);
	map(ALICE, 5000);
	map(BOB, 5000);
}

static void and_the_other_way_round(void **state)
{
	start(POOL("203.0.113.1",
		      "ports: 2000-2063, block-size: 16, deterministic: {ports: 16, algorithm: staggered}"),
		POLICY("100.64.0.5, 100.64.0.6"), false);
	map(ALICE, 5000); // 2000, 2002, ... 2030
	crash();
	start("  - {name: p, addresses: [203.0.113.1], ports: 2000-2063, block-size: 16, max-blocks: 2}",
		POLICY("100.64.0.5, 100.64.0.6"), true);
	assert_int_equal(gauge(blocks_held), 2);
	assert_in_range(map(ALICE, 5000).port, 2032, 2063);
	bed_wait(122);
	assert_int_equal(gauge(blocks_held), 0);
}

BED_MAIN(TEST(the_example_of_the_rfc_to_the_last_port),
	TEST(each_algorithm_gives_each_subscriber_its_ports_and_no_more),
	TEST(the_owner_of_preset_ports_is_the_subscribers_worker),
	TEST(tcp_udp_and_icmp_have_number_spaces_of_their_own),
	TEST(presets_of_any_size_fill_to_the_last_port),
	TEST(a_static_mapping_takes_its_port_from_the_range),
	TEST(boundary_addresses_have_overflow_blocks_alone),
	TEST(preset_ports_come_first_again_as_soon_as_one_is_free),
	TEST(a_resting_overflow_port_does_not_win_over_a_preset_one),
	TEST(a_resting_preset_range_keeps_the_subscriber_known),
	TEST(max_subscribers_holds_for_preset_ranges),
	TEST(first_block_reserve_is_about_overflow_blocks), TEST(overflow_may_be_softly_paired),
	TEST(a_full_overflow_is_refused_and_freed_again),
	TEST(hairpins_and_fragments_find_the_owner),
	TEST(a_subscriber_may_use_a_dynamic_pool_beside_it),
	TEST(a_preset_range_does_not_rest_after_a_crash),
	TEST(ports_that_change_hands_rest_after_a_crash),
	TEST(blocks_of_a_dynamic_pool_rest_when_it_becomes_deterministic),
	TEST(and_the_other_way_round))
