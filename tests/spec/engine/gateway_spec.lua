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
