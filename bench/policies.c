// SPDX-License-Identifier: BSD-3-Clause
#include "policies.h"
#include <stdio.h>
#include <stdlib.h>
#include "options.h"
#include "setup.h"

#define PREFIXES_MAX 12 // of an assorted policy

static uint64_t rnd = 0x9e3779b97f4a7c15ull;
static struct cgn_policy *policies;
static struct cgn_prefix *bypass, (*assorted)[PREFIXES_MAX];
static struct cgn_port_range (*services)[2];
static struct cgn_prefix inside = {0x64400000, 10}; // where the bench's subscribers are

static uint32_t below(uint32_t n)
{
	rnd ^= rnd << 13; // xorshift64
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;
	return (uint32_t)((rnd >> 32) * n >> 32);
}

static void *must_alloc(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		fail("out of memory");
	return p;
}

// In first <= first byte <= last, which are no addresses of the bench.
static struct cgn_prefix prefix_in(uint32_t first, uint32_t last, uint8_t shortest, uint8_t longest)
{
	const uint8_t length = (uint8_t)(shortest + below(longest - shortest + 1u));
	const uint32_t address = (first + below(last - first + 1)) << 24 | below(1u << 24);

	return (struct cgn_prefix){address & UINT32_MAX << (32 - length), length};
}

// Lists of content networks: half of the prefixes are /24, the others up to /16.
static void make_bypass(struct cgn_policy *p)
{
	bypass = must_alloc(opt.bypass_prefixes, sizeof(*bypass));
	for (uint32_t i = 0; i < opt.bypass_prefixes; i++)
		bypass[i] = below(2) ? prefix_in(128, 168, 24, 24) : prefix_in(128, 168, 16, 23);
	*p = (struct cgn_policy){.name = "bypass",
		.destinations = bypass,
		.n_destinations = opt.bypass_prefixes,
		.action = CGN_BYPASS};
}

static void make_assorted(struct cgn_policy *p, uint32_t i)
{
	struct cgn_prefix *list = assorted[i];
	struct cgn_port_range *ports = services[i];

	*p = (struct cgn_policy){.action = i % 3 ? CGN_BYPASS : CGN_DROP};
	snprintf(p->name, sizeof(p->name), "assorted-%u", i);
	for (unsigned k = 0; k < PREFIXES_MAX; k++)
		list[k] = i % 6 == 0 || i % 6 == 3 ? prefix_in(10, 10, 20, 28)
						   : prefix_in(23, 99, 16, 32);
	ports[0] = (struct cgn_port_range){(uint16_t)(8000 + i), (uint16_t)(8010 + i)};
	ports[1] = (struct cgn_port_range){(uint16_t)(20000 + i), (uint16_t)(20000 + i)};
	switch (i % 6) {
	case 0: // a few sources
		p->sources = list;
		p->n_sources = 1;
		break;
	case 1: // ours, to some networks
		p->sources = &inside;
		p->n_sources = 1;
		p->destinations = list;
		p->n_destinations = PREFIXES_MAX;
		break;
	case 2: // ours, to ports
		p->sources = &inside;
		p->n_sources = 1;
		p->protocol = i % 4 ? CGN_PROTO_TCP : CGN_PROTO_UDP;
		p->destination_ports = ports;
		p->n_destination_ports = 2;
		break;
	case 3: // many sources
		p->sources = list;
		p->n_sources = PREFIXES_MAX;
		break;
	case 4: // ours, another protocol
		p->sources = &inside;
		p->n_sources = 1;
		p->protocol = 132;
		break;
	default: // anybody's, to a network and ports
		p->destinations = list;
		p->n_destinations = 2;
		p->protocol = CGN_PROTO_UDP;
		p->destination_ports = ports;
		p->n_destination_ports = 1;
	}
}

void policies_make(struct cgn_config *c, const struct cgn_policy *all)
{
	uint32_t n = 0;

	policies = must_alloc(opt.policies + 2, sizeof(*policies));
	assorted = must_alloc(opt.policies, sizeof(*assorted));
	services = must_alloc(opt.policies, sizeof(*services));
	if (opt.bypass_prefixes)
		make_bypass(&policies[n++]);
	for (uint32_t i = 0; i + 1 < opt.policies; i++)
		make_assorted(&policies[n++], i);
	policies[n++] = *all;
	c->policies = policies;
	c->n_policies = n;
}

uint32_t policies_bypassed(uint64_t k)
{
	const struct cgn_prefix *p = &bypass[k * 2654435761u % opt.bypass_prefixes];

	return p->address + (uint32_t)(k * 40503u & ~(UINT32_MAX << (32 - p->length)));
}
