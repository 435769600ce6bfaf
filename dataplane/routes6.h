// SPDX-License-Identifier: BSD-3-Clause
// What the workers read of a config about IPv6: one longest-prefix match says what an address is to
// us. Its answers are those of snapshot.h (DEST_*), but for pools, which IPv6 has not.
//
// Thread: built by control, read by all.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "lpm6.h"

struct gateway6 {
	struct cgn_ipv6 address;
	uint8_t ifc;
};

struct routes6 {
	struct lpm6 *dest; // NULL: no interface has an IPv6 address
	struct gateway6 *gateway;
	uint32_t n_gateways;
};

// False when out of memory; routes6_fini() is due in any case.
bool routes6_init(struct routes6 *r, const struct cgn_config *config);
void routes6_fini(struct routes6 *r);

// Link-local addresses are DEST_MARTIAN here: what they are depends on the interface.
static inline uint32_t routes6_lookup(const struct routes6 *r, const struct cgn_ipv6 *address)
{
	return lpm6_lookup(r->dest, address);
}
