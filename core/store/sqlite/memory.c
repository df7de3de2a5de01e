/* SPDX-License-Identifier: MIT */

/* The memory file holds what can be made again from the log: the rows of views in memory, and how
 * far these are. It is a second SQLite file with a writer and connections of its own, so that views
 * neither wait for the disk nor hold up what does; rows and positions lie in it together, so that
 * they are of one moment. It stands on a tmpfs in a folder that is named by the data folder, so
 * that the next start finds what a killed process has left: a file with a WAL cannot be unlinked
 * while several connections use it. */

#include "base/file.h"
#include "base/log.h"
#include "store/sqlite/engine.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_TRIES 100
#define LOCK_PAUSE_US 1000

/* The lock is a file of the data folder that exists as long as this does: device and inode name it,
 * wherever the folder is moved, and a copy of the folder has another. */
static int name_folder(const struct store *s, const char *root, struct buf *out, struct err *err)
{
    struct stat st;
    if (root[0] == '\0') {
        buf_addf(out, "%s/memory", s->folder);
        return 0;
    }
    if (fstat(s->lock_fd, &st) < 0)
        return err_sys(err, ERR_IO, "cannot look at the lock of %s", s->folder);
    buf_addf(out, "%s/moontide-%lu-%llx-%llx", root, (unsigned long)geteuid(),
             (unsigned long long)st.st_dev, (unsigned long long)st.st_ino);
    return 0;
}

/* A folder that everybody may write to may hold one that somebody else has made. */
static bool is_own(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
           (st.st_mode & 0077) == 0;
}

static void remove_one(const char *folder, const char *name)
{
    struct buf path = BUF_INIT;
    buf_addf(&path, "%s/%s", folder, name);
    unlink(buf_str(&path).p);
    buf_deinit(&path);
}

static void remove_files(const char *folder)
{
    remove_one(folder, "moontide.db");
    remove_one(folder, "moontide.db-wal");
    remove_one(folder, "moontide.db-shm");
}

/* The lock of a folder says that a process uses it. -1: one does, or there is no such folder. */
static int lock(const char *folder, struct err *err)
{
    struct buf path = BUF_INIT;
    struct stat held, there;
    buf_addf(&path, "%s/lock", folder);
    int fd = file_lock(buf_str(&path).p, err);
    /* Whoever sweeps may have removed the file between our opening it and our locking it. */
    if (fd >= 0 &&
        (fstat(fd, &held) < 0 || stat(path.p, &there) < 0 || held.st_ino != there.st_ino)) {
        close(fd);
        fd = err_set(err, ERR_LOCKED, "%s is being removed", folder);
    }
    buf_deinit(&path);
    return fd;
}

static void remove_folder(const char *folder)
{
    remove_files(folder);
    remove_one(folder, "lock");
    rmdir(folder);
}

/* What killed processes left whose data folder nobody starts again. */
static void sweep(const char *root)
{
    struct err err;
    char prefix[48];
    int n = snprintf(prefix, sizeof(prefix), "moontide-%lu-", (unsigned long)geteuid());
    DIR *dir = opendir(root);
    for (struct dirent *e; dir && (e = readdir(dir)) != NULL;) {
        if (strncmp(e->d_name, prefix, (size_t)n) != 0)
            continue;
        struct buf folder = BUF_INIT;
        buf_addf(&folder, "%s/%s", root, e->d_name);
        int fd = is_own(buf_str(&folder).p) ? lock(folder.p, &err) : -1;
        if (fd >= 0) {
            remove_folder(folder.p);
            close(fd);
        }
        buf_deinit(&folder);
    }
    if (dir)
        closedir(dir);
}

/* Made and locked: the lock, or -1. */
static int take_folder(const char *folder, struct err *err)
{
    int fd = -1;
    for (int i = 0; fd < 0 && i < LOCK_TRIES; i++) {
        (void)mkdir(folder, 0700);
        if (!is_own(folder) && access(folder, F_OK) == 0)
            return err_set(err, ERR_IO, "%s cannot be made a folder of this user alone", folder);
        fd = lock(folder, err);
        if (fd < 0)
            usleep(LOCK_PAUSE_US); /* somebody sweeps: the data folder's own lock is ours */
    }
    return fd;
}

static int open_in(struct store *s, const struct store_conf *conf, const char *root,
                   struct err *err)
{
    struct buf folder = BUF_INIT;
    if (name_folder(s, root, &folder, err) < 0)
        return -1;
    struct store_conf memory = *conf;
    memory.folder = buf_str(&folder).p;
    int fd = take_folder(memory.folder, err), failed = fd < 0;
    if (!failed) {
        remove_files(memory.folder);
        failed = sqlite_db_open_memory(s, &memory, err);
        s->memory->lock_fd = fd;
        if (failed)
            sqlite_memory_close(s);
    }
    buf_deinit(&folder);
    return failed ? -1 : 0;
}

int sqlite_memory_open(struct store *s, const struct store_conf *conf, struct err *err)
{
    struct err first;
    if (conf->memory_root[0] == '\0')
        return open_in(s, conf, "", err);
    sweep(conf->memory_root);
    if (open_in(s, conf, conf->memory_root, &first) == 0)
        return 0;
    log_event(LOG_WARN, "views in memory are kept in the data folder",
              LOG_C("error", first.message));
    return open_in(s, conf, "", err);
}

void sqlite_memory_close(struct store *s)
{
    if (!s->memory)
        return;
    char *folder = xstrdup(s->memory->folder);
    sqlite_db_close_memory(s);
    remove_folder(folder);
    free(folder);
}

void sqlite_memory_take(struct store *s, struct store_unit **first, struct store_unit **last)
{
    struct store_unit *left = NULL, **left_at = &left, *left_last = NULL;
    struct store_unit *taken = NULL, **taken_at = &taken, *taken_last = NULL;
    (*last)->next = NULL;
    for (struct store_unit *u = *first, *next; u; u = next) {
        next = u->next;
        u->next = NULL;
        struct store_unit ***at = u->in_memory ? &taken_at : &left_at;
        **at = u;
        *at = &u->next;
        *(u->in_memory ? &taken_last : &left_last) = u;
    }
    *first = left;
    *last = left_last;
    if (taken)
        store_submit(s->memory, taken, taken_last);
}
