/* SPDX-License-Identifier: MIT */
/* The operator's door. It tells nothing to those without the token, not even which paths there are:
 * the token is asked for before a path is found missing. Only what load balancers and collectors
 * read is open. */
#include "app/admin/inside.h"
#include "app/admin/token.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "http/problem.h"
#include "http/url.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define CONNECTIONS_MAX 1000
#define CORRELATION_MAX 64

static const struct route {
    enum http_method method;
    const char *pattern;
    admin_fn *fn;
    bool open; /* wants no token */
} routes[] = {
    {HTTP_GET_, "/livez", admin_health_live, true},
    {HTTP_GET_, "/readyz", admin_health_ready, true},
    {HTTP_GET_, "/metrics", admin_metrics_get, true},
    {HTTP_GET_, "/actuator/health", admin_health_actuator, true},
    {HTTP_GET_, "/admin/events", admin_events_get, false},
    {HTTP_GET_, "/admin/letters", admin_letters_list, false},
    {HTTP_POST_, "/admin/letters/retry", admin_letters_retry_all, false},
    {HTTP_GET_, "/admin/letters/{id}", admin_letters_show, false},
    {HTTP_DELETE_, "/admin/letters/{id}", admin_letters_discard, false},
    {HTTP_POST_, "/admin/letters/{id}/retry", admin_letters_retry, false},
    {HTTP_GET_, "/admin/status", admin_status_get, false},
    {HTTP_GET_, "/admin/services", admin_services_list, false},
    {HTTP_POST_, "/admin/services/{name}/stop", admin_services_stop, false},
    {HTTP_POST_, "/admin/services/{name}/start", admin_services_start, false},
    {HTTP_GET_, "/admin/breakers", admin_breakers_list, false},
    {HTTP_PUT_, "/admin/breakers/{name}", admin_breakers_set, false},
    {HTTP_GET_, "/hystrix.stream", admin_hystrix_stream, false},
    {HTTP_GET_, "/admin/faults", admin_state_faults, false},
    {HTTP_PUT_, "/admin/faults", admin_state_set_faults, false},
    {HTTP_DELETE_, "/admin/faults", admin_state_clear_faults, false},
    {HTTP_POST_, "/admin/reload", admin_reload_start, false},
    {HTTP_GET_, "/admin/generations", admin_reload_list, false},
    {HTTP_POST_, "/admin/generations/{n}/activate", admin_reload_activate, false},
};

/* The token as the password of HTTP Basic too: dashboards know nothing else. */
static bool takes_basic(const struct route *r)
{
    return r && r->fn == admin_hystrix_stream;
}

static bool is_correlation(struct str s)
{
    if (s.n == 0 || s.n > CORRELATION_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!letter && !(c >= '0' && c <= '9') && c != '.' && c != '_' && c != '-')
            return false;
    }
    return true;
}

static struct str correlation_of(const struct http_request *r, struct arena *a)
{
    struct str sent = http_header_find(r, STR("x-correlation-id"));
    if (is_correlation(sent))
        return sent;
    uint64_t random;
    char text[17];
    file_random(&random, sizeof(random));
    snprintf(text, sizeof(text), "%016llx", (unsigned long long)random);
    return arena_str(a, (struct str){text, 16});
}

static void answer_problem(struct admin_call *c, int status, enum err_code code, struct str message,
                           struct str extra)
{
    struct buf body = BUF_INIT;
    struct http_problem problem = {.status = status,
                                   .code = str_from(err_name(code)),
                                   .message = message,
                                   .path = c->request->path,
                                   .correlation_id = c->correlation_id,
                                   .extra = extra,
                                   .wall_ms = clock_wall_ms(loop_clock(c->admin->conf.loop))};
    struct http_header headers[3] = {admin_correlation(c)};
    size_t count = 1;
    const struct route *r = c->match.target;
    if (status == 401)
        headers[count++] =
            (struct http_header){STR("WWW-Authenticate"),
                                 takes_basic(r) ? STR("Basic realm=\"moontide\"") : STR("Bearer")};
    if (status == 405)
        headers[count++] = (struct http_header){STR("Allow"), str_from(c->match.allow)};
    if (status == 503)
        headers[count++] = (struct http_header){STR("Retry-After"), STR("1")};
    http_problem_write(&body, &problem);
    struct str type = http_problem_type(http_header_find(c->request, STR("accept")));
    http_answer(c->x, status, type, headers, count, buf_str(&body));
    buf_deinit(&body);
}

/* Finds the parameter and decodes it. 1 found, 0 absent, -1: undecodable. */
static int find_param(const struct admin_call *c, const char *name, struct str *ret)
{
    size_t pos = 0;
    struct str key, value;
    while (http_query_next(c->request->query, &pos, &key, &value)) {
        struct str decoded;
        if (!http_url_decode(c->arena, key, true, &decoded) || !str_eq(decoded, str_from(name)))
            continue;
        return http_url_decode(c->arena, value, true, ret) ? 1 : -1;
    }
    return 0;
}

static void answer_options(struct admin_call *c)
{
    struct http_header headers[] = {admin_correlation(c), {STR("Allow"), str_from(c->match.allow)}};
    http_answer(c->x, 200, STR(""), headers, 2, STR(""));
}

static void dispatch(struct admin_call *c)
{
    const struct route *r = c->match.target;
    struct str authorization = http_header_find(c->request, STR("authorization"));
    bool known = admin_token_matches(c->admin->conf.token, authorization) ||
                 (takes_basic(r) &&
                  admin_token_matches_basic(c->admin->conf.token, authorization, c->arena));
    if ((!r || !r->open) && !known)
        answer_problem(c, 401, ERR_UNAUTHORIZED, STR("the admin side wants its bearer token"),
                       STR(""));
    else if (r)
        r->fn(c);
    else if (c->match.path_known && c->request->method == HTTP_OPTIONS_)
        answer_options(c);
    else if (c->match.path_known)
        answer_problem(c, 405, ERR_METHOD, STR("this path does not know the method"), STR(""));
    else
        answer_problem(c, 404, ERR_NOT_FOUND, STR("no such path"), STR(""));
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct admin *a = ctx;
    struct arena *arena = http_exchange_arena(x);
    struct admin_call *c = arena_zalloc(arena, sizeof(*c));
    c->admin = a;
    c->x = x;
    c->arena = arena;
    c->request = http_exchange_request(x);
    c->correlation_id = correlation_of(c->request, arena);
    http_router_match(a->router, arena, c->request->method, c->request->path, &c->match);
    dispatch(c);
}

static int add_routes(struct admin *a, struct err *err)
{
    a->router = http_router_new();
    for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
        const struct route *r = &routes[i];
        /* The router hands targets back as they came; nothing writes through this one. */
        if (http_router_add(a->router, r->method, str_from(r->pattern), (void *)(uintptr_t)r, err))
            return -1;
    }
    return 0;
}

void admin_answer(struct admin_call *c, int status, struct str type, struct str body)
{
    struct http_header headers[] = {admin_correlation(c), {STR("Cache-Control"), STR("no-store")}};
    http_answer(c->x, status, type, headers, 2, body);
}

void admin_answer_json(struct admin_call *c, int status, struct buf *body)
{
    admin_answer(c, status, STR("application/json"), buf_str(body));
    buf_deinit(body);
}

void admin_problem(struct admin_call *c, int status, enum err_code code, const char *fmt, ...)
{
    char message[400];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof(message), fmt, args);
    va_end(args);
    answer_problem(c, status, code, str_from(message), STR(""));
}

void admin_problem_err(struct admin_call *c, const struct err *err)
{
    admin_problem_extra(c, err_status(err->code), err, STR(""));
}

void admin_problem_extra(struct admin_call *c, int status, const struct err *err, struct str extra)
{
    answer_problem(c, status, err->code, str_from(err->message), extra);
}

void admin_emit(const struct admin_call *c, const char *type, const struct value *values, int count)
{
    const struct admin_conf *conf = &c->admin->conf;
    struct host_event e = {type, values, count, c->correlation_id};
    if (conf->emit)
        conf->emit(conf->ctx, &e);
}

struct http_header admin_correlation(const struct admin_call *c)
{
    return (struct http_header){STR("X-Correlation-Id"), c->correlation_id};
}

bool admin_query_text(struct admin_call *c, const char *name, struct str *ret)
{
    struct str value;
    int found = find_param(c, name, &value);
    if (found < 0) {
        admin_problem(c, 400, ERR_INVALID, "%s: a malformed escape", name);
        return false;
    }
    if (found > 0 && value.n > 0)
        *ret = value;
    return true;
}

bool admin_query_number(struct admin_call *c, const char *name, int64_t min, int64_t max,
                        int64_t *ret, bool *ret_given)
{
    struct str value;
    int64_t number;
    int found = find_param(c, name, &value);
    if (found != 0 && (found < 0 || !str_to_int(value, &number) || number < min || number > max)) {
        if (max == INT64_MAX)
            admin_problem(c, 400, ERR_INVALID, "%s: expected a whole number from %lld", name,
                          (long long)min);
        else
            admin_problem(c, 400, ERR_INVALID, "%s: expected a whole number from %lld to %lld",
                          name, (long long)min, (long long)max);
        return false;
    }
    if (found > 0)
        *ret = number;
    if (ret_given)
        *ret_given = found > 0;
    return true;
}

bool admin_query_flag(struct admin_call *c, const char *name, bool *ret)
{
    struct str value;
    int found = find_param(c, name, &value);
    bool yes = found > 0 && (str_eq(value, STR("true")) || str_eq(value, STR("1")));
    bool no = found > 0 && (str_eq(value, STR("false")) || str_eq(value, STR("0")));
    if (found != 0 && !yes && !no) {
        admin_problem(c, 400, ERR_INVALID, "%s: expected true or false", name);
        return false;
    }
    if (found > 0)
        *ret = yes;
    return true;
}

struct admin *admin_new(const struct admin_conf *conf, struct err *err)
{
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    limits.connections = CONNECTIONS_MAX;
    struct admin *a = xcalloc(1, sizeof(*a));
    a->conf = *conf;
    list_init(&a->readers);
    list_init(&a->discards);
    list_init(&a->changes);
    a->watch.fn = admin_events_wake;
    bus_watch(conf->bus, &a->watch);
    if (add_routes(a, err) == 0)
        a->server = http_server_new(conf->loop, conf->listen_fd, &limits, on_request, a, err);
    if (a->server)
        return a;
    admin_free(a);
    return NULL;
}

void admin_free(struct admin *a)
{
    if (!a)
        return;
    bus_unwatch(a->conf.bus, &a->watch);
    /* Connections first: what then ends answers nobody and cannot start the next request. */
    http_server_free(a->server);
    admin_events_close(a);
    admin_hystrix_close(a);
    admin_letters_close(a);
    admin_reload_close(a);
    admin_services_close(a);
    http_router_free(a->router);
    free(a);
}

void admin_switch(struct admin *a, const struct admin_program *p)
{
    a->conf.schema = p->schema;
    a->conf.services = p->services;
    a->conf.urls = p->urls;
    a->conf.service_count = p->service_count;
    a->conf.policies = p->policies;
    a->conf.policy_count = p->policy_count;
}
