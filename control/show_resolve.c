// SPDX-License-Identifier: BSD-3-Clause
// resolve: what the configuration says (resolve.c), then the blocks that are lent now.
#include "request.h"
#include "resolve.h"
#include "text.h"
#include <stdlib.h>

// Answers at once, or leaves r->list and returns NULL: the walk over the blocks goes on with it.
json_t *begin_resolve(struct request *r)
{
	const struct cgn_filter *f = &r->args.filter;
	json_t *ranges;
	char *why = NULL;
	bool ok;

	if (f->by_external == f->by_subscriber)
		return request_fail(r, "bad_argument", "external or subscriber, one of them");
	if (f->by_external && !f->by_external_port)
		return request_fail(r, "bad_argument", "external: the port is missing");
	r->list = ranges = json_array();
	ok = f->by_external
		? resolve_external(r->control->config, f->external, f->external_port, ranges, &why)
		: resolve_subscriber(r->control->config, f->subscriber, ranges);
	if (why)
		request_fail(r, "not_found", "%s", why);
	else if (!ok)
		request_fail(r, "no_memory", "no memory for the answer");
	free(why);
	if (*r->error_code || f->by_subscriber || !json_array_size(ranges))
		return NULL;
	r->list = NULL;
	return resolve_answer(ranges);
}

json_t *record_resolved(const struct control *c, const struct cgn_walk_record *record)
{
	const struct cgn_walk_block *b = &record->block;
	const struct resolve_range range = {
		.subscriber = b->subscriber,
		.external = b->external,
		.first_port = b->first_port,
		.last_port = b->last_port,
		.step = 1,
		.n_ports = b->last_port - b->first_port + 1u,
		.dynamic = true,
		.pool = b->pool < c->config->n_pools ? c->config->pools[b->pool].name : "",
	};
	json_t *json;

	if (b->preset)
		return json_null(); // resolve_subscriber() has it
	json = resolve_range_json(&range);
	if (json &&
		json_object_set_new(
			json, "allocated_at", json_integer((json_int_t)b->allocated_at))) {
		json_decref(json);
		return NULL;
	}
	return json;
}

json_t *finish_resolve(struct request *r)
{
	const struct cgn_filter *f = &r->args.filter;
	json_t *ranges = r->list;
	char text[TEXT_ENDPOINT_MAX], *why;

	if (json_array_size(ranges)) {
		r->list = NULL;
		return resolve_answer(ranges);
	}
	if (f->by_external)
		return request_fail(r, "not_found",
			"nobody holds %s now: look in the log who had it before",
			text_endpoint(text, f->external, f->external_port));
	why = resolve_no_ports(r->control->config, f->subscriber, true);
	request_fail(r, "not_found", "%s", why ? why : "no memory");
	free(why);
	return NULL;
}
