/* SPDX-License-Identifier: MIT */

/* Events whose type has a retention go when they are older than that and nobody needs them any
 * more. A look takes one portion of the log, beside other units; looks go on from each other until
 * they meet an event that is too young for any retention, and begin again at the first one that had
 * to stay: so nobody reads the log as a whole, and no index costs each event. */

#include "store/sqlite/engine.h"

#include <stdlib.h>

#define PORTION 1024  /* events looked at in one transaction */
#define LOOK_MS 10    /* pause after a look that removed nothing */
#define BEGIN_MS 1000 /* pause before it begins again */
#define REMOVING_NS                                                                                \
    (5 * NS_PER_MS) /* events may be large: what is left goes with the next units                  \
                     */
#define NO_LIMIT INT64_MAX

struct candidate {
    int64_t seq;
    size_t type; /* index of its retention */
};

struct look {
    struct store *s;
    struct arena *arena;
    int64_t now_ms, young_ms; /* what is newer than that has its time with every type */
    int64_t next, left;       /* where the next one goes on; the first event that stays, or 0 */
    struct candidate *items;
    size_t count;
    bool end;
};

static int fail_read(struct store *s, int rc, struct err *err)
{
    return sqlite_db_fail(&s->conn, rc, "look for old events", err);
}

static bool is_text(sqlite3_stmt *stmt, int column, struct str wanted)
{
    const char *p = (const char *)sqlite3_column_text(stmt, column);
    return p && str_eq(wanted, (struct str){p, (size_t)sqlite3_column_bytes(stmt, column)});
}

/* The retention of a row of SQL_EVENTS_OLD; retention_count: it has none. */
static size_t find_type(const struct store *s, sqlite3_stmt *stmt)
{
    size_t i = 0;
    while (i < s->retention_count &&
           !(is_text(stmt, 1, s->retentions[i].type) && is_text(stmt, 2, s->retentions[i].service)))
        i++;
    return i;
}

static void leave(struct look *l, int64_t seq)
{
    if (l->left == 0 || seq < l->left)
        l->left = seq;
}

static void take_row(struct look *l, sqlite3_stmt *stmt)
{
    size_t type = find_type(l->s, stmt);
    int64_t seq = sqlite3_column_int64(stmt, 0), time_ms = sqlite3_column_int64(stmt, 3);
    l->next = seq + 1;
    if (type == l->s->retention_count)
        return;
    if (time_ms > l->now_ms - l->s->retentions[type].ms)
        leave(l, seq);
    else
        l->items[l->count++] = (struct candidate){seq, type};
}

/* Those that follow are not older; unless it was written while the clock was ahead. */
static bool is_young(const struct look *l, int64_t time_ms)
{
    return time_ms > l->young_ms && time_ms <= l->now_ms;
}

static int scan(struct look *l, struct err *err)
{
    int rc = SQLITE_DONE;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&l->s->conn, SQL_EVENTS_OLD, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, l->next);
    for (int i = 0; i < PORTION && !l->end; i++) {
        rc = sqlite3_step(stmt);
        l->end = rc != SQLITE_ROW || is_young(l, sqlite3_column_int64(stmt, 3));
        if (!l->end)
            take_row(l, stmt);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : fail_read(l->s, rc, err);
}

/* The newest event that all policies of the type are past, but for their holes. */
static int read_low(struct look *l, struct str type, int64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&l->s->conn, SQL_LOW, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, type);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        *ret =
            sqlite3_column_type(stmt, 0) == SQLITE_NULL ? NO_LIMIT : sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? 0 : fail_read(l->s, rc, err);
}

static int read_holes(struct look *l, struct sqlite_rows *ret, struct err *err)
{
    int rc;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&l->s->conn, SQL_HOLES_READ, err);
    if (!stmt)
        return -1;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct store_policy p;
        const char *blob = sqlite3_column_blob(stmt, 0);
        struct str holes = {blob, (size_t)sqlite3_column_bytes(stmt, 0)};
        if (sqlite_log_holes(holes, l->arena, &p, err) < 0)
            break;
        for (size_t i = 0; i < p.hole_count; i++)
            *(int64_t *)sqlite_rows_add(ret) = p.holes[i];
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? -1 : rc == SQLITE_DONE ? 0 : fail_read(l->s, rc, err);
}

/* Appends the events of letters, which can be tried again, and those that are held. */
static int read_handled(struct look *l, struct sqlite_rows *ret, struct err *err)
{
    int rc;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&l->s->conn, SQL_HANDLED_READ, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, l->items[0].seq);
    sqlite3_bind_int64(stmt, 2, l->items[l->count - 1].seq);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        *(int64_t *)sqlite_rows_add(ret) = sqlite3_column_int64(stmt, 0);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : fail_read(l->s, rc, err);
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static int remove_event(struct store *s, int64_t seq, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_EVENT_GONE, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, seq);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "remove old events", err);
}

/* What the candidates are held against. */
struct needs {
    int64_t *low;            /* by type */
    struct sqlite_rows seqs; /* ascending */
};

static int read_needs(struct look *l, struct needs *ret, struct err *err)
{
    const struct store *s = l->s;
    ret->seqs = sqlite_rows_of(l->arena, sizeof(int64_t));
    ret->low = arena_alloc(l->arena, s->retention_count * sizeof(*ret->low));
    for (size_t i = 0; i < s->retention_count; i++)
        if (read_low(l, s->retentions[i].type, &ret->low[i], err) < 0)
            return -1;
    if (read_holes(l, &ret->seqs, err) < 0 || read_handled(l, &ret->seqs, err) < 0)
        return -1;
    if (ret->seqs.count > 1)
        qsort(ret->seqs.items, ret->seqs.count, sizeof(int64_t), ascending);
    return 0;
}

static bool is_needed(const struct needs *needs, const struct candidate *c)
{
    const struct sqlite_rows *seqs = &needs->seqs;
    return c->seq > needs->low[c->type] ||
           (seqs->count > 0 &&
            bsearch(&c->seq, seqs->items, seqs->count, sizeof(int64_t), ascending));
}

/* Removes those that nobody needs; l->count is how many these were. */
static int remove_all(struct look *l, struct err *err)
{
    size_t removed = 0;
    struct needs needs;
    const struct clock *clock = l->s->clock;
    if (read_needs(l, &needs, err) < 0)
        return -1;
    int64_t until_ns = clock_mono_ns(clock) + REMOVING_NS;
    for (size_t i = 0; i < l->count; i++) {
        const struct candidate *c = &l->items[i];
        if (removed > 0 && clock_mono_ns(clock) > until_ns) {
            l->next = c->seq;
            l->end = false;
            break;
        }
        if (is_needed(&needs, c)) {
            leave(l, c->seq);
            continue;
        }
        if (remove_event(l->s, c->seq, err) < 0)
            return -1;
        removed++;
    }
    l->count = removed;
    return 0;
}

static int64_t shortest(const struct store *s)
{
    int64_t ms = s->retentions[0].ms;
    for (size_t i = 1; i < s->retention_count; i++)
        if (s->retentions[i].ms < ms)
            ms = s->retentions[i].ms;
    return ms;
}

/* What the next look goes by. */
static void settle(const struct look *l)
{
    struct store *s = l->s;
    int64_t pause_ms = l->count > 0 ? 0 : LOOK_MS;
    if (l->end)
        pause_ms = BEGIN_MS;
    s->looks = (struct sqlite_looks){.next = l->end && l->left > 0 ? l->left : l->next,
                                     .left = l->end ? 0 : l->left,
                                     .looked_ms = l->now_ms,
                                     .pause_ms = pause_ms};
}

int sqlite_retention_tidy(struct store *s, struct err *err)
{
    if (s->retention_count == 0)
        return 0;
    int64_t now_ms = clock_wall_ms(s->clock), passed_ms = now_ms - s->looks.looked_ms;
    if (passed_ms >= 0 && passed_ms < s->looks.pause_ms) /* clocks are also set back */
        return 0;
    struct look l = {.s = s,
                     .arena = arena_new(0),
                     .now_ms = now_ms,
                     .young_ms = now_ms - shortest(s),
                     .next = s->looks.next,
                     .left = s->looks.left};
    l.items = arena_alloc(l.arena, PORTION * sizeof(*l.items));
    int failed = scan(&l, err) < 0 || (l.count > 0 && remove_all(&l, err) < 0);
    if (!failed)
        settle(&l);
    arena_free(l.arena);
    return failed ? -1 : 0;
}

void sqlite_retention_forget(struct store *s)
{
    if (s->retention_arena)
        arena_free(s->retention_arena);
    s->retention_arena = NULL;
    s->retention_count = 0;
}

void sqlite_retention_adopt(struct store *s, const struct store_schema *schema)
{
    sqlite_retention_forget(s);
    s->looks = (struct sqlite_looks){0}; /* at once, from the first event on */
    if (s->in_memory)                    /* the log is in the other file */
        return;
    struct arena *a = s->retention_arena = arena_new(0);
    s->retentions = arena_alloc(a, ((size_t)schema->event_count + 1) * sizeof(*s->retentions));
    for (int i = 0; i < schema->event_count; i++) {
        const struct event_type *t = schema->events[i];
        if (t->retention_ms > 0)
            s->retentions[s->retention_count++] = (struct sqlite_retention){
                arena_str(a, t->service), arena_str(a, t->name), t->retention_ms};
    }
}
