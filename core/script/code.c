/* SPDX-License-Identifier: MIT */
/* Half of what a state costs is compiling the host's own Lua and the scripts, which is the same for
 * every worker, and mostly the same for the next generation. A text is found by its bytes, so that
 * nothing can be mistaken for another. */
#include "script/code.h"

#include "base/buf.h"
#include "base/mem.h"

#include <lauxlib.h>

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct str chunk, source, made; /* in memory */
    char *memory;
    bool used; /* since code_forget */
};

struct code {
    struct entry *entries;
    size_t count, cap;
};

static const char code_key = 0; /* registry: the code in use */

struct code *code_new(void)
{
    return xcalloc(1, sizeof(struct code));
}

void code_free(struct code *c)
{
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++)
        free(c->entries[i].memory);
    free(c->entries);
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

static struct str put(char **to, struct str s)
{
    struct str copy = {*to, s.n};
    memcpy(*to, s.p, s.n);
    *to += s.n;
    return copy;
}

/* Keeps the function at the top. */
static void keep(lua_State *L, struct code *c, struct str source, struct str chunk)
{
    struct buf made = BUF_INIT;
    lua_dump(L, add_made, &made, 0); /* raises nothing: the writer does not fail */
    vec_reserve(&c->entries, &c->cap, c->count + 1, sizeof(*c->entries));
    struct entry *e = &c->entries[c->count++];
    char *to = e->memory = xmalloc(chunk.n + source.n + made.n);
    e->chunk = put(&to, chunk);
    e->source = put(&to, source);
    e->made = put(&to, buf_str(&made));
    e->used = true;
    buf_deinit(&made);
}

void code_use(lua_State *L, struct code *c)
{
    lua_pushlightuserdata(L, c);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &code_key);
}

/* The parser's message, on top, says what it wanted; what was forgotten is mostly a comma. */
static void say_comma(lua_State *L)
{
    static const char *const other[] = {"end'", "return'", "local'", "then'", "do'", "if'", "for'"};
    const char *wanted = strstr(lua_tostring(L, -1), ": '}' expected");
    const char *near = wanted != NULL ? strstr(wanted, " near '") : NULL;
    if (near == NULL)
        return;
    struct str token = str_from(near + strlen(" near '"));
    bool begins = token.n > 0 && (isalpha((unsigned char)token.p[0]) || strchr("_\"{", token.p[0]));
    for (size_t i = 0; i < sizeof(other) / sizeof(other[0]); i++)
        begins = begins && !str_starts(token, str_from(other[i]));
    if (!begins)
        return;
    lua_pushliteral(L, "; is a comma missing before it?");
    lua_concat(L, 2);
}

void code_load(lua_State *L, struct str source, const char *chunk)
{
    lua_rawgetp(L, LUA_REGISTRYINDEX, &code_key);
    struct code *c = lua_touserdata(L, -1);
    lua_pop(L, 1);
    struct entry *e = c != NULL ? find(c, source, str_from(chunk)) : NULL;
    if (e != NULL)
        e->used = true;
    struct str text = e != NULL ? e->made : source;
    if (luaL_loadbufferx(L, text.p, text.n, chunk, e != NULL ? "b" : "t") != LUA_OK) {
        say_comma(L);
        lua_error(L);
    }
    if (c != NULL && e == NULL)
        keep(L, c, source, str_from(chunk));
}

void code_forget(struct code *c)
{
    size_t kept = 0;
    if (c == NULL)
        return;
    for (size_t i = 0; i < c->count; i++) {
        struct entry e = c->entries[i];
        if (!e.used) {
            free(e.memory);
            continue;
        }
        e.used = false;
        c->entries[kept++] = e;
    }
    c->count = kept;
}

size_t code_count(const struct code *c)
{
    return c->count;
}
