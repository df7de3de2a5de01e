/* SPDX-License-Identifier: MIT */
#pragma once

#include <stddef.h>

/* The Lua files of core/script/lua, embedded at build; ends with name == NULL. */
struct veneer {
    const char *name;
    const char *source;
    size_t length;
};

extern const struct veneer veneers[];
