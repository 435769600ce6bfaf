// SPDX-License-Identifier: BSD-3-Clause
#include "listener.h"
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG 64
#define LOCK_TRIES 100 // of 10 ms each

static int fail(char *err, size_t err_size, int error, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

static int fail(char *err, size_t err_size, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(err, err_size, fmt, args);
	va_end(args);
	return -error;
}

// Makes the directory `path` lies in, and those above it; copies its name to `dir`.
static int make_parent(const char *path, char *dir, size_t dir_size)
{
	const char *slash = strrchr(path, '/');

	if (!slash) {
		snprintf(dir, dir_size, ".");
		return 0;
	}
	snprintf(dir, dir_size, "%.*s", slash == path ? 1 : (int)(slash - path), path);
	for (char *p = dir + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = 0;
		if (mkdir(dir, 0755) && errno != EEXIST)
			return -errno;
		*p = '/';
	}
	return mkdir(dir, 0755) && errno != EEXIST ? -errno : 0;
}

// Between "nobody answers" and bind() no second daemon may come to the same conclusion: the
// directory is locked meanwhile, which leaves no lock file behind.
static int lock_directory(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (unsigned i = 0; i < LOCK_TRIES; i++) {
		if (!flock(fd, LOCK_EX | LOCK_NB))
			return fd;
		nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	}
	close(fd);
	return -EBUSY;
}

// 0: nothing there, or a stale socket, which is gone now.
static int remove_stale(const struct sockaddr_un *addr, char *err, size_t err_size)
{
	const char *path = addr->sun_path;
	struct stat st;

	if (lstat(path, &st))
		return errno == ENOENT
			? 0
			: fail(err, err_size, errno, "socket %s: %s", path, strerror(errno));
	if (!S_ISSOCK(st.st_mode))
		return fail(err, err_size, EEXIST,
			"socket %s: a file that is not a socket lies there; remove it or set control.socket",
			path);

	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return fail(err, err_size, errno, "socket %s: %s", path, strerror(errno));
	int error = connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	close(fd);

	if (error == 0 || error == EAGAIN) // EAGAIN: alive, with many clients waiting
		return fail(
			err, err_size, EADDRINUSE, "socket %s: another cgnatd answers there", path);
	if (error != ECONNREFUSED)
		return fail(err, err_size, error, "socket %s: %s", path, strerror(error));
	if (unlink(path) && errno != ENOENT)
		return fail(err, err_size, errno, "socket %s: stale, and cannot be removed: %s",
			path, strerror(errno));
	return 0;
}

static int bind_and_listen(
	struct listener *l, const struct sockaddr_un *addr, char *err, size_t err_size)
{
	struct stat st;
	int error;

	l->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0)
		return fail(err, err_size, errno, "socket %s: %s", l->path, strerror(errno));

	mode_t old = umask(0117); // the file has mode 0660 from its first moment
	error = bind(l->fd, (const struct sockaddr *)addr, sizeof(*addr)) ? errno : 0;
	umask(old);
	if (!error && (listen(l->fd, BACKLOG) || lstat(l->path, &st))) {
		error = errno;
		unlink(l->path);
	}
	if (error) {
		close(l->fd);
		return fail(err, err_size, error, "socket %s: %s", l->path, strerror(error));
	}
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	return 0;
}

int listener_open(struct listener *l, const char *path, char *err, size_t err_size)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	char dir[sizeof(l->path)];
	int rc, lock;

	if (!*path || strlen(path) >= sizeof(addr.sun_path))
		return fail(err, err_size, ENAMETOOLONG, "socket %s: 1 to %zu bytes are allowed",
			path, sizeof(addr.sun_path) - 1);
	memcpy(addr.sun_path, path, strlen(path) + 1);
	memcpy(l->path, path, strlen(path) + 1);

	rc = make_parent(path, dir, sizeof(dir));
	if (rc)
		return fail(err, err_size, -rc, "socket %s: cannot make its directory: %s", path,
			strerror(-rc));
	lock = lock_directory(dir);
	if (lock < 0)
		return fail(err, err_size, -lock, "socket %s: cannot lock its directory: %s", path,
			strerror(-lock));
	rc = remove_stale(&addr, err, err_size);
	if (!rc)
		rc = bind_and_listen(l, &addr, err, err_size);
	close(lock);
	return rc;
}

void listener_close(struct listener *l)
{
	struct stat st;

	if (!lstat(l->path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
	close(l->fd);
	l->fd = -1;
}
