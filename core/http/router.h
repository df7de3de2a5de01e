/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/err.h"
#include "http/message.h"

/* Finds what serves a path. Patterns are "/orders", "/orders/{id}", "/{a}/b"; a trailing slash of
 * the request is ignored; literal segments win over parameters; paths are case-sensitive and
 * matched after percent-decoding of each segment. Immutable after building, so that threads may
 * share it. */
struct http_router;

#define HTTP_ROUTE_PARAMS 8

struct http_match {
    void *target;                         /* what was added, or NULL */
    struct str params[HTTP_ROUTE_PARAMS]; /* decoded, in order of the pattern */
    size_t param_count;
    bool malformed;  /* an escape of the path is none, or spells no UTF-8: nothing can match it */
    bool path_known; /* the path is served, though not with this method */
    char allow[96];  /* then: the Allow header's value */
};

/* Empty. Returns owned; targets stay their owners'. */
struct http_router *http_router_new(void);
void http_router_free(struct http_router *r);
/* Adds; borrows target. ERR_CONFIG for a bad pattern or one that is there already (with this
 * method). GET also serves HEAD unless HEAD is added itself. */
int http_router_add(struct http_router *r, enum http_method method, struct str pattern,
                    void *target, struct err *err);
/* Where a path ends at this pattern, which was added, no other one is tried for a method that it
 * has not. */
void http_router_seal(struct http_router *r, struct str pattern);
/* Matches; parameters are decoded into a. OPTIONS matches nothing unless added: path_known and
 * allow tell the caller. */
void http_router_match(const struct http_router *r, struct arena *a, enum http_method method,
                       struct str path, struct http_match *ret);
