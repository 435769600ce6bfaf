// SPDX-License-Identifier: BSD-3-Clause
#include "fake_dataplane.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_SUBSCRIBERS 50 // that records are spread over

struct cgn_dataplane {
	const struct cgn_config *config;
};

struct cgn_walk {
	enum cgn_walk_kind kind;
	struct cgn_filter filter;
	uint64_t next; // record number; of a clear, the worker
	uint32_t n_workers;
};

struct fake fake;

void fake_reset(void)
{
	fake = (struct fake){.cleared = 21};
	fake.n[CGN_WALK_MAPPINGS] = 200;
	fake.n[CGN_WALK_SESSIONS] = 300;
	fake.n[CGN_WALK_BLOCKS] = 60;
	fake.n[CGN_WALK_SUBSCRIBERS] = N_SUBSCRIBERS;
}

uint32_t cgn_dataplane_blocks(const struct cgn_config *config)
{
	return 4;
}

int cgn_dataplane_start(const struct cgn_config *config, const struct cgn_block_memory *blocks,
	struct cgn_dataplane **out, char *err, size_t err_size)
{
	struct cgn_dataplane *dp = calloc(1, sizeof(*dp));

	if (!dp) {
		snprintf(err, err_size, "no memory");
		return -ENOMEM;
	}
	dp->config = config;
	*out = dp;
	return 0;
}

void cgn_dataplane_stop(struct cgn_dataplane *dp)
{
	free(dp);
}

uint64_t cgn_dataplane_table_bytes(const struct cgn_config *config)
{
	return (uint64_t)config->runtime.max_sessions * 128;
}

static void worker_counters(uint32_t worker, struct cgn_counters *c)
{
	uint64_t value = 1000 * (worker + 1);

	memset(c, 0, sizeof(*c));
#define X(name, text) c->name = value++;
	CGN_COUNTERS(X)
#undef X
	c->sessions = 150;
	c->mappings = 100;
	c->subscribers = 25;
	c->blocks = 30;
	c->busy_permille = worker == 0 ? 123 : 0;
	c->asleep_permille = worker == 0 ? 456 : 0;
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		c->drops[i] = i % 5 == 1 ? i * (worker + 1) : 0;
	c->interfaces[0] = (struct cgn_interface_counters){10, 640, 20, 1280, 1};
	c->interfaces[1] = (struct cgn_interface_counters){20, 1280, 10, 640, 2};
	c->pools[0] = (struct cgn_pool_gauges){2000, 333, 5, 4321};
}

void cgn_dataplane_counters(
	const struct cgn_dataplane *dp, uint32_t worker, struct cgn_counters *out)
{
	struct cgn_counters one;

	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < dp->config->runtime.n_workers; i++) {
		if (worker != CGN_ALL_WORKERS && worker != i)
			continue;
		worker_counters(i, &one);
		cgn_counters_add(out, &one);
	}
}

int cgn_dataplane_link(
	const struct cgn_dataplane *dp, uint32_t interface, struct cgn_link_status *out)
{
	if (fake.link_error)
		return fake.link_error;
	*out = (struct cgn_link_status){
		.mac = {2, 0, 0, 0, 0, (uint8_t)interface},
		.up = interface == 0,
		.speed_mbps = 10000,
		.rx_queues = 2,
		.tx_queues = 2,
		.rss = interface == 0 ? CGN_RSS_KEY : CGN_RSS_OFF,
		.driver = "net_null",
		.nic_missed = 7,
	};
	return 0;
}

static uint32_t subscriber_of(uint64_t i)
{
	return 0x64400001 + (uint32_t)(i % N_SUBSCRIBERS); // 100.64.0.1 ...
}

static uint32_t external_of(uint64_t i)
{
	return 0xcb007100 + (uint32_t)(i % N_SUBSCRIBERS % 4); // 203.0.113.0 ...
}

static uint8_t protocol_of(uint64_t i)
{
	return i % 3 == 0 ? CGN_PROTO_TCP : i % 3 == 1 ? CGN_PROTO_UDP : CGN_PROTO_ICMP;
}

static void make_session(uint64_t i, struct cgn_walk_session *s)
{
	*s = (struct cgn_walk_session){
		.internal = subscriber_of(i),
		.internal_port = (uint16_t)(1024 + i % 60000),
		.external = external_of(i),
		.external_port = (uint16_t)(2048 + i % 60000),
		.remote = 0xc6336401, // 198.51.100.1
		.remote_port = protocol_of(i) == CGN_PROTO_ICMP ? 0 : 443,
		.protocol = protocol_of(i),
		.state = protocol_of(i) == CGN_PROTO_TCP
			? (enum cgn_session_state)(CGN_SESSION_INIT + i / 3 % 6)
			: CGN_SESSION_ACTIVE,
		.policy = i % 50 == 49,
		.age_s = (uint32_t)(i % 100000),
		.expires_s = 300,
		.packets_out = i,
		.packets_in = 2 * i,
		.bytes_out = 100 * i,
		.bytes_in = 5000000000 + i,
	};
}

static void make_record(enum cgn_walk_kind kind, uint64_t i, struct cgn_walk_record *r)
{
	memset(r, 0, sizeof(*r));
	r->worker = (uint32_t)(i % 2);
	if (kind == CGN_WALK_SESSIONS) {
		make_session(i, &r->session);
	} else if (kind == CGN_WALK_MAPPINGS) {
		r->mapping = (struct cgn_walk_mapping){subscriber_of(i), external_of(i),
			(uint16_t)(1024 + i % 60000), (uint16_t)(2048 + i % 60000), protocol_of(i),
			i == FAKE_STATIC, i % 50 == 49, 1, (uint32_t)i, 300};
	} else if (kind == CGN_WALK_BLOCKS) {
		r->block = (struct cgn_walk_block){.subscriber = subscriber_of(i),
			.external = external_of(i),
			.first_port = (uint16_t)(1024 + 256 * (i % 250)),
			.last_port = (uint16_t)(1279 + 256 * (i % 250)),
			.step = 1,
			.preset = i == FAKE_PRESET,
			.ports_used = (uint32_t)(i % 256),
			.allocated_at = 1700000000 + (int64_t)i};
	} else {
		r->subscriber = (struct cgn_walk_subscriber){.subscriber = subscriber_of(i),
			.external = external_of(i),
			.blocks = 1,
			.ports_used = (uint32_t)i,
			.mappings = 6,
			.mappings_of = {[CGN_L4_TCP] = 3, [CGN_L4_UDP] = 2, [CGN_L4_ICMP] = 1},
			.sessions = 6,
			.policy = i % 50 == 49};
		r->subscriber.drops[CGN_SUBSCRIBER_DROP_BLOCK_LIMIT] = i;
	}
}

static bool matches(const struct cgn_filter *f, enum cgn_walk_kind kind, uint64_t i)
{
	struct cgn_walk_session s; // the address and port of any record are those of session i

	make_session(i, &s);
	if ((f->by_subscriber && f->subscriber != s.internal) ||
		(f->by_external && f->external != s.external) ||
		(f->by_worker && f->worker != i % 2) || (f->by_policy && f->policy != s.policy))
		return false;
	if (kind == CGN_WALK_BLOCKS && f->by_external_port &&
		(f->external_port - 1024u) / 256 != i % 250)
		return false;
	if (kind == CGN_WALK_BLOCKS || kind == CGN_WALK_SUBSCRIBERS)
		return true;
	return (!f->by_external_port || f->external_port == s.external_port) &&
		(!f->by_remote || f->remote == s.remote) &&
		(!f->by_remote_port || f->remote_port == s.remote_port) &&
		(!f->by_protocol || f->protocol == s.protocol);
}

int cgn_walk_start(struct cgn_dataplane *dp, enum cgn_walk_kind kind,
	const struct cgn_filter *filter, struct cgn_walk **out)
{
	if (fake.start_error)
		return fake.start_error;
	if (fake.walks_open == CGN_WALKS_MAX)
		return -EBUSY;
	struct cgn_walk *walk = calloc(1, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	walk->kind = kind;
	walk->filter = *filter;
	walk->n_workers = dp->config->runtime.n_workers;
	fake.walks_open++;
	*out = walk;
	return 0;
}

uint32_t cgn_walk_read(
	struct cgn_walk *walk, struct cgn_walk_record *records, uint32_t max, bool *done)
{
	bool clears =
		walk->kind == CGN_WALK_CLEAR_SESSIONS || walk->kind == CGN_WALK_CLEAR_MAPPINGS;
	uint64_t end = clears ? walk->n_workers : fake.n[walk->kind];
	uint32_t n = 0;

	*done = false;
	if (fake.silent)
		return 0;
	if (fake.read_max && max > fake.read_max)
		max = fake.read_max;
	for (; n < max && walk->next < end; walk->next++) {
		if (clears)
			records[n++].cleared.cleared = fake.cleared;
		else if (matches(&walk->filter, walk->kind, walk->next))
			make_record(walk->kind, walk->next, &records[n++]);
	}
	fake.records_read += n;
	*done = walk->next >= end;
	return n;
}

void cgn_walk_end(struct cgn_walk *walk)
{
	fake.walks_open--;
	free(walk);
}
