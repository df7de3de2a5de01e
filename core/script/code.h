/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/str.h"

#include <lua.h>

/* What was compiled for one state, for the others and for the next tree: reading code back is
 * several times cheaper than compiling its text. Not for two threads at once. */
struct code;

/* Returns owned: empty. No state may use it any more when it is freed. */
struct code *code_new(void);
void code_free(struct code *c);

/* From here on code_load in this state uses c, which may be NULL: none. Borrows. [-0, +0, m] */
void code_use(lua_State *L, struct code *c);
/* The function of a text, or raises its syntax error. Texts only: bytecode is refused, but for what
 * the host itself has made of the same text. [-0, +1, e] */
void code_load(lua_State *L, struct str source, const char *chunk);
/* A tree is loaded: what no state has asked for since the last call is forgotten. c may be NULL. */
void code_forget(struct code *c);
/* How many texts it knows. */
size_t code_count(const struct code *c);
