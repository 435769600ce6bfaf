// SPDX-License-Identifier: BSD-3-Clause
#include "icmp6.h"
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"
#include "forward.h"
#include "worker.h"

#define ERROR_MAX 1280 // bytes of an error with its quote (RFC 4443 2.4 c)
#define OWN_HOP_LIMIT 64
#define ECHO_REPLIES_PER_S 1000 // for our own addresses, per worker
#define HEADERS_MAX 8 // extension headers looked through

uint32_t icmp6_sum(const struct ipv6 *ip, const void *l4, unsigned len)
{
	const be32_t tail[2] = {htonl(len), htonl(IPV6_ICMP)}; // RFC 8200 8.1
	uint32_t sum = csum_sum(&ip->src, 2 * sizeof(ip->src), 0);

	sum = csum_sum(tail, sizeof(tail), sum);
	return csum_sum(l4, len, sum);
}

// The ICMPv6 header of a packet, or NULL when it is of another protocol. *unknown: the headers in
// front of it cannot be told.
static const struct icmp6 *find_icmp6(const struct ipv6 *ip, unsigned len, bool *unknown)
{
	const uint8_t *at = (const uint8_t *)(ip + 1), *end = (const uint8_t *)ip + len;
	uint8_t next = ip->next;

	*unknown = true;
	for (unsigned i = 0; i < HEADERS_MAX; i++) {
		unsigned size = 8;

		if (next == IPV6_ICMP) {
			*unknown = at + sizeof(struct icmp6) > end;
			return *unknown ? NULL : (const struct icmp6 *)at;
		}
		if (next != IPV6_HOP_BY_HOP && next != IPV6_ROUTING && next != IPV6_DESTINATION &&
			next != IPV6_FRAGMENT) {
			*unknown = false;
			return NULL;
		}
		if (at + 8 > end)
			return NULL;
		if (next == IPV6_FRAGMENT && ((at[2] << 8 | at[3]) & 0xfff8)) {
			// a later fragment: of ICMPv6, it may be a piece of an error
			*unknown = at[0] == IPV6_ICMP;
			return NULL;
		}
		if (next != IPV6_FRAGMENT)
			size = 8 + at[1] * 8u;
		next = at[0];
		if (size > (unsigned)(end - at))
			return NULL;
		at += size;
	}
	return NULL;
}

// ---- errors of our own

// RFC 4443 2.4 e. Packets to groups never come here.
static bool may_answer(const struct worker *w, const struct ipv6 *ip, unsigned len, uint8_t ifc)
{
	const struct icmp6 *icmp;
	bool unknown;

	if (cgn_ipv6_is_link_local(&ip->src)) {
		if (ipv6_is_ours(w, ifc, &ip->src))
			return false;
	} else if (DEST_KIND(routes6_lookup(&w->snapshot->routes6, &ip->src)) > DEST_ONLINK) {
		return false; // no host's, our own, or no way back
	}
	icmp = find_icmp6(ip, len, &unknown);
	if (!icmp)
		return !unknown;
	return icmp->type >= ICMP6_ECHO && icmp->type != ICMP6_REDIRECT;
}

// A packet of ours of `len` bytes behind its header, from the address that fits `ifc`.
static struct ipv6 *make_packet(struct worker *w, struct rte_mbuf *m, unsigned len,
	const struct cgn_ipv6 *from, const struct cgn_ipv6 *to)
{
	struct ipv6 *ip = (struct ipv6 *)rte_pktmbuf_append(m, (uint16_t)(sizeof(*ip) + len));

	*ip = (struct ipv6){.ver_class_flow = htonl(6u << 28),
		.payload_len = htons((uint16_t)len),
		.next = IPV6_ICMP,
		.hop_limit = OWN_HOP_LIMIT,
		.src = *from,
		.dst = *to};
	w->counters.originated++;
	return ip;
}

void icmp6_error(struct worker *w, const struct ipv6 *about, uint16_t about_len, uint8_t ifc,
	uint8_t type, uint8_t code, uint32_t value)
{
	unsigned quote = about_len, len;
	struct rte_mbuf *m;
	struct icmp6 *icmp;
	struct ipv6 *ip;

	if (!may_answer(w, about, about_len, ifc))
		return;
	// strangers cannot use up what subscribers get
	if (w->snapshot->interface[ifc].config->no_icmp_errors ||
		!token_take(&w->ipv6.error_bucket[w->snapshot->interface[ifc].role],
			w->snapshot->config->icmp_errors_per_s, w->now_ns)) {
		w->counters.icmpv6_errors_suppressed++;
		return;
	}
	m = rte_pktmbuf_alloc(w->mbufs);
	if (!m) {
		w->counters.no_buffer++;
		return;
	}
	if (quote > ERROR_MAX - sizeof(*ip) - sizeof(*icmp))
		quote = ERROR_MAX - sizeof(*ip) - sizeof(*icmp);
	len = (unsigned)sizeof(*icmp) + quote;
	// the address that the packet came to says most to traceroute (RFC 4443 2.2 b)
	ip = make_packet(w, m, len, ipv6_source(w, ifc, &about->src), &about->src);
	icmp = (struct icmp6 *)(ip + 1);
	*icmp = (struct icmp6){.type = type, .code = code, .value = htonl(value)};
	memcpy(icmp + 1, about, quote);
	icmp->check = (be16_t)~csum_fold(icmp6_sum(ip, icmp, len));
	w->counters.icmpv6_errors_sent++;
	ipv6_own(w, m, ip, ifc);
}

// ---- our own addresses

bool icmp6_is_echo(const struct ipv6 *ip, uint16_t len)
{
	const struct icmp6 *icmp = (const struct icmp6 *)(ip + 1);

	return ip->next == IPV6_ICMP && len >= sizeof(*ip) + sizeof(*icmp) &&
		icmp->type == ICMP6_ECHO && !icmp->code;
}

void icmp6_local(struct worker *w, struct pkt *p, struct ipv6 *ip)
{
	struct icmp6 *icmp = (struct icmp6 *)(ip + 1);
	const unsigned len = p->ip_len - (unsigned)sizeof(*ip);
	const struct cgn_ipv6 from = ip->src;
	uint8_t ifc = p->ifc;

	if (!icmp6_is_echo(ip, p->ip_len)) {
		if (ip->next == IPV6_UDP) // nobody listens (RFC 4443 3.1)
			icmp6_error(w, ip, p->ip_len, ifc, ICMP6_UNREACHABLE, ICMP6_CODE_PORT, 0);
		pkt_drop(w, p, CGN_DROP_IPV6_LOCAL);
		return;
	}
	if (csum_fold(icmp6_sum(ip, icmp, len)) != 0xffff) {
		pkt_drop(w, p, CGN_DROP_IPV6_CHECKSUM);
		return;
	}
	if (!token_take(&w->ipv6.echo_bucket, ECHO_REPLIES_PER_S, w->now_ns)) {
		pkt_drop(w, p, CGN_DROP_LOCAL_RATE);
		return;
	}
	w->counters.consumed++;
	w->counters.originated++;
	w->counters.echo_replies_sent++;
	// from the address that was asked, but for those that are not ours alone (RFC 4443 2.2)
	if (DEST_KIND(routes6_lookup(&w->snapshot->routes6, &ip->dst)) == DEST_LOCAL)
		ifc = (uint8_t)DEST_INDEX(routes6_lookup(&w->snapshot->routes6, &ip->dst));
	if (ipv6_is_ours(w, ifc, &ip->dst))
		ip->src = ip->dst;
	else
		ip->src = *ipv6_source(w, p->ifc, &from);
	ip->dst = from;
	ip->hop_limit = OWN_HOP_LIMIT;
	icmp->type = ICMP6_ECHO_REPLY;
	icmp->check = 0;
	icmp->check = (be16_t)~csum_fold(icmp6_sum(ip, icmp, len));
	ipv6_own(w, p->m, ip, p->ifc);
}
