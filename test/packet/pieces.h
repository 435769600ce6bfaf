// SPDX-License-Identifier: BSD-3-Clause
// Fragments that tests make, and put together again.
#pragma once
#include "bed.h"

#define MF 0x2000u

static inline void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}

// Bytes [from, to) of the payload of f, as a fragment of it.
static inline struct frame part(struct frame f, unsigned from, unsigned to)
{
	const unsigned whole = frame_l4_len(&f);
	struct ipv4 *ip = frame_ip(&f);

	memmove(frame_l4(&f), frame_l4(&f) + from, to - from);
	ip->total_len = htons((uint16_t)((ip->ver_ihl & 0xf) * 4 + to - from));
	ip->frag = htons((uint16_t)(from / 8 | (to < whole ? MF : 0) | (ntohs(ip->frag) & 0x4000)));
	f.len = (uint16_t)(f.len - (whole - (to - from)));
	frame_seal_ip(&f);
	return f;
}

static inline struct frame with_id(struct frame f, unsigned id)
{
	frame_ip(&f)->id = htons((uint16_t)id);
	frame_seal_ip(&f);
	return f;
}

static inline unsigned id_of(struct frame f)
{
	return ntohs(frame_ip(&f)->id);
}

static inline uint32_t src_of(struct frame f)
{
	return ntohl(frame_ip(&f)->src);
}

static inline uint32_t dst_of(struct frame f)
{
	return ntohl(frame_ip(&f)->dst);
}

// The whole packet of n fragments in any order; its checksums have to be right.
static inline struct frame whole_of(const struct frame *fragment, unsigned n)
{
	struct frame out = {0};
	unsigned end = 0, seen = 0;

	for (unsigned i = 0; i < n; i++) {
		struct frame f = fragment[i];
		unsigned offset = (ntohs(frame_ip(&f)->frag) & 0x1fffu) * 8;

		if (!offset)
			out = f;
		assert_int_equal(id_of(f), id_of(fragment[0]));
		assert_int_equal(src_of(f), src_of(fragment[0]));
		assert_int_equal(dst_of(f), dst_of(fragment[0]));
		assert_int_equal(frame_ip(&f)->proto, frame_ip(&out)->proto);
	}
	assert_true(out.len);
	for (unsigned i = 0; i < n; i++) {
		struct frame f = fragment[i];
		unsigned offset = (ntohs(frame_ip(&f)->frag) & 0x1fffu) * 8;

		memcpy(frame_l4(&out) + offset, frame_l4(&f), frame_l4_len(&f));
		seen += frame_l4_len(&f);
		if (!(ntohs(frame_ip(&f)->frag) & MF))
			end = offset + frame_l4_len(&f);
	}
	assert_int_equal(seen, end);
	frame_ip(&out)->frag = 0;
	frame_ip(&out)->total_len = htons((uint16_t)((frame_ip(&out)->ver_ihl & 0xf) * 4 + end));
	out.len = (uint16_t)(frame_l2_len(&out) + ntohs(frame_ip(&out)->total_len));
	frame_seal_ip(&out);
	if (frame_error(&out))
		bed_fail("put together: %s", frame_error(&out));
	return out;
}

static inline void put(unsigned ifc, struct frame f)
{
	bed_put(ifc, f);
	bed_run();
}

#define MTU_OUTSIDE(n) \
	"mtu: " #n ", addresses: [192.0.2.2/24], routes: [{prefix: 0.0.0.0/0, via: 192.0.2.1}]"
#define MTU_INSIDE(n) \
	"mtu: " #n \
	", addresses: [10.255.0.1/24], routes: [{prefix: 100.64.0.0/10, via: 10.255.0.2}]"
