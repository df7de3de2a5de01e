/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/buf.h"
#include "base/err.h"

/* Changing the scripts of a running process: a new generation is built on a helper thread, checked,
 * made durable, and switched on all workers; or nothing changes. On the main loop's thread. */
struct reloader;

enum reload_kind {
    RELOAD_TREE,    /* read the scripts folder */
    RELOAD_DRY_RUN, /* the same, but only say what would change */
    RELOAD_ACTIVATE /* go back to the sources of an older generation */
};

struct reload_result {
    int status; /* 200; 404 no such generation; 422 the tree is wrong; 500 anything else */
    int64_t generation, previous; /* of 200 */
    int64_t took_ms;
    struct str files; /* of 200: a JSON list of {"path","status"}: added, changed, removed, same */
    struct str changes; /* of 200: a JSON list of texts: what became (would become) of the tables */
    struct err err;     /* else: "scripts/routes/x/y.lua:12: ..." */
};

struct reload_request {
    enum reload_kind kind;
    int64_t number; /* ACTIVATE */
    /* Once, on the main loop's thread, when every worker runs the new generation or nothing has
     * changed. The result is valid during the call. */
    void (*done)(void *ctx, const struct reload_result *r);
    void *ctx;
};

/* False while another one runs, or when the process is stopping. */
bool reload_start(struct reloader *r, const struct reload_request *request);
/* The number of the generation that is live. */
int64_t reload_generation(const struct reloader *r);
