/* SPDX-License-Identifier: MIT */

/* All SQL in one place: whoever changes a table sees every statement that touches it. */

#include "store/sqlite/sql.h"

#include <assert.h>

#define EVENT_COLUMNS "seq,type,service,key,time,correlation,cause,generation,payload"
#define LETTER_COLUMNS                                                                             \
    "SELECT l.id,l.policy,l.seq,p.service,p.name,l.key,e.type,l.tries,l.error_code,l.error,"       \
    "l.origin,l.time,l.generation FROM _moontide_letters l"                                        \
    " LEFT JOIN _moontide_policies p ON p.number=l.policy"                                         \
    " LEFT JOIN _moontide_events e ON e.seq=l.seq "

static const char *const system_sql[SQL_KINDS] = {
    [SQL_BEGIN] = "BEGIN IMMEDIATE",
    [SQL_BEGIN_READ] = "BEGIN",
    [SQL_COMMIT] = "COMMIT",
    [SQL_ROLLBACK] = "ROLLBACK",
    [SQL_SAVEPOINT] = "SAVEPOINT unit",
    [SQL_ROLLBACK_TO] = "ROLLBACK TO unit",
    [SQL_RELEASE] = "RELEASE unit",
    [SQL_MARK] = "UPDATE _moontide_mark SET batch=?1,seq=?2 WHERE id=1",
    [SQL_MARK_READ] = "SELECT batch,max(seq,coalesce((SELECT max(seq) FROM _moontide_events),0))"
                      " FROM _moontide_mark WHERE id=1",
    [SQL_EVENT] =
        "INSERT INTO _moontide_events(" EVENT_COLUMNS ") VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [SQL_EVENT_GONE] = "DELETE FROM _moontide_events WHERE seq=?1",
    [SQL_HELD] = "INSERT OR REPLACE INTO _moontide_held"
                 "(policy,seq,key,tries,next_at,error_code,error,origin,time,generation)"
                 " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [SQL_HELD_GONE] = "DELETE FROM _moontide_held WHERE policy=?1 AND seq=?2",
    [SQL_LETTER] = "INSERT INTO _moontide_letters"
                   "(policy,seq,key,tries,error_code,error,origin,time,generation)"
                   " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [SQL_LETTER_FAILED] = "UPDATE _moontide_letters SET tries=?2,error_code=?3,error=?4,origin=?5,"
                          "time=?6,generation=?7 WHERE id=?1",
    [SQL_LETTER_GONE] = "DELETE FROM _moontide_letters WHERE id=?1",
    [SQL_TIMER] = "INSERT INTO _moontide_timers"
                  "(id,due,type,service,key,payload,correlation,cause,generation)"
                  " VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
    [SQL_TIMER_GONE] = "DELETE FROM _moontide_timers WHERE id=?1",
    [SQL_TIMER_ASIDE] = "UPDATE _moontide_timers SET due=9223372036854775807 WHERE id=?1",
    [SQL_SERVICE_STOPPED] = "INSERT OR IGNORE INTO _moontide_stopped(service) VALUES(?1)",
    [SQL_SERVICE_STARTED] = "DELETE FROM _moontide_stopped WHERE service=?1",
    [SQL_REPEAT] = "INSERT INTO _moontide_repeats(service,key,fingerprint,status,head,body,expires)"
                   " VALUES(?1,?2,?3,?4,?5,?6,?7) ON CONFLICT(service,key) DO UPDATE SET"
                   " fingerprint=excluded.fingerprint,status=excluded.status,head=excluded.head,"
                   "body=excluded.body,expires=excluded.expires WHERE expires<=?8",
    [SQL_REPEATS_GONE] = "DELETE FROM _moontide_repeats WHERE rowid IN (SELECT rowid"
                         " FROM _moontide_repeats WHERE expires<=?1 ORDER BY expires LIMIT ?2)",
    [SQL_REPEAT_READ] = "SELECT fingerprint,status,head,body,expires FROM _moontide_repeats"
                        " WHERE service=?1 AND key=?2 AND expires>?3",
    [SQL_POSITION] = "UPDATE _moontide_policies SET high=?2,holes=?3 WHERE number=?1",
    [SQL_IDS_READ] = "SELECT next FROM _moontide_ids WHERE name=?1",
    [SQL_IDS] = "INSERT INTO _moontide_ids(name,next) VALUES(?1,?2)"
                " ON CONFLICT(name) DO UPDATE SET next=excluded.next",
    [SQL_POLICY_READ] = "SELECT number,high,holes FROM _moontide_policies"
                        " WHERE service=?1 AND name=?2",
    [SQL_POLICY_RENAME] = "UPDATE _moontide_policies SET name=?3 WHERE service=?1 AND name=?2",
    [SQL_POLICY_NEW] = "INSERT INTO _moontide_policies(service,name,high,holes,since)"
                       " VALUES(?1,?2,?3,x'',?3)",
    [SQL_SINCE_READ] = "SELECT type,since FROM _moontide_policy_types WHERE policy=?1",
    [SQL_SINCE] = "INSERT INTO _moontide_policy_types(policy,type,since) VALUES(?1,?2,?3)",
    [SQL_SINCE_GONE] = "DELETE FROM _moontide_policy_types WHERE policy=?1 AND type=?2",
    [SQL_GENERATION_NEW] = "INSERT INTO _moontide_generations(time,active,origin,sources)"
                           " VALUES(?1,0,?2,?3)",
    [SQL_GENERATION_AGAIN] = "UPDATE _moontide_generations SET origin=?2 WHERE number=?1",
    [SQL_GENERATION_ACTIVE] = "UPDATE _moontide_generations SET active=(number=?1)"
                              " WHERE active<>(number=?1)",
    [SQL_GENERATIONS_OLD] = "DELETE FROM _moontide_generations WHERE active=0 AND number<="
                            "(SELECT number FROM _moontide_generations"
                            " ORDER BY number DESC LIMIT 1 OFFSET ?1)",
    [SQL_GENERATIONS_READ] = "SELECT number,time,active,origin FROM _moontide_generations"
                             " ORDER BY number DESC",
    [SQL_GENERATION_READ] = "SELECT number,time,active,origin,sources FROM _moontide_generations"
                            " WHERE number=?1 OR (?1=0 AND active)",
    [SQL_HELD_READ] = "SELECT policy,seq,tries,next_at,key FROM _moontide_held ORDER BY policy,seq",
    [SQL_EVENTS_READ] = "SELECT " EVENT_COLUMNS " FROM _moontide_events WHERE seq>=?1 ORDER BY seq",
    [SQL_EVENTS_OLD] = "SELECT seq,type,service,time FROM _moontide_events WHERE seq>=?1"
                       " ORDER BY seq",
    /* A policy whose types are not written down may want any. */
    [SQL_LOW] = "SELECT min(high) FROM _moontide_policies p WHERE"
                " EXISTS(SELECT 1 FROM _moontide_policy_types WHERE policy=p.number AND type=?1)"
                " OR NOT EXISTS(SELECT 1 FROM _moontide_policy_types WHERE policy=p.number)",
    [SQL_HOLES_READ] = "SELECT holes FROM _moontide_policies WHERE length(holes)>0",
    [SQL_HANDLED_READ] = "SELECT seq FROM _moontide_letters WHERE seq BETWEEN ?1 AND ?2"
                         " UNION ALL SELECT seq FROM _moontide_held",
    [SQL_LETTERS_READ] = LETTER_COLUMNS "WHERE l.id<?1 AND (?2='' OR p.name=?2)"
                                        " ORDER BY l.id DESC LIMIT ?3",
    [SQL_EVENT_TYPE] = "SELECT type FROM _moontide_events WHERE seq=?1",
    [SQL_LETTER_READ] = LETTER_COLUMNS "WHERE l.id=?1",
    [SQL_LETTER_COUNTS] = "SELECT p.service,p.name,count(*) FROM _moontide_letters l"
                          " JOIN _moontide_policies p ON p.number=l.policy GROUP BY l.policy",
    [SQL_HELD_COUNTS] = "SELECT p.service,p.name,count(*) FROM _moontide_held h"
                        " JOIN _moontide_policies p ON p.number=h.policy GROUP BY h.policy",
    [SQL_TIMERS_READ] = "SELECT id,due,type,service,key,payload,correlation,cause,generation"
                        " FROM _moontide_timers"
                        " WHERE service NOT IN (SELECT service FROM _moontide_stopped)"
                        " ORDER BY due,id LIMIT ?1",
    [SQL_STOPPED_READ] = "SELECT service FROM _moontide_stopped ORDER BY service",
};

static void column_list(struct buf *out, const struct store_table *t)
{
    for (int i = 0; i < t->field_count; i++) {
        buf_addc(out, ',');
        sqlite_sql_quote(out, store_table_column_name(t, i));
    }
}

static void write_insert(struct buf *out, const struct store_table *t)
{
    buf_lit(out, "INSERT INTO ");
    sqlite_sql_table(out, t);
    buf_lit(out, "(id,_version");
    column_list(out, t);
    buf_lit(out, ") VALUES(?1,1");
    for (int i = 0; i < t->field_count; i++)
        buf_addf(out, ",?%d", i + 2);
    buf_addc(out, ')');
}

/* Parameters: id, version, then the columns of the mask. */
static void write_update(struct buf *out, const struct store_table *t, uint64_t mask)
{
    int at = 3;
    buf_lit(out, "UPDATE ");
    sqlite_sql_table(out, t);
    buf_lit(out, " SET ");
    for (int i = 0; i < t->field_count; i++) {
        if (!(mask >> i & 1))
            continue;
        sqlite_sql_quote(out, store_table_column_name(t, i));
        buf_addf(out, "=?%d,", at++);
    }
    buf_lit(out, "_version=_version+1 WHERE id=?1 AND _version=?2");
}

/* coalesce(c,0)+?at */
static void write_sum(struct buf *out, struct str column, int at)
{
    buf_lit(out, "coalesce(");
    sqlite_sql_quote(out, column);
    buf_addf(out, ",0)+?%d", at);
}

/* Parameters: id, then for each column its delta and those of minimum and maximum that it has. A
 * sum that leaves the column's type (63 bits, the finite doubles) is refused like one past a bound.
 */
static void write_add(struct buf *out, const struct sqlite_stmt_key *key)
{
    const struct store_table *t = key->table;
    int at = 2;
    struct buf where = BUF_INIT;
    buf_lit(out, "UPDATE ");
    sqlite_sql_table(out, t);
    buf_lit(out, " SET ");
    for (int i = 0; i < t->field_count; i++) {
        if (!(key->a >> i & 1))
            continue;
        const struct field *f = &t->fields[i];
        struct str column = store_table_column_name(t, i);
        int delta = at++;
        sqlite_sql_quote(out, column);
        buf_addc(out, '=');
        write_sum(out, column, delta);
        buf_addc(out, ',');
        buf_adds(&where, f->type == FIELD_NUMBER ? STR(" AND abs(") : STR(" AND typeof("));
        write_sum(&where, column, delta);
        buf_adds(&where,
                 f->type == FIELD_NUMBER ? STR(")<=1.7976931348623157e308") : STR(")='integer'"));
        for (int bound = 0; bound < 2; bound++) {
            if (!((bound ? key->c : key->b) >> i & 1))
                continue;
            buf_lit(&where, " AND ");
            write_sum(&where, column, delta);
            buf_addf(&where, "%s?%d", bound ? "<=" : ">=", at++);
        }
    }
    buf_lit(out, "_version=_version+1 WHERE id=?1");
    buf_adds(out, buf_str(&where));
    buf_deinit(&where);
}

/* Parameters: the row that asks, then the values. */
static void write_taken(struct buf *out, const struct store_table *t, const struct store_index *ix)
{
    buf_lit(out, "SELECT 1 FROM ");
    sqlite_sql_table(out, t);
    buf_lit(out, " WHERE id<>?1");
    for (int i = 0; i < ix->count; i++) {
        buf_lit(out, " AND ");
        sqlite_sql_quote(out, store_table_column_name(t, ix->columns[i]));
        buf_addf(out, "=?%d", i + 2);
    }
}

/* Parameters: one a condition that is not null. Returns the next free parameter. */
static int write_where(struct buf *out, const struct sqlite_stmt_key *key)
{
    int at = 1;
    for (int i = 0; i < key->count; i++) {
        int column = (int8_t)(key->a >> (8 * i) & 0xff);
        buf_adds(out, i == 0 ? STR(" WHERE ") : STR(" AND "));
        if (column == STORE_COLUMN_ID)
            buf_lit(out, "id");
        else
            sqlite_sql_quote(out, store_table_column_name(key->table, column));
        if (key->b >> i & 1)
            buf_lit(out, " IS NULL");
        else
            buf_addf(out, "=?%d", at++);
    }
    return at;
}

/* Appends one column of an ORDER BY; true if it is the id, behind which nothing matters. */
static bool write_order_column(struct buf *out, const struct store_table *t, int column,
                               bool descending)
{
    if (column == STORE_COLUMN_ID)
        buf_lit(out, "id");
    else
        sqlite_sql_quote(out, store_table_column_name(t, column));
    if (descending)
        buf_lit(out, " DESC");
    return column == STORE_COLUMN_ID;
}

static void write_order(struct buf *out, const struct sqlite_stmt_key *key)
{
    bool descending = key->flags & SQL_DESCENDING;
    buf_lit(out, " ORDER BY ");
    if (write_order_column(out, key->table, key->order, descending))
        return;
    for (uint64_t rest = key->c; rest != 0; rest >>= 8) {
        descending = rest & 0x80;
        buf_addc(out, ',');
        if (write_order_column(out, key->table, (int)(rest & 0x7f) - 2, descending))
            return;
    }
    buf_addc(out, ',');
    write_order_column(out, key->table, STORE_COLUMN_ID, descending);
}

/* Parameters: conditions, the id to start after (if any), limit, offset. */
static void write_find(struct buf *out, const struct sqlite_stmt_key *key)
{
    buf_lit(out, "SELECT id,_version");
    column_list(out, key->table);
    buf_lit(out, " FROM ");
    sqlite_sql_table(out, key->table);
    int at = write_where(out, key);
    if (key->flags & SQL_AFTER)
        buf_addf(out, " %s id>?%d", key->count == 0 ? "WHERE" : "AND", at++);
    write_order(out, key);
    buf_addf(out, " LIMIT ?%d OFFSET ?%d", at, at + 1);
}

void sqlite_sql_write(struct buf *out, const struct sqlite_stmt_key *key)
{
    switch (key->kind) {
    case SQL_INSERT:
        write_insert(out, key->table);
        return;
    case SQL_UPDATE:
        write_update(out, key->table, key->a);
        return;
    case SQL_DELETE:
        buf_lit(out, "DELETE FROM ");
        sqlite_sql_table(out, key->table);
        buf_lit(out, " WHERE id=?1 AND _version=?2");
        return;
    case SQL_ADD:
        write_add(out, key);
        return;
    case SQL_TAKEN:
        write_taken(out, key->table, &key->table->indexes[key->a]);
        return;
    case SQL_GET:
        buf_lit(out, "SELECT id,_version");
        column_list(out, key->table);
        buf_lit(out, " FROM ");
        sqlite_sql_table(out, key->table);
        buf_lit(out, " WHERE id=?1");
        return;
    case SQL_FIND:
        write_find(out, key);
        return;
    case SQL_COUNT:
        buf_lit(out, "SELECT count(*) FROM ");
        sqlite_sql_table(out, key->table);
        write_where(out, key);
        return;
    default:
        assert(key->kind >= SQL_SYSTEM && key->kind < SQL_KINDS);
        buf_adds(out, str_from(system_sql[key->kind]));
    }
}

void sqlite_sql_quote(struct buf *out, struct str name)
{
    buf_addc(out, '"');
    for (size_t i = 0; i < name.n; i++) {
        if (name.p[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, name.p[i]);
    }
    buf_addc(out, '"');
}

void sqlite_sql_table(struct buf *out, const struct store_table *t)
{
    struct buf name = BUF_INIT;
    buf_adds(&name, t->service);
    buf_addc(&name, '.');
    buf_adds(&name, t->name);
    sqlite_sql_quote(out, buf_str(&name));
    buf_deinit(&name);
}

const char *sqlite_sql_type(enum field_type type)
{
    switch (type) {
    case FIELD_NUMBER:
        return "REAL";
    case FIELD_TEXT:
    case FIELD_JSON:
        return "TEXT";
    case FIELD_INTEGER:
    case FIELD_DECIMAL:
    case FIELD_BOOLEAN:
    case FIELD_TIMESTAMP:
        break;
    }
    return "INTEGER";
}

const char *sqlite_sql_system(void)
{
    return "CREATE TABLE _moontide_meta(key TEXT PRIMARY KEY,value) WITHOUT ROWID;"
           /* The number of the newest transaction tells whether one whose COMMIT failed is in the
              file after all. */
           "CREATE TABLE _moontide_mark(id INTEGER PRIMARY KEY,batch INTEGER,seq INTEGER,"
           "buried INTEGER);"
           "INSERT INTO _moontide_mark VALUES(1,0,0,0);"
           "CREATE TABLE _moontide_ids(name TEXT PRIMARY KEY,next INTEGER NOT NULL) WITHOUT ROWID;"
           "CREATE TABLE _moontide_columns(tbl TEXT,col TEXT,type TEXT NOT NULL,"
           "PRIMARY KEY(tbl,col)) WITHOUT ROWID;"
           "CREATE TABLE _moontide_events(seq INTEGER PRIMARY KEY,type TEXT NOT NULL,"
           "service TEXT NOT NULL,key TEXT,time INTEGER,correlation TEXT,cause INTEGER,"
           "generation INTEGER,payload TEXT);"
           "CREATE TABLE _moontide_policies(number INTEGER PRIMARY KEY AUTOINCREMENT,"
           "service TEXT NOT NULL,name TEXT NOT NULL,high INTEGER NOT NULL,holes BLOB,since "
           "INTEGER,"
           "UNIQUE(service,name));"
           "CREATE TABLE _moontide_held(policy INTEGER,seq INTEGER,key TEXT,tries INTEGER,"
           "next_at INTEGER,error_code TEXT,error TEXT,origin TEXT,time INTEGER,generation INTEGER,"
           "PRIMARY KEY(policy,seq)) WITHOUT ROWID;"
           "CREATE TABLE _moontide_letters(id INTEGER PRIMARY KEY AUTOINCREMENT,policy INTEGER,"
           "seq INTEGER,key TEXT,tries INTEGER,error_code TEXT,error TEXT,origin TEXT,time INTEGER,"
           "generation INTEGER);"
           "CREATE TABLE _moontide_timers(id INTEGER PRIMARY KEY,due INTEGER NOT NULL,"
           "type TEXT NOT NULL,service TEXT NOT NULL,key TEXT,payload TEXT,correlation TEXT,"
           "cause INTEGER,generation INTEGER);"
           "CREATE INDEX _moontide_timers_due ON _moontide_timers(due);";
}

const char *sqlite_sql_added(void)
{
    return "CREATE TABLE IF NOT EXISTS _moontide_generations("
           "number INTEGER PRIMARY KEY AUTOINCREMENT,time INTEGER,active INTEGER,origin TEXT,"
           "sources TEXT);"
           "CREATE TABLE IF NOT EXISTS _moontide_policy_types(policy INTEGER,type TEXT,"
           "since INTEGER,PRIMARY KEY(policy,type)) WITHOUT ROWID;"
           /* Fields whose column has another name: that of the field they were renamed from. */
           "CREATE TABLE IF NOT EXISTS _moontide_renames(tbl TEXT,field TEXT,col TEXT NOT NULL,"
           "PRIMARY KEY(tbl,field)) WITHOUT ROWID;"
           "CREATE TABLE IF NOT EXISTS _moontide_stopped(service TEXT PRIMARY KEY) WITHOUT ROWID;"
           "CREATE TABLE IF NOT EXISTS _moontide_repeats(service TEXT NOT NULL,key TEXT NOT NULL,"
           "fingerprint TEXT NOT NULL,status INTEGER NOT NULL,head TEXT,body TEXT,"
           "expires INTEGER NOT NULL,PRIMARY KEY(service,key));"
           "CREATE INDEX IF NOT EXISTS _moontide_repeats_expires ON _moontide_repeats(expires);"
           "CREATE INDEX IF NOT EXISTS _moontide_letters_seq ON _moontide_letters(seq);";
}
