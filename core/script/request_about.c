/* SPDX-License-Identifier: MIT */
/* What there is: the root, the finders of a resource, profiles. All of it is known from the
 * declarations. */
#include "rest/hal.h"
#include "script/request.h"

/* The resources that can be read from outside, in the order of their declaration. */
static const struct rest_shape **readable(const struct request *r, size_t *ret_count)
{
    const struct program *p = r->host->program;
    const struct rest_shape **shapes =
        arena_alloc(r->arena, (size_t)(p->resource_count + 1) * sizeof(*shapes));
    *ret_count = 0;
    for (int i = 0; i < p->resource_count; i++)
        if (p->resources[i].listed)
            shapes[(*ret_count)++] = &p->resources[i].rest;
    return shapes;
}

static void answer_search(struct request *r)
{
    const struct rest_shape *shape = &r->endpoint->resource->rest;
    if (r->http->method != HTTP_HEAD_) {
        rest_hal_search(&r->text, shape, r->base);
        request_answer_hal(r, 200);
        return;
    }
    struct buf links = BUF_INIT;
    rest_hal_search_header(&links, shape, r->base);
    request_add_header(r, STR("Link"), arena_str(r->arena, buf_str(&links)));
    buf_deinit(&links);
    r->status = 204;
    request_answer(r);
}

static void answer_profile(struct request *r)
{
    const struct resource *resource = r->endpoint->resource;
    bool writable = (resource->methods & ~(1u << HTTP_GET_)) != 0;
    rest_hal_alps(&r->text, &resource->rest, r->base, writable);
    r->status = 200;
    r->content_type = STR("application/alps+json");
    request_answer(r);
}

void request_about(struct request *r)
{
    size_t n;
    const struct rest_shape **shapes;
    if (r->endpoint->kind == ENDPOINT_SEARCH) {
        answer_search(r);
        return;
    }
    if (r->endpoint->kind == ENDPOINT_PROFILE) {
        answer_profile(r);
        return;
    }
    shapes = readable(r, &n);
    if (r->endpoint->kind == ENDPOINT_ROOT)
        rest_hal_root(&r->text, shapes, n, r->base);
    else
        rest_hal_profiles(&r->text, shapes, n, r->base);
    request_answer_hal(r, 200);
}
