/* SPDX-License-Identifier: MIT */
/* Optimistic units that conflict would conflict again and again on a hot row. A lane lets them pass
 * in turn instead: the row's first claim is granted, the others wait in arrival order. */
#include "store/lane.h"

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct lane {
    struct lane_claim *first; /* granted; the rest wait behind it */
    struct lane_claim *last;
};

struct lanes {
    pthread_mutex_t lock;
    struct map *rows;
    atomic_int count;
};

/* By the table's name: its number may be another one in the next generation. */
static struct str key_of(struct buf *out, const struct store_table *t, int64_t id)
{
    buf_adds(out, t->service);
    buf_addc(out, '.');
    buf_adds(out, t->name);
    buf_add(out, &id, sizeof(id));
    return buf_str(out);
}

struct lanes *lane_table_new(void)
{
    struct lanes *l = xcalloc(1, sizeof(*l));
    pthread_mutex_init(&l->lock, NULL);
    l->rows = map_new();
    return l;
}

void lane_table_free(struct lanes *l)
{
    if (l == NULL)
        return;
    size_t pos = 0;
    for (struct lane *lane; (lane = map_next(l->rows, &pos, NULL)) != NULL;)
        free(lane);
    map_free(l->rows);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

bool lane_exists(struct lanes *l, const struct store_table *t, int64_t id)
{
    if (atomic_load_explicit(&l->count, memory_order_relaxed) == 0)
        return false;
    struct buf name = BUF_INIT;
    struct str key = key_of(&name, t, id);
    pthread_mutex_lock(&l->lock);
    bool found = map_find(l->rows, key) != NULL;
    pthread_mutex_unlock(&l->lock);
    buf_deinit(&name);
    return found;
}

/* On the home thread of the claim, which also is the only one to leave it: `granted` and
 * `abandoned` need no lock. */
static void grant_arrives(struct mail *m)
{
    struct lane_claim *c = list_entry(m, struct lane_claim, mail);
    if (c->abandoned) {
        free(c);
        return;
    }
    c->granted = true;
    c->granted_fn(c);
}

bool lane_join(struct lanes *l, struct lane_claim *c)
{
    struct buf name = BUF_INIT;
    struct str key = key_of(&name, c->table, c->id);
    c->waiting = NULL;
    c->granted = c->abandoned = false;
    c->mail.run = grant_arrives;
    pthread_mutex_lock(&l->lock);
    struct lane *lane = map_find(l->rows, key);
    if (lane == NULL) {
        lane = xcalloc(1, sizeof(*lane));
        map_set(l->rows, key, lane);
        atomic_fetch_add_explicit(&l->count, 1, memory_order_relaxed);
        lane->first = lane->last = c;
        c->granted = true;
    } else {
        lane->last->waiting = c;
        lane->last = c;
    }
    bool granted = c->granted;
    pthread_mutex_unlock(&l->lock);
    buf_deinit(&name);
    return granted;
}

static void drop_lane(struct lanes *l, struct str key, struct lane *lane)
{
    map_remove(l->rows, key);
    atomic_fetch_sub_explicit(&l->count, 1, memory_order_relaxed);
    free(lane);
}

static void unlink_waiter(struct lane *lane, struct lane_claim *c)
{
    struct lane_claim *before = lane->first;
    while (before->waiting != c)
        before = before->waiting;
    before->waiting = c->waiting;
    if (lane->last == c)
        lane->last = before;
}

bool lane_leave(struct lanes *l, struct lane_claim *c)
{
    struct buf name = BUF_INIT;
    struct str key = key_of(&name, c->table, c->id);
    bool mail_on_its_way = false;
    pthread_mutex_lock(&l->lock);
    struct lane *lane = map_find(l->rows, key);
    assert(lane != NULL);
    if (lane->first != c) {
        unlink_waiter(lane, c);
    } else {
        mail_on_its_way = !c->granted;
        lane->first = c->waiting;
        if (lane->first == NULL)
            drop_lane(l, key, lane);
        else
            mailbox_post(lane->first->home, &lane->first->mail);
    }
    pthread_mutex_unlock(&l->lock);
    buf_deinit(&name);
    c->abandoned = mail_on_its_way;
    return !mail_on_its_way;
}

static int compare(struct str a, struct str b)
{
    int order = memcmp(a.p, b.p, a.n < b.n ? a.n : b.n);
    return order != 0 ? order : (a.n > b.n) - (a.n < b.n);
}

bool lane_claim_before(const struct lane_claim *a, const struct lane_claim *b)
{
    int order = compare(a->table->service, b->table->service);
    if (order == 0)
        order = compare(a->table->name, b->table->name);
    return order != 0 ? order < 0 : a->id < b->id;
}
