/* SPDX-License-Identifier: MIT */
/* One place where threads begin, so that none begins with signals open: a signal that landed on a
 * worker would interrupt whatever that worker waits for, and the main loop would learn of it late
 * or never. */
#include "loop/thread.h"

#include "base/mem.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#define NAME_BYTES 16 /* the kernel's limit, with the NUL */

/* Raised by the thread's own instructions: blocked, they would kill without a word from a sanitizer
 * or a debugger. */
static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL};

struct thread {
    pthread_t id;
    void (*fn)(void *arg);
    void *arg;
    char name[NAME_BYTES];
};

static void *run(void *arg)
{
    struct thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    t->fn(t->arg);
    return NULL;
}

struct thread *thread_start(const char *name, void (*fn)(void *arg), void *arg, struct err *err)
{
    assert(strlen(name) < NAME_BYTES);
    struct thread *t = xcalloc(1, sizeof(*t));
    t->fn = fn;
    t->arg = arg;
    snprintf(t->name, sizeof(t->name), "%s", name);
    sigset_t all, before;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        sigdelset(&all, faults[i]);
    /* Blocked here and inherited: blocked by the thread itself there would be a gap. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&t->id, NULL, run, t);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed) {
        errno = failed;
        err_sys(err, ERR_INTERNAL, "start thread %s", name);
        free(t);
        return NULL;
    }
    return t;
}

void thread_join(struct thread *t)
{
    if (!t)
        return;
    pthread_join(t->id, NULL);
    free(t);
}
