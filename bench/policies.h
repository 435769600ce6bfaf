// SPDX-License-Identifier: BSD-3-Clause
// The policies of a bench: before the one that translates, as many as were asked for that do not take
// its packets, and one that bypasses a list of destinations. The same every time.
#pragma once
#include "cgnat/config.h"

// Into c->policies; `all` becomes the last of them. Exits when out of memory.
void policies_make(struct cgn_config *c, const struct cgn_policy *all);

// A destination of the bypass list, host order; the same for the same k.
uint32_t policies_bypassed(uint64_t k);
