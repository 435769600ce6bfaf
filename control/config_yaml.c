// SPDX-License-Identifier: BSD-3-Clause
#include "config_yaml.h"
#include "config.h"
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
	struct report *r;
	yaml_parser_t parser;
	yaml_event_t event; // the current one; deleted when the next is read
	const char *text;
	bool failed; // stop: nothing that follows can be understood
};

struct list {
	struct node **items;
	unsigned n, n_max;
};

static void list_add(struct list *l, struct node *n)
{
	if (l->n == l->n_max) {
		l->n_max = l->n_max ? 2 * l->n_max : 8;
		l->items = must_realloc(l->items, l->n_max * sizeof(*l->items));
	}
	l->items[l->n++] = n;
}

// libyaml says where a character is bad in bytes only.
static void place_of_offset(const char *text, size_t offset, unsigned *line, unsigned *column)
{
	*line = *column = 1;
	for (size_t i = 0; i < offset; i++) {
		if (text[i] == '\n') {
			++*line;
			*column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			++*column;
		}
	}
}

static void yaml_problem(struct reader *y)
{
	const yaml_parser_t *p = &y->parser;
	const char *problem = p->problem ? p->problem : "cannot be understood";
	unsigned line = p->problem_mark.line + 1, column = p->problem_mark.column + 1;

	y->failed = true;
	if (p->error == YAML_MEMORY_ERROR)
		abort();
	if (p->error == YAML_READER_ERROR) {
		place_of_offset(y->text, p->problem_offset, &line, &column);
		report_file_error(y->r, line, column, "yaml",
			"%s; text in UTF-8 without control characters is allowed", problem);
	} else if (p->context) {
		report_file_error(y->r, line, column, "yaml", "%s, %s in line %zu", problem,
			p->context, p->context_mark.line + 1);
	} else {
		report_file_error(y->r, line, column, "yaml", "%s", problem);
	}
}

static bool next_event(struct reader *y)
{
	yaml_event_delete(&y->event);
	memset(&y->event, 0, sizeof(y->event));
	if (y->failed)
		return false;
	if (!yaml_parser_parse(&y->parser, &y->event)) {
		yaml_problem(y);
		return false;
	}
	return true;
}

// Ends the run: libyaml takes quadratic time for what is nested without end.
static void too_deep(struct reader *y)
{
	report_file_error(y->r, y->event.start_mark.line + 1, y->event.start_mark.column + 1,
		"yaml", "nested too deeply, %d lists and mappings inside each other are allowed",
		CONFIG_DEPTH_MAX);
	y->failed = true;
}

// Passes over what the current event begins.
static void skip_value(struct reader *y)
{
	unsigned depth = 0;

	do {
		switch (y->event.type) {
		case YAML_SEQUENCE_START_EVENT:
		case YAML_MAPPING_START_EVENT:
			if (++depth > CONFIG_DEPTH_MAX)
				too_deep(y);
			break;
		case YAML_SEQUENCE_END_EVENT:
		case YAML_MAPPING_END_EVENT:
			depth--;
			break;
		default:
			break;
		}
	} while (depth && next_event(y));
}

static void refuse_decoration(struct reader *y, struct node *n)
{
	const yaml_char_t *anchor = NULL, *tag = NULL;

	switch (y->event.type) {
	case YAML_SCALAR_EVENT:
		anchor = y->event.data.scalar.anchor;
		tag = y->event.data.scalar.tag;
		break;
	case YAML_SEQUENCE_START_EVENT:
		anchor = y->event.data.sequence_start.anchor;
		tag = y->event.data.sequence_start.tag;
		break;
	case YAML_MAPPING_START_EVENT:
		anchor = y->event.data.mapping_start.anchor;
		tag = y->event.data.mapping_start.tag;
		break;
	default:
		break;
	}
	if (anchor)
		node_error(y->r, n, "anchor \"&%s\": YAML anchors are not allowed",
			report_printable(y->r, (const char *)anchor));
	if (tag)
		node_error(y->r, n, "tag \"%s\": YAML tags are not allowed",
			report_printable(y->r, (const char *)tag));
}

static void read_scalar(struct reader *y, struct node *n)
{
	size_t length = y->event.data.scalar.length;
	char *text = report_alloc(y->r, length + 1);

	memcpy(text, y->event.data.scalar.value, length);
	n->kind = NODE_SCALAR;
	n->text = text;
	n->is_plain = y->event.data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	if (memchr(text, 0, length))
		node_error(y->r, n, "a NUL character is not allowed");
}

static void read_value(struct reader *y, struct node *n, unsigned depth);

static struct node *new_node(struct reader *y, struct node *parent)
{
	struct node *n = report_alloc(y->r, sizeof(*n));

	n->parent = parent;
	n->line = n->key_line = y->event.start_mark.line + 1;
	n->column = n->key_column = y->event.start_mark.column + 1;
	return n;
}

static void read_items(struct reader *y, struct node *n, unsigned depth)
{
	struct list list = {0};

	while (next_event(y) && y->event.type != YAML_SEQUENCE_END_EVENT) {
		struct node *item = new_node(y, n);

		item->index = list.n;
		list_add(&list, item);
		read_value(y, item, depth + 1);
	}
	n->n_items = list.n;
	n->items = report_alloc(y->r, list.n * sizeof(*list.items));
	if (list.n)
		memcpy(n->items, list.items, list.n * sizeof(*list.items));
	free(list.items);
}

// Returns NULL when the key is no key; that is reported and its value is to be passed over.
static struct node *read_key(struct reader *y, struct node *map)
{
	struct node *entry = new_node(y, map);
	size_t length = y->event.data.scalar.length;
	char *key;

	if (y->event.type != YAML_SCALAR_EVENT) {
		entry->key = "?";
		node_error(y->r, entry, "a key must be a plain word");
		skip_value(y);
		return NULL;
	}
	key = report_alloc(y->r, length + 1);
	memcpy(key, y->event.data.scalar.value, length);
	entry->key = key;
	refuse_decoration(y, entry);
	if (memchr(key, 0, length)) {
		node_error(y->r, entry, "a NUL character is not allowed");
		return NULL;
	}
	if (!strcmp(key, "<<")) {
		node_error(y->r, entry, "YAML merge keys are not allowed; write the keys out");
		return NULL;
	}
	return entry;
}

static void read_entries(struct reader *y, struct node *n, unsigned depth)
{
	struct list list = {0};

	while (next_event(y) && y->event.type != YAML_MAPPING_END_EVENT) {
		struct node *entry = read_key(y, n);

		if (!next_event(y))
			break;
		if (!entry) {
			skip_value(y);
			continue;
		}
		entry->line = y->event.start_mark.line + 1;
		entry->column = y->event.start_mark.column + 1;
		list_add(&list, entry);
		read_value(y, entry, depth + 1);
	}
	n->n_items = list.n;
	n->items = report_alloc(y->r, list.n * sizeof(*list.items));
	if (list.n)
		memcpy(n->items, list.items, list.n * sizeof(*list.items));
	free(list.items);
}

// Fills `n` from the value that the current event begins.
static void read_value(struct reader *y, struct node *n, unsigned depth)
{
	refuse_decoration(y, n);
	if (y->event.type == YAML_SCALAR_EVENT) {
		read_scalar(y, n);
		return;
	}
	n->kind = NODE_BROKEN;
	if (y->event.type == YAML_ALIAS_EVENT) {
		node_error(y->r, n, "alias \"*%s\": YAML aliases are not allowed",
			report_printable(y->r, (const char *)y->event.data.alias.anchor));
		return;
	}
	if (depth >= CONFIG_DEPTH_MAX) {
		too_deep(y);
		return;
	}
	if (y->event.type == YAML_SEQUENCE_START_EVENT) {
		n->kind = NODE_LIST;
		read_items(y, n, depth);
	} else {
		n->kind = NODE_MAP;
		read_entries(y, n, depth);
	}
}

struct node *yaml_read(struct report *r, const char *text, size_t n_bytes)
{
	struct reader y = {.r = r, .text = text};
	struct node *root = NULL;

	if (!yaml_parser_initialize(&y.parser))
		abort();
	yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&y.parser, (const unsigned char *)text, n_bytes);
	next_event(&y); // stream start
	next_event(&y);
	if (!y.failed && y.event.type == YAML_DOCUMENT_START_EVENT && next_event(&y)) {
		root = new_node(&y, NULL);
		read_value(&y, root, 0);
		next_event(&y); // document end
		if (next_event(&y) && y.event.type != YAML_STREAM_END_EVENT) {
			report_file_error(r, y.event.start_mark.line + 1,
				y.event.start_mark.column + 1, "yaml",
				"a second document begins here, one is allowed");
			y.failed = true;
		}
	}
	if (!y.failed && (!root || (root->kind == NODE_SCALAR && !*root->text && root->is_plain))) {
		report_file_error(
			r, 1, 1, "file", "is empty; interfaces, pools and policies are needed");
		y.failed = true;
	}
	yaml_event_delete(&y.event);
	yaml_parser_delete(&y.parser);
	return y.failed ? NULL : root;
}

struct node *node_get(const struct node *map, const char *key)
{
	if (!map || map->kind != NODE_MAP)
		return NULL;
	for (unsigned i = 0; i < map->n_items; i++)
		if (!strcmp(map->items[i]->key, key))
			return map->items[i];
	return NULL;
}

struct node *node_item(const struct node *list, unsigned i)
{
	return list && list->kind == NODE_LIST && i < list->n_items ? list->items[i] : NULL;
}

bool node_ok(const struct node *n)
{
	return n && !n->is_bad;
}

const char *node_shown(struct report *r, const struct node *n)
{
	return report_printable(r, n->text ? n->text : "");
}

// "pools[0].block-size"
static const char *node_path(struct report *r, const struct node *n, const char *child)
{
	const struct node *chain[CONFIG_DEPTH_MAX + 2];
	unsigned depth = 0;
	size_t n_bytes;
	char *path;
	FILE *f = open_memstream(&path, &n_bytes);
	char *kept;

	if (!f)
		abort();
	for (; n && n->parent && depth < CONFIG_DEPTH_MAX + 2; n = n->parent)
		chain[depth++] = n;
	for (unsigned i = depth; i-- > 0;) {
		if (!chain[i]->key)
			fprintf(f, "[%u]", chain[i]->index);
		else
			fprintf(f, "%s%s", i + 1 < depth ? "." : "",
				report_printable(r, chain[i]->key));
	}
	if (child)
		fprintf(f, "%s%s", depth ? "." : "", child);
	if (!depth && !child)
		fputs("file", f);
	if (fclose(f))
		abort();
	kept = report_alloc(r, n_bytes + 1);
	memcpy(kept, path, n_bytes);
	free(path);
	return kept;
}

void node_error(struct report *r, struct node *n, const char *fmt, ...)
{
	va_list args;

	n->is_bad = true;
	va_start(args, fmt);
	report_at(&r->errors, n->line, n->column, node_path(r, n, NULL), fmt, args);
	va_end(args);
}

void node_key_error(struct report *r, struct node *n, const char *fmt, ...)
{
	va_list args;

	n->is_bad = true;
	va_start(args, fmt);
	report_at(&r->errors, n->key_line, n->key_column, node_path(r, n, NULL), fmt, args);
	va_end(args);
}

void node_missing(struct report *r, const struct node *map, const char *key, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	report_at(&r->errors, map->line, map->column, node_path(r, map, key), fmt, args);
	va_end(args);
}

void node_warning(struct report *r, const struct node *n, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	report_at(&r->warnings, n->line, n->column, node_path(r, n, NULL), fmt, args);
	va_end(args);
}
