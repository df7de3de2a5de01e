/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* Hash map from byte strings to pointers; copies its keys, borrows its values. */
struct map;

/* Empty. Returns owned. */
struct map *map_new(void);
/* Frees the map and its keys, not the values. */
void map_free(struct map *m);
/* The value, or NULL. */
void *map_find(const struct map *m, struct str key);
/* Sets or replaces; value must not be NULL. Returns the value replaced, or NULL. */
void *map_set(struct map *m, struct str key, void *value);
/* Removes; returns the value that was there, or NULL. */
void *map_remove(struct map *m, struct str key);
size_t map_count(const struct map *m);
/* Visits in no particular order: start with *pos = 0; NULL at the end. Do not change the map
 * meanwhile. */
void *map_next(const struct map *m, size_t *pos, struct str *ret_key);
