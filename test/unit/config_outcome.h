// SPDX-License-Identifier: BSD-3-Clause
// What the loader makes of a text: for the tests of the configuration.
#pragma once
#include "config.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h> // needs some of those above it

// What a run of the loader gave.
struct outcome {
	struct cgn_config *config;
	char *errors;
	size_t n_bytes;
	unsigned n_errors;
	struct config_warnings warnings;
};

static inline void outcome_fini(struct outcome *o)
{
	cgn_config_free(o->config);
	free(o->errors);
	config_warnings_free(&o->warnings);
}

static inline struct outcome parse(const char *text, size_t n_bytes)
{
	struct outcome o = {0};
	FILE *f = open_memstream(&o.errors, &o.n_bytes);

	o.config = config_parse("t", text, n_bytes, f, &o.n_errors, &o.warnings);
	fclose(f);
	return o;
}

static inline char *read_text(const char *path, size_t *n_bytes)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	char *text;

	assert_non_null(f);
	assert_int_equal(fstat(fileno(f), &st), 0);
	*n_bytes = (size_t)st.st_size;
	text = calloc(1, *n_bytes + 1);
	assert_non_null(text);
	assert_int_equal(fread(text, 1, *n_bytes, f), *n_bytes);
	fclose(f);
	return text;
}

// The least of each section that a good file needs.
#define INTERFACES \
	"interfaces:\n" \
	"- {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n" \
	"- {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24]}\n"
#define POOLS "pools: [{name: a, addresses: [203.0.113.0/28]}]\n"
#define POLICIES "policies: [{name: all}]\n"

static inline struct outcome parse_good(const char *text)
{
	struct outcome o = parse(text, strlen(text));

	assert_string_equal(o.errors, "");
	assert_non_null(o.config);
	return o;
}
