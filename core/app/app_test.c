/* SPDX-License-Identifier: MIT */
#include "app/commands.h"

#include <stdio.h>

int app_test(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    fprintf(stderr, "moontide: no specs\n");
    return EXIT_FAILED;
}
