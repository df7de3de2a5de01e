/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/loop.h"

/* Delivers signals to fn on the loop's thread. SIGPIPE is ignored process-wide. */
struct signals;

/* Takes the signals listed (0 ends the list). Returns owned. */
struct signals *signals_new(struct loop *l, const int *numbers, void (*fn)(void *ctx, int number),
                            void *ctx, struct err *err);
void signals_free(struct signals *s);
