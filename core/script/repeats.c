/* SPDX-License-Identifier: MIT */
/* Two requests of one key at the same moment may be on two workers: a map under a lock that is
 * taken for the time of a look. */
#include "script/repeats.h"

#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct repeats {
    pthread_mutex_t lock;
    struct map *running; /* key -> fingerprint, owned */
};

struct repeats *repeats_new(void)
{
    struct repeats *r = xcalloc(1, sizeof(*r));
    pthread_mutex_init(&r->lock, NULL);
    r->running = map_new();
    return r;
}

void repeats_free(struct repeats *r)
{
    size_t pos = 0;
    struct str key;
    char *fingerprint;
    if (r == NULL)
        return;
    while ((fingerprint = map_next(r->running, &pos, &key)) != NULL)
        free(fingerprint);
    map_free(r->running);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

enum repeats_verdict repeats_enter(struct repeats *r, struct str key, struct str fingerprint)
{
    enum repeats_verdict verdict = REPEATS_FIRST;
    pthread_mutex_lock(&r->lock);
    const char *running = map_find(r->running, key);
    if (running == NULL)
        map_set(r->running, key, xstrndup(fingerprint.p, fingerprint.n));
    else
        verdict = str_eq(str_from(running), fingerprint) ? REPEATS_RUNNING : REPEATS_OTHER;
    pthread_mutex_unlock(&r->lock);
    return verdict;
}

void repeats_leave(struct repeats *r, struct str key)
{
    pthread_mutex_lock(&r->lock);
    free(map_remove(r->running, key));
    pthread_mutex_unlock(&r->lock);
}
