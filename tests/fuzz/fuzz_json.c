/* SPDX-License-Identifier: MIT */
/* JSON from arbitrary bytes. A document that is read must come back the same when it is written and
 * read again, compact or indented; one that is refused must be refused with its place. */
#include "base/json.h"
#include "fuzz.h"

#define DEPTH 64

static bool is_same(const struct json *a, const struct json *b)
{
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case JSON_NULL:
        return true;
    case JSON_BOOL:
        return a->b == b->b;
    case JSON_INT:
        return a->i == b->i && str_eq(a->raw, b->raw);
    case JSON_NUMBER:
        return memcmp(&a->n, &b->n, sizeof(a->n)) == 0 && str_eq(a->raw, b->raw);
    case JSON_TEXT:
        return str_eq(a->s, b->s);
    case JSON_LIST:
    case JSON_OBJECT:
        break;
    }
    bool same = a->count == b->count;
    for (size_t i = 0; same && i < a->count; i++) {
        same = is_same(&a->items[i], &b->items[i]);
        if (same && a->type == JSON_OBJECT)
            same = str_eq(a->names[i], b->names[i]);
    }
    return same;
}

/* What the rest of the host takes for granted. */
static void check_value(const struct json *j, int depth)
{
    if (j->type == JSON_TEXT)
        require(str_is_utf8(j->s) && (j->s.n == 0 || !memchr(j->s.p, '\0', j->s.n)));
    if (j->type == JSON_INT || j->type == JSON_NUMBER)
        require(j->raw.n > 0 && str_number_span(j->raw) == j->raw.n);
    if (j->type == JSON_NUMBER) {
        require(j->n - j->n == 0); /* finite */
        struct buf text = BUF_INIT;
        double n;
        json_number(&text, j->n);
        require(str_to_number(buf_str(&text), &n) && n == j->n);
        buf_deinit(&text);
    }
    if (j->type != JSON_LIST && j->type != JSON_OBJECT)
        return;
    require(depth < DEPTH);
    for (size_t i = 0; i < j->count; i++) {
        check_value(&j->items[i], depth + 1);
        if (j->type != JSON_OBJECT)
            continue;
        require(str_is_utf8(j->names[i]));
        if (i < 32)
            require(json_find(j, j->names[i]) == &j->items[i]); /* no name is there twice */
    }
}

static void check_again(struct arena *a, struct str text, const struct json *before)
{
    struct json again;
    struct err err;
    require(json_parse(a, text, DEPTH, &again, &err) == 0);
    require(is_same(before, &again));
}

static void check_round_trip(struct arena *a, const struct json *j)
{
    struct buf compact = BUF_INIT, pretty = BUF_INIT;
    json_write(&compact, j);
    check_again(a, buf_str(&compact), j);
    json_indent(&pretty, buf_str(&compact));
    check_again(a, buf_str(&pretty), j);
    buf_deinit(&compact);
    buf_deinit(&pretty);
}

/* Text that was never checked must still be written as a document. */
static void check_text(struct arena *a, struct str input)
{
    struct buf text = BUF_INIT;
    struct json j;
    struct err err;
    if (input.n > 0 && memchr(input.p, '\0', input.n))
        return; /* written as an escape that readers refuse */
    json_text(&text, input);
    require(json_parse(a, buf_str(&text), 1, &j, &err) == 0 && j.type == JSON_TEXT);
    require(!str_is_utf8(input) || str_eq(j.s, input));
    buf_deinit(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str input = {(const char *)data, size};
    struct arena *a = arena_new(0);
    struct json j;
    struct err err = {.code = ERR_NONE};
    if (json_parse(a, input, DEPTH, &j, &err) == 0) {
        check_value(&j, 0);
        check_round_trip(a, &j);
    } else {
        int line, column;
        require(err.code == ERR_INVALID);
        require(sscanf(err.message, "line %d, column %d: ", &line, &column) == 2);
        require(line >= 1 && column >= 1 && (size_t)line <= size + 1 && (size_t)column <= size + 1);
    }
    check_text(a, input);
    arena_free(a);
    return 0;
}
