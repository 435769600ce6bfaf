// SPDX-License-Identifier: BSD-3-Clause
// Which worker has a remote of a portless protocol on an external address that several workers share
// (a split one). There are no ports to tell them apart, so (external address, protocol, remote) is
// the whole name of a flow and only one subscriber of one worker may have it.
//
// Each worker writes claims of its own, and anybody reads them. A claim is one word: it is put up
// first, then the others' are looked at, and it is taken down again when one of them has the same.
// So two that claim at the same moment may both be refused, never both be granted.
//
// Owner:  shared by all workers; worker `self` writes its own part.
// Memory: 64 KiB per worker, taken once in claims_create(); nothing grows afterwards.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/types.h"

#define CLAIMS_BUCKETS 1024u
#define CLAIMS_SLOTS 8u // of a bucket: one cache line
#define CLAIMS_NOBODY UINT32_MAX

struct claims;

enum claims_result {
	CLAIMS_GRANTED,
	CLAIMS_TAKEN, // another worker has it
	CLAIMS_FULL, // no room in the bucket
};

struct claims *claims_create(uint32_t n_workers, const uint64_t seed[2]); // NULL: out of memory
uint64_t claims_bytes(uint32_t n_workers);
void claims_destroy(struct claims *c);

// `external` is a FLOW_KEY with port 0, `remote` the far address. Worker `self` does not have it yet.
enum claims_result claims_take(struct claims *c, uint32_t self, uint64_t external, be32_t remote);
void claims_give(struct claims *c, uint32_t self, uint64_t external, be32_t remote);

// Claims that a worker has.
uint32_t claims_count(const struct claims *c, uint32_t worker);

// The worker that has it, or CLAIMS_NOBODY.
uint32_t claims_find(const struct claims *c, uint64_t external, be32_t remote);
