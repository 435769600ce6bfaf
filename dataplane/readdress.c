// SPDX-License-Identifier: BSD-3-Clause
#include "readdress.h"
#include "translate.h"

void readdress_out(
	struct worker *w, struct pkt *p, const struct hop *hop, be32_t address, uint32_t diff)
{
	struct ipv4 *ip = p->ip;

	ip->check = csum_apply(ip->check, diff + csum_diff32(ip->src, address) + TTL_DIFF);
	ip->ttl--;
	ip->src = address;
	if (hop_leaves(w, hop, CGN_EXTERNAL)) {
		w->counters.translated_outbound++;
		forward_send(w, p->m, ip, p->ip_len, hop);
	} else {
		translate_out_odd(w, p, hop);
	}
}

void readdress_in(struct worker *w, struct pkt *p, const struct hop *hop, be32_t address)
{
	const bool hairpin = p->flags & PKT_HAIRPIN;
	struct ipv4 *ip = p->ip;
	uint32_t diff = csum_diff32(ip->dst, address);

	if (!hairpin) {
		diff += TTL_DIFF;
		ip->ttl--;
	}
	ip->check = csum_apply(ip->check, diff);
	ip->dst = address;
	if (!hop_leaves(w, hop, CGN_INTERNAL)) {
		pkt_drop(w, p, CGN_DROP_NO_ROUTE);
		return;
	}
	if (hairpin)
		w->counters.hairpinned++;
	else
		w->counters.translated_inbound++;
	forward_send(w, p->m, ip, p->ip_len, hop);
}
