// SPDX-License-Identifier: BSD-3-Clause
// Tells a device to bring every packet to the worker that owns it (steer.h). Tried in this order:
//
//   flow    flow rules that hash one address alone (rte_flow, RSS of L3_SRC_ONLY or L3_DST_ONLY)
//   key     the usual hash of addresses and ports, with a key in which only one address counts
//   spread  the usual hash and key: any worker receives, and hands over to the owner
//   off     one queue: the worker that has it hands over
//
// With flow and key, the redirection table leads each slot to the queue of its worker; key and table
// are read back. Whatever a device does: who owns a packet is looked at in software, too, and
// packets that come to another worker are counted as hand-offs of their interface.
//
// Thread: control.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <rte_ethdev.h>
#include "cgnat/config.h"
#include "steer.h"

struct rss {
	enum cgn_rss method; // planned; after rss_start() what it is
	bool by_source; // of an internal interface
	uint16_t device, n_queues; // one for each worker
	uint16_t n_slots; // of its redirection table
	uint8_t n_key; // bytes
	uint64_t types; // headers that it is asked to hash
};

// What the device can do of what is wanted, for n_workers.
void rss_plan(struct rss *rss, const struct rte_eth_dev_info *info, const struct cgn_interface *ifc,
	uint32_t n_workers);

// The bits of an index (steer.h) that the device can tell apart; 0: none.
unsigned rss_bits(const struct rss *rss);

// Before the device is configured.
void rss_configure(const struct rss *rss, struct rte_eth_conf *conf);

// After it was started: programs and reads back, falls back, and logs what became of it.
void rss_start(struct rss *rss, const char *interface, const struct steer *steer);
