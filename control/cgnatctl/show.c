// SPDX-License-Identifier: BSD-3-Clause
#include "show.h"
#include "cgnat/counters.h"
#include "cgnat/drop.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CELL_MAX 4096

enum format {
	TEXT,
	NUMBER, // as it is: plain digits can be grepped and sorted
	DURATION, // s
	TIME, // Unix time
	PERCENT,
	LIST, // of texts
	YES, // "yes" or "-"
};

struct column {
	const char *title, *key;
	int width; // negative: to the left
	enum format format;
};

// The longest texts: a protocol has 4 bytes, an address 15, an endpoint 21, a state 11.
static const struct column interface_columns[] = {{"NAME", "name", -14, TEXT},
	{"ROLE", "role", -8, TEXT}, {"LINK", "link", -4, TEXT}, {"MBIT/S", "speed_mbps", 6, NUMBER},
	{"MAC", "mac", -17, TEXT}, {"MTU", "mtu", 4, NUMBER}, {"VLAN", "vlan", 4, NUMBER},
	{"RX-PACKETS", "rx_packets", 14, NUMBER}, {"TX-PACKETS", "tx_packets", 14, NUMBER},
	{"DROPS", "drops", 10, NUMBER}, {"HANDOFFS", "handoffs", 10, NUMBER},
	{"NIC-MISSED", "nic_missed", 10, NUMBER}, {"RXQ", "rx_queues", 3, NUMBER},
	{"RSS", "rss", -6, TEXT}, {"DRIVER", "driver", -14, TEXT},
	{"ADDRESSES", "addresses", -1, LIST}, {0}};
static const struct column pool_columns[] = {{"NAME", "name", -14, TEXT},
	{"BLOCKS", "blocks_total", 9, NUMBER}, {"USED", "blocks_used", 9, NUMBER},
	{"HELD", "blocks_held", 9, NUMBER}, {"FULL", "utilization_percent", 6, PERCENT},
	{"PORTS-USED", "ports_used", 12, NUMBER}, {"BLOCK-SIZE", "block_size", 10, NUMBER},
	{"PORTS", "ports", -11, TEXT}, {"ADDRESSES", "addresses", -1, LIST}, {0}};
static const struct column config_columns[] = {
	{"KEY", "key", -40, TEXT}, {"VALUE", "value", -1, TEXT}, {0}};
static const struct column block_columns[] = {{"SUBSCRIBER", "subscriber", -15, TEXT},
	{"EXTERNAL", "external_address", -15, TEXT}, {"FIRST", "first_port", 5, NUMBER},
	{"LAST", "last_port", 5, NUMBER}, {"PORTS-USED", "ports_used", 10, NUMBER},
	{"WORKER", "worker", 6, NUMBER}, {"ALLOCATED (UTC)", "allocated_at", -19, TIME},
	{"PRESET", "preset", -6, YES}, {"POOL", "pool", -1, TEXT}, {0}};
static const struct column resolve_columns[] = {{"SUBSCRIBER", "subscriber", -15, TEXT},
	{"EXTERNAL", "external_address", -15, TEXT}, {"FIRST", "first_port", 5, NUMBER},
	{"LAST", "last_port", 5, NUMBER}, {"STEP", "step", 4, NUMBER},
	{"PORTS", "ports", 5, NUMBER}, {"DYNAMIC", "dynamic", -7, YES}, {"POOL", "pool", -14, TEXT},
	{"STATIC-MAPPING", "static_mapping", -1, TEXT}, {0}};
static const struct column subscriber_columns[] = {{"SUBSCRIBER", "subscriber", -15, TEXT},
	{"EXTERNAL", "external_address", -15, TEXT}, {"WORKER", "worker", 6, NUMBER},
	{"BLOCKS", "blocks", 6, NUMBER}, {"PORTS-USED", "ports_used", 10, NUMBER},
	{"MAPPINGS", "mappings", 8, NUMBER}, {"TCP", "mappings_tcp", 6, NUMBER},
	{"UDP", "mappings_udp", 6, NUMBER}, {"ICMP", "mappings_icmp", 6, NUMBER},
	{"SESSIONS", "sessions", 8, NUMBER}, {"POLICY", "policy", -1, TEXT}, {0}};
static const struct column mapping_columns[] = {{"PROTO", "protocol", -5, TEXT},
	{"INTERNAL", "internal", -21, TEXT}, {"EXTERNAL", "external", -21, TEXT},
	{"SESSIONS", "sessions", 8, NUMBER}, {"AGE", "age_seconds", 7, DURATION},
	{"EXPIRES", "expires_seconds", 7, DURATION}, {"STATIC", "static", -6, YES},
	{"WORKER", "worker", 6, NUMBER}, {"POLICY", "policy", -1, TEXT}, {0}};
static const struct column session_columns[] = {{"PROTO", "protocol", -5, TEXT},
	{"INTERNAL", "internal", -21, TEXT}, {"EXTERNAL", "external", -21, TEXT},
	{"REMOTE", "remote", -21, TEXT}, {"STATE", "state", -11, TEXT},
	{"AGE", "age_seconds", 7, DURATION}, {"EXPIRES", "expires_seconds", 7, DURATION},
	{"PKTS-OUT", "packets_out", 10, NUMBER}, {"PKTS-IN", "packets_in", 10, NUMBER},
	{"BYTES-OUT", "bytes_out", 12, NUMBER}, {"BYTES-IN", "bytes_in", 12, NUMBER}, {0}};
static const struct column worker_columns[] = {{"WORKER", "id", 6, NUMBER},
	{"LCORE", "lcore", 5, NUMBER}, {"BUSY", "busy_percent", 6, PERCENT},
	{"ASLEEP", "asleep_percent", 6, PERCENT}, {0}};
static const struct column drop_columns[] = {{"REASON", "reason", -22, TEXT},
	{"PACKETS", "packets", 14, NUMBER}, {"MEANING", "text", -1, TEXT}, {0}};
static const struct column counter_columns[] = {{"NAME", "name", -24, TEXT},
	{"VALUE", "value", 18, NUMBER}, {"MEANING", "text", -1, TEXT}, {0}};

static const struct {
	const struct column *columns;
	const char *none; // what an empty list is called
} lists[CGN_CTL_COMMAND_COUNT] = {
	[CGN_CTL_SHOW_INTERFACES_COMMAND] = {interface_columns, "interfaces"},
	[CGN_CTL_SHOW_POOLS_COMMAND] = {pool_columns, "pools"},
	[CGN_CTL_SHOW_CONFIG_COMMAND] = {config_columns, "keys"},
	[CGN_CTL_SHOW_BLOCKS_COMMAND] = {block_columns, "blocks"},
	[CGN_CTL_SHOW_SUBSCRIBERS_COMMAND] = {subscriber_columns, "subscribers"},
	[CGN_CTL_SHOW_MAPPINGS_COMMAND] = {mapping_columns, "mappings"},
	[CGN_CTL_SHOW_SESSIONS_COMMAND] = {session_columns, "sessions"},
};

static const struct {
	const char *name, *text;
} drop_texts[] =
	{
#define X(name, text) {#name, text},
		CGN_DROPS(X)
#undef X
},
  counter_texts[] = {
#define X(name, text) {#name, text},
	  CGN_COUNTERS(X) CGN_GAUGES(X)
#undef X
		  {"dropped", "packets refused, all reasons together (show drops)"},
};
#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

// ---- cells and tables

static void write_duration(char out[static 32], json_int_t s)
{
	long long v = s;

	if (v < 60)
		snprintf(out, 32, "%llds", v);
	else if (v < 3600)
		snprintf(out, 32, "%lldm%02llds", v / 60, v % 60);
	else if (v < 86400)
		snprintf(out, 32, "%lldh%02lldm", v / 3600, v / 60 % 60);
	else
		snprintf(out, 32, "%lldd%02lldh", v / 86400, v / 3600 % 24);
}

static void write_time(char out[static 32], json_int_t s)
{
	time_t t = (time_t)s;
	struct tm tm;

	if (!gmtime_r(&t, &tm) || !strftime(out, 32, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(out, 32, "%lld", (long long)s);
}

static void write_list(char out[static CELL_MAX], const json_t *list)
{
	size_t i, len = 0;
	json_t *item;

	out[0] = 0;
	json_array_foreach(list, i, item)
	{
		const char *text = json_string_value(item) ? json_string_value(item) : "?";
		size_t need = strlen(text) + 8; // with ", " before it and perhaps " ..." behind

		if (len + need > CELL_MAX) {
			snprintf(out + len, CELL_MAX - len, " ...");
			return;
		}
		len += (size_t)snprintf(out + len, CELL_MAX - len, "%s%s", i ? ", " : "", text);
	}
}

static void write_cell(char out[static CELL_MAX], const json_t *value, enum format format)
{
	json_int_t number = json_integer_value(value);

	snprintf(out, CELL_MAX, "-");
	if (!value || json_is_null(value))
		return;
	switch (format) {
	case TEXT:
		snprintf(out, CELL_MAX, "%s",
			json_is_string(value) ? json_string_value(value) : "?");
		break;
	case NUMBER:
		snprintf(out, CELL_MAX, "%" JSON_INTEGER_FORMAT, number);
		break;
	case DURATION:
		write_duration(out, number);
		break;
	case TIME:
		write_time(out, number);
		break;
	case PERCENT:
		snprintf(out, CELL_MAX, "%.1f%%", json_number_value(value));
		break;
	case LIST:
		write_list(out, value);
		break;
	case YES:
		snprintf(out, CELL_MAX, "%s", json_is_true(value) ? "yes" : "-");
		break;
	}
}

static void print_header(const struct column *c)
{
	for (; c->title; c++)
		printf("%*s%s", c[1].title || c->width > 0 ? c->width : 0, c->title,
			c[1].title ? "  " : "\n");
}

static void print_row(const struct column *c, const json_t *record)
{
	char cell[CELL_MAX];

	for (; c->title; c++) {
		write_cell(cell, json_object_get(record, c->key), c->format);
		printf("%*s%s", c[1].title || c->width > 0 ? c->width : 0, cell,
			c[1].title ? "  " : "\n");
	}
}

static const char *text_member(const json_t *object, const char *key)
{
	const char *text = json_string_value(json_object_get(object, key));

	return text ? text : "-";
}

static json_int_t integer_member(const json_t *object, const char *key)
{
	return json_integer_value(json_object_get(object, key));
}

// ---- results

static void print_of(const char *title, const json_t *status, const char *key, const char *max_key)
{
	json_int_t max = integer_member(status, max_key), n = integer_member(status, key);

	printf("%-12s %" JSON_INTEGER_FORMAT, title, n);
	if (max > 0)
		printf(" of %" JSON_INTEGER_FORMAT " (%.1f%%)", max,
			100.0 * (double)n / (double)max);
	putchar('\n');
}

static void print_status(const json_t *status)
{
	char uptime[32];
	json_t *worker;
	size_t i;

	write_duration(uptime, integer_member(status, "uptime_seconds"));
	printf("%-12s %s\n", "version", text_member(status, "version"));
	printf("%-12s %s\n", "uptime", uptime);
	printf("%-12s %" JSON_INTEGER_FORMAT "\n", "generation",
		integer_member(status, "generation"));
	print_of("sessions", status, "sessions", "sessions_max");
	print_of("mappings", status, "mappings", "");
	print_of("subscribers", status, "subscribers", "subscribers_max");
	print_of("blocks", status, "blocks", "blocks_total");
	putchar('\n');
	print_header(worker_columns);
	json_array_foreach(json_object_get(status, "workers"), i, worker)
		print_row(worker_columns, worker);
}

static const char *counter_text(const char *name)
{
	for (unsigned i = 0; i < COUNT(counter_texts); i++)
		if (!strcmp(counter_texts[i].name, name))
			return counter_texts[i].text;
	return "";
}

static void print_text_row(
	const struct column *columns, const char *name, json_t *value, const char *text)
{
	json_t *row = json_pack("{s:s, s:O, s:s}", columns[0].key, name, columns[1].key, value,
		columns[2].key, text);

	print_row(columns, row);
	json_decref(row);
}

static void print_counters(const json_t *counters)
{
	const char *name;
	json_t *value;

	print_header(counter_columns);
	json_object_foreach((json_t *)counters, name, value)
		print_text_row(counter_columns, name, value, counter_text(name));
}

// One row per counter, one column per worker.
static void print_workers(json_t *workers)
{
	json_t *worker, *value;
	const char *name;
	size_t i;

	printf("%-24s", "NAME");
	json_array_foreach(workers, i, worker)
		printf("  %9s %-6" JSON_INTEGER_FORMAT, "WORKER", integer_member(worker, "worker"));
	putchar('\n');
	json_object_foreach(json_array_get(workers, 0), name, value)
	{
		if (!strcmp(name, "worker"))
			continue;
		printf("%-24s", name);
		json_array_foreach(workers, i, worker)
			printf("  %16" JSON_INTEGER_FORMAT, integer_member(worker, name));
		putchar('\n');
	}
}

static const char *drop_text(const char *name)
{
	for (unsigned i = 0; i < COUNT(drop_texts); i++)
		if (!strcmp(drop_texts[i].name, name))
			return drop_texts[i].text;
	return "";
}

static void print_drops(const json_t *drops, bool all)
{
	unsigned shown = 0, zero = 0;
	json_int_t sum = 0;
	const char *name;
	json_t *value;

	json_object_foreach((json_t *)drops, name, value)
	{
		sum += json_integer_value(value);
		if (json_integer_value(value) == 0)
			zero++;
		if (json_integer_value(value) == 0 && !all)
			continue;
		if (!shown++)
			print_header(drop_columns);
		print_text_row(drop_columns, name, value, drop_text(name));
	}
	if (sum == 0 && !all) {
		printf("no drops\n");
		return;
	}
	printf("%-22s  %14" JSON_INTEGER_FORMAT "\n", "all", sum);
	if (!all)
		printf("%u other reasons are zero (--all shows them)\n", zero);
}

static void print_subscriber(const json_t *s)
{
	bool dropped = false;
	const char *name;
	json_t *value;

	printf("%-12s %s\n", "subscriber", text_member(s, "subscriber"));
	printf("%-12s %s\n", "external", text_member(s, "external_address"));
	printf("%-12s %s\n", "policy", text_member(s, "policy"));
	printf("%-12s %s\n", "pool", text_member(s, "pool"));
	print_of("worker", s, "worker", "");
	print_of("blocks", s, "blocks", "");
	print_of("ports used", s, "ports_used", "");
	print_of("mappings", s, "mappings", "");
	print_of(" of tcp", s, "mappings_tcp", "");
	print_of(" of udp", s, "mappings_udp", "");
	print_of(" of icmp", s, "mappings_icmp", "");
	print_of("sessions", s, "sessions", "");
	json_object_foreach(json_object_get(s, "drops"), name, value)
	{
		if (json_integer_value(value) == 0)
			continue;
		if (!dropped)
			print_header(drop_columns);
		dropped = true;
		print_text_row(drop_columns, name, value, drop_text(name));
	}
	if (!dropped)
		printf("%-12s none\n", "drops");
}

static void print_check(const json_t *check)
{
	const json_t *affected = json_object_get(check, "affected");
	json_t *line;
	size_t i;

	json_array_foreach(json_object_get(check, "warnings"), i, line)
		printf("warning: %s\n", json_string_value(line));
	json_array_foreach(json_object_get(check, "changes"), i, line)
		printf("%s\n", json_string_value(line));
	if (i == 0) {
		printf("valid, and the same as the running configuration\n");
		return;
	}
	printf("valid; to apply it, restart cgnatd: that ends %" JSON_INTEGER_FORMAT
	       " mappings and %" JSON_INTEGER_FORMAT " sessions of %" JSON_INTEGER_FORMAT
	       " subscribers\n",
		integer_member(affected, "mappings"), integer_member(affected, "sessions"),
		integer_member(affected, "subscribers"));
}

static void print_resolved(const json_t *answer)
{
	json_t *range;
	size_t i;

	print_header(resolve_columns);
	json_array_foreach(json_object_get(answer, "ranges"), i, range)
		print_row(resolve_columns, range);
	json_array_foreach(json_object_get(answer, "ranges"), i, range)
	{
		const char *list = json_string_value(json_object_get(range, "port_list"));

		if (list)
			printf("ports of %s: %s\n", text_member(range, "external_address"), list);
	}
}

static void print_any(const json_t *result)
{
	json_dumpf(result, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6));
	putchar('\n');
}

void show_result(struct show *s, const json_t *result)
{
	if (s->json) {
		print_any(result);
		return;
	}
	switch (s->command) {
	case CGN_CTL_STATUS_COMMAND:
		print_status(result);
		break;
	case CGN_CTL_SHOW_COUNTERS_COMMAND:
		print_counters(result);
		break;
	case CGN_CTL_SHOW_DROPS_COMMAND:
		print_drops(result, s->all);
		break;
	case CGN_CTL_CLEAR_SESSIONS_COMMAND:
	case CGN_CTL_CLEAR_MAPPINGS_COMMAND:
		printf("cleared %" JSON_INTEGER_FORMAT " %s\n", integer_member(result, "cleared"),
			s->command == CGN_CTL_CLEAR_SESSIONS_COMMAND ? "sessions" : "mappings");
		break;
	case CGN_CTL_CHECK_COMMAND:
		print_check(result);
		break;
	case CGN_CTL_RESOLVE_COMMAND:
		print_resolved(result);
		break;
	default: // of a newer daemon
		print_any(result);
	}
}

// ---- lists

static void show_item(struct show *s, json_t *item)
{
	if (s->json) {
		fputs(s->n ? ",\n" : "[\n", stdout);
		json_dumpf(item, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6));
	} else if (s->command ==
		CGN_CTL_SHOW_COUNTERS_COMMAND) { // a handful, turned round at the end
		if (!s->kept)
			s->kept = json_array();
		json_array_append(s->kept, item);
	} else if (s->detail) {
		if (s->n)
			putchar('\n');
		print_subscriber(item);
	} else if (lists[s->command].columns) {
		if (!s->n)
			print_header(lists[s->command].columns);
		print_row(lists[s->command].columns, item);
	} else {
		print_any(item);
	}
	s->n++;
}

void show_items(struct show *s, json_t *items)
{
	json_t *item;
	size_t i;

	json_array_foreach(items, i, item) show_item(s, item);
}

void show_end(struct show *s)
{
	if (s->json)
		fputs(s->n ? "\n]\n" : "[]\n", stdout);
	else if (s->kept)
		print_workers(s->kept);
	else if (!s->n && s->detail)
		printf("%s holds no block now\n", s->detail);
	else if (!s->n)
		printf("no %s\n", lists[s->command].none ? lists[s->command].none : "records");
}

void show_fini(struct show *s)
{
	json_decref(s->kept);
	s->kept = NULL;
}
