// SPDX-License-Identifier: BSD-3-Clause
#include "slice.h"
#include <stdlib.h>
#include <rte_cycles.h>
#include "own.h"

double slice_clocks(struct load *l, uint64_t *discarded)
{
	const uint64_t begin = rte_rdtsc(), wall = (uint64_t)(SLICE_S * (double)rte_get_tsc_hz());
	uint64_t tsc = 0, n = 0;

	while (rte_rdtsc() - begin < wall) {
		const uint64_t switches = own_switches();
		const uint32_t made = load_prepare(l);
		const uint64_t took = load_run(l);

		if (own_switches() == switches) {
			n += made;
			tsc += took;
		} else {
			(*discarded)++;
		}
		load_verify(l);
	}
	return n ? (double)tsc / (double)n : 0;
}

static int by_value(const void *a, const void *b)
{
	const double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double slice_median(double *v, uint32_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return n ? v[n / 2] : 0;
}
