/* SPDX-License-Identifier: MIT */
#pragma once

#include "app/client.h"
#include "app/commands/commands.h"

/* What the files of the command line share with each other; nobody else includes it. */
#define COMMANDS_WORDS 4

/* What followed the command. Texts are borrowed from argv. */
struct commands_args {
    struct client_conf client;
    struct str output, from, limit, type, service, key, policy;
    struct str scripts, backup;
    bool follow, all, dry_run;
    bool json; /* -o json */
    struct str words[COMMANDS_WORDS];
    int word_count;
};

/* A command: how it is run, and what help and shells are told about it. */
struct commands_entry {
    const char *name;
    int (*run)(int argc, char **argv); /* gets what follows the command */
    /* usage: verbs in lower case, values in upper case. details: a line that tells of flags begins
     * with two blanks. Completion reads both. */
    const char *usage, *summary, *details;
};
const struct commands_entry *commands_entries(size_t *ret_count);

/* Reads flags and words of a client command; allowed names its flags beside the common ones
 * ("--from --type"). Returns EXIT_OK, or EXIT_USAGE with a line on stderr. */
int commands_args_read(struct commands_args *args, int argc, char **argv, const char *allowed);
/* Is the first word, if there is one, one of the verbs? Else EXIT_USAGE, with the nearest one. */
int commands_args_verb(const struct commands_args *args, const char *command,
                       const struct str *verbs, size_t count);
/* The settings of a command that reads a data folder itself: SYSTEM is word `at`, if there is one.
 * To be deinitialised in any case. Returns an exit code. */
int commands_args_folder(const struct commands_args *args, int at, struct arena *a,
                         struct config *ret);
/* Writes "moontide: MESSAGE" to stderr and returns the exit code. */
int commands_fail(int exit_code, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The exit code for what config_parse or the client refused. */
int commands_fail_err(const struct err *err);

/* Appends "?name=value" or "&name=value", encoded; nothing if the value is empty. */
void commands_call_param(struct buf *target, const char *name, struct str value);
/* Appends the value as it may stand in a path or a query. */
void commands_call_encode(struct buf *target, struct str value);
/* One request to the server. Returns EXIT_OK for a 2xx answer with its body in ret_body; else says
 * why not. */
int commands_call(const struct commands_args *args, const struct client_request *r,
                  struct buf *ret_body);
/* The same, but an answer with the status `also` is EXIT_OK too. */
int commands_call_or(const struct commands_args *args, const struct client_request *r, int also,
                     int *ret_status, struct buf *ret_body);
/* Parses an answer that is an object into a, borrowing from body. */
int commands_call_parse(struct arena *a, struct str body, struct json *ret);
/* commands_call for a GET whose answer is an object; parsed into a, borrowing from ret_body. */
int commands_call_json(const struct commands_args *args, const char *target, struct arena *a,
                       struct buf *ret_body, struct json *ret);
/* A GET of target, an object, to stdout: as it came with -o json, else by print. Returns the exit
 * code. */
int commands_show(const struct commands_args *args, const char *target,
                  void (*print)(const struct json *answer));

/* Aligned text. Cells are copied; control characters become '?'. */
struct commands_table;
struct commands_table *commands_table_new(int columns);
void commands_table_free(struct commands_table *t);
/* Cells go in row by row; the first row is the heading. */
void commands_table_add(struct commands_table *t, struct str cell);
/* The text of a member that is a scalar, or "". path: "error.message". */
void commands_table_add_member(struct commands_table *t, const struct json *object,
                               const char *path);
/* Writes to stdout; nothing but the heading is said with `none`. */
void commands_table_print(struct commands_table *t, const char *none);
/* Appends s with control characters as '?': what a server sends must not drive a terminal. */
void commands_table_clean(struct buf *out, struct str s);

/* The commands, by file. */
int commands_log_events(int argc, char **argv);
int commands_log_letters(int argc, char **argv);
int commands_state_services(int argc, char **argv);
int commands_state_breakers(int argc, char **argv);
int commands_state_status(int argc, char **argv);
int commands_reload_start(int argc, char **argv);
int commands_reload_generations(int argc, char **argv);
int commands_schema(int argc, char **argv);
int commands_backup(int argc, char **argv);
int commands_limits(int argc, char **argv);
int commands_completion(int argc, char **argv);
