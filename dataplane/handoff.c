// SPDX-License-Identifier: BSD-3-Clause
#include "handoff.h"
#include <errno.h>
#include <rte_mbuf_dyn.h>
#include "arp.h"
#include "forward.h"
#include "frag.h"
#include "nd.h"
#include "path.h"
#include "worker.h"

int handoff_offset = -1;

int handoff_setup(void)
{
	static const struct rte_mbuf_dynfield field = {
		.name = "cgnat_handoff",
		.size = sizeof(uint32_t),
		.align = __alignof__(uint32_t),
	};

	if (handoff_offset < 0)
		handoff_offset = rte_mbuf_dynfield_register(&field);
	return handoff_offset < 0 ? -EINVAL : 0;
}

static uint32_t *label_of(struct rte_mbuf *m)
{
	return RTE_MBUF_DYNFIELD(m, handoff_offset, uint32_t *);
}

// A copy is in no packet count: it may be lost.
static bool is_copy(struct rte_mbuf *m)
{
	const uint32_t kind = *label_of(m) & 0xff;

	return kind == HANDOFF_ARP || kind == HANDOFF_ND;
}

static void flush_one(struct worker *w, uint32_t to)
{
	unsigned n = w->n_out[to], took;

	w->n_out[to] = 0;
	took = rte_ring_sp_enqueue_burst(w->ring_out[to], (void **)w->out[to], n, NULL);
	for (unsigned i = took; i < n; i++) {
		struct rte_mbuf *m = w->out[to][i];

		if (is_copy(m))
			rte_pktmbuf_free(m);
		else
			worker_drop(w, m, CGN_DROP_HANDOFF_FULL, (uint8_t)(*label_of(m) >> 8));
	}
}

void handoff_push(
	struct worker *w, uint32_t to, struct rte_mbuf *m, enum handoff_kind kind, uint8_t ifc)
{
	*label_of(m) = (uint32_t)kind | (uint32_t)ifc << 8;
	if (kind == HANDOFF_TRANSMIT)
		w->counters.tx_handoffs++;
	else if (!is_copy(m)) {
		w->counters.handoffs++;
		w->counters.interfaces[ifc].handoffs += kind == HANDOFF_PACKET;
	}
	w->out[to][w->n_out[to]++] = m;
	if (w->n_out[to] == BURST_MAX)
		flush_one(w, to);
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

unsigned handoff_receive(struct worker *w, uint32_t from, bool *full)
{
	struct rte_mbuf *m[BURST_MAX], *run[BURST_MAX];
	unsigned n_run = 0, waiting, n;

	n = rte_ring_sc_dequeue_burst(w->ring_in[from], (void **)m, BURST_MAX, &waiting);
	*full = *full || waiting >= BATCH_MAX;

	for (unsigned i = 0; i < n; i++) {
		uint32_t label = *label_of(m[i]);
		uint8_t ifc = (uint8_t)(label >> 8);

		switch ((enum handoff_kind)(label & 0xff)) {
		case HANDOFF_PACKET:
			// packets of one interface in a row go on as one batch
			run[n_run++] = m[i];
			if (i + 1 == n || *label_of(m[i + 1]) != label) {
				path_frames(w, run, n_run, ifc, true);
				n_run = 0;
			}
			break;
		case HANDOFF_HAIRPIN:
			path_hairpin(w, m[i], ifc);
			break;
		case HANDOFF_FRAGMENT:
		case HANDOFF_HAIRPIN_FRAGMENT:
			frag_receive(w, m[i], ifc, (label & 0xff) == HANDOFF_HAIRPIN_FRAGMENT);
			break;
		case HANDOFF_TRANSMIT:
			forward_transmit(w, ifc, m[i]);
			break;
		case HANDOFF_ARP:
			arp_receive(w, m[i], ifc, true);
			rte_pktmbuf_free(m[i]);
			break;
		case HANDOFF_ND:
			nd_receive(w, m[i], ifc, true);
			rte_pktmbuf_free(m[i]);
			break;
		}
	}
	return n;
}

void handoff_drop_all(struct worker *w, uint32_t from)
{
	struct rte_mbuf *m;

	while (rte_ring_sc_dequeue(w->ring_in[from], (void **)&m) == 0) {
		if (is_copy(m))
			rte_pktmbuf_free(m);
		else
			worker_drop(w, m, CGN_DROP_STOPPED, (uint8_t)(*label_of(m) >> 8));
	}
}
