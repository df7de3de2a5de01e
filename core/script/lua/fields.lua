-- SPDX-License-Identifier: MIT
-- Fields: the words that make them (integer, text, ...), their options, and what is wrong with a list of them.
local core, veneer = ...
local handle = veneer("frozen").handle
local checks = veneer("checks")
local here, wrong, table_at, check_name = checks.here, checks.wrong, checks.table_at, checks.check_name

local fields = {}

-- What scripts hold of a field is a handle; the host keeps what it stands for.
local field_of = {}

local field_options = {
  required = "boolean", min = "number", max = "number", length = "number", pattern = "string",
  default = "string|number|boolean", unique = "boolean", index = "boolean", renamed_from = "string",
}

-- The options that only some types have.
local numbers = { names = "integer, number, decimal and timestamp", integer = true, number = true, decimal = true,
  timestamp = true }
local texts = { names = "text", text = true }
local types_of = { min = numbers, max = numbers, length = texts, pattern = texts }

local field_meta = {}

-- Options that would do nothing, or that nothing can meet.
local function check_sense(at, field)
  for name, types in pairs(types_of) do
    if field[name] ~= nil and not types[field.type] then
      wrong(at(name), 'field %s: option "%s" is for %s, not for %s', field.name, name, types.names, field.type)
    end
  end
  if field.min and field.max and field.max < field.min then
    wrong(at("max"), 'field %s: option "max" is less than min', field.name)
  end
  local ok, problem = pcall(core.check_pattern, field.pattern or "")
  if not ok then wrong(at("pattern"), 'field %s: option "pattern": %s', field.name, tostring(problem)) end
  ok, problem = pcall(core.check_default, field)
  if not ok then
    wrong(at("default"), 'field %s: option "default": %s', field.name, tostring(problem):gsub("^[^:]*: ", "", 1))
  end
end

-- What assigning to a handle says.
local function read_only(shown, name)
  checks.read_only("field " .. field_of[shown].name, name)
end

local function with_options(shown, options)
  local field = field_of[shown]
  local at = table_at(here(), field.word, field.name)
  checks.check_options(("field %s"):format(field.name), at, options, field_options)
  for name, value in pairs(options) do field[name] = value end
  check_sense(at, field)
  if field.renamed_from == field.name then
    wrong(at("renamed_from"), 'field %s: renamed_from is the name that it has now', field.name)
  end
  return shown
end

local function field_word(type_name, scale)
  return function(name, options)
    check_name(type_name, here(), name)
    if options ~= nil then checks.plain_form(here(), type_name, name) end
    if not name:match("^[%a_][%w_]*$") then
      wrong(here(), '%s "%s": a field is named by letters, digits and _', type_name, name)
    end
    if name:sub(1, 1) == "_" then wrong(here(), '%s "%s": names with _ in front are the host\'s', type_name, name) end
    local shown = handle({ name = name }, read_only, with_options)
    field_of[shown] = setmetatable({ kind = "field", type = type_name, scale = scale, name = name, at = here(),
      word = type_name }, field_meta)
    return shown
  end
end

local function decimal(scale)
  if math.type(scale) ~= "integer" or scale < 0 or scale > 9 then
    wrong(here(), 'decimal(n) "name": n is the number of digits behind the point, 0 to 9')
  end
  return field_word("decimal", scale)
end

-- The fields of a list by name. at: of the list, as a function.
function fields.check(what, at, list)
  local seen = {}
  for i, field in ipairs(list) do
    if getmetatable(field) ~= field_meta then
      wrong(at(i), "%s: entry %d of fields is no field (write: integer \"name\")", what, i)
    end
    if seen[field.name] then wrong(field.at, '%s: two fields named "%s"', what, field.name) end
    seen[field.name] = field
  end
  for key in pairs(list) do
    if math.type(key) ~= "integer" then
      wrong(at(key), '%s: fields is a list; "%s" is a key in it', what, tostring(key))
    end
  end
  return seen
end

-- A copy of the field that a handle stands for, whose options are plain; nil if it is another value.
function fields.own(shown)
  local field = field_of[shown]
  if not field then return nil end
  local copy = {}
  for key, member in next, field do copy[key] = member end
  return setmetatable(copy, field_meta)
end

fields.options = field_options

fields.words = {
  integer = field_word("integer"), number = field_word("number"), text = field_word("text"),
  boolean = field_word("boolean"), timestamp = field_word("timestamp"), json = field_word("json"), decimal = decimal,
}

return fields
