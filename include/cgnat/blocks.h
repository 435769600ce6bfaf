// SPDX-License-Identifier: BSD-3-Clause
// Who holds which port block, in memory that outlives the process: after a crash or a restart no
// block that was in use goes to another subscriber before the hold-down is over (RFC 6888 REQ-8).
//
// Owner:  control maps the memory (a file) and frees it after cgn_dataplane_stop(). Each record has
//         one writer, the worker that owns the block; plain stores, no system call.
// Units:  addresses and ports in host order, Unix time in seconds.
#pragma once
#include <stdint.h>

enum cgn_block_state {
	CGN_BLOCK_FREE,
	CGN_BLOCK_LENT,
	CGN_BLOCK_RESTING,
};

struct cgn_block_record {
	uint32_t external, subscriber;
	uint16_t first_port, last_port;
	uint16_t state; // enum cgn_block_state; written last
	uint16_t
		shape; // 0; of preset ports a fingerprint of the plan (RFC 7422): some from first to last
	int64_t since; // when it got into the state
};
_Static_assert(sizeof(struct cgn_block_record) == 24, "the file's records have no gaps");

struct cgn_block_memory {
	struct cgn_block_record *records; // cgn_dataplane_blocks(config) of them, zeroed
	uint32_t n_records;
	const struct cgn_block_record *before; // what the last run left; read by start only
	uint32_t n_before;
};
