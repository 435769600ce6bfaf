// SPDX-License-Identifier: BSD-3-Clause
#include "report.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <rte_cycles.h>
#include "options.h"
#include "slice.h"

static const char *const stage_names[STAGE_COUNT] = {
#define X(name, text) text,
	CGN_STAGES_LIST(X)
#undef X
};

static const char *const mode_names[] = {
	"steady", "new", "bypass", "expire", "expire-all", "dump", "full", "scaling", "handoff"};

static void add_count(struct pace_count *sum, const struct pace_count *c)
{
	sum->arrived += c->arrived;
	sum->lost += c->lost;
	sum->returned += c->returned;
}

// All workers together: means of what is per packet, sums of what is counted, the worst latency.
static struct result sum_of(const struct measure *m)
{
	struct result s = m[0].result;

	for (uint32_t i = 1; i < opt.workers; i++) {
		const struct result *r = &m[i].result;

		s.cycles_per_packet += r->cycles_per_packet;
		s.best_round = r->best_round < s.best_round ? r->best_round : s.best_round;
		s.overhead += r->overhead;
		s.n_disturbed += r->n_disturbed;
		s.own = s.own && r->own;
		s.switches += r->switches;
		s.steal_ms += r->steal_ms;
		s.packets += r->packets;
		s.all_packets += r->all_packets;
		s.new_per_second += r->new_per_second;
		s.expired += r->expired;
		s.blocks_lent += r->blocks_lent;
		s.expired_per_second += r->expired_per_second;
		s.instructions += r->instructions;
		s.cache_misses += r->cache_misses;
		for (unsigned j = 0; j < STAGE_COUNT; j++)
			s.stage[j] += r->stage[j];
		s.offered_mpps += r->offered_mpps;
		for (unsigned j = 0; j < 3; j++)
			s.latency_ns[j] = r->latency_ns[j] > s.latency_ns[j] ? r->latency_ns[j]
									     : s.latency_ns[j];
		s.latency_ns_max =
			r->latency_ns_max > s.latency_ns_max ? r->latency_ns_max : s.latency_ns_max;
		s.latency_packets += r->latency_packets;
		s.latency_discarded += r->latency_discarded;
		add_count(&s.established, &r->established);
		add_count(&s.fresh, &r->fresh);
		s.fresh_mpps += r->fresh_mpps;
		s.paced_s += r->paced_s;
		s.latency_own = s.latency_own && r->latency_own;
		s.drops += r->drops;
		s.wrong += r->wrong;
		s.missing += r->missing;
	}
	s.cycles_per_packet /= opt.workers;
	s.overhead /= opt.workers;
	s.instructions /= opt.workers;
	s.cache_misses /= opt.workers;
	s.offered_mpps /= opt.workers;
	s.fresh_mpps /= opt.workers;
	for (unsigned j = 0; j < STAGE_COUNT; j++)
		s.stage[j] /= opt.workers;
	return s;
}

// Of --handoff: worker 0 has measured on one core, both on two.
struct cross_mean {
	double cost, both_foreign, both_own;
};

static struct cross_mean cross_mean(const struct measure *m)
{
	const struct cross_result *a = &m[0].result.cross, *b = &m[1].result.cross;

	return (struct cross_mean){a->sender + a->receiver - a->alone,
		(a->both_foreign + b->both_foreign) / 2, (a->both_own + b->both_own) / 2};
}

// Of --scaling: medians over all turns and workers.
struct scaling_sum {
	double factor, alone, together;
	uint64_t handoffs, discarded;
	uint32_t n;
};

static struct scaling_sum scaling_sum(const struct measure *m)
{
	static double alone[CGN_WORKERS_MAX * SCALING_TURNS],
		together[CGN_WORKERS_MAX * SCALING_TURNS];
	const struct scaling_result *r[CGN_WORKERS_MAX];
	struct scaling_sum s = {0};
	uint32_t n = 0;

	for (uint32_t i = 0; i < opt.workers; i++) {
		r[i] = &m[i].result.scaling;
		for (uint32_t turn = 0; turn < r[i]->n; turn++) {
			if (r[i]->alone[turn] > 0 && r[i]->together[turn] > 0) { // undisturbed
				alone[n] = r[i]->alone[turn];
				together[n++] = r[i]->together[turn];
			}
		}
		s.handoffs += r[i]->handoffs;
		s.discarded += r[i]->discarded;
	}
	s.alone = slice_median(alone, n);
	s.together = slice_median(together, n);
	s.factor = scaling_factor(r, opt.workers, &s.n);
	return s;
}

// ---- JSON

static json_t *handoff_json(const struct measure *m)
{
	const struct cross_result *r = &m[0].result.cross;
	const struct cross_mean mean = cross_mean(m);

	return json_pack("{s:{s:f, s:f, s:f, s:f}, s:{s:f, s:f, s:f}, s:I, s:I}", "one_core",
		"sender", r->sender, "receiver", r->receiver, "alone", r->alone, "cost", mean.cost,
		"two_cores", "foreign", mean.both_foreign, "own", mean.both_own, "cost",
		mean.both_foreign - mean.both_own, "rounds", (json_int_t)r->n_rounds,
		"rounds_discarded", (json_int_t)r->n_discarded);
}

// NULL: not a number, as nothing was measured.
static void set(json_t *j, const char *key, json_t *value)
{
	json_object_set_new(j, key, value ? value : json_null());
}

static void set_n(json_t *j, const char *key, uint64_t n)
{
	set(j, key, json_integer((json_int_t)n));
}

static void set_real(json_t *j, const char *key, double n)
{
	set(j, key, json_real(n));
}

static json_t *latency_json(const struct result *s)
{
	json_t *j = json_object();

	set_n(j, "p50", s->latency_ns[0]);
	set_n(j, "p99", s->latency_ns[1]);
	set_n(j, "p999", s->latency_ns[2]);
	set_real(j, "offered_mpps_per_worker", s->offered_mpps);
	set_n(j, "packets", s->latency_packets);
	set_n(j, "max", s->latency_ns_max);
	set_n(j, "missed", s->established.lost);
	set_n(j, "rounds_discarded", s->latency_discarded);
	set(j, "own", json_boolean(s->latency_own));
	return j;
}

// Millions per second and worker.
static json_t *rates_json(const struct pace_count *c, double s)
{
	return json_pack("{s:f, s:f, s:f}", "arrived", (double)c->arrived / s / 1e6, "forwarded",
		(double)c->returned / s / 1e6, "lost", (double)c->lost / s / 1e6);
}

static json_t *flood_json(const struct result *s)
{
	const double t = s->paced_s > 0 ? s->paced_s : 1;
	json_t *j = json_object();

	set_real(j, "percent", opt.flood_percent);
	set_real(j, "offered_mpps_per_worker", s->fresh_mpps);
	set(j, "established", rates_json(&s->established, t));
	set(j, "new", rates_json(&s->fresh, t));
	set_real(j, "seconds", t);
	return j;
}

static json_t *quantiles_json(const struct turns_quantiles *q)
{
	return json_pack("{s:I, s:I, s:I, s:I}", "p50", (json_int_t)q->p50, "p99",
		(json_int_t)q->p99, "p999", (json_int_t)q->p999, "max", (json_int_t)q->max);
}

static json_t *turns_json(const struct turns_result *t)
{
	return json_pack("{s:I, s:I, s:i, s:b, s:b, s:o, s:o, s:o}", "n", (json_int_t)t->n,
		"looked_max", (json_int_t)t->looked_max, "runs", TURNS_RUNS, "own", t->own, "same",
		t->same, "turn_ns", quantiles_json(&t->turn), "control_ns",
		quantiles_json(&t->control), "least_ns", quantiles_json(&t->least));
}

static json_t *dump_half_json(const struct dump_result *r, unsigned with)
{
	return json_pack("{s:f, s:f, s:f, s:I, s:I}", "cycles_per_packet", r->cycles[with],
		"p50_ns", r->latency[with].p50, "p99_ns", r->latency[with].p99, "arrived",
		(json_int_t)r->arrived[with], "lost", (json_int_t)r->lost[with]);
}

static json_t *dump_json(const struct dump_result *r)
{
	json_t *j = json_pack("{s:o, s:o, s:{s:f, s:f, s:f}, s:[I, I]}", "without",
		dump_half_json(r, 0), "with", dump_half_json(r, 1), "ratio", "cycles",
		r->cycles_ratio, "p50", r->p50_ratio, "p99", r->p99_ratio, "pairs",
		(json_int_t)r->n_rate, (json_int_t)r->n_latency);

	set_real(j, "offered_mpps", r->offered_mpps);
	set_n(j, "records", r->records);
	set_n(j, "bytes", r->bytes);
	set_real(j, "seconds", r->seconds);
	set_n(j, "whole_lists", r->n_whole);
	set_n(j, "whole_records", r->whole_records);
	set_real(j, "whole_seconds", r->whole_seconds);
	set_n(j, "rounds_discarded", r->n_discarded);
	return j;
}

static json_t *full_json(const struct full_result *r)
{
	json_t *steps = json_array();

	for (unsigned i = 0; i < FULL_STEPS; i++) {
		json_array_append_new(steps,
			json_pack("{s:s, s:I, s:I, s:f}", "ports_taken", full_names[i], "asked",
				(json_int_t)r->step[i].asked, "refused",
				(json_int_t)r->step[i].refused, "cycles", r->step[i].cycles));
	}
	return json_pack("{s:o, s:I}", "steps", steps, "refused_with_a_free_port",
		(json_int_t)r->refused_early);
}

static json_t *scaling_json(const struct measure *m)
{
	const struct scaling_sum s = scaling_sum(m);

	return json_pack("{s:f, s:f, s:f, s:I, s:i, s:I}", "factor", s.factor, "alone_cycles",
		s.alone, "together_cycles", s.together, "handoffs", (json_int_t)s.handoffs, "turns",
		(int)s.n, "rounds_discarded", (json_int_t)s.discarded);
}

static json_t *windows_json(const struct measure *m, const struct result *s)
{
	json_t *j = json_object(), *list = json_array();

	for (uint32_t i = 0; i < m->result.n_windows; i++)
		json_array_append_new(list, json_real(m->result.cycles[i]));
	set(j, "cycles", list);
	set_n(j, "disturbed", s->n_disturbed);
	set(j, "own", json_boolean(s->own));
	set_n(j, "context_switches", s->switches);
	set_n(j, "steal_ms", s->steal_ms);
	return j;
}

static void report_json(
	const struct measure *m, const struct result *s, uint64_t mappings, double bytes)
{
	const double hz = (double)rte_get_tsc_hz();
	const double mpps = opt.mode == MODE_NEW || opt.mode == MODE_EXPIRE_ALL
		? 0
		: hz / s->cycles_per_packet / 1e6;
	json_t *j = json_object();

	set(j, "mode", json_string(mode_names[opt.mode]));
	set(j, "direction", json_string(direction_names[opt.direction]));
	set(j, "order", json_string(order_names[opt.order]));
	set(j, "protocol", json_string(opt.tcp ? "tcp" : "udp"));
	set_n(j, "mappings", mappings);
	set_n(j, "subscribers", opt.subscribers);
	set_n(j, "policies", opt.policies);
	set_n(j, "bypass_prefixes", opt.bypass_prefixes);
	set_n(j, "packet_size", opt.packet_size ? opt.packet_size : 354); // mean of IMIX: 353.8
	set(j, "imix", json_boolean(!opt.packet_size));
	set_n(j, "workers", opt.workers);
	set_n(j, "burst", opt.burst);
	set_n(j, "ahead", opt.ahead);
	set(j, "cold", json_boolean(opt.cold));
	set(j, "hugepages", json_boolean(opt.hugepages));
	set_real(j, "mpps", mpps * opt.workers);
	set_real(j, "mpps_per_worker", mpps);
	set_real(j, "cycles_per_packet", s->cycles_per_packet);
	set_real(j, "cycles_best_round", s->best_round < 1e9 ? s->best_round : 0);
	set_real(j, "cycles_of_bench", s->overhead);
	set_n(j, "packets", s->all_packets);
	set_n(j, "tsc_hz", (uint64_t)hz);
	set_real(j, "new_mappings_per_second", s->new_per_second);
	set_n(j, "blocks_lent", s->blocks_lent);
	set_n(j, "expired", s->expired);
	set_real(j, "expired_per_second", s->expired_per_second);
	if (opt.mode == MODE_EXPIRE_ALL)
		set(j, "turns", turns_json(&m[0].result.turns));
	set_real(j, "bytes_per_mapping", bytes);
	set_n(j, "drops", s->drops);
	set_n(j, "wrong", s->wrong);
	set_n(j, "missing", s->missing);
	set(j, "latency_ns", latency_json(s));
	if (opt.flood_percent >= 0)
		set(j, "flood", flood_json(s));
	if (opt.mode == MODE_DUMP)
		set(j, "dump", dump_json(&m[0].result.dump));
	if (opt.mode == MODE_FULL)
		set(j, "full", full_json(&m[0].result.full));
	if (opt.mode == MODE_SCALING)
		set(j, "scaling", scaling_json(m));
	if (opt.mode == MODE_HANDOFF)
		set(j, "handoff", handoff_json(m));
	set(j, "windows", windows_json(m, s));
	set(j, "instructions_per_packet",
		s->instructions < 0 ? json_null() : json_real(s->instructions));
	set(j, "cache_misses_per_packet",
		s->cache_misses < 0 ? json_null() : json_real(s->cache_misses));
	if (opt.stages) {
		json_t *stages = json_object();

		for (unsigned i = STAGE_OUTSIDE + 1; i < STAGE_COUNT; i++)
			set_real(stages, stage_names[i], s->stage[i]);
		set(j, "stages", stages);
	}
	json_dumpf(j, stdout, JSON_INDENT(2));
	printf("\n");
	json_decref(j);
}

// ---- text

static void head(uint64_t mappings)
{
	char size[16] = "IMIX";

	if (opt.packet_size)
		snprintf(size, sizeof(size), "%u-byte", opt.packet_size);
	printf("%s, %s order, %" PRIu64 " mappings of %u subscribers, %s %s packets, bursts of %u, "
	       "%u worker%s, %s\n",
		opt.mode == MODE_STEADY ? direction_names[opt.direction] : mode_names[opt.mode],
		opt.mode == MODE_NEW ? "random" : order_names[opt.order], mappings, opt.subscribers,
		size, opt.tcp ? "TCP" : "UDP", opt.burst, opt.workers, opt.workers > 1 ? "s" : "",
		opt.hugepages ? "hugepages" : "no hugepages");
}

static void text_windows(const struct result *s, const struct result *first)
{
	if (first->n_windows) {
		printf("  windows: %u, %.1f .. %.1f, best round %.1f; of these %.1f are the bench's own\n",
			first->n_windows, first->cycles[0], first->cycles[first->n_windows - 1],
			s->best_round, s->overhead);
	}
	if (s->n_disturbed || !s->own) {
		printf("  the core was %s: %u windows disturbed%s, %" PRIu64
		       " context switches, %" PRIu64 " ms stolen\n",
			s->own ? "not always ours" : "NOT OURS, do not believe these figures",
			s->n_disturbed, s->own ? " and measured again" : "", s->switches,
			s->steal_ms);
	}
}

static void text_steady(const struct result *s, const struct result *first)
{
	const double hz = (double)rte_get_tsc_hz();

	printf("  %.1f clocks per packet, %.2f Mpps per worker at %.2f GHz\n", s->cycles_per_packet,
		hz / s->cycles_per_packet / 1e6, hz / 1e9);
	text_windows(s, first);
	if (s->instructions < 0)
		printf("  instructions and cache misses: not available on this machine\n");
	else
		printf("  %.1f instructions, %.2f cache misses per packet\n", s->instructions,
			s->cache_misses < 0 ? 0 : s->cache_misses);
	if (opt.mode == MODE_EXPIRE)
		printf("  %" PRIu64 " mappings ran out, %.2f M per second\n", s->expired,
			s->expired_per_second / 1e6);
	if (s->offered_mpps > 0) {
		printf("  latency at %.2f Mpps per worker: p50 %" PRIu64 " ns, p99 %" PRIu64
		       " ns, p99.9 %" PRIu64 " ns, longest %" PRIu64 " ns%s\n",
			s->offered_mpps, s->latency_ns[0], s->latency_ns[1], s->latency_ns[2],
			s->latency_ns_max,
			s->latency_own ? "" : " (the core was not ours meanwhile)");
		if (s->established.lost)
			printf("  of %" PRIu64 " packets %" PRIu64
			       " found the card's queue of %u full\n",
				s->established.arrived, s->established.lost, PACE_QUEUE);
	}
	if (opt.flood_percent > 0 && s->paced_s > 0) {
		const struct pace_count *c = &s->fresh;

		printf("  new flows meanwhile, of %.2f M/s: %.2f M/s opened, %.2f M/s lost with a full queue\n",
			s->fresh_mpps, (double)c->returned / s->paced_s / 1e6,
			(double)c->lost / s->paced_s / 1e6);
	}
}

static void text_stages(const struct result *s)
{
	double sum = 0;

	printf("  clocks per packet by stage:\n");
	for (unsigned i = STAGE_OUTSIDE + 1; i < STAGE_COUNT; i++) {
		if (s->stage[i] >= 0.05)
			printf("    %-20s %7.1f\n", stage_names[i], s->stage[i]);
		sum += s->stage[i];
	}
	printf("    %-20s %7.1f\n", "all", sum);
}

static void text_quantiles(const char *what, const struct turns_quantiles *q)
{
	printf("    %-42s %9.1f %9.1f %9.1f %9.1f\n", what, (double)q->p50 / 1e3,
		(double)q->p99 / 1e3, (double)q->p999 / 1e3, (double)q->max / 1e3);
}

static void text_turns(const struct turns_result *t)
{
	printf("  %" PRIu64
	       " turns, which looked at %u sessions, ports and blocks at most, %u times%s%s\n",
		t->n, t->looked_max, TURNS_RUNS, t->same ? "" : " (NOT THE SAME TURNS)",
		t->own ? "" : " (time was stolen meanwhile)");
	printf("    %-42s %9s %9s %9s %9s\n", "us", "p50", "p99", "p99.9", "longest");
	text_quantiles("a turn", &t->turn);
	text_quantiles("as much pure computation after each", &t->control);
	text_quantiles("of each turn the shortest time", &t->least);
}

static void text_dump(const struct dump_result *r)
{
	printf("  a list of %" PRIu64 " sessions took %.1f s, %.0f a second, %.0f bytes each\n",
		r->whole_records, r->whole_seconds, (double)r->records / r->seconds,
		(double)r->bytes / (double)r->records);
	printf("    %-34s %9s %9s %9s\n", "", "without", "with", "ratio");
	printf("    %-34s %9.1f %9.1f %9.3f\n", "clocks per packet at full load", r->cycles[0],
		r->cycles[1], r->cycles_ratio);
	printf("    latency p50 at %5.2f Mpps, ns       %9.0f %9.0f %9.3f\n", r->offered_mpps,
		r->latency[0].p50, r->latency[1].p50, r->p50_ratio);
	printf("    %-34s %9.0f %9.0f %9.3f\n", "latency p99", r->latency[0].p99, r->latency[1].p99,
		r->p99_ratio);
	printf("    %-34s %9.4f %9.4f\n", "lost, per cent",
		r->arrived[0] ? 100.0 * (double)r->lost[0] / (double)r->arrived[0] : 0,
		r->arrived[1] ? 100.0 * (double)r->lost[1] / (double)r->arrived[1] : 0);
	printf("  medians of %u and %u pairs of slices; %" PRIu64
	       " rounds disturbed and left out\n",
		r->n_rate, r->n_latency, r->n_discarded);
}

static void text_full(const struct full_result *r)
{
	printf("  %" PRIu64 " new flows refused while their subscriber had a free port\n",
		r->refused_early);
	printf("    %-20s %12s %12s %14s\n", "ports taken", "new flows", "refused", "clocks each");
	for (unsigned i = 0; i < FULL_STEPS; i++) {
		printf("    %-20s %12" PRIu64 " %12" PRIu64 " %14.0f\n", full_names[i],
			r->step[i].asked, r->step[i].refused, r->step[i].cycles);
	}
}

static void text_scaling(const struct measure *m)
{
	const struct scaling_sum s = scaling_sum(m);

	printf("  %u workers do %.2f times as much as one, %" PRIu64 " hand-offs\n", opt.workers,
		s.factor, s.handoffs);
	printf("  clocks per packet: one alone %.1f, each of all together %.1f; medians of %u turns, %" PRIu64
	       " rounds disturbed and left out\n",
		s.alone, s.together, s.n, s.discarded);
}

static void text_handoff(const struct measure *m)
{
	const struct cross_result *r = &m[0].result.cross;
	const struct cross_mean mean = cross_mean(m);

	printf("  one core, workers in turn: receive and hand on %.1f, take over and translate %.1f clocks per "
	       "packet;\n    without hand-off %.1f: it costs %.1f\n",
		r->sender, r->receiver, r->alone, mean.cost);
	printf("  two cores, all packets change over %.1f, none does %.1f: it costs %.1f\n",
		mean.both_foreign, mean.both_own, mean.both_foreign - mean.both_own);
	printf("  medians of %u rounds, %u discarded\n", r->n_rounds, r->n_discarded);
}

static void report_text(
	const struct measure *m, const struct result *s, uint64_t mappings, double bytes)
{
	head(mappings);
	if (opt.mode == MODE_NEW) {
		printf("  %.2f M new mappings/s, %.0f clocks each; %" PRIu64 " blocks lent\n",
			s->new_per_second / 1e6, s->cycles_per_packet, s->blocks_lent);
		text_windows(s, &m[0].result);
	} else if (opt.mode == MODE_EXPIRE_ALL) {
		printf("  %" PRIu64 " mappings ran out, %.2f M per second, %.0f clocks each\n",
			s->expired, s->expired_per_second / 1e6, s->cycles_per_packet);
		text_turns(&m[0].result.turns);
	} else if (opt.mode == MODE_FULL) {
		text_full(&m[0].result.full);
	} else if (opt.mode == MODE_SCALING) {
		text_scaling(m);
	} else if (opt.mode == MODE_HANDOFF) {
		text_handoff(m);
	} else {
		text_steady(s, &m[0].result);
	}
	if (opt.mode == MODE_DUMP)
		text_dump(&m[0].result.dump);
	if (opt.stages)
		text_stages(s);
	printf("  %.0f bytes of tables per mapping; drops %" PRIu64 "\n", bytes, s->drops);
}

void report(const struct setup *s, const struct measure *m)
{
	const struct result sum = sum_of(m);
	uint64_t mappings = 0;
	double bytes;

	for (uint32_t i = 0; i < opt.workers; i++)
		mappings += s->load[i].n;
	bytes = (double)cgn_dataplane_table_bytes(&s->config) / (double)mappings;
	if (opt.json)
		report_json(m, &sum, mappings, bytes);
	else
		report_text(m, &sum, mappings, bytes);
}
