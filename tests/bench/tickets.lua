-- SPDX-License-Identifier: MIT
-- wrk -s tickets.lua URL -- (book CONCERTS | pay PAYMENTS) THREADS, for tickets.py: books a ticket of one concert after
-- the other, or pays for one payment after the other.
local JSON = { ["Content-Type"] = "application/json" }
local threads = 0

function setup(thread)
  threads = threads + 1
  thread:set("at", threads)
end

local function booking(concert)
  return wrk.format("POST", "/bookings", JSON, ('{"concertId":%d,"userId":1,"qty":1}'):format(concert))
end

local function paying(payment)
  return wrk.format("PATCH", "/payments/" .. payment, JSON, "{}")
end

function init(args)
  local make, count, step = args[1] == "book" and booking or paying, tonumber(args[2]), tonumber(args[3])
  local n = at - step

  function request()
    n = n + step
    return make((n - 1) % count + 1)
  end
end
