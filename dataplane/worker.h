// SPDX-License-Identifier: BSD-3-Clause
// A worker: one poll-mode thread and everything it owns. Nobody else writes any of it, but for the
// rings named below.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <rte_mempool.h>
#include <rte_ring.h>
#include "batch.h"
#include "cgnat/counters.h"
#include "cgnat/dataplane.h"
#include "fast.h"
#include "flow.h"
#include "fragmap.h"
#include "ident.h"
#include "idle.h"
#include "neigh.h"
#include "overload.h"
#include "portblock.h"
#include "rest.h"
#include "rng.h"
#include "snapshot.h"
#include "stage.h"
#include "subscriber.h"
#include "syn.h"
#include "token.h"

#define WORKER_TX_MAX 128 // frames that wait for transmission on one interface
#define HANDOFF_RING 2048 // slots of a ring between two workers, power of two
#define UPKEEP_FLOWS 32 // sessions looked at per round, at most (worker.c says how many rounds)
#define UPKEEP_RESTS 32 // rests of ports ended per round
#define UPKEEP_BLOCKS 8 // rests of blocks ended per round
#define UPKEEP_NEIGHBOURS 16
#define UPKEEP_SYNS 32 // unsolicited SYNs answered per loop
#define UPKEEP_WALK 256 // records looked at per loop and walk
#define UPKEEP_FRAGS 16 // fragmented datagrams given up per loop

// Sessions of static mappings have room of their own, in which anybody outside may open some: so
// many for each session of max-sessions, but STATIC_SESSIONS_MIN.
#define STATIC_SESSIONS_SHARE 4
#define STATIC_SESSIONS_MIN 1024

#define ICMP_HOSTS 2048u // buckets of icmp.errors-per-second-per-host, power of two

typedef uint16_t (*burst_fn)(void *ctx, struct rte_mbuf **m, uint16_t n);

// An interface as this worker sees it. rx is NULL when another worker polls it, tx when another
// one transmits for us (tx_worker).
struct worker_port {
	burst_fn rx, tx;
	void *rx_ctx, *tx_ctx;
	uint32_t tx_worker;
	uint8_t mac[6];
	uint8_t l2_len; // 14, or 18 with a VLAN tag
	uint8_t l2_tail[6]; // what follows the two MAC addresses: [802.1Q tag,] ethertype
	bool foreign; // much of what comes in here is other workers': handoff_early()
	uint16_t n_tx;
	struct rte_mbuf *txbuf[WORKER_TX_MAX];
};

struct worker_walk; // walk.h
struct claims; // claims.h

struct worker {
	// read-mostly
	uint32_t id, n_workers;
	const struct snapshot *snapshot;
	struct rte_mempool *mbufs;
	struct cgn_timeouts timeouts;
	uint64_t now_ns; // worker's monotonic clock, read once per loop
	uint32_t now_s; // the same in seconds, from 1
	int64_t wall_offset_s; // Unix time - now_s
	uint32_t *gateway_neigh; // per snapshot gateway

	const struct fast *fast; // the established path; NULL: all packets take the general one
	struct adjacency *adjacency; // per snapshot gateway
	uint64_t fast_burst; // number of the burst at hand

	struct worker_port port[CGN_INTERFACES_MAX];
	struct flow_table flows;
	uint32_t n_sessions_max; // of dynamic mappings; those of static ones have room of their own
	struct { // static mappings
		uint32_t *sessions; // by mapping of the config
		uint32_t n_sessions, n_sessions_max;
		uint32_t n_heads; // flows that stand for one now
		uint32_t since_s;
	} statics;
	struct portblocks blocks;
	struct subscribers subscribers;
	struct rest rests;
	struct syn_store syns;
	struct neigh_table neighbours; // IPv4
	struct cgn_block_record *memory; // of all blocks (cgnat/blocks.h), or NULL
	uint32_t *memory_at; // per address of `blocks`: its first record
	uint32_t memory_presets[CGN_POOLS_MAX]; // per pool: the record of subscriber 0 of the plan
	uint32_t
		*address_of; // per snapshot pool address: its number in `blocks`, or PORTBLOCK_NONE
	struct fragmap frags;
	struct rng rng;
	struct token_bucket icmp_bucket[2]; // by the role of the interface that is answered
	struct token_bucket icmp_reserve[2]; // likewise, for hosts within their own rate
	struct token_bucket icmp_host[ICMP_HOSTS]; // by a hash of the address that is answered
	uint64_t icmp_seed[2];
	struct token_bucket echo_bucket;

	struct claims *claims; // shared by all; NULL when there is one worker
	struct { // IPv6; all zero when no interface has it
		struct neigh_table neighbours;
		uint32_t *gateway_neigh; // per gateway of snapshot->routes6
		struct cgn_ipv6 link_local[CGN_INTERFACES_MAX];
		struct token_bucket
			error_bucket[2]; // by the role of the interface that is answered
		struct token_bucket echo_bucket;
	} ipv6;

	struct ident ident;
	struct overload overload;

	struct batch batch; // the burst at hand
	struct batch loop_batch; // hairpins on their way in again
	struct rte_mbuf *loop[BATCH_MAX];
	uint8_t loop_ifc[BATCH_MAX];
	uint16_t n_loop;

	// hand-off: ring[from][to], single producer, single consumer; NULL where from = to
	struct rte_ring **ring_out, **ring_in; // by peer
	void *out[CGN_WORKERS_MAX][BURST_MAX]; // as they stand in the rings
	uint16_t n_out[CGN_WORKERS_MAX];

	struct rte_ring *walk_ring; // control: w, worker: r: new walks
	struct worker_walk *walk[CGN_WALKS_MAX];
	uint32_t n_walks;

	atomic_bool *stop; // control: w, worker: r
	uint64_t busy_tsc, busy_since_tsc;
	uint64_t upkeep_made; // sessions_created when the last upkeep began
	uint32_t gauges_s; // second of the last publication of the gauges
	uint64_t asleep_tsc; // likewise
	struct idle idle;
#ifdef CGN_STAGES
	struct stage_clock stages;
#endif

	struct cgn_counters counters; // worker: w, control: r
} __attribute__((aligned(CGN_CACHE_LINE)));

struct worker_spec {
	uint32_t id, n_workers;
	const struct snapshot *snapshot;
	struct rte_mempool *mbufs;
	int socket;
	const uint8_t *rng_key; // 32 bytes
	struct claims *claims; // of all workers; may be NULL where no policy has portless-protocols
};

// Takes all memory of a worker. NULL with *what naming the table for which there was none. Ports
// and rings are the caller's to fill in; then worker_begin() once, before the first poll.
struct worker *worker_create(const struct worker_spec *spec, const char **what);
// Before worker_begin(), at the same time: lets the blocks rest that the last run left in use, and keeps their state in
// memory->records from now on. 0, -ENOMEM, or -EINVAL: too few records. In restore.c.
int worker_restore(struct worker *w, const struct cgn_block_memory *memory, uint64_t now_ns);

void worker_destroy(struct worker *w); // frees what is still held, too
void worker_begin(struct worker *w, uint64_t now_ns);

// Sets the worker's clock; worker_poll() does.
void worker_clock(struct worker *w, uint64_t now_ns);

// One turn of the loop at time now_ns: receive, translate, transmit, upkeep. Returns packets
// received and taken over. The whole worker is a function of its packets, this clock and its seed.
unsigned worker_poll(struct worker *w, uint64_t now_ns);

// What comes between a turn that returned n and the next one: IDLE_GO_ON, IDLE_PAUSE, or nanoseconds
// to sleep. It never sleeps while a packet is held or waits in a ring, or control asks something.
uint32_t worker_rest(struct worker *w, unsigned n, uint64_t now_ns);

// Drops (counts) every packet that is still held.
void worker_drop_held(struct worker *w);

// The loop of an lcore: polls until *stop.
int worker_main(void *worker);

// ---- for the stages

static inline void worker_count_drop(struct worker *w, enum cgn_drop reason, uint8_t ifc)
{
	w->counters.drops[reason]++;
	w->counters.interfaces[ifc].drops++;
}

static inline void worker_drop(
	struct worker *w, struct rte_mbuf *m, enum cgn_drop reason, uint8_t ifc)
{
	worker_count_drop(w, reason, ifc);
	rte_pktmbuf_free(m);
}

static inline void pkt_drop(struct worker *w, struct pkt *p, enum cgn_drop reason)
{
	worker_drop(w, p->m, reason, p->ifc);
}
