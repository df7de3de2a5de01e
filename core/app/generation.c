/* SPDX-License-Identifier: MIT */
/* Everything that can go wrong with a tree goes wrong here, before anything that runs has noticed.
 */
#include "app/generation.h"

#include <stdlib.h>

static int overlay(void *ctx, struct arena *a, struct str prefix, struct json *table,
                   struct err *err)
{
    return config_overlay(ctx, a, prefix, table, err);
}

int generation_check_settings(const struct config *config, const struct program *p, struct err *err)
{
    struct str known[512];
    size_t n = 0;
    for (int i = 0; i < p->breaker_count; i++) {
        for (int k = 0; k < breaker_setting_count && n < 512; k++) {
            struct buf path = BUF_INIT;
            if (breaker_settings[k].name == NULL)
                continue;
            buf_addf(&path, "breakers.%.*s.%s", STR_ARG(p->breakers[i].name),
                     breaker_settings[k].name);
            known[n++] = arena_str(config->arena, buf_str(&path));
            buf_deinit(&path);
        }
    }
    return config_check_used(config, known, n, err);
}

/* ---- policies that are gone ---- */

static bool is_declared(const struct program *p, struct str service, struct str name)
{
    for (int i = 0; i < p->policy_count; i++) {
        const struct bus_policy *policy = &p->policies[i];
        if (str_eq(policy->service, service) &&
            (str_eq(policy->name, name) || str_eq(policy->renamed_from, name)))
            return true;
    }
    return false;
}

/* The line where the text declares the policy; 0: it does not. */
static int line_of_policy(struct str source, struct str name)
{
    int line = 1;
    for (size_t at = 0; at + name.n + 1 < source.n; at++) {
        line += source.p[at] == '\n';
        bool quoted = (source.p[at] == '"' || source.p[at] == '\'') &&
                      source.p[at + name.n + 1] == source.p[at] &&
                      memcmp(source.p + at + 1, name.p, name.n) == 0;
        size_t before = at;
        while (quoted && before > 0 && memchr(" (\t", source.p[before - 1], 3) != NULL)
            before--;
        if (quoted && before >= 6 && memcmp(source.p + before - 6, "policy", 6) == 0)
            return line;
    }
    return 0;
}

static int refuse_gone(const struct generation *g, const struct tree *live,
                       const struct store_letter_count *held, struct err *err)
{
    struct str path = g->tree->files[0].path; /* the system file */
    int line = 0;
    for (size_t i = 0; line == 0 && live != NULL && i < live->count; i++) {
        line = line_of_policy(live->files[i].source, held->policy);
        if (line > 0)
            path = live->files[i].path;
    }
    return err_set(err, ERR_CONFIG,
                   "scripts/%.*s:%d: policy \"%.*s\" is gone, but %lld held event%s; keep it until "
                   "they are done or letters, or say renamed_from in the one that takes over",
                   STR_ARG(path), line > 0 ? line : 1, STR_ARG(held->policy),
                   (long long)held->count, held->count == 1 ? " waits for it" : "s wait for it");
}

int generation_check_held(const struct generation *g, struct store_session *session,
                          const struct tree *live, struct err *err)
{
    struct arena *a = arena_new(0);
    struct store_letter_count *held;
    size_t count;
    int failed = store_log_held_counts(session, a, &held, &count, err);
    for (size_t i = 0; !failed && i < count; i++) {
        const struct service *s = program_service(g->program, held[i].service);
        bool elsewhere = s != NULL && !s->here;
        if (!elsewhere && !str_starts(held[i].policy, STR("view ")) &&
            !is_declared(g->program, held[i].service, held[i].policy))
            failed = refuse_gone(g, live, &held[i], err);
    }
    arena_free(a);
    return failed;
}

static int load_states(struct generation *g, struct load_conf *conf, struct err *err)
{
    int failed = 0;
    g->states = xcalloc((size_t)g->state_count, sizeof(*g->states));
    for (int i = 0; i < g->state_count && !failed; i++)
        failed = (g->states[i] = load_state(conf, err)) == NULL;
    code_forget(conf->code); /* that of the generation before */
    return failed ? -1 : 0;
}

int generation_build(struct generation *g, const struct config *config, struct code *code,
                     struct tree *tree, int count, struct err *err)
{
    struct load_conf conf = {tree, overlay, (struct config *)config, config->only, code};
    *g = (struct generation){.tree = tree, .state_count = count};
    if (load_states(g, &conf, err) != 0)
        return -1;
    g->program = load_program(g->states[0], &conf, err);
    if (g->program == NULL)
        return -1;
    return generation_check_settings(config, g->program, err);
}

void generation_clear(struct generation *g)
{
    for (int i = 0; g->states != NULL && i < g->state_count; i++)
        if (g->states[i] != NULL)
            load_close(g->states[i]);
    free(g->states);
    program_unref(g->program);
    tree_free(g->tree);
    *g = (struct generation){0};
}

void generation_write_sources(const struct tree *t, struct buf *out)
{
    buf_addc(out, '{');
    for (size_t i = 0; i < t->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        json_text(out, t->files[i].path);
        buf_addc(out, ':');
        json_text(out, t->files[i].source);
    }
    buf_addc(out, '}');
}

int generation_read_sources(struct str text, struct str system, struct tree **ret, struct err *err)
{
    struct arena *a = arena_new(text.n + 4096);
    struct json j;
    if (json_parse(a, text, 8, &j, err) != 0 || j.type != JSON_OBJECT) {
        arena_free(a);
        return err_set(err, ERR_IO, "the sources of the generation cannot be read");
    }
    *ret = tree_make(system, j.names, j.items, j.count);
    arena_free(a);
    return 0;
}

/* What the store needs to know of it; policies in a, sources in out. */
static struct store_switch describe(const struct generation *g, struct arena *a, struct buf *out)
{
    const struct program *p = g->program;
    struct store_switch_policy *policies =
        arena_zalloc(a, (size_t)(p->policy_count + 1) * sizeof(*policies));
    for (int i = 0; i < p->policy_count; i++) {
        const struct bus_policy *from = &p->policies[i];
        struct str *types = arena_zalloc(a, (size_t)(from->type_count + 1) * sizeof(*types));
        for (int k = 0; k < from->type_count; k++)
            types[k] = from->types[k]->name;
        policies[i] =
            (struct store_switch_policy){from->service,    from->name, from->renamed_from, types,
                                         from->type_count, from->view, from->in_memory};
    }
    generation_write_sources(g->tree, out);
    return (struct store_switch){.schema = &p->schema,
                                 .policies = policies,
                                 .policy_count = p->policy_count,
                                 .sources = buf_str(out),
                                 .arena = a};
}

int generation_prepare(const struct generation *g, struct store *store, bool dry_run,
                       struct err *err)
{
    struct buf sources = BUF_INIT;
    struct arena *a = arena_new(0);
    struct store_switch sw = describe(g, a, &sources);
    sw.dry_run = dry_run;
    int failed = store_switch_prepare(store, &sw, err);
    arena_free(a);
    buf_deinit(&sources);
    return failed;
}

int generation_store(struct generation *g, struct store *store, int64_t number, const char *origin,
                     bool dry_run, struct arena *a, struct store_switched *ret, struct err *err)
{
    struct buf sources = BUF_INIT;
    struct store_switch sw = describe(g, a, &sources);
    sw.number = number;
    sw.origin = str_from(origin);
    sw.dry_run = dry_run;
    int failed = store_switch(store, &sw, ret, err);
    if (!failed)
        g->program->generation = ret->generation;
    buf_deinit(&sources);
    return failed;
}

static void write_file(struct buf *out, struct str path, const char *status)
{
    if (out->p[out->n - 1] != '[')
        buf_addc(out, ',');
    buf_lit(out, "{\"path\":");
    json_text(out, path);
    buf_addf(out, ",\"status\":\"%s\"}", status);
}

void generation_write_files(const struct tree *from, const struct tree *to, struct buf *out)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < to->count; i++) {
        const struct tree_file *f = &to->files[i];
        const struct tree_file *old = from != NULL ? tree_find(from, f->path) : NULL;
        write_file(out, f->path,
                   old == NULL                      ? "added"
                   : str_eq(old->source, f->source) ? "same"
                                                    : "changed");
    }
    for (size_t i = 0; from != NULL && i < from->count; i++)
        if (tree_find(to, from->files[i].path) == NULL)
            write_file(out, from->files[i].path, "removed");
    buf_addc(out, ']');
}
