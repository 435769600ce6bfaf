// SPDX-License-Identifier: BSD-3-Clause
// Bytes on their way out: appended at the end, consumed at the front.
//
// Owner:  whoever holds it; all zero is an empty buffer.
// Memory: grows by doubling, kept until buffer_fini(). Whoever fills it watches its size.
// Errors: out of memory sets `failed`, and what did not fit is missing.
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *data;
	size_t start, end, capacity; // data[start..end) is what it holds
	bool failed;
};

static inline size_t buffer_size(const struct buffer *b)
{
	return b->end - b->start;
}

void buffer_append(struct buffer *b, const void *data, size_t size);
void buffer_append_text(struct buffer *b, const char *text);
void buffer_consume(struct buffer *b, size_t size);
void buffer_fini(struct buffer *b);
