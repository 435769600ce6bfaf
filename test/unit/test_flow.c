// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "csum.h"
#include "flow.h"
#include "mem_malloc.h"
#include <arpa/inet.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t seed[2] = {0x1234567890abcdef, 0xfedcba0987654321};

static const struct cgn_timeouts timeouts = {.udp = 300,
	.tcp_established = 7440,
	.tcp_opening = 241,
	.tcp_closing = 242,
	.icmp = 60,
	.portless = 243,
	.hold_down = 120,
	.fragment = 2};

static struct flow_table table_of(uint32_t n_max)
{
	struct flow_table t;

	assert_int_equal(flow_table_init(&t, n_max, 1000, seed, -1), 0);
	return t;
}

static uint64_t internal(uint16_t port)
{
	return FLOW_KEY(htonl(0x64400001), htons(port), CGN_PROTO_UDP);
}

static uint64_t external(uint16_t port)
{
	return FLOW_KEY(htonl(0xcb007101), htons((uint16_t)(port + 10000)), CGN_PROTO_UDP);
}

static uint64_t remote(uint16_t port)
{
	return FLOW_REMOTE(htonl(0xc0000201), htons(port));
}

static uint32_t open_mapping(struct flow_table *t, uint16_t port, uint16_t remote_port)
{
	const struct flow_new new = {.internal = internal(port),
		.external = external(port),
		.remote = remote(remote_port),
		.block = 11,
		.policy = 3,
		.state = CGN_SESSION_ACTIVE,
		.seen_s = 1001,
		.now_s = 1002};
	uint32_t record = FLOW_NONE;

	assert_int_equal(flow_open(t, &new, &record), FLOW_OK);
	return record;
}

static uint32_t add_session(struct flow_table *t, uint32_t head, uint16_t remote_port)
{
	const struct flow_new new = {.remote = remote(remote_port),
		.policy = 4,
		.state = CGN_SESSION_INIT,
		.flags = FLOW_INBOUND | FLOW_SYN_IN,
		.seen_s = 2001,
		.now_s = 2002};
	uint32_t record = FLOW_NONE;

	assert_int_equal(flow_add(t, head, &new, &record), FLOW_OK);
	return record;
}

static bool close_session(struct flow_table *t, uint32_t record)
{
	uint32_t moved;
	bool ended = flow_close(t, record, &moved);

	assert_int_equal(moved, FLOW_NONE);
	return ended;
}

static void assert_empty(const struct flow_table *t)
{
	assert_int_equal(t->n_used, 0);
	assert_int_equal(t->n_mappings, 0);
	assert_int_equal(t->out.n_entries, 0);
	assert_int_equal(t->in.n_entries, 0);
	for (uint32_t i = 0; i < t->n_max; i++) {
		assert_int_equal(t->flow[i].proto, 0);
		assert_false(timers_is_armed(&t->timers, i));
	}
}

static void a_mapping_is_found_from_both_sides(void **state)
{
	struct flow_table t = table_of(10);
	uint32_t head = open_mapping(&t, 1, 53);
	const struct flow *f = &t.flow[head];

	assert_int_equal(flow_find_out(&t, internal(1)), head);
	assert_int_equal(flow_find_in(&t, external(1)), head);
	assert_int_equal(flow_find_session(&t, head, remote(53)), head);
	assert_int_equal(flow_find_out(&t, external(1)), FLOW_NONE);
	assert_int_equal(flow_find_in(&t, internal(1)), FLOW_NONE);
	assert_int_equal(flow_find_session(&t, head, remote(54)), FLOW_NONE);
	// another protocol is another endpoint
	assert_int_equal(
		flow_find_out(&t, FLOW_KEY(htonl(0x64400001), htons(1), CGN_PROTO_TCP)), FLOW_NONE);

	assert_int_equal(f->int_addr, htonl(0x64400001));
	assert_int_equal(f->int_port, htons(1));
	assert_int_equal(f->ext_addr, htonl(0xcb007101));
	assert_int_equal(f->ext_port, htons(10001));
	assert_int_equal(f->rem_addr, htonl(0xc0000201));
	assert_int_equal(f->rem_port, htons(53));
	assert_int_equal(f->proto, CGN_PROTO_UDP);
	assert_int_equal(f->flags, FLOW_HEAD);
	assert_int_equal(f->seen_s, 1001);
	assert_int_equal(f->link, 1002);
	assert_int_equal(t.cold[head].block, 11);
	assert_int_equal(t.cold[head].policy, 3);
	assert_int_equal(t.cold[head].mapping_created_s, 1002);
	assert_int_equal(t.cold[head].session_created_s, 1002);
	assert_int_equal(t.n_used, 1);
	assert_int_equal(t.n_mappings, 1);
	flow_table_fini(&t);
}

static void the_free_record_matches_nothing(void **state) // flow[n_max], for clamped FLOW_NONE
{
	struct flow_table t = table_of(1);

	open_mapping(&t, 1, 53);
	assert_int_equal(t.flow[1].proto, 0);
	assert_false(flow_is_head(&t.flow[1], internal(1)));
	assert_false(flow_is_further(&t.flow[1], 0, remote(53)));
	flow_table_fini(&t);
}

static void the_l4_difference_leads_from_internal_to_external(void **state)
{
	static const uint8_t protos[] = {CGN_PROTO_UDP, CGN_PROTO_TCP, CGN_PROTO_ICMP};

	for (unsigned i = 0; i < 3; i++) {
		// what the checksum covers: the address (not of ICMP), the port, something else
		struct {
			be32_t addr, rest;
			be16_t port, check;
		} p = {htonl(0x64400001), 0x1234567, htons(5000), 0};
		struct flow_new new = {.internal = FLOW_KEY(p.addr, p.port, protos[i]),
			.external = FLOW_KEY(htonl(0xcb007101), htons(60001), protos[i]),
			.remote = remote(1)};
		struct flow_table t = table_of(10);
		uint32_t head;

		p.check = (be16_t)~csum_fold(csum_sum(&p, sizeof(p), 0));
		assert_int_equal(flow_open(&t, &new, &head), FLOW_OK);
		if (protos[i] != CGN_PROTO_ICMP)
			p.addr = htonl(0xcb007101);
		p.port = htons(60001);
		p.check = csum_apply(p.check, t.flow[head].l4_diff);
		assert_int_equal(csum_fold(csum_sum(&p, sizeof(p), 0)), 0xffff);
		assert_int_equal(t.flow[add_session(&t, head, 2)].l4_diff, t.flow[head].l4_diff);
		flow_table_fini(&t);
	}
}

static void further_sessions_are_found_by_their_remote(void **state)
{
	struct flow_table t = table_of(100);
	uint32_t a = open_mapping(&t, 1, 53), b = open_mapping(&t, 2, 53);
	uint32_t a54 = add_session(&t, a, 54), b54 = add_session(&t, b, 54),
		 b55 = add_session(&t, b, 55);

	assert_int_equal(flow_find_session(&t, a, remote(53)), a);
	assert_int_equal(flow_find_session(&t, a, remote(54)), a54);
	assert_int_equal(flow_find_session(&t, a, remote(55)), FLOW_NONE);
	assert_int_equal(flow_find_session(&t, b, remote(54)), b54);
	assert_int_equal(flow_find_further(&t, b, remote(55)), b55);
	assert_int_equal(flow_find_further(&t, b, remote(53)), FLOW_NONE);
	assert_int_equal(flow_find_out(&t, internal(1)), a);
	assert_int_equal(t.flow[a].flags, FLOW_HEAD | FLOW_FURTHER);
	assert_int_equal(t.flow[a54].flags, FLOW_INBOUND | FLOW_SYN_IN);
	assert_int_equal(t.flow[a54].link, a);
	assert_int_equal(flow_key_of(&t.flow[a54]), internal(1));
	assert_int_equal(flow_ext_key_of(&t.flow[a54]), external(1));
	assert_int_equal(t.cold[a54].policy, 4);
	assert_int_equal(t.cold[a54].session_created_s, 2002);
	assert_int_equal(flow_n_further(&t, b), 2);
	assert_int_equal(t.n_used, 5);
	assert_int_equal(t.n_mappings, 2);
	flow_table_fini(&t);
}

static void endpoints_and_remotes_of_equal_hash_are_told_apart(void **state)
{
	struct flow_table t = table_of(100);
	uint32_t a = open_mapping(&t, 1, 53), b = open_mapping(&t, 2, 53),
		 a54 = add_session(&t, a, 54);
	const uint64_t further_b54 = flow_further_hash(&t, b, remote(54));

	// as if the others had the hashes of these
	assert_true(index_insert(&t.out, flow_hash(&t, internal(3)), a));
	assert_true(index_insert(&t.out, flow_hash(&t, internal(1)), a54));
	assert_true(index_insert(&t.in, flow_hash(&t, external(3)), a));
	assert_true(index_insert(&t.out, flow_further_hash(&t, a, remote(55)), a54));
	assert_true(index_insert(&t.out, further_b54, a54));
	assert_true(index_insert(&t.in, flow_hash(&t, external(1)), a54));
	assert_true(index_insert(&t.in, flow_address_hash(&t, b, htonl(0xc0000201)), a54));
	assert_int_equal(flow_find_out(&t, internal(3)), FLOW_NONE);
	assert_int_equal(flow_find_out(&t, internal(1)), a);
	assert_int_equal(flow_find_in(&t, external(3)), FLOW_NONE);
	assert_int_equal(flow_find_further(&t, a, remote(55)), FLOW_NONE);
	assert_int_equal(flow_find_further(&t, b, remote(54)), FLOW_NONE);
	assert_int_equal(flow_find_further(&t, a, remote(54)), a54);
	assert_int_equal(flow_find_in(&t, external(1)), a);
	t.flow[b].rem_addr = 0;
	t.flow[b].flags |= FLOW_FURTHER;
	assert_int_equal(flow_find_address(&t, b, htonl(0xc0000201)), FLOW_NONE);
	flow_table_fini(&t);
}

static uint32_t add_remote(struct flow_table *t, uint32_t head, uint32_t address, uint16_t port)
{
	const struct flow_new new = {
		.remote = FLOW_REMOTE(htonl(address), htons(port)), .state = CGN_SESSION_ACTIVE};
	uint32_t record = FLOW_NONE;

	assert_int_equal(flow_add(t, head, &new, &record), FLOW_OK);
	return record;
}

static bool has_address(const struct flow_table *t, uint32_t head, uint32_t address)
{
	const uint32_t record = flow_find_address(t, head, htonl(address));

	if (record == FLOW_NONE)
		return false;
	assert_int_equal(t->flow[record].rem_addr, htonl(address));
	assert_true(record == head || t->flow[record].link == head);
	return true;
}

// RFC 4787 REQ-8
static void a_mapping_knows_the_addresses_of_its_sessions(void **state)
{
	struct flow_table t = table_of(100);
	uint32_t a = open_mapping(&t, 1, 53), b = open_mapping(&t, 2, 53), r[3];

	assert_true(has_address(&t, a, 0xc0000201)); // of the first session
	assert_false(has_address(&t, a, 5));
	r[0] = add_remote(&t, a, 5, 1);
	assert_true(has_address(&t, a, 5));
	assert_false(has_address(&t, b, 5));
	r[1] = add_remote(&t, a, 5, 2);
	r[2] = add_remote(&t, a, 5, 3);
	assert_int_equal(t.in.n_entries, 3); // two mappings, one address
	close_session(&t, r[0]); // the one that stands for the others
	assert_true(has_address(&t, a, 5));
	close_session(&t, r[2]);
	assert_true(has_address(&t, a, 5));
	close_session(&t, r[1]);
	assert_false(has_address(&t, a, 5));
	assert_int_equal(t.in.n_entries, 2);
	flow_table_fini(&t);
}

// As many as there are records, on one mapping, made and ended in any order; checked against counts.
static void thousands_of_addresses_on_one_mapping_are_exact(void **state)
{
	enum {
		MAX = 5000,
		ADDRESSES = 900
	};
	struct flow_table t = table_of(MAX);
	uint32_t head = open_mapping(&t, 1, 53), n_of[ADDRESSES] = {0}, *list, n = 0, moved;
	uint64_t x = 88172645463325252ull;

	list = calloc(MAX, sizeof(*list));
	assert_non_null(list);
	for (uint32_t i = 0; i < 60000; i++) {
		uint32_t address, k;

		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		if (n < MAX - 1 && (i < 6000 || x & 1)) {
			address = (uint32_t)(x >> 8) % ADDRESSES;
			list[n++] = add_remote(&t, head, address, (uint16_t)i);
			n_of[address]++;
		} else if (n) {
			k = (uint32_t)(x >> 8) % n;
			address = ntohl(t.flow[list[k]].rem_addr);
			assert_false(flow_close(&t, list[k], &moved));
			list[k] = list[--n];
			n_of[address]--;
		}
		address = (uint32_t)(x >> 40) % ADDRESSES;
		assert_int_equal(has_address(&t, head, address), n_of[address] > 0);
		if (i == MAX - 2) { // all records are in use
			assert_int_equal(t.n_used, MAX);
		}
	}
	while (n) { // the head ends and others take its place
		uint32_t address, left = t.flow[t.cold[head].next].rem_addr;

		address = ntohl(t.flow[head].rem_addr);
		if (n_of[address % ADDRESSES] && address < ADDRESSES)
			n_of[address]--;
		assert_false(flow_close(&t, head, &moved));
		assert_int_equal(t.flow[head].rem_addr, left);
		n--;
		assert_true(n_of[ntohl(left)] > 0);
		assert_true(has_address(&t, head, ntohl(left)));
		if (address < ADDRESSES)
			assert_int_equal(has_address(&t, head, address), n_of[address] > 0);
	}
	assert_true(close_session(&t, head));
	assert_empty(&t);
	free(list);
	flow_table_fini(&t);
}

static void a_mapping_ends_with_its_last_session(void **state)
{
	struct flow_table t = table_of(10);
	uint32_t head = open_mapping(&t, 1, 53), further = add_session(&t, head, 54);

	timers_arm(&t.timers, head, 1100);
	timers_arm(&t.timers, further, 1100);
	assert_false(close_session(&t, further));
	assert_int_equal(flow_find_session(&t, head, remote(54)), FLOW_NONE);
	assert_int_equal(t.flow[head].flags, FLOW_HEAD);
	assert_true(close_session(&t, head));
	assert_int_equal(flow_find_out(&t, internal(1)), FLOW_NONE);
	assert_int_equal(flow_find_in(&t, external(1)), FLOW_NONE);
	// still readable
	assert_int_equal(t.flow[head].ext_port, htons(10001));
	assert_int_equal(t.cold[head].block, 11);
	assert_empty(&t);
	flow_table_fini(&t);
}

static void a_further_session_takes_the_heads_place_when_that_ends(void **state)
{
	struct flow_table t = table_of(10);
	uint32_t head = open_mapping(&t, 1, 53);
	uint32_t r54 = add_session(&t, head, 54), r55 = add_session(&t, head, 55), moved, item;

	timers_arm(&t.timers, head, 1010);
	timers_arm(&t.timers, r54, 1020);
	timers_arm(&t.timers, r55, 1030);
	t.flow[r54].pkts_in = 9;
	t.flow[r54].bytes_out = 99;
	t.flow[r54].state = CGN_SESSION_ESTABLISHED;
	assert_false(flow_close(&t, head, &moved));
	assert_int_equal(moved, r54); // the first of the list: of one address, the oldest
	assert_int_equal(t.flow[r54].proto, 0);
	assert_int_equal(flow_find_session(&t, head, remote(54)), head);
	assert_int_equal(flow_find_further(&t, head, remote(54)), FLOW_NONE);
	assert_int_equal(flow_find_session(&t, head, remote(55)), r55);
	assert_int_equal(flow_find_session(&t, head, remote(53)), FLOW_NONE);
	assert_int_equal(flow_find_out(&t, internal(1)), head);
	assert_int_equal(flow_find_in(&t, external(1)), head);
	assert_int_equal(t.flow[head].flags, FLOW_HEAD | FLOW_FURTHER | FLOW_INBOUND | FLOW_SYN_IN);
	assert_int_equal(t.flow[head].pkts_in, 9);
	assert_int_equal(t.flow[head].bytes_out, 99);
	assert_int_equal(t.flow[head].state, CGN_SESSION_ESTABLISHED);
	assert_int_equal(t.flow[head].seen_s, 2001);
	assert_int_equal(t.flow[head].link, 1002); // the mapping's, not the session's
	assert_int_equal(t.cold[head].session_created_s, 2002);
	assert_int_equal(t.cold[head].mapping_created_s, 1002);
	assert_int_equal(t.cold[head].policy, 4);
	assert_int_equal(t.n_used, 2);
	assert_int_equal(t.n_mappings, 1);
	// armed where the session was
	assert_int_equal(timers_due(&t.timers, 1019, &item, 1), 0);
	assert_int_equal(timers_due(&t.timers, 1020, &item, 1), 1);
	assert_int_equal(item, head);
	assert_false(flow_close(&t, head, &moved)); // unarmed, and its follower armed
	assert_int_equal(moved, r55);
	assert_true(timers_is_armed(&t.timers, head));
	assert_int_equal(t.flow[head].flags, FLOW_HEAD | FLOW_INBOUND | FLOW_SYN_IN);
	assert_true(close_session(&t, head));
	assert_empty(&t);
	flow_table_fini(&t);
}

static void a_session_that_moves_while_out_of_the_timers_is_armed_for_the_next_second(void **state)
{
	struct flow_table t = table_of(10);
	uint32_t head = open_mapping(&t, 1, 53), further = add_session(&t, head, 54), moved,
		 items[4];

	timers_arm(&t.timers, head, 1010);
	timers_arm(&t.timers, further, 1010);
	assert_int_equal(timers_due(&t.timers, 1010, items, 4), 2);
	assert_false(flow_close(&t, head, &moved)); // both were due: the other one is free now
	assert_int_equal(moved, further);
	assert_int_equal(t.flow[further].proto, 0);
	assert_int_equal(timers_due(&t.timers, 1011, items, 4), 1);
	assert_int_equal(items[0], head);
	flow_table_fini(&t);
}

static void further_sessions_leave_the_list_from_anywhere(void **state)
{
	for (uint16_t gone = 54; gone <= 56; gone++) { // last, middle, first of the list
		struct flow_table t = table_of(10);
		uint32_t head = open_mapping(&t, 1, 53), n = 0;

		for (uint16_t port = 54; port <= 56; port++)
			add_session(&t, head, port);
		assert_false(close_session(&t, flow_find_session(&t, head, remote(gone))));
		for (uint16_t port = 53; port <= 56; port++)
			assert_int_equal(flow_find_session(&t, head, remote(port)) == FLOW_NONE,
				port == gone);
		for (uint32_t r = t.cold[head].next, prev = head; r != FLOW_NONE;
			r = t.cold[r].next) {
			assert_int_equal(t.cold[r].prev, prev);
			prev = r;
			n++;
		}
		assert_int_equal(n, 2);
		assert_int_equal(flow_n_further(&t, head), 2);
		flow_table_fini(&t);
	}
}

static void the_table_takes_exactly_max_sessions(void **state)
{
	const struct flow_new new = {.internal = internal(999), .external = external(999)};
	struct flow_table t = table_of(200);
	uint32_t record;

	for (unsigned round = 0; round < 3; round++) {
		for (uint16_t i = 0; i < 100; i++) {
			uint32_t head = open_mapping(&t, i, 53);

			add_session(&t, head, 54);
		}
		assert_int_equal(flow_open(&t, &new, &record), FLOW_TABLE_FULL);
		assert_int_equal(flow_add(&t, flow_find_out(&t, internal(3)), &new, &record),
			FLOW_TABLE_FULL);
		assert_int_equal(t.n_used, 200);
		for (uint16_t i = 0; i < 100; i++) {
			uint32_t head = flow_find_in(&t, external(i)), moved;

			assert_false(flow_close(&t, head, &moved));
			assert_true(close_session(&t, head));
		}
		assert_empty(&t);
		assert_int_equal(t.top, 200);
	}
	flow_table_fini(&t);
}

static void a_full_index_refuses_and_leaves_nothing_behind(void **state)
{
	struct flow_table t = table_of(1000);
	uint32_t head = open_mapping(&t, 0, 53), record;
	const struct flow_new new = {
		.internal = internal(5), .external = external(5), .remote = remote(7)};
	const uint64_t hashes[] = {flow_hash(&t, internal(5)), flow_hash(&t, external(5)),
		flow_further_hash(&t, head, remote(7)),
		flow_address_hash(&t, head, htonl(0xc0000201))};
	struct index *index[] = {&t.out, &t.in, &t.out, &t.in};

	for (unsigned i = 0; i < 4; i++) {
		uint32_t n = 0;

		while (index_insert(index[i], hashes[i], 500))
			n++;
		assert_true(n >= INDEX_SLOTS);
		assert_int_equal(
			i < 2 ? flow_open(&t, &new, &record) : flow_add(&t, head, &new, &record),
			FLOW_INDEX_FULL);
		assert_int_equal(t.n_used, 1);
		assert_int_equal(t.n_mappings, 1);
		while (index_remove(index[i], hashes[i], 500))
			n--;
		assert_int_equal(n, 0);
		assert_int_equal(t.out.n_entries, 1);
		assert_int_equal(t.in.n_entries, 1);
	}
	assert_int_equal(flow_open(&t, &new, &record), FLOW_OK);
	flow_table_fini(&t);
}

static uint32_t timeout_of(uint8_t proto, uint8_t state)
{
	const struct flow f = {.proto = proto, .state = state, .seen_s = 5000};

	return flow_deadline(&f, &timeouts) - 5000;
}

static void every_state_has_its_timeout(
	void **state) // RFC 4787 REQ-5, RFC 5382 REQ-5, RFC 5508 REQ-2
{
	assert_int_equal(timeout_of(CGN_PROTO_UDP, CGN_SESSION_ACTIVE), 300);
	assert_int_equal(timeout_of(CGN_PROTO_ICMP, CGN_SESSION_ACTIVE), 60);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_INIT), 241);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_ESTABLISHED), 7440);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_CLIENT_FIN), 7440);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_SERVER_FIN), 7440);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_BOTH_FIN), 242);
	assert_int_equal(timeout_of(CGN_PROTO_TCP, CGN_SESSION_TRANSITORY), 242);
}

static uint32_t service_timeout_of(
	const struct cgn_timeouts *t, uint8_t proto, uint16_t port, uint8_t state, uint8_t flags)
{
	const struct flow f = {.proto = proto,
		.state = state,
		.flags = flags,
		.rem_port = htons(port),
		.seen_s = 5000};

	return flow_deadline(&f, t) - 5000;
}

// RFC 4787 REQ-5a
static void a_service_has_its_timeout(void **state)
{
	struct cgn_timeouts t = timeouts;

	for (t.n_services = 0; t.n_services < CGN_SERVICES_MAX; t.n_services++) {
		const uint32_t n = t.n_services;

		t.services[n] = (struct cgn_service_timeout){
			n < 20 ? CGN_PROTO_TCP : CGN_PROTO_UDP, (uint16_t)(3 * n + 1), 1000 + n};
		for (uint32_t i = 0; i <= CGN_SERVICES_MAX; i++) {
			const bool is_tcp = i < 20;
			const uint8_t proto = is_tcp ? CGN_PROTO_TCP : CGN_PROTO_UDP,
				      up = is_tcp ? CGN_SESSION_ESTABLISHED : CGN_SESSION_ACTIVE;
			const uint16_t port = (uint16_t)(3 * i + 1);
			const uint32_t otherwise = is_tcp ? 7440 : 300;

			assert_int_equal(service_timeout_of(&t, proto, port, up, 0),
				i < n ? 1000 + i : otherwise);
			assert_int_equal(service_timeout_of(&t, proto, port, up, FLOW_INBOUND),
				otherwise); // it is not the destination port
			assert_int_equal(service_timeout_of(&t, proto, (uint16_t)(port + 1), up, 0),
				otherwise);
			assert_int_equal(
				service_timeout_of(&t, CGN_PROTO_TCP, port, CGN_SESSION_INIT, 0),
				241);
		}
	}
}

static uint32_t open_portless(struct flow_table *t, uint32_t subscriber, uint32_t far)
{
	const struct flow_new new = {.internal = FLOW_KEY(subscriber, 0, 50),
		.external = FLOW_KEY(99, 0, 50),
		.remote = FLOW_REMOTE(far, 0),
		.held_port = (uint16_t)(1024 + far),
		.state = CGN_SESSION_ACTIVE,
		.seen_s = 1000,
		.now_s = 1000};
	uint32_t record = FLOW_NONE;

	assert_int_equal(flow_open_portless(t, &new, &record), FLOW_OK);
	return record;
}

static void portless_flows_are_told_apart_by_their_remote_alone(void **state)
{
	struct flow_table t = table_of(4096);
	uint32_t record[64], moved;

	for (uint32_t i = 0; i < 64; i++)
		record[i] = open_portless(&t, 1 + i % 2, i);
	for (uint32_t i = 0; i < 64; i++) {
		const struct flow *f = &t.flow[record[i]];

		assert_int_equal(f->held_port, 1024 + i);
		assert_int_equal(f->ext_port, 0);
		assert_int_equal(
			flow_find_portless(&t, FLOW_KEY(1 + i % 2, 0, 50), i, false), record[i]);
		assert_int_equal(flow_find_portless(&t, FLOW_KEY(99, 0, 50), i, true), record[i]);
		assert_int_equal(
			flow_find_portless(&t, FLOW_KEY(2 - i % 2, 0, 50), i, false), FLOW_NONE);
		assert_int_equal(
			flow_find_portless(&t, FLOW_KEY(1 + i % 2, 0, 47), i, false), FLOW_NONE);
		assert_int_equal(flow_find_portless(&t, FLOW_KEY(98, 0, 50), i, true), FLOW_NONE);
		assert_int_equal(flow_deadline(f, &timeouts), 1243);
	}
	// not where those with ports are
	assert_int_equal(flow_find_out(&t, FLOW_KEY(1, 0, 50)), FLOW_NONE);
	assert_int_equal(flow_find_in(&t, FLOW_KEY(99, 0, 50)), FLOW_NONE);
	for (uint32_t i = 0; i < 64; i++) {
		assert_true(flow_close(&t, record[i], &moved));
		assert_int_equal(moved, FLOW_NONE);
		assert_int_equal(flow_find_portless(&t, FLOW_KEY(99, 0, 50), i, true), FLOW_NONE);
	}
	assert_int_equal(t.n_used, 0);
	assert_int_equal(t.n_mappings, 0);
	assert_int_equal(t.n_portless, 0);
	flow_table_fini(&t);
}

static void the_room_for_portless_flows_is_bounded_and_comes_back(void **state)
{
	struct flow_table t = table_of(8192);
	const struct flow_new one_more = {.internal = FLOW_KEY(1, 0, 50),
		.external = FLOW_KEY(99, 0, 50),
		.remote = FLOW_REMOTE(1000, 0)};
	uint32_t record[128], r, moved;

	for (uint32_t i = 0; i < 128; i++)
		record[i] = open_portless(&t, 1, i);
	assert_int_equal(flow_open_portless(&t, &one_more, &r), FLOW_PORTLESS_FULL);
	assert_int_equal(t.n_used, 128);
	assert_int_equal(t.n_mappings, 128);
	flow_close(&t, record[7], &moved);
	assert_int_equal(flow_open_portless(&t, &one_more, &r), FLOW_OK);
	flow_table_fini(&t);
}

static void no_memory_is_told_and_nothing_leaks(void **state)
{
	struct flow_table t;

	for (uint32_t i = 1; i <= 6; i++) {
		mem_malloc_fail_at = i;
		assert_int_equal(flow_table_init(&t, 100, 0, seed, -1), -ENOMEM);
		mem_malloc_fail_at = 0;
		assert_int_equal(mem_malloc_n_live, 0);
	}
}

static void a_record_takes_102_bytes(void **state)
{
	assert_true(flow_table_bytes(1000000) / 1000000 == 102);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_mapping_is_found_from_both_sides),
		cmocka_unit_test(the_free_record_matches_nothing),
		cmocka_unit_test(the_l4_difference_leads_from_internal_to_external),
		cmocka_unit_test(further_sessions_are_found_by_their_remote),
		cmocka_unit_test(endpoints_and_remotes_of_equal_hash_are_told_apart),
		cmocka_unit_test(a_mapping_ends_with_its_last_session),
		cmocka_unit_test(a_further_session_takes_the_heads_place_when_that_ends),
		cmocka_unit_test(
			a_session_that_moves_while_out_of_the_timers_is_armed_for_the_next_second),
		cmocka_unit_test(further_sessions_leave_the_list_from_anywhere),
		cmocka_unit_test(the_table_takes_exactly_max_sessions),
		cmocka_unit_test(a_full_index_refuses_and_leaves_nothing_behind),
		cmocka_unit_test(every_state_has_its_timeout),
		cmocka_unit_test(a_service_has_its_timeout),
		cmocka_unit_test(a_mapping_knows_the_addresses_of_its_sessions),
		cmocka_unit_test(thousands_of_addresses_on_one_mapping_are_exact),
		cmocka_unit_test(portless_flows_are_told_apart_by_their_remote_alone),
		cmocka_unit_test(the_room_for_portless_flows_is_bounded_and_comes_back),
		cmocka_unit_test(no_memory_is_told_and_nothing_leaks),
		cmocka_unit_test(a_record_takes_102_bytes),
	};

	return cmocka_run_group_tests_name("flow", tests, NULL, NULL);
}
