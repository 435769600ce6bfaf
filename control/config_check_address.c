// SPDX-License-Identifier: BSD-3-Clause
// No address may mean two things: ours, a neighbour's, a subscriber's, a pool's.
#include "config.h"
#include "config_check.h"
#include "config_ipv6.h"
#include "config_value.h"
#include <stdlib.h>
#include <string.h>

// An interface address or a pool's range, with the place it was written at.
struct place {
	struct node *node;
	uint32_t owner; // interface or pool index
	uint32_t address; // of an interface
	uint8_t length; // of its prefix
	struct cgn_address_range range; // the prefix or the range
};

struct places {
	struct place *list;
	uint32_t n;
};

static bool overlap(const struct cgn_address_range *a, const struct cgn_address_range *b)
{
	return a->first <= b->last && b->first <= a->last;
}

static bool has(const struct cgn_address_range *range, uint32_t address)
{
	return range->first <= address && address <= range->last;
}

// What no host has: 0/8, 127/8, multicast and 240/4 (RFC 1812 5.3.7). NULL when there is none.
static const char *special_part(const struct cgn_address_range *range)
{
	static const struct {
		struct cgn_address_range range;
		const char *name;
	} specials[] = {
		{{0x00000000, 0x00ffffff}, "0.0.0.0/8"},
		{{0x7f000000, 0x7fffffff}, "127.0.0.0/8 (loopback)"},
		{{0xe0000000, 0xefffffff}, "224.0.0.0/4 (multicast)"},
		{{0xf0000000, 0xffffffff}, "240.0.0.0/4 (reserved)"},
	};

	for (unsigned i = 0; i < sizeof(specials) / sizeof(specials[0]); i++)
		if (overlap(range, &specials[i].range))
			return specials[i].name;
	return NULL;
}

// First or last address of a prefix that has such: no host's.
static bool is_edge(const struct place *p, uint32_t address)
{
	return p->length < 31 && (address == p->range.first || address == p->range.last);
}

// ---- interfaces

static bool check_own_address(struct report *r, const struct place *p)
{
	const char *special = special_part(&(struct cgn_address_range){p->address, p->address});

	if (!p->length)
		node_error(r, p->node, "the prefix length is 0, 1..32 are allowed");
	else if (special)
		node_error(r, p->node, "%s is in %s, a host's address is allowed",
			address_shown(r, p->address), special);
	else if (is_edge(p, p->address))
		node_error(r, p->node,
			"%s is the %s address of its prefix, a host's address is allowed",
			address_shown(r, p->address),
			p->address == p->range.first ? "network" : "broadcast");
	return node_ok(p->node);
}

static void check_against_earlier(struct report *r, const struct places *own, const struct place *p)
{
	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *other = &own->list[i];

		if (p->address == other->address) {
			node_error(r, p->node,
				"%s is in line %u already, an address is allowed once",
				address_shown(r, p->address), other->node->line);
			return;
		}
		if (p->owner != other->owner && overlap(&p->range, &other->range)) {
			node_error(r, p->node,
				"the prefix overlaps %s of another interface in line %u, prefixes of "
				"two interfaces must differ",
				node_shown(r, other->node), other->node->line);
			return;
		}
	}
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
			node_family(r, node_get(node_item(list, i), "addresses"), false);

		for (uint32_t j = 0; j < c->interfaces[i].n_addresses; j++) {
			const struct cgn_prefix *prefix = &c->interfaces[i].addresses[j];
			struct place p = {node_item(addresses, j), i, prefix->address,
				prefix->length, prefix_range(prefix)};

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
	struct cgn_prefix prefix;
	struct node *node;
	uint32_t order;
};

static int compare_routes(const void *a, const void *b)
{
	const struct route_place *x = a, *y = b;

	if (x->prefix.address != y->prefix.address)
		return x->prefix.address < y->prefix.address ? -1 : 1;
	if (x->prefix.length != y->prefix.length)
		return x->prefix.length < y->prefix.length ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

static void check_via(struct report *r, const struct node *addresses, uint32_t owner, uint32_t via,
	struct node *n, const struct places *own)
{
	bool is_on_link = false;

	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *p = &own->list[i];

		if (p->address == via) {
			node_error(r, n, "%s is our own address, a neighbour's is allowed",
				node_shown(r, n));
			return;
		}
		if (p->owner != owner || !has(&p->range, via))
			continue;
		is_on_link = true;
		if (is_edge(p, via)) {
			node_error(r, n, "%s is the %s address of %s, a neighbour's is allowed",
				node_shown(r, n), via == p->range.first ? "network" : "broadcast",
				node_shown(r, p->node));
			return;
		}
	}
	if (is_on_link || !node_ok(addresses))
		return;
	for (unsigned i = 0; i < addresses->n_items; i++)
		if (!node_ok(addresses->items[i]))
			return; // it may be the one that is meant
	node_error(r, n, "%s is in no prefix of this interface, a neighbour's address is allowed",
		node_shown(r, n));
}

static void check_route_prefix(
	struct report *r, const struct cgn_prefix *prefix, struct node *n, const struct places *own)
{
	for (uint32_t i = 0; i < own->n; i++) {
		const struct place *p = &own->list[i];

		if (p->length == prefix->length && p->range.first == prefix->address) {
			node_error(r, n,
				"%s is an interface's own prefix (line %u), it needs no route",
				prefix_shown(r, prefix), p->node->line);
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
		n_max += c->interfaces[i].n_routes;
	places = report_alloc(r, n_max * sizeof(*places));
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *interface = node_item(list, i);
		const struct node *routes = node_family(r, node_get(interface, "routes"), false);
		const struct node *addresses =
			node_family(r, node_get(interface, "addresses"), false);

		for (uint32_t j = 0; j < c->interfaces[i].n_routes; j++) {
			const struct cgn_route *route = &c->interfaces[i].routes[j];
			struct node *prefix = node_get(node_item(routes, j), "prefix");
			struct node *via = node_get(node_item(routes, j), "via");

			if (n == CONFIG_ROUTES_MAX) {
				node_error(r, node_item(routes, j),
					"too many routes, at most %u are allowed on all interfaces",
					CONFIG_ROUTES_MAX);
				break;
			}
			if (node_ok(via))
				check_via(r, addresses, i, route->via, via, own);
			if (!node_ok(prefix))
				continue;
			check_route_prefix(r, &route->prefix, prefix, own);
			places[n] = (struct route_place){route->prefix, prefix, n};
			n++;
		}
	}
	qsort(places, n, sizeof(*places), compare_routes);
	for (uint32_t i = 1; i < n; i++)
		if (places[i].prefix.address == places[i - 1].prefix.address &&
			places[i].prefix.length == places[i - 1].prefix.length)
			node_error(r, places[i].node,
				"%s is in line %u already, a prefix is allowed once",
				node_shown(r, places[i].node), places[i - 1].node->line);
}

// ---- pools

static int compare_places(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	return x->range.first != y->range.first
		? (x->range.first < y->range.first ? -1 : 1)
		: (x->range.last > y->range.last) - (x->range.last < y->range.last);
}

static bool is_before(const struct node *a, const struct node *b)
{
	return a->line != b->line ? a->line < b->line : a->column < b->column;
}

// The good ranges of all pools, sorted. Stops at CONFIG_POOL_ADDRESSES_MAX.
static struct places pool_places(
	struct report *r, const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "pools");
	struct places pools = {0};
	uint64_t n_addresses = 0;
	uint32_t n_max = 0;

	for (uint32_t i = 0; i < c->n_pools; i++)
		n_max += c->pools[i].n_ranges;
	pools.list = report_alloc(r, n_max * sizeof(*pools.list));
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct node *addresses = node_get(node_item(list, i), "addresses");

		for (uint32_t j = 0; j < c->pools[i].n_ranges; j++) {
			struct place p = {node_item(addresses, j), i, 0, 0, c->pools[i].ranges[j]};
			const char *special = special_part(&p.range);

			if (!node_ok(p.node))
				continue;
			if (special) {
				node_error(r, p.node, "%s is in %s, addresses of hosts are allowed",
					node_shown(r, p.node), special);
				continue;
			}
			n_addresses += (uint64_t)p.range.last - p.range.first + 1;
			if (n_addresses > CONFIG_POOL_ADDRESSES_MAX) {
				node_error(r, p.node,
					"too many addresses, at most %u are allowed in all pools",
					CONFIG_POOL_ADDRESSES_MAX);
				goto out;
			}
			pools.list[pools.n++] = p;
		}
	}
out:
	qsort(pools.list, pools.n, sizeof(*pools.list), compare_places);
	return pools;
}

static void check_pool_overlaps(struct report *r, const struct places *pools)
{
	uint32_t widest = 0; // the range that reaches furthest so far

	for (uint32_t i = 1; i < pools->n; i++) {
		const struct place *a = &pools->list[widest], *b = &pools->list[i];

		if (overlap(&a->range, &b->range)) {
			const struct place *late = is_before(a->node, b->node) ? b : a;
			const struct place *early = late == a ? b : a;

			if (node_ok(late->node))
				node_error(r, late->node,
					"%s overlaps %s in line %u, an address is allowed in one pool once",
					node_shown(r, late->node), node_shown(r, early->node),
					early->node->line);
		}
		if (b->range.last > a->range.last)
			widest = i;
	}
}

static void check_pool_against_interfaces(struct report *r, const struct place *pool,
	const struct places *own, const struct cgn_config *c)
{
	for (uint32_t i = 0; i < own->n && node_ok(pool->node); i++) {
		const struct place *p = &own->list[i];

		if (has(&pool->range, p->address))
			node_error(r, pool->node,
				"%s contains %s, our own address in line %u, others are allowed",
				node_shown(r, pool->node), address_shown(r, p->address),
				p->node->line);
		else if (c->interfaces[p->owner].role == CGN_INTERNAL &&
			overlap(&pool->range, &p->range))
			node_error(r, pool->node,
				"%s overlaps %s of an internal interface in line %u, external "
				"addresses are allowed",
				node_shown(r, pool->node), node_shown(r, p->node), p->node->line);
	}
}

// The range that holds an address; where ranges overlap, which is an error anyway, maybe none.
static const struct place *pool_with(const struct places *pools, uint32_t address)
{
	uint32_t lo = 0, hi = pools->n;

	while (lo < hi) { // the first range behind the address
		uint32_t mid = lo + (hi - lo) / 2;

		if (pools->list[mid].range.first <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && has(&pools->list[lo - 1].range, address) ? &pools->list[lo - 1] : NULL;
}

static void check_vias_against_pools(struct report *r, const struct node *root,
	const struct cgn_config *c, const struct places *pools)
{
	const struct node *list = node_get(root, "interfaces");

	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *routes =
			node_family(r, node_get(node_item(list, i), "routes"), false);

		for (uint32_t j = 0; j < c->interfaces[i].n_routes; j++) {
			struct node *via = node_get(node_item(routes, j), "via");
			const struct place *pool = node_ok(via)
				? pool_with(pools, c->interfaces[i].routes[j].via)
				: NULL;

			if (pool)
				node_error(r, via,
					"%s is a pool's address (line %u), a neighbour's "
					"is allowed",
					node_shown(r, via), pool->node->line);
		}
	}
}

void check_addresses(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct places own = check_interfaces(r, root, c);
	struct places pools = pool_places(r, root, c);

	check_routes(r, root, c, &own);
	check_pool_overlaps(r, &pools);
	for (uint32_t i = 0; i < pools.n; i++)
		if (node_ok(pools.list[i].node))
			check_pool_against_interfaces(r, &pools.list[i], &own, c);
	check_vias_against_pools(r, root, c, &pools);
}
