/* SPDX-License-Identifier: MIT */
/* From the system file's gateway, checked by lua/gateway.lua, to the table that requests are
 * matched with. */
#include "script/gateway.h"

#include "script/fail.h"

#include <lauxlib.h>

struct reader {
    lua_State *L;
    struct arena *arena;
    struct program *program;
};

static struct str text_at(struct reader *r, int index)
{
    struct str s = {NULL, 0};
    if (lua_type(r->L, index) == LUA_TSTRING) {
        s.p = lua_tolstring(r->L, index, &s.n);
        s = arena_str(r->arena, s);
    }
    return s;
}

static struct str text_of(struct reader *r, int table, const char *name)
{
    lua_getfield(r->L, table, name);
    struct str s = text_at(r, -1);
    lua_pop(r->L, 1);
    return s;
}

static int64_t integer_of(struct reader *r, int table, const char *name)
{
    lua_getfield(r->L, table, name);
    int64_t n = lua_tointeger(r->L, -1);
    lua_pop(r->L, 1);
    return n;
}

static bool flag_of(struct reader *r, int table, const char *name)
{
    lua_getfield(r->L, table, name);
    bool flag = lua_toboolean(r->L, -1);
    lua_pop(r->L, 1);
    return flag;
}

/* Pushes the list (or table) of that name; gives its length. */
static size_t open_list(struct reader *r, int table, const char *name)
{
    luaL_checkstack(r->L, 10, "gateway");
    lua_getfield(r->L, table, name);
    return lua_istable(r->L, -1) ? (size_t)lua_rawlen(r->L, -1) : 0;
}

static struct str *texts_of(struct reader *r, int table, const char *name, size_t *ret_count)
{
    size_t n = open_list(r, table, name);
    struct str *list = arena_zalloc(r->arena, (n + 1) * sizeof(*list));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        list[i] = text_at(r, -1);
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
    *ret_count = n;
    return list;
}

static unsigned methods_of(struct reader *r, int table)
{
    size_t n;
    unsigned methods = 0;
    struct str *names = texts_of(r, table, "methods", &n);
    for (size_t i = 0; i < n; i++)
        methods |= 1u << http_method_from(names[i]);
    return (methods & 1u << HTTP_GET_) != 0 ? methods | 1u << HTTP_HEAD_ : methods;
}

static struct http_gateway_test *tests_of(struct reader *r, int table, size_t *ret_count)
{
    size_t n = open_list(r, table, "tests");
    struct http_gateway_test *tests = arena_zalloc(r->arena, (n + 1) * sizeof(*tests));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        int at = lua_gettop(r->L);
        bool query = str_eq(text_of(r, at, "part"), STR("query"));
        tests[i] = (struct http_gateway_test){query ? HTTP_GATEWAY_QUERY : HTTP_GATEWAY_HEADER,
                                              text_of(r, at, "name"), text_of(r, at, "value")};
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
    *ret_count = n;
    return tests;
}

/* ---- what is put around a request ---- */

static void read_headers(struct reader *r, int table, const char *name, const char *where,
                         struct gateway_headers *ret)
{
    lua_getfield(r->L, table, name);
    int at = lua_gettop(r->L);
    ret->remove = texts_of(r, at, "remove", &ret->remove_count);
    size_t n = open_list(r, at, "set");
    ret->set = arena_zalloc(r->arena, (n + 1) * sizeof(*ret->set));
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(r->L, -1, (lua_Integer)i + 1);
        int item = lua_gettop(r->L);
        struct http_header h = {text_of(r, item, "name"), text_of(r, item, "value")};
        if (!http_token_is_valid(h.name) || !http_value_is_valid(h.value))
            luaL_error(r->L, "%s: %s.set: \"%s\" is no header", where, name, h.name.p);
        ret->set[ret->set_count++] = h;
        lua_pop(r->L, 1);
    }
    lua_settop(r->L, at - 1);
}

static struct gateway_fallback *read_fallback(struct reader *r, int table)
{
    struct gateway_fallback *f = NULL;
    if (lua_getfield(r->L, table, "fallback") == LUA_TTABLE) {
        int at = lua_gettop(r->L);
        f = arena_zalloc(r->arena, sizeof(*f));
        f->status = (int)integer_of(r, at, "status");
        f->type = text_of(r, at, "type");
        f->body = text_of(r, at, "body");
        f->path = text_of(r, at, "path");
    }
    lua_pop(r->L, 1);
    return f;
}

static void read_retry(struct reader *r, int table, struct gateway_retry *ret)
{
    if (lua_getfield(r->L, table, "retry") == LUA_TTABLE) {
        int at = lua_gettop(r->L);
        ret->retries = (int)integer_of(r, at, "retries");
        ret->methods = methods_of(r, at);
        ret->first_ms = integer_of(r, at, "first_ms");
        ret->max_ms = integer_of(r, at, "max_ms");
        ret->factor = (int)integer_of(r, at, "factor");
        ret->status_count = (int)open_list(r, at, "statuses");
        ret->statuses = arena_zalloc(r->arena, sizeof(int) * ((size_t)ret->status_count + 1));
        for (int i = 0; i < ret->status_count; i++) {
            lua_rawgeti(r->L, -1, i + 1);
            ret->statuses[i] = (int)lua_tointeger(r->L, -1);
            lua_pop(r->L, 1);
        }
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
}

static void read_limit(struct reader *r, int table, struct gateway_limit *ret)
{
    if (lua_getfield(r->L, table, "rate_limit") == LUA_TTABLE) {
        int at = lua_gettop(r->L);
        ret->conf = (struct http_ratelimit_conf){
            integer_of(r, at, "rate"), integer_of(r, at, "burst"), integer_of(r, at, "tokens")};
        struct str key = text_of(r, at, "key");
        ret->header = text_of(r, at, "header");
        ret->deny_empty_key = flag_of(r, at, "deny_empty_key");
        ret->key = str_eq(key, STR("header")) ? GATEWAY_KEY_HEADER
                   : str_eq(key, STR("host")) ? GATEWAY_KEY_HOST
                                              : GATEWAY_KEY_IP;
    }
    lua_pop(r->L, 1);
}

/* ---- the whole ---- */

static void read_route(struct reader *r, int table, struct gateway *g, int number)
{
    struct err err;
    struct gateway_route *route = &g->routes[number - 1];
    struct str at = text_of(r, table, "at"), service = text_of(r, table, "service");
    *route = (struct gateway_route){.number = number,
                                    .what = text_of(r, table, "what"),
                                    .url = text_of(r, table, "url"),
                                    .breaker = text_of(r, table, "breaker"),
                                    .timeout_ms = integer_of(r, table, "timeout_ms"),
                                    .guarded = flag_of(r, table, "guard")};
    if (service.n > 0)
        route->service = program_service(r->program, service);
    route->fallback = read_fallback(r, table);
    read_retry(r, table, &route->retry);
    read_limit(r, table, &route->limit);
    read_headers(r, table, "request_headers", at.p, &route->request);
    read_headers(r, table, "response_headers", at.p, &route->response);
    struct http_gateway_conf conf = {
        .methods = methods_of(r, table),
        .strip_prefix = (int)integer_of(r, table, "strip_prefix"),
        .rewrite = text_of(r, table, "rewrite"),
        .to = text_of(r, table, "to"),
        .set_path = text_of(r, table, "set_path"),
        .prefix_path = text_of(r, table, "prefix_path"),
        .target = route,
    };
    conf.paths = texts_of(r, table, "paths", &conf.path_count);
    conf.hosts = texts_of(r, table, "hosts", &conf.host_count);
    conf.tests = tests_of(r, table, &conf.test_count);
    if (http_gateway_add(g->table, &conf, &err) != 0)
        luaL_error(r->L, "%s: %s: %s", at.p, route->what.p, err.message);
}

static struct http_cors *read_cors(struct reader *r, int table)
{
    struct http_cors *c = NULL;
    if (lua_getfield(r->L, table, "cors") == LUA_TTABLE) {
        int at = lua_gettop(r->L);
        c = arena_zalloc(r->arena, sizeof(*c));
        c->origins = texts_of(r, at, "origins", &c->origin_count);
        c->methods = texts_of(r, at, "methods", &c->method_count);
        c->headers = texts_of(r, at, "headers", &c->header_count);
        c->exposed = texts_of(r, at, "exposed", &c->exposed_count);
        c->credentials = flag_of(r, at, "credentials");
        c->max_age_s = (int)integer_of(r, at, "max_age_s");
    }
    lua_pop(r->L, 1);
    return c;
}

static void read_routes(struct reader *r, int table, struct gateway *g)
{
    g->route_count = (int)open_list(r, table, "routes");
    g->routes = arena_zalloc(r->arena, sizeof(*g->routes) * ((size_t)g->route_count + 1));
    for (int i = 1; i <= g->route_count; i++) {
        lua_rawgeti(r->L, -1, i);
        read_route(r, lua_gettop(r->L), g, i);
        lua_pop(r->L, 1);
    }
    lua_pop(r->L, 1);
}

struct gateway *gateway_read(lua_State *L, int top, struct program *p)
{
    struct reader r = {L, p->arena, p};
    struct gateway *g = NULL;
    luaL_checkstack(L, 10, "gateway");
    if (lua_getfield(L, top, "gateway") == LUA_TTABLE) {
        int at = lua_gettop(L);
        g = p->front = arena_zalloc(p->arena, sizeof(*g)); /* freed with it if reading raises */
        g->guards = (struct service){.number = SERVICE_OF_NOBODY, .name = STR("the gateway")};
        g->cors = read_cors(&r, at);
        if (lua_getfield(L, at, "routes") == LUA_TTABLE) {
            g->table = http_gateway_new();
            read_routes(&r, at, g);
        }
        lua_pop(L, 1);
    }
    lua_pop(L, 1);
    return g;
}

void gateway_free(struct gateway *g)
{
    if (g != NULL)
        http_gateway_free(g->table);
}
