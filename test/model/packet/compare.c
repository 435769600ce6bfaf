// SPDX-License-Identifier: BSD-3-Clause
#include "compare.h"
#include <stdio.h>
#include <stdlib.h>
#include "../../packet/bed.h"
#include "packet.h"
#include "walk.h"

static struct cgn_counters last; // as counted at the last comparison

static uint64_t begun_s; // when static mappings began

// ---- frames

static void print_frame(FILE *out, const char *what, unsigned ifc, const uint8_t *b, unsigned len)
{
	fprintf(out, "%s %s, %u bytes:", what, ifc == INSIDE ? "inside" : "outside", len);
	for (unsigned i = 0; i < len && i < 160; i++)
		fprintf(out, "%s%02x", i % 4 == 2 ? " " : "", b[i]);
	fprintf(out, "%s\n", len > 160 ? " ..." : "");
}

static void add_arp(const struct cgn_counters *got);
static void count_gauges(struct cgn_counters *c);
static void leave_out(struct cgn_counters *want, const struct cgn_counters *got);
static void differences(FILE *out, const struct cgn_counters *got, const struct cgn_counters *want);

static void wrong_frame(const struct frame *got, unsigned ifc)
{
	const struct cgn_counters now = bed_sum();
	char *text = NULL;
	size_t n = 0;
	FILE *out = open_memstream(&text, &n);

	if (got)
		print_frame(out, "got", ifc, got->b, got->len);
	else
		fprintf(out, "no frame came out\n");
	for (const struct output *o = outputs; o; o = o->next)
		print_frame(out, "expected", o->ifc, o->b, o->len);
	if (!outputs)
		fprintf(out, "expected none\n");
	add_arp(&now);
	count_gauges(&world.count);
	leave_out(&world.count, &now);
	differences(out, &now, &world.count);
	fclose(out);
	wrong("another frame came out:\n%s", text);
}

static bool is_same(const struct output *o, const struct frame *f)
{
	return o->len == f->len && !memcmp(o->b, f->b, f->len);
}

void compare_outputs(void)
{
	struct frame f;

	for (unsigned ifc = 0; ifc < BED_INTERFACES; ifc++) {
		while (bed_take(ifc, &f)) {
			struct output **at = &outputs;

			while (*at && !((*at)->ifc == ifc && is_same(*at, &f)))
				at = &(*at)->next;
			if (!*at)
				wrong_frame(&f, ifc);
			struct output *o = *at;
			*at = o->next;
			free(o);
		}
	}
	if (outputs)
		wrong_frame(NULL, 0);
}

// ---- counters

void compare_begin(void)
{
	last = bed_sum();
	begun_s = now_s();
	world.count.rx_packets = last.rx_packets;
	world.count.tx_packets = last.tx_packets;
	world.count.originated = last.originated;
	world.count.consumed = last.consumed;
	world.count.arp_requests_sent = last.arp_requests_sent;
}

// The bed answers what we ask by ARP; when we ask is not modelled.
static void add_arp(const struct cgn_counters *got)
{
	const uint64_t n = got->arp_requests_sent - last.arp_requests_sent;

	world.count.arp_requests_sent += n;
	world.count.originated += n;
	world.count.tx_packets += n;
	world.count.rx_packets += n;
	world.count.consumed += n;
}

static void count_gauges(struct cgn_counters *c)
{
	const uint64_t *total = NULL;

	(void)total;
	c->held = c->fragments_held = fragments_held();
	c->fragmented_datagrams = fragmented_datagrams();
	c->sessions = c->static_sessions = 0;
	for (unsigned w = 0; w < world.n_workers; w++) {
		c->static_sessions += world.worker[w].n_static_sessions;
		c->sessions += world.worker[w].n_sessions + world.worker[w].n_static_sessions;
	}
	c->mappings = c->subscribers = c->blocks = c->blocks_held = c->ports_resting = 0;
	for (uint32_t i = 0; i < world.config->n_pools; i++)
		c->pools[i].ports_used = c->pools[i].blocks_used = c->pools[i].blocks_held =
			c->pools[i].presets_used = c->pools[i].presets_held = 0;
	for (const struct mapping *m = world.mappings; m; m = m->next) {
		c->mappings += m->subscriber != NULL;
		if (m->subscriber)
			c->pools[m->block->pool].ports_used++;
	}
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		c->pools[b->pool].blocks_used += b->state == BLOCK_LENT;
		c->pools[b->pool].blocks_held += b->state == BLOCK_RESTING;
		c->pools[b->pool].presets_used += b->preset && b->state == BLOCK_LENT;
		c->pools[b->pool].presets_held += b->preset && b->state == BLOCK_RESTING;
	}
	for (uint32_t i = 0; i < world.config->n_pools; i++) {
		c->blocks += c->pools[i].blocks_used;
		c->blocks_held += c->pools[i].blocks_held;
	}
	for (const struct customer *s = world.subscribers; s; s = s->next)
		c->subscribers += blocks_of(s, BLOCK_LENT) > 0;
	for (const struct resting *r = world.resting; r; r = r->next)
		c->ports_resting++;
}

// How many packets changed workers is theirs to decide, and bytes are what the wire saw: the bed
// checks that. Neighbours and load are not modelled.
static void leave_out(struct cgn_counters *want, const struct cgn_counters *got)
{
	want->rx_bytes = got->rx_bytes;
	want->tx_bytes = got->tx_bytes;
	if (world.n_workers > 1) {
		want->handoffs = got->handoffs;
		want->tx_handoffs = got->tx_handoffs;
	}
	want->neighbours = got->neighbours;
	want->busy_permille = got->busy_permille;
	want->asleep_permille = got->asleep_permille;
	if (got->rests_cut_short >= want->rests_cut_short &&
		got->rests_cut_short <= want->rests_cut_short + world.cuts_max)
		want->rests_cut_short = got->rests_cut_short; // see cut_short()
	world.cuts_max = 0;
}

static void note(FILE *out, const char *name, uint64_t got, uint64_t want)
{
	if (got != want)
		fprintf(out, "%s is %lu, expected %lu\n", name, got, want);
}

static void differences(FILE *out, const struct cgn_counters *got, const struct cgn_counters *want)
{
	static const char *const drops[] = {
#define X(id, text) #id,
		CGN_DROPS(X)
#undef X
	};
	char name[64];

#define X(id, text) note(out, #id, got->id, want->id);
	CGN_COUNTERS(X)
	CGN_GAUGES(X)
#undef X
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		note(out, drops[i], got->drops[i], want->drops[i]);
	for (unsigned i = 0; i < BED_INTERFACES; i++) {
		snprintf(name, sizeof(name), "drops of interface %u", i);
		note(out, name, got->interfaces[i].drops, want->interfaces[i].drops);
	}
	for (unsigned i = 0; i < world.config->n_pools; i++) {
		snprintf(name, sizeof(name), "pool %u blocks_total", i);
		note(out, name, got->pools[i].blocks_total, want->pools[i].blocks_total);
		snprintf(name, sizeof(name), "pool %u blocks_used", i);
		note(out, name, got->pools[i].blocks_used, want->pools[i].blocks_used);
		snprintf(name, sizeof(name), "pool %u blocks_held", i);
		note(out, name, got->pools[i].blocks_held, want->pools[i].blocks_held);
		snprintf(name, sizeof(name), "pool %u presets_total", i);
		note(out, name, got->pools[i].presets_total, want->pools[i].presets_total);
		snprintf(name, sizeof(name), "pool %u presets_used", i);
		note(out, name, got->pools[i].presets_used, want->pools[i].presets_used);
		snprintf(name, sizeof(name), "pool %u presets_held", i);
		note(out, name, got->pools[i].presets_held, want->pools[i].presets_held);
		snprintf(name, sizeof(name), "pool %u ports_used", i);
		note(out, name, got->pools[i].ports_used, want->pools[i].ports_used);
	}
}

void compare_counters(void)
{
	const struct cgn_counters got = bed_sum();
	struct cgn_counters same = got;

	add_arp(&got);
	count_gauges(&world.count);
	leave_out(&world.count, &got);
	// the interfaces' other counters are compared with the wire by the bed
	for (unsigned i = 0; i < CGN_INTERFACES_MAX; i++) {
		const uint64_t drops = same.interfaces[i].drops;

		same.interfaces[i] = (struct cgn_interface_counters){.drops = drops};
	}
	if (memcmp(&same, &world.count, sizeof(same))) {
		char *text = NULL;
		size_t n = 0;
		FILE *out = open_memstream(&text, &n);

		differences(out, &same, &world.count);
		fclose(out);
		wrong("counters:\n%s", text);
	}
	last = got;
}

// ---- walks

// Runs a walk over all workers to its end.
static void walk_all(enum cgn_walk_kind kind, const struct cgn_filter *filter,
	void (*each)(const struct cgn_walk_record *))
{
	struct cgn_walk_record record;

	for (unsigned w = 0; w < world.n_workers; w++) {
		struct worker_walk *walk = bed_walk_start(w, kind, filter);

		while (!atomic_load(&walk->released) ||
			atomic_load(&walk->tail) != atomic_load(&walk->head)) {
			bed_poll(w);
			while (bed_walk_take(walk, &record)) {
				if (record.worker != w)
					wrong("worker %u sent a record of worker %u", w,
						record.worker);
				each(&record);
			}
		}
		free(walk);
	}
}

static uint64_t n_records;

static uint32_t left(uint32_t deadline)
{
	return deadline > now_s() ? deadline - now_s() : 0;
}

#define EQUAL(got, want) \
	do { \
		if ((uint64_t)(got) != (uint64_t)(want)) \
			wrong("%s is %lu, expected %lu (%s)", #got, (uint64_t)(got), \
				(uint64_t)(want), about); \
	} while (0)

static char about[256];

static void name_endpoint(uint8_t protocol, uint32_t address, uint16_t port)
{
	snprintf(about, sizeof(about), "%s %u.%u.%u.%u:%u", cgn_proto_name(protocol), address >> 24,
		address >> 16 & 255, address >> 8 & 255, address & 255, port);
}

static void compare_session(const struct cgn_walk_record *record)
{
	const struct cgn_walk_session *r = &record->session;
	const struct mapping *m = mapping_of_internal(r->protocol, r->internal, r->internal_port);
	struct session *s = m ? session_of(m, r->remote, r->remote_port) : NULL;

	name_endpoint(r->protocol, r->internal, r->internal_port);
	if (!s)
		wrong("a session is listed that should not be there (%s, remote port %u)", about,
			r->remote_port);
	EQUAL(record->worker, m->worker);
	EQUAL(r->external, m->external);
	EQUAL(r->external_port, m->external_port);
	EQUAL(r->state, s->state);
	EQUAL(r->policy, s->policy);
	EQUAL(r->age_s, now_s() - s->created_s);
	EQUAL(r->expires_s, left(deadline_of(s)));
	if (s->counts_unsure && r->packets_out <= s->packets_out &&
		r->packets_in <= s->packets_in) {
		s->packets_out = r->packets_out;
		s->packets_in = r->packets_in;
		s->bytes_out = r->bytes_out;
		s->bytes_in = r->bytes_in;
		s->counts_unsure = false;
	}
	EQUAL(r->packets_out, s->packets_out);
	EQUAL(r->packets_in, s->packets_in);
	EQUAL(r->bytes_out, s->bytes_out);
	EQUAL(r->bytes_in, s->bytes_in);
	n_records++;
}

static uint32_t sessions_of_static(const struct cgn_walk_mapping *r)
{
	const struct cgn_static_mapping *c = &world.config->static_mappings[r->static_mapping];
	const bool whole = !c->external_ports.first;
	uint32_t n = 0;

	for (const struct mapping *m = world.mappings; m; m = m->next) {
		if (m->static_mapping == (int)r->static_mapping &&
			(whole || m->external_port == r->external_port))
			n += m->n_sessions;
	}
	return n;
}

static void compare_static(const struct cgn_walk_mapping *r)
{
	const struct cgn_static_mapping *c = &world.config->static_mappings[r->static_mapping];

	EQUAL(r->internal, c->internal);
	EQUAL(r->external, c->external);
	EQUAL(r->internal_port - c->internal_ports.first,
		r->external_port - c->external_ports.first);
	EQUAL(r->protocol, c->protocol);
	EQUAL(r->sessions, sessions_of_static(r));
	EQUAL(r->age_s, now_s() - begun_s);
	n_records++;
}

static void compare_mapping(const struct cgn_walk_record *record)
{
	const struct cgn_walk_mapping *r = &record->mapping;
	const struct mapping *m = mapping_of_internal(r->protocol, r->internal, r->internal_port);
	uint32_t deadline = 0;

	name_endpoint(r->protocol, r->internal, r->internal_port);
	if (r->is_static) {
		compare_static(r);
		return;
	}
	if (!m || !m->subscriber)
		wrong("a mapping is listed that should not be there (%s)", about);
	for (const struct session *s = m->sessions; s; s = s->next)
		deadline = deadline_of(s) > deadline ? deadline_of(s) : deadline;
	EQUAL(r->external, m->external);
	EQUAL(r->external_port, m->external_port);
	EQUAL(r->policy, m->policy);
	EQUAL(r->sessions, m->n_sessions);
	EQUAL(r->age_s, now_s() - m->created_s);
	EQUAL(r->expires_s, left(deadline));
	n_records++;
}

static void compare_block(const struct cgn_walk_record *record)
{
	const struct cgn_walk_block *r = &record->block;
	const struct block *found = NULL;

	name_endpoint(0, r->external, r->first_port);
	for (uint32_t i = 0; i < world.n_blocks; i++) {
		const struct block *b = &world.blocks[i];

		if (b->external == r->external && b->first_port == r->first_port &&
			(b->preset ? r->preset && b->holder == r->subscriber : !r->preset))
			found = b;
	}
	if (!found || found->state != BLOCK_LENT)
		wrong("a block is listed that is not lent (%s)", about);
	EQUAL(record->worker, found->worker);
	if (!found->preset)
		EQUAL(r->last_port, found->first_port + found->size - 1);
	EQUAL(r->subscriber, found->subscriber->address);
	EQUAL(r->pool, found->pool);
	EQUAL(r->ports_used, ports_used_of(found));
	n_records++;
}

static void compare_subscriber(const struct cgn_walk_record *record)
{
	const struct cgn_walk_subscriber *r = &record->subscriber;
	const struct customer *s = subscriber_of(r->subscriber, r->pool);
	uint32_t n_mappings = 0, n_sessions = 0, n_of[CGN_L4_COUNT] = {0};

	name_endpoint(0, r->subscriber, r->pool);
	if (!s || !blocks_of(s, BLOCK_LENT))
		wrong("a subscriber is listed who has no block (%s)", about);
	for (const struct mapping *m = world.mappings; m; m = m->next) {
		if (m->subscriber == s) {
			n_mappings++;
			n_sessions += m->n_sessions;
			n_of[cgn_l4_of(m->protocol)]++;
		}
	}
	EQUAL(record->worker, s->worker);
	EQUAL(r->external, s->paired);
	EQUAL(r->policy, s->policy);
	EQUAL(r->blocks, blocks_of(s, BLOCK_LENT));
	EQUAL(r->ports_used, n_mappings);
	EQUAL(r->mappings, n_mappings);
	EQUAL(r->sessions, n_sessions);
	for (unsigned i = 0; i < CGN_L4_COUNT; i++)
		EQUAL(r->mappings_of[i], n_of[i]);
	for (unsigned i = 0; i < CGN_SUBSCRIBER_DROP_COUNT; i++)
		EQUAL(r->drops[i], s->drops[i]);
	n_records++;
}

// Rows of static mappings: one for each port, or one for a whole address.
static uint32_t static_rows(void)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < world.config->n_static_mappings; i++) {
		const struct cgn_port_range *r = &world.config->static_mappings[i].external_ports;

		n += r->first ? r->last - r->first + 1u : 1;
	}
	return n;
}

static void compare_walk(enum cgn_walk_kind kind, const char *what, uint64_t n,
	void (*each)(const struct cgn_walk_record *))
{
	n_records = 0;
	walk_all(kind, &(struct cgn_filter){0}, each);
	if (n_records != n)
		wrong("%lu %s are listed, expected %lu", n_records, what, n);
}

void compare_tables(void)
{
	count_gauges(&world.count);
	compare_walk(CGN_WALK_SESSIONS, "sessions", world.count.sessions, compare_session);
	compare_walk(CGN_WALK_MAPPINGS, "mappings", world.count.mappings + static_rows(),
		compare_mapping);
	compare_walk(CGN_WALK_BLOCKS, "blocks", world.count.blocks, compare_block);
	compare_walk(
		CGN_WALK_SUBSCRIBERS, "subscribers", world.count.subscribers, compare_subscriber);
}

// ---- clear

static uint64_t n_cleared;

static void add_cleared(const struct cgn_walk_record *record)
{
	n_cleared += record->cleared.cleared;
}

static bool is_wanted(const struct cgn_filter *q, const struct mapping *m, uint16_t policy)
{
	return !(q->by_subscriber && m->internal != q->subscriber) &&
		!(q->by_external && m->external != q->external) &&
		!(q->by_external_port && m->external_port != q->external_port) &&
		!(q->by_protocol && m->protocol != q->protocol) &&
		!(q->by_policy && policy != q->policy);
}

static bool is_remote(const struct cgn_filter *q, const struct session *s)
{
	return !(q->by_remote && s->remote != q->remote) &&
		!(q->by_remote_port && s->remote_port != q->remote_port);
}

static bool has_remote(const struct cgn_filter *q, const struct mapping *m)
{
	for (const struct session *s = m->sessions; s; s = s->next) {
		if (is_remote(q, s))
			return true;
	}
	return false;
}

static uint64_t clear_mapping(
	enum cgn_walk_kind kind, const struct cgn_filter *q, struct mapping *m)
{
	const bool whole = kind == CGN_WALK_CLEAR_MAPPINGS;
	uint64_t n = 0;

	if (whole && (!m->subscriber || !is_wanted(q, m, m->policy) || !has_remote(q, m)))
		return 0;
	for (struct session *s = m->sessions, *next; s; s = next) {
		next = s->next;
		if (!whole && (!is_wanted(q, m, s->policy) || !is_remote(q, s)))
			continue;
		model_session_end(s, true); // with the last one, m is gone
		n++;
	}
	return whole ? 1 : n;
}

void clear_both(enum cgn_walk_kind kind, const struct cgn_filter *filter)
{
	uint64_t n = 0;

	n_cleared = 0;
	walk_all(kind, filter, add_cleared);
	bed_run();
	for (struct mapping *m = world.mappings, *next; m; m = next) {
		next = m->next;
		n += clear_mapping(kind, filter, m);
	}
	if (n_cleared != n)
		wrong("%lu were cleared, expected %lu", n_cleared, n);
}
