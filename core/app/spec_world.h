/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/code.h"
#include "script/spec.h"

/* The systems of specs: store, bus and one worker on a single loop under a fake clock, without
 * sockets and threads, in a folder that lives as long as a case. */
struct spec_case;

/* Cases of a file whose scripts are these unless it brings its own; both are borrowed.
 * code: borrowed as well, what other cases compiled, or NULL. slow_reads: on the engine that
 * answers every read a turn later. Returns owned. */
struct spec_case *spec_world_new(const char *scripts, const char *system, struct code *code,
                                 bool slow_reads);
/* After the last case. */
void spec_world_free(struct spec_case *c);

/* Of struct spec_stage, with ctx = the spec_case. */
const char *spec_world_begin(void *ctx, struct err *err);
const struct spec_world *spec_world_open(void *ctx, const char *scripts, const char *system,
                                         struct err *err);
void spec_world_close(void *ctx);
void spec_world_end(void *ctx);
