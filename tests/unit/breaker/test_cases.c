/* SPDX-License-Identifier: MIT */
/* Cases of Hystrix' suites and of probes of Hystrix, by their numbers, as rows of steps. Where
 * Hystrix is late or wrong the row says what is sensible: with its thresholds the circuit opens on
 * the very result that crosses them, so that some rows are shorter than Hystrix' own. */
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

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Steps, each by what it begins with:
 *   S F T B I C     a call that ends so (success, failure, timeout, bad request, ignored,
 *                   cancelled); S60: after 60 ms
 *   X L P           a call that is refused: open, by the limit, by the queue
 *   +a -aS          call a begins; ends
 *   qa >a <a        call a waits in the queue; got a place; was refused after all
 *   ga Ga           it gives up; because it has waited too long
 *   w250            250 ms pass
 *   :limit=4        a setting changes
 *   c o h           the state is closed, open, half-open
 *   ! _             callers meet an open circuit, a closed one
 *   H4/8 %50 W1     health: 4 errors of 8; error percentage; slow ones
 *   N1 M3           in flight now; at most at once in the window
 *   Y4 A20 Z4       latencies of bodies counted, their mean; those of whole calls counted
 *   t500 R400       the time that the last call had; when the last refused one may come again
 *   Q400 K1         what is left of the sleep; sleeps since it was closed, but the first
 *   f( f) fS fF fM fD  a fallback begins; is rejected; ends well; fails; is missing; is disabled
 *   r( r) r.        a retry begins; has no place; ends
 *   NAME=2 ^NAME=2  events in the window; ever
 *   25*F            25 times */
struct row {
    const char *name;
    const char *settings; /* beside those of the row's base */
    const char *steps;
    const struct setting *base;
};

struct setting {
    const char *name;
    int value;
};

/* Hystrix' test commands, as far as they go here; its volume of 0 is refused, so 1. */
static const struct setting cb[] = {{"timeout_ms", 500},     {"error_percent", 40},
                                    {"volume", 1},           {"sleep_ms", 200},
                                    {"window_ms", 5000},     {"window_buckets", 5},
                                    {"limit", 20},           {"fallback_limit", 10},
                                    {"latency_buckets", 12}, {NULL, 0}};
static const struct setting st[] = {{"timeout_ms", 600},   {"error_percent", 50},
                                    {"volume", 3},         {"sleep_ms", 5000},
                                    {"window_ms", 1000},   {"window_buckets", 10},
                                    {"limit", 10},         {"fallback_limit", 5},
                                    {"count_rejected", 1}, {NULL, 0}};
static const struct setting probe[] = {{"volume", 4}, {"sleep_ms", 400}, {NULL, 0}};

static const struct row rows[] = {
    {"BREAKER-9 case 1 testTripCircuit", "", "S S S S c F F c F o H3/7 %42 X", cb},
    {"BREAKER-9 case 2 testTripCircuitOnFailuresAboveThreshold", "", "S60 S F S c F o %40 X", cb},
    {"BREAKER-9 case 4 testTripCircuitOnTimeouts", "volume=4", "T T T c T o X", cb},
    {"BREAKER-9 case 5 testTripCircuitOnTimeoutsAboveThreshold", "", "S S T S c T o %40 X", cb},
    {"BREAKER-9 case 7 testCircuitClosedAfterSuccess", "sleep_ms=100 volume=4",
     "F F F T o w150 o ! +a h ! X w60 -aS c _ S S S N0", cb},
    {"BREAKER-9 case 8 testMultipleTimeWindowRetriesBeforeClosingCircuit", "volume=4",
     "F F F T o w250 +a X X w60 -aF o X w199 X w1 +a X -aF o X w250 +a X -aS c S", cb},
    {"BREAKER-9 case 10 testUnsubscriptionDoesNotLeaveCircuitStuckHalfOpen", "volume=4",
     "F F F F o w250 +a h -aC h w2000 S c S", cb},
    {"BREAKER-9 case 11 testSuccessClosesCircuitWhenBusy", "volume=20",
     "200*S c 134*F o 100*X w200 S40 c 600*S c %0", cb},
    {"BREAKER-9 case 13 testCircuitBreakerTripsAfterFailures", "volume=3", "F F c F o X", cb},
    {"BREAKER-9 case 14 testCircuitBreakerReportsOpenIfForcedOpen", "force_open=true",
     "X f( fS ! c N0 SUCCESS=0 FALLBACK_SUCCESS=1", cb},
    {"BREAKER-9 case 16 testExecutionSuccessWithCircuitBreakerDisabled", "enabled=false",
     "S S 20*F c S SUCCESS=3 FAILURE=20 %86 S c", cb},
    {"BREAKER-9 case 17 testShortCircuitFallbackCounter", "force_open=true",
     "X f( fS X f( fS SHORT_CIRCUITED=2 FALLBACK_SUCCESS=2 TIMEOUT=0 Y0 Z0", cb},

    {"BREAKER-9 case 19 testEmptyStreamProducesZeros", "", "H0/0 %0", st},
    {"BREAKER-9 case 20 testSingleSuccess", "", "S20 H0/1", st},
    {"BREAKER-9 case 22 testSingleTimeout", "", "T600 f( fS H1/1", st},
    {"BREAKER-9 case 23 testSingleBadRequest", "", "B H0/0 BAD_REQUEST=1", st},
    {"BREAKER-9 case 25 testShortCircuited", "",
     "F f( fS F f( fS F f( fS w500 X X H3/3 SHORT_CIRCUITED=2", st},
    {"BREAKER-9 case 26 testSemaphoreRejected", "enabled=false",
     "+a +b +c +d +e +f +g +h +i +j L L -aS -bS -cS -dS -eS -fS -gS -hS -iS -jS H2/12 N0", st},
    {"BREAKER-9 case 28 testFallbackFailure", "", "F f( fF H1/1", st},
    {"BREAKER-9 case 29 testFallbackMissing", "", "F fM H1/1", st},
    {"BREAKER-9 case 31 testMultipleEventsOverTimeGetStoredAndAgeOut", "",
     "S20 F10 H1/2 w3000 H0/0", st},
    {"BREAKER-9 case 32 testGetErrorPercentage", "volume=20",
     "S %0 F %50 S S %25 T T %50 S S S S60 %30 c", cb},
    {"BREAKER-9 case 34 testCurrentConcurrentExecutionCount", "",
     "+a +b +c +d +e +f +g +h N8 w900 -aS -bS -cS -dS -eS -fS -gS -hS N0", cb},

    {"BREAKER-9 case 35 testSingleFailure", "", "F f( fS FAILURE=1 FALLBACK_SUCCESS=1", st},
    {"BREAKER-9 case 37 testSingleBadRequest", "", "B BAD_REQUEST=1 EXCEPTION_THROWN=1", st},
    {"BREAKER-9 case 40 testSemaphoreRejected", "enabled=false",
     "+a +b +c +d +e +f +g +h +i +j L f( fS L f( fS -aS -bS -cS -dS -eS -fS -gS -hS -iS -jS "
     "SUCCESS=10 SEMAPHORE_REJECTED=2 FALLBACK_SUCCESS=2",
     st},
    {"BREAKER-9 case 41 testThreadPoolRejected", "enabled=false limit=9 queue=1",
     "+a +b +c +d +e +f +g +h +i qj P f( fS P f( fS -aS >j -bS -cS -dS -eS -fS -gS -hS -iS -jS "
     "SUCCESS=10 THREAD_POOL_REJECTED=2 FALLBACK_SUCCESS=2 SEMAPHORE_REJECTED=0",
     st},
    {"BREAKER-9 case 43 testFallbackMissing", "",
     "F fM FAILURE=1 FALLBACK_MISSING=1 EXCEPTION_THROWN=1", st},
    {"BREAKER-9 case 44 testFallbackRejection", "enabled=false",
     "F f( F f( F f( F f( F f( F f) F f) fS fS fS fS fS "
     "FAILURE=7 FALLBACK_SUCCESS=5 FALLBACK_REJECTION=2 EXCEPTION_THROWN=2",
     st},
    {"BREAKER-9 case 46 testMultipleEventsOverTimeGetStoredAndAgeOut (rolling)", "",
     "S20 F10 SUCCESS=1 FAILURE=1 w3000 SUCCESS=0 FAILURE=0", st},
    {"BREAKER-9 case 47 testMultipleEventsOverTimeGetStoredAndNeverAgeOut (cumulative)", "",
     "S20 F10 w3000 ^SUCCESS=1 ^FAILURE=1", st},
    {"BREAKER-9 case 49 testResetBuckets/testEmptyBucketsFillIn", "window_ms=200",
     "S SUCCESS=1 w60 S SUCCESS=2 w139 SUCCESS=2 w1 SUCCESS=1 w60 SUCCESS=0", st},
    {"BREAKER-9 case 50 testIncrementInMultipleBuckets", "window_ms=200 volume=6 sleep_ms=60",
     "S S S S F F T T o X w60 S c S F F F T o X "
     "SUCCESS=6 FAILURE=5 TIMEOUT=3 SHORT_CIRCUITED=2 "
     "w200 S SUCCESS=1 FAILURE=0 TIMEOUT=0 SHORT_CIRCUITED=0",
     st},

    {"BREAKER-9 case 52 testStartsAndEndsInSameBucketProduceValue", "", "+a +b w50 -aS -bS M2", st},
    {"BREAKER-9 case 53 testOneCommandCarriesOverToNextBucket", "",
     "+a w100 +b +c w10 -bS -cS w50 -aS M3", st},
    {"BREAKER-9 case 57 testConcurrencyStreamProperlyFiltersOutShortCircuits", "", "F F F 20*X M1",
     st},
    {"BREAKER-9 case 58 testConcurrencyStreamProperlyFiltersOutSemaphoreRejections", "",
     "+a +b +c +d +e +f +g +h +i +j L L -aS -bS -cS -dS -eS -fS -gS -hS -iS -jS M10", st},
    {"BREAKER-9 case 59 testConcurrencyStreamProperlyFiltersOutThreadPoolRejections", "queue=1",
     "+a +b +c +d +e +f +g +h +i +j qk P P gk -aS -bS -cS -dS -eS -fS -gS -hS -iS -jS M10", st},
    {"BREAKER-9 case 61 testShortCircuitedCommandDoesNotGetLatencyTracked", "", "F F F X X Y3", st},
    {"BREAKER-9 case 62 testThreadPoolRejectedCommandDoesNotGetLatencyTracked",
     "enabled=false limit=1 queue=1", "+a qb P P -aS >b -bS 8*S Y10", st},
    {"BREAKER-9 case 63 testSemaphoreRejectedCommandDoesNotGetLatencyTracked",
     "enabled=false limit=2", "+a +b L L -aS -bS 8*S Y10", st},
    {"BREAKER-9 case 65 testMultipleBucketsBothGetStoredAndThenAgeOut", "latency_ms=1000",
     "S10 S100 Y2 w1100 Y0", st},

    {"BREAKER-9 case 104 testCancelledTasksInQueueGetRemoved", "limit=1 queue=1",
     "+a qb gb CANCELLED=1 qc gc -aS N0", cb},
    {"BREAKER-9 case 109 testRejectedExecutionSemaphoreWithFallback", "limit=1",
     "+a L f( fS -aS SUCCESS=1 SEMAPHORE_REJECTED=1 FALLBACK_SUCCESS=1 c", cb},
    {"BREAKER-9 case 110 testSemaphorePermitsInUse", "limit=3", "+a +b +c L L L N3 -aS -bS -cS N0",
     cb},
    {"BREAKER-9 case 112 testFallbackSemaphore", "fallback_limit=1 volume=20",
     "F f( F f) fS FAILURE=2 FALLBACK_SUCCESS=1 FALLBACK_REJECTION=1", cb},
    {"BREAKER-9 case 113 testRejectedThreadWithFallback", "limit=1 queue=1",
     "+a qb P f( fS -aS >b -bS SUCCESS=2 THREAD_POOL_REJECTED=1 FALLBACK_SUCCESS=1", cb},
    {"BREAKER-9 case 113 testRejectedThreadWithFallbackFailure", "limit=1 queue=1",
     "+a qb P f( fF -aS >b -bS SUCCESS=2 THREAD_POOL_REJECTED=1 FALLBACK_FAILURE=1 "
     "EXCEPTION_THROWN=1",
     cb},
    {"BREAKER-9 case 113 testRejectedThreadWithNoFallback", "limit=1 queue=1",
     "+a qb P fM -aS >b -bS SUCCESS=2 THREAD_POOL_REJECTED=1 FALLBACK_MISSING=1 "
     "EXCEPTION_THROWN=1",
     cb},

    {"BREAKER-9 case P1 a bad request as trial passes the trial on", "", "F F F F o w400 B h S c",
     probe},
    {"BREAKER-9 case P2 a call refused while the trial runs changes nothing", "",
     "F F F F w400 +a X X R1000 -aS c", probe},
    {"BREAKER-9 case P3 own refusals do not open it", "limit=1",
     "+a 5*L c -aS c SEMAPHORE_REJECTED=5", probe},
    {"BREAKER-9 case P3 own refusals open it when they are to count", "limit=1 count_rejected=true",
     "+a L L L c L o -aS o w400 S c", probe},
    {"BREAKER-9 case P3 a trial that is refused by the limit costs nothing",
     "limit=1 count_rejected=true",
     "+a L L L L o w400 L o L o -aS o S c SEMAPHORE_REJECTED=6 SHORT_CIRCUITED=0", probe},
    {"BREAKER-9 case P4 a success from before the trip leaves it open", "",
     "+a F F F F o -aS o SUCCESS=1 X", probe},
    {"BREAKER-9 case P5 a late success is not the trial's", "",
     "+a F F F F o w400 +t -aS h X -tF o", probe},
    {"BREAKER-9 case P5b a late failure is not the trial's", "",
     "+a F F F F o w400 +t -aF h X -tS c", probe},
    {"BREAKER-9 case P6 it trips on the call that crosses", "volume=20", "19*F c F o X", probe},
    {"BREAKER-9 case P7 2 of 4, volume 4, 50 %: open", "", "S S F c F o", probe},
    {"BREAKER-9 case P7 4 failed, volume 5: closed", "volume=5", "F F F F c F o", probe},
    {"BREAKER-9 case P7 2 of 3, 67 %: closed, for 66.67 is 66", "volume=3 error_percent=67",
     "F F S c %66", probe},
    {"BREAKER-9 case P12 the next trial is a sleep after the end of the last", "",
     "F F F F w400 +a w200 -aT o w399 X w1 S c", probe},
    {"BREAKER-9 case P12 and with a factor the sleep grows to its maximum",
     "sleep_factor=2 sleep_max_ms=1000",
     "F F F F w399 X R1 w1 F R0 w799 X w1 F w999 X w1 F K3 w999 X w1 S c K0 F F F o w399 X w1 S c",
     probe},
    {"BREAKER-9 case P13 forced closed: callers pass, the computed state goes on",
     "force_closed=true", "F F F F o _ F S S o w400 S c SHORT_CIRCUITED=0", probe},

    {"BREAKER-1c half-open with 5 trials of which 3 must succeed", "trials=5 trial_percent=60",
     "F F F F w400 S h S h F h S c", probe},
    {"BREAKER-1c half-open gives up as soon as the rate cannot be met", "trials=5 trial_percent=60",
     "F F F F w400 F h F h S h F o X", probe},
    {"BREAKER-1c trials at once are limited", "trials=5 trial_limit=2",
     "F F F F w400 +a +b X -aS +c X -bS -cS S h S c", probe},
    {"BREAKER-1c no more trials are on their way than verdicts are wanted",
     "trials=3 trial_limit=3", "F F F F w400 S h +a +b X -aS h X -bS c", probe},
    {"BREAKER-1c a share of the trials is rounded up", "trials=3 trial_percent=50",
     "F F F F w400 S h S c", probe},
    {"BREAKER-1c a trial without a verdict is not one of the five", "trials=2",
     "F F F F w400 S h I h C h B h S c", probe},
    {"BREAKER-1c half-open for longer than its time opens again", "trial_max_ms=1000",
     "F F F F w400 +a h w999 X h w1 X o -aS o w400 S c", probe},
    {"BREAKER-1e a refusal says when to come again", "timeout_ms=700",
     "F F F F o X R400 w150 X R250 w250 +a X R700 -aF o X R400", probe},
    {"BREAKER-1e also when forced, which goes before forced closed",
     "force_open=true force_closed=true", "X ! R400 SHORT_CIRCUITED=1", probe},
    {"BREAKER-2a refusals by the limit count in the closed state only",
     "limit=1 count_rejected=true trials=5 trial_limit=5", "F F F F w400 +a 9*L h -aS h 4*S c",
     probe},
    {"BREAKER-2b a count window forgets by calls, not by time",
     "window=count window_calls=5 volume=5",
     "F F S S w100000 H2/4 S c H2/5 S H1/5 F H1/5 F c H2/5 F o", probe},
    {"BREAKER-2b another length begins anew", "window=count window_calls=10",
     "7*S H0/7 :window_calls=5 H0/0 F S S H1/3 S S H1/5 S H0/5", probe},
    {"BREAKER-2c so many in a row", "window=consecutive volume=3",
     "F H1/1 F S H0/1 F F c T o w400 S c F F c", probe},
    {"BREAKER-2d slow calls open it at their own volume",
     "slow_ms=100 slow_percent=50 slow_volume=4 volume=100",
     "S99 S99 S100 c S100 o SLOW=2 w400 S99 c", probe},
    {"BREAKER-2d at that of all results, if they have none of their own",
     "slow_ms=100 slow_percent=50", "S100 S100 S100 c S100 o", probe},
    {"BREAKER-2d and at their own percentage", "slow_ms=100 slow_percent=75",
     "S100 S100 S99 S99 c S100 S100 S100 W5 c S100 o", probe},
    {"BREAKER-2d slow calls leave the window, by time", "slow_ms=100",
     "S100 B200 C200 I200 W1 SLOW=1 w10000 W0", probe},
    {"BREAKER-2d and by number", "slow_ms=100 window=count window_calls=4",
     "S100 S S S W1 S W0 S100 W1 c", probe},
    {"BREAKER-2d a slow trial does not close it", "slow_ms=100 slow_percent=50",
     "F F F F w400 S100 o w400 S99 c", probe},
    {"BREAKER-3b a freed place goes to who waits longest", "limit=1 queue=2",
     "+a qb qc P -aS >b N1 -bF >c -cS N0", probe},
    {"BREAKER-3b who waits when it opens is refused", "limit=1 queue=2 volume=1",
     "+a qb qc -aF o <b <c N0", probe},
    {"BREAKER-3b also when it is opened by one that found no place",
     "limit=1 queue=1 count_rejected=true", "+a qb P P P c P o <b -aS N0", probe},
    {"BREAKER-3b also when the trials took too long",
     "limit=2 queue=1 trials=5 trial_limit=5 trial_max_ms=1000",
     "F F F F w400 +a +b qc w999 N2 w1 X <c o -aS -bS N0", probe},
    {"BREAKER-3b waiting is a part of the call", "limit=1 queue=1 slow_ms=100",
     "+a qb w90 -aS >b w20 -bS SLOW=1 Y2 A100", probe},
    {"BREAKER-3b who has waited too long is refused, not cancelled", "limit=1 queue=1",
     "+a qb Gb THREAD_POOL_REJECTED=1 CANCELLED=0 qc gc CANCELLED=1 -aS N0", probe},
};

static const struct row more_rows[] = {
    {"BREAKER-4a the time of a call is the setting's", "timeout_ms=700",
     "S t700 :timeout_ms=300 S t300", probe},
    {"BREAKER-4a without a timeout it has none", "timeout_enabled=false", "S t0", probe},
    {"BREAKER-5a what fell back is one call: a latency of its body, one of the whole", "",
     "S10 F20 f( w70 fS Y2 A15 Z2", probe},
    {"BREAKER-5a a failed fallback is an error for its caller", "",
     "F f( fF FALLBACK_FAILURE=1 EXCEPTION_THROWN=1 Z1", probe},
    {"BREAKER-6d who waits for a place counts in the budget of retries",
     "limit=1 queue=3 retry_percent=50 retry_min=0",
     "+a r) qb qc qd r( r( r) RETRY=2 r. r( RETRY=3 r. r. gb gc gd -aS", probe},
    {"BREAKER-7a a new sleep holds for a circuit that is open", "",
     "F F F F w100 :sleep_ms=200 w99 X R1 w1 S c", probe},
    {"BREAKER-7a disabled it closes, and enabled it begins anew", "window=consecutive volume=3",
     "F F F o Q400 :enabled=false c Q0 :enabled=true F F c F o", probe},
    {"BREAKER-7a another window takes over what is in the old one", "",
     "F F F w10000 :window_ms=20000 H0/0 F F S w500 :window_ms=5000 H2/3 w5000 H0/0 c", probe},
    {"BREAKER-7a another window of latencies begins anew", "",
     "S Y1 :latency_ms=1000 Y0 S Y1 w1000 Y0", probe},
    {"BREAKER-7a an adaptive limit begins anew with another one", "limit_mode=aimd limit=2",
     "+a +b L :limit=4 +c +d L -aS -bS -cS -dS", probe},
    {"BREAKER-8c the most at once is kept while its bucket is in the window", "",
     "+a +b +c -cS -bS +d M3 -aS -dS w999 M3 w1 M0", st},
    {"BREAKER-8c a clock that goes back makes no negative latency", "", "+a w-10 -aS Y1 A0", st},
};

static void parse_settings(struct breaker_layer *l, const char *text)
{
    char copy[200], *save = NULL;
    snprintf(copy, sizeof(copy), "%s", text);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
        char *equals = strchr(word, '=');
        struct err err = {0};
        struct json value = {.type = JSON_TEXT, .s = str_from(equals + 1)};
        struct str name = {word, (size_t)(equals - word)};
        if (breaker_layer_set(l, name, &value, &err) != 0)
            fail_msg("%s", err.message);
    }
}

struct run {
    struct breaker b;
    int64_t now_ns;
    struct breaker_permit held[128];   /* by letter */
    struct breaker_waiter waiter[128]; /* likewise */
    bool woken[128];
    int64_t started_ns; /* of the last call; 0: it was refused */
    int timeout_ms;     /* of the last call that was not */
    int64_t retry_ns;   /* of the last that was */
    const char *row, *step;
};

static struct run *current; /* for the callback */

static void was_woken(struct breaker_waiter *w)
{
    current->woken[w - current->waiter] = true;
}

static void expect_int(const struct run *r, const char *what, int64_t is, int64_t want)
{
    if (is != want)
        fail_msg("%s: at \"%s\": %s is %lld", r->row, r->step, what, (long long)is);
}

static enum breaker_outcome outcome_of(char letter)
{
    static const char letters[] = "SFTBIC";
    const char *at = strchr(letters, letter);
    assert_non_null(at);
    return (enum breaker_outcome)(at - letters);
}

static struct breaker_view view(struct run *r)
{
    struct breaker_view v;
    breaker_view(&r->b, r->now_ns, &v);
    return v;
}

static enum breaker_verdict try_enter(struct run *r, int letter)
{
    struct breaker_waiter *w = letter != 0 ? &r->waiter[letter] : NULL;
    if (w != NULL)
        *w = (struct breaker_waiter){.woken = was_woken};
    r->retry_ns = 0;
    enum breaker_verdict v = breaker_enter(&r->b, r->now_ns, w, &r->held[letter], &r->retry_ns);
    r->started_ns = v == BREAKER_ADMITTED ? r->held[letter].started_ns : 0;
    r->timeout_ms = v == BREAKER_ADMITTED ? r->held[letter].timeout_ms : r->timeout_ms;
    return v;
}

static void call(struct run *r, const char *step)
{
    expect_int(r, "the verdict", try_enter(r, 0), BREAKER_ADMITTED);
    r->now_ns += atoi(step + 1) * NS_PER_MS;
    breaker_leave(&r->b, r->now_ns, r->held[0], outcome_of(step[0]));
}

static void refused(struct run *r, char kind)
{
    enum breaker_verdict want = kind == 'X'   ? BREAKER_REFUSED_OPEN
                                : kind == 'L' ? BREAKER_REFUSED_LIMIT
                                              : BREAKER_REFUSED_QUEUE;
    bool queue = kind == 'P';
    expect_int(r, "the verdict", try_enter(r, queue ? 1 : 0), want);
}

static void queued(struct run *r, const char *step)
{
    int a = step[1];
    switch (step[0]) {
    case 'q':
        r->woken[a] = false;
        expect_int(r, "the verdict", try_enter(r, a), BREAKER_QUEUED);
        return;
    case 'g':
    case 'G':
        expect_int(r, "giving up", breaker_give_up(&r->b, r->now_ns, &r->waiter[a], step[0] == 'G'),
                   true);
        return;
    default:
        expect_int(r, "woken", r->woken[a], true);
        expect_int(r, "the verdict", r->waiter[a].verdict,
                   step[0] == '>' ? BREAKER_ADMITTED : BREAKER_REFUSED_OPEN);
        r->held[a] = r->waiter[a].permit;
    }
}

static void fallback(struct run *r, char what)
{
    switch (what) {
    case '(':
    case ')':
        expect_int(r, "the fallback", breaker_fallback_enter(&r->b, r->now_ns), what == '(');
        return;
    case 'S':
    case 'F':
        breaker_fallback_leave(&r->b, r->now_ns, r->started_ns,
                               what == 'S' ? BREAKER_EVENT_FALLBACK_SUCCESS
                                           : BREAKER_EVENT_FALLBACK_FAILURE);
        return;
    case 'M':
        breaker_thrown(&r->b, r->now_ns, r->started_ns, BREAKER_EVENT_FALLBACK_MISSING);
        return;
    default:
        breaker_thrown(&r->b, r->now_ns, r->started_ns, BREAKER_EVENT_FALLBACK_DISABLED);
    }
}

static void expect_event(struct run *r, const char *step, const char *equals)
{
    bool ever = step[0] == '^';
    const char *name = step + ever;
    struct breaker_view v = view(r);
    for (int e = 0; e < BREAKER_EVENT_COUNT; e++) {
        const char *known = breaker_event_name((enum breaker_event)e);
        if (strlen(known) == (size_t)(equals - name) &&
            strncmp(known, name, (size_t)(equals - name)) == 0) {
            expect_int(r, "the count", ever ? (int64_t)v.total[e] : v.rolling[e], atoi(equals + 1));
            return;
        }
    }
    fail_msg("%s: \"%s\" is no event", r->row, step);
}

static void retry(struct run *r, char what)
{
    if (what == '.')
        breaker_retry_leave(&r->b);
    else
        expect_int(r, "the retry", breaker_retry_enter(&r->b, r->now_ns), what == '(');
}

static void change(struct run *r, const char *setting)
{
    struct breaker_layer l = {0};
    struct breaker_conf conf = r->b.conf;
    parse_settings(&l, setting);
    breaker_layer_apply(&l, &conf);
    assert_int_equal(breaker_conf_check(&conf, NULL), 0);
    breaker_set_conf(&r->b, &conf, r->now_ns);
}

static void expect_health(struct run *r, const char *step)
{
    struct breaker_view v = view(r);
    expect_int(r, "errors", v.health.errors, atoi(step + 1));
    expect_int(r, "total", v.health.total, atoi(strchr(step, '/') + 1));
}

static void expect_state(struct run *r, char letter)
{
    struct breaker_view v = view(r);
    if (letter == '!' || letter == '_') {
        expect_int(r, "is_open", v.is_open, letter == '!');
        return;
    }
    expect_int(r, "the state", v.state,
               letter == 'c'   ? BREAKER_CLOSED
               : letter == 'o' ? BREAKER_OPEN
                               : BREAKER_HALF_OPEN);
}

static void expect_number(struct run *r, const char *step)
{
    struct breaker_view v = view(r);
    struct breaker_latency_view latency, total;
    breaker_latencies(&r->b, r->now_ns, &latency, &total);
    const struct {
        char letter;
        int64_t is;
    } numbers[] = {{'N', v.in_flight},
                   {'M', v.max_in_flight},
                   {'%', v.error_percent},
                   {'W', v.health.slow},
                   {'Y', latency.count},
                   {'A', latency.mean_ns / NS_PER_MS},
                   {'Z', total.count},
                   {'t', r->timeout_ms},
                   {'R', r->retry_ns / NS_PER_MS},
                   {'Q', v.retry_ns / NS_PER_MS},
                   {'K', v.failed_trials}};
    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        if (numbers[i].letter == step[0]) {
            expect_int(r, "it", numbers[i].is, atoi(step + 1));
            return;
        }
    }
    fail_msg("%s: \"%s\" is no step", r->row, step);
}

static void take_step(struct run *r, const char *step)
{
    const char *equals = strchr(step, '=');
    r->step = step;
    if (step[0] == ':')
        change(r, step + 1);
    else if (equals != NULL)
        expect_event(r, step, equals);
    else if (strchr("SFTBIC", step[0]) != NULL)
        call(r, step);
    else if (strchr("XLP", step[0]) != NULL)
        refused(r, step[0]);
    else if (step[0] == '+')
        expect_int(r, "the verdict", try_enter(r, step[1]), BREAKER_ADMITTED);
    else if (step[0] == '-')
        breaker_leave(&r->b, r->now_ns, r->held[(int)step[1]], outcome_of(step[2]));
    else if (strchr("q><gG", step[0]) != NULL)
        queued(r, step);
    else if (step[0] == 'w')
        r->now_ns += atoi(step + 1) * NS_PER_MS;
    else if (step[0] == 'f')
        fallback(r, step[1]);
    else if (step[0] == 'r')
        retry(r, step[1]);
    else if (step[0] == 'H')
        expect_health(r, step);
    else if (strchr("coh!_", step[0]) != NULL)
        expect_state(r, step[0]);
    else
        expect_number(r, step);
    breaker_assert(&r->b);
}

static void run_row(void **state)
{
    const struct row *row = *state;
    struct breaker_layer l = {0};
    struct breaker_conf conf = breaker_conf_default();
    static struct run one;
    struct run *r = &one;
    char copy[400], *save = NULL;
    for (const struct setting *s = row->base; s->name != NULL; s++) {
        char text[80];
        bool flag = strcmp(s->name, "count_rejected") == 0;
        snprintf(text, sizeof(text), flag ? "%s=true" : "%s=%d", s->name, s->value);
        parse_settings(&l, text);
    }
    parse_settings(&l, row->settings);
    breaker_layer_apply(&l, &conf);
    assert_int_equal(breaker_conf_check(&conf, NULL), 0);
    *r = (struct run){0};
    current = r;
    r->row = row->name;
    r->now_ns = NS_PER_S;
    breaker_init(&r->b, &conf, r->now_ns);
    snprintf(copy, sizeof(copy), "%s", row->steps);
    for (char *step = strtok_r(copy, " ", &save); step; step = strtok_r(NULL, " ", &save)) {
        char *times = strchr(step, '*');
        for (int n = times ? atoi(step) : 1; n > 0; n--)
            take_step(r, times ? times + 1 : step);
    }
    assert_int_equal(r->b.in_flight, 0);
    assert_int_equal(r->b.fallbacks_in_flight, 0);
    assert_int_equal(r->b.waiting, 0);
}

static void BREAKER_9_case_P10_a_configuration_that_opens_on_a_success_is_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"volume=0",
                                        "error_percent=0",
                                        "timeout_ms=0",
                                        "limit=0",
                                        "sleep_ms=0",
                                        "trials=0",
                                        "window_ms=0",
                                        "slow_ms=1000",
                                        "sleep_factor=0.5",
                                        "trial_limit=2",
                                        "queue_ms=2000",
                                        "window_calls=0",
                                        "error_percent=101",
                                        "window=count volume=101",
                                        "sleep_factor=2 sleep_max_ms=10",
                                        "limit_mode=aimd limit=300",
                                        "window=consecutive slow_ms=10",
                                        "volume=0 error_percent=0",
                                        "limit=1.5",
                                        "window_calls=1001",
                                        "window_buckets=61",
                                        "latency_buckets=13",
                                        "execution.isolation.strategy=THREAD"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
        struct breaker_conf conf = breaker_conf_default();
        char copy[80], *save = NULL;
        bool refused_it = false;
        snprintf(copy, sizeof(copy), "%s", wrong[i]);
        for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
            char *equals = strchr(word, '=');
            struct breaker_layer l = {0};
            struct err err = {0};
            struct json value = {.type = JSON_TEXT, .s = str_from(equals + 1)};
            struct str name = {word, (size_t)(equals - word)};
            refused_it |= breaker_layer_set(&l, name, &value, &err) != 0;
            breaker_layer_apply(&l, &conf);
        }
        if (!refused_it && breaker_conf_check(&conf, NULL) == 0)
            fail_msg("%s was taken", wrong[i]);
    }
}

/* Jitter only lengthens, and is not always the same. */
static void BREAKER_1d_jitter_lengthens_the_sleep_by_chance(void **state)
{
    (void)state;
    struct breaker_conf conf = breaker_conf_default();
    conf.volume = 1;
    conf.sleep_ms = 1000;
    conf.sleep_jitter_percent = 50;
    int64_t shortest = INT64_MAX, longest = 0;
    struct breaker *b = calloc(1, sizeof(*b));
    int64_t now_ns = NS_PER_S;
    breaker_init(b, &conf, now_ns);
    for (int i = 0; i < 200; i++) {
        struct breaker_permit permit;
        int64_t retry_ns;
        assert_int_equal(breaker_enter(b, now_ns, NULL, &permit, &retry_ns), BREAKER_ADMITTED);
        breaker_leave(b, now_ns, permit, BREAKER_FAILURE);
        assert_int_equal(breaker_enter(b, now_ns, NULL, &permit, &retry_ns), BREAKER_REFUSED_OPEN);
        shortest = retry_ns < shortest ? retry_ns : shortest;
        longest = retry_ns > longest ? retry_ns : longest;
        now_ns += retry_ns;
    }
    assert_true(shortest >= 1000 * NS_PER_MS && shortest < 1100 * NS_PER_MS);
    assert_true(longest <= 1500 * NS_PER_MS && longest > 1400 * NS_PER_MS);
    free(b);
}

/* A callee that takes `room` calls at once without getting slower; how far does the limit go? */
static int settle_at(enum breaker_limit_mode mode, int room)
{
    struct breaker_conf conf = breaker_conf_default();
    struct breaker_permit held[200];
    struct breaker *b = calloc(1, sizeof(*b));
    int64_t now_ns = NS_PER_S;
    conf.limit_mode = mode;
    conf.enabled = 0;
    breaker_init(b, &conf, now_ns);
    for (int round = 0; round < 2000; round++) {
        int n = 0;
        int64_t retry_ns;
        while (n < 200 && breaker_enter(b, now_ns, NULL, &held[n], &retry_ns) == BREAKER_ADMITTED)
            n++;
        now_ns += n <= room ? 10 * NS_PER_MS : n * 10 * NS_PER_MS / room;
        for (int i = 0; i < n; i++)
            breaker_leave(b, now_ns, held[i],
                          mode == BREAKER_LIMIT_AIMD && i >= room ? BREAKER_TIMEOUT
                                                                  : BREAKER_SUCCESS);
    }
    int limit = (int)b->adapt.limit;
    free(b);
    return limit;
}

static void BREAKER_3d_an_adaptive_limit_finds_the_room_of_the_callee(void **state)
{
    (void)state;
    assert_in_range(settle_at(BREAKER_LIMIT_AIMD, 40), 20, 80);
    assert_in_range(settle_at(BREAKER_LIMIT_AIMD, 4), 2, 8);
    assert_in_range(settle_at(BREAKER_LIMIT_GRADIENT, 4), 2, 16);
    assert_in_range(settle_at(BREAKER_LIMIT_GRADIENT, 100), 80, 160);
}

static void BREAKER_3a_the_limit_changes_while_calls_are_under_way(void **state)
{
    (void)state;
    struct breaker_conf conf = breaker_conf_default();
    struct breaker_permit held[3];
    struct run *r = calloc(1, sizeof(*r));
    struct breaker *b = &r->b;
    int64_t retry_ns;
    current = r;
    conf.limit = 2;
    conf.queue = 2;
    breaker_init(b, &conf, NS_PER_S);
    for (int i = 0; i < 2; i++)
        assert_int_equal(breaker_enter(b, NS_PER_S, NULL, &held[i], &retry_ns), BREAKER_ADMITTED);
    r->waiter[1].woken = was_woken;
    assert_int_equal(breaker_enter(b, NS_PER_S, &r->waiter[1], &held[2], &retry_ns),
                     BREAKER_QUEUED);
    conf.limit = 3;
    breaker_set_conf(b, &conf, NS_PER_S);
    assert_true(r->woken[1]);
    conf.limit = 1;
    breaker_set_conf(b, &conf, NS_PER_S);
    assert_int_equal(b->in_flight, 3); /* nobody is thrown out */
    assert_int_equal(breaker_enter(b, NS_PER_S, NULL, &held[2], &retry_ns), BREAKER_REFUSED_QUEUE);
    breaker_leave(b, NS_PER_S, held[0], BREAKER_SUCCESS);
    breaker_leave(b, NS_PER_S, held[1], BREAKER_SUCCESS);
    breaker_leave(b, NS_PER_S, r->waiter[1].permit, BREAKER_SUCCESS);
    assert_int_equal(b->in_flight, 0);
    free(r);
}

static void BREAKER_6d_retries_are_a_fifth_of_the_calls_and_three_at_least(void **state)
{
    (void)state;
    struct breaker_conf conf = breaker_conf_default();
    struct breaker *b = calloc(1, sizeof(*b));
    struct breaker_permit permit;
    int64_t retry_ns;
    conf.limit = 100;
    breaker_init(b, &conf, NS_PER_S);
    for (int i = 0; i < 3; i++)
        assert_true(breaker_retry_enter(b, NS_PER_S));
    assert_false(breaker_retry_enter(b, NS_PER_S));
    for (int i = 0; i < 20; i++)
        breaker_enter(b, NS_PER_S, NULL, &permit, &retry_ns);
    assert_true(breaker_retry_enter(b, NS_PER_S)); /* the fourth, of twenty */
    assert_false(breaker_retry_enter(b, NS_PER_S));
    breaker_retry_leave(b);
    assert_true(breaker_retry_enter(b, NS_PER_S));
    free(b);
}

static void BREAKER_8c_percentiles_are_within_a_tenth(void **state)
{
    (void)state;
    struct breaker_latency *l = calloc(1, sizeof(*l));
    struct breaker_latency_view v;
    breaker_latency_start(l, 60000, 6, NS_PER_S);
    for (int ms = 1; ms <= 1000; ms++)
        breaker_latency_add(l, NS_PER_S, ms * NS_PER_MS);
    breaker_latency_view(l, NULL, NS_PER_S, &v);
    assert_int_equal(v.count, 1000);
    assert_int_equal(v.mean_ns, 500500000);
    assert_in_range(v.percentile_ns[2], 450 * NS_PER_MS, 550 * NS_PER_MS);
    assert_in_range(v.percentile_ns[6], 900 * NS_PER_MS, 1000 * NS_PER_MS);
    assert_int_equal(v.percentile_ns[8], 1000 * NS_PER_MS);
    assert_true(v.percentile_ns[0] <= 2 * NS_PER_MS);
    breaker_latency_view(l, NULL, 62 * NS_PER_S, &v);
    assert_int_equal(v.count, 0);
    free(l);
}

/* So many of 200 are quick as the percentile says; one less, and it is a slow one. */
static void BREAKER_8c_a_percentile_is_the_least_value_that_so_many_do_not_exceed(void **state)
{
    (void)state;
    struct breaker_latency *l = calloc(1, sizeof(*l));
    struct breaker_latency_view v;
    for (int i = 1; i < BREAKER_PERCENTILES - 1; i++) {
        int quick = (int)(strtod(breaker_percentile_names[i], NULL) * 2);
        for (int less = 0; less <= 1; less++) {
            breaker_latency_start(l, 60000, 6, NS_PER_S);
            for (int n = 0; n < 200; n++)
                breaker_latency_add(l, NS_PER_S, n < quick - less ? NS_PER_MS : NS_PER_S);
            breaker_latency_view(l, NULL, NS_PER_S, &v);
            assert_in_range(v.percentile_ns[i], (less ? NS_PER_S : NS_PER_MS) * 9 / 10,
                            less ? NS_PER_S : NS_PER_MS * 11 / 10);
        }
    }
    free(l);
}

/* `n` calls at once, all ending so, again and again; where is the limit then? */
static int limit_after(enum breaker_limit_mode mode, int n, enum breaker_outcome outcome)
{
    struct breaker_conf conf = breaker_conf_default();
    struct breaker_permit held[10];
    struct breaker *b = calloc(1, sizeof(*b));
    int64_t now_ns = NS_PER_S, retry_ns;
    conf.limit_mode = mode;
    conf.limit_min = 6;
    conf.limit_max = 14;
    conf.enabled = 0;
    breaker_init(b, &conf, now_ns);
    for (int round = 0; round < 400; round++) {
        int at_once = 0;
        while (at_once < n &&
               breaker_enter(b, now_ns, NULL, &held[at_once], &retry_ns) == BREAKER_ADMITTED)
            at_once++;
        now_ns += 10 * NS_PER_MS;
        for (int i = 0; i < at_once; i++)
            breaker_leave(b, now_ns, held[i], outcome);
    }
    int limit = (int)b->adapt.limit;
    free(b);
    return limit;
}

static void
BREAKER_3d_an_adaptive_limit_stays_within_its_bounds_and_where_it_is_unused(void **state)
{
    (void)state;
    const enum breaker_limit_mode modes[] = {BREAKER_LIMIT_AIMD, BREAKER_LIMIT_GRADIENT};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(limit_after(modes[i], 10, BREAKER_TIMEOUT), 6);
        assert_int_equal(limit_after(modes[i], 10, BREAKER_SUCCESS), 14);
        assert_int_equal(limit_after(modes[i], 2, BREAKER_SUCCESS), 10);
        assert_int_equal(limit_after(modes[i], 10, BREAKER_BAD_REQUEST), 10); /* says nothing */
    }
}

#define ROWS (sizeof(rows) / sizeof(*rows))
#define MORE_ROWS (sizeof(more_rows) / sizeof(*more_rows))
#define EXTRA 8

int main(void)
{
    struct CMUnitTest tests[ROWS + MORE_ROWS + EXTRA] = {
        cmocka_unit_test(BREAKER_9_case_P10_a_configuration_that_opens_on_a_success_is_refused),
        cmocka_unit_test(BREAKER_1d_jitter_lengthens_the_sleep_by_chance),
        cmocka_unit_test(BREAKER_3a_the_limit_changes_while_calls_are_under_way),
        cmocka_unit_test(BREAKER_3d_an_adaptive_limit_finds_the_room_of_the_callee),
        cmocka_unit_test(BREAKER_6d_retries_are_a_fifth_of_the_calls_and_three_at_least),
        cmocka_unit_test(BREAKER_8c_percentiles_are_within_a_tenth),
        cmocka_unit_test(BREAKER_8c_a_percentile_is_the_least_value_that_so_many_do_not_exceed),
        cmocka_unit_test(
            BREAKER_3d_an_adaptive_limit_stays_within_its_bounds_and_where_it_is_unused),
    };
    size_t n = EXTRA;
    for (size_t i = 0; i < ROWS + MORE_ROWS; i++) {
        const struct row *row = i < ROWS ? &rows[i] : &more_rows[i - ROWS];
        tests[n++] = (struct CMUnitTest){row->name, run_row, NULL, NULL, (void *)(uintptr_t)row};
    }
    return _cmocka_run_group_tests("breaker/cases", tests, n, NULL, NULL);
}
