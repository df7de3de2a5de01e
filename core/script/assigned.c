/* SPDX-License-Identifier: MIT */
/* Lua has no word for "this local never changes", and its debug interface does not tell who assigns
 * to an upvalue; the code does. Only the few members that are needed are kept, the rest is passed
 * over. */
#include "script/assigned.h"

#include <lua.h>

#include <stdbool.h>
#include <string.h>

#define OP_SETUPVAL 10
#define LINE_ABSOLUTE (-128)
#define NESTING_MAX 200

struct reader {
    const unsigned char *at, *end;
    bool bad;
    int depth;
};

/* What one function (prototype) does to each upvalue: the line of an assignment, 0: none. */
struct upvalues {
    int count;
    int lines[256];
    unsigned char in_stack[256], index[256];
};

static const unsigned char *take(struct reader *r, size_t n)
{
    if ((size_t)(r->end - r->at) < n) {
        r->bad = true;
        r->at = r->end;
        return NULL;
    }
    const unsigned char *p = r->at;
    r->at += n;
    return p;
}

static int byte(struct reader *r)
{
    const unsigned char *p = take(r, 1);
    return p == NULL ? 0 : *p;
}

/* Seven bits a byte, the last one marked. */
static size_t number(struct reader *r)
{
    size_t n = 0;
    int b;
    do {
        b = byte(r);
        n = n << 7 | (size_t)(b & 0x7f);
    } while (!r->bad && (b & 0x80) == 0);
    return n;
}

static void text(struct reader *r)
{
    size_t n = number(r);
    if (n > 0)
        take(r, n - 1);
}

static void constants(struct reader *r)
{
    for (size_t n = number(r); n > 0 && !r->bad; n--) {
        switch (byte(r)) {
        case 0x03: /* integer */
        case 0x13: /* float */
            take(r, 8);
            break;
        case 0x04: /* short text */
        case 0x14:
            text(r);
            break;
        default: /* nil, false, true */
            break;
        }
    }
}

static void function(struct reader *r, struct upvalues *ret);

/* What functions inside assign to, carried over to the upvalues of the one around them. */
static void inner_functions(struct reader *r, struct upvalues *u)
{
    for (size_t n = number(r); n > 0 && !r->bad; n--) {
        struct upvalues inner;
        text(r);
        function(r, &inner);
        for (int i = 0; i < inner.count; i++)
            if (inner.lines[i] > 0 && !inner.in_stack[i] && inner.index[i] < u->count)
                u->lines[inner.index[i]] = inner.lines[i];
    }
}

struct code {
    const unsigned char *instructions;
    size_t count;
};

/* The line of each assignment, found by adding up the steps from instruction to instruction. */
static void assignments(struct reader *r, const struct code *c, int line, struct upvalues *u)
{
    size_t n = number(r);
    const signed char *steps = (const signed char *)take(r, n);
    size_t absolutes = number(r);
    for (size_t i = 0; i < n && i < c->count && steps != NULL; i++) {
        if (steps[i] == LINE_ABSOLUTE && absolutes > 0) {
            number(r); /* the instruction: they come in order */
            line = (int)number(r);
            absolutes--;
        } else {
            line += steps[i];
        }
        const unsigned char *p = c->instructions + 4 * i;
        if ((p[0] & 0x7f) == OP_SETUPVAL && p[2] < u->count)
            u->lines[p[2]] = line > 0 ? line : 1;
    }
    for (; absolutes > 0 && !r->bad; absolutes--) {
        number(r);
        number(r);
    }
}

static void names(struct reader *r)
{
    for (size_t n = number(r); n > 0 && !r->bad; n--) { /* locals */
        text(r);
        number(r);
        number(r);
    }
    for (size_t n = number(r); n > 0 && !r->bad; n--) /* upvalues */
        text(r);
}

/* Behind its source name. */
static void function(struct reader *r, struct upvalues *ret)
{
    memset(ret, 0, sizeof(*ret));
    if (++r->depth > NESTING_MAX)
        r->bad = true;
    int line = (int)number(r);
    number(r);  /* its last line */
    take(r, 3); /* parameters, "...", registers */
    struct code c = {.count = number(r)};
    c.instructions = take(r, 4 * c.count);
    constants(r);
    size_t n = number(r);
    for (size_t i = 0; i < n && i < 256 && !r->bad; i++) {
        ret->in_stack[i] = (unsigned char)byte(r);
        ret->index[i] = (unsigned char)byte(r);
        byte(r);
    }
    ret->count = n < 256 ? (int)n : 0;
    inner_functions(r, ret);
    if (c.instructions == NULL)
        r->bad = true;
    if (!r->bad)
        assignments(r, &c, line, ret);
    names(r);
    r->depth--;
}

/* The header says that what follows is as above: version, format, sizes of instruction, integer and
 * number. */
static bool header(struct reader *r)
{
    const unsigned char *p = take(r, 4 + 2 + 6 + 3 + 8 + 8 + 1);
    return p != NULL && memcmp(p, LUA_SIGNATURE, 4) == 0 && p[4] == 0x54 && p[5] == 0 &&
           p[12] == 4 && p[13] == 8 && p[14] == 8;
}

enum assigned_answer assigned_find(struct str dump, struct assigned *ret)
{
    const unsigned char *p = (const unsigned char *)dump.p;
    struct reader r = {p, p + dump.n, false, 0};
    struct upvalues u;
    if (!header(&r))
        return ASSIGNED_UNKNOWN;
    text(&r);
    function(&r, &u);
    if (r.bad || r.at != r.end)
        return ASSIGNED_UNKNOWN;
    for (int i = 0; i < u.count; i++) {
        if (u.lines[i] > 0) {
            *ret = (struct assigned){i, u.lines[i]};
            return ASSIGNED_FOUND;
        }
    }
    return ASSIGNED_NONE;
}
