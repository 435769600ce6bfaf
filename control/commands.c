// SPDX-License-Identifier: BSD-3-Clause
#include "commands.h"
#include "request.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_LINE_BYTES 49152 // a line of items ends soon after; below 64 KiB with any record
#define DUMP_FLAGS (JSON_COMPACT | JSON_REAL_PRECISION(6)) // 12.3 stays 12.3
#define BUSY_MAX_NS 20000000000ull // how long a request waits for a free walk

static json_t *run_help(struct request *r);
static json_t *run_unsupported(struct request *r);

// In the order of CGN_CTL_COMMANDS, by its ids.
static const struct command commands[CGN_CTL_COMMAND_COUNT] = {
	[CGN_CTL_STATUS_COMMAND] = {.run = run_status},
	[CGN_CTL_SHOW_COUNTERS_COMMAND] = {.run = run_show_counters},
	[CGN_CTL_SHOW_DROPS_COMMAND] = {.run = run_show_drops},
	[CGN_CTL_SHOW_INTERFACES_COMMAND] = {.run = run_show_interfaces},
	[CGN_CTL_SHOW_POOLS_COMMAND] = {.run = run_show_pools},
	[CGN_CTL_SHOW_CONFIG_COMMAND] = {.run = run_show_config},
	[CGN_CTL_SHOW_BLOCKS_COMMAND] = {.walk = CGN_WALK_BLOCKS, .record = record_block},
	[CGN_CTL_SHOW_SUBSCRIBERS_COMMAND] = {.walk = CGN_WALK_SUBSCRIBERS,
		.record = record_subscriber},
	[CGN_CTL_SHOW_MAPPINGS_COMMAND] = {.walk = CGN_WALK_MAPPINGS, .record = record_mapping},
	[CGN_CTL_SHOW_SESSIONS_COMMAND] = {.walk = CGN_WALK_SESSIONS, .record = record_session},
	[CGN_CTL_CLEAR_SESSIONS_COMMAND] = {.walk = CGN_WALK_CLEAR_SESSIONS},
	[CGN_CTL_CLEAR_MAPPINGS_COMMAND] = {.walk = CGN_WALK_CLEAR_MAPPINGS},
	[CGN_CTL_CHECK_COMMAND] = {.run = run_check},
	[CGN_CTL_RELOAD_COMMAND] = {.run = run_unsupported},
	[CGN_CTL_EXPLAIN_COMMAND] = {.run = run_unsupported},
	[CGN_CTL_RESOLVE_COMMAND] = {.walk = CGN_WALK_BLOCKS,
		.record = record_resolved,
		.begin = begin_resolve,
		.finish = finish_resolve},
	[CGN_CTL_HELP_COMMAND] = {.run = run_help},
};

static const struct {
	const char *name, *operands, *help;
	unsigned args;
} command_table[CGN_CTL_COMMAND_COUNT] = {
#define X(id, name, args, operands, help) {name, operands, help, args},
	CGN_CTL_COMMANDS(X)
#undef X
};

static json_t *run_help(struct request *r)
{
	json_t *list = json_array();

	for (unsigned i = 0; i < CGN_CTL_COMMAND_COUNT; i++)
		if (json_array_append_new(list,
			    json_pack("{s:s, s:s}", "name", command_table[i].name, "help",
				    command_table[i].help)))
			goto err_list;
	return list;
err_list:
	json_decref(list);
	return NULL;
}

static json_t *run_unsupported(struct request *r)
{
	return request_fail(r, "not_supported", "%s is not supported yet",
		command_table[r->command - commands].name);
}

json_t *request_fail(struct request *r, const char *code, const char *fmt, ...)
{
	va_list args;

	free(r->error);
	va_start(args, fmt);
	if (vasprintf(&r->error, fmt, args) < 0)
		r->error = NULL;
	va_end(args);
	snprintf(r->error_code, sizeof(r->error_code), "%s", code);
	return NULL;
}

json_t *json_text(const char *text)
{
	json_t *string = json_string(text);

	if (string)
		return string;
	char *copy = strdup(text);
	if (!copy)
		return NULL;
	for (char *p = copy; *p; p++)
		if (*p & 0x80)
			*p = '?';
	string = json_string(copy);
	free(copy);
	return string;
}

// ---- reading a request

static void find_command(struct request *r, const char *name, json_t *args)
{
	unsigned i;

	for (i = 0; i < CGN_CTL_COMMAND_COUNT && strcmp(name, command_table[i].name); i++)
		;
	if (i == CGN_CTL_COMMAND_COUNT) {
		request_fail(
			r, "unknown_command", "unknown command '%.64s'; help lists them", name);
		return;
	}
	r->command = &commands[i];
	request_read_args(r, args, name, command_table[i].args);
}

static void read_object(struct request *r, json_t *object)
{
	json_t *id = json_object_get(object, "id"), *command = json_object_get(object, "command");
	const char *key;
	json_t *value;

	if (id && !json_is_object(id) && !json_is_array(id) &&
		(!json_is_string(id) || json_string_length(id) <= 128)) {
		char *text = json_dumps(id, JSON_ENCODE_ANY | JSON_COMPACT);
		if (text) {
			free(r->id);
			r->id = text;
		}
	} else if (id) {
		request_fail(r, "bad_request", "id is not a number or a string of up to 128 bytes");
		return;
	}
	json_object_foreach(object, key, value)
	{
		if (strcmp(key, "id") && strcmp(key, "command") && strcmp(key, "args")) {
			request_fail(r, "bad_request",
				"unknown key '%.64s'; id, command and args are allowed", key);
			return;
		}
	}
	if (!json_is_string(command))
		request_fail(r, "bad_request", "command is %s", command ? "not a text" : "missing");
	else
		find_command(r, json_string_value(command), json_object_get(object, "args"));
}

struct request *request_create(const struct control *control, const char *line, size_t size)
{
	struct request *r = calloc(1, sizeof(*r));
	json_error_t error;

	if (!r)
		return NULL;
	r->control = control;
	r->args.limit = UINT64_MAX;
	r->id = strdup("null");
	if (!r->id) {
		free(r);
		return NULL;
	}
	json_t *object = json_loadb(line, size, JSON_REJECT_DUPLICATES, &error);
	if (!object)
		request_fail(r, "bad_json", "%s at column %d", error.text, error.column);
	else if (!json_is_object(object))
		request_fail(r, "bad_request", "a request is an object with id, command and args");
	else
		read_object(r, object);
	json_decref(object);
	return r;
}

void request_destroy(struct request *r)
{
	if (r->walk)
		cgn_walk_end(r->walk);
	json_decref(r->list);
	free(r->args.file);
	free(r->error);
	free(r->id);
	free(r);
}

// ---- writing the answer

static int append_json(const char *data, size_t size, void *out)
{
	buffer_append(out, data, size);
	return 0;
}

static void write_member(struct request *r, struct buffer *out, const char *key, json_t *value)
{
	buffer_append_text(out, "{\"id\":");
	buffer_append_text(out, r->id);
	buffer_append_text(out, key);
	json_dump_callback(value, append_json, out, DUMP_FLAGS | JSON_ENCODE_ANY);
	buffer_append_text(out, "}\n");
}

static enum request_progress write_error(struct request *r, struct buffer *out)
{
	json_t *error = json_pack("{s:s, s:o*}", "code", r->error_code, "message",
		json_text(r->error ? r->error : "no memory"));

	write_member(r, out, ",\"error\":", error);
	json_decref(error);
	return REQUEST_DONE;
}

static enum request_progress write_result(struct request *r, struct buffer *out, json_t *result)
{
	write_member(r, out, ",\"result\":", result);
	json_decref(result);
	return REQUEST_DONE;
}

// Lines of items: begun by the first, ended when long enough and at the end of the step.
struct items {
	struct buffer *out;
	size_t begun; // size of `out` before the line
	bool open;
};

static void items_end(struct items *items)
{
	if (items->open)
		buffer_append_text(items->out, "]}\n");
	items->open = false;
}

static void items_add(struct request *r, struct items *items, json_t *item)
{
	if (items->open) {
		buffer_append_text(items->out, ",");
	} else {
		items->begun = buffer_size(items->out);
		items->open = true;
		buffer_append_text(items->out, "{\"id\":");
		buffer_append_text(items->out, r->id);
		buffer_append_text(items->out, ",\"items\":[");
	}
	json_dump_callback(item, append_json, items->out, DUMP_FLAGS);
	if (buffer_size(items->out) - items->begun > ITEMS_LINE_BYTES)
		items_end(items);
}

static enum request_progress write_done(struct request *r, struct buffer *out)
{
	buffer_append_text(out, "{\"id\":");
	buffer_append_text(out, r->id);
	buffer_append_text(out, ",\"done\":true}\n");
	return REQUEST_DONE;
}

static enum request_progress step_list(struct request *r, struct buffer *out)
{
	struct items items = {.out = out};
	size_t before = buffer_size(out);

	while (r->list_idx < json_array_size(r->list) && r->args.limit > 0) {
		if (buffer_size(out) - before > ITEMS_LINE_BYTES) {
			items_end(&items);
			return REQUEST_MORE;
		}
		items_add(r, &items, json_array_get(r->list, r->list_idx++));
		r->args.limit--;
	}
	items_end(&items);
	return write_done(r, out);
}

static enum request_progress step_run(struct request *r, struct buffer *out)
{
	if (r->list)
		return step_list(r, out);

	json_t *result = r->command->run(r);
	if (!result) {
		if (!*r->error_code)
			request_fail(r, "no_memory", "no memory for the answer");
		return write_error(r, out);
	}
	if (!json_is_array(result))
		return write_result(r, out, result);
	r->list = result;
	return step_list(r, out);
}

// A result, or why there is none.
static enum request_progress answer(struct request *r, struct buffer *out, json_t *result)
{
	if (result)
		return write_result(r, out, result);
	if (!*r->error_code)
		request_fail(r, "no_memory", "no memory for the answer");
	return write_error(r, out);
}

static enum request_progress start_walk(struct request *r, struct buffer *out)
{
	int rc = cgn_walk_start(r->control->dp, r->command->walk, &r->args.filter, &r->walk);

	if (!rc)
		return REQUEST_MORE;
	r->walk = NULL;
	if (rc != -EBUSY) {
		request_fail(r, "failed", "cannot read the tables: %s", strerror(-rc));
	} else {
		if (!r->busy_since_ns)
			r->busy_since_ns = r->now_ns;
		if (r->now_ns - r->busy_since_ns < BUSY_MAX_NS)
			return REQUEST_WAIT;
		request_fail(r, "busy", "%d lists are being read already; try again later",
			CGN_WALKS_MAX);
	}
	return write_error(r, out);
}

static enum request_progress step_walk(struct request *r, struct buffer *out)
{
	struct cgn_walk_record records[WALK_BATCH];
	struct items items = {.out = out};
	bool done = false;

	if (!r->walk) {
		enum request_progress progress = start_walk(r, out);
		if (progress != REQUEST_MORE)
			return progress;
	}
	uint32_t max = r->args.limit < WALK_BATCH ? (uint32_t)r->args.limit : WALK_BATCH;
	uint32_t n = cgn_walk_read(r->walk, records, max, &done);
	r->args.limit -= n;

	for (uint32_t i = 0; i < n; i++) {
		if (!r->command->record) {
			r->cleared += records[i].cleared.cleared;
			continue;
		}
		json_t *item = r->command->record(r->control, &records[i]);
		if (!item) {
			items_end(&items);
			request_fail(r, "no_memory", "no memory for the answer");
			return write_error(r, out);
		}
		if (!r->command->finish)
			items_add(r, &items, item);
		else if (!json_is_null(item))
			json_array_append(r->list, item);
		json_decref(item);
	}
	items_end(&items);
	if (!done && r->args.limit > 0)
		return n > 0 ? REQUEST_MORE : REQUEST_WAIT;
	if (r->command->finish)
		return answer(r, out, r->command->finish(r));
	return r->command->record ? write_done(r, out)
				  : write_result(r, out, json_pack("{s:I}", "cleared", r->cleared));
}

enum request_progress request_step(struct request *r, struct buffer *out, uint64_t now_ns)
{
	r->now_ns = now_ns;
	if (*r->error_code)
		return write_error(r, out);
	if (r->command->begin && !r->begun) {
		json_t *result = r->command->begin(r);

		r->begun = true;
		if (result || *r->error_code)
			return answer(r, out, result);
	}
	return r->command->run ? step_run(r, out) : step_walk(r, out);
}

void request_refuse(struct buffer *out, const char *code, const char *message)
{
	buffer_append_text(out, "{\"id\":null,\"error\":{\"code\":\"");
	buffer_append_text(out, code);
	buffer_append_text(out, "\",\"message\":\"");
	buffer_append_text(out, message);
	buffer_append_text(out, "\"}}\n");
}
