/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

/* Does a function, or one inside of it, assign to a local from outside of it? Read from what
 * lua_dump wrote of it (Lua 5.4, not stripped). */
struct assigned {
    int upvalue, line; /* upvalue from 0 */
};

enum assigned_answer {
    ASSIGNED_NONE,
    ASSIGNED_FOUND,
    ASSIGNED_UNKNOWN /* no format that is known */
};

/* The first one; ret only when found. */
enum assigned_answer assigned_find(struct str dump, struct assigned *ret);
