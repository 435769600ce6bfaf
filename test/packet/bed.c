// SPDX-License-Identifier: BSD-3-Clause
#include "bed.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <rte_eal.h>
#include <rte_mbuf.h>
#include <rte_ring.h>
#include "../../control/config.h"
#include "claims.h"
#include "leaks.h"
#include "snapshot.h"
#include "walk.h"

#define MBUFS 8191
#define POLLS_MAX 20000 // turns without coming to rest: something goes in circles
#define DRAIN_MAX_S 20000

struct bed bed;

struct queue {
	struct frame **f;
	size_t first, n, room;
};

static struct {
	struct cgn_config *config;
	struct snapshot *snapshot;
	struct rte_ring *ring[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
	struct rte_ring *ring_in[CGN_WORKERS_MAX][CGN_WORKERS_MAX];
	struct rte_ring *walk_ring[CGN_WORKERS_MAX];
	struct claims *claims;
	struct leaks leaks[CGN_WORKERS_MAX];
	struct queue rx[BED_INTERFACES][CGN_WORKERS_MAX], tx[BED_INTERFACES];
	unsigned next_rx; // spread: the worker that gets the next frame
	struct cgn_interface_counters wire[BED_INTERFACES]; // what the bed saw itself
	struct cgn_counters base; // of the last bed_counted()
	uint64_t own_arp, base_arp; // ARP requests that the bed answered
	uint64_t own_nd, base_nd; // the same of neighbour discovery
} priv;

static struct rte_mempool *mbufs;
static const char *test_file;
static int test_line;

void bed_at(const char *file, int line)
{
	test_file = file;
	test_line = line;
}

void bed_fail(const char *fmt, ...)
{
	va_list ap;
	char text[1024];

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (bed.failed)
		bed.failed(text);
	print_error("%s\n", text);
	_fail(test_file, test_line);
	abort(); // not reached
}

// ---- queues of frames

static void queue_put(struct queue *q, const struct frame *f)
{
	struct frame *copy = malloc(sizeof(*copy));

	if (q->first + q->n == q->room) {
		if (q->first)
			memmove(q->f, q->f + q->first, q->n * sizeof(*q->f));
		q->first = 0;
		if (q->n == q->room) {
			q->room = q->room ? 2 * q->room : 64;
			q->f = realloc(q->f, q->room * sizeof(*q->f));
		}
	}
	assert_non_null(copy);
	assert_non_null(q->f);
	*copy = *f;
	q->f[q->first + q->n++] = copy;
}

static bool queue_take(struct queue *q, struct frame *f)
{
	if (!q->n)
		return false;
	*f = *q->f[q->first];
	free(q->f[q->first++]);
	q->n--;
	return true;
}

static void queue_free(struct queue *q)
{
	for (size_t i = 0; i < q->n; i++)
		free(q->f[q->first + i]);
	free(q->f);
	*q = (struct queue){0};
}

// ---- the interfaces

static void our_mac(unsigned ifc, uint8_t mac[6])
{
	memcpy(mac, (uint8_t[]){2, 0, 0, 0, 0, (uint8_t)ifc}, 6);
}

static uint16_t rx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	struct queue *q = ctx;
	struct frame f;
	uint16_t i = 0;

	for (; i < n && q->n; i++) {
		m[i] = rte_pktmbuf_alloc(mbufs);
		if (!m[i])
			break; // a device without buffers receives later
		queue_take(q, &f);
		memcpy(rte_pktmbuf_append(m[i], f.len), f.b, f.len);
		if (bed.segmented) {
			struct rte_mbuf *tail = rte_pktmbuf_copy(m[i], mbufs, 30, UINT32_MAX);

			assert_non_null(tail);
			rte_pktmbuf_trim(m[i], (uint16_t)(f.len - 30));
			rte_pktmbuf_chain(m[i], tail);
		}
	}
	return i;
}

// Answers an ARP request; returns false when f is none.
static bool answer_arp(unsigned ifc, const struct frame *f)
{
	const uint8_t *arp = f->b + frame_l2_len(f);
	uint32_t asked, asker;
	uint8_t mac[6];
	struct frame reply;

	if (bed.options.manual_arp || arp[-2] != 0x08 || arp[-1] != 0x06 || arp[7] != 1)
		return false;
	memcpy(&asker, arp + 14, 4);
	memcpy(&asked, arp + 24, 4);
	our_mac(ifc, mac);
	reply = arp_reply(ntohl(asked), mac, ntohl(asker));
	if (frame_l2_len(f) == 18)
		reply = with_vlan(reply, bed.worker[0]->snapshot->interface[ifc].vlan);
	bed_put_raw(ifc, &reply);
	priv.own_arp++;
	return true;
}

// The same for a neighbour solicitation.
static bool answer_nd(unsigned ifc, struct frame *f)
{
	const struct ipv6 *ip = frame_ip6(f);
	char from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
	uint8_t target_mac[6];
	struct cgn_ipv6 target;
	struct frame reply;

	if (bed.options.manual_arp || !frame_is6(f) || ip->next != IPV6_ICMP ||
		ip->hop_limit != 255 || *frame_l4_6(f) != ND_SOLICITATION)
		return false;
	memcpy(&target, frame_l4_6(f) + 8, sizeof(target));
	mac6_of(&target, target_mac);
	inet_ntop(AF_INET6, &target, from, sizeof(from));
	inet_ntop(AF_INET6, &ip->src, to, sizeof(to));
	reply = advertisement(from, to, from, NA_SOLICITED | NA_OVERRIDE, target_mac);
	our_mac(ifc, reply.b);
	memcpy(reply.b + 6, target_mac, 6);
	if (frame_l2_len(f) == 18)
		reply = with_vlan(reply, bed.worker[0]->snapshot->interface[ifc].vlan);
	bed_put_raw(ifc, &reply);
	priv.own_nd++;
	return true;
}

static void check_frame(unsigned ifc, struct frame *f)
{
	const unsigned vlan = bed.worker[0]->snapshot->interface[ifc].vlan;
	const unsigned l2_len = frame_l2_len(f);
	const char *error = NULL;
	uint8_t mac[6];

	our_mac(ifc, mac);
	if (memcmp(f->b + 6, mac, 6))
		error = "the source MAC address is not ours";
	else if (l2_len != (vlan ? 18 : 14) || (vlan && (f->b[14] << 8 | f->b[15]) != (int)vlan))
		error = "the VLAN is not that of the interface";
	else if (!bed.unchecked && f->b[l2_len - 2] == 0x08 && f->b[l2_len - 1] == 0x00)
		error = frame_error(f);
	else if (frame_is6(f))
		error = frame6_error(f);
	if (error && !(bed.bad_l4 && strstr(error, "L4 checksum")))
		bed_fail("a frame came out of interface %u: %s", ifc, error);
}

static uint16_t tx(void *ctx, struct rte_mbuf **m, uint16_t n)
{
	const unsigned ifc = (unsigned)(uintptr_t)ctx;
	uint16_t i = 0;

	for (; i < n && bed.tx_room[ifc]; i++) {
		struct frame f = {.len = m[i]->data_len};

		if (bed.tx_room[ifc] > 0)
			bed.tx_room[ifc]--;
		assert_int_equal(m[i]->nb_segs, 1);
		assert_int_equal(m[i]->pkt_len, m[i]->data_len);
		memcpy(f.b, rte_pktmbuf_mtod(m[i], void *), f.len);
		rte_pktmbuf_free(m[i]);
		priv.wire[ifc].tx_packets++;
		priv.wire[ifc].tx_bytes += f.len;
		check_frame(ifc, &f);
		if (!answer_arp(ifc, &f) && !answer_nd(ifc, &f))
			queue_put(&priv.tx[ifc], &f);
	}
	return i;
}

void bed_put_raw(unsigned ifc, const struct frame *f)
{
	bed_put_at(ifc, bed.options.spread ? priv.next_rx++ % bed.n_workers : 0, f);
}

void bed_put_at(unsigned ifc, unsigned worker, const struct frame *f)
{
	priv.wire[ifc].rx_packets++;
	priv.wire[ifc].rx_bytes += f->len;
	queue_put(&priv.rx[ifc][worker], f);
}

void bed_put(unsigned ifc, struct frame f)
{
	our_mac(ifc, f.b);
	if (frame_is6(&f) && cgn_ipv6_is_multicast(&frame_ip6(&f)->dst)) {
		f.b[0] = f.b[1] = 0x33;
		memcpy(f.b + 2, frame_ip6(&f)->dst.b + 12, 4);
	}
	mac_of(ifc == INSIDE ? ROUTER_INSIDE : ROUTER_OUTSIDE, f.b + 6);
	bed_put_raw(ifc, &f);
}

bool bed_take(unsigned ifc, struct frame *f)
{
	return queue_take(&priv.tx[ifc], f);
}

unsigned bed_waiting(unsigned ifc)
{
	return (unsigned)priv.tx[ifc].n;
}

// ---- running

struct cgn_counters bed_sum(void)
{
	struct cgn_counters sum = {0};

	for (unsigned i = 0; i < bed.n_workers; i++)
		cgn_counters_add(&sum, &bed.worker[i]->counters);
	return sum;
}

// Every packet is accounted for, and the interfaces' counters say what went over the wire.
static void check_identity(void)
{
	const struct cgn_counters c = bed_sum();
	uint64_t drops = 0, of_interfaces = 0;

	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		drops += c.drops[i];
	if (c.rx_packets + c.originated != c.tx_packets + drops + c.consumed + c.held) {
		bed_fail(
			"rx_packets %lu + originated %lu != tx_packets %lu + drops %lu + consumed %lu + held %lu",
			c.rx_packets, c.originated, c.tx_packets, drops, c.consumed, c.held);
	}
	for (unsigned i = 0; i < BED_INTERFACES; i++) {
		const struct cgn_interface_counters *got = &c.interfaces[i];
		size_t waiting = 0;

		for (unsigned w = 0; w < bed.n_workers; w++)
			waiting += priv.rx[i][w].n;
		of_interfaces += got->drops;
		if (got->tx_packets != priv.wire[i].tx_packets ||
			got->tx_bytes != priv.wire[i].tx_bytes ||
			got->rx_packets + waiting != priv.wire[i].rx_packets ||
			(!waiting && got->rx_bytes != priv.wire[i].rx_bytes))
			bed_fail("interface %u: its counters are not what the wire saw", i);
	}
	if (of_interfaces != drops)
		bed_fail("the interfaces count %lu drops of %lu", of_interfaces, drops);
}

static bool at_rest(void)
{
	for (unsigned w = 0; w < bed.n_workers; w++) {
		for (unsigned i = 0; i < BED_INTERFACES; i++) {
			if (priv.rx[i][w].n)
				return false;
		}
		for (unsigned to = 0; to < bed.n_workers; to++) {
			if (priv.ring[w][to] && rte_ring_count(priv.ring[w][to]))
				return false;
		}
	}
	return true;
}

void bed_poll(unsigned worker)
{
	worker_poll(bed.worker[worker], bed.now_ns);
}

void bed_run(void)
{
	unsigned n = 1;

	for (unsigned turn = 0; n || !at_rest(); turn++) {
		if (turn == POLLS_MAX)
			bed_fail("the workers do not come to rest");
		n = 0;
		for (unsigned i = 0; i < bed.n_workers; i++)
			n += worker_poll(bed.worker[i], bed.now_ns);
	}
	check_identity();
}

void bed_wait_ms(uint32_t ms)
{
	bed.now_ns += ms * 1000000ull;
	bed_run();
}

void bed_wait_quietly(uint32_t seconds)
{
	for (uint32_t i = 0; i < seconds; i++)
		bed_wait_ms(1000);
}

// ---- expecting

struct frame bed_expect(unsigned ifc)
{
	struct frame f;

	if (!bed_take(ifc, &f))
		bed_fail("no frame came out of interface %u", ifc);
	return f;
}

void bed_expect_nothing(void)
{
	for (unsigned i = 0; i < BED_INTERFACES; i++) {
		if (priv.tx[i].n)
			bed_fail("%zu frames too many came out of interface %u", priv.tx[i].n, i);
	}
}

// The reasons that have risen, for messages.
static const char *drops_since(const struct cgn_counters *base, const struct cgn_counters *now)
{
	static const char *const name[] = {
#define X(id, text) #id,
		CGN_DROPS(X)
#undef X
	};
	static char text[512];
	size_t at_text = 0;

	text[0] = 0;
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++) {
		if (now->drops[i] != base->drops[i] && at_text < sizeof(text))
			at_text += (size_t)snprintf(text + at_text, sizeof(text) - at_text,
				" %s=%lu", name[i], now->drops[i] - base->drops[i]);
	}
	return text[0] ? text : " none";
}

// `renumbered`: it left with an address of ours, so it got a new id, unless it is atomic (RFC 6864).
static void check_forwarded(struct frame *in, struct frame *out, bool renumbered)
{
	const struct ipv4 *a = frame_ip(in), *b = frame_ip(out);
	const char *changed = frame_is6(in) ? frame6_changed(in, out) : NULL;
	const unsigned l4_header = a->proto == CGN_PROTO_TCP ? 20 : 8;
	const unsigned options = (a->ver_ihl & 0xfu) * 4 - sizeof(*a);

	if (changed)
		bed_fail("%s", changed);
	if (frame_is6(in))
		return;
	if (b->ttl != a->ttl - 1)
		bed_fail("TTL %u came out as %u", a->ttl, b->ttl);
	if (a->ver_ihl != b->ver_ihl || a->tos != b->tos || a->total_len != b->total_len ||
		a->frag != b->frag || a->proto != b->proto || memcmp(a + 1, b + 1, options))
		bed_fail("the IPv4 header came out changed");
	if (a->id != b->id && !(renumbered && a->frag != htons(IPV4_DF)))
		bed_fail("the IPv4 id came out changed");
	if (a->proto == CGN_PROTO_ICMP && frame_l4(in)[0] != ICMP_ECHO &&
		frame_l4(in)[0] != ICMP_ECHO_REPLY)
		return; // its quote changes
	if (frame_l4_len(in) > l4_header &&
		memcmp(frame_l4(in) + l4_header, frame_l4(out) + l4_header,
			frame_l4_len(in) - l4_header))
		bed_fail("the payload came out changed");
	if (a->proto == CGN_PROTO_TCP && memcmp(frame_l4(in) + 4, frame_l4(out) + 4, 12))
		bed_fail("the TCP header came out changed");
}

struct frame bed_pass(unsigned from, unsigned to, struct frame f)
{
	const struct cgn_counters before = bed_sum();
	struct cgn_counters after;
	struct frame out;

	bed_expect_nothing();
	bed_put(from, f);
	bed_run();
	after = bed_sum();
	if (!bed_take(to, &out))
		bed_fail("the packet did not come out; drops:%s", drops_since(&before, &after));
	bed_expect_nothing();
	check_forwarded(&f, &out, from == INSIDE);
	return out;
}

void bed_refuse(unsigned from, struct frame f, enum cgn_drop reason)
{
	const struct cgn_counters before = bed_sum();
	const uint64_t own = priv.own_arp + priv.own_nd;
	struct cgn_counters after;

	bed_expect_nothing();
	bed_put(from, f);
	bed_run();
	bed_expect_nothing();
	after = bed_sum();
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++) {
		if (after.drops[i] - before.drops[i] != (i == reason))
			bed_fail("dropped for other reasons:%s", drops_since(&before, &after));
	}
	if (after.mappings_created != before.mappings_created ||
		after.sessions_created != before.sessions_created ||
		after.blocks_allocated != before.blocks_allocated ||
		after.consumed - before.consumed != priv.own_arp + priv.own_nd - own)
		bed_fail("a dropped packet left something behind");
	if (after.icmp_errors_sent != before.icmp_errors_sent ||
		after.icmpv6_errors_sent != before.icmpv6_errors_sent)
		bed_fail("a dropped packet was answered");
}

void bed_counted(const struct cgn_counters *change)
{
	const struct cgn_counters now = bed_sum();
	const uint64_t arp = priv.own_arp - priv.base_arp, nd = priv.own_nd - priv.base_nd;
	struct cgn_counters want = *change;
	bool failed = false;

	// we asked, the bed answered
	want.originated += arp + nd;
	want.arp_requests_sent += arp;
	want.nd_solicitations_sent += nd;
	want.tx_packets += arp + nd;
	want.rx_packets += arp + nd;
	want.consumed += arp + nd;
	want.rx_bytes = now.rx_bytes - priv.base.rx_bytes;
	want.tx_bytes = now.tx_bytes - priv.base.tx_bytes;
#define X(name, text) \
	if (now.name - priv.base.name != want.name) { \
		print_error("%s changed by %lu, expected %lu\n", #name, now.name - priv.base.name, \
			want.name); \
		failed = true; \
	}
	CGN_COUNTERS(X)
#undef X
	for (unsigned i = 0; i < CGN_DROP_COUNT; i++)
		failed = failed || now.drops[i] - priv.base.drops[i] != want.drops[i];
	if (failed)
		bed_fail("counters changed otherwise; drops:%s", drops_since(&priv.base, &now));
	priv.base = now;
	priv.base_arp = priv.own_arp;
	priv.base_nd = priv.own_nd;
}

void bed_same_endpoint(struct endpoint got, struct endpoint want)
{
	if (!same_endpoint(got, want))
		bed_fail("endpoint is %08x:%u, expected %08x:%u", got.address, got.port,
			want.address, want.port);
}

void bed_is_error(
	struct frame f, uint8_t type, uint8_t code, uint32_t from, uint32_t to, struct frame about)
{
	const struct ipv4 *ip = frame_ip(&f);
	const uint8_t *l4 = frame_l4(&f);
	struct frame quote = quote_of_error(f);
	unsigned n;

	if (ip->proto != CGN_PROTO_ICMP || l4[0] != type || l4[1] != code)
		bed_fail("protocol %u, type %u, code %u", ip->proto, l4[0], l4[1]);
	if (ntohl(ip->src) != from || ntohl(ip->dst) != to)
		bed_fail("from %08x to %08x", ntohl(ip->src), ntohl(ip->dst));
	// what is no atomic datagram left with a new id, which is the one that is quoted to us
	if (from != US_INSIDE && from != US_OUTSIDE && frame_ip(&about)->frag != htons(IPV4_DF) &&
		frame_ip(&quote)->id != frame_ip(&about)->id) {
		frame_ip(&about)->id = frame_ip(&quote)->id;
		frame_seal_ip(&about);
	}
	n = frame_l4_len(&f) - 8;
	if (n > ntohs(frame_ip(&about)->total_len))
		n = ntohs(frame_ip(&about)->total_len);
	for (unsigned i = 0; i < n; i++) {
		if (l4[8 + i] != ((uint8_t *)frame_ip(&about))[i])
			bed_fail("the quote differs at byte %u: %02x, expected %02x", i, l4[8 + i],
				((uint8_t *)frame_ip(&about))[i]);
	}
}

// ---- walks

struct worker_walk *bed_walk_start(
	unsigned worker, enum cgn_walk_kind kind, const struct cgn_filter *filter)
{
	struct worker_walk *walk = aligned_alloc(CGN_CACHE_LINE, sizeof(*walk));

	assert_non_null(walk);
	memset(walk, 0, sizeof(*walk));
	walk->kind = kind;
	walk->filter = *filter;
	assert_int_equal(rte_ring_sp_enqueue(bed.worker[worker]->walk_ring, walk), 0);
	return walk;
}

bool bed_walk_take(struct worker_walk *walk, struct cgn_walk_record *out)
{
	uint32_t tail = atomic_load(&walk->tail);

	if (tail == atomic_load(&walk->head))
		return false;
	*out = walk->ring[tail % WALK_RING];
	atomic_store(&walk->tail, tail + 1);
	return true;
}

// ---- beginning and end

static struct cgn_config *configure(const struct bed_options *o)
{
	char *text = NULL, *errors = NULL, lcores[128];
	size_t n_text = 0, n_errors = 0;
	FILE *yaml = open_memstream(&text, &n_text), *err = open_memstream(&errors, &n_errors);
	struct cgn_config *config;

	snprintf(lcores, sizeof(lcores), "1-%u", bed.n_workers);
	fprintf(yaml,
		"runtime: {main-lcore: 0, worker-lcores: \"%s\", share-cpus: true, hugepages: false,"
		" max-sessions: %u, max-subscribers: %u}\n",
		lcores, o->sessions ? o->sessions : 4096, o->subscribers ? o->subscribers : 64);
	fprintf(yaml, "interfaces:\n  - {name: inside, role: internal, device: net_null0, %s}\n",
		o->inside
			? o->inside
			: "addresses: [10.255.0.1/24], routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]");
	fprintf(yaml, "  - {name: outside, role: external, device: net_null1, %s}\n",
		o->outside
			? o->outside
			: "addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]");
	fprintf(yaml, "pools:\n%s\n",
		o->pools ? o->pools
			 : "  - {name: p, addresses: [203.0.113.1-203.0.113.4], block-size: 64}");
	fprintf(yaml, "policies:\n%s\n",
		o->policies
			? o->policies
			: "  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p}");
	fprintf(yaml, "%s\n", o->more ? o->more : "");
	fclose(yaml);
	config = config_parse("bed", text, n_text, err, NULL, NULL);
	fclose(err);
	if (!config)
		print_error("%s\n%s\n", text, errors);
	free(text);
	free(errors);
	assert_non_null(config);
	return config;
}

static void port_setup(struct worker *w, unsigned ifc)
{
	const unsigned n = bed.n_workers, n_tx = bed.options.tx_queues ? bed.options.tx_queues : n;
	struct worker_port *port = &w->port[ifc];
	const uint16_t vlan = priv.snapshot->interface[ifc].vlan;
	const be16_t tail[3] = {htons(0x8100), htons(vlan), htons(0x0800)};

	our_mac(ifc, port->mac);
	port->l2_len = vlan ? 18 : 14;
	memcpy(port->l2_tail, vlan ? tail : tail + 2, vlan ? 6 : 2);
	if (bed.options.spread || ifc % n == w->id) {
		port->rx = rx;
		port->rx_ctx = &priv.rx[ifc][bed.options.spread ? w->id : 0];
	}
	// as the daemon: queue q of interface i is worker (q - i)'s
	port->tx_worker = (w->id + ifc) % n < n_tx ? w->id : (n - ifc % n) % n;
	if (port->tx_worker == w->id) {
		port->tx = tx;
		port->tx_ctx = (void *)(uintptr_t)ifc;
	}
}

static struct rte_ring *ring_create(const char *kind, unsigned a, unsigned b, unsigned slots)
{
	char name[RTE_RING_NAMESIZE];
	struct rte_ring *ring;

	snprintf(name, sizeof(name), "%s%u-%u", kind, a, b);
	ring = rte_ring_create(name, slots, SOCKET_ID_ANY, RING_F_SP_ENQ | RING_F_SC_DEQ);
	assert_non_null(ring);
	return ring;
}

static void rings_create(void)
{
	const unsigned slots = bed.options.ring ? bed.options.ring : HANDOFF_RING;

	for (unsigned i = 0; i < bed.n_workers; i++) {
		priv.walk_ring[i] = ring_create("walk", i, 0, 2 * CGN_WALKS_MAX);
		for (unsigned j = 0; j < bed.n_workers; j++) {
			if (i == j)
				continue;
			priv.ring[i][j] = ring_create("handoff", i, j, slots);
			priv.ring_in[j][i] = priv.ring[i][j];
		}
	}
}

void bed_open(const struct bed_options *options)
{
	static const uint8_t key[32] = "a key that every run starts with";

	memset(&bed, 0, sizeof(bed));
	memset(&priv, 0, sizeof(priv));
	bed.options = *options;
	bed.n_workers = options->workers ? options->workers : 1;
	bed.now_ns = 5000000000ull;
	bed.tx_room[INSIDE] = bed.tx_room[OUTSIDE] = -1;
	priv.config = configure(options);
	priv.snapshot = snapshot_create(priv.config, STEER_PLAN_SOFTWARE);
	assert_non_null(priv.snapshot);
	rings_create();
	if (bed.n_workers > 1)
		priv.claims = claims_create(bed.n_workers, (uint64_t[2]){1, 2});
	for (unsigned i = 0; i < bed.n_workers; i++) {
		const char *what;
		const struct worker_spec spec = {.id = i,
			.n_workers = bed.n_workers,
			.snapshot = priv.snapshot,
			.mbufs = mbufs,
			.socket = -1,
			.rng_key = key,
			.claims = priv.claims};
		struct worker *w = worker_create(&spec, &what);

		assert_non_null(w);
		bed.worker[i] = w;
		w->ring_out = priv.ring[i];
		w->ring_in = priv.ring_in[i];
		w->walk_ring = priv.walk_ring[i];
		for (unsigned j = 0; j < BED_INTERFACES; j++)
			port_setup(w, j);
		leaks_begin(&priv.leaks[i], w);
	}
	for (unsigned i = 0; i < bed.n_workers; i++) {
		if (options->memory) {
			assert_int_equal(
				worker_restore(bed.worker[i], options->memory, bed.now_ns), 0);
		}
		worker_begin(bed.worker[i], bed.now_ns);
	}
	bed_run();
	priv.base = bed_sum();
	priv.base_arp = priv.own_arp;
	priv.base_nd = priv.own_nd;
}

// Lets every timer run out. Returns false, and says so, when state stays behind.
static bool drain(void)
{
	struct cgn_counters c;
	bool ok;

	bed.options.manual_arp = false;
	bed.tx_room[INSIDE] = bed.tx_room[OUTSIDE] = -1;
	for (unsigned i = 0; i < DRAIN_MAX_S; i++) {
		bed_wait_ms(1000);
		c = bed_sum();
		if (!c.sessions && !c.blocks_held && !c.ports_resting && !c.held)
			break;
	}
	ok = !c.sessions && !c.mappings && !c.subscribers && !c.blocks && !c.blocks_held &&
		!c.ports_resting && !c.held &&
		c.mappings_created == c.mappings_expired + c.mappings_cleared &&
		c.sessions_created == c.sessions_expired + c.sessions_cleared &&
		c.blocks_allocated == c.blocks_released;
	for (unsigned p = 0; p < priv.config->n_pools; p++)
		ok = ok && !c.pools[p].ports_used && !c.pools[p].blocks_used &&
			!c.pools[p].blocks_held;
	for (unsigned i = 0; i < bed.n_workers; i++)
		ok = ok && !bed.worker[i]->subscribers.n_records;
	if (!ok)
		print_error(
			"state stays behind: sessions %lu mappings %lu subscribers %lu blocks %lu"
			" held %lu resting %lu\n",
			c.sessions, c.mappings, c.subscribers, c.blocks, c.blocks_held,
			c.ports_resting);
	for (unsigned i = 0; i < bed.n_workers; i++)
		ok = !leaks_found(&priv.leaks[i], bed.worker[i]) && ok;
	return ok;
}

int bed_teardown(void **state)
{
	bool ok = true;

	(void)state;
	if (!priv.config)
		return 0;
	if (bed.worker[bed.n_workers - 1])
		ok = drain();
	for (unsigned i = 0; i < bed.n_workers; i++) {
		worker_destroy(bed.worker[i]);
		leaks_end(&priv.leaks[i]);
	}
	for (unsigned i = 0; i < bed.n_workers; i++) {
		rte_ring_free(priv.walk_ring[i]);
		for (unsigned j = 0; j < bed.n_workers; j++)
			rte_ring_free(priv.ring[i][j]);
	}
	for (unsigned i = 0; i < BED_INTERFACES; i++) {
		queue_free(&priv.tx[i]);
		for (unsigned j = 0; j < CGN_WORKERS_MAX; j++)
			queue_free(&priv.rx[i][j]);
	}
	claims_destroy(priv.claims);
	snapshot_destroy(priv.snapshot);
	cgn_config_free(priv.config);
	priv.config = NULL;
	if (rte_mempool_avail_count(mbufs) != MBUFS) {
		print_error("%u packet buffers are lost\n", MBUFS - rte_mempool_avail_count(mbufs));
		ok = false;
	}
	return ok ? 0 : -1;
}

bool bed_begin(void)
{
	static char *argv[] = {"bed", "--no-huge", "--no-shconf", "-m", "512", "--no-pci",
		"--no-telemetry", "--lcores=0@0", "--iova-mode=va", "--log-level=error"};

	if (rte_eal_init(sizeof(argv) / sizeof(*argv), argv) < 0) {
		fprintf(stderr, "DPDK does not start\n");
		return false;
	}
	mbufs = rte_pktmbuf_pool_create(
		"bed", MBUFS, 256, 0, RTE_MBUF_DEFAULT_BUF_SIZE, SOCKET_ID_ANY);
	if (!mbufs)
		fprintf(stderr, "no packet buffers\n");
	return mbufs;
}

void bed_end(void)
{
	rte_mempool_free(mbufs);
	rte_eal_cleanup();
}

int bed_main(const struct CMUnitTest *tests, size_t n, const char *name)
{
	int failed;

	if (!bed_begin())
		return 1;
	failed = _cmocka_run_group_tests(name, tests, n, NULL, NULL);
	bed_end();
	return failed;
}
