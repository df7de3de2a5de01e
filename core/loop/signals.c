/* SPDX-License-Identifier: MIT */
/* Signals become ordinary callbacks of one loop, so that no code of ours runs in a handler.
 * libevent keeps one set of handlers a process: only the main thread's loop may have a struct
 * signals. */
#include "loop/signals.h"

#include "base/mem.h"
#include "loop/inside.h"

#include <event2/event.h>

#include <signal.h>
#include <stdlib.h>

struct watch {
    struct signals *owner;
    struct event *event;
    int number;
};

struct signals {
    struct loop *loop;
    void (*fn)(void *ctx, int number);
    void *ctx;
    size_t count;
    struct watch watches[];
};

static void on_signal(evutil_socket_t number, short what, void *arg)
{
    (void)what;
    struct watch *w = arg;
    w->owner->loop->ran++;
    w->owner->fn(w->owner->ctx, (int)number);
}

static int watch_start(struct signals *s, int number, struct err *err)
{
    struct watch *w = &s->watches[s->count];
    w->owner = s;
    w->number = number;
    w->event = evsignal_new(loop_base(s->loop), number, on_signal, w);
    if (!w->event || event_add(w->event, NULL) < 0) {
        if (w->event)
            event_free(w->event);
        return err_sys(err, ERR_INTERNAL, "take signal %d", number);
    }
    s->count++;
    return 0;
}

struct signals *signals_new(struct loop *l, const int *numbers, void (*fn)(void *ctx, int number),
                            void *ctx, struct err *err)
{
    size_t count = 0;
    while (numbers[count] != 0)
        count++;
    struct signals *s = xcalloc(1, sizeof(*s) + count * sizeof(s->watches[0]));
    s->loop = l;
    s->fn = fn;
    s->ctx = ctx;
    signal(SIGPIPE, SIG_IGN); /* a peer that hung up is an error of write, not a reason to die */
    for (size_t i = 0; i < count; i++) {
        if (watch_start(s, numbers[i], err) < 0) {
            signals_free(s);
            return NULL;
        }
    }
    return s;
}

void signals_free(struct signals *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->count; i++)
        event_free(s->watches[i].event);
    free(s);
}
