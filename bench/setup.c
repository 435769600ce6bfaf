// SPDX-License-Identifier: BSD-3-Clause
#include "setup.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include "options.h"
#include "policies.h"

#define MBUFS_PER_WORKER 16383 // two interfaces' worth of AHEAD_MAX and a turn's
// with its header and padding; without hugepages no two of them share a page
#define MBUF_BYTES (opt.hugepages ? 2752ull : 4160ull)
#define POOL_BYTES (4ull << 20) // caches of all lcores
#define SUBSCRIBERS_FIRST 0x64400000u // 100.64.0.0/10
#define POOL_FIRST 0xcb007100u // 203.0.113.0 and on

_Noreturn void fail(const char *what)
{
	fprintf(stderr, "cgnat-bench: %s\n", what);
	exit(1);
}

// ---- the daemon's config, in memory

#define GATEWAY_INSIDE 0x0aff0002u // 10.255.0.2
#define GATEWAY_OUTSIDE 0xc0000201u // 192.0.2.1
static struct cgn_prefix inside_address = {0x0aff0001, 30}; // 10.255.0.1/30
static struct cgn_route inside_route = {{SUBSCRIBERS_FIRST, 10}, GATEWAY_INSIDE};
static struct cgn_prefix outside_address = {0xc0000202, 24}; // 192.0.2.2/24
static struct cgn_route outside_route = {{0, 0}, GATEWAY_OUTSIDE};
static struct cgn_address_range pool_range;
static struct cgn_interface interfaces[2] = {{.name = "inside",
						     .role = CGN_INTERNAL,
						     .addresses = &inside_address,
						     .n_addresses = 1,
						     .mtu = 1500,
						     .routes = &inside_route,
						     .n_routes = 1},
	{.name = "outside",
		.role = CGN_EXTERNAL,
		.addresses = &outside_address,
		.n_addresses = 1,
		.mtu = 1500,
		.routes = &outside_route,
		.n_routes = 1}};
static struct cgn_pool pool;
static struct cgn_policy policy;
static struct cgn_prefix policy_source = {SUBSCRIBERS_FIRST, 10};

static uint32_t ports_per(void)
{
	return (uint32_t)((opt.mappings + opt.subscribers - 1) / opt.subscribers);
}

static void make_config(struct cgn_config *c)
{
	// subscribers fall to workers by a hash: six standard deviations above the mean
	const uint32_t uneven = opt.workers > 1
		? (uint32_t)(6 * sqrt((double)opt.subscribers / opt.workers) + 1) * opt.workers
		: 0;
	uint32_t block = 16, blocks_per, per_address, n_addresses;

	while (block < ports_per())
		block *= 2;
	block = opt.block_size ? opt.block_size : block;
	blocks_per = (ports_per() + block - 1) / block;
	per_address = 64512 / block / blocks_per;
	// a little more than needed, and whole addresses for every worker
	n_addresses = (opt.subscribers + uneven + per_address - 1) / per_address;
	if (opt.pool_percent)
		n_addresses = n_addresses * 100 / opt.pool_percent;
	else
		n_addresses += n_addresses / 8 + opt.workers;
	n_addresses = (n_addresses + opt.workers - 1) / opt.workers * opt.workers;
	pool_range = (struct cgn_address_range){POOL_FIRST, POOL_FIRST + n_addresses - 1};
	pool = (struct cgn_pool){.name = "pool",
		.ranges = &pool_range,
		.n_ranges = 1,
		.ports = {1024, 65535},
		.block_size = (uint16_t)block,
		.max_blocks = (uint16_t)blocks_per};
	policy = (struct cgn_policy){.name = "all",
		.sources = &policy_source,
		.n_sources = 1,
		.action = CGN_TRANSLATE,
		.hairpin = true};
	memset(c, 0, sizeof(*c));
	c->runtime.n_workers = opt.workers;
	// hairpins are further sessions, one on either side
	c->runtime.max_sessions =
		(uint32_t)(opt.mappings * (opt.direction == DIRECTION_HAIRPIN ? 4 : 1) +
			64 * opt.workers + (uint64_t)uneven * ports_per());
	c->runtime.max_subscribers = opt.subscribers + uneven + 64 * opt.workers;
	c->interfaces = interfaces;
	c->n_interfaces = 2;
	c->pools = &pool;
	c->n_pools = 1;
	policies_make(c, &policy);
	c->timeouts = (struct cgn_timeouts){.udp = 300,
		.tcp_established = 7440,
		.tcp_opening = 240,
		.tcp_closing = 240,
		.icmp = 60,
		.portless = 300,
		.hold_down = 120,
		.fragment = 2};
	c->icmp_errors_per_s = 100;
	if (opt.mode == MODE_FULL) // nothing but what is opened comes back
		c->icmp_refused = CGN_REFUSED_OFF;
	c->icmp_errors_per_host = 10;
}

// ---- DPDK

static void start_eal(const struct cgn_config *config)
{
	char lcores[CGN_WORKERS_MAX * 12 + 16], memory[32];
	char *argv[16] = {"cgnat-bench", "--no-pci", "--no-telemetry", "--iova-mode=va",
		"--log-level=warning", lcores, "-m", memory};
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t bytes = cgn_dataplane_table_bytes(config) +
		cgn_dataplane_blocks(config) * sizeof(struct cgn_block_record) +
		opt.mappings * sizeof(struct external) +
		opt.workers * ((MBUFS_PER_WORKER + 1) * MBUF_BYTES + POOL_BYTES) + (64ull << 20);
	int argc = 8, at = snprintf(lcores, sizeof(lcores), "--lcores=0@0");

	for (uint32_t i = 1; i <= opt.workers; i++) {
		at += snprintf(lcores + at, sizeof(lcores) - (size_t)at, ",%u@%ld", i,
			n_cpus > 1 ? (long)i % n_cpus : 0);
	}
	bytes += bytes / 16;
	snprintf(memory, sizeof(memory), "%u", (unsigned)(bytes >> 20) + 1);
	if (opt.hugepages) {
		argv[argc++] = "--in-memory";
	} else {
		argv[argc++] = "--no-huge";
		argv[argc++] = "--no-shconf";
	}
	if (rte_eal_init(argc, argv) < 0) {
		fprintf(stderr, "cgnat-bench: DPDK does not start with %s MB%s\n", memory,
			opt.hugepages ? " of hugepages (sysctl vm.nr_hugepages)" : "");
		exit(1);
	}
}

// ---- workers

static struct rte_ring *ring[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
static struct rte_ring *ring_in[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
static struct cgn_block_memory block_memory;

static void make_rings(void)
{
	char name[32];

	for (uint32_t i = 0; i < opt.workers; i++) {
		for (uint32_t j = 0; j < opt.workers; j++) {
			if (i == j)
				continue;
			snprintf(name, sizeof(name), "handoff%u-%u", i, j);
			ring[i][j] = rte_ring_create(
				name, HANDOFF_RING, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
			if (!ring[i][j])
				fail("no memory for rings");
			ring_in[j][i] = ring[i][j];
		}
	}
}

// The daemon keeps one in a file; the workers write it in the same way.
static void make_block_memory(const struct cgn_config *config)
{
	block_memory.n_records = cgn_dataplane_blocks(config);
	block_memory.records = rte_zmalloc(
		"block records", (block_memory.n_records + 1) * sizeof(*block_memory.records), 64);
	if (!block_memory.records)
		fail("no memory for block records");
}

static void make_port(struct worker_port *p)
{
	static const uint8_t ethertype[2] = {0x08, 0x00};

	memcpy(p->mac, frame_mac_ours, 6);
	p->l2_len = 14;
	memcpy(p->l2_tail, ethertype, 2);
}

// The same worker every time, from its memory to its seed; l->worker is NULL or there no more.
static void make_worker(struct load *l, uint32_t id, const struct snapshot *snapshot)
{
	struct worker_spec spec = {.id = id,
		.n_workers = opt.workers,
		.snapshot = snapshot,
		.mbufs = l->mbufs,
		.socket = SOCKET_ID_ANY};
	uint8_t key[32] = {(uint8_t)(id + 1), 7};
	const char *what;

	spec.rng_key = key;
	l->worker = worker_create(&spec, &what);
	if (!l->worker || worker_restore(l->worker, &block_memory, 0)) {
		fprintf(stderr, "cgnat-bench: no memory for %s\n", what);
		exit(1);
	}
	l->worker->ring_out = ring[id];
	l->worker->ring_in = ring_in[id];
	make_port(&l->worker->port[0]);
	make_port(&l->worker->port[1]);
	load_ports(l);
}

static void make_load(struct load *l, uint32_t id, const struct snapshot *snapshot)
{
	char name[32];

	snprintf(name, sizeof(name), "packets%u", id);
	l->mbufs = rte_pktmbuf_pool_create(
		name, MBUFS_PER_WORKER, 512, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!l->mbufs)
		fail("no memory for packets");
	make_worker(l, id, snapshot);
	load_init(l, id, ports_per());
	l->gateway[SIDE_INTERNAL] = GATEWAY_INSIDE;
	l->gateway[SIDE_EXTERNAL] = GATEWAY_OUTSIDE;
	l->sub = calloc(opt.subscribers, sizeof(*l->sub));
	if (!l->sub)
		fail("out of memory");
}

void setup_renew(struct setup *s, struct load *l)
{
	const uint32_t id = l->worker->id;

	worker_destroy(l->worker);
	memset(block_memory.records, 0, block_memory.n_records * sizeof(*block_memory.records));
	memset(l->external, 0, l->n * sizeof(*l->external));
	make_worker(l, id, s->snapshot);
	load_again(l);
	worker_begin(l->worker, 0);
}

// Every subscriber to the worker that owns it; mappings follow.
static void share_out(struct setup *s)
{
	for (uint32_t i = 0; i < opt.subscribers; i++) {
		uint32_t address = SUBSCRIBERS_FIRST + 16 + i;
		struct load *l = &s->load[steer_internal(s->snapshot, address)];

		l->sub[l->n_subs++] = address;
	}
	for (uint32_t i = 0; i < opt.workers; i++) {
		struct load *l = &s->load[i];

		if (!l->n_subs)
			fail("a worker has no subscriber: take more subscribers, or fewer workers");
		l->n = (uint64_t)l->n_subs * l->ports_per;
		if (opt.workers == 1 && l->n > opt.mappings)
			l->n = opt.mappings;
		l->n_live = l->n;
		l->external = rte_zmalloc("externals", (l->n + 1) * sizeof(*l->external), 64);
		if (!l->external)
			fail("no memory for what is expected");
	}
}

void setup_create(struct setup *s)
{
	make_config(&s->config);
	start_eal(&s->config);
	s->snapshot = snapshot_create(&s->config, STEER_PLAN_SOFTWARE);
	if (!s->snapshot)
		fail("out of memory");
	make_rings();
	make_block_memory(&s->config);
	for (uint32_t i = 0; i < opt.workers; i++)
		make_load(&s->load[i], i, s->snapshot);
	share_out(s);
}

void setup_destroy(struct setup *s)
{
	for (uint32_t i = 0; i < opt.workers; i++) {
		worker_destroy(s->load[i].worker);
		free(s->load[i].sub);
	}
	snapshot_destroy(s->snapshot);
	rte_eal_cleanup();
}
