// SPDX-License-Identifier: BSD-3-Clause
#include "box.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <rte_eal.h>
#include <rte_ethdev.h>
#include <rte_launch.h>
#include <rte_mbuf.h>
#include "../packet/frame.h"
#include "eal.h"
#include "nic.h"
#include "worker.h"

#define TURNS_MAX 20000 // without coming to rest: something goes in circles
#define QUIET_TURNS 2 // what one worker puts into a ring in its turn, the next one finds

struct queue {
	struct box_frame **f;
	size_t first, n, room;
};

struct device {
	uint8_t mac[6];
	struct queue rx[CGN_WORKERS_MAX], tx;
	unsigned n_rx, next_rx;
	struct rte_mempool *mbufs[CGN_WORKERS_MAX]; // by queue
	struct box_wire wire;
};

static struct {
	struct device device[CGN_INTERFACES_MAX];
	unsigned n_devices;
	struct worker *worker[CGN_WORKERS_MAX];
	unsigned n_workers;
	unsigned rx_queues;
	int64_t wall_s;
	bool no_arp;
	uint32_t silent[BOX_SILENT_MAX];
	unsigned n_silent;
	unsigned lost;
} box;

uint64_t box_now_ns;

// ---- queues of frames

static void queue_put(struct queue *q, struct box_frame *f)
{
	if (q->first + q->n == q->room) {
		if (q->first)
			memmove(q->f, q->f + q->first, q->n * sizeof(*q->f));
		q->first = 0;
		if (q->n * 2 >= q->room) {
			q->room = q->room ? 2 * q->room : 64;
			q->f = realloc(q->f, q->room * sizeof(*q->f));
		}
	}
	if (!f || !q->f)
		abort(); // no memory
	q->f[q->first + q->n++] = f;
}

static struct box_frame *queue_take(struct queue *q)
{
	if (!q->n)
		return NULL;
	q->n--;
	return q->f[q->first++];
}

static void queue_free(struct queue *q)
{
	struct box_frame *f;

	while ((f = queue_take(q)))
		free(f);
	free(q->f);
	*q = (struct queue){0};
}

static struct box_frame *frame_of(const void *b, uint16_t len)
{
	struct box_frame *f = malloc(sizeof(*f) + len);

	if (!f)
		abort();
	f->len = len;
	f->at_ns = box_now_ns;
	memcpy(f->b, b, len);
	return f;
}

void box_put(unsigned ifc, const uint8_t *b, uint16_t len)
{
	struct device *d = &box.device[ifc];

	d->wire.rx_packets++;
	d->wire.rx_bytes += len;
	queue_put(&d->rx[d->next_rx++ % d->n_rx], frame_of(b, len));
}

struct box_frame *box_take(unsigned ifc)
{
	return queue_take(&box.device[ifc].tx);
}

// ---- ARP of the neighbours

void box_silence(const uint32_t *addresses, unsigned n)
{
	box.n_silent = n < BOX_SILENT_MAX ? n : BOX_SILENT_MAX;
	memcpy(box.silent, addresses, box.n_silent * sizeof(*addresses));
}

void box_arp(bool answered)
{
	box.no_arp = !answered;
}

// Answers an ARP request, or keeps silent; false when it is none, or ARP is the test's.
static bool answer_arp(unsigned ifc, struct box_frame *sent)
{
	struct frame f = {.len = sent->len};
	uint32_t asked, asker;
	const uint8_t *arp;
	struct frame reply;
	unsigned l2_len;

	if (box.no_arp || sent->len > FRAME_MAX)
		return false;
	memcpy(f.b, sent->b, sent->len);
	l2_len = frame_l2_len(&f);
	arp = f.b + l2_len;
	if (arp[-2] != 0x08 || arp[-1] != 0x06 || arp[7] != 1)
		return false;
	memcpy(&asker, arp + 14, 4);
	memcpy(&asked, arp + 24, 4);
	for (unsigned i = 0; i < box.n_silent; i++) {
		if (box.silent[i] == ntohl(asked))
			return true;
	}
	reply = arp_reply(ntohl(asked), box.device[ifc].mac, ntohl(asker));
	if (l2_len == 18)
		reply = with_vlan(reply, (f.b[14] & 0xfu) << 8 | f.b[15]);
	box_put(ifc, reply.b, reply.len);
	return true;
}

// ---- running

void box_poll(void)
{
	for (unsigned i = 0; i < box.n_workers; i++)
		worker_poll(box.worker[i], box_now_ns);
}

static bool waiting(void)
{
	for (unsigned i = 0; i < box.n_devices; i++) {
		for (unsigned q = 0; q < box.device[i].n_rx; q++) {
			if (box.device[i].rx[q].n)
				return true;
		}
	}
	return false;
}

bool box_run(void)
{
	for (unsigned turn = 0, quiet = 0; quiet < QUIET_TURNS; turn++) {
		unsigned n = 0;

		if (turn == TURNS_MAX)
			return false;
		for (unsigned i = 0; i < box.n_workers; i++)
			n += worker_poll(box.worker[i], box_now_ns);
		if (n || waiting()) {
			quiet = 0;
			turn = n ? 0 : turn; // a long queue is no circle
		} else {
			quiet++;
		}
	}
	return true;
}

void box_advance(uint64_t ns)
{
	box_now_ns += ns;
}

unsigned box_interfaces(void)
{
	return box.n_devices;
}

const uint8_t *box_mac(unsigned ifc)
{
	return box.device[ifc].mac;
}

struct box_wire box_wire(unsigned ifc)
{
	return box.device[ifc].wire;
}

unsigned box_lost_buffers(void)
{
	return box.lost;
}

bool box_init(void)
{
	static char *argv[] = {"natbox", "--no-huge", "--no-shconf", "-m", "1024", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--iova-mode=va", "--log-level=error"};

	return rte_eal_init(sizeof(argv) / sizeof(*argv), argv) >= 0;
}

void box_reset(int64_t wall_s, unsigned rx_queues)
{
	for (unsigned i = 0; i < CGN_INTERFACES_MAX; i++) {
		queue_free(&box.device[i].tx);
		for (unsigned q = 0; q < CGN_WORKERS_MAX; q++)
			queue_free(&box.device[i].rx[q]);
	}
	memset(&box, 0, sizeof(box));
	box.wall_s = wall_s;
	box.rx_queues = rx_queues;
	box_now_ns = 0;
}

// ---- in place of the daemon's lower edge

typeof(eal_start) __wrap_eal_start;
int __wrap_eal_start(const struct cgn_config *config, char *err, size_t err_size)
{
	return 0; // box_init() did
}

typeof(eal_stop) __wrap_eal_stop;
void __wrap_eal_stop(void)
{
}

typeof(rte_eal_remote_launch) __wrap_rte_eal_remote_launch;
int __wrap_rte_eal_remote_launch(lcore_function_t *f, void *arg, unsigned lcore)
{
	struct worker *w = arg;

	if (f != worker_main || box.n_workers == CGN_WORKERS_MAX)
		return -EINVAL;
	box.worker[box.n_workers++] = w;
	worker_begin(w, box_now_ns);
	return 0;
}

typeof(rte_eal_mp_wait_lcore) __wrap_rte_eal_mp_wait_lcore;
void __wrap_rte_eal_mp_wait_lcore(void)
{
	box.n_workers = 0; // they were told to stop
}

typeof(rte_mempool_free) __wrap_rte_mempool_free;
typeof(rte_mempool_free) __real_rte_mempool_free;
void __wrap_rte_mempool_free(struct rte_mempool *pool)
{
	if (pool)
		box.lost += pool->size - rte_mempool_avail_count(pool);
	__real_rte_mempool_free(pool);
}

typeof(time) __wrap_time;
time_t __wrap_time(time_t *out)
{
	const time_t now = (time_t)(box.wall_s + (int64_t)(box_now_ns / 1000000000));

	if (out)
		*out = now;
	return now;
}

typeof(rte_eth_dev_socket_id) __wrap_rte_eth_dev_socket_id;
int __wrap_rte_eth_dev_socket_id(uint16_t device)
{
	return SOCKET_ID_ANY;
}

typeof(nic_probe) __wrap_nic_probe;
int __wrap_nic_probe(const struct cgn_interface *ifc, struct nic *nic, char *err, size_t err_size)
{
	struct device *d = &box.device[box.n_devices];

	memset(nic, 0, sizeof(*nic));
	nic->device = (uint16_t)box.n_devices;
	nic->vdev = true;
	memcpy(nic->mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)box.n_devices}, 6);
	memcpy(d->mac, nic->mac, 6);
	snprintf(nic->driver, sizeof(nic->driver), "memory");
	box.n_devices++;
	return 0;
}

typeof(nic_plan) __wrap_nic_plan;
int __wrap_nic_plan(struct nic *nic, const struct cgn_interface *ifc, uint32_t n_workers)
{
	nic->n_rx = (uint16_t)(box.rx_queues ? box.rx_queues : n_workers);
	nic->n_tx = nic->n_rx;
	box.device[nic->device].n_rx = nic->n_rx;
	return 0;
}

typeof(nic_start) __wrap_nic_start;
int __wrap_nic_start(const struct cgn_interface *ifc, struct nic *nic,
	struct rte_mempool *const *mbufs, const struct steer *steer, char *err, size_t err_size)
{
	for (unsigned q = 0; q < nic->n_rx; q++)
		box.device[nic->device].mbufs[q] = mbufs[q];
	nic->started = true;
	return 0;
}

typeof(nic_stop) __wrap_nic_stop;
void __wrap_nic_stop(struct nic *nic)
{
	nic->started = false;
}

typeof(nic_link) __wrap_nic_link;
void __wrap_nic_link(const struct nic *nic, struct cgn_link_status *out)
{
	memset(out, 0, sizeof(*out));
	memcpy(out->mac, nic->mac, 6);
	memcpy(out->driver, nic->driver, sizeof(out->driver));
	out->rx_queues = nic->n_rx;
	out->tx_queues = nic->n_tx;
	out->up = true;
}

// Queue of a context made by NIC_RX_CTX(): a worker polls first, first + step, ...
typeof(nic_rx) __wrap_nic_rx;
uint16_t __wrap_nic_rx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const uint64_t c = (uintptr_t)ctx;
	struct device *d = &box.device[c >> 48];
	const unsigned step = (uint16_t)c;
	uint16_t got = 0;

	for (unsigned q = (uint16_t)(c >> 16); q < d->n_rx; q += step) {
		while (got < n && d->rx[q].n) {
			struct box_frame *f;
			char *to;

			m[got] = rte_pktmbuf_alloc(d->mbufs[q]);
			if (!m[got])
				return got; // a device without buffers receives later
			f = queue_take(&d->rx[q]);
			to = rte_pktmbuf_append(m[got], f->len);
			if (!to)
				abort(); // box_put() was given more than the mtu takes
			memcpy(to, f->b, f->len);
			free(f);
			got++;
		}
	}
	return got;
}

typeof(nic_tx) __wrap_nic_tx;
uint16_t __wrap_nic_tx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const unsigned ifc = (unsigned)((uintptr_t)ctx >> 48);
	struct device *d = &box.device[ifc];

	for (uint16_t i = 0; i < n; i++) {
		struct box_frame *f =
			frame_of(rte_pktmbuf_mtod(m[i], void *), rte_pktmbuf_data_len(m[i]));

		if (m[i]->nb_segs != 1 || m[i]->pkt_len != m[i]->data_len)
			abort(); // we send frames in one piece
		rte_pktmbuf_free(m[i]);
		d->wire.tx_packets++;
		d->wire.tx_bytes += f->len;
		if (answer_arp(ifc, f))
			free(f);
		else
			queue_put(&d->tx, f);
	}
	return n;
}
