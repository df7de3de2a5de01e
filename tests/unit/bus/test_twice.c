/* SPDX-License-Identifier: MIT */
/* Every delivery comes twice (a fault point makes it so): effects do not. */
#include "world.h"

static enum outcome fail_first_tries(struct world *w, const struct bus_delivery *d)
{
    (void)w;
    return d->tries < 3 && d->event->seq % 5 == 0 ? FAIL : SUCCEED;
}

static void a_delivery_that_comes_twice_has_one_effect(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "note", 1 << PLACED | 1 << PAID);
    world_open(w);
    settle(w);
    for (int i = 0; i < 300; i++) {
        emit(w, i % TYPES, i % 11);
        if (i % 20 == 0)
            settle(w);
    }
    settle(w);
    assert_once_in_order(w, 0);
    assert_int_equal(count_runs(w, 1, 1), 1);
    assert_int_equal(bus_outstanding(w->bus), 0);
    assert_int_equal(w->bus->set_count, 0);
}

static void held_and_letters_too(void **state)
{
    struct world *w = *state;
    w->decide = fail_first_tries;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    settle(w);
    for (int i = 0; i < 60; i++)
        emit(w, PLACED, i % 4);
    advance(w, 600 * 1000);
    assert_once_in_order(w, 0);
    assert_int_equal(count_runs(w, 0, 5), 3);
    assert_int_equal(bus_outstanding(w->bus), 0);
    restart(w);
    settle(w);
    assert_once_in_order(w, 0);
}

int main(void)
{
    setenv("MOONTIDE_FAULT", "bus.twice=fail@*", 1);
    const struct CMUnitTest tests[] = {
        CASE("G3 a delivery that comes twice has one effect",
             a_delivery_that_comes_twice_has_one_effect),
        CASE("G3 a held event that comes twice has one effect", held_and_letters_too),
    };
    return cmocka_run_group_tests_name("bus/twice", tests, NULL, NULL);
}
