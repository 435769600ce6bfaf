// SPDX-License-Identifier: BSD-3-Clause
// An endpoint may have one meaning: overlaps are found by sorting, as there may be many thousands.
#include "config_static.h"
#include "config.h"
#include "config_ipv6.h"
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))

// ---- reading

static void read_protocol(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {"tcp", "udp", "icmp", "all", NULL};
	static const uint8_t numbers[] = {
		CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_ICMP, CGN_PROTO_ANY};
	int i = value_choice(r, n, words);

	if (i >= 0)
		*(uint8_t *)to = numbers[i];
}

static void read_internal(struct report *r, struct node *n, const struct field *f, void *to)
{
	struct cgn_static_mapping *m = to;

	value_endpoints(r, n, &m->internal, &m->internal_ports);
}

static void read_external(struct report *r, struct node *n, const struct field *f, void *to)
{
	struct cgn_static_mapping *m = to;

	value_endpoints(r, n, &m->external, &m->external_ports);
}

static void read_mapping(struct report *r, struct node *n, void *item)
{
	static const struct field fields[] = {
		{"name", value_name, offsetof(struct cgn_static_mapping, name),
			.is_required = true},
		{"protocol", read_protocol, offsetof(struct cgn_static_mapping, protocol)},
		{"internal", read_internal, .is_required = true},
		{"external", read_external, .is_required = true},
	};

	value_map(r, n, fields, LEN(fields), item);
}

void static_read(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {"static mappings", sizeof(struct cgn_static_mapping),
		false, CONFIG_STATIC_MAPPINGS_MAX, read_mapping};
	struct cgn_config *c = to;

	c->static_mappings = value_list(r, n, &spec, &c->n_static_mappings);
}

// ---- the places

struct place { // of a mapping that can be read
	const struct cgn_static_mapping *m;
	struct node *name, *protocol, *internal, *external;
};

struct places {
	struct place *list; // in the order of the file
	uint32_t n;
};

static struct places places_of(struct report *r, struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "static-mappings");
	struct places places = {
		.list = report_alloc(r, (c->n_static_mappings + 1) * sizeof(struct place))};

	for (uint32_t i = 0; i < c->n_static_mappings; i++) {
		const struct node *n = node_item(list, i);
		struct place p = {&c->static_mappings[i], node_get(n, "name"),
			node_get(n, "protocol"), node_get(n, "internal"), node_get(n, "external")};

		if (node_ok(p.internal) && node_ok(p.external) &&
			(!p.protocol || node_ok(p.protocol)))
			places.list[places.n++] = p;
	}
	return places;
}

static bool place_ok(const struct place *p)
{
	return node_ok(p->internal) && node_ok(p->external);
}

// ---- one mapping by itself

static uint32_t n_ports(const struct cgn_port_range *ports)
{
	return (uint32_t)ports->last - ports->first + 1;
}

static void check_shape(struct report *r, struct place *p)
{
	const struct cgn_port_range *in = &p->m->internal_ports, *out = &p->m->external_ports;

	if (!in->first != !out->first)
		node_error(r, p->external,
			"%s ports while internal has %s, ports on both sides or on none "
			"(one-to-one) are allowed",
			out->first ? "has" : "has no", in->first ? "some" : "none");
	else if (n_ports(in) != n_ports(out))
		node_error(r, p->external, "has %u ports for %u internal ones, as many are allowed",
			n_ports(out), n_ports(in));
	else if (p->m->protocol == CGN_PROTO_ICMP && out->first)
		node_error(r, p->protocol,
			"icmp has no ports, it is allowed for one-to-one only (addresses alone)");
}

static void check_sizes(struct report *r, const struct places *places)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < places->n; i++) {
		const struct place *p = &places->list[i];

		if (!place_ok(p) || cgn_static_one_to_one(p->m))
			continue;
		n += n_ports(&p->m->external_ports);
		if (n > CONFIG_STATIC_PORTS_MAX) {
			node_error(r, p->external,
				"too many ports, at most %u are allowed in all static mappings",
				CONFIG_STATIC_PORTS_MAX);
			return;
		}
	}
}

static int compare_names(const void *a, const void *b)
{
	const struct place *x = *(const struct place *const *)a;
	const struct place *y = *(const struct place *const *)b;
	int order = strcmp(x->m->name, y->m->name);

	return order ? order : (x > y) - (x < y);
}

static void check_names(struct report *r, const struct places *places)
{
	struct place **sorted = report_alloc(r, (places->n + 1) * sizeof(*sorted));
	uint32_t n = 0;

	for (uint32_t i = 0; i < places->n; i++)
		if (node_ok(places->list[i].name))
			sorted[n++] = &places->list[i];
	qsort(sorted, n, sizeof(*sorted), compare_names);
	for (uint32_t i = 1; i < n; i++)
		if (!strcmp(sorted[i]->m->name, sorted[i - 1]->m->name))
			node_error(r, sorted[i]->name,
				"\"%s\" is the name in line %u already, names must differ",
				sorted[i]->m->name, sorted[i - 1]->name->line);
}

// ---- ranges of addresses, each of one meaning

struct range {
	struct cgn_address_range range;
	const struct node *node; // NULL: not to be named
	uint32_t idx;
};

struct ranges {
	struct range *list;
	uint32_t n;
};

static int compare_ranges(const void *a, const void *b)
{
	const struct range *x = a, *y = b;

	return x->range.first != y->range.first
		? (x->range.first < y->range.first ? -1 : 1)
		: (x->range.last > y->range.last) - (x->range.last < y->range.last);
}

static void ranges_sort(struct ranges *l)
{
	qsort(l->list, l->n, sizeof(*l->list), compare_ranges);
}

// Of disjoint ranges the one with the address, or NULL.
static const struct range *ranges_find(const struct ranges *l, uint32_t address)
{
	uint32_t lo = 0, hi = l->n;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (l->list[mid].range.first <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && address <= l->list[lo - 1].range.last ? &l->list[lo - 1] : NULL;
}

// idx is the pool.
static struct ranges pool_ranges(
	struct report *r, const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "pools");
	struct ranges l = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < c->n_pools; i++)
		n += c->pools[i].n_ranges;
	l.list = report_alloc(r, (n + 1) * sizeof(*l.list));
	for (uint32_t i = 0; i < c->n_pools; i++) {
		const struct node *addresses = node_get(node_item(list, i), "addresses");

		for (uint32_t j = 0; j < c->pools[i].n_ranges; j++) {
			const struct node *n_range = node_item(addresses, j);

			if (node_ok(n_range))
				l.list[l.n++] = (struct range){c->pools[i].ranges[j], n_range, i};
		}
	}
	ranges_sort(&l);
	return l;
}

// All sources of policies that translate, merged.
static struct ranges source_ranges(struct report *r, const struct cgn_config *c)
{
	struct ranges l = {0};
	uint32_t n = 1, kept = 0;

	for (uint32_t i = 0; i < c->n_policies; i++)
		n += c->policies[i].n_sources + 1;
	l.list = report_alloc(r, n * sizeof(*l.list));
	for (uint32_t i = 0; i < c->n_policies; i++) {
		const struct cgn_policy *p = &c->policies[i];

		if (p->action != CGN_TRANSLATE)
			continue;
		if (!p->n_sources)
			l.list[l.n++].range = (struct cgn_address_range){0, UINT32_MAX};
		for (uint32_t j = 0; j < p->n_sources; j++)
			l.list[l.n++].range = prefix_range(&p->sources[j]);
	}
	ranges_sort(&l);
	for (uint32_t i = 1; i < l.n; i++) {
		struct cgn_address_range *last = &l.list[kept].range;

		if (l.list[i].range.first > last->last)
			l.list[++kept] = l.list[i];
		else if (l.list[i].range.last > last->last)
			last->last = l.list[i].range.last;
	}
	l.n = l.n ? kept + 1 : 0;
	return l;
}

// idx is unused; next hops of all routes.
static struct ranges via_ranges(
	struct report *r, const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "interfaces");
	struct ranges l = {0};
	uint32_t n = 1;

	for (uint32_t i = 0; i < c->n_interfaces; i++)
		n += c->interfaces[i].n_routes;
	l.list = report_alloc(r, n * sizeof(*l.list));
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *routes =
			node_family(r, node_get(node_item(list, i), "routes"), false);

		for (uint32_t j = 0; j < c->interfaces[i].n_routes; j++) {
			const struct node *via = node_get(node_item(routes, j), "via");
			uint32_t a = c->interfaces[i].routes[j].via;

			if (node_ok(via))
				l.list[l.n++] = (struct range){{a, a}, via, 0};
		}
	}
	ranges_sort(&l);
	return l;
}

// ---- addresses against the rest of the file

static bool is_special(uint32_t address)
{
	return !(address >> 24) || address >> 24 == 127 || address >> 28 >= 0xe;
}

// Ours, or in a prefix of an interface of the other role: reported.
static void check_against_interfaces(struct report *r, struct node *n, uint32_t address,
	enum cgn_role wrong, const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "interfaces");

	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		const struct node *addresses = node_get(node_item(list, i), "addresses");
		const bool role_ok = node_ok(node_get(node_item(list, i), "role"));

		for (uint32_t j = 0, at = 0; j < c->interfaces[i].n_addresses; j++, at++) {
			const struct cgn_prefix *a = &c->interfaces[i].addresses[j];
			const struct node *place;

			while (node_is_ipv6(node_item(addresses, at)))
				at++;
			place = node_item(addresses, at);

			if (!node_ok(place) || !node_ok(n))
				continue;
			if (a->address == address)
				node_error(r, n,
					"%s is our own address in line %u, another is allowed",
					address_shown(r, address), place->line);
			else if (role_ok && c->interfaces[i].role == wrong &&
				!((a->address ^ address) & prefix_mask(a->length)))
				node_error(r, n,
					"%s is in %s of an %s interface in line %u, %s addresses are "
					"allowed",
					address_shown(r, address), node_shown(r, place),
					wrong == CGN_INTERNAL ? "internal" : "external",
					place->line,
					wrong == CGN_INTERNAL ? "external" : "subscribers'");
		}
	}
}

static void check_not_special(struct report *r, struct node *n, uint32_t address)
{
	if (is_special(address))
		node_error(r, n, "%s is no host's address, a host's is allowed",
			address_shown(r, address));
}

static void check_reserved(struct report *r, struct place *p, const struct cgn_pool *pool)
{
	const struct cgn_port_range *ports = &p->m->external_ports;

	for (uint32_t i = 0; i < pool->n_reserved && !cgn_static_one_to_one(p->m); i++) {
		const struct cgn_port_range *reserved = &pool->reserved[i];

		if (ports->first <= reserved->last && reserved->first <= ports->last) {
			node_error(r, p->external,
				"%s holds reserved ports (%u-%u) of pool %s, others are allowed",
				node_shown(r, p->external), reserved->first, reserved->last,
				pool->name);
			return;
		}
	}
}

static void check_addresses_of(struct report *r, struct place *p, const struct ranges *pools,
	const struct ranges *vias, const struct node *root, const struct cgn_config *c)
{
	const struct range *pool = ranges_find(pools, p->m->internal);
	const struct range *via = ranges_find(vias, p->m->external);

	check_not_special(r, p->internal, p->m->internal);
	check_not_special(r, p->external, p->m->external);
	if (pool && node_ok(p->internal))
		node_error(r, p->internal,
			"%s is a pool's address (line %u), a subscriber's is allowed",
			address_shown(r, p->m->internal), pool->node->line);
	if (via && node_ok(p->external))
		node_error(r, p->external,
			"%s is a next hop (line %u), an address of our own use is allowed",
			address_shown(r, p->m->external), via->node->line);
	if (node_ok(p->internal))
		check_against_interfaces(r, p->internal, p->m->internal, CGN_EXTERNAL, root, c);
	if (node_ok(p->external))
		check_against_interfaces(r, p->external, p->m->external, CGN_INTERNAL, root, c);
	pool = ranges_find(pools, p->m->external);
	if (pool && place_ok(p))
		check_reserved(r, p, &c->pools[pool->idx]);
}

static void check_policies_know(
	struct report *r, const struct places *places, const struct cgn_config *c)
{
	struct ranges sources = source_ranges(r, c);

	for (uint32_t i = 0; i < places->n; i++) {
		const struct place *p = &places->list[i];

		if (!ranges_find(&sources, p->m->internal))
			node_warning(r, p->internal,
				"no policy translates %s: it is reached from outside, but opens "
				"nothing itself",
				address_shown(r, p->m->internal));
	}
}

// ---- overlaps

struct claim {
	uint32_t address;
	uint64_t first, last; // protocol << 16 | port
	const struct place *place;
	struct node *node;
};

struct claims {
	struct claim *list;
	uint32_t n;
};

static struct claims claims_of(struct report *r, const struct places *places, bool external)
{
	static const uint8_t protocols[] = {CGN_PROTO_ICMP, CGN_PROTO_TCP, CGN_PROTO_UDP};
	struct claims l = {
		.list = report_alloc(r, (LEN(protocols) * places->n + 1) * sizeof(*l.list))};

	for (uint32_t i = 0; i < places->n; i++) {
		const struct place *p = &places->list[i];
		const struct cgn_port_range *ports =
			external ? &p->m->external_ports : &p->m->internal_ports;

		for (unsigned k = 0; place_ok(p) && k < LEN(protocols); k++) {
			uint64_t protocol = (uint64_t)protocols[k] << 16;

			if (cgn_static_takes(p->m, protocols[k]))
				l.list[l.n++] =
					(struct claim){external ? p->m->external : p->m->internal,
						protocol | ports->first, protocol | ports->last, p,
						external ? p->external : p->internal};
		}
	}
	return l;
}

static int compare_claims(const void *a, const void *b)
{
	const struct claim *x = a, *y = b;

	if (x->address != y->address)
		return x->address < y->address ? -1 : 1;
	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static void check_overlaps(struct report *r, struct claims *l)
{
	uint32_t widest = 0; // the claim of this address that reaches furthest so far

	qsort(l->list, l->n, sizeof(*l->list), compare_claims);
	for (uint32_t i = 1; i < l->n; i++) {
		const struct claim *a = &l->list[widest], *b = &l->list[i];

		if (a->address == b->address && b->first <= a->last) {
			const struct claim *late = a->place > b->place ? a : b;
			const struct claim *early = late == a ? b : a;

			if (node_ok(late->node))
				node_error(r, late->node,
					"%s overlaps %s in line %u, an endpoint is allowed once",
					node_shown(r, late->node), node_shown(r, early->node),
					early->node->line);
		}
		if (a->address != b->address || b->last > a->last)
			widest = i;
	}
}

// An external address is either one-to-one, of one host per protocol, or for port forwards. `l` is
// sorted.
static void check_whole_addresses(struct report *r, const struct claims *l)
{
	for (uint32_t i = 0, end; i < l->n; i = end) {
		const struct place *earliest[2] = {NULL, NULL}; // [one-to-one]

		for (end = i; end < l->n && l->list[end].address == l->list[i].address; end++) {
			const struct place *p = l->list[end].place;
			const struct place **e = &earliest[cgn_static_one_to_one(p->m)];

			if (!*e || p < *e)
				*e = p;
		}
		for (uint32_t k = i; k < end; k++) {
			const struct place *p = l->list[k].place;
			const struct place *other = earliest[!cgn_static_one_to_one(p->m)];

			if (other && other < p && node_ok(p->external))
				node_error(r, p->external,
					"%s is %s in line %u already, an address is allowed for "
					"one-to-one or for ports",
					address_shown(r, p->m->external),
					cgn_static_one_to_one(other->m) ? "one-to-one"
									: "used for ports",
					other->external->line);
		}
	}
}

// An external address is nobody's internal one. `external` is sorted by address.
static void check_sides(
	struct report *r, const struct places *places, const struct claims *external)
{
	struct ranges l = {.list = report_alloc(r, (external->n + 1) * sizeof(*l.list))};

	for (uint32_t i = 0; i < external->n; i++) {
		const struct claim *e = &external->list[i];

		l.list[l.n++] = (struct range){{e->address, e->address}, e->node, 0};
	}
	for (uint32_t i = 0; i < places->n; i++) {
		const struct place *p = &places->list[i];
		const struct range *other = ranges_find(&l, p->m->internal);

		if (other && node_ok(p->internal))
			node_error(r, p->internal,
				"%s is an external address in line %u, a subscriber's is allowed",
				address_shown(r, p->m->internal), other->node->line);
	}
}

// One-to-one mappings take their addresses out of the pools: something must be left. `l` is sorted
// by address.
static void check_pools_left(struct report *r, const struct claims *l, const struct ranges *pools,
	const struct node *root, const struct cgn_config *c)
{
	const struct node *list = node_get(root, "pools");
	uint64_t n_left[CGN_POOLS_MAX] = {0};

	for (uint32_t i = 0; i < pools->n; i++)
		n_left[pools->list[i].idx] +=
			(uint64_t)pools->list[i].range.last - pools->list[i].range.first + 1;
	for (uint32_t i = 0; i < l->n; i++) {
		const struct range *pool = ranges_find(pools, l->list[i].address);

		if (pool && cgn_static_one_to_one(l->list[i].place->m) &&
			(!i || l->list[i - 1].address != l->list[i].address))
			n_left[pool->idx]--;
	}
	for (uint32_t i = 0; i < c->n_pools; i++) {
		struct node *addresses = node_get(node_item(list, i), "addresses");

		const struct cgn_pool *p = &c->pools[i];
		uint32_t n_blocks = n_ports(&p->ports) / p->block_size;

		if (!n_left[i])
			node_error(r, addresses,
				"one-to-one mappings take all of them, some must be left");
		else if (p->allocation == CGN_ALLOCATION_DYNAMIC &&
			n_left[i] < c->runtime.n_workers && n_blocks < c->runtime.n_workers)
			node_error(r, addresses,
				"one-to-one mappings leave %llu addresses of %u blocks: too few for %u "
				"workers, each needs its share",
				(unsigned long long)n_left[i], n_blocks, c->runtime.n_workers);
	}
}

void check_static(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct places places = places_of(r, root, c);
	struct ranges pools, vias;
	struct claims internal, external;

	if (!places.n)
		return;
	pools = pool_ranges(r, root, c);
	vias = via_ranges(r, root, c);
	check_names(r, &places);
	for (uint32_t i = 0; i < places.n; i++) {
		struct place *p = &places.list[i];

		check_shape(r, p);
		if (place_ok(p) && (!p->protocol || node_ok(p->protocol)))
			check_addresses_of(r, p, &pools, &vias, root, c);
	}
	check_sizes(r, &places);
	external = claims_of(r, &places, true);
	internal = claims_of(r, &places, false);
	check_overlaps(r, &external);
	check_whole_addresses(r, &external);
	check_overlaps(r, &internal);
	check_sides(r, &places, &external);
	if (!r->errors.n) { // with bad lines nobody knows what is left, or which policy is meant
		check_pools_left(r, &external, &pools, root, c);
		check_policies_know(r, &places, c);
	}
}
