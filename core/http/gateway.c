/* SPDX-License-Identifier: MIT */
/* A gateway has a dozen routes, tried in their order, because that is how people read them: a table
 * and not a trie. Patterns are cut into segments when they are added, so that matching compares
 * bytes and allocates only where a path is rewritten. */
#include "http/gateway.h"

#include "base/buf.h"
#include "http/url.h"

#include <regex.h>
#include <stdlib.h>
#include <string.h>

#define SEGMENTS 32
#define PATH_MAX_BYTES 8192 /* of a rewritten path: as long as a request line may be */

enum segment_kind { SEGMENT_LITERAL, SEGMENT_ONE, SEGMENT_ANY };

struct segment {
    enum segment_kind kind;
    struct str text; /* of LITERAL; of ONE its name, or empty */
};

struct pattern {
    struct segment segments[SEGMENTS];
    size_t count;
};

struct test {
    enum http_gateway_part part;
    struct str name;
    bool any;
    regex_t value;
};

struct gateway_route {
    struct pattern *paths, *hosts;
    size_t path_count, host_count;
    unsigned methods;
    struct test *tests;
    size_t test_count;
    int strip_prefix;
    bool rewrites;
    regex_t rewrite;
    struct str to, set_path, prefix_path;
    void *target;
};

struct http_gateway {
    struct arena *arena;
    struct gateway_route **routes;
    size_t count, cap;
};

/* What a path pattern captured: the segments under their names. */
struct captures {
    struct str names[HTTP_GATEWAY_PARAMS], values[HTTP_GATEWAY_PARAMS];
    size_t count;
};

struct http_gateway *http_gateway_new(void)
{
    struct http_gateway *g = xcalloc(1, sizeof(*g));
    g->arena = arena_new(0);
    return g;
}

static void route_deinit(struct gateway_route *r)
{
    for (size_t i = 0; i < r->test_count; i++)
        if (!r->tests[i].any)
            regfree(&r->tests[i].value);
    if (r->rewrites)
        regfree(&r->rewrite);
}

void http_gateway_free(struct http_gateway *g)
{
    if (g == NULL)
        return;
    for (size_t i = 0; i < g->count; i++)
        route_deinit(g->routes[i]);
    free(g->routes);
    arena_free(g->arena);
    free(g);
}

/* ---- adding ---- */

static int compile(regex_t *ret, const char *option, struct str text, struct err *err)
{
    char reason[120];
    int status = regcomp(ret, text.p, REG_EXTENDED);
    if (status == 0)
        return 0;
    regerror(status, ret, reason, sizeof(reason));
    return err_set(err, ERR_CONFIG, "%s: \"%.*s\" is no regular expression: %s", option,
                   STR_ARG(text), reason);
}

static int add_segment(struct pattern *p, struct str text, struct err *err)
{
    if (p->count == SEGMENTS)
        return err_set(err, ERR_CONFIG, "it has more than %d segments", SEGMENTS);
    struct segment *s = &p->segments[p->count++];
    *s = (struct segment){SEGMENT_LITERAL, text};
    if (str_eq(text, STR("**")))
        s->kind = SEGMENT_ANY;
    else if (str_eq(text, STR("*")))
        *s = (struct segment){SEGMENT_ONE, {NULL, 0}};
    else if (text.n > 2 && text.p[0] == '{' && text.p[text.n - 1] == '}')
        *s = (struct segment){SEGMENT_ONE, {text.p + 1, text.n - 2}};
    else if (memchr(text.p, '*', text.n) != NULL || memchr(text.p, '{', text.n) != NULL)
        return err_set(err, ERR_CONFIG, "a segment is a text, {name}, * or **, not \"%.*s\"",
                       STR_ARG(text));
    return 0;
}

/* Cuts text at each `by` into p; an empty last segment (a trailing slash) is left out. */
static int cut(struct pattern *p, struct str text, char by, struct err *err)
{
    while (text.n > 0) {
        const char *end = memchr(text.p, by, text.n);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.n;
        if (add_segment(p, (struct str){text.p, n}, err) != 0)
            return -1;
        if (end == NULL)
            break;
        text = (struct str){end + 1, text.n - n - 1};
    }
    return 0;
}

static int add_patterns(struct http_gateway *g, const char *option, const struct str *texts,
                        size_t count, char by, struct pattern **ret, struct err *err)
{
    struct err why;
    *ret = arena_zalloc(g->arena, (count + 1) * sizeof(**ret));
    for (size_t i = 0; i < count; i++) {
        struct str text = arena_str(g->arena, texts[i]);
        if (by == '/' && (text.n == 0 || text.p[0] != '/'))
            return err_set(err, ERR_CONFIG, "%s: \"%.*s\" must begin with /", option,
                           STR_ARG(text));
        if (by == '/')
            text.p++, text.n--;
        else if (text.n == 0)
            return err_set(err, ERR_CONFIG, "%s: a pattern is empty", option);
        if (cut(*ret + i, text, by, &why) != 0)
            return err_set(err, ERR_CONFIG, "%s: \"%.*s\": %s", option, STR_ARG(texts[i]),
                           why.message);
    }
    return 0;
}

static int add_tests(struct http_gateway *g, struct gateway_route *r,
                     const struct http_gateway_conf *conf, struct err *err)
{
    r->tests = arena_zalloc(g->arena, (conf->test_count + 1) * sizeof(*r->tests));
    for (size_t i = 0; i < conf->test_count; i++) {
        const struct http_gateway_test *from = &conf->tests[i];
        struct test *t = &r->tests[i];
        *t = (struct test){.part = from->part, .any = from->value.n == 0};
        t->name = arena_str(g->arena, from->name);
        const char *option = t->part == HTTP_GATEWAY_HEADER ? "headers" : "query";
        if (t->name.n == 0)
            return err_set(err, ERR_CONFIG, "%s: a name is empty", option);
        if (!t->any && compile(&t->value, option, arena_str(g->arena, from->value), err) != 0)
            return -1;
        r->test_count++;
    }
    return 0;
}

static int fill_route(struct http_gateway *g, struct gateway_route *r,
                      const struct http_gateway_conf *conf, struct err *err)
{
    if (conf->path_count == 0)
        return err_set(err, ERR_CONFIG, "path: there must be at least one pattern");
    r->path_count = conf->path_count;
    r->host_count = conf->host_count;
    r->methods = conf->methods;
    r->target = conf->target;
    r->to = arena_str(g->arena, conf->to);
    r->set_path = arena_str(g->arena, conf->set_path);
    r->prefix_path = arena_str(g->arena, conf->prefix_path);
    r->strip_prefix = conf->strip_prefix;
    if (conf->strip_prefix < 0 || conf->strip_prefix > SEGMENTS)
        return err_set(err, ERR_CONFIG, "strip_prefix: expected 0 to %d", SEGMENTS);
    if (add_patterns(g, "path", conf->paths, conf->path_count, '/', &r->paths, err) != 0 ||
        add_patterns(g, "host", conf->hosts, conf->host_count, '.', &r->hosts, err) != 0 ||
        add_tests(g, r, conf, err) != 0)
        return -1;
    if (conf->rewrite.n == 0)
        return 0;
    if (compile(&r->rewrite, "rewrite_path", arena_str(g->arena, conf->rewrite), err) != 0)
        return -1;
    r->rewrites = true;
    return 0;
}

int http_gateway_add(struct http_gateway *g, const struct http_gateway_conf *conf, struct err *err)
{
    struct gateway_route *r = arena_zalloc(g->arena, sizeof(*r));
    if (fill_route(g, r, conf, err) != 0) {
        route_deinit(r);
        return -1;
    }
    vec_reserve(&g->routes, &g->cap, g->count + 1, sizeof(*g->routes));
    g->routes[g->count++] = r;
    return 0;
}

/* ---- matching ---- */

/* The segments of a path or the labels of a host, cut once for all routes. */
struct parts {
    struct str items[SEGMENTS];
    size_t count;
    bool too_many;
};

static void split(struct str text, char by, struct parts *ret)
{
    ret->count = 0;
    ret->too_many = false;
    while (text.n > 0) {
        const char *end = memchr(text.p, by, text.n);
        size_t n = end != NULL ? (size_t)(end - text.p) : text.n;
        if (ret->count == SEGMENTS) {
            ret->too_many = true;
            return;
        }
        ret->items[ret->count++] = (struct str){text.p, n};
        if (end == NULL)
            return;
        text = (struct str){end + 1, text.n - n - 1};
    }
}

static bool fits(const struct segment *s, struct str part, bool no_case)
{
    if (s->kind == SEGMENT_ONE)
        return part.n > 0;
    return no_case ? str_ieq(s->text, part) : str_eq(s->text, part);
}

/* Greedy with one way back, to the last "**": each place is tried once a segment. */
static bool pattern_matches(const struct pattern *p, const struct parts *path, bool no_case,
                            struct captures *ret)
{
    size_t i = 0, j = 0, star = SIZE_MAX, star_at = 0, starred = 0;
    ret->count = 0;
    for (;;) {
        if (i < p->count && p->segments[i].kind == SEGMENT_ANY) {
            star = i++;
            star_at = j;
            starred = ret->count;
            continue;
        }
        if (j < path->count && i < p->count && fits(&p->segments[i], path->items[j], no_case)) {
            const struct segment *s = &p->segments[i++];
            if (s->kind == SEGMENT_ONE && s->text.n > 0 && ret->count < HTTP_GATEWAY_PARAMS) {
                ret->names[ret->count] = s->text;
                ret->values[ret->count++] = path->items[j];
            }
            j++;
            continue;
        }
        if (j == path->count && i == p->count)
            return true;
        if (star == SIZE_MAX || star_at >= path->count)
            return false;
        i = star + 1;
        j = ++star_at;
        ret->count = starred;
    }
}

static bool one_matches(const struct pattern *patterns, size_t count, const struct parts *parts,
                        bool no_case, struct captures *ret)
{
    if (parts->too_many)
        return false;
    for (size_t i = 0; i < count; i++)
        if (pattern_matches(&patterns[i], parts, no_case, ret))
            return true;
    return false;
}

/* regexec wants a terminated text: request values are copied, they have none. */
static bool value_matches(const regex_t *re, struct str value, struct arena *a)
{
    regmatch_t m;
    if (value.n > 0 && memchr(value.p, '\0', value.n) != NULL)
        return false;
    struct str text = arena_str(a, value);
    return regexec(re, text.p, 1, &m, 0) == 0 && m.rm_so == 0 && (size_t)m.rm_eo == text.n;
}

static bool test_holds(const struct test *t, const struct http_request *r, struct arena *a)
{
    struct str value;
    if (t->part == HTTP_GATEWAY_QUERY) {
        if (!http_query_find(a, r->query, t->name, &value))
            return false;
        return t->any || value_matches(&t->value, value, a);
    }
    for (size_t i = 0; i < r->header_count; i++)
        if (str_ieq(r->headers[i].name, t->name) &&
            (t->any || value_matches(&t->value, r->headers[i].value, a)))
            return true;
    return false;
}

static bool tests_hold(const struct gateway_route *gr, const struct http_request *r,
                       struct arena *a)
{
    for (size_t i = 0; i < gr->test_count; i++)
        if (!test_holds(&gr->tests[i], r, a))
            return false;
    return true;
}

/* ---- rewriting ---- */

static void strip(struct str *path, int segments)
{
    for (; segments > 0 && path->n > 0; segments--) {
        const char *end = path->n > 1 ? memchr(path->p + 1, '/', path->n - 1) : NULL;
        size_t n = end != NULL ? (size_t)(end - path->p) : path->n;
        path->p += n;
        path->n -= n;
    }
}

static void add_replacement(struct buf *out, struct str to, const char *text, const regmatch_t *m)
{
    for (size_t i = 0; i < to.n; i++) {
        char next = i + 1 < to.n ? to.p[i + 1] : '\0';
        if (to.p[i] != '$' || (next != '$' && (next < '0' || next > '9'))) {
            buf_addc(out, to.p[i]);
            continue;
        }
        i++;
        if (next == '$')
            buf_addc(out, '$');
        else if (m[next - '0'].rm_so >= 0)
            buf_add(out, text + m[next - '0'].rm_so,
                    (size_t)(m[next - '0'].rm_eo - m[next - '0'].rm_so));
    }
}

/* Every match of the expression, left to right, as sed's s///g. */
static struct str rewrite(const struct gateway_route *gr, struct str path, struct arena *a)
{
    struct buf out = BUF_INIT;
    regmatch_t m[10];
    struct str text = arena_str(a, path);
    const char *p = text.p;
    int flags = 0;
    while (out.n < PATH_MAX_BYTES && regexec(&gr->rewrite, p, 10, m, flags) == 0) {
        buf_add(&out, p, (size_t)m[0].rm_so);
        add_replacement(&out, gr->to, p, m);
        p += m[0].rm_eo;
        if (m[0].rm_eo == m[0].rm_so) { /* an empty match: step over one byte */
            if (*p == '\0')
                break;
            buf_addc(&out, *p++);
        }
        flags = REG_NOTBOL;
    }
    buf_adds(&out, str_from(p));
    struct str result = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return result;
}

static void add_captured(struct buf *out, const struct captures *c, struct str name)
{
    for (size_t i = 0; i < c->count; i++)
        if (str_eq(c->names[i], name))
            buf_adds(out, c->values[i]);
}

static struct str fill_path(struct str template, const struct captures *c, struct arena *a)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < template.n; i++) {
        const char *end = template.p[i] == '{' ? memchr(template.p + i, '}', template.n - i) : NULL;
        if (end == NULL) {
            buf_addc(&out, template.p[i]);
            continue;
        }
        const char *name = template.p + i + 1;
        add_captured(&out, c, (struct str){name, (size_t)(end - name)});
        i = (size_t)(end - template.p);
    }
    struct str result = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return result;
}

/* The path behind the route. Most routes leave it alone, and then nothing is copied. */
static struct str path_behind(const struct gateway_route *gr, struct str path,
                              const struct captures *c, struct arena *a)
{
    strip(&path, gr->strip_prefix);
    if (gr->rewrites)
        path = rewrite(gr, path, a);
    if (gr->set_path.n > 0)
        path = fill_path(gr->set_path, c, a);
    bool rooted = path.n > 0 && path.p[0] == '/';
    if (rooted && gr->prefix_path.n == 0)
        return path;
    struct buf out = BUF_INIT;
    if (gr->prefix_path.n > 0 && gr->prefix_path.p[0] != '/')
        buf_addc(&out, '/');
    buf_adds(&out, gr->prefix_path);
    if (!rooted)
        buf_addc(&out, '/');
    buf_adds(&out, path);
    path = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return path;
}

static struct str host_name(struct str authority)
{
    size_t n = authority.n;
    while (n > 0 && authority.p[n - 1] >= '0' && authority.p[n - 1] <= '9')
        n--;
    if (n > 0 && authority.p[n - 1] == ':')
        authority.n = n - 1;
    return authority;
}

void http_gateway_match(const struct http_gateway *g, const struct http_request *request,
                        struct arena *a, struct http_gateway_match *ret)
{
    struct parts path, host;
    struct captures captures, unused;
    struct str rest = request->path;
    unsigned bit = 1u << request->method;
    *ret = (struct http_gateway_match){0};
    if (rest.n == 0 || rest.p[0] != '/')
        return;
    rest.p++, rest.n--;
    split(rest, '/', &path);
    split(host_name(request->host), '.', &host);
    for (size_t i = 0; i < g->count; i++) {
        const struct gateway_route *gr = g->routes[i];
        if (!one_matches(gr->paths, gr->path_count, &path, false, &captures) ||
            (gr->host_count > 0 && !one_matches(gr->hosts, gr->host_count, &host, true, &unused)) ||
            !tests_hold(gr, request, a))
            continue;
        if (gr->methods != 0 && (gr->methods & bit) == 0) {
            ret->allowed |= gr->methods;
            continue;
        }
        ret->target = gr->target;
        ret->path = path_behind(gr, request->path, &captures, a);
        return;
    }
}
