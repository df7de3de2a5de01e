/* SPDX-License-Identifier: MIT */

/* The one writer. It takes what is queued, never waits for more, and makes one transaction of it:
 * one fsync for many units of work. Nobody hears of a verdict before COMMIT has returned. A
 * transaction that dies is run again unit by unit, so that only the guilty one fails; one whose
 * COMMIT fails is looked up in the file after opening it again, because the disk alone knows
 * whether it is there. */

#include "base/fault.h"
#include "base/log.h"
#include "store/sqlite/engine.h"

#include <assert.h>

#define IO_FAILURES_MAX                                                                            \
    3 /* in a row, unit by unit: then the disk is to blame, and no more is tried */
#define REOPEN_TRIES 50
#define REOPEN_PAUSE_NS (200 * NS_PER_MS)

/* A transaction under way. */
struct transaction {
    struct store *store;
    struct store_unit **units;
    size_t count;
    struct store_unit *accepted;
    int64_t seq_before, batch_before;
    struct sqlite_looks looks_before;
    bool ids;     /* it reserves ids */
    bool hooked;  /* before_commit was called */
    bool started; /* BEGIN was done: what failed later may be the fault of a unit */
    bool unknown; /* COMMIT failed, and the file could not be asked whether it is there */
};

static struct store_unit *link_accepted(struct store_unit **units, size_t count)
{
    struct store_unit *first = NULL, **last = &first;
    for (size_t i = 0; i < count; i++) {
        units[i]->next = NULL;
        if (units[i]->verdict != STORE_COMMITTED)
            continue;
        *last = units[i];
        last = &units[i]->next;
    }
    return first;
}

static int apply_units(struct transaction *tx, struct err *err)
{
    for (size_t i = 0; i < tx->count; i++) {
        if (fault_hit(
                "writer.apply")) /* fails: the statement at hand, with an error nobody expects */
            return err_set(err, ERR_IO, "fault writer.apply");
        if (sqlite_apply_unit(tx->store, tx->units[i], err) == APPLY_BROKEN)
            return -1;
    }
    return 0;
}

int sqlite_writer_mark(struct store *s, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_MARK, err);
    if (!stmt)
        return -1;
    s->batch++;
    sqlite3_bind_int64(stmt, 1, s->batch);
    sqlite3_bind_int64(stmt, 2, s->next_seq);
    int rc = sqlite_stmts_run(stmt);
    return rc == SQLITE_DONE ? 0 : sqlite_db_fail(&s->conn, rc, "write", err);
}

/* All but COMMIT. */
static int prepare(struct transaction *tx, struct err *err)
{
    struct store *s = tx->store;
    if (!s->conn.db && sqlite_db_reopen(s, err) < 0)
        return -1;
    tx->seq_before = s->next_seq;
    tx->batch_before = s->batch;
    tx->looks_before = s->looks;
    if (sqlite_stmts_do(&s->conn, SQL_BEGIN, err) < 0)
        return -1;
    tx->started = true;
    if (sqlite_ids_reserve(s, &tx->ids, err) < 0 || apply_units(tx, err) < 0)
        return -1;
    tx->accepted = link_accepted(tx->units, tx->count);
    if (!tx->accepted && !tx->ids)
        return 0;
    if (sqlite_writer_mark(s, err) < 0 || sqlite_repeats_tidy(s, err) < 0 ||
        sqlite_retention_tidy(s, err) < 0)
        return -1;
    if (!tx->accepted || !s->hooks.before_commit)
        return 0;
    tx->hooked = true;
    return s->hooks.before_commit(s->hooks.ctx, &(struct store_tx){s}, tx->accepted, err);
}

/* Nothing of it remains, in the file or in memory. */
static int undo(struct transaction *tx, const struct err *err)
{
    struct store *s = tx->store;
    struct err also = {0};
    if (tx->started && sqlite_db_rollback(&s->conn, &also) < 0) {
        log_event(LOG_ERROR, "rollback failed", LOG_C("error", also.message));
        sqlite_db_disconnect(&s->conn); /* which rolls back; the next transaction opens it again */
    }
    if (tx->started) {
        s->next_seq = tx->seq_before;
        s->batch = tx->batch_before;
        s->looks = tx->looks_before; /* what was removed is there again */
    }
    sqlite_ids_drop(s, tx->count > 1 ? NULL : err);
    for (size_t i = 0; i < tx->count; i++)
        for (struct store_event *e = tx->units[i]->events; e; e = e->next)
            e->seq = 0;
    if (tx->hooked && s->hooks.rolled_back)
        s->hooks.rolled_back(s->hooks.ctx, tx->accepted);
    return -1;
}

/* Waits a little, or until the store is closed: false. */
static bool pause_reopening(struct store *s)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    int64_t ns = until.tv_nsec + REOPEN_PAUSE_NS;
    until.tv_sec += ns / NS_PER_S;
    until.tv_nsec = ns % NS_PER_S;
    pthread_mutex_lock(&s->mutex);
    if (!s->stopping)
        pthread_cond_timedwait(&s->wake, &s->mutex, &until);
    bool go_on = !s->stopping;
    pthread_mutex_unlock(&s->mutex);
    return go_on;
}

/* Nobody is told anything before the file was opened again; only a disk that stays away ends the
 * wait. */
static int reopen(struct store *s)
{
    struct err err = {0};
    for (int i = 0; sqlite_db_reopen(s, &err) < 0; i++) {
        log_event(LOG_ERROR, "store not opened again", LOG_C("error", err.message));
        if (i == REOPEN_TRIES || !pause_reopening(s))
            return -1;
    }
    return 0;
}

/* The frames of a failed COMMIT may lie behind the end of the log, complete, for a later recovery
 * to find. One small transaction written over their beginning makes them unreadable, whether its
 * own fsync succeeds or not. */
static void bury(struct store *s)
{
    struct err err = {0};
    if (sqlite_db_exec(&s->conn, "UPDATE _moontide_mark SET buried=buried+1 WHERE id=1", &err) == 0)
        return;
    log_event(LOG_ERROR, "the disk still fails", LOG_C("error", err.message));
    sqlite_db_disconnect(&s->conn);
}

/* COMMIT failed. Is the transaction in the file nevertheless? Readers could see it now, so it is
 * made durable by a checkpoint, whose own writes and fsyncs do not trust the failed one. */
static bool is_committed_after_all(struct store *s, int64_t batch, bool *ret_unknown,
                                   struct err *err)
{
    if (reopen(s) < 0) {
        *ret_unknown = true;
        return false;
    }
    if (s->batch != batch) {
        bury(s);
        return false;
    }
    int rc = sqlite3_wal_checkpoint_v2(s->conn.db, NULL, SQLITE_CHECKPOINT_FULL, NULL, NULL);
    if (rc == SQLITE_OK)
        return true;
    sqlite_db_fail(&s->conn, rc, "checkpoint", err);
    sqlite_db_disconnect(&s->conn);
    *ret_unknown = true;
    return false;
}

int sqlite_writer_commit(struct store *s, bool *ret_unknown, struct err *err)
{
    int64_t batch = s->batch;
    if (sqlite_stmts_do(&s->conn, SQL_COMMIT, err) == 0)
        return 0;
    log_event(LOG_ERROR, "commit failed", LOG_C("error", err->message));
    return is_committed_after_all(s, batch, ret_unknown, err) ? 0 : -1;
}

/* One transaction of these units: 0 = each has its verdict, -1 = nothing was changed, err says why.
 */
static int transact(struct transaction *tx, struct err *err)
{
    struct store *s = tx->store;
    if (prepare(tx, err) < 0)
        return undo(tx, err);
    if (!tx->accepted && !tx->ids) {
        /* All were refused: nothing to commit. */
        if (sqlite_db_rollback(&s->conn, err) < 0)
            sqlite_db_disconnect(&s->conn);
        s->next_seq = tx->seq_before;
        return 0;
    }
    if (fault_hit("writer.before_commit")) { /* fails: the batch, as an error of the disk */
        err_set(err, ERR_IO, "fault writer.before_commit");
        return undo(tx, err);
    }
    if (sqlite_writer_commit(s, &tx->unknown, err) < 0)
        return undo(tx, err);
    fault_hit("writer.committed"); /* for dying only */
    atomic_store(&s->last_seq, s->next_seq);
    if (tx->ids)
        sqlite_ids_publish(s);
    if (tx->accepted && s->hooks.committed)
        s->hooks.committed(s->hooks.ctx, tx->accepted);
    return 0;
}

static void tell(struct mail *m)
{
    struct store_unit *u = list_entry(m, struct store_unit, mail);
    if (u->done)
        u->done(u);
    store_unit_unref(u);
}

/* Tells the owners: one post a mailbox, in the order of the batch. Forgets the units. */
static void deliver(struct store *s, struct store_unit **units, size_t count)
{
    atomic_fetch_sub(&s->queued, count);
    for (size_t i = 0; i < count; i++) {
        if (!units[i])
            continue;
        struct mailbox *home = units[i]->home;
        struct mail *first = &units[i]->mail, *last = first;
        first->run = tell;
        for (size_t k = i + 1; home && k < count; k++) {
            if (!units[k] || units[k]->home != home)
                continue;
            last->next = &units[k]->mail;
            last = last->next;
            last->run = tell;
            units[k] = NULL;
        }
        units[i] = NULL;
        if (home)
            mailbox_post_all(home, first, last);
        else
            tell(first);
    }
    fault_hit("writer.notified"); /* for dying only */
}

static void fail(struct store_unit *u, const struct err *err)
{
    u->verdict = STORE_FAILED;
    u->refused = NULL;
    u->refused_index = -1;
    u->err = *err;
    if (u->err.code == ERR_NONE)
        u->err.code = ERR_INTERNAL;
}

static bool is_of_disk(const struct err *err)
{
    return err->code == ERR_IO || err->code == ERR_DISK_FULL;
}

/* A batch that died, each unit in its own transaction. */
static void run_singly(struct store *s, struct store_unit **units, size_t count)
{
    int failures = 0;
    struct err err = {0};
    for (size_t i = 0; i < count; i++) {
        struct transaction tx = {.store = s, .units = &units[i], .count = 1};
        bool tried = failures < IO_FAILURES_MAX;
        if (tried)
            err.code = ERR_NONE;
        if (tried && transact(&tx, &err) == 0) {
            failures = 0;
        } else {
            fail(units[i], &err);
            failures += is_of_disk(&err);
        }
        deliver(s, &units[i], 1);
    }
}

/* Bounds the log, once nobody waits for an answer. A failure is no unit's: the next time will tell.
 */
static void checkpoint(struct store *s)
{
    if (!s->conn.db || s->wal_frames < ENGINE_CHECKPOINT_PAGES)
        return;
    s->wal_frames = 0;
    int rc = sqlite3_wal_checkpoint_v2(s->conn.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY)
        return;
    struct err err = {0};
    sqlite_db_fail(&s->conn, rc, "checkpoint", &err);
    log_event(LOG_WARN, "checkpoint failed", LOG_C("error", err.message));
}

static void run_batch(struct store *s, struct store_unit **units, size_t count)
{
    struct err err = {0};
    struct transaction tx = {.store = s, .units = units, .count = count};
    if (transact(&tx, &err) == 0) {
        deliver(s, units, count);
    } else if (count > 1 && tx.started && !tx.unknown) {
        log_event(LOG_WARN, "batch runs again unit by unit", LOG_I("units", (int64_t)count),
                  LOG_C("error", err.message));
        run_singly(s, units, count);
    } else {
        for (size_t i = 0; i < count; i++)
            fail(units[i], &err);
        sqlite_ids_drop(s, &err);
        deliver(s, units, count);
    }
    checkpoint(s);
}

/* Runs what was taken from the queue, then only ids if nothing was. */
static void run_all(struct store *s, struct store_unit *first, bool ids)
{
    if (!first && ids)
        run_batch(s, s->units, 0);
    while (first) {
        size_t count = 0;
        for (; first && count < ENGINE_BATCH; first = first->next)
            s->units[count++] = first;
        run_batch(s, s->units, count);
    }
}

static void run_job(struct store *s, struct sqlite_job *job)
{
    job->result = job->run(s, job->arg, job->err);
    pthread_mutex_lock(&s->mutex);
    job->finished = true;
    pthread_cond_broadcast(&s->job_done);
    pthread_mutex_unlock(&s->mutex);
}

/* Takes all there is to do; false if there is nothing. */
static bool take_work(struct store *s, struct store_unit **ret_first, struct sqlite_job **ret_job,
                      bool *ret_ids)
{
    *ret_first = s->first;
    *ret_job = s->job;
    *ret_ids = s->ids_wanted;
    s->first = s->last = NULL;
    s->job = NULL;
    s->ids_wanted = false;
    return *ret_first || *ret_job || *ret_ids;
}

static void writer_main(void *arg)
{
    struct store *s = arg;
    struct store_unit *first;
    struct sqlite_job *job;
    bool ids;
    pthread_mutex_lock(&s->mutex);
    for (;;) {
        if (!take_work(s, &first, &job, &ids)) {
            if (s->stopping)
                break;
            s->sleeping = true;
            pthread_cond_wait(&s->wake, &s->mutex);
            s->sleeping = false;
            continue;
        }
        pthread_mutex_unlock(&s->mutex);
        run_all(s, first, ids);
        if (job)
            run_job(s, job);
        pthread_mutex_lock(&s->mutex);
    }
    pthread_mutex_unlock(&s->mutex);
}

/* The writer without a thread: what is queued by the end of the loop's turn is one batch. */
static void run_inline(struct loop_defer *d)
{
    struct store *s = list_entry(d, struct store, inline_run);
    struct store_unit *first;
    struct sqlite_job *job;
    bool ids;
    pthread_mutex_lock(&s->mutex);
    take_work(s, &first, &job, &ids);
    pthread_mutex_unlock(&s->mutex);
    run_all(s, first, ids);
}

/* With the mutex held. */
static void wake(struct store *s)
{
    if (s->sleeping)
        pthread_cond_signal(&s->wake);
    if (s->inline_loop && s->started)
        loop_defer(s->inline_loop, &s->inline_run);
}

int sqlite_writer_do(struct store *s, int (*run)(struct store *s, void *arg, struct err *err),
                     void *arg, struct err *err)
{
    struct sqlite_job job = {.run = run, .arg = arg, .err = err};
    if (!s->thread)
        return run(s, arg, err);
    pthread_mutex_lock(&s->mutex);
    while (s->job)
        pthread_cond_wait(&s->job_done, &s->mutex);
    s->job = &job;
    wake(s);
    while (!job.finished)
        pthread_cond_wait(&s->job_done, &s->mutex);
    pthread_mutex_unlock(&s->mutex);
    return job.result;
}

void sqlite_writer_want_ids(struct store *s)
{
    pthread_mutex_lock(&s->mutex);
    s->ids_wanted = true;
    wake(s);
    pthread_mutex_unlock(&s->mutex);
}

void sqlite_writer_stop(struct store *s)
{
    pthread_mutex_lock(&s->mutex);
    s->stopping = true;
    pthread_cond_signal(&s->wake);
    pthread_mutex_unlock(&s->mutex);
    thread_join(s->thread);
    s->thread = NULL;
    if (s->inline_loop)
        loop_defer_cancel(s->inline_loop, &s->inline_run);
    while (s->first) /* nobody else runs any more: what an inline writer had not begun, and what a
                        done submitted */
        run_inline(&s->inline_run);
}

int store_start(struct store *s, const struct store_hooks *hooks, struct err *err)
{
    assert(!s->started);
    if (hooks)
        s->hooks = *hooks;
    if (s->memory) {
        struct store_hooks memory = s->hooks;
        memory.ctx = memory.memory_ctx;
        memory.switched = NULL;
        if (store_start(s->memory, &memory, err) < 0)
            return -1;
    }
    s->inline_run.fn = run_inline;
    if (!s->inline_loop) {
        s->thread = thread_start(s->in_memory ? "writer-memory" : "writer", writer_main, s, err);
        if (!s->thread)
            return -1;
    }
    pthread_mutex_lock(&s->mutex);
    s->started = true;
    if (s->inline_loop && (s->first || s->ids_wanted))
        wake(s);
    pthread_mutex_unlock(&s->mutex);
    return 0;
}

void store_submit(struct store *s, struct store_unit *first, struct store_unit *last)
{
    size_t count = 1;
    if (s->memory)
        sqlite_memory_take(s, &first, &last);
    if (!first)
        return;
    last->next = NULL;
    for (const struct store_unit *u = first; u != last; u = u->next)
        count++;
    atomic_fetch_add(&s->queued, count);
    pthread_mutex_lock(&s->mutex);
    if (s->last)
        s->last->next = first;
    else
        s->first = first;
    s->last = last;
    wake(s);
    pthread_mutex_unlock(&s->mutex);
}

size_t store_queue_length(const struct store *s)
{
    return atomic_load(&s->queued);
}
