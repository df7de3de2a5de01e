/* SPDX-License-Identifier: MIT */
/* Settings come from four places that must agree on names and refuse the same mistakes. Whatever
 * the place, a setting ends in config_set as a dotted path with a value and an origin; the first
 * names decide whether it is the process' own or an override that the loader lays over the system's
 * table. */
#include "app/config.h"

#include "app/config_inside.h"
#include "http/url.h"
#include "script/datafile.h"

#include <assert.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define WORKERS_MAX 64
#define OUTSTANDING_DEFAULT 4096
#define OUTSTANDING_MAX 1000000
#define RELOAD_DRAIN_MS 30000
#define HOUR_MS 3600000
#define BYTES_PER_S_MAX 1000000000

typedef int setting_fn(struct config *c, struct str value, const char **ret_expected);

static int set_address(struct config *c, struct str value, struct str *ret,
                       const char **ret_expected)
{
    const char *colon = value.n > 0 ? memrchr(value.p, ':', value.n) : NULL;
    bool has_port = colon && colon > value.p && colon + 1 < value.p + value.n &&
                    !memchr(colon, ']', (size_t)(value.p + value.n - colon));
    *ret_expected = "HOST:PORT";
    if (!has_port || !http_authority_is_valid(value))
        return -1;
    *ret = arena_str(c->arena, value);
    return 0;
}

static int set_path(struct config *c, struct str value, struct str *ret, const char **ret_expected)
{
    *ret_expected = "a path";
    if (value.n == 0)
        return -1;
    *ret = arena_str(c->arena, value);
    return 0;
}

static int set_listen(struct config *c, struct str value, const char **ret_expected)
{
    return set_address(c, value, &c->listen, ret_expected);
}

static int set_admin(struct config *c, struct str value, const char **ret_expected)
{
    return set_address(c, value, &c->admin, ret_expected);
}

static int set_data(struct config *c, struct str value, const char **ret_expected)
{
    return set_path(c, value, &c->data, ret_expected);
}

static int set_scripts(struct config *c, struct str value, const char **ret_expected)
{
    return set_path(c, value, &c->scripts, ret_expected);
}

static int set_token_file(struct config *c, struct str value, const char **ret_expected)
{
    return set_path(c, value, &c->token_file, ret_expected);
}

/* Whether there are such services is for the loader to say. */
static int set_only(struct config *c, struct str value, const char **ret_expected)
{
    *ret_expected = "names of services with commas between, like order,delivery";
    for (size_t i = 0, begin = 0; i <= value.n; i++) {
        if (i < value.n && value.p[i] != ',')
            continue;
        if (i == begin)
            return -1;
        begin = i + 1;
    }
    c->only = arena_str(c->arena, value);
    return 0;
}

static int set_workers(struct config *c, struct str value, const char **ret_expected)
{
    int64_t workers;
    *ret_expected = "a number from 1 to 64";
    if (!str_to_int(value, &workers) || workers < 1 || workers > WORKERS_MAX)
        return -1;
    c->workers = (int)workers;
    return 0;
}

static int set_trusted(struct config *c, struct str value, const char **ret_expected)
{
    struct str wrong;
    *ret_expected = "addresses or networks with commas between, like 127.0.0.1,10.0.0.0/8";
    return http_trusted_read(c->arena, value, &c->trusted, &wrong) ? 0 : -1;
}

static int set_log_level(struct config *c, struct str value, const char **ret_expected)
{
    *ret_expected = "debug, info, warn or error";
    return log_level_from(value, &c->log_level) ? 0 : -1;
}

#define NUMBER(member, least, most)                                                                \
    {                                                                                              \
        offsetof(struct config, member), sizeof(((struct config *)NULL)->member), least, most      \
    }

#define NO_NUMBER                                                                                  \
    {                                                                                              \
        0, 0, 0, 0                                                                                 \
    }

static const struct setting {
    const char *path;
    setting_fn *set; /* NULL: a number, or the first name of overrides */
    struct number {
        size_t offset, size; /* of an integer in struct config */
        int64_t least, most; /* most 0: no number */
    } number;
} settings[] = {
    {"listen", set_listen, NO_NUMBER},
    {"admin", set_admin, NO_NUMBER},
    {"data", set_data, NO_NUMBER},
    {"scripts", set_scripts, NO_NUMBER},
    {"workers", set_workers, NO_NUMBER},
    {"only", set_only, NO_NUMBER},
    {"log_level", set_log_level, NO_NUMBER},
    {"admin_token_file", set_token_file, NO_NUMBER},
    {"bus.max_outstanding", NULL, NUMBER(max_outstanding, 1, OUTSTANDING_MAX)},
    {"reload.drain_ms", NULL, NUMBER(reload_drain_ms, 1, HOUR_MS)},
    {"http.request_line_bytes", NULL, NUMBER(http.request_line_bytes, 64, 1 << 20)},
    {"http.headers_bytes", NULL, NUMBER(http.headers_bytes, 64, 16 << 20)},
    {"http.headers", NULL, NUMBER(http.headers_count, 1, 10000)},
    {"http.body_bytes", NULL, NUMBER(http.body_bytes, 1, 64 << 20)},
    {"http.header_timeout_ms", NULL, NUMBER(http.headers_ms, 1, HOUR_MS)},
    {"http.body_timeout_ms", NULL, NUMBER(http.body_idle_ms, 1, HOUR_MS)},
    {"http.body_bytes_per_s", NULL, NUMBER(http.body_bytes_per_s, 1, BYTES_PER_S_MAX)},
    {"http.write_timeout_ms", NULL, NUMBER(http.write_ms, 1, HOUR_MS)},
    {"http.keep_alive_ms", NULL, NUMBER(http.keep_alive_ms, 1, HOUR_MS)},
    {"http.connections", NULL, NUMBER(http.connections, 1, 1000000)},
    {"http.trusted_proxies", set_trusted, NO_NUMBER},
    {"breakers", NULL, NO_NUMBER},
    {"services", NULL, NO_NUMBER},
    {"json", NULL, NO_NUMBER},
    {"config", NULL, NO_NUMBER},
};

#define SETTINGS (sizeof(settings) / sizeof(settings[0]))

static struct str first_name(struct str path)
{
    const char *dot = path.n > 0 ? memchr(path.p, '.', path.n) : NULL;
    return (struct str){path.p, dot ? (size_t)(dot - path.p) : path.n};
}

static bool has_value(const struct setting *s)
{
    return s->set || s->number.most > 0;
}

static const struct setting *find_setting(struct str path)
{
    struct str first = first_name(path);
    for (size_t i = 0; i < SETTINGS; i++) {
        struct str name = str_from(settings[i].path);
        if (has_value(&settings[i]) ? str_eq(path, name)
                                    : str_eq(first, name) && first.n + 1 < path.n)
            return &settings[i];
    }
    return NULL;
}

/* The nearest setting, looked for by the whole path and then by its first name. */
static struct str nearest_setting(struct str path)
{
    struct str names[SETTINGS], first = first_name(path);
    for (size_t i = 0; i < SETTINGS; i++)
        names[i] = str_from(settings[i].path);
    struct str nearest = str_nearest(path, names, SETTINGS);
    for (size_t i = 0; i < SETTINGS && nearest.n == 0; i++) {
        if (first.n < names[i].n && str_eq(first, first_name(names[i])))
            nearest = names[i];
    }
    return nearest.n > 0 ? nearest : str_nearest(first, names, SETTINGS);
}

/* "--set a.b" names the path once more; a variable is its own name. */
static int refuse_unknown(struct str path, struct str origin, struct str nearest, struct err *err)
{
    bool variable = str_starts(origin, STR("MOONTIDE_"));
    const char *joint = variable ? "" : " ";
    struct str named = variable ? STR("") : path;
    if (nearest.n == 0)
        return err_set(err, ERR_CONFIG, "%.*s%s%.*s: unknown setting", STR_ARG(origin), joint,
                       STR_ARG(named));
    return err_set(err, ERR_CONFIG, "%.*s%s%.*s: unknown setting; did you mean \"%.*s\"?",
                   STR_ARG(origin), joint, STR_ARG(named), STR_ARG(nearest));
}

static void add_override(struct config *c, struct str path, struct str value, struct str origin)
{
    vec_reserve(&c->overrides, &c->override_cap, c->override_count + 1, sizeof(*c->overrides));
    c->overrides[c->override_count++] = (struct config_override){
        arena_str(c->arena, path), arena_str(c->arena, value), arena_str(c->arena, origin), false};
}

static int set_number(struct config *c, const struct number *number, struct str value)
{
    int64_t n;
    char *at = (char *)c + number->offset;
    if (!str_to_int(value, &n) || n < number->least || n > number->most)
        return -1;
    int narrow = (int)n;
    assert(number->size == sizeof(n) || (number->size == sizeof(narrow) && narrow == n));
    memcpy(at, number->size == sizeof(n) ? (void *)&n : (void *)&narrow, number->size);
    return 0;
}

static struct str lower_path(struct arena *a, struct str path)
{
    char *p = arena_alloc(a, path.n + 1);
    for (size_t i = 0; i < path.n; i++)
        p[i] = (char)tolower((unsigned char)path.p[i]);
    p[path.n] = '\0';
    return (struct str){p, path.n};
}

/* "hystrix.command.payment.x" is "breakers.payment.x". */
static struct str breaker_path(struct arena *a, struct str path)
{
    static const struct str prefix = STR("hystrix.command.");
    struct buf text = BUF_INIT;
    if (!str_starts(path, prefix))
        return path;
    buf_lit(&text, "breakers.");
    buf_add(&text, path.p + prefix.n, path.n - prefix.n);
    path = arena_str(a, buf_str(&text));
    buf_deinit(&text);
    return path;
}

int config_set(struct config *c, struct str path, struct str value, struct str origin,
               struct err *err)
{
    const char *expected;
    char range[64];
    path = breaker_path(c->arena, lower_path(c->arena, path));
    const struct setting *s = find_setting(path);
    if (!s)
        return refuse_unknown(path, origin, nearest_setting(path), err);
    if (!has_value(s)) {
        add_override(c, path, value, origin);
        return 0;
    }
    if (s->set ? s->set(c, value, &expected) == 0 : set_number(c, &s->number, value) == 0) {
        config_system_given(c, s->path);
        return 0;
    }
    if (!s->set) {
        snprintf(range, sizeof(range), "a number from %lld to %lld", (long long)s->number.least,
                 (long long)s->number.most);
        expected = range;
    }
    return err_set(err, ERR_CONFIG, "%.*s: %s: expected %s, got \"%.*s\"", STR_ARG(origin), s->path,
                   expected, STR_ARG(value));
}

/* Sets what the tree of a file says, leaf by leaf. path is where the table stands: "" or
 * "breakers.". */
static int set_tree(struct config *c, const struct json *table, struct str path, struct err *err)
{
    struct str origin = c->config_file;
    for (size_t i = 0; i < table->count; i++) {
        const struct json *item = &table->items[i];
        struct buf text = BUF_INIT;
        buf_adds(&text, path);
        buf_adds(&text, table->names[i]);
        if (item->type == JSON_OBJECT)
            buf_addc(&text, '.');
        struct str name = arena_str(c->arena, buf_str(&text));
        buf_clear(&text);
        if (item->type == JSON_TEXT)
            buf_adds(&text, item->s);
        else if (item->type != JSON_OBJECT)
            json_write(&text, item);
        struct str value = arena_str(c->arena, buf_str(&text));
        buf_deinit(&text);
        if (item->type == JSON_LIST)
            return err_set(err, ERR_CONFIG, "%.*s: %.*s: a list cannot be set here",
                           STR_ARG(origin), STR_ARG(name));
        if (item->type == JSON_OBJECT ? set_tree(c, item, name, err)
                                      : config_set(c, name, value, origin, err))
            return -1;
    }
    return 0;
}

static int read_file(struct config *c, struct err *err)
{
    struct json table;
    if (c->config_file.n == 0)
        return 0;
    if (datafile_read(c->config_file.p, c->arena, &table, err))
        return -1;
    if (table.type != JSON_OBJECT)
        return err_set(err, ERR_CONFIG, "%s: expected a table with names", c->config_file.p);
    return set_tree(c, &table, STR(""), err);
}

static void set_defaults(struct config *c)
{
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *c = (struct config){.arena = arena_new(0)};
    c->system = STR("bookmarket");
    c->scripts = STR("./scripts");
    c->listen = STR("127.0.0.1:8088");
    c->admin = STR("127.0.0.1:8090");
    c->workers = cores < 1 ? 1 : cores > WORKERS_MAX ? WORKERS_MAX : (int)cores;
    c->log_level = LOG_INFO;
    c->max_outstanding = OUTSTANDING_DEFAULT;
    c->reload_drain_ms = RELOAD_DRAIN_MS;
    c->http = (struct http_limits)HTTP_LIMITS_DEFAULT;
}

/* Below ./data, one folder a system. */
static void default_data(struct config *c)
{
    struct buf path = BUF_INIT;
    if (c->data.n > 0)
        return;
    buf_lit(&path, "./data/");
    buf_adds(&path, c->system);
    c->data = arena_str(c->arena, buf_str(&path));
    buf_deinit(&path);
}

bool config_name_is_valid(struct str name)
{
    if (name.n == 0 || name.n > 64 || name.p[0] == '-' || name.p[0] == '_')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char ch = name.p[i];
        if (!((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '_' || ch == '-'))
            return false;
    }
    return true;
}

int config_parse(struct config *c, int argc, char **argv, struct err *err)
{
    struct config_flags flags;
    set_defaults(c);
    /* The command line is read first, so that its mistakes are told first; it is applied last. */
    if (config_flags_read(&flags, c->arena, argc, argv, err))
        return -1;
    if (flags.system.p)
        c->system = arena_str(c->arena, flags.system);
    if (!config_name_is_valid(c->system))
        return err_set(err, ERR_INVALID, "\"%.*s\" is no name of a system: a-z, 0-9, _ and -",
                       STR_ARG(c->system));
    c->config_file =
        arena_str(c->arena, flags.config_file.p ? flags.config_file : config_env_file());
    c->watch = flags.watch;
    if (read_file(c, err) || config_env_apply(c, err) || config_flags_apply(c, &flags, err) ||
        config_system_apply(c, err))
        return -1;
    default_data(c);
    return 0;
}

void config_deinit(struct config *c)
{
    arena_free(c->arena);
    free(c->overrides);
    *c = (struct config){0};
}

int config_check_used(const struct config *c, const struct str *known, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < c->override_count; i++) {
        const struct config_override *o = &c->overrides[i];
        if (!o->used)
            return refuse_unknown(o->path, o->origin, str_nearest(o->path, known, count), err);
    }
    return 0;
}
