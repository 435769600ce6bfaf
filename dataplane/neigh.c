// SPDX-License-Identifier: BSD-3-Clause
#include "neigh.h"
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include "forward.h"
#include "worker.h"

#define ETHERTYPE_ARP 0x0806

struct __attribute__((packed, aligned(2))) arp {
	be16_t hardware, protocol;
	uint8_t hardware_len, protocol_len;
	be16_t operation;
	uint8_t sender_mac[6];
	be32_t sender;
	uint8_t target_mac[6];
	be32_t target;
};

enum {
	ARP_REQUEST = 1,
	ARP_REPLY = 2,
};

// ---- the table

int neigh_init(struct neigh_table *t, uint32_t n_max, const uint64_t seed[2], int socket)
{
	memset(t, 0, sizeof(*t));
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

static uint64_t hash_of(const struct neigh_table *t, uint8_t ifc, uint32_t address)
{
	return index_hash((uint64_t)ifc << 32 | address, t->seed);
}

struct probe {
	const struct neigh_table *t;
	uint32_t address;
	uint8_t ifc;
};

static bool same(const void *ctx, uint32_t record)
{
	const struct probe *p = ctx;
	const struct neigh *n = &p->t->neigh[record];

	return n->address == p->address && n->ifc == p->ifc;
}

uint32_t neigh_lookup(const struct neigh_table *t, uint8_t ifc, uint32_t address)
{
	uint64_t hash = hash_of(t, ifc, address);
	uint32_t record = index_candidate(&t->index, hash);
	struct probe p = {t, address, ifc};

	if (cgn_likely(record == INDEX_NONE || same(&p, record)))
		return record;
	record = index_lookup(&t->index, hash, same, &p);
	return record;
}

// REACHABLE or PROBING; the others count as unresolved.
static bool has_mac(const struct neigh *n)
{
	return n->state == NEIGH_REACHABLE || n->state == NEIGH_PROBING;
}

static uint32_t neigh_create(struct worker *w, uint8_t ifc, uint32_t address)
{
	struct neigh_table *t = &w->neighbours;
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

static void neigh_remove(struct worker *w, uint32_t record)
{
	struct neigh_table *t = &w->neighbours;
	struct neigh *n = &t->neigh[record];

	index_remove(&t->index, hash_of(t, n->ifc, n->address), record);
	t->n_unresolved -= !has_mac(n);
	n->state = NEIGH_FREE;
	t->n--;
	t->free_list[t->n_max - 1 - t->n] = record;
}

// ---- waiting packets

static void queue_release(struct neigh_table *t, struct neigh *n)
{
	t->n_waiting -= t->queue[n->queue].n;
	t->queue[n->queue].n = 0;
	t->free_queue[t->n_free_queues++] = n->queue;
	n->queue = NEIGH_NO_QUEUE;
}

static void queue_drop(struct worker *w, struct neigh *n, enum cgn_drop reason)
{
	struct neigh_queue *q;

	if (n->queue == NEIGH_NO_QUEUE)
		return;
	q = &w->neighbours.queue[n->queue];
	for (uint16_t i = 0; i < q->n; i++)
		worker_drop(w, q->m[i], reason, n->ifc);
	queue_release(&w->neighbours, n);
}

static void queue_send(struct worker *w, struct neigh *n)
{
	struct neigh_queue *q;

	if (n->queue == NEIGH_NO_QUEUE)
		return;
	q = &w->neighbours.queue[n->queue];
	for (uint16_t i = 0; i < q->n; i++) {
		struct rte_mbuf *m = q->m[i];

		forward_l2(&w->port[n->ifc], m, rte_pktmbuf_mtod(m, void *), m->data_len, n->mac);
		forward_transmit(w, n->ifc, m);
	}
	queue_release(&w->neighbours, n);
}

void neigh_wait(struct worker *w, uint32_t record, struct rte_mbuf *m)
{
	struct neigh_table *t = &w->neighbours;
	struct neigh *n = &t->neigh[record];
	struct neigh_queue *q;

	n->used_s = w->now_s;
	if (n->state == NEIGH_FAILED) {
		worker_drop(w, m, CGN_DROP_NEIGHBOUR_UNRESOLVED, n->ifc);
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

void neigh_drop_all(struct worker *w)
{
	for (uint32_t i = 0; i < w->neighbours.top; i++) {
		if (w->neighbours.neigh[i].state != NEIGH_FREE)
			queue_drop(w, &w->neighbours.neigh[i], CGN_DROP_STOPPED);
	}
}

// ---- ARP frames

// Our address to ask from: the one in the neighbour's prefix, else the interface's first.
static uint32_t source_for(const struct worker *w, uint8_t ifc, uint32_t address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	for (uint32_t i = 0; i < config->n_addresses; i++) {
		struct cgn_prefix a = config->addresses[i];

		if (!a.length || !((a.address ^ address) >> (32 - a.length)))
			return a.address;
	}
	return config->addresses[0].address;
}

static void arp_send(struct worker *w, uint8_t ifc, uint16_t operation, const uint8_t *to,
	uint32_t sender, const uint8_t *target_mac, uint32_t target)
{
	const struct worker_port *port = &w->port[ifc];
	struct rte_mbuf *m = rte_pktmbuf_alloc(w->mbufs);
	uint8_t *l2;
	struct arp *arp;
	be16_t ethertype = htons(ETHERTYPE_ARP);

	if (!m) {
		w->counters.no_buffer++;
		return;
	}
	l2 = (uint8_t *)rte_pktmbuf_append(m, (uint16_t)(port->l2_len + sizeof(*arp)));
	memcpy(l2, to, 6);
	memcpy(l2 + 6, port->mac, 6);
	memcpy(l2 + 12, port->l2_tail, port->l2_len - 12u);
	memcpy(l2 + port->l2_len - 2, &ethertype, 2);
	arp = (struct arp *)(l2 + port->l2_len);
	*arp = (struct arp){.hardware = htons(1),
		.protocol = htons(0x0800),
		.hardware_len = 6,
		.protocol_len = 4,
		.operation = htons(operation),
		.sender = htonl(sender),
		.target = htonl(target)};
	memcpy(arp->sender_mac, port->mac, 6);
	memcpy(arp->target_mac, target_mac, 6);
	w->counters.originated++;
	if (operation == ARP_REQUEST)
		w->counters.arp_requests_sent++;
	else
		w->counters.arp_replies_sent++;
	forward_transmit(w, ifc, m);
}

static void neigh_ask(struct worker *w, struct neigh *n)
{
	static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, unknown[6];
	// one that we know is asked directly (RFC 1122 2.3.2.1)
	const uint8_t *to = n->state == NEIGH_PROBING ? n->mac : broadcast;

	n->asked_s = w->now_s;
	n->tries++;
	arp_send(
		w, n->ifc, ARP_REQUEST, to, source_for(w, n->ifc, n->address), unknown, n->address);
}

uint32_t neigh_get(struct worker *w, uint8_t ifc, uint32_t address)
{
	uint32_t record = neigh_lookup(&w->neighbours, ifc, address);

	if (record == NEIGH_NONE) {
		record = neigh_create(w, ifc, address);
		if (record != NEIGH_NONE)
			neigh_ask(w, &w->neighbours.neigh[record]);
	}
	return record;
}

static void neigh_learn(struct worker *w, uint8_t ifc, uint32_t address, const uint8_t *mac)
{
	uint32_t record = neigh_lookup(&w->neighbours, ifc, address);
	struct neigh *n;

	if (record == NEIGH_NONE)
		return;
	n = &w->neighbours.neigh[record];
	w->neighbours.n_unresolved -= !has_mac(n);
	memcpy(n->mac, mac, 6);
	n->state = NEIGH_REACHABLE;
	n->tries = 0;
	n->confirmed_s = w->now_s;
	queue_send(w, n);
}

static bool arp_valid(const struct arp *arp)
{
	return arp->hardware == htons(1) && arp->protocol == htons(0x0800) &&
		arp->hardware_len == 6 && arp->protocol_len == 4 &&
		(arp->operation == htons(ARP_REQUEST) || arp->operation == htons(ARP_REPLY)) &&
		!(arp->sender_mac[0] & 1);
}

// In one of the interface's own prefixes, whatever else routes or pools say of it.
static bool is_on_link(const struct worker *w, uint8_t ifc, uint32_t address)
{
	const struct cgn_interface *config = w->snapshot->interface[ifc].config;

	for (uint32_t i = 0; i < config->n_addresses; i++) {
		struct cgn_prefix a = config->addresses[i];

		if (!a.length || !((a.address ^ address) >> (32 - a.length)))
			return true;
	}
	return false;
}

// Do we answer for this address on this interface? For its own, and for pool addresses that lie in
// one of its prefixes.
static bool arp_is_ours(const struct worker *w, uint8_t ifc, uint32_t address)
{
	uint32_t dest = dest_lookup(w->snapshot, address);

	if (DEST_KIND(dest) == DEST_LOCAL)
		return DEST_INDEX(dest) == ifc;
	if (DEST_KIND(dest) != DEST_POOL)
		return false;
	return is_on_link(w, ifc, address);
}

static bool source_is_ours(const struct worker *w, uint32_t address)
{
	enum dest_kind kind = DEST_KIND(dest_lookup(w->snapshot, address));

	return kind == DEST_LOCAL || kind == DEST_POOL || kind == DEST_MARTIAN;
}

void neigh_arp(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy)
{
	const uint8_t *l2 = rte_pktmbuf_mtod(m, uint8_t *);
	unsigned l2_len = l2[12] == 0x81 && l2[13] == 0x00 ? 18 : 14;
	const struct arp *arp = (const struct arp *)(l2 + l2_len);
	uint32_t sender, target;
	bool on_link, ours;

	if (m->data_len < l2_len + sizeof(*arp) || !arp_valid(arp)) {
		if (!copy)
			worker_count_drop(w, CGN_DROP_ARP_INVALID, ifc);
		return;
	}
	sender = ntohl(arp->sender);
	target = ntohl(arp->target);
	on_link = is_on_link(w, ifc, sender) && !source_is_ours(w, sender);
	ours = arp_is_ours(w, ifc, target);
	// any ARP frame refreshes a neighbour that we have; one that asks us becomes a neighbour
	if (on_link) {
		if (ours && arp->operation == htons(ARP_REQUEST) && !copy &&
			neigh_lookup(&w->neighbours, ifc, sender) == NEIGH_NONE &&
			w->neighbours.n < w->neighbours.n_max / 2) // askers may not fill the table
			neigh_create(w, ifc, sender);
		neigh_learn(w, ifc, sender, arp->sender_mac);
	}
	if (copy)
		return;
	w->counters.consumed++;
	if (ours && arp->operation == htons(ARP_REQUEST)) {
		arp_send(w, ifc, ARP_REPLY, arp->sender_mac, target, arp->sender_mac, sender);
	}
}

// ---- upkeep

static void neigh_check(struct worker *w, uint32_t record)
{
	struct neigh *n = &w->neighbours.neigh[record];

	switch ((enum neigh_state)n->state) {
	case NEIGH_FREE:
		return;
	case NEIGH_REACHABLE:
		if (!n->pinned && w->now_s - n->used_s >= NEIGH_IDLE_S) {
			neigh_remove(w, record);
		} else if (w->now_s - n->confirmed_s >= NEIGH_FRESH_S &&
			(n->pinned || n->used_s > n->confirmed_s)) {
			n->state = NEIGH_PROBING;
			n->tries = 0;
			neigh_ask(w, n);
		}
		return;
	case NEIGH_RESOLVING:
	case NEIGH_PROBING:
		if (w->now_s - n->asked_s < NEIGH_RETRY_S)
			return;
		if (n->tries < NEIGH_TRIES) {
			neigh_ask(w, n);
			return;
		}
		w->neighbours.n_unresolved += has_mac(n);
		n->state = NEIGH_FAILED;
		n->tries = 0;
		queue_drop(w, n, CGN_DROP_NEIGHBOUR_UNRESOLVED);
		return;
	case NEIGH_FAILED: // somebody may want it again, and a gateway is never given up
		if (!n->pinned && w->now_s - n->used_s >= NEIGH_FAILED_S) {
			neigh_remove(w, record);
		} else if (w->now_s - n->asked_s >= NEIGH_RETRY_S &&
			(n->pinned || n->used_s >= n->asked_s)) {
			n->state = NEIGH_RESOLVING;
			n->tries = 0;
			neigh_ask(w, n);
		}
		return;
	}
}

void neigh_upkeep(struct worker *w, uint32_t max)
{
	struct neigh_table *t = &w->neighbours;

	for (uint32_t i = 0; i < max && i < t->top; i++) {
		if (t->cursor >= t->top)
			t->cursor = 0;
		neigh_check(w, t->cursor++);
	}
}
