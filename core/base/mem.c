/* SPDX-License-Identifier: MIT */
/* One place where memory can run out, and a region allocator for what lives as long as one unit of
 * work: it is freed at once, often on another thread than the one that made it, so its blocks come
 * from malloc and nothing is pooled. */
#include "base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_ALIGN ((size_t)16)
#define ARENA_PAGE ((size_t)4096)
#define ARENA_BLOCK_MAX ((size_t)64 * 1024)

/* A block's room follows its header. */
struct block {
    struct block *next;
    size_t size; /* bytes of room */
};

/* Lies at the head of the first block: a small arena is one malloc and one free. */
struct arena {
    struct block *blocks; /* further ones, newest first */
    char *at, *end;       /* free room of the newest ordinary block */
    size_t next_size;     /* room of the next ordinary block */
    size_t used;
};

#define ARENA_HEAD ((sizeof(struct arena) + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1))
_Static_assert(sizeof(struct block) % 16 == 0, "what follows a block's header must stay aligned");

static _Noreturn void out_of_memory(void)
{
    static const char message[] = "moontide: out of memory\n";
    ssize_t written = write(STDERR_FILENO, message, sizeof message - 1);
    (void)written;
    abort();
}

static size_t align_up(size_t size)
{
    if (size > PTRDIFF_MAX - ARENA_PAGE)
        out_of_memory();
    return (size + ARENA_ALIGN - 1) & ~(ARENA_ALIGN - 1);
}

void *xmalloc(size_t size)
{
    void *p = malloc(size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

void *xcalloc(size_t count, size_t size)
{
    bool nothing = count == 0 || size == 0;
    void *p = nothing ? calloc(1, 1) : calloc(count, size);
    if (!p)
        out_of_memory();
    return p;
}

void *xrealloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);
    if (!p)
        out_of_memory();
    return p;
}

char *xstrdup(const char *s)
{
    return xstrndup(s, strlen(s));
}

char *xstrndup(const char *s, size_t n)
{
    char *copy = xmalloc(n + 1);
    if (n > 0)
        memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void vec_reserve(void *items_ptr, size_t *cap, size_t need, size_t size)
{
    if (need <= *cap)
        return;
    size_t grown = *cap < 8 ? 8 : *cap;
    while (grown < need) {
        if (grown > PTRDIFF_MAX / 2)
            out_of_memory();
        grown *= 2;
    }
    size_t bytes;
    if (__builtin_mul_overflow(grown, size, &bytes))
        out_of_memory();
    void **items = items_ptr;
    *items = xrealloc(*items, bytes);
    *cap = grown;
}

struct arena *arena_new(size_t size_hint)
{
    size_t room = size_hint == 0 ? ARENA_PAGE - ARENA_HEAD : align_up(size_hint);
    struct arena *a = xmalloc(ARENA_HEAD + room);
    a->blocks = NULL;
    a->at = (char *)a + ARENA_HEAD;
    a->end = a->at + room;
    a->next_size = room < ARENA_PAGE ? ARENA_PAGE : room;
    a->used = 0;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a)
        return;
    struct block *b = a->blocks;
    while (b) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
    free(a);
}

static char *add_block(struct arena *a, size_t room)
{
    struct block *b = xmalloc(sizeof *b + room);
    b->next = a->blocks;
    b->size = room;
    a->blocks = b;
    return (char *)(b + 1);
}

/* A large request gets a block of its own, so that the room left in the newest block is not thrown
 * away. */
static void *alloc_slow(struct arena *a, size_t size)
{
    if (size > a->next_size / 2)
        return add_block(a, size);
    char *p = add_block(a, a->next_size);
    a->at = p + size;
    a->end = p + a->next_size;
    if (a->next_size < ARENA_BLOCK_MAX)
        a->next_size = a->next_size * 2 < ARENA_BLOCK_MAX ? a->next_size * 2 : ARENA_BLOCK_MAX;
    return p;
}

void *arena_alloc(struct arena *a, size_t size)
{
    size = align_up(size);
    a->used += size;
    if (size > (size_t)(a->end - a->at))
        return alloc_slow(a, size);
    char *p = a->at;
    a->at += size;
    return p;
}

void *arena_zalloc(struct arena *a, size_t size)
{
    void *p = arena_alloc(a, size);
    memset(p, 0, size);
    return p;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);
    if (s.n > 0)
        memcpy(p, s.p, s.n);
    p[s.n] = '\0';
    return (struct str){p, s.n};
}

size_t arena_used(const struct arena *a)
{
    return a->used;
}
