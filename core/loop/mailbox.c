/* SPDX-License-Identifier: MIT */
/* Threads meet only here. Producers hold the lock for a few instructions and pay for a system call
 * only when the queue was empty; the owner takes the whole queue at once and runs it in slices,
 * because a flood that was drained in one go once held back every other connection for most of a
 * second. */
#include "loop/mailbox.h"

#include "base/mem.h"
#include "loop/inside.h"

#include <event2/event.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define PER_TURN 64
#define SLICE_NS (2 * NS_PER_MS)
#define MAILS_PER_CLOCK_READ 8

struct mail_list {
    struct mail *first, *last;
};

struct mailbox {
    struct loop *loop;
    int fd;
    struct event *event;
    struct loop_defer again; /* brings the rest of a slice into the next turn */
    struct mail_list taken;  /* the owner's: what no longer needs the lock */
    int per_turn;
    bool running;
    pthread_mutex_t lock; /* over posted */
    struct mail_list posted;
};

static void append(struct mail_list *list, struct mail *first, struct mail *last)
{
    last->next = NULL;
    if (list->last)
        list->last->next = first;
    else
        list->first = first;
    list->last = last;
}

static void take_posted(struct mailbox *mb)
{
    pthread_mutex_lock(&mb->lock);
    struct mail_list list = mb->posted;
    mb->posted = (struct mail_list){NULL, NULL};
    pthread_mutex_unlock(&mb->lock);
    if (list.first)
        append(&mb->taken, list.first, list.last);
}

static void run_first(struct mailbox *mb)
{
    struct mail *m = mb->taken.first;
    mb->taken.first = m->next;
    if (!mb->taken.first)
        mb->taken.last = NULL;
    m->next = NULL;
    mb->loop->ran++;
    m->run(m);
}

static void run_slice(struct mailbox *mb)
{
    const struct clock *clock = loop_clock(mb->loop);
    int64_t until_ns = loop_now_ns(mb->loop) + SLICE_NS;
    for (int i = 1; mb->taken.first && i <= mb->per_turn; i++) {
        run_first(mb);
        if (i % MAILS_PER_CLOCK_READ == 0 && clock_mono_ns(clock) >= until_ns)
            return;
    }
}

/* The eventfd is never read: it is watched edge-triggered, and every write is an edge. */
static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct mailbox *mb = arg;
    mb->running = true;
    take_posted(mb);
    run_slice(mb);
    mb->running = false;
    if (mb->taken.first)
        loop_defer(mb->loop, &mb->again);
}

/* From the end of the turn: activated within the poll, the event would run again before the poll
 * returns. */
static void on_again(struct loop_defer *d)
{
    struct mailbox *mb = (struct mailbox *)(void *)((char *)d - offsetof(struct mailbox, again));
    event_active(mb->event, EV_READ, 1);
}

static void wake(const struct mailbox *mb)
{
    const uint64_t one = 1;
    ssize_t n;
    do
        n = write(mb->fd, &one, sizeof(one));
    while (n < 0 && errno == EINTR);
    assert(n == sizeof(one));
}

struct mailbox *mailbox_new(struct loop *l, struct err *err)
{
    struct mailbox *mb = xcalloc(1, sizeof(*mb));
    mb->loop = l;
    mb->per_turn = PER_TURN;
    mb->again.fn = on_again;
    pthread_mutex_init(&mb->lock, NULL);
    mb->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (mb->fd < 0) {
        err_sys(err, ERR_INTERNAL, "make an eventfd");
        mailbox_free(mb);
        return NULL;
    }
    mb->event = event_new(loop_base(l), mb->fd, EV_READ | EV_PERSIST | EV_ET, on_wake, mb);
    if (!mb->event || event_add(mb->event, NULL) < 0) {
        err_sys(err, ERR_INTERNAL, "watch an eventfd");
        mailbox_free(mb);
        return NULL;
    }
    return mb;
}

void mailbox_free(struct mailbox *mb)
{
    if (!mb)
        return;
    assert(!mb->running);
    loop_defer_cancel(mb->loop, &mb->again);
    if (mb->event)
        event_free(mb->event);
    if (mb->fd >= 0)
        close(mb->fd);
    pthread_mutex_destroy(&mb->lock);
    free(mb);
}

void mailbox_post(struct mailbox *mb, struct mail *m)
{
    mailbox_post_all(mb, m, m);
}

void mailbox_post_all(struct mailbox *mb, struct mail *first, struct mail *last)
{
    pthread_mutex_lock(&mb->lock);
    bool was_empty = !mb->posted.first;
    append(&mb->posted, first, last);
    pthread_mutex_unlock(&mb->lock);
    if (was_empty)
        wake(mb);
}

void mailbox_set_per_turn(struct mailbox *mb, int per_turn)
{
    assert(per_turn > 0);
    mb->per_turn = per_turn;
}
