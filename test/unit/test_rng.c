// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "rng.h"
#include <cmocka.h>
#include <string.h>

// ECRYPT's vector for ChaCha8, 256-bit key of zeros, IV of zeros.
static const uint8_t zero_key_stream[64] = {0x3e, 0x00, 0xef, 0x2f, 0x89, 0x5f, 0x40, 0xd6, 0x7f,
	0x5b, 0xb8, 0xe8, 0x1f, 0x09, 0xa5, 0xa1, 0x2c, 0x84, 0x0e, 0xc3, 0xce, 0x9a, 0x7f, 0x3b,
	0x18, 0x1b, 0xe1, 0x88, 0xef, 0x71, 0x1a, 0x1e, 0x98, 0x4c, 0xe1, 0x72, 0xb9, 0x21, 0x6f,
	0x41, 0x9f, 0x44, 0x53, 0x67, 0x45, 0x6d, 0x56, 0x19, 0x31, 0x4a, 0x42, 0xa3, 0xda, 0x86,
	0xb0, 0x01, 0x38, 0x7b, 0xfd, 0xb8, 0x0e, 0x0c, 0xfe, 0x42};

// ChaCha8 once more, as slowly and literally as the paper says it.
static void reference_block(const uint8_t key[32], uint64_t counter, uint8_t out[64])
{
	static const uint8_t quarter[8][4] = {{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14},
		{3, 7, 11, 15}, {0, 5, 10, 15}, {1, 6, 11, 12}, {2, 7, 8, 13}, {3, 4, 9, 14}};
	static const uint8_t sigma[] = "expand 32-byte k";
	static const uint8_t turn[4] = {16, 12, 8, 7};
	uint8_t in[64] = {0};
	uint64_t x[16], start[16]; // 32-bit words in 64 bits, so that rotating is plain arithmetic

	memcpy(in, sigma, 16);
	memcpy(in + 16, key, 32);
	for (unsigned i = 0; i < 8; i++)
		in[48 + i] = (uint8_t)(counter >> 8 * i);
	for (unsigned i = 0; i < 16; i++)
		start[i] = x[i] = in[4 * i] + in[4 * i + 1] * 256ull + in[4 * i + 2] * 65536ull +
			in[4 * i + 3] * 16777216ull;
	for (unsigned round = 0; round < 8; round++) {
		for (unsigned q = 0; q < 4; q++) {
			const uint8_t *w = quarter[round % 2 * 4 + q];

			for (unsigned step = 0; step < 4; step++) {
				const uint8_t a = w[step % 2 * 2], b = w[step % 2 * 2 + 1],
					      d = w[(step % 2 * 2 + 3) % 4];

				x[a] = (x[a] + x[b]) % 4294967296ull;
				x[d] = (x[d] ^ x[a]) * (1ull << turn[step]);
				x[d] = x[d] % 4294967296ull + x[d] / 4294967296ull;
			}
		}
	}
	for (unsigned i = 0; i < 64; i++)
		out[i] = (uint8_t)((x[i / 4] + start[i / 4]) >> 8 * (i % 4));
}

static void the_stream_of_the_zero_key_is_the_published_one(void **state)
{
	const uint8_t key[32] = {0};
	struct rng rng;
	uint8_t out[64];

	rng_init(&rng, key);
	for (unsigned i = 0; i < 16; i++) {
		uint32_t word = rng_u32(&rng);

		memcpy(out + 4 * i, &word, 4);
	}
	assert_memory_equal(out, zero_key_stream, 64);
	reference_block(key, 0, out);
	assert_memory_equal(out, zero_key_stream, 64);
}

static void blocks_agree_with_a_second_implementation(void **state)
{
	uint8_t key[32], want[64];
	struct rng rng;

	for (unsigned k = 0; k < 50; k++) {
		for (unsigned i = 0; i < 32; i++)
			key[i] = (uint8_t)(k * 37 + i * i * 11);
		rng_init(&rng, key);
		for (unsigned block = 0; block < 4; block++) {
			reference_block(key, block, want);
			for (unsigned i = 0; i < 16; i++) {
				uint32_t word = rng_u32(&rng);

				assert_memory_equal(&word, want + 4 * i, 4);
			}
		}
	}
}

static void the_block_counter_carries_into_its_high_word(void **state)
{
	const uint8_t key[32] = {1};
	uint8_t want[64];
	struct rng rng;

	rng_init(&rng, key);
	rng.state[12] = UINT32_MAX;
	rng_refill(&rng);
	rng_refill(&rng);
	reference_block(key, 1ull << 32, want);
	assert_memory_equal(rng.out, want, 64);
}

static void numbers_below_n_cover_all_of_them_evenly(void **state)
{
	const uint8_t key[32] = {2};
	uint32_t count[10] = {0};
	struct rng rng;

	rng_init(&rng, key);
	for (unsigned i = 0; i < 100000; i++) {
		uint32_t x = rng_below(&rng, 10);

		assert_true(x < 10);
		count[x]++;
	}
	for (unsigned i = 0; i < 10; i++)
		assert_true(count[i] > 9500 && count[i] < 10500);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(rng_below(&rng, 1), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_stream_of_the_zero_key_is_the_published_one),
		cmocka_unit_test(blocks_agree_with_a_second_implementation),
		cmocka_unit_test(the_block_counter_carries_into_its_high_word),
		cmocka_unit_test(numbers_below_n_cover_all_of_them_evenly),
	};

	return cmocka_run_group_tests_name("rng", tests, NULL, NULL);
}
