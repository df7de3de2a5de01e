/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* Reads a whole file of at most max bytes (ERR_TOO_LARGE beyond); appends to out. ERR_NOT_FOUND if
 * there is none. */
int file_read(const char *path, size_t max, struct buf *out, struct err *err);
/* Writes atomically and durably: temporary file beside it, fsync, rename, fsync of the folder. */
int file_write(const char *path, struct str content, int mode, struct err *err);
/* Makes a folder and its parents (mode 0700 for those it makes). */
int file_make_dirs(const char *path, struct err *err);
/* Takes an exclusive lock on path (made if missing), held until the descriptor is closed or the
 * process ends. Returns the descriptor, or -1: ERR_LOCKED if another process has it, its pid in the
 * message if the file names it. */
int file_lock(const char *path, struct err *err);

/* Visits the regular files below dir whose name ends with suffix, sorted by path (bytewise); paths
 * are relative to dir,
 * '/' between. Hidden names are passed over. fn returns 0, or -1 with err to stop. A missing dir
 * visits nothing. */
typedef int file_visit_fn(void *ctx, const char *relative_path, struct err *err);
int file_each(const char *dir, const char *suffix, file_visit_fn *fn, void *ctx, struct err *err);

/* n bytes from the kernel's generator. */
void file_random(void *out, size_t n);
