/* SPDX-License-Identifier: MIT */
/* What one state compiled, read back by others: the same function with the same lines, never that
 * of another text, and no bytecode from outside. */
#include "base/buf.h"
#include "base/mem.h"
#include "script/code.h"

#include <lauxlib.h>
#include <lualib.h>

#include <stdlib.h>

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

struct text {
    struct str source;
    const char *chunk;
};

/* [light userdata text] -> what the text returns */
static int load_and_run(lua_State *L)
{
    const struct text *t = lua_touserdata(L, 1);
    code_load(L, t->source, t->chunk);
    lua_call(L, 0, 1);
    return 1;
}

/* In a state of its own that uses c: what the text returns, or its error, as a text. Owned. */
static char *run(struct code *c, const char *chunk, struct str source)
{
    struct text t = {source, chunk};
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    code_use(L, c);
    lua_pushcfunction(L, load_and_run);
    lua_pushlightuserdata(L, &t);
    lua_pcall(L, 1, 1, 0);
    size_t n;
    const char *text = lua_tolstring(L, -1, &n);
    char *result = xstrndup(text, n);
    lua_close(L);
    return result;
}

static void expect(struct code *c, const char *chunk, const char *source, const char *result)
{
    char *found = run(c, chunk, str_from(source));
    assert_string_equal(found, result);
    free(found);
}

static void each_state_gets_the_same_function(void **state)
{
    struct code *c = code_new();
    (void)state;
    for (int i = 0; i < 3; i++) {
        expect(c, "@a.lua", "local n = 40\nreturn n + 2", "42");
        expect(c, "@a.lua", "local x\n\nx.y = 1",
               "a.lua:3: attempt to index a nil value (local 'x')");
        expect(c, "@a.lua", "local = 1", "a.lua:1: <name> expected near '='");
    }
    code_free(c);
}

static void a_text_is_told_by_its_bytes_and_its_chunk(void **state)
{
    struct code *c = code_new();
    (void)state;
    expect(c, "@a.lua", "return 1", "1");
    expect(c, "@a.lua", "return 2", "2");
    expect(c, "@b.lua", "error('x')", "b.lua:1: x");
    expect(c, "@c.lua", "error('x')", "c.lua:1: x");
    expect(NULL, "@a.lua", "return 1", "1");
    code_free(c);
}

static void what_no_state_of_a_tree_asked_for_is_forgotten(void **state)
{
    struct code *c = code_new();
    (void)state;
    expect(c, "@a.lua", "return 1", "1");
    expect(c, "@b.lua", "return 2", "2");
    code_forget(c);
    assert_int_equal(code_count(c), 2);
    expect(c, "@a.lua", "return 1", "1");
    expect(c, "@b.lua", "return 3", "3");
    assert_int_equal(code_count(c), 3);
    code_forget(c);
    assert_int_equal(code_count(c), 2);
    expect(c, "@a.lua", "return 1", "1");
    expect(c, "@b.lua", "return 3", "3");
    expect(c, "@b.lua", "local =", "b.lua:1: <name> expected near '='");
    assert_int_equal(code_count(c), 2);
    code_forget(c);
    code_forget(c);
    assert_int_equal(code_count(c), 0);
    expect(c, "@a.lua", "return 1", "1");
    code_free(c);
}

static int add_piece(lua_State *L, const void *p, size_t n, void *out)
{
    (void)L;
    buf_add(out, p, n);
    return 0;
}

static void bytecode_is_no_text(void **state)
{
    struct code *c = code_new();
    struct buf made = BUF_INIT;
    lua_State *L = luaL_newstate();
    (void)state;
    assert_int_equal(luaL_loadstring(L, "return 1"), LUA_OK);
    assert_int_equal(lua_dump(L, add_piece, &made, 0), 0);
    lua_close(L);
    for (int i = 0; i < 2; i++) {
        char *found = run(i == 0 ? c : NULL, "@a.lua", buf_str(&made));
        assert_string_equal(found, "attempt to load a binary chunk (mode is 't')");
        free(found);
    }
    buf_deinit(&made);
    code_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_state_gets_the_same_function),
        cmocka_unit_test(a_text_is_told_by_its_bytes_and_its_chunk),
        cmocka_unit_test(what_no_state_of_a_tree_asked_for_is_forgotten),
        cmocka_unit_test(bytecode_is_no_text),
    };
    return cmocka_run_group_tests_name("script/code", tests, NULL, NULL);
}
