/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/mem.h"
#include "base/str.h"

/* What an HTTP request is once it has been read whole. All strings are borrowed from the request's
 * arena. */
enum http_method {
    HTTP_GET_ = 0, /* trailing underscore: llhttp owns the plain names */
    HTTP_HEAD_,
    HTTP_POST_,
    HTTP_PUT_,
    HTTP_PATCH_,
    HTTP_DELETE_,
    HTTP_OPTIONS_,
    HTTP_OTHER_
};

struct http_header {
    struct str name; /* as sent */
    struct str value;
};

struct http_request {
    enum http_method method;
    struct str method_name;
    struct str target; /* origin form as sent: "/orders/1?x=y" */
    struct str path;   /* raw, still percent-encoded: "/orders/1" */
    struct str query;  /* without '?', may be empty */
    struct http_header *headers;
    size_t header_count;
    struct str body;
    struct str host; /* of the Host header, checked to be an authority */
    int minor;       /* 1 for HTTP/1.1 */
};

/* First header of that name (case-insensitive), or an empty str with p == NULL. */
struct str http_header_find(const struct http_request *r, struct str name);
const char *http_method_text(enum http_method m);
enum http_method http_method_from(struct str name);
/* "Not Found" for 404; "" for unknown ones. */
const char *http_reason(int status);
/* True for a field value without CR, LF, NUL or other control bytes than tab. */
bool http_value_is_valid(struct str value);
/* True for a token (RFC 9110): a legal header name or method. */
bool http_token_is_valid(struct str name);
