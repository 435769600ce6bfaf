// SPDX-License-Identifier: BSD-3-Clause
// A YAML document as a tree whose nodes know their line, their column and their key. Aliases,
// anchors, tags, merge keys and a second document are refused: a configuration says what it means
// at one place.
//
// Owner:  the report; all nodes live in its memory.
#pragma once
#include "config_report.h"
#include <stdbool.h>
#include <stddef.h>

enum node_kind {
	NODE_SCALAR,
	NODE_LIST,
	NODE_MAP,
	NODE_BROKEN, // reported while the YAML was read
};

struct node {
	enum node_kind kind;
	bool is_plain; // a scalar without quotes
	bool is_bad; // an error was reported here: rules across fields pass it over
	unsigned line, column; // from 1
	unsigned key_line, key_column; // of the key in a mapping, else as above
	struct node *parent;
	const char *key; // in a mapping
	unsigned index; // in a list
	const char *text; // of a scalar
	struct node **items; // of a list or a mapping, in the order of the file
	unsigned n_items;
};

// Reads `text`. NULL when there is no tree to look at; otherwise there may still be errors.
struct node *yaml_read(struct report *r, const char *text, size_t n_bytes);

// The value of `key` in a mapping; the first one if it comes twice. NULL when it isn't there, or
// `map` is NULL or no mapping.
struct node *node_get(const struct node *map, const char *key);

// Element `i` of a list. NULL when there is none, or `list` is NULL or no list.
struct node *node_item(const struct node *list, unsigned i);

// There, and nothing wrong was found at it.
bool node_ok(const struct node *n);

// An error at a value; marks it bad. The second one stands at its key.
void node_error(struct report *r, struct node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void node_key_error(struct report *r, struct node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// An error at a mapping about a key that isn't in it. Does not mark the mapping.
void node_missing(struct report *r, const struct node *map, const char *key, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

void node_warning(struct report *r, const struct node *n, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

// The node's text, fit for a message.
const char *node_shown(struct report *r, const struct node *n);
