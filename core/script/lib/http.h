/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/program.h"
#include "script/strand.h"

/* Where a call goes that leaves the process. */
struct lib_http_way {
    const struct service *service; /* NULL: a host of http.allow */
    struct str host;
    int port;
    struct str target; /* borrowed from the URL */
};

/* Raises unless the value is absent or a table of the options that calls have. [-0, +0, e] */
void lib_http_check_options(lua_State *L, int index);
/* The option `headers` with names in lower case. [-0, +1, e] */
void lib_http_push_headers(lua_State *L, int options);
/* Does the call with the URL at index 2 leave the process? Raises for a service that is neither
 * here nor has a url. [-0, +0, e] */
bool lib_http_leaves(lua_State *L, const struct program *p, struct lib_http_way *ret);
/* Counts a call of the running task; raises beyond their number or depth, in which the processes
 * that a request came through count. [-0, +0, e] */
void lib_http_count(lua_State *L, struct strand *s);
/* Raises what a callee's status is in its caller. [-0, +0, e] */
int lib_http_failed(lua_State *L, int status, struct str why);
/* The call itself; method, url, body and options at index 1 to 4. [-0, +1, e] */
int lib_http_call(lua_State *L, struct strand *s, const struct lib_http_way *way);
