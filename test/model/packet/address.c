// SPDX-License-Identifier: BSD-3-Clause
// What an address is to us, which policy a packet has, and static mappings: all by looking at every
// entry of the configuration.
#include "world.h"

static bool covers(struct cgn_prefix p, uint32_t address)
{
	return !p.length || !((p.address ^ address) >> (32 - p.length));
}

// Ours to translate: of a pool, or external address of a static mapping.
static bool is_external(uint32_t address)
{
	const struct cgn_config *c = world.config;

	for (uint32_t p = 0; p < c->n_pools; p++) {
		for (uint32_t i = 0; i < c->pools[p].n_ranges; i++) {
			if (address >= c->pools[p].ranges[i].first &&
				address <= c->pools[p].ranges[i].last)
				return true;
		}
	}
	for (uint32_t i = 0; i < c->n_static_mappings; i++) {
		if (c->static_mappings[i].external == address)
			return true;
	}
	return false;
}

// RFC 1812 5.3.7: "this" network, loopback, link local, multicast, class E.
static bool is_martian(uint32_t address)
{
	return address >> 24 == 0 || address >> 24 == 127 || address >> 16 == 0xa9fe ||
		address >> 28 >= 14;
}

struct way way_to(uint32_t address)
{
	const struct cgn_config *c = world.config;
	struct way way = {.where = TO_NOWHERE};
	int longest = -1;

	if (is_external(address))
		return (struct way){.where = TO_POOL};
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		for (uint32_t k = 0; k < c->interfaces[i].n_addresses; k++) {
			const struct cgn_prefix a = c->interfaces[i].addresses[k];

			if (a.address == address)
				return (struct way){.where = TO_US, .ifc = i};
			if (!covers(a, address))
				continue;
			if (a.length <= 30 && (!(address << a.length) || !(~address << a.length)))
				return (struct way){.where = TO_MARTIAN};
			if (a.length > longest) {
				longest = a.length;
				way = (struct way){TO_LINK, i, address};
			}
		}
	}
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		for (uint32_t k = 0; k < c->interfaces[i].n_routes; k++) {
			const struct cgn_route *r = &c->interfaces[i].routes[k];

			if (covers(r->prefix, address) && r->prefix.length > longest) {
				longest = r->prefix.length;
				way = (struct way){TO_ROUTE, i, r->via};
			}
		}
	}
	if (is_martian(address) &&
		longest < 16) // the test's configurations have no route into them
		way = (struct way){.where = TO_MARTIAN};
	return way;
}

bool leaves_by(struct way way, enum cgn_role role)
{
	return (way.where == TO_ROUTE || way.where == TO_LINK) &&
		world.config->interfaces[way.ifc].role == role;
}

bool is_bad_source(uint32_t address)
{
	const enum where where = way_to(address).where;

	return where == TO_MARTIAN || where == TO_US || where == TO_POOL;
}

bool is_inside(uint32_t address)
{
	for (uint32_t i = 0; i < world.config->n_interfaces; i++) {
		const struct cgn_interface *c = &world.config->interfaces[i];

		if (c->role != CGN_INTERNAL)
			continue;
		for (uint32_t k = 0; k < c->n_addresses; k++) {
			if (covers(c->addresses[k], address))
				return true;
		}
		for (uint32_t k = 0; k < c->n_routes; k++) {
			if (covers(c->routes[k].prefix, address))
				return true;
		}
	}
	return false;
}

bool is_outside(uint32_t address)
{
	return !leaves_by(way_to(address), CGN_INTERNAL);
}

// ---- policies

static bool any_covers(const struct cgn_prefix *p, uint32_t n, uint32_t address)
{
	for (uint32_t i = 0; i < n; i++) {
		if (covers(p[i], address))
			return true;
	}
	return !n;
}

static bool has_port(const struct cgn_policy *p, bool ports, uint16_t port)
{
	for (uint32_t i = 0; ports && i < p->n_destination_ports; i++) {
		if (port >= p->destination_ports[i].first && port <= p->destination_ports[i].last)
			return true;
	}
	return !p->n_destination_ports;
}

static bool matches(
	const struct cgn_policy *p, uint32_t source, uint32_t destination, uint8_t protocol)
{
	return (p->protocol == CGN_PROTO_ANY || p->protocol == protocol) &&
		any_covers(p->sources, p->n_sources, source) &&
		any_covers(p->destinations, p->n_destinations, destination);
}

int policy_for(uint32_t source, uint32_t destination, uint8_t protocol, bool ports,
	uint16_t destination_port)
{
	for (uint32_t i = 0; i < world.config->n_policies; i++) {
		const struct cgn_policy *p = &world.config->policies[i];

		if (matches(p, source, destination, protocol) &&
			has_port(p, ports, destination_port))
			return (int)i;
	}
	return -1;
}

int policy_for_fragment(uint32_t source, uint32_t destination, uint8_t protocol, bool *by_ports)
{
	for (uint32_t i = 0; i < world.config->n_policies; i++) {
		const struct cgn_policy *p = &world.config->policies[i];

		if (matches(p, source, destination, protocol)) {
			*by_ports = p->n_destination_ports;
			return (int)i;
		}
	}
	*by_ports = false;
	return -1;
}

// ---- static mappings

static bool takes(const struct cgn_static_mapping *m, uint8_t protocol)
{
	const bool one_to_one = !m->external_ports.first;

	if (m->protocol == protocol)
		return true;
	return m->protocol == CGN_PROTO_ANY && (protocol != CGN_PROTO_ICMP || one_to_one);
}

static bool in(struct cgn_port_range r, uint16_t port)
{
	return port >= r.first && port <= r.last;
}

int static_of_internal(uint8_t protocol, uint32_t address, uint16_t port, uint32_t *external,
	uint16_t *external_port)
{
	for (uint32_t i = 0; i < world.config->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &world.config->static_mappings[i];

		if (!takes(m, protocol) || m->internal != address || !in(m->internal_ports, port))
			continue;
		*external = m->external;
		*external_port =
			(uint16_t)(m->external_ports.first + (port - m->internal_ports.first));
		return (int)i;
	}
	return -1;
}

int static_of_external(uint8_t protocol, uint32_t address, uint16_t port, uint32_t *internal,
	uint16_t *internal_port)
{
	for (uint32_t i = 0; i < world.config->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &world.config->static_mappings[i];

		if (!takes(m, protocol) || m->external != address || !in(m->external_ports, port))
			continue;
		*internal = m->internal;
		*internal_port =
			(uint16_t)(m->internal_ports.first + (port - m->external_ports.first));
		return (int)i;
	}
	return -1;
}
