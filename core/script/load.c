/* SPDX-License-Identifier: MIT */
/* Builds a Lua state from a script tree. Files are read once, in order of path; everything that
 * scripts may use comes from boot.lua and the bindings, nothing else is reachable. */
#include "script/load.h"

#include "script/alloc.h"
#include "script/budget.h"
#include "script/code.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/lib/libs.h"
#include "script/veneers.h"

#include <lauxlib.h>
#include <lualib.h>

#include <stdio.h>
#include <stdlib.h>

/* For what the host itself does with the declarations of all files: they may bring metatables. */
#define CHECKS_CPU_MS 1000

const char load_program_key = 0; /* registry: the normalised declarations */
const char load_dispatch_key = 0;

/* ---- the state ---- */

static const struct veneer *veneer_named(struct str name)
{
    for (const struct veneer *v = veneers; v->name != NULL; v++)
        if (str_eq(str_from(v->name), name))
            return v;
    return NULL;
}

/* veneer(name): runs another file of the host's Lua with core and veneer. Upvalue 1: core. */
static int run_veneer(lua_State *L)
{
    struct str name;
    name.p = luaL_checklstring(L, 1, &name.n);
    const struct veneer *v = veneer_named(name);
    if (v == NULL)
        return luaL_error(L, "no veneer %s", name.p);
    const char *chunk = lua_pushfstring(L, "=moontide/%s.lua", v->name);
    code_load(L, (struct str){v->source, v->length}, chunk);
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushvalue(L, lua_upvalueindex(1));
    lua_pushcclosure(L, run_veneer, 1);
    lua_call(L, 2, 1);
    return 1;
}

static void open_lua_libraries(lua_State *L)
{
    static const luaL_Reg libraries[] = {
        {LUA_GNAME, luaopen_base},
        {LUA_COLIBNAME, luaopen_coroutine},
        {LUA_TABLIBNAME, luaopen_table},
        {LUA_STRLIBNAME, luaopen_string},
        {LUA_MATHLIBNAME, luaopen_math},
        {LUA_UTF8LIBNAME, luaopen_utf8},
        {NULL, NULL},
    };
    for (const luaL_Reg *lib = libraries; lib->func != NULL; lib++) {
        luaL_requiref(L, lib->name, lib->func, 1);
        lua_pop(L, 1);
    }
}

/* [] -> boot table */
static void push_boot(lua_State *L)
{
    open_lua_libraries(L);
    fail_open(L);
    convert_open(L);
    libs_open(L); /* core */
    lua_pushcclosure(L, run_veneer, 1);
    lua_pushliteral(L, "boot");
    lua_call(L, 1, 1);
}

/* ---- the tree ---- */

/* { path, source, name } */
static void push_file(lua_State *L, const struct tree_file *f)
{
    lua_createtable(L, 0, 3);
    lua_pushliteral(L, "scripts/");
    lua_pushlstring(L, f->path.p, f->path.n);
    lua_concat(L, 2);
    lua_setfield(L, -2, "path");
    lua_pushlstring(L, f->source.p, f->source.n);
    lua_setfield(L, -2, "source");
    lua_pushlstring(L, f->name.p, f->name.n);
    lua_setfield(L, -2, "name");
}

/* { system = file, lib = {file...}, routes = {...}, policies = {...} } */
static void push_tree(lua_State *L, const struct tree *t)
{
    static const char *const names[] = {"system", "lib", "routes", "policies"};
    lua_newtable(L);
    for (int folder = TREE_LIB; folder <= TREE_POLICIES; folder++) {
        lua_newtable(L);
        lua_setfield(L, -2, names[folder]);
    }
    for (size_t i = 0; i < t->count; i++) {
        const struct tree_file *f = &t->files[i];
        if (f->folder == TREE_SYSTEM) {
            push_file(L, f);
            lua_setfield(L, -2, names[TREE_SYSTEM]);
            continue;
        }
        lua_getfield(L, -1, names[f->folder]);
        push_file(L, f);
        lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
        lua_pop(L, 1);
    }
}

/* ---- settings from outside ---- */

/* Lays overrides over one table of the system: table -> JSON -> overlay -> table. [table] ->
 * [table] */
static void overlay_table(lua_State *L, const struct load_conf *conf, struct str prefix)
{
    struct buf *text = convert_buffer(L);
    convert_json(L, -2, text);
    struct arena *a = convert_arena(L);
    struct json j;
    struct err err;
    int failed = json_parse(a, buf_str(text), 64, &j, &err) != 0 ||
                 (j.type == JSON_OBJECT && conf->overlay(conf->ctx, a, prefix, &j, &err) != 0);
    if (!failed)
        convert_push_json(L, &j);
    if (failed)
        fail_raise_err(L, &err);
    convert_arena_end(L, -2);
    lua_replace(L, -4);
    lua_pop(L, 2);
}

/* overlay(system). Upvalue 1: the conf. */
static int overlay_system(lua_State *L)
{
    static const struct {
        const char *member;
        struct str prefix;
    } tables[] = {{"breakers", STR("breakers.")},
                  {"config", STR("config.")},
                  {"services", STR("services.")},
                  {"json", STR("json.")}};
    const struct load_conf *conf = lua_touserdata(L, lua_upvalueindex(1));
    for (size_t i = 0; conf->overlay != NULL && i < sizeof(tables) / sizeof(*tables); i++) {
        lua_getfield(L, 1, tables[i].member);
        overlay_table(L, conf, tables[i].prefix);
        lua_setfield(L, 1, tables[i].member);
    }
    return 0;
}

/* [light userdata conf] */
static int load_all(lua_State *L)
{
    struct load_conf *conf = lua_touserdata(L, 1);
    code_use(L, conf->code);
    push_boot(L);
    int boot = lua_gettop(L);
    lua_getfield(L, boot, "dispatch");
    lua_rawsetp(L, LUA_REGISTRYINDEX, &load_dispatch_key);
    lua_getfield(L, boot, "load");
    push_tree(L, conf->tree);
    lua_pushlightuserdata(L, conf);
    lua_pushcclosure(L, overlay_system, 1);
    lua_pushlstring(L, conf->only.p != NULL ? conf->only.p : "", conf->only.n);
    lua_call(L, 3, 1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &load_program_key);
    code_use(L, NULL); /* which the state may outlive */
    return 0;
}

/* The error value at the top as text with its origin in front. */
static void take_error(lua_State *L, struct err *err)
{
    struct arena *a = arena_new(1024);
    struct task_error e;
    fail_read(L, a, &e);
    if (e.origin.n > 0)
        err_set(err, ERR_SCRIPT, "%.*s: %.*s", STR_ARG(e.origin), STR_ARG(e.message));
    else
        err_set(err, ERR_SCRIPT, "%.*s", STR_ARG(e.message));
    arena_free(a);
}

/* Every entry into Lua is protected: only a defect of the host gets here. */
static int panic(lua_State *L)
{
    const char *text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "unknown";
    fprintf(stderr, "moontide: unprotected error in Lua: %s\n", text);
    abort();
}

/* lua_pcall(fn with conf), watched: on the thread that loads, with a CPU timer of its own. */
static int call_watched(lua_State *L, const struct load_conf *conf, struct err *err)
{
    struct meter meter;
    struct budget_frame before;
    struct budget *b = budget_new();
    if (budget_start(b, err) != 0) {
        budget_free(b);
        return -1;
    }
    budget_attach(b, L);
    budget_meter_start(&meter, CHECKS_CPU_MS);
    lua_pushcfunction(L, load_all);
    lua_pushlightuserdata(L, (void *)conf);
    budget_enter(b, &meter, L, &before);
    int status = lua_pcall(L, 1, 0, 0);
    budget_leave(b, &before);
    budget_stop(b);
    budget_attach(NULL, L);
    lua_sethook(L, NULL, 0, 0);
    if (status != LUA_OK)
        take_error(L, err);
    budget_free(b);
    return status == LUA_OK ? 0 : -1;
}

static lua_State *open_state(struct err *err)
{
    struct alloc *a = alloc_new();
    lua_State *L = lua_newstate(alloc_lua, a);
    if (L == NULL) {
        alloc_free(a);
        err_set(err, ERR_INTERNAL, "no memory for a Lua state");
        return NULL;
    }
    lua_atpanic(L, panic);
    return L;
}

void load_close(lua_State *L)
{
    void *a;
    lua_getallocf(L, &a);
    lua_close(L);
    alloc_free(a);
}

lua_State *load_state(const struct load_conf *conf, struct err *err)
{
    lua_State *L = open_state(err);
    if (L == NULL)
        return NULL;
    *(void **)lua_getextraspace(L) = NULL;
    if (call_watched(L, conf, err) != 0) {
        load_close(L);
        return NULL;
    }
    return L;
}

struct stubs_request {
    struct buf *out;
};

static int write_stubs(lua_State *L)
{
    struct stubs_request *r = lua_touserdata(L, 1);
    struct str text;
    push_boot(L);
    lua_getfield(L, -1, "stubs");
    lua_call(L, 0, 1);
    text.p = lua_tolstring(L, -1, &text.n);
    buf_adds(r->out, text);
    return 0;
}

int load_stubs(struct buf *out, struct err *err)
{
    lua_State *L = open_state(err);
    if (L == NULL)
        return -1;
    *(void **)lua_getextraspace(L) = NULL;
    struct stubs_request r = {out};
    lua_pushcfunction(L, write_stubs);
    lua_pushlightuserdata(L, &r);
    int failed = lua_pcall(L, 1, 0, 0) != LUA_OK;
    if (failed)
        take_error(L, err);
    load_close(L);
    return failed ? -1 : 0;
}

struct program_request {
    const struct load_conf *conf;
    struct program *program;
};

static int read_program(lua_State *L)
{
    struct program_request *r = lua_touserdata(L, 1);
    lua_rawgetp(L, LUA_REGISTRYINDEX, &load_program_key);
    r->program = program_read(L, r->conf->tree->system);
    return 0;
}

struct program *load_program(lua_State *L, const struct load_conf *conf, struct err *err)
{
    struct program_request r = {conf, NULL};
    lua_pushcfunction(L, read_program);
    lua_pushlightuserdata(L, &r);
    if (lua_pcall(L, 1, 0, 0) != LUA_OK) {
        take_error(L, err);
        return NULL;
    }
    return r.program;
}
