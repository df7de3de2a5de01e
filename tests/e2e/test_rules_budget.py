# SPDX-License-Identifier: MIT
"""Scripts that would stop everybody if they could: each fails alone, by name, while its neighbour on the same worker
is served. timeout: 300"""
import os
import sys
import threading

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from harness import Server, case, command, eventually, main, temp_dir, write_files  # noqa: E402

BAD = "scripts/routes/pen/bad.lua"
ROUTES = """
return {
  resource "notes" { service = "pen", fields = { text "text", integer "n" } },
  route "good" { service = "pen", method = "GET", path = "/good",
    handle = function() return { text = ("ab"):rep(2), n = select("#", 1, 2) } end },
}
"""


def pen(snippet, before=""):
    """A server with one worker whose POST /bad runs the snippet from line 3 of BAD on."""
    folder = temp_dir()
    write_files(folder, {
        "systems/pen.lua": "return { services = { pen = {} }, breakers = { guard = { timeout_ms = 60000 } } }\n",
        "routes/pen/good.lua": ROUTES,
        "routes/pen/bad.lua": f"{before}\nlocal function bad(request)\n{snippet}\nend\n"
        'return route "bad" { service = "pen", method = "POST", path = "/bad", handle = bad }\n'})
    return Server("pen", scripts=folder, args=["--workers", "1"])


def assert_good(server):
    answer = server.request("GET", "/good")
    assert answer.status == 200 and answer.json == {"text": "abab", "n": 2}, answer


def assert_over(server, lines, words="used more than", times=2, body=None):
    """POST /bad fails with "budget" at one of the lines, each time; a neighbour is served meanwhile and afterwards."""
    answers, stop = [], threading.Event()

    def neighbour():
        while not stop.is_set():
            answers.append(server.request("GET", "/good"))
    thread = threading.Thread(target=neighbour)
    thread.start()
    try:
        for _ in range(times):
            answer = server.request("POST", "/bad", body)
            assert answer.status == 500 and answer.json["code"] == "budget", answer
            assert words in answer.json["message"], answer
    finally:
        stop.set()
        thread.join()
    assert answers and all(a.status == 200 for a in answers), answers[:3]
    assert_good(server)
    logged = server.wait_log(msg="script error", code="budget")
    assert (logged["script"], logged["line"]) in [(BAD, line) for line in lines], logged
    assert server.stop() == 0


def over(name, snippet, lines, words="used more than", before=""):
    """One case: the snippet's first line is line 3."""
    @case(name, seconds=60)
    def run():
        assert_over(pen(snippet, before), lines, words)


over("RULES-5a while true do end (G6)", "while true do end", [3], "100 ms of CPU")
over("RULES-5b endless inside pcalls that catch everything", """
local function again() while true do end end
while true do pcall(pcall, again) pcall(again) end""", [4, 5], "100 ms of CPU")
over("RULES-5b endless inside coroutines inside pcalls", """
local function deep(n)
  if n == 0 then while true do end end
  local co = coroutine.wrap(function() while true do pcall(deep, n - 1) end end)
  while true do pcall(co) end
end
deep(10)""", range(4, 9), "100 ms of CPU")
over("RULES-5b endless in the handler of xpcall", """
xpcall(function() while true do end end, function() while true do end end)
while true do xpcall(error, function() while true do end end) end""", [4, 5], "100 ms of CPU")
over("RULES-5b endless in a <close> variable, and in the one that closes it", """
local forever = setmetatable({}, { __close = function() while true do end end })
local a <close> = forever
local b <close> = forever
while true do end""", [7], "100 ms of CPU")
over("RULES-5b endless in a <close> variable of a closed coroutine", """
local forever = setmetatable({}, { __close = function() while true do end end })
local co = coroutine.create(function() local a <close> = forever coroutine.yield() end)
coroutine.resume(co)
coroutine.close(co)""", [4], "100 ms of CPU")
over("RULES-5b endless in a breaker's body and its fallback", """
breaker "guard":call(function() while true do end end, function() while true do end end)""", [4], "100 ms of CPU")
over("RULES-5b endless in task.all", """
task.all(function() task.sleep("1h") end, function() while true do end end)""", [4], "100 ms of CPU")
over("RULES-5b endless by small steps between waits", """
while true do
  for _ = 1, 10000 do end
  task.sleep(0)
end""", range(4, 7), "100 ms of CPU")
over("RULES-5c endless recursion", "local function again() return 1 + again() end\nreturn again()", [3, 4], "")
over("RULES-5c endless recursion through pcall", "local function again() return pcall(again), 1 + again() end\nagain()",
     [3, 4], "")
over("RULES-5c endless recursion through metamethods and C", """
local t = setmetatable({}, {})
local function again() return ("x"):gsub("x", again) end
return again()""", [5, 6], "")
over("RULES-5d a text of 1 GB by doubling", "local s = 'x'\nwhile #s < 1 << 30 do s = s .. s end\nreturn #s", [4], "")
over("RULES-5d a text of 1 GB by doubling, errors caught", """
local s = 'x'
while true do pcall(function() s = s .. s end) end""", [4, 5])
over("RULES-5d string.rep of 1 GB", "return #('x'):rep(1 << 30)", [3], "string.rep: a text of more than 8 MiB")
over("RULES-5e a table that grows for ever", "local t = {}\nwhile true do t[#t + 1] = #t end", [4])
over("RULES-5e tables that grow for ever over waits", """
local t = {}
while true do
  t[#t + 1] = ("x"):rep(8 << 20)
  task.sleep(1)
end""", [6, 7])
over("RULES-5f table.move of 2^60", "table.move({}, 1, 1 << 60, 2)", [3], "100 ms of CPU")
over("RULES-5f table.insert and remove with a __len", """
local huge = setmetatable({}, { __len = function() return 1 << 60 end })
if request.query.remove then table.remove(huge, 1) end
table.insert(huge, 1, "x")""", [5, 6], "100 ms of CPU")
over("RULES-5f table.concat through __index", """
local huge = setmetatable({}, { __index = function() return "" end })
return table.concat(huge, "", 1, 1 << 60)""", [4, 5], "100 ms of CPU")
over("RULES-5g patterns that backtrack", "return ('x'):rep(1 << 20):find('x*x*x*x*y')", [3], "100 ms of CPU")
over("RULES-5g patterns that backtrack, in gsub, gmatch and match", """
local s = ('x'):rep(1 << 20)
pcall(string.gsub, s, 'x*x*x*y', '')
pcall(string.match, s, '(x*)(x*)(x*)y')
for _ in s:gmatch('.-.-.-.-y') do end""", [5, 6, 7], "100 ms of CPU")
over("RULES-5h sort with a comparator that never ends", "table.sort({ 3, 1, 2 }, function() while true do end end)", [3],
     "100 ms of CPU")
over("RULES-5h sort of endless comparisons in C", """
local t = {}
for i = 1, 1e5 do t[i] = i % 7 end
while true do table.sort(t, math.ult) end""", [4, 5, 6])
over("RULES-5i __index, __eq, __lt, __concat and __call without end", """
local function forever() while true do end end
local t = setmetatable({}, { __index = forever, __eq = forever, __lt = forever, __concat = forever, __call = forever })
pcall(function() return t == setmetatable({}, { __eq = forever }) end)
pcall(function() return t < t end)
pcall(function() return t .. "" end)
pcall(t)
return t.x""", [4], "100 ms of CPU")
over("RULES-5i an answer whose fields are endless", """
return setmetatable({}, { __index = function() while true do end end, __pairs = function() while true do end end }).x""",
     [4], "100 ms of CPU")
over("RULES-5k json.decode and cjson.decode of 8 MB", """
local text = ("["):rep(8 << 20)
local ok, err = pcall(cjson.decode, text)
assert(not ok and err.code == "budget")
return json.decode(text)""", [7], "json.decode: a text of more than 1 MiB")


@case("RULES-5e garbage that is collected is nobody's memory, also over waits", seconds=60)
def garbage():
    server = pen("for _ = 1, 60 do local s = ('x'):rep(1 << 20) task.sleep(1) end\nreturn { fine = true }")
    answer = server.request("POST", "/bad")
    assert answer.status == 200 and answer.json == {"fine": True}, answer


@case("RULES-5d 30 MiB are had again and again, 34 never, whatever other tasks have left behind", seconds=60)
def others_garbage():
    server = pen("local t = {}\nfor i = 1, request.body.mb do t[i] = ('x'):rep((1 << 20) - 40) .. i end\nreturn { n = #t }")
    for mb in (30, 20, 34, 30, 34, 48, 34, 30):
        answer = server.request("POST", "/bad", {"mb": mb})
        assert answer.status == (200 if mb <= 30 else 500), (mb, answer)
        assert mb <= 30 or answer.json["message"] == "used more than 32 MiB of memory", (mb, answer)


@case("RULES-5e string.rep of nothing, 2^60 times, is nothing")
def rep_of_nothing():
    server = pen("return { n = #string.rep('', 1 << 60) }")
    answer = server.request("POST", "/bad")
    assert answer.status == 200 and answer.json == {"n": 0}, answer


@case("RULES-5i an error value with a __tostring is never asked by the host")
def tostring_trick():
    server = pen("error(setmetatable({}, { __tostring = function() while true do end end }))")
    answer = server.request("POST", "/bad")
    assert answer.status == 500 and answer.json["code"] == "script", answer
    assert "a table was raised" in answer.json["message"], answer
    logged = server.wait_log(msg="script error")
    assert (logged["script"], logged["line"], logged["generation"]) == (BAD, 3, 1), logged
    assert_good(server)


@case("RULES-5i __gc is refused by name, and the __tostring of a logged value stops with its task")
def gc_trick():
    server = pen("setmetatable({}, { __gc = function() while true do end end })")
    answer = server.request("POST", "/bad")
    assert answer.status == 500 and answer.json["code"] == "script" and "__gc" in answer.json["message"], answer
    assert_good(server)
    assert_over(pen("log.info(setmetatable({}, { __tostring = function() while true do end end }))"), [3])


@case("RULES-5l JSON nested deeper than 64 is refused, in a body, in json.decode and in an answer")
def deep_json():
    server = pen("""
if request.query.decode then return json.decode(("["):rep(65) .. ("]"):rep(65)) end
if request.query.answer then local t = {} for _ = 1, tonumber(request.query.answer) do t = { t } end return t end
return { ok = true }""")
    deep = "[" * 65 + "]" * 65
    json = {"Content-Type": "application/json"}
    for path, body in [("/bad", deep), ("/notes", deep), ("/bad", "[" * 500000)]:
        answer = server.request("POST", path, body.encode(), json)
        assert 400 <= answer.status <= 500 and "deep" in answer.json["message"], answer
    for path in ["/bad?decode=1", "/bad?answer=100000", "/bad?answer=64"]:
        answer = server.request("POST", path)
        assert 400 <= answer.status <= 500 and "deep" in answer.json["message"], answer
    assert server.request("POST", "/bad?answer=63").status == 200
    assert_good(server)


@case("RULES-5m nobody changes the methods of texts for others")
def string_metatable():
    server = pen("""
for _, change in ipairs {
  function() getmetatable("").__index = {} end, function() string.rep = error end, function() ("").rep = error end,
  function() rawset(string, "rep", error) end, function() setmetatable("", {}) end,
  function() local _, _, t = pairs(string) t.rep = error end,
  function() local _, t = pairs(string) t.rep = error end,
  function() table.insert(string, error) end, function() _ENV.string = {} end,
} do assert(not pcall(change)) end
local _ENV = { string = {} }
return { mine = true }""")
    answer = server.request("POST", "/bad")
    assert answer.status == 200 and answer.json == {"mine": True}, answer
    assert_good(server)


@case("RULES-5n 100 log lines of a task are written, then one that says so")
def log_lines():
    server = pen("for i = 1, 1000 do log.info('line', { i = i }) end log.info(('x'):rep(1 << 20)) return {}")
    assert server.request("POST", "/bad").status == 200
    server.wait_log(msg="further lines dropped")
    assert server.request("POST", "/bad").status == 200
    eventually(lambda: len(server.log_lines(msg="further lines dropped")) == 2, "both tasks said so")
    assert len(server.log_lines(msg="line")) == 200


def refused_load(files, *words):
    folder = temp_dir()
    write_files(folder, {"systems/pen.lua": "return { services = { pen = {} } }\n", **files})
    code, out, err = command("run", "pen", "--scripts", folder, "--data", os.path.join(temp_dir(), "data"),
                             "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0")
    assert code != 0, (out, err)
    for word in words:
        assert word in out + err, (word, out[-2000:], err[-2000:])


@case("RULES-5j a file that loops, recurses, grows or is 8 MB long is refused while it loads, with its line")
def loading():
    path = "routes/pen/bad.lua"
    refused_load({path: "\nwhile true do end"}, f"scripts/{path}:2", "100 ms of CPU")
    refused_load({path: "\nwhile true do pcall(function() while true do end end) end"}, f"scripts/{path}:2",
                 "100 ms of CPU")
    refused_load({path: "\nlocal co = coroutine.wrap(function() while true do end end)\nco()"}, f"scripts/{path}:2",
                 "100 ms of CPU")
    refused_load({path: "local function again() return 1 + again() end\nagain()"}, f"scripts/{path}:1")
    refused_load({path: "local s = 'x'\nwhile true do s = s .. s end"}, "memory")
    refused_load({path: "-- " + "x" * (8 << 20)}, "larger than 1048576 bytes")
    refused_load({"lib/slow.lua": "while true do end"}, "scripts/lib/slow.lua:1", "100 ms of CPU")
    refused_load({path: "return setmetatable({}, { __index = function() while true do end end })"}, path)


if __name__ == "__main__":
    main()
