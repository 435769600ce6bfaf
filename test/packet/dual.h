// SPDX-License-Identifier: BSD-3-Clause
// The bed with IPv6 beside IPv4:
//
//   inside   2001:db8:1::1/64; 2001:db8:100::/40 behind the router fe80::2
//   outside  2001:db8:2::1/64; everything behind the router 2001:db8:2::2
#pragma once
#include "bed.h"

#define DUAL_INSIDE \
	"addresses: [10.255.0.1/24, 2001:db8:1::1/64]," \
	" routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}," \
	" {prefix: 2001:db8:100::/40, via: fe80::2}]"
#define DUAL_OUTSIDE \
	"addresses: [192.0.2.2/24, 2001:db8:2::1/64]," \
	" routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}, {prefix: \"::/0\", via: 2001:db8:2::2}]"
#define DUAL_BED(...) BED(.inside = DUAL_INSIDE, .outside = DUAL_OUTSIDE, __VA_ARGS__)

#define ALICE6 "2001:db8:100::5"
#define HOST6 "2001:db8:1::10" // on the inner link
#define SERVER6 "2001:db8:ffff::1"
#define US6_INSIDE "2001:db8:1::1"
#define US6_OUTSIDE "2001:db8:2::1"
#define OURS_INSIDE "fe80::ff:fe00:0" // of the MAC address 02:00:00:00:00:00
#define OURS_OUTSIDE "fe80::ff:fe00:1"

// An ICMPv6 error of ours about `about`.
static inline void is_error6(struct frame f, uint8_t type, uint8_t code, uint32_t value,
	const char *from, const char *to, struct frame about)
{
	const unsigned len = ntohs(frame_ip6(&f)->payload_len) - 8u;
	unsigned quote = (unsigned)sizeof(struct ipv6) + ntohs(frame_ip6(&about)->payload_len);
	uint32_t got;

	if (quote > CGN_IPV6_MTU_MIN - 48)
		quote = CGN_IPV6_MTU_MIN - 48;
	assert_true(from_to6(&f, from, to));
	assert_int_equal(frame_ip6(&f)->next, IPV6_ICMP);
	assert_int_equal(frame_l4_6(&f)[0], type);
	assert_int_equal(frame_l4_6(&f)[1], code);
	memcpy(&got, frame_l4_6(&f) + 4, 4);
	assert_int_equal(ntohl(got), value);
	assert_int_equal(len, quote);
	assert_memory_equal(frame_l4_6(&f) + 8, frame_ip6(&about), quote);
}
