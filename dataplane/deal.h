// SPDX-License-Identifier: BSD-3-Clause
// Deals the external addresses out to the workers, so that each has an equal share of every pool
// (within 10 %, or one address less than another where that is all that can be) and as many
// addresses as possible are owned by the worker that the devices bring their packets to.
//
// Thread: control, while it builds a snapshot.
#pragma once
#include <stdbool.h>
#include "snapshot.h"

// Fills s->external (unless `fixed`: the devices are set already), the owner and `split` of
// each pool address that can be lent, and s->inbound. Owners of the others are known already.
void deal_out(struct snapshot *s, bool fixed);
