// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>
#include <rte_errno.h>
#include <rte_launch.h>
#include <rte_lcore.h>
#include <rte_mbuf.h>
#include "cgnat/log.h"
#include "claims.h"
#include "eal.h"
#include "nic.h"
#include "numa.h"
#include "snapshot.h"
#include "walk.h"
#include "worker.h"

#define MBUF_CACHE 256

struct cgn_walk {
	struct cgn_dataplane *dp;
	struct worker_walk *part[CGN_WORKERS_MAX];
	uint32_t n_parts, next; // next: part to read from
	struct cgn_walk *zombie_next;
};

struct cgn_dataplane {
	const struct cgn_config *config;
	struct snapshot *snapshot;
	struct numa numa;
	struct rte_mempool *mbufs[CGN_WORKERS_MAX]; // by place in numa.node[]
	struct nic nic[CGN_INTERFACES_MAX];
	uint32_t n_nics, n_nics_started;
	struct worker *worker[CGN_WORKERS_MAX];
	uint32_t n_workers; // created
	struct rte_ring *ring[CGN_WORKERS_MAX][CGN_WORKERS_MAX]; // [from][to]
	struct rte_ring *ring_in[CGN_WORKERS_MAX][CGN_WORKERS_MAX]; // the same, transposed
	struct rte_ring *walk_ring[CGN_WORKERS_MAX];
	struct claims *claims; // NULL with one worker
	// workers read it every turn: no line of it may be written for anything else
	char before_stop[CGN_CACHE_LINE];
	atomic_bool stop;
	char after_stop[CGN_CACHE_LINE];
	bool running;
	uint32_t n_walks;
	struct cgn_walk *zombies; // ended; their workers have not let go yet
};

// ---- start

static int worker_node(const struct cgn_dataplane *dp, uint32_t worker)
{
	return dp->numa.node[dp->numa.at[worker]];
}

static void nodes_find(struct cgn_dataplane *dp)
{
	const uint32_t n = dp->config->runtime.n_workers;
	int node[CGN_WORKERS_MAX];

	for (uint32_t i = 0; i < n; i++)
		node[i] = (int)rte_lcore_to_socket_id(dp->config->runtime.worker_lcores[i]);
	dp->numa = numa_of(node, n);
}

static void warn_far(const struct cgn_dataplane *dp)
{
	for (uint32_t i = 0; i < dp->n_nics; i++) {
		const int node = rte_eth_dev_socket_id(dp->nic[i].device);

		for (uint32_t w = 0; w < dp->n_workers; w++) {
			if (dp->worker[w]->port[i].rx && numa_far(node, worker_node(dp, w)))
				LOG(WARNING,
					"interface %s: its device is on NUMA node %d, worker %u (lcore %u) on node %d: each packet crosses over",
					dp->config->interfaces[i].name, node, w,
					dp->config->runtime.worker_lcores[w], worker_node(dp, w));
		}
	}
}

// One pool of packet buffers for each NUMA node that has workers.
static int mbufs_create(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	const uint32_t n_workers = dp->config->runtime.n_workers;
	uint32_t fixed = 1024, each, room = 0;

	each = MBUF_CACHE * 2 + BATCH_MAX * 4 + 2 * NEIGH_WAITING_MAX + 2 * FRAG_HELD_MAX;
	if (n_workers > 1)
		each += HANDOFF_RING;
	for (uint32_t i = 0; i < dp->n_nics; i++) {
		// any worker's frames may wait in a transmit queue
		fixed += dp->nic[i].n_tx * NIC_TX_DESC;
		each += (dp->nic[i].n_rx + n_workers - 1) / n_workers * NIC_RX_DESC;
		if (dp->config->interfaces[i].mtu > room)
			room = dp->config->interfaces[i].mtu;
	}
	// one buffer holds a whole frame; devices round its size down, some to 1 KB
	room = (room + 64 + 1023) / 1024 * 1024;
	if (room < RTE_MBUF_DEFAULT_DATAROOM)
		room = RTE_MBUF_DEFAULT_DATAROOM;
	room += RTE_PKTMBUF_HEADROOM;
	for (uint32_t i = 0; i < dp->numa.n; i++) {
		const uint32_t n = fixed + dp->numa.n_workers[i] * each;
		char name[RTE_MEMPOOL_NAMESIZE];

		snprintf(name, sizeof(name), "packets%u", i);
		dp->mbufs[i] = rte_pktmbuf_pool_create(
			name, n, MBUF_CACHE, 0, (uint16_t)room, dp->numa.node[i]);
		if (dp->mbufs[i])
			continue;
		snprintf(err, err_size,
			"no memory for %u packet buffers (%u MB) on NUMA node %d; raise runtime.memory-mb",
			n, (unsigned)((uint64_t)n * (room + 192) >> 20), dp->numa.node[i]);
		return -ENOMEM;
	}
	return 0;
}

static int claims_setup(struct cgn_dataplane *dp, uint32_t n_workers)
{
	uint64_t seed[2];

	if (n_workers == 1)
		return 0;
	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return -EIO;
	dp->claims = claims_create(n_workers, seed);
	return dp->claims ? 0 : -ENOMEM;
}

static int walk_ring_create(struct cgn_dataplane *dp, uint32_t worker, int node)
{
	char name[RTE_RING_NAMESIZE];

	snprintf(name, sizeof(name), "walk%u", worker);
	dp->walk_ring[worker] =
		rte_ring_create(name, 2 * CGN_WALKS_MAX, node, RING_F_SP_ENQ | RING_F_SC_DEQ);
	return dp->walk_ring[worker] ? 0 : -ENOMEM;
}

static int rings_create(struct cgn_dataplane *dp, uint32_t n_workers)
{
	char name[RTE_RING_NAMESIZE];

	for (uint32_t i = 0; i < n_workers; i++) {
		if (walk_ring_create(dp, i, worker_node(dp, i)))
			return -ENOMEM;
		for (uint32_t j = 0; j < n_workers; j++) {
			if (i == j)
				continue;
			snprintf(name, sizeof(name), "handoff%u-%u", i, j);
			dp->ring[i][j] = rte_ring_create(name, HANDOFF_RING, worker_node(dp, j),
				RING_F_SP_ENQ | RING_F_SC_DEQ);
			if (!dp->ring[i][j])
				return -ENOMEM;
			dp->ring_in[j][i] = dp->ring[i][j];
		}
	}
	return 0;
}

// Which queues of which devices are this worker's.
static void ports_assign(struct cgn_dataplane *dp, struct worker *w)
{
	for (uint32_t i = 0; i < dp->n_nics; i++) {
		const struct nic *nic = &dp->nic[i];
		struct worker_port *port = &w->port[i];
		const uint16_t vlan = dp->config->interfaces[i].vlan;
		const be16_t tag[3] = {htons(0x8100), htons(vlan), htons(0x0800)};

		memcpy(port->mac, nic->mac, 6);
		port->l2_len = vlan ? 18 : 14;
		memcpy(port->l2_tail, vlan ? tag : tag + 2, vlan ? 6 : 2);
		const uint32_t shift = nic_shift(nic, i);
		const uint32_t first = (w->id + w->n_workers - shift % w->n_workers) % w->n_workers;

		if (first < nic->n_rx) {
			port->rx = nic_rx;
			port->rx_ctx = NIC_RX_CTX(nic, first, w->n_workers);
		}
		// fewer transmit queues than workers: the first ones transmit for the others
		port->tx_worker = (w->id + shift) % w->n_workers < nic->n_tx
			? w->id
			: (w->n_workers - shift % w->n_workers) % w->n_workers;
		if (port->tx_worker == w->id) {
			port->tx = nic_tx;
			port->tx_ctx = NIC_TX_CTX(nic, (w->id + shift) % w->n_workers);
		}
	}
}

static int workers_create(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	const struct cgn_config *config = dp->config;

	for (uint32_t i = 0; i < config->runtime.n_workers; i++) {
		const char *what;
		uint8_t key[32];
		struct worker_spec spec = {
			.id = i,
			.n_workers = config->runtime.n_workers,
			.snapshot = dp->snapshot,
			.mbufs = dp->mbufs[dp->numa.at[i]],
			.socket = worker_node(dp, i),
			.rng_key = key,
			.claims = dp->claims,
		};
		struct worker *w;

		if (getrandom(key, sizeof(key), 0) != sizeof(key))
			return -EIO;
		w = worker_create(&spec, &what);
		if (!w) {
			snprintf(err, err_size,
				"no memory for %s: the tables take %u MB in all; raise runtime.memory-mb (%u)",
				what, (unsigned)(cgn_dataplane_table_bytes(config) >> 20) + 1,
				config->runtime.memory_mb);
			return -ENOMEM;
		}
		dp->worker[dp->n_workers++] = w;
		for (uint32_t p = 0; p < config->n_pools; p++) {
			if (w->blocks.pool[p].n_total ||
				config->pools[p].allocation == CGN_ALLOCATION_DETERMINISTIC)
				continue;
			snprintf(err, err_size,
				"pool %s: worker %u of %u has no port block to lend; more addresses, smaller blocks, or fewer reserved and static ports",
				config->pools[p].name, i, config->runtime.n_workers);
			return -EINVAL;
		}
		w->ring_out = dp->ring[i];
		w->ring_in = dp->ring_in[i];
		w->walk_ring = dp->walk_ring[i];
		w->stop = &dp->stop;
		idle_init(&w->idle, config->runtime.idle, config->runtime.share_cpus);
		ports_assign(dp, w);
	}
	return 0;
}

// A next hop that is the interface's own address, which only its device's MAC address tells.
static int check_gateways6(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	const struct routes6 *routes = &dp->snapshot->routes6;

	for (uint32_t i = 0; i < routes->n_gateways; i++) {
		const struct gateway6 *g = &routes->gateway[i];
		const struct cgn_ipv6 own = cgn_ipv6_link_local(dp->nic[g->ifc].mac);

		if (cgn_ipv6_same(&own, &g->address)) {
			snprintf(err, err_size,
				"interface %s: a route's via is its own link-local address",
				dp->config->interfaces[g->ifc].name);
			return -EINVAL;
		}
	}
	return 0;
}

static int nics_probe(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	for (uint32_t i = 0; i < dp->config->n_interfaces; i++) {
		int rc = nic_probe(&dp->config->interfaces[i], &dp->nic[i], err, err_size);

		if (rc)
			return rc;
		dp->n_nics++;
		rc = nic_plan(
			&dp->nic[i], &dp->config->interfaces[i], dp->config->runtime.n_workers);
		if (rc) {
			snprintf(err, err_size, "interface %s: %s", dp->config->interfaces[i].name,
				strerror(-rc));
			return rc;
		}
	}
	return 0;
}

// What all devices of a role can tell apart.
static struct steer_plan steer_plan_of(const struct cgn_dataplane *dp)
{
	struct steer_plan plan = *STEER_PLAN_SOFTWARE;

	for (uint32_t i = 0; i < dp->n_nics; i++) {
		const unsigned bits = rss_bits(&dp->nic[i].rss);
		uint8_t *least =
			dp->nic[i].rss.by_source ? &plan.internal_bits : &plan.external_bits;

		if (bits && bits < *least)
			*least = (uint8_t)bits;
	}
	return plan;
}

static int snapshot_make(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	const struct steer_plan plan = steer_plan_of(dp);

	dp->snapshot = snapshot_create(dp->config, &plan);
	if (dp->snapshot)
		return 0;
	snprintf(err, err_size, "out of memory");
	return -ENOMEM;
}

static int start_nic(struct cgn_dataplane *dp, uint32_t i, char *err, size_t err_size)
{
	const struct cgn_interface *ifc = &dp->config->interfaces[i];
	struct nic *nic = &dp->nic[i];
	struct rte_mempool *mbufs[UINT8_MAX + 1];
	const struct steer *steer =
		ifc->role == CGN_INTERNAL ? &dp->snapshot->internal : &dp->snapshot->external;

	for (uint32_t q = 0; q < nic->n_rx; q++)
		mbufs[q] = dp->mbufs[dp->numa.at[(q + nic_shift(nic, i)) % dp->n_workers]];
	return nic_start(ifc, nic, mbufs, steer, err, err_size);
}

static int launch(struct cgn_dataplane *dp, char *err, size_t err_size)
{
	warn_far(dp);
	for (uint32_t i = 0; i < dp->n_nics; i++) {
		int rc = start_nic(dp, i, err, err_size);

		if (rc)
			return rc;
	}
	dp->running = true;
	for (uint32_t i = 0; i < dp->n_workers; i++) {
		int rc = rte_eal_remote_launch(
			worker_main, dp->worker[i], dp->config->runtime.worker_lcores[i]);

		if (rc) {
			snprintf(err, err_size, "worker %u cannot be started on lcore %u: %s", i,
				dp->config->runtime.worker_lcores[i], strerror(-rc));
			return rc;
		}
	}
	return 0;
}

int cgn_dataplane_start(const struct cgn_config *config, const struct cgn_block_memory *blocks,
	struct cgn_dataplane **out, char *err, size_t err_size)
{
	struct cgn_dataplane *dp = calloc(1, sizeof(*dp));
	int rc = -ENOMEM;

	snprintf(err, err_size, "out of memory");
	if (!dp)
		return -ENOMEM;
	dp->config = config;
	rc = eal_start(config, err, err_size);
	if (rc) {
		free(dp);
		return rc;
	}
	nodes_find(dp);
	rc = nics_probe(dp, err, err_size);
	if (rc)
		goto err_stop;
	rc = snapshot_make(dp, err, err_size);
	if (!rc)
		rc = check_gateways6(dp, err, err_size);
	if (!rc)
		rc = mbufs_create(dp, err, err_size);
	if (rc)
		goto err_stop;
	rc = rings_create(dp, config->runtime.n_workers);
	if (!rc)
		rc = claims_setup(dp, config->runtime.n_workers);
	if (rc) {
		snprintf(err, err_size, "no memory for hand-off rings; raise runtime.memory-mb");
		goto err_stop;
	}
	rc = workers_create(dp, err, err_size);
	for (uint32_t i = 0; !rc && blocks && i < dp->n_workers; i++)
		rc = worker_restore(dp->worker[i], blocks, 0);
	if (!rc)
		rc = launch(dp, err, err_size);
	if (rc)
		goto err_stop;
	*out = dp;
	return 0;

err_stop:
	cgn_dataplane_stop(dp);
	return rc;
}

// ---- stop

static void walk_free(struct cgn_walk *walk)
{
	for (uint32_t i = 0; i < walk->n_parts; i++)
		free(walk->part[i]);
	free(walk);
}

// Frees ended walks that every worker has let go of.
static void walks_reap(struct cgn_dataplane *dp, bool all)
{
	struct cgn_walk **link = &dp->zombies;

	while (*link) {
		struct cgn_walk *walk = *link;
		bool released = true;

		for (uint32_t i = 0; i < walk->n_parts; i++) {
			released = released &&
				atomic_load_explicit(
					&walk->part[i]->released, memory_order_acquire);
		}
		if (released || all) {
			*link = walk->zombie_next;
			walk_free(walk);
			dp->n_walks--;
		} else {
			link = &walk->zombie_next;
		}
	}
}

void cgn_dataplane_stop(struct cgn_dataplane *dp)
{
	atomic_store(&dp->stop, true);
	if (dp->running)
		rte_eal_mp_wait_lcore();
	walks_reap(dp, true);
	for (uint32_t i = 0; i < dp->n_workers; i++)
		worker_destroy(dp->worker[i]);
	claims_destroy(dp->claims);
	for (uint32_t i = 0; i < dp->n_nics; i++)
		nic_stop(&dp->nic[i]);
	for (uint32_t i = 0; i < CGN_WORKERS_MAX; i++) {
		rte_ring_free(dp->walk_ring[i]);
		for (uint32_t j = 0; j < CGN_WORKERS_MAX; j++)
			rte_ring_free(dp->ring[i][j]);
	}
	for (uint32_t i = 0; i < dp->numa.n; i++)
		rte_mempool_free(dp->mbufs[i]);
	snapshot_destroy(dp->snapshot);
	free(dp);
	eal_stop();
}

// ---- other people's workers

void dataplane_around_free(struct cgn_dataplane *dp)
{
	walks_reap(dp, true);
	for (uint32_t i = 0; i < dp->n_workers; i++)
		rte_ring_free(dp->walk_ring[i]);
	free(dp);
}

struct cgn_dataplane *dataplane_around(
	const struct cgn_config *config, struct worker *const *workers, uint32_t n_workers)
{
	struct cgn_dataplane *dp = calloc(1, sizeof(*dp));

	if (!dp)
		return NULL;
	dp->config = config;
	for (uint32_t i = 0; i < n_workers; i++) {
		dp->worker[dp->n_workers++] = workers[i];
		if (walk_ring_create(dp, i, SOCKET_ID_ANY)) {
			dataplane_around_free(dp);
			return NULL;
		}
		workers[i]->walk_ring = dp->walk_ring[i];
	}
	return dp;
}

// ---- read

void cgn_dataplane_counters(
	const struct cgn_dataplane *dp, uint32_t worker, struct cgn_counters *out)
{
	memset(out, 0, sizeof(*out));
	for (uint32_t i = 0; i < dp->n_workers; i++) {
		if (worker == CGN_ALL_WORKERS || worker == i)
			cgn_counters_add(out, &dp->worker[i]->counters);
	}
}

int cgn_dataplane_link(
	const struct cgn_dataplane *dp, uint32_t interface, struct cgn_link_status *out)
{
	if (interface >= dp->n_nics)
		return -EINVAL;
	nic_link(&dp->nic[interface], out);
	return 0;
}

// ---- walks

int cgn_walk_start(struct cgn_dataplane *dp, enum cgn_walk_kind kind,
	const struct cgn_filter *filter, struct cgn_walk **out)
{
	struct cgn_walk *walk;

	walks_reap(dp, false);
	if (dp->n_walks == CGN_WALKS_MAX)
		return -EBUSY;
	walk = calloc(1, sizeof(*walk));
	if (!walk)
		return -ENOMEM;
	walk->dp = dp;
	for (uint32_t i = 0; i < dp->n_workers; i++) {
		struct worker_walk *part;

		if (filter->by_worker && filter->worker != i)
			continue;
		part = aligned_alloc(CGN_CACHE_LINE, sizeof(*part));
		if (!part) {
			walk_free(walk);
			return -ENOMEM;
		}
		memset(part, 0, sizeof(*part));
		part->kind = kind;
		part->filter = *filter;
		walk->part[walk->n_parts++] = part;
	}
	for (uint32_t i = 0, part = 0; i < dp->n_workers; i++) {
		if (filter->by_worker && filter->worker != i)
			continue;
		// the ring has more places than there can be walks
		rte_ring_sp_enqueue(dp->walk_ring[i], walk->part[part++]);
	}
	dp->n_walks++;
	*out = walk;
	return 0;
}

static uint32_t part_read(
	struct worker_walk *part, struct cgn_walk_record *records, uint32_t max, bool *done)
{
	// `done` is read first: what was written before it is then seen, too
	bool was_done = atomic_load_explicit(&part->done, memory_order_acquire);
	uint32_t head = atomic_load_explicit(&part->head, memory_order_acquire);
	uint32_t tail = atomic_load_explicit(&part->tail, memory_order_relaxed);
	uint32_t n = 0;

	for (; n < max && tail != head; n++, tail++)
		records[n] = part->ring[tail % WALK_RING];
	atomic_store_explicit(&part->tail, tail, memory_order_release);
	*done = was_done && tail == head;
	return n;
}

uint32_t cgn_walk_read(
	struct cgn_walk *walk, struct cgn_walk_record *records, uint32_t max, bool *done)
{
	uint32_t n = 0, n_done = 0;

	for (uint32_t i = 0; i < walk->n_parts; i++) {
		uint32_t at = (walk->next + i) % walk->n_parts;
		bool part_done;

		n += part_read(walk->part[at], records + n, max - n, &part_done);
		n_done += part_done;
	}
	walk->next++;
	*done = n_done == walk->n_parts;
	return n;
}

void cgn_walk_end(struct cgn_walk *walk)
{
	struct cgn_dataplane *dp = walk->dp;

	for (uint32_t i = 0; i < walk->n_parts; i++)
		atomic_store_explicit(&walk->part[i]->cancelled, true, memory_order_release);
	walk->zombie_next = dp->zombies;
	dp->zombies = walk;
	walks_reap(dp, false);
}
