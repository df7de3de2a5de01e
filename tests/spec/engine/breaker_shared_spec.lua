-- SPDX-License-Identifier: MIT
-- Calls of a breaker that are made once for several: the request cache, coalescing, the collapser. A file of its own
-- counts the bodies that ran, in the process' cache: it knows nothing of units of work.
local function tree(code, settings, top)
  return {
    ["systems/t.lua"] = "return { services = { a = {}, b = {} }, breakers = { outer = { timeout_ms = 30 }, " ..
      "guard = { " .. (settings or "") .. " } } }",
    ["routes/t/go.lua"] = [[
      local guard = breaker "guard"
      local function ran() return cache.add("ran", 1) end
      local function told(err) return { code = err.code, message = err.message, reason = err.reason } end
      local function asked(fn, ...)
        local value, err = try(fn, ...)
        if err then return told(err) end
        return { value = value }
      end
      ]] .. (top or "") .. [[
      return { resource "items" { service = "a", fields = { text "name" } },
        route "ran" { service = "a", method = "GET", path = "/ran", handle = function()
          return { n = cache.get("ran") or 0 } end },
        route "go" { service = "a", method = "GET", path = "/go", handle = function(request)
        ]] .. code .. [[
        end } }]],
  }
end

local function load(...) scripts(tree(...)) end

local function ran() return request { path = "/ran" }.body.n end

-- The answers to GET /go?q=... for each of the texts, all at once, after so many ms.
local function ask(queries, ms)
  local answers = {}
  for i, q in ipairs(queries) do answers[i] = start { path = "/go?q=" .. q } end
  settle()
  if ms then clock.advance(ms) end
  local bodies = {}
  for i, answer in ipairs(answers) do bodies[i] = answer.body or false end
  return bodies, answers
end

local function counts(...)
  local found, b = {}, breaker("guard")
  for i, name in ipairs { ... } do found[i] = b[name] end
  return found
end

local cached = [[
  local function get(key, body, fallback)
    return guard:call(body or function() ran() return { key = key } end, { cache_key = key, fallback = fallback })
  end
]]

describe("BREAKER-9 case", function()
  it("115 testRequestCache1: the same key twice, the body once", function()
    load("local a, b = get('A'), get('A') return { a.key, b.key, rawequal(a, b) }", "", cached)
    assert.same({ { "A", "A", true } }, ask { "" })
    assert.equal(1, ran())
    assert.same({ 1, 1 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  it("116 testRequestCache3: A B A, the third from the cache", function()
    load("return { get('A').key, get('B').key, get('A').key }", "", cached)
    assert.same({ { "A", "B", "A" } }, ask { "" })
    assert.equal(2, ran())
    assert.same({ 2, 1 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  it("38 testRequestFromCache: one success, two from the cache", function()
    load("get('A') get('A') get('A') return {}", "", cached)
    ask { "" }
    assert.same({ 1, 2 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  local slow = [[
    local function slow() return get("A", function() ran() task.sleep(100) return "slow" end) end
    return { task.all(slow, slow, slow, slow) }]]

  it("118 testRequestCacheWithSlowExecution: four at once, the body once", function()
    load(slow, "", cached)
    assert.same({ { "slow", "slow", "slow", "slow" } }, ask({ "" }, 100))
    assert.equal(1, ran())
    assert.same({ 1, 3 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  it("56 testConcurrencyStreamProperlyFiltersOutResponseFromCache: one is in flight", function()
    load(slow, "", cached)
    ask({ "" }, 50)
    assert.same({ 1, 1 }, { breaker("guard").in_flight, breaker("guard").max_in_flight })
  end)

  it("64 testResponseFromCacheDoesNotGetLatencyTracked: one latency", function()
    load(slow, "", cached)
    ask({ "" }, 100)
    assert.equal(1, breaker("guard").latencies)
  end)

  local twice = [[
    local function one() return asked(get, "A", %s) end
    return { one(), one() }]]

  it("119 testRequestCacheOnTimeoutThrowsException: the same timeout again", function()
    load(twice:format('function() ran() task.sleep("9s") end'), "timeout_ms = 50", cached)
    local late = { code = "timeout", reason = "timed-out", message = "guard timed-out and no fallback available." }
    assert.same({ { late, late } }, ask({ "" }, 50))
    assert.equal(1, ran())
    assert.same({ 1, 1, 1 }, counts("TIMEOUT", "FALLBACK_MISSING", "RESPONSE_FROM_CACHE"))
  end)

  it("120 testRequestCacheOnThreadRejectionThrowsException: the same refusal again", function()
    load([[
      if request.query.q == "hold" then return guard:call(function() task.sleep(500) return {} end) end
      if request.query.q == "wait" then return guard:call(function() return {} end) end
    ]] .. twice:format("nil"), "limit = 1, queue = 1", cached)
    local full = { code = "queue_full", reason = "could not be queued for execution",
      message = "guard could not be queued for execution and no fallback available." }
    assert.same({ full, full }, ask({ "hold", "wait", "x" })[3])
    assert.equal(0, ran())
    assert.same({ 1, 1, 1 }, counts("THREAD_POOL_REJECTED", "FALLBACK_MISSING", "RESPONSE_FROM_CACHE"))
  end)

  it("121 testBadRequestExceptionViaQueueInThreadOnResponseFromCache: the same bad request again", function()
    load(twice:format("function() ran() fail(422, 'no such book') end"), "", cached)
    local bad = { code = "failed", message = "no such book" }
    assert.same({ { bad, bad } }, ask { "" })
    assert.equal(1, ran())
    assert.same({ 1, 1, 0 }, counts("BAD_REQUEST", "RESPONSE_FROM_CACHE", "FAILURE"))
  end)

  it("122 testCacheKeyExecutionRequiresRequestVariable: not without a request, and each has its own", function()
    assert.error_matches("cannot be used while scripts load", load, "return {}", "", cached .. "get('A')")
    load("return get('A')", "", cached)
    assert.same({ { key = "A" }, { key = "A" } }, ask { "", "" })
    assert.equal(2, ran())
    assert.same({ 2, 0 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
  end)
end)

describe("BREAKER-6 the request cache", function()
  it("fallbacks are part of what is shared, and requestCache.enabled = false ends it", function()
    local code = [[
      local function broken() ran() error("broken") end
      local function one() return get("A", broken, function() return { n = ran() } end) end
      return { one().n, one().n }]]
    load(code, "", cached)
    assert.same({ { 2, 2 } }, ask { "" })
    load(code, '["requestCache.enabled"] = false', cached)
    assert.same({ { 2, 4 } }, ask { "" })
  end)

  it("who asks again gets the same error, whatever a breaker around another call made of it", function()
    load([[
      local function late() return get("A", function() ran() task.sleep("9s") end) end
      asked(late)
      asked(breaker("outer").call, breaker("outer"), late)
      return asked(late)]], "timeout_ms = 50", cached)
    assert.same({ { code = "timeout", reason = "timed-out", message = "guard timed-out and no fallback available." } },
      ask({ "" }, 50))
    assert.equal(1, ran())
  end)

  it("a cancelled call takes nobody along: who waits makes its own", function()
    load([[
      local function slow() return get("A", function() local n = ran() task.sleep(100) return n end) end
      local first, second
      task.all(
        function() first = task.race(slow, function() task.sleep(20) return "won" end) end,
        function() second = slow() end)
      return { first, second }]], "", cached)
    assert.same({ false }, ask({ "" }, 100))
    load([[
      local function slow() return get("A", function() local n = ran() task.sleep(100) return n end) end
      local first, second
      task.all(
        function() first = task.race(slow, function() task.sleep(20) return "won" end) end,
        function() second = slow() end)
      return { first, second }]], "", cached)
    local answer = start { path = "/go" }
    settle()
    clock.advance(20)
    clock.advance(100)
    assert.same({ "won", 2 }, answer.body)
    assert.same({ 1, 1, 0 }, counts("CANCELLED", "SUCCESS", "FAILURE"))
  end)

  it("a call that waits for itself is told so", function()
    load([[return { asked(get, "A", function() return get("A") end).message }]], "", cached)
    assert.matches("a call with this cache_key waits for itself", ask({ "" })[1][1])
  end)

  it("keys are texts or numbers, and not endless", function()
    load([[
      return { asked(guard.call, guard, ran, { cache_key = ("x"):rep(257) }).message,
        asked(guard.call, guard, ran, { cache_key = {} }).message,
        asked(guard.call, guard, ran, { coalesce = true }).message }]])
    local messages = ask({ "" })[1]
    assert.matches("at most 256 bytes", messages[1])
    assert.matches('"cache_key" must be a number or string', messages[2])
    assert.matches("coalesce wants a cache_key", messages[3])
  end)
end)

local together = [[
  local function get(key, body, options)
    options = options or {}
    options.cache_key, options.coalesce = key, true
    return guard:call(body or function()
      local n = ran()
      task.sleep(100)
      return { n = n, list = {} }, "two", nil, 4.5
    end, options)
  end
]]

describe("BREAKER-6 coalescing", function()
  it("requests that ask at the same time share one run, each with values of its own", function()
    load([[
      local answer, two, none, four = get("A")
      answer.list[1] = request.query.q
      return { answer.n, answer.list, two, none == nil, math.type(four) }]], "", together)
    local bodies = ask({ "a", "b", "c" }, 100)
    assert.same({ { 1, { "a" }, "two", true, "float" }, { 1, { "b" }, "two", true, "float" },
      { 1, { "c" }, "two", true, "float" } }, bodies)
    assert.same({ 1, 2 }, counts("SUCCESS", "RESPONSE_FROM_CACHE"))
    assert.equal(0, breaker("guard").in_flight)
    assert.same({ 2 }, (function() local body = ask({ "d" }, 100)[1] return { body[1] } end)())
  end)

  it("other keys run beside each other", function()
    load("return { (get(request.query.q)).n }", "", together)
    assert.equal(2, #ask({ "a", "b" }, 100))
    assert.equal(2, ran())
  end)

  it("errors, timeouts and refusals come to all of them, once counted", function()
    load("return asked(get, 'A', function() ran() task.sleep(10) error('broken') end)", "", together)
    local broken = { code = "script", reason = "failed", message = "guard failed and no fallback available. broken" }
    assert.same({ broken, broken }, ask({ "", "" }, 10))
    assert.same({ 1, 1, 1 }, counts("FAILURE", "FALLBACK_MISSING", "RESPONSE_FROM_CACHE"))
    load("return asked(get, 'A', function() ran() task.sleep(500) end)", "timeout_ms = 50", together)
    local late = { code = "timeout", reason = "timed-out", message = "guard timed-out and no fallback available." }
    assert.same({ late, late }, ask({ "", "" }, 50))
    assert.same({ 1, 1, 0 }, counts("TIMEOUT", "RESPONSE_FROM_CACHE", "FAILURE"))
  end)

  local cut = [[
    local function wait() return { n = (get("A")).n } end
    if request.query.q ~= "first" then return wait() end
    return %s]]

  it("the first one's end by a timeout around it leaves the others to one of them", function()
    load(cut:format([[breaker("outer"):call(wait, function(err)
      task.sleep(500)
      return { n = err.reason }
    end)]]), "", together)
    local answers = {}
    for i, q in ipairs { "first", "b", "c" } do answers[i] = start { path = "/go?q=" .. q } end
    settle()
    clock.advance(30)
    clock.advance(100)
    assert.falsy(answers[1].body)
    assert.same({ { n = 2 }, { n = 2 } }, { answers[2].body, answers[3].body })
    clock.advance(400)
    assert.same({ n = "timed-out" }, answers[1].body)
  end)

  it("the first one is cancelled: the next one makes the call, all the others get its result", function()
    load(cut:format([[task.race(wait, function() task.sleep(30) return { n = "gave up" } end)]]), "", together)
    local answers = {}
    for i, q in ipairs { "first", "b", "c" } do answers[i] = start { path = "/go?q=" .. q } end
    settle()
    clock.advance(30)
    assert.same({ n = "gave up" }, answers[1].body)
    clock.advance(100)
    assert.same({ { n = 2 }, { n = 2 } }, { answers[2].body, answers[3].body })
    assert.same({ 1, 1, 1 }, counts("CANCELLED", "SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  it("one that waits is cancelled: nobody notices", function()
    load([[
      local function wait() return { n = (get("A")).n } end
      if request.query.q ~= "b" then return wait() end
      return task.race(wait, function() task.sleep(30) return { n = "gave up" } end)]], "", together)
    local answers = {}
    for i, q in ipairs { "a", "b", "c" } do answers[i] = start { path = "/go?q=" .. q } end
    settle()
    clock.advance(30)
    assert.same({ n = "gave up" }, answers[2].body)
    clock.advance(70)
    assert.same({ { n = 1 }, { n = 1 } }, { answers[1].body, answers[3].body })
    assert.same({ 0, 1, 1 }, counts("CANCELLED", "SUCCESS", "RESPONSE_FROM_CACHE"))
  end)

  it("the first one is over its budget, where nothing of it runs any more: the next one makes the call", function()
    load([[
      local mine = request.query.q
      return { n = (get("A", function()
        local n = ran()
        task.sleep(10)
        if mine == "first" then while true do end end
        return { n = n }
      end)).n }]], "", together)
    local answers = {}
    for i, q in ipairs { "first", "b" } do answers[i] = start { path = "/go?q=" .. q } end
    settle()
    clock.advance(10)
    assert.same({ 500, "budget" }, { answers[1].status, answers[1].body.code })
    clock.advance(10)
    assert.same({ n = 2 }, answers[2].body)
  end)

  it("what others share must not write, and must be data", function()
    load([[
      if request.query.q == "write" then
        return asked(get, "w", function() store.create("items", { name = "x" }) end)
      end
      return asked(get, "f", function() task.sleep(10) return { ran } end)]], "", together)
    assert.matches("must not write", ask({ "write" })[1].message)
    assert.same({}, rows("a", "items"))
    local both = ask({ "a", "b" }, 10)
    assert.matches("function", both[1].message)
    assert.same(both[1].message, both[2].message)
  end)

  it("services have keys of their own", function()
    local made = tree("return { a = (get('A')).n, b = http.get('http://b/same').body.b }", "", together)
    made["routes/t/b.lua"] = [[
      local guard = breaker "guard"
      return route "same" { service = "b", method = "GET", path = "/same", handle = function()
        return { b = guard:call(function() return "of b" end, { cache_key = "A", coalesce = true }) }
      end }]]
    scripts(made)
    assert.same({ { a = 1, b = "of b" } }, ask({ "" }, 100))
  end)
end)

local function collapser(options)
  return [[
    local function answers(list)
      ran()
      local found = {}
      for i, id in ipairs(list) do found[i] = "row " .. tostring(id) .. " of " .. #list end
      return found
    end
    local row = guard:collapser { body = answers]] .. (options or "") .. " }\n"
end

local all_of = [[
  local bodies = {}
  for id in request.query.q:gmatch("[^,]+") do
    bodies[#bodies + 1] = function() return asked(row, id) end
  end
  return { task.all(bodies) }]]

describe("BREAKER-9 case", function()
  it("127 testTwoRequests: two within 10 ms, one call", function()
    load(all_of, "", collapser())
    assert.same({ { { value = "row 1 of 2" }, { value = "row 2 of 2" } } }, ask({ "1,2" }, 10))
    assert.equal(1, ran())
    assert.same({ 1, 2 }, counts("SUCCESS", "COLLAPSED"))
  end)

  it("128 testRequestsOverTime: 0, 5 | 13, 19 | 27 make three calls of 2, 2, 1", function()
    load("return { row(request.query.q) }", "", collapser ', scope = "worker"')
    local answers, now = {}, 0
    for i, at in ipairs { 0, 5, 13, 19, 27 } do
      clock.advance(at - now)
      now = at
      answers[i] = start { path = "/go?q=" .. i }
      settle()
    end
    clock.advance(10)
    local found = {}
    for i, answer in ipairs(answers) do found[i] = answer.body[1] end
    assert.same({ "row 1 of 2", "row 2 of 2", "row 3 of 2", "row 4 of 2", "row 5 of 1" }, found)
    assert.same({ 3, 5 }, counts("SUCCESS", "COLLAPSED"))
  end)

  it("130 testDuplicateArgumentsWithRequestCachingOn: ten answers from one slot", function()
    load(all_of, "", collapser())
    local all = ask({ "7,7,7,7,7,7,7,7,7,7" }, 10)[1]
    assert.equal(10, #all)
    for _, each in ipairs(all) do assert.equal("row 7 of 1", each.value) end
    assert.same({ 1, 1, 9 }, counts("SUCCESS", "COLLAPSED", "RESPONSE_FROM_CACHE"))
  end)

  local gives_up = [[
    local function wait() return asked(row, request.query.q) end
    if not request.query.q:find("gone") then return wait() end
    return task.race(wait, function() task.sleep(5) return { value = "gave up" } end)]]

  it("131 testUnsubscribeOnOneDoesntKillBatch: the one that is left has a batch of 1", function()
    load(gives_up, "", collapser ', scope = "worker"')
    local answers = { start { path = "/go?q=gone" }, start { path = "/go?q=2" } }
    settle()
    clock.advance(5)
    clock.advance(5)
    assert.same({ { value = "gave up" }, { value = "row 2 of 1" } }, { answers[1].body, answers[2].body })
    assert.same({ 1, 1 }, counts("SUCCESS", "COLLAPSED"))
  end)

  it("131 testEarlyUnsubscribeFromAllCancelsBatch: nobody is left, nothing runs", function()
    load(gives_up, "", collapser ', scope = "worker"')
    local answers = { start { path = "/go?q=gone1" }, start { path = "/go?q=gone2" } }
    settle()
    clock.advance(5)
    clock.advance(100)
    assert.same({ "gave up", "gave up" }, { answers[1].body.value, answers[2].body.value })
    assert.equal(0, ran())
    assert.same({ 0, 0 }, counts("SUCCESS", "COLLAPSED"))
  end)

  it("133 testRequestScope: two requests, two calls; testGlobalScope: one of four", function()
    load(all_of, "", collapser())
    ask({ "1,2", "3,4" }, 10)
    assert.same({ 2, 4 }, counts("SUCCESS", "COLLAPSED"))
    load(all_of, "", collapser ', scope = "worker"')
    local bodies = ask({ "1,2", "3,4" }, 10)
    assert.same({ value = "row 4 of 4" }, bodies[2][2])
    assert.same({ 1, 4 }, counts("SUCCESS", "COLLAPSED"))
  end)

  it("134 testErrorHandlingViaFutureException: every member gets the error", function()
    for _, scope in ipairs { "request", "worker" } do
      load(all_of, "", [[local row = guard:collapser { scope = "]] .. scope .. [[",
        body = function() error("broken") end }
      ]])
      local broken = { code = "script", reason = "failed", message = "guard failed and no fallback available. broken" }
      assert.same({ { broken, broken } }, ask({ "1,2" }, 10))
      assert.same({ 1, 1 }, counts("FAILURE", "FALLBACK_MISSING"))
    end
  end)

  it("134 testVoidResponseTypeFireAndForgetCollapsing2: who has no answer is told so", function()
    load(all_of, "", [[local row = guard:collapser { body = function(list) return { "one", json.null } end }
    ]])
    local all = ask({ "1,2,3" }, 10)[1]
    assert.same({ { value = "one" }, {} }, { all[1], all[2] })
    assert.matches("the body gave no answer for item 3", all[3].message)
    load(all_of, "", [[local row = guard:collapser { body = function() return "x" end }
    ]])
    assert.matches("returns a list, this one returned a string", ask({ "1" }, 10)[1][1].message)
  end)
end)

describe("BREAKER-6 a collapser", function()
  it("a full batch does not wait, and what comes then is another one", function()
    load(all_of, "", collapser ', max = 2, wait = "1s"')
    local answer = start { path = "/go?q=1,2,3" }
    settle()
    assert.same({ 1, 2 }, counts("SUCCESS", "COLLAPSED"))
    assert.falsy(answer.body)
    clock.advance(1000)
    assert.same({ { value = "row 1 of 2" }, { value = "row 2 of 2" }, { value = "row 3 of 1" } }, answer.body)
  end)

  it("one slot in the breaker a batch: a limit of 1 lets ten members through", function()
    load(all_of, "limit = 1", collapser())
    assert.equal(10, #ask({ "1,2,3,4,5,6,7,8,9,10" }, 10)[1])
    assert.same({ 1, 10, 0 }, counts("SUCCESS", "COLLAPSED", "SEMAPHORE_REJECTED"))
  end)

  it("a fallback gives the whole list, also when the circuit is open", function()
    load(all_of, "force_open = true", [[local row = guard:collapser { body = function() ran() end,
      fallback = function(err, list) return { err.reason, #list } end }
    ]])
    assert.same({ { { value = "short-circuited" }, { value = 2 } } }, ask({ "1,2" }, 10))
    assert.equal(0, ran())
  end)

  it("who collects or runs it is cancelled: the others get their answers all the same", function()
    load([[
      local function wait() return asked(row, request.query.q) end
      if request.query.q ~= "first" then return wait() end
      return task.race(wait, function() task.sleep(15) return { value = "gave up" } end)]], "",
      [[local row = guard:collapser { scope = "worker", body = function(list)
        ran()
        task.sleep(20)
        return list
      end }
    ]])
    local answers = {}
    for i, q in ipairs { "first", "b", "c" } do answers[i] = start { path = "/go?q=" .. q } end
    settle()
    clock.advance(10)
    clock.advance(5)
    clock.advance(20)
    assert.same({ { value = "gave up" }, { value = "b" }, { value = "c" } },
      { answers[1].body, answers[2].body, answers[3].body })
    assert.same({ 1, 1, 5 }, counts("CANCELLED", "SUCCESS", "COLLAPSED"))
  end)

  it("rows and tables are asked for as data, and compared by what they say", function()
    load([[
      local made = store.create("items", { name = "x" })
      return { task.all(function() return row(made).name end, function() return row({ name = "y" }).name end,
        function() return row({ name = "y" }).name end) }]], "",
      [[local row = guard:collapser { scope = "worker", body = function(list) return list end }
    ]])
    assert.same({ { "x", "y", "y" } }, ask({ "" }, 10))
    assert.same({ 2 }, counts("COLLAPSED"))
  end)

  it("stands at the top of a file, with sense", function()
    load("return { asked(guard.collapser, guard, { body = ran }).message, asked(row, nil).message }", "", collapser())
    local messages = ask({ "" })[1]
    assert.matches("breaker:collapser stands at the top of a file", messages[1])
    assert.matches("is asked for something, got nil", messages[2])
    for text, wrong in pairs {
      [', max = 0'] = "max must be a whole number from 1 to 1000",
      [', scope = "workers"'] = 'scope must be "request" or "worker", got "workers"; did you mean "worker"',
      [', retries = -2'] = "retries must be a whole number, not below 0",
      [', hedge = "soon"'] = '"hedge" must be a duration',
      [', waits = 5'] = 'unknown option "waits"; did you mean "wait"',
    } do
      assert.error_matches(wrong, load, "return {}", "", collapser(text))
    end
    assert.error_matches("`n`, a local of the file", load, "return {}", "",
      "local n = 0\nguard:collapser { body = function(list) n = n + 1 return list end }\n")
  end)
end)
