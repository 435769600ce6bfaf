// SPDX-License-Identifier: BSD-3-Clause
// What differs between two configurations, in the words of the file.
#pragma once
#include "cgnat/config.h"
#include <jansson.h>

// Returns an array of lines such as "pools[residential].max-blocks: 4 -> 8",
// "policies[guests]: added"; empty when both say the same. NULL when memory is short.
json_t *config_diff(const struct cgn_config *from, const struct cgn_config *to);
