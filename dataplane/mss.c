// SPDX-License-Identifier: BSD-3-Clause
#include "mss.h"
#include <arpa/inet.h>
#include <string.h>
#include "csum.h"

enum { // RFC 9293 3.1
	OPTION_END = 0,
	OPTION_NOP = 1,
	OPTION_MSS = 2,
};

// At an odd offset the value is no 16-bit word of the sum, but the halves of two.
static void lower(uint8_t *tcp, uint8_t *value, uint16_t mss)
{
	const bool odd = (value - tcp) & 1;
	be16_t from, to = htons(mss), check;
	uint32_t diff;

	memcpy(&from, value, 2);
	if (ntohs(from) <= mss)
		return;
	memcpy(value, &to, 2);
	diff = odd ? csum_diff16(__builtin_bswap16(from), __builtin_bswap16(to))
		   : csum_diff16(from, to);
	memcpy(&check, tcp + 16, 2);
	check = csum_apply(check, diff);
	memcpy(tcp + 16, &check, 2);
}

void mss_clamp(uint8_t *tcp, uint16_t mss)
{
	uint8_t *o = tcp + 20, *end = tcp + (tcp[12] >> 4) * 4; // at most 40 bytes

	while (o < end && *o != OPTION_END) {
		if (*o == OPTION_NOP) {
			o++;
			continue;
		}
		if (end - o < 2 || o[1] < 2 || o[1] > end - o)
			return;
		if (*o == OPTION_MSS && o[1] == 4)
			lower(tcp, o + 2, mss);
		o += o[1];
	}
}
