// SPDX-License-Identifier: BSD-3-Clause
#include "config_deterministic.h"
#include <stdlib.h>
#include <string.h>
#include "cgnat/deterministic.h"

#define LEN(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define PORTS_UNIT 16

// ---- reading

static void read_ports(struct report *r, struct node *n, const struct field *f, void *to)
{
	uint64_t value;

	if (!value_number(r, n, f->min, f->max, &value))
		return;
	if (value % PORTS_UNIT)
		node_error(r, n,
			"%u is not a multiple of %u, multiples of it in %u..%u are allowed",
			(unsigned)value, PORTS_UNIT, (unsigned)f->min, (unsigned)f->max);
	else
		*(uint16_t *)to = (uint16_t)value;
}

static void read_key(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char what[] = "32 hexadecimal digits (128 bits)";
	const char *text = value_text(r, n, what);
	uint8_t *key = to;

	if (!text)
		return;
	if (strlen(text) != 2 * CGN_DET_KEY_BYTES ||
		strspn(text, "0123456789abcdefABCDEF") != 2 * CGN_DET_KEY_BYTES) {
		node_error(r, n, "this is no key, %s are allowed", what); // not shown: it is secret
		return;
	}
	for (unsigned i = 0; i < CGN_DET_KEY_BYTES; i++)
		key[i] = (uint8_t)strtoul((char[]){text[2 * i], text[2 * i + 1], 0}, NULL, 16);
}

void deterministic_read(struct report *r, struct node *n, const struct field *f, void *to)
{
#define AT(member) offsetof(struct cgn_deterministic, member)
	static const char *const algorithms[] = {
		"sequential", "staggered", "round-robin", "interlaced", "cryptographic", NULL};
	static const struct field fields[] = {
		{"algorithm", value_word, AT(algorithm), .words = algorithms},
		{"ports", read_ports, AT(ports), PORTS_UNIT, 65520},
		{"include-boundary-addresses", value_bool, AT(include_boundaries)},
		{"key", read_key, AT(key)},
	};
#undef AT

	value_map(r, n, fields, LEN(fields), to);
}

// ---- checking

static bool tree_ok(const struct node *n)
{
	if (!n)
		return true;
	if (!node_ok(n))
		return false;
	for (unsigned i = 0; i < n->n_items; i++)
		if (!tree_ok(n->items[i]))
			return false;
	return true;
}

static void check_keys(struct report *r, struct node *pool, const struct cgn_pool *p)
{
	struct node *own = node_get(pool, "deterministic"), *key = node_get(own, "key");
	struct node *algorithm = node_get(own, "algorithm");

	if (own && p->allocation != CGN_ALLOCATION_DETERMINISTIC) {
		node_key_error(r, own, "only allowed with allocation deterministic");
		return;
	}
	if (!node_ok(own) || (algorithm && !node_ok(algorithm)))
		return;
	if (p->deterministic.algorithm != CGN_ALGORITHM_CRYPTOGRAPHIC) {
		if (key)
			node_key_error(r, key, "only allowed with algorithm cryptographic");
	} else if (!key) {
		node_missing(r, own, "key",
			"is missing, algorithm cryptographic needs one of 32 hexadecimal digits");
	}
}

// Every source names subscribers: "any" would be 4 thousand million.
static bool check_sources(
	struct report *r, struct node *root, const struct cgn_config *c, uint32_t pool)
{
	const struct node *list = node_get(root, "policies");
	bool ok = true;

	for (uint32_t i = 0; i < c->n_policies; i++) {
		const struct cgn_policy *p = &c->policies[i];
		struct node *n = node_item(list, i), *match = node_get(n, "match");

		if (p->action != CGN_TRANSLATE || p->pool != pool || p->n_sources)
			continue;
		node_missing(r, match ? match : n, match ? "source" : "match.source",
			"is missing, the subscribers of the deterministic pool %s must be listed",
			c->pools[pool].name);
		ok = false;
	}
	return ok;
}

static void say_too_small(struct report *r, struct node *pool, const struct cgn_det *det)
{
	const unsigned long long n_subscribers = det->subscribers.n_addresses;
	const uint64_t n_external = det->external.n_addresses;
	const uint32_t fit = det->n_candidates / det->n_ports; // on an address
	const uint64_t each = n_external ? (n_subscribers + n_external - 1) / n_external : 0;
	const unsigned ports =
		each ? (unsigned)(det->n_candidates / each / PORTS_UNIT * PORTS_UNIT) : 0;
	char addresses[64] = "", fewer[64] = "";

	if (fit)
		snprintf(addresses, sizeof(addresses), "%llu addresses",
			(n_subscribers + fit - 1) / fit);
	if (ports)
		snprintf(
			fewer, sizeof(fewer), fit ? ", or %u ports each," : "%u ports each", ports);
	node_error(r, node_get(pool, "addresses"),
		"too few for %llu subscribers with %u ports each: %llu addresses of %u ports have room for %llu; %s%s%s would fit",
		n_subscribers, det->n_ports, (unsigned long long)n_external, det->n_candidates,
		(unsigned long long)(n_external * fit), addresses, fewer,
		fit || ports ? "" : "more ports, or other addresses,");
}

static void warn_of_overflow(
	struct report *r, struct node *pool, const struct cgn_det *det, uint32_t n_workers)
{
	uint32_t least = UINT32_MAX;
	uint16_t first;

	if (det->pool->max_blocks < 2)
		return;
	for (uint32_t i = 0; i < det->external.n_addresses; i++) {
		uint32_t n = cgn_det_blocks(det, i, &first);

		least = n < least ? n : least;
	}
	if (!least)
		node_warning(r, pool,
			"no overflow block of %u fits behind %u subscribers on an address, their %u ports are all they get (max-blocks: 1 says the same)",
			det->pool->block_size, cgn_det_slots(det, 0), det->n_ports);
	else if (least < n_workers)
		node_warning(r, pool,
			"%u overflow blocks on an address are too few for %u workers, some subscribers get none",
			least, n_workers);
}

static void check_pool(
	struct report *r, struct node *root, const struct cgn_config *c, uint32_t pool)
{
	struct node *n = node_item(node_get(root, "pools"), pool);
	struct cgn_det *det;

	if (!tree_ok(n) || !tree_ok(node_get(root, "policies")) ||
		!tree_ok(node_get(root, "static-mappings")) || !check_sources(r, root, c, pool))
		return;
	det = cgn_det_create(c, pool);
	if (!det)
		abort(); // as must_calloc()
	if (!cgn_det_fits(det))
		say_too_small(r, n, det);
	else if (det->subscribers.n_addresses)
		warn_of_overflow(r, n, det, c->runtime.n_workers);
	cgn_det_destroy(det);
}

void check_deterministic(struct report *r, struct node *root, const struct cgn_config *c)
{
	const struct node *pools = node_get(root, "pools");

	for (uint32_t i = 0; i < c->n_pools; i++) {
		struct node *pool = node_item(pools, i), *allocation = node_get(pool, "allocation");

		if (!node_ok(pool) || (allocation && !node_ok(allocation)))
			continue;
		check_keys(r, pool, &c->pools[i]);
		if (c->pools[i].allocation == CGN_ALLOCATION_DETERMINISTIC)
			check_pool(r, root, c, i);
	}
}
