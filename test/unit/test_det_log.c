// SPDX-License-Identifier: BSD-3-Clause
// Records of deterministic pools in the log (RFC 7422 3): at start, and every 24 hours.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "config.h"
#include "det_log.h"
#include "logged.h"

#define HEAD \
	"interfaces:\n" \
	"- {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n" \
	"- {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24]}\n"
#define HOUR_NS (3600ull * 1000000000)

static struct cgn_config *config_of(const char *text)
{
	struct cgn_config *c = config_parse("t", text, strlen(text), stderr, NULL, NULL);

	assert_non_null(c);
	return c;
}

// What one step logs.
static const char *step(
	struct det_log *d, const struct cgn_config *c, uint64_t now_ns, int64_t unix_now)
{
	logged_begin();
	det_log_step(d, c, now_ns, unix_now);
	return logged_end();
}

static void the_plan_is_logged_at_start_and_every_day(void **state)
{
	struct cgn_config *c = config_of(HEAD
		"pools:\n"
		"- {name: dyn, addresses: [203.0.113.1]}\n"
		"- {name: det, addresses: [192.0.2.9], allocation: deterministic, reserved-ports: [5004, 5060], block-size: 16, max-blocks: 64, deterministic: {ports: 4032}}\n"
		"- {name: secret, addresses: [203.0.113.2], allocation: deterministic, max-blocks: 1, deterministic: {algorithm: cryptographic, key: 000102030405060708090a0b0c0d0e0f}}\n"
		"policies:\n"
		"- {name: a, pool: dyn, match: {protocol: tcp}}\n"
		"- {name: b, pool: det, match: {source: [198.51.100.0/28]}}\n"
		"- {name: c, pool: secret, match: {source: [198.51.100.0/30]}}\n");
	struct det_log d = {0};

	assert_int_equal(det_log_timeout_ms(&d, c, 5), 0);
	assert_string_equal(step(&d, c, HOUR_NS, 971274772),
		"notice: pool det: deterministic ports=4032 part=1/1 record=[Wed Oct 11 14:32:52 2000]:198.51.100.0:28:192.0.2.9:32:2:5040:0:1-1023,5004,5060\n"
		"notice: pool secret: deterministic ports=256 key-id=fcf95b4b part=1/1 record=[Wed Oct 11 14:32:52 2000]:198.51.100.0:30:203.0.113.2:32:250:256:4:1-1023\n");
	assert_string_equal(step(&d, c, HOUR_NS + 1, 971274773), "");
	assert_int_equal(det_log_timeout_ms(&d, c, 2 * HOUR_NS), 23 * 3600 * 1000 + 1);
	assert_string_equal(step(&d, c, 25 * HOUR_NS - 1, 971274774), "");
	assert_non_null(strstr(step(&d, c, 25 * HOUR_NS, 971274772 + 86400),
		"[Thu Oct 12 14:32:52 2000]:198.51.100.0:28:"));
	assert_int_equal(det_log_timeout_ms(&d, c, 25 * HOUR_NS), 24 * 3600 * 1000 + 1);
	d.due_ns = 0; // a new configuration
	assert_non_null(strstr(step(&d, c, 26 * HOUR_NS, 0), "[Thu Jan  1 00:00:00 1970]"));
	cgn_config_free(c);
}

static void dynamic_pools_have_no_record(void **state)
{
	struct cgn_config *c = config_of(HEAD "pools: [{name: dyn, addresses: [203.0.113.1]}]\n"
					      "policies: [{name: a}]\n");
	struct det_log d = {0};

	assert_int_equal(det_log_timeout_ms(&d, c, 5), -1);
	assert_string_equal(step(&d, c, 5, 5), "");
	cgn_config_free(c);
}

// A log line has room for 2048 bytes.
static void a_long_record_comes_in_parts(void **state)
{
	char *text = NULL, whole[65536] = "";
	size_t size;
	FILE *f = open_memstream(&text, &size);
	struct cgn_config *c;
	struct det_log d = {0};
	unsigned part = 0, of = 0;

	fputs(HEAD
		"pools: [{name: det, addresses: [203.0.113.0/24], allocation: deterministic, deterministic: {ports: 16}}]\n"
		"policies:\n- name: a\n  match:\n    source: [",
		f);
	for (unsigned i = 0; i < 500; i++)
		fprintf(f, "%s100.64.%u.%u/31", i ? ", " : "", i / 50, i % 50 * 4);
	fputs("]\n", f);
	fclose(f);
	c = config_of(text);
	for (const char *line = step(&d, c, 5, 0); *line; line = strchr(line, '\n') + 1) {
		const char *record = strstr(line, " record=") + 8;
		unsigned i;

		assert_true(strchr(line, '\n') - line < 2000);
		assert_int_equal(
			sscanf(line, "notice: pool det: deterministic ports=16 part=%u/%u ", &i,
				&of),
			2);
		assert_int_equal(i, ++part);
		strncat(whole, record, (size_t)(strchr(line, '\n') - record));
	}
	assert_true(part > 1);
	assert_int_equal(part, of);
	assert_memory_equal(whole, "[Thu Jan  1 00:00:00 1970]:100.64.0.0,100.64.0.4,", 48);
	assert_non_null(strstr(whole, ",100.64.9.196:31,31,"));
	assert_non_null(strstr(whole, ":203.0.113.0:24:4028.09:784:0:1-1023"));
	cgn_config_free(c);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_plan_is_logged_at_start_and_every_day),
		cmocka_unit_test(dynamic_pools_have_no_record),
		cmocka_unit_test(a_long_record_comes_in_parts),
	};

	return cmocka_run_group_tests_name("det_log", tests, NULL, NULL);
}
