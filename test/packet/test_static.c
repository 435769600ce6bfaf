// SPDX-License-Identifier: BSD-3-Clause
// Static mappings: port forwards, ranges, one-to-one.
#include "bed.h"
#include <stdlib.h>
#include "snapshot.h"
#include "walk.h"

#define WEB \
	"{name: web, protocol: tcp, internal: \"100.64.0.5:8443\", external: \"203.0.113.1:443\"}"
#define GAME \
	"{name: game, internal: \"100.64.0.6:7000-7009\", external: \"203.0.113.1:17000-17009\"}"
#define WHOLE_HOST "{name: host, internal: 100.64.0.7, external: 203.0.113.4}"
#define STATIC(list) "static-mappings: [" list "]"
#define X4 (X1 + 3) // CAROL's own
#define SYN_ACK (TCP_SYN | TCP_ACK)

static struct endpoint map(uint32_t host, unsigned port)
{
	return source_of(pass_out(udp(at(host, port), at(S1, 53))));
}

// ---- walks: what cgnatctl asks of each worker

#define RECORDS_MAX 65536
static struct cgn_walk_record records[RECORDS_MAX];

// All records of a walk over all workers.
static unsigned walk(enum cgn_walk_kind kind, struct cgn_filter filter)
{
	unsigned n = 0;

	for (unsigned i = 0; i < bed.n_workers; i++) {
		struct worker_walk *part = aligned_alloc(CGN_CACHE_LINE, sizeof(*part));

		assert_non_null(part);
		memset(part, 0, sizeof(*part));
		part->kind = kind;
		part->filter = filter;
		assert_int_equal(rte_ring_sp_enqueue(bed.worker[i]->walk_ring, part), 0);
		for (unsigned turn = 0; turn < 10000; turn++) {
			uint32_t tail = part->tail;

			bed_poll(i);
			assert_true(n + part->head - tail <= RECORDS_MAX);
			while (tail != part->head)
				records[n++] = part->ring[tail++ % WALK_RING];
			part->tail = tail;
			if (part->done)
				break;
		}
		assert_true(part->done);
		free(part);
	}
	return n;
}
#define WALK(kind, ...) walk(CGN_WALK_##kind, (struct cgn_filter){__VA_ARGS__})

static const struct cgn_walk_mapping *listed(uint32_t external, unsigned port, unsigned n)
{
	const struct cgn_walk_mapping *found = NULL;

	for (unsigned i = 0; i < n; i++) {
		const struct cgn_walk_mapping *m = &records[i].mapping;

		if (m->external != external || m->external_port != port)
			continue;
		assert_null(found); // each is there once
		found = m;
	}
	return found;
}

// ---- port forwards

static void a_port_forward_is_reached_from_outside_by_the_real_client(void **state)
{
	struct frame f;

	BED(.more = STATIC(WEB));
	f = pass_in(tcp(at(S1, 4000), at(X1, 443), TCP_SYN));
	assert_endpoint(source_of(f), at(S1, 4000));
	assert_endpoint(destination_of(f), at(ALICE, 8443));
	f = pass_out(tcp(at(ALICE, 8443), at(S1, 4000), SYN_ACK));
	assert_endpoint(source_of(f), at(X1, 443));
	assert_endpoint(destination_of(f), at(S1, 4000));
	pass_in(tcp(at(S1, 4000), at(X1, 443), TCP_ACK));
	pass_in(tcp(at(S2, 4000), at(X1, 443), TCP_SYN)); // anybody
	assert_int_equal(gauge(sessions), 2);
	assert_int_equal(gauge(static_sessions), 2);
	assert_int_equal(gauge(mappings), 0); // no dynamic one
	assert_int_equal(gauge(subscribers), 0); // and no block, no paired address
	COUNTED(.rx_packets = 4, .tx_packets = 4, .translated_inbound = 3, .translated_outbound = 1,
		.sessions_created = 2);
}

static void only_what_is_mapped_is_reached(void **state)
{
	BED(.more = STATIC(WEB));
	refuse_in(tcp(at(S1, 4000), at(X1, 444), TCP_SYN), CGN_DROP_NO_MAPPING);
	refuse_in(tcp(at(S1, 4000), at(X1 + 1, 443), TCP_SYN), CGN_DROP_NO_MAPPING);
	refuse_in(udp(at(S1, 4000), at(X1, 443)), CGN_DROP_NO_MAPPING);
	refuse_in(tcp(at(S1, 4000), at(X1, 443), TCP_ACK), CGN_DROP_TCP_NO_SESSION);
	refuse_in(tcp(at(X1 + 1, 4000), at(X1, 443), TCP_SYN), CGN_DROP_IP_SOURCE);
	refuse_in(echo(at(S1, 443), X1), CGN_DROP_ICMP_NO_SESSION);
}

static void the_hosts_own_packets_from_there_go_out_as_the_external_endpoint(void **state)
{
	BED(.more = STATIC(WEB));
	assert_endpoint(
		source_of(pass_out(tcp(at(ALICE, 8443), at(S1, 80), TCP_SYN))), at(X1, 443));
	assert_endpoint(
		source_of(pass_out(tcp(at(ALICE, 8443), at(S2, 80), TCP_SYN))), at(X1, 443));
	pass_in(tcp(at(S2, 80), at(X1, 443), SYN_ACK));
	assert_int_equal(gauge(mappings), 0);
	// what else the host sends has mappings like anybody's
	assert_in_range(
		source_of(pass_out(tcp(at(ALICE, 8444), at(S1, 80), TCP_SYN))).port, 1024, 65535);
	assert_in_range(map(ALICE, 8443).port, 1024, 65535);
	assert_int_equal(gauge(mappings), 2);
	assert_int_equal(gauge(static_sessions), 2);
	refuse_out(tcp(at(ALICE, 8443), at(S1, 81), TCP_ACK), CGN_DROP_TCP_NO_SESSION);
}

static void a_range_keeps_its_order_and_both_protocols(void **state)
{
	BED(.more = STATIC(GAME));
	for (unsigned i = 0; i < 10; i++) {
		struct frame f = pass_in(udp(at(S1, 4000), at(X1, 17000 + i)));

		assert_endpoint(destination_of(f), at(BOB, 7000 + i));
		f = pass_out(udp(at(BOB, 7000 + i), at(S2, 4000)));
		assert_endpoint(source_of(f), at(X1, 17000 + i));
		f = pass_in(tcp(at(S1, 4000), at(X1, 17000 + i), TCP_SYN));
		assert_endpoint(destination_of(f), at(BOB, 7000 + i));
	}
	refuse_in(udp(at(S1, 4000), at(X1, 16999)), CGN_DROP_NO_MAPPING);
	refuse_in(udp(at(S1, 4000), at(X1, 17010)), CGN_DROP_NO_MAPPING);
}

static void policies_decide_what_the_host_opens_but_not_who_reaches_it(void **state)
{
	BED(.policies = "  - {name: no, match: {source: [100.64.0.5], destination: [198.51.100.2]},"
			" action: drop}\n"
			"  - {name: home, match: {source: [100.64.0.0/16]}, pool: p}",
		.more = STATIC(WEB ", {name: far, protocol: udp, internal: \"100.65.0.1:53\","
				   " external: \"203.0.113.2:53\"}"));
	refuse_out(tcp(at(ALICE, 8443), at(S2, 80), TCP_SYN), CGN_DROP_POLICY_DROP);
	pass_in(tcp(at(S2, 80), at(X1, 443), TCP_SYN));
	pass_out(tcp(at(ALICE, 8443), at(S2, 80), SYN_ACK)); // it answers
	refuse_out(udp(at(0x64410001, 53), at(S1, 53)), CGN_DROP_POLICY_NONE);
	pass_in(udp(at(S1, 53), at(X1 + 1, 53)));
	pass_out(udp(at(0x64410001, 53), at(S1, 53)));
}

// ---- one-to-one

static void one_to_one_keeps_every_port_both_ways(void **state)
{
	static const unsigned ports[] = {0, 1, 80, 1023, 1024, 40000, 65535};

	BED(.more = STATIC(WHOLE_HOST));
	for (unsigned i = 0; i < sizeof(ports) / sizeof(*ports); i++) {
		struct frame f = pass_out(udp(at(CAROL, ports[i]), at(S1, 53)));

		assert_endpoint(source_of(f), at(X4, ports[i]));
		f = pass_in(udp(at(S2, 53), at(X4, ports[i])));
		assert_endpoint(source_of(f), at(S2, 53));
		assert_endpoint(destination_of(f), at(CAROL, ports[i]));
		f = pass_in(tcp(at(S2, 53), at(X4, ports[i]), TCP_SYN));
		assert_endpoint(destination_of(f), at(CAROL, ports[i]));
		f = pass_out(tcp(at(CAROL, ports[i]), at(S1, 53), TCP_SYN));
		assert_endpoint(source_of(f), at(X4, ports[i]));
		f = pass_out(echo(at(CAROL, ports[i]), S1));
		assert_endpoint(source_of(f), at(X4, ports[i]));
		f = pass_in(echo_reply(S1, at(X4, ports[i])));
		assert_endpoint(destination_of(f), at(CAROL, ports[i]));
	}
	assert_int_equal(gauge(mappings), 0);
	assert_int_equal(gauge(subscribers), 0);
}

static void one_to_one_is_pinged_from_outside(void **state)
{
	struct frame f;

	BED(.more = STATIC(WHOLE_HOST));
	f = echo(at(S1, 77), X4);
	f = pass_in(f);
	assert_endpoint(source_of(f), at(S1, 77));
	assert_int_equal(destination_of(f).address, CAROL);
	f = pass_out(echo_reply(CAROL, at(S1, 77)));
	assert_int_equal(source_of(f).address, X4);
	assert_endpoint(destination_of(f), at(S1, 77));
	pass_in(echo(at(S1, 77), X4));
	assert_int_equal(gauge(sessions), 1);
	refuse_out(echo_reply(CAROL, at(S2, 77)), CGN_DROP_ICMP_TYPE); // nobody asked
	refuse_in(echo_reply(S2, at(X4, 77)), CGN_DROP_ICMP_NO_SESSION);
	refuse_in(echo(at(S1, 77), X1), CGN_DROP_ICMP_NO_SESSION); // no such thing elsewhere
	refuse_out(echo_reply(ALICE, at(S1, 77)), CGN_DROP_ICMP_TYPE);
}

// Traceroute and path MTU discovery through a one-to-one mapping, from outside.
static void errors_about_a_ping_from_outside_come_back(void **state)
{
	struct frame in, f, reply;

	BED(.more = STATIC(WHOLE_HOST));
	f = with_ttl(echo(at(S1, 77), X4), 1);
	bed_put(OUTSIDE, f);
	bed_run();
	assert_error(expect_frame(OUTSIDE), 11, 0, US_OUTSIDE, S1, f);
	in = pass_in(echo(at(S1, 77), X4));
	f = pass_out(icmp_error(ROUTER_INSIDE, S1, 11, 0, &in, WHOLE));
	assert_error(f, 11, 0, X4, S1, with_ttl(echo(at(S1, 77), X4), 63));
	reply = pass_out(echo_reply(CAROL, at(S1, 77)));
	f = pass_in(icmp_error(ROUTER_OUTSIDE, X4, 3, 1, &reply, WHOLE));
	assert_error(f, 3, 1, ROUTER_OUTSIDE, CAROL, with_ttl(echo_reply(CAROL, at(S1, 77)), 63));
	assert_int_equal(bed_sum().icmp_errors_translated, 2);
	// nobody else has sent or got such
	in = echo(at(S1, 78), ALICE);
	refuse_out(icmp_error(ROUTER_INSIDE, S1, 11, 0, &in, WHOLE), CGN_DROP_ICMP_QUOTE);
}

static void one_to_one_of_one_protocol_takes_no_other(void **state)
{
	BED(.more = STATIC(
		    "{name: a, protocol: udp, internal: 100.64.0.7, external: 203.0.113.4},"
		    "{name: b, protocol: icmp, internal: 100.64.0.6, external: 203.0.113.4}"));
	assert_int_equal(destination_of(pass_in(udp(at(S1, 1), at(X4, 53)))).address, CAROL);
	assert_int_equal(destination_of(pass_in(echo(at(S1, 1), X4))).address, BOB);
	refuse_in(tcp(at(S1, 1), at(X4, 53), TCP_SYN), CGN_DROP_NO_MAPPING);
	assert_true(source_of(pass_out(tcp(at(CAROL, 53), at(S1, 1), TCP_SYN))).address != X4);
}

// ---- they stay

static void they_survive_their_sessions(void **state)
{
	BED(.more = STATIC(WEB ", " GAME));
	for (unsigned round = 0; round < 3; round++) {
		assert_endpoint(
			destination_of(pass_in(udp(at(S1, 1), at(X1, 17003)))), at(BOB, 7003));
		pass_in(tcp(at(S1, 1), at(X1, 443), TCP_SYN));
		assert_int_equal(gauge(sessions), 2);
		bed_wait(302);
		assert_int_equal(gauge(sessions), 0);
		assert_int_equal(gauge(static_sessions), 0);
		assert_int_equal(WALK(MAPPINGS), 11);
	}
	assert_int_equal(bed_sum().sessions_expired, 6);
	assert_int_equal(bed_sum().mappings_expired, 0);
}

static void clearing_ends_their_sessions_only(void **state)
{
	BED(.more = STATIC(WEB));
	pass_in(tcp(at(S1, 1), at(X1, 443), TCP_SYN));
	pass_in(tcp(at(S2, 1), at(X1, 443), TCP_SYN));
	map(ALICE, 1);
	assert_int_equal(WALK(CLEAR_MAPPINGS), 1);
	assert_int_equal(records[0].cleared.cleared, 1); // the dynamic one
	assert_int_equal(gauge(sessions), 2);
	assert_int_equal(WALK(CLEAR_SESSIONS), 1);
	assert_int_equal(records[0].cleared.cleared, 2);
	assert_int_equal(WALK(MAPPINGS), 1);
	pass_in(tcp(at(S1, 1), at(X1, 443), TCP_SYN));
}

static void a_mapping_lives_on_when_its_first_session_ends_before_others(void **state)
{
	BED(.more = STATIC(GAME));
	pass_in(udp(at(S1, 1), at(X1, 17000)));
	bed_wait(100);
	pass_in(udp(at(S2, 1), at(X1, 17000)));
	assert_int_equal(gauge(static_sessions), 2);
	bed_wait(202);
	assert_int_equal(gauge(static_sessions), 1);
	assert_int_equal(gauge(mappings), 0);
	assert_endpoint(source_of(pass_out(udp(at(BOB, 7000), at(S2, 1)))), at(X1, 17000));
	pass_in(udp(at(S1, 1), at(X1, 17000)));
	assert_int_equal(gauge(static_sessions), 2);
}

// ---- listed

static void each_is_listed_once_with_sessions_or_without(void **state)
{
	const struct cgn_walk_mapping *m;
	unsigned n;

	BED(.more = STATIC(WEB ", " GAME ", " WHOLE_HOST));
	n = WALK(MAPPINGS);
	assert_int_equal(n, 12);
	m = listed(X1, 443, n);
	assert_true(m && m->is_static && m->protocol == CGN_PROTO_TCP && !m->sessions);
	assert_true(m->internal == ALICE && m->internal_port == 8443 && m->static_mapping == 0);
	for (unsigned i = 0; i < 10; i++) {
		m = listed(X1, 17000 + i, n);
		assert_true(m && m->internal == BOB && m->internal_port == 7000 + i);
	}
	m = listed(X4, 0, n);
	assert_true(m && m->internal == CAROL && !m->internal_port && m->static_mapping == 2);
	pass_in(tcp(at(S1, 1), at(X1, 443), TCP_SYN));
	pass_in(tcp(at(S2, 1), at(X1, 443), TCP_SYN));
	pass_in(udp(at(S2, 1), at(X1, 17004)));
	pass_in(tcp(at(S2, 1), at(X1, 17004), TCP_SYN));
	for (unsigned i = 0; i < 5; i++)
		pass_in(udp(at(S2, 1), at(X4, 100 + i)));
	map(ALICE, 9);
	bed_wait(7);
	n = WALK(MAPPINGS);
	assert_int_equal(n, 13);
	assert_int_equal(listed(X1, 443, n)->sessions, 2);
	assert_int_equal(listed(X1, 443, n)->age_s, 7);
	assert_int_equal(listed(X1, 17004, n)->sessions, 2);
	assert_int_equal(listed(X4, 0, n)->sessions, 5);
	assert_int_equal(WALK(SESSIONS), 10);
}

static void the_list_is_filtered(void **state)
{
	BED(.more = STATIC(WEB ", " GAME ", " WHOLE_HOST));
	assert_int_equal(WALK(MAPPINGS, .by_subscriber = true, .subscriber = BOB), 10);
	assert_int_equal(WALK(MAPPINGS, .by_external = true, .external = X1), 11);
	assert_int_equal(WALK(MAPPINGS, .by_external = true, .external = X1,
				 .by_external_port = true, .external_port = 17005),
		1);
	assert_int_equal(WALK(MAPPINGS, .by_external = true, .external = X4,
				 .by_external_port = true, .external_port = 17005),
		1);
	assert_int_equal(WALK(MAPPINGS, .by_protocol = true, .protocol = CGN_PROTO_TCP), 12);
	assert_int_equal(WALK(MAPPINGS, .by_protocol = true, .protocol = CGN_PROTO_UDP), 11);
	assert_int_equal(WALK(MAPPINGS, .by_protocol = true, .protocol = CGN_PROTO_ICMP), 1);
	assert_int_equal(WALK(MAPPINGS, .by_policy = true), 0);
	assert_int_equal(WALK(MAPPINGS, .by_remote = true, .remote = S1), 0);
	pass_in(udp(at(S1, 1), at(X4, 100)));
	pass_in(udp(at(S2, 1), at(X4, 101)));
	assert_int_equal(WALK(MAPPINGS, .by_remote = true, .remote = S1), 1);
	assert_true(records[0].mapping.is_static && records[0].mapping.external_port == 100);
	assert_int_equal(records[0].mapping.static_mapping, 2);
}

// More than a ring of records holds, in slices.
static void a_wide_range_is_listed_whole(void **state)
{
	bool seen[65536] = {false};
	unsigned n;

	BED(.workers = 2,
		.more = STATIC("{name: wide, protocol: udp, internal: \"100.64.0.5:1-60000\","
			       " external: \"203.0.113.1:5001-65000\"}"));
	n = WALK(MAPPINGS);
	assert_int_equal(n, 60000);
	for (unsigned i = 0; i < n; i++) {
		const struct cgn_walk_mapping *m = &records[i].mapping;

		assert_int_equal(m->external_port, m->internal_port + 5000);
		assert_false(seen[m->external_port]);
		seen[m->external_port] = true;
	}
}

// ---- ports and addresses are nobody else's

static void their_ports_leave_the_blocks_of_their_address(void **state)
{
	unsigned n = 0;

	BED(.pools = "  - {name: p, addresses: [203.0.113.1, 203.0.113.2], ports: 1024-1055,"
		     " block-size: 16, max-blocks: 4}",
		.more = STATIC("{name: a, protocol: tcp, internal: \"100.64.0.5:80-89\","
			       " external: \"203.0.113.1:1030-1039\"},"
			       "{name: b, protocol: udp, internal: \"100.64.0.5:80\","
			       " external: \"203.0.113.1:1030\"}"));
	for (uint32_t host = BOB; host < BOB + 8; host++) {
		for (unsigned i = 0; i < 32; i++) {
			struct frame f;

			bed_put(INSIDE, udp(at(host, 5000 + i), at(S1, 53)));
			bed_run();
			while (bed_take(INSIDE, &f)) // refused, told so
				;
			while (bed_take(OUTSIDE, &f)) {
				n++;
				assert_false(source_of(f).address == X1 &&
					source_of(f).port >= 1030 && source_of(f).port <= 1039);
			}
		}
	}
	assert_int_equal(n, 32 - 10 + 32); // all the others, to the last
	pass_in(udp(at(S1, 1), at(X1, 1030)));
	refuse_in(udp(at(S1, 1), at(X1, 1031)), CGN_DROP_NO_MAPPING);
}

static void one_to_one_takes_its_address_out_of_the_pool(void **state)
{
	const unsigned workers[] = {1, 2, 3};

	for (unsigned k = 0; k < 3; k++) {
		BED(.workers = workers[k], .more = STATIC(WHOLE_HOST));
		for (uint32_t host = 0x64400100; host < 0x64400100 + 40; host++)
			assert_in_range(map(host, 5000).address, X1, X1 + 2);
		assert_int_equal(gauge(pools[0].blocks_total), 3 * 1008);
		if (k < 2)
			assert_int_equal(bed_teardown(NULL), 0);
	}
}

static void an_address_of_no_pool_may_be_used(void **state)
{
	const uint32_t far = 0xc6120001, near = 0xc0000263; // 198.18.0.1, 192.0.2.99
	struct frame f;

	BED(.more = STATIC("{name: far, internal: 100.64.0.5, external: 198.18.0.1},"
			   "{name: near, protocol: tcp, internal: \"100.64.0.6:80\","
			   " external: \"192.0.2.99:80\"}"));
	assert_endpoint(
		destination_of(pass_in(tcp(at(S1, 1), at(far, 22), TCP_SYN))), at(ALICE, 22));
	assert_endpoint(
		destination_of(pass_in(tcp(at(S1, 1), at(near, 80), TCP_SYN))), at(BOB, 80));
	assert_endpoint(source_of(pass_out(udp(at(ALICE, 9), at(S1, 53)))), at(far, 9));
	assert_endpoint(destination_of(hairpin(udp(at(BOB, 9), at(far, 53)))), at(ALICE, 53));
	refuse_in(udp(at(S1, 1), at(near, 80)), CGN_DROP_NO_MAPPING);
	refuse_in(udp(at(far, 1), at(far, 80)), CGN_DROP_IP_SOURCE); // spoofed
	// we answer ARP for the one in the interface's prefix, and for nothing else
	f = arp_request(ROUTER_OUTSIDE, near);
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	f = expect_frame(OUTSIDE);
	assert_int_equal(f.b[21], 2);
	f = arp_request(ROUTER_OUTSIDE, near + 1);
	bed_put_raw(OUTSIDE, &f);
	f = arp_request(ROUTER_OUTSIDE, far);
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	expect_nothing();
}

// ---- no limits but their own

static void they_count_in_no_limit_of_the_subscriber(void **state)
{
	BED(.policies = "  - {name: home, match: {source: [100.64.0.0/10]}, pool: p,"
			" limits: {sessions: 2, new-sessions-per-second: 2}}",
		.more = STATIC(WEB));
	for (unsigned i = 0; i < 20; i++)
		pass_in(tcp(at(S1, 4000 + i), at(X1, 443), TCP_SYN));
	for (unsigned i = 0; i < 20; i++)
		pass_out(tcp(at(ALICE, 8443), at(S2, 4000 + i), TCP_SYN));
	map(ALICE, 1);
	map(ALICE, 2);
	bed_put(INSIDE, udp(at(ALICE, 3), at(S1, 53)));
	bed_run();
	assert_error(expect_frame(INSIDE), 3, 1, US_INSIDE, ALICE, udp(at(ALICE, 3), at(S1, 53)));
	assert_int_equal(bed_sum().drops[CGN_DROP_SESSION_LIMIT], 1);
}

// A flood at a static mapping takes nothing from the subscribers, nor they from it.
static void their_sessions_and_max_sessions_are_apart_and_each_exact(void **state)
{
	BED(.sessions = 64, .more = STATIC(WEB ", " GAME));
	for (unsigned i = 0; i < STATIC_SESSIONS_MIN - STATIC_SESSIONS_MIN / 8; i++)
		pass_in(udp(at(S1, 1000 + i), at(X1, 17000 + i % 10)));
	refuse_in(udp(at(S2, 1), at(X1, 17000)), CGN_DROP_STATIC_SESSIONS_FULL); // a further one
	refuse_in(
		tcp(at(S2, 1), at(X1, 443), TCP_SYN), CGN_DROP_STATIC_SESSIONS_FULL); // a first one
	// the last eighth is for the hosts themselves
	for (unsigned i = 0; i < STATIC_SESSIONS_MIN / 8; i++)
		pass_out(tcp(at(ALICE, 8443), at(S2, 4000 + i), TCP_SYN));
	bed_put(INSIDE, tcp(at(ALICE, 8443), at(S2, 9000), TCP_SYN));
	bed_run();
	expect_frame(INSIDE); // ICMP 3/1
	assert_int_equal(bed_sum().drops[CGN_DROP_STATIC_SESSIONS_FULL], 3);
	for (unsigned i = 0; i < 64; i++)
		map(CAROL, 5000 + i);
	assert_int_equal(gauge(sessions), STATIC_SESSIONS_MIN + 64);
	bed_put(INSIDE, udp(at(CAROL, 6000), at(S1, 53)));
	bed_run();
	expect_frame(INSIDE);
	assert_int_equal(bed_sum().drops[CGN_DROP_SESSION_TABLE_FULL], 1);
	assert_int_equal(WALK(CLEAR_SESSIONS, .by_remote = true, .remote = S1,
				 .by_remote_port = true, .remote_port = 1000),
		1);
	bed_put(INSIDE, udp(at(CAROL, 6000), at(S1, 53)));
	bed_run();
	expect_frame(INSIDE);
	assert_int_equal(bed_sum().drops[CGN_DROP_SESSION_TABLE_FULL], 2);
	pass_out(tcp(at(ALICE, 8443), at(S2, 9000), TCP_SYN));
}

// ---- hairpins

static void subscribers_reach_them_by_their_external_endpoints(void **state)
{
	struct frame f;
	struct endpoint b;

	BED(.more = STATIC(WEB ", " WHOLE_HOST));
	f = hairpin(tcp(at(BOB, 6000), at(X1, 443), TCP_SYN));
	b = source_of(f);
	assert_in_range(b.address, X1, X1 + 2);
	assert_endpoint(destination_of(f), at(ALICE, 8443));
	f = hairpin(tcp(at(ALICE, 8443), b, SYN_ACK));
	assert_endpoint(source_of(f), at(X1, 443));
	assert_endpoint(destination_of(f), at(BOB, 6000));
	f = hairpin(tcp(at(CAROL, 6000), at(X1, 443), TCP_SYN)); // static to static
	assert_endpoint(source_of(f), at(X4, 6000));
	f = hairpin(tcp(at(CAROL, 6001), at(X4, 80), TCP_SYN)); // and to itself
	assert_endpoint(source_of(f), at(X4, 6001));
	assert_endpoint(destination_of(f), at(CAROL, 80));
	f = hairpin(echo(at(BOB, 5), X4)); // RFC 5508 REQ-7
	b = source_of(f);
	assert_int_equal(destination_of(f).address, CAROL);
	f = hairpin(echo_reply(CAROL, b));
	assert_int_equal(source_of(f).address, X4);
	assert_endpoint(destination_of(f), at(BOB, 5));
	refuse_out(echo(at(BOB, 5), X1), CGN_DROP_ICMP_NO_SESSION);
}

static void the_policy_of_the_caller_can_turn_hairpins_off(void **state)
{
	BED(.policies = "  - {name: home, match: {source: [100.64.0.0/10]}, pool: p, hairpin: false}",
		.more = STATIC(WEB ", " WHOLE_HOST));
	refuse_out(tcp(at(BOB, 6000), at(X1, 443), TCP_SYN), CGN_DROP_HAIRPIN_OFF);
	refuse_out(echo(at(BOB, 5), X4), CGN_DROP_HAIRPIN_OFF);
}

// ---- several workers

#define HOSTS 24

// Hosts of all workers behind one address: each port is owned where its host is, so that inbound and
// outbound packets of one connection meet. With every receive queue in turn.
static void every_worker_finds_its_own(void **state)
{
	const uint32_t first = 0x64400010;
	char list[8192], *end = list;
	unsigned owners = 0, n;

	end += sprintf(end, "static-mappings: [" WHOLE_HOST);
	for (unsigned i = 0; i < HOSTS; i++)
		end += sprintf(end,
			", {name: h%u, internal: \"100.64.0.%u:80\", external: \"203.0.113.%u:%u\"}",
			i, 16 + i, 1 + i % 2, 2000 + i);
	sprintf(end, "]");
	BED(.workers = 3, .spread = true, .more = list);
	for (unsigned i = 0; i < HOSTS; i++) {
		const struct endpoint x = at(X1 + i % 2, 2000 + i), h = at(first + i, 80);
		const uint32_t owner = steer_internal(bed.worker[0]->snapshot, h.address);
		struct frame f;

		assert_endpoint(destination_of(pass_in(tcp(at(S1, 9), x, TCP_SYN))), h);
		assert_endpoint(source_of(pass_out(tcp(h, at(S1, 9), SYN_ACK))), x);
		pass_in(tcp(at(S1, 9), x, TCP_ACK));
		assert_endpoint(source_of(pass_out(udp(h, at(S2, 9)))), x);
		f = pass_in(udp(at(S2, 9), x));
		f = pass_out(icmp_error(h.address, S2, 3, 3, &f, 8));
		assert_error(f, 3, 3, x.address, S2, with_ttl(udp(at(S2, 9), x), 63));
		f = hairpin(udp(at(first + (i + 5) % HOSTS, 80), x));
		assert_endpoint(source_of(f), at(X1 + (i + 5) % HOSTS % 2, 2000 + (i + 5) % HOSTS));
		assert_endpoint(destination_of(f), h);
		owners |= 1u << owner;
		assert_true(map(h.address, 81).port != 2000 + i); // dynamic, beside it
	}
	assert_int_equal(owners, 7); // all three workers had some
	for (unsigned i = 0; i < 6; i++) {
		pass_in(echo(at(S1, i), X4));
		pass_out(echo_reply(CAROL, at(S1, i)));
		hairpin(echo(at(first + i, 5), X4));
	}
	n = WALK(MAPPINGS);
	for (unsigned i = 0; i < HOSTS; i++) {
		const struct cgn_walk_mapping *m = listed(X1 + i % 2, 2000 + i, n);

		assert_true(m && m->is_static && m->internal == first + i);
	}
	assert_non_null(listed(X4, 0, n));
	assert_int_equal(bed_sum().drops[CGN_DROP_NO_MAPPING], 0);
}

BED_MAIN(TEST(a_port_forward_is_reached_from_outside_by_the_real_client),
	TEST(only_what_is_mapped_is_reached),
	TEST(the_hosts_own_packets_from_there_go_out_as_the_external_endpoint),
	TEST(a_range_keeps_its_order_and_both_protocols),
	TEST(policies_decide_what_the_host_opens_but_not_who_reaches_it),
	TEST(one_to_one_keeps_every_port_both_ways), TEST(one_to_one_is_pinged_from_outside),
	TEST(errors_about_a_ping_from_outside_come_back),
	TEST(one_to_one_of_one_protocol_takes_no_other), TEST(they_survive_their_sessions),
	TEST(clearing_ends_their_sessions_only),
	TEST(a_mapping_lives_on_when_its_first_session_ends_before_others),
	TEST(each_is_listed_once_with_sessions_or_without), TEST(the_list_is_filtered),
	TEST(a_wide_range_is_listed_whole), TEST(their_ports_leave_the_blocks_of_their_address),
	TEST(one_to_one_takes_its_address_out_of_the_pool), TEST(an_address_of_no_pool_may_be_used),
	TEST(they_count_in_no_limit_of_the_subscriber),
	TEST(their_sessions_and_max_sessions_are_apart_and_each_exact),
	TEST(subscribers_reach_them_by_their_external_endpoints),
	TEST(the_policy_of_the_caller_can_turn_hairpins_off), TEST(every_worker_finds_its_own))
