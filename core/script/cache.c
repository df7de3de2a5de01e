/* SPDX-License-Identifier: MIT */
/* One lock for all: an operation is a lookup and a copy, and scripts that need more than that have
 * tables. The list is in the order of use, so that what goes first is always at its head. */
#include "script/cache.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct list node;
    struct str key, value; /* in the same allocation as the key, and of its own */
    int64_t ends_ns;       /* INT64_MAX: never */
};

struct cache {
    size_t max_entries, max_bytes;
    pthread_mutex_t lock; /* guards what follows */
    struct map *entries;
    struct list used; /* the longest ago first */
    size_t bytes;
};

struct cache *cache_new(size_t entries, size_t bytes)
{
    struct cache *c = xcalloc(1, sizeof(*c));
    c->max_entries = entries;
    c->max_bytes = bytes;
    pthread_mutex_init(&c->lock, NULL);
    c->entries = map_new();
    list_init(&c->used);
    return c;
}

static void drop(struct cache *c, struct entry *e)
{
    c->bytes -= e->key.n + e->value.n;
    list_remove(&e->node);
    map_remove(c->entries, e->key);
    free((char *)e->value.p);
    free(e);
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    while (!list_empty(&c->used))
        drop(c, list_entry(c->used.next, struct entry, node));
    map_free(c->entries);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* The living entry, now the one used last; or NULL. */
static struct entry *find(struct cache *c, struct str key, int64_t now_ns)
{
    struct entry *e = map_find(c->entries, key);
    if (e == NULL)
        return NULL;
    if (e->ends_ns <= now_ns) {
        drop(c, e);
        return NULL;
    }
    list_remove(&e->node);
    list_push(&c->used, &e->node);
    return e;
}

static struct entry *make(struct cache *c, struct str key)
{
    struct entry *e = xmalloc(sizeof(*e) + key.n);
    char *name = (char *)(e + 1);
    memcpy(name, key.p, key.n);
    *e = (struct entry){.key = {name, key.n}, .ends_ns = INT64_MAX};
    list_push(&c->used, &e->node);
    map_set(c->entries, e->key, e);
    c->bytes += key.n;
    return e;
}

static void put(struct cache *c, struct entry *e, struct str value)
{
    c->bytes -= e->value.n;
    free((char *)e->value.p);
    e->value = (struct str){xstrndup(value.p, value.n), value.n};
    c->bytes += value.n;
    while (map_count(c->entries) > c->max_entries || c->bytes > c->max_bytes)
        drop(c, list_entry(c->used.next, struct entry, node));
}

static int64_t end_of(int64_t ttl_ns, int64_t now_ns)
{
    return ttl_ns > 0 && ttl_ns < INT64_MAX - now_ns ? now_ns + ttl_ns : INT64_MAX;
}

bool cache_get(struct cache *c, struct str key, int64_t now_ns, struct buf *out)
{
    pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, key, now_ns);
    if (e != NULL)
        buf_adds(out, e->value);
    pthread_mutex_unlock(&c->lock);
    return e != NULL;
}

static int check_sizes(struct str key, struct str value, struct err *err)
{
    if (key.n > CACHE_KEY_BYTES)
        return err_set(err, ERR_BUDGET, "the key has more than %d bytes", CACHE_KEY_BYTES);
    if (value.n > CACHE_VALUE_BYTES)
        return err_set(err, ERR_BUDGET, "the value of \"%.*s\" is more than 1 MiB", STR_ARG(key));
    return 0;
}

int cache_set(struct cache *c, struct str key, struct str value, int64_t ttl_ns, int64_t now_ns,
              struct err *err)
{
    if (check_sizes(key, value, err) != 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    struct entry *e = find(c, key, now_ns);
    if (value.n == 0) {
        if (e != NULL)
            drop(c, e);
    } else {
        if (e == NULL)
            e = make(c, key);
        e->ends_ns = end_of(ttl_ns, now_ns);
        put(c, e, value);
    }
    pthread_mutex_unlock(&c->lock);
    return 0;
}

/* The integer that text spells, whole. */
static bool integer_of(struct str text, int64_t *ret)
{
    char *end;
    long long value = strtoll(text.p, &end, 10);
    if (text.n == 0 || end != text.p + text.n)
        return false;
    *ret = value;
    return true;
}

static int add_locked(struct cache *c, struct str key, int64_t delta, const int64_t times[2],
                      int64_t *ret, struct err *err)
{
    struct entry *e = find(c, key, times[1]);
    int64_t sum = 0;
    if (e != NULL && !integer_of(e->value, &sum))
        return err_set(err, ERR_INVALID, "\"%.*s\" holds no integer", STR_ARG(key));
    if (__builtin_add_overflow(sum, delta, &sum))
        return err_set(err, ERR_INVALID, "the sum of \"%.*s\" leaves 64 bits", STR_ARG(key));
    if (e == NULL) {
        e = make(c, key);
        e->ends_ns = end_of(times[0], times[1]);
    }
    struct buf text = BUF_INIT;
    buf_add_int(&text, sum);
    put(c, e, buf_str(&text));
    buf_deinit(&text);
    *ret = sum;
    return 0;
}

int cache_add(struct cache *c, struct str key, int64_t delta, int64_t ttl_ns, int64_t now_ns,
              int64_t *ret, struct err *err)
{
    if (check_sizes(key, STR(""), err) != 0)
        return -1;
    pthread_mutex_lock(&c->lock);
    int status = add_locked(c, key, delta, (int64_t[]){ttl_ns, now_ns}, ret, err);
    pthread_mutex_unlock(&c->lock);
    return status;
}

size_t cache_count(struct cache *c)
{
    pthread_mutex_lock(&c->lock);
    size_t count = map_count(c->entries);
    pthread_mutex_unlock(&c->lock);
    return count;
}
