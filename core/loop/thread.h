/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/err.h"

/* A named thread with all signals but those of its own faults blocked (the main thread takes them).
 */
struct thread;

/* Returns owned; fn(arg) runs on it. name: at most 15 bytes, shown by top and gdb. */
struct thread *thread_start(const char *name, void (*fn)(void *arg), void *arg, struct err *err);
/* Waits for its end and frees it. NULL is legal. */
void thread_join(struct thread *t);
