// SPDX-License-Identifier: BSD-3-Clause
// Fragments, without putting them together (RFC 4787 REQ-14). The first one has ports and goes the
// way of any packet; what was done with it is kept in a map (fragmap.h), by which the others follow:
// only their addresses, identification and TTL change. Those that come before the first one wait,
// bounded, for timeouts.fragment. What a bypass policy matches by addresses alone needs no map.
//
// What is kept is a copy, not a session: a mapping that ends meanwhile changes nothing for the rest
// of the datagram.
//
// Where an address is split between workers by port, all fragments of a datagram go to one worker,
// chosen by a hash, who learns the owner from the first one and passes them on in order.
#pragma once
#include <stdbool.h>
#include "batch.h"
#include "fragmap.h"

struct worker;

// A fragment (PKT_FRAGMENT) of ours to treat. Takes it.
void frag_packet(struct worker *w, struct pkt *p, bool inbound);

// A fragment that another worker passes on to us as its owner: an IPv4 packet without Ethernet
// header. `hairpin`: it is the second half of one.
void frag_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool hairpin);

// Who must treat an inbound fragment, by a hash of it where its address is split.
uint32_t frag_owner(const struct worker *w, const struct ipv4 *ip);

// The first fragment p (PKT_FIRST) was translated by session `record`, to this address and
// identification.
void frag_translated(
	struct worker *w, const struct pkt *p, uint32_t record, be32_t address, be16_t id);

// The first fragment p was bypassed.
void frag_bypassed(struct worker *w, const struct pkt *p);

// Drops what waited too long, looking at no more than `max` datagrams. Returns how many.
uint32_t frag_upkeep(struct worker *w, uint32_t max);

// Drops what waits, for stop.
void frag_drop_all(struct worker *w);
