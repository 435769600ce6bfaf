// SPDX-License-Identifier: BSD-3-Clause
// Timers: items are numbers 0..n_max-1, each with at most one deadline, in seconds. Two bytes an item,
// in a row; once a second all of them are swept over, 32 at a time, which costs less than links between
// them would: 4 million are 8 MB, read in a row, about 0.1 % of a core.
//
// Lazy: a timer is not moved when its deadline moves away; whoever gets the item looks at the real
// deadline and arms it again if that is still to come. One that moves nearer is armed anew at once.
//
// Owner:  one worker. Units: seconds of the worker's clock (now_s), starting anywhere.
// Memory: 2 bytes per item, taken once in timers_init().
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define TIMERS_REACH 0x3fffu // s; later deadlines come out when so much has passed
#define TIMERS_ARMED 0x8000u // in at[]; below it the deadline, modulo 2^15 s
#define TIMERS_SCAN 16384u // items that one timers_due() sweeps over at most

struct timers {
	uint16_t *at; // 0: not armed
	uint32_t n_max;
	uint32_t top; // items at and above were never armed
	uint32_t hand; // of the sweep under way: the next item. At `top` or above: it is over
	uint32_t now_s; // when timers_due() was called last
	uint32_t begun_s, before_s; // when this sweep began, and the one before
};

int timers_init(struct timers *t, uint32_t n_max, uint32_t now_s, int socket); // 0 or -ENOMEM
void timers_fini(struct timers *t);
uint64_t timers_bytes(uint32_t n_max);

// Before anything is armed: it is now_s.
void timers_begin(struct timers *t, uint32_t now_s);

static inline bool timers_is_armed(const struct timers *t, uint32_t item)
{
	return t->at[item];
}

// Arms an item that is not armed, for deadline_s (one in the past: the next second).
static inline void timers_arm(struct timers *t, uint32_t item, uint32_t deadline_s)
{
	int32_t ahead = (int32_t)(deadline_s - t->now_s);

	ahead = ahead < 1 ? 1 : ahead;
	ahead = ahead > (int32_t)TIMERS_REACH ? (int32_t)TIMERS_REACH : ahead;
	t->at[item] = (uint16_t)(TIMERS_ARMED | (t->now_s + (uint32_t)ahead));
	t->top = item < t->top ? t->top : item + 1;
}

static inline void timers_disarm(struct timers *t, uint32_t item)
{
	t->at[item] = 0;
}

// `to`, which is not armed, gets the deadline of `from`, which is not armed afterwards. When that is
// due already, the next second: the sweep may be past `to`.
void timers_replace(struct timers *t, uint32_t from, uint32_t to);

// Takes out up to `max` items whose deadline is now_s or before, stores them in `items` and returns
// how many. Looks at TIMERS_SCAN items; the next call goes on where this one ended.
uint32_t timers_due(struct timers *t, uint32_t now_s, uint32_t *items, uint32_t max);

// Whether all that was due when timers_due() was called last has come out.
static inline bool timers_all_out(const struct timers *t)
{
	return t->hand >= t->top && t->begun_s == t->now_s;
}
