/* SPDX-License-Identifier: MIT */
/* One inotify descriptor and a watch for every folder. Which folder an event came from does not
 * matter: whoever is told reads the whole tree anyway. So only the watches themselves are kept, and
 * whenever a folder comes, goes or moves the tree is walked again: what the walk does not meet is
 * no longer watched. */
#include "loop/watch.h"

#include "base/log.h"
#include "base/mem.h"
#include "loop/inside.h"

#include <event2/event.h>

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define INTERESTING                                                                                \
    (IN_CREATE | IN_MODIFY | IN_CLOSE_WRITE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |            \
     IN_DELETE_SELF | IN_MOVE_SELF)
#define READ_BYTES 16384
#define RETRY_NS NS_PER_S /* between looks for a folder that is not there at present */

struct place {
    int number; /* inotify's */
    bool met;   /* by the walk under way */
};

struct watch {
    struct loop *loop;
    struct event *event;
    int fd;
    char *folder;
    int64_t quiet_ns;
    void (*fn)(void *ctx);
    void *ctx;
    struct place *places;
    size_t count, cap;
    bool lost; /* the folder itself is not there, or not as a folder */
    struct loop_timer timer;
};

/* Folders still to be looked into by a walk. */
struct todo {
    struct arena *arena;
    char **paths;
    size_t count, cap;
};

static void add_todo(struct todo *t, const char *folder, const char *name)
{
    size_t n = strlen(folder), m = strlen(name);
    char *path = arena_alloc(t->arena, n + m + 2);
    memcpy(path, folder, n);
    path[n] = '/';
    memcpy(path + n + 1, name, m + 1);
    vec_reserve(&t->paths, &t->cap, t->count + 1, sizeof(*t->paths));
    t->paths[t->count++] = path;
}

static bool counts(const char *name, size_t n)
{
    return n > 0 && name[0] != '.' && name[n - 1] != '~';
}

static void add_below(struct todo *t, const char *folder)
{
    DIR *d = opendir(folder);
    if (!d)
        return; /* gone meanwhile, or not for us to read */
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        if ((e->d_type == DT_DIR || e->d_type == DT_UNKNOWN) &&
            counts(e->d_name, strlen(e->d_name)))
            add_todo(t, folder, e->d_name);
    }
    closedir(d);
}

/* True if the place is new to this walk: what a mount or a rename shows twice is looked into once.
 */
static bool meet(struct watch *w, int number)
{
    for (size_t i = 0; i < w->count; i++) {
        if (w->places[i].number != number)
            continue;
        bool again = w->places[i].met;
        w->places[i].met = true;
        return !again;
    }
    vec_reserve(&w->places, &w->cap, w->count + 1, sizeof(*w->places));
    w->places[w->count++] = (struct place){number, true};
    return true;
}

static void forget_others(struct watch *w)
{
    size_t kept = 0;
    for (size_t i = 0; i < w->count; i++) {
        if (w->places[i].met)
            w->places[kept++] = w->places[i];
        else
            inotify_rm_watch(w->fd, w->places[i].number); /* fails for one that is gone by itself */
    }
    w->count = kept;
}

/* A folder below that has gone meanwhile is no failure; the one at the top sets `lost`. */
static int watch_place(struct watch *w, struct todo *t, const char *path, struct err *err)
{
    uint32_t how = IN_ONLYDIR | IN_EXCL_UNLINK;
    if (t->count > 0) /* below the top links are not followed by those who read the tree either */
        how |= IN_DONT_FOLLOW;
    int number = inotify_add_watch(w->fd, path, INTERESTING | how);
    if (number >= 0) {
        if (meet(w, number))
            add_below(t, path);
        return 0;
    }
    if (errno == ENOSPC)
        return err_set(err, ERR_LIMIT,
                       "watch %s: no more watches; raise fs.inotify.max_user_watches", path);
    if (t->count > 0)
        return 0;
    w->lost = true;
    return err_sys(err, ERR_IO, "watch %s", path);
}

static int walk(struct watch *w, struct err *err)
{
    struct todo t = {.arena = arena_new(0)};
    for (size_t i = 0; i < w->count; i++)
        w->places[i].met = false;
    w->lost = false;
    int rc = watch_place(w, &t, w->folder, err);
    for (size_t i = 0; rc == 0 && i < t.count; i++)
        rc = watch_place(w, &t, t.paths[i], err);
    forget_others(w);
    free(t.paths);
    arena_free(t.arena);
    return rc;
}

static void changed(struct watch *w)
{
    loop_timer_start(w->loop, &w->timer, loop_now_ns(w->loop) + w->quiet_ns);
}

/* Walks again. A failure leaves some folders unwatched, which is said; one at the top is tried
 * again until the folder is back. */
static void look_again(struct watch *w)
{
    struct err err;
    if (!walk(w, &err))
        changed(w);
    else if (w->lost)
        loop_timer_start(w->loop, &w->timer, loop_now_ns(w->loop) + RETRY_NS);
    else
        log_event(LOG_WARN, "not all changes of the folder will be seen",
                  LOG_S("error", str_from(err.message)));
}

static void on_quiet(struct loop_timer *t)
{
    struct watch *w = (struct watch *)(void *)((char *)t - offsetof(struct watch, timer));
    if (w->lost)
        look_again(w);
    else
        w->fn(w->ctx); /* may free w */
}

/* Does the event move folders? Then *ret_again. Returns whether it is a change at all. */
static bool weigh(const struct inotify_event *e, bool *ret_again)
{
    if (e->mask & IN_IGNORED) /* the last word of a watch that ended */
        return false;
    if (e->mask & (IN_Q_OVERFLOW | IN_DELETE_SELF | IN_MOVE_SELF)) {
        *ret_again = true;
        return true;
    }
    if (e->len == 0 || !counts(e->name, strnlen(e->name, e->len)))
        return false;
    if (e->mask & IN_ISDIR)
        *ret_again = true;
    return true;
}

static void on_events(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct watch *w = arg;
    _Alignas(struct inotify_event) char bytes[READ_BYTES];
    bool change = false, again = false;
    w->loop->ran++;
    ssize_t n = read(fd, bytes, sizeof(bytes));
    for (ssize_t at = 0; at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(const void *)(bytes + at);
        change = weigh(e, &again) || change;
        at += (ssize_t)(sizeof(*e) + e->len);
    }
    if (change && !w->lost)
        changed(w);
    if (again && !w->lost)
        look_again(w);
}

struct watch *watch_new(struct loop *l, const char *folder, int quiet_ms, void (*fn)(void *ctx),
                        void *ctx, struct err *err)
{
    struct watch *w = xcalloc(1, sizeof(*w));
    w->loop = l;
    w->folder = xstrdup(folder);
    w->quiet_ns = quiet_ms * NS_PER_MS;
    w->fn = fn;
    w->ctx = ctx;
    w->timer.fn = on_quiet;
    w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    int rc = w->fd < 0 ? err_sys(err, ERR_IO, "watch %s", folder) : walk(w, err);
    if (rc == 0) {
        w->event = event_new(loop_base(l), w->fd, EV_READ | EV_PERSIST, on_events, w);
        if (!w->event || event_add(w->event, NULL) < 0)
            rc = err_sys(err, ERR_INTERNAL, "watch %s", folder);
    }
    if (rc == 0)
        return w;
    watch_free(w);
    return NULL;
}

void watch_free(struct watch *w)
{
    if (!w)
        return;
    loop_timer_stop(w->loop, &w->timer);
    if (w->event)
        event_free(w->event);
    if (w->fd >= 0)
        close(w->fd);
    free(w->places);
    free(w->folder);
    free(w);
}
