/* SPDX-License-Identifier: MIT */
/* The flags of `run`. Read apart from being applied: SYSTEM and --config decide what the other
 * places say, and yet flags have the last word. */
#include "app/config_inside.h"

static const struct flag {
    const char *name;
    const char *path; /* NULL: handled by name */
} known[] = {
    {"--scripts", "scripts"},
    {"--data", "data"},
    {"--listen", "listen"},
    {"--admin", "admin"},
    {"--workers", "workers"},
    {"--only", "only"},
    {"--admin-token-file", "admin_token_file"},
    {"--log-level", "log_level"},
    {"--config", NULL},
    {"--watch", NULL},
    {"--set", NULL},
};

#define FLAGS (sizeof(known) / sizeof(known[0]))

static int refuse_flag(struct str name, struct err *err)
{
    struct str names[FLAGS];
    for (size_t i = 0; i < FLAGS; i++)
        names[i] = str_from(known[i].name);
    struct str nearest = str_nearest(name, names, FLAGS);
    if (nearest.n == 0)
        return err_set(err, ERR_INVALID, "unknown flag %.*s", STR_ARG(name));
    return err_set(err, ERR_INVALID, "unknown flag %.*s; did you mean %.*s?", STR_ARG(name),
                   STR_ARG(nearest));
}

static const struct flag *find_flag(struct str name)
{
    for (size_t i = 0; i < FLAGS; i++) {
        if (str_eq(name, str_from(known[i].name)))
            return &known[i];
    }
    return NULL;
}

/* Reads the flag at argv[*at], and its value, which may be the next word; moves *at to the last
 * word used. */
static int read_flag(struct config_flags *f, int argc, char **argv, int *at, struct err *err)
{
    struct str word = str_from(argv[*at]), value = {NULL, 0};
    const char *equals = memchr(word.p, '=', word.n);
    if (equals) {
        value = str_from(equals + 1);
        word.n = (size_t)(equals - word.p);
    }
    const struct flag *flag = find_flag(word);
    if (!flag)
        return refuse_flag(word, err);
    if (str_eq(word, STR("--watch"))) {
        f->watch = true;
        return equals ? err_set(err, ERR_INVALID, "--watch takes no value") : 0;
    }
    if (!equals && *at + 1 < argc)
        value = str_from(argv[++*at]);
    if (value.n == 0)
        return err_set(err, ERR_INVALID, "%s needs a value", flag->name);
    if (str_eq(word, STR("--config")))
        f->config_file = value;
    else
        f->items[f->count++] = (struct config_flag){flag->name, flag->path, value};
    return 0;
}

int config_flags_read(struct config_flags *f, struct arena *a, int argc, char **argv,
                      struct err *err)
{
    *f = (struct config_flags){.items = arena_zalloc(a, ((size_t)argc + 1) * sizeof(*f->items))};
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-') {
            if (read_flag(f, argc, argv, &i, err))
                return -1;
        } else if (f->system.p) {
            return err_set(err, ERR_INVALID, "one system a process: \"%s\" after \"%.*s\"", argv[i],
                           STR_ARG(f->system));
        } else {
            f->system = str_from(argv[i]);
        }
    }
    return 0;
}

static int apply_set(struct config *c, struct str value, struct err *err)
{
    const char *equals = memchr(value.p, '=', value.n);
    if (!equals || equals == value.p)
        return err_set(err, ERR_INVALID, "--set %.*s: expected KEY=VALUE", STR_ARG(value));
    struct str path = {value.p, (size_t)(equals - value.p)};
    return config_set(c, path, str_from(equals + 1), STR("--set"), err);
}

int config_flags_apply(struct config *c, const struct config_flags *f, struct err *err)
{
    for (size_t i = 0; i < f->count; i++) {
        const struct config_flag *flag = &f->items[i];
        if (!flag->path) {
            if (apply_set(c, flag->value, err))
                return -1;
        } else if (config_set(c, str_from(flag->path), flag->value, str_from(flag->flag), err)) {
            if (err)
                err->code = ERR_INVALID;
            return -1;
        }
    }
    return 0;
}
