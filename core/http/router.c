/* SPDX-License-Identifier: MIT */
/* A trie of path segments. Matching walks each node at most once, so that no path, however odd,
 * costs more than the table is large; literals are tried before parameters, and a walk that ends
 * without the method goes on, so that "/orders/late" beside "/orders/{id}" hides nothing of the
 * latter but GET, unless the node where it ends is sealed. */
#include "http/router.h"

#include "http/url.h"

#include <assert.h>
#include <stdlib.h>

#define MAX_SEGMENTS 32

struct node {
    struct str segment;     /* owned; of a literal */
    struct node **literals; /* owned */
    size_t literal_count, literal_cap;
    struct node *param;         /* owned: what follows a parameter */
    void *targets[HTTP_OTHER_]; /* borrowed, by method */
    bool sealed;                /* a path that ends here is about nothing else */
};

struct http_router {
    struct node root;
};

struct walk {
    struct str segments[MAX_SEGMENTS]; /* decoded */
    size_t count;
    enum http_method method;
    unsigned allowed; /* methods of the nodes where the path ends, a bit each */
    bool over;        /* a sealed node has not had the method */
    struct http_match *match;
};

static void node_deinit(struct node *n);

static void node_free(struct node *n)
{
    if (!n)
        return;
    node_deinit(n);
    free(n);
}

static void node_deinit(struct node *n)
{
    for (size_t i = 0; i < n->literal_count; i++)
        node_free(n->literals[i]);
    free(n->literals);
    node_free(n->param);
    free((char *)n->segment.p);
}

static struct node *find_literal(const struct node *n, struct str segment)
{
    for (size_t i = 0; i < n->literal_count; i++) {
        if (str_eq(n->literals[i]->segment, segment))
            return n->literals[i];
    }
    return NULL;
}

static struct node *make_literal(struct node *n, struct str segment)
{
    struct node *child = find_literal(n, segment);
    if (child)
        return child;
    child = xcalloc(1, sizeof(*child));
    child->segment = (struct str){xstrndup(segment.p, segment.n), segment.n};
    vec_reserve(&n->literals, &n->literal_cap, n->literal_count + 1, sizeof(*n->literals));
    n->literals[n->literal_count++] = child;
    return child;
}

/* Cuts the next segment off *rest, which starts with '/' or is empty (the end). */
static bool next_segment(struct str *rest, struct str *ret)
{
    if (rest->n == 0)
        return false;
    const char *start = rest->p + 1;
    const char *slash = memchr(start, '/', rest->n - 1);
    size_t n = slash ? (size_t)(slash - start) : rest->n - 1;
    *ret = (struct str){start, n};
    rest->p += n + 1;
    rest->n -= n + 1;
    return true;
}

static bool is_param(struct str segment)
{
    if (segment.n < 3 || segment.p[0] != '{' || segment.p[segment.n - 1] != '}')
        return false;
    for (size_t i = 1; i + 1 < segment.n; i++) {
        char c = segment.p[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (!letter && !(i > 1 && c >= '0' && c <= '9'))
            return false;
    }
    return true;
}

static bool is_literal(struct str segment)
{
    for (size_t i = 0; i < segment.n; i++) {
        unsigned char c = (unsigned char)segment.p[i];
        if (c <= 0x20 || c == 0x7f || strchr("{}?#%", c))
            return false;
    }
    return segment.n > 0;
}

static int bad_pattern(struct err *err, struct str pattern, const char *why)
{
    return err_set(err, ERR_CONFIG, "bad path pattern \"%.*s\": %s", STR_ARG(pattern), why);
}

/* Checks before anything is made, so that a refused pattern leaves no trace. */
static int check_pattern(struct str pattern, struct err *err)
{
    struct str rest = pattern, segment;
    size_t segments = 0, params = 0;
    if (pattern.n == 0 || pattern.p[0] != '/')
        return bad_pattern(err, pattern, "it must start with \"/\"");
    if (pattern.n == 1)
        return 0;
    while (next_segment(&rest, &segment)) {
        if (is_param(segment))
            params++;
        else if (!is_literal(segment))
            return bad_pattern(err, pattern, "a segment is a plain name or {name}, not empty");
        segments++;
    }
    if (params > HTTP_ROUTE_PARAMS)
        return bad_pattern(err, pattern, "more than 8 parameters");
    if (segments > MAX_SEGMENTS)
        return bad_pattern(err, pattern, "more than 32 segments");
    return 0;
}

static unsigned methods_of(const struct node *n)
{
    unsigned bits = 0;
    for (int m = 0; m < HTTP_OTHER_; m++) {
        if (n->targets[m])
            bits |= 1u << m;
    }
    if (bits & 1u << HTTP_GET_)
        bits |= 1u << HTTP_HEAD_;
    return bits;
}

static bool end_walk(struct walk *w, const struct node *n)
{
    void *target = w->method < HTTP_OTHER_ ? n->targets[w->method] : NULL;
    if (!target && w->method == HTTP_HEAD_)
        target = n->targets[HTTP_GET_];
    w->allowed |= methods_of(n);
    w->match->target = target;
    w->over = n->sealed && target == NULL;
    return target != NULL;
}

static bool walk_node(struct walk *w, const struct node *n, size_t at)
{
    if (at == w->count)
        return end_walk(w, n);
    const struct node *child = find_literal(n, w->segments[at]);
    if (child && walk_node(w, child, at + 1))
        return true;
    if (w->over || !n->param || w->segments[at].n == 0)
        return false;
    size_t index = w->match->param_count++;
    w->match->params[index] = w->segments[at];
    if (walk_node(w, n->param, at + 1))
        return true;
    w->match->param_count--;
    return false;
}

static void write_allow(char *out, size_t size, unsigned allowed)
{
    size_t n = 0;
    allowed |= 1u << HTTP_OPTIONS_;
    for (int m = 0; m < HTTP_OTHER_; m++) {
        if (!(allowed & 1u << m))
            continue;
        struct str text = str_from(http_method_text((enum http_method)m));
        if (n + text.n + 3 > size)
            break;
        if (n > 0) {
            memcpy(out + n, ", ", 2);
            n += 2;
        }
        memcpy(out + n, text.p, text.n);
        n += text.n;
    }
    out[n] = '\0';
}

/* False if no pattern can match: the path is too deep, or an escape in it is bad. */
static bool split_path(struct walk *w, struct arena *a, struct str path)
{
    struct str segment;
    if (path.n == 0 || path.p[0] != '/')
        return false;
    if (path.p[path.n - 1] == '/')
        path.n--;
    while (next_segment(&path, &segment)) {
        if (w->count == MAX_SEGMENTS)
            return false;
        if (!http_url_decode(a, segment, false, &w->segments[w->count])) {
            w->match->malformed = true;
            return false;
        }
        w->count++;
    }
    return true;
}

struct http_router *http_router_new(void)
{
    return xcalloc(1, sizeof(struct http_router));
}

void http_router_free(struct http_router *r)
{
    if (!r)
        return;
    node_deinit(&r->root);
    free(r);
}

int http_router_add(struct http_router *r, enum http_method method, struct str pattern,
                    void *target, struct err *err)
{
    struct str rest = pattern, segment;
    struct node *n = &r->root;
    if (method >= HTTP_OTHER_)
        return err_set(err, ERR_CONFIG, "path \"%.*s\": no such method", STR_ARG(pattern));
    if (check_pattern(pattern, err))
        return -1;
    while (pattern.n > 1 && next_segment(&rest, &segment)) {
        if (!is_param(segment)) {
            n = make_literal(n, segment);
            continue;
        }
        if (!n->param)
            n->param = xcalloc(1, sizeof(*n->param));
        n = n->param;
    }
    if (n->targets[method])
        return err_set(err, ERR_CONFIG, "%s \"%.*s\" is there already", http_method_text(method),
                       STR_ARG(pattern));
    n->targets[method] = target;
    return 0;
}

void http_router_seal(struct http_router *r, struct str pattern)
{
    struct str rest = pattern, segment;
    struct node *n = &r->root;
    while (pattern.n > 1 && next_segment(&rest, &segment)) {
        n = is_param(segment) ? n->param : find_literal(n, segment);
        assert(n != NULL);
    }
    n->sealed = true;
}

void http_router_match(const struct http_router *r, struct arena *a, enum http_method method,
                       struct str path, struct http_match *ret)
{
    struct walk w;
    w.count = 0;
    w.method = method;
    w.allowed = 0;
    w.over = false;
    w.match = ret;
    ret->target = NULL;
    ret->param_count = 0;
    ret->malformed = false;
    ret->path_known = false;
    ret->allow[0] = '\0';
    if (!split_path(&w, a, path) || walk_node(&w, &r->root, 0))
        return;
    ret->param_count = 0;
    ret->path_known = w.allowed != 0;
    if (ret->path_known)
        write_allow(ret->allow, sizeof(ret->allow), w.allowed);
}
