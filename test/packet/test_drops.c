// SPDX-License-Identifier: BSD-3-Clause
// Every drop reason of cgnat/drop.h is met by a test: the ones that one frame can show are met here,
// counted once and nothing else with them; the others where they belong.
#include "bed.h"
#include <stdio.h>
#include <stdlib.h>

#define HOME \
	"  - {name: no, match: {destination: [198.51.100.9/32]}, action: drop}\n" \
	"  - {name: pass, match: {destination: [198.51.100.8/32]}, action: bypass}\n" \
	"  - {name: home, match: {source: [100.64.0.0/10]}, action: translate, pool: p}"

enum change { // what is done to the frame before it is put in
	AS_IS,
	SHORT_ETHERNET,
	SHORT_IP,
	OTHER_MAC,
	BROADCAST_MAC,
	MULTICAST_MAC,
	IPV6_TYPE,
	OTHER_TYPE,
	ARP_TYPE,
	IP_VERSION_6,
	IHL_4,
	TOTAL_SHORT,
	TOTAL_LONG,
	BAD_HEADER,
	LSRR,
	SSRR_AFTER_NOP,
	CUT_L4,
	UDP_LENGTH_SHORT,
	UDP_LENGTH_LONG,
	TCP_OFFSET_SHORT,
	TCP_OFFSET_LONG,
	TAGGED,
};

static void set_total(struct frame *f, unsigned n)
{
	frame_ip(f)->total_len = htons((uint16_t)n);
	frame_seal_ip(f);
}

static struct frame options(const struct frame *f, const char *bytes)
{
	return with_options(*f, bytes, 8);
}

static struct frame changed(struct frame f, enum change how)
{
	struct ipv4 *ip = frame_ip(&f);
	uint8_t *l4 = frame_l4(&f);

	switch (how) {
	case SHORT_ETHERNET:
		f.len = 13;
		break;
	case SHORT_IP:
		f.len = 14 + 19;
		break;
	case IPV6_TYPE:
		memcpy(f.b + 12, "\x86\xdd", 2);
		break;
	case OTHER_TYPE: // LLDP
		memcpy(f.b + 12, "\x88\xcc", 2);
		break;
	case ARP_TYPE:
		memcpy(f.b + 12, "\x08\x06", 2);
		break;
	case IP_VERSION_6:
		ip->ver_ihl = 0x65;
		frame_seal_ip(&f);
		break;
	case IHL_4:
		ip->ver_ihl = 0x44;
		break;
	case TOTAL_SHORT:
		set_total(&f, 19);
		break;
	case TOTAL_LONG:
		set_total(&f, f.len - 14 + 1u);
		break;
	case BAD_HEADER:
		ip->check ^= 1;
		break;
	case LSRR:
		return options(&f, "\x83\x07\x04\x0a\x00\x00\x01\x00");
	case SSRR_AFTER_NOP:
		return options(&f, "\x01\x89\x07\x04\x0a\x00\x00\x01");
	case CUT_L4:
		set_total(&f, 20 + 7);
		break;
	case UDP_LENGTH_SHORT:
		l4[5] = 7;
		break;
	case UDP_LENGTH_LONG:
		l4[5]++;
		break;
	case TCP_OFFSET_SHORT:
		l4[12] = 4 << 4;
		break;
	case TCP_OFFSET_LONG:
		l4[12] = 15 << 4;
		break;
	case TAGGED:
		return with_vlan(f, 5);
	default:
		break;
	}
	return f;
}

static void put_changed(unsigned ifc, struct frame f, enum change how)
{
	static const uint8_t macs[][6] = {[OTHER_MAC] = {2, 0, 0, 0, 0, 9},
		[BROADCAST_MAC] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
		[MULTICAST_MAC] = {0x01, 0x00, 0x5e, 0, 0, 1}};

	f = changed(f, how);
	if (how == OTHER_MAC || how == BROADCAST_MAC || how == MULTICAST_MAC) {
		mac_of(ROUTER_INSIDE, f.b + 6);
		memcpy(f.b, macs[how], 6);
		bed_put_raw(ifc, &f);
	} else {
		bed_put(ifc, f);
	}
}

// Nothing but one drop for that reason, wherever it is met. `answered`: 1 when an ICMP error of ours
// comes back.
static void one_drop(
	unsigned ifc, struct frame f, enum change how, enum cgn_drop reason, unsigned answered)
{
	struct cgn_counters want = {.rx_packets = 1,
		.tx_packets = answered,
		.originated = answered,
		.icmp_errors_sent = answered};

	want.drops[reason] = 1;
	put_changed(ifc, f, how);
	bed_run();
	assert_int_equal(bed_waiting(ifc), answered);
	while (bed_take(ifc, &f))
		continue;
	bed_expect_nothing();
	bed_counted(&want);
}

// The reason is pasted where it is written: some of its names are macros of the system's headers.
#define OUT(f, how, reason) (HERE(), one_drop(INSIDE, f, how, CGN_DROP_##reason, 0))
#define IN(f, how, reason) (HERE(), one_drop(OUTSIDE, f, how, CGN_DROP_##reason, 0))
#define OUT_ANSWERED(f, reason) (HERE(), one_drop(INSIDE, f, AS_IS, CGN_DROP_##reason, 1))
#define IN_ANSWERED(f, reason) (HERE(), one_drop(OUTSIDE, f, AS_IS, CGN_DROP_##reason, 1))
#define BOTH(how, reason) \
	do { \
		HERE(); \
		one_drop(INSIDE, udp(at(ALICE, 1), at(S1, 53)), how, CGN_DROP_##reason, 0); \
		one_drop(OUTSIDE, udp(at(S1, 53), at(X1, 2000)), how, CGN_DROP_##reason, 0); \
	} while (0)

// RFC 1812 5.2.2: silently, whatever the session
static void malformed_frames(void **state)
{
	BED(.policies = HOME);
	BOTH(SHORT_ETHERNET, FRAME_TOO_SHORT);
	BOTH(SHORT_IP, FRAME_TOO_SHORT);
	BOTH(TAGGED, VLAN_MISMATCH);
	BOTH(OTHER_MAC, NOT_FOR_US);
	BOTH(BROADCAST_MAC, L2_MULTICAST);
	BOTH(MULTICAST_MAC, L2_MULTICAST);
	BOTH(IPV6_TYPE, IPV6_OFF);
	BOTH(OTHER_TYPE, ETHERTYPE);
	BOTH(ARP_TYPE, ARP_INVALID);
	BOTH(IP_VERSION_6, IP_VERSION);
	BOTH(IHL_4, IP_VERSION);
	BOTH(TOTAL_SHORT, IP_LENGTH);
	BOTH(TOTAL_LONG, IP_LENGTH);
	BOTH(BAD_HEADER, IP_CHECKSUM);
	BOTH(LSRR, IP_SOURCE_ROUTE);
	BOTH(SSRR_AFTER_NOP, IP_SOURCE_ROUTE);
	BOTH(CUT_L4, L4_LENGTH);
	BOTH(UDP_LENGTH_SHORT, L4_LENGTH);
	BOTH(UDP_LENGTH_LONG, L4_LENGTH);
	OUT(tcp(at(ALICE, 1), at(S1, 53), TCP_SYN), TCP_OFFSET_SHORT, L4_LENGTH);
	IN(tcp(at(S1, 53), at(X1, 2000), TCP_SYN), TCP_OFFSET_LONG, L4_LENGTH);
}

static void frames_in_more_than_one_buffer(void **state)
{
	BED();
	bed.segmented = true;
	refuse_out(udp(at(ALICE, 1), at(S1, 53)), CGN_DROP_FRAME_SEGMENTED);
	refuse_in(udp(at(S1, 53), at(X1, 2000)), CGN_DROP_FRAME_SEGMENTED);
	bed.segmented = false;
}

static void malformed_arp(void **state)
{
	static const struct {
		uint8_t byte, value;
	} wrong[] = {{1, 6}, {2, 9}, {4, 8}, {5, 16}, {7, 3}, {8, 1}};
	struct frame f;

	BED();
	for (unsigned i = 0; i < 6; i++) {
		f = arp_request(0xc0000264, US_OUTSIDE);
		f.b[14 + wrong[i].byte] = wrong[i].value;
		bed_put_raw(OUTSIDE, &f);
	}
	f = arp_request(0xc0000264, US_OUTSIDE);
	f.len = 14 + 27;
	bed_put_raw(OUTSIDE, &f);
	bed_run();
	expect_nothing();
	COUNTED(.rx_packets = 7, .drops[CGN_DROP_ARP_INVALID] = 7);
}

// RFC 1812 5.3.7, 5.3.8
static void addresses_that_nobody_may_have(void **state)
{
	static const uint32_t sources[] = {0, 0x00000001, 0x7f000001, 0xe0000001, 0xf0000001,
		0xffffffff, 0xa9fe0101, X1, US_INSIDE, US_OUTSIDE, 0x0aff00ff, 0xc00002ff};
	static const uint32_t destinations[] = {0, 0x7f000001, 0xe0000001, 0xf0000001, 0xffffffff,
		0xa9fe0101, 0x0aff00ff, 0xc0000200};

	BED(.policies = HOME);
	for (unsigned i = 0; i < sizeof(sources) / sizeof(*sources); i++) {
		OUT(udp(at(sources[i], 1), at(S1, 53)), AS_IS, IP_SOURCE);
		IN(udp(at(sources[i], 1), at(X1, 2000)), AS_IS, IP_SOURCE);
		OUT(ip_packet(sources[i], S1, 47, 20), AS_IS, IP_SOURCE);
		IN(ip_packet(sources[i], ALICE, 47, 20), AS_IS, IP_SOURCE);
	}
	for (unsigned i = 0; i < sizeof(destinations) / sizeof(*destinations); i++) {
		OUT(udp(at(ALICE, 1), at(destinations[i], 53)), AS_IS, IP_DESTINATION);
		IN(udp(at(S1, 53), at(destinations[i], 1)), AS_IS, IP_DESTINATION);
		OUT(ip_packet(ALICE, destinations[i], 47, 20), AS_IS, IP_DESTINATION);
	}
}

static void packets_that_are_not_carried(void **state)
{
	struct frame f, q;

	BED(.policies = HOME);
	OUT(ip_packet(ALICE, S1, 132, 40), AS_IS, PROTOCOL); // RFC 6888 REQ-1: SCTP, DCCP ...
	OUT(ip_packet(ALICE, S1, 33, 40), AS_IS, PROTOCOL);
	IN(ip_packet(S1, X1, 47, 40), AS_IS, PROTOCOL);
	OUT(echo_reply(ALICE, at(S1, 1)), AS_IS, ICMP_TYPE);
	IN(echo(at(S1, 1), X1), AS_IS, ICMP_NO_SESSION);
	IN(echo_reply(S1, at(X1, 2000)), AS_IS, NO_MAPPING);
	OUT_ANSWERED(udp(at(ALICE, 1), at(US_INSIDE, 53)), LOCAL_UNSUPPORTED);
	OUT(tcp(at(ALICE, 1), at(US_INSIDE, 53), TCP_SYN), AS_IS, LOCAL_UNSUPPORTED);
	IN_ANSWERED(udp(at(S1, 53), at(US_OUTSIDE, 53)), LOCAL_UNSUPPORTED);
	IN(ip_packet(S1, US_OUTSIDE, 132, 40), AS_IS, LOCAL_UNSUPPORTED);
	f = echo(at(S1, 1), US_OUTSIDE);
	frame_l4(&f)[8] ^= 1;
	IN(f, AS_IS, ICMP_CHECKSUM);
	OUT_ANSWERED(with_ttl(udp(at(ALICE, 1), at(S1, 53)), 1), TTL_EXPIRED);
	OUT(udp(at(0x0a000001, 1), at(S1, 53)), AS_IS, POLICY_NONE);
	OUT(udp(at(ALICE, 1), at(0xc6336409, 53)), AS_IS, POLICY_DROP);
	OUT(udp(at(ALICE, 1), at(BOB, 53)), AS_IS, INTERNAL_TO_INTERNAL);
	IN(udp(at(S1, 53), at(S2, 53)), AS_IS, EXTERNAL_TO_EXTERNAL);
	IN(udp(at(S1, 53), at(ALICE, 53)), AS_IS, EXTERNAL_TO_EXTERNAL);
	OUT(tcp(at(ALICE, 1), at(S1, 53), TCP_ACK), AS_IS, TCP_NO_SESSION);
	IN(udp(at(S1, 53), at(X1, 2000)), AS_IS, NO_MAPPING);
	OUT_ANSWERED(with_df(with_size(udp(at(ALICE, 1), at(S1, 53)), 1501)), MTU_EXCEEDED);
	q = udp(at(X1, 2000), at(S1, 53));
	IN(icmp_error(S1, X1, 3, 3, &q, 8), AS_IS, ICMP_NO_MAPPING);
	frame_ip(&q)->check ^= 1;
	IN(icmp_error(S1, X1, 3, 3, &q, 8), AS_IS, ICMP_QUOTE);
	q = udp(at(S1, 53), at(ALICE, 1));
	OUT(icmp_error(ALICE, S1, 3, 3, &q, 8), AS_IS, ICMP_NO_MAPPING);
}

static void packets_without_route(void **state)
{
	BED(.outside = "addresses: [192.0.2.2/24], routes: [{prefix: 198.51.0.0/16, via: 192.0.2.1}]",
		.policies = HOME);
	OUT_ANSWERED(udp(at(ALICE, 1), at(0x08080808, 53)), NO_ROUTE);
	IN_ANSWERED(udp(at(0xc6336408, 53), at(0xcb007200, 53)), NO_ROUTE); // bypass to nowhere
}

static void packets_that_are_held_at_the_stop(void **state)
{
	BED(.manual_arp = true);
	for (unsigned i = 0; i < 5; i++)
		bed_put(INSIDE, udp(at(ALICE, i), at(S1, 53)));
	bed_run();
	assert_int_equal(gauge(held), 5);
	worker_drop_held(bed.worker[0]);
	assert_int_equal(gauge(held), 0);
	assert_int_equal(bed_sum().drops[CGN_DROP_STOPPED], 5);
}

// ---- the whole list

static const char *const reasons[] = {
#define X(name, text) #name,
	CGN_DROPS(X)
#undef X
};

// Reasons that no test of packets can bring about.
static const struct {
	const char *reason, *why;
} exceptions[] = {
	{"INDEX_FULL",
		"takes a bucket and all it can move to full of one hash; test_index.c does that"},
};

static char *text_of(const char *path)
{
	FILE *in = fopen(path, "r");
	char *text = calloc(1, 1 << 20);

	assert_non_null(in);
	assert_non_null(text);
	assert_in_range(fread(text, 1, (1 << 20) - 1, in), 1, (1 << 20) - 2);
	fclose(in);
	return text;
}

// CGN_DROP_X, or X as the last word of one of the lists above. Not as the begin of a longer name.
static bool mentions(const char *text, const char *prefix, const char *reason)
{
	char word[64];
	size_t n = (size_t)snprintf(word, sizeof(word), "%s%s", prefix, reason);

	for (const char *hit = strstr(text, word); hit; hit = strstr(hit + 1, word)) {
		if (hit[n] != '_' && !(hit[n] >= 'A' && hit[n] <= 'Z'))
			return true;
	}
	return false;
}

static void every_reason_of_the_list_is_met_by_a_test(void **state)
{
	static const char *const files[] = {"test_blocks.c", "test_forward.c", "test_frag.c",
		"test_hairpin.c", "test_filter.c", "test_icmp.c", "test_ipv6.c", "test_limits.c",
		"test_nd.c", "test_overload.c", "test_oversize.c", "test_portless.c",
		"test_source.c", "test_static.c", "test_tcp.c", "test_udp.c", "test_workers.c",
		"test_drops.c"};
	char *text[sizeof(files) / sizeof(*files)], path[512];
	const unsigned n = sizeof(files) / sizeof(*files);

	for (unsigned i = 0; i < n; i++) {
		snprintf(path, sizeof(path), PACKET_TESTS "/%s", files[i]);
		text[i] = text_of(path);
	}
	for (unsigned r = 0; r < CGN_DROP_COUNT; r++) {
		bool met = mentions(text[n - 1], ", ", reasons[r]);

		for (unsigned i = 0; i < n; i++)
			met = met || mentions(text[i], "CGN_DROP_", reasons[r]);
		for (unsigned i = 0; i < sizeof(exceptions) / sizeof(*exceptions); i++) {
			if (strcmp(exceptions[i].reason, reasons[r]))
				continue;
			assert_false(met);
			met = true;
		}
		if (!met)
			fail_msg("no test brings about %s", reasons[r]);
	}
	for (unsigned i = 0; i < n; i++)
		free(text[i]);
}

// Also where the sum has carries at every word, and the error is one of a carry (RFC 1812 5.2.2)
static void header_checksums_that_are_wrong_by_a_little(void **state)
{
	static const uint32_t sources[] = {S1, 0xc633ffff, 0xc633c0ff, 0xdfffffff};
	static const int by[] = {1, -1, 0x100, -0x100, 2, 0x200, 0x7fff};

	BED();
	for (unsigned i = 0; i < 2 * sizeof(sources) / sizeof(*sources); i++) {
		for (unsigned k = 0; k < sizeof(by) / sizeof(*by); k++) {
			struct frame in = udp(at(sources[i / 2], 53), at(X1, 5000));
			struct frame out = udp(at(0x6440ffffu, 5000), at(sources[i / 2], 53));

			if (i % 2) {
				in = with_df(in);
				out = with_df(out);
			}
			frame_ip(&in)->check =
				htons((uint16_t)(ntohs(frame_ip(&in)->check) + by[k]));
			frame_ip(&out)->check =
				htons((uint16_t)(ntohs(frame_ip(&out)->check) + by[k]));
			refuse_in(in, CGN_DROP_IP_CHECKSUM);
			refuse_out(out, CGN_DROP_IP_CHECKSUM);
		}
	}
}

BED_MAIN(TEST(malformed_frames), TEST(header_checksums_that_are_wrong_by_a_little),
	TEST(frames_in_more_than_one_buffer), TEST(malformed_arp),
	TEST(addresses_that_nobody_may_have), TEST(packets_that_are_not_carried),
	TEST(packets_without_route), TEST(packets_that_are_held_at_the_stop),
	TEST(every_reason_of_the_list_is_met_by_a_test))
