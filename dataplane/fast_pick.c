// SPDX-License-Identifier: BSD-3-Clause
// The rare parts of the established path, compiled once.
#include "fast.h"
#include <string.h>
#include "forward.h"
#include "translate.h"
#include "worker.h"

const struct fast *fast_pick(enum fast_level most, enum fast_level *level)
{
	static const struct fast *const fast[FAST_LEVELS] = {
		[FAST_BASE] = &fast_base,
#ifdef CGN_FAST_X86
		[FAST_V3] = &fast_v3,
		[FAST_V4] = &fast_v4,
#endif
	};
	bool has[FAST_LEVELS] = {[FAST_OFF] = true, [FAST_BASE] = true};
	enum fast_level at = most < FAST_LEVELS ? most : FAST_LEVELS - 1;

#ifdef CGN_FAST_X86
	__builtin_cpu_init();
	has[FAST_V3] = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
		__builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
	has[FAST_V4] = has[FAST_V3] && __builtin_cpu_supports("avx512f") &&
		__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
		__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
	while (!has[at])
		at--;
	if (level)
		*level = at;
	return fast[at];
}

const char *fast_level_name(enum fast_level level)
{
	static const char *const name[FAST_LEVELS] = {"off", "base", "avx2", "avx512"};

	return level < FAST_LEVELS ? name[level] : "?";
}

static void fill(struct worker *w, struct adjacency *a, uint8_t ifc, uint32_t neigh)
{
	struct worker_port *port = &w->port[ifc];
	struct neigh *n = &w->neighbours.neigh[neigh];
	uint8_t l2[18];

	a->limit[0] = a->limit[1] = 0;
	if (neigh == NEIGH_NONE || n->state < NEIGH_REACHABLE || n->state > NEIGH_PROBING)
		return;
	if (n->used_s != w->now_s)
		n->used_s = w->now_s;
	memcpy(l2, n->mac, 6);
	memcpy(l2 + 6, port->mac, 6);
	memcpy(l2 + 12, port->l2_tail, 6);
	a->l2_len = port->l2_len;
	memcpy(&a->l2_first, l2, 8);
	memcpy(&a->l2_middle, l2 + 8, 8);
	memcpy(&a->l2_last, l2 + port->l2_len - 8, 8);
	a->limit[w->snapshot->interface[ifc].role == CGN_INTERNAL] =
		w->snapshot->interface[ifc].mtu;
	a->port = port;
	a->ifc = ifc;
}

void fast_adjacency(struct worker *w, uint32_t gateway)
{
	struct adjacency *a = &w->adjacency[gateway];

	fill(w, a, w->snapshot->gateway[gateway].ifc, w->gateway_neigh[gateway]);
	a->burst = w->fast_burst;
}

void fast_onlink(struct worker *w, uint8_t ifc, uint32_t address, struct adjacency *a)
{
	fill(w, a, ifc, neigh_lookup(&w->neighbours, ifc, address));
}

void fast_odd(struct worker *w, struct pkt *p, uint32_t record)
{
	// settled in between, by a hairpin of the same burst, and the index had no room for it
	if (cgn_unlikely(!w->flows.flow[record].proto))
		pkt_drop(w, p, CGN_DROP_INDEX_FULL);
	else
		translate_out(w, p, record);
}

void fast_tcp(struct worker *w, uint32_t record, void *ip, uint16_t ip_len, uint8_t tcp_flags,
	bool outbound)
{
	struct flow *f = &w->flows.flow[record];
	const struct pkt p = {
		.ip = ip, .ip_len = ip_len, .l4_off = sizeof(struct ipv4), .tcp_flags = tcp_flags};

	if (tcp_matters(f->state, tcp_flags))
		translate_tcp_slow(w, record, &p, outbound);
	if (!tcp_unanswered(f->flags))
		f->seen_s = w->now_s;
}
