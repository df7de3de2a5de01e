/* SPDX-License-Identifier: MIT */
/* What two changes of a row become, in one scope and across closing scopes; what dropping forgets;
 * and the order in which everything reaches the unit. */
#include "store/scope.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* cmocka wants these before it. */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static struct field fields[3];
static const struct store_table table = {.number = 3, .fields = fields, .field_count = 3};
static const struct store_table sibling = {.number = 4, .fields = fields, .field_count = 3};
/* Shares the bit of `table` in the scope's mask. */
static const struct store_table twin = {.number = 67, .fields = fields, .field_count = 3};

/* Where the second change happens: in the scope of the first, or in one inside that then closes.
 * Each combination must come out the same in both. */
struct fix {
    struct store_scope *root, *at;
    bool inside;
};

static struct fix start(bool inside)
{
    struct store_scope *root = store_scope_open(NULL);
    return (struct fix){root, root, inside};
}

/* The second change comes now. */
static void next(struct fix *f)
{
    if (f->inside)
        f->at = store_scope_open(f->root);
}

static struct store_unit *finish(struct fix *f)
{
    if (f->at != f->root)
        assert_null(store_scope_close(f->at));
    return store_scope_close(f->root);
}

static struct store_row *row(struct store_scope *s, int64_t id, int64_t version, int64_t a)
{
    struct store_row *r = store_row_new(s->unit->arena, &table);
    r->id = id;
    r->version = version;
    r->values[0] = value_int(a);
    return r;
}

static void insert(struct store_scope *s, int64_t id, int64_t a)
{
    store_scope_insert(s, &table, row(s, id, 0, a));
}

static void update(struct store_scope *s, int64_t id, int64_t version, int64_t a, uint64_t mask)
{
    store_scope_update(s, &table, row(s, id, version, 0), row(s, id, version, a), mask);
}

static void erase(struct store_scope *s, int64_t id, int64_t version)
{
    store_scope_delete(s, &table, row(s, id, version, 0));
}

static struct store_add *make_add(struct store_scope *s, int column, int64_t delta, int64_t min)
{
    struct store_add *add = arena_zalloc(s->unit->arena, sizeof *add);
    add->column = column;
    add->delta = value_int(delta);
    add->min = value_int(min);
    return add;
}

static void add(struct store_scope *s, int64_t id, int column, int64_t delta, int64_t min)
{
    store_scope_add(s, &table, id, make_add(s, column, delta, min));
}

static void emit(struct store_scope *s, int64_t mark)
{
    struct store_event *e = arena_zalloc(s->unit->arena, sizeof *e);
    e->time_ms = mark;
    store_scope_emit(s, e);
}

static void timer(struct store_scope *s, int64_t id)
{
    struct store_timer *t = arena_zalloc(s->unit->arena, sizeof *t);
    t->id = id;
    store_scope_timer(s, t);
}

static void assert_one_change(const struct store_unit *u, enum store_change_kind kind, int64_t base)
{
    assert_non_null(u->changes);
    assert_null(u->changes->next);
    assert_int_equal(u->changes->kind, kind);
    assert_int_equal(u->changes->base_version, base);
}

static void assert_ids(const struct store_unit *u, const int64_t *ids, size_t count)
{
    const struct store_change *c = u->changes;
    for (size_t i = 0; i < count; i++, c = c->next) {
        assert_non_null(c);
        assert_int_equal(c->id, ids[i]);
    }
    assert_null(c);
}

#define ASSERT_IDS(u, ...)                                                                         \
    assert_ids((u), (const int64_t[]){__VA_ARGS__},                                                \
               sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* Runs fn in a process of its own and wants it stopped by an assertion. */
static void assert_stops(void (*fn)(struct store_scope *s))
{
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGABRT, SIG_DFL);
        close(STDERR_FILENO);
        fn(store_scope_open(NULL));
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
#ifndef NDEBUG
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
#endif
}

static void insert_then_update(bool inside)
{
    struct fix f = start(inside);
    insert(f.at, 1, 10);
    next(&f);
    update(f.at, 1, 0, 11, 1);
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_INSERT, 0);
    assert_int_equal(u->changes->row->values[0].i, 11);
    store_unit_unref(u);
}

static void insert_then_delete(bool inside)
{
    struct fix f = start(inside);
    insert(f.at, 1, 10);
    insert(f.at, 2, 20);
    insert(f.at, 3, 30);
    next(&f);
    erase(f.at, 2, 0);
    erase(f.at, 3, 0);
    insert(f.at, 4, 40);
    struct store_unit *u = finish(&f);
    ASSERT_IDS(u, 1, 4);
    assert_int_equal(f.root->change_count, 2);
    assert_null(store_scope_find(f.root, &table, 2));
    store_unit_unref(u);
}

static void update_then_update(bool inside)
{
    struct fix f = start(inside);
    update(f.at, 1, 5, 10, 1);
    next(&f);
    update(f.at, 1, 6, 11, 4); /* another commit has passed: what counts is what was read first */
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_UPDATE, 5);
    assert_int_equal(u->changes->mask, 5);
    assert_int_equal(u->changes->row->values[0].i, 11);
    store_unit_unref(u);
}

static void update_then_delete(bool inside)
{
    struct fix f = start(inside);
    update(f.at, 1, 5, 10, 1);
    next(&f);
    erase(f.at, 1, 6);
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_DELETE, 5);
    assert_null(u->changes->row);
    assert_int_equal(u->changes->mask, 0);
    store_unit_unref(u);
}

static void add_then_add(bool inside)
{
    struct fix f = start(inside);
    add(f.at, 1, 0, -2, 0);
    next(&f);
    add(f.at, 1, 0, -3, 0); /* summed */
    add(f.at, 1, 0, 4, 0);  /* the other way */
    add(f.at, 1, 1, -1, 0); /* another column */
    add(f.at, 1, 1, -1, 9); /* another bound */
    add(f.at, 1, 1, -1, 0); /* must not pass over the one before */
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_ADD, 0);
    const int64_t deltas[] = {-5, 4, -1, -1, -1};
    const struct store_add *a = u->changes->adds;
    for (int i = 0; i < 5; i++, a = a->next)
        assert_int_equal(a->delta.i, deltas[i]);
    assert_null(a);
    store_unit_unref(u);
}

static void add_then_update(bool inside)
{
    struct fix f = start(inside);
    add(f.at, 1, 0, 2, 0);
    add(f.at, 1, 2, 2, 0);
    next(&f);
    update(f.at, 1, 7, 12, 2);
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_UPDATE, 7);
    assert_int_equal(u->changes->mask, 7);
    assert_int_equal(u->changes->row->values[0].i, 12);
    assert_null(u->changes->adds);
    store_unit_unref(u);
}

static void add_then_delete(bool inside)
{
    struct fix f = start(inside);
    add(f.at, 1, 0, 2, 0);
    next(&f);
    erase(f.at, 1, 7);
    struct store_unit *u = finish(&f);
    assert_one_change(u, STORE_DELETE, 7);
    assert_null(u->changes->adds);
    store_unit_unref(u);
}

#define BOTH(combination)                                                                          \
    static void combination##_in_one_scope(void **state)                                           \
    {                                                                                              \
        (void)state;                                                                               \
        combination(false);                                                                        \
    }                                                                                              \
    static void combination##_in_an_inner_scope(void **state)                                      \
    {                                                                                              \
        (void)state;                                                                               \
        combination(true);                                                                         \
    }

BOTH(insert_then_update)
BOTH(insert_then_delete)
BOTH(update_then_update)
BOTH(update_then_delete)
BOTH(add_then_add)
BOTH(add_then_update)
BOTH(add_then_delete)

static void insert_and_delete_in_one_inner_scope_leave_nothing(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL), *inner = store_scope_open(root);
    insert(inner, 1, 10);
    erase(inner, 1, 0);
    assert_false(store_scope_touches(inner, &table));
    store_scope_close(inner);
    struct store_unit *u = store_scope_close(root);
    assert_true(store_unit_is_empty(u));
    store_unit_unref(u);
}

static void adds_that_would_overflow_stay_two(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    add(s, 1, 0, INT64_MAX, 0);
    add(s, 1, 0, 1, 0);
    struct store_unit *u = store_scope_close(s);
    assert_int_equal(u->changes->adds->delta.i, INT64_MAX);
    assert_int_equal(u->changes->adds->next->delta.i, 1);
    store_unit_unref(u);
}

static void adds_of_numbers_stay_two(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    for (int i = 0; i < 2; i++) {
        struct store_add *a = make_add(s, 0, 0, 0);
        a->delta = (struct value){.type = VALUE_NUMBER, .n = 0.5};
        store_scope_add(s, &table, 1, a);
    }
    struct store_unit *u = store_scope_close(s);
    assert_non_null(u->changes->adds->next);
    store_unit_unref(u);
}

static void several_adds_at_once_are_all_kept(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    struct store_add *a = make_add(s, 0, 1, 0);
    a->next = make_add(s, 1, 2, 0);
    store_scope_add(s, &table, 1, a);
    const struct store_change *c = store_scope_find(s, &table, 1);
    assert_int_equal(c->adds->column, 0);
    assert_int_equal(c->adds->next->column, 1);
    assert_null(c->adds->next->next);
    store_scope_drop(s);
}

static void add_on_inserted(struct store_scope *s)
{
    insert(s, 1, 1);
    add(store_scope_open(s), 1, 0, 1, 0);
}

static void add_on_updated(struct store_scope *s)
{
    update(s, 1, 1, 1, 1);
    add(s, 1, 0, 1, 0);
}

static void update_deleted(struct store_scope *s)
{
    erase(s, 1, 1);
    update(store_scope_open(s), 1, 1, 1, 1);
}

static void add_on_deleted(struct store_scope *s)
{
    erase(s, 1, 1);
    add(s, 1, 0, 1, 0);
}

static void delete_deleted(struct store_scope *s)
{
    erase(s, 1, 1);
    erase(s, 1, 1);
}

static void insert_twice(struct store_scope *s)
{
    insert(s, 1, 1);
    insert(store_scope_open(s), 1, 1);
}

static void combinations_that_callers_must_avoid_stop_the_process(void **state)
{
    (void)state;
    assert_stops(add_on_inserted);
    assert_stops(add_on_updated);
    assert_stops(update_deleted);
    assert_stops(add_on_deleted);
    assert_stops(delete_deleted);
    assert_stops(insert_twice);
}

static void rows_of_other_tables_are_other_rows(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    insert(s, 1, 10);
    assert_null(store_scope_find(s, &sibling, 1));
    store_scope_insert(s, &sibling, row(s, 1, 0, 20));
    assert_int_equal(store_scope_find(s, &table, 1)->row->values[0].i, 10);
    assert_int_equal(store_scope_find(s, &sibling, 1)->row->values[0].i, 20);
    assert_int_equal(s->change_count, 2);
    store_scope_drop(s);
}

static void update_keeps_the_place_of_the_first_change(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    update(s, 3, 1, 1, 1);
    insert(s, 9, 1);
    struct store_scope *inner = store_scope_open(s);
    erase(inner, 5, 1);
    update(inner, 3, 1, 2, 1);
    store_scope_close(inner);
    struct store_unit *u = store_scope_close(s);
    ASSERT_IDS(u, 3, 9, 5);
    store_unit_unref(u);
}

static void dropped_scope_leaves_its_parent_untouched(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    update(root, 1, 5, 10, 1);
    add(root, 2, 0, 1, 0);
    insert(root, 3, 30);
    emit(root, 1);
    timer(root, 70);
    struct store_scope *inner = store_scope_open(root);
    update(inner, 1, 5, 11, 2);
    add(inner, 2, 0, 1, 0);
    erase(inner, 3, 0);
    insert(inner, 4, 40);
    emit(inner, 2);
    timer(inner, 71);
    store_scope_cancel(inner, 70);
    store_scope_drop(inner);
    struct store_unit *u = store_scope_close(root);
    ASSERT_IDS(u, 1, 2, 3);
    assert_int_equal(u->changes->mask, 1);
    assert_int_equal(u->changes->row->values[0].i, 10);
    assert_int_equal(u->changes->next->adds->delta.i, 1);
    assert_null(u->events->next);
    assert_int_equal(u->timers->id, 70);
    assert_null(u->timers->next);
    assert_int_equal(u->cancel_count, 0);
    store_unit_unref(u);
}

static void three_scopes_deep_merge_one_by_one(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    insert(root, 1, 10);
    add(root, 2, 0, 1, 0);
    struct store_scope *mid = store_scope_open(root), *deep = store_scope_open(mid);
    update(deep, 1, 0, 11, 1); /* rows that mid knows nothing of */
    update(deep, 2, 8, 21, 2);
    update(deep, 3, 4, 31, 1);
    store_scope_close(deep);
    assert_int_equal(root->change_count, 2);
    assert_int_equal(store_scope_find_here(mid, &table, 1)->kind, STORE_UPDATE);
    erase(mid, 3, 4);
    store_scope_close(mid);
    struct store_unit *u = store_scope_close(root);
    ASSERT_IDS(u, 1, 2, 3);
    const struct store_change *c = u->changes;
    assert_int_equal(c->kind, STORE_INSERT);
    assert_int_equal(c->row->values[0].i, 11);
    c = c->next;
    assert_int_equal(c->kind, STORE_UPDATE);
    assert_int_equal(c->mask, 3);
    assert_int_equal(c->base_version, 8);
    c = c->next;
    assert_int_equal(c->kind, STORE_DELETE);
    assert_int_equal(c->base_version, 4);
    store_unit_unref(u);
}

static void find_sees_the_innermost_change(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    update(root, 1, 5, 10, 1);
    struct store_scope *inner = store_scope_open(root);
    assert_int_equal(store_scope_find(inner, &table, 1)->row->values[0].i, 10);
    assert_null(store_scope_find_here(inner, &table, 1));
    update(inner, 1, 5, 11, 1);
    assert_int_equal(store_scope_find(inner, &table, 1)->row->values[0].i, 11);
    assert_int_equal(store_scope_find(root, &table, 1)->row->values[0].i, 10);
    store_scope_drop(root);
}

static void events_come_in_order_of_emission_a_callees_where_it_returned(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    emit(root, 1);
    struct store_scope *a = store_scope_open(root);
    emit(a, 2);
    struct store_scope *b = store_scope_open(a);
    emit(b, 3);
    store_scope_close(b);
    emit(a, 4);
    struct store_scope *failed = store_scope_open(a);
    emit(failed, 99);
    store_scope_drop(failed);
    store_scope_close(a);
    emit(root, 5);
    assert_int_equal(root->event_count, 5);
    struct store_unit *u = store_scope_close(root);
    const struct store_event *e = u->events;
    for (int64_t mark = 1; mark <= 5; mark++, e = e->next)
        assert_int_equal(e->time_ms, mark);
    assert_null(e);
    store_unit_unref(u);
}

static void timers_keep_their_order_across_scopes(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    timer(root, 1);
    struct store_scope *inner = store_scope_open(root);
    timer(inner, 2);
    timer(inner, 3);
    store_scope_close(inner);
    timer(root, 4);
    struct store_unit *u = store_scope_close(root);
    const struct store_timer *t = u->timers;
    for (int64_t id = 1; id <= 4; id++, t = t->next)
        assert_int_equal(t->id, id);
    assert_null(t);
    store_unit_unref(u);
}

static void cancelling_a_timer_of_the_same_scope_leaves_neither(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    timer(s, 1);
    timer(s, 2);
    store_scope_cancel(s, 2); /* the last one: what comes next must still be linked */
    timer(s, 3);
    store_scope_cancel(s, 1);
    struct store_unit *u = store_scope_close(s);
    assert_int_equal(u->timers->id, 3);
    assert_null(u->timers->next);
    assert_int_equal(u->cancel_count, 0);
    store_unit_unref(u);
}

static void cancelling_a_timer_of_an_outer_scope_leaves_neither_once_closed(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    timer(root, 1);
    struct store_scope *inner = store_scope_open(root);
    store_scope_cancel(inner, 1);
    assert_int_equal(inner->cancel_count, 1);
    assert_non_null(root->timers);
    store_scope_close(inner);
    struct store_unit *u = store_scope_close(root);
    assert_true(store_unit_is_empty(u));
    store_unit_unref(u);
}

static void cancels_of_stored_timers_reach_the_unit_in_order(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL);
    for (int64_t id = 0; id < 10; id++)
        store_scope_cancel(root, id);
    struct store_scope *inner = store_scope_open(root);
    store_scope_cancel(inner, 10);
    store_scope_close(inner);
    struct store_unit *u = store_scope_close(root);
    assert_int_equal(u->cancel_count, 11);
    for (int64_t id = 0; id <= 10; id++)
        assert_int_equal(u->cancels[id], id);
    store_unit_unref(u);
}

static void seen_gives_the_version_first_read_in_any_scope(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL), *inner = store_scope_open(root);
    assert_int_equal(store_scope_seen(inner, &table, 1, 5), 5);
    store_scope_drop(inner); /* what was read was read */
    assert_int_equal(store_scope_seen(root, &table, 1, 6), 5);
    assert_int_equal(store_scope_seen(root, &sibling, 1, 8), 8);
    store_scope_drop(root);
}

static void seen_remembers_a_thousand_rows(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    for (int64_t id = -500; id < 500; id++)
        assert_int_equal(store_scope_seen(s, &table, id, 1000 + id), 1000 + id);
    for (int64_t id = -500; id < 500; id++)
        assert_int_equal(store_scope_seen(s, &table, id, 1), 1000 + id);
    store_scope_drop(s);
}

static void change_carries_the_version_first_read(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL), *inner = store_scope_open(root);
    store_scope_seen(root, &table, 1, 5);
    store_scope_seen(root, &table, 2, 5);
    store_scope_seen(root, &table, 3, 5);
    add(root, 3, 0, 1, 0);
    update(inner, 1, 6, 10, 1);
    erase(inner, 2, 6);
    update(inner, 3, 6, 10, 1);
    for (int64_t id = 1; id <= 3; id++)
        assert_int_equal(store_scope_find(inner, &table, id)->base_version, 5);
    store_scope_drop(root);
}

static void touches_tells_tables_with_changes_in_sight(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL), *inner = store_scope_open(root);
    assert_false(store_scope_touches(inner, &table));
    insert(root, 1, 10);
    assert_true(store_scope_touches(inner, &table));
    assert_false(store_scope_touches(inner, &sibling));
    assert_false(store_scope_touches(inner, &twin));
    store_scope_insert(inner, &twin, row(inner, 1, 0, 0));
    assert_true(store_scope_touches(inner, &twin));
    assert_false(store_scope_touches(root, &twin));
    store_scope_close(inner);
    assert_true(store_scope_touches(root, &twin));
    erase(root, 1, 0);
    assert_false(store_scope_touches(root, &table));
    store_scope_drop(root);
}

static void thousand_changes_in_order_with_every_second_one_taken_back(void **state)
{
    (void)state;
    struct store_scope *root = store_scope_open(NULL), *inner = store_scope_open(root);
    for (int64_t id = 1; id <= 1000; id++)
        insert(id % 3 == 0 ? root : inner, id, id);
    for (int64_t id = 2; id <= 1000; id += 2)
        erase(inner, id, 0);
    for (int64_t id = 1; id <= 1000; id++) {
        const struct store_change *c = store_scope_find(inner, &table, id);
        if (id % 2 == 1)
            assert_int_equal(c->row->values[0].i, id);
        else if (id % 3 == 0)
            assert_int_equal(c->kind, STORE_DELETE);
        else
            assert_null(c);
    }
    store_scope_close(inner);
    for (int64_t id = 1; id <= 1000; id++)
        assert_true((store_scope_find(root, &table, id) != NULL) == (id % 2 == 1));
    assert_int_equal(root->change_count, 500);
    struct store_unit *u = store_scope_close(root);
    const struct store_change *c = u->changes;
    for (int64_t id = 3; id <= 1000; id += 6, c = c->next)
        assert_int_equal(c->id, id);
    for (int64_t id = 1; id <= 1000; id += 2) {
        if (id % 3 == 0)
            continue;
        assert_int_equal(c->id, id);
        c = c->next;
    }
    assert_null(c);
    store_unit_unref(u);
}

static void changes_after_the_index_was_outgrown_are_found(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    for (int64_t id = 1; id <= 5000;
         id++) { /* one lives at a time: the index fills with the gone */
        insert(s, id, id);
        insert(s, id + 10000, id);
        erase(s, id, 0);
        assert_null(store_scope_find(s, &table, id));
    }
    assert_int_equal(s->change_count, 5000);
    assert_int_equal(store_scope_find(s, &table, 10001)->row->values[0].i, 1);
    assert_int_equal(store_scope_find(s, &table, 15000)->row->values[0].i, 5000);
    store_scope_drop(s);
}

static void closing_the_root_moves_everything_into_the_unit(void **state)
{
    (void)state;
    struct store_scope *s = store_scope_open(NULL);
    insert(s, 1, 10);
    emit(s, 1);
    timer(s, 1);
    store_scope_cancel(s, 2);
    struct store_unit *expected = s->unit, *u = store_scope_close(s);
    assert_ptr_equal(u, expected);
    assert_int_equal(u->changes->id, 1);
    assert_int_equal(u->events->time_ms, 1);
    assert_int_equal(u->timers->id, 1);
    assert_int_equal(u->cancels[0], 2);
    assert_int_equal(atomic_load(&u->refs), 1);
    store_unit_unref(u);
}

static void empty_scopes_close_and_drop(void **state)
{
    (void)state;
    store_scope_drop(store_scope_open(NULL));
    struct store_scope *root = store_scope_open(NULL);
    assert_null(store_scope_close(store_scope_open(root)));
    store_scope_drop(store_scope_open(root));
    struct store_unit *u = store_scope_close(root);
    assert_true(store_unit_is_empty(u));
    store_unit_unref(u);
}

#define TEST_BOTH(combination)                                                                     \
    cmocka_unit_test(combination##_in_one_scope), cmocka_unit_test(combination##_in_an_inner_scope)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_BOTH(insert_then_update),
        TEST_BOTH(insert_then_delete),
        TEST_BOTH(update_then_update),
        TEST_BOTH(update_then_delete),
        TEST_BOTH(add_then_add),
        TEST_BOTH(add_then_update),
        TEST_BOTH(add_then_delete),
        cmocka_unit_test(insert_and_delete_in_one_inner_scope_leave_nothing),
        cmocka_unit_test(adds_that_would_overflow_stay_two),
        cmocka_unit_test(adds_of_numbers_stay_two),
        cmocka_unit_test(several_adds_at_once_are_all_kept),
        cmocka_unit_test(combinations_that_callers_must_avoid_stop_the_process),
        cmocka_unit_test(rows_of_other_tables_are_other_rows),
        cmocka_unit_test(update_keeps_the_place_of_the_first_change),
        cmocka_unit_test(dropped_scope_leaves_its_parent_untouched),
        cmocka_unit_test(three_scopes_deep_merge_one_by_one),
        cmocka_unit_test(find_sees_the_innermost_change),
        cmocka_unit_test(events_come_in_order_of_emission_a_callees_where_it_returned),
        cmocka_unit_test(timers_keep_their_order_across_scopes),
        cmocka_unit_test(cancelling_a_timer_of_the_same_scope_leaves_neither),
        cmocka_unit_test(cancelling_a_timer_of_an_outer_scope_leaves_neither_once_closed),
        cmocka_unit_test(cancels_of_stored_timers_reach_the_unit_in_order),
        cmocka_unit_test(seen_gives_the_version_first_read_in_any_scope),
        cmocka_unit_test(seen_remembers_a_thousand_rows),
        cmocka_unit_test(change_carries_the_version_first_read),
        cmocka_unit_test(touches_tells_tables_with_changes_in_sight),
        cmocka_unit_test(thousand_changes_in_order_with_every_second_one_taken_back),
        cmocka_unit_test(changes_after_the_index_was_outgrown_are_found),
        cmocka_unit_test(closing_the_root_moves_everything_into_the_unit),
        cmocka_unit_test(empty_scopes_close_and_drop),
    };
    return cmocka_run_group_tests_name("store/scope", tests, NULL, NULL);
}
