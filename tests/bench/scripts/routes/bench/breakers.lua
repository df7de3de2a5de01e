-- SPDX-License-Identifier: MIT
-- What a breaker adds to a call: loops in one task, timed by the host's clock. ?n= says how often.
local closed, open = breaker "closed", breaker "open"

local function nothing() end

local function milliseconds(n, fn)
  local start = clock.now()
  for _ = 1, n do fn() end
  return clock.now() - start
end

local bodies = {
  pcall = function() pcall(nothing) end,
  closed = function() closed:call(nothing) end,
  open = function() open:call(nothing, nothing) end,
  refused = function() pcall(open.call, open, nothing) end,
}

return route "breakers" {
  service = "bench", method = "GET", path = "/breakers/{what}",
  handle = function(request)
    local n = tonumber(request.query.n)
    return { ms = milliseconds(n, bodies[request.params.what]), n = n }
  end,
}
