// SPDX-License-Identifier: BSD-3-Clause
// IPv6 addresses and routes of interfaces. As with IPv4, no address may mean two things.
#include "config.h"
#include "config_check.h"
#include "config_ipv6.h"
#include <stdlib.h>
#include <string.h>

// An interface address with the place it was written at.
struct place {
	struct node *node;
	uint32_t owner; // interface index
	struct cgn_prefix6 prefix; // host bits kept
};

struct places {
	struct place *list;
	uint32_t n;
};

static bool overlap(const struct cgn_prefix6 *a, const struct cgn_prefix6 *b)
{
	const uint8_t shorter = a->length < b->length ? a->length : b->length;

	return cgn_ipv6_covers(&a->address, shorter, &b->address);
}

// What is no address of a host that is routed to. NULL when there is nothing special about it.
static const char *special(const struct cgn_prefix6 *p)
{
	static const struct {
		struct cgn_prefix6 prefix;
		const char *name;
	} specials[] = {
		{{{{0}}, 128}, "::/128 (unspecified)"},
		{{{{[15] = 1}}, 128}, "::1/128 (loopback)"},
		{{{{[10] = 0xff, 0xff}}, 96}, "::ffff:0:0/96 (IPv4-mapped)"},
		{{{{0xff}}, 8}, "ff00::/8 (multicast)"},
		{{{{0xfe, 0x80}}, 10}, "fe80::/10 (link-local)"},
	};

	for (unsigned i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
		if (p->length >= specials[i].prefix.length && overlap(p, &specials[i].prefix))
			return specials[i].name;
	return NULL;
}

// RFC 4291 2.6.1; a /127 has no such (RFC 6164).
static bool is_router_anycast(const struct cgn_prefix6 *prefix, const struct cgn_ipv6 *a)
{
	const struct cgn_ipv6 network = cgn_ipv6_network(&prefix->address, prefix->length);

	return prefix->length < 127 && cgn_ipv6_same(&network, a);
}

// ---- interfaces

static bool check_own_address(struct report *r, const struct place *p)
{
	const struct cgn_prefix6 alone = {p->prefix.address, 128};
	const char *what = special(&alone);

	if (!p->prefix.length)
		node_error(r, p->node, "the prefix length is 0, 1..128 are allowed");
	else if (what && cgn_ipv6_is_link_local(&alone.address))
		node_error(r, p->node,
			"%s is link-local, of which each interface makes its own; a global or unique "
			"local address is allowed",
			address6_shown(r, &alone.address));
	else if (what)
		node_error(r, p->node, "%s is in %s, a host's address is allowed",
			address6_shown(r, &alone.address), what);
	else if (is_router_anycast(&p->prefix, &alone.address))
		node_error(r, p->node,
			"%s is the subnet-router anycast address of its prefix, a host's address is "
			"allowed",
			address6_shown(r, &alone.address));
	return node_ok(p->node);
}

static void check_against_earlier(struct report *r, const struct places *own, const struct place *p)
{
	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *other = &own->list[i];

		if (cgn_ipv6_same(&p->prefix.address, &other->prefix.address)) {
			node_error(r, p->node,
				"%s is in line %u already, an address is allowed once",
				address6_shown(r, &p->prefix.address), other->node->line);
			return;
		}
		if (p->owner != other->owner && overlap(&p->prefix, &other->prefix)) {
			node_error(r, p->node,
				"the prefix overlaps %s of another interface in line %u, prefixes of "
				"two interfaces must differ",
				node_shown(r, other->node), other->node->line);
			return;
		}
	}
}

// What an interface needs as soon as it has an IPv6 address.
static void check_interface(
	struct report *r, const struct node *interface, const struct cgn_interface *c)
{
	struct node *addresses = node_get(interface, "addresses"),
		    *mtu = node_get(interface, "mtu");

	if (!c->n_addresses6)
		return;
	if (!c->n_addresses && node_ok(addresses))
		node_error(r, addresses, "has no IPv4 address, at least one is needed");
	if (c->mtu < CGN_IPV6_MTU_MIN && node_ok(mtu))
		node_error(r, mtu,
			"%u is too small for IPv6 on this interface, %u..9600 are allowed", c->mtu,
			CGN_IPV6_MTU_MIN);
}

// The good addresses of all interfaces.
static struct places check_interfaces(
	struct report *r, const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "interfaces");
	struct places own = {0};

	own.list = report_alloc(
		r, CGN_INTERFACES_MAX * CONFIG_INTERFACE_ADDRESSES_MAX * sizeof(*own.list));
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *addresses =
			node_family(r, node_get(node_item(list, i), "addresses"), true);

		check_interface(r, node_item(list, i), &c->interfaces[i]);
		for (uint32_t j = 0; j < c->interfaces[i].n_addresses6; j++) {
			struct place p = {
				node_item(addresses, j), i, c->interfaces[i].addresses6[j]};

			if (!node_ok(p.node) || !check_own_address(r, &p))
				continue;
			check_against_earlier(r, &own, &p);
			own.list[own.n++] = p;
		}
	}
	return own;
}

// ---- routes

struct route_place {
	struct cgn_prefix6 prefix;
	struct node *node;
	uint32_t order;
};

static int compare_routes(const void *a, const void *b)
{
	const struct route_place *x = a, *y = b;
	const int d = memcmp(&x->prefix.address, &y->prefix.address, sizeof(struct cgn_ipv6));

	if (d)
		return d;
	if (x->prefix.length != y->prefix.length)
		return x->prefix.length < y->prefix.length ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void check_via(struct report *r, const struct node *addresses, uint32_t owner,
	const struct cgn_ipv6 *via, struct node *n, const struct places *own)
{
	const struct cgn_prefix6 alone = {*via, 128};
	bool is_on_link = false;

	if (special(&alone) && !cgn_ipv6_is_link_local(via)) {
		node_error(r, n, "%s is in %s, a neighbour's address is allowed", node_shown(r, n),
			special(&alone));
		return;
	}
	if (!addresses || (!addresses->n_items && node_ok(addresses))) {
		node_error(r, n, "%s: this interface has no IPv6 address, it needs one",
			node_shown(r, n));
		return;
	}
	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *p = &own->list[i];

		if (cgn_ipv6_same(&p->prefix.address, via)) {
			node_error(r, n, "%s is our own address, a neighbour's is allowed",
				node_shown(r, n));
			return;
		}
		if (p->owner != owner ||
			!cgn_ipv6_covers(&p->prefix.address, p->prefix.length, via))
			continue;
		is_on_link = true;
		if (is_router_anycast(&p->prefix, via)) {
			node_error(r, n,
				"%s is the subnet-router anycast address of %s, a neighbour's is "
				"allowed",
				node_shown(r, n), node_shown(r, p->node));
			return;
		}
	}
	if (is_on_link || cgn_ipv6_is_link_local(via) || !node_ok(addresses))
		return;
	for (unsigned i = 0; i < addresses->n_items; i++)
		if (!node_ok(addresses->items[i]))
			return; // it may be the one that is meant
	node_error(r, n,
		"%s is in no prefix of this interface, a neighbour's or a link-local address is allowed",
		node_shown(r, n));
}

static void check_route_prefix(struct report *r, const struct cgn_prefix6 *prefix, struct node *n,
	const struct places *own)
{
	if (special(prefix)) {
		node_error(r, n, "%s is in %s, which is never forwarded", node_shown(r, n),
			special(prefix));
		return;
	}
	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *p = &own->list[i];

		if (p->prefix.length == prefix->length && overlap(&p->prefix, prefix)) {
			node_error(r, n,
				"%s is an interface's own prefix (line %u), it needs no route",
				prefix6_shown(r, prefix), p->node->line);
			return;
		}
	}
}

static void check_routes(struct report *r, const struct node *root, const struct cgn_config *c,
	const struct places *own)
{
	const struct node *list = node_get(root, "interfaces");
	uint32_t n_max = 0, n = 0;
	struct route_place *places;

	for (uint32_t i = 0; i < c->n_interfaces; i++)
		n_max += c->interfaces[i].n_routes6;
	places = report_alloc(r, n_max * sizeof(*places));
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *interface = node_item(list, i);
		const struct node *routes = node_family(r, node_get(interface, "routes"), true);
		const struct node *addresses =
			node_family(r, node_get(interface, "addresses"), true);

		for (uint32_t j = 0; j < c->interfaces[i].n_routes6; j++) {
			const struct cgn_route6 *route = &c->interfaces[i].routes6[j];
			struct node *prefix = node_get(node_item(routes, j), "prefix");
			struct node *via = node_get(node_item(routes, j), "via");

			if (n == CONFIG_ROUTES_MAX) {
				node_error(r, node_item(routes, j),
					"too many routes, at most %u are allowed on all interfaces",
					CONFIG_ROUTES_MAX);
				break;
			}
			if (node_ok(via))
				check_via(r, addresses, i, &route->via, via, own);
			if (!node_ok(prefix))
				continue;
			check_route_prefix(r, &route->prefix, prefix, own);
			places[n] = (struct route_place){route->prefix, prefix, n};
			n++;
		}
	}
	qsort(places, n, sizeof(*places), compare_routes);
	for (uint32_t i = 1; i < n; i++)
		if (places[i].prefix.length == places[i - 1].prefix.length &&
			cgn_ipv6_same(&places[i].prefix.address, &places[i - 1].prefix.address))
			node_error(r, places[i].node,
				"%s is in line %u already, a prefix is allowed once",
				node_shown(r, places[i].node), places[i - 1].node->line);
}

void check_ipv6(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct places own = check_interfaces(r, root, c);

	check_routes(r, root, c, &own);
}
