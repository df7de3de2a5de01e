/* SPDX-License-Identifier: MIT */
/* Commands that show what runs. */
#include "app/commands_inside.h"

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
    if (code != EXIT_OK)
        return code;
    struct arena *a = arena_new(0);
    struct buf body = BUF_INIT;
    struct json answer;
    code = commands_call_json(&args, target, a, &body, &answer);
    if (code == EXIT_OK && args.json)
        puts(buf_str(&body).p);
    else if (code == EXIT_OK)
        print(&answer);
    buf_deinit(&body);
    arena_free(a);
    return code;
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

int commands_state_breakers(int argc, char **argv)
{
    return list("breakers", "/admin/breakers", argc, argv, print_breakers);
}

/* Asks /readyz; *ret_ready. Everything but 200 and 503 is a failure. */
static int ask_ready(const struct commands_args *args, struct buf *ret_address, bool *ret_ready)
{
    struct client c = CLIENT_INIT;
    struct client_request r = {.method = "GET", .target = STR("/readyz")};
    struct buf body = BUF_INIT;
    struct err err;
    int status, code = EXIT_OK;
    if (client_open(&c, &args->client, &err) || client_call(&c, &r, &status, &body, &err))
        code = commands_fail_err(&err);
    else if (status != 200 && status != 503)
        code = commands_fail(EXIT_FAILED, "the server answered %d", status);
    else
        *ret_ready = status == 200;
    buf_adds(ret_address, buf_str(&c.address));
    buf_deinit(&body);
    client_close(&c);
    return code;
}

int commands_state_status(int argc, char **argv)
{
    struct commands_args args;
    bool ready = false;
    int code = commands_args_read(&args, argc, argv, "");
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 0)
        return commands_fail(EXIT_USAGE, "status takes no \"%.*s\"", STR_ARG(args.words[0]));
    struct arena *a = arena_new(0);
    struct buf address = BUF_INIT, body = BUF_INIT;
    struct json answer;
    code = ask_ready(&args, &address, &ready);
    if (code == EXIT_OK)
        code = commands_call_json(&args, "/admin/services", a, &body, &answer);
    if (code == EXIT_OK && args.json) {
        struct str members = {body.p + 1, body.n - 1}; /* behind the brace of the object */
        printf("{\"admin\":\"%s\",\"ready\":%s,%.*s\n", buf_str(&address).p,
               ready ? "true" : "false", STR_ARG(members));
    } else if (code == EXIT_OK) {
        printf("admin %s, %s\n\n", buf_str(&address).p, ready ? "ready" : "not ready");
        print_services(&answer);
    }
    buf_deinit(&address);
    buf_deinit(&body);
    arena_free(a);
    return code;
}
