/* SPDX-License-Identifier: MIT */
/* Reloads that nobody waits for: SIGHUP and --watch. What is wrong is shown as a compiler would, on
 * stderr, and logged. */
#include "app/app.h"
#include "base/file.h"

#include <stdio.h>

#define QUIET_MS 50

static void reload_told(void *ctx, const struct reload_result *r);

void app_reload(struct app *a)
{
    struct reload_request request = {.kind = RELOAD_TREE, .done = reload_told, .ctx = a};
    a->reload_again = !reload_start(a->reloader, &request) && !a->stopping;
}

/* "scripts/x.lua:12: text": the file as it is found from here, the line. False if there is none. */
static bool split_place(const struct app *a, struct str message, struct buf *ret_path,
                        int64_t *ret_line)
{
    const char *lua = memmem(message.p, message.n, ".lua:", 5);
    if (lua == NULL || !str_starts(message, STR("scripts/")))
        return false;
    struct str path = {message.p + 8, (size_t)(lua - message.p) - 4};
    struct str line = {lua + 5, 0};
    while (line.p[line.n] >= '0' && line.p[line.n] <= '9')
        line.n++;
    buf_adds(ret_path, a->config->scripts);
    buf_addc(ret_path, '/');
    buf_adds(ret_path, path);
    return str_to_int(line, ret_line) && buf_str(ret_path).n > 0;
}

static struct str line_of(struct str text, int64_t number)
{
    size_t at = 0;
    for (int64_t n = 1; n < number && at < text.n; at++)
        n += text.p[at] == '\n';
    size_t end = at;
    while (end < text.n && text.p[end] != '\n')
        end++;
    return (struct str){text.p + at, end - at};
}

/* Where the caret goes: what the message calls "near", else the first character. */
static size_t caret_column(struct str line, struct str message)
{
    const char *near = memmem(message.p, message.n, "near '", 6);
    if (near != NULL) {
        struct str word = {near + 6, message.n - (size_t)(near + 6 - message.p)};
        while (word.n > 0 && word.p[word.n - 1] != '\'')
            word.n--;
        const char *found = word.n > 1 ? memmem(line.p, line.n, word.p, word.n - 1) : NULL;
        if (found != NULL)
            return (size_t)(found - line.p);
    }
    size_t at = 0;
    while (at < line.n && (line.p[at] == ' ' || line.p[at] == '\t'))
        at++;
    return at;
}

static void show_line(struct buf *out, const struct app *a, struct str message)
{
    struct buf path = BUF_INIT, text = BUF_INIT;
    struct err err;
    int64_t number;
    if (split_place(a, message, &path, &number) && file_read(path.p, 1 << 20, &text, &err) == 0) {
        struct str line = line_of(buf_str(&text), number);
        size_t column = caret_column(line, message);
        buf_addf(out, "  %.*s\n  ", STR_ARG(line));
        for (size_t i = 0; i < column; i++)
            buf_addc(out, line.p[i] == '\t' ? '\t' : ' ');
        buf_lit(out, "^\n");
    }
    buf_deinit(&path);
    buf_deinit(&text);
}

static void reload_told(void *ctx, const struct reload_result *r)
{
    struct app *a = ctx;
    if (r->status != 200) {
        struct buf out = BUF_INIT;
        buf_addf(&out, "%s\n", r->err.message);
        show_line(&out, a, str_from(r->err.message));
        log_event(LOG_ERROR, "reload failed, nothing changed", LOG_C("error", r->err.message));
        fprintf(stderr, "%s", buf_str(&out).p);
        buf_deinit(&out);
    }
    if (a->reload_again)
        app_reload(a);
}

static void saved(void *ctx)
{
    app_reload(ctx);
}

int app_watch(struct app *a, struct err *err)
{
    a->watch = watch_new(a->loop, arena_str(a->config->arena, a->config->scripts).p, QUIET_MS,
                         saved, a, err);
    return a->watch != NULL ? 0 : -1;
}
