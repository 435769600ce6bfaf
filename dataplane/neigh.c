// SPDX-License-Identifier: BSD-3-Clause
#include "neigh.h"
#include <errno.h>
#include <string.h>
#include "forward.h"
#include "worker.h"

// ---- the table

int neigh_init(struct neigh_table *t, const struct neigh_protocol *protocol, uint32_t n_max,
	const uint64_t seed[2], int socket)
{
	memset(t, 0, sizeof(*t));
	t->protocol = protocol;
	t->n_max = n_max;
	t->seed[0] = seed[0];
	t->seed[1] = seed[1];
	t->neigh = mem_take("neighbours", (size_t)n_max * sizeof(*t->neigh), socket);
	t->free_list = mem_take("neighbours free", (size_t)n_max * sizeof(*t->free_list), socket);
	t->queue = mem_take("neighbour queues", NEIGH_QUEUES * sizeof(*t->queue), socket);
	if (!t->neigh || !t->free_list || !t->queue || index_init(&t->index, n_max, socket)) {
		neigh_fini(t);
		return -ENOMEM;
	}
	for (uint32_t i = 0; i < n_max; i++)
		t->free_list[i] = n_max - 1 - i; // the last one is taken first: number 0
	for (uint16_t i = 0; i < NEIGH_QUEUES; i++)
		t->free_queue[i] = i;
	t->n_free_queues = NEIGH_QUEUES;
	return 0;
}

void neigh_fini(struct neigh_table *t)
{
	mem_give(t->neigh);
	mem_give(t->free_list);
	mem_give(t->queue);
	index_fini(&t->index);
	memset(t, 0, sizeof(*t));
}

uint64_t neigh_bytes(uint32_t n_max)
{
	return (uint64_t)n_max * (sizeof(struct neigh) + sizeof(uint32_t)) +
		NEIGH_QUEUES * sizeof(struct neigh_queue) + index_bytes(n_max);
}

static uint64_t hash_of(const struct neigh_table *t, uint8_t ifc, struct neigh_address address)
{
	const uint64_t hi = address.hi ? index_hash(address.hi, t->seed) : 0;

	return index_hash((uint64_t)ifc << 32 ^ address.lo ^ hi, t->seed);
}

struct probe {
	const struct neigh_table *t;
	struct neigh_address address;
	uint8_t ifc;
};

static bool same(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct neigh *n = &p->t->neigh[record];

	return n->address.lo == p->address.lo && n->address.hi == p->address.hi && n->ifc == p->ifc;
}

uint32_t neigh_find(const struct neigh_table *t, uint8_t ifc, struct neigh_address address)
{
	uint64_t hash = hash_of(t, ifc, address);
	uint32_t record = index_candidate(&t->index, hash);
	struct probe p = {t, address, ifc};

	if (cgn_likely(record == INDEX_NONE || same(&p, record)))
		return record;
	record = index_lookup(&t->index, hash, same, &p);
	return record;
}

static uint32_t neigh_create(
	struct worker *w, struct neigh_table *t, uint8_t ifc, struct neigh_address address)
{
	uint32_t record;

	// unanswered ones, anybody can cause: half of the table is the most they get
	if (t->n == t->n_max || t->n_unresolved >= (t->n_max + 1) / 2)
		return NEIGH_NONE;
	record = t->free_list[t->n_max - 1 - t->n];
	if (!index_insert(&t->index, hash_of(t, ifc, address), record))
		return NEIGH_NONE;
	t->n++;
	t->n_unresolved++;
	if (record >= t->top)
		t->top = record + 1;
	t->neigh[record] = (struct neigh){.address = address,
		.ifc = ifc,
		.state = NEIGH_RESOLVING,
		.queue = NEIGH_NO_QUEUE,
		.used_s = w->now_s};
	return record;
}

static void neigh_remove(struct neigh_table *t, uint32_t record)
{
	struct neigh *n = &t->neigh[record];

	index_remove(&t->index, hash_of(t, n->ifc, n->address), record);
	t->n_unresolved -= !neigh_has_mac(n);
	n->state = NEIGH_FREE;
	t->n--;
	t->free_list[t->n_max - 1 - t->n] = record;
}

static void neigh_ask(struct worker *w, struct neigh_table *t, struct neigh *n)
{
	n->asked_s = w->now_s;
	n->tries++;
	t->protocol->ask(w, n);
}

uint32_t neigh_get(
	struct worker *w, struct neigh_table *t, uint8_t ifc, struct neigh_address address)
{
	uint32_t record = neigh_find(t, ifc, address);

	if (record == NEIGH_NONE) {
		record = neigh_create(w, t, ifc, address);
		if (record != NEIGH_NONE)
			neigh_ask(w, t, &t->neigh[record]);
	}
	return record;
}

uint32_t neigh_meet(
	struct worker *w, struct neigh_table *t, uint8_t ifc, struct neigh_address address)
{
	uint32_t record = neigh_find(t, ifc, address);

	if (record == NEIGH_NONE && t->n < t->n_max / 2)
		record = neigh_create(w, t, ifc, address);
	return record;
}

// ---- waiting packets

static void queue_release(struct neigh_table *t, struct neigh *n)
{
	t->n_waiting -= t->queue[n->queue].n;
	t->queue[n->queue].n = 0;
	t->free_queue[t->n_free_queues++] = n->queue;
	n->queue = NEIGH_NO_QUEUE;
}

static void queue_drop(
	struct worker *w, struct neigh_table *t, struct neigh *n, enum cgn_drop reason)
{
	struct neigh_queue *q;

	if (n->queue == NEIGH_NO_QUEUE)
		return;
	q = &t->queue[n->queue];
	for (uint16_t i = 0; i < q->n; i++) {
		if (reason == CGN_DROP_NEIGHBOUR_UNRESOLVED)
			t->protocol->give_up(w, q->m[i], n);
		else
			worker_drop(w, q->m[i], reason, n->ifc);
	}
	queue_release(t, n);
}

static void queue_send(struct worker *w, struct neigh_table *t, struct neigh *n)
{
	const struct worker_port *port = &w->port[n->ifc];
	struct neigh_queue *q;

	if (n->queue == NEIGH_NO_QUEUE)
		return;
	q = &t->queue[n->queue];
	for (uint16_t i = 0; i < q->n; i++) {
		struct rte_mbuf *m = q->m[i];
		uint8_t *ip = rte_pktmbuf_mtod(m, uint8_t *);

		forward_l2(port, m, ip, m->data_len, n->mac);
		memcpy(ip - 2, &t->protocol->ethertype, 2);
		forward_transmit(w, n->ifc, m);
	}
	queue_release(t, n);
}

void neigh_wait(struct worker *w, struct neigh_table *t, uint32_t record, struct rte_mbuf *m)
{
	struct neigh *n = &t->neigh[record];
	struct neigh_queue *q;

	n->used_s = w->now_s;
	if (n->state == NEIGH_FAILED) {
		t->protocol->give_up(w, m, n);
		return;
	}
	if (n->queue == NEIGH_NO_QUEUE && t->n_free_queues && t->n_waiting < NEIGH_WAITING_MAX)
		n->queue = t->free_queue[--t->n_free_queues];
	q = n->queue == NEIGH_NO_QUEUE ? NULL : &t->queue[n->queue];
	if (!q || q->n == NEIGH_WAIT_MAX || t->n_waiting == NEIGH_WAITING_MAX) {
		worker_drop(w, m, CGN_DROP_NEIGHBOUR_QUEUE_FULL, n->ifc);
		return;
	}
	q->m[q->n++] = m;
	t->n_waiting++;
}

void neigh_learn(
	struct worker *w, struct neigh_table *t, uint32_t record, const uint8_t *mac, bool stale)
{
	struct neigh *n = &t->neigh[record];

	t->n_unresolved -= !neigh_has_mac(n);
	memmove(n->mac, mac, 6); // may be the one that is there
	n->state = NEIGH_REACHABLE;
	n->stale = stale;
	n->tries = 0;
	n->confirmed_s = w->now_s;
	queue_send(w, t, n);
}

void neigh_drop_all(struct worker *w, struct neigh_table *t)
{
	for (uint32_t i = 0; i < t->top; i++) {
		if (t->neigh[i].state != NEIGH_FREE)
			queue_drop(w, t, &t->neigh[i], CGN_DROP_STOPPED);
	}
}

// ---- upkeep

static void neigh_check(struct worker *w, struct neigh_table *t, uint32_t record)
{
	struct neigh *n = &t->neigh[record];

	switch ((enum neigh_state)n->state) {
	case NEIGH_FREE:
		return;
	case NEIGH_REACHABLE:
		if (!n->pinned && w->now_s - n->used_s >= NEIGH_IDLE_S) {
			neigh_remove(t, record);
		} else if ((n->stale || w->now_s - n->confirmed_s >= NEIGH_FRESH_S) &&
			(n->pinned || n->used_s > n->confirmed_s)) {
			n->state = NEIGH_PROBING;
			n->tries = 0;
			neigh_ask(w, t, n);
		}
		return;
	case NEIGH_RESOLVING:
	case NEIGH_PROBING:
		if (w->now_s - n->asked_s < NEIGH_RETRY_S)
			return;
		if (n->tries < NEIGH_TRIES) {
			neigh_ask(w, t, n);
			return;
		}
		t->n_unresolved += neigh_has_mac(n);
		n->state = NEIGH_FAILED;
		n->tries = 0;
		queue_drop(w, t, n, CGN_DROP_NEIGHBOUR_UNRESOLVED);
		return;
	case NEIGH_FAILED: // somebody may want it again, and a gateway is never given up
		if (!n->pinned && w->now_s - n->used_s >= NEIGH_FAILED_S) {
			neigh_remove(t, record);
		} else if (w->now_s - n->asked_s >= NEIGH_RETRY_S &&
			(n->pinned || n->used_s >= n->asked_s)) {
			n->state = NEIGH_RESOLVING;
			n->tries = 0;
			neigh_ask(w, t, n);
		}
		return;
	}
}

void neigh_upkeep(struct worker *w, struct neigh_table *t, uint32_t max)
{
	for (uint32_t i = 0; i < max && i < t->top; i++) {
		if (t->cursor >= t->top)
			t->cursor = 0;
		neigh_check(w, t, t->cursor++);
	}
}
