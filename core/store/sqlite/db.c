/* SPDX-License-Identifier: MIT */

/* The file: opened under the folder's lock, checked to be one of Moontide's before anything is
 * written to it, and, after a COMMIT that failed, closed and opened again: a failed fsync leaves
 * nothing to trust in memory. */

#include "base/file.h"
#include "base/log.h"
#include "store/sqlite/engine.h"
#include "store/sqlite/vfs_fault.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* SQLite's configuration is process-wide and must come before its first use: hence this one static.
 */
static pthread_once_t configured = PTHREAD_ONCE_INIT;

static void configure(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* its counters cost a mutex at each allocation */
    sqlite3_initialize();
}

static enum err_code code_of(const struct sqlite_conn *conn, int rc)
{
    int os = conn->db ? sqlite3_system_errno(conn->db) : 0;
    switch (rc & 0xff) {
    case SQLITE_FULL:
        return ERR_DISK_FULL;
    case SQLITE_IOERR:
        return os == ENOSPC || os == EDQUOT ? ERR_DISK_FULL : ERR_IO;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_PROTOCOL:
        return ERR_IO;
    case SQLITE_TOOBIG:
        return ERR_TOO_LARGE;
    default:
        return ERR_INTERNAL;
    }
}

/* One integer from a statement that is not worth caching; missing rows read as 0. */
static int read_int(struct sqlite_conn *conn, const char *sql, int64_t *ret, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(conn->db, sql, -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    int64_t value = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        sqlite_db_fail(conn, rc, "read", err);
    sqlite3_finalize(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return -1;
    *ret = value;
    return 0;
}

/* The identity and the tables of a new file, in one transaction before the file becomes one with a
 * WAL: a crash leaves an empty file or a whole one. */
static int make_file(struct store *s, struct err *err)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    unsigned char random[8];
    char name[sizeof(random) + 1] = {0};
    file_random(random, sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        name[i] = letters[random[i] % (sizeof(letters) - 1)];
    struct buf sql = BUF_INIT;
    buf_addf(&sql, "BEGIN EXCLUSIVE;PRAGMA application_id=%d;PRAGMA user_version=%d;",
             ENGINE_APPLICATION_ID, ENGINE_FORMAT);
    buf_adds(&sql, str_from(sqlite_sql_system()));
    buf_adds(&sql, str_from(sqlite_sql_added()));
    if (s->in_memory)
        buf_addf(&sql,
                 "INSERT INTO sqlite_sequence(name,seq) VALUES('_moontide_policies',%lld),"
                 "('_moontide_letters',%lld);",
                 (long long)ENGINE_MEMORY_FIRST, (long long)ENGINE_MEMORY_FIRST);
    buf_addf(&sql, "INSERT INTO _moontide_meta VALUES('log','%s');COMMIT;", name);
    int failed = sqlite_db_exec(&s->conn, buf_str(&sql).p, err);
    buf_deinit(&sql);
    return failed;
}

/* Is it a store that this build understands? *ret_empty: there is nothing in it yet. */
static int check_file(struct store *s, bool *ret_empty, struct err *err)
{
    int64_t pages, id, format;
    if (read_int(&s->conn, "PRAGMA page_count", &pages, err) < 0 ||
        read_int(&s->conn, "PRAGMA application_id", &id, err) < 0 ||
        read_int(&s->conn, "PRAGMA user_version", &format, err) < 0) {
        if ((sqlite3_errcode(s->conn.db) & 0xff) == SQLITE_NOTADB)
            return err_set(err, ERR_CONFIG, "%s is not a Moontide data file", s->path);
        return err_wrap(err, "%s", s->path);
    }
    *ret_empty = pages == 0;
    if (pages == 0)
        return 0;
    if (id != ENGINE_APPLICATION_ID)
        return err_set(err, ERR_CONFIG, "%s is not a Moontide data file", s->path);
    if (format > ENGINE_FORMAT)
        return err_set(err, ERR_CONFIG,
                       "%s was written by a newer Moontide (format %lld, this one knows %d)",
                       s->path, (long long)format, ENGINE_FORMAT);
    return 0;
}

static int check_or_make(struct store *s, struct err *err)
{
    bool empty;
    if (check_file(s, &empty, err) < 0)
        return -1;
    return empty ? make_file(s, err) : 0;
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int frames)
{
    (void)db;
    (void)name;
    ((struct store *)arg)->wal_frames = frames;
    return SQLITE_OK;
}

/* What the file says of the newest transaction becomes the state in memory. */
static int load_mark(struct store *s, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_stmts_fixed(&s->conn, SQL_MARK_READ, err);
    if (!stmt)
        return -1;
    int rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW) {
        s->batch = sqlite3_column_int64(stmt, 0);
        s->next_seq = sqlite3_column_int64(stmt, 1);
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_ROW ? 0 : sqlite_db_fail(&s->conn, rc, "read the mark", err);
}

static int load_name(struct store *s, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->conn.db, "SELECT value FROM _moontide_meta WHERE key='log'", -1,
                                &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    if (rc == SQLITE_ROW)
        snprintf(s->log_name, sizeof(s->log_name), "%s", sqlite3_column_text(stmt, 0));
    if (rc != SQLITE_ROW)
        sqlite_db_fail(&s->conn, rc, "read the log's name", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? 0 : -1;
}

/* A file system that cannot carry a WAL says so only by staying in another mode. */
static int use_wal(struct store *s, struct err *err)
{
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_prepare_v2(s->conn.db, "PRAGMA journal_mode=WAL", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    bool wal = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(stmt, 0), "wal") == 0;
    if (rc != SQLITE_ROW)
        sqlite_db_fail(&s->conn, rc, "use a write-ahead log", err);
    else if (!wal)
        err_set(err, ERR_CONFIG, "%s: this file system cannot hold a write-ahead log", s->path);
    sqlite3_finalize(stmt);
    return wal ? 0 : -1;
}

/* A file of an older build has all tables of this one by now: that build must not write to it any
 * more. */
static int raise_format(struct store *s, struct err *err)
{
    int64_t format;
    char sql[40];
    snprintf(sql, sizeof(sql), "PRAGMA user_version=%d", ENGINE_FORMAT);
    if (read_int(&s->conn, "PRAGMA user_version", &format, err) < 0)
        return -1;
    return format == ENGINE_FORMAT ? 0 : sqlite_db_exec(&s->conn, sql, err);
}

/* Closes a connection whose file cannot be used, and says which file that is. */
static int fail_open(const struct store *s, struct sqlite_conn *conn, struct err *err)
{
    int rc = sqlite3_errcode(conn->db) & 0xff;
    sqlite_db_disconnect(conn);
    if (rc == SQLITE_NOTADB)
        return err_set(err, ERR_CONFIG, "%s is not a Moontide data file", s->path);
    if (rc == SQLITE_CORRUPT)
        return err_set(err, ERR_IO, "%s is damaged (%s); start with a backup in another folder",
                       s->path, sqlite3_errstr(rc));
    if (strncmp(err->message, s->path, strlen(s->path)) == 0)
        return -1;
    return err_wrap(err, "%s", s->path);
}

/* The writer's connection: the only one that may make the file. */
static int open_writer(struct store *s, struct err *err)
{
    if (sqlite_db_check_wal(s, err) < 0 ||
        sqlite_db_connect(s, &s->conn, ENGINE_WRITER_CACHE_KIB, false, err) < 0)
        return -1;
    if (check_or_make(s, err) < 0 || use_wal(s, err) < 0 ||
        sqlite_db_exec(&s->conn, sqlite_sql_added(), err) < 0 || raise_format(s, err) < 0 ||
        sqlite_repeats_purge(s, err) < 0 || load_mark(s, err) < 0)
        return fail_open(s, &s->conn, err);
    /* The writer checkpoints at its mark itself, once the owners of the batch have their answers.
     */
    sqlite3_wal_hook(s->conn.db, on_wal, s);
    s->wal_frames = 0;
    s->conn.epoch = atomic_load(&s->epoch);
    return 0;
}

void sqlite_db_init(void)
{
    pthread_once(&configured, configure);
}

/* Byte 18 of a file says whether it ever had a WAL: this is durable before one is begun, and a
 * backup says no; SQLite throws a WAL away whose file is missing or empty. The WAL is looked at
 * first, so that one that another process begins meanwhile is not taken for foreign. */
int sqlite_db_check_wal(struct store *s, struct err *err)
{
    struct stat st;
    struct buf wal = BUF_INIT;
    char head[19] = {0};
    buf_addf(&wal, "%s-wal", s->path);
    bool there = stat(buf_str(&wal).p, &st) == 0 && st.st_size > 0;
    int fd = there ? open(s->path, O_RDONLY | O_CLOEXEC) : -1;
    bool whole = fd >= 0 && read(fd, head, sizeof(head)) == (ssize_t)sizeof(head);
    if (fd >= 0)
        close(fd);
    int failed = 0;
    if (there && !whole)
        failed = err_set(err, ERR_CONFIG,
                         "%s is there and %s is missing or empty: put back both of them, or start "
                         "with a backup in another folder",
                         wal.p, s->path);
    else if (whole && memcmp(head, "SQLite format 3", 16) == 0 && head[18] == 1)
        failed = err_set(err, ERR_CONFIG,
                         "%s is not of %s, which is a backup: put the backup into an empty folder, "
                         "or remove what begins with moontide.db- here",
                         wal.p, s->path);
    buf_deinit(&wal);
    return failed;
}

int sqlite_db_check(struct store *s, struct err *err)
{
    bool empty;
    if (check_file(s, &empty, err) < 0)
        return -1;
    return empty ? err_set(err, ERR_NOT_FOUND, "there is nothing in %s yet", s->path) : 0;
}

int sqlite_db_connect(struct store *s, struct sqlite_conn *conn, int cache_kib, bool query_only,
                      struct err *err)
{
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (query_only ? 0 : SQLITE_OPEN_CREATE);
    char pragmas[160];
    snprintf(pragmas, sizeof(pragmas),
             "PRAGMA synchronous=%s;PRAGMA foreign_keys=OFF;PRAGMA cache_size=-%d;"
             "PRAGMA query_only=%d",
             s->in_memory ? "OFF" : "FULL", cache_kib, query_only);
    int rc = sqlite3_open_v2(s->path, &conn->db, flags, s->vfs);
    if (rc != SQLITE_OK) {
        sqlite_db_fail(conn, rc, s->path, err);
        sqlite_db_disconnect(conn);
        return -1;
    }
    sqlite3_extended_result_codes(conn->db, 1);
    sqlite3_busy_timeout(conn->db, 10000);
    return sqlite_db_exec(conn, pragmas, err) < 0 ? fail_open(s, conn, err) : 0;
}

void sqlite_db_disconnect(struct sqlite_conn *conn)
{
    sqlite_stmts_clear(conn);
    sqlite3_close_v2(conn->db);
    conn->db = NULL;
}

/* The new connection is made before the old one goes: as long as one of them is open nobody
 * recovers the log, and frames whose fsync failed stay outside of it. */
int sqlite_db_reopen(struct store *s, struct err *err)
{
    struct sqlite_conn *old = xmalloc(sizeof(*old));
    *old = s->conn;
    memset(&s->conn, 0, sizeof(s->conn));
    bool again = old->db != NULL;
    int failed = open_writer(s, err);
    sqlite_db_disconnect(old);
    free(old);
    if (failed && again)
        failed = open_writer(s, err);
    if (failed)
        return err_wrap(err, "open the store again");
    log_event(LOG_WARN, "store opened again", LOG_C("path", s->path));
    return 0;
}

int sqlite_db_fail(const struct sqlite_conn *conn, int rc, const char *what, struct err *err)
{
    int os = conn->db ? sqlite3_system_errno(conn->db) : 0;
    const char *text = conn->db && sqlite3_errcode(conn->db) != SQLITE_OK ? sqlite3_errmsg(conn->db)
                                                                          : sqlite3_errstr(rc);
    if ((rc & 0xff) == SQLITE_CORRUPT) /* only some of its pages are read when it is opened */
        return err_set(err, ERR_IO,
                       "store: %s: moontide.db is damaged (%s); start with a backup in another "
                       "folder",
                       what, text);
    err_set(err, code_of(conn, rc), "store: %s: %s (%d%s%s)", what, text, rc, os ? ", " : "",
            os ? strerror(os) : "");
    return -1;
}

int sqlite_db_exec(struct sqlite_conn *conn, const char *sql, struct err *err)
{
    int rc = sqlite3_exec(conn->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : sqlite_db_fail(conn, rc, "run", err);
}

int sqlite_db_rollback(struct sqlite_conn *conn, struct err *err)
{
    if (!conn->db || sqlite3_get_autocommit(conn->db))
        return 0;
    return sqlite_db_exec(conn, "ROLLBACK", err);
}

static void free_store(struct store *s);

/* A store with nothing open. */
static struct store *new_store(const struct store_conf *conf)
{
    struct store *s = xcalloc(1, sizeof(*s));
    struct buf path = BUF_INIT;
    buf_addf(&path, "%s/moontide.db", conf->folder);
    s->folder = xstrdup(conf->folder);
    s->path = xstrndup(path.p, path.n);
    s->lock_fd = -1;
    s->clock = conf->clock;
    s->inline_loop = conf->inline_loop;
    s->slow_reads = conf->slow_reads;
    pthread_mutex_init(&s->mutex, NULL);
    pthread_cond_init(&s->wake, NULL);
    pthread_cond_init(&s->job_done, NULL);
    sqlite_ids_init(&s->ids);
    buf_deinit(&path);
    return s;
}

int sqlite_db_open_memory(struct store *s, const struct store_conf *conf, struct err *err)
{
    s->memory = new_store(conf);
    s->memory->in_memory = true;
    return open_writer(s->memory, err);
}

void sqlite_db_close_memory(struct store *s)
{
    free_store(s->memory);
    s->memory = NULL;
}

static void free_store(struct store *s)
{
    sqlite_memory_close(s);
    sqlite_db_disconnect(&s->conn);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    sqlite_ids_deinit(&s->ids);
    pthread_cond_destroy(&s->job_done);
    pthread_cond_destroy(&s->wake);
    pthread_mutex_destroy(&s->mutex);
    buf_deinit(&s->scratch);
    sqlite_indexes_keep(s);
    sqlite_retention_forget(s);
    for (size_t i = 0; i < s->name_count; i++)
        free(s->names[i]);
    free(s->names);
    free(s->path);
    free(s->folder);
    free(s);
}

struct store *store_open(const struct store_conf *conf, struct err *err)
{
    struct buf lock = BUF_INIT;
    sqlite_db_init();
    struct store *s = new_store(conf);
    s->vfs = vfs_fault_name();
    buf_addf(&lock, "%s/moontide.lock", conf->folder);
    bool failed = file_make_dirs(conf->folder, err) < 0 ||
                  (s->lock_fd = file_lock(buf_str(&lock).p, err)) < 0 || open_writer(s, err) < 0 ||
                  load_name(s, err) < 0 ||
                  (conf->memory_root && sqlite_memory_open(s, conf, err) < 0);
    buf_deinit(&lock);
    if (failed) {
        free_store(s);
        return NULL;
    }
    atomic_store(&s->last_seq, s->next_seq);
    return s;
}

void store_close(struct store *s)
{
    struct err err = {0};
    if (!s)
        return;
    if (s->memory)
        sqlite_writer_stop(s->memory);
    sqlite_writer_stop(s);
    if (s->memory)
        sqlite_writer_stop(s->memory); /* what the other one's units led to */
    /* Ids that are not given back are skipped, nothing worse. */
    if (s->conn.db && sqlite_ids_give_back(s, &err) < 0)
        log_event(LOG_WARN, "unused ids not given back", LOG_C("error", err.message));
    free_store(s); /* the last connection checkpoints */
}

struct str store_log_name(const struct store *s)
{
    return str_from(s->log_name);
}

int64_t store_log_last_seq(struct store *s)
{
    return atomic_load(&s->last_seq);
}
