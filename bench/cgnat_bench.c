// SPDX-License-Identifier: BSD-3-Clause
// cgnat-bench: how fast the worker code is, without a NIC. Fills N mappings, then translates packets
// of random ones, made in memory when the worker receives and checked when it transmits; both are
// taken out of the time. See "Numbers" in the README.
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_malloc.h>
#include "dataplane/handoff.h"
#include "load.h"

#define WINDOWS 5 // the median of so many is reported
#define MBUFS_PER_WORKER 8191
#define SUBSCRIBERS_FIRST 0x64400000u // 100.64.0.0/10
#define SUBSCRIBERS_MAX (1u << 22)
#define POOL_FIRST 0xcb007100u // 203.0.113.0 and on

struct options {
	enum direction direction;
	uint64_t mappings;
	uint32_t subscribers, packet_size, workers, burst;
	double seconds;
	bool new, json, hugepages, tcp;
};

struct result {
	double cycles[WINDOWS], cycles_per_packet, mpps, new_per_second;
	uint64_t drops, wrong, missing, latency[3];
};

static struct options opt = {
	.direction = DIRECTION_OUT,
	.mappings = 64512,
	.packet_size = 64,
	.workers = 1,
	.burst = BATCH_MAX,
	.seconds = 2,
};
static struct load load[CGN_WORKERS_MAX];
static struct rte_ring *ring[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
static struct rte_ring *ring_in[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
static struct result result[CGN_WORKERS_MAX];

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "cgnat-bench: %s\n", what);
	exit(1);
}

// ---- arguments

static _Noreturn void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"usage: cgnat-bench [options]\n"
		"  --direction out|in|mix|hairpin   which way packets go (out)\n"
		"  --mappings N        mappings to fill in first, 1..20000000 (64512)\n"
		"  --subscribers N     subscribers they belong to (mappings / 63)\n"
		"  --packet-size B     bytes on the wire, FCS included, 64..1518 (64)\n"
		"  --workers N         workers, each on its own lcore, 1..32 (1)\n"
		"  --burst N           frames a worker finds at each turn, 1..256 (256)\n"
		"  --seconds S         measuring time (2)\n"
		"  --tcp               TCP instead of UDP\n"
		"  --new               measure how fast new mappings are made\n"
		"  --hugepages         memory from hugepages; without it, figures are not comparable\n"
		"  --json              one JSON object\n");
	exit(code);
}

static uint64_t number(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || n < min || n > max) {
		fprintf(stderr,
			"cgnat-bench: %s: %s is not a number from %" PRIu64 " to %" PRIu64 "\n",
			name, text, min, max);
		exit(2);
	}
	return n;
}

static const char *const direction_names[] = {"out", "in", "mix", "hairpin"};

static void parse_direction(const char *text)
{
	for (unsigned i = 0; i < 4; i++) {
		if (!strcmp(text, direction_names[i])) {
			opt.direction = (enum direction)i;
			return;
		}
	}
	fprintf(stderr, "cgnat-bench: --direction: %s is none of out, in, mix, hairpin\n", text);
	exit(2);
}

static double parse_seconds(const char *text)
{
	char *end;
	double s = strtod(text, &end);

	if (*end || end == text || !(s > 0 && s <= 3600)) {
		fprintf(stderr, "cgnat-bench: --seconds: %s is not a time up to 3600 s\n", text);
		exit(2);
	}
	return s;
}

static void parse_args(int argc, char **argv)
{
	static const struct option options[] = {{"direction", 1, NULL, 'd'},
		{"mappings", 1, NULL, 'm'}, {"subscribers", 1, NULL, 's'},
		{"packet-size", 1, NULL, 'p'}, {"workers", 1, NULL, 'w'}, {"burst", 1, NULL, 'b'},
		{"seconds", 1, NULL, 't'}, {"tcp", 0, NULL, 'T'}, {"new", 0, NULL, 'n'},
		{"hugepages", 0, NULL, 'H'}, {"json", 0, NULL, 'j'}, {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0}};

	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'd':
			parse_direction(optarg);
			break;
		case 'm':
			opt.mappings = number("--mappings", optarg, 1, 20000000);
			break;
		case 's':
			opt.subscribers =
				(uint32_t)number("--subscribers", optarg, 1, SUBSCRIBERS_MAX / 2);
			break;
		case 'p':
			opt.packet_size = (uint32_t)number("--packet-size", optarg, 64, 1518);
			break;
		case 'w':
			opt.workers = (uint32_t)number("--workers", optarg, 1, CGN_WORKERS_MAX);
			break;
		case 'b':
			opt.burst = (uint32_t)number("--burst", optarg, 1, BATCH_MAX);
			break;
		case 't':
			opt.seconds = parse_seconds(optarg);
			break;
		case 'T':
			opt.tcp = true;
			break;
		case 'n':
			opt.new = true;
			break;
		case 'H':
			opt.hugepages = true;
			break;
		case 'j':
			opt.json = true;
			break;
		case 'h':
			usage(0);
		default:
			usage(2);
		}
	}
	if (optind < argc)
		usage(2);
	if (!opt.subscribers)
		opt.subscribers = (uint32_t)((opt.mappings + 62) / 63);
	if (opt.subscribers > opt.mappings)
		opt.subscribers = (uint32_t)opt.mappings;
	if (opt.mappings / opt.subscribers > 16384) {
		fprintf(stderr,
			"cgnat-bench: --subscribers: %u are too few, 16384 mappings each at most\n",
			opt.subscribers);
		exit(2);
	}
}

// ---- the daemon's config, in memory

static struct cgn_prefix inside_address = {0x0aff0001, 30}; // 10.255.0.1/30
static struct cgn_route inside_route = {{SUBSCRIBERS_FIRST, 10}, 0x0aff0002};
static struct cgn_prefix outside_address = {0xc0000202, 24}; // 192.0.2.2/24
static struct cgn_route outside_route = {{0, 0}, 0xc0000201};
static struct cgn_address_range pool_range;
static struct cgn_interface interfaces[2];
static struct cgn_pool pool;
static struct cgn_policy policy;
static struct cgn_prefix policy_source = {SUBSCRIBERS_FIRST, 10};

static uint32_t ports_per(void)
{
	return (uint32_t)((opt.mappings + opt.subscribers - 1) / opt.subscribers);
}

static void make_config(struct cgn_config *c)
{
	uint32_t block = 16, per_address, n_addresses;

	while (block < ports_per())
		block *= 2;
	per_address = 64512 / block;
	// a little more than needed, and whole addresses for every worker
	n_addresses = (opt.subscribers + per_address - 1) / per_address;
	n_addresses = (n_addresses + n_addresses / 8 + opt.workers) / opt.workers * opt.workers +
		opt.workers;
	pool_range = (struct cgn_address_range){POOL_FIRST, POOL_FIRST + n_addresses - 1};
	interfaces[0] = (struct cgn_interface){.name = "inside",
		.role = CGN_INTERNAL,
		.addresses = &inside_address,
		.n_addresses = 1,
		.mtu = 1500,
		.routes = &inside_route,
		.n_routes = 1};
	interfaces[1] = (struct cgn_interface){.name = "outside",
		.role = CGN_EXTERNAL,
		.addresses = &outside_address,
		.n_addresses = 1,
		.mtu = 1500,
		.routes = &outside_route,
		.n_routes = 1};
	pool = (struct cgn_pool){.name = "pool",
		.ranges = &pool_range,
		.n_ranges = 1,
		.ports = {1024, 65535},
		.block_size = (uint16_t)block,
		.max_blocks = 1};
	policy = (struct cgn_policy){.name = "all",
		.sources = &policy_source,
		.n_sources = 1,
		.action = CGN_TRANSLATE,
		.hairpin = true};
	memset(c, 0, sizeof(*c));
	c->runtime.n_workers = opt.workers;
	// hairpins are further sessions, one on either side; the last eighth is not for inbound ones
	c->runtime.max_sessions =
		(uint32_t)(opt.mappings * (opt.direction == DIRECTION_HAIRPIN ? 4 : 1) +
			64 * opt.workers + (opt.workers > 1 ? opt.mappings / 8 : 0));
	c->runtime.max_subscribers = opt.subscribers + opt.subscribers / 8 + 64;
	c->interfaces = interfaces;
	c->n_interfaces = 2;
	c->pools = &pool;
	c->n_pools = 1;
	c->policies = &policy;
	c->n_policies = 1;
	c->timeouts = (struct cgn_timeouts){300, 7440, 240, 240, 60, 120, 2, false};
	c->icmp_errors_per_s = 100;
}

// ---- set-up

static void start_eal(const struct cgn_config *config)
{
	char lcores[CGN_WORKERS_MAX * 12 + 16], memory[32];
	char *argv[16] = {"cgnat-bench", "--no-pci", "--no-telemetry", "--iova-mode=va",
		"--log-level=warning", lcores, "-m", memory};
	long n_cpus = sysconf(_SC_NPROCESSORS_ONLN);
	uint64_t bytes = cgn_dataplane_table_bytes(config) +
		opt.mappings * sizeof(struct external) + LATENCY_NS_MAX * 4ull * opt.workers +
		opt.workers * (MBUFS_PER_WORKER + 1) * 2560ull + (64ull << 20);
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

static void make_port(struct worker_port *p, burst_fn rx, burst_fn tx, struct load *l)
{
	static const uint8_t ethertype[2] = {0x08, 0x00};

	p->rx = rx;
	p->tx = tx;
	p->rx_ctx = p->tx_ctx = l;
	memcpy(p->mac, load_mac_ours, 6);
	p->l2_len = 14;
	memcpy(p->l2_tail, ethertype, 2);
}

static void make_worker(uint32_t id, const struct snapshot *snapshot)
{
	struct load *l = &load[id];
	struct worker_spec spec = {
		.id = id, .n_workers = opt.workers, .snapshot = snapshot, .socket = SOCKET_ID_ANY};
	uint8_t key[32] = {(uint8_t)(id + 1), 7}; // the same run every time
	const char *what;
	char name[32];

	snprintf(name, sizeof(name), "packets%u", id);
	spec.mbufs = rte_pktmbuf_pool_create(
		name, MBUFS_PER_WORKER, 512, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	spec.rng_key = key;
	l->worker = spec.mbufs ? worker_create(&spec, &what) : NULL;
	if (!l->worker)
		fail("no memory for the tables");
	l->worker->ring_out = ring[id];
	l->worker->ring_in = ring_in[id];
	make_port(&l->worker->port[0], load_rx_internal, load_tx_internal, l);
	make_port(&l->worker->port[1], load_rx_external, load_tx_external, l);
	l->direction = opt.direction;
	l->ports_per = ports_per();
	l->packet_size = opt.packet_size;
	l->burst = opt.burst;
	l->tcp = opt.tcp;
	l->rnd = 0x9e3779b97f4a7c15ull + id;
	l->ns_per_tsc = 1e9 / (double)rte_get_tsc_hz();
	l->sub = calloc(opt.subscribers, sizeof(*l->sub));
	if (!l->sub)
		fail("out of memory");
}

// Every subscriber to the worker that owns it; mappings follow.
static void share_out(const struct snapshot *snapshot)
{
	for (uint32_t i = 0; i < opt.subscribers; i++) {
		uint32_t address = SUBSCRIBERS_FIRST + 16 + i;
		struct load *l = &load[steer_internal(snapshot, address)];

		l->sub[l->n_subs++] = address;
	}
	for (uint32_t i = 0; i < opt.workers; i++) {
		struct load *l = &load[i];

		l->n = (uint64_t)l->n_subs * l->ports_per;
		if (opt.workers == 1 && l->n > opt.mappings)
			l->n = opt.mappings;
		l->external = rte_zmalloc("externals", (l->n + 1) * sizeof(*l->external), 64);
		l->latency = rte_zmalloc("latency", LATENCY_NS_MAX * sizeof(*l->latency), 64);
		if (!l->external || !l->latency)
			fail("no memory for what is expected");
	}
}

// ---- the run of one worker

static uint64_t now_ns(const struct load *l, uint64_t start)
{
	return (uint64_t)((double)(rte_rdtsc() - start) * l->ns_per_tsc);
}

static void fill(struct load *l, uint64_t start, uint64_t end)
{
	l->fill_end = end;
	while (l->fill_at < l->fill_end)
		load_poll(l, now_ns(l, start));
	load_poll(l, now_ns(l, start));
}

static void measure_new(struct load *l, struct result *r, uint64_t start)
{
	uint64_t begin, made, tsc;

	// the last quarter, into a table that is three quarters full
	fill(l, start, l->n - l->n / 4);
	made = l->worker->counters.mappings_created;
	l->aside_tsc = 0;
	begin = rte_rdtsc();
	fill(l, start, l->n);
	tsc = rte_rdtsc() - begin - l->aside_tsc;
	made = l->worker->counters.mappings_created - made;
	r->new_per_second = made ? (double)made * (double)rte_get_tsc_hz() / (double)tsc : 0;
	r->cycles_per_packet = made ? (double)tsc / (double)made : 0;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void measure_steady(struct load *l, struct result *r, uint64_t start)
{
	const uint64_t hz = rte_get_tsc_hz();
	const uint64_t window = (uint64_t)(opt.seconds / WINDOWS * (double)hz);
	uint64_t received = l->received, returned = l->returned;

	l->phase = LOAD_STEADY;
	for (unsigned i = 0; i < WINDOWS; i++) {
		uint64_t before = l->received, begin = rte_rdtsc(), end;

		l->aside_tsc = 0;
		do {
			load_poll(l, now_ns(l, start));
			end = rte_rdtsc();
		} while (end - begin < window);
		r->cycles[i] =
			(double)(end - begin - l->aside_tsc) / (double)(l->received - before);
	}
	l->phase = LOAD_NOTHING;
	for (unsigned i = 0; i < 4; i++)
		load_poll(l, now_ns(l, start)); // what is still under way
	qsort(r->cycles, WINDOWS, sizeof(*r->cycles), by_value);
	r->cycles_per_packet = r->cycles[WINDOWS / 2];
	r->missing = (l->received - received) - (l->returned - returned);
}

static void latency_of(struct load *l, struct result *r)
{
	static const double share[3] = {0.5, 0.99, 0.999};
	uint64_t total = 0, seen = 0;
	unsigned want = 0;

	for (uint32_t i = 0; i < LATENCY_NS_MAX; i++)
		total += l->latency[i];
	for (uint32_t i = 0; i < LATENCY_NS_MAX && want < 3; i++) {
		seen += l->latency[i];
		while (want < 3 && total && (double)seen >= share[want] * (double)total)
			r->latency[want++] = i;
	}
}

static int run(void *arg)
{
	struct load *l = arg;
	struct result *r = &result[l->worker->id];
	const uint64_t start = rte_rdtsc();

	worker_begin(l->worker, 0);
	load_answer_arp(l, 0, inside_route.via);
	load_answer_arp(l, 1, outside_route.via);
	l->phase = LOAD_FILL;
	if (opt.new) {
		measure_new(l, r, start);
	} else {
		fill(l, start, l->n);
		if (opt.direction == DIRECTION_HAIRPIN) {
			l->phase = LOAD_HAIRPIN_FILL;
			l->fill_at = 0;
			fill(l, start, l->n);
		}
		measure_steady(l, r, start);
		latency_of(l, r);
	}
	for (uint32_t i = 0; i < CGN_DROP_COUNT; i++)
		r->drops += l->worker->counters.drops[i];
	r->wrong = l->wrong;
	return 0;
}

// ---- the report

static void report(const struct cgn_config *config)
{
	const double hz = (double)rte_get_tsc_hz();
	double cycles = 0, new_per_second = 0, bytes;
	uint64_t drops = 0, latency[3] = {0, 0, 0}, mappings = 0;

	for (uint32_t i = 0; i < opt.workers; i++) {
		cycles += result[i].cycles_per_packet / opt.workers;
		new_per_second += result[i].new_per_second;
		drops += result[i].drops;
		mappings += load[i].n;
		for (unsigned j = 0; j < 3; j++)
			latency[j] = result[i].latency[j] > latency[j] ? result[i].latency[j]
								       : latency[j];
	}
	bytes = (double)cgn_dataplane_table_bytes(config) / (double)mappings;
	if (opt.json) {
		json_t *j = json_pack(
			"{s:s, s:I, s:I, s:I, s:I, s:f, s:f, s:f, s:I, s:f, s:f, s:I, s:{s:I, s:I, s:I}}",
			"direction", direction_names[opt.direction], "mappings",
			(json_int_t)mappings, "subscribers", (json_int_t)opt.subscribers,
			"packet_size", (json_int_t)opt.packet_size, "workers",
			(json_int_t)opt.workers, "mpps",
			opt.new ? 0.0 : hz / cycles / 1e6 * opt.workers, "mpps_per_worker",
			opt.new ? 0.0 : hz / cycles / 1e6, "cycles_per_packet", cycles, "tsc_hz",
			(json_int_t)hz, "new_mappings_per_second", new_per_second,
			"bytes_per_mapping", bytes, "drops", (json_int_t)drops, "latency_ns", "p50",
			(json_int_t)latency[0], "p99", (json_int_t)latency[1], "p999",
			(json_int_t)latency[2]);

		json_dumpf(j, stdout, JSON_INDENT(2));
		printf("\n");
		json_decref(j);
		return;
	}
	printf("%s, %" PRIu64 " mappings of %u subscribers, %u-byte packets, %u worker%s, %s\n",
		opt.new ? "new mappings" : direction_names[opt.direction], mappings,
		opt.subscribers, opt.packet_size, opt.workers, opt.workers > 1 ? "s" : "",
		opt.hugepages ? "hugepages" : "no hugepages");
	if (opt.new) {
		printf("  %.2f M new mappings/s, %.0f clocks each\n", new_per_second / 1e6, cycles);
	} else {
		printf("  %.1f clocks per packet (windows %.1f .. %.1f), %.2f Mpps per worker at %.2f GHz\n",
			cycles, result[0].cycles[0], result[0].cycles[WINDOWS - 1],
			hz / cycles / 1e6, hz / 1e9);
		printf("  time in the worker: p50 %" PRIu64 " ns, p99 %" PRIu64
		       " ns, p99.9 %" PRIu64 " ns (bursts of %u)\n",
			latency[0], latency[1], latency[2], opt.burst);
	}
	printf("  %.0f bytes of tables per mapping; drops %" PRIu64 "\n", bytes, drops);
}

int main(int argc, char **argv)
{
	struct cgn_config config;
	struct snapshot *snapshot;
	uint64_t wrong = 0, missing = 0;

	parse_args(argc, argv);
	make_config(&config);
	start_eal(&config);
	snapshot = snapshot_create(&config, STEER_PLAN_SOFTWARE);
	if (!snapshot || handoff_setup())
		fail("out of memory");
	make_rings();
	for (uint32_t i = 0; i < opt.workers; i++)
		make_worker(i, snapshot);
	share_out(snapshot);
	for (uint32_t i = 0; i < opt.workers; i++)
		rte_eal_remote_launch(run, &load[i], i + 1);
	rte_eal_mp_wait_lcore();
	report(&config);
	for (uint32_t i = 0; i < opt.workers; i++) {
		wrong += result[i].wrong + (load[i].fill_at < load[i].n);
		missing += result[i].missing;
		for (uint64_t k = 0; k < load[i].n; k++)
			missing += !load[i].external[k].known;
		worker_destroy(load[i].worker);
	}
	snapshot_destroy(snapshot);
	rte_eal_cleanup();
	if (wrong || missing) {
		fprintf(stderr,
			"cgnat-bench: %" PRIu64 " packets came out wrong, %" PRIu64
			" did not come out\n",
			wrong, missing);
		return 1;
	}
	return 0;
}
