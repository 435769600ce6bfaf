// SPDX-License-Identifier: BSD-3-Clause
// Test bed: workers as the daemon makes them, between two interfaces made of memory, with a clock
// that the test moves. Frames in, frames out, exact counter changes.
//
//   inside   10.255.0.1/24; subscribers of 100.64.0.0/10 behind the router 10.255.0.2
//   outside  192.0.2.2/24; everything behind the router 192.0.2.1
//   pool p   203.0.113.1-203.0.113.4, blocks of 64 ports
//
// The bed checks by itself: every frame that comes out (lengths, all checksums, MAC addresses, VLAN),
// after every step that each packet is accounted for, and at the end of a test that all state has
// gone with its timers and no buffer is lost.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <arpa/inet.h>
#include <string.h>
#include "cgnat/counters.h"
#include "cgnat/dataplane.h"
#include "frame.h"
#include "frame6.h"
#include "worker.h"

enum {
	INSIDE,
	OUTSIDE,
	BED_INTERFACES,
};

#define ALICE 0x64400005u // 100.64.0.5
#define BOB 0x64400006u
#define CAROL 0x64400007u
#define S1 0xc6336401u // 198.51.100.1
#define S2 0xc6336402u
#define X1 0xcb007101u // 203.0.113.1, the first pool address
#define US_INSIDE 0x0aff0001u
#define ROUTER_INSIDE 0x0aff0002u
#define US_OUTSIDE 0xc0000202u
#define ROUTER_OUTSIDE 0xc0000201u

// YAML; NULL or 0 stands for what is written above.
struct bed_options {
	unsigned workers;
	const char *inside, *outside; // keys of the interface: addresses, routes, mtu, vlan
	const char *pools, *policies; // lists
	const char *more; // further sections
	unsigned sessions, subscribers; // runtime.max-...; 0: 4096 and 64
	unsigned ring; // slots of a hand-off ring; 0: as the daemon has
	unsigned tx_queues; // per interface; 0: one per worker
	bool spread; // every worker has a receive queue; frames are dealt out in turn
	bool manual_arp; // the bed answers neither ARP nor neighbour discovery: the test does
	const struct cgn_block_memory *memory; // of the block table
};

struct bed {
	struct bed_options options;
	struct worker *worker[CGN_WORKERS_MAX];
	unsigned n_workers;
	uint64_t now_ns;
	int tx_room[BED_INTERFACES]; // frames that the device takes from now on; -1: all
	bool segmented; // frames arrive in two buffers
	bool bad_l4; // frames that come out may have a wrong L4 checksum
	bool unchecked; // frames that come out may be anything: the test compares them
	void (*failed)(const char *text); // instead of ending the test; does not return
};
extern struct bed bed;

#define TEST(name) cmocka_unit_test_teardown(name, bed_teardown)
bool bed_begin(void); // DPDK and its buffers, once in a process
void bed_end(void);
int bed_main(const struct CMUnitTest *tests, size_t n, const char *name);
#define BED_MAIN(...) \
	int main(void) \
	{ \
		const struct CMUnitTest tests[] = {__VA_ARGS__}; \
		return bed_main(tests, sizeof(tests) / sizeof(*tests), __FILE__); \
	}

void bed_open(const struct bed_options *options);
int bed_teardown(void **state);
#define BED(...) bed_open(&(struct bed_options){__VA_ARGS__})

// ---- one by one: put frames in, run, take frames out

void bed_put(unsigned ifc, struct frame f);
void bed_put_raw(unsigned ifc, const struct frame *f); // MAC addresses as they are
void bed_put_at(unsigned ifc, unsigned worker, const struct frame *f); // raw; with `spread`
void bed_run(void); // until nothing moves any more
void bed_poll(unsigned worker); // one turn of one worker
bool bed_take(unsigned ifc, struct frame *f); // the next frame that came out
unsigned bed_waiting(unsigned ifc); // frames that came out and were not taken

// Moves the clock, second by second.
void bed_wait_quietly(uint32_t seconds);
void bed_wait_ms(uint32_t ms); // in one step

// ---- in one go; failures name the line of the test

void bed_at(const char *file, int line);
void bed_fail(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
struct frame bed_pass(unsigned from, unsigned to, struct frame f);
void bed_refuse(unsigned from, struct frame f, enum cgn_drop reason);
struct frame bed_expect(unsigned ifc);
void bed_expect_nothing(void);
void bed_counted(const struct cgn_counters *change);
struct cgn_counters bed_sum(void);

#define HERE() bed_at(__FILE__, __LINE__)
// In on one side: exactly this one frame comes out on the other, TTL one less, else untouched but for
// endpoints and checksums.
#define pass_out(f) (HERE(), bed_pass(INSIDE, OUTSIDE, f))
#define pass_in(f) (HERE(), bed_pass(OUTSIDE, INSIDE, f))
#define hairpin(f) (HERE(), bed_pass(INSIDE, INSIDE, f))
// Nothing comes out, one packet is counted as dropped for `reason`, and nothing else.
#define refuse_out(f, reason) (HERE(), bed_refuse(INSIDE, f, reason))
#define refuse_in(f, reason) (HERE(), bed_refuse(OUTSIDE, f, reason))
// The next frame out of an interface; it must be there.
#define expect_frame(ifc) (HERE(), bed_expect(ifc))
#define expect_nothing() (HERE(), bed_expect_nothing())
// Every counter and drop changed by exactly this since the last such check, or bed_open(). Bytes are
// checked by the bed, gauges are not compared; what the bed answered by itself is left out.
#define COUNTED(...) (HERE(), bed_counted(&(struct cgn_counters){__VA_ARGS__}))
#define bed_wait(seconds) (HERE(), bed_wait_quietly(seconds))
#define assert_endpoint(got, want) (HERE(), bed_same_endpoint(got, want))
void bed_same_endpoint(struct endpoint got, struct endpoint want);

// An ICMP error of our own or translated: type, code, from, to, and what it quotes, compared with
// `about` up to what is there (checksums apart from those the bed checks: exactly equal bytes).
void bed_is_error(
	struct frame f, uint8_t type, uint8_t code, uint32_t from, uint32_t to, struct frame about);
#define assert_error(f, type, code, from, to, about) \
	(HERE(), bed_is_error(f, type, code, from, to, about))

// ---- walks, as control does them

struct worker_walk *bed_walk_start(
	unsigned worker, enum cgn_walk_kind kind, const struct cgn_filter *filter);
bool bed_walk_take(struct worker_walk *walk, struct cgn_walk_record *out); // what is ready

// Gauges of now.
#define gauge(name) (bed_sum().name)
