// SPDX-License-Identifier: BSD-3-Clause
// Arguments of the benchmark programs. Each exits with 2 and a message that says what is allowed.
#pragma once
#include <stdint.h>

extern const char *number_program; // whose messages these are

uint64_t number_parse(const char *name, const char *text, uint64_t min, uint64_t max);
// A positive decimal number up to max.
double number_parse_real(const char *name, const char *text, double min, double max);
// Index in a list that ends with NULL.
int number_one_of(const char *name, const char *text, const char *const names[]);
// A positive decimal number; *end is what follows it, = text when there is none. Does not exit.
double number_decimal(const char *text, char **end);
