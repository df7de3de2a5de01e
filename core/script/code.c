/* SPDX-License-Identifier: MIT */
/* Half of what a state costs is compiling the host's own Lua and the scripts, which is the same for
 * every worker. A text is found by its bytes, so that nothing can be mistaken for another. */
#include "script/code.h"

#include "base/buf.h"
#include "base/mem.h"

#include <lauxlib.h>

#include <stdlib.h>

struct entry {
    struct str chunk, source; /* in the arena */
    struct buf made;
};

struct code {
    struct arena *arena;
    struct entry *entries;
    size_t count, cap;
};

static const char code_key = 0; /* registry: the code in use */

struct code *code_new(void)
{
    struct code *c = xcalloc(1, sizeof(*c));
    c->arena = arena_new(0);
    return c;
}

void code_free(struct code *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        buf_deinit(&c->entries[i].made);
    free(c->entries);
    arena_free(c->arena);
    free(c);
}

static struct entry *find(const struct code *c, struct str source, struct str chunk)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq(c->entries[i].chunk, chunk) && str_eq(c->entries[i].source, source))
            return &c->entries[i];
    return NULL;
}

static int add_made(lua_State *L, const void *p, size_t n, void *made)
{
    (void)L;
    buf_add(made, p, n);
    return 0;
}

/* Keeps the function at the top. */
static void keep(lua_State *L, struct code *c, struct str source, struct str chunk)
{
    vec_reserve(&c->entries, &c->cap, c->count + 1, sizeof(*c->entries));
    struct entry *e = &c->entries[c->count++];
    *e = (struct entry){arena_str(c->arena, chunk), arena_str(c->arena, source), BUF_INIT};
    lua_dump(L, add_made, &e->made, 0);
}

void code_use(lua_State *L, struct code *c)
{
    lua_pushlightuserdata(L, c);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &code_key);
}

void code_load(lua_State *L, struct str source, const char *chunk)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &code_key);
    struct code *c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct entry *e = c != NULL ? find(c, source, str_from(chunk)) : NULL;
    struct str text = e != NULL ? buf_str(&e->made) : source;
    if (luaL_loadbufferx(L, text.p, text.n, chunk, e != NULL ? "b" : "t") != LUA_OK)
        lua_error(L);
    if (c != NULL && e == NULL)
        keep(L, c, source, str_from(chunk));
}
