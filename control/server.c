// SPDX-License-Identifier: BSD-3-Clause
#include "server.h"
#include "cgnat/ctl.h"
#include "cgnat/log.h"
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_HIGH 262144 // bytes not read by the client, above which nothing more is made for it
#define STEPS_MAX 64 // requests, or parts of a list, for one client before the next has its turn
#define LINGER_NS 2000000000ull // how long a client closed for an error may go on sending
#define ACCEPT_PAUSE_NS 100000000ull // after accept() failed for want of descriptors or memory
#define WAIT_MS 1 // for the workers to answer a walk

enum client_state {
	CLIENT_OPEN,
	CLIENT_CLOSING, // an error ends it: its answers go out, what it sends is thrown away
	CLIENT_LINGERING, // our side is shut; closing now could destroy the answer unread
};

struct client {
	int fd; // -1: a free place
	enum client_state state;
	uint32_t events; // what epoll reports for it
	bool eof; // it will send nothing more
	char *in;
	size_t in_start, in_scanned, in_end; // no newline in in[in_start..in_scanned)
	struct buffer out;
	uint64_t out_since_ns; // when it read something last, or `out` began to fill
	uint64_t linger_until_ns;
	struct request *request; // being answered
};

struct server {
	const struct control *control;
	int epoll_fd, listen_fd;
	bool accepting; // listen_fd is in the epoll set
	uint64_t accept_again_ns;
	unsigned first; // client whose turn it is first
	bool busy, waiting; // some client has more to do at once; some client waits for a worker
	struct client clients[SERVER_CLIENTS_MAX];
};

// Data of the epoll event of the listening socket; clients have their index.
#define LISTENER UINT32_MAX

static size_t in_size(const struct client *c)
{
	return c->in_end - c->in_start;
}

static int watch(struct server *s, int op, int fd, uint32_t events, uint32_t data)
{
	struct epoll_event event = {.events = events, .data.u32 = data};

	return epoll_ctl(s->epoll_fd, op, fd, &event) ? -errno : 0;
}

int server_create(const struct control *control, int listen_fd, struct server **out)
{
	struct server *s = calloc(1, sizeof(*s));
	int rc;

	if (!s)
		return -ENOMEM;
	s->control = control;
	s->listen_fd = listen_fd;
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
		s->clients[i].fd = -1;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0) {
		rc = -errno;
		goto err_server;
	}
	rc = watch(s, EPOLL_CTL_ADD, listen_fd, EPOLLIN, LISTENER);
	if (rc)
		goto err_epoll;
	s->accepting = true;
	*out = s;
	return 0;
err_epoll:
	close(s->epoll_fd);
err_server:
	free(s);
	return rc;
}

int server_fd(const struct server *s)
{
	return s->epoll_fd;
}

static void client_close(struct client *c)
{
	if (c->request)
		request_destroy(c->request);
	close(c->fd);
	free(c->in);
	buffer_fini(&c->out);
	*c = (struct client){.fd = -1};
}

void server_destroy(struct server *s)
{
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++)
		if (s->clients[i].fd >= 0)
			client_close(&s->clients[i]);
	close(s->epoll_fd);
	free(s);
}

// ---- new clients

static void refuse_client(int fd)
{
	struct buffer out = {0};

	request_refuse(
		&out, "too_many_clients", "64 clients are connected already; try again later");
	if (!out.failed)
		send(fd, out.data, buffer_size(&out), MSG_DONTWAIT | MSG_NOSIGNAL);
	buffer_fini(&out);
	close(fd);
}

static void add_client(struct server *s, int fd)
{
	unsigned i;

	for (i = 0; i < SERVER_CLIENTS_MAX && s->clients[i].fd >= 0; i++)
		;
	if (i == SERVER_CLIENTS_MAX) {
		refuse_client(fd);
		return;
	}
	char *in = malloc(CGN_CTL_LINE_MAX + 1);
	if (!in || watch(s, EPOLL_CTL_ADD, fd, EPOLLIN, i)) {
		free(in);
		close(fd);
		return;
	}
	s->clients[i] = (struct client){.fd = fd, .in = in, .events = EPOLLIN};
}

static void accept_clients(struct server *s, uint64_t now_ns)
{
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			add_client(s, fd);
			continue;
		}
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		LOG(WARNING, "control socket: cannot accept a client: %s", strerror(errno));
		watch(s, EPOLL_CTL_DEL, s->listen_fd, 0, LISTENER);
		s->accepting = false;
		s->accept_again_ns = now_ns + ACCEPT_PAUSE_NS;
		return;
	}
}

// ---- bytes in and out; false: the client is gone

static bool client_receive(struct client *c)
{
	char waste[16384];
	ssize_t n;

	if (c->state != CLIENT_OPEN) {
		n = recv(c->fd, waste, sizeof(waste), 0);
	} else {
		if (c->in_start > 0) {
			memmove(c->in, c->in + c->in_start, in_size(c));
			c->in_end -= c->in_start;
			c->in_scanned -= c->in_start;
			c->in_start = 0;
		}
		if (c->in_end == CGN_CTL_LINE_MAX + 1)
			return true;
		n = recv(c->fd, c->in + c->in_end, CGN_CTL_LINE_MAX + 1 - c->in_end, 0);
		if (n > 0)
			c->in_end += (size_t)n;
	}
	if (n == 0)
		c->eof = true;
	return n >= 0 || errno == EAGAIN || errno == EINTR;
}

static bool client_send(struct client *c, uint64_t now_ns)
{
	while (buffer_size(&c->out) > 0) {
		ssize_t n =
			send(c->fd, c->out.data + c->out.start, buffer_size(&c->out), MSG_NOSIGNAL);

		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		buffer_consume(&c->out, (size_t)n);
		c->out_since_ns = now_ns;
	}
	return true;
}

// ---- requests

// Takes the next complete line; false when there is none.
static bool client_next_line(struct server *s, struct client *c)
{
	char *start = c->in + c->in_start;
	char *newline = memchr(c->in + c->in_scanned, '\n', c->in_end - c->in_scanned);

	if (newline) {
		c->request = request_create(s->control, start, (size_t)(newline - start));
		if (!c->request)
			c->out.failed = true;
		c->in_start = c->in_scanned = (size_t)(newline - c->in) + 1;
		return true;
	}
	c->in_scanned = c->in_end;
	if (in_size(c) > CGN_CTL_LINE_MAX) {
		request_refuse(&c->out, "line_too_long", "a line may have up to 65536 bytes");
		c->state = CLIENT_CLOSING;
	}
	return false;
}

enum answer {
	ANSWER_NOTHING, // until it sends more
	ANSWER_WAIT, // for a worker
	ANSWER_MORE, // when `out` has room
};

// Answers as long as there is something to answer and room for it.
static enum answer client_answer(struct server *s, struct client *c, uint64_t now_ns)
{
	for (unsigned i = 0; c->state == CLIENT_OPEN && !c->out.failed; i++) {
		if (buffer_size(&c->out) >= OUT_HIGH || i == STEPS_MAX)
			return ANSWER_MORE;
		if (!c->request && !client_next_line(s, c))
			return ANSWER_NOTHING;
		if (!c->request)
			continue;
		enum request_progress progress = request_step(c->request, &c->out, now_ns);
		if (progress == REQUEST_WAIT)
			return ANSWER_WAIT;
		if (progress == REQUEST_DONE) {
			request_destroy(c->request);
			c->request = NULL;
		}
	}
	return ANSWER_NOTHING;
}

// Nothing left to do for it?
static bool client_is_over(struct client *c, uint64_t now_ns)
{
	if (c->out.failed)
		return true;
	if (buffer_size(&c->out) > 0)
		return now_ns - c->out_since_ns >= SERVER_STALL_NS;
	if (c->state == CLIENT_CLOSING) {
		c->state = CLIENT_LINGERING;
		c->linger_until_ns = now_ns + LINGER_NS;
		shutdown(c->fd, SHUT_WR);
	}
	if (c->state == CLIENT_LINGERING)
		return c->eof || now_ns >= c->linger_until_ns;
	// half a line at the end of its input will never be whole
	return c->eof && !c->request && c->in_scanned == c->in_end;
}

static void client_watch(struct server *s, struct client *c)
{
	bool full = in_size(c) > CGN_CTL_LINE_MAX || buffer_size(&c->out) >= OUT_HIGH;
	uint32_t events = buffer_size(&c->out) > 0 ? EPOLLOUT : 0;

	if (!c->eof && (c->state != CLIENT_OPEN || !full))
		events |= EPOLLIN;
	if (events == c->events)
		return;
	if (watch(s, EPOLL_CTL_MOD, c->fd, events, (uint32_t)(c - s->clients)))
		client_close(c);
	else
		c->events = events;
}

static void client_step(struct server *s, struct client *c, uint64_t now_ns)
{
	if (buffer_size(&c->out) == 0)
		c->out_since_ns = now_ns;
	enum answer answer = client_answer(s, c, now_ns);
	if (!client_send(c, now_ns) || client_is_over(c, now_ns)) {
		client_close(c);
		return;
	}
	if (answer == ANSWER_WAIT)
		s->waiting = true;
	else if (answer == ANSWER_MORE && buffer_size(&c->out) < OUT_HIGH)
		s->busy = true;
	client_watch(s, c);
}

void server_step(struct server *s, uint64_t now_ns)
{
	struct epoll_event events[SERVER_CLIENTS_MAX + 1];
	int n = epoll_wait(s->epoll_fd, events, SERVER_CLIENTS_MAX + 1, 0);

	for (int i = 0; i < n; i++) {
		if (events[i].data.u32 == LISTENER) {
			accept_clients(s, now_ns);
			continue;
		}
		struct client *c = &s->clients[events[i].data.u32];
		if ((events[i].events & (EPOLLHUP | EPOLLERR)) ||
			((events[i].events & EPOLLIN) && !client_receive(c)))
			client_close(c); // gone, and nobody reads what we would answer
	}
	if (!s->accepting && now_ns >= s->accept_again_ns)
		s->accepting = !watch(s, EPOLL_CTL_ADD, s->listen_fd, EPOLLIN, LISTENER);

	s->busy = s->waiting = false;
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		struct client *c = &s->clients[(s->first + i) % SERVER_CLIENTS_MAX];
		if (c->fd >= 0)
			client_step(s, c, now_ns);
	}
	s->first = (s->first + 1) % SERVER_CLIENTS_MAX;
}

int server_timeout_ms(const struct server *s, uint64_t now_ns)
{
	uint64_t next_ns = UINT64_MAX;

	if (s->busy)
		return 0;
	if (s->waiting)
		return WAIT_MS;
	if (!s->accepting)
		next_ns = s->accept_again_ns;
	for (unsigned i = 0; i < SERVER_CLIENTS_MAX; i++) {
		const struct client *c = &s->clients[i];
		uint64_t at = UINT64_MAX;

		if (c->fd >= 0 && buffer_size(&c->out) > 0)
			at = c->out_since_ns + SERVER_STALL_NS;
		else if (c->fd >= 0 && c->state == CLIENT_LINGERING)
			at = c->linger_until_ns;
		if (at < next_ns)
			next_ns = at;
	}
	if (next_ns == UINT64_MAX)
		return -1;
	return next_ns <= now_ns ? 0 : (int)((next_ns - now_ns) / 1000000 + 1);
}
