// SPDX-License-Identifier: BSD-3-Clause
#include "observe.h"
#include <arpa/inet.h>
#include "../../packet/bed.h"
#include "flow.h"
#include "frag.h"
#include "rest.h"
#include "snapshot.h"

static struct ident ident[CGN_WORKERS_MAX];

static const struct snapshot *snapshot(void)
{
	return bed.worker[0]->snapshot;
}

static uint64_t key_of(uint8_t protocol, uint32_t address, uint16_t port)
{
	return FLOW_KEY(htonl(address), htons(port), protocol);
}

unsigned owner_of_internal(uint32_t address)
{
	return steer_internal(snapshot(), address);
}

unsigned owner_of_external(uint8_t protocol, uint32_t address, uint16_t port)
{
	return steer_inbound(snapshot(), key_of(protocol, address, port));
}

unsigned owner_of_block(uint32_t address, uint16_t first_port)
{
	return steer_external(snapshot(), address, first_port);
}

unsigned owner_of_fragment(const uint8_t *ip)
{
	struct ipv4 copy;

	memcpy(&copy, ip, sizeof(copy));
	return frag_owner(bed.worker[0], &copy);
}

bool owner_needs_port(uint32_t address)
{
	return bed.n_workers > 1 && steer_is_split(snapshot(), address);
}

bool observe_mapping(unsigned worker, uint8_t protocol, uint32_t internal, uint16_t port,
	uint32_t *external, uint16_t *external_port, uint16_t *policy)
{
	const struct flow_table *t = &bed.worker[worker]->flows;
	const uint32_t head = flow_find_out(t, key_of(protocol, internal, port));

	if (head == FLOW_NONE)
		return false;
	*external = ntohl(t->flow[head].ext_addr);
	*external_port = ntohs(t->flow[head].ext_port);
	*policy = t->cold[head].policy;
	return true;
}

bool observe_session(const struct session *s, enum cgn_session_state *state, uint32_t *seen_s)
{
	const struct mapping *m = s->mapping;
	const struct flow_table *t = &bed.worker[m->worker]->flows;
	const uint32_t head = flow_find_out(t, key_of(m->protocol, m->internal, m->internal_port));
	uint32_t record;

	if (head == FLOW_NONE)
		return false;
	record = flow_find_session(t, head, FLOW_REMOTE(htonl(s->remote), htons(s->remote_port)));
	if (record == FLOW_NONE)
		return false;
	*state = (enum cgn_session_state)t->flow[record].state;
	*seen_s = t->flow[record].seen_s - 1; // its clock begins at 1
	return true;
}

bool observe_resting(const struct resting *r)
{
	const struct worker *w = bed.worker[r->worker];
	const uint64_t endpoint = key_of(r->protocol, r->internal, r->internal_port);
	struct rest_port port;

	// an endpoint may have several: all of them, slowly
	for (uint32_t i = 0; i < w->rests.n_held; i++) {
		const struct subscriber *s;

		if (!rest_at(&w->rests, i, &port) || port.port != r->external_port)
			continue;
		s = &w->subscribers.sub[(uint32_t)port.key];
		if (port.key == rest_key((uint32_t)port.key, endpoint) &&
			s->address == r->internal && s->pool == r->block->pool)
			return true;
	}
	return false;
}

unsigned host_bucket(unsigned worker, enum cgn_role role, uint32_t address)
{
	return index_hash((uint64_t)role << 32 | htonl(address), bed.worker[worker]->icmp_seed) %
		ICMP_HOSTS;
}

void observe_begin(void)
{
	for (unsigned i = 0; i < bed.n_workers; i++)
		ident[i] = bed.worker[i]->ident;
}

uint16_t next_ident(unsigned worker, uint32_t source, uint32_t destination, uint8_t protocol)
{
	return ntohs(ident_next(&ident[worker], htonl(source), htonl(destination), protocol));
}
