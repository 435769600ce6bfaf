// SPDX-License-Identifier: BSD-3-Clause
// Lines in the log when subscribers are refused (RFC 6888 REQ-11 c), by a clock of the test's own.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>
#include "config.h"
#include "logged.h"
#include "refusals.h"

#define S(seconds) ((uint64_t)(seconds)*1000000000)

static struct cgn_config *config;
static struct refusals refusals;
static struct cgn_counters sum;

static int setup(void **state)
{
	static const char text[] =
		"runtime: {max-sessions: 5000, max-subscribers: 70}\n"
		"interfaces:\n"
		"- {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n"
		"- {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24]}\n"
		"pools:\n"
		"- {name: roomy, addresses: [203.0.113.1]}\n"
		"- {name: narrow, addresses: [203.0.113.2]}\n"
		"policies:\n"
		"- {name: a, pool: roomy, match: {protocol: tcp}}\n"
		"- {name: b, pool: narrow}\n";

	config = config_parse("t", text, sizeof(text) - 1, stderr, NULL, NULL);
	memset(&refusals, 0, sizeof(refusals));
	memset(&sum, 0, sizeof(sum));
	return config ? 0 : -1;
}

static int teardown(void **state)
{
	cgn_config_free(config);
	return 0;
}

// What is logged at that time.
static const char *at(uint64_t now_ns)
{
	logged_begin();
	refusals_look(&refusals, config, &sum, now_ns);
	return logged_end();
}

static void nothing_is_said_while_nobody_is_refused(void **state)
{
	for (unsigned s = 0; s < 1000; s += 5) {
		sum.rx_packets += 1000000;
		sum.drops[CGN_DROP_IP_CHECKSUM]++; // refused, but no subscriber's session
		sum.drops[CGN_DROP_NO_MAPPING]++;
		assert_string_equal(at(S(s)), "");
	}
}

static void it_is_said_when_it_begins_and_when_it_ends(void **state)
{
	assert_string_equal(at(S(1)), "");
	sum.drops[CGN_DROP_RATE_LIMIT] = 7;
	assert_string_equal(at(S(6)), "notice: subscribers: refused reason=RATE_LIMIT packets=7\n");
	assert_string_equal(at(S(11)), "");
	sum.drops[CGN_DROP_RATE_LIMIT] = 20;
	assert_string_equal(at(S(16)), "");
	assert_string_equal(at(S(75)), "");
	assert_string_equal(at(S(76)),
		"notice: subscribers: no longer refused reason=RATE_LIMIT packets=20 seconds=70\n");
	assert_string_equal(at(S(1000)), "");
	sum.drops[CGN_DROP_RATE_LIMIT] = 21; // and anew
	assert_string_equal(
		at(S(2000)), "notice: subscribers: refused reason=RATE_LIMIT packets=1\n");
}

static void while_it_goes_on_it_is_said_every_ten_minutes(void **state)
{
	unsigned lines = 0;

	for (unsigned s = 5; s <= 3605; s += 5) {
		const char *text;

		sum.drops[CGN_DROP_OVERLOAD_NEW] += 100;
		text = at(S(s));
		if (!*text)
			continue;
		if (s == 5)
			assert_string_equal(text,
				"warning: subscribers: refused reason=OVERLOAD_NEW packets=100\n");
		else if (s == 605)
			assert_string_equal(text,
				"warning: subscribers: still refused reason=OVERLOAD_NEW "
				"packets=12000 seconds=600\n");
		lines++;
	}
	assert_int_equal(lines, 7);
}

// Even when it ends as the ten minutes are over.
static void an_end_waits_for_the_minute_after_the_last_line(void **state)
{
	for (unsigned s = 0; s <= 700; s += 5) {
		const char *text;

		if (s >= 5 && s <= 550)
			sum.drops[CGN_DROP_RATE_LIMIT]++;
		text = at(S(s));
		if (s == 5)
			assert_non_null(strstr(text, "subscribers: refused"));
		else if (s == 605)
			assert_non_null(strstr(text, "subscribers: still refused"));
		else if (s == 665)
			assert_non_null(strstr(text, "subscribers: no longer refused"));
		else
			assert_string_equal(text, "");
	}
}

// Whatever comes and goes: one line for a reason in a minute at most, and every refusal is in one.
static void no_reason_has_more_than_a_line_a_minute(void **state)
{
	uint64_t last = 0, told = 0, n = 0, lines = 0;

	for (uint64_t s = 5; s < 20000; s += 5) {
		const char *text;
		unsigned packets;

		if (s % 190 < 20 || s % 65 == 0)
			sum.drops[CGN_DROP_BLOCK_LIMIT] += ++n;
		text = at(S(s));
		if (!*text)
			continue;
		assert_null(strchr(strchr(text, '\n') + 1, '\n'));
		assert_true(!last || s - last >= 60);
		last = s;
		lines++;
		assert_int_equal(sscanf(strstr(text, "packets="), "packets=%u", &packets), 1);
		if (strstr(text, "no longer"))
			told += packets;
	}
	assert_true(lines > 50);
	for (unsigned s = 20000; s <= 20120; s += 5) { // the last one ends
		const char *end = strstr(at(S(s)), "no longer");
		unsigned packets;

		if (!end)
			continue;
		assert_int_equal(sscanf(strstr(end, "packets="), "packets=%u", &packets), 1);
		told += packets;
	}
	assert_int_equal(told, sum.drops[CGN_DROP_BLOCK_LIMIT]);
}

static void reasons_do_not_wait_for_each_other(void **state)
{
	sum.drops[CGN_DROP_BLOCK_LIMIT] = 1;
	assert_string_equal(
		at(S(5)), "notice: subscribers: refused reason=BLOCK_LIMIT packets=1\n");
	sum.drops[CGN_DROP_RATE_LIMIT] = 2;
	sum.drops[CGN_DROP_MAPPING_LIMIT] = 3;
	assert_string_equal(at(S(10)),
		"notice: subscribers: refused reason=MAPPING_LIMIT packets=3\n"
		"notice: subscribers: refused reason=RATE_LIMIT packets=2\n");
}

// What an operator has to know to act: which pool, and how full; which table.
static void what_is_full_is_said_with_it(void **state)
{
	sum.pools[0] =
		(struct cgn_pool_gauges){.blocks_total = 252, .blocks_used = 100, .blocks_held = 3};
	sum.pools[1] = (struct cgn_pool_gauges){.blocks_total = 352,
		.blocks_used = 300,
		.blocks_held = 52,
		.presets_total = 100,
		.presets_used = 50,
		.presets_held = 50};
	sum.drops[CGN_DROP_POOL_FULL] = 9;
	assert_string_equal(at(S(5)),
		"warning: subscribers: refused reason=POOL_FULL packets=9 fullest-pool=narrow "
		"blocks=252 lent=250 resting=2\n");
	sum.subscribers = 69;
	sum.drops[CGN_DROP_SUBSCRIBER_TABLE_FULL] = 1;
	assert_string_equal(at(S(10)),
		"warning: subscribers: refused reason=SUBSCRIBER_TABLE_FULL packets=1 "
		"subscribers=69 max-subscribers=70\n");
	sum.sessions = 5100;
	sum.static_sessions = 100;
	sum.drops[CGN_DROP_SESSION_TABLE_FULL] = 1;
	assert_string_equal(at(S(15)),
		"warning: subscribers: refused reason=SESSION_TABLE_FULL packets=1 sessions=5000 "
		"max-sessions=5000\n");
}

static void it_is_looked_every_five_seconds(void **state)
{
	assert_int_equal(refusals_timeout_ms(&refusals, 0), 0);
	at(S(100));
	assert_int_equal(refusals_timeout_ms(&refusals, S(100)), 5001);
	assert_int_equal(refusals_timeout_ms(&refusals, S(105)), 0);
	assert_int_equal(refusals_timeout_ms(&refusals, S(400)), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(nothing_is_said_while_nobody_is_refused),
		TEST(it_is_said_when_it_begins_and_when_it_ends),
		TEST(while_it_goes_on_it_is_said_every_ten_minutes),
		TEST(an_end_waits_for_the_minute_after_the_last_line),
		TEST(no_reason_has_more_than_a_line_a_minute),
		TEST(reasons_do_not_wait_for_each_other),
		TEST(what_is_full_is_said_with_it),
		TEST(it_is_looked_every_five_seconds),
	};

	return cmocka_run_group_tests_name("refusals", tests, NULL, NULL);
}
