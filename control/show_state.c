// SPDX-License-Identifier: BSD-3-Clause
// The short results: status, counters, drops, interfaces, pools.
#include "cgnat/deterministic.h"
#include "request.h"
#include "text.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Too big for a stack; nobody but the control thread comes here.
static struct cgn_counters counters;

// All of them in one json_pack() would be long; this adds one and remembers a failure.
static void add(json_t **object, const char *key, json_t *value)
{
	if (*object && json_object_set_new(*object, key, value)) {
		json_decref(*object);
		*object = NULL;
	} else if (!*object) {
		json_decref(value);
	}
}

static void add_integer(json_t **object, const char *key, uint64_t value)
{
	add(object, key, json_integer((json_int_t)value));
}

static void append(json_t **array, json_t *value)
{
	if (*array && json_array_append_new(*array, value)) {
		json_decref(*array);
		*array = NULL;
	} else if (!*array) {
		json_decref(value);
	}
}

// Percent with one decimal.
static json_t *percent(uint64_t part, uint64_t whole)
{
	return json_real(whole ? (double)((part * 1000 + whole / 2) / whole) / 10 : 0);
}

json_t *run_status(struct request *r)
{
	const struct control *c = r->control;
	json_t *status = json_object(), *workers = json_array();

	for (uint32_t i = 0; i < c->config->runtime.n_workers; i++) {
		cgn_dataplane_counters(c->dp, i, &counters);
		append(&workers,
			json_pack("{s:I, s:I, s:o*, s:o*}", "id", (json_int_t)i, "lcore",
				(json_int_t)c->config->runtime.worker_lcores[i], "busy_percent",
				percent(counters.busy_permille, 1000), "asleep_percent",
				percent(counters.asleep_permille, 1000)));
	}
	cgn_dataplane_counters(c->dp, CGN_ALL_WORKERS, &counters);
	uint64_t blocks_total = 0;
	for (uint32_t i = 0; i < c->config->n_pools; i++)
		blocks_total += counters.pools[i].blocks_total;

	add(&status, "version", json_string(CGN_VERSION));
	add_integer(&status, "pid", (uint64_t)getpid());
	add_integer(&status, "uptime_seconds", (r->now_ns - c->started_ns) / 1000000000);
	add_integer(&status, "generation", c->generation);
	add(&status, "workers", workers);
	add_integer(&status, "sessions", counters.sessions);
	add_integer(&status, "sessions_max", c->config->runtime.max_sessions);
	add_integer(&status, "mappings", counters.mappings);
	add_integer(&status, "subscribers", counters.subscribers);
	add_integer(&status, "subscribers_max", c->config->runtime.max_subscribers);
	add_integer(&status, "blocks", counters.blocks);
	add_integer(&status, "blocks_total", blocks_total);
	return status;
}

static void add_counters(json_t **object, const struct cgn_counters *from)
{
	uint64_t dropped = 0;

#define X(name, text) add_integer(object, #name, from->name);
	CGN_COUNTERS(X)
	CGN_GAUGES(X)
#undef X
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		dropped += from->drops[i];
	add_integer(object, "dropped", dropped);
}

json_t *run_show_counters(struct request *r)
{
	uint32_t n_workers = r->control->config->runtime.n_workers;
	json_t *result;

	if (r->args.per_worker) {
		result = json_array();
		for (uint32_t i = 0; i < n_workers; i++) {
			json_t *one = json_object();

			cgn_dataplane_counters(r->control->dp, i, &counters);
			add_integer(&one, "worker", i);
			add_counters(&one, &counters);
			append(&result, one);
		}
		return result;
	}
	result = json_object();
	cgn_dataplane_counters(r->control->dp, CGN_ALL_WORKERS, &counters);
	counters.busy_permille /= n_workers; // shares, not sums
	counters.asleep_permille /= n_workers;
	add_counters(&result, &counters);
	return result;
}

json_t *run_show_drops(struct request *r)
{
	static const char *const names[] = {
#define X(name, text) #name,
		CGN_DROPS(X)
#undef X
	};
	const struct cgn_filter *f = &r->args.filter;
	json_t *drops = json_object();

	cgn_dataplane_counters(
		r->control->dp, f->by_worker ? f->worker : CGN_ALL_WORKERS, &counters);
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		add_integer(&drops, names[i], counters.drops[i]);
	return drops;
}

static json_t *interface_json(const struct cgn_interface *i,
	const struct cgn_interface_counters *count, const struct cgn_link_status *link)
{
	json_t *object = json_object(), *addresses = json_array();
	static const uint8_t no_mac[6];
	char mac[18], prefix[TEXT_PREFIX6_MAX];

	for (uint32_t a = 0; a < i->n_addresses; a++)
		append(&addresses, json_string(text_prefix(prefix, &i->addresses[a])));
	for (uint32_t a = 0; a < i->n_addresses6; a++)
		append(&addresses, json_string(text_prefix6(prefix, &i->addresses6[a])));
	if (i->n_addresses6 && memcmp(link->mac, no_mac, sizeof(no_mac))) {
		const struct cgn_prefix6 own = {cgn_ipv6_link_local(link->mac), 64};

		append(&addresses, json_string(text_prefix6(prefix, &own)));
	}
	snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", link->mac[0], link->mac[1],
		link->mac[2], link->mac[3], link->mac[4], link->mac[5]);

	add(&object, "name", json_text(i->name));
	add(&object, "role", json_string(i->role == CGN_INTERNAL ? "internal" : "external"));
	add(&object, "device", json_text(i->device));
	add(&object, "driver", json_text(link->driver));
	add(&object, "mac", json_string(mac));
	add(&object, "link", json_string(link->up ? "up" : "down"));
	add_integer(&object, "speed_mbps", link->speed_mbps);
	add(&object, "addresses", addresses);
	add_integer(&object, "mtu", i->mtu);
	add_integer(&object, "vlan", i->vlan);
	add_integer(&object, "rx_packets", count->rx_packets);
	add_integer(&object, "rx_bytes", count->rx_bytes);
	add_integer(&object, "tx_packets", count->tx_packets);
	add_integer(&object, "tx_bytes", count->tx_bytes);
	add_integer(&object, "drops", count->drops);
	add_integer(&object, "handoffs", count->handoffs);
	add_integer(&object, "nic_missed", link->nic_missed);
	add_integer(&object, "rx_queues", link->rx_queues);
	add_integer(&object, "tx_queues", link->tx_queues);
	add(&object, "rss", json_string(cgn_rss_name(link->rss)));
	return object;
}

json_t *run_show_interfaces(struct request *r)
{
	const struct cgn_config *config = r->control->config;
	json_t *list = json_array();

	cgn_dataplane_counters(r->control->dp, CGN_ALL_WORKERS, &counters);
	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		struct cgn_link_status link = {0};

		// a device that does not answer (unplugged) is shown as down, with what we know
		if (cgn_dataplane_link(r->control->dp, i, &link))
			link = (struct cgn_link_status){.rss = CGN_RSS_OFF};
		append(&list,
			interface_json(&config->interfaces[i], &counters.interfaces[i], &link));
	}
	return list;
}

// What follows from the configuration of a deterministic pool, with the record of this moment.
static json_t *deterministic_json(const struct cgn_config *config, uint32_t pool)
{
	const struct cgn_pool *p = &config->pools[pool];
	struct cgn_det *det = cgn_det_create(config, pool);
	char *record = det ? cgn_det_record(det, time(NULL)) : NULL, key[12];
	json_t *object = json_object();

	if (record) {
		add(&object, "algorithm",
			json_string(cgn_algorithm_name(p->deterministic.algorithm)));
		add_integer(&object, "ports", p->deterministic.ports);
		add_integer(&object, "subscribers", det->subscribers.n_addresses);
		if (p->deterministic.algorithm == CGN_ALGORITHM_CRYPTOGRAPHIC) {
			snprintf(key, sizeof(key), "%08x", cgn_det_key_id(p));
			add(&object, "key_id", json_string(key));
		}
		add(&object, "record", json_string(record));
	}
	free(record);
	cgn_det_destroy(det);
	return object;
}

static json_t *pool_json(const struct cgn_pool *p, const struct cgn_pool_gauges *gauges)
{
	json_t *object = json_object(), *addresses = json_array();
	char range[TEXT_RANGE_MAX], ports[TEXT_PORTS_MAX];

	for (uint32_t i = 0; i < p->n_ranges; i++)
		append(&addresses, json_string(text_range(range, &p->ranges[i])));
	add(&object, "name", json_text(p->name));
	add(&object, "addresses", addresses);
	add(&object, "ports", json_string(text_ports(ports, &p->ports)));
	add(&object, "allocation",
		json_string(p->allocation == CGN_ALLOCATION_DYNAMIC ? "dynamic" : "deterministic"));
	add_integer(&object, "block_size", p->block_size);
	add_integer(&object, "max_blocks", p->max_blocks);
	add_integer(&object, "blocks_total", gauges->blocks_total);
	add_integer(&object, "blocks_used", gauges->blocks_used);
	add_integer(&object, "blocks_held", gauges->blocks_held);
	add_integer(&object, "ports_used", gauges->ports_used);
	add(&object, "utilization_percent", percent(gauges->blocks_used, gauges->blocks_total));
	return object;
}

json_t *run_show_pools(struct request *r)
{
	const struct cgn_config *config = r->control->config;
	json_t *list = json_array();

	cgn_dataplane_counters(r->control->dp, CGN_ALL_WORKERS, &counters);
	for (uint32_t i = 0; i < config->n_pools; i++) {
		const struct cgn_pool_gauges *gauges = &counters.pools[i];
		json_t *pool = pool_json(&config->pools[i], gauges);

		if (config->pools[i].allocation == CGN_ALLOCATION_DETERMINISTIC) {
			add_integer(&pool, "presets_total", gauges->presets_total);
			add_integer(&pool, "presets_used", gauges->presets_used);
			add_integer(&pool, "presets_held", gauges->presets_held);
			add(&pool, "deterministic", deterministic_json(config, i));
		}
		append(&list, pool);
	}
	return list;
}
