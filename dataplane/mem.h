// SPDX-License-Identifier: BSD-3-Clause
// Memory of the tables: taken at start, given back at stop, never in between.
// In the daemon it comes from DPDK's heap (hugepages, the worker's socket; mem.c); unit tests
// bring their own (test/unit/mem_malloc.c).
#pragma once
#include <stddef.h>

#define CGN_CACHE_LINE 64
#define cgn_likely(x) __builtin_expect(!!(x), 1)
#define cgn_unlikely(x) __builtin_expect(!!(x), 0)
// Into L2 and not L1: a core waits for about twice as many lines of those at a time.
#define cgn_prefetch(p) __builtin_prefetch((p), 0, 2)
#define cgn_prefetch_w(p) __builtin_prefetch((p), 1, 2)
// At the end of a function that only prefetches: gcc takes it for one without effect otherwise, and
// where it does not inline it at once, the call is gone.
#define cgn_prefetched() __asm__ volatile("")

// `bytes` of zeroed memory on a cache-line boundary, on NUMA node `socket` (-1 = any). NULL when
// there is none. `what` names it in DPDK's heap dumps.
void *mem_take(const char *what, size_t bytes, int socket);
void mem_give(void *mem); // NULL is fine
