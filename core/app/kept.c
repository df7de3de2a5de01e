/* SPDX-License-Identifier: MIT */
/* An operator who forces a breaker open means it, also over a restart; and a process that comes
 * back while its callee is down should not have to find that out again. Both are rare and small:
 * one file, written whole. */
#include "app/kept.h"

#include "base/file.h"
#include "base/log.h"

#include <stdlib.h>
#include <unistd.h>

#define FILE_BYTES ((size_t)4 << 20)
#define FILE_DEPTH 8
#define TRIALS_MAX 64 /* breaker.c counts no further */

struct kept {
    struct buf path, written; /* written: what the file holds */
    struct loop *loop;
    struct registry *breakers;
    struct loop_defer save;
};

/* ---- saving ---- */

static void write_settings(struct buf *out, const struct breaker_layer *l)
{
    buf_lit(out, "\"set\":{");
    breaker_conf_write(&l->conf, l->set, out);
    buf_addc(out, '}');
}

static void write_breaker(const struct kept *k, struct registry_entry *e, struct buf *out)
{
    int64_t now_ns = loop_now_ns(k->loop), wall_ms = clock_wall_ms(loop_clock(k->loop));
    struct breaker_layer set = registry_admin_layer(k->breakers, e);
    struct breaker_view v;
    registry_view(e, now_ns, &v);
    if (!v.conf.keep || (set.set == 0 && v.state == BREAKER_CLOSED))
        return;
    buf_lit(out, ",{\"name\":");
    json_text(out, registry_name(e));
    buf_addc(out, ',');
    write_settings(out, &set);
    if (v.state != BREAKER_CLOSED)
        buf_addf(out, ",\"open_until\":%lld,\"failed_trials\":%d",
                 (long long)(wall_ms + v.retry_ns / NS_PER_MS), v.failed_trials);
    buf_addc(out, '}');
}

/* Nothing if there is nothing to keep. The first entry is of no breaker: what is set for all. */
static void write_all(const struct kept *k, struct buf *out)
{
    struct breaker_layer all = registry_admin_layer(k->breakers, NULL);
    if (!registry_default(k->breakers).keep)
        all.set = 0;
    buf_lit(out, "[{");
    write_settings(out, &all);
    buf_addc(out, '}');
    size_t empty = out->n;
    for (struct registry_entry *e = NULL; (e = registry_next(k->breakers, e));)
        write_breaker(k, e, out);
    if (out->n == empty && all.set == 0)
        buf_clear(out);
    else
        buf_lit(out, "]\n");
}

int kept_save(struct kept *k, struct err *err)
{
    struct buf text = BUF_INIT;
    int failed = 0;
    loop_defer_cancel(k->loop, &k->save);
    loop_refresh(k->loop);
    write_all(k, &text);
    if (!str_eq(buf_str(&text), buf_str(&k->written))) {
        if (text.n == 0)
            unlink(buf_str(&k->path).p);
        else
            failed = file_write(buf_str(&k->path).p, buf_str(&text), 0600, err);
        buf_clear(&k->written);
        if (!failed)
            buf_adds(&k->written, buf_str(&text));
    }
    buf_deinit(&text);
    return failed;
}

static void save_now(struct loop_defer *d)
{
    struct err err;
    if (kept_save(list_entry(d, struct kept, save), &err) != 0)
        log_event(LOG_ERROR, "breakers not kept", LOG_C("error", err.message));
}

void kept_save_soon(struct kept *k)
{
    loop_defer(k->loop, &k->save);
}

/* ---- restoring ---- */

static int read_settings(const struct json *entry, struct breaker_layer *ret, struct err *err)
{
    const struct json *set = json_find(entry, STR("set"));
    *ret = (struct breaker_layer){0};
    for (size_t i = 0; set != NULL && set->type == JSON_OBJECT && i < set->count; i++)
        if (breaker_layer_set(ret, set->names[i], &set->items[i], err) != 0)
            return -1;
    return 0;
}

static int64_t number_of(const struct json *entry, struct str name)
{
    const struct json *value = json_find(entry, name);
    return value != NULL && value->type == JSON_INT ? value->i : 0;
}

static void restore_open(const struct kept *k, struct registry_entry *e, const struct json *entry)
{
    int64_t now_ns = loop_now_ns(k->loop), wall_ms = clock_wall_ms(loop_clock(k->loop));
    int64_t left_ms = number_of(entry, STR("open_until")) - wall_ms;
    if (json_find(entry, STR("open_until")) == NULL)
        return;
    left_ms = left_ms < 0 ? 0 : left_ms > INT32_MAX ? INT32_MAX : left_ms;
    int64_t trials = number_of(entry, STR("failed_trials"));
    bool sane = trials >= 0 && trials <= TRIALS_MAX;
    registry_restore_open(e, left_ms * NS_PER_MS, sane ? (int)trials : 0, now_ns);
}

/* Its files may say by now that it keeps nothing. */
static int restore(const struct kept *k, const struct json *entry, struct err *err)
{
    static const struct breaker_layer none;
    const struct json *name = json_find(entry, STR("name"));
    bool named = name != NULL && name->type == JSON_TEXT;
    struct registry_entry *e = named ? registry_find(k->breakers, name->s) : NULL;
    int64_t now_ns = loop_now_ns(k->loop);
    struct breaker_layer set;
    struct breaker_view v;
    if (named && e == NULL)
        return 0;
    if (read_settings(entry, &set, err) != 0 ||
        registry_admin(k->breakers, e, &set, 0, now_ns, err) != 0)
        return -1;
    if (e == NULL)
        return registry_default(k->breakers).keep
                   ? 0
                   : registry_admin(k->breakers, NULL, &none, set.set, now_ns, err);
    registry_view(e, now_ns, &v);
    if (!v.conf.keep)
        return registry_admin(k->breakers, e, &none, set.set, now_ns, err);
    restore_open(k, e, entry);
    return 0;
}

static int restore_all(struct kept *k, struct arena *a, struct err *err)
{
    struct json list;
    if (json_parse(a, buf_str(&k->written), FILE_DEPTH, &list, err) != 0)
        return -1;
    if (list.type != JSON_LIST)
        return err_set(err, ERR_INVALID, "expected a list");
    for (size_t i = 0; i < list.count; i++)
        if (restore(k, &list.items[i], err) != 0)
            return -1;
    return 0;
}

struct kept *kept_new(struct str data, struct loop *loop, struct registry *breakers)
{
    struct kept *k = xcalloc(1, sizeof(*k));
    struct arena *a = arena_new(0);
    struct err err;
    k->loop = loop;
    k->breakers = breakers;
    k->save.fn = save_now;
    buf_adds(&k->path, data);
    buf_lit(&k->path, "/breakers.json");
    int failed = file_read(buf_str(&k->path).p, FILE_BYTES, &k->written, &err);
    if (!failed)
        failed = restore_all(k, a, &err);
    else if (err.code == ERR_NOT_FOUND)
        failed = 0;
    if (failed)
        log_event(LOG_ERROR, "what breakers had kept is not restored",
                  LOG_S("file", buf_str(&k->path)), LOG_C("error", err.message));
    arena_free(a);
    return k;
}

void kept_free(struct kept *k)
{
    if (k == NULL)
        return;
    if (k->save.queued)
        save_now(&k->save);
    buf_deinit(&k->path);
    buf_deinit(&k->written);
    free(k);
}
