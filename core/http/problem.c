/* SPDX-License-Identifier: MIT */
/* Error answers. One writer for all of them, because clients of the original systems read Spring's
 * members and newer ones RFC 9457's, and both must agree. */
#include "http/problem.h"

#include "base/clock.h"
#include "base/json.h"
#include "http/message.h"

static void write_member(struct buf *out, const char *name, struct str text)
{
    buf_lit(out, ",\"");
    buf_adds(out, str_from(name));
    buf_lit(out, "\":");
    json_text(out, text);
}

/* Spring's layout of a time: a numeric offset without colon where RFC 3339 has 'Z'. */
static void write_timestamp(struct buf *out, int64_t wall_ms)
{
    buf_lit(out, ",\"timestamp\":\"");
    clock_rfc3339(out, wall_ms);
    out->n--;
    buf_lit(out, "+0000\"");
}

static struct str trim(struct str s)
{
    while (s.n > 0 && (s.p[0] == ' ' || s.p[0] == '\t')) {
        s.p++;
        s.n--;
    }
    while (s.n > 0 && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
        s.n--;
    return s;
}

/* Cuts the next part off *rest; false at the end. */
static bool next_part(struct str *rest, char separator, struct str *ret)
{
    if (!rest->p || rest->n == 0)
        return false;
    const char *end = memchr(rest->p, separator, rest->n);
    size_t n = end ? (size_t)(end - rest->p) : rest->n;
    *ret = trim((struct str){rest->p, n});
    rest->p += n + (end ? 1 : 0);
    rest->n -= n + (end ? 1 : 0);
    return true;
}

/* A media range of an Accept header without its parameters; empty if it is refused by q=0. */
static struct str accepted_range(struct str item)
{
    struct str range = {NULL, 0}, parameter;
    double q;
    next_part(&item, ';', &range);
    while (next_part(&item, ';', &parameter)) {
        if (parameter.n < 2 || (parameter.p[0] | 0x20) != 'q' || parameter.p[1] != '=')
            continue;
        if (str_to_number((struct str){parameter.p + 2, parameter.n - 2}, &q) && q <= 0)
            return (struct str){NULL, 0};
    }
    return range;
}

void http_problem_write(struct buf *out, const struct http_problem *p)
{
    struct str title = str_from(http_reason(p->status));
    struct str message = p->message.n > 0 ? p->message : title;
    buf_lit(out, "{\"type\":\"about:blank\"");
    write_member(out, "title", title);
    buf_lit(out, ",\"status\":");
    buf_add_int(out, p->status);
    write_member(out, "detail", message);
    write_member(out, "code", p->code);
    write_member(out, "correlationId", p->correlation_id);
    write_timestamp(out, p->wall_ms);
    write_member(out, "error", title);
    write_member(out, "message", message);
    write_member(out, "path", p->path);
    if (p->extra.n > 0) {
        buf_addc(out, ',');
        buf_adds(out, p->extra);
    }
    buf_addc(out, '}');
}

struct str http_problem_type(struct str accept)
{
    struct str item, range;
    bool problem = false, json = false;
    while (next_part(&accept, ',', &item)) {
        range = accepted_range(item);
        problem |= str_ieq(range, STR("application/problem+json")) ||
                   str_ieq(range, STR("application/*")) || str_ieq(range, STR("*/*"));
        json |= str_ieq(range, STR("application/json"));
    }
    return json && !problem ? STR("application/json") : STR("application/problem+json");
}
