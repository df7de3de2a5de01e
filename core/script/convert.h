/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/field.h"

#include <lua.h>

/* Between Lua values, stored values and JSON. Text goes to the arena given. */

/* Pushes what a stored value reads as: decimals as numbers, timestamps as epoch ms, JSON as tables.
 * [-0, +1, m] */
void convert_push(lua_State *L, const struct field *f, const struct value *v);
/* Reads the Lua value at index as what field f stores, with the same liberties as JSON (numeric
 * strings and so on). Raises "orders.qty: expected an integer, got a table". owner names the table
 * for messages. [-0, +0, e] */
void convert_check(lua_State *L, int index, struct str owner, const struct field *f,
                   struct arena *a, struct value *ret);
/* Pushes a parsed document: objects and lists as tables (lists marked, so that they stay lists),
 * null inside of objects as absent, in lists as json.null. [-0, +1, m] */
void convert_push_json(lua_State *L, const struct json *j);
/* Appends the value at index as compact JSON: records with their fields, marked or non-empty
 * sequences as lists, other tables as objects with sorted keys; raises on functions, cycles, depth
 * over 64, NaN. out must be owned by a userdata (convert_buffer). [-0, +0, e] */
void convert_json(lua_State *L, int index, struct buf *out);
/* Pushes an empty buffer as a userdata that frees it. [-0, +1, m] */
struct buf *convert_buffer(lua_State *L);
/* Pushes a userdata that frees the arena which is returned; convert_arena_end frees it at once.
 * [-0, +1, m] */
struct arena *convert_arena(lua_State *L);
void convert_arena_end(lua_State *L, int index);
/* Marks the table at the top as a list. [-0, +0, m] */
void convert_mark_list(lua_State *L);
/* Is the table at index marked as one? [-0, +0, -] */
bool convert_is_marked(lua_State *L, int index);
/* Registers the metatables. */
void convert_open(lua_State *L);
