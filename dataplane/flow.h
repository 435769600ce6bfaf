// SPDX-License-Identifier: BSD-3-Clause
// Mappings and sessions. One record is one session; the first session of a mapping also carries the
// mapping ("head"), so that nearly every packet needs one index line and one record, in either
// direction. Further sessions of a mapping (endpoint-independent mapping, RFC 4787 REQ-1: one port,
// many remotes) have records of their own, linked to the head.
// A worker's share of max-sessions (rounded up) is exactly its number of records.
//
// Owner:  one table per worker; only that worker calls these functions.
// Memory: 64 (hot) + 20 (cold) + 2 (timer) + 16 (two indexes) = 102 bytes per record, and a
//         quarter of a byte for the index of portless ones, taken once in flow_table_init(); nothing grows afterwards.
// Units:  network byte order in struct flow as the names say; seconds of the worker's clock.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "cgnat/dataplane.h"
#include "cgnat/types.h"
#include "index.h"
#include "mem.h"
#include "timers.h"

#define FLOW_NONE UINT32_MAX
#define FLOW_UNSETTLED_MAX 256u
#define FLOW_POLICY_NONE UINT16_MAX

// An endpoint in one word: address, port (both as on the wire), protocol; the top byte is zero.
#define FLOW_KEY(addr, port, proto) \
	((uint64_t)(be32_t)(addr) | (uint64_t)(be16_t)(port) << 32 | \
		(uint64_t)(uint8_t)(proto) << 48)
#define FLOW_KEY_MASK 0x00ffffffffffffffull
#define FLOW_REMOTE(addr, port) ((uint64_t)(be32_t)(addr) | (uint64_t)(be16_t)(port) << 32)
#define FLOW_REMOTE_MASK 0x0000ffffffffffffull

enum {
	FLOW_HEAD = 1 << 0, // carries the mapping
	FLOW_FURTHER = 1 << 1, // a head with further sessions
	FLOW_SYN_OUT = 1 << 2, // TCP: a SYN went out, came in
	FLOW_SYN_IN = 1 << 3,
	FLOW_INBOUND = 1 << 4, // the session was opened from outside
	FLOW_UNSETTLED = 1 << 5, // a head that is not in the inbound index (flow_settle())
	FLOW_STATIC = 1 << 6, // of a static mapping: no subscriber, no block, no limits
	FLOW_REFRESHED_IN = 1 << 7, // by packets from outside, too: TCP, or inbound-refresh
};

// The hot line: everything a packet needs.
struct flow {
	be32_t int_addr;
	be16_t int_port; // ICMP: the query id
	uint8_t proto; // 0: the record is free
	uint8_t flags;
	be32_t ext_addr;
	be16_t ext_port;
	union {
		uint16_t
			l4_diff; // RFC 1624 difference internal -> external of the L4 checksum, folded
		uint16_t
			held_port; // portless: the ICMP id of its block that it takes up (session.h)
	};
	be32_t rem_addr;
	be16_t rem_port; // ICMP: 0
	uint8_t hairpin; // 1: the remote is an external address of ours, so it sends from inside alone
	uint8_t state; // enum cgn_session_state
	uint32_t seen_s; // last packet that refreshed the session; written at most once a second
	uint32_t link; // head: last outbound packet of the mapping, s; further: its head's number
	uint64_t pkts_out, pkts_in, bytes_out, bytes_in; // IP bytes
} __attribute__((aligned(CGN_CACHE_LINE)));
_Static_assert(sizeof(struct flow) == CGN_CACHE_LINE, "the hot half is one cache line");

// Touched when something is made, ends or is listed. Further sessions of a mapping are a list, in which
// those with the same remote address follow each other; the first one of each address stands for it in
// the index `in`.
struct flow_cold {
	// Head: its port block, which knows the subscriber; FLOW_STATIC: which static mapping of the config.
	// Further: the one before it in the list; that of the first one is the head.
	union {
		uint32_t block;
		uint32_t prev;
	};
	union {
		uint32_t mapping_created_s; // head
		uint32_t n_further; // the first one of a list: how many they are
	};
	uint32_t session_created_s;
	uint32_t next; // head: the first further one
	uint16_t policy; // of the session; FLOW_POLICY_NONE: static, opened from outside
	uint8_t was_reset; // TCP: transitory by a RST
	uint8_t unclean; // head: a session of the mapping ended otherwise than closed by its ends
};
_Static_assert(sizeof(struct flow_cold) == 20, "there are millions of them");

struct flow_table {
	struct flow *flow; // flow[n_max] is a free record: FLOW_NONE may be clamped to it
	struct flow_cold *cold;
	struct index out; // heads by internal endpoint, further sessions by (head, remote)
	// Heads by external endpoint. Further sessions have room here, too: one of each remote address
	// by (head, address), so that one look-up tells who may send (address-dependent filtering).
	struct index in;
	// Portless protocols: no ports tell flows apart, so each pair of internal and remote address
	// is a mapping of its own, with one session, and ports 0. Here by (internal, remote) and by
	// (external, remote), in neither of the two above.
	struct index portless;
	uint32_t n_portless, n_portless_max;
	struct timers timers; // items are record numbers
	uint64_t seed[2];
	uint32_t n_max, n_used; // n_used = sessions
	uint32_t n_mappings;
	uint32_t free_first; // linked through cold.next
	uint32_t top; // records at and above were never used: walks end here
	uint32_t unsettled[FLOW_UNSETTLED_MAX], n_unsettled;
	uint64_t unsettled_hash[FLOW_UNSETTLED_MAX]; // of their external endpoints
};

static inline uint64_t flow_key_of(const struct flow *f) // internal endpoint
{
	return FLOW_KEY(f->int_addr, f->int_port, f->proto);
}

static inline uint64_t flow_ext_key_of(const struct flow *f)
{
	return FLOW_KEY(f->ext_addr, f->ext_port, f->proto);
}

static inline uint64_t flow_remote_of(const struct flow *f)
{
	return FLOW_REMOTE(f->rem_addr, f->rem_port);
}

static inline uint64_t flow_hash(const struct flow_table *t, uint64_t key)
{
	return index_hash(key, t->seed);
}

static inline uint64_t flow_further_hash(const struct flow_table *t, uint32_t head, uint64_t remote)
{
	return index_hash(index_hash(remote, t->seed) ^ head, t->seed);
}

// The top bit keeps addresses apart from remotes with a port.
static inline uint64_t flow_address_hash(const struct flow_table *t, uint32_t head, be32_t address)
{
	return index_hash(index_hash(1ull << 63 | address, t->seed) ^ head, t->seed);
}

static inline bool flow_is_head(const struct flow *f, uint64_t key)
{
	return (f->flags & FLOW_HEAD) && flow_key_of(f) == key;
}

static inline bool flow_is_further(const struct flow *f, uint32_t head, uint64_t remote)
{
	return f->proto && !(f->flags & FLOW_HEAD) && f->link == head &&
		flow_remote_of(f) == remote;
}

static inline uint32_t flow_n_further(const struct flow_table *t, uint32_t head)
{
	const uint32_t first = t->cold[head].next;

	return first == FLOW_NONE ? 0 : t->cold[first].n_further;
}

int flow_table_init(struct flow_table *t, uint32_t n_max, uint32_t now_s, const uint64_t seed[2],
	int socket); // 0 or -ENOMEM
void flow_table_fini(struct flow_table *t);
uint64_t flow_table_bytes(uint32_t n_max);

// What struct flow has as l4_diff. The L4 checksum of UDP and TCP covers addresses and ports, that of
// ICMP only the query id.
uint16_t flow_l4_diff(
	uint8_t proto, be32_t int_addr, be16_t int_port, be32_t ext_addr, be16_t ext_port);

// Exact look-ups; FLOW_NONE when there is none.
uint32_t flow_find_out_hard(const struct flow_table *t, uint64_t key);
static inline uint32_t flow_find_out(
	const struct flow_table *t, uint64_t key) // head by internal endpoint
{
	const uint32_t record = index_candidate(&t->out, flow_hash(t, key));

	if (record == FLOW_NONE || cgn_likely(flow_is_head(&t->flow[record], key)))
		return record;
	return flow_find_out_hard(t, key);
}
uint32_t flow_find_in(const struct flow_table *t, uint64_t ext_key); // head by external endpoint
uint32_t flow_find_further(const struct flow_table *t, uint32_t head, uint64_t remote);
uint32_t flow_find_session(
	const struct flow_table *t, uint32_t head, uint64_t remote); // head or further

// Of a portless protocol, by either end: the record of `key` (an internal endpoint with port 0, or an
// external one when `inbound`) with that remote address.
uint32_t flow_find_portless(const struct flow_table *t, uint64_t key, be32_t remote, bool inbound);

// A session of the mapping with that remote address, whatever the port; FLOW_NONE when there is none.
uint32_t flow_find_address(const struct flow_table *t, uint32_t head, be32_t address);

enum flow_error {
	FLOW_OK,
	FLOW_TABLE_FULL,
	FLOW_INDEX_FULL,
	FLOW_PORTLESS_FULL,
};

struct flow_new {
	uint64_t internal, external; // keys; flow_add() ignores them
	uint64_t remote;
	uint32_t block; // flow_add() ignores it
	uint16_t held_port; // of portless ones
	uint16_t policy;
	uint8_t state;
	uint8_t flags; // FLOW_SYN_*, FLOW_INBOUND, FLOW_STATIC, FLOW_REFRESHED_IN
	bool hairpin;
	uint32_t seen_s, now_s; // seen: where the session's timer starts
};

// Makes a mapping with its first session. The caller has made sure that neither endpoint has one
// and arms the timer. *record is the new head.
enum flow_error flow_open(struct flow_table *t, const struct flow_new *new, uint32_t *record);

// The same, for many in a row: the inbound index gets the mapping only with flow_settle(), so that
// the misses of its lines overlap. Settle before an inbound look-up and before a flow_close(), and
// after FLOW_UNSETTLED_MAX mappings at the latest.
enum flow_error flow_open_unsettled(
	struct flow_table *t, const struct flow_new *new, uint32_t *record);

// A mapping of a portless protocol with its only session; both ends have port 0. As flow_open().
enum flow_error flow_open_portless(
	struct flow_table *t, const struct flow_new *new, uint32_t *record);

// Asks for the lines of the next `n` new records, as far as it is known which ones they will be: those
// that were never used.
static inline void flow_prefetch_new(const struct flow_table *t, uint32_t n)
{
	const uint32_t n_free = t->top - t->n_used; // these are taken first

	for (uint32_t r = t->top; r < t->n_max && r - t->top + n_free < n; r++) {
		cgn_prefetch_w(&t->flow[r]);
		cgn_prefetch_w(&t->cold[r]);
	}
	cgn_prefetched();
}

// Puts what flow_open_unsettled() made into the inbound index. FLOW_NONE: all of it is there. Else
// the index had no room for the mapping returned: the caller closes it and calls again.
uint32_t flow_settle(struct flow_table *t);

// Adds a session to a mapping. The caller has made sure that it is not there and arms the timer.
enum flow_error flow_add(
	struct flow_table *t, uint32_t head, const struct flow_new *new, uint32_t *record);

// Ends the session of `record`, armed or not. When it is a head with further sessions,
// the first of those moves into the head's record, and *moved is its old, now free number (else
// FLOW_NONE). The head is then armed where that session was, or, when the caller had just taken it
// out of the timers, at the next second: skip free records among what timers_due() gave.
// Returns true when the mapping ended with it. The contents of a record that is free now stay
// readable until the next flow_open() or flow_add(), but for `proto`, which says that it is free.
bool flow_close(struct flow_table *t, uint32_t record, uint32_t *moved);

// When the session's timer runs out if no further packet refreshes it, s. `timeouts` in force.
// An established TCP session does not end then but becomes transitory (RFC 7857 2).
uint32_t flow_deadline(const struct flow *f, const struct cgn_timeouts *timeouts);
