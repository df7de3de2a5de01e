/* SPDX-License-Identifier: MIT */
/* What a client sends becomes a row here, and the other way round; what is wrong with it is
 * collected, so that one answer names everything. */
#include "rest/rest.h"

static struct rest_fault *add_fault(struct arena *a, struct rest_fault **faults,
                                    struct str property, const char *message)
{
    while (*faults != NULL)
        faults = &(*faults)->next;
    *faults = arena_zalloc(a, sizeof(**faults));
    (*faults)->property = property;
    (*faults)->message = arena_str(a, str_from(message));
    return *faults;
}

static struct str json_text_of(struct arena *a, const struct json *j)
{
    struct buf out = BUF_INIT;
    json_write(&out, j);
    struct str s = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return s;
}

int rest_read_row(const struct store_table *t, const struct json *body, bool creating,
                  struct arena *a, struct store_row *row, uint64_t *ret_mask,
                  struct rest_fault **ret_faults, struct err *err)
{
    if (body->type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "the body must be a JSON object");
    *ret_mask = 0;
    *ret_faults = NULL;
    for (int i = 0; i < t->field_count; i++) {
        const struct field *f = &t->fields[i];
        const struct json *j = json_find(body, f->name);
        if (j == NULL) {
            if (creating && f->has_default)
                row->values[i] = f->default_value;
            continue;
        }
        *ret_mask |= UINT64_C(1) << i;
        struct err wrong;
        if (field_from_json(f, j, a, &row->values[i], &wrong) != 0)
            add_fault(a, ret_faults, f->name, wrong.message)->invalid_json = json_text_of(a, j);
    }
    return 0;
}

void rest_add_fault(const struct store_table *t, int column, const struct store_row *row,
                    struct arena *a, const char *message, struct rest_fault **faults)
{
    struct rest_fault *f = add_fault(a, faults, t->fields[column].name, message);
    struct buf out = BUF_INIT;
    field_write_json(&out, &t->fields[column], &row->values[column]);
    f->invalid_json = arena_str(a, buf_str(&out));
    buf_deinit(&out);
}

void rest_check_row(const struct store_table *t, const struct store_row *row, struct arena *a,
                    struct rest_fault **faults)
{
    struct err wrong;
    for (int i = 0; i < t->field_count; i++)
        if (field_check(&t->fields[i], &row->values[i], &wrong) != 0)
            rest_add_fault(t, i, row, a, wrong.message, faults);
}

void rest_write_faults(struct buf *out, const struct store_table *t,
                       const struct rest_fault *faults)
{
    buf_lit(out, "\"errors\":[");
    for (const struct rest_fault *f = faults; f != NULL; f = f->next) {
        if (f != faults)
            buf_addc(out, ',');
        buf_lit(out, "{\"entity\":");
        json_text(out, t->name);
        buf_lit(out, ",\"property\":");
        json_text(out, f->property);
        buf_lit(out, ",\"invalidValue\":");
        buf_adds(out, f->invalid_json.n > 0 ? f->invalid_json : STR("null"));
        buf_lit(out, ",\"message\":");
        json_text(out, f->message);
        buf_addc(out, '}');
    }
    buf_addc(out, ']');
}

void rest_write_row(struct buf *out, const struct store_table *t, const struct store_row *row)
{
    buf_addc(out, '{');
    json_text(out, t->id_name);
    buf_addc(out, ':');
    buf_add_int(out, row->id);
    for (int i = 0; i < t->field_count; i++) {
        buf_addc(out, ',');
        json_text(out, t->fields[i].name);
        buf_addc(out, ':');
        field_write_json(out, &t->fields[i], &row->values[i]);
    }
    buf_addc(out, '}');
}

bool rest_is_json(struct str content_type)
{
    size_t end = 0;
    while (end < content_type.n && content_type.p[end] != ';' && content_type.p[end] != ' ')
        end++;
    struct str type = {content_type.p, end};
    if (type.n == 0 || str_ieq(type, STR("application/json")))
        return true;
    return type.n > 5 && str_ieq((struct str){type.p + type.n - 5, 5}, STR("+json")) &&
           !str_ieq(type, STR("application/json-patch+json"));
}
