// SPDX-License-Identifier: BSD-3-Clause
// What the workers read of a config: one immutable compilation of it. Built by control, read by all.
//
// Destinations and sources are classified by one longest-prefix match (dest_lookup).
#pragma once
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "cgnat/deterministic.h"
#include "classify.h"
#include "lpm.h"
#include "mem.h"
#include "routes6.h"
#include "staticmap.h"
#include "steer.h"

// What an IPv4 address is to us: value of the match = kind << 28 | index.
enum dest_kind {
	DEST_ROUTE, // index: gateway
	DEST_ONLINK, // index: interface
	DEST_LOCAL, // one of our own addresses; index: interface
	DEST_POOL, // an external address of ours: of a pool or of static mappings; index: range
	DEST_MARTIAN, // multicast, loopback, class E, 0/8, broadcast of an on-link prefix
	DEST_NONE = 0xf, // nothing covers it (LPM_NONE)
};
#define DEST(kind, index) ((uint32_t)(kind) << 28 | (uint32_t)(index))
#define DEST_KIND(dest) ((enum dest_kind)((dest) >> 28))
#define DEST_INDEX(dest) ((dest)&0x0fffffffu)

struct gateway {
	uint32_t address;
	uint8_t ifc;
};

struct snapshot_interface {
	enum cgn_role role;
	uint16_t mtu;
	uint16_t vlan;
	uint32_t address; // the first: source of what we send (RFC 1812 4.3.2.4)
	const struct cgn_interface *config;
};

#define SNAPSHOT_NO_POOL UINT16_MAX

struct snapshot_range { // one address range of a pool, or one address of static mappings alone
	uint32_t first, last;
	uint16_t pool; // SNAPSHOT_NO_POOL
	uint32_t first_address; // number of its first address in pool_address[]
};

struct snapshot_pool_address {
	uint32_t address;
	uint16_t pool;
	uint8_t owner; // worker; not when split
	bool split; // one of those left over after equal shares: cut into port ranges, whole blocks. In a
		// deterministic pool all are: preset ports are the worker's who owns the subscriber
	bool not_lent; // one-to-one, or of no pool: has no blocks
	bool ask; // who owns it depends on its static mappings
	uint32_t static_first, n_statics; // its static mappings, in statics.external[]
	uint32_t external; // its number in the plan, of a deterministic pool
};

struct snapshot_policy {
	const struct cgn_policy *config;
};

struct snapshot {
	const struct cgn_config *config;
	struct lpm *dest;
	struct lpm *inside; // the same of the internal interfaces' prefixes and routes alone
	struct gateway *gateway;
	uint32_t n_gateways;
	struct routes6 routes6;
	struct snapshot_interface interface[CGN_INTERFACES_MAX];
	uint32_t n_interfaces;
	struct snapshot_range *range;
	uint32_t n_ranges;
	struct snapshot_pool_address *pool_address;
	uint32_t n_pool_addresses;
	struct cgn_det *det[CGN_POOLS_MAX]; // plans of deterministic pools, else NULL
	struct snapshot_policy *policy;
	uint32_t n_policies;
	struct classifier classifier;
	uint8_t portless; // what any policy translates by address alone (cgn_portless_bit())
	struct staticmap statics;
	uint32_t n_workers;
	struct steer internal, external; // what the devices of each role are told
	uint8_t inbound[STEER_SLOTS_MAX]; // as external.owner[], but SNAPSHOT_ASK
};

#define SNAPSHOT_ASK 0xff // some address of this index has another owner, or several

// What the devices can do, or do already.
struct steer_plan {
	uint8_t internal_bits, external_bits; // STEER_BITS_MIN..STEER_BITS_MAX
	const struct steer *external; // as they are set; NULL: to be dealt
};
#define STEER_PLAN_SOFTWARE (&(const struct steer_plan){STEER_BITS_MAX, STEER_BITS_MAX, NULL})

// NULL when out of memory.
struct snapshot *snapshot_create(const struct cgn_config *config, const struct steer_plan *plan);
void snapshot_destroy(struct snapshot *snapshot);

static inline uint32_t dest_lookup(const struct snapshot *s, uint32_t address)
{
	return lpm_lookup(s->dest, address);
}

// Sources that nobody may have (RFC 1812 5.3.7); our own and the pools' are spoofed.
static inline bool snapshot_source_bad(const struct snapshot *s, uint32_t address)
{
	enum dest_kind kind = DEST_KIND(dest_lookup(s, address));

	return kind == DEST_MARTIAN || kind == DEST_LOCAL || kind == DEST_POOL;
}

// Sources that cannot be where the packet came from, as what goes back to them goes elsewhere (RFC
// 1812 5.3.8). A prefix may be inside and a longer one in it outside: its addresses may be both
// (RFC 4787 REQ-7).
static inline bool snapshot_is_inside(const struct snapshot *s, uint32_t source)
{
	return lpm_lookup(s->inside, source) != LPM_NONE;
}

static inline bool snapshot_is_outside(const struct snapshot *s, uint32_t source)
{
	uint32_t dest = dest_lookup(s, source);
	uint32_t ifc =
		DEST_KIND(dest) == DEST_ROUTE ? s->gateway[DEST_INDEX(dest)].ifc : DEST_INDEX(dest);

	return DEST_KIND(dest) > DEST_ONLINK || s->interface[ifc].role == CGN_EXTERNAL;
}

// The first policy that matches a packet from the inside (host order; destination port only read
// when the protocol is TCP or UDP and `has_ports`). NULL when none does.
const struct snapshot_policy *snapshot_policy_match(const struct snapshot *s, uint32_t source,
	uint32_t destination, uint8_t protocol, uint16_t destination_port, bool has_ports);

// Blocks of an address of a pool, preset ones not counted, and where the first of them begins.
uint32_t snapshot_blocks(
	const struct snapshot *s, const struct snapshot_pool_address *a, uint16_t *first_port);

// ---- who owns what (more than one worker)

static inline uint32_t steer_internal(const struct snapshot *s, uint32_t address)
{
	return steer_worker(&s->internal, address);
}

// Worker that owns an external address (and port, where the address is split), but for the ports of
// static mappings. Of other addresses: the one that the devices bring them to. Preset ports are their
// subscriber's worker's.
uint32_t steer_external(const struct snapshot *s, uint32_t address, uint16_t port);

// Worker that owns an external endpoint (FLOW_KEY). That of a static mapping is its internal
// address's, so that both directions meet; any other is steer_external()'s.
uint32_t steer_inbound_asked(const struct snapshot *s, uint64_t key);
static inline uint32_t steer_inbound(const struct snapshot *s, uint64_t key)
{
	const uint32_t owner = s->inbound[steer_index(ntohl((be32_t)key))];

	return cgn_likely(owner != SNAPSHOT_ASK) ? owner : steer_inbound_asked(s, key);
}

// The same for a fragment, whose ports are not known: matches by addresses and protocol alone, and
// says whether the policy also asks for ports.
const struct snapshot_policy *snapshot_policy_match_fragment(const struct snapshot *s,
	uint32_t source, uint32_t destination, uint8_t protocol, bool *by_ports);

// Does the owner of the address differ from port to port? Then the worker that sees a fragment of it,
// whose port is not known, is picked by `hash`; else it is the address's owner.
bool steer_is_split(const struct snapshot *s, uint32_t address);
uint32_t steer_fragment(const struct snapshot *s, uint32_t address, uint32_t hash);

// Do several workers lend ports of this address?
bool snapshot_address_is_shared(const struct snapshot *s, uint32_t address);

// First block and number of blocks that `worker` owns of a split address.
void steer_split(
	uint32_t n_blocks, uint32_t n_workers, uint32_t worker, uint32_t *first, uint32_t *n);
