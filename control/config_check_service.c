// SPDX-License-Identifier: BSD-3-Clause
#include "config_check.h"

#define SYSTEM_PORT_MAX 1023

// Below these an RFC forbids the value; 0: allowed.
static uint32_t minimum_of(const struct cgn_service_timeout *s, const char **rule)
{
	if (s->protocol == CGN_PROTO_TCP) {
		*rule = "RFC 5382 REQ-5";
		return 7440;
	}
	*rule = "RFC 4787 REQ-5a";
	return s->port > SYSTEM_PORT_MAX ? 120 : 0;
}

static void check_minimum(
	struct report *r, struct node *n, const struct cgn_service_timeout *s, bool non_conformant)
{
	const char *rule;
	const uint32_t min_s = minimum_of(s, &rule);

	if (s->timeout >= min_s)
		return;
	if (non_conformant)
		node_warning(r, n,
			"%u s is not conformant, the minimum for %s port %u is %u s (%s)",
			s->timeout, cgn_proto_name(s->protocol), s->port, min_s, rule);
	else
		node_error(r, n,
			"%u s is below the minimum of %s for %s port %u, %u..604800 are allowed, "
			"less only with non-conformant: true",
			s->timeout, rule, cgn_proto_name(s->protocol), s->port, min_s);
}

void check_services(struct report *r, struct node *root, const struct cgn_config *c)
{
	const struct cgn_timeouts *t = &c->timeouts;
	struct node *timeouts = node_get(root, "timeouts");
	struct node *list = node_get(timeouts, "services");
	struct node *flag = node_get(timeouts, "non-conformant");

	for (uint32_t i = 0; list && i < t->n_services; i++) {
		const struct cgn_service_timeout *s = &t->services[i];
		struct node *item = node_item(list, i), *port = node_get(item, "port");

		if (!node_ok(port) || !node_ok(node_get(item, "protocol")))
			continue;
		for (uint32_t j = 0; j < i; j++) {
			const struct node *other = node_item(list, j);

			if (!node_ok(node_get(other, "port")) ||
				!node_ok(node_get(other, "protocol")))
				continue;
			if (s->protocol == t->services[j].protocol &&
				s->port == t->services[j].port)
				node_error(r, port, "%s port %u is in line %u already",
					cgn_proto_name(s->protocol), s->port, other->line);
		}
		if (node_ok(node_get(item, "timeout")) && (!flag || node_ok(flag)))
			check_minimum(r, node_get(item, "timeout"), s, t->non_conformant);
	}
}

void check_hold_down(struct report *r, struct node *root, const struct cgn_config *c)
{
	struct node *timeouts = node_get(root, "timeouts");
	struct node *max = node_get(timeouts, "hold-down-max");
	struct node *tcp = node_get(timeouts, "hold-down-tcp");

	if (node_ok(max) && c->timeouts.hold_down_max < c->runtime.max_sessions / 2)
		node_warning(r, max,
			"is less than half of max-sessions (%u): while more than %u ports would rest, the "
			"oldest are lent again early (RFC 6888 REQ-8)",
			c->runtime.max_sessions, c->timeouts.hold_down_max);
	if (node_ok(tcp) && c->timeouts.tcp_at_once)
		node_warning(r, tcp,
			"TCP ports whose sessions were closed do not rest, as RFC 6888 REQ-8 allows; "
			"a record of who held a port then needs exact times");
}
