// SPDX-License-Identifier: BSD-3-Clause
// The same packets through DPDK devices: net_ring ports behind nic_start(), nic_rx() and nic_tx().
#include "bed.h"
#include <stdio.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_ring.h>
#include "nic.h"

#define QUEUES 3 // that a frame may arrive on

static struct {
	struct rte_ring *to_us[QUEUES], *from_us; // the wires of the device
	unsigned next; // queue of the next frame
	struct nic nic;
	burst_fn rx, tx; // the bed's
	void *rx_ctx, *tx_ctx;
} device[BED_INTERFACES];

static uint16_t rx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const uintptr_t i = (uintptr_t)ctx;
	uint16_t got = device[i].rx(device[i].rx_ctx, m, n);

	for (uint16_t k = 0; k < got; k++)
		assert_int_equal(
			rte_ring_enqueue(device[i].to_us[device[i].next++ % QUEUES], m[k]), 0);
	return nic_rx(NIC_RX_CTX(&device[i].nic, 0, 1), m, n);
}

static uint16_t tx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const uintptr_t i = (uintptr_t)ctx;
	uint16_t sent = nic_tx(NIC_TX_CTX(&device[i].nic, 0), m, n);
	struct rte_mbuf *out[BURST_MAX];

	assert_int_equal(
		rte_ring_dequeue_burst(device[i].from_us, (void **)out, BURST_MAX, NULL), sent);
	assert_int_equal(device[i].tx(device[i].tx_ctx, out, sent), sent);
	return sent;
}

static void devices_open(void)
{
	struct worker *w = bed.worker[0];
	char name[32], err[256];

	for (uintptr_t i = 0; i < BED_INTERFACES; i++) {
		int port;

		for (unsigned q = 0; q < QUEUES; q++) {
			snprintf(name, sizeof(name), "to%u-%u", (unsigned)i, q);
			device[i].to_us[q] = rte_ring_create(name, 256, SOCKET_ID_ANY, 0);
			assert_non_null(device[i].to_us[q]);
		}
		snprintf(name, sizeof(name), "from%u", (unsigned)i);
		device[i].from_us = rte_ring_create(name, 256, SOCKET_ID_ANY, 0);
		snprintf(name, sizeof(name), "wire%u", (unsigned)i);
		port = rte_eth_from_rings(name, device[i].to_us, QUEUES, &device[i].from_us, 1, 0);
		assert_true(port >= 0);
		device[i].nic = (struct nic){.device = (uint16_t)port, .driver = "net_ring"};
		// all it has, not one per worker
		assert_int_equal(nic_plan(&device[i].nic, w->snapshot->interface[i].config, 1), 0);
		assert_int_equal(device[i].nic.n_rx, QUEUES);
		assert_int_equal(device[i].nic.n_tx, 1);
		assert_int_equal(nic_start(w->snapshot->interface[i].config, &device[i].nic,
					 (struct rte_mempool *[]){w->mbufs, w->mbufs, w->mbufs},
					 &w->snapshot->external, err, sizeof(err)),
			0);
		device[i].rx = w->port[i].rx;
		device[i].rx_ctx = w->port[i].rx_ctx;
		device[i].tx = w->port[i].tx;
		device[i].tx_ctx = w->port[i].tx_ctx;
		w->port[i].rx = rx;
		w->port[i].tx = tx;
		w->port[i].rx_ctx = w->port[i].tx_ctx = (void *)i;
	}
}

static int teardown(void **state)
{
	int rc = bed_teardown(state); // the timers' packets still pass through the devices

	for (unsigned i = 0; i < BED_INTERFACES; i++) {
		nic_stop(&device[i].nic);
		for (unsigned q = 0; q < QUEUES; q++)
			rte_ring_free(device[i].to_us[q]);
		rte_ring_free(device[i].from_us);
	}
	return rc;
}

static void packets_pass_through_dpdk_devices(void **state)
{
	struct cgn_link_status link;
	struct rte_eth_stats stats;
	struct endpoint x;
	struct frame f;

	BED();
	devices_open();
	x = source_of(pass_out(udp(at(ALICE, 5000), at(S1, 53))));
	assert_endpoint(destination_of(pass_in(udp(at(S1, 53), x))), at(ALICE, 5000));
	pass_out(tcp(at(ALICE, 5000), at(S1, 80), TCP_SYN));
	assert_endpoint(destination_of(hairpin(udp(at(BOB, 1), x))), at(ALICE, 5000));
	for (unsigned i = 0; i < 200; i++)
		bed_put(INSIDE, udp(at(ALICE, 5000), at(S1, 53)));
	bed_run();
	for (unsigned i = 0; i < 200; i++)
		assert_endpoint(source_of(expect_frame(OUTSIDE)), x);
	f = with_ttl(udp(at(ALICE, 5000), at(S1, 53)), 1);
	bed_put(INSIDE, f);
	bed_run();
	assert_error(expect_frame(INSIDE), 11, 0, US_INSIDE, ALICE, f);
	COUNTED(.rx_packets = 205, .tx_packets = 205, .translated_outbound = 202,
		.translated_inbound = 1, .hairpinned = 1, .originated = 1, .icmp_errors_sent = 1,
		.mappings_created = 3, .sessions_created = 4, .subscribers_created = 2,
		.blocks_allocated = 2, .drops[CGN_DROP_TTL_EXPIRED] = 1);
	nic_link(&device[INSIDE].nic, &link);
	assert_true(link.up);
	assert_int_equal(link.rx_queues, QUEUES);
	assert_int_equal(link.rss, CGN_RSS_OFF);
	assert_int_equal(rte_eth_stats_get(device[OUTSIDE].nic.device, &stats), 0);
	assert_int_equal(stats.opackets, 202); // the ARP before the devices were opened not
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(packets_pass_through_dpdk_devices, teardown)};

	return bed_main(tests, 1, __FILE__);
}
