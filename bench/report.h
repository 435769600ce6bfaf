// SPDX-License-Identifier: BSD-3-Clause
// What the workers measured, as text or as one JSON object on stdout.
#pragma once
#include "measure.h"
#include "setup.h"

void report(const struct setup *s, const struct measure *m);
