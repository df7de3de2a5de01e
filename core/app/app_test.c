/* SPDX-License-Identifier: MIT */
/* `moontide test`: finds the spec files, runs each on both engines and reports as TAP. */
#include "app/commands/inside.h"
#include "app/spec_world.h"
#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATHS_MAX 64
#define LOG_NOTHING (LOG_ERROR + 1)

struct test_args {
    const char *paths[PATHS_MAX];
    int path_count;
    const char *scripts, *filter;
    enum log_level log_level;
};

/* The specs that run. */
struct test_run {
    const struct test_args *args;
    struct code *code; /* of the case before */
    int number, failed;
};

/* One file on one engine. */
struct test_file {
    struct test_run *run;
    struct spec_case *stage;
};

/* ---- TAP ---- */

static void print_detail(const char *text)
{
    while (*text != '\0') {
        size_t n = strcspn(text, "\n");
        printf("# %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void print_result(struct test_run *run, const char *name, const char *failure)
{
    printf("%sok %d - %s\n", failure != NULL ? "not " : "", ++run->number, name);
    if (failure != NULL) {
        run->failed++;
        print_detail(failure);
    }
    fflush(stdout);
}

/* ---- a file ---- */

static const char *case_begin(void *ctx, struct err *err)
{
    return spec_world_begin(((struct test_file *)ctx)->stage, err);
}

static const struct spec_world *case_open(void *ctx, const char *scripts, const char *system,
                                          struct err *err)
{
    return spec_world_open(((struct test_file *)ctx)->stage, scripts, system, err);
}

static void case_close(void *ctx)
{
    spec_world_close(((struct test_file *)ctx)->stage);
}

static void case_end(void *ctx)
{
    spec_world_end(((struct test_file *)ctx)->stage);
}

static void case_report(void *ctx, const char *name, const char *failure)
{
    print_result(((struct test_file *)ctx)->run, name, failure);
}

static void run_on_engine(struct test_run *run, const char *path, const char *scripts,
                          const char *system, bool slow_reads)
{
    struct err err;
    struct test_file file = {run, spec_world_new(scripts, system, run->code, slow_reads)};
    struct spec_stage stage = {&file, case_begin, case_open, case_close, case_end, case_report};
    struct spec_conf conf = {path, run->args->filter, slow_reads ? " (slow reads)" : "", &stage};
    if (spec_run(&conf, &err) != 0) {
        struct buf name = BUF_INIT;
        buf_addf(&name, "%s can be loaded%s", path, conf.suffix);
        print_result(run, buf_str(&name).p, err.message);
        buf_deinit(&name);
    }
    spec_world_free(file.stage);
}

/* Its system is named by its folder; a folder `scripts` beside it that has this system comes first.
 */
static void run_file(struct test_run *run, const char *path)
{
    struct buf folder = BUF_INIT, own = BUF_INIT;
    const char *slash = strrchr(path, '/');
    if (slash != NULL)
        buf_add(&folder, path, (size_t)(slash - path));
    else
        buf_lit(&folder, ".");
    const char *last = strrchr(buf_str(&folder).p, '/');
    const char *system = last != NULL ? last + 1 : folder.p;
    buf_addf(&own, "%s/scripts/systems/%s.lua", folder.p, system);
    bool has_own = access(buf_str(&own).p, R_OK) == 0;
    buf_clear(&own);
    buf_addf(&own, "%s/scripts", folder.p);
    const char *scripts = has_own ? buf_str(&own).p : run->args->scripts;
    run_on_engine(run, path, scripts, system, false);
    run_on_engine(run, path, scripts, system, true);
    buf_deinit(&folder);
    buf_deinit(&own);
}

struct test_folder {
    struct test_run *run;
    const char *path;
};

static int visit(void *ctx, const char *relative, struct err *err)
{
    struct test_folder *f = ctx;
    struct buf path = BUF_INIT;
    (void)err;
    buf_addf(&path, "%s/%s", f->path, relative);
    run_file(f->run, buf_str(&path).p);
    buf_deinit(&path);
    return 0;
}

/* ---- the command ---- */

static int run_path(struct test_run *run, const char *path)
{
    struct stat st;
    struct err err;
    char plain[1024];
    snprintf(plain, sizeof(plain), "%s", path);
    for (size_t n = strlen(plain); n > 1 && plain[n - 1] == '/'; n--)
        plain[n - 1] = '\0';
    if (stat(plain, &st) != 0)
        return commands_fail(EXIT_USAGE, "there is no file or folder %s", plain);
    if (!S_ISDIR(st.st_mode)) {
        run_file(run, plain);
        return EXIT_OK;
    }
    struct test_folder folder = {run, plain};
    if (file_each(plain, "_spec.lua", visit, &folder, &err) != 0)
        return commands_fail(EXIT_FAILED, "%s", err.message);
    return EXIT_OK;
}

static int take_flag(struct test_args *a, const char *flag, const char *value)
{
    if (strcmp(flag, "--scripts") == 0)
        a->scripts = value;
    else if (strcmp(flag, "--filter") == 0)
        a->filter = value;
    else if (strcmp(flag, "--log-level") == 0 && log_level_from(str_from(value), &a->log_level))
        return EXIT_OK;
    else if (strcmp(flag, "--log-level") == 0)
        return commands_fail(EXIT_USAGE, "--log-level: there are debug, info, warn, error");
    return EXIT_OK;
}

static bool is_flag(const char *word)
{
    return strcmp(word, "--scripts") == 0 || strcmp(word, "--filter") == 0 ||
           strcmp(word, "--log-level") == 0;
}

static int read_args(struct test_args *a, int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (a->path_count == PATHS_MAX)
                return commands_fail(EXIT_USAGE, "more than %d paths", PATHS_MAX);
            a->paths[a->path_count++] = argv[i];
            continue;
        }
        if (!is_flag(argv[i]))
            return commands_fail(
                EXIT_USAGE, "test: unknown flag \"%s\"; there are --scripts, --filter, --log-level",
                argv[i]);
        if (i + 1 == argc)
            return commands_fail(EXIT_USAGE, "test: %s wants a value", argv[i]);
        int code = take_flag(a, argv[i], argv[i + 1]);
        if (code != EXIT_OK)
            return code;
        i++;
    }
    if (a->path_count == 0)
        a->paths[a->path_count++] = "./tests/spec";
    return EXIT_OK;
}

int app_test(int argc, char **argv)
{
    struct test_args args = {.scripts = "./scripts", .log_level = LOG_NOTHING};
    struct test_run run = {.args = &args, .code = code_new()};
    int code = read_args(&args, argc, argv);
    log_set_level(args.log_level);
    for (int i = 0; i < args.path_count && code == EXIT_OK; i++)
        code = run_path(&run, args.paths[i]);
    code_free(run.code);
    if (code != EXIT_OK)
        return code;
    printf("1..%d\n", run.number);
    if (run.number == 0)
        return commands_fail(EXIT_FAILED, "no case was found");
    return run.failed > 0 ? EXIT_PROBLEMS : EXIT_OK;
}
