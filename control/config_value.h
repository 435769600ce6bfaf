// SPDX-License-Identifier: BSD-3-Clause
// Single values of the configuration file: one node in, one checked C value out. What is wrong is
// reported at the node; the target keeps its old value then.
#pragma once
#include "cgnat/config.h"
#include "config_report.h"
#include "config_yaml.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// One key of a mapping.
struct field {
	const char *key;
	void (*read)(struct report *r, struct node *n, const struct field *f, void *to);
	size_t offset; // of the target in its struct
	uint64_t min, max; // of a number
	const char *const *words; // of a choice, NULL at its end
	bool is_required;
};

// Reads every key of the mapping `n` into the struct at `base`; unknown, duplicate and missing keys
// are errors.
void value_map(struct report *r, struct node *n, const struct field *fields, unsigned n_fields,
	void *base);

// A list whose elements are read one by one. The result is as long as the list, but for what is
// beyond n_max; a bad element is zero or half filled, its node is marked bad.
struct list_spec {
	const char *what; // "addresses"
	size_t item_bytes;
	bool is_needed; // at least one element
	unsigned n_max;
	void (*read)(struct report *r, struct node *n, void *item);
};
void *value_list(struct report *r, struct node *n, const struct list_spec *spec, uint32_t *n_out);

// For struct field.read. The number goes into a uint32_t, or with value_u16 into a uint16_t.
void value_u32(struct report *r, struct node *n, const struct field *f, void *to);
void value_u16(struct report *r, struct node *n, const struct field *f, void *to);
void value_bool(struct report *r, struct node *n, const struct field *f, void *to);
void value_word(struct report *r, struct node *n, const struct field *f, void *to); // into an enum
void value_name(struct report *r, struct node *n, const struct field *f, void *to); // CGN_NAME_MAX
void value_unsupported(struct report *r, struct node *n, const struct field *f, void *to);

// A choice: its index in `words`, or -1.
int value_choice(struct report *r, struct node *n, const char *const *words);

// A number in min..max.
bool value_number(struct report *r, struct node *n, uint64_t min, uint64_t max, uint64_t *to);

// The text of a scalar that says something, or NULL. `what` is what is allowed: "a path".
const char *value_text(struct report *r, struct node *n, const char *what);

// "100.64.0.1/10", host bits kept; the length must be there.
bool value_interface_prefix(struct report *r, struct node *n, struct cgn_prefix *to);
// "100.64.0.0/10" without host bits; a bare address is a /32.
bool value_prefix(struct report *r, struct node *n, struct cgn_prefix *to);
bool value_address(struct report *r, struct node *n, uint32_t *to);
// "203.0.113.0/28", "198.51.100.7" or "198.51.100.20-198.51.100.29"
bool value_address_range(struct report *r, struct node *n, struct cgn_address_range *to);
// "443" or "8000-8100", in min..65535
bool value_port_range(struct report *r, struct node *n, uint16_t min, struct cgn_port_range *to);

// "100.64.0.10:8443", "100.64.0.10:7000-7009", or a bare address: all ports, 0-65535
bool value_endpoints(
	struct report *r, struct node *n, uint32_t *address, struct cgn_port_range *ports);

// "N" or "N-M", decimal, without blanks. Does not report.
bool parse_span(const char *text, uint64_t *first, uint64_t *last);

uint32_t prefix_mask(uint8_t length);
struct cgn_address_range prefix_range(const struct cgn_prefix *p);
const char *address_shown(struct report *r, uint32_t address);
const char *prefix_shown(struct report *r, const struct cgn_prefix *p);
