-- SPDX-License-Identifier: MIT
-- What runs for a request to a resource or route, whether it came over HTTP or from a sibling, and for views.
local core = ...

local dispatch = {}

local context_mark = {
  __index = function(context, key)
    if key ~= "body" and key ~= "request" then return nil end
    local value = core.request(key)
    rawset(context, key, value)
    return value
  end,
}

-- context.request and context.body are made when they are asked for.
local function new_context(service, correlation_id)
  return setmetatable({ service = service, correlation_id = correlation_id }, context_mark)
end

-- row: a writable record. Reads, before_create, insert, on_create. Returns the row and the status.
local function create(resource, row, context)
  if resource.before_create then
    core.check(row)
    local existing = resource.before_create(row, context)
    if existing ~= nil then return existing, 200 end
  end
  core.insert(row)
  if resource.on_create then resource.on_create(row, context) end
  return row, 201
end

-- POST to a collection over HTTP.
function dispatch.create(resource, service, correlation_id)
  return create(resource, core.row_of_body(), new_context(service, correlation_id))
end

local function named_params(route, values)
  local named = {}
  for i, name in ipairs(route.params) do named[name] = values[i] end
  return named
end

-- A route over HTTP: status, media type, text, headers.
function dispatch.route(route, params, service, correlation_id)
  local request, headers, status = core.request("request"), nil, 200
  request.params = named_params(route, params)
  local value = route.handle(request, new_context(service, correlation_id))
  if getmetatable(value) == core.response_mark then
    status, headers, value = value.status, value.headers, value.body
  end
  if value == nil then return status, "", "", headers end
  if type(value) == "string" then return status, "text/plain;charset=UTF-8", value, headers end
  return status, "application/json", core.json.encode(value), headers
end

-- What a sibling's call gets: an answer whose body is decoded when it is looked at.
local answer_mark = {
  __index = function(answer, key)
    if key ~= "body" then return nil end
    local body = core.json.decode(rawget(answer, "text"))
    rawset(answer, "body", body)
    return body
  end,
}

-- value, status: what create or route returned. A text is itself, everything else goes through JSON as it would over
-- the network.
local function answer(value, status)
  local headers = {}
  if getmetatable(value) == core.response_mark then
    value, status, headers = value.body, value.status, value.headers
  end
  if value == nil or type(value) == "string" then
    return { status = status or 200, headers = headers, body = value or "" }
  end
  return setmetatable({ status = status or 200, headers = headers, text = core.json.encode(value) }, answer_mark)
end

-- An event for a view: its function changes the one row that the event is about, and nothing else.
function dispatch.view(view, event, meta)
  local row = core.view_begin(view.name, event[view.from[meta.type]])
  core.view_end(row, view.on[meta.type](row, event, meta))
end

-- What a sibling sent belongs to the sibling: the callee gets a copy, when it looks, as it would over the network.
local function with_copy_of(body)
  local copied
  return { __index = function(holder, key)
    if key ~= "body" then return nil end
    local kind = type(body)
    if copied == nil then
      copied = (kind == "table" or kind == "userdata") and core.json.decode(core.json.encode(body)) or body
    end
    rawset(holder, "body", copied)
    return copied
  end }
end

-- A call of a sibling, already inside its scope. call: { kind, method, path, query, body, params, service,
-- correlation_id }; declared: the resource or route.
function dispatch.joined(call, declared)
  local body_mark = with_copy_of(call.body)
  local request = setmetatable({ method = call.method, path = call.path, query = call.query,
    headers = call.headers }, body_mark)
  local context = setmetatable({ service = call.service, correlation_id = call.correlation_id, request = request },
    body_mark)
  if call.kind == "create" then
    return answer(create(declared, core.row_of_value(declared.name, call.body), context))
  elseif call.kind == "list" then
    return answer(core.store.find(declared.name))
  elseif call.kind == "item" then
    local id = math.tointeger(tonumber(call.params[1]))
    local row = id and core.store.get(declared.name, id)
    if not row then core.fail(404, ("%s has no %s"):format(declared.path, call.params[1])) end
    return answer(row)
  end
  request.params = named_params(declared, call.params)
  return answer(declared.handle(request, context))
end

return dispatch
