// SPDX-License-Identifier: BSD-3-Clause
#include "deal.h"
#include <string.h>

#define UNKNOWN 0xff

struct deal {
	struct snapshot *s;
	uint32_t n_indexes;
	uint8_t owner[STEER_SLOTS_MAX]; // by index, UNKNOWN
	uint32_t total[CGN_WORKERS_MAX]; // addresses of all pools dealt with so far
};

static uint32_t index_of(const struct deal *d, const struct snapshot_pool_address *a)
{
	return steer_index(a->address) & (d->n_indexes - 1);
}

// The addresses of a pool stand together.
static void pool_bounds(const struct snapshot *s, uint32_t pool, uint32_t *first, uint32_t *end)
{
	uint32_t i = 0;

	while (i < s->n_pool_addresses && s->pool_address[i].pool != pool)
		i++;
	*first = i;
	while (i < s->n_pool_addresses && s->pool_address[i].pool == pool)
		i++;
	*end = i;
}

static uint32_t poorest(const struct deal *d, const uint32_t *have)
{
	uint32_t best = 0;

	for (uint32_t w = 1; w < d->s->n_workers; w++) {
		if (have[w] < have[best] || (have[w] == have[best] && d->total[w] < d->total[best]))
			best = w;
	}
	return best;
}

// ---- indexes: what the devices are told

// Those of one pool: the ones with most addresses first, each to the worker with the fewest.
static void deal_indexes(struct deal *d, uint32_t first, uint32_t end)
{
	uint32_t weight[STEER_SLOTS_MAX] = {0}, have[CGN_WORKERS_MAX] = {0};
	uint16_t list[STEER_SLOTS_MAX];
	uint32_t n = 0;

	for (uint32_t i = first; i < end; i++) {
		const struct snapshot_pool_address *a = &d->s->pool_address[i];
		const uint32_t index = index_of(d, a);

		if (!a->not_lent && !weight[index]++)
			list[n++] = (uint16_t)index; // in the order of addresses
	}
	for (uint32_t i = 1; i < n; i++) { // by weight, else as they are
		const uint16_t index = list[i];
		uint32_t j = i;

		for (; j && weight[list[j - 1]] < weight[index]; j--)
			list[j] = list[j - 1];
		list[j] = index;
	}
	for (uint32_t i = 0; i < n; i++) { // what an earlier pool has decided
		if (d->owner[list[i]] != UNKNOWN)
			have[d->owner[list[i]]] += weight[list[i]];
	}
	for (uint32_t i = 0; i < n; i++) {
		if (d->owner[list[i]] != UNKNOWN)
			continue;
		d->owner[list[i]] = (uint8_t)poorest(d, have);
		have[d->owner[list[i]]] += weight[list[i]];
	}
	for (uint32_t w = 0; w < d->s->n_workers; w++)
		d->total[w] += have[w];
}

// Small pools first: they have the least choice.
static void deal_pools(struct deal *d)
{
	const uint32_t n_pools = d->s->config->n_pools;
	uint32_t first[CGN_POOLS_MAX], end[CGN_POOLS_MAX];
	bool done[CGN_POOLS_MAX] = {false};

	for (uint32_t p = 0; p < n_pools; p++)
		pool_bounds(d->s, p, &first[p], &end[p]);
	for (uint32_t k = 0; k < n_pools; k++) {
		uint32_t next = UINT32_MAX;

		for (uint32_t p = 0; p < n_pools; p++) {
			if (!done[p] &&
				(next == UINT32_MAX || end[p] - first[p] < end[next] - first[next]))
				next = p;
		}
		done[next] = true;
		deal_indexes(d, first[next], end[next]);
	}
}

// Indexes that no pool needs: to the host behind a one-to-one mapping, or to even out.
static void deal_rest(struct deal *d)
{
	const struct snapshot *s = d->s;
	uint32_t have[CGN_WORKERS_MAX] = {0};

	for (uint32_t i = 0; i < s->n_pool_addresses; i++) {
		const struct snapshot_pool_address *a = &s->pool_address[i];

		if (a->not_lent && d->owner[index_of(d, a)] == UNKNOWN)
			d->owner[index_of(d, a)] = a->owner;
	}
	for (uint32_t i = 0; i < d->n_indexes; i++) {
		if (d->owner[i] != UNKNOWN)
			have[d->owner[i]]++;
	}
	memset(d->total, 0, sizeof(d->total));
	for (uint32_t i = 0; i < d->n_indexes; i++) {
		if (d->owner[i] == UNKNOWN) {
			d->owner[i] = (uint8_t)poorest(d, have);
			have[d->owner[i]]++;
		}
	}
}

// ---- addresses: where the devices' choice is not fair

static bool is_fair(uint32_t least, uint32_t most, uint32_t n, uint32_t n_workers)
{
	return 10ull * most * n_workers <= 11ull * n && 10ull * least * n_workers >= 9ull * n;
}

// Takes the last address of a pool that the worker owns. *cursor: where to look from, downwards.
static struct snapshot_pool_address *last_of(
	const struct snapshot *s, uint32_t worker, uint32_t *cursor)
{
	struct snapshot_pool_address *a;

	do {
		a = &s->pool_address[--*cursor];
	} while (a->not_lent || a->split || a->owner != worker);
	return a;
}

static void deal_addresses(struct deal *d, uint32_t first, uint32_t end)
{
	struct snapshot *s = d->s;
	uint32_t have[CGN_WORKERS_MAX] = {0}, cursor[CGN_WORKERS_MAX], n = 0;
	uint32_t rich, poor;

	for (uint32_t i = first; i < end; i++) {
		struct snapshot_pool_address *a = &s->pool_address[i];

		if (a->not_lent)
			continue;
		a->owner = s->external.owner[steer_index(a->address)];
		// preset ports are their subscribers' workers', so all of these addresses are shared
		a->split = s->det[a->pool] && s->n_workers > 1;
		if (a->split)
			continue;
		have[a->owner]++;
		n++;
	}
	for (uint32_t w = 0; w < s->n_workers; w++)
		cursor[w] = end;
	for (;;) {
		rich = poor = 0;
		for (uint32_t w = 1; w < s->n_workers; w++) {
			rich = have[w] > have[rich] ? w : rich;
			poor = have[w] < have[poor] ? w : poor;
		}
		if (is_fair(have[poor], have[rich], n, s->n_workers))
			return;
		if (have[rich] - have[poor] <= 1)
			break;
		last_of(s, rich, &cursor[rich])->owner = (uint8_t)poor;
		have[rich]--;
		have[poor]++;
	}
	// whole addresses cannot be shared out more equally: the last ones are shared by all
	for (uint32_t w = 0; w < s->n_workers; w++) {
		if (have[w] > n / s->n_workers)
			last_of(s, w, &cursor[w])->split = true;
	}
}

static void mark_exceptions(struct snapshot *s)
{
	memcpy(s->inbound, s->external.owner, sizeof(s->inbound));
	for (uint32_t i = 0; i < s->n_pool_addresses; i++) {
		const struct snapshot_pool_address *a = &s->pool_address[i];
		const uint32_t index = steer_index(a->address);

		if (a->split || a->ask || a->owner != s->external.owner[index])
			s->inbound[index] = SNAPSHOT_ASK;
	}
}

void deal_out(struct snapshot *s, bool fixed)
{
	struct deal d = {.s = s, .n_indexes = 1u << s->external.bits};

	if (!fixed) {
		memset(d.owner, UNKNOWN, sizeof(d.owner));
		deal_pools(&d);
		deal_rest(&d);
		for (uint32_t i = 0; i < d.n_indexes; i++)
			steer_give(&s->external, i, d.owner[i]);
	}
	for (uint32_t p = 0; p < s->config->n_pools; p++) {
		uint32_t first, end;

		pool_bounds(s, p, &first, &end);
		deal_addresses(&d, first, end);
	}
	mark_exceptions(s);
}
