/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/spec.h"

#include <lauxlib.h>

/* What the files of the spec runner share with each other; nobody else includes it. */
struct spec {
    const struct spec_conf *conf;
    const char *folder;             /* of the case; NULL between cases */
    const struct spec_world *world; /* NULL: closed */
    struct arena *scratch;
    struct buf log;    /* what scripts logged in this case, each with '\0' behind it */
    bool called, gone; /* what a discarded letter's callback said */
};

/* The first upvalue of every word. */
struct spec *spec_of(lua_State *L);
/* The open system; raises if there is none. [-0, +0, e] */
const struct spec_world *spec_check_world(lua_State *L);
/* Memory of this word, gone with the next one: nothing is lost when Lua raises between. */
struct arena *spec_fresh_scratch(struct spec *s);
/* Runs what is due at this moment; raises if that has no end. [-0, +0, e] */
void spec_settle(lua_State *L, const struct spec_world *w);
/* Sets a member of the table at the top. [-0, +0, m] */
void spec_set_text(lua_State *L, const char *name, struct str s);

/* A host's `logged`, with ctx = the spec. */
void spec_logged(void *ctx, struct str message);

/* The words that look at the system or disturb it (spec_look.c); ends with name == NULL. */
extern const luaL_Reg spec_look_words[];
