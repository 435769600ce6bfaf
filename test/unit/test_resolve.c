// SPDX-License-Identifier: BSD-3-Clause
// resolve: whose an external port is, and what a subscriber has.
#include "ask.h"
#include <stdlib.h>
#include <string.h>

static json_t *resolved(const char *args, const char *subscriber, const char *external,
	int first_port, int last_port, bool dynamic, size_t n_ranges)
{
	json_t *answer = result_of("resolve", args);

	check_keys(answer, "subscriber external_address first_port last_port dynamic ranges");
	assert_string_equal(json_string_value(json_object_get(answer, "subscriber")), subscriber);
	assert_string_equal(
		json_string_value(json_object_get(answer, "external_address")), external);
	assert_int_equal(integer(answer, "first_port"), first_port);
	assert_int_equal(integer(answer, "last_port"), last_port);
	assert_true(json_is_boolean(json_object_get(answer, "dynamic")));
	assert_int_equal(json_is_true(json_object_get(answer, "dynamic")), dynamic);
	assert_int_equal(json_array_size(json_object_get(answer, "ranges")), n_ranges);
	return answer;
}

// What a daemon with dynamic pools says: the blocks that are lent now, and static mappings.
static void resolve_finds_lent_blocks_and_static_mappings(void **state)
{
	json_t *answer = resolved("\"external\": \"203.0.113.1:2400\"", "100.64.0.6", "203.0.113.1",
		2304, 2559, true, 1);

	assert_int_equal(integer(answer, "allocated_at"), 1700000005);
	assert_string_equal(json_string_value(json_object_get(answer, "pool")), "residential");
	json_decref(answer);
	json_decref(resolved("\"external\": \"203.0.113.1:2057\"", "100.64.0.10", "203.0.113.1",
		2057, 2057, false, 1));
	json_decref(resolved("\"subscriber\": \"100.64.0.6\"", "100.64.0.6", "203.0.113.1", 2304,
		2559, true, 2)); // blocks 5 and 55
	answer = resolved("\"subscriber\": \"100.64.0.10\"", "100.64.0.10", "203.0.113.1", 2057,
		2057, false, 3); // the static mapping, blocks 9 and 59
	assert_string_equal(json_string_value(json_object_get(answer, "static_mapping")), "web");
	json_decref(answer);
}

static void resolve_says_why_there_is_no_answer(void **state)
{
	static const struct {
		const char *args, *code, *message;
	} bad[] = {
		{"{}", "bad_argument", "external or subscriber, one of them"},
		{"{\"external\": \"203.0.113.1:2400\", \"subscriber\": \"100.64.0.5\"}",
			"bad_argument", "external or subscriber, one of them"},
		{"{\"external\": \"203.0.113.1\"}", "bad_argument",
			"external: the port is missing"},
		{"{\"external\": \"203.0.113.16:2400\"}", "not_found",
			"203.0.113.16:2400 is nobody's: its address is of no pool and of no static mapping"},
		{"{\"external\": \"203.0.113.2:80\"}", "not_found",
			"203.0.113.2:80 is nobody's: pool residential gives out the ports 1024-65535"},
		{"{\"external\": \"203.0.113.1:65000\"}", "not_found",
			"nobody holds 203.0.113.1:65000 now: look in the log who had it before"},
		{"{\"subscriber\": \"100.64.0.200\"}", "not_found",
			"100.64.0.200 has no ports: it is no subscriber of a deterministic pool and no static mapping has it, and it holds no block now"},
		{"{\"subscriber\": \"203.0.113.1\"}", "not_found",
			"203.0.113.1 is an external address of pool residential: its port is missing"},
	};
	char line[512];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "{\"id\": 3, \"command\": \"resolve\", \"args\": %s}",
			bad[i].args);
		CHECK_ERROR(line, bad[i].code, bad[i].message);
	}
}

static void resolve_computes_preset_ports(void **state)
{
	static const char yaml[] =
		"interfaces:\n"
		"  - {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n"
		"  - {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24]}\n"
		"pools:\n"
		"  - {name: det, addresses: [203.0.113.1], allocation: deterministic, deterministic: {ports: 4032}}\n"
		"  - {name: odd, addresses: [203.0.113.2], allocation: deterministic, deterministic: {ports: 32, algorithm: cryptographic, key: 000102030405060708090a0b0c0d0e0f}}\n"
		"policies:\n"
		"  - {name: a, pool: det, match: {source: [100.64.0.0/28], protocol: tcp}}\n"
		"  - {name: b, pool: odd, match: {source: [100.64.0.0/27]}}\n"
		"static-mappings:\n"
		"  - {name: w, protocol: tcp, internal: 100.64.0.40:80-82, external: 203.0.113.1:9100-9102}\n";
	const struct cgn_config *saved = control.config;
	json_t *answer, *list, *scattered;
	const char *ports;

	control.config = config_parse("t", yaml, strlen(yaml), stderr, NULL, NULL);
	assert_non_null(control.config);
	answer = resolved("\"external\": \"203.0.113.1:2001\"", "100.64.0.1", "203.0.113.1", 1024,
		5055, false, 1);
	assert_int_equal(integer(answer, "ports"), 4032);
	assert_int_equal(integer(answer, "step"), 1);
	json_decref(answer);
	// the plan first, then what the dataplane lends: blocks 1 and 51
	answer = resolved("\"subscriber\": \"100.64.0.2\"", "100.64.0.2", "203.0.113.1", 5056, 9087,
		false, 4);
	list = json_object_get(answer, "ranges");
	scattered = json_array_get(list, 1);
	assert_int_equal(integer(scattered, "step"), 0);
	ports = json_string_value(json_object_get(scattered, "port_list"));
	assert_non_null(ports);
	assert_true(strchr(ports, ',') && atoi(ports) >= 1024);
	assert_true(json_is_true(json_object_get(json_array_get(list, 2), "dynamic")));
	json_decref(answer);
	// what a static mapping took is not the subscriber's
	answer = resolved("\"external\": \"203.0.113.1:9099\"", "100.64.0.3", "203.0.113.1", 9088,
		13119, false, 1);
	assert_int_equal(integer(answer, "ports"), 4032 - 3);
	assert_string_equal(
		json_string_value(json_object_get(answer, "port_list")), "9088-9099,9103-13119");
	json_decref(answer);
	json_decref(resolved("\"external\": \"203.0.113.1:9100\"", "100.64.0.40", "203.0.113.1",
		9100, 9102, false, 1));
	// block 17 is shown by the walk as preset: the plan has said it already
	json_decref(resolved("\"subscriber\": \"100.64.0.18\"", "100.64.0.18", "203.0.113.2", 1024,
		1983, false, 1));
	CHECK_ERROR("{\"command\": \"resolve\", \"args\": {\"external\": \"203.0.113.2:60000\"}}",
		"not_found", "nobody holds 203.0.113.2:60000 now");
	list = items_of("show pools", "");
	answer = json_object_get(json_array_get(list, 0), "deterministic");
	check_keys(answer, "algorithm ports subscribers record");
	assert_int_equal(integer(answer, "subscribers"), 14);
	ports = json_string_value(json_object_get(answer, "record"));
	assert_string_equal(strchr(ports, ']'), "]:100.64.0.0:28:203.0.113.1:32:2:4800:0:1-1023");
	answer = json_object_get(json_array_get(list, 1), "deterministic");
	assert_string_equal(json_string_value(json_object_get(answer, "key_id")), "fcf95b4b");
	json_decref(list);
	cgn_config_free((struct cgn_config *)control.config);
	control.config = saved;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(resolve_finds_lent_blocks_and_static_mappings),
		T(resolve_says_why_there_is_no_answer),
		T(resolve_computes_preset_ports),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
