// SPDX-License-Identifier: BSD-3-Clause
// Frames that tests make and look at: plain bytes, no DPDK buffers.
#pragma once
#include "batch.h"
#include <stdbool.h>
#include <stdint.h>

#define FRAME_MAX 2048

struct frame {
	uint16_t len; // from the Ethernet header on
	uint8_t b[FRAME_MAX];
};

struct endpoint {
	uint32_t address; // host order
	uint16_t port; // ICMP: the query id
};

static inline struct endpoint at(uint32_t address, unsigned port)
{
	return (struct endpoint){address, (uint16_t)port};
}

#define TCP_PSH 0x08

// Whole, valid frames with TTL 64, IPv4 id 0x1234 and a payload of 32 bytes. The bed fills in the
// MAC addresses.
struct frame udp(struct endpoint from, struct endpoint to);
struct frame tcp(struct endpoint from, struct endpoint to, uint8_t flags);
struct frame echo(struct endpoint from, uint32_t to);
struct frame echo_reply(uint32_t from, struct endpoint to);
struct frame ip_packet(uint32_t from, uint32_t to, uint8_t proto, unsigned payload_len);

// An ICMP error about `about`, quoting its IPv4 header and `quoted` bytes behind it, at most all.
struct frame icmp_error(uint32_t from, uint32_t to, uint8_t type, uint8_t code,
	const struct frame *about, unsigned quoted);
#define WHOLE 65535u

struct frame arp_request(uint32_t from, uint32_t to);
struct frame arp_reply(uint32_t from, const uint8_t *to_mac, uint32_t to);

// The same frame otherwise. All but the first keep every checksum right.
struct frame with_vlan(struct frame f, unsigned vlan);
struct frame with_ttl(struct frame f, uint8_t ttl);
struct frame with_df(struct frame f);
struct frame with_size(struct frame f, unsigned ip_len);
struct frame with_options(struct frame f, const void *options, unsigned n); // n: a multiple of 4

unsigned frame_l2_len(const struct frame *f);
struct ipv4 *frame_ip(struct frame *f);
uint8_t *frame_l4(struct frame *f);
unsigned frame_l4_len(struct frame *f);
uint16_t frame_l4_check(struct frame *f); // as it lies in the frame
void frame_l4_check_set(struct frame *f, uint16_t check);
void frame_seal(struct frame *f); // both checksums anew
void frame_seal_ip(struct frame *f); // that of the IPv4 header alone

struct endpoint source_of(struct frame f);
struct endpoint destination_of(struct frame f);

// The packet that an ICMP error quotes, as a frame of its own.
struct frame quote_of_error(struct frame f);

// The MAC address of the neighbour with that IPv4 address.
void mac_of(uint32_t address, uint8_t mac[6]);

static inline bool same_endpoint(struct endpoint a, struct endpoint b)
{
	return a.address == b.address && a.port == b.port;
}

// What is wrong with an IPv4 frame: its length, its IPv4 or L4 checksum, or one of those inside a
// quote. NULL when it is right.
const char *frame_error(struct frame *f);
