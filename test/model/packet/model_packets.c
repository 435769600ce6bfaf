// SPDX-License-Identifier: BSD-3-Clause
// Random streams of packets through workers and through the model; every frame, counter and record
// must be the same. README.md says more.
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>
#include "../../packet/bed.h"
#include "compare.h"
#include "observe.h"
#include "packet.h"
#include "stream.h"

#define PACKETS_PER_CONFIG 20000u
#define PACKETS_FOR_ALL 5000000u // by then everything must have happened
#define TABLES_EVERY 251u // steps between two looks at all tables
#define DRAIN_MAX_S 60000u
#define REPLAY_MAGIC "cgnm0001"

static struct {
	uint64_t packets, seed; // wanted
	const char *replay, *save;
	bool shrink, verbose, quiet;
} args = {.packets = 200000, .save = "model-packets.steps"};

static struct {
	uint64_t config_seed;
	struct random_config config;
	struct step *steps; // all of this configuration, so that they can be run again
	size_t n_steps, room;
	size_t at; // step under way
	bool replaying;
	uint64_t packets, configs; // done
	struct cgn_counters total;
	jmp_buf failed;
	char text[16384]; // what was wrong
} run;

void wrong(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(run.text, sizeof(run.text), fmt, ap);
	va_end(ap);
	longjmp(run.failed, 1);
}

static void bed_was_wrong(const char *text)
{
	wrong("%s", text);
}

// ---- steps

static struct step *step_new(void)
{
	if (run.n_steps == run.room) {
		run.room = run.room ? 2 * run.room : 1024;
		run.steps = realloc(run.steps, run.room * sizeof(*run.steps));
		if (!run.steps)
			abort();
	}
	memset(&run.steps[run.n_steps], 0, sizeof(*run.steps));
	return &run.steps[run.n_steps++];
}

static void steps_free(void)
{
	for (size_t i = 0; i < run.n_steps; i++)
		free(run.steps[i].frame);
	run.n_steps = 0;
}

static void put_step(const struct step *s)
{
	struct frame f = {.len = s->len};

	memcpy(f.b, s->frame, s->len);
	bed_put_at(s->ifc, run.config.spread ? s->worker : 0, &f);
	run.packets++;
}

// Workers look at 32 sessions in a turn, at some of them twice. Where more than that may be due, an answer
// to a hairpinned SYN may find its session there or not: then time must not go on.
static bool is_unclear(void)
{
	return unsolicited_hairpins() && count_sessions() >= 16;
}

// Is the order in which the burst is worked off still known? In a stream from which steps have been
// left out, it may not be.
static bool burst_holds(size_t from, size_t end)
{
	for (size_t i = from; i < end; i++) {
		const struct step *s = &run.steps[i];
		const unsigned l2 = get16(s->frame + 12) == 0x8100 ? 18 : 14;
		struct packet p = {.len = s->len - l2};
		const struct mapping *m;

		memcpy(p.b, s->frame + l2, p.len);
		packet_read(&p, s->ifc == OUTSIDE);
		m = s->ifc == OUTSIDE ? mapping_of_external(p.protocol, p.our, p.our_port)
				      : mapping_of_internal(p.protocol, p.our, p.our_port);
		if (!s->of_sessions ? m != NULL : !m || !session_of(m, p.their, p.their_port))
			return false;
	}
	return true;
}

static void pass_time(uint64_t ms)
{
	if (is_unclear())
		ms = 1;
	bed.now_ns += ms * 1000000;
	world.now_ns = bed.now_ns;
	bed_run();
}

// From run.at on: one step, or a burst of them.
static void do_steps(void)
{
	struct step *s = &run.steps[run.at];
	size_t end = run.at + 1;

	if (s->kind == STEP_WAIT) {
		pass_time(s->wait_ms);
	} else if (s->kind == STEP_CLEAR) {
		clear_both(s->clear, &s->filter);
	} else {
		while (s->burst && end < run.n_steps && run.steps[end].burst == s->burst)
			end++;
		if (run.replaying) {
			for (size_t i = run.at; i < end; i++)
				step_follow(&run.steps[i]);
			if (s->burst && !burst_holds(run.at, end))
				end = run.at + 1;
		}
		for (size_t i = run.at; i < end; i++)
			put_step(&run.steps[i]);
		bed_run();
		for (size_t i = run.at; i < end; i++)
			frame_arrives(run.steps[i].ifc, run.steps[i].worker, run.steps[i].frame,
				run.steps[i].len);
	}
	world_tick();
	compare_outputs();
	compare_counters();
	if (run.at % TABLES_EVERY == 0 || (run.replaying && args.verbose))
		compare_tables();
	run.at = end;
}

// ---- one configuration

static void open_config(void)
{
	const struct random_config *c = &run.config;

	BED(.workers = c->workers, .spread = c->spread, .inside = c->inside, .outside = c->outside,
		.pools = c->pools, .policies = c->policies, .more = c->more,
		.sessions = c->sessions, .subscribers = c->subscribers, .tx_queues = c->tx_queues);
	bed.unchecked = true;
	bed.failed = bed_was_wrong;
	world_init(bed.worker[0]->snapshot->config, c->workers, bed.now_ns);
	observe_begin();
	compare_begin();
	compare_counters();
}

// Everything runs out: the model and the dataplane end empty.
static void drain(void)
{
	for (uint32_t s = 0; s < DRAIN_MAX_S; s += 7) {
		if (is_unclear())
			clear_both(CGN_WALK_CLEAR_SESSIONS, &(struct cgn_filter){0});
		pass_time(7000);
		world_tick();
		compare_outputs();
		compare_counters();
		if (!world.mappings && !world.resting && !world.subscribers && !world.datagrams &&
			!world.syns)
			break;
	}
	compare_tables();
	if (world.mappings || world.resting || world.subscribers || world.datagrams || world.syns)
		wrong("the model does not run empty");
}

static void run_config(uint64_t packets)
{
	const uint64_t end = run.packets + packets;
	struct stream stream;

	open_config();
	stream_begin(&stream, &run.config, run.config_seed ^ 0x5555);
	while (run.packets < end) {
		struct step *s;

		do {
			s = step_new();
			stream_next(&stream, s);
		} while (s->more);
		while (run.at < run.n_steps)
			do_steps();
	}
	drain();
	stream_end(&stream);
	cgn_counters_add(&run.total, &world.count);
	world_fini();
	if (bed_teardown(NULL))
		wrong("the bed was not left as it was found");
	steps_free();
	run.at = 0;
	run.configs++;
}

// ---- files of steps

static void save_steps(const char *path, const struct step *steps, size_t n)
{
	FILE *f = fopen(path, "w");
	const uint64_t head[2] = {run.config_seed, n};

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return;
	}
	fwrite(REPLAY_MAGIC, 8, 1, f);
	fwrite(head, sizeof(head), 1, f);
	for (size_t i = 0; i < n; i++) {
		fwrite(&steps[i], sizeof(steps[i]), 1, f);
		fwrite(steps[i].frame, 1, steps[i].len, f);
	}
	fclose(f);
}

static bool load_steps(const char *path)
{
	FILE *f = fopen(path, "r");
	uint64_t head[2];
	char magic[8];
	bool ok;

	if (!f) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		return false;
	}
	ok = fread(magic, 8, 1, f) == 1 && !memcmp(magic, REPLAY_MAGIC, 8) &&
		fread(head, sizeof(head), 1, f) == 1;
	run.config_seed = ok ? head[0] : 0;
	for (uint64_t i = 0; ok && i < head[1]; i++) {
		struct step *s = step_new();

		ok = fread(s, sizeof(*s), 1, f) == 1;
		s->frame = ok ? malloc(s->len + 1u) : NULL;
		ok = ok && fread(s->frame, 1, s->len, f) == s->len;
	}
	fclose(f);
	if (!ok)
		fprintf(stderr, "%s: no file of steps\n", path);
	return ok;
}

// ---- failures

static void print_step(const struct step *s, size_t n)
{
	if (s->kind == STEP_WAIT) {
		printf("%6zu  wait %" PRIu64 " ms\n", n, s->wait_ms);
	} else if (s->kind == STEP_CLEAR) {
		printf("%6zu  clear %s\n", n,
			s->clear == CGN_WALK_CLEAR_SESSIONS ? "sessions" : "mappings");
	} else {
		printf("%6zu  %s, worker %u%s:", n,
			s->ifc == INSIDE ? "from inside" : "from outside", s->worker,
			s->burst ? ", in a burst" : "");
		for (unsigned i = 12; i < s->len && i < 90; i++)
			printf("%s%02x", i % 4 == 2 ? " " : "", s->frame[i]);
		printf("%s (%u bytes)\n", s->len > 90 ? " ..." : "", s->len);
	}
}

static void print_failure(void)
{
	const struct random_config *c = &run.config;
	const size_t from = run.n_steps > 20 ? run.at : 0;

	printf("FAILED: seed %" PRIu64 ", configuration %" PRIu64 " (%" PRIu64 "), step %zu\n%s\n",
		args.seed, run.configs, run.config_seed, run.at, run.text);
	printf("workers: %u, max-sessions: %u, max-subscribers: %u%s\ninside: %s\noutside: %s\n"
	       "pools:\n%spolicies:\n%s%s\n",
		c->workers, c->sessions, c->subscribers, c->spread ? ", spread" : "", c->inside,
		c->outside, c->pools, c->policies, c->more);
	printf("steps:\n");
	for (size_t i = from; i < run.n_steps && i < from + 60; i++)
		print_step(&run.steps[i], i);
}

// Runs a file of steps in a process of its own, as DPDK starts once. True when it fails, too.
static bool fails(const struct step *steps, size_t n, const char *self)
{
	char path[64];
	pid_t child;
	int status = 0;

	snprintf(path, sizeof(path), "/tmp/model-packets-%d.steps", getpid());
	save_steps(path, steps, n);
	child = fork();
	if (!child) {
		execl(self, self, "--quiet", "--replay", path, (char *)NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child)
		return false;
	unlink(path);
	return WIFSIGNALED(status) || (WIFEXITED(status) && WEXITSTATUS(status) == 1);
}

// Leaves out steps, many at a time and then one by one, as long as what is left still fails.
static void shrink(void)
{
	size_t n = run.n_steps, chunk;
	struct step *steps = malloc((n + 1) * sizeof(*steps)),
		    *fewer = malloc((n + 1) * sizeof(*fewer));
	char self[256] = "";
	unsigned tries = 0;

	if (readlink("/proc/self/exe", self, sizeof(self) - 1) < 0 || !steps || !fewer)
		return;
	memcpy(steps, run.steps, n * sizeof(*steps));
	if (!fails(steps, n, self)) {
		printf("the steps run again do not fail\n");
		return;
	}
	for (chunk = n / 2; chunk; chunk = chunk == 1 ? 0 : (chunk + 1) / 2) {
		for (size_t at = n; at > 0;) {
			const size_t from = at > chunk ? at - chunk : 0;
			const size_t m = n - (at - from);

			memcpy(fewer, steps, from * sizeof(*steps));
			memcpy(fewer + from, steps + at, (n - at) * sizeof(*steps));
			if (tries++ < 3000 && fails(fewer, m, self)) {
				memcpy(steps, fewer, m * sizeof(*steps));
				n = m;
			}
			at = from;
		}
	}
	save_steps(args.save, steps, n);
	printf("%zu steps still fail:\n", n);
	for (size_t i = 0; i < n && i < 60; i++)
		print_step(&steps[i], i);
	free(steps);
	free(fewer);
}

// ---- main

static int replay(void)
{
	if (!load_steps(args.replay))
		return 2;
	run.replaying = true;
	config_make(&run.config, run.config_seed);
	open_config();
	while (run.at < run.n_steps)
		do_steps();
	compare_tables();
	drain();
	if (!args.quiet)
		printf("ok: %zu steps\n", run.n_steps);
	return 0;
}

// What a stream of this length must have come across; one that never fills a table would prove little.
static bool is_modelled(const char *name)
{
	static const char *const not_yet[] = {"IPV6_", "PORTLESS_", "ipv6_", "icmpv6_", "nd_"};

	for (unsigned i = 0; i < sizeof(not_yet) / sizeof(*not_yet); i++) {
		if (!strncmp(name, not_yet[i], strlen(not_yet[i])))
			return false;
	}
	return strcmp(name, "no_buffer") &&
		strcmp(name, "idle_sleeps"); // there is always one; nobody sleeps
}

static bool everything_happened(void)
{
	static const struct {
		const char *name;
		enum cgn_drop reason;
	} drops[] = {
#define X(id, text) {#id, CGN_DROP_##id},
		CGN_DROPS(X)
#undef X
	};
	// rings, buffers and neighbours do not run out here, some limits are too high, bursts are never full
	static const enum cgn_drop not_here[] = {CGN_DROP_FRAME_SEGMENTED, CGN_DROP_INDEX_FULL,
		CGN_DROP_FRAG_NO_BUFFER, CGN_DROP_NEIGHBOUR_TABLE_FULL,
		CGN_DROP_NEIGHBOUR_QUEUE_FULL, CGN_DROP_NEIGHBOUR_UNRESOLVED, CGN_DROP_HANDOFF_FULL,
		CGN_DROP_TX_FULL, CGN_DROP_STOPPED, CGN_DROP_LOCAL_RATE, CGN_DROP_FRAG_STORE_FULL,
		CGN_DROP_STATIC_SESSIONS_FULL, CGN_DROP_FRAG_SOURCE_LIMIT, CGN_DROP_OVERLOAD_NEW};
	bool all = true;

	for (unsigned i = 0; i < CGN_DROP_COUNT; i++) {
		bool wanted = is_modelled(drops[i].name);

		for (unsigned k = 0; k < sizeof(not_here) / sizeof(*not_here); k++)
			wanted = wanted && not_here[k] != drops[i].reason;
		if (args.verbose)
			printf("# %s: %" PRIu64 "\n", drops[i].name, run.total.drops[i]);
		if (wanted && !run.total.drops[i]) {
			printf("nothing was dropped as %s\n", drops[i].name);
			all = false;
		}
	}
#define X(id, text) \
	if (args.verbose) \
		printf("# %s: %" PRIu64 "\n", #id, run.total.id); \
	if (!run.total.id && is_modelled(#id)) { \
		printf("%s is 0\n", #id); \
		all = false; \
	}
	CGN_COUNTERS(X)
#undef X
	return all;
}

static int random_runs(void)
{
	struct random r = {args.seed};

	while (run.packets < args.packets) {
		const uint64_t left = args.packets - run.packets;

		run.config_seed = (uint64_t)random_u32(&r) << 32 | random_u32(&r);
		config_make(&run.config, run.config_seed);
		if (args.verbose)
			printf("# configuration %" PRIu64 ", %" PRIu64 " packets so far\n",
				run.configs, run.packets);
		run_config(left < PACKETS_PER_CONFIG ? left : PACKETS_PER_CONFIG);
	}
	printf("ok: %" PRIu64 " packets, %" PRIu64 " configurations, seed %" PRIu64 "\n",
		run.packets, run.configs, args.seed);
	return args.packets >= PACKETS_FOR_ALL && !everything_happened();
}

static int usage(void)
{
	fprintf(stderr,
		"usage: model_packets [--packets N] [--seed S] [--shrink] [--save FILE] [--verbose]\n"
		"       model_packets --replay FILE [--verbose]\n");
	return 2;
}

static bool read_args(int argc, char **argv)
{
	const char *env = getenv("CGN_MODEL_PACKETS");

	if (env)
		args.packets = strtoull(env, NULL, 0);
	if (getrandom(&args.seed, 4, 0) != 4)
		return false;
	for (int i = 1; i < argc; i++) {
		const bool more = i + 1 < argc;

		if (!strcmp(argv[i], "--shrink"))
			args.shrink = true;
		else if (!strcmp(argv[i], "--verbose"))
			args.verbose = true;
		else if (!strcmp(argv[i], "--quiet"))
			args.quiet = true;
		else if (!strcmp(argv[i], "--packets") && more)
			args.packets = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--seed") && more)
			args.seed = strtoull(argv[++i], NULL, 0);
		else if (!strcmp(argv[i], "--replay") && more)
			args.replay = argv[++i];
		else if (!strcmp(argv[i], "--save") && more)
			args.save = argv[++i];
		else
			return false;
	}
	return true;
}

static void report_failure(void)
{
	if (args.quiet)
		return;
	print_failure();
	if (!args.replay) {
		save_steps(args.save, run.steps, run.n_steps);
		printf("all steps are in %s\n", args.save);
	}
	if (args.shrink)
		shrink();
}

int main(int argc, char **argv)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!read_args(argc, argv))
		return usage();
	if (!args.replay)
		printf("# seed %" PRIu64 "\n", args.seed);
	if (!bed_begin())
		return 2;
	if (setjmp(run.failed)) {
		report_failure();
		fflush(stdout);
		_exit(1); // what a failure leaves behind is of no interest
	}
	if (args.replay ? replay() : random_runs())
		return 1;
	free(run.steps);
	bed_end();
	return 0;
}
