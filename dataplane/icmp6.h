// SPDX-License-Identifier: BSD-3-Clause
// ICMPv6 (RFC 4443): errors of our own, rate-limited, and packets for our own addresses.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "ipv6.h"

enum { // types and codes we name
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_TIME_EXCEEDED = 3,
	ICMP6_ECHO = 128, // from here on: no errors
	ICMP6_ECHO_REPLY = 129,
	ICMP6_REDIRECT = 137,
	ICMP6_CODE_NO_ROUTE = 0,
	ICMP6_CODE_SCOPE = 2,
	ICMP6_CODE_ADDRESS = 3,
	ICMP6_CODE_PORT = 4,
};

struct __attribute__((packed, aligned(2))) icmp6 {
	uint8_t type, code;
	be16_t check;
	be32_t value; // of an error: the MTU of 2/0, else unused
};

// Sum of the pseudo-header and `len` bytes at `l4`, to be folded; that of a right message is 0xffff.
uint32_t icmp6_sum(const struct ipv6 *ip, const void *l4, unsigned len);

// Tells the sender of the packet at `ip` of `len` bytes, if RFC 4443 2.4 and the rate let us. `ifc`:
// where it came in. Leaves the packet alone.
void icmp6_error(struct worker *w, const struct ipv6 *ip, uint16_t len, uint8_t ifc, uint8_t type,
	uint8_t code, uint32_t value);

// Looks at no checksum.
bool icmp6_is_echo(const struct ipv6 *ip, uint16_t len);

// A packet for one of our own addresses, or an echo request to a group of ours: echo requests are
// answered. Takes the packet.
void icmp6_local(struct worker *w, struct pkt *p, struct ipv6 *ip);
