/* SPDX-License-Identifier: MIT */
/* Policies that are views: they begin at the first event of the log, and reading it all keeps
 * neither the other policies of their service nor requests waiting. */
#include "generations.h"

enum { SHIP, VIEW, BOTH = 1 << SHIP | 1 << VIEW };

static void only_ship(struct world *w)
{
    generation_first(w, 1 << SHIP);
}

static void open_with_ship(struct world *w)
{
    add_policy(w, "delivery", "ship", 1 << PLACED);
    add_policy(w, "delivery", "view pages", 1 << PLACED | 1 << PAID)->view = true;
    w->before_bus = only_ship;
    world_open(w);
}

static void emit_some(struct world *w, int count)
{
    for (int i = 0; i < count; i++)
        emit_new(w, PLACED, i % 7);
    settle(w);
}

static void a_view_begins_at_the_first_event(void **state)
{
    struct world *w = *state;
    open_with_ship(w);
    emit_some(w, 1500);
    generation_switch(w, BOTH);
    emit_some(w, 20);
    assert_once_by_policy(w, 0);
    w->before_bus = first_generation;
    restart(w);
    emit_some(w, 20);
    assert_once_by_policy(w, 0);
}

static void a_view_without_a_switch_begins_there_too(void **state)
{
    struct world *w = *state;
    add_policy(w, "delivery", "ship", 1 << PLACED);
    world_open(w);
    for (int i = 0; i < 30; i++)
        emit(w, PLACED, i % 7);
    settle(w);
    add_policy(w, "delivery", "view pages", 1 << PLACED)->view = true;
    restart(w);
    settle(w);
    assert_int_equal(count_effects(w, VIEW, 0), 30);
    assert_int_equal(count_effects(w, SHIP, 0), 30);
}

static enum outcome keep_views(struct world *w, const struct bus_delivery *d)
{
    return d->policy->view && w->kept_count < KEPT ? KEEP : SUCCEED;
}

static void a_view_that_reads_the_log_keeps_nobody_waiting(void **state)
{
    struct world *w = *state;
    w->conf.max_outstanding = 64;
    open_with_ship(w);
    emit_some(w, 1500);
    w->decide = keep_views;
    generation_switch(w, BOTH);
    settle(w);
    assert_int_equal(w->kept_count, 7); /* one a key */
    assert_true(bus_has_room(w->bus));
    size_t before = count_effects(w, SHIP, 0);
    emit_some(w, 20);
    assert_int_equal(count_effects(w, SHIP, 0), before + 20);
    assert_true(bus_has_room(w->bus));
    w->decide = NULL;
    while (w->kept_count > 0)
        end_well(w, w->kept[--w->kept_count]);
    settle(w);
    assert_once_by_policy(w, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE("SHOP-3d a view begins at the first event of the log, once each, over a restart",
             a_view_begins_at_the_first_event),
        CASE("SHOP-3d a view that is there from the start begins there too",
             a_view_without_a_switch_begins_there_too),
        CASE("SHOP-3h a view that reads the log keeps neither its service nor requests waiting",
             a_view_that_reads_the_log_keeps_nobody_waiting),
    };
    return cmocka_run_group_tests_name("bus/view", tests, NULL, NULL);
}
