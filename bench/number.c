// SPDX-License-Identifier: BSD-3-Clause
#include "number.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *number_program;

uint64_t number_parse(const char *name, const char *text, uint64_t min, uint64_t max)
{
	char *end;
	uint64_t n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || *end || text[0] < '0' || text[0] > '9' || n < min || n > max) {
		fprintf(stderr, "%s: %s: %s is not a number from %" PRIu64 " to %" PRIu64 "\n",
			number_program, name, text, min, max);
		exit(2);
	}
	return n;
}

double number_decimal(const char *text, char **end)
{
	if (text[0] < '0' || text[0] > '9') {
		*end = (char *)text;
		return -1;
	}
	return strtod(text, end);
}

double number_parse_real(const char *name, const char *text, double min, double max)
{
	char *end;
	double n = number_decimal(text, &end);

	if (*end || end == text || !(n >= min && n <= max)) {
		fprintf(stderr, "%s: %s: %s is not a number from %g to %g\n", number_program, name,
			text, min, max);
		exit(2);
	}
	return n;
}

int number_one_of(const char *name, const char *text, const char *const names[])
{
	for (int i = 0; names[i]; i++) {
		if (!strcmp(text, names[i]))
			return i;
	}
	fprintf(stderr, "%s: %s: %s is none of", number_program, name, text);
	for (int i = 0; names[i]; i++)
		fprintf(stderr, "%s %s", i ? "," : "", names[i]);
	fprintf(stderr, "\n");
	exit(2);
}
