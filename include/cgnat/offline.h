// SPDX-License-Identifier: BSD-3-Clause
// What cgnatctl answers without a daemon, from a configuration file alone. control/ does it: it reads
// such files. Knows what the daemon would say, but for what it lends.
#pragma once
#include <stdbool.h>
#include <stdint.h>

// Whose an external port is, or which ports a subscriber has, by the configuration in `path`.
//   is_external  address and port are an external endpoint; else address is a subscriber's
// Returns the answer as JSON, or NULL and *error: one line or, of a bad configuration, one for each
// error. The caller frees either.
char *cgn_offline_resolve(
	const char *path, bool is_external, uint32_t address, uint16_t port, char **error);
