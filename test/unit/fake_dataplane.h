// SPDX-License-Identifier: BSD-3-Clause
// An in-memory dataplane (cgnat/dataplane.h) with known content, for tests of the control room.
//
// Everything about record number i follows from i, so that a test can say what must come out.
// The tables have no size of their own: a walk of ten million sessions takes no memory.
#pragma once
#include "cgnat/dataplane.h"

#define FAKE_YAML \
	"runtime: {worker-lcores: [1, 2], hugepages: false, max-sessions: 100000}\n" \
	"interfaces:\n" \
	"  - {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n" \
	"  - name: out\n" \
	"    role: external\n" \
	"    device: net_null1\n" \
	"    addresses: [192.0.2.2/24]\n" \
	"    routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]\n" \
	"pools:\n" \
	"  - {name: residential, addresses: [203.0.113.0/28, 198.51.100.7], max-blocks: 4}\n" \
	"static-mappings:\n" \
	"  - {name: web, protocol: tcp, internal: 100.64.0.10:1033, external: 203.0.113.1:2057}\n" \
	"policies:\n" \
	"  - {name: home-users, match: {source: [100.64.0.0/11]}, action: translate, pool: residential}\n" \
	"  - {name: others, match: {source: [100.96.0.0/11]}, action: translate, pool: residential}\n"

#define FAKE_PRESET 17 // the block that is preset ports
#define FAKE_STATIC 9 // the mapping that is static-mappings[0]

struct fake {
	uint64_t n[4]; // records by enum cgn_walk_kind: mappings, sessions, blocks, subscribers
	bool silent; // no walk has a record ready, or ends
	uint32_t read_max; // records per cgn_walk_read(), 0 = as many as asked for
	uint32_t walks_open;
	uint64_t records_read; // since the start
	uint64_t cleared; // what each worker says of a clear
	int start_error; // of cgn_walk_start()
	int link_error; // of cgn_dataplane_link()
};
extern struct fake fake;

// Its content as it is at first.
void fake_reset(void);
