// SPDX-License-Identifier: BSD-3-Clause
// Clients of the control socket: lines in, answers out, many at once, none waits for another.
//
// Owner:  control. Memory: CLIENTS_MAX clients, each with 64 KiB for what it sends and about
//         400 KiB for what it has not read yet; no client can make it more.
// Thread: control. Nothing here blocks; the caller waits, by server_fd() and server_timeout_ms().
#pragma once
#include "commands.h"
#include <stdint.h>

#define SERVER_CLIENTS_MAX 64
#define SERVER_STALL_NS 30000000000ull // a client that reads nothing for so long is closed

struct server;

// Serves the clients of a listening socket, which stays the caller's.
// Returns 0 or -errno.
int server_create(const struct control *control, int listen_fd, struct server **out);

// Ends open walks and closes every client.
void server_destroy(struct server *s);

// Readable when there is something to do.
int server_fd(const struct server *s);

// How long poll() on server_fd() may wait before the next server_step(); -1: for ever.
int server_timeout_ms(const struct server *s, uint64_t now_ns);

// Does what can be done now: a bounded slice for every client.
//   now_ns  CLOCK_MONOTONIC
void server_step(struct server *s, uint64_t now_ns);
