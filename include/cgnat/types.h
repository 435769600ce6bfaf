// SPDX-License-Identifier: BSD-3-Clause
// Words every room uses: byte-order types, protocol numbers, limits. No state.
#pragma once
#include <stdint.h>

// Values in network byte order carry it in their type; a plain integer is in host order.
typedef uint16_t be16_t;
typedef uint32_t be32_t;

#define CGN_NAME_MAX 32 // bytes of a name in the config, its final 0 included
#define CGN_WORKERS_MAX 32
#define CGN_INTERFACES_MAX 16
#define CGN_POOLS_MAX 64
#define CGN_POLICIES_MAX 1024
#define CGN_SERVICES_MAX 64 // timeouts.services

// IP protocol numbers of what is translated.
enum {
	CGN_PROTO_ANY = 0, // in a policy or a filter: all of them
	CGN_PROTO_ICMP = 1,
	CGN_PROTO_TCP = 6,
	CGN_PROTO_UDP = 17,
};

// Each of the three has a number space of its own on an external address (RFC 6888 REQ-13).
enum cgn_l4 {
	CGN_L4_UDP,
	CGN_L4_TCP,
	CGN_L4_ICMP,
	CGN_L4_COUNT,
};

static inline enum cgn_l4 cgn_l4_of(uint8_t proto)
{
	return proto == CGN_PROTO_UDP	 ? CGN_L4_UDP
		: proto == CGN_PROTO_TCP ? CGN_L4_TCP
					 : CGN_L4_ICMP;
}

static inline const char *cgn_proto_name(uint8_t proto)
{
	return proto == CGN_PROTO_UDP	  ? "udp"
		: proto == CGN_PROTO_TCP  ? "tcp"
		: proto == CGN_PROTO_ICMP ? "icmp"
					  : "any";
}
