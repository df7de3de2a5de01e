/* SPDX-License-Identifier: MIT */
/* What the breaker itself costs, without Lua around it: an admitted call with its result, and a
 * refusal of an open circuit, each with its locks, uncontended. Prints JSON: nanoseconds of CPU a
 * call, of the quickest of many loops, for the others were disturbed. */
#include "breaker/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define LOOPS 60
#define CALLS 200000

static int64_t cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Ends the program when the breaker answers something else than what is measured. */
static void expect(enum breaker_verdict got, enum breaker_verdict wanted)
{
    if (got == wanted)
        return;
    fprintf(stderr, "breaker: verdict %d instead of %d\n", (int)got, (int)wanted);
    exit(1);
}

static void admitted(struct registry_entry *e, int64_t now_ns)
{
    struct breaker_permit permit;
    int64_t retry_ns;
    enum breaker_verdict v = breaker_enter(registry_lock(e), now_ns, NULL, &permit, &retry_ns);
    registry_unlock(e, now_ns);
    expect(v, BREAKER_ADMITTED);
    breaker_leave(registry_lock(e), now_ns, permit, BREAKER_SUCCESS);
    registry_unlock(e, now_ns);
}

static void refused(struct registry_entry *e, int64_t now_ns)
{
    struct breaker_permit permit;
    int64_t retry_ns;
    enum breaker_verdict v = breaker_enter(registry_lock(e), now_ns, NULL, &permit, &retry_ns);
    registry_unlock(e, now_ns);
    expect(v, BREAKER_REFUSED_OPEN);
}

/* *now_ns goes on by 100 ns a call, so that windows roll as they do in use. */
static double quickest(struct registry_entry *e, void (*call)(struct registry_entry *, int64_t),
                       int64_t *now_ns)
{
    double best = 0;
    for (int k = 0; k < LOOPS; k++) {
        int64_t start = cpu_ns();
        for (int i = 0; i < CALLS; i++)
            call(e, *now_ns += 100);
        double one = (double)(cpu_ns() - start) / CALLS;
        best = k == 0 || one < best ? one : best;
    }
    return best;
}

int main(void)
{
    struct registry *r = registry_new();
    struct breaker_layer file = {0};
    int64_t now_ns = 1;
    struct registry_entry *e = registry_declare(r, STR("bench"), &file, now_ns);
    double closed = quickest(e, admitted, &now_ns);
    registry_restore_open(e, 3600LL * 1000000000, 0, now_ns);
    double open = quickest(e, refused, &now_ns);
    printf("{\"c_closed\":%.1f,\"c_open\":%.1f}\n", closed, open);
    registry_free(r);
    return 0;
}
