/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/list.h"
#include "loop/thread.h"
#include "store/log.h"
#include "store/sqlite/sql.h"

#include <pthread.h>
#include <stdatomic.h>

/* What the files of core/store/sqlite share with each other; nobody else includes it. */

#define ENGINE_APPLICATION_ID 0x4D4F4F4E /* "MOON" in the file's header */
#define ENGINE_FORMAT 2  /* user_version: what this build reads and writes; 2: _moontide_renames */
#define ENGINE_BATCH 512 /* units of one transaction at most */
#define ENGINE_ID_BLOCK 1024
#define ENGINE_CHECKPOINT_PAGES 1000
#define ENGINE_WRITER_CACHE_KIB 16000
#define ENGINE_READER_CACHE_KIB 8000
#define ENGINE_SETS 64 /* the statement cache: sets of ways */
#define ENGINE_WAYS 4

struct sqlite_slot {
    struct sqlite_stmt_key key; /* without its table, which may be gone */
    uint64_t serial;            /* of the table */
    sqlite3_stmt *stmt;         /* NULL: free */
    uint64_t used;              /* tick of the last use */
};

/* A connection of one thread and its statements. {0} is a closed one. */
struct sqlite_conn {
    sqlite3 *db;
    sqlite3_stmt *fixed[SQL_KINDS]; /* the system's, by kind */
    struct sqlite_slot slots[ENGINE_SETS][ENGINE_WAYS];
    uint64_t tick;
    unsigned epoch; /* of the migration that its statements were made after */
};

/* Ids of one table (or of the timers): next..end-1 may be handed out, end is durable. */
struct store_ids {
    char *name;
    int64_t next, end;
    int64_t pending_end; /* written in the open transaction; 0 = none */
    bool wanted;         /* less than half is left and the writer was asked for more */
};

struct sqlite_ids {
    pthread_mutex_t mutex; /* taken before the queue's, never after */
    struct store_ids **blocks;
    size_t count, cap;
    struct store_ids *timers;
    struct err err;                 /* why the last reservation failed; code 0 = it did not */
    struct store_session *sessions; /* all of them, for waking those that wait */
};

/* Something asked for while the writer runs: it owns the connection, so it does the work. */
struct sqlite_job {
    int (*run)(struct store *s, void *arg, struct err *err);
    void *arg;
    struct err *err;
    int result;
    bool finished;
};

struct sqlite_rows;

/* An index that is declared and not there. */
struct sqlite_missing {
    const struct store_table *table;
    const struct store_index *index;
};

/* How long events of a type stay. */
struct sqlite_retention {
    struct str service, type;
    int64_t ms;
};

/* Where the looks for events whose retention is over are. */
struct sqlite_looks {
    int64_t next, left;          /* the event to go on with; the first one that had to stay, or 0 */
    int64_t looked_ms, pause_ms; /* when the newest one was, and how long there is none */
};

struct store {
    char *folder, *path;
    const char *vfs; /* NULL: SQLite's default */
    int lock_fd;
    const struct clock *clock;
    struct loop *inline_loop;
    bool slow_reads;
    struct store *memory; /* the memory file, as a store without one; or NULL */
    bool in_memory;       /* this is one */
    bool started;
    struct store_hooks hooks;
    char log_name[16];
    atomic_uint epoch; /* counts switches */

    /* The writer's own. */
    struct sqlite_conn conn;
    struct sqlite_rows *changes; /* what the switch under way lists, or NULL */
    struct sqlite_rows *missing; /* where a dry run puts indexes instead of building them */
    char **ahead;                /* names of indexes built before a switch that has not come yet */
    size_t ahead_count, ahead_cap;
    int64_t next_seq; /* newest seq given out */
    char **names;     /* of columns that schemas point to; as old as the store */
    size_t name_count, name_cap;
    int64_t tidied_ms;                   /* when expired repeats were last looked for */
    struct sqlite_retention *retentions; /* of the newest generation */
    size_t retention_count;
    struct arena *retention_arena;
    struct sqlite_looks looks;
    int64_t batch;  /* number of the newest transaction, also in the file */
    int wal_frames; /* in the log after the newest commit */
    struct buf scratch;
    struct store_unit *units[ENGINE_BATCH];

    atomic_int_fast64_t last_seq; /* newest committed */
    atomic_size_t queued;         /* handed over, not decided */

    pthread_mutex_t mutex; /* guards the rest */
    pthread_cond_t wake, job_done;
    struct store_unit *first, *last;
    struct sqlite_job *job;
    bool ids_wanted, sleeping, stopping;
    struct thread *thread;
    struct loop_defer inline_run;

    struct sqlite_ids ids;
};

struct store_session {
    struct store *store;
    struct loop *loop;
    struct sqlite_conn conn;
    struct store_read *waiting, **waiting_last; /* for ids; the session's thread only */
    struct store_snapshot *idle;                /* a snapshot's connection, kept for the next one */
    struct mailbox *box;
    struct mail wake;
    struct store_session *memory; /* of the memory file, or NULL */
    bool wants_wake;              /* guarded by the ids' mutex, as are the links */
    struct store_session *next, **link;
};

struct store_snapshot {
    struct store_session *session;
    struct sqlite_conn conn;
    struct store_snapshot *memory; /* begins with the first read of a table there */
};

struct store_tx {
    struct store *store;
};

/* db.c */
/* Configures SQLite; must come before any other use of it. */
void sqlite_db_init(void);
/* Fails if the WAL beside the file is of another one: SQLite would write its pages over a backup
 * that was restored into the folder of a process that was killed. */
int sqlite_db_check_wal(struct store *s, struct err *err);
/* Opens a connection to the store's file with all pragmas but those of the file itself. */
int sqlite_db_connect(struct store *s, struct sqlite_conn *conn, int cache_kib, bool query_only,
                      struct err *err);
/* Whether the file is one of Moontide's that this build understands, and not empty. */
int sqlite_db_check(struct store *s, struct err *err);
void sqlite_db_disconnect(struct sqlite_conn *conn);
/* The memory file of s, which must not be there; and closes it. */
int sqlite_db_open_memory(struct store *s, const struct store_conf *conf, struct err *err);
void sqlite_db_close_memory(struct store *s);
/* Closes the writer's connection and opens it again; then the state in memory is that of the file.
 */
int sqlite_db_reopen(struct store *s, struct err *err);
/* Fills err from the connection's last error `rc`; -1. `what` is the context ("read", "begin"). */
int sqlite_db_fail(const struct sqlite_conn *conn, int rc, const char *what, struct err *err);
/* Runs statements that return nothing. */
int sqlite_db_exec(struct sqlite_conn *conn, const char *sql, struct err *err);
/* Ends an open transaction, if there still is one. */
int sqlite_db_rollback(struct sqlite_conn *conn, struct err *err);

/* memory.c */
#define ENGINE_MEMORY_FIRST (INT64_C(1) << 40) /* numbers of its policies and letters are above */
/* Opens the memory file of s, empty. */
int sqlite_memory_open(struct store *s, const struct store_conf *conf, struct err *err);
/* Closes and removes it. */
void sqlite_memory_close(struct store *s);
/* The one of the two that a table, or a letter, is in. */
static inline struct store *sqlite_memory_of_table(struct store *s, const struct store_table *t)
{
    return t && t->in_memory ? s->memory : s;
}
static inline struct store_session *sqlite_memory_of_letter(struct store_session *ss, int64_t id)
{
    return id > ENGINE_MEMORY_FIRST && ss->memory ? ss->memory : ss;
}
/* Takes the units for the memory file out of first..last: these are what is left (NULL: none). */
void sqlite_memory_take(struct store *s, struct store_unit **first, struct store_unit **last);

/* stmts.c */
/* A prepared, reset statement, or NULL with err. Borrowed until the next call. */
sqlite3_stmt *sqlite_stmts_get(struct sqlite_conn *conn, const struct sqlite_stmt_key *key,
                               struct err *err);
sqlite3_stmt *sqlite_stmts_fixed(struct sqlite_conn *conn, enum sqlite_stmt_kind kind,
                                 struct err *err);
/* Steps once and resets: the result code of the step. */
int sqlite_stmts_run(sqlite3_stmt *stmt);
/* Gets, runs, and fails unless it was done. */
int sqlite_stmts_do(struct sqlite_conn *conn, enum sqlite_stmt_kind kind, struct err *err);
/* Finalizes all. */
void sqlite_stmts_clear(struct sqlite_conn *conn);
/* Finalizes all if the schema was migrated since they were made. */
void sqlite_stmts_refresh(struct sqlite_conn *conn, unsigned epoch);
/* Debug: no statement is busy, so that no read transaction is left open. */
void sqlite_stmts_assert_idle(const struct sqlite_conn *conn);
void sqlite_stmts_bind_text(sqlite3_stmt *stmt, int at, struct str s);
void sqlite_stmts_bind(sqlite3_stmt *stmt, int at, const struct value *v);
/* Copies text to a. */
struct str sqlite_stmts_text(sqlite3_stmt *stmt, int column, struct arena *a);
struct value sqlite_stmts_value(sqlite3_stmt *stmt, int column, const struct field *f,
                                struct arena *a);

/* apply.c */
enum sqlite_applied {
    APPLIED,
    APPLY_REFUSED, /* nothing of the unit remains, its verdict is set */
    APPLY_BROKEN   /* err is set; the transaction must be rolled back */
};
enum sqlite_applied sqlite_apply_unit(struct store *s, struct store_unit *u, struct err *err);

/* notes.c */
bool sqlite_notes_refusable(const struct store_note *n);
/* One note, timer or event of a unit being applied; 0 done, 1 gone already, -1 failed. */
int sqlite_notes_write(struct store *s, struct store_note *n, struct err *err);
int sqlite_notes_timer(struct store *s, const struct store_timer *t, struct err *err);
int sqlite_notes_cancel(struct store *s, int64_t timer_id, struct err *err);
int sqlite_notes_event(struct store *s, struct store_unit *u, struct store_event *e,
                       struct err *err);

/* repeats.c */
struct store_repeat;
/* 0 written, 1 its key is taken, -1 failed. */
int sqlite_repeats_write(struct store *s, const struct store_repeat *r, struct err *err);
/* In a transaction that is about to be committed anyway: removes some of what has expired, now and
 * then. */
int sqlite_repeats_tidy(struct store *s, struct err *err);
/* Outside of a transaction: removes what has expired. */
int sqlite_repeats_purge(struct store *s, struct err *err);

/* retention.c */
/* In a transaction that is about to be committed anyway: removes some of the events whose retention
 * is over and that nobody needs, now and then. */
int sqlite_retention_tidy(struct store *s, struct err *err);
/* From here on the retentions of this schema; or none. */
void sqlite_retention_adopt(struct store *s, const struct store_schema *schema);
void sqlite_retention_forget(struct store *s);

/* inspect.c */
/* A store with nothing but a reading connection, also while a process has the file open. Returns
 * owned, NULL: failed. */
struct store *sqlite_inspect_open(const char *folder, struct err *err);
void sqlite_inspect_close(struct store *s);

/* backup.c */
/* Writes what the connection sees to a new file, which is there only once it is whole and on disk.
 */
int sqlite_backup_write(struct store *s, const char *path, struct err *err);

/* migrate.c */
/* A statement for once, or NULL. Returns owned. */
sqlite3_stmt *sqlite_migrate_stmt(struct store *s, const char *sql, struct err *err);
/* Appends "service.table". */
void sqlite_migrate_table_name(struct buf *out, const struct store_table *t);
/* Puts the place of the declaration in front, if it is known; -1. */
int sqlite_migrate_at(struct err *err, struct str at);
/* Is there a table or index of that name? 1 yes, 0 no, -1 failed. */
int sqlite_migrate_exists(struct store *s, struct str name, struct err *err);
/* Inside a transaction of the writer's connection. */
int sqlite_migrate(struct store *s, const struct store_schema *schema, struct err *err);

/* columns.c */
/* Inside a transaction, for a table that exists: finds the column of each field, which is told to
 * the schema, and makes those that are missing. */
int sqlite_columns_migrate(struct store *s, const struct store_table *t, struct err *err);

/* indexes.c */
/* Inside a transaction, for a table with its columns: drops and makes indexes. */
int sqlite_indexes_migrate(struct store *s, const struct store_table *t, struct err *err);
/* What was built ahead belongs to the switch that came. */
void sqlite_indexes_keep(struct store *s);
/* On the writer's connection: drops what was built ahead. */
int sqlite_indexes_forget(struct store *s, void *arg, struct err *err);

/* switch.c */
/* store_switch, which also lists the indexes that a dry run did not build. Any thread. */
int sqlite_switch_list(struct store *s, const struct store_switch *sw, struct store_switched *ret,
                       struct sqlite_rows *missing, struct err *err);
/* Lists a change of the switch under way: consumes the text. */
void sqlite_switch_note(struct store *s, struct buf *text);

/* log.c */
/* Holes as they are written: ret's, in a. */
int sqlite_log_holes(struct str blob, struct arena *a, struct store_policy *ret, struct err *err);
/* The policy's row, which *ret_made says was made now. */
int sqlite_log_policy(struct store *s, struct arena *a, const struct store_switch_policy *policy,
                      struct store_policy *ret, bool *ret_made, struct err *err);

/* writer.c */
/* Inside a transaction: writes the number by which it is found again, and the newest seq. */
int sqlite_writer_mark(struct store *s, struct err *err);
/* COMMIT; whether one that failed is in the file after all decides. *ret_unknown: the file could
 * not be asked. */
int sqlite_writer_commit(struct store *s, bool *ret_unknown, struct err *err);
/* Runs it on the writer's thread between two batches, or at once if there is none; waits for it.
 * One at a time. */
int sqlite_writer_do(struct store *s, int (*run)(struct store *s, void *arg, struct err *err),
                     void *arg, struct err *err);
/* Asks the writer for id blocks. Any thread. */
void sqlite_writer_want_ids(struct store *s);
void sqlite_writer_stop(struct store *s);

/* ids.c */
void sqlite_ids_init(struct sqlite_ids *ids);
void sqlite_ids_deinit(struct sqlite_ids *ids);
/* Inside a switch's transaction: loads and reserves the blocks of new tables; published by
 * sqlite_ids_adopt, which also tells the tables which block is theirs. */
int sqlite_ids_load(struct store *s, const struct store_schema *schema, struct err *err);
void sqlite_ids_adopt(struct store *s, const struct store_schema *schema);
/* Inside the writer's transaction: extends the blocks that are wanted; *ret says whether there were
 * any. */
int sqlite_ids_reserve(struct store *s, bool *ret_any, struct err *err);
/* After its commit, or its rollback for the reason in err (NULL: it will be tried again at once).
 */
void sqlite_ids_publish(struct store *s);
void sqlite_ids_drop(struct store *s, const struct err *err);
int sqlite_ids_give_back(struct store *s, struct err *err);
/* The next id, or false: then the session is woken after the next reservation. */
bool sqlite_ids_next_or_wait(struct store *s, const struct store_table *t, struct store_session *ss,
                             int64_t *ret);

/* read.c */
/* Runs a read other than STORE_READ_ID on conn and fills its results. */
void sqlite_read_run(struct sqlite_conn *conn, struct store_read *r);
/* One row by id: 1 found, 0 not there, -1 failed. */
int sqlite_read_row(struct sqlite_conn *conn, const struct store_table *t, int64_t id,
                    struct arena *a, struct store_row **ret, struct err *err);

/* rows.c */
/* A growing list in an arena. */
struct sqlite_rows {
    struct arena *arena;
    size_t size; /* of an element */
    void *items;
    size_t count, cap;
};

static inline struct sqlite_rows sqlite_rows_of(struct arena *a, size_t size)
{
    return (struct sqlite_rows){.arena = a, .size = size};
}

/* A new last element, uninitialised; it moves when the next one is added. */
void *sqlite_rows_add(struct sqlite_rows *rows);
