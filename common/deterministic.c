// SPDX-License-Identifier: BSD-3-Clause
#include "cgnat/deterministic.h"
#include <stdlib.h>
#include <string.h>
#include "siphash.h"

static uint32_t prefix_last(const struct cgn_prefix *p)
{
	return p->address | (p->length ? ~(UINT32_MAX << (32 - p->length)) : UINT32_MAX);
}

static uint64_t range_size(const struct cgn_address_range *r)
{
	return (uint64_t)r->last - r->first + 1;
}

// The last of n ascending numbers, the least of which is 0, that is not above `number`.
static uint32_t last_at_most(const uint32_t *numbers, uint32_t n, uint32_t number)
{
	uint32_t lo = 0, hi = n;

	while (hi - lo > 1) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (numbers[mid] <= number)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

// ---- ranges of addresses

static int compare_addresses(const void *a, const void *b, void *ranges)
{
	const struct cgn_address_range *r = ranges;
	uint32_t x = r[*(const uint32_t *)a].first, y = r[*(const uint32_t *)b].first;

	return (x > y) - (x < y);
}

// Numbers l->range[0..n-1]. False when out of memory.
static bool ranges_number(struct cgn_det_ranges *l)
{
	l->first = calloc(l->n + 1, sizeof(*l->first));
	l->sorted = calloc(l->n + 1, sizeof(*l->sorted));
	if (!l->first || !l->sorted)
		return false;
	l->n_addresses = 0;
	for (uint32_t i = 0; i < l->n; i++) {
		l->first[i] = (uint32_t)l->n_addresses;
		l->sorted[i] = i;
		l->n_addresses += range_size(&l->range[i]);
	}
	qsort_r(l->sorted, l->n, sizeof(*l->sorted), compare_addresses, l->range);
	return true;
}

static void ranges_free(struct cgn_det_ranges *l)
{
	free(l->range);
	free(l->first);
	free(l->sorted);
}

// The number of an address; CGN_DET_NONE.
static uint32_t ranges_number_of(const struct cgn_det_ranges *l, uint32_t address)
{
	uint32_t lo = 0, hi = l->n;

	while (lo < hi) { // the first range behind the address
		uint32_t mid = lo + (hi - lo) / 2;

		if (l->range[l->sorted[mid]].first <= address)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || address > l->range[l->sorted[lo - 1]].last)
		return CGN_DET_NONE;
	lo = l->sorted[lo - 1];
	return l->first[lo] + (address - l->range[lo].first);
}

static uint32_t ranges_address(const struct cgn_det_ranges *l, uint32_t number)
{
	const uint32_t i = last_at_most(l->first, l->n, number);

	return l->range[i].first + (number - l->first[i]);
}

// ---- subscribers: what the sources cover, each address once, at the first source that has it

struct source {
	struct cgn_address_range range;
	uint32_t order;
	bool has_boundaries; // network and broadcast address: /30 and shorter
};

struct segment {
	struct cgn_address_range range;
	uint32_t order;
};

static int compare_sources(const void *a, const void *b)
{
	const struct source *x = a, *y = b;

	if (x->range.first != y->range.first)
		return x->range.first < y->range.first ? -1 : 1;
	if (x->range.last != y->range.last)
		return x->range.last > y->range.last ? -1 : 1; // the wider one first
	return (x->order > y->order) - (x->order < y->order);
}

static int compare_segments(const void *a, const void *b)
{
	const struct segment *x = a, *y = b;

	if (x->order != y->order)
		return x->order < y->order ? -1 : 1;
	return (x->range.first > y->range.first) - (x->range.first < y->range.first);
}

// Cuts what sources[0..n-1] (sorted) cover into segments that have one order, by address. Prefixes
// contain each other or are apart, so those around an address are a stack, 33 at most of one length
// each. Returns how many segments, 2 * n at most.
static uint32_t cut(const struct source *sources, uint32_t n, struct segment *out)
{
	struct {
		uint32_t last, order;
	} stack[64];
	uint32_t depth = 0, n_out = 0;
	uint64_t at = 0;

	for (uint32_t i = 0; i <= n; i++) {
		const uint64_t first = i < n ? sources[i].range.first : UINT64_MAX;

		for (; depth && (i == n || stack[depth - 1].last < first); depth--) {
			if (at <= stack[depth - 1].last)
				out[n_out++] =
					(struct segment){{(uint32_t)at, stack[depth - 1].last},
						stack[depth - 1].order};
			at = stack[depth - 1].last + 1ull > at ? stack[depth - 1].last + 1ull : at;
		}
		if (i == n)
			break;
		if (i && sources[i].range.first == sources[i - 1].range.first &&
			sources[i].range.last == sources[i - 1].range.last)
			continue; // listed once more, later
		if (depth && at < first)
			out[n_out++] = (struct segment){
				{(uint32_t)at, (uint32_t)first - 1}, stack[depth - 1].order};
		at = first;
		stack[depth].last = sources[i].range.last;
		stack[depth].order = depth && stack[depth - 1].order < sources[i].order
			? stack[depth - 1].order
			: sources[i].order;
		depth++;
	}
	return n_out;
}

static int compare_u32(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

// Takes network and broadcast addresses off, where nothing listed lies beyond them: those inside of
// a row of prefixes are subscribers' as any other. The segments are by address; one may become
// empty. False when out of memory.
static bool take_boundaries_off(
	const struct source *sources, uint32_t n, struct segment *segments, uint32_t n_segments)
{
	uint32_t *firsts = calloc(n + 1, sizeof(*firsts)), *lasts = calloc(n + 1, sizeof(*lasts));
	bool ok = firsts && lasts, goes_on = false;
	uint32_t n_bounded = 0;

	for (uint32_t i = 0; ok && i < n; i++) {
		if (!sources[i].has_boundaries)
			continue;
		firsts[n_bounded] = sources[i].range.first;
		lasts[n_bounded++] = sources[i].range.last;
	}
	if (ok)
		qsort(lasts, n_bounded, sizeof(*lasts), compare_u32); // `firsts` are sorted
	for (uint32_t i = 0; ok && i < n_segments; i++) {
		struct cgn_address_range *r = &segments[i].range;
		const uint32_t first = r->first, last = r->last;
		const bool begins = !goes_on;

		goes_on = i + 1 < n_segments && segments[i + 1].range.first == (uint64_t)last + 1;
		if (begins && bsearch(&first, firsts, n_bounded, sizeof(first), compare_u32))
			r->first++;
		if (!goes_on && bsearch(&last, lasts, n_bounded, sizeof(last), compare_u32))
			r->last--;
	}
	free(firsts);
	free(lasts);
	return ok;
}

// The prefixes of the policies that use the pool, as they are listed.
static bool collect_sources(struct cgn_det *det, const struct cgn_config *config, uint32_t pool)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < config->n_policies; i++)
		n += config->policies[i].n_sources;
	det->sources = calloc(n + 1, sizeof(*det->sources));
	if (!det->sources)
		return false;
	for (uint32_t i = 0; i < config->n_policies; i++) {
		const struct cgn_policy *p = &config->policies[i];

		if (p->action != CGN_TRANSLATE || p->pool != pool || !p->n_sources)
			continue;
		memcpy(det->sources + det->n_sources, p->sources,
			p->n_sources * sizeof(*p->sources));
		det->n_sources += p->n_sources;
	}
	return true;
}

static bool build_subscribers(struct cgn_det *det)
{
	const uint32_t n = det->n_sources;
	struct cgn_det_ranges *l = &det->subscribers;
	struct source *sources = calloc(n + 1, sizeof(*sources));
	struct segment *segments = calloc(2 * (size_t)n + 1, sizeof(*segments));
	uint32_t n_segments;
	bool ok = false;

	l->range = calloc(2 * (size_t)n + 1, sizeof(*l->range));
	if (!sources || !segments || !l->range)
		goto out;
	for (uint32_t i = 0; i < n; i++)
		sources[i] =
			(struct source){{det->sources[i].address, prefix_last(&det->sources[i])}, i,
				det->sources[i].length <= 30};
	qsort(sources, n, sizeof(*sources), compare_sources);
	n_segments = cut(sources, n, segments);
	if (!det->pool->deterministic.include_boundaries &&
		!take_boundaries_off(sources, n, segments, n_segments))
		goto out;
	qsort(segments, n_segments, sizeof(*segments), compare_segments);
	for (uint32_t i = 0; i < n_segments; i++) {
		const struct cgn_address_range *r = &segments[i].range;

		if (r->first > r->last)
			continue;
		if (l->n && l->range[l->n - 1].last + 1ull == r->first)
			l->range[l->n - 1].last = r->last;
		else
			l->range[l->n++] = *r;
	}
	ok = ranges_number(l);
out:
	free(sources);
	free(segments);
	return ok;
}

// ---- external addresses

static int compare_ranges(const void *a, const void *b)
{
	const struct cgn_address_range *x = a, *y = b;

	return (x->first > y->first) - (x->first < y->first);
}

// Addresses with a one-to-one mapping lend nothing: the ranges around them.
static bool build_external(struct cgn_det *det, const struct cgn_config *config)
{
	const struct cgn_pool *pool = det->pool;
	struct cgn_det_ranges *l = &det->external;
	struct cgn_address_range *ranges = calloc(pool->n_ranges + 1, sizeof(*ranges));
	uint32_t *whole = calloc(config->n_static_mappings + 1, sizeof(*whole));
	uint32_t n_whole = 0, at = 0;
	bool ok = false;

	l->range =
		calloc((size_t)pool->n_ranges + config->n_static_mappings + 1, sizeof(*l->range));
	if (!ranges || !whole || !l->range)
		goto out;
	for (uint32_t i = 0; i < config->n_static_mappings; i++)
		if (cgn_static_one_to_one(&config->static_mappings[i]))
			whole[n_whole++] = config->static_mappings[i].external;
	qsort(whole, n_whole, sizeof(*whole), compare_u32);
	memcpy(ranges, pool->ranges, pool->n_ranges * sizeof(*ranges));
	qsort(ranges, pool->n_ranges, sizeof(*ranges), compare_ranges);
	for (uint32_t i = 0; i < pool->n_ranges; i++) {
		uint64_t first = ranges[i].first;

		for (; at < n_whole && whole[at] <= ranges[i].last; at++) {
			if (whole[at] > first)
				l->range[l->n++] =
					(struct cgn_address_range){(uint32_t)first, whole[at] - 1};
			if (whole[at] >= first)
				first = whole[at] + 1ull;
		}
		if (first <= ranges[i].last)
			l->range[l->n++] =
				(struct cgn_address_range){(uint32_t)first, ranges[i].last};
	}
	ok = ranges_number(l);
out:
	free(ranges);
	free(whole);
	return ok;
}

// ---- candidate ports

static bool build_candidates(struct cgn_det *det)
{
	const struct cgn_pool *pool = det->pool;
	bool is_reserved[65536] = {false};
	struct cgn_port_range *last = NULL;

	det->candidates = calloc(pool->n_reserved + 1, sizeof(*det->candidates));
	det->candidate_first = calloc(pool->n_reserved + 1, sizeof(*det->candidate_first));
	if (!det->candidates || !det->candidate_first)
		return false;
	for (uint32_t i = 0; i < pool->n_reserved; i++)
		for (uint32_t port = pool->reserved[i].first; port <= pool->reserved[i].last;
			port++)
			is_reserved[port] = true;
	for (uint32_t port = pool->ports.first; port <= pool->ports.last; port++) {
		if (is_reserved[port])
			continue;
		if (!last || last->last + 1u != port) {
			last = &det->candidates[det->n_candidate_ranges];
			last->first = (uint16_t)port;
			det->candidate_first[det->n_candidate_ranges++] = det->n_candidates;
		}
		last->last = (uint16_t)port;
		det->n_candidates++;
	}
	return true;
}

static uint16_t candidate_port(const struct cgn_det *det, uint32_t candidate)
{
	const uint32_t i = last_at_most(det->candidate_first, det->n_candidate_ranges, candidate);

	return (uint16_t)(det->candidates[i].first + (candidate - det->candidate_first[i]));
}

// CGN_DET_NONE: it is none.
static uint32_t candidate_of(const struct cgn_det *det, uint16_t port)
{
	uint32_t lo = 0, hi = det->n_candidate_ranges;

	while (lo < hi) {
		uint32_t mid = lo + (hi - lo) / 2;

		if (det->candidates[mid].first <= port)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (!lo || port > det->candidates[lo - 1].last)
		return CGN_DET_NONE;
	return det->candidate_first[lo - 1] + (port - det->candidates[lo - 1].first);
}

// ---- cryptographic: a keyed permutation of the candidates that slots have

// A Feistel network over the pairs (x / b, x % b) of 0..a*b-1, where a*b is little more than n; what
// falls out of 0..n-1 goes through once more. Every external address has a permutation of its own.
static struct cgn_det_square square_of(uint32_t n)
{
	struct cgn_det_square s = {.n = n, .a = 1};

	while (s.a * s.a < n)
		s.a++;
	s.b = (n + s.a - 1) / s.a;
	return s;
}

static uint32_t permute(const struct cgn_det *det, uint32_t external, uint32_t x)
{
	const struct cgn_det_square *s = &det->square[external < det->n_larger];
	const uint8_t *tweak = det->tweak[external];

	do {
		uint32_t l = x / s->b, r = x % s->b;

		for (unsigned i = 0; i < CGN_DET_ROUNDS; i += 2) {
			l = (l + det->round[i][r ^ tweak[i]]) % s->a;
			r = (r + det->round[i + 1][l ^ tweak[i + 1]]) % s->b;
		}
		x = l * s->b + r;
	} while (x >= s->n);
	return x;
}

// x - y modulo m, where y is any round value.
static uint32_t minus(uint32_t x, uint16_t y, uint32_t m)
{
	return (x + 65536 / m * m + m - y) % m;
}

static uint32_t permute_back(const struct cgn_det *det, uint32_t external, uint32_t x)
{
	const struct cgn_det_square *s = &det->square[external < det->n_larger];
	const uint8_t *tweak = det->tweak[external];

	do {
		uint32_t l = x / s->b, r = x % s->b;

		for (unsigned i = CGN_DET_ROUNDS; i; i -= 2) {
			r = minus(r, det->round[i - 1][l ^ tweak[i - 1]], s->b);
			l = minus(l, det->round[i - 2][r ^ tweak[i - 2]], s->a);
		}
		x = l * s->b + r;
	} while (x >= s->n);
	return x;
}

// What the key is used for: the top byte of the word that is hashed.
enum {
	USE_ROUND = 1ull,
	USE_TWEAK,
	USE_ID,
};

static bool build_permutation(struct cgn_det *det)
{
	const uint8_t *key = det->pool->deterministic.key;

	det->round = calloc(CGN_DET_ROUNDS, sizeof(*det->round));
	det->tweak = calloc(det->external.n_addresses + 1, sizeof(*det->tweak));
	if (!det->round || !det->tweak)
		return false;
	for (uint64_t i = 0; i < CGN_DET_ROUNDS; i++)
		for (uint64_t x = 0; x < 256; x++)
			det->round[i][x] =
				(uint16_t)siphash_word(key, (uint64_t)USE_ROUND << 56 | i << 8 | x);
	for (uint32_t e = 0; e < det->external.n_addresses; e++) {
		const uint64_t address = cgn_det_external(det, e);
		uint64_t bits = 0;

		for (unsigned i = 0; i < CGN_DET_ROUNDS; i++, bits >>= 8) {
			if (i % 8 == 0)
				bits = siphash_word(key,
					(uint64_t)USE_TWEAK << 56 | (uint64_t)i << 32 | address);
			det->tweak[e][i] = (uint8_t)bits;
		}
	}
	return true;
}

uint32_t cgn_det_key_id(const struct cgn_pool *pool)
{
	return (uint32_t)siphash_word(pool->deterministic.key, (uint64_t)USE_ID << 56);
}

// ---- the plan

struct cgn_det *cgn_det_create(const struct cgn_config *config, uint32_t pool)
{
	struct cgn_det *det = calloc(1, sizeof(*det));

	if (!det)
		return NULL;
	det->pool = &config->pools[pool];
	det->n_ports = det->pool->deterministic.ports;
	if (!collect_sources(det, config, pool) || !build_subscribers(det) ||
		!build_external(det, config) || !build_candidates(det) ||
		(det->pool->deterministic.algorithm == CGN_ALGORITHM_CRYPTOGRAPHIC &&
			!build_permutation(det))) {
		cgn_det_destroy(det);
		return NULL;
	}
	if (det->external.n_addresses) {
		const uint64_t n = det->subscribers.n_addresses, on = det->external.n_addresses;

		det->n_slots = (uint32_t)(n / on);
		det->n_larger = (uint32_t)(n % on);
	}
	if (det->round && cgn_det_fits(det)) {
		det->square[0] = square_of(det->n_slots * det->n_ports);
		det->square[1] = square_of((det->n_slots + 1) * det->n_ports);
	}
	return det;
}

void cgn_det_destroy(struct cgn_det *det)
{
	if (!det)
		return;
	ranges_free(&det->subscribers);
	ranges_free(&det->external);
	free(det->sources);
	free(det->candidates);
	free(det->candidate_first);
	free(det->round);
	free(det->tweak);
	free(det);
}

bool cgn_det_fits(const struct cgn_det *det)
{
	const uint64_t most = (uint64_t)det->n_slots + (det->n_larger != 0);

	if (!det->external.n_addresses)
		return !det->subscribers.n_addresses;
	return most * det->n_ports <= det->n_candidates;
}

uint32_t cgn_det_number(const struct cgn_det *det, uint32_t address)
{
	return ranges_number_of(&det->subscribers, address);
}

uint32_t cgn_det_subscriber(const struct cgn_det *det, uint32_t number)
{
	return ranges_address(&det->subscribers, number);
}

uint32_t cgn_det_external_number(const struct cgn_det *det, uint32_t address)
{
	return ranges_number_of(&det->external, address);
}

uint32_t cgn_det_external(const struct cgn_det *det, uint32_t external)
{
	return ranges_address(&det->external, external);
}

// Dealt out to the addresses in turn, or one address after the other?
static bool is_dealt(const struct cgn_det *det)
{
	return det->pool->deterministic.algorithm == CGN_ALGORITHM_ROUND_ROBIN ||
		det->pool->deterministic.algorithm == CGN_ALGORITHM_INTERLACED;
}

// Every n-th port, or ports in a row?
static bool is_combed(const struct cgn_det *det)
{
	return det->pool->deterministic.algorithm == CGN_ALGORITHM_STAGGERED ||
		det->pool->deterministic.algorithm == CGN_ALGORITHM_INTERLACED;
}

struct cgn_det_slot cgn_det_slot_of(const struct cgn_det *det, uint32_t number)
{
	const uint32_t n_external = (uint32_t)det->external.n_addresses;
	const uint32_t in_larger = det->n_larger * (det->n_slots + 1);

	if (is_dealt(det))
		return (struct cgn_det_slot){number % n_external, number / n_external};
	if (number < in_larger)
		return (struct cgn_det_slot){
			number / (det->n_slots + 1), number % (det->n_slots + 1)};
	number -= in_larger;
	return (struct cgn_det_slot){det->n_larger + number / det->n_slots, number % det->n_slots};
}

uint32_t cgn_det_holder(const struct cgn_det *det, struct cgn_det_slot slot)
{
	const uint32_t larger_before =
		slot.external < det->n_larger ? slot.external : det->n_larger;

	if (is_dealt(det))
		return slot.slot * (uint32_t)det->external.n_addresses + slot.external;
	return slot.external * det->n_slots + larger_before + slot.slot;
}

uint16_t cgn_det_port(const struct cgn_det *det, struct cgn_det_slot slot, uint32_t i)
{
	const uint32_t n_slots = cgn_det_slots(det, slot.external);
	uint32_t candidate = slot.slot * det->n_ports + i;

	if (is_combed(det))
		candidate = i * n_slots + slot.slot;
	else if (det->round)
		candidate = permute(det, slot.external, candidate);
	return candidate_port(det, candidate);
}

bool cgn_det_find(const struct cgn_det *det, uint32_t external, uint16_t port,
	struct cgn_det_slot *slot, uint32_t *i)
{
	const uint32_t n_slots = cgn_det_slots(det, external);
	uint32_t candidate = candidate_of(det, port);

	if (candidate == CGN_DET_NONE || candidate >= n_slots * det->n_ports)
		return false;
	if (is_combed(det)) {
		*slot = (struct cgn_det_slot){external, candidate % n_slots};
		*i = candidate / n_slots;
		return true;
	}
	if (det->round)
		candidate = permute_back(det, external, candidate);
	*slot = (struct cgn_det_slot){external, candidate / det->n_ports};
	*i = candidate % det->n_ports;
	return true;
}

struct cgn_det_span cgn_det_span(const struct cgn_det *det, struct cgn_det_slot slot)
{
	const uint32_t n_slots = cgn_det_slots(det, slot.external);

	if (det->round)
		return (struct cgn_det_span){
			candidate_port(det, 0), candidate_port(det, n_slots * det->n_ports - 1), 0};
	return (struct cgn_det_span){cgn_det_port(det, slot, 0),
		cgn_det_port(det, slot, det->n_ports - 1), is_combed(det) ? n_slots : 1};
}

uint32_t cgn_det_blocks(const struct cgn_det *det, uint32_t external, uint16_t *first_port)
{
	const uint32_t n_taken = cgn_det_slots(det, external) * det->n_ports;

	*first_port = 0;
	if (n_taken >= det->n_candidates)
		return 0;
	*first_port = candidate_port(det, n_taken);
	return (uint32_t)(det->pool->ports.last - *first_port + 1) / det->pool->block_size;
}

uint16_t cgn_det_shape(const struct cgn_det *det, uint32_t external)
{
	static const uint8_t no_key[CGN_DET_KEY_BYTES];
	const struct cgn_deterministic *d = &det->pool->deterministic;
	uint64_t h = siphash_word(det->round ? d->key : no_key,
		(uint64_t)d->algorithm << 40 | (uint64_t)d->ports << 16 |
			cgn_det_slots(det, external));

	for (uint32_t i = 0; i < det->n_candidate_ranges; i++)
		h = siphash_word(no_key,
			h ^ ((uint64_t)det->candidates[i].first << 16 | det->candidates[i].last));
	return (uint16_t)h ? (uint16_t)h : 1;
}
