// SPDX-License-Identifier: BSD-3-Clause
#include "client.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_LINE_MAX (64u << 20)

static int fail(struct client *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static int fail(struct client *c, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->error, sizeof(c->error), fmt, args);
	va_end(args);
	return -1;
}

static int fail_silent(struct client *c)
{
	return fail(c, "cgnatd does not answer (waited %d s)", c->timeout_ms / 1000);
}

int client_open(struct client *c, const char *path, unsigned timeout_s)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	struct timeval timeout = {.tv_sec = timeout_s};

	*c = (struct client){.fd = -1, .timeout_ms = (int)timeout_s * 1000};
	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return fail(c, "socket %.64s...: longer than %zu bytes, or empty", path,
			sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);

	c->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c->fd < 0)
		return fail(c, "socket: %s", strerror(errno));
	// holds for connect(), too, which waits while too many clients do
	setsockopt(c->fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof(timeout));
	if (!connect(c->fd, (struct sockaddr *)&addr, sizeof(addr)))
		return 0;
	if (errno == EAGAIN)
		return fail_silent(c);
	if (errno == ENOENT || errno == ECONNREFUSED)
		return fail(
			c, "no cgnatd answers at %s (%s); is it running?", path, strerror(errno));
	return fail(c, "%s: %s", path, strerror(errno));
}

int client_send(struct client *c, const json_t *request)
{
	char *line = json_dumps(request, JSON_COMPACT);

	if (!line)
		return fail(c, "no memory for the request");
	size_t len = strlen(line), sent = 0;
	line[len++] = '\n'; // in place of the final 0
	while (sent < len) {
		ssize_t n = send(c->fd, line + sent, len - sent, MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno != EPIPE && errno != ECONNRESET) {
			int rc = errno == EAGAIN ? fail_silent(c)
						 : fail(c, "send: %s", strerror(errno));
			free(line);
			return rc;
		}
		if (n < 0)
			break; // it has closed; perhaps it said why, so read on
		sent += (size_t)n;
	}
	free(line);
	return 0;
}

// Reads more bytes.
static int fill(struct client *c)
{
	struct pollfd pfd = {.fd = c->fd, .events = POLLIN};

	if (c->start > 0) {
		memmove(c->in, c->in + c->start, c->end - c->start);
		c->end -= c->start;
		c->scanned -= c->start;
		c->start = 0;
	}
	if (c->end == c->capacity) {
		size_t capacity = c->capacity ? c->capacity * 2 : 131072;
		char *grown = capacity <= ANSWER_LINE_MAX ? realloc(c->in, capacity) : NULL;

		if (!grown)
			return fail(c, "cgnatd sent a line too long to take");
		c->in = grown;
		c->capacity = capacity;
	}
	int ready = poll(&pfd, 1, c->timeout_ms);
	if (ready == 0)
		return fail_silent(c);
	ssize_t n = ready < 0 ? -1 : recv(c->fd, c->in + c->end, c->capacity - c->end, 0);
	if (n < 0 && errno == EINTR)
		return 0;
	if (n <= 0)
		return fail(c, "cgnatd closed the connection before its answer was complete");
	c->end += (size_t)n;
	return 0;
}

json_t *client_receive(struct client *c)
{
	json_error_t error;
	char *newline;

	while (!(newline = c->end > c->scanned
			? memchr(c->in + c->scanned, '\n', c->end - c->scanned)
			: NULL)) {
		c->scanned = c->end;
		if (fill(c))
			return NULL;
	}
	json_t *line =
		json_loadb(c->in + c->start, (size_t)(newline - c->in) - c->start, 0, &error);
	c->start = c->scanned = (size_t)(newline - c->in) + 1;
	if (!json_is_object(line)) {
		fail(c, "cgnatd sent what is not an answer: %s",
			line ? "not an object" : error.text);
		json_decref(line);
		return NULL;
	}
	return line;
}

void client_close(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	free(c->in);
	*c = (struct client){.fd = -1};
}
