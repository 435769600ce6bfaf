// SPDX-License-Identifier: BSD-3-Clause
// What each command answers, and what it refuses. Two of them have files of their own: test_check.c,
// test_resolve.c.
#include "ask.h"
#include "cgnat/ctl.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// ---- results

static void status_has_the_sums_and_each_worker(void **state)
{
	json_t *r = result_of("status", "");
	json_t *workers = json_object_get(r, "workers"), *first = json_array_get(workers, 0);

	check_keys(r,
		"version uptime_seconds generation workers sessions mappings subscribers blocks");
	assert_string_equal(text(r, "version"), CGN_VERSION);
	assert_int_equal(integer(r, "uptime_seconds"), 60);
	assert_int_equal(integer(r, "generation"), 1);
	assert_int_equal(integer(r, "sessions"), 300);
	assert_int_equal(integer(r, "blocks"), 60);
	assert_int_equal(json_array_size(workers), 2);
	assert_int_equal(integer(first, "id"), 0);
	assert_int_equal(integer(first, "lcore"), 1);
	assert_true(json_real_value(json_object_get(first, "busy_percent")) == 12.3);
	assert_true(json_real_value(json_object_get(first, "asleep_percent")) == 45.6);
	json_decref(r);
}

static void counters_has_every_counter_and_gauge(void **state)
{
	json_t *r = result_of("show counters", ""), *value;
	struct cgn_counters sum;
	json_int_t dropped = 0;
	const char *key;

	cgn_dataplane_counters(control.dp, CGN_ALL_WORKERS, &sum);
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		dropped += (json_int_t)sum.drops[i];
#define X(name, text) assert_int_equal(integer(r, #name), sum.name);
	CGN_COUNTERS(X)
#undef X
#define X(name, text) integer(r, #name);
	CGN_GAUGES(X)
#undef X
	assert_int_equal(integer(r, "rx_packets"), 3000);
	assert_int_equal(integer(r, "sessions"), 300);
	assert_int_equal(integer(r, "busy_permille"), 123 / 2); // a mean
	assert_int_equal(integer(r, "asleep_permille"), 456 / 2);
	assert_int_equal(integer(r, "dropped"), dropped);
	json_object_foreach(r, key, value) assert_true(json_is_integer(value)); // flat
	json_decref(r);
}

static void counters_per_worker_is_a_list(void **state)
{
	json_t *list = items_of("show counters", "\"per-worker\": true");

	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(integer(json_array_get(list, 1), "worker"), 1);
	assert_int_equal(integer(json_array_get(list, 0), "rx_packets"), 1000);
	assert_int_equal(integer(json_array_get(list, 1), "rx_packets"), 2000);
	json_decref(list);
}

static void drops_has_every_reason_zeros_too(void **state)
{
	json_t *all = result_of("show drops", ""), *one = result_of("show drops", "\"worker\": 1");

	assert_int_equal(json_object_size(all), CGN_DROP_COUNT);
#define X(name, text) \
	assert_int_equal(integer(all, #name), CGN_DROP_##name % 5 == 1 ? 3 * CGN_DROP_##name : 0); \
	assert_int_equal(integer(one, #name), CGN_DROP_##name % 5 == 1 ? 2 * CGN_DROP_##name : 0);
	CGN_DROPS(X)
#undef X
	json_decref(all);
	json_decref(one);
}

static void interfaces_has_the_link_and_the_counters(void **state)
{
	json_t *list = items_of("show interfaces", "");
	json_t *in = json_array_get(list, 0), *out = json_array_get(list, 1);

	assert_int_equal(json_array_size(list), 2);
	check_keys(in,
		"name role device driver mac link speed_mbps addresses mtu vlan rx_packets rx_bytes "
		"tx_packets tx_bytes drops handoffs nic_missed rx_queues rss");
	assert_string_equal(text(in, "name"), "in");
	assert_string_equal(text(in, "role"), "internal");
	assert_string_equal(text(out, "role"), "external");
	assert_string_equal(text(in, "mac"), "02:00:00:00:00:00");
	assert_string_equal(text(in, "link"), "up");
	assert_string_equal(text(out, "link"), "down");
	assert_string_equal(json_string_value(json_array_get(json_object_get(in, "addresses"), 0)),
		"100.64.0.1/10");
	assert_int_equal(integer(in, "rx_packets"), 20); // of both workers
	assert_int_equal(integer(in, "mtu"), 1500);
	json_decref(list);

	list = items_of("show interfaces", "\"limit\": 1");
	assert_int_equal(json_array_size(list), 1);
	json_decref(list);
}

static void an_interface_that_does_not_answer_is_down(void **state)
{
	fake.link_error = -EIO;
	json_t *list = items_of("show interfaces", "");
	assert_int_equal(json_array_size(list), 2);
	assert_string_equal(text(json_array_get(list, 0), "link"), "down");
	json_decref(list);
}

static void pools_has_gauges_and_utilization(void **state)
{
	json_t *list = items_of("show pools", ""), *pool = json_array_get(list, 0);
	json_t *addresses = json_object_get(pool, "addresses");

	assert_int_equal(json_array_size(list), 1);
	check_keys(pool,
		"name addresses blocks_total blocks_used blocks_held ports_used "
		"utilization_percent");
	assert_int_equal(integer(pool, "blocks_total"), 4000);
	assert_int_equal(integer(pool, "blocks_used"), 666);
	assert_int_equal(integer(pool, "ports_used"), 8642);
	assert_true(json_number_value(json_object_get(pool, "utilization_percent")) == 16.7);
	assert_string_equal(json_string_value(json_array_get(addresses, 0)), "198.51.100.7");
	assert_string_equal(json_string_value(json_array_get(addresses, 1)), "203.0.113.0/28");
	json_decref(list);
}

// The value of a key in show config; "" when it is not there.
static const char *config_value(json_t *list, const char *key)
{
	json_t *item;
	size_t i;

	json_array_foreach(list, i, item)
	{
		if (!strcmp(text(item, "key"), key))
			return text(item, "value");
	}
	return "";
}

static void config_has_every_key_with_its_default(void **state)
{
	json_t *list = items_of("show config", "");

	assert_string_equal(config_value(list, "timeouts.udp"), "300");
	assert_string_equal(config_value(list, "timeouts.tcp-established"), "7440");
	assert_string_equal(config_value(list, "tcp-midstream"), "drop");
	assert_string_equal(
		config_value(list, "policies[home-users].filtering.udp"), "endpoint-independent");
	json_decref(list);
	list = items_of("show config", "\"limit\": 2");
	assert_int_equal(json_array_size(list), 2);
	json_decref(list);
}

static void blocks_subscribers_mappings_sessions_have_their_keys(void **state)
{
	static const struct {
		const char *command, *keys;
		size_t n;
	} lists[] = {
		{"show blocks",
			"subscriber external_address first_port last_port pool worker ports_used "
			"allocated_at",
			60},
		{"show subscribers",
			"subscriber external_address worker policy blocks ports_used mappings "
			"mappings_tcp mappings_udp mappings_icmp sessions drops",
			50},
		{"show mappings",
			"protocol internal external policy static age_seconds expires_seconds",
			200},
		{"show sessions",
			"protocol internal external remote state age_seconds expires_seconds "
			"packets_out packets_in bytes_out bytes_in",
			300},
	};

	for (unsigned i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		json_t *list = items_of(lists[i].command, ""), *record;
		size_t n;

		assert_int_equal(json_array_size(list), lists[i].n);
		json_array_foreach(list, n, record) check_keys(record, lists[i].keys);
		json_decref(list);
	}
}

static void a_static_mapping_has_a_name_and_no_end(void **state)
{
	json_t *list = items_of("show mappings", ""), *record;
	size_t n;

	json_array_foreach(list, n, record)
	{
		const bool is_static = n == FAKE_STATIC;

		assert_int_equal(json_is_true(json_object_get(record, "static")), is_static);
		assert_int_equal(
			json_is_null(json_object_get(record, "expires_seconds")), is_static);
		assert_int_equal(json_object_get(record, "name") != NULL, is_static);
	}
	record = json_array_get(list, FAKE_STATIC);
	assert_string_equal(text(record, "name"), "web");
	assert_string_equal(text(record, "internal"), "100.64.0.10:1033");
	assert_string_equal(text(record, "external"), "203.0.113.1:2057");
	json_decref(list);
}

static void a_session_says_what_the_record_says(void **state)
{
	json_t *list = items_of("show sessions", "\"limit\": 20");
	json_t *tcp = json_array_get(list, 3), *icmp = json_array_get(list, 2);

	assert_int_equal(json_array_size(list), 20);
	assert_string_equal(text(tcp, "protocol"), "tcp");
	assert_string_equal(text(tcp, "internal"), "100.64.0.4:1027");
	assert_string_equal(text(tcp, "external"), "203.0.113.3:2051");
	assert_string_equal(text(tcp, "remote"), "198.51.100.1:443");
	assert_string_equal(text(tcp, "state"), "established");
	assert_string_equal(text(tcp, "policy"), "home-users");
	assert_int_equal(integer(tcp, "bytes_in"), 5000000003);
	assert_string_equal(text(icmp, "state"), "active");
	static const char *const states[] = {
		"init", "established", "client-fin", "server-fin", "both-fin", "transitory"};
	for (unsigned i = 0; i < 6; i++)
		assert_string_equal(text(json_array_get(list, 3 * i), "state"), states[i]);
	json_decref(list);
}

static void a_subscriber_has_each_of_its_drops(void **state)
{
	json_t *list = items_of("show subscribers", "\"subscriber\": \"100.64.0.8\"");
	json_t *one = json_array_get(list, 0), *drops = json_object_get(one, "drops");

	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(json_object_size(drops), CGN_SUBSCRIBER_DROP_COUNT);
	assert_int_equal(integer(drops, "BLOCK_LIMIT"), 7);
	assert_int_equal(integer(drops, "ADDRESS_FULL"), 0);
	json_decref(list);
}

static void filters_reach_the_walk(void **state)
{
	static const struct {
		const char *args;
		size_t n; // of 300 sessions
	} filters[] = {
		{"\"subscriber\": \"100.64.0.5\"", 6},
		{"\"external\": \"203.0.113.1\"", 78},
		{"\"external\": \"203.0.113.1:2049\"", 1},
		{"\"remote\": \"198.51.100.1\"", 300},
		{"\"remote\": \"198.51.100.1:443\"", 200},
		{"\"remote\": \"198.51.100.2\"", 0},
		{"\"protocol\": \"icmp\"", 100},
		{"\"policy\": \"others\"", 6},
		{"\"worker\": 1", 150},
		{"\"worker\": 1, \"protocol\": \"tcp\", \"limit\": 40", 40},
	};

	for (unsigned i = 0; i < sizeof(filters) / sizeof(filters[0]); i++) {
		json_t *list = items_of("show sessions", filters[i].args);
		if (json_array_size(list) != filters[i].n)
			fail_msg("%s: %zu", filters[i].args, json_array_size(list));
		json_decref(list);
	}
}

static void clear_sums_up_the_workers(void **state)
{
	json_t *r = result_of("clear sessions", "\"subscriber\": \"100.64.0.5\"");
	assert_int_equal(integer(r, "cleared"), 42);
	json_decref(r);
	r = result_of("clear mappings", "");
	assert_int_equal(integer(r, "cleared"), 42);
	json_decref(r);
}

static void help_lists_every_command(void **state)
{
	json_t *list = items_of("help", "");
	assert_int_equal(json_array_size(list), CGN_CTL_COMMAND_COUNT);
	assert_string_equal(text(json_array_get(list, 0), "name"), "status");
	json_decref(list);
}

static void a_long_list_comes_in_lines_below_64_kib_with_bounded_memory(void **state)
{
	const char *line = "{\"id\": 1, \"command\": \"show subscribers\"}";
	struct request *r = request_create(&control, line, strlen(line));
	struct buffer out = {0};
	size_t newlines = 0;

	fake.n[CGN_WALK_SUBSCRIBERS] = 100000;
	while (request_step(r, &out, 0) != REQUEST_DONE) {
		const char *start = out.data + out.start;
		for (const char *p = start; p < out.data + out.end; p++) {
			if (*p != '\n')
				continue;
			assert_true(p - start < CGN_CTL_LINE_MAX);
			start = p + 1;
			newlines++;
		}
		assert_ptr_equal(start, out.data + out.end);
		buffer_consume(&out, buffer_size(&out));
		assert_true(out.capacity <= 131072);
	}
	assert_true(newlines > 100);
	assert_int_equal(fake.records_read, 100000);
	request_destroy(r);
	buffer_fini(&out);
}

static void a_limited_list_reads_no_more_than_it_shows(void **state)
{
	fake.n[CGN_WALK_SESSIONS] = 10000000;
	json_t *list = items_of("show sessions", "\"limit\": 130");
	assert_int_equal(json_array_size(list), 130);
	assert_int_equal(fake.records_read, 130);
	json_decref(list);
}

// ---- waiting

static void a_request_waits_for_a_free_walk_and_gives_up_after_20_s(void **state)
{
	const char *line = "{\"id\": 1, \"command\": \"show blocks\"}";
	struct request *first = request_create(&control, line, strlen(line));
	struct request *second = request_create(&control, line, strlen(line));
	struct buffer out = {0};

	fake.walks_open = CGN_WALKS_MAX;
	assert_int_equal(request_step(first, &out, 100 * SEC), REQUEST_WAIT);
	assert_int_equal(request_step(second, &out, 100 * SEC), REQUEST_WAIT);
	assert_int_equal(request_step(first, &out, 120 * SEC - 1), REQUEST_WAIT);
	assert_int_equal(buffer_size(&out), 0);
	assert_int_equal(request_step(first, &out, 120 * SEC), REQUEST_DONE);
	assert_non_null(memmem(out.data, out.end, "\"busy\"", 6));
	fake.walks_open = 0;
	assert_int_equal(request_step(second, &out, 119 * SEC), REQUEST_DONE);
	assert_non_null(memmem(out.data, out.end, "\"done\":true", 11));
	request_destroy(first);
	request_destroy(second);
	buffer_fini(&out);
}

static void a_walk_without_records_just_now_writes_nothing(void **state)
{
	const char *line = "{\"id\": 1, \"command\": \"show blocks\"}";
	struct request *r = request_create(&control, line, strlen(line));
	struct buffer out = {0};

	fake.silent = true;
	assert_int_equal(request_step(r, &out, 1), REQUEST_WAIT);
	assert_int_equal(buffer_size(&out), 0);
	assert_int_equal(fake.walks_open, 1);
	request_destroy(r); // and its walk: see teardown()
	buffer_fini(&out);
}

static void a_walk_that_cannot_start_is_an_error(void **state)
{
	fake.start_error = -ENOMEM;
	CHECK_ERROR(
		"{\"id\": 1, \"command\": \"show blocks\"}", "failed", "Cannot allocate memory");
}

// ---- bad requests

static void what_is_not_a_request_gets_an_error(void **state)
{
	char deep[6000];

	memset(deep, '[', sizeof(deep));
	check_error(deep, sizeof(deep), "bad_json", "depth");
	check_error("{\"id\":1,\"command\":\"sta\0tus\"}", 27, "bad_json", "");
	CHECK_ERROR("", "bad_json", "");
	CHECK_ERROR("{\"id\": 1, \"command\": \"sta", "bad_json", "");
	CHECK_ERROR("{\"id\": 1, \"command\": \"\xff\xfe\"}", "bad_json", "decode byte 0xff");
	CHECK_ERROR("{\"id\": 1, \"id\": 2, \"command\": \"status\"}", "bad_json", "duplicate");
	CHECK_ERROR("17", "bad_json", ""); // '[' or '{' is expected
	CHECK_ERROR("[]", "bad_request", "object");
	CHECK_ERROR("{}", "bad_request", "command is missing");
	CHECK_ERROR("{\"command\": 5}", "bad_request", "command is not a text");
	CHECK_ERROR("{\"id\": {}, \"command\": \"status\"}", "bad_request", "id");
	CHECK_ERROR("{\"command\": \"status\", \"arg\": {}}", "bad_request", "unknown key 'arg'");
	CHECK_ERROR("{\"command\": \"show\"}", "unknown_command", "'show'");
	CHECK_ERROR("{\"command\": \"\xc3\xa4\"}", "unknown_command", "\xc3\xa4");
}

static void bad_arguments_name_the_key(void **state)
{
	static const struct {
		const char *command, *args, *message;
	} bad[] = {
		{"status", "5", "args: not an object"},
		{"status", "{\"limit\": 1}", "limit: not an argument of status, which takes none"},
		{"show blocks", "{\"state\": 1}",
			"which takes subscriber, external, policy, worker, limit"},
		{"show blocks", "{\"limit\": 0}", "limit: must be an integer, at least 1"},
		{"show blocks", "{\"limit\": \"5\"}", "limit: must be"},
		{"show blocks", "{\"limit\": 1.5}", "limit: must be"},
		{"show blocks", "{\"worker\": 2}", "worker: 2 is not one of 0..1"},
		{"show blocks", "{\"worker\": -1}", "worker: must be"},
		{"show blocks", "{\"subscriber\": 5}", "subscriber: must be an IPv4 address"},
		{"show blocks", "{\"subscriber\": \"100.64.0.5.6\"}", "subscriber: must be"},
		{"show blocks", "{\"subscriber\": \"100.64.0.5:80\"}", "subscriber: must be"},
		{"show sessions", "{\"external\": \"203.0.113.1:\"}", "external: must be"},
		{"show sessions", "{\"external\": \"203.0.113.1:65536\"}", "external: must be"},
		{"show sessions", "{\"external\": \"203.0.113.1:+5\"}", "external: must be"},
		{"show sessions", "{\"remote\": \"203.0.113.1111111111111:5\"}", "remote: must be"},
		{"show sessions", "{\"protocol\": \"sctp\"}",
			"protocol: must be tcp, udp, icmp, gre, esp, ipip or 6in4"},
		{"show sessions", "{\"policy\": \"nobody\"}",
			"policy: there is no policy 'nobody'"},
		{"show counters", "{\"per-worker\": 1}", "per-worker: must be true or false"},
		{"clear sessions", "{\"limit\": 1}", "limit: not an argument of clear sessions"},
		{"check", "{}", "file: must be the absolute path"},
		{"check", "{\"file\": \"x.yaml\"}", "file: must be the absolute path"},
	};
	char line[512];

	for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		snprintf(line, sizeof(line), "{\"id\": 3, \"command\": \"%s\", \"args\": %s}",
			bad[i].command, bad[i].args);
		CHECK_ERROR(line, "bad_argument", bad[i].message);
	}
}

static void what_is_not_there_yet_says_so(void **state)
{
	CHECK_ERROR("{\"command\": \"reload\"}", "not_supported", "reload is not supported yet");
	CHECK_ERROR("{\"command\": \"explain\", \"args\": {\"protocol\": \"udp\", \"source\": "
		    "\"100.64.0.5:1\", \"destination\": \"192.0.2.1:53\"}}",
		"not_supported", "not supported yet");
}

static void the_id_comes_back_as_it_was(void **state)
{
	static const struct {
		const char *line, *id;
	} ids[] = {
		{"{\"id\": -5, \"command\": \"status\"}", "-5"},
		{"{\"id\": \"a\\\"b\", \"command\": \"status\"}", "\"a\\\"b\""},
		{"{\"id\": null, \"command\": \"status\"}", "null"},
		{"{\"command\": \"status\"}", "null"},
	};

	for (unsigned i = 0; i < sizeof(ids) / sizeof(ids[0]); i++) {
		json_t *lines = ask(ids[i].line);
		char *id = json_dumps(json_object_get(json_array_get(lines, 0), "id"),
			JSON_ENCODE_ANY | JSON_COMPACT);
		assert_string_equal(id, ids[i].id);
		free(id);
		json_decref(lines);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(status_has_the_sums_and_each_worker),
		T(counters_has_every_counter_and_gauge),
		T(counters_per_worker_is_a_list),
		T(drops_has_every_reason_zeros_too),
		T(interfaces_has_the_link_and_the_counters),
		T(an_interface_that_does_not_answer_is_down),
		T(pools_has_gauges_and_utilization),
		T(config_has_every_key_with_its_default),
		T(blocks_subscribers_mappings_sessions_have_their_keys),
		T(a_static_mapping_has_a_name_and_no_end),
		T(a_session_says_what_the_record_says),
		T(a_subscriber_has_each_of_its_drops),
		T(filters_reach_the_walk),
		T(clear_sums_up_the_workers),
		T(help_lists_every_command),
		T(a_long_list_comes_in_lines_below_64_kib_with_bounded_memory),
		T(a_limited_list_reads_no_more_than_it_shows),
		T(a_request_waits_for_a_free_walk_and_gives_up_after_20_s),
		T(a_walk_without_records_just_now_writes_nothing),
		T(a_walk_that_cannot_start_is_an_error),
		T(what_is_not_a_request_gets_an_error),
		T(bad_arguments_name_the_key),
		T(what_is_not_there_yet_says_so),
		T(the_id_comes_back_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
