// SPDX-License-Identifier: BSD-3-Clause
#include "tcp.h"

static uint8_t after_fin(uint8_t state, bool outbound)
{
	switch (state) {
	case CGN_SESSION_CLIENT_FIN:
		return outbound ? CGN_SESSION_CLIENT_FIN : CGN_SESSION_BOTH_FIN;
	case CGN_SESSION_SERVER_FIN:
		return outbound ? CGN_SESSION_BOTH_FIN : CGN_SESSION_SERVER_FIN;
	case CGN_SESSION_ESTABLISHED:
	case CGN_SESSION_TRANSITORY:
		return outbound ? CGN_SESSION_CLIENT_FIN : CGN_SESSION_SERVER_FIN;
	default:
		return state;
	}
}

static uint8_t after_syn(uint8_t state, uint8_t tcp_flags, bool outbound, uint8_t *flags)
{
	uint8_t both = FLOW_SYN_OUT | FLOW_SYN_IN;

	if ((state == CGN_SESSION_BOTH_FIN || state == CGN_SESSION_TRANSITORY) &&
		!(tcp_flags & TCP_ACK)) { // the endpoints use their ports again
		*flags &= (uint8_t)~both;
		state = CGN_SESSION_INIT;
	}
	*flags |= outbound ? FLOW_SYN_OUT : FLOW_SYN_IN;
	if (state == CGN_SESSION_INIT && (*flags & both) == both)
		return CGN_SESSION_ESTABLISHED; // three-way or simultaneous open (RFC 5382 REQ-2)
	return state;
}

uint8_t tcp_next(uint8_t state, uint8_t tcp_flags, bool outbound, uint8_t *flags)
{
	if (tcp_flags & TCP_RST)
		return CGN_SESSION_TRANSITORY;
	if (tcp_flags & TCP_SYN)
		return after_syn(state, tcp_flags, outbound, flags);
	if (tcp_flags & TCP_FIN)
		return after_fin(state, outbound);
	if (state != CGN_SESSION_TRANSITORY)
		return state;
	*flags |= outbound ? FLOW_SYN_OUT : FLOW_SYN_IN;
	return (*flags & (FLOW_SYN_OUT | FLOW_SYN_IN)) == (FLOW_SYN_OUT | FLOW_SYN_IN)
		? CGN_SESSION_ESTABLISHED
		: CGN_SESSION_TRANSITORY;
}
