/* SPDX-License-Identifier: MIT */
/* Commands that change the scripts of a running server. What is wrong with them is shown with the
 * line, when the file lies here. */
#include "app/commands/inside.h"
#include "app/excerpt.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

#define UNPROCESSABLE 422
#define SOURCE_BYTES (4 << 20)

static const struct json *member(const struct json *object, const char *name, enum json_type type)
{
    const struct json *m = object->type == JSON_OBJECT ? json_find(object, str_from(name)) : NULL;
    return m && m->type == type ? m : NULL;
}

static struct str text_of(const struct json *object, const char *name)
{
    const struct json *m = member(object, name, JSON_TEXT);
    return m ? m->s : (struct str){"", 0};
}

static int64_t number_of(const struct json *object, const char *name)
{
    const struct json *m = member(object, name, JSON_INT);
    return m ? m->i : 0;
}

static void print_clean(FILE *out, const char *before, struct str text)
{
    struct buf clean = BUF_INIT;
    commands_table_clean(&clean, text);
    fprintf(out, "%s%s\n", before, buf_str(&clean).p);
    buf_deinit(&clean);
}

/* ---- what is live now */

static size_t count_files(const struct json *files)
{
    size_t n = 0;
    for (size_t i = 0; files && i < files->count; i++)
        n += !str_eq(text_of(&files->items[i], "status"), STR("removed"));
    return n;
}

static void print_files(const struct json *files)
{
    for (size_t i = 0; files && i < files->count; i++) {
        struct str status = text_of(&files->items[i], "status");
        struct buf line = BUF_INIT;
        buf_addf(&line, "%.*s %.*s", STR_ARG(status), STR_ARG(text_of(&files->items[i], "path")));
        if (!str_eq(status, STR("same")))
            print_clean(stdout, "  ", buf_str(&line));
        buf_deinit(&line);
    }
}

static void print_live(const struct json *answer)
{
    const struct json *files = member(answer, "files", JSON_LIST);
    const struct json *changes = member(answer, "changes", JSON_LIST);
    const struct json *dry = member(answer, "dry_run", JSON_BOOL);
    size_t count = count_files(files);
    long long now = (long long)number_of(answer, "generation");
    if (dry && dry->b)
        printf("generation %lld stays; these %zu files would load", now, count);
    else
        printf("generation %lld is live (was %lld), %zu files", now,
               (long long)number_of(answer, "previous"), count);
    printf(", %lld ms\n", (long long)number_of(answer, "took_ms"));
    print_files(files);
    for (size_t i = 0; changes && i < changes->count; i++) {
        if (changes->items[i].type == JSON_TEXT)
            print_clean(stdout, "  ", changes->items[i].s);
    }
}

/* ---- what is wrong */

/* The file as it lies here: "scripts/x.lua" below --scripts, else below the present folder. */
static bool read_source(const struct commands_args *args, struct str file, struct buf *ret)
{
    struct buf path = BUF_INIT;
    struct err err;
    if (!str_starts(file, STR("scripts/")) || memmem(file.p, file.n, "..", 2))
        return false;
    if (args->scripts.n > 0)
        buf_addf(&path, "%.*s/%.*s", STR_ARG(args->scripts), (int)file.n - 8, file.p + 8);
    else
        buf_addf(&path, "./%.*s", STR_ARG(file));
    int rc = file_read(buf_str(&path).p, SOURCE_BYTES, ret, &err);
    buf_deinit(&path);
    return rc == 0;
}

static void print_error(const struct commands_args *args, const struct json *e)
{
    struct str file = text_of(e, "file"), message = text_of(e, "message");
    int64_t line = number_of(e, "line");
    struct buf text = BUF_INIT, source = BUF_INIT, excerpt = BUF_INIT;
    if (file.n > 0)
        buf_addf(&text, "%.*s:", STR_ARG(file));
    if (line > 0)
        buf_addf(&text, "%lld:", (long long)line);
    buf_addf(&text, "%s%.*s", text.n > 0 ? " " : "", STR_ARG(message));
    print_clean(stderr, "", buf_str(&text));
    if (line > 0 && read_source(args, file, &source))
        excerpt_write(&excerpt, buf_str(&source), line, message);
    fputs(buf_str(&excerpt).p, stderr);
    buf_deinit(&text);
    buf_deinit(&source);
    buf_deinit(&excerpt);
}

static int print_errors(const struct commands_args *args, const struct json *answer)
{
    const struct json *errors = member(answer, "errors", JSON_LIST);
    fflush(stdout);
    if (!errors)
        print_clean(stderr, "moontide: ", text_of(answer, "message"));
    for (size_t i = 0; errors && i < errors->count; i++)
        print_error(args, &errors->items[i]);
    return EXIT_PROBLEMS;
}

/* ---- the commands */

static int change(const struct commands_args *args, struct str target)
{
    struct client_request r = {.method = "POST", .target = target};
    struct arena *a = arena_new(0);
    struct buf body = BUF_INIT;
    struct json answer;
    int status;
    int code = commands_call_or(args, &r, UNPROCESSABLE, &status, &body);
    if (code == EXIT_OK)
        code = commands_call_parse(a, buf_str(&body), &answer);
    if (code == EXIT_OK && args->json) {
        puts(buf_str(&body).p);
        code = status == UNPROCESSABLE ? EXIT_PROBLEMS : EXIT_OK;
    } else if (code == EXIT_OK && status == UNPROCESSABLE) {
        code = print_errors(args, &answer);
    } else if (code == EXIT_OK) {
        print_live(&answer);
    }
    buf_deinit(&body);
    arena_free(a);
    return code;
}

int commands_reload_start(int argc, char **argv)
{
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "--dry-run --scripts");
    if (code != EXIT_OK)
        return code;
    if (args.word_count > 0)
        return commands_fail(EXIT_USAGE, "reload takes no \"%.*s\"", STR_ARG(args.words[0]));
    return change(&args, args.dry_run ? STR("/admin/reload?dry_run=true") : STR("/admin/reload"));
}

static void print_generations(const struct json *answer)
{
    static const char *const titles[] = {"GENERATION", "TIME", "ORIGIN", ""};
    static const char *const shown[] = {"number", "time", "origin"};
    const struct json *list = member(answer, "generations", JSON_LIST);
    struct commands_table *t = commands_table_new(4);
    for (size_t i = 0; i < 4; i++)
        commands_table_add(t, str_from(titles[i]));
    for (size_t i = 0; list && i < list->count; i++) {
        const struct json *active = member(&list->items[i], "active", JSON_BOOL);
        for (size_t k = 0; k < 3; k++)
            commands_table_add_member(t, &list->items[i], shown[k]);
        commands_table_add(t, active && active->b ? STR("live") : STR(""));
    }
    commands_table_print(t, "no generations");
    commands_table_free(t);
}

static int list_generations(const struct commands_args *args)
{
    struct arena *a = arena_new(0);
    struct buf body = BUF_INIT;
    struct json answer;
    int code = commands_call_json(args, "/admin/generations", a, &body, &answer);
    if (code == EXIT_OK && args->json)
        puts(buf_str(&body).p);
    else if (code == EXIT_OK)
        print_generations(&answer);
    buf_deinit(&body);
    arena_free(a);
    return code;
}

int commands_reload_generations(int argc, char **argv)
{
    struct commands_args args;
    char target[80];
    int64_t number;
    int code = commands_args_read(&args, argc, argv, "--scripts");
    if (code != EXIT_OK)
        return code;
    if (args.word_count == 0 || (args.word_count == 1 && str_eq(args.words[0], STR("list"))))
        return list_generations(&args);
    if (!str_eq(args.words[0], STR("activate")))
        return commands_fail(EXIT_USAGE, "generations: unknown \"%.*s\"; list or activate",
                             STR_ARG(args.words[0]));
    if (args.word_count != 2 || !str_to_int(args.words[1], &number) || number < 1)
        return commands_fail(EXIT_USAGE, "generations activate needs the number of a generation");
    snprintf(target, sizeof(target), "/admin/generations/%lld/activate", (long long)number);
    return change(&args, str_from(target));
}
