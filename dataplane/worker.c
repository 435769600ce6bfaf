// SPDX-License-Identifier: BSD-3-Clause
#include "worker.h"
#include <rte_cycles.h>
#include <rte_pause.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include "arp.h"
#include "claims.h"
#include "forward.h"
#include "frag.h"
#include "handoff.h"
#include "icmp.h"
#include "ipv6.h"
#include "lease.h"
#include "nd.h"
#include "parse.h"
#include "path.h"
#include "session.h"
#include "walk.h"

#define NEIGHBOURS_MIN 1024
#define NEIGHBOURS_MAX 65536

// ---- memory

static uint32_t share(uint32_t total, uint32_t n_workers)
{
	return (total + n_workers - 1) / n_workers;
}

static uint32_t neighbours_for(const struct cgn_config *config)
{
	uint32_t n =
		share(config->runtime.max_subscribers, config->runtime.n_workers) + NEIGHBOURS_MIN;

	n = n < NEIGHBOURS_MAX ? n : NEIGHBOURS_MAX;
	for (uint32_t i = 0; i < config->n_interfaces; i++)
		n += config->interfaces[i].n_routes; // every gateway has its place
	return n;
}

// The same of IPv6, where every subscriber has a link-local and a global address. 0: no IPv6.
static uint32_t neighbours6_for(const struct cgn_config *config)
{
	uint32_t n = 2 * share(config->runtime.max_subscribers, config->runtime.n_workers) +
		NEIGHBOURS_MIN;
	bool any = false;

	n = n < NEIGHBOURS_MAX ? n : NEIGHBOURS_MAX;
	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		n += config->interfaces[i].n_routes6;
		any = any || config->interfaces[i].n_addresses6;
	}
	return any ? n : 0;
}

static uint32_t rests_for(const struct cgn_config *config)
{
	return share(cgn_rests_max(config), config->runtime.n_workers);
}

// Room for sessions of static mappings, of one worker.
static uint32_t static_sessions_for(const struct cgn_config *config)
{
	uint32_t n = share(config->runtime.max_sessions, config->runtime.n_workers) /
		STATIC_SESSIONS_SHARE;

	if (!config->n_static_mappings)
		return 0;
	return n > STATIC_SESSIONS_MIN ? n : STATIC_SESSIONS_MIN;
}

// The external ports of all static mappings, in the order of statics.external[].
static struct cgn_port_range *static_ports(const struct snapshot *s)
{
	struct cgn_port_range *ports =
		mem_take("static ports", (s->statics.n + 1) * sizeof(*ports), -1);

	for (uint32_t i = 0; ports && i < s->statics.n; i++) {
		const struct staticmap_range *r = &s->statics.external[i];

		ports[i] = (struct cgn_port_range){(uint16_t)r->first, (uint16_t)r->last};
	}
	return ports;
}

// The preset blocks of a deterministic pool's subscribers that are this worker's, by number. Marks
// in has_preset[] the addresses they are on.
static struct portblock_preset_spec *preset_specs(
	const struct worker *w, const struct cgn_det *det, bool *has_preset, uint32_t *n_specs)
{
	const uint32_t n = (uint32_t)det->subscribers.n_addresses;
	struct portblock_preset_spec *specs =
		mem_take("preset specs", (n + 1) * sizeof(*specs), -1);

	*n_specs = 0;
	for (uint32_t number = 0; specs && number < n; number++) {
		const struct cgn_det_slot slot = cgn_det_slot_of(det, number);

		if (steer_internal(w->snapshot, cgn_det_subscriber(det, number)) != w->id)
			continue;
		has_preset[slot.external] = true;
		specs[(*n_specs)++] =
			(struct portblock_preset_spec){number, slot.external, (uint16_t)slot.slot};
	}
	return specs;
}

// Of every pool what this worker owns: preset blocks in pools[], address ranges and their blocks.
static struct portblock_address_spec *block_specs(struct worker *w,
	struct portblock_pool_spec *pools, const struct cgn_port_range *ports, uint32_t *n_specs)
{
	const struct snapshot *s = w->snapshot;
	const size_t room = s->n_pool_addresses + 1;
	struct portblock_address_spec *specs = mem_take("block specs", room * sizeof(*specs), -1);
	// by number in the plan of the pool at hand
	bool *has_preset = mem_take("preset addresses", room * sizeof(*has_preset), -1);
	uint32_t *spec_of = mem_take("preset addresses", room * sizeof(*spec_of), -1);
	uint32_t n = 0, record = 0, at = 0;

	for (uint32_t p = 0; specs && has_preset && spec_of && p < s->config->n_pools; p++) {
		const struct cgn_pool *pool = &s->config->pools[p];
		struct portblock_preset_spec *presets = NULL;

		if (s->det[p]) {
			memset(has_preset, 0, room * sizeof(*has_preset));
			presets = preset_specs(w, s->det[p], has_preset, &pools[p].n_presets);
			if (!presets)
				goto err_specs;
			pools[p].det = s->det[p];
			pools[p].presets = presets;
		}
		for (; at < s->n_pool_addresses && s->pool_address[at].pool == p; at++) {
			const struct snapshot_pool_address *a = &s->pool_address[at];
			uint32_t first = 0, n_blocks, n_all;
			uint16_t first_port;

			w->address_of[at] = PORTBLOCK_NONE;
			if (a->not_lent)
				continue;
			n_all = n_blocks = snapshot_blocks(s, a, &first_port);
			if (a->split)
				steer_split(n_blocks, s->n_workers, w->id, &first, &n_blocks);
			else if (a->owner != w->id)
				n_blocks = 0;
			if (n_blocks || (presets && has_preset[a->external])) {
				w->memory_at[n] = record + first;
				w->address_of[at] = spec_of[a->external] = n;
				specs[n++] = (struct portblock_address_spec){a->address, a->pool,
					(uint16_t)(first_port + first * pool->block_size), n_blocks,
					ports + a->static_first, a->n_statics};
			}
			record += n_all;
		}
		for (uint32_t i = 0; i < pools[p].n_presets; i++)
			presets[i].address = spec_of[presets[i].address];
		if (s->det[p]) {
			w->memory_presets[p] = record;
			record += (uint32_t)s->det[p]->subscribers.n_addresses;
		}
	}
	if (!specs || !has_preset || !spec_of)
		goto err_specs;
	for (; at < s->n_pool_addresses; at++)
		w->address_of[at] = PORTBLOCK_NONE; // of static mappings alone
	mem_give(has_preset);
	mem_give(spec_of);
	*n_specs = n;
	return specs;

err_specs:
	mem_give(has_preset);
	mem_give(spec_of);
	mem_give(specs);
	return NULL;
}

static int blocks_create(struct worker *w, const struct worker_spec *spec)
{
	const struct cgn_config *config = spec->snapshot->config;
	struct portblock_pool_spec pools[CGN_POOLS_MAX] = {0};
	struct portblock_address_spec *addresses;
	struct cgn_port_range *ports;
	uint32_t n_addresses;
	int rc;

	for (uint32_t i = 0; i < config->n_pools; i++) {
		pools[i] = (struct portblock_pool_spec){.block_size = config->pools[i].block_size,
			.reserved = config->pools[i].reserved,
			.n_reserved = config->pools[i].n_reserved};
	}
	const size_t bytes = (spec->snapshot->n_pool_addresses + 1) * sizeof(uint32_t);

	w->memory_at = mem_take("block records", bytes, spec->socket);
	w->address_of = mem_take("block addresses", bytes, spec->socket);
	if (!w->memory_at || !w->address_of)
		return -1;
	ports = static_ports(spec->snapshot);
	if (!ports)
		return -1;
	addresses = block_specs(w, pools, ports, &n_addresses);
	rc = addresses ? portblocks_init(&w->blocks, pools, config->n_pools, addresses, n_addresses,
				 spec->socket)
		       : -1;
	for (uint32_t i = 0; i < config->n_pools; i++)
		mem_give((void *)(uintptr_t)pools[i].presets);
	mem_give(addresses);
	mem_give(ports);
	return rc;
}

static uint32_t random_of(void *rng)
{
	return rng_u32(rng);
}

// Workers that share external addresses give different identifications.
static void idents_create(struct worker *w, const uint64_t seed[2])
{
	bool split = false;
	uint16_t step = 1;

	for (uint32_t i = 0; i < w->snapshot->n_pool_addresses; i++)
		split = split || w->snapshot->pool_address[i].split ||
			w->snapshot->pool_address[i].ask;
	while (split && step < w->n_workers)
		step = (uint16_t)(step * 2); // a power of two divides 65536
	ident_init(&w->ident, split ? (uint16_t)w->id : 0, step, seed, random_of, &w->rng);
}

static int ipv6_create(struct worker *w, const uint64_t seed[2], int socket)
{
	const uint32_t n = neighbours6_for(w->snapshot->config);
	const size_t n_gateways = w->snapshot->routes6.n_gateways + 1;

	if (!n)
		return 0;
	w->ipv6.gateway_neigh = mem_take("gateways", n_gateways * sizeof(uint32_t), socket);
	return w->ipv6.gateway_neigh
		? neigh_init(&w->ipv6.neighbours, &nd_protocol, n, seed, socket)
		: -ENOMEM;
}

struct worker *worker_create(const struct worker_spec *spec, const char **what)
{
	const struct cgn_config *config = spec->snapshot->config;
	const uint32_t n_sessions = share(config->runtime.max_sessions, spec->n_workers);
	struct worker *w = mem_take("worker", sizeof(*w), spec->socket);
	uint64_t seed[9][2];

	*what = "worker";
	if (!w)
		return NULL;
	w->id = spec->id;
	w->n_workers = spec->n_workers;
	w->snapshot = spec->snapshot;
	w->mbufs = spec->mbufs;
	w->claims = spec->claims;
	w->timeouts = config->timeouts;
	w->now_s = 1;
	rng_init(&w->rng, spec->rng_key);
	for (unsigned i = 0; i < 9; i++) {
		for (unsigned j = 0; j < 2; j++)
			seed[i][j] = (uint64_t)rng_u32(&w->rng) << 32 | rng_u32(&w->rng);
	}
	*what = "sessions (runtime.max-sessions)";
	w->n_sessions_max = n_sessions;
	w->statics.n_sessions_max = static_sessions_for(config);
	if (flow_table_init(&w->flows, n_sessions + w->statics.n_sessions_max, w->now_s, seed[0],
		    spec->socket))
		goto err_destroy;
	*what = "static mappings";
	w->statics.sessions = mem_take("static mappings",
		(config->n_static_mappings + 1) * sizeof(uint32_t), spec->socket);
	if (!w->statics.sessions)
		goto err_destroy;
	*what = "resting ports (timeouts.hold-down-max)";
	if (rest_init(&w->rests, rests_for(config), &w->blocks, seed[1], spec->socket))
		goto err_destroy;
	*what = "subscribers (runtime.max-subscribers)";
	if (subscribers_init(&w->subscribers,
		    share(config->runtime.max_subscribers, spec->n_workers), seed[2], spec->socket))
		goto err_destroy;
	*what = "port blocks (pools)";
	if (blocks_create(w, spec))
		goto err_destroy;
	*what = "neighbours";
	if (neigh_init(
		    &w->neighbours, &arp_protocol, neighbours_for(config), seed[3], spec->socket) ||
		ipv6_create(w, seed[7], spec->socket))
		goto err_destroy;
	*what = "unsolicited SYNs";
	if (syn_init(&w->syns, seed[4], spec->socket))
		goto err_destroy;
	*what = "fragments";
	if (fragmap_init(&w->frags, seed[5], spec->socket))
		goto err_destroy;
	idents_create(w, seed[6]);
	memcpy(w->icmp_seed, seed[8], sizeof(w->icmp_seed));
	*what = "gateways";
	w->gateway_neigh = mem_take(
		"gateways", (spec->snapshot->n_gateways + 1) * sizeof(uint32_t), spec->socket);
	w->adjacency = mem_take("adjacencies",
		(spec->snapshot->n_gateways + 1) * sizeof(*w->adjacency), spec->socket);
	if (!w->gateway_neigh || !w->adjacency)
		goto err_destroy;
	w->fast = fast_pick(FAST_LEVELS, NULL);
	overload_init(&w->overload);
	return w;

err_destroy:
	worker_destroy(w);
	return NULL;
}

void worker_destroy(struct worker *w)
{
	if (!w)
		return;
	if (w->neighbours.neigh)
		worker_drop_held(w);
	flow_table_fini(&w->flows);
	rest_fini(&w->rests);
	syn_fini(&w->syns);
	subscribers_fini(&w->subscribers);
	portblocks_fini(&w->blocks);
	neigh_fini(&w->neighbours);
	neigh_fini(&w->ipv6.neighbours);
	mem_give(w->ipv6.gateway_neigh);
	mem_give(w->statics.sessions);
	fragmap_fini(&w->frags);
	mem_give(w->gateway_neigh);
	mem_give(w->adjacency);
	mem_give(w->memory_at);
	mem_give(w->address_of);
	mem_give(w);
}

// Port blocks of one pool, preset ones not counted, and those. False when memory is short.
static bool blocks_of_pool(
	const struct cgn_config *config, uint32_t p, uint64_t *n_blocks, uint64_t *n_presets)
{
	const struct cgn_pool *pool = &config->pools[p];
	struct cgn_det *det;
	uint64_t n = 0;
	uint16_t first;

	*n_blocks = *n_presets = 0;
	if (pool->allocation == CGN_ALLOCATION_DYNAMIC) {
		for (uint32_t i = 0; i < pool->n_ranges; i++)
			n += pool->ranges[i].last - pool->ranges[i].first + 1;
		*n_blocks = n * ((pool->ports.last - pool->ports.first + 1u) / pool->block_size);
		return true;
	}
	det = cgn_det_create(config, p);
	if (!det)
		return false;
	for (uint32_t e = 0; e < det->external.n_addresses; e++)
		*n_blocks += cgn_det_blocks(det, e, &first);
	*n_presets = det->subscribers.n_addresses;
	cgn_det_destroy(det);
	return true;
}

uint32_t cgn_dataplane_blocks(const struct cgn_config *config)
{
	uint64_t n = 0, n_blocks, n_presets;

	for (uint32_t p = 0; p < config->n_pools; p++) {
		if (!blocks_of_pool(config, p, &n_blocks, &n_presets))
			return 0; // worker_restore() says that they are too few
		n += n_blocks + n_presets;
	}
	return (uint32_t)n;
}

uint64_t cgn_dataplane_table_bytes(const struct cgn_config *config)
{
	const uint32_t n_workers = config->runtime.n_workers;
	const uint32_t n_sessions = share(config->runtime.max_sessions, n_workers);
	uint64_t each = sizeof(struct worker) +
		flow_table_bytes(n_sessions + static_sessions_for(config)) +
		(config->n_static_mappings + 1ull) * sizeof(uint32_t) +
		rest_bytes(rests_for(config)) +
		subscribers_bytes(share(config->runtime.max_subscribers, n_workers)) +
		neigh_bytes(neighbours_for(config)) + syn_bytes() + fragmap_bytes();
	uint64_t blocks = 0, n_blocks, n_presets;

	if (neighbours6_for(config))
		each += neigh_bytes(neighbours6_for(config));
	for (uint32_t p = 0; p < config->n_pools; p++) {
		const struct cgn_pool *pool = &config->pools[p];

		if (blocks_of_pool(config, p, &n_blocks, &n_presets))
			blocks += n_blocks * portblock_bytes(pool->block_size) +
				n_presets *
					(portblock_bytes(pool->deterministic.ports) +
						sizeof(uint32_t));
	}
	return n_workers * each + blocks + (n_workers > 1 ? claims_bytes(n_workers) : 0);
}

// ---- the loop

void worker_clock(struct worker *w, uint64_t now_ns)
{
	uint32_t now_s = (uint32_t)(now_ns / 1000000000u) + 1;

	w->now_ns = now_ns;
	if (now_s != w->now_s) {
		w->now_s = now_s;
		w->wall_offset_s = (int64_t)time(NULL) - now_s; // once a second, vDSO
	}
}

static void ipv6_begin(struct worker *w)
{
	struct neigh_table *t = &w->ipv6.neighbours;

	for (uint32_t i = 0; i < w->snapshot->n_interfaces; i++)
		w->ipv6.link_local[i] = cgn_ipv6_link_local(w->port[i].mac);
	for (uint32_t i = 0; i < w->snapshot->routes6.n_gateways; i++) {
		const struct gateway6 *g = &w->snapshot->routes6.gateway[i];

		w->ipv6.gateway_neigh[i] = neigh_get(w, t, g->ifc, ipv6_neigh_address(&g->address));
		t->neigh[w->ipv6.gateway_neigh[i]].pinned = true;
	}
}

void worker_begin(struct worker *w, uint64_t now_ns)
{
	w->now_s = 0;
	worker_clock(w, now_ns);
	timers_begin(&w->flows.timers, w->now_s);
	w->statics.since_s = w->now_s;
	for (uint32_t i = 0; i < w->snapshot->n_gateways; i++) {
		const struct gateway *g = &w->snapshot->gateway[i];

		w->gateway_neigh[i] = neigh_get(w, &w->neighbours, g->ifc, NEIGH_IPV4(g->address));
		w->neighbours.neigh[w->gateway_neigh[i]].pinned = true;
	}
	ipv6_begin(w);
}

static void publish_gauges(struct worker *w)
{
	struct cgn_counters *c = &w->counters;
	uint64_t held = w->neighbours.n_waiting + w->ipv6.neighbours.n_waiting +
		fragmap_n_held(&w->frags) + w->n_loop;
	uint64_t lent = 0, resting = 0;

	for (uint32_t i = 0; w->ring_in && i < w->n_workers; i++) {
		if (w->ring_in[i])
			held += rte_ring_count(w->ring_in[i]);
	}
	c->held = held;
	c->sessions = w->flows.n_used;
	c->static_sessions = w->statics.n_sessions;
	c->mappings = w->flows.n_mappings - w->statics.n_heads;
	c->subscribers = w->subscribers.n_active;
	c->ports_resting = w->rests.n_live;
	c->neighbours = w->neighbours.n + w->ipv6.neighbours.n;
	c->fragments_held = fragmap_n_held(&w->frags);
	c->fragmented_datagrams = w->frags.n;
	for (uint32_t i = 0; i < w->blocks.n_pools; i++) {
		const struct portblock_pool *p = &w->blocks.pool[i];

		lent += p->n_lent + p->n_presets_lent;
		resting += p->n_resting + p->n_presets_resting;
		c->pools[i] = (struct cgn_pool_gauges){p->n_total + p->n_presets,
			p->n_lent + p->n_presets_lent, p->n_resting + p->n_presets_resting,
			p->n_ports_used, p->n_presets, p->n_presets_lent, p->n_presets_resting};
	}
	c->blocks = lent;
	c->blocks_held = resting;
}

// *full: there may be more.
static unsigned receive(struct worker *w, uint8_t ifc, bool *full)
{
	struct worker_port *port = &w->port[ifc];
	struct cgn_interface_counters *c = &w->counters.interfaces[ifc];
	struct rte_mbuf *m[BATCH_MAX];
	unsigned n = 0, got;
	uint64_t bytes = 0;

	do {
		got = port->rx(port->rx_ctx, m + n, BURST_MAX);
		n += got;
	} while (got == BURST_MAX && n <= BATCH_MAX - BURST_MAX);
	if (!n)
		return 0;
	*full = *full || n == BATCH_MAX;
	for (unsigned i = 0; i < n; i++)
		bytes += m[i]->pkt_len;
	c->rx_packets += n;
	c->rx_bytes += bytes;
	w->counters.rx_packets += n;
	w->counters.rx_bytes += bytes;
	stage_mark(w, STAGE_RECEIVE);
	path_frames(w, m, n, ifc, false);
	return n;
}

// Sessions that a round looks at. Where no port may begin its rest any more, each end also cuts the
// oldest rest short: as much work again.
static uint32_t upkeep_flows(const struct worker *w)
{
	return w->rests.n_max - w->rests.n_held >= UPKEEP_FLOWS ? UPKEEP_FLOWS : UPKEEP_FLOWS / 2;
}

static uint32_t upkeep(struct worker *w)
{
	const uint32_t flows = upkeep_flows(w);
	// One round is short. As much as was made since the last turn ends on top of that, so that what
	// runs out never queues up behind what is made.
	const uint64_t made = w->counters.sessions_created - w->upkeep_made;
	const uint32_t rounds = 1 + (uint32_t)((made + flows - 1) / flows);
	uint32_t n = 0;

	w->upkeep_made = w->counters.sessions_created;
	for (uint32_t i = 0, got = flows; i < rounds && got == flows; i++)
		n += got = session_upkeep(w, flows);
	for (uint32_t i = 0, got = 1; i < rounds && got; i++)
		n += got = lease_upkeep(w, UPKEEP_RESTS, UPKEEP_BLOCKS);
	n += icmp_upkeep(w, UPKEEP_SYNS);
	n += frag_upkeep(w, UPKEEP_FRAGS);
	neigh_upkeep(w, &w->neighbours, UPKEEP_NEIGHBOURS);
	neigh_upkeep(w, &w->ipv6.neighbours, UPKEEP_NEIGHBOURS);
	return n + walk_upkeep(w);
}

static void flush(struct worker *w)
{
	if (w->n_loop)
		path_loop(w);
	for (uint32_t i = 0; i < w->snapshot->n_interfaces; i++) {
		if (w->port[i].n_tx)
			forward_flush(w, (uint8_t)i);
	}
	if (w->n_workers > 1)
		handoff_flush(w);
}

unsigned worker_poll(struct worker *w, uint64_t now_ns)
{
	unsigned n = 0, kept;
	bool full = false;

	stage_mark(w, STAGE_OUTSIDE);
	worker_clock(w, now_ns);
	for (uint32_t i = 0; i < w->snapshot->n_interfaces; i++) {
		if (w->port[i].rx)
			n += receive(w, (uint8_t)i, &full);
	}
	for (uint32_t i = 0; w->n_workers > 1 && i < w->n_workers; i++) {
		if (w->ring_in[i])
			n += handoff_receive(w, i, &full);
	}
	stage_mark(w, STAGE_HANDOFF);
	overload_turn(&w->overload, full, now_ns);
	kept = upkeep(w);
	stage_mark(w, STAGE_UPKEEP);
	flush(w);
	stage_mark(w, STAGE_TRANSMIT);
	if (n || kept || w->counters.held || w->gauges_s != w->now_s) {
		w->gauges_s = w->now_s;
		publish_gauges(w);
	}
	stage_mark(w, STAGE_GAUGES);
	return n + kept;
}

void worker_drop_held(struct worker *w)
{
	neigh_drop_all(w, &w->neighbours);
	neigh_drop_all(w, &w->ipv6.neighbours);
	frag_drop_all(w);
	for (; w->n_loop; w->n_loop--)
		worker_drop(
			w, w->loop[w->n_loop - 1], CGN_DROP_STOPPED, w->loop_ifc[w->n_loop - 1]);
	for (uint32_t i = 0; i < w->snapshot->n_interfaces; i++) {
		struct worker_port *port = &w->port[i];

		for (; port->n_tx; port->n_tx--)
			worker_drop(w, port->txbuf[port->n_tx - 1], CGN_DROP_STOPPED, (uint8_t)i);
	}
	for (uint32_t i = 0; w->ring_in && i < w->n_workers; i++) {
		if (w->ring_in[i])
			handoff_drop_all(w, i);
	}
	publish_gauges(w);
}

static bool is_waited_for(const struct worker *w)
{
	if (w->counters.held || (w->walk_ring && !rte_ring_empty(w->walk_ring)))
		return true;
	for (uint32_t i = 0; w->ring_in && i < w->n_workers; i++) {
		if (w->ring_in[i] && !rte_ring_empty(w->ring_in[i]))
			return true;
	}
	return false;
}

uint32_t worker_rest(struct worker *w, unsigned n, uint64_t now_ns)
{
	return idle_turn(&w->idle, n || is_waited_for(w), now_ns);
}

static void busy_account(struct worker *w, uint64_t begin, uint64_t end, bool busy, uint64_t hz)
{
	if (busy)
		w->busy_tsc += end - begin;
	if (end - w->busy_since_tsc < hz)
		return;
	w->counters.busy_permille = w->busy_tsc * 1000 / (end - w->busy_since_tsc);
	w->counters.asleep_permille = w->asleep_tsc * 1000 / (end - w->busy_since_tsc);
	w->busy_tsc = w->asleep_tsc = 0;
	w->busy_since_tsc = end;
}

static void sleep_for(struct worker *w, uint32_t ns)
{
	const uint64_t begin = rte_rdtsc();

	nanosleep(&(struct timespec){0, ns}, NULL);
	w->asleep_tsc += rte_rdtsc() - begin;
	w->counters.idle_sleeps++;
}

int worker_main(void *arg)
{
	struct worker *w = arg;
	const uint64_t hz = rte_get_tsc_hz();
	const double ns_per_tsc = 1e9 / (double)hz;
	const uint64_t start = rte_rdtsc();
	uint64_t now = start, now_ns = 0;

	if (w->idle.relax)
		prctl(PR_SET_TIMERSLACK, 1); // the kernel adds 50 us to a sleep otherwise
	worker_begin(w, 0);
	w->busy_since_tsc = start;
	while (!atomic_load_explicit(w->stop, memory_order_relaxed)) {
		const unsigned n = worker_poll(w, now_ns);
		const uint64_t end = rte_rdtsc();
		uint32_t rest;

		busy_account(w, now, end, n, hz);
		now = end;
		now_ns = (uint64_t)((double)(now - start) * ns_per_tsc);
		if (!w->idle.relax)
			continue;
		rest = worker_rest(w, n, now_ns);
		if (rest == IDLE_PAUSE) {
			rte_pause();
		} else if (rest) {
			sleep_for(w, rest);
			now = rte_rdtsc();
			now_ns = (uint64_t)((double)(now - start) * ns_per_tsc);
		}
	}
	return 0;
}
