/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/config.h"

/* What the files of config share with each other; nobody else includes it. */

/* Sets one setting, whichever place it comes from. path in any case; ERR_CONFIG names origin. */
int config_set(struct config *c, struct str path, struct str value, struct str origin,
               struct err *err);

/* The command line, read and not yet applied. */
struct config_flags {
    bool watch;
    struct str system, config_file; /* p == NULL: not given */
    struct config_flag {
        const char *flag; /* "--listen" */
        const char *path; /* of the setting; NULL: --set */
        struct str value;
    } * items; /* in order */
    size_t count;
};

/* Borrows argv. ERR_INVALID: unknown flag (the nearest is named), a missing value, a second SYSTEM.
 */
int config_flags_read(struct config_flags *f, struct arena *a, int argc, char **argv,
                      struct err *err);
/* A wrong value of a flag is ERR_INVALID, a wrong --set is ERR_CONFIG. */
int config_flags_apply(struct config *c, const struct config_flags *f, struct err *err);

/* Notes that path was set from outside, if it is one that the system file may set. */
void config_system_given(struct config *c, const char *path);
/* Sets what the system file says and nobody outside has set. */
int config_system_apply(struct config *c, struct err *err);

/* MOONTIDE_CONFIG; empty if not set. */
struct str config_env_file(void);
/* Applies all variables MOONTIDE_*; one that is unknown is ERR_CONFIG. */
int config_env_apply(struct config *c, struct err *err);
