// SPDX-License-Identifier: BSD-3-Clause
// tcp-mss-clamp: SYNs of both directions on their way through.
#include "bed.h"

static const struct endpoint client = {ALICE, 5000}, server = {S1, 443};

static struct frame syn(struct endpoint from, struct endpoint to, uint8_t flags, unsigned mss)
{
	struct frame f = tcp(from, to, flags);
	uint8_t *l4 = frame_l4(&f);
	const uint8_t options[] = {1, 1, 2, 4, (uint8_t)(mss >> 8), (uint8_t)mss, 1, 0};

	l4[12] = 7 << 4;
	memcpy(l4 + 20, options, sizeof(options));
	frame_seal(&f);
	return f;
}

static unsigned mss_of(struct frame f)
{
	const uint8_t *l4 = frame_l4(&f);

	assert_int_equal(l4[22], 2);
	return (unsigned)l4[24] << 8 | l4[25];
}

static struct frame through(unsigned from, unsigned to, struct frame f)
{
	struct frame out;

	bed_put(from, f);
	bed_run();
	assert_true(bed_take(to, &out)); // the bed has looked at its checksums
	return out;
}

static void syns_of_both_directions_are_clamped(void **state)
{
	struct frame f;
	struct endpoint x;

	BED(.more = "tcp-mss-clamp: 1400");
	f = through(INSIDE, OUTSIDE, syn(client, server, TCP_SYN, 1460));
	assert_int_equal(mss_of(f), 1400);
	x = source_of(f);
	f = through(OUTSIDE, INSIDE, syn(server, x, TCP_SYN | TCP_ACK, 8960));
	assert_int_equal(mss_of(f), 1400);
	f = through(INSIDE, OUTSIDE, syn(client, server, TCP_SYN, 1460)); // sent again
	assert_int_equal(mss_of(f), 1400);
	f = through(OUTSIDE, INSIDE, syn(at(S2, 9), x, TCP_SYN, 1460)); // opened from outside
	assert_int_equal(mss_of(f), 1400);
}

static void nothing_else_is_touched(void **state)
{
	struct endpoint x;

	BED(.more = "tcp-mss-clamp: 1400");
	x = source_of(pass_out(syn(client, server, TCP_SYN, 1400)));
	pass_in(syn(server, x, TCP_SYN | TCP_ACK, 536)); // never up
	pass_out(syn(client, server, TCP_ACK, 1460)); // no SYN
	pass_in(syn(server, x, TCP_ACK | TCP_FIN, 1460));
	pass_out(tcp(client, at(S2, 80), TCP_SYN)); // no options
}

static void off_leaves_every_syn_alone(void **state)
{
	struct endpoint x;

	BED();
	x = source_of(pass_out(syn(client, server, TCP_SYN, 65535)));
	pass_in(syn(server, x, TCP_SYN | TCP_ACK, 65535));
}

static void a_hairpinned_syn_is_clamped(void **state)
{
	const struct endpoint bob = {BOB, 80};
	struct frame f;
	struct endpoint y;

	BED(.more = "tcp-mss-clamp: 536");
	y = source_of(pass_out(tcp(bob, server, TCP_SYN)));
	f = through(INSIDE, INSIDE, syn(client, y, TCP_SYN, 1460));
	assert_int_equal(mss_of(f), 536);
	assert_endpoint(destination_of(f), bob);
}

BED_MAIN(TEST(syns_of_both_directions_are_clamped), TEST(nothing_else_is_touched),
	TEST(off_leaves_every_syn_alone), TEST(a_hairpinned_syn_is_clamped))
