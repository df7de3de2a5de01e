/* SPDX-License-Identifier: MIT */
/* Settings from arbitrary command lines, environments and files. Up to a line "--" each line of the
 * input is a word of the command line or, when it begins with '$', a variable behind MOONTIDE_;
 * what follows is the text of the settings file. Whatever comes of it, a refusal says why, and
 * settings that were taken are within their bounds. The file is also taken for the table of a
 * system that the settings are laid over. */
#include "app/config.h"
#include "fuzz.h"
#include "http/url.h"
#include "script/datafile.h"

#include <sys/mman.h>
#include <unistd.h>

#define WORDS_MAX 32
#define VARIABLES_MAX 16
#define FILE_NAME "settings.lua"

struct places {
    char *words[WORDS_MAX + 2];
    int word_count;
    char *variables[VARIABLES_MAX + 1];
    int variable_count;
    struct str file;
};

static bool is_file_flag(const char *word)
{
    return strncmp(word, "--config", 8) == 0; /* names files of this machine */
}

static void add_word(struct places *p, struct arena *a, struct str line)
{
    char *word = (char *)arena_str(a, line).p;
    if (line.p[0] != '$') {
        if (p->word_count < WORDS_MAX && !is_file_flag(word))
            p->words[p->word_count++] = word;
        return;
    }
    struct buf text = BUF_INIT;
    buf_lit(&text, "MOONTIDE_");
    buf_adds(&text, str_from(word + 1));
    if (p->variable_count < VARIABLES_MAX && !str_starts(buf_str(&text), STR("MOONTIDE_CONFIG")))
        p->variables[p->variable_count++] = (char *)arena_str(a, buf_str(&text)).p;
    buf_deinit(&text);
}

static void read_places(struct places *p, struct arena *a, struct str input)
{
    while (input.n > 0) {
        const char *end = memchr(input.p, '\n', input.n);
        size_t n = end ? (size_t)(end - input.p) : input.n;
        struct str line = {input.p, n};
        input.p += n + (end ? 1 : 0);
        input.n -= n + (end ? 1 : 0);
        if (str_eq(line, STR("--"))) {
            p->file = input;
            return;
        }
        if (n > 0)
            add_word(p, a, line);
    }
}

static bool is_known(struct str path)
{
    static const char *const names[] = {"breakers.", "services.", "json.", "config."};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (str_starts(path, str_from(names[i])) && path.n > strlen(names[i]))
            return true;
    }
    return false;
}

static void check_taken(const struct config *c)
{
    require(c->workers >= 1 && c->workers <= 64);
    require(c->max_outstanding >= 1 && c->max_outstanding <= 1000000);
    require(config_name_is_valid(c->system));
    require(http_authority_is_valid(c->listen) && http_authority_is_valid(c->admin));
    require(c->data.n > 0 && c->scripts.n > 0);
    for (size_t i = 0; i < c->override_count; i++)
        require(is_known(c->overrides[i].path) && c->overrides[i].origin.n > 0);
}

static void check_refused(const struct err *err)
{
    require(err->code == ERR_CONFIG || err->code == ERR_INVALID);
    require(err->message[0] != '\0' && strlen(err->message) < sizeof(err->message));
}

/* Of the file's tables: that breakers of a system, overrides laid over. */
static void check_overlay(struct config *c, struct arena *a, struct json *table)
{
    struct err err = {.code = ERR_NONE};
    const struct json *breakers = json_find(table, STR("breakers"));
    struct json copy = breakers ? *breakers : *table;
    if (config_overlay(c, a, STR("breakers."), &copy, &err))
        check_refused(&err);
    if (config_check_used(c, table->names, table->type == JSON_OBJECT ? table->count : 0, &err))
        check_refused(&err);
}

/* Where config_parse finds the file: in memory, so that thousands of inputs a second touch no disk.
 */
static void give_file(struct places *p, struct arena *a, int fd)
{
    char name[40];
    require(write(fd, p->file.p, p->file.n) == (ssize_t)p->file.n);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    p->words[p->word_count++] = "--config";
    p->words[p->word_count++] = (char *)arena_str(a, str_from(name)).p;
}

static void check_settings(struct places *p, struct arena *a, struct json *table)
{
    struct config c;
    struct err err = {.code = ERR_NONE};
    char **before = environ;
    environ = p->variables;
    int failed = config_parse(&c, p->word_count, p->words, &err);
    environ = before;
    if (failed)
        check_refused(&err);
    else
        check_taken(&c);
    if (table)
        check_overlay(&c, a, table);
    config_deinit(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *a = arena_new(0);
    struct places p = {.word_count = 0};
    struct json table;
    struct err err = {.code = ERR_NONE};
    bool parsed = false;
    read_places(&p, a, (struct str){(const char *)data, size});
    int fd = p.file.p ? memfd_create(FILE_NAME, MFD_CLOEXEC) : -1;
    if (fd >= 0) {
        give_file(&p, a, fd);
        parsed = datafile_parse(FILE_NAME, p.file, a, &table, &err) == 0;
        if (!parsed)
            check_refused(&err);
        require(!parsed || table.type == JSON_OBJECT || table.type == JSON_LIST);
    }
    check_settings(&p, a, parsed ? &table : NULL);
    if (fd >= 0)
        close(fd);
    arena_free(a);
    return 0;
}
