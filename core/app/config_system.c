/* SPDX-License-Identifier: MIT */
/* What a system's file says of the process itself is wanted before there is a Lua state or a data
 * folder. So the file is looked at by itself; what is wrong with it is for the loader to say. */
#include "app/config_inside.h"
#include "script/datafile.h"

static const char *const names[CONFIG_SYSTEM] = {"listen", "data", "workers"};

static struct str file_path(const struct config *c)
{
    struct buf path = BUF_INIT;
    buf_adds(&path, c->scripts);
    buf_lit(&path, "/systems/");
    buf_adds(&path, c->system);
    buf_lit(&path, ".lua");
    struct str copy = arena_str(c->arena, buf_str(&path));
    buf_deinit(&path);
    return copy;
}

/* As text; empty where it says nothing. */
static void read_said(const struct json *table, struct arena *a, struct str *ret)
{
    for (int i = 0; i < CONFIG_SYSTEM; i++) {
        const struct json *value = json_find(table, str_from(names[i]));
        ret[i] = (struct str){NULL, 0};
        if (value != NULL && value->type == JSON_TEXT)
            ret[i] = arena_str(a, value->s);
        else if (value != NULL && value->type == JSON_INT)
            ret[i] = arena_str(a, value->raw);
    }
}

void config_system_given(struct config *c, const char *path)
{
    for (unsigned i = 0; i < CONFIG_SYSTEM; i++)
        if (strcmp(path, names[i]) == 0)
            c->given |= 1u << i;
}

int config_system_apply(struct config *c, struct err *err)
{
    struct json table;
    struct err ignored;
    struct str path = file_path(c);
    unsigned given = c->given;
    if (datafile_peek(path.p, names, CONFIG_SYSTEM, c->arena, &table, &ignored) != 0)
        return 0;
    read_said(&table, c->arena, c->said);
    for (unsigned i = 0; i < CONFIG_SYSTEM; i++)
        if (c->said[i].n > 0 && !(given >> i & 1) &&
            config_set(c, str_from(names[i]), c->said[i], path, err) != 0)
            return -1;
    return 0;
}

void config_system_later(const struct config *c, struct str source, struct arena *a,
                         struct buf *out)
{
    struct json table;
    struct err ignored;
    struct str said[CONFIG_SYSTEM];
    if (datafile_peek_text(source, names, CONFIG_SYSTEM, a, &table, &ignored) != 0)
        return;
    read_said(&table, a, said);
    for (int i = 0; i < CONFIG_SYSTEM; i++) {
        if (str_eq(said[i], c->said[i]))
            continue;
        buf_adds(out, out->n > 0 ? STR(", ") : STR(""));
        buf_adds(out, str_from(names[i]));
    }
}
