-- SPDX-License-Identifier: MIT
-- The gateway of a system file: checks `gateway = { cors = ..., routes = { ... } }` and returns it in the shape that
-- core/script/gateway.c reads: every list a list, every option there.
local core, veneer = ...

local checks = veneer("checks")
local wrong, check_options, did_you_mean = checks.wrong, checks.check_options, checks.did_you_mean

local inside = checks.inside

local gateway = {}

-- Where the option is; "retry.statuses" is one inside of another. Places (`at`) are functions throughout.
local function place(at, option)
  local steps = {}
  for step in option:gmatch("[^.]+") do steps[#steps + 1] = step end
  return at(table.unpack(steps))
end

-- A text or a list of texts, as a list.
local function texts(what, at, option, value)
  if value == nil then return {} end
  local list = type(value) == "table" and value or { value }
  for i, text in ipairs(list) do
    if type(text) ~= "string" or text == "" then
      wrong(place(at, option), '%s: entry %d of "%s" must be a text', what, i, option)
    end
  end
  if #list == 0 then wrong(place(at, option), '%s: "%s" is empty', what, option) end
  return list
end

local function integer(what, at, option, value, low, high)
  local whole = math.tointeger(value)
  if not whole or whole < low or whole > high then
    wrong(place(at, option), '%s: "%s" must be an integer from %d to %d', what, option, low, high)
  end
  return whole
end

local function milliseconds(what, at, option, value)
  local ok, ms = pcall(core.duration, value)
  if not ok then
    wrong(place(at, option), '%s: "%s" must be a duration: "500ms", "2s" or milliseconds', what, option)
  end
  return ms
end

local known = { GET = true, POST = true, PUT = true, PATCH = true, DELETE = true, HEAD = true, OPTIONS = true }

local function methods(what, at, value, star)
  local list = texts(what, at, "methods", value)
  for _, method in ipairs(list) do
    if not known[method] and not (star and method == "*") then
      wrong(at("methods"), '%s: method "%s"%s', what, method, did_you_mean(method, known))
    end
  end
  return list
end

-- { name = value } as a sorted list of { name =, value = }; true stands for any value.
local function pairs_of(what, at, option, value)
  local list = {}
  for name, text in pairs(value or {}) do
    if type(name) ~= "string" or (type(text) ~= "string" and text ~= true) then
      wrong(place(at, option), '%s: "%s" maps names to texts', what, option)
    end
    list[#list + 1] = { name = name, value = text == true and "" or text }
  end
  table.sort(list, function(a, b) return a.name < b.name end)
  return list
end

local function tests_of(what, at, route)
  local tests = {}
  for _, test in ipairs(pairs_of(what, at, "headers", route.headers)) do
    test.part = "header"
    tests[#tests + 1] = test
  end
  for _, test in ipairs(pairs_of(what, at, "query", route.query)) do
    test.part = "query"
    tests[#tests + 1] = test
  end
  return tests
end

-- Changes of headers: { set = { name = value }, remove = { name } }.
local function header_changes(what, at, option, value)
  if value == nil then return { set = {}, remove = {} } end
  check_options(what .. ": " .. option, inside(at, option), value, { set = "table", remove = "string|table" })
  for _, header in ipairs(pairs_of(what, at, option .. ".set", value.set)) do
    if header.value == "" then
      wrong(at(option, "set", header.name), '%s: %s.set.%s must be a text', what, option, header.name)
    end
  end
  return { set = pairs_of(what, at, option .. ".set", value.set),
    remove = texts(what, at, option .. ".remove", value.remove) }
end

local function fallback_of(what, at, value)
  if value == nil then return nil end
  if type(value) == "string" then
    if value:sub(1, 1) ~= "/" then
      wrong(at("fallback"), '%s: fallback "%s" must be a path that begins with /', what, value)
    end
    return { path = value }
  end
  check_options(what .. ": fallback", inside(at, "fallback"), value, { status = "number", body = "string|table",
    type = "string" })
  local body, media = value.body or "", value.type or "text/plain;charset=UTF-8"
  if type(body) == "table" then body, media = core.json.encode(body), value.type or "application/json" end
  return { status = integer(what, at, "fallback.status", value.status or 200, 200, 599), body = body, type = media }
end

local function retry_of(what, at, value)
  if value == nil then return nil end
  check_options(what .. ": retry", inside(at, "retry"), value, { retries = "number", methods = "string|table",
    statuses = "table", first_backoff = "number|string", max_backoff = "number|string", factor = "number" })
  local statuses = value.statuses or { 500, 502, 503, 504 }
  for _, status in ipairs(statuses) do integer(what, at, "retry.statuses", status, 400, 599) end
  return {
    retries = integer(what, at, "retry.retries", value.retries or 3, 1, 10),
    methods = methods(what, inside(at, "retry"), value.methods or "GET"),
    statuses = statuses,
    first_ms = milliseconds(what, at, "retry.first_backoff", value.first_backoff or 0),
    max_ms = milliseconds(what, at, "retry.max_backoff", value.max_backoff or "1s"),
    factor = integer(what, at, "retry.factor", value.factor or 2, 1, 10),
  }
end

-- key: "ip", "host" or "header:NAME".
local function rate_limit_of(what, at, value)
  if value == nil then return nil end
  check_options(what .. ": rate_limit", inside(at, "rate_limit"), value,
    { rate = "number", burst = "number", tokens = "number", key = "string", deny_empty_key = "boolean" })
  local rate = integer(what, at, "rate_limit.rate", checks.need(what, at, value, "rate"), 1, 1000000)
  local burst = integer(what, at, "rate_limit.burst", value.burst or rate, 1, 1000000000)
  local key = value.key or "ip"
  local header = key:match("^header:(.+)$")
  if key ~= "ip" and key ~= "host" and not header then
    wrong(at("rate_limit", "key"), '%s: rate_limit.key "%s"; there are "ip", "host" and "header:NAME"', what, key)
  end
  return { rate = rate, burst = burst, key = header and "header" or key, header = header or "",
    tokens = integer(what, at, "rate_limit.tokens", value.tokens or 1, 1, burst),
    deny_empty_key = value.deny_empty_key ~= false }
end

local function rewrite_of(what, at, value)
  if value == nil then return "", "" end
  if #value ~= 2 or type(value[1]) ~= "string" or type(value[2]) ~= "string" or value[1] == "" then
    wrong(at("rewrite_path"), '%s: rewrite_path is { "regular expression", "replacement" }', what)
  end
  return value[1], value[2]
end

local route_options = {
  path = "string|table", methods = "string|table", host = "string|table", headers = "table", query = "table",
  service = "string", url = "string", strip_prefix = "number", rewrite_path = "table", set_path = "string",
  prefix_path = "string", request_headers = "table", response_headers = "table", breaker = "string",
  fallback = "string|table", retry = "table", rate_limit = "table", timeout = "number|string", guard = "function",
}

local function check_target(what, at, route, system)
  if (route.service == nil) == (route.url == nil) then
    wrong(at, "%s: a route leads to a service or to a url: one of them", what)
  end
  if route.service and not system.services[route.service] then
    wrong(at("service"), '%s: service "%s" is not in the system file%s', what, route.service,
      did_you_mean(route.service, system.services))
  end
  if route.url and not route.url:match("^https?://[^/]+/?$") then
    wrong(at("url"), '%s: url "%s" must be http://HOST or http://HOST:PORT; paths are made by prefix_path', what,
      route.url)
  end
  if route.breaker and not system.breakers[route.breaker] then
    wrong(at("breaker"), '%s: breaker "%s" has no settings%s', what, route.breaker, did_you_mean(route.breaker,
      system.breakers))
  end
end

local function route_of(at, number, route, system)
  local what = "gateway.routes[" .. number .. "]"
  check_options(what, at, route, route_options)
  checks.need(what, at, route, "path")
  check_target(what, at, route, system)
  local rewrite, to = rewrite_of(what, at, route.rewrite_path)
  return {
    at = at(), what = what,
    paths = texts(what, at, "path", route.path), methods = methods(what, at, route.methods),
    hosts = texts(what, at, "host", route.host), tests = tests_of(what, at, route),
    service = route.service, url = route.url,
    strip_prefix = integer(what, at, "strip_prefix", route.strip_prefix or 0, 0, 32),
    rewrite = rewrite, to = to, set_path = route.set_path or "", prefix_path = route.prefix_path or "",
    request_headers = header_changes(what, at, "request_headers", route.request_headers),
    response_headers = header_changes(what, at, "response_headers", route.response_headers),
    breaker = route.breaker, fallback = fallback_of(what, at, route.fallback),
    retry = retry_of(what, at, route.retry), rate_limit = rate_limit_of(what, at, route.rate_limit),
    timeout_ms = route.timeout and milliseconds(what, at, "timeout", route.timeout) or 0, guard = route.guard,
  }
end

local function cors_of(at, value)
  if value == nil then return nil end
  local what = "gateway.cors"
  check_options(what, at, value, { origins = "string|table", methods = "string|table", headers = "string|table",
    exposed = "string|table", credentials = "boolean", max_age = "number|string" })
  return {
    origins = texts(what, at, "origins", checks.need(what, at, value, "origins")),
    methods = methods(what, at, value.methods or { "GET", "HEAD", "POST" }, true),
    headers = texts(what, at, "headers", value.headers), exposed = texts(what, at, "exposed", value.exposed),
    credentials = value.credentials == true,
    max_age_s = value.max_age and milliseconds(what, at, "max_age", value.max_age) // 1000 or 0,
  }
end

--- at: gives the places in the table; value: the system file's `gateway`, or nil; system: { services =, breakers = }.
--- nil without a gateway: then every service is reachable at its own paths.
function gateway.check(at, value, system)
  if value == nil then return nil end
  check_options("gateway", at, value, { cors = "table", routes = "table" })
  local routes = {}
  for i, route in ipairs(value.routes or {}) do routes[i] = route_of(inside(at, "routes", i), i, route, system) end
  return { cors = cors_of(inside(at, "cors"), value.cors), routes = value.routes and routes or nil }
end

return gateway
