// SPDX-License-Identifier: BSD-3-Clause
#include "cgnat/counters.h"
#include <assert.h>

static_assert(sizeof(struct cgn_counters) % sizeof(uint64_t) == 0, "nothing but 64-bit words");

void cgn_counters_add(struct cgn_counters *sum, const struct cgn_counters *from)
{
	uint64_t *to = (uint64_t *)sum;
	const uint64_t *word = (const uint64_t *)from;

	for (unsigned i = 0; i < sizeof(*sum) / sizeof(*to); i++)
		to[i] += __atomic_load_n(&word[i], __ATOMIC_RELAXED);
}
