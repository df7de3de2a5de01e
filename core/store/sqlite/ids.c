/* SPDX-License-Identifier: MIT */

/* Ids are handed out by any thread, at once, from blocks that the writer reserved durably before: a
 * crash skips what was left of a block, nothing hands an id out twice. The next block is asked for
 * when half of one is used, so that waiting is rare. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TIMERS_NAME "_moontide_timers"

static struct store_ids *find(const struct sqlite_ids *ids, const char *name)
{
    for (size_t i = 0; i < ids->count; i++)
        if (strcmp(ids->blocks[i]->name, name) == 0)
            return ids->blocks[i];
    return NULL;
}

/* "service.name" of a table, owned; of the timers for NULL. */
static char *name_of(const struct store_table *t)
{
    if (!t)
        return xstrdup(TIMERS_NAME);
    struct buf name = BUF_INIT;
    buf_adds(&name, t->service);
    buf_addc(&name, '.');
    buf_adds(&name, t->name);
    char *copy = xstrndup(name.p, name.n);
    buf_deinit(&name);
    return copy;
}

/* Writes the durable end of a block. */
static int write_next(struct store *s, const char *name, int64_t next, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_IDS, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, str_from(name));
    sqlite3_bind_int64(stmt, 2, next);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "reserve ids", err);
}

static int read_next(struct store *s, const char *name, int64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_IDS_READ, err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, str_from(name));
    int rc = sqlite3_step(stmt);
    int64_t next = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 1;
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return sqlite_db_fail(&s->conn, rc, "read ids", err);
    *ret = next;
    return 0;
}

/* Reserves the first block of a name that has none. It stays empty until the migration has
 * committed. */
static int load_name(struct store *s, const char *name, struct err *err)
{
    int64_t next = 1;
    struct sqlite_ids *ids = &s->ids;
    struct store_ids *block = find(ids, name); /* only the caller's thread adds blocks */
    if (block && (block->end > 0 || block->pending_end > 0))
        return 0;
    if (read_next(s, name, &next, err) < 0 || write_next(s, name, next + ENGINE_ID_BLOCK, err) < 0)
        return -1;
    pthread_mutex_lock(&ids->mutex);
    if (!block) {
        block = xcalloc(1, sizeof(*block));
        block->name = xstrdup(name);
        vec_reserve(&ids->blocks, &ids->cap, ids->count + 1, sizeof(struct store_ids *));
        ids->blocks[ids->count++] = block;
    }
    block->next = next;
    block->pending_end = next + ENGINE_ID_BLOCK;
    pthread_mutex_unlock(&ids->mutex);
    return 0;
}

static int load(struct store *s, const struct store_table *t, struct err *err)
{
    char *name = name_of(t);
    int failed = load_name(s, name, err);
    free(name);
    return failed;
}

/* With the mutex held: takes one, and asks for more when half of a block is left. */
static bool take(struct store *s, const struct store_table *t, int64_t *ret, bool *ret_ask)
{
    struct store_ids *b = t ? t->ids : s->ids.timers;
    assert(b);
    bool found = b->next < b->end;
    if (found)
        *ret = b->next++;
    *ret_ask = !b->wanted && b->end - b->next < ENGINE_ID_BLOCK / 2;
    b->wanted |= *ret_ask;
    return found;
}

/* With the mutex held: sessions that wait look again. */
static void wake_sessions(struct sqlite_ids *ids)
{
    for (struct store_session *ss = ids->sessions; ss; ss = ss->next) {
        if (!ss->wants_wake)
            continue;
        ss->wants_wake = false;
        mailbox_post(ss->box, &ss->wake);
    }
}

void sqlite_ids_init(struct sqlite_ids *ids)
{
    pthread_mutex_init(&ids->mutex, NULL);
}

void sqlite_ids_deinit(struct sqlite_ids *ids)
{
    for (size_t i = 0; i < ids->count; i++) {
        free(ids->blocks[i]->name);
        free(ids->blocks[i]);
    }
    free(ids->blocks);
    pthread_mutex_destroy(&ids->mutex);
}

int sqlite_ids_load(struct store *s, const struct store_schema *schema, struct err *err)
{
    if (load(s, NULL, err) < 0)
        return -1;
    for (int i = 0; i < schema->table_count; i++)
        if (schema->tables[i]->in_memory == s->in_memory && load(s, schema->tables[i], err) < 0)
            return -1;
    return 0;
}

static struct store_ids *block_of(struct store *s, const struct store_table *t)
{
    char *name = name_of(t);
    struct store_ids *block = find(&s->ids, name);
    assert(block);
    free(name);
    return block;
}

void sqlite_ids_adopt(struct store *s, const struct store_schema *schema)
{
    if (!s->ids.timers)
        s->ids.timers = block_of(s, NULL);
    for (int i = 0; i < schema->table_count; i++) {
        if (schema->tables[i]->in_memory != s->in_memory)
            continue;
        struct store_ids *block = block_of(s, schema->tables[i]);
        if (schema->tables[i]->ids != block) /* a schema that is in use already is left alone */
            schema->tables[i]->ids = block;
    }
    sqlite_ids_publish(s);
}

int sqlite_ids_reserve(struct store *s, bool *ret_any, struct err *err)
{
    struct sqlite_ids *ids = &s->ids;
    bool any = false;
    for (size_t i = 0; i < ids->count; i++) { /* only the writer adds blocks */
        struct store_ids *b = ids->blocks[i];
        pthread_mutex_lock(&ids->mutex);
        int64_t end = b->wanted ? b->end + ENGINE_ID_BLOCK : 0;
        pthread_mutex_unlock(&ids->mutex);
        if (end == 0)
            continue;
        if (write_next(s, b->name, end, err) < 0)
            return -1;
        b->pending_end = end;
        any = true;
    }
    *ret_any = any;
    return 0;
}

void sqlite_ids_publish(struct store *s)
{
    struct sqlite_ids *ids = &s->ids;
    pthread_mutex_lock(&ids->mutex);
    for (size_t i = 0; i < ids->count; i++) {
        struct store_ids *b = ids->blocks[i];
        if (b->pending_end == 0)
            continue;
        b->end = b->pending_end;
        b->pending_end = 0;
        b->wanted = false;
    }
    ids->err.code = ERR_NONE;
    wake_sessions(ids);
    pthread_mutex_unlock(&ids->mutex);
}

void sqlite_ids_drop(struct store *s, const struct err *err)
{
    struct sqlite_ids *ids = &s->ids;
    pthread_mutex_lock(&ids->mutex);
    for (size_t i = 0; i < ids->count; i++) {
        ids->blocks[i]->pending_end = 0;
        if (err)
            ids->blocks[i]->wanted = false; /* the next one who needs an id asks again */
    }
    if (err) {
        ids->err = *err;
        wake_sessions(ids);
    }
    pthread_mutex_unlock(&ids->mutex);
}

int sqlite_ids_give_back(struct store *s, struct err *err)
{
    for (size_t i = 0; i < s->ids.count; i++) {
        const struct store_ids *b = s->ids.blocks[i];
        if (b->end > 0 && write_next(s, b->name, b->next, err) < 0)
            return -1;
    }
    return 0;
}

bool sqlite_ids_next_or_wait(struct store *s, const struct store_table *t, struct store_session *ss,
                             int64_t *ret)
{
    bool ask;
    pthread_mutex_lock(&s->ids.mutex);
    bool found = take(s, t, ret, &ask);
    if (!found && ss)
        ss->wants_wake = true;
    pthread_mutex_unlock(&s->ids.mutex);
    if (ask)
        sqlite_writer_want_ids(s);
    return found;
}

bool store_next_id(struct store *s, const struct store_table *t, int64_t *ret)
{
    return sqlite_ids_next_or_wait(sqlite_memory_of_table(s, t), t, NULL, ret);
}
