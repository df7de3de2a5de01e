-- SPDX-License-Identifier: MIT
-- The gateway as data: which requests go where, and what is put around them.
local function tree(gateway, extra)
  return {
    ["systems/t.lua"] = ([[
      return {
        services = { a = {}, b = {} },
        breakers = { guard = { timeout_ms = 1000, volume = 2, sleep_ms = 5000 } },
        gateway  = %s,
      }]]):format(gateway),
    ["routes/t/a.lua"] = [[
      local function echo(service)
        return function(request)
          return { service = service, path = request.path, query = request.query, id = request.params.id,
            header = request.headers["x-put"] or "none", gone = request.headers["x-gone"] or "none" }
        end
      end
      local flaky = route "flaky" { service = "a", method = "GET", path = "/flaky", handle = function()
        local n = cache.add("n")
        if n <= (cache.get("failures") or 0) then fail(503, "not yet") end
        return { tries = n }
      end }
      return {
        resource "items" { service = "a", rel = "item", fields = { text "name" } },
        resource "notes" { service = "b", rel = "note", fields = { text "name" } },
        route "a" { service = "a", method = "GET", path = "/same", handle = echo "a" },
        route "b" { service = "b", method = "GET", path = "/same", handle = echo "b" },
        route "echo" { service = "b", method = "GET", path = "/echo/{id}", handle = echo "b" },
        route "slow" { service = "b", method = "GET", path = "/slow", handle = function()
          task.sleep("3s")
          return "late"
        end },
        route "sorry" { service = "a", method = "GET", path = "/sorry", handle = function()
          return response(200, { sorry = true })
        end },
        route "fail" { service = "a", method = "POST", path = "/fail", handle = function(request)
          cache.set("failures", request.body.times)
        end },
        flaky,
      }]] .. (extra or ""),
  }
end

local function get(path, headers)
  return request { method = "GET", path = path, headers = headers }
end

describe("SYSTEMS-6 the gateway's routes", function()
  it("SYSTEMS-6a only what is routed is reachable, and two services may have one path", function()
    scripts(tree [[{ routes = {
      { path = "/same", service = "b" },
      { path = "/items/**", service = "a" },
    } }]])
    assert.equal("b", get("/same").body.service)
    assert.equal(200, get("/items").status)
    assert.equal(404, get("/notes").status)
    assert.equal(404, get("/echo/1").status)
    assert.equal(404, get("/nowhere").status)
  end)

  it("SYSTEMS-6a the first route that takes a request wins", function()
    scripts(tree [[{ routes = {
      { path = "/same", headers = { ["X-To"] = "b|both" }, service = "b" },
      { path = "/same", query = { to = true }, service = "b" },
      { path = "/same", host = "b.example", service = "b" },
      { path = "/same", service = "a" },
    } }]])
    assert.equal("a", get("/same").body.service)
    assert.equal("b", get("/same", { ["X-To"] = "both" }).body.service)
    assert.equal("a", get("/same", { ["X-To"] = "bother" }).body.service)
    assert.equal("b", get("/same?to").body.service)
    assert.equal("b", get("/same", { Host = "b.example:80" }).body.service)
  end)

  it("SYSTEMS-6a methods are limited, with Allow", function()
    scripts(tree [[{ routes = { { path = "/items/**", methods = { "GET" }, service = "a" } } }]])
    assert.equal(200, get("/items").status)
    local refused = request { method = "POST", path = "/items", body = { name = "x" } }
    assert.equal(405, refused.status)
    assert.equal("GET, HEAD", refused.headers.allow)
    assert.equal(0, #rows("a", "items"))
  end)

  it("SYSTEMS-6a the root lists what is reachable under its own path", function()
    scripts(tree [[{ routes = { { path = "/items/**", service = "a" } } }]])
    local links = get("/").body._links
    assert.equal("http://localhost/items{?page,size,sort}", links.items.href)
    assert.equal(nil, links.notes)
    assert.equal(200, get("/profile/items").status)
    assert.equal(404, get("/profile/notes").status)
  end)

  it("SYSTEMS-6b paths are stripped, prefixed, rewritten and set", function()
    scripts(tree [[{ routes = {
      { path = "/api/v1/**", strip_prefix = 2, service = "b" },
      { path = "/short/{id}", prefix_path = "/echo", strip_prefix = 1, service = "b" },
      { path = "/red/**", rewrite_path = { "^/red/?(.*)", "/echo/$1" }, service = "b" },
      { path = "/x/{one}/{two}", set_path = "/echo/{two}", service = "b" },
    } }]])
    assert.equal("7", get("/api/v1/echo/7").body.id)
    assert.equal("8", get("/short/8").body.id)
    assert.equal("9", get("/red/9").body.id)
    assert.equal("a b", get("/x/1/a%20b?q=1").body.id)
    assert.equal("1", get("/x/1/2?q=1").body.query.q)
    assert.equal("/echo/2", get("/x/1/2").body.path)
  end)

  it("SYSTEMS-6b headers are set and removed on both ways", function()
    scripts(tree [[{ routes = { { path = "/echo/**", service = "b",
      request_headers  = { set = { ["X-Put"] = "put" }, remove = "x-gone" },
      response_headers = { set = { ["X-Answer"] = "yes" }, remove = { "X-Correlation-Id" } } } } }]])
    local answer = get("/echo/1", { ["X-Gone"] = "here", ["X-Put"] = "mine" })
    assert.equal("put", answer.body.header)
    assert.equal("none", answer.body.gone)
    assert.equal("yes", answer.headers["x-answer"])
  end)
end)

describe("SYSTEMS-6 cross-origin requests", function()
  it("SYSTEMS-6c the origin is echoed, with credentials; failures too can be read", function()
    -- Without routes every service is reachable at its own paths; paths must then differ.
    local files = tree [[{ cors = { origins = { "*" }, methods = { "*" }, headers = { "*" }, credentials = true } }]]
    files["routes/t/a.lua"] = 'return resource "items" { service = "a", rel = "item", fields = { text "name" } }'
    scripts(files)
    local answer = get("/items", { Origin = "http://other.example" })
    assert.equal("http://other.example", answer.headers["access-control-allow-origin"])
    assert.equal("true", answer.headers["access-control-allow-credentials"])
    assert.equal("Origin", answer.headers.vary)
    local failed = get("/items/7", { Origin = "http://other.example" })
    assert.equal(404, failed.status)
    assert.equal("http://other.example", failed.headers["access-control-allow-origin"])
    assert.equal(nil, get("/items").headers["access-control-allow-origin"])
  end)

  it("SYSTEMS-6c a preflight is answered and runs nothing; a foreign origin is 403", function()
    scripts(tree [[{
      cors = { origins = { "http://good" }, methods = { "GET", "PATCH" }, headers = { "X-A" }, max_age = "10m" },
      routes = { { path = "/items/**", service = "a" } },
    }]])
    local headers = { Origin = "http://good", ["Access-Control-Request-Method"] = "PATCH",
      ["Access-Control-Request-Headers"] = "x-a" }
    local asked = request { method = "OPTIONS", path = "/items", headers = headers }
    assert.equal(200, asked.status)
    assert.equal("PATCH", asked.headers["access-control-allow-methods"])
    assert.equal("x-a", asked.headers["access-control-allow-headers"])
    assert.equal("600", asked.headers["access-control-max-age"])
    headers["Access-Control-Request-Method"] = "DELETE"
    assert.equal(403, request { method = "OPTIONS", path = "/items", headers = headers }.status)
    local posted = request { method = "POST", path = "/items", body = { name = "x" },
      headers = { Origin = "http://bad" } }
    assert.equal(403, posted.status)
    assert.equal(0, #rows("a", "items"))
  end)
end)

describe("SYSTEMS-6 around a route", function()
  it("SYSTEMS-6d requests beyond the rate are 429, by key, with the headers", function()
    scripts(tree [[{ routes = { { path = "/items/**", service = "a",
      rate_limit = { rate = 1, burst = 2, key = "header:X-Key" } } } }]])
    local first = get("/items", { ["X-Key"] = "k" })
    assert.equal(200, first.status)
    assert.equal("1", first.headers["x-ratelimit-remaining"])
    assert.equal("2", first.headers["x-ratelimit-burst-capacity"])
    assert.equal("1", first.headers["x-ratelimit-replenish-rate"])
    assert.equal("1", first.headers["x-ratelimit-requested-tokens"])
    assert.equal(200, get("/items", { ["X-Key"] = "k" }).status)
    local refused = get("/items", { ["X-Key"] = "k" })
    assert.equal(429, refused.status)
    assert.equal("rate_limited", refused.body.code)
    assert.equal("1", refused.headers["retry-after"])
    assert.equal("0", refused.headers["x-ratelimit-remaining"])
    assert.equal(200, get("/items", { ["X-Key"] = "other" }).status)
    assert.equal(403, get("/items").status)
    clock.advance("1s")
    assert.equal(200, get("/items", { ["X-Key"] = "k" }).status)
  end)

  it("SYSTEMS-6d a request without a key stays refused where 403 is tried again", function()
    scripts(tree [[{ routes = { { path = "/items/**", service = "a", retry = { statuses = { 403 } },
      rate_limit = { rate = 1, key = "header:X-Key" } } } }]])
    assert.equal(403, get("/items").status)
    assert.equal(200, get("/items", { ["X-Key"] = "k" }).status)
  end)

  it("SYSTEMS-6d a spec's requests have an address, 127.0.0.1, whose limit counts", function()
    scripts(tree [[{ routes = { { path = "/items/**", service = "a", rate_limit = { rate = 1, burst = 2 } },
      { path = "/hosts", service = "a", set_path = "/items", rate_limit = { rate = 1, burst = 1, key = "ip" } } } }]])
    assert.equal(200, get("/items").status)
    assert.equal(200, get("/items").status)
    assert.equal(429, get("/items").status)
    assert.equal(200, get("/hosts").status)
    assert.equal(429, get("/hosts").status)
    clock.advance("1s")
    assert.equal(200, get("/items").status)
  end)

  it("SYSTEMS-6e a slow service is cut off at the breaker's timeout; then it is open, then tried again", function()
    scripts(tree [[{ routes = { { path = "/slow", service = "b", breaker = "guard" } } }]])
    for _ = 1, 2 do
      local late = get("/slow")
      assert.equal(504, late.status)
      assert.equal("timeout", late.body.code)
    end
    local open = get("/slow")
    assert.equal(503, open.status)
    assert.equal("circuit_open", open.body.code)
    assert.equal("5", open.headers["retry-after"])
    assert.equal("open", breaker("guard").state)
    clock.advance("5s")
    assert.equal(504, get("/slow").status)
  end)

  it("SYSTEMS-6e a fallback is answered instead: fixed, or by another path", function()
    scripts(tree [[{ routes = {
      { path = "/slow", service = "b", breaker = "guard", fallback = { body = "busy" } },
      { path = "/flaky", service = "a", fallback = "/sorry" },
      { path = "/sorry", service = "a" },
      { path = "/fail", service = "a" },
    } }]])
    for _ = 1, 3 do
      local late = get("/slow")
      assert.equal(200, late.status)
      assert.equal("busy", late.text)
      assert.equal("text/plain;charset=UTF-8", late.headers["content-type"])
    end
    request { method = "POST", path = "/fail", body = { times = 1 } }
    assert.equal(true, get("/flaky").body.sorry)
    assert.equal(2, get("/flaky").body.tries)
  end)

  it("SYSTEMS-6f a failed GET is tried again, so often and no more", function()
    scripts(tree [[{ routes = {
      { path = "/flaky", service = "a", retry = { retries = 3, statuses = { 503 }, first_backoff = "100ms" } },
      { path = "/fail", service = "a" },
    } }]])
    request { method = "POST", path = "/fail", body = { times = 3 } }
    local answer = get("/flaky")
    assert.equal(200, answer.status)
    assert.equal(4, answer.body.tries)
    request { method = "POST", path = "/fail", body = { times = 100 } }
    assert.equal(503, get("/flaky").status)
    assert.equal(503, get("/flaky").status)
  end)
end)

describe("SYSTEMS-6j a route's guard", function()
  -- key: the only one that may come in. What it sees of a request is kept for the route "seen".
  local doors = [==[
    local allowed = { key = true }
    local function guard(context, action)
      local asked = context.request
      cache.set("saw", { action = action, service = context.service, correlation = context.correlation_id,
        method = asked.method, path = asked.path, query = asked.query.q, header = asked.headers["x-put"],
        body = asked.body or context.body, times = (cache.get("saw") or { times = 0 }).times + 1 })
      if not allowed[asked.headers["x-key"]] then fail(403, "not for you") end
    end
    local function saw()
      fail(418, json.encode(cache.get("saw")))
    end]==]

  -- The routes see and change what the gateway's file says; `saw` answers what the guard last saw.
  local function guarded(routes, extra)
    local files = tree("{ " .. (extra or "") .. " routes = { " .. routes .. [[,
      { path = "/saw", service = "a", guard = saw } } }]])
    files["systems/t.lua"] = doors .. files["systems/t.lua"]
    return files
  end

  local function last()
    return json.decode(get("/saw").body.message)
  end

  it("is asked before the service, and sees the request as the client sent it", function()
    scripts(guarded [[{ path = "/api/**", strip_prefix = 1, service = "a", guard = guard,
      request_headers = { set = { ["X-Put"] = "put" } } }]])
    local headers = { ["X-Key"] = "key", ["X-Put"] = "mine", ["X-Correlation-Id"] = "c-1" }
    assert.equal(201, request { method = "POST", path = "/api/items?q=1", body = { name = "x" },
      headers = headers }.status)
    local seen = last()
    assert.equal("POST", seen.method)
    assert.equal("/api/items", seen.path)
    assert.equal("1", seen.query)
    assert.equal("mine", seen.header)
    assert.equal("a", seen.service)
    assert.equal("c-1", seen.correlation)
    assert.equal(nil, seen.body)
    local refused = request { method = "POST", path = "/api/items", body = { name = "y" } }
    assert.equal(403, refused.status)
    assert.equal("not for you", refused.body.message)
    assert.equal("/api/items", refused.body.path)
    assert.equal(1, #rows("a", "items"))
  end)

  it("is told what is done in the words of routes", function()
    scripts(guarded [[{ path = "/items/**", service = "a", guard = guard }]])
    for method, action in pairs { GET = "read", HEAD = "read", OPTIONS = "read", POST = "create", PUT = "update",
      PATCH = "update", DELETE = "delete", PROPFIND = "propfind" } do
      assert.equal(403, request { method = method, path = "/items/1" }.status)
      assert.equal(action, last().action)
    end
  end)

  it("has a service where the route leads to one", function()
    scripts(guarded [[{ path = "/far", url = "http://far.example", guard = guard }]])
    assert.equal(403, get("/far").status)
    assert.equal(nil, last().service)
    assert.equal("/far", last().path)
  end)

  it("asks the services, in one task, and may keep what it heard for a while", function()
    scripts(guarded([[{ path = "/items/**", service = "a", guard = function(context)
      local key = context.request.headers["x-key"]
      if not cache.get(key) then
        if http.get("http://b/echo/" .. key).body.id ~= "7" then fail(401, "who?") end
        http.post("http://b/notes", { name = key })
        cache.set(key, true)
      end
    end }]]))
    assert.equal(401, get("/items", { ["X-Key"] = "8" }).status)
    assert.equal(200, get("/items", { ["X-Key"] = "7" }).status)
    assert.equal(200, get("/items", { ["X-Key"] = "7" }).status)
    assert.equal(1, #rows("b", "notes"))
  end)

  it("writes nothing: it has neither tables nor events", function()
    local files = guarded([[{ path = "/row", service = "a", guard = function() store.create("items", {}) end },
      { path = "/read", service = "a", guard = function() store.get("items", 1) end },
      { path = "/event", service = "a", guard = function() bus.emit("Seen", { id = 1 }) end },
      { path = "/later", service = "a", guard = function() bus.emit_in("1s", "Seen", { id = 1 }) end },
      { path = "/never", service = "a", guard = function() bus.cancel(1) end }]])
    files["routes/t/e.lua"] = 'return event "Seen" { service = "a", key = { id = "id" }, fields = { integer "id" } }'
    scripts(files)
    for path, message in pairs { ["/row"] = "not to the gateway", ["/read"] = "not to the gateway",
      ["/event"] = "bus.emit cannot be used here", ["/later"] = "bus.emit_in cannot be used here",
      ["/never"] = "bus.cancel cannot be used here" } do
      local answer = get(path)
      assert.equal(500, answer.status)
      assert.matches(message, answer.body.message)
    end
    assert.equal(0, #rows("a", "items"))
    assert.equal(0, #events())
  end)

  it("that goes wrong is answered so, and the route is not reached", function()
    scripts(guarded([[{ path = "/items/**", methods = "POST", service = "a", guard = function() local x = nil + 1 end },
      { path = "/items/**", methods = "PUT", service = "a", guard = function() fail(599, "no") end },
      { path = "/items/**", methods = "DELETE", service = "a", guard = function() while true do end end },
      { path = "/items/**", service = "a", guard = function() task.sleep("1h") end }]]))
    local wrong = request { method = "POST", path = "/items", body = { name = "x" } }
    assert.equal(500, wrong.status)
    assert.equal("script", wrong.body.code)
    assert.equal(599, request { method = "PUT", path = "/items/1", body = { name = "x" } }.status)
    assert.equal("budget", request { method = "DELETE", path = "/items/1" }.body.code)
    assert.equal(504, get("/items").status)
    assert.equal(0, #rows("a", "items"))
  end)

  it("comes behind the limit and before the breaker, and its refusal is not tried again or replaced", function()
    scripts(guarded [[{ path = "/items/**", service = "a", breaker = "guard", fallback = { body = "instead" },
      retry = { retries = 3, statuses = { 403, 503 } }, rate_limit = { rate = 1, burst = 3, key = "host" },
      guard = function(context, action)
        guard(context, action)
        fail(503, "closed")
      end }]])
    for times, key in ipairs { "none", "none", "key" } do
      local refused = get("/items", { ["X-Key"] = key })
      assert.equal(key == "key" and 503 or 403, refused.status)
      assert.equal(tostring(3 - times), refused.headers["x-ratelimit-remaining"])
      assert.equal(times, last().times)
    end
    assert.equal(429, get("/items", { ["X-Key"] = "key" }).status)
    assert.equal(3, last().times)
    assert.equal("closed", breaker("guard").state)
  end)

  it("is asked once for all tries, and again for the route that is the fallback", function()
    scripts(guarded [[{ path = "/flaky", service = "a", guard = guard, fallback = "/sorry",
        retry = { retries = 2, statuses = { 503 } } },
      { path = "/sorry", service = "a", guard = guard },
      { path = "/fail", service = "a" } ]])
    request { method = "POST", path = "/fail", body = { times = 2 } }
    assert.equal(3, get("/flaky", { ["X-Key"] = "key" }).body.tries)
    assert.equal(1, last().times)
    request { method = "POST", path = "/fail", body = { times = 100 } }
    assert.equal(true, get("/flaky", { ["X-Key"] = "key" }).body.sorry)
    assert.equal(3, last().times)
    assert.equal("/sorry", last().path)
  end)

  it("does not see a preflight, and scripts of other origins can read its refusal", function()
    scripts(guarded([[{ path = "/items/**", service = "a", guard = guard,
      response_headers = { set = { ["X-Door"] = "shut" } } }]], 'cors = { origins = { "http://good" } },'))
    local origin = { Origin = "http://good", ["Access-Control-Request-Method"] = "GET" }
    assert.equal(200, request { method = "OPTIONS", path = "/items", headers = origin }.status)
    origin["Access-Control-Request-Method"] = nil
    local refused = get("/items", origin)
    assert.equal(403, refused.status)
    assert.equal("http://good", refused.headers["access-control-allow-origin"])
    assert.equal("shut", refused.headers["x-door"])
    assert.equal(1, last().times)
  end)

  it("keeps no state beside itself, and must be a function", function()
    local files = guarded [[{ path = "/items/**", service = "a", guard = guard }]]
    files["systems/t.lua"] = files["systems/t.lua"]:gsub("cache.set", "allowed = {} cache.set", 1)
    assert.error_matches("scripts/systems/t.lua:4: assigns to `allowed`", scripts, files)
    files = guarded [[{ path = "/items/**", service = "a",
      guard = "guard" }]]
    assert.error_matches('^scripts/systems/t.lua:%d+: gateway.routes%[1%]: option "guard" must be a function, got a s',
      scripts, files)
  end)
end)

describe("SYSTEMS-6 a gateway that cannot be", function()
  for _, wrong in ipairs {
    { "an unknown service",
      [[{ routes = { { path = "/x", service = "aa" } } }]],
      'service "aa" is not in the system file' },
    { "no target", [[{ routes = { { path = "/x" } } }]], "a route leads to a service or to a url" },
    { "two targets", [[{ routes = { { path = "/x", service = "a", url = "http://h" } } }]], "one of them" },
    { "no path", [[{ routes = { { service = "a" } } }]], 'option "path" is missing' },
    { "a path without slash", [[{ routes = { { path = "x", service = "a" } } }]], '"x" must begin with /' },
    { "an unknown option",
      [[{ routes = { { path = "/x", service = "a", brekaer = "guard" } } }]],
      'did you mean "breaker"?' },
    { "an unknown breaker",
      [[{ routes = { { path = "/x", service = "a", breaker = "gard" } } }]],
      'did you mean "guard"?' },
    { "a broken expression",
      [[{ routes = { { path = "/x", service = "a", rewrite_path = { "(", "" } } } }]],
      "is no regular expression" },
    { "an unknown method",
      [[{ routes = { { path = "/x", service = "a", methods = "GTE" } } }]],
      'did you mean "GET"?' },
    { "a rate of nothing",
      [[{ routes = { { path = "/x", service = "a", rate_limit = { rate = 0 } } } }]],
      "rate_limit.rate" },
    { "a key that is none",
      [[{ routes = { { path = "/x", service = "a", rate_limit = { rate = 1, key = "user" } } } }]],
      '"header:NAME"' },
    { "a header that is none",
      [[{ routes = { { path = "/x", service = "a", request_headers = { set = { ["a b"] = "x" } } } } }]],
      '"a b" is no header' },
    { "a url with a path", [[{ routes = { { path = "/x", url = "http://h/p" } } }]], "prefix_path" },
    { "origins that are none", [[{ cors = { methods = "*" } }]], 'option "origins" is missing' },
  } do
    it("SYSTEMS-6g is refused with file and line: " .. wrong[1], function()
      assert.error_matches(wrong[3], scripts, tree(wrong[2]))
      assert.error_matches("scripts/systems/t.lua:", scripts, tree(wrong[2]))
    end)
  end
end)
