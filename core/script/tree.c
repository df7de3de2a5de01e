/* SPDX-License-Identifier: MIT */
/* Files may change while they are read for several workers: so they are read once, and everything
 * after works on the copy. */
#include "script/tree.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FILE_BYTES (1u << 20)

struct reader {
    struct tree *tree;
    const char *scripts;
    const char *dir; /* below scripts: "routes/bookmarket" */
    enum tree_folder folder;
    size_t cap;
};

/* "lib.tax.rates" of "tax/rates.lua". */
static struct str use_name(struct arena *a, const char *relative)
{
    size_t n = strlen(relative) - 4;
    char *name = arena_alloc(a, n + 5);
    memcpy(name, "lib.", 4);
    for (size_t i = 0; i < n; i++)
        name[4 + i] = relative[i] == '/' ? '.' : relative[i];
    name[n + 4] = '\0';
    return (struct str){name, n + 4};
}

static struct str join(struct arena *a, const char *left, const char *right)
{
    struct buf out = BUF_INIT;
    buf_addf(&out, "%s/%s", left, right);
    struct str s = arena_str(a, buf_str(&out));
    buf_deinit(&out);
    return s;
}

static int add_file(void *ctx, const char *relative, struct err *err)
{
    struct reader *r = ctx;
    struct tree *t = r->tree;
    struct buf source = BUF_INIT;
    struct str path = join(t->arena, r->dir, relative);
    if (file_read(join(t->arena, r->scripts, path.p).p, FILE_BYTES, &source, err) != 0) {
        buf_deinit(&source);
        return -1;
    }
    vec_reserve(&t->files, &r->cap, t->count + 1, sizeof(*t->files));
    struct tree_file *f = &t->files[t->count++];
    f->folder = r->folder;
    f->path = path;
    f->name = r->folder == TREE_LIB ? use_name(t->arena, relative) : STR("");
    f->source = arena_str(t->arena, buf_str(&source));
    buf_deinit(&source);
    return 0;
}

static int read_folder(struct reader *r, enum tree_folder folder, const char *dir, struct err *err)
{
    r->folder = folder;
    r->dir = dir;
    return file_each(join(r->tree->arena, r->scripts, dir).p, ".lua", add_file, r, err);
}

/* The names of the systems that there are. */
struct names {
    struct arena *arena;
    struct str list[32];
    size_t count;
};

static int add_name(void *ctx, const char *relative, struct err *err)
{
    struct names *n = ctx;
    struct str name = str_from(relative);
    (void)err;
    if (!strchr(relative, '/') && n->count < sizeof(n->list) / sizeof(n->list[0]))
        n->list[n->count++] = arena_str(n->arena, (struct str){name.p, name.n - 4}); /* ".lua" */
    return 0;
}

static int refuse_system(const struct reader *r, const char *system, struct err *err)
{
    struct names n = {.arena = r->tree->arena};
    struct err ignored;
    if (access(r->scripts, F_OK) != 0)
        return err_sys(err, ERR_CONFIG, "scripts folder %s (another is named with --scripts DIR)",
                       r->scripts);
    (void)file_each(join(n.arena, r->scripts, "systems").p, ".lua", add_name, &n, &ignored);
    struct str nearest = str_nearest(str_from(system), n.list, n.count);
    if (nearest.n == 0 && n.count == 1)
        nearest = n.list[0];
    err_set(err, ERR_CONFIG, "there is no system \"%s\": %s/systems/%s.lua is missing", system,
            r->scripts, system);
    if (nearest.n > 0) {
        struct err plain = *err;
        err_set(err, ERR_CONFIG, "%s; did you mean \"%.*s\"?", plain.message, STR_ARG(nearest));
    }
    return -1;
}

static int read_system(struct reader *r, const char *system, struct err *err)
{
    char name[128];
    snprintf(name, sizeof(name), "%s.lua", system);
    r->folder = TREE_SYSTEM;
    r->dir = "systems";
    if (add_file(r, name, err) == 0)
        return 0;
    if (err->code != ERR_NOT_FOUND)
        return -1;
    return refuse_system(r, system, err);
}

int tree_read(const char *scripts, const char *system, struct tree **ret, struct err *err)
{
    struct arena *a = arena_new(64 << 10);
    struct tree *t = arena_zalloc(a, sizeof(*t));
    struct reader r = {.tree = t, .scripts = scripts};
    t->arena = a;
    t->system = arena_str(a, str_from(system));
    if (read_system(&r, system, err) != 0 || read_folder(&r, TREE_LIB, "lib", err) != 0 ||
        read_folder(&r, TREE_ROUTES, join(a, "routes", system).p, err) != 0 ||
        read_folder(&r, TREE_POLICIES, join(a, "policies", system).p, err) != 0) {
        tree_free(t);
        return -1;
    }
    *ret = t;
    return 0;
}

static enum tree_folder folder_of(struct str path)
{
    if (str_starts(path, STR("lib/")))
        return TREE_LIB;
    if (str_starts(path, STR("routes/")))
        return TREE_ROUTES;
    return str_starts(path, STR("policies/")) ? TREE_POLICIES : TREE_SYSTEM;
}

struct tree *tree_make(struct str system, const struct str *paths, const struct json *sources,
                       size_t count)
{
    struct arena *a = arena_new(64 << 10);
    struct tree *t = arena_zalloc(a, sizeof(*t));
    t->arena = a;
    t->system = arena_str(a, system);
    t->files = xcalloc(count + 1, sizeof(*t->files));
    for (size_t i = 0; i < count; i++) {
        struct tree_file *f = &t->files[t->count++];
        f->path = arena_str(a, paths[i]);
        f->folder = folder_of(f->path);
        f->name = f->folder == TREE_LIB ? use_name(a, f->path.p + 4) : STR("");
        f->source = arena_str(a, sources[i].s);
    }
    return t;
}

void tree_free(struct tree *t)
{
    if (t == NULL)
        return;
    free(t->files);
    arena_free(t->arena);
}

static int write_file(const struct tree_file *f, const char *folder, struct arena *a,
                      struct err *err)
{
    struct str path = join(a, folder, f->path.p);
    struct str dir = path;
    while (dir.n > 0 && dir.p[dir.n - 1] != '/')
        dir.n--;
    if (file_make_dirs(arena_str(a, dir).p, err) != 0)
        return -1;
    return file_write(path.p, f->source, 0600, err);
}

int tree_write(const struct tree *t, const char *folder, struct err *err)
{
    struct arena *a = arena_new(0);
    int failed = 0;
    for (size_t i = 0; i < t->count && !failed; i++)
        failed = write_file(&t->files[i], folder, a, err);
    arena_free(a);
    return failed;
}

const struct tree_file *tree_find(const struct tree *t, struct str path)
{
    for (size_t i = 0; i < t->count; i++)
        if (str_eq(t->files[i].path, path))
            return &t->files[i];
    return NULL;
}
