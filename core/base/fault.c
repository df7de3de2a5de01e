/* SPDX-License-Identifier: MIT */
/* Crash tests need to stop the process between two given instructions, not somewhere about them.
 * The counters are process-wide on purpose: a point is passed by many threads, and "the third pass"
 * means the third of all. */
#include "base/fault.h"

#ifdef MOONTIDE_FAULTS

#include "base/str.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FAULTS_MAX 16

struct fault {
    struct str point;
    bool kill;          /* else fail */
    int64_t at;         /* which pass, from 1; 0: every one */
    atomic_long passes; /* so far */
};

/* Mutable on purpose: filled once from the environment, then only the counters move. */
static struct fault faults[FAULTS_MAX];
static size_t fault_count;
static char *fault_text; /* what the points borrow from */
static pthread_once_t parsed = PTHREAD_ONCE_INIT;

/* A misspelt fault would make its test pass for nothing. */
static _Noreturn void refuse(struct str entry)
{
    dprintf(STDERR_FILENO, "MOONTIDE_FAULT: cannot read \"%.*s\"\n", STR_ARG(entry));
    abort();
}

/* Splits s at the first c; the second half is empty when there is none. */
static struct str cut(struct str s, char c, struct str *ret_rest)
{
    const char *at = s.n > 0 ? memchr(s.p, c, s.n) : NULL;
    if (!at) {
        *ret_rest = (struct str){NULL, 0};
        return s;
    }
    size_t n = (size_t)(at - s.p);
    *ret_rest = (struct str){at + 1, s.n - n - 1};
    return (struct str){s.p, n};
}

static void parse_entry(struct str entry)
{
    struct str action, pass;
    struct str point = cut(entry, '=', &action);
    action = cut(action, '@', &pass);
    if (fault_count == FAULTS_MAX || point.n == 0)
        refuse(entry);
    struct fault *f = &faults[fault_count++];
    f->point = point;
    f->kill = str_eq(action, STR("kill"));
    if (!f->kill && !str_eq(action, STR("fail")))
        refuse(entry);
    if (!str_eq(pass, STR("*")) && (!str_to_int(pass, &f->at) || f->at < 1))
        refuse(entry);
}

static void parse(void)
{
    const char *text = getenv("MOONTIDE_FAULT");
    if (!text)
        return;
    fault_text = strdup(text);
    if (!fault_text)
        abort();
    struct str rest = str_from(fault_text);
    while (rest.n > 0)
        parse_entry(cut(rest, ',', &rest));
}

int fault_hit(const char *point)
{
    int hit = 0;
    pthread_once(&parsed, parse);
    for (size_t i = 0; i < fault_count; i++) {
        struct fault *f = &faults[i];
        if (!str_eq(f->point, str_from(point)))
            continue;
        long pass = atomic_fetch_add(&f->passes, 1) + 1;
        if (f->at != 0 && pass != f->at)
            continue;
        if (f->kill)
            kill(getpid(), SIGKILL);
        hit = 1;
    }
    return hit;
}

#endif
