// SPDX-License-Identifier: BSD-3-Clause
// Timer wheel: items are numbers 0..n_max-1, each in at most one slot; a slot is one second. Lazy:
// an item is not moved when its deadline moves away; whoever takes it out of its slot looks at the
// real deadline and puts it back if that is still to come. A deadline that moves nearer is
// re-armed at once.
//
// Owner:  one worker. Units: seconds of the worker's clock (now_s), starting anywhere.
// Memory: 8 bytes per item and 32 KiB, taken once in wheel_init().
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define WHEEL_NONE UINT32_MAX
#define WHEEL_SLOTS 8192u // power of two; later deadlines wait in the last slot that is in reach

#define WHEEL_HEAD 0x80000000u // in wheel_link.prev; items are below

struct wheel_link {
	uint32_t next; // WHEEL_NONE ends the list
	uint32_t prev; // WHEEL_HEAD | slot for the first item; WHEEL_NONE: in no slot
};

struct wheel {
	struct wheel_link *link;
	uint32_t *head; // per slot
	uint32_t n_max;
	uint32_t now_s; // slots up to and including this second have been begun
};

int wheel_init(struct wheel *w, uint32_t n_max, uint32_t now_s, int socket); // 0 or -ENOMEM
void wheel_fini(struct wheel *w);
uint64_t wheel_bytes(uint32_t n_max);

// Puts an item that is in no slot into the slot of deadline_s (one in the past: the next second).
void wheel_arm(struct wheel *w, uint32_t item, uint32_t deadline_s);

// Takes an item out, wherever it is. It must be in a slot.
void wheel_disarm(struct wheel *w, uint32_t item);

// `to`, which is in no slot, takes the place of `from`, which is in none afterwards.
void wheel_replace(struct wheel *w, uint32_t from, uint32_t to);

static inline bool wheel_is_armed(const struct wheel *w, uint32_t item)
{
	return w->link[item].prev != WHEEL_NONE;
}

// Takes up to `max` items out of the slots that are due at now_s and stores them in `items`.
// Returns how many; fewer than max means that all due slots are empty. Call again until then, in
// as many slices as the caller likes: the wheel stays at the second it could not finish.
uint32_t wheel_due(struct wheel *w, uint32_t now_s, uint32_t *items, uint32_t max);
