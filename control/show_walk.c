// SPDX-License-Identifier: BSD-3-Clause
// The long lists: one record of a walk, as JSON.
#include "request.h"
#include "text.h"

static const char *const states[] = {
	[CGN_SESSION_ACTIVE] = "active",
	[CGN_SESSION_INIT] = "init",
	[CGN_SESSION_ESTABLISHED] = "established",
	[CGN_SESSION_CLIENT_FIN] = "client-fin",
	[CGN_SESSION_SERVER_FIN] = "server-fin",
	[CGN_SESSION_BOTH_FIN] = "both-fin",
	[CGN_SESSION_TRANSITORY] = "transitory",
};

static const char *policy_name(const struct control *c, uint16_t policy)
{
	return policy < c->config->n_policies ? c->config->policies[policy].name : "";
}

static const char *pool_name(const struct control *c, uint16_t pool)
{
	return pool < c->config->n_pools ? c->config->pools[pool].name : "";
}

json_t *record_block(const struct control *c, const struct cgn_walk_record *record)
{
	const struct cgn_walk_block *b = &record->block;
	char subscriber[TEXT_ADDRESS_MAX], external[TEXT_ADDRESS_MAX];

	return json_pack("{s:s, s:s, s:i, s:i, s:I, s:b, s:s, s:I, s:I, s:I}", "subscriber",
		text_address(subscriber, b->subscriber), "external_address",
		text_address(external, b->external), "first_port", b->first_port, "last_port",
		b->last_port, "step", (json_int_t)b->step, "preset", b->preset, "pool",
		pool_name(c, b->pool), "worker", (json_int_t)record->worker, "ports_used",
		(json_int_t)b->ports_used, "allocated_at", (json_int_t)b->allocated_at);
}

json_t *record_subscriber(const struct control *c, const struct cgn_walk_record *record)
{
	static const char *const names[] = {
#define X(name) #name,
		CGN_SUBSCRIBER_DROPS(X)
#undef X
	};
	const struct cgn_walk_subscriber *s = &record->subscriber;
	char subscriber[TEXT_ADDRESS_MAX], external[TEXT_ADDRESS_MAX];
	json_t *drops = json_object();

	for (unsigned i = 0; i < CGN_SUBSCRIBER_DROP_COUNT; i++) {
		if (json_object_set_new(drops, names[i], json_integer((json_int_t)s->drops[i]))) {
			json_decref(drops);
			return NULL;
		}
	}
	return json_pack("{s:s, s:s, s:I, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:o}",
		"subscriber", text_address(subscriber, s->subscriber), "external_address",
		text_address(external, s->external), "worker", (json_int_t)record->worker, "policy",
		policy_name(c, s->policy), "pool", pool_name(c, s->pool), "blocks",
		(json_int_t)s->blocks, "ports_used", (json_int_t)s->ports_used, "mappings",
		(json_int_t)s->mappings, "mappings_tcp", (json_int_t)s->mappings_of[CGN_L4_TCP],
		"mappings_udp", (json_int_t)s->mappings_of[CGN_L4_UDP], "mappings_icmp",
		(json_int_t)s->mappings_of[CGN_L4_ICMP], "sessions", (json_int_t)s->sessions,
		"drops", drops);
}

// The name of a static mapping, and no time at which it ends.
static json_t *static_members(const struct control *c, json_t *mapping, uint32_t idx)
{
	const struct cgn_config *config = c->config;
	const char *name = idx < config->n_static_mappings ? config->static_mappings[idx].name : "";

	if (mapping &&
		(json_object_set_new(mapping, "name", json_string(name)) ||
			json_object_set_new(mapping, "expires_seconds", json_null()))) {
		json_decref(mapping);
		return NULL;
	}
	return mapping;
}

json_t *record_mapping(const struct control *c, const struct cgn_walk_record *record)
{
	const struct cgn_walk_mapping *m = &record->mapping;
	char internal[TEXT_ENDPOINT_MAX], external[TEXT_ENDPOINT_MAX];

	json_t *mapping = json_pack("{s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "protocol",
		cgn_proto_name(m->protocol), "internal",
		text_endpoint(internal, m->internal, m->internal_port), "external",
		text_endpoint(external, m->external, m->external_port), "policy",
		policy_name(c, m->policy), "static", m->is_static, "worker",
		(json_int_t)record->worker, "sessions", (json_int_t)m->sessions, "age_seconds",
		(json_int_t)m->age_s, "expires_seconds", (json_int_t)m->expires_s);

	return m->is_static ? static_members(c, mapping, m->static_mapping) : mapping;
}

json_t *record_session(const struct control *c, const struct cgn_walk_record *record)
{
	const struct cgn_walk_session *s = &record->session;
	char internal[TEXT_ENDPOINT_MAX], external[TEXT_ENDPOINT_MAX], remote[TEXT_ENDPOINT_MAX];

	return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
		"protocol", cgn_proto_name(s->protocol), "internal",
		text_endpoint(internal, s->internal, s->internal_port), "external",
		text_endpoint(external, s->external, s->external_port), "remote",
		text_endpoint(remote, s->remote, s->remote_port), "state", states[s->state],
		"policy", policy_name(c, s->policy), "worker", (json_int_t)record->worker,
		"age_seconds", (json_int_t)s->age_s, "expires_seconds", (json_int_t)s->expires_s,
		"packets_out", (json_int_t)s->packets_out, "packets_in", (json_int_t)s->packets_in,
		"bytes_out", (json_int_t)s->bytes_out, "bytes_in", (json_int_t)s->bytes_in);
}
