/* SPDX-License-Identifier: MIT */
/* Files as the host needs them: read whole and bounded, replaced so that a crash leaves the old or
 * the new content and nothing between, walked in an order that does not depend on the machine. */
#include "base/file.h"

#include "base/mem.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_CHUNK ((size_t)16 * 1024)

static void close_keeping_errno(int fd)
{
    int saved = errno;
    close(fd);
    errno = saved;
}

/* Reads to the end of fd; 0, -1 with errno, or 1 if there is more than max. */
static int read_all(int fd, size_t max, struct buf *out)
{
    size_t start = out->n;
    for (;;) {
        size_t room = max - (out->n - start) + 1; /* one more byte tells whether it is too much */
        if (room > READ_CHUNK)
            room = READ_CHUNK;
        buf_reserve(out, room);
        ssize_t n = read(fd, out->p + out->n, room);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return (int)n;
        out->n += (size_t)n;
        if (out->n - start > max)
            return 1;
    }
}

int file_read(const char *path, size_t max, struct buf *out, struct err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "open %s", path);
    size_t start = out->n;
    int rc = read_all(fd, max, out);
    close_keeping_errno(fd);
    if (rc == 0)
        return 0;
    out->n = start;
    if (rc > 0)
        return err_set(err, ERR_TOO_LARGE, "%s is larger than %zu bytes", path, max);
    return err_sys(err, ERR_IO, "read %s", path);
}

static int write_all(int fd, struct str s)
{
    while (s.n > 0) {
        ssize_t n = write(fd, s.p, s.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        s = (struct str){s.p + n, s.n - (size_t)n};
    }
    return 0;
}

/* Where the name begins in path; the folder lies before. */
static size_t name_start(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? (size_t)(slash - path) + 1 : 0;
}

/* A rename is durable once the folder is. */
static int sync_folder(const char *path, struct err *err)
{
    size_t n = name_start(path);
    char *folder = n > 0 ? xstrndup(path, n) : xstrdup(".");
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd < 0 ? -1 : fsync(fd);
    if (fd >= 0)
        close_keeping_errno(fd);
    if (rc)
        err_sys(err, ERR_IO, "sync folder %s", folder);
    free(folder);
    return rc;
}

/* Fills the open temporary file and puts it in place; closes fd. */
static int finish_write(int fd, const char *temporary, const char *path, struct str content,
                        int mode)
{
    int rc = fchmod(fd, (mode_t)mode);
    if (rc == 0)
        rc = write_all(fd, content);
    if (rc == 0)
        rc = fsync(fd);
    close_keeping_errno(fd);
    return rc == 0 ? rename(temporary, path) : rc;
}

int file_write(const char *path, struct str content, int mode, struct err *err)
{
    /* Hidden, so that nothing that walks the folder takes it for content. */
    struct buf temporary = BUF_INIT;
    size_t start = name_start(path);
    buf_add(&temporary, path, start);
    buf_addf(&temporary, ".%s.XXXXXX", path + start);
    buf_str(&temporary);
    int fd = mkostemp(temporary.p, O_CLOEXEC);
    int rc = fd < 0 ? -1 : finish_write(fd, temporary.p, path, content, mode);
    if (rc) {
        int saved = errno;
        if (fd >= 0)
            unlink(temporary.p);
        errno = saved;
        err_sys(err, ERR_IO, "write %s", path);
    }
    buf_deinit(&temporary);
    return rc ? -1 : sync_folder(path, err);
}

static int make_dir(const char *path, struct err *err)
{
    struct stat st;
    if (mkdir(path, 0700) == 0)
        return 0;
    if (errno == EEXIST && stat(path, &st) == 0 && S_ISDIR(st.st_mode))
        return 0;
    if (errno == EEXIST)
        errno = ENOTDIR;
    return err_sys(err, ERR_IO, "make folder %s", path);
}

int file_make_dirs(const char *path, struct err *err)
{
    char *copy = xstrdup(path);
    int rc = 0;
    for (char *p = copy + 1; rc == 0 && *copy && *p; p++) {
        if (*p != '/' || p[-1] == '/')
            continue;
        *p = '\0';
        rc = make_dir(copy, err);
        *p = '/';
    }
    free(copy);
    return rc ? -1 : make_dir(path, err);
}

static int refuse_locked(int fd, const char *path, struct err *err)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof text, 0);
    int64_t pid;
    if (n > 0 && text[n - 1] == '\n')
        n--;
    if (n > 0 && str_to_int((struct str){text, (size_t)n}, &pid))
        return err_set(err, ERR_LOCKED, "data folder is in use by process %ld (%s)", (long)pid,
                       path);
    return err_set(err, ERR_LOCKED, "data folder is in use by another process (%s)", path);
}

int file_lock(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(err, ERR_IO, "open %s", path);
    int rc;
    if (flock(fd, LOCK_EX | LOCK_NB)) {
        rc = errno == EWOULDBLOCK ? refuse_locked(fd, path, err)
                                  : err_sys(err, ERR_IO, "lock %s", path);
        close(fd);
        return rc;
    }
    char pid[32];
    int n = snprintf(pid, sizeof pid, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) || pwrite(fd, pid, (size_t)n, 0) != n) {
        err_sys(err, ERR_IO, "write %s", path);
        close(fd);
        return -1;
    }
    return fd;
}

/* A walk collects first and visits then: the order is that of whole paths, which no order of
 * folders gives. */
struct walk {
    const char *suffix;
    char **paths; /* relative, owned */
    size_t count, cap;
};

static void walk_free(struct walk *w)
{
    for (size_t i = 0; i < w->count; i++)
        free(w->paths[i]);
    free(w->paths);
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

static int walk_dir(struct walk *w, int fd, const char *prefix, struct err *err);

/* A link to a file counts as the file; a link to a folder is not followed, it could lead in
 * circles. */
static int walk_entry(struct walk *w, int fd, const char *prefix, const char *name, struct err *err)
{
    struct stat st, target;
    if (fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) || fstatat(fd, name, &target, 0))
        return errno == ENOENT || errno == ELOOP ? 0
                                                 : err_sys(err, ERR_IO, "stat %s%s", prefix, name);
    struct buf path = BUF_INIT;
    buf_addf(&path, "%s%s", prefix, name);
    int rc = 0;
    if (S_ISDIR(st.st_mode)) {
        buf_addc(&path, '/');
        int sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (sub >= 0)
            rc = walk_dir(w, sub, buf_str(&path).p, err);
        else if (errno != ENOENT)
            rc = err_sys(err, ERR_IO, "open %s%s", prefix, name);
    } else if (S_ISREG(target.st_mode) && ends_with(name, w->suffix)) {
        vec_reserve(&w->paths, &w->cap, w->count + 1, sizeof *w->paths);
        w->paths[w->count++] = xstrndup(path.p, path.n);
    }
    buf_deinit(&path);
    return rc;
}

/* Consumes fd. */
static int walk_dir(struct walk *w, int fd, const char *prefix, struct err *err)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        close_keeping_errno(fd);
        return err_sys(err, ERR_IO, "open %s", prefix);
    }
    int rc = 0;
    errno = 0;
    for (struct dirent *e = readdir(d); e && rc == 0; e = rc == 0 ? readdir(d) : NULL) {
        if (e->d_name[0] != '.')
            rc = walk_entry(w, dirfd(d), prefix, e->d_name, err);
        errno = 0;
    }
    if (rc == 0 && errno != 0)
        rc = err_sys(err, ERR_IO, "read folder %s", prefix);
    closedir(d);
    return rc;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int file_each(const char *dir, const char *suffix, file_visit_fn *fn, void *ctx, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : err_sys(err, ERR_IO, "open %s", dir);
    struct walk w = {.suffix = suffix};
    int rc = walk_dir(&w, fd, "", err);
    if (rc == 0 && w.count > 1)
        qsort(w.paths, w.count, sizeof *w.paths, by_path);
    for (size_t i = 0; rc == 0 && i < w.count; i++)
        rc = fn(ctx, w.paths[i], err);
    walk_free(&w);
    return rc ? -1 : 0;
}

void file_random(void *out, size_t n)
{
    char *p = out;
    while (n > 0) {
        ssize_t got = getrandom(p, n, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            abort(); /* without randomness there are no safe ids or tokens */
        p += got;
        n -= (size_t)got;
    }
}
