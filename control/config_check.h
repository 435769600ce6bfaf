// SPDX-License-Identifier: BSD-3-Clause
// Rules across keys: what each value alone cannot know. They read the configuration that
// schema_read() made and the tree beside it for the places; what has an error already is passed
// over, so that no error is the consequence of another.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_yaml.h"

// Every rule. Also fills in what only then is known: the pool index of each policy.
void config_check(struct report *r, struct node *root, struct cgn_config *config);

// Timeouts of single ports, and how many ports rest: parts of config_check().
void check_services(struct report *r, struct node *root, const struct cgn_config *config);
void check_hold_down(struct report *r, struct node *root, const struct cgn_config *config);

// Interfaces, routes and pool addresses: part of config_check().
void check_addresses(struct report *r, struct node *root, const struct cgn_config *config);

// The same for IPv6: interfaces and routes.
void check_ipv6(struct report *r, struct node *root, const struct cgn_config *config);
