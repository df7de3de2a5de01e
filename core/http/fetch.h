/* SPDX-License-Identifier: MIT */
#pragma once

#include "http/client.h"

/* A call whose answer is collected: for whoever wants it whole. Embed it and zero it first. */
struct http_fetch {
    struct http_call *call;
    struct arena *arena; /* owned, of the head */
    int status;
    struct http_header *headers;
    size_t header_count;
    struct buf body;
    void (*done)(struct http_fetch *f, const struct err *err); /* err NULL: the answer is there */
};

/* As http_call_start; conf's class and owner are the fetch's own. done runs once, later. */
int http_fetch_start(struct http_client *c, struct http_fetch *f, const struct http_call_conf *conf,
                     struct err *err);
/* done will not run; harmless when it has. */
void http_fetch_cancel(struct http_fetch *f);
/* Cancels and frees the answer; the struct may be used again. */
void http_fetch_deinit(struct http_fetch *f);
/* First header of that name, or an empty str. */
struct str http_fetch_header(const struct http_fetch *f, struct str name);
