/* SPDX-License-Identifier: MIT */
/* Text in columns. Everything is collected first, since a column is as wide as its widest cell. */
#include "app/commands/inside.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

struct commands_table {
    struct arena *arena;
    struct str *cells;
    size_t count, cap;
    size_t columns;
};

static size_t width_of(struct str s)
{
    size_t width = 0;
    for (size_t i = 0; i < s.n; i++)
        width += ((unsigned char)s.p[i] & 0xC0) != 0x80;
    return width;
}

/* Nothing follows the last cell that says something: no blanks do either. */
static void print_row(const struct commands_table *t, size_t row, const size_t *widths)
{
    const struct str *cells = &t->cells[row * t->columns];
    size_t count = t->columns;
    while (count > 0 && cells[count - 1].n == 0)
        count--;
    for (size_t i = 0; i < count; i++) {
        int space = i + 1 < count ? (int)(widths[i] - width_of(cells[i])) + 2 : 0;
        printf("%.*s%*s", STR_ARG(cells[i]), space, "");
    }
    putchar('\n');
}

/* The member at a dotted path, or NULL. */
static const struct json *find_path(const struct json *object, struct str path)
{
    const struct json *at = object;
    while (at && path.n > 0) {
        const char *dot = memchr(path.p, '.', path.n);
        struct str name = {path.p, dot ? (size_t)(dot - path.p) : path.n};
        at = at->type == JSON_OBJECT ? json_find(at, name) : NULL;
        path.p += name.n + (dot ? 1 : 0);
        path.n -= name.n + (dot ? 1 : 0);
    }
    return at;
}

struct commands_table *commands_table_new(int columns)
{
    struct commands_table *t = xcalloc(1, sizeof(*t));
    t->arena = arena_new(0);
    t->columns = (size_t)columns;
    return t;
}

void commands_table_free(struct commands_table *t)
{
    if (!t)
        return;
    arena_free(t->arena);
    free(t->cells);
    free(t);
}

void commands_table_add(struct commands_table *t, struct str cell)
{
    struct buf clean = BUF_INIT;
    commands_table_clean(&clean, cell);
    vec_reserve(&t->cells, &t->cap, t->count + 1, sizeof(*t->cells));
    t->cells[t->count++] = arena_str(t->arena, buf_str(&clean));
    buf_deinit(&clean);
}

void commands_table_add_member(struct commands_table *t, const struct json *object,
                               const char *path)
{
    const struct json *member = find_path(object, str_from(path));
    struct buf text = BUF_INIT;
    if (member && member->type == JSON_TEXT)
        buf_adds(&text, member->s);
    else if (member && member->type != JSON_NULL)
        json_write(&text, member);
    commands_table_add(t, buf_str(&text));
    buf_deinit(&text);
}

void commands_table_print(struct commands_table *t, const char *none)
{
    assert(t->count % t->columns == 0 && t->count > 0);
    size_t rows = t->count / t->columns;
    size_t *widths = arena_zalloc(t->arena, t->columns * sizeof(*widths));
    if (rows == 1) {
        puts(none);
        return;
    }
    for (size_t i = 0; i < t->count; i++) {
        size_t width = width_of(t->cells[i]);
        if (width > widths[i % t->columns])
            widths[i % t->columns] = width;
    }
    for (size_t i = 0; i < rows; i++)
        print_row(t, i, widths);
}

void commands_table_clean(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        /* U+0080..U+009F are C2 80..C2 9F: some terminals obey them too. */
        bool c1 = c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0;
        buf_addc(out, c < 0x20 || c == 0x7F || c1 ? '?' : (char)c);
        i += c1;
    }
}
