/* SPDX-License-Identifier: MIT */
/* A backup, read from the data folder itself: it works whether a server runs or not. */
#include "app/commands/inside.h"
#include "base/json.h"
#include "store/inspect.h"

#include <stdio.h>
#include <sys/stat.h>

static void print(const struct commands_args *args, const char *path)
{
    struct stat st;
    long long bytes = stat(path, &st) == 0 ? (long long)st.st_size : 0;
    struct buf out = BUF_INIT;
    if (args->json) {
        buf_lit(&out, "{\"file\":");
        json_text(&out, str_from(path));
        buf_addf(&out, ",\"bytes\":%lld}", bytes);
    } else {
        buf_addf(&out, "%s: %lld bytes, whole and on disk", path, bytes);
    }
    puts(buf_str(&out).p);
    buf_deinit(&out);
}

static int back_up(const struct commands_args *args, struct arena *a)
{
    struct config config;
    struct err err;
    const char *path = arena_str(a, args->words[0]).p;
    int code = commands_args_folder(args, 1, a, &config);
    if (code == EXIT_OK && store_backup(arena_str(a, config.data).p, path, &err) != 0)
        code = commands_fail(EXIT_FAILED, "nothing was backed up: %s", err.message);
    else if (code == EXIT_OK)
        print(args, path);
    config_deinit(&config);
    return code;
}

int commands_backup(int argc, char **argv)
{
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "");
    if (code != EXIT_OK)
        return code;
    if (args.word_count == 0)
        return commands_fail(EXIT_USAGE, "backup needs the file to write: moontide backup FILE");
    if (args.word_count > 2)
        return commands_fail(EXIT_USAGE, "too many words at \"%.*s\"", STR_ARG(args.words[2]));
    struct arena *a = arena_new(0);
    code = back_up(&args, a);
    arena_free(a);
    return code;
}
