/* SPDX-License-Identifier: MIT */
/* A table of routes and paths to look for in it, both from the input: each line is "METHOD PATTERN"
 * to add or, after an empty line, "METHOD PATH" to match. A slow and plain matcher must come to the
 * same result. */
#include "base/buf.h"
#include "fuzz.h"
#include "http/router.h"
#include "http/url.h"

#define ROUTES_MAX 64
#define SEGMENTS_MAX 33

struct route {
    enum http_method method;
    struct str pattern;
};

struct table {
    struct route routes[ROUTES_MAX];
    size_t count;
};

static bool next_line(struct str *rest, struct str *ret)
{
    if (rest->n == 0)
        return false;
    const char *end = memchr(rest->p, '\n', rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *ret = (struct str){rest->p, n};
    rest->p += n + (end ? 1 : 0);
    rest->n -= n + (end ? 1 : 0);
    return true;
}

static enum http_method cut_method(struct str line, struct str *ret_rest)
{
    const char *space = line.n > 0 ? memchr(line.p, ' ', line.n) : NULL;
    size_t n = space ? (size_t)(space - line.p) : 0;
    *ret_rest = space ? (struct str){space + 1, line.n - n - 1} : line;
    return space ? http_method_from((struct str){line.p, n}) : HTTP_GET_;
}

/* Segments of "/a/b", "/a/b/"; none of "/". -1: it is none. */
static int split(struct str path, struct str *segments)
{
    int count = 0;
    if (path.n == 0 || path.p[0] != '/')
        return -1;
    if (path.p[path.n - 1] == '/')
        path.n--;
    for (size_t i = 0; i < path.n;) {
        size_t start = ++i;
        while (i < path.n && path.p[i] != '/')
            i++;
        if (count == SEGMENTS_MAX)
            return -1;
        segments[count++] = (struct str){path.p + start, i - start};
    }
    return count;
}

static bool is_param(struct str segment)
{
    return segment.n > 0 && segment.p[0] == '{';
}

/* 0: another path; else better the more literals stand further left. */
static uint64_t rank(struct arena *a, struct str pattern, struct str path)
{
    struct str want[SEGMENTS_MAX], have[SEGMENTS_MAX];
    int wanted = split(pattern, want), given = split(path, have);
    uint64_t bits = 1;
    if (given < 0 || given > 32 || wanted != given)
        return 0;
    for (int i = 0; i < given; i++) {
        struct str segment;
        if (!http_url_decode(a, have[i], false, &segment))
            return 0;
        bool literal = !is_param(want[i]);
        if (literal ? !str_eq(want[i], segment) : segment.n == 0)
            return 0;
        bits = bits << 1 | literal;
    }
    return bits;
}

static bool serves(const struct route *r, enum http_method method, bool head_by_get)
{
    return r->method == method || (head_by_get && method == HTTP_HEAD_ && r->method == HTTP_GET_);
}

/* HEAD of its own and HEAD by GET may both be there; the better path goes first, then HEAD. */
static const struct route *find(struct arena *a, const struct table *t, enum http_method method,
                                struct str path, bool *ret_known)
{
    const struct route *best = NULL;
    uint64_t best_rank = 0;
    for (size_t i = 0; i < t->count; i++) {
        const struct route *r = &t->routes[i];
        uint64_t this_rank = rank(a, r->pattern, path);
        if (this_rank == 0)
            continue;
        *ret_known = true;
        if (!serves(r, method, true) || this_rank < best_rank)
            continue;
        if (this_rank == best_rank && !serves(r, method, false))
            continue;
        best = r;
        best_rank = this_rank;
    }
    return best;
}

static void check_match(struct arena *a, const struct http_router *router, const struct table *t,
                        struct str line)
{
    struct str path;
    struct http_match m;
    bool known = false;
    enum http_method method = cut_method(line, &path);
    http_router_match(router, a, method, path, &m);
    const struct route *expected = method < HTTP_OTHER_ ? find(a, t, method, path, &known) : NULL;
    require(m.target == (void *)expected);
    require(m.param_count <= HTTP_ROUTE_PARAMS && strlen(m.allow) < sizeof(m.allow));
    require(m.target == NULL || !m.path_known);
    if (method < HTTP_OTHER_ && !m.target)
        require(m.path_known == known && (m.allow[0] != '\0') == known);
    for (size_t i = 0; i < m.param_count; i++)
        require(m.params[i].n > 0 && str_is_utf8(m.params[i]));
    /* A slash behind the path changes nothing. */
    if (path.n > 0 && path.p[path.n - 1] == '/')
        return;
    struct http_match again;
    struct buf slashed = BUF_INIT;
    buf_adds(&slashed, path);
    buf_addc(&slashed, '/');
    http_router_match(router, a, method, buf_str(&slashed), &again);
    require(path.n == 0 || (again.target == m.target && again.param_count == m.param_count));
    buf_deinit(&slashed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, line;
    struct http_router *router = http_router_new();
    struct arena *a = arena_new(0);
    struct table *t = arena_zalloc(a, sizeof(*t));
    struct err err;
    while (next_line(&rest, &line) && line.n > 0 && t->count < ROUTES_MAX) {
        struct route *r = &t->routes[t->count];
        r->method = cut_method(line, &r->pattern);
        if (http_router_add(router, r->method, r->pattern, r, &err) == 0)
            t->count++;
        else
            require(err.code == ERR_CONFIG && err.message[0] != '\0');
    }
    while (next_line(&rest, &line))
        check_match(a, router, t, line);
    http_router_free(router);
    arena_free(a);
    return 0;
}
