/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/strand.h"

/* Work that several strands want done once: one leads and does it, the others wait. Whoever leads
 * may be cancelled at any moment; then the others wake and one of them leads. What the work is, and
 * what came of it, is Lua's (lua/shared.lua, lua/collapser.lua). */

/* The strand has ended, however it did: what it led goes to who waits. */
void flight_drop_all(struct strand *s);
/* Adds flight, lead, await, wake, leave, request_cache, service and loop_ms to `core` at the top.
 * [-0, +0, m] */
void flight_add(lua_State *L);
