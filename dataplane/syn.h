// SPDX-License-Identifier: BSD-3-Clause
// Unsolicited inbound SYNs that are answered later (tcp-unsolicited-syn: icmp): RFC 5382 REQ-4 wants
// no answer for 6 s, and none at all when the inside sends a SYN for the same connection meanwhile.
// The packet is dropped at once; only the head of it, for the quote, is kept. First in, first out, as
// all wait equally long; bounded: what finds no room gets no answer.
//
// Owner:  one per worker. Memory: SYN_STORE * 160 bytes, taken once in syn_init().
// Keys:   FLOW_KEY of our external endpoint, FLOW_REMOTE of the sender.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "index.h"

#define SYN_STORE 1024u // power of two
#define SYN_WAIT_NS 6000000000ull
#define SYN_QUOTE_MAX 120 // bytes: the longest IPv4 and TCP headers

struct syn {
	uint64_t key, remote;
	uint64_t since_ns;
	uint16_t len; // of the quote
	uint8_t ifc; // it came in by
	bool waits; // false: called off
	uint32_t quote[SYN_QUOTE_MAX / 4]; // from the IPv4 header on
};

struct syn_store {
	struct syn *entry;
	struct index index; // those that wait
	uint64_t seed[2];
	uint32_t first, end; // counting up; entry[i % SYN_STORE]
};

int syn_init(struct syn_store *s, const uint64_t seed[2], int socket); // 0 or -ENOMEM
void syn_fini(struct syn_store *s);
uint64_t syn_bytes(void);

// A SYN of `len` bytes at `packet`. One that waits already is not taken again (a retransmission). False
// when there was no room.
bool syn_put(struct syn_store *s, uint64_t key, uint64_t remote, const void *packet, uint16_t len,
	uint8_t ifc, uint64_t now_ns);

// The connection has come to be: no answer to its SYN.
void syn_call_off(struct syn_store *s, uint64_t key, uint64_t remote);

// Takes the oldest entry out when its 6 s are over; to be answered if it still `waits`. NULL when none
// is due. Valid until the next syn_put().
const struct syn *syn_due(struct syn_store *s, uint64_t now_ns);
