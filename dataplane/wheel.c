// SPDX-License-Identifier: BSD-3-Clause
#include "wheel.h"
#include "mem.h"
#include <assert.h>
#include <errno.h>
#include <string.h>

// Seconds are compared by their difference, so that the clock may start and wrap anywhere.

int wheel_init(struct wheel *w, uint32_t n_max, uint32_t now_s, int socket)
{
	assert(n_max < WHEEL_HEAD);
	w->n_max = n_max;
	w->now_s = now_s;
	w->head = mem_take("wheel slots", WHEEL_SLOTS * sizeof(*w->head), socket);
	w->link = mem_take("wheel links", n_max * sizeof(*w->link), socket);
	if (!w->head || !w->link) {
		wheel_fini(w);
		return -ENOMEM;
	}
	memset(w->head, 0xff, WHEEL_SLOTS * sizeof(*w->head)); // WHEEL_NONE
	memset(w->link, 0xff, n_max * sizeof(*w->link));
	return 0;
}

void wheel_fini(struct wheel *w)
{
	mem_give(w->head);
	mem_give(w->link);
	w->head = NULL;
	w->link = NULL;
}

uint64_t wheel_bytes(uint32_t n_max)
{
	return WHEEL_SLOTS * sizeof(uint32_t) + (uint64_t)n_max * sizeof(struct wheel_link);
}

// Makes the neighbours of `item` point at it, whatever its link says they are.
static void hook(struct wheel *w, uint32_t item)
{
	const struct wheel_link *l = &w->link[item];

	if (l->prev & WHEEL_HEAD)
		w->head[l->prev & ~WHEEL_HEAD] = item;
	else
		w->link[l->prev].next = item;
	if (l->next != WHEEL_NONE)
		w->link[l->next].prev = item;
}

void wheel_arm(struct wheel *w, uint32_t item, uint32_t deadline_s)
{
	int32_t ahead = (int32_t)(deadline_s - w->now_s);
	uint32_t slot;

	assert(item < w->n_max && !wheel_is_armed(w, item));
	if (ahead < 1)
		ahead = 1; // the slot of now_s has been begun
	if (ahead > (int32_t)WHEEL_SLOTS - 1)
		ahead = (int32_t)WHEEL_SLOTS - 1;
	slot = (w->now_s + (uint32_t)ahead) % WHEEL_SLOTS;
	w->link[item] = (struct wheel_link){.next = w->head[slot], .prev = WHEEL_HEAD | slot};
	hook(w, item);
}

void wheel_disarm(struct wheel *w, uint32_t item)
{
	struct wheel_link *l = &w->link[item];

	assert(item < w->n_max && wheel_is_armed(w, item));
	if (l->prev & WHEEL_HEAD)
		w->head[l->prev & ~WHEEL_HEAD] = l->next;
	else
		w->link[l->prev].next = l->next;
	if (l->next != WHEEL_NONE)
		w->link[l->next].prev = l->prev;
	l->prev = WHEEL_NONE;
}

void wheel_replace(struct wheel *w, uint32_t from, uint32_t to)
{
	assert(wheel_is_armed(w, from) && !wheel_is_armed(w, to));
	w->link[to] = w->link[from];
	w->link[from].prev = WHEEL_NONE;
	hook(w, to);
}

uint32_t wheel_due(struct wheel *w, uint32_t now_s, uint32_t *items, uint32_t max)
{
	uint32_t n = 0;

	if ((int32_t)(now_s - w->now_s) < 0)
		return 0;
	// After a jump every slot is due, but none of them twice.
	if (now_s - w->now_s > WHEEL_SLOTS - 1)
		w->now_s = now_s - (WHEEL_SLOTS - 1);
	for (;; w->now_s++) {
		const uint32_t slot = w->now_s % WHEEL_SLOTS;
		uint32_t item = w->head[slot];

		while (item != WHEEL_NONE && n < max) {
			items[n++] = item;
			w->link[item].prev = WHEEL_NONE;
			item = w->link[item].next;
		}
		w->head[slot] = item;
		if (item != WHEEL_NONE) {
			w->link[item].prev = WHEEL_HEAD | slot;
			return n;
		}
		if (w->now_s == now_s)
			return n;
	}
}
