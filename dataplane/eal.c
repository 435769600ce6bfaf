// SPDX-License-Identifier: BSD-3-Clause
#include "eal.h"
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_eal.h>
#include <rte_errno.h>

#define ARGS_MAX 128

struct args {
	char *argv[ARGS_MAX];
	int argc;
	bool failed;
};

static void add(struct args *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void add(struct args *a, const char *fmt, ...)
{
	va_list ap;
	char *text;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	va_end(ap);
	if (!text || a->argc == ARGS_MAX - 1) {
		a->failed = true;
		free(text);
		return;
	}
	a->argv[a->argc++] = text;
}

// "0@0,1@1,...": lcore N on CPU N, or spread over the CPUs this process may use.
static int lcores(
	const struct cgn_config *config, char *out, size_t size, char *err, size_t err_size)
{
	uint32_t all[CGN_WORKERS_MAX + 1], n = 0;
	int cpus[CPU_SETSIZE], n_cpus = 0;
	size_t at = 0;
	cpu_set_t set;

	if (sched_getaffinity(0, sizeof(set), &set))
		return -errno;
	for (int i = 0; i < CPU_SETSIZE; i++) {
		if (CPU_ISSET(i, &set))
			cpus[n_cpus++] = i;
	}
	all[n++] = config->runtime.main_lcore;
	for (uint32_t i = 0; i < config->runtime.n_workers; i++)
		all[n++] = config->runtime.worker_lcores[i];
	for (uint32_t i = 0; i < n; i++) {
		// the main thread gets the first CPU, workers the others as long as there are any
		int cpu = cpus[i % (uint32_t)n_cpus];

		if (!config->runtime.share_cpus) {
			cpu = (int)all[i];
			if (cpu >= CPU_SETSIZE || !CPU_ISSET(cpu, &set)) {
				snprintf(err, err_size,
					"lcore %u: there is no CPU %u for it here; set runtime.share-cpus to spread lcores over the %d CPUs at hand",
					all[i], all[i], n_cpus);
				return -EINVAL;
			}
		}
		at += (size_t)snprintf(out + at, size - at, "%s%u@%d", i ? "," : "", all[i], cpu);
	}
	return 0;
}

static bool is_pci(const char *device)
{
	return strncmp(device, "net_", 4) && strncmp(device, "eth_", 4);
}

int eal_start(const struct cgn_config *config, char *err, size_t err_size)
{
	static struct args a; // DPDK keeps pointers to the texts: they live as long as the process
	char *argv[ARGS_MAX]; // and it moves the pointers around
	char map[CGN_WORKERS_MAX * 16 + 16];
	bool pci = false;
	int rc = lcores(config, map, sizeof(map), err, err_size);

	if (rc)
		return rc;
	add(&a, "cgnatd");
	add(&a, "--lcores=%s", map);
	add(&a, "--main-lcore=%u", config->runtime.main_lcore);
	add(&a, "--no-telemetry");
	add(&a, "--log-level=warning");
	add(&a, "-m");
	add(&a, "%u", config->runtime.memory_mb);
	// no files that a crash would leave behind
	if (config->runtime.hugepages) {
		add(&a, "--in-memory");
	} else {
		add(&a, "--no-huge");
		add(&a, "--no-shconf");
	}
	for (uint32_t i = 0; i < config->n_interfaces; i++) {
		if (!is_pci(config->interfaces[i].device))
			continue;
		pci = true;
		add(&a, "--allow=%s", config->interfaces[i].device);
	}
	if (!pci) {
		add(&a, "--no-pci");
		add(&a, "--iova-mode=va");
	}
	for (uint32_t i = 0; i < config->runtime.n_eal_args; i++)
		add(&a, "%s", config->runtime.eal_args[i]);
	if (a.failed) {
		snprintf(err, err_size, "too many arguments for DPDK");
		rc = -E2BIG;
	} else if (memcpy(argv, a.argv, sizeof(argv)), rte_eal_init(a.argc, argv) < 0) {
		rc = rte_errno ? -rte_errno : -EINVAL;
		snprintf(err, err_size, "DPDK does not start: %s%s", strerror(-rc),
			config->runtime.hugepages
				? "; are there hugepages for runtime.memory-mb? (sysctl vm.nr_hugepages; or runtime.hugepages: false)"
				: "");
	}
	return rc;
}

void eal_stop(void)
{
	rte_eal_cleanup();
}
