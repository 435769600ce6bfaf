// SPDX-License-Identifier: BSD-3-Clause
// Small pools, tables and limits, so that all of them are full all the time, and timeouts of seconds.
#include "config.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

uint32_t random_u32(struct random *r) // splitmix64
{
	uint64_t z = r->state += 0x9e3779b97f4a7c15ull;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return (uint32_t)((z ^ z >> 31) >> 16);
}

uint32_t below(struct random *r, uint32_t n)
{
	return (uint32_t)(((uint64_t)random_u32(r) * n) >> 32);
}

bool chance(struct random *r, uint32_t per_cent)
{
	return below(r, 100) < per_cent;
}

static void add(char *text, size_t size, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static void add(char *text, size_t size, const char *fmt, ...)
{
	const size_t n = strlen(text);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text + n, size - n, fmt, ap);
	va_end(ap);
}
#define ADD(text, ...) add(text, sizeof(text), __VA_ARGS__)

#define PICK(r, ...) \
	pick(r, (const unsigned[]){__VA_ARGS__}, sizeof((const unsigned[]){__VA_ARGS__}))
static unsigned pick(struct random *r, const unsigned *of, size_t bytes)
{
	return of[below(r, (uint32_t)(bytes / sizeof(*of)))];
}

static void interfaces(struct random_config *c, struct random *r)
{
	ADD(c->inside,
		"mtu: %u, vlan: %u, addresses: [10.255.0.1/24], routes: [{prefix: "
		"100.64.0.0/10, via: 10.255.0.2}%s]",
		PICK(r, 1500, 1500, 1500, 1280, 576, 296), PICK(r, 0, 0, 0, 100),
		chance(r, 50) ? ", {prefix: 172.16.0.0/12, via: 10.255.0.3}" : "");
	ADD(c->outside, "mtu: %u, vlan: %u, addresses: [192.0.2.2/24], routes: [%s]",
		PICK(r, 1500, 1500, 1500, 1400, 576, 68), PICK(r, 0, 0, 0, 7),
		chance(r, 80) ? "{prefix: 0.0.0.0/0, via: 192.0.2.1}"
			      : "{prefix: 198.51.100.0/24, via: 192.0.2.1}, {prefix: "
				"198.18.0.0/15, via: 192.0.2.3}");
}

// RFC 7422: preset ports for the hosts of 100.64.0.0/27 and 172.16.0.0/28, and few overflow blocks.
static void deterministic_pool(struct random_config *c, struct random *r, unsigned n_addresses)
{
	static const char *const algorithms[] = {"sequential", "staggered", "round-robin",
		"interlaced", "cryptographic, key: 000102030405060708090a0b0c0d0e0f"};
	const unsigned ports = PICK(r, 16, 16, 32, 48), size = PICK(r, 16, 16, 32, 64);
	const unsigned slots = (32 + 16 + n_addresses - 1) / n_addresses,
		       from = PICK(r, 1024, 61000);

	ADD(c->pools,
		"  - {name: p, addresses: [203.0.113.1-203.0.113.%u], allocation: deterministic, block-size: %u, ports: %u-%u",
		n_addresses, size, from, from + slots * ports + size * below(r, 14) + 20);
	ADD(c->pools, ", deterministic: {ports: %u, include-boundary-addresses: %s, algorithm: %s}",
		ports, chance(r, 50) ? "true" : "false", algorithms[below(r, 5)]);
	ADD(c->pools, ", max-blocks: %u", 1 + below(r, 4));
	if (chance(r, 40))
		ADD(c->pools, ", reserved-ports: [%u, %u-%u]", from + 3, from + 10,
			from + 10 + below(r, 19));
	if (chance(r, 30))
		ADD(c->pools, ", first-block-reserve: %u", PICK(r, 5, 25, 50));
	if (chance(r, 30))
		ADD(c->pools, ", soft-app: true");
	ADD(c->pools, "}\n");
}

static void pool(struct random_config *c, struct random *r, const char *name, const char *first,
	const char *last)
{
	const unsigned size = PICK(r, 16, 16, 32, 64), n = 4 + below(r, 6);
	const unsigned from = PICK(r, 1024, 2000, 61000);

	ADD(c->pools, "  - {name: %s, addresses: [%s-%s], block-size: %u, ports: %u-%u", name,
		first, last, size, from, from + size * n - 1 + below(r, size));
	ADD(c->pools, ", max-blocks: %u", 1 + below(r, 4));
	if (chance(r, 40))
		ADD(c->pools, ", reserved-ports: [%u, %u-%u]", from + 3, from + 10,
			from + 10 + below(r, size));
	if (chance(r, 30))
		ADD(c->pools, ", first-block-reserve: %u", PICK(r, 5, 25, 50));
	if (chance(r, 30))
		ADD(c->pools, ", soft-app: true");
	ADD(c->pools, "}\n");
}

static const char *const filters[] = {
	"endpoint-independent", "address-dependent", "address-and-port-dependent"};

static void translate(struct random_config *c, struct random *r, const char *name,
	const char *match, const char *pool_name)
{
	ADD(c->policies, "  - {name: %s, match: {%s}, action: translate, pool: %s", name, match,
		pool_name);
	if (chance(r, 60))
		ADD(c->policies, ", filtering: {udp: %s, tcp: %s}", filters[below(r, 3)],
			filters[below(r, 3)]);
	if (chance(r, 20))
		ADD(c->policies, ", hairpin: false");
	if (chance(r, 25))
		ADD(c->policies, ", inbound-refresh: true");
	if (chance(r, 50)) {
		static const char *const protocols[] = {"tcp", "udp", "icmp"};
		const char *comma = "";
		uint32_t most = 40;

		ADD(c->policies, ", limits: {");
		if (chance(r, 40)) {
			ADD(c->policies, "sessions: %u", 1 + below(r, 60));
			comma = ", ";
		}
		if (chance(r, 40)) {
			ADD(c->policies, "%snew-sessions-per-second: %u", comma,
				PICK(r, 1, 3, 7, 50));
			comma = ", ";
		}
		if (chance(r, 40)) {
			most = 1 + below(r, 40);
			ADD(c->policies, "%smappings: %u", comma, most);
			comma = ", ";
		}
		for (unsigned i = 0; i < 3; i++) {
			if (!chance(r, 25))
				continue;
			ADD(c->policies, "%smappings-%s: %u", comma, protocols[i],
				1 + below(r, most));
			comma = ", ";
		}
		if (chance(r, 60) || !*comma)
			ADD(c->policies, "%ssessions-per-mapping: %u", comma, 1 + below(r, 6));
		ADD(c->policies, "}");
	}
	ADD(c->policies, "}\n");
}

static void policies(struct random_config *c, struct random *r, bool two_pools, bool deterministic)
{
	const char *other = two_pools ? "q" : "p";
	const char *home = deterministic ? "source: [100.64.0.0/27]" : "source: [100.64.0.0/24]";
	char match[96];

	if (chance(r, 60))
		ADD(c->policies,
			"  - {name: by, match: {destination: [198.18.0.0/15]%s}, action: bypass}\n",
			chance(r, 50) ? ", protocol: tcp, destination-ports: [443, 1000-1001]"
				: chance(r, 30) ? ", protocol: udp, destination-ports: [53]"
						: "");
	if (chance(r, 30))
		ADD(c->policies, "  - {name: gre, match: {protocol: gre}, action: bypass}\n");
	if (chance(r, 20))
		ADD(c->policies,
			"  - {name: inner, match: {source: [100.64.0.3], destination: [100.64.0.0/10]}, action: bypass}\n");
	if (chance(r, 40))
		ADD(c->policies,
			"  - {name: bad, match: {destination: [198.51.100.66]}, action: drop}\n");
	if (chance(r, 30))
		ADD(c->policies,
			"  - {name: mail, match: {protocol: tcp, destination-ports: [25]}, action: drop}\n");
	if (chance(r, 40))
		translate(c, r, "few", "source: [100.64.0.0/30]", "p");
	if (chance(r, 30)) {
		snprintf(match, sizeof(match), "%s, protocol: udp", home);
		translate(c, r, "udp", match, other);
	}
	if (chance(r, 30)) {
		snprintf(match, sizeof(match), "%sprotocol: tcp, destination-ports: [80, 443]",
			deterministic ? "source: [100.64.0.0/28], " : "");
		translate(c, r, "web", match, other);
	}
	translate(c, r, "home", home, "p");
	if (chance(r, 50))
		translate(c, r, "rest",
			deterministic ? "source: [172.16.0.0/28]" : "source: [172.16.0.0/12]",
			other);
}

static void statics(struct random_config *c, struct random *r)
{
	static const char *const protocols[] = {"tcp", "udp", "all"};

	if (!chance(r, 50))
		return;
	ADD(c->more, "static-mappings:\n");
	ADD(c->more,
		"  - {name: s1, protocol: %s, internal: 100.64.0.2:8080, external: 203.0.113.1:443}\n",
		protocols[below(r, 3)]);
	if (chance(r, 50))
		ADD(c->more,
			"  - {name: s2, protocol: %s, internal: 100.64.0.3:5000-5007, external: 198.51.101.5:7000-7007}\n",
			protocols[below(r, 3)]);
	if (chance(r, 50))
		ADD(c->more,
			"  - {name: s3, protocol: %s, internal: 100.64.0.4, external: 203.0.113.9}\n",
			chance(r, 70)		? "all"
				: chance(r, 50) ? "icmp"
						: "udp");
	if (chance(r, 40))
		ADD(c->more,
			"  - {name: s4, internal: 100.64.0.5:5001-5002, external: 203.0.113.1:1030-1031}\n");
}

static void timeouts(struct random_config *c, struct random *r)
{
	ADD(c->more, "timeouts: {non-conformant: true, udp: %u, tcp-established: %u",
		PICK(r, 3, 10, 60, 300), PICK(r, 5, 30, 300, 9000));
	ADD(c->more, ", tcp-opening: %u, tcp-closing: %u, icmp: %u", PICK(r, 2, 10, 240),
		PICK(r, 1, 4, 30, 240), PICK(r, 2, 10, 60));
	ADD(c->more, ", hold-down: %u, fragment: %u", PICK(r, 0, 1, 5, 30, 120), PICK(r, 1, 2, 5));
	if (chance(r, 30))
		ADD(c->more, ", hold-down-max: %u", c->workers * PICK(r, 3, 10, 40));
	if (chance(r, 30))
		ADD(c->more, ", hold-down-tcp: false");
	if (chance(r, 50))
		ADD(c->more,
			", services: [{protocol: udp, port: 53, timeout: %u}, {protocol: tcp, port: 22, timeout: %u}]",
			PICK(r, 1, 4, 20), PICK(r, 2, 50, 1000));
	ADD(c->more, "}\n");
}

void config_make(struct random_config *c, uint64_t seed)
{
	struct random r = {seed};
	const bool two_pools = chance(&r, 30), deterministic = chance(&r, 25);
	const unsigned n_addresses = 1 + below(&r, 5);
	char last[32];

	memset(c, 0, sizeof(*c));
	c->workers = chance(&r, 50) ? 1 : 2 + below(&r, 3);
	c->spread = chance(&r, 80);
	c->sessions = c->workers * PICK(&r, 64, 100, 400, 1000);
	c->subscribers = c->workers * PICK(&r, 1, 3, 10, 64, 64, 64);
	c->n_hosts = PICK(&r, 2, 3, 6, 12, 20);
	c->n_ports = PICK(&r, 2, 20, 60, 200);
	c->favourite = (uint8_t)PICK(&r, 0, 17, 6, 1);
	c->waits = PICK(&r, 1, 5, 40);
	c->tx_queues = chance(&r, 20) ? 1 : 0;
	interfaces(c, &r);
	snprintf(last, sizeof(last), "203.0.113.%u", n_addresses);
	if (deterministic)
		deterministic_pool(c, &r, n_addresses);
	else
		pool(c, &r, "p", "203.0.113.1", last);
	if (two_pools)
		pool(c, &r, "q", "192.0.2.32", chance(&r, 50) ? "192.0.2.32" : "192.0.2.34");
	policies(c, &r, two_pools, deterministic);
	statics(c, &r);
	timeouts(c, &r);
	ADD(c->more, "tcp-mss-clamp: %u\n", PICK(&r, 0, 536, 1200));
	ADD(c->more, "tcp-midstream: %s\n", chance(&r, 40) ? "forward-if-mapped" : "drop");
	ADD(c->more, "tcp-unsolicited-syn: %s\n", chance(&r, 40) ? "icmp" : "drop");
	ADD(c->more, "icmp: {refused: %s, errors-per-second: %u}\n",
		chance(&r, 60)		 ? "host-unreachable"
			: chance(&r, 50) ? "admin-prohibited"
					 : "off",
		PICK(&r, 1, 4, 100, 100000));
}
