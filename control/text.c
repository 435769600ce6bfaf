// SPDX-License-Identifier: BSD-3-Clause
#include "text.h"
#include <arpa/inet.h>
#include <stdio.h>

const char *text_address(char out[TEXT_ADDRESS_MAX], uint32_t address)
{
	snprintf(out, TEXT_ADDRESS_MAX, "%u.%u.%u.%u", address >> 24, address >> 16 & 255,
		address >> 8 & 255, address & 255);
	return out;
}

const char *text_endpoint(char out[TEXT_ENDPOINT_MAX], uint32_t address, uint16_t port)
{
	snprintf(out, TEXT_ENDPOINT_MAX, "%u.%u.%u.%u:%u", address >> 24, address >> 16 & 255,
		address >> 8 & 255, address & 255, port);
	return out;
}

const char *text_prefix(char out[TEXT_RANGE_MAX], const struct cgn_prefix *prefix)
{
	char address[TEXT_ADDRESS_MAX];

	snprintf(out, TEXT_RANGE_MAX, "%s/%u", text_address(address, prefix->address),
		prefix->length);
	return out;
}

const char *text_address6(char out[TEXT_ADDRESS6_MAX], const struct cgn_ipv6 *address)
{
	return inet_ntop(AF_INET6, address, out, TEXT_ADDRESS6_MAX);
}

const char *text_prefix6(char out[TEXT_PREFIX6_MAX], const struct cgn_prefix6 *prefix)
{
	char address[TEXT_ADDRESS6_MAX];

	snprintf(out, TEXT_PREFIX6_MAX, "%s/%u", text_address6(address, &prefix->address),
		prefix->length);
	return out;
}

const char *text_range(char out[TEXT_RANGE_MAX], const struct cgn_address_range *range)
{
	uint64_t size = (uint64_t)range->last - range->first + 1;
	char first[TEXT_ADDRESS_MAX], last[TEXT_ADDRESS_MAX];

	text_address(first, range->first);
	text_address(last, range->last);
	if (size == 1)
		snprintf(out, TEXT_RANGE_MAX, "%s", first);
	else if ((size & (size - 1)) == 0 && range->first % size == 0)
		snprintf(out, TEXT_RANGE_MAX, "%s/%d", first, 32 - __builtin_ctzll(size));
	else
		snprintf(out, TEXT_RANGE_MAX, "%s-%s", first, last);
	return out;
}

const char *text_ports(char out[TEXT_PORTS_MAX], const struct cgn_port_range *ports)
{
	if (ports->first == ports->last)
		snprintf(out, TEXT_PORTS_MAX, "%u", ports->first);
	else
		snprintf(out, TEXT_PORTS_MAX, "%u-%u", ports->first, ports->last);
	return out;
}
