// SPDX-License-Identifier: BSD-3-Clause
#include "mem.h"
#include <rte_malloc.h>

void *mem_take(const char *what, size_t bytes, int socket)
{
	// DPDK hands out zeroed memory as a heap element; page-table cost is what hugepages save
	return rte_zmalloc_socket(what, bytes, CGN_CACHE_LINE, socket);
}

void mem_give(void *mem)
{
	rte_free(mem);
}
