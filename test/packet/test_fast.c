// SPDX-License-Identifier: BSD-3-Clause
// The established path (fast.c) gives what the general path gives, in every instruction set that was
// built and that this CPU has: the same random packets through each, every frame and counter compared.
#include "bed.h"
#include <stdlib.h>
#include <string.h>
#include "fast.h"
#include "rng.h"

#define STEPS 120
#define BURST_OF_STEP 300 // packets, at most
#define SUBSCRIBERS 12
#define PORTS 24
#define KNOWN 512
#define PAIRS 64

static struct rng rng; // of the packets

static uint32_t below(uint32_t n)
{
	return rng_below(&rng, n);
}

static bool one_in(uint32_t n)
{
	return !below(n);
}

// ---- what came out

struct output {
	unsigned step, ifc;
	struct frame f;
};

struct run {
	struct output *out;
	size_t n, room;
	struct cgn_counters counters;
	uint64_t n_fast, n_fast_hairpins; // packets that the established path took
};

// What went in, so that every run gets the same: what is sent depends on what came out before.
static struct output *in;
static size_t n_in, in_room;
static unsigned wait_ms[STEPS];
static bool replaying;

static void put(unsigned step, unsigned ifc, const struct frame *f)
{
	bed_put(ifc, *f);
	if (replaying)
		return;
	if (n_in == in_room) {
		in_room = in_room ? 2 * in_room : 4096;
		in = realloc(in, in_room * sizeof(*in));
		assert_non_null(in);
	}
	in[n_in++] = (struct output){step, ifc, *f};
}

static struct endpoint known[KNOWN]; // external endpoints that were seen, and what they sent to
static struct endpoint known_remote[KNOWN];
static uint8_t known_proto[KNOWN];
static unsigned n_known;

static void collect(struct run *r, unsigned step)
{
	struct frame f;

	for (unsigned ifc = 0; ifc < BED_INTERFACES; ifc++) {
		while (bed_take(ifc, &f)) {
			const struct ipv4 *ip = frame_ip(&f);

			if (r->n == r->room) {
				r->room = r->room ? 2 * r->room : 4096;
				r->out = realloc(r->out, r->room * sizeof(*r->out));
				assert_non_null(r->out);
			}
			r->out[r->n++] = (struct output){step, ifc, f};
			if (ifc == OUTSIDE && ip->proto != CGN_PROTO_ICMP &&
				!(ip->frag & htons(IPV4_FRAG_MASK)) && f.len >= 34 + 8) {
				const unsigned k = n_known++ % KNOWN;

				known[k] = source_of(f);
				known_remote[k] = destination_of(f);
				known_proto[k] = ip->proto;
			}
		}
	}
}

// ---- what goes in

static struct endpoint subscriber(void)
{
	return at(ALICE + below(SUBSCRIBERS), 2000 + below(PORTS));
}

static struct endpoint remote(void)
{
	static const uint16_t port[] = {53, 80, 443, 5000};

	return at(S1 + below(3), port[below(4)]);
}

static uint8_t tcp_flags(void)
{
	static const uint8_t flags[] = {TCP_SYN, TCP_SYN, TCP_SYN | TCP_ACK, TCP_ACK, TCP_ACK,
		TCP_ACK | TCP_PSH, TCP_ACK | TCP_PSH, TCP_FIN | TCP_ACK, TCP_RST, TCP_RST | TCP_ACK,
		0, TCP_SYN | TCP_FIN};

	return flags[below(sizeof(flags))];
}

static struct frame between(struct endpoint from, struct endpoint to, uint8_t proto)
{
	return proto == CGN_PROTO_TCP ? tcp(from, to, tcp_flags()) : udp(from, to);
}

// Packets that only the general path forwards (with options, in pieces, with a priority tag, ICMP)
// come after others of the same burst, and the order makes a difference: of a FIN and an ACK, or in
// who gets which random port. So a step has either those or none.
static bool is_odd_step;
static unsigned more_hairpins; // so many of 8 packets besides the usual share

// Something odd about a frame. The bed's own checks on what comes out hold all the same.
static struct frame spoiled(struct frame f)
{
	struct ipv4 *ip = frame_ip(&f);
	uint8_t *l4 = frame_l4(&f);
	uint32_t how = below(16);

	if (is_odd_step != (how == 2 || how == 3 || how == 9))
		how = is_odd_step ? 2 : 0;
	switch (how) {
	case 0: // bad header checksum
		ip->check ^= htons((uint16_t)(1 + below(65535)));
		break;
	case 1:
		return with_ttl(f, (uint8_t)below(3));
	case 2:
		return with_options(f, "\1\1\1\0", 4);
	case 3: // a first or later fragment
		ip->frag = htons((uint16_t)(one_in(2) ? IPV4_MF : 8 + below(64)));
		frame_seal_ip(&f);
		break;
	case 4: // more than there is
		ip->total_len = htons((uint16_t)(ntohs(ip->total_len) + 1 + below(64)));
		frame_seal_ip(&f);
		break;
	case 5: // L4 length or offset
		l4[ip->proto == CGN_PROTO_TCP ? 12 : 5] = (uint8_t)below(256);
		frame_seal(&f);
		break;
	case 6: // less than an L4 header
		ip->total_len = htons((uint16_t)(20 + below(20)));
		frame_seal_ip(&f);
		break;
	case 7:
		ip->proto = (uint8_t)below(256);
		frame_seal_ip(&f);
		break;
	case 8:
		ip->ver_ihl = (uint8_t)below(256);
		break;
	case 9:
		return with_vlan(f, below(3) * 7);
	case 10:
		return with_size(f, 28 + below(1473));
	case 11: // padding behind the packet
		memset(f.b + f.len, 0xa5, 60);
		f.len = (uint16_t)(f.len + 1 + below(60));
		break;
	case 12: // cut
		f.len = (uint16_t)below(f.len);
		break;
	case 13: // no checksum, or a wrong one
		frame_l4_check_set(&f, one_in(2) ? 0 : (uint16_t)below(65536));
		break;
	case 14:
		f.b[12 + below(2)] ^= (uint8_t)(1 + below(255)); // ethertype
		break;
	default: // too big
		return with_size(f, 1501 + below(400));
	}
	return f;
}

static struct pair {
	struct endpoint from, to;
	uint8_t proto;
} pairs[PAIRS];

// Mostly between ends that have met before: only those have sessions.
static struct frame hairpin_packet(void)
{
	struct pair *p = &pairs[below(PAIRS)];

	if (!n_known)
		return between(subscriber(), remote(), CGN_PROTO_UDP);
	if (!p->proto || one_in(8)) {
		const unsigned k = below(n_known < KNOWN ? n_known : KNOWN);

		*p = (struct pair){subscriber(), known[k], known_proto[k]};
	}
	return between(p->from, p->to, p->proto);
}

static void put_one(unsigned step)
{
	const uint8_t proto = one_in(2) ? CGN_PROTO_TCP : CGN_PROTO_UDP;
	unsigned ifc = INSIDE, k = n_known ? below(n_known < KNOWN ? n_known : KNOWN) : 0;
	struct frame f;

	switch (is_odd_step ? 8 : below(8) < more_hairpins ? 4 : below(8)) {
	case 0:
	case 1:
	case 2:
	case 3:
		f = between(subscriber(), remote(), proto);
		break;
	case 4:
		f = hairpin_packet();
		break;
	case 5:
	case 6: // an answer, or from some other remote
		ifc = OUTSIDE;
		f = n_known
			? between(one_in(4) ? remote() : known_remote[k], known[k], known_proto[k])
			: between(remote(), at(X1, 5000), proto);
		break;
	case 8:
		f = one_in(2)
			? echo(subscriber(), S1 + below(3))
			: icmp_error(S1, known[k].address ? known[k].address : X1, 3, 3,
				  (f = udp(n_known ? known[k] : at(X1, 5000), remote()), &f), 8);
		ifc = frame_ip(&f)->src == htonl(S1) ? OUTSIDE : INSIDE;
		break;
	default: // to nobody
		ifc = OUTSIDE;
		f = between(remote(), at(X1 + below(4), 1024 + below(64000)), proto);
		break;
	}
	if (!one_in(4))
		f = with_df(f);
	if (bed.worker[0]->snapshot->interface[ifc].vlan && !one_in(20))
		f = with_vlan(f, bed.worker[0]->snapshot->interface[ifc].vlan);
	if (is_odd_step ? frame_ip(&f)->proto == CGN_PROTO_UDP : one_in(12))
		f = spoiled(f);
	for (unsigned i = one_in(50) ? 3 : 1; i; i--)
		put(step, ifc, &f);
}

static void put_step(unsigned step)
{
	static size_t next;

	if (!step)
		next = 0;
	if (replaying) {
		for (; next < n_in && in[next].step == step; next++)
			put(step, in[next].ifc, &in[next].f);
		return;
	}
	is_odd_step = one_in(5);
	for (unsigned i = one_in(3) ? 1 + below(4) : 1 + below(BURST_OF_STEP); i; i--)
		put_one(step);
	wait_ms[step] = one_in(8) ? 1 + (one_in(4) ? below(400000) : below(3000)) : 0;
}

static const struct fast *fast;
static struct fast watched;
static uint64_t n_fast, n_fast_hairpins;

static unsigned counted(struct worker *w, struct rte_mbuf **m, unsigned n, uint8_t ifc)
{
	const unsigned left = fast->frames(w, m, n, ifc);

	n_fast += n - left;
	return left;
}

static unsigned counted_hairpins(struct worker *w, unsigned n)
{
	const unsigned left = fast->hairpins(w, n);

	n_fast_hairpins += n - left;
	return left;
}

static struct run run(const struct bed_options *options, enum fast_level level, uint32_t seed)
{
	uint8_t key[32] = "packets of test_fast";
	struct run r = {0};

	memcpy(key + 24, &seed, 4);
	rng_init(&rng, key);
	n_known = 0;
	memset(pairs, 0, sizeof(pairs));
	n_fast = n_fast_hairpins = 0;
	n_in = replaying ? n_in : 0;
	bed_open(options);
	bed.bad_l4 = true;
	fast = fast_pick(level, NULL);
	watched = (struct fast){counted, counted_hairpins, fast ? fast->opened : NULL};
	for (unsigned i = 0; i < bed.n_workers; i++)
		bed.worker[i]->fast = fast ? &watched : NULL;
	for (unsigned step = 0; step < STEPS; step++) {
		put_step(step);
		bed_run();
		collect(&r, step);
		if (wait_ms[step])
			bed_wait_ms(wait_ms[step]);
		collect(&r, step);
	}
	r.counters = bed_sum();
	r.n_fast = n_fast;
	r.n_fast_hairpins = n_fast_hairpins;
	assert_int_equal(bed_teardown(NULL), 0);
	return r;
}

static void free_run(struct run *r)
{
	free(r->out);
}

// The general path sends what it finds at once before the rest, as does the established one, but each
// finds other things at once: in a step the order of frames may differ, and with it who gets which
// IPv4 identification.
static int by_content(const void *a, const void *b)
{
	const struct output *x = a, *y = b;

	if (x->step != y->step)
		return x->step < y->step ? -1 : 1;
	if (x->ifc != y->ifc)
		return x->ifc < y->ifc ? -1 : 1;
	if (x->f.len != y->f.len)
		return x->f.len < y->f.len ? -1 : 1;
	return memcmp(x->f.b, y->f.b, x->f.len);
}

static void normalise(struct run *r)
{
	for (size_t i = 0; i < r->n; i++) {
		struct ipv4 *ip = frame_ip(&r->out[i].f);

		ip->id = 0;
		frame_seal_ip(&r->out[i].f);
	}
	qsort(r->out, r->n, sizeof(*r->out), by_content);
}

static void same(const struct run *a, const struct run *b, const char *what)
{
	if (a->n != b->n)
		bed_fail("%s: %zu frames, not %zu", what, b->n, a->n);
	for (size_t i = 0; i < a->n; i++) {
		if (by_content(&a->out[i], &b->out[i]))
			bed_fail("%s: frame %zu of step %u differs", what, i, a->out[i].step);
	}
	assert_memory_equal(&a->counters, &b->counters, sizeof(a->counters));
}

static void compare(const struct bed_options *options, uint32_t seed, bool mostly)
{
	struct run base, other;
	enum fast_level level, got;

	HERE();
	replaying = false;
	base = run(options, FAST_BASE, seed);
	replaying = true;
	if (mostly && base.n_fast < base.counters.rx_packets / 10)
		bed_fail("only %lu of %lu packets were taken", base.n_fast,
			base.counters.rx_packets);
	if (mostly && base.n_fast_hairpins < base.counters.hairpinned / 4)
		bed_fail("only %lu of %lu hairpins were taken", base.n_fast_hairpins,
			base.counters.hairpinned);
	for (level = FAST_V3; level < FAST_LEVELS; level++) {
		fast_pick(level, &got);
		if (got != level)
			continue; // not this CPU
		other = run(options, level, seed);
		assert_int_equal(base.n_fast, other.n_fast);
		assert_int_equal(base.n_fast_hairpins, other.n_fast_hairpins);
		same(&base, &other, fast_level_name(level));
		free_run(&other);
	}
	other = run(options, FAST_OFF, seed);
	assert_int_equal(other.n_fast + other.n_fast_hairpins, 0);
	normalise(&base);
	normalise(&other);
	same(&base, &other, "the general path");
	free_run(&base);
	free_run(&other);
}

#define MANY_ERRORS "icmp: {errors-per-second: 1000000}\n" // or who gets one were a matter of order
#define LIMITS .sessions = 100000, .subscribers = 1000, .more = MANY_ERRORS

static void routed(void **state)
{
	for (uint32_t seed = 1; seed <= 8; seed++)
		compare(&(struct bed_options){LIMITS}, seed, true);
}

static void on_link(void **state)
{
	for (uint32_t seed = 11; seed <= 12; seed++)
		compare(&(struct bed_options){LIMITS, .inside = "addresses: [100.64.0.1/10]"}, seed,
			true);
}

static void tagged(void **state)
{
	compare(&(struct bed_options){LIMITS,
			.inside = "vlan: 7, addresses: [10.255.0.1/24],"
				  " routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]"},
		21, true);
	compare(&(struct bed_options){LIMITS,
			.inside = "vlan: 7, addresses: [10.255.0.1/24],"
				  " routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]",
			.outside = "vlan: 9, addresses: [192.0.2.2/24],"
				   " routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]"},
		22, true);
}

static void filtered_and_limited(void **state)
{
	compare(&(struct bed_options){.more = MANY_ERRORS,
			.sessions = 200,
			.subscribers = 8,
			.policies = "  - {name: home, filtering: {udp: address-dependent, tcp:"
				    " address-and-port-dependent}, limits: {sessions: 30,"
				    " new-sessions-per-second: 20}}"},
		31, false);
}

static void clamped_and_picked_up_midstream(void **state)
{
	compare(&(struct bed_options){.sessions = 100000,
			.subscribers = 1000,
			.more = MANY_ERRORS
			"tcp-mss-clamp: 1300\ntcp-midstream: forward-if-mapped\n"
			"static-mappings: [{name: s, internal: \"100.64.0.5:2000-2007\","
			" external: \"203.0.113.1:2000-2007\"}]"},
		41, true);
}

static void several_workers(void **state)
{
	compare(&(struct bed_options){LIMITS, .workers = 3, .spread = true}, 51, true);
}

static void a_small_mtu(void **state)
{
	compare(&(struct bed_options){LIMITS,
			.outside = "mtu: 600, addresses: [192.0.2.2/24],"
				   " routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]"},
		61, true);
}

// With many further sessions, and with mappings whose index entry is in its second bucket.
static void a_full_index(void **state)
{
	compare(&(struct bed_options){.more = MANY_ERRORS,
			.sessions = 1024,
			.subscribers = 64,
			.pools =
				"  - {name: p, addresses: [203.0.113.1-203.0.113.4], block-size: 256}"},
		71, false);
}

// Both halves of a hairpin, of a mapping's first session and of further ones; some find that the
// inbound half has no session, is too big, or is another worker's.
static void hairpins(void **state)
{
	more_hairpins = 5;
	for (uint32_t seed = 81; seed <= 82; seed++)
		compare(&(struct bed_options){LIMITS}, seed, true);
	compare(&(struct bed_options){LIMITS,
			.inside = "vlan: 7, mtu: 600, addresses: [10.255.0.1/24],"
				  " routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]"},
		83, true);
	compare(&(struct bed_options){LIMITS, .workers = 3, .spread = true}, 84, true);
	compare(&(struct bed_options){LIMITS,
			.policies =
				"  - {name: home, filtering: {udp: address-and-port-dependent, tcp:"
				" address-and-port-dependent}}"},
		85, true);
	more_hairpins = 0;
}

static void levels_have_names(void **state)
{
	enum fast_level level;

	assert_null(fast_pick(FAST_OFF, &level));
	assert_int_equal(level, FAST_OFF);
	assert_ptr_equal(fast_pick(FAST_BASE, &level), &fast_base);
	assert_non_null(fast_pick(FAST_LEVELS, &level));
	assert_in_range(level, FAST_BASE, FAST_V4);
	for (unsigned i = 0; i < FAST_LEVELS; i++)
		assert_string_not_equal(fast_level_name((enum fast_level)i), "?");
	assert_string_equal(fast_level_name(FAST_LEVELS), "?");
}

BED_MAIN(TEST(routed), TEST(on_link), TEST(tagged), TEST(filtered_and_limited),
	TEST(clamped_and_picked_up_midstream), TEST(several_workers), TEST(a_small_mtu),
	TEST(a_full_index), TEST(hairpins), TEST(levels_have_names))
