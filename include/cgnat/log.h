// SPDX-License-Identifier: BSD-3-Clause
// Log lines of the control thread, to stderr. Workers never log: they count.
//
// Lower case, no full stop, object first, facts as key=value: "pool res1: exhausted addrs=3".
#pragma once

enum cgn_log_level {
	CGN_LOG_ERROR, // someone must act
	CGN_LOG_WARNING, // service is degraded
	CGN_LOG_NOTICE, // life cycle
	CGN_LOG_INFO, // for us
	CGN_LOG_DEBUG,
};

// Lines above this level are not written. Default CGN_LOG_NOTICE; CGNAT_LOG=debug in the
// environment raises it (cgn_log_init).
extern enum cgn_log_level cgn_log_level;
void cgn_log_init(void);

// One line; a newline is added. When stderr is systemd's journal (JOURNAL_STREAM) the line starts
// with its "<N>" priority instead of the level's name.
void cgn_log(enum cgn_log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define LOG(level, ...) cgn_log(CGN_LOG_##level, __VA_ARGS__)
