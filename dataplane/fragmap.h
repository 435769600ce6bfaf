// SPDX-License-Identifier: BSD-3-Clause
// Which fragments belong together, and what has become of their first one. A table of datagrams by
// (source, destination, identification, protocol, direction), and places where fragments wait that
// came before the first one. Everything is bounded: what waits and what follows, per datagram, per
// source and in total, and what comes from outside never takes room from what comes from inside.
//
// Owner:  one per worker; only that worker calls these functions.
// Memory: taken once in fragmap_init(); nothing grows afterwards.
// Units:  bytes of the datagram's payload; ns of the worker's clock. Knows no packets: what waits is
//         an opaque pointer, which the caller frees.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/drop.h"
#include "cgnat/types.h"
#include "index.h"

#define FRAG_HELD_MAX 1024 // fragments that wait, from inside; as many from outside
#define FRAG_HELD_SOURCE 128 // of one source
#define FRAG_HELD_DATAGRAM 64 // of one datagram
#define FRAG_DATAGRAMS_MAX 4096 // datagrams whose first fragment came and which are not complete
#define FRAG_DATAGRAMS_SOURCE 1024 // of one source
#define FRAG_GAPS_MAX 32 // pieces without connection of one datagram: 64 KiB in 1480s have 23
#define FRAG_NONE UINT32_MAX

enum frag_dir {
	FRAG_OUT,
	FRAG_IN,
	FRAG_STEER, // inbound to a split address: only which worker owns the datagram
};

enum frag_state {
	FRAG_FREE,
	FRAG_WAITING, // the first fragment has not come; what came waits
	FRAG_OPENING, // the first fragment is on its way
	FRAG_DROPPED, // the first fragment was dropped: so are the others
	FRAG_TRANSLATED,
	FRAG_BYPASSED,
	FRAG_STEERED,
};

struct frag_key {
	be32_t src, dst;
	be16_t id;
	uint8_t proto;
	uint8_t dir; // enum frag_dir
};

struct frag_piece { // bytes of the payload: from <= x < to
	uint16_t from, to;
};

// A datagram.
struct frag {
	struct frag_key key;
	uint8_t state; // enum frag_state
	uint8_t n_pieces;
	uint8_t n_held;
	uint8_t owner; // FRAG_STEERED: worker
	uint16_t end; // length of the payload; 0: the last fragment has not come
	be16_t id; // FRAG_TRANSLATED: the new identification
	be32_t address; // FRAG_TRANSLATED: instead of the source (out) or destination (in)
	uint32_t source; // number in fragmap.source
	uint32_t held_first, held_last;
	uint32_t next, prev; // younger, older
	uint32_t session; // FRAG_TRANSLATED: record number, to count; look at its ends first
	uint64_t since_ns; // when the datagram's first packet, or then its first fragment, came
	uint64_t internal, remote; // ends of that session
	struct frag_piece piece[FRAG_GAPS_MAX]; // what came, in order, not touching each other
};

struct frag_source {
	be32_t address;
	uint8_t from; // class: 0 inside, 1 outside
	uint16_t n_held, n_datagrams;
	uint32_t n; // datagrams that refer to it; 0: free
	uint32_t next_free;
};

struct frag_held {
	void *packet;
	uint32_t next;
	uint8_t ifc, flags;
};

struct fragmap {
	struct frag *frag;
	struct frag_source *source;
	struct frag_held *held;
	struct index index, sources;
	uint64_t seed[2];
	uint32_t first, last; // oldest, youngest
	uint32_t free_frag, free_source, free_held;
	uint32_t n; // datagrams
	uint32_t n_held[2], n_datagrams[2]; // by class
};

int fragmap_init(struct fragmap *m, const uint64_t seed[2], int socket); // 0 or -ENOMEM
void fragmap_fini(struct fragmap *m);
uint64_t fragmap_bytes(void);

// NULL when the datagram is not known.
struct frag *fragmap_find(const struct fragmap *m, const struct frag_key *key);

// A piece of the datagram f came: from <= x < to, `last` when it is the datagram's end. Returns
// CGN_DROP_COUNT when it is new, or why it is refused; then nothing has changed.
enum cgn_drop fragmap_cover(struct frag *f, uint32_t from, uint32_t to, bool last);

// Every byte has come.
static inline bool fragmap_is_complete(const struct frag *f)
{
	return f->end && f->n_pieces == 1 && f->piece[0].from == 0 && f->piece[0].to == f->end;
}

struct frag_arrival { // a fragment
	struct frag_key key;
	uint32_t from, to;
	bool last; // no more fragments
};

// The first fragment came: finds or makes its datagram, in state FRAG_OPENING. A datagram whose first
// fragment was dropped begins anew. NULL with *reason when it is refused.
struct frag *fragmap_open(
	struct fragmap *m, const struct frag_arrival *a, uint64_t now_ns, enum cgn_drop *reason);

// Another one, before the first: it waits. Returns CGN_DROP_COUNT or why it can not.
enum cgn_drop fragmap_hold(struct fragmap *m, const struct frag_arrival *a, void *packet,
	uint8_t ifc, uint8_t flags, uint64_t now_ns);

// Takes out the packet of f that waits longest. False when none does.
bool fragmap_release(struct fragmap *m, struct frag *f, struct frag_held *out);

// Forgets the datagram; nothing of it may wait any more.
void fragmap_close(struct fragmap *m, struct frag *f);

// The oldest datagram if it is at least `age_ns` old, else NULL.
struct frag *fragmap_due(const struct fragmap *m, uint64_t now_ns, uint64_t age_ns);

static inline uint32_t fragmap_n_held(const struct fragmap *m)
{
	return m->n_held[0] + m->n_held[1];
}
