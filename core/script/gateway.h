/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/cors.h"
#include "http/gateway.h"
#include "http/ratelimit.h"
#include "script/program.h"

/* The gateway of a system, as its file describes it: which requests go where, and what is put
 * around them. Part of a program: built once a generation, immutable, shared by all workers. */

struct gateway_headers {
    struct http_header *set; /* replace those of their names */
    size_t set_count;
    struct str *remove;
    size_t remove_count;
};

/* What is answered instead of a failure: a fixed answer, or what the gateway answers to GET path.
 */
struct gateway_fallback {
    int status; /* 0: path */
    struct str type, body, path;
};

struct gateway_retry {
    int retries;      /* 0: none */
    unsigned methods; /* 1 << enum http_method */
    int *statuses;
    int status_count;
    int64_t first_ms, max_ms; /* pauses, growing by the factor */
    int factor;
};

enum gateway_key { GATEWAY_KEY_IP, GATEWAY_KEY_HOST, GATEWAY_KEY_HEADER };

struct gateway_limit {
    struct http_ratelimit_conf conf; /* rate 0: none */
    enum gateway_key key;
    struct str header; /* of KEY_HEADER */
    bool deny_empty_key;
};

struct gateway_route {
    int number;                        /* from 1, as in the file, and in every state */
    struct str what;                   /* "gateway.routes[2]" */
    struct service *service;           /* or NULL: */
    struct str url;                    /* "http://host:port" */
    struct str breaker;                /* or empty */
    struct gateway_fallback *fallback; /* or NULL */
    struct gateway_retry retry;
    struct gateway_limit limit;
    struct gateway_headers request, response;
    int64_t timeout_ms; /* of the answer; 0: the host's own */
    bool guarded;       /* its guard is asked first */
};

struct gateway {
    struct http_gateway *table; /* NULL: every service is reachable at its own paths */
    struct http_cors *cors;     /* or NULL */
    struct gateway_route *routes;
    int route_count;
    struct service guards; /* what they run as: without a table, a path or an event of its own */
};

/* Reads the `gateway` of the normalised program at index top. NULL if it has none; else in the
 * program's arena, its table to be freed by gateway_free. Raises with the system file's line on
 * what cannot be. [-0, +0, e] */
struct gateway *gateway_read(lua_State *L, int top, struct program *p);
void gateway_free(struct gateway *g);
