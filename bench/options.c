// SPDX-License-Identifier: BSD-3-Clause
#include "options.h"
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cgnat/dataplane.h"
#include "dataplane/batch.h"
#include "number.h"

struct options opt = {
	.mappings = 64512,
	.packet_size = 64,
	.workers = 1,
	.burst = BATCH_MAX,
	.ahead = 2048,
	.seconds = 2,
	.load_percent = 80,
	.policies = 1,
	.flood_percent = -1,
};
const char *const direction_names[] = {"out", "in", "mix", "hairpin", NULL};
const char *const order_names[] = {"random", "sweep", NULL};

static _Noreturn void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"usage: cgnat-bench [options]\n"
		"  --direction out|in|mix|hairpin   which way packets go (out)\n"
		"  --order random|sweep  how packets visit the mappings (random)\n"
		"  --mappings N        mappings to fill in first, 1..20000000 (64512)\n"
		"  --subscribers N     subscribers they belong to (mappings / 63)\n"
		"  --block-size N      ports of a block; a subscriber has as many blocks as it needs (one)\n"
		"  --pool-fill P       per cent of the pool that are lent in the end, 50..100 (about 85)\n"
		"  --packet-size B     bytes on the wire, FCS included, 64..1518, or imix (64)\n"
		"  --tcp               TCP instead of UDP\n"
		"  --workers N         workers, each on its own lcore, 1..32 (1)\n"
		"  --burst N           frames a worker finds at each turn and interface, 1..256 (256)\n"
		"  --ahead N           frames made before the clock starts, 1..4096 (2048)\n"
		"  --cold              frames come from memory, not from the caches\n"
		"  --seconds S         measuring time, what is not counted included (2)\n"
		"  --packets N         measure N packets on a made-up clock instead, for callgrind\n"
		"  --load MPPS|P%%      offered load at which the latency is measured, per worker (80%%);\n"
		"                      0: no latency\n"
		"  --flood P%%          while so many new flows arrive, 100%%: as many as --new makes\n"
		"  --new               measure how fast new mappings are made\n"
		"  --policies N        policies, of which the last takes the packets, 1..1023 (1)\n"
		"  --bypass-prefixes N destinations that a policy before them bypasses, 0..1000000 (0)\n"
		"  --bypass            measure packets to those instead\n"
		"  --expire N          while N mappings run out per 1000 packets, 1..500\n"
		"  --expire-all        no packets: how long a turn takes while all mappings run out\n"
		"  --dump              while control lists all sessions, and without, in turn\n"
		"  --full              new flows until the last port of their subscribers is taken, and more\n"
		"  --scaling           two workers or more: one of them alone, and all, in turn\n"
		"  --handoff           two workers: what it costs that packets arrive at the wrong one\n"
		"  --stages            clocks per stage (cgnat-bench-stages, beside this program)\n"
		"  --hugepages         memory from hugepages; without it, figures are not comparable\n"
		"  --json              one JSON object\n");
	exit(code);
}

static double parse_seconds(const char *text)
{
	char *end;
	double s = number_decimal(text, &end);

	if (*end || end == text || !(s > 0 && s <= 3600)) {
		fprintf(stderr, "cgnat-bench: --seconds: %s is not a time up to 3600 s\n", text);
		exit(2);
	}
	return s;
}

static void parse_load(const char *text)
{
	char *end;
	double n = number_decimal(text, &end);
	const bool percent = !strcmp(end, "%");

	if (end == text || (*end && !percent) || !(n >= 0 && n <= 1000)) {
		fprintf(stderr,
			"cgnat-bench: --load: %s is neither Mpps nor a percentage, 0..1000\n",
			text);
		exit(2);
	}
	opt.load_mpps = percent ? 0 : n;
	opt.load_percent = percent ? n : n > 0 ? 100 : 0;
}

static void parse_flood(const char *text)
{
	char *end;
	const double n = number_decimal(text, &end);

	if (end == text || strcmp(end, "%") || !(n >= 0 && n <= 1000)) {
		fprintf(stderr, "cgnat-bench: --flood: %s is not a percentage, 0%%..1000%%\n",
			text);
		exit(2);
	}
	opt.flood_percent = n;
}

static void set_mode(enum mode mode)
{
	if (opt.mode != MODE_STEADY && opt.mode != mode) {
		fprintf(stderr,
			"cgnat-bench: --new, --bypass, --expire, --expire-all, --dump, --full, --scaling and --handoff: only one of them\n");
		exit(2);
	}
	opt.mode = mode;
}

enum {
	O_DIRECTION = 256,
	O_ORDER,
	O_MAPPINGS,
	O_SUBSCRIBERS,
	O_BLOCK_SIZE,
	O_POOL_FILL,
	O_SIZE,
	O_TCP,
	O_WORKERS,
	O_BURST,
	O_AHEAD,
	O_COLD,
	O_SECONDS,
	O_PACKETS,
	O_LOAD,
	O_FLOOD,
	O_NEW,
	O_POLICIES,
	O_BYPASS_PREFIXES,
	O_BYPASS,
	O_EXPIRE,
	O_EXPIRE_ALL,
	O_DUMP,
	O_FULL,
	O_SCALING,
	O_HANDOFF,
	O_STAGES,
	O_HUGEPAGES,
	O_JSON,
	O_HELP,
};

static const struct option long_options[] = {
	{"direction", 1, NULL, O_DIRECTION},
	{"order", 1, NULL, O_ORDER},
	{"mappings", 1, NULL, O_MAPPINGS},
	{"subscribers", 1, NULL, O_SUBSCRIBERS},
	{"block-size", 1, NULL, O_BLOCK_SIZE},
	{"pool-fill", 1, NULL, O_POOL_FILL},
	{"packet-size", 1, NULL, O_SIZE},
	{"tcp", 0, NULL, O_TCP},
	{"workers", 1, NULL, O_WORKERS},
	{"burst", 1, NULL, O_BURST},
	{"ahead", 1, NULL, O_AHEAD},
	{"cold", 0, NULL, O_COLD},
	{"seconds", 1, NULL, O_SECONDS},
	{"packets", 1, NULL, O_PACKETS},
	{"load", 1, NULL, O_LOAD},
	{"flood", 1, NULL, O_FLOOD},
	{"new", 0, NULL, O_NEW},
	{"policies", 1, NULL, O_POLICIES},
	{"bypass-prefixes", 1, NULL, O_BYPASS_PREFIXES},
	{"bypass", 0, NULL, O_BYPASS},
	{"expire", 1, NULL, O_EXPIRE},
	{"expire-all", 0, NULL, O_EXPIRE_ALL},
	{"full", 0, NULL, O_FULL},
	{"scaling", 0, NULL, O_SCALING},
	{"dump", 0, NULL, O_DUMP},
	{"handoff", 0, NULL, O_HANDOFF},
	{"stages", 0, NULL, O_STAGES},
	{"hugepages", 0, NULL, O_HUGEPAGES},
	{"json", 0, NULL, O_JSON},
	{"help", 0, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

static void parse_traffic(int c)
{
	switch (c) {
	case O_DIRECTION:
		opt.direction =
			(enum direction)number_one_of("--direction", optarg, direction_names);
		break;
	case O_ORDER:
		opt.order = (enum order)number_one_of("--order", optarg, order_names);
		break;
	case O_MAPPINGS:
		opt.mappings = number_parse("--mappings", optarg, 1, 20000000);
		break;
	case O_SUBSCRIBERS:
		opt.subscribers =
			(uint32_t)number_parse("--subscribers", optarg, 1, SUBSCRIBERS_MAX);
		break;
	case O_BLOCK_SIZE:
		opt.block_size = (uint32_t)number_parse("--block-size", optarg, 16, 16384);
		break;
	case O_POOL_FILL:
		opt.pool_percent = (uint32_t)number_parse("--pool-fill", optarg, 50, 100);
		break;
	case O_SIZE:
		opt.packet_size = !strcmp(optarg, "imix")
			? 0
			: (uint32_t)number_parse("--packet-size", optarg, 64, 1518);
		break;
	case O_TCP:
		opt.tcp = true;
		break;
	case O_NEW:
		set_mode(MODE_NEW);
		break;
	case O_POLICIES:
		opt.policies =
			(uint32_t)number_parse("--policies", optarg, 1, CGN_POLICIES_MAX - 1);
		break;
	case O_BYPASS_PREFIXES:
		opt.bypass_prefixes =
			(uint32_t)number_parse("--bypass-prefixes", optarg, 0, 1000000);
		break;
	case O_BYPASS:
		set_mode(MODE_BYPASS);
		break;
	case O_EXPIRE:
		set_mode(MODE_EXPIRE);
		opt.expire_permille = (uint32_t)number_parse("--expire", optarg, 1, 500);
		break;
	case O_EXPIRE_ALL:
		set_mode(MODE_EXPIRE_ALL);
		break;
	case O_FULL:
		set_mode(MODE_FULL);
		break;
	case O_SCALING:
		set_mode(MODE_SCALING);
		break;
	case O_DUMP:
		set_mode(MODE_DUMP);
		break;
	case O_HANDOFF:
		set_mode(MODE_HANDOFF);
		break;
	default:
		usage(c == O_HELP ? 0 : 2);
	}
}

static void parse_one(int c)
{
	switch (c) {
	case O_WORKERS:
		opt.workers = (uint32_t)number_parse("--workers", optarg, 1, CGN_WORKERS_MAX);
		break;
	case O_BURST:
		opt.burst = (uint32_t)number_parse("--burst", optarg, 1, BATCH_MAX);
		break;
	case O_AHEAD:
		opt.ahead = (uint32_t)number_parse("--ahead", optarg, 1, AHEAD_MAX);
		break;
	case O_COLD:
		opt.cold = true;
		break;
	case O_SECONDS:
		opt.seconds = parse_seconds(optarg);
		break;
	case O_PACKETS:
		opt.packets = number_parse("--packets", optarg, 1, 1000000000);
		break;
	case O_LOAD:
		parse_load(optarg);
		break;
	case O_FLOOD:
		parse_flood(optarg);
		break;
	case O_STAGES:
		opt.stages = true;
		break;
	case O_HUGEPAGES:
		opt.hugepages = true;
		break;
	case O_JSON:
		opt.json = true;
		break;
	default:
		parse_traffic(c);
	}
}

// Every port of every block is taken in the end.
static void check_full(void)
{
	const uint32_t block = opt.block_size ? opt.block_size : 64;
	uint64_t each = 4 * block;

	if (opt.workers > 1) {
		fprintf(stderr, "cgnat-bench: --full: has one worker\n");
		exit(2);
	}
	if (opt.subscribers)
		each = (opt.mappings / opt.subscribers + block - 1) / block * block;
	each = each ? each : block;
	opt.block_size = block;
	opt.subscribers = (uint32_t)((opt.mappings + each - 1) / each);
	opt.mappings = opt.subscribers * each;
}

static void check_scaling(void)
{
	if (opt.workers == 1)
		opt.workers = 2;
	if (opt.packets || opt.direction == DIRECTION_HAIRPIN) {
		fprintf(stderr,
			"cgnat-bench: --scaling: goes neither with --packets nor hairpins\n");
		exit(2);
	}
	opt.load_percent = opt.load_mpps = 0;
}

// What goes together, and what follows from it.
static void check(void)
{
	if (opt.mode == MODE_FULL)
		check_full();
	if (opt.mode == MODE_SCALING)
		check_scaling();
	if (!opt.subscribers)
		opt.subscribers = (uint32_t)((opt.mappings + 62) / 63);
	if (opt.subscribers > opt.mappings)
		opt.subscribers = (uint32_t)opt.mappings;
	if (opt.mappings / opt.subscribers > 16384) {
		fprintf(stderr,
			"cgnat-bench: --subscribers: %u are too few, 16384 mappings each at most\n",
			opt.subscribers);
		exit(2);
	}
	if (opt.block_size & (opt.block_size - 1)) {
		fprintf(stderr, "cgnat-bench: --block-size: %u is not a power of two\n",
			opt.block_size);
		exit(2);
	}
	if (opt.block_size &&
		(opt.mappings / opt.subscribers + opt.block_size) / opt.block_size > BLOCKS_MAX) {
		fprintf(stderr,
			"cgnat-bench: --block-size: %u is too small, a subscriber has %u blocks at most\n",
			opt.block_size, BLOCKS_MAX);
		exit(2);
	}
	if (opt.mode != MODE_STEADY && opt.mode != MODE_HANDOFF && opt.mode != MODE_SCALING &&
		opt.mode != MODE_DUMP && opt.direction != DIRECTION_OUT) {
		fprintf(stderr,
			"cgnat-bench: --new, --bypass, --expire, --expire-all and --full are measured outbound\n");
		exit(2);
	}
	if (opt.mode == MODE_EXPIRE && opt.mappings < 32768) {
		fprintf(stderr, "cgnat-bench: --expire: needs 32768 mappings or more\n");
		exit(2);
	}
	if (opt.mode == MODE_EXPIRE_ALL && opt.workers > 1) {
		fprintf(stderr, "cgnat-bench: --expire-all: has one worker\n");
		exit(2);
	}
	if (opt.mode == MODE_BYPASS && !opt.bypass_prefixes) {
		fprintf(stderr, "cgnat-bench: --bypass: needs --bypass-prefixes\n");
		exit(2);
	}
	if (opt.flood_percent >= 0 &&
		(opt.mode != MODE_STEADY || opt.direction == DIRECTION_HAIRPIN ||
			!(opt.load_percent > 0) || opt.packets || opt.mappings < 1000)) {
		fprintf(stderr,
			"cgnat-bench: --flood: goes with --load, and 1000 mappings or more, not with "
			"--packets, --new, --expire, --expire-all or hairpins\n");
		exit(2);
	}
	if (opt.mode == MODE_DUMP &&
		(opt.workers > 1 || opt.packets || opt.direction == DIRECTION_HAIRPIN ||
			!(opt.load_percent > 0))) {
		fprintf(stderr,
			"cgnat-bench: --dump: has one worker and goes with --load, not with --packets or "
			"hairpins\n");
		exit(2);
	}
	if (opt.mode == MODE_HANDOFF) {
		if (opt.packets || opt.direction == DIRECTION_HAIRPIN || opt.workers > 2) {
			fprintf(stderr,
				"cgnat-bench: --handoff: has two workers, and neither hairpins nor "
				"--packets\n");
			exit(2);
		}
		opt.workers = 2;
		opt.load_percent = opt.load_mpps = 0;
		opt.ahead = opt.ahead < 1024 ? opt.ahead : 1024; // fit into a ring
	}
	// a burst for every turn: ahead is a whole number of them
	if (opt.ahead < opt.burst)
		opt.ahead = opt.burst;
	opt.ahead -= opt.ahead % opt.burst;
	if (opt.packets)
		opt.load_percent = opt.load_mpps = 0;
}

void options_parse(int argc, char **argv)
{
	number_program = "cgnat-bench";
	for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;)
		parse_one(c);
	if (optind < argc)
		usage(2);
	check();
}
