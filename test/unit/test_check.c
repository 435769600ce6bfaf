// SPDX-License-Identifier: BSD-3-Clause
// check: what another configuration file would change.
#include "ask.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/cgnat-test-XXXXXX.yaml";

// check of FAKE_YAML with one text replaced by another.
static void write_yaml(const char *from, const char *to)
{
	int fd;

	memcpy(strstr(path, ".yaml") - 6, "XXXXXX", 6);
	fd = mkstemps(path, 5);
	assert_true(fd >= 0);
	FILE *f = fdopen(fd, "w");
	const char *at = strstr(FAKE_YAML, from);
	assert_non_null(at);
	fprintf(f, "%.*s%s%s", (int)(at - FAKE_YAML), FAKE_YAML, to, at + strlen(from));
	fclose(f);
}

static json_t *check_file(const char *from, const char *to)
{
	char args[128];

	write_yaml(from, to);
	snprintf(args, sizeof(args), "\"file\": \"%s\"", path);
	json_t *r = result_of("check", args);
	unlink(path);
	return r;
}

static void check_of_the_same_file_changes_nothing(void **state)
{
	json_t *r = check_file("", ""), *affected = json_object_get(r, "affected");

	check_keys(r, "generation changes affected");
	assert_int_equal(integer(r, "generation"), 1);
	assert_true(json_is_array(json_object_get(r, "changes")));
	assert_int_equal(json_array_size(json_object_get(r, "changes")), 0);
	assert_int_equal(integer(affected, "subscribers"), 0);
	assert_int_equal(integer(affected, "mappings"), 0);
	assert_int_equal(integer(affected, "sessions"), 0);
	json_decref(r);
}

static void check_names_each_change(void **state)
{
	static const struct {
		const char *from, *to, *change;
	} edits[] = {
		{"max-blocks: 4", "max-blocks: 8", "pools[residential].max-blocks: 4 -> 8"},
		{"max-sessions: 100000", "max-sessions: 5000",
			"runtime.max-sessions: 100000 -> 5000"},
		{"198.51.100.7]", "198.51.100.8]",
			"pools[residential].addresses: [198.51.100.7, 203.0.113.0/28] -> "
			"[198.51.100.8, 203.0.113.0/28]"},
		{"name: others", "name: guests", "policies[others]: removed"},
		{"100.64.0.10:1033", "100.64.0.10:1034",
			"static-mappings[web].internal: 100.64.0.10:1033 -> 100.64.0.10:1034"},
		{"name: web", "name: shop", "static-mappings[shop]: added"},
		{"name: others", "name: guests", "policies[guests]: added"},
		{"pools:", "timeouts: {icmp: 90}\npools:", "timeouts.icmp: 60 -> 90"},
		{"pools:", "timeouts: {portless: 150}\npools:", "timeouts.portless: 300 -> 150"},
		{"pools:", "tcp-midstream: forward-if-mapped\npools:",
			"tcp-midstream: drop -> forward-if-mapped"},
		{"addresses: [192.0.2.2/24]", "addresses: [192.0.2.2/24, '2001:DB8::2/64']",
			"interfaces[out].addresses: [192.0.2.2/24] -> [192.0.2.2/24, 2001:db8::2/64]"},
		{"addresses: [192.0.2.2/24]\n    routes: [",
			"addresses: [192.0.2.2/24, '2001:db8::2/64']\n    routes: "
			"[{prefix: '::/0', via: 'fe80::1'}, ",
			"interfaces[out].routes: [0.0.0.0/0 via 192.0.2.1] -> "
			"[0.0.0.0/0 via 192.0.2.1, ::/0 via fe80::1]"},
		{"via: 192.0.2.1}", "via: 192.0.2.9}",
			"interfaces[out].routes: [0.0.0.0/0 via 192.0.2.1] -> [0.0.0.0/0 via 192.0.2.9]"},
	};

	for (unsigned i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		json_t *r = check_file(edits[i].from, edits[i].to), *line;
		size_t n;
		bool found = false;

		json_array_foreach(json_object_get(r, "changes"), n, line) found |=
			!strcmp(json_string_value(line), edits[i].change);
		if (!found)
			fail_msg("%s: not found", edits[i].change);
		assert_int_equal(integer(json_object_get(r, "affected"), "sessions"), 300);
		json_decref(r);
	}
}

static void check_sees_that_policies_changed_places(void **state)
{
	char yaml[sizeof(FAKE_YAML) + 16];
	const char *first = strstr(FAKE_YAML, "  - {name: home-users");
	const char *second = strstr(FAKE_YAML, "  - {name: others");

	snprintf(yaml, sizeof(yaml), "%s%.*s", second, (int)(second - first), first);
	json_t *r = check_file(first, yaml), *changes = json_object_get(r, "changes");
	assert_int_equal(json_array_size(changes), 1);
	assert_string_equal(json_string_value(json_array_get(changes, 0)),
		"policies: order home-users, others -> others, home-users");
	json_decref(r);
}

static void check_of_a_bad_file_has_every_error(void **state)
{
	char line[256];

	write_yaml("max-blocks: 4", "max-blocks: x, nonsense: 1");
	snprintf(
		line, sizeof(line), "{\"command\": \"check\", \"args\": {\"file\": \"%s\"}}", path);
	CHECK_ERROR(line, "invalid_config", "max-blocks");
	CHECK_ERROR(line, "invalid_config", "nonsense");
	unlink(path);
	CHECK_ERROR(line, "invalid_config", path); // it is gone
	assert_int_equal(mkfifo(path, 0600), 0); // nobody will ever write to it
	CHECK_ERROR(line, "invalid_config", "not a regular file");
	unlink(path);
	CHECK_ERROR("{\"command\": \"check\", \"args\": {\"file\": \"/dev/zero\"}}",
		"invalid_config", "not a regular file");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(check_of_the_same_file_changes_nothing),
		T(check_names_each_change),
		T(check_sees_that_policies_changed_places),
		T(check_of_a_bad_file_has_every_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
