// SPDX-License-Identifier: BSD-3-Clause
// One connection to cgnatd: sends a request, takes the lines of its answer.
//
// Owner: main.c. Memory: the longest line of the answer, ANSWER_LINE_MAX at most.
#pragma once
#include <jansson.h>
#include <stddef.h>

struct client {
	int fd;
	int timeout_ms; // silence of the daemon that is an error
	char *in;
	size_t start, scanned, end, capacity; // no newline in in[start..scanned)
	char error[256]; // set when a function below fails; one line
};

// All return 0, or -1 and `error`.
int client_open(struct client *c, const char *path, unsigned timeout_s);
int client_send(struct client *c, const json_t *request);

// The next line, an object that the caller frees; NULL and `error` when there will be none.
json_t *client_receive(struct client *c);

void client_close(struct client *c);
