// SPDX-License-Identifier: BSD-3-Clause
#include "notify.h"
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int notify_send(const char *state)
{
	const char *path = getenv("NOTIFY_SOCKET");
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (!path || !*path)
		return 0;
	size_t len = strlen(path);
	if ((*path != '/' && *path != '@') || len > sizeof(addr.sun_path) - (*path == '/'))
		return -EINVAL;
	memcpy(addr.sun_path, path, len);
	if (*path == '@') // the abstract name space: a 0 in front and none at the end
		addr.sun_path[0] = 0;

	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len + (*path == '/'));
	ssize_t n = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&addr, size);
	int rc = n < 0 ? -errno : 0;
	close(fd);
	return rc;
}
