// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> // needs those above it

#include "../../control/config.h"
#include "../../control/listener.h"
#include "../../control/notify.h"
#include "../../control/server.h"
#include "cgnat/ctl.h"
#include "fake_dataplane.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define SEC 1000000000ull
#define STATUS "{\"id\": 1, \"command\": \"status\"}\n"
#define SESSIONS "{\"id\": 2, \"command\": \"show sessions\"}\n"

static char dir[64], path[96], err[256];
static struct control control;
static struct listener listener;
static struct server *server;
static uint64_t now_ns;

static int setup(void **state)
{
	strcpy(dir, "/tmp/cgnat-test-XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/run/cgnatd.sock", dir);
	fake_reset();
	control = (struct control){.generation = 1};
	control.config = config_parse("test", FAKE_YAML, strlen(FAKE_YAML), stderr, NULL, NULL);
	assert_non_null(control.config);
	assert_int_equal(
		cgn_dataplane_start(control.config, NULL, &control.dp, err, sizeof(err)), 0);
	assert_int_equal(listener_open(&listener, path, err, sizeof(err)), 0);
	assert_int_equal(server_create(&control, listener.fd, &server), 0);
	now_ns = 100 * SEC;
	return 0;
}

static int teardown(void **state)
{
	if (server)
		server_destroy(server);
	assert_int_equal(fake.walks_open, 0);
	listener_close(&listener);
	assert_int_equal(access(path, F_OK), -1);
	cgn_dataplane_stop(control.dp);
	cgn_config_free((struct cgn_config *)control.config);
	*strrchr(path, '/') = 0;
	rmdir(path);
	assert_int_equal(rmdir(dir), 0); // nothing else was left behind
	return 0;
}

static void step(unsigned n)
{
	while (n-- > 0)
		server_step(server, now_ns);
}

static int dial(void)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	step(2);
	return fd;
}

static void say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

// What the server says within `steps` steps, at most `max` bytes.
static char *hear(int fd, unsigned steps, size_t max)
{
	char *all = calloc(1, max + 1);
	size_t len = 0;

	while (steps-- > 0) {
		step(1);
		ssize_t n;
		while (len < max && (n = recv(fd, all + len, max - len, 0)) > 0)
			len += (size_t)n;
	}
	return all;
}

// Hears an answer that contains `expected`.
static void expect(int fd, const char *expected)
{
	char *heard = hear(fd, 4, 65536);

	if (!strstr(heard, expected))
		fail_msg("'%s' is not in '%s'", expected, heard);
	free(heard);
}

static bool is_closed(int fd)
{
	char byte;

	step(2);
	return recv(fd, &byte, 1, 0) == 0;
}

// ---- clients

static void a_request_is_answered(void **state)
{
	int fd = dial();

	say(fd, STATUS);
	expect(fd, "{\"id\":1,\"result\":{\"version\":");
	assert_int_equal(server_timeout_ms(server, now_ns), -1); // nothing to do: no timer runs
	close(fd);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	int fd = dial();

	say(fd,
		"{\"id\": 1, \"command\": \"status\"}\n{\"id\": 2, \"command\": \"show sessions\"}\n"
		"{\"id\": 3, \"command\": \"show blocks\"}\nnonsense\n{\"id\": 5, \"command\": \"status\"}\n");
	char *heard = hear(fd, 20, 1 << 20), *at = heard;
	static const char *const order[] = {"{\"id\":1,\"result\"", "{\"id\":2,\"items\"",
		"{\"id\":2,\"done\"", "{\"id\":3,\"items\"", "{\"id\":3,\"done\"",
		"{\"id\":null,\"error\"", "{\"id\":5,\"result\""};
	for (unsigned i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		at = strstr(at, order[i]);
		assert_non_null(at);
	}
	free(heard);
	close(fd);
}

static void half_a_line_waits_for_the_rest(void **state)
{
	int fd = dial();

	say(fd, "{\"id\": 1, \"comm");
	step(3);
	assert_int_equal(server_timeout_ms(server, now_ns), -1);
	say(fd, "and\": \"status\"}");
	step(3);
	say(fd, "\n");
	expect(fd, "{\"id\":1,\"result\"");
	close(fd);
}

static void a_client_that_has_said_all_still_gets_its_answers(void **state)
{
	int fd = dial();

	say(fd, STATUS SESSIONS "{\"half");
	shutdown(fd, SHUT_WR);
	char *heard = hear(fd, 20, 1 << 20);
	assert_non_null(strstr(heard, "{\"id\":2,\"done\":true}\n"));
	free(heard);
	assert_true(is_closed(fd));
	close(fd);
}

static void bad_lines_do_not_end_the_connection(void **state)
{
	int fd = dial();
	static const char zero[] = "{\"id\": 1, \"command\": \"\0\"}\n\0\n";

	say(fd, "\n[1, 2\n\xff\xfe\xfd\n");
	assert_int_equal(send(fd, zero, sizeof(zero) - 1, MSG_NOSIGNAL), sizeof(zero) - 1);
	char *heard = hear(fd, 8, 65536);
	unsigned errors = 0;
	for (const char *at = heard; (at = strstr(at, "\"bad_json\"")); at++)
		errors++;
	assert_int_equal(errors, 5);
	free(heard);
	say(fd, STATUS);
	expect(fd, "{\"id\":1,\"result\"");
	close(fd);
}

static void a_line_of_64_kib_is_taken_and_a_longer_one_closes(void **state)
{
	char line[CGN_CTL_LINE_MAX + 1];
	int fd = dial();

	memset(line, ' ', sizeof(line));
	memcpy(line, STATUS, strlen(STATUS) - 1);
	line[CGN_CTL_LINE_MAX] = '\n';
	for (size_t sent = 0; sent < sizeof(line); step(1)) {
		ssize_t n = send(fd, line + sent, sizeof(line) - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
	}
	expect(fd, "{\"id\":1,\"result\"");
	line[CGN_CTL_LINE_MAX] = ' ';
	for (size_t sent = 0; sent < sizeof(line); step(1)) {
		ssize_t n = send(fd, line + sent, sizeof(line) - sent, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
	}
	expect(fd, "\"line_too_long\"");
	assert_true(is_closed(fd));
	close(fd);
}

static void ten_megabytes_of_garbage_get_one_error_and_the_end(void **state)
{
	char garbage[65536];
	int fd = dial(), other = dial();
	size_t sent = 0;

	for (size_t i = 0; i < sizeof(garbage); i++)
		garbage[i] = (char)(i * 2654435761u >> 7 | 0x80);
	for (unsigned i = 0; i < 10000 && sent < 10 << 20; i++) {
		ssize_t n = send(fd, garbage, sizeof(garbage), MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		step(1);
	}
	assert_true(sent >= 10 << 20);
	expect(fd, "\"line_too_long\"");
	assert_true(is_closed(fd));
	now_ns += 2 * SEC; // for so long it may go on; then its place is free
	step(1);
	errno = 0;
	assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), -1);
	say(other, STATUS);
	expect(other, "{\"id\":1,\"result\"");
	close(fd);
	close(other);
}

static void many_bad_lines_without_reading_use_bounded_memory(void **state)
{
	int fd = dial();
	size_t sent = 0;

	for (unsigned i = 0; i < 2000; i++) {
		ssize_t n = send(fd, "x\nx\nx\nx\nx\nx\nx\nx\n", 16, MSG_NOSIGNAL);
		sent += n > 0 ? (size_t)n : 0;
		step(1);
	}
	assert_true(sent < 2000 * 16); // it was made to wait
	close(fd);
	step(1);
}

static void one_client_more_than_allowed_is_told_so(void **state)
{
	int fds[SERVER_CLIENTS_MAX];

	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
		fds[i] = dial();
	int extra = dial();
	expect(extra, "\"too_many_clients\"");
	assert_true(is_closed(extra));
	close(extra);
	close(fds[17]);
	step(1);
	fds[17] = dial();
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		say(fds[i], STATUS);
		expect(fds[i], "{\"id\":1,\"result\"");
		close(fds[i]);
	}
}

// ---- walks

static void a_client_that_never_reads_stops_its_walk_and_is_closed_after_30_s(void **state)
{
	int fd = dial(), other = dial();

	fake.n[CGN_WALK_SESSIONS] = 10000000;
	say(fd, SESSIONS SESSIONS);
	step(1000);
	uint64_t read = fake.records_read;
	assert_true(read < 10000); // what fits into its buffers, and no more
	step(1000);
	assert_int_equal(fake.records_read, read);
	int timeout_ms = server_timeout_ms(server, now_ns);
	assert_in_range(timeout_ms, 29000, 30001); // no busy loop meanwhile

	say(other, STATUS); // nobody else waits
	expect(other, "{\"id\":1,\"result\"");

	now_ns += SERVER_STALL_NS - 1;
	step(1);
	assert_int_equal(fake.walks_open, 1);
	now_ns += 1;
	step(1);
	assert_int_equal(fake.walks_open, 0);
	close(fd);
	close(other);
}

static void a_client_that_reads_slowly_is_not_closed(void **state)
{
	int fd = dial();
	uint64_t read = 0;

	fake.n[CGN_WALK_SESSIONS] = 1000000;
	say(fd, SESSIONS);
	step(1000);
	for (unsigned i = 0; i < 10; i++) {
		free(hear(fd, 1, 300000));
		step(20);
		assert_true(fake.records_read > read);
		read = fake.records_read;
		now_ns += 25 * SEC;
		step(1);
		assert_int_equal(fake.walks_open, 1);
	}
	close(fd);
	step(1);
}

static void all_of_a_long_list_comes_to_who_reads_it(void **state)
{
	int fd = dial();
	char buf[65536], last[32] = "";
	uint64_t records = 0;

	fake.n[CGN_WALK_SESSIONS] = 50000;
	fake.read_max = 17;
	say(fd, SESSIONS);
	for (unsigned i = 0; i < 100000 && !strstr(last, "\"done\":true}\n"); i++) {
		step(1);
		ssize_t n = recv(fd, buf, sizeof(buf) - 1, 0);
		for (ssize_t b = 0; b < n; b++)
			records += buf[b] == '{'; // one per record, and one per line
		for (ssize_t b = 0; b < n; b++)
			records -= buf[b] == '\n';
		if (n > 20)
			snprintf(last, sizeof(last), "%.*s", 20, buf + n - 20);
	}
	assert_int_equal(records, 50000);
	assert_int_equal(fake.walks_open, 0);
	close(fd);
}

static void a_client_that_goes_during_its_walk_ends_it(void **state)
{
	int fd = dial();

	fake.n[CGN_WALK_SESSIONS] = 10000000;
	say(fd, SESSIONS);
	step(10);
	assert_int_equal(fake.walks_open, 1);
	close(fd);
	step(1);
	assert_int_equal(fake.walks_open, 0);
}

static void a_walk_that_has_nothing_ready_is_asked_every_millisecond(void **state)
{
	int fd = dial();

	fake.silent = true;
	say(fd, SESSIONS);
	step(3);
	assert_int_equal(fake.walks_open, 1);
	assert_int_equal(server_timeout_ms(server, now_ns), 1);
	fake.silent = false;
	char *heard = hear(fd, 10, 1 << 20);
	assert_non_null(strstr(heard, "\"done\":true"));
	free(heard);
	assert_int_equal(server_timeout_ms(server, now_ns), -1);
	close(fd);
}

static void the_17th_walk_waits_its_turn(void **state)
{
	int fds[CGN_WALKS_MAX + 1];

	fake.silent = true;
	for (unsigned i = 0; i <= CGN_WALKS_MAX; i++) {
		fds[i] = dial();
		say(fds[i], SESSIONS);
	}
	step(5);
	assert_int_equal(fake.walks_open, CGN_WALKS_MAX);
	fake.silent = false;
	for (unsigned i = 0; i <= CGN_WALKS_MAX; i++) {
		char *heard = hear(fds[i], 30, 1 << 20);
		assert_non_null(strstr(heard, "{\"id\":2,\"done\":true}\n"));
		free(heard);
		close(fds[i]);
	}
}

static void destroying_the_server_ends_open_walks(void **state)
{
	int fd = dial();

	fake.silent = true;
	say(fd, SESSIONS);
	step(3);
	assert_int_equal(fake.walks_open, 1);
	server_destroy(server);
	server = NULL;
	assert_int_equal(fake.walks_open, 0);
	close(fd);
}

// ---- the socket file

static void the_socket_has_mode_0660_and_its_directory_was_made(void **state)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	assert_int_equal(st.st_mode & 07777, 0660);
}

static void a_live_socket_is_respected(void **state)
{
	struct listener second;

	assert_int_equal(listener_open(&second, path, err, sizeof(err)), -EADDRINUSE);
	assert_non_null(strstr(err, "another cgnatd answers there"));
	int fd = dial();
	say(fd, STATUS);
	expect(fd, "\"result\"");
	close(fd);
}

static void a_stale_socket_is_replaced(void **state)
{
	struct listener second;
	char stale[128];

	snprintf(stale, sizeof(stale), "%s/stale", dir);
	assert_int_equal(listener_open(&second, stale, err, sizeof(err)), 0);
	close(second.fd); // as a killed daemon leaves it
	assert_int_equal(access(stale, F_OK), 0);
	assert_int_equal(listener_open(&second, stale, err, sizeof(err)), 0);
	listener_close(&second);
	assert_int_equal(access(stale, F_OK), -1);
}

static void a_file_that_is_no_socket_is_never_deleted(void **state)
{
	struct listener second;
	char file[128];

	snprintf(file, sizeof(file), "%s/precious", dir);
	fclose(fopen(file, "w"));
	assert_int_equal(listener_open(&second, file, err, sizeof(err)), -EEXIST);
	assert_non_null(strstr(err, "not a socket"));
	assert_int_equal(access(file, F_OK), 0);
	unlink(file);
}

static void a_socket_that_is_not_ours_any_more_stays(void **state)
{
	struct listener first, second;
	char other[128];

	snprintf(other, sizeof(other), "%s/other", dir);
	assert_int_equal(listener_open(&first, other, err, sizeof(err)), 0);
	unlink(other);
	assert_int_equal(listener_open(&second, other, err, sizeof(err)), 0);
	listener_close(&first);
	assert_int_equal(access(other, F_OK), 0);
	listener_close(&second);
	assert_int_equal(access(other, F_OK), -1);
}

static void a_path_too_long_is_an_error(void **state)
{
	struct listener second;
	char longer[200];

	memset(longer, 'x', sizeof(longer) - 1);
	longer[0] = '/';
	longer[sizeof(longer) - 1] = 0;
	assert_int_equal(listener_open(&second, longer, err, sizeof(err)), -ENAMETOOLONG);
}

// ---- systemd

static void check_notify(const char *name, const struct sockaddr_un *addr, socklen_t size)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char got[32] = "";

	assert_int_equal(bind(fd, (const struct sockaddr *)addr, size), 0);
	setenv("NOTIFY_SOCKET", name, 1);
	assert_int_equal(notify_send("READY=1"), 0);
	assert_int_equal(recv(fd, got, sizeof(got) - 1, 0), 7);
	assert_string_equal(got, "READY=1");
	unsetenv("NOTIFY_SOCKET");
	close(fd);
}

static void systemd_is_told_over_a_path_or_an_abstract_name(void **state)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char name[64];

	assert_int_equal(notify_send("READY=1"), 0); // nobody asked
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/notify", dir);
	check_notify(addr.sun_path, &addr, sizeof(addr));
	unlink(addr.sun_path);

	int n = snprintf(name, sizeof(name), "@cgnat-test-%d", (int)getpid());
	memset(addr.sun_path, 0, sizeof(addr.sun_path));
	memcpy(addr.sun_path + 1, name + 1, (size_t)n - 1);
	check_notify(name, &addr, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + (size_t)n));

	setenv("NOTIFY_SOCKET", "vsock:2", 1);
	assert_int_equal(notify_send("READY=1"), -EINVAL);
	unsetenv("NOTIFY_SOCKET");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_request_is_answered),
		T(pipelined_requests_are_answered_in_order),
		T(half_a_line_waits_for_the_rest),
		T(a_client_that_has_said_all_still_gets_its_answers),
		T(bad_lines_do_not_end_the_connection),
		T(a_line_of_64_kib_is_taken_and_a_longer_one_closes),
		T(ten_megabytes_of_garbage_get_one_error_and_the_end),
		T(many_bad_lines_without_reading_use_bounded_memory),
		T(one_client_more_than_allowed_is_told_so),
		T(a_client_that_never_reads_stops_its_walk_and_is_closed_after_30_s),
		T(a_client_that_reads_slowly_is_not_closed),
		T(all_of_a_long_list_comes_to_who_reads_it),
		T(a_client_that_goes_during_its_walk_ends_it),
		T(a_walk_that_has_nothing_ready_is_asked_every_millisecond),
		T(the_17th_walk_waits_its_turn),
		T(destroying_the_server_ends_open_walks),
		T(the_socket_has_mode_0660_and_its_directory_was_made),
		T(a_live_socket_is_respected),
		T(a_stale_socket_is_replaced),
		T(a_file_that_is_no_socket_is_never_deleted),
		T(a_socket_that_is_not_ours_any_more_stays),
		T(a_path_too_long_is_an_error),
		T(systemd_is_told_over_a_path_or_an_abstract_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
