/* SPDX-License-Identifier: MIT */
/* Opens a process from its settings, floor by floor, and closes it in the opposite order. */
#include "app/app.h"

#include "app/kept.h"
#include "app/reload_inside.h"
#include "base/file.h"
#include "script/code.h"

#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char *c_text(struct app *a, struct str s)
{
    return arena_str(a->config->arena, s).p;
}

/* ---- scripts ---- */

/* ---- the first generation ---- */

/* What runs: the tree, unless an older generation was activated by hand; the last good one if the
 * tree is broken. */
struct start {
    struct arena *arena;
    struct store_generation last; /* the active one of the data folder */
    bool has_last;
    struct generation generation;
    struct store_switched switched;
};

static int check_held(struct app *a, struct start *s, struct err *err)
{
    struct tree *last = NULL;
    struct err ignored;
    (void)generation_read_sources(s->last.sources, a->config->system, &last, &ignored);
    int failed = generation_check_held(&s->generation, a->session, last, err);
    tree_free(last);
    return failed;
}

static int start_tree(struct app *a, struct start *s, struct err *err)
{
    struct tree *tree = NULL;
    struct buf sources = BUF_INIT;
    if (tree_read(c_text(a, a->config->scripts), c_text(a, a->config->system), &tree, err) != 0 ||
        generation_build(&s->generation, a->config, a->code, tree, a->worker_count, err) != 0)
        return -1;
    generation_write_sources(tree, &sources);
    bool same = s->has_last && str_eq(s->last.sources, buf_str(&sources));
    buf_deinit(&sources);
    if (s->has_last && !same && check_held(a, s, err) != 0)
        return -1;
    return generation_store(&s->generation, a->store, same ? s->last.number : 0, "start", false,
                            s->arena, &s->switched, err);
}

static int start_last(struct app *a, struct start *s, struct err *err)
{
    struct tree *tree = NULL;
    if (generation_read_sources(s->last.sources, a->config->system, &tree, err) != 0 ||
        generation_build(&s->generation, a->config, a->code, tree, a->worker_count, err) != 0)
        return -1;
    return generation_store(&s->generation, a->store, s->last.number,
                            arena_str(s->arena, s->last.origin).p, false, s->arena, &s->switched,
                            err);
}

static void fall_back(struct start *s, const char *message, const struct err *err)
{
    log_event(LOG_ERROR, message, LOG_C("error", err->message),
              LOG_I("generation", s->last.number));
    generation_clear(&s->generation);
}

/* The newest generation that still loads, but for the active one, which was tried. */
static int start_older(struct app *a, struct start *s)
{
    struct store_generation *list;
    struct err ignored;
    size_t count;
    int64_t tried = s->last.number;
    if (store_log_generations(a->session, s->arena, &list, &count, &ignored) != 0)
        return -1;
    for (size_t i = 0; i < count; i++) {
        if (list[i].number == tried ||
            store_log_generation(a->session, s->arena, list[i].number, &s->last, &ignored) <= 0)
            continue;
        if (start_last(a, s, &ignored) == 0)
            return 0;
        generation_clear(&s->generation);
    }
    return -1;
}

static int start_generation(struct app *a, struct start *s, struct err *err)
{
    struct err also;
    int found = store_log_generation(a->session, s->arena, 0, &s->last, err);
    if (found < 0)
        return -1;
    s->has_last = found > 0;
    bool by_hand = s->has_last && str_eq(s->last.origin, STR("activate"));
    if (by_hand && start_last(a, s, err) == 0)
        return 0;
    if (by_hand)
        fall_back(s, "the activated generation does not load; the scripts folder is tried", err);
    if (start_tree(a, s, err) == 0)
        return 0;
    if (!s->has_last)
        return -1;
    fall_back(s, "the scripts do not load; the last good generation runs", err);
    if (!by_hand && start_last(a, s, &also) == 0)
        return 0;
    generation_clear(&s->generation);
    return start_older(a, s); /* if that fails too, err says what is wrong with the tree */
}

/* ---- floors ---- */

/* Adds what can be done about it. */
static void advise(struct err *err, const char *advice)
{
    struct err plain = *err;
    err_set(err, plain.code, "%s; %s", plain.message, advice);
}

/* A new data folder is not made for a system that is not there. */
static int look_for_scripts(struct app *a, struct err *err)
{
    struct tree *tree = NULL;
    if (app_file_bytes(a, "moontide.db") > 0)
        return 0;
    int failed = tree_read(c_text(a, a->config->scripts), c_text(a, a->config->system), &tree, err);
    tree_free(tree);
    return failed;
}

static int open_store(struct app *a, struct err *err)
{
    struct store_conf conf = {
        .folder = c_text(a, a->config->data), .clock = &a->clock, .memory_root = "/dev/shm"};
    a->store = store_open(&conf, err);
    if (a->store == NULL && err->code == ERR_LOCKED)
        advise(err, "stop it, or name another folder with --data DIR");
    if (a->store == NULL)
        return -1;
    a->session = store_session_new(a->store, a->loop, err);
    return a->session != NULL ? 0 : -1;
}

static void program_released(void *program)
{
    program_unref(program);
}

/* All services have what they answer from. */
static void rebuilt(void *ctx)
{
    struct app *a = ctx;
    if (a->on_rebuilt != NULL)
        a->on_rebuilt(a);
}

static int open_bus(struct app *a, const struct store_switched *switched, struct err *err)
{
    struct bus_conf conf = {
        .store = a->store,
        .schema = &a->program->schema,
        .main_loop = a->loop,
        .main_mailbox = a->mailbox,
        .policies = a->program->policies,
        .policy_count = a->program->policy_count,
        .switched = switched,
        .program = a->program,
        .release = program_released,
        .release_ctx = program_ref(a->program),
        .worker_count = a->worker_count,
        .rebuilt = rebuilt,
        .rebuilt_ctx = a,
        BUS_DEFAULTS,
    };
    if (a->config->max_outstanding > 0)
        conf.max_outstanding = (int)a->config->max_outstanding;
    a->bus = bus_new(&conf, err);
    if (a->bus == NULL) {
        program_unref(a->program);
        return -1;
    }
    return store_start(a->store, bus_hooks(a->bus), err);
}

void app_declare_breakers(struct app *a)
{
    int64_t now_ns = clock_mono_ns(&a->clock);
    registry_declare_default(a->breakers, &a->program->breaker_default, now_ns);
    for (int i = 0; i < a->program->breaker_count; i++)
        registry_declare(a->breakers, a->program->breakers[i].name,
                         &a->program->breakers[i].settings, now_ns);
}

static void open_guards(struct app *a)
{
    a->breakers = registry_new();
    a->faults = faults_new();
    a->gates = gates_new();
    a->control = control_new(a);
    a->repeats = repeats_new();
    a->cache = cache_new(CACHE_ENTRIES, CACHE_BYTES);
    a->ratelimit = http_ratelimit_new(HTTP_RATELIMIT_KEYS);
    a->lanes = lane_table_new();
    app_declare_breakers(a);
    a->kept = kept_new(a->config->data, a->loop, a->breakers);
    registry_on_change(a->breakers, app_breaker_changed, a); /* what was restored is no news */
}

static int open_sockets(struct app *a, struct err *err)
{
    a->listen_fd = http_listen(a->config->listen, &a->listen_address, err);
    if (a->listen_fd < 0) {
        advise(err, "stop what uses it, or name another with --listen HOST:PORT");
        return -1;
    }
    a->admin_fd = http_listen(a->config->admin, &a->admin_address, err);
    if (a->admin_fd < 0) {
        advise(err, "stop what uses it, or name another with --admin HOST:PORT");
        return -1;
    }
    return 0;
}

void app_look_stopped(struct app *a)
{
    if (a->stopping && a->drained == a->worker_count && !reload_is_busy(a->reloader))
        loop_stop(a->loop);
}

static void worker_drained(void *ctx)
{
    struct app *a = ctx;
    a->drained++;
    app_look_stopped(a);
}

/* Of a listening socket; 0 if it cannot be told. */
static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t n = sizeof(address);
    if (getsockname(fd, (struct sockaddr *)&address, &n) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET ? ((struct sockaddr_in *)&address)->sin_port
                                              : ((struct sockaddr_in6 *)&address)->sin6_port);
}

static int open_workers(struct app *a, struct generation *g, struct err *err)
{
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
            .gates = a->gates,
            .repeats = a->repeats,
            .cache = a->cache,
            .ratelimit = a->ratelimit,
            .trusted = &a->config->trusted,
            .lanes = a->lanes,
            .program = a->program,
            .listen_fd = a->listen_fd,
            .share = a->share,
            .limits = a->config->http,
            .admin_port = port_of(a->admin_fd),
            .drain_ns = a->config->reload_drain_ms * NS_PER_MS,
            .main_mailbox = a->mailbox,
            .on_drained = worker_drained,
            .ctx = a,
        };
        lua_State *L = g->states[i];
        g->states[i] = NULL;
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

static int keep_breakers(void *ctx, struct err *err)
{
    struct app *a = ctx;
    return kept_save(a->kept, err);
}

void app_emit(void *ctx, const struct host_event *e)
{
    struct app *a = ctx;
    host_events_emit(a->store, a->program, clock_wall_ms(&a->clock), e);
}

static void name_services(struct app *a)
{
    size_t count = (size_t)a->program->service_count;
    free(a->service_names);
    a->service_names = xcalloc(2 * count + 1, sizeof(*a->service_names));
    for (size_t i = 0; i < count; i++) {
        const struct service *s = &a->program->services[i];
        a->service_names[i] = s->name;
        if (!s->here) /* the second half: where they run */
            a->service_names[count + i] = s->url.n > 0 ? s->url : STR("");
    }
}

void app_switch_admin(struct app *a)
{
    struct str *old = a->service_names;
    a->service_names = NULL;
    name_services(a);
    size_t count = (size_t)a->program->service_count;
    struct admin_program p = {&a->program->schema,      a->service_names,
                              a->service_names + count, count,
                              a->program->policies,     a->program->policy_count};
    admin_switch(a->admin, &p);
    free(old);
}

static int open_admin(struct app *a, struct err *err)
{
    if (admin_token(a->config->token_file, a->config->data, &a->token, err) != 0)
        return -1;
    name_services(a);
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
        .gates = a->gates,
        .control = a->control,
        .services = a->service_names,
        .urls = a->service_names + a->program->service_count,
        .service_count = (size_t)a->program->service_count,
        .policies = a->program->policies,
        .policy_count = a->program->policy_count,
        .reloader = a->reloader,
        .metrics = app_write_metrics,
        .status = app_write_status,
        .ready = is_ready,
        .emit = app_emit,
        .keep = keep_breakers,
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

/* Everything above the store, for the generation that was started. */
static int open_above(struct app *a, struct start *s, struct err *err)
{
    a->program = program_ref(s->generation.program);
    a->reloader = reload_new(a, s->generation.tree);
    s->generation.tree = NULL;
    open_guards(a);
    if (open_sockets(a, err) != 0 || open_bus(a, &s->switched, err) != 0 ||
        control_restore(a->control, err) != 0 || open_workers(a, &s->generation, err) != 0 ||
        open_admin(a, err) != 0)
        return -1;
    return start_workers(a, err);
}

int app_open(struct app *a, const struct config *config, struct err *err)
{
    memset(a, 0, sizeof(*a));
    a->config = config;
    a->worker_count = config->workers;
    a->listen_fd = a->admin_fd = -1;
    a->code = code_new();
    clock_real_init(&a->clock);
    a->started_ns = clock_mono_ns(&a->clock);
    if ((a->loop = loop_new(&a->clock, err)) == NULL ||
        (a->mailbox = mailbox_new(a->loop, err)) == NULL || look_for_scripts(a, err) != 0 ||
        open_store(a, err) != 0)
        return -1;
    struct start s = {.arena = arena_new(0)};
    int failed = start_generation(a, &s, err) != 0 || open_above(a, &s, err) != 0;
    generation_clear(&s.generation);
    arena_free(s.arena);
    return failed ? -1 : 0;
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
    a->store_closed = true;
    store_close(a->store);
    while (a->loop != NULL && loop_turn(a->loop))
        continue;
    free_workers(a);
    http_share_free(a->share);
    bus_free(a->bus);
    lane_table_free(a->lanes);
    faults_free(a->faults);
    control_free(a->control);
    gates_free(a->gates);
    repeats_free(a->repeats);
    cache_free(a->cache);
    http_ratelimit_free(a->ratelimit);
    kept_free(a->kept);
    registry_free(a->breakers);
    signals_free(a->signals);
    watch_free(a->watch);
    mailbox_free(a->mailbox);
    loop_free(a->loop);
    reload_free(a->reloader);
    program_unref(a->program);
    code_free(a->code);
    close_fd(a->listen_fd);
    close_fd(a->admin_fd);
    free(a->service_names);
    buf_deinit(&a->token);
    buf_deinit(&a->listen_address);
    buf_deinit(&a->admin_address);
}
