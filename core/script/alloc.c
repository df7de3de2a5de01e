/* SPDX-License-Identifier: MIT */
/* Lua tells the size of what it frees, which is all that malloc spends its time to find out. Blocks
 * up to 512 bytes go through one free list for each multiple of 16; larger ones are malloc's. Under
 * the address sanitizer everything is malloc's, so that a use after free is seen. */
#include "script/alloc.h"

#include "base/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define STEP ((size_t)16)
#define CLASSES ((size_t)32)
#define SLAB ((size_t)256 << 10) /* mapped: a state that goes leaves no holes in malloc's heaps */
#ifdef __SANITIZE_ADDRESS__
#define SMALL ((size_t)0)
#else
#define SMALL (STEP * CLASSES)
#endif

struct block {
    struct block *next;
};

struct slab {
    struct slab *next;
    char room[] __attribute__((aligned(16)));
};

struct alloc {
    struct block *lists[CLASSES]; /* class c holds blocks of (c + 1) * 16 bytes */
    struct slab *slabs;
    char *at, *end; /* what is left of the newest slab */
    size_t used;
    struct alloc_bounds bounds;
    size_t refused; /* the size that was refused just now */
};

struct alloc *alloc_new(void)
{
    struct alloc *a = xcalloc(1, sizeof(*a));
    a->bounds.soft = a->bounds.hard = SIZE_MAX;
    return a;
}

void alloc_free(struct alloc *a)
{
    if (a == NULL)
        return;
    while (a->slabs != NULL) {
        struct slab *next = a->slabs->next;
        munmap(a->slabs, SLAB);
        a->slabs = next;
    }
    free(a);
}

size_t alloc_used(const struct alloc *a)
{
    return a->used;
}

struct alloc_bounds *alloc_bounds(struct alloc *a)
{
    return &a->bounds;
}

static size_t class_of(size_t size)
{
    return (size - 1) / STEP;
}

/* The rest of the old slab is too small for this block, but not for its free list. */
static void keep_rest(struct alloc *a)
{
    size_t left = (size_t)(a->end - a->at);
    if (left < STEP)
        return;
    struct block *b = (struct block *)(void *)a->at;
    size_t class = left / STEP - 1;
    b->next = a->lists[class];
    a->lists[class] = b;
}

static void *cut(struct alloc *a, size_t bytes)
{
    if ((size_t)(a->end - a->at) < bytes) {
        struct slab *s =
            mmap(NULL, SLAB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (s == MAP_FAILED)
            return NULL;
        keep_rest(a);
        s->next = a->slabs;
        a->slabs = s;
        a->at = s->room;
        a->end = (char *)s + SLAB;
    }
    char *p = a->at;
    a->at += bytes;
    return p;
}

static void *take(struct alloc *a, size_t size)
{
    if (size > SMALL)
        return malloc(size);
    size_t class = class_of(size);
    struct block *b = a->lists[class];
    if (b == NULL)
        return cut(a, (class + 1) * STEP);
    a->lists[class] = b->next;
    return b;
}

static void give(struct alloc *a, void *p, size_t size)
{
    if (size > SMALL) {
        free(p);
        return;
    }
    struct block *b = p;
    size_t class = class_of(size);
    b->next = a->lists[class];
    a->lists[class] = b;
}

static void *resize(struct alloc *a, void *old, size_t old_size, size_t size)
{
    if (old_size > SMALL && size > SMALL)
        return realloc(old, size);
    if (old_size <= SMALL && size <= SMALL && class_of(old_size) == class_of(size))
        return old;
    void *p = take(a, size);
    if (p == NULL)
        return NULL;
    memcpy(p, old, old_size < size ? old_size : size);
    give(a, old, old_size);
    return p;
}

/* Only for growth past the soft bound. Lua asks a second time, with the same size, when a full
 * collection did not help. */
static bool may_grow(struct alloc *a, size_t more, size_t size)
{
    struct alloc_bounds *b = &a->bounds;
    if (more > b->hard || a->used > b->hard - more) {
        bool again = a->refused == size;
        a->refused = again ? 0 : size;
        b->told(b->ctx, again);
        return false;
    }
    a->refused = 0;
    b->soft = b->hard;
    b->told(b->ctx, false);
    return true;
}

void *alloc_lua(void *ud, void *old, size_t old_size, size_t size)
{
    struct alloc *a = ud;
    void *p = NULL;
    if (old == NULL)
        old_size = 0; /* Lua tells the type of the new object there */
    if (size == 0) {
        if (old_size > 0)
            give(a, old, old_size);
    } else {
        if (size > old_size && a->used + (size - old_size) > a->bounds.soft &&
            !may_grow(a, size - old_size, size))
            return NULL;
        p = old_size == 0 ? take(a, size) : resize(a, old, old_size, size);
        if (p == NULL)
            return NULL;
    }
    a->used += size;
    a->used -= old_size;
    return p;
}
