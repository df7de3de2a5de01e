/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/generation.h"
#include "app/reload.h"
#include "loop/thread.h"

/* What reload.c and app.c know of a reload; nobody else includes it. */
struct app;

struct reload_job {
    struct reloader *reloader;
    struct reload_request request;
    struct thread *thread; /* the builder */
    struct mail built;
    struct arena *arena;
    struct buf sources; /* ACTIVATE: of the generation to go back to */
    struct generation generation;
    struct buf files, changes; /* JSON */
    struct buf later;          /* settings of the system file that wait for the next start */
    int64_t started_ns, previous;
    int waiting; /* workers that have not answered the step */
    int status;  /* of an abort, or of building */
    bool build_failed, prepare_failed;
    struct err err;
};

struct reloader {
    struct app *app;
    struct tree *live;
    struct reload_job *job; /* NULL: none runs */
};

/* Takes the tree that is live. Returns owned. */
struct reloader *reload_new(struct app *a, struct tree *live);
bool reload_is_busy(const struct reloader *r);
/* None may be under way. */
void reload_free(struct reloader *r);
