/* SPDX-License-Identifier: MIT */

/* The bus' bookkeeping: policies and their positions, what is held, letters. A position is a high
 * mark and the holes below it, the holes as the differences of ascending numbers, so that thousands
 * of them cost a few bytes each. */

#include "store/log.h"

#include "store/sqlite/engine.h"

#include <assert.h>

static void add_varint(struct buf *out, uint64_t n)
{
    for (; n >= 0x80; n >>= 7)
        buf_addc(out, (char)(n | 0x80));
    buf_addc(out, (char)n);
}

/* False if the bytes end too soon. */
static bool take_varint(const unsigned char **p, const unsigned char *end, uint64_t *ret)
{
    uint64_t n = 0;
    for (int shift = 0; *p < end && shift < 64; shift += 7) {
        unsigned char byte = *(*p)++;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *ret = n;
            return true;
        }
    }
    return false;
}

int sqlite_log_holes(struct str blob, struct arena *a, struct store_policy *ret, struct err *err)
{
    size_t cap = 0;
    int64_t hole = 0;
    uint64_t step;
    const unsigned char *p = (const unsigned char *)blob.p, *end = p + blob.n;
    for (size_t i = 0; i < blob.n; i++)
        cap += !(p[i] & 0x80); /* each number ends with one such byte */
    int64_t *holes = arena_alloc(a, (cap + 1) * sizeof(*holes));
    ret->hole_count = 0;
    while (p < end) {
        if (!take_varint(&p, end, &step))
            return err_set(err, ERR_IO, "store: the position of a policy cannot be read");
        hole += (int64_t)step;
        holes[ret->hole_count++] = hole;
    }
    ret->holes = holes;
    return 0;
}

/* 1 found, 0 there is none, -1 failed. */
static int find_policy(struct store *s, struct arena *a, struct str service, struct str name,
                       struct store_policy *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_POLICY_READ, err);
    if (!stmt)
        return -1;
    struct store_policy p = {.service = arena_str(a, service), .name = arena_str(a, name)};
    sqlite_stmts_bind_text(stmt, 1, service);
    sqlite_stmts_bind_text(stmt, 2, name);
    int found, rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        p.number = sqlite3_column_int64(stmt, 0);
        p.high = sqlite3_column_int64(stmt, 1);
        const char *blob = sqlite3_column_blob(stmt, 2);
        struct str holes = {blob ? blob : "", (size_t)sqlite3_column_bytes(stmt, 2)};
        found = sqlite_log_holes(holes, a, &p, err) < 0 ? -1 : 1;
    } else {
        found = rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "read a policy", err);
    }
    sqlite3_reset(stmt);
    if (found == 1)
        *ret = p;
    return found;
}

static void note_policy(struct store *s, const struct store_switch_policy *p, bool renamed)
{
    struct buf text = BUF_INIT;
    if (renamed)
        buf_addf(&text, "rename policy %.*s.%.*s to %.*s", STR_ARG(p->service),
                 STR_ARG(p->renamed_from), STR_ARG(p->name));
    else
        buf_addf(&text, "new policy %.*s.%.*s", STR_ARG(p->service), STR_ARG(p->name));
    sqlite_switch_note(s, &text);
}

/* 1 carried over, 0 there was none, -1 failed. */
static int rename_policy(struct store *s, const struct store_switch_policy *p, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_POLICY_RENAME, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, p->service);
    sqlite_stmts_bind_text(stmt, 2, p->renamed_from);
    sqlite_stmts_bind_text(stmt, 3, p->name);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "rename a policy", err);
    return sqlite3_changes(s->conn.db) > 0;
}

/* Carries renamed_from over, or makes a row that begins at the newest event, or at the first. */
static int make_policy(struct store *s, const struct store_switch_policy *p, bool *ret_made,
                       struct err *err)
{
    int renamed = p->renamed_from.n > 0 ? rename_policy(s, p, err) : 0;
    if (renamed < 0)
        return -1;
    note_policy(s, p, renamed);
    if (renamed)
        return 0;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_POLICY_NEW, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, p->service);
    sqlite_stmts_bind_text(stmt, 2, p->name);
    sqlite3_bind_int64(stmt, 3, p->from_first ? 0 : s->next_seq);
    int rc = sqlite_stmts_run(stmt);
    *ret_made = rc == SQLITE_DONE;
    return *ret_made ? 0 : sqlite_db_fail(&s->conn, rc, "write a policy", err);
}

static void copy_letter(sqlite3_stmt *stmt, struct arena *a, struct store_letter *ret)
{
    *ret = (struct store_letter){
        .id = sqlite3_column_int64(stmt, 0),
        .policy = sqlite3_column_int64(stmt, 1),
        .seq = sqlite3_column_int64(stmt, 2),
        .policy_service = sqlite_stmts_text(stmt, 3, a),
        .policy_name = sqlite_stmts_text(stmt, 4, a),
        .key = sqlite_stmts_text(stmt, 5, a),
        .type = sqlite_stmts_text(stmt, 6, a),
        .tries = sqlite3_column_int(stmt, 7),
        .error_code = sqlite_stmts_text(stmt, 8, a),
        .error = sqlite_stmts_text(stmt, 9, a),
        .origin = sqlite_stmts_text(stmt, 10, a),
        .time_ms = sqlite3_column_int64(stmt, 11),
        .generation = sqlite3_column_int64(stmt, 12),
    };
}

int sqlite_log_policy(struct store *s, struct arena *a, const struct store_switch_policy *policy,
                      struct store_policy *ret, bool *ret_made, struct err *err)
{
    int found = find_policy(s, a, policy->service, policy->name, ret, err);
    *ret_made = false;
    if (found != 0)
        return found < 0 ? -1 : 0;
    if (make_policy(s, policy, ret_made, err) < 0)
        return -1;
    found = find_policy(s, a, policy->service, policy->name, ret, err);
    if (found == 0)
        return err_set(err, ERR_INTERNAL, "store: policy %.*s is not there after it was made",
                       STR_ARG(policy->name));
    return found < 0 ? -1 : 0;
}

int store_log_policy(struct store *s, struct arena *a, const struct store_switch_policy *policy,
                     struct store_policy *ret, struct err *err)
{
    assert(!s->thread);
    bool made;
    return sqlite_log_policy(policy->in_memory ? s->memory : s, a, policy, ret, &made, err);
}

static int read_held(struct store_session *ss, struct sqlite_rows *rows, struct err *err)
{
    struct arena *a = rows->arena;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_HELD_READ, err);
    if (!stmt)
        return -1;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct store_held *h = sqlite_rows_add(rows);
        *h = (struct store_held){
            .policy = sqlite3_column_int64(stmt, 0),
            .seq = sqlite3_column_int64(stmt, 1),
            .tries = sqlite3_column_int(stmt, 2),
            .next_at_ms = sqlite3_column_int64(stmt, 3),
            .key = sqlite_stmts_text(stmt, 4, a),
        };
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&ss->conn, rc, "read what is held", err);
}

int store_log_held(struct store_session *ss, struct arena *a, struct store_held **ret,
                   size_t *ret_count, struct err *err)
{
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_held));
    if (read_held(ss, &rows, err) < 0)
        return -1;
    if (ss->memory && read_held(ss->memory, &rows, err) < 0) /* its policies' numbers are higher */
        return -1;
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}

int store_log_stopped(struct store_session *ss, struct arena *a, struct str **ret,
                      size_t *ret_count, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_STOPPED_READ, err);
    if (!stmt)
        return -1;
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct str));
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct str *name = sqlite_rows_add(&rows);
        *name = sqlite_stmts_text(stmt, 0, a);
    }
    sqlite3_reset(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&ss->conn, rc, "read what is stopped", err);
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}

static int read_letters(struct store_session *ss, struct str policy_name, int64_t before,
                        int64_t limit, struct sqlite_rows *rows, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_LETTERS_READ, err);
    if (!stmt)
        return -1;
    int rc;
    sqlite3_bind_int64(stmt, 1, before > 0 ? before : INT64_MAX);
    sqlite_stmts_bind_text(stmt, 2, policy_name);
    sqlite3_bind_int64(stmt, 3, limit > 0 ? limit : -1);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        copy_letter(stmt, rows->arena, sqlite_rows_add(rows));
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&ss->conn, rc, "read letters", err);
}

/* The events of its letters are in the log, which the memory file has not. */
static int add_type(struct store_session *ss, struct arena *a, struct store_letter *l,
                    struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_EVENT_TYPE, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, l->seq);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        l->type = sqlite_stmts_text(stmt, 0, a);
    sqlite3_reset(stmt);
    bool done = rc == SQLITE_ROW || rc == SQLITE_DONE;
    return done ? 0 : sqlite_db_fail(&ss->conn, rc, "read a letter's event", err);
}

int store_log_letters(struct store_session *ss, struct arena *a, struct str policy_name,
                      int64_t before, int64_t limit, struct store_letter **ret, size_t *ret_count,
                      struct err *err)
{
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_letter));
    if (ss->memory && read_letters(ss->memory, policy_name, before, limit, &rows, err) < 0)
        return -1;
    for (size_t i = 0; i < rows.count; i++)
        if (add_type(ss, a, (struct store_letter *)rows.items + i, err) < 0)
            return -1;
    int64_t left = limit > 0 ? limit - (int64_t)rows.count : 0;
    if ((limit <= 0 || left > 0) && read_letters(ss, policy_name, before, left, &rows, err) < 0)
        return -1;
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}

int store_log_letter(struct store_session *ss, struct arena *a, int64_t id,
                     struct store_letter *ret, struct err *err)
{
    struct store_session *of = sqlite_memory_of_letter(ss, id);
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&of->conn, SQL_LETTER_READ, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, id);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        copy_letter(stmt, a, ret);
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlite_db_fail(&of->conn, rc, "read a letter", err);
    if (rc == SQLITE_ROW && of != ss && add_type(ss, a, ret, err) < 0)
        return -1;
    return rc == SQLITE_ROW;
}

int store_tx_position(struct store_tx *tx, int64_t policy, int64_t high, const int64_t *holes,
                      size_t hole_count, struct err *err)
{
    struct store *s = tx->store;
    int64_t before = 0;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_POSITION, err);
    if (!stmt)
        return -1;
    buf_clear(&s->scratch);
    for (size_t i = 0; i < hole_count; i++) {
        assert(holes[i] > before);
        add_varint(&s->scratch, (uint64_t)(holes[i] - before));
        before = holes[i];
    }
    sqlite3_bind_int64(stmt, 1, policy);
    sqlite3_bind_int64(stmt, 2, high);
    struct str blob = buf_str(&s->scratch);
    sqlite3_bind_blob64(stmt, 3, blob.p, blob.n, SQLITE_STATIC);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "write a position", err);
    if (sqlite3_changes(s->conn.db) == 0)
        return err_set(err, ERR_INTERNAL, "store: there is no policy %lld", (long long)policy);
    return 0;
}

static int count_by_policy(struct store_session *ss, enum sqlite_stmt_kind kind,
                           struct sqlite_rows *rows, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, kind, err);
    if (!stmt)
        return -1;
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct store_letter_count *c = sqlite_rows_add(rows);
        *c = (struct store_letter_count){sqlite_stmts_text(stmt, 0, rows->arena),
                                         sqlite_stmts_text(stmt, 1, rows->arena),
                                         sqlite3_column_int64(stmt, 2)};
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&ss->conn, rc, "count by policy", err);
}

int store_log_letter_counts(struct store_session *ss, struct arena *a,
                            struct store_letter_count **ret, size_t *ret_count, struct err *err)
{
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_letter_count));
    if (count_by_policy(ss, SQL_LETTER_COUNTS, &rows, err) < 0 ||
        (ss->memory && count_by_policy(ss->memory, SQL_LETTER_COUNTS, &rows, err) < 0))
        return -1;
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}

int store_log_held_counts(struct store_session *ss, struct arena *a,
                          struct store_letter_count **ret, size_t *ret_count, struct err *err)
{
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_letter_count));
    if (count_by_policy(ss, SQL_HELD_COUNTS, &rows, err) < 0)
        return -1;
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}
