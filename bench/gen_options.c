// SPDX-License-Identifier: BSD-3-Clause
#include "gen_options.h"
#include <arpa/inet.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "number.h"

struct gen_options gen_opt = {
	.address = {0x0aff0002, 0xc0000201}, // 10.255.0.2, 192.0.2.1
	.nat = {0x0aff0001, 0xc0000202}, // 10.255.0.1, 192.0.2.2
	.subscriber = 0x6440000a, // 100.64.0.10
	.n_subscribers = 1024,
	.port = 1024,
	.n_ports = 63,
	.destination = 0xc6336401, // 198.51.100.1
	.n_destinations = 1,
	.destination_port = 53,
	.packet_size = 64,
	.reflect = true,
	.window = 512,
	.seconds = 5,
	.drain_s = 0.2,
	.min_pps = 1000,
	.max_pps = 20e6,
	.memory_mb = 256,
};
const char *const gen_mode_names[] = {"steady", "setup", "reflect", "search", NULL};

static _Noreturn void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"usage: cgnat-gen --inside DEVICE --outside DEVICE [options]\n"
		"Sends packets of many subscribers into a NAT, judges what comes out, and sends it back.\n"
		"  --inside, --outside D   PCI address or DPDK vdev that faces the NAT's two sides\n"
		"  --mode steady|setup|search|reflect  packets of known flows; each packet a new flow;\n"
		"                          the highest rate without loss (RFC 2544); --outside only: all\n"
		"                          TCP and UDP is sent back, for another generator (steady)\n"
		"  --subscribers N         1..2000000 (1024), from --first-subscriber A (100.64.0.10)\n"
		"  --ports N               of each, 1..60000 (63), from --first-port P (1024)\n"
		"  --destinations N        1..60000 (1), from --first-destination A (198.51.100.1)\n"
		"  --destination-port P    (53)\n"
		"  --packet-size B         on the wire, FCS included, 64..1518 (64)\n"
		"  --tcp                   TCP instead of UDP\n"
		"  --sweep                 one flow after the other instead of at random\n"
		"  --one-way               send nothing back\n"
		"  --rate PPS              offered load; 0: --window N packets under way at any time (0)\n"
		"  --window N              1..4096 (512)\n"
		"  --seconds S             measuring time, or that of a trial (5); reflect: 0 = until\n"
		"                          SIGTERM\n"
		"  --drain S               how long to wait for what is under way (0.2)\n"
		"  --min-rate, --max-rate PPS  where a search begins and ends (1000, 20000000)\n"
		"  --loss N                packets of 1000 that a search allows to get lost (0)\n"
		"  --nat-inside, --nat-outside A  the NAT's addresses (10.255.0.1, 192.0.2.2)\n"
		"  --address-inside, --address-outside A  our own (10.255.0.2, 192.0.2.1)\n"
		"  --cpu N                 that sends and receives (0)\n"
		"  --memory-mb N           64..65536 (256)\n"
		"  --hugepages             memory from hugepages\n"
		"  --hold                  stay until SIGTERM (reflect: a second one) and touch no device:\n"
		"                          a memif wants the NAT stopped first\n"
		"  --json                  one JSON object\n");
	exit(code);
}

static uint32_t address(const char *name, const char *text)
{
	struct in_addr a;

	if (inet_pton(AF_INET, text, &a) != 1) {
		fprintf(stderr, "cgnat-gen: %s: %s is not an IPv4 address\n", name, text);
		exit(2);
	}
	return ntohl(a.s_addr);
}

enum {
	O_INSIDE = 256,
	O_OUTSIDE,
	O_MODE,
	O_SUBSCRIBERS,
	O_SUBSCRIBER,
	O_PORTS,
	O_PORT,
	O_DESTINATIONS,
	O_DESTINATION,
	O_DESTINATION_PORT,
	O_SIZE,
	O_TCP,
	O_SWEEP,
	O_ONE_WAY,
	O_RATE,
	O_WINDOW,
	O_SECONDS,
	O_DRAIN,
	O_MIN,
	O_MAX,
	O_LOSS,
	O_NAT_INSIDE,
	O_NAT_OUTSIDE,
	O_ADDRESS_INSIDE,
	O_ADDRESS_OUTSIDE,
	O_CPU,
	O_MEMORY,
	O_HUGEPAGES,
	O_HOLD,
	O_JSON,
	O_HELP,
};

static const struct option long_options[] = {
	{"inside", 1, NULL, O_INSIDE},
	{"outside", 1, NULL, O_OUTSIDE},
	{"mode", 1, NULL, O_MODE},
	{"subscribers", 1, NULL, O_SUBSCRIBERS},
	{"first-subscriber", 1, NULL, O_SUBSCRIBER},
	{"ports", 1, NULL, O_PORTS},
	{"first-port", 1, NULL, O_PORT},
	{"destinations", 1, NULL, O_DESTINATIONS},
	{"first-destination", 1, NULL, O_DESTINATION},
	{"destination-port", 1, NULL, O_DESTINATION_PORT},
	{"packet-size", 1, NULL, O_SIZE},
	{"tcp", 0, NULL, O_TCP},
	{"sweep", 0, NULL, O_SWEEP},
	{"one-way", 0, NULL, O_ONE_WAY},
	{"rate", 1, NULL, O_RATE},
	{"window", 1, NULL, O_WINDOW},
	{"seconds", 1, NULL, O_SECONDS},
	{"drain", 1, NULL, O_DRAIN},
	{"min-rate", 1, NULL, O_MIN},
	{"max-rate", 1, NULL, O_MAX},
	{"loss", 1, NULL, O_LOSS},
	{"nat-inside", 1, NULL, O_NAT_INSIDE},
	{"nat-outside", 1, NULL, O_NAT_OUTSIDE},
	{"address-inside", 1, NULL, O_ADDRESS_INSIDE},
	{"address-outside", 1, NULL, O_ADDRESS_OUTSIDE},
	{"cpu", 1, NULL, O_CPU},
	{"memory-mb", 1, NULL, O_MEMORY},
	{"hugepages", 0, NULL, O_HUGEPAGES},
	{"hold", 0, NULL, O_HOLD},
	{"json", 0, NULL, O_JSON},
	{"help", 0, NULL, O_HELP},
	{NULL, 0, NULL, 0},
};

// What the packets look like.
static bool parse_packets(int c, struct gen_options *o)
{
	switch (c) {
	case O_SUBSCRIBERS:
		o->n_subscribers = (uint32_t)number_parse("--subscribers", optarg, 1, 2000000);
		return true;
	case O_SUBSCRIBER:
		o->subscriber = address("--first-subscriber", optarg);
		return true;
	case O_PORTS:
		o->n_ports = (uint16_t)number_parse("--ports", optarg, 1, 60000);
		return true;
	case O_PORT:
		o->port = (uint16_t)number_parse("--first-port", optarg, 1, 65535);
		return true;
	case O_DESTINATIONS:
		o->n_destinations = (uint32_t)number_parse("--destinations", optarg, 1, 60000);
		return true;
	case O_DESTINATION:
		o->destination = address("--first-destination", optarg);
		return true;
	case O_DESTINATION_PORT:
		o->destination_port =
			(uint16_t)number_parse("--destination-port", optarg, 1, 65535);
		return true;
	case O_SIZE:
		o->packet_size = (uint32_t)number_parse("--packet-size", optarg, 64, 1518);
		return true;
	case O_TCP:
		return o->tcp = true;
	case O_SWEEP:
		return o->sweep = true;
	case O_ONE_WAY:
		o->reflect = false;
		return true;
	default:
		return false;
	}
}

// How they are sent.
static bool parse_run(int c, struct gen_options *o)
{
	switch (c) {
	case O_MODE:
		o->mode = (enum gen_mode)number_one_of("--mode", optarg, gen_mode_names);
		return true;
	case O_RATE:
		o->rate_pps = number_parse_real("--rate", optarg, 0, 1e9);
		return true;
	case O_WINDOW:
		o->window = (uint32_t)number_parse("--window", optarg, 1, 4096);
		return true;
	case O_SECONDS:
		o->seconds = number_parse_real("--seconds", optarg, 0, 86400);
		return true;
	case O_DRAIN:
		o->drain_s = number_parse_real("--drain", optarg, 0, 10);
		return true;
	case O_MIN:
		o->min_pps = number_parse_real("--min-rate", optarg, 1, 1e9);
		return true;
	case O_MAX:
		o->max_pps = number_parse_real("--max-rate", optarg, 1, 1e9);
		return true;
	case O_LOSS:
		o->loss_permille = number_parse_real("--loss", optarg, 0, 1000);
		return true;
	default:
		return false;
	}
}

static void parse_rest(int c, struct gen_options *o)
{
	switch (c) {
	case O_INSIDE:
	case O_OUTSIDE:
		o->device[c == O_OUTSIDE] = optarg;
		break;
	case O_NAT_INSIDE:
		o->nat[0] = address("--nat-inside", optarg);
		break;
	case O_NAT_OUTSIDE:
		o->nat[1] = address("--nat-outside", optarg);
		break;
	case O_ADDRESS_INSIDE:
		o->address[0] = address("--address-inside", optarg);
		break;
	case O_ADDRESS_OUTSIDE:
		o->address[1] = address("--address-outside", optarg);
		break;
	case O_CPU:
		o->lcore_cpu = (uint32_t)number_parse("--cpu", optarg, 0, 1023);
		break;
	case O_MEMORY:
		o->memory_mb = (uint32_t)number_parse("--memory-mb", optarg, 64, 65536);
		break;
	case O_HUGEPAGES:
		o->hugepages = true;
		break;
	case O_HOLD:
		o->hold = true;
		break;
	case O_JSON:
		o->json = true;
		break;
	default:
		usage(c == O_HELP ? 0 : 2);
	}
}

uint64_t gen_flows(void)
{
	return (uint64_t)gen_opt.n_subscribers * gen_opt.n_ports * gen_opt.n_destinations;
}

static _Noreturn void refuse(const char *what)
{
	fprintf(stderr, "cgnat-gen: %s\n", what);
	exit(2);
}

void gen_options_parse(int argc, char **argv)
{
	number_program = "cgnat-gen";
	for (int c; (c = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
		if (!parse_packets(c, &gen_opt) && !parse_run(c, &gen_opt))
			parse_rest(c, &gen_opt);
	}
	if (optind < argc)
		usage(2);
	if (gen_opt.mode == GEN_REFLECT && (gen_opt.device[0] || !gen_opt.device[1]))
		refuse("--mode reflect: needs --outside, and no --inside");
	if (gen_opt.mode != GEN_REFLECT && (!gen_opt.device[0] || !gen_opt.device[1]))
		refuse("--inside and --outside: both are needed");
	if (gen_opt.mode != GEN_REFLECT && gen_opt.seconds < 0.01)
		refuse("--seconds: 0.01 at least");
	if (gen_opt.port + gen_opt.n_ports > 65536)
		refuse("--ports: there are none above 65535");
	if (gen_flows() > GEN_FLOWS_MAX)
		refuse("subscribers x ports x destinations: more than 20000000 flows");
	if (gen_opt.min_pps > gen_opt.max_pps)
		refuse("--min-rate: is above --max-rate");
}
