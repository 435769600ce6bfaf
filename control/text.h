// SPDX-License-Identifier: BSD-3-Clause
// Addresses, prefixes and ranges as people write them. Arguments are in host order.
#pragma once
#include "cgnat/config.h"
#include <stddef.h>

#define TEXT_ADDRESS_MAX 16 // "255.255.255.255"
#define TEXT_ENDPOINT_MAX 24 // "255.255.255.255:65535"
#define TEXT_RANGE_MAX 32 // two addresses, or a prefix
#define TEXT_PORTS_MAX 12 // "65535-65535"
#define TEXT_ADDRESS6_MAX 46
#define TEXT_PREFIX6_MAX 50 // "/128"

const char *text_address(char out[TEXT_ADDRESS_MAX], uint32_t address);
const char *text_endpoint(char out[TEXT_ENDPOINT_MAX], uint32_t address, uint16_t port);
const char *text_prefix(char out[TEXT_RANGE_MAX], const struct cgn_prefix *prefix);

// As RFC 5952 writes them.
const char *text_address6(char out[TEXT_ADDRESS6_MAX], const struct cgn_ipv6 *address);
const char *text_prefix6(char out[TEXT_PREFIX6_MAX], const struct cgn_prefix6 *prefix);

// "203.0.113.0/28" where the range is a prefix, "A" where it is one address, else "A-B".
const char *text_range(char out[TEXT_RANGE_MAX], const struct cgn_address_range *range);

// "80" or "1024-65535".
const char *text_ports(char out[TEXT_PORTS_MAX], const struct cgn_port_range *ports);
