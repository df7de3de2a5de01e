/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/gateway.h"
#include "script/request.h"

/* A request's passage through the gateway: its route, and what was put around it. Lives in the
 * exchange's arena; requests of systems without a gateway have none. */
struct passage {
    struct request *request;
    const struct http_request *sent;   /* as the client sent it */
    const struct http_request *behind; /* as the route's target gets it */
    const struct gateway_route *route; /* NULL: the gateway only knows of origins */
    struct registry_entry *breaker;
    struct breaker_permit permit;
    bool permitted, falling_back, timed_out;
    bool refused; /* by the gateway itself or the guard: not to be tried again or replaced */
    bool gone;    /* the client is: nobody wants an answer */
    int retries;
    struct loop_timer deadline;                      /* of the breaker, or the route */
    struct http_header extra[HTTP_CORS_HEADERS + 4]; /* of every answer */
    size_t extra_count;
};

/* Would another host get the request? Then its body need not be read before. */
bool passage_streams(const struct host *h, const struct http_request *http, struct arena *a);
/* Takes the request in: it is answered, goes to a service (request_route), or to another host
 * (proxy.c). */
void passage_begin(struct request *r);
/* The route's guard lets the request pass. */
void passage_admitted(struct request *r);
/* The answer in r is about to go out. True: it does not, because the request is tried again or
 * falls back. Else the headers are as the route wants them; called once more for every later
 * answer. */
bool passage_leave(struct request *r);
/* Would an answer of that status be tried again or replaced? Then it must not begin. */
bool passage_may_replace(const struct request *r, int status);
/* The address that the route leads to, "http://host:port". */
struct str passage_url(const struct request *r);
/* Does the route itself put that header on the request? */
bool passage_sets(const struct request *r, struct str name);
/* When another host must have begun to answer. */
int64_t passage_deadline_ns(const struct request *r);
/* While the client still sends, the time of the route or its breaker does not run; then it begins.
 */
void passage_hold_deadline(struct request *r);
void passage_begin_deadline(struct request *r);
/* The client has gone before any answer: ends the request, whose work was stopped. */
void passage_give_up(struct request *r);
/* As passage_leave for an answer that is streamed and cannot be taken back. */
void passage_leave_stream(struct request *r, int status);
