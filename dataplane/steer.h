// SPDX-License-Identifier: BSD-3-Clause
// Which worker an address belongs to: one function for devices and software. Devices hash the
// source address of what comes from the inside, the destination address of what comes from the
// outside, and nothing else (no ports: fragments, ICMP errors and ESP go where their flow goes).
//
// The function is a Toeplitz hash (what receive-side scaling of every device computes) with a key of
// six bits, which makes it six shifts of the address:
//
//     index  = the low bits of (address ^ address >> 3 ^ address >> 7 ^ ... >> 17)
//     slot   = the same bits in reverse order: the entry of a device's redirection table
//     worker = owner[index]; the table has the same worker at that slot
//
// Every aligned range of 2^n addresses has 2^n consecutive indexes, so dense ranges are spread
// evenly to within one; the other taps spread what is not dense (one host in each /24, ...).
//
// Thread: built by control, read by all. No DPDK here: devices are nic.c's.
#pragma once
#include <stddef.h>
#include <stdint.h>

#define STEER_BITS_MAX 9 // of an index. Devices with larger tables have each slot several times
#define STEER_BITS_MIN 6 // too few to share out equally below
#define STEER_SLOTS_MAX (1u << STEER_BITS_MAX)
#define STEER_KEY_MIN 40 // bytes of the shortest Toeplitz key of a device

struct steer {
	uint8_t bits; // that devices tell apart: the smallest redirection table has 2^bits slots
	uint8_t owner[STEER_SLOTS_MAX]; // worker, by index; with fewer bits it repeats
};

static inline uint32_t steer_index(uint32_t address)
{
	return (address ^ address >> 3 ^ address >> 7 ^ address >> 10 ^ address >> 11 ^
		       address >> 17) &
		(STEER_SLOTS_MAX - 1);
}

static inline uint32_t steer_worker(const struct steer *s, uint32_t address)
{
	return s->owner[steer_index(address)];
}

// Gives the indexes to n_workers in turn.
void steer_init(struct steer *s, unsigned bits, uint32_t n_workers);

// Gives all addresses with this index of s->bits bits to a worker.
void steer_give(struct steer *s, uint32_t index, uint32_t worker);

// The worker that slot `slot` of a redirection table of 2^s->bits slots, or a multiple, leads to.
uint32_t steer_slot_worker(const struct steer *s, uint32_t slot);

// What the device hashes.
enum steer_field {
	STEER_SOURCE, // source, destination, and perhaps ports behind them: only the source counts
	STEER_DESTINATION, // likewise, only the destination
	STEER_ALONE, // one address alone, at whatever offset of four bytes
};

// The key that makes a device with 2^bits slots or more compute the function, and spread IPv6;
// n_bytes >= STEER_KEY_MIN.
void steer_key(uint8_t *key, size_t n_bytes, unsigned bits, enum steer_field field);
