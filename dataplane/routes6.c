// SPDX-License-Identifier: BSD-3-Clause
#include "routes6.h"
#include <stdlib.h>
#include <string.h>
#include "snapshot.h"

static const struct lpm6_prefix martians[] = {
	{{{0}}, 128, DEST(DEST_MARTIAN, 0)}, // unspecified
	{{{[15] = 1}}, 128, DEST(DEST_MARTIAN, 0)}, // loopback
	{{{[10] = 0xff, 0xff}}, 96, DEST(DEST_MARTIAN, 0)}, // IPv4-mapped
	{{{0xfe, 0x80}}, 10, DEST(DEST_MARTIAN, 0)}, // link-local
	{{{0xff}}, 8, DEST(DEST_MARTIAN, 0)}, // multicast
};
#define N_MARTIANS (sizeof(martians) / sizeof(martians[0]))

static int compare_gateways(const void *a, const void *b)
{
	const struct gateway6 *x = a, *y = b;

	return memcmp(x, y, sizeof(*x));
}
_Static_assert(sizeof(struct gateway6) == 17, "gateways are compared as bytes");

// Every next hop once, sorted.
static void collect_gateways(struct routes6 *r, const struct cgn_config *config)
{
	uint32_t n = 0, kept = 0;

	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		const struct cgn_interface *ifc = &config->interfaces[i];

		for (uint32_t j = 0; j < ifc->n_routes6; j++)
			r->gateway[n++] = (struct gateway6){ifc->routes6[j].via, (uint8_t)i};
	}
	qsort(r->gateway, n, sizeof(*r->gateway), compare_gateways);
	for (uint32_t i = 0; i < n; i++) {
		if (!i || compare_gateways(&r->gateway[i], &r->gateway[i - 1]))
			r->gateway[kept++] = r->gateway[i];
	}
	r->n_gateways = kept;
}

static uint32_t add_interface(struct lpm6_prefix *list, const struct routes6 *r,
	const struct cgn_interface *config, uint8_t ifc)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < config->n_addresses6; i++) {
		const struct cgn_prefix6 *a = &config->addresses6[i];
		const struct cgn_ipv6 network = cgn_ipv6_network(&a->address, a->length);

		list[n++] = (struct lpm6_prefix){a->address, 128, DEST(DEST_LOCAL, ifc)};
		if (a->length < 127) // the subnet-router anycast address (RFC 4291 2.6.1)
			list[n++] = (struct lpm6_prefix){network, 128, DEST(DEST_LOCAL, ifc)};
		list[n++] = (struct lpm6_prefix){network, a->length, DEST(DEST_ONLINK, ifc)};
	}
	for (uint32_t i = 0; i < config->n_routes6; i++) {
		const struct cgn_route6 *route = &config->routes6[i];
		const struct gateway6 want = {route->via, ifc};
		const struct gateway6 *g = bsearch(
			&want, r->gateway, r->n_gateways, sizeof(*r->gateway), compare_gateways);

		list[n++] = (struct lpm6_prefix){route->prefix.address, route->prefix.length,
			DEST(DEST_ROUTE, (uint32_t)(g - r->gateway))};
	}
	return n;
}

bool routes6_init(struct routes6 *r, const struct cgn_config *config)
{
	uint32_t n = 0, n_addresses = 0, n_routes = 0;
	struct lpm6_prefix *list;

	*r = (struct routes6){0};
	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		n_addresses += config->interfaces[i].n_addresses6;
		n_routes += config->interfaces[i].n_routes6;
	}
	if (!n_addresses)
		return true;
	r->gateway = calloc(n_routes + 1, sizeof(*r->gateway));
	list = calloc(3 * (size_t)n_addresses + n_routes + N_MARTIANS, sizeof(*list));
	if (r->gateway && list) {
		collect_gateways(r, config);
		for (uint32_t i = 0; i < config->n_interfaces; i++)
			n += add_interface(list + n, r, &config->interfaces[i], (uint8_t)i);
		memcpy(list + n, martians, sizeof(martians));
		r->dest = lpm6_create(list, n + N_MARTIANS);
	}
	free(list);
	return r->dest;
}

void routes6_fini(struct routes6 *r)
{
	lpm6_destroy(r->dest);
	free(r->gateway);
	*r = (struct routes6){0};
}
