// SPDX-License-Identifier: BSD-3-Clause
// Clamping the MSS that the ends of a TCP connection announce to each other (tcp-mss-clamp), for
// access networks whose path MTU is less than either end believes.
#pragma once
#include <stdint.h>

// Lowers the MSS option of a SYN to `mss` where it is larger; never raises or adds one. `tcp` is a TCP
// header whose data offset is at least 20 and within the packet. Options from the first malformed one
// on are left as they are. The checksum is updated by the difference.
void mss_clamp(uint8_t *tcp, uint16_t mss);
