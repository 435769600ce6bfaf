// SPDX-License-Identifier: BSD-3-Clause
// The daemon without a machine around it: its configuration, control commands and dataplane between
// devices made of memory, with a clock that is moved by hand (box.h). Spoken to in JSON, one object
// per line, on stdin and stdout:
//
//   {"op": "open", "config": YAML, "wall": Unix time, "rx_queues": n, "remember": true}
//       starts the dataplane. remember: with the file of the block table beside control.socket.
//       -> {"interfaces": [{"name", "role", "mac"}], "warnings": [...]}
//   {"op": "step", "in": [[interface, "hex of a frame"], ...], "seconds": s, "ms": ms}
//       puts frames in, lets the workers run until they rest, then moves the clock: second by second,
//       then by the milliseconds in one step.
//       -> {"out": [[interface, ns, "hex"], ...], "now_ns", "account": {...}}
//   {"op": "drain", "seconds": s}   moves the clock until all state is gone, at most so far
//   {"op": "ctl", "request": {...}} a request of the control socket -> {"lines": [answers]}
//   {"op": "arp", "answered": bool, "silent": ["a.b.c.d"]}
//   {"op": "log"}  what has been logged since the last one -> {"lines": ["notice: ..."]}
//   {"op": "close"} -> {"lost_buffers": n}
//
// Any answer may be {"error": text} instead. The end of stdin ends it.
#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "../../control/blockfile.h"
#include "../../control/commands.h"
#include "../../control/config.h"
#include "../../control/det_log.h"
#include "../../control/refusals.h"
#include "box.h"
#include "cgnat/dataplane.h"
#include "cgnat/log.h"

#define NS_PER_S 1000000000ull
#define CTL_TURNS_MAX 1000000

static struct {
	struct cgn_config *config;
	struct control control;
	struct blockfile blocks;
	bool remembers;
	int64_t wall; // Unix time when the clock is 0
	struct det_log records;
	struct refusals refusals;
	json_t *log;
} nat;

static json_t *failed(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static json_t *failed(const char *fmt, ...)
{
	char text[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return json_pack("{s:s}", "error", text);
}

// ---- the log, and what the daemon's loop logs by itself

typeof(cgn_log) __wrap_cgn_log;
void __wrap_cgn_log(enum cgn_log_level level, const char *fmt, ...)
{
	static const char *const levels[] = {"error", "warning", "notice", "info", "debug"};
	char text[2048], line[2064];
	va_list ap;

	if (level > cgn_log_level)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "%s: %s", levels[level], text);
	fprintf(stderr, "%s\n", line);
	if (!nat.log)
		nat.log = json_array();
	json_array_append_new(nat.log, json_string(line));
}

static void log_step(void)
{
	static struct cgn_counters sum;

	det_log_step(
		&nat.records, nat.config, box_now_ns, nat.wall + (int64_t)(box_now_ns / NS_PER_S));
	if (refusals_timeout_ms(&nat.refusals, box_now_ns))
		return;
	cgn_dataplane_counters(nat.control.dp, CGN_ALL_WORKERS, &sum);
	refusals_look(&nat.refusals, nat.config, &sum, box_now_ns);
}

static json_t *op_log(json_t *args)
{
	json_t *lines = nat.log ? nat.log : json_array();

	nat.log = NULL;
	return json_pack("{s:o}", "lines", lines);
}

// ---- open, close

static json_t *opened(const struct config_warnings *warnings)
{
	json_t *interfaces = json_array(), *lines = json_array();

	for (unsigned i = 0; i < nat.config->n_interfaces; i++) {
		const struct cgn_interface *ifc = &nat.config->interfaces[i];
		const uint8_t *m = box_mac(i);
		char mac[18];

		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			m[4], m[5]);
		json_array_append_new(interfaces,
			json_pack("{s:s, s:s, s:s}", "name", ifc->name, "role",
				ifc->role == CGN_INTERNAL ? "internal" : "external", "mac", mac));
	}
	for (unsigned i = 0; i < warnings->n; i++)
		json_array_append_new(lines, json_string(warnings->lines[i]));
	return json_pack("{s:o, s:o}", "interfaces", interfaces, "warnings", lines);
}

static int start(bool remember, char *err, size_t err_size)
{
	const struct cgn_block_memory *memory = NULL;

	if (remember) {
		if (blockfile_open(&nat.blocks, nat.config->control.socket,
			    cgn_dataplane_blocks(nat.config), err, err_size))
			return -1;
		nat.remembers = true;
		memory = &nat.blocks.memory;
	}
	if (cgn_dataplane_start(nat.config, memory, &nat.control.dp, err, err_size)) {
		nat.control.dp = NULL;
		return -1;
	}
	return remember ? blockfile_commit(&nat.blocks, err, err_size) : 0;
}

static void stop(void)
{
	if (nat.control.dp)
		cgn_dataplane_stop(nat.control.dp);
	if (nat.remembers)
		blockfile_close(&nat.blocks);
	if (nat.config)
		cgn_config_free(nat.config);
	json_decref(nat.log);
	memset(&nat, 0, sizeof(nat));
}

static json_t *op_open(json_t *args)
{
	struct config_warnings warnings = {0};
	const char *config = "";
	json_int_t wall = 0;
	int rx_queues = 1, remember = 0;
	char *errors = NULL, err[1024] = "";
	size_t n_errors = 0;
	json_t *answer;

	if (nat.config)
		return failed("it is open already");
	if (json_unpack(args, "{s:s, s:I, s?i, s?b}", "config", &config, "wall", &wall, "rx_queues",
		    &rx_queues, "remember", &remember))
		return failed("open: bad arguments");
	FILE *out = open_memstream(&errors, &n_errors);
	nat.config = config_parse("config", config, strlen(config), out, NULL, &warnings);
	fclose(out);
	if (!nat.config) {
		answer = json_pack("{s:s}", "error", errors);
	} else {
		box_reset(wall, (unsigned)rx_queues);
		nat.wall = wall;
		nat.control = (struct control){.config = nat.config, .generation = 1};
		if (start(remember, err, sizeof(err))) {
			answer = failed("%s", err);
			stop();
		} else {
			answer = opened(&warnings);
		}
	}
	config_warnings_free(&warnings);
	free(errors);
	return answer;
}

static json_t *op_close(json_t *args)
{
	stop();
	return json_pack("{s:i}", "lost_buffers", (int)box_lost_buffers());
}

// ---- step, drain

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool put_frame(json_t *item)
{
	static uint8_t b[BOX_FRAME_MAX];
	const char *hex;
	int ifc;
	size_t n;

	if (json_unpack(item, "[i, s]", &ifc, &hex) || ifc < 0 || (unsigned)ifc >= box_interfaces())
		return false;
	n = strlen(hex) / 2;
	if (n > sizeof(b) || !n || hex[2 * n])
		return false;
	for (size_t i = 0; i < n; i++) {
		const int high = hex_digit(hex[2 * i]), low = hex_digit(hex[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		b[i] = (uint8_t)(high << 4 | low);
	}
	box_put((unsigned)ifc, b, (uint16_t)n);
	return true;
}

static json_t *frames_out(void)
{
	static char hex[2 * BOX_FRAME_MAX + 1];
	json_t *out = json_array();
	struct box_frame *f;

	for (unsigned i = 0; i < box_interfaces(); i++) {
		while ((f = box_take(i))) {
			for (unsigned k = 0; k < f->len; k++) {
				hex[2 * k] = "0123456789abcdef"[f->b[k] >> 4];
				hex[2 * k + 1] = "0123456789abcdef"[f->b[k] & 15];
			}
			hex[2u * f->len] = 0;
			json_array_append_new(
				out, json_pack("[i, I, s]", (int)i, (json_int_t)f->at_ns, hex));
			free(f);
		}
	}
	return out;
}

// The terms of the identity, and what the wires saw.
static json_t *account(void)
{
	static struct cgn_counters c;
	json_t *wires = json_array();
	uint64_t drops = 0;

	cgn_dataplane_counters(nat.control.dp, CGN_ALL_WORKERS, &c);
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		drops += c.drops[i];
	for (unsigned i = 0; i < box_interfaces(); i++) {
		const struct cgn_interface_counters *got = &c.interfaces[i];
		const struct box_wire w = box_wire(i);
		const bool same = got->rx_packets == w.rx_packets && got->rx_bytes == w.rx_bytes &&
			got->tx_packets == w.tx_packets && got->tx_bytes == w.tx_bytes;

		json_array_append_new(wires, json_boolean(same));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:o}", "rx_packets",
		(json_int_t)c.rx_packets, "originated", (json_int_t)c.originated, "tx_packets",
		(json_int_t)c.tx_packets, "drops", (json_int_t)drops, "consumed",
		(json_int_t)c.consumed, "held", (json_int_t)c.held, "wires_agree", wires);
}

static json_t *stepped(void)
{
	return json_pack("{s:o, s:I, s:o}", "out", frames_out(), "now_ns", (json_int_t)box_now_ns,
		"account", account());
}

static json_t *op_step(json_t *args)
{
	json_t *in = NULL, *item;
	json_int_t seconds = 0, ms = 0;
	size_t i;

	if (json_unpack(args, "{s?o, s?I, s?I}", "in", &in, "seconds", &seconds, "ms", &ms))
		return failed("step: bad arguments");
	json_array_foreach(in, i, item)
	{
		if (!put_frame(item))
			return failed("step: in[%zu] is no frame", i);
	}
	if (!box_run())
		return failed("the workers do not come to rest");
	log_step();
	for (; seconds > 0; seconds--) {
		box_advance(NS_PER_S);
		if (!box_run())
			return failed("the workers do not come to rest");
		log_step();
	}
	if (ms > 0) {
		box_advance((uint64_t)ms * 1000000u);
		if (!box_run())
			return failed("the workers do not come to rest");
	}
	return stepped();
}

static bool drained(void)
{
	static struct cgn_counters c;

	cgn_dataplane_counters(nat.control.dp, CGN_ALL_WORKERS, &c);
	return !c.sessions && !c.mappings && !c.subscribers && !c.blocks && !c.blocks_held &&
		!c.ports_resting && !c.held && !c.fragmented_datagrams;
}

static json_t *op_drain(json_t *args)
{
	json_int_t seconds;
	json_t *answer;

	if (json_unpack(args, "{s:I}", "seconds", &seconds))
		return failed("drain: bad arguments");
	for (; seconds > 0 && !drained(); seconds--) {
		box_advance(NS_PER_S);
		if (!box_run())
			return failed("the workers do not come to rest");
	}
	answer = stepped();
	json_object_set_new(answer, "drained", json_boolean(drained()));
	return answer;
}

// ---- ctl, arp

static json_t *lines_of(const struct buffer *out)
{
	json_t *lines = json_array();
	const char *at = out->data + out->start, *end = out->data + out->end;

	while (at < end) {
		const char *newline = memchr(at, '\n', (size_t)(end - at));
		const size_t n = newline ? (size_t)(newline - at) : (size_t)(end - at);
		json_t *line = json_loadb(at, n, 0, NULL);

		json_array_append_new(lines, line ? line : json_null());
		at += n + 1;
	}
	return lines;
}

static json_t *op_ctl(json_t *args)
{
	enum request_progress progress = REQUEST_MORE;
	struct buffer out = {0};
	struct request *r;
	json_t *answer;
	char *line = json_dumps(json_object_get(args, "request"), JSON_COMPACT | JSON_ENCODE_ANY);

	if (!line)
		return failed("ctl: no request");
	r = request_create(&nat.control, line, strlen(line));
	free(line);
	if (!r)
		return failed("ctl: no memory");
	for (unsigned i = 0; i < CTL_TURNS_MAX && progress != REQUEST_DONE; i++) {
		progress = request_step(r, &out, box_now_ns);
		if (progress == REQUEST_WAIT)
			box_poll();
	}
	request_destroy(r);
	box_poll(); // the workers let go of its walk
	answer = progress == REQUEST_DONE && !out.failed
		? json_pack("{s:o}", "lines", lines_of(&out))
		: failed("ctl: no answer");
	buffer_fini(&out);
	return answer;
}

static json_t *op_arp(json_t *args)
{
	uint32_t addresses[BOX_SILENT_MAX];
	json_t *silent = NULL, *item;
	int answered = 1;
	unsigned n = 0;
	size_t i;

	if (json_unpack(args, "{s?b, s?o}", "answered", &answered, "silent", &silent) ||
		json_array_size(silent) > BOX_SILENT_MAX)
		return failed("arp: bad arguments");
	json_array_foreach(silent, i, item)
	{
		struct in_addr in;

		if (!json_is_string(item) || inet_pton(AF_INET, json_string_value(item), &in) != 1)
			return failed("arp: silent[%zu] is no address", i);
		addresses[n++] = ntohl(in.s_addr);
	}
	box_arp(answered);
	box_silence(addresses, n);
	return json_object();
}

// ---- the conversation

static json_t *answer_to(json_t *request)
{
	static const struct {
		const char *name;
		json_t *(*run)(json_t *args);
		bool closed; // it needs no dataplane
	} ops[] = {
		{"open", op_open, true},
		{"step", op_step, false},
		{"drain", op_drain, false},
		{"ctl", op_ctl, false},
		{"arp", op_arp, false},
		{"log", op_log, false},
		{"close", op_close, false},
	};
	const char *op = json_string_value(json_object_get(request, "op"));

	for (unsigned i = 0; op && i < sizeof(ops) / sizeof(*ops); i++) {
		if (strcmp(op, ops[i].name))
			continue;
		if (!ops[i].closed && !nat.control.dp)
			return failed("%s: it is not open", op);
		return ops[i].run(request);
	}
	return failed("no such op");
}

int main(void)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	cgn_log_init();
	if (!box_init()) {
		fprintf(stderr, "natbox: DPDK does not start\n");
		return EXIT_FAILURE;
	}
	while ((n = getline(&line, &room, stdin)) > 0) {
		json_t *request = json_loadb(line, (size_t)n, 0, NULL);
		json_t *answer = answer_to(request);

		json_dumpf(answer, stdout, JSON_COMPACT);
		putchar('\n');
		fflush(stdout);
		json_decref(answer);
		json_decref(request);
	}
	free(line);
	stop();
	return EXIT_SUCCESS;
}
