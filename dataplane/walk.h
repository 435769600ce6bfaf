// SPDX-License-Identifier: BSD-3-Clause
// A worker's part of a walk (show, clear): control posts it, the worker fills its ring of records in
// slices between bursts, control empties it. Both ends of the ring are lock-free.
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "cgnat/dataplane.h"
#include "mem.h"

#define WALK_RING 1024 // records, power of two

struct worker;

struct worker_walk {
	enum cgn_walk_kind kind;
	struct cgn_filter filter;
	uint32_t position; // worker: next record to look at
	uint32_t static_mapping, static_port; // worker: next static mapping, and port of it
	uint64_t cleared; // worker
	uint64_t clearing; // worker: key of the mapping that is being cleared, 0 = none
	bool reported; // worker: the record with `cleared` is in the ring
	_Atomic uint32_t head __attribute__((aligned(CGN_CACHE_LINE))); // worker: w, control: r
	atomic_bool done; // worker: w, control: r: nothing more will come
	atomic_bool released; // worker: w, control: r: the worker has forgotten this walk
	_Atomic uint32_t tail __attribute__((aligned(CGN_CACHE_LINE))); // control: w, worker: r
	atomic_bool cancelled; // control: w, worker: r
	struct cgn_walk_record ring[WALK_RING];
};

// Worker: takes new walks in and goes on with the open ones, looking at UPKEEP_WALK records of each.
// Returns how many it looked at.
uint32_t walk_upkeep(struct worker *w);
