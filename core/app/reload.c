/* SPDX-License-Identifier: MIT */
/* One reload at a time, in steps: build on a thread of its own, indexes included; make every worker
 * ready; then the switch, which is one transaction of the store; then bus and workers follow. Until
 * the transaction nothing has changed, after it nothing can fail. */
#include "app/reload.h"

#include "app/app.h"
#include "app/changes.h"
#include "app/kept.h"
#include "app/reload_inside.h"

#include <assert.h>
#include <stdlib.h>

static void free_job(struct reload_job *job)
{
    generation_clear(&job->generation);
    buf_deinit(&job->files);
    buf_deinit(&job->changes);
    buf_deinit(&job->later);
    buf_deinit(&job->sources);
    arena_free(job->arena);
    free(job);
}

static void finish(struct reloader *r, int status, const struct err *err)
{
    struct reload_job *job = r->job;
    struct reload_result result = {
        .status = status,
        .generation = r->app->program->generation,
        .previous = job->previous,
        .took_ms = (clock_mono_ns(&r->app->clock) - job->started_ns) / NS_PER_MS,
        .files = buf_str(&job->files),
        .changes = buf_str(&job->changes),
    };
    if (err != NULL)
        result.err = *err;
    if (status != 200)
        store_switch_forget(r->app->store);
    r->job = NULL;
    if (job->request.done != NULL)
        job->request.done(job->request.ctx, &result);
    free_job(job);
    app_reload_ended(r->app);
    app_look_stopped(r->app);
}

/* ---- 4: the workers follow ---- */

static void emit_activated(const struct reloader *r)
{
    bool back = r->job->request.kind == RELOAD_ACTIVATE;
    struct value values[] = {value_int(r->app->program->generation), value_int(r->job->previous),
                             value_text(back ? STR("activate") : STR("reload"))};
    struct host_event e = {"GenerationActivated", values, 3, STR("")};
    app_emit(r->app, &e);
}

static void committed(void *ctx, const struct err *err)
{
    struct reloader *r = ctx;
    (void)err;
    if (--r->job->waiting > 0)
        return;
    tree_free(r->live);
    r->live = r->job->generation.tree;
    r->job->generation.tree = NULL;
    log_event(LOG_INFO, "generation is live", LOG_I("generation", r->app->program->generation),
              LOG_I("previous", r->job->previous));
    emit_activated(r);
    finish(r, 200, NULL);
}

static void step_workers(struct reloader *r, enum worker_step step,
                         void (*next)(void *ctx, const struct err *err))
{
    struct app *a = r->app;
    struct generation *g = &r->job->generation;
    r->job->waiting = a->worker_count;
    for (int i = 0; i < a->worker_count; i++) {
        struct worker_switch s = {
            .step = step, .program = g->program, .on_switched = next, .ctx = r};
        if (step == WORKER_PREPARE) {
            s.L = g->states[i];
            g->states[i] = NULL;
        }
        worker_switch(a->workers[i], &s);
    }
}

static void program_released(void *program)
{
    program_unref(program);
}

/* The bus, the admin side and the breakers learn the new declarations. */
static void switch_rest(struct reloader *r, const struct store_switched *switched)
{
    struct app *a = r->app;
    struct program *p = r->job->generation.program;
    struct err err;
    struct bus_switch sw = {.schema = &p->schema,
                            .policies = p->policies,
                            .policy_count = p->policy_count,
                            .switched = switched,
                            .program = p,
                            .release = program_released,
                            .release_ctx = program_ref(p)};
    if (bus_switch(a->bus, &sw, &err) != 0) { /* only while the process ends */
        program_unref(p);
        log_event(LOG_WARN, "the bus did not switch", LOG_C("error", err.message));
    }
    struct program *old = a->program;
    a->program = program_ref(p);
    app_declare_breakers(a);
    kept_save_soon(a->kept);
    app_switch_admin(a);
    program_unref(old);
}

/* ---- 3: the switch ---- */

static void aborted(void *ctx, const struct err *err)
{
    struct reloader *r = ctx;
    (void)err;
    if (--r->job->waiting == 0)
        finish(r, r->job->status, &r->job->err);
}

static void abort_job(struct reloader *r, int status, const struct err *err)
{
    r->job->status = status;
    r->job->err = *err;
    step_workers(r, WORKER_ABORT, aborted);
}

/* What waits for the next start, as one more of the changes. */
static void add_later(struct reload_job *job)
{
    struct buf *list = &job->changes;
    if (job->later.n == 0)
        return;
    if (job->request.kind != RELOAD_DRY_RUN)
        log_event(LOG_WARN, "settings of the system file wait for the next start",
                  LOG_S("settings", buf_str(&job->later)));
    buf_lit(&job->later, ": from the next start on");
    list->n--; /* the bracket */
    buf_adds(list, list->n > 1 ? STR(",") : STR(""));
    json_text(list, buf_str(&job->later));
    buf_addc(list, ']');
}

static void do_switch(struct reloader *r)
{
    struct reload_job *job = r->job;
    struct store_switched switched;
    struct err err;
    bool dry = job->request.kind == RELOAD_DRY_RUN;
    bool back = job->request.kind == RELOAD_ACTIVATE;
    if (!back && generation_check_held(&job->generation, r->app->session, r->live, &err) != 0) {
        abort_job(r, err.code == ERR_CONFIG ? 422 : 500, &err);
        return;
    }
    if (generation_store(&job->generation, r->app->store, back ? job->request.number : 0,
                         back ? "activate" : "reload", dry, job->arena, &switched, &err) != 0) {
        abort_job(r, err.code == ERR_CONFIG ? 422 : 500, &err);
        return;
    }
    changes_write(&job->changes, &switched, &r->app->program->schema,
                  &job->generation.program->schema);
    add_later(job);
    generation_write_files(r->live, job->generation.tree, &job->files);
    if (dry) {
        err = (struct err){0};
        abort_job(r, 200, &err);
        return;
    }
    switch_rest(r, &switched);
    step_workers(r, WORKER_COMMIT, committed);
}

static void prepared(void *ctx, const struct err *err)
{
    struct reloader *r = ctx;
    if (err != NULL) {
        r->job->prepare_failed = true;
        r->job->err = *err;
    }
    if (--r->job->waiting > 0)
        return;
    if (r->job->prepare_failed)
        abort_job(r, 500, &r->job->err);
    else
        do_switch(r);
}

/* ---- 1 and 2: building ---- */

static int read_tree(struct reload_job *job, const struct config *config, struct tree **ret)
{
    if (job->request.kind == RELOAD_ACTIVATE)
        return generation_read_sources(buf_str(&job->sources), config->system, ret, &job->err);
    return tree_read(arena_str(job->arena, config->scripts).p,
                     arena_str(job->arena, config->system).p, ret, &job->err);
}

/* listen, data and workers are taken at a start only. */
static void note_later(struct reload_job *job, const struct config *config, const struct tree *tree)
{
    for (size_t i = 0; i < tree->count; i++)
        if (tree->files[i].folder == TREE_SYSTEM)
            config_system_later(config, tree->files[i].source, job->arena, &job->later);
}

/* On the builder's thread. */
static void build(void *arg)
{
    struct reload_job *job = arg;
    struct app *a = job->reloader->app;
    struct tree *tree = NULL;
    job->build_failed = read_tree(job, a->config, &tree) != 0;
    if (!job->build_failed)
        note_later(job, a->config, tree);
    job->build_failed =
        job->build_failed || generation_build(&job->generation, a->config, a->code, tree,
                                              a->worker_count, &job->err) != 0;
    job->status = 422;
    if (!job->build_failed &&
        generation_prepare(&job->generation, a->store, job->request.kind == RELOAD_DRY_RUN,
                           &job->err) != 0) {
        job->build_failed = true;
        job->status = job->err.code == ERR_CONFIG ? 422 : 500;
    }
    mailbox_post(a->mailbox, &job->built);
}

static void built(struct mail *m)
{
    struct reload_job *job = list_entry(m, struct reload_job, built);
    struct reloader *r = job->reloader;
    thread_join(job->thread);
    job->thread = NULL;
    if (job->build_failed || r->app->stopping) {
        struct err err = job->err;
        if (!job->build_failed)
            err_set(&err, ERR_STOPPED, "the server is stopping");
        finish(r, job->build_failed ? job->status : 503, &err);
        return;
    }
    step_workers(r, WORKER_PREPARE, prepared);
}

/* Copies the sources of the generation to go back to: 0, or the status to answer with. */
static int find_sources(struct reloader *r, struct reload_job *job)
{
    struct store_generation g;
    int found =
        store_log_generation(r->app->session, job->arena, job->request.number, &g, &job->err);
    if (found < 0)
        return 500;
    if (found == 0) {
        err_set(&job->err, ERR_NOT_FOUND, "there is no generation %lld with its sources",
                (long long)job->request.number);
        return 404;
    }
    buf_adds(&job->sources, g.sources);
    return 0;
}

bool reload_start(struct reloader *r, const struct reload_request *request)
{
    struct err err;
    if (r->job != NULL || r->app->stopping)
        return false;
    struct reload_job *job = xcalloc(1, sizeof(*job));
    r->job = job;
    job->reloader = r;
    job->request = *request;
    job->arena = arena_new(0);
    job->started_ns = clock_mono_ns(&r->app->clock);
    job->previous = r->app->program->generation;
    job->built.run = built;
    int status = request->kind == RELOAD_ACTIVATE ? find_sources(r, job) : 0;
    if (status != 0) {
        err = job->err;
        finish(r, status, &err);
        return true;
    }
    job->thread = thread_start("builder", build, job, &err);
    if (job->thread == NULL)
        finish(r, 500, &err);
    return true;
}

int64_t reload_generation(const struct reloader *r)
{
    return r->app->program->generation;
}

struct reloader *reload_new(struct app *a, struct tree *live)
{
    struct reloader *r = xcalloc(1, sizeof(*r));
    r->app = a;
    r->live = live;
    return r;
}

bool reload_is_busy(const struct reloader *r)
{
    return r != NULL && r->job != NULL;
}

void reload_free(struct reloader *r)
{
    if (r == NULL)
        return;
    assert(r->job == NULL);
    tree_free(r->live);
    free(r);
}
