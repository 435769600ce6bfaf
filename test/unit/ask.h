// SPDX-License-Identifier: BSD-3-Clause
// Requests to the control room with a made-up dataplane (fake_dataplane.h), and what is asked of the
// answers: for test_commands.c and those beside it.
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h> // needs those above it

#include "../../control/commands.h"
#include "../../control/config.h"
#include "fake_dataplane.h"
#include <jansson.h>

#define SEC 1000000000ull

extern struct control control; // started anew for each test
extern size_t longest_line; // of all answers in a test

int setup(void **state);
int teardown(void **state);
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

// Every line of the answer to a line, in an array. The caller frees this and what follows.
json_t *ask_bytes(const char *line, size_t size);
json_t *ask(const char *line);
// The result of a command with args such as "\"limit\": 3".
json_t *result_of(const char *command, const char *args);
// The items of a command that answers with a list.
json_t *items_of(const char *command, const char *args);

// Asserts that the answer is this error.
void check_error(const char *line, size_t size, const char *code, const char *in_message);
#define CHECK_ERROR(line, code, in_message) check_error(line, strlen(line), code, in_message)

void check_keys(const json_t *object, const char *keys); // separated by spaces
json_int_t integer(const json_t *object, const char *key);
const char *text(const json_t *object, const char *key);
