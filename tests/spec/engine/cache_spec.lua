-- SPDX-License-Identifier: MIT
-- cache.*: what all workers share for a while.
describe("the cache", function()
  local function probe(body)
    scripts {
      ["systems/t.lua"] = "return { services = { a = {}, b = {} } }",
      ["routes/t/a.lua"] = [[
        local function probe(service, handle)
          return route("probe " .. service) { service = service, method = "POST", path = "/" .. service,
            handle = handle }
        end
        return { probe("a", function(request) ]] .. body .. [[ end),
                 probe("b", function() return { seen = cache.get("k") or "nothing" } end) }
      ]],
    }
  end

  local function ask(path)
    return request { method = "POST", path = path or "/a", body = {} }
  end

  it("keeps values of every kind, until they are removed", function()
    probe [[
      cache.set("t", { 1, 2, { x = "y" } })
      cache.set("empty", json.array())
      cache.set("f", false)
      cache.set("gone", 1)
      cache.set("gone", nil)
      return { cache.get("t"), cache.get("empty"), cache.get("f"), cache.get("gone") == nil, tostring(cache.get("no")) }
    ]]
    assert.same({ { 1, 2, { x = "y" } }, {}, false, true, "nil" }, ask().body)
  end)

  it("forgets after its time", function()
    probe [[
      local first = cache.add("n", 1, "10s")
      cache.set("k", "v", { ttl = 5000 })
      return { first = first }
    ]]
    assert.equal(1, ask().body.first)
    assert.equal(2, ask().body.first)
    clock.advance("10s")
    assert.equal(1, ask().body.first)
  end)

  it("a service has keys of its own", function()
    probe [[ cache.set("k", "of a") return { seen = cache.get("k") } ]]
    assert.equal("of a", ask().body.seen)
    assert.equal("nothing", ask("/b").body.seen)
  end)

  it("a task that fails has changed it all the same", function()
    probe [[ local n = cache.add("n") if n == 1 then fail(500, "once") end return { n = n } ]]
    assert.equal(500, ask().status)
    assert.equal(2, ask().body.n)
  end)

  for _, wrong in ipairs {
    { "a key that is no text", [[cache.get(7)]], "cache.get: the key must be a text, got a number" },
    { "a delta that is no integer", [[cache.add("n", 1.5)]], "cache.add: the delta must be an integer" },
    { "a time that is none", [[cache.set("k", 1, "soon")]], "cache.set" },
    { "an option that is none", [[cache.set("k", 1, { tll = 5 })]], 'unknown option "tll"; there is ttl' },
    { "a time that is over", [[cache.set("k", 1, 0)]], "ttl must be longer than nothing" },
    { "a function", [[cache.set("k", function() end)]], "function" },
    { "a sum of a text", [[cache.set("k", "x") cache.add("k")]], 'cache.add: "a/k" holds no integer' },
    { "a key without end", [[cache.set(("k"):rep(300), 1)]], "more than 256 bytes" },
  } do
    it("refuses " .. wrong[1], function()
      probe("local ok, err = pcall(function() " .. wrong[2] .. " end) return { ok = ok, text = tostring(err) }")
      local answer = ask().body
      assert.equal(false, answer.ok)
      assert(answer.text:find(wrong[3], 1, true), answer.text)
    end)
  end
end)
