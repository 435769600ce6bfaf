// SPDX-License-Identifier: BSD-3-Clause
#include "buffer.h"
#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 4096
#define CAPACITY_KEPT 65536 // an empty buffer keeps no more than this

void buffer_append(struct buffer *b, const void *data, size_t size)
{
	if (b->start > 0 && b->end + size > b->capacity) {
		memmove(b->data, b->data + b->start, buffer_size(b));
		b->end -= b->start;
		b->start = 0;
	}
	if (b->end + size > b->capacity) {
		size_t capacity = b->capacity ? b->capacity : CAPACITY_MIN;

		while (capacity < b->end + size)
			capacity *= 2;
		char *grown = realloc(b->data, capacity);
		if (!grown) {
			b->failed = true;
			return;
		}
		b->data = grown;
		b->capacity = capacity;
	}
	memcpy(b->data + b->end, data, size);
	b->end += size;
}

void buffer_append_text(struct buffer *b, const char *text)
{
	buffer_append(b, text, strlen(text));
}

void buffer_consume(struct buffer *b, size_t size)
{
	b->start += size;
	if (b->start < b->end)
		return;
	b->start = b->end = 0;
	if (b->capacity > CAPACITY_KEPT) {
		free(b->data);
		b->data = NULL;
		b->capacity = 0;
	}
}

void buffer_fini(struct buffer *b)
{
	free(b->data);
	*b = (struct buffer){0};
}
