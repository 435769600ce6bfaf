// SPDX-License-Identifier: BSD-3-Clause
// Stage 1 of the established path: which frames are whole TCP or UDP packets of IPv4 that may be
// forwarded, their endpoints, and the bucket of the index where those stand. Included by fast.c only,
// once per instruction set: packets side by side in vectors where there are any (AVX2: 4, AVX-512: 8),
// else one by one. Both give the same.
#pragma once
#include <arpa/inet.h>
#include <string.h>
#include "batch.h"
#include "index.h"

#define FAST_LANES 32 // packets of a chunk
#define FAST_AHEAD 8 // frames whose headers are fetched in advance

// A chunk: what the stages know of its packets. A packet that is not for us has the key 0, which no
// mapping has.
struct chunk {
	uint64_t key[FAST_LANES], remote[FAST_LANES]; // FLOW_KEY, FLOW_REMOTE
	uint64_t hash[FAST_LANES];
	uint64_t bucket[FAST_LANES]; // first one of the hash
	uint64_t ip_len[FAST_LANES], tcp_flags[FAST_LANES]; // no flags: UDP
	struct ipv4 *ip[FAST_LANES];
	uint32_t record[FAST_LANES];
	uint32_t taken; // bit per packet: waits in burst.again
	unsigned first, n; // which ones of the burst
} __attribute__((aligned(CGN_CACHE_LINE)));

// What frames are compared with.
struct fast_parse {
	const struct index *index;
	uint64_t seed[2];
	uint64_t mac; // destination address of frames for us, low 48 bits
	uint32_t tag, tag_mask; // of the four bytes behind the MAC addresses
	uint8_t l2_len;
};

static inline void fast_parse_init(struct fast_parse *p, const uint8_t mac[6],
	const uint8_t l2_tail[6], uint8_t l2_len, const struct index *index, const uint64_t seed[2])
{
	p->index = index;
	p->seed[0] = seed[0];
	p->seed[1] = seed[1];
	p->mac = 0;
	memcpy(&p->mac, mac, 6);
	memcpy(&p->tag, l2_tail, 4); // the tag, or the ethertype of an untagged frame
	p->tag_mask = l2_len == 14 ? 0xffff : (uint32_t)htons(0x0fff) << 16 | 0xffff;
	p->l2_len = l2_len;
}

static inline uint64_t fast_load64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, 8);
	return v;
}

static inline uint32_t fast_load32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, 4);
	return v;
}

static inline uint16_t fast_load16(const void *p)
{
	uint16_t v;

	memcpy(&v, p, 2);
	return v;
}

static inline uint8_t *fast_frame(const struct rte_mbuf *m)
{
	return (uint8_t *)m->buf_addr + m->data_off;
}

static inline void fast_parse_begin(struct rte_mbuf **m, unsigned n)
{
	for (unsigned i = 0; i < n && i < FAST_AHEAD; i++)
		__builtin_prefetch(fast_frame(m[i]));
}

// ---- one by one

// The sum over a header of 20 bytes is a multiple of 0xffff: x is one where x times the inverse of
// 0xffff modulo 2^64 is no more than 2^64 / 0xffff.
static inline bool fast_header_ok(const uint8_t *ip)
{
	unsigned long long s;
	uint64_t carry = __builtin_uaddll_overflow(fast_load64(ip), fast_load64(ip + 8), &s);

	carry = __builtin_uaddll_overflow(s, fast_load32(ip + 16) + carry, &s);
	return (s + carry) * 0xfffefffefffeffffull <= UINT64_MAX / 0xffff;
}

static inline __attribute__((always_inline)) void fast_parse_one(const struct fast_parse *p,
	struct chunk *c, unsigned lane, const struct rte_mbuf *m, const bool inbound)
{
	const uint8_t *l2 = fast_frame(m), *ip = l2 + p->l2_len;
	const int len = (int)m->data_len - p->l2_len, ip_len = ntohs(fast_load16(ip + 2));
	const uint64_t addresses = fast_load64(ip + 12);
	const uint32_t ports = fast_load32(ip + 20);
	const uint8_t proto = ip[9];
	const bool is_tcp = proto == CGN_PROTO_TCP;
	// of the L4 header: what it says it has, what it must have
	const int says = is_tcp ? (ip[32] >> 2 & 0x3c) : ntohs(fast_load16(ip + 24));
	const int least = is_tcp ? 20 : 8;
	uint64_t odd, key, remote;
	bool bad;

	odd = (fast_load64(l2) ^ p->mac) << 16;
	odd |= (fast_load32(l2 + 12) ^ p->tag) & p->tag_mask;
	odd |= (fast_load32(ip - 2) ^ 0x00450008u) & 0x00ffffffu; // IPv4 without options
	odd |= fast_load16(ip + 6) & htons(IPV4_FRAG_MASK);
	odd |= m->pkt_len ^ m->data_len; // in one piece
	odd |= m->ol_flags & RTE_MBUF_F_RX_VLAN_STRIPPED;
	bad = odd || ip_len > len || ip[8] <= 1 || (!is_tcp && proto != CGN_PROTO_UDP) ||
		says < least || says > ip_len - 20 || !fast_header_ok(ip);
	if (inbound) {
		key = addresses >> 32 | (uint64_t)(ports >> 16) << 32;
		remote = (uint32_t)addresses | (uint64_t)(uint16_t)ports << 32;
	} else {
		key = (uint32_t)addresses | (uint64_t)(uint16_t)ports << 32;
		remote = addresses >> 32 | (uint64_t)(ports >> 16) << 32;
	}
	key |= (uint64_t)proto << 48;
	key = bad ? 0 : key;
	c->key[lane] = key;
	c->remote[lane] = remote;
	c->hash[lane] = index_hash(key, p->seed);
	c->bucket[lane] = index_first(p->index, c->hash[lane]);
	c->ip[lane] = (struct ipv4 *)(uintptr_t)ip;
	c->ip_len[lane] = (uint64_t)ip_len;
	c->tcp_flags[lane] = is_tcp ? ip[33] : 0;
	cgn_prefetch(&p->index->bucket[c->bucket[lane]]);
}

// ---- several at a time

#if defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
#define FAST_WIDTH 8
#elif defined(__AVX2__)
#define FAST_WIDTH 4
#endif

#ifdef FAST_WIDTH
typedef uint64_t vec __attribute__((vector_size(8 * FAST_WIDTH)));
typedef int64_t ivec __attribute__((vector_size(8 * FAST_WIDTH)));
typedef uint8_t bvec __attribute__((vector_size(8 * FAST_WIDTH)));

static inline __attribute__((always_inline)) vec fast_load_vec(const void *p)
{
	vec v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static inline __attribute__((always_inline)) void fast_store_vec(void *p, vec v)
{
	memcpy(p, &v, sizeof(v));
}

// word[k] = the k-th word of each of the frames' headers.
#if FAST_WIDTH == 8
static inline __attribute__((always_inline)) void fast_transpose(
	const uint8_t *const from[8], vec word[8])
{
	vec a[8], b[8];

	for (unsigned i = 0; i < 8; i++)
		a[i] = fast_load_vec(from[i]);
	for (unsigned i = 0; i < 8; i += 2) {
		b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 2, 10, 4, 12, 6, 14);
		b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 9, 3, 11, 5, 13, 7, 15);
	}
	for (unsigned i = 0; i < 8; i += 4) {
		for (unsigned k = 0; k < 2; k++) {
			a[i + k] = __builtin_shufflevector(
				b[i + k], b[i + 2 + k], 0, 1, 8, 9, 4, 5, 12, 13);
			a[i + 2 + k] = __builtin_shufflevector(
				b[i + k], b[i + 2 + k], 2, 3, 10, 11, 6, 7, 14, 15);
		}
	}
	for (unsigned k = 0; k < 4; k++) {
		word[k] = __builtin_shufflevector(a[k], a[4 + k], 0, 1, 2, 3, 8, 9, 10, 11);
		word[4 + k] = __builtin_shufflevector(a[k], a[4 + k], 4, 5, 6, 7, 12, 13, 14, 15);
	}
}
#else
static inline __attribute__((always_inline)) void fast_transpose(
	const uint8_t *const from[4], vec word[8])
{
	for (unsigned half = 0; half < 2; half++) {
		vec a[4], b[4];

		for (unsigned i = 0; i < 4; i++)
			a[i] = fast_load_vec(from[i] + 32 * half);
		for (unsigned i = 0; i < 4; i += 2) {
			b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 4, 2, 6);
			b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 1, 5, 3, 7);
		}
		for (unsigned k = 0; k < 2; k++) {
			word[4 * half + k] = __builtin_shufflevector(b[k], b[2 + k], 0, 1, 4, 5);
			word[4 * half + 2 + k] =
				__builtin_shufflevector(b[k], b[2 + k], 2, 3, 6, 7);
		}
	}
}
#endif

static inline __attribute__((always_inline)) vec fast_all(uint64_t x)
{
	return x - (vec){0};
}

static inline __attribute__((always_inline)) vec fast_if(ivec mask, vec yes, vec no)
{
	return ((vec)mask & yes) | (~(vec)mask & no);
}

// The two bytes at bit `at` of each word, in network order.
static inline __attribute__((always_inline)) vec fast_be16(vec v, unsigned at)
{
	return (v >> (at + 8) & 0xff) | (v >> at << 8 & 0xff00);
}

static inline __attribute__((always_inline)) vec fast_hash(const struct fast_parse *p, vec key)
{
	vec h = (key & 0xffffffff) * p->seed[0] + (key >> 32) * p->seed[1];

	h = (h ^ h >> 32) * INDEX_STIR;
	return h ^ h >> 32;
}

// Untagged frames only: the 64 bytes from two before the frame hold all that matters, each word of
// the IPv4 header whole.
static inline __attribute__((always_inline)) void fast_parse_some(const struct fast_parse *p,
	struct chunk *c, unsigned lane, struct rte_mbuf **m, const bool inbound)
{
	const uint8_t *from[FAST_WIDTH];
	uint64_t lengths[FAST_WIDTH], flags = 0;
	vec word[8], odd, wrong, sum, ip_len, proto, says, key, remote, hash;
	ivec is_tcp, is_udp, good;

	for (unsigned i = 0; i < FAST_WIDTH; i++) {
		from[i] = fast_frame(m[i]) - 2;
		c->ip[lane + i] = (struct ipv4 *)(uintptr_t)(from[i] + 16);
		lengths[i] =
			fast_load64(&m[i]->pkt_len); // 32 bits, then data_len, then another field
		flags |= m[i]->ol_flags;
	}
	fast_transpose(from, word);
	const vec len = fast_load_vec(lengths);

	// what must be equal: any bit is odd
	odd = (word[0] >> 16) ^ p->mac;
	odd |= (word[1] ^ 0x0008000000000000) & 0xffff000000000000;
	odd |= (word[2] ^ 0x45) & 0xff3f0000000000ff;
	odd |= (len ^ len >> 32) & 0xffff; // in one piece
	odd |= len & 0xffff0000;
	odd |= fast_all(flags & RTE_MBUF_F_RX_VLAN_STRIPPED);
	sum = (word[2] & 0xffffffff) + (word[2] >> 32) + (word[3] & 0xffffffff) + (word[3] >> 32) +
		(word[4] & 0xffffffff);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	odd |= ((sum + (sum >> 16)) & 0xffff) ^ 0xffff;
	proto = word[3] >> 8 & 0xff;
	is_tcp = proto == CGN_PROTO_TCP;
	is_udp = proto == CGN_PROTO_UDP;
	odd |= ~(vec)(is_tcp | is_udp);
	// what must not be negative: the sign bit is wrong
	ip_len = fast_be16(word[2], 16);
	says = fast_if(is_tcp, word[6] >> 2 & 0x3c, fast_be16(word[5], 0));
	wrong = (len >> 32 & 0xffff) - 14 - ip_len;
	wrong |= (word[3] & 0xff) - 2; // TTL
	wrong |= says - fast_if(is_tcp, fast_all(20), fast_all(8));
	wrong |= ip_len - 20 - says;
	good = ((odd | wrong >> 63) == 0);

	key = (proto << 48) & (vec)good;
	if (inbound) {
		key |= ((word[4] & 0xffffffff) | (word[4] >> 16 & 0xffff00000000)) & (vec)good;
		remote = word[3] >> 32 | (word[4] & 0xffff00000000);
	} else {
		key |= (word[3] >> 32 | (word[4] & 0xffff00000000)) & (vec)good;
		remote = (word[4] & 0xffffffff) | (word[4] >> 16 & 0xffff00000000);
	}
	hash = fast_hash(p, key);
	fast_store_vec(&c->key[lane], key);
	fast_store_vec(&c->remote[lane], remote);
	fast_store_vec(&c->hash[lane], hash);
	fast_store_vec(&c->bucket[lane], (hash >> 32) * p->index->n_buckets >> 32);
	fast_store_vec(&c->ip_len[lane], ip_len);
	fast_store_vec(&c->tcp_flags[lane], word[6] >> 8 & 0xff & (vec)is_tcp);
	for (unsigned i = 0; i < FAST_WIDTH; i++)
		cgn_prefetch(&p->index->bucket[c->bucket[lane + i]]);
}
#endif

// Packets first .. first + n - 1 of n_all.
static inline __attribute__((always_inline)) void fast_parse(const struct fast_parse *p,
	struct chunk *c, struct rte_mbuf **m, unsigned first, unsigned n, unsigned n_all,
	const bool inbound)
{
	unsigned lane = 0;

	c->first = first;
	c->n = n;
	m += first;
	n_all -= first;
#ifdef FAST_WIDTH
	for (; p->l2_len == 14 && lane + FAST_WIDTH <= n; lane += FAST_WIDTH) {
		for (unsigned i = lane + FAST_AHEAD;
			i < lane + FAST_AHEAD + FAST_WIDTH && i < n_all; i++)
			__builtin_prefetch(fast_frame(m[i]));
		fast_parse_some(p, c, lane, m + lane, inbound);
	}
#endif
	for (; lane < n; lane++) {
		if (lane + FAST_AHEAD < n_all)
			__builtin_prefetch(fast_frame(m[lane + FAST_AHEAD]));
		fast_parse_one(p, c, lane, m[lane], inbound);
	}
}

// Hairpins before their inbound half: bare IPv4 packets that have been parsed as outbound ones.
static inline __attribute__((always_inline)) void fast_parse_bare(const struct fast_parse *p,
	struct chunk *c, struct rte_mbuf **m, unsigned first, unsigned n)
{
	c->first = first;
	c->n = n;
	for (unsigned lane = 0; lane < n; lane++) {
		const uint8_t *ip = fast_frame(m[first + lane]);
		const uint64_t addresses = fast_load64(ip + 12);
		const uint32_t ports = fast_load32(ip + 20);
		const uint8_t proto = ip[9];
		const bool is_tcp = proto == CGN_PROTO_TCP;
		const bool bad = ip[0] != 0x45 || fast_load16(ip + 6) & htons(IPV4_FRAG_MASK) ||
			(!is_tcp && proto != CGN_PROTO_UDP);
		const uint64_t key = bad
			? 0
			: addresses >> 32 | (uint64_t)(ports >> 16) << 32 | (uint64_t)proto << 48;

		c->key[lane] = key;
		c->remote[lane] = (uint32_t)addresses | (uint64_t)(uint16_t)ports << 32;
		c->hash[lane] = index_hash(key, p->seed);
		c->bucket[lane] = index_first(p->index, c->hash[lane]);
		c->ip[lane] = (struct ipv4 *)(uintptr_t)ip;
		c->ip_len[lane] = m[first + lane]->data_len;
		c->tcp_flags[lane] = is_tcp ? ip[33] : 0;
		cgn_prefetch(&p->index->bucket[c->bucket[lane]]);
	}
}
