// SPDX-License-Identifier: BSD-3-Clause
// What a worker counts. One block per worker; only that worker writes it, anybody may read it
// (aligned 64-bit words, relaxed). Counters only rise; gauges go up and down and return to zero.
//
// Every packet is accounted for, at every moment when no burst is in flight:
//   rx_packets + originated = tx_packets + all drops + consumed + held
#pragma once
#include <stdint.h>
#include "cgnat/drop.h"
#include "cgnat/types.h"

//   X(name, text)
#define CGN_COUNTERS(X) \
	X(rx_packets, "frames received, of any kind") \
	X(rx_bytes, "bytes of them, Ethernet header included, FCS not") \
	X(tx_packets, "frames the transmit queues took, of any kind") \
	X(tx_bytes, "bytes of them") \
	X(originated, \
		"frames of our own: ARP, neighbour discovery, ICMP errors, echo replies, further pieces " \
		"of what we cut") \
	X(consumed, "frames taken for us: ARP, neighbour discovery, echo requests to us") \
	X(translated_outbound, "packets translated from internal to external") \
	X(translated_inbound, "packets translated from external to internal") \
	X(hairpinned, \
		"packets from internal to internal by way of an external address (RFC 4787 REQ-9)") \
	X(bypassed, "packets forwarded untouched by a bypass policy") \
	X(fragments_followed, \
		"fragments that followed the first of their datagram; in one of the four above, too") \
	X(packets_fragmented, "packets cut into fragments for the outgoing interface") \
	X(icmp_errors_translated, \
		"ICMP errors translated, either direction; in one of the first three above, too") \
	X(ipv6_forwarded, "IPv6 packets forwarded") \
	X(ipv6_forwarded_bytes, "bytes of them, IPv6 header included") \
	X(icmp_errors_sent, "ICMP errors of our own") \
	X(icmp_errors_suppressed, \
		"ICMP errors not sent: over icmp.errors-per-second, off on the interface, or no room " \
		"for a SYN to answer") \
	X(icmpv6_errors_sent, "ICMPv6 errors of our own") \
	X(icmpv6_errors_suppressed, \
		"ICMPv6 errors not sent: over icmp.errors-per-second, or off on the interface") \
	X(mappings_created, "mappings made; static ones are not counted here and below") \
	X(mappings_expired, "mappings ended by their timer") \
	X(mappings_cleared, "mappings ended by an operator's clear") \
	X(sessions_created, "sessions made") \
	X(sessions_expired, "sessions ended by their timer") \
	X(sessions_cleared, "sessions ended by an operator's clear") \
	X(subscribers_created, "subscribers who got their first block") \
	X(blocks_allocated, "port blocks lent to a subscriber; preset ones are not counted") \
	X(blocks_released, "port blocks given back by a subscriber; preset ones are not counted") \
	X(blocks_unpaired, \
		"port blocks lent on another address than the subscriber's own (soft-app); in " \
		"blocks_allocated, too") \
	X(ports_reclaimed, "resting ports taken up again by the same internal endpoint") \
	X(rests_cut_short, "ports whose hold-down ended early because too many rest") \
	X(handoffs, "packets handed to the worker that owns them") \
	X(tx_handoffs, "frames handed to the worker that transmits for the interface") \
	X(arp_requests_sent, "ARP requests sent") \
	X(arp_replies_sent, "ARP replies sent") \
	X(nd_solicitations_sent, "neighbour solicitations sent (IPv6)") \
	X(nd_advertisements_sent, "neighbour advertisements sent (IPv6)") \
	X(echo_replies_sent, "echo replies sent for our own addresses") \
	X(no_buffer, "frames of our own not made: no packet buffer was free") \
	X(idle_sleeps, "times an idle worker slept, for 30 us at most (runtime.idle)")

//   X(name, text)
#define CGN_GAUGES(X) \
	X(held, \
		"packets waiting for a neighbour's MAC address, for the first fragment of their " \
		"datagram, or inside a hand-off ring") \
	X(sessions, "sessions now") \
	X(static_sessions, "sessions of static mappings now; in sessions, too") \
	X(mappings, "mappings now, static ones not counted") \
	X(subscribers, "subscribers with a lent block now") \
	X(blocks, "blocks lent now") \
	X(blocks_held, "blocks in hold-down now") \
	X(ports_resting, "ports in hold-down now") \
	X(neighbours, "neighbours known now") \
	X(fragments_held, "fragments waiting for the first one of their datagram; in held, too") \
	X(fragmented_datagrams, "datagrams now of which some fragments are known, but not all") \
	X(busy_permille, "share of the last second spent on packets, in 1/1000") \
	X(asleep_permille, "share of the last second that idle workers slept, in 1/1000")

struct cgn_interface_counters {
	uint64_t rx_packets, rx_bytes, tx_packets, tx_bytes;
	uint64_t drops; // packets received here, or on their way out here, that were dropped
	uint64_t handoffs; // packets received here by another worker than their owner
};

struct cgn_pool_gauges {
	uint64_t blocks_total, blocks_used, blocks_held,
		ports_used; // preset blocks are counted, too
	uint64_t presets_total, presets_used, presets_held;
};

// A worker's block: worker: w, control: r.
struct cgn_counters {
#define X(name, text) uint64_t name;
	CGN_COUNTERS(X)
	CGN_GAUGES(X)
#undef X
	uint64_t drops[CGN_DROP_COUNT];
	struct cgn_interface_counters interfaces[CGN_INTERFACES_MAX];
	struct cgn_pool_gauges pools[CGN_POOLS_MAX];
};

// Adds every counter and gauge of `from` to `sum`. Reads relaxed: `from` may be a running worker's.
void cgn_counters_add(struct cgn_counters *sum, const struct cgn_counters *from);
