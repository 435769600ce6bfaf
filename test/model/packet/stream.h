// SPDX-License-Identifier: BSD-3-Clause
// Random packets that make sense to the model's state: handshakes, answers, fragments, errors about
// what was sent, and a good deal of nonsense.
#pragma once
#include "../../packet/frame.h"
#include "config.h"
#include "cgnat/dataplane.h"

enum step_kind {
	STEP_FRAME,
	STEP_WAIT,
	STEP_CLEAR,
};

// A frame from outside that was made for a mapping. When steps are left out, the mapping may have
// another external endpoint: the frame is made to follow it.
enum toward {
	TOWARD_NOTHING,
	TOWARD_ENDPOINT,
	TOWARD_ADDRESS, // a fragment without ports
	TOWARD_QUOTE, // an ICMP error about what the mapping sent
};

struct step {
	enum step_kind kind;
	uint32_t burst; // steps with the same number in a row are one burst; 0: none
	bool of_sessions; // a burst of packets of sessions, else of new mappings
	bool more; // of the burst will follow
	uint8_t ifc, worker;
	uint8_t toward, protocol;
	uint32_t internal;
	uint16_t internal_port;
	uint64_t wait_ms;
	enum cgn_walk_kind clear;
	struct cgn_filter filter;
	uint16_t len;
	uint8_t *frame; // allocated
};

struct stream {
	struct random random;
	const struct random_config *config;
	struct step pending[64]; // fragments that have not been sent yet
	unsigned n_pending;
	unsigned burst; // steps left of one
	unsigned burst_kind, burst_worker, burst_number;
	uint16_t next_id;
};

void stream_begin(struct stream *s, const struct random_config *config, uint64_t seed);
void stream_next(struct stream *s, struct step *step);
void stream_end(struct stream *s);

// Makes the step's frame follow its mapping.
void step_follow(struct step *step);
