// SPDX-License-Identifier: BSD-3-Clause
// Long configuration files are read, and nothing that can stand in one does any harm.
#include "config_outcome.h"
#include <time.h>

// The text of `format` for i in 0..n-1 between `head` and `tail`.
static char *repeat(const char *head, const char *format, unsigned n, const char *tail)
{
	char *text;
	size_t n_bytes;
	FILE *f = open_memstream(&text, &n_bytes);

	fputs(head, f);
	for (unsigned i = 0; i < n; i++) {
		char address[32];

		snprintf(address, sizeof(address), "%u.%u.%u.%u", 11 + (i >> 24), i >> 16 & 255,
			i >> 8 & 255, i & 255);
		fprintf(f, format, address);
	}
	fputs(tail, f);
	fclose(f);
	return text;
}

static void long_lists_are_fine(void **state)
{
	char *text = repeat(INTERFACES POOLS
		"policies: [{name: cdn, action: bypass, match: {destination: [",
		"%s, ", 100000, "]}}, {name: all}]\n");
	struct outcome o = parse_good(text);

	assert_int_equal(o.config->policies[0].n_destinations, 100000);
	outcome_fini(&o);
	free(text);

	text = repeat(INTERFACES POLICIES "pools: [{name: a, addresses: [", "%s, ", 65536, "]}]\n");
	o = parse_good(text);
	assert_int_equal(o.config->pools[0].n_ranges, 65536);
	outcome_fini(&o);
	free(text);

	text = repeat(POOLS POLICIES
		"interfaces:\n"
		"- {name: in, role: internal, device: net_null0, addresses: [100.64.0.1/10]}\n"
		"- name: out\n  role: external\n  device: net_null1\n  addresses: [192.0.2.2/24]\n"
		"  routes:\n",
		"  - {prefix: %s, via: 192.0.2.1}\n", CONFIG_ROUTES_MAX, "");
	o = parse_good(text);
	assert_int_equal(o.config->interfaces[1].n_routes, CONFIG_ROUTES_MAX);
	outcome_fini(&o);
	free(text);
}

static void large_nonsense_is_refused_quickly(void **state)
{
	static const char *const pieces[] = {"[", "{", "- ", "? ", "a: ", "[a,", "- a\n", "\n",
		"\"", "&a ", "!t ", "'", "#", "a\n", "---\n", "%T\n", "{a: ", "[]: ", "x: 1\n",
		"pools: 1\n"};
	char *text = malloc(CONFIG_FILE_MAX);

	assert_non_null(text);
	for (unsigned i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		size_t n = strlen(pieces[i]), n_bytes = 0;
		struct timespec from, to;
		struct outcome o;

		while (n_bytes + n <= 256 * 1024) {
			memcpy(text + n_bytes, pieces[i], n);
			n_bytes += n;
		}
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &from);
		o = parse(text, n_bytes);
		clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &to);
		assert_null(o.config);
		assert_true(o.n_errors > 0);
		if (to.tv_sec - from.tv_sec > 10)
			fail_msg("\"%s\" took %ld s", pieces[i], (long)(to.tv_sec - from.tv_sec));
		outcome_fini(&o);
	}
	free(text);
}

// Either a configuration or errors that are each one line at a place; never anything else.
static void check_outcome(const char *text, size_t n_bytes)
{
	struct outcome o = parse(text, n_bytes);
	unsigned n_lines = 0, line, column;
	int n_read;

	for (char *p = o.errors; *p; p = strchr(p, '\n') + 1) {
		assert_int_equal(sscanf(p, "t:%u:%u: %n", &line, &column, &n_read), 2);
		assert_true(line >= 1 && column >= 1);
		assert_non_null(strchr(p, '\n'));
		n_lines++;
	}
	assert_int_equal(o.n_errors, n_lines);
	assert_true(!o.config == (n_lines > 0));
	assert_int_equal(strlen(o.errors), o.n_bytes);
	outcome_fini(&o);
}

static void a_file_cut_anywhere_does_no_harm(void **state)
{
	size_t n_bytes;
	char *text = read_text(SOURCE_ROOT "/config/cgnatd.yaml", &n_bytes);

	for (size_t n = 0; n <= n_bytes; n++) {
		char *cut = malloc(n ? n : 1); // exactly: reading behind its end is seen by ASan

		assert_non_null(cut);
		memcpy(cut, text, n);
		check_outcome(cut, n);
		free(cut);
	}
	free(text);
}

static void a_mutated_file_does_no_harm(void **state)
{
	static const char specials[] =
		"[]{}:,-#&*!|>'\"%@`?\t\n \\0159/.~<=\x00\x01\x7f\x80\xc2\xff";
	const char *given = getenv("CGNAT_TEST_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : (unsigned)time(NULL);
	size_t n_bytes;
	char *text = read_text(SOURCE_ROOT "/config/cgnatd.yaml", &n_bytes);

	print_message("CGNAT_TEST_SEED=%u\n", seed);
	for (unsigned i = 0; i < 3000; i++) {
		size_t n = n_bytes;
		char *m = malloc(n + 64);

		assert_non_null(m);
		memcpy(m, text, n);
		for (unsigned k = (unsigned)rand_r(&seed) % 8 + 1; k; k--) {
			size_t at = (unsigned)rand_r(&seed) % n;
			char special = specials[(unsigned)rand_r(&seed) % (sizeof(specials) - 1)];

			switch (rand_r(&seed) % 4) {
			case 0:
				m[at] ^= (char)(1 << rand_r(&seed) % 8);
				break;
			case 1:
				m[at] = special;
				break;
			case 2:
				memmove(m + at, m + at + 1, --n - at);
				break;
			default:
				memmove(m + at + 1, m + at, n++ - at);
				m[at] = special;
			}
		}
		check_outcome(m, n);
		free(m);
	}
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(long_lists_are_fine),
		cmocka_unit_test(large_nonsense_is_refused_quickly),
		cmocka_unit_test(a_file_cut_anywhere_does_no_harm),
		cmocka_unit_test(a_mutated_file_does_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
