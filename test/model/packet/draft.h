// SPDX-License-Identifier: BSD-3-Clause
// Frames for the stream: ends, flows and errors, by what the model's state has. Each function that takes
// a draft fills in its frame and the interface it comes in by.
#pragma once
#include "../../packet/frame.h"
#include "config.h"
#include "stream.h"
#include "world.h"

#define SIZE_MAX_MADE (FRAME_MAX - 100u) // room for all that is added later

enum {
	IN_SIDE,
	OUT_SIDE,
};

// A frame being made.
struct draft {
	struct frame f;
	unsigned ifc;
	enum toward toward;
	const struct mapping *mapping;
};

extern struct random *draft_random; // of the stream at work
extern const struct random_config *draft_config;

#define PICK(...) \
	draft_pick((const uint32_t[]){__VA_ARGS__}, sizeof((const uint32_t[]){__VA_ARGS__}))
uint32_t draft_pick(const uint32_t *of, size_t bytes);

struct endpoint draft_remote(void);
const struct mapping *draft_any_mapping(void);
const struct session *draft_any_session(const struct mapping *m);
struct endpoint draft_external(void);
uint8_t draft_some_flags(void);
uint8_t draft_likely_flags(const struct session *s, bool outbound);
struct frame draft_flow_frame(uint8_t protocol, struct endpoint from, struct endpoint to,
	bool from_inside, uint8_t flags);
void draft_vary(struct draft *d);
uint8_t draft_some_protocol(void);
void draft_outbound_new(struct draft *d);
void draft_along(struct draft *d, bool from_inside);
void draft_unsolicited(struct draft *d);
void draft_hairpin_to(struct draft *d);
void draft_strange_echo(struct draft *d);
void draft_to_ourselves(struct draft *d);
void draft_other_kind(struct draft *d);
void draft_bypassed(struct draft *d);
void draft_error_about(struct draft *d);
