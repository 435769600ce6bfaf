// SPDX-License-Identifier: BSD-3-Clause
// Every way a packet is refused, in the order of the path. This list is the only one: the enum,
// the counters, "cgnatctl show drops" and the docs come from it, and readers match by name.
//   X(NAME, text)
#pragma once

#define CGN_DROPS(X) \
	X(FRAME_TOO_SHORT, "the frame ends inside its Ethernet or IP header") \
	X(FRAME_SEGMENTED, "the frame came in several buffers") \
	X(VLAN_MISMATCH, "the frame's VLAN is not the interface's") \
	X(NOT_FOR_US, "the frame is for another MAC address") \
	X(L2_MULTICAST, \
		"IPv4, or IPv6 to a single host, in an Ethernet broadcast or multicast frame") \
	X(ETHERTYPE, "neither IPv4, IPv6 nor ARP") \
	X(ARP_INVALID, "malformed ARP") \
	X(IP_VERSION, \
		"IP version is not 4, or its header is shorter than 20 bytes (RFC 1812 5.2.2)") \
	X(IP_LENGTH, \
		"total length is less than the header or more than the frame (RFC 1812 5.2.2)") \
	X(IP_CHECKSUM, "bad IPv4 header checksum (RFC 1812 5.2.2)") \
	X(IP_SOURCE, \
		"source is multicast, broadcast, loopback, zero or one of our own (RFC 1812 5.3.7)") \
	X(SOURCE_NOT_INSIDE, \
		"from an internal interface, and no route inside leads back (RFC 1812 5.3.8)") \
	X(SOURCE_NOT_OUTSIDE, \
		"from an external interface, with a source that is inside (RFC 1812 5.3.8)") \
	X(IP_DESTINATION, \
		"destination is multicast, broadcast, loopback or zero (RFC 1812 5.3.7)") \
	X(IP_SOURCE_ROUTE, "source-route option") \
	X(FRAG_INVALID, \
		"malformed fragment: empty, not in units of 8 bytes, past the end, TCP from byte 8, " \
		"or of an ICMP message other than echo (RFC 791, RFC 1858)") \
	X(FRAG_TINY, "the first fragment does not hold the whole L4 header (RFC 1858)") \
	X(FRAG_OVERLAP, "overlaps or repeats a fragment of its datagram (RFC 1858)") \
	X(FRAG_NO_HEAD, "the first fragment never came (RFC 4787 REQ-14)") \
	X(FRAG_HEAD_DROPPED, "the first fragment of its datagram was dropped") \
	X(FRAG_DATAGRAM_LIMIT, \
		"too many fragments of one datagram wait, or they leave too many gaps") \
	X(FRAG_SOURCE_LIMIT, \
		"too many fragments, or incomplete datagrams, of one source (RFC 4787 REQ-14a)") \
	X(FRAG_STORE_FULL, "no room for fragments of this direction (RFC 4787 REQ-14a)") \
	X(PROTOCOL, \
		"neither TCP, UDP nor ICMP, nor in the policy's portless-protocols (RFC 6888 REQ-1)") \
	X(L4_LENGTH, "too short for its TCP, UDP or ICMP header") \
	X(ICMP_TYPE, "ICMP type that is never translated (RFC 5508 REQ-10, REQ-11)") \
	X(ICMP_CHECKSUM, "ICMP error with a bad checksum (RFC 5508 REQ-3)") \
	X(ICMP_QUOTE, "ICMP error quotes a malformed or untranslatable packet (RFC 5508 REQ-3)") \
	X(ICMP_NO_MAPPING, "ICMP error about a packet of no mapping (RFC 5508 REQ-4, REQ-5)") \
	X(LOCAL_UNSUPPORTED, "for one of our own addresses, and not a whole echo request") \
	X(LOCAL_RATE, "echo request to us beyond the rate we answer") \
	X(TTL_EXPIRED, "TTL ran out here (RFC 1812 5.3.1)") \
	X(POLICY_NONE, "no policy matches") \
	X(POLICY_DROP, "a policy with action drop matches") \
	X(INTERNAL_TO_INTERNAL, "from an internal interface to an internal destination") \
	X(EXTERNAL_TO_EXTERNAL, "from an external interface to no address of ours") \
	X(HAIRPIN_OFF, \
		"hairpinning is off in the policy, or to the sender's own address without ports") \
	X(TCP_NO_SESSION, "TCP without SYN and without session") \
	X(ICMP_NO_SESSION, "inbound echo for which no query went out") \
	X(NO_MAPPING, "inbound to a pool address and port that nobody holds") \
	X(FILTERED, \
		"inbound to a mapping whose filtering does not let this remote in (RFC 4787 REQ-8)") \
	X(PORTLESS_TAKEN, \
		"another subscriber of this external address has this protocol with this remote") \
	X(PORTLESS_FULL, "the room for sessions of protocols without ports is full") \
	X(OVERLOAD_NEW, \
		"would open a session while there is more to receive than the worker can treat: " \
		"established ones come first") \
	X(SUBSCRIBER_TABLE_FULL, \
		"max-subscribers reached, or twice as many with those whose blocks rest") \
	X(SESSION_TABLE_FULL, "max-sessions reached") \
	X(INBOUND_TABLE_FULL, \
		"a session from outside, when the last eighth of max-sessions is kept for subscribers") \
	X(STATIC_SESSIONS_FULL, "the room for sessions of static mappings is full") \
	X(INDEX_FULL, "no room in a hash bucket and none could be made") \
	X(MAPPING_LIMIT, \
		"the subscriber is at its mapping limit, of all protocols or of this one (RFC 6888 REQ-4)") \
	X(SESSION_LIMIT, "the subscriber is at its session limit (RFC 6888 REQ-5)") \
	X(MAPPING_SESSION_LIMIT, "the mapping is at its session limit (RFC 6888 REQ-5)") \
	X(RATE_LIMIT, "the subscriber opens sessions too fast (RFC 6888 REQ-4)") \
	X(BLOCK_LIMIT, \
		"all ports of the subscriber's max-blocks are in use or resting (RFC 6888 REQ-4)") \
	X(FIRST_BLOCK_RESERVE, "the pool's free blocks are kept for subscribers without one") \
	X(ADDRESS_FULL, "the subscriber's paired address has no free block (RFC 7857 4)") \
	X(POOL_FULL, "no address of the pool has a free block") \
	X(IPV6_OFF, "IPv6 on an interface without IPv6 address") \
	X(IPV6_HEADER, \
		"IP version is not 6, or the payload is longer than the frame or than 65535 bytes " \
		"(RFC 8200 3)") \
	X(IPV6_SOURCE, \
		"IPv6 source is no host's, one of our own, or not of the side it came from (RFC 2827)") \
	X(IPV6_MULTICAST, \
		"IPv6 multicast other than neighbour discovery and echo requests to all nodes") \
	X(IPV6_ND_INVALID, "malformed neighbour discovery (RFC 4861 7.1)") \
	X(IPV6_LOCAL, \
		"IPv6 to us, and neither neighbour discovery nor an echo request without extension " \
		"headers") \
	X(IPV6_CHECKSUM, "IPv6 echo request to us with a bad checksum") \
	X(IPV6_SCOPE, "from or to a link-local address of another host (RFC 4291 2.5.6)") \
	X(IPV6_DESTINATION, "IPv6 destination is no host's") \
	X(IPV6_HOP_LIMIT, "IPv6 hop limit ran out here (RFC 8200 3)") \
	X(IPV6_NO_ROUTE, "no IPv6 route to the destination") \
	X(IPV6_LOOP, "IPv6 that would leave by the external interface it came in by") \
	X(IPV6_TOO_BIG, "IPv6 packet too big for the outgoing interface (RFC 8200 5)") \
	X(NO_ROUTE, "no route to the destination") \
	X(MTU_EXCEEDED, "too big for the outgoing interface, and not to be fragmented") \
	X(FRAG_NO_BUFFER, "no packet buffers to fragment what is too big for the interface") \
	X(NEIGHBOUR_TABLE_FULL, "no room for another neighbour") \
	X(NEIGHBOUR_QUEUE_FULL, "too many packets wait for this neighbour's MAC address") \
	X(NEIGHBOUR_UNRESOLVED, "the neighbour did not answer ARP or neighbour discovery") \
	X(HANDOFF_FULL, "the ring to the owning worker is full") \
	X(TX_FULL, "the transmit queue did not take it") \
	X(STOPPED, "was held when the daemon stopped")

enum cgn_drop {
#define X(name, text) CGN_DROP_##name,
	CGN_DROPS(X)
#undef X
	CGN_DROP_COUNT,
};

// Reasons that are also counted per subscriber ("show subscribers").
#define CGN_SUBSCRIBER_DROPS(X) \
	X(SESSION_TABLE_FULL) \
	X(SESSION_LIMIT) \
	X(RATE_LIMIT) \
	X(BLOCK_LIMIT) \
	X(ADDRESS_FULL) \
	X(MAPPING_LIMIT) \
	X(MAPPING_SESSION_LIMIT) \
	X(FIRST_BLOCK_RESERVE) \
	X(PORTLESS_TAKEN)

enum cgn_subscriber_drop {
#define X(name) CGN_SUBSCRIBER_DROP_##name,
	CGN_SUBSCRIBER_DROPS(X)
#undef X
	CGN_SUBSCRIBER_DROP_COUNT,
};
