// SPDX-License-Identifier: BSD-3-Clause
// ARP (RFC 826): asks for IPv4 neighbours, learns from what comes, answers for our addresses.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "neigh.h"

extern const struct neigh_protocol arp_protocol;

// An ARP frame from interface `ifc`. `copy`: another worker received it and answers it; we learn.
// Does not free m.
void arp_receive(struct worker *w, struct rte_mbuf *m, uint8_t ifc, bool copy);
