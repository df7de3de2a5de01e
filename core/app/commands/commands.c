/* SPDX-License-Identifier: MIT */
/* One table of commands: what is dispatched, what help lists and what a typo is compared with
 * cannot differ. */
#include "app/commands/commands.h"

#include "app/commands/inside.h"
#include "script/load.h"

#include <stdio.h>

#define COMMON                                                                                     \
    "\nThe server is found by --admin, else DATA/run.json, else the only one below ./data.\n"      \
    "  --admin HOST:PORT        its admin address\n"                                               \
    "  --data DIR               its data folder\n"                                                 \
    "  --admin-token-file FILE  else MOONTIDE_ADMIN_TOKEN, else DATA/admin.token\n"
#define RUN_FLAGS                                                                                  \
    "  --scripts DIR            folder of scripts (./scripts)\n"                                   \
    "  --data DIR               data folder (./data/SYSTEM)\n"                                     \
    "  --listen HOST:PORT       gateway (127.0.0.1:8088); port 0 picks a free one\n"               \
    "  --admin HOST:PORT        admin side (127.0.0.1:8090)\n"                                     \
    "  --workers N              1 to 64 (one a core)\n"                                            \
    "  --only SERVICE,...       run only these services of the system (all without a url)\n"       \
    "  --watch                  reload when a script is saved\n"                                   \
    "  --config FILE            settings: a Lua file that returns a table\n"                       \
    "  --set KEY=VALUE          one setting, as in breakers.payment.timeout_ms=610\n"              \
    "  --admin-token-file FILE  file with the admin token\n"                                       \
    "  --log-level LEVEL        debug, info, warn or error\n"
#define OUTPUT "  -o json                  JSON instead of text\n"

static int run_run(int argc, char **argv);
static int run_check(int argc, char **argv);
static int run_stubs(int argc, char **argv);
static int run_version(int argc, char **argv);
static int run_help(int argc, char **argv);

static const struct commands_entry commands[] = {
    {"run", run_run, "[SYSTEM] [FLAGS]", "run a system until a signal ends it",
     "SYSTEM is bookmarket unless named.\n" RUN_FLAGS},
    {"check", run_check, "[SYSTEM] [FLAGS]", "load and verify the scripts, touch nothing",
     "Exit code 3 if something is wrong with them. Settings as for run.\n" RUN_FLAGS},
    {"test", app_test, "[PATH...] [FLAGS]", "run the specs of the scripts",
     "PATH is a spec file or a folder of them (./tests/spec).\n"
     "  --scripts DIR            folder of scripts (./scripts)\n"
     "  --filter TEXT            only cases whose name has it\n"
     "  --log-level LEVEL        debug, info, warn or error\n"},
    {"reload", commands_reload_start, "[--dry-run] [FLAGS]",
     "let a running server take over the scripts as they are now",
     "Exit code 3 if something is wrong with them; then nothing has changed.\n"
     "  --dry-run                only say what would change\n"
     "  --scripts DIR            where the scripts lie here, to show lines (./scripts)\n" COMMON
         OUTPUT},
    {"generations", commands_reload_generations, "[list | activate N]",
     "the scripts that were live, and back to them",
     "  --scripts DIR            where the scripts lie here, to show lines (./scripts)\n" COMMON
         OUTPUT},
    {"status", commands_state_status, "[FLAGS]", "is it ready, what runs, and how far it is behind",
     COMMON OUTPUT},
    {"events", commands_log_events, "[FLAGS]", "list the event log, or follow it",
     "  --from N                 first event (1)\n"
     "  --type T, --service S, --key K   only these\n"
     "  --limit N                at most so many (1000)\n"
     "  --follow                 go on with what comes\n" COMMON
     "  -o json                  one JSON object a line\n"},
    {"letters", commands_log_letters,
     "[list | show ID | retry ID | retry --policy NAME | retry --all | discard ID]",
     "events that a policy gave up on",
     "  --policy NAME            only letters of this policy\n"
     "  --limit N                list at most so many (100)\n" COMMON OUTPUT},
    {"services", commands_state_services, "[list | stop NAME | start NAME]",
     "services and their policies; stop and start them",
     "A stopped service answers 503, its policies wait, and it stays so over restarts.\n" COMMON
         OUTPUT},
    {"breakers", commands_state_breakers, "[list|set NAME KEY=VALUE]",
     "circuit breakers: their counts, and setting them", COMMON OUTPUT},
    {"schema", commands_schema, "[show | prune --backup FILE] [SYSTEM] [FLAGS]",
     "tables of a data folder, and removing what is declared no longer",
     "Reads the data folder itself, ./data/SYSTEM unless --data names another; `show` also while "
     "a\n"
     "server runs. `prune` wants it stopped: it writes a backup and drops hidden columns and "
     "tables.\n"
     "  --data DIR               data folder\n"
     "  --backup FILE            prune: where the whole store is copied to first; a new file\n"
     "  --dry-run                prune: only say what would be dropped\n" OUTPUT},
    {"backup", commands_backup, "FILE [SYSTEM] [FLAGS]",
     "copy the store of a data folder to a file",
     "Reads the data folder itself, ./data/SYSTEM unless --data names another, also while a "
     "server\n"
     "runs on it: the copy is of one moment. FILE is there once it is whole and on disk. To "
     "restore\n"
     "it, put it as moontide.db into an empty folder and run with that as --data.\n"
     "  --data DIR               data folder\n" OUTPUT},
    {"limits", commands_limits, "[FLAGS]", "what is bounded, and by how much",
     "With the settings that a `run` with the same flags would have.\n"
     "  --config FILE            settings: a Lua file that returns a table\n"
     "  --set KEY=VALUE          one setting, as in http.body_bytes=65536\n" OUTPUT},
    {"completion", commands_completion, "bash | zsh | fish", "print what a shell completes",
     "`source <(moontide completion bash)` in ~/.bashrc, likewise for zsh; for fish\n"
     "`moontide completion fish | source` in ~/.config/fish/config.fish.\n"},
    {"stubs", run_stubs, "", "print what an editor should know of the words of scripts",
     "For lua-language-server: `moontide stubs > scripts/meta/moontide.lua`.\n"},
    {"version", run_version, "", "print the version", ""},
    {"help", run_help, "[COMMAND]", "print help", ""},
};

#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct commands_entry *find_command(struct str name)
{
    for (size_t i = 0; i < COMMANDS; i++) {
        if (str_eq(name, str_from(commands[i].name)))
            return &commands[i];
    }
    return NULL;
}

static int refuse_command(struct str name)
{
    struct str names[COMMANDS];
    for (size_t i = 0; i < COMMANDS; i++)
        names[i] = str_from(commands[i].name);
    struct str nearest = str_nearest(name, names, COMMANDS);
    if (nearest.n > 0)
        return commands_fail(EXIT_USAGE, "unknown command \"%.*s\"; did you mean \"%.*s\"?",
                             STR_ARG(name), STR_ARG(nearest));
    return commands_fail(EXIT_USAGE, "unknown command \"%.*s\"; \"moontide help\" lists them",
                         STR_ARG(name));
}

static void print_usage(FILE *out)
{
    fputs("usage: moontide COMMAND [ARGUMENTS]\n\n", out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-11s %s\n", commands[i].name, commands[i].summary);
    fputs("\n\"moontide help COMMAND\" tells more.\n", out);
}

static void print_help(const struct commands_entry *c)
{
    printf("usage: moontide %s %s\n\n%c%s.\n", c->name, c->usage, c->summary[0] - 'a' + 'A',
           c->summary + 1);
    if (c->details[0])
        printf("%s%s", c->details[0] == '\n' ? "" : "\n", c->details);
}

const struct commands_entry *commands_entries(size_t *ret_count)
{
    *ret_count = COMMANDS;
    return commands;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 0; i < argc; i++) {
        struct str word = str_from(argv[i]);
        if (str_eq(word, STR("--help")) || str_eq(word, STR("-h")))
            return true;
    }
    return false;
}

static int run_run(int argc, char **argv)
{
    struct config config;
    struct err err;
    int code = config_parse(&config, argc, argv, &err) ? commands_fail_err(&err) : app_run(&config);
    config_deinit(&config);
    return code;
}

static int run_check(int argc, char **argv)
{
    struct config config;
    struct err err;
    int code =
        config_parse(&config, argc, argv, &err) ? commands_fail_err(&err) : app_check(&config);
    config_deinit(&config);
    return code;
}

static int run_stubs(int argc, char **argv)
{
    struct buf out = BUF_INIT;
    struct err err;
    if (argc > 0)
        return commands_fail(EXIT_USAGE, "stubs takes nothing, got \"%s\"", argv[0]);
    int code = load_stubs(&out, &err) != 0 ? commands_fail_err(&err) : EXIT_OK;
    fwrite(out.p, 1, out.n, stdout);
    buf_deinit(&out);
    return code;
}

static int run_version(int argc, char **argv)
{
    if (argc > 0)
        return commands_fail(EXIT_USAGE, "version takes nothing, got \"%s\"", argv[0]);
    puts("moontide " MOONTIDE_VERSION);
    return EXIT_OK;
}

static int run_help(int argc, char **argv)
{
    if (argc == 0) {
        print_usage(stdout);
        return EXIT_OK;
    }
    const struct commands_entry *c = find_command(str_from(argv[0]));
    if (!c)
        return refuse_command(str_from(argv[0]));
    print_help(c);
    return EXIT_OK;
}

int commands_main(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return EXIT_USAGE;
    }
    struct str name = str_from(argv[1]);
    if (str_eq(name, STR("--version")))
        name = STR("version");
    if (str_eq(name, STR("--help")) || str_eq(name, STR("-h")))
        name = STR("help");
    const struct commands_entry *c = find_command(name);
    if (!c)
        return refuse_command(name);
    if (wants_help(argc - 2, argv + 2)) {
        print_help(c);
        return EXIT_OK;
    }
    return c->run(argc - 2, argv + 2);
}
