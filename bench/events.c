// SPDX-License-Identifier: BSD-3-Clause
#include "events.h"
#include <linux/perf_event.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

void events_open(struct events *e)
{
	static const uint64_t config[EVENTS] = {
		PERF_COUNT_HW_INSTRUCTIONS, PERF_COUNT_HW_CACHE_MISSES};

	for (unsigned i = 0; i < EVENTS; i++) {
		struct perf_event_attr attr = {.type = PERF_TYPE_HARDWARE,
			.size = sizeof(attr),
			.config = config[i],
			.disabled = 1,
			.exclude_kernel = 1,
			.exclude_hv = 1};

		e->fd[i] =
			(int)syscall(SYS_perf_event_open, &attr, 0, -1, -1, PERF_FLAG_FD_CLOEXEC);
	}
}

static void control(const struct events *e, unsigned long what)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		if (e->fd[i] >= 0)
			ioctl(e->fd[i], what, 0);
	}
}

void events_start(const struct events *e)
{
	control(e, PERF_EVENT_IOC_ENABLE);
}

void events_stop(const struct events *e)
{
	control(e, PERF_EVENT_IOC_DISABLE);
}

bool events_read(const struct events *e, enum event event, uint64_t *n)
{
	return e->fd[event] >= 0 && read(e->fd[event], n, sizeof(*n)) == sizeof(*n) && *n;
}

void events_close(struct events *e)
{
	for (unsigned i = 0; i < EVENTS; i++) {
		if (e->fd[i] >= 0)
			close(e->fd[i]);
		e->fd[i] = -1;
	}
}
