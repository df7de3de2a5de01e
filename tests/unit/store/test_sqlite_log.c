/* SPDX-License-Identifier: MIT */

/* The log and the bus' bookkeeping come back from the file as they were written with their units.
 */

#include "store_fixture.h"

#include <sqlite3.h>

#define HOLES 10000

/* What on_before shall write. */
struct position {
    int64_t policy, high;
    int64_t *holes;
    size_t hole_count;
};

static int write_position(void *ctx, struct store_tx *tx, struct store_unit *accepted,
                          struct err *err)
{
    (void)accepted;
    struct position *p = ctx;
    if (p->policy == 0)
        return 0;
    return store_tx_position(tx, p->policy, p->high, p->holes, p->hole_count, err);
}

static void emit(struct fixture *f, int64_t order_id)
{
    struct store_unit *u = store_unit_new();
    struct store_event *e = fixture_emit(f, u, order_id);
    e->correlation_id = STR("abc-1");
    e->cause_seq = order_id - 1;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
}

static void note(struct fixture *f, enum store_note_kind kind, int64_t seq, int tries,
                 enum store_verdict verdict, int64_t *letter_id)
{
    struct store_unit *u = store_unit_new();
    struct store_note *n = store_unit_note(u, kind);
    n->policy = 1;
    n->seq = seq;
    n->tries = tries;
    n->letter_id = letter_id ? *letter_id : 0;
    n->next_at_ms = 5000 + tries;
    n->key = STR("order/7");
    n->error_code = STR("script");
    n->error = STR("no such book");
    n->origin = STR("a.lua:3");
    n->time_ms = 77;
    n->generation = 4;
    fixture_run(f, &u, 1);
    assert_int_equal(u->verdict, verdict);
    if (letter_id)
        *letter_id = n->letter_id;
    store_unit_unref(u);
}

static size_t held(struct fixture *f, struct store_held **ret)
{
    size_t n;
    struct err err = {0};
    fixture_expect_ok(store_log_held(f->session, f->arena, ret, &n, &err), &err);
    return n;
}

static size_t letters(struct fixture *f, struct str policy, int64_t before, int64_t limit,
                      struct store_letter **ret)
{
    size_t n;
    struct err err = {0};
    fixture_expect_ok(store_log_letters(f->session, f->arena, policy, before, limit, ret, &n, &err),
                      &err);
    return n;
}

static size_t events(struct fixture *f, const struct store_log_query *q, struct store_logged **ret,
                     int64_t *ret_next)
{
    size_t n;
    struct err err = {0};
    fixture_expect_ok(store_log_read(f->session, f->arena, &f->schema, q, ret, &n, ret_next, &err),
                      &err);
    return n;
}

static void events_come_back(void **state)
{
    struct fixture *f = *state;
    struct store_logged *list;
    int64_t next;
    emit(f, 42);
    assert_int_equal(events(f, &(struct store_log_query){.from = 1}, &list, &next), 1);
    assert_int_equal(next, 2);
    const struct store_event *e = &list[0].event;
    assert_true(str_eq(list[0].type_name, STR("Ordered")));
    assert_true(str_eq(list[0].service, STR("order")));
    assert_int_equal(e->seq, 1);
    assert_int_equal(e->time_ms, 1000);
    assert_int_equal(e->generation, 3);
    assert_int_equal(e->cause_seq, 41);
    assert_true(str_eq(e->key, STR("order/42")));
    assert_true(str_eq(e->correlation_id, STR("abc-1")));
    assert_true(str_starts(e->payload, STR("{\"eventType\":\"Ordered\",\"id\":42")));
    assert_ptr_equal(e->type, &f->ordered);
    assert_int_equal(e->values[0].i, 42);
    assert_true(str_eq(e->values[1].s, STR("Ordered")));
    assert_int_equal(e->values[2].type, VALUE_NULL); /* not in the payload */
    f->schema.event_count = 0;                       /* no longer declared */
    assert_int_equal(events(f, &(struct store_log_query){.from = 1}, &list, &next), 1);
    assert_null(list[0].event.type);
    assert_true(str_eq(list[0].type_name, STR("Ordered")));
}

static void events_are_read_in_windows(void **state)
{
    struct fixture *f = *state;
    struct store_logged *list;
    int64_t next;
    for (int i = 0; i < 20; i++)
        emit(f, i % 2);
    assert_int_equal(events(f, &(struct store_log_query){.from = 3, .limit = 5}, &list, &next), 5);
    assert_int_equal(list[0].event.seq, 3);
    assert_int_equal(next, 8);
    struct store_log_query q = {.from = 1, .limit = 3, .scan_limit = 10, .key = STR("order/1")};
    assert_int_equal(events(f, &q, &list, &next), 3);
    assert_int_equal(list[2].event.seq, 6);
    assert_int_equal(next, 7);
    q.key = STR("order/5"); /* nobody: the scan ends where it was told to */
    assert_int_equal(events(f, &q, &list, &next), 0);
    assert_int_equal(next, 11);
    q = (struct store_log_query){.from = 1, .service = STR("payment")};
    assert_int_equal(events(f, &q, &list, &next), 0);
    assert_int_equal(next, 21);
    assert_int_equal(events(f, &(struct store_log_query){.from = 21}, &list, &next), 0);
    assert_int_equal(next, 21);
}

static void seq_goes_on_after_reopening(void **state)
{
    struct fixture *f = *state;
    emit(f, 1);
    emit(f, 2);
    fixture_close(f);
    fixture_open(f);
    assert_int_equal(store_log_last_seq(f->store), 2);
    emit(f, 3);
    assert_int_equal(store_log_last_seq(f->store), 3);
    fixture_close(f);
    char path[128]; /* an event that was removed, for its age, does not give its number back */
    sqlite3 *db;
    snprintf(path, sizeof(path), "%s/moontide.db", f->folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, "DELETE FROM _moontide_events", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(db);
    fixture_open(f);
    emit(f, 4);
    assert_int_equal(store_log_last_seq(f->store), 4);
}

static void held_rows(void **state)
{
    struct fixture *f = *state;
    struct store_held *list;
    note(f, STORE_NOTE_HELD, 9, 1, STORE_COMMITTED, NULL);
    note(f, STORE_NOTE_HELD, 8, 1, STORE_COMMITTED, NULL);
    note(f, STORE_NOTE_HELD, 9, 2, STORE_COMMITTED, NULL); /* replaces */
    assert_int_equal(held(f, &list), 2);
    assert_int_equal(list[0].seq, 8);
    assert_int_equal(list[1].seq, 9);
    assert_int_equal(list[1].policy, 1);
    assert_int_equal(list[1].tries, 2);
    assert_int_equal(list[1].next_at_ms, 5002);
    assert_true(str_eq(list[1].key, STR("order/7")));
    note(f, STORE_NOTE_DONE, 8, 0, STORE_COMMITTED, NULL); /* says that it was never held */
    assert_int_equal(held(f, &list), 2);
    note(f, STORE_NOTE_DONE, 8, 1, STORE_COMMITTED, NULL);
    note(f, STORE_NOTE_DONE, 8, 1, STORE_COMMITTED, NULL);
    assert_int_equal(held(f, &list), 1);
}

static int64_t make_policy(struct fixture *f, struct str name, struct str from,
                           struct store_policy *ret)
{
    struct err err = {0};
    struct store_switch_policy policy = {.service = STR("delivery"), name, from};
    fixture_expect_ok(store_log_policy(f->store, f->arena, &policy, ret, &err), &err);
    return ret->number;
}

/* Policies are asked for before the writer starts. */
static struct store_policy reopened_policy(struct fixture *f, struct str name, struct str from)
{
    struct err err = {0};
    struct store_policy p;
    fixture_close(f);
    struct store_conf conf = fixture_conf(f);
    f->store = store_open(&conf, &err);
    assert_non_null(f->store);
    fixture_expect_ok(store_migrate(f->store, &f->schema, &err), &err);
    make_policy(f, name, from, &p);
    fixture_expect_ok(store_start(f->store, &f->hooks, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
    return p;
}

static void letters_come_and_go(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_letter *list, one;
    struct store_held *rows;
    int64_t first = 0, second = 0;
    emit(f, 7);
    reopened_policy(f, STR("delivery starts"), STR(""));
    note(f, STORE_NOTE_HELD, 1, 9, STORE_COMMITTED, NULL);
    note(f, STORE_NOTE_LETTER, 1, 10, STORE_COMMITTED, &first);
    assert_int_equal(first, 1);
    assert_int_equal(held(f, &rows), 0);
    note(f, STORE_NOTE_LETTER, 99, 10, STORE_COMMITTED, &second);
    assert_int_equal(letters(f, STR(""), 0, 0, &list), 2);
    assert_int_equal(list[0].id, second);
    assert_int_equal(list[0].type.n, 0); /* that event is not in the log */
    assert_int_equal(letters(f, STR(""), 0, 1, &list), 1);
    assert_int_equal(letters(f, STR(""), second, 0, &list), 1);
    assert_int_equal(list[0].id, first);
    assert_int_equal(letters(f, STR("delivery starts"), 0, 0, &list), 2);
    assert_int_equal(letters(f, STR("another"), 0, 0, &list), 0);
    note(f, STORE_NOTE_LETTER_FAILED, 1, 11, STORE_COMMITTED, &first);
    assert_int_equal(store_log_letter(f->session, f->arena, first, &one, &err), 1);
    assert_int_equal(one.tries, 11);
    assert_int_equal(one.seq, 1);
    assert_int_equal(one.time_ms, 77);
    assert_int_equal(one.generation, 4);
    assert_true(str_eq(one.policy_service, STR("delivery")));
    assert_true(str_eq(one.policy_name, STR("delivery starts")));
    assert_true(str_eq(one.type, STR("Ordered")));
    assert_true(str_eq(one.key, STR("order/7")));
    assert_true(str_eq(one.error, STR("no such book")));
    assert_true(str_eq(one.error_code, STR("script")));
    assert_true(str_eq(one.origin, STR("a.lua:3")));
    note(f, STORE_NOTE_LETTER_GONE, 1, 0, STORE_COMMITTED, &first);
    note(f, STORE_NOTE_LETTER_GONE, 1, 0, STORE_CONFLICT, &first); /* somebody else was quicker */
    assert_int_equal(store_log_letter(f->session, f->arena, first, &one, &err), 0);
    int64_t third = 0; /* the number of a letter is not used again */
    note(f, STORE_NOTE_LETTER_GONE, 1, 0, STORE_COMMITTED, &second);
    note(f, STORE_NOTE_LETTER, 1, 10, STORE_COMMITTED, &third);
    assert_int_equal(third, second + 1);
}

static int64_t add_timer(struct fixture *f, int64_t due_ms)
{
    struct store_unit *u = store_unit_new();
    struct store_timer *t = u->timers = arena_zalloc(u->arena, sizeof(*t));
    struct store_unit *carrier = store_unit_new();
    int64_t id;
    assert_true(store_next_id(f->store, NULL, &id));
    t->id = id;
    t->due_ms = due_ms;
    t->event = *fixture_emit(f, carrier, id);
    t->event.cause_seq = 5;
    t->event.correlation_id = STR("x");
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    store_unit_unref(carrier);
    return id;
}

static size_t due(struct fixture *f, int64_t now_ms, int64_t limit, struct store_timer **ret,
                  int64_t *ret_next)
{
    size_t n;
    struct err err = {0};
    fixture_expect_ok(
        store_log_timers(f->session, f->arena, &f->schema, now_ms, limit, ret, &n, ret_next, &err),
        &err);
    return n;
}

static void timers_come_due(void **state)
{
    struct fixture *f = *state;
    struct store_timer *list;
    int64_t next, late = add_timer(f, 300), early = add_timer(f, 100), middle = add_timer(f, 200);
    assert_int_equal(due(f, 200, 10, &list, &next), 2);
    assert_int_equal(list[0].id, early);
    assert_int_equal(list[1].id, middle);
    assert_int_equal(next, 300);
    assert_int_equal(list[0].due_ms, 100);
    assert_ptr_equal(list[0].event.type, &f->ordered);
    assert_int_equal(list[0].event.values[0].i, early);
    assert_int_equal(list[0].event.cause_seq, 5);
    assert_int_equal(list[0].event.generation, 3);
    assert_true(str_eq(list[0].event.correlation_id, STR("x")));
    assert_int_equal(due(f, 1000, 1, &list, &next), 1); /* the rest is due, and said to be */
    assert_int_equal(next, 200);
    assert_int_equal(due(f, 50, 10, &list, &next), 0);
    assert_int_equal(next, 100);
    note(f, STORE_NOTE_TIMER_GONE, early, 0, STORE_COMMITTED, NULL);
    note(f, STORE_NOTE_TIMER_GONE, early, 0, STORE_CONFLICT, NULL);
    struct store_unit *u = store_unit_new(); /* cancelling what is gone is no conflict */
    u->cancels = (int64_t[]){early, middle, late};
    u->cancel_count = 3;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    assert_int_equal(due(f, 1000, 10, &list, &next), 0);
    assert_true(next == INT64_MAX);
}

/* A timer fires once, though two units try: the second one's effects are gone with it. */
static void timer_fires_once(void **state)
{
    struct fixture *f = *state;
    int64_t id = add_timer(f, 100);
    struct store_unit *units[2];
    for (int i = 0; i < 2; i++) {
        units[i] = store_unit_new();
        store_unit_note(units[i], STORE_NOTE_TIMER_GONE)->seq = id;
        fixture_emit(f, units[i], id);
    }
    fixture_run(f, units, 2);
    assert_int_equal(units[0]->verdict, STORE_COMMITTED);
    assert_int_equal(units[1]->verdict, STORE_CONFLICT);
    assert_null(units[1]->refused);
    assert_int_equal(store_log_last_seq(f->store), 1);
    store_unit_unref(units[0]);
    store_unit_unref(units[1]);
}

static void policies_begin_now_and_stay(void **state)
{
    struct fixture *f = *state;
    emit(f, 1);
    emit(f, 2);
    struct store_policy p = reopened_policy(f, STR("a"), STR(""));
    assert_int_equal(p.high, 2);
    assert_int_equal(p.hole_count, 0);
    emit(f, 3);
    struct store_policy again = reopened_policy(f, STR("a"), STR(""));
    assert_int_equal(again.number, p.number);
    assert_int_equal(again.high, 2); /* not the newest: it has missed one */
    struct store_policy renamed = reopened_policy(f, STR("b"), STR("a"));
    assert_int_equal(renamed.number, p.number);
    assert_int_equal(renamed.high, 2);
    assert_true(str_eq(renamed.name, STR("b")));
    struct store_policy other = reopened_policy(f, STR("c"), STR("never there"));
    assert_true(other.number != p.number);
    assert_int_equal(other.high, 3);
}

static void positions_with_many_holes(void **state)
{
    struct fixture *f = *state;
    static int64_t holes[HOLES];
    struct position position = {0};
    f->hooks = (struct store_hooks){.ctx = &position, .before_commit = write_position};
    struct store_policy p = reopened_policy(f, STR("a"), STR(""));
    int64_t at = 0;
    for (int i = 0; i < HOLES; i++) { /* steps of one, two and three bytes, and large numbers */
        at += i == 5000 ? INT64_C(1) << 40 : 1 + i * i % 20000;
        holes[i] = at;
    }
    position = (struct position){p.number, at + 1, holes, HOLES};
    emit(f, 1);
    position.policy = 0;
    p = reopened_policy(f, STR("a"), STR(""));
    assert_int_equal(p.high, at + 1);
    assert_int_equal(p.hole_count, HOLES);
    assert_memory_equal(p.holes, holes, sizeof(holes));
    position = (struct position){p.number, at + 2, NULL, 0};
    emit(f, 2);
    position.policy = 0;
    assert_int_equal(reopened_policy(f, STR("a"), STR("")).hole_count, 0);
}

#define OPEN(name, fn)                                                                             \
    {                                                                                              \
        name, fn, fixture_setup, fixture_teardown, NULL                                            \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        OPEN("events come back as they were written, with their values", events_come_back),
        OPEN("events are read in windows", events_are_read_in_windows),
        OPEN("seq goes on after reopening", seq_goes_on_after_reopening),
        OPEN("held rows are written, replaced and removed", held_rows),
        OPEN("letters come, fail again and go once", letters_come_and_go),
        OPEN("timers come due in order and can be cancelled", timers_come_due),
        OPEN("a timer fires once", timer_fires_once),
        OPEN("a policy begins at the newest event and keeps its place",
             policies_begin_now_and_stay),
        OPEN("a position with 10,000 holes comes back", positions_with_many_holes),
    };
    return cmocka_run_group_tests_name("store/sqlite_log", tests, NULL, NULL);
}
