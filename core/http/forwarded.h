/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/message.h"

/* Where a request began, when it came through proxies. Anybody can write X-Forwarded-*: they count
 * only from addresses that are trusted, and of a chain only what trusted ones have added. */
struct http_network {
    unsigned char address[16]; /* v4 as ::ffff:a.b.c.d */
    int bits;
};

struct http_trusted {
    struct http_network *networks;
    size_t count;
};

struct http_origin {
    struct str client; /* its address, without port */
    struct str host;   /* what it asked for */
    bool https;
};

/* Reads "10.0.0.0/8, 127.0.0.1, ::1" into the arena. False: ret_wrong is the part that is none;
 * *ret stays. */
bool http_trusted_read(struct arena *a, struct str list, struct http_trusted *ret,
                       struct str *ret_wrong);
bool http_trusted_has(const struct http_trusted *t, struct str address);
/* peer: who sent the request to us. What is missing or malformed is taken from the request itself.
 * Borrows from all of them. */
void http_origin_find(const struct http_trusted *t, const struct http_request *request,
                      struct str peer, struct http_origin *ret);
