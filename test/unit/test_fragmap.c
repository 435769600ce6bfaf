// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "fragmap.h"
#include "mem_malloc.h"
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};
static struct fragmap map;
static int packet; // whose address waits

static int setup(void **state)
{
	return fragmap_init(&map, seed, -1);
}

static int teardown(void **state)
{
	assert_int_equal(map.n, 0);
	assert_int_equal(fragmap_n_held(&map), 0);
	assert_int_equal(map.index.n_entries, 0);
	assert_int_equal(map.sources.n_entries, 0);
	fragmap_fini(&map);
	return mem_malloc_n_live ? -1 : 0;
}

static struct frag_arrival piece(uint32_t src, unsigned id, unsigned from, unsigned to, bool last)
{
	return (struct frag_arrival){
		.key = {src, 99, (be16_t)id, 17, FRAG_OUT}, .from = from, .to = to, .last = last};
}

static enum cgn_drop hold(struct frag_arrival a, uint64_t now_ns)
{
	return fragmap_hold(&map, &a, &packet, 3, 4, now_ns);
}

static void drop(struct frag *f)
{
	struct frag_held held;

	while (fragmap_release(&map, f, &held))
		assert_ptr_equal(held.packet, &packet);
	fragmap_close(&map, f);
}

static void drop_all(void)
{
	while (map.n)
		drop(&map.frag[map.first]);
}

static void keys_differ_in_every_field(void **state)
{
	const struct frag_key base = {1, 2, 3, 17, FRAG_IN};
	struct frag_key k[6];
	struct frag_arrival a = {.key = base, .from = 8, .to = 16};

	for (unsigned i = 0; i < 6; i++)
		k[i] = base;
	k[1].src++;
	k[2].dst++;
	k[3].id++;
	k[4].proto = 6;
	k[5].dir = FRAG_STEER;
	assert_int_equal(hold(a, 0), CGN_DROP_COUNT);
	assert_non_null(fragmap_find(&map, &k[0]));
	for (unsigned i = 1; i < 6; i++)
		assert_null(fragmap_find(&map, &k[i]));
	drop_all();
}

// Against the obvious: a byte map.
static void pieces_are_covered_as_a_byte_map_says(void **state)
{
	enum {
		LEN = 512
	};

	srand(4711);
	for (unsigned run = 0; run < 3000; run++) {
		struct frag f = {0};
		bool got[LEN] = {false};
		unsigned end = 0, top = 0;

		for (unsigned i = 0; i < 60; i++) {
			unsigned from = (unsigned)rand() % (LEN / 8) * 8;
			unsigned to = from + 8 * (1 + (unsigned)rand() % 6);
			bool last = rand() % 8 == 0, overlap = false;
			unsigned gaps = 0;
			enum cgn_drop reason;

			to = to > LEN ? LEN : to;
			if (last)
				to -= (unsigned)rand() % 8;
			for (unsigned x = from; x < to; x++)
				overlap = overlap || got[x];
			for (unsigned x = 0; x < LEN; x++)
				gaps += got[x] && (!x || !got[x - 1]);
			reason = fragmap_cover(&f, from, to, last);
			if ((end && (to > end || (last && to != end))) || (last && top > to)) {
				assert_int_equal(reason, CGN_DROP_FRAG_INVALID);
			} else if (overlap || (last && end)) {
				assert_int_equal(reason, CGN_DROP_FRAG_OVERLAP);
			} else if (reason != CGN_DROP_COUNT) {
				assert_int_equal(reason, CGN_DROP_FRAG_DATAGRAM_LIMIT);
				assert_int_equal(gaps, FRAG_GAPS_MAX);
			} else {
				bool all = true;

				memset(got + from, true, to - from);
				top = to > top ? to : top;
				end = last ? to : end;
				for (unsigned x = 0; x < end; x++)
					all = all && got[x];
				assert_int_equal(fragmap_is_complete(&f), end && all);
			}
		}
	}
}

static void packets_come_out_in_their_order(void **state)
{
	struct frag_held held;
	struct frag_arrival first = piece(1, 1, 0, 8, false);
	enum cgn_drop reason;
	struct frag *f;
	int packets[4];

	for (unsigned i = 0; i < 4; i++) {
		struct frag_arrival a = piece(1, 1, 8 + 8 * i, 16 + 8 * i, i == 3);

		assert_int_equal(
			fragmap_hold(&map, &a, &packets[i], (uint8_t)i, 7, 0), CGN_DROP_COUNT);
	}
	f = fragmap_open(&map, &first, 5, &reason);
	assert_non_null(f);
	assert_int_equal(f->state, FRAG_OPENING);
	for (unsigned i = 0; i < 4; i++) {
		assert_true(fragmap_release(&map, f, &held));
		assert_ptr_equal(held.packet, &packets[i]);
		assert_int_equal(held.ifc, i);
		assert_int_equal(held.flags, 7);
	}
	assert_false(fragmap_release(&map, f, &held));
	assert_true(fragmap_is_complete(f));
	fragmap_close(&map, f);
}

static void the_time_starts_again_with_the_first_fragment(void **state)
{
	struct frag_arrival first = piece(1, 1, 0, 8, false);
	enum cgn_drop reason;
	struct frag *f;

	assert_int_equal(hold(piece(1, 1, 8, 16, false), 100), CGN_DROP_COUNT);
	assert_int_equal(hold(piece(1, 2, 8, 16, false), 150), CGN_DROP_COUNT);
	assert_int_equal(hold(piece(1, 1, 16, 24, false), 190), CGN_DROP_COUNT); // no new time
	assert_null(fragmap_due(&map, 199, 100));
	assert_int_equal(fragmap_due(&map, 200, 100)->key.id, 1);
	f = fragmap_open(&map, &first, 199, &reason);
	assert_int_equal(fragmap_due(&map, 250, 100)->key.id, 2);
	drop(fragmap_due(&map, 250, 100));
	assert_null(fragmap_due(&map, 298, 100));
	assert_ptr_equal(fragmap_due(&map, 299, 100), f);
	drop(f);
	assert_null(fragmap_due(&map, UINT64_MAX, 0));
}

static void what_waits_is_bounded_to_the_last_one(void **state)
{
	unsigned n = 0;

	for (unsigned src = 1; n < FRAG_HELD_MAX; src++) {
		for (unsigned i = 0; i < FRAG_HELD_SOURCE; i++, n++)
			assert_int_equal(hold(piece(src, i, 8, 16, false), 0), CGN_DROP_COUNT);
		assert_int_equal(
			hold(piece(src, 5000, 8, 16, false), 0), CGN_DROP_FRAG_SOURCE_LIMIT);
	}
	assert_int_equal(hold(piece(5000, 0, 8, 16, false), 0), CGN_DROP_FRAG_STORE_FULL);
	for (unsigned i = 0; i < FRAG_HELD_MAX; i++) { // outside has room of its own
		struct frag_arrival a = piece(i, 0, 8, 16, false);

		a.key.dir = i & 1 ? FRAG_IN : FRAG_STEER;
		assert_int_equal(hold(a, 0), CGN_DROP_COUNT);
	}
	drop(&map.frag[map.first]); // one goes, one may come
	assert_int_equal(hold(piece(5000, 0, 8, 16, false), 0), CGN_DROP_COUNT);
	assert_int_equal(hold(piece(5000, 1, 8, 16, false), 0), CGN_DROP_FRAG_STORE_FULL);
	drop_all();
}

// Everything full at once: the memory is enough for that.
static void every_limit_can_be_reached_at_the_same_time(void **state)
{
	for (unsigned dir = FRAG_OUT; dir <= FRAG_IN; dir++) {
		for (unsigned i = 0; i < FRAG_DATAGRAMS_MAX; i++) {
			struct frag_arrival a = piece(i, 0, 0, 8, false);
			enum cgn_drop reason;

			a.key.dir = (uint8_t)dir;
			assert_non_null(fragmap_open(&map, &a, 0, &reason));
		}
		for (unsigned i = 0; i < FRAG_HELD_MAX; i++) {
			struct frag_arrival a = piece(100000 + i, 0, 8, 16, false);

			a.key.dir = (uint8_t)dir;
			assert_int_equal(hold(a, 0), CGN_DROP_COUNT);
			if (!i) { // its first one comes: no room
				enum cgn_drop reason;

				a.from = 0;
				a.to = 8;
				assert_null(fragmap_open(&map, &a, 0, &reason));
				assert_int_equal(reason, CGN_DROP_FRAG_STORE_FULL);
			}
		}
	}
	assert_int_equal(map.n, 2 * (FRAG_DATAGRAMS_MAX + FRAG_HELD_MAX));
	drop_all();
}

static void a_second_first_fragment(void **state)
{
	struct frag_arrival a = piece(1, 1, 0, 8, false);
	enum cgn_drop reason;
	struct frag *f = fragmap_open(&map, &a, 0, &reason);

	f->state = FRAG_TRANSLATED;
	assert_null(fragmap_open(&map, &a, 0, &reason));
	assert_int_equal(reason, CGN_DROP_FRAG_OVERLAP);
	f->state = FRAG_DROPPED; // begins anew
	a.to = 16;
	f = fragmap_open(&map, &a, 9, &reason);
	assert_int_equal(f->piece[0].to, 16);
	assert_int_equal(map.n, 1);
	drop_all();
}

static void no_memory_leaves_nothing_behind(void **state)
{
	struct fragmap m;
	const uint32_t live = mem_malloc_n_live;

	for (uint32_t i = 1; i <= 5; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(fragmap_init(&m, seed, -1), -ENOMEM);
		assert_int_equal(mem_malloc_n_live, live);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(keys_differ_in_every_field),
		TEST(pieces_are_covered_as_a_byte_map_says),
		TEST(packets_come_out_in_their_order),
		TEST(the_time_starts_again_with_the_first_fragment),
		TEST(what_waits_is_bounded_to_the_last_one),
		TEST(every_limit_can_be_reached_at_the_same_time),
		TEST(a_second_first_fragment),
		TEST(no_memory_leaves_nothing_behind),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
