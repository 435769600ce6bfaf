// SPDX-License-Identifier: BSD-3-Clause
// A packet under way in the model, and what comes of it.
#pragma once
#include "world.h"

enum kind {
	KIND_FLOW, // TCP, UDP, ICMP echo in its usual direction
	KIND_ERROR, // an ICMP error whose quote can be read
	KIND_FRAGMENT,
	KIND_OTHER, // only a bypass policy forwards it; `reason` says what happens else
};

struct packet {
	uint8_t b[PACKET_MAX]; // from the IPv4 header on
	unsigned len;
	unsigned ifc; // it came in by
	unsigned worker; // that treats it
	bool hairpin; // second half: TTL is done
	// read from b
	enum kind kind;
	enum cgn_drop reason;
	bool against; // echo in the unusual direction, or an error about one
	bool inbound;
	uint8_t protocol; // of the flow; of an error: of the quote
	uint32_t our, their; // of the flow, host order: our side is the internal or external end
	uint16_t our_port, their_port;
	struct datagram *first_of; // it is the first fragment of that
};

// ---- bytes

static inline unsigned get16(const uint8_t *p)
{
	return (unsigned)p[0] << 8 | p[1];
}
static inline void set16(uint8_t *p, unsigned v)
{
	p[0] = (uint8_t)(v >> 8);
	p[1] = (uint8_t)v;
}
static inline uint32_t get32(const uint8_t *p)
{
	return (uint32_t)get16(p) << 16 | get16(p + 2);
}
static inline void set32(uint8_t *p, uint32_t v)
{
	set16(p, v >> 16);
	set16(p + 2, v & 0xffff);
}

enum { // places in the IPv4 header
	AT_TOS = 1,
	AT_LEN = 2,
	AT_ID = 4,
	AT_FRAG = 6,
	AT_TTL = 8,
	AT_PROTO = 9,
	AT_CHECK = 10,
	AT_SRC = 12,
	AT_DST = 16,
};
enum {
	DF = 0x4000,
	MF = 0x2000,
	OFFSET = 0x1fff,
};
enum {
	FIN = 1,
	SYN = 2,
	RST = 4,
	ACK = 16,
};
enum {
	TYPE_ECHO_REPLY = 0,
	TYPE_UNREACHABLE = 3,
	TYPE_ECHO = 8,
	TYPE_TIME_EXCEEDED = 11,
	TYPE_PARAMETER = 12,
};

static inline unsigned header_of(const uint8_t *ip)
{
	return (ip[0] & 15u) * 4;
}
static inline uint8_t *l4_of(struct packet *p)
{
	return p->b + header_of(p->b);
}
static inline unsigned l4_len(const struct packet *p)
{
	return p->len - header_of(p->b);
}
static inline bool is_syn(uint8_t flags)
{
	return (flags & (SYN | ACK | RST)) == SYN;
}

// ---- packet.c: reading and writing

unsigned sum_mod(const uint8_t *p, unsigned n); // one's complement sum as a number mod 65535
void ip_seal(uint8_t *ip); // the header's checksum, in full
// Reads a packet whose IPv4 header is right. CGN_DROP_COUNT or what is wrong with it.
enum cgn_drop packet_read(struct packet *p, bool inbound);
enum cgn_drop packet_read_first(struct packet *p, bool inbound); // first fragment
// Replaces an end of a packet or quote of `n` bytes (the L4 checksum keeps what is wrong with it).
void end_replace(uint8_t *ip, unsigned l4_n, bool source, uint32_t address, uint16_t port);
void mss_lower(uint8_t *tcp, unsigned mss);
bool icmp_is_right(struct packet *p);
bool udp_is_right(struct packet *p); // its length, too
void icmp_seal(struct packet *p);

// ---- output.c: what must come out

struct output {
	struct output *next;
	unsigned ifc;
	uint16_t len;
	uint8_t b[PACKET_MAX]; // the frame
};
extern struct output *outputs;

void drop(const struct packet *p, enum cgn_drop reason);
void drop_at(unsigned ifc, enum cgn_drop reason);
void send_packet(struct packet *p, struct way way); // cut where it must be
void send_frame(unsigned ifc, const uint8_t *frame, unsigned len);
// TTL or size forbid to forward p: it is answered and dropped.
bool refused(struct packet *p, struct way way, bool ttl);
void send_error(struct packet *p, unsigned type, unsigned code, unsigned mtu);
void to_us(struct packet *p); // p is for one of our own addresses
void outputs_free(void);

// ---- forward.c: the ways through

void frame_arrives(unsigned ifc, unsigned worker, const uint8_t *frame, unsigned len);
void outbound(struct packet *p);
void inbound(struct packet *p);
void other(struct packet *p); // what is never translated
void to_pool(struct packet *p); // the second half of a hairpin
bool source_refused(struct packet *p); // nobody there may send from that address
bool ends_here(struct packet *p, struct way way);
void bypass(struct packet *p);
bool quotes_bypassed(const struct packet *p); // of an ICMP error
void leave(struct packet *p, struct way way); // translated outbound, to wherever
void arrive(struct packet *p, uint32_t internal); // translated inbound

// ---- error.c: ICMP errors that pass
void error_outbound(struct packet *p);
void error_inbound(struct packet *p);

// ---- unsolicited.c
void unsolicited_refused(struct packet *p, enum cgn_drop reason);
void unsolicited_call_off(const struct mapping *m, const struct session *s);
void unsolicited_tick(void);
bool unsolicited_hairpins(void); // one that came from inside waits
void unsolicited_fini(void);

// ---- fragment.c
void fragment(struct packet *p);
void fragment_translated(
	struct packet *p, struct session *s, uint32_t address); // p, a first one, was translated
void fragment_bypassed(struct packet *p);
void fragment_session_gone(const struct session *s);
void fragment_tick(void);
void fragment_fini(void);
uint32_t fragments_held(void);
uint32_t fragmented_datagrams(void);
