/* SPDX-License-Identifier: MIT */
#pragma once

#include "store/store.h"

/* What a data folder's file holds of tables, whatever is declared now; and removing it. */

struct store_found_column {
    struct str name, type; /* "decimal(2)": as declared when it was made */
};

/* A field whose column has another name. */
struct store_found_rename {
    struct str field, column;
};

struct store_found_index {
    struct str columns; /* "orderId,kind" */
    bool unique;
};

struct store_found_table {
    struct str name; /* "service.table" */
    int64_t rows;
    struct store_found_column *columns;
    size_t column_count;
    struct store_found_rename *renames;
    size_t rename_count;
    struct store_found_index *indexes;
    size_t index_count;
};

struct store_found {
    struct store_found_table *tables; /* by name */
    size_t table_count;
    int64_t generation; /* the active one, 0 if none */
    struct str sources; /* its, as store_switch kept them */
};

/* Reads the file in folder, also while a process has it open. Counts rows, so it takes its time
 * with millions. ERR_NOT_FOUND if there is none, ERR_CONFIG if it is none of Moontide's. */
int store_inspect(const char *folder, struct arena *a, struct store_found *ret, struct err *err);

/* Writes the store in folder, as of one moment, to the file `path`, which must not be there; also
 * while a process has it open. The file is there only once it is whole and on disk. */
int store_backup(const char *folder, const char *path, struct err *err);

struct store_prune {
    struct str table;  /* "service.table" */
    struct str column; /* empty: the whole table */
};

/* Before store_start. Writes the whole store to the file `backup`, which must not be there, makes
 * sure that it is on disk and whole, and then drops what is listed, all or nothing. Ids of a
 * dropped table are not used again. */
int store_prune(struct store *s, const struct store_prune *items, size_t count, const char *backup,
                struct err *err);
