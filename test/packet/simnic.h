// SPDX-License-Identifier: BSD-3-Clause
// A simulated network card: the queues of a net_ring device, and in front of them receive-side
// scaling as a card does it, in software: Toeplitz hash (DPDK's) of what the card is told to hash,
// redirection table, queue. The ethdev and rte_flow calls that a driver would answer are answered
// here (the linker puts us in front of them, see meson.build), so the daemon's own code runs
// unchanged on top.
//
// The device of an interface is "net_ring_sim0,OPTION=N,...":
//   slots=128      of the redirection table; 0: none
//   key=40         bytes of the hash key
//   queues=16
//   socket=-1      NUMA node
//   flow=0         rules of RSS over one address: 0 none, 1 plain (ice), 2 with key (i40e), 3 with key
//                  and queues (mlx5)
//   alone=0        a rule hashes its address: 0 where it lies among the others, 1 as the first
//   l4=1           rules for UDP and TCP are taken, too
//   types=1        kinds of packets: 1 IPv4 and each L4 protocol, 0 each protocol only (i40e)
//   noset=0        1: the table cannot be set, 2: the key cannot
//   lies=0         1: it says yes and keeps its own key
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "frame.h"

#define SIMNIC_MAX 4

// A frame arrives at card `n`. False when its queue is full.
bool simnic_put(unsigned n, const struct frame *f);

// Takes a frame that card `n` sent.
bool simnic_take(unsigned n, struct frame *f);

// The queue that the last IPv4 frame went to.
unsigned simnic_queue(void);

unsigned simnic_rules(unsigned n); // rules now
