/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* The blocking client of the command line: finds the admin side of a running server and talks to
 * it. */
struct client_conf {
    struct str admin, data,
        token_file; /* flags; empty: not given, then MOONTIDE_ADMIN, _DATA, _ADMIN_TOKEN_FILE */
};

struct client {
    char host[256], port[8];
    struct buf address; /* "127.0.0.1:8090" */
    struct buf token;
    struct buf folder; /* whose run.json has the address; empty: it was named */
    int64_t pid;       /* of that file, or 0 */
};

#define CLIENT_INIT                                                                                \
    {                                                                                              \
        .address = BUF_INIT, .token = BUF_INIT, .folder = BUF_INIT                                 \
    }

struct client_request {
    const char *method;
    struct str target; /* "/admin/events?from=1" */
    struct str body;
    /* If set, the body of a 2xx answer comes here piece by piece; false ends the call. */
    bool (*on_data)(void *ctx, struct str data);
    void *ctx;
};

/* Finds address and token: --admin, else DATA/run.json, else the only run.json one level below
 * ./data. ERR_IO: no server is known; ERR_CONFIG: an address or token is wrong or missing. */
int client_open(struct client *c, const struct client_conf *conf, struct err *err);
void client_close(struct client *c);
/* One request over one connection; the body is appended to ret_body. ERR_IO names the address when
 * the server cannot be reached or breaks off. Any status is an answer. */
int client_call(struct client *c, const struct client_request *r, int *ret_status,
                struct buf *ret_body, struct err *err);
/* Splits "host:port", "[v6]:port" or "http://host:port" into c. False on anything else. */
bool client_set_address(struct client *c, struct str address);
