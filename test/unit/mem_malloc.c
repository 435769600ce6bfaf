// SPDX-License-Identifier: BSD-3-Clause
#include "mem_malloc.h"
#include "mem.h"
#include <stdlib.h>
#include <string.h>

uint32_t mem_malloc_fail_at;
uint32_t mem_malloc_n_live;

void *mem_take(const char *what, size_t bytes, int socket)
{
	const size_t lines = (bytes + CGN_CACHE_LINE - 1) / CGN_CACHE_LINE;
	void *mem;

	if (mem_malloc_fail_at && !--mem_malloc_fail_at)
		return NULL;
	if (!bytes)
		return NULL; // as DPDK's heap does
	mem = aligned_alloc(CGN_CACHE_LINE, lines * CGN_CACHE_LINE);
	if (!mem)
		return NULL;
	mem_malloc_n_live++;
	return memset(mem, 0, lines * CGN_CACHE_LINE);
}

void mem_give(void *mem)
{
	if (!mem)
		return;
	mem_malloc_n_live--;
	free(mem);
}
