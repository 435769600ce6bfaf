// SPDX-License-Identifier: BSD-3-Clause
// DPDK's start-up, from our config.
#pragma once
#include <stddef.h>
#include "cgnat/config.h"

// Initialises DPDK for this process, once. Returns 0 or -errno with a line in `err`.
int eal_start(const struct cgn_config *config, char *err, size_t err_size);
void eal_stop(void);
