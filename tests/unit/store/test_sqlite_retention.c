/* SPDX-License-Identifier: MIT */

/* Events whose type has a retention go from the log when it is over, but never one that somebody
 * still needs; and their numbers do not come again. */

#include "store/sqlite/engine.h"
#include "store_fixture.h"

#include <sys/wait.h>

#define RETENTION_MS 60000
#define ALL 1, 2, 3, 4, 5

/* What the hook writes with the next unit. */
struct position {
    int64_t policy, high, holes[4];
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

static void emit_aged(struct fixture *f, int64_t age_ms)
{
    struct store_unit *u = store_unit_new();
    fixture_emit(f, u, 7)->time_ms = clock_wall_ms(&f->clock) - age_ms;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
}

/* Any unit; everything in the log is looked at. */
static void look(struct fixture *f)
{
    f->store->looks = (struct sqlite_looks){0}; /* the writer sleeps */
    fixture_order(f, 1);
}

static void expect_log(struct fixture *f, const int64_t *seqs, size_t count)
{
    struct err err = {0};
    struct store_logged *rows;
    struct store_log_query q = {.from = 1};
    size_t n;
    int64_t next;
    fixture_expect_ok(store_log_read(f->session, f->arena, &f->schema, &q, &rows, &n, &next, &err),
                      &err);
    assert_int_equal(n, count);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(rows[i].event.seq, seqs[i]);
}

#define EXPECT_LOG(f, ...)                                                                         \
    expect_log(f, (int64_t[]){__VA_ARGS__}, sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

static void expect_empty(struct fixture *f)
{
    expect_log(f, NULL, 0);
}

/* Declares the event with this retention, and a policy that wants `type` (NULL: none), as a reload
 * does. Returns the number of the policy. */
static int64_t declare(struct fixture *f, int64_t retention_ms, const char *type)
{
    struct err err = {0};
    struct store_switched done;
    struct str name = str_from(type ? type : "");
    struct store_switch_policy policy = {.service = STR("delivery"),
                                         .name = STR("delivers"),
                                         .types = &name,
                                         .type_count = 1,
                                         .from_first = true};
    struct store_switch sw = {.schema = &f->schema,
                              .policies = &policy,
                              .policy_count = type ? 1 : 0,
                              .origin = STR("test"),
                              .sources = STR(""),
                              .arena = f->arena};
    f->ordered.retention_ms = retention_ms;
    fixture_expect_ok(store_switch(f->store, &sw, &done, &err), &err);
    return type ? done.policies[0].number : 0;
}

static int setup_empty(void **state)
{
    struct fixture *f = fixture_new();
    struct position *p = arena_zalloc(f->arena, sizeof(*p));
    *state = f;
    f->hooks = (struct store_hooks){.ctx = p, .before_commit = write_position};
    fixture_open(f);
    return 0;
}

/* Five old events with seq 1 to 5, and one that is young. */
static int setup(void **state)
{
    setup_empty(state);
    struct fixture *f = *state;
    for (int i = 0; i < 5; i++)
        emit_aged(f, 2 * RETENTION_MS);
    emit_aged(f, 0);
    return 0;
}

static void set_position(struct fixture *f, int64_t policy, int64_t high, const int64_t *holes,
                         size_t count)
{
    struct position *p = f->hooks.ctx;
    *p = (struct position){.policy = policy, .high = high, .hole_count = count};
    for (size_t i = 0; i < count; i++)
        p->holes[i] = holes[i];
    fixture_order(f, 1);
    p->policy = 0;
}

static void without_a_retention_all_stay(void **state)
{
    struct fixture *f = *state;
    look(f);
    EXPECT_LOG(f, ALL, 6);
    declare(f, RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, 6);
}

static void a_reload_changes_it(void **state)
{
    struct fixture *f = *state;
    declare(f, 3 * RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, ALL, 6);
    declare(f, 0, NULL);
    look(f);
    EXPECT_LOG(f, ALL, 6);
    declare(f, RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, 6);
}

/* A dry run and a switch that is refused change nothing. */
static void a_dry_run_leaves_it(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_switched done;
    struct store_switch sw = {.schema = &f->schema, .arena = f->arena, .dry_run = true};
    f->ordered.retention_ms = RETENTION_MS;
    fixture_expect_ok(store_switch(f->store, &sw, &done, &err), &err);
    sw.dry_run = false;
    sw.number = 99;
    assert_int_equal(store_switch(f->store, &sw, &done, &err), -1);
    look(f);
    EXPECT_LOG(f, ALL, 6);
}

static void what_a_policy_has_not_passed_stays(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    look(f);
    EXPECT_LOG(f, ALL, 6);
    set_position(f, policy, 3, NULL, 0);
    look(f);
    EXPECT_LOG(f, 4, 5, 6);
}

/* As that of a stopped service, or of one that runs elsewhere at present. */
static void a_policy_that_is_absent_counts(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    set_position(f, policy, 2, NULL, 0);
    declare(f, RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, 3, 4, 5, 6);
}

static void a_policy_of_other_types_does_not_count(void **state)
{
    struct fixture *f = *state;
    declare(f, RETENTION_MS, "Paid");
    look(f);
    EXPECT_LOG(f, 6);
}

/* What lets a policy go for good. */
static void one_that_went_on_with_other_types_does_not_count(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    set_position(f, policy, 2, NULL, 0);
    assert_int_equal(declare(f, RETENTION_MS, "Paid"), policy);
    declare(f, RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, 6);
}

static void a_policy_of_unknown_types_counts(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    struct store_policy row;
    struct store_switch_policy policy = {
        .service = STR("delivery"), .name = STR("delivers"), .from_first = true};
    fixture_close(f);
    struct store_conf conf = fixture_conf(f);
    f->ordered.retention_ms = RETENTION_MS;
    f->store = store_open(&conf, &err);
    fixture_expect_ok(store_migrate(f->store, &f->schema, &err), &err);
    fixture_expect_ok(store_log_policy(f->store, f->arena, &policy, &row, &err), &err);
    fixture_expect_ok(store_start(f->store, &f->hooks, &err), &err);
    f->session = store_session_new(f->store, f->loop, &err);
    look(f);
    EXPECT_LOG(f, ALL, 6);
}

/* An event below the policy's mark that is not done: it runs, waits behind a held key, was dropped.
 */
static void holes_stay(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    set_position(f, policy, 5, (int64_t[]){2, 4}, 2);
    look(f);
    EXPECT_LOG(f, 2, 4, 6);
    set_position(f, policy, 5, (int64_t[]){4}, 1);
    look(f);
    EXPECT_LOG(f, 4, 6);
}

static void note(struct fixture *f, enum store_note_kind kind, int64_t policy, int64_t seq,
                 int64_t letter)
{
    struct store_unit *u = store_unit_new();
    struct store_note *n = store_unit_note(u, kind);
    n->policy = policy;
    n->seq = seq;
    n->tries = 1;
    n->letter_id = letter;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
}

static void held_ones_stay(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    note(f, STORE_NOTE_HELD, policy, 3, 0);
    set_position(f, policy, 5, (int64_t[]){3}, 1);
    look(f);
    EXPECT_LOG(f, 3, 6);
    set_position(f, policy, 5, NULL, 0);
    look(f);
    EXPECT_LOG(f, 3, 6); /* the row alone says that it is held */
    note(f, STORE_NOTE_DONE, policy, 3, 0);
    look(f);
    EXPECT_LOG(f, 6);
}

static void letters_stay(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, RETENTION_MS, "Ordered");
    note(f, STORE_NOTE_LETTER, policy, 1, 0);
    note(f, STORE_NOTE_LETTER, policy, 5, 0);
    set_position(f, policy, 5, NULL, 0);
    look(f);
    EXPECT_LOG(f, 1, 5, 6);
    note(f, STORE_NOTE_LETTER_GONE, policy, 1, 1);
    look(f);
    EXPECT_LOG(f, 5, 6);
}

/* Also after a death that closed nothing. */
static void no_seq_comes_again(void **state)
{
    struct fixture *f = *state;
    int status;
    fixture_close(f);
    pid_t child = fork();
    if (child == 0) {
        fixture_open(f);
        declare(f, 1, NULL);
        usleep(3000); /* until the youngest is old, too */
        f->store->looks = (struct sqlite_looks){0};
        fixture_order(f, 1);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    f->ordered.retention_ms = 0;
    fixture_open(f);
    assert_int_equal(fixture_ask(f, "SELECT count(*) FROM _moontide_events"), 0);
    assert_int_equal(store_log_last_seq(f->store), 6);
    expect_empty(f);
    emit_aged(f, 0);
    EXPECT_LOG(f, 7);
}

/* A log larger than a portion goes with the units that follow; what stays is not met for ever. */
static void portions_go_with_later_units(void **state)
{
    struct fixture *f = *state;
    int64_t policy = declare(f, 0, "Ordered");
    struct store_unit *u = store_unit_new();
    clock_fake_init(&f->clock); /* which stands still: no look takes long */
    for (int i = 0; i < 3000; i++)
        fixture_emit(f, u, 7)->time_ms = 1000;
    assert_int_equal(fixture_commit(f, u), STORE_COMMITTED);
    emit_aged(f, 0); /* 3001 */
    set_position(f, policy, 3001, (int64_t[]){2, 1500, 3000}, 3);
    declare(f, RETENTION_MS, "Ordered");
    const char *count = "SELECT count(*) FROM _moontide_events";
    fixture_order(f, 1);
    assert_int_equal(fixture_ask(f, count), 3001 - 1024 + 1);
    fixture_order(f, 1);
    assert_int_equal(fixture_ask(f, count), 3001 - 2 * 1024 + 2);
    fixture_order(f, 1);
    EXPECT_LOG(f, 2, 1500, 3000, 3001);
    assert_int_equal(f->store->looks.next, 2);
    set_position(f, policy, 3001, NULL, 0);
    look(f);
    EXPECT_LOG(f, 3001);
}

/* Written while the clock was ahead. */
static void an_event_of_the_future_holds_up_nothing(void **state)
{
    struct fixture *f = *state;
    emit_aged(f, -RETENTION_MS);
    emit_aged(f, 2 * RETENTION_MS);
    emit_aged(f, 0);
    declare(f, RETENTION_MS, NULL);
    look(f);
    EXPECT_LOG(f, 1, 3);
}

/* The transaction that removed some is rolled back: they are removed by a later one. */
static int refuse(void *ctx, struct store_tx *tx, struct store_unit *accepted, struct err *err)
{
    (void)tx;
    (void)accepted;
    int *left = ctx;
    return (*left)-- > 0 ? err_set(err, ERR_IO, "the disk is away") : 0;
}

static void a_rollback_brings_them_back(void **state)
{
    struct fixture *f = *state;
    int left = 1;
    declare(f, RETENTION_MS, NULL);
    f->store->hooks = (struct store_hooks){.ctx = &left, .before_commit = refuse};
    struct store_unit *u = store_unit_new();
    fixture_emit(f, u, 7);
    assert_int_equal(fixture_commit(f, u), STORE_FAILED);
    EXPECT_LOG(f, ALL, 6);
    fixture_order(f, 1);
    EXPECT_LOG(f, 6);
}

#define CASE(name, fn)                                                                             \
    {                                                                                              \
        name, fn, setup, fixture_teardown, NULL                                                    \
    }

#define EMPTY(name, fn)                                                                            \
    {                                                                                              \
        name, fn, setup_empty, fixture_teardown, NULL                                              \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("G10 events stay unless their type has a retention", without_a_retention_all_stay),
        CASE("G10 a reload changes or ends a retention", a_reload_changes_it),
        CASE("G10 a dry run and a refused switch leave retentions as they are",
             a_dry_run_leaves_it),
        CASE("G10 an event that a policy has not passed stays", what_a_policy_has_not_passed_stays),
        CASE("G10 a policy that is absent keeps its events", a_policy_that_is_absent_counts),
        CASE("G10 a policy of other types keeps no events", a_policy_of_other_types_does_not_count),
        CASE("G10 a policy that went on with other types keeps no events",
             one_that_went_on_with_other_types_does_not_count),
        CASE("G10 a policy whose types are unknown keeps all", a_policy_of_unknown_types_counts),
        CASE("G10 an event that is not done below a position stays", holes_stay),
        CASE("G10 a held event stays", held_ones_stay),
        CASE("G10 an event with a letter stays until the letter goes", letters_stay),
        CASE("G10 no seq comes again when the newest events are gone, after a death too",
             no_seq_comes_again),
        EMPTY("G10 old events go in portions with later units", portions_go_with_later_units),
        EMPTY("G10 an event of the future holds up nothing",
              an_event_of_the_future_holds_up_nothing),
        CASE("G10 removed events come back with a rollback and go later",
             a_rollback_brings_them_back),
    };
    return cmocka_run_group_tests_name("store/sqlite_retention", tests, NULL, NULL);
}
