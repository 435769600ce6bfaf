// SPDX-License-Identifier: BSD-3-Clause
// The file of the block table (cgnat/blocks.h): who holds which block, kept up by the workers and
// read at the next start. It lies beside the control socket, SOCKET.blocks; /run is memory, so that
// no worker ever waits for a disk.
//
// Thread: control only. The workers write into the memory, not into this structure.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include "cgnat/blocks.h"

struct blockfile {
	struct cgn_block_memory memory;
	char path[128], fresh[136]; // fresh: the new file's name until it replaces the old one
	void *map, *before; // of the new file, of the old one (read into memory)
	size_t map_bytes;
};

// Reads what the last run left and prepares a new file of `n_records`. An unreadable or foreign old
// file is said so in the log and ignored. Returns 0 or -errno with a line in `err`.
int blockfile_open(
	struct blockfile *f, const char *socket, uint32_t n_records, char *err, size_t err_size);

// The workers run: the new file takes the old one's place.
int blockfile_commit(struct blockfile *f, char *err, size_t err_size);

// Unmaps. The file stays for the next start; a new one that was not committed goes.
void blockfile_close(struct blockfile *f);
