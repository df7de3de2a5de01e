/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/config.h"
#include "script/code.h"
#include "script/load.h"
#include "store/log.h"

/* A generation between its files and its first task: the tree, a Lua state for every worker, the
 * program. Built on any thread, touches nothing that runs. */
struct generation {
    struct tree *tree;  /* owned */
    lua_State **states; /* owned until taken: states[i] = NULL then */
    int state_count;
    struct program *program; /* one reference */
};

/* Loads and checks the tree for count workers; takes the tree, also on failure. code keeps what it
 * compiled for the next one. {0} is an empty generation. */
int generation_build(struct generation *g, const struct config *config, struct code *code,
                     struct tree *tree, int count, struct err *err);
/* ERR_CONFIG for a setting from outside that names nothing of the program. */
int generation_check_settings(const struct config *config, const struct program *p,
                              struct err *err);
/* ERR_CONFIG for a policy that has held events and is not declared any more: they would wait for it
 * without anybody's knowledge. live, which may be NULL, is the tree that has it. Policies of
 * services that run elsewhere do not count, nor do views, which can be made anew. */
int generation_check_held(const struct generation *g, struct store_session *session,
                          const struct tree *live, struct err *err);
/* Frees what was not taken. */
void generation_clear(struct generation *g);
/* The tree as text, to be kept with the generation; and back. */
void generation_write_sources(const struct tree *t, struct buf *out);
int generation_read_sources(struct str text, struct str system, struct tree **ret, struct err *err);
/* store_switch_prepare for this generation. */
int generation_prepare(const struct generation *g, struct store *store, bool dry_run,
                       struct err *err);
/* store_switch for this generation; results in a. On success the program has its number. number 0:
 * a new one. */
int generation_store(struct generation *g, struct store *store, int64_t number, const char *origin,
                     bool dry_run, struct arena *a, struct store_switched *ret, struct err *err);
/* The changes from one tree to another as a JSON list of {"path","status"}. from may be NULL. */
void generation_write_files(const struct tree *from, const struct tree *to, struct buf *out);
