// SPDX-License-Identifier: BSD-3-Clause
#include "resolve.h"
#include <stdio.h>
#include <stdlib.h>
#include "cgnat/deterministic.h"
#include "cgnat/offline.h"
#include "config.h"
#include "text.h"

json_t *resolve_range_json(const struct resolve_range *r)
{
	char subscriber[TEXT_ADDRESS_MAX], external[TEXT_ADDRESS_MAX];

	return json_pack("{s:s, s:s, s:i, s:i, s:b, s:I, s:I, s:s*, s:s*}", "subscriber",
		text_address(subscriber, r->subscriber), "external_address",
		text_address(external, r->external), "first_port", r->first_port, "last_port",
		r->last_port, "dynamic", r->dynamic, "step", (json_int_t)r->step, "ports",
		(json_int_t)r->n_ports, "pool", r->pool, "static_mapping", r->static_mapping);
}

static bool append(json_t *ranges, json_t *range)
{
	return !json_array_append_new(ranges, range);
}

// ---- static mappings

static bool append_static(json_t *ranges, const struct cgn_static_mapping *m)
{
	const struct resolve_range range = {
		.subscriber = m->internal,
		.external = m->external,
		.first_port = m->external_ports.first,
		.last_port = m->external_ports.last,
		.step = 1,
		.n_ports = m->external_ports.last - m->external_ports.first + 1u,
		.static_mapping = m->name,
	};

	return append(ranges, resolve_range_json(&range));
}

// ---- preset ports

struct port_set {
	uint32_t n;
	bool has[65536];
};

// The ports of a slot, but for those that a static mapping has taken from it.
static void ports_of_slot(struct port_set *set, const struct cgn_config *c,
	const struct cgn_det *det, struct cgn_det_slot slot)
{
	const uint32_t external = cgn_det_external(det, slot.external);

	*set = (struct port_set){.n = 0};
	for (uint32_t i = 0; i < det->n_ports; i++)
		set->has[cgn_det_port(det, slot, i)] = true;
	for (uint32_t i = 0; i < c->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &c->static_mappings[i];

		if (m->external != external)
			continue;
		for (uint32_t port = m->external_ports.first; port <= m->external_ports.last;
			port++)
			set->has[port] = false;
	}
	for (uint32_t port = 0; port < 65536; port++)
		set->n += set->has[port];
}

// Not so where reserved ports or those of static mappings lie between them, or where they are
// scattered.
static bool is_every_step_th(
	const struct cgn_det *det, const struct port_set *set, const struct cgn_det_span *span)
{
	for (uint32_t i = 0; span->step && i < det->n_ports; i++) {
		const uint32_t port = span->first + i * span->step;

		if (port > span->last || !set->has[port])
			return false;
	}
	return span->step;
}

// "1029,1044-1045"
static char *port_list(const struct port_set *set)
{
	bool is_first = true;
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	for (uint32_t port = 0, end; port < 65536; port = end) {
		for (end = port; end < 65536 && set->has[end] == set->has[port]; end++)
			;
		if (!set->has[port])
			continue;
		fprintf(out, end - port > 1 ? "%s%u-%u" : "%s%u", is_first ? "" : ",", port,
			end - 1);
		is_first = false;
	}
	fclose(out);
	return text;
}

static bool append_preset(json_t *ranges, const struct cgn_config *c, const struct cgn_det *det,
	struct cgn_det_slot slot)
{
	const struct cgn_det_span span = cgn_det_span(det, slot);
	struct port_set set;
	json_t *json;
	char *list;

	ports_of_slot(&set, c, det, slot);
	json = resolve_range_json(&(struct resolve_range){
		.subscriber = cgn_det_subscriber(det, cgn_det_holder(det, slot)),
		.external = cgn_det_external(det, slot.external),
		.first_port = span.first,
		.last_port = span.last,
		.step = span.step,
		.n_ports = set.n,
		.pool = det->pool->name,
	});
	list = is_every_step_th(det, &set, &span) ? NULL : port_list(&set);
	if (json && list && json_object_set_new(json, "port_list", json_string(list))) {
		json_decref(json);
		json = NULL;
	}
	free(list);
	return append(ranges, json);
}

// ---- whose is it?

static char *say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

static char *say(const char *fmt, ...)
{
	va_list args;
	char *text;
	int n;

	va_start(args, fmt);
	n = vasprintf(&text, fmt, args);
	va_end(args);
	return n < 0 ? NULL : text;
}

static const struct cgn_pool *pool_with(
	const struct cgn_config *c, uint32_t address, uint32_t *index)
{
	for (*index = 0; *index < c->n_pools; (*index)++) {
		const struct cgn_pool *p = &c->pools[*index];

		for (uint32_t i = 0; i < p->n_ranges; i++)
			if (address >= p->ranges[i].first && address <= p->ranges[i].last)
				return p;
	}
	return NULL;
}

static bool is_given_out(const struct cgn_pool *p, uint16_t port)
{
	for (uint32_t i = 0; i < p->n_reserved; i++)
		if (port >= p->reserved[i].first && port <= p->reserved[i].last)
			return false;
	return port >= p->ports.first && port <= p->ports.last;
}

bool resolve_external(
	const struct cgn_config *c, uint32_t address, uint16_t port, json_t *ranges, char **why)
{
	char endpoint[TEXT_ENDPOINT_MAX], ports[TEXT_PORTS_MAX];
	const struct cgn_pool *pool;
	struct cgn_det_slot slot;
	struct cgn_det *det;
	bool is_static_address = false, ok;
	uint32_t i;

	*why = NULL;
	text_endpoint(endpoint, address, port);
	for (i = 0; i < c->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &c->static_mappings[i];

		is_static_address |= m->external == address;
		if (m->external == address && port >= m->external_ports.first &&
			port <= m->external_ports.last && !append_static(ranges, m))
			return false;
	}
	if (json_array_size(ranges))
		return true;
	pool = pool_with(c, address, &i);
	if (!pool) {
		*why = is_static_address
			? say("%s is nobody's: its address is of no pool, and no static mapping has the port",
				  endpoint)
			: say("%s is nobody's: its address is of no pool and of no static mapping",
				  endpoint);
		return *why;
	}
	if (!is_given_out(pool, port)) {
		*why = say("%s is nobody's: pool %s gives out the ports %s, but for reserved-ports",
			endpoint, pool->name, text_ports(ports, &pool->ports));
		return *why;
	}
	if (pool->allocation == CGN_ALLOCATION_DYNAMIC)
		return true;
	det = cgn_det_create(c, i);
	if (!det)
		return false;
	ok = !cgn_det_find(det, cgn_det_external_number(det, address), port, &slot, &i) ||
		append_preset(ranges, c, det, slot);
	cgn_det_destroy(det);
	return ok;
}

bool resolve_subscriber(const struct cgn_config *c, uint32_t address, json_t *ranges)
{
	for (uint32_t p = 0; p < c->n_pools; p++) {
		struct cgn_det *det;
		uint32_t number;
		bool ok;

		if (c->pools[p].allocation != CGN_ALLOCATION_DETERMINISTIC)
			continue;
		det = cgn_det_create(c, p);
		if (!det)
			return false;
		number = cgn_det_number(det, address);
		ok = number == CGN_DET_NONE ||
			append_preset(ranges, c, det, cgn_det_slot_of(det, number));
		cgn_det_destroy(det);
		if (!ok)
			return false;
	}
	for (uint32_t i = 0; i < c->n_static_mappings; i++)
		if (c->static_mappings[i].internal == address &&
			!append_static(ranges, &c->static_mappings[i]))
			return false;
	return true;
}

char *resolve_no_ports(const struct cgn_config *c, uint32_t address, bool and_blocks)
{
	char text[TEXT_ADDRESS_MAX];
	uint32_t pool;

	text_address(text, address);
	if (pool_with(c, address, &pool))
		return say("%s is an external address of pool %s: its port is missing", text,
			c->pools[pool].name);
	return say(
		"%s has no ports: it is no subscriber of a deterministic pool and no static mapping has it%s",
		text, and_blocks ? ", and it holds no block now" : "");
}

json_t *resolve_answer(json_t *ranges)
{
	json_t *answer = json_copy(json_array_get(ranges, 0));

	if (answer && json_object_set_new(answer, "ranges", ranges)) {
		json_decref(answer);
		return NULL;
	}
	return answer;
}

// ---- without a daemon

// True when there is an answer in `ranges`; else *error says why not.
static bool resolve_offline(const struct cgn_config *c, bool is_external, uint32_t address,
	uint16_t port, json_t *ranges, char **error)
{
	char text[TEXT_ENDPOINT_MAX];

	if (is_external ? !resolve_external(c, address, port, ranges, error)
			: !resolve_subscriber(c, address, ranges))
		*error = say("no memory");
	if (*error || json_array_size(ranges))
		return !*error;
	if (is_external)
		*error = say("%s is lent when it is needed: look in the log who had it",
			text_endpoint(text, address, port));
	else
		*error = resolve_no_ports(c, address, false);
	return false;
}

char *cgn_offline_resolve(
	const char *path, bool is_external, uint32_t address, uint16_t port, char **error)
{
	json_t *ranges = json_array(), *answer = NULL;
	struct cgn_config *config;
	char *text = NULL;
	size_t size;
	FILE *errors;

	*error = NULL;
	errors = open_memstream(error, &size);
	if (!errors || !ranges) {
		json_decref(ranges);
		return NULL;
	}
	config = config_load(path, errors, NULL, NULL);
	fclose(errors);
	if (!config) {
		json_decref(ranges);
		return NULL;
	}
	free(*error); // an empty text
	*error = NULL;
	if (resolve_offline(config, is_external, address, port, ranges, error)) {
		answer = resolve_answer(ranges);
		ranges = NULL;
	}
	if (answer)
		text = json_dumps(answer, JSON_COMPACT);
	json_decref(ranges);
	json_decref(answer);
	cgn_config_free(config);
	return text;
}
