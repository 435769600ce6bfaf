// SPDX-License-Identifier: BSD-3-Clause
#include "ident.h"
#include <string.h>

void ident_init(struct ident *t, uint16_t first, uint16_t step, const uint64_t seed[2],
	uint32_t (*random)(void *ctx), void *ctx)
{
	t->first = first;
	t->step = step;
	memcpy(t->seed, seed, sizeof(t->seed));
	for (unsigned i = 0; i < IDENT_COUNTERS; i++)
		t->counter[i] = (uint16_t)random(ctx);
}
