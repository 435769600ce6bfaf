// SPDX-License-Identifier: BSD-3-Clause
#include "icmp.h"
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"
#include "flow.h"
#include "forward.h"
#include "ident.h"
#include "open.h"
#include "parse.h"
#include "path.h"
#include "portless.h"
#include "snapshot.h"
#include "translate.h"
#include "worker.h"

#define ICMP_ERROR_MAX 576 // bytes of an error with its quote (RFC 1812 4.3.2.3)
#define OWN_TTL 64
#define ECHO_REPLIES_PER_S 1000 // for our own addresses, per worker

struct __attribute__((packed, aligned(2))) icmp {
	uint8_t type, code;
	be16_t check;
	be16_t id, seq; // of an error: unused and, in 3/4, the next-hop MTU (RFC 1191)
};

// ---- errors that pass

// Replaces an L4 checksum inside a quote where it is there (8 quoted bytes hold UDP's and ICMP's,
// not TCP's).
static void quote_l4(
	uint8_t *l4, unsigned len, uint8_t proto, unsigned port_at, be16_t port, uint16_t diff)
{
	struct l4_layout at = l4_layout_of(proto);

	if (at.check + 2u <= len) {
		translate_l4(l4, proto, port_at, port, at.check, diff);
		return;
	}
	memcpy(l4 + port_at, &port, 2);
}

static bool icmp_check_ok(const struct pkt *p)
{
	return csum_fold(csum_sum(pkt_l4(p), p->ip_len - (unsigned)p->l4_off, 0)) == 0xffff;
}

// The outer checksum is made anew: it was right before.
static void icmp_check_set(struct pkt *p)
{
	struct icmp *icmp = (struct icmp *)pkt_l4(p);

	icmp->check = 0;
	icmp->check = (be16_t)~csum_fold(csum_sum(icmp, p->ip_len - (unsigned)p->l4_off, 0));
}

static struct ipv4 *quote_of(const struct pkt *p)
{
	return (struct ipv4 *)(pkt_l4(p) + sizeof(struct icmp));
}

// Rewrites one end of the quoted packet. `source`: its source, else its destination.
static void quote_rewrite(struct pkt *p, bool source, be32_t address, be16_t port, uint16_t l4_diff)
{
	struct ipv4 *q = quote_of(p);
	unsigned header_len = (q->ver_ihl & 0xf) * 4u;
	uint8_t *l4 = (uint8_t *)q + header_len;
	unsigned l4_len = p->ip_len - (unsigned)(l4 - (uint8_t *)p->ip);
	unsigned sent_len = ntohs(q->total_len) < header_len ? 0 : ntohs(q->total_len) - header_len;
	struct l4_layout at = l4_layout_of(q->proto);
	be32_t before = source ? q->src : q->dst;

	if (sent_len < l4_len)
		l4_len = sent_len; // what follows is padding or an extension (RFC 4884)

	// the quoted packet's checksum need not be whole: an RFC 4884 extension may follow
	q->check = csum_apply(q->check, csum_diff32(before, address));
	if (source)
		q->src = address;
	else
		q->dst = address;
	if (!cgn_is_portless(q->proto))
		quote_l4(l4, l4_len, q->proto, source ? at.out : at.in, port, l4_diff);
	icmp_check_set(p);
}

// The mapping of the quoted packet.
struct quoted {
	uint32_t record; // FLOW_NONE: static, and without a session
	bool is_static;
	be32_t int_addr, ext_addr;
	be16_t int_port, ext_port;
	uint16_t l4_diff; // as that of struct flow
};

static bool find_quoted(const struct worker *w, const struct pkt *p, bool inbound, struct quoted *q)
{
	const uint8_t proto = (uint8_t)(p->key >> 48);
	const be32_t address = (be32_t)p->key;
	const be16_t port = (be16_t)(p->key >> 32);
	struct staticmap_hit hit;

	if (cgn_is_portless(proto))
		q->record = flow_find_portless(&w->flows, p->key, (be32_t)p->remote, inbound);
	else
		q->record = inbound ? flow_find_in(&w->flows, p->key)
				    : flow_find_out(&w->flows, p->key);
	if (cgn_likely(q->record != FLOW_NONE)) {
		const struct flow *f = &w->flows.flow[q->record];

		q->is_static = f->flags & FLOW_STATIC;
		q->int_addr = f->int_addr;
		q->int_port = f->int_port;
		q->ext_addr = f->ext_addr;
		q->ext_port = f->ext_port;
		q->l4_diff = f->l4_diff;
		return true;
	}
	// a static mapping is there also when its sessions have ended
	if (cgn_is_portless(proto) ||
		!(inbound ? staticmap_external : staticmap_internal)(
			&w->snapshot->statics, p->key, &hit))
		return false;
	q->is_static = true;
	q->int_addr = inbound ? htonl(hit.address) : address;
	q->int_port = inbound ? htons(hit.port) : port;
	q->ext_addr = inbound ? address : htonl(hit.address);
	q->ext_port = inbound ? port : htons(hit.port);
	q->l4_diff = flow_l4_diff(proto, q->int_addr, q->int_port, q->ext_addr, q->ext_port);
	return true;
}

// True when the quoted packet is an echo that only a one-to-one mapping sends or gets, and it is of
// none, or of a protocol that no policy translates: only bypassed packets can be meant then.
// `q`: its mapping, NULL when there is none.
static bool quote_unknown(const struct worker *w, struct pkt *p, const struct quoted *q)
{
	const uint8_t proto = (uint8_t)(p->key >> 48);

	if (cgn_is_portless(proto)) {
		if (portless_offered(w, proto))
			return false;
	} else {
		if (!(p->flags & PKT_AGAINST))
			return false;
		p->flags &= (uint8_t)~PKT_AGAINST;
		if (q && q->is_static)
			return false;
	}
	p->drop_reason = CGN_DROP_ICMP_QUOTE;
	return true;
}

void icmp_error_in(struct worker *w, struct pkt *p)
{
	const bool hairpin = p->flags & PKT_HAIRPIN;
	struct quoted q = {.record = FLOW_NONE};
	const bool found = find_quoted(w, p, true, &q);
	struct hop hop;
	uint32_t diff;

	if (quote_unknown(w, p, found ? &q : NULL)) {
		open_other(w, p, true);
		return;
	}
	if (DEST_KIND(dest_lookup(w->snapshot, ntohl(p->ip->dst))) != DEST_POOL) {
		p->drop_reason = CGN_DROP_ICMP_NO_MAPPING;
		open_other(w, p, true); // about bypassed traffic
		return;
	}
	if (!hairpin && snapshot_source_bad(w->snapshot, ntohl(p->ip->src))) {
		pkt_drop(w, p, CGN_DROP_IP_SOURCE);
		return;
	}
	if (!icmp_check_ok(p)) { // RFC 5508 REQ-3
		pkt_drop(w, p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (!found && portless_handed_over(w, p))
		return;
	if (!found || quote_of(p)->src != p->ip->dst) {
		pkt_drop(w, p, CGN_DROP_ICMP_NO_MAPPING); // RFC 5508 REQ-4
		return;
	}
	hop = forward_hop_in(w, q.int_addr);
	if (!hop_leaves(w, &hop, CGN_INTERNAL)) {
		pkt_drop(w, p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (translate_refused(w, p, &hop, !hairpin))
		return;
	quote_rewrite(p, true, q.int_addr, q.int_port, csum_undo(q.l4_diff));
	diff = csum_diff32(p->ip->dst, q.int_addr);
	if (!hairpin) {
		diff += TTL_DIFF;
		p->ip->ttl--;
	}
	p->ip->check = csum_apply(p->ip->check, diff);
	p->ip->dst = q.int_addr;
	w->counters.icmp_errors_translated++;
	if (hairpin)
		w->counters.hairpinned++;
	else
		w->counters.translated_inbound++;
	forward_send(w, p->m, p->ip, p->ip_len, &hop);
}

// Outbound, about a packet that came in untranslated though its receiver has a mapping, for others.
static bool quote_untranslated(const struct worker *w, const struct pkt *p, uint32_t record)
{
	if (cgn_is_portless((uint8_t)(p->key >> 48)) ||
		(record != FLOW_NONE &&
			flow_find_session(&w->flows, record, p->remote) != FLOW_NONE))
		return false;
	return open_quote_bypassed(w, p);
}

void icmp_error_out(struct worker *w, struct pkt *p)
{
	struct quoted q = {.record = FLOW_NONE};
	const bool found = find_quoted(w, p, false, &q);
	struct hop hop;
	uint32_t diff;

	if (quote_unknown(w, p, found ? &q : NULL)) {
		open_other(w, p, false);
		return;
	}
	if (!found || quote_of(p)->src != p->ip->dst || quote_untranslated(w, p, q.record)) {
		p->drop_reason = CGN_DROP_ICMP_NO_MAPPING; // RFC 5508 REQ-5
		open_other(w, p, false);
		return;
	}
	if (!icmp_check_ok(p)) {
		pkt_drop(w, p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (snapshot_source_bad(w->snapshot, ntohl(p->ip->src))) {
		pkt_drop(w, p, CGN_DROP_IP_SOURCE);
		return;
	}
	hop = forward_hop(w, p->ip->dst);
	if (DEST_KIND(hop.dest) != DEST_POOL && !hop_leaves(w, &hop, CGN_EXTERNAL)) {
		pkt_drop(w, p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (translate_refused(w, p, &hop, true))
		return;
	quote_rewrite(p, false, q.ext_addr, q.ext_port, q.l4_diff);
	// also from a router that is no subscriber: the mapping's address (RFC 5508 REQ-5c)
	diff = csum_diff32(p->ip->src, q.ext_addr) + TTL_DIFF;
	if (p->ip->frag != htons(IPV4_DF)) { // RFC 6864 5.3.1
		const be16_t id = ident_next(&w->ident, q.ext_addr, p->ip->dst, CGN_PROTO_ICMP);

		diff += csum_diff16(p->ip->id, id);
		p->ip->id = id;
	}
	p->ip->check = csum_apply(p->ip->check, diff);
	p->ip->ttl--;
	p->ip->src = q.ext_addr;
	if (DEST_KIND(hop.dest) == DEST_POOL) { // counted when it has got through
		path_to_pool(w, p->m, p->ip, p->ip_len, p->ifc);
		return;
	}
	w->counters.icmp_errors_translated++;
	w->counters.translated_outbound++;
	forward_send(w, p->m, p->ip, p->ip_len, &hop);
}

// ---- errors of our own

// RFC 1812 4.3.2.7: never about an ICMP error, a later fragment, a bad source.
static bool may_answer(const struct worker *w, const struct pkt *p)
{
	enum dest_kind source = DEST_KIND(dest_lookup(w->snapshot, ntohl(p->ip->src)));

	if (p->kind == PKT_ICMP_ERROR || (ntohs(p->ip->frag) & 0x1fff))
		return false;
	if (p->ip->proto == CGN_PROTO_ICMP && p->tcp_flags != ICMP_ECHO &&
		p->tcp_flags != ICMP_ECHO_REPLY)
		return false;
	return source == DEST_ROUTE || source == DEST_ONLINK || source == DEST_POOL;
}

// RFC 1812 4.3.2.8. When the worker's tokens are used up there are a quarter more of them, for hosts that
// are within their own rate: so one who has many packets refused leaves the others their traceroutes.
// Strangers cannot use up what subscribers get.
static bool rate_allows(struct worker *w, const struct pkt *p)
{
	const uint32_t rate = w->snapshot->config->icmp_errors_per_s;
	const uint32_t per_host = w->snapshot->config->icmp_errors_per_host;
	const uint32_t role = w->snapshot->interface[p->ifc].role;
	const uint64_t who = (uint64_t)role << 32 | p->ip->src;
	struct token_bucket *host = &w->icmp_host[index_hash(who, w->icmp_seed) % ICMP_HOSTS];
	const bool modest = token_take(host, per_host < rate ? per_host : rate, w->now_ns);

	return token_take(&w->icmp_bucket[role], rate, w->now_ns) ||
		(modest && token_take(&w->icmp_reserve[role], (rate + 3) / 4, w->now_ns));
}

static void icmp_send_error(
	struct worker *w, const struct pkt *p, uint8_t type, uint8_t code, uint16_t mtu)
{
	unsigned quote = p->ip_len, len;
	struct rte_mbuf *m;
	struct ipv4 *ip;
	struct icmp *icmp;

	if (!may_answer(w, p))
		return;
	if (w->snapshot->interface[p->ifc].config->no_icmp_errors || !rate_allows(w, p)) {
		w->counters.icmp_errors_suppressed++;
		return;
	}
	if (quote > ICMP_ERROR_MAX - sizeof(*ip) - sizeof(*icmp))
		quote = ICMP_ERROR_MAX - sizeof(*ip) - sizeof(*icmp);
	len = (unsigned)(sizeof(*ip) + sizeof(*icmp)) + quote;
	m = rte_pktmbuf_alloc(w->mbufs);
	if (!m) {
		w->counters.no_buffer++;
		return;
	}
	ip = (struct ipv4 *)rte_pktmbuf_append(m, (uint16_t)len);
	*ip = (struct ipv4){.ver_ihl = 0x45,
		.tos = 0xc0, // internetwork control (RFC 1812 4.3.2.5)
		.total_len = htons((uint16_t)len),
		.ttl = OWN_TTL,
		.proto = CGN_PROTO_ICMP,
		.src = htonl(w->snapshot->interface[p->ifc].address),
		.dst = p->ip->src};
	ip->id = ident_next(&w->ident, ip->src, ip->dst, CGN_PROTO_ICMP); // RFC 6864 4.2
	ip->check = (be16_t)~csum_fold(csum_sum(ip, sizeof(*ip), 0));
	icmp = (struct icmp *)(ip + 1);
	*icmp = (struct icmp){.type = type, .code = code, .seq = htons(mtu)};
	memcpy(icmp + 1, p->ip, quote);
	icmp->check = (be16_t)~csum_fold(csum_sum(icmp, len - sizeof(*ip), 0));
	w->counters.originated++;
	w->counters.icmp_errors_sent++;
	if (DEST_KIND(dest_lookup(w->snapshot, ntohl(ip->dst))) == DEST_POOL)
		path_to_pool(w, m, ip, (uint16_t)len, p->ifc); // about a hairpin
	else
		forward_own(w, m, ip, p->ifc);
}

void icmp_ttl_expired(struct worker *w, struct pkt *p)
{
	icmp_send_error(w, p, ICMP_TIME_EXCEEDED, 0, 0);
	pkt_drop(w, p, CGN_DROP_TTL_EXPIRED);
}

void icmp_too_big(struct worker *w, struct pkt *p, uint16_t mtu)
{
	if (p->ip->frag & htons(IPV4_DF)) // RFC 4787 REQ-13
		icmp_send_error(w, p, ICMP_UNREACHABLE, ICMP_CODE_FRAG_NEEDED, mtu);
	pkt_drop(w, p, CGN_DROP_MTU_EXCEEDED);
}

void icmp_no_route(struct worker *w, struct pkt *p)
{
	icmp_send_error(w, p, ICMP_UNREACHABLE, ICMP_CODE_NET, 0);
	pkt_drop(w, p, CGN_DROP_NO_ROUTE);
}

static uint8_t first_internal(const struct snapshot *s)
{
	uint8_t ifc = 0; // there is one

	while (s->interface[ifc].role != CGN_INTERNAL)
		ifc++;
	return ifc;
}

// A translated packet says no more who sent it: the error goes to the external address, with the quote
// as it is, and comes in from there as any other about this mapping.
void icmp_unresolved(struct worker *w, struct rte_mbuf *m, uint8_t ifc)
{
	struct ipv4 *ip = rte_pktmbuf_mtod(m, struct ipv4 *);
	struct pkt p = {.m = m, .ip = ip, .ip_len = m->data_len};
	const struct hop back = forward_hop(w, ip->src);
	struct quoted q;

	p.l4_off = (uint8_t)((ip->ver_ihl & 0xf) * 4);
	p.ifc = DEST_KIND(back.dest) <= DEST_ONLINK ? back.ifc : first_internal(w->snapshot);
	parse_ipv4_again(&p, false);
	if (DEST_KIND(back.dest) == DEST_POOL && find_quoted(w, &p, true, &q)) {
		const struct hop in = forward_hop_in(w, q.int_addr);

		if (hop_leaves(w, &in, CGN_INTERNAL))
			p.ifc = in.ifc; // where its sender is
	}
	if (w->snapshot->interface[p.ifc].role == CGN_INTERNAL)
		icmp_send_error(w, &p, ICMP_UNREACHABLE, ICMP_CODE_HOST, 0);
	worker_drop(w, m, CGN_DROP_NEIGHBOUR_UNRESOLVED, ifc);
}

void icmp_refuse(struct worker *w, struct pkt *p, enum cgn_drop reason)
{
	switch (w->snapshot->config->icmp_refused) {
	case CGN_REFUSED_HOST_UNREACHABLE: // RFC 6888 REQ-11b
		icmp_send_error(w, p, ICMP_UNREACHABLE, ICMP_CODE_HOST, 0);
		break;
	case CGN_REFUSED_ADMIN_PROHIBITED:
		icmp_send_error(w, p, ICMP_UNREACHABLE, ICMP_CODE_ADMIN, 0);
		break;
	case CGN_REFUSED_OFF:
		break;
	}
	pkt_drop(w, p, reason);
}

void icmp_refuse_inbound(struct worker *w, struct pkt *p, enum cgn_drop reason)
{
	if (w->snapshot->config->tcp_unsolicited_icmp && p->ip->proto == CGN_PROTO_TCP &&
		(p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST)) == TCP_SYN &&
		!syn_put(&w->syns, p->key, p->remote, p->ip, p->ip_len, p->ifc, w->now_ns))
		w->counters.icmp_errors_suppressed++;
	pkt_drop(w, p, reason);
}

uint32_t icmp_upkeep(struct worker *w, uint32_t max)
{
	const struct syn *syn;
	uint32_t n = 0;

	while (n < max && (syn = syn_due(&w->syns, w->now_ns))) {
		uint32_t quote[SYN_QUOTE_MAX / 4];
		const struct pkt p = {.ip = (struct ipv4 *)quote,
			.ip_len = syn->len,
			.kind = PKT_FLOW,
			.tcp_flags = TCP_SYN,
			.ifc = syn->ifc};

		n++;
		if (!syn->waits)
			continue;
		memcpy(quote, syn->quote, syn->len);
		icmp_send_error(w, &p, ICMP_UNREACHABLE, ICMP_CODE_PORT, 0);
	}
	return n;
}

// ---- our own addresses

#define UDP_HEADER 8

// RFC 1122 4.1.3.4: one with a wrong checksum gets no answer.
static bool udp_is_whole(const struct pkt *p)
{
	const struct ipv4 *ip = p->ip;
	const uint8_t *udp = pkt_l4(p);
	const unsigned room = p->ip_len - (unsigned)p->l4_off;
	be16_t len, check;

	if ((ntohs(ip->frag) & IPV4_FRAG_MASK) || room < UDP_HEADER)
		return false;
	memcpy(&len, udp + 4, sizeof(len));
	memcpy(&check, udp + 6, sizeof(check));
	if (ntohs(len) < UDP_HEADER || ntohs(len) > room)
		return false;
	return !check ||
		csum_fold(csum_sum(udp, ntohs(len),
			csum_sum(&ip->src, 8, htons(CGN_PROTO_UDP) + (uint32_t)len))) == 0xffff;
}

void icmp_local(struct worker *w, struct pkt *p)
{
	struct ipv4 *ip = p->ip;
	struct icmp *icmp = (struct icmp *)pkt_l4(p);

	if (w->snapshot->interface[p->ifc].role == CGN_INTERNAL &&
		!snapshot_is_inside(w->snapshot, ntohl(ip->src))) {
		pkt_drop(w, p, CGN_DROP_SOURCE_NOT_INSIDE); // or we would answer a stranger
		return;
	}
	if (ip->proto != CGN_PROTO_ICMP || (ntohs(ip->frag) & IPV4_FRAG_MASK) ||
		p->ip_len - (unsigned)p->l4_off < sizeof(*icmp) || icmp->type != ICMP_ECHO) {
		if (ip->proto == CGN_PROTO_UDP && udp_is_whole(p))
			icmp_send_error(
				w, p, ICMP_UNREACHABLE, ICMP_CODE_PORT, 0); // nobody listens
		pkt_drop(w, p, CGN_DROP_LOCAL_UNSUPPORTED);
		return;
	}
	if (!icmp_check_ok(p)) {
		pkt_drop(w, p, CGN_DROP_ICMP_CHECKSUM);
		return;
	}
	if (!token_take(&w->echo_bucket, ECHO_REPLIES_PER_S, w->now_ns)) {
		pkt_drop(w, p, CGN_DROP_LOCAL_RATE);
		return;
	}
	w->counters.consumed++;
	w->counters.originated++;
	w->counters.echo_replies_sent++;
	ip->dst = ip->src ^ ip->dst;
	ip->src = ip->src ^ ip->dst;
	ip->dst = ip->src ^ ip->dst;
	ip->ttl = OWN_TTL;
	ip->check = 0;
	ip->check = (be16_t)~csum_fold(csum_sum(ip, p->l4_off, 0));
	icmp->type = ICMP_ECHO_REPLY;
	icmp_check_set(p);
	forward_own(w, p->m, ip, p->ifc);
}
