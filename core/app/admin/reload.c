/* SPDX-License-Identifier: MIT */
/* Changing the scripts from outside. A reload takes many turns, and ends whether or not the client
 * that asked for it is still there. */
#include "app/reload.h"

#include "app/admin/inside.h"
#include "base/log.h"

struct admin_reload {
    struct admin_call *call;
    bool dry_run;
    bool closed; /* the admin side went first */
};

/* A message of the loader: "scripts/a/b.lua:12: text". Without a position all is text. */
struct position {
    struct str file; /* or empty */
    int64_t line;    /* or 0 */
    struct str text;
};

static struct position split(struct str message)
{
    struct position all = {.text = message}, p = {.text = message};
    const char *end = message.n > 0 ? memmem(message.p, message.n, ".lua:", 5) : NULL;
    if (!end || memchr(message.p, ' ', (size_t)(end - message.p)))
        return all;
    p.file = (struct str){message.p, (size_t)(end - message.p) + 4};
    p.text = (struct str){end + 5, message.n - p.file.n - 1};
    const char *colon = p.text.n > 0 ? memchr(p.text.p, ':', p.text.n) : NULL;
    struct str line = {p.text.p, colon ? (size_t)(colon - p.text.p) : 0};
    if (str_to_int(line, &p.line) && p.line > 0)
        p.text = (struct str){colon + 1, p.text.n - line.n - 1};
    else
        p.line = 0;
    if (p.text.n < 2 || p.text.p[0] != ' ')
        return all;
    p.text = (struct str){p.text.p + 1, p.text.n - 1};
    return p;
}

static void answer_wrong_tree(struct admin_call *c, const struct err *err)
{
    struct buf extra = BUF_INIT;
    struct position p = split(str_from(err->message));
    buf_lit(&extra, "\"errors\":[{");
    if (p.file.n > 0)
        admin_write_text(&extra, "file", p.file);
    else
        buf_lit(&extra, "\"file\":null");
    if (p.line > 0)
        admin_write_int(&extra, "line", p.line);
    else
        buf_lit(&extra, ",\"line\":null");
    admin_write_text(&extra, "message", p.text);
    buf_lit(&extra, "}]");
    admin_problem_extra(c, 422, err, buf_str(&extra));
    buf_deinit(&extra);
}

static void write_list(struct buf *out, const char *name, struct str json)
{
    admin_write_key(out, name);
    buf_adds(out, json.n > 0 ? json : STR("[]"));
}

static void answer_done(struct admin_reload *w, const struct reload_result *r)
{
    struct buf body = BUF_INIT;
    buf_addc(&body, '{');
    admin_write_int(&body, "generation", r->generation);
    admin_write_int(&body, "previous", r->previous);
    if (w->dry_run) {
        admin_write_key(&body, "dry_run");
        buf_lit(&body, "true");
    }
    write_list(&body, "files", r->files);
    write_list(&body, "changes", r->changes);
    admin_write_int(&body, "took_ms", r->took_ms);
    buf_addc(&body, '}');
    admin_answer_json(w->call, 200, &body);
}

static void on_done(void *ctx, const struct reload_result *r)
{
    struct admin_reload *w = ctx;
    struct admin_call *c = w->call;
    if (w->closed) {
        http_answer(c->x, 503, STR(""), NULL, 0, STR("")); /* there is no client any more */
        return;
    }
    c->admin->reload = NULL;
    if (r->status != 200)
        log_event(LOG_WARN, "reload refused", LOG_C("error", r->err.message),
                  LOG_S("correlationId", c->correlation_id));
    if (r->status == 200)
        answer_done(w, r);
    else if (r->status == 422)
        answer_wrong_tree(c, &r->err);
    else
        admin_problem_extra(c, r->status, &r->err, STR(""));
}

/* Not started: because the process is ending, or because another one runs. */
static void answer_refused(struct admin_call *c)
{
    const struct admin_conf *conf = &c->admin->conf;
    if (conf->ready && !conf->ready(conf->ctx))
        admin_problem(c, 503, ERR_STOPPED, "the process is ending");
    else
        admin_problem(c, 409, ERR_CONFLICT, "another reload is under way");
}

static void start(struct admin_call *c, enum reload_kind kind, int64_t number)
{
    struct admin *a = c->admin;
    struct admin_reload *w = arena_zalloc(c->arena, sizeof(*w));
    struct reload_request request = {.kind = kind, .number = number, .done = on_done, .ctx = w};
    w->call = c;
    w->dry_run = kind == RELOAD_DRY_RUN;
    if (a->reload) {
        answer_refused(c);
        return;
    }
    a->reload = w; /* before it starts: it may be over before reload_start returns */
    if (reload_start(a->conf.reloader, &request))
        return;
    a->reload = NULL;
    answer_refused(c);
}

static bool can_reload(struct admin_call *c)
{
    if (c->admin->conf.reloader)
        return true;
    admin_problem(c, 404, ERR_NOT_FOUND, "scripts cannot be changed here while they run");
    return false;
}

void admin_reload_start(struct admin_call *c)
{
    bool dry_run = false;
    if (can_reload(c) && admin_query_flag(c, "dry_run", &dry_run))
        start(c, dry_run ? RELOAD_DRY_RUN : RELOAD_TREE, 0);
}

void admin_reload_activate(struct admin_call *c)
{
    struct str text = c->match.params[0];
    int64_t number;
    if (!can_reload(c))
        return;
    if (str_to_int(text, &number) && number > 0)
        start(c, RELOAD_ACTIVATE, number);
    else
        admin_problem(c, 404, ERR_NOT_FOUND, "no generation %.*s", STR_ARG(text));
}

void admin_reload_list(struct admin_call *c)
{
    struct store_generation *list;
    size_t count;
    struct err err;
    if (!can_reload(c))
        return;
    if (store_log_generations(c->admin->conf.session, c->arena, &list, &count, &err)) {
        admin_problem_err(c, &err);
        return;
    }
    struct buf body = BUF_INIT;
    buf_lit(&body, "{\"generations\":[");
    for (size_t i = 0; i < count; i++) {
        admin_write_item(&body);
        buf_addc(&body, '{');
        admin_write_int(&body, "number", list[i].number);
        admin_write_time(&body, "time", list[i].time_ms);
        admin_write_text(&body, "origin", list[i].origin);
        admin_write_key(&body, "active");
        buf_adds(&body, list[i].active ? STR("true") : STR("false"));
        buf_addc(&body, '}');
    }
    buf_lit(&body, "]}");
    admin_answer_json(c, 200, &body);
}

void admin_reload_close(struct admin *a)
{
    if (a->reload)
        a->reload->closed = true;
    a->reload = NULL;
}
