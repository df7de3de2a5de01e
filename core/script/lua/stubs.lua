-- SPDX-License-Identifier: MIT
-- What an editor knows of the words of scripts: annotations for lua-language-server, made of api.lua and of the options
-- that declarations take. `moontide stubs` prints them.
local _, veneer = ...

local api = veneer("api")

local head = [[
---@meta
-- The words of Moontide's scripts, for editors. Printed by `moontide stubs`; changes here are lost.

---@alias duration string|integer "610ms", "10s", "15m", "72h", or milliseconds
---@alias id integer|row

---@class row A row or an event: its fields by name.
---@field id integer
---@field [string] any

---@class failure What is raised.
---@field code string
---@field message string
---@field status integer
---@field retryable boolean
---@field origin string

---@class answer What a called service answered.
---@field status integer
---@field headers table<string, string>
---@field body any

---@class find_options
---@field order? string "field" or "-field"
---@field limit? integer
---@field offset? integer

---@class collapser_options
---@field body fun(list: any[]): any[] The answers, in the order of what is asked for.
---@field max? integer
---@field wait? duration
---@field scope? "request"|"worker"
---@field fallback? fun(err: failure, list: any[]): any[]
---@field classify? fun(err?: failure, ...): string?
---@field retries? integer
---@field retry_in? duration
---@field hedge? duration

---@class call_options
---@field fallback? fun(err: failure): ...
---@field classify? fun(err?: failure, ...): string?
---@field retries? integer
---@field retry_in? duration
---@field hedge? duration
---@field cache_key? string|number
---@field coalesce? boolean

---@class bounds
---@field min? number
---@field max? number

---@class declaration

---@class field
---@overload fun(options: field_options): field

---@class breaker_handle
local breaker_handle = {}
]]

local function names_of(map)
  local names = {}
  for name in pairs(map) do names[#names + 1] = name end
  table.sort(names)
  return names
end

-- "a: x, b?: fun(c: d)" as { { "a", "x" }, { "b?", "fun(c: d)" } }: a comma inside of brackets divides nothing.
local function parameters(text)
  local list = {}
  while text ~= "" do
    local depth, stop = 0, #text + 1
    for i = 1, #text do
      local c = text:sub(i, i)
      if c:find("[(<{]") then depth = depth + 1 elseif c:find("[)>}]") then depth = depth - 1 end
      if c == "," and depth == 0 then stop = i break end
    end
    local name, kind = text:sub(1, stop - 1):match("^%s*([%w_%.]+%??):%s*(.+)$")
    list[#list + 1] = { name, kind }
    text = text:sub(stop + 1)
  end
  return list
end

local function add_word(out, word)
  local name, params, gives, help = table.unpack(word, 1, 4)
  out[#out + 1] = "\n---" .. help
  if not params then
    out[#out + 1] = ("---@type %s\n%s = nil"):format(gives, name)
    return
  end
  local names = {}
  for i, param in ipairs(parameters(params)) do
    out[#out + 1] = ("---@param %s %s"):format(param[1], param[2])
    names[i] = param[1]:gsub("%?$", "")
  end
  for _, value in ipairs(gives and parameters("_: " .. gives:gsub(", ", ", _: ")) or {}) do
    out[#out + 1] = "---@return " .. value[2]
  end
  out[#out + 1] = ("function %s(%s) end"):format(name, table.concat(names, ", "))
end

local function add_options(out, what, options)
  out[#out + 1] = ("\n---@class %s_options"):format(what)
  for _, name in ipairs(names_of(options)) do
    out[#out + 1] = ("---@field %s? %s"):format(name, options[name])
  end
end

-- options: { event = { name = type }, ... }, "field" among them.
return function(options)
  local out, seen = { head:sub(1, -2) }, { breaker_handle = true }
  for _, what in ipairs(names_of(options)) do add_options(out, what, options[what]) end
  for _, word in ipairs(api) do
    local library = word[1]:match("^([%w_]+)[.:]")
    if library and not seen[library] then
      seen[library] = true
      local callable = library == "json" and "---@overload fun(name: string): field A field that holds JSON.\n" or ""
      out[#out + 1] = ("\n---@class %slib\n%s%s = {}"):format(library, callable, library)
    end
    add_word(out, word)
  end
  return table.concat(out, "\n") .. "\n"
end
