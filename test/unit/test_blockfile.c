// SPDX-License-Identifier: BSD-3-Clause
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "blockfile.h"
#include "cgnat/log.h"

static char dir[64], at[96], table[128], fresh[160], err[256];

static int make_dir(void **state)
{
	cgn_log_level = CGN_LOG_ERROR;
	strcpy(dir, "/tmp/test_blockfile.XXXXXX");
	assert_non_null(mkdtemp(dir));
	snprintf(at, sizeof(at), "%s/sock", dir);
	snprintf(table, sizeof(table), "%s.blocks", at);
	snprintf(fresh, sizeof(fresh), "%s.new", table);
	return 0;
}

static int remove_dir(void **state)
{
	unlink(table);
	rmdir(table);
	assert_int_not_equal(access(fresh, F_OK), 0); // never left behind
	return rmdir(dir);
}

static void open_file(struct blockfile *f, uint32_t n)
{
	assert_int_equal(blockfile_open(f, at, n, err, sizeof(err)), 0);
	assert_int_equal(f->memory.n_records, n);
	for (uint32_t i = 0; i < n; i++)
		assert_int_equal(f->memory.records[i].state, CGN_BLOCK_FREE);
}

static void commit(struct blockfile *f)
{
	assert_int_equal(blockfile_commit(f, err, sizeof(err)), 0);
}

static void write_table(const void *bytes, size_t n)
{
	FILE *out = fopen(table, "w");

	assert_non_null(out);
	assert_int_equal(fwrite(bytes, 1, n, out), n);
	fclose(out);
}

static void the_next_start_reads_what_was_written(void **state)
{
	struct blockfile f;

	open_file(&f, 10);
	assert_int_equal(f.memory.n_before, 0);
	commit(&f);
	f.memory.records[9] = (struct cgn_block_record){1, 2, 3, 4, CGN_BLOCK_LENT, 0, 5};
	blockfile_close(&f);

	open_file(&f, 20); // another configuration
	assert_int_equal(f.memory.n_before, 10);
	assert_int_equal(f.memory.before[8].state, CGN_BLOCK_FREE);
	assert_int_equal(f.memory.before[9].external, 1);
	assert_int_equal(f.memory.before[9].subscriber, 2);
	assert_int_equal(f.memory.before[9].last_port, 4);
	assert_int_equal(f.memory.before[9].state, CGN_BLOCK_LENT);
	assert_int_equal(f.memory.before[9].since, 5);
	blockfile_close(&f);
}

static void a_start_that_fails_leaves_the_old_table(void **state)
{
	struct blockfile f;

	open_file(&f, 4);
	commit(&f);
	f.memory.records[0].state = CGN_BLOCK_RESTING;
	blockfile_close(&f);
	open_file(&f, 4);
	blockfile_close(&f); // not committed

	open_file(&f, 4);
	assert_int_equal(f.memory.n_before, 4);
	assert_int_equal(f.memory.before[0].state, CGN_BLOCK_RESTING);
	blockfile_close(&f);
}

static void foreign_and_broken_files_are_ignored(void **state)
{
	struct blockfile f;
	uint8_t good[16 + 2 * sizeof(struct cgn_block_record)];
	FILE *in;

	write_table("", 0);
	open_file(&f, 2);
	assert_int_equal(f.memory.n_before, 0);
	commit(&f);
	blockfile_close(&f);
	in = fopen(table, "r");
	assert_int_equal(fread(good, 1, sizeof(good), in), sizeof(good));
	fclose(in);
	for (size_t n = 1; n < sizeof(good); n++) { // cut off anywhere
		write_table(good, n);
		open_file(&f, 2);
		assert_int_equal(f.memory.n_before, 0);
		blockfile_close(&f);
	}
	for (size_t i = 0; i < 16; i++) { // a wrong byte anywhere in the header
		good[i] ^= 0x80;
		write_table(good, sizeof(good));
		open_file(&f, 2);
		assert_int_equal(f.memory.n_before, 0);
		blockfile_close(&f);
		good[i] ^= 0x80;
	}
	write_table(good, sizeof(good));
	open_file(&f, 2);
	assert_int_equal(f.memory.n_before, 2);
	blockfile_close(&f);
}

static void a_fifo_or_a_link_does_not_stall_the_start(void **state)
{
	struct blockfile f;

	assert_int_equal(mkfifo(table, 0600), 0);
	open_file(&f, 2);
	assert_int_equal(f.memory.n_before, 0);
	blockfile_close(&f);
	unlink(table);
	assert_int_equal(symlink("/dev/zero", table), 0);
	open_file(&f, 2);
	assert_int_equal(f.memory.n_before, 0);
	blockfile_close(&f);
}

static void errors_name_the_file(void **state)
{
	struct blockfile f;

	assert_true(blockfile_open(&f, "/nonexistent/dir/sock", 2, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, "/nonexistent/dir/sock.blocks.new: "));
	open_file(&f, 2);
	assert_int_equal(mkdir(table, 0700), 0);
	assert_true(blockfile_commit(&f, err, sizeof(err)) < 0);
	assert_non_null(strstr(err, table));
	blockfile_close(&f);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(the_next_start_reads_what_was_written),
		CASE(a_start_that_fails_leaves_the_old_table),
		CASE(foreign_and_broken_files_are_ignored),
		CASE(a_fifo_or_a_link_does_not_stall_the_start),
		CASE(errors_name_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
