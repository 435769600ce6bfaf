// SPDX-License-Identifier: BSD-3-Clause
#include "blockfile.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "cgnat/log.h"

#define MAGIC 0x314b4c42544e4743ull // "CGNTBLK1"
#define RECORDS_MAX (1u << 28)

struct header {
	uint64_t magic;
	uint32_t n_records, record_bytes;
};

static bool read_all(int fd, void *to, size_t bytes)
{
	for (size_t at = 0; at < bytes;) {
		ssize_t n = read(fd, (char *)to + at, bytes - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static void read_before(struct blockfile *f)
{
	int fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct header h;
	struct stat st;

	if (fd < 0) {
		if (errno != ENOENT)
			LOG(WARNING,
				"%s: cannot be read, port blocks of the last run do not rest: %s",
				f->path, strerror(errno));
		return;
	}
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !read_all(fd, &h, sizeof(h)) ||
		h.magic != MAGIC || h.record_bytes != sizeof(struct cgn_block_record) ||
		h.n_records > RECORDS_MAX ||
		(uint64_t)st.st_size < sizeof(h) + (uint64_t)h.n_records * h.record_bytes) {
		LOG(WARNING, "%s: not a block table, port blocks of the last run do not rest",
			f->path);
		close(fd);
		return;
	}
	f->before = malloc((size_t)h.n_records * h.record_bytes + 1);
	if (f->before && read_all(fd, f->before, (size_t)h.n_records * h.record_bytes)) {
		f->memory.before = f->before;
		f->memory.n_before = h.n_records;
	}
	close(fd);
}

int blockfile_open(
	struct blockfile *f, const char *socket, uint32_t n_records, char *err, size_t err_size)
{
	struct header *h;
	int fd, rc;

	memset(f, 0, sizeof(*f));
	snprintf(f->path, sizeof(f->path), "%s.blocks", socket);
	snprintf(f->fresh, sizeof(f->fresh), "%s.new", f->path);
	f->map_bytes = sizeof(*h) + (size_t)n_records * sizeof(struct cgn_block_record);
	read_before(f);
	unlink(f->fresh);
	fd = open(f->fresh, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
	// posix_fallocate: a full file system is an error now, not a SIGBUS of a worker later
	if (fd < 0 || (rc = posix_fallocate(fd, 0, (off_t)f->map_bytes)) != 0) {
		rc = fd < 0 ? errno : rc;
		goto err_close;
	}
	f->map = mmap(NULL, f->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (f->map == MAP_FAILED) {
		f->map = NULL;
		rc = errno;
		goto err_close;
	}
	close(fd);
	h = f->map;
	*h = (struct header){MAGIC, n_records, sizeof(struct cgn_block_record)};
	f->memory.records = (struct cgn_block_record *)(h + 1);
	f->memory.n_records = n_records;
	return 0;

err_close:
	snprintf(err, err_size, "%s: the table of port blocks cannot be kept there: %s", f->fresh,
		strerror(rc));
	if (fd >= 0)
		close(fd);
	blockfile_close(f);
	return -rc;
}

int blockfile_commit(struct blockfile *f, char *err, size_t err_size)
{
	if (rename(f->fresh, f->path)) {
		int rc = -errno;

		snprintf(err, err_size, "%s: %s", f->path, strerror(-rc));
		return rc;
	}
	f->fresh[0] = 0;
	free(f->before); // has been read by the workers' start
	f->before = NULL;
	f->memory.before = NULL;
	f->memory.n_before = 0;
	return 0;
}

void blockfile_close(struct blockfile *f)
{
	if (f->map)
		munmap(f->map, f->map_bytes);
	if (f->fresh[0])
		unlink(f->fresh);
	free(f->before);
	memset(f, 0, sizeof(*f));
}
