/* SPDX-License-Identifier: MIT */
/* `moontide check`: loads a tree as `run` would and says what is wrong with it. Opens no store, no
 * socket, writes nothing. */
#include "app/commands/commands.h"
#include "app/excerpt.h"
#include "app/generation.h"
#include "script/host_events.h"

#include <stdio.h>

struct check {
    const struct config *config;
};

static int overlay(void *ctx, struct arena *a, struct str prefix, struct json *table,
                   struct err *err)
{
    struct check *c = ctx;
    return config_overlay((struct config *)c->config, a, prefix, table, err);
}

/* Without those of the host. */
static int declared_events(const struct program *p)
{
    int n = 0;
    for (int i = 0; i < p->schema.event_count; i++)
        n += !str_eq(p->schema.events[i]->service, HOST_EVENTS_SERVICE);
    return n;
}

static int check_tree(const struct config *config, const struct tree *tree, struct err *err)
{
    struct check c = {config};
    struct load_conf conf = {tree, overlay, &c, config->only, NULL};
    lua_State *L = load_state(&conf, err);
    if (L == NULL)
        return -1;
    struct program *p = load_program(L, &conf, err);
    int failed = p == NULL || generation_check_settings(config, p, err) != 0;
    if (!failed)
        printf("%.*s: %zu files, %d services, %d resources, %d routes, %d events, %d policies\n",
               STR_ARG(tree->system), tree->count, p->service_count, p->resource_count,
               p->route_count, declared_events(p), p->policy_count);
    program_unref(p);
    load_close(L);
    return failed ? -1 : 0;
}

/* The message, and the line that it is about. */
static void show(const struct tree *tree, struct str message)
{
    struct buf out = BUF_INIT;
    struct str path;
    int64_t line;
    buf_addf(&out, "moontide: %.*s\n", STR_ARG(message));
    const struct tree_file *f =
        tree != NULL && excerpt_place(message, &path, &line) ? tree_find(tree, path) : NULL;
    if (f != NULL)
        excerpt_write(&out, f->source, line, message);
    fprintf(stderr, "%s", buf_str(&out).p);
    buf_deinit(&out);
}

int app_check(const struct config *config)
{
    struct tree *tree = NULL;
    struct err err;
    struct arena *a = config->arena;
    int failed = tree_read(arena_str(a, config->scripts).p, arena_str(a, config->system).p, &tree,
                           &err) != 0 ||
                 check_tree(config, tree, &err) != 0;
    if (failed)
        show(tree, str_from(err.message));
    tree_free(tree);
    return failed ? EXIT_PROBLEMS : EXIT_OK;
}
