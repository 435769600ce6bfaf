// SPDX-License-Identifier: BSD-3-Clause
#include "staticmap.h"
#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

static uint64_t end_of(uint32_t address, uint8_t protocol, uint16_t port)
{
	return (uint64_t)address << 24 | (uint64_t)protocol << 16 | port;
}

static int compare(const void *a, const void *b)
{
	const struct staticmap_range *x = a, *y = b;

	return x->first < y->first ? -1 : x->first > y->first;
}

bool staticmap_init(struct staticmap *s, const struct cgn_config *config)
{
	static const uint8_t protocols[] = {CGN_PROTO_ICMP, CGN_PROTO_TCP, CGN_PROTO_UDP};
	const size_t n_max = (size_t)config->n_static_mappings * 3 + 1;

	memset(s, 0, sizeof(*s));
	s->internal = calloc(n_max, sizeof(*s->internal));
	s->external = calloc(n_max, sizeof(*s->external));
	if (!s->internal || !s->external) {
		staticmap_fini(s);
		return false;
	}
	for (uint32_t i = 0; i < config->n_static_mappings; i++) {
		const struct cgn_static_mapping *m = &config->static_mappings[i];
		const struct cgn_port_range *in = &m->internal_ports, *out = &m->external_ports;

		for (unsigned k = 0; k < sizeof(protocols); k++) {
			if (!cgn_static_takes(m, protocols[k]))
				continue;
			s->internal[s->n] = (struct staticmap_range){
				.first = end_of(m->internal, protocols[k], in->first),
				.last = end_of(m->internal, protocols[k], in->last),
				.address = m->external,
				.port = out->first,
				.mapping = i,
			};
			s->external[s->n++] = (struct staticmap_range){
				.first = end_of(m->external, protocols[k], out->first),
				.last = end_of(m->external, protocols[k], out->last),
				.address = m->internal,
				.port = in->first,
				.mapping = i,
			};
		}
	}
	qsort(s->internal, s->n, sizeof(*s->internal), compare);
	qsort(s->external, s->n, sizeof(*s->external), compare);
	return true;
}

void staticmap_fini(struct staticmap *s)
{
	free(s->internal);
	free(s->external);
	memset(s, 0, sizeof(*s));
}

bool staticmap_find(
	const struct staticmap_range *ranges, uint32_t n, uint64_t key, struct staticmap_hit *hit)
{
	const uint64_t end =
		end_of(ntohl((be32_t)key), (uint8_t)(key >> 48), ntohs((be16_t)(key >> 32)));
	const struct staticmap_range *at = ranges;

	while (n > 1) { // the last range that does not begin behind the endpoint
		const uint32_t half = n / 2;

		at = at[half].first <= end ? at + half : at;
		n -= half;
	}
	if (!n || end < at->first || end > at->last)
		return false;
	hit->address = at->address;
	hit->port = (uint16_t)(at->port + (end - at->first));
	hit->mapping = at->mapping;
	return true;
}
