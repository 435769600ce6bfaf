// SPDX-License-Identifier: BSD-3-Clause
// cgnat-bench: how fast the worker code is, without a NIC. Fills N mappings, then translates packets
// of random ones, made in memory and checked outside the measured time. See "Numbers" in the README
// and docs/performance.md.
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_launch.h>
#include "measure.h"
#include "options.h"
#include "report.h"
#include "setup.h"

#ifndef CGN_STAGES
// The same program with the marks compiled in lies beside this one.
static _Noreturn void exec_stages(char **argv)
{
	char path[4096];
	ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - sizeof("-stages"));

	if (n > 0) {
		strcpy(path + n, "-stages");
		execv(path, argv);
	}
	fprintf(stderr, "cgnat-bench: --stages: cannot run %s: %s\n",
		n > 0 ? path : "cgnat-bench-stages", strerror(errno));
	exit(1);
}
#endif

// Main sleeps: it may share its CPU with a worker.
static void wait_for_all(void)
{
	for (uint32_t i = 1; i <= opt.workers; i++) {
		while (rte_eal_get_lcore_state(i) == RUNNING)
			usleep(5000);
		rte_eal_wait_lcore(i);
	}
}

int main(int argc, char **argv)
{
	static struct setup setup;
	static struct measure measure[CGN_WORKERS_MAX];
	uint64_t wrong = 0, missing = 0;

	options_parse(argc, argv);
#ifdef CGN_STAGES
	opt.stages = true;
#else
	if (opt.stages)
		exec_stages(argv);
#endif
	setup_create(&setup);
	measure_init(opt.workers);
	if (opt.mode == MODE_DUMP)
		dump_begin(&setup, &measure[0].result.dump);
	for (uint32_t i = 0; i < opt.workers; i++) {
		measure[i].setup = &setup;
		measure[i].load = &setup.load[i];
		measure[i].peer = opt.mode == MODE_HANDOFF ? &setup.load[1 - i] : NULL;
		rte_eal_remote_launch(measure_run, &measure[i], i + 1);
	}
	wait_for_all();
	if (opt.mode == MODE_DUMP)
		dump_end();
	report(&setup, measure);
	for (uint32_t i = 0; i < opt.workers; i++) {
		wrong += measure[i].result.wrong;
		missing += measure[i].result.missing;
	}
	setup_destroy(&setup);
	if (wrong || missing) {
		fprintf(stderr,
			"cgnat-bench: %" PRIu64 " packets came out wrong, %" PRIu64
			" did not come out\n",
			wrong, missing);
		return 1;
	}
	return 0;
}
