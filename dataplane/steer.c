// SPDX-License-Identifier: BSD-3-Clause
#include "steer.h"
#include <stdbool.h>
#include <string.h>

void steer_init(struct steer *s, unsigned bits, uint32_t n_workers)
{
	s->bits = (uint8_t)bits;
	for (uint32_t i = 0; i < STEER_SLOTS_MAX; i++)
		s->owner[i] = (uint8_t)((i & ((1u << bits) - 1)) % n_workers);
}

void steer_give(struct steer *s, uint32_t index, uint32_t worker)
{
	for (uint32_t i = index; i < STEER_SLOTS_MAX; i += 1u << s->bits)
		s->owner[i] = (uint8_t)worker;
}

uint32_t steer_slot_worker(const struct steer *s, uint32_t slot)
{
	uint32_t index = 0;

	for (unsigned i = 0; i < s->bits; i++)
		index |= (slot >> i & 1) << (s->bits - 1 - i);
	return s->owner[index];
}

// A Toeplitz hash adds (xor) the 32 key bits from i on for each bit i of the input that is set,
// counted from the most significant one. A slot is the low `bits` of it, so key bit p takes input
// bit p - 31 to the lowest bit of the slot, the one behind it to the next bit, and so on. Of an
// address at input bit `at`, the bit 2^q is at + 31 - q: the key bit at + 63 - bits - t is the tap
// that adds address >> t, reversed. No other key bit reaches the slot from this address, and
// none of these bits is reached from its neighbours.
//
// The longest input with an IPv4 address is 128 bits (SCTP, with its tag), which reach 159 bits of
// the key. Bits behind those are for IPv6, which has no owner: its destinations are spread at random.
#define KEY_IPV4_BYTES 20
void steer_key(uint8_t *key, size_t n_bytes, unsigned bits, enum steer_field field)
{
	static const uint8_t taps[] = {0, 3, 7, 10, 11, 17}; // those of steer_index()
	const size_t n_bits = n_bytes * 8;

	memset(key, 0, KEY_IPV4_BYTES);
	for (size_t i = KEY_IPV4_BYTES; i < n_bytes; i++)
		key[i] = field == STEER_ALONE
			? 0
			: (uint8_t)((i * 0x9e3779b1u ^ i * i * 0x85ebcau) >> 11);
	for (unsigned i = 0; i < sizeof(taps); i++) {
		size_t p = 63 - bits - taps[i], end = p + 1;

		if (field == STEER_DESTINATION) {
			p += 32;
			end = p + 1;
		} else if (field == STEER_ALONE) { // every 32 bits, so the offset does not matter
			p %= 32;
			end = n_bits;
		}
		for (; p < end; p += 32)
			key[p / 8] |= (uint8_t)(0x80 >> p % 8);
	}
}
