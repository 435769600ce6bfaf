// SPDX-License-Identifier: BSD-3-Clause
// What natbox has in place of a machine: devices made of memory, lcores that are polled by hand, and a
// clock that stands still until it is moved. It stands in for a few functions at the dataplane's
// lower edge (ld --wrap, see meson.build): eal_*, nic_*, the launch of lcores, and time(). Everything
// above is the daemon's own code, dataplane.c included.
//
// Thread: one, the main lcore.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOX_FRAME_MAX 9728

struct box_frame {
	uint64_t at_ns; // when it was sent
	uint16_t len; // from the Ethernet header on
	uint8_t b[];
};

// Starts DPDK, once in a process. False when it does not start.
bool box_init(void);

// Before each cgn_dataplane_start(): the clock to 0, which is `wall_s` of Unix time.
//   rx_queues  of each device; 1: one worker receives and hands over; 0: one per worker, and frames
//              go to them in turn
void box_reset(int64_t wall_s, unsigned rx_queues);

extern uint64_t box_now_ns;
void box_advance(uint64_t ns); // and lets the workers run

// Polls every worker in turn until nothing moves any more. False: it never came to rest.
bool box_run(void);
void box_poll(void); // one turn of each

unsigned box_interfaces(void);
const uint8_t *box_mac(unsigned ifc);

// A frame for us, copied; from the Ethernet header on.
void box_put(unsigned ifc, const uint8_t *b, uint16_t len);
struct box_frame *box_take(unsigned ifc); // NULL: none; the caller frees it

// ARP requests of ours are answered by the box, for every address but these, with the MAC address of
// mac_of() (test/packet/frame.h).
#define BOX_SILENT_MAX 64
void box_silence(const uint32_t *addresses, unsigned n);
void box_arp(bool answered); // false: requests come out like other frames

// Frames and bytes that went over the wire of an interface, ARP that the box answered included.
struct box_wire {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
};
struct box_wire box_wire(unsigned ifc);

// Packet buffers that did not come back when the dataplane was stopped last.
unsigned box_lost_buffers(void);
