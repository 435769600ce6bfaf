// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "csum.h"
#include "rng.h"
#include <arpa/inet.h>
#include <cmocka.h>
#include <string.h>

static struct rng rng;

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"csum tests: 32 bytes are one key");
	return 0;
}

static void random_bytes(uint8_t *p, size_t n)
{
	while (n--)
		*p++ = (uint8_t)rng_u32(&rng);
}

// RFC 1071, word for word in network order.
static uint16_t reference_sum(const uint8_t *p, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += i % 2 ? p[i] : (uint64_t)p[i] << 8;
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

// 0 and 0xffff are the same number, in ones' complement.
static void assert_same_sum(uint16_t a, uint16_t b)
{
	assert_int_equal(a % 0xffff, b % 0xffff);
}

static void the_sum_of_any_length_and_place_is_that_of_rfc_1071(void **state)
{
	uint8_t data[1600];

	for (size_t len = 0; len < 1500; len += len < 70 ? 1 : 13) {
		for (size_t at = 0; at < 9; at++) {
			random_bytes(data, sizeof(data));
			assert_int_equal(ntohs(csum_fold(csum_sum(data + at, len, 0))),
				reference_sum(data + at, len));
		}
	}
	memset(data, 0xff, sizeof(data));
	assert_int_equal(csum_fold(csum_sum(data, 1600, 0)), 0xffff);
}

static void sums_of_pieces_add_up(void **state)
{
	uint8_t data[300];

	for (unsigned i = 0; i < 1000; i++) {
		size_t cut = 2 * rng_below(&rng, 150);

		random_bytes(data, sizeof(data));
		assert_same_sum(csum_fold(csum_sum(data + cut, 300 - cut, csum_sum(data, cut, 0))),
			csum_fold(csum_sum(data, 300, 0)));
	}
}

// RFC 1624 eqn. 3 on a packet: a checksum, an address and a port.
static void an_updated_checksum_is_the_one_computed_anew(void **state)
{
	struct {
		be32_t addr, rest[3];
		be16_t port, check;
	} p;

	_Static_assert(sizeof(p) == 20, "no holes");
	for (unsigned i = 0; i < 200000; i++) {
		be32_t addr = rng_u32(&rng);
		be16_t port = (be16_t)rng_u32(&rng);
		uint32_t diff;

		random_bytes((uint8_t *)&p, sizeof(p));
		if (i % 5 == 0)
			p.addr = rng_below(&rng, 2) ? 0 : UINT32_MAX;
		if (i % 7 == 0)
			port = rng_below(&rng, 2) ? 0 : UINT16_MAX;
		p.rest[0] |= 1; // all zeros have a sum of their own
		p.check = 0;
		p.check = (be16_t)~csum_fold(csum_sum(&p, sizeof(p), 0));
		diff = csum_diff32(p.addr, addr) + csum_diff16(p.port, port);
		p.addr = addr;
		p.port = port;
		p.check = csum_apply(p.check, i % 2 ? diff : csum_fold(diff));
		assert_int_equal(csum_fold(csum_sum(&p, sizeof(p), 0)), 0xffff);
	}
}

static void rfc_1624s_own_example_comes_out_right(void **state)
{
	// section 4: HC = 0xdd2f, m = 0x5555, m' = 0x3285, HC' = 0x0000
	assert_int_equal(csum_apply(0xdd2f, csum_diff16(0x5555, 0x3285)), 0x0000);
}

static void the_undone_difference_leads_back(void **state)
{
	for (unsigned i = 0; i < 100000; i++) {
		be16_t check = (be16_t)rng_u32(&rng);
		uint16_t diff = csum_fold(csum_diff32(rng_u32(&rng), rng_u32(&rng)) +
			csum_diff16((be16_t)rng_u32(&rng), 80));

		assert_same_sum(csum_apply(csum_apply(check, diff), csum_undo(diff)), check);
	}
}

static void no_change_is_no_difference(void **state)
{
	for (unsigned i = 0; i < 1000; i++) {
		uint32_t x = rng_u32(&rng);
		be16_t check = (be16_t)rng_u32(&rng);

		assert_same_sum(csum_apply(check, csum_diff32(x, x)), check);
		assert_same_sum(csum_apply(check, csum_diff16((be16_t)x, (be16_t)x)), check);
	}
}

static void an_ipv4_header_is_right_only_with_its_checksum(void **state)
{
	uint8_t header[60];

	for (unsigned words = 5; words <= 15; words++) {
		for (unsigned i = 0; i < 2000; i++) {
			uint16_t check;

			random_bytes(header, sizeof(header));
			header[0] = (uint8_t)(0x40 | words);
			memset(header + 10, 0, 2);
			check = (uint16_t)~csum_fold(csum_sum(header, 4 * words, 0));
			memcpy(header + 10, &check, 2);
			assert_true(csum_ipv4_ok(header, words));
			header[rng_below(&rng, 4 * words)] ^= (uint8_t)(1u << rng_below(&rng, 8));
			assert_false(csum_ipv4_ok(header, words));
		}
	}
	memset(header, 0xff, sizeof(header));
	assert_true(csum_ipv4_ok(header, 15)); // the largest sum there is
	memset(header, 0, sizeof(header));
	assert_false(csum_ipv4_ok(header, 5));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_sum_of_any_length_and_place_is_that_of_rfc_1071),
		cmocka_unit_test(sums_of_pieces_add_up),
		cmocka_unit_test(an_updated_checksum_is_the_one_computed_anew),
		cmocka_unit_test(rfc_1624s_own_example_comes_out_right),
		cmocka_unit_test(the_undone_difference_leads_back),
		cmocka_unit_test(no_change_is_no_difference),
		cmocka_unit_test(an_ipv4_header_is_right_only_with_its_checksum),
	};

	return cmocka_run_group_tests_name("csum", tests, setup, NULL);
}
