/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* An error answer: application/problem+json (RFC 9457) with the members that clients of Spring Boot
 * look for beside.
 * {"type":"about:blank","title":"Not
 * Found","status":404,"detail":"...","code":"not_found","correlationId":"...",
 *  "timestamp":"2026-01-01T00:00:00.000+0000","error":"Not Found","message":"...","path":"/x"} */
struct http_problem {
    int status;
    struct str code;    /* stable name: err_name() or "failed" */
    struct str message; /* for people; detail and message */
    struct str path;
    struct str correlation_id;
    struct str
        extra; /* further members as JSON text without braces ("\"errors\":[...]"), or empty */
    int64_t wall_ms;
};

/* Appends the JSON body. */
void http_problem_write(struct buf *out, const struct http_problem *p);
/* The media type for a client that sent this Accept header: problem+json, or json if only that is
 * accepted. */
struct str http_problem_type(struct str accept);
