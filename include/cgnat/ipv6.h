// SPDX-License-Identifier: BSD-3-Clause
// IPv6 addresses and what their bits say (RFC 4291). No state.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

// As it lies on the wire; compares with memcmp() as the number that it is.
struct cgn_ipv6 {
	uint8_t b[16];
};

struct cgn_prefix6 {
	struct cgn_ipv6 address; // as written, host bits kept
	uint8_t length; // 0..128
};

struct cgn_route6 {
	struct cgn_prefix6 prefix;
	struct cgn_ipv6 via; // in one of the interface's own prefixes, or link-local
};

#define CGN_IPV6_MTU_MIN 1280 // RFC 8200 5

static inline bool cgn_ipv6_same(const struct cgn_ipv6 *a, const struct cgn_ipv6 *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static inline bool cgn_ipv6_is_multicast(const struct cgn_ipv6 *a) // ff00::/8
{
	return a->b[0] == 0xff;
}

static inline bool cgn_ipv6_is_link_local(const struct cgn_ipv6 *a) // fe80::/10
{
	return a->b[0] == 0xfe && (a->b[1] & 0xc0) == 0x80;
}

static inline bool cgn_ipv6_is_unspecified(const struct cgn_ipv6 *a)
{
	static const struct cgn_ipv6 unspecified;

	return cgn_ipv6_same(a, &unspecified);
}

// Do the first `length` bits agree?
static inline bool cgn_ipv6_covers(
	const struct cgn_ipv6 *prefix, uint8_t length, const struct cgn_ipv6 *a)
{
	const unsigned bytes = length / 8, bits = length % 8;

	if (memcmp(prefix, a, bytes))
		return false;
	return !bits || !((prefix->b[bytes] ^ a->b[bytes]) >> (8 - bits));
}

// The address with all bits behind the first `length` zero.
static inline struct cgn_ipv6 cgn_ipv6_network(const struct cgn_ipv6 *a, uint8_t length)
{
	struct cgn_ipv6 network = *a;

	for (unsigned i = 0; i < 16; i++) {
		if (i * 8 >= length)
			network.b[i] = 0;
		else if (length - i * 8 < 8)
			network.b[i] &= (uint8_t)(0xff00 >> (length - i * 8));
	}
	return network;
}

// The link-local address of an interface: modified EUI-64 of its MAC address (RFC 4291 appendix A).
static inline struct cgn_ipv6 cgn_ipv6_link_local(const uint8_t mac[6])
{
	return (struct cgn_ipv6){{0xfe, 0x80, 0, 0, 0, 0, 0, 0, (uint8_t)(mac[0] ^ 2), mac[1],
		mac[2], 0xff, 0xfe, mac[3], mac[4], mac[5]}};
}
