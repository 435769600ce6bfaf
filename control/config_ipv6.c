// SPDX-License-Identifier: BSD-3-Clause
#include "config_ipv6.h"
#include "config.h"
#include "config_value.h"
#include <arpa/inet.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const struct node *n)
{
	return n && n->kind == NODE_SCALAR && n->text ? n->text : "";
}

bool node_is_ipv6(const struct node *n)
{
	const char *prefix = text_of(node_get(n, "prefix"));

	if (!n || n->kind != NODE_MAP)
		return strchr(text_of(n), ':');
	return strpbrk(prefix, ":.") ? strchr(prefix, ':')
				     : strchr(text_of(node_get(n, "via")), ':');
}

struct node *node_family(struct report *r, const struct node *list, bool ipv6)
{
	struct node *part;

	if (!list)
		return NULL;
	part = report_alloc(r, sizeof(*part));
	*part = *list;
	part->items = report_alloc(r, (list->n_items + 1) * sizeof(*part->items));
	part->n_items = 0;
	for (unsigned i = 0; i < list->n_items; i++)
		if (list->kind == NODE_LIST && node_is_ipv6(list->items[i]) == ipv6)
			part->items[part->n_items++] = list->items[i];
	return part;
}

const char *address6_shown(struct report *r, const struct cgn_ipv6 *a)
{
	char *out = report_alloc(r, INET6_ADDRSTRLEN);

	inet_ntop(AF_INET6, a, out, INET6_ADDRSTRLEN);
	return out;
}

const char *prefix6_shown(struct report *r, const struct cgn_prefix6 *p)
{
	char *out = report_alloc(r, INET6_ADDRSTRLEN + 4);

	sprintf(out, "%s/%u", address6_shown(r, &p->address), p->length);
	return out;
}

// ---- single values

// *length is -1 for a bare address.
static bool parse_prefix(const char *text, struct cgn_ipv6 *address, int *length)
{
	const size_t n = strcspn(text, "/");
	char buf[INET6_ADDRSTRLEN] = "";
	uint64_t value, last;

	*length = -1;
	if (text[n]) {
		if (strchr(text + n, '-') || !parse_span(text + n + 1, &value, &last) ||
			value > 128)
			return false;
		*length = (int)value;
	}
	if (n >= sizeof(buf))
		return false;
	memcpy(buf, text, n);
	return inet_pton(AF_INET6, buf, address) == 1;
}

// An IPv4 address or prefix gets its own answer, not that of a typing error.
static bool is_ipv4(const char *text)
{
	const size_t n = strcspn(text, "/");
	char address[INET_ADDRSTRLEN] = "";
	struct in_addr in;

	if (n >= sizeof(address))
		return false;
	memcpy(address, text, n);
	return inet_pton(AF_INET, address, &in) == 1;
}

static void cannot_be_read(struct report *r, struct node *n, const char *what)
{
	if (is_ipv4(n->text))
		node_error(r, n, "%s is IPv4, %s is allowed", node_shown(r, n), what);
	else
		node_error(r, n, "\"%s\" cannot be read, %s is allowed", node_shown(r, n), what);
}

static void read_interface_prefix6(struct report *r, struct node *n, struct cgn_prefix6 *to)
{
	static const char what[] = "an IPv6 address with its prefix length, as 2001:db8::2/64,";
	const char *text = value_text(r, n, what);
	struct cgn_prefix6 prefix;
	int length;

	if (!text)
		return;
	if (!parse_prefix(text, &prefix.address, &length) || length < 0) {
		cannot_be_read(r, n, what);
		return;
	}
	prefix.length = (uint8_t)length;
	*to = prefix;
}

static void read_prefix6(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char what[] = "an IPv6 prefix, as 2001:db8::/32,";
	const char *text = value_text(r, n, what);
	struct cgn_prefix6 prefix;
	struct cgn_ipv6 address;
	int length;

	if (!text)
		return;
	if (!parse_prefix(text, &address, &length)) {
		cannot_be_read(r, n, what);
		return;
	}
	prefix.length = length < 0 ? 128 : (uint8_t)length;
	prefix.address = cgn_ipv6_network(&address, prefix.length);
	if (!cgn_ipv6_same(&prefix.address, &address))
		node_error(r, n, "%s has host bits set, %s is allowed", node_shown(r, n),
			prefix6_shown(r, &prefix));
	else
		*(struct cgn_prefix6 *)to = prefix;
}

static void read_via6(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char what[] = "an IPv6 address";
	const char *text = value_text(r, n, what);
	struct cgn_ipv6 address;

	if (!text)
		return;
	if (inet_pton(AF_INET6, text, &address) == 1)
		*(struct cgn_ipv6 *)to = address;
	else
		cannot_be_read(r, n, what);
}

static void read_prefix4(struct report *r, struct node *n, const struct field *f, void *to)
{
	value_prefix(r, n, to);
}

static void read_via4(struct report *r, struct node *n, const struct field *f, void *to)
{
	value_address(r, n, to);
}

// ---- lists of either version

struct either_prefix {
	struct cgn_prefix v4;
	struct cgn_prefix6 v6;
};

struct either_route {
	struct cgn_route v4;
	struct cgn_route6 v6;
};

static void read_interface_prefix(struct report *r, struct node *n, void *item)
{
	struct either_prefix *p = item;

	if (node_is_ipv6(n))
		read_interface_prefix6(r, n, &p->v6);
	else
		value_interface_prefix(r, n, &p->v4);
}

static void read_route(struct report *r, struct node *n, void *item)
{
#define AT(member) offsetof(struct either_route, member)
	static const struct field fields4[] = {
		{"prefix", read_prefix4, AT(v4.prefix), .is_required = true},
		{"via", read_via4, AT(v4.via), .is_required = true},
	};
	static const struct field fields6[] = {
		{"prefix", read_prefix6, AT(v6.prefix), .is_required = true},
		{"via", read_via6, AT(v6.via), .is_required = true},
	};
#undef AT

	value_map(r, n, node_is_ipv6(n) ? fields6 : fields4, 2, item);
}

void value_interface_addresses(struct report *r, struct node *n, struct cgn_interface *to)
{
	static const struct list_spec spec = {"addresses", sizeof(struct either_prefix), true,
		CONFIG_INTERFACE_ADDRESSES_MAX, read_interface_prefix};
	uint32_t n_items;
	struct either_prefix *items = value_list(r, n, &spec, &n_items);

	to->addresses = must_calloc(n_items, sizeof(*to->addresses));
	to->addresses6 = must_calloc(n_items, sizeof(*to->addresses6));
	for (uint32_t i = 0; i < n_items; i++) {
		if (node_is_ipv6(n->items[i]))
			to->addresses6[to->n_addresses6++] = items[i].v6;
		else
			to->addresses[to->n_addresses++] = items[i].v4;
	}
	free(items);
}

void value_interface_routes(struct report *r, struct node *n, struct cgn_interface *to)
{
	static const struct list_spec spec = {
		"routes", sizeof(struct either_route), false, CONFIG_ROUTES_MAX, read_route};
	uint32_t n_items;
	struct either_route *items = value_list(r, n, &spec, &n_items);

	to->routes = must_calloc(n_items, sizeof(*to->routes));
	to->routes6 = must_calloc(n_items, sizeof(*to->routes6));
	for (uint32_t i = 0; i < n_items; i++) {
		if (node_is_ipv6(n->items[i]))
			to->routes6[to->n_routes6++] = items[i].v6;
		else
			to->routes[to->n_routes++] = items[i].v4;
	}
	free(items);
}
