// SPDX-License-Identifier: BSD-3-Clause
#include "handoff.h"
#include <arpa/inet.h>
#include <string.h>
#include "arp.h"
#include "forward.h"
#include "frag.h"
#include "nd.h"
#include "path.h"
#include "worker.h"

// An entry of a ring is the address of a buffer, of which user space has 48 bits, and above it what
// to do with it. So the sender need not touch the buffer, nor the receiver before its time.
#define ADDRESS_BITS 48
#define ADDRESS_MASK ((1ull << ADDRESS_BITS) - 1)
_Static_assert(sizeof(void *) == 8 && CGN_INTERFACES_MAX <= 32, "the label fits, and `seen`");

#define AHEAD 8 // frames whose headers are fetched in advance

#define LABEL(kind, ifc) ((uint32_t)(kind) << 8 | (ifc))

static inline void *entry_of(struct rte_mbuf *m, uint32_t label)
{
	return (void *)((uintptr_t)m | (uintptr_t)label << ADDRESS_BITS);
}

static inline struct rte_mbuf *mbuf_of(void *entry)
{
	return (struct rte_mbuf *)((uintptr_t)entry & ADDRESS_MASK);
}

static inline uint32_t label_of(void *entry)
{
	return (uint32_t)((uintptr_t)entry >> ADDRESS_BITS);
}

// A copy is in no packet count: it may be lost.
static bool is_copy(uint32_t label)
{
	return label >> 8 == HANDOFF_ARP || label >> 8 == HANDOFF_ND;
}

static void drop(struct worker *w, void *entry, enum cgn_drop reason)
{
	const uint32_t label = label_of(entry);

	if (is_copy(label))
		rte_pktmbuf_free(mbuf_of(entry));
	else
		worker_drop(w, mbuf_of(entry), reason, (uint8_t)label);
}

static void flush_one(struct worker *w, uint32_t to)
{
	unsigned n = w->n_out[to], took;

	w->n_out[to] = 0;
	took = rte_ring_sp_enqueue_burst(w->ring_out[to], w->out[to], n, NULL);
	for (unsigned i = took; i < n; i++)
		drop(w, w->out[to][i], CGN_DROP_HANDOFF_FULL);
}

static inline void put(struct worker *w, uint32_t to, void *entry)
{
	const uint16_t n = w->n_out[to];

	w->out[to][n] = entry;
	w->n_out[to] = (uint16_t)(n + 1);
	if (cgn_unlikely(n + 1 == BURST_MAX))
		flush_one(w, to);
}

void handoff_push(
	struct worker *w, uint32_t to, struct rte_mbuf *m, enum handoff_kind kind, uint8_t ifc)
{
	const uint32_t label = LABEL(kind, ifc);

	if (kind == HANDOFF_TRANSMIT)
		w->counters.tx_handoffs++;
	else if (!is_copy(label)) {
		w->counters.handoffs++;
		w->counters.interfaces[ifc].handoffs += kind == HANDOFF_PACKET;
	}
	put(w, to, entry_of(m, label));
}

// Ethertype and tag are the interface's; the priority in the tag may be any.
static inline bool is_of_port(const struct worker_port *port, const uint8_t *l2)
{
	const uint8_t *tail = port->l2_tail, *got = l2 + 12;

	if (port->l2_len == 14)
		return !memcmp(got, tail, 2);
	return !memcmp(got, tail, 2) && (got[2] & 0x0f) == tail[2] && got[3] == tail[3] &&
		!memcmp(got + 4, tail + 4, 2);
}

// The owner of a frame; this worker for what is not as usual.
static inline uint32_t owner_of(
	const struct worker *w, const struct worker_port *port, struct rte_mbuf *m, bool inbound)
{
	const uint8_t *l2 = rte_pktmbuf_mtod(m, const uint8_t *);
	const struct ipv4 *ip = (const struct ipv4 *)(l2 + port->l2_len);
	uint32_t owner;

	if (m->data_len < port->l2_len + sizeof(*ip) || !is_of_port(port, l2) ||
		ip->ver_ihl != 0x45 || ip->frag & htons(IPV4_FRAG_MASK) ||
		(ip->proto != CGN_PROTO_TCP && ip->proto != CGN_PROTO_UDP))
		return w->id;
	if (!inbound)
		return steer_internal(w->snapshot, ntohl(ip->src));
	owner = w->snapshot->inbound[steer_index(ntohl(ip->dst))];
	return owner == SNAPSHOT_ASK ? w->id : owner;
}

unsigned handoff_early(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc, bool inbound)
{
	struct worker_port *port = &w->port[ifc];
	unsigned n_left = 0, n_gone;

	for (unsigned i = 0; i < n && i < AHEAD; i++)
		__builtin_prefetch(rte_pktmbuf_mtod(m[i], void *));
	for (unsigned i = 0; i < n; i++) {
		uint32_t owner;

		if (i + AHEAD < n)
			__builtin_prefetch(rte_pktmbuf_mtod(m[i + AHEAD], void *));
		owner = owner_of(w, port, m[i], inbound);
		if (owner == w->id)
			m[n_left++] = m[i];
		else
			put(w, owner, entry_of(m[i], LABEL(HANDOFF_PACKET, ifc)));
	}
	n_gone = n - n_left;
	w->counters.handoffs += n_gone;
	w->counters.interfaces[ifc].handoffs += n_gone;
	port->foreign = n_gone * 8 > n;
	return n_left;
}

void handoff_share(struct worker *w, struct rte_mbuf *m, enum handoff_kind kind, uint8_t ifc)
{
	for (uint32_t to = 0; to < w->n_workers; to++) {
		struct rte_mbuf *copy =
			to == w->id ? NULL : rte_pktmbuf_copy(m, w->mbufs, 0, UINT32_MAX);

		if (copy)
			handoff_push(w, to, copy, kind, ifc);
	}
}

void handoff_flush(struct worker *w)
{
	for (uint32_t to = 0; to < w->n_workers; to++) {
		if (w->n_out[to])
			flush_one(w, to);
	}
}

static void receive_other(struct worker *w, void *entry)
{
	struct rte_mbuf *m = mbuf_of(entry);
	const uint8_t ifc = (uint8_t)label_of(entry);
	const enum handoff_kind kind = (enum handoff_kind)(label_of(entry) >> 8);

	switch (kind) {
	case HANDOFF_PACKET:
		break;
	case HANDOFF_HAIRPIN:
		path_hairpin(w, m, ifc);
		break;
	case HANDOFF_FRAGMENT:
	case HANDOFF_HAIRPIN_FRAGMENT:
		frag_receive(w, m, ifc, kind == HANDOFF_HAIRPIN_FRAGMENT);
		break;
	case HANDOFF_TRANSMIT:
		forward_transmit(w, ifc, m);
		break;
	case HANDOFF_ARP:
		arp_receive(w, m, ifc, true);
		rte_pktmbuf_free(m);
		break;
	case HANDOFF_ND:
		nd_receive(w, m, ifc, true);
		rte_pktmbuf_free(m);
		break;
	}
}

unsigned handoff_receive(struct worker *w, uint32_t from, bool *full)
{
	struct rte_mbuf *m[BATCH_MAX];
	void *entry[BATCH_MAX];
	uint32_t seen = 0, others = 0; // bit per interface
	unsigned waiting, n;

	n = rte_ring_sc_dequeue_burst(w->ring_in[from], entry, BATCH_MAX, &waiting);
	*full = *full || waiting >= BATCH_MAX;
	for (unsigned i = 0; i < n; i++) {
		const uint32_t label = label_of(entry[i]);

		__builtin_prefetch(mbuf_of(entry[i]));
		if (cgn_likely(label < LABEL(HANDOFF_PACKET + 1, 0)))
			seen |= 1u << label;
		else
			others++;
	}
	for (; seen; seen &= seen - 1) { // the packets of one interface go on as one batch
		const uint32_t ifc = (uint32_t)__builtin_ctz(seen);
		unsigned n_run = 0;

		for (unsigned i = 0; i < n; i++) {
			m[n_run] = mbuf_of(entry[i]);
			n_run += label_of(entry[i]) == LABEL(HANDOFF_PACKET, ifc);
		}
		path_frames(w, m, n_run, (uint8_t)ifc, true);
	}
	for (unsigned i = 0; others && i < n; i++)
		receive_other(w, entry[i]);
	return n;
}

void handoff_drop_all(struct worker *w, uint32_t from)
{
	void *entry;

	while (rte_ring_sc_dequeue(w->ring_in[from], &entry) == 0)
		drop(w, entry, CGN_DROP_STOPPED);
}
