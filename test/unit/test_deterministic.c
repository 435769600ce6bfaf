// SPDX-License-Identifier: BSD-3-Clause
// Deterministic allocation (RFC 7422): every port has one holder, and both directions agree.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cgnat/deterministic.h"
#include "siphash.h"

#define IP(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))
#define LEN(array) (sizeof(array) / sizeof(*(array)))

// A configuration of one pool and one policy.
struct plan {
	struct cgn_address_range ranges[8];
	struct cgn_prefix sources[16];
	struct cgn_port_range reserved[8];
	struct cgn_static_mapping statics[4];
	struct cgn_pool pool;
	struct cgn_policy policy;
	struct cgn_config config;
	struct cgn_det *det;
};

static struct plan *plan_new(enum cgn_algorithm algorithm, uint16_t ports)
{
	struct plan *p = calloc(1, sizeof(*p));

	p->pool = (struct cgn_pool){.name = "p",
		.ranges = p->ranges,
		.ports = {1024, 65535},
		.allocation = CGN_ALLOCATION_DETERMINISTIC,
		.block_size = 64,
		.max_blocks = 4,
		.reserved = p->reserved,
		.deterministic = {.algorithm = algorithm, .ports = ports}};
	for (unsigned i = 0; i < CGN_DET_KEY_BYTES; i++)
		p->pool.deterministic.key[i] = (uint8_t)i;
	p->policy = (struct cgn_policy){.sources = p->sources};
	p->config.pools = &p->pool;
	p->config.n_pools = 1;
	p->config.policies = &p->policy;
	p->config.n_policies = 1;
	p->config.static_mappings = p->statics;
	return p;
}

static void plan_range(struct plan *p, uint32_t first, uint32_t last)
{
	p->ranges[p->pool.n_ranges++] = (struct cgn_address_range){first, last};
}

static void plan_source(struct plan *p, uint32_t address, uint8_t length)
{
	p->sources[p->policy.n_sources++] = (struct cgn_prefix){address, length};
}

static void plan_make(struct plan *p)
{
	p->det = cgn_det_create(&p->config, 0);
	assert_non_null(p->det);
}

static void plan_free(struct plan *p)
{
	cgn_det_destroy(p->det);
	free(p);
}

// The example of RFC 7422 2.5.
static struct plan *rfc_example(enum cgn_algorithm algorithm)
{
	struct plan *p = plan_new(algorithm, 4032);

	plan_range(p, IP(192, 0, 2, 1), IP(192, 0, 2, 1));
	plan_source(p, IP(198, 51, 100, 0), 28);
	plan_make(p);
	return p;
}

static uint32_t holder_of(const struct cgn_det *det, uint32_t address, uint16_t port)
{
	struct cgn_det_slot slot;
	uint32_t i;

	if (!cgn_det_find(det, cgn_det_external_number(det, address), port, &slot, &i))
		return 0;
	return cgn_det_subscriber(det, cgn_det_holder(det, slot));
}

static void the_example_of_the_rfc_comes_out(void **state) // RFC 7422 2.5
{
	struct plan *p = rfc_example(CGN_ALGORITHM_SEQUENTIAL);
	const struct cgn_det *det = p->det;
	uint16_t first;

	assert_true(cgn_det_fits(det));
	assert_int_equal(det->subscribers.n_addresses, 14);
	for (uint32_t k = 0; k < 14; k++) {
		const struct cgn_det_span s = cgn_det_span(det, cgn_det_slot_of(det, k));

		assert_int_equal(cgn_det_subscriber(det, k), IP(198, 51, 100, 1 + k));
		assert_int_equal(cgn_det_number(det, IP(198, 51, 100, 1 + k)), k);
		assert_int_equal(s.first, 1024 + 4032 * k);
		assert_int_equal(s.last, 1024 + 4032 * k + 4031);
		assert_int_equal(s.step, 1);
	}
	assert_int_equal(cgn_det_number(det, IP(198, 51, 100, 0)), CGN_DET_NONE);
	assert_int_equal(cgn_det_number(det, IP(198, 51, 100, 15)), CGN_DET_NONE);
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 2001), IP(198, 51, 100, 1));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 5055), IP(198, 51, 100, 1));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 5056), IP(198, 51, 100, 2));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 9087), IP(198, 51, 100, 2));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 53440), IP(198, 51, 100, 14));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 57471), IP(198, 51, 100, 14));
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 57472), 0);
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 58204), 0);
	assert_int_equal(holder_of(det, IP(192, 0, 2, 1), 1023), 0);
	assert_int_equal(cgn_det_external_number(det, IP(192, 0, 2, 2)), CGN_DET_NONE);
	assert_int_equal(cgn_det_blocks(det, 0, &first), (65536 - 57472) / 64);
	assert_int_equal(first, 57472);
	plan_free(p);
}

// The documented ports of the second subscriber of each of two addresses.
static void each_algorithm_gives_the_documented_ports(void **state)
{
	static const struct {
		enum cgn_algorithm algorithm;
		uint32_t external[5]; // last byte, of the subscribers 0..4
		uint16_t first[5];
		uint16_t last[5];
	} cases[] = {
		{CGN_ALGORITHM_SEQUENTIAL, {1, 1, 1, 2, 2}, {1024, 1040, 1056, 1024, 1040},
			{1039, 1055, 1071, 1039, 1055}},
		{CGN_ALGORITHM_STAGGERED, {1, 1, 1, 2, 2}, {1024, 1025, 1026, 1024, 1025},
			{1069, 1070, 1071, 1054, 1055}},
		{CGN_ALGORITHM_ROUND_ROBIN, {1, 2, 1, 2, 1}, {1024, 1024, 1040, 1040, 1056},
			{1039, 1039, 1055, 1055, 1071}},
		{CGN_ALGORITHM_INTERLACED, {1, 2, 1, 2, 1}, {1024, 1024, 1025, 1025, 1026},
			{1069, 1054, 1070, 1055, 1071}},
		{CGN_ALGORITHM_CRYPTOGRAPHIC, {1, 1, 1, 2, 2}, {1024, 1024, 1024, 1024, 1024},
			{1071, 1071, 1071, 1055, 1055}},
	};

	for (unsigned c = 0; c < LEN(cases); c++) {
		struct plan *p = plan_new(cases[c].algorithm, 16);

		plan_range(p, IP(203, 0, 113, 1), IP(203, 0, 113, 2));
		plan_source(p, IP(100, 64, 0, 0), 30); // without its boundaries 2
		plan_source(p, IP(100, 64, 9, 9), 32);
		plan_source(p, IP(100, 64, 5, 0), 31);
		plan_make(p);
		assert_int_equal(p->det->subscribers.n_addresses, 5);
		for (uint32_t k = 0; k < 5; k++) {
			const struct cgn_det_slot slot = cgn_det_slot_of(p->det, k);
			const struct cgn_det_span s = cgn_det_span(p->det, slot);

			assert_int_equal(cgn_det_external(p->det, slot.external) & 0xff,
				cases[c].external[k]);
			assert_int_equal(s.first, cases[c].first[k]);
			assert_int_equal(s.last, cases[c].last[k]);
		}
		assert_int_equal(cgn_det_subscriber(p->det, 2), IP(100, 64, 9, 9));
		assert_int_equal(cgn_det_subscriber(p->det, 3), IP(100, 64, 5, 0));
		plan_free(p);
	}
}

// ---- every port of a pool has one holder

static bool is_reserved(const struct plan *p, uint32_t port)
{
	for (uint32_t i = 0; i < p->pool.n_reserved; i++)
		if (port >= p->reserved[i].first && port <= p->reserved[i].last)
			return true;
	return false;
}

// From the ports to the subscribers, and from the subscribers to the ports.
static void check_plan(const struct plan *p)
{
	const struct cgn_det *det = p->det;
	const uint32_t n = (uint32_t)det->subscribers.n_addresses;
	uint32_t *n_of = calloc(n + 1, sizeof(*n_of));

	for (uint32_t e = 0; e < det->external.n_addresses; e++) {
		uint16_t first_free;
		const uint32_t n_blocks = cgn_det_blocks(det, e, &first_free);
		const uint32_t address = cgn_det_external(det, e);

		assert_int_equal(cgn_det_external_number(det, address), e);
		for (uint32_t port = 0; port < 65536; port++) {
			struct cgn_det_slot slot;
			uint32_t i, k;

			if (!cgn_det_find(det, e, (uint16_t)port, &slot, &i))
				continue;
			assert_true(port >= p->pool.ports.first && port <= p->pool.ports.last);
			assert_false(is_reserved(p, port));
			assert_true(!n_blocks || port < first_free);
			assert_int_equal(slot.external, e);
			assert_in_range(slot.slot, 0, cgn_det_slots(det, e) - 1);
			assert_in_range(i, 0, det->n_ports - 1);
			assert_int_equal(cgn_det_port(det, slot, i), port);
			k = cgn_det_holder(det, slot);
			assert_in_range(k, 0, n - 1);
			n_of[k]++;
		}
		if (n_blocks)
			assert_in_range(first_free + n_blocks * p->pool.block_size - 1,
				p->pool.ports.first, p->pool.ports.last);
	}
	for (uint32_t k = 0; k < n; k++) {
		const struct cgn_det_slot slot = cgn_det_slot_of(det, k), *s = &slot;
		const struct cgn_det_span span = cgn_det_span(det, slot);

		assert_int_equal(n_of[k], det->n_ports);
		assert_int_equal(cgn_det_holder(det, slot), k);
		assert_int_equal(cgn_det_number(det, cgn_det_subscriber(det, k)), k);
		for (uint32_t i = 0; i < det->n_ports; i++) {
			const uint16_t port = cgn_det_port(det, *s, i);

			assert_in_range(port, span.first, span.last);
			assert_true(!span.step || det->n_candidate_ranges > 1 ||
				(port - span.first) % span.step == 0);
		}
	}
	free(n_of);
}

static uint32_t seed;

static uint32_t random_below(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (uint32_t)(((uint64_t)(seed >> 8) * n) >> 24);
}

static void random_plan(struct plan *p)
{
	uint32_t at = IP(203, 0, 113, 0), port = 1024, n;

	n = 1 + random_below(3);
	for (uint32_t i = 0; i < n; i++) {
		uint32_t size = 1 + random_below(3);

		plan_range(p, at, at + size - 1);
		at += size + random_below(3);
	}
	n = 1 + random_below(6);
	for (uint32_t i = 0; i < n; i++) {
		uint8_t length = (uint8_t)(26 + random_below(7));
		uint32_t address = IP(100, 64, 0, 0) + random_below(256);

		plan_source(p, address & UINT32_MAX << (32 - length), length);
	}
	p->pool.ports.first = (uint16_t)(1 + random_below(2000));
	p->pool.ports.last = (uint16_t)(20000 + random_below(45536));
	n = random_below(4);
	for (uint32_t i = 0; i < n; i++) {
		port += 1 + random_below(3000);
		p->reserved[p->pool.n_reserved].first = (uint16_t)port;
		port += random_below(30);
		p->reserved[p->pool.n_reserved++].last = (uint16_t)port;
		port++;
	}
	n = random_below(3);
	for (uint32_t i = 0; i < n; i++)
		p->statics[p->config.n_static_mappings++] =
			(struct cgn_static_mapping){.external = IP(203, 0, 113, random_below(9)),
				.external_ports = {0, 65535},
				.internal_ports = {0, 65535}};
	p->pool.deterministic.include_boundaries = random_below(2);
	p->pool.block_size = (uint16_t)(16u << random_below(7));
}

static void every_port_has_one_holder_whatever_the_shape(void **state)
{
	const char *given = getenv("CGN_SEED");
	unsigned n_fit = 0;

	for (uint32_t s = given ? (uint32_t)atoi(given) : 1, end = given ? s + 1 : 201; s < end;
		s++) {
		struct plan *p = plan_new((enum cgn_algorithm)(s % 5), 16);

		seed = s;
		p->pool.deterministic.ports = (uint16_t)(16 * (1 + random_below(60)));
		random_plan(p);
		plan_make(p);
		if (cgn_det_fits(p->det)) {
			if (given)
				print_message("seed %u\n", s);
			check_plan(p);
			n_fit++;
		}
		plan_free(p);
	}
	assert_true(given || n_fit > 100);
}

static void all_ports_of_an_address_are_used_when_they_divide(void **state)
{
	for (unsigned a = 0; a < 5; a++) {
		struct plan *p = plan_new((enum cgn_algorithm)a, 4032);
		uint16_t first;

		plan_range(p, IP(203, 0, 113, 1), IP(203, 0, 113, 2));
		plan_source(p, IP(100, 64, 0, 0), 27);
		p->pool.deterministic.include_boundaries = true;
		plan_make(p);
		assert_true(cgn_det_fits(p->det)); // 2 * 16 * 4032
		assert_int_equal(cgn_det_blocks(p->det, 0, &first), 0);
		check_plan(p);
		plan_free(p);
	}
}

// ---- subscribers

static void subscribers_are(struct plan *p, const uint32_t *last_bytes, unsigned n)
{
	plan_range(p, IP(203, 0, 113, 1), IP(203, 0, 113, 1));
	plan_make(p);
	assert_int_equal(p->det->subscribers.n_addresses, n);
	for (uint32_t k = 0; k < n; k++) {
		assert_int_equal(cgn_det_subscriber(p->det, k), IP(100, 64, 0, last_bytes[k]));
		assert_int_equal(cgn_det_number(p->det, IP(100, 64, 0, last_bytes[k])), k);
	}
	plan_free(p);
}

static void subscribers_are_in_the_order_of_the_list(void **state)
{
	struct plan *p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16);

	plan_source(p, IP(100, 64, 0, 200), 31);
	plan_source(p, IP(100, 64, 0, 8), 29);
	plan_source(p, IP(100, 64, 0, 7), 32);
	// 8 has a subscriber before it, so it is one
	subscribers_are(p, (uint32_t[]){200, 201, 8, 9, 10, 11, 12, 13, 14, 7}, 10);
}

static void boundary_addresses_are_no_subscribers_but_on_request(void **state)
{
	struct plan *p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16);

	plan_source(p, IP(100, 64, 0, 0), 30);
	subscribers_are(p, (uint32_t[]){1, 2}, 2);
	p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16);
	p->pool.deterministic.include_boundaries = true;
	plan_source(p, IP(100, 64, 0, 0), 30);
	subscribers_are(p, (uint32_t[]){0, 1, 2, 3}, 4);
	p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16); // a row of prefixes has two boundaries
	plan_source(p, IP(100, 64, 0, 4), 30);
	plan_source(p, IP(100, 64, 0, 0), 30);
	subscribers_are(p, (uint32_t[]){4, 5, 6, 1, 2, 3}, 6);
	p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16); // .1-.14 as prefixes are 14 subscribers
	plan_source(p, IP(100, 64, 0, 1), 32);
	plan_source(p, IP(100, 64, 0, 2), 31);
	plan_source(p, IP(100, 64, 0, 4), 30);
	plan_source(p, IP(100, 64, 0, 8), 30);
	plan_source(p, IP(100, 64, 0, 12), 31);
	plan_source(p, IP(100, 64, 0, 14), 32);
	subscribers_are(p, (uint32_t[]){1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14}, 14);
	p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16); // a host route to a boundary names it
	plan_source(p, IP(100, 64, 0, 0), 32);
	plan_source(p, IP(100, 64, 0, 3), 32);
	subscribers_are(p, (uint32_t[]){0, 3}, 2);
}

static void an_address_counts_once_at_the_first_source_that_has_it(void **state)
{
	struct plan *p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 16);

	plan_source(p, IP(100, 64, 0, 5), 32);
	plan_source(p, IP(100, 64, 0, 2), 31);
	plan_source(p, IP(100, 64, 0, 0), 29);
	plan_source(p, IP(100, 64, 0, 4), 30);
	plan_source(p, IP(100, 64, 0, 2), 31);
	subscribers_are(p, (uint32_t[]){5, 2, 3, 1, 4, 6}, 6);
}

static void a_pool_too_small_does_not_fit(void **state)
{
	struct plan *p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 4032);

	plan_range(p, IP(203, 0, 113, 1), IP(203, 0, 113, 2));
	plan_source(p, IP(100, 64, 0, 0), 27);
	plan_source(p, IP(100, 64, 1, 0), 32);
	plan_source(p, IP(100, 64, 1, 1), 32);
	plan_source(p, IP(100, 64, 1, 2), 32);
	plan_make(p);
	assert_int_equal(p->det->subscribers.n_addresses, 33); // 17 and 16, 16 fit on each
	assert_false(cgn_det_fits(p->det));
	plan_free(p);
	p = plan_new(CGN_ALGORITHM_CRYPTOGRAPHIC, 16);
	plan_range(p, IP(203, 0, 113, 1), IP(203, 0, 113, 1));
	plan_source(p, 0, 0);
	plan_make(p);
	assert_int_equal(p->det->subscribers.n_addresses, (1ull << 32) - 2);
	assert_false(cgn_det_fits(p->det));
	plan_free(p);
}

// ---- cryptographic

static void siphash_is_siphash_2_4(void **state) // the vector of its authors for these 8 bytes
{
	uint8_t key[16];

	for (unsigned i = 0; i < 16; i++)
		key[i] = (uint8_t)i;
	assert_int_equal(siphash_word(key, 0x0706050403020100ull), 0x93f5f5799a932462ull);
}

static unsigned n_same(const struct plan *p, const struct plan *q)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < p->det->n_ports; i++)
		n += cgn_det_port(p->det, cgn_det_slot_of(p->det, 3), i) ==
			cgn_det_port(q->det, cgn_det_slot_of(q->det, 3), i);
	return n;
}

static void the_key_decides_on_the_ports(void **state)
{
	struct plan *p = rfc_example(CGN_ALGORITHM_CRYPTOGRAPHIC);
	struct plan *same = rfc_example(CGN_ALGORITHM_CRYPTOGRAPHIC);
	struct plan *other = plan_new(CGN_ALGORITHM_CRYPTOGRAPHIC, 4032);
	uint32_t per_kilo[64] = {0};

	other->pool.deterministic.key[15] ^= 1;
	plan_range(other, IP(192, 0, 2, 1), IP(192, 0, 2, 1));
	plan_source(other, IP(198, 51, 100, 0), 28);
	plan_make(other);
	assert_int_equal(n_same(p, same), 4032);
	assert_in_range(n_same(p, other), 0, 20); // by chance 1 in 56448 each
	assert_int_not_equal(cgn_det_key_id(&p->pool), cgn_det_key_id(&other->pool));
	for (uint32_t i = 0; i < 4032; i++)
		per_kilo[cgn_det_port(p->det, cgn_det_slot_of(p->det, 0), i) / 1024]++;
	for (unsigned i = 1; i < 56; i++) // 73 on average, deviation 8
		assert_in_range(per_kilo[i], 30, 120);
	plan_free(p);
	plan_free(same);
	plan_free(other);
}

// What was given out under a key once must come out for ever: records are years old.
static void the_permutation_never_changes(void **state)
{
	struct plan *p = rfc_example(CGN_ALGORITHM_CRYPTOGRAPHIC);
	static const uint16_t want[] = {25251, 23047, 33489, 44358, 9797, 19710, 16886, 48815};
	uint16_t port[8];

	for (uint32_t i = 0; i < LEN(port); i++)
		port[i] = cgn_det_port(p->det, cgn_det_slot_of(p->det, i), 500 * i);
	for (uint32_t i = 0; i < LEN(port); i++)
		assert_int_equal(port[i], want[i]);
	assert_int_equal(cgn_det_key_id(&p->pool), 0xfcf95b4b);
	plan_free(p);
}

// ---- records

static void record_is(const struct plan *p, int64_t now, const char *want)
{
	char *text = cgn_det_record(p->det, now);

	assert_string_equal(text, want);
	free(text);
}

static void the_record_is_that_of_the_rfc(void **state) // RFC 7422 3
{
	struct plan *p = plan_new(CGN_ALGORITHM_SEQUENTIAL, 4032);

	plan_range(p, IP(192, 0, 2, 0), IP(192, 0, 2, 0));
	plan_source(p, IP(198, 51, 100, 0), 28);
	p->reserved[0] = (struct cgn_port_range){5004, 5004};
	p->reserved[1] = (struct cgn_port_range){5060, 5060};
	p->pool.n_reserved = 2;
	p->pool.block_size = 16;
	p->pool.max_blocks = 64; // 4032 + 63 * 16
	plan_make(p);
	record_is(p, 971274772,
		"[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.0:32:2:5040:0:1-1023,5004,5060");
	plan_free(p);
}

static void a_record_lists_all_prefixes_and_what_is_not_given_out(void **state)
{
	struct plan *p = plan_new(CGN_ALGORITHM_INTERLACED, 256);

	plan_range(p, IP(203, 0, 113, 9), IP(203, 0, 113, 9));
	plan_range(p, IP(203, 0, 113, 2), IP(203, 0, 113, 5));
	plan_source(p, IP(100, 64, 0, 0), 26);
	plan_source(p, IP(10, 0, 0, 1), 32);
	p->pool.ports = (struct cgn_port_range){2000, 60000};
	p->statics[0] = (struct cgn_static_mapping){
		.external = IP(203, 0, 113, 3), .external_ports = {0, 65535}};
	p->config.n_static_mappings = 1;
	plan_make(p);
	record_is(p, 5 * 86400,
		"[Tue Jan  6 00:00:00 1970]:100.64.0.0,10.0.0.1:26,32:203.0.113.2,203.0.113.4,203.0.113.9:32,31,32:210.82:448:3:1-1999,60001-65535");
	plan_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_example_of_the_rfc_comes_out),
		cmocka_unit_test(each_algorithm_gives_the_documented_ports),
		cmocka_unit_test(every_port_has_one_holder_whatever_the_shape),
		cmocka_unit_test(all_ports_of_an_address_are_used_when_they_divide),
		cmocka_unit_test(subscribers_are_in_the_order_of_the_list),
		cmocka_unit_test(boundary_addresses_are_no_subscribers_but_on_request),
		cmocka_unit_test(an_address_counts_once_at_the_first_source_that_has_it),
		cmocka_unit_test(a_pool_too_small_does_not_fit),
		cmocka_unit_test(siphash_is_siphash_2_4),
		cmocka_unit_test(the_key_decides_on_the_ports),
		cmocka_unit_test(the_permutation_never_changes),
		cmocka_unit_test(the_record_is_that_of_the_rfc),
		cmocka_unit_test(a_record_lists_all_prefixes_and_what_is_not_given_out),
	};

	return cmocka_run_group_tests_name("deterministic", tests, NULL, NULL);
}
