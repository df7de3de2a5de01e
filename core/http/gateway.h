/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/err.h"
#include "http/message.h"

/* The table of a gateway's routes: which of them takes a request, and which path it has behind it.
 * Routes are tried in the order in which they were added; all that one asks for must hold.
 * Immutable after building, so that threads may share it.
 *
 * Path patterns are cut at their slashes. A segment {id} or * matches one segment, ** any number of
 * them, also none: a path with ** at its end serves what stands before it, too. The others are
 * compared as sent, case and escapes included; a trailing slash is ignored. Host patterns are cut
 * at their dots, in the same way, without case; a port is ignored. Values are tested by POSIX
 * extended regular expressions, which must match the whole value. */
struct http_gateway;

#define HTTP_GATEWAY_PARAMS 8

enum http_gateway_part { HTTP_GATEWAY_HEADER, HTTP_GATEWAY_QUERY };

/* The request must have a header or query parameter of that name; with a value, if one is given. */
struct http_gateway_test {
    enum http_gateway_part part;
    struct str name;
    struct str value; /* regular expression; empty: any value will do */
};

struct http_gateway_conf {
    const struct str *paths; /* at least one; the first that matches counts */
    size_t path_count;
    unsigned methods;        /* 1 << enum http_method, or'ed; 0: all */
    const struct str *hosts; /* none: all */
    size_t host_count;
    const struct http_gateway_test *tests;
    size_t test_count;
    /* What becomes of the path, in this order: */
    int strip_prefix;       /* so many segments are taken off at the left */
    struct str rewrite, to; /* every match of the regular expression is replaced; $1 to $9 are its
                               groups, $0 the match, $$ a dollar. Empty: nothing */
    struct str set_path;    /* replaces it all; {name} is the segment that the pattern named so */
    struct str prefix_path; /* put before it */
    void *target;           /* the caller's, borrowed */
};

struct http_gateway_match {
    void *target;     /* NULL: no route takes the request */
    struct str path;  /* as the route's target is to see it: raw, in the arena or the request's */
    unsigned allowed; /* without a target: methods of the routes that would have taken it */
};

/* Without routes. Returns owned. */
struct http_gateway *http_gateway_new(void);
void http_gateway_free(struct http_gateway *g);
/* Adds a route; copies all of conf but the target. ERR_CONFIG names the option and what is wrong
 * with it. */
int http_gateway_add(struct http_gateway *g, const struct http_gateway_conf *conf, struct err *err);
/* Finds the route of a request. A rewritten path that would not begin with '/' gets one. */
void http_gateway_match(const struct http_gateway *g, const struct http_request *request,
                        struct arena *a, struct http_gateway_match *ret);
