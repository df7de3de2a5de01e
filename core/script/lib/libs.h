/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/mem.h"
#include "breaker/conf.h"

#include <lua.h>

#include <stdint.h>

/* The bindings. libs_open pushes `core`: everything that the host's own Lua (core/script/lua) is
 * built from. Each opener pushes its table. [-0, +1, m] */
void libs_open(lua_State *L);

/* Milliseconds of the duration at index ("610ms", "10s", or a number). Raises. */
int64_t lib_check_duration(lua_State *L, int index, const char *word);
int lib_store_open(lua_State *L);  /* store.*: reads and changes (lib/store.c, lib/read.c) */
int lib_bus_open(lua_State *L);    /* bus.* */
int lib_task_open(lua_State *L);   /* task.* */
int lib_json_open(lua_State *L);   /* json.* */
int lib_cjson_open(lua_State *L);  /* cjson.* */
int lib_string_open(lua_State *L); /* string.*, but dump */
int lib_math_open(lua_State *L);   /* math.*, its generator a task's own */
int lib_table_open(lua_State *L);  /* table.* */
/* Functions of Lua in a form for scripts: setmetatable, xpcall, rawget, rawlen, next. Adds to the
 * table at the top. */
void lib_base_add(lua_State *L);
int lib_cache_open(lua_State *L);     /* cache.* */
int lib_log_open(lua_State *L);       /* log.* */
int lib_clock_open(lua_State *L);     /* clock.* */
int lib_coroutine_open(lua_State *L); /* coroutine.* */
/* Adds to the table at the top what dispatch.lua needs of requests and rows. */
void lib_request_add(lua_State *L);
int lib_hal_item(lua_State *L); /* hal(row, base): what siblings get for a row */
int lib_hal_list(lua_State *L); /* hal_list(resource, query, base, finder): and for a collection */
/* call(method, url, body, options): http.* */
int lib_call(lua_State *L);
/* The query as { name = value }, decoded; what cannot be decoded is left out. [-0, +1, m] */
void lib_push_query(lua_State *L, struct arena *a, struct str query);
/* Adds view_begin and view_end to the table at the top: what dispatch.lua gives events to views
 * with. */
void lib_view_add(lua_State *L);
/* unit(fn) */
int lib_unit(lua_State *L);
/* breaker(name): the handle. lib_breaker_open registers its metatable and adds on_cancel, outcome
 * and note to the table at the top. */
int lib_breaker(lua_State *L);
void lib_breaker_open(lua_State *L);
/* Reads a table of a breaker's settings into ret. ERR_CONFIG. [-0, +0, m] */
int lib_breaker_layer(lua_State *L, int index, struct breaker_layer *ret, struct err *err);
/* breaker_settings() and breaker_check(all, own), for declare.lua. */
int lib_breaker_settings(lua_State *L);
int lib_breaker_check(lua_State *L);
