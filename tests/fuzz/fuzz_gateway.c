/* SPDX-License-Identifier: MIT */
/* A gateway's routes and requests to it, both from the input. Each line adds a route, "METHOD|*
 * PATH [host=..] [query=..] [strip=N] [rewrite=..] [to=..] [set=..] [prefix=..]"; after an empty
 * line, each is a request, "METHOD HOST TARGET". A plain matcher must choose the same route. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/gateway.h"
#include "http/url.h"

#define ROUTES_MAX 32
#define PARTS_MAX 32
#define EXPRESSION_MAX 16 /* what libc makes of a wild one is the operator's to wait for */

struct route {
    struct str path, host, query;
    unsigned methods;
    bool changes; /* the path */
};

struct table {
    struct route routes[ROUTES_MAX];
    size_t count;
};

static struct str take_until(struct str *rest, char by)
{
    const char *end = rest->n > 0 ? memchr(rest->p, by, rest->n) : NULL;
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    struct str part = {rest->p, n};
    *rest = end ? (struct str){end + 1, rest->n - n - 1} : (struct str){NULL, 0};
    return part;
}

/* ---- the plain matcher ---- */

/* What is left behind the first part; false if there is none. */
static bool next_part(struct str *rest, char by, struct str *ret)
{
    if (rest->n == 0)
        return false;
    *ret = take_until(rest, by);
    return true;
}

static bool fits(struct str want, struct str have, bool no_case)
{
    bool one =
        str_eq(want, STR("*")) || (want.n > 2 && want.p[0] == '{' && want.p[want.n - 1] == '}');
    if (one)
        return have.n > 0;
    return no_case ? str_ieq(want, have) : str_eq(want, have);
}

static size_t cut(struct str text, char by, struct str parts[PARTS_MAX + 1])
{
    size_t n = 0;
    while (n <= PARTS_MAX && next_part(&text, by, &parts[n]))
        n++;
    return n;
}

/* Row by row: which beginnings of the path the beginnings of the pattern match. */
static bool matches(struct str pattern, struct str text, char by, bool no_case)
{
    struct str want[PARTS_MAX + 1], have[PARTS_MAX + 1];
    size_t wanted = cut(pattern, by, want), given = cut(text, by, have);
    bool row[PARTS_MAX + 1] = {true};
    if (given > PARTS_MAX)
        return false;
    for (size_t i = 0; i < wanted; i++) {
        bool any = str_eq(want[i], STR("**")), before = row[0];
        row[0] = row[0] && any;
        for (size_t j = 1; j <= given; j++) {
            bool here = any ? row[j] || row[j - 1] : before && fits(want[i], have[j - 1], no_case);
            before = row[j];
            row[j] = here;
        }
    }
    return row[given];
}

static struct str without_root(struct str path)
{
    return (struct str){path.p + 1, path.n - 1};
}

static const struct route *find(struct arena *a, const struct table *t,
                                const struct http_request *r, unsigned *ret_allowed)
{
    struct str value;
    if (r->path.n == 0 || r->path.p[0] != '/')
        return NULL;
    for (size_t i = 0; i < t->count; i++) {
        const struct route *route = &t->routes[i];
        if (!matches(without_root(route->path), without_root(r->path), '/', false) ||
            (route->host.n > 0 && !matches(route->host, r->host, '.', true)) ||
            (route->query.n > 0 && !http_query_find(a, r->query, route->query, &value)))
            continue;
        if (route->methods == 0 || (route->methods & 1u << r->method) != 0)
            return route;
        *ret_allowed |= route->methods;
    }
    return NULL;
}

/* ---- from the input ---- */

static bool is_tame(struct str expression)
{
    return expression.n <= EXPRESSION_MAX &&
           (expression.n == 0 || (memchr(expression.p, '{', expression.n) == NULL &&
                                  memchr(expression.p, '\\', expression.n) == NULL));
}

static void read_option(struct str word, struct route *r, struct http_gateway_conf *conf)
{
    struct str value = word, name = take_until(&value, '=');
    int64_t n;
    if (str_eq(name, STR("host")))
        r->host = value;
    else if (str_eq(name, STR("query")))
        r->query = value;
    else if (str_eq(name, STR("strip")) && str_to_int(value, &n) && n > -100 && n < 100)
        conf->strip_prefix = (int)n;
    else if (str_eq(name, STR("rewrite")) && is_tame(value))
        conf->rewrite = value;
    else if (str_eq(name, STR("to")))
        conf->to = value;
    else if (str_eq(name, STR("set")))
        conf->set_path = value;
    else if (str_eq(name, STR("prefix")))
        conf->prefix_path = value;
}

static void add(struct http_gateway *g, struct table *t, struct str line)
{
    struct route *r = &t->routes[t->count];
    struct err err;
    struct str method = take_until(&line, ' ');
    *r = (struct route){.path = take_until(&line, ' ')};
    r->methods = str_eq(method, STR("*")) ? 0 : 1u << http_method_from(method);
    struct http_gateway_conf conf = {
        .paths = &r->path, .path_count = 1, .methods = r->methods, .target = r};
    while (line.n > 0)
        read_option(take_until(&line, ' '), r, &conf);
    struct http_gateway_test test = {HTTP_GATEWAY_QUERY, r->query, {NULL, 0}};
    conf.hosts = &r->host;
    conf.host_count = r->host.n > 0;
    conf.tests = &test;
    conf.test_count = r->query.n > 0;
    r->changes = conf.strip_prefix != 0 || conf.rewrite.n > 0 || conf.set_path.n > 0 ||
                 conf.prefix_path.n > 0;
    if (http_gateway_add(g, &conf, &err) == 0)
        t->count++;
    else
        require(err.code == ERR_CONFIG && err.message[0] != '\0');
}

static void ask(struct arena *a, const struct http_gateway *g, const struct table *t,
                struct str line)
{
    struct http_request r = {.method_name = take_until(&line, ' ')};
    struct http_gateway_match m;
    unsigned allowed = 0;
    r.method = http_method_from(r.method_name);
    r.host = take_until(&line, ' ');
    if (r.host.n > 0 && memchr(r.host.p, ':', r.host.n) != NULL)
        r.host.n = 0; /* ports have cases of their own */
    r.target = r.query = line;
    r.path = take_until(&r.query, '?');
    http_gateway_match(g, &r, a, &m);
    const struct route *expected = find(a, t, &r, &allowed);
    require(m.target == (void *)expected);
    if (m.target == NULL) {
        require(m.allowed == allowed);
        return;
    }
    require(m.path.n > 0 && m.path.p[0] == '/');
    require(expected->changes || str_eq(m.path, r.path));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, line;
    struct http_gateway *g = http_gateway_new();
    struct arena *a = arena_new(0);
    struct table *t = arena_zalloc(a, sizeof(*t));
    while (rest.n > 0 && t->count < ROUTES_MAX && (line = take_until(&rest, '\n')).n > 0)
        add(g, t, line);
    while (rest.n > 0)
        ask(a, g, t, take_until(&rest, '\n'));
    http_gateway_free(g);
    arena_free(a);
    return 0;
}
