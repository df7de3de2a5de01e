/* SPDX-License-Identifier: MIT */

/* The writer: units are whole or nothing, in order, in few transactions, and each gets the verdict
 * that is its own. */

#include "store/sqlite/engine.h"
#include "store/sqlite/vfs_fault.h"
#include "store_fixture.h"

#include <pthread.h>
#include <semaphore.h>

#define UNITS 64

/* What the hooks saw. */
struct seen {
    int before, committed, rolled_back, in_last;
    int64_t first_seq, last_seq;
    sem_t told;
};

static int on_before(void *ctx, struct store_tx *tx, struct store_unit *accepted, struct err *err)
{
    (void)tx;
    (void)err;
    struct seen *seen = ctx;
    seen->before++;
    seen->in_last = 0;
    for (struct store_unit *u = accepted; u; u = u->next)
        seen->in_last++;
    return 0;
}

static void on_rolled_back(void *ctx, struct store_unit *accepted)
{
    (void)accepted;
    ((struct seen *)ctx)->rolled_back++;
}

static void on_committed(void *ctx, struct store_unit *accepted)
{
    struct seen *seen = ctx;
    seen->committed++;
    for (struct store_unit *u = accepted; u; u = u->next) {
        for (struct store_event *e = u->events; e; e = e->next) {
            if (seen->first_seq == 0)
                seen->first_seq = e->seq;
            assert_true(e->seq > seen->last_seq);
            assert_ptr_equal(e->unit, u);
            seen->last_seq = e->seq;
        }
    }
}

static void use_hooks(struct fixture *f, struct seen *seen)
{
    f->hooks = (struct store_hooks){seen, NULL, on_before, on_rolled_back, on_committed, NULL};
}

static void unref_all(struct store_unit **units, size_t count)
{
    for (size_t i = 0; i < count; i++)
        store_unit_unref(units[i]);
}

/* Orders with an event each, not submitted. */
static void make_orders(struct fixture *f, struct store_unit **units, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int64_t id = fixture_id(f, ORDERS);
        units[i] = store_unit_new();
        fixture_insert_order(f, units[i], id, 1);
        fixture_emit(f, units[i], id);
    }
}

static void mark_and_post(struct store_unit *u)
{
    vfs_fault_mark();
    sem_post(u->owner);
}

static void one_fsync(void **state)
{
    struct fixture *f = *state;
    sem_t told;
    struct store_unit *units[UNITS];
    static enum vfs_fault_op trace[4096];
    sem_init(&told, 0, 0);
    vfs_fault_install();
    fixture_open(f);
    vfs_fault_clear();
    make_orders(f, units, UNITS);
    for (int i = 0; i < UNITS; i++) {
        units[i]->done = mark_and_post;
        units[i]->owner = &told;
        units[i]->next = i + 1 < UNITS ? units[i + 1] : NULL;
    }
    store_submit(f->store, units[0], units[UNITS - 1]);
    for (int i = 0; i < UNITS; i++)
        sem_wait(&told);
    size_t n = vfs_fault_trace(trace, 4096), syncs = 0, marks = 0, last_write = 0, sync_at = 0;
    for (size_t i = 0; i < n; i++) {
        if (trace[i] == VFS_FAULT_WAL_WRITE)
            last_write = i;
        if (trace[i] == VFS_FAULT_WAL_SYNC) {
            syncs++;
            sync_at = i;
            assert_int_equal(marks, 0);
        }
        marks += trace[i] == VFS_FAULT_MARK;
    }
    assert_int_equal(syncs, 1);
    assert_true(last_write < sync_at);
    assert_int_equal(marks, UNITS);
    assert_int_equal(fixture_count(f, ORDERS), UNITS);
    fixture_close(f);
    vfs_fault_remove();
    sem_destroy(&told);
}

static void poisoned_batch(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct store_unit *units[UNITS];
    use_hooks(f, &seen);
    fixture_open(f);
    int64_t taken = fixture_order(f, 1);
    seen = (struct seen){0};
    make_orders(f, units, UNITS);
    store_unit_unref(units[31]);
    units[31] = store_unit_new();
    fixture_insert_order(f, units[31], taken, 99); /* that id is in use: no script can do this */
    fixture_emit(f, units[31], taken);
    fixture_run(f, units, UNITS);
    for (int i = 0; i < UNITS; i++)
        assert_int_equal(units[i]->verdict, i == 31 ? STORE_FAILED : STORE_COMMITTED);
    assert_non_null(strstr(units[31]->err.message, "UNIQUE"));
    assert_int_equal(units[31]->events->seq, 0);
    assert_int_equal(fixture_count(f, ORDERS), UNITS);
    assert_int_equal(fixture_get(f, ORDERS, taken)->values[QTY].i, 1);
    /* The numbers of the log have no gap and no double. */
    assert_int_equal(seen.first_seq, 1);
    assert_int_equal(seen.last_seq, UNITS - 1);
    assert_int_equal(seen.committed, UNITS - 1);
    assert_int_equal(seen.before, seen.committed + seen.rolled_back);
    unref_all(units, UNITS);
}

static void unit_is_whole(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    use_hooks(f, &seen);
    fixture_open(f);
    struct store_unit *u = store_unit_new();
    int64_t order = fixture_id(f, ORDERS), payment = fixture_id(f, PAYMENTS);
    fixture_insert_order(f, u, order, 2);
    struct store_change *c = fixture_insert_payment(f, u, payment, order, "card");
    c->row->values[AMOUNT] = value_int(1999);
    c->row->values[PAID] = (struct value){.type = VALUE_BOOL, .b = true};
    fixture_emit(f, u, order);
    fixture_emit(f, u, order);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    struct store_row *row = fixture_get(f, PAYMENTS, payment);
    assert_int_equal(row->version, 1);
    assert_int_equal(row->values[AMOUNT].type, VALUE_INT);
    assert_int_equal(row->values[AMOUNT].i, 1999);
    assert_int_equal(row->values[PAID].type, VALUE_BOOL);
    assert_true(row->values[PAID].b);
    assert_true(str_eq(row->values[KIND].s, STR("card")));
    assert_int_equal(fixture_get(f, ORDERS, order)->values[CUSTOMER_ID].type, VALUE_NULL);
    assert_int_equal(store_log_last_seq(f->store), 2);
    assert_int_equal(store_queue_length(f->store), 0);
}

/* Two statements that can be refused: the second one takes the first, the timers, the notes and the
 * seq with it. */
static void refused_in_savepoint(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    use_hooks(f, &seen);
    fixture_open(f);
    int64_t order = fixture_order(f, 1);
    struct store_unit *units[3];
    for (int i = 0; i < 3; i++) {
        units[i] = store_unit_new();
        fixture_insert_payment(f, units[i], fixture_id(f, PAYMENTS), 100 + i, "card");
        fixture_update_order(f, units[i], order, i == 1 ? 7 : i == 0 ? 1 : 2, 10 + i);
        fixture_emit(f, units[i], order);
    }
    fixture_run(f, units, 3);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    assert_int_equal(units[1]->verdict, STORE_CONFLICT);
    assert_ptr_equal(units[1]->refused, units[1]->changes->next);
    assert_int_equal(units[2]->verdict, STORE_COMMITTED);
    assert_int_equal(fixture_count(f, PAYMENTS), 2);
    assert_int_equal(fixture_get(f, ORDERS, order)->values[QTY].i, 12);
    assert_int_equal(fixture_get(f, ORDERS, order)->version, 3);
    assert_int_equal(units[0]->events->seq, 1);
    assert_int_equal(units[2]->events->seq, 2);
    assert_int_equal(seen.in_last, 2);
    assert_int_equal(seen.rolled_back, 0);
    unref_all(units, 3);
}

static void refused_alone_writes_nothing(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    use_hooks(f, &seen);
    fixture_open(f);
    struct store_unit *u = store_unit_new();
    fixture_insert_order(f, u, fixture_id(f, ORDERS), 1);
    fixture_update_order(f, u, 999, 1, 5);
    fixture_emit(f, u, 1);
    assert_int_equal(fixture_commit(f, u), STORE_CONFLICT);
    assert_int_equal(fixture_count(f, ORDERS), 0);
    assert_int_equal(store_log_last_seq(f->store), 0);
    assert_int_equal(seen.before, 0);
}

static void one_batch_one_transaction(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct store_unit *units[UNITS];
    use_hooks(f, &seen);
    fixture_open(f);
    make_orders(f, units, UNITS);
    fixture_run(f, units, UNITS);
    assert_int_equal(seen.committed, 1);
    assert_int_equal(seen.in_last, UNITS);
    unref_all(units, UNITS);
    static struct store_unit *many[ENGINE_BATCH + 1]; /* more than a batch holds: two of them */
    seen = (struct seen){0};
    make_orders(f, many, ENGINE_BATCH / 2);
    for (int i = ENGINE_BATCH / 2; i <= ENGINE_BATCH; i++) {
        many[i] = store_unit_new();
        fixture_emit(f, many[i], i);
    }
    fixture_run(f, many, ENGINE_BATCH + 1);
    assert_int_equal(seen.committed, 2);
    assert_int_equal(seen.in_last, 1);
    unref_all(many, ENGINE_BATCH + 1);
}

static void versions_and_verdicts(void **state)
{
    struct fixture *f = *state;
    int64_t id = fixture_order(f, 1);
    struct store_unit *u = store_unit_new();
    fixture_update_order(f, u, id, 1, 2);
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    struct store_row *row = fixture_get(f, ORDERS, id);
    assert_int_equal(row->version, 2);
    assert_int_equal(row->values[QTY].i, 2);
    assert_true(str_eq(row->values[STATUS].s, STR("Ordered"))); /* not in the mask */
    u = store_unit_new();
    struct store_change *stale = fixture_update_order(f, u, id, 1, 3);
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_CONFLICT);
    assert_ptr_equal(u->refused, stale);
    store_unit_unref(u);
    u = store_unit_new();
    fixture_change(u, &f->tables[ORDERS], STORE_DELETE, id)->base_version = 1;
    assert_int_equal(fixture_commit(f, u), STORE_CONFLICT);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 2);
    u = store_unit_new();
    fixture_change(u, &f->tables[ORDERS], STORE_DELETE, id)->base_version = 2;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_null(fixture_get(f, ORDERS, id));
    u = store_unit_new();
    fixture_update_order(f, u, id, 2, 3);
    assert_int_equal(fixture_commit(f, u), STORE_CONFLICT);
}

static void second_writer_of_a_batch_conflicts(void **state)
{
    struct fixture *f = *state;
    int64_t id = fixture_order(f, 1);
    struct store_unit *units[2] = {store_unit_new(), store_unit_new()};
    fixture_update_order(f, units[0], id, 1, 5);
    fixture_update_order(f, units[1], id, 1, 6);
    fixture_run(f, units, 2);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    assert_int_equal(units[1]->verdict, STORE_CONFLICT);
    assert_int_equal(fixture_get(f, ORDERS, id)->values[QTY].i, 5);
    unref_all(units, 2);
}

static void unique_keys(void **state)
{
    struct fixture *f = *state;
    struct store_unit *u = store_unit_new();
    int64_t first = fixture_id(f, PAYMENTS);
    fixture_insert_payment(f, u, first, 1, "card");
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    u = store_unit_new();
    struct store_change *twice = fixture_insert_payment(f, u, fixture_id(f, PAYMENTS), 1, "card");
    fixture_emit(f, u, 1);
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_EXISTS);
    assert_ptr_equal(u->refused, twice);
    assert_int_equal(u->refused_index, 1);
    assert_int_equal(store_log_last_seq(f->store), 0);
    store_unit_unref(u);
    for (int i = 0; i < 2; i++) { /* a null is equal to nothing */
        u = store_unit_new();
        fixture_insert_payment(f, u, fixture_id(f, PAYMENTS), 1, NULL);
        assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    }
    u = store_unit_new();
    int64_t other = fixture_id(f, PAYMENTS);
    fixture_insert_payment(f, u, other, 2, "card");
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    u = store_unit_new(); /* an update into the key of another */
    struct store_change *c = fixture_change(u, &f->tables[PAYMENTS], STORE_UPDATE, other);
    c->base_version = 1;
    c->mask = UINT64_C(1) << ORDER_ID;
    c->row->values[ORDER_ID] = value_int(1);
    c->row->values[KIND] = value_text(STR("card"));
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_EXISTS);
    assert_int_equal(u->refused_index, 1);
    store_unit_unref(u);
    assert_int_equal(fixture_count(f, PAYMENTS), 4);
}

static int64_t make_concert(struct fixture *f, struct value tickets, double balance)
{
    struct store_unit *u = store_unit_new();
    int64_t id = fixture_id(f, CONCERTS);
    struct store_change *c = fixture_change(u, &f->tables[CONCERTS], STORE_INSERT, id);
    c->row->values[TICKETS] = tickets;
    c->row->values[BALANCE] = (struct value){.type = VALUE_NUMBER, .n = balance};
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    return id;
}

static enum store_verdict take_tickets(struct fixture *f, int64_t id, int64_t delta, int64_t min,
                                       int *ret_column)
{
    struct store_unit *u = store_unit_new();
    fixture_add(f, u, id, TICKETS, value_int(delta))->min = value_int(min);
    fixture_run(f, &u, 1);
    enum store_verdict verdict = u->verdict;
    *ret_column = u->refused_index;
    store_unit_unref(u);
    return verdict;
}

static void add_within_bounds(void **state)
{
    struct fixture *f = *state;
    int column;
    int64_t id = make_concert(f, value_int(5), 1.5);
    assert_int_equal(take_tickets(f, id, -5, 0, &column), STORE_COMMITTED);
    assert_int_equal(fixture_get(f, CONCERTS, id)->values[TICKETS].i, 0);
    assert_int_equal(fixture_get(f, CONCERTS, id)->version, 2);
    assert_int_equal(take_tickets(f, id, -1, 0, &column), STORE_BOUND);
    assert_int_equal(column, TICKETS);
    assert_int_equal(fixture_get(f, CONCERTS, id)->version, 2);
    assert_int_equal(take_tickets(f, 999, -1, 0, &column), STORE_CONFLICT);
    int64_t empty = make_concert(f, VALUE_NONE, 0); /* null counts as 0 */
    assert_int_equal(take_tickets(f, empty, 3, 0, &column), STORE_COMMITTED);
    assert_int_equal(fixture_get(f, CONCERTS, empty)->values[TICKETS].i, 3);
    struct store_unit *u = store_unit_new(); /* of two columns the guilty one is named */
    struct store_add *add = fixture_add(f, u, id, TICKETS, value_int(1));
    add->next = arena_zalloc(u->arena, sizeof(*add));
    *add->next =
        (struct store_add){.column = BALANCE, .delta = value_int(10), .max = value_int(11)};
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, STORE_BOUND);
    assert_int_equal(u->refused_index, BALANCE);
    assert_int_equal(fixture_get(f, CONCERTS, id)->values[TICKETS].i, 0);
    store_unit_unref(u);
}

static void add_refuses_overflow(void **state)
{
    struct fixture *f = *state;
    int column;
    int64_t id = make_concert(f, value_int(INT64_MAX - 1), 1.7e308);
    assert_int_equal(take_tickets(f, id, 1, 0, &column), STORE_COMMITTED);
    assert_int_equal(take_tickets(f, id, 1, 0, &column), STORE_BOUND);
    assert_int_equal(column, TICKETS);
    struct store_row *row = fixture_get(f, CONCERTS, id);
    assert_int_equal(row->values[TICKETS].i, INT64_MAX);
    struct store_unit *u = store_unit_new();
    fixture_add(f, u, id, BALANCE, (struct value){.type = VALUE_NUMBER, .n = 1.7e308});
    assert_int_equal(fixture_commit(f, u), STORE_BOUND);
    assert_true(fixture_get(f, CONCERTS, id)->values[BALANCE].n == 1.7e308);
}

static void two_adds_to_a_column_are_one(void **state)
{
    struct fixture *f = *state;
    int64_t id = make_concert(f, value_int(5), 0);
    for (int i = 0; i < 2; i++) {
        struct store_unit *u = store_unit_new();
        struct store_add *add = fixture_add(f, u, id, TICKETS, value_int(-2));
        add->min = value_int(0);
        add->next = arena_zalloc(u->arena, sizeof(*add));
        *add->next = (struct store_add){.column = TICKETS, .delta = value_int(-1)};
        assert_int_equal(fixture_commit(f, u), i == 0 ? STORE_COMMITTED : STORE_BOUND);
    }
    assert_int_equal(fixture_get(f, CONCERTS, id)->values[TICKETS].i, 2);
}

static int refuse_batch(void *ctx, struct store_tx *tx, struct store_unit *accepted,
                        struct err *err)
{
    (void)tx;
    for (struct store_unit *u = accepted; u; u = u->next)
        if (u->changes->row->values[QTY].i == 13)
            return err_set(err, ERR_INTERNAL, "thirteen");
    return on_before(ctx, tx, accepted, err);
}

static void failing_hook_fails_only_its_unit(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct store_unit *units[3];
    f->hooks = (struct store_hooks){&seen, NULL, refuse_batch, on_rolled_back, on_committed, NULL};
    fixture_open(f);
    make_orders(f, units, 3);
    units[1]->changes->row->values[QTY] = value_int(13);
    fixture_run(f, units, 3);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    assert_int_equal(units[1]->verdict, STORE_FAILED);
    assert_string_equal(units[1]->err.message, "thirteen");
    assert_int_equal(units[2]->verdict, STORE_COMMITTED);
    assert_int_equal(seen.rolled_back, 2);
    assert_int_equal(seen.last_seq, 2);
    assert_int_equal(fixture_count(f, ORDERS), 2);
    unref_all(units, 3);
}

static void close_applies_what_is_queued(void **state)
{
    struct fixture *f = *state;
    struct store_unit *units[UNITS];
    fixture_open(f);
    make_orders(f, units, UNITS);
    fixture_submit(f, units, UNITS);
    fixture_close(f);
    fixture_wait(f); /* the mails are there, though the store is gone */
    for (int i = 0; i < UNITS; i++)
        assert_int_equal(units[i]->verdict, STORE_COMMITTED);
    unref_all(units, UNITS);
    fixture_open(f);
    assert_int_equal(fixture_count(f, ORDERS), UNITS);
    assert_int_equal(store_log_last_seq(f->store), UNITS);
}

static void inline_writer_runs_on_the_loop(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct store_unit *units[3];
    f->inline_writer = true;
    use_hooks(f, &seen);
    fixture_open(f);
    make_orders(f, units, 3);
    for (int i = 0; i < 3; i++) /* three hand-overs of one turn are one batch */
        fixture_submit(f, &units[i], 1);
    assert_int_equal(store_queue_length(f->store), 3);
    assert_int_equal(fixture_count(f, ORDERS), 0);
    fixture_wait(f);
    assert_int_equal(seen.committed, 1);
    assert_int_equal(seen.in_last, 3);
    assert_int_equal(fixture_count(f, ORDERS), 3);
    unref_all(units, 3);
    make_orders(f, units, 1);
    fixture_submit(f, units, 1);
    fixture_close(f); /* not begun: applied now */
    fixture_wait(f);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    store_unit_unref(units[0]);
}

struct submitter {
    struct fixture *f;
    pthread_t thread;
    atomic_int committed;
    sem_t told;
};

static void count_told(struct store_unit *u)
{
    struct submitter *s = u->owner;
    if (u->verdict == STORE_COMMITTED)
        s->committed++;
    sem_post(&s->told);
}

static void *submit_many(void *arg)
{
    struct submitter *s = arg;
    for (int i = 0; i < 200; i++) {
        int64_t id = 0;
        while (!store_next_id(s->f->store, &s->f->tables[ORDERS], &id))
            sched_yield();
        struct store_unit *u = store_unit_new();
        fixture_insert_order(s->f, u, id, 1);
        fixture_emit(s->f, u, id);
        u->done = count_told;
        u->owner = s;
        store_submit(s->f->store, u, u);
        if (i % 16 == 15)
            for (int k = 0; k < 16; k++)
                sem_wait(&s->told);
    }
    for (int k = 0; k < 200 % 16; k++)
        sem_wait(&s->told);
    return NULL;
}

static void four_threads_submit(void **state)
{
    struct fixture *f = *state;
    struct seen seen = {0};
    struct submitter all[4];
    use_hooks(f, &seen);
    fixture_open(f);
    for (int i = 0; i < 4; i++) {
        all[i].f = f;
        atomic_init(&all[i].committed, 0);
        sem_init(&all[i].told, 0, 0);
        pthread_create(&all[i].thread, NULL, submit_many, &all[i]);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(all[i].thread, NULL);
        sem_destroy(&all[i].told);
        assert_int_equal(all[i].committed, 200);
    }
    assert_int_equal(fixture_count(f, ORDERS), 800);
    assert_int_equal(store_log_last_seq(f->store), 800);
    assert_int_equal(store_queue_length(f->store), 0);
    fixture_close(f); /* the hooks' counts are the writer's: it has ended now */
    assert_int_equal(seen.last_seq, 800);
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }
#define CLOSED(name, fn)                                                                           \
    {                                                                                              \
        name, fn, fixture_setup_closed, fixture_teardown, NULL                                     \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CLOSED("PATH-8a one fsync before any answer of its batch (G1)", one_fsync),
        CLOSED("PATH-8b in a poisoned batch only the guilty unit fails", poisoned_batch),
        CLOSED("PATH-3b a unit of work is written whole", unit_is_whole),
        CLOSED("PATH-3b a unit refused in a savepoint leaves nothing, not even its seq",
               refused_in_savepoint),
        CLOSED("PATH-3b a unit refused alone leaves nothing and starts no commit",
               refused_alone_writes_nothing),
        CLOSED("PATH-3c units handed over together are one transaction of at most 512",
               one_batch_one_transaction),
        CLOSED("PATH-3c closing applies what is queued", close_applies_what_is_queued),
        CLOSED("PATH-3c four threads hand over at once", four_threads_submit),
        CLOSED("PATH-3c the inline writer commits at the end of the loop's turn",
               inline_writer_runs_on_the_loop),
        CLOSED("PATH-3c a hook that fails fails only its unit", failing_hook_fails_only_its_unit),
        OPEN("PATH-3e versions rise, and stale ones are refused", versions_and_verdicts),
        OPEN("PATH-3e the second unit of a batch that changes a row conflicts",
             second_writer_of_a_batch_conflicts),
        OPEN("PATH-3h a second row with the unique values is refused, nulls are not", unique_keys),
        OPEN("PATH-3k add stays within its bounds and names the column", add_within_bounds),
        OPEN("PATH-3k add refuses what leaves 63 bits or the finite doubles", add_refuses_overflow),
        OPEN("PATH-3k two adds to a column are one", two_adds_to_a_column_are_one),
    };
    return cmocka_run_group_tests_name("store/sqlite_writer", tests, NULL, NULL);
}
