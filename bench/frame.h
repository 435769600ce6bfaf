// SPDX-License-Identifier: BSD-3-Clause
// A frame as the bench makes and judges it. Every frame carries the number of its mapping in its
// payload, so that what comes out is compared with what must come out.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <rte_mbuf.h>
#include "dataplane/batch.h"

struct __attribute__((packed, aligned(2))) frame {
	uint8_t dst[6], src[6];
	be16_t ethertype;
	struct ipv4 ip;
	union {
		struct {
			be16_t sport, dport, len, check;
			uint32_t mapping; // host order: ours alone
		} udp;
		struct {
			be16_t sport, dport;
			be32_t seq, ack;
			uint8_t off, flags;
			be16_t window, check, urgent;
			uint32_t mapping;
		} tcp;
	};
};

struct frame_ends {
	be32_t src, dst;
	be16_t sport, dport;
};

extern const uint8_t frame_mac_ours[6], frame_mac_theirs[6];

// A TCP (with tcp_flags) or UDP frame of `size` bytes on the wire, FCS included, with all checksums.
void frame_make(struct rte_mbuf *m, uint32_t size, bool tcp, uint8_t tcp_flags, uint32_t mapping,
	const struct frame_ends *ends);

// An ARP reply: `address` (host order) is at frame_mac_theirs.
void frame_make_arp(struct rte_mbuf *m, uint32_t address);

static inline uint32_t frame_mapping(const struct frame *f)
{
	return f->ip.proto == CGN_PROTO_TCP ? f->tcp.mapping : f->udp.mapping;
}

// Forwarded once, to the right MAC address, all checksums right, and between these ends.
bool frame_right(const struct frame *f, const struct frame_ends *ends);
