/* SPDX-License-Identifier: MIT */
/* Commands on the event log and on letters. */
#include "app/commands/inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define JSON_DEPTH 64
#define FOLLOW_PAUSE_NS 300000000

/* Lines of the log as they come in. */
struct printer {
    struct buf line;
    bool json;
    int code;
    int64_t last_seq, count; /* of the events that were printed */
};

static void print_event(const struct json *event)
{
    static const char *const shown[] = {"seq", "time", "type", "key", "payload"};
    struct buf out = BUF_INIT;
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        const struct json *member = json_find(event, str_from(shown[i]));
        if (i > 0)
            buf_lit(&out, "  ");
        if (member && member->type == JSON_TEXT)
            commands_table_clean(&out, member->s);
        else if (member)
            json_write(&out, member);
    }
    puts(buf_str(&out).p);
    buf_deinit(&out);
}

/* The last line of a stream that the server ended early. */
static bool print_end(struct printer *p, const struct json *line)
{
    const struct json *last = json_find(line, STR("last_seq"));
    if (!last || last->type != JSON_INT)
        return false;
    bool dropped = json_find(line, STR("dropped")) != NULL;
    p->code =
        commands_fail(EXIT_FAILED, "%s; go on with --from %lld",
                      dropped ? "dropped: too slow a reader" : "the server cannot read its log",
                      (long long)last->i + 1);
    return true;
}

static void print_line(struct printer *p)
{
    struct arena *a = arena_new(0);
    struct json line;
    struct err err;
    if (p->line.n == 0) {
        arena_free(a); /* a heartbeat */
        return;
    }
    if (json_parse(a, buf_str(&p->line), JSON_DEPTH, &line, &err) || line.type != JSON_OBJECT)
        p->code = commands_fail(EXIT_FAILED, "the server sent a line that is no event");
    else if (!print_end(p, &line)) {
        const struct json *seq = json_find(&line, STR("seq"));
        p->last_seq = seq && seq->type == JSON_INT ? seq->i : p->last_seq;
        p->count++;
        if (p->json)
            puts(buf_str(&p->line).p);
        else
            print_event(&line);
    }
    arena_free(a);
}

static bool on_data(void *ctx, struct str data)
{
    struct printer *p = ctx;
    while (data.n > 0 && p->code == EXIT_OK) {
        const char *end = memchr(data.p, '\n', data.n);
        size_t n = end ? (size_t)(end - data.p) : data.n;
        buf_add(&p->line, data.p, n);
        data.p += n + (end ? 1 : 0);
        data.n -= n + (end ? 1 : 0);
        if (!end)
            break;
        print_line(p);
        buf_clear(&p->line);
    }
    fflush(stdout);
    return p->code == EXIT_OK && !ferror(stdout);
}

/* From what was printed last, or from where the caller wants it. */
static void write_target(const struct commands_args *args, const struct printer *p,
                         struct buf *target)
{
    char from[24], limit[24];
    int64_t wanted;
    snprintf(from, sizeof(from), "%lld", (long long)p->last_seq + 1);
    bool limited = str_to_int(args->limit, &wanted);
    snprintf(limit, sizeof(limit), "%lld", limited ? (long long)(wanted - p->count) : 0);
    buf_lit(target, "/admin/events");
    commands_call_param(target, "from", p->count > 0 ? str_from(from) : args->from);
    commands_call_param(target, "limit", limited ? str_from(limit) : args->limit);
    commands_call_param(target, "type", args->type);
    commands_call_param(target, "service", args->service);
    commands_call_param(target, "key", args->key);
    commands_call_param(target, "follow", args->follow ? STR("true") : STR(""));
}

static int read_events(const struct commands_args *args, struct printer *p)
{
    struct buf target = BUF_INIT, body = BUF_INIT;
    write_target(args, p, &target);
    struct client_request r = {"GET", buf_str(&target), STR(""), on_data, p};
    int code = commands_call(args, &r, &body);
    buf_deinit(&target);
    buf_deinit(&body);
    return code;
}

/* The same, but a server that is away is no news. False: it answered, though not with events. */
static bool read_again(const struct commands_args *args, struct printer *p)
{
    struct client c = CLIENT_INIT;
    struct buf target = BUF_INIT, body = BUF_INIT;
    struct err ignored;
    int status = 200;
    write_target(args, p, &target);
    struct client_request r = {"GET", buf_str(&target), STR(""), on_data, p};
    buf_clear(&p->line); /* what came of a line before the connection broke comes again */
    if (client_open(&c, &args->client, &ignored) != 0 ||
        client_call(&c, &r, &status, &body, &ignored) != 0)
        status = 200;
    client_close(&c);
    buf_deinit(&target);
    buf_deinit(&body);
    return status == 200;
}

static bool is_done(const struct commands_args *args, const struct printer *p)
{
    int64_t limit;
    return p->code != EXIT_OK || ferror(stdout) ||
           (str_to_int(args->limit, &limit) && p->count >= limit);
}

/* Goes on over restarts of the server, until interrupted. What is said to be wrong at first is
 * wrong; afterwards the server is waited for. */
static int follow(const struct commands_args *args, struct printer *p)
{
    int code = read_events(args, p);
    if (code != EXIT_OK && (code != EXIT_UNREACHABLE || p->count == 0))
        return code;
    if (!is_done(args, p))
        fputs("moontide: the server has gone; waiting for it\n", stderr);
    while (!is_done(args, p)) {
        nanosleep(&(struct timespec){.tv_nsec = FOLLOW_PAUSE_NS}, NULL);
        if (!read_again(args, p))
            return read_events(args, p); /* says why */
    }
    return EXIT_OK;
}

int commands_log_events(int argc, char **argv)
{
    struct commands_args args;
    int code =
        commands_args_read(&args, argc, argv, "--from --limit --type --service --key --follow");
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 0)
        return commands_fail(EXIT_USAGE, "events takes no \"%.*s\"", STR_ARG(args.words[0]));
    struct printer p = {.line = BUF_INIT, .json = args.json};
    code = args.follow ? follow(&args, &p) : read_events(&args, &p);
    buf_deinit(&p.line);
    return code != EXIT_OK ? code : p.code;
}

static void print_letters(const struct json *answer)
{
    static const char *const shown[] = {"id",    "policy", "event.type",    "event.key",
                                        "tries", "time",   "error.message", "error.origin"};
    static const char *const titles[] = {"ID",    "POLICY", "EVENT", "KEY",
                                         "TRIES", "TIME",   "ERROR", "ORIGIN"};
    const struct json *letters = json_find(answer, STR("letters"));
    struct commands_table *t = commands_table_new(8);
    for (size_t i = 0; i < 8; i++)
        commands_table_add(t, str_from(titles[i]));
    for (size_t i = 0; letters && letters->type == JSON_LIST && i < letters->count; i++) {
        for (size_t k = 0; k < 8; k++)
            commands_table_add_member(t, &letters->items[i], shown[k]);
    }
    commands_table_print(t, "no letters");
    commands_table_free(t);
}

static void print_letter(const struct json *letter)
{
    static const char *const shown[] = {"id",         "policy",        "service",      "event.seq",
                                        "event.id",   "event.type",    "event.key",    "tries",
                                        "error.code", "error.message", "error.origin", "time",
                                        "generation", "event.payload"};
    struct commands_table *t = commands_table_new(2);
    for (size_t i = 0; i < sizeof(shown) / sizeof(shown[0]); i++) {
        commands_table_add(t, str_from(shown[i]));
        commands_table_add_member(t, letter, shown[i]);
    }
    commands_table_print(t, "");
    commands_table_free(t);
}

static int list_letters(const struct commands_args *args)
{
    struct buf target = BUF_INIT;
    buf_lit(&target, "/admin/letters");
    commands_call_param(&target, "policy", args->policy);
    commands_call_param(&target, "limit", args->limit);
    int code = commands_show(args, buf_str(&target).p, print_letters);
    buf_deinit(&target);
    return code;
}

/* Sends method to target; says `done` with what the server answered, if anything. */
static int act(const struct commands_args *args, const char *method, struct str target,
               const char *done)
{
    struct buf body = BUF_INIT;
    struct client_request r = {.method = method, .target = target};
    int code = commands_call(args, &r, &body);
    if (code == EXIT_OK && args->json && body.n > 0)
        puts(buf_str(&body).p);
    else if (code == EXIT_OK && !args->json)
        printf("%s%s%s\n", done, body.n > 0 ? " " : "", buf_str(&body).p);
    buf_deinit(&body);
    return code;
}

static int retry_letters(const struct commands_args *args)
{
    struct buf target = BUF_INIT;
    if (args->policy.n == 0 && !args->all)
        return commands_fail(EXIT_USAGE, "letters retry needs an ID, --policy NAME or --all");
    buf_lit(&target, "/admin/letters/retry");
    commands_call_param(&target, "policy", args->policy);
    int code = act(args, "POST", buf_str(&target), "retried");
    buf_deinit(&target);
    return code;
}

static int on_letter(const struct commands_args *args, struct str verb, struct str id)
{
    char target[80];
    int64_t number;
    if (!str_to_int(id, &number) || number < 1)
        return commands_fail(EXIT_USAGE, "letters %.*s needs the ID of a letter, got \"%.*s\"",
                             STR_ARG(verb), STR_ARG(id));
    bool retry = str_eq(verb, STR("retry"));
    snprintf(target, sizeof(target), "/admin/letters/%lld%s", (long long)number,
             retry ? "/retry" : "");
    if (str_eq(verb, STR("show")))
        return commands_show(args, target, print_letter);
    return act(args, retry ? "POST" : "DELETE", str_from(target), retry ? "retried" : "discarded");
}

int commands_log_letters(int argc, char **argv)
{
    static const struct str verbs[] = {{"list", 4}, {"show", 4}, {"retry", 5}, {"discard", 7}};
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "--policy --limit --all");
    if (code != EXIT_OK)
        return code;
    code = commands_args_verb(&args, "letters", verbs, 4);
    if (code != EXIT_OK)
        return code;
    struct str verb = args.word_count > 0 ? args.words[0] : verbs[0];
    if (args.word_count > (str_eq(verb, verbs[0]) ? 1 : 2))
        return commands_fail(EXIT_USAGE, "letters %.*s: one at a time", STR_ARG(verb));
    if (str_eq(verb, verbs[0]))
        return list_letters(&args);
    if (str_eq(verb, verbs[2]) && args.word_count == 1)
        return retry_letters(&args);
    return on_letter(&args, verb, args.words[1]);
}
