/* SPDX-License-Identifier: MIT */
#pragma once

#include "script/host.h"

/* Runs a spec file: the words describe, it, assert and those that look at and move a small running
 * system. The file has a Lua state of its own, which shares nothing with the scripts. What a system
 * consists of and where it lives is the stage's business (core/app/spec_world.c); everything
 * happens on one thread, in turns of one loop under a fake clock. */

/* A running system as the words see it. */
struct spec_world {
    struct clock *clock;
    struct loop *loop;
    struct store *store;
    struct store_session *session;
    struct bus *bus;
    struct registry *breakers;
    struct faults *faults;
    struct cache *cache;
    struct http_ratelimit *ratelimit; /* of the gateway */
    struct host *host;
    const struct program *program;
};

struct spec_stage {
    void *ctx;
    /* A case begins: an empty folder, the clock at its start. Returns the folder, borrowed until
     * end; NULL: err. */
    const char *(*begin)(void *ctx, struct err *err);
    /* Opens the system of a script tree (NULL: the file's own) on the case's data. Borrowed until
     * close. */
    const struct spec_world *(*open)(void *ctx, const char *scripts, const char *system,
                                     struct err *err);
    /* Closes it; no task may be left. The data stay. */
    void (*close)(void *ctx);
    /* The case is over: the folder goes. */
    void (*end)(void *ctx);
    /* One result. failure: NULL if it passed, else what was wrong, in lines. */
    void (*report)(void *ctx, const char *name, const char *failure);
};

struct spec_conf {
    const char *path;   /* of the file; names it in messages */
    const char *filter; /* only cases whose name has this part; NULL: all */
    const char *suffix; /* of the names: " (slow reads)" */
    const struct spec_stage *stage;
};

/* Runs all cases of the file, one after the other. -1: the file itself cannot be read or does not
 * load. */
int spec_run(const struct spec_conf *conf, struct err *err);
