// SPDX-License-Identifier: BSD-3-Clause
// Each configuration is written down as sections of keys and texts; the texts are compared.
#include "config_diff.h"
#include "cgnat/deterministic.h"
#include "cgnat/types.h"
#include "text.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUE_SHOWN_MAX 100 // bytes; longer values are only said to have changed

// ---- writing down

static void put(json_t *section, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

static void put(json_t *section, const char *key, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	json_object_set_new(section, key, json_string(text));
	free(text);
}

// A list's text, made by writing to a FILE; `list_end` puts it in and frees it.
struct list {
	char *text;
	size_t size;
	FILE *file;
	unsigned n;
};

static void list_add(struct list *l, const char *item)
{
	if (!l->file)
		l->file = open_memstream(&l->text, &l->size);
	if (l->file)
		fprintf(l->file, "%s%s", l->n++ ? ", " : "", item);
}

static void list_end(struct list *l, json_t *section, const char *key)
{
	if (l->file)
		fclose(l->file);
	put(section, key, "[%s]", l->text ? l->text : "");
	free(l->text);
}

static void put_prefixes(json_t *s, const char *key, const struct cgn_prefix *prefixes, uint32_t n)
{
	struct list list = {0};
	char text[TEXT_RANGE_MAX];

	for (uint32_t i = 0; i < n; i++)
		list_add(&list, text_prefix(text, &prefixes[i]));
	list_end(&list, s, key);
}

static void put_ports(json_t *s, const char *key, const struct cgn_port_range *ports, uint32_t n)
{
	struct list list = {0};
	char text[TEXT_PORTS_MAX];

	for (uint32_t i = 0; i < n; i++)
		list_add(&list, text_ports(text, &ports[i]));
	list_end(&list, s, key);
}

static const char *bool_name(bool value)
{
	return value ? "true" : "false";
}

static json_t *begin(json_t *sections, const char *fmt, const char *name)
{
	char key[CGN_NAME_MAX + 24];
	json_t *section = json_object();

	snprintf(key, sizeof(key), fmt, name);
	json_object_set_new(sections, key, section);
	return section;
}

static void write_runtime(json_t *sections, const struct cgn_config *c)
{
	json_t *s = json_object();
	struct list lcores = {0}, eal = {0};
	char number[12];

	json_object_set_new(sections, "runtime", s);
	for (uint32_t i = 0; i < c->runtime.n_workers; i++) {
		snprintf(number, sizeof(number), "%u", c->runtime.worker_lcores[i]);
		list_add(&lcores, number);
	}
	for (uint32_t i = 0; i < c->runtime.n_eal_args; i++)
		list_add(&eal, c->runtime.eal_args[i]);
	put(s, "main-lcore", "%u", c->runtime.main_lcore);
	list_end(&lcores, s, "worker-lcores");
	put(s, "share-cpus", "%s", bool_name(c->runtime.share_cpus));
	put(s, "idle", "%s", c->runtime.idle == CGN_IDLE_RELAX ? "relax" : "poll");
	put(s, "hugepages", "%s", bool_name(c->runtime.hugepages));
	put(s, "memory-mb", "%u", c->runtime.memory_mb);
	put(s, "max-sessions", "%u", c->runtime.max_sessions);
	put(s, "max-subscribers", "%u", c->runtime.max_subscribers);
	list_end(&eal, s, "eal-args");

	s = json_object();
	json_object_set_new(sections, "control", s);
	put(s, "socket", "%s", c->control.socket);
}

static void write_interface(json_t *sections, const struct cgn_interface *i)
{
	json_t *s = begin(sections, "interfaces[%s]", i->name);
	char prefix[TEXT_PREFIX6_MAX], via[TEXT_ADDRESS6_MAX], text[128];
	struct list addresses = {0}, routes = {0};

	put(s, "role", "%s", i->role == CGN_INTERNAL ? "internal" : "external");
	put(s, "device", "%s", i->device);
	for (uint32_t a = 0; a < i->n_addresses; a++)
		list_add(&addresses, text_prefix(prefix, &i->addresses[a]));
	for (uint32_t a = 0; a < i->n_addresses6; a++)
		list_add(&addresses, text_prefix6(prefix, &i->addresses6[a]));
	list_end(&addresses, s, "addresses");
	put(s, "mtu", "%u", i->mtu);
	put(s, "vlan", "%u", i->vlan);
	put(s, "rss", "%s", cgn_rss_name(i->rss));
	for (uint32_t r = 0; r < i->n_routes; r++) {
		snprintf(text, sizeof(text), "%s via %s", text_prefix(prefix, &i->routes[r].prefix),
			text_address(via, i->routes[r].via));
		list_add(&routes, text);
	}
	for (uint32_t r = 0; r < i->n_routes6; r++) {
		snprintf(text, sizeof(text), "%s via %s",
			text_prefix6(prefix, &i->routes6[r].prefix),
			text_address6(via, &i->routes6[r].via));
		list_add(&routes, text);
	}
	list_end(&routes, s, "routes");
	put(s, "icmp-errors", "%s", bool_name(!i->no_icmp_errors));
}

static void write_deterministic(json_t *s, const struct cgn_pool *p)
{
	const struct cgn_deterministic *d = &p->deterministic;

	put(s, "deterministic.algorithm", "%s", cgn_algorithm_name(d->algorithm));
	put(s, "deterministic.ports", "%u", d->ports);
	put(s, "deterministic.include-boundary-addresses", "%s", bool_name(d->include_boundaries));
	if (d->algorithm == CGN_ALGORITHM_CRYPTOGRAPHIC)
		put(s, "deterministic.key", "key id %08x", cgn_det_key_id(p));
}

static void write_pool(json_t *sections, const struct cgn_pool *p)
{
	json_t *s = begin(sections, "pools[%s]", p->name);
	struct list addresses = {0};
	char text[TEXT_RANGE_MAX], ports[TEXT_PORTS_MAX];

	for (uint32_t i = 0; i < p->n_ranges; i++)
		list_add(&addresses, text_range(text, &p->ranges[i]));
	list_end(&addresses, s, "addresses");
	put(s, "ports", "%s", text_ports(ports, &p->ports));
	put(s, "allocation", "%s",
		p->allocation == CGN_ALLOCATION_DYNAMIC ? "dynamic" : "deterministic");
	put(s, "block-size", "%u", p->block_size);
	put(s, "max-blocks", "%u", p->max_blocks);
	put_ports(s, "reserved-ports", p->reserved, p->n_reserved);
	put(s, "first-block-reserve", "%u", p->first_block_reserve);
	put(s, "soft-app", "%s", bool_name(p->soft_app));
	if (p->allocation == CGN_ALLOCATION_DETERMINISTIC)
		write_deterministic(s, p);
}

static void put_portless(json_t *s, uint8_t portless)
{
	struct list names = {0};

#define X(name, number) \
	if (portless & cgn_portless_bit(number)) \
		list_add(&names, name);
	CGN_PORTLESS(X)
#undef X
	list_end(&names, s, "portless-protocols");
}

static void write_policy(json_t *sections, const struct cgn_config *c, const struct cgn_policy *p)
{
	static const char *const actions[] = {
		[CGN_TRANSLATE] = "translate", [CGN_BYPASS] = "bypass", [CGN_DROP] = "drop"};
	static const char *const filterings[] = {
		[CGN_FILTER_ENDPOINT_INDEPENDENT] = "endpoint-independent",
		[CGN_FILTER_ADDRESS_DEPENDENT] = "address-dependent",
		[CGN_FILTER_ADDRESS_AND_PORT_DEPENDENT] = "address-and-port-dependent",
	};
	json_t *s = begin(sections, "policies[%s]", p->name);

	put_prefixes(s, "match.source", p->sources, p->n_sources);
	put_prefixes(s, "match.destination", p->destinations, p->n_destinations);
	if (p->protocol == CGN_PROTO_ANY || !cgn_is_portless(p->protocol))
		put(s, "match.protocol", "%s", cgn_proto_name(p->protocol));
	else
		put(s, "match.protocol", "%u", p->protocol);
	put_ports(s, "match.destination-ports", p->destination_ports, p->n_destination_ports);
	put(s, "action", "%s", actions[p->action]);
	if (p->action == CGN_TRANSLATE)
		put(s, "pool", "%s", c->pools[p->pool].name);
	put(s, "filtering.udp", "%s", filterings[p->filtering_udp]);
	put(s, "filtering.tcp", "%s", filterings[p->filtering_tcp]);
	put(s, "hairpin", "%s", bool_name(p->hairpin));
	put(s, "inbound-refresh", "%s", bool_name(p->inbound_refresh));
	put_portless(s, p->portless);
	put(s, "limits.sessions", "%u", p->limit_sessions);
	put(s, "limits.new-sessions-per-second", "%u", p->limit_new_sessions_per_s);
	put(s, "limits.mappings", "%u", p->limit_mappings);
	put(s, "limits.mappings-tcp", "%u", p->limit_mappings_of[CGN_L4_TCP]);
	put(s, "limits.mappings-udp", "%u", p->limit_mappings_of[CGN_L4_UDP]);
	put(s, "limits.mappings-icmp", "%u", p->limit_mappings_of[CGN_L4_ICMP]);
	put(s, "limits.sessions-per-mapping", "%u", p->limit_sessions_per_mapping);
}

static void put_services(json_t *s, const struct cgn_timeouts *t)
{
	struct list services = {0};
	char text[64];

	for (uint32_t i = 0; i < t->n_services; i++) {
		snprintf(text, sizeof(text), "%s %u: %u", cgn_proto_name(t->services[i].protocol),
			t->services[i].port, t->services[i].timeout);
		list_add(&services, text);
	}
	list_end(&services, s, "services");
}

static void write_static_mapping(json_t *sections, const struct cgn_static_mapping *m)
{
	json_t *s = begin(sections, "static-mappings[%s]", m->name);
	const bool is_whole = cgn_static_one_to_one(m);
	char address[TEXT_ADDRESS_MAX], ports[TEXT_PORTS_MAX];

	put(s, "protocol", "%s", m->protocol ? cgn_proto_name(m->protocol) : "all");
	put(s, "internal", "%s%s%s", text_address(address, m->internal), is_whole ? "" : ":",
		is_whole ? "" : text_ports(ports, &m->internal_ports));
	put(s, "external", "%s%s%s", text_address(address, m->external), is_whole ? "" : ":",
		is_whole ? "" : text_ports(ports, &m->external_ports));
}

static void write_rest(json_t *sections, const struct cgn_config *c)
{
	static const char *const refused[] = {
		[CGN_REFUSED_HOST_UNREACHABLE] = "host-unreachable",
		[CGN_REFUSED_ADMIN_PROHIBITED] = "admin-prohibited",
		[CGN_REFUSED_OFF] = "off",
	};
	const struct cgn_timeouts *t = &c->timeouts;
	json_t *s = json_object();

	json_object_set_new(sections, "timeouts", s);
	put(s, "udp", "%u", t->udp);
	put(s, "tcp-established", "%u", t->tcp_established);
	put(s, "tcp-opening", "%u", t->tcp_opening);
	put(s, "tcp-closing", "%u", t->tcp_closing);
	put(s, "icmp", "%u", t->icmp);
	put(s, "portless", "%u", t->portless);
	put(s, "hold-down", "%u", t->hold_down);
	put(s, "fragment", "%u", t->fragment);
	put(s, "non-conformant", "%s", bool_name(t->non_conformant));
	put_services(s, t);
	put(s, "hold-down-max", "%u", cgn_rests_max(c));
	put(s, "hold-down-tcp", "%s", bool_name(!t->tcp_at_once));

	s = json_object();
	json_object_set_new(sections, "icmp", s);
	put(s, "refused", "%s", refused[c->icmp_refused]);
	put(s, "errors-per-second", "%u", c->icmp_errors_per_s);
	put(s, "errors-per-second-per-host", "%u", c->icmp_errors_per_host);

	s = json_object();
	json_object_set_new(sections, "tcp-mss-clamp", s);
	put(s, "", "%u", c->tcp_mss_clamp);

	s = json_object();
	json_object_set_new(sections, "tcp-unsolicited-syn", s);
	put(s, "", "%s", c->tcp_unsolicited_icmp ? "icmp" : "drop");

	s = json_object();
	json_object_set_new(sections, "tcp-midstream", s);
	put(s, "", "%s", c->tcp_midstream_forward ? "forward-if-mapped" : "drop");
}

json_t *config_describe(const struct cgn_config *c)
{
	json_t *sections = json_object();

	write_runtime(sections, c);
	for (uint32_t i = 0; i < c->n_interfaces; i++)
		write_interface(sections, &c->interfaces[i]);
	for (uint32_t i = 0; i < c->n_pools; i++)
		write_pool(sections, &c->pools[i]);
	for (uint32_t i = 0; i < c->n_policies; i++)
		write_policy(sections, c, &c->policies[i]);
	for (uint32_t i = 0; i < c->n_static_mappings; i++)
		write_static_mapping(sections, &c->static_mappings[i]);
	write_rest(sections, c);
	return sections;
}

// ---- comparing

static void say(json_t *changes, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void say(json_t *changes, const char *fmt, ...)
{
	va_list args;
	char *text;

	va_start(args, fmt);
	int n = vasprintf(&text, fmt, args);
	va_end(args);
	if (n < 0)
		return;
	json_array_append_new(changes, json_string(text));
	free(text);
}

static void compare_section(json_t *changes, const char *name, json_t *from, json_t *to)
{
	const char *key;
	json_t *value;

	json_object_foreach(from, key, value)
	{
		const char *dot = *key ? "." : "", *old = json_string_value(value);
		const char *new = json_string_value(json_object_get(to, key));

		if (!new) // "pool", where the action is no longer translate
			say(changes, "%s%s%s: %s -> none", name, dot, key, old);
		else if (strcmp(old, new) && strlen(old) + strlen(new) > VALUE_SHOWN_MAX)
			say(changes, "%s%s%s: changed", name, dot, key);
		else if (strcmp(old, new))
			say(changes, "%s%s%s: %s -> %s", name, dot, key, old, new);
	}
	json_object_foreach(to, key, value)
	{
		if (!json_object_get(from, key))
			say(changes, "%s.%s: none -> %s", name, key, json_string_value(value));
	}
}

// The policies that both have, in the order of `c`. First match wins, so order is meaning.
static char *common_order(const struct cgn_config *c, json_t *other)
{
	size_t size = (size_t)c->n_policies * (CGN_NAME_MAX + 2) + 1, len = 0;
	char *order = calloc(1, size);
	char key[CGN_NAME_MAX + 16];

	for (uint32_t i = 0; order && i < c->n_policies; i++) {
		snprintf(key, sizeof(key), "policies[%s]", c->policies[i].name);
		if (json_object_get(other, key))
			len += (size_t)snprintf(order + len, size - len, "%s%s", len ? ", " : "",
				c->policies[i].name);
	}
	return order;
}

json_t *config_diff(const struct cgn_config *from, const struct cgn_config *to)
{
	json_t *old = config_describe(from), *new = config_describe(to), *changes = json_array();
	char *old_order = common_order(from, new), *new_order = common_order(to, old);
	const char *name;
	json_t *section;

	if (!old || !new || !changes || !old_order || !new_order) {
		json_decref(changes);
		changes = NULL;
		goto out;
	}
	json_object_foreach(old, name, section)
	{
		json_t *now = json_object_get(new, name);
		if (now)
			compare_section(changes, name, section, now);
		else
			say(changes, "%s: removed", name);
	}
	json_object_foreach(new, name, section)
	{
		if (!json_object_get(old, name))
			say(changes, "%s: added", name);
	}
	if (strcmp(old_order, new_order))
		say(changes, "policies: order %s -> %s", old_order, new_order);
out:
	free(old_order);
	free(new_order);
	json_decref(old);
	json_decref(new);
	return changes;
}
