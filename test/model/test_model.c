// SPDX-License-Identifier: BSD-3-Clause
// Random operations on the tables, checked against model.h after every step.
//   test_model [SEED]     CGN_MODEL_STEPS=N in the environment: steps over all configurations
#include "mem_malloc.h"
#include "nat.h"
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/random.h>

#define STEPS 3000000u

#define TIMEOUTS \
	{ \
		.udp = 300, .tcp_established = 7440, .tcp_opening = 240, .tcp_closing = 240, \
		.icmp = 60, .hold_down = 120 \
	}
// Shorter than one would want and longer than the timers reach.
#define TIMEOUTS_ODD \
	{ \
		.udp = 3, .tcp_established = 20000, .tcp_opening = 7, .tcp_closing = 1, .icmp = 2, \
		.hold_down = 5 \
	}

static const struct model_config configs[] = {
	{.name = "small blocks, ports run out",
		.block_size = 16,
		.n_addresses = 4,
		.n_blocks = 8,
		.n_pools = 2,
		.first_port = 1024,
		.max_blocks = 3,
		.n_subs = 20,
		.n_ports = 60,
		.sessions_max = 1500,
		.active_max = 30,
		.rest_max = 400,
		.now_s = 1,
		.timeouts = TIMEOUTS},
	{.name = "table of sessions runs full, clock wraps",
		.block_size = 32,
		.n_addresses = 3,
		.n_blocks = 5,
		.n_pools = 1,
		.first_port = 2000,
		.max_blocks = 4,
		.n_subs = 30,
		.n_ports = 12,
		.sessions_max = 200,
		.active_max = 40,
		.rest_max = 300,
		.now_s = UINT32_MAX - 20000,
		.timeouts = TIMEOUTS},
	{.name = "subscribers run out, few may rest",
		.block_size = 64,
		.n_addresses = 5,
		.n_blocks = 12,
		.n_pools = 3,
		.first_port = 1024,
		.max_blocks = 2,
		.n_subs = 60,
		.n_ports = 6,
		.sessions_max = 400,
		.active_max = 12,
		.rest_max = 25,
		.now_s = 1000,
		.timeouts = TIMEOUTS_ODD},
	{.name = "reserved ports, odd timeouts",
		.block_size = 16,
		.n_addresses = 2,
		.n_blocks = 9,
		.n_pools = 1,
		.first_port = 1000,
		.reserved = {1020, 1061},
		.max_blocks = 4,
		.n_subs = 8,
		.n_ports = 40,
		.sessions_max = 1000,
		.active_max = 8,
		.rest_max = 500,
		.now_s = 77,
		.timeouts = TIMEOUTS_ODD},
	{.name = "one address, one subscriber, large blocks",
		.block_size = 1024,
		.n_addresses = 1,
		.n_blocks = 2,
		.n_pools = 1,
		.first_port = 40000,
		.max_blocks = 2,
		.n_subs = 1,
		.n_ports = 2600,
		.sessions_max = 9000,
		.active_max = 1,
		.rest_max = 9000,
		.now_s = 5,
		.timeouts = TIMEOUTS},
	{.name = "no hold-down",
		.block_size = 128,
		.n_addresses = 3,
		.n_blocks = 4,
		.n_pools = 1,
		.first_port = 1024,
		.max_blocks = 2,
		.n_subs = 9,
		.n_ports = 150,
		.sessions_max = 2500,
		.active_max = 9,
		.rest_max = 100,
		.now_s = 5,
		.timeouts = {.udp = 30,
			.tcp_established = 100,
			.tcp_opening = 10,
			.tcp_closing = 5,
			.icmp = 4,
			.hold_down = 0}},
	{.name = "preset ports in a row, and overflow blocks",
		.block_size = 16,
		.n_addresses = 2,
		.n_pools = 1,
		.first_port = 1000,
		.n_pool_ports = 600,
		.preset_ports = 48,
		.algorithm = CGN_ALGORITHM_SEQUENTIAL,
		.reserved = {1020, 1061},
		.max_blocks = 4,
		.n_subs = 16,
		.n_ports = 60,
		.sessions_max = 4000,
		.active_max = 14,
		.rest_max = 900,
		.now_s = 1,
		.timeouts = TIMEOUTS},
	{.name = "scattered preset ports, few may rest",
		.block_size = 32,
		.n_addresses = 1,
		.n_pools = 1,
		.first_port = 1024,
		.n_pool_ports = 8 * 528 + 160,
		.preset_ports = 528,
		.algorithm = CGN_ALGORITHM_CRYPTOGRAPHIC,
		.max_blocks = 3,
		.n_subs = 8,
		.n_ports = 590,
		.sessions_max = 16000,
		.active_max = 8,
		.rest_max = 700,
		.now_s = UINT32_MAX - 9000,
		.timeouts = TIMEOUTS_ODD},
};

#define N_CONFIGS (sizeof(configs) / sizeof(*configs))

static struct nat nat;
static struct rng rng; // of the operations; the tables have their own
static unsigned opening; // per cent of operations that open; the rest close

// ---- checks

static void check_session(uint32_t endpoint, uint32_t remote)
{
	const struct model_mapping *m = &model.mapping[endpoint];
	const struct model_session *s = &m->session[remote];
	const uint32_t record = nat_record(&nat, endpoint, remote);
	const struct flow *f = &nat.flows.flow[record];
	const struct flow_cold *c = &nat.flows.cold[record];

	CHECK((record != FLOW_NONE) == s->open);
	if (!s->open)
		return;
	CHECK(flow_key_of(f) == internal_key(endpoint));
	CHECK(flow_remote_of(f) == remote_key(remote));
	CHECK(f->seen_s == s->seen_s && f->state == s->state && f->pkts_out == s->pkts);
	CHECK(c->session_created_s == s->created_s);
	CHECK(!(f->flags & FLOW_HEAD) || c->mapping_created_s == m->created_s);
	CHECK(c->policy == s->policy);
	CHECK(!(f->flags & FLOW_HEAD) || c->block == m->block);
	CHECK(timers_is_armed(&nat.flows.timers, record));
	if (model_passed(model_deadline(endpoint, remote)))
		CHECK(nat.done_s != model.now_s || m->promoted_s == model.now_s);
}

static uint32_t n_addresses; // of further sessions, by mapping

static void check_endpoint(uint32_t endpoint)
{
	const struct model_mapping *m = &model.mapping[endpoint];
	const uint32_t head = flow_find_out(&nat.flows, internal_key(endpoint));
	const struct flow *flow = nat.flows.flow;
	uint32_t n = 0;

	CHECK((head != FLOW_NONE) == (m->n_sessions > 0));
	if (head == FLOW_NONE)
		return;
	CHECK(flow_find_in(&nat.flows, flow_ext_key_of(&nat.flows.flow[head])) == head);
	for (uint32_t remote = 0; remote < REMOTES; remote++)
		check_session(endpoint, remote);
	for (uint32_t r = head, prev = FLOW_NONE; r != FLOW_NONE; r = nat.flows.cold[r].next) {
		CHECK(r == head || nat.flows.cold[r].prev == prev);
		CHECK(r == head || nat.flows.flow[r].link == head);
		CHECK(flow_find_address(&nat.flows, head, nat.flows.flow[r].rem_addr) != FLOW_NONE);
		CHECK(++n <= REMOTES);
		// those of an address follow each other: it has one place in the index
		n_addresses +=
			r != head && (prev == head || flow[prev].rem_addr != flow[r].rem_addr);
		prev = r;
	}
	CHECK(n == m->n_sessions && flow_n_further(&nat.flows, head) == n - 1);
	CHECK(!(nat.flows.flow[head].flags & FLOW_FURTHER) == (n == 1));
}

static void check_gauges(void)
{
	uint32_t n_active = 0, n_records = 0, n_lent = 0, n_resting = 0;
	uint64_t n_used = 0;

	CHECK(nat.flows.n_used == model.n_sessions && nat.flows.n_mappings == model.n_mappings);
	CHECK(nat.flows.out.n_entries == model.n_sessions &&
		nat.flows.in.n_entries == model.n_mappings + n_addresses);
	CHECK(nat.rests.n_live == model.n_rest - model.n_holes &&
		nat.rests.n_held >= model.n_rest && nat.rests.index.n_entries <= nat.rests.n_live);
	for (uint32_t sub = 0; sub < model.c->n_subs; sub++) {
		n_active += model_n_lent(sub) > 0;
		n_records += model_n_lent(sub) || model_n_resting(sub);
	}
	CHECK(nat.subs.n_active == n_active && nat.subs.n_records == n_records);
	for (uint32_t i = 0; i < model.c->n_pools; i++) {
		n_lent += nat.blocks.pool[i].n_lent + nat.blocks.pool[i].n_presets_lent;
		n_resting += nat.blocks.pool[i].n_resting + nat.blocks.pool[i].n_presets_resting;
		n_used += nat.blocks.pool[i].n_ports_used;
	}
	for (uint32_t i = 0; i < model.n_blocks; i++) {
		const struct portblock *b = &nat.blocks.block[i];

		CHECK(b->state == model.block[i].state);
		CHECK(portblock_used(b) == model.block[i].n_used);
		n_lent -= b->state == PORTBLOCK_LENT;
		n_resting -= b->state == PORTBLOCK_RESTING;
		n_used -= model.block[i].n_used;
	}
	CHECK(!n_lent && !n_resting && !n_used);
}

static void check_index(const struct index *t)
{
	uint32_t n_entries = 0, n_guests = 0, n_away = 0;

	for (uint32_t i = 0; i < t->n_buckets; i++) {
		n_entries +=
			INDEX_SLOTS - (uint32_t)__builtin_popcount(index_match(&t->bucket[i], 0));
		n_guests += (uint32_t)__builtin_popcount(t->bucket[i].guests);
		n_away += t->bucket[i].n_away;
	}
	CHECK(n_entries == t->n_entries && n_guests == n_away);
}

static void check_subscribers(void)
{
	for (uint32_t sub = 0; sub < model.c->n_subs; sub++) {
		const uint32_t r = subscriber_lookup(&nat.subs, sub_address(sub), sub_pool(sub));
		const struct subscriber *s = &nat.subs.sub[r];
		uint32_t n_mappings = 0, n_sessions = 0;

		CHECK((r != SUBSCRIBER_NONE) == (model_n_lent(sub) || model_n_resting(sub)));
		if (r == SUBSCRIBER_NONE)
			continue;
		for (uint32_t i = 0; i < model.c->n_ports * CGN_L4_COUNT; i++) {
			const struct model_mapping *m =
				&model.mapping[sub * model.c->n_ports * CGN_L4_COUNT + i];

			n_mappings += m->n_sessions > 0;
			n_sessions += m->n_sessions;
		}
		CHECK(s->n_mappings == n_mappings && s->n_sessions == n_sessions);
		CHECK(s->n_lent == model_n_lent(sub) && s->n_resting == model_n_resting(sub));
	}
}

static void check_all(void)
{
	n_addresses = 0;
	for (uint32_t i = 0; i < model.n_endpoints; i++)
		check_endpoint(i);
	check_gauges();
	check_subscribers();
	check_index(&nat.flows.out);
	check_index(&nat.flows.in);
	check_index(&nat.rests.index);
	check_index(&nat.subs.index);
}

// ---- operations

static void operate(void)
{
	const uint32_t endpoint = rng_below(&rng, model.n_endpoints);
	const uint32_t remote = rng_below(&rng, 3) ? 0 : rng_below(&rng, REMOTES);

	if (!model.mapping[endpoint].session[remote].open) {
		if (rng_below(&rng, 100) < opening)
			nat_open(&nat, endpoint, remote);
	} else if (rng_below(&rng, 100) < opening) {
		nat_refresh(&nat, endpoint, remote);
	} else {
		nat_close(&nat, endpoint, remote);
	}
	check_endpoint(endpoint);
}

static void clear_subscriber(void)
{
	const uint32_t sub = rng_below(&rng, model.c->n_subs);
	const uint32_t n = model.c->n_ports * CGN_L4_COUNT;

	for (uint32_t endpoint = sub * n; endpoint < (sub + 1) * n; endpoint++)
		for (uint32_t remote = 0; remote < REMOTES; remote++)
			if (model.mapping[endpoint].session[remote].open)
				nat_close(&nat, endpoint, remote);
	model.n.cleared++;
}

static void tick(void)
{
	if (!rng_below(&rng, 3000))
		model.now_s += rng_below(&rng, 30000); // longer than the timers reach
	else
		model.now_s += rng_below(&rng, 20) ? 1 : rng_below(&rng, 60);
	if (rng_below(&rng, 5)) // else the next seconds come before this one is done with
		while (!nat_upkeep(&nat, 1 + rng_below(&rng, 64)))
			;
}

static void step(void)
{
	const uint32_t dice = rng_below(&rng, 10000);

	model.step++;
	if (model.step % 4000 == 1) // times of growth, of decline, and in between
		opening = 5 + 15 * rng_below(&rng, 7);
	if (dice < 150)
		tick();
	else if (dice < 250)
		nat_upkeep(&nat, 1 + rng_below(&rng, 64));
	else if (dice < 251)
		clear_subscriber();
	else
		operate();
	if (model.step % 5000 == 0)
		check_all();
}

// Everything ends: first the sessions, then the hold-down.
static void drain(void)
{
	const uint32_t end_s = model.now_s + 50000;

	while (model.now_s != end_s) {
		model.now_s++;
		while (!nat_upkeep(&nat, 64))
			;
	}
	check_all();
	CHECK(!model.n_sessions && !model.n_mappings && !model.n_rest);
	CHECK(!nat.subs.n_records && !nat.subs.n_active);
}

// Every port that is not reserved can be lent again: none was lost.
static void take_everything(void)
{
	uint64_t n_taken = 0, n_want = 0;

	for (uint32_t i = 0; i < model.n_blocks; i++)
		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
			for (uint32_t port = 0; port < model.block[i].n_ports; port++)
				n_want += model.block[i].port[l4][port].state != MODEL_RESERVED;
	for (uint32_t i = 0; i < model.n_blocks; i++) {
		if (!model.block[i].is_preset || model.block[i].state == PORTBLOCK_RESERVED)
			continue;
		portblock_take_preset(&nat.blocks, i, 0, model.now_s);
		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
			while (portblock_port_take(&nat.blocks, i, l4, &rng) >= 0)
				n_taken++;
	}
	for (uint32_t pool = 0; pool < model.c->n_pools; pool++) {
		uint32_t address;

		while ((address = portblock_pick_address(&nat.blocks, pool, &rng)) !=
			PORTBLOCK_NONE) {
			uint32_t block = portblock_take(&nat.blocks, address, 0, &rng, model.now_s);

			for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
				while (portblock_port_take(&nat.blocks, block, l4, &rng) >= 0)
					n_taken++;
		}
		CHECK(nat.blocks.pool[pool].n_lent == nat.blocks.pool[pool].n_total);
	}
	CHECK(n_taken == n_want);
}

static void run(const struct model_config *c, uint64_t seed, uint64_t steps)
{
	uint8_t key[32] = "model test";

	memcpy(key + 16, &seed, sizeof(seed));
	rng_init(&rng, key);
	key[0] = 'M'; // another stream for the tables
	model_init(c, seed);
	nat_init(&nat, key);
	while (model.step < steps)
		step();
	drain();
	take_everything();
	nat_fini(&nat);
	model_fini();
	CHECK(!mem_malloc_n_live);
}

// What the configurations together must have come across; a test that never fills a table would
// prove little.
static void count_events(uint64_t sum[], size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum[i] += ((const uint64_t *)&model.n)[i];
}

int main(int argc, char **argv)
{
	static const char *const events[] = {"opened", "added", "closed", "expired", "promoted",
		"table full", "subscribers full", "no port", "no block", "no address", "reclaimed",
		"block retaken", "rest cut short", "rested", "block freed", "cleared",
		"active full", "preset block lent", "overflow port left for a preset one"};
	uint64_t sum[sizeof(model.n) / sizeof(uint64_t)] = {0};
	const char *env = getenv("CGN_MODEL_STEPS");
	uint64_t seed, steps = env ? strtoull(env, NULL, 0) : STEPS;

	_Static_assert(
		sizeof(events) / sizeof(*events) == sizeof(sum) / sizeof(*sum), "a name each");
	if (argc > 1)
		seed = strtoull(argv[1], NULL, 0);
	else if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("1..%zu\n# seed %" PRIu64 "\n", N_CONFIGS + 1, seed);
	for (unsigned i = 0; i < N_CONFIGS; i++) {
		run(&configs[i], seed + i, steps / N_CONFIGS);
		printf("ok %u - the tables agree with the model: %s\n", i + 1, configs[i].name);
		count_events(sum, sizeof(sum) / sizeof(*sum));
	}
	for (unsigned i = 0; i < sizeof(sum) / sizeof(*sum); i++) {
		printf("# %s: %" PRIu64 "\n", events[i], sum[i]);
		if (!sum[i] && steps >= STEPS) {
			printf("not ok %zu - everything happened at least once\n", N_CONFIGS + 1);
			return 1;
		}
	}
	printf("ok %zu - everything happened at least once\n", N_CONFIGS + 1);
	return 0;
}
