// SPDX-License-Identifier: BSD-3-Clause
// One request being answered: shared by commands.c and the files of its handlers.
#pragma once
#include "cgnat/ctl.h"
#include "commands.h"
#include <jansson.h>

#define WALK_BATCH 128 // records read at once

struct command;

struct request {
	const struct control *control;
	const struct command *command;
	char *id; // as JSON text
	uint64_t now_ns; // of this step

	struct { // the arguments, read and checked
		struct cgn_filter filter;
		uint64_t limit; // records still to send
		bool per_worker;
		char *file;
	} args;

	char error_code[32]; // empty: no error
	char *error; // its message

	struct cgn_walk *walk;
	uint64_t busy_since_ns; // when all walks were found taken, 0 = not so
	uint64_t cleared;
	bool begun;
	json_t *list; // a short list being sent; with command.finish, what was found so far
	size_t list_idx;
};

// A command: either `run` makes the whole result (an array is sent as a list), or a walk does,
// record by record (`record` NULL: it clears, and its records are summed up).
struct command {
	json_t *(*run)(struct request *r); // NULL: see request_fail()
	enum cgn_walk_kind walk;
	json_t *(*record)(const struct control *control, const struct cgn_walk_record *record);
	// Of a walk whose records make one result: `begin` may have it already (NULL: the walk begins),
	// `finish` makes it of r->list, to which each record (but null) was appended.
	json_t *(*begin)(struct request *r);
	json_t *(*finish)(struct request *r);
};

// Makes the answer an error. Returns NULL, for `return request_fail(...)` in a handler.
json_t *request_fail(struct request *r, const char *code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// Reads the "args" object of a request; `allowed` is a set of CGN_CTL_*. Fails the request with
// "bad_argument" on anything unknown or malformed.
void request_read_args(struct request *r, json_t *args, const char *command, unsigned allowed);

// A string for JSON whatever its bytes are: what is not UTF-8 becomes '?'.
json_t *json_text(const char *text);

json_t *run_status(struct request *r); // show_state.c
json_t *run_show_counters(struct request *r);
json_t *run_show_drops(struct request *r);
json_t *run_show_interfaces(struct request *r);
json_t *run_show_pools(struct request *r);
json_t *run_show_config(struct request *r); // show_config.c
json_t *run_check(struct request *r); // check.c
json_t *begin_resolve(struct request *r); // show_resolve.c
json_t *finish_resolve(struct request *r);

json_t *record_block(const struct control *c, const struct cgn_walk_record *record); // show_walk.c
json_t *record_subscriber(const struct control *c, const struct cgn_walk_record *record);
json_t *record_mapping(const struct control *c, const struct cgn_walk_record *record);
json_t *record_session(const struct control *c, const struct cgn_walk_record *record);
json_t *record_resolved(
	const struct control *c, const struct cgn_walk_record *record); // show_resolve.c
