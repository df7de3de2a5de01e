/* SPDX-License-Identifier: MIT */
/* What a data folder holds beside what its scripts declare. The scripts are those of the active
 * generation, which the folder keeps: what lies in ./scripts may never have run here. */
#include "app/commands/inside.h"
#include "app/generation.h"
#include "store/inspect.h"

#include <stdio.h>

/* A look at a folder. */
struct look {
    const struct commands_args *args;
    struct arena *arena;
    struct config config;
    const char *folder;
    struct store_found found;
    struct tree *tree;
    struct program *program;
};

static void end_look(struct look *l)
{
    program_unref(l->program);
    tree_free(l->tree);
    config_deinit(&l->config);
    arena_free(l->arena);
}

/* ---- what is declared ---- */

/* "lab" of "systems/lab.lua" among the sources. */
static int find_system(struct look *l, struct str *ret, struct err *err)
{
    struct json j;
    struct str before = STR("systems/"), after = STR(".lua");
    if (json_parse(l->arena, l->found.sources, 8, &j, err) != 0)
        return -1;
    for (size_t i = 0; j.type == JSON_OBJECT && i < j.count; i++) {
        struct str name = j.names[i];
        if (!str_starts(name, before) || name.n <= before.n + after.n)
            continue;
        *ret = (struct str){name.p + before.n, name.n - before.n - after.n};
        return 0;
    }
    return err_set(err, ERR_IO, "the sources of the generation cannot be read");
}

static int load(struct look *l, struct err *err)
{
    struct str system;
    if (l->found.generation == 0)
        return err_set(err, ERR_NOT_FOUND, "nothing has run in %s yet", l->folder);
    if (find_system(l, &system, err) != 0 ||
        generation_read_sources(l->found.sources, system, &l->tree, err) != 0)
        return -1;
    struct load_conf conf = {.tree = l->tree};
    lua_State *L = load_state(&conf, err);
    if (!L)
        return -1;
    l->program = load_program(L, &conf, err);
    load_close(L);
    return l->program ? 0 : -1;
}

static const struct store_table *declared_table(const struct look *l, struct str name)
{
    const struct store_schema *schema = &l->program->schema;
    const char *dot = memchr(name.p, '.', name.n);
    if (!dot)
        return NULL;
    struct str service = {name.p, (size_t)(dot - name.p)};
    return store_schema_table(schema, service, (struct str){dot + 1, name.n - service.n - 1});
}

static struct str column_of(const struct store_found_table *found, struct str field)
{
    for (size_t i = 0; i < found->rename_count; i++)
        if (str_eq(found->renames[i].field, field))
            return found->renames[i].column;
    return field;
}

/* The declared field that the column holds, or NULL: it is hidden. */
static const struct field *declared_field(const struct store_table *t,
                                          const struct store_found_table *found, struct str column)
{
    for (int i = 0; t && i < t->field_count; i++)
        if (str_eq(column_of(found, t->fields[i].name), column))
            return &t->fields[i];
    return NULL;
}

/* ---- show ---- */

static void write_member(struct buf *out, const char *name, struct str text)
{
    buf_addf(out, "\"%s\":", name);
    json_text(out, text);
}

static void write_columns(struct buf *out, const struct store_table *t,
                          const struct store_found_table *found)
{
    for (size_t i = 0; i < found->column_count; i++) {
        const struct store_found_column *c = &found->columns[i];
        const struct field *f = declared_field(t, found, c->name);
        buf_adds(out, i > 0 ? STR(",{") : STR("{"));
        write_member(out, "name", f ? f->name : c->name);
        buf_addc(out, ',');
        write_member(out, "column", c->name);
        buf_addc(out, ',');
        write_member(out, "type", c->type);
        buf_addf(out, ",\"hidden\":%s}", f ? "false" : "true");
    }
}

/* The fields of an index, for people and JSON. */
static void write_fields(struct buf *out, const struct store_table *t,
                         const struct store_found_table *found, struct str columns, bool json)
{
    while (columns.n > 0) {
        const char *comma = memchr(columns.p, ',', columns.n);
        struct str column = {columns.p, comma ? (size_t)(comma - columns.p) : columns.n};
        const struct field *f = declared_field(t, found, column);
        if (json)
            json_text(out, f ? f->name : column);
        else
            buf_adds(out, f ? f->name : column);
        size_t used = column.n + (comma ? 1 : 0);
        columns = (struct str){columns.p + used, columns.n - used};
        if (columns.n > 0)
            buf_adds(out, json ? STR(",") : STR(", "));
    }
}

static void write_table(struct buf *out, const struct look *l,
                        const struct store_found_table *found)
{
    const struct store_table *t = declared_table(l, found->name);
    buf_addc(out, '{');
    write_member(out, "table", found->name);
    buf_addf(out, ",\"rows\":%lld,\"hidden\":%s,\"columns\":[", (long long)found->rows,
             t ? "false" : "true");
    write_columns(out, t, found);
    buf_lit(out, "],\"indexes\":[");
    for (size_t i = 0; i < found->index_count; i++) {
        buf_adds(out, i > 0 ? STR(",{\"fields\":[") : STR("{\"fields\":["));
        write_fields(out, t, found, found->indexes[i].columns, true);
        buf_addf(out, "],\"unique\":%s}", found->indexes[i].unique ? "true" : "false");
    }
    buf_lit(out, "]}");
}

static void show_json(const struct look *l)
{
    struct buf out = BUF_INIT;
    buf_addf(&out, "{\"generation\":%lld,\"tables\":[", (long long)l->found.generation);
    for (size_t i = 0; i < l->found.table_count; i++) {
        if (i > 0)
            buf_addc(&out, ',');
        write_table(&out, l, &l->found.tables[i]);
    }
    buf_lit(&out, "]}");
    puts(buf_str(&out).p);
    buf_deinit(&out);
}

static void add_row(struct commands_table *t, struct str table, struct str what, struct str name,
                    struct str note)
{
    commands_table_add(t, table);
    commands_table_add(t, what);
    commands_table_add(t, name);
    commands_table_add(t, note);
}

static void add_columns(struct commands_table *out, const struct store_table *t,
                        const struct store_found_table *found)
{
    for (size_t i = 0; i < found->column_count; i++) {
        const struct store_found_column *c = &found->columns[i];
        const struct field *f = declared_field(t, found, c->name);
        struct buf note = BUF_INIT;
        buf_adds(&note, f ? STR("") : STR("hidden"));
        if (f && !str_eq(f->name, c->name))
            buf_addf(&note, "column %.*s", STR_ARG(c->name));
        add_row(out, STR(""), c->type, f ? f->name : c->name, buf_str(&note));
        buf_deinit(&note);
    }
}

static void show_text(const struct look *l)
{
    struct commands_table *out = commands_table_new(4);
    add_row(out, STR("TABLE"), STR("TYPE"), STR("NAME"), STR(""));
    for (size_t i = 0; i < l->found.table_count; i++) {
        const struct store_found_table *found = &l->found.tables[i];
        const struct store_table *t = declared_table(l, found->name);
        struct buf text = BUF_INIT;
        buf_addf(&text, "%lld rows%s", (long long)found->rows, t ? "" : ", hidden");
        add_row(out, found->name, STR(""), STR(""), buf_str(&text));
        add_columns(out, t, found);
        for (size_t k = 0; k < found->index_count; k++) {
            buf_clear(&text);
            write_fields(&text, t, found, found->indexes[k].columns, false);
            add_row(out, STR(""), found->indexes[k].unique ? STR("unique") : STR("index"),
                    buf_str(&text), STR(""));
        }
        buf_deinit(&text);
    }
    commands_table_print(out, "no tables");
    commands_table_free(out);
}

static int show(struct look *l)
{
    struct err err;
    if (store_inspect(l->folder, l->arena, &l->found, &err) != 0 || load(l, &err) != 0)
        return commands_fail(EXIT_FAILED, "%s", err.message);
    if (l->args->json)
        show_json(l);
    else
        show_text(l);
    return EXIT_OK;
}

/* ---- prune ---- */

/* Everything that is declared no longer. */
static size_t list_prunes(const struct look *l, struct store_prune **ret)
{
    size_t most = 1, n = 0;
    for (size_t i = 0; i < l->found.table_count; i++)
        most += 1 + l->found.tables[i].column_count;
    struct store_prune *items = arena_zalloc(l->arena, most * sizeof(*items));
    for (size_t i = 0; i < l->found.table_count; i++) {
        const struct store_found_table *found = &l->found.tables[i];
        const struct store_table *t = declared_table(l, found->name);
        if (!t)
            items[n++].table = found->name;
        for (size_t k = 0; t && k < found->column_count; k++)
            if (!declared_field(t, found, found->columns[k].name))
                items[n++] = (struct store_prune){found->name, found->columns[k].name};
    }
    *ret = items;
    return n;
}

static int64_t rows_of(const struct look *l, struct str table)
{
    for (size_t i = 0; i < l->found.table_count; i++)
        if (str_eq(l->found.tables[i].name, table))
            return l->found.tables[i].rows;
    return 0;
}

static void print_prunes(const struct look *l, const struct store_prune *items, size_t count)
{
    struct buf out = BUF_INIT;
    bool dry = l->args->dry_run, json = l->args->json;
    if (json)
        buf_addf(&out, "{\"dry_run\":%s,\"dropped\":[", dry ? "true" : "false");
    for (size_t i = 0; i < count; i++) {
        struct buf text = BUF_INIT;
        buf_addf(&text, "%s %.*s", items[i].column.n > 0 ? "column" : "table",
                 STR_ARG(items[i].table));
        if (items[i].column.n > 0)
            buf_addf(&text, ".%.*s", STR_ARG(items[i].column));
        buf_addf(&text, " (%lld rows)", (long long)rows_of(l, items[i].table));
        if (json && i > 0)
            buf_addc(&out, ',');
        if (json)
            json_text(&out, buf_str(&text));
        else
            buf_addf(&out, "%s %s\n", dry ? "would drop" : "dropped", buf_str(&text).p);
        buf_deinit(&text);
    }
    if (json)
        buf_lit(&out, "]}\n");
    else if (count == 0)
        buf_lit(&out, "nothing to drop: all tables and columns are declared\n");
    fputs(buf_str(&out).p, stdout);
    buf_deinit(&out);
}

/* With the folder locked, so that no server can start meanwhile. */
static int prune_locked(struct look *l, struct store *s)
{
    struct err err;
    struct store_prune *items;
    if (store_inspect(l->folder, l->arena, &l->found, &err) != 0 || load(l, &err) != 0)
        return commands_fail(EXIT_FAILED, "%s", err.message);
    size_t count = list_prunes(l, &items);
    if (count > 0 && !l->args->dry_run &&
        store_prune(s, items, count, arena_str(l->arena, l->args->backup).p, &err) != 0)
        return commands_fail(EXIT_FAILED, "nothing was dropped: %s", err.message);
    print_prunes(l, items, count);
    return EXIT_OK;
}

static int prune(struct look *l)
{
    struct clock clock;
    struct err err;
    struct store_found ignored;
    if (l->args->backup.n == 0 && !l->args->dry_run)
        return commands_fail(EXIT_USAGE, "schema prune needs --backup FILE, or --dry-run");
    clock_real_init(&clock);
    struct store_conf conf = {.folder = l->folder, .clock = &clock};
    if (store_inspect(l->folder, l->arena, &ignored, &err) != 0) /* opening would make one */
        return commands_fail(EXIT_FAILED, "%s", err.message);
    struct store *s = store_open(&conf, &err);
    if (!s)
        return commands_fail(EXIT_FAILED, "%s%s", err.message,
                             err.code == ERR_LOCKED ? "; schema prune wants the server stopped"
                                                    : "");
    int code = prune_locked(l, s);
    store_close(s);
    return code;
}

/* ---- the command ---- */

static int start_look(struct look *l)
{
    l->arena = arena_new(0);
    int code = commands_args_folder(l->args, 1, l->arena, &l->config);
    if (code == EXIT_OK)
        l->folder = arena_str(l->arena, l->config.data).p;
    return code;
}

int commands_schema(int argc, char **argv)
{
    static const struct str verbs[] = {{"show", 4}, {"prune", 5}};
    struct commands_args args;
    int code = commands_args_read(&args, argc, argv, "--backup --dry-run");
    if (code != EXIT_OK)
        return code;
    code = commands_args_verb(&args, "schema", verbs, 2);
    if (code != EXIT_OK)
        return code;
    bool is_show = args.word_count == 0 || str_eq(args.words[0], verbs[0]);
    if (args.word_count > 2)
        return commands_fail(EXIT_USAGE, "too many words at \"%.*s\"", STR_ARG(args.words[2]));
    struct look l = {.args = &args};
    code = start_look(&l);
    if (code == EXIT_OK)
        code = is_show ? show(&l) : prune(&l);
    end_look(&l);
    return code;
}
