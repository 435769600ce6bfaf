// SPDX-License-Identifier: BSD-3-Clause
// The classifier against what it stands for: policies asked one after the other.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "classify.h"
#include "rng.h"
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MAX 40 // prefixes, or port ranges, of a policy of these tests

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"classify tests: one key, 32 long");
	return 0;
}

// ---- the obvious way

static bool in_any(const struct cgn_prefix *p, uint32_t n, uint32_t address)
{
	for (uint32_t i = 0; i < n; i++) {
		if (!p[i].length || (address ^ p[i].address) >> (32 - p[i].length) == 0)
			return true;
	}
	return !n;
}

enum ports {
	KNOWN,
	UNKNOWN, // there are none, or they are not to be read
	ANY, // of a fragment: may be any
};

static bool takes_port(const struct cgn_policy *p, uint16_t port, enum ports ports)
{
	if (!p->n_destination_ports || ports == ANY)
		return true;
	for (uint32_t i = 0; ports == KNOWN && i < p->n_destination_ports; i++) {
		if (port >= p->destination_ports[i].first && port <= p->destination_ports[i].last)
			return true;
	}
	return false;
}

static uint32_t one_by_one(const struct cgn_policy *policies, uint32_t n, uint32_t source,
	uint32_t destination, uint8_t protocol, uint16_t port, enum ports ports)
{
	if (ports == KNOWN && protocol != CGN_PROTO_TCP && protocol != CGN_PROTO_UDP)
		ports = UNKNOWN;
	for (uint32_t i = 0; i < n; i++) {
		const struct cgn_policy *p = &policies[i];

		if ((p->protocol == CGN_PROTO_ANY || p->protocol == protocol) &&
			takes_port(p, port, ports) && in_any(p->sources, p->n_sources, source) &&
			in_any(p->destinations, p->n_destinations, destination))
			return i;
	}
	return CLASSIFY_NONE;
}

// ---- random policies

static struct cgn_policy *policies;
static uint32_t n_policies;

// Few bits vary, so that prefixes lie in each other, repeat, and touch.
static uint32_t random_address(void)
{
	static const uint32_t bases[] = {
		0x0a000000, 0x0a00ff00, 0x64400000, 0xc0a80000, 0, 0xffffff00};

	switch (rng_below(&rng, 4)) {
	case 0:
		return rng_u32(&rng);
	case 1:
		return bases[rng_below(&rng, 6)] | rng_below(&rng, 256);
	default:
		return bases[rng_below(&rng, 6)] +
			(rng_below(&rng, 16) << (4 * rng_below(&rng, 7)));
	}
}

static struct cgn_prefix random_prefix(void)
{
	const uint8_t length = (uint8_t)(rng_below(&rng, 8) ? rng_below(&rng, 33) : 32);

	return (struct cgn_prefix){
		length ? random_address() & UINT32_MAX << (32 - length) : 0, length};
}

static uint32_t random_list(struct cgn_prefix **list)
{
	const uint32_t n = rng_below(&rng, 3) ? rng_below(&rng, 4) : rng_below(&rng, LIST_MAX);

	*list = calloc(n + 1, sizeof(**list));
	for (uint32_t i = 0; i < n; i++)
		(*list)[i] = random_prefix();
	return n;
}

static uint16_t random_port(void)
{
	static const uint16_t ends[] = {0, 1, 53, 443, 8000, 65534, 65535};

	return rng_below(&rng, 3) ? ends[rng_below(&rng, 7)] : (uint16_t)rng_u32(&rng);
}

static void random_policy(struct cgn_policy *p)
{
	static const uint8_t protocols[] = {CGN_PROTO_ANY, CGN_PROTO_ANY, CGN_PROTO_TCP,
		CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_ICMP, 47, 255};

	*p = (struct cgn_policy){.protocol = protocols[rng_below(&rng, 8)]};
	p->n_sources = random_list(&p->sources);
	p->n_destinations = random_list(&p->destinations);
	if (p->protocol != CGN_PROTO_TCP && p->protocol != CGN_PROTO_UDP)
		return;
	p->n_destination_ports = rng_below(&rng, 5);
	p->destination_ports = calloc(p->n_destination_ports + 1, sizeof(*p->destination_ports));
	for (uint32_t i = 0; i < p->n_destination_ports; i++) { // they may overlap
		const uint16_t a = random_port(), b = rng_below(&rng, 2) ? a : random_port();

		p->destination_ports[i] = (struct cgn_port_range){a < b ? a : b, a < b ? b : a};
	}
}

static void make_policies(uint32_t n)
{
	n_policies = n;
	policies = calloc(n + 1, sizeof(*policies));
	for (uint32_t i = 0; i < n; i++)
		random_policy(&policies[i]);
}

static void free_policies(void)
{
	for (uint32_t i = 0; i < n_policies; i++) {
		free(policies[i].sources);
		free(policies[i].destinations);
		free(policies[i].destination_ports);
	}
	free(policies);
}

// ---- both

// An end of a prefix of some policy, its neighbour, or anything.
static uint32_t address_near(bool source)
{
	const struct cgn_policy *p = n_policies ? &policies[rng_below(&rng, n_policies)] : NULL;
	const struct cgn_prefix *list = !p ? NULL : source ? p->sources : p->destinations;
	const uint32_t n = !p ? 0 : source ? p->n_sources : p->n_destinations;
	uint32_t first, host;

	if (!n || !rng_below(&rng, 4))
		return random_address();
	list += rng_below(&rng, n);
	first = list->address;
	host = list->length ? (uint32_t)((1ull << (32 - list->length)) - 1) : UINT32_MAX;
	switch (rng_below(&rng, 5)) {
	case 0:
		return first;
	case 1:
		return first | host;
	case 2:
		return first - 1;
	case 3:
		return (first | host) + 1;
	default:
		return first | (rng_u32(&rng) & host);
	}
}

static uint16_t port_near(void)
{
	const struct cgn_policy *p = n_policies ? &policies[rng_below(&rng, n_policies)] : NULL;
	const struct cgn_port_range *range;

	if (!p || !p->n_destination_ports)
		return random_port();
	range = &p->destination_ports[rng_below(&rng, p->n_destination_ports)];
	return (uint16_t)((rng_below(&rng, 2) ? range->first : range->last) + rng_below(&rng, 3) -
		1);
}

static unsigned n_found;

static void compare(const struct classifier *c)
{
	static const uint8_t protocols[] = {
		CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_ICMP, 47, 50, 255, 0};
	const uint32_t source = address_near(true), destination = address_near(false);
	const uint8_t protocol = protocols[rng_below(&rng, 7)];
	const uint16_t port = port_near();
	const enum ports ports = (enum ports)rng_below(&rng, 3);
	const uint32_t service = ports == ANY ? c->any_port[protocol]
					      : classify_service(c, protocol, port, ports == KNOWN);
	const uint32_t want =
		one_by_one(policies, n_policies, source, destination, protocol, port, ports);
	const uint32_t got = classify(c, source, destination, service);

	n_found += got != CLASSIFY_NONE;
	if (got != want)
		fail_msg("%08x -> %08x protocol %u port %u (%d): policy %d, should be %d", source,
			destination, protocol, port, ports, (int)got, (int)want);
}

static void check(uint32_t n, unsigned rounds)
{
	struct classifier c;

	make_policies(n);
	assert_true(classifier_init(&c, policies, n));
	for (unsigned i = 0; i < rounds; i++)
		compare(&c);
	classifier_fini(&c);
	free_policies();
}

static void without_policies_nothing_matches(void **state)
{
	check(0, 1000);
	assert_int_equal(n_found, 0);
}

static void few_random_policies_agree_with_asking_one_by_one(void **state)
{
	for (unsigned round = 0; round < 300; round++)
		check(1 + rng_below(&rng, 12), 300);
	assert_in_range(n_found, 10000, 89999); // some match, some do not
}

static void sets_of_one_word_and_more(void **state)
{
	static const uint32_t sizes[] = {63, 64, 65, 127, 128, 129, 500, CGN_POLICIES_MAX};

	for (unsigned i = 0; i < 8; i++)
		check(sizes[i], 5000);
}

// Policies that mostly differ in where they lead: the last of them are found, too.
static void the_last_of_a_thousand_policies_is_found(void **state)
{
	struct classifier c;

	n_policies = CGN_POLICIES_MAX;
	policies = calloc(n_policies + 1, sizeof(*policies));
	for (uint32_t i = 0; i < n_policies; i++) {
		policies[i].destinations = calloc(2, sizeof(*policies[i].destinations));
		policies[i].n_destinations = 2;
		policies[i].destinations[0] = (struct cgn_prefix){i << 16, 16};
		policies[i].destinations[1] = (struct cgn_prefix){0xc0000000 | i << 8, 24};
	}
	assert_true(classifier_init(&c, policies, n_policies));
	assert_int_equal(c.sources.n, 1);
	assert_int_equal(c.destinations.n, CGN_POLICIES_MAX + 1); // and those of no policy
	for (uint32_t i = 0; i < n_policies; i++) {
		assert_int_equal(classify(&c, 1, i << 16 | 0xffff, c.no_port[17]), i);
		assert_int_equal(classify(&c, 1, 0xc0000000 | i << 8, c.no_port[17]), i);
	}
	assert_int_equal(classify(&c, 1, 0xe0000000, c.no_port[17]), CLASSIFY_NONE);
	classifier_fini(&c);
	free_policies();
}

// A list as long as those of content networks, before a policy for everything.
static void ten_thousand_prefixes_of_one_policy_are_two_classes(void **state)
{
	struct cgn_prefix *list = calloc(10000, sizeof(*list));
	struct classifier c;

	n_policies = 2;
	policies = calloc(n_policies + 1, sizeof(*policies));
	for (uint32_t i = 0; i < 10000; i++) {
		list[i].length = (uint8_t)(16 + rng_below(&rng, 17));
		list[i].address = rng_u32(&rng) & UINT32_MAX << (32 - list[i].length);
	}
	policies[0].destinations = list;
	policies[0].n_destinations = 10000;
	assert_true(classifier_init(&c, policies, n_policies));
	assert_int_equal(c.destinations.n, 2);
	for (unsigned i = 0; i < 3000; i++)
		compare(&c);
	classifier_fini(&c);
	free_policies();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_policies_nothing_matches),
		cmocka_unit_test(few_random_policies_agree_with_asking_one_by_one),
		cmocka_unit_test(sets_of_one_word_and_more),
		cmocka_unit_test(the_last_of_a_thousand_policies_is_found),
		cmocka_unit_test(ten_thousand_prefixes_of_one_policy_are_two_classes),
	};

	return cmocka_run_group_tests_name("classify", tests, setup, NULL);
}
