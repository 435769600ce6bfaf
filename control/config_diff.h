// SPDX-License-Identifier: BSD-3-Clause
// A configuration, and what differs between two of them, in the words of the file.
#pragma once
#include "cgnat/config.h"
#include <jansson.h>

// Every key with its value, defaults too: {"timeouts": {"udp": "300"}, "tcp-mss-clamp": {"": "0"},
// "pools[residential]": {...}}. All values are texts. NULL when memory is short.
json_t *config_describe(const struct cgn_config *c);

// Returns an array of lines such as "pools[residential].max-blocks: 4 -> 8",
// "policies[guests]: added"; empty when both say the same. NULL when memory is short.
json_t *config_diff(const struct cgn_config *from, const struct cgn_config *to);
