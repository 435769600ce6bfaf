// SPDX-License-Identifier: BSD-3-Clause
// The configuration file: YAML in, a checked struct cgn_config (cgnat/config.h) out.
//
// All or nothing: a file with an error yields no configuration, and every error of the file is
// written in one run, in the order of the file, one per line:
//   FILE:LINE:COLUMN: key: what is wrong, and what is allowed
// Line and column count from 1. A problem of the file as a whole has the key "file" and stands at
// 1:1; bad YAML has the key "yaml", and ends the run, as nothing behind it can be understood.
//
// Thread: any; there is no state. Needs neither root, nor hugepages, nor the devices.
#pragma once
#include "cgnat/config.h"
#include <stddef.h>
#include <stdio.h>

#define CONFIG_FILE_MAX (4u << 20) // bytes; a list of 100,000 prefixes is half of it
#define CONFIG_DEPTH_MAX 16 // lists and mappings inside each other
#define CONFIG_INTERFACE_ADDRESSES_MAX 64 // of one interface
#define CONFIG_ROUTES_MAX 65536 // of all interfaces together
#define CONFIG_POOL_ADDRESSES_MAX 65536 // of all pools together
#define CONFIG_STATIC_MAPPINGS_MAX 65536
#define CONFIG_STATIC_PORTS_MAX 1048576 // of all static mappings but the one-to-one ones

// What an operator should know at start although the file is valid (timeouts below an RFC's
// minimum, ports that fill no block ...). Written like the errors, without a final newline.
struct config_warnings {
	char **lines;
	unsigned n;
};

// Reads, checks and returns the configuration in `path`; the caller frees it (cgn_config_free()).
//   errors    gets the error lines; a FILE of open_memstream() does, too
//   n_errors  how many they are; may be NULL
//   warnings  may be NULL; else the caller frees it (config_warnings_free()), errors or not
// Returns NULL when there is an error.
struct cgn_config *config_load(
	const char *path, FILE *errors, unsigned *n_errors, struct config_warnings *warnings);

// The same for a text in memory; `name` takes the place of FILE.
struct cgn_config *config_parse(const char *name, const char *text, size_t n_bytes, FILE *errors,
	unsigned *n_errors, struct config_warnings *warnings);

void config_warnings_free(struct config_warnings *warnings);
