// SPDX-License-Identifier: BSD-3-Clause
// TCP state of a session (RFC 7857 2, figure 1). The client is the internal side.
//
//   init         a SYN went one way; opening timer
//   established  a SYN went either way; established timer
//   client-fin, server-fin   one side has closed; established timer
//   both-fin     both have; closing timer, which any segment restarts (RFC 5382 REQ-5: four idle minutes)
//   transitory   a RST was seen (RFC 7857 2.2), or an established session ran out of time; closing
//                timer. Any further segment but RST, SYN and FIN brings it back to established,
//                once both sides have been heard (a session taken up midstream begins here).
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "batch.h"
#include "cgnat/dataplane.h"
#include "flow.h"

// True when a segment may change the state: everything but data and acknowledgements.
static inline bool tcp_matters(uint8_t state, uint8_t tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) || state == CGN_SESSION_TRANSITORY;
}

// Opened from outside and never answered by a segment but RST: knocking does not keep it alive
// (RFC 7857 7).
static inline bool tcp_unanswered(uint8_t flags)
{
	return (flags & (FLOW_INBOUND | FLOW_SYN_OUT)) == FLOW_INBOUND;
}

// The state after a segment; `flags` are the session's FLOW_SYN_*, changed with it.
uint8_t tcp_next(uint8_t state, uint8_t tcp_flags, bool outbound, uint8_t *flags);
