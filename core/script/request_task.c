/* SPDX-License-Identifier: MIT */
/* Changes, routes and guards as tasks: dispatch.lua runs the script's functions, this side gives it
 * bodies and takes answers. */
#include "rest/hal.h"
#include "rest/rest.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/lib/store.h"
#include "script/passage.h"

#include <lauxlib.h>

#include <assert.h>
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

/* ---- changes of rows ---- */

/* function(resource, service, correlation id, id or nil) */
static int change_enter(lua_State *L, struct task *t)
{
    static const char *const names[] = {
        [ENDPOINT_CREATE] = "create",
        [ENDPOINT_REPLACE] = "replace",
        [ENDPOINT_MERGE] = "merge",
        [ENDPOINT_DELETE] = "delete",
    };
    struct request *r = t->owner;
    int64_t id;
    push_dispatch(L, t->host, names[r->endpoint->kind]);
    push_member(L, t->host->resources_ref, r->endpoint->resource->number);
    push_str(L, t->service->name);
    push_str(L, t->correlation_id);
    if (r->match.param_count > 0 && str_to_int(r->match.params[0], &id))
        lua_pushinteger(L, id);
    else
        lua_pushnil(L);
    return 4;
}

static void add_location(struct request *r, int64_t id)
{
    struct buf out = BUF_INIT;
    buf_adds(&out, r->base);
    buf_adds(&out, r->endpoint->resource->rest.path);
    buf_addc(&out, '/');
    buf_add_int(&out, id);
    request_add_header(r, STR("Location"), arena_str(r->arena, buf_str(&out)));
    buf_deinit(&out);
}

/* Results: the row or nil, the status. The row is written as the unit leaves it, with what hooks
 * changed afterwards; a body only if the client said which it accepts. */
static void change_leave(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    const struct resource *resource = r->endpoint->resource;
    enum endpoint_kind kind = r->endpoint->kind;
    r->status = (int)lua_tointeger(L, 2);
    r->content_type = (struct str){NULL, 0};
    r->header_count = 0;
    buf_clear(&r->text);
    if (r->status == 204)
        return;
    struct record *record = record_at(L, 1);
    assert(record != NULL && record->table == resource->table);
    int64_t version;
    const struct store_row *row = lib_store_newest(t->root, record, &version);
    if (version > 0)
        request_add_etag(r, version);
    if (r->status == 201 || kind == ENDPOINT_REPLACE)
        add_location(r, row->id);
    bool found = kind == ENDPOINT_CREATE && r->status == 200;
    if (found || http_header_find(r->http, STR("Accept")).p != NULL) {
        rest_hal_item(&r->text, &resource->rest, r->base, row);
        request_lay_out(r);
    } else if (r->status == 200) {
        r->status = 204;
    }
}

static void request_ended(struct task *t, const struct task_error *error)
{
    struct request *r = t->owner;
    r->task = NULL;
    if (error != NULL)
        request_fail(r, error);
    else
        request_answer(r);
}

static const struct task_class change_class = {change_enter, change_leave, request_repeat_seal,
                                               request_repeat_seals, request_ended};

/* ---- the guard of a read ---- */

static int guard_enter(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    push_dispatch(L, t->host, "guard");
    push_member(L, t->host->resources_ref, r->endpoint->resource->number);
    push_str(L, t->service->name);
    push_str(L, t->correlation_id);
    push_str(L, r->endpoint->kind == ENDPOINT_ITEM ? STR("read") : STR("list"));
    return 4;
}

static void guard_leave(lua_State *L, struct task *t)
{
    (void)L;
    (void)t;
}

static void guard_ended(struct task *t, const struct task_error *error)
{
    struct request *r = t->owner;
    r->task = NULL;
    if (error != NULL)
        request_fail(r, error);
    else
        request_read(r);
}

static const struct task_class guard_class = {guard_enter, guard_leave, NULL, NULL, guard_ended};

/* ---- the guard of the gateway's route ---- */

static int gateway_enter(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    push_dispatch(L, t->host, "gateway");
    push_member(L, t->host->gateway_ref, r->passage->route->number);
    push_str(L, t->correlation_id);
    push_str(L, r->http->method_name);
    return 3;
}

static void gateway_ended(struct task *t, const struct task_error *error)
{
    struct request *r = t->owner;
    r->task = NULL;
    http_exchange_on_gone(r->x, NULL);
    if (error != NULL)
        request_fail(r, error);
    else
        passage_admitted(r);
}

static const struct task_class gateway_class = {gateway_enter, guard_leave, NULL, NULL,
                                                gateway_ended};

/* ---- route ---- */

static int route_enter(lua_State *L, struct task *t)
{
    struct request *r = t->owner;
    push_dispatch(L, t->host, "route");
    push_member(L, t->host->routes_ref, r->endpoint->route->number);
    if (r->match.param_count > 0)
        lua_createtable(L, (int)r->match.param_count, 0);
    else
        lua_pushnil(L);
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
    if (lua_type(L, -1) != LUA_TSTRING && lua_type(L, -1) != LUA_TNUMBER && !lua_isboolean(L, -1))
        fail_misuse(L, "response: the value of header %.*s must be a text, got a %s", STR_ARG(name),
                    luaL_typename(L, -1));
    value.p = luaL_tolstring(L, -1, &value.n);
    if (!http_token_is_valid(name))
        fail_misuse(L, "response: \"%.*s\" is no header name", STR_ARG(name));
    if (!http_value_is_valid(value))
        fail_misuse(L, "response: the value of header %.*s has CR, LF or another control byte",
                    STR_ARG(name));
    value = arena_str(r->arena, value);
    if (str_ieq(name, STR("Content-Type")))
        r->content_type = value;
    else if (!str_ieq(name, STR("X-Correlation-Id"))) /* the host's, there once */
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

int request_parse_body(struct request *r, struct err *err)
{
    struct str text = r->http->body;
    if (text.n == 0 && r->endpoint->kind == ENDPOINT_MERGE)
        text = STR("{}"); /* of whatever type: nothing is laid over the row */
    else if (!rest_is_json(http_header_find(r->http, STR("Content-Type"))))
        return err_set(err, ERR_MEDIA_TYPE,
                       "the body must be JSON (Content-Type: application/json)");
    if (text.n == 0)
        return err_set(err, ERR_INVALID, "a JSON body is required");
    struct json *j = arena_alloc(r->arena, sizeof(*j));
    if (json_parse(r->arena, text, HOST_JSON_DEPTH, j, err) != 0)
        return err_wrap(err, "JSON parse error");
    r->body = j;
    return 0;
}

static const struct task_class *class_of(const struct endpoint *e)
{
    switch (e->kind) {
    case ENDPOINT_CREATE:
    case ENDPOINT_REPLACE:
    case ENDPOINT_MERGE:
    case ENDPOINT_DELETE:
        return &change_class;
    case ENDPOINT_ROUTE:
        return &route_class;
    default:
        return &guard_class;
    }
}

static void start_task(struct request *r, const struct task_class *class, struct service *service)
{
    struct host *h = r->host;
    struct task_conf conf = {
        .class = class,
        .owner = r,
        .service = service,
        .correlation_id = r->correlation_id,
        .what = r->http->path,
        .deadline_ns = loop_now_ns(h->loop) + h->request_ms * NS_PER_MS,
    };
    r->task = task_start(h, &conf);
}

void request_start_task(struct request *r)
{
    const struct task_class *class = class_of(r->endpoint);
    struct err err;
    /* Parsed here, so that a bad body costs no coroutine; but a guard comes first. */
    bool has_body = class == &change_class && r->endpoint->kind != ENDPOINT_DELETE;
    if (has_body && !r->endpoint->resource->guarded && request_parse_body(r, &err) != 0) {
        request_fail_code(r, err.code, err.message);
        return;
    }
    start_task(r, class, r->endpoint->service);
}

void request_start_guard(struct request *r)
{
    start_task(r, &gateway_class, &r->host->program->front->guards);
}

struct request *request_of_task(const struct task *t)
{
    bool serves = t->class == &change_class || t->class == &route_class ||
                  t->class == &guard_class || t->class == &gateway_class;
    return serves ? t->owner : NULL;
}
