// SPDX-License-Identifier: BSD-3-Clause
// The control socket's place in the file system.
//
// A socket file that nobody answers is replaced; one that a live daemon answers, and anything that
// is not a socket, is left alone.
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct listener {
	int fd; // listening, non-blocking
	char path[108]; // sun_path
	dev_t dev; // which file is ours
	ino_t ino;
};

// Makes the socket, mode 0660, and its directory where that is missing. Clients can connect from
// now on, but wait until somebody accepts them.
//   err   one line for the operator when the result is negative (-errno)
int listener_open(struct listener *l, const char *path, char *err, size_t err_size);

// Closes it, and removes the file unless another one lies there meanwhile.
void listener_close(struct listener *l);
