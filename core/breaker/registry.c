/* SPDX-License-Identifier: MIT */
/* One set of breakers for all workers: with one a worker, N workers would send N times the trials
 * and trip N times as late. Entries are never freed before the registry, so that a worker may keep
 * a pointer over reloads. */
#include "breaker/registry.h"

#include "base/map.h"
#include "base/mem.h"
#include "base/spin.h"

#include <pthread.h>
#include <stdlib.h>

struct registry_entry {
    struct list link;
    struct registry *registry;
    char *name;
    size_t name_bytes;
    struct breaker_layer file, admin; /* under the registry's lock */
    struct spin lock;                 /* over what follows */
    enum breaker_state told;
    uint64_t told_epoch;
    struct breaker breaker;
};

/* The registry's lock is never taken under an entry's. */
struct registry {
    pthread_rwlock_t lock; /* over by_name, entries and layers */
    struct map *by_name;
    struct list entries; /* in order of declaration */
    struct breaker_layer file, admin;
    registry_change_fn *changed;
    void *ctx;
};

struct registry *registry_new(void)
{
    struct registry *r = xcalloc(1, sizeof(*r));
    pthread_rwlock_init(&r->lock, NULL);
    r->by_name = map_new();
    list_init(&r->entries);
    return r;
}

static void entry_free(struct registry_entry *e)
{
    free(e->name);
    free(e);
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

void registry_on_change(struct registry *r, registry_change_fn *fn, void *ctx)
{
    r->changed = fn;
    r->ctx = ctx;
}

/* ---- one breaker ---- */

struct breaker *registry_lock(struct registry_entry *e)
{
    spin_lock(&e->lock);
    return &e->breaker;
}

static enum registry_force force_of(const struct breaker_conf *conf)
{
    if (conf->force_open)
        return REGISTRY_FORCED_OPEN;
    return conf->force_closed ? REGISTRY_FORCED_CLOSED : REGISTRY_UNFORCED;
}

void registry_unlock(struct registry_entry *e, int64_t now_ns)
{
    if (e->breaker.epoch == e->told_epoch) {
        spin_unlock(&e->lock);
        return;
    }
    enum registry_force force = force_of(&e->breaker.conf);
    struct registry_change change = {.entry = e,
                                     .from = e->told,
                                     .to = e->breaker.state,
                                     .was = force,
                                     .is = force,
                                     .epoch = e->breaker.epoch,
                                     .now_ns = now_ns};
    e->told = e->breaker.state;
    e->told_epoch = e->breaker.epoch;
    spin_unlock(&e->lock);
    if (e->registry->changed != NULL)
        e->registry->changed(e->registry->ctx, &change);
}

void registry_view(struct registry_entry *e, int64_t now_ns, struct breaker_view *ret)
{
    breaker_view(registry_lock(e), now_ns, ret);
    registry_unlock(e, now_ns);
}

void registry_latency(struct registry_entry *e, int64_t now_ns,
                      struct breaker_latency_view *ret_execute,
                      struct breaker_latency_view *ret_total)
{
    struct breaker *b = registry_lock(e);
    breaker_latencies(b, now_ns, ret_execute, ret_total);
    registry_unlock(e, now_ns);
}

struct str registry_name(const struct registry_entry *e)
{
    return (struct str){e->name, e->name_bytes};
}

/* ---- settings ---- */

/* What holds for a breaker, the layers of the administrator being these. */
static struct breaker_conf conf_of(const struct registry *r, const struct breaker_layer *all,
                                   const struct breaker_layer *file,
                                   const struct breaker_layer *own)
{
    struct breaker_conf conf = breaker_conf_default();
    breaker_layer_apply(&r->file, &conf);
    breaker_layer_apply(all, &conf);
    breaker_layer_apply(file, &conf);
    breaker_layer_apply(own, &conf);
    return conf;
}

int registry_check(const struct breaker_layer *file_default, const struct breaker_layer *file,
                   struct err *err)
{
    struct breaker_conf conf = breaker_conf_default();
    breaker_layer_apply(file_default, &conf);
    breaker_layer_apply(file, &conf);
    return breaker_conf_check(&conf, err);
}

static void apply(struct registry *r, struct registry_entry *e, int64_t now_ns)
{
    struct breaker_conf conf = conf_of(r, &r->admin, &e->file, &e->admin);
    struct breaker *b = registry_lock(e);
    struct registry_change change = {.entry = e, .was = force_of(&b->conf), .is = force_of(&conf)};
    breaker_set_conf(b, &conf, now_ns);
    change.from = change.to = b->state;
    change.epoch = b->epoch;
    change.now_ns = now_ns;
    registry_unlock(e, now_ns);
    if (change.was != change.is && r->changed != NULL)
        r->changed(r->ctx, &change);
}

/* What the administrator has set gives way to new files that do not go with it. */
static void drop_nonsense(struct registry *r, struct registry_entry *e)
{
    struct breaker_conf conf = conf_of(r, &r->admin, &e->file, &e->admin);
    if (breaker_conf_check(&conf, NULL) == 0)
        return;
    e->admin.set = 0;
    conf = conf_of(r, &r->admin, &e->file, &e->admin);
    if (breaker_conf_check(&conf, NULL) != 0)
        r->admin.set = 0;
}

static struct registry_entry *entry_new(struct registry *r, struct str name,
                                        const struct breaker_layer *file, int64_t now_ns)
{
    struct registry_entry *e = xcalloc(1, sizeof(*e));
    e->registry = r;
    e->name = xstrndup(name.p, name.n);
    e->name_bytes = name.n;
    e->file = *file;
    drop_nonsense(r, e);
    struct breaker_conf conf = conf_of(r, &r->admin, file, &e->admin);
    breaker_init(&e->breaker, &conf, now_ns);
    e->told_epoch = e->breaker.epoch;
    map_set(r->by_name, name, e);
    list_push(&r->entries, &e->link);
    return e;
}

struct registry_entry *registry_declare(struct registry *r, struct str name,
                                        const struct breaker_layer *file, int64_t now_ns)
{
    pthread_rwlock_wrlock(&r->lock);
    struct registry_entry *e = map_find(r->by_name, name);
    if (e == NULL) {
        e = entry_new(r, name, file, now_ns);
    } else {
        e->file = *file;
        drop_nonsense(r, e);
        apply(r, e, now_ns);
    }
    pthread_rwlock_unlock(&r->lock);
    return e;
}

void registry_declare_default(struct registry *r, const struct breaker_layer *file, int64_t now_ns)
{
    (void)now_ns;
    pthread_rwlock_wrlock(&r->lock);
    r->file = *file;
    pthread_rwlock_unlock(&r->lock);
}

static int check_all(struct registry *r, const struct registry_entry *one,
                     const struct breaker_layer *layer, struct err *err)
{
    list_each (node, &r->entries) {
        struct registry_entry *e = list_entry(node, struct registry_entry, link);
        struct breaker_conf conf =
            conf_of(r, one == NULL ? layer : &r->admin, &e->file, one == e ? layer : &e->admin);
        if ((one == NULL || one == e) && breaker_conf_check(&conf, err) != 0)
            return err_wrap(err, "%s", e->name);
    }
    return 0;
}

int registry_admin(struct registry *r, struct registry_entry *entry,
                   const struct breaker_layer *changes, uint64_t forget, int64_t now_ns,
                   struct err *err)
{
    pthread_rwlock_wrlock(&r->lock);
    struct breaker_layer *target = entry != NULL ? &entry->admin : &r->admin;
    struct breaker_layer next = *target;
    next.set &= ~forget;
    breaker_layer_apply(changes, &next.conf);
    next.set |= changes->set;
    int failed = check_all(r, entry, &next, err);
    if (!failed)
        *target = next;
    list_each (node, &r->entries) {
        struct registry_entry *e = list_entry(node, struct registry_entry, link);
        if (!failed && (entry == NULL || entry == e))
            apply(r, e, now_ns);
    }
    pthread_rwlock_unlock(&r->lock);
    return failed;
}

void registry_restore_open(struct registry_entry *e, int64_t left_ns, int failed_trials,
                           int64_t now_ns)
{
    breaker_restore_open(registry_lock(e), now_ns, left_ns, failed_trials);
    registry_unlock(e, now_ns);
}

struct breaker_conf registry_default(struct registry *r)
{
    static const struct breaker_layer none;
    pthread_rwlock_rdlock(&r->lock);
    struct breaker_conf conf = conf_of(r, &r->admin, &none, &none);
    pthread_rwlock_unlock(&r->lock);
    return conf;
}

struct breaker_layer registry_admin_layer(struct registry *r, struct registry_entry *entry)
{
    pthread_rwlock_rdlock(&r->lock);
    struct breaker_layer layer = entry != NULL ? entry->admin : r->admin;
    pthread_rwlock_unlock(&r->lock);
    return layer;
}

/* ---- names ---- */

struct registry_entry *registry_find(struct registry *r, struct str name)
{
    pthread_rwlock_rdlock(&r->lock);
    struct registry_entry *e = map_find(r->by_name, name);
    pthread_rwlock_unlock(&r->lock);
    return e;
}

struct registry_entry *registry_next(struct registry *r, struct registry_entry *after)
{
    pthread_rwlock_rdlock(&r->lock);
    struct list *node = after ? after->link.next : r->entries.next;
    bool is_end = node == &r->entries;
    pthread_rwlock_unlock(&r->lock);
    return is_end ? NULL : list_entry(node, struct registry_entry, link);
}
