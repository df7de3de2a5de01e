/* SPDX-License-Identifier: MIT */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A disk that fails on purpose: a SQLite VFS over the default one that counts, records and refuses
 * writes and syncs. Only in builds with MOONTIDE_FAULTS. Installed by a test, or by
 * MOONTIDE_VFS=fault in the environment. */
enum vfs_fault_op { /* what the trace holds, in order */
                    VFS_FAULT_WAL_WRITE,
                    VFS_FAULT_WAL_SYNC,
                    VFS_FAULT_DB_WRITE,
                    VFS_FAULT_DB_SYNC,
                    VFS_FAULT_MARK /* put there by vfs_fault_mark */
};

enum vfs_fault_error { VFS_FAULT_IOERR, VFS_FAULT_FULL };

#ifdef MOONTIDE_FAULTS
/* Stores opened from now on use it. */
void vfs_fault_install(void);
/* Stores opened from now on use the default again. Clears what is programmed. */
void vfs_fault_remove(void);
/* Name of the VFS to open with, NULL = SQLite's default. */
const char *vfs_fault_name(void);
/* The nth operation of that kind from now (1 = the next) fails; for_good: all after it too. An
 * error of a sync is SQLITE_IOERR_FSYNC, of a write SQLITE_IOERR_WRITE or SQLITE_FULL. */
void vfs_fault_fail(enum vfs_fault_op op, int nth, bool for_good, enum vfs_fault_error error);
/* Nothing fails any more; the counts and the trace start again. */
void vfs_fault_clear(void);
/* How often since the last clear; failed ones count. */
size_t vfs_fault_count(enum vfs_fault_op op);
/* Puts a mark into the trace. */
void vfs_fault_mark(void);
/* The trace since the last clear (the first 4096 entries); returns how many were copied. */
size_t vfs_fault_trace(enum vfs_fault_op *out, size_t max);
#else
static inline const char *vfs_fault_name(void)
{
    return NULL;
}
#endif
