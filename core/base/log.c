/* SPDX-License-Identifier: MIT */
/* Log lines are for machines first: one JSON object a line, handed to the kernel in one write so
 * that lines of many threads never mix. A person at a terminal gets the same content laid out for
 * reading. */
#include "base/log.h"

#include "base/clock.h"
#include "base/json.h"

#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#define LINE_ON_STACK 4096
#define LINE_FIXED 128     /* time, level, punctuation */
#define FIELD_FIXED 40     /* punctuation and a number */
#define BYTE_ESCAPED_MAX 6 /* \u001F */

/* Mutable on purpose: the level of the whole process, changed at run time and read on every path.
 */
static _Atomic int threshold = LOG_INFO;

static const struct str level_names[] = {{"debug", 5}, {"info", 4}, {"warn", 4}, {"error", 5}};

static bool left_out(const struct log_field *f)
{
    return f->type == LOG_TEXT && f->text.n == 0;
}

/* No line of these fields is longer. */
static size_t line_bound(const char *msg, const struct log_field *fields)
{
    size_t n = LINE_FIXED + BYTE_ESCAPED_MAX * strlen(msg);
    for (const struct log_field *f = fields; f->name; f++)
        n += FIELD_FIXED + BYTE_ESCAPED_MAX * (strlen(f->name) + f->text.n);
    return n;
}

static void write_json_line(struct buf *b, enum log_level level, const char *msg,
                            const struct log_field *fields)
{
    struct clock now;
    clock_real_init(&now);
    buf_lit(b, "{\"ts\":\"");
    clock_rfc3339(b, clock_wall_ms(&now));
    buf_lit(b, "\",\"level\":\"");
    buf_adds(b, level_names[level]);
    buf_lit(b, "\",\"msg\":");
    json_text(b, str_from(msg));
    for (const struct log_field *f = fields; f->name; f++) {
        if (left_out(f))
            continue;
        buf_addc(b, ',');
        json_text(b, str_from(f->name));
        buf_addc(b, ':');
        if (f->type == LOG_INT)
            buf_add_int(b, f->number);
        else
            json_text(b, f->text);
    }
    buf_lit(b, "}\n");
}

/* Values of plain characters need no quotes; nothing may smuggle control characters into a
 * terminal. */
static bool is_plain(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == '=' || c >= 0x7F)
            return false;
    }
    return true;
}

static void write_readable_line(struct buf *b, enum log_level level, const char *msg,
                                const struct log_field *fields)
{
    struct clock now;
    clock_real_init(&now);
    clock_rfc3339(b, clock_wall_ms(&now));
    buf_addc(b, ' ');
    buf_adds(b, level_names[level]);
    buf_add(b, "  ", 6 - level_names[level].n);
    size_t start = b->n;
    json_text(b, str_from(msg));
    b->n--; /* the message goes without its quotes */
    memmove(b->p + start, b->p + start + 1, b->n - start - 1);
    b->n--;
    for (const struct log_field *f = fields; f->name; f++) {
        if (left_out(f))
            continue;
        buf_addc(b, ' ');
        buf_adds(b, str_from(f->name));
        buf_addc(b, '=');
        if (f->type == LOG_INT)
            buf_add_int(b, f->number);
        else if (is_plain(f->text))
            buf_adds(b, f->text);
        else
            json_text(b, f->text);
    }
    buf_addc(b, '\n');
}

/* One write is the rule; a full pipe or a signal may still take the line in pieces. A log that
 * cannot be written is nothing a server could do about: the line is lost. */
static void send_line(struct str line)
{
    while (line.n > 0) {
        ssize_t n = write(STDOUT_FILENO, line.p, line.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        line = (struct str){line.p + n, line.n - (size_t)n};
    }
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    if ((int)level < atomic_load_explicit(&threshold, memory_order_relaxed))
        return;
    int saved = errno;
    char stack[LINE_ON_STACK];
    size_t bound = line_bound(msg, fields);
    struct buf line = {stack, 0, sizeof stack};
    bool on_heap = bound >= sizeof stack;
    if (on_heap) {
        line = (struct buf)BUF_INIT;
        buf_reserve(&line, bound);
    }
    if (isatty(STDOUT_FILENO))
        write_readable_line(&line, level, msg, fields);
    else
        write_json_line(&line, level, msg, fields);
    assert(on_heap || line.p == stack);
    send_line((struct str){line.p, line.n});
    if (on_heap)
        buf_deinit(&line);
    errno = saved;
}

void log_set_level(enum log_level level)
{
    atomic_store_explicit(&threshold, (int)level, memory_order_relaxed);
}

bool log_level_from(struct str name, enum log_level *ret)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++) {
        if (!str_eq(name, level_names[i]))
            continue;
        *ret = (enum log_level)i;
        return true;
    }
    return false;
}
