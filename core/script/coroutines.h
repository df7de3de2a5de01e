/* SPDX-License-Identifier: MIT */
#pragma once

#include <lua.h>

#include <stdint.h>

struct strand;

/* Coroutines that scripts make. One that is left unfinished is closed, so that its <close>
 * variables run, when the strand that first resumed it fails or is cancelled, or when its task
 * ends. Until then it is kept, and is memory of its task. */

/* Before co is resumed for the first time by L: it belongs to the running strand. [-0, +0, m] */
void coroutines_keep(lua_State *L, lua_State *co);
/* It has ended or was closed, or cannot be closed. [-0, +0, -] */
void coroutines_forget(lua_State *L, lua_State *co);
/* Closes what is left of those of s but the first `since` (s->coroutine_count at that time), the
 * youngest first, within the budget for <close> variables; they see the service that they had. Not
 * while one of them runs. */
void coroutines_close(struct strand *s, uint64_t since);
/* s has ended well: its parent goes on with them. */
void coroutines_hand_up(struct strand *s);
