/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#include <stdbool.h>

/* Does a function, or one inside of it, assign to a local from outside of it? Read from what
 * lua_dump wrote of it (Lua 5.4, not stripped). */
struct assigned {
    int upvalue, line; /* upvalue from 0 */
};

/* The first one. False also for a format that is not known. */
bool assigned_find(struct str dump, struct assigned *ret);
