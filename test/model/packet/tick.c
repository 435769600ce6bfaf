// SPDX-License-Identifier: BSD-3-Clause
#include "packet.h"
#include <string.h>

struct world world;

// Fills evenly and holds one second's worth: the time by which all that were taken are paid for.
bool token(uint64_t *paid_ns, uint32_t rate, bool take)
{
	const uint64_t second = 1000000000u, each = second / rate;
	const uint64_t from = *paid_ns > world.now_ns ? *paid_ns : world.now_ns;

	if (from + each > world.now_ns + second)
		return false;
	if (take)
		*paid_ns = from + each;
	return true;
}

void world_init(const struct cgn_config *config, unsigned n_workers, uint64_t now_ns)
{
	memset(&world, 0, sizeof(world));
	world.config = config;
	world.n_workers = n_workers;
	world.now_ns = world.begun_ns = now_ns;
	lease_init();
}

void world_fini(void)
{
	model_session_fini();
	unsolicited_fini();
	fragment_fini();
	lease_fini();
	outputs_free();
	memset(&world, 0, sizeof(world));
}

void world_tick(void)
{
	model_session_tick();
	lease_tick();
	unsolicited_tick();
	fragment_tick();
}
