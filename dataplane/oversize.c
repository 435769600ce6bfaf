// SPDX-License-Identifier: BSD-3-Clause
#include "oversize.h"
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"
#include "forward.h"
#include "worker.h"

#define PIECES_MAX 256 // 9600 bytes over an MTU of 68 without options are 200

// The header of all fragments but the first: without the options that are not to be copied
// (RFC 791 3.1). Returns its length.
static unsigned further_header(uint8_t header[60], const struct ipv4 *ip)
{
	const uint8_t *o = (const uint8_t *)(ip + 1),
		      *end = (const uint8_t *)ip + (ip->ver_ihl & 0xf) * 4;
	unsigned n = sizeof(*ip);

	memcpy(header, ip, sizeof(*ip));
	while (o < end && *o != 0) {
		unsigned len = *o == 1 ? 1 : end - o >= 2 ? o[1] : 0;

		if (len < (*o == 1 ? 1u : 2u) || len > (unsigned)(end - o))
			break; // malformed from here on
		if (*o & 0x80) {
			memcpy(header + n, o, len);
			n += len;
		}
		o += len;
	}
	for (; n % 4; n++)
		header[n] = 0; // end of options
	header[0] = (uint8_t)(0x40 | n / 4);
	return n;
}

static void finish(struct ipv4 *ip, unsigned header_len, unsigned payload, unsigned frag)
{
	ip->total_len = htons((uint16_t)(header_len + payload));
	ip->frag = htons((uint16_t)frag);
	ip->check = 0;
	ip->check = (be16_t)~csum_fold(csum_sum(ip, header_len, 0));
}

void oversize_send(
	struct worker *w, struct rte_mbuf *m, struct ipv4 *ip, uint16_t ip_len, uint8_t ifc)
{
	const unsigned mtu = w->snapshot->interface[ifc].mtu, header_len = (ip->ver_ihl & 0xfu) * 4;
	const unsigned frag = ntohs(ip->frag), first = (mtu - header_len) & ~7u;
	struct hop hop = forward_hop(w, ip->dst);
	struct rte_mbuf *piece[PIECES_MAX];
	uint8_t header[60];
	const unsigned further_len = further_header(header, ip), step = (mtu - further_len) & ~7u;
	const unsigned end = ip_len - header_len, n = (end - first + step - 1) / step;
	unsigned at = first;

	if (DEST_KIND(hop.dest) > DEST_ONLINK || hop.ifc != ifc)
		hop = forward_hop_in(w, ip->dst); // the same address is outside, too
	if ((frag & IPV4_DF) || n > PIECES_MAX) {
		worker_drop(w, m, CGN_DROP_MTU_EXCEEDED, ifc);
		return;
	}
	if (rte_pktmbuf_alloc_bulk(w->mbufs, piece, n)) {
		w->counters.no_buffer++;
		worker_drop(w, m, CGN_DROP_FRAG_NO_BUFFER, ifc);
		return;
	}
	for (unsigned i = 0; i < n; i++, at += step) {
		const unsigned len = i + 1 < n ? step : end - at;
		struct ipv4 *q =
			(struct ipv4 *)rte_pktmbuf_append(piece[i], (uint16_t)(further_len + len));

		memcpy(q, header, further_len);
		memcpy((uint8_t *)q + further_len, (uint8_t *)ip + header_len + at, len);
		finish(q, further_len, len, (frag + at / 8) | (i + 1 < n ? IPV4_MF : 0));
	}
	finish(ip, header_len, first, frag | IPV4_MF);
	w->counters.packets_fragmented++;
	w->counters.originated += n;
	forward_send(w, m, ip, (uint16_t)(header_len + first), &hop);
	for (unsigned i = 0; i < n; i++) {
		ip = rte_pktmbuf_mtod(piece[i], struct ipv4 *);
		forward_send(w, piece[i], ip, ntohs(ip->total_len), &hop);
	}
}
