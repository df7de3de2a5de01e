-- SPDX-License-Identifier: MIT
-- How declarations are looked at: where they stand, and what is said of one that is wrong.
local core, veneer = ...

local lines = veneer("lines")

local checks = {}

-- Where a file that loads returns: a word called by its last `return` has no line of its own (a tail call).
local function returning()
  local file = core.loading and core.files and core.files[core.loading]
  if not file then return "?" end
  local number, found = 0, 1
  for line in (file.source .. "\n"):gmatch("(.-)\n") do
    number = number + 1
    if line:find("^return%f[^%w_]") then found = number end
  end
  return core.loading .. ":" .. found
end

-- "scripts/x.lua:12" of the innermost script line; "?" if a task's handler ended by calling the word.
function checks.here()
  local at = core.here()
  return at ~= "?" and at or returning()
end

-- A place is a text, "path:line", or a function that gives the place of a member of the table that is looked at.
local function place_of(at, member)
  if type(at) == "function" then return at(member) end
  return at
end

-- Gives the place of members of the table behind the word and name that were called at `at` ("path:line").
function checks.table_at(at, word, name)
  return function(...)
    local path, line = at:match("^(.*):(%d+)$")
    local file = path and core.files and core.files[path]
    local found = file and lines.of(file, tonumber(line), word, name, ...)
    return found and path .. ":" .. found or at
  end
end

-- The same for a table inside of it.
function checks.inside(at, ...)
  local steps = { ... }
  return function(...)
    local all = { table.unpack(steps) }
    return at(table.unpack(table.move({ ... }, 1, select("#", ...), #all + 1, all)))
  end
end

-- Raises with a position of its own: "path:line: message".
function checks.wrong(at, format, ...)
  local place, message = place_of(at), format:format(...)
  if place == "?" or core.service() then core.misuse(message) end -- in a task: an error value, as of any word
  error(place .. ": " .. message, 0)
end

function checks.list_of(names)
  local list = {}
  for name in pairs(names) do list[#list + 1] = name end
  table.sort(list)
  return list
end

function checks.did_you_mean(name, names)
  local nearest = core.nearest(tostring(name), checks.list_of(names))
  local all = checks.list_of(names)
  for _, known in ipairs(nearest and {} or all) do
    local begins = known:sub(1, #tostring(name) + 1) == tostring(name) .. "_"
    if begins and (not nearest or #known < #nearest) then nearest = known end
  end
  if nearest then return ('; did you mean "%s"?'):format(nearest) end
  return #all > 0 and #all <= 12 and "; there are " .. table.concat(all, ", ") or ""
end

-- Options are checked against {name = type}; a type may list several, "a|b".
-- `at` is where they stand, or the function of a table.
function checks.check_options(what, at, options, allowed)
  if type(options) ~= "table" then
    checks.wrong(at, "%s: expected a table of options, got %s", what, type(options))
  end
  for name, value in pairs(options) do
    local types = allowed[name]
    if not types then
      checks.wrong(place_of(at, name), '%s: unknown option "%s"%s', what, tostring(name), checks.did_you_mean(name,
        allowed))
    end
    if types ~= type(value) and not ("|" .. types .. "|"):find("|" .. type(value) .. "|", 1, true) then
      checks.wrong(place_of(at, name), '%s: option "%s" must be a %s, got a %s', what, name, types:gsub("|", " or "),
        type(value))
    end
  end
end

function checks.need(what, at, options, name)
  if options[name] == nil then checks.wrong(at, '%s: option "%s" is missing', what, name) end
  return options[name]
end

function checks.check_name(what, at, name)
  if type(name) ~= "string" or name == "" then
    checks.wrong(at, "%s: expected a name in quotes, got %s", what, type(name))
  end
  return name
end

-- The options of word("name", { ... }) would go nowhere.
function checks.plain_form(at, word, name)
  checks.wrong(at, '%s "%s": write %s "%s" { ... }, without parentheses and comma', word, name, word, name)
end

-- Assigning to the handle of a field or declaration.
function checks.read_only(what, name)
  core.misuse(('%s: "%s" cannot be assigned; options are given in the table behind the name'):format(what,
    tostring(name)))
end

return checks
