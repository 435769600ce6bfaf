// SPDX-License-Identifier: BSD-3-Clause
#include "snapshot.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include "deal.h"

static uint32_t mask_of(uint8_t length)
{
	return length ? UINT32_MAX << (32 - length) : 0;
}

// ---- policies

const struct snapshot_policy *snapshot_policy_match(const struct snapshot *s, uint32_t source,
	uint32_t destination, uint8_t protocol, uint16_t destination_port, bool has_ports)
{
	const uint32_t policy = classify(&s->classifier, source, destination,
		classify_service(&s->classifier, protocol, destination_port, has_ports));

	return policy == CLASSIFY_NONE ? NULL : &s->policy[policy];
}

const struct snapshot_policy *snapshot_policy_match_fragment(const struct snapshot *s,
	uint32_t source, uint32_t destination, uint8_t protocol, bool *by_ports)
{
	const uint32_t policy =
		classify(&s->classifier, source, destination, s->classifier.any_port[protocol]);

	*by_ports = policy != CLASSIFY_NONE && s->policy[policy].config->n_destination_ports;
	return policy == CLASSIFY_NONE ? NULL : &s->policy[policy];
}

// ---- destinations

struct prefix_list {
	struct lpm_prefix *p;
	uint32_t n, room;
};

static bool list_add(struct prefix_list *l, uint32_t address, uint8_t length, uint32_t value)
{
	if (l->n == l->room) {
		uint32_t room = l->room ? 2 * l->room : 64;
		struct lpm_prefix *p = realloc(l->p, room * sizeof(*p));

		if (!p)
			return false;
		l->p = p;
		l->room = room;
	}
	l->p[l->n++] = (struct lpm_prefix){address & mask_of(length), length, value};
	return true;
}

// A range as the fewest prefixes.
static bool list_add_range(struct prefix_list *l, uint32_t first, uint32_t last, uint32_t value)
{
	uint64_t at = first;

	while (at <= last) {
		uint8_t length = at ? (uint8_t)(32 - __builtin_ctz((uint32_t)at)) : 0;

		while (at + (1ull << (32 - length)) - 1 > last)
			length++;
		if (!list_add(l, (uint32_t)at, length, value))
			return false;
		at += 1ull << (32 - length);
	}
	return true;
}

// Network and broadcast address of a prefix of ours, unless a pool has them.
static bool add_martian(const struct snapshot *s, struct prefix_list *l, uint32_t address)
{
	for (uint32_t i = 0; i < s->n_ranges; i++) {
		if (address >= s->range[i].first && address <= s->range[i].last)
			return true;
	}
	return list_add(l, address, 32, DEST(DEST_MARTIAN, 0));
}

// Where a prefix leads; `inside`: once more, for what internal interfaces have alone.
static bool add_way(const struct cgn_interface *ifc, struct prefix_list *l,
	struct prefix_list *inside, const struct cgn_prefix *p, uint32_t value)
{
	return list_add(l, p->address, p->length, value) &&
		(ifc->role != CGN_INTERNAL || list_add(inside, p->address, p->length, value));
}

static bool add_interface(
	struct snapshot *s, struct prefix_list *l, struct prefix_list *inside, uint32_t ifc)
{
	const struct cgn_interface *config = &s->config->interfaces[ifc];

	for (uint32_t i = 0; i < config->n_addresses; i++) {
		struct cgn_prefix a = config->addresses[i];
		uint32_t host = ~mask_of(a.length);

		if (!list_add(l, a.address, 32, DEST(DEST_LOCAL, ifc)) ||
			!add_way(config, l, inside, &a, DEST(DEST_ONLINK, ifc)))
			return false;
		if (a.length <= 30 &&
			(!add_martian(s, l, a.address | host) ||
				!add_martian(s, l, a.address & ~host)))
			return false;
	}
	for (uint32_t i = 0; i < config->n_routes; i++) {
		const struct cgn_route *r = &config->routes[i];
		uint32_t g = 0;

		while (g < s->n_gateways &&
			(s->gateway[g].address != r->via || s->gateway[g].ifc != ifc))
			g++;
		if (g == s->n_gateways)
			s->gateway[s->n_gateways++] = (struct gateway){r->via, (uint8_t)ifc};
		if (!add_way(config, l, inside, &r->prefix, DEST(DEST_ROUTE, g)))
			return false;
	}
	return true;
}

static bool build_dest(struct snapshot *s)
{
	static const struct lpm_prefix martians[] = {
		{0x00000000, 8, DEST(DEST_MARTIAN, 0)}, // "this network"
		{0x7f000000, 8, DEST(DEST_MARTIAN, 0)}, // loopback
		{0xa9fe0000, 16, DEST(DEST_MARTIAN, 0)}, // link local (RFC 3927 7)
		{0xe0000000, 4, DEST(DEST_MARTIAN, 0)}, // multicast
		{0xf0000000, 4, DEST(DEST_MARTIAN, 0)}, // class E and 255.255.255.255
	};
	struct prefix_list l = {0}, inside = {0};
	bool ok = true;

	// pool addresses first: of equal prefixes the first wins
	for (uint32_t i = 0; i < s->n_ranges && ok; i++)
		ok = list_add_range(&l, s->range[i].first, s->range[i].last, DEST(DEST_POOL, i));
	for (uint32_t i = 0; i < s->n_interfaces && ok; i++)
		ok = add_interface(s, &l, &inside, i);
	for (uint32_t i = 0; i < sizeof(martians) / sizeof(*martians) && ok; i++)
		ok = list_add(&l, martians[i].address, martians[i].length, martians[i].value);
	if (ok) {
		s->dest = lpm_create(l.p, l.n);
		s->inside = lpm_create(inside.p, inside.n);
		ok = s->dest && s->inside;
	}
	free(l.p);
	free(inside.p);
	return ok;
}

// ---- ownership

void steer_split(
	uint32_t n_blocks, uint32_t n_workers, uint32_t worker, uint32_t *first, uint32_t *n)
{
	*first = (uint32_t)((uint64_t)n_blocks * worker / n_workers);
	*n = (uint32_t)((uint64_t)n_blocks * (worker + 1) / n_workers) - *first;
}

static struct snapshot_pool_address *pool_address_of(const struct snapshot *s, uint32_t address)
{
	uint32_t dest = dest_lookup(s, address);
	const struct snapshot_range *r;

	if (DEST_KIND(dest) != DEST_POOL)
		return NULL;
	r = &s->range[DEST_INDEX(dest)];
	return &s->pool_address[r->first_address + (address - r->first)];
}

uint32_t snapshot_blocks(
	const struct snapshot *s, const struct snapshot_pool_address *a, uint16_t *first_port)
{
	const struct cgn_pool *pool = &s->config->pools[a->pool];

	if (s->det[a->pool])
		return cgn_det_blocks(s->det[a->pool], a->external, first_port);
	*first_port = pool->ports.first;
	return (uint32_t)(pool->ports.last - pool->ports.first + 1) / pool->block_size;
}

static uint32_t steer_blocks(
	const struct snapshot *s, const struct snapshot_pool_address *a, uint16_t port)
{
	const struct cgn_det *det;
	struct cgn_det_slot slot;
	uint32_t n_blocks, block;
	uint16_t first_port;

	if (!a->split)
		return a->owner;
	det = s->det[a->pool];
	if (det && cgn_det_find(det, a->external, port, &slot, &block))
		return steer_internal(s, cgn_det_subscriber(det, cgn_det_holder(det, slot)));
	n_blocks = snapshot_blocks(s, a, &first_port);
	if (port < first_port)
		return steer_worker(&s->external, a->address);
	block = (uint32_t)(port - first_port) / s->config->pools[a->pool].block_size;
	if (block >= n_blocks)
		return steer_worker(&s->external, a->address);
	// the inverse of steer_split: the worker w with first(w) <= block < first(w + 1)
	return (uint32_t)((((uint64_t)block + 1) * s->n_workers - 1) / n_blocks);
}

uint32_t steer_external(const struct snapshot *s, uint32_t address, uint16_t port)
{
	const struct snapshot_pool_address *a = pool_address_of(s, address);

	return a ? steer_blocks(s, a, port) : steer_worker(&s->external, address);
}

uint32_t steer_inbound_asked(const struct snapshot *s, uint64_t key)
{
	const uint32_t address = ntohl((be32_t)key);
	const struct snapshot_pool_address *a = pool_address_of(s, address);
	struct staticmap_hit hit;

	if (!a)
		return steer_worker(&s->external, address);
	if (a->ask &&
		staticmap_find(&s->statics.external[a->static_first], a->n_statics, key, &hit))
		return steer_internal(s, hit.address);
	return steer_blocks(s, a, ntohs((be16_t)(key >> 32)));
}

static int compare_ranges(const void *a, const void *b)
{
	const struct snapshot_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

// The place of the static mappings statics.external[first..end-1], which share an external address:
// in a pool's range, or a new one behind the n_sorted ranges of pools.
static struct snapshot_pool_address *static_address(
	struct snapshot *s, uint32_t n_sorted, uint32_t address)
{
	uint32_t lo = 0, hi = n_sorted;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (s->range[mid].first <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo && address <= s->range[lo - 1].last) {
		const struct snapshot_range *r = &s->range[lo - 1];

		return &s->pool_address[r->first_address + (address - r->first)];
	}
	s->range[s->n_ranges++] =
		(struct snapshot_range){address, address, SNAPSHOT_NO_POOL, s->n_pool_addresses};
	s->pool_address[s->n_pool_addresses] = (struct snapshot_pool_address){
		.address = address, .pool = SNAPSHOT_NO_POOL, .not_lent = true};
	return &s->pool_address[s->n_pool_addresses++];
}

// Tells every external address of its static mappings.
static void place_statics(struct snapshot *s)
{
	const struct staticmap_range *l = s->statics.external;
	const uint32_t n_sorted = s->n_ranges;

	qsort(s->range, n_sorted, sizeof(*s->range), compare_ranges);
	for (uint32_t i = 0, end; i < s->statics.n; i = end) {
		struct snapshot_pool_address *a =
			static_address(s, n_sorted, staticmap_address(&l[i]));
		bool one_owner = true;

		for (end = i; end < s->statics.n && staticmap_address(&l[end]) == a->address; end++)
			one_owner = one_owner &&
				steer_internal(s, l[end].address) ==
					steer_internal(s, l[i].address);
		a->static_first = i;
		a->n_statics = end - i;
		a->not_lent = a->not_lent || staticmap_is_whole(&l[i]);
		a->ask = !a->not_lent || !one_owner;
		a->owner = (uint8_t)steer_internal(s, l[i].address);
	}
}

// The plans of deterministic pools say what their addresses lend.
static bool plan_pools(struct snapshot *s)
{
	for (uint32_t p = 0; p < s->config->n_pools; p++) {
		if (s->config->pools[p].allocation != CGN_ALLOCATION_DETERMINISTIC)
			continue;
		s->det[p] = cgn_det_create(s->config, p);
		if (!s->det[p])
			return false;
	}
	for (uint32_t i = 0; i < s->n_pool_addresses; i++) {
		struct snapshot_pool_address *a = &s->pool_address[i];

		if (!a->not_lent && s->det[a->pool])
			a->external = cgn_det_external_number(s->det[a->pool], a->address);
	}
	return true;
}

bool snapshot_address_is_shared(const struct snapshot *s, uint32_t address)
{
	const struct snapshot_pool_address *a = pool_address_of(s, address);

	return a && a->split;
}

bool steer_is_split(const struct snapshot *s, uint32_t address)
{
	const struct snapshot_pool_address *a = pool_address_of(s, address);

	return a && (a->split || a->ask);
}

uint32_t steer_fragment(const struct snapshot *s, uint32_t address, uint32_t hash)
{
	const struct snapshot_pool_address *a = pool_address_of(s, address);

	if (!a)
		return steer_worker(&s->external, address);
	return a->split || a->ask ? (uint32_t)(((uint64_t)hash * s->n_workers) >> 32) : a->owner;
}

static bool build_pools(struct snapshot *s, const struct steer_plan *plan)
{
	const struct cgn_config *config = s->config;
	uint32_t n_addresses = s->statics.n, n_ranges = s->statics.n;

	for (uint32_t p = 0; p < config->n_pools; p++) {
		n_ranges += config->pools[p].n_ranges;
		for (uint32_t i = 0; i < config->pools[p].n_ranges; i++) {
			n_addresses += config->pools[p].ranges[i].last -
				config->pools[p].ranges[i].first + 1;
		}
	}
	s->range = calloc(n_ranges ? n_ranges : 1, sizeof(*s->range));
	s->pool_address = calloc(n_addresses ? n_addresses : 1, sizeof(*s->pool_address));
	if (!s->range || !s->pool_address)
		return false;
	for (uint32_t p = 0; p < config->n_pools; p++) {
		const struct cgn_pool *pool = &config->pools[p];

		for (uint32_t i = 0; i < pool->n_ranges; i++) {
			s->range[s->n_ranges++] = (struct snapshot_range){pool->ranges[i].first,
				pool->ranges[i].last, (uint16_t)p, s->n_pool_addresses};
			for (uint64_t a = pool->ranges[i].first; a <= pool->ranges[i].last; a++) {
				s->pool_address[s->n_pool_addresses++] =
					(struct snapshot_pool_address){(uint32_t)a, (uint16_t)p};
			}
		}
	}
	place_statics(s); // addresses of no pool come behind those of the pools
	if (!plan_pools(s))
		return false;
	deal_out(s, plan->external);
	return true;
}

struct snapshot *snapshot_create(const struct cgn_config *config, const struct steer_plan *plan)
{
	struct snapshot *s = calloc(1, sizeof(*s));
	uint32_t n_routes = 0;

	if (!s)
		return NULL;
	s->config = config;
	s->n_workers = config->runtime.n_workers;
	s->n_interfaces = config->n_interfaces;
	steer_init(&s->internal, plan->internal_bits, s->n_workers);
	if (plan->external)
		s->external = *plan->external;
	else
		steer_init(&s->external, plan->external_bits, s->n_workers);
	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		const struct cgn_interface *ifc = &config->interfaces[i];

		s->interface[i] = (struct snapshot_interface){
			ifc->role, ifc->mtu, ifc->vlan, ifc->addresses[0].address, ifc};
		n_routes += ifc->n_routes;
	}
	s->gateway = calloc(n_routes ? n_routes : 1, sizeof(*s->gateway));
	s->policy = calloc(config->n_policies ? config->n_policies : 1, sizeof(*s->policy));
	if (!s->gateway || !s->policy || !staticmap_init(&s->statics, config) ||
		!build_pools(s, plan) || !build_dest(s) || !routes6_init(&s->routes6, config))
		goto err_destroy;
	if (!classifier_init(&s->classifier, config->policies, config->n_policies))
		goto err_destroy;
	s->n_policies = config->n_policies;
	for (uint32_t i = 0; i < config->n_policies; i++) {
		s->policy[i].config = &config->policies[i];
		s->portless |= config->policies[i].portless;
	}
	return s;

err_destroy:
	snapshot_destroy(s);
	return NULL;
}

void snapshot_destroy(struct snapshot *s)
{
	if (!s)
		return;
	classifier_fini(&s->classifier);
	lpm_destroy(s->dest);
	lpm_destroy(s->inside);
	routes6_fini(&s->routes6);
	staticmap_fini(&s->statics);
	for (uint32_t i = 0; i < CGN_POOLS_MAX; i++)
		cgn_det_destroy(s->det[i]);
	free(s->policy);
	free(s->pool_address);
	free(s->range);
	free(s->gateway);
	free(s);
}
