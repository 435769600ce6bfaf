// SPDX-License-Identifier: BSD-3-Clause
// The configuration file: good ones give exactly their values, broken ones exactly their messages. That
// nothing that can stand in a file does any harm: test_config_harm.c.
#include "config_outcome.h"
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define BROKEN_DIR SOURCE_ROOT "/test/config"
#define ADDRESS(a, b, c, d) ((uint32_t)(a) << 24 | (b) << 16 | (c) << 8 | (d))

static struct outcome load(const char *path)
{
	struct outcome o = {0};
	FILE *f = open_memstream(&o.errors, &o.n_bytes);

	o.config = config_load(path, f, &o.n_errors, &o.warnings);
	fclose(f);
	return o;
}

// ---- broken files

static int is_yaml(const struct dirent *entry)
{
	size_t n = strlen(entry->d_name);

	return n > 5 && !strcmp(entry->d_name + n - 5, ".yaml");
}

// "# expect: LINE:COLUMN: key: ..." lines at the head of a file, as the loader would write them.
static char *expected_errors(const char *path, unsigned *n_lines)
{
	static const char mark[] = "# expect: ";
	size_t n_text, n_bytes;
	char *text = read_text(path, &n_text), *out;
	FILE *f = open_memstream(&out, &n_bytes);

	*n_lines = 0;
	for (char *line = text; !strncmp(line, mark, sizeof(mark) - 1);) {
		char *end = strchr(line, '\n');

		assert_non_null(end);
		fprintf(f, "%s:%.*s\n", path, (int)(end - line) - (int)sizeof(mark) + 1,
			line + sizeof(mark) - 1);
		++*n_lines;
		line = end + 1;
	}
	fclose(f);
	free(text);
	return out;
}

static void every_broken_file_gives_exactly_its_messages(void **state)
{
	struct dirent **entries;
	int n = scandir(BROKEN_DIR, &entries, is_yaml, alphasort);
	unsigned n_with_several = 0, n_wrong = 0;

	assert_true(n >= 50);
	for (int i = 0; i < n; i++) {
		char path[512];
		unsigned n_lines;
		struct outcome o;
		char *expected;

		snprintf(path, sizeof(path), BROKEN_DIR "/%s", entries[i]->d_name);
		expected = expected_errors(path, &n_lines);
		o = load(path);
		if (!n_lines || o.config || o.n_errors != n_lines || strcmp(o.errors, expected)) {
			print_error("%s: %s\n--- expected\n%s--- got\n%s", path,
				n_lines ? "other messages" : "no \"# expect:\" line", expected,
				o.errors);
			n_wrong++;
		}
		n_with_several += n_lines > 1;
		outcome_fini(&o);
		free(expected);
		free(entries[i]);
	}
	free(entries);
	assert_int_equal(n_wrong, 0);
	assert_true(n_with_several >= 3);
}

static void expect_only_error(struct outcome o, const char *error)
{
	assert_null(o.config);
	assert_int_equal(o.n_errors, 1);
	assert_string_equal(o.errors, error);
	outcome_fini(&o);
}

static void what_is_no_readable_file_is_one_clear_error(void **state)
{
	char dir[] = "/tmp/test-config-XXXXXX", path[64], error[256];

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/f", dir);

	snprintf(error, sizeof(error), "%s:1:1: file: cannot be read: No such file or directory\n",
		path);
	expect_only_error(load(path), error);
	snprintf(error, sizeof(error), "%s:1:1: file: cannot be read: it is a directory\n", dir);
	expect_only_error(load(dir), error);

	assert_int_equal(mkfifo(path, 0600), 0); // nobody writes: must not wait
	snprintf(error, sizeof(error), "%s:1:1: file: cannot be read: it is not a regular file\n",
		path);
	expect_only_error(load(path), error);
	unlink(path);

	assert_int_equal(close(open(path, O_WRONLY | O_CREAT, 0600)), 0);
	snprintf(error, sizeof(error),
		"%s:1:1: file: is empty; interfaces, pools and policies are needed\n", path);
	expect_only_error(load(path), error);

	assert_int_equal(truncate(path, CONFIG_FILE_MAX + 1), 0);
	snprintf(error, sizeof(error),
		"%s:1:1: file: is too large, at most 4194304 bytes are allowed\n", path);
	expect_only_error(load(path), error);

	if (geteuid()) { // root reads everything
		assert_int_equal(chmod(path, 0), 0);
		snprintf(error, sizeof(error), "%s:1:1: file: cannot be read: Permission denied\n",
			path);
		expect_only_error(load(path), error);
	}
	unlink(path);
	rmdir(dir);
}

// ---- good files

static void assert_prefix(const struct cgn_prefix *p, uint32_t address, uint8_t length)
{
	assert_int_equal(p->address, address);
	assert_int_equal(p->length, length);
}

static void assert_ports(const struct cgn_port_range *p, uint16_t first, uint16_t last)
{
	assert_int_equal(p->first, first);
	assert_int_equal(p->last, last);
}

static struct cgn_config *load_good(const char *path, struct outcome *o)
{
	*o = load(path);
	assert_string_equal(o->errors, "");
	assert_int_equal(o->n_errors, 0);
	assert_int_equal(o->warnings.n, 0);
	assert_non_null(o->config);
	return o->config;
}

static void assert_default_runtime(const struct cgn_config *c)
{
	assert_int_equal(c->runtime.main_lcore, 0);
	assert_int_equal(c->runtime.n_workers, 1);
	assert_int_equal(c->runtime.worker_lcores[0], 1);
	assert_false(c->runtime.share_cpus);
	assert_int_equal(c->runtime.idle, CGN_IDLE_POLL);
	assert_true(c->runtime.hugepages);
	assert_int_equal(c->runtime.memory_mb, 4096);
	assert_int_equal(c->runtime.max_sessions, 4000000);
	assert_int_equal(c->runtime.max_subscribers, 200000);
	assert_int_equal(c->runtime.n_eal_args, 0);
	assert_string_equal(c->control.socket, "/run/cgnat/cgnatd.sock");
}

static void assert_default_rest(const struct cgn_config *c)
{
	assert_int_equal(c->timeouts.udp, 300); // RFC 4787 REQ-5c
	assert_int_equal(c->timeouts.tcp_established, 7440); // RFC 5382 REQ-5
	assert_int_equal(c->timeouts.tcp_opening, 240);
	assert_int_equal(c->timeouts.tcp_closing, 240);
	assert_int_equal(c->timeouts.icmp, 60); // RFC 5508 REQ-2
	assert_int_equal(c->timeouts.portless, 300);
	assert_int_equal(c->timeouts.hold_down, 120); // RFC 6888 REQ-8
	assert_int_equal(c->timeouts.fragment, 2);
	assert_false(c->timeouts.non_conformant);
	assert_int_equal(c->timeouts.n_services, 0);
	assert_int_equal(c->timeouts.hold_down_max, 0);
	assert_int_equal(cgn_rests_max(c), c->runtime.max_sessions / 2);
	assert_false(c->timeouts.tcp_at_once);
	assert_int_equal(c->tcp_mss_clamp, 0);
	assert_false(c->tcp_unsolicited_icmp);
	assert_false(c->tcp_midstream_forward);
	assert_int_equal(c->icmp_refused, CGN_REFUSED_HOST_UNREACHABLE); // RFC 6888 REQ-11b
	assert_int_equal(c->icmp_errors_per_s, 100);
	assert_int_equal(c->icmp_errors_per_host, 10);
}

static void the_minimal_file_has_every_default(void **state)
{
	struct outcome o;
	const struct cgn_config *c = load_good(SOURCE_ROOT "/config/minimal.yaml", &o);
	const struct cgn_pool *pool = c->pools;
	const struct cgn_policy *policy = c->policies;

	assert_default_runtime(c);
	assert_default_rest(c);
	assert_int_equal(c->n_interfaces, 2);
	assert_int_equal(c->interfaces[0].role, CGN_INTERNAL);
	assert_int_equal(c->interfaces[0].n_routes, 0);
	assert_int_equal(c->interfaces[1].role, CGN_EXTERNAL);
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(c->interfaces[i].mtu, 1500);
		assert_int_equal(c->interfaces[i].vlan, 0);
	}
	assert_int_equal(c->n_pools, 1);
	assert_ports(&pool->ports, 1024, 65535);
	assert_int_equal(pool->allocation, CGN_ALLOCATION_DYNAMIC);
	assert_int_equal(pool->block_size, 256);
	assert_int_equal(pool->max_blocks, 4);
	assert_int_equal(pool->n_reserved, 0);
	assert_int_equal(c->n_policies, 1);
	assert_int_equal(policy->n_destinations, 0);
	assert_int_equal(policy->protocol, CGN_PROTO_ANY);
	assert_int_equal(policy->n_destination_ports, 0);
	assert_int_equal(policy->action, CGN_TRANSLATE);
	assert_int_equal(policy->pool, 0);
	assert_int_equal(policy->filtering_udp, CGN_FILTER_ENDPOINT_INDEPENDENT); // RFC 6888 REQ-7
	assert_int_equal(policy->filtering_tcp, CGN_FILTER_ENDPOINT_INDEPENDENT);
	assert_true(policy->hairpin); // RFC 4787 REQ-9
	assert_false(policy->inbound_refresh); // RFC 4787 REQ-6
	assert_int_equal(policy->limit_sessions, 0);
	assert_int_equal(policy->limit_new_sessions_per_s, 0);
	outcome_fini(&o);
}

static void assert_example_interfaces(const struct cgn_config *c)
{
	const struct cgn_interface *in = &c->interfaces[0], *out = &c->interfaces[1];

	assert_int_equal(c->n_interfaces, 2);
	assert_string_equal(in->name, "subscribers");
	assert_int_equal(in->role, CGN_INTERNAL);
	assert_string_equal(in->device, "0000:3b:00.0");
	assert_int_equal(in->n_addresses, 1);
	assert_prefix(&in->addresses[0], ADDRESS(100, 64, 0, 1), 10);
	assert_int_equal(in->mtu, 1500);
	assert_int_equal(in->vlan, 0);
	assert_int_equal(in->n_routes, 1);
	assert_prefix(&in->routes[0].prefix, ADDRESS(10, 0, 0, 0), 8);
	assert_int_equal(in->routes[0].via, ADDRESS(100, 64, 0, 2));
	assert_string_equal(out->name, "internet");
	assert_int_equal(out->role, CGN_EXTERNAL);
	assert_string_equal(out->device, "0000:3b:00.1");
	assert_int_equal(out->n_addresses, 1);
	assert_prefix(&out->addresses[0], ADDRESS(192, 0, 2, 2), 24);
	assert_int_equal(out->mtu, 1500);
	assert_int_equal(out->vlan, 200);
	assert_int_equal(out->n_routes, 1);
	assert_prefix(&out->routes[0].prefix, 0, 0);
	assert_int_equal(out->routes[0].via, ADDRESS(192, 0, 2, 1));
}

static void assert_example_pool(const struct cgn_pool *p)
{
	const struct cgn_address_range ranges[] = {
		// sorted, in the file they are not
		{ADDRESS(198, 51, 100, 7), ADDRESS(198, 51, 100, 7)},
		{ADDRESS(198, 51, 100, 20), ADDRESS(198, 51, 100, 29)},
		{ADDRESS(203, 0, 113, 0), ADDRESS(203, 0, 113, 15)},
	};

	assert_string_equal(p->name, "residential");
	assert_int_equal(p->n_ranges, 3);
	assert_memory_equal(p->ranges, ranges, sizeof(ranges));
	assert_ports(&p->ports, 1024, 65535);
	assert_int_equal(p->allocation, CGN_ALLOCATION_DYNAMIC);
	assert_int_equal(p->block_size, 256);
	assert_int_equal(p->max_blocks, 4);
	assert_int_equal(p->n_reserved, 2);
	assert_ports(&p->reserved[0], 5060, 5060);
	assert_ports(&p->reserved[1], 6000, 6063);
}

static void assert_example_policies(const struct cgn_policy *p)
{
	assert_string_equal(p[0].name, "no-smtp");
	assert_int_equal(p[0].n_sources, 2);
	assert_prefix(&p[0].sources[0], ADDRESS(100, 64, 0, 0), 10);
	assert_prefix(&p[0].sources[1], ADDRESS(10, 0, 0, 0), 8);
	assert_int_equal(p[0].n_destinations, 0);
	assert_int_equal(p[0].protocol, CGN_PROTO_TCP);
	assert_int_equal(p[0].n_destination_ports, 1);
	assert_ports(&p[0].destination_ports[0], 25, 25);
	assert_int_equal(p[0].action, CGN_DROP);

	assert_string_equal(p[1].name, "partner-network");
	assert_int_equal(p[1].n_sources, 1);
	assert_int_equal(p[1].n_destinations, 1);
	assert_prefix(&p[1].destinations[0], ADDRESS(198, 18, 0, 0), 15);
	assert_int_equal(p[1].protocol, CGN_PROTO_TCP);
	assert_int_equal(p[1].n_destination_ports, 2);
	assert_ports(&p[1].destination_ports[0], 443, 443);
	assert_ports(&p[1].destination_ports[1], 8000, 8100);
	assert_int_equal(p[1].action, CGN_BYPASS);

	assert_string_equal(p[2].name, "home-users");
	assert_int_equal(p[2].n_sources, 2);
	assert_int_equal(p[2].protocol, CGN_PROTO_ANY);
	assert_int_equal(p[2].action, CGN_TRANSLATE);
	assert_int_equal(p[2].pool, 0);
	assert_int_equal(p[2].filtering_udp, CGN_FILTER_ENDPOINT_INDEPENDENT);
	assert_int_equal(p[2].filtering_tcp, CGN_FILTER_ENDPOINT_INDEPENDENT);
	assert_true(p[2].hairpin);
	assert_int_equal(p[2].limit_sessions, 4000);
	assert_int_equal(p[2].limit_new_sessions_per_s, 500);
}

static void assert_static(const struct cgn_static_mapping *m, const char *name, uint8_t protocol,
	struct cgn_static_mapping want)
{
	assert_string_equal(m->name, name);
	assert_int_equal(m->protocol, protocol);
	assert_int_equal(m->internal, want.internal);
	assert_int_equal(m->external, want.external);
	assert_ports(&m->internal_ports, want.internal_ports.first, want.internal_ports.last);
	assert_ports(&m->external_ports, want.external_ports.first, want.external_ports.last);
}
#define STATIC(m, name, protocol, ...) \
	assert_static(m, name, protocol, (struct cgn_static_mapping){"", 0, __VA_ARGS__})

static void assert_example_static_mappings(const struct cgn_static_mapping *m)
{
	STATIC(&m[0], "web", CGN_PROTO_TCP, ADDRESS(100, 64, 0, 10), ADDRESS(203, 0, 113, 1),
		{8443, 8443}, {443, 443});
	STATIC(&m[1], "game", CGN_PROTO_ANY, ADDRESS(100, 64, 0, 10), ADDRESS(203, 0, 113, 1),
		{7000, 7009}, {17000, 17009});
	STATIC(&m[2], "one-to-one", CGN_PROTO_ANY, ADDRESS(100, 64, 0, 11),
		ADDRESS(203, 0, 113, 15), {0, 65535}, {0, 65535});
	assert_false(cgn_static_one_to_one(&m[1]));
	assert_true(cgn_static_one_to_one(&m[2]));
}

static void the_full_example_has_its_values(void **state)
{
	struct outcome o;
	const struct cgn_config *c = load_good(SOURCE_ROOT "/config/cgnatd.yaml", &o);

	assert_default_runtime(c);
	assert_example_interfaces(c);
	assert_int_equal(c->n_pools, 1);
	assert_example_pool(c->pools);
	assert_int_equal(c->n_policies, 3);
	assert_example_policies(c->policies);
	assert_int_equal(c->n_static_mappings, 3);
	assert_example_static_mappings(c->static_mappings);
	assert_default_rest(c);
	outcome_fini(&o);
}

static void assert_service(
	const struct cgn_service_timeout *s, uint8_t protocol, uint16_t port, uint32_t timeout)
{
	assert_int_equal(s->protocol, protocol);
	assert_int_equal(s->port, port);
	assert_int_equal(s->timeout, timeout);
}

// Every key at a value that is not its default.
static void values_other_than_the_defaults_are_taken(void **state)
{
	struct outcome o = parse_good(INTERFACES
		"pools: [{name: a, addresses: [203.0.113.0/28], first-block-reserve: 25, soft-app: true}]\n"
		"policies:\n"
		"- {name: all, filtering: {udp: address-dependent, tcp: address-and-port-dependent},\n"
		"   portless-protocols: [gre, 6in4], inbound-refresh: true,\n"
		"   limits: {sessions: 1, new-sessions-per-second: 2, mappings: 9, "
		"sessions-per-mapping: 4,\n"
		"   mappings-tcp: 9, mappings-udp: 8, mappings-icmp: 7}}\n"
		"runtime: {main-lcore: 5, worker-lcores: [127, 1-3], share-cpus: true, hugepages: "
		"false,\n"
		"  memory-mb: 64, max-sessions: 256, max-subscribers: 4, eal-args: "
		"[--log-level=8, -v]}\n"
		"control: {socket: /tmp/s}\n"
		"timeouts: {udp: 120, tcp-established: 604800, tcp-opening: 1, tcp-closing: 241,\n"
		"  icmp: 61, portless: 600, hold-down: 604800, fragment: 3, non-conformant: true,\n"
		"  services: [{protocol: udp, port: 53, timeout: 10}, {protocol: tcp, port: 443, "
		"timeout: 7440},\n"
		"    {port: 22, timeout: 604800, protocol: tcp}], hold-down-max: 1000}\n"
		"tcp-mss-clamp: 1452\n"
		"tcp-midstream: forward-if-mapped\n"
		"tcp-unsolicited-syn: icmp\n"
		"icmp: {refused: admin-prohibited, errors-per-second: 7, errors-per-second-per-host: 3}\n");
	const struct cgn_config *c = o.config;
	const uint32_t lcores[] = {127, 1, 2, 3};

	assert_int_equal(c->runtime.main_lcore, 5);
	assert_int_equal(c->runtime.n_workers, 4);
	assert_memory_equal(c->runtime.worker_lcores, lcores, sizeof(lcores));
	assert_true(c->runtime.share_cpus);
	assert_int_equal(c->runtime.idle, CGN_IDLE_RELAX); // its default there
	assert_false(c->runtime.hugepages);
	assert_int_equal(c->runtime.memory_mb, 64);
	assert_int_equal(c->runtime.max_sessions, 256);
	assert_int_equal(c->runtime.max_subscribers, 4);
	assert_int_equal(c->runtime.n_eal_args, 2);
	assert_string_equal(c->runtime.eal_args[0], "--log-level=8");
	assert_string_equal(c->runtime.eal_args[1], "-v");
	assert_string_equal(c->control.socket, "/tmp/s");
	assert_int_equal(c->timeouts.udp, 120);
	assert_int_equal(c->timeouts.tcp_established, 604800);
	assert_int_equal(c->timeouts.tcp_opening, 1); // RFC 7857 2.1
	assert_int_equal(c->timeouts.tcp_closing, 241);
	assert_int_equal(c->timeouts.icmp, 61);
	assert_int_equal(c->timeouts.portless, 600);
	assert_int_equal(c->timeouts.hold_down, 604800);
	assert_int_equal(c->timeouts.fragment, 3);
	assert_true(c->timeouts.non_conformant);
	assert_int_equal(c->timeouts.n_services, 3); // sorted
	assert_service(&c->timeouts.services[0], CGN_PROTO_TCP, 22, 604800);
	assert_service(&c->timeouts.services[1], CGN_PROTO_TCP, 443, 7440);
	assert_service(&c->timeouts.services[2], CGN_PROTO_UDP, 53, 10);
	assert_int_equal(c->timeouts.hold_down_max, 1000);
	assert_int_equal(c->tcp_mss_clamp, 1452);
	assert_int_equal(c->pools[0].first_block_reserve, 25);
	assert_true(c->pools[0].soft_app);
	assert_int_equal(c->policies[0].filtering_udp, CGN_FILTER_ADDRESS_DEPENDENT);
	assert_int_equal(c->policies[0].filtering_tcp, CGN_FILTER_ADDRESS_AND_PORT_DEPENDENT);
	assert_int_equal(c->policies[0].limit_sessions, 1);
	assert_int_equal(c->policies[0].limit_new_sessions_per_s, 2);
	assert_int_equal(c->policies[0].limit_mappings, 9);
	assert_int_equal(c->policies[0].limit_mappings_of[CGN_L4_TCP], 9);
	assert_int_equal(c->policies[0].limit_mappings_of[CGN_L4_UDP], 8);
	assert_int_equal(c->policies[0].limit_mappings_of[CGN_L4_ICMP], 7);
	assert_true(c->policies[0].inbound_refresh);
	assert_int_equal(c->policies[0].portless, cgn_portless_bit(47) | cgn_portless_bit(41));
	assert_int_equal(c->policies[0].limit_sessions_per_mapping, 4);
	assert_true(c->tcp_midstream_forward);
	assert_true(c->tcp_unsolicited_icmp);
	assert_int_equal(c->icmp_refused, CGN_REFUSED_ADMIN_PROHIBITED);
	assert_int_equal(c->icmp_errors_per_s, 7);
	assert_int_equal(c->icmp_errors_per_host, 3);
	assert_int_equal(o.warnings.n, 0);
	outcome_fini(&o);
}

static void worker_lcores_have_several_forms(void **state)
{
	static const struct {
		const char *text;
		uint32_t n, first, last;
	} forms[] = {{"3", 1, 3, 3}, {"\"1-4\"", 4, 1, 4}, {"1-4", 4, 1, 4}, {"1,3-5", 4, 1, 5},
		{"[1, \"3-5\"]", 4, 1, 5}, {"1-32", 32, 1, 32}};

	for (unsigned i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
		char text[1024];
		struct outcome o;

		snprintf(text, sizeof(text),
			INTERFACES POOLS POLICIES "runtime: {worker-lcores: %s}\n", forms[i].text);
		if (strchr(forms[i].text, ',') && *forms[i].text != '[')
			snprintf(text, sizeof(text),
				INTERFACES POOLS POLICIES "runtime:\n  worker-lcores: %s\n",
				forms[i].text);
		o = parse_good(text);
		assert_int_equal(o.config->runtime.n_workers, forms[i].n);
		assert_int_equal(o.config->runtime.worker_lcores[0], forms[i].first);
		assert_int_equal(o.config->runtime.worker_lcores[forms[i].n - 1], forms[i].last);
		outcome_fini(&o);
	}
}

static void addresses_and_routes_of_both_versions_have_lists_of_their_own(void **state)
{
	struct outcome o = parse_good(
		"pools: [{name: a, addresses: [203.0.113.9]}]\n"
		"policies: [{name: p}]\n"
		"interfaces:\n"
		"- {name: in, role: internal, device: net_null0,\n"
		"   addresses: ['2001:DB8:0:1::1/64', 10.0.0.1/24, fd00::1/127, 10.0.1.1/24],\n"
		"   routes: [{prefix: '::/0', via: 'fe80::1'}, {prefix: 10.9.0.0/16, via: 10.0.1.2},\n"
		"   {prefix: '2001:db8:ff::7', via: 'fd00::'}], mtu: 1280}\n"
		"- {name: out, role: external, device: net_null1, addresses: [192.0.2.2/24], mtu: 68}\n");
	const struct cgn_interface *in = &o.config->interfaces[0], *out = in + 1;
	static const struct cgn_ipv6 global = {{0x20, 1, 0xd, 0xb8, [7] = 1, [15] = 1}},
				     local = {{0xfd, [15] = 1}}, gateway = {{0xfe, 0x80, [15] = 1}},
				     host = {{0x20, 1, 0xd, 0xb8, 0, 0xff, [15] = 7}};

	assert_int_equal(in->n_addresses, 2);
	assert_prefix(&in->addresses[0], ADDRESS(10, 0, 0, 1), 24);
	assert_prefix(&in->addresses[1], ADDRESS(10, 0, 1, 1), 24);
	assert_int_equal(in->n_addresses6, 2);
	assert_memory_equal(&in->addresses6[0].address, &global, sizeof(global));
	assert_int_equal(in->addresses6[0].length, 64);
	assert_memory_equal(&in->addresses6[1].address, &local, sizeof(local));
	assert_int_equal(in->addresses6[1].length, 127);
	assert_int_equal(in->n_routes, 1);
	assert_int_equal(in->routes[0].via, ADDRESS(10, 0, 1, 2));
	assert_int_equal(in->n_routes6, 2);
	assert_int_equal(in->routes6[0].prefix.length, 0);
	assert_memory_equal(&in->routes6[0].via, &gateway, sizeof(gateway));
	assert_int_equal(in->routes6[1].prefix.length, 128);
	assert_memory_equal(&in->routes6[1].prefix.address, &host, sizeof(host));
	assert_int_equal(out->n_addresses6, 0);
	assert_int_equal(out->n_routes6, 0);
	outcome_fini(&o);
}

static void pools_policies_and_interfaces_take_their_other_forms(void **state)
{
	struct outcome o = parse_good(
		"policies:\n" // before the pools they name
		"- {name: p0, action: bypass, match: {protocol: gre, destination: [192.0.2.77]}}\n"
		"- {name: p1, action: drop, match: {protocol: 255}}\n"
		"- {name: p2, match: {protocol: 17, destination-ports: [53, 1-65535]}, pool: b,\n"
		"   hairpin: false, limits: {sessions: 1}}\n"
		"- {name: p3, match: {}, pool: a, limits: {new-sessions-per-second: 10000000}}\n"
		"pools:\n"
		"- {name: a, addresses: [203.0.113.9, 203.0.113.0-203.0.113.8], ports: 1-65535,\n"
		"   block-size: 16384, max-blocks: 64, reserved-ports: [30, 10-19, 20, 40-50]}\n"
		"- {name: b, addresses: [192.0.2.128/25], ports: 60000-60015, block-size: 16}\n"
		"interfaces:\n"
		"- {name: in.0_-9, role: internal, device: 'eth_x,a=[1,2]', addresses: [10.0.0.0/31, "
		"10.0.0.5/32],\n"
		"   mtu: 68, vlan: 4094, routes: [{prefix: 10.9.9.9, via: 10.0.0.1}]}\n"
		"- {name: out, role: external, device: '3B:0a.7', addresses: [192.0.2.2/24, "
		"192.0.2.3/25], mtu: 9600}\n");
	const struct cgn_config *c = o.config;

	assert_int_equal(c->policies[0].protocol, 47);
	assert_prefix(&c->policies[0].destinations[0], ADDRESS(192, 0, 2, 77), 32);
	assert_int_equal(c->policies[1].protocol, 255);
	assert_int_equal(c->policies[2].protocol, CGN_PROTO_UDP);
	assert_int_equal(c->policies[2].pool, 1);
	assert_ports(&c->policies[2].destination_ports[1], 1, 65535);
	assert_false(c->policies[2].hairpin);
	assert_int_equal(c->policies[2].limit_sessions, 1);
	assert_int_equal(c->policies[3].pool, 0);
	assert_int_equal(c->policies[3].limit_new_sessions_per_s, 10000000);
	assert_int_equal(c->pools[0].n_ranges, 2);
	assert_int_equal(c->pools[0].ranges[0].first, ADDRESS(203, 0, 113, 0));
	assert_int_equal(c->pools[0].ranges[1].last, ADDRESS(203, 0, 113, 9));
	assert_int_equal(c->pools[0].block_size, 16384);
	assert_int_equal(c->pools[0].max_blocks, 64);
	assert_int_equal(c->pools[0].n_reserved, 3); // 10-19 and 20 touch
	assert_ports(&c->pools[0].reserved[0], 10, 20);
	assert_ports(&c->pools[0].reserved[1], 30, 30);
	assert_ports(&c->pools[0].reserved[2], 40, 50);
	assert_int_equal(c->pools[1].block_size, 16);
	assert_string_equal(c->interfaces[0].name, "in.0_-9");
	assert_string_equal(c->interfaces[0].device, "eth_x,a=[1,2]");
	assert_prefix(&c->interfaces[0].addresses[1], ADDRESS(10, 0, 0, 5), 32);
	assert_int_equal(c->interfaces[0].mtu, 68);
	assert_int_equal(c->interfaces[0].vlan, 4094);
	assert_prefix(&c->interfaces[0].routes[0].prefix, ADDRESS(10, 9, 9, 9), 32);
	assert_string_equal(c->interfaces[1].device, "3B:0a.7");
	assert_int_equal(c->interfaces[1].mtu, 9600);
	outcome_fini(&o);
}

static void static_mappings_take_their_other_forms(void **state)
{
	struct outcome o = parse_good(INTERFACES POOLS POLICIES
		"static-mappings:\n"
		"- {name: a, protocol: udp, internal: 100.64.0.5:1-65535, external: "
		"198.18.0.1:1-65535}\n"
		"- {name: b, protocol: icmp, internal: 100.64.0.5, external: 198.18.0.2}\n"
		"- {name: c, protocol: tcp, internal: '100.64.0.6', external: 198.18.0.2}\n"
		"- {name: d, protocol: all, internal: 100.64.0.7:7-7, external: '198.18.0.4:9'}\n");
	const struct cgn_static_mapping *m = o.config->static_mappings;

	STATIC(&m[0], "a", CGN_PROTO_UDP, ADDRESS(100, 64, 0, 5), ADDRESS(198, 18, 0, 1),
		{1, 65535}, {1, 65535});
	STATIC(&m[1], "b", CGN_PROTO_ICMP, ADDRESS(100, 64, 0, 5), ADDRESS(198, 18, 0, 2),
		{0, 65535}, {0, 65535});
	STATIC(&m[2], "c", CGN_PROTO_TCP, ADDRESS(100, 64, 0, 6), ADDRESS(198, 18, 0, 2),
		{0, 65535}, {0, 65535});
	STATIC(&m[3], "d", CGN_PROTO_ANY, ADDRESS(100, 64, 0, 7), ADDRESS(198, 18, 0, 4), {7, 7},
		{9, 9});
	assert_int_equal(o.warnings.n, 0);
	outcome_fini(&o);
}

static void a_static_host_that_no_policy_knows_is_a_warning(void **state)
{
	struct outcome o = parse_good(
		INTERFACES POOLS "policies: [{name: all, match: {source: [100.64.0.0/11]}}]\n"
				 "static-mappings:\n"
				 "- {name: a, internal: 100.95.255.255, external: 203.0.113.1}\n"
				 "- {name: b, internal: 100.96.0.0, external: 203.0.113.2}\n");

	assert_int_equal(o.warnings.n, 1);
	assert_string_equal(o.warnings.lines[0],
		"t:8:23: static-mappings[1].internal: no policy translates 100.96.0.0: it is "
		"reached from outside, but opens nothing itself");
	outcome_fini(&o);
}

static void many_static_mappings_are_checked_quickly(void **state)
{
	enum {
		N = 40000
	};
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	struct outcome o;

	fputs(INTERFACES POOLS POLICIES "static-mappings:\n", f);
	for (unsigned i = 0; i < N; i++)
		fprintf(f,
			"- {name: n%u, internal: '100.65.%u.%u:80', external: '198.18.0.%u:%u'}\n",
			i, i / 250, i % 250, i % 4, 1 + i / 4);
	fclose(f);
	o = parse_good(text);
	assert_int_equal(o.config->n_static_mappings, N);
	assert_int_equal(o.warnings.n, 0);
	outcome_fini(&o);
	free(text);
}

static void questionable_values_are_warnings(void **state)
{
	static const char *const warnings[] = {
		"t:5:49: pools[0].ports: the last 185 of the ports 1024-3000 fill no block of 256 "
		"and stay unused",
		"t:6:3: pools[1]: no policy uses it",
		"t:9:3: policies[1]: is never reached, policy all takes everything",
		"t:10:17: timeouts.udp: 30 s is not conformant, the minimum is 120 s (RFC 4787 REQ-5)",
		"t:10:38: timeouts.tcp-established: 60 s is not conformant, the minimum is 7440 s "
		"(RFC 5382 REQ-5)",
		"t:10:55: timeouts.tcp-closing: 10 s is not conformant, the minimum is 240 s "
		"(RFC 5382 REQ-5)",
		"t:10:65: timeouts.icmp: 5 s is not conformant, the minimum is 60 s (RFC 5508 REQ-2)",
		"t:10:79: timeouts.hold-down: 0 s is short, ports should rest for 120 s "
		"(RFC 6888 REQ-8)",
		"t:10:92: timeouts.fragment: 1 s is not conformant, the minimum is 2 s "
		"(RFC 6146 3.4)",
	};
	struct outcome o = parse_good(INTERFACES
		"pools:\n"
		"- {name: a, addresses: [203.0.113.0/28], ports: 1024-3000}\n"
		"- {name: b, addresses: [198.51.100.1]}\n"
		"policies:\n"
		"- {name: all, pool: a}\n"
		"- {name: late, pool: a}\n"
		"timeouts: {udp: 30, tcp-established: 60, tcp-closing: 10, icmp: 5, hold-down: 0, "
		"fragment: 1, non-conformant: true}\n");

	for (unsigned i = 0; i < o.warnings.n && i < sizeof(warnings) / sizeof(warnings[0]); i++)
		assert_string_equal(o.warnings.lines[i], warnings[i]);
	assert_int_equal(o.warnings.n, sizeof(warnings) / sizeof(warnings[0]));
	outcome_fini(&o);
}

static void a_deterministic_pool_is_read(void **state)
{
	struct outcome o = parse_good(INTERFACES
		"pools:\n"
		"- {name: a, addresses: [203.0.113.0/28], allocation: deterministic, block-size: 512}\n"
		"- {name: b, addresses: [198.51.100.1], allocation: deterministic, deterministic: {ports: 4032, "
		"algorithm: cryptographic, key: 0123456789abcdefFEDCBA9876543210, "
		"include-boundary-addresses: true}}\n"
		"policies:\n"
		"- {name: a, pool: a, match: {source: [100.64.0.0/24]}}\n"
		"- {name: b, pool: b, match: {source: [100.65.0.0/30]}}\n");
	const struct cgn_pool *p = o.config->pools;

	assert_int_equal(o.warnings.n, 0);
	assert_int_equal(p[0].allocation, CGN_ALLOCATION_DETERMINISTIC);
	assert_int_equal(p[0].deterministic.algorithm, CGN_ALGORITHM_SEQUENTIAL);
	assert_int_equal(p[0].deterministic.ports, 512); // as block-size
	assert_false(p[0].deterministic.include_boundaries);
	assert_int_equal(p[1].deterministic.algorithm, CGN_ALGORITHM_CRYPTOGRAPHIC);
	assert_int_equal(p[1].deterministic.ports, 4032);
	assert_true(p[1].deterministic.include_boundaries);
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(p[1].deterministic.key[i], 0x01 + 0x22 * i);
		assert_int_equal(p[1].deterministic.key[15 - i], 0x10 + 0x22 * i);
	}
	outcome_fini(&o);
}

static void too_little_overflow_is_a_warning(void **state)
{
	static const char *const warnings[] = {
		"t:6:3: pools[0]: no overflow block of 256 fits behind 16 subscribers on an address, "
		"their 4032 ports are all they get (max-blocks: 1 says the same)",
		"t:7:3: pools[1]: 1 overflow blocks on an address are too few for 3 workers, some "
		"subscribers get none",
	};
	struct outcome o = parse_good(
		"runtime: {worker-lcores: 1-3}\n" INTERFACES "pools:\n"
		"- {name: a, addresses: [203.0.113.1], allocation: deterministic, deterministic: {ports: 4032}}\n"
		"- {name: b, addresses: [203.0.113.2], allocation: deterministic, block-size: 4096, deterministic: {ports: 4032}}\n"
		"- {name: c, addresses: [203.0.113.3], allocation: deterministic, max-blocks: 1, deterministic: {ports: 4032}}\n"
		"policies:\n"
		"- {name: a, pool: a, match: {source: [100.64.0.0/29, 100.64.0.8/29, 100.64.1.0/31]}}\n"
		"- {name: b, pool: b, match: {source: [100.65.0.0/28]}}\n"
		"- {name: c, pool: c, match: {source: [100.66.0.0/29, 100.66.0.8/29, 100.66.1.0/31]}}\n");

	for (unsigned i = 0; i < o.warnings.n && i < sizeof(warnings) / sizeof(warnings[0]); i++)
		assert_string_equal(o.warnings.lines[i], warnings[i]);
	assert_int_equal(o.warnings.n, sizeof(warnings) / sizeof(warnings[0]));
	outcome_fini(&o);
}

static void services_and_rests_below_the_rfcs_are_warnings(void **state)
{
	static const char *const warnings[] = {
		"t:6:72: timeouts.services[0].timeout: 119 s is not conformant, the minimum for udp "
		"port 5353 is 120 s (RFC 4787 REQ-5a)",
		"t:7:40: timeouts.services[1].timeout: 60 s is not conformant, the minimum for tcp "
		"port 22 is 7440 s (RFC 5382 REQ-5)",
		"t:9:18: timeouts.hold-down-max: is less than half of max-sessions (4000000): while "
		"more than 100 ports would rest, the oldest are lent again early (RFC 6888 REQ-8)",
		"t:9:38: timeouts.hold-down-tcp: TCP ports whose sessions were closed do not rest, "
		"as RFC 6888 REQ-8 allows; a record of who held a port then needs exact times",
	};
	struct outcome o = parse_good(INTERFACES POOLS POLICIES
		"timeouts: {services: [{protocol: udp, port: 5353, timeout:             119},\n"
		"  {protocol: tcp, port: 22, timeout:   60},\n"
		"  {protocol: udp, port: 1023, timeout: 1}], non-conformant: true,\n"
		"  hold-down-max: 100, hold-down-tcp: false}\n");

	assert_true(o.config->timeouts.tcp_at_once);
	for (unsigned i = 0; i < o.warnings.n && i < sizeof(warnings) / sizeof(warnings[0]); i++)
		assert_string_equal(o.warnings.lines[i], warnings[i]);
	assert_int_equal(o.warnings.n, sizeof(warnings) / sizeof(warnings[0]));
	outcome_fini(&o);
}

static void warnings_and_the_error_count_may_be_left_out(void **state)
{
	static const char good[] = INTERFACES POOLS POLICIES "timeouts: {hold-down: 0}\n";
	struct cgn_config *c = config_parse("t", good, strlen(good), stderr, NULL, NULL);

	assert_non_null(c);
	cgn_config_free(c);
	cgn_config_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_broken_file_gives_exactly_its_messages),
		cmocka_unit_test(what_is_no_readable_file_is_one_clear_error),
		cmocka_unit_test(the_minimal_file_has_every_default),
		cmocka_unit_test(the_full_example_has_its_values),
		cmocka_unit_test(values_other_than_the_defaults_are_taken),
		cmocka_unit_test(worker_lcores_have_several_forms),
		cmocka_unit_test(addresses_and_routes_of_both_versions_have_lists_of_their_own),
		cmocka_unit_test(pools_policies_and_interfaces_take_their_other_forms),
		cmocka_unit_test(static_mappings_take_their_other_forms),
		cmocka_unit_test(many_static_mappings_are_checked_quickly),
		cmocka_unit_test(a_static_host_that_no_policy_knows_is_a_warning),
		cmocka_unit_test(questionable_values_are_warnings),
		cmocka_unit_test(a_deterministic_pool_is_read),
		cmocka_unit_test(too_little_overflow_is_a_warning),
		cmocka_unit_test(services_and_rests_below_the_rfcs_are_warnings),
		cmocka_unit_test(warnings_and_the_error_count_may_be_left_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
