/* SPDX-License-Identifier: MIT */
/* The breaker's state machine: every transition, the edges of its thresholds, and what late results
 * may not do. The numbers are the invariants of core/breaker/README.md. */
#include "base/clock.h"
#include "breaker/breaker.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <string.h>

#define MS NS_PER_MS
#define START_NS (1000 * MS)

struct fixture {
    struct breaker b;
    int64_t now_ns;
};

/* Set up by the group. */
static struct breaker_conf small;

static int setup(void **state)
{
    small = breaker_conf_default();
    small.timeout_ms = 100;
    small.limit = 3;
    small.volume = 4;
    small.sleep_ms = 500;
    small.window_ms = 1000;
    static struct fixture f; /* cmocka hands over a pointer only */
    f.now_ns = START_NS;
    breaker_init(&f.b, &small, f.now_ns);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    breaker_assert(&f->b);
    return 0;
}

static void pass_ms(struct fixture *f, int64_t ms)
{
    f->now_ns += ms * MS;
}

static struct breaker_permit enter(struct fixture *f)
{
    struct breaker_permit permit;
    int64_t retry_ns;
    assert_int_equal(breaker_enter(&f->b, f->now_ns, NULL, &permit, &retry_ns), BREAKER_ADMITTED);
    return permit;
}

static bool leave(struct fixture *f, struct breaker_permit permit, enum breaker_outcome outcome)
{
    uint64_t epoch = f->b.epoch;
    breaker_leave(&f->b, f->now_ns, permit, outcome);
    breaker_assert(&f->b);
    return f->b.epoch != epoch;
}

static enum breaker_outcome outcome_of(char letter)
{
    switch (letter) {
    case 'S':
        return BREAKER_SUCCESS;
    case 'F':
        return BREAKER_FAILURE;
    case 'T':
        return BREAKER_TIMEOUT;
    default:
        assert_int_equal(letter, 'I');
        return BREAKER_IGNORED;
    }
}

/* One call after the other, one letter each. */
static void calls(struct fixture *f, const char *letters)
{
    for (; *letters; letters++)
        leave(f, enter(f), outcome_of(*letters));
}

static void assert_state(const struct fixture *f, enum breaker_state state)
{
    assert_string_equal(breaker_state_name(f->b.state), breaker_state_name(state));
}

static void assert_refused_open(struct fixture *f, int64_t want_retry_ns)
{
    struct breaker_permit permit = {0};
    int64_t retry_ns = -1;
    assert_int_equal(breaker_enter(&f->b, f->now_ns, NULL, &permit, &retry_ns),
                     BREAKER_REFUSED_OPEN);
    assert_int_equal(retry_ns, want_retry_ns);
    assert_int_equal(permit.epoch, 0);
}

static void assert_refused_limit(struct fixture *f)
{
    struct breaker_permit permit;
    int64_t retry_ns;
    assert_int_equal(breaker_enter(&f->b, f->now_ns, NULL, &permit, &retry_ns),
                     BREAKER_REFUSED_LIMIT);
}

struct counts {
    int64_t success, failure, timeout, ignored, refused_open, refused_limit;
    int64_t in_flight;
};

static struct counts counts(struct fixture *f)
{
    struct breaker_view v;
    breaker_view(&f->b, f->now_ns, &v);
    return (struct counts){
        .success = v.rolling[BREAKER_EVENT_SUCCESS],
        .failure = v.rolling[BREAKER_EVENT_FAILURE],
        .timeout = v.rolling[BREAKER_EVENT_TIMEOUT],
        .ignored = v.rolling[BREAKER_EVENT_IGNORED],
        .refused_open = v.rolling[BREAKER_EVENT_SHORT_CIRCUITED],
        .refused_limit = v.rolling[BREAKER_EVENT_REJECTED],
        .in_flight = v.in_flight,
    };
}

static struct breaker_health health(struct fixture *f)
{
    struct breaker_view v;
    breaker_view(&f->b, f->now_ns, &v);
    return v.health;
}

/* Trips it and waits until a trial may pass. */
static void make_ripe(struct fixture *f)
{
    calls(f, "FFFF");
    assert_state(f, BREAKER_OPEN);
    pass_ms(f, small.sleep_ms);
}

static void starts_closed_and_empty(void **state)
{
    struct fixture *f = *state;
    assert_state(f, BREAKER_CLOSED);
    struct counts c = counts(f);
    const struct counts none = {0};
    assert_memory_equal(&c, &none, sizeof(c));
}

static void closed_to_open_on_the_very_result_that_crosses(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    struct breaker_permit last = enter(f);
    assert_true(leave(f, last, BREAKER_FAILURE));
    assert_state(f, BREAKER_OPEN);
    assert_refused_open(f, 500 * MS);
}

static void closed_to_open_by_a_success_that_fills_the_volume(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    assert_true(leave(f, enter(f), BREAKER_SUCCESS));
    assert_state(f, BREAKER_OPEN);
}

static void closed_to_open_by_timeouts(void **state)
{
    struct fixture *f = *state;
    calls(f, "SSTT");
    assert_state(f, BREAKER_OPEN);
}

static void open_stays_open_until_the_sleep_is_over(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFFF");
    pass_ms(f, 499);
    f->now_ns += MS - 1;
    assert_refused_open(f, 1);
    assert_state(f, BREAKER_OPEN);
}

static void open_to_half_open_by_the_first_call_after_the_sleep(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    assert_state(f, BREAKER_OPEN); /* time alone changes nothing */
    struct breaker_permit trial = enter(f);
    assert_state(f, BREAKER_HALF_OPEN);
    assert_true(trial.trial);
    leave(f, trial, BREAKER_IGNORED);
}

static void half_open_admits_exactly_one_trial(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    struct breaker_permit trial = enter(f);
    assert_refused_open(f, 100 * MS);
    pass_ms(f, 10 * small.sleep_ms);
    assert_refused_open(f, 100 * MS);
    leave(f, trial, BREAKER_SUCCESS);
    assert_state(f, BREAKER_CLOSED); /* whoever was refused meanwhile */
}

static void half_open_to_closed_by_the_trial_s_success_with_an_empty_window(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    assert_true(leave(f, enter(f), BREAKER_SUCCESS));
    assert_state(f, BREAKER_CLOSED);
    struct counts c = counts(f);
    assert_int_equal(c.failure, 4); /* what is shown stays */
    assert_int_equal(c.success, 1);
    assert_int_equal(health(f).errors, 0);
    assert_int_equal(health(f).total, 1); /* the trial's own */
    assert_false(enter(f).trial);
}

static void half_open_to_open_by_the_trial_s_failure_with_a_new_sleep(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    struct breaker_permit trial = enter(f);
    pass_ms(f, 80);
    assert_true(leave(f, trial, BREAKER_FAILURE));
    assert_state(f, BREAKER_OPEN);
    assert_refused_open(f, 500 * MS); /* from the end of the trial */
}

static void half_open_to_open_by_the_trial_s_timeout(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    assert_true(leave(f, enter(f), BREAKER_TIMEOUT));
    assert_state(f, BREAKER_OPEN);
    pass_ms(f, 500);
    assert_true(leave(f, enter(f), BREAKER_SUCCESS));
    assert_state(f, BREAKER_CLOSED);
}

static void half_open_stays_when_the_trial_is_ignored_and_the_next_call_is_the_trial(void **state)
{
    struct fixture *f = *state;
    make_ripe(f);
    struct breaker_permit first = enter(f);
    assert_false(leave(f, first, BREAKER_IGNORED));
    assert_state(f, BREAKER_HALF_OPEN);
    struct breaker_permit second = enter(f);
    assert_true(second.trial);
    assert_refused_open(f, 100 * MS);
    assert_true(leave(f, second, BREAKER_SUCCESS));
    assert_state(f, BREAKER_CLOSED);
}

static void volume_minus_one_never_trips(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    assert_state(f, BREAKER_CLOSED);
}

static void the_percentage_trips_at_its_value_and_not_below(void **state)
{
    struct fixture *f = *state;
    calls(f, "SSSFF"); /* 2 of 5 = 40 */
    assert_state(f, BREAKER_CLOSED);
    calls(f, "F"); /* 3 of 6 = 50 */
    assert_state(f, BREAKER_OPEN);
}

static void the_percentage_is_truncated(void **state)
{
    struct fixture *f = *state;
    struct breaker_conf conf = small;
    conf.volume = 3;
    conf.error_percent = 67;
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "FFS"); /* 66.67 */
    assert_state(f, BREAKER_CLOSED);
    conf.error_percent = 66;
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "FSF");
    assert_state(f, BREAKER_OPEN);
}

static void one_hundred_percent_wants_every_call_to_fail(void **state)
{
    struct fixture *f = *state;
    struct breaker_conf conf = small;
    conf.error_percent = 100;
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "SFFFFFFFFF");
    assert_state(f, BREAKER_CLOSED);
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "FFFF");
    assert_state(f, BREAKER_OPEN);
}

static void ignored_results_count_for_nothing(void **state)
{
    struct fixture *f = *state;
    calls(f, "IIIIFFF"); /* 3 results: below the volume */
    assert_state(f, BREAKER_CLOSED);
    assert_int_equal(counts(f).ignored, 4);
    assert_false(leave(f, enter(f), BREAKER_IGNORED));
    calls(f, "F");
    assert_state(f, BREAKER_OPEN);
}

static void old_failures_age_out_of_the_window(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    pass_ms(f, 1000);
    assert_int_equal(counts(f).failure, 0);
    calls(f, "F");
    assert_state(f, BREAKER_CLOSED);
    assert_int_equal(counts(f).failure, 1);
}

static void failures_count_as_long_as_their_bucket_is_in_the_window(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    pass_ms(f, 999);
    assert_int_equal(counts(f).failure, 3);
    calls(f, "F");
    assert_state(f, BREAKER_OPEN);
}

static void the_window_slides_by_tenths(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 10; i++) {
        calls(f, "S");
        pass_ms(f, 100);
    }
    assert_int_equal(counts(f).success, 9); /* the first bucket has just left */
    for (int left = 8; left >= 0; left--) {
        pass_ms(f, 100);
        assert_int_equal(counts(f).success, left);
    }
}

static void a_bucket_s_place_is_reused_clean(void **state)
{
    struct fixture *f = *state;
    calls(f, "SSS");
    pass_ms(f, 1000); /* the same slot */
    calls(f, "S");
    assert_int_equal(counts(f).success, 1);
    pass_ms(f, 1000000);
    assert_int_equal(counts(f).success, 0);
}

static void a_clock_that_goes_back_loses_nothing_and_breaks_nothing(void **state)
{
    struct fixture *f = *state;
    pass_ms(f, 950);
    calls(f, "FF");
    pass_ms(f, -30); /* another thread's reading, one bucket earlier */
    calls(f, "F");
    assert_int_equal(counts(f).failure, 3);
    f->now_ns = 0; /* before the breaker was made */
    calls(f, "F");
    assert_state(f, BREAKER_OPEN);
    assert_int_equal(counts(f).failure, 4);
}

static void brk_3_late_success_does_not_close_an_open_breaker(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit late = enter(f);
    calls(f, "FFFF");
    assert_false(leave(f, late, BREAKER_SUCCESS));
    assert_state(f, BREAKER_OPEN);
}

static void brk_3_late_success_is_not_the_trial_s_verdict(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit late = enter(f);
    make_ripe(f);
    struct breaker_permit trial = enter(f);
    assert_false(leave(f, late, BREAKER_SUCCESS));
    assert_state(f, BREAKER_HALF_OPEN);
    assert_true(leave(f, trial, BREAKER_FAILURE));
    assert_state(f, BREAKER_OPEN);
}

static void brk_3_late_failure_is_not_the_trial_s_verdict(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit late = enter(f);
    make_ripe(f);
    struct breaker_permit trial = enter(f);
    assert_false(leave(f, late, BREAKER_FAILURE));
    assert_state(f, BREAKER_HALF_OPEN);
    assert_refused_open(f, 100 * MS); /* nor does it free the trial's place */
    assert_true(leave(f, trial, BREAKER_SUCCESS));
    assert_state(f, BREAKER_CLOSED);
}

static void brk_3_late_failures_do_not_trip_the_next_closed_state(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit late[2] = {enter(f), enter(f)};
    make_ripe(f);
    calls(f, "S"); /* the trial: 0 of 1 */
    calls(f, "SF");
    leave(f, late[0], BREAKER_FAILURE);
    leave(f, late[1], BREAKER_TIMEOUT);
    assert_state(f, BREAKER_CLOSED);
    assert_int_equal(health(f).errors, 1);
    assert_int_equal(health(f).total, 3);
    assert_int_equal(counts(f).timeout, 1); /* shown */
    assert_int_equal(counts(f).in_flight, 0);
}

static void brk_5_the_limit_refuses_one_more_and_a_leave_makes_room(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit held[3] = {enter(f), enter(f), enter(f)};
    assert_refused_limit(f);
    assert_int_equal(counts(f).in_flight, 3);
    leave(f, held[0], BREAKER_SUCCESS);
    held[0] = enter(f);
    assert_refused_limit(f);
    for (int i = 0; i < 3; i++)
        leave(f, held[i], BREAKER_SUCCESS);
    assert_int_equal(counts(f).in_flight, 0);
}

static void brk_5_refusals_by_the_limit_are_shown_and_never_trip(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit held[3] = {enter(f), enter(f), enter(f)};
    for (int i = 0; i < 100; i++)
        assert_refused_limit(f);
    assert_int_equal(counts(f).refused_limit, 100);
    for (int i = 0; i < 3; i++)
        leave(f, held[i], BREAKER_FAILURE); /* 3 of 3: below the volume */
    assert_state(f, BREAKER_CLOSED);
}

static void brk_5_calls_of_earlier_states_fill_the_limit_too(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit held[2] = {enter(f), enter(f)};
    make_ripe(f);
    leave(f, enter(f), BREAKER_SUCCESS);
    struct breaker_permit third = enter(f);
    assert_refused_limit(f);
    leave(f, held[0], BREAKER_SUCCESS);
    leave(f, third, BREAKER_SUCCESS);
    leave(f, held[1], BREAKER_SUCCESS);
}

static void brk_4_a_trial_refused_by_the_limit_leaves_the_trial_to_the_next(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit held[3] = {enter(f), enter(f), enter(f)};
    leave(f, held[2], BREAKER_IGNORED);
    make_ripe(f);
    held[2] = enter(f); /* the trial; now it is full */
    assert_refused_open(f, 100 * MS);
    leave(f, held[2], BREAKER_FAILURE);
    pass_ms(f, 500);
    struct breaker_conf conf = small;
    conf.limit = 2;
    breaker_set_conf(&f->b, &conf, f->now_ns);
    assert_refused_limit(f);
    assert_state(f, BREAKER_OPEN);
    leave(f, held[0], BREAKER_SUCCESS);
    struct breaker_permit trial = enter(f);
    assert_true(trial.trial);
    assert_true(leave(f, trial, BREAKER_SUCCESS));
    leave(f, held[1], BREAKER_SUCCESS);
}

static void refusals_while_open_are_shown(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFFF");
    for (int i = 0; i < 7; i++)
        assert_refused_open(f, 500 * MS);
    struct counts c = counts(f);
    assert_int_equal(c.refused_open, 7);
    assert_int_equal(c.failure, 4);
}

static void every_change_of_state_has_its_own_epoch(void **state)
{
    struct fixture *f = *state;
    uint64_t epoch = f->b.epoch;
    make_ripe(f);
    assert_int_equal(f->b.epoch, epoch + 1);
    struct breaker_permit trial = enter(f);
    assert_int_equal(trial.epoch, epoch + 2);
    leave(f, trial, BREAKER_SUCCESS);
    assert_int_equal(f->b.epoch, epoch + 3);
}

static void a_new_sleep_moves_the_end_of_a_running_open_period(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFFF");
    pass_ms(f, 50);
    struct breaker_conf conf = small;
    conf.sleep_ms = 100;
    breaker_set_conf(&f->b, &conf, f->now_ns);
    assert_refused_open(f, 50 * MS);
    assert_state(f, BREAKER_OPEN);
}

static void a_new_window_keeps_the_counts(void **state)
{
    struct fixture *f = *state;
    calls(f, "SFI");
    pass_ms(f, 500);
    calls(f, "F");
    struct breaker_permit held = enter(f);
    struct breaker_conf conf = small;
    conf.window_ms = 10000;
    breaker_set_conf(&f->b, &conf, f->now_ns);
    struct counts c = counts(f);
    assert_int_equal(c.success, 1);
    assert_int_equal(c.failure, 2);
    assert_int_equal(c.ignored, 1);
    assert_int_equal(c.in_flight, 1);
    assert_true(leave(f, held, BREAKER_TIMEOUT)); /* 3 of 4, so they still count */
    pass_ms(f, 10000);
    assert_int_equal(counts(f).failure, 0);
}

static void a_new_threshold_is_judged_with_the_next_result(void **state)
{
    struct fixture *f = *state;
    calls(f, "FFF");
    struct breaker_conf conf = small;
    conf.volume = 2;
    breaker_set_conf(&f->b, &conf, f->now_ns);
    assert_state(f, BREAKER_CLOSED);
    calls(f, "S");
    assert_state(f, BREAKER_OPEN);
}

static void hystrix_s_defaults_trip_at_ten_of_twenty(void **state)
{
    struct fixture *f = *state;
    struct breaker_conf conf = breaker_conf_default();
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "SSSSSSSSSSFFFFFFFFF");
    assert_state(f, BREAKER_CLOSED);
    calls(f, "F");
    assert_refused_open(f, 5000 * MS);
}

static void the_largest_conf_does_not_overflow(void **state)
{
    struct fixture *f = *state;
    struct breaker_conf conf = small;
    conf.timeout_ms = conf.limit = conf.sleep_ms = conf.window_ms = INT32_MAX;
    conf.volume = conf.error_percent = 1;
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "F");
    assert_refused_open(f, INT32_MAX * MS);
    f->now_ns += INT32_MAX * MS;
    struct breaker_permit trial = enter(f);
    assert_refused_open(f, INT32_MAX * MS);
    leave(f, trial, BREAKER_SUCCESS);
}

static void the_smallest_conf_works(void **state)
{
    struct fixture *f = *state;
    struct breaker_conf conf = small;
    conf.timeout_ms = conf.limit = conf.sleep_ms = conf.window_ms = 1;
    conf.volume = conf.error_percent = 1;
    breaker_init(&f->b, &conf, f->now_ns);
    calls(f, "S");
    struct breaker_permit held = enter(f);
    assert_refused_limit(f);
    leave(f, held, BREAKER_TIMEOUT);
    assert_state(f, BREAKER_OPEN); /* 1 of 2, 50 */
    pass_ms(f, 1);
    calls(f, "S");
    assert_state(f, BREAKER_CLOSED);
}

static void assert_bad_conf(struct breaker_conf conf, const char *option, const char *value)
{
    struct err err = {0};
    assert_int_equal(breaker_conf_check(&conf, &err), -1);
    assert_int_equal(err.code, ERR_CONFIG);
    assert_non_null(strstr(err.message, option));
    assert_non_null(strstr(err.message, value));
}

static struct breaker_conf with(size_t offset, int value)
{
    struct breaker_conf conf = small;
    memcpy((char *)&conf + offset, &value, sizeof(value));
    return conf;
}

static void a_bad_conf_is_refused_by_option_and_value(void **state)
{
    (void)state;
    assert_bad_conf(with(offsetof(struct breaker_conf, timeout_ms), 0), "timeout_ms", "0");
    assert_bad_conf(with(offsetof(struct breaker_conf, limit), -7), "limit", "-7");
    assert_bad_conf(with(offsetof(struct breaker_conf, volume), 0), "volume", "0");
    assert_bad_conf(with(offsetof(struct breaker_conf, error_percent), 0), "error_percent", "0");
    assert_bad_conf(with(offsetof(struct breaker_conf, error_percent), 101), "error_percent",
                    "101");
    assert_bad_conf(with(offsetof(struct breaker_conf, sleep_ms), -1), "sleep_ms", "-1");
    assert_bad_conf(with(offsetof(struct breaker_conf, window_ms), 0), "window_ms", "0");
    struct breaker_conf defaults = breaker_conf_default();
    assert_int_equal(breaker_conf_check(&small, NULL), 0);
    assert_int_equal(breaker_conf_check(&defaults, NULL), 0);
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(breaker_state_name(BREAKER_CLOSED), "closed");
    assert_string_equal(breaker_state_name(BREAKER_OPEN), "open");
    assert_string_equal(breaker_state_name(BREAKER_HALF_OPEN), "half_open");
}

/* Many random runs; breaker_assert after each step, and nothing in flight at the end. */
static void random_calls_keep_the_invariants(void **state)
{
    struct fixture *f = *state;
    struct breaker_permit held[3];
    int count = 0, admitted[3] = {0};
    uint64_t seed = 7;
    for (int i = 0; i < 200000; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        unsigned dice = (unsigned)(seed >> 40);
        pass_ms(f, dice % 17 == 0 ? -20 : (int64_t)(dice % 40));
        int64_t retry_ns = 1;
        if (count > 0 && dice % 2)
            leave(f, held[--count], (enum breaker_outcome)(dice / 2 % 6));
        else
            switch (
                breaker_enter(&f->b, f->now_ns, NULL, &held[count < 3 ? count : 2], &retry_ns)) {
            case BREAKER_ADMITTED:
                admitted[f->b.state]++;
                count++;
                break;
            case BREAKER_REFUSED_LIMIT:
                assert_int_equal(count, 3);
                break;
            case BREAKER_REFUSED_OPEN:
                assert_true(retry_ns >= 1);
                break;
            case BREAKER_REFUSED_QUEUE:
            case BREAKER_QUEUED:
                fail();
            }
        assert_int_equal(counts(f).in_flight, count);
    }
    assert_true(admitted[BREAKER_CLOSED] > 100 && admitted[BREAKER_HALF_OPEN] > 100);
    while (count > 0)
        leave(f, held[--count], BREAKER_IGNORED);
    assert_int_equal(counts(f).in_flight, 0);
}

#define with_breaker(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_breaker(starts_closed_and_empty),
        with_breaker(closed_to_open_on_the_very_result_that_crosses),
        with_breaker(closed_to_open_by_a_success_that_fills_the_volume),
        with_breaker(closed_to_open_by_timeouts),
        with_breaker(open_stays_open_until_the_sleep_is_over),
        with_breaker(open_to_half_open_by_the_first_call_after_the_sleep),
        with_breaker(half_open_admits_exactly_one_trial),
        with_breaker(half_open_to_closed_by_the_trial_s_success_with_an_empty_window),
        with_breaker(half_open_to_open_by_the_trial_s_failure_with_a_new_sleep),
        with_breaker(half_open_to_open_by_the_trial_s_timeout),
        with_breaker(half_open_stays_when_the_trial_is_ignored_and_the_next_call_is_the_trial),
        with_breaker(volume_minus_one_never_trips),
        with_breaker(the_percentage_trips_at_its_value_and_not_below),
        with_breaker(the_percentage_is_truncated),
        with_breaker(one_hundred_percent_wants_every_call_to_fail),
        with_breaker(ignored_results_count_for_nothing),
        with_breaker(old_failures_age_out_of_the_window),
        with_breaker(failures_count_as_long_as_their_bucket_is_in_the_window),
        with_breaker(the_window_slides_by_tenths),
        with_breaker(a_bucket_s_place_is_reused_clean),
        with_breaker(a_clock_that_goes_back_loses_nothing_and_breaks_nothing),
        with_breaker(brk_3_late_success_does_not_close_an_open_breaker),
        with_breaker(brk_3_late_success_is_not_the_trial_s_verdict),
        with_breaker(brk_3_late_failure_is_not_the_trial_s_verdict),
        with_breaker(brk_3_late_failures_do_not_trip_the_next_closed_state),
        with_breaker(brk_5_the_limit_refuses_one_more_and_a_leave_makes_room),
        with_breaker(brk_5_refusals_by_the_limit_are_shown_and_never_trip),
        with_breaker(brk_5_calls_of_earlier_states_fill_the_limit_too),
        with_breaker(brk_4_a_trial_refused_by_the_limit_leaves_the_trial_to_the_next),
        with_breaker(refusals_while_open_are_shown),
        with_breaker(every_change_of_state_has_its_own_epoch),
        with_breaker(a_new_sleep_moves_the_end_of_a_running_open_period),
        with_breaker(a_new_window_keeps_the_counts),
        with_breaker(a_new_threshold_is_judged_with_the_next_result),
        with_breaker(hystrix_s_defaults_trip_at_ten_of_twenty),
        with_breaker(the_largest_conf_does_not_overflow),
        with_breaker(the_smallest_conf_works),
        with_breaker(random_calls_keep_the_invariants),
        cmocka_unit_test(a_bad_conf_is_refused_by_option_and_value),
        cmocka_unit_test(states_have_names),
    };
    return cmocka_run_group_tests_name("breaker/breaker", tests, NULL, NULL);
}
