/* SPDX-License-Identifier: MIT */
#pragma once

#include <lua.h>

#include <stdbool.h>

/* Tables that nobody can change (lua/frozen.lua makes them): what a script sees is an empty table
 * whose metatable has the values. Lua's own operations find them by metamethods; whatever looks at
 * a table raw has to ask here first. */

/* If the value at index (no pseudo index) is such a table, puts its values in its place.
 * [-0, +0, -] */
bool frozen_see(lua_State *L, int index);
/* Adds to `core` at the top what lua/frozen.lua is made of: frozen_key, metatable, upvalue,
 * set_upvalue, defined, assigned, holds_state. */
void frozen_add(lua_State *L);
