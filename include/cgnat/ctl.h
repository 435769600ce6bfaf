// SPDX-License-Identifier: BSD-3-Clause
// The control socket: what cgnatd and cgnatctl agree on. One JSON object per line, either way:
//   {"id": 1, "command": "show mappings", "args": {"limit": 10}}
//   {"id": 1, "result": {...}}  or  {"id": 1, "error": {"code": "...", "message": "..."}}
//   {"id": 1, "items": [...]}, as many as it takes, then {"id": 1, "done": true}
//
// This list of commands and arguments is the only one: the daemon refuses what is not in it, and
// cgnatctl's options and help come from it.
#pragma once
#include "cgnat/types.h"
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define CGN_CTL_SOCKET "/run/cgnat/cgnatd.sock"
#define CGN_CTL_LINE_MAX 65536 // bytes of a request line, its newline not included

enum cgn_ctl_type {
	CGN_CTL_FLAG,
	CGN_CTL_NUMBER, // 0..UINT32_MAX
	CGN_CTL_COUNT, // at least 1
	CGN_CTL_TEXT,
	CGN_CTL_PROTO,
	CGN_CTL_ADDRESS,
	CGN_CTL_ENDPOINT, // A or A:P
};

//   X(ID, "key", type, "how its value is written", "help")
#define CGN_CTL_ARGS(X) \
	X(SUBSCRIBER, "subscriber", ADDRESS, "A", "only this internal address") \
	X(EXTERNAL, "external", ENDPOINT, "A[:P]", \
		"only this external address, or one port of it") \
	X(REMOTE, "remote", ENDPOINT, "A[:P]", "only this remote address, or one port of it") \
	X(PROTOCOL, "protocol", PROTO, "P", \
		"only this protocol: tcp, udp, icmp, gre, esp, ipip or 6in4") \
	X(POLICY, "policy", TEXT, "N", "only what the policy of this name made") \
	X(WORKER, "worker", NUMBER, "I", "only worker I") \
	X(LIMIT, "limit", COUNT, "N", "at most N records") \
	X(PER_WORKER, "per-worker", FLAG, "", "one record per worker instead of their sum") \
	X(FILE, "file", TEXT, "FILE", "absolute path of a configuration") \
	X(SOURCE, "source", ENDPOINT, "A:P", "where the packet comes from") \
	X(DESTINATION, "destination", ENDPOINT, "A:P", "where the packet goes")

enum cgn_ctl_arg {
#define X(id, key, type, value, help) CGN_CTL_ARG_##id,
	CGN_CTL_ARGS(X)
#undef X
	CGN_CTL_ARG_COUNT,
};

// Sets of them.
enum cgn_ctl_args {
#define X(id, key, type, value, help) CGN_CTL_##id = 1u << CGN_CTL_ARG_##id,
	CGN_CTL_ARGS(X)
#undef X
	CGN_CTL_SUBSCRIBER_FILTERS = CGN_CTL_SUBSCRIBER | CGN_CTL_EXTERNAL | CGN_CTL_POLICY
		| CGN_CTL_WORKER,
	CGN_CTL_FILTERS = CGN_CTL_SUBSCRIBER_FILTERS | CGN_CTL_REMOTE | CGN_CTL_PROTOCOL,
};

//   X(ID, "command", its arguments, "operands of cgnatctl", "help")
#define CGN_CTL_COMMANDS(X) \
	X(STATUS, "status", 0, "", "version, uptime, load of the workers, sizes of the tables") \
	X(SHOW_COUNTERS, "show counters", CGN_CTL_PER_WORKER, "", "every counter and gauge") \
	X(SHOW_DROPS, "show drops", CGN_CTL_WORKER, "", "packets refused, by reason") \
	X(SHOW_INTERFACES, "show interfaces", CGN_CTL_LIMIT, "", \
		"devices, links and their counters") \
	X(SHOW_POOLS, "show pools", CGN_CTL_LIMIT, "", "external addresses and how full they are") \
	X(SHOW_CONFIG, "show config", CGN_CTL_LIMIT, "", \
		"every key of the running configuration, defaults too") \
	X(SHOW_BLOCKS, "show blocks", CGN_CTL_SUBSCRIBER_FILTERS | CGN_CTL_LIMIT, "", \
		"port blocks and the subscribers who hold them") \
	X(SHOW_SUBSCRIBERS, "show subscribers", CGN_CTL_SUBSCRIBER_FILTERS | CGN_CTL_LIMIT, \
		"[ADDRESS]", "subscribers who hold a block; with ADDRESS one in detail") \
	X(SHOW_MAPPINGS, "show mappings", CGN_CTL_FILTERS | CGN_CTL_LIMIT, "", \
		"internal endpoints and their external ones") \
	X(SHOW_SESSIONS, "show sessions", CGN_CTL_FILTERS | CGN_CTL_LIMIT, "", \
		"mappings with their remote ends, states and traffic") \
	X(CLEAR_SESSIONS, "clear sessions", CGN_CTL_FILTERS, "", \
		"end sessions (all, or filtered)") \
	X(CLEAR_MAPPINGS, "clear mappings", CGN_CTL_FILTERS, "", \
		"end mappings with all their sessions (all, or filtered)") \
	X(CHECK, "check", CGN_CTL_FILE, "FILE", \
		"check a configuration, and say what it would change here") \
	X(RELOAD, "reload", 0, "", "read the configuration again (not supported yet)") \
	X(EXPLAIN, "explain", CGN_CTL_PROTOCOL | CGN_CTL_SOURCE | CGN_CTL_DESTINATION, \
		"PROTOCOL SOURCE:PORT DESTINATION:PORT", \
		"what would happen to a packet (not supported yet)") \
	X(RESOLVE, "resolve", CGN_CTL_EXTERNAL | CGN_CTL_SUBSCRIBER, "EXTERNAL:PORT | SUBSCRIBER", \
		"who has an external port, or which ports a subscriber has") \
	X(HELP, "help", 0, "", "the commands")

enum cgn_ctl_command {
#define X(id, name, args, operands, help) CGN_CTL_##id##_COMMAND,
	CGN_CTL_COMMANDS(X)
#undef X
	CGN_CTL_COMMAND_COUNT,
};

// "100.64.0.5", host order.
static inline bool cgn_parse_address(const char *text, uint32_t *address)
{
	struct in_addr in;

	if (inet_pton(AF_INET, text, &in) != 1)
		return false;
	*address = ntohl(in.s_addr);
	return true;
}

// "203.0.113.1" or "203.0.113.1:4096"; an ICMP identifier stands where a port would, so 0 is one.
static inline bool cgn_parse_endpoint(
	const char *text, uint32_t *address, uint16_t *port, bool *has_port)
{
	const char *colon = strchr(text, ':');
	char buf[INET_ADDRSTRLEN];

	*has_port = colon != NULL;
	if (!colon)
		return cgn_parse_address(text, address);

	size_t len = (size_t)(colon - text), digits = strspn(colon + 1, "0123456789");
	if (len >= sizeof(buf) || digits == 0 || digits > 5 || colon[1 + digits])
		return false;
	memcpy(buf, text, len);
	buf[len] = 0;
	unsigned long p = strtoul(colon + 1, NULL, 10);
	*port = (uint16_t)p;
	return p <= UINT16_MAX && cgn_parse_address(buf, address);
}

static inline bool cgn_parse_protocol(const char *text, uint8_t *protocol)
{
	static const uint8_t known[] = {CGN_PROTO_TCP, CGN_PROTO_UDP, CGN_PROTO_ICMP,
#define X(name, number) number,
		CGN_PORTLESS(X)
#undef X
	};

	for (unsigned i = 0; i < sizeof(known); i++) {
		if (!strcmp(text, cgn_proto_name(known[i]))) {
			*protocol = known[i];
			return true;
		}
	}
	return false;
}

// What a value of this type may be; completes "... is not".
static inline const char *cgn_ctl_allowed(enum cgn_ctl_type type)
{
	switch (type) {
	case CGN_CTL_FLAG:
		return "true or false";
	case CGN_CTL_NUMBER:
		return "an integer from 0 to 4294967295";
	case CGN_CTL_COUNT:
		return "an integer, at least 1";
	case CGN_CTL_PROTO:
		return "tcp, udp, icmp, gre, esp, ipip or 6in4";
	case CGN_CTL_ADDRESS:
		return "an IPv4 address such as 100.64.0.5";
	case CGN_CTL_ENDPOINT:
		return "an IPv4 address, or address and port such as 203.0.113.1:4096";
	case CGN_CTL_TEXT:
		break;
	}
	return "a text";
}
