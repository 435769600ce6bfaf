// SPDX-License-Identifier: BSD-3-Clause
// Memory of the tables in tests: malloc(), and failure on demand.
#pragma once
#include <stdint.h>

extern uint32_t mem_malloc_fail_at; // the n-th mem_take() from now on fails, once; 0 = none
extern uint32_t mem_malloc_n_live; // pieces taken and not yet given back
