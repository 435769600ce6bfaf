// SPDX-License-Identifier: BSD-3-Clause
// Token buckets: a rate per second, with one second's worth to spend at once.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// Holds one second's worth and fills evenly: the time by which all tokens taken so far are paid for.
struct token_bucket {
	uint64_t paid_ns;
};

// Does a bucket of `rate` tokens per second (> 0) have one?
static inline bool token_ready(const struct token_bucket *b, uint32_t rate, uint64_t now_ns)
{
	uint64_t from = b->paid_ns > now_ns ? b->paid_ns : now_ns;

	return from + 1000000000u / rate <= now_ns + 1000000000u;
}

static inline bool token_take(struct token_bucket *b, uint32_t rate, uint64_t now_ns)
{
	if (!token_ready(b, rate, now_ns))
		return false;
	b->paid_ns = (b->paid_ns > now_ns ? b->paid_ns : now_ns) + 1000000000u / rate;
	return true;
}
