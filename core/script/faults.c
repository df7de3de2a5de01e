/* SPDX-License-Identifier: MIT */
/* The table of faults is read by every call of every worker and written by an operator a few times
 * a day: an atomic flag answers the usual question ("none at all") without the lock. */
#include "script/faults.h"

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define DELAY_MAX_MS 3600000.0 /* an hour: longer than any caller's timeout */

struct fault {
    struct str service;
    int64_t low_ns, high_ns; /* of the delay */
    double error_rate;       /* 0..1 */
};

struct table {
    struct arena *arena;
    struct fault *items;
    size_t count;
    struct str text; /* as it was set */
};

struct faults {
    atomic_bool any;
    pthread_mutex_t lock; /* guards what follows */
    struct table table;
    uint64_t random;
};

static bool number_of(const struct json *j, double *ret)
{
    if (j->type != JSON_INT && j->type != JSON_NUMBER)
        return false;
    *ret = j->type == JSON_INT ? (double)j->i : j->n;
    return true;
}

static int read_delay(struct fault *f, const struct json *j, struct err *err)
{
    double low, high;
    bool pair = j->type == JSON_LIST && j->count == 2;
    bool legal =
        pair ? number_of(&j->items[0], &low) && number_of(&j->items[1], &high) : number_of(j, &low);
    if (legal && !pair)
        high = low;
    if (!legal || !(low >= 0 && low <= high && high <= DELAY_MAX_MS))
        return err_set(
            err, ERR_INVALID,
            "%.*s.delay_ms: expected a number of milliseconds or [low, high], up to %.0f",
            STR_ARG(f->service), DELAY_MAX_MS);
    f->low_ns = (int64_t)(low * (double)NS_PER_MS);
    f->high_ns = (int64_t)(high * (double)NS_PER_MS);
    return 0;
}

static int read_rate(struct fault *f, const struct json *j, struct err *err)
{
    double rate;
    if (!number_of(j, &rate) || !(rate >= 0 && rate <= 1))
        return err_set(err, ERR_INVALID, "%.*s.error_rate: expected a number from 0 to 1",
                       STR_ARG(f->service));
    f->error_rate = rate;
    return 0;
}

static int refuse_name(struct err *err, struct str where, struct str name, struct str nearest)
{
    if (nearest.n == 0)
        return err_set(err, ERR_INVALID, "unknown %.*s \"%.*s\"", STR_ARG(where), STR_ARG(name));
    return err_set(err, ERR_INVALID, "unknown %.*s \"%.*s\"; did you mean \"%.*s\"?",
                   STR_ARG(where), STR_ARG(name), STR_ARG(nearest));
}

static int read_members(struct fault *f, const struct json *j, struct err *err)
{
    const struct str known[] = {STR("delay_ms"), STR("error_rate")};
    if (j->type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "%.*s: expected an object with delay_ms and error_rate",
                       STR_ARG(f->service));
    for (size_t i = 0; i < j->count; i++) {
        int failed;
        if (str_eq(j->names[i], known[0]))
            failed = read_delay(f, &j->items[i], err);
        else if (str_eq(j->names[i], known[1]))
            failed = read_rate(f, &j->items[i], err);
        else {
            refuse_name(err, STR("member"), j->names[i], str_nearest(j->names[i], known, 2));
            return err_wrap(err, "%.*s", STR_ARG(f->service));
        }
        if (failed)
            return -1;
    }
    return 0;
}

static bool is_service(struct str name, const struct str *services, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (str_eq(name, services[i]))
            return true;
    }
    return false;
}

static int read_table(struct table *t, const struct json *j, const struct str *services,
                      size_t count, struct err *err)
{
    if (j->type != JSON_OBJECT)
        return err_set(err, ERR_INVALID, "expected an object of services");
    t->items = arena_zalloc(t->arena, (j->count + 1) * sizeof(*t->items));
    for (size_t i = 0; i < j->count; i++) {
        struct fault *f = &t->items[t->count++];
        f->service = arena_str(t->arena, j->names[i]);
        if (!is_service(f->service, services, count))
            return refuse_name(err, STR("service"), f->service,
                               str_nearest(f->service, services, count));
        if (read_members(f, &j->items[i], err))
            return -1;
    }
    struct buf text = BUF_INIT;
    json_write(&text, j);
    t->text = arena_str(t->arena, buf_str(&text));
    buf_deinit(&text);
    return 0;
}

static void replace_table(struct faults *f, struct table next)
{
    pthread_mutex_lock(&f->lock);
    struct table old = f->table;
    f->table = next;
    atomic_store(&f->any, next.count > 0);
    pthread_mutex_unlock(&f->lock);
    arena_free(old.arena);
}

/* xorshift64*: 0 <= result < 1. Under the lock. */
static double next_random(struct faults *f)
{
    uint64_t x = f->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    f->random = x;
    return (double)((x * UINT64_C(0x2545F4914F6CDD1D)) >> 11) / 9007199254740992.0; /* 2^53 */
}

static bool roll_one(struct faults *f, const struct fault *fault, struct faults_roll *ret)
{
    struct faults_roll roll = {fault->low_ns, false};
    if (fault->high_ns > fault->low_ns)
        roll.delay_ns += (int64_t)(next_random(f) * (double)(fault->high_ns - fault->low_ns + 1));
    roll.fail = fault->error_rate > 0 && next_random(f) < fault->error_rate;
    if (roll.delay_ns == 0 && !roll.fail)
        return false;
    *ret = roll;
    return true;
}

struct faults *faults_new(void)
{
    struct faults *f = xcalloc(1, sizeof(*f));
    pthread_mutex_init(&f->lock, NULL);
    file_random(&f->random, sizeof(f->random));
    f->random |= 1; /* the generator never leaves zero */
    return f;
}

void faults_free(struct faults *f)
{
    if (!f)
        return;
    arena_free(f->table.arena);
    pthread_mutex_destroy(&f->lock);
    free(f);
}

int faults_set(struct faults *f, const struct json *table, const struct str *services, size_t count,
               struct err *err)
{
    struct table next = {.arena = arena_new(0)};
    if (read_table(&next, table, services, count, err)) {
        arena_free(next.arena);
        return -1;
    }
    replace_table(f, next);
    return 0;
}

void faults_clear(struct faults *f)
{
    replace_table(f, (struct table){0});
}

void faults_write(struct faults *f, struct buf *out)
{
    pthread_mutex_lock(&f->lock);
    if (f->table.count > 0)
        buf_adds(out, f->table.text);
    else
        buf_lit(out, "{}");
    pthread_mutex_unlock(&f->lock);
}

bool faults_roll(struct faults *f, struct str service, struct faults_roll *ret)
{
    bool rolled = false;
    if (!atomic_load_explicit(&f->any, memory_order_relaxed))
        return false;
    pthread_mutex_lock(&f->lock);
    for (size_t i = 0; i < f->table.count; i++) {
        if (!str_eq(f->table.items[i].service, service))
            continue;
        rolled = roll_one(f, &f->table.items[i], ret);
        break;
    }
    pthread_mutex_unlock(&f->lock);
    return rolled;
}
