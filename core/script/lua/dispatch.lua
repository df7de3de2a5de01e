-- SPDX-License-Identifier: MIT
-- What runs for a request to a resource or route, whether it came over HTTP or from a sibling, and for views.
local core = ...

local dispatch = {}

local JSON_TYPE, TEXT_TYPE = "application/json;charset=UTF-8", "text/plain;charset=UTF-8"

-- A guard may look at a request whose body cannot be read.
local request_mark = {
  __index = function(request, key)
    if key ~= "body" then return nil end
    local body = core.request("body")
    rawset(request, "body", body)
    return body
  end,
}

local context_mark = {
  __index = function(context, key)
    if key ~= "body" and key ~= "request" then return nil end
    local value = core.request(key)
    if key == "request" then setmetatable(value, request_mark) end
    rawset(context, key, value)
    return value
  end,
}

-- context.request, unless it is there already, and context.body are made when they are asked for.
local function new_context(service, correlation_id, request)
  return setmetatable({ service = service, correlation_id = correlation_id, request = request }, context_mark)
end

-- guard(context, action) refuses by raising.
local function ask(declared, context, action)
  if declared.guard then declared.guard(context, action) end
end

-- What a change comes from. A request's body and If-Match are found by the host; a sibling's are at hand.
local function of_request() return { joined = false } end
local function of_sibling(call)
  return { joined = true, body = call.body, match = call.headers["if-match"] or false }
end

-- Each of these returns the row and the status.
local function create(resource, from, context)
  local row = core.new_row(resource.name, from.joined, from.body)
  if resource.before_create then
    core.check(row)
    local existing = resource.before_create(row, context)
    if existing ~= nil then
      core.own_row(resource.name, existing)
      return existing, 200
    end
  end
  core.insert(row)
  if resource.on_create then resource.on_create(row, context) end
  return row, 201
end

local function missing(resource, id)
  core.not_found(("%s: there is no row with %s"):format(resource.name, id and "id " .. id or "this id"))
end

-- merge: a PATCH; else a PUT, which creates what is missing under the next id.
local function update(resource, from, context, id, merge)
  local before = id and core.fetch(resource.name, id)
  core.check_match(before, from.match)
  if not before then
    if merge or not id then missing(resource, id) end
    ask(resource, context, "create")
    return create(resource, from, context)
  end
  local row = core.changed_row(resource.name, from.joined, from.body, before, merge)
  if resource.before_update then
    core.check(row)
    resource.before_update(row, before, context)
  end
  core.change(row, before)
  if resource.on_update then resource.on_update(row, before, context) end
  return row, 200
end

local function delete(resource, from, context, id)
  local row = id and core.fetch(resource.name, id)
  core.check_match(row, from.match)
  if not row then missing(resource, id) end
  if resource.before_delete then resource.before_delete(row, context) end
  core.remove(row)
  if resource.on_delete then resource.on_delete(row, context) end
  return nil, 204
end

-- Over HTTP: POST to a collection; PUT, PATCH and DELETE of an item. id is nil if the path's was no number.
function dispatch.create(resource, service, correlation_id)
  local context = new_context(service, correlation_id)
  ask(resource, context, "create")
  return create(resource, of_request(), context)
end

function dispatch.replace(resource, service, correlation_id, id)
  local context = new_context(service, correlation_id)
  ask(resource, context, "update")
  return update(resource, of_request(), context, id, false)
end

function dispatch.merge(resource, service, correlation_id, id)
  local context = new_context(service, correlation_id)
  ask(resource, context, "update")
  return update(resource, of_request(), context, id, true)
end

function dispatch.delete(resource, service, correlation_id, id)
  local context = new_context(service, correlation_id)
  ask(resource, context, "delete")
  return delete(resource, of_request(), context, id)
end

-- Before a read, which needs no script otherwise.
function dispatch.guard(resource, service, correlation_id, action)
  ask(resource, new_context(service, correlation_id), action)
end

-- What a guard of a route is asked for.
local actions = { GET = "read", HEAD = "read", OPTIONS = "read", POST = "create", PUT = "update", PATCH = "update",
  DELETE = "delete" }

-- Before a route of the gateway leads anywhere. The request is as the client sent it; its body may still be on its way.
function dispatch.gateway(route, correlation_id, method)
  local context = { service = route.service, correlation_id = correlation_id, request = core.request("request") }
  route.guard(context, actions[method] or method:lower())
end

local function named_params(route, values)
  local named, names = {}, route.params
  for i = 1, #names do named[names[i]] = values[i] end
  return named
end

-- Without a guard nobody can have looked at the request before, and it is made at once.
local function begin_route(route, service, correlation_id)
  if not route.guard then
    local request = core.request("whole")
    return request, new_context(service, correlation_id, request)
  end
  local context = new_context(service, correlation_id)
  route.guard(context, actions[route.method])
  context.request.body = context.request.body
  return context.request, context
end

-- A route over HTTP: status, media type, text, headers. params: nil if its path has none.
function dispatch.route(route, params, service, correlation_id)
  local request, context = begin_route(route, service, correlation_id)
  local headers, status = nil, 200
  request.params = named_params(route, params)
  local value = route.handle(request, context)
  if getmetatable(value) == core.response_mark then
    status, headers, value = value.status, value.headers, value.body
  end
  if value == nil then return status, "", "", headers end
  if type(value) == "string" then return status, TEXT_TYPE, value, headers end
  return status, JSON_TYPE, core.json.encode(value), headers
end

-- Some tables have a member `body` that is made when it is looked at: by name, by pairs, or by JSON (__lazy). Till then
-- they keep what makes it; one metatable for all, since every call of a sibling makes two or three of them.
local maker = {}

local function lazy_member(holder, key)
  local make = key == "body" and rawget(holder, maker)
  if not make then return nil end
  rawset(holder, maker, nil)
  local body = make()
  rawset(holder, "body", body)
  return body
end

local function next_with_body(holder)
  local _ = holder.body
  return next, holder, nil
end

local lazy_mark = { __lazy = "body", __index = lazy_member, __pairs = next_with_body }

local function lazy(holder, make)
  holder[maker] = make
  return setmetatable(holder, lazy_mark)
end

-- What a sibling's call gets, of a row or a JSON text.
local function lazy_answer(status, headers, row, base, text)
  headers["content-type"] = rawget(headers, "content-type") or JSON_TYPE
  return lazy({ status = status, headers = headers }, function()
    return core.json.decode(row and core.hal(row, base) or text)
  end)
end

-- Headers are found however they are spelled.
local headers_mark = {
  __index = function(headers, name)
    return type(name) == "string" and rawget(headers, name:lower()) or nil
  end,
}

local function headers_of(named)
  local headers = {}
  for name, value in pairs(named or {}) do headers[tostring(name):lower()] = tostring(value) end
  return setmetatable(headers, headers_mark)
end

-- What a route returned. A text is itself, everything else goes through JSON as it would over the network.
local function answer(value)
  local status, headers = 200, nil
  if getmetatable(value) == core.response_mark then
    value, status, headers = value.body, value.status, value.headers
  end
  headers = headers_of(headers)
  if value == nil then return { status = status, headers = headers, body = "" } end
  if type(value) == "string" then
    headers["content-type"] = rawget(headers, "content-type") or TEXT_TYPE
    return { status = status, headers = headers, body = value }
  end
  return lazy_answer(status, headers, nil, nil, core.json.encode(value))
end

-- What became of a row: HAL, as over the network.
local function answer_row(call, resource, row, status)
  if not row then return { status = status, headers = headers_of(), body = "" } end
  local headers = { etag = core.etag(row) }
  if status == 201 or call.kind == "replace" then
    headers.location = ("%s%s/%d"):format(call.base, resource.path, row[resource.id])
  end
  return lazy_answer(status, headers_of(headers), row, call.base)
end

-- The same operations for a sibling.
local joined = {}

function joined.create(call, resource, context)
  ask(resource, context, "create")
  return answer_row(call, resource, create(resource, of_sibling(call), context))
end

function joined.replace(call, resource, context, id)
  ask(resource, context, "update")
  return answer_row(call, resource, update(resource, of_sibling(call), context, id, false))
end

function joined.merge(call, resource, context, id)
  ask(resource, context, "update")
  return answer_row(call, resource, update(resource, of_sibling(call), context, id, true))
end

function joined.delete(call, resource, context, id)
  ask(resource, context, "delete")
  return answer_row(call, resource, delete(resource, of_sibling(call), context, id))
end

function joined.item(call, resource, context, id)
  ask(resource, context, "read")
  local row = id and core.store.get(resource.name, id)
  if not row then missing(resource, id) end
  return answer_row(call, resource, row, 200)
end

function joined.list(call, resource, context)
  ask(resource, context, "list")
  local text = core.hal_list(resource.name, call.query_text, call.base, call.finder)
  return lazy_answer(200, headers_of(), nil, nil, text)
end

joined.finder = joined.list

function joined.route(call, route, context)
  ask(route, context, actions[call.method])
  context.request.params = named_params(route, call.params)
  return answer(route.handle(context.request, context))
end

-- An event for a view: its function changes the one row that the event is about, and nothing else.
function dispatch.view(view, event, meta)
  local row = core.view_begin(view.name, event, view.from[meta.type])
  core.view_end(row, view.on[meta.type](row, event, meta))
end

-- What a sibling sent belongs to the sibling: the callee gets a copy, when it looks, as it would over the network.
local function copy_of(body)
  local copied
  return function()
    local kind = type(body)
    if copied == nil then
      copied = (kind == "table" or kind == "userdata") and core.json.decode(core.json.encode(body)) or body
    end
    return copied
  end
end

-- A call of a sibling, already inside its scope. call: { kind, method, path, query, query_text, base, finder, body,
-- params, service, correlation_id }; declared: the resource or route.
function dispatch.joined(call, declared)
  if call.kind == "merge" and call.body == nil then call.body = {} end
  local body = copy_of(call.body)
  local request = lazy({ method = call.method, path = call.path, query = call.query, headers = call.headers }, body)
  local context = lazy({ service = call.service, correlation_id = call.correlation_id, request = request }, body)
  local run = joined[call.kind]
  if not run then core.fail(404, ("%s is not for services"):format(call.path)) end
  return run(call, declared, context, math.tointeger(tonumber(call.params[1])))
end

return dispatch
