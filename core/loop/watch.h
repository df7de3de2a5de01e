/* SPDX-License-Identifier: MIT */
#pragma once

#include "loop/loop.h"

/* Watches a folder and all below it for files that are written, made, moved or removed. */
struct watch;

/* fn runs on the loop's thread once nothing has changed for quiet_ms after a change. Folders that
 * are made later are watched as well. Names that begin with '.' or end with '~' do not count.
 * Returns owned. */
struct watch *watch_new(struct loop *l, const char *folder, int quiet_ms, void (*fn)(void *ctx),
                        void *ctx, struct err *err);
void watch_free(struct watch *w);
