// SPDX-License-Identifier: BSD-3-Clause
// A frame as the bench makes and judges it. Every frame carries the number of its mapping in its
// payload, so that what comes out is compared with what must come out.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <rte_mbuf.h>
#include "dataplane/batch.h"

struct __attribute__((packed, aligned(2))) frame {
	uint8_t dst[6], src[6];
	be16_t ethertype;
	struct ipv4 ip;
	union {
		struct {
			be16_t sport, dport, len, check;
			// host order: ours alone
			uint32_t mapping;
			uint16_t magic;
			uint16_t stamp[4];
		} udp;
		struct {
			be16_t sport, dport;
			uint16_t stamp[4]; // sequence numbers: no business of a NAT
			uint8_t off, flags;
			be16_t window, check, urgent;
			uint32_t mapping;
			uint16_t magic;
		} tcp;
	};
};

_Static_assert(offsetof(struct frame, tcp.magic) + 2 == 60, "fits into the shortest frame");

struct frame_ends {
	be32_t src, dst;
	be16_t sport, dport;
};

extern const uint8_t frame_mac_ours[6], frame_mac_theirs[6];

#define FRAME_MAGIC 0xc6a7u

// A TCP (with tcp_flags) or UDP frame of `size` bytes on the wire, FCS included, with all checksums.
// The stamp comes out as it went in.
void frame_make(struct rte_mbuf *m, uint32_t size, bool tcp, uint8_t tcp_flags, uint32_t mapping,
	uint64_t stamp, const struct frame_ends *ends);

// An ARP reply: `address` (host order) is at frame_mac_theirs.
void frame_make_arp(struct rte_mbuf *m, uint32_t address);

static inline uint64_t frame_stamp(const struct frame *f)
{
	uint64_t stamp;

	memcpy(&stamp, f->ip.proto == CGN_PROTO_TCP ? f->tcp.stamp : f->udp.stamp, sizeof(stamp));
	return stamp;
}

static inline uint32_t frame_mapping(const struct frame *f)
{
	return f->ip.proto == CGN_PROTO_TCP ? f->tcp.mapping : f->udp.mapping;
}

// All checksums are right.
bool frame_sums_right(const struct frame *f);
// Computes that of TCP or UDP anew.
void frame_set_l4_sum(struct frame *f);

// Forwarded once, to the right MAC address, all checksums right, and between these ends.
bool frame_right(const struct frame *f, const struct frame_ends *ends);
