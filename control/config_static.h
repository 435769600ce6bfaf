// SPDX-License-Identifier: BSD-3-Clause
// Static mappings in the configuration file: what config_schema.h and config_check.h are for the
// rest of it.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_value.h"
#include "config_yaml.h"

// struct field.read of "static-mappings"; `to` is the struct cgn_config.
void static_read(struct report *r, struct node *n, const struct field *f, void *to);

// Their rules, among themselves and with interfaces, routes, pools and policies.
void check_static(struct report *r, struct node *root, const struct cgn_config *c);
