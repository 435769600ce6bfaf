// SPDX-License-Identifier: BSD-3-Clause
#include "classify.h"
#include <stdlib.h>
#include <string.h>

#define N_PORTS 65536u
#define NESTED_MAX 34 // prefixes inside each other, and the whole

static const uint8_t port_protocols[2] = {CGN_PROTO_TCP, CGN_PROTO_UDP};

static void set_bit(uint64_t *set, uint32_t policy)
{
	set[policy / 64] |= 1ull << policy % 64;
}

// ---- sets: each is stored once

static uint32_t hash_set(const uint64_t *set, uint32_t n_words)
{
	uint64_t h = 0;

	for (uint32_t i = 0; i < n_words; i++) {
		h = (h ^ set[i]) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	return (uint32_t)h;
}

static uint32_t *find_slot(const struct class_sets *sets, const uint64_t *set, uint32_t n_words)
{
	uint32_t at = hash_set(set, n_words);

	for (;; at++) {
		uint32_t *slot = &sets->slot[at & (sets->n_slots - 1)];

		if (*slot == CLASSIFY_NONE ||
			!memcmp(&sets->words[(size_t)*slot * n_words], set, n_words * sizeof(*set)))
			return slot;
	}
}

// Room for one more; at most half of the slots are taken.
static bool sets_grow(struct class_sets *sets, uint32_t n_words)
{
	const uint32_t room = sets->room ? 2 * sets->room : 16;
	uint64_t *words = realloc(sets->words, (size_t)room * n_words * sizeof(*words) + 1);
	uint32_t *slot;

	if (!words)
		return false;
	sets->words = words;
	slot = malloc(2 * (size_t)room * sizeof(*slot));
	if (!slot)
		return false;
	memset(slot, 0xff, 2 * (size_t)room * sizeof(*slot));
	free(sets->slot);
	sets->slot = slot;
	sets->n_slots = 2 * room;
	sets->room = room;
	for (uint32_t i = 0; i < sets->n; i++)
		*find_slot(sets, &words[(size_t)i * n_words], n_words) = i;
	return true;
}

// The class of those that match the policies of `set`.
static bool sets_add(
	struct class_sets *sets, const uint64_t *set, uint32_t n_words, uint32_t *number)
{
	uint32_t *slot;

	if (sets->n == sets->room && !sets_grow(sets, n_words))
		return false;
	slot = find_slot(sets, set, n_words);
	if (*slot == CLASSIFY_NONE) {
		memcpy(&sets->words[(size_t)sets->n * n_words], set, n_words * sizeof(*set));
		*slot = sets->n++;
	}
	*number = *slot;
	return true;
}

static void sets_done(struct class_sets *sets)
{
	free(sets->slot);
	sets->slot = NULL;
}

// ---- addresses

struct member { // a prefix of a policy
	uint32_t first, last;
	uint32_t policy;
	uint8_t length;
};

// Outer prefixes before the ones inside them.
static int by_place(const void *a, const void *b)
{
	const struct member *x = a, *y = b;

	if (x->first != y->first)
		return x->first < y->first ? -1 : 1;
	return x->last > y->last ? -1 : x->last < y->last;
}

struct dimension {
	struct member *member;
	uint32_t n;
	uint64_t *base; // policies that take any address
};

static void collect(struct dimension *d, uint32_t policy, const struct cgn_prefix *p, uint32_t n)
{
	if (!n)
		set_bit(d->base, policy);
	for (uint32_t i = 0; i < n; i++) {
		const uint32_t host =
			p[i].length ? (uint32_t)((1ull << (32 - p[i].length)) - 1) : UINT32_MAX;

		d->member[d->n++] = (struct member){
			p[i].address & ~host, p[i].address | host, policy, p[i].length};
	}
}

// An address matches the policies of all prefixes that it lies in: those of the longest one, and
// of those around that one.
static struct lpm *build(struct dimension *d, struct class_sets *sets, uint32_t n_words)
{
	struct {
		uint32_t last, class;
	} open[NESTED_MAX] = {{UINT32_MAX, 0}};
	struct lpm_prefix *list = calloc((size_t)d->n + 1, sizeof(*list));
	uint64_t *set = malloc(n_words * sizeof(*set) + 1);
	uint32_t depth = 1, n = 0;
	struct lpm *lpm = NULL;

	if (!list || !set || !sets_add(sets, d->base, n_words, &open[0].class))
		goto out;
	qsort(d->member, d->n, sizeof(*d->member), by_place);
	for (uint32_t i = 0; i < d->n;) {
		const struct member *m = &d->member[i];

		while (open[depth - 1].last < m->first)
			depth--;
		memcpy(set, &sets->words[(size_t)open[depth - 1].class * n_words],
			n_words * sizeof(*set));
		for (; i < d->n && d->member[i].first == m->first && d->member[i].last == m->last;
			i++)
			set_bit(set, d->member[i].policy);
		open[depth].last = m->last;
		if (!sets_add(sets, set, n_words, &open[depth].class))
			goto out;
		list[n++] = (struct lpm_prefix){m->first, m->length, open[depth++].class};
	}
	list[n++] = (struct lpm_prefix){0, 0, open[0].class}; // unless a policy says 0.0.0.0/0, too
	lpm = lpm_create(list, n);
out:
	sets_done(sets);
	free(list);
	free(set);
	return lpm;
}

static bool build_addresses(struct classifier *c, const struct cgn_policy *policies, uint32_t n)
{
	uint64_t n_members = 0;
	struct dimension d[2] = {{0}};
	bool ok = true;

	for (uint32_t i = 0; i < n; i++)
		n_members += (uint64_t)policies[i].n_sources + policies[i].n_destinations;
	for (unsigned k = 0; k < 2; k++) {
		d[k].member = calloc(n_members + 1, sizeof(*d[k].member));
		d[k].base = calloc(c->n_words + 1, sizeof(*d[k].base));
		ok = ok && d[k].member && d[k].base;
	}
	for (uint32_t i = 0; ok && i < n; i++) {
		collect(&d[0], i, policies[i].sources, policies[i].n_sources);
		collect(&d[1], i, policies[i].destinations, policies[i].n_destinations);
	}
	if (ok) {
		c->source = build(&d[0], &c->sources, c->n_words);
		c->destination = build(&d[1], &c->destinations, c->n_words);
	}
	for (unsigned k = 0; k < 2; k++) {
		free(d[k].member);
		free(d[k].base);
	}
	return c->source && c->destination;
}

// ---- services

static bool takes_protocol(const struct cgn_policy *p, unsigned protocol)
{
	return p->protocol == CGN_PROTO_ANY || p->protocol == protocol;
}

struct port_end { // from `port` on, one range more (or less) of the policy takes them
	uint32_t port, policy;
	int change;
};

static int by_port(const void *a, const void *b)
{
	const struct port_end *x = a, *y = b;

	return x->port < y->port ? -1 : x->port > y->port;
}

// Walks over all ports; `set` is what policies without ports take, and n_ranges, all zero, counts how
// many ranges of each policy the port at hand lies in.
static bool fill_ports(struct classifier *c, uint32_t *class, struct port_end *end, uint32_t n_ends,
	uint64_t *set, uint32_t *n_ranges)
{
	qsort(end, n_ends, sizeof(*end), by_port);
	for (uint32_t port = 0, at = 0; port < N_PORTS; port++) {
		bool differs = !port;

		for (; at < n_ends && end[at].port == port; at++) {
			const uint32_t policy = end[at].policy;

			n_ranges[policy] += (uint32_t)end[at].change;
			if (n_ranges[policy])
				set_bit(set, policy);
			else
				set[policy / 64] &= ~(1ull << policy % 64);
			differs = true;
		}
		if (!differs)
			class[port] = class[port - 1];
		else if (!sets_add(&c->services, set, c->n_words, &class[port]))
			return false;
	}
	return true;
}

static bool build_ports(
	struct classifier *c, const struct cgn_policy *policies, uint32_t n, unsigned which)
{
	const uint8_t protocol = port_protocols[which];
	uint32_t n_ends = 0, *n_ranges;
	struct port_end *end;
	uint64_t *set;
	bool ok;

	for (uint32_t i = 0; i < n; i++) {
		if (takes_protocol(&policies[i], protocol))
			n_ends += 2 * policies[i].n_destination_ports;
	}
	if (!n_ends)
		return true;
	end = calloc(n_ends, sizeof(*end));
	set = calloc(c->n_words, sizeof(*set));
	n_ranges = calloc(n, sizeof(*n_ranges));
	c->port[which] = calloc(N_PORTS, sizeof(*c->port[which]));
	ok = end && set && n_ranges && c->port[which];
	n_ends = 0;
	for (uint32_t i = 0; ok && i < n; i++) {
		const struct cgn_policy *p = &policies[i];

		if (!takes_protocol(p, protocol))
			continue;
		if (!p->n_destination_ports)
			set_bit(set, i);
		for (uint32_t k = 0; k < p->n_destination_ports; k++) {
			end[n_ends++] = (struct port_end){p->destination_ports[k].first, i, 1};
			end[n_ends++] = (struct port_end){p->destination_ports[k].last + 1u, i, -1};
		}
	}
	ok = ok && fill_ports(c, c->port[which], end, n_ends, set, n_ranges);
	free(end);
	free(set);
	free(n_ranges);
	return ok;
}

static bool build_services(struct classifier *c, const struct cgn_policy *policies, uint32_t n)
{
	uint64_t *set = malloc(2 * c->n_words * sizeof(*set) + 1);
	bool ok = set;

	for (unsigned protocol = 0; ok && protocol < 256; protocol++) {
		uint64_t *any = set + c->n_words;

		memset(set, 0, 2 * c->n_words * sizeof(*set));
		for (uint32_t i = 0; i < n; i++) {
			if (!takes_protocol(&policies[i], protocol))
				continue;
			set_bit(any, i);
			if (!policies[i].n_destination_ports)
				set_bit(set, i);
		}
		ok = sets_add(&c->services, set, c->n_words, &c->no_port[protocol]) &&
			sets_add(&c->services, any, c->n_words, &c->any_port[protocol]);
	}
	for (unsigned which = 0; ok && which < 2; which++)
		ok = build_ports(c, policies, n, which);
	sets_done(&c->services);
	free(set);
	return ok;
}

bool classifier_init(struct classifier *c, const struct cgn_policy *policies, uint32_t n)
{
	memset(c, 0, sizeof(*c));
	c->n_words = (n + 63) / 64;
	return build_addresses(c, policies, n) && build_services(c, policies, n);
}

void classifier_fini(struct classifier *c)
{
	lpm_destroy(c->source);
	lpm_destroy(c->destination);
	free(c->sources.words);
	free(c->destinations.words);
	free(c->services.words);
	free(c->port[0]);
	free(c->port[1]);
	memset(c, 0, sizeof(*c));
}
