/* SPDX-License-Identifier: MIT */
/* Output of every kind is gathered here before it is sent: growing is amortised, and one byte is
 * always spared so that the content can be handed to C functions as it is. */
#include "base/buf.h"

#include "base/mem.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define BUF_FIRST 64

void buf_deinit(struct buf *b)
{
    free(b->p);
    *b = (struct buf)BUF_INIT;
}

void buf_clear(struct buf *b)
{
    b->n = 0;
}

void buf_reserve(struct buf *b, size_t more)
{
    if (b->cap - b->n > more)
        return;
    size_t need = b->n + more + 1;
    assert(need > more);
    size_t grown = b->cap < BUF_FIRST ? BUF_FIRST : b->cap + b->cap / 2;
    if (grown < need)
        grown = need;
    b->p = xrealloc(b->p, grown);
    b->cap = grown;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
    if (n == 0)
        return;
    buf_reserve(b, n);
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

void buf_addc(struct buf *b, char c)
{
    buf_reserve(b, 1);
    b->p[b->n++] = c;
}

void buf_adds(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    buf_reserve(b, BUF_FIRST);
    size_t room = b->cap - b->n;
    int n = vsnprintf(b->p + b->n, room, fmt, args);
    if (n > 0 && (size_t)n >= room) {
        buf_reserve(b, (size_t)n);
        n = vsnprintf(b->p + b->n, b->cap - b->n, fmt, again);
    }
    va_end(again);
    va_end(args);
    assert(n >= 0);
    b->n += n > 0 ? (size_t)n : 0;
}

void buf_add_int(struct buf *b, int64_t i)
{
    char digits[20];
    char *end = digits + sizeof digits, *p = end;
    uint64_t rest = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do {
        *--p = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (i < 0)
        *--p = '-';
    buf_add(b, p, (size_t)(end - p));
}

struct str buf_str(struct buf *b)
{
    if (!b->p)
        return STR("");
    b->p[b->n] = '\0';
    return (struct str){b->p, b->n};
}
