// SPDX-License-Identifier: BSD-3-Clause
#include "config_report.h"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CHUNK_BYTES 65536
#define SHOWN_BYTES 80 // of a name or a value in a message

struct report_chunk {
	struct report_chunk *next;
	size_t n_used, n_bytes;
	max_align_t data[];
};

void *must_calloc(size_t n, size_t n_bytes)
{
	void *p = calloc(n ? n : 1, n_bytes ? n_bytes : 1);

	if (!p)
		abort();
	return p;
}

void *must_realloc(void *p, size_t n_bytes)
{
	p = realloc(p, n_bytes);
	if (!p)
		abort();
	return p;
}

void *report_alloc(struct report *r, size_t n_bytes)
{
	struct report_chunk *chunk = r->chunks;
	char *p;

	n_bytes = (n_bytes + sizeof(max_align_t) - 1) & ~(sizeof(max_align_t) - 1);
	if (!chunk || chunk->n_bytes - chunk->n_used < n_bytes) {
		size_t size = n_bytes > CHUNK_BYTES ? n_bytes : CHUNK_BYTES;

		chunk = must_calloc(1, sizeof(*chunk) + size);
		chunk->n_bytes = size;
		chunk->next = r->chunks;
		r->chunks = chunk;
	}
	p = (char *)chunk->data + chunk->n_used;
	chunk->n_used += n_bytes;
	return p;
}

static void messages_fini(struct messages *m)
{
	for (unsigned i = 0; i < m->n; i++)
		free(m->list[i].text);
	free(m->list);
}

void report_fini(struct report *r)
{
	messages_fini(&r->errors);
	messages_fini(&r->warnings);
	while (r->chunks) {
		struct report_chunk *next = r->chunks->next;

		free(r->chunks);
		r->chunks = next;
	}
}

const char *report_printable(struct report *r, const char *text)
{
	size_t n = strlen(text), n_shown = n;
	char *out;

	if (n > SHOWN_BYTES) {
		n_shown = SHOWN_BYTES;
		while (n_shown && ((unsigned char)text[n_shown] & 0xc0) == 0x80)
			n_shown--; // not in the middle of a UTF-8 character
	}
	out = report_alloc(r, n_shown + sizeof("..."));
	memcpy(out, text, n_shown);
	for (size_t i = 0; i < n_shown; i++) {
		unsigned char c = out[i];

		if (c < 0x20 || c == 0x7f)
			out[i] = '?';
		else if (c == 0xc2 && (unsigned char)out[i + 1] < 0xa0) // U+0080..U+009F
			out[i] = out[i + 1] = '?';
	}
	if (n_shown < n)
		memcpy(out + n_shown, "...", 4);
	return out;
}

void report_at(struct messages *to, unsigned line, unsigned column, const char *key,
	const char *fmt, va_list args)
{
	struct message *m;
	char *what;

	if (to->n == to->n_max) {
		to->n_max = to->n_max ? 2 * to->n_max : 16;
		to->list = must_realloc(to->list, to->n_max * sizeof(*to->list));
	}
	m = &to->list[to->n];
	*m = (struct message){.line = line, .column = column, .order = to->n};
	if (vasprintf(&what, fmt, args) < 0 || asprintf(&m->text, "%s: %s", key, what) < 0)
		abort();
	free(what);
	to->n++;
}

void report_file_error(
	struct report *r, unsigned line, unsigned column, const char *key, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	report_at(&r->errors, line, column, key, fmt, args);
	va_end(args);
}

static int compare_messages(const void *a, const void *b)
{
	const struct message *x = a, *y = b;

	if (x->line != y->line)
		return x->line < y->line ? -1 : 1;
	if (x->column != y->column)
		return x->column < y->column ? -1 : 1;
	return x->order < y->order ? -1 : x->order > y->order;
}

char **report_lines(const char *name, struct messages *messages)
{
	char **lines;

	if (!messages->n)
		return NULL;
	qsort(messages->list, messages->n, sizeof(*messages->list), compare_messages);
	lines = must_calloc(messages->n, sizeof(*lines));
	for (unsigned i = 0; i < messages->n; i++) {
		const struct message *m = &messages->list[i];

		if (asprintf(&lines[i], "%s:%u:%u: %s", name, m->line, m->column, m->text) < 0)
			abort();
	}
	return lines;
}
