/* SPDX-License-Identifier: MIT */
/* Opens a process from its settings, floor by floor, and closes it in the opposite order. */
#include "app/app.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int overlay(void *ctx, struct arena *a, struct str prefix, struct json *table,
                   struct err *err)
{
    struct app *app = ctx;
    return config_overlay((struct config *)app->config, a, prefix, table, err);
}

static const char *c_text(struct app *a, struct str s)
{
    return arena_str(a->config->arena, s).p;
}

/* ---- scripts ---- */

int app_check_settings(const struct config *config, const struct program *p, struct err *err)
{
    struct str known[128];
    size_t n = 0;
    for (int i = 0; i < p->breaker_count && n < 122; i++) {
        static const char *const members[] = {"timeout_ms",    "limit",    "volume",
                                              "error_percent", "sleep_ms", "window_ms"};
        for (size_t k = 0; k < 6 && n < 128; k++) {
            struct buf path = BUF_INIT;
            buf_addf(&path, "breakers.%.*s.%s", STR_ARG(p->breakers[i].name), members[k]);
            known[n++] = arena_str(config->arena, buf_str(&path));
            buf_deinit(&path);
        }
    }
    return config_check_used(config, known, n, err);
}

static int load_tree(struct app *a, const struct tree *tree, struct err *err)
{
    struct load_conf conf = {tree, overlay, a};
    a->worker_count = a->config->workers;
    a->states = xcalloc((size_t)a->worker_count, sizeof(*a->states));
    for (int i = 0; i < a->worker_count; i++)
        if ((a->states[i] = load_state(&conf, err)) == NULL)
            return -1;
    a->program = load_program(a->states[0], &conf, err);
    if (a->program == NULL)
        return -1;
    return app_check_settings(a->config, a->program, err);
}

static int load_scripts(struct app *a, struct err *err)
{
    struct tree *tree = NULL;
    if (tree_read(c_text(a, a->config->scripts), c_text(a, a->config->system), &tree, err) != 0)
        return -1;
    int failed = load_tree(a, tree, err);
    tree_free(tree);
    return failed;
}

/* ---- floors ---- */

static int open_store(struct app *a, struct err *err)
{
    struct store_conf conf = {.folder = c_text(a, a->config->data), .clock = &a->clock};
    a->store = store_open(&conf, err);
    if (a->store == NULL)
        return -1;
    return store_migrate(a->store, &a->program->schema, err);
}

static int open_bus(struct app *a, struct err *err)
{
    struct bus_conf conf = {
        .store = a->store,
        .schema = &a->program->schema,
        .main_loop = a->loop,
        .main_mailbox = a->mailbox,
        .policies = a->program->policies,
        .policy_count = a->program->policy_count,
        .worker_count = a->worker_count,
        BUS_DEFAULTS,
    };
    if (a->config->max_outstanding > 0)
        conf.max_outstanding = (int)a->config->max_outstanding;
    a->bus = bus_new(&conf, err);
    if (a->bus == NULL)
        return -1;
    return store_start(a->store, bus_hooks(a->bus), err);
}

static void open_guards(struct app *a)
{
    a->breakers = registry_new();
    a->faults = faults_new();
    a->lanes = lane_table_new();
    for (int i = 0; i < a->program->breaker_count; i++)
        registry_declare(a->breakers, a->program->breakers[i].name, &a->program->breakers[i].conf,
                         clock_mono_ns(&a->clock));
}

static int open_sockets(struct app *a, struct err *err)
{
    a->listen_fd = http_listen(a->config->listen, &a->listen_address, err);
    if (a->listen_fd < 0)
        return -1;
    a->admin_fd = http_listen(a->config->admin, &a->admin_address, err);
    return a->admin_fd < 0 ? -1 : 0;
}

static void worker_drained(void *ctx)
{
    struct app *a = ctx;
    if (++a->drained == a->worker_count)
        loop_stop(a->loop);
}

static int open_workers(struct app *a, struct err *err)
{
    struct http_limits limits = HTTP_LIMITS_DEFAULT;
    limits.connections = limits.connections / a->worker_count + 1;
    a->workers = xcalloc((size_t)a->worker_count, sizeof(*a->workers));
    a->share = http_share_new(a->worker_count);
    for (int i = 0; i < a->worker_count; i++) {
        struct worker_conf conf = {
            .number = i,
            .clock = &a->clock,
            .store = a->store,
            .bus = a->bus,
            .breakers = a->breakers,
            .faults = a->faults,
            .lanes = a->lanes,
            .program = a->program,
            .listen_fd = a->listen_fd,
            .share = a->share,
            .limits = limits,
            .main_mailbox = a->mailbox,
            .on_drained = worker_drained,
            .ctx = a,
        };
        lua_State *L = a->states[i];
        a->states[i] = NULL;
        if ((a->workers[i] = worker_new(&conf, L, err)) == NULL)
            return -1;
    }
    return 0;
}

static bool is_ready(void *ctx)
{
    const struct app *a = ctx;
    return a->ready && !a->stopping;
}

static int open_admin(struct app *a, struct err *err)
{
    if (admin_token(a->config->token_file, a->config->data, &a->token, err) != 0)
        return -1;
    a->service_names = xcalloc((size_t)a->program->service_count + 1, sizeof(*a->service_names));
    for (int i = 0; i < a->program->service_count; i++)
        a->service_names[i] = a->program->services[i].name;
    struct admin_conf conf = {
        .loop = a->loop,
        .listen_fd = a->admin_fd,
        .token = buf_str(&a->token),
        .store = a->store,
        .session = a->session,
        .schema = &a->program->schema,
        .bus = a->bus,
        .breakers = a->breakers,
        .faults = a->faults,
        .services = a->service_names,
        .service_count = (size_t)a->program->service_count,
        .policies = a->program->policies,
        .policy_count = a->program->policy_count,
        .metrics = app_write_metrics,
        .ready = is_ready,
        .ctx = a,
    };
    a->admin = admin_new(&conf, err);
    return a->admin != NULL ? 0 : -1;
}

static int start_workers(struct app *a, struct err *err)
{
    if (bus_start(a->bus, err) != 0)
        return -1;
    for (int i = 0; i < a->worker_count; i++)
        if (worker_start(a->workers[i], err) != 0)
            return -1;
    return 0;
}

int app_open(struct app *a, const struct config *config, struct err *err)
{
    memset(a, 0, sizeof(*a));
    a->config = config;
    a->listen_fd = a->admin_fd = -1;
    clock_real_init(&a->clock);
    if (load_scripts(a, err) != 0)
        return -1;
    if ((a->loop = loop_new(&a->clock, err)) == NULL ||
        (a->mailbox = mailbox_new(a->loop, err)) == NULL)
        return -1;
    open_guards(a);
    if (open_store(a, err) != 0 || open_sockets(a, err) != 0 || open_bus(a, err) != 0)
        return -1;
    if ((a->session = store_session_new(a->store, a->loop, err)) == NULL)
        return -1;
    if (open_workers(a, err) != 0 || open_admin(a, err) != 0)
        return -1;
    return start_workers(a, err);
}

/* ---- closing ---- */

static void close_workers(struct app *a)
{
    for (int i = 0; a->workers != NULL && i < a->worker_count; i++)
        if (a->workers[i] != NULL)
            worker_stop(a->workers[i]);
}

static void free_workers(struct app *a)
{
    for (int i = 0; a->workers != NULL && i < a->worker_count; i++)
        worker_free(a->workers[i]);
    free(a->workers);
    for (int i = 0; a->states != NULL && i < a->worker_count; i++)
        if (a->states[i] != NULL)
            load_close(a->states[i]);
    free(a->states);
}

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

void app_close(struct app *a)
{
    if (a->bus != NULL)
        bus_stop(a->bus);
    close_workers(a);
    admin_free(a->admin);
    store_session_free(a->session);
    store_close(a->store);
    while (a->loop != NULL && loop_turn(a->loop))
        continue;
    free_workers(a);
    http_share_free(a->share);
    bus_free(a->bus);
    lane_table_free(a->lanes);
    faults_free(a->faults);
    registry_free(a->breakers);
    signals_free(a->signals);
    mailbox_free(a->mailbox);
    loop_free(a->loop);
    program_unref(a->program);
    close_fd(a->listen_fd);
    close_fd(a->admin_fd);
    free(a->service_names);
    buf_deinit(&a->token);
    buf_deinit(&a->listen_address);
    buf_deinit(&a->admin_address);
}
