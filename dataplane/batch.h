// SPDX-License-Identifier: BSD-3-Clause
// A burst on its way through the stages. State travels in here, not in argument lists.
// Only dataplane/ sees it; a batch lives on its worker and is used again for every burst.
#pragma once
#include <netinet/in.h>
#include <rte_mbuf.h>
#include <stdint.h>
#include "cgnat/types.h"
#include "mem.h"

#define BATCH_MAX 256 // packets of a batch
#define BURST_MAX 64 // frames asked of a device at once (memif dislikes more)

// IPv4 header as it lies in the frame.
struct __attribute__((packed, aligned(2))) ipv4 {
	uint8_t ver_ihl, tos;
	be16_t total_len, id, frag;
	uint8_t ttl, proto;
	be16_t check;
	be32_t src, dst;
};
#define IPV4_DF 0x4000u
#define IPV4_MF 0x2000u
#define IPV4_FRAG_MASK 0x3fffu // MF and offset
#define IPV4_OFFSET_MASK 0x1fffu

enum {
	TCP_FIN = 0x01,
	TCP_SYN = 0x02,
	TCP_RST = 0x04,
	TCP_ACK = 0x10,
};

enum { // ICMP types and codes we name (RFC 792)
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER = 12,
	ICMP_CODE_NET = 0,
	ICMP_CODE_HOST = 1,
	ICMP_CODE_PORT = 3,
	ICMP_CODE_FRAG_NEEDED = 4,
	ICMP_CODE_ADMIN = 13,
};

enum pkt_kind {
	PKT_FLOW, // TCP, UDP or ICMP echo, not a fragment: has an endpoint and a remote
	PKT_ICMP_ERROR, // endpoint and remote are those of the quoted packet
	PKT_OTHER, // only a bypass policy forwards it; drop_reason says what happens else
	PKT_ARP,
	PKT_IPV6, // nothing but the Ethernet header has been looked at
	PKT_FRAGMENT, // of any protocol, first or not: endpoints without ports
	PKT_DROPPED, // gone already
};

enum {
	PKT_HAIRPIN = 1 << 0, // second half of a hairpin: TTL is done
	// an echo request from outside or a reply from inside, or an ICMP error about one: only
	// one-to-one mappings have such
	PKT_AGAINST = 1 << 1,
	PKT_FIRST = 1 << 2, // the first fragment of a datagram; a PKT_FLOW by now
	PKT_STEERED = 1 << 3, // a fragment whose owner is known to be this worker
	PKT_UNMAPPED = 1 << 4, // of n_missed: its endpoint had no mapping when the burst began
};

struct pkt {
	struct rte_mbuf *m;
	struct ipv4 *ip;
	uint64_t
		key; // our side's endpoint, FLOW_KEY: internal when outbound, external when inbound
	uint64_t remote; // the far side's, FLOW_REMOTE
	uint64_t hash; // of key
	uint32_t flow; // record, FLOW_NONE when not found
	uint16_t ip_len; // total length, bytes
	uint8_t l4_off; // bytes from ip to the L4 header
	uint8_t tcp_flags; // ICMP: its type
	uint8_t kind; // enum pkt_kind
	uint8_t ifc; // interface it came in by
	uint8_t flags; // PKT_*
	uint8_t drop_reason; // of PKT_OTHER, or of an error that is not translated
	uint32_t frag; // of PKT_FIRST: number of its datagram in the map
};
_Static_assert(sizeof(struct pkt) <= CGN_CACHE_LINE, "a packet's state is one cache line");

struct batch {
	struct pkt pkt[BATCH_MAX] __attribute__((aligned(CGN_CACHE_LINE)));
	uint16_t n;
	uint16_t
		n_missed; // the first so many the fast path did not find: nearly all have no session
};

static inline uint8_t *pkt_l4(const struct pkt *p)
{
	return (uint8_t *)p->ip + p->l4_off;
}
