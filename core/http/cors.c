/* SPDX-License-Identifier: MIT */
/* A request without Origin, or with that of the address it is sent to, is nobody's concern here;
 * browsers enforce the rest by the headers they get. */
#include "http/cors.h"

#include "base/buf.h"

#include <string.h>

struct answer {
    struct http_header *headers;
    size_t *count;
};

static void add(struct answer *out, struct str name, struct str value)
{
    out->headers[(*out->count)++] = (struct http_header){name, value};
}

static bool listed(const struct str *list, size_t count, struct str item, bool no_case)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i], STR("*")) || (no_case ? str_ieq(list[i], item) : str_eq(list[i], item)))
            return true;
    return false;
}

/* "https://host:port" names the host that the request was sent to. */
static bool same_origin(struct str origin, struct str host)
{
    struct str schemes[] = {STR("http://"), STR("https://")};
    for (size_t i = 0; i < 2; i++)
        if (str_starts(origin, schemes[i]) &&
            str_ieq((struct str){origin.p + schemes[i].n, origin.n - schemes[i].n}, host))
            return true;
    return false;
}

static struct str trimmed(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t'))
        s.p++, s.n--;
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* All names of a comma-separated list must be allowed. */
static bool headers_allowed(const struct http_cors *c, struct str names)
{
    while (names.n > 0) {
        const char *comma = memchr(names.p, ',', names.n);
        size_t n = comma != NULL ? (size_t)(comma - names.p) : names.n;
        struct str name = trimmed((struct str){names.p, n});
        if (name.n > 0 && !listed(c->headers, c->header_count, name, true))
            return false;
        if (comma == NULL)
            break;
        names = (struct str){comma + 1, names.n - n - 1};
    }
    return true;
}

static struct str joined(struct arena *a, const struct str *list, size_t count)
{
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        if (i > 0)
            buf_lit(&out, ", ");
        buf_adds(&out, list[i]);
    }
    struct str text = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return text;
}

static void add_max_age(const struct http_cors *c, struct arena *a, struct answer *out)
{
    struct buf text = BUF_INIT;
    if (c->max_age_s <= 0)
        return;
    buf_add_int(&text, c->max_age_s);
    add(out, STR("Access-Control-Max-Age"), arena_str(a, buf_str(&text)));
    buf_deinit(&text);
}

static void allow_origin(const struct http_cors *c, struct str origin, struct answer *out)
{
    add(out, STR("Access-Control-Allow-Origin"), origin);
    if (c->credentials)
        add(out, STR("Access-Control-Allow-Credentials"), STR("true"));
}

static enum http_cors_verdict judge_preflight(const struct http_cors *c,
                                              const struct http_request *r, struct arena *a,
                                              struct answer *out, struct str origin)
{
    struct str method = http_header_find(r, STR("Access-Control-Request-Method"));
    struct str names = http_header_find(r, STR("Access-Control-Request-Headers"));
    add(out, STR("Vary"),
        STR("Origin, Access-Control-Request-Method, Access-Control-Request-Headers"));
    if (!listed(c->origins, c->origin_count, origin, false) ||
        !listed(c->methods, c->method_count, method, false) || !headers_allowed(c, names))
        return HTTP_CORS_REFUSED;
    allow_origin(c, origin, out);
    add(out, STR("Access-Control-Allow-Methods"), method);
    if (names.n > 0)
        add(out, STR("Access-Control-Allow-Headers"), names);
    add_max_age(c, a, out);
    return HTTP_CORS_PREFLIGHT;
}

enum http_cors_verdict http_cors_judge(const struct http_cors *c, const struct http_request *r,
                                       struct arena *a, struct http_header *headers,
                                       size_t *ret_count)
{
    struct answer out = {headers, ret_count};
    struct str origin = http_header_find(r, STR("Origin"));
    *ret_count = 0;
    if (origin.n == 0 || same_origin(origin, r->host))
        return HTTP_CORS_NONE;
    if (r->method == HTTP_OPTIONS_ &&
        http_header_find(r, STR("Access-Control-Request-Method")).n > 0)
        return judge_preflight(c, r, a, &out, origin);
    add(&out, STR("Vary"), STR("Origin"));
    if (!listed(c->origins, c->origin_count, origin, false))
        return HTTP_CORS_REFUSED;
    allow_origin(c, origin, &out);
    if (c->exposed_count > 0)
        add(&out, STR("Access-Control-Expose-Headers"), joined(a, c->exposed, c->exposed_count));
    return HTTP_CORS_ALLOWED;
}
