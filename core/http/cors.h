/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/message.h"

/* Cross-origin requests (Fetch standard, "HTTP-CORS protocol"): who may read answers from a script
 * of another origin. Immutable, so that threads may share it. */
struct http_cors {
    const struct str *origins; /* "https://shop.example", or "*" for all */
    size_t origin_count;
    const struct str *methods; /* "GET", or "*" for all */
    size_t method_count;
    const struct str *headers; /* "X-Version", without case, or "*" for all */
    size_t header_count;
    const struct str *exposed; /* headers of answers that scripts may read; none unless named */
    size_t exposed_count;
    bool credentials; /* cookies and authorization may be sent along */
    int max_age_s;    /* how long a browser may keep what a preflight said; 0: not said */
};

enum http_cors_verdict {
    HTTP_CORS_NONE,      /* no cross-origin request: nothing is added */
    HTTP_CORS_ALLOWED,   /* the headers go with the answer */
    HTTP_CORS_PREFLIGHT, /* the browser only asks: answer 200 with the headers, run nothing */
    HTTP_CORS_REFUSED    /* answer 403; the headers (Vary) go with it */
};

#define HTTP_CORS_HEADERS 6

/* Judges a request and fills headers, at most HTTP_CORS_HEADERS, which borrow from c, a and the
 * request. The origin is echoed, never "*", because credentials would forbid the latter. */
enum http_cors_verdict http_cors_judge(const struct http_cors *c, const struct http_request *r,
                                       struct arena *a, struct http_header *headers,
                                       size_t *ret_count);
