// SPDX-License-Identifier: BSD-3-Clause
// Tells systemd how far we are (sd_notify(3)), without libsystemd. Does nothing where nobody asked.
#pragma once

//   state   "READY=1", "STOPPING=1"
// Returns 0, also when $NOTIFY_SOCKET is not set, or -errno.
int notify_send(const char *state);
