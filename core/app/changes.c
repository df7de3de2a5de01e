/* SPDX-License-Identifier: MIT */
/* A field that is not declared any more keeps its column: for the store nothing changes, but for
 * whoever reads the rows it does. Only here, where both declarations are at hand, that is seen. */
#include "app/changes.h"

#include "base/json.h"

static void add(struct buf *out, struct str text)
{
    if (out->p[out->n - 1] != '[')
        buf_addc(out, ',');
    json_text(out, text);
}

static bool has_column(const struct store_table *t, struct str column)
{
    for (int i = 0; i < t->field_count; i++)
        if (str_eq(store_table_column_name(t, i), column))
            return true;
    return false;
}

static void add_hidden_columns(struct buf *out, const struct store_table *before,
                               const struct store_table *after)
{
    for (int i = 0; i < before->field_count; i++) {
        struct buf text = BUF_INIT;
        if (has_column(after, store_table_column_name(before, i)))
            continue;
        buf_addf(&text, "hide column %.*s.%.*s", STR_ARG(before->name),
                 STR_ARG(before->fields[i].name));
        add(out, buf_str(&text));
        buf_deinit(&text);
    }
}

static void add_hidden_table(struct buf *out, const struct store_table *t)
{
    struct buf text = BUF_INIT;
    buf_addf(&text, "hide table %.*s", STR_ARG(t->name));
    add(out, buf_str(&text));
    buf_deinit(&text);
}

void changes_write(struct buf *out, const struct store_switched *switched,
                   const struct store_schema *before, const struct store_schema *after)
{
    buf_addc(out, '[');
    for (size_t i = 0; i < switched->change_count; i++)
        add(out, switched->changes[i]);
    for (int i = 0; i < before->table_count; i++) {
        const struct store_table *t = before->tables[i];
        const struct store_table *same = store_schema_table(after, t->service, t->name);
        if (same != NULL)
            add_hidden_columns(out, t, same);
        else
            add_hidden_table(out, t);
    }
    buf_addc(out, ']');
}
