/* SPDX-License-Identifier: MIT */
/* Open addressing with linear probing: one array, the hash beside the key so that growing never
 * hashes again and most misses never touch a key. Removal shifts the followers back, so a map that
 * lives for months keeps no tombstones. */
#include "base/map.h"

#include "base/mem.h"

#include <assert.h>
#include <stdlib.h>

#define MAP_FIRST 16

struct slot {
    uint64_t hash;
    struct str key; /* owned */
    void *value;    /* borrowed; NULL: the slot is free */
};

struct map {
    struct slot *slots;
    size_t size; /* a power of two, or 0 before the first key */
    size_t count;
};

/* The slot of the key, or the free one where it belongs. Needs a free slot somewhere. */
static struct slot *probe(const struct map *m, struct str key, uint64_t hash)
{
    size_t mask = m->size - 1;
    size_t i = hash & mask;
    while (m->slots[i].value) {
        if (m->slots[i].hash == hash && str_eq(m->slots[i].key, key))
            break;
        i = (i + 1) & mask;
    }
    return &m->slots[i];
}

static void grow(struct map *m)
{
    struct map wider = {.size = m->size ? m->size * 2 : MAP_FIRST, .count = m->count};
    wider.slots = xcalloc(wider.size, sizeof *wider.slots);
    for (size_t i = 0; i < m->size; i++) {
        if (m->slots[i].value)
            *probe(&wider, m->slots[i].key, m->slots[i].hash) = m->slots[i];
    }
    free(m->slots);
    *m = wider;
}

/* Closes the gap at `hole`: whatever a search would have reached by passing over it moves back. */
static void shift_back(struct map *m, size_t hole)
{
    size_t mask = m->size - 1;
    for (size_t i = (hole + 1) & mask; m->slots[i].value; i = (i + 1) & mask) {
        size_t home = m->slots[i].hash & mask;
        if (((i - home) & mask) < ((i - hole) & mask))
            continue;
        m->slots[hole] = m->slots[i];
        hole = i;
    }
    m->slots[hole] = (struct slot){0};
}

struct map *map_new(void)
{
    return xcalloc(1, sizeof(struct map));
}

void map_free(struct map *m)
{
    if (!m)
        return;
    for (size_t i = 0; i < m->size; i++)
        free((char *)m->slots[i].key.p);
    free(m->slots);
    free(m);
}

void *map_find(const struct map *m, struct str key)
{
    return m->count == 0 ? NULL : probe(m, key, str_hash(key))->value;
}

void *map_set(struct map *m, struct str key, void *value)
{
    assert(value);
    uint64_t hash = str_hash(key);
    if ((m->count + 1) * 4 > m->size * 3)
        grow(m);
    struct slot *s = probe(m, key, hash);
    void *old = s->value;
    if (!old) {
        s->hash = hash;
        s->key = (struct str){xstrndup(key.p, key.n), key.n};
        m->count++;
    }
    s->value = value;
    return old;
}

void *map_remove(struct map *m, struct str key)
{
    if (m->count == 0)
        return NULL;
    struct slot *s = probe(m, key, str_hash(key));
    void *old = s->value;
    if (!old)
        return NULL;
    free((char *)s->key.p);
    shift_back(m, (size_t)(s - m->slots));
    m->count--;
    return old;
}

size_t map_count(const struct map *m)
{
    return m->count;
}

void *map_next(const struct map *m, size_t *pos, struct str *ret_key)
{
    while (*pos < m->size) {
        const struct slot *s = &m->slots[(*pos)++];
        if (!s->value)
            continue;
        if (ret_key)
            *ret_key = s->key;
        return s->value;
    }
    return NULL;
}
