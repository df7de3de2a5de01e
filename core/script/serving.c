/* SPDX-License-Identifier: MIT */
/* Creates and routes as tasks: dispatch.lua runs the script's functions, this side gives it bodies and takes answers. */
#include "rest/rest.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/lib_store.h"
#include "script/libs.h"
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

static const struct task_class create_class = {create_enter, create_leave, NULL, request_ended};

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
        fail_misuse(L, "response: the value of header %.*s has CR, LF or another control byte", STR_ARG(name));
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
    buf_clear(&r->text);
    buf_adds(&r->text, text);
    if (!lua_istable(L, 4))
        return;
    lua_pushnil(L);
    while (lua_next(L, 4) != 0) {
        take_header(L, r);
        lua_pop(L, 1);
    }
}

static const struct task_class route_class = {route_enter, route_leave, NULL, request_ended};

/* ---- starting ---- */

/* The body of a create: parsed here, so that a bad one costs no coroutine. False if the request was answered. */
static bool parse_body(struct request *r)
{
    struct err err;
    if (!rest_is_json(http_header_find(r->http, STR("Content-Type")))) {
        request_fail_code(r, ERR_MEDIA_TYPE, "the body must be JSON (Content-Type: application/json)");
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

/* ---- for dispatch.lua ---- */

static struct request *request_of(lua_State *L)
{
    struct task *t = task_check(L, "request")->task;
    if (t->class != &create_class && t->class != &route_class)
        fail_misuse(L, "there is no request here");
    return t->owner;
}

static void push_headers(lua_State *L, const struct http_request *http)
{
    lua_createtable(L, 0, (int)http->header_count);
    for (size_t i = 0; i < http->header_count; i++) {
        luaL_Buffer b;
        const struct http_header *header = &http->headers[i];
        luaL_buffinit(L, &b);
        for (size_t k = 0; k < header->name.n; k++) {
            char c = header->name.p[k];
            luaL_addchar(&b, c >= 'A' && c <= 'Z' ? (char)(c + 32) : c);
        }
        luaL_pushresult(&b);
        push_str(L, header->value);
        lua_rawset(L, -3);
    }
}

/* The body: decoded if it is JSON, else the text. */
static void push_body(lua_State *L, struct request *r)
{
    struct str type = http_header_find(r->http, STR("Content-Type"));
    struct err err;
    struct json j;
    if (r->body != NULL) {
        convert_push_json(L, r->body);
        return;
    }
    if (r->http->body.n == 0 || type.n == 0 || !rest_is_json(type)) {
        push_str(L, r->http->body);
        return;
    }
    if (json_parse(r->arena, r->http->body, 64, &j, &err) != 0) {
        err_wrap(&err, "JSON parse error");
        fail_raise_err(L, &err);
    }
    convert_push_json(L, &j);
}

/* request("request"): { method, path, query, headers, body }; request("body"): the body alone. */
static int core_request(lua_State *L)
{
    struct request *r = request_of(L);
    if (strcmp(luaL_checkstring(L, 1), "body") == 0) {
        push_body(L, r);
        return 1;
    }
    lua_createtable(L, 0, 6);
    push_str(L, r->http->method_name);
    lua_setfield(L, -2, "method");
    push_str(L, r->http->path);
    lua_setfield(L, -2, "path");
    lib_push_query(L, r->arena, r->http->query);
    lua_setfield(L, -2, "query");
    push_headers(L, r->http);
    lua_setfield(L, -2, "headers");
    push_body(L, r);
    lua_setfield(L, -2, "body");
    return 1;
}

static int raise_faults(lua_State *L, const struct resource *r, const struct rest_fault *faults)
{
    struct buf *details = convert_buffer(L);
    rest_write_faults(details, r->table, faults);
    char text[300];
    snprintf(text, sizeof(text), "%.*s.%.*s: %.*s", STR_ARG(r->table->name), STR_ARG(faults->property),
             STR_ARG(faults->message));
    fail_push(L, STR("invalid"), 400, false, str_from(text));
    struct str s = buf_str(details);
    push_str(L, s);
    lua_setfield(L, -2, "details");
    return lua_error(L);
}

/* A writable record of the resource from a JSON body, with the id given. */
static int push_new_row(lua_State *L, const struct resource *r, const struct json *body, int64_t id)
{
    struct rest_fault *faults = NULL;
    struct err err;
    uint64_t mask;
    struct store_row *row = store_new_row(L, r);
    struct arena *a = strand_scope(host_of(L)->current)->unit->arena;
    row->id = id;
    if (rest_read_row(r->table, body, true, a, row, &mask, &faults, &err) != 0)
        return fail_raise_err(L, &err);
    if (faults != NULL)
        return raise_faults(L, r, faults);
    record_push_row(L, &r->shape, r->table, row)->writable = true;
    return 1;
}

static int body_id_known(lua_State *L, struct store_op *o)
{
    struct request *r = request_of(L);
    return push_new_row(L, o->resource, r->body, o->read.count);
}

/* row_of_body(): the request's body as a new row. */
static int core_row_of_body(lua_State *L)
{
    struct request *r = request_of(L);
    int64_t id;
    if (store_next_id(r->host->store, r->endpoint->resource->table->number, &id))
        return push_new_row(L, r->endpoint->resource, r->body, id);
    struct store_op *o = store_op_new(L, r->endpoint->resource, body_id_known);
    o->read.kind = STORE_READ_ID;
    return store_op_run(L, o);
}

/* A Lua value as a parsed body, in the task's arena. */
static const struct json *value_as_json(lua_State *L, int index)
{
    struct arena *a = host_of(L)->current->task->arena;
    struct err err;
    struct buf *out = convert_buffer(L);
    convert_json(L, index, out);
    struct json *j = arena_alloc(a, sizeof(*j));
    if (json_parse(a, arena_str(a, buf_str(out)), 64, j, &err) != 0)
        fail_raise_err(L, &err);
    lua_pop(L, 1);
    return j;
}

static int value_id_known(lua_State *L, struct store_op *o)
{
    return push_new_row(L, o->resource, value_as_json(L, 2), o->read.count);
}

/* row_of_value(resource, value): what a sibling sent as a new row of the running service. */
static int core_row_of_value(lua_State *L)
{
    struct strand *s = task_check(L, "http");
    const struct resource *r = store_check_resource(L, s, 1, "http");
    int64_t id;
    if (lua_isnoneornil(L, 2))
        return fail_raise(L, ERR_INVALID, "a JSON body is required");
    if (store_next_id(s->task->host->store, r->table->number, &id))
        return push_new_row(L, r, value_as_json(L, 2), id);
    struct store_op *o = store_op_new(L, r, value_id_known);
    o->read.kind = STORE_READ_ID;
    return store_op_run(L, o);
}

void lib_request_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", core_request},
        {"row_of_body", core_row_of_body},
        {"row_of_value", core_row_of_value},
        {"insert", store_insert_record},
        {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
