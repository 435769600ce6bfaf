// SPDX-License-Identifier: BSD-3-Clause
// Static mappings as a packet finds them: by internal or by external endpoint. Ranges of ports are
// one entry for each protocol; a look-up is a binary search. They stand beside the tables of a
// worker: a session of a static mapping is an ordinary flow, and when its last one has gone, the
// mapping is still here.
//
// Thread: any number of readers; built by control as part of the snapshot.
// Memory: 64 bytes for each mapping and protocol.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "cgnat/types.h"

struct staticmap_range {
	uint64_t first, last; // endpoints of this side: address << 24 | protocol << 16 | port
	uint32_t address; // of the other side
	uint16_t port; // of the other side, the one that belongs to `first`
	uint16_t reserved;
	uint32_t mapping; // index into config->static_mappings
};

struct staticmap {
	struct staticmap_range *internal,
		*external; // disjoint, sorted: those of an address together
	uint32_t n; // of each
};

// What a look-up finds: host order.
struct staticmap_hit {
	uint32_t address; // of the other side
	uint16_t port;
	uint32_t mapping;
};

// False when out of memory.
bool staticmap_init(struct staticmap *s, const struct cgn_config *config);
void staticmap_fini(struct staticmap *s);

// `key` is a FLOW_KEY (network order), of the side that `ranges` is about.
bool staticmap_find(
	const struct staticmap_range *ranges, uint32_t n, uint64_t key, struct staticmap_hit *hit);

static inline bool staticmap_internal(
	const struct staticmap *s, uint64_t key, struct staticmap_hit *hit)
{
	return s->n && staticmap_find(s->internal, s->n, key, hit);
}

static inline bool staticmap_external(
	const struct staticmap *s, uint64_t key, struct staticmap_hit *hit)
{
	return s->n && staticmap_find(s->external, s->n, key, hit);
}

static inline uint32_t staticmap_address(const struct staticmap_range *r) // of its own side
{
	return (uint32_t)(r->first >> 24);
}

static inline bool staticmap_is_whole(const struct staticmap_range *r) // one-to-one
{
	return (r->last & 0xffff) - (r->first & 0xffff) == 0xffff;
}
