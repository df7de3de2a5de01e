/* SPDX-License-Identifier: MIT */
/* Whole answers. The head is copied because the call, to which it belongs, is gone when its end is
 * told. */
#include "http/fetch.h"

static void on_head(void *owner, const struct http_response *head)
{
    struct http_fetch *f = owner;
    f->status = head->status;
    f->headers = arena_zalloc(f->arena, (head->header_count + 1) * sizeof(*f->headers));
    f->header_count = head->header_count;
    for (size_t i = 0; i < head->header_count; i++) {
        f->headers[i].name = arena_str(f->arena, head->headers[i].name);
        f->headers[i].value = arena_str(f->arena, head->headers[i].value);
    }
}

static void on_body(void *owner, struct str piece)
{
    struct http_fetch *f = owner;
    buf_adds(&f->body, piece);
}

static void on_end(void *owner)
{
    struct http_fetch *f = owner;
    f->call = NULL;
    f->done(f, NULL);
}

static void on_error(void *owner, const struct err *err)
{
    struct http_fetch *f = owner;
    f->call = NULL;
    f->done(f, err);
}

static const struct http_call_class fetch_class = {on_head, on_body, on_end, on_error, NULL};

int http_fetch_start(struct http_client *c, struct http_fetch *f, const struct http_call_conf *conf,
                     struct err *err)
{
    struct http_call_conf own = *conf;
    own.class = &fetch_class;
    own.owner = f;
    f->call = http_call_start(c, &own, err);
    if (f->call == NULL)
        return -1;
    f->arena = arena_new(0);
    return 0;
}

void http_fetch_cancel(struct http_fetch *f)
{
    if (f->call != NULL)
        http_call_cancel(f->call);
    f->call = NULL;
}

void http_fetch_deinit(struct http_fetch *f)
{
    http_fetch_cancel(f);
    if (f->arena != NULL)
        arena_free(f->arena);
    f->arena = NULL;
    buf_deinit(&f->body);
}

struct str http_fetch_header(const struct http_fetch *f, struct str name)
{
    for (size_t i = 0; i < f->header_count; i++)
        if (str_ieq(f->headers[i].name, name))
            return f->headers[i].value;
    return (struct str){NULL, 0};
}
