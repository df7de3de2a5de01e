/* SPDX-License-Identifier: MIT */

/* A new generation of declarations takes over in one transaction: tables, the policies' rows and
 * the number of the generation are there together or not at all, so that no crash leaves scripts
 * without their columns or a policy without its place in the log. */

#include "base/log.h"
#include "store/sqlite/engine.h"

#include <assert.h>

/* Serials tell table objects apart whose addresses may be the same one after the other, also in two
 * stores of one process: hence this static. */
static atomic_uint_fast64_t last_serial;

static void give_serials(const struct store *s, const struct store_schema *schema)
{
    for (int i = 0; i < schema->table_count; i++)
        if (schema->tables[i]->in_memory == s->in_memory && schema->tables[i]->serial == 0)
            schema->tables[i]->serial = atomic_fetch_add(&last_serial, 1) + 1;
}

static int run_int(struct store *s, enum sqlite_stmt_kind kind, int64_t n, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, kind, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, n);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "switch", err);
}

static int write_since(struct store *s, int64_t policy, struct str type, int64_t since,
                       struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_SINCE, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, policy);
    sqlite_stmts_bind_text(stmt, 2, type);
    sqlite3_bind_int64(stmt, 3, since);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "switch", err);
}

static int remove_since(struct store *s, int64_t policy, struct str type, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_SINCE_GONE, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, policy);
    sqlite_stmts_bind_text(stmt, 2, type);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "switch", err);
}

struct since {
    struct str type;
    int64_t since;
};

static int read_since(struct store *s, int64_t policy, struct sqlite_rows *rows, struct err *err)
{
    int rc;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_SINCE_READ, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, policy);
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        struct since *row = sqlite_rows_add(rows);
        row->type = sqlite_stmts_text(stmt, 0, rows->arena);
        row->since = sqlite3_column_int64(stmt, 1);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "switch", err);
}

static const struct since *find_since(const struct sqlite_rows *rows, struct str type)
{
    const struct since *items = rows->items;
    for (size_t i = 0; i < rows->count; i++)
        if (str_eq(items[i].type, type))
            return &items[i];
    return NULL;
}

static bool is_declared(const struct store_switch_policy *p, struct str type)
{
    for (int i = 0; i < p->type_count; i++)
        if (str_eq(p->types[i], type))
            return true;
    return false;
}

/* Since when the policy wants each of its types. A new policy, and a type that came later, begin at
 * the newest event (from_first: a new one at the first); one that was there before types were kept
 * has seen them from its own start. */
static int switch_types(struct store *s, struct arena *a, const struct store_switch_policy *p,
                        bool made, struct store_policy *ret, struct err *err)
{
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct since));
    if (read_since(s, ret->number, &rows, err) < 0)
        return -1;
    bool all = made ? p->from_first : rows.count == 0;
    int64_t start = all ? 0 : s->next_seq;
    ret->since = arena_zalloc(a, (size_t)p->type_count * sizeof(int64_t) + 1);
    for (int i = 0; i < p->type_count; i++) {
        const struct since *row = find_since(&rows, p->types[i]);
        ret->since[i] = row ? row->since : start;
        if (row)
            continue;
        if (write_since(s, ret->number, p->types[i], start, err) < 0)
            return -1;
        struct buf text = BUF_INIT;
        buf_addf(&text, "policy %.*s.%.*s takes %.*s", STR_ARG(p->service), STR_ARG(p->name),
                 STR_ARG(p->types[i]));
        sqlite_switch_note(s, &text);
    }
    const struct since *items = rows.items;
    for (size_t i = 0; i < rows.count; i++)
        if (!is_declared(p, items[i].type) && remove_since(s, ret->number, items[i].type, err) < 0)
            return -1;
    return 0;
}

static int switch_policies(struct store *s, const struct store_switch *sw,
                           struct store_switched *ret, struct err *err)
{
    size_t size = (size_t)sw->policy_count * sizeof(struct store_policy);
    ret->policies = arena_zalloc(sw->arena, size + 1);
    ret->policy_count = sw->policy_count;
    for (int i = 0; i < sw->policy_count; i++) {
        bool made;
        const struct store_switch_policy *p = &sw->policies[i];
        if (p->in_memory != s->in_memory)
            continue;
        if (sqlite_log_policy(s, sw->arena, p, &ret->policies[i], &made, err) < 0 ||
            switch_types(s, sw->arena, p, made, &ret->policies[i], err) < 0)
            return err_wrap(err, "policy %.*s", STR_ARG(p->name));
    }
    return 0;
}

static int new_generation(struct store *s, const struct store_switch *sw, int64_t *ret,
                          struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_GENERATION_NEW, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, clock_wall_ms(s->clock));
    sqlite_stmts_bind_text(stmt, 2, sw->origin);
    sqlite_stmts_bind_text(stmt, 3, sw->sources);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "switch", err);
    *ret = sqlite3_last_insert_rowid(s->conn.db);
    return 0;
}

static int old_generation(struct store *s, const struct store_switch *sw, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_GENERATION_AGAIN, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, sw->number);
    sqlite_stmts_bind_text(stmt, 2, sw->origin);
    int rc = sqlite_stmts_run(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "switch", err);
    if (sqlite3_changes(s->conn.db) == 0)
        return err_set(err, ERR_NOT_FOUND, "generation %lld is not kept", (long long)sw->number);
    return 0;
}

static int switch_generation(struct store *s, const struct store_switch *sw,
                             struct store_switched *ret, struct err *err)
{
    ret->generation = sw->number;
    if (s->in_memory) /* the other file counts them */
        return 0;
    int failed =
        sw->number > 0 ? old_generation(s, sw, err) : new_generation(s, sw, &ret->generation, err);
    if (failed || run_int(s, SQL_GENERATION_ACTIVE, ret->generation, err) < 0)
        return -1;
    return run_int(s, SQL_GENERATIONS_OLD, STORE_GENERATIONS_KEPT, err);
}

/* All but COMMIT. */
static int prepare(struct store *s, const struct store_switch *sw, struct store_switched *ret,
                   struct err *err)
{
    if (sqlite_stmts_do(&s->conn, SQL_BEGIN, err) < 0 || sqlite_migrate(s, sw->schema, err) < 0)
        return -1;
    if (ret)
        ret->seq = s->next_seq;
    if (ret && (switch_policies(s, sw, ret, err) < 0 || switch_generation(s, sw, ret, err) < 0))
        return -1;
    return sqlite_writer_mark(s, err);
}

static void undo(struct store *s, int64_t batch)
{
    struct err also = {0};
    sqlite_ids_drop(s, NULL);
    sqlite_stmts_clear(&s->conn);
    if (sqlite_db_rollback(&s->conn, &also) < 0)
        sqlite_db_disconnect(&s->conn); /* which rolls back; the next use opens it again */
    if (s->conn.db)
        s->batch = batch;
}

static void forget_ahead(struct store *s)
{
    struct err err;
    if (sqlite_indexes_forget(s, NULL, &err) < 0)
        log_event(LOG_WARN, "indexes of a switch that failed stay until the next start",
                  LOG_C("error", err.message));
}

static int run(struct store *s, const struct store_switch *sw, struct store_switched *ret,
               struct err *err)
{
    if (!s->conn.db && sqlite_db_reopen(s, err) < 0)
        return -1;
    int64_t batch = s->batch;
    bool unknown = false;
    sqlite_stmts_clear(&s->conn);
    int failed = prepare(s, sw, ret, err);
    if (failed || sw->dry_run || sqlite_writer_commit(s, &unknown, err) < 0) {
        bool wanted = !failed && sw->dry_run;
        undo(s, wanted || failed ? batch : s->batch);
        if (!sw->dry_run)
            forget_ahead(s);
        return wanted ? 0 : -1;
    }
    sqlite_indexes_keep(s);
    s->conn.epoch = atomic_fetch_add(&s->epoch, 1) + 1;
    give_serials(s, sw->schema);
    sqlite_retention_adopt(s, sw->schema);
    sqlite_ids_adopt(s, sw->schema);
    if (ret && s->hooks.switched)
        s->hooks.switched(s->hooks.ctx);
    return 0;
}

void sqlite_switch_note(struct store *s, struct buf *text)
{
    if (s->changes)
        *(struct str *)sqlite_rows_add(s->changes) = arena_str(s->changes->arena, buf_str(text));
    buf_deinit(text);
}

/* A switch and where its results go. */
struct call {
    const struct store_switch *sw;
    struct store_switched *ret;  /* NULL: the schema alone */
    struct sqlite_rows *missing; /* or NULL */
};

/* In the thread that owns the writer's connection. */
static int run_call(struct store *s, void *arg, struct err *err)
{
    const struct call *c = arg;
    struct store_switched found = {0};
    if (!c->ret)
        return run(s, c->sw, NULL, err);
    struct sqlite_rows changes = sqlite_rows_of(c->sw->arena, sizeof(struct str)),
                       missing = sqlite_rows_of(c->sw->arena, sizeof(struct sqlite_missing));
    s->changes = &changes;
    if (c->sw->dry_run)
        s->missing = c->missing ? c->missing : &missing;
    int failed = run(s, c->sw, &found, err);
    s->changes = s->missing = NULL;
    if (failed)
        return -1;
    found.changes = changes.items;
    found.change_count = changes.count;
    *c->ret = found;
    return 0;
}

int sqlite_switch_list(struct store *s, const struct store_switch *sw, struct store_switched *ret,
                       struct sqlite_rows *missing, struct err *err)
{
    struct call call = {sw, ret, missing};
    return sqlite_writer_do(s, run_call, &call, err);
}

/* What became of the memory file belongs to the whole. */
static void join(const struct store_switch *sw, const struct store_switched *memory,
                 struct store_switched *ret)
{
    size_t own = ret->change_count, count = own + memory->change_count;
    for (int i = 0; i < sw->policy_count; i++)
        if (sw->policies[i].in_memory)
            ret->policies[i] = memory->policies[i];
    struct str *changes = arena_alloc(sw->arena, (count + 1) * sizeof(*changes));
    for (size_t i = 0; i < count; i++)
        changes[i] = i < own ? ret->changes[i] : memory->changes[i - own];
    ret->changes = changes;
    ret->change_count = count;
}

/* The memory file goes first: it only gains tables that nobody uses if the other one fails. */
int store_switch(struct store *s, const struct store_switch *sw, struct store_switched *ret,
                 struct err *err)
{
    struct store_switched memory;
    assert(sw->schema && sw->arena && ret);
    if (s->memory && sqlite_switch_list(s->memory, sw, &memory, NULL, err) < 0) {
        if (!sw->dry_run)
            store_switch_forget(s);
        return -1;
    }
    if (sqlite_switch_list(s, sw, ret, NULL, err) < 0)
        return -1;
    if (s->memory)
        join(sw, &memory, ret);
    return 0;
}

int store_migrate(struct store *s, const struct store_schema *schema, struct err *err)
{
    struct store_switch sw = {.schema = schema};
    struct call call = {&sw, NULL, NULL};
    if (s->memory && sqlite_writer_do(s->memory, run_call, &call, err) < 0)
        return -1;
    return sqlite_writer_do(s, run_call, &call, err);
}

static void copy_generation(sqlite3_stmt *stmt, struct arena *a, struct store_generation *ret)
{
    *ret = (struct store_generation){.number = sqlite3_column_int64(stmt, 0),
                                     .time_ms = sqlite3_column_int64(stmt, 1),
                                     .active = sqlite3_column_int64(stmt, 2) != 0,
                                     .origin = sqlite_stmts_text(stmt, 3, a)};
}

int store_log_generations(struct store_session *ss, struct arena *a, struct store_generation **ret,
                          size_t *ret_count, struct err *err)
{
    int rc;
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_GENERATIONS_READ, err);
    if (!stmt)
        return -1;
    struct sqlite_rows rows = sqlite_rows_of(a, sizeof(struct store_generation));
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
        copy_generation(stmt, a, sqlite_rows_add(&rows));
    sqlite3_reset(stmt);
    if (rc != SQLITE_DONE)
        return sqlite_db_fail(&ss->conn, rc, "read the generations", err);
    *ret = rows.items;
    *ret_count = rows.count;
    return 0;
}

int store_log_generation(struct store_session *ss, struct arena *a, int64_t number,
                         struct store_generation *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&ss->conn, SQL_GENERATION_READ, err);
    if (!stmt)
        return -1;
    sqlite3_bind_int64(stmt, 1, number);
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        copy_generation(stmt, a, ret);
        ret->sources = sqlite_stmts_text(stmt, 4, a);
    }
    sqlite3_reset(stmt);
    if (rc == SQLITE_ROW || rc == SQLITE_DONE)
        return rc == SQLITE_ROW;
    return sqlite_db_fail(&ss->conn, rc, "read a generation", err);
}
