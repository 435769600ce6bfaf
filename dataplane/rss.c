// SPDX-License-Identifier: BSD-3-Clause
#include "rss.h"
#include <errno.h>
#include <string.h>
#include <rte_flow.h>
#include "cgnat/log.h"

#define SLOTS_MAX 2048 // of the largest redirection table we know
#define KEY_MAX 128
#define RULES 3

// Every kind of IPv4 packet: with a key in which ports do not count, all have the same hash.
#define TYPES_L3 (RTE_ETH_RSS_IPV4 | RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_OTHER)
#define TYPES_L4 \
	(RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | \
		RTE_ETH_RSS_NONFRAG_IPV4_SCTP)
// IPv6 has no owner: any spreading will do that keeps the packets of a flow in order.
#define TYPES6_L3 (RTE_ETH_RSS_IPV6 | RTE_ETH_RSS_FRAG_IPV6 | RTE_ETH_RSS_NONFRAG_IPV6_OTHER)
#define TYPES6_L4 \
	(RTE_ETH_RSS_NONFRAG_IPV6_TCP | RTE_ETH_RSS_NONFRAG_IPV6_UDP | \
		RTE_ETH_RSS_NONFRAG_IPV6_SCTP)

// ---- before the start

void rss_plan(struct rss *rss, const struct rte_eth_dev_info *info, const struct cgn_interface *ifc,
	uint32_t n_workers)
{
	const uint64_t types =
		(TYPES_L3 | TYPES_L4 | TYPES6_L3 | TYPES6_L4) & info->flow_type_rss_offloads;
	const uint16_t n_key = info->hash_key_size ? info->hash_key_size : STEER_KEY_MIN;

	rss->by_source = ifc->role == CGN_INTERNAL;
	rss->method = CGN_RSS_OFF;
	rss->n_queues = (uint16_t)n_workers;
	rss->types = types;
	if (n_workers == 1 || info->max_rx_queues < n_workers || !(types & (TYPES_L3 | TYPES_L4)) ||
		ifc->rss == CGN_RSS_OFF)
		return;
	rss->method = CGN_RSS_SPREAD;
	// a table of which every worker has a share, in whole words of the API; its size is not always
	// a power of two, and then its index is no bits of the hash
	if (info->reta_size < 1u << STEER_BITS_MIN || info->reta_size > SLOTS_MAX ||
		(info->reta_size & (info->reta_size - 1)) || n_key < STEER_KEY_MIN ||
		n_key > KEY_MAX)
		return;
	rss->n_slots = info->reta_size;
	rss->n_key = (uint8_t)n_key;
	if (ifc->rss != CGN_RSS_SPREAD)
		rss->method = ifc->rss == CGN_RSS_KEY ? CGN_RSS_KEY : CGN_RSS_FLOW;
}

unsigned rss_bits(const struct rss *rss)
{
	unsigned bits = 0;

	if (rss->method != CGN_RSS_FLOW && rss->method != CGN_RSS_KEY)
		return 0;
	while (bits < STEER_BITS_MAX && 2u << bits <= rss->n_slots)
		bits++;
	return bits;
}

// Hash of the addresses alone where the device knows that (with a key of no meaning, ports would
// tear fragments and ICMP errors from their flow); else, as on i40e, per protocol.
static uint64_t spread_types(const struct rss *rss)
{
	uint64_t types = rss->types;

	if (types & RTE_ETH_RSS_IPV4)
		types &= ~TYPES_L4;
	if (types & RTE_ETH_RSS_IPV6)
		types &= ~TYPES6_L4;
	return types;
}

void rss_configure(const struct rss *rss, struct rte_eth_conf *conf)
{
	if (rss->method == CGN_RSS_OFF)
		return;
	conf->rxmode.mq_mode = RTE_ETH_MQ_RX_RSS;
	conf->rx_adv_conf.rss_conf.rss_hf = spread_types(rss);
}

// ---- after it

static int set_hash(const struct rss *rss, uint8_t *key, uint64_t types)
{
	struct rte_eth_rss_conf conf = {.rss_key = key, .rss_key_len = rss->n_key, .rss_hf = types};

	return rte_eth_dev_rss_hash_update(rss->device, &conf);
}

static int set_table(const struct rss *rss, const struct steer *steer)
{
	struct rte_eth_rss_reta_entry64 table[SLOTS_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};

	for (unsigned i = 0; i < rss->n_slots; i++) {
		struct rte_eth_rss_reta_entry64 *group = &table[i / RTE_ETH_RETA_GROUP_SIZE];

		group->mask = UINT64_MAX;
		group->reta[i % RTE_ETH_RETA_GROUP_SIZE] = (uint16_t)steer_slot_worker(steer, i);
	}
	return rte_eth_dev_rss_reta_update(rss->device, table, rss->n_slots);
}

// -ENOTSUP: the device cannot be asked; -EIO: it has something else.
static int check_hash(const struct rss *rss, const uint8_t *key)
{
	uint8_t got[KEY_MAX] = {0};
	struct rte_eth_rss_conf conf = {.rss_key = got, .rss_key_len = rss->n_key};
	int rc = rte_eth_dev_rss_hash_conf_get(rss->device, &conf);

	if (!rc && memcmp(got, key, rss->n_key))
		rc = -EIO;
	return rc;
}

static int check_table(const struct rss *rss, const struct steer *steer)
{
	struct rte_eth_rss_reta_entry64 table[SLOTS_MAX / RTE_ETH_RETA_GROUP_SIZE] = {0};
	int rc;

	for (unsigned i = 0; i < rss->n_slots / RTE_ETH_RETA_GROUP_SIZE; i++)
		table[i].mask = UINT64_MAX;
	rc = rte_eth_dev_rss_reta_query(rss->device, table, rss->n_slots);
	for (unsigned i = 0; !rc && i < rss->n_slots; i++) {
		if (table[i / RTE_ETH_RETA_GROUP_SIZE].reta[i % RTE_ETH_RETA_GROUP_SIZE] !=
			steer_slot_worker(steer, i))
			rc = -EIO;
	}
	return rc;
}

static int check(const struct rss *rss, const struct steer *steer, const uint8_t *key)
{
	const int hash = check_hash(rss, key), table = check_table(rss, steer);

	if (hash && hash != -ENOTSUP)
		return hash;
	return table && table != -ENOTSUP ? table : 0;
}

// ---- flow rules

// How drivers want the rest of a rule: the device's own key and table (ice, iavf), the key again
// (i40e), or both again, the table as a list of queues (mlx5).
enum rule_form {
	RULE_PLAIN,
	RULE_KEY,
	RULE_KEY_AND_QUEUES,
	RULE_FORMS,
};

struct rules {
	struct rte_flow *flow[RULES];
	unsigned n;
};

static void rules_destroy(const struct rss *rss, struct rules *r)
{
	struct rte_flow_error error;

	while (r->n)
		rte_flow_destroy(rss->device, r->flow[--r->n], &error);
}

static int rules_create(const struct rss *rss, const struct steer *steer, const uint8_t *key,
	enum rule_form form, struct rules *r)
{
	// UDP and TCP have rules of their own in some devices
	static const enum rte_flow_item_type l4[RULES] = {
		RTE_FLOW_ITEM_TYPE_END, RTE_FLOW_ITEM_TYPE_UDP, RTE_FLOW_ITEM_TYPE_TCP};
	const struct rte_flow_attr attr = {.ingress = 1};
	uint16_t queue[STEER_SLOTS_MAX];
	struct rte_flow_action_rss rss_action = {
		.func = RTE_ETH_HASH_FUNCTION_DEFAULT,
		.types = RTE_ETH_RSS_IPV4 |
			(rss->by_source ? RTE_ETH_RSS_L3_SRC_ONLY : RTE_ETH_RSS_L3_DST_ONLY),
	};
	const struct rte_flow_action actions[] = {
		{RTE_FLOW_ACTION_TYPE_RSS, &rss_action}, {RTE_FLOW_ACTION_TYPE_END, NULL}};

	if (form != RULE_PLAIN) {
		rss_action.key = key;
		rss_action.key_len = rss->n_key;
	}
	if (form == RULE_KEY_AND_QUEUES) {
		rss_action.queue_num = 1u << steer->bits;
		rss_action.queue = queue;
		for (uint32_t i = 0; i < rss_action.queue_num; i++)
			queue[i] = (uint16_t)steer_slot_worker(steer, i);
	}
	for (r->n = 0; r->n < RULES; r->n++) {
		const struct rte_flow_item pattern[] = {{.type = RTE_FLOW_ITEM_TYPE_ETH},
			{.type = RTE_FLOW_ITEM_TYPE_IPV4}, {.type = l4[r->n]},
			{.type = RTE_FLOW_ITEM_TYPE_END}};
		struct rte_flow_error error;

		r->flow[r->n] = rte_flow_create(rss->device, &attr, pattern, actions, &error);
		if (!r->flow[r->n]) {
			rules_destroy(rss, r);
			return -ENOTSUP;
		}
	}
	return 0;
}

static int start_flow(const struct rss *rss, const struct steer *steer)
{
	uint8_t key[KEY_MAX];
	int rc = -ENOTSUP;

	steer_key(key, rss->n_key, steer->bits, STEER_ALONE);
	for (unsigned form = 0; form < RULE_FORMS; form++) {
		struct rules rules;

		// a rule may use the key that is there, or change it
		rc = set_hash(rss, key, spread_types(rss));
		if (!rc)
			rc = set_table(rss, steer);
		if (!rc)
			rc = rules_create(rss, steer, key, (enum rule_form)form, &rules);
		if (rc)
			continue;
		rc = form == RULE_KEY_AND_QUEUES ? 0 : check(rss, steer, key);
		if (!rc)
			return 0;
		rules_destroy(rss, &rules);
	}
	return rc;
}

static int start_key(const struct rss *rss, const struct steer *steer)
{
	uint8_t key[KEY_MAX];
	int rc;

	steer_key(key, rss->n_key, steer->bits, rss->by_source ? STEER_SOURCE : STEER_DESTINATION);
	rc = set_hash(rss, key, rss->types);
	if (rc == -EINVAL || rc == -ENOTSUP) // some drivers take no kinds but those they began with
		rc = set_hash(rss, key, spread_types(rss));
	if (!rc)
		rc = set_table(rss, steer);
	return rc ? rc : check(rss, steer, key);
}

// A key of no meaning, and queues in turn: every worker receives about the same.
static void start_spread(const struct rss *rss, const struct steer *steer)
{
	uint8_t key[KEY_MAX];
	struct steer turn;

	if (!rss->n_slots)
		return; // as the driver has it
	for (unsigned i = 0; i < rss->n_key; i++)
		key[i] = (uint8_t)(i * 0x9du + 0x6du + (i * i >> 2));
	steer_init(&turn, steer->bits, rss->n_queues);
	set_hash(rss, key, spread_types(rss));
	set_table(rss, &turn);
}

void rss_start(struct rss *rss, const char *interface, const struct steer *steer)
{
	const bool aligned = rss_bits(rss);
	int rc = -ENOTSUP;

	if (rss->n_queues == 1)
		return;
	if (rss->method == CGN_RSS_FLOW) {
		rc = start_flow(rss, steer);
		if (rc)
			rss->method = CGN_RSS_KEY;
	}
	if (rss->method == CGN_RSS_KEY) {
		rc = start_key(rss, steer);
		if (rc)
			rss->method = CGN_RSS_SPREAD;
	}
	if (rss->method == CGN_RSS_SPREAD)
		start_spread(rss, steer);
	if (aligned && rc) {
		LOG(WARNING,
			"interface %s: rss=spread: its hash cannot be set (%s), packets are handed over in software",
			interface, strerror(-rc));
	} else if (aligned) {
		LOG(NOTICE, "interface %s: rss=%s queues=%u slots=%u", interface,
			cgn_rss_name(rss->method), rss->n_queues, rss->n_slots);
	} else {
		LOG(NOTICE,
			"interface %s: rss=%s: packets are handed to the worker that owns them in software",
			interface, cgn_rss_name(rss->method));
	}
}
