// SPDX-License-Identifier: BSD-3-Clause
// NUMA nodes: each worker's memory and packet buffers are on the node of its lcore.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/types.h"

struct numa {
	uint32_t n; // nodes that have a worker
	int node[CGN_WORKERS_MAX];
	uint32_t n_workers[CGN_WORKERS_MAX]; // by place in node[]
	uint8_t at[CGN_WORKERS_MAX]; // by worker: place in node[]
};

// From the node of each worker's lcore. -1 (not known) is a node like any other.
static inline struct numa numa_of(const int *node_of_worker, uint32_t n_workers)
{
	struct numa numa = {0};

	for (uint32_t w = 0; w < n_workers; w++) {
		uint32_t i = 0;

		while (i < numa.n && numa.node[i] != node_of_worker[w])
			i++;
		if (i == numa.n)
			numa.node[numa.n++] = node_of_worker[w];
		numa.n_workers[i]++;
		numa.at[w] = (uint8_t)i;
	}
	return numa;
}

// Does memory of the one cost the other a way over the link between nodes? Not when one is unknown,
// as of devices that are software.
static inline bool numa_far(int a, int b)
{
	return a >= 0 && b >= 0 && a != b;
}
