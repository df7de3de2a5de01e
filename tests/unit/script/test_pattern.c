/* SPDX-License-Identifier: MIT */
/* Our string and table functions beside Lua's own: the same values, or an error from both. What
 * goes in is a table of cases and 60,000 random ones, always the same. */
#include "script/lib/libs.h"

#include <lauxlib.h>
#include <lualib.h>

/* clang-format off */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
/* clang-format on */

static const char prelude[] =
    "local ours, theirs = ...\n"
    "local function all(...) return table.pack(...) end\n"
    "local function same(name, ...)\n"
    "  local a, b = all(pcall(ours[name], ...)), all(pcall(theirs[name], ...))\n"
    "  local function shown(t)\n"
    "    local made = { tostring(t.n) }\n"
    "    for i = 1, t.n do made[#made + 1] = math.type(t[i]) or type(t[i]); made[#made + 1] = "
    "      tostring(t[i]):gsub('^[^:]-:%d+: ', '') end\n"
    "    return theirs.concat(made, '|')\n"
    "  end\n"
    "  local x, y = shown(a), shown(b)\n"
    "  if x ~= y then\n"
    "    local what = {}\n"
    "    for i, v in ipairs({ ... }) do what[i] = ('%q'):format(tostring(v)) end\n"
    "    error(name .. '(' .. theirs.concat(what, ', ') .. '): ours ' .. x .. ', Lua ' .. y, 0)\n"
    "  end\n"
    "end\n"
    "local function walk(lib, ...)\n"
    "  local made = {}\n"
    "  for a, b in lib.gmatch(...) do\n"
    "    made[#made + 1] = tostring(a) .. ',' .. tostring(b)\n"
    "    if #made > 200 then break end\n"
    "  end\n"
    "  return theirs.concat(made, ';')\n"
    "end\n"
    "function ours.walk(...) return walk(ours, ...) end\n"
    "function theirs.walk(...) return walk(theirs, ...) end\n"
    "local function each(text, pattern, init)\n"
    "  same('find', text, pattern, init) same('match', text, pattern, init)\n"
    "  same('find', text, pattern, init, true) same('walk', text, pattern, init)\n"
    "  same('gsub', text, pattern, '<%0>') same('gsub', text, pattern, '%1-%%', 2)\n"
    "  same('gsub', text, pattern, { a = 'X', ab = 7, ['1'] = false })\n"
    "  same('gsub', text, pattern, function(a, b) return b or (a ~= 'a' and a) end)\n"
    "end\n";

static const char table_of_cases[] =
    "local texts = { '', 'a', 'hello world', 'key = value', '  trim  ', '(a(b)c)d', 'aaa', "
    "'\\0a\\0b', 'THE (quick) fox', 'x=1, y=22', 'abcabc', '2026-11-21T08:00:00Z', '%d', ']', "
    "'a-b', '\\255\\128z', 'a.b.c', 'aXb', '[[x]]', 'f(a,b)' }\n"
    "local patterns = { '', '.', '.*', '.-', '.+', 'a*', 'a-', 'a?', 'a+', '^a', 'a$', '^$', '$', "
    "'^', '%a+', '%A', '%d+', '%D', '%s*$', '^%s*(.-)%s*$', '(%w+) = (%w+)', '%b()', '%bxx', "
    "'%b', '%b(', '%f[%w]%w+', '%f[%a]', '%f', '%fa', '()', '()a()', '(a)(b)', '(a)%1', '(()%1)', "
    "'%1', '(a%1)', '(', ')', '(a', 'a)', '[', '[]', '[]]', '[^]]', '[a', '[a-c]+', '[^a-c]+', "
    "'[a-]', '[-a]', '[%a]', '[%a-z]', '[%', '[^', '[a%]]', '%', '%%', 'a%', '%z', '%x+', '%u%l*', "
    "'%p', '%c', '%g+', '%W+', '[%w_]+', '(.)(.)', '((.)(.))', '\\0', '[\\0-\\31]', 'x*x*x*y', "
    "'(%d+)-(%d+)-(%d+)T', '[^%s]+', '%.', 'a.-b', '^(a)', '$a', 'a^b', 'a$b', '(.-)$', '.-$', "
    "'%w*%d', '%9', '(()())', '%q', '%_', '[[]', '[a-%%]', '[%d-z]' }\n"
    "for _, text in ipairs(texts) do for _, pattern in ipairs(patterns) do\n"
    "  each(text, pattern) each(text, pattern, 2) each(text, pattern, -1)\n"
    "  each(text, pattern, 100) each(text, pattern, -100) each(text, pattern, 0)\n"
    "end end\n"
    "each('a', ('('):rep(33) .. (')'):rep(33)) each(('a'):rep(300), ('a?'):rep(210))\n"
    "for _, r in ipairs({ '%', '%2', '%x', '%%', '%0%0', '\\0' }) do same('gsub', 'abc', '(b)', r) "
    "end\n"
    "for _, r in ipairs({ 1, function() return {} end, { b = {} } }) do same('gsub', 'abc', "
    "'b', r) end\n"
    "for _, n in ipairs({ -1, 0, 1, 2, 7 }) do for _, s in ipairs({ '', 'a', 'abc' }) do\n"
    "  same('rep', s, n) same('rep', s, n, ', ') end end\n"
    "same('format', '%5.1f|%s|%q|%x', 3.14159, true, 'a\\n', 255) same('format', '%d', 'x')\n";

static const char random_cases[] =
    "math.randomseed(1, 2)\n"
    "local letters = { 'a', 'b', '1', ' ', '(', ')', '%', '[', ']', '-', '*', '+', '?', '^', '$', "
    "'.', '%a', '%d', '%b()', '%f[a]', '[ab]', '[^a]', '(a)', '()', '%1', '\\0' }\n"
    "local plain = { 'a', 'b', '1', ' ', '(', ')', 'a', 'b', '-', '\\0' }\n"
    "local function make(from, most)\n"
    "  local made = {}\n"
    "  for i = 1, math.random(0, most) do made[i] = from[math.random(#from)] end\n"
    "  return theirs.concat(made)\n"
    "end\n"
    "for _ = 1, 10000 do each(make(plain, 12), make(letters, 7), math.random(-14, 14)) end\n";

static const char table_cases[] =
    "local function list(n) local t = {} for i = 1, n do t[i] = i end return t end\n"
    "local function does(name, n, ...)\n"
    "  local a, b = list(n), list(n)\n"
    "  local x, y = all(pcall(ours[name], a, ...)), all(pcall(theirs[name], b, ...))\n"
    "  assert(x[1] == y[1] and x.n == y.n, name .. ' ' .. n)\n"
    "  for i = 2, x.n do assert(x[i] == y[i] or (x[i] == a and y[i] == b) or not x[1], name) end\n"
    "  for i = -20, 40 do assert(a[i] == b[i], name .. ' ' .. n .. ' at ' .. i) end\n"
    "end\n"
    "for n = 0, 6 do\n"
    "  does('insert', n) does('insert', n, 'v') does('insert', n, 1, 2, 3)\n"
    "  does('remove', n) does('concat', n) does('concat', n, ', ') does('unpack', n) does('sort', "
    "n)\n"
    "  for i = -2, 9 do\n"
    "    does('insert', n, i, 'v') does('remove', n, i) does('concat', n, '-', i)\n"
    "    does('unpack', n, i) does('unpack', n, 1, i)\n"
    "    for k = -2, 9 do does('move', n, i, k, 3) does('move', n, 2, 3, i) does('concat', n, '', "
    "i, k) end\n"
    "  end\n"
    "end\n"
    "does('unpack', 3, 1, 1 << 40) does('concat', 3, '', 9007199254740992, 9007199254740993)\n"
    "does('concat', 0, '', math.maxinteger, math.maxinteger)\n"
    "math.randomseed(3, 4)\n"
    "for n = 0, 300 do\n"
    "  local a, b = {}, {}\n"
    "  for i = 1, n do a[i] = math.random(50); b[i] = a[i] end\n"
    "  local order = n % 2 == 0 and function(x, y) return x > y end or nil\n"
    "  ours.sort(a, order) theirs.sort(b, order)\n"
    "  for i = 1, n do assert(a[i] == b[i], 'sort ' .. n) end\n"
    "end\n"
    "assert(not pcall(ours.sort, { 1, 'a' }))\n"
    "ours.sort(list(100), function() return true end)\n";

static void run(const char *cases, lua_CFunction open, const char *library)
{
    lua_State *L = luaL_newstate();
    luaL_openlibs(L);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    luaL_addstring(&b, prelude);
    luaL_addstring(&b, cases);
    luaL_pushresult(&b);
    if (luaL_loadstring(L, lua_tostring(L, -1)) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_pushcfunction(L, open);
    lua_call(L, 0, 1);
    lua_getglobal(L, library);
    lua_getglobal(L, "table");
    lua_getfield(L, -1, "concat");
    lua_setfield(L, -3, "concat");
    lua_pop(L, 1);
    if (lua_pcall(L, 2, 0, 0) != LUA_OK)
        fail_msg("%s", lua_tostring(L, -1));
    lua_close(L);
}

static void patterns_of_a_table_match_as_in_lua(void **state)
{
    (void)state;
    run(table_of_cases, lib_string_open, "string");
}

static void random_patterns_match_as_in_lua(void **state)
{
    (void)state;
    run(random_cases, lib_string_open, "string");
}

static void table_functions_do_as_in_lua(void **state)
{
    (void)state;
    run(table_cases, lib_table_open, "table");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(patterns_of_a_table_match_as_in_lua),
        cmocka_unit_test(random_patterns_match_as_in_lua),
        cmocka_unit_test(table_functions_do_as_in_lua),
    };
    return cmocka_run_group_tests_name("script/pattern", tests, NULL, NULL);
}
