// SPDX-License-Identifier: BSD-3-Clause
// What some code logs: begin, run it, end. Nothing else may write to stderr meanwhile.
#pragma once
#include <stdio.h>
#include <unistd.h>

static struct {
	FILE *file;
	int saved;
} logged;

static inline void logged_begin(void)
{
	logged.file = tmpfile();
	logged.saved = dup(STDERR_FILENO);
	if (!logged.file || logged.saved < 0 || dup2(fileno(logged.file), STDERR_FILENO) < 0)
		fail_msg("stderr cannot be kept");
}

// Valid until the next one.
static inline const char *logged_end(void)
{
	static char text[65536];
	size_t n;

	dup2(logged.saved, STDERR_FILENO);
	close(logged.saved);
	rewind(logged.file);
	n = fread(text, 1, sizeof(text) - 1, logged.file);
	text[n] = 0;
	fclose(logged.file);
	return text;
}
