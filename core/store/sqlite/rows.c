/* SPDX-License-Identifier: MIT */

/* Results of unknown number, in the arena of whoever asked: growing leaves the old copy behind,
 * which the arena gives back with all the rest. */

#include "store/sqlite/engine.h"

#include <string.h>

void *sqlite_rows_add(struct sqlite_rows *rows)
{
    if (rows->count == rows->cap) {
        size_t cap = rows->cap == 0 ? 8 : rows->cap * 2;
        char *items = arena_alloc(rows->arena, cap * rows->size);
        if (rows->count > 0)
            memcpy(items, rows->items, rows->count * rows->size);
        rows->items = items;
        rows->cap = cap;
    }
    return (char *)rows->items + rows->count++ * rows->size;
}
