// SPDX-License-Identifier: BSD-3-Clause
// Prints answers to stdout: as JSON, or as tables for people. A list is printed as it comes, in
// columns of fixed width, so that its length costs no memory.
#pragma once
#include "cgnat/ctl.h"
#include <jansson.h>
#include <stdbool.h>

struct show {
	enum cgn_ctl_command command;
	bool json;
	bool all; // show drops: zeros, too
	const char *detail; // show subscribers ADDRESS: the address
	uint64_t n; // items printed
	json_t *kept; // items of a list that is printed at its end
};

// A list: any number of show_items(), then show_end(). Anything else: one show_result().
void show_items(struct show *s, json_t *items);
void show_end(struct show *s);
void show_result(struct show *s, const json_t *result);

void show_fini(struct show *s);
