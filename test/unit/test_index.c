// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "index.h"
#include "mem_malloc.h"
#include "rng.h"
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>

#define N 5000u

static struct rng rng;

static uint64_t random64(void)
{
	return (uint64_t)rng_u32(&rng) << 32 | rng_u32(&rng);
}

static int setup(void **state)
{
	rng_init(&rng, (const uint8_t *)"index tests: 32 bytes are a key.");
	return 0;
}

// What the index holds, by record; a record's key is its hash.
struct shadow {
	struct index t;
	uint64_t *hash;
	uint32_t n;
};

static struct shadow shadow_of(uint32_t n_max, uint32_t n)
{
	struct shadow s = {.hash = calloc(n, sizeof(uint64_t)), .n = n};

	assert_non_null(s.hash);
	assert_int_equal(index_init(&s.t, n_max, -1), 0);
	return s;
}

static void shadow_end(struct shadow *s)
{
	index_fini(&s->t);
	free(s->hash);
}

struct probe {
	const uint64_t *hash;
	uint64_t want;
};

static bool same(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;

	return p->hash[record] == p->want;
}

static uint32_t find(const struct shadow *s, uint64_t hash)
{
	const struct probe p = {s->hash, hash};

	return index_lookup(&s->t, hash, same, &p);
}

// Recounts n_away and guests from the records' hashes (0: not in) and looks every record up.
static void check_all(const struct shadow *s)
{
	const struct index *t = &s->t;
	uint32_t *n_away = calloc(t->n_buckets, sizeof(*n_away)), n = 0, n_in = 0;

	for (uint32_t i = 0; i < t->n_buckets; i++) {
		const struct index_bucket *b = &t->bucket[i];

		for (unsigned slot = 0; slot < INDEX_SLOTS; slot++) {
			const bool guest = b->guests >> slot & 1;
			uint64_t hash;

			if (!b->tag[slot]) {
				assert_false(guest);
				continue;
			}
			n++;
			hash = s->hash[b->record[slot]];
			assert_int_equal(b->tag[slot], index_tag(hash));
			if (guest)
				assert_int_equal(
					index_other(t, index_first(t, hash), index_tag(hash)), i);
			else
				assert_int_equal(index_first(t, hash), i);
			n_away[index_first(t, hash)] += guest;
		}
		assert_int_equal(b->guests >> INDEX_SLOTS, 0);
	}
	assert_int_equal(n, t->n_entries);
	for (uint32_t i = 0; i < t->n_buckets; i++)
		assert_int_equal(n_away[i], t->bucket[i].n_away);
	for (uint32_t r = 0; r < s->n; r++) {
		if (!s->hash[r])
			continue;
		n_in++;
		assert_int_equal(find(s, s->hash[r]), r);
		assert_int_not_equal(index_candidate(t, s->hash[r]), INDEX_NONE);
	}
	assert_int_equal(n_in, n);
	free(n_away);
}

static void every_entry_is_found_and_no_other(void **state)
{
	struct shadow s = shadow_of(N, N);

	for (uint32_t r = 0; r < N; r++) {
		s.hash[r] = random64() | 1;
		assert_int_equal(find(&s, s.hash[r]), INDEX_NONE);
		assert_true(index_insert(&s.t, s.hash[r], r));
	}
	check_all(&s);
	for (uint32_t i = 0; i < 10 * N; i++)
		assert_int_equal(find(&s, random64() & ~1ull), INDEX_NONE);
	shadow_end(&s);
}

static void tables_of_any_size_take_all_their_entries(void **state)
{
	static const uint32_t sizes[] = {1, 2, 3, 7, 8, 9, 16, 17, 100, 127, 128, 129, 500, 4096};

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(*sizes); i++) {
		for (unsigned round = 0; round < 20000 / (sizes[i] + 100); round++) {
			struct shadow s = shadow_of(sizes[i], sizes[i]);

			for (uint32_t r = 0; r < s.n; r++) {
				s.hash[r] = random64();
				assert_true(index_insert(&s.t, s.hash[r], r));
			}
			if (!round)
				check_all(&s);
			shadow_end(&s);
		}
	}
}

static void churn_at_full_load_never_loses_or_refuses_an_entry(void **state)
{
	struct shadow s = shadow_of(N, N);

	for (uint32_t r = 0; r < N; r++) {
		s.hash[r] = random64();
		assert_true(index_insert(&s.t, s.hash[r], r));
	}
	for (uint32_t i = 0; i < 40 * N; i++) {
		uint32_t r = rng_below(&rng, N);

		assert_true(index_remove(&s.t, s.hash[r], r));
		assert_int_equal(find(&s, s.hash[r]), INDEX_NONE);
		assert_false(index_remove(&s.t, s.hash[r], r));
		s.hash[r] = random64();
		assert_true(index_insert(&s.t, s.hash[r], r));
		if (i % N == 0)
			check_all(&s);
	}
	check_all(&s);
	shadow_end(&s);
}

static void a_table_filled_beyond_its_size_refuses_and_stays_exact(void **state)
{
	struct shadow s = shadow_of(800, 1200);
	uint32_t refused = 0;

	for (uint32_t r = 0; r < s.n; r++) {
		uint64_t hash = random64();

		if (index_insert(&s.t, hash, r))
			s.hash[r] = hash;
		else
			refused++;
		if (r % 50 == 0)
			check_all(&s);
	}
	check_all(&s);
	assert_true(refused >= 200); // 1000 slots
	assert_true(refused < 230); // moves fill nearly all of them
	shadow_end(&s);
}

static void an_emptied_table_is_clean(void **state)
{
	struct shadow s = shadow_of(1000, 1200);

	for (uint32_t r = 0; r < s.n; r++) {
		s.hash[r] = random64();
		if (!index_insert(&s.t, s.hash[r], r))
			s.hash[r] = 0;
	}
	for (uint32_t r = 0; r < s.n; r++)
		if (s.hash[r])
			assert_true(index_remove(&s.t, s.hash[r], r));
	assert_int_equal(s.t.n_entries, 0);
	for (uint32_t i = 0; i < s.t.n_buckets; i++) {
		assert_int_equal(s.t.bucket[i].n_away, 0);
		assert_int_equal(s.t.bucket[i].guests, 0);
		assert_int_equal(index_match(&s.t.bucket[i], 0), (1u << INDEX_SLOTS) - 1);
	}
	shadow_end(&s);
}

// A hash with the given first bucket and tag.
static uint64_t hash_at(const struct index *t, uint32_t first, uint16_t tag)
{
	uint64_t high = (((uint64_t)first << 32) + t->n_buckets - 1) / t->n_buckets;

	assert_int_equal(index_first(t, high << 32 | tag), first);
	return high << 32 | tag;
}

static void equal_hashes_fill_two_buckets_and_are_told_apart_by_record(void **state)
{
	struct index t;
	uint64_t hash;

	assert_int_equal(index_init(&t, 1000, -1), 0);
	hash = hash_at(&t, 5, 7);
	assert_int_not_equal(index_other(&t, 5, 7), 5);
	for (uint32_t r = 0; r < 2 * INDEX_SLOTS; r++)
		assert_true(index_insert(&t, hash, r));
	assert_false(index_insert(&t, hash, 99)); // nowhere else may it be
	assert_int_equal(t.bucket[5].n_away, INDEX_SLOTS);
	assert_false(index_remove(&t, hash, 99));
	for (uint32_t r = 0; r < 2 * INDEX_SLOTS; r++)
		assert_true(index_remove(&t, hash, r));
	assert_int_equal(t.bucket[5].n_away, 0);
	assert_int_equal(t.n_entries, 0);
	index_fini(&t);
}

static void an_entry_whose_two_buckets_are_one_is_handled(void **state)
{
	struct index t;
	uint16_t tag = 1;
	uint64_t hash;

	assert_int_equal(index_init(&t, 1000, -1), 0);
	while (index_other(&t, 5, tag) != 5)
		assert_int_not_equal(++tag, 0);
	hash = hash_at(&t, 5, tag);
	for (uint32_t r = 0; r < INDEX_SLOTS; r++)
		assert_true(index_insert(&t, hash, r));
	assert_false(index_insert(&t, hash, 99));
	assert_int_equal(t.bucket[5].n_away, 0);
	assert_int_equal(t.bucket[5].guests, 0);
	assert_int_equal(index_candidate(&t, hash_at(&t, 5, (uint16_t)(tag + 1))), INDEX_NONE);
	for (uint32_t r = 0; r < INDEX_SLOTS; r++)
		assert_true(index_remove(&t, hash, r));
	assert_int_equal(t.n_entries, 0);
	index_fini(&t);
}

static void an_entry_is_moved_to_make_room_for_one_that_has_none(void **state)
{
	struct shadow s = shadow_of(1000, 100);
	uint16_t tag = 1;

	// bucket 5 is full of entries that could be elsewhere ...
	for (uint32_t r = 0; r < INDEX_SLOTS; r++) {
		while (index_other(&s.t, 5, tag) == 5)
			tag++;
		s.hash[r] = hash_at(&s.t, 5, tag++);
		assert_true(index_insert(&s.t, s.hash[r], r));
	}
	assert_int_equal(s.t.bucket[5].n_away, 0);
	// ... but the newcomer could not
	while (index_other(&s.t, 5, tag) != 5)
		tag++;
	s.hash[50] = hash_at(&s.t, 5, tag);
	assert_true(index_insert(&s.t, s.hash[50], 50));
	assert_int_equal(s.t.bucket[5].n_away, 1);
	check_all(&s);
	shadow_end(&s);
}

static void a_bucket_counts_no_more_entries_away_than_it_can(void **state)
{
	struct shadow s = shadow_of(2000000, 70000);
	uint32_t n = 0;

	for (uint32_t r = 0; r < s.n; r++) {
		s.hash[r] =
			hash_at(&s.t, 5, (uint16_t)(r % 65535 + 1)) + ((uint64_t)(r / 65535) << 16);
		if (index_insert(&s.t, s.hash[r], r))
			n++;
		else
			s.hash[r] = 0;
	}
	assert_true(n > 65000 && n < s.n);
	check_all(&s);
	shadow_end(&s);
}

static void no_memory_is_told(void **state)
{
	struct index t;

	mem_malloc_fail_at = 1;
	assert_int_equal(index_init(&t, 100, -1), -ENOMEM);
	index_fini(&t);
	assert_int_equal(mem_malloc_n_live, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_entry_is_found_and_no_other),
		cmocka_unit_test(tables_of_any_size_take_all_their_entries),
		cmocka_unit_test(churn_at_full_load_never_loses_or_refuses_an_entry),
		cmocka_unit_test(a_table_filled_beyond_its_size_refuses_and_stays_exact),
		cmocka_unit_test(an_emptied_table_is_clean),
		cmocka_unit_test(equal_hashes_fill_two_buckets_and_are_told_apart_by_record),
		cmocka_unit_test(an_entry_whose_two_buckets_are_one_is_handled),
		cmocka_unit_test(an_entry_is_moved_to_make_room_for_one_that_has_none),
		cmocka_unit_test(a_bucket_counts_no_more_entries_away_than_it_can),
		cmocka_unit_test(no_memory_is_told),
	};

	return cmocka_run_group_tests_name("index", tests, setup, NULL);
}
