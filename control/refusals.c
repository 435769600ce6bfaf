// SPDX-License-Identifier: BSD-3-Clause
#include "refusals.h"
#include <inttypes.h>
#include <stdio.h>
#include "cgnat/log.h"

#define FACTS_BYTES 160
#define LEN(array) (sizeof(array) / sizeof((array)[0]))

enum about {
	ABOUT_ONE, // a subscriber is at a limit of its own
	ABOUT_ALL, // something that all share
	ABOUT_SESSIONS,
	ABOUT_SUBSCRIBERS,
	ABOUT_POOLS,
};

static const struct {
	enum cgn_drop drop;
	const char *name;
	enum about about;
} reasons[] = {
#define REASON(name, about) \
	{ \
		CGN_DROP_##name, #name, about \
	}
	REASON(OVERLOAD_NEW, ABOUT_ALL),
	REASON(SUBSCRIBER_TABLE_FULL, ABOUT_SUBSCRIBERS),
	REASON(SESSION_TABLE_FULL, ABOUT_SESSIONS),
	REASON(INBOUND_TABLE_FULL, ABOUT_SESSIONS),
	REASON(STATIC_SESSIONS_FULL, ABOUT_ALL),
	REASON(INDEX_FULL, ABOUT_ALL),
	REASON(PORTLESS_FULL, ABOUT_ALL),
	REASON(POOL_FULL, ABOUT_POOLS),
	REASON(ADDRESS_FULL, ABOUT_POOLS),
	REASON(FIRST_BLOCK_RESERVE, ABOUT_POOLS),
	REASON(BLOCK_LIMIT, ABOUT_ONE),
	REASON(MAPPING_LIMIT, ABOUT_ONE),
	REASON(SESSION_LIMIT, ABOUT_ONE),
	REASON(MAPPING_SESSION_LIMIT, ABOUT_ONE),
	REASON(RATE_LIMIT, ABOUT_ONE),
	REASON(PORTLESS_TAKEN, ABOUT_ONE),
#undef REASON
};

// Blocks that are lent when they are needed: preset ones are nobody else's.
static uint64_t per_mille_taken(const struct cgn_pool_gauges *p)
{
	const uint64_t total = p->blocks_total - p->presets_total;
	const uint64_t taken = p->blocks_used + p->blocks_held - p->presets_used - p->presets_held;

	return total ? taken * 1000 / total : 0;
}

// A counter does not know its pool, but the one with the fewest free blocks is most likely it.
static void pool_facts(char *to, const struct cgn_config *config, const struct cgn_counters *sum)
{
	uint32_t fullest = 0;

	for (uint32_t i = 1; i < config->n_pools; i++)
		if (per_mille_taken(&sum->pools[i]) > per_mille_taken(&sum->pools[fullest]))
			fullest = i;
	const struct cgn_pool_gauges *p = &sum->pools[fullest];

	snprintf(to, FACTS_BYTES,
		" fullest-pool=%s blocks=%" PRIu64 " lent=%" PRIu64 " resting=%" PRIu64,
		config->pools[fullest].name, p->blocks_total - p->presets_total,
		p->blocks_used - p->presets_used, p->blocks_held - p->presets_held);
}

static void facts_of(
	char *to, enum about about, const struct cgn_config *config, const struct cgn_counters *sum)
{
	*to = 0;
	if (about == ABOUT_SESSIONS)
		snprintf(to, FACTS_BYTES, " sessions=%" PRIu64 " max-sessions=%u",
			sum->sessions - sum->static_sessions, config->runtime.max_sessions);
	else if (about == ABOUT_SUBSCRIBERS)
		snprintf(to, FACTS_BYTES, " subscribers=%" PRIu64 " max-subscribers=%u",
			sum->subscribers, config->runtime.max_subscribers);
	else if (about == ABOUT_POOLS)
		pool_facts(to, config, sum);
}

// One line, and what is remembered of it.
static void tell(struct refusal *r, unsigned i, const char *what, const char *facts, uint64_t count,
	uint64_t since, uint64_t now_ns)
{
	const enum cgn_log_level level =
		reasons[i].about == ABOUT_ONE || !r->on ? CGN_LOG_NOTICE : CGN_LOG_WARNING;

	char seconds[40] = "";

	if (now_ns > r->began_ns)
		snprintf(seconds, sizeof(seconds), " seconds=%" PRIu64,
			(now_ns - r->began_ns) / 1000000000);
	cgn_log(level, "subscribers: %s reason=%s packets=%" PRIu64 "%s%s", what, reasons[i].name,
		count - since, seconds, facts);
	r->told = count;
	r->line_ns = now_ns;
}

static void look_at(struct refusal *r, unsigned i, const struct cgn_config *config,
	const struct cgn_counters *sum, uint64_t now_ns)
{
	const uint64_t count = sum->drops[reasons[i].drop];
	const bool more = count != r->seen;
	char facts[FACTS_BYTES];

	if (!r->on && (!more || (r->line_ns && now_ns - r->line_ns < REFUSALS_OVER_NS)))
		return; // what came too soon after the last line is seen later
	facts_of(facts, reasons[i].about, config, sum);
	if (more)
		r->last_ns = now_ns;
	if (!r->on) {
		r->on = true;
		r->began_ns = now_ns;
		r->before = r->seen;
		tell(r, i, "refused", facts, count, r->before, now_ns);
	} else if (now_ns - r->last_ns >= REFUSALS_OVER_NS &&
		now_ns - r->line_ns >= REFUSALS_OVER_NS) {
		r->on = false;
		tell(r, i, "no longer refused", facts, count, r->before, now_ns);
	} else if (now_ns - r->line_ns >= REFUSALS_AGAIN_NS) {
		tell(r, i, "still refused", facts, count, r->told, now_ns);
	}
	r->seen = count;
}

int refusals_timeout_ms(const struct refusals *r, uint64_t now_ns)
{
	return now_ns >= r->due_ns ? 0 : (int)((r->due_ns - now_ns) / 1000000 + 1);
}

void refusals_look(struct refusals *r, const struct cgn_config *config,
	const struct cgn_counters *sum, uint64_t now_ns)
{
	r->due_ns = now_ns + REFUSALS_LOOK_NS;
	for (unsigned i = 0; i < LEN(reasons); i++)
		look_at(&r->of[i], i, config, sum, now_ns);
}
