// SPDX-License-Identifier: BSD-3-Clause
// Compiled once per instruction set (meson.build), with FAST naming what comes out. Nothing in
// here has external linkage but that.
//
// A burst goes through in chunks of FAST_LANES packets, three stages after each other: while one
// chunk is rewritten, the records of the next one and the index lines of the one behind it are on
// their way from memory.
#include "fast.h"
#include <arpa/inet.h>
#include <string.h>
#ifdef __AVX512BW__
#include <immintrin.h>
#endif
#include "batch.h"
#include "csum.h"
#include "fast_parse.h"
#include "flow.h"
#include "forward.h"
#include "ident.h"
#include "tcp.h"
#include "worker.h"

#define TTL_DIFF 0xfffeu // TTL - 1 in the header checksum

#define inlined static inline __attribute__((always_inline))
#define outlined static __attribute__((noinline))

// Packets that are not found at the first try: in the second bucket of the index, or a further
// session of their mapping. They wait until the end of the burst for one more look-up.
struct again {
	uint64_t remote;
	struct rte_mbuf *m;
	struct ipv4 *ip;
	const struct index_bucket *bucket;
	uint64_t key;
	uint32_t head, record; // head: of a further session; FLOW_NONE: a mapping is looked for
	uint16_t ip_len, tag;
	uint8_t tcp_flags, at;
};

// Which way a packet goes here.
enum leg {
	LEG_OUT, // the outbound half of a hairpin is one of these, until it looks for its next hop
	LEG_IN,
	LEG_LOOP, // the inbound half of a hairpin: TTL is done
};

// What is the same for the whole burst.
struct burst {
	struct worker *w;
	const struct flow_table *flows;
	const struct index *index;
	struct rte_mbuf **m;
	uint64_t left[BATCH_MAX / 64]; // bit per frame: not for us
	uint64_t missed[BATCH_MAX / 64]; // has no session; it is in w->batch.pkt[]
	struct again again[BATCH_MAX];
	unsigned n_again, n_translated, n_hairpins;
	uint8_t l2_len, ifc;
	// the next hop of hairpins: their way out leads into w->loop
	struct adjacency hairpin;
	struct worker_port hairpin_port;
};

inlined void leave(struct burst *b, unsigned at)
{
	b->left[at / 64] |= 1ull << at % 64;
}

// No session: for the slow path, which need not parse it once more. `record` is the one that looked like its
// mapping; flows->n_max: there was none.
outlined void miss(struct burst *b, unsigned at, struct ipv4 *ip, uint64_t key, uint64_t remote,
	uint16_t ip_len, uint8_t tcp_flags, uint32_t record)
{
	b->missed[at / 64] |= 1ull << at % 64;
	b->w->batch.pkt[at] = (struct pkt){
		.m = b->m[at],
		.ip = ip,
		.key = key,
		.remote = remote,
		.flow = b->flows->n_max,
		.ip_len = ip_len,
		.l4_off = sizeof(*ip),
		.tcp_flags = tcp_flags,
		.kind = PKT_FLOW,
		.ifc = b->ifc,
		.flags = record == b->flows->n_max ? PKT_UNMAPPED : 0,
	};
}

outlined void miss_chunk(struct burst *b, const struct chunk *c, unsigned i)
{
	miss(b, c->first + i, c->ip[i], c->key[i], c->remote[i], (uint16_t)c->ip_len[i],
		(uint8_t)c->tcp_flags[i], c->record[i]);
}

// Brings both kinds of what is left together, in the order they came in. Returns how many frames.
inlined unsigned compact(const struct burst *b)
{
	struct batch *batch = &b->w->batch;
	unsigned n_left = 0, n_missed = 0;

	for (unsigned i = 0; i < BATCH_MAX / 64; i++) {
		for (uint64_t bits = b->left[i]; bits; bits &= bits - 1)
			b->m[n_left++] = b->m[64 * i + (unsigned)__builtin_ctzll(bits)];
		for (uint64_t bits = b->missed[i]; bits; bits &= bits - 1)
			batch->pkt[n_missed++] =
				batch->pkt[64 * i + (unsigned)__builtin_ctzll(bits)];
	}
	batch->n_missed = (uint16_t)n_missed;
	return n_left;
}

// ---- stage 2: the most likely record

// Bit per slot with this tag.
inlined unsigned match(const struct index_bucket *bucket, uint16_t tag)
{
#ifdef __AVX512BW__
	return _mm256_mask_cmpeq_epi16_mask((1u << INDEX_SLOTS) - 1,
		_mm256_loadu_si256((const void *)bucket), _mm256_set1_epi16((short)tag));
#else
	return index_match(bucket, tag);
#endif
}

outlined void again_bucket(
	struct burst *b, struct chunk *c, unsigned i, const struct index_bucket *bucket)
{
	struct again *a = &b->again[b->n_again++];
	const uint16_t tag = index_tag(c->hash[i]);

	*a = (struct again){
		.remote = c->remote[i],
		.m = b->m[c->first + i],
		.ip = c->ip[i],
		.bucket = &b->index->bucket[index_other(
			b->index, (uint32_t)(bucket - b->index->bucket), tag)],
		.key = c->key[i],
		.head = FLOW_NONE,
		.ip_len = (uint16_t)c->ip_len[i],
		.tag = tag,
		.tcp_flags = (uint8_t)c->tcp_flags[i],
		.at = (uint8_t)(c->first + i),
	};
	cgn_prefetch(a->bucket);
	c->record[i] = b->flows->n_max;
	c->taken |= 1u << i;
}

inlined void find(struct burst *b, struct chunk *c)
{
	const struct index_bucket *const buckets = b->index->bucket;
	struct flow *const flow = b->flows->flow;
	const uint32_t none = b->flows->n_max;

	c->taken = 0;
	for (unsigned i = 0; i < c->n; i++) {
		const struct index_bucket *bucket = &buckets[c->bucket[i]];
		const unsigned bits = match(bucket, index_tag(c->hash[i]));
		uint32_t record = none;

		if (cgn_likely(bits))
			record = bucket->record[__builtin_ctz(bits)];
		else if (cgn_unlikely(bucket->n_away) && c->key[i]) {
			again_bucket(b, c, i, bucket);
			continue;
		}
		record = record < none ? record : none; // the free record matches nothing
		c->record[i] = record;
		cgn_prefetch_w(&flow[record]);
	}
}

// ---- stage 3

// The outbound half of a hairpin ends here when the inbound half is ours, too, and may wait.
static const struct adjacency *hairpin_hop(struct burst *b, const struct ipv4 *ip)
{
	const struct worker *w = b->w;
	be16_t port;

	if (w->n_loop + b->hairpin_port.n_tx >= BATCH_MAX)
		return NULL;
	memcpy(&port, (const uint8_t *)ip + sizeof(*ip) + 2, 2);
	if (w->n_workers > 1 &&
		steer_inbound(w->snapshot, FLOW_KEY(ip->dst, port, ip->proto)) != w->id)
		return NULL;
	return &b->hairpin;
}

// The next hop of an address where it is no prepared gateway. NULL: not for us.
outlined const struct adjacency *odd_hop(struct burst *b, uint32_t dest, uint32_t address,
	const struct ipv4 *ip, struct adjacency *onlink, enum leg leg)
{
	struct worker *w = b->w;

	if (dest < w->snapshot->n_gateways) {
		fast_adjacency(w, dest);
		return &w->adjacency[dest];
	}
	if (DEST_KIND(dest) == DEST_POOL && leg == LEG_OUT)
		return hairpin_hop(b, ip);
	if (DEST_KIND(dest) != DEST_ONLINK)
		return NULL;
	fast_onlink(w, (uint8_t)DEST_INDEX(dest), address, onlink);
	return onlink;
}

// What has the hairpins' next hop waits for its inbound half, as a bare IPv4 packet.
static void hairpins_wait(struct burst *b)
{
	struct worker_port *port = &b->hairpin_port;
	struct worker *w = b->w;

	for (unsigned i = 0; i < port->n_tx; i++) {
		struct rte_mbuf *m = port->txbuf[i];

		m->data_off = (uint16_t)(m->data_off + b->hairpin.l2_len);
		m->data_len = (uint16_t)(m->data_len - b->hairpin.l2_len);
		m->pkt_len = m->data_len;
		w->loop[w->n_loop] = m;
		w->loop_ifc[w->n_loop++] = b->ifc;
	}
	b->n_hairpins += port->n_tx;
	port->n_tx = 0;
}

outlined void full(struct burst *b, const struct adjacency *a)
{
	if (a == &b->hairpin)
		hairpins_wait(b);
	else
		forward_flush(b->w, a->ifc);
}

// One's complement sum of two 16-bit words.
inlined uint16_t add16(uint16_t a, uint16_t b)
{
	uint16_t sum;
	const bool carry = __builtin_add_overflow(a, b, &sum);

	return (uint16_t)(sum + carry);
}

// One packet, of the session `record`, whose mapping is `head`. False: untouched, somebody else's.
inlined bool rewrite(struct burst *b, struct rte_mbuf *m, struct ipv4 *ip, unsigned ip_len,
	unsigned tcp_flags, struct flow *f, struct flow *head, const enum leg leg)
{
	const bool inbound = leg != LEG_OUT;
	struct worker *const w = b->w;
	const bool is_tcp = f->proto == CGN_PROTO_TCP;
	const uint32_t now_s = w->now_s;
	const uint32_t address = ntohl(inbound ? f->int_addr : ip->dst);
	const uint32_t dest = dest_lookup(w->snapshot, address);
	const struct adjacency *a = &w->adjacency[dest];
	const be16_t int_port = f->int_port, ext_port = f->ext_port;
	const uint16_t l4_diff = f->l4_diff;
	struct adjacency onlink;
	struct worker_port *port;
	uint8_t *l4 = (uint8_t *)ip + sizeof(*ip), *check_at, *l2;
	uint16_t diff, l3_diff, check, n_tx;
	uint32_t ttl;

	if (cgn_unlikely(dest >= w->snapshot->n_gateways ||
		    a->burst != w->fast_burst)) { // DEST_ROUTE is 0
		a = odd_hop(b, dest, address, ip, &onlink, leg);
		if (!a)
			return false;
	}
	if (cgn_unlikely(ip_len > a->limit[inbound]))
		return false;
	if (is_tcp &&
		cgn_unlikely(tcp_matters(f->state, (uint8_t)tcp_flags) || tcp_unanswered(f->flags)))
		fast_tcp(w, (uint32_t)(f - b->flows->flow), ip, (uint16_t)ip_len,
			(uint8_t)tcp_flags, !inbound);
	else if (!inbound || (f->flags & FLOW_REFRESHED_IN)) // RFC 4787 REQ-6
		f->seen_s = now_s;
	if (inbound) {
		f->pkts_in++;
		f->bytes_in += ip_len;
		diff = csum_undo(l4_diff);
		// of the addresses alone: without the ports
		l3_diff = add16(add16(diff, (uint16_t)~int_port), ext_port);
	} else {
		head->link = now_s;
		f->pkts_out++;
		f->bytes_out += ip_len;
		diff = l4_diff;
		l3_diff = add16(add16(diff, (uint16_t)~ext_port), int_port);
		if (cgn_unlikely(ip->frag != htons(IPV4_DF))) { // RFC 6864 5.3.1
			const be16_t id = ident_next(&w->ident, f->ext_addr, ip->dst, f->proto);

			l3_diff = add16(add16(l3_diff, (uint16_t)~ip->id), id);
			ip->id = id;
		}
	}
	memcpy(&ttl, &ip->ttl, 4); // TTL, protocol, checksum
	check = add16((uint16_t)(~ttl >> 16), l3_diff);
	if (leg != LEG_LOOP) {
		check = add16(check, TTL_DIFF);
		ttl--;
	}
	ttl = (ttl & 0xffff) | (uint32_t)(uint16_t)~check << 16;
	memcpy(&ip->ttl, &ttl, 4);

	check_at = l4 + (is_tcp ? 16 : 6);
	memcpy(&check, check_at, 2);
	diff = (uint16_t)~add16((uint16_t)~check, diff);
	if (!is_tcp) {
		diff = diff ? diff : 0xffff; // a computed 0 (RFC 768)
		diff = check ? diff : 0; // no checksum stays none
	}
	memcpy(check_at, &diff, 2);
	if (inbound) {
		ip->dst = f->int_addr;
		memcpy(l4 + 2, &int_port, 2);
	} else {
		ip->src = f->ext_addr;
		memcpy(l4, &ext_port, 2);
	}

	l2 = (uint8_t *)ip - a->l2_len;
	memcpy(l2, &a->l2_first, 8);
	if (cgn_unlikely(a->l2_len != 14))
		memcpy(l2 + 8, &a->l2_middle, 8);
	memcpy((uint8_t *)ip - 8, &a->l2_last, 8);
	m->data_off = (uint16_t)(m->data_off + b->l2_len - a->l2_len);
	m->data_len = (uint16_t)(ip_len + a->l2_len);
	m->pkt_len = m->data_len;
	m->ol_flags = 0;
	b->n_translated++;
	port = a->port;
	n_tx = port->n_tx;
	port->txbuf[n_tx] = m;
	port->n_tx = ++n_tx;
	if (cgn_unlikely(n_tx == WORKER_TX_MAX))
		full(b, a);
	return true;
}

outlined void again_further(struct burst *b, const struct chunk *c, unsigned i)
{
	const uint64_t hash = flow_further_hash(b->flows, c->record[i], c->remote[i]);
	struct again *a = &b->again[b->n_again++];

	*a = (struct again){
		.remote = c->remote[i],
		.m = b->m[c->first + i],
		.ip = c->ip[i],
		.bucket = &b->flows->out.bucket[index_first(&b->flows->out, hash)],
		.key = c->key[i],
		.head = c->record[i],
		.ip_len = (uint16_t)c->ip_len[i],
		.tag = index_tag(hash),
		.tcp_flags = (uint8_t)c->tcp_flags[i],
		.at = (uint8_t)(c->first + i),
	};
	cgn_prefetch(a->bucket);
}

// Is `f` the mapping of this endpoint?
inlined bool is_mapping(const struct flow *f, uint64_t key, const bool inbound)
{
	const uint64_t *word = (const uint64_t *)(const void *)f;
	const uint64_t head = 1ull << 56; // FLOW_HEAD in the first word

	if (inbound) // external address and port, protocol
		return !((word[1] ^ key) << 16) &&
			!((word[0] ^ (key | head)) & (0xffull << 48 | head));
	return !((word[0] ^ (key | head)) & (FLOW_KEY_MASK | head));
}

// Is the session of this remote? That of a hairpin is not found from outside: who sends from an address
// of ours there is refused on the slow path (translate_in()).
inlined bool is_remote(const struct flow *f, uint64_t remote, const enum leg leg)
{
	const uint64_t *word = (const uint64_t *)(const void *)f;

	return !((word[2] ^ remote) << (leg == LEG_IN ? 8 : 16)); // 8: with flow.hairpin
}

inlined void translate(struct burst *b, const struct chunk *c, const enum leg leg)
{
	struct flow *const flow = b->flows->flow;

	for (unsigned i = 0; i < c->n; i++) {
		struct flow *f = &flow[c->record[i]];
		const bool mapped = is_mapping(f, c->key[i], leg != LEG_OUT);

		if (cgn_likely(mapped && is_remote(f, c->remote[i], leg))) {
			if (cgn_likely(rewrite(b, b->m[c->first + i], c->ip[i],
				    (unsigned)c->ip_len[i], (unsigned)c->tcp_flags[i], f, f, leg)))
				continue;
		} else if (mapped && (f->flags & FLOW_FURTHER)) {
			again_further(b, c, i);
			continue;
		} else if (c->taken >> i & 1) {
			continue;
		} else if (leg != LEG_LOOP && c->key[i]) {
			miss_chunk(b, c, i);
			continue;
		}
		leave(b, c->first + i);
	}
}

// ---- what was not found at once

inlined void again(struct burst *b, const enum leg leg)
{
	struct flow *const flow = b->flows->flow;
	const uint32_t none = b->flows->n_max;

	for (unsigned i = 0; i < b->n_again; i++) {
		struct again *a = &b->again[i];
		const unsigned bits = match(a->bucket, a->tag);

		a->record = bits ? a->bucket->record[__builtin_ctz(bits)] : none;
		a->record = a->record < none ? a->record : none;
		cgn_prefetch_w(&flow[a->record]);
	}
	for (unsigned i = 0; i < b->n_again; i++) {
		const struct again *a = &b->again[i];
		struct flow *f = &flow[a->record], *head = f;
		bool same = is_remote(f, a->remote, leg);

		if (a->head == FLOW_NONE) {
			same = same && is_mapping(f, a->key, leg != LEG_OUT);
		} else {
			head = &flow[a->head];
			same = same && f->proto && !(f->flags & FLOW_HEAD) && f->link == a->head;
		}
		if (!same && leg != LEG_LOOP)
			miss(b, a->at, a->ip, a->key, a->remote, a->ip_len, a->tcp_flags,
				a->head == FLOW_NONE ? a->record : a->head);
		else if (!same || !rewrite(b, a->m, a->ip, a->ip_len, a->tcp_flags, f, head, leg))
			leave(b, a->at);
	}
}

outlined void again_out(struct burst *b)
{
	again(b, LEG_OUT);
}

outlined void again_in(struct burst *b)
{
	again(b, LEG_IN);
}

outlined void again_loop(struct burst *b)
{
	again(b, LEG_LOOP);
}

// ---- the burst

inlined void run(struct burst *b, unsigned n, const struct fast_parse *parse, const enum leg leg)
{
	const unsigned n_chunks = (n + FAST_LANES - 1) / FAST_LANES;
	struct chunk chunk[3], *one = &chunk[0], *two = &chunk[1], *three = &chunk[2];

	fast_parse_begin(b->m, n);
	for (unsigned i = 0; i < n_chunks + 2; i++) {
		struct chunk *last = three;

		if (i < n_chunks) {
			const unsigned first = i * FAST_LANES;
			const unsigned some = first + FAST_LANES < n ? FAST_LANES : n - first;

			if (leg == LEG_LOOP)
				fast_parse_bare(parse, one, b->m, first, some);
			else
				fast_parse(parse, one, b->m, first, some, n, leg == LEG_IN);
		}
		stage_mark(b->w, STAGE_FAST_PARSE);
		if (i - 1 < n_chunks)
			find(b, two);
		stage_mark(b->w, STAGE_FAST_FIND);
		if (i >= 2)
			translate(b, three, leg);
		stage_mark(b->w, STAGE_FAST_REWRITE);
		three = two;
		two = one;
		one = last;
	}
}

outlined void run_out(struct burst *b, unsigned n, const struct fast_parse *parse)
{
	run(b, n, parse, LEG_OUT);
	if (b->n_again)
		again_out(b);
	if (b->hairpin_port.n_tx)
		hairpins_wait(b);
}

outlined void run_in(struct burst *b, unsigned n, const struct fast_parse *parse)
{
	run(b, n, parse, LEG_IN);
	if (b->n_again)
		again_in(b);
}

outlined void run_loop(struct burst *b, unsigned n, const struct fast_parse *parse)
{
	run(b, n, parse, LEG_LOOP);
	if (b->n_again)
		again_loop(b);
}

inlined void begin(
	struct burst *b, struct worker *w, struct rte_mbuf **m, const struct index *index)
{
	b->w = w;
	b->m = m;
	b->flows = &w->flows;
	b->index = index;
	memset(b->left, 0, sizeof(b->left));
	memset(b->missed, 0, sizeof(b->missed));
	b->n_again = b->n_translated = b->n_hairpins = 0;
	w->fast_burst++;
}

static unsigned frames(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc)
{
	const struct worker_port *port = &w->port[ifc];
	const bool inbound = w->snapshot->interface[ifc].role == CGN_EXTERNAL;
	struct fast_parse parse;
	struct burst b;

	begin(&b, w, m, inbound ? &w->flows.in : &w->flows.out);
	b.l2_len = port->l2_len;
	b.ifc = ifc;
	fast_parse_init(&parse, port->mac, port->l2_tail, port->l2_len, b.index, w->flows.seed);
	if (inbound) {
		run_in(&b, n, &parse);
		w->counters.translated_inbound += b.n_translated;
	} else {
		// an Ethernet header like any other, which is taken off again
		b.hairpin = (struct adjacency){
			.limit = {UINT16_MAX, 0}, .l2_len = 14, .port = &b.hairpin_port};
		b.hairpin_port.n_tx = 0;
		run_out(&b, n, &parse);
		w->counters.translated_outbound += b.n_translated - b.n_hairpins;
	}
	return compact(&b);
}

static unsigned hairpins(struct worker *w, unsigned n)
{
	const struct fast_parse parse = {
		.index = &w->flows.in, .seed = {w->flows.seed[0], w->flows.seed[1]}};
	struct burst b;
	unsigned n_left = 0;

	begin(&b, w, w->loop, &w->flows.in);
	b.l2_len = 0;
	run_loop(&b, n, &parse);
	w->counters.hairpinned += b.n_translated;
	for (unsigned i = 0; i < BATCH_MAX / 64; i++) {
		for (uint64_t bits = b.left[i]; bits; bits &= bits - 1) {
			const unsigned at = 64 * i + (unsigned)__builtin_ctzll(bits);

			w->loop[n_left] = w->loop[at];
			w->loop_ifc[n_left++] = w->loop_ifc[at];
		}
	}
	return n_left;
}

static void opened(struct worker *w, struct pkt *pkt, const uint16_t *at, const uint32_t *record,
	unsigned n, uint8_t ifc)
{
	struct burst b;

	b.w = w;
	b.flows = &w->flows;
	b.l2_len = w->port[ifc].l2_len;
	b.n_translated = 0;
	b.hairpin_port.n_tx = BATCH_MAX; // hairpins go the general path
	for (unsigned i = 0; i < n; i++) {
		struct pkt *p = &pkt[at[i]];
		struct flow *f = &w->flows.flow[record[i]];
		struct flow *head = f->flags & FLOW_HEAD ? f : &w->flows.flow[f->link];

		if (cgn_unlikely(!f->proto ||
			    !rewrite(&b, p->m, p->ip, p->ip_len, p->tcp_flags, f, head, LEG_OUT)))
			fast_odd(w, p, record[i]);
	}
	w->counters.translated_outbound += b.n_translated;
}

const struct fast FAST = {frames, hairpins, opened};
