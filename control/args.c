// SPDX-License-Identifier: BSD-3-Clause
// The "args" of a request: every key known, every value of its type.
#include "request.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
	const char *key;
	enum cgn_ctl_type type;
} arg_table[CGN_CTL_ARG_COUNT] = {
#define X(id, key, type, value, help) {key, CGN_CTL_##type},
	CGN_CTL_ARGS(X)
#undef X
};

// A value that has the JSON type its argument asks for, read.
struct value {
	json_int_t number;
	bool flag, has_port;
	const char *text;
	uint32_t address;
	uint16_t port;
	uint8_t protocol;
};

static bool read_value(const json_t *json, enum cgn_ctl_type type, struct value *v)
{
	v->number = json_integer_value(json);
	v->flag = json_is_true(json);
	v->text = json_string_value(json);

	switch (type) {
	case CGN_CTL_FLAG:
		return json_is_boolean(json);
	case CGN_CTL_NUMBER:
		return json_is_integer(json) && v->number >= 0 && v->number <= UINT32_MAX;
	case CGN_CTL_COUNT:
		return json_is_integer(json) && v->number >= 1;
	case CGN_CTL_TEXT:
		return v->text;
	case CGN_CTL_PROTO:
		return v->text && cgn_parse_protocol(v->text, &v->protocol);
	case CGN_CTL_ADDRESS:
		return v->text && cgn_parse_address(v->text, &v->address);
	case CGN_CTL_ENDPOINT:
		return v->text && cgn_parse_endpoint(v->text, &v->address, &v->port, &v->has_port);
	}
	return false;
}

static bool find_policy(const struct cgn_config *config, const char *name, uint16_t *out)
{
	for (uint32_t i = 0; i < config->n_policies; i++) {
		if (!strcmp(config->policies[i].name, name)) {
			*out = (uint16_t)i;
			return true;
		}
	}
	return false;
}

static void store(struct request *r, enum cgn_ctl_arg arg, const struct value *v)
{
	const struct cgn_config *config = r->control->config;
	struct cgn_filter *f = &r->args.filter;

	switch (arg) {
	case CGN_CTL_ARG_SUBSCRIBER:
		f->by_subscriber = true;
		f->subscriber = v->address;
		return;
	case CGN_CTL_ARG_EXTERNAL:
		f->by_external = true;
		f->by_external_port = v->has_port;
		f->external = v->address;
		f->external_port = v->port;
		return;
	case CGN_CTL_ARG_REMOTE:
		f->by_remote = true;
		f->by_remote_port = v->has_port;
		f->remote = v->address;
		f->remote_port = v->port;
		return;
	case CGN_CTL_ARG_PROTOCOL:
		f->by_protocol = true;
		f->protocol = v->protocol;
		return;
	case CGN_CTL_ARG_POLICY:
		f->by_policy = true;
		if (!find_policy(config, v->text, &f->policy))
			request_fail(
				r, "bad_argument", "policy: there is no policy '%.64s'", v->text);
		return;
	case CGN_CTL_ARG_WORKER:
		f->by_worker = true;
		f->worker = (uint32_t)v->number;
		if (f->worker >= config->runtime.n_workers)
			request_fail(r, "bad_argument", "worker: %u is not one of 0..%u", f->worker,
				config->runtime.n_workers - 1);
		return;
	case CGN_CTL_ARG_LIMIT:
		r->args.limit = (uint64_t)v->number;
		return;
	case CGN_CTL_ARG_PER_WORKER:
		r->args.per_worker = v->flag;
		return;
	case CGN_CTL_ARG_FILE:
		r->args.file = strdup(v->text);
		return;
	case CGN_CTL_ARG_SOURCE: // read by commands that are not supported yet
	case CGN_CTL_ARG_DESTINATION:
	case CGN_CTL_ARG_COUNT:
		return;
	}
}

static void fail_unknown(struct request *r, const char *key, const char *command, unsigned allowed)
{
	char list[256] = "";
	size_t len = 0;

	for (unsigned i = 0; i < CGN_CTL_ARG_COUNT; i++)
		if (allowed & (1u << i))
			len += (size_t)snprintf(list + len, sizeof(list) - len, "%s%s",
				len ? ", " : "", arg_table[i].key);
	request_fail(r, "bad_argument", "%.64s: not an argument of %s, which takes %s", key,
		command, len ? list : "none");
}

void request_read_args(struct request *r, json_t *args, const char *command, unsigned allowed)
{
	const char *key;
	json_t *json;

	if (!args)
		return;
	if (!json_is_object(args)) {
		request_fail(r, "bad_argument", "args: not an object");
		return;
	}
	json_object_foreach(args, key, json)
	{
		struct value v = {0};
		unsigned i;

		for (i = 0; i < CGN_CTL_ARG_COUNT; i++)
			if ((allowed & (1u << i)) && !strcmp(key, arg_table[i].key))
				break;
		if (i == CGN_CTL_ARG_COUNT) {
			fail_unknown(r, key, command, allowed);
			return;
		}
		if (!read_value(json, arg_table[i].type, &v)) {
			request_fail(r, "bad_argument", "%s: must be %s", key,
				cgn_ctl_allowed(arg_table[i].type));
			return;
		}
		store(r, (enum cgn_ctl_arg)i, &v);
		if (*r->error_code)
			return;
	}
}
