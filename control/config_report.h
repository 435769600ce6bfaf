// SPDX-License-Identifier: BSD-3-Clause
// What the loader has to say about a file: collected while it works, written in the file's order at
// the end. Also the loader's memory: everything taken with report_alloc() goes in report_fini().
//
// Owner:   config_parse(), one per run.
// Failure: the loader aborts when memory runs out; its input is bounded by CONFIG_FILE_MAX.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

struct message {
	unsigned line, column, order;
	char *text; // "key: what is wrong"
};

struct messages {
	struct message *list;
	unsigned n, n_max;
};

struct report {
	struct messages errors, warnings;
	struct report_chunk *chunks;
};

void report_fini(struct report *r);

// Zeroed memory that lives as long as the report.
void *report_alloc(struct report *r, size_t n_bytes);

// calloc() and realloc() that abort instead of failing.
void *must_calloc(size_t n, size_t n_bytes);
void *must_realloc(void *p, size_t n_bytes);

// `text` without control characters, shortened: safe in a one-line message.
const char *report_printable(struct report *r, const char *text);

// A message about `key` at a place.
void report_at(struct messages *to, unsigned line, unsigned column, const char *key,
	const char *fmt, va_list args);

// An error of the file as a whole or of its YAML.
void report_file_error(struct report *r, unsigned line, unsigned column, const char *key,
	const char *fmt, ...) __attribute__((format(printf, 5, 6)));

// Writes "NAME:LINE:COLUMN: key: ..." lines, without their newline, in the order of the file.
// Returns `n` strings, each and the list to be freed; NULL when there is none.
char **report_lines(const char *name, struct messages *messages);
