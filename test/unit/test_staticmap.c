// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>
#include "flow.h"
#include "staticmap.h"

#define LEN(array) (sizeof(array) / sizeof((array)[0]))
#define HOST 0x6440000au // 100.64.0.10
#define X 0xcb007101u // 203.0.113.1

static struct staticmap map_of(struct cgn_static_mapping *list, uint32_t n)
{
	const struct cgn_config config = {.static_mappings = list, .n_static_mappings = n};
	struct staticmap map;

	assert_true(staticmap_init(&map, &config));
	return map;
}

static uint64_t key(uint8_t protocol, uint32_t address, unsigned port)
{
	return FLOW_KEY(htonl(address), htons((uint16_t)port), protocol);
}

static void expect(bool found, const struct staticmap_hit *hit, uint32_t address, unsigned port,
	uint32_t mapping)
{
	assert_true(found);
	assert_int_equal(hit->address, address);
	assert_int_equal(hit->port, port);
	assert_int_equal(hit->mapping, mapping);
}

static void without_mappings_nothing_is_found(void **state)
{
	struct staticmap map = map_of(NULL, 0);
	struct staticmap_hit hit;

	assert_false(staticmap_internal(&map, key(6, HOST, 80), &hit));
	assert_false(staticmap_external(&map, key(6, 0, 0), &hit));
	staticmap_fini(&map);
}

static void a_range_is_found_port_by_port_and_not_beyond(void **state)
{
	struct cgn_static_mapping list[] = {
		{"a", CGN_PROTO_UDP, HOST, X, {7000, 7009}, {17000, 17009}}};
	struct staticmap map = map_of(list, LEN(list));
	struct staticmap_hit hit;

	for (unsigned i = 0; i < 10; i++) {
		expect(staticmap_external(&map, key(17, X, 17000 + i), &hit), &hit, HOST, 7000 + i,
			0);
		expect(staticmap_internal(&map, key(17, HOST, 7000 + i), &hit), &hit, X, 17000 + i,
			0);
	}
	assert_false(staticmap_external(&map, key(17, X, 16999), &hit));
	assert_false(staticmap_external(&map, key(17, X, 17010), &hit));
	assert_false(staticmap_external(&map, key(6, X, 17000), &hit));
	assert_false(staticmap_external(&map, key(17, X + 1, 17000), &hit));
	assert_false(staticmap_internal(&map, key(17, HOST, 6999), &hit));
	assert_false(staticmap_internal(&map, key(17, HOST, 7010), &hit));
	staticmap_fini(&map);
}

static void all_protocols_are_tcp_and_udp_and_icmp_only_where_it_is_one_to_one(void **state)
{
	struct cgn_static_mapping list[] = {{"a", CGN_PROTO_ANY, HOST, X, {80, 80}, {8080, 8080}},
		{"b", CGN_PROTO_ANY, HOST + 1, X + 1, {0, 65535}, {0, 65535}},
		{"c", CGN_PROTO_ICMP, HOST + 2, X + 2, {0, 65535}, {0, 65535}}};
	struct staticmap map = map_of(list, LEN(list));
	static const unsigned ports[] = {0, 1, 80, 40000, 65535};
	struct staticmap_hit hit;

	expect(staticmap_external(&map, key(6, X, 8080), &hit), &hit, HOST, 80, 0);
	expect(staticmap_external(&map, key(17, X, 8080), &hit), &hit, HOST, 80, 0);
	assert_false(staticmap_external(&map, key(1, X, 8080), &hit));
	for (unsigned i = 0; i < LEN(ports); i++) {
		static const uint8_t protocols[] = {1, 6, 17};

		for (unsigned k = 0; k < LEN(protocols); k++) {
			expect(staticmap_external(&map, key(protocols[k], X + 1, ports[i]), &hit),
				&hit, HOST + 1, ports[i], 1);
			expect(staticmap_internal(
				       &map, key(protocols[k], HOST + 1, ports[i]), &hit),
				&hit, X + 1, ports[i], 1);
		}
		assert_true(staticmap_external(&map, key(1, X + 2, ports[i]), &hit));
		assert_false(staticmap_external(&map, key(6, X + 2, ports[i]), &hit));
		assert_false(staticmap_external(&map, key(17, X + 2, ports[i]), &hit));
	}
	staticmap_fini(&map);
}

// Every second port of many addresses: each is found, its neighbours are not.
static void thousands_are_found(void **state)
{
	enum {
		N = 6000
	};
	static struct cgn_static_mapping list[N];
	struct staticmap map;
	struct staticmap_hit hit;

	for (unsigned i = 0; i < N; i++) {
		const unsigned k = i * 4801 % N; // in no order; 4801 has no divisor with 6000
		const uint16_t port = (uint16_t)(1000 + k % 60 * 2);

		list[i] = (struct cgn_static_mapping){
			"", CGN_PROTO_TCP, HOST + k, X + k / 60, {80, 80}, {port, port}};
	}
	map = map_of(list, N);
	assert_int_equal(map.n, N);
	for (unsigned i = 0; i < N; i++) {
		const uint32_t x = list[i].external;
		const unsigned port = list[i].external_ports.first;

		expect(staticmap_external(&map, key(6, x, port), &hit), &hit, list[i].internal, 80,
			i);
		expect(staticmap_internal(&map, key(6, list[i].internal, 80), &hit), &hit, x, port,
			i);
		assert_false(staticmap_external(&map, key(6, x, port + 1), &hit));
		assert_false(staticmap_external(&map, key(6, x, port - 1), &hit));
	}
	staticmap_fini(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_mappings_nothing_is_found),
		cmocka_unit_test(a_range_is_found_port_by_port_and_not_beyond),
		cmocka_unit_test(
			all_protocols_are_tcp_and_udp_and_icmp_only_where_it_is_one_to_one),
		cmocka_unit_test(thousands_are_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
