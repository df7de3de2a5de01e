/* SPDX-License-Identifier: MIT */
/* HAL, by hand: answers are compared byte by byte with those of the original systems, and most of
 * an item is the same for every row, so that it is written once and copied. */
#include "rest/hal.h"

#include "base/json.h"

#define ITEM_BYTES 400 /* of an ordinary item, without its address */

/* ---- pieces ---- */

static struct str take(struct arena *a, struct buf *out)
{
    struct str made = arena_str(a, buf_str(out));
    buf_clear(out);
    return made;
}

/* s as it stands inside the quotes of a JSON text. */
static void add_escaped(struct buf *out, struct str s)
{
    size_t start = out->n;
    json_text(out, s);
    memmove(out->p + start, out->p + start + 1, out->n - start - 2);
    out->n -= 2;
}

void rest_shape_init(struct rest_shape *s, struct arena *a)
{
    struct buf out = BUF_INIT;
    s->keys = arena_alloc(a, (size_t)(s->table->field_count + 1) * sizeof(*s->keys));
    for (int i = 0; i < s->table->field_count; i++) {
        json_text(&out, s->table->fields[i].name);
        buf_addc(&out, ':');
        s->keys[i] = take(a, &out);
    }
    add_escaped(&out, s->path);
    s->href = take(a, &out);
    add_escaped(&out, s->table->name);
    s->name = take(a, &out);
    buf_lit(&out, "\"_links\":{\"self\":{\"href\":\"");
    s->links = take(a, &out);
    buf_lit(&out, "\"},");
    json_text(&out, s->rel);
    buf_lit(&out, ":{\"href\":\"");
    s->again = take(a, &out);
    buf_deinit(&out);
}

static void add_item_href(struct buf *out, const struct rest_shape *s, struct str base, int64_t id)
{
    buf_adds(out, base);
    buf_adds(out, s->href);
    buf_addc(out, '/');
    buf_add_int(out, id);
}

void rest_hal_item(struct buf *out, const struct rest_shape *s, struct str base,
                   const struct store_row *row)
{
    buf_reserve(out, ITEM_BYTES + 2 * base.n); /* at once, for most of them */
    buf_addc(out, '{');
    for (int i = 0; i < s->table->field_count; i++) {
        buf_adds(out, s->keys[i]);
        field_write_json(out, &s->table->fields[i], &row->values[i]);
        buf_addc(out, ',');
    }
    buf_adds(out, s->links);
    add_item_href(out, s, base, row->id);
    buf_adds(out, s->again);
    add_item_href(out, s, base, row->id);
    buf_lit(out, "\"}}}");
}

/* ---- collections ---- */

/* `"rel":{"href":"`, with a comma unless it is the first of `_links`. */
static void begin_link(struct buf *out, struct str rel)
{
    if (out->p[out->n - 1] != '{')
        buf_addc(out, ',');
    json_text(out, rel);
    buf_lit(out, ":{\"href\":\"");
}

static void end_link(struct buf *out, bool templated)
{
    buf_adds(out, templated ? STR("\",\"templated\":true}") : STR("\"}"));
}

static void add_sort(struct buf *out, const struct rest_page *p)
{
    const struct store_table *t = p->shape->table;
    for (int i = 0; i < p->order_count && !p->own_order; i++) {
        int column = p->orders[i].column;
        struct str name = column == STORE_COLUMN_ID ? t->id_name : t->fields[column].name;
        buf_lit(out, "&sort=");
        add_escaped(out, name);
        buf_adds(out, p->orders[i].descending ? STR(",desc") : STR(",asc"));
    }
}

static void add_path(struct buf *out, const struct rest_page *p, struct str base)
{
    buf_adds(out, base);
    buf_adds(out, p->shape->href);
    if (p->finder == NULL)
        return;
    buf_lit(out, "/search/");
    add_escaped(out, p->finder->name);
}

static void add_page_href(struct buf *out, const struct rest_page *p, struct str base,
                          int64_t number)
{
    add_path(out, p, base);
    buf_addc(out, '?');
    if (p->arguments.n > 0) {
        buf_adds(out, p->arguments);
        buf_addc(out, '&');
    }
    buf_lit(out, "page=");
    buf_add_int(out, number);
    buf_lit(out, "&size=");
    buf_add_int(out, p->size);
    add_sort(out, p);
}

static void add_page_link(struct buf *out, const struct rest_page *p, struct str base,
                          struct str rel, int64_t number)
{
    begin_link(out, rel);
    add_page_href(out, p, base, number);
    end_link(out, false);
}

static void add_self(struct buf *out, const struct rest_page *p, struct str base)
{
    begin_link(out, STR("self"));
    if (p->finder == NULL && p->paged && p->asked) {
        add_page_href(out, p, base, p->number);
        end_link(out, false);
        return;
    }
    add_path(out, p, base);
    if (p->query.n > 0) {
        buf_addc(out, '?');
        buf_adds(out, p->query);
    }
    bool templated = p->finder == NULL && p->paged;
    if (templated)
        buf_lit(out, "{?page,size,sort}");
    end_link(out, templated);
}

static void add_resource_link(struct buf *out, const struct rest_shape *s, struct str base,
                              struct str rel, struct str before, struct str after)
{
    begin_link(out, rel);
    buf_adds(out, base);
    buf_adds(out, before);
    buf_adds(out, s->href);
    buf_adds(out, after);
    end_link(out, false);
}

void rest_hal_begin(struct buf *out, const struct rest_page *p)
{
    buf_lit(out, "{\"_embedded\":{\"");
    buf_adds(out, p->shape->name);
    buf_lit(out, "\":[");
}

void rest_hal_row(struct buf *out, const struct rest_page *p, struct str base,
                  const struct store_row *row, bool first)
{
    if (!first)
        buf_addc(out, ',');
    rest_hal_item(out, p->shape, base, row);
}

static void add_page_block(struct buf *out, const struct rest_page *p, int64_t total, int64_t pages)
{
    buf_lit(out, ",\"page\":{\"size\":");
    buf_add_int(out, p->size);
    buf_lit(out, ",\"totalElements\":");
    buf_add_int(out, total);
    buf_lit(out, ",\"totalPages\":");
    buf_add_int(out, pages);
    buf_lit(out, ",\"number\":");
    buf_add_int(out, p->number);
    buf_addc(out, '}');
}

void rest_hal_end(struct buf *out, const struct rest_page *p, struct str base, int64_t total)
{
    int64_t pages = p->paged ? (total + p->size - 1) / p->size : 0;
    bool before = p->paged && p->number > 0, after = p->paged && p->number + 1 < pages;
    buf_lit(out, "]},\"_links\":{");
    if (before || after)
        add_page_link(out, p, base, STR("first"), 0);
    if (before)
        add_page_link(out, p, base, STR("prev"), p->number - 1);
    add_self(out, p, base);
    if (after)
        add_page_link(out, p, base, STR("next"), p->number + 1);
    if (before || after)
        add_page_link(out, p, base, STR("last"), pages > 0 ? pages - 1 : 0);
    if (p->finder == NULL)
        add_resource_link(out, p->shape, base, STR("profile"), STR("/profile"), STR(""));
    if (p->finder == NULL && p->shape->finder_count > 0)
        add_resource_link(out, p->shape, base, STR("search"), STR(""), STR("/search"));
    buf_addc(out, '}');
    if (p->paged)
        add_page_block(out, p, total, pages);
    buf_addc(out, '}');
}

/* ---- finders ---- */

/* .../search/findByOrderIdAndKind{?orderId,kind} */
static void add_finder_href(struct buf *out, const struct rest_shape *s,
                            const struct rest_finder *f, struct str base)
{
    buf_adds(out, base);
    buf_adds(out, s->href);
    buf_lit(out, "/search/");
    add_escaped(out, f->name);
    buf_lit(out, "{?");
    for (int i = 0; i < f->count; i++) {
        if (i > 0)
            buf_addc(out, ',');
        buf_adds(out, s->table->fields[f->columns[i]].name);
    }
    buf_addc(out, '}');
}

void rest_hal_search(struct buf *out, const struct rest_shape *s, struct str base)
{
    buf_lit(out, "{\"_links\":{");
    for (int i = 0; i < s->finder_count; i++) {
        begin_link(out, s->finders[i].name);
        add_finder_href(out, s, &s->finders[i], base);
        end_link(out, true);
    }
    add_resource_link(out, s, base, STR("self"), STR(""), STR("/search"));
    buf_lit(out, "}}");
}

/* ---- Link headers ---- */

static void begin_header(struct buf *out)
{
    buf_adds(out, out->n > 0 ? STR(",<") : STR("<"));
}

static void end_header(struct buf *out, struct str rel)
{
    buf_lit(out, ">;rel=\"");
    buf_adds(out, rel);
    buf_addc(out, '"');
}

static void add_header(struct buf *out, const struct rest_shape *s, struct str base, struct str rel,
                       struct str before, struct str after)
{
    begin_header(out);
    buf_adds(out, base);
    buf_adds(out, before);
    buf_adds(out, s->href);
    buf_adds(out, after);
    end_header(out, rel);
}

void rest_hal_item_header(struct buf *out, const struct rest_shape *s, struct str base, int64_t id)
{
    begin_header(out);
    add_item_href(out, s, base, id);
    end_header(out, STR("self"));
    begin_header(out);
    add_item_href(out, s, base, id);
    end_header(out, s->rel);
}

void rest_hal_list_header(struct buf *out, const struct rest_shape *s, struct str base)
{
    add_header(out, s, base, STR("self"), STR(""), s->unpaged ? STR("") : STR("{?page,size,sort}"));
    add_header(out, s, base, STR("profile"), STR("/profile"), STR(""));
    if (s->finder_count > 0)
        add_header(out, s, base, STR("search"), STR(""), STR("/search"));
}

void rest_hal_search_header(struct buf *out, const struct rest_shape *s, struct str base)
{
    for (int i = 0; i < s->finder_count; i++) {
        begin_header(out);
        add_finder_href(out, s, &s->finders[i], base);
        end_header(out, s->finders[i].name);
    }
    add_header(out, s, base, STR("self"), STR(""), STR("/search"));
}

/* ---- the root, profiles ---- */

void rest_hal_root(struct buf *out, const struct rest_shape *const *shapes, size_t n,
                   struct str base)
{
    buf_lit(out, "{\"_links\":{");
    begin_link(out, STR("self")); /* the originals have none; strict HAL clients want one */
    buf_adds(out, base);
    buf_addc(out, '/');
    end_link(out, false);
    for (size_t i = 0; i < n; i++) {
        begin_link(out, shapes[i]->table->name);
        buf_adds(out, base);
        buf_adds(out, shapes[i]->href);
        if (!shapes[i]->unpaged)
            buf_lit(out, "{?page,size,sort}");
        end_link(out, !shapes[i]->unpaged);
    }
    begin_link(out, STR("profile"));
    buf_adds(out, base);
    buf_lit(out, "/profile");
    end_link(out, false);
    buf_lit(out, "}}");
}

void rest_hal_profiles(struct buf *out, const struct rest_shape *const *shapes, size_t n,
                       struct str base)
{
    buf_lit(out, "{\"_links\":{");
    begin_link(out, STR("self"));
    buf_adds(out, base);
    buf_lit(out, "/profile");
    end_link(out, false);
    for (size_t i = 0; i < n; i++)
        add_resource_link(out, shapes[i], base, shapes[i]->table->name, STR("/profile"), STR(""));
    buf_lit(out, "}}");
}

static void add_action(struct buf *out, struct str verb, struct str name, struct str type,
                       struct str representation)
{
    buf_lit(out, ",{\"id\":\"");
    buf_adds(out, verb);
    buf_addc(out, '-');
    add_escaped(out, name);
    buf_lit(out, "\",\"name\":\"");
    add_escaped(out, name);
    buf_lit(out, "\",\"type\":\"");
    buf_adds(out, type);
    buf_lit(out, "\",\"rt\":\"#");
    add_escaped(out, representation);
    buf_lit(out, "\"}");
}

void rest_hal_alps(struct buf *out, const struct rest_shape *s, struct str base, bool writable)
{
    struct buf representation = BUF_INIT;
    buf_addf(&representation, "%.*s-representation", STR_ARG(s->rel));
    struct str name = s->table->name, of = buf_str(&representation);
    buf_lit(out, "{\"alps\":{\"version\":\"1.0\",\"descriptor\":[{\"id\":\"");
    add_escaped(out, of);
    buf_lit(out, "\",\"href\":\"");
    buf_adds(out, base);
    buf_lit(out, "/profile");
    buf_adds(out, s->href);
    buf_lit(out, "\",\"descriptor\":[");
    for (int i = 0; i < s->table->field_count; i++) {
        buf_adds(out, i > 0 ? STR(",{\"name\":") : STR("{\"name\":"));
        json_text(out, s->table->fields[i].name);
        buf_lit(out, ",\"type\":\"SEMANTIC\"}");
    }
    buf_lit(out, "]}");
    add_action(out, STR("get"), name, STR("SAFE"), of);
    add_action(out, STR("get"), s->rel, STR("SAFE"), of);
    if (writable) {
        add_action(out, STR("create"), name, STR("UNSAFE"), of);
        add_action(out, STR("update"), s->rel, STR("IDEMPOTENT"), of);
        add_action(out, STR("patch"), s->rel, STR("UNSAFE"), of);
        add_action(out, STR("delete"), s->rel, STR("IDEMPOTENT"), of);
    }
    for (int i = 0; i < s->finder_count; i++)
        add_action(out, STR("search"), s->finders[i].name, STR("SAFE"), of);
    buf_lit(out, "]}}");
    buf_deinit(&representation);
}
