// SPDX-License-Identifier: BSD-3-Clause
// Devices: finds them, sets up queues, RSS and offloads as far as each one reports them.
// ("port" alone means L4 elsewhere; a DPDK port is a device here.)
//
// Thread: control, but for nic_rx and nic_tx.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>
#include "cgnat/config.h"
#include "cgnat/dataplane.h"
#include "rss.h"

struct nic {
	uint16_t device; // DPDK port id
	uint16_t n_rx, n_tx; // queues
	struct rss rss; // how it brings packets to its receive queues
	bool started, vdev;
	uint8_t mac[6];
	char driver[CGN_NAME_MAX];
};

#define NIC_RX_DESC 1024
#define NIC_TX_DESC 1024

// Finds (a vdev: creates) the interface's device. Returns 0 or -errno with a line in `err`.
int nic_probe(const struct cgn_interface *ifc, struct nic *nic, char *err, size_t err_size);

// Decides on queues for n_workers.
int nic_plan(struct nic *nic, const struct cgn_interface *ifc, uint32_t n_workers);

// Queue q of the device is polled by worker (q + nic_shift()) % n_workers: the same number where
// the device brings packets to the worker that owns them, else spread over the workers.
static inline uint32_t nic_shift(const struct nic *nic, uint32_t ifc)
{
	return nic->rss.method == CGN_RSS_OFF ? ifc : 0;
}

// Sets up the queues, each with buffers from mbufs[queue], starts the device, and tells it who
// gets which packets.
int nic_start(const struct cgn_interface *ifc, struct nic *nic, struct rte_mempool *const *mbufs,
	const struct steer *steer, char *err, size_t err_size);
void nic_stop(struct nic *nic);

void nic_link(const struct nic *nic, struct cgn_link_status *out);

// burst_fns. Receive: of the queues first, first + step, ... of a device. Transmit: of one queue.
#define NIC_RX_CTX(nic, first, step) \
	((void *)(uintptr_t)((uint64_t)(nic)->device << 48 | (uint64_t)(nic)->n_rx << 32 | \
		(uint64_t)(first) << 16 | (uint64_t)(step)))
#define NIC_TX_CTX(nic, queue) ((void *)(uintptr_t)((uint64_t)(nic)->device << 48 | (queue)))
uint16_t nic_rx(void *ctx, struct rte_mbuf **m, uint16_t n);
uint16_t nic_tx(void *ctx, struct rte_mbuf **m, uint16_t n);
