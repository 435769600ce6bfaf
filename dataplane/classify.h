// SPDX-License-Identifier: BSD-3-Clause
// Which policy matches first? In a time that depends neither on how many policies there are nor on how
// many prefixes they have: the source, the destination and the service (protocol and port) are each
// looked up alone, and give the set of policies that they would match; the first policy in all three sets is
// the answer.
//
// Addresses that match the same policies are one class, and so are services: a set is stored once per
// class, 1 bit per policy.
//
// Thread: any number of readers; built by control.
// Memory: two longest-prefix matches (lpm.h), up to 512 KiB for ports, and n_policies / 8 bytes per
//         class. There are fewer classes than prefixes and ends of port ranges.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/config.h"
#include "lpm.h"

#define CLASSIFY_NONE UINT32_MAX

struct class_sets {
	uint64_t *words; // n_words of each class
	uint32_t n, room;
	uint32_t *slot, n_slots; // by a hash of the set; only while they are made
};

struct classifier {
	uint32_t n_words; // of a set
	struct lpm *source, *destination; // class of an address
	struct class_sets sources, destinations, services;
	uint32_t no_port[256]; // class of a protocol, where no port is known or asked for
	uint32_t any_port[256]; // where the port may be any
	uint32_t *port[2]; // by port, of TCP and of UDP; NULL: the same as no_port
};

// `policies` are not used afterwards. False when out of memory; classifier_fini() in either case.
bool classifier_init(struct classifier *c, const struct cgn_policy *policies, uint32_t n);
void classifier_fini(struct classifier *c);

// The class of a service; `port` counts only when the protocol is TCP or UDP and `has_ports`.
static inline uint32_t classify_service(
	const struct classifier *c, uint8_t protocol, uint16_t port, bool has_ports)
{
	const uint32_t *by_port = NULL;

	if (has_ports && protocol == CGN_PROTO_TCP)
		by_port = c->port[0];
	else if (has_ports && protocol == CGN_PROTO_UDP)
		by_port = c->port[1];
	return by_port ? by_port[port] : c->no_port[protocol];
}

// Number of the first policy that takes a packet of this service class (addresses in host order).
static inline uint32_t classify(
	const struct classifier *c, uint32_t source, uint32_t destination, uint32_t service)
{
	const uint32_t n = c->n_words;
	const uint64_t *s = &c->sources.words[lpm_lookup(c->source, source) * n];
	const uint64_t *d = &c->destinations.words[lpm_lookup(c->destination, destination) * n];
	const uint64_t *v = &c->services.words[service * n];

	for (uint32_t i = 0; i < n; i++) {
		const uint64_t all = s[i] & d[i] & v[i];

		if (all)
			return i * 64 + (uint32_t)__builtin_ctzll(all);
	}
	return CLASSIFY_NONE;
}
