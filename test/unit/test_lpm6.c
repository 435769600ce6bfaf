// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "lpm6.h"
#include "rng.h"
#include <arpa/inet.h>
#include <cmocka.h>
#include <stdlib.h>

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"lpm6 tests: 32 bytes is one key.");
	return 0;
}

static struct cgn_ipv6 address(const char *text)
{
	struct cgn_ipv6 a;

	assert_int_equal(inet_pton(AF_INET6, text, &a), 1);
	return a;
}

static struct lpm6_prefix prefix(const char *text, uint8_t length, uint32_t value)
{
	return (struct lpm6_prefix){address(text), length, value};
}

static uint32_t brute_force(const struct lpm6_prefix *p, uint32_t n, const struct cgn_ipv6 *a)
{
	uint32_t value = LPM6_NONE;
	int best = -1;

	for (uint32_t i = 0; i < n; i++) {
		if (cgn_ipv6_covers(&p[i].address, p[i].length, a) && p[i].length > best) {
			best = p[i].length;
			value = p[i].value;
		}
	}
	return value;
}

// One more or less, as the number that it is.
static struct cgn_ipv6 moved(struct cgn_ipv6 a, int by)
{
	for (int i = 15; i >= 0; i--) {
		a.b[i] = (uint8_t)(a.b[i] + by);
		if (a.b[i] != (by > 0 ? 0 : 0xff))
			break;
	}
	return a;
}

static struct cgn_ipv6 last_of(const struct lpm6_prefix *p)
{
	struct cgn_ipv6 a = p->address;

	for (unsigned bit = p->length; bit < 128; bit++)
		a.b[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	return a;
}

// Few different bits, so that prefixes lie inside and beside each other.
static struct cgn_ipv6 random_address(void)
{
	struct cgn_ipv6 a = {{0x20, 0x01, 0x0d, 0xb8}};

	for (unsigned i = 4; i < 16; i++)
		a.b[i] = rng_below(&rng, 3) ? 0 : (uint8_t)(rng_u32(&rng) & 0x81);
	if (!rng_below(&rng, 8))
		a.b[0] = (uint8_t)rng_u32(&rng);
	return a;
}

// Looks up both ends of prefixes, their neighbours, and random addresses.
static void check(const struct lpm6_prefix *p, uint32_t n, uint32_t n_prefixes, uint32_t n_random)
{
	struct lpm6 *lpm = lpm6_create(p, n);

	assert_non_null(lpm);
	assert_true(lpm->n_ranges <= 2 * n + 1);
	for (uint32_t i = 0; i < n_prefixes; i++) {
		const struct lpm6_prefix *q = &p[n_prefixes == n ? i : rng_below(&rng, n)];
		const struct cgn_ipv6 last = last_of(q);
		const struct cgn_ipv6 at[] = {
			q->address, moved(q->address, -1), last, moved(last, 1)};

		for (unsigned k = 0; k < 4; k++)
			assert_int_equal(lpm6_lookup(lpm, &at[k]), brute_force(p, n, &at[k]));
	}
	for (uint32_t i = 0; i < n_random; i++) {
		const struct cgn_ipv6 a = random_address();

		assert_int_equal(lpm6_lookup(lpm, &a), brute_force(p, n, &a));
	}
	lpm6_destroy(lpm);
}

static void nothing_matches_in_an_empty_table(void **state)
{
	check(NULL, 0, 0, 1000);
}

static void a_default_route_matches_everything(void **state)
{
	const struct lpm6_prefix p[] = {prefix("::", 0, 42)};
	struct lpm6 *lpm = lpm6_create(p, 1);

	assert_int_equal(lpm->n_ranges, 1);
	lpm6_destroy(lpm);
	check(p, 1, 1, 1000);
}

static void the_longest_of_nested_prefixes_wins(void **state)
{
	struct lpm6_prefix p[129];
	const struct cgn_ipv6 deep = address("2001:db8:aaaa:5555:8000::1"),
			      end = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	for (uint8_t len = 0; len <= 128; len++)
		p[len] = (struct lpm6_prefix){cgn_ipv6_network(&deep, len), len, len};
	check(p, 129, 129, 1000);
	for (uint8_t len = 0; len <= 128; len++) // all end with the last address
		p[len] = (struct lpm6_prefix){cgn_ipv6_network(&end, len), len, len};
	check(p, 129, 129, 1000);
	for (uint8_t len = 0; len <= 128; len++) // all begin with the first, in any order
		p[128 - len] = (struct lpm6_prefix){{{0}}, len, len};
	check(p, 129, 129, 1000);
}

static void the_halves_of_an_address_are_one_number(void **state)
{
	const struct lpm6_prefix p[] = {prefix("::", 64, 1), prefix("0:0:0:1::", 64, 2),
		prefix("::8000:0:0:0", 65, 3), prefix("0:0:0:1:8000::", 65, 4),
		prefix("::ffff:ffff:ffff:ffff", 128, 5), prefix("0:0:0:1::", 128, 6),
		prefix("8000::", 1, 7), prefix("7fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128, 8)};

	check(p, 8, 8, 1000);
}

static void of_equal_prefixes_the_first_wins(void **state)
{
	const struct lpm6_prefix p[] = {prefix("2001:db8::", 32, 9), prefix("2001:db8::", 48, 1),
		prefix("2001:db8::", 32, 3), prefix("2001:db8::", 48, 2)};
	struct lpm6 *lpm = lpm6_create(p, 4);
	const struct cgn_ipv6 outer = address("2001:db8:1::"), inner = address("2001:db8::1");

	assert_int_equal(lpm6_lookup(lpm, &outer), 9);
	assert_int_equal(lpm6_lookup(lpm, &inner), 1);
	lpm6_destroy(lpm);
}

static void random_tables_agree_with_brute_force(void **state)
{
	struct lpm6_prefix p[40];

	for (unsigned round = 0; round < 150; round++) {
		uint32_t n = 1 + rng_below(&rng, 40);

		for (uint32_t i = 0; i < n; i++) {
			const struct cgn_ipv6 a = random_address();

			p[i].length = (uint8_t)rng_below(&rng, 129);
			p[i].address = cgn_ipv6_network(&a, p[i].length);
			p[i].value = rng_below(&rng, 5);
		}
		check(p, n, n, 100);
	}
}

static void twenty_thousand_prefixes_agree_with_brute_force(void **state)
{
	const uint32_t n = 20000;
	struct lpm6_prefix *p = calloc(n, sizeof(*p));

	for (uint32_t i = 0; i < n; i++) {
		struct cgn_ipv6 a = {{0x2a}};

		for (unsigned k = 1; k < 9; k++)
			a.b[k] = (uint8_t)rng_u32(&rng);
		p[i].length = (uint8_t)(16 + rng_below(&rng, 49));
		p[i].address = cgn_ipv6_network(&a, p[i].length);
		p[i].value = i;
	}
	check(p, n, 300, 1000);
	free(p);
}

static void prefixes_are_cut_at_any_bit(void **state)
{
	const struct cgn_ipv6 ones = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	for (uint8_t len = 0; len <= 128; len++) {
		const struct cgn_ipv6 cut = cgn_ipv6_network(&ones, len);
		unsigned bits = 0;

		for (unsigned i = 0; i < 16; i++)
			bits += (unsigned)__builtin_popcount(cut.b[i]);
		assert_int_equal(bits, len);
		assert_true(cgn_ipv6_covers(&cut, len, &ones));
		assert_true(len == 128 || !cgn_ipv6_covers(&cut, (uint8_t)(len + 1), &ones));
	}
}

static void a_link_local_address_is_made_of_the_mac_address(void **state) // RFC 4291 appendix A
{
	const struct cgn_ipv6 want = address("fe80::36:56ff:fe78:9abc");
	const struct cgn_ipv6 got =
		cgn_ipv6_link_local((const uint8_t[]){0x02, 0x36, 0x56, 0x78, 0x9a, 0xbc});

	assert_memory_equal(&got, &want, sizeof(want));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_matches_in_an_empty_table),
		cmocka_unit_test(a_default_route_matches_everything),
		cmocka_unit_test(the_longest_of_nested_prefixes_wins),
		cmocka_unit_test(the_halves_of_an_address_are_one_number),
		cmocka_unit_test(of_equal_prefixes_the_first_wins),
		cmocka_unit_test(random_tables_agree_with_brute_force),
		cmocka_unit_test(twenty_thousand_prefixes_agree_with_brute_force),
		cmocka_unit_test(prefixes_are_cut_at_any_bit),
		cmocka_unit_test(a_link_local_address_is_made_of_the_mac_address),
	};

	return cmocka_run_group_tests_name("lpm6", tests, setup, NULL);
}
