// SPDX-License-Identifier: BSD-3-Clause
// Neighbour discovery (RFC 4861): asks for IPv6 neighbours, learns from what comes, answers for our
// addresses, also to who checks whether an address is free (RFC 4862 5.4). Router solicitations are
// not answered and no prefix is announced: hosts get their addresses and routes from elsewhere.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "ipv6.h"
#include "neigh.h"

enum {
	ND_SOLICITATION = 135,
	ND_ADVERTISEMENT = 136,
};

extern const struct neigh_protocol nd_protocol;

// Is a solicitation or advertisement of `len` bytes whole (RFC 4861 7.1)?
bool nd_valid(const struct ipv6 *ip, uint16_t len);

// A valid frame with one from interface `ifc`. `copy`: another worker received it and answers it; we
// learn. Does not free m.
void nd_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy);
