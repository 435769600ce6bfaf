// SPDX-License-Identifier: BSD-3-Clause
#include "config_check.h"
#include "config_deterministic.h"
#include "config_static.h"
#include "config_value.h"
#include <stdlib.h>
#include <string.h>

#define LEN(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define SESSIONS_PER_WORKER_MIN 64

// Nothing is wrong with `key` of `map`: it is absent, or good.
static bool is_usable(const struct node *map, const char *key)
{
	const struct node *n = node_get(map, key);

	return !n || node_ok(n);
}

// ---- runtime

static void check_runtime(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct node *runtime = node_get(root, "runtime"), *n;
	uint32_t n_workers = c->runtime.n_workers;

	if (!runtime || !is_usable(runtime, "worker-lcores"))
		return;
	n = node_get(runtime, "worker-lcores");
	if (!n)
		n = node_get(runtime, "main-lcore");
	for (uint32_t i = 0; n && is_usable(runtime, "main-lcore") && i < n_workers; i++)
		if (c->runtime.worker_lcores[i] == c->runtime.main_lcore)
			node_error(r, n,
				"lcore %u is both main-lcore and a worker, all must differ",
				c->runtime.main_lcore);
	n = node_get(runtime, "max-sessions");
	if (node_ok(n) && c->runtime.max_sessions < n_workers * SESSIONS_PER_WORKER_MIN)
		node_error(r, n, "%u is too few for %u workers, at least %u are needed",
			c->runtime.max_sessions, n_workers, n_workers * SESSIONS_PER_WORKER_MIN);
	n = node_get(runtime, "max-subscribers");
	if (node_ok(n) && c->runtime.max_subscribers < n_workers)
		node_error(r, n, "%u is too few for %u workers, at least %u are needed",
			c->runtime.max_subscribers, n_workers, n_workers);
}

// ---- names, roles, devices

static void check_names(struct report *r, const struct node *list,
	const char *(*name_of)(const struct cgn_config *c, uint32_t i), const struct cgn_config *c,
	uint32_t n_items)
{
	for (uint32_t i = 0; i < n_items; i++) {
		struct node *n = node_get(node_item(list, i), "name");

		for (uint32_t j = 0; j < i && node_ok(n); j++) {
			const struct node *other = node_get(node_item(list, j), "name");

			if (node_ok(other) && !strcmp(name_of(c, i), name_of(c, j)))
				node_error(r, n,
					"\"%s\" is the name in line %u already, names "
					"must differ",
					name_of(c, i), other->line);
		}
	}
}

static const char *interface_name(const struct cgn_config *c, uint32_t i)
{
	return c->interfaces[i].name;
}

static const char *pool_name(const struct cgn_config *c, uint32_t i)
{
	return c->pools[i].name;
}

static const char *policy_name(const struct cgn_config *c, uint32_t i)
{
	return c->policies[i].name;
}

static void check_roles(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct node *list = node_get(root, "interfaces");
	unsigned n_of_role[2] = {0};

	if (!node_ok(list))
		return;
	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		if (!node_ok(node_get(node_item(list, i), "role")))
			return;
		n_of_role[c->interfaces[i].role]++;
	}
	if (!n_of_role[CGN_INTERNAL])
		node_error(r, list, "no interface has role internal, at least one is needed");
	if (!n_of_role[CGN_EXTERNAL])
		node_error(r, list, "no interface has role external, at least one is needed");
}

// A PCI address may leave out its domain; a vdev is known by what stands before its comma.
static bool same_device(const char *a, const char *b)
{
	size_t n_a, n_b;

	if (!strncmp(a, "0000:", 5))
		a += 5;
	if (!strncmp(b, "0000:", 5))
		b += 5;
	n_a = strcspn(a, ",");
	n_b = strcspn(b, ",");
	return n_a == n_b && !(strchr(a, ':') ? strncasecmp(a, b, n_a) : strncmp(a, b, n_a));
}

static void check_devices(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct node *list = node_get(root, "interfaces");

	for (uint32_t i = 0; i < c->n_interfaces; i++) {
		struct node *n = node_get(node_item(list, i), "device");

		for (uint32_t j = 0; j < i && node_ok(n); j++) {
			const struct node *other = node_get(node_item(list, j), "device");

			if (node_ok(other) &&
				same_device(c->interfaces[i].device, c->interfaces[j].device))
				node_error(r, n,
					"\"%s\" is in line %u already, an interface needs "
					"a device of its own",
					node_shown(r, n), other->line);
		}
	}
}

// ---- ports of a pool

// Each range inside the pool's ports, and in no other range.
static bool check_reserved_ranges(struct report *r, struct node *list, const struct cgn_pool *p)
{
	uint8_t *is_reserved = report_alloc(r, 65536);
	bool ok = node_ok(list);

	for (uint32_t i = 0; i < p->n_reserved; i++) {
		const struct cgn_port_range *range = &p->reserved[i];
		struct node *n = node_item(list, i);
		bool overlaps = false;

		if (!node_ok(n)) {
			ok = false;
			continue;
		}
		if (range->first < p->ports.first || range->last > p->ports.last) {
			node_error(r, n, "%s is not in the pool's ports, %u-%u are allowed",
				node_shown(r, n), p->ports.first, p->ports.last);
			ok = false;
			continue;
		}
		for (uint32_t port = range->first; port <= range->last; port++) {
			overlaps |= is_reserved[port];
			is_reserved[port] = 1;
		}
		if (overlaps) {
			node_error(r, n,
				"%s overlaps another one in the list, each port is "
				"allowed once",
				node_shown(r, n));
			ok = false;
		}
	}
	return ok;
}

static void check_reserved(struct report *r, struct node *list, const struct cgn_pool *p)
{
	uint32_t n_ports = (uint32_t)p->ports.last - p->ports.first + 1;
	uint32_t end = p->ports.first + n_ports / p->block_size * p->block_size; // of the blocks
	uint32_t n_reserved = 0;

	if (!list || !check_reserved_ranges(r, list, p))
		return;
	for (uint32_t i = 0; i < p->n_reserved; i++)
		for (uint32_t port = p->reserved[i].first; port <= p->reserved[i].last; port++)
			n_reserved += port < end;
	if (n_reserved == end - p->ports.first)
		node_error(
			r, list, "all ports of the pool's blocks are reserved, some must be left");
}

// Where there are fewer addresses than workers, each address is cut into a share per worker.
static void check_pool_shares(
	struct report *r, struct node *pool, const struct cgn_pool *p, uint32_t n_workers)
{
	uint32_t n_blocks = (uint32_t)(p->ports.last - p->ports.first + 1) / p->block_size;
	uint64_t n_addresses = 0;

	for (uint32_t i = 0; i < p->n_ranges; i++)
		n_addresses += p->ranges[i].last - p->ranges[i].first + 1;
	if (n_addresses && n_addresses < n_workers && n_blocks < n_workers)
		node_error(r, node_get(pool, "addresses"),
			"too few blocks for %u workers: %llu addresses of %u blocks of %u; %u addresses, or smaller blocks, give each worker its share",
			n_workers, (unsigned long long)n_addresses, n_blocks, p->block_size,
			n_workers);
}

static void check_pool_ports(
	struct report *r, struct node *pool, const struct cgn_pool *p, uint32_t n_workers)
{
	struct node *ports = node_get(pool, "ports"), *size = node_get(pool, "block-size");
	uint32_t n_ports = (uint32_t)p->ports.last - p->ports.first + 1;
	struct node *n = ports ? ports : size;

	if (!is_usable(pool, "ports"))
		return;
	// deterministic: blocks begin behind the preset ports, see check_deterministic()
	if (is_usable(pool, "block-size") && p->allocation == CGN_ALLOCATION_DYNAMIC) {
		if (n && n_ports < p->block_size) {
			node_error(r, n, "too few ports in %u-%u (%u), one block of %u must fit",
				p->ports.first, p->ports.last, n_ports, p->block_size);
			return;
		}
		if (n_ports % p->block_size)
			node_warning(r, n ? n : pool,
				"the last %u of the ports %u-%u fill no block of %u and stay unused",
				n_ports % p->block_size, p->ports.first, p->ports.last,
				p->block_size);
		if (is_usable(pool, "addresses") && node_get(pool, "addresses"))
			check_pool_shares(r, pool, p, n_workers);
	}
	check_reserved(r, node_get(pool, "reserved-ports"), p);
}

// ---- policies

// The pool that a translate policy uses; reports when there is none.
static bool find_pool(struct report *r, struct node *root, struct node *policy,
	const struct cgn_config *c, uint16_t *to)
{
	const struct node *pools = node_get(root, "pools");
	struct node *n = node_get(policy, "pool");

	if (!node_ok(pools) || (n && !node_ok(n)))
		return false;
	if (!n) {
		*to = 0;
		if (c->n_pools != 1)
			node_missing(r, policy, "pool",
				"is missing, it may be left out only where there is one pool");
		return c->n_pools == 1;
	}
	for (uint32_t i = 0; i < c->n_pools; i++) {
		if (!strcmp(n->text, c->pools[i].name)) {
			*to = (uint16_t)i;
			return true;
		}
	}
	for (uint32_t i = 0; i < c->n_pools; i++)
		if (!node_ok(node_get(node_item(pools, i), "name")))
			return false; // it may be the one that is meant
	node_error(r, n, "\"%s\" is no pool, the name of one under pools is allowed",
		node_shown(r, n));
	return false;
}

static void check_match(struct report *r, struct node *match, const struct cgn_policy *p)
{
	struct node *protocol = node_get(match, "protocol");
	struct node *ports = node_get(match, "destination-ports");
	bool has_ports = p->protocol == CGN_PROTO_TCP || p->protocol == CGN_PROTO_UDP;

	if (protocol && !node_ok(protocol))
		return;
	if (p->action == CGN_TRANSLATE && protocol && cgn_is_portless(p->protocol) &&
		!(p->portless & cgn_portless_bit(p->protocol)))
		node_error(r, protocol,
			"%s cannot be translated; with action translate tcp, udp, icmp and what "
			"portless-protocols of the policy names are allowed",
			node_shown(r, protocol));
	else if (ports && !has_ports)
		node_key_error(r, ports, "only allowed with protocol tcp or udp");
}

// A limit of one protocol that the one of all would never let anybody reach is a mistake.
static void check_limits(struct report *r, struct node *limits, const struct cgn_policy *p)
{
	static const char *const keys[CGN_L4_COUNT] = {[CGN_L4_TCP] = "mappings-tcp",
		[CGN_L4_UDP] = "mappings-udp",
		[CGN_L4_ICMP] = "mappings-icmp"};
	const struct node *all = node_get(limits, "mappings");

	for (unsigned l4 = 0; l4 < CGN_L4_COUNT && node_ok(all); l4++) {
		struct node *n = node_get(limits, keys[l4]);

		if (node_ok(n) && p->limit_mappings_of[l4] > p->limit_mappings)
			node_error(r, n,
				"%u is more than limits.mappings in line %u, 1..%u are allowed",
				p->limit_mappings_of[l4], all->line, p->limit_mappings);
	}
}

static void check_policies(struct report *r, struct node *root, struct cgn_config *c)
{
	static const char *const translate_only[] = {
		"pool", "filtering", "hairpin", "inbound-refresh", "portless-protocols", "limits"};
	const struct node *list = node_get(root, "policies");
	bool is_used[CGN_POOLS_MAX] = {false};
	const char *catch_all = NULL;

	for (uint32_t i = 0; i < c->n_policies; i++) {
		struct cgn_policy *p = &c->policies[i];
		struct node *n = node_item(list, i), *match = node_get(n, "match");

		if (n->kind != NODE_MAP || !is_usable(n, "action"))
			continue;
		check_match(r, match, p);
		check_limits(r, node_get(n, "limits"), p);
		if (p->action == CGN_TRANSLATE && find_pool(r, root, n, c, &p->pool))
			is_used[p->pool] = true;
		for (unsigned k = 0; p->action != CGN_TRANSLATE && k < LEN(translate_only); k++) {
			struct node *key = node_get(n, translate_only[k]);

			if (key)
				node_key_error(r, key, "only allowed with action translate");
		}
		if (catch_all)
			node_warning(
				r, n, "is never reached, policy %s takes everything", catch_all);
		else if (!match || (match->kind == NODE_MAP && !match->n_items))
			catch_all = p->name;
	}
	if (r->errors.n)
		return; // a pool that seems unused may be named in a bad line
	for (uint32_t i = 0; i < c->n_pools; i++)
		if (!is_used[i])
			node_warning(r, node_item(node_get(root, "pools"), i), "no policy uses it");
}

// ---- timeouts

static void check_timeouts(struct report *r, struct node *root, const struct cgn_config *c)
{
	const struct cgn_timeouts *t = &c->timeouts;
	const struct {
		const char *key;
		uint32_t value_s, min_s;
		const char *rule;
	} minimums[] = {
		{"udp", t->udp, 120, "RFC 4787 REQ-5"},
		{"tcp-established", t->tcp_established, 7440, "RFC 5382 REQ-5"},
		{"tcp-closing", t->tcp_closing, 240, "RFC 5382 REQ-5"},
		{"icmp", t->icmp, 60, "RFC 5508 REQ-2"},
		{"portless", t->portless, 120, "RFC 4787 REQ-5"}, // in want of an RFC of its own
		{"fragment", t->fragment, 2, "RFC 6146 3.4"},
		// tcp-opening has none: RFC 7857 2.1 lets it be lower
	};
	struct node *timeouts = node_get(root, "timeouts"), *n;

	if (!is_usable(timeouts, "non-conformant"))
		return;
	for (unsigned i = 0; i < LEN(minimums); i++) {
		n = node_get(timeouts, minimums[i].key);
		if (!node_ok(n) || minimums[i].value_s >= minimums[i].min_s)
			continue;
		if (t->non_conformant)
			node_warning(r, n, "%u s is not conformant, the minimum is %u s (%s)",
				minimums[i].value_s, minimums[i].min_s, minimums[i].rule);
		else
			node_error(r, n,
				"%u s is below the minimum of %s, %u..604800 are allowed, less only "
				"with non-conformant: true",
				minimums[i].value_s, minimums[i].rule, minimums[i].min_s);
	}
	n = node_get(timeouts, "hold-down");
	if (node_ok(n) && t->hold_down < 120)
		node_warning(r, n, "%u s is short, ports should rest for 120 s (RFC 6888 REQ-8)",
			t->hold_down);
}

void config_check(struct report *r, struct node *root, struct cgn_config *c)
{
	const struct node *pools = node_get(root, "pools");

	check_runtime(r, root, c);
	check_names(r, node_get(root, "interfaces"), interface_name, c, c->n_interfaces);
	check_names(r, pools, pool_name, c, c->n_pools);
	check_names(r, node_get(root, "policies"), policy_name, c, c->n_policies);
	check_roles(r, root, c);
	check_devices(r, root, c);
	check_addresses(r, root, c);
	check_ipv6(r, root, c);
	for (uint32_t i = 0; i < c->n_pools; i++)
		check_pool_ports(r, node_item(pools, i), &c->pools[i], c->runtime.n_workers);
	check_timeouts(r, root, c);
	check_services(r, root, c);
	check_hold_down(r, root, c);
	check_policies(r, root, c);
	check_static(r, root, c);
	check_deterministic(r, root, c);
}
