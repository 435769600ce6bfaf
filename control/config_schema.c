// SPDX-License-Identifier: BSD-3-Clause
#include "config_schema.h"
#include "config.h"
#include "config_deterministic.h"
#include "config_ipv6.h"
#include "config_static.h"
#include "config_value.h"
#include <arpa/inet.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#define LEN(array) ((unsigned)(sizeof(array) / sizeof((array)[0])))
#define LCORE_MAX 127 // DPDK's RTE_MAX_LCORE - 1
#define SESSIONS_MAX (1u << 30)
#define SUBSCRIBERS_MAX (1u << 24)
#define LIST_MAX UINT32_MAX // bounded by the size of the file alone

// Copies of texts go into the config, not into the report.
static char *kept(const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		abort();
	return copy;
}

// ---- runtime

// libyaml gives [1, 2-4] and "1,2-4" alike as pieces of text.
static bool add_lcores(struct report *r, struct node *n, const char *text, struct cgn_config *c)
{
	uint64_t first, last;

	if (!parse_span(text, &first, &last) || first > last || last > LCORE_MAX) {
		node_error(r, n, "\"%s\" cannot be read, an lcore 0..%d or FIRST-LAST is allowed",
			report_printable(r, text), LCORE_MAX);
		return false;
	}
	for (uint64_t lcore = first; lcore <= last; lcore++) {
		for (uint32_t i = 0; i < c->runtime.n_workers; i++) {
			if (c->runtime.worker_lcores[i] == lcore) {
				node_error(r, n, "lcore %u is there twice, each is allowed once",
					(unsigned)lcore);
				return false;
			}
		}
		if (c->runtime.n_workers == CGN_WORKERS_MAX) {
			node_error(
				r, n, "too many workers, at most %u are allowed", CGN_WORKERS_MAX);
			return false;
		}
		c->runtime.worker_lcores[c->runtime.n_workers++] = (uint32_t)lcore;
	}
	return true;
}

static void read_worker_lcores(struct report *r, struct node *n, const struct field *f, void *to)
{
	struct cgn_config *c = to;
	const char *text;
	char *copy, *save;

	c->runtime.n_workers = 0;
	if (n->kind == NODE_LIST) {
		if (!n->n_items)
			node_error(r, n, "is empty, at least one worker lcore is needed");
		for (unsigned i = 0; i < n->n_items; i++) {
			text = value_text(r, n->items[i], "an lcore 0..127 or FIRST-LAST");
			if (!text || !add_lcores(r, n->items[i], text, c))
				n->is_bad = true;
			if (c->runtime.n_workers == CGN_WORKERS_MAX && n->is_bad)
				break; // one word about too many is enough
		}
		return;
	}
	text = value_text(r, n, "a list of lcores or a string as \"1-4\"");
	if (!text)
		return;
	copy = report_alloc(r, strlen(text) + 1);
	strcpy(copy, text);
	for (char *piece = strtok_r(copy, ",", &save); piece; piece = strtok_r(NULL, ",", &save))
		if (!add_lcores(r, n, piece, c))
			return;
	if (!c->runtime.n_workers || strstr(text, ",,") || *text == ',' ||
		text[strlen(text) - 1] == ',')
		node_error(r, n,
			"\"%s\" cannot be read, lcores as \"1-4\" or \"1,3-5\" are allowed",
			node_shown(r, n));
}

// EAL takes the first letters of a long option for the whole, and a value without a blank behind a
// short one.
static const char *eal_arg_of_ours(const char *arg)
{
	static const char *const longs[] = {"--lcores", "--main-lcore", "--file-prefix",
		"--in-memory", "--no-huge", "--vdev", "--allow"};
	static const char *const shorts[] = {"-l", "-c", "-m", "-a"};
	size_t n = strcspn(arg, "=");

	for (unsigned i = 0; n > 2 && i < LEN(longs); i++)
		if (!strncmp(arg, longs[i], n))
			return longs[i];
	for (unsigned i = 0; arg[0] == '-' && arg[1] != '-' && i < LEN(shorts); i++)
		if (!strncmp(arg, shorts[i], 2))
			return shorts[i];
	return NULL;
}

static void read_eal_arg(struct report *r, struct node *n, void *item)
{
	static const struct {
		const char *option, *key;
	} ours[] = {
		{"--lcores", "runtime.main-lcore and runtime.worker-lcores"},
		{"--main-lcore", "runtime.main-lcore"},
		{"-l", "runtime.main-lcore and runtime.worker-lcores"},
		{"-c", "runtime.main-lcore and runtime.worker-lcores"},
		{"-m", "runtime.memory-mb"},
		{"--no-huge", "runtime.hugepages"},
		{"--vdev", "interfaces[].device"},
		{"--allow", "interfaces[].device"},
		{"-a", "interfaces[].device"},
	};
	const char *text = value_text(r, n, "an EAL option"), *option;

	if (!text)
		return;
	option = eal_arg_of_ours(text);
	if (!option) {
		*(char **)item = kept(text);
		return;
	}
	for (unsigned i = 0; i < LEN(ours); i++) {
		if (!strcmp(option, ours[i].option)) {
			node_error(r, n, "%s is set by cgnatd itself; use %s instead", option,
				ours[i].key);
			return;
		}
	}
	node_error(r, n, "%s is set by cgnatd itself; leave it out", option);
}

static void read_eal_args(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"EAL options", sizeof(char *), false, 256, read_eal_arg};
	struct cgn_config *c = to;

	c->runtime.eal_args = value_list(r, n, &spec, &c->runtime.n_eal_args);
}

static void read_runtime(struct report *r, struct node *n, const struct field *f, void *to)
{
#define AT(member) offsetof(struct cgn_config, runtime.member)
	static const char *const idle[] = {"poll", "relax", NULL};
	static const struct field fields[] = {
		{"main-lcore", value_u32, AT(main_lcore), 0, LCORE_MAX},
		{"worker-lcores", read_worker_lcores},
		{"share-cpus", value_bool, AT(share_cpus)},
		{"idle", value_word, AT(idle), .words = idle},
		{"hugepages", value_bool, AT(hugepages)},
		{"memory-mb", value_u32, AT(memory_mb), 64, 1048576},
		{"max-sessions", value_u32, AT(max_sessions), 64, SESSIONS_MAX},
		{"max-subscribers", value_u32, AT(max_subscribers), 1, SUBSCRIBERS_MAX},
		{"eal-args", read_eal_args},
	};
#undef AT
	struct cgn_config *c = to;
	const enum cgn_idle unset = LEN(idle);

	c->runtime.idle = unset;
	value_map(r, n, fields, LEN(fields), to);
	if (c->runtime.idle == unset) // where CPUs are shared, somebody waits for them
		c->runtime.idle = c->runtime.share_cpus ? CGN_IDLE_RELAX : CGN_IDLE_POLL;
}

// ---- control

static void read_socket(struct report *r, struct node *n, const struct field *f, void *to)
{
	const size_t path_max = sizeof(((struct sockaddr_un *)0)->sun_path) - 1;
	const char *text = value_text(r, n, "an absolute path");
	char **socket = to;

	if (!text)
		return;
	if (*text != '/') {
		node_error(
			r, n, "\"%s\" is not an absolute path, /... is allowed", node_shown(r, n));
	} else if (strlen(text) > path_max) {
		node_error(r, n, "the path is %zu bytes long, at most %zu are allowed",
			strlen(text), path_max);
	} else {
		free(*socket);
		*socket = kept(text);
	}
}

static void read_control(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct field fields[] = {
		{"socket", read_socket, offsetof(struct cgn_config, control.socket)},
		{"metrics", value_unsupported},
	};

	value_map(r, n, fields, LEN(fields), to);
}

// ---- interfaces

static bool is_pci_address(const char *text)
{
	static const char hex[] = "0123456789abcdefABCDEF";
	size_t n = strspn(text, hex);

	if (n == 4 && text[4] == ':') {
		text += 5;
		n = strspn(text, hex);
	}
	return n == 2 && text[2] == ':' && strspn(text + 3, hex) == 2 && text[5] == '.' &&
		text[6] >= '0' && text[6] <= '7' && !text[7];
}

static bool is_vdev(const char *text)
{
	size_t n = strspn(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");

	if (strncmp(text, "net_", 4) && strncmp(text, "eth_", 4))
		return false;
	return n > 4 && n < 64 && (!text[n] || text[n] == ','); // 64: RTE_DEV_NAME_MAX_LEN
}

static void read_device(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char what[] = "a PCI address, as 0000:3b:00.0, or a vdev, as "
				   "net_af_packet0,iface=eth0,";
	const char *text = value_text(r, n, what);

	if (!text)
		return;
	if (is_pci_address(text) || (is_vdev(text) && !strpbrk(text, " \t\r\n")))
		*(char **)to = kept(text);
	else
		node_error(r, n, "\"%s\" is not a device, %s is allowed", node_shown(r, n), what);
}

static void read_interface_addresses(
	struct report *r, struct node *n, const struct field *f, void *to)
{
	value_interface_addresses(r, n, to);
}

static void read_routes(struct report *r, struct node *n, const struct field *f, void *to)
{
	value_interface_routes(r, n, to);
}

static void read_icmp_errors(struct report *r, struct node *n, const struct field *f, void *to)
{
	bool are_sent = true;

	value_bool(r, n, f, &are_sent);
	*(bool *)to = !are_sent;
}

static void read_interface(struct report *r, struct node *n, void *item)
{
#define AT(member) offsetof(struct cgn_interface, member)
	static const char *const roles[] = {"internal", "external", NULL};
	static const char *const rss[] = {"auto", "flow", "key", "spread", "off", NULL};
	static const struct field fields[] = {
		{"name", value_name, AT(name), .is_required = true},
		{"role", value_word, AT(role), .words = roles, .is_required = true},
		{"device", read_device, AT(device), .is_required = true},
		{"addresses", read_interface_addresses, .is_required = true},
		{"mtu", value_u16, AT(mtu), 68, 9600},
		{"vlan", value_u16, AT(vlan), 0, 4094},
		{"rss", value_word, AT(rss), .words = rss},
		{"routes", read_routes},
		{"icmp-errors", read_icmp_errors, AT(no_icmp_errors)},
	};
#undef AT
	struct cgn_interface *i = item;

	i->mtu = 1500;
	value_map(r, n, fields, LEN(fields), item);
}

static void read_interfaces(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {"interfaces", sizeof(struct cgn_interface), true,
		CGN_INTERFACES_MAX, read_interface};
	struct cgn_config *c = to;

	c->interfaces = value_list(r, n, &spec, &c->n_interfaces);
}

// ---- pools

static void read_pool_range(struct report *r, struct node *n, void *item)
{
	value_address_range(r, n, item);
}

static void read_pool_addresses(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"addresses", sizeof(struct cgn_address_range), true, LIST_MAX, read_pool_range};
	struct cgn_pool *p = to;

	p->ranges = value_list(r, n, &spec, &p->n_ranges);
}

static void read_ports(struct report *r, struct node *n, const struct field *f, void *to)
{
	value_port_range(r, n, 1, to);
}

static void read_port_item(struct report *r, struct node *n, void *item)
{
	value_port_range(r, n, 1, item);
}

static void read_reserved(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"ports", sizeof(struct cgn_port_range), false, 65536, read_port_item};
	struct cgn_pool *p = to;

	p->reserved = value_list(r, n, &spec, &p->n_reserved);
}

static void read_block_size(struct report *r, struct node *n, const struct field *f, void *to)
{
	uint64_t value;

	if (!value_number(r, n, f->min, f->max, &value))
		return;
	if (value & (value - 1))
		node_error(r, n, "%u is not a power of two, %u..%u are allowed", (unsigned)value,
			(unsigned)f->min, (unsigned)f->max);
	else
		*(uint16_t *)to = (uint16_t)value;
}

static void read_pool(struct report *r, struct node *n, void *item)
{
#define AT(member) offsetof(struct cgn_pool, member)
	static const char *const allocations[] = {"dynamic", "deterministic", NULL};
	static const struct field fields[] = {
		{"name", value_name, AT(name), .is_required = true},
		{"addresses", read_pool_addresses, .is_required = true},
		{"ports", read_ports, AT(ports)},
		{"allocation", value_word, AT(allocation), .words = allocations},
		{"block-size", read_block_size, AT(block_size), 16, 16384},
		{"max-blocks", value_u16, AT(max_blocks), 1, 64},
		{"reserved-ports", read_reserved},
		{"deterministic", deterministic_read, AT(deterministic)},
		{"first-block-reserve", value_u16, AT(first_block_reserve), 0, 100},
		{"soft-app", value_bool, AT(soft_app)},
	};
#undef AT
	struct cgn_pool *p = item;

	p->ports = (struct cgn_port_range){1024, 65535}; // RFC 7422 2: system ports stay out
	p->block_size = 256;
	p->max_blocks = 4;
	value_map(r, n, fields, LEN(fields), item);
	if (!p->deterministic.ports)
		p->deterministic.ports = p->block_size;
}

static void read_pools(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"pools", sizeof(struct cgn_pool), true, CGN_POOLS_MAX, read_pool};
	struct cgn_config *c = to;

	c->pools = value_list(r, n, &spec, &c->n_pools);
}

// ---- policies

static void read_prefix_item(struct report *r, struct node *n, void *item)
{
	value_prefix(r, n, item);
}

static const struct list_spec match_prefixes = {
	"prefixes", sizeof(struct cgn_prefix), true, LIST_MAX, read_prefix_item};

static void read_sources(struct report *r, struct node *n, const struct field *f, void *to)
{
	struct cgn_policy *p = to;

	p->sources = value_list(r, n, &match_prefixes, &p->n_sources);
}

static void read_destinations(struct report *r, struct node *n, const struct field *f, void *to)
{
	struct cgn_policy *p = to;

	p->destinations = value_list(r, n, &match_prefixes, &p->n_destinations);
}

static void read_destination_ports(
	struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"ports", sizeof(struct cgn_port_range), true, 65536, read_port_item};
	struct cgn_policy *p = to;

	p->destination_ports = value_list(r, n, &spec, &p->n_destination_ports);
}

static void read_protocol(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct {
		const char *name;
		uint8_t number;
	} names[] = {{"tcp", 6}, {"udp", 17}, {"icmp", 1}, {"ah", 51}, {"sctp", 132}, {"dccp", 33},
#define X(name, number) {name, number},
		CGN_PORTLESS(X)
#undef X
	};
	static const char what[] = "one of tcp, udp, icmp, gre, esp, ipip, 6in4, ah, sctp, dccp, "
				   "or a number 1..255,";
	const char *text = value_text(r, n, what);
	uint64_t first, last;

	if (!text)
		return;
	for (unsigned i = 0; i < LEN(names); i++) {
		if (!strcmp(text, names[i].name)) {
			*(uint8_t *)to = names[i].number;
			return;
		}
	}
	if (parse_span(text, &first, &last) && !strchr(text, '-') && first >= 1 && first <= 255)
		*(uint8_t *)to = (uint8_t)first;
	else
		node_error(r, n, "\"%s\" is not a protocol, %s is allowed", node_shown(r, n), what);
}

static void read_match(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct field fields[] = {
		{"source", read_sources},
		{"destination", read_destinations},
		{"protocol", read_protocol, offsetof(struct cgn_policy, protocol)},
		{"destination-ports", read_destination_ports},
	};

	value_map(r, n, fields, LEN(fields), to);
}

static void read_filtering(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {
		"endpoint-independent", "address-dependent", "address-and-port-dependent", NULL};
	static const struct field fields[] = {
		{"udp", value_word, offsetof(struct cgn_policy, filtering_udp), .words = words},
		{"tcp", value_word, offsetof(struct cgn_policy, filtering_tcp), .words = words},
	};

	value_map(r, n, fields, LEN(fields), to);
}

static void read_portless_item(struct report *r, struct node *n, void *item)
{
	static const char *const words[] = {
#define X(name, number) name,
		CGN_PORTLESS(X)
#undef X
			NULL};
	static const uint8_t numbers[] = {
#define X(name, number) number,
		CGN_PORTLESS(X)
#undef X
	};
	int i = value_choice(r, n, words);

	if (i >= 0)
		*(uint8_t *)item = cgn_portless_bit(numbers[i]);
}

static void read_portless(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"protocols", sizeof(uint8_t), false, 8, read_portless_item};
	struct cgn_policy *p = to;
	uint32_t n_items = 0;
	uint8_t *items = value_list(r, n, &spec, &n_items);

	for (uint32_t i = 0; i < n_items; i++) {
		if (p->portless & items[i])
			node_error(r, node_item(n, i), "%s is there twice, each is allowed once",
				node_shown(r, node_item(n, i)));
		p->portless |= items[i];
	}
	free(items);
}

static void read_limits(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct field fields[] = {
		{"sessions", value_u32, offsetof(struct cgn_policy, limit_sessions), 1,
			SESSIONS_MAX},
		{"new-sessions-per-second", value_u32,
			offsetof(struct cgn_policy, limit_new_sessions_per_s), 1, 10000000},
		{"mappings", value_u32, offsetof(struct cgn_policy, limit_mappings), 1,
			SESSIONS_MAX},
		{"mappings-tcp", value_u32,
			offsetof(struct cgn_policy, limit_mappings_of[CGN_L4_TCP]), 1,
			SESSIONS_MAX},
		{"mappings-udp", value_u32,
			offsetof(struct cgn_policy, limit_mappings_of[CGN_L4_UDP]), 1,
			SESSIONS_MAX},
		{"mappings-icmp", value_u32,
			offsetof(struct cgn_policy, limit_mappings_of[CGN_L4_ICMP]), 1,
			SESSIONS_MAX},
		{"sessions-per-mapping", value_u32,
			offsetof(struct cgn_policy, limit_sessions_per_mapping), 1, SESSIONS_MAX},
	};

	value_map(r, n, fields, LEN(fields), to);
}

// Pools may stand behind the policies, so the name is looked up when all is read.
static void read_pool_name(struct report *r, struct node *n, const struct field *f, void *to)
{
	value_text(r, n, "the name of a pool");
}

static void read_policy(struct report *r, struct node *n, void *item)
{
	static const char *const actions[] = {"translate", "bypass", "drop", NULL};
	static const struct field fields[] = {
		{"name", value_name, offsetof(struct cgn_policy, name), .is_required = true},
		{"match", read_match},
		{"action", value_word, offsetof(struct cgn_policy, action), .words = actions},
		{"pool", read_pool_name},
		{"filtering", read_filtering},
		{"hairpin", value_bool, offsetof(struct cgn_policy, hairpin)},
		{"inbound-refresh", value_bool, offsetof(struct cgn_policy, inbound_refresh)},
		{"portless-protocols", read_portless},
		{"limits", read_limits},
	};
	struct cgn_policy *p = item;

	p->hairpin = true; // RFC 4787 REQ-9
	value_map(r, n, fields, LEN(fields), item);
}

static void read_policies(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {
		"policies", sizeof(struct cgn_policy), true, CGN_POLICIES_MAX, read_policy};
	struct cgn_config *c = to;

	c->policies = value_list(r, n, &spec, &c->n_policies);
}

// ---- the rest

static void read_service_protocol(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {"tcp", "udp", NULL};
	static const uint8_t protocols[] = {CGN_PROTO_TCP, CGN_PROTO_UDP};
	int i = value_choice(r, n, words);

	if (i >= 0)
		*(uint8_t *)to = protocols[i];
}

static void read_service(struct report *r, struct node *n, void *item)
{
#define AT(member) offsetof(struct cgn_service_timeout, member)
	static const struct field fields[] = {
		{"protocol", read_service_protocol, AT(protocol), .is_required = true},
		{"port", value_u16, AT(port), 1, 65535, .is_required = true},
		{"timeout", value_u32, AT(timeout), 1, 7 * 86400, .is_required = true},
	};
#undef AT

	value_map(r, n, fields, LEN(fields), item);
}

static void read_services(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const struct list_spec spec = {"services", sizeof(struct cgn_service_timeout), false,
		CGN_SERVICES_MAX, read_service};
	struct cgn_timeouts *t = to;
	struct cgn_service_timeout *services = value_list(r, n, &spec, &t->n_services);

	for (uint32_t i = 0; i < t->n_services; i++)
		t->services[i] = services[i];
	free(services);
}

static void read_hold_down_tcp(struct report *r, struct node *n, const struct field *f, void *to)
{
	bool rests = true;

	value_bool(r, n, f, &rests);
	*(bool *)to = !rests;
}

static void read_timeouts(struct report *r, struct node *n, const struct field *f, void *to)
{
#define AT(member) offsetof(struct cgn_timeouts, member)
	const uint64_t week_s = 7 * 86400;
	const struct field fields[] = {
		{"udp", value_u32, AT(udp), 1, week_s},
		{"tcp-established", value_u32, AT(tcp_established), 1, week_s},
		{"tcp-opening", value_u32, AT(tcp_opening), 1, week_s},
		{"tcp-closing", value_u32, AT(tcp_closing), 1, week_s},
		{"icmp", value_u32, AT(icmp), 1, week_s},
		{"portless", value_u32, AT(portless), 1, week_s},
		{"hold-down", value_u32, AT(hold_down), 0, week_s},
		{"fragment", value_u32, AT(fragment), 1, week_s},
		{"non-conformant", value_bool, AT(non_conformant)},
		{"services", read_services},
		{"hold-down-max", value_u32, AT(hold_down_max), 1, SESSIONS_MAX},
		{"hold-down-tcp", read_hold_down_tcp, AT(tcp_at_once)},
	};
#undef AT

	value_map(r, n, fields, LEN(fields), to);
}

static void read_mss_clamp(struct report *r, struct node *n, const struct field *f, void *to)
{
	uint64_t value;

	if (!value_number(r, n, 0, 65535, &value))
		return;
	if (value && (value < 536 || value > 9160))
		node_error(r, n, "%u is out of range, 0 or 536..9160 are allowed", (unsigned)value);
	else
		*(uint16_t *)to = (uint16_t)value;
}

static void read_midstream(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {"drop", "forward-if-mapped", NULL};

	*(bool *)to = value_choice(r, n, words) == 1;
}

static void read_unsolicited(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const words[] = {"drop", "icmp", NULL};

	*(bool *)to = value_choice(r, n, words) == 1;
}

static void read_icmp(struct report *r, struct node *n, const struct field *f, void *to)
{
	static const char *const refused[] = {"host-unreachable", "admin-prohibited", "off", NULL};
	static const struct field fields[] = {
		{"refused", value_word, offsetof(struct cgn_config, icmp_refused),
			.words = refused},
		{"errors-per-second", value_u32, offsetof(struct cgn_config, icmp_errors_per_s), 1,
			1000000},
		{"errors-per-second-per-host", value_u32,
			offsetof(struct cgn_config, icmp_errors_per_host), 1, 1000000},
	};

	value_map(r, n, fields, LEN(fields), to);
}

static void set_defaults(struct cgn_config *c)
{
	c->runtime.main_lcore = 0;
	c->runtime.worker_lcores[0] = 1;
	c->runtime.n_workers = 1;
	c->runtime.hugepages = true;
	c->runtime.memory_mb = 4096;
	c->runtime.max_sessions = 4000000;
	c->runtime.max_subscribers = 200000;
	c->control.socket = kept("/run/cgnat/cgnatd.sock");
	c->timeouts = (struct cgn_timeouts){
		.udp = 300, // RFC 4787 REQ-5c
		.tcp_established = 7440, // RFC 5382 REQ-5
		.tcp_opening = 240,
		.tcp_closing = 240,
		.icmp = 60, // RFC 5508 REQ-2
		.portless = 300, // as UDP
		.hold_down = 120, // RFC 6888 REQ-8
		.fragment = 2, // RFC 6146 4
	};
	c->icmp_refused = CGN_REFUSED_HOST_UNREACHABLE;
	c->icmp_errors_per_s = 100;
	c->icmp_errors_per_host = 10;
}

void schema_read(struct report *r, struct node *root, struct cgn_config *config)
{
	static const struct field fields[] = {
		{"runtime", read_runtime},
		{"control", read_control},
		{"interfaces", read_interfaces, .is_required = true},
		{"pools", read_pools, .is_required = true},
		{"policies", read_policies, .is_required = true},
		{"static-mappings", static_read},
		{"timeouts", read_timeouts, offsetof(struct cgn_config, timeouts)},
		{"tcp-mss-clamp", read_mss_clamp, offsetof(struct cgn_config, tcp_mss_clamp)},
		{"tcp-midstream", read_midstream,
			offsetof(struct cgn_config, tcp_midstream_forward)},
		{"icmp", read_icmp},
		{"tcp-unsolicited-syn", read_unsolicited,
			offsetof(struct cgn_config, tcp_unsolicited_icmp)},
	};

	set_defaults(config);
	value_map(r, root, fields, LEN(fields), config);
}
