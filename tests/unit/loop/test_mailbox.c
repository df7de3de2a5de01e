/* SPDX-License-Identifier: MIT */
/* Mail between threads: nothing is lost or reordered, wake-ups are few, and a flood starves nobody.
 */
#include "loop/mailbox.h"
#include "loop/thread.h"
#include "loop/timer.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#include <event2/event.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define PRODUCERS 4
#define MAILS_EACH 100000

struct fixture {
    struct clock clock;
    struct loop *loop;
    struct mailbox *box;
    int ran;
    int next[PRODUCERS]; /* the number expected next from each */
    int64_t mail_takes_ns;
    bool reposts; /* every mail posts itself again */
};

struct letter {
    struct mail mail;
    struct fixture *f;
    int producer, number;
};

struct producer {
    struct fixture *f;
    struct letter *letters;
    int number;
};

static void on_letter(struct mail *m)
{
    struct letter *l = (struct letter *)(void *)m;
    struct fixture *f = l->f;
    assert_int_equal(l->number, f->next[l->producer]);
    f->next[l->producer]++;
    f->ran++;
    if (f->mail_takes_ns)
        clock_advance(&f->clock, f->mail_takes_ns);
    if (f->reposts) {
        f->next[l->producer] = 0;
        mailbox_post(f->box, m);
    }
}

static struct letter *make_letters(struct fixture *f, int producer, int count)
{
    struct letter *letters = calloc((size_t)count, sizeof(*letters));
    assert_non_null(letters);
    for (int i = 0; i < count; i++)
        letters[i] = (struct letter){{NULL, on_letter}, f, producer, i};
    return letters;
}

static void setup_box(struct fixture *f)
{
    f->loop = loop_new(&f->clock, NULL);
    assert_non_null(f->loop);
    f->box = mailbox_new(f->loop, NULL);
    assert_non_null(f->box);
}

static int setup_fake(void **state)
{
    static struct fixture f; /* cmocka hands over a pointer only */
    f = (struct fixture){0};
    clock_fake_init(&f.clock);
    setup_box(&f);
    *state = &f;
    return 0;
}

static int setup_real(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    clock_real_init(&f.clock);
    setup_box(&f);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    mailbox_free(f->box);
    loop_free(f->loop);
    return 0;
}

/* Posts all, one by one. */
static struct letter *post_letters(struct fixture *f, int count)
{
    struct letter *letters = make_letters(f, 0, count);
    for (int i = 0; i < count; i++)
        mailbox_post(f->box, &letters[i].mail);
    return letters;
}

static int turns_until_idle(struct fixture *f)
{
    int turns = 0;
    while (loop_turn(f->loop))
        turns++;
    return turns;
}

/* Wake-ups so far: the counter of the only eventfd of this process, which nobody reads. */
static int wakeups(void)
{
    for (int fd = 3; fd < 64; fd++) {
        char path[64], line[128];
        snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", fd);
        FILE *file = fopen(path, "r");
        if (!file)
            continue;
        unsigned count;
        bool found = false;
        while (!found && fgets(line, sizeof(line), file))
            found = sscanf(line, "eventfd-count: %x", &count) == 1;
        fclose(file);
        if (found)
            return (int)count;
    }
    fail_msg("no eventfd");
    return -1;
}

static void mails_run_in_order_of_posting(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = post_letters(f, 10);
    assert_int_equal(f->ran, 0);
    assert_int_equal(turns_until_idle(f), 1);
    assert_int_equal(f->ran, 10);
    free(letters);
}

static void a_batch_posted_at_once_keeps_its_order(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = make_letters(f, 0, 5);
    mailbox_post(f->box, &letters[0].mail);
    letters[1].mail.next = &letters[2].mail;
    letters[2].mail.next = &letters[3].mail;
    letters[3].mail.next = &letters[0].mail; /* behind the last nobody looks */
    mailbox_post_all(f->box, &letters[1].mail, &letters[3].mail);
    mailbox_post(f->box, &letters[4].mail);
    turns_until_idle(f);
    assert_int_equal(f->ran, 5);
    free(letters);
}

static void a_thousand_mails_are_one_wakeup(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = post_letters(f, 1000);
    assert_int_equal(wakeups(), 1);
    assert_int_equal(turns_until_idle(f), 16); /* of 64 */
    assert_int_equal(f->ran, 1000);
    assert_int_equal(wakeups(), 1);
    struct letter again = {{NULL, on_letter}, f, 0, 1000};
    mailbox_post(f->box, &again.mail);
    assert_int_equal(wakeups(), 2);
    turns_until_idle(f);
    assert_int_equal(f->ran, 1001);
    free(letters);
}

static void a_turn_runs_no_more_than_per_turn(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = post_letters(f, 100);
    loop_turn(f->loop);
    assert_int_equal(f->ran, 64);
    mailbox_set_per_turn(f->box, 10);
    loop_turn(f->loop);
    assert_int_equal(f->ran, 74);
    turns_until_idle(f);
    assert_int_equal(f->ran, 100);
    free(letters);
}

static void slow_mails_end_the_slice_after_two_milliseconds(void **state)
{
    struct fixture *f = *state;
    f->mail_takes_ns = NS_PER_MS / 2;
    struct letter *letters = post_letters(f, 20);
    loop_turn(f->loop);
    assert_int_equal(f->ran, 8);
    turns_until_idle(f);
    assert_int_equal(f->ran, 20);
    free(letters);
}

static void mail_posted_behind_the_rest_of_a_slice_stays_behind_it(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = make_letters(f, 0, 200);
    for (int i = 0; i < 100; i++)
        mailbox_post(f->box, &letters[i].mail);
    loop_turn(f->loop);
    for (int i = 100; i < 200; i++)
        mailbox_post(f->box, &letters[i].mail);
    turns_until_idle(f);
    assert_int_equal(f->ran, 200);
    free(letters);
}

static void on_free_self(struct mail *m)
{
    struct letter *l = (struct letter *)(void *)m;
    l->f->ran++;
    free(l);
}

static void a_mail_may_free_itself(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 3; i++) {
        struct letter *l = make_letters(f, 0, 1);
        l->mail.run = on_free_self;
        mailbox_post(f->box, &l->mail);
    }
    turns_until_idle(f);
    assert_int_equal(f->ran, 3);
}

static void freeing_the_mailbox_runs_no_mail(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = post_letters(f, 100);
    loop_turn(f->loop); /* leaves 36 taken but not run */
    struct letter more = {{NULL, on_letter}, f, 0, 100};
    mailbox_post(f->box, &more.mail);
    mailbox_free(f->box);
    f->box = NULL;
    loop_turn(f->loop);
    assert_int_equal(f->ran, 64);
    free(letters);
}

struct freeing_timer {
    struct loop_timer timer;
    struct fixture *f;
};

static void on_free_box(struct loop_timer *t)
{
    struct fixture *f = ((struct freeing_timer *)(void *)t)->f;
    mailbox_free(f->box);
    f->box = NULL;
}

static void freeing_the_mailbox_between_slices_takes_back_the_next(void **state)
{
    struct fixture *f = *state;
    struct letter *letters = post_letters(f, 100);
    struct freeing_timer timer = {{.fn = on_free_box}, f};
    loop_timer_start(f->loop, &timer.timer, loop_now_ns(f->loop));
    loop_turn(f->loop); /* a slice, the timer, and then the rest would be asked for */
    assert_null(f->box);
    assert_false(loop_turn(f->loop));
    assert_int_equal(f->ran, 64);
    free(letters);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    char byte;
    assert_int_equal(read(fd, &byte, 1), 1);
    ++*(int *)arg;
}

struct counting_timer {
    struct loop_timer timer;
    int fired;
};

static void on_count(struct loop_timer *t)
{
    ((struct counting_timer *)(void *)t)->fired++;
}

static void a_flood_starves_neither_sockets_nor_timers_nor_other_mailboxes(void **state)
{
    struct fixture *f = *state;
    struct fixture other = {.loop = f->loop, .clock = f->clock};
    other.box = mailbox_new(f->loop, NULL);
    int fds[2], read_count = 0;
    assert_int_equal(pipe(fds), 0);
    struct event *io = event_new(loop_base(f->loop), fds[0], EV_READ, on_readable, &read_count);
    event_add(io, NULL);
    f->reposts = true;
    struct letter flood = {{NULL, on_letter}, f, 0, 0};
    mailbox_post(f->box, &flood.mail);
    loop_turn(f->loop);
    assert_int_equal(f->ran, 1); /* posted again, it waits for the next turn */

    struct counting_timer timer = {{.fn = on_count}, 0};
    loop_timer_start(f->loop, &timer.timer, loop_now_ns(f->loop));
    struct letter *letter = post_letters(&other, 1);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_turn(f->loop);
    assert_int_equal(read_count, 1);
    assert_int_equal(timer.fired, 1);
    assert_int_equal(other.ran, 1);
    assert_int_equal(f->ran, 2);
    event_free(io);
    close(fds[0]);
    close(fds[1]);
    mailbox_free(other.box);
    free(letter);
}

static void a_backlog_lets_sockets_in_between_its_slices(void **state)
{
    struct fixture *f = *state;
    int fds[2], read_count = 0;
    assert_int_equal(pipe(fds), 0);
    struct event *io = event_new(loop_base(f->loop), fds[0], EV_READ, on_readable, &read_count);
    event_add(io, NULL);
    struct letter *letters = post_letters(f, 1000);
    loop_turn(f->loop);
    assert_int_equal(write(fds[1], "x", 1), 1);
    loop_turn(f->loop);
    assert_int_equal(read_count, 1);
    assert_int_equal(f->ran, 128);
    event_free(io);
    close(fds[0]);
    close(fds[1]);
    free(letters);
}

static void produce(void *arg)
{
    struct producer *p = arg;
    for (int i = 0; i < MAILS_EACH; i++)
        mailbox_post(p->f->box, &p->letters[i].mail);
}

static void on_last(struct mail *m)
{
    struct letter *l = (struct letter *)(void *)m;
    struct fixture *f = l->f;
    on_letter(m);
    if (f->ran == PRODUCERS * MAILS_EACH)
        loop_stop(f->loop);
}

static void mails_of_four_threads_all_arrive_each_thread_s_in_order(void **state)
{
    struct fixture *f = *state;
    struct producer producers[PRODUCERS];
    struct thread *threads[PRODUCERS];
    for (int p = 0; p < PRODUCERS; p++) {
        producers[p] = (struct producer){f, make_letters(f, p, MAILS_EACH), p};
        producers[p].letters[MAILS_EACH - 1].mail.run = on_last;
    }
    for (int p = 0; p < PRODUCERS; p++) {
        threads[p] = thread_start("producer", produce, &producers[p], NULL);
        assert_non_null(threads[p]);
    }
    loop_run(f->loop);
    for (int p = 0; p < PRODUCERS; p++) {
        thread_join(threads[p]);
        assert_int_equal(f->next[p], MAILS_EACH);
        free(producers[p].letters);
    }
}

struct ping {
    struct mail mail;
    struct loop *loop;
    struct ping *peer;
    struct mailbox *peer_box;
    int left;
};

/* Each mail is answered by one to the other loop: every hop needs a wake-up of a loop that waits.
 */
static void on_ping(struct mail *m)
{
    struct ping *p = (struct ping *)(void *)m;
    struct ping *peer = p->peer;
    int left = --p->left;
    mailbox_post(p->peer_box, &peer->mail);
    if (left == 0)
        loop_stop(p->loop);
}

static void run_loop(void *arg)
{
    loop_run(arg);
}

static void two_waiting_loops_wake_each_other_without_loss(void **state)
{
    struct fixture *f = *state;
    struct fixture g = {.clock = f->clock};
    setup_box(&g);
    struct ping a = {{NULL, on_ping}, f->loop, NULL, g.box, 20000};
    struct ping b = {{NULL, on_ping}, g.loop, &a, f->box, 20000};
    a.peer = &b;
    mailbox_post(f->box, &a.mail);
    struct thread *t = thread_start("pong", run_loop, g.loop, NULL);
    assert_non_null(t);
    loop_run(f->loop);
    thread_join(t);
    assert_int_equal(a.left, 0);
    assert_int_equal(b.left, 0);
    mailbox_free(g.box);
    loop_free(g.loop);
}

#define fake(test) cmocka_unit_test_setup_teardown(test, setup_fake, teardown)
#define real(test) cmocka_unit_test_setup_teardown(test, setup_real, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        fake(mails_run_in_order_of_posting),
        fake(a_batch_posted_at_once_keeps_its_order),
        fake(a_thousand_mails_are_one_wakeup),
        fake(a_turn_runs_no_more_than_per_turn),
        fake(slow_mails_end_the_slice_after_two_milliseconds),
        fake(mail_posted_behind_the_rest_of_a_slice_stays_behind_it),
        fake(a_mail_may_free_itself),
        fake(freeing_the_mailbox_runs_no_mail),
        fake(freeing_the_mailbox_between_slices_takes_back_the_next),
        fake(a_flood_starves_neither_sockets_nor_timers_nor_other_mailboxes),
        fake(a_backlog_lets_sockets_in_between_its_slices),
        real(mails_of_four_threads_all_arrive_each_thread_s_in_order),
        real(two_waiting_loops_wake_each_other_without_loss),
    };
    return cmocka_run_group_tests_name("loop/mailbox", tests, NULL, NULL);
}
