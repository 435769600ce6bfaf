// SPDX-License-Identifier: BSD-3-Clause
// index-layouts: which table should find the record of an endpoint? Fills each kind with N external
// endpoints, looks them up in random order and in batches, each stage asking memory for what the next
// one needs as the worker does, and says what a look-up costs, alone and with the record behind it.
// The results are in docs/performance.md.
#include <arpa/inet.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <rte_cycles.h>
#include <rte_eal.h>
#include <rte_hash.h>
#include <rte_hash_crc.h>
#include <rte_malloc.h>
#include "dataplane/flow.h"
#include "number.h"

#define POOL_FIRST 0xcb007100u // 203.0.113.0 and on
#define PORT_FIRST 1024u
#define PORTS 64512u // of an address
#define STEP 2654435761u // a prime: an order far from that of the ports
#define ROUND 8192u // look-ups between two looks at the clock, a multiple of every batch
#define BATCH 256u // at most

__extension__ typedef unsigned __int128 u128;

static uint64_t n_entries = 64512, spread = 1;
static double seconds = 0.3;

// What a packet reads and writes of a session; a line of its own.
struct record {
	uint64_t key, n_packets;
} __attribute__((aligned(CGN_CACHE_LINE)));

struct layout {
	const char *name;
	void (*create)(uint64_t n_max);
	void (*destroy)(void);
	void (*prefetch)(uint64_t key); // before an insert; may be NULL
	bool (*insert)(uint64_t key, uint32_t record); // false: full
	void (*find)(const uint64_t *key, unsigned n, uint32_t *found); // n <= BATCH
	uint32_t (*exact)(uint64_t key); // when find() gave the wrong one; NULL: it never does
};

static _Noreturn void fail(const char *what)
{
	fprintf(stderr, "index-layouts: %s\n", what);
	exit(1);
}

static void *take(uint64_t bytes)
{
	void *mem = mem_take("layout", bytes, -1);

	if (!mem)
		fail("not enough hugepages");
	return mem;
}

static struct record *record; // of all entries

static uint64_t key_of(uint64_t entry)
{
	const uint64_t at = entry * spread;

	return FLOW_KEY(htonl((uint32_t)(POOL_FIRST + at / PORTS)),
		htons((uint16_t)(PORT_FIRST + at % PORTS)), IPPROTO_UDP);
}

static const uint64_t seed[2] = {0xd6e8feb86659fd93, 0xa0761d6478bd642f};

// What is not in the place looked at first waits for the end of the batch, as in the worker.
struct again {
	uint64_t key;
	uint32_t place, at;
};

// ---- the index in use: buckets of one line, tags of 16 bits, two choices

static struct index in_use;

static void in_use_create(uint64_t n_max)
{
	if (index_init(&in_use, (uint32_t)n_max, -1))
		fail("not enough hugepages");
}

static void in_use_destroy(void)
{
	index_fini(&in_use);
}

static void in_use_prefetch(uint64_t key)
{
	index_prefetch(&in_use, index_hash(key, seed));
}

static bool in_use_insert(uint64_t key, uint32_t r)
{
	return index_insert(&in_use, index_hash(key, seed), r);
}

static bool in_use_same(const void *key, uint32_t r)
{
	return record[r].key == *(const uint64_t *)key;
}

static uint32_t in_use_exact(uint64_t key)
{
	return index_lookup(&in_use, index_hash(key, seed), in_use_same, &key);
}

static void in_use_find(const uint64_t *key, unsigned n, uint32_t *found)
{
	uint64_t hash[BATCH];
	struct again again[BATCH];
	unsigned n_again = 0;

	for (unsigned i = 0; i < n; i++) {
		hash[i] = index_hash(key[i], seed);
		index_prefetch(&in_use, hash[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		const uint32_t first = index_first(&in_use, hash[i]);
		const struct index_bucket *b = &in_use.bucket[first];
		const unsigned bits = index_match(b, index_tag(hash[i]));

		if (cgn_likely(bits)) {
			found[i] = b->record[__builtin_ctz(bits)];
		} else {
			const uint32_t other = index_other(&in_use, first, index_tag(hash[i]));

			cgn_prefetch(&in_use.bucket[other]);
			again[n_again++] = (struct again){hash[i], other, i};
		}
	}
	for (unsigned i = 0; i < n_again; i++) {
		const struct index_bucket *b = &in_use.bucket[again[i].place];
		const unsigned bits = index_match(b, index_tag(again[i].key));

		found[again[i].at] = bits ? b->record[__builtin_ctz(bits)] : 0;
	}
}

// ---- direct: a word for each port of each address; 0 is nobody

static uint32_t *direct;

static void direct_create(uint64_t n_max)
{
	direct = take((n_max * spread / PORTS + 1) * PORTS * sizeof(*direct));
}

static void direct_destroy(void)
{
	mem_give(direct);
}

static uint32_t *direct_at(uint64_t key)
{
	return &direct[(uint64_t)(ntohl((uint32_t)key) - POOL_FIRST) * PORTS +
		ntohs((uint16_t)(key >> 32)) - PORT_FIRST];
}

static void direct_prefetch(uint64_t key)
{
	cgn_prefetch_w(direct_at(key));
}

static bool direct_insert(uint64_t key, uint32_t r)
{
	*direct_at(key) = r + 1;
	return true;
}

static void direct_find(const uint64_t *key, unsigned n, uint32_t *found)
{
	const uint32_t *at[BATCH];

	for (unsigned i = 0; i < n; i++) {
		at[i] = direct_at(key[i]);
		cgn_prefetch(at[i]);
	}
	for (unsigned i = 0; i < n; i++)
		found[i] = *at[i] - 1;
}

// ---- words: as the index in use, but a slot is one word, of the record's number and as many bits of
// the tag as that leaves: 15 slots to a line

#define WORD_SLOTS 15u
#define WORD_LOAD 12u // entries per bucket when all are in
#define WORD_MOVES 500u

struct word_bucket {
	uint32_t word[WORD_SLOTS]; // 0: free
	uint32_t reserved; // for what an index that also removes has to know
} __attribute__((aligned(CGN_CACHE_LINE)));

static struct {
	struct word_bucket *bucket;
	struct index shape; // for index_first() and index_other()
	uint32_t record_mask;
} words;

static void words_create(uint64_t n_max)
{
	words.shape.n_buckets = (uint32_t)(n_max / WORD_LOAD + 16);
	words.bucket = take(words.shape.n_buckets * sizeof(*words.bucket));
	words.record_mask = (1u << (64 - __builtin_clzll(n_max))) - 1;
}

static void words_destroy(void)
{
	mem_give(words.bucket);
}

static void words_prefetch(uint64_t key)
{
	cgn_prefetch(&words.bucket[index_first(&words.shape, index_hash(key, seed))]);
}

// The tag is in the upper bits of the word, and never 0.
static uint32_t words_tag(uint64_t hash)
{
	uint32_t tag = (uint32_t)hash & ~words.record_mask;

	return tag ? tag : words.record_mask + 1;
}

static uint32_t words_other(uint32_t bucket, uint32_t tag)
{
	uint32_t sum = (uint32_t)(((uint64_t)(tag * 0x9e3779b1u) * words.shape.n_buckets) >> 32);

	return sum >= bucket ? sum - bucket : sum + words.shape.n_buckets - bucket;
}

// Bit per slot that has this tag; with tag 0 the free ones.
static unsigned words_match(const struct word_bucket *b, uint32_t tag)
{
	const __m128i mask = _mm_set1_epi32((int)~words.record_mask);
	const __m128i want = _mm_set1_epi32((int)tag);
	__m128i same[4];

	for (unsigned i = 0; i < 4; i++) {
		__m128i four = _mm_load_si128((const __m128i *)b + i);

		same[i] = _mm_cmpeq_epi32(_mm_and_si128(four, mask), want);
	}
	return (unsigned)_mm_movemask_epi8(_mm_packs_epi16(
		       _mm_packs_epi32(same[0], same[1]), _mm_packs_epi32(same[2], same[3]))) &
		((1u << WORD_SLOTS) - 1);
}

static bool words_insert(uint64_t key, uint32_t r)
{
	const uint64_t hash = index_hash(key, seed);
	uint32_t at = index_first(&words.shape, hash), tag = words_tag(hash);
	uint32_t word = tag | r;

	for (unsigned i = 0; i < WORD_MOVES; i++) {
		struct word_bucket *b = &words.bucket[at];
		const unsigned free_slots = words_match(b, 0);
		uint32_t moved;

		if (free_slots) {
			b->word[__builtin_ctz(free_slots)] = word;
			return true;
		}
		if (i) { // the other one is full, too: somebody has to go
			moved = b->word[(i * 7) % WORD_SLOTS];
			b->word[(i * 7) % WORD_SLOTS] = word;
			word = moved;
			tag = word & ~words.record_mask;
		}
		at = words_other(at, tag);
	}
	return false; // and somebody has no place now: only good for finding out when it is full
}

static uint32_t words_exact(uint64_t key)
{
	const uint64_t hash = index_hash(key, seed);
	const uint32_t tag = words_tag(hash);
	uint32_t at = index_first(&words.shape, hash);

	for (unsigned i = 0; i < 2; i++) {
		const struct word_bucket *b = &words.bucket[at];

		for (unsigned bits = words_match(b, tag); bits; bits &= bits - 1) {
			const uint32_t r = b->word[__builtin_ctz(bits)] & words.record_mask;

			if (record[r].key == key)
				return r;
		}
		at = words_other(at, tag);
	}
	fail("an entry is lost");
}

static void words_find(const uint64_t *key, unsigned n, uint32_t *found)
{
	uint64_t hash[BATCH];
	struct again again[BATCH];
	unsigned n_again = 0;

	for (unsigned i = 0; i < n; i++) {
		hash[i] = index_hash(key[i], seed);
		cgn_prefetch(&words.bucket[index_first(&words.shape, hash[i])]);
	}
	for (unsigned i = 0; i < n; i++) {
		const uint32_t first = index_first(&words.shape, hash[i]);
		const struct word_bucket *b = &words.bucket[first];
		const uint32_t tag = words_tag(hash[i]);
		const unsigned bits = words_match(b, tag);

		if (cgn_likely(bits)) {
			found[i] = b->word[__builtin_ctz(bits)] & words.record_mask;
		} else {
			const uint32_t other = words_other(first, tag);

			cgn_prefetch(&words.bucket[other]);
			again[n_again++] = (struct again){hash[i], other, i};
		}
	}
	for (unsigned i = 0; i < n_again; i++) {
		const struct word_bucket *b = &words.bucket[again[i].place];
		const unsigned bits = words_match(b, words_tag(again[i].key));

		found[again[i].at] = bits ? b->word[__builtin_ctz(bits)] & words.record_mask : 0;
	}
}

// ---- keys: whole keys in the bucket, one choice, further buckets chained to it

#define KEY_SLOTS 5u
#define KEY_LOAD 3.5 // entries per bucket when all are in

struct key_bucket {
	uint64_t key[KEY_SLOTS]; // 0: free
	uint32_t record[KEY_SLOTS];
	uint32_t next; // bucket; 0: none
};
_Static_assert(sizeof(struct key_bucket) == CGN_CACHE_LINE, "a bucket is one line");

static struct {
	struct key_bucket *bucket;
	struct index shape;
	uint32_t n_all, n_taken;
} keys;

static void keys_create(uint64_t n_max)
{
	keys.shape.n_buckets = (uint32_t)((double)n_max / KEY_LOAD) + 16;
	keys.n_taken = keys.shape.n_buckets;
	keys.n_all = keys.n_taken + keys.n_taken / 6 + 16;
	keys.bucket = take(keys.n_all * sizeof(*keys.bucket));
}

static void keys_destroy(void)
{
	mem_give(keys.bucket);
}

static void keys_prefetch(uint64_t key)
{
	cgn_prefetch_w(&keys.bucket[index_first(&keys.shape, index_hash(key, seed))]);
}

static bool keys_insert(uint64_t key, uint32_t r)
{
	struct key_bucket *b = &keys.bucket[index_first(&keys.shape, index_hash(key, seed))];

	for (;; b = &keys.bucket[b->next]) {
		for (unsigned i = 0; i < KEY_SLOTS; i++) {
			if (!b->key[i]) {
				b->key[i] = key;
				b->record[i] = r;
				return true;
			}
		}
		if (b->next)
			continue;
		if (keys.n_taken == keys.n_all)
			return false;
		b->next = keys.n_taken++;
	}
}

static unsigned keys_match(const struct key_bucket *b, uint64_t key)
{
	unsigned bits = 0;

	for (unsigned i = 0; i < KEY_SLOTS; i++)
		bits |= (unsigned)(b->key[i] == key) << i;
	return bits;
}

static void keys_find(const uint64_t *key, unsigned n, uint32_t *found)
{
	const struct key_bucket *bucket[BATCH];
	struct again again[BATCH];
	unsigned n_again = 0;

	for (unsigned i = 0; i < n; i++) {
		bucket[i] = &keys.bucket[index_first(&keys.shape, index_hash(key[i], seed))];
		cgn_prefetch(bucket[i]);
	}
	for (unsigned i = 0; i < n; i++) {
		const unsigned bits = keys_match(bucket[i], key[i]);

		if (cgn_likely(bits)) {
			found[i] = bucket[i]->record[__builtin_ctz(bits)];
		} else {
			cgn_prefetch(&keys.bucket[bucket[i]->next]);
			again[n_again++] = (struct again){key[i], bucket[i]->next, i};
		}
	}
	for (unsigned i = 0; i < n_again; i++) {
		const struct key_bucket *b = &keys.bucket[again[i].place];
		unsigned bits = keys_match(b, again[i].key);

		for (; !bits && b->next; bits = keys_match(b, again[i].key))
			b = &keys.bucket[b->next];
		found[again[i].at] = bits ? b->record[__builtin_ctz(bits)] : 0;
	}
}

// ---- rte_hash, for comparison

static struct rte_hash *hash;

static void rte_create(uint64_t n_max)
{
	const struct rte_hash_parameters p = {.name = "layout",
		.entries = (uint32_t)n_max < 16 ? 16 : (uint32_t)n_max,
		.key_len = sizeof(uint64_t),
		.hash_func = rte_hash_crc,
		.extra_flag = RTE_HASH_EXTRA_FLAGS_EXT_TABLE, // or it is full before it is full
		.socket_id = SOCKET_ID_ANY};

	if (!(hash = rte_hash_create(&p)))
		fail("not enough hugepages");
}

static void rte_destroy(void)
{
	rte_hash_free(hash);
}

static bool rte_insert(uint64_t key, uint32_t r)
{
	return !rte_hash_add_key_data(hash, &key, (void *)(uintptr_t)r);
}

static void rte_find(const uint64_t *key, unsigned n, uint32_t *found)
{
	for (unsigned at = 0; at < n; at += RTE_HASH_LOOKUP_BULK_MAX) {
		const unsigned some = RTE_MIN(n - at, (unsigned)RTE_HASH_LOOKUP_BULK_MAX);
		const void *keys_of[RTE_HASH_LOOKUP_BULK_MAX];
		void *data[RTE_HASH_LOOKUP_BULK_MAX];
		uint64_t hits;

		for (unsigned i = 0; i < some; i++)
			keys_of[i] = &key[at + i];
		rte_hash_lookup_bulk_data(hash, keys_of, some, &hits, data);
		for (unsigned i = 0; i < some; i++)
			found[at + i] = hits >> i & 1 ? (uint32_t)(uintptr_t)data[i] : 0;
	}
}

// ---- measuring

static const struct layout layouts[] = {
	{"two choices, 10 tags (in use)", in_use_create, in_use_destroy, in_use_prefetch,
		in_use_insert, in_use_find, in_use_exact},
	{"two choices, 15 words", words_create, words_destroy, words_prefetch, words_insert,
		words_find, words_exact},
	{"one choice, 5 keys, chained", keys_create, keys_destroy, keys_prefetch, keys_insert,
		keys_find, NULL},
	{"direct by port", direct_create, direct_destroy, direct_prefetch, direct_insert,
		direct_find, NULL},
	{"rte_hash", rte_create, rte_destroy, NULL, rte_insert, rte_find, NULL},
};

static uint64_t heap_bytes(void)
{
	uint64_t bytes = 0;

	for (int socket = 0; socket < RTE_MAX_NUMA_NODES; socket++) {
		struct rte_malloc_socket_stats s;

		if (!rte_malloc_get_socket_stats(socket, &s))
			bytes += s.heap_allocsz_bytes;
	}
	return bytes;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static uint64_t next_key(void)
{
	static uint64_t rnd = 0x9e3779b97f4a7c15ull;

	rnd ^= rnd << 13; // xorshift64
	rnd ^= rnd >> 7;
	rnd ^= rnd << 17;
	return key_of((uint64_t)(((u128)rnd * n_entries) >> 64));
}

// Goes to the records that were found, one or the other of which is the wrong one.
static void use(const struct layout *l, const uint64_t *key, const uint32_t *found, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		cgn_prefetch_w(&record[found[i]]);
	for (unsigned i = 0; i < n; i++) {
		struct record *r = &record[found[i]];

		if (cgn_unlikely(r->key != key[i])) {
			if (!l->exact)
				fail("a wrong record was found");
			r = &record[l->exact(key[i])];
		}
		r->n_packets++;
	}
}

// Clocks per look-up, the median of rounds.
static double time_finds(const struct layout *l, unsigned batch, bool with_record)
{
	static uint64_t key[ROUND];
	static uint32_t found[ROUND];
	static double clocks[1 << 16];
	const uint64_t end = rte_rdtsc() + (uint64_t)(seconds * (double)rte_get_tsc_hz());
	unsigned n_rounds = 0;

	while (n_rounds < RTE_DIM(clocks) && (n_rounds < 8 || rte_rdtsc() < end)) {
		uint64_t begin;

		for (unsigned i = 0; i < ROUND; i++)
			key[i] = next_key();
		begin = rte_rdtsc();
		for (unsigned at = 0; at < ROUND; at += batch) {
			l->find(key + at, batch, found + at);
			if (with_record)
				use(l, key + at, found + at, batch);
		}
		clocks[n_rounds++] = (double)(rte_rdtsc() - begin) / ROUND;
	}
	qsort(clocks, n_rounds, sizeof(*clocks), by_value);
	return clocks[n_rounds / 2];
}

// Clocks per insert of all entries, the lines of 32 at a time asked for.
static double fill(const struct layout *l)
{
	uint64_t tsc = 0;

	for (uint64_t at = 0; at < n_entries; at += 32) {
		const unsigned n = (unsigned)RTE_MIN(n_entries - at, (uint64_t)32);
		uint64_t key[32], begin;

		for (unsigned i = 0; i < n; i++) {
			key[i] = key_of((uint64_t)(((u128)(at + i) * STEP) % n_entries));
			record[at + i].key = key[i];
		}
		begin = rte_rdtsc();
		for (unsigned i = 0; i < n && l->prefetch; i++)
			l->prefetch(key[i]);
		for (unsigned i = 0; i < n; i++) {
			if (!l->insert(key[i], (uint32_t)(at + i)))
				fail("full too early");
		}
		tsc += rte_rdtsc() - begin;
	}
	return (double)tsc / (double)n_entries;
}

// Entries beyond what it was made for, until it takes no more; at most as many again.
static uint64_t fill_up(const struct layout *l)
{
	uint64_t n = 0;

	while (n < n_entries && l->insert(key_of(n_entries + n), 0))
		n++;
	return n;
}

static void measure(const struct layout *l)
{
	static const unsigned batches[] = {32, 128, 256};
	const uint64_t before = heap_bytes();
	uint64_t bytes;
	double insert;

	l->create(n_entries);
	bytes = heap_bytes() - before;
	insert = fill(l);
	printf("%-30s %6.1f %7.0f", l->name, (double)bytes / (double)n_entries, insert);
	for (unsigned i = 0; i < RTE_DIM(batches); i++)
		printf(" %6.1f", time_finds(l, batches[i], false));
	for (unsigned i = 0; i < RTE_DIM(batches); i++)
		printf(" %6.1f", time_finds(l, batches[i], true));
	if (l->insert == direct_insert)
		printf("      -\n");
	else
		printf(" %+5.0f%%\n", 100.0 * (double)fill_up(l) / (double)n_entries);
	fflush(stdout);
	l->destroy();
}

static _Noreturn void usage(int code)
{
	fprintf(code ? stderr : stdout,
		"usage: index-layouts [options]\n"
		"  --entries N    endpoints in the table, 16..20000000 (64512)\n"
		"  --spread N     of N ports one has a mapping, 1..64 (1)\n"
		"  --seconds S    per figure (0.3)\n"
		"  --no-huge      ordinary memory; the figures are not comparable\n");
	exit(code);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"entries", 1, NULL, 'n'}, {"spread", 1, NULL, 's'},
		{"seconds", 1, NULL, 't'}, {"no-huge", 0, NULL, 'o'}, {"help", 0, NULL, 'h'},
		{NULL, 0, NULL, 0}};
	char lcores[32];
	char *eal[] = {"index-layouts", "--no-pci", "--no-telemetry", "--iova-mode=va",
		"--log-level=warning", lcores, "--in-memory", "-m", "256", NULL};

	snprintf(lcores, sizeof(lcores), "--lcores=0@%d", sysconf(_SC_NPROCESSORS_ONLN) > 1);
	number_program = "index-layouts";
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		if (c == 'n')
			n_entries = number_parse("--entries", optarg, 16, 20000000);
		else if (c == 's')
			spread = number_parse("--spread", optarg, 1, 64);
		else if (c == 't')
			seconds = number_parse_real("--seconds", optarg, 0.01, 60);
		else if (c == 'o')
			eal[6] = "--no-huge", eal[8] = "4096";
		else
			usage(c == 'h' ? 0 : 2);
	}
	if (rte_eal_init(9, eal) < 0)
		fail("DPDK does not start");
	record = take(n_entries * sizeof(*record));
	printf("%" PRIu64 " entries, one of %" PRIu64 " ports; clocks, TSC at %.1f GHz\n"
	       "%-30s %6s %7s %20s %20s %6s\n%-30s %6s %7s %6u %6u %6u %6u %6u %6u\n",
		n_entries, spread, (double)rte_get_tsc_hz() / 1e9, "", "", "", "look-up alone",
		"with the record", "", "", "B each", "insert", 32, 128, 256, 32, 128, 256);
	for (unsigned i = 0; i < RTE_DIM(layouts); i++)
		measure(&layouts[i]);
	mem_give(record);
	return 0;
}
