/* SPDX-License-Identifier: MIT */
/* The writing half of base/json.h. Clients of the original systems compare answers byte by byte,
 * therefore doubles are laid out as Java does and indentation as Jackson does. */
#include "base/json.h"
#include "base/json_scan.h"

#include <assert.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PLAIN_FROM (-3) /* decimal exponents from -3 up to 6 are written plainly */
#define PLAIN_TO 7
#define MICROS 1000000
#define DIGITS_MAX 17 /* every double has a spelling of so many digits that reads back the same */

static void escape(struct buf *out, char c)
{
    static const char chars[] = "\"\\\b\f\n\r\t";
    static const char names[] = "\"\\bfnrt";
    static const char hex[] = "0123456789ABCDEF";
    const char *found = c ? strchr(chars, c) : NULL;
    if (found) {
        char pair[2] = {'\\', names[found - chars]};
        buf_add(out, pair, 2);
        return;
    }
    char code[6] = {'\\', 'u', '0', '0', hex[(unsigned char)c >> 4], hex[c & 15]};
    buf_add(out, code, sizeof code);
}

/* s is UTF-8. */
static void add_escaped(struct buf *out, struct str s)
{
    size_t start = 0;
    for (;;) {
        size_t run = json_plain_span((struct str){s.p + start, s.n - start});
        buf_add(out, s.p + start, run);
        start += run;
        if (start == s.n)
            return;
        escape(out, s.p[start++]);
    }
}

void json_text(struct buf *out, struct str s)
{
    buf_addc(out, '"');
    while (s.n > 0) {
        size_t valid = str_utf8_span(s);
        add_escaped(out, (struct str){s.p, valid});
        if (valid == s.n)
            break;
        buf_lit(out, "\xEF\xBF\xBD");
        s = (struct str){s.p + valid + 1, s.n - valid - 1};
    }
    buf_addc(out, '"');
}

/* The commonest numbers, amounts and counts: at most six decimals between 0.001 and 10 million. m /
 * 10^6 is one correctly rounded division, so when it gives n back, the digits of m are n's shortest
 * spelling. */
static bool write_common(struct buf *out, double n)
{
    double size = fabs(n);
    if (size >= 1e7 || (size < 1e-3 && size != 0))
        return false;
    int64_t m = llround(size * MICROS);
    if ((double)m / MICROS != size)
        return false;
    if (signbit(n))
        buf_addc(out, '-');
    buf_add_int(out, m / MICROS);
    char decimals[7] = ".000000";
    int64_t part = m % MICROS;
    for (size_t i = 6; i > 0; i--, part /= 10)
        decimals[i] = (char)('0' + part % 10);
    size_t count = sizeof decimals;
    while (count > 2 && decimals[count - 1] == '0')
        count--;
    buf_add(out, decimals, count);
    return true;
}

/* The fewest significant digits that read back as n (n > 0), and the decimal exponent of the first.
 */
static struct str shortest_digits(double n, char *room, int *ret_exponent)
{
    char text[DIGITS_MAX + 16];
    /* Fewer than 15 digits come out of 15 as zeros at the end, except where doubles are sparse. */
    int precision = n < DBL_MIN ? 1 : DBL_DIG;
    for (; precision < DIGITS_MAX; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, n);
        if (strtod(text, NULL) == n)
            break;
    }
    if (precision == DIGITS_MAX)
        snprintf(text, sizeof text, "%.*e", precision - 1, n);
    size_t count = 0;
    const char *at = text;
    for (; *at != 'e'; at++) {
        if (*at != '.')
            room[count++] = *at;
    }
    while (count > 1 && room[count - 1] == '0')
        count--;
    *ret_exponent = (int)strtol(at + 1, NULL, 10);
    return (struct str){room, count};
}

static void add_zeros(struct buf *out, int count)
{
    for (; count > 0; count--)
        buf_addc(out, '0');
}

static void write_plain(struct buf *out, struct str digits, int exponent)
{
    if (exponent < 0) {
        buf_lit(out, "0.");
        add_zeros(out, -exponent - 1);
        buf_adds(out, digits);
        return;
    }
    size_t whole = (size_t)exponent + 1;
    if (digits.n <= whole) {
        buf_adds(out, digits);
        add_zeros(out, (int)(whole - digits.n));
        buf_lit(out, ".0");
        return;
    }
    buf_add(out, digits.p, whole);
    buf_addc(out, '.');
    buf_add(out, digits.p + whole, digits.n - whole);
}

static void write_scientific(struct buf *out, struct str digits, int exponent)
{
    buf_addc(out, digits.p[0]);
    buf_addc(out, '.');
    if (digits.n == 1)
        buf_addc(out, '0');
    buf_add(out, digits.p + 1, digits.n - 1);
    buf_addc(out, 'E');
    buf_add_int(out, exponent);
}

void json_number(struct buf *out, double n)
{
    if (!isfinite(n)) {
        buf_lit(out, "null");
        return;
    }
    if (write_common(out, n))
        return;
    if (n < 0)
        buf_addc(out, '-');
    char room[DIGITS_MAX + 1];
    int exponent;
    struct str digits = shortest_digits(fabs(n), room, &exponent);
    if (exponent >= PLAIN_FROM && exponent < PLAIN_TO)
        write_plain(out, digits, exponent);
    else
        write_scientific(out, digits, exponent);
}

static void write_container(struct buf *out, const struct json *j)
{
    bool object = j->type == JSON_OBJECT;
    buf_addc(out, object ? '{' : '[');
    for (size_t i = 0; i < j->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        if (object) {
            json_text(out, j->names[i]);
            buf_addc(out, ':');
        }
        json_write(out, &j->items[i]);
    }
    buf_addc(out, object ? '}' : ']');
}

void json_write(struct buf *out, const struct json *j)
{
    switch (j->type) {
    case JSON_NULL:
        buf_lit(out, "null");
        break;
    case JSON_BOOL:
        buf_adds(out, j->b ? STR("true") : STR("false"));
        break;
    case JSON_INT:
    case JSON_NUMBER:
        if (j->raw.n > 0)
            buf_adds(out, j->raw);
        else if (j->type == JSON_INT)
            buf_add_int(out, j->i);
        else
            json_number(out, j->n);
        break;
    case JSON_TEXT:
        json_text(out, j->s);
        break;
    case JSON_LIST:
    case JSON_OBJECT:
        write_container(out, j);
        break;
    }
}

/* ---- Indentation ---- */

/* Only objects indent; lists stay on their line (Jackson's default pretty printer). */
static void new_line(const struct json_indenter *in, struct buf *out)
{
    buf_addc(out, '\n');
    for (int i = 0; i < in->objects; i++)
        buf_lit(out, "  ");
}

static void indent_open(struct json_indenter *in, struct buf *out, char c, char next)
{
    buf_addc(out, c);
    buf_addc(&in->open, c);
    in->objects += c == '{';
    if (next == '}' || next == ']')
        return;
    if (c == '{')
        new_line(in, out);
    else
        buf_addc(out, ' ');
}

static void indent_close(struct json_indenter *in, struct buf *out, char c, bool empty)
{
    assert(in->open.n > 0);
    in->open.n--;
    in->objects -= c == '}';
    if (c == '}' && !empty)
        new_line(in, out);
    else
        buf_addc(out, ' ');
    buf_addc(out, c);
}

static void indent_comma(const struct json_indenter *in, struct buf *out)
{
    buf_addc(out, ',');
    if (in->open.n > 0 && in->open.p[in->open.n - 1] == '{')
        new_line(in, out);
    else
        buf_addc(out, ' ');
}

/* Bytes of the token at the start of s: a string, a word or number, or one mark. */
static size_t token_span(struct str s)
{
    if (strchr("{}[],:", s.p[0]))
        return 1;
    if (s.p[0] != '"') {
        size_t n = 1;
        while (n < s.n && !strchr("{}[],:", s.p[n]))
            n++;
        return n;
    }
    size_t i = 1;
    while (i < s.n && s.p[i] != '"') {
        i += s.p[i] == '\\' ? 2 : 1;
        if (i < s.n)
            i += json_plain_span((struct str){s.p + i, s.n - i});
    }
    return i < s.n ? i + 1 : s.n;
}

void json_indent_more(struct json_indenter *in, struct buf *out, struct str piece)
{
    buf_reserve(out, piece.n + piece.n / 2);
    for (size_t i = 0, n; i < piece.n; i += n) {
        struct str s = {piece.p + i, piece.n - i};
        n = token_span(s);
        switch (s.p[0]) {
        case '{':
        case '[':
            indent_open(in, out, s.p[0], s.n > 1 ? s.p[1] : '\0');
            break;
        case '}':
        case ']':
            indent_close(in, out, s.p[0], in->last == '{' || in->last == '[');
            break;
        case ',':
            indent_comma(in, out);
            break;
        case ':':
            buf_lit(out, " : ");
            break;
        default:
            buf_add(out, s.p, n);
        }
        in->last = s.p[n - 1];
    }
}

void json_indent_deinit(struct json_indenter *in)
{
    buf_deinit(&in->open);
}

void json_indent(struct buf *out, struct str compact)
{
    struct json_indenter in = {.open = BUF_INIT};
    json_indent_more(&in, out, compact);
    json_indent_deinit(&in);
}
