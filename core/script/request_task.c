/* SPDX-License-Identifier: MIT */
/* Creates and routes as tasks: dispatch.lua runs the script's functions, this side gives it bodies
 * and takes answers. */
#include "rest/rest.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/lib_store.h"
#include "script/request.h"

#include <lauxlib.h>

#include <stdlib.h>

static void push_dispatch(lua_State *L, struct host *h, const char *name)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->dispatch_ref);
    lua_getfield(L, -1, name);
    lua_remove(L, -2);
}

static void push_member(lua_State *L, int ref, int number)
{
    lua_rawgeti(L, LUA_REGISTRYINDEX, ref);
    lua_rawgeti(L, -1, number);
    lua_remove(L, -2);
}

static void push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
}

/* ---- create ---- */

static int create_enter(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    push_dispatch(L, t->host, "create");
    push_member(L, t->host->resources_ref, r->endpoint->resource->number);
    push_str(L, t->service->name);
    push_str(L, t->correlation_id);
    return 3;
}

static void add_location(struct request *r, int64_t id)
{
    struct buf out = BUF_INIT;
    buf_lit(&out, "http://");
    buf_adds(&out, r->http->host);
    buf_adds(&out, r->endpoint->resource->path);
    buf_addc(&out, '/');
    buf_add_int(&out, id);
    request_add_header(r, STR("Location"), arena_str(r->arena, buf_str(&out)));
    buf_deinit(&out);
}

/* Results: the row, the status. */
static void create_leave(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    struct record *record = record_at(L, 1);
    if (record == NULL || record->table != r->endpoint->resource->table)
        fail_misuse(L, "before_create of %.*s returned something that is no row of it",
                    STR_ARG(r->endpoint->resource->table->name));
    r->status = (int)lua_tointeger(L, 2);
    r->content_type = STR("application/json");
    r->header_count = 0;
    buf_clear(&r->text);
    rest_write_row(&r->text, record->table, record->row);
    if (r->status == 201)
        add_location(r, record->row->id);
}

static void request_ended(struct task *t, const struct task_error *error)
{
    struct request *r = t->owner;
    if (error != NULL)
        request_fail(r, error);
    else
        request_answer(r);
}

static const struct task_class create_class = {create_enter, create_leave, request_repeat_seal,
                                               request_repeat_seals, request_ended};

/* ---- route ---- */

static int route_enter(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    push_dispatch(L, t->host, "route");
    push_member(L, t->host->routes_ref, r->endpoint->route->number);
    lua_createtable(L, (int)r->match.param_count, 0);
    for (size_t i = 0; i < r->match.param_count; i++) {
        push_str(L, r->match.params[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    push_str(L, t->service->name);
    push_str(L, t->correlation_id);
    return 4;
}

static void take_header(lua_State *L, struct request *r)
{
    struct str name, value;
    if (lua_type(L, -2) != LUA_TSTRING)
        fail_misuse(L, "response: headers are { name = value }");
    name.p = lua_tolstring(L, -2, &name.n);
    value.p = luaL_tolstring(L, -1, &value.n);
    if (!http_token_is_valid(name))
        fail_misuse(L, "response: \"%.*s\" is no header name", STR_ARG(name));
    if (!http_value_is_valid(value))
        fail_misuse(L, "response: the value of header %.*s has CR, LF or another control byte",
                    STR_ARG(name));
    value = arena_str(r->arena, value);
    if (str_ieq(name, STR("Content-Type")))
        r->content_type = value;
    else
        request_add_header(r, arena_str(r->arena, name), value);
    lua_pop(L, 1);
}

/* Results: status, media type, text, headers or nil. */
static void route_leave(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    struct str text, type;
    r->header_count = 0;
    r->status = (int)lua_tointeger(L, 1);
    type.p = luaL_checklstring(L, 2, &type.n);
    r->content_type = arena_str(r->arena, type);
    text.p = luaL_checklstring(L, 3, &text.n);
    if (text.n > BUDGET_TEXT)
        fail_raise(L, ERR_BUDGET, "an answer of more than 8 MiB");
    buf_clear(&r->text);
    buf_adds(&r->text, text);
    if (!lua_istable(L, 4))
        return;
    frozen_see(L, 4);
    lua_pushnil(L);
    while (lua_next(L, 4) != 0) {
        take_header(L, r);
        lua_pop(L, 1);
    }
}

static const struct task_class route_class = {route_enter, route_leave, request_repeat_seal,
                                              request_repeat_seals, request_ended};

/* ---- starting ---- */

/* The body of a create: parsed here, so that a bad one costs no coroutine. False if the request was
 * answered. */
static bool parse_body(struct request *r)
{
    struct err err;
    if (!rest_is_json(http_header_find(r->http, STR("Content-Type")))) {
        request_fail_code(r, ERR_MEDIA_TYPE,
                          "the body must be JSON (Content-Type: application/json)");
        return false;
    }
    if (r->http->body.n == 0) {
        request_fail_code(r, ERR_INVALID, "a JSON body is required");
        return false;
    }
    struct json *j = arena_alloc(r->arena, sizeof(*j));
    if (json_parse(r->arena, r->http->body, 64, j, &err) != 0) {
        err_wrap(&err, "JSON parse error");
        request_fail_code(r, ERR_INVALID, err.message);
        return false;
    }
    r->body = j;
    return true;
}

void request_start_task(struct request *r)
{
    struct host *h = r->host;
    bool create = r->endpoint->kind == ENDPOINT_CREATE;
    if (create && !parse_body(r))
        return;
    struct task_conf conf = {
        .class = create ? &create_class : &route_class,
        .owner = r,
        .service = r->endpoint->service,
        .correlation_id = r->correlation_id,
        .what = r->http->path,
        .deadline_ns = loop_now_ns(h->loop) + h->request_ms * NS_PER_MS,
    };
    task_start(h, &conf);
}

struct request *request_of_task(const struct task *t)
{
    return t->class == &create_class || t->class == &route_class ? t->owner : NULL;
}
