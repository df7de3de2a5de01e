/* SPDX-License-Identifier: MIT */
/* Random settings and steps, taken by the breaker and by a model of it. The seeds are always the
 * same; tests/fuzz/fuzz_breaker.c looks for others. */
#include "model.h"

/* cmocka.h wants the others before it */
/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

#define SEEDS 3000
#define STEPS 400

static void BREAKER_9_it_does_what_a_slow_and_obvious_model_does(void **state)
{
    (void)state;
    uint8_t bytes[2 * STEPS + 32];
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        uint64_t random = seed * UINT64_C(0x9E3779B97F4A7C15);
        for (size_t i = 0; i < sizeof(bytes); i++) {
            random = random * 6364136223846793005u + 1442695040888963407u;
            bytes[i] = (uint8_t)(random >> 56);
        }
        const char *wrong = model_run(bytes, sizeof(bytes));
        if (wrong != NULL)
            fail_msg("seed %llu: %s", (unsigned long long)seed, wrong);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(BREAKER_9_it_does_what_a_slow_and_obvious_model_does),
    };
    return cmocka_run_group_tests_name("breaker/model", tests, NULL, NULL);
}
