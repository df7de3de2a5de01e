/* SPDX-License-Identifier: MIT */
/* What shells complete is read out of the texts that help prints: words in lower case of a usage
 * are verbs, and lines of the details that begin with a flag tell its flags and what follows them.
 */
#include "app/commands/inside.h"

#include <stdio.h>

#define WORDS_MAX 64

struct flag {
    struct str name, value; /* "--data", "DIR"; value empty: a switch */
    struct str help;
};

/* What may follow one command. */
struct words {
    struct str verbs[WORDS_MAX];
    size_t verb_count;
    struct flag flags[WORDS_MAX];
    size_t flag_count;
};

/* The next word of *text; signs of the notation are none. */
static bool next_word(struct str *text, struct str *ret)
{
    static const char between[] = " []|,\n";
    while (text->n > 0 && strchr(between, text->p[0]))
        text->p++, text->n--;
    size_t n = 0;
    while (n < text->n && !strchr(between, text->p[n]))
        n++;
    *ret = (struct str){text->p, n};
    text->p += n;
    text->n -= n;
    return n > 0;
}

static void add_verb(struct words *w, struct str verb)
{
    for (size_t i = 0; i < w->verb_count; i++)
        if (str_eq(w->verbs[i], verb))
            return;
    if (w->verb_count < WORDS_MAX)
        w->verbs[w->verb_count++] = verb;
}

static struct flag *add_flag(struct words *w, struct str name)
{
    for (size_t i = 0; i < w->flag_count; i++)
        if (str_eq(w->flags[i].name, name))
            return &w->flags[i];
    if (w->flag_count == WORDS_MAX)
        return NULL;
    w->flags[w->flag_count] = (struct flag){.name = name};
    return &w->flags[w->flag_count++];
}

static bool is_value(struct str word)
{
    return word.p[0] >= 'A' && word.p[0] <= 'Z';
}

/* "  --type T, --key K   only these": flags, each with its value, then the help of all of them. */
static void read_flags(struct words *w, struct str line)
{
    struct str word, rest = line;
    size_t first = w->flag_count;
    struct flag *last = NULL;
    while (next_word(&rest, &word)) {
        if (word.p[0] == '-') {
            last = add_flag(w, word);
        } else if (last && last->value.n == 0 &&
                   (is_value(word) || str_eq(last->name, STR("-o")))) {
            last->value = word;
        } else if (word.p[0] != '.') { /* of "SERVICE,..." */
            rest = (struct str){word.p, (size_t)(line.p + line.n - word.p)};
            break;
        }
    }
    for (size_t i = first; i < w->flag_count; i++)
        w->flags[i].help = rest;
}

static void read_words(const struct commands_entry *c, struct words *w)
{
    struct str word, usage = str_from(c->usage), details = str_from(c->details);
    *w = (struct words){0};
    while (next_word(&usage, &word)) {
        if (word.p[0] >= 'a' && word.p[0] <= 'z')
            add_verb(w, word);
    }
    while (details.n > 0) {
        const char *end = memchr(details.p, '\n', details.n);
        size_t n = end ? (size_t)(end - details.p) : details.n;
        if (str_starts(details, STR("  -")))
            read_flags(w, (struct str){details.p, n});
        n += end ? 1 : 0;
        details.p += n;
        details.n -= n;
    }
}

/* Words that may stand where a value is due; NULL: any. */
static const char *choices_of(struct str value)
{
    return str_eq(value, STR("json"))    ? "json text"
           : str_eq(value, STR("LEVEL")) ? "debug info warn error"
                                         : NULL;
}

/* Verbs and, unless flags is NULL, flags of a command, with blanks between. `help` takes commands.
 */
static void write_words(struct buf *out, const struct commands_entry *c, bool flags)
{
    struct words w;
    size_t count;
    const struct commands_entry *all = commands_entries(&count);
    read_words(c, &w);
    for (size_t i = 0; i < w.verb_count; i++)
        buf_addf(out, "%s%.*s", i > 0 ? " " : "", STR_ARG(w.verbs[i]));
    for (size_t i = 0; strcmp(c->name, "help") == 0 && i < count; i++)
        buf_addf(out, "%s%s", i > 0 ? " " : "", all[i].name);
    for (size_t i = 0; flags && i < w.flag_count; i++)
        buf_addf(out, "%s%.*s", i > 0 || w.verb_count > 0 ? " " : "", STR_ARG(w.flags[i].name));
}

/* All flags whose value is of a kind, "--data|--scripts". */
static void write_flags_of(struct buf *out, const char *value)
{
    struct words all = {0}, w;
    size_t count;
    const struct commands_entry *entries = commands_entries(&count);
    for (size_t c = 0; c < count; c++) {
        read_words(&entries[c], &w);
        for (size_t i = 0; i < w.flag_count; i++)
            if (str_eq(w.flags[i].value, str_from(value)))
                add_flag(&all, w.flags[i].name);
    }
    for (size_t i = 0; i < all.flag_count; i++)
        buf_addf(out, "%s%.*s", i > 0 ? "|" : "", STR_ARG(all.flags[i].name));
}

/* One "case" for the values of flags: `how` completes them in the shell's words. */
static void write_value_case(struct buf *out, const char *value, const char *how)
{
    buf_lit(out, "    ");
    write_flags_of(out, value);
    buf_addf(out, ") %s; return ;;\n", how);
}

static void write_bash(struct buf *out)
{
    size_t count;
    const struct commands_entry *all = commands_entries(&count);
    buf_lit(out, "# bash completion of moontide: source <(moontide completion bash)\n"
                 "_moontide() {\n"
                 "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} words=\n"
                 "  COMPREPLY=()\n"
                 "  if [ \"$COMP_CWORD\" -gt 1 ]; then\n"
                 "    case $prev in\n");
    write_value_case(out, "DIR", "COMPREPLY=($(compgen -d -- \"$cur\"))");
    write_value_case(out, "FILE", "COMPREPLY=($(compgen -f -- \"$cur\"))");
    write_value_case(out, "json", "COMPREPLY=($(compgen -W 'json text' -- \"$cur\"))");
    write_value_case(out, "LEVEL", "COMPREPLY=($(compgen -W 'debug info warn error' -- \"$cur\"))");
    buf_lit(out, "    esac\n  fi\n  case $COMP_CWORD:${COMP_WORDS[1]} in\n    1:*) words='");
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "%s%s", i > 0 ? " " : "", all[i].name);
    buf_lit(out, "' ;;\n");
    for (size_t i = 0; i < count; i++) {
        buf_addf(out, "    *:%s) words='", all[i].name);
        write_words(out, &all[i], true);
        buf_lit(out, "' ;;\n");
    }
    buf_lit(out, "  esac\n  COMPREPLY=($(compgen -W \"$words\" -- \"$cur\"))\n}\n"
                 "complete -F _moontide moontide\n");
}

static void write_zsh(struct buf *out)
{
    size_t count;
    const struct commands_entry *all = commands_entries(&count);
    buf_lit(out, "#compdef moontide\n"
                 "# zsh completion of moontide: source <(moontide completion zsh)\n"
                 "_moontide() {\n  local -a commands\n  commands=(\n");
    for (size_t i = 0; i < count; i++)
        buf_addf(out, "    '%s:%s'\n", all[i].name, all[i].summary);
    buf_lit(out, "  )\n"
                 "  if (( CURRENT == 2 )); then _describe command commands; return; fi\n"
                 "  case $words[CURRENT-1] in\n");
    write_value_case(out, "DIR", "_files -/");
    write_value_case(out, "FILE", "_files");
    write_value_case(out, "json", "compadd json text");
    write_value_case(out, "LEVEL", "compadd debug info warn error");
    buf_lit(out, "  esac\n  case $words[2] in\n");
    for (size_t i = 0; i < count; i++) {
        buf_addf(out, "    %s) compadd -- ", all[i].name);
        write_words(out, &all[i], true);
        buf_lit(out, " ;;\n");
    }
    buf_lit(out, "  esac\n}\ncompdef _moontide moontide\n");
}

static void write_quoted(struct buf *out, struct str s)
{
    buf_addc(out, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '\'' || s.p[i] == '\\')
            buf_addc(out, '\\');
        buf_addc(out, s.p[i]);
    }
    buf_addc(out, '\'');
}

static void write_fish_flag(struct buf *out, const char *command, const struct flag *f)
{
    bool is_long = str_starts(f->name, STR("--"));
    buf_addf(out, "complete -c moontide -n '__fish_seen_subcommand_from %s' %s %.*s", command,
             is_long ? "-l" : "-s", (int)f->name.n - (is_long ? 2 : 1),
             f->name.p + (is_long ? 2 : 1));
    if (str_eq(f->value, STR("DIR")))
        buf_lit(out, " -r -a '(__fish_complete_directories)'");
    else if (str_eq(f->value, STR("FILE")))
        buf_lit(out, " -r -F");
    else if (choices_of(f->value))
        buf_addf(out, " -r -a '%s'", choices_of(f->value));
    else if (f->value.n > 0)
        buf_lit(out, " -r");
    buf_lit(out, " -d ");
    write_quoted(out, f->help);
    buf_addc(out, '\n');
}

static void write_fish(struct buf *out)
{
    size_t count;
    const struct commands_entry *all = commands_entries(&count);
    buf_lit(out, "# fish completion of moontide: moontide completion fish | source\n"
                 "complete -c moontide -f\n");
    for (size_t i = 0; i < count; i++) {
        struct words w;
        read_words(&all[i], &w);
        buf_addf(out, "complete -c moontide -n __fish_use_subcommand -a %s -d ", all[i].name);
        write_quoted(out, str_from(all[i].summary));
        buf_addf(out, "\ncomplete -c moontide -n '__fish_seen_subcommand_from %s' -a '",
                 all[i].name);
        write_words(out, &all[i], false);
        buf_lit(out, "'\n");
        for (size_t k = 0; k < w.flag_count; k++)
            write_fish_flag(out, all[i].name, &w.flags[k]);
    }
}

int commands_completion(int argc, char **argv)
{
    static const struct str shells[] = {{"bash", 4}, {"zsh", 3}, {"fish", 4}};
    static void (*const writers[])(struct buf * out) = {write_bash, write_zsh, write_fish};
    struct commands_args args;
    struct buf out = BUF_INIT;
    int code = commands_args_read(&args, argc, argv, "");
    if (code == EXIT_OK && args.word_count != 1)
        code = commands_fail(EXIT_USAGE, "completion needs a shell: bash, zsh or fish");
    if (code == EXIT_OK)
        code = commands_args_verb(&args, "completion", shells, 3);
    for (size_t i = 0; code == EXIT_OK && i < 3; i++)
        if (str_eq(args.words[0], shells[i]))
            writers[i](&out);
    fputs(buf_str(&out).p, stdout);
    buf_deinit(&out);
    return code;
}
