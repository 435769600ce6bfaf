// SPDX-License-Identifier: BSD-3-Clause
// cgnatd: reads its arguments and its configuration, starts the dataplane, answers the control
// socket until a signal ends it.
#include "blockfile.h"
#include "cgnat/dataplane.h"
#include "cgnat/log.h"
#include "config.h"
#include "det_log.h"
#include "listener.h"
#include "notify.h"
#include "refusals.h"
#include "server.h"
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#define EXIT_USAGE 2

static const char usage[] =
	"usage: cgnatd -c FILE        run with this configuration\n"
	"       cgnatd --check FILE   check it and exit: 0 good, 1 bad\n"
	"       cgnatd --version\n"
	"       cgnatd --help\n"
	"\n"
	"cgnatd stays in the foreground and logs to stderr; CGNAT_LOG=debug says more.\n"
	"SIGTERM and SIGINT stop it.\n";

struct options {
	const char *config;
	bool check;
};

static uint64_t clock_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

// Returns -1 to go on, else the exit status.
static int read_arguments(int argc, char **argv, struct options *o)
{
	static const struct option longs[] = {
		{"config", required_argument, NULL, 'c'},
		{"check", required_argument, NULL, 'k'},
		{"version", no_argument, NULL, 'V'},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	int option;

	while ((option = getopt_long(argc, argv, "c:hV", longs, NULL)) != -1) {
		switch (option) {
		case 'c':
		case 'k':
			if (o->config) {
				fprintf(stderr, "cgnatd: one of -c and --check, once\n%s", usage);
				return EXIT_USAGE;
			}
			o->config = optarg;
			o->check = option == 'k';
			break;
		case 'V':
			printf("cgnatd %s\n", CGN_VERSION);
			return EXIT_SUCCESS;
		case 'h':
			fputs(usage, stdout);
			return EXIT_SUCCESS;
		default:
			fputs(usage, stderr);
			return EXIT_USAGE;
		}
	}
	if (!o->config || optind < argc) {
		fputs(usage, stderr);
		return EXIT_USAGE;
	}
	return -1;
}

static struct cgn_config *load(const char *path, unsigned *n_errors)
{
	struct config_warnings warnings = {0};
	struct cgn_config *config = config_load(path, stderr, n_errors, &warnings);

	for (unsigned i = 0; i < warnings.n; i++)
		LOG(WARNING, "%s", warnings.lines[i]);
	config_warnings_free(&warnings);
	return config;
}

static int check(const char *path)
{
	struct cgn_config *config = load(path, NULL);

	if (!config)
		return EXIT_FAILURE;
	cgn_config_free(config);
	printf("%s: ok\n", path);
	return EXIT_SUCCESS;
}

// Signals are read, not caught. Blocked before DPDK makes its threads, which inherit that.
static int take_signals(void)
{
	sigset_t set;

	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	if (sigprocmask(SIG_BLOCK, &set, NULL))
		return -errno;
	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}

// True when the daemon is to stop.
static bool read_signals(int fd)
{
	struct signalfd_siginfo info;
	bool stop = false;

	while (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
		if (info.ssi_signo == SIGHUP)
			LOG(WARNING, "reload: not supported yet, the running configuration stays");
		else
			stop = true;
	}
	return stop;
}

static void notify(const char *state)
{
	int rc = notify_send(state);

	if (rc)
		LOG(WARNING, "systemd: cannot be told %s: %s", state, strerror(-rc));
}

static int sooner_ms(int a, int b) // -1: never
{
	return a < 0 || (b >= 0 && b < a) ? b : a;
}

// What the log gets by itself. Returns how long poll() may wait for the next of it.
static int log_step(
	struct det_log *records, struct refusals *refusals, const struct control *control)
{
	static struct cgn_counters sum;
	const uint64_t now_ns = clock_ns();

	det_log_step(records, control->config, now_ns, time(NULL));
	if (!refusals_timeout_ms(refusals, now_ns)) {
		cgn_dataplane_counters(control->dp, CGN_ALL_WORKERS, &sum);
		refusals_look(refusals, control->config, &sum, now_ns);
	}
	return sooner_ms(det_log_timeout_ms(records, control->config, now_ns),
		refusals_timeout_ms(refusals, now_ns));
}

// Returns the exit status.
static int serve(struct server *server, const struct control *control, int signal_fd)
{
	struct det_log records = {0};
	static struct refusals refusals;
	struct pollfd fds[] = {
		{.fd = signal_fd, .events = POLLIN},
		{.fd = server_fd(server), .events = POLLIN},
	};

	for (;;) {
		const int log_ms = log_step(&records, &refusals, control);
		const int timeout_ms = sooner_ms(server_timeout_ms(server, clock_ns()), log_ms);

		if (poll(fds, 2, timeout_ms) < 0 && errno != EINTR) {
			LOG(ERROR, "poll: %s", strerror(errno));
			return EXIT_FAILURE;
		}
		if ((fds[0].revents & POLLIN) && read_signals(signal_fd))
			return EXIT_SUCCESS;
		server_step(server, clock_ns());
	}
}

// From here on a failure is one log line. The socket is claimed first: of two daemons with one
// configuration the second must not touch the devices. Clients wait until packets can flow.
static int run(const struct cgn_config *config, int signal_fd)
{
	struct control control = {.config = config, .generation = 1, .started_ns = clock_ns()};
	struct listener listener;
	struct server *server;
	struct blockfile blocks;
	char err[512] = "";
	int rc, status = EXIT_FAILURE;

	if (listener_open(&listener, config->control.socket, err, sizeof(err))) {
		LOG(ERROR, "%s", err);
		return EXIT_FAILURE;
	}
	if (blockfile_open(&blocks, config->control.socket, cgn_dataplane_blocks(config), err,
		    sizeof(err))) {
		LOG(ERROR, "%s", err);
		goto err_listener;
	}
	rc = cgn_dataplane_start(config, &blocks.memory, &control.dp, err, sizeof(err));
	if (rc) {
		LOG(ERROR, "dataplane: %s", *err ? err : strerror(-rc));
		goto err_blocks;
	}
	if (blockfile_commit(&blocks, err, sizeof(err))) {
		LOG(ERROR, "%s", err);
		goto err_dataplane;
	}
	rc = server_create(&control, listener.fd, &server);
	if (rc) {
		LOG(ERROR, "control socket: %s", strerror(-rc));
		goto err_dataplane;
	}
	LOG(NOTICE, "cgnatd: started version=%s workers=%u socket=%s", CGN_VERSION,
		config->runtime.n_workers, listener.path);
	notify("READY=1");
	status = serve(server, &control, signal_fd);
	notify("STOPPING=1");
	LOG(NOTICE, "cgnatd: stopping");

	server_destroy(server); // ends the open walks
err_dataplane:
	listener_close(&listener);
	cgn_dataplane_stop(control.dp);
	blockfile_close(&blocks);
	if (status == EXIT_SUCCESS)
		LOG(NOTICE, "cgnatd: stopped");
	return status;
err_blocks:
	blockfile_close(&blocks);
err_listener:
	listener_close(&listener);
	return status;
}

int main(int argc, char **argv)
{
	struct options options = {0};
	unsigned n_errors = 0;
	int status = read_arguments(argc, argv, &options);

	if (status >= 0)
		return status;
	cgn_log_init();
	if (options.check)
		return check(options.config);

	int signal_fd = take_signals();
	if (signal_fd < 0) {
		LOG(ERROR, "signals: %s", strerror(-signal_fd));
		return EXIT_FAILURE;
	}
	struct cgn_config *config = load(options.config, &n_errors);
	if (!config) {
		LOG(ERROR, "config: %s is not usable errors=%u", options.config, n_errors);
		close(signal_fd);
		return EXIT_FAILURE;
	}
	status = run(config, signal_fd);
	cgn_config_free(config);
	close(signal_fd);
	return status;
}
