/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/answer.h"
#include "http/forwarded.h"
#include "script/host.h"

#define REQUEST_REPEAT_MS (INT64_C(24) * 3600 * 1000) /* an Idempotency-Key is kept */

/* One HTTP request on its way: from the route to the answer. Lives in the exchange's arena. */
struct request {
    struct host *host;
    struct http_exchange *x;
    const struct http_request *http;
    struct arena *arena;
    const struct endpoint *endpoint;
    struct http_match match;
    struct str correlation_id;
    const struct http_router *router; /* where the endpoint was looked for */
    struct proxy *proxy;              /* while another host is asked (proxy.h) */
    struct passage *passage;          /* through the gateway, or NULL (passage.h) */
    struct task *task;                /* while one runs */
    struct http_origin origin;        /* where it began */
    struct str base;                  /* what links begin with: "http://localhost:8088" */
    const struct json *body;          /* CREATE, REPLACE, MERGE: the parsed body */

    struct loop_timer timer; /* an injected delay, or the wait for room */
    struct bus_waiter waiter;
    bool waiting, fault;
    int64_t began_ns;
    struct list node; /* host->requests while it waits, is delayed, or another host is asked */

    struct request_repeat *repeat; /* it has an Idempotency-Key; else NULL */
    int64_t row_id;                /* CREATE: the new row's, the same in every run; 0: none yet */
    char root[33];                 /* made when first asked for (request_root) */

    int status; /* the answer, as the task left it */
    struct str content_type;
    struct buf text;
    struct http_header first_headers[16], *headers; /* the arena's when there are more */
    size_t header_count, header_room;
};

/* Answers with a problem body and ends the request. */
void request_fail(struct request *r, const struct task_error *e);
void request_fail_code(struct request *r, enum err_code code, const char *message);
/* The same with a wait that the client is told (`Retry-After`). */
void request_fail_retry(struct request *r, enum err_code code, const char *message,
                        int64_t retry_ms);
/* The gateway's patience is over: stops what is done for the request, which is answered 504, now or
 * with the verdict on its unit. */
void request_time_out(struct request *r);
/* Finds the endpoint of r->http in a router and goes there, or refuses. */
void request_route(struct request *r, const struct http_router *router);
/* 404, or 405 with what r->match allows. */
void request_refuse(struct request *r);
/* Answers with what is in the request's answer fields and ends it. */
void request_answer(struct request *r);
/* It is over, answered with the status: counted, and the host may go. */
void request_over(struct request *r, int status);
/* Adds a header to the answer; both borrowed until then. */
void request_add_header(struct request *r, struct str name, struct str value);
/* Makes `text`, which is compact, an answer in HAL: in the layout that the system asks for, of the
 * type that the client does. */
void request_lay_out(struct request *r);
/* The same, and answers and ends the request. */
void request_answer_hal(struct request *r, int status);
/* Adds `ETag: "version"`. */
void request_add_etag(struct request *r, int64_t version);
/* GET and HEAD of resources need no script (request_read.c: rows; request_about.c: what there is).
 */
void request_read_item(struct request *r);
void request_read_list(struct request *r);
void request_about(struct request *r);
/* One of the three above, by the endpoint. */
void request_read(struct request *r);
/* What those are told that the end of the drain cancels. */
const char *request_why_cancelled(const struct host *h);
/* Fails the requests that wait for room or for another host, or sit out a delay: the drain is over.
 */
void request_cancel_waiting(struct host *h);
/* Starts the task of a change, a route, or of the guard of a read (request_task.c). */
void request_start_task(struct request *r);
/* Starts the task of the gateway's guard: then passage_admitted, or the refusal is answered. */
void request_start_guard(struct request *r);
/* What keys of calls that leave the process begin with: the client's Idempotency-Key, else made up;
 * the same for all runs of the request's task. */
struct str request_root(struct request *r);
/* Repeats of a write under its Idempotency-Key (request_repeat.c). False if the request was
 * answered: by the first answer, 409 or 422. */
bool request_repeat_enter(struct request *r);
/* It is being answered: others may run under its key. */
void request_repeat_leave(struct request *r);
/* Keep the answer with the effects, of a task_class. */
bool request_repeat_seals(const struct task *t);
void request_repeat_seal(struct task *t, struct store_unit *u);
/* Parses the body of a change into `body`; ERR_MEDIA_TYPE or ERR_INVALID. */
int request_parse_body(struct request *r, struct err *err);
/* The request that a task serves, or NULL. */
struct request *request_of_task(const struct task *t);
