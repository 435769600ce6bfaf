// SPDX-License-Identifier: BSD-3-Clause
// Words every room uses: byte-order types, protocol numbers, limits. No state.
#pragma once
#include <stdbool.h>
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

// Everything else has no ports that we know of.
static inline bool cgn_is_portless(uint8_t proto)
{
	return proto != CGN_PROTO_TCP && proto != CGN_PROTO_UDP && proto != CGN_PROTO_ICMP;
}

// Portless protocols that may be translated by address alone: tunnels without a checksum over
// addresses (so not AH) and without a NAT document of their own (so not SCTP, DCCP).
//   X(name in the config, number)
#define CGN_PORTLESS(X) X("gre", 47) X("esp", 50) X("ipip", 4) X("6in4", 41)

// Its bit in a set of portless protocols; 0 when it is none of those.
static inline uint8_t cgn_portless_bit(uint8_t proto)
{
	static const uint8_t numbers[] = {
#define X(name, number) number,
		CGN_PORTLESS(X)
#undef X
	};

	for (unsigned i = 0; i < sizeof(numbers); i++) {
		if (numbers[i] == proto)
			return (uint8_t)(1u << i);
	}
	return 0;
}

static inline const char *cgn_proto_name(uint8_t proto)
{
	switch (proto) {
	case CGN_PROTO_UDP:
		return "udp";
	case CGN_PROTO_TCP:
		return "tcp";
	case CGN_PROTO_ICMP:
		return "icmp";
#define X(name, number) \
	case number: \
		return name;
		CGN_PORTLESS(X)
#undef X
	default:
		return proto == CGN_PROTO_ANY ? "any" : "other";
	}
}
