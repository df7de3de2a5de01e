/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#include <stddef.h>

/* Small host allocations abort in one place when memory is gone. What clients or scripts can make
 * large is charged to a limit before it gets here. */
void *xmalloc(size_t size);
void *xcalloc(size_t count, size_t size);
void *xrealloc(void *old, size_t size);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);

/* Grows the array *items (of element size) to hold at least need elements, doubling *cap. Never
 * fails. */
void vec_reserve(void *items_ptr, size_t *cap, size_t need, size_t size);

/* A region: many small allocations, one release. Not thread-safe; may be handed from thread to
 * thread. */
struct arena;

/* Returns owned; the first block holds size_hint bytes. 0: a page, the common case and the
 * cheapest. */
struct arena *arena_new(size_t size_hint);
void arena_free(struct arena *a);
/* Aligned to 16, uninitialised / zeroed. Valid until arena_free. */
void *arena_alloc(struct arena *a, size_t size);
void *arena_zalloc(struct arena *a, size_t size);
/* Copies; the copy is also NUL-terminated. */
struct str arena_str(struct arena *a, struct str s);
/* Bytes handed out so far. */
size_t arena_used(const struct arena *a);
