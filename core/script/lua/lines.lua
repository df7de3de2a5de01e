-- SPDX-License-Identifier: MIT
-- Where a member of a declaration stands in its file. Lua says on which line a word was called, not on which line of
-- the table behind it an option is; so the text is looked through when something is wrong with it. What a table was
-- made of elsewhere (a local, a loop) is not found: then the nearest place around it counts.
local lines = {}

local LONGEST = 64 << 10 -- bytes; looking through more would take too much of the file's CPU
local opens = { ["function"] = true, ["if"] = true, ["do"] = true, ["repeat"] = true, ["("] = true, ["["] = true }
local closes = { ["end"] = true, ["until"] = true, [")"] = true, ["]"] = true }

-- Behind the text in quotes that begins at position.
local function past_quotes(source, position)
  local quote = source:sub(position, position)
  repeat
    position = source:find("[\\\n" .. quote .. "]", position + 1)
    local found = position and source:sub(position, position)
    if found == "\\" then position = position + 1 end
  until found ~= "\\"
  return position and position + 1 or #source + 1
end

-- Behind the long bracket at position, or nil if none is there.
local function past_brackets(source, position)
  local level = source:match("^%[(=*)%[", position)
  if not level then return end
  local _, last = source:find("]" .. level .. "]", position, true)
  return last and last + 1 or #source + 1
end

-- The next token from position on: its kind ("word", "text", or itself), its text, where it begins, where to go on.
local function token(source, position)
  repeat
    position = source:find("%S", position)
    if not position then return end
    if source:sub(position, position + 1) ~= "--" then break end
    position = past_brackets(source, position + 2) or source:find("\n", position, true)
  until not position
  if not position then return end
  local word = source:match("^[%a_][%w_]*", position)
  if word then return opens[word] and word or closes[word] and word or "word", word, position, position + #word end
  local first = source:sub(position, position)
  if first == '"' or first == "'" then
    local after = past_quotes(source, position)
    return "text", source:sub(position + 1, after - 2), position, after
  end
  local after = first == "[" and past_brackets(source, position)
  if after then return "text", "", position, after end
  local number = source:match("^%d[%w.]*", position)
  if number then return "number", number, position, position + #number end
  return first, first, position, position + 1
end

-- The key that an entry of a table begins with, or nil: it has a place instead.
local function key_at(source, kind, position)
  if kind == "[" then return source:match("^%[%s*[\"']([^\"'\n]*)[\"']%s*%]%s*=[^=]", position) end
  return source:match("^([%a_][%w_]*)%s*=[^=]", position)
end

local Reader = {}
Reader.__index = Reader

-- What a brace opens: a member of the table around it, the table of a word (`policy "x" {`, `return {`), or neither.
function Reader:open(position)
  local around, before, text, word = self.frame, self.kinds[1], self.kinds[2], self.kinds[3]
  local frame = { around = around, deep = 0, count = 0, fresh = true }
  if before == "text" and text == "word" then
    frame.members, frame.prefix = self:add(self.texts[2], self.texts[1], position), ""
  elseif before == ")" and text == "text" and word == "(" then
    frame.members, frame.prefix = self:add(self.texts[4], self.texts[2], position), ""
  elseif self.texts[1] == "return" and before == "word" then
    frame.members, frame.prefix = self:add("return", "", position), ""
  elseif around and around.members and around.deep == 0 and (before == "=" or around.first == position) then
    frame.members, frame.prefix = around.members, around.prefix .. around.key .. "\0"
  end
  self.frame = frame
end

function Reader:add(word, name, position)
  local members = {}
  self.tables[#self.tables + 1] = { word = word, name = name, position = position, members = members }
  return members
end

-- The first token of an entry says where it is.
function Reader:enter(kind, position)
  local frame = self.frame
  local key = key_at(self.source, kind, position)
  if not key then
    frame.count = frame.count + 1
    key = tostring(frame.count)
  end
  frame.key, frame.first, frame.fresh = key, position, false
  local path = frame.members and frame.prefix .. key
  if path and not frame.members[path] then frame.members[path] = position end
end

function Reader:take(kind, position)
  local frame = self.frame
  if frame and frame.fresh and kind ~= "}" then self:enter(kind, position) end
  if kind == "{" then
    self:open(position)
  elseif kind == "}" then
    self.frame = frame and frame.around
  elseif frame and opens[kind] then
    frame.deep = frame.deep + 1
  elseif frame and closes[kind] then
    frame.deep = frame.deep - 1
  elseif frame and frame.deep == 0 and (kind == "," or kind == ";") then
    frame.fresh = true
  end
end

-- All tables behind a word: { { word =, name =, position =, members = { ["fields\0002"] = position } } }.
local function read(source)
  local reader = setmetatable({ source = source, tables = {}, kinds = {}, texts = {} }, Reader)
  local kind, text, position, after = token(source, 1)
  while kind do
    reader:take(kind, position)
    table.move(reader.kinds, 1, 3, 2)
    table.move(reader.texts, 1, 3, 2)
    reader.kinds[1], reader.texts[1] = kind, text
    kind, text, position, after = token(source, after)
  end
  return reader.tables
end

local function line_at(source, position)
  return select(2, source:sub(1, position - 1):gsub("\n", "")) + 1
end

-- The table of the word and name whose call is on that line or begins last before it.
local function find(source, tables, line, word, name)
  local found
  for _, each in ipairs(tables) do
    if each.word == word and each.name == name then
      if found and line_at(source, each.position) > line then break end
      found = each
    end
  end
  return found
end

--- The line of the member behind the steps (`"fields", 2`), or of the innermost one around it that is there; nil if the
--- table is not found. file: { source = text }, which keeps what was read of it; line: where the word was called.
function lines.of(file, line, word, name, ...)
  local source, steps, where = file.source, { ... }, nil
  if #source > LONGEST then return end
  file.tables = file.tables or read(source)
  local found = find(source, file.tables, line, word, name)
  if not found then return end
  local path = ""
  for i, step in ipairs(steps) do
    path = path .. (i > 1 and "\0" or "") .. tostring(step)
    if not found.members[path] then break end
    where = found.members[path]
  end
  return where and line_at(source, where)
end

return lines
