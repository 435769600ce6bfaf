// SPDX-License-Identifier: BSD-3-Clause
// control-fake FILE [sessions|silent|mute [N]]: the control socket of cgnatd, with everything
// behind it made up. For tests of cgnatctl. SIGTERM ends it.
//   sessions N  how many sessions there are
//   silent      no list ever gets a record
//   mute        connections are never answered
#include "../../control/config.h"
#include "../../control/listener.h"
#include "../../control/server.h"
#include "fake_dataplane.h"
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static volatile sig_atomic_t stopped;

static void on_signal(int signal_number)
{
	stopped = 1;
}

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void serve(const struct control *control, int fd)
{
	struct server *server;

	if (server_create(control, fd, &server))
		exit(EXIT_FAILURE);
	while (!stopped) {
		struct pollfd pfd = {.fd = server_fd(server), .events = POLLIN};
		int timeout_ms = server_timeout_ms(server, clock_ns());

		poll(&pfd, 1, timeout_ms < 0 || timeout_ms > 100 ? 100 : timeout_ms);
		server_step(server, clock_ns());
	}
	server_destroy(server);
}

int main(int argc, char **argv)
{
	struct listener listener;
	char err[256] = "";

	if (argc < 2)
		return 2;
	signal(SIGTERM, on_signal);
	signal(SIGPIPE, SIG_IGN);
	fake_reset();
	if (argc == 4 && !strcmp(argv[2], "sessions"))
		fake.n[CGN_WALK_SESSIONS] = strtoull(argv[3], NULL, 10);
	fake.silent = argc == 3 && !strcmp(argv[2], "silent");

	struct cgn_config *config = config_load(argv[1], stderr, NULL, NULL);
	struct control control = {.config = config, .generation = 1, .started_ns = clock_ns()};
	if (!config || listener_open(&listener, config->control.socket, err, sizeof(err)) ||
		cgn_dataplane_start(config, NULL, &control.dp, err, sizeof(err))) {
		fprintf(stderr, "%s\n", err);
		return EXIT_FAILURE;
	}
	puts("ready");
	fflush(stdout);
	if (argc == 3 && !strcmp(argv[2], "mute"))
		while (!stopped)
			poll(NULL, 0, 100);
	else
		serve(&control, listener.fd);
	listener_close(&listener);
	cgn_dataplane_stop(control.dp);
	cgn_config_free(config);
	return EXIT_SUCCESS;
}
