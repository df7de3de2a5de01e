/* SPDX-License-Identifier: MIT */
/* http.*: calls of sibling services. In the same process and store the call goes straight to the
 * route, in a scope of its own that joins the caller's unit of work: an order and its payment exist
 * together or not at all. */
#include "http/url.h"
#include "script/fail.h"
#include "script/host.h"
#include "script/lib/http.h"
#include "script/lib/libs.h"
#include "script/load.h"
#include "script/strand.h"

#include <lauxlib.h>

/* A call under way. Lives in a userdata at stack index 5. */
struct call {
    struct op op; /* waits out an injected delay */
    struct loop_timer timer;
    bool fault;
    struct service *callee, *caller;
    const struct endpoint *endpoint;
    struct http_match match;
    struct str base, path, query; /* base: the URL up to the path */
    struct store_scope *outer;
};

/* ---- finding the way ---- */

static int unknown_host(lua_State *L, const struct program *p, struct str host)
{
    struct str names[64];
    size_t n = 0;
    for (int i = 0; i < p->service_count && n < 64; i++)
        names[n++] = p->services[i].name;
    struct str nearest = str_nearest(host, names, n);
    if (nearest.n > 0)
        return fail_misuse(L, "http: there is no service \"%.*s\"; did you mean \"%.*s\"?",
                           STR_ARG(host), STR_ARG(nearest));
    return fail_misuse(L,
                       "http: there is no service \"%.*s\" in this system, and the system file's "
                       "http.allow does not "
                       "list this host and port",
                       STR_ARG(host));
}

/* "http://payment" of "http://payment/payments/1". */
static struct str base_of(struct str url)
{
    size_t n = sizeof("http://") - 1;
    while (n < url.n && url.p[n] != '/' && url.p[n] != '?')
        n++;
    return (struct str){url.p, n};
}

static void find_target(lua_State *L, struct call *c, struct strand *s)
{
    struct str url, host, target, method;
    int port;
    method.p = luaL_checklstring(L, 1, &method.n);
    if (lua_type(L, 2) != LUA_TSTRING)
        fail_misuse(L, "http: the first argument must be a URL, got a %s", luaL_typename(L, 2));
    url.p = lua_tolstring(L, 2, &url.n);
    if (!http_url_split(url, &host, &port, &target))
        fail_misuse(L, "http: \"%s\" is no URL (write http://service/path)", url.p);
    c->callee = program_service(s->task->host->program, host);
    if (c->callee == NULL)
        unknown_host(L, s->task->host->program, host);
    const char *question = memchr(target.p, '?', target.n);
    c->base = base_of(url);
    size_t path = question != NULL ? (size_t)(question - target.p) : target.n;
    c->path = (struct str){target.p, path};
    c->query =
        question != NULL ? (struct str){question + 1, target.n - path - 1} : (struct str){NULL, 0};
    http_router_match(c->callee->router, s->task->arena, http_method_from(method), c->path,
                      &c->match);
    c->endpoint = c->match.target;
    if (c->endpoint == NULL)
        lib_http_failed(L, c->match.path_known ? 405 : 404, STR("no such path or method"));
}

/* ---- the callee's run ---- */

static void push_declared(lua_State *L, struct host *h, const struct endpoint *e)
{
    if (e->kind == ENDPOINT_ROUTE) {
        lua_rawgeti(L, LUA_REGISTRYINDEX, h->routes_ref);
        lua_rawgeti(L, -1, e->route->number);
    } else {
        lua_rawgeti(L, LUA_REGISTRYINDEX, h->resources_ref);
        lua_rawgeti(L, -1, e->resource->number);
    }
    lua_remove(L, -2);
}

static void set_text(lua_State *L, const char *name, struct str s)
{
    lua_pushlstring(L, s.p, s.n);
    lua_setfield(L, -2, name);
}

/* The query as { name = value }, decoded. */
void lib_push_query(lua_State *L, struct arena *a, struct str query)
{
    size_t pos = 0;
    struct str name, value;
    lua_newtable(L);
    while (http_query_next(query, &pos, &name, &value)) {
        struct str plain_name, plain_value;
        if (!http_url_decode(a, name, true, &plain_name) ||
            !http_url_decode(a, value, true, &plain_value))
            continue;
        lua_pushlstring(L, plain_name.p, plain_name.n);
        lua_pushlstring(L, plain_value.p, plain_value.n);
        lua_rawset(L, -3);
    }
}

static void push_call_table(lua_State *L, const struct call *c, struct task *t)
{
    static const char *const kinds[] = {
        [ENDPOINT_LIST] = "list",         [ENDPOINT_ITEM] = "item",
        [ENDPOINT_CREATE] = "create",     [ENDPOINT_REPLACE] = "replace",
        [ENDPOINT_MERGE] = "merge",       [ENDPOINT_DELETE] = "delete",
        [ENDPOINT_SEARCH] = "search",     [ENDPOINT_FINDER] = "finder",
        [ENDPOINT_ROUTE] = "route",       [ENDPOINT_ROOT] = "root",
        [ENDPOINT_PROFILES] = "profiles", [ENDPOINT_PROFILE] = "profile",
    };
    lua_createtable(L, 0, 13);
    lua_pushstring(L, kinds[c->endpoint->kind]);
    lua_setfield(L, -2, "kind");
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "method");
    set_text(L, "path", c->path);
    lib_push_query(L, t->arena, c->query);
    lua_setfield(L, -2, "query");
    set_text(L, "query_text", c->query);
    set_text(L, "base", c->base);
    if (c->endpoint->finder != NULL)
        set_text(L, "finder", c->endpoint->finder->name);
    lua_pushvalue(L, 3);
    lua_setfield(L, -2, "body");
    lua_createtable(L, (int)c->match.param_count, 0);
    for (size_t i = 0; i < c->match.param_count; i++) {
        lua_pushlstring(L, c->match.params[i].p, c->match.params[i].n);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
    }
    lua_setfield(L, -2, "params");
    lib_http_push_headers(L, 4);
    lua_setfield(L, -2, "headers");
    set_text(L, "service", c->callee->name);
    set_text(L, "correlation_id", t->correlation_id);
}

static void leave_callee(struct strand *s, struct call *c)
{
    s->service = c->caller;
    s->depth--;
}

/* With the way that led into the callee; in it, its own line says where. */
static void log_callee(lua_State *L, struct strand *s, struct call *c, const struct task_error *e)
{
    luaL_traceback(L, L, NULL, 0);
    log_event(LOG_ERROR, "script error in a called service", LOG_S("service", c->callee->name),
              fail_log_script(e->origin), fail_log_line(e->origin),
              LOG_I("generation", s->task->host->program->generation),
              LOG_S("correlationId", s->task->correlation_id), LOG_S("code", e->code),
              LOG_S("error", e->message), LOG_C("traceback", lua_tostring(L, -1)));
    lua_pop(L, 1);
}

/* An error of the callee, at the top, becomes "http" in the caller. */
static int callee_failed(lua_State *L, struct strand *s, struct call *c)
{
    struct task_error error;
    strand_drop_scopes(s, c->outer);
    if (s->unwinding != NULL)
        return lua_error(L);
    fail_read(L, s->task->arena, &error);
    if (str_eq(error.code, STR("script")))
        log_callee(L, s, c, &error);
    return lib_http_failed(L, fail_status(&error), error.message);
}

static int call_over(lua_State *L, int status, lua_KContext context)
{
    struct call *c = (struct call *)context;
    struct strand *s = host_of(L)->current;
    leave_callee(s, c);
    if (status != LUA_OK && status != LUA_YIELD)
        return callee_failed(L, s, c);
    struct store_scope *scope = s->scope;
    s->scope = c->outer;
    store_scope_close(scope);
    lua_getfield(L, -1, "status");
    int answered = (int)lua_tointeger(L, -1);
    lua_pop(L, 1);
    if (answered >= 400)
        return lib_http_failed(L, answered, STR("the callee's own answer"));
    return 1;
}

static int run_callee(lua_State *L, struct call *c)
{
    struct strand *s = host_of(L)->current;
    struct host *h = s->task->host;
    if (c->fault)
        return lib_http_failed(L, 500, STR("a fault set by the operator"));
    c->caller = s->service;
    c->outer = strand_scope(s);
    luaL_checkstack(L, 8, "http call");
    lua_rawgeti(L, LUA_REGISTRYINDEX, h->dispatch_ref);
    lua_getfield(L, -1, "joined");
    lua_remove(L, -2);
    push_call_table(L, c, s->task);
    push_declared(L, h, c->endpoint);
    s->scope = store_scope_open(c->outer);
    s->service = c->callee;
    s->depth++;
    return call_over(L, lua_pcallk(L, 2, 1, 0, (lua_KContext)c, call_over), (lua_KContext)c);
}

/* ---- injected delay ---- */

static void delay_cancel(struct op *op)
{
    struct call *c = (struct call *)op;
    loop_timer_stop(op->strand->task->host->loop, &c->timer);
}

static int delay_push(lua_State *L, struct op *op)
{
    return run_callee(L, (struct call *)op);
}

static const struct op_class delay_class = {delay_cancel, delay_push};

static void delay_over(struct loop_timer *t)
{
    op_complete(&list_entry(t, struct call, timer)->op);
}

static int callee_stopped(lua_State *L, const struct call *c)
{
    char text[120];
    snprintf(text, sizeof(text), "service %.*s is stopped",
             (int)(c->callee->name.n < 80 ? c->callee->name.n : 80), c->callee->name.p);
    return lib_http_failed(L, 503, str_from(text));
}

/* call(method, url, body, options): the answer { status, headers, body }; raises on status 400 and
 * above. */
int lib_call(lua_State *L)
{
    struct strand *s = strand_check_wait(L, "http");
    struct host *h = s->task->host;
    struct faults_roll roll;
    struct lib_http_way way;
    lua_settop(L, 4);
    lib_http_check_options(L, 4);
    if (lib_http_leaves(L, h->program, &way))
        return lib_http_call(L, s, &way);
    struct call *c = (struct call *)op_new(L, sizeof(*c), &delay_class);
    find_target(L, c, s);
    lib_http_count(L, s);
    if (!task_hold(s->task, c->callee))
        return callee_stopped(L, c);
    if (c->callee->in_memory && !bus_is_rebuilt(h->bus))
        return lib_http_failed(L, 503, STR("the service is starting"));
    if (!faults_roll(h->faults, c->callee->name, &roll))
        return run_callee(L, c);
    c->fault = roll.fail;
    if (roll.delay_ns == 0)
        return run_callee(L, c);
    c->timer.fn = delay_over;
    loop_refresh(h->loop);
    loop_timer_start(h->loop, &c->timer, loop_now_ns(h->loop) + roll.delay_ns);
    return op_await(L, &c->op);
}
