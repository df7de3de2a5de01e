/* SPDX-License-Identifier: MIT */

/* One thread's reading side: a connection of its own, so that readers never wait for the writer or
 * for each other. Reads answer at once, or, in the test engine, one loop turn later, which is how a
 * networked store will behave. */

#include "store/sqlite/engine.h"

#include <assert.h>
#include <stdlib.h>

/* The connection to read on, its statements fit for the newest migration; NULL with err. */
static struct sqlite_conn *connection(const struct store_read *r, struct err *err)
{
    struct store_snapshot *sn = r->snapshot;
    if (sn && sn->session != r->session) { /* it is of the other file */
        if (!sn->memory && !(sn->memory = store_snapshot_open(r->session, err)))
            return NULL;
        sn = sn->memory;
    }
    struct sqlite_conn *conn = sn ? &sn->conn : &r->session->conn;
    sqlite_stmts_refresh(conn,
                         atomic_load_explicit(&r->session->store->epoch, memory_order_acquire));
    return conn;
}

static void remove_waiting(struct store_session *ss, const struct store_read *r)
{
    for (struct store_read **p = &ss->waiting; *p; p = &(*p)->next) {
        if (*p != r)
            continue;
        *p = r->next;
        if (!*p)
            ss->waiting_last = p;
        return;
    }
}

static void finish(struct store_read *r)
{
    r->session = NULL; /* answered: nothing to cancel */
    r->done(r);
}

/* err: why the writer could not reserve any, or NULL if it was not asked yet. */
static void run_id(struct store_read *r, const struct err *err)
{
    struct store_session *ss = r->session;
    bool found = sqlite_ids_next_or_wait(ss->store, r->table, ss, &r->count);
    r->failed = !found && err && err->code != ERR_NONE;
    if (r->failed)
        r->err = *err;
    if (found || r->failed) {
        finish(r);
        return;
    }
    r->next = NULL;
    *ss->waiting_last = r;
    ss->waiting_last = &r->next;
}

static void run(struct store_read *r)
{
    if (r->kind == STORE_READ_ID) {
        run_id(r, NULL);
        return;
    }
    struct sqlite_conn *conn = connection(r, &r->err);
    r->failed = !conn;
    if (conn) {
        sqlite_read_run(conn, r);
        sqlite_stmts_assert_idle(conn);
        if (r->scope)
            store_scope_overlay(r);
    }
    finish(r);
}

static void run_later(struct loop_defer *d)
{
    run(list_entry(d, struct store_read, later));
}

/* The writer has reserved ids, or failed to. */
static void on_ids(struct mail *m)
{
    struct store_session *ss = list_entry(m, struct store_session, wake);
    struct sqlite_ids *ids = &ss->store->ids;
    pthread_mutex_lock(&ids->mutex);
    struct err err = ids->err;
    pthread_mutex_unlock(&ids->mutex);
    size_t count = 0;
    for (const struct store_read *r = ss->waiting; r; r = r->next)
        count++;
    /* One at a time: a callback may cancel others. Those that are still without an id stand in line
     * again. */
    for (; count > 0 && ss->waiting; count--) {
        struct store_read *r = ss->waiting;
        remove_waiting(ss, r);
        run_id(r, &err);
    }
}

struct store_session *store_session_new(struct store *s, struct loop *loop, struct err *err)
{
    struct store_session *ss = xcalloc(1, sizeof(*ss));
    ss->store = s;
    ss->loop = loop;
    ss->waiting_last = &ss->waiting;
    ss->wake.run = on_ids;
    ss->box = mailbox_new(loop, err);
    if (!ss->box || sqlite_db_connect(s, &ss->conn, ENGINE_READER_CACHE_KIB, true, err) < 0) {
        if (ss->box)
            mailbox_free(ss->box);
        free(ss);
        return NULL;
    }
    if (s->memory && !(ss->memory = store_session_new(s->memory, loop, err))) {
        sqlite_db_disconnect(&ss->conn);
        mailbox_free(ss->box);
        free(ss);
        return NULL;
    }
    pthread_mutex_lock(&s->ids.mutex);
    ss->next = s->ids.sessions;
    ss->link = &s->ids.sessions;
    if (ss->next)
        ss->next->link = &ss->next;
    s->ids.sessions = ss;
    pthread_mutex_unlock(&s->ids.mutex);
    return ss;
}

void store_session_free(struct store_session *ss)
{
    if (!ss)
        return;
    assert(!ss->waiting);
    store_session_free(ss->memory);
    pthread_mutex_lock(&ss->store->ids.mutex);
    *ss->link = ss->next;
    if (ss->next)
        ss->next->link = ss->link;
    pthread_mutex_unlock(&ss->store->ids.mutex);
    mailbox_free(ss->box);
    if (ss->idle) {
        sqlite_db_disconnect(&ss->idle->conn);
        free(ss->idle);
    }
    sqlite_db_disconnect(&ss->conn);
    free(ss);
}

void store_read_start(struct store_session *ss, struct store_read *r)
{
    if (r->table && r->table->in_memory)
        ss = ss->memory;
    r->session = ss;
    if (!ss->store->slow_reads) {
        run(r);
        return;
    }
    r->later.fn = run_later;
    loop_defer(ss->loop, &r->later);
}

void store_read_cancel(struct store_read *r)
{
    struct store_session *ss = r->session;
    if (!ss)
        return;
    loop_defer_cancel(ss->loop, &r->later);
    remove_waiting(ss, r);
    r->session = NULL;
}

struct store_snapshot *store_snapshot_open(struct store_session *ss, struct err *err)
{
    struct store_snapshot *sn = ss->idle;
    ss->idle = NULL;
    if (!sn) {
        sn = xcalloc(1, sizeof(*sn));
        sn->session = ss;
        if (sqlite_db_connect(ss->store, &sn->conn, ENGINE_READER_CACHE_KIB, true, err) < 0) {
            free(sn);
            return NULL;
        }
    }
    sqlite3_stmt *first = NULL;
    int rc = SQLITE_ERROR;
    /* BEGIN alone pins nothing: the first read does. */
    if (sqlite_stmts_do(&sn->conn, SQL_BEGIN_READ, err) == 0 &&
        (first = sqlite_stmts_fixed(&sn->conn, SQL_MARK_READ, err)) != NULL)
        rc = sqlite_stmts_run(first);
    if (rc == SQLITE_ROW)
        return sn;
    if (first)
        sqlite_db_fail(&sn->conn, rc, "open a snapshot", err);
    sqlite_db_disconnect(&sn->conn);
    free(sn);
    return NULL;
}

void store_snapshot_close(struct store_snapshot *sn)
{
    struct err err;
    if (!sn)
        return;
    struct store_session *ss = sn->session;
    store_snapshot_close(sn->memory);
    sn->memory = NULL;
    if (!ss->idle && sqlite_db_rollback(&sn->conn, &err) == 0) {
        ss->idle = sn;
        return;
    }
    sqlite_db_disconnect(&sn->conn);
    free(sn);
}
