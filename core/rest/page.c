/* SPDX-License-Identifier: MIT */
/* Queries of collections. Clients of the original systems send what they like (`size=all`,
 * `sort=colour`) and get the defaults, so that nothing here but a finder's own parameter is an
 * error. */
#include "rest/page.h"

#include "base/json.h"
#include "http/url.h"

/* A whole number, or `otherwise`. */
static int64_t number_or(struct str text, int64_t otherwise)
{
    int64_t n;
    return str_to_int(text, &n) && n >= 0 && n <= INT32_MAX ? n : otherwise;
}

static void read_size(struct rest_page *p, struct str text)
{
    int64_t n = number_or(text, REST_PAGE_SIZE);
    p->size = n < 1 ? REST_PAGE_SIZE : n > REST_PAGE_SIZE_MAX ? REST_PAGE_SIZE_MAX : n;
}

/* The last element behind a comma; it is taken off. */
static struct str cut_last(struct str *list)
{
    size_t start = list->n;
    while (start > 0 && list->p[start - 1] != ',')
        start--;
    struct str last = {list->p + start, list->n - start};
    list->n = start > 0 ? start - 1 : 0;
    return last;
}

static struct str cut_first(struct str *list)
{
    const char *comma = memchr(list->p, ',', list->n);
    size_t n = comma != NULL ? (size_t)(comma - list->p) : list->n;
    struct str first = {list->p, n};
    size_t taken = comma != NULL ? n + 1 : n;
    *list = (struct str){list->p + taken, list->n - taken};
    return first;
}

static void add_order(struct rest_page *p, struct str name, bool descending)
{
    const struct store_table *t = p->shape->table;
    int column = str_eq(name, t->id_name) ? STORE_COLUMN_ID : store_table_column(t, name);
    if (p->order_count == STORE_ORDERS || (column < 0 && !str_eq(name, t->id_name)))
        return;
    p->orders[p->order_count++] = (struct store_order){column, descending};
}

/* "qty", "qty,desc", "item,qty,desc" */
static void read_sort(struct rest_page *p, struct str text)
{
    struct str rest = text, last = cut_last(&rest);
    bool descending = str_ieq(last, STR("desc"));
    if (!descending && !str_ieq(last, STR("asc")))
        rest = text;
    while (rest.n > 0)
        add_order(p, cut_first(&rest), descending);
}

static void read_parameter(struct rest_page *p, struct str name, struct str value, bool *paged)
{
    if (str_eq(name, STR("page")))
        p->number = number_or(value, 0);
    else if (str_eq(name, STR("size")))
        read_size(p, value);
    else if (str_eq(name, STR("sort")))
        read_sort(p, value);
    else
        return;
    p->asked = true;
    *paged = *paged || !str_eq(name, STR("sort"));
}

static void read_paging(struct rest_page *p, struct str query, struct arena *a)
{
    struct str name, value;
    bool paged = p->finder == NULL;
    for (size_t pos = 0; http_query_next(query, &pos, &name, &value);)
        if (http_url_decode(a, name, true, &name) && http_url_decode(a, value, true, &value))
            read_parameter(p, name, value, &paged);
    p->paged = paged;
}

/* s as it stands inside the quotes of a JSON text. */
static struct str escaped(struct arena *a, struct str s)
{
    struct buf out = BUF_INIT;
    json_text(&out, s);
    struct str made = arena_str(a, (struct str){out.p + 1, out.n - 2});
    buf_deinit(&out);
    return made;
}

static int read_condition(struct rest_page *p, int i, struct str query, struct arena *a,
                          struct err *err)
{
    int column = p->finder->columns[i];
    const struct field *f = &p->shape->table->fields[column];
    struct json text = {.type = JSON_TEXT};
    p->conds[i].column = column;
    if (!http_query_find(a, query, f->name, &text.s))
        return err_set(err, ERR_INVALID, "%.*s: parameter \"%.*s\" is missing",
                       STR_ARG(p->finder->name), STR_ARG(f->name));
    if (f->type == FIELD_BOOLEAN && (str_eq(text.s, STR("true")) || str_eq(text.s, STR("false"))))
        text = (struct json){.type = JSON_BOOL, .b = str_eq(text.s, STR("true"))};
    if (field_from_json(f, &text, a, &p->conds[i].value, err) != 0)
        return err_wrap(err, "%.*s: parameter \"%.*s\"", STR_ARG(p->finder->name),
                        STR_ARG(f->name));
    return 0;
}

static int read_finder(struct rest_page *p, struct str query, struct arena *a, struct err *err)
{
    struct buf own = BUF_INIT;
    struct str name, value, plain;
    for (int i = 0; i < p->finder->count; i++)
        if (read_condition(p, i, query, a, err) != 0)
            return -1;
    for (size_t pos = 0; http_query_next(query, &pos, &name, &value);) {
        bool paging = http_url_decode(a, name, true, &plain) &&
                      (str_eq(plain, STR("page")) || str_eq(plain, STR("size")) ||
                       str_eq(plain, STR("sort")));
        if (paging)
            continue;
        buf_addf(&own, "%s%.*s=%.*s", own.n > 0 ? "&" : "", STR_ARG(name), STR_ARG(value));
    }
    p->arguments = escaped(a, buf_str(&own));
    p->query = escaped(a, query);
    buf_deinit(&own);
    return 0;
}

static void take_own_order(struct rest_page *p)
{
    if (p->finder == NULL || !p->finder->ordered || p->order_count > 0)
        return;
    p->orders[p->order_count++] = p->finder->order;
    p->own_order = true;
}

int rest_page_read(struct rest_page *ret, const struct rest_shape *shape,
                   const struct rest_finder *finder, struct str query, struct arena *a,
                   struct err *err)
{
    struct rest_page p = {.shape = shape, .finder = finder, .size = REST_PAGE_SIZE};
    if (!shape->unpaged)
        read_paging(&p, query, a);
    if (finder != NULL && read_finder(&p, query, a, err) != 0)
        return -1;
    take_own_order(&p);
    *ret = p;
    return 0;
}

void rest_page_ask(const struct rest_page *p, struct store_read *read)
{
    read->table = p->shape->table;
    read->order_column = STORE_COLUMN_ID;
    if (p->order_count > 0) {
        read->order_column = p->orders[0].column;
        read->descending = p->orders[0].descending;
        read->more_count = p->order_count - 1;
        memcpy(read->more, p->orders + 1, (size_t)read->more_count * sizeof(*read->more));
    }
    read->cond_count = p->finder != NULL ? p->finder->count : 0;
    memcpy(read->conds, p->conds, (size_t)read->cond_count * sizeof(*read->conds));
}

int64_t rest_page_offset(const struct rest_page *p)
{
    return p->paged ? p->number * p->size : 0;
}
