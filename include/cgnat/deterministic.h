// SPDX-License-Identifier: BSD-3-Clause
// Deterministic allocation (RFC 7422): which ports of which external address a subscriber has, and
// whose a port is, computed from the configuration alone. Control, the workers and cgnatctl (without
// a daemon) call the same functions, so they cannot disagree.
//
// Subscribers are numbered in the order of the sources of the policies that use the pool. Each
// address of the pool has a slot for every n-th or n consecutive ones of them; a slot is a set of as
// many ports as any other, of the candidates: the pool's ports without the reserved ones. What no
// slot has is left for overflow blocks. docs/configuration.md says what each algorithm does.
//
// Owner:  whoever made it; never changed afterwards, any number of threads may read.
// Memory: a few bytes per range of addresses; the cryptographic algorithm takes 6 KiB and 12 bytes
//         per external address.
// Units:  addresses and ports in host order. A subscriber is its number; i counts the ports of a slot.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"

#define CGN_DET_NONE UINT32_MAX
#define CGN_DET_ROUNDS 12

struct cgn_det_ranges { // of addresses, numbered in the order of the list
	struct cgn_address_range *range;
	uint32_t *first; // number of each range's first address
	uint32_t *sorted; // indexes of `range`, by address
	uint32_t n;
	uint64_t n_addresses;
};

struct cgn_det {
	const struct cgn_pool *pool;
	struct cgn_det_ranges subscribers;
	struct cgn_det_ranges external; // ascending; without those of one-to-one static mappings
	struct cgn_prefix *sources; // as the policies list them
	uint32_t n_sources;
	struct cgn_port_range *candidates; // ports that may be given out, ascending
	uint32_t *candidate_first; // number of each range's first port
	uint32_t n_candidate_ranges, n_candidates;
	uint32_t n_ports; // of each subscriber
	uint32_t n_slots; // of each external address; of the first n_larger ones one more
	uint32_t n_larger;
	struct cgn_det_square {
		uint32_t n, a, b;
	} square[2]; // cryptographic: n ports, a * b of them or few more; of n_slots, and one more
	uint16_t (*round)[256]; // cryptographic: CGN_DET_ROUNDS tables
	uint8_t (*tweak)[CGN_DET_ROUNDS]; // by external address
};

// The plan of config->pools[pool], which has deterministic allocation; its ranges need not be sorted
// yet. Whether all fits is cgn_det_fits(); when it does not, only the numbers are good. NULL when
// memory is short.
struct cgn_det *cgn_det_create(const struct cgn_config *config, uint32_t pool);
void cgn_det_destroy(struct cgn_det *det);

bool cgn_det_fits(const struct cgn_det *det);

// ---- subscribers

// CGN_DET_NONE when the address is no subscriber's.
uint32_t cgn_det_number(const struct cgn_det *det, uint32_t address);
uint32_t cgn_det_subscriber(const struct cgn_det *det, uint32_t number);

// ---- external addresses

// CGN_DET_NONE when the address is not of the pool, or one-to-one.
uint32_t cgn_det_external_number(const struct cgn_det *det, uint32_t address);
uint32_t cgn_det_external(const struct cgn_det *det, uint32_t external);

static inline uint32_t cgn_det_slots(const struct cgn_det *det, uint32_t external)
{
	return det->n_slots + (external < det->n_larger);
}

// ---- slots

struct cgn_det_slot {
	uint32_t external; // number of the address
	uint32_t slot;
};

struct cgn_det_slot cgn_det_slot_of(const struct cgn_det *det, uint32_t number);
uint32_t cgn_det_holder(const struct cgn_det *det, struct cgn_det_slot slot); // a number

// Port i of a slot, i < n_ports.
uint16_t cgn_det_port(const struct cgn_det *det, struct cgn_det_slot slot, uint32_t i);

// The slot of a port of an address, and which of its ports it is. False: no slot's.
bool cgn_det_find(const struct cgn_det *det, uint32_t external, uint16_t port,
	struct cgn_det_slot *slot, uint32_t *i);

// The ports of a slot as a range: every step-th from first to last. Step 0: scattered between them
// (cryptographic).
struct cgn_det_span {
	uint16_t first, last;
	uint32_t step;
};
struct cgn_det_span cgn_det_span(const struct cgn_det *det, struct cgn_det_slot slot);

// ---- what is left: overflow blocks of pool->block_size, one behind the other

uint32_t cgn_det_blocks(const struct cgn_det *det, uint32_t external, uint16_t *first_port);

// A fingerprint of what ports a slot has, but for the subscriber and the address. Never 0.
uint16_t cgn_det_shape(const struct cgn_det *det, uint32_t external);

// ---- names

const char *cgn_algorithm_name(enum cgn_algorithm algorithm);

// The record that lets anybody reverse the mapping later (RFC 7422 3), of a moment (Unix time):
//   [Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060
// UTC; where there are several prefixes, they and their lengths are lists. The caller frees it; NULL
// when memory is short.
char *cgn_det_record(const struct cgn_det *det, int64_t now);

// Says which key the cryptographic algorithm has, without saying the key.
uint32_t cgn_det_key_id(const struct cgn_pool *pool);
