// SPDX-License-Identifier: BSD-3-Clause
// One configuration, checked and immutable. control/ makes it from YAML, dataplane/ reads it.
//
// Owner:  control. cgn_config_free() frees all of it; nothing in it points outside.
// Units:  addresses and ports in host order, times in seconds, sizes as named.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/ipv6.h"
#include "cgnat/types.h"

struct cgn_prefix {
	uint32_t address; // as written, host bits kept: 100.64.0.1/10 is an interface address
	uint8_t length; // 0..32
};

// First and last belong to it.
struct cgn_address_range {
	uint32_t first, last;
};

struct cgn_port_range {
	uint16_t first, last;
};

struct cgn_route {
	struct cgn_prefix prefix;
	uint32_t via; // an address in one of the interface's own prefixes
};

enum cgn_role {
	CGN_INTERNAL,
	CGN_EXTERNAL,
};

// How a device brings packets to several workers (docs/architecture.md, "Receiving").
enum cgn_rss {
	CGN_RSS_AUTO, // the first of the others that it can do
	CGN_RSS_FLOW, // flow rules: one address is hashed alone
	CGN_RSS_KEY, // the hash key makes one address count alone
	CGN_RSS_SPREAD, // evenly, and not to their owners
	CGN_RSS_OFF, // all to one
};

static inline const char *cgn_rss_name(enum cgn_rss rss)
{
	return rss == CGN_RSS_FLOW	? "flow"
		: rss == CGN_RSS_KEY	? "key"
		: rss == CGN_RSS_SPREAD ? "spread"
		: rss == CGN_RSS_OFF	? "off"
					: "auto";
}

struct cgn_interface {
	char name[CGN_NAME_MAX];
	enum cgn_role role;
	char *device; // PCI address or DPDK vdev string
	struct cgn_prefix *addresses;
	uint32_t n_addresses; // at least 1
	uint16_t mtu; // IP bytes, 68..9600
	uint16_t vlan; // 0 = untagged, 1..4094
	enum cgn_rss rss;
	struct cgn_route *routes;
	uint32_t n_routes;
	struct cgn_prefix6 *addresses6; // with one of these the interface carries IPv6
	uint32_t n_addresses6;
	struct cgn_route6 *routes6;
	uint32_t n_routes6;
	bool no_icmp_errors; // icmp-errors: false: none is sent about what came in here
};

enum cgn_allocation {
	CGN_ALLOCATION_DYNAMIC,
	CGN_ALLOCATION_DETERMINISTIC, // RFC 7422
};

// By the numbers of RFC 7422 2.2.
enum cgn_algorithm {
	CGN_ALGORITHM_SEQUENTIAL,
	CGN_ALGORITHM_STAGGERED,
	CGN_ALGORITHM_ROUND_ROBIN,
	CGN_ALGORITHM_INTERLACED,
	CGN_ALGORITHM_CRYPTOGRAPHIC,
};

#define CGN_DET_KEY_BYTES 16

struct cgn_deterministic { // only with CGN_ALLOCATION_DETERMINISTIC
	enum cgn_algorithm algorithm;
	uint16_t ports; // of each subscriber, a multiple of 16
	bool include_boundaries; // network and broadcast addresses are subscribers, too
	uint8_t key[CGN_DET_KEY_BYTES]; // only with CGN_ALGORITHM_CRYPTOGRAPHIC
};

struct cgn_pool {
	char name[CGN_NAME_MAX];
	struct cgn_address_range *ranges; // sorted, none overlaps another, of any pool
	uint32_t n_ranges;
	struct cgn_port_range ports;
	enum cgn_allocation allocation;
	uint16_t block_size; // ports, power of two, 16..16384
	uint16_t max_blocks; // per subscriber; deterministic: its preset ports count as one
	struct cgn_port_range *reserved; // never given out; sorted, merged
	uint32_t n_reserved;
	bool soft_app; // a subscriber whose address has no free block gets one of another (RFC 7857 4)
	uint16_t first_block_reserve; // per cent of the blocks that only first blocks may come from
	struct cgn_deterministic deterministic;
};

enum cgn_action {
	CGN_TRANSLATE,
	CGN_BYPASS,
	CGN_DROP,
};

enum cgn_filtering {
	CGN_FILTER_ENDPOINT_INDEPENDENT,
	CGN_FILTER_ADDRESS_DEPENDENT,
	CGN_FILTER_ADDRESS_AND_PORT_DEPENDENT,
};

struct cgn_policy {
	char name[CGN_NAME_MAX];
	struct cgn_prefix *sources; // none = any; host bits are zero here
	uint32_t n_sources;
	struct cgn_prefix *destinations; // none = any
	uint32_t n_destinations;
	uint8_t protocol; // CGN_PROTO_ANY or an IP protocol number
	struct cgn_port_range *destination_ports; // none = any; only with TCP or UDP
	uint32_t n_destination_ports;
	enum cgn_action action;
	uint16_t pool; // index; only with CGN_TRANSLATE
	enum cgn_filtering filtering_udp, filtering_tcp;
	bool hairpin;
	bool inbound_refresh; // packets from outside keep UDP, ICMP and portless sessions alive, too
	uint8_t portless; // set of cgn_portless_bit(): translated by address alone
	uint32_t limit_sessions; // per subscriber, 0 = none
	uint32_t limit_new_sessions_per_s; // per subscriber, 0 = none
	uint32_t limit_mappings; // per subscriber, 0 = none
	uint32_t limit_mappings_of[CGN_L4_COUNT]; // of one protocol, 0 = none
	uint32_t limit_sessions_per_mapping; // 0 = none
};

// Sessions to a destination port: instead of timeouts.udp or, for TCP, tcp-established.
struct cgn_service_timeout {
	uint8_t protocol; // CGN_PROTO_TCP or CGN_PROTO_UDP
	uint16_t port;
	uint32_t timeout;
};

// Ports of one internal address that are always ports of one external address, as many. One-to-one
// is 0-65535 on both sides; anything else has no port 0.
struct cgn_static_mapping {
	char name[CGN_NAME_MAX];
	uint8_t protocol; // CGN_PROTO_ANY: TCP and UDP, and with one-to-one ICMP, too
	uint32_t internal, external;
	struct cgn_port_range internal_ports, external_ports;
};

static inline bool cgn_static_one_to_one(const struct cgn_static_mapping *m)
{
	return !m->external_ports.first;
}

static inline bool cgn_static_takes(const struct cgn_static_mapping *m, uint8_t protocol)
{
	return m->protocol == protocol ||
		(m->protocol == CGN_PROTO_ANY &&
			(protocol != CGN_PROTO_ICMP || cgn_static_one_to_one(m)));
}

struct cgn_timeouts {
	uint32_t udp, tcp_established, tcp_opening, tcp_closing, icmp, portless, hold_down,
		fragment;
	bool non_conformant; // values below the RFCs' minimum are allowed
	bool tcp_at_once; // hold-down-tcp: false: TCP ports that were closed do not rest
	uint32_t hold_down_max; // resting ports over all workers; 0: cgn_rests_max()'s default
	struct cgn_service_timeout services[CGN_SERVICES_MAX]; // by protocol, then port
	uint32_t n_services;
};

enum cgn_refused {
	CGN_REFUSED_HOST_UNREACHABLE, // ICMP 3/1 (RFC 6888 REQ-11b)
	CGN_REFUSED_ADMIN_PROHIBITED, // ICMP 3/13 (RFC 5508 REQ-8)
	CGN_REFUSED_OFF,
};

enum cgn_idle {
	CGN_IDLE_POLL, // workers never stop polling
	CGN_IDLE_RELAX, // they sleep shortly when there is nothing to do
};

struct cgn_config {
	struct {
		uint32_t main_lcore;
		uint32_t worker_lcores[CGN_WORKERS_MAX];
		uint32_t n_workers;
		bool share_cpus; // lcores are spread over the CPUs at hand
		enum cgn_idle idle;
		bool hugepages;
		uint32_t memory_mb;
		uint32_t max_sessions; // over all workers, shared out equally
		uint32_t max_subscribers; // likewise
		char **eal_args;
		uint32_t n_eal_args;
	} runtime;
	struct {
		char *socket;
	} control;
	struct cgn_interface *interfaces;
	uint32_t n_interfaces;
	struct cgn_pool *pools;
	uint32_t n_pools;
	struct cgn_policy *policies;
	uint32_t n_policies;
	struct cgn_static_mapping *static_mappings; // none overlaps another, on either side
	uint32_t n_static_mappings;
	struct cgn_timeouts timeouts;
	uint16_t tcp_mss_clamp; // 0 = off, else 536..9160
	bool tcp_unsolicited_icmp; // tcp-unsolicited-syn: icmp
	bool tcp_midstream_forward; // tcp-midstream: forward-if-mapped
	enum cgn_refused icmp_refused;
	uint32_t icmp_errors_per_s; // per worker
	uint32_t icmp_errors_per_host; // what a host may count on, per second
};

// Ports that may rest at a time. By default half as many as there may be sessions: a mapping lives 240 s
// or more (but for what ICMP and services have been given shorter), and then rests for 120 s.
static inline uint32_t cgn_rests_max(const struct cgn_config *c)
{
	const uint32_t n = c->timeouts.hold_down_max;

	return n ? n : c->runtime.max_sessions / 2 + c->runtime.max_sessions % 2;
}

void cgn_config_free(struct cgn_config *config);
