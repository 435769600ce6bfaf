// SPDX-License-Identifier: BSD-3-Clause
#include "mss.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"
#include "rng.h"

struct header {
	uint8_t b[60];
	unsigned n;
};

static uint16_t sum(const struct header *h)
{
	return csum_fold(csum_sum(h->b, h->n, 0));
}

// A SYN with these options, which are padded with zeros; its checksum sums to 0xffff.
static struct header with_options(const uint8_t *options, unsigned n)
{
	struct header h = {.n = 20 + (n + 3) / 4 * 4};
	be16_t check;

	for (unsigned i = 0; i < 20; i++)
		h.b[i] = (uint8_t)(37 * i);
	h.b[12] = (uint8_t)(h.n / 4 << 4);
	h.b[16] = h.b[17] = 0;
	if (n)
		memcpy(h.b + 20, options, n);
	check = (be16_t)~sum(&h);
	memcpy(h.b + 16, &check, 2);
	return h;
}
#define OPTIONS(...) \
	with_options((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static void becomes(struct header h, unsigned at, uint16_t mss)
{
	const struct header before = h;
	const be16_t want = htons(mss);

	mss_clamp(h.b, 1400);
	assert_int_equal(sum(&h), 0xffff);
	assert_memory_equal(h.b + 20 + at, &want, 2);
	memcpy(h.b + 20 + at, before.b + 20 + at, 2);
	memcpy(h.b + 16, before.b + 16, 2);
	assert_memory_equal(h.b, before.b, sizeof(h.b)); // nothing else has changed
}

static void stays(struct header h)
{
	const struct header before = h;

	mss_clamp(h.b, 1400);
	assert_memory_equal(h.b, before.b, sizeof(h.b));
}

static void a_larger_mss_is_lowered_wherever_it_stands(void **state)
{
	becomes(OPTIONS(2, 4, 0x05, 0xb4), 2, 1400);
	becomes(OPTIONS(2, 4, 0xff, 0xff), 2, 1400);
	becomes(OPTIONS(2, 4, 0x05, 0x79), 2, 1400); // 1401
	becomes(OPTIONS(1, 2, 4, 0x05, 0xb4, 0, 0, 0), 3, 1400); // at an odd offset
	becomes(OPTIONS(1, 1, 2, 4, 0x05, 0xb4), 4, 1400);
	becomes(OPTIONS(3, 3, 7, 2, 4, 0x22, 0x38), 5, 1400);
	becomes(OPTIONS(4, 2, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8, 1, 3, 3, 7, 2, 4, 0x05, 0xb4), 18,
		1400);
	becomes(OPTIONS(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1,
			1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 4, 0x05, 0xb4),
		38, 1400);
}

static void a_smaller_mss_stays(void **state)
{
	stays(OPTIONS(2, 4, 0x05, 0x78)); // 1400
	stays(OPTIONS(2, 4, 0x02, 0x18));
	stays(OPTIONS(2, 4, 0, 0));
	stays(OPTIONS(1, 2, 4, 0x05, 0x78));
}

static void none_is_added_and_what_is_malformed_is_left_alone(void **state)
{
	const struct header bare = with_options(NULL, 0);

	stays(bare);
	stays(OPTIONS(1, 1, 1, 1));
	stays(OPTIONS(0, 2, 4, 0xff, 0xff, 0, 0, 0)); // behind the end
	stays(OPTIONS(2, 3, 0xff, 0xff)); // of a wrong length
	stays(OPTIONS(2, 0, 0xff, 0xff, 2, 4, 0xff, 0xff));
	stays(OPTIONS(2, 1, 0xff, 0xff, 2, 4, 0xff, 0xff));
	stays(OPTIONS(8, 0, 2, 4, 0xff, 0xff)); // no end in sight
	stays(OPTIONS(8, 9, 2, 4, 0xff, 0xff)); // beyond the header
	stays(OPTIONS(1, 1, 2, 4)); // cut off
	stays(OPTIONS(1, 2, 4, 0xff));
	stays(OPTIONS(1, 1, 1, 2));
}

// Whatever the options are: nothing but an MSS changes, and the checksum stays right.
static void random_options_keep_the_checksum_right(void **state)
{
	struct rng rng;
	unsigned n_changed = 0;

	rng_init(&rng, (const uint8_t[32]){1});
	for (unsigned i = 0; i < 200000; i++) {
		uint8_t options[40];
		struct header h, before;

		for (unsigned j = 0; j < sizeof(options); j++) {
			const uint32_t x = rng_u32(&rng);

			options[j] = (uint8_t)(x & 0x100 ? x & 7 : x);
		}
		before = h = with_options(options, 4 * rng_below(&rng, 11));
		mss_clamp(h.b, (uint16_t)(536 + rng_below(&rng, 9000)));
		assert_int_equal(sum(&h), 0xffff);
		assert_memory_equal(h.b, before.b, 16);
		for (unsigned j = 20; j < sizeof(h.b); j++) {
			if (h.b[j] == before.b[j])
				continue;
			n_changed++;
			assert_true(j < h.n && j >= 22);
			assert_true((before.b[j - 2] == 2 && before.b[j - 1] == 4) ||
				(before.b[j - 3] == 2 && before.b[j - 2] == 4));
		}
	}
	assert_true(n_changed > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_larger_mss_is_lowered_wherever_it_stands),
		cmocka_unit_test(a_smaller_mss_stays),
		cmocka_unit_test(none_is_added_and_what_is_malformed_is_left_alone),
		cmocka_unit_test(random_options_keep_the_checksum_right),
	};

	return cmocka_run_group_tests_name("mss", tests, NULL, NULL);
}
