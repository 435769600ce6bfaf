// SPDX-License-Identifier: BSD-3-Clause
#include "scaling.h"
#include <pthread.h>
#include <stdbool.h>
#include <rte_cycles.h>
#include "slice.h"

static pthread_barrier_t barrier;
static bool is_over; // worker 0: w, between two barriers

void scaling_init(uint32_t n_workers)
{
	pthread_barrier_init(&barrier, NULL, n_workers);
}

void scaling_run(struct load *l, uint32_t id, struct scaling_result *r)
{
	const uint64_t begin = rte_rdtsc();

	for (is_over = false; !is_over && r->n < SCALING_TURNS; r->n++) {
		for (uint32_t i = 0; i < opt.workers; i++) {
			pthread_barrier_wait(&barrier); // whoever comes early sleeps
			if (i == id)
				r->alone[r->n] = slice_clocks(l, &r->discarded);
		}
		pthread_barrier_wait(&barrier);
		r->together[r->n] = slice_clocks(l, &r->discarded);
		pthread_barrier_wait(&barrier);
		if (!id)
			is_over = (double)(rte_rdtsc() - begin) >=
				opt.seconds * (double)rte_get_tsc_hz();
		pthread_barrier_wait(&barrier);
	}
	r->handoffs = l->worker->counters.handoffs;
}

double scaling_factor(const struct scaling_result *const *r, uint32_t n_workers, uint32_t *n)
{
	static double factor[SCALING_TURNS];

	*n = 0;
	for (uint32_t turn = 0; turn < r[0]->n; turn++) {
		double alone = 0, together = 0;
		bool all = true;

		for (uint32_t i = 0; i < n_workers; i++) {
			const double a = r[i]->alone[turn], b = r[i]->together[turn];

			all = all && a > 0 && b > 0;
			alone += all ? 1 / a : 0;
			together += all ? 1 / b : 0;
		}
		if (all)
			factor[(*n)++] = together / (alone / n_workers);
	}
	return slice_median(factor, *n);
}
