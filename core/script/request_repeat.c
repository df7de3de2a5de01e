/* SPDX-License-Identifier: MIT */
/* Safe repeats (G8): a write that names itself by an Idempotency-Key is done once. Its answer is
 * kept in the transaction of its effects; the same request coming again within a day gets that
 * answer. What failed has left nothing, its key neither, so that a repeat runs. */
#include "base/file.h"
#include "http/digest.h"
#include "script/fail.h"
#include "script/repeats.h"
#include "script/request.h"
#include "store/repeat.h"

#include <stdio.h>

#define KEY_MAX 255
#define BODY_MAX (256 << 10) /* of a kept answer: a larger one is repeated without */

struct request_repeat {
    struct str key;   /* as the client meant it: without the quotes */
    struct str place; /* service and key */
    char fingerprint[HTTP_DIGEST_CHARS + 1];
    bool entered;
};

struct str request_root(struct request *r)
{
    uint64_t random[2];
    if (r->repeat != NULL)
        return r->repeat->key;
    if (r->root[0] == '\0') {
        file_random(random, sizeof(random));
        snprintf(r->root, sizeof(r->root), "%016llx%016llx", (unsigned long long)random[0],
                 (unsigned long long)random[1]);
    }
    return (struct str){r->root, sizeof(r->root) - 1};
}

/* ---- the header ---- */

/* "..." of RFC 8941. */
static bool unquote(struct arena *a, struct str sent, struct str *ret)
{
    char *out = arena_alloc(a, sent.n + 1);
    size_t n = 0, i = 1;
    for (; i + 1 < sent.n && sent.p[i] != '"'; i++) {
        if (sent.p[i] == '\\' && ++i + 1 < sent.n && sent.p[i] != '"' && sent.p[i] != '\\')
            return false;
        out[n++] = sent.p[i];
    }
    if (i + 1 != sent.n || sent.p[i] != '"')
        return false;
    *ret = (struct str){out, n};
    return true;
}

static bool read_key(struct arena *a, struct str sent, struct str *ret)
{
    bool quoted = sent.n > 0 && sent.p[0] == '"';
    *ret = sent;
    if (quoted && !unquote(a, sent, ret))
        return false;
    for (size_t i = 0; i < ret->n; i++)
        if (ret->p[i] < (quoted ? 0x20 : 0x21) || ret->p[i] > 0x7e)
            return false;
    return ret->n >= 1 && ret->n <= KEY_MAX;
}

static int count_keys(const struct http_request *http, struct str *ret)
{
    int n = 0;
    for (size_t i = 0; i < http->header_count; i++) {
        if (!str_ieq(http->headers[i].name, STR("Idempotency-Key")))
            continue;
        *ret = http->headers[i].value;
        n++;
    }
    return n;
}

static bool is_write(const struct request *r)
{
    enum http_method m = r->http->method;
    return m == HTTP_POST_ || m == HTTP_PUT_ || m == HTTP_PATCH_ || m == HTTP_DELETE_;
}

/* ---- the kept answer ---- */

static void write_line(struct buf *out, struct str name, struct str value)
{
    buf_adds(out, name);
    buf_lit(out, ":");
    buf_adds(out, value);
    buf_lit(out, "\n");
}

/* Headers have no line breaks: a line each. */
static struct str kept_head(const struct request *r, struct arena *a)
{
    struct buf out = BUF_INIT;
    if (r->content_type.n > 0)
        write_line(&out, STR("Content-Type"), r->content_type);
    for (size_t i = 0; i < r->header_count; i++)
        write_line(&out, r->headers[i].name, r->headers[i].value);
    struct str head = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return head;
}

static void take_head(struct request *r, struct str head)
{
    while (head.n > 0) {
        const char *end = memchr(head.p, '\n', head.n);
        const char *colon = end != NULL ? memchr(head.p, ':', (size_t)(end - head.p)) : NULL;
        if (colon == NULL)
            return;
        struct str name = {head.p, (size_t)(colon - head.p)};
        struct str value = {colon + 1, (size_t)(end - colon) - 1};
        if (str_eq(name, STR("Content-Type")))
            r->content_type = value;
        else
            request_add_header(r, name, value);
        head = (struct str){end + 1, head.n - (size_t)(end - head.p) - 1};
    }
}

static void answer_again(struct request *r, const struct store_repeat *kept)
{
    r->status = kept->status;
    r->content_type = (struct str){NULL, 0};
    r->header_count = 0;
    take_head(r, kept->head);
    buf_clear(&r->text);
    buf_adds(&r->text, kept->body);
    request_add_header(r, STR("Idempotency-Replayed"), STR("true"));
    request_answer(r);
}

/* ---- the way in ---- */

static void refuse_running(struct request *r)
{
    struct err err;
    struct task_error e;
    err_set(&err, ERR_IN_PROGRESS, "a request with this Idempotency-Key runs just now");
    fail_from_err(r->arena, &err, &e);
    e.retry_after_ms = 1000;
    request_fail(r, &e);
}

static void refuse_other(struct request *r)
{
    request_fail_code(
        r, ERR_KEY_REUSED,
        "this Idempotency-Key belongs to a request with another method, path or body");
}

static struct request_repeat *make_repeat(struct request *r, struct str key)
{
    struct request_repeat *repeat = arena_zalloc(r->arena, sizeof(*repeat));
    struct str service = r->endpoint->service->name;
    char *place = arena_alloc(r->arena, service.n + 1 + key.n);
    memcpy(place, service.p, service.n);
    place[service.n] = '\n'; /* in no key */
    memcpy(place + service.n + 1, key.p, key.n);
    repeat->key = key;
    repeat->place = (struct str){place, service.n + 1 + key.n};
    struct str parts[] = {r->http->method_name, r->http->target, r->http->body};
    http_digest(parts, 3, repeat->fingerprint);
    return repeat;
}

/* Looks for the answer of an earlier one. */
static bool is_first_ever(struct request *r)
{
    struct host *h = r->host;
    struct store_repeat kept;
    struct err err;
    int found = store_repeat_find(h->session, r->arena, r->endpoint->service->name, r->repeat->key,
                                  clock_wall_ms(loop_clock(h->loop)), &kept, &err);
    if (found == 0)
        return true;
    if (found < 0)
        request_fail_code(r, err.code, err.message);
    else if (str_eq(kept.fingerprint, str_from(r->repeat->fingerprint)))
        answer_again(r, &kept);
    else
        refuse_other(r);
    return false;
}

bool request_repeat_enter(struct request *r)
{
    struct str sent = {NULL, 0}, key;
    int n = is_write(r) ? count_keys(r->http, &sent) : 0;
    if (n == 0)
        return true;
    if (n > 1 || !read_key(r->arena, sent, &key)) {
        request_fail_code(
            r, ERR_INVALID,
            "Idempotency-Key must be given once, as 1 to 255 visible ASCII characters");
        return false;
    }
    r->repeat = make_repeat(r, key);
    struct str fingerprint = str_from(r->repeat->fingerprint);
    switch (repeats_enter(r->host->repeats, r->repeat->place, fingerprint)) {
    case REPEATS_RUNNING:
        refuse_running(r);
        return false;
    case REPEATS_OTHER:
        refuse_other(r);
        return false;
    case REPEATS_FIRST:
        break;
    }
    r->repeat->entered = true;
    return is_first_ever(r);
}

void request_repeat_leave(struct request *r)
{
    if (r->repeat != NULL && r->repeat->entered)
        repeats_leave(r->host->repeats, r->repeat->place);
    r->repeat = NULL;
}

bool request_repeat_seals(const struct task *t)
{
    const struct request *r = t->owner;
    return r->repeat != NULL;
}

void request_repeat_seal(struct task *t, struct store_unit *u)
{
    struct request *r = t->owner;
    struct arena *a = u->arena;
    int64_t now_ms = clock_wall_ms(loop_clock(t->host->loop));
    struct str body = buf_str(&r->text);
    struct store_repeat kept = {
        .service = arena_str(a, t->service->name),
        .key = arena_str(a, r->repeat->key),
        .fingerprint = arena_str(a, str_from(r->repeat->fingerprint)),
        .status = r->status,
        .head = kept_head(r, a),
        .body = body.n <= BODY_MAX ? arena_str(a, body) : (struct str){"", 0},
        .now_ms = now_ms,
        .expires_ms = now_ms + REQUEST_REPEAT_MS,
    };
    store_repeat_add(u, &kept);
}
