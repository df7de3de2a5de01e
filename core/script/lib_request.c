/* SPDX-License-Identifier: MIT */
/* What dispatch.lua needs of the request it runs for: the body as a row, the request as a table. */
#include "rest/rest.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/lib_store.h"
#include "script/libs.h"
#include "script/request.h"

#include <lauxlib.h>

static void push_str(lua_State *L, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
}

static struct request *request_of(lua_State *L)
{
    struct request *r = request_of_task(strand_check(L, "request")->task);
    if (r == NULL)
        fail_misuse(L, "there is no request here");
    return r;
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
    snprintf(text, sizeof(text), "%.*s.%.*s: %.*s", STR_ARG(r->table->name),
             STR_ARG(faults->property), STR_ARG(faults->message));
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
    struct store_row *row = lib_store_new_row(L, r);
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
    r->row_id = o->read.count;
    return push_new_row(L, o->resource, r->body, r->row_id);
}

/* row_of_body(): the request's body as a new row. */
static int core_row_of_body(lua_State *L)
{
    struct request *r = request_of(L);
    /* A call that has left the process may have named the id: the next run must name it too. */
    if (r->row_id > 0 || store_next_id(r->host->store, r->endpoint->resource->table, &r->row_id))
        return push_new_row(L, r->endpoint->resource, r->body, r->row_id);
    struct store_op *o = lib_store_op_new(L, r->endpoint->resource, body_id_known);
    o->read.kind = STORE_READ_ID;
    return lib_store_op_run(L, o);
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
    struct strand *s = strand_check(L, "http");
    const struct resource *r = lib_store_check_resource(L, s, 1, "http");
    int64_t id;
    if (lua_isnoneornil(L, 2))
        return fail_raise(L, ERR_INVALID, "a JSON body is required");
    if (store_next_id(s->task->host->store, r->table, &id))
        return push_new_row(L, r, value_as_json(L, 2), id);
    struct store_op *o = lib_store_op_new(L, r, value_id_known);
    o->read.kind = STORE_READ_ID;
    return lib_store_op_run(L, o);
}

void lib_request_add(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"request", core_request},           {"row_of_body", core_row_of_body},
        {"row_of_value", core_row_of_value}, {"check", lib_store_check_record},
        {"insert", lib_store_insert_record}, {NULL, NULL},
    };
    luaL_setfuncs(L, functions, 0);
}
