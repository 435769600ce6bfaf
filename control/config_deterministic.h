// SPDX-License-Identifier: BSD-3-Clause
// Deterministic pools (RFC 7422): their keys, and whether their subscribers fit.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_value.h"
#include "config_yaml.h"

// pools[].deterministic; for struct field.read, into a struct cgn_deterministic.
void deterministic_read(struct report *r, struct node *n, const struct field *f, void *to);

// Part of config_check(), after the policies and the static mappings.
void check_deterministic(struct report *r, struct node *root, const struct cgn_config *c);
