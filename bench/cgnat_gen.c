// SPDX-License-Identifier: BSD-3-Clause
// cgnat-gen: a traffic generator and reflector around a NAT, over any two DPDK devices. It knows what
// a NAT must do to a packet and says what did not come out so. See docs/benchmarking.md.
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_cycles.h>
#include <rte_dev.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include "gen_engine.h"
#include "gen_options.h"

#define MBUFS 32767
#define TRIALS_MAX 40
#define ATTEMPTS 3 // of a trial in which less was sent than told and nothing was lost
#define FILLS_MAX 3
#define RESOLUTION 0.01 // of a search

struct trial {
	double rate, tx_pps;
	uint64_t sent, lost;
	enum verdict {
		PASSED,
		LOST, // more than allowed
		NOT_OFFERED, // nothing was lost, but less was sent than told
	} verdict;
};

static const char *const verdict_names[] = {"passed", "lost", "not offered"};

static struct trial trial[TRIALS_MAX];
static unsigned n_trials;
static double best_pps;

static _Noreturn void fail(const char *what, const char *why)
{
	fprintf(stderr, "cgnat-gen: %s: %s\n", what, why);
	exit(1);
}

static void on_signal(int signal)
{
	gen_stop++;
}

// ---- devices

// A reflector has no inside.
static unsigned first_side(void)
{
	return gen_opt.mode == GEN_REFLECT ? OUTSIDE : INSIDE;
}

static void start_eal(void)
{
	char lcores[32], memory[32], prefix[32];
	char *argv[20] = {"cgnat-gen", "--no-telemetry", "--iova-mode=va", "--log-level=warning",
		lcores, "-m", memory, prefix};
	bool pci = false;
	int argc = 8;

	snprintf(lcores, sizeof(lcores), "--lcores=0@%u", gen_opt.lcore_cpu);
	snprintf(memory, sizeof(memory), "%u", gen_opt.memory_mb);
	snprintf(prefix, sizeof(prefix), "--file-prefix=cgnat-gen-%d", (int)getpid());
	if (gen_opt.hugepages) {
		argv[argc++] = "--in-memory";
	} else {
		argv[argc++] = "--no-huge";
		argv[argc++] = "--no-shconf";
	}
	for (unsigned i = first_side(); i < SIDES; i++) {
		if (strncmp(gen_opt.device[i], "net_", 4)) {
			argv[argc++] = "-a";
			argv[argc++] = (char *)gen_opt.device[i];
			pci = true;
		}
	}
	if (!pci)
		argv[argc++] = "--no-pci";
	if (rte_eal_init(argc, argv) < 0)
		fail("DPDK does not start", rte_strerror(rte_errno));
}

static void open_device(struct gen *g, unsigned side)
{
	const char *device = gen_opt.device[side];
	struct rte_eth_conf conf = {0};
	char name[RTE_ETH_NAME_MAX_LEN];
	struct rte_ether_addr mac;
	int rc = strncmp(device, "net_", 4) ? 0 : rte_dev_probe(device);
	uint16_t n_rx = 1024, n_tx = 1024;

	snprintf(name, sizeof(name), "%.*s", (int)strcspn(device, ","), device);
	if (!rc)
		rc = rte_eth_dev_get_port_by_name(name, &g->port[side]);
	if (!rc)
		rc = rte_eth_dev_configure(g->port[side], 1, 1, &conf);
	if (!rc)
		rc = rte_eth_dev_adjust_nb_rx_tx_desc(g->port[side], &n_rx, &n_tx);
	if (!rc)
		rc = rte_eth_rx_queue_setup(g->port[side], 0, n_rx, SOCKET_ID_ANY, NULL, g->pool);
	if (!rc)
		rc = rte_eth_tx_queue_setup(g->port[side], 0, n_tx, SOCKET_ID_ANY, NULL);
	if (!rc)
		rc = rte_eth_dev_start(g->port[side]);
	if (!rc)
		rc = rte_eth_macaddr_get(g->port[side], &mac);
	if (rc)
		fail(device, strerror(rc < 0 ? -rc : EIO));
	memcpy(g->mac[side], mac.addr_bytes, 6);
	rte_eth_promiscuous_enable(g->port[side]); // not every device can, or needs to
}

// An af_xdp device leaves its program on the interface otherwise, and both stay promiscuous.
static void close_devices(const struct gen *g)
{
	for (unsigned i = first_side(); i < SIDES; i++) {
		rte_eth_promiscuous_disable(g->port[i]);
		rte_eth_dev_stop(g->port[i]);
		rte_eth_dev_close(g->port[i]);
	}
}

static void wait_for_links(const struct gen *g)
{
	unsigned without = 0;

	for (unsigned tries = 0; tries < 100 && !gen_stop; tries++) {
		unsigned i = first_side();

		for (; i < SIDES; i++) {
			struct rte_eth_link link;

			if (rte_eth_link_get_nowait(g->port[i], &link) || !link.link_status)
				break;
		}
		if (i == SIDES)
			return;
		without = i;
		usleep(100000);
	}
	if (!gen_stop)
		fail(gen_opt.device[without], "has no link after 10 s");
}

// ---- modes

static uint64_t lost_of(const struct gen_counts *c)
{
	const uint64_t out = c->sent - c->received - c->wrong;
	const uint64_t back = c->reflected - c->returned - c->return_wrong;

	return out + (gen_opt.reflect ? back : 0);
}

static enum verdict try_once(struct gen *g, double rate)
{
	struct trial *t = &trial[n_trials++];
	uint64_t bad;

	gen_run(g, rate, gen_opt.seconds, false);
	bad = lost_of(&g->counts) + g->counts.refused;
	*t = (struct trial){.rate = rate,
		.tx_pps = (double)g->counts.sent / g->counts.seconds,
		.sent = g->counts.sent,
		.lost = bad};
	if (!g->counts.received ||
		(double)bad * 1000 > gen_opt.loss_permille * (double)g->counts.sent)
		t->verdict = LOST;
	else if ((double)(g->counts.sent + 2) < 0.98 * rate * g->counts.seconds)
		t->verdict = NOT_OFFERED;
	return t->verdict;
}

// A generator that lost its core for a moment says nothing about the NAT: once more.
static bool passes(struct gen *g, double rate)
{
	enum verdict verdict = NOT_OFFERED;

	for (unsigned i = 0;
		i < ATTEMPTS && verdict == NOT_OFFERED && n_trials < TRIALS_MAX && !gen_stop; i++)
		verdict = try_once(g, rate);
	if (verdict == PASSED && rate > best_pps)
		best_pps = rate;
	return verdict == PASSED;
}

static void search(struct gen *g)
{
	double low = gen_opt.min_pps, high = gen_opt.max_pps;

	if (passes(g, high) || !passes(g, low))
		return;
	while (n_trials < TRIALS_MAX && high - low > RESOLUTION * high && !gen_stop) {
		// far apart: by factors
		const double middle = high > 4 * low ? low * 4 : (low + high) / 2;

		if (passes(g, middle))
			low = middle;
		else
			high = middle;
	}
	if (best_pps > 0 && !gen_stop)
		gen_run(g, best_pps, gen_opt.seconds, false); // its latency
}

static void run(struct gen *g)
{
	if (gen_opt.mode == GEN_REFLECT) {
		gen_reflect(g, gen_opt.seconds);
		return;
	}
	if (gen_opt.mode == GEN_SETUP) {
		gen_run(g, gen_opt.rate_pps, gen_opt.seconds, true);
		return;
	}
	for (unsigned tries = 0; tries < FILLS_MAX; tries++) {
		gen_run(g, 0, 0, true); // every flow once
		if (g->counts.received == g->n_flows || gen_stop)
			break;
	}
	g->at = 0;
	if (gen_opt.mode == GEN_SEARCH)
		search(g);
	else
		gen_run(g, gen_opt.rate_pps, gen_opt.seconds, false);
}

// ---- report

static json_t *latency(const uint32_t *histogram)
{
	json_t *j = json_object();

	json_object_set_new(j, "p50", json_integer((json_int_t)gen_quantile(histogram, 0.5)));
	json_object_set_new(j, "p99", json_integer((json_int_t)gen_quantile(histogram, 0.99)));
	json_object_set_new(j, "p999", json_integer((json_int_t)gen_quantile(histogram, 0.999)));
	json_object_set_new(j, "max", json_integer((json_int_t)gen_quantile(histogram, 1)));
	return j;
}

static void report_json(const struct gen *g, uint64_t shared)
{
	const struct gen_counts *c = &g->counts;
	const struct {
		const char *key;
		uint64_t n;
	} n[] = {{"flows", g->n_flows}, {"subscribers", gen_opt.n_subscribers},
		{"packet_size", gen_opt.packet_size}, {"sent", c->sent}, {"refused", c->refused},
		{"received", c->received}, {"lost", c->sent - c->received - c->wrong},
		{"wrong", c->wrong}, {"moved", c->moved}, {"shared", shared},
		{"reordered", c->reordered}, {"reflected", c->reflected}, {"returned", c->returned},
		{"returned_lost", c->reflected - c->returned - c->return_wrong},
		{"returned_wrong", c->return_wrong}, {"late", c->late}, {"alien", c->alien}};
	json_t *j = json_pack("{s:s, s:s, s:f, s:f, s:f, s:f, s:f}", "mode",
		gen_mode_names[gen_opt.mode], "protocol", gen_opt.tcp ? "tcp" : "udp", "seconds",
		c->seconds, "offered_pps", gen_opt.rate_pps, "tx_pps", (double)c->sent / c->seconds,
		"rx_pps", (double)c->received / c->seconds, "best_pps", best_pps);
	json_t *trials = json_array();

	for (unsigned i = 0; i < sizeof(n) / sizeof(*n); i++)
		json_object_set_new(j, n[i].key, json_integer((json_int_t)n[i].n));
	json_object_set_new(j, "latency_ns",
		json_pack("{s:o, s:o}", "out", latency(g->out_ns), "round", latency(g->round_ns)));
	for (unsigned i = 0; i < n_trials; i++) {
		json_array_append_new(trials,
			json_pack("{s:f, s:f, s:I, s:I, s:b, s:s}", "rate", trial[i].rate, "tx_pps",
				trial[i].tx_pps, "sent", (json_int_t)trial[i].sent, "lost",
				(json_int_t)trial[i].lost, "passed", trial[i].verdict == PASSED,
				"verdict", verdict_names[trial[i].verdict]));
	}
	json_object_set_new(j, "trials", trials);
	json_dumpf(j, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(j);
}

static void print_latency(const char *what, const uint32_t *histogram)
{
	printf("  %s: p50 %.1f us, p99 %.1f us, p99.9 %.1f us, longest %.1f us\n", what,
		(double)gen_quantile(histogram, 0.5) / 1000,
		(double)gen_quantile(histogram, 0.99) / 1000,
		(double)gen_quantile(histogram, 0.999) / 1000,
		(double)gen_quantile(histogram, 1) / 1000);
}

static void report_text(const struct gen *g, uint64_t shared)
{
	const struct gen_counts *c = &g->counts;

	if (gen_opt.mode == GEN_REFLECT) {
		printf("reflect, %.2f s: %" PRIu64 " packets received (%.0f pps), %" PRIu64
		       " sent back, %" PRIu64 " of another kind\n",
			c->seconds, c->received, (double)c->received / c->seconds, c->reflected,
			c->alien);
		return;
	}
	printf("%s, %" PRIu64 " flows of %u subscribers, %u-byte %s packets, %s\n",
		gen_mode_names[gen_opt.mode], g->n_flows, gen_opt.n_subscribers,
		gen_opt.packet_size, gen_opt.tcp ? "TCP" : "UDP",
		gen_opt.reflect ? "sent back" : "one way");
	for (unsigned i = 0; i < n_trials; i++) {
		printf("  trial %2u: %12.0f pps offered, %12.0f sent, %10" PRIu64 " lost: %s\n",
			i + 1, trial[i].rate, trial[i].tx_pps, trial[i].lost,
			verdict_names[trial[i].verdict]);
	}
	if (gen_opt.mode == GEN_SEARCH)
		printf("  throughput: %.0f pps (loss of %g in 1000 allowed)\n", best_pps,
			gen_opt.loss_permille);
	printf("  out: %" PRIu64 " sent in %.2f s (%.0f pps), %" PRIu64 " refused, %" PRIu64
	       " received (%.0f pps), %" PRIu64 " lost, %" PRIu64 " wrong\n",
		c->sent, c->seconds, (double)c->sent / c->seconds, c->refused, c->received,
		(double)c->received / c->seconds, c->sent - c->received - c->wrong, c->wrong);
	if (gen_opt.reflect)
		printf("  back: %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " lost, %" PRIu64
		       " wrong\n",
			c->reflected, c->returned, c->reflected - c->returned - c->return_wrong,
			c->return_wrong);
	if (c->late)
		printf("  late: %" PRIu64 " frames of an earlier run came out in this one\n",
			c->late);
	printf("  endpoints: %" PRIu64 " packets from another one than before, %" PRIu64
	       " shared by two\n",
		c->moved, shared);
	print_latency("latency out", g->out_ns);
	if (gen_opt.reflect)
		print_latency("latency out and back", g->round_ns);
}

int main(int argc, char **argv)
{
	static struct gen g;
	struct sigaction act = {.sa_handler = on_signal};
	uint64_t shared;
	bool good;

	gen_options_parse(argc, argv);
	start_eal();
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGINT, &act, NULL);
	if (gen_create(&g))
		fail("flows", "out of memory");
	g.pool = rte_pktmbuf_pool_create(
		"packets", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!g.pool)
		fail("packets", "out of memory: see --memory-mb");
	for (unsigned i = first_side(); i < SIDES; i++)
		open_device(&g, i);
	wait_for_links(&g);
	if (!gen_find_nat(&g, first_side()) && !gen_stop)
		fail(g.nat_known[OUTSIDE] ? "--nat-inside" : "--nat-outside",
			"nobody answered ARP");
	run(&g);
	shared = gen_shared(&g);
	if (gen_opt.json)
		report_json(&g, shared);
	else
		report_text(&g, shared);
	fflush(stdout);
	// a reflector was ended by a signal already
	while (gen_opt.hold &&
		gen_stop < (gen_opt.mode == GEN_REFLECT && gen_opt.seconds <= 0 ? 2 : 1))
		usleep(50000);
	good = g.counts.received && !g.counts.wrong && !g.counts.return_wrong && !shared;
	close_devices(&g);
	gen_destroy(&g);
	return good ? 0 : 1;
}
