// SPDX-License-Identifier: BSD-3-Clause
#include "model.h"
#include <arpa/inet.h>
#include <string.h>

struct model model;

static const uint8_t proto_of[CGN_L4_COUNT] = {CGN_PROTO_UDP, CGN_PROTO_TCP, CGN_PROTO_ICMP};

static uint32_t address_of(uint32_t block)
{
	return model.block[block].address;
}

// A block of ports one behind the other, or the preset ones of a subscriber.
static void block_init(uint32_t block)
{
	struct model_block *b = &model.block[block];
	const uint32_t n_others = model.c->n_addresses * model.n_address_blocks;
	const uint32_t sub = block - n_others; // of a preset one
	uint16_t first = model.c->first_port;
	struct cgn_det_slot slot;
	bool some = false;

	b->is_preset = block >= n_others;
	b->n_ports = b->is_preset ? model.c->preset_ports : model.c->block_size;
	b->number = calloc(b->n_ports, sizeof(*b->number));
	if (b->is_preset) {
		slot = cgn_det_slot_of(model.det, sub);
		b->address = slot.external;
		b->sub = sub;
		for (uint32_t i = 0; i < b->n_ports; i++)
			b->number[i] = cgn_det_port(model.det, slot, i);
	} else {
		b->address = block / model.n_address_blocks;
		if (model.det)
			cgn_det_blocks(model.det, b->address, &first);
		for (uint32_t i = 0; i < b->n_ports; i++)
			b->number[i] =
				(uint16_t)(first + block % model.n_address_blocks * b->n_ports + i);
	}
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++) {
		b->port[l4] = calloc(b->n_ports, sizeof(*b->port[l4]));
		for (uint32_t i = 0; i < b->n_ports; i++) {
			if (b->number[i] >= model.c->reserved.first &&
				b->number[i] <= model.c->reserved.last)
				b->port[l4][i].state = MODEL_RESERVED;
			else
				some = true;
		}
	}
	b->state = !some ? PORTBLOCK_RESERVED : b->is_preset ? PORTBLOCK_PRESET : PORTBLOCK_FREE;
}

// The plan for subscribers 0..n_subs - 1, which are a prefix.
static struct cgn_det *plan_of(const struct model_config *c)
{
	struct cgn_address_range range = {0xcb007100, 0xcb007100 + c->n_addresses - 1};
	struct cgn_prefix source = {sub_address(0), (uint8_t)(32 - __builtin_ctz(c->n_subs))};
	struct cgn_policy policy = {.sources = &source, .n_sources = 1};
	static struct cgn_pool pool; // the plan refers to it
	struct cgn_config config = {
		.pools = &pool, .n_pools = 1, .policies = &policy, .n_policies = 1};
	static struct cgn_port_range reserved;
	static struct cgn_address_range external;
	struct cgn_det *det;

	reserved = c->reserved;
	external = range;
	pool = (struct cgn_pool){.ranges = &external,
		.n_ranges = 1,
		.ports = {c->first_port, (uint16_t)(c->first_port + c->n_pool_ports - 1)},
		.allocation = CGN_ALLOCATION_DETERMINISTIC,
		.block_size = c->block_size,
		.max_blocks = c->max_blocks,
		.reserved = &reserved,
		.n_reserved = reserved.last > 0,
		.deterministic = {.algorithm = c->algorithm,
			.ports = c->preset_ports,
			.include_boundaries = true,
			.key = "a key of 16 byte"}};
	det = cgn_det_create(&config, 0);
	CHECK(det && cgn_det_fits(det) && c->n_pools == 1 && c->n_subs % c->n_addresses == 0);
	return det;
}

void model_init(const struct model_config *c, uint64_t seed)
{
	memset(&model, 0, sizeof(model));
	model.c = c;
	model.seed = seed;
	model.now_s = c->now_s;
	model.n_endpoints = c->n_subs * c->n_ports * CGN_L4_COUNT;
	model.det = c->preset_ports ? plan_of(c) : NULL;
	model.n_address_blocks =
		model.det ? cgn_det_blocks(model.det, 0, &(uint16_t){0}) : c->n_blocks;
	model.n_blocks = c->n_addresses * model.n_address_blocks + (model.det ? c->n_subs : 0);
	model.mapping = calloc(model.n_endpoints, sizeof(*model.mapping));
	model.block = calloc(model.n_blocks, sizeof(*model.block));
	model.rest = calloc(c->rest_max, sizeof(*model.rest));
	for (uint32_t i = 0; i < model.n_blocks; i++)
		block_init(i);
}

void model_fini(void)
{
	for (uint32_t i = 0; i < model.n_blocks; i++)
		for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
			free(model.block[i].port[l4]);
	for (uint32_t i = 0; i < model.n_blocks; i++)
		free(model.block[i].number);
	cgn_det_destroy(model.det);
	free(model.mapping);
	free(model.block);
	free(model.rest);
}

// ---- numbers and keys

struct endpoint endpoint_of(uint32_t number)
{
	const uint32_t n = number / CGN_L4_COUNT;

	return (struct endpoint){n / model.c->n_ports, (uint16_t)(1000 + n % model.c->n_ports),
		(enum cgn_l4)(number % CGN_L4_COUNT)};
}

uint32_t sub_address(uint32_t sub)
{
	return 0x64400000 + sub;
}

uint16_t sub_pool(uint32_t sub)
{
	return (uint16_t)(sub % model.c->n_pools);
}

uint64_t internal_key(uint32_t endpoint)
{
	struct endpoint e = endpoint_of(endpoint);

	return FLOW_KEY(htonl(sub_address(e.sub)), htons(e.port), proto_of[e.l4]);
}

uint64_t remote_key(uint32_t remote)
{
	return FLOW_REMOTE(htonl(0xc0000201 + remote / 2), htons((uint16_t)(80 + remote % 2)));
}

uint32_t endpoint_of_key(uint64_t internal)
{
	uint32_t sub = ntohl((be32_t)internal) - sub_address(0);
	uint32_t port = ntohs((be16_t)(internal >> 32)) - 1000u;
	uint32_t number = (sub * model.c->n_ports + port) * CGN_L4_COUNT +
		cgn_l4_of((uint8_t)(internal >> 48));

	CHECK(number < model.n_endpoints && internal_key(number) == internal);
	return number;
}

uint32_t remote_of_key(uint64_t remote)
{
	for (uint32_t i = 0; i < REMOTES; i++)
		if (remote_key(i) == remote)
			return i;
	CHECK(!"a remote that was never used");
	return 0;
}

uint32_t model_deadline(uint32_t endpoint, uint32_t remote)
{
	const struct model_session *s = &model.mapping[endpoint].session[remote];
	const struct cgn_timeouts *t = &model.c->timeouts;
	const enum cgn_l4 l4 = endpoint_of(endpoint).l4;

	if (l4 == CGN_L4_UDP)
		return s->seen_s + t->udp;
	if (l4 == CGN_L4_ICMP)
		return s->seen_s + t->icmp;
	if (s->state == CGN_SESSION_INIT)
		return s->seen_s + t->tcp_opening;
	if (s->state == CGN_SESSION_BOTH_FIN || s->state == CGN_SESSION_TRANSITORY)
		return s->seen_s + t->tcp_closing;
	return s->seen_s + t->tcp_established;
}

bool model_passed(uint32_t time_s)
{
	return (int32_t)(model.now_s - time_s) >= 0;
}

// ---- blocks

uint32_t model_n_lent(uint32_t sub)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < model.n_blocks; i++)
		n += model.block[i].state == PORTBLOCK_LENT && model.block[i].sub == sub;
	return n;
}

uint32_t model_n_resting(uint32_t sub)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < model.n_blocks; i++)
		n += model.block[i].state == PORTBLOCK_RESTING && model.block[i].sub == sub;
	return n;
}

void model_block_taken(uint32_t block, uint32_t address, uint32_t sub)
{
	struct model_block *b = &model.block[block];

	CHECK(block < model.n_blocks && address_of(block) == address);
	CHECK(b->state == PORTBLOCK_FREE); // neither lent to another nor in hold-down
	b->state = PORTBLOCK_LENT;
	b->sub = sub;
}

uint32_t model_preset_of(uint32_t sub)
{
	for (uint32_t i = 0; i < model.n_blocks; i++) {
		if (model.block[i].is_preset && model.block[i].sub == sub)
			return i;
	}
	return PORTBLOCK_NONE;
}

void model_preset_taken(uint32_t block, uint32_t sub)
{
	struct model_block *b = &model.block[block];

	CHECK(block < model.n_blocks && b->is_preset && b->sub == sub);
	CHECK(b->state == PORTBLOCK_PRESET);
	b->state = PORTBLOCK_LENT;
	model.n.preset_taken++;
}

void model_block_retaken(uint32_t block, uint32_t sub)
{
	struct model_block *b = &model.block[block];

	CHECK(b->state == PORTBLOCK_RESTING && b->sub == sub);
	b->state = PORTBLOCK_LENT;
	model.n.retaken++;
}

void model_no_block(uint32_t address)
{
	for (uint32_t i = 0; i < model.n_blocks; i++)
		CHECK(address_of(i) != address || model.block[i].state != PORTBLOCK_FREE);
	model.n.no_block++;
}

void model_address_picked(uint32_t pool, uint32_t address)
{
	bool some = false, there = false;

	for (uint32_t i = 0; i < model.n_blocks; i++) {
		if (model.block[i].state != PORTBLOCK_FREE ||
			address_of(i) % model.c->n_pools != pool)
			continue;
		some = true;
		there |= address_of(i) == address;
	}
	CHECK(address == PORTBLOCK_NONE ? !some : there);
	model.n.no_address += !some;
}

void model_block_given(uint32_t block)
{
	struct model_block *b = &model.block[block];

	CHECK(b->state == PORTBLOCK_LENT && !b->n_used);
	b->state = PORTBLOCK_RESTING;
	b->since_s = model.now_s;
}

void model_block_rested(uint32_t block)
{
	struct model_block *b = &model.block[block];

	CHECK(b->state == PORTBLOCK_RESTING);
	CHECK(model_passed(b->since_s + model.c->timeouts.hold_down));
	for (unsigned l4 = 0; l4 < CGN_L4_COUNT; l4++)
		for (uint32_t i = 0; i < b->n_ports; i++)
			CHECK(b->port[l4][i].state == MODEL_FREE ||
				b->port[l4][i].state == MODEL_RESERVED);
	b->state = b->is_preset ? PORTBLOCK_PRESET : PORTBLOCK_FREE;
	model.n.freed_blocks++;
}

// ---- ports

static struct model_port *port_at(uint32_t block, enum cgn_l4 l4, uint32_t port)
{
	const struct model_block *b = &model.block[block];
	uint32_t i = 0;

	CHECK(block < model.n_blocks);
	while (i < b->n_ports && b->number[i] != port)
		i++;
	CHECK(i < b->n_ports);
	return &b->port[l4][i];
}

void model_port_taken(uint32_t block, uint32_t endpoint, int32_t port)
{
	const struct endpoint e = endpoint_of(endpoint);
	struct model_block *b = &model.block[block];
	struct model_port *p;

	CHECK(b->state == PORTBLOCK_LENT && b->sub == e.sub);
	if (port < 0) {
		for (uint32_t i = 0; i < b->n_ports; i++)
			CHECK(b->port[e.l4][i].state != MODEL_FREE);
		model.n.no_port++;
		return;
	}
	p = port_at(block, e.l4, (uint32_t)port);
	CHECK(p->state == MODEL_FREE); // neither used by another, resting nor reserved
	*p = (struct model_port){MODEL_USED, endpoint};
	b->n_used++;
}

// Takes the n-th resting port out; it must be the one that the tables say.
static struct model_port *rest_remove(uint32_t n, const struct rest_port *rested)
{
	const struct model_rest r = model.rest[n];

	CHECK(n < model.n_rest);
	CHECK(r.block == rested->block && r.port == rested->port && r.since_s == rested->since_s);
	CHECK(rested->key == rest_key((uint32_t)rested->key, internal_key(r.endpoint)));
	model.rest[n].endpoint = MODEL_HOLE;
	model.n_holes++;
	for (n = 0; n < model.n_rest && model.rest[n].endpoint == MODEL_HOLE; n++)
		model.n_holes--;
	model.n_rest -= n;
	memmove(model.rest, &model.rest[n], model.n_rest * sizeof(r));
	return port_at(r.block, endpoint_of(r.endpoint).l4, r.port);
}

static uint32_t rest_of_endpoint(uint32_t endpoint)
{
	uint32_t n = 0;

	while (n < model.n_rest && model.rest[n].endpoint != endpoint)
		n++;
	return n;
}

void model_port_reused(uint32_t endpoint, const struct rest_port *rested)
{
	struct model_port *p;
	uint32_t n = 0;

	// it may have two, since a resting overflow port does not win over a free preset one
	while (n < model.n_rest &&
		(model.rest[n].endpoint != endpoint || model.rest[n].port != rested->port))
		n++;
	p = rest_remove(n, rested);
	CHECK(p->state == MODEL_RESTING && p->endpoint == endpoint);
	CHECK(model.block[rested->block].state == PORTBLOCK_LENT);
	p->state = MODEL_USED;
	model.block[rested->block].n_used++;
	model.n.reclaimed++;
}

void model_no_rest(uint32_t endpoint)
{
	CHECK(rest_of_endpoint(endpoint) == model.n_rest);
}

void model_port_rests(uint32_t endpoint)
{
	const struct model_mapping *m = &model.mapping[endpoint];
	struct model_port *p = port_at(m->block, endpoint_of(endpoint).l4, m->port);

	CHECK(p->state == MODEL_USED && p->endpoint == endpoint);
	CHECK(model.n_rest < model.c->rest_max);
	p->state = MODEL_RESTING;
	model.block[m->block].n_used--;
	model.rest[model.n_rest++] = (struct model_rest){endpoint, m->block, model.now_s, m->port};
}

void model_rest_early(const struct rest_port *rested)
{
	CHECK(model.n_rest == model.c->rest_max); // no earlier than that
	rest_remove(0, rested)->state = MODEL_FREE;
	model.n.early++;
}

void model_rest_over(const struct rest_port *rested)
{
	CHECK(model.n_rest && model_passed(model.rest[0].since_s + model.c->timeouts.hold_down));
	rest_remove(0, rested)->state = MODEL_FREE;
	model.n.rested++;
}

void model_all_rests_over(void)
{
	if (model.n_rest)
		CHECK(!model_passed(model.rest[0].since_s + model.c->timeouts.hold_down));
	for (uint32_t i = 0; i < model.n_blocks; i++)
		if (model.block[i].state == PORTBLOCK_RESTING)
			CHECK(!model_passed(model.block[i].since_s + model.c->timeouts.hold_down));
}

// ---- sessions

static void session_begin(uint32_t endpoint, uint32_t remote, const struct flow_new *new)
{
	struct model_session *s = &model.mapping[endpoint].session[remote];

	CHECK(!s->open);
	*s = (struct model_session){.open = true,
		.state = new->state,
		.policy = new->policy,
		.seen_s = new->seen_s,
		.created_s = new->now_s};
	model.mapping[endpoint].n_sessions++;
	model.n_sessions++;
}

void model_opened(uint32_t endpoint, uint32_t remote, const struct flow_new *new, uint32_t block,
	uint16_t port)
{
	struct model_mapping *m = &model.mapping[endpoint];
	const struct model_port *p = port_at(block, endpoint_of(endpoint).l4, port);

	CHECK(!m->n_sessions);
	CHECK(p->state == MODEL_USED && p->endpoint == endpoint);
	m->block = block;
	m->port = port;
	m->created_s = new->now_s;
	model.n_mappings++;
	model.n.opened++;
	session_begin(endpoint, remote, new);
}

void model_added(uint32_t endpoint, uint32_t remote, const struct flow_new *new)
{
	CHECK(model.mapping[endpoint].n_sessions);
	model.n.added++;
	session_begin(endpoint, remote, new);
}

void model_closed(uint32_t endpoint, uint32_t remote, bool mapping_ended)
{
	struct model_mapping *m = &model.mapping[endpoint];

	CHECK(m->session[remote].open);
	m->session[remote].open = false;
	CHECK(mapping_ended == !--m->n_sessions);
	model.n_sessions--;
	model.n_mappings -= mapping_ended;
	model.n.closed++;
}
