// SPDX-License-Identifier: BSD-3-Clause
// The whole dataplane, with several workers as threads, on simulated cards that spread packets as they
// are told (simnic.h). DPDK starts once in a process, so every test is a process of its own.
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../../control/config.h"
#include "cgnat/dataplane.h"
#include "pieces.h"
#include "simnic.h"
#include "snapshot.h"

#define HOSTS 150
#define HOST(i) (0x64400000u + 37 * (i) + 1)
#define PATIENCE_S 20 // until a packet that has not come is missed; nothing waits that long

static struct {
	struct cgn_config *config;
	struct cgn_dataplane *dp;
	struct snapshot *snapshot; // as the daemon's, to ask who owns what
	uint64_t handed; // hand-offs that had to be
	uint64_t sent, taken; // frames of ours, without ARP
} sim;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void rest(void)
{
	nanosleep(&(struct timespec){0, 50000}, NULL);
}

static struct cgn_counters counters(void)
{
	struct cgn_counters c;

	cgn_dataplane_counters(sim.dp, CGN_ALL_WORKERS, &c);
	return c;
}

// ---- beginning and end

struct setup {
	unsigned workers;
	const char *inside, *outside; // options of the card
	const char *inside_more, *outside_more; // keys of the interface
	const char *pool;
	const char *more;
	uint8_t internal_bits, external_bits; // that the cards can tell apart; 0: all
};

static struct cgn_config *configure(const struct setup *o)
{
	char *text = NULL;
	size_t n = 0;
	FILE *yaml = open_memstream(&text, &n);
	struct cgn_config *config;

	fprintf(yaml,
		"runtime: {main-lcore: 0, worker-lcores: \"1-%u\", share-cpus: true, hugepages: false,"
		" memory-mb: 400, max-sessions: 20000, max-subscribers: 2000}\n"
		"interfaces:\n"
		"  - {name: inside, role: internal, device: \"net_ring_sim0%s\","
		" addresses: [10.255.0.1/24], routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]%s}\n"
		"  - {name: outside, role: external, device: \"net_ring_sim1%s\","
		" addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]%s}\n"
		"pools:\n  - {name: p, addresses: [%s], block-size: 64}\n"
		"policies:\n  - {name: home, match: {source: [100.64.0.0/10]}}\n%s\n",
		o->workers, o->inside, o->inside_more ? o->inside_more : "", o->outside,
		o->outside_more ? o->outside_more : "", o->pool ? o->pool : "203.0.113.0/27",
		o->more ? o->more : "");
	fclose(yaml);
	config = config_parse("sim", text, n, stderr, NULL, NULL);
	free(text);
	assert_non_null(config);
	return config;
}

static bool is_arp(struct frame *f)
{
	const uint8_t *l3 = f->b + frame_l2_len(f);

	return l3[-2] == 0x08 && l3[-1] == 0x06;
}

static void put_raw(unsigned card, struct frame f)
{
	const uint64_t until = now_ns() + PATIENCE_S * 1000000000ull;

	memset(f.b, 0, 6); // MAC address of a net_ring device
	while (!simnic_put(card, &f)) {
		assert_true(now_ns() < until);
		rest();
	}
}

static void answer_arp(unsigned card, struct frame *f)
{
	const uint8_t *arp = f->b + frame_l2_len(f), ours[6] = {0};
	uint32_t asker, asked;
	struct frame reply;

	if (arp[7] != 1)
		return;
	memcpy(&asker, arp + 14, 4);
	memcpy(&asked, arp + 24, 4);
	reply = arp_reply(ntohl(asked), ours, ntohl(asker));
	put_raw(card, frame_l2_len(f) == 18 ? with_vlan(reply, 200) : reply);
}

static void put_frame(unsigned card, struct frame f)
{
	mac_of(card == INSIDE ? ROUTER_INSIDE : ROUTER_OUTSIDE, f.b + 6);
	if (sim.config->interfaces[card].vlan)
		f = with_vlan(f, sim.config->interfaces[card].vlan);
	put_raw(card, f);
	sim.sent++;
}

static struct frame take_frame(unsigned card)
{
	const uint64_t until = now_ns() + PATIENCE_S * 1000000000ull;
	struct frame f;

	for (;;) {
		for (unsigned other = 0; other < 2; other++) {
			if (!simnic_take(other, &f))
				continue;
			if (is_arp(&f)) {
				answer_arp(other, &f);
				continue;
			}
			if (other != card)
				fail_msg("a frame came out of the other card");
			if (frame_error(&f))
				fail_msg("%s", frame_error(&f));
			sim.taken++;
			return f;
		}
		if (now_ns() > until)
			fail_msg("no frame came out of card %u", card);
		rest();
	}
}

static struct frame through(unsigned from, struct frame f)
{
	put_frame(from, f);
	return take_frame(!from);
}

static void begin(const struct setup *o)
{
	struct steer_plan plan = {o->internal_bits ? o->internal_bits : STEER_BITS_MAX,
		o->external_bits ? o->external_bits : STEER_BITS_MAX, NULL};
	const uint64_t until = now_ns() + PATIENCE_S * 1000000000ull;
	char err[256];

	sim.config = configure(o);
	sim.snapshot = snapshot_create(sim.config, &plan);
	assert_non_null(sim.snapshot);
	if (cgn_dataplane_start(sim.config, NULL, &sim.dp, err, sizeof(err)))
		fail_msg("%s", err);
	while (counters().consumed < 2) { // both routers have been asked, and have answered
		struct frame f;

		assert_true(now_ns() < until);
		for (unsigned card = 0; card < 2; card++) {
			if (simnic_take(card, &f) && is_arp(&f))
				answer_arp(card, &f);
		}
		rest();
	}
}

// The workers run, and now and then ask for a neighbour: between two words of one turn the sums may be
// apart, but not for long.
static void check_account(void)
{
	const uint64_t until = now_ns() + PATIENCE_S * 1000000000ull;
	struct cgn_counters c = counters();
	uint64_t drops = 0;

	while (c.rx_packets + c.originated != c.tx_packets + c.consumed + c.held &&
		now_ns() < until) {
		rest();
		c = counters();
	}
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		drops += c.drops[i];
	assert_int_equal(drops, 0);
	assert_int_equal(c.rx_packets + c.originated, c.tx_packets + c.consumed + c.held);
	assert_int_equal(sim.sent, sim.taken);
}

static void end(void)
{
	const uint64_t until = now_ns() + PATIENCE_S * 1000000000ull;

	while (counters().held && now_ns() < until)
		rest();
	check_account();
	cgn_dataplane_stop(sim.dp);
	snapshot_destroy(sim.snapshot);
	cgn_config_free(sim.config);
}

static void methods_are(enum cgn_rss inside, enum cgn_rss outside)
{
	struct cgn_link_status link[2];

	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(cgn_dataplane_link(sim.dp, i, &link[i]), 0);
	assert_string_equal(cgn_rss_name(link[0].rss), cgn_rss_name(inside));
	assert_string_equal(cgn_rss_name(link[1].rss), cgn_rss_name(outside));
}

static void handed_exactly(uint64_t n)
{
	const struct cgn_counters c = counters();

	assert_int_equal(c.handoffs, n);
	assert_int_equal(c.interfaces[0].handoffs + c.interfaces[1].handoffs, n);
}

// ---- traffic: of every host, all that must not change the worker

static struct endpoint external_of[HOSTS];

static void fragments(unsigned from, struct frame f, struct endpoint source, struct endpoint to)
{
	// in order, and the first one last
	static const unsigned order[2][3] = {{0, 1, 2}, {2, 1, 0}};

	f = with_size(f, 100);
	for (unsigned i = 0; i < 2; i++) {
		const struct frame g = with_id(f, 7 + i);
		struct frame out[3];

		for (unsigned k = 0; k < 3; k++) {
			const unsigned at_byte = order[i][k] * 32;

			put_frame(from,
				part(g, at_byte,
					k == (i ? 0u : 2u) ? frame_l4_len(&f) : at_byte + 32));
		}
		for (unsigned k = 0; k < 3; k++)
			out[k] = take_frame(!from);
		assert_true(same_endpoint(source_of(whole_of(out, 3)), source));
		assert_true(same_endpoint(destination_of(whole_of(out, 3)), to));
	}
}

static void flows_of(unsigned i)
{
	const struct endpoint host = at(HOST(i), 5000 + i);
	const struct endpoint s = at(S1 + i * 7919, 53 + i),
			      x = source_of(through(INSIDE, udp(host, s)));
	struct endpoint y;
	struct frame f;

	external_of[i] = x;
	for (unsigned k = 0; k < 4; k++) { // anybody may answer: the remote must not count
		const struct endpoint r = at(S2 + i * 104729 + k * 65537, 1024 + k);

		f = through(OUTSIDE, udp(r, x));
		assert_true(same_endpoint(destination_of(f), host));
		f = through(INSIDE, udp(host, r));
		assert_true(same_endpoint(source_of(f), x));
	}
	y = source_of(through(INSIDE, tcp(host, s, TCP_SYN)));
	assert_true(same_endpoint(
		destination_of(through(OUTSIDE, tcp(s, y, TCP_SYN | TCP_ACK))), host));
	through(INSIDE, tcp(host, s, TCP_ACK));
	f = through(INSIDE, echo(host, s.address));
	y = source_of(f);
	assert_true(
		same_endpoint(destination_of(through(OUTSIDE, echo_reply(s.address, y))), host));
}

static void errors_of(unsigned i)
{
	const struct endpoint host = at(HOST(i), 5000 + i), s = at(S1 + i * 7919, 53 + i);
	const struct endpoint x = external_of[i];
	struct frame f = udp(x, s);

	// about a packet of the host, from any router outside, to its external address
	f = through(OUTSIDE, icmp_error(S2 + i, x.address, 11, 0, &f, 8));
	assert_int_equal(dst_of(f), host.address);
	// about a packet to the host, from the host
	f = udp(s, host);
	f = through(INSIDE, icmp_error(host.address, s.address, 3, 3, &f, 8));
	assert_int_equal(src_of(f), x.address);
}

// The same from a router inside: hashed by the router's address, owned by the host's worker.
static void error_of_a_router(unsigned i)
{
	const struct endpoint host = at(HOST(i), 5000 + i), s = at(S1 + i * 7919, 53 + i);
	const uint32_t router = 0x64500001;
	struct frame f = udp(s, host);

	sim.handed +=
		steer_internal(sim.snapshot, router) != steer_internal(sim.snapshot, host.address);
	f = through(INSIDE, icmp_error(router, s.address, 11, 0, &f, 8));
	assert_int_equal(src_of(f), external_of[i].address);
}

static void everything(void)
{
	unsigned i;

	for (i = 0; i < HOSTS; i++)
		flows_of(i);
	for (i = 0; i < HOSTS; i++) {
		const struct endpoint host = at(HOST(i), 5000 + i), s = at(S1 + i * 7919, 53 + i);

		errors_of(i);
		fragments(INSIDE, udp(host, s), external_of[i], s);
		fragments(OUTSIDE, udp(s, external_of[i]), s, host);
	}
}

// Every worker has its share of the work.
static void all_worked(unsigned n_workers)
{
	for (unsigned w = 0; w < n_workers; w++) {
		struct cgn_counters c;

		cgn_dataplane_counters(sim.dp, w, &c);
		assert_true(c.subscribers * 2 * n_workers > HOSTS);
		assert_true(c.translated_inbound > 0);
	}
}

static void no_packet_changes_the_worker(
	const struct setup *o, enum cgn_rss inside, enum cgn_rss outside)
{
	begin(o);
	methods_are(inside, outside);
	everything();
	all_worked(o->workers);
	handed_exactly(0);
	for (unsigned i = 0; i < HOSTS; i++)
		error_of_a_router(i);
	assert_true(sim.handed > 0 && sim.handed < HOSTS);
	handed_exactly(sim.handed);
	end();
}

// ---- the tests

static void the_key_of_a_small_table(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 2,
					     .inside = ",slots=64",
					     .outside = ",slots=128",
					     .internal_bits = 6,
					     .external_bits = 7},
		CGN_RSS_KEY, CGN_RSS_KEY);
}

static void a_long_key_and_a_large_table(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 4,
					     .inside = ",slots=512,key=52",
					     .outside = ",slots=2048,key=52,types=0",
					     .outside_more = ", vlan: 200"},
		CGN_RSS_KEY, CGN_RSS_KEY);
}

static void rules_of_a_card_with_one_table(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 4,
					     .inside = ",slots=512,key=52,flow=1,alone=1",
					     .outside = ",slots=512,key=52,flow=1,alone=1"},
		CGN_RSS_FLOW, CGN_RSS_FLOW);
	assert_int_equal(simnic_rules(INSIDE), 3);
}

static void rules_that_bring_a_key(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 2,
					     .inside = ",slots=512,key=52,flow=2,types=0",
					     .outside = ",slots=512,key=52,flow=2,types=0"},
		CGN_RSS_FLOW, CGN_RSS_FLOW);
}

static void rules_with_tables_of_their_own(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 4,
					     .inside = ",slots=256,flow=3,alone=1",
					     .outside = ",slots=64,flow=3,alone=1",
					     .internal_bits = 8,
					     .external_bits = 6},
		CGN_RSS_FLOW, CGN_RSS_FLOW);
}

static void cards_that_differ(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 4,
					     .inside = ",slots=128,key=40",
					     .outside = ",slots=512,key=52,flow=1,alone=1",
					     .internal_bits = 7},
		CGN_RSS_KEY, CGN_RSS_FLOW);
}

static void the_operator_chooses_the_key(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 3,
					     .inside = ",slots=512,key=52,flow=1,alone=1",
					     .outside = ",slots=512,key=52,flow=1,alone=1",
					     .inside_more = ", rss: key",
					     .outside_more = ", rss: key",
					     .pool = "203.0.113.0-203.0.113.35"},
		CGN_RSS_KEY, CGN_RSS_KEY);
	assert_int_equal(simnic_rules(INSIDE), 0);
}

static void half_the_rules_are_none(void **state)
{
	no_packet_changes_the_worker(&(struct setup){.workers = 2,
					     .inside = ",flow=1,alone=1,l4=0",
					     .outside = ",flow=2,l4=0",
					     .internal_bits = 7,
					     .external_bits = 7},
		CGN_RSS_KEY, CGN_RSS_KEY);
	assert_int_equal(simnic_rules(INSIDE) + simnic_rules(OUTSIDE), 0);
}

// A card that cannot, or does not, do it: everything still arrives, over hand-offs.
static void handed_over(const struct setup *o, enum cgn_rss inside, enum cgn_rss outside)
{
	struct cgn_counters c;

	begin(o);
	methods_are(inside, outside);
	everything();
	all_worked(o->workers);
	c = counters();
	// about (n - 1) / n of all packets
	assert_in_range(c.handoffs * 10 * o->workers / c.rx_packets / (o->workers - 1), 7, 13);
	end();
}

static void a_table_that_cannot_be_set(void **state)
{
	handed_over(&(struct setup){.workers = 4,
			    .inside = ",noset=1",
			    .outside = ",slots=0",
			    .internal_bits = 7},
		CGN_RSS_SPREAD, CGN_RSS_SPREAD);
}

static void a_key_that_cannot_be_set(void **state)
{
	handed_over(&(struct setup){.workers = 2,
			    .inside = ",noset=2",
			    .outside = ",key=16",
			    .internal_bits = 7},
		CGN_RSS_SPREAD, CGN_RSS_SPREAD);
}

static void a_key_that_is_not_what_was_set(void **state)
{
	handed_over(&(struct setup){.workers = 3,
			    .inside = ",lies=1,flow=1",
			    .outside = ",lies=1",
			    .internal_bits = 7,
			    .external_bits = 7},
		CGN_RSS_SPREAD, CGN_RSS_SPREAD);
	assert_int_equal(simnic_rules(INSIDE), 0);
}

static void too_few_queues(void **state)
{
	handed_over(&(struct setup){.workers = 4,
			    .inside = ",queues=3",
			    .outside = "",
			    .outside_more = ", rss: off"},
		CGN_RSS_OFF, CGN_RSS_OFF);
}

// Fewer addresses than workers: what comes back is handed over where it must be, what goes out is not.
static void an_address_that_is_split(void **state)
{
	uint64_t handed = 0;

	begin(&(struct setup){.workers = 3,
		.inside = "",
		.outside = "",
		.internal_bits = 7,
		.external_bits = 7,
		.pool = "203.0.113.1-203.0.113.2"});
	methods_are(CGN_RSS_KEY, CGN_RSS_KEY);
	for (unsigned i = 0; i < HOSTS; i++) {
		const struct endpoint host = at(HOST(i), 5000), s = at(S1 + i, 53);
		const struct endpoint x = source_of(through(INSIDE, udp(host, s)));

		assert_true(same_endpoint(destination_of(through(OUTSIDE, udp(s, x))), host));
		handed += steer_external(sim.snapshot, x.address, x.port) != simnic_queue();
		assert_int_equal(steer_external(sim.snapshot, x.address, x.port),
			steer_internal(sim.snapshot, host.address));
	}
	assert_in_range(handed, HOSTS / 2, HOSTS * 5 / 6);
	handed_exactly(handed);
	end();
}

// A static mapping is its host's: what comes in is handed over, unless the plan could give the
// address to that worker (one-to-one, nothing else of its slot in a pool).
static void static_mappings(void **state)
{
	const struct endpoint web = at(0x64400105, 80), x = at(X1, 443);
	uint64_t handed = 0;

	begin(&(struct setup){.workers = 4,
		.inside = ",slots=512",
		.outside = ",slots=512",
		.more = "static-mappings:\n"
			"  - {name: web, protocol: tcp, internal: \"100.64.1.5:80\", external: \"203.0.113.1:443\"}\n"
			"  - {name: all, internal: 100.64.1.6, external: 192.0.2.77}"});
	for (unsigned i = 0; i < 20; i++) {
		assert_true(same_endpoint(
			destination_of(through(OUTSIDE, tcp(at(S1 + i, 99), x, TCP_SYN))), web));
		handed += simnic_queue() != steer_internal(sim.snapshot, web.address);
		assert_int_equal(dst_of(through(OUTSIDE, udp(at(S2 + i, 5), at(0xc000024d, 77)))),
			0x64400106);
		assert_int_equal(simnic_queue(), steer_internal(sim.snapshot, 0x64400106));
	}
	handed_exactly(handed);
	end();
}

static void a_card_on_another_node_is_warned_about(void **state)
{
	static const char *const expected =
		"warning: interface outside: its device is on NUMA node 1, worker %u (lcore %u) on node 0";
	const int keep = dup(2);
	FILE *log = tmpfile();
	char text[4096] = {0}, line[256];

	fflush(stderr);
	assert_true(keep >= 0 && log && dup2(fileno(log), 2) == 2);
	begin(&(struct setup){.workers = 2,
		.inside = ",socket=0",
		.outside = ",socket=1",
		.internal_bits = 7,
		.external_bits = 7});
	dup2(keep, 2);
	rewind(log);
	assert_true(fread(text, 1, sizeof(text) - 1, log) > 0);
	fclose(log);
	for (unsigned w = 0; w < 2; w++) {
		snprintf(line, sizeof(line), expected, w, w + 1);
		assert_non_null(strstr(text, line));
	}
	assert_null(strstr(text, "interface inside: its device"));
	end();
}

static void one_worker_asks_for_nothing(void **state)
{
	begin(&(struct setup){.workers = 1, .inside = ",flow=1", .outside = ""});
	methods_are(CGN_RSS_OFF, CGN_RSS_OFF);
	flows_of(0);
	handed_exactly(0);
	end();
}

static const struct CMUnitTest tests[] = {
	cmocka_unit_test(the_key_of_a_small_table),
	cmocka_unit_test(a_long_key_and_a_large_table),
	cmocka_unit_test(rules_of_a_card_with_one_table),
	cmocka_unit_test(rules_that_bring_a_key),
	cmocka_unit_test(rules_with_tables_of_their_own),
	cmocka_unit_test(cards_that_differ),
	cmocka_unit_test(the_operator_chooses_the_key),
	cmocka_unit_test(half_the_rules_are_none),
	cmocka_unit_test(a_table_that_cannot_be_set),
	cmocka_unit_test(a_key_that_cannot_be_set),
	cmocka_unit_test(a_key_that_is_not_what_was_set),
	cmocka_unit_test(too_few_queues),
	cmocka_unit_test(an_address_that_is_split),
	cmocka_unit_test(static_mappings),
	cmocka_unit_test(a_card_on_another_node_is_warned_about),
	cmocka_unit_test(one_worker_asks_for_nothing),
};
#define N_TESTS (sizeof(tests) / sizeof(*tests))

extern char **environ;

int main(int argc, char **argv)
{
	int failed = 0;

	for (unsigned i = 0; i < N_TESTS && argc == 2; i++) {
		if (!strcmp(argv[1], tests[i].name))
			return _cmocka_run_group_tests(tests[i].name, &tests[i], 1, NULL, NULL);
	}
	if (argc > 1)
		return 2;
	for (unsigned i = 0; i < N_TESTS; i++) {
		char *args[] = {argv[0], (char *)(uintptr_t)tests[i].name, NULL};
		int status = -1;
		pid_t pid;

		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, args, environ) ||
			waitpid(pid, &status, 0) != pid || status) {
			fprintf(stderr, "failed: %s (status %x)\n", tests[i].name, status);
			failed++;
		}
	}
	return failed ? 1 : 0;
}
