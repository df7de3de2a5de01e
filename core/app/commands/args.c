/* SPDX-License-Identifier: MIT */
/* Flags and failures of the client commands, all read and told in the same way. */
#include "app/commands/inside.h"

#include <stdarg.h>
#include <stdio.h>

#define COMMON "--admin --data --admin-token-file -o"

static const struct flag {
    const char *name;
    size_t offset; /* in struct commands_args */
    enum { TEXT, SWITCH, COUNT, SEQ } kind;
} known[] = {
    {"--admin", offsetof(struct commands_args, client.admin), TEXT},
    {"--data", offsetof(struct commands_args, client.data), TEXT},
    {"--admin-token-file", offsetof(struct commands_args, client.token_file), TEXT},
    {"-o", offsetof(struct commands_args, output), TEXT},
    {"--from", offsetof(struct commands_args, from), SEQ},
    {"--limit", offsetof(struct commands_args, limit), COUNT},
    {"--type", offsetof(struct commands_args, type), TEXT},
    {"--service", offsetof(struct commands_args, service), TEXT},
    {"--key", offsetof(struct commands_args, key), TEXT},
    {"--policy", offsetof(struct commands_args, policy), TEXT},
    {"--follow", offsetof(struct commands_args, follow), SWITCH},
    {"--all", offsetof(struct commands_args, all), SWITCH},
    {"--dry-run", offsetof(struct commands_args, dry_run), SWITCH},
    {"--scripts", offsetof(struct commands_args, scripts), TEXT},
    {"--backup", offsetof(struct commands_args, backup), TEXT},
};

#define FLAGS (sizeof(known) / sizeof(known[0]))

/* Is name one of the words of list? */
static bool is_listed(const char *list, struct str name)
{
    for (const char *at = strstr(list, name.p); name.n > 0 && at; at = strstr(at + 1, name.p)) {
        bool begins = at == list || at[-1] == ' ';
        if (begins && (at[name.n] == ' ' || at[name.n] == '\0'))
            return true;
    }
    return false;
}

static bool is_allowed(const struct flag *f, const char *allowed)
{
    return is_listed(COMMON, str_from(f->name)) || is_listed(allowed, str_from(f->name));
}

static int refuse_flag(struct str name, const char *allowed)
{
    struct str names[FLAGS];
    size_t count = 0;
    for (size_t i = 0; i < FLAGS; i++) {
        if (is_allowed(&known[i], allowed))
            names[count++] = str_from(known[i].name);
    }
    struct str nearest = str_nearest(name, names, count);
    if (nearest.n == 0)
        return commands_fail(EXIT_USAGE, "unknown flag %.*s", STR_ARG(name));
    return commands_fail(EXIT_USAGE, "unknown flag %.*s; did you mean %.*s?", STR_ARG(name),
                         STR_ARG(nearest));
}

static const struct flag *find_flag(struct str name, const char *allowed)
{
    for (size_t i = 0; i < FLAGS; i++) {
        if (str_eq(name, str_from(known[i].name)) && is_allowed(&known[i], allowed))
            return &known[i];
    }
    return NULL;
}

/* How large a number may be, the server says. */
static bool is_of_kind(const struct flag *f, struct str value)
{
    int64_t n;
    return f->kind == TEXT || (str_to_int(value, &n) && n >= (f->kind == COUNT));
}

static int read_flag(struct commands_args *args, int argc, char **argv, int *at,
                     const char *allowed)
{
    struct str word = str_from(argv[*at]), value = {NULL, 0};
    const char *equals = memchr(word.p, '=', word.n);
    if (equals) {
        value = str_from(equals + 1);
        word.n = (size_t)(equals - word.p);
    }
    const struct flag *f = find_flag(word, allowed);
    if (!f)
        return refuse_flag(word, allowed);
    void *place = (char *)args + f->offset;
    if (f->kind == SWITCH) {
        if (equals)
            return commands_fail(EXIT_USAGE, "%s takes no value", f->name);
        *(bool *)place = true;
        return EXIT_OK;
    }
    if (!equals && *at + 1 < argc)
        value = str_from(argv[++*at]);
    if (value.n == 0)
        return commands_fail(EXIT_USAGE, "%s needs a value", f->name);
    if (!is_of_kind(f, value))
        return commands_fail(EXIT_USAGE, "%s: expected a whole number from %d, got \"%.*s\"",
                             f->name, f->kind == COUNT, STR_ARG(value));
    *(struct str *)place = value;
    return EXIT_OK;
}

static int read_output(struct commands_args *args)
{
    args->json = str_eq(args->output, STR("json"));
    if (args->json || args->output.n == 0 || str_eq(args->output, STR("text")))
        return EXIT_OK;
    return commands_fail(EXIT_USAGE, "-o %.*s: expected json or text", STR_ARG(args->output));
}

int commands_args_read(struct commands_args *args, int argc, char **argv, const char *allowed)
{
    *args = (struct commands_args){0};
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] == '-') {
            int code = read_flag(args, argc, argv, &i, allowed);
            if (code != EXIT_OK)
                return code;
        } else if (args->word_count == COMMANDS_WORDS) {
            return commands_fail(EXIT_USAGE, "too many words at \"%s\"", argv[i]);
        } else {
            args->words[args->word_count++] = str_from(argv[i]);
        }
    }
    return read_output(args);
}

int commands_args_verb(const struct commands_args *args, const char *command,
                       const struct str *verbs, size_t count)
{
    struct buf all = BUF_INIT;
    struct str verb = args->words[0];
    if (args->word_count == 0)
        return EXIT_OK;
    for (size_t i = 0; i < count; i++)
        if (str_eq(verb, verbs[i]))
            return EXIT_OK;
    for (size_t i = 0; i < count; i++) {
        buf_adds(&all, i == 0 ? STR("") : i + 1 < count ? STR(", ") : STR(" or "));
        buf_adds(&all, verbs[i]);
    }
    struct str nearest = str_nearest(verb, verbs, count);
    if (nearest.n > 0)
        commands_fail(EXIT_USAGE, "%s: unknown \"%.*s\"; did you mean \"%.*s\"?", command,
                      STR_ARG(verb), STR_ARG(nearest));
    else
        commands_fail(EXIT_USAGE, "%s: unknown \"%.*s\"; expected %s", command, STR_ARG(verb),
                      buf_str(&all).p);
    buf_deinit(&all);
    return EXIT_USAGE;
}

int commands_args_folder(const struct commands_args *args, int at, struct arena *a,
                         struct config *ret)
{
    char *argv[3];
    int argc = 0;
    struct err err;
    if (args->word_count > at)
        argv[argc++] = (char *)arena_str(a, args->words[at]).p;
    if (args->client.data.n > 0) {
        argv[argc++] = "--data";
        argv[argc++] = (char *)arena_str(a, args->client.data).p;
    }
    return config_parse(ret, argc, argv, &err) != 0 ? commands_fail_err(&err) : EXIT_OK;
}

int commands_fail(int exit_code, const char *fmt, ...)
{
    va_list list;
    va_start(list, fmt);
    fflush(stdout);
    fputs("moontide: ", stderr);
    vfprintf(stderr, fmt, list);
    fputc('\n', stderr);
    va_end(list);
    return exit_code;
}

int commands_fail_err(const struct err *err)
{
    int code = err->code == ERR_INVALID  ? EXIT_USAGE
               : err->code == ERR_CONFIG ? EXIT_CONFIG
               : err->code == ERR_IO     ? EXIT_UNREACHABLE
                                         : EXIT_FAILED;
    return commands_fail(code, "%s", err->message);
}
