// SPDX-License-Identifier: BSD-3-Clause
// The path of a burst: parse -> owner? -> look up -> state, rewrite, next hop; what finds no
// session goes to open.c afterwards.
#pragma once
#include <stdbool.h>
#include "batch.h"

struct worker;
struct hop;

// Frames from interface `ifc`. `owned`: their owner is known to be this worker.
void path_frames(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc, bool owned);

// A hairpin that another worker rewrote, or an ICMP error of our own to a pool address: an IPv4
// packet without Ethernet header, inbound from here. `ifc`: where it once came in.
void path_hairpin(struct worker *w, struct rte_mbuf *m, uint8_t ifc);

// Sends the hairpins that were met through the inbound half.
void path_loop(struct worker *w);

// An IPv4 packet of this worker for a pool address: to its owner, or to path_loop().
void path_to_pool(
	struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len, uint8_t ifc);
