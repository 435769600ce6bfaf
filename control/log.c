// SPDX-License-Identifier: BSD-3-Clause
#include "cgnat/log.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum cgn_log_level cgn_log_level = CGN_LOG_NOTICE;

static const struct {
	const char *name;
	int priority; // of syslog
} levels[] = {
	[CGN_LOG_ERROR] = {"error", 3},
	[CGN_LOG_WARNING] = {"warning", 4},
	[CGN_LOG_NOTICE] = {"notice", 5},
	[CGN_LOG_INFO] = {"info", 6},
	[CGN_LOG_DEBUG] = {"debug", 7},
};
#define N_LEVELS (sizeof(levels) / sizeof(levels[0]))

static bool to_journal;

void cgn_log_init(void)
{
	const char *wanted = getenv("CGNAT_LOG");
	const char *stream = getenv("JOURNAL_STREAM");
	unsigned long long dev, ino;
	struct stat st;

	for (unsigned i = 0; wanted && i < N_LEVELS; i++)
		if (!strcmp(wanted, levels[i].name))
			cgn_log_level = (enum cgn_log_level)i;

	// the variable is inherited by children whose stderr is something else: compare (systemd.exec)
	to_journal = stream && sscanf(stream, "%llu:%llu", &dev, &ino) == 2 &&
		!fstat(STDERR_FILENO, &st) && st.st_dev == dev && st.st_ino == ino;
}

void cgn_log(enum cgn_log_level level, const char *fmt, ...)
{
	char line[2048];
	va_list args;
	int n;

	if (level > cgn_log_level)
		return;
	n = to_journal ? snprintf(line, sizeof(line), "<%d>", levels[level].priority)
		       : snprintf(line, sizeof(line), "%s: ", levels[level].name);
	va_start(args, fmt);
	vsnprintf(line + n, sizeof(line) - (size_t)n - 1, fmt, args); // - 1: the newline
	va_end(args);

	size_t len = strlen(line);
	for (size_t i = 0; i < len; i++) // one message is one line, whatever it quotes
		if (line[i] == '\n' || line[i] == '\r')
			line[i] = ' ';
	line[len++] = '\n';
	// one write: lines of several processes do not mix; a closed stderr is nothing to act on
	if (write(STDERR_FILENO, line, len) < 0)
		return;
}
