// SPDX-License-Identifier: BSD-3-Clause
// SYNs from outside that nobody asked for: RFC 5382 REQ-4.
#include "packet.h"
#include <stdlib.h>
#include <string.h>

#define WAIT_NS 6000000000ull
#define MAX 1024 // that wait, per worker

void unsolicited_refused(struct packet *p, enum cgn_drop reason)
{
	struct waiting_syn **at = &world.syns, *s;
	unsigned n = 0;

	drop(p, reason);
	if (!world.config->tcp_unsolicited_icmp || p->protocol != CGN_PROTO_TCP ||
		!is_syn(l4_of(p)[13]))
		return;
	for (; *at; at = &(*at)->next) {
		s = *at;
		n += s->worker == p->worker;
		if (!s->called_off && s->external == p->our && s->external_port == p->our_port &&
			s->remote == p->their && s->remote_port == p->their_port)
			return; // once
	}
	if (n == MAX) {
		world.count.icmp_errors_suppressed++;
		return;
	}
	s = calloc(1, sizeof(*s));
	*s = (struct waiting_syn){.external = p->our,
		.remote = p->their,
		.external_port = p->our_port,
		.remote_port = p->their_port,
		.since_ns = world.now_ns,
		.ifc = p->ifc,
		.worker = p->worker,
		.len = (uint16_t)(p->len < sizeof(s->quote) ? p->len : sizeof(s->quote))};
	memcpy(s->quote, p->b, s->len);
	*at = s;
}

// The inside has opened the same connection.
void unsolicited_call_off(const struct mapping *m, const struct session *s)
{
	for (struct waiting_syn *w = world.syns; w; w = w->next) {
		if (m->protocol == CGN_PROTO_TCP && w->external == m->external &&
			w->external_port == m->external_port && w->remote == s->remote &&
			w->remote_port == s->remote_port)
			w->called_off = true;
	}
}

void unsolicited_tick(void)
{
	while (world.syns && world.now_ns - world.syns->since_ns >= WAIT_NS) {
		struct waiting_syn *s = world.syns;
		struct packet p = {.len = s->len, .ifc = s->ifc, .worker = s->worker};

		world.syns = s->next;
		memcpy(p.b, s->quote, s->len);
		if (!s->called_off)
			send_error(&p, TYPE_UNREACHABLE, 3, 0);
		free(s);
	}
}

bool unsolicited_hairpins(void)
{
	for (const struct waiting_syn *s = world.syns; s; s = s->next) {
		if (world.config->interfaces[s->ifc].role == CGN_INTERNAL)
			return true;
	}
	return false;
}

void unsolicited_fini(void)
{
	for (struct waiting_syn *s = world.syns, *next; s; s = next) {
		next = s->next;
		free(s);
	}
}
