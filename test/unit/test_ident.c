// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "ident.h"
#include <cmocka.h>
#include <string.h>

static uint32_t next_random(void *ctx)
{
	uint32_t *x = ctx;

	return *x = *x * 1664525u + 1013904223u;
}

static void make(struct ident *t, uint16_t first, uint16_t step, uint32_t random)
{
	const uint64_t seed[2] = {0x1234567890abcdef + random, 0xfedcba0987654321};

	ident_init(t, first, step, seed, next_random, &random);
}

static void a_number_comes_again_only_after_all_others(void **state) // RFC 6864 5.3.1
{
	static struct ident t;
	static uint8_t seen[65536];

	make(&t, 0, 1, 1);
	memset(seen, 0, sizeof(seen));
	for (unsigned i = 0; i < 65536; i++) {
		be16_t id = ident_next(&t, 1, 2, 17);

		assert_int_equal(seen[id], 0);
		seen[id] = 1;
	}
}

static void workers_with_one_address_never_meet(void **state)
{
	static struct ident t[3];
	static uint8_t seen[65536];

	memset(seen, 0, sizeof(seen));
	for (uint16_t worker = 0; worker < 3; worker++)
		make(&t[worker], worker, 4, worker);
	for (unsigned i = 0; i < 16384; i++) {
		for (unsigned worker = 0; worker < 3; worker++) {
			be16_t id = ident_next(&t[worker], 1, 2, 17);

			assert_int_equal(seen[id], 0);
			seen[id] = 1;
		}
	}
}

static void source_destination_and_protocol_count(void **state)
{
	static struct ident t;
	unsigned same = 0;

	make(&t, 0, 1, 1);
	for (uint32_t i = 0; i < 1000; i++) {
		be16_t id = ident_next(&t, i, 2000, 17);

		same += id == ident_next(&t, 2000, i, 17);
		same += id == ident_next(&t, i, 2000, 6);
		same += id == ident_next(&t, i + 1, 2000, 17);
	}
	assert_in_range(same, 0, 5);
}

static void every_start_has_other_numbers(void **state)
{
	static struct ident t;
	be16_t first;
	unsigned same = 0;

	make(&t, 0, 1, 0);
	first = ident_next(&t, 1, 2, 17);
	for (uint32_t i = 1; i < 1000; i++) {
		make(&t, 0, 1, i);
		same += ident_next(&t, 1, 2, 17) == first;
	}
	assert_in_range(same, 0, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_comes_again_only_after_all_others),
		cmocka_unit_test(workers_with_one_address_never_meet),
		cmocka_unit_test(source_destination_and_protocol_count),
		cmocka_unit_test(every_start_has_other_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
