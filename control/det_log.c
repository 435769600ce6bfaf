// SPDX-License-Identifier: BSD-3-Clause
#include "det_log.h"
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cgnat/deterministic.h"
#include "cgnat/log.h"

#define PART_BYTES 1500 // of a record; a log line has 2048 in all

// A record with very many prefixes takes several lines.
static void log_record(const struct cgn_pool *pool, const char *record)
{
	const size_t n_bytes = strlen(record);
	const unsigned n_parts = (unsigned)((n_bytes + PART_BYTES - 1) / PART_BYTES);
	char key[24] = "";

	if (pool->deterministic.algorithm == CGN_ALGORITHM_CRYPTOGRAPHIC)
		snprintf(key, sizeof(key), " key-id=%08x", cgn_det_key_id(pool));
	for (unsigned i = 0; i < n_parts; i++)
		LOG(NOTICE, "pool %s: deterministic ports=%u%s part=%u/%u record=%.*s", pool->name,
			pool->deterministic.ports, key, i + 1, n_parts, PART_BYTES,
			record + i * PART_BYTES);
}

static bool is_deterministic(const struct cgn_pool *pool)
{
	return pool->allocation == CGN_ALLOCATION_DETERMINISTIC;
}

void det_log_step(
	struct det_log *d, const struct cgn_config *config, uint64_t now_ns, int64_t unix_now)
{
	if (now_ns < d->due_ns)
		return;
	d->due_ns = now_ns + DET_LOG_PERIOD_NS;
	for (uint32_t p = 0; p < config->n_pools; p++) {
		struct cgn_det *det;
		char *record;

		if (!is_deterministic(&config->pools[p]))
			continue;
		det = cgn_det_create(config, p);
		record = det ? cgn_det_record(det, unix_now) : NULL;
		if (record)
			log_record(&config->pools[p], record);
		else
			LOG(ERROR, "pool %s: no memory for its record", config->pools[p].name);
		free(record);
		cgn_det_destroy(det);
	}
}

int det_log_timeout_ms(const struct det_log *d, const struct cgn_config *config, uint64_t now_ns)
{
	for (uint32_t p = 0; p < config->n_pools; p++) {
		if (!is_deterministic(&config->pools[p]))
			continue;
		return now_ns >= d->due_ns ? 0 : (int)((d->due_ns - now_ns) / 1000000 + 1);
	}
	return -1;
}
