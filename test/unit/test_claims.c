// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "claims.h"
#include "flow.h"
#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};

#define X(n) FLOW_KEY(0xcb007100 + (n), 0, 50)

static void a_claim_has_one_holder(void **state)
{
	struct claims *c = claims_create(3, seed);

	assert_int_equal(claims_find(c, X(1), 7), CLAIMS_NOBODY);
	assert_int_equal(claims_take(c, 1, X(1), 7), CLAIMS_GRANTED);
	assert_int_equal(claims_take(c, 0, X(1), 7), CLAIMS_TAKEN);
	assert_int_equal(claims_take(c, 2, X(1), 7), CLAIMS_TAKEN);
	assert_int_equal(claims_find(c, X(1), 7), 1);
	// address, protocol and remote count
	assert_int_equal(claims_take(c, 0, X(2), 7), CLAIMS_GRANTED);
	assert_int_equal(claims_take(c, 0, X(1), 8), CLAIMS_GRANTED);
	assert_int_equal(claims_take(c, 2, FLOW_KEY(0xcb007101, 0, 47), 7), CLAIMS_GRANTED);
	claims_give(c, 1, X(1), 7);
	assert_int_equal(claims_find(c, X(1), 7), CLAIMS_NOBODY);
	assert_int_equal(claims_take(c, 2, X(1), 7), CLAIMS_GRANTED);
	assert_int_equal(claims_find(c, X(1), 7), 2);
	assert_int_equal(claims_find(c, X(1), 8), 0);
	claims_destroy(c);
}

static void what_does_not_fit_is_refused_and_room_comes_back(void **state)
{
	struct claims *c = claims_create(2, seed);
	static bool granted[20000];
	uint32_t n = 0;

	for (uint32_t i = 0; i < 20000; i++) {
		enum claims_result r = claims_take(c, 0, X(1), i);

		assert_int_not_equal(r, CLAIMS_TAKEN);
		granted[i] = r == CLAIMS_GRANTED;
		n += granted[i];
	}
	assert_in_range(n, CLAIMS_BUCKETS * CLAIMS_SLOTS / 2, CLAIMS_BUCKETS * CLAIMS_SLOTS);
	// another worker has room of its own, but not for those
	for (uint32_t i = 0; i < 100; i++)
		assert_int_equal(claims_take(c, 1, X(1), i) == CLAIMS_TAKEN, granted[i]);
	for (uint32_t i = 0; i < 20000; i++) {
		if (granted[i])
			claims_give(c, 0, X(1), i);
	}
	for (uint32_t i = 100; i < 20000; i++)
		assert_int_equal(claims_find(c, X(1), i), CLAIMS_NOBODY);
	claims_destroy(c);
}

// ---- two workers at once: never both

#define ROUNDS 200000u
#define NAMES 4u

struct race {
	struct claims *c;
	uint32_t self;
	uint32_t *holders; // by name: how many have it now
	uint32_t n_granted;
};

static void *racer(void *arg)
{
	struct race *r = arg;

	for (uint32_t i = 0; i < ROUNDS; i++) {
		const uint32_t name = i % NAMES;

		if (claims_take(r->c, r->self, X(1), name) != CLAIMS_GRANTED)
			continue;
		r->n_granted++;
		if (__atomic_add_fetch(&r->holders[name], 1, __ATOMIC_SEQ_CST) != 1)
			abort();
		__atomic_sub_fetch(&r->holders[name], 1, __ATOMIC_SEQ_CST);
		claims_give(r->c, r->self, X(1), name);
	}
	return NULL;
}

static void two_at_the_same_moment_are_never_both_granted(void **state)
{
	uint32_t holders[NAMES] = {0};
	struct claims *c = claims_create(2, seed);
	struct race r[2] = {{c, 0, holders, 0}, {c, 1, holders, 0}};
	pthread_t thread[2];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, racer, &r[i]), 0);
	for (unsigned i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	assert_true(r[0].n_granted + r[1].n_granted > 0);
	for (uint32_t i = 0; i < NAMES; i++)
		assert_int_equal(claims_find(c, X(1), i), CLAIMS_NOBODY);
	claims_destroy(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_claim_has_one_holder),
		cmocka_unit_test(what_does_not_fit_is_refused_and_room_comes_back),
		cmocka_unit_test(two_at_the_same_moment_are_never_both_granted),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
