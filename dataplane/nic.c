// SPDX-License-Identifier: BSD-3-Clause
#include "nic.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <rte_bus.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_ethdev.h>

uint16_t nic_rx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const uint64_t c = (uintptr_t)ctx;
	const uint16_t device = (uint16_t)(c >> 48), n_queues = (uint16_t)(c >> 32);
	const unsigned step = (uint16_t)c, first = (uint16_t)(c >> 16);
	static _Thread_local unsigned turn; // a full queue must not starve the next one
	unsigned n_mine;
	uint16_t got = 0;

	if (first + step >= n_queues) // just one
		return rte_eth_rx_burst(device, (uint16_t)first, m, n);
	n_mine = (n_queues - first + step - 1) / step;
	turn = turn + 1 < n_mine ? turn + 1 : 0;
	for (unsigned i = 0; i < n_mine && got < n; i++) {
		const unsigned at = turn + i < n_mine ? turn + i : turn + i - n_mine;

		got = (uint16_t)(got +
			rte_eth_rx_burst(device, (uint16_t)(first + at * step), m + got,
				(uint16_t)(n - got)));
	}
	return got;
}

uint16_t nic_tx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const uint64_t c = (uintptr_t)ctx;

	return rte_eth_tx_burst((uint16_t)(c >> 48), (uint16_t)c, m, n);
}

int nic_probe(const struct cgn_interface *ifc, struct nic *nic, char *err, size_t err_size)
{
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_eth_dev_info info;
	int rc;

	memset(nic, 0, sizeof(*nic));
	nic->vdev = !strncmp(ifc->device, "net_", 4) || !strncmp(ifc->device, "eth_", 4);
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(ifc->device, ","), ifc->device);
	if (nic->vdev) {
		rc = rte_dev_probe(ifc->device);
		if (rc) {
			snprintf(err, err_size, "interface %s: device %s cannot be created: %s",
				ifc->name, ifc->device, strerror(rc < 0 ? -rc : EIO));
			return rc < 0 ? rc : -EIO;
		}
	}
	rc = rte_eth_dev_get_port_by_name(name, &nic->device);
	if (rc) {
		snprintf(err, err_size,
			"interface %s: there is no device %s; is it bound to vfio-pci (or, Mellanox, to its kernel driver)?",
			ifc->name, name);
		return rc;
	}
	rc = rte_eth_dev_info_get(nic->device, &info);
	if (!rc)
		rc = rte_eth_macaddr_get(nic->device, (struct rte_ether_addr *)nic->mac);
	if (rc) {
		snprintf(err, err_size, "interface %s: device %s does not answer: %s", ifc->name,
			name, strerror(-rc));
		return rc;
	}
	snprintf(nic->driver, sizeof(nic->driver), "%s", info.driver_name);
	return 0;
}

// Devices whose frames arrive on all the queues they were created with, whether we ask or not.
static bool has_fixed_queues(const struct nic *nic)
{
	static const char *const drivers[] = {
		"net_af_packet", "net_af_xdp", "net_pcap", "net_ring"};

	for (unsigned i = 0; i < sizeof(drivers) / sizeof(*drivers); i++) {
		if (!strcmp(nic->driver, drivers[i]))
			return true;
	}
	return false;
}

int nic_plan(struct nic *nic, const struct cgn_interface *ifc, uint32_t n_workers)
{
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(nic->device, &info);

	if (rc)
		return rc;
	nic->n_rx = nic->n_tx = 1;
	nic->rss = (struct rss){.method = CGN_RSS_OFF, .device = nic->device};
	if (!strcmp(nic->driver, "net_memif"))
		return 0; // its peer decides how many queues there are
	if (has_fixed_queues(nic)) {
		nic->n_rx = info.max_rx_queues;
	} else {
		rss_plan(&nic->rss, &info, ifc, n_workers);
		if (nic->rss.method != CGN_RSS_OFF)
			nic->n_rx = (uint16_t)n_workers;
	}
	// as many to transmit: some devices (virtio, af_xdp, tap) have queues in pairs only; workers
	// without one hand their frames to one that has
	nic->n_tx = nic->n_rx < info.max_tx_queues ? nic->n_rx : info.max_tx_queues;
	if (!nic->n_tx)
		nic->n_tx = 1;
	return 0;
}

static int configure(const struct cgn_interface *ifc, struct nic *nic, bool one_pool)
{
	struct rte_eth_conf conf = {0};
	struct rte_eth_dev_info info;
	int rc = rte_eth_dev_info_get(nic->device, &info);

	if (rc)
		return rc;
	rss_configure(&nic->rss, &conf);
	if (info.max_mtu && ifc->mtu > info.max_mtu)
		return -ERANGE; // "Numerical result out of range", beside the mtu
	if (ifc->mtu >= info.min_mtu)
		conf.rxmode.mtu = ifc->mtu;
	if (one_pool) // every buffer is from it and ours alone
		conf.txmode.offloads = info.tx_offload_capa & RTE_ETH_TX_OFFLOAD_MBUF_FAST_FREE;
	return rte_eth_dev_configure(nic->device, nic->n_rx, nic->n_tx, &conf);
}

int nic_start(const struct cgn_interface *ifc, struct nic *nic, struct rte_mempool *const *mbufs,
	const struct steer *steer, char *err, size_t err_size)
{
	uint16_t n_rx_desc = NIC_RX_DESC, n_tx_desc = NIC_TX_DESC;
	int socket = rte_eth_dev_socket_id(nic->device);
	char what[64] = "given its receive queues";
	bool one_pool = true;
	int rc;

	for (uint16_t q = 1; q < nic->n_rx; q++)
		one_pool = one_pool && mbufs[q] == mbufs[0];
	rc = configure(ifc, nic, one_pool);

	if (rc) {
		snprintf(what, sizeof(what), "set up with mtu %u and %u queues", ifc->mtu,
			nic->n_rx);
		goto err;
	}
	rc = rte_eth_dev_adjust_nb_rx_tx_desc(nic->device, &n_rx_desc, &n_tx_desc);
	if (rc)
		goto err;
	for (uint16_t q = 0; q < nic->n_rx; q++) {
		rc = rte_eth_rx_queue_setup(
			nic->device, q, n_rx_desc, (unsigned)socket, NULL, mbufs[q]);
		if (rc)
			goto err;
	}
	strcpy(what, "given its transmit queues");
	for (uint16_t q = 0; q < nic->n_tx; q++) {
		rc = rte_eth_tx_queue_setup(nic->device, q, n_tx_desc, (unsigned)socket, NULL);
		if (rc)
			goto err;
	}
	strcpy(what, "started");
	rc = rte_eth_dev_start(nic->device);
	if (rc)
		goto err;
	nic->started = true;
	rss_start(&nic->rss, ifc->name, steer);
	// neighbour discovery comes by multicast; a device that can filter none has nothing to switch
	if (ifc->n_addresses6 && rte_eth_allmulticast_enable(nic->device))
		rte_eth_promiscuous_enable(nic->device);
	return 0;

err:
	snprintf(err, err_size, "interface %s: device %s cannot be %s: %s", ifc->name, ifc->device,
		what, strerror(-rc));
	return rc;
}

void nic_stop(struct nic *nic)
{
	if (nic->started)
		rte_eth_dev_stop(nic->device);
	nic->started = false;
	rte_eth_dev_close(nic->device);
}

void nic_link(const struct nic *nic, struct cgn_link_status *out)
{
	struct rte_eth_link link = {0};
	struct rte_eth_stats stats = {0};

	memset(out, 0, sizeof(*out));
	memcpy(out->mac, nic->mac, 6);
	memcpy(out->driver, nic->driver, sizeof(out->driver));
	out->rx_queues = nic->n_rx;
	out->tx_queues = nic->n_tx;
	out->rss = nic->rss.method;
	if (!rte_eth_link_get_nowait(nic->device, &link)) {
		out->up = link.link_status == RTE_ETH_LINK_UP;
		out->speed_mbps =
			link.link_speed == RTE_ETH_SPEED_NUM_UNKNOWN ? 0 : link.link_speed;
	}
	if (!rte_eth_stats_get(nic->device, &stats))
		out->nic_missed = stats.imissed + stats.rx_nombuf;
}
