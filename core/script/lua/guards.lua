-- SPDX-License-Identifier: MIT
-- What a breaker's call does with options: a classifier, retries, hedging, sharing. Each is a function around
-- the plain call, which stays as it is for those who want none of it.
local core, veneer = ...

local checks, shared, collapser = veneer("checks"), veneer("shared"), veneer("collapser")

local options_known = {
  fallback = "function", classify = "function", retries = "number", retry_in = "number|string",
  hedge = "number|string", cache_key = "number|string", coalesce = "boolean",
}
local durations = { "retry_in", "hedge" }
local verdicts = { success = true, failure = true, bad_request = true, ignore = true }

local function check_values(what, at, options)
  local retries = options.retries
  if retries and (not math.tointeger(retries) or retries < 0) then
    checks.wrong(at, "%s: retries must be a whole number, not below 0", what)
  end
  for _, name in ipairs(durations) do
    local value = options[name]
    if value and not core.pcall(core.duration, value) then
      checks.wrong(at, '%s: "%s" must be a duration: "500ms", "2s" or milliseconds', what, name)
    end
  end
end

-- The body, judged by classify(err, ...): "success", "failure", "bad_request", "ignore", or nil for the usual.
local function classified(body, classify)
  local function judge(ok, ...)
    local verdict
    if ok then verdict = classify(nil, ...) else verdict = classify(core.wrap_error((...))) end
    if verdict ~= nil and not verdicts[verdict] then
      core.misuse(('classify: expected "success", "failure", "bad_request", "ignore" or nil, got %s'):format(
        tostring(verdict)))
    end
    if verdict then core.outcome(verdict) end
    if not ok then error((...), 0) end
    if verdict == "failure" then error("the result was classified as a failure", 0) end
    return ...
  end
  return function() return judge(core.pcall(body)) end
end

local function over(handle)
  return function() core.note(handle, "retried") end
end

-- A try within the retry budget.
local function retry(handle, body, pause)
  if not core.note(handle, "retry") then return nil end
  local _ <close> = setmetatable({}, { __close = over(handle) })
  if pause then core.task.sleep(pause) end
  return table.pack(core.breaker_call(handle, body, core.breaker_try))
end

-- Tries again after failures and timeouts, not after refusals and bad requests.
local function with_retries(handle, body, options)
  local function marked() return true, body() end
  local results = table.pack(core.breaker_call(handle, marked, core.breaker_try))
  for _ = 1, options.retries do
    local reason = not results[1] and results[2].reason
    if reason ~= "failed" and reason ~= "timed-out" then break end
    local more = retry(handle, marked, options.retry_in)
    if not more then break end
    results = more
  end
  if results[1] then return table.unpack(results, 2, results.n) end
  return core.breaker_fall_back(handle, results[2], options.fallback)
end

-- A second body when the first takes longer than `after`; the first that succeeds counts. For reads. A first that has
-- failed by then was not slow: to try again is for retries, which have a budget.
local function hedged(body, handle, after)
  local ms = core.duration(after)
  return function()
    local first, failed, err = core.flight(), false, nil
    local function result(ok, ...)
      if ok then return ... end
      failed, err = true, (...)
      core.wake(first)
      error(err, 0)
    end
    return core.task.race(function() return result(core.pcall(body)) end, function()
      if not failed then core.await(first, ms) end
      if failed then error(err, 0) end
      core.note(handle, "hedge")
      return body()
    end)
  end
end

local function run(handle, body, options)
  if options.hedge then body = hedged(body, handle, options.hedge) end
  if options.classify then body = classified(body, options.classify) end
  if options.retries and options.retries > 0 then
    return with_retries(handle, body, options)
  end
  return core.breaker_call(handle, body, options.fallback)
end

local function call(handle, body, options)
  local at = checks.here()
  checks.check_options("breaker:call", at, options, options_known)
  check_values("breaker:call", at, options)
  if options.cache_key == nil and options.coalesce == nil then return run(handle, body, options) end
  return shared.call(handle, options, function()
    return run(handle, options.coalesce and shared.reading(body) or body, options)
  end)
end

core.breaker_options(call)
core.breaker_method("collapser", collapser.word(run, options_known, check_values))
core.breaker_method("__index", function(_, name)
  core.misuse(('a breaker has no "%s"%s'):format(tostring(name), checks.did_you_mean(name,
    { call = true, collapser = true })))
end)

return { take_unseen = collapser.take_unseen }
