/* SPDX-License-Identifier: MIT */
/* Everything that enters the host is JSON, so it is read here once, without loss and without a
 * dependency: integers keep 64 bits, empty lists stay lists, spellings are kept. Text without
 * escapes is borrowed from the document, since nearly all of it has none. The writing half is
 * json_write.c. */
#include "base/json.h"

#include "base/json_scan.h"

#include <stdlib.h>

#define SORT_ABOVE 16 /* objects with more members look for duplicate names by sorting */

struct member {
    struct str name; /* empty in lists */
    struct json value;
};

struct parser {
    struct arena *arena;
    struct str text;
    size_t at;
    int depth, max_depth;
    struct member *stack; /* members of the containers being read, innermost last */
    size_t count, cap;
    struct err *err;
};

static int refuse(struct parser *p, const char *what)
{
    int line = 1, column = 1;
    for (size_t i = 0; i < p->at; i++) {
        if (p->text.p[i] == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)p->text.p[i] & 0xC0) != 0x80) {
            column++;
        }
    }
    return err_set(p->err, ERR_INVALID, "line %d, column %d: %s", line, column, what);
}

static struct str rest(const struct parser *p)
{
    return (struct str){p->text.p + p->at, p->text.n - p->at};
}

/* The next byte, or NUL at the end (a NUL in the text is an error wherever it stands). */
static char peek(const struct parser *p)
{
    return p->at < p->text.n ? p->text.p[p->at] : '\0';
}

static char skip_space(struct parser *p)
{
    while (p->at < p->text.n) {
        char c = p->text.p[p->at];
        if (c != ' ' && c != '\n' && c != '\r' && c != '\t')
            return c;
        p->at++;
    }
    return '\0';
}

static int parse_word(struct parser *p, struct str word, struct json value, struct json *ret)
{
    if (!str_starts(rest(p), word))
        return refuse(p, "expected a value");
    p->at += word.n;
    *ret = value;
    return 0;
}

static int parse_number(struct parser *p, struct json *ret)
{
    struct str raw = {p->text.p + p->at, str_number_span(rest(p))};
    if (raw.n == 0)
        return refuse(p, "malformed number");
    struct json value = {.type = JSON_INT, .raw = raw};
    /* -0 is a double: as an integer it would lose its sign. */
    if (str_eq(raw, STR("-0")) || !str_to_int(raw, &value.i)) {
        value.type = JSON_NUMBER;
        if (!str_to_number(raw, &value.n))
            return refuse(p, "number out of range");
    }
    p->at += raw.n;
    *ret = value;
    return 0;
}

static bool parse_hex4(struct str s, uint32_t *ret)
{
    uint32_t value = 0;
    if (s.n < 4)
        return false;
    for (int i = 0; i < 4; i++) {
        char c = s.p[i];
        uint32_t digit = c >= '0' && c <= '9'   ? (uint32_t)(c - '0')
                         : c >= 'a' && c <= 'f' ? (uint32_t)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (uint32_t)(c - 'A' + 10)
                                                : 16;
        if (digit == 16)
            return false;
        value = value * 16 + digit;
    }
    *ret = value;
    return true;
}

static size_t put_utf8(char *out, uint32_t c)
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3F));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3F));
        out[2] = (char)(0x80 | (c & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3F));
    out[2] = (char)(0x80 | (c >> 6 & 0x3F));
    out[3] = (char)(0x80 | (c & 0x3F));
    return 4;
}

/* A \u escape, or the pair of them that makes a surrogate pair; p stands behind the 'u'. */
static int parse_unicode(struct parser *p, uint32_t *ret)
{
    uint32_t c, low;
    if (!parse_hex4(rest(p), &c))
        return refuse(p, "expected four hexadecimal digits after \\u");
    if (c == 0)
        return refuse(p, "\\u0000 is not allowed in text");
    p->at += 4;
    if (c < 0xD800 || c > 0xDFFF) {
        *ret = c;
        return 0;
    }
    struct str next = rest(p);
    bool pair = c < 0xDC00 && str_starts(next, STR("\\u")) &&
                parse_hex4((struct str){next.p + 2, next.n - 2}, &low) && low >= 0xDC00 &&
                low <= 0xDFFF;
    if (!pair)
        return refuse(p, "lone surrogate in text");
    p->at += 6;
    *ret = 0x10000 + ((c - 0xD800) << 10) + (low - 0xDC00);
    return 0;
}

/* One escape, p standing behind the backslash; appends to out and advances *n. */
static int parse_escape(struct parser *p, char *out, size_t *n)
{
    static const char names[] = "\"\\/bfnrt", chars[] = "\"\\/\b\f\n\r\t";
    char c = peek(p);
    const char *found = c ? strchr(names, c) : NULL;
    if (found) {
        out[(*n)++] = chars[found - names];
        p->at++;
        return 0;
    }
    if (c != 'u')
        return refuse(p, "unknown escape in text");
    p->at++;
    uint32_t code = 0;
    if (parse_unicode(p, &code))
        return -1;
    *n += put_utf8(out + *n, code);
    return 0;
}

/* Bytes from p to the closing quote, or to the first control character or the end of the text. */
static size_t text_span(const struct parser *p)
{
    struct str s = rest(p);
    size_t i = json_plain_span(s);
    while (i < s.n && s.p[i] == '\\') {
        i = i + 2 < s.n ? i + 2 : s.n;
        i += json_plain_span((struct str){s.p + i, s.n - i});
    }
    return i;
}

static int unescape(struct parser *p, size_t end, struct str *ret)
{
    char *out = arena_alloc(p->arena, end - p->at + 1); /* no escape is longer than its spelling */
    size_t n = 0;
    while (p->at < end) {
        size_t run = json_plain_span((struct str){p->text.p + p->at, end - p->at});
        memcpy(out + n, p->text.p + p->at, run);
        n += run;
        p->at += run;
        if (p->at == end)
            break;
        p->at++;
        if (parse_escape(p, out, &n))
            return -1;
    }
    out[n] = '\0';
    *ret = (struct str){out, n};
    return 0;
}

static int parse_text(struct parser *p, struct str *ret)
{
    size_t start = p->at;
    p->at++;
    size_t end = p->at + text_span(p);
    if (end >= p->text.n) {
        p->at = start;
        return refuse(p, "text without a closing quote");
    }
    struct str s = {p->text.p + p->at, end - p->at};
    bool escaped = s.n > 0 && memchr(s.p, '\\', s.n);
    if (escaped && unescape(p, end, &s))
        return -1;
    p->at = end;
    if (p->text.p[end] != '"')
        return refuse(p, "control character in text");
    p->at++;
    *ret = s;
    return 0;
}

static struct member *push(struct parser *p)
{
    vec_reserve(&p->stack, &p->cap, p->count + 1, sizeof *p->stack);
    p->stack[p->count] = (struct member){0};
    return &p->stack[p->count++];
}

static int by_name_then_place(const void *a, const void *b)
{
    const struct member *x = *(struct member *const *)a, *y = *(struct member *const *)b;
    size_t n = x->name.n < y->name.n ? x->name.n : y->name.n;
    int order = n ? memcmp(x->name.p, y->name.p, n) : 0;
    if (order == 0 && x->name.n != y->name.n)
        order = x->name.n < y->name.n ? -1 : 1;
    return order ? order : (x > y) - (x < y);
}

/* Marks as dropped (name.p == NULL) every member whose name was there before; the first takes the
 * last one's value. */
static bool mark_duplicates_sorted(struct member *members, size_t count)
{
    struct member **sorted = xmalloc(count * sizeof(struct member *));
    bool found = false;
    for (size_t i = 0; i < count; i++)
        sorted[i] = &members[i];
    qsort(sorted, count, sizeof(struct member *), by_name_then_place);
    struct member *first = sorted[0];
    for (size_t i = 1; i < count; i++) {
        if (!str_eq(first->name, sorted[i]->name)) {
            first = sorted[i];
            continue;
        }
        first->value = sorted[i]->value;
        sorted[i]->name.p = NULL;
        found = true;
    }
    free(sorted);
    return found;
}

static bool mark_duplicates(struct member *members, size_t count)
{
    bool found = false;
    if (count > SORT_ABOVE)
        return mark_duplicates_sorted(members, count);
    for (size_t i = 1; i < count; i++) {
        for (size_t j = 0; j < i; j++) {
            if (!members[j].name.p || !str_eq(members[j].name, members[i].name))
                continue;
            members[j].value = members[i].value;
            members[i].name.p = NULL;
            found = true;
            break;
        }
    }
    return found;
}

static void drop_duplicates(struct parser *p, size_t base)
{
    if (p->count - base < 2 || !mark_duplicates(p->stack + base, p->count - base))
        return;
    size_t kept = base;
    for (size_t i = base; i < p->count; i++) {
        if (p->stack[i].name.p)
            p->stack[kept++] = p->stack[i];
    }
    p->count = kept;
}

/* Moves what was pushed since base into the arena. */
static struct json pop_container(struct parser *p, enum json_type type, size_t base)
{
    if (type == JSON_OBJECT)
        drop_duplicates(p, base);
    size_t count = p->count - base;
    struct json j = {.type = type, .items = NULL, .names = NULL, .count = count};
    if (count > 0) {
        j.items = arena_alloc(p->arena, count * sizeof *j.items);
        for (size_t i = 0; i < count; i++)
            j.items[i] = p->stack[base + i].value;
    }
    if (count > 0 && type == JSON_OBJECT) {
        j.names = arena_alloc(p->arena, count * sizeof *j.names);
        for (size_t i = 0; i < count; i++)
            j.names[i] = p->stack[base + i].name;
    }
    p->count = base;
    return j;
}

static int parse_value(struct parser *p, struct json *ret);

static int parse_name(struct parser *p, struct str *ret)
{
    if (skip_space(p) != '"')
        return refuse(p, "expected a member name in quotes");
    if (parse_text(p, ret))
        return -1;
    if (skip_space(p) != ':')
        return refuse(p, "expected ':' after a member name");
    p->at++;
    return 0;
}

/* Members up to the closing bracket, p standing behind the opening one. */
static int parse_members(struct parser *p, enum json_type type)
{
    bool object = type == JSON_OBJECT;
    char close = object ? '}' : ']';
    if (skip_space(p) == close) {
        p->at++;
        return 0;
    }
    for (;;) {
        struct member m = {0};
        if (object && parse_name(p, &m.name))
            return -1;
        if (parse_value(p, &m.value))
            return -1;
        *push(p) = m;
        char c = skip_space(p);
        if (c != ',' && c != close)
            return refuse(p, object ? "expected ',' or '}' after an object member"
                                    : "expected ',' or ']' after a list item");
        p->at++;
        if (c == close)
            return 0;
    }
}

static int parse_container(struct parser *p, enum json_type type, struct json *ret)
{
    if (p->depth == p->max_depth)
        return refuse(p, "nested too deeply");
    p->depth++;
    size_t base = p->count;
    p->at++;
    if (parse_members(p, type))
        return -1;
    *ret = pop_container(p, type, base);
    p->depth--;
    return 0;
}

static int parse_value(struct parser *p, struct json *ret)
{
    char c = skip_space(p);
    switch (c) {
    case '{':
        return parse_container(p, JSON_OBJECT, ret);
    case '[':
        return parse_container(p, JSON_LIST, ret);
    case '"':
        ret->type = JSON_TEXT;
        return parse_text(p, &ret->s);
    case 't':
        return parse_word(p, STR("true"), (struct json){.type = JSON_BOOL, .b = true}, ret);
    case 'f':
        return parse_word(p, STR("false"), (struct json){.type = JSON_BOOL, .b = false}, ret);
    case 'n':
        return parse_word(p, STR("null"), (struct json){.type = JSON_NULL}, ret);
    default:
        if (c == '-' || (c >= '0' && c <= '9'))
            return parse_number(p, ret);
        return refuse(p, p->at == p->text.n ? "expected a value, got the end" : "expected a value");
    }
}

static int parse_document(struct parser *p, struct json *ret)
{
    p->at = str_utf8_span(p->text);
    if (p->at != p->text.n)
        return refuse(p, "not UTF-8");
    p->at = 0;
    if (parse_value(p, ret))
        return -1;
    skip_space(p);
    return p->at == p->text.n ? 0 : refuse(p, "expected the end of the document");
}

int json_parse(struct arena *a, struct str text, int max_depth, struct json *ret, struct err *err)
{
    struct parser p = {.arena = a, .text = text, .max_depth = max_depth, .err = err};
    struct json j = {0};
    int rc = parse_document(&p, &j);
    free(p.stack);
    if (rc == 0)
        *ret = j;
    return rc;
}

const struct json *json_find(const struct json *object, struct str name)
{
    if (!object || object->type != JSON_OBJECT)
        return NULL;
    for (size_t i = 0; i < object->count; i++) {
        if (str_eq(object->names[i], name))
            return &object->items[i];
    }
    return NULL;
}
