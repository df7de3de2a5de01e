/* SPDX-License-Identifier: MIT */
/* Commands that show what runs. */
#include "app/commands/inside.h"

#include <stdio.h>
#include <stdlib.h>

static const struct json *list_of(const struct json *object, const char *name)
{
    const struct json *list = json_find(object, str_from(name));
    return list && list->type == JSON_LIST ? list : NULL;
}

static void add_headings(struct commands_table *t, const char *const *titles, size_t count)
{
    for (size_t i = 0; i < count; i++)
        commands_table_add(t, str_from(titles[i]));
}

static void add_policy(struct commands_table *t, const struct json *service,
                       const struct json *policy)
{
    commands_table_add_member(t, service, "name");
    commands_table_add_member(t, service, "state");
    commands_table_add_member(t, policy, "name");
    commands_table_add_member(t, policy, "behind");
    commands_table_add_member(t, policy, "open");
    commands_table_add_member(t, policy, "held");
    commands_table_add_member(t, policy, "letters");
}

static void print_services(const struct json *answer)
{
    static const char *const titles[] = {"SERVICE", "STATE", "POLICY", "BEHIND",
                                         "OPEN",    "HELD",  "LETTERS"};
    static const struct json none = {.type = JSON_NULL};
    const struct json *services = list_of(answer, "services");
    struct commands_table *t = commands_table_new(7);
    add_headings(t, titles, 7);
    for (size_t i = 0; services && i < services->count; i++) {
        const struct json *policies = list_of(&services->items[i], "policies");
        for (size_t k = 0; policies && k < policies->count; k++)
            add_policy(t, &services->items[i], &policies->items[k]);
        if (!policies || policies->count == 0)
            add_policy(t, &services->items[i], &none);
    }
    commands_table_print(t, "no services");
    commands_table_free(t);
}

static void print_breakers(const struct json *answer)
{
    static const char *const titles[] = {"BREAKER", "STATE",   "SUCCESS", "FAILURE",
                                         "TIMEOUT", "REFUSED", "LIMITED", "IN FLIGHT"};
    static const char *const shown[] = {"name",
                                        "state",
                                        "counts.success",
                                        "counts.failure",
                                        "counts.timeout",
                                        "counts.refused_open",
                                        "counts.refused_limit",
                                        "in_flight"};
    const struct json *breakers = list_of(answer, "breakers");
    struct commands_table *t = commands_table_new(8);
    add_headings(t, titles, 8);
    for (size_t i = 0; breakers && i < breakers->count; i++) {
        for (size_t k = 0; k < 8; k++)
            commands_table_add_member(t, &breakers->items[i], shown[k]);
    }
    commands_table_print(t, "no breakers");
    commands_table_free(t);
}

/* Reads the arguments of a command that knows only "list". */
static int read_args(struct commands_args *args, const char *command, int argc, char **argv)
{
    int code = commands_args_read(args, argc, argv, "");
    if (code != EXIT_OK)
        return code;
    if (args->word_count > 1 || (args->word_count == 1 && !str_eq(args->words[0], STR("list"))))
        return commands_fail(EXIT_USAGE, "%s knows only \"list\", got \"%.*s\"", command,
                             STR_ARG(args->words[args->word_count - 1]));
    return EXIT_OK;
}

static int list(const char *command, const char *target, int argc, char **argv,
                void (*print)(const struct json *answer))
{
    struct commands_args args;
    int code = read_args(&args, command, argc, argv);
    return code == EXIT_OK ? commands_show(&args, target, print) : code;
}

static int change_service(const struct commands_args *args)
{
    struct buf target = BUF_INIT, body = BUF_INIT;
    bool stop = str_eq(args->words[0], STR("stop"));
    buf_lit(&target, "/admin/services/");
    commands_call_encode(&target, args->words[1]);
    buf_adds(&target, stop ? STR("/stop") : STR("/start"));
    struct client_request r = {.method = "POST", .target = buf_str(&target)};
    int code = commands_call(args, &r, &body);
    if (code == EXIT_OK && args->json)
        puts(buf_str(&body).p);
    else if (code == EXIT_OK)
        printf("%.*s is %s\n", STR_ARG(args->words[1]), stop ? "down" : "up");
    buf_deinit(&target);
    buf_deinit(&body);
    return code;
}

int commands_state_services(int argc, char **argv)
{
    static const struct str verbs[] = {{"list", 4}, {"stop", 4}, {"start", 5}};
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "");
    if (code != EXIT_OK)
        return code;
    code = commands_args_verb(&args, "services", verbs, 3);
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 0 && !str_eq(args.words[0], verbs[0])) {
        if (args.word_count == 2)
            return change_service(&args);
        return commands_fail(EXIT_USAGE, "services %.*s needs the NAME of one service",
                             STR_ARG(args.words[0]));
    }
    return list("services", "/admin/services", argc, argv, print_services);
}

/* KEY=VALUE as a member of the body; false if it is none. */
static bool add_setting(struct buf *body, struct str word)
{
    const char *equals = word.n > 0 ? memchr(word.p, '=', word.n) : NULL;
    if (equals == NULL || equals == word.p)
        return false;
    struct str value = str_from(equals + 1);
    if (body->n > 1)
        buf_addc(body, ',');
    json_text(body, (struct str){word.p, (size_t)(equals - word.p)});
    buf_addc(body, ':');
    if (str_eq(value, STR("null")))
        buf_lit(body, "null");
    else
        json_text(body, value);
    return true;
}

static int send_settings(const struct commands_args *args, struct str settings)
{
    struct buf target = BUF_INIT, answer = BUF_INIT;
    buf_lit(&target, "/admin/breakers/");
    commands_call_encode(&target, args->words[1]);
    struct client_request r = {.method = "PUT", .target = buf_str(&target), .body = settings};
    int code = commands_call(args, &r, &answer);
    if (code == EXIT_OK && args->json)
        puts(buf_str(&answer).p);
    buf_deinit(&target);
    buf_deinit(&answer);
    return code;
}

static int set_breaker(const struct commands_args *args)
{
    struct buf body = BUF_INIT;
    int code = EXIT_OK;
    buf_addc(&body, '{');
    for (int i = 2; code == EXIT_OK && i < args->word_count; i++)
        if (!add_setting(&body, args->words[i]))
            code = commands_fail(EXIT_USAGE, "breakers set: expected KEY=VALUE, got \"%.*s\"",
                                 STR_ARG(args->words[i]));
    buf_addc(&body, '}');
    if (code == EXIT_OK)
        code = send_settings(args, buf_str(&body));
    buf_deinit(&body);
    return code;
}

int commands_state_breakers(int argc, char **argv)
{
    static const struct str verbs[] = {STR("list"), STR("set")};
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "");
    if (code == EXIT_OK)
        code = commands_args_verb(&args, "breakers", verbs, 2);
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 2 && str_eq(args.words[0], verbs[1]))
        return set_breaker(&args);
    if (args.word_count > 0 && str_eq(args.words[0], verbs[1]))
        return commands_fail(EXIT_USAGE, "breakers set needs a NAME and KEY=VALUE");
    return list("breakers", "/admin/breakers", argc, argv, print_breakers);
}

/* ---- status ---- */

static void add_line(struct commands_table *t, const char *title, const struct json *answer,
                     const char *path)
{
    commands_table_add(t, str_from(title));
    commands_table_add_member(t, answer, path);
}

/* "3 d 4 h", "4 h 5 min", "5 min 6 s" */
static void add_uptime(struct commands_table *t, const struct json *answer)
{
    static const struct {
        long long seconds;
        const char *name;
    } units[] = {{86400, "d"}, {3600, "h"}, {60, "min"}, {1, "s"}};
    const struct json *member = json_find(answer, STR("uptimeSeconds"));
    long long left = member && member->type == JSON_INT ? (long long)member->i : 0;
    struct buf text = BUF_INIT;
    size_t i = 0;
    while (i < 2 && left < units[i].seconds)
        i++;
    buf_addf(&text, "%lld %s %lld %s", left / units[i].seconds, units[i].name,
             left % units[i].seconds / units[i + 1].seconds, units[i + 1].name);
    commands_table_add(t, STR("uptime"));
    commands_table_add(t, buf_str(&text));
    buf_deinit(&text);
}

static void add_breakers(struct commands_table *t, const struct json *answer)
{
    const struct json *list = list_of(answer, "breakersNotClosed");
    struct buf text = BUF_INIT;
    for (size_t i = 0; list && i < list->count; i++) {
        const struct json *name = json_find(&list->items[i], STR("name"));
        const struct json *state = json_find(&list->items[i], STR("state"));
        if (name && state && name->type == JSON_TEXT && state->type == JSON_TEXT)
            buf_addf(&text, "%s%.*s (%.*s)", i > 0 ? ", " : "", STR_ARG(name->s),
                     STR_ARG(state->s));
    }
    commands_table_add(t, STR("breakers not closed"));
    commands_table_add(t, text.n > 0 ? buf_str(&text) : STR("none"));
    buf_deinit(&text);
}

static void print_status(const struct json *answer)
{
    struct commands_table *t = commands_table_new(2);
    const struct json *ready = json_find(answer, STR("ready"));
    bool is_ready = ready && ready->type == JSON_BOOL && ready->b;
    commands_table_add(t, STR("system"));
    commands_table_add_member(t, answer, "system");
    commands_table_add(t, STR("state"));
    commands_table_add(t, is_ready ? STR("ready") : STR("not ready"));
    add_line(t, "version", answer, "version");
    add_line(t, "pid", answer, "pid");
    add_line(t, "started", answer, "started");
    add_uptime(t, answer);
    add_line(t, "generation", answer, "generation");
    add_line(t, "workers", answer, "workers");
    add_line(t, "gateway", answer, "gateway");
    add_line(t, "admin", answer, "admin");
    add_line(t, "data folder", answer, "store.folder");
    add_line(t, "data file bytes", answer, "store.bytes");
    add_line(t, "WAL bytes", answer, "store.walBytes");
    add_line(t, "events", answer, "events");
    add_line(t, "commit queue", answer, "commitQueue");
    add_line(t, "farthest behind", answer, "policies.behind");
    add_line(t, "open", answer, "policies.open");
    add_line(t, "held", answer, "policies.held");
    add_line(t, "letters", answer, "letters");
    add_breakers(t, answer);
    commands_table_print(t, "no status");
    commands_table_free(t);
    putchar('\n');
    print_services(answer);
}

int commands_state_status(int argc, char **argv)
{
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "");
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 0)
        return commands_fail(EXIT_USAGE, "status takes no \"%.*s\"", STR_ARG(args.words[0]));
    return commands_show(&args, "/admin/status", print_status);
}
