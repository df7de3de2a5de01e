/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"
#include "script/program.h"
#include "script/tree.h"

#include <lua.h>

/* Loading a script tree: a fresh state, the sandbox, every file of a system. */
struct load_conf {
    const struct tree *tree;
    /* Lays settings from outside over the system file's tables; may be NULL. */
    int (*overlay)(void *ctx, struct arena *a, struct str prefix, struct json *table,
                   struct err *err);
    void *ctx;
    /* The services of this process, "order,delivery"; empty: those without a url; "*": all. */
    struct str only;
    /* What was compiled before, or NULL. Borrowed while a state is loaded. */
    struct code *code;
};

/* Loads everything and checks it. err: "scripts/routes/x/y.lua:12: ...". Returns the state (owned),
 * its normalised declarations kept for load_program and host_new. */
lua_State *load_state(const struct load_conf *conf, struct err *err);
/* Closes a state that load_state made. */
void load_close(lua_State *L);
/* The program of a loaded state. Returns owned, generation 1. */
struct program *load_program(lua_State *L, const struct load_conf *conf, struct err *err);

/* Registry keys of a loaded state: the normalised declarations, and the functions of dispatch.lua.
 */
extern const char load_program_key;
extern const char load_dispatch_key;
/* Appends what an editor knows of the words of scripts: annotations for lua-language-server. */
int load_stubs(struct buf *out, struct err *err);
