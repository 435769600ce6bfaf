// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lpm.h"
#include "rng.h"
#include <cmocka.h>
#include <stdlib.h>

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"lpm tests: 32 bytes are one key.");
	return 0;
}

static uint32_t mask(uint8_t length)
{
	return length ? UINT32_MAX << (32 - length) : 0;
}

static uint32_t brute_force(const struct lpm_prefix *p, uint32_t n, uint32_t address)
{
	uint32_t value = LPM_NONE;
	int best = -1;

	for (uint32_t i = 0; i < n; i++) {
		if ((address & mask(p[i].length)) == p[i].address && p[i].length > best) {
			best = p[i].length;
			value = p[i].value;
		}
	}
	return value;
}

// Looks up both ends of every prefix, their neighbours, and random addresses.
static void check(const struct lpm_prefix *p, uint32_t n, uint32_t n_prefixes, uint32_t n_random)
{
	struct lpm *lpm = lpm_create(p, n);

	assert_non_null(lpm);
	assert_true(lpm->n_ranges <= 2 * n + 1);
	for (uint32_t i = 0; i < n_prefixes; i++) {
		const struct lpm_prefix *q = &p[n_prefixes == n ? i : rng_below(&rng, n)];
		const uint32_t last = q->address | ~mask(q->length);
		const uint32_t at[] = {q->address, q->address - 1, last, last + 1};

		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(lpm_lookup(lpm, at[k]), brute_force(p, n, at[k]));
	}
	for (uint32_t i = 0; i < n_random; i++) {
		uint32_t address = rng_u32(&rng);

		assert_int_equal(lpm_lookup(lpm, address), brute_force(p, n, address));
	}
	lpm_destroy(lpm);
}

static struct lpm_prefix random_prefix(uint32_t spread, uint8_t shortest)
{
	struct lpm_prefix p = {.length = (uint8_t)(shortest + rng_below(&rng, 33u - shortest))};

	p.address = (0x64400000u + rng_below(&rng, spread) * 0x97u) & mask(p.length);
	p.value = rng_below(&rng, 5); // neighbours often have the same
	return p;
}

static void nothing_matches_in_an_empty_table(void **state)
{
	check(NULL, 0, 0, 1000);
}

static void a_default_route_matches_everything(void **state)
{
	const struct lpm_prefix p[] = {{0, 0, 42}};
	struct lpm *lpm = lpm_create(p, 1);

	assert_int_equal(lpm_lookup(lpm, 0), 42);
	assert_int_equal(lpm_lookup(lpm, UINT32_MAX), 42);
	assert_int_equal(lpm->n_ranges, 1);
	lpm_destroy(lpm);
}

static void the_longest_of_nested_prefixes_wins(void **state)
{
	struct lpm_prefix p[33];

	for (uint8_t len = 0; len <= 32; len++)
		p[len] = (struct lpm_prefix){0xc0000201u & mask(len), len, len};
	check(p, 33, 33, 10000);
	for (uint8_t len = 0; len <= 32; len++)
		p[len] = (struct lpm_prefix){mask(len), len, len}; // all end with the last address
	check(p, 33, 33, 10000);
	for (uint8_t len = 0; len <= 32; len++)
		p[32 - len] =
			(struct lpm_prefix){0, len, len}; // all begin with the first, in any order
	check(p, 33, 33, 10000);
}

static void the_ends_of_the_address_space_are_reached(void **state)
{
	const struct lpm_prefix p[] = {{0, 32, 1}, {0xffffffff, 32, 2}, {0xfffffffe, 32, 3},
		{0x80000000, 1, 4}, {0x7fffffff, 32, 5}, {0x0000ffff, 32, 6}, {0x00010000, 32, 7}};

	check(p, 7, 7, 1000);
}

static void of_equal_prefixes_the_first_wins(void **state)
{
	const struct lpm_prefix p[] = {
		{0x0a000000, 8, 9}, {0x0a000000, 16, 1}, {0x0a000000, 8, 3}, {0x0a000000, 16, 2}};
	struct lpm *lpm = lpm_create(p, 4);

	assert_int_equal(lpm_lookup(lpm, 0x0aff0000), 9);
	assert_int_equal(lpm_lookup(lpm, 0x0a000001), 1);
	lpm_destroy(lpm);
}

static void neighbours_of_one_value_become_one_range(void **state)
{
	const struct lpm_prefix p[] = {{0x0a000000, 9, 1}, {0x0a800000, 9, 1}, {0x0a123400, 24, 1}};
	struct lpm *lpm = lpm_create(p, 3);

	assert_int_equal(lpm->n_ranges, 3);
	lpm_destroy(lpm);
}

static void small_random_tables_agree_with_brute_force(void **state)
{
	struct lpm_prefix p[40];

	for (unsigned round = 0; round < 150; round++) {
		uint32_t n = 1 + rng_below(&rng, 40);

		for (uint32_t i = 0; i < n; i++)
			p[i] = random_prefix(1000, round % 2 ? 0 : 16);
		check(p, n, n, 100);
	}
}

static void twenty_thousand_prefixes_agree_with_brute_force(void **state)
{
	const uint32_t n = 20000;
	struct lpm_prefix *p = calloc(n, sizeof(*p));

	for (uint32_t i = 0; i < n; i++) {
		p[i].length = (uint8_t)(8 + rng_below(&rng, 25));
		p[i].address = rng_u32(&rng) & mask(p[i].length);
		p[i].value = i;
	}
	check(p, n, 300, 1000);
	free(p);
}

// Many ranges in few /16 and /24: second tables, and searches of any length behind them.
static void crowded_tables_agree_with_brute_force(void **state)
{
	for (unsigned round = 0; round < 40; round++) {
		const uint32_t n = 1 + rng_below(&rng, 1500), bits = 6 + rng_below(&rng, 13);
		const uint32_t base = round % 3 ? rng_u32(&rng) : round % 2 ? 0 : 0xffffffff;
		struct lpm_prefix *p = calloc(n, sizeof(*p));
		struct lpm *lpm;

		for (uint32_t i = 0; i < n; i++) {
			p[i].length = (uint8_t)(20 + rng_below(&rng, 13));
			p[i].address = (base ^ rng_below(&rng, 1u << bits)) & mask(p[i].length);
			p[i].value = rng_below(&rng, 8) ? i : 0xf0000000 + i; // with the top bit
		}
		check(p, n, n < 200 ? n : 200, 50);
		lpm = lpm_create(p, n);
		assert_non_null(lpm);
		for (unsigned i = 0; i < 400; i++) {
			const uint32_t address = base ^ rng_below(&rng, 1u << bits);

			assert_int_equal(lpm_lookup(lpm, address), brute_force(p, n, address));
		}
		lpm_destroy(lpm);
		free(p);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_matches_in_an_empty_table),
		cmocka_unit_test(a_default_route_matches_everything),
		cmocka_unit_test(the_longest_of_nested_prefixes_wins),
		cmocka_unit_test(the_ends_of_the_address_space_are_reached),
		cmocka_unit_test(of_equal_prefixes_the_first_wins),
		cmocka_unit_test(neighbours_of_one_value_become_one_range),
		cmocka_unit_test(small_random_tables_agree_with_brute_force),
		cmocka_unit_test(twenty_thousand_prefixes_agree_with_brute_force),
		cmocka_unit_test(crowded_tables_agree_with_brute_force),
	};

	return cmocka_run_group_tests_name("lpm", tests, setup, NULL);
}
