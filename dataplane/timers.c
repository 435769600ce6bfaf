// SPDX-License-Identifier: BSD-3-Clause
#include "timers.h"
#include "mem.h"
#include <assert.h>
#include <errno.h>
#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#define LINE 32u // items of a cache line

// Seconds are compared by their difference, so that the clock may start and wrap anywhere.

static uint64_t room(uint32_t n_max)
{
	return ((uint64_t)n_max + LINE - 1) / LINE * LINE;
}

int timers_init(struct timers *t, uint32_t n_max, uint32_t now_s, int socket)
{
	assert(n_max <= UINT32_MAX - LINE);
	*t = (struct timers){.n_max = n_max, .hand = UINT32_MAX};
	t->at = mem_take("timers", timers_bytes(n_max), socket);
	timers_begin(t, now_s);
	return t->at ? 0 : -ENOMEM;
}

void timers_fini(struct timers *t)
{
	mem_give(t->at);
	t->at = NULL;
}

uint64_t timers_bytes(uint32_t n_max)
{
	return room(n_max) * sizeof(uint16_t);
}

void timers_begin(struct timers *t, uint32_t now_s)
{
	t->now_s = t->begun_s = t->before_s = now_s;
}

// Bit per item of a line: armed, and its deadline is `now` or was less than 2^14 s ago.
static uint32_t due_of_line(const uint16_t *at, uint16_t now)
{
#ifdef __SSE2__
	const __m128i now_v = _mm_set1_epi16((short)now);
	const __m128i *line = (const __m128i *)(const void *)at;
	__m128i due[4];
	uint32_t lo, hi;

	for (unsigned i = 0; i < 4; i++) { // the sign of each lane
		const __m128i v = _mm_load_si128(&line[i]);

		due[i] = _mm_andnot_si128(_mm_slli_epi16(_mm_sub_epi16(now_v, v), 1), v);
	}
	lo = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(due[0], due[1]));
	hi = (uint32_t)_mm_movemask_epi8(_mm_packs_epi16(due[2], due[3]));
	return lo | hi << 16;
#else
	uint32_t bits = 0;

	for (unsigned i = 0; i < LINE; i++) {
		const uint16_t late = (uint16_t)((now - at[i]) << 1);

		bits |= (uint32_t)(at[i] >> 15 & ~(late >> 15) & 1) << i;
	}
	return bits;
#endif
}

static uint32_t armed_of_line(const uint16_t *at)
{
	uint32_t bits = 0;

	for (unsigned i = 0; i < LINE; i++)
		bits |= (uint32_t)(at[i] != 0) << i;
	return bits;
}

// Deadlines from before are all due, and would not look so.
static bool is_late(const struct timers *t)
{
	return t->now_s - t->before_s > TIMERS_REACH;
}

void timers_replace(struct timers *t, uint32_t from, uint32_t to)
{
	const uint16_t ahead = (uint16_t)(t->at[from] - t->now_s) & 0x7fff;
	const bool due = is_late(t) || !ahead || ahead > TIMERS_REACH;

	timers_arm(t, to, due ? t->now_s : t->now_s + ahead);
	timers_disarm(t, from);
}

uint32_t timers_due(struct timers *t, uint32_t now_s, uint32_t *items, uint32_t max)
{
	uint32_t n = 0;

	if ((int32_t)(now_s - t->now_s) < 0 || !max)
		return 0;
	t->now_s = now_s;
	for (uint32_t scanned = 0; scanned < TIMERS_SCAN; scanned += LINE) {
		uint32_t line, due;

		if (t->hand >= t->top) {
			if (t->begun_s == now_s)
				break;
			t->before_s = t->begun_s;
			t->begun_s = now_s;
			t->hand = 0;
			if (!t->top)
				break;
		}
		line = t->hand / LINE * LINE;
		due = is_late(t) ? armed_of_line(&t->at[line])
				 : due_of_line(&t->at[line], (uint16_t)now_s);
		for (due &= UINT32_MAX << t->hand % LINE; due; due &= due - 1) {
			const uint32_t item = line + (uint32_t)__builtin_ctz(due);

			if (n == max) {
				t->hand = item;
				return n;
			}
			items[n++] = item;
			t->at[item] = 0;
		}
		t->hand = line + LINE;
	}
	return n;
}
