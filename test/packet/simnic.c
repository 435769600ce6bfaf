// SPDX-License-Identifier: BSD-3-Clause
#include "simnic.h"
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <rte_dev.h>
#include <rte_errno.h>
#include <rte_eth_ring.h>
#include <rte_ethdev.h>
#include <rte_flow.h>
#include <rte_ring.h>
#include <rte_thash.h>

#define QUEUES_MAX 32
#define QUEUE_SLOTS 1024
#define SLOTS_MAX 2048
#define KEY_MAX 64
#define TYPES_EACH \
	(RTE_ETH_RSS_FRAG_IPV4 | RTE_ETH_RSS_NONFRAG_IPV4_TCP | RTE_ETH_RSS_NONFRAG_IPV4_UDP | \
		RTE_ETH_RSS_NONFRAG_IPV4_OTHER)

struct hash { // a key and a table
	uint8_t key[KEY_MAX] __attribute__((aligned(4)));
	uint16_t queue[SLOTS_MAX];
	unsigned n_slots;
};

struct rte_flow {
	bool used;
	uint8_t proto; // 0: any
	bool by_source;
	bool own; // key and queues of its own
	struct hash hash;
};

static struct card {
	uint16_t port;
	unsigned slots, key, queues, flow, alone, l4, types, noset, lies;
	int socket;
	struct rte_ring *rx[QUEUES_MAX], *tx[QUEUES_MAX];
	uint16_t n_rx; // in use
	struct rte_mempool *mbufs[QUEUES_MAX];
	uint64_t hashed; // types
	struct hash hash;
	struct rte_flow rule[8];
} card[SIMNIC_MAX];
static unsigned n_cards, last_queue;

static struct card *card_of(uint16_t port)
{
	for (unsigned i = 0; i < n_cards; i++) {
		if (card[i].port == port)
			return &card[i];
	}
	abort(); // no other devices here
}

// ---- packets

static uint32_t word(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint64_t type_of(const struct ipv4 *ip)
{
	if (ntohs(ip->frag) & IPV4_FRAG_MASK)
		return RTE_ETH_RSS_FRAG_IPV4;
	return ip->proto == CGN_PROTO_TCP    ? RTE_ETH_RSS_NONFRAG_IPV4_TCP
		: ip->proto == CGN_PROTO_UDP ? RTE_ETH_RSS_NONFRAG_IPV4_UDP
					     : RTE_ETH_RSS_NONFRAG_IPV4_OTHER;
}

static const struct rte_flow *rule_of(const struct card *c, uint8_t proto, bool is_fragment)
{
	const struct rte_flow *best = NULL;

	for (unsigned i = 0; i < 8; i++) {
		const struct rte_flow *r = &c->rule[i];

		if (r->used && (!r->proto || (r->proto == proto && !is_fragment)) &&
			(!best || r->proto))
			best = r;
	}
	return best;
}

static bool is_ipv4(struct frame *f)
{
	const uint8_t *l3 = f->b + frame_l2_len(f);

	return l3[-2] == 0x08 && l3[-1] == 0x00;
}

static unsigned queue_of(const struct card *c, struct frame *f)
{
	const struct ipv4 *ip = frame_ip(f);
	const uint64_t type = type_of(ip);
	const struct rte_flow *rule;
	const struct hash *hash = &c->hash;
	uint32_t tuple[3] = {0};
	unsigned n = 2;

	if (!is_ipv4(f))
		return 0; // no IPv4: no hash
	rule = rule_of(c, ip->proto, type == RTE_ETH_RSS_FRAG_IPV4);
	tuple[0] = ntohl(ip->src);
	tuple[1] = ntohl(ip->dst);
	if (rule) {
		if (rule->own)
			hash = &rule->hash;
		if (c->alone) {
			tuple[0] = tuple[rule->by_source ? 0 : 1];
			n = 1;
		} else {
			tuple[rule->by_source ? 1 : 0] = 0;
		}
	} else if (c->hashed & type) {
		if (type == RTE_ETH_RSS_NONFRAG_IPV4_TCP || type == RTE_ETH_RSS_NONFRAG_IPV4_UDP)
			tuple[n++] = word(frame_l4(f));
	} else if (!(c->hashed & RTE_ETH_RSS_IPV4)) {
		return 0;
	}
	return hash->queue[rte_softrss(tuple, n, hash->key) & (hash->n_slots - 1)];
}

bool simnic_put(unsigned n, const struct frame *f)
{
	struct card *c = &card[n];
	struct frame copy = *f;
	struct rte_mbuf *m;

	const unsigned queue = c->n_rx > 1 ? queue_of(c, &copy) : 0;

	if (is_ipv4(&copy))
		last_queue = queue;
	m = rte_pktmbuf_alloc(c->mbufs[queue]);
	if (!m)
		return false;
	memcpy(rte_pktmbuf_append(m, f->len), f->b, f->len);
	if (!rte_ring_enqueue(c->rx[queue], m))
		return true;
	rte_pktmbuf_free(m);
	return false;
}

bool simnic_take(unsigned n, struct frame *f)
{
	for (unsigned q = 0; q < card[n].queues; q++) {
		struct rte_mbuf *m;

		if (rte_ring_dequeue(card[n].tx[q], (void **)&m))
			continue;
		f->len = m->data_len;
		memcpy(f->b, rte_pktmbuf_mtod(m, void *), f->len);
		rte_pktmbuf_free(m);
		return true;
	}
	return false;
}

unsigned simnic_queue(void)
{
	return last_queue;
}

unsigned simnic_rules(unsigned n)
{
	unsigned used = 0;

	for (unsigned i = 0; i < 8; i++)
		used += card[n].rule[i].used;
	return used;
}

// ---- the driver

static int option(const char *args, const char *name, int other)
{
	char key[32];
	const char *at;

	snprintf(key, sizeof(key), ",%s=", name);
	at = strstr(args, key);
	return at ? atoi(at + strlen(key)) : other;
}

static struct rte_ring *ring(const char *kind, unsigned n, unsigned q)
{
	char name[32];

	snprintf(name, sizeof(name), "%s%u-%u", kind, n, q);
	return rte_ring_create(name, QUEUE_SLOTS, SOCKET_ID_ANY, 0);
}

int __wrap_rte_dev_probe(const char *args);
int __wrap_rte_dev_probe(const char *args)
{
	struct card *c = &card[n_cards];
	char name[32];
	int port;

	if (strncmp(args, "net_ring_", 9) || n_cards == SIMNIC_MAX)
		return -ENODEV;
	*c = (struct card){
		.slots = (unsigned)option(args, "slots", 128),
		.key = (unsigned)option(args, "key", 40),
		.queues = (unsigned)option(args, "queues", 16),
		.flow = (unsigned)option(args, "flow", 0),
		.alone = (unsigned)option(args, "alone", 0),
		.l4 = (unsigned)option(args, "l4", 1),
		.types = (unsigned)option(args, "types", 1),
		.noset = (unsigned)option(args, "noset", 0),
		.lies = (unsigned)option(args, "lies", 0),
		.socket = option(args, "socket", -1),
	};
	for (unsigned q = 0; q < c->queues; q++) {
		c->rx[q] = ring("rx", n_cards, q);
		c->tx[q] = ring("tx", n_cards, q);
		if (!c->rx[q] || !c->tx[q])
			return -ENOMEM;
	}
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(args + 9, ","), args + 9);
	port = rte_eth_from_rings(name, c->rx, c->queues, c->tx, c->queues, 0);
	if (port < 0)
		return -EIO;
	c->port = (uint16_t)port;
	n_cards++;
	return 0;
}

int __real_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info);
int __wrap_rte_eth_dev_info_get(uint16_t port, struct rte_eth_dev_info *info)
{
	const struct card *c = card_of(port);
	int rc = __real_rte_eth_dev_info_get(port, info);

	info->driver_name = "net_sim";
	info->reta_size = (uint16_t)c->slots;
	info->hash_key_size = (uint8_t)c->key;
	info->flow_type_rss_offloads = TYPES_EACH | (c->types ? RTE_ETH_RSS_IPV4 : 0);
	return rc;
}

int __wrap_rte_eth_dev_socket_id(uint16_t port);
int __wrap_rte_eth_dev_socket_id(uint16_t port)
{
	return card_of(port)->socket;
}

int __real_rte_eth_dev_configure(
	uint16_t port, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(
	uint16_t port, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf);
int __wrap_rte_eth_dev_configure(
	uint16_t port, uint16_t n_rx, uint16_t n_tx, const struct rte_eth_conf *conf)
{
	struct card *c = card_of(port);
	struct rte_eth_conf plain = *conf;

	if (conf->rxmode.mq_mode & RTE_ETH_MQ_RX_RSS_FLAG) {
		const uint64_t types = TYPES_EACH | (c->types ? RTE_ETH_RSS_IPV4 : 0);

		if (conf->rx_adv_conf.rss_conf.rss_hf & ~types)
			return -EINVAL;
		c->hashed = conf->rx_adv_conf.rss_conf.rss_hf;
	}
	for (unsigned i = 0; i < c->key; i++) // as it comes
		c->hash.key[i] = (uint8_t)(0x6d + 0x5b * i + (i * i >> 1));
	c->hash.n_slots = c->slots ? c->slots : 128;
	for (unsigned i = 0; i < c->hash.n_slots; i++)
		c->hash.queue[i] = (uint16_t)(i % n_rx);
	c->n_rx = n_rx;
	plain.rxmode.mq_mode = RTE_ETH_MQ_RX_NONE;
	plain.rx_adv_conf.rss_conf.rss_hf = 0;
	return __real_rte_eth_dev_configure(port, n_rx, n_tx, &plain);
}

int __real_rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n_desc, unsigned socket,
	const struct rte_eth_rxconf *conf, struct rte_mempool *mbufs);
int __wrap_rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n_desc, unsigned socket,
	const struct rte_eth_rxconf *conf, struct rte_mempool *mbufs);
int __wrap_rte_eth_rx_queue_setup(uint16_t port, uint16_t queue, uint16_t n_desc, unsigned socket,
	const struct rte_eth_rxconf *conf, struct rte_mempool *mbufs)
{
	card_of(port)->mbufs[queue] = mbufs;
	return __real_rte_eth_rx_queue_setup(port, queue, n_desc, socket, conf, mbufs);
}

int __wrap_rte_eth_dev_rss_hash_update(uint16_t port, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_hash_update(uint16_t port, struct rte_eth_rss_conf *conf)
{
	struct card *c = card_of(port);

	if (!c->slots || c->noset == 2)
		return -ENOTSUP;
	if (conf->rss_key && conf->rss_key_len != c->key)
		return -EINVAL;
	if (conf->rss_key && !c->lies)
		memcpy(c->hash.key, conf->rss_key, c->key);
	c->hashed = conf->rss_hf;
	return 0;
}

int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port, struct rte_eth_rss_conf *conf);
int __wrap_rte_eth_dev_rss_hash_conf_get(uint16_t port, struct rte_eth_rss_conf *conf)
{
	struct card *c = card_of(port);

	if (conf->rss_key && conf->rss_key_len < c->key)
		return -EINVAL;
	if (conf->rss_key)
		memcpy(conf->rss_key, c->hash.key, c->key);
	conf->rss_hf = c->hashed;
	return 0;
}

int __wrap_rte_eth_dev_rss_reta_update(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n);
int __wrap_rte_eth_dev_rss_reta_update(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n)
{
	struct card *c = card_of(port);

	if (!c->slots || c->noset == 1)
		return -ENOTSUP;
	if (n != c->slots)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (!(table[i / 64].mask >> i % 64 & 1))
			continue;
		if (table[i / 64].reta[i % 64] >= c->n_rx)
			return -EINVAL;
		c->hash.queue[i] = table[i / 64].reta[i % 64];
	}
	return 0;
}

int __wrap_rte_eth_dev_rss_reta_query(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n);
int __wrap_rte_eth_dev_rss_reta_query(
	uint16_t port, struct rte_eth_rss_reta_entry64 *table, uint16_t n)
{
	struct card *c = card_of(port);

	if (n != c->slots)
		return -EINVAL;
	for (unsigned i = 0; i < n; i++) {
		if (table[i / 64].mask >> i % 64 & 1)
			table[i / 64].reta[i % 64] = c->hash.queue[i];
	}
	return 0;
}

// ---- rules

struct rte_flow *__wrap_rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error);
struct rte_flow *__wrap_rte_flow_create(uint16_t port, const struct rte_flow_attr *attr,
	const struct rte_flow_item pattern[], const struct rte_flow_action actions[],
	struct rte_flow_error *error)
{
	struct card *c = card_of(port);
	const struct rte_flow_action_rss *rss = actions[0].conf;
	const enum rte_flow_item_type l4 = pattern[2].type;
	const uint64_t one = RTE_ETH_RSS_L3_SRC_ONLY | RTE_ETH_RSS_L3_DST_ONLY;
	struct rte_flow *r = c->rule;

	if (!attr->ingress || pattern[0].type != RTE_FLOW_ITEM_TYPE_ETH ||
		pattern[1].type != RTE_FLOW_ITEM_TYPE_IPV4 ||
		actions[0].type != RTE_FLOW_ACTION_TYPE_RSS ||
		actions[1].type != RTE_FLOW_ACTION_TYPE_END ||
		(rss->types & ~one) != RTE_ETH_RSS_IPV4 || (rss->types & one) == one ||
		!(rss->types & one))
		abort(); // not a rule as we mean it
	if (!c->flow || (l4 != RTE_FLOW_ITEM_TYPE_END && !c->l4) ||
		(c->flow == 1 && (rss->key_len || rss->queue_num)) ||
		(c->flow == 2 && rss->queue_num) || (c->flow == 3 && !rss->queue_num) ||
		(rss->key_len && rss->key_len != c->key)) {
		rte_errno = ENOTSUP;
		return NULL;
	}
	while (r->used)
		r++;
	*r = (struct rte_flow){.used = true,
		.by_source = rss->types & RTE_ETH_RSS_L3_SRC_ONLY,
		.own = c->flow == 3,
		.proto = l4 == RTE_FLOW_ITEM_TYPE_UDP  ? CGN_PROTO_UDP
			: l4 == RTE_FLOW_ITEM_TYPE_TCP ? CGN_PROTO_TCP
						       : 0};
	if (c->flow == 2) // a rule without a key brings the driver's own one
		memset(c->hash.key, 0x5a, c->key);
	if (c->flow == 2 && rss->key_len)
		memcpy(c->hash.key, rss->key, c->key);
	if (c->flow == 3) {
		memcpy(r->hash.key, rss->key, rss->key_len);
		memcpy(r->hash.queue, rss->queue, rss->queue_num * sizeof(uint16_t));
		r->hash.n_slots = rss->queue_num;
	}
	return r;
}

int __wrap_rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error);
int __wrap_rte_flow_destroy(uint16_t port, struct rte_flow *flow, struct rte_flow_error *error)
{
	flow->used = false;
	return 0;
}
