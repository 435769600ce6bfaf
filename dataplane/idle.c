// SPDX-License-Identifier: BSD-3-Clause
#include "idle.h"

void idle_init(struct idle *i, enum cgn_idle idle, bool share_cpus)
{
	*i = (struct idle){.sleep_ns = IDLE_SLEEP_MIN_NS,
		.patience_ns = share_cpus ? IDLE_PATIENCE_SHARED_NS : IDLE_PATIENCE_NS,
		.relax = idle == CGN_IDLE_RELAX};
}

uint32_t idle_turn(struct idle *i, bool worked, uint64_t now_ns)
{
	uint32_t ns;

	if (worked || !i->relax) {
		i->since_ns = now_ns;
		i->n_empty = 0;
		i->sleep_ns = IDLE_SLEEP_MIN_NS;
		return IDLE_GO_ON;
	}
	if (++i->n_empty < IDLE_TURNS)
		return IDLE_GO_ON;
	if (now_ns - i->since_ns < i->patience_ns)
		return IDLE_PAUSE;
	ns = i->sleep_ns;
	i->sleep_ns = 2 * ns < IDLE_SLEEP_MAX_NS ? 2 * ns : IDLE_SLEEP_MAX_NS;
	return ns;
}
