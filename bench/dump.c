// SPDX-License-Identifier: BSD-3-Clause
#include "dump.h"
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <rte_cycles.h>
#include "control/commands.h"
#include "dataplane/dataplane.h"
#include "pace.h"
#include "slice.h"

#define PAIRS_MAX 4000
#define WAIT_NS 1000000 // for the worker, as the daemon's server does
#define WHOLE_S_MAX 300 // for a list from beginning to end

// ---- control: the thread that lists

static struct {
	pthread_t thread;
	struct cgn_dataplane *dp;
	struct control control;
	struct dump_result *result; // this thread's, until it has ended
	int null_fd;
	atomic_bool wanted, stop; // the worker's lcore: w
	atomic_bool active; // this thread: w
	atomic_uint n_whole;
} lister;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void nap(void)
{
	nanosleep(&(struct timespec){0, WAIT_NS}, NULL);
}

// Each record is an object, and each line is one around them.
static uint64_t records_of(const struct buffer *b)
{
	const char *text = b->data + b->start;
	const size_t n = buffer_size(b);
	uint64_t begun = 0, lines = 0;

	for (size_t i = 0; i < n; i++) {
		begun += text[i] == '{';
		lines += text[i] == '\n';
	}
	return begun - lines;
}

static void write_out(struct buffer *out, struct dump_result *r)
{
	const size_t n = buffer_size(out);

	if (out->failed || (n && write(lister.null_fd, out->data + out->start, n) != (ssize_t)n))
		fail("the list cannot be written");
	r->bytes += n;
	r->records += records_of(out);
	buffer_consume(out, n);
}

static void *list(void *arg)
{
	static const char line[] = "{\"id\":1,\"command\":\"show sessions\"}";
	struct dump_result *r = lister.result;
	struct request *request = NULL;
	struct buffer out = {0};
	uint64_t begun_records = 0;
	double begun_s = 0;

	while (!atomic_load(&lister.stop)) {
		const uint64_t begin = now_ns();
		enum request_progress progress;

		if (!atomic_load(&lister.wanted)) {
			atomic_store(&lister.active, false);
			nap();
			continue;
		}
		atomic_store(&lister.active, true);
		if (!request) {
			request = request_create(&lister.control, line, sizeof(line) - 1);
			begun_records = r->records;
			begun_s = r->seconds;
			if (!request)
				fail("out of memory");
		}
		progress = request_step(request, &out, begin);
		write_out(&out, r);
		if (progress == REQUEST_WAIT)
			nap();
		r->seconds += (double)(now_ns() - begin) / 1e9;
		if (progress != REQUEST_DONE)
			continue;
		request_destroy(request);
		request = NULL;
		if (!r->n_whole++) {
			r->whole_records = r->records - begun_records;
			r->whole_seconds = r->seconds - begun_s;
		}
		atomic_store(&lister.n_whole, (unsigned)r->n_whole);
	}
	if (request)
		request_destroy(request);
	buffer_fini(&out);
	return NULL;
}

void dump_begin(struct setup *s, struct dump_result *r)
{
	struct worker *worker = s->load[0].worker;

	lister.dp = dataplane_around(&s->config, &worker, 1);
	lister.null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	if (!lister.dp || lister.null_fd < 0)
		fail("out of memory");
	lister.control = (struct control){
		.config = &s->config, .dp = lister.dp, .generation = 1, .started_ns = now_ns()};
	lister.result = r;
	if (pthread_create(&lister.thread, NULL, list, NULL))
		fail("no thread for the list");
}

void dump_end(void)
{
	dataplane_around_free(lister.dp);
	close(lister.null_fd);
}

// ---- the worker's lcore

// Packets go on until the other thread has heard.
static void want(struct load *l, bool wanted)
{
	atomic_store(&lister.wanted, wanted);
	while (atomic_load(&lister.active) != wanted)
		load_round(l);
}

static uint64_t tsc_of(double seconds)
{
	return (uint64_t)(seconds * (double)rte_get_tsc_hz());
}

struct slice {
	double p50, p99; // 0: it was never undisturbed
	uint64_t arrived, lost;
};

static double quantile(const uint32_t *histogram, uint64_t n, double share)
{
	uint64_t seen = 0;

	for (uint32_t i = 0; i < LATENCY_NS_MAX; i++) {
		seen += histogram[i];
		if ((double)seen >= share * (double)n)
			return i;
	}
	return LATENCY_NS_MAX;
}

static struct slice latency_slice(struct load *l, struct dump_result *r)
{
	const uint64_t begin = rte_rdtsc(), wall = tsc_of(SLICE_S);
	struct pace *p = malloc(sizeof(*p));
	struct slice s = {0};
	uint64_t n = 0;

	if (!p || !pace_begin(p, l, r->offered_mpps, 0))
		fail("out of memory");
	pace_round(p, true);
	while (rte_rdtsc() - begin < wall && pace_round(p, false))
		;
	for (uint32_t i = 0; i < LATENCY_NS_MAX; i++)
		n += p->histogram[i];
	s.arrived = p->sum[0].arrived;
	s.lost = p->sum[0].lost;
	if (n) {
		s.p50 = quantile(p->histogram, n, 0.5);
		s.p99 = quantile(p->histogram, n, 0.99);
	}
	r->n_discarded += p->n_discarded;
	pace_end(p);
	free(p);
	return s;
}

static double median_ratio(const double *without, const double *with, uint32_t n)
{
	static double ratio[PAIRS_MAX];

	for (uint32_t i = 0; i < n; i++)
		ratio[i] = with[i] / without[i];
	return slice_median(ratio, n);
}

static bool is_over(uint64_t begin, uint64_t wall, uint32_t n)
{
	return n == PAIRS_MAX || rte_rdtsc() - begin >= wall;
}

static void rates(struct load *l, struct dump_result *r, uint64_t wall)
{
	static double cycles[2][PAIRS_MAX];
	const uint64_t begin = rte_rdtsc();

	for (uint32_t i = 0; !is_over(begin, wall, r->n_rate); i++) {
		double c[2];

		for (unsigned half = 0; half < 2; half++) {
			const unsigned with = half ^ (i & 1);

			want(l, with);
			c[with] = slice_clocks(l, &r->n_discarded);
		}
		for (unsigned with = 0; with < 2; with++)
			cycles[with][r->n_rate] = c[with];
		r->n_rate += c[0] > 0 && c[1] > 0;
	}
	r->cycles_ratio = median_ratio(cycles[0], cycles[1], r->n_rate);
	for (unsigned with = 0; with < 2; with++)
		r->cycles[with] = slice_median(cycles[with], r->n_rate);
}

static void latencies(struct load *l, struct dump_result *r, uint64_t wall)
{
	static double p50[2][PAIRS_MAX], p99[2][PAIRS_MAX];
	const uint64_t begin = rte_rdtsc();

	for (uint32_t i = 0; !is_over(begin, wall, r->n_latency); i++) {
		struct slice s[2];

		for (unsigned half = 0; half < 2; half++) {
			const unsigned with = half ^ (i & 1);

			want(l, with);
			s[with] = latency_slice(l, r);
			r->arrived[with] += s[with].arrived;
			r->lost[with] += s[with].lost;
		}
		for (unsigned with = 0; with < 2; with++) {
			p50[with][r->n_latency] = s[with].p50;
			p99[with][r->n_latency] = s[with].p99;
		}
		r->n_latency += s[0].p50 > 0 && s[1].p50 > 0;
	}
	r->p50_ratio = median_ratio(p50[0], p50[1], r->n_latency);
	r->p99_ratio = median_ratio(p99[0], p99[1], r->n_latency);
	for (unsigned with = 0; with < 2; with++) {
		r->latency[with] = (struct dump_latency){slice_median(p50[with], r->n_latency),
			slice_median(p99[with], r->n_latency)};
	}
}

void dump_run(struct load *l, double cycles, struct dump_result *r)
{
	const uint64_t wall = tsc_of(opt.seconds / 2);
	uint64_t begin;

	r->offered_mpps = opt.load_mpps > 0
		? opt.load_mpps
		: opt.load_percent / 100 * (double)rte_get_tsc_hz() / cycles / 1e6;
	rates(l, r, wall);
	latencies(l, r, wall);
	want(l, true);
	begin = rte_rdtsc();
	while (!atomic_load(&lister.n_whole) && rte_rdtsc() - begin < tsc_of(WHOLE_S_MAX))
		load_round(l);
	atomic_store(&lister.stop, true);
	pthread_join(lister.thread, NULL);
	load_round(l); // lets go of a walk that is cut off
}
