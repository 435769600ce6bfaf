// SPDX-License-Identifier: BSD-3-Clause
// What the dataplane chose where it may choose, or has done already where it may be late. The
// only part of the model that looks into dataplane/.
#pragma once
#include "world.h"

unsigned owner_of_internal(uint32_t address);
unsigned owner_of_external(uint8_t protocol, uint32_t address, uint16_t port);
unsigned owner_of_block(uint32_t address, uint16_t first_port);
unsigned owner_of_fragment(const uint8_t *ip);
bool owner_needs_port(uint32_t address); // several workers share that external address

// The external endpoint of a mapping that must be there.
bool observe_mapping(unsigned worker, uint8_t protocol, uint32_t internal, uint16_t port,
	uint32_t *external, uint16_t *external_port, uint16_t *policy);
bool observe_session(const struct session *s, enum cgn_session_state *state, uint32_t *seen_s);
unsigned host_bucket(unsigned worker, enum cgn_role role, uint32_t address); // of those for errors
bool observe_resting(const struct resting *r);

// Identifications count up in secret steps: a copy of the counters, taken at the start, tells the
// next one.
void observe_begin(void);
uint16_t next_ident(unsigned worker, uint32_t source, uint32_t destination, uint8_t protocol);
