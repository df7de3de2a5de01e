/* SPDX-License-Identifier: MIT */
/* A message that names file and line is half an answer; the other half is the line itself. Columns
 * are not known to the loader, so the caret is put where the message's own words point. */
#include "app/excerpt.h"

#define WIDTH_MAX 200 /* bytes of a line that are shown */

static bool find_line(struct str source, int64_t line, struct str *ret)
{
    struct str rest = source;
    while (rest.n > 0) {
        const char *end = memchr(rest.p, '\n', rest.n);
        size_t n = end ? (size_t)(end - rest.p) : rest.n;
        if (--line == 0) {
            *ret = (struct str){rest.p, n};
            return true;
        }
        size_t step = n + (end ? 1 : 0);
        rest = (struct str){rest.p + step, rest.n - step};
    }
    return false;
}

/* Where the word is in the line, as a word of its own if there is such a place; -1: nowhere. */
static ptrdiff_t find_word(struct str line, struct str word)
{
    ptrdiff_t found = -1;
    for (size_t at = 0; word.n > 0 && at + word.n <= line.n; at++) {
        if (memcmp(line.p + at, word.p, word.n) != 0)
            continue;
        char before = at > 0 ? line.p[at - 1] : ' ';
        char after = at + word.n < line.n ? line.p[at + word.n] : ' ';
        if (!memchr("_abcdefghijklmnopqrstuvwxyz", before | 0x20, 27) &&
            !memchr("_abcdefghijklmnopqrstuvwxyz", after | 0x20, 27))
            return (ptrdiff_t)at;
        if (found < 0)
            found = (ptrdiff_t)at;
    }
    return found;
}

/* The last quoted word of the message that the line has. */
static ptrdiff_t find_quoted(struct str line, struct str message)
{
    ptrdiff_t found = -1;
    for (size_t at = 0; at < message.n; at++) {
        char quote = message.p[at];
        if (quote != '"' && quote != '\'')
            continue;
        const char *begin = message.p + at + 1;
        const char *end = memchr(begin, quote, message.n - at - 1);
        if (!end)
            continue;
        ptrdiff_t place = find_word(line, (struct str){begin, (size_t)(end - begin)});
        if (place >= 0)
            found = place;
        at = (size_t)(end - message.p);
    }
    return found;
}

static size_t first_word(struct str line)
{
    size_t at = 0;
    while (at < line.n && (line.p[at] == ' ' || line.p[at] == '\t'))
        at++;
    return at < line.n ? at : 0;
}

void excerpt_write(struct buf *out, struct str source, int64_t line, struct str message)
{
    struct str text;
    if (line < 1 || !find_line(source, line, &text))
        return;
    ptrdiff_t quoted = find_quoted(text, message);
    size_t caret = quoted >= 0 ? (size_t)quoted : first_word(text);
    size_t shown = text.n < WIDTH_MAX ? text.n : WIDTH_MAX;
    buf_lit(out, "    ");
    for (size_t i = 0; i < shown; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if (c == '\t')
            buf_addc(out, ' ');
        else if (c >= 0x20 && c != 0x7F)
            buf_addc(out, (char)c);
    }
    buf_lit(out, "\n    ");
    for (size_t i = 0; i < caret && i < shown; i++) {
        unsigned char c = (unsigned char)text.p[i];
        if ((c >= 0x20 && c != 0x7F && (c & 0xC0) != 0x80) || c == '\t')
            buf_addc(out, ' ');
    }
    buf_lit(out, "^\n");
}

bool excerpt_place(struct str message, struct str *ret_path, int64_t *ret_line)
{
    const size_t folder = sizeof("scripts/") - 1;
    const char *lua = message.n > 0 ? memmem(message.p, message.n, ".lua:", 5) : NULL;
    if (lua == NULL || !str_starts(message, STR("scripts/")))
        return false;
    const char *end = message.p + message.n;
    struct str path = {message.p + folder, (size_t)(lua - message.p) + 4 - folder};
    struct str line = {lua + 5, 0};
    while (line.p + line.n < end && line.p[line.n] >= '0' && line.p[line.n] <= '9')
        line.n++;
    if (!str_to_int(line, ret_line))
        return false;
    *ret_path = path;
    return true;
}
