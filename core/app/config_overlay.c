/* SPDX-License-Identifier: MIT */
/* Lays overrides over a table of the system file. The table says which members there are and of
 * what type, so that a misspelt or mistyped override is refused and never passed over. */
#include "app/config.h"

/* Finds the member that path begins with (names may hold dots: the longest one wins); *ret_rest is
 * what follows it. */
static struct json *find_member(struct json *table, struct str path, struct str *ret_rest)
{
    struct json *found = NULL;
    size_t best = 0;
    for (size_t i = 0; i < table->count; i++) {
        struct str name = table->names[i];
        struct str head = {path.p, name.n < path.n ? name.n : path.n};
        bool whole = name.n == path.n || (name.n < path.n && path.p[name.n] == '.');
        if (!whole || !str_ieq(head, name) || (found && name.n < best))
            continue;
        found = &table->items[i];
        best = name.n;
        *ret_rest = name.n == path.n ? (struct str){NULL, 0}
                                     : (struct str){path.p + name.n + 1, path.n - name.n - 1};
    }
    return found;
}

static int refuse_member(const struct config_override *o, const struct json *table, struct str path,
                         struct err *err)
{
    struct str nearest = {NULL, 0};
    if (table->type == JSON_OBJECT) {
        const char *dot = path.n > 0 ? memchr(path.p, '.', path.n) : NULL;
        struct str name = {path.p, dot ? (size_t)(dot - path.p) : path.n};
        nearest = str_nearest(name, table->names, table->count);
    }
    struct str before = {o->path.p, o->path.n - path.n};
    if (nearest.n == 0)
        return err_set(err, ERR_CONFIG, "%.*s %.*s: unknown setting", STR_ARG(o->origin),
                       STR_ARG(o->path));
    return err_set(err, ERR_CONFIG, "%.*s %.*s: unknown setting; did you mean \"%.*s%.*s\"?",
                   STR_ARG(o->origin), STR_ARG(o->path), STR_ARG(before), STR_ARG(nearest));
}

static bool read_integer(struct str text, struct json *ret)
{
    *ret = (struct json){.type = JSON_INT, .raw = text};
    return str_to_int(text, &ret->i);
}

static bool read_number(struct str text, struct json *ret)
{
    *ret = (struct json){.type = JSON_NUMBER, .raw = text};
    return str_to_number(text, &ret->n);
}

static bool read_boolean(struct str text, struct json *ret)
{
    *ret = (struct json){.type = JSON_BOOL, .b = str_ieq(text, STR("true"))};
    return ret->b || str_ieq(text, STR("false"));
}

/* A member of null says nothing about its type: the value's own spelling decides. */
static bool read_any(struct str text, struct json *ret)
{
    if (!read_integer(text, ret) && !read_number(text, ret) && !read_boolean(text, ret))
        *ret = (struct json){.type = JSON_TEXT, .s = text};
    return true;
}

static int replace(struct arena *a, const struct config_override *o, struct json *member,
                   struct err *err)
{
    struct json value;
    struct str text = arena_str(a, o->value);
    const char *expected = NULL;
    switch (member->type) {
    case JSON_NULL:
        read_any(text, &value);
        break;
    case JSON_BOOL:
        expected = read_boolean(text, &value) ? NULL : "true or false";
        break;
    case JSON_INT:
        expected = read_integer(text, &value) ? NULL : "an integer";
        break;
    case JSON_NUMBER:
        expected = read_number(text, &value) ? NULL : "a number";
        break;
    case JSON_TEXT:
        value = (struct json){.type = JSON_TEXT, .s = text};
        break;
    case JSON_LIST:
    case JSON_OBJECT:
        return err_set(err, ERR_CONFIG, "%.*s %.*s: a table cannot be set as a whole",
                       STR_ARG(o->origin), STR_ARG(o->path));
    }
    if (expected)
        return err_set(err, ERR_CONFIG, "%.*s %.*s: expected %s, got \"%.*s\"", STR_ARG(o->origin),
                       STR_ARG(o->path), expected, STR_ARG(text));
    *member = value;
    return 0;
}

static int lay_one(struct arena *a, struct config_override *o, struct str path, struct json *table,
                   struct err *err)
{
    struct json *at = table;
    while (path.n > 0) {
        struct str rest;
        struct json *member = at->type == JSON_OBJECT ? find_member(at, path, &rest) : NULL;
        if (!member)
            return refuse_member(o, at, path, err);
        at = member;
        path = rest;
    }
    if (replace(a, o, at, err))
        return -1;
    o->used = true;
    return 0;
}

int config_overlay(struct config *c, struct arena *a, struct str prefix, struct json *table,
                   struct err *err)
{
    for (size_t i = 0; i < c->override_count; i++) {
        struct config_override *o = &c->overrides[i];
        struct str path = {o->path.p + prefix.n, o->path.n - prefix.n};
        if (str_starts(o->path, prefix) && lay_one(a, o, path, table, err))
            return -1;
    }
    return 0;
}
