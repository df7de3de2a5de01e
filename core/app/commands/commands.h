/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/config.h"

/* The command line. Exit codes: 0 ok, 1 failed, 2 usage, 3 check or test found problems, 4 not
 * reachable, 78 bad configuration. */
enum exit_code {
    EXIT_OK = 0,
    EXIT_FAILED = 1,
    EXIT_USAGE = 2,
    EXIT_PROBLEMS = 3,
    EXIT_UNREACHABLE = 4,
    EXIT_CONFIG = 78
};

/* `moontide run` (app.c): runs until a signal ends it; returns the exit code. */
int app_run(const struct config *config);
/* `moontide check` (app_check.c): loads and verifies, touches nothing. */
int app_check(const struct config *config);
/* `moontide test [PATH]` (app_test.c). */
int app_test(int argc, char **argv);
/* Dispatches argv[1]: run, test, events, letters, version, help, ... Returns the exit code. */
int commands_main(int argc, char **argv);
