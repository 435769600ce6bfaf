// SPDX-License-Identifier: BSD-3-Clause
// Values of the configuration file that may be of either IP version: the addresses and routes of an
// interface. The configuration holds each version in a list of its own; a rule that needs the places
// of one version asks for that part of the list in the file.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_yaml.h"
#include <stdbool.h>

// Does an address, a prefix or a route mean IPv6? A route is what its prefix is, or else its via.
bool node_is_ipv6(const struct node *n);

// The elements of `list` that are of one version, in their order: element j is that of element j of
// the configuration's list. NULL when `list` is NULL.
struct node *node_family(struct report *r, const struct node *list, bool ipv6);

// The lists of an interface, with each value of either version.
void value_interface_addresses(struct report *r, struct node *n, struct cgn_interface *to);
void value_interface_routes(struct report *r, struct node *n, struct cgn_interface *to);

const char *address6_shown(struct report *r, const struct cgn_ipv6 *a);
const char *prefix6_shown(struct report *r, const struct cgn_prefix6 *p);
