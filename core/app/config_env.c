/* SPDX-License-Identifier: MIT */
/* The environment. A misspelt variable would be a setting that silently does nothing, so everything
 * that begins with MOONTIDE_ must be known. */
#include "app/config_inside.h"

#include <stdlib.h>
#include <unistd.h>

#define PREFIX "MOONTIDE_"

/* Names behind the prefix; a path of NULL: known, and no setting that is read here. */
static const struct variable {
    struct str name;
    const char *path;
} variables[] = {
    {{"LISTEN", 6}, "listen"},
    {{"ADMIN", 5}, "admin"},
    {{"DATA", 4}, "data"},
    {{"SCRIPTS", 7}, "scripts"},
    {{"WORKERS", 7}, "workers"},
    {{"ONLY", 4}, "only"},
    {{"LOG_LEVEL", 9}, "log_level"},
    {{"ADMIN_TOKEN_FILE", 16}, "admin_token_file"},
    {{"CONFIG", 6}, NULL},
    {{"ADMIN_TOKEN", 11}, NULL},
    {{"FAULT", 5}, NULL},
    {{"VFS", 3}, NULL},
};

#define VARIABLES (sizeof(variables) / sizeof(variables[0]))

/* "MOONTIDE__BREAKERS__PAYMENT__LIMIT" (name: behind the first underscore) is
 * breakers.payment.limit. */
static int apply_path(struct config *c, struct str name, struct str value, struct str origin,
                      struct err *err)
{
    struct buf path = BUF_INIT;
    for (size_t i = 1; i < name.n; i++) {
        bool joint = name.p[i] == '_' && i + 1 < name.n && name.p[i + 1] == '_';
        buf_addc(&path, joint ? '.' : name.p[i]);
        i += joint;
    }
    int failed = config_set(c, buf_str(&path), value, origin, err);
    buf_deinit(&path);
    return failed;
}

static int refuse(struct str origin, struct str name, struct err *err)
{
    struct str names[VARIABLES];
    for (size_t i = 0; i < VARIABLES; i++)
        names[i] = variables[i].name;
    struct str nearest = str_nearest(name, names, VARIABLES);
    if (nearest.n == 0)
        return err_set(err, ERR_CONFIG, "%.*s: unknown setting", STR_ARG(origin));
    return err_set(err, ERR_CONFIG, "%.*s: unknown setting; did you mean " PREFIX "%.*s?",
                   STR_ARG(origin), STR_ARG(nearest));
}

static int apply(struct config *c, struct str name, struct str value, struct str origin,
                 struct err *err)
{
    if (name.n > 0 && name.p[0] == '_')
        return apply_path(c, name, value, origin, err);
    if (str_starts(name, STR("TEST_")))
        return 0;
    for (size_t i = 0; i < VARIABLES; i++) {
        if (!str_ieq(name, variables[i].name))
            continue;
        /* An empty variable is how many tools say "not set". */
        if (!variables[i].path || value.n == 0)
            return 0;
        return config_set(c, str_from(variables[i].path), value, origin, err);
    }
    return refuse(origin, name, err);
}

struct str config_env_file(void)
{
    return str_from(getenv(PREFIX "CONFIG"));
}

int config_env_apply(struct config *c, struct err *err)
{
    for (char **at = environ; at && *at; at++) {
        struct str variable = str_from(*at);
        const char *equals = strchr(*at, '=');
        if (!equals || !str_starts(variable, STR(PREFIX)))
            continue;
        struct str origin = {variable.p, (size_t)(equals - variable.p)};
        struct str name = {origin.p + sizeof(PREFIX) - 1, origin.n - (sizeof(PREFIX) - 1)};
        if (apply(c, name, str_from(equals + 1), origin, err))
            return -1;
    }
    return 0;
}
