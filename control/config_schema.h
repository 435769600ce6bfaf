// SPDX-License-Identifier: BSD-3-Clause
// The keys of the configuration file and what each of them takes. One step of the loader: fills a
// struct cgn_config from the tree, defaults included; rules across keys are config_check.h's.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_yaml.h"

// Arrays come out as long as their lists in the file, in its order: element i belongs to list item
// i. An element whose node is bad is not to be read. `config` is freed by cgn_config_free() even
// when there are errors.
void schema_read(struct report *r, struct node *root, struct cgn_config *config);
