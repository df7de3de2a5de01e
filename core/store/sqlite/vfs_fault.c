/* SPDX-License-Identifier: MIT */

/* Durability can only be believed of code that was seen with a broken disk. This VFS sits between
 * SQLite and the real one and makes the Nth write or fsync fail; everything else passes through. */

#include "store/sqlite/vfs_fault.h"

#ifdef MOONTIDE_FAULTS

#include "store/sqlite/engine.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define TRACE_MAX 4096
#define NAME "moontide-fault"

/* SQLite knows a VFS by name, process-wide, and its files carry no context of ours: hence this
 * static. */
static struct {
    pthread_mutex_t mutex;
    bool registered, installed;
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    struct {
        size_t count;
        size_t fail_at; /* count at which it fails; 0 = never */
        bool for_good;
        enum vfs_fault_error error;
    } ops[VFS_FAULT_MARK + 1];
    enum vfs_fault_op trace[TRACE_MAX];
    size_t trace_count;
} fault = {.mutex = PTHREAD_MUTEX_INITIALIZER};

struct fault_file {
    sqlite3_file base;
    bool wal, db;
    sqlite3_file *real; /* behind this struct */
};

static struct fault_file *self(sqlite3_file *file)
{
    return (struct fault_file *)(void *)file;
}

/* Counts and records; SQLITE_OK, or what the operation shall fail with. */
static int pass(enum vfs_fault_op op)
{
    int rc = SQLITE_OK;
    pthread_mutex_lock(&fault.mutex);
    size_t count = ++fault.ops[op].count, at = fault.ops[op].fail_at;
    if (fault.trace_count < TRACE_MAX)
        fault.trace[fault.trace_count++] = op;
    if (at != 0 && (count == at || (count > at && fault.ops[op].for_good))) {
        bool sync = op == VFS_FAULT_WAL_SYNC || op == VFS_FAULT_DB_SYNC;
        rc = sync ? SQLITE_IOERR_FSYNC : SQLITE_IOERR_WRITE;
        if (fault.ops[op].error == VFS_FAULT_FULL)
            rc = SQLITE_FULL;
    }
    pthread_mutex_unlock(&fault.mutex);
    return rc;
}

static int file_write_at(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
    int rc = SQLITE_OK;
    if (self(f)->wal || self(f)->db)
        rc = pass(self(f)->wal ? VFS_FAULT_WAL_WRITE : VFS_FAULT_DB_WRITE);
    sqlite3_file *real = self(f)->real;
    return rc != SQLITE_OK ? rc : real->pMethods->xWrite(real, p, n, at);
}

static int file_sync(sqlite3_file *f, int flags)
{
    int rc = SQLITE_OK;
    if (self(f)->wal || self(f)->db)
        rc = pass(self(f)->wal ? VFS_FAULT_WAL_SYNC : VFS_FAULT_DB_SYNC);
    sqlite3_file *real = self(f)->real;
    return rc != SQLITE_OK ? rc : real->pMethods->xSync(real, flags);
}

static int file_close(sqlite3_file *f)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int file_read_at(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xRead(real, p, n, at);
}

static int file_truncate(sqlite3_file *f, sqlite3_int64 size)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xTruncate(real, size);
}

static int file_size(sqlite3_file *f, sqlite3_int64 *size)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xFileSize(real, size);
}

static int file_take_lock(sqlite3_file *f, int level)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xLock(real, level);
}

static int file_unlock(sqlite3_file *f, int level)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xUnlock(real, level);
}

static int file_check_lock(sqlite3_file *f, int *ret)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xCheckReservedLock(real, ret);
}

static int file_control(sqlite3_file *f, int op, void *arg)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xFileControl(real, op, arg);
}

static int file_sector_size(sqlite3_file *f)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xSectorSize(real);
}

static int file_device(sqlite3_file *f)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xDeviceCharacteristics(real);
}

static int file_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **ret)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xShmMap(real, page, size, extend, ret);
}

static int file_shm_lock(sqlite3_file *f, int at, int n, int flags)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xShmLock(real, at, n, flags);
}

static void file_shm_barrier(sqlite3_file *f)
{
    sqlite3_file *real = self(f)->real;
    real->pMethods->xShmBarrier(real);
}

static int file_shm_unmap(sqlite3_file *f, int remove)
{
    sqlite3_file *real = self(f)->real;
    return real->pMethods->xShmUnmap(real, remove);
}

static const sqlite3_io_methods methods = {
    .iVersion = 2, /* no memory mapping: writes must come through here */
    .xClose = file_close,
    .xRead = file_read_at,
    .xWrite = file_write_at,
    .xTruncate = file_truncate,
    .xSync = file_sync,
    .xFileSize = file_size,
    .xLock = file_take_lock,
    .xUnlock = file_unlock,
    .xCheckReservedLock = file_check_lock,
    .xFileControl = file_control,
    .xSectorSize = file_sector_size,
    .xDeviceCharacteristics = file_device,
    .xShmMap = file_shm_map,
    .xShmLock = file_shm_lock,
    .xShmBarrier = file_shm_barrier,
    .xShmUnmap = file_shm_unmap,
};

static int open_file(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    struct fault_file *f = self(file);
    memset(f, 0, sizeof(*f));
    f->wal = flags & SQLITE_OPEN_WAL;
    f->db = flags & SQLITE_OPEN_MAIN_DB;
    f->real = (sqlite3_file *)(void *)(f + 1);
    int rc = fault.real->xOpen(fault.real, name, f->real, flags, out);
    if (f->real->pMethods)
        f->base.pMethods = &methods;
    return rc;
}

/* What the environment asks for, once. */
static void read_environment(void)
{
    const char *value = getenv("MOONTIDE_VFS");
    if (value && strcmp(value, "fault") == 0)
        vfs_fault_install();
}

void vfs_fault_install(void)
{
    sqlite_db_init();
    pthread_mutex_lock(&fault.mutex);
    if (!fault.registered) {
        fault.real = sqlite3_vfs_find(NULL);
        fault.vfs = *fault.real; /* its other functions never look at the files */
        fault.vfs.zName = NAME;
        fault.vfs.pNext = NULL;
        fault.vfs.szOsFile = (int)sizeof(struct fault_file) + fault.real->szOsFile;
        fault.vfs.xOpen = open_file;
        sqlite3_vfs_register(&fault.vfs, 0);
        fault.registered = true;
    }
    fault.installed = true;
    pthread_mutex_unlock(&fault.mutex);
}

void vfs_fault_remove(void)
{
    vfs_fault_clear();
    pthread_mutex_lock(&fault.mutex);
    fault.installed = false;
    pthread_mutex_unlock(&fault.mutex);
}

const char *vfs_fault_name(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, read_environment);
    pthread_mutex_lock(&fault.mutex);
    const char *name = fault.installed ? NAME : NULL;
    pthread_mutex_unlock(&fault.mutex);
    return name;
}

void vfs_fault_fail(enum vfs_fault_op op, int nth, bool for_good, enum vfs_fault_error error)
{
    pthread_mutex_lock(&fault.mutex);
    fault.ops[op].fail_at = fault.ops[op].count + (size_t)nth;
    fault.ops[op].for_good = for_good;
    fault.ops[op].error = error;
    pthread_mutex_unlock(&fault.mutex);
}

void vfs_fault_clear(void)
{
    pthread_mutex_lock(&fault.mutex);
    memset(fault.ops, 0, sizeof(fault.ops));
    fault.trace_count = 0;
    pthread_mutex_unlock(&fault.mutex);
}

size_t vfs_fault_count(enum vfs_fault_op op)
{
    pthread_mutex_lock(&fault.mutex);
    size_t n = fault.ops[op].count;
    pthread_mutex_unlock(&fault.mutex);
    return n;
}

void vfs_fault_mark(void)
{
    pass(VFS_FAULT_MARK);
}

size_t vfs_fault_trace(enum vfs_fault_op *out, size_t max)
{
    pthread_mutex_lock(&fault.mutex);
    size_t n = fault.trace_count < max ? fault.trace_count : max;
    memcpy(out, fault.trace, n * sizeof(*out));
    pthread_mutex_unlock(&fault.mutex);
    return n;
}

#endif
