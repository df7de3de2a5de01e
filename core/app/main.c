/* SPDX-License-Identifier: MIT */
/* The program. Kept out of the library, so that tests can bring a main of their own. */
#include "app/commands/commands.h"

int main(int argc, char **argv)
{
    return commands_main(argc, argv);
}
