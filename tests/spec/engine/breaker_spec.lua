-- SPDX-License-Identifier: MIT
-- What a breaker's call does around its body: the cases of Hystrix' suites that are about calls, by their numbers, and
-- what is ours. One route: it runs `body` of the case.
local function tree(settings, code)
  return {
    ["systems/t.lua"] = "return { services = { a = {} }, breakers = { inner = {}, guard = { volume = 100, " ..
      settings .. " } } }",
    ["routes/t/go.lua"] = [[
      local guard, inner = breaker "guard", breaker "inner"
      local function told(err)
        return { code = err.code, message = err.message, reason = err.reason, status = err.status,
          fallback = err.fallback, breaker = err.breaker, retry_after_ms = err.retry_after_ms,
          cause = err.cause and err.cause.message,
          fallback_error = err.fallback_error and err.fallback_error.message }
      end
      return { resource "items" { service = "a", fields = { text "name" } },
        route "go" { service = "a", method = "GET", path = "/go", handle = function(request)
        ]] .. code .. [[
      end } }]],
  }
end

-- The answer's body after running code once; ms: and so much time.
local function run(settings, code, ms)
  scripts(tree(settings, code))
  local answer = start { path = "/go" }
  settle()
  if ms then clock.advance(ms) end
  return answer.body
end

local try_call = [[
  local result, err = try(guard.call, guard, %s)
  return err and told(err) or { result = result }
]]

local function counts(...)
  local found, b = {}, breaker("guard")
  for i, name in ipairs { ... } do found[i] = b[name] end
  return found
end

describe("BREAKER-9 case", function()
  it("68 testExecutionFailureWithNoFallback", function()
    local err = run("", try_call:format('function() error("broken") end'))
    assert.equal("guard failed and no fallback available. broken", err.message)
    assert.same({ "script", "failed", "missing", "guard", "broken" },
      { err.code, err.reason, err.fallback, err.breaker, err.cause })
    assert.same({ 1, 1, 1 }, counts("FAILURE", "FALLBACK_MISSING", "EXCEPTION_THROWN"))
  end)

  it("70 testExecutionFailureWithFallbackFailure", function()
    local err = run("", try_call:format('function() error("broken") end, function() error("also") end'))
    assert.equal("guard failed and fallback failed. also", err.message)
    assert.same({ "script", "failed", "failed", "broken", "also" },
      { err.code, err.reason, err.fallback, err.cause, err.fallback_error })
    assert.same({ 1, 1, 1 }, counts("FAILURE", "FALLBACK_FAILURE", "EXCEPTION_THROWN"))
  end)

  it("71 testExecutionFailureWithFallbackImplementedButDisabled", function()
    local err = run("fallback_enabled = false",
      try_call:format('function() error("broken") end, function() return 1 end'))
    assert.equal("guard failed and fallback disabled. broken", err.message)
    assert.equal("disabled", err.fallback)
    assert.same({ 1, 0, 1 }, counts("FAILURE", "FALLBACK_SUCCESS", "FALLBACK_DISABLED"))
  end)

  it("73 testNotWrappedExceptionWithFallback", function()
    assert.same({ result = "kept" }, run("", try_call:format('function() error({}) end, function() return "kept" end')))
    assert.same({ 1, 1 }, counts("FAILURE", "FALLBACK_SUCCESS"))
  end)

  it("74 testBadRequestException: as it is, past any fallback", function()
    local err = run("", try_call:format('function() fail(422, "no") end, function() return "kept" end'))
    assert.same({ "failed", "no", 422 }, { err.code, err.message, err.status })
    assert.falsy(err.fallback)
    assert.same({ 1, 0, 0, 1 }, counts("BAD_REQUEST", "FAILURE", "FALLBACK_SUCCESS", "EXCEPTION_THROWN"))
  end)

  it("76 testUnrecoverableErrorThrownWithFallback: who is over budget gets no fallback", function()
    scripts(tree("", 'return { guard:call(function() while true do end end, function() return "kept" end) }'))
    local answer = request { path = "/go" }
    assert.same({ 500, "budget" }, { answer.status, answer.body.code })
    assert.same({ 1, 0, 0 }, counts("FAILURE", "FALLBACK_SUCCESS", "SUCCESS"))
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("77 testChainedCommand: a fallback calls another breaker", function()
    assert.same({ result = "second" }, run("", try_call:format(
      'function() error("broken") end, function() return inner:call(function() return "second" end) end')))
  end)

  it("92 testExecutionTimeoutWithNoFallback", function()
    local err = run("timeout_ms = 50", try_call:format('function() task.sleep(200) end'), 50)
    assert.equal("guard timed-out and no fallback available.", err.message)
    assert.same({ "timeout", "timed-out", "missing", 504 }, { err.code, err.reason, err.fallback, err.status })
    assert.same({ 1, 1 }, counts("TIMEOUT", "FALLBACK_MISSING"))
  end)

  it("94 testExecutionTimeoutFallbackFailure", function()
    local err = run("timeout_ms = 50",
      try_call:format('function() task.sleep(200) end, function() error("also") end'), 50)
    assert.equal("guard timed-out and fallback failed. also", err.message)
    assert.equal("timeout", err.code)
  end)

  it("95 testCountersOnExecutionTimeout: a body that would have ended later changes nothing", function()
    run("timeout_ms = 50", try_call:format('function() task.sleep(200) end, function() return 1 end'), 50)
    clock.advance(1000)
    assert.same({ 1, 1, 0 }, counts("TIMEOUT", "FALLBACK_SUCCESS", "SUCCESS"))
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("97 testDisabledTimeoutWorks", function()
    assert.same({ result = 7 }, run("timeout_ms = 100, timeout_enabled = false",
      try_call:format('function() task.sleep(900) return 7 end'), 900))
    assert.same({ 1, 0 }, counts("SUCCESS", "TIMEOUT"))
  end)

  it("98 testExecutionTimeoutValue: the fallback can tell", function()
    assert.same({ result = "timed-out" }, run("timeout_ms = 50",
      try_call:format('function() task.sleep(200) end, function(err) return err.reason end'), 50))
  end)

  it("100 testInterruptOnTimeout: a body that waits is ended, whatever the setting says", function()
    local told = run('timeout_ms = 50, ["execution.isolation.thread.interruptOnTimeout"] = false', [[
      local told = {}
      guard:call(function()
        on_cancel(function() told[#told + 1] = "told" end)
        task.sleep(200)
        told[#told + 1] = "went on"
      end, function() end)
      task.sleep(300)
      return told]], 50)
    assert.falsy(told)
    local answer = start { path = "/go" }
    settle()
    clock.advance(50)
    clock.advance(300)
    assert.same({ "told" }, answer.body)
  end)

  it("101 testCancelFutureWithInterruption: a body that nobody waits for any more is ended", function()
    scripts(tree("", [[
      local told = {}
      task.race(function()
        guard:call(function()
          on_cancel(function() told[#told + 1] = "told" end)
          task.sleep("10s")
          told[#told + 1] = "went on"
        end, function() told[#told + 1] = "fell back" end)
      end, function() task.sleep(10) end)
      task.sleep("11s")
      return told]]))
    local answer = start { path = "/go" }
    settle()
    clock.advance(10)
    assert.same({ 1, 0, 0 }, counts("CANCELLED", "FALLBACK_SUCCESS", "FAILURE"))
    clock.advance(11000)
    assert.same({ "told" }, answer.body)
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("103 testEarlyUnsubscribeDuringFallback: everything is given back", function()
    assert.same({ result = "won" }, run("", [[
      return { result = task.race(function()
        guard:call(function() error("broken") end, function() task.sleep("10s") end)
      end, function() task.sleep(10) return "won" end) }]], 10))
    assert.same({ 1, 1, 0, 0 }, counts("FAILURE", "CANCELLED", "FALLBACK_SUCCESS", "FALLBACK_FAILURE"))
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("106 testUnsubscribeBeforeSubscribe: cancelled before it has begun, nothing runs", function()
    assert.same({ "won", 0 }, run("", [[
      local ran = 0
      local won = task.race(function() return "won" end, function() guard:call(function() ran = ran + 1 end) end)
      return { won, ran }]]))
    assert.same({ 0, 0, 0 }, counts("SUCCESS", "CANCELLED", "SHORT_CIRCUITED"))
  end)

  it("107 testTimeoutRace: many at once, each marked late and each with a fallback", function()
    local all = run("timeout_ms = 3, limit = 100, fallback_limit = 100, enabled = false", [[
      local bodies = {}
      for i = 1, 100 do
        bodies[i] = function()
          return guard:call(function() task.sleep(500) end, function(err) return err.reason end)
        end
      end
      return { task.all(bodies) }]], 3)
    assert.equal(100, #all)
    for _, reason in ipairs(all) do assert.equal("timed-out", reason) end
    assert.same({ 100, 100 }, counts("TIMEOUT", "FALLBACK_SUCCESS"))
  end)

  it("110 testSemaphorePermitsInUse: each breaker has places of its own", function()
    scripts(tree("limit = 3", [[
      local bodies = {}
      for i = 1, 7 do
        bodies[i] = function()
          local one = i < 7 and guard or inner
          return one:call(function() task.sleep(100) return "ran" end, function(err) return err.code end)
        end
      end
      return { task.all(bodies) }]]))
    local answer = start { path = "/go" }
    settle()
    assert.same({ 3, 1, 3 }, { breaker("guard").in_flight, breaker("inner").in_flight,
      breaker("guard").SEMAPHORE_REJECTED })
    clock.advance(100)
    assert.same({ "ran", "ran", "ran", "limit", "limit", "limit", "ran" }, answer.body)
    assert.same({ 0, 0 }, { breaker("guard").in_flight, breaker("inner").in_flight })
  end)

  it("112 testFallbackSemaphore", function()
    local both = run("fallback_limit = 1", [[
      local function call()
        local value, err = try(guard.call, guard, function() error("broken") end,
          function() task.sleep(800) return "kept" end)
        return err and err.message or value
      end
      return { task.all(call, call) }]], 800)
    assert.same({ "kept", "guard fallback execution rejected." }, both)
    assert.same({ 2, 1, 1 }, counts("FAILURE", "FALLBACK_SUCCESS", "FALLBACK_REJECTION"))
  end)

  it("113 testRejectedThreadWithFallback: one runs, one waits, one is refused", function()
    local all = run("limit = 1, queue = 1", [[
      local function call()
        return guard:call(function() task.sleep(100) return "ran" end, function(err) return err.message end)
      end
      return { task.all(call, call, call) }]], 100)
    clock.advance(100)
    assert.falsy(all)
    assert.same({ 2, 1, 1 }, counts("SUCCESS", "THREAD_POOL_REJECTED", "FALLBACK_SUCCESS"))
  end)

  it("P11 a late body: the caller goes on at the deadline, not when the body returns", function()
    local before
    scripts(tree("timeout_ms = 100", [[
      return guard:call(function() task.sleep(600) end, function() return { at = clock.now() } end)]]))
    before = clock.now()
    local answer = start { path = "/go" }
    settle()
    clock.advance(100)
    assert.equal(100, answer.body.at - before)
  end)
end)

describe("BREAKER-5 a fallback that takes no error", function()
  it("has none made for it; when it fails, the caller is told of both all the same", function()
    local err = run("force_open = true", try_call:format('function() end, function() error("empty") end'))
    assert.same({ "circuit_open", "failed", "guard short-circuited", "empty", "short-circuited" },
      { err.code, err.fallback, err.cause, err.fallback_error, err.reason })
    assert.truthy(err.retry_after_ms > 0)
    assert.same({ result = "kept" },
      run("force_open = true", try_call:format('function() end, function() return "kept" end')))
    assert.same({ result = 0 }, run("force_open = true", try_call:format([[function() end,
      function(...) return select("#", ...) - 1 end]])))
  end)

  it("and when there is no place for it", function()
    local both = run("force_open = true, fallback_limit = 1", [[
      local function call()
        local value, err = try(guard.call, guard, function() end, function() task.sleep(100) return "kept" end)
        return err and err.message .. " " .. err.cause.reason or value
      end
      return { task.all(call, call) }]], 100)
    assert.same({ "kept", "guard fallback execution rejected. short-circuited" }, both)
  end)
end)

describe("BREAKER-5 errors", function()
  it("a breaker around another one tells of its own, and leaves the inner one's error as it was", function()
    local told = run("timeout_ms = 50", [[
      local held
      local _, err = try(inner.call, inner, function()
        local _, late = try(guard.call, guard, function() task.sleep(500) end)
        held = late
        error(late)
      end)
      return { told(err), told(held) }]], 50)
    assert.same({ "inner", "failed", "timeout" }, { told[1].breaker, told[1].reason, told[1].code })
    assert.same({ "guard", "timed-out", "timeout" }, { told[2].breaker, told[2].reason, told[2].code })
    assert.equal("guard timed-out and no fallback available.", told[1].cause)
  end)

  it("a fallback that is no function is misuse: nothing runs, nothing is swallowed", function()
    for _, text in ipairs { "false", "true", "'x'", "json.null" } do
      local err = run("", try_call:format("function() error('broken') end, " .. text))
      assert.equal("breaker:call: fallback must be a function or a table of options", err.message)
      assert.same({ 0, 0 }, counts("FAILURE", "SUCCESS"))
    end
    assert.same({ result = 1 }, run("", try_call:format("function() return 1 end, nil")))
  end)
end)

describe("BREAKER-4 the end of a body's time", function()
  it("cannot be caught: pcall, xpcall, try and coroutines of its own let it pass", function()
    local seen = run("timeout_ms = 50", [[
      local seen = {}
      local function stubborn(catch)
        return guard:call(function()
          for i = 1, 10 do
            catch(function() task.sleep(200) end)
            seen[#seen + 1] = "went on"
          end
        end, function(err) return err.reason end)
      end
      seen[1] = stubborn(pcall)
      seen[2] = stubborn(try)
      seen[3] = stubborn(function(f) xpcall(f, function() seen[#seen + 1] = "handler" end) end)
      seen[4] = stubborn(function(f) coroutine.resume(coroutine.create(f)) end)
      seen[5] = stubborn(function(f) pcall(coroutine.wrap(f)) end)
      return seen]])
    assert.falsy(seen)
    local answer = start { path = "/go" }
    settle()
    for _ = 1, 5 do clock.advance(50) end
    assert.same({ "timed-out", "timed-out", "timed-out", "timed-out", "timed-out" }, answer.body)
  end)

  it("runs on_cancel, once, and not when the body ends by itself", function()
    local seen = run("timeout_ms = 50", [[
      local seen = {}
      local function call(ms, name)
        pcall(guard.call, guard, function()
          on_cancel(function() seen[#seen + 1] = name end)
          task.sleep(ms)
        end)
      end
      call(20, "in time")
      call(60, "late")
      task.race(function() call(40, "lost") end, function() task.sleep(10) end)
      return seen]], 20)
    assert.falsy(seen)
    local answer = start { path = "/go" }
    settle()
    for _ = 1, 10 do clock.advance(10) end
    assert.same({ "late", "lost" }, answer.body)
  end)

  it("on_cancel in a function of task.all or task.race inside of a body is for that function", function()
    scripts(tree("timeout_ms = 100", [[
      local told = {}
      local function part(name, ms)
        return function()
          on_cancel(function() told[#told + 1] = name end)
          task.sleep(ms)
          return name
        end
      end
      if request.query.q == "hedge" then
        local n = 0
        local won = guard:call(function()
          n = n + 1
          return part("body " .. n, n == 1 and 90 or 20)()
        end, { hedge = 30 })
        told[#told + 1] = won
      elseif request.query.q == "race" then
        local won = guard:call(function() return task.race(part("slow", 90), part("quick", 10)) end)
        told[#told + 1] = won
      else
        guard:call(function() task.all(part("a", 500), part("b", 600), part("short", 10)) end, function() end)
        table.sort(told)
      end
      return told]]))
    local function ask(q, ...)
      local answer = start { path = "/go?q=" .. q }
      settle()
      for _, ms in ipairs { ... } do clock.advance(ms) end
      return answer.body
    end
    assert.same({ "body 1", "body 2" }, ask("hedge", 30, 20))
    assert.same({ "slow", "quick" }, ask("race", 10))
    assert.same({ "a", "b" }, ask("all", 10, 90))
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("on_cancel is for bodies, and a coroutine cannot leave one half-way", function()
    assert.matches("on_cancel is for the body of a breaker's call",
      run("", "local _, err = try(on_cancel, type) return { err.message }")[1])
    assert.matches("a breaker's body cannot be left half%-way", run("", [[
      local co = coroutine.create(function() guard:call(function() coroutine.yield() end) end)
      local _, err = coroutine.resume(co)
      return { err.message }]])[1])
    assert.equal(0, breaker("guard").in_flight)
  end)

  it("an inner breaker that is cut off by the outer one counts as cancelled", function()
    local answer = run("timeout_ms = 50", [[
      return { guard:call(function()
        return inner:call(function() task.sleep(500) end, function() return "inner" end)
      end, function() return "outer" end) }]], 50)
    assert.same({ "outer" }, answer)
    assert.same({ 1, 0, 0 }, { breaker("inner").CANCELLED, breaker("inner").TIMEOUT, breaker("inner").in_flight })
    assert.same({ 1 }, counts("TIMEOUT"))
  end)

  it("what a body wrote is dropped, what its fallback writes is kept", function()
    run("timeout_ms = 50", [[
      guard:call(function() store.create("items", { name = "body" }) task.sleep(100) end,
        function() store.create("items", { name = "fallback" }) end)
      guard:call(function() store.create("items", { name = "kept" }) end)
      return 1]], 50)
    local names = {}
    for i, row in ipairs(rows("a", "items")) do names[i] = row.name end
    assert.same({ "fallback", "kept" }, names)
  end)
end)

describe("BREAKER-2 a classifier", function()
  local classify = [[
    local verdict, raises = %s, %s
    local value, err = try(guard.call, guard, function() if raises then error("broken") end return "value" end,
      { classify = function(err, value) return verdict end, fallback = function() return "fallback" end })
    return { value = value, err = err and err.message }]]

  it("says how a result counts: as a failure it goes to the fallback", function()
    assert.same({ value = "fallback" }, run("", classify:format('"failure"', "false")))
    assert.same({ 1, 0 }, counts("FAILURE", "SUCCESS"))
    assert.same({ value = "value" }, run("", classify:format('"ignore"', "false")))
    assert.same({ 1, 0 }, counts("IGNORED", "SUCCESS"))
    assert.same({ value = "value" }, run("", classify:format("nil", "false")))
    assert.same({ 0, 1 }, counts("FAILURE", "SUCCESS"))
  end)

  it("says how an error counts: what is no failure is raised as it is", function()
    assert.same({ value = "fallback" }, run("", classify:format("nil", "true")))
    for verdict, event in pairs { success = "SUCCESS", bad_request = "BAD_REQUEST", ignore = "IGNORED" } do
      assert.same({ err = "broken" }, run("", classify:format('"' .. verdict .. '"', "true")))
      assert.same({ 1, 0, 0 }, counts(event, "FAILURE", "FALLBACK_SUCCESS"))
    end
  end)

  it("a verdict that is none is misuse", function()
    assert.same({ value = "fallback" }, run("", classify:format('"good"', "false")))
  end)
end)

describe("BREAKER-6 retries", function()
  local retry = [[
    local tries = 0
    local value, err = try(guard.call, guard, function()
      tries = tries + 1
      if tries < %d then error("broken") end
      return "value"
    end, { retries = 2, fallback = %s })
    return { tries = tries, value = value, err = err and err.message }]]

  it("try again after a failure, and stop at a success", function()
    assert.same({ tries = 2, value = "value" }, run("", retry:format(2, "nil")))
    assert.same({ 1, 1, 1 }, counts("FAILURE", "SUCCESS", "RETRY"))
  end)

  it("end with one fallback, or one error", function()
    assert.same({ tries = 3, value = "kept" }, run("", retry:format(9, "function() return 'kept' end")))
    assert.same({ 3, 1, 0 }, counts("FAILURE", "FALLBACK_SUCCESS", "FALLBACK_MISSING"))
    assert.same({ tries = 3, err = "guard failed and no fallback available. broken" }, run("", retry:format(9, "nil")))
    assert.same({ 3, 1 }, counts("FAILURE", "FALLBACK_MISSING"))
  end)

  it("have a budget: without a place there is no retry", function()
    assert.same({ tries = 1, value = "kept" },
      run("retry_min = 0, retry_percent = 0", retry:format(9, "function() return 'kept' end")))
  end)

  it("do not repeat bad requests or refusals", function()
    local bad = run("", [[
      local tries = 0
      local _, err = try(guard.call, guard, function() tries = tries + 1 fail(404, "gone") end, { retries = 5 })
      return { tries, err.message }]])
    assert.same({ 1, "gone" }, bad)
    local open = run("force_open = true", [[
      local _, err = try(guard.call, guard, function() end, { retries = 5 })
      return { err.reason }]])
    assert.same({ "short-circuited" }, open)
    assert.same({ 1, 0 }, counts("SHORT_CIRCUITED", "RETRY"))
  end)

  it("hedging: a second body when the first is slow, the first result counts", function()
    assert.same({ "2" }, run("", [[
      local n = 0
      return { guard:call(function() n = n + 1 local me = n task.sleep(me == 1 and 500 or 20) return tostring(me) end,
        { hedge = 100 }) }]], 120))
    assert.same({ 1, 1 }, counts("SUCCESS", "HEDGE"))
  end)

  it("hedging: a first that fails in time is no slow one, and is not made twice", function()
    assert.same({ 1, "gone" }, run("", [[
      local n = 0
      local _, err = try(guard.call, guard, function() n = n + 1 task.sleep(10) fail(404, "gone") end, { hedge = 100 })
      return { n, err.message }]], 10))
    assert.same({ 1, 0, 0 }, counts("BAD_REQUEST", "HEDGE", "in_flight"))
    assert.same({ 2, "guard failed and no fallback available. broken 2" }, run("", [[
      local n = 0
      local _, err = try(guard.call, guard, function()
        n = n + 1
        local me = n
        task.sleep(me == 1 and 120 or 30)
        error("broken " .. me)
      end, { hedge = 100 })
      return { n, err.message }]], 130))
    assert.same({ 1, 1 }, counts("FAILURE", "HEDGE"))
  end)

  it("values of options that make no sense are named before anything runs", function()
    for option, problem in pairs {
      ["retries = -1"] = "breaker:call: retries must be a whole number, not below 0",
      ["retries = 1.5"] = "breaker:call: retries must be a whole number, not below 0",
      ["retries = 0/0"] = "breaker:call: retries must be a whole number, not below 0",
      ["retries = 1, retry_in = 'soon'"] = 'breaker:call: "retry_in" must be a duration',
      ["hedge = -1"] = 'breaker:call: "hedge" must be a duration',
    } do
      assert.matches(problem, run("", "local _, err = try(guard.call, guard, function() end, { " .. option ..
        " }) return { err.message }")[1])
      assert.same({ 0, 0 }, counts("SUCCESS", "FAILURE"))
    end
  end)

  it("an option that is none is named", function()
    assert.matches('unknown option "retry"; did you mean "retry_in"',
      run("", "local _, err = try(guard.call, guard, function() end, { retry = 1 }) return { err.message }")[1])
  end)
end)
