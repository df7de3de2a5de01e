/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/json.h"

/* A script tree in memory: every file of a system, read once, so that all workers load the same
 * text and a generation can be kept. */
enum tree_folder { TREE_SYSTEM, TREE_LIB, TREE_ROUTES, TREE_POLICIES };

struct tree_file {
    enum tree_folder folder;
    struct str path; /* below the scripts folder: "routes/bookmarket/orders.lua" */
    struct str name; /* TREE_LIB: what `use` calls it, "lib.money" */
    struct str source;
};

struct tree {
    struct arena *arena;
    struct str system;
    struct tree_file *files; /* by folder, then by path */
    size_t count;
};

/* Reads systems/<system>.lua, lib/, routes/<system>/ and policies/<system>/ below scripts.
 * ERR_CONFIG if there is no such system. Returns owned. */
int tree_read(const char *scripts, const char *system, struct tree **ret, struct err *err);
/* The same from texts by path, as tree_write's layout has them. Copies. Returns owned. */
struct tree *tree_make(struct str system, const struct str *paths, const struct json *sources,
                       size_t count);
void tree_free(struct tree *t);
/* Writes all files below folder, in the layout that tree_read reads. */
int tree_write(const struct tree *t, const char *folder, struct err *err);
/* The file of that path, or NULL. */
const struct tree_file *tree_find(const struct tree *t, struct str path);
