/* SPDX-License-Identifier: MIT */

/* Events and timers come back as what their declaration of today says: the payload's JSON becomes
 * values, field by field; one that fits its field no longer reads as null, because a log cannot be
 * corrected. */

#include "store/sqlite/engine.h"

#define PAYLOAD_DEPTH 64

/* A scan of the log under way. */
struct scan {
    struct sqlite_conn *conn;
    sqlite3_stmt *stmt;
    const struct store_schema *schema;
    const struct store_log_query *query;
};

/* An empty wish fits everything. */
static bool column_is(sqlite3_stmt *stmt, int column, struct str wanted)
{
    if (wanted.n == 0)
        return true;
    const char *p = (const char *)sqlite3_column_text(stmt, column);
    return p && str_eq(wanted, (struct str){p, (size_t)sqlite3_column_bytes(stmt, column)});
}

static const struct event_type *find_type(const struct store_schema *schema, struct str service,
                                          struct str name)
{
    const struct event_type *t = schema ? store_schema_event(schema, name) : NULL;
    return t && str_eq(t->service, service) ? t : NULL;
}

/* A payload that is no JSON object at all is damage, not history. */
static int decode(struct arena *a, struct store_event *e, struct err *err)
{
    if (store_event_decode(e->type, e->payload, a, &e->values, err) < 0)
        return err_wrap(err, "event %lld", (long long)e->seq);
    return 0;
}

/* Columns of SQL_EVENTS_READ. */
static int copy_logged(sqlite3_stmt *stmt, struct arena *a, const struct store_schema *schema,
                       struct store_logged *ret, struct err *err)
{
    struct store_event *e = &ret->event;
    *ret = (struct store_logged){.type_name = sqlite_stmts_text(stmt, 1, a),
                                 .service = sqlite_stmts_text(stmt, 2, a)};
    e->seq = sqlite3_column_int64(stmt, 0);
    e->key = sqlite_stmts_text(stmt, 3, a);
    e->time_ms = sqlite3_column_int64(stmt, 4);
    e->correlation_id = sqlite_stmts_text(stmt, 5, a);
    e->cause_seq = sqlite3_column_int64(stmt, 6);
    e->generation = sqlite3_column_int64(stmt, 7);
    e->payload = sqlite_stmts_text(stmt, 8, a);
    e->type = find_type(schema, ret->service, ret->type_name);
    return e->type ? decode(a, e, err) : 0;
}

/* Columns of SQL_TIMERS_READ. One that is damaged says so, and stops no other. */
static void copy_timer(sqlite3_stmt *stmt, struct arena *a, const struct store_schema *schema,
                       struct store_timer *ret)
{
    struct err err;
    struct store_event *e = &ret->event;
    *ret = (struct store_timer){.id = sqlite3_column_int64(stmt, 0),
                                .due_ms = sqlite3_column_int64(stmt, 1)};
    struct str name = sqlite_stmts_text(stmt, 2, a), service = sqlite_stmts_text(stmt, 3, a);
    e->key = sqlite_stmts_text(stmt, 4, a);
    e->payload = sqlite_stmts_text(stmt, 5, a);
    e->correlation_id = sqlite_stmts_text(stmt, 6, a);
    e->cause_seq = sqlite3_column_int64(stmt, 7);
    e->generation = sqlite3_column_int64(stmt, 8);
    e->type = find_type(schema, service, name);
    if (e->type && store_event_decode(e->type, e->payload, a, &e->values, &err) < 0)
        ret->damage = arena_str(a, str_from(err.message));
}

static bool wants(const struct scan *scan)
{
    const struct store_log_query *q = scan->query;
    return column_is(scan->stmt, 1, q->type) && column_is(scan->stmt, 2, q->service) &&
           column_is(scan->stmt, 3, q->key);
}

static int read_events(const struct scan *scan, struct sqlite_rows *rows, int64_t *ret_next,
                       struct err *err)
{
    int rc = SQLITE_DONE;
    int64_t scanned = 0;
    const struct store_log_query *q = scan->query;
    while ((q->limit <= 0 || rows->count < (size_t)q->limit) &&
           (q->scan_limit <= 0 || scanned < q->scan_limit) &&
           (rc = sqlite3_step(scan->stmt)) == SQLITE_ROW) {
        scanned++;
        *ret_next = sqlite3_column_int64(scan->stmt, 0) + 1;
        if (wants(scan) &&
            copy_logged(scan->stmt, rows->arena, scan->schema, sqlite_rows_add(rows), err) < 0)
            return -1;
    }
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return 0;
    return sqlite_db_fail(scan->conn, rc, "read events", err);
}

int store_event_decode(const struct event_type *t, struct str payload, struct arena *a,
                       struct value **ret, struct err *err)
{
    struct json doc;
    if (json_parse(a, payload, PAYLOAD_DEPTH, &doc, err) < 0)
        return -1;
    if (doc.type != JSON_OBJECT)
        return err_set(err, ERR_IO, "the payload is no object");
    struct value *values = arena_zalloc(a, (size_t)t->field_count * sizeof(*values) + 1);
    for (int i = 0; i < t->field_count; i++) {
        struct err ignored;
        const struct json *member = json_find(&doc, t->fields[i].name);
        if (!member || field_from_json(&t->fields[i], member, a, &values[i], &ignored) < 0)
            values[i] = VALUE_NONE;
    }
    *ret = values;
    return 0;
}

int store_log_read(struct store_session *ss, struct arena *a, const struct store_schema *schema,
                   const struct store_log_query *q, struct store_logged **ret, size_t *ret_count,
                   int64_t *ret_next, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_EVENTS_READ, err);
    if (!stmt)
        return -1;
    int64_t next = q->from;
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_logged));
    sqlite3_bind_int64(stmt, 1, q->from);
    struct scan scan = {&ss->conn, stmt, schema, q};
    int failed = read_events(&scan, &rows, &next, err);
    sqlite3_reset(stmt);
    if (failed)
        return -1;
    *ret = rows.items;
    *ret_count = rows.count;
    *ret_next = next;
    return 0;
}

int store_log_timers(struct store_session *ss, struct arena *a, const struct store_schema *schema,
                     int64_t now_ms, int64_t limit, struct store_timer **ret, size_t *ret_count,
                     int64_t *ret_next_due_ms, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_TIMERS_READ, err);
    if (!stmt)
        return -1;
    int rc = SQLITE_DONE;
    int64_t next_due_ms = INT64_MAX;
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_timer));
    sqlite3_bind_int64(stmt, 1, limit + 1); /* one more tells when the next is due */
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        int64_t due_ms = sqlite3_column_int64(stmt, 1);
        if (due_ms > now_ms || rows.count == (size_t)limit) {
            next_due_ms = due_ms;
            break;
        }
        copy_timer(stmt, a, schema, sqlite_rows_add(&rows));
    }
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlite_db_fail(&ss->conn, rc, "read timers", err);
    *ret = rows.items;
    *ret_count = rows.count;
    *ret_next_due_ms = next_due_ms;
    return 0;
}
