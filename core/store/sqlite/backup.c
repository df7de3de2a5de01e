/* SPDX-License-Identifier: MIT */

/* A copy of the store, made while others write. A backup that is there can be trusted: it gets its
 * name only after it was checked and is on disk, so that a crash in between leaves a file that
 * nobody takes for one. */

#include "store/inspect.h"
#include "store/sqlite/engine.h"

#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* SQLite has written the copy; whether it is on disk is another matter. */
static int sync_path(const char *path, int flags, struct err *err)
{
    int fd = open(path, flags | O_CLOEXEC);
    int failed = fd < 0 || fsync(fd) != 0;
    if (failed)
        err_sys(err, ERR_IO, "sync %s", path);
    if (fd >= 0)
        close(fd);
    return failed ? -1 : 0;
}

/* Is what was written a whole store? */
static int check_copy(const char *path, struct err *err)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *stmt = NULL;
    int rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(stmt);
    bool whole = rc == SQLITE_ROW && strcmp((const char *)sqlite3_column_text(stmt, 0), "ok") == 0;
    sqlite3_finalize(stmt);
    sqlite3_close(db);
    return whole ? 0 : err_set(err, ERR_IO, "the backup %s is not whole", path);
}

static int vacuum_into(struct store *s, const char *path, struct err *err)
{
    sqlite3_stmt *stmt = sqlite_migrate_stmt(s, "VACUUM INTO ?1", err);
    if (!stmt)
        return -1;
    sqlite_stmts_bind_text(stmt, 1, str_from(path));
    int rc = sqlite3_step(stmt);
    if (rc != SQLITE_DONE)
        sqlite_db_fail(&s->conn, rc, "back up", err);
    sqlite3_finalize(stmt);
    return rc == SQLITE_DONE ? 0 : -1;
}

static int give_name(const char *part, const char *path, struct err *err)
{
    if (rename(part, path) != 0)
        return err_sys(err, ERR_IO, "name the backup %s", path);
    char *copy = xstrdup(path);
    int failed = sync_path(dirname(copy), O_RDONLY | O_DIRECTORY, err);
    free(copy);
    return failed;
}

/* SQLite takes an empty file for a new one, and it is for its owner's eyes from the start. */
static int make_part(const char *part, struct err *err)
{
    int fd = open(part, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, ERR_IO, "make %s", part);
    close(fd);
    return 0;
}

int sqlite_backup_write(struct store *s, const char *path, struct err *err)
{
    struct buf name = BUF_INIT;
    if (access(path, F_OK) == 0)
        return err_set(err, ERR_EXISTS, "%s is there already; a backup overwrites nothing", path);
    buf_addf(&name, "%s.part-%d", path, (int)getpid());
    const char *part = buf_str(&name).p;
    int failed = make_part(part, err);
    if (!failed) {
        failed = vacuum_into(s, part, err) < 0 || check_copy(part, err) < 0 ||
                 sync_path(part, O_RDONLY, err) < 0 || give_name(part, path, err) < 0;
        if (failed)
            unlink(part);
    }
    buf_deinit(&name);
    return failed ? -1 : 0;
}

int store_backup(const char *folder, const char *path, struct err *err)
{
    struct store *s = sqlite_inspect_open(folder, err);
    if (!s)
        return -1;
    /* What SQLite counts as writing is the copy. */
    int failed = sqlite_db_exec(&s->conn, "PRAGMA query_only=0", err) < 0 ||
                 sqlite_backup_write(s, path, err) < 0;
    sqlite_inspect_close(s);
    return failed ? -1 : 0;
}
