/* SPDX-License-Identifier: MIT */
/* A second composition root beside app.c, for specs: the same floors, but everything on one loop,
 * so that a case decides when something happens. */
#include "app/spec_world.h"

#include "base/file.h"
#include "script/load.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct spec_case {
    struct host_counts counts;
    const char *scripts, *system; /* unless the file brings its own */
    struct code *code;
    bool slow_reads;
    char folder[256], data[280];
    struct clock clock;
    struct spec_world world; /* what the words see of the following */
    struct mailbox *mailbox;
    struct program *program;
    struct lanes *lanes;
    struct gates *gates;
    struct repeats *repeats;
    struct store_session *host_session;
    struct bus_worker *bus_worker;
    struct budget *budget;
};

struct spec_case *spec_world_new(const char *scripts, const char *system, struct code *code,
                                 bool slow_reads)
{
    struct spec_case *c = xcalloc(1, sizeof(*c));
    c->scripts = scripts;
    c->system = system;
    c->code = code;
    c->slow_reads = slow_reads;
    return c;
}

void spec_world_free(struct spec_case *c)
{
    free(c);
}

/* ---- the folder ---- */

/* Memory if there is some: a commit there costs no disk. */
static const char *folder_root(void)
{
    const char *given = getenv("TMPDIR");
    if (access("/dev/shm", W_OK | X_OK) == 0)
        return "/dev/shm";
    return given != NULL && given[0] != '\0' ? given : "/tmp";
}

const char *spec_world_begin(void *ctx, struct err *err)
{
    struct spec_case *c = ctx;
    clock_fake_init(&c->clock);
    snprintf(c->folder, sizeof(c->folder), "%.200s/moontide-spec-XXXXXX", folder_root());
    if (mkdtemp(c->folder) == NULL) {
        err_sys(err, ERR_IO, "cannot make a folder like %s", c->folder);
        return NULL;
    }
    snprintf(c->data, sizeof(c->data), "%s/data", c->folder);
    return c->folder;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *where)
{
    (void)st;
    (void)flag;
    (void)where;
    remove(path);
    return 0;
}

void spec_world_end(void *ctx)
{
    struct spec_case *c = ctx;
    nftw(c->folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- opening ---- */

static int open_store(struct spec_case *c, struct err *err)
{
    struct spec_world *w = &c->world;
    struct store_conf conf = {.folder = c->data,
                              .clock = &c->clock,
                              .inline_loop = w->loop,
                              .slow_reads = c->slow_reads,
                              .memory_root = ""};
    w->store = store_open(&conf, err);
    return w->store != NULL ? store_migrate(w->store, &c->program->schema, err) : -1;
}

static int open_bus(struct spec_case *c, struct err *err)
{
    struct spec_world *w = &c->world;
    struct bus_conf conf = {
        .store = w->store,
        .schema = &c->program->schema,
        .main_loop = w->loop,
        .main_mailbox = c->mailbox,
        .policies = c->program->policies,
        .policy_count = c->program->policy_count,
        .worker_count = 1,
        BUS_DEFAULTS,
    };
    w->bus = bus_new(&conf, err);
    return w->bus != NULL ? store_start(w->store, bus_hooks(w->bus), err) : -1;
}

static void open_guards(struct spec_case *c)
{
    struct spec_world *w = &c->world;
    w->breakers = registry_new();
    w->faults = faults_new();
    c->repeats = repeats_new();
    w->cache = cache_new(CACHE_ENTRIES, CACHE_BYTES);
    w->ratelimit = http_ratelimit_new(HTTP_RATELIMIT_KEYS);
    c->lanes = lane_table_new();
    c->gates = gates_new();
    int64_t now_ns = clock_mono_ns(&c->clock);
    registry_declare_default(w->breakers, &c->program->breaker_default, now_ns);
    for (int i = 0; i < c->program->breaker_count; i++)
        registry_declare(w->breakers, c->program->breakers[i].name,
                         &c->program->breakers[i].settings, now_ns);
}

/* Takes over L, also on failure. */
static int open_host(struct spec_case *c, lua_State *L, struct err *err)
{
    struct spec_world *w = &c->world;
    struct host_conf conf = {.loop = w->loop,
                             .mailbox = c->mailbox,
                             .store = w->store,
                             .session = c->host_session,
                             .bus = w->bus,
                             .breakers = w->breakers,
                             .faults = w->faults,
                             .repeats = c->repeats,
                             .cache = w->cache,
                             .ratelimit = w->ratelimit,
                             .lanes = c->lanes,
                             .gates = c->gates,
                             .budget = c->budget,
                             .counts = &c->counts};
    if ((w->host = host_new(L, c->program, &conf, err)) == NULL)
        return -1;
    c->bus_worker = bus_worker_new(w->bus, 0, w->loop, c->mailbox, delivery_run, w->host);
    w->host->bus_worker = c->bus_worker;
    if (bus_start(w->bus, err) != 0)
        return -1;
    while (!bus_is_rebuilt(w->bus) && loop_turn(w->loop)) /* as before "listening" */
        continue;
    return 0;
}

static int open_floors(struct spec_case *c, struct err *err)
{
    struct spec_world *w = &c->world;
    c->budget = budget_new();
    if (budget_start(c->budget, err) != 0)
        return -1;
    if ((w->loop = loop_new(&c->clock, err)) == NULL ||
        (c->mailbox = mailbox_new(w->loop, err)) == NULL)
        return -1;
    open_guards(c);
    if (open_store(c, err) != 0 || open_bus(c, err) != 0)
        return -1;
    w->session = store_session_new(w->store, w->loop, err);
    c->host_session = w->session != NULL ? store_session_new(w->store, w->loop, err) : NULL;
    return c->host_session != NULL ? 0 : -1;
}

static int open_all(struct spec_case *c, const struct load_conf *conf, struct err *err)
{
    lua_State *L = load_state(conf, err);
    if (L == NULL)
        return -1;
    c->program = load_program(L, conf, err);
    c->world.program = c->program;
    if (c->program == NULL || open_floors(c, err) != 0) {
        load_close(L);
        return -1;
    }
    return open_host(c, L, err);
}

const struct spec_world *spec_world_open(void *ctx, const char *scripts, const char *system,
                                         struct err *err)
{
    struct spec_case *c = ctx;
    struct tree *tree = NULL;
    c->world.clock = &c->clock;
    if (tree_read(scripts != NULL ? scripts : c->scripts, system != NULL ? system : c->system,
                  &tree, err) != 0)
        return NULL;
    struct load_conf conf = {.tree = tree, .only = STR("*"), .code = c->code};
    int failed = open_all(c, &conf, err);
    code_forget(c->code);
    tree_free(tree);
    if (!failed)
        return &c->world;
    spec_world_close(c);
    return NULL;
}

void spec_world_close(void *ctx)
{
    struct spec_case *c = ctx;
    struct spec_world *w = &c->world;
    if (w->bus != NULL)
        bus_stop(w->bus);
    bus_worker_free(c->bus_worker);
    host_free(w->host);
    budget_stop(c->budget);
    budget_free(c->budget);
    store_session_free(c->host_session);
    store_session_free(w->session);
    store_close(w->store);
    while (w->loop != NULL && loop_turn(w->loop))
        continue;
    bus_free(w->bus);
    lane_table_free(c->lanes);
    gates_free(c->gates);
    faults_free(w->faults);
    repeats_free(c->repeats);
    cache_free(w->cache);
    http_ratelimit_free(w->ratelimit);
    registry_free(w->breakers);
    mailbox_free(c->mailbox);
    loop_free(w->loop);
    program_unref(c->program);
    *w = (struct spec_world){0};
    c->mailbox = NULL;
    c->program = NULL;
    c->lanes = NULL;
    c->gates = NULL;
    c->repeats = NULL;
    c->host_session = NULL;
    c->bus_worker = NULL;
    c->budget = NULL;
}
