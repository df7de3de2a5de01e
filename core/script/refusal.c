/* SPDX-License-Identifier: MIT */
/* Remembers refused calls by what they did, not by their place in the run: a re-run may take
 * another way. */
#include "script/refusal.h"

#include <assert.h>
#include <stdlib.h>

struct task_refusal {
    struct task_refusal *next;
    enum store_verdict verdict;
    const struct store_table *table;
    int64_t id;     /* BOUND */
    int detail;     /* BOUND: column; EXISTS: index */
    struct buf key; /* EXISTS: the values of the index */
    int nth, seen;  /* EXISTS: so many of the run took these values before it; those of this run */
};

static void write_key(struct buf *out, const struct store_index *index, const struct store_row *row)
{
    for (int i = 0; i < index->count; i++) {
        const struct value *v = &row->values[index->columns[i]];
        buf_addc(out, (char)('0' + (int)v->type));
        if (v->type == VALUE_TEXT)
            buf_adds(out, v->s);
        else if (v->type == VALUE_NUMBER)
            buf_addf(out, "%.17g", v->n);
        else if (v->type != VALUE_NULL)
            buf_add_int(out, v->type == VALUE_BOOL ? v->b : v->i);
        buf_addc(out, '\0');
    }
}

/* How many changes before the refused one took the same values? The second of two alike is refused,
 * not the first. */
static int earlier_alike(const struct store_unit *u, const struct task_refusal *r)
{
    const struct store_index *index = &r->table->indexes[r->detail];
    uint64_t columns = 0;
    int n = 0;
    for (int i = 0; i < index->count; i++)
        columns |= UINT64_C(1) << index->columns[i];
    for (const struct store_change *c = u->changes; c != NULL && c != u->refused; c = c->next) {
        bool takes = c->kind == STORE_INSERT || (c->kind == STORE_UPDATE && c->mask & columns);
        if (c->table != r->table || !takes || c->row == NULL)
            continue;
        struct buf key = BUF_INIT;
        write_key(&key, index, c->row);
        n += str_eq(buf_str(&key), (struct str){r->key.p, r->key.n});
        buf_deinit(&key);
    }
    return n;
}

struct task_refusal *refusal_add(struct task_refusal *head, const struct store_unit *u)
{
    struct task_refusal *r = xcalloc(1, sizeof(*r));
    r->next = head;
    r->verdict = u->verdict;
    r->table = u->refused->table;
    r->id = u->refused->id;
    r->detail = u->refused_index;
    assert(u->verdict != STORE_EXISTS || u->refused_index >= 0);
    if (u->verdict == STORE_EXISTS) {
        write_key(&r->key, &r->table->indexes[r->detail], u->refused->row);
        r->nth = earlier_alike(u, r);
    }
    return r;
}

void refusal_begin(struct task_refusal *head)
{
    for (; head != NULL; head = head->next)
        head->seen = 0;
}

void refusal_free(struct task_refusal *head)
{
    while (head != NULL) {
        struct task_refusal *next = head->next;
        buf_deinit(&head->key);
        free(head);
        head = next;
    }
}

static bool same_key(const struct store_index *index, const struct store_row *a,
                     const struct store_row *b)
{
    for (int i = 0; i < index->count; i++)
        if (!value_eq(&a->values[index->columns[i]], &b->values[index->columns[i]]))
            return false;
    return true;
}

const struct store_index *refusal_exists(struct task_refusal *head, const struct store_table *t,
                                         const struct store_row *base, const struct store_row *row)
{
    for (; head != NULL; head = head->next) {
        if (head->verdict != STORE_EXISTS || head->table != t)
            continue;
        if (base != NULL && same_key(&t->indexes[head->detail], base, row))
            continue;
        struct buf key = BUF_INIT;
        write_key(&key, &t->indexes[head->detail], row);
        bool same = str_eq(buf_str(&key), (struct str){head->key.p, head->key.n});
        buf_deinit(&key);
        if (same && head->seen++ >= head->nth)
            return &t->indexes[head->detail];
    }
    return NULL;
}

int refusal_bound(const struct task_refusal *head, const struct store_table *t, int64_t id)
{
    for (; head != NULL; head = head->next)
        if (head->verdict == STORE_BOUND && head->table == t && head->id == id)
            return head->detail;
    return -1;
}
