/* SPDX-License-Identifier: MIT */
/* Which functions assign to a local from outside of them, told from the code of the Lua that is
 * installed: table of sources, and answers for code that is cut, changed or of another version. */
#include "base/buf.h"
#include "script/assigned.h"

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

#define HEADER 31 /* bytes before what differs from function to function */

static int add_piece(lua_State *L, const void *p, size_t n, void *out)
{
    (void)L;
    buf_adds(out, (struct str){p, n});
    return 0;
}

/* Runs the source; the code of the function that it returns is left in code, itself on L. */
static void compile(lua_State *L, const char *source, struct buf *code)
{
    buf_clear(code);
    assert_int_equal(luaL_loadbuffer(L, source, strlen(source), "@x.lua"), LUA_OK);
    lua_call(L, 0, 1);
    assert_int_equal(lua_dump(L, add_piece, code, 0), 0);
}

struct example {
    const char *source, *name; /* of the local that is assigned to; NULL: none */
    int line;
};

static const struct example examples[] = {
    {"local n = 0\nreturn function()\n  n = n + 1\nend", "n", 3},
    {"local a, n\nreturn function()\n\n\n  local x = a\n  n = x\nend", "n", 6},
    {"local n\nreturn function() return function() return function()\nn = 1 end end end", "n", 3},
    {"local n\nreturn function() for i = 1, 3 do\nif i > 1 then goto out end\nn = i\n::out:: end "
     "end",
     "n", 4},
    {"local n\nreturn function() return 1.5, 7, 'text', nil, true, {}, function() n = 'x' end end",
     "n", 2},
    {"local n = 0\nreturn function() return n end", NULL, 0},
    {"local t = {}\nreturn function() t.n = 1 t[1] = 2 return t end", NULL, 0},
    {"return function(n) n = n + 1 return function() n = n + 1 return n end end", NULL, 0},
    {"local n\nreturn function() local n = 1 return function() n = 2 end end", NULL, 0},
    {"return function() return 1 end", NULL, 0},
};

static void assigned_locals_are_found_in_the_code_of_the_installed_lua(void **state)
{
    (void)state;
    lua_State *L = luaL_newstate();
    struct buf code = BUF_INIT;
    for (size_t i = 0; i < sizeof(examples) / sizeof(*examples); i++) {
        const struct example *e = &examples[i];
        struct assigned found = {-1, -1};
        compile(L, e->source, &code);
        enum assigned_answer answer = assigned_find(buf_str(&code), &found);
        assert_int_equal(answer, e->name != NULL ? ASSIGNED_FOUND : ASSIGNED_NONE);
        assert_int_equal(found.line, e->name != NULL ? e->line : -1);
        if (e->name != NULL)
            assert_string_equal(lua_getupvalue(L, -1, found.upvalue + 1), e->name);
    }
    buf_deinit(&code);
    lua_close(L);
}

/* 300 lines between two instructions, and hundreds of instructions: absolute lines are written. */
static void lines_are_right_in_long_functions(void **state)
{
    (void)state;
    lua_State *L = luaL_newstate();
    struct buf source = BUF_INIT, code = BUF_INIT;
    struct assigned found;
    buf_lit(&source, "local n\nreturn function(x)\n");
    for (int i = 0; i < 600; i++)
        buf_lit(&source, "x = x + 1\n");
    for (int i = 0; i < 300; i++)
        buf_lit(&source, "\n");
    buf_lit(&source, "n = x\nend");
    buf_add(&source, "", 1);
    compile(L, source.p, &code);
    assert_int_equal(assigned_find(buf_str(&code), &found), ASSIGNED_FOUND);
    assert_int_equal(found.line, 903);
    buf_deinit(&source);
    buf_deinit(&code);
    lua_close(L);
}

static void code_of_another_form_is_told_apart(void **state)
{
    (void)state;
    lua_State *L = luaL_newstate();
    struct buf code = BUF_INIT;
    struct assigned found;
    compile(L, examples[0].source, &code);
    struct str whole = buf_str(&code);
    static const int places[] = {0, 4, 5, 12, 13, 14}; /* signature, version, format, sizes */
    for (size_t i = 0; i < sizeof(places) / sizeof(*places); i++) {
        code.p[places[i]] ^= 1;
        assert_int_equal(assigned_find(whole, &found), ASSIGNED_UNKNOWN);
        code.p[places[i]] ^= 1;
    }
    assert_int_equal(assigned_find(whole, &found), ASSIGNED_FOUND);
    for (size_t n = 0; n < whole.n; n++) {
        char *exact = malloc(n > 0 ? n : 1); /* a byte read too far is seen */
        memcpy(exact, whole.p, n);
        assert_int_equal(assigned_find((struct str){exact, n}, &found), ASSIGNED_UNKNOWN);
        free(exact);
    }
    for (size_t at = HEADER; at < whole.n; at++) { /* whatever it answers */
        code.p[at] = (char)~code.p[at];
        assigned_find(whole, &found);
        code.p[at] = (char)~code.p[at];
    }
    buf_deinit(&code);
    lua_close(L);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assigned_locals_are_found_in_the_code_of_the_installed_lua),
        cmocka_unit_test(lines_are_right_in_long_functions),
        cmocka_unit_test(code_of_another_form_is_told_apart),
    };
    return cmocka_run_group_tests_name("script/assigned", tests, NULL, NULL);
}
