// SPDX-License-Identifier: BSD-3-Clause
// Was the core ours alone? What the kernel tells about the thread that asks: context switches of the
// thread, and time that the hypervisor gave to others on the CPU it runs on.
#pragma once
#include <stdint.h>

struct own {
	uint64_t switches; // voluntary or not
	uint64_t steal_ms; // of the CPU, in steps of 10 ms; 0 where the kernel does not know
};

// Now; callers subtract.
struct own own_now(void);

// Only the switches: cheap enough for every round.
uint64_t own_switches(void);
