/* SPDX-License-Identifier: MIT */
/* A bucket is kept as the time at which it was (or would have been) empty: one number, exact in
 * integers, that nothing has to refill (the "generic cell rate algorithm" of ATM Forum TM 4.0). */
#include "http/ratelimit.h"

#include "base/clock.h"
#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "http/digest.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct bucket {
    struct list node;
    struct str key;
    int64_t empty_ns; /* filled by the rate since then */
};

struct http_ratelimit {
    size_t max_keys;
    pthread_mutex_t lock; /* guards what follows */
    struct map *buckets;
    struct list used; /* the longest ago first */
};

struct http_ratelimit *http_ratelimit_new(size_t keys)
{
    struct http_ratelimit *r = xcalloc(1, sizeof(*r));
    r->max_keys = keys;
    pthread_mutex_init(&r->lock, NULL);
    r->buckets = map_new();
    list_init(&r->used);
    return r;
}

static void forget(struct http_ratelimit *r, struct bucket *b)
{
    list_remove(&b->node);
    map_remove(r->buckets, b->key);
    free(b);
}

void http_ratelimit_free(struct http_ratelimit *r)
{
    if (r == NULL)
        return;
    while (!list_empty(&r->used))
        forget(r, list_entry(r->used.next, struct bucket, node));
    map_free(r->buckets);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

static struct bucket *bucket_of(struct http_ratelimit *r, struct str key, int64_t full_ns)
{
    struct bucket *b = map_find(r->buckets, key);
    if (b != NULL) {
        list_remove(&b->node);
        list_push(&r->used, &b->node);
        return b;
    }
    if (map_count(r->buckets) >= r->max_keys)
        forget(r, list_entry(r->used.next, struct bucket, node));
    b = xmalloc(sizeof(*b) + key.n);
    memcpy(b + 1, key.p, key.n);
    *b = (struct bucket){.key = {(char *)(b + 1), key.n}, .empty_ns = full_ns};
    list_push(&r->used, &b->node);
    map_set(r->buckets, b->key, b);
    return b;
}

void http_ratelimit_take(struct http_ratelimit *r, struct str key,
                         const struct http_ratelimit_conf *conf, int64_t now_ns,
                         struct http_ratelimit_verdict *ret)
{
    int64_t token_ns = NS_PER_S / conf->rate > 0 ? NS_PER_S / conf->rate : 1;
    int64_t full_ns = now_ns - conf->burst * token_ns; /* empty then is full now */
    int64_t cost_ns = conf->tokens * token_ns;
    char digest[HTTP_DIGEST_CHARS + 1];
    if (key.n >= HTTP_DIGEST_CHARS) { /* a client may send what it likes: a bucket stays small */
        http_digest(&key, 1, digest);
        key = (struct str){digest, HTTP_DIGEST_CHARS};
    }
    pthread_mutex_lock(&r->lock);
    struct bucket *b = bucket_of(r, key, full_ns);
    if (b->empty_ns < full_ns)
        b->empty_ns = full_ns;
    ret->admitted = b->empty_ns + cost_ns <= now_ns;
    ret->retry_ns = ret->admitted ? 0 : b->empty_ns + cost_ns - now_ns;
    if (ret->admitted)
        b->empty_ns += cost_ns;
    ret->remaining = now_ns > b->empty_ns ? (now_ns - b->empty_ns) / token_ns : 0;
    pthread_mutex_unlock(&r->lock);
}
