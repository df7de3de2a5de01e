/* SPDX-License-Identifier: MIT */
/* One place where memory can run out, and a region allocator for what lives as long as one unit of
 * work: it is freed at once, often on another thread than the one that made it. */
#include "base/mem.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ARENA_ALIGN ((size_t)16)
#define ARENA_PAGE ((size_t)4096)
#define ARENA_BLOCK_MAX ((size_t)64 * 1024)
#ifdef __SANITIZE_ADDRESS__
#define PAGE_POOL 0 /* a freed arena must stay poisoned */
#else
#define PAGE_POOL 128
#endif

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
    bool is_page; /* the first block is a whole page, of the pool */
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

/* Pages that a thread has freed, for its next arenas. Arenas are made and freed several times a
 * request, often on different threads, and malloc puts chunks of this size through its slow paths
 * (20 % of a worker's time before). The one mutable static of this file: per thread, never shared.
 */
struct page_pool {
    int count;
    void *pages[PAGE_POOL + 1];
};

static pthread_once_t pool_once = PTHREAD_ONCE_INIT;
static pthread_key_t pool_key;
static _Thread_local struct page_pool *pool;

static void free_pool(void *p)
{
    struct page_pool *ended = p;
    while (ended->count > 0)
        free(ended->pages[--ended->count]);
    free(ended);
    pool = NULL;
}

static void make_pool_key(void)
{
    if (pthread_key_create(&pool_key, free_pool) != 0)
        abort();
}

static struct page_pool *own_pool(void)
{
    if (!pool) {
        pthread_once(&pool_once, make_pool_key);
        pool = xcalloc(1, sizeof(*pool));
        pthread_setspecific(pool_key, pool);
    }
    return pool;
}

static void *take_page(void)
{
    if (pool && pool->count > 0)
        return pool->pages[--pool->count];
    return xmalloc(ARENA_PAGE);
}

static void give_page(void *page)
{
    if (own_pool()->count == PAGE_POOL)
        free(page);
    else
        pool->pages[pool->count++] = page;
}

struct arena *arena_new(size_t size_hint)
{
    bool page = size_hint == 0;
    size_t room = page ? ARENA_PAGE - ARENA_HEAD : align_up(size_hint);
    struct arena *a = page ? take_page() : xmalloc(ARENA_HEAD + room);
    a->is_page = page;
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
    if (a->is_page)
        give_page(a);
    else
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
