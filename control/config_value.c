// SPDX-License-Identifier: BSD-3-Clause
#include "config_value.h"
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_null(const struct node *n)
{
	static const char *const words[] = {"", "~", "null", "Null", "NULL"};

	if (n->kind != NODE_SCALAR || !n->is_plain)
		return false;
	for (unsigned i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (!strcmp(n->text, words[i]))
			return true;
	return false;
}

// A value of the wrong kind; what was broken as YAML has been reported already.
static void wrong_kind(struct report *r, struct node *n, const char *what)
{
	if (n->kind == NODE_BROKEN)
		return;
	if (!n->parent) // a file of another kind: its text is nothing to show
		node_error(r, n, "is not a configuration, %s is allowed", what);
	else if (is_null(n))
		node_error(r, n, "has no value, %s is allowed", what);
	else if (n->kind == NODE_LIST)
		node_error(r, n, "is a list, %s is allowed", what);
	else if (n->kind == NODE_MAP)
		node_error(r, n, "is a mapping of keys, %s is allowed", what);
	else
		node_error(r, n, "\"%s\" is a single value, %s is allowed", node_shown(r, n), what);
}

static const char *joined(struct report *r, const char *const *words)
{
	size_t n_bytes = 1;
	char *out;

	for (unsigned i = 0; words[i]; i++)
		n_bytes += strlen(words[i]) + 2;
	out = report_alloc(r, n_bytes);
	for (unsigned i = 0; words[i]; i++) {
		if (i)
			strcat(out, ", ");
		strcat(out, words[i]);
	}
	return out;
}

static void unknown_key(
	struct report *r, struct node *n, const struct field *fields, unsigned n_fields)
{
	const char **words = report_alloc(r, (n_fields + 1) * sizeof(*words));

	for (unsigned i = 0; i < n_fields; i++)
		words[i] = fields[i].key;
	node_key_error(r, n, "unknown key, allowed are %s", joined(r, words));
}

void value_map(
	struct report *r, struct node *n, const struct field *fields, unsigned n_fields, void *base)
{
	const struct node **seen = report_alloc(r, n_fields * sizeof(*seen));

	if (n->kind != NODE_MAP) {
		wrong_kind(r, n, "a mapping of keys");
		return;
	}
	for (unsigned i = 0; i < n->n_items; i++) {
		struct node *value = n->items[i];
		unsigned f = 0;

		while (f < n_fields && strcmp(fields[f].key, value->key))
			f++;
		if (f == n_fields) {
			unknown_key(r, value, fields, n_fields);
			continue;
		}
		if (seen[f]) {
			node_key_error(r, value, "duplicate key, it is in line %u already",
				seen[f]->key_line);
			continue;
		}
		seen[f] = value;
		if (value->kind != NODE_BROKEN)
			fields[f].read(r, value, &fields[f], (char *)base + fields[f].offset);
	}
	for (unsigned f = 0; f < n_fields; f++)
		if (fields[f].is_required && !seen[f])
			node_missing(r, n, fields[f].key, "is missing, it has no default");
}

void *value_list(struct report *r, struct node *n, const struct list_spec *spec, uint32_t *n_out)
{
	unsigned n_items = n->n_items;
	char *items;

	*n_out = 0;
	if (n->kind != NODE_LIST) {
		const char *const what[] = {"a list of", spec->what, NULL};
		char *text = report_alloc(r, strlen(what[0]) + strlen(what[1]) + 2);

		sprintf(text, "%s %s", what[0], what[1]);
		wrong_kind(r, n, text);
		return NULL;
	}
	if (!n_items && spec->is_needed) {
		node_error(r, n, "is empty, at least one is needed");
		return NULL;
	}
	if (n_items > spec->n_max) {
		node_error(r, n->items[spec->n_max], "too many %s, at most %u are allowed",
			spec->what, spec->n_max);
		n->is_bad = true;
		n_items = spec->n_max;
	}
	items = must_calloc(n_items, spec->item_bytes);
	for (unsigned i = 0; i < n_items; i++)
		if (n->items[i]->kind != NODE_BROKEN)
			spec->read(r, n->items[i], items + i * spec->item_bytes);
	*n_out = n_items;
	return items;
}

const char *value_text(struct report *r, struct node *n, const char *what)
{
	if (n->kind != NODE_SCALAR || is_null(n)) {
		wrong_kind(r, n, what);
		return NULL;
	}
	if (!*n->text) {
		node_error(r, n, "is empty, %s is allowed", what);
		return NULL;
	}
	return n->text;
}

static bool parse_decimal(const char **text, uint64_t *to)
{
	const char *p = *text;
	uint64_t value = 0;

	if (*p < '0' || *p > '9' || (*p == '0' && p[1] >= '0' && p[1] <= '9'))
		return false;
	for (; *p >= '0' && *p <= '9'; p++)
		value = value > UINT64_MAX / 16 ? UINT64_MAX / 16 + 1
						: value * 10 + (uint64_t)(*p - '0');
	*text = p;
	*to = value;
	return true;
}

bool parse_span(const char *text, uint64_t *first, uint64_t *last)
{
	if (!parse_decimal(&text, first))
		return false;
	*last = *first;
	if (*text == '-') {
		text++;
		if (!parse_decimal(&text, last))
			return false;
	}
	return !*text;
}

bool value_number(struct report *r, struct node *n, uint64_t min, uint64_t max, uint64_t *to)
{
	char what[64];
	const char *text;
	bool is_negative;
	uint64_t value;

	snprintf(what, sizeof(what), "a number %llu..%llu", (unsigned long long)min,
		(unsigned long long)max);
	text = value_text(r, n, what);
	if (!text)
		return false;
	if (!n->is_plain) {
		node_error(
			r, n, "\"%s\" is a quoted string, %s is allowed", node_shown(r, n), what);
		return false;
	}
	is_negative = *text == '-';
	text += is_negative;
	if (!parse_decimal(&text, &value) || *text) {
		node_error(r, n, "\"%s\" is not a whole number, %s is allowed", node_shown(r, n),
			what);
		return false;
	}
	if (is_negative || value < min || value > max) {
		node_error(r, n, "%s is out of range, %llu..%llu are allowed", node_shown(r, n),
			(unsigned long long)min, (unsigned long long)max);
		return false;
	}
	*to = value;
	return true;
}

void value_u32(struct report *r, struct node *n, const struct field *f, void *to)
{
	uint64_t value;

	if (value_number(r, n, f->min, f->max, &value))
		*(uint32_t *)to = (uint32_t)value;
}

void value_u16(struct report *r, struct node *n, const struct field *f, void *to)
{
	uint64_t value;

	if (value_number(r, n, f->min, f->max, &value))
		*(uint16_t *)to = (uint16_t)value;
}

int value_choice(struct report *r, struct node *n, const char *const *words)
{
	const char *list = joined(r, words), *text;
	char *what = report_alloc(r, strlen(list) + sizeof("one of "));

	sprintf(what, "one of %s", list);
	text = value_text(r, n, what);
	if (!text)
		return -1;
	for (int i = 0; words[i]; i++)
		if (!strcmp(text, words[i]))
			return i;
	node_error(r, n, "\"%s\" is unknown, allowed are %s", node_shown(r, n), list);
	return -1;
}

void value_bool(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {"true", "false", NULL};
	int i;

	if (n->kind == NODE_SCALAR && !n->is_plain) {
		node_error(r, n,
			"\"%s\" is a quoted string, true or false without quotes is allowed",
			node_shown(r, n));
		return;
	}
	i = value_choice(r, n, words);
	if (i >= 0)
		*(bool *)to = i == 0;
}

void value_word(struct report *r, struct node *n, const struct field *f, void *to)
{
	int i = value_choice(r, n, f->words);

	if (i >= 0)
		*(unsigned *)to = (unsigned)i;
}

void value_name(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789._-";
	const char *text = value_text(r, n, "a name of 1..31 characters A-Z a-z 0-9 . _ -");

	if (!text)
		return;
	if (strlen(text) >= CGN_NAME_MAX || text[strspn(text, allowed)])
		node_error(r, n,
			"\"%s\" is not a name, 1..%d characters A-Z a-z 0-9 . _ - are allowed",
			node_shown(r, n), CGN_NAME_MAX - 1);
	else
		memcpy(to, text, strlen(text) + 1);
}

void value_unsupported(struct report *r, struct node *n, const struct field *f, void *to)
{
	node_key_error(r, n, "not supported yet");
}

uint32_t prefix_mask(uint8_t length)
{
	return length ? UINT32_MAX << (32 - length) : 0;
}

struct cgn_address_range prefix_range(const struct cgn_prefix *p)
{
	uint32_t mask = prefix_mask(p->length);

	return (struct cgn_address_range){p->address & mask, p->address | ~mask};
}

const char *address_shown(struct report *r, uint32_t address)
{
	char *out = report_alloc(r, INET_ADDRSTRLEN);
	struct in_addr in = {htonl(address)};

	inet_ntop(AF_INET, &in, out, INET_ADDRSTRLEN);
	return out;
}

const char *prefix_shown(struct report *r, const struct cgn_prefix *p)
{
	char *out = report_alloc(r, INET_ADDRSTRLEN + 4);

	sprintf(out, "%s/%u", address_shown(r, p->address), p->length);
	return out;
}

static bool parse_address(const char *text, uint32_t *to)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*to = ntohl(in.s_addr);
	return true;
}

// An IPv6 address or prefix gets its own answer, not that of a typing error.
static bool is_ipv6(const char *text)
{
	size_t n = strcspn(text, "/-");
	char address[INET6_ADDRSTRLEN];
	struct in6_addr in6;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	address[n] = 0;
	return inet_pton(AF_INET6, address, &in6) == 1;
}

// *length is -1 for a bare address.
static bool parse_prefix(const char *text, uint32_t *address, int *length)
{
	const char *slash = strchr(text, '/');
	char buf[INET_ADDRSTRLEN];
	uint64_t value;

	*length = -1;
	if (!slash)
		return parse_address(text, address);
	if ((size_t)(slash - text) >= sizeof(buf))
		return false;
	memcpy(buf, text, (size_t)(slash - text));
	buf[slash - text] = 0;
	slash++;
	if (!parse_address(buf, address) || !parse_decimal(&slash, &value) || *slash || value > 32)
		return false;
	*length = (int)value;
	return true;
}

// Reports what cannot be read as `what`.
static void not_an_address(struct report *r, struct node *n, const char *what)
{
	if (is_ipv6(n->text))
		node_error(r, n, "%s is IPv6, %s is allowed", node_shown(r, n), what);
	else
		node_error(r, n, "\"%s\" cannot be read, %s is allowed", node_shown(r, n), what);
}

bool value_interface_prefix(struct report *r, struct node *n, struct cgn_prefix *to)
{
	static const char what[] = "an IPv4 address with its prefix length, as 192.0.2.2/24,";
	const char *text = value_text(r, n, what);
	uint32_t address;
	int length;

	if (!text)
		return false;
	if (!parse_prefix(text, &address, &length) || length < 0) {
		not_an_address(r, n, what);
		return false;
	}
	*to = (struct cgn_prefix){address, (uint8_t)length};
	return true;
}

bool value_prefix(struct report *r, struct node *n, struct cgn_prefix *to)
{
	static const char what[] = "an IPv4 prefix, as 192.0.2.0/24,";
	const char *text = value_text(r, n, what);
	struct cgn_prefix right;
	uint32_t address;
	int length;

	if (!text)
		return false;
	if (!parse_prefix(text, &address, &length)) {
		not_an_address(r, n, what);
		return false;
	}
	right.length = length < 0 ? 32 : (uint8_t)length;
	right.address = address & prefix_mask(right.length);
	if (right.address != address) {
		node_error(r, n, "%s has host bits set, %s is allowed", node_shown(r, n),
			prefix_shown(r, &right));
		return false;
	}
	*to = right;
	return true;
}

bool value_address(struct report *r, struct node *n, uint32_t *to)
{
	static const char what[] = "an IPv4 address";
	const char *text = value_text(r, n, what);

	if (!text)
		return false;
	if (!parse_address(text, to)) {
		not_an_address(r, n, what);
		return false;
	}
	return true;
}

bool value_address_range(struct report *r, struct node *n, struct cgn_address_range *to)
{
	static const char what[] =
		"an IPv4 prefix, an address, or a range, as 198.51.100.20-198.51.100.29,";
	const char *text = value_text(r, n, what), *dash;
	struct cgn_address_range range;
	struct cgn_prefix prefix;
	char buf[INET_ADDRSTRLEN];

	if (!text)
		return false;
	dash = strchr(text, '-');
	if (!dash) {
		uint32_t address;
		int length;

		if (!parse_prefix(text, &address, &length)) {
			not_an_address(r, n, what);
			return false;
		}
		if (!value_prefix(r, n, &prefix))
			return false;
		*to = prefix_range(&prefix);
		return true;
	}
	snprintf(buf, sizeof(buf), "%.*s", (int)(dash - text), text);
	if (dash - text >= (int)sizeof(buf) || !parse_address(buf, &range.first) ||
		!parse_address(dash + 1, &range.last)) {
		not_an_address(r, n, what);
		return false;
	}
	if (range.first > range.last) {
		node_error(
			r, n, "%s ends before it begins, FIRST-LAST is allowed", node_shown(r, n));
		return false;
	}
	*to = range;
	return true;
}

bool value_port_range(struct report *r, struct node *n, uint16_t min, struct cgn_port_range *to)
{
	char what[64];
	const char *text;
	uint64_t first, last;

	snprintf(what, sizeof(what), "a port or FIRST-LAST in %u..65535", min);
	text = value_text(r, n, what);
	if (!text)
		return false;
	if (!parse_span(text, &first, &last)) {
		node_error(r, n, "\"%s\" cannot be read, %s is allowed", node_shown(r, n), what);
		return false;
	}
	if (first < min || last > 65535 || first > last) {
		node_error(r, n, "%s is %s, %s is allowed", node_shown(r, n),
			first > last ? "backwards" : "out of range", what);
		return false;
	}
	*to = (struct cgn_port_range){(uint16_t)first, (uint16_t)last};
	return true;
}

bool value_endpoints(
	struct report *r, struct node *n, uint32_t *address, struct cgn_port_range *ports)
{
	static const char what[] =
		"an IPv4 address, or one with a port or ports, as 192.0.2.1:7000-7009,";
	const char *text = value_text(r, n, what), *colon;
	char buf[INET_ADDRSTRLEN];
	uint64_t first = 0, last = UINT16_MAX;
	size_t len;

	if (!text)
		return false;
	colon = strchr(text, ':');
	len = colon ? (size_t)(colon - text) : strlen(text);
	snprintf(buf, sizeof(buf), "%.*s", (int)(len < sizeof(buf) ? len : 0), text);
	if (!parse_address(buf, address) || (colon && !parse_span(colon + 1, &first, &last))) {
		not_an_address(r, n, what);
		return false;
	}
	if (colon && (first < 1 || last > UINT16_MAX || first > last)) {
		node_error(r, n, "%s: the port is %s, a port or FIRST-LAST in 1..65535 is allowed",
			node_shown(r, n), first > last ? "backwards" : "out of range");
		return false;
	}
	*ports = (struct cgn_port_range){(uint16_t)first, (uint16_t)last};
	return true;
}
