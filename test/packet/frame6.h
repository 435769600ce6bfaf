// SPDX-License-Identifier: BSD-3-Clause
// IPv6 frames that tests make and look at; see frame.h. Addresses are texts.
#pragma once
#include "frame.h"
#include "icmp6.h"
#include "ipv6.h"
#include "nd.h"

struct cgn_ipv6 ip6(const char *text);

// Whole, valid frames with hop limit 64 and a payload of 32 bytes. The bed fills in the MAC
// addresses.
struct frame packet6(const char *from, const char *to, uint8_t next, unsigned payload_len);
struct frame udp6(const char *from, unsigned sport, const char *to, unsigned dport);
struct frame echo6(const char *from, const char *to);
struct frame icmp6_message(
	const char *from, const char *to, uint8_t type, uint8_t code, unsigned len);

// Neighbour discovery with hop limit 255. `mac`: of the option, NULL: without one. A solicitation
// goes to the solicited-node group of its target when `to` is NULL.
struct frame solicitation(const char *from, const char *to, const char *target, const uint8_t *mac);
struct frame advertisement(
	const char *from, const char *to, const char *target, uint8_t flags, const uint8_t *mac);
#define NA_ROUTER 0x80
#define NA_SOLICITED 0x40
#define NA_OVERRIDE 0x20

// The same frame otherwise, checksums right.
struct frame with_hop_limit(struct frame f, uint8_t hop_limit);
struct frame with_size6(struct frame f, unsigned ip_len);
// With an extension header of 8 bytes in front of what is there; `body`: its bytes 1 to 7.
struct frame with_extension(struct frame f, uint8_t kind, const void *body);

bool frame_is6(const struct frame *f);
struct ipv6 *frame_ip6(struct frame *f);
uint8_t *frame_l4_6(struct frame *f); // behind the fixed header
void frame_seal6(struct frame *f); // the L4 checksum anew

bool from_to6(struct frame *f, const char *from, const char *to);

// The MAC address of the neighbour with that IPv6 address.
void mac6_of(const struct cgn_ipv6 *address, uint8_t mac[6]);

// What is wrong with an IPv6 frame: its lengths, its hop limit, its checksum. NULL when it is right.
const char *frame6_error(struct frame *f);

// How `out` differs from `in` with the hop limit one less. NULL when it does not.
const char *frame6_changed(struct frame *in, struct frame *out);
