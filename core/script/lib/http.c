/* SPDX-License-Identifier: MIT */
/* http.*: calls that leave the process. For scripts they are what joined calls are: the same
 * errors, faults, deadlines and identifiers. What is different is that the other side commits by
 * itself, so that every unsafe call carries a key by which it is done once however often its task
 * runs. */
#include "script/lib/http.h"

#include "http/digest.h"
#include "http/fetch.h"
#include "http/url.h"
#include "rest/rest.h"
#include "script/convert.h"
#include "script/fail.h"
#include "script/frozen.h"
#include "script/lib/libs.h"
#include "script/request.h"
#include "store/log.h"

#include <lauxlib.h>

#include <stdio.h>

#define DEPTH_MAX 8
#define ANSWER_BYTES (1 << 20)
#define HEADERS_MAX 40
#define KEY_CHARS 32
#define KEY_MAX 255

/* Lives in a userdata at stack index 5; all it points to is the task's arena, but the fetch. */
struct remote {
    struct op op;
    struct loop_timer timer; /* an injected delay */
    struct http_fetch fetch;
    struct http_call_conf conf;
    bool fault, failed;
    struct err err;
    int status;
    struct http_header *headers;
    size_t header_count;
    struct str type, body;
};

/* ---- options ---- */

static struct str text_at(lua_State *L, int index)
{
    struct str s;
    s.p = lua_tolstring(L, index, &s.n);
    return s;
}

static bool is_reserved(struct str name)
{
    static const struct str names[] = {
        STR("host"),   STR("connection"), STR("content-length"),   STR("transfer-encoding"),
        STR("expect"), STR("keep-alive"), STR("x-correlation-id"), STR("x-request-depth")};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (str_ieq(name, names[i]))
            return true;
    return false;
}

static void check_header(lua_State *L)
{
    if (lua_type(L, -2) != LUA_TSTRING || (lua_type(L, -1) != LUA_TSTRING && !lua_isnumber(L, -1)))
        fail_misuse(L, "http: headers are { [\"name\"] = \"value\" }");
    struct str name = text_at(L, -2);
    lua_pushvalue(L, -1);
    struct str value = text_at(L, -1);
    if (!http_token_is_valid(name))
        fail_misuse(L, "http: \"%.*s\" is no header name", STR_ARG(name));
    if (!http_value_is_valid(value))
        fail_misuse(L, "http: the value of header %.*s has CR, LF, NUL or another control byte",
                    STR_ARG(name));
    if (is_reserved(name))
        fail_misuse(L, "http: header %.*s is set by the host", STR_ARG(name));
    if (str_ieq(name, STR("idempotency-key")))
        fail_misuse(L, "http: write key = \"...\" instead of the header Idempotency-Key");
    lua_pop(L, 1);
}

static void check_headers(lua_State *L, int index)
{
    int n = 0;
    frozen_see(L, index);
    if (!lua_istable(L, index))
        fail_misuse(L, "http: option \"headers\" must be a table, got a %s",
                    luaL_typename(L, index));
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        check_header(L);
        lua_pop(L, 1);
        if (++n > HEADERS_MAX - 8)
            fail_misuse(L, "http: more than %d headers", HEADERS_MAX - 8);
    }
}

static void check_key(lua_State *L, int index)
{
    if (lua_type(L, index) != LUA_TSTRING)
        fail_misuse(L, "http: option \"key\" must be a text, got a %s", luaL_typename(L, index));
    struct str key = text_at(L, index);
    bool ok = key.n >= 1 && key.n <= KEY_MAX;
    for (size_t i = 0; ok && i < key.n; i++)
        ok = key.p[i] > 0x20 && key.p[i] < 0x7f && key.p[i] != '"' && key.p[i] != '\\';
    if (!ok)
        fail_misuse(L,
                    "http: option \"key\" must be 1 to %d visible ASCII characters without quotes",
                    KEY_MAX);
}

void lib_http_check_options(lua_State *L, int index)
{
    static const struct str names[] = {STR("key"), STR("headers"), STR("timeout")};
    if (lua_isnoneornil(L, index))
        return;
    frozen_see(L, index);
    if (!lua_istable(L, index))
        fail_misuse(
            L, "http: options are a table { key = ..., headers = ..., timeout = ... }, got a %s",
            luaL_typename(L, index));
    lua_pushnil(L);
    while (lua_next(L, index) != 0) {
        struct str name = lua_type(L, -2) == LUA_TSTRING ? text_at(L, -2) : STR("?");
        int value = lua_gettop(L);
        if (str_eq(name, names[0])) {
            check_key(L, value);
        } else if (str_eq(name, names[1])) {
            check_headers(L, value);
        } else if (str_eq(name, names[2])) {
            lib_check_duration(L, value, "http: option \"timeout\"");
        } else {
            struct str nearest = str_nearest(name, names, 3);
            fail_misuse(L, "http: unknown option \"%.*s\"; %s%.*s%s", STR_ARG(name),
                        nearest.n > 0 ? "did you mean \"" : "there are key, headers and timeout",
                        STR_ARG(nearest), nearest.n > 0 ? "\"?" : "");
        }
        lua_settop(L, value - 1);
    }
}

static bool push_option(lua_State *L, int options, const char *name)
{
    if (!lua_istable(L, options)) {
        lua_pushnil(L);
        return false;
    }
    lua_getfield(L, options, name);
    frozen_see(L, lua_gettop(L));
    return !lua_isnil(L, -1);
}

static void push_lower(lua_State *L, struct str s)
{
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (size_t k = 0; k < s.n; k++)
        luaL_addchar(&b, s.p[k] >= 'A' && s.p[k] <= 'Z' ? (char)(s.p[k] + 32) : s.p[k]);
    luaL_pushresult(&b);
}

void lib_http_push_headers(lua_State *L, int options)
{
    lua_newtable(L);
    int made = lua_gettop(L);
    if (push_option(L, options, "headers")) {
        int headers = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, headers) != 0) {
            push_lower(L, text_at(L, -2));
            luaL_tolstring(L, -2, NULL);
            lua_rawset(L, made);
            lua_pop(L, 1);
        }
    }
    lua_settop(L, made);
}

/* ---- the way ---- */

static bool is_allowed(const struct program *p, struct str host, int port)
{
    for (int i = 0; i < p->host_count; i++)
        if (p->hosts[i].port == port && str_ieq(p->hosts[i].name, host))
            return true;
    return false;
}

bool lib_http_leaves(lua_State *L, const struct program *p, struct lib_http_way *ret)
{
    if (lua_type(L, 2) != LUA_TSTRING)
        return false;
    struct str url = text_at(L, 2);
    if (str_starts(url, STR("https://")))
        fail_misuse(L, "http: \"%s\": https is not available, only http", url.p);
    if (!http_url_split(url, &ret->host, &ret->port, &ret->target))
        return false;
    ret->service = program_service(p, ret->host);
    if (ret->service == NULL)
        return is_allowed(p, ret->host, ret->port);
    if (ret->service->here)
        return false;
    if (ret->service->url.n == 0)
        fail_misuse(L,
                    "http: service %.*s is not in this process (--only) and has no url "
                    "(services.%.*s.url)",
                    STR_ARG(ret->service->name), STR_ARG(ret->service->name));
    ret->host = ret->service->host;
    ret->port = ret->service->port;
    return true;
}

static int depth_of(const struct strand *s)
{
    int64_t before = 0;
    struct request *r = request_of_task(s->task);
    struct str sent = r != NULL ? http_header_find(r->http, STR("X-Request-Depth")) : STR("");
    if (sent.n == 0 || !str_to_int(sent, &before) || before < 0)
        return s->depth;
    return before > DEPTH_MAX ? DEPTH_MAX : s->depth + (int)before;
}

void lib_http_count(lua_State *L, struct strand *s)
{
    if (depth_of(s) >= DEPTH_MAX)
        fail_raise(L, ERR_LIMIT, "http: calls of siblings are nested more than %d deep", DEPTH_MAX);
    if (++s->task->call_count > s->task->budget.calls)
        fail_raise(L, ERR_BUDGET, "http: more than %d calls in one task", s->task->budget.calls);
}

int lib_http_failed(lua_State *L, int status, struct str why)
{
    char text[400];
    snprintf(text, sizeof(text), "%s %s answered %d: %.*s", lua_tostring(L, 1), lua_tostring(L, 2),
             status, STR_ARG(why));
    fail_push(L, STR("http"), status, status >= 500, str_from(text));
    return lua_error(L);
}

/* ---- the request ---- */

/* What the task was made for: the same however often it runs. */
static struct str root_of(const struct strand *s, struct arena *a)
{
    struct task *t = s->task;
    struct request *r = request_of_task(t);
    if (r != NULL)
        return request_root(r);
    struct buf id = BUF_INIT;
    buf_adds(&id, store_log_name(t->host->store));
    buf_addf(&id, "-%lld", (long long)t->cause_seq);
    struct str root = arena_str(a, buf_str(&id));
    buf_deinit(&id);
    return root;
}

static struct str key_of(const struct strand *s, const struct lib_http_way *way, struct str method,
                         struct arena *a)
{
    struct task *t = s->task;
    char digest[HTTP_DIGEST_CHARS + 1], ordinal[16], port[16];
    snprintf(ordinal, sizeof(ordinal), "%d", t->call_count);
    snprintf(port, sizeof(port), "%d", way->port);
    struct str to = way->service != NULL ? way->service->name : way->host;
    struct str parts[] = {
        root_of(s, a), t->service->name, t->what, method, to, str_from(way->service ? "" : port),
        way->target,   str_from(ordinal)};
    http_digest(parts, sizeof(parts) / sizeof(*parts), digest);
    return arena_str(a, (struct str){digest, KEY_CHARS});
}

static bool is_safe(struct str method)
{
    return str_eq(method, STR("GET")) || str_eq(method, STR("HEAD")) ||
           str_eq(method, STR("OPTIONS"));
}

static void add_header(struct remote *r, struct str name, struct str value)
{
    if (r->header_count < HEADERS_MAX)
        r->headers[r->header_count++] = (struct http_header){name, value};
}

/* Whoever says nothing of what it accepts may get no body for a change. */
static void add_headers(lua_State *L, struct remote *r, struct arena *a, bool *ret_typed)
{
    bool accepts = false;
    *ret_typed = false;
    if (push_option(L, 4, "headers")) {
        int headers = lua_gettop(L);
        lua_pushnil(L);
        while (lua_next(L, headers) != 0) {
            struct str name = arena_str(a, text_at(L, -2));
            struct str value;
            value.p = luaL_tolstring(L, -1, &value.n);
            add_header(r, name, arena_str(a, value));
            *ret_typed = *ret_typed || str_ieq(name, STR("Content-Type"));
            accepts = accepts || str_ieq(name, STR("Accept"));
            lua_pop(L, 2);
        }
    }
    lua_pop(L, 1);
    if (!accepts)
        add_header(r, STR("Accept"), STR("*/*"));
}

/* Tables as JSON, a text as it is. */
static void take_body(lua_State *L, struct remote *r, struct arena *a, bool typed)
{
    if (lua_isnil(L, 3)) {
        r->conf.has_body = str_eq(r->conf.method, STR("POST")) ||
                           str_eq(r->conf.method, STR("PUT")) ||
                           str_eq(r->conf.method, STR("PATCH"));
        return;
    }
    bool text = lua_type(L, 3) == LUA_TSTRING;
    r->conf.has_body = true;
    if (text) {
        r->conf.body = arena_str(a, text_at(L, 3));
    } else {
        struct buf *out = convert_buffer(L);
        convert_json(L, 3, out);
        r->conf.body = arena_str(a, buf_str(out));
        lua_pop(L, 1);
    }
    if (!typed)
        add_header(r, STR("Content-Type"),
                   text ? STR("text/plain;charset=UTF-8") : STR("application/json"));
}

static int64_t deadline_of(lua_State *L, const struct strand *s)
{
    struct loop *loop = s->task->host->loop;
    int64_t ms = HOST_ANSWER_MS;
    if (push_option(L, 4, "timeout"))
        ms = lib_check_duration(L, lua_gettop(L), "http: option \"timeout\"");
    lua_pop(L, 1);
    loop_refresh(loop);
    int64_t until = loop_now_ns(loop) + (ms > 0 ? ms : 1) * NS_PER_MS;
    return until < s->task->deadline_ns ? until : s->task->deadline_ns;
}

static void compose(lua_State *L, struct remote *r, struct strand *s,
                    const struct lib_http_way *way)
{
    struct arena *a = s->task->arena;
    struct str method = arena_str(a, text_at(L, 1));
    bool typed;
    char depth[16];
    r->headers = arena_zalloc(a, HEADERS_MAX * sizeof(*r->headers));
    r->conf = (struct http_call_conf){.method = method,
                                      .host = way->host,
                                      .port = way->port,
                                      .target = arena_str(a, way->target),
                                      .answer_bytes = ANSWER_BYTES};
    if (way->service == NULL)
        r->conf.host = arena_str(a, way->host);
    snprintf(depth, sizeof(depth), "%d", depth_of(s) + 1);
    add_headers(L, r, a, &typed);
    take_body(L, r, a, typed);
    add_header(r, STR("Accept"), STR("application/json, application/hal+json;q=0.9, */*;q=0.1"));
    add_header(r, STR("X-Correlation-Id"), s->task->correlation_id);
    add_header(r, STR("X-Request-Depth"), arena_str(a, str_from(depth)));
    if (!is_safe(method)) {
        struct str key =
            push_option(L, 4, "key") ? arena_str(a, text_at(L, -1)) : key_of(s, way, method, a);
        lua_pop(L, 1);
        add_header(r, STR("Idempotency-Key"), key);
    }
    r->conf.headers = r->headers;
    r->conf.header_count = r->header_count;
    r->conf.deadline_ns = deadline_of(L, s);
}

/* ---- the answer ---- */

/* The answer moves into the task's arena: nothing of it may be held when Lua raises. */
static void fetched(struct http_fetch *f, const struct err *err)
{
    struct remote *r = list_entry(f, struct remote, fetch);
    struct arena *a = r->op.strand->task->arena;
    r->failed = err != NULL;
    if (err != NULL) {
        r->err = *err;
    } else {
        r->status = f->status;
        r->header_count = f->header_count;
        r->headers = arena_zalloc(a, (f->header_count + 1) * sizeof(*r->headers));
        for (size_t i = 0; i < f->header_count; i++)
            r->headers[i] = (struct http_header){arena_str(a, f->headers[i].name),
                                                 arena_str(a, f->headers[i].value)};
        r->type = arena_str(a, http_fetch_header(f, STR("Content-Type")));
        r->body = arena_str(a, buf_str(&f->body));
    }
    http_fetch_deinit(f);
    op_complete(&r->op);
}

/* What the other side says of its failure: a problem's detail or message, or nothing. */
static struct str reason_of(const struct remote *r, const struct json *body, bool is_json)
{
    const struct json *said =
        is_json && body->type == JSON_OBJECT ? json_find(body, STR("message")) : NULL;
    if (said != NULL && said->type == JSON_TEXT)
        return said->s;
    return str_from(http_reason(r->status));
}

static int push_answer(lua_State *L, struct remote *r, struct arena *a)
{
    struct json body;
    struct err err;
    bool is_json = r->body.n > 0 && r->type.n > 0 && rest_is_json(r->type) &&
                   json_parse(a, r->body, 64, &body, &err) == 0;
    if (r->status >= 400)
        return lib_http_failed(L, r->status, reason_of(r, &body, is_json));
    luaL_checkstack(L, 8, "http answer");
    lua_createtable(L, 0, 3);
    lua_pushinteger(L, r->status);
    lua_setfield(L, -2, "status");
    lua_createtable(L, 0, (int)r->header_count);
    for (size_t i = 0; i < r->header_count; i++) {
        push_lower(L, r->headers[i].name);
        lua_pushlstring(L, r->headers[i].value.p, r->headers[i].value.n);
        lua_rawset(L, -3);
    }
    lua_setfield(L, -2, "headers");
    if (is_json)
        convert_push_json(L, &body);
    else
        lua_pushlstring(L, r->body.p != NULL ? r->body.p : "", r->body.n);
    lua_setfield(L, -2, "body");
    return 1;
}

/* ---- the op ---- */

static int send_it(lua_State *L, struct remote *r);

static void remote_cancel(struct op *op)
{
    struct remote *r = (struct remote *)op;
    loop_timer_stop(op->strand->task->host->loop, &r->timer);
    http_fetch_deinit(&r->fetch);
}

static int remote_push(lua_State *L, struct op *op)
{
    struct remote *r = (struct remote *)op;
    if (r->failed)
        return fail_raise(L, r->err.code, "%s %s: %s", lua_tostring(L, 1), lua_tostring(L, 2),
                          r->err.message);
    return push_answer(L, r, op->strand->task->arena);
}

static int delayed_push(lua_State *L, struct op *op)
{
    return send_it(L, (struct remote *)op);
}

static const struct op_class remote_class = {remote_cancel, remote_push};
static const struct op_class delayed_class = {remote_cancel, delayed_push};

static void delay_over(struct loop_timer *t)
{
    op_complete(&list_entry(t, struct remote, timer)->op);
}

static int send_it(lua_State *L, struct remote *r)
{
    struct err err;
    if (r->fault)
        return lib_http_failed(L, 500, STR("a fault set by the operator"));
    r->op.class = &remote_class;
    r->op.completed = false;
    r->fetch.done = fetched;
    lua_settop(L, 5);
    if (http_fetch_start(r->op.strand->task->host->http, &r->fetch, &r->conf, &err) != 0)
        return fail_raise_err(L, &err);
    return op_await(L, &r->op);
}

int lib_http_call(lua_State *L, struct strand *s, const struct lib_http_way *way)
{
    struct host *h = s->task->host;
    struct faults_roll roll;
    if (h->http == NULL)
        fail_misuse(L, "http: specs cannot call other hosts");
    lib_http_count(L, s);
    struct remote *r = (struct remote *)op_new(L, sizeof(*r), &delayed_class);
    compose(L, r, s, way);
    if (way->service == NULL || !faults_roll(h->faults, way->service->name, &roll))
        return send_it(L, r);
    r->fault = roll.fail;
    if (roll.delay_ns == 0)
        return send_it(L, r);
    r->timer.fn = delay_over;
    loop_timer_start(h->loop, &r->timer, loop_now_ns(h->loop) + roll.delay_ns);
    return op_await(L, &r->op);
}
