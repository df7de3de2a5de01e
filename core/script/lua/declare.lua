-- SPDX-License-Identifier: MIT
-- The declaring words (event, resource, route, policy, view, breaker) and the checks of what they are given. Scripts
-- return what these make; `collect` gathers it, `finish` checks it as a whole and returns plain tables in the numbers
-- that the host uses from then on.
local core, veneer = ...
local handle = veneer("frozen").handle

local declare = { host_events = {} }

-- What scripts hold of a declaration is a handle; the host keeps what it stands for.
local declared_of = {}

local checks, guards = veneer("checks"), veneer("breakers")
local gateway, field_words = veneer("gateway"), veneer("fields")
local check_fields = field_words.check
local here, wrong, list_of, did_you_mean = checks.here, checks.wrong, checks.list_of, checks.did_you_mean
local table_at, inside = checks.table_at, checks.inside
local check_options, need, check_name = checks.check_options, checks.need, checks.check_name

-- What assigning to a handle says.
local function read_only(shown, name)
  checks.read_only(declared_of[shown].what, name)
end

-- A copy of an option as a script gave it: nobody else has it, and nothing in it is a handle.
local function own(value, copies)
  if declared_of[value] then return value end
  if copies[value] then return copies[value] end
  local copy, field = {}, field_words.own(value)
  copies[value] = field or copy
  if field then return field end
  for key, member in pairs(value) do copy[key] = type(member) == "table" and own(member, copies) or member end
  return copy
end

-- Gives the places of a declaration's options.
local function within(made) return table_at(made.at, made.kind, made.name) end

-- What each declaration takes: { kind = { option = types } }.
declare.options = { field = field_words.options }

local function declaration_word(kind, allowed, check)
  declare.options[kind] = allowed
  return function(name, second)
    local at = here() -- not below: in `return policy "x" {...}` that call is a tail call and has no place
    check_name(kind, at, name)
    if second ~= nil then checks.plain_form(at, kind, name) end
    return function(options)
      local what = ('%s "%s"'):format(kind, name)
      check_options(what, table_at(at, kind, name), options, allowed)
      local made = { kind = kind, name = name, at = at, what = what }
      for key, value in pairs(options) do made[key] = type(value) == "table" and own(value, {}) or value end
      check(made)
      local shown = handle({ kind = kind, name = name, service = made.service }, read_only)
      declared_of[shown] = made
      return shown
    end
  end
end

-- How long events stay; from here on in milliseconds.
local function check_retention(made)
  local ok, ms = pcall(core.duration, made.retention)
  if not ok or ms == 0 then
    wrong(within(made)("retention"), '%s: retention must be a duration above 0: "30d", "72h" or milliseconds',
      made.what)
  end
  made.retention = ms
end

local event = declaration_word("event",
  { service = "string", key = "table", fields = "table", retention = "string|number" },
  function(made)
    need(made.what, made.at, made, "service")
    local fields = check_fields(made.what, inside(within(made), "fields"), need(made.what, made.at, made, "fields"))
    for _, field in ipairs(made.fields) do
      if field.renamed_from then
        wrong(field.at, '%s: renamed_from is for fields of resources; events in the log keep their names', made.what)
      end
    end
    local name, field = next(need(made.what, made.at, made, "key"))
    if type(name) ~= "string" or type(field) ~= "string" or next(made.key, name) ~= nil then
      wrong(within(made)("key"), '%s: key names one field: key = { order = "orderId" }', made.what)
    end
    if not fields[field] then
      wrong(within(made)("key"), '%s: key field "%s" is not declared%s', made.what, field, did_you_mean(field, fields))
    end
    made.key_name, made.key_field, made.key = name, field, nil
    if made.retention then check_retention(made) end
  end)

-- at: of the list, as a function.
local function check_columns(made, option, at, columns, fields)
  if type(columns) ~= "table" or #columns == 0 then wrong(at, '%s: %s must list fields', made.what, option) end
  if #columns > 8 then wrong(at, '%s: %s lists more than 8 fields', made.what, option) end
  for i, column in ipairs(columns) do
    if not fields[column] then
      wrong(at(i), '%s: %s names the field "%s", which is not declared%s', made.what, option, tostring(column),
        did_you_mean(column, fields))
    end
  end
end

local methods = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true, HEAD = true, OPTIONS = true }
local resource_methods = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true }

-- The methods of a resource, checked, as a list; all of them if none are named.
local function check_methods(made)
  local list = made.methods or list_of(resource_methods)
  for key, name in pairs(list) do
    if math.type(key) ~= "integer" then
      wrong(within(made)("methods"), '%s: methods is a list: { "GET", "POST" }', made.what)
    end
    if not resource_methods[name] then
      wrong(within(made)("methods", key), "%s: method %s%s", made.what,
        type(name) == "string" and ('"%s"'):format(name) or type(name),
        did_you_mean(name, resource_methods))
    end
  end
  return list
end

-- "orders" -> "order", "deliveries" -> "delivery"
local function singular(name)
  if name:match("ies$") then return (name:gsub("ies$", "y")) end
  return name:match("^(.+)s$") or name
end

-- "findByItemOrderByQtyDesc": the field that the name sorts by, and whether downwards.
local function order_of(made, name, fields)
  local field = name:match("OrderBy(%u[%w_]*)Asc$") or name:match("OrderBy(%u[%w_]*)Desc$")
  if not field then return nil end
  field = field:sub(1, 1):lower() .. field:sub(2)
  if field ~= made.id and not fields[field] then
    wrong(within(made)("finders", name), '%s: finder %s sorts by the field "%s", which is not declared%s', made.what,
      name, field, did_you_mean(field, fields))
  end
  return field, name:match("Desc$") ~= nil
end

local function check_finders(made, fields)
  made.finder_list = {}
  for _, name in ipairs(list_of(made.finders or {})) do
    if type(name) ~= "string" or not name:match("^%a[%w_]*$") then
      wrong(within(made)("finders", name), "%s: a finder is named by letters, digits and _, not %s", made.what,
        tostring(name))
    end
    local columns = made.finders[name]
    local at = inside(within(made), "finders", name)
    check_columns(made, "finder " .. name, at, columns, fields)
    local order, descending = order_of(made, name, fields)
    made.indexes[#made.indexes + 1] = { at = made.at, table.unpack(columns) }
    made.finder_list[#made.finder_list + 1] = { name = name, columns = columns, order = order, descending = descending }
  end
end

-- What resources and views have in common: name, id, path, fields, and the indexes of fields and finders.
local function check_table(made)
  need(made.what, made.at, made, "service")
  if not made.name:match("^[%a][%w_]*$") then
    wrong(made.at, "%s: a %s is named by letters, digits and _", made.what, made.kind)
  end
  local fields = check_fields(made.what, inside(within(made), "fields"), need(made.what, made.at, made, "fields"))
  if #made.fields > 64 then wrong(made.at, "%s: more than 64 fields", made.what) end
  made.id = made.id or "id"
  if fields[made.id] then
    wrong(fields[made.id].at, '%s: the field "%s" has the name of the id; `id = "..."` renames the id', made.what,
      made.id)
  end
  made.rel = made.rel or singular(made.name)
  if not made.rel:match("^%a[%w_-]*$") then
    wrong(within(made)("rel"), '%s: rel "%s": a relation is named by letters, digits, _ and -', made.what, made.rel)
  end
  made.path = made.path or "/" .. made.name
  if made.path:sub(1, 1) ~= "/" then made.path = "/" .. made.path end
  made.indexes, made.field_set = {}, fields
  for _, field in ipairs(made.fields) do
    if fields[field.renamed_from] then
      wrong(field.at, '%s: field %s is renamed_from "%s", which is declared too', made.what, field.name,
        field.renamed_from)
    end
    if field.unique then
      made.indexes[#made.indexes + 1] = { unique = true, at = field.at, field.name }
    elseif field.index then
      made.indexes[#made.indexes + 1] = { at = field.at, field.name }
    end
  end
  check_finders(made, fields)
end

local resource = declaration_word("resource",
  { service = "string", rel = "string", path = "string", id = "string", fields = "table", unique = "table",
    finders = "table", methods = "table", guard = "function", before_create = "function", on_create = "function",
    before_update = "function", on_update = "function", before_delete = "function", on_delete = "function" },
  function(made)
    check_table(made)
    made.methods = check_methods(made)
    if made.unique then
      local several = type(made.unique[1]) == "table"
      for i, columns in ipairs(several and made.unique or { made.unique }) do
        local at = inside(within(made), "unique", several and i or nil)
        check_columns(made, "unique", at, columns, made.field_set)
        made.indexes[#made.indexes + 1] = { unique = true, at = at(), table.unpack(columns) }
      end
    end
  end)

local route = declaration_word("route",
  { service = "string", method = "string", path = "string", guard = "function", handle = "function" },
  function(made)
    for _, name in ipairs { "service", "method", "path", "handle" } do need(made.what, made.at, made, name) end
    if not methods[made.method] then
      wrong(within(made)("method"), '%s: method "%s"%s', made.what, made.method, did_you_mean(made.method, methods))
    end
    made.params = {}
    for name in made.path:gmatch("{([^}]*)}") do made.params[#made.params + 1] = name end
  end)

-- How much a policy may use; declared in units that people write, kept in ms and bytes.
local budget_units = {
  cpu = { most = 1000, what = '"500ms", at most "1s"', pattern = "^(%d+)(m?s)$",
    factors = { ms = 1, s = 1000 }, one = 1 },
  memory = { most = 256 << 20, what = '"64MiB", at most "256MiB"', pattern = "^(%d+)(MiB)$",
    factors = { MiB = 1 << 20 }, one = 1 << 20 },
  events = { most = 10000, what = "a number, at most 10000", pattern = "^$", one = 1 },
  calls = { most = 1000, what = "a number, at most 1000", pattern = "^$", one = 1 },
}

local function check_budget(made)
  local budget = {}
  local at = inside(within(made), "budget")
  check_options(made.what .. ": budget", at, made.budget, { cpu = "string|number", memory = "string|number",
    events = "number", calls = "number" })
  for name, value in pairs(made.budget) do
    local allowed = budget_units[name]
    local n, unit = value, nil
    if type(value) == "string" then n, unit = value:match(allowed.pattern) end
    n = math.tointeger(tonumber(n))
    local amount = n and n > 0 and n <= allowed.most and n * (unit and allowed.factors[unit] or allowed.one)
    if not amount or amount > allowed.most then
      wrong(at(name), '%s: budget "%s" must be %s, got %s', made.what, name, allowed.what, tostring(value))
    end
    budget[name] = amount
  end
  made.budget = budget
end

local policy = declaration_word("policy",
  { service = "string", on = "string|table", handle = "function", park = "boolean", renamed_from = "string",
    key = "string", budget = "table" },
  function(made)
    for _, name in ipairs { "service", "on", "handle" } do need(made.what, made.at, made, name) end
    if made.budget then check_budget(made) end
    if type(made.on) == "string" then made.on = { made.on } end
    if #made.on == 0 then wrong(within(made)("on"), "%s: `on` names no event", made.what) end
  end)

-- by: "orderId"; { orderId = { Shipped = "orderId" } } where an event has the value in another field than its key; or
-- { "orderId", "status" }, fields that the events have under the same names.
local function check_by(made, fields)
  local by, from, field = made.by, {}, nil
  if type(by) == "string" then
    by = { by }
  elseif by[1] == nil then
    field, from = next(by)
    if type(field) ~= "string" or type(from) ~= "table" or next(by, field) ~= nil then
      wrong(within(made)("by"), '%s: by names one field: by = "orderId", or by = { orderId = { Shipped = "orderId" } }',
        made.what)
    end
    by = { field }
  end
  local at = inside(within(made), "by")
  check_columns(made, "by", at, by, fields)
  for name in pairs(from) do
    if not made.on[name] then
      wrong(at(field, name), '%s: by names the event "%s", which is not in on%s', made.what, tostring(name),
        did_you_mean(name, made.on))
    end
  end
  made.by, made.from = by, from
end

local function check_on(made)
  if next(made.on) == nil then wrong(within(made)("on"), "%s: `on` names no event", made.what) end
  for name, fn in pairs(made.on) do
    if type(name) ~= "string" or type(fn) ~= "function" then
      wrong(within(made)("on", name),
        "%s: on is a table { Event = function(row, event) ... end }; its entry %s is a %s", made.what,
        tostring(name), type(fn))
    end
  end
end

local view = declaration_word("view",
  { service = "string", rel = "string", path = "string", id = "string", by = "string|table", fields = "table",
    finders = "table", on = "table" },
  function(made)
    for _, name in ipairs { "by", "on" } do need(made.what, made.at, made, name) end
    check_table(made)
    for _, field in ipairs(made.fields) do
      if field.unique then
        wrong(field.at, '%s: field "%s" cannot be unique; a view has one row for each value of the field in `by`',
          made.what, field.name)
      end
    end
    check_on(made)
    check_by(made, made.field_set)
    table.insert(made.indexes, 1, { unique = true, at = made.at, table.unpack(made.by) })
    made.view, made.unpaged, made.methods = true, true, { "GET" }
  end)

-- The fields of an event that say which row it is about: its key, unless `by` names others.
local function check_source(made, source)
  local names = #made.by > 1 and made.by or { made.from[source.name] or source.key_field }
  local declared = {}
  for _, each in ipairs(source.fields) do declared[each.name] = true end
  for _, name in ipairs(names) do
    if not declared[name] then
      wrong(within(made)("by"), '%s: by names the field "%s" of %s, which is not declared%s', made.what, tostring(name),
        source.name, did_you_mean(name, declared))
    end
  end
  made.from[source.name] = names
end

-- What brings a view its events. boot.lua gives it its function.
local function policy_of(made)
  return { kind = "policy", name = "view " .. made.name, service = made.service, on = list_of(made.on), view = made,
    in_memory = made.in_memory, at = made.at, what = made.what }
end

-- ---- the whole ----

-- words: the declaring words for the environment of scripts.
function declare.words(state)
  local words = {
    event = event, resource = resource, route = route, policy = policy, view = view,
    breaker = function(name)
      check_name("breaker", here(), name)
      if name == "default" or not state.system.breakers[name] then
        wrong(here(), 'breaker "%s" has no settings; the system file declares them: breakers = { %s = { ... } }%s',
          name, name, did_you_mean(name, state.system.breakers))
      end
      return core.breaker(name)
    end,
  }
  for name, word in pairs(field_words.words) do words[name] = word end
  return words
end

-- A new, empty collection.
function declare.new()
  return { system = { services = {}, breakers = {}, config = {}, json = {} }, declared = {} }
end

local system_options = { services = "table", breakers = "table", config = "table", json = "table", try = "table",
  http = "table", gateway = "table", listen = "string", data = "string", workers = "number" }

local function allowed_hosts(at, http)
  check_options("http", at, http, { allow = "table" })
  for i, host in ipairs(http.allow or {}) do
    if type(host) ~= "string" then
      wrong(at("allow", i), "http.allow: entry %d must be a host or host:port in quotes", i)
    end
    if not core.is_origin("http://" .. host) then
      wrong(at("allow", i), 'http.allow: "%s" is neither a host nor host:port', host)
    end
  end
  return http.allow or {}
end

-- at: of `services`, as a function.
local function service_settings(at, key, settings)
  check_name("services", at, key)
  if key == "moontide" then wrong(at(key), 'service "moontide": the name is the host\'s') end
  check_options("service " .. key, inside(at, key), settings, { store = "string", url = "string" })
  if settings.store and settings.store ~= "sqlite" and settings.store ~= "memory" then
    wrong(at(key, "store"), 'service %s: store "%s" is not available; there are "sqlite" and "memory"', key,
      settings.store)
  end
  if settings.url and settings.url ~= "" and not core.is_origin(settings.url) then
    wrong(at(key, "url"), 'services.%s.url: expected http://HOST:PORT, got "%s"', key, settings.url)
  end
  return { store = settings.store, url = settings.url or "" }
end

-- The system file's table.
function declare.system(state, path, value)
  local at = table_at(path .. ":1", "return", "")
  if type(value) ~= "table" then wrong(at, "a system file returns a table, this one returned %s", type(value)) end
  check_options("system", at, value, system_options)
  local services = {}
  for key, settings in pairs(need("system", at, value, "services")) do
    if math.type(key) == "integer" then key, settings = settings, {} end
    services[key] = service_settings(inside(at, "services"), key, settings)
  end
  if #list_of(services) > 256 then wrong(at("services"), "system: more than 256 services") end
  local breakers = { default = guards.with_all_names {} }
  for name, settings in pairs(value.breakers or {}) do
    check_name("breakers", at("breakers"), name)
    check_options("breakers." .. name, inside(at, "breakers", name), settings, guards.options)
    breakers[name] = guards.with_all_names(settings)
  end
  for i, line in ipairs(value.try or {}) do
    if type(line) ~= "string" then wrong(at("try", i), "system: entry %d of try must be a text", i) end
  end
  local front = gateway.check(inside(at, "gateway"), value.gateway, { services = services, breakers = breakers })
  local json = value.json or {}
  check_options("json", inside(at, "json"), json, { indent = "boolean" })
  state.system = { services = services, breakers = breakers, config = value.config or {}, try = value.try or {},
    json = { indent = json.indent or false }, http_allow = allowed_hosts(inside(at, "http"), value.http or {}),
    gateway = front, at = at }
end

-- What a script file returned: one declaration or a list of them.
function declare.collect(state, path, value, allowed)
  local function add(made)
    if not allowed[made.kind] then
      local folder = (made.kind == "policy" or made.kind == "view") and "policies" or "routes"
      wrong(made.at, "%s does not belong into this folder (%s); its place is %s", made.what, path,
        (path:gsub("^scripts/%w+", "scripts/" .. folder)))
    end
    state.declared[#state.declared + 1] = made
  end
  if value ~= nil and declared_of[value] then return add(declared_of[value]) end
  if type(value) == "function" then
    wrong(path .. ":1", 'the file returns a function: a word without its table; write policy "name" { ... }')
  end
  if type(value) ~= "table" or #value == 0 then
    wrong(path .. ":1", "the file returns %s; a script returns a declaration or a list of them",
      value == nil and "nothing" or "a " .. type(value))
  end
  for i, made in ipairs(value) do
    if not declared_of[made] then
      wrong(path .. ":1", "entry %d of the returned list is no declaration but a %s", i, type(made))
    end
    add(declared_of[made])
  end
end

local function check_service(state, made)
  if not state.system.services[made.service] then
    wrong(within(made)("service"), '%s: service "%s" is not in the system file%s', made.what, made.service,
      did_you_mean(made.service, state.system.services))
  end
end

local function once(seen, made, name)
  if seen[name] then wrong(made.at, "%s is declared twice; the other one is at %s", made.what, seen[name]) end
  seen[name] = made.at
end

-- Of a service that runs elsewhere only the events count here.
local function add(list, made, state)
  if made.kind == "event" or state.system.services[made.service].here then list[#list + 1] = made end
end

-- In what its rows are kept.
local function check_store(state, made)
  local in_memory = state.system.services[made.service].store == "memory"
  if in_memory and made.kind == "resource" then
    wrong(within(made)("service"), '%s: service "%s" has store = "memory", which holds views and nothing else',
      made.what, made.service)
  end
  made.in_memory = in_memory and made.kind == "view"
end

-- What a policy or view waits for.
local function check_events(made, events)
  local at = within(made.view or made)
  for i, name in ipairs(made.on) do
    if not events[name] then
      wrong(at("on", made.view and name or i), '%s: event "%s" is not declared%s', made.what, tostring(name),
        did_you_mean(name, events))
    end
    if made.key and made.key ~= events[name].key_field then
      wrong(at("key"), '%s: key = "%s", but the key of %s is "%s"', made.what, made.key, name, events[name].key_field)
    end
    if made.view then check_source(made.view, events[name]) end
  end
end

-- A view in memory is made anew from the log at each start, also one that runs in another process at present.
local function check_kept(made, events)
  for _, name in ipairs(made.in_memory and list_of(made.on) or {}) do
    local source = events[name]
    if source and source.retention then
      wrong(within(source)("retention"), '%s: retention: %s (%s) is kept in memory and made of these events at each '
        .. 'start; take the retention away, or give service "%s" store = "sqlite"', source.what, made.what, made.at,
        made.service)
    end
  end
end

-- Checks everything against everything; returns the program.
function declare.finish(state)
  local program = { services = list_of(state.system.services), events = {}, resources = {}, routes = {},
    policies = {}, breakers = {}, try = state.system.try, places = state.system.services,
    http_allow = state.system.http_allow, json_indent = state.system.json.indent, gateway = state.system.gateway,
    gateway_routes = state.system.gateway and state.system.gateway.routes or {} }
  local lists = { event = program.events, resource = program.resources, route = program.routes,
    policy = program.policies, view = program.resources }
  local events, seen = {}, { event = {}, resource = {}, route = {}, policy = {} }
  for _, made in ipairs(declare.host_events) do events[made.name] = made end
  local routed = state.system.gateway and state.system.gateway.routes -- else all services share one address
  for _, made in ipairs(state.declared) do
    check_service(state, made)
    if made.kind == "event" and events[made.name] and events[made.name].service == "moontide" then
      wrong(made.at, "%s: the host has an event of this name; choose another", made.what)
    end
    local name = made.kind == "event" and made.name or made.service .. "\0" .. made.name
    if made.kind == "route" then name = (routed and made.service .. "\0" or "") .. made.method .. " " .. made.path end
    once(seen[made.kind == "view" and "resource" or made.kind], made, name)
    if made.kind == "event" then events[made.name] = made end
    local list = lists[made.kind]
    add(list, made, state)
    check_store(state, made)
    if made.kind == "view" then
      local feeding = policy_of(made)
      once(seen.policy, feeding, made.service .. "\0" .. feeding.name)
      add(program.policies, feeding, state)
    end
  end
  table.move(declare.host_events, 1, #declare.host_events, #program.events + 1, program.events)
  for _, made in ipairs(program.policies) do check_events(made, events) end
  for _, made in ipairs(state.declared) do check_kept(made, events) end
  guards.finish(state, program)
  return program
end

return declare
