// SPDX-License-Identifier: BSD-3-Clause
// At start: port blocks that were in use when the last run ended rest (RFC 6888 REQ-8), as far as this
// worker has them now. worker_restore() of worker.h.
#include <errno.h>
#include <stdlib.h>
#include "lease.h"
#include "snapshot.h"
#include "worker.h"

// The number in `blocks` of an external address; PORTBLOCK_NONE when nothing of it is this worker's.
static uint32_t blocks_address(const struct worker *w, uint32_t external)
{
	const uint32_t dest = dest_lookup(w->snapshot, external);
	const struct snapshot_range *range;

	if (DEST_KIND(dest) != DEST_POOL)
		return PORTBLOCK_NONE;
	range = &w->snapshot->range[DEST_INDEX(dest)];
	return w->address_of[range->first_address + (external - range->first)];
}

// The block of this worker that covers a port of an external address; PORTBLOCK_NONE.
static uint32_t block_at(const struct worker *w, uint32_t external, uint32_t port)
{
	const uint32_t address = blocks_address(w, external);
	const struct portblock_address *a;
	struct cgn_det_slot slot;
	uint32_t size, i;
	const struct cgn_det *det;

	if (address == PORTBLOCK_NONE)
		return PORTBLOCK_NONE;
	a = &w->blocks.address[address];
	det = w->snapshot->det[a->pool];
	if (det && cgn_det_find(det, a->external, (uint16_t)port, &slot, &i))
		return portblock_preset(&w->blocks, a->pool, cgn_det_holder(det, slot));
	size = w->blocks.pool[a->pool].block_size;
	if (port < a->first_port || port >= a->first_port + a->n_blocks * size)
		return PORTBLOCK_NONE;
	return a->first_block + (port - a->first_port) / size;
}

// Are these the preset ports that their subscriber has by the plan of today, too? Nobody else ever
// gets them.
static bool is_still_preset(const struct worker *w, const struct cgn_block_record *r)
{
	for (uint32_t p = 0; r->shape && p < w->snapshot->config->n_pools; p++) {
		const struct cgn_det *det = w->snapshot->det[p];
		const uint32_t number = det ? cgn_det_number(det, r->subscriber) : CGN_DET_NONE;
		struct cgn_det_slot slot;
		struct cgn_det_span span;

		if (number == CGN_DET_NONE)
			continue;
		slot = cgn_det_slot_of(det, number);
		span = cgn_det_span(det, slot);
		if (cgn_det_external(det, slot.external) == r->external &&
			span.first == r->first_port && span.last == r->last_port &&
			cgn_det_shape(det, slot.external) == r->shape)
			return true;
	}
	return false;
}

// Preset ports that lie among each other: all of an address rest, from now. Returns the first port
// behind them.
static uint32_t restore_presets(struct worker *w, uint32_t address, bool *done)
{
	const struct portblock_address *a = &w->blocks.address[address];
	const struct cgn_det *det = w->snapshot->det[a->pool];
	uint16_t first_port;

	for (uint32_t i = 0; !done[address] && i < cgn_det_slots(det, a->external); i++) {
		const uint32_t block = portblock_preset(&w->blocks, a->pool,
			cgn_det_holder(det, (struct cgn_det_slot){a->external, i}));

		if (block != PORTBLOCK_NONE)
			lease_restore(w, block, 0, w->now_s);
	}
	done[address] = true;
	return cgn_det_blocks(det, a->external, &first_port) ? first_port : 65536;
}

// What the last run left behind rests: from when it was given back, or from now when it was lent
// until the end. Its holder may have it again if the blocks are still cut in the same way.
//   done  by address of w->blocks: restore_presets() has been there
static void restore(struct worker *w, const struct cgn_block_record *r, bool *done)
{
	const int64_t now = w->wall_offset_s + w->now_s;
	uint32_t age = 0;

	if (r->state != CGN_BLOCK_LENT && r->state != CGN_BLOCK_RESTING)
		return;
	if (r->state == CGN_BLOCK_RESTING && now > r->since)
		age = now - r->since < UINT32_MAX ? (uint32_t)(now - r->since) : UINT32_MAX;
	if (age > w->timeouts.hold_down || !w->timeouts.hold_down || is_still_preset(w, r))
		return;
	for (uint32_t port = r->first_port; port <= r->last_port;) {
		uint32_t block = block_at(w, r->external, port);
		struct cgn_det_span span;

		if (block == PORTBLOCK_NONE) {
			// the smallest block further, but not past the last port
			port = port < r->last_port && port + 16 > r->last_port ? r->last_port
									       : port + 16;
			continue;
		}
		span = portblock_span(&w->blocks, block);
		if (span.step != 1) {
			port = restore_presets(w, w->blocks.block[block].address, done);
			continue;
		}
		lease_restore(w, block,
			!r->shape && span.first == r->first_port && span.last == r->last_port
				? r->subscriber
				: 0,
			w->now_s - age);
		port = span.last + 1u;
	}
}

static int by_age(const void *a, const void *b)
{
	const struct cgn_block_record *x = *(const struct cgn_block_record *const *)a;
	const struct cgn_block_record *y = *(const struct cgn_block_record *const *)b;
	// those that were lent until the end are the youngest
	const int64_t s = x->state == CGN_BLOCK_LENT ? INT64_MAX : x->since;
	const int64_t t = y->state == CGN_BLOCK_LENT ? INT64_MAX : y->since;

	return (s > t) - (s < t);
}

int worker_restore(struct worker *w, const struct cgn_block_memory *memory, uint64_t now_ns)
{
	const struct cgn_block_record **order;
	bool *done;

	if (memory->n_records < cgn_dataplane_blocks(w->snapshot->config))
		return -EINVAL;
	w->memory = memory->records;
	if (!memory->n_before)
		return 0;
	order = malloc(memory->n_before * sizeof(*order));
	done = calloc(w->blocks.n_addresses + 1, sizeof(*done));
	if (!order || !done) {
		free(order);
		free(done);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < memory->n_before; i++)
		order[i] = &memory->before[i];
	qsort(order, memory->n_before, sizeof(*order), by_age);
	w->now_s = 0;
	worker_clock(w, now_ns);
	for (uint32_t i = 0; i < memory->n_before; i++)
		restore(w, order[i], done);
	free(order);
	free(done);
	return 0;
}
