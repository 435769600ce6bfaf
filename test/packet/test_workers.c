// SPDX-License-Identifier: BSD-3-Clause
// Several workers: who owns what, hand-offs, and what each of them knows of its neighbours.
#include "bed.h"
#include "flow.h"
#include "snapshot.h"

#define HOSTS 24
#define HOST(i) (0x64400000u + 17 * (i) + 1)

static unsigned flows_of(unsigned worker)
{
	return bed.worker[worker]->flows.n_used;
}

static void check_owners(void)
{
	for (unsigned w = 0; w < bed.n_workers; w++) {
		const struct flow_table *t = &bed.worker[w]->flows;

		for (uint32_t i = 0; i < t->top; i++) {
			const struct flow *f = &t->flow[i];

			if (!f->proto)
				continue;
			assert_int_equal(
				steer_internal(bed.worker[w]->snapshot, ntohl(f->int_addr)), w);
			assert_int_equal(steer_external(bed.worker[w]->snapshot, ntohl(f->ext_addr),
						 ntohs(f->ext_port)),
				w);
		}
	}
}

// Traffic of many hosts, either direction, with the owner known to nobody but the workers.
static void traffic(void)
{
	struct endpoint x[HOSTS];

	for (unsigned i = 0; i < HOSTS; i++) {
		x[i] = source_of(pass_out(udp(at(HOST(i), 5000), at(S1, 53))));
		pass_out(tcp(at(HOST(i), 5000), at(S1, 53), TCP_SYN));
		pass_out(echo(at(HOST(i), 5000), S1));
	}
	for (unsigned i = 0; i < HOSTS; i++) {
		const struct frame out = udp(x[i], at(S1, 53));

		assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x[i]))), at(HOST(i), 5000));
		assert_endpoint(destination_of(pass_in(udp(at(S2, 99), x[i]))), at(HOST(i), 5000));
		assert_error(pass_in(icmp_error(S2, x[i].address, 3, 3, &out, 8)), 3, 3, S2,
			HOST(i), udp(at(HOST(i), 5000), at(S1, 53)));
		for (unsigned j = 0; j < i; j++)
			assert_false(same_endpoint(x[i], x[j]));
	}
	check_owners();
	assert_int_equal(gauge(sessions), 4 * HOSTS);
	for (unsigned w = 0; w < bed.n_workers; w++)
		assert_true(flows_of(w) > 0);
}

static void every_flow_is_owned_by_one_worker(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		BED(.workers = n);
		traffic();
		assert_true(bed_sum().handoffs > 0);
		assert_true(bed_sum().handoffs <= 6 * HOSTS);
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void receive_queues_may_deal_packets_out_as_they_like(void **state)
{
	for (unsigned n = 2; n <= 4; n++) {
		BED(.workers = n, .spread = true);
		traffic();
		assert_int_equal(bed_teardown(NULL), 0);
	}
}

// Fewer addresses than workers: each has a range of ports of the same address.
static void workers_share_an_address_by_its_ports(void **state)
{
	BED(.workers = 3, .pools = "  - {name: p, addresses: [203.0.113.1], block-size: 64}");
	traffic();
	for (unsigned w = 0; w < 3; w++)
		assert_in_range(bed.worker[w]->blocks.pool[0].n_total, 1008 / 3 - 1, 1008 / 3 + 1);
	assert_int_equal(gauge(pools[0].blocks_total), 1008);
}

static void some_addresses_are_whole_and_the_rest_is_shared(void **state)
{
	BED(.workers = 2,
		.pools = "  - {name: p, addresses: [203.0.113.1-203.0.113.3], block-size: 64}");
	traffic();
	assert_int_equal(gauge(pools[0].blocks_total), 3 * 1008);
	assert_int_equal(bed.worker[0]->blocks.pool[0].n_total, 1008 + 504);
}

static void handoffs_are_counted_one_by_one(void **state)
{
	uint32_t host = HOST(0);

	BED(.workers = 2); // worker 0 receives inside, worker 1 outside
	while (steer_internal(bed.worker[0]->snapshot, host) != 1)
		host++;
	pass_out(udp(at(host, 5000), at(S1, 53)));
	COUNTED(.rx_packets = 1, .tx_packets = 1, .translated_outbound = 1, .handoffs = 1,
		.mappings_created = 1, .sessions_created = 1, .subscribers_created = 1,
		.blocks_allocated = 1);
	while (steer_internal(bed.worker[0]->snapshot, host) != 0)
		host++;
	pass_out(udp(at(host, 5000), at(S1, 53)));
	COUNTED(.rx_packets = 1, .tx_packets = 1, .translated_outbound = 1, .mappings_created = 1,
		.sessions_created = 1, .subscribers_created = 1, .blocks_allocated = 1);
}

// Where much is foreign, it is handed on before anything has looked at it. What that decides must be
// what the general path would: the same owner, and nothing that is not as usual.
static void what_is_plainly_anothers_leaves_early(void **state)
{
	static const uint8_t nop[4] = {1, 1, 1, 0};
	uint32_t host = HOST(0);
	struct endpoint x;

	BED(.workers = 2,
		.inside = "addresses: [10.255.0.1/24], routes: [{prefix: 100.64.0.0/10, via: "
			  "10.255.0.2}], vlan: 7");
	while (steer_internal(bed.worker[0]->snapshot, host) != 1)
		host++;
	pass_out(with_vlan(udp(at(host, 1), at(S1, 53)), 7));
	assert_true(bed.worker[0]->port[INSIDE].foreign);
	x = source_of(pass_out(with_vlan(udp(at(host, 2), at(S1, 53)), 7)));
	pass_out(with_vlan(tcp(at(host, 3), at(S1, 53), TCP_SYN), 7));
	assert_true(bed.worker[0]->port[INSIDE].foreign);
	pass_out(with_vlan(with_options(udp(at(host, 2), at(S1, 53)), nop, 4), 7));
	bed.worker[0]->port[INSIDE].foreign = true;
	pass_out(with_vlan(echo(at(host, 4), S1), 7));
	bed.worker[0]->port[INSIDE].foreign = true;
	refuse_out(udp(at(host, 2), at(S1, 53)), CGN_DROP_VLAN_MISMATCH);
	bed.worker[0]->port[INSIDE].foreign = true;
	refuse_out(with_vlan(with_ttl(udp(at(host, 2), at(0x7f000001, 53)), 9), 7),
		CGN_DROP_IP_DESTINATION);
	for (unsigned i = 0; i < 2; i++) {
		bed.worker[1]->port[OUTSIDE].foreign = true;
		assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))), at(host, 2));
	}
	while (steer_internal(bed.worker[0]->snapshot, host) != 0)
		host++;
	bed.worker[0]->port[INSIDE].foreign = true;
	x = source_of(pass_out(with_vlan(udp(at(host, 2), at(S1, 53)), 7)));
	assert_false(bed.worker[0]->port[INSIDE].foreign); // ours: no longer
	bed.worker[1]->port[OUTSIDE].foreign = true;
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))), at(host, 2));
	assert_true(bed.worker[1]->port[OUTSIDE].foreign);
}

static void a_full_ring_is_a_counted_drop(void **state)
{
	uint32_t host = HOST(0);

	BED(.workers = 2, .ring = 64);
	while (steer_internal(bed.worker[0]->snapshot, host) != 1)
		host++;
	for (unsigned i = 0; i < 200; i++)
		bed_put(INSIDE, udp(at(host, i), at(S1, 53)));
	bed_poll(0); // the other worker sleeps
	assert_int_equal(bed.worker[0]->counters.handoffs, 200);
	assert_int_equal(bed.worker[0]->counters.drops[CGN_DROP_HANDOFF_FULL], 200 - 63);
	bed_run();
	assert_int_equal(bed_waiting(OUTSIDE), 63);
	COUNTED(.rx_packets = 200, .tx_packets = 63, .translated_outbound = 63, .handoffs = 200,
		.mappings_created = 63, .sessions_created = 63, .subscribers_created = 1,
		.blocks_allocated = 1, .drops[CGN_DROP_HANDOFF_FULL] = 137);
}

static void packets_in_a_ring_are_held(void **state)
{
	uint32_t host = HOST(0);

	BED(.workers = 2);
	while (steer_internal(bed.worker[0]->snapshot, host) != 1)
		host++;
	for (unsigned i = 0; i < BATCH_MAX; i++)
		bed_put(INSIDE, udp(at(host, i), at(S1, 53)));
	bed_poll(0);
	for (unsigned i = 0; i < 100; i++)
		bed_put(INSIDE, udp(at(host, i), at(S1, 53)));
	bed_poll(0);
	bed_poll(1); // takes one burst
	assert_int_equal(gauge(held), 100);
	bed_run();
	assert_int_equal(gauge(held), 0);
}

// Fewer transmit queues than workers: the others hand their frames over.
static void a_worker_without_transmit_queue_uses_anothers(void **state)
{
	BED(.workers = 3, .tx_queues = 1);
	traffic();
	assert_true(bed_sum().tx_handoffs > 0);
	bed_put(INSIDE, with_ttl(udp(at(HOST(1), 1), at(S1, 53)), 1));
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, HOST(1),
		with_ttl(udp(at(HOST(1), 1), at(S1, 53)), 1));
}

static void every_worker_learns_from_an_arp_frame(void **state)
{
	const uint32_t host = 0xc0000264; // on the link outside
	struct frame f;

	BED(.workers = 4, .manual_arp = true);
	for (unsigned w = 0; w < 4; w++)
		assert_int_equal(bed.worker[w]->neighbours.n, 2);
	for (unsigned i = 0; i < HOSTS; i++)
		bed_put(INSIDE, udp(at(HOST(i), 5000), at(host, 53)));
	bed_run();
	assert_int_equal(gauge(held), HOSTS);
	while (bed_take(OUTSIDE, &f) || bed_take(INSIDE, &f))
		assert_int_equal(f.b[13], 6); // ARP requests only
	f = arp_reply(host, (uint8_t[]){2, 0, 0, 0, 0, OUTSIDE}, US_OUTSIDE);
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	assert_int_equal(gauge(held), 0);
	assert_int_equal(bed_waiting(OUTSIDE), HOSTS);
	assert_int_equal(bed_sum().consumed, 1);
	f = arp_request(host, US_OUTSIDE);
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	assert_int_equal(bed_sum().arp_replies_sent, 1); // one answer, not four
}

static void limits_are_shared_out_equally(void **state)
{
	unsigned n = 0;

	BED(.workers = 2, .sessions = 128, .subscribers = 8);
	for (unsigned w = 0; w < 2; w++) {
		assert_int_equal(bed.worker[w]->flows.n_max, 64);
		assert_int_equal(bed.worker[w]->subscribers.n_active_max, 4);
	}
	for (uint32_t host = HOST(0); n < 5; host++) {
		if (steer_internal(bed.worker[0]->snapshot, host) == 1) {
			bed_put(INSIDE, udp(at(host, 1), at(S1, 53)));
			n++;
		}
	}
	bed_run();
	assert_int_equal(bed_sum().subscribers_created, 4);
	assert_int_equal(bed_sum().drops[CGN_DROP_SUBSCRIBER_TABLE_FULL], 1);
}

BED_MAIN(TEST(every_flow_is_owned_by_one_worker),
	TEST(receive_queues_may_deal_packets_out_as_they_like),
	TEST(workers_share_an_address_by_its_ports),
	TEST(some_addresses_are_whole_and_the_rest_is_shared),
	TEST(handoffs_are_counted_one_by_one), TEST(what_is_plainly_anothers_leaves_early),
	TEST(a_full_ring_is_a_counted_drop), TEST(packets_in_a_ring_are_held),
	TEST(a_worker_without_transmit_queue_uses_anothers),
	TEST(every_worker_learns_from_an_arp_frame), TEST(limits_are_shared_out_equally))
