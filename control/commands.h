// SPDX-License-Identifier: BSD-3-Clause
// What the daemon answers on its socket: request lines in, answer lines out (cgnat/ctl.h). Knows
// nothing of sockets.
//
// Owner:  a request belongs to its client; it may hold an open walk.
// Memory: one request, one batch of records; a list of any length is answered batch by batch.
// Thread: control.
#pragma once
#include "buffer.h"
#include "cgnat/config.h"
#include "cgnat/dataplane.h"
#include <stddef.h>
#include <stdint.h>

// What the commands work on.
struct control {
	const struct cgn_config *config; // the running one
	struct cgn_dataplane *dp;
	uint64_t generation; // of the configuration, from 1
	uint64_t started_ns; // CLOCK_MONOTONIC
};

struct request;

enum request_progress {
	REQUEST_DONE, // the answer is complete: destroy the request
	REQUEST_MORE, // call again when `out` has room
	REQUEST_WAIT, // nothing to write just now: call again in a millisecond
};

// Takes a line, without its newline. A bad one makes a request, too: its answer is the error.
// Returns NULL when memory is short.
struct request *request_create(const struct control *control, const char *line, size_t size);

// Writes the next part of the answer, about 64 KiB at most.
//   now_ns  CLOCK_MONOTONIC
enum request_progress request_step(struct request *r, struct buffer *out, uint64_t now_ns);

// Ends its walk, too, finished or not.
void request_destroy(struct request *r);

// Writes an error that belongs to no request.
void request_refuse(struct buffer *out, const char *code, const char *message);
