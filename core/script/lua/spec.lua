-- SPDX-License-Identifier: MIT
-- The words of specs: describe and it collect the cases, then each runs in a system of its own. core: what
-- script/spec.c offers; source, path: the spec file; filter: a part of the names of the cases to run, or nil; suffix:
-- of their names.
local core, source, path, filter, suffix = ...
local json = core.json

-- ---- failures ----

-- "path:line" of the spec file's lines on the stack, innermost first.
local function lines_of_spec()
  local lines = {}
  for level = 2, 60 do
    local info = debug.getinfo(level, "Sl")
    if not info then break end
    if info.source == "@" .. path and info.currentline > 0 then lines[#lines + 1] = path .. ":" .. info.currentline end
  end
  return lines
end

local failure_meta = { __tostring = function(failure) return failure.message end }

-- Raises a failed expectation with the lines that led to it.
local function failed(format, ...)
  error(setmetatable({ message = format:format(...), lines = lines_of_spec() }, failure_meta), 0)
end

local function describe_error(raised)
  if getmetatable(raised) == failure_meta then return raised end
  return { message = tostring(raised), lines = lines_of_spec() }
end

local function text_of(failure, last)
  local parts = { failure.message }
  for _, line in ipairs(failure.lines) do
    if not failure.message:find(line .. ":", 1, true) then parts[#parts + 1] = "at " .. line end
  end
  if last and last.status >= 400 then parts[#parts + 1] = "the last answer: " .. last.status .. " " .. last.text end
  return table.concat(parts, "\n")
end

-- ---- values ----

local show

local function show_table(value, depth)
  local keys, parts = {}, {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys, function(a, b)
    if type(a) == type(b) and (type(a) == "number" or type(a) == "string") then return a < b end
    return type(a) < type(b)
  end)
  for i, key in ipairs(keys) do
    local name = math.type(key) == "integer" and key == i and "" or tostring(key) .. " = "
    parts[i] = name .. show(value[key], depth + 1)
  end
  return "{ " .. table.concat(parts, ", ") .. " }"
end

function show(value, depth)
  if value == json.null then return "json.null" end
  if type(value) == "string" then return ("%q"):format(value):gsub("\\\n", "\\n") .. "" end
  if type(value) ~= "table" then return tostring(value) end
  if (depth or 0) > 8 then return "{...}" end
  return show_table(value, depth or 0)
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

-- ---- expectations ----

local expect = {}

local function because(message) return message and " (" .. tostring(message) .. ")" or "" end

--- Equal as by ==.
function expect.equal(expected, actual, message)
  if expected ~= actual then failed("expected %s, got %s%s", show(expected), show(actual), because(message)) end
end

--- Equal all the way down.
function expect.same(expected, actual, message)
  if not same(expected, actual) then
    failed("expected %s\n     got %s%s", show(expected), show(actual), because(message))
  end
end

function expect.truthy(value, message)
  if not value then failed("expected something true, got %s%s", show(value), because(message)) end
end

function expect.falsy(value, message)
  if value then failed("expected nil or false, got %s%s", show(value), because(message)) end
end

local function matches(pattern, text)
  if text:find(pattern, 1, true) then return true end
  local ok, found = pcall(string.find, text, pattern)
  return ok and found ~= nil
end

--- The text has this part, plain or as a Lua pattern.
function expect.matches(pattern, text, message)
  if type(text) ~= "string" or not matches(pattern, text) then
    failed("expected a text with %s, got %s%s", show(pattern), show(text), because(message))
  end
end

--- fn(...) raises an error whose message has this part; returns the error.
function expect.error_matches(pattern, fn, ...)
  local ok, raised = pcall(fn, ...)
  if ok then failed("expected an error with %s, there was none", show(pattern)) end
  if not matches(pattern, tostring(raised)) then
    failed("expected an error with %s, got %s", show(pattern), show(tostring(raised)))
  end
  return raised
end

setmetatable(expect, { __call = function(_, value, message)
  if not value then failed("%s", message or "assertion failed!") end
  return value, message
end })

-- ---- collecting ----

local words = { assert = expect, json = json }
local cases, group, current = {}, { before = {}, after = {} }, nil

local function outside(word)
  if current then error(word .. " cannot be used inside of it", 3) end
end

--- describe(name, fn): a group of cases.
function words.describe(name, fn)
  outside("describe")
  group = { name = name, parent = group, before = {}, after = {} }
  fn()
  group = group.parent
end

--- it(name, fn): a case.
function words.it(name, fn)
  outside("it")
  cases[#cases + 1] = { name = name, fn = fn, group = group }
end

--- before_each(fn), after_each(fn): around each case of the group.
function words.before_each(fn)
  outside("before_each")
  table.insert(group.before, fn)
end

function words.after_each(fn)
  outside("after_each")
  table.insert(group.after, fn)
end

-- ---- the system of a case ----

local function open_tree(tree)
  if not tree then return core.open() end
  current.trees = current.trees + 1
  local folder, system = "scripts-" .. current.trees, nil
  for name, text in pairs(tree) do
    core.write(folder .. "/" .. name, text)
    local found = name:match("^systems/(.+)%.lua$")
    if found and system then error("a script tree has one file systems/NAME.lua, this one has two", 0) end
    system = system or found
  end
  if not system then error("a script tree has a file systems/NAME.lua", 0) end
  core.open(folder, system)
end

local function close(patient)
  if not current.open then return 0 end
  current.open = false
  return core.close(patient)
end

local function ensure(word)
  if not current then error(word .. " is used inside of it", 3) end
  if current.open then return end
  open_tree(current.tree)
  current.open = true
end

--- scripts{ ["systems/x.lua"] = [[...]], ... }: the tree of the group's cases; inside of a case: of the case from here
--- on, opened at once, so that what is wrong with it is raised.
function words.scripts(tree)
  if not current then
    group.tree = tree
    return
  end
  close(false)
  current.tree = tree
  ensure("scripts")
end

--- restart(tree?): stops and starts the system on the same data; the clock goes on. With a tree: a new version.
function words.restart(tree)
  ensure("restart")
  close(false)
  current.tree = tree or current.tree
  ensure("restart")
end

-- ---- requests ----

local response_meta = {}

-- The id of the row that an answer is about: of its Location, else of its link to itself.
local function id_of(headers, body)
  local links = type(body) == "table" and body._links
  local href = headers.location or links and links.self and links.self.href
  return href and math.tointeger(tonumber(href:match("/(%d+)$")))
end

local function load_answer(response)
  local status, headers, text = core.answer(rawget(response, "handle"))
  if not status then return end
  rawset(response, "status", status)
  rawset(response, "headers", headers)
  rawset(response, "text", text)
  local is_json = (headers["content-type"] or ""):find("json", 1, true)
  if is_json and text ~= "" then rawset(response, "body", json.decode(text)) end
  rawset(response, "id", id_of(headers, rawget(response, "body")))
end

local response_words = {
  done = function(response)
    if not rawget(response, "status") then load_answer(response) end
    return rawget(response, "status") ~= nil
  end,
}

function response_meta.__index(response, key)
  if response_words[key] then return response_words[key] end
  if not rawget(response, "status") then load_answer(response) end
  return rawget(response, key)
end

local request_options = { method = true, path = true, body = true, headers = true }

local function header_list(options, has_body)
  local list, named = {}, {}
  local function add(name, value)
    list[#list + 1] = name
    list[#list + 1] = tostring(value)
  end
  for name, value in pairs(options.headers or {}) do
    named[name:lower()] = true
    if value then add(name, value) end
  end
  if has_body and not named["content-type"] then add("Content-Type", "application/json") end
  if not named.accept then add("Accept", "*/*") end
  return list
end

local function start(word, options)
  ensure(word)
  for name in pairs(options) do
    if not request_options[name] then error(("%s: unknown option %q"):format(word, tostring(name)), 3) end
  end
  local body = options.body or ""
  if type(body) ~= "string" then body = json.encode(body) end
  local method = options.method or (options.body and "POST" or "GET")
  local handle = core.start(method, options.path, header_list(options, options.body ~= nil), body)
  return setmetatable({ handle = handle }, response_meta)
end

--- start{ path =, method =, body =, headers = }: a request on its way: :done(), and once that is true .status,
--- .headers (names in lower case), .text, .body (decoded JSON), .id (of the row that it is about). `Accept: */*` is
--- sent unless headers say otherwise; a header that is false is not sent.
function words.start(options) return start("start", options) end

--- request{...}: the same, answered. When nothing else can go on, the clock moves from timer to timer.
function words.request(options)
  local response = start("request", options)
  if not core.wait(response.handle) then error("request: there is no answer within an hour", 2) end
  load_answer(response)
  current.last = response
  return response
end

-- ---- time, looking, disturbing ----

local function word(name, fn)
  return function(...)
    ensure(name)
    return fn(...)
  end
end

words.settle = word("settle", core.settle)
words.clock = { advance = word("clock.advance", core.advance), now = word("clock.now", core.now) }
words.logs = word("logs", core.logs)
words.letters = word("letters", core.letters)
words.retry_letter = word("retry_letter", core.retry_letter)
words.discard_letter = word("discard_letter", core.discard_letter)
words.breaker = word("breaker", core.breaker)

words.events = word("events", function(type_name)
  local list = core.events(type_name)
  for _, event in ipairs(list) do event.payload = json.decode(event.text) end
  return list
end)

local function fits(row, where)
  for field, value in pairs(where or {}) do
    if row[field] ~= value then return false end
  end
  return true
end

words.rows = word("rows", function(service, name, where)
  local list = {}
  for _, row in ipairs(core.rows(service, name)) do
    if fits(row, where) then list[#list + 1] = row end
  end
  return list
end)

--- row(service, resource, id): it, or nil.
words.row = word("row", function(service, name, id)
  local list, id_name = core.rows(service, name)
  for _, row in ipairs(list) do
    if row[id_name] == id then return row end
  end
end)

--- faults{ payment = { error_rate = 1 } }: replaces all; faults(): none.
words.faults = word("faults", function(faults) core.faults(faults and json.encode(faults)) end)

-- ---- running ----

for _, name in ipairs { "ipairs", "next", "pairs", "pcall", "xpcall", "error", "select", "tonumber", "tostring",
  "type", "rawequal", "rawget", "rawlen", "rawset", "setmetatable", "getmetatable", "string", "table", "math", "utf8",
  "coroutine" } do
  words[name] = _G[name]
end
setmetatable(words, { __index = function(_, key)
  error(("%s is not available to specs"):format(tostring(key)), 2)
end })

local function name_of(case)
  local name, from = case.name, case.group
  while from.name do
    name, from = from.name .. ": " .. name, from.parent
  end
  return name .. suffix
end

-- The groups around a case, outermost first.
local function groups_of(case)
  local list, from = {}, case.group
  while from do
    table.insert(list, 1, from)
    from = from.parent
  end
  return list
end

local function run_body(case)
  local groups = groups_of(case)
  for _, each in ipairs(groups) do
    for _, fn in ipairs(each.before) do fn() end
  end
  case.fn()
  for i = #groups, 1, -1 do
    for _, fn in ipairs(groups[i].after) do fn() end
  end
end

local function run_case(case)
  core.begin()
  current = { trees = 0 }
  for _, each in ipairs(groups_of(case)) do current.tree = each.tree or current.tree end
  local ok, failure = xpcall(run_body, describe_error, case)
  local left, last = close(true), current.last
  core.finish()
  current = nil
  if not ok then return text_of(failure, last) end
  if left > 0 then return ("%d task(s) were left at the end"):format(left) end
end

local chunk, problem = load(source, "@" .. path, "t", words)
if not chunk then error(problem, 0) end
chunk()
for _, case in ipairs(cases) do
  local name = name_of(case)
  if not filter or name:find(filter, 1, true) then core.report(name, run_case(case)) end
end
