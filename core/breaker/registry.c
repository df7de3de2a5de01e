/* SPDX-License-Identifier: MIT */
/* One set of breakers for all workers: with one a worker, N workers would send N times the trials
 * and trip N times as late. Entries are never freed before the registry, so that a worker may keep
 * a pointer over reloads. */
#include "breaker/registry.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>

struct registry_entry {
    struct list link;
    char *name;
    size_t name_bytes;
    pthread_mutex_t lock; /* over breaker */
    struct breaker breaker;
};

/* The registry's lock is never taken under an entry's. */
struct registry {
    pthread_rwlock_t lock; /* over by_name and entries */
    struct map *by_name;
    struct list entries; /* in order of declaration */
};

static struct registry_entry *entry_new(struct str name, const struct breaker_conf *conf,
                                        int64_t now_ns)
{
    struct registry_entry *e = xcalloc(1, sizeof(*e));
    e->name = xstrndup(name.p, name.n);
    e->name_bytes = name.n;
    pthread_mutex_init(&e->lock, NULL);
    breaker_init(&e->breaker, conf, now_ns);
    return e;
}

static void entry_free(struct registry_entry *e)
{
    pthread_mutex_destroy(&e->lock);
    free(e->name);
    free(e);
}

struct registry *registry_new(void)
{
    struct registry *r = xcalloc(1, sizeof(*r));
    pthread_rwlock_init(&r->lock, NULL);
    r->by_name = map_new();
    list_init(&r->entries);
    return r;
}

void registry_free(struct registry *r)
{
    if (!r)
        return;
    for (struct list *node; (node = list_pop(&r->entries));)
        entry_free(list_entry(node, struct registry_entry, link));
    map_free(r->by_name);
    pthread_rwlock_destroy(&r->lock);
    free(r);
}

struct registry_entry *registry_declare(struct registry *r, struct str name,
                                        const struct breaker_conf *conf, int64_t now_ns)
{
    pthread_rwlock_wrlock(&r->lock);
    struct registry_entry *e = map_find(r->by_name, name);
    bool is_new = !e;
    if (is_new) {
        e = entry_new(name, conf, now_ns);
        map_set(r->by_name, name, e);
        list_push(&r->entries, &e->link);
    }
    pthread_rwlock_unlock(&r->lock);
    if (is_new)
        return e;
    pthread_mutex_lock(&e->lock);
    breaker_set_conf(&e->breaker, conf, now_ns);
    pthread_mutex_unlock(&e->lock);
    return e;
}

struct registry_entry *registry_find(struct registry *r, struct str name)
{
    pthread_rwlock_rdlock(&r->lock);
    struct registry_entry *e = map_find(r->by_name, name);
    pthread_rwlock_unlock(&r->lock);
    return e;
}

struct str registry_name(const struct registry_entry *e)
{
    return (struct str){e->name, e->name_bytes};
}

struct breaker_conf registry_conf(struct registry_entry *e)
{
    pthread_mutex_lock(&e->lock);
    struct breaker_conf conf = e->breaker.conf;
    pthread_mutex_unlock(&e->lock);
    return conf;
}

enum breaker_verdict registry_enter(struct registry_entry *e, int64_t now_ns,
                                    struct breaker_permit *ret_permit, int64_t *ret_retry_ns)
{
    pthread_mutex_lock(&e->lock);
    enum breaker_verdict verdict = breaker_enter(&e->breaker, now_ns, ret_permit, ret_retry_ns);
    pthread_mutex_unlock(&e->lock);
    return verdict;
}

bool registry_leave(struct registry_entry *e, int64_t now_ns, struct breaker_permit permit,
                    enum breaker_outcome outcome)
{
    pthread_mutex_lock(&e->lock);
    bool changed = breaker_leave(&e->breaker, now_ns, permit, outcome);
    pthread_mutex_unlock(&e->lock);
    return changed;
}

void registry_read(struct registry_entry *e, int64_t now_ns, enum breaker_state *ret_state,
                   struct breaker_counts *ret_counts)
{
    pthread_mutex_lock(&e->lock);
    *ret_state = e->breaker.state;
    breaker_counts(&e->breaker, now_ns, ret_counts);
    pthread_mutex_unlock(&e->lock);
}

struct registry_entry *registry_next(struct registry *r, struct registry_entry *after)
{
    pthread_rwlock_rdlock(&r->lock);
    struct list *node = after ? after->link.next : r->entries.next;
    bool is_end = node == &r->entries;
    pthread_rwlock_unlock(&r->lock);
    return is_end ? NULL : list_entry(node, struct registry_entry, link);
}
